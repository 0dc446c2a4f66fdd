// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views over the same slots: the same memory, whatever happens to it.
 */
/* also: intel-sandy_bridge */
/* hosts: smp 6.12 */
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define HUGE	(2 * MIB)
#define BASE	0x800000		/* guest-physical; aligned as a huge page */
#define BYTES	HUGE

FIXTURE(views) {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	u32 view;		/* one beside view 0, in which the vCPU is */
	int mark;
};

static int view_call(int fd, unsigned long request, u32 view, u32 *created)
{
	struct vmm_view v = { .size = sizeof(v), .view = view };
	int ret = do_ioctl(fd, request, &v);

	if (created)
		*created = v.view;
	return ret;
}

#define create_view(vm, created)	view_call((vm)->fd, VMM_CREATE_VIEW, 0, created)
#define destroy_view(vm, view)		view_call((vm)->fd, VMM_DESTROY_VIEW, view, NULL)
#define set_view(vcpu, view)		view_call((vcpu)->fd, VMM_SET_VIEW, view, NULL)

static u8 *map_aligned(size_t bytes)
{
	u8 *mem = map_memory(bytes + HUGE);

	return (u8 *)(((uintptr_t)mem + HUGE - 1) & ~(HUGE - 1));
}

FIXTURE_SETUP(views)
{
	self->mark = host_log_mark();
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	self->mem = map_aligned(BYTES);
	ASSERT_EQ(0, madvise(self->mem, BYTES, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, BYTES, self->mem, 0));
	ASSERT_EQ(0, create_view(self->vm, &self->view));
	ASSERT_EQ(0, set_view(self->vcpu, self->view));
}

FIXTURE_TEARDOWN(views)
{
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

/* Adds one to the doubleword at the address that it gets, and says the sum */
GUEST_CODE(writer, 64,
	   "1: in $PORT_VALUE, %eax; incl (%rax); mov (%rax), %eax; out %eax, $PORT_VALUE; jmp 1b\n");

static void ask(struct vcpu *vcpu, u64 address)
{
	struct vmm_exit *e = run_until(vcpu, VMM_EXIT_IO);

	if (!e->io.in)
		fail("the guest has not come to its IN");
	e->io.data = address;
}

static u32 guest_does(struct vcpu *vcpu, u64 address)
{
	ask(vcpu, address);
	return run_value(vcpu);
}

#define guest_does_page(page) guest_does(self->vcpu, BASE + (page) * PAGE)
#define word(page) (*(volatile u32 *)(self->mem + (page) * PAGE))

/* ---- bad input ---- */

TEST_F(views, refused)
{
	struct vmm_view v = { .size = sizeof(v), .view = 1 };
	struct vm *vm = self->vm;
	u32 i, view;

	EXPECT_TRUE(has_caps(VMM_CAP_VIEWS));
	EXPECT_EQ(1, self->view);
	EXPECT_EQ(-EINVAL, do_ioctl(vm->fd, VMM_CREATE_VIEW, &v));
	v.reserved = 1;
	EXPECT_EQ(-EINVAL, do_ioctl(vm->fd, VMM_DESTROY_VIEW, &v));
	EXPECT_EQ(-EINVAL, do_ioctl(self->vcpu->fd, VMM_SET_VIEW, &v));
	v.reserved = 0;
	v.flags = 1;
	EXPECT_EQ(-EINVAL, do_ioctl(vm->fd, VMM_DESTROY_VIEW, &v));
	EXPECT_EQ(-EINVAL, do_ioctl(self->vcpu->fd, VMM_SET_VIEW, &v));
	EXPECT_EQ(-EPERM, destroy_view(vm, 0));
	EXPECT_EQ(-ENOENT, destroy_view(vm, 2));
	EXPECT_EQ(-ENOENT, set_view(self->vcpu, 2));
	EXPECT_EQ(-ENOENT, set_view(self->vcpu, ~0U));
	EXPECT_EQ(-EBUSY, destroy_view(vm, self->view));
	ASSERT_EQ(0, set_view(self->vcpu, 0));
	EXPECT_EQ(0, destroy_view(vm, self->view));
	EXPECT_EQ(-ENOENT, destroy_view(vm, self->view));
	for (i = 1; i < VMM_MAX_VIEWS; i++) {
		ASSERT_EQ(0, create_view(vm, &view));
		EXPECT_EQ(i, view);
	}
	EXPECT_EQ(-ENOSPC, create_view(vm, &view));
	EXPECT_EQ(0, destroy_view(vm, 7));
	EXPECT_EQ(0, create_view(vm, &view));
	EXPECT_EQ(7, view);
}

/* ---- views ---- */

/* They are of the same memory, whatever happens to it. */
TEST_F(views, same_memory)
{
	u8 *other = map_memory(BYTES);
	u32 view;

	ASSERT_EQ(0, create_view(self->vm, &view));
	vcpu_load(self->vcpu, MODE_LONG, writer);
	EXPECT_EQ(1, guest_does_page(3));
	ASSERT_EQ(0, set_view(self->vcpu, 0));
	EXPECT_EQ(2, guest_does_page(3));
	ASSERT_EQ(0, set_view(self->vcpu, view));
	EXPECT_EQ(3, guest_does_page(3));
	EXPECT_EQ(3, word(3));
	/* What the host takes away, and what slots become, holds for all. */
	ASSERT_EQ(0, madvise(self->mem + 3 * PAGE, PAGE, MADV_DONTNEED));
	ASSERT_EQ(0, set_view(self->vcpu, self->view));
	EXPECT_EQ(1, guest_does_page(3));
	ASSERT_EQ(0, set_view(self->vcpu, view));
	EXPECT_EQ(2, guest_does_page(3));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, BYTES, other, 0));
	EXPECT_EQ(1, guest_does_page(3));
	ASSERT_EQ(0, set_view(self->vcpu, 0));
	EXPECT_EQ(2, guest_does_page(3));
	EXPECT_EQ(2, *(u32 *)(other + 3 * PAGE));
	EXPECT_EQ(2, word(3));
}

