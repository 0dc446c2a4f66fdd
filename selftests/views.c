// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views over the same slots, and what they do not grant: each access that breaks it is seen, before
 * it is done, and nobody else notices.
 */
/* also: intel-sandy_bridge */
/* hosts: smp 6.12 */
#include <pthread.h>
#include <sys/mman.h>

#include "fuzz.h"
#include "kselftest_harness.h"
#include "vmmtest.h"

#define UD	6
#define PF	14

#define HUGE	(2 * MIB)
#define BASE	0x800000		/* guest-physical; aligned as a huge page */
#define BYTES	HUGE
#define R	VMM_ACCESS_READ
#define W	VMM_ACCESS_WRITE
#define X	VMM_ACCESS_EXEC

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

static int set_access(struct vm *vm, u32 view, u64 gpa, u64 bytes, u32 access)
{
	struct vmm_page_access a = {
		.size = sizeof(a), .view = view, .access = access, .gpa = gpa, .bytes = bytes,
	};

	return do_ioctl(vm->fd, VMM_SET_PAGE_ACCESS, &a);
}

#define page_access(page, access)						\
	ASSERT_EQ(0, set_access(self->vm, self->view, BASE + (page) * PAGE, PAGE, access))

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
#define WRITER_RIP	(CODE_GPA + 2)	/* of the INC */
/* Says the doubleword at the address that it gets */
GUEST_CODE(reader, 64,
	   "1: in $PORT_VALUE, %eax; mov (%rax), %eax; out %eax, $PORT_VALUE; jmp 1b\n");
/* Runs the code at the address that it gets, and says what that leaves in EAX */
GUEST_CODE(caller, 64,
	   "1: in $PORT_VALUE, %eax; call *%rax; out %eax, $PORT_VALUE; jmp 1b\n");

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
#define ask_page(page) ask(self->vcpu, BASE + (page) * PAGE)
#define word(page) (*(volatile u32 *)(self->mem + (page) * PAGE))

/* Run up to the exit of an access that is denied, which must be this one. */
static struct vmm_exit *denied(struct vcpu *vcpu, u64 gpa, u32 access, u32 granted, u64 rip)
{
	struct vmm_exit *e = run_until(vcpu, VMM_EXIT_ACCESS);
	struct vmm_exit_access *a = &e->access;

	if (a->gpa != gpa || a->access != access || a->granted != granted || e->rip != rip ||
	    (a->flags & ~VMM_FAULT_GVA) || a->once)
		fail("gpa %#llx access %u granted %u RIP %#llx flags %u once %u", a->gpa, a->access,
		     a->granted, e->rip, a->flags, a->once);
	/* The tables of these guests map one to one. */
	if (a->gva != (a->flags & VMM_FAULT_GVA ? gpa : 0))
		fail("gva %#llx, gpa %#llx", a->gva, a->gpa);
	return e;
}

/* ---- bad input ---- */

