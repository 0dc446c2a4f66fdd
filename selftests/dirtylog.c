// SPDX-License-Identifier: GPL-2.0-only
/*
 * The log of dirty pages: what a guest, the module or the VMM has written to is in it, whatever
 * backs the memory and whoever reads the log meanwhile.
 */
/* also: intel-sandy_bridge */
/* hosts: smp 6.12 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "pages.h"
#include "vmmtest.h"

#define HUGE	(2 * MIB)
#define BASE	0x800000		/* guest-physical; aligned as a huge page */
#define PAGES	(2 * HUGE / PAGE)
#define WORDS	(PAGES / 64)

FIXTURE(dirtylog) {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	u64 bits[WORDS];
	int mark;
};

static u8 *map_aligned(size_t bytes)
{
	u8 *mem = map_memory(bytes + HUGE);

	return (u8 *)(((uintptr_t)mem + HUGE - 1) & ~(HUGE - 1));
}

FIXTURE_SETUP(dirtylog)
{
	self->mark = host_log_mark();
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	self->mem = map_aligned(2 * HUGE);
	ASSERT_EQ(0, madvise(self->mem, 2 * HUGE, MADV_NOHUGEPAGE));
}

FIXTURE_TEARDOWN(dirtylog)
{
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

#define slot(...) vm_set_slot(self->vm, __VA_ARGS__)

static int log_call(struct vm *vm, unsigned long request, u32 flags, u32 slot, u64 first, u64 pages,
		    void *bits)
{
	struct vmm_dirty dirty = {
		.size = sizeof(dirty),
		.flags = flags,
		.slot = slot,
		.first = first,
		.pages = pages,
		.bitmap = (uintptr_t)bits,
	};

	return do_ioctl(vm->fd, request, &dirty);
}

static int get_dirty(struct vm *vm, u64 first, u64 pages, void *bits)
{
	return log_call(vm, VMM_GET_DIRTY, 0, 1, first, pages, bits);
}

static int take_dirty(struct vm *vm, u64 first, u64 pages, void *bits)
{
	return log_call(vm, VMM_GET_DIRTY, VMM_DIRTY_CLEAR, 1, first, pages, bits);
}

static int clear_dirty(struct vm *vm, u64 first, u64 pages, const void *bits)
{
	return log_call(vm, VMM_CLEAR_DIRTY, 0, 1, first, pages, (void *)bits);
}

static int mark_dirty(struct vm *vm, u64 gpa, u64 bytes)
{
	struct vmm_range range = { .size = sizeof(range), .gpa = gpa, .bytes = bytes };

	return do_ioctl(vm->fd, VMM_MARK_DIRTY, &range);
}

#define count(bits)	count_pages(bits, PAGES)

/* Adds one to a doubleword in each page from BASE on, up to RBP */
GUEST_CODE(sweep, 64,
	   "mov $0x800000, %ebx\n"
	   "2: incl (%rbx); add $0x1000, %rbx; cmp %rbp, %rbx; jb 2b\n"
	   "out %al, $PORT_DONE\n");

#define guest_writes(page) guest_does(self->vcpu, BASE + (page) * PAGE + 8)

static void guest_sweeps(struct vcpu *vcpu, u64 pages)
{
	vcpu_load(vcpu, MODE_LONG, sweep);
	vcpu_get(vcpu, VMM_STATE_REGS);
	vcpu->state.regs.gpr[VMM_RBP] = BASE + pages * PAGE;
	vcpu_set(vcpu, VMM_STATE_REGS);
	run_done(vcpu);
}

/* ---- bad input ---- */

TEST_F(dirtylog, refused)
{
	u64 *bits = self->bits;
	struct vmm_dirty dirty = { .size = sizeof(dirty), .slot = 1, .pages = 64 };
	struct vmm_range range = { .size = sizeof(range) };

	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, 0));
	EXPECT_EQ(-ENODATA, get_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(-ENODATA, clear_dirty(self->vm, 0, PAGES, bits));
	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	EXPECT_EQ(-ENOENT, log_call(self->vm, VMM_GET_DIRTY, 0, 2, 0, 64, bits));
	EXPECT_EQ(-EINVAL, log_call(self->vm, VMM_GET_DIRTY, 2, 1, 0, 64, bits));
	EXPECT_EQ(-EINVAL, log_call(self->vm, VMM_CLEAR_DIRTY, 1, 1, 0, 64, bits));
	dirty.bitmap = (uintptr_t)bits;
	dirty.reserved = 1;
	EXPECT_EQ(-EINVAL, do_ioctl(self->vm->fd, VMM_GET_DIRTY, &dirty));
	EXPECT_EQ(-EINVAL, do_ioctl(self->vm->fd, VMM_CLEAR_DIRTY, &dirty));
	/* Alignment; nothing; beyond the end; around the end of all numbers */
	EXPECT_EQ(-EINVAL, get_dirty(self->vm, 1, 64, bits));
	EXPECT_EQ(-EINVAL, get_dirty(self->vm, 0, 63, bits));
	EXPECT_EQ(-EINVAL, get_dirty(self->vm, 0, 0, bits));
	EXPECT_EQ(-ERANGE, get_dirty(self->vm, 0, PAGES + 64, bits));
	EXPECT_EQ(-ERANGE, get_dirty(self->vm, PAGES, 64, bits));
	EXPECT_EQ(-ERANGE, get_dirty(self->vm, PAGES - 64, 128, bits));
	EXPECT_EQ(-ERANGE, get_dirty(self->vm, -64ULL, 128, bits));
	EXPECT_EQ(-ERANGE, get_dirty(self->vm, 64, -64ULL, bits));
	EXPECT_EQ(-EFAULT, get_dirty(self->vm, 0, PAGES, (void *)8));
	EXPECT_EQ(-EFAULT, clear_dirty(self->vm, 0, PAGES, (void *)8));
	EXPECT_EQ(-EINVAL, mark_dirty(self->vm, BASE, 0));
	EXPECT_EQ(-ERANGE, mark_dirty(self->vm, BASE, -1ULL));
	EXPECT_EQ(-ENXIO, mark_dirty(self->vm, BASE - 1, 2));
	EXPECT_EQ(-ENXIO, mark_dirty(self->vm, BASE, 2 * HUGE + 1));
	range.flags = 1;
	EXPECT_EQ(-EINVAL, do_ioctl(self->vm->fd, VMM_MARK_DIRTY, &range));
	/* None of that has marked anything. */
	EXPECT_EQ(0, get_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(0, count(bits));
}

/* A buffer that ends too early takes nothing from the log. */
TEST_F(dirtylog, fault_while_copying)
{
	u64 pages = 16 * HUGE / PAGE, *bits;
	u8 *big = map_memory(16 * HUGE);

	bits = (u64 *)map_memory(2 * PAGE);
	ASSERT_EQ(0, munmap((u8 *)bits + PAGE, PAGE));
	ASSERT_EQ(0, slot(1, BASE, 16 * HUGE, big, VMM_MEM_LOG_DIRTY));
	ASSERT_EQ(0, mark_dirty(self->vm, BASE + 5 * PAGE, 1));
	ASSERT_EQ(0, mark_dirty(self->vm, BASE + (pages - 5) * PAGE, 1));
	EXPECT_EQ(-EFAULT, take_dirty(self->vm, 0, pages, bits + PAGE / 8 - 70));
	EXPECT_EQ(0, get_dirty(self->vm, 0, pages, bits));
	EXPECT_EQ(1, page_is_set(bits, 5));
	EXPECT_EQ(1, page_is_set(bits, pages - 5));
}

/* ---- what is noted ---- */

TEST_F(dirtylog, get_and_clear)
{
	u64 *bits = self->bits;

	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	guest_writes(3);
	guest_writes(4);
	guest_writes(700);
	ASSERT_EQ(0, get_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(3, count(bits));
	EXPECT_TRUE(page_is_set(bits, 3) && page_is_set(bits, 4) && page_is_set(bits, 700));
	/* To look takes nothing away. */
	ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(3, count(bits));
	ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(0, count(bits));
	guest_writes(4);
	guest_writes(5);
	ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(2, count(bits));
	EXPECT_TRUE(page_is_set(bits, 4) && page_is_set(bits, 5));
	/* Reads do not count, and a part of the range leaves the rest alone. */
	guest_writes(64);
	guest_writes(640);
	vcpu_load(self->vcpu, MODE_LONG, page_reader);
	guest_does(self->vcpu, BASE + 70 * PAGE);
	guest_does(self->vcpu, BASE + 3 * PAGE);
	ASSERT_EQ(0, take_dirty(self->vm, 64, 128, bits));
	EXPECT_EQ(1, bits[0]);
	EXPECT_EQ(0, bits[1]);
	ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(1, count(bits));
	EXPECT_TRUE(page_is_set(bits, 640));
}

TEST_F(dirtylog, clear_by_hand)
{
	u64 *bits = self->bits, some[WORDS] = { 0 };

	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	guest_writes(1);
	guest_writes(2);
	guest_writes(513);
	some[0] = 1 << 2 | 1 << 9;
	ASSERT_EQ(0, clear_dirty(self->vm, 0, PAGES, some));
	ASSERT_EQ(0, get_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(2, count(bits));
	EXPECT_FALSE(page_is_set(bits, 2));
	guest_writes(1);
	guest_writes(2);
	ASSERT_EQ(0, get_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(3, count(bits));
	memset(some, 0xff, sizeof(some));
	ASSERT_EQ(0, clear_dirty(self->vm, 512, 512, some));
	ASSERT_EQ(0, get_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(2, count(bits));
	ASSERT_EQ(0, clear_dirty(self->vm, 0, PAGES, some));
	ASSERT_EQ(0, get_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(0, count(bits));
}

/* All pages at once, over and over: what is armed by whole tables */
TEST_F(dirtylog, all_pages)
{
	u64 *bits = self->bits;
	u32 i, round;

	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, 0));
	guest_sweeps(self->vcpu, PAGES);
	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	for (round = 0; round < 3; round++) {
		guest_sweeps(self->vcpu, PAGES);
		ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
		EXPECT_EQ(PAGES, count(bits));
		ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
		EXPECT_EQ(0, count(bits));
		vcpu_load(self->vcpu, MODE_LONG, page_writer);
		guest_writes(17);
		guest_writes(999);
		ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
		EXPECT_EQ(2, count(bits));
	}
	TH_LOG("%llu pages were logged by the CPU",
	       get_stat(self->vcpu->fd, "pages_logged"));
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(4, *(u32 *)(self->mem + i * PAGE));
}

/* A slot that begins and ends where neither a word nor a table does */
TEST_F(dirtylog, odd_slot)
{
	u64 *bits = self->bits, pages = 777;
	u32 i;

	ASSERT_EQ(0, slot(1, BASE + 37 * PAGE, pages * PAGE, self->mem, VMM_MEM_LOG_DIRTY));
	EXPECT_EQ(-EINVAL, take_dirty(self->vm, 64, 64 * 11 + 5, bits));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	for (i = 0; i < 2; i++) {
		guest_writes(37);
		guest_writes(37 + 26);
		guest_writes(37 + 27);
		guest_writes(511);
		guest_writes(512);
		guest_writes(37 + 776);
		memset(bits, 0xff, sizeof(self->bits));
		ASSERT_EQ(0, take_dirty(self->vm, 0, pages, bits));
		memset(bits + 13, 0, sizeof(self->bits) - 13 * 8);
		EXPECT_EQ(6, count(bits));
		EXPECT_TRUE(page_is_set(bits, 0) && page_is_set(bits, 26) && page_is_set(bits, 27));
		EXPECT_TRUE(page_is_set(bits, 511 - 37) && page_is_set(bits, 512 - 37));
		EXPECT_TRUE(page_is_set(bits, 776));
	}
	guest_writes(37 + 770);
	ASSERT_EQ(0, take_dirty(self->vm, 768, 9, bits));
	EXPECT_EQ(1 << 2, bits[0]);
}

/* The other slots have no log, and their pages no faults. */
TEST_F(dirtylog, neighbours)
{
	u64 *bits = self->bits, faults;

	ASSERT_EQ(0, slot(1, BASE, HUGE + 5 * PAGE, self->mem, VMM_MEM_LOG_DIRTY));
	ASSERT_EQ(0, slot(2, BASE + HUGE + 5 * PAGE, HUGE - 5 * PAGE,
			  self->mem + HUGE + 5 * PAGE, 0));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	guest_writes(516);
	guest_writes(517);
	ASSERT_EQ(0, take_dirty(self->vm, 0, 517, bits));
	EXPECT_EQ(1 << 4, bits[8]);
	faults = get_stat(self->vcpu->fd, "faults");
	guest_writes(517);
	EXPECT_EQ(faults, get_stat(self->vcpu->fd, "faults"));
	guest_writes(516);
	ASSERT_EQ(0, take_dirty(self->vm, 0, 517, bits));
	EXPECT_EQ(1 << 4, bits[8]);
}

/* The pages behind its end belong to another slot, and a write there is none of its business. */
TEST_F(dirtylog, ends_within_a_table)
{
	static const u32 ends[] = { 449, 480, 511 };
	u64 *bits = self->bits, pages;
	u32 i, j, log;

	for (i = 0; i < 2 * ARRAY_SIZE(ends); i++) {
		pages = ends[i / 2];
		log = i % 2 ? VMM_MEM_LOG_DIRTY : 0;
		ASSERT_EQ(0, slot(1, BASE, pages * PAGE, self->mem, VMM_MEM_LOG_DIRTY));
		ASSERT_EQ(0, slot(2, BASE + pages * PAGE, HUGE, self->mem + pages * PAGE, log));
		guest_sweeps(self->vcpu, pages + 1);
		for (j = 0; j < 2; j++) {
			memset(bits, 0, sizeof(self->bits));
			ASSERT_EQ(0, take_dirty(self->vm, 0, pages, bits));
			EXPECT_EQ(j ? 2 : pages, count(bits)) TH_LOG("%llu pages, %u", pages, j);
			vcpu_load(self->vcpu, MODE_LONG, page_writer);
			guest_writes(pages);
			guest_writes(17);
			guest_writes(pages - 1);
		}
		ASSERT_EQ(0, take_dirty(self->vm, 0, pages, bits));
		EXPECT_EQ(2, count(bits)) TH_LOG("%llu pages", pages);
		EXPECT_TRUE(page_is_set(bits, 17) && page_is_set(bits, pages - 1));
		ASSERT_EQ(0, slot(1, 0, 0, NULL, 0));
		ASSERT_EQ(0, slot(2, 0, 0, NULL, 0));
	}
}

/* What the VMM says it has written, in several slots of which one has a log */
TEST_F(dirtylog, marked)
{
	u64 *bits = self->bits;

	ASSERT_EQ(0, slot(2, BASE - HUGE, HUGE, map_memory(HUGE), 0));
	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	ASSERT_EQ(0, mark_dirty(self->vm, BASE - 1, 2));
	ASSERT_EQ(0, mark_dirty(self->vm, BASE + 10 * PAGE - 1, 2 * PAGE));
	ASSERT_EQ(0, mark_dirty(self->vm, BASE + 2 * HUGE - 1, 1));
	ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(5, count(bits));
	EXPECT_EQ(1 | 7 << 9, bits[0]);
	EXPECT_TRUE(page_is_set(bits, PAGES - 1));
}

/* What the module writes for the guest: its clock, and a page that the guest is told by it */
TEST_F(dirtylog, kernel_writes)
{
	u64 *bits = self->bits;

	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, 0x4b564d01, (BASE + 30 * PAGE) | 1));
	guest_writes(1);
	ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
	EXPECT_TRUE(page_is_set(bits, 30));
	EXPECT_TRUE(page_is_set(bits, 1));
	/* Published again, as after a new clock of the VM */
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, 0x4b564d01, (BASE + 31 * PAGE) | 1));
	guest_writes(2);
	ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
	EXPECT_TRUE(page_is_set(bits, 31));
}

