// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fault maps the pages around it that the host has: not those beyond the slot or
 * beyond what the host allows, and what is taken away there goes here too.
 */
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define GROUP	16	/* pages that one fault may map; aligned */

FIXTURE(around) {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
};

/* Asks for an address: an odd one is written to, an even one read */
GUEST_CODE(accessor, 64,
	   "1: in $PORT_VALUE, %eax\n"
	   "btr $0, %eax\n"
	   "jc 2f\n"
	   "mov (%rax), %eax\n"
	   "3: out %eax, $PORT_VALUE\n"
	   "jmp 1b\n"
	   "2: movl $0x77, (%rax)\n"
	   "jmp 3b\n");

FIXTURE_SETUP(around)
{
	int i;

	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	self->mem = map_memory(4 * GROUP * PAGE);
	for (i = 0; i < 4 * GROUP; i++)
		*(u32 *)(self->mem + i * PAGE) = 0x1000 + i;
	vcpu_load(self->vcpu, MODE_LONG, accessor);
}

FIXTURE_TEARDOWN(around)
{
	vm_destroy(self->vm);
}

static void tell(struct vcpu *vcpu, u64 address)
{
	struct vmm_exit *exit = run_until(vcpu, VMM_EXIT_IO);

	if (!exit->io.in)
		fail("the guest was to ask");
	exit->io.data = address;
}

static u64 read_at(struct vcpu *vcpu, u64 gpa)
{
	tell(vcpu, gpa);
	return run_value(vcpu);
}

static void write_at(struct vcpu *vcpu, u64 gpa)
{
	tell(vcpu, gpa | 1);
	run_value(vcpu);
}

/* The guest accesses @gpa and leaves for a device, with the answer 0. */
static void expect_mmio(struct vcpu *vcpu, u64 gpa)
{
	struct vmm_exit *exit;

	tell(vcpu, gpa);
	exit = run_until(vcpu, VMM_EXIT_MMIO);
	if (exit->mmio.gpa != gpa)
		fail("an MMIO exit at %#llx, not %#llx", exit->mmio.gpa, gpa);
	exit->mmio.data = 0;
	run_value(vcpu);
}

TEST_F(around, fewer_faults)
{
	u64 before, i;

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0x400000, 4 * GROUP * PAGE, self->mem, 0));
	EXPECT_EQ(0x1000, read_at(self->vcpu, 0x400000));
	before = get_stat(self->vcpu->fd, "faults");
	for (i = 0; i < 4 * GROUP; i++)
		EXPECT_EQ(0x1000 + i, read_at(self->vcpu, 0x400000 + i * PAGE));
	EXPECT_EQ(before + 3, get_stat(self->vcpu->fd, "faults"));
	/* They were the VMM's to write, so they are the guest's. */
	for (i = 0; i < 4 * GROUP; i++)
		write_at(self->vcpu, 0x400000 + i * PAGE);
	EXPECT_EQ(before + 3, get_stat(self->vcpu->fd, "faults"));
}

/* Backwards, as kernels give out memory, it is no different. */
TEST_F(around, backwards)
{
	u64 before = get_stat(self->vcpu->fd, "faults"), code;
	int i;

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0x400000, 4 * GROUP * PAGE, self->mem, 0));
	tell(self->vcpu, 0x400000 + (4 * GROUP - 1) * PAGE);
	code = get_stat(self->vcpu->fd, "faults") - before;
	run_value(self->vcpu);
	for (i = 4 * GROUP - 1; i >= 0; i--)
		EXPECT_EQ(0x1000 + i, read_at(self->vcpu, 0x400000 + i * PAGE));
	EXPECT_EQ(before + code + 4, get_stat(self->vcpu->fd, "faults"));
}