TEST_F(views, refused)
{
	struct vmm_view v = { .size = sizeof(v), .view = 1 };
	struct vmm_page_access a = { .size = sizeof(a), .view = 1, .gpa = BASE, .bytes = PAGE };
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

	a.flags = 1;
	EXPECT_EQ(-EINVAL, do_ioctl(vm->fd, VMM_SET_PAGE_ACCESS, &a));
	EXPECT_EQ(-EPERM, set_access(vm, 0, BASE, PAGE, R));
	EXPECT_EQ(-ENOENT, set_access(vm, VMM_MAX_VIEWS, BASE, PAGE, R));
	EXPECT_EQ(-EINVAL, set_access(vm, 1, BASE + 1, PAGE, R));
	EXPECT_EQ(-EINVAL, set_access(vm, 1, BASE, PAGE - 1, R));
	EXPECT_EQ(-EINVAL, set_access(vm, 1, BASE, 0, R));
	EXPECT_EQ(-EINVAL, set_access(vm, 1, BASE, PAGE, W));
	EXPECT_EQ(-EINVAL, set_access(vm, 1, BASE, PAGE, W | X));
	EXPECT_EQ(-EINVAL, set_access(vm, 1, BASE, PAGE, R | VMM_ACCESS_USER));
	EXPECT_EQ(has_caps(VMM_CAP_EXEC_ONLY) ? 0 : -EOPNOTSUPP, set_access(vm, 1, BASE, PAGE, X));
	EXPECT_EQ(-ERANGE, set_access(vm, 1, BASE, -PAGE, R));
	EXPECT_EQ(-ERANGE, set_access(vm, 1, 1ULL << vm->info.gpa_bits, PAGE, R));
	EXPECT_EQ(-ERANGE, set_access(vm, 1, 0, (1ULL << vm->info.gpa_bits) + PAGE, R));
	EXPECT_EQ(0, set_access(vm, 1, 0, 1ULL << vm->info.gpa_bits, R));
	EXPECT_EQ(0, set_access(vm, 1, (1ULL << vm->info.gpa_bits) - PAGE, PAGE, 0));
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

/* The same, with another access each time: a stale one grants or denies what it should not. */
TEST_F(views, come_and_go_with_access)
{
	static const u32 granted[] = { R | W | X, R, 0 };
	struct vcpu *vcpu = self->vcpu;
	u32 i, view, access, sum = 0;

	vcpu_load(vcpu, MODE_LONG, writer);
	for (i = 0; i < 300; i++) {
		access = granted[i % ARRAY_SIZE(granted)];
		ASSERT_EQ(0, set_view(vcpu, 0));
		ASSERT_EQ(0, destroy_view(self->vm, self->view));
		ASSERT_EQ(0, create_view(self->vm, &view));
		ASSERT_EQ(self->view, view);
		page_access(3, access);
		/* The next page has the access of the round before. */
		page_access(4, granted[(i + 2) % ARRAY_SIZE(granted)]);
		ASSERT_EQ(0, set_view(vcpu, view));
		if (access & W) {
			ASSERT_EQ(++sum, guest_does_page(3));
			continue;
		}
		ask_page(3);
		/* An INC that writes may be found out when it reads. */
		run_until(vcpu, VMM_EXIT_ACCESS);
		ASSERT_EQ(BASE + 3 * PAGE, vcpu->run->exit.access.gpa);
		ASSERT_EQ(access, vcpu->run->exit.access.granted);
		ASSERT_EQ(sum, word(3));
		ASSERT_EQ(0, set_view(vcpu, 0));
		ASSERT_EQ(++sum, run_value(vcpu));
	}
	EXPECT_EQ(0, word(4));
}

/* ---- what they do not grant ---- */

TEST_F(views, write)
{
	page_access(5, R | X);
	vcpu_load(self->vcpu, MODE_LONG, reader);
	EXPECT_EQ(0, guest_does_page(5));
	vcpu_load(self->vcpu, MODE_LONG, writer);
	ask_page(5);
	denied(self->vcpu, BASE + 5 * PAGE, W, R | X, WRITER_RIP);
	/* Again, for nothing has changed */
	denied(self->vcpu, BASE + 5 * PAGE, W, R | X, WRITER_RIP);
	EXPECT_EQ(2, get_stat(self->vcpu->fd, "access_exits"));
	EXPECT_EQ(0, word(5));
	/* For good */
	page_access(5, R | W | X);
	EXPECT_EQ(1, run_value(self->vcpu));
	EXPECT_EQ(2, guest_does_page(5));
	/* Mapped for writing already */
	page_access(5, R);
	ask_page(5);
	denied(self->vcpu, BASE + 5 * PAGE, W, R, WRITER_RIP);
	EXPECT_EQ(2, word(5));
	/* The view alone denies it. */
	ASSERT_EQ(0, set_view(self->vcpu, 0));
	EXPECT_EQ(3, run_value(self->vcpu));
}

TEST_F(views, neighbours)
{
	u32 i;

	page_access(5, R | X);
	page_access(7, 0);
	vcpu_load(self->vcpu, MODE_LONG, writer);
	for (i = 0; i < 40; i++) {
		if (i == 5 || i == 7)
			continue;
		EXPECT_EQ(1, guest_does_page(i));
		EXPECT_EQ(1, word(i));
	}
	ask_page(5);
	denied(self->vcpu, BASE + 5 * PAGE, W, R | X, WRITER_RIP);
	page_access(5, R | W | X);
	run_value(self->vcpu);
	vcpu_load(self->vcpu, MODE_LONG, reader);
	ask_page(7);
	denied(self->vcpu, BASE + 7 * PAGE, R, 0, CODE_GPA + 2);
}

TEST_F(views, read)
{
	word(9) = 99;
	vcpu_load(self->vcpu, MODE_LONG, reader);
	EXPECT_EQ(99, guest_does_page(9));
	page_access(9, 0);
	ask_page(9);
	denied(self->vcpu, BASE + 9 * PAGE, R, 0, CODE_GPA + 2);
	page_access(9, R);
	EXPECT_EQ(99, run_value(self->vcpu));
}

static const u8 returns_42[] = { 0xb8, 0x2a, 0, 0, 0, 0xc3 };	/* mov $42, %eax; ret */

TEST_F(views, exec)
{
	memcpy(self->mem + 0x3000, returns_42, sizeof(returns_42));
	page_access(3, R | W);
	vcpu_load(self->vcpu, MODE_LONG, caller);
	ask_page(3);
	denied(self->vcpu, BASE + 3 * PAGE, X, R | W, BASE + 3 * PAGE);
	page_access(3, R | X);
	EXPECT_EQ(42, run_value(self->vcpu));
	EXPECT_EQ(42, guest_does_page(3));
	vcpu_load(self->vcpu, MODE_LONG, writer);
	ask_page(3);
	denied(self->vcpu, BASE + 3 * PAGE, W, R | X, WRITER_RIP);
}

TEST_F(views, exec_alone)
{
	if (!has_caps(VMM_CAP_EXEC_ONLY))
		SKIP(return, "this CPU reads what it runs");
	memcpy(self->mem + 0x3000, returns_42, sizeof(returns_42));
	page_access(3, X);
	vcpu_load(self->vcpu, MODE_LONG, caller);
	EXPECT_EQ(42, guest_does_page(3));
	vcpu_load(self->vcpu, MODE_LONG, reader);
	ask_page(3);
	denied(self->vcpu, BASE + 3 * PAGE, R, X, CODE_GPA + 2);
	page_access(3, R);
	run_value(self->vcpu);
}

/* The slot's own come first, and what is no memory is a device whatever a view says. */
TEST_F(views, over_the_slots)
{
	ASSERT_EQ(0, set_access(self->vm, self->view, MMIO_GPA, PAGE, 0));
	vcpu_load(self->vcpu, MODE_LONG, reader);
	ask(self->vcpu, MMIO_GPA);
	run_until(self->vcpu, VMM_EXIT_MMIO)->mmio.data = 0x1234;
	EXPECT_EQ(0x1234, run_value(self->vcpu));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, BYTES, self->mem, VMM_MEM_READONLY));
	page_access(4, R | W | X);
	page_access(5, 0);
	ask_page(5);
	denied(self->vcpu, BASE + 5 * PAGE, R, 0, CODE_GPA + 2);
	vcpu_load(self->vcpu, MODE_LONG, writer);
	ask_page(4);
	run_until(self->vcpu, VMM_EXIT_EMULATE);
}

