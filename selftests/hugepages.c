// SPDX-License-Identifier: GPL-2.0-only
/*
 * Huge pages of the host are huge pages of the guest, where alignment and slot allow it, and
 * nothing but speed tells.
 */
/* also: intel-sandy_bridge */
/* hosts: smp 6.12 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "pages.h"
#include "vmmtest.h"

#define HUGE	(2 * MIB)
#define POOL	"/proc/sys/vm/nr_hugepages"
#define BASE	0x800000		/* guest-physical; aligned as a huge page */

FIXTURE(hugepages) {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	int mark;
};

static u8 *map_aligned(size_t bytes)
{
	u8 *mem = map_memory(bytes + HUGE);

	return (u8 *)(((uintptr_t)mem + HUGE - 1) & ~(HUGE - 1));
}

/* Two huge pages that the host has, or NULL */
static u8 *map_huge(void)
{
	u8 *mem = map_aligned(2 * HUGE);
	long before = host_counter("/proc/self/smaps_rollup", "AnonHugePages:");

	if (madvise(mem, 2 * HUGE, MADV_HUGEPAGE))
		return NULL;
	mem[0] = 0;
	mem[HUGE] = 0;
	return host_counter("/proc/self/smaps_rollup", "AnonHugePages:") >= before + 4096 ?
	       mem : NULL;
}

FIXTURE_SETUP(hugepages)
{
	self->mark = host_log_mark();
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	self->mem = map_huge();
	if (!self->mem)
		SKIP(return, "the host gives no transparent huge pages");
}

FIXTURE_TEARDOWN(hugepages)
{
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

#define slot(...) vm_set_slot(self->vm, __VA_ARGS__)
#define pages(size) get_stat(self->vm->fd, "pages_" #size)

/* Runs the code at the address that it gets, and says what that leaves in EAX */
GUEST_CODE(caller, 64,
	   "1: in $PORT_VALUE, %eax; call *%rax; out %eax, $PORT_VALUE; jmp 1b\n");

TEST_F(hugepages, transparent)
{
	u64 faults;
	u32 i;

	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	guest_does(self->vcpu, BASE);
	EXPECT_EQ(1, pages(2m));
	guest_does(self->vcpu, BASE + HUGE + 5 * PAGE);
	EXPECT_EQ(2, pages(2m));
	/* No other page of them faults. */
	faults = get_stat(self->vcpu->fd, "faults");
	for (i = 1; i < 2 * HUGE / PAGE; i += 31)
		guest_does(self->vcpu, BASE + i * PAGE);
	EXPECT_EQ(faults, get_stat(self->vcpu->fd, "faults"));
	for (i = 1; i < 2 * HUGE / PAGE; i += 31)
		EXPECT_EQ(1 + (i == HUGE / PAGE + 5), *(u32 *)(self->mem + i * PAGE));
	/* When a piece goes the huge page does; what is left comes in small ones. */
	ASSERT_EQ(0, madvise(self->mem + 32 * PAGE, PAGE, MADV_DONTNEED));
	EXPECT_EQ(1, pages(2m));
	EXPECT_EQ(1, guest_does(self->vcpu, BASE + 32 * PAGE));
	EXPECT_EQ(2, guest_does(self->vcpu, BASE + 63 * PAGE));
	EXPECT_EQ(1, pages(2m));
	ASSERT_EQ(0, slot(1, 0, 0, NULL, 0));
	EXPECT_EQ(0, pages(2m));
}

/* A read comes first, and may map for writing what costs nothing. */
TEST_F(hugepages, read_then_write)
{
	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, 0));
	*(u32 *)(self->mem + 9 * PAGE) = 77;
	vcpu_load(self->vcpu, MODE_LONG, page_reader);
	EXPECT_EQ(77, guest_does(self->vcpu, BASE + 9 * PAGE));
	EXPECT_EQ(1, pages(2m));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	EXPECT_EQ(78, guest_does(self->vcpu, BASE + 9 * PAGE));
	EXPECT_EQ(78, *(u32 *)(self->mem + 9 * PAGE));
	EXPECT_EQ(1, pages(2m));
}

