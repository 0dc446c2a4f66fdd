// SPDX-License-Identifier: GPL-2.0-only
/*
 * Under pressure the pages that a guest uses look used to the host, and stay, where others go
 * that it has not touched for as long.
 */
/* Hosts with accessed bits in their second-level entries: without them no one can tell. */
/* hosts: smp 6.12 */
/* timeout: 60 */
#include <sys/mman.h>
#include <sys/stat.h>

#include "kselftest_harness.h"
#include "remote.h"

#define BASE	0x800000		/* guest-physical */
#define GROUP	"/sys/fs/cgroup/aging"
#define HOT	64
#define COLD	768

static u32 left_of(u8 *mem, u32 first, u32 count)
{
	u32 i, here = 0;

	for (i = first; i < first + count; i++)
		here += page_place(mem + i * PAGE) == PAGE_PRESENT;
	return here;
}

/* Into a group of its own, whose memory alone is asked for; false: there is no such thing. */
static bool enter_group(void)
{
	char text[32];

	snprintf(text, sizeof(text), "%d", getpid());
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	mkdir(GROUP, 0755);
	return !access(GROUP "/memory.reclaim", W_OK) &&
	       !write_file(GROUP "/cgroup.procs", text);
}

static void leave_group(void)
{
	char text[32];

	snprintf(text, sizeof(text), "%d", getpid());
	write_file("/sys/fs/cgroup/cgroup.procs", text);
	rmdir(GROUP);
}

static void touch(struct vcpu *vcpu, u32 first, u32 count)
{
	u32 i;

	for (i = first; i < first + count; i++)
		remote_read32(vcpu, BASE + i * PAGE);
}

TEST(used_pages_stay)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u8 *mem = map_memory((HOT + COLD) * PAGE);
	u32 i, round, hot, cold;

	if (!host_swap())
		SKIP(return, "no swap here");
	if (!enter_group())
		SKIP(return, "no memory.reclaim here");
	madvise(mem, (HOT + COLD) * PAGE, MADV_NOHUGEPAGE);
	ASSERT_EQ(0, vm_set_slot(vm, 1, BASE, (HOT + COLD) * PAGE, mem, 0));
	remote_start(vcpu);
	/* The hot ones are the oldest, and would be the first to go. */
	for (i = 0; i < HOT + COLD; i++)
		remote_write32(vcpu, BASE + i * PAGE, i);
	for (round = 0; round < 12 && left_of(mem, HOT, COLD) > COLD / 2; round++) {
		touch(vcpu, 0, HOT);
		write_file(GROUP "/memory.reclaim", "300K");
	}
	hot = left_of(mem, 0, HOT);
	cold = left_of(mem, HOT, COLD);
	TH_LOG("after %u rounds %u of %u used pages are there, %u of %u others", round, hot, HOT,
	       cold, COLD);
	EXPECT_LT(cold, COLD);
	/* In parts of all: hot / HOT against cold / COLD */
	EXPECT_GT(hot * COLD, cold * HOT);
	for (i = 0; i < HOT + COLD; i++)
		EXPECT_EQ(i, remote_read32(vcpu, BASE + i * PAGE));
	vm_destroy(vm);
	leave_group();
}

TEST_HARNESS_MAIN