/* What a view denies is of addresses, whatever memory moves there. */
TEST_F(views, slots_move)
{
	u8 *other = map_memory(BYTES);

	page_access(5, R);
	vcpu_load(self->vcpu, MODE_LONG, writer);
	EXPECT_EQ(1, guest_does_page(4));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 4 * BASE, BYTES, self->mem, 0));
	EXPECT_EQ(1, guest_does(self->vcpu, 4 * BASE + 5 * PAGE));
	ASSERT_EQ(0, vm_set_slot(self->vm, 2, BASE, BYTES, other, 0));
	EXPECT_EQ(1, guest_does_page(4));
	ask_page(5);
	denied(self->vcpu, BASE + 5 * PAGE, W, R, WRITER_RIP);
	EXPECT_EQ(0, *(u32 *)(other + 5 * PAGE));
	ASSERT_EQ(0, vm_set_slot(self->vm, 2, 0, 0, NULL, 0));
	run_until(self->vcpu, VMM_EXIT_EMULATE);
}

/* The CPU's own accesses count: to page tables, and by the delivery of events. */
TEST_F(views, walks)
{
	u64 table;
	struct vmm_exit *e;
	u32 i;

	vcpu_load(self->vcpu, MODE_LONG, reader);
	guest_map(self->vm, BASE, BASE, PTE_P | PTE_RW);
	table = guest_pte(self->vm, BASE) & ~(PAGE - 1);
	ask_page(0);
	ASSERT_EQ(0, set_access(self->vm, self->view, table, PAGE, 0));
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, vcpu_run(self->vcpu));
		e = &self->vcpu->run->exit;
		if (e->reason != VMM_EXIT_ACCESS)
			break;
		EXPECT_EQ(table, e->access.gpa & ~(PAGE - 1));
		EXPECT_TRUE(e->access.flags & VMM_FAULT_WALK);
		EXPECT_TRUE(e->access.access & R);
		if (e->access.flags & VMM_FAULT_GVA)
			EXPECT_EQ(BASE, e->access.gva & ~(HUGE - 1));
		e->access.once = 1;
	}
	EXPECT_EQ(VMM_EXIT_IO, e->reason);
	EXPECT_EQ(1, i);
}

