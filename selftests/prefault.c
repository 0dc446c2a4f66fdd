// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that is mapped before the guest touches it costs it no fault.
 */
/* hosts: smp 6.12 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define BASE	0x800000
#define PAGES	300

FIXTURE(prefault) {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	int mark;
	u64 done;
};

FIXTURE_SETUP(prefault)
{
	self->mark = host_log_mark();
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	self->mem = map_memory(PAGES * PAGE);
	ASSERT_EQ(0, madvise(self->mem, PAGES * PAGE, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, PAGES * PAGE, self->mem, 0));
}

FIXTURE_TEARDOWN(prefault)
{
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

static int prefault(struct vm *vm, u64 gpa, u64 bytes, u32 flags, u64 *done)
{
	struct vmm_prefault p = {
		.size = sizeof(p), .flags = flags, .gpa = gpa, .bytes = bytes, .done = 99,
	};
	int ret = do_ioctl(vm->fd, VMM_PREFAULT, &p);

	*done = p.done;
	return ret;
}

/* Adds one to a doubleword in each page from BASE on, up to RBP */
GUEST_CODE(sweep, 64,
	   "mov $0x800000, %ebx\n"
	   "2: incl (%rbx); add $0x1000, %rbx; cmp %rbp, %rbx; jb 2b\n"
	   "out %al, $PORT_DONE\n");

static u64 faults_of_a_sweep(struct vcpu *vcpu)
{
	u64 faults;

	vcpu_load(vcpu, MODE_LONG, sweep);
	vcpu_get(vcpu, VMM_STATE_REGS);
	vcpu->state.regs.gpr[VMM_RBP] = BASE + PAGES * PAGE;
	vcpu_set(vcpu, VMM_STATE_REGS);
	/* Those of its code and tables come first. */
	faults = get_stat(vcpu->vm->fd, "pages_4k");
	run_done(vcpu);
	return get_stat(vcpu->vm->fd, "pages_4k") - faults;
}

TEST_F(prefault, refused)
{
	struct vm *vm = self->vm;

	EXPECT_EQ(-EINVAL, prefault(vm, BASE, PAGE, 2, &self->done));
	EXPECT_EQ(-EINVAL, prefault(vm, BASE + 1, PAGE, 0, &self->done));
	EXPECT_EQ(-EINVAL, prefault(vm, BASE, PAGE + 1, 0, &self->done));
	EXPECT_EQ(-EINVAL, prefault(vm, BASE, 0, 0, &self->done));
	EXPECT_EQ(-ERANGE, prefault(vm, BASE, -PAGE, 0, &self->done));
	EXPECT_EQ(-ENXIO, prefault(vm, BASE - PAGE, PAGE, 0, &self->done));
	EXPECT_EQ(0, self->done);
	/* How far it came where memory ends, and where nothing is mapped */
	EXPECT_EQ(-ENXIO, prefault(vm, BASE, (PAGES + 1) * PAGE, VMM_PREFAULT_WRITE, &self->done));
	EXPECT_EQ(PAGES * PAGE, self->done);
	ASSERT_EQ(0, munmap(self->mem + 10 * PAGE, PAGE));
	EXPECT_EQ(-EFAULT, prefault(vm, BASE, PAGES * PAGE, VMM_PREFAULT_WRITE, &self->done));
	EXPECT_EQ(10 * PAGE, self->done);
}

TEST_F(prefault, for_writing)
{
	u64 before = get_stat(self->vm->fd, "pages_4k"), faults;
	u32 i;

	ASSERT_EQ(0, prefault(self->vm, BASE, PAGES * PAGE, VMM_PREFAULT_WRITE, &self->done));
	EXPECT_EQ(PAGES * PAGE, self->done);
	EXPECT_EQ(before + PAGES, get_stat(self->vm->fd, "pages_4k"));
	faults = get_stat(self->vcpu->fd, "faults");
	faults_of_a_sweep(self->vcpu);
	/* Its code, stack and tables alone */
	EXPECT_GE(faults + 10, get_stat(self->vcpu->fd, "faults"));
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(1, *(u32 *)(self->mem + i * PAGE));
}