/* The accessed and dirty bits of the guest's own page tables are writes, too. */
TEST_F(dirtylog, guest_page_tables)
{
	struct vm *vm = self->vm;
	u64 low[4];

	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, 0));
	guest_map(vm, BASE, BASE, PTE_P | PTE_RW);
	/* Slot 0 has the tables. */
	ASSERT_EQ(0, slot(0, 0, 1 * MIB, vm->mem, VMM_MEM_LOG_DIRTY));
	ASSERT_EQ(0, log_call(vm, VMM_GET_DIRTY, VMM_DIRTY_CLEAR, 0, 0, 256, low));
	guest_does(self->vcpu, BASE);
	ASSERT_EQ(0, log_call(vm, VMM_GET_DIRTY, VMM_DIRTY_CLEAR, 0, 0, 256, low));
	EXPECT_TRUE(low[0] >> (TABLES_GPA / PAGE));
}

/* ---- begin and end, and the slot meanwhile ---- */

TEST_F(dirtylog, huge_pages)
{
	u64 *bits = self->bits, faults;
	u8 *mem = map_aligned(2 * HUGE);
	u32 i;

	/* Written to: what is read first may become the zero page. */
	madvise(mem, 2 * HUGE, MADV_HUGEPAGE);
	mem[0] = 0;
	mem[HUGE] = 0;
	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	guest_writes(0);
	guest_writes(600);
	if (get_stat(self->vm->fd, "pages_2m") != 2)
		SKIP(return, "the host gives no transparent huge pages");
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, mem, VMM_MEM_LOG_DIRTY));
		guest_writes(5);
		guest_writes(6);
		/* What is not written to stays huge. */
		EXPECT_EQ(1, get_stat(self->vm->fd, "pages_2m"));
		guest_writes(5);
		guest_writes(800);
		EXPECT_EQ(0, get_stat(self->vm->fd, "pages_2m"));
		ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
		EXPECT_EQ(3, count(bits));
		EXPECT_TRUE(page_is_set(bits, 5) && page_is_set(bits, 6) && page_is_set(bits, 800));
		/* The first write after the end brings them back. */
		ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, mem, 0));
		guest_writes(40);
		guest_writes(900);
		EXPECT_EQ(2, get_stat(self->vm->fd, "pages_2m"));
		faults = get_stat(self->vcpu->fd, "faults");
		guest_writes(41);
		guest_writes(800);
		EXPECT_EQ(faults, get_stat(self->vcpu->fd, "faults"));
		EXPECT_EQ(i + 1, *(u32 *)(mem + 6 * PAGE + 8));
	}
}