GUEST_CODE(undefined, 64, "ud2\n");

TEST_F(views, delivery)
{
	u32 pushes = 0;
	struct vmm_exit *e;

	vcpu_load(self->vcpu, MODE_LONG, undefined);
	ASSERT_EQ(0, set_access(self->vm, self->view, STACK_TOP & ~(PAGE - 1), PAGE, R));
	do {
		ASSERT_EQ(0, vcpu_run(self->vcpu));
		e = &self->vcpu->run->exit;
		if (e->reason != VMM_EXIT_ACCESS)
			break;
		if (!pushes)
			EXPECT_EQ(CODE_GPA, e->rip);
		EXPECT_EQ(W, e->access.access);
		e->access.once = 1;
	} while (pushes++ < 100);
	EXPECT_EQ(VMM_EXIT_IO, e->reason);
	EXPECT_EQ(PORT_TRAP, e->io.port);
	EXPECT_EQ(UD, guest_trap(self->vm)->vector);
	EXPECT_EQ(CODE_GPA, guest_trap(self->vm)->rip);
	EXPECT_LE(1, pushes);
}

/* ---- what the VMM makes of it ---- */

TEST_F(views, once)
{
	struct vmm_exits exits = { .size = sizeof(exits), .exits = VMM_EXITS_STEP };
	u32 i;

	if (!has_caps(VMM_CAP_SINGLE_STEP))
		SKIP(return, "this CPU cannot step its guests");
	page_access(5, R | X);
	vcpu_load(self->vcpu, MODE_LONG, writer);
	for (i = 1; i <= 3; i++) {
		ask_page(5);
		denied(self->vcpu, BASE + 5 * PAGE, W, R | X, WRITER_RIP)->access.once = 1;
		EXPECT_EQ(i, run_value(self->vcpu));
		EXPECT_EQ(i, word(5));
	}
	/* The guest sees no trap of its own, and the VMM none that it has not asked for. */
	vcpu_get(self->vcpu, VMM_STATE_REGS);
	EXPECT_EQ(0, self->vcpu->state.regs.rflags & FLAG_TF);
	ask_page(5);
	denied(self->vcpu, BASE + 5 * PAGE, W, R | X, WRITER_RIP);
	ASSERT_EQ(0, do_ioctl(self->vcpu->fd, VMM_SET_EXITS, &exits));
	self->vcpu->run->exit.access.once = 1;
	run_until(self->vcpu, VMM_EXIT_DEBUG);
	EXPECT_EQ(4, word(5));
	run_until(self->vcpu, VMM_EXIT_DEBUG);
	exits.exits = 0;
	ASSERT_EQ(0, do_ioctl(self->vcpu->fd, VMM_SET_EXITS, &exits));
	EXPECT_EQ(4, run_value(self->vcpu));
	ask_page(5);
	denied(self->vcpu, BASE + 5 * PAGE, W, R | X, WRITER_RIP);
	EXPECT_EQ(4, word(5));
}

/* MOV $0x1234, %eax; OUT %eax, $PORT_VALUE; IN $PORT_VALUE, %eax; INC %eax; RET */
static const u8 speaks[] = {
	0xb8, 0x34, 0x12, 0, 0, 0xe7, PORT_VALUE, 0xe5, PORT_VALUE, 0xff, 0xc0, 0xc3,
};

