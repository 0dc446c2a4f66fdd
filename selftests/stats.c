// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters: names, counts, and that they move when what they count happens.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

GUEST_CODE(work, 64,
	   "mov $5, %ebx\n"
	   "1: xor %eax, %eax; cpuid; dec %esi; jnz 1b\n"
	   "out %al, $PORT_VALUE\n"
	   "mov 0x200000, %eax\n"
	   "out %al, $PORT_DONE\n");

static int read_stats(int fd, struct vmm_stat *stat, u32 *count)
{
	struct vmm_stats stats = {
		.size = sizeof(stats), .count = *count, .stats = (uintptr_t)stat,
	};
	int ret = do_ioctl(fd, VMM_GET_STATS, &stats);

	*count = stats.count;
	return ret;
}

TEST(names)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	struct vmm_stat stat[128];
	u32 count = 0, all, i, j;

	/* The count alone, then too few, then all */
	EXPECT_EQ(-E2BIG, read_stats(vcpu->fd, NULL, &count));
	ASSERT_GT(count, 10);
	ASSERT_LT(count, 128);
	all = count;
	count = all - 1;
	memset(stat, 0xee, sizeof(stat));
	EXPECT_EQ(-E2BIG, read_stats(vcpu->fd, stat, &count));
	EXPECT_EQ(all, count);
	EXPECT_EQ(0xee, (u8)stat[0].name[0]);
	count = 128;
	ASSERT_EQ(0, read_stats(vcpu->fd, stat, &count));
	EXPECT_EQ(all, count);
	EXPECT_EQ(0xee, (u8)stat[all].name[0]);
	for (i = 0; i < all; i++) {
		ASSERT_LT(strnlen(stat[i].name, 24), 24);
		EXPECT_GT(strnlen(stat[i].name, 24), 0);
		for (j = 0; j < i; j++)
			EXPECT_NE(0, strcmp(stat[i].name, stat[j].name));
	}
	/* A VM has these and more. */
	count = 128;
	ASSERT_EQ(0, read_stats(vm->fd, stat, &count));
	EXPECT_GE(count, all);
	vm_destroy(vm);
}

TEST(count_what_happens)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *one = vcpu_create(vm, 0), *two = vcpu_create(vm, 7);
	u64 entries;

	/* Four levels of tables */
	ASSERT_EQ(0, madvise(vm->mem, 16 * MIB, MADV_NOHUGEPAGE));
	EXPECT_EQ(0, get_stat(one->fd, "entries"));
	vcpu_load(one, MODE_LONG, work);
	one->state.regs.gpr[VMM_RSI] = 5;
	vcpu_set(one, VMM_STATE_REGS);
	run_value(one);
	EXPECT_EQ(5, get_stat(one->fd, "cpuid_exits"));
	EXPECT_EQ(1, get_stat(one->fd, "io_exits"));
	EXPECT_EQ(1, get_stat(one->fd, "io_user"));
	EXPECT_EQ(1, get_stat(one->fd, "user_exits"));
	entries = get_stat(one->fd, "entries");
	EXPECT_GE(entries, 6);
	EXPECT_GE(get_stat(one->fd, "faults_mapped"), 1);
	EXPECT_LE(get_stat(one->fd, "faults_mapped"), get_stat(one->fd, "faults"));
	EXPECT_GE(get_stat(vm->fd, "table_pages"), 4);
	run_done(one);
	EXPECT_EQ(2, get_stat(one->fd, "user_exits"));
	EXPECT_GT(get_stat(one->fd, "entries"), entries);

	/* Each vCPU its own, the VM all of them */
	EXPECT_EQ(0, get_stat(two->fd, "entries"));
	vcpu_load(two, MODE_LONG, work);
	two->state.regs.gpr[VMM_RSI] = 3;
	vcpu_set(two, VMM_STATE_REGS);
	run_value(two);
	EXPECT_EQ(3, get_stat(two->fd, "cpuid_exits"));
	EXPECT_EQ(5, get_stat(one->fd, "cpuid_exits"));
	EXPECT_EQ(8, get_stat(vm->fd, "cpuid_exits"));
	vm_destroy(vm);
}

