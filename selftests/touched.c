// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages a guest has touched since it was last asked.
 */
/* also: intel-sandy_bridge */
/* hosts: smp 6.12 */
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "pages.h"
#include "vmmtest.h"

#define HUGE	(2 * MIB)
#define BASE	0x800000
#define PAGES	(2 * HUGE / PAGE)
#define WORDS	(PAGES / 64)

FIXTURE(touched) {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	u64 bits[WORDS];
	int mark;
};

FIXTURE_SETUP(touched)
{
	u8 *mem = map_memory(3 * HUGE);

	self->mark = host_log_mark();
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	self->mem = (u8 *)(((uintptr_t)mem + HUGE - 1) & ~(HUGE - 1));
	ASSERT_EQ(0, madvise(self->mem, 2 * HUGE, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, 2 * HUGE, self->mem, 0));
}

FIXTURE_TEARDOWN(touched)
{
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

static int get_touched(struct vm *vm, u64 gpa, u64 bytes, u32 flags, void *bits)
{
	struct vmm_touched t = {
		.size = sizeof(t), .flags = flags, .gpa = gpa, .bytes = bytes,
		.bitmap = (uintptr_t)bits,
	};

	return do_ioctl(vm->fd, VMM_GET_TOUCHED, &t);
}

#define look()	ASSERT_EQ(0, get_touched(self->vm, BASE, 2 * HUGE, 0, self->bits))
#define take()	ASSERT_EQ(0, get_touched(self->vm, BASE, 2 * HUGE, VMM_TOUCHED_CLEAR, self->bits))
#define NEEDS_ACCESSED() do {							\
	if (!has_caps(VMM_CAP_TOUCHED))						\
		SKIP(return, "the CPU has no accessed bits");			\
} while (0)

#define count(bits)	count_pages(bits, PAGES)

#define touches(page)	guest_does(self->vcpu, BASE + (page) * PAGE)

TEST_F(touched, refused)
{
	struct vm *vm = self->vm;
	u64 *bits = self->bits;

	if (!has_caps(VMM_CAP_TOUCHED)) {
		EXPECT_EQ(-EOPNOTSUPP, get_touched(vm, BASE, PAGE, 0, bits));
		return;
	}
	EXPECT_EQ(-EINVAL, get_touched(vm, BASE, PAGE, 2, bits));
	EXPECT_EQ(-EINVAL, get_touched(vm, BASE + 8, PAGE, 0, bits));
	EXPECT_EQ(-EINVAL, get_touched(vm, BASE, PAGE - 8, 0, bits));
	EXPECT_EQ(-EINVAL, get_touched(vm, BASE, 0, 0, bits));
	EXPECT_EQ(-ERANGE, get_touched(vm, BASE, -PAGE, 0, bits));
	EXPECT_EQ(-ERANGE, get_touched(vm, (1ULL << vm->info.gpa_bits) - PAGE, 2 * PAGE, 0, bits));
	EXPECT_EQ(-EFAULT, get_touched(vm, BASE, PAGE, 0, (void *)8));
	/* Where there is no memory nothing was touched. */
	bits[0] = ~0ULL;
	EXPECT_EQ(0, get_touched(vm, 1 * GIB, 64 * PAGE, 0, bits));
	EXPECT_EQ(0, bits[0]);
}

TEST_F(touched, reads_and_writes)
{
	NEEDS_ACCESSED();
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	touches(3);
	touches(1000);
	look();
	EXPECT_EQ(2, count(self->bits));
	EXPECT_TRUE(page_is_set(self->bits, 3) && page_is_set(self->bits, 1000));
	take();
	EXPECT_EQ(2, count(self->bits));
	take();
	EXPECT_EQ(0, count(self->bits));
	/* What is mapped and cached is seen when it is touched again. */
	touches(3);
	vcpu_load(self->vcpu, MODE_LONG, page_reader);
	touches(4);
	take();
	EXPECT_EQ(2, count(self->bits));
	EXPECT_TRUE(page_is_set(self->bits, 3) && page_is_set(self->bits, 4));
	/* A part of the range, in bits from its beginning on */
	touches(70);
	touches(75);
	ASSERT_EQ(0, get_touched(self->vm, BASE + 70 * PAGE, PAGE, VMM_TOUCHED_CLEAR, self->bits));
	EXPECT_EQ(1, self->bits[0]);
	take();
	EXPECT_EQ(1, count(self->bits));
	EXPECT_TRUE(page_is_set(self->bits, 75));
}

TEST_F(touched, huge_page)
{
	NEEDS_ACCESSED();
	madvise(self->mem, 2 * HUGE, MADV_HUGEPAGE);
	self->mem[0] = 0;
	self->mem[HUGE] = 0;
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	touches(600);
	if (get_stat(self->vm->fd, "pages_2m") != 1)
		SKIP(return, "the host gives no transparent huge pages");
	take();
	EXPECT_EQ(512, count(self->bits));
	EXPECT_FALSE(page_is_set(self->bits, 511));
	EXPECT_TRUE(page_is_set(self->bits, 512));
	take();
	EXPECT_EQ(0, count(self->bits));
	touches(700);
	take();
	EXPECT_EQ(512, count(self->bits));
}

TEST_HARNESS_MAIN