/* Each instruction of a page that grants no execution, those that leave for the VMM among them */
TEST_F(views, once_each)
{
	struct vcpu *vcpu = self->vcpu;
	static const u8 at[] = { 0, 5, 7, 9, 11 };
	u32 i;

	if (!has_caps(VMM_CAP_SINGLE_STEP))
		SKIP(return, "this CPU cannot step its guests");
	memcpy(self->mem + 0x3000, speaks, sizeof(speaks));
	page_access(3, R | W);
	vcpu_load(vcpu, MODE_LONG, caller);
	ask_page(3);
	for (i = 0; i < 5; i++) {
		u64 rip = BASE + 3 * PAGE + at[i];

		denied(vcpu, rip, X, R | W, rip)->access.once = 1;
		if (i == 1)
			EXPECT_EQ(0x1234, run_value(vcpu));
		if (i == 2)
			run_until(vcpu, VMM_EXIT_IO)->io.data = 77;
	}
	EXPECT_EQ(78, run_value(vcpu));
}

TEST_F(views, exception)
{
	struct guest_trap *trap;

	page_access(5, R);
	vcpu_load(self->vcpu, MODE_LONG, writer);
	ask_page(5);
	denied(self->vcpu, BASE + 5 * PAGE, W, R, WRITER_RIP);
	ASSERT_EQ(0, vcpu_inject(self->vcpu, VMM_EVENT_EXCEPTION, PF, true, 3, 0x123456));
	trap = run_vector(self->vcpu, PF);
	EXPECT_EQ(WRITER_RIP, trap->rip);
	EXPECT_EQ(3, trap->error);
	EXPECT_EQ(0x123456, trap->cr2);
	/* Its handler returns to the instruction. */
	denied(self->vcpu, BASE + 5 * PAGE, W, R, WRITER_RIP);
	EXPECT_EQ(0, word(5));
}

/* The answer is part of the state. */
TEST_F(views, saved)
{
	struct vmm_pending *pending = &self->vcpu->state.pending;

	page_access(5, R | X);
	vcpu_load(self->vcpu, MODE_LONG, writer);
	ask_page(5);
	denied(self->vcpu, BASE + 5 * PAGE, W, R | X, WRITER_RIP);
	vcpu_get(self->vcpu, VMM_STATE_PENDING);
	EXPECT_EQ(VMM_PENDING_ACCESS, pending->kind);
	EXPECT_EQ(WRITER_RIP, pending->rip);
	EXPECT_EQ(0, pending->data);
	pending->data = 1;
	vcpu_set(self->vcpu, VMM_STATE_PENDING);
	EXPECT_EQ(1, self->vcpu->run->exit.access.once);
	if (!has_caps(VMM_CAP_SINGLE_STEP)) {
		EXPECT_EQ(-EOPNOTSUPP, vcpu_run_raw(self->vcpu));
		return;
	}
	EXPECT_EQ(1, run_value(self->vcpu));
}

/* ---- several vCPUs ---- */

TEST_F(views, two_vcpus)
{
	struct vcpu *other = vcpu_create(self->vm, 1);

	page_access(5, R | X);
	vcpu_load(self->vcpu, MODE_LONG, writer);
	ask_page(5);
	denied(self->vcpu, BASE + 5 * PAGE, W, R | X, WRITER_RIP);
	/* The code is the same. */
	vcpu_set_mode(other, MODE_LONG);
	EXPECT_EQ(1, guest_does(other, BASE + 5 * PAGE));
	denied(self->vcpu, BASE + 5 * PAGE, W, R | X, WRITER_RIP);
	EXPECT_EQ(-EBUSY, destroy_view(self->vm, self->view));
	ASSERT_EQ(0, set_view(other, self->view));
	ask(other, BASE + 5 * PAGE);
	denied(other, BASE + 5 * PAGE, W, R | X, WRITER_RIP);
	ASSERT_EQ(0, set_view(self->vcpu, 0));
	EXPECT_EQ(-EBUSY, destroy_view(self->vm, self->view));
	EXPECT_EQ(2, run_value(self->vcpu));
	denied(other, BASE + 5 * PAGE, W, R | X, WRITER_RIP);
	ASSERT_EQ(0, set_view(other, 0));
	EXPECT_EQ(0, destroy_view(self->vm, self->view));
	EXPECT_EQ(3, run_value(other));
}

struct let_once {
	struct vcpu *vcpu;
	u64 address;
	u32 times;
	u32 exits;
};