GUEST_CODE(touch, 64, "movl $1, 0x200000; out %al, $PORT_DONE\n");

TEST(events)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u64 faults;

	vcpu_load(vcpu, MODE_LONG, touch);
	vcpu->state.regs.rflags |= FLAG_IF;
	vcpu_set(vcpu, VMM_STATE_REGS);
	ASSERT_EQ(0, vcpu_interrupt(vcpu, 0x33));
	ASSERT_EQ(0, vcpu_nmi(vcpu));
	ASSERT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 6, false, 0, 0));
	run_trap(vcpu);
	run_trap(vcpu);
	run_trap(vcpu);
	EXPECT_EQ(1, get_stat(vcpu->fd, "interrupts"));
	EXPECT_EQ(1, get_stat(vcpu->fd, "nmis"));
	EXPECT_EQ(1, get_stat(vcpu->fd, "exceptions"));
	faults = get_stat(vcpu->fd, "faults_mapped");
	run_done(vcpu);
	EXPECT_LT(faults, get_stat(vcpu->fd, "faults_mapped"));
	vm_destroy(vm);
}

#define SWEPT	8		/* pages */

GUEST_CODE(sweep, 64,
	   "1: mov $0x200000, %ebx\n"
	   "2: movl $1, (%rbx); add $0x1000, %ebx; cmp $0x208000, %ebx; jb 2b\n"
	   "out %al, $PORT_VALUE; pause; jmp 1b\n");

/* However much has changed, a vCPU that runs nothing is not interrupted, and flushes once. */
TEST(flushed_when_it_enters)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u64 flushes, kicks;
	int i;

	/* Another CPU would be a reason of its own. */
	pin_to_cpu(0);
	vcpu_load(vcpu, MODE_LONG, sweep);
	run_value(vcpu);
	run_value(vcpu);
	flushes = get_stat(vcpu->fd, "tlb_flushes");
	kicks = get_stat(vcpu->fd, "kicks");
	run_value(vcpu);
	EXPECT_EQ(flushes, get_stat(vcpu->fd, "tlb_flushes"));
	for (i = 0; i < SWEPT; i++)
		ASSERT_EQ(0, madvise(guest_ptr(vm, 0x200000 + i * PAGE, PAGE), PAGE,
				     MADV_DONTNEED));
	run_value(vcpu);
	EXPECT_EQ(flushes + 1, get_stat(vcpu->fd, "tlb_flushes"));
	EXPECT_EQ(kicks, get_stat(vcpu->fd, "kicks"));
	vm_destroy(vm);
}

GUEST_CODE(write_on, 64, "1: movl $1, 0x200000; pause; jmp 1b\n");

static void *disturb(void *arg)
{
	struct vcpu *vcpu = arg;

	int i;

	pin_to_cpu(1);
	/* It may be outside for a moment. */
	for (i = 0; i < 100 && !get_stat(vcpu->fd, "kicks"); i++) {
		usleep(10000);
		if (madvise(guest_ptr(vcpu->vm, 0x200000, PAGE), PAGE, MADV_DONTNEED))
			fail("madvise");
	}
	if (do_ioctl(vcpu->fd, VMM_KICK, NULL))
		fail("VMM_KICK");
	return NULL;
}

/* One that runs is, by who takes its memory away. */
TEST(interrupted_while_it_runs)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	pthread_t thread;

	if (host_cpus() < 2)
		SKIP(return, "needs two CPUs");
	pin_to_cpu(0);
	vcpu_load(vcpu, MODE_LONG, write_on);
	ASSERT_EQ(0, pthread_create(&thread, NULL, disturb, vcpu));
	EXPECT_EQ(-EINTR, vcpu_run(vcpu));
	pthread_join(thread, NULL);
	EXPECT_GE(get_stat(vcpu->fd, "kicks"), 1);
	EXPECT_GE(get_stat(vcpu->fd, "faults_mapped"), 2);
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