/* After the end of a log of small pages one fault is enough for all of a table. */
TEST_F(dirtylog, end_small)
{
	u64 faults;

	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, 0));
	guest_sweeps(self->vcpu, PAGES);
	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	guest_sweeps(self->vcpu, PAGES);
	ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, self->bits));
	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, 0));
	faults = get_stat(self->vcpu->fd, "faults");
	guest_sweeps(self->vcpu, PAGES);
	EXPECT_GE(faults + 8, get_stat(self->vcpu->fd, "faults"));
	EXPECT_EQ(3, *(u32 *)(self->mem + 1000 * PAGE));
}

/* A log stays with its memory. */
TEST_F(dirtylog, moved_and_changed)
{
	u64 *bits = self->bits;

	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	guest_writes(77);
	ASSERT_EQ(0, slot(1, 4 * BASE, 2 * HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	guest_does(self->vcpu, 4 * BASE + 78 * PAGE);
	ASSERT_EQ(0, slot(1, 4 * BASE, 2 * HUGE, self->mem, VMM_MEM_LOG_DIRTY | VMM_MEM_READONLY));
	ASSERT_EQ(0, slot(1, BASE, 2 * HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	guest_writes(79);
	ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES, bits));
	EXPECT_EQ(3, count(bits));
	EXPECT_TRUE(page_is_set(bits, 77) && page_is_set(bits, 78) && page_is_set(bits, 79));
	/* Other memory has another log, and one that was ended is gone. */
	guest_writes(80);
	ASSERT_EQ(0, slot(1, BASE, HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES / 2, bits));
	memset(bits + WORDS / 2, 0, WORDS / 2 * 8);
	EXPECT_EQ(0, count(bits));
	guest_writes(81);
	ASSERT_EQ(0, slot(1, BASE, HUGE, self->mem, 0));
	ASSERT_EQ(0, slot(1, BASE, HUGE, self->mem, VMM_MEM_LOG_DIRTY));
	ASSERT_EQ(0, take_dirty(self->vm, 0, PAGES / 2, bits));
	EXPECT_EQ(0, count(bits));
}

/* ---- read while the guest writes ---- */

static void copy_dirty(const u64 *bits, u8 *shadow, const u8 *mem)
{
	u32 i;

	for (i = 0; i < PAGES; i++)
		if (page_is_set(bits, i))
			memcpy(shadow + i * PAGE, mem + i * PAGE, PAGE);
}

enum harvest { TAKE, BY_HAND, NR_HARVESTS };

/* One round of reading. In the end the copy must be the guest's memory, page for page. */
static void harvest(struct vm *vm, enum harvest how, u8 *shadow, const u8 *mem)
{
	u64 bits[WORDS];
	int ret;

	if (how == TAKE) {
		ret = take_dirty(vm, 0, PAGES, bits);
	} else {
		ret = get_dirty(vm, 0, PAGES, bits);
		if (!ret)
			ret = clear_dirty(vm, 0, PAGES, bits);
	}
	if (ret)
		fail("reading the log: %s", strerror(-ret));
	copy_dirty(bits, shadow, mem);
}

static void compare_copy(struct __test_metadata *_metadata, struct vm *vm, struct vcpu *vcpu,
			 u8 *mem, enum harvest how, bool toggle, bool reclaim)
{
	u8 *shadow = map_memory(2 * HUGE);
	struct writer_thread w = { .vcpu = vcpu };
	u64 end = now_ns() + (host_is_slow() ? 1500000000ULL : 700000000ULL);
	pthread_t thread;
	u32 i, rounds = 0;

	ASSERT_EQ(0, vm_set_slot(vm, 1, BASE, 2 * HUGE, mem, 0));
	vcpu_load(vcpu, MODE_LONG, scatter);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_writer, &w));
	/* The log begins while the guest runs, and after it all that was there is copied. */
	usleep(50000);
	ASSERT_EQ(0, vm_set_slot(vm, 1, BASE, 2 * HUGE, mem, VMM_MEM_LOG_DIRTY));
	memcpy(shadow, mem, 2 * HUGE);
	while (now_ns() < end || rounds < 3) {
		harvest(vm, how, shadow, mem);
		rounds++;
		if (toggle && rounds % 2) {
			ASSERT_EQ(0, vm_set_slot(vm, 1, 4 * BASE, 2 * HUGE, mem,
						 VMM_MEM_LOG_DIRTY));
			ASSERT_EQ(0, vm_set_slot(vm, 1, BASE, 2 * HUGE, mem, VMM_MEM_LOG_DIRTY));
		}
		if (reclaim)
			madvise(mem + rounds * 37 % PAGES * PAGE, 16 * PAGE, MADV_PAGEOUT);
	}
	__atomic_store_n(&w.stop, true, __ATOMIC_SEQ_CST);
	ASSERT_EQ(0, do_ioctl(vcpu->fd, VMM_KICK, NULL));
	pthread_join(thread, NULL);
	harvest(vm, how, shadow, mem);
	for (i = 0; i < PAGES; i++)
		if (memcmp(shadow + i * PAGE, mem + i * PAGE, PAGE)) {
			EXPECT_EQ(-1, (int)i) TH_LOG("page %u was missed", i);
			break;
		}
	munmap(shadow, 2 * HUGE);
}