/* Have the guest write @times times, each time let through by itself. */
static void *let_once(void *arg)
{
	struct let_once *t = arg;
	u32 i;

	for (i = 0; i < t->times; i++) {
		ask(t->vcpu, t->address);
		for (;;) {
			if (vcpu_run(t->vcpu))
				continue;
			if (t->vcpu->run->exit.reason != VMM_EXIT_ACCESS)
				break;
			t->exits++;
			t->vcpu->run->exit.access.once = 1;
		}
		if (t->vcpu->run->exit.io.data != i + 1)
			fail("%llu, not %u", t->vcpu->run->exit.io.data, i + 1);
	}
	return NULL;
}

/* What one is let do another is not. */
TEST_F(views, once_beside_others)
{
	struct let_once a = { .vcpu = self->vcpu, .address = BASE + 5 * PAGE };
	struct let_once b = { .vcpu = vcpu_create(self->vm, 1), .address = BASE + 5 * PAGE + 64 };
	pthread_t thread;

	if (!has_caps(VMM_CAP_SINGLE_STEP))
		SKIP(return, "this CPU cannot step its guests");
	a.times = host_is_slow() ? 20 : 1000;
	b.times = a.times;
	page_access(5, R | X);
	vcpu_load(self->vcpu, MODE_LONG, writer);
	vcpu_set_mode(b.vcpu, MODE_LONG);
	ASSERT_EQ(0, set_view(b.vcpu, self->view));
	ASSERT_EQ(0, pthread_create(&thread, NULL, let_once, &b));
	let_once(&a);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	/* A host's interrupt may come before the instruction, but no write goes unseen. */
	EXPECT_EQ(a.times, a.exits);
	EXPECT_EQ(b.times, b.exits);
}

GUEST_CODE(counts, 64, "in $PORT_VALUE, %eax; 1: incl (%rax); pause; jmp 1b\n");

struct counting {
	struct vcpu *vcpu;
	bool stop;
};

static void *count(void *arg)
{
	struct counting *t = arg;

	ask(t->vcpu, BASE + 5 * PAGE);
	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE)) {
		int ret = vcpu_run_raw(t->vcpu);

		if (ret && ret != -EINTR)
			fail("VMM_RUN: %d", ret);
		if (!ret && t->vcpu->run->exit.reason != VMM_EXIT_ACCESS)
			fail("%s exit", exit_name(t->vcpu->run->exit.reason));
		if (!ret)
			usleep(100);
	}
	return NULL;
}

/* When the call has returned nobody writes any more. */
TEST_F(views, taken_from_a_running_guest)
{
	struct counting t = { .vcpu = self->vcpu };
	u32 i, rounds = host_is_slow() ? 5 : 100;
	pthread_t thread;

	vcpu_load(self->vcpu, MODE_LONG, counts);
	ASSERT_EQ(0, pthread_create(&thread, NULL, count, &t));
	for (i = 0; i < rounds; i++) {
		u32 before = word(5), after;

		page_access(5, R | W | X);
		while (word(5) == before)
			usleep(10);
		page_access(5, i & 1 ? R : 0);
		after = word(5);
		usleep(200);
		EXPECT_EQ(after, word(5));
	}
	__atomic_store_n(&t.stop, true, __ATOMIC_RELEASE);
	while (pthread_tryjoin_np(thread, NULL)) {
		do_ioctl(self->vcpu->fd, VMM_KICK, NULL);
		usleep(100);
	}
}

/* ---- large and many ---- */