/* Four pages in the middle of a group; the memory goes on at both ends, the slot does not. */
TEST_F(around, stops_at_the_slot)
{
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0x404000, 4 * PAGE, self->mem + 4 * PAGE, 0));
	EXPECT_EQ(0x1005, read_at(self->vcpu, 0x405000));
	expect_mmio(self->vcpu, 0x403000);
	expect_mmio(self->vcpu, 0x408000);
	EXPECT_EQ(0x1007, read_at(self->vcpu, 0x407000));
}

TEST_F(around, zapped_with_the_rest)
{
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0x400000, 4 * GROUP * PAGE, self->mem, 0));
	EXPECT_EQ(0x1003, read_at(self->vcpu, 0x403000));
	ASSERT_EQ(0, madvise(self->mem + 5 * PAGE, PAGE, MADV_DONTNEED));
	EXPECT_EQ(0, read_at(self->vcpu, 0x405000));
	EXPECT_EQ(0x1006, read_at(self->vcpu, 0x406000));
}

TEST_F(around, stops_at_what_the_host_allows)
{
	struct vmm_exit *exit;

	ASSERT_EQ(0, mprotect(self->mem + 5 * PAGE, PAGE, PROT_READ));
	ASSERT_EQ(0, mprotect(self->mem + 7 * PAGE, PAGE, PROT_NONE));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0x400000, 4 * GROUP * PAGE, self->mem, 0));
	EXPECT_EQ(0x1006, read_at(self->vcpu, 0x406000));
	EXPECT_EQ(0x1004, read_at(self->vcpu, 0x404000));
	EXPECT_EQ(0x1005, read_at(self->vcpu, 0x405000));
	tell(self->vcpu, 0x405001);
	exit = run_until(self->vcpu, VMM_EXIT_FAULT);
	EXPECT_EQ(0x405000, exit->fault.gpa);
	EXPECT_EQ(-EFAULT, exit->fault.error);
	ASSERT_EQ(0, mprotect(self->mem + 5 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	run_value(self->vcpu);
	EXPECT_EQ(0x77, *(u32 *)(self->mem + 5 * PAGE));

	tell(self->vcpu, 0x407000);
	exit = run_until(self->vcpu, VMM_EXIT_FAULT);
	EXPECT_EQ(0x407000, exit->fault.gpa);
	EXPECT_EQ(-EFAULT, exit->fault.error);
}

/* A read-only slot's pages are nowhere writable, whatever the host's are. */
TEST_F(around, readonly)
{
	struct vmm_exit *exit;

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0x400000, 4 * GROUP * PAGE, self->mem,
				 VMM_MEM_READONLY));
	EXPECT_EQ(0x1003, read_at(self->vcpu, 0x403000));
	tell(self->vcpu, 0x404001);
	exit = run_until(self->vcpu, VMM_EXIT_MMIO);
	EXPECT_EQ(0x404000, exit->mmio.gpa);
	EXPECT_EQ(1, exit->mmio.write);
	run_value(self->vcpu);
	EXPECT_EQ(0x1004, *(u32 *)(self->mem + 4 * PAGE));
}

/* What was shared with a child by fork() is written to apart, though a read mapped it before. */
TEST_F(around, not_shared_after_fork)
{
	u32 *shared = map_memory(PAGE);
	int status, i;
	pid_t child;

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0x400000, 4 * GROUP * PAGE, self->mem, 0));
	ASSERT_NE(MAP_FAILED, mmap(shared, PAGE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	child = fork();
	if (!child) {
		while (!__atomic_load_n(shared, __ATOMIC_SEQ_CST))
			usleep(1000);
		for (i = 0; i < GROUP; i++)
			if (*(u32 *)(self->mem + i * PAGE) != 0x1000 + i)
				_exit(1);
		_exit(0);
	}
	ASSERT_GT(child, 0);
	EXPECT_EQ(0x1003, read_at(self->vcpu, 0x403000));
	for (i = 0; i < GROUP; i++)
		write_at(self->vcpu, 0x400000 + i * PAGE);
	__atomic_store_n(shared, 1, __ATOMIC_SEQ_CST);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_HARNESS_MAIN