TEST_F(dirtylog, small_while_written)
{
	compare_copy(_metadata, self->vm, self->vcpu, self->mem, TAKE, false, false);
}

TEST_F(dirtylog, small_by_hand_while_written)
{
	compare_copy(_metadata, self->vm, self->vcpu, self->mem, BY_HAND, false, false);
}

TEST_F(dirtylog, huge_while_written)
{
	u8 *mem = map_aligned(2 * HUGE);

	madvise(mem, 2 * HUGE, MADV_HUGEPAGE);
	mem[0] = 0;
	mem[HUGE] = 0;
	compare_copy(_metadata, self->vm, self->vcpu, mem, TAKE, false, false);
}

TEST_F(dirtylog, memfd_while_written)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);
	u8 *mem;

	ASSERT_EQ(0, ftruncate(fd, 2 * HUGE));
	mem = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	compare_copy(_metadata, self->vm, self->vcpu, mem, TAKE, false, false);
	close(fd);
}

TEST_F(dirtylog, moved_while_written)
{
	compare_copy(_metadata, self->vm, self->vcpu, self->mem, TAKE, true, false);
}

TEST_F(dirtylog, reclaimed_while_written)
{
	compare_copy(_metadata, self->vm, self->vcpu, self->mem, TAKE, false, true);
}

TEST_HARNESS_MAIN