TEST_F(views, huge_pages)
{
	u8 *mem = map_aligned(HUGE);
	long before = host_counter("/proc/self/smaps_rollup", "AnonHugePages:");
	u64 huge;

	if (madvise(mem, HUGE, MADV_HUGEPAGE))
		SKIP(return, "the host gives no transparent huge pages");
	mem[0] = 0;
	if (host_counter("/proc/self/smaps_rollup", "AnonHugePages:") < before + 2048)
		SKIP(return, "the host gives no transparent huge pages");
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, HUGE, mem, 0));
	self->mem = mem;
	vcpu_load(self->vcpu, MODE_LONG, writer);
	EXPECT_EQ(1, guest_does_page(7));
	ASSERT_EQ(0, set_view(self->vcpu, 0));
	EXPECT_EQ(2, guest_does_page(7));
	huge = get_stat(self->vm->fd, "pages_2m");
	EXPECT_EQ(2, huge);
	/* One page: the others stay as they are, but for their size here. */
	page_access(7, R);
	EXPECT_EQ(3, guest_does_page(7));
	ASSERT_EQ(0, set_view(self->vcpu, self->view));
	EXPECT_EQ(1, guest_does_page(6));
	EXPECT_EQ(1, guest_does_page(8));
	EXPECT_EQ(1, guest_does_page(511));
	ask_page(7);
	denied(self->vcpu, BASE + 7 * PAGE, W, R, WRITER_RIP);
	EXPECT_EQ(1, get_stat(self->vm->fd, "pages_2m"));
	page_access(7, R | W | X);
	EXPECT_EQ(4, run_value(self->vcpu));
	EXPECT_EQ(2, get_stat(self->vm->fd, "pages_2m"));
	/* All of it: a huge page that grants less */
	ASSERT_EQ(0, set_access(self->vm, self->view, BASE, HUGE, R));
	vcpu_load(self->vcpu, MODE_LONG, reader);
	EXPECT_EQ(4, guest_does_page(7));
	EXPECT_EQ(2, get_stat(self->vm->fd, "pages_2m"));
	vcpu_load(self->vcpu, MODE_LONG, writer);
	ask_page(9);
	denied(self->vcpu, BASE + 9 * PAGE, W, R, WRITER_RIP);
	/* A log splits it, and grants nothing by that. */
	ASSERT_EQ(0, set_access(self->vm, self->view, BASE, HUGE, R | W));
	EXPECT_EQ(1, run_value(self->vcpu));
	EXPECT_EQ(2, get_stat(self->vm->fd, "pages_2m"));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, HUGE, mem, VMM_MEM_LOG_DIRTY));
	EXPECT_EQ(2, guest_does_page(9));
	EXPECT_EQ(1, get_stat(self->vm->fd, "pages_2m"));
	memcpy(mem + 3 * PAGE, returns_42, sizeof(returns_42));
	vcpu_load(self->vcpu, MODE_LONG, caller);
	ask_page(3);
	denied(self->vcpu, BASE + 3 * PAGE, X, R | W, BASE + 3 * PAGE);
}

TEST_F(views, many_pages)
{
	u64 base = 1 * GIB, bytes = 512 * MIB, i, n = bytes / PAGE;
	u8 *mem;

	NEEDS_SPEED();
	mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)mem);
	ASSERT_EQ(0, vm_set_slot(self->vm, 2, base, bytes, mem, 0));
	for (i = 1; i < n; i += 2)
		ASSERT_EQ(0, set_access(self->vm, self->view, base + i * PAGE, PAGE, R | X));
	vcpu_load(self->vcpu, MODE_LONG, writer);
	for (i = 0; i < n; i += 1000) {
		EXPECT_EQ(1, guest_does(self->vcpu, base + i * PAGE));
		ask(self->vcpu, base + (i + 1) * PAGE);
		denied(self->vcpu, base + (i + 1) * PAGE, W, R | X, WRITER_RIP);
		ASSERT_EQ(0, set_access(self->vm, self->view, base + (i + 1) * PAGE, PAGE,
					R | W | X));
		EXPECT_EQ(1, run_value(self->vcpu));
	}
	/* Over what was one by one, at ends that no table has */
	ASSERT_EQ(0, set_access(self->vm, self->view, base + PAGE, bytes - 2 * PAGE, R | W | X));
	for (i = 0; i < n; i += 999)
		EXPECT_EQ(1 + (i % 1000 < 2), guest_does(self->vcpu, base + i * PAGE));
	ask(self->vcpu, base + bytes - PAGE);
	denied(self->vcpu, base + bytes - PAGE, W, R | X, WRITER_RIP);
	ASSERT_EQ(0, set_access(self->vm, self->view, 0, 1ULL << self->vm->info.gpa_bits,
				R | W | X));
	EXPECT_EQ(1, run_value(self->vcpu));
}