/* Views that come and go, with roots at addresses that were roots before */
TEST_F(views, come_and_go)
{
	u64 pages = get_stat(self->vm->fd, "table_pages");
	u32 i, view;

	vcpu_load(self->vcpu, MODE_LONG, writer);
	for (i = 1; i <= 20; i++) {
		ASSERT_EQ(0, set_view(self->vcpu, 0));
		ASSERT_EQ(0, destroy_view(self->vm, self->view));
		ASSERT_EQ(0, create_view(self->vm, &view));
		ASSERT_EQ(self->view, view);
		ASSERT_EQ(0, set_view(self->vcpu, view));
		EXPECT_EQ(i, guest_does_page(3));
	}
	ASSERT_EQ(0, set_view(self->vcpu, 0));
	ASSERT_EQ(0, destroy_view(self->vm, self->view));
	EXPECT_GE(pages, get_stat(self->vm->fd, "table_pages"));
}

/* In one view and the other, each time anew */
TEST_F(views, dirty_log)
{
	u64 bits[BYTES / PAGE / 64];
	struct vmm_dirty dirty = {
		.size = sizeof(dirty), .flags = VMM_DIRTY_CLEAR, .slot = 1, .pages = BYTES / PAGE,
		.bitmap = (uintptr_t)bits,
	};
	u32 round;

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, BYTES, self->mem, VMM_MEM_LOG_DIRTY));
	vcpu_load(self->vcpu, MODE_LONG, writer);
	for (round = 0; round < 3; round++) {
		guest_does_page(1);
		ASSERT_EQ(0, set_view(self->vcpu, 0));
		guest_does_page(2);
		ASSERT_EQ(0, set_view(self->vcpu, self->view));
		guest_does_page(2);
		ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_GET_DIRTY, &dirty));
		EXPECT_EQ(1 << 1 | 1 << 2, bits[0]);
	}
}

TEST_HARNESS_MAIN
