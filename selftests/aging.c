// SPDX-License-Identifier: GPL-2.0-only
/*
 * Under pressure the pages that a guest uses look used to the host, and stay, where others go
 * that it has not touched for as long.
 */
/* Hosts with accessed bits in their second-level entries: without them no one can tell. */
/* hosts: smp 6.12 */
/* timeout: 60 */
#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "kselftest_harness.h"
#include "remote.h"

#define BASE	0x800000		/* guest-physical */
#define GROUP	"/sys/fs/cgroup/aging"
#define HOT	64
#define COLD	768
#define BATCH	64		/* more pages than a CPU's batch has */

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

FIXTURE(aging) {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;		/* HOT pages, then COLD ones, each with its number in it */
};

FIXTURE_SETUP(aging)
{
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	self->mem = map_memory((HOT + COLD) * PAGE);
	madvise(self->mem, (HOT + COLD) * PAGE, MADV_NOHUGEPAGE);
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, (HOT + COLD) * PAGE, self->mem, 0));
	remote_start(self->vcpu);
}

FIXTURE_TEARDOWN(aging)
{
	vm_destroy(self->vm);
}

static void write_numbers(struct vcpu *vcpu)
{
	u32 i;

	for (i = 0; i < HOT + COLD; i++)
		remote_write32(vcpu, BASE + i * PAGE, i);
}

TEST_F(aging, used_pages_stay)
{
	struct vcpu *vcpu = self->vcpu;
	u8 *mem = self->mem;
	u32 i, round, hot, cold;

	if (!host_swap())
		SKIP(return, "no swap here");
	if (!enter_group())
		SKIP(return, "no memory.reclaim here");
	/* The hot ones are the oldest, and would be the first to go. */
	write_numbers(vcpu);
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
	leave_group();
}

#define DAMON	"/sys/kernel/mm/damon/admin/kdamonds/"
#define CONTEXT	DAMON "0/contexts/0/"
#define SCHEME	CONTEXT "schemes/0/"
#define ALL	"4294967295"

static void damon_word(const char *file, const char *word)
{
	int ret = write_file(file, word);

	if (ret)
		fail("%s: %s: %s", file, word, strerror(-ret));
}

static void damon(const char *file, u64 value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	damon_word(file, text);
}

/* Have the host look every 20 ms which pages of two ranges, of @mem and behind it, are used. */
static void watch_ranges(u8 *mem)
{
	static const char *const any[] = { "sz/max", "nr_accesses/max", "age/max" };
	char file[128];
	u32 i;

	/* Newer kernels watch all memory from their start, and nobody else may meanwhile. */
	write_file("/sys/module/damon_stat/parameters/enabled", "N");
	damon(DAMON "nr_kdamonds", 1);
	damon(DAMON "0/contexts/nr_contexts", 1);
	damon_word(CONTEXT "operations", "fvaddr");
	damon(CONTEXT "monitoring_attrs/intervals/sample_us", 20000);
	damon(CONTEXT "monitoring_attrs/intervals/aggr_us", 400000);
	damon(CONTEXT "targets/nr_targets", 1);
	damon(CONTEXT "targets/0/pid_target", getpid());
	damon(CONTEXT "targets/0/regions/nr_regions", 2);
	damon(CONTEXT "targets/0/regions/0/start", (uintptr_t)mem);
	damon(CONTEXT "targets/0/regions/0/end", (uintptr_t)mem + HOT * PAGE);
	damon(CONTEXT "targets/0/regions/1/start", (uintptr_t)mem + (HOT + 1) * PAGE);
	damon(CONTEXT "targets/0/regions/1/end", (uintptr_t)mem + (HOT + COLD) * PAGE);
	damon(CONTEXT "schemes/nr_schemes", 1);
	damon_word(SCHEME "action", "stat");
	for (i = 0; i < ARRAY_SIZE(any); i++) {
		snprintf(file, sizeof(file), SCHEME "access_pattern/%s", any[i]);
		damon_word(file, ALL);
	}
	damon_word(DAMON "0/state", "on");
}

/* What it has seen in a while, when that is over */
static void *wait_for_result(void *done)
{
	sleep(1);
	damon_word(DAMON "0/state", "update_schemes_tried_regions");
	__atomic_store_n((bool *)done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Accesses that were seen between two addresses */
static long accesses(const u8 *from, const u8 *to)
{
	DIR *dir = opendir(SCHEME "tried_regions");
	struct dirent *entry;
	char file[400];
	long start, sum = 0;

	while (dir && (entry = readdir(dir))) {
		snprintf(file, sizeof(file), SCHEME "tried_regions/%s/start", entry->d_name);
		start = read_number(file);
		if (start < (long)(uintptr_t)from || start >= (long)(uintptr_t)to)
			continue;
		snprintf(file, sizeof(file), SCHEME "tried_regions/%s/nr_accesses", entry->d_name);
		sum += read_number(file);
	}
	if (dir)
		closedir(dir);
	return sum;
}

/*
 * The guest's accesses are in its own tables alone: the host asks the module for them. It cannot
 * make pages old that wait in a CPU's batch for the LRU lists: others come after those that count.
 */
TEST_F(aging, used_pages_look_used)
{
	u8 *mem = self->mem;
	bool done = false;
	pthread_t thread;

	if (access(DAMON, F_OK))
		SKIP(return, "no DAMON here");
	ASSERT_EQ(0, pin_to_cpu(0));
	write_numbers(self->vcpu);
	memset(map_memory(BATCH * PAGE), 1, BATCH * PAGE);
	watch_ranges(mem);
	ASSERT_EQ(0, pthread_create(&thread, NULL, wait_for_result, &done));
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE))
		touch(self->vcpu, 0, HOT);
	pthread_join(thread, NULL);
	EXPECT_LT(0, accesses(mem, mem + HOT * PAGE));
	EXPECT_EQ(0, accesses(mem + HOT * PAGE, mem + (HOT + COLD) * PAGE));
	damon_word(DAMON "0/state", "off");
	damon(DAMON "nr_kdamonds", 0);
}

TEST_HARNESS_MAIN