/* Does the view grant the guest this read? Either way it gets the value in the end. */
static bool can_read(struct vcpu *vcpu, u32 view, u64 gpa)
{
	ask(vcpu, gpa);
	if (vcpu_run(vcpu))
		fail("VMM_RUN");
	if (vcpu->run->exit.reason == VMM_EXIT_IO)
		return true;
	if (vcpu->run->exit.reason != VMM_EXIT_ACCESS || vcpu->run->exit.access.gpa != gpa)
		fail("%s exit", exit_name(vcpu->run->exit.reason));
	if (set_view(vcpu, 0))
		fail("VMM_SET_VIEW");
	run_value(vcpu);
	if (set_view(vcpu, view))
		fail("VMM_SET_VIEW");
	return false;
}

/* Ranges of all sizes over each other, beside a record of what holds */
TEST_F(views, random_ranges)
{
	static const u64 sizes[] = { 1, 3, 64, 511, 512, 513, 4096, 1 << 18, 3 << 17 };
	u64 base = 1 * GIB, n = 2 * GIB / PAGE, at, pages;
	struct random random = random_from(1, 1);
	u32 i, j, rounds = host_is_slow() ? 20 : 1000;
	u8 *mem, *record = map_memory(n);

	mem = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)mem);
	ASSERT_EQ(0, madvise(mem, n * PAGE, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, vm_set_slot(self->vm, 2, base, n * PAGE, mem, 0));
	memset(record, R | W | X, n);
	vcpu_load(self->vcpu, MODE_LONG, reader);
	for (i = 0; i < rounds; i++) {
		pages = 1 + below(&random, sizes[below(&random, ARRAY_SIZE(sizes))]);
		if (chance(&random, 2))
			pages = sizes[below(&random, ARRAY_SIZE(sizes))];
		at = below(&random, n - pages + 1);
		if (chance(&random, 3))
			at = at / 512 * 512;
		j = chance(&random, 2) ? 0 : R | W | X;
		ASSERT_EQ(0, set_access(self->vm, self->view, base + at * PAGE, pages * PAGE, j));
		memset(record + at, j, pages);
		/* Its ends, and anywhere */
		for (j = 0; j < 6; j++) {
			u64 probe = j < 4 ? at + (j & 1 ? pages : 0) - (j >> 1) : below(&random, n);

			if (probe < n)
				ASSERT_EQ(!!(record[probe] & R),
					  can_read(self->vcpu, self->view, base + probe * PAGE))
					TH_LOG("round %u, page %#llx", i, probe);
		}
	}
	/* And nothing is left of it. */
	ASSERT_EQ(0, set_access(self->vm, self->view, base, n * PAGE, R | W | X));
	EXPECT_TRUE(can_read(self->vcpu, self->view, base + 5 * PAGE));
}

/* ---- beside logs ---- */

TEST_F(views, dirty_log)
{
	u64 bits[BYTES / PAGE / 64];
	struct vmm_dirty dirty = {
		.size = sizeof(dirty), .flags = VMM_DIRTY_CLEAR, .slot = 1, .pages = BYTES / PAGE,
		.bitmap = (uintptr_t)bits,
	};
	u32 round;

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, BYTES, self->mem, VMM_MEM_LOG_DIRTY));
	page_access(5, R);
	vcpu_load(self->vcpu, MODE_LONG, writer);
	for (round = 0; round < 3; round++) {
		/* In one view and the other, each time anew */
		guest_does_page(1);
		ASSERT_EQ(0, set_view(self->vcpu, 0));
		guest_does_page(2);
		ASSERT_EQ(0, set_view(self->vcpu, self->view));
		guest_does_page(2);
		ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_GET_DIRTY, &dirty));
		EXPECT_EQ(1 << 1 | 1 << 2, bits[0]);
		ask_page(5);
		denied(self->vcpu, BASE + 5 * PAGE, W, R, WRITER_RIP);
		ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_GET_DIRTY, &dirty));
		EXPECT_EQ(0, bits[0]);
		self->vcpu->run->exit.access.once = has_caps(VMM_CAP_SINGLE_STEP);
		if (!self->vcpu->run->exit.access.once)
			ASSERT_EQ(0, set_view(self->vcpu, 0));
		run_value(self->vcpu);
		ASSERT_EQ(0, set_view(self->vcpu, self->view));
		ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_GET_DIRTY, &dirty));
		EXPECT_EQ(1 << 5, bits[0]);
	}
}

TEST_HARNESS_MAIN
