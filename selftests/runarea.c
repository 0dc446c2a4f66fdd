// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run area: its mapping, the groups that it carries at every exit and
 * takes at every run.
 */
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

FIXTURE(runarea) {
	struct vm *vm;
	struct vcpu *vcpu;
	struct vmm_run *run;
};

FIXTURE_SETUP(runarea)
{
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	self->run = self->vcpu->run;
}

FIXTURE_TEARDOWN(runarea)
{
	vm_destroy(self->vm);
}

GUEST_CODE(counting, 64,
	   "1: inc %rax; out %al, $PORT_VALUE; jmp 1b\n");

TEST_F(runarea, mapping)
{
	int fd = self->vcpu->fd;
	u32 size = self->vm->info.run_size;
	struct vmm_run *again;

	EXPECT_GE(size, sizeof(struct vmm_run));
	EXPECT_EQ(sizeof(struct vmm_run), self->run->size);
	/* Further on, longer, private, executable: no */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_READ, MAP_SHARED, fd, size));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * size, PROT_READ, MAP_SHARED, fd, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0));
	/* Two mappings are the same memory. */
	again = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, again);
	self->run->sync_groups = 0x123;
	EXPECT_EQ(0x123, again->sync_groups);
	munmap(again, size);
	/* Nothing of the VM file can be mapped. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_READ, MAP_SHARED, self->vm->fd, 0));
}

TEST_F(runarea, mapping_outlives_the_vcpu)
{
	struct vmm_run *run = self->run;

	vcpu_load(self->vcpu, MODE_LONG, counting);
	run_value(self->vcpu);
	close(self->vcpu->fd);
	close(self->vm->fd);
	EXPECT_EQ(VMM_EXIT_IO, run->exit.reason);
	run->immediate_exit = 1;
	munmap(run, self->vm->info.run_size);
	_exit(_metadata->exit_code);
}

TEST_F(runarea, nothing_without_request)
{
	vcpu_load(self->vcpu, MODE_LONG, counting);
	memset(&self->run->regs, 0xcc, sizeof(self->run->regs));
	run_value(self->vcpu);
	EXPECT_EQ(0xcccccccccccccccc, self->run->regs.rip);
}

TEST_F(runarea, groups_at_exit)
{
	struct vmm_run *run = self->run;
	struct vmm_state *state = &self->vcpu->state;

	vcpu_load(self->vcpu, MODE_LONG, counting);
	run->sync_groups = VMM_STATE_SYNC;
	memset(&run->regs, 0xcc, sizeof(*run) - offsetof(struct vmm_run, regs));
	run_value(self->vcpu);
	vcpu_get(self->vcpu, VMM_STATE_SYNC);
	EXPECT_EQ(1, run->regs.gpr[VMM_RAX]);
	EXPECT_EQ(CODE_GPA + 5, run->regs.rip);
	EXPECT_EQ(0, memcmp(&run->regs, &state->regs, sizeof(state->regs)));
	EXPECT_EQ(0, memcmp(&run->segments, &state->segments, sizeof(state->segments)));
	EXPECT_EQ(0, memcmp(&run->control, &state->control, sizeof(state->control)));
	EXPECT_EQ(0, memcmp(&run->debug, &state->debug, sizeof(state->debug)));
	EXPECT_EQ(0, memcmp(&run->events, &state->events, sizeof(state->events)));

	/* Only what is asked for */
	run->sync_groups = VMM_STATE_REGS;
	memset(&run->control, 0xcc, sizeof(run->control));
	run_value(self->vcpu);
	EXPECT_EQ(2, run->regs.gpr[VMM_RAX]);
	EXPECT_EQ(0xcccccccccccccccc, run->control.cr0);

	/* At EINTR, too */
	run->immediate_exit = 1;
	memset(&run->regs, 0xcc, sizeof(run->regs));
	EXPECT_EQ(-EINTR, vcpu_run_raw(self->vcpu));
	EXPECT_EQ(2, run->regs.gpr[VMM_RAX]);
	run->immediate_exit = 0;
}

TEST_F(runarea, groups_at_run)
{
	struct vmm_run *run = self->run;

	vcpu_load(self->vcpu, MODE_LONG, counting);
	run->sync_groups = VMM_STATE_SYNC;
	EXPECT_EQ(1, run_value(self->vcpu));
	run->regs.gpr[VMM_RAX] = 0x40;
	/* Not said to be changed: it does not count. */
	EXPECT_EQ(2, run_value(self->vcpu));
	run->regs.gpr[VMM_RAX] = 0x40;
	run->dirty_groups = VMM_STATE_REGS;
	EXPECT_EQ(0x41, run_value(self->vcpu));
	EXPECT_EQ(0, run->dirty_groups);
	run->regs.gpr[VMM_RAX] = 0x70;
	EXPECT_EQ(0x42, run_value(self->vcpu));

	run->control.cr2 = 0x123456789000;
	run->segments.seg[VMM_FS].base = 0x7654321000;
	run->debug.dr[1] = 0x11223344;
	run->dirty_groups = VMM_STATE_CONTROL | VMM_STATE_SEGMENTS | VMM_STATE_DEBUG;
	run_value(self->vcpu);
	vcpu_get(self->vcpu, VMM_STATE_SYNC);
	EXPECT_EQ(0x123456789000, self->vcpu->state.control.cr2);
	EXPECT_EQ(0x7654321000, self->vcpu->state.segments.seg[VMM_FS].base);
	EXPECT_EQ(0x11223344, self->vcpu->state.debug.dr[1]);

	/* An event */
	run->events.exception = (struct vmm_event){ .type = VMM_EVENT_EXCEPTION, .vector = 6 };
	run->dirty_groups = VMM_STATE_EVENTS;
	run_vector(self->vcpu, 6);
}

TEST_F(runarea, unknown_groups)
{
	struct vmm_run *run = self->run;

	vcpu_load(self->vcpu, MODE_LONG, counting);
	EXPECT_EQ(1, run_value(self->vcpu));
	run->sync_groups = VMM_STATE_MSRS;
	EXPECT_EQ(-EINVAL, vcpu_run_raw(self->vcpu));
	run->sync_groups = 1ULL << 63;
	EXPECT_EQ(-EINVAL, vcpu_run_raw(self->vcpu));
	run->sync_groups = 0;
	run->dirty_groups = VMM_STATE_XSAVE;
	EXPECT_EQ(-EINVAL, vcpu_run_raw(self->vcpu));
	run->dirty_groups = 0;
	EXPECT_EQ(2, run_value(self->vcpu));
}

/* A group that cannot be stored: the call fails, and no group has been taken. */
TEST_F(runarea, bad_group_changes_nothing)
{
	struct vmm_run *run = self->run;

	vcpu_load(self->vcpu, MODE_LONG, counting);
	run->sync_groups = VMM_STATE_SYNC;
	EXPECT_EQ(1, run_value(self->vcpu));
	run->regs.gpr[VMM_RAX] = 0x40;
	run->events.mp_state = 200;
	run->dirty_groups = VMM_STATE_REGS | VMM_STATE_EVENTS;
	EXPECT_EQ(-EINVAL, vcpu_run_raw(self->vcpu));
	run->dirty_groups = 0;
	EXPECT_EQ(2, run_value(self->vcpu));
}

TEST_F(runarea, run_has_no_argument)
{
	vcpu_load(self->vcpu, MODE_LONG, counting);
	EXPECT_EQ(-EINVAL, do_ioctl(self->vcpu->fd, VMM_RUN, self->run));
	EXPECT_EQ(1, run_value(self->vcpu));
}

TEST_HARNESS_MAIN