TEST_F(prefault, part)
{
	ASSERT_EQ(0, prefault(self->vm, BASE + 100 * PAGE, 50 * PAGE, VMM_PREFAULT_WRITE,
			      &self->done));
	EXPECT_EQ(50 * PAGE, self->done);
	EXPECT_LE(50, get_stat(self->vm->fd, "pages_4k"));
	EXPECT_GE(64, get_stat(self->vm->fd, "pages_4k"));
}

TEST_F(prefault, readonly)
{
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, PAGES * PAGE, self->mem, VMM_MEM_READONLY));
	ASSERT_EQ(0, prefault(self->vm, BASE, PAGES * PAGE, VMM_PREFAULT_WRITE, &self->done));
	EXPECT_EQ(PAGES * PAGE, self->done);
}

/* What is only mapped is not dirty, and what the guest writes then is. */
TEST_F(prefault, with_a_log)
{
	u64 bits[(PAGES + 63) / 64] = { 0 }, sum;
	struct vmm_dirty dirty = {
		.size = sizeof(dirty), .flags = VMM_DIRTY_CLEAR, .slot = 1, .pages = PAGES,
		.bitmap = (uintptr_t)bits,
	};
	u32 i;

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, PAGES * PAGE, self->mem, VMM_MEM_LOG_DIRTY));
	ASSERT_EQ(0, prefault(self->vm, BASE, PAGES * PAGE, VMM_PREFAULT_WRITE, &self->done));
	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_GET_DIRTY, &dirty));
	for (sum = i = 0; i < (PAGES + 63) / 64; i++)
		sum |= bits[i];
	EXPECT_EQ(0, sum);
	faults_of_a_sweep(self->vcpu);
	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_GET_DIRTY, &dirty));
	for (i = 0; i < PAGES / 64; i++)
		EXPECT_EQ(~0ULL, bits[i]);
	EXPECT_EQ((1ULL << PAGES % 64) - 1, bits[PAGES / 64]);
}

/* A log that begins where nothing is mapped yet, for a vCPU that has run before */
TEST_F(prefault, behind_a_new_log)
{
	u64 bits[(PAGES + 63) / 64] = { 0 };
	struct vmm_dirty dirty = {
		.size = sizeof(dirty), .slot = 1, .pages = PAGES, .bitmap = (uintptr_t)bits,
	};
	u32 i;

	vcpu_load(self->vcpu, MODE_LONG, sweep);
	self->vcpu->state.regs.rip += code_size(sweep) - 2;
	vcpu_set(self->vcpu, VMM_STATE_REGS);
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0, 0, NULL, 0));
	run_done(self->vcpu);
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, PAGES * PAGE, self->mem, VMM_MEM_LOG_DIRTY));
	ASSERT_EQ(0, prefault(self->vm, BASE, PAGES * PAGE, VMM_PREFAULT_WRITE, &self->done));
	faults_of_a_sweep(self->vcpu);
	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_GET_DIRTY, &dirty));
	for (i = 0; i < PAGES / 64; i++)
		EXPECT_EQ(~0ULL, bits[i]);
}

static void interrupted(int sig)
{
}

/* Signals end it, and the rest can be asked for again. The first may come before the call. */
TEST_F(prefault, interrupted)
{
	u64 bytes = 128 * MIB, at = 0;
	u8 *big = map_memory(bytes);
	struct sigaction sa = { .sa_handler = interrupted };
	timer_t timer;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec soon = { { 0, 5000000 }, { 0, 5000000 } };
	int ret, times = 0;

	ASSERT_EQ(0, madvise(big, bytes, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, vm_set_slot(self->vm, 2, 1 * GIB, bytes, big, 0));
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	ASSERT_EQ(0, timer_create(CLOCK_MONOTONIC, &event, &timer));
	ASSERT_EQ(0, timer_settime(timer, 0, &soon, NULL));
	if (host_is_slow())
		bytes = 4 * MIB;
	while (at < bytes) {
		ret = prefault(self->vm, 1 * GIB + at, bytes - at, VMM_PREFAULT_WRITE,
			       &self->done);
		at += self->done;
		if (!ret)
			break;
		ASSERT_EQ(-EINTR, ret);
		times++;
	}
	EXPECT_EQ(bytes, at);
	EXPECT_LE(1, times);
	EXPECT_LE(bytes / PAGE, get_stat(self->vm->fd, "pages_4k"));
}

TEST_HARNESS_MAIN