/* Small pages become a huge one when the host puts one there. */
TEST_F(hugepages, small_to_huge)
{
	u8 *mem = map_aligned(HUGE);

	if (write_file(POOL, "1") || read_number(POOL) != 1)
		SKIP(return, "the host has no page for hugetlbfs");
	ASSERT_EQ(0, madvise(mem, HUGE, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, slot(1, BASE, HUGE, mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	guest_does(self->vcpu, BASE);
	guest_does(self->vcpu, BASE + 100 * PAGE);
	EXPECT_EQ(0, pages(2m));
	EXPECT_LE(2, pages(4k));
	/* In two calls: the second-level table stays, and is empty. */
	ASSERT_EQ(0, munmap(mem, HUGE / 2));
	ASSERT_EQ(0, munmap(mem + HUGE / 2, HUGE / 2));
	ASSERT_NE(MAP_FAILED, mmap(mem, HUGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB, -1, 0));
	EXPECT_EQ(1, guest_does(self->vcpu, BASE + 100 * PAGE));
	EXPECT_EQ(1, pages(2m));
	EXPECT_EQ(1, guest_does(self->vcpu, BASE));
	EXPECT_EQ(1, *(u32 *)(mem + 100 * PAGE));
	munmap(mem, HUGE);
	write_file(POOL, "0");
}

TEST_F(hugepages, alignment_and_slot)
{
	u32 i;

	/* Out of step by a page; and a slot that has no huge page whole */
	ASSERT_EQ(0, slot(1, BASE + PAGE, HUGE, self->mem, 0));
	ASSERT_EQ(0, slot(2, 2 * BASE, HUGE - PAGE, self->mem + PAGE, 0));
	ASSERT_EQ(0, slot(3, 3 * BASE, HUGE - PAGE, self->mem + HUGE, 0));
	for (i = 0; i < HUGE / PAGE; i++)
		*(u32 *)(self->mem + i * PAGE) = i;
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	for (i = 0; i < HUGE / PAGE - 1; i += 50) {
		EXPECT_EQ(i + 1, guest_does(self->vcpu, BASE + PAGE + i * PAGE));
		EXPECT_EQ(i + 2, guest_does(self->vcpu, 2 * BASE + i * PAGE));
		*(u32 *)(self->mem + (i + 1) * PAGE) = i + 1;
		guest_does(self->vcpu, 3 * BASE + i * PAGE);
	}
	EXPECT_EQ(0, pages(2m));
}

TEST_F(hugepages, readonly)
{
	*(u32 *)(self->mem + 3 * PAGE) = 5;
	ASSERT_EQ(0, slot(1, BASE, HUGE, self->mem, VMM_MEM_READONLY));
	vcpu_load(self->vcpu, MODE_LONG, page_reader);
	EXPECT_EQ(5, guest_does(self->vcpu, BASE + 3 * PAGE));
	EXPECT_EQ(1, pages(2m));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	run_until(self->vcpu, VMM_EXIT_IO)->io.data = BASE + 3 * PAGE;
	run_until(self->vcpu, VMM_EXIT_EMULATE);
	EXPECT_EQ(5, *(u32 *)(self->mem + 3 * PAGE));
}

/* What a child shares since fork() the guest's writes do not reach. */
TEST_F(hugepages, fork_copies)
{
	int go[2], status;
	pid_t child;
	char c;

	ASSERT_EQ(0, slot(1, BASE, HUGE, self->mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	EXPECT_EQ(1, guest_does(self->vcpu, BASE + 7 * PAGE));
	ASSERT_EQ(0, pipe(go));
	child = fork();
	if (!child) {
		if (read(go[0], &c, 1) != 1)
			_exit(2);
		_exit(*(u32 *)(self->mem + 7 * PAGE) != 1);
	}
	EXPECT_EQ(2, guest_does(self->vcpu, BASE + 7 * PAGE));
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(2, *(u32 *)(self->mem + 7 * PAGE));
}

/* A processor that must not run code in huge pages gets small ones for it, which stay. */
TEST_F(hugepages, code)
{
	static const u8 code[] = { 0xb8, 0x2a, 0, 0, 0, 0xc3 };	/* mov $42, %eax; ret */
	char line[80] = "";
	bool affected;
	FILE *f = fopen("/sys/devices/system/cpu/vulnerabilities/itlb_multihit", "r");

	affected = f && fgets(line, sizeof(line), f) && !strstr(line, "Not affected");
	if (f)
		fclose(f);
	ASSERT_EQ(0, slot(1, BASE, HUGE, self->mem, 0));
	memcpy(self->mem + 0x1000, code, sizeof(code));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	guest_does(self->vcpu, BASE);
	EXPECT_EQ(1, pages(2m));
	vcpu_load(self->vcpu, MODE_LONG, caller);
	EXPECT_EQ(42, guest_does(self->vcpu, BASE + 0x1000));
	EXPECT_EQ(!affected, pages(2m));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	EXPECT_EQ(2, guest_does(self->vcpu, BASE));
	/* Nor does data beside the code bring the huge page back. */
	EXPECT_EQ(1, guest_does(self->vcpu, BASE + 0x9000));
	EXPECT_EQ(!affected, pages(2m));
	vcpu_load(self->vcpu, MODE_LONG, caller);
	EXPECT_EQ(42, guest_does(self->vcpu, BASE + 0x1000));
}

struct code_runner {
	struct vcpu *vcpu;
	int delay;		/* rounds of a loop that it waits; negative: that the data does */
	u32 begun;
	u32 done;
	u32 rounds;
};

static void spin(int count)
{
	volatile int i;

	for (i = 0; i < count; i++)
		;
}

static void *run_code(void *arg)
{
	struct code_runner *r = arg;
	u32 round;

	for (round = 1; round <= r->rounds; round++) {
		while (__atomic_load_n(&r->begun, __ATOMIC_SEQ_CST) < round)
			;
		spin(r->delay);
		if (guest_does(r->vcpu, BASE + 0x1000) != 42)
			fail("the code did not do what it does");
		__atomic_store_n(&r->done, round, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/*
 * A table for code and a huge page for data come to the same empty place at the same moment, and
 * none of the tables is lost. Where code needs small pages, their number tells who was first, and
 * that one waits a little longer the next time.
 */
TEST_F_TIMEOUT(hugepages, code_and_data_at_once, 60)
{
	static const u8 code[] = { 0xb8, 0x2a, 0, 0, 0, 0xc3 };	/* mov $42, %eax; ret */
	struct code_runner runner = { .vcpu = self->vcpu, .rounds = 1000 };
	struct vmm_prefault prefault = {
		.size = sizeof(prefault), .gpa = BASE, .bytes = PAGE,
	};
	u32 round, first[2] = { };
	u64 tables = 0, small;
	pthread_t thread;

	if (host_cpus() < 2)
		SKIP(return, "one CPU");
	srandom(2006);
	ASSERT_EQ(0, slot(1, BASE, HUGE, self->mem, 0));
	memcpy(self->mem + 0x1000, code, sizeof(code));
	vcpu_load(self->vcpu, MODE_LONG, caller);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_code, &runner));
	for (round = 1; round <= runner.rounds; round++) {
		bool data_first;

		/* All that is mapped there goes. */
		ASSERT_EQ(0, slot(1, BASE, HUGE, self->mem, round % 2 ? VMM_MEM_READONLY : 0));
		small = pages(4k);
		if (round == 2)
			tables = get_stat(self->vm->fd, "table_pages");
		else if (round > 2)
			ASSERT_EQ(tables, get_stat(self->vm->fd, "table_pages"))
				TH_LOG("round %u", round);
		__atomic_store_n(&runner.begun, round, __ATOMIC_SEQ_CST);
		spin(-runner.delay);
		ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_PREFAULT, &prefault));
		while (__atomic_load_n(&runner.done, __ATOMIC_SEQ_CST) < round)
			;
		data_first = pages(4k) - small == HUGE / PAGE;
		first[data_first]++;
		runner.delay += (data_first ? -1 : 1) * (random() % 16);
	}
	pthread_join(thread, NULL);
	TH_LOG("first was code %u times, data %u times", first[0], first[1]);
}

static void with_hugetlb(struct __test_metadata *_metadata, struct vm *vm, struct vcpu *vcpu,
			 const char *pool, const char *count, u64 size, int flag, const char *stat)
{
	long before = read_number(pool);
	u8 *mem;
	u32 i;

	if (before < 0 || write_file(pool, count))
		SKIP(return, "no pages of this size here");
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | flag, -1, 0);
	if (mem == MAP_FAILED) {
		write_file(pool, "0");
		SKIP(return, "the host has no memory for a page of this size");
	}
	ASSERT_EQ(0, vm_set_slot(vm, 1, 1 * GIB, size, mem, 0));
	vcpu_load(vcpu, MODE_LONG, page_writer);
	for (i = 0; i < 100; i++)
		EXPECT_EQ(1, guest_does(vcpu, 1 * GIB + i * 5 * PAGE));
	EXPECT_EQ(1, get_stat(vm->fd, stat));
	for (i = 0; i < 100; i++)
		EXPECT_EQ(1, *(u32 *)(mem + i * 5 * PAGE));
	ASSERT_EQ(0, munmap(mem, size));
	EXPECT_EQ(0, get_stat(vm->fd, stat));
	write_file(pool, "0");
	EXPECT_EQ(0, read_number(pool));
}

TEST_F(hugepages, hugetlb_2m)
{
	with_hugetlb(_metadata, self->vm, self->vcpu, POOL, "2", HUGE, 0,
		     "pages_2m");
}

TEST_F(hugepages, hugetlb_1g)
{
	with_hugetlb(_metadata, self->vm, self->vcpu,
		     "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "1", GIB,
		     30 << 26, "pages_1g");
}

TEST_HARNESS_MAIN
