// SPDX-License-Identifier: GPL-2.0-only
/*
 * A CPU goes offline and comes back while VMs run on it and elsewhere.
 */
/* hosts: smp 6.12 */
/* timeout: 120 */
#include <pthread.h>
#include <sched.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define ONLINE	"/sys/devices/system/cpu/cpu1/online"

/* Computes on; an exit each time the counter's low 16 bits are zero */
GUEST_CODE(compute, 64,
	   "1: inc %rax; imul $0x343fd, %rbx, %rbx; add $0x269ec3, %rbx\n"
	   "test %ax, %ax; jnz 1b; out %eax, $PORT_VALUE; jmp 1b\n");

FIXTURE(hotplug) {
	struct vm *vm[2];
	struct vcpu *vcpu[2];
	int mark;
};

FIXTURE_SETUP(hotplug)
{
	int i;

	if (host_cpus() < 2)
		SKIP(return, "needs two CPUs");
	self->mark = host_log_mark();
	for (i = 0; i < 2; i++) {
		self->vm[i] = vm_create(1 * MIB, 0);
		self->vcpu[i] = vcpu_create(self->vm[i], 0);
		vcpu_load(self->vcpu[i], MODE_LONG, compute);
	}
}

FIXTURE_TEARDOWN(hotplug)
{
	int i;

	write_file(ONLINE, "1");
	for (i = 0; i < 2; i++)
		if (self->vm[i])
			vm_destroy(self->vm[i]);
	/* The kernel's own lines about the CPU are expected; the module has nothing to say. */
	if (self->mark > 0)
		EXPECT_EQ(0, host_log_count(self->mark, "vmm"));
}

static void check_value(struct __test_metadata *_metadata, struct vcpu *vcpu, u64 *last)
{
	u64 value = run_value(vcpu);

	EXPECT_EQ((u32)(*last + 0x10000), value);
	*last = value;
}

/* The vCPU's thread is on the CPU that goes, and must go elsewhere itself. */
TEST_F_TIMEOUT(hotplug, between_runs, 60)
{
	u64 last = 0;
	int i, round;

	for (round = 0; round < 4; round++) {
		ASSERT_EQ(0, pin_to_cpu(1));
		for (i = 0; i < 3; i++)
			check_value(_metadata, self->vcpu[0], &last);
		ASSERT_EQ(0, pin_to_cpu(0));
		ASSERT_EQ(0, write_file(ONLINE, "0"));
		for (i = 0; i < 3; i++)
			check_value(_metadata, self->vcpu[0], &last);
		ASSERT_EQ(0, write_file(ONLINE, "1"));
		ASSERT_EQ(0, pin_to_cpu(1));
		check_value(_metadata, self->vcpu[0], &last);
	}
}

struct runner {
	struct vcpu *vcpu;
	bool stop;
	u64 exits;
};

static void *keep_running(void *arg)
{
	struct runner *r = arg;
	u64 last = 0;

	while (!__atomic_load_n(&r->stop, __ATOMIC_SEQ_CST)) {
		u64 value;

		/* Back to the CPU that goes, if it has come back */
		pin_to_cpu(1);
		value = run_value(r->vcpu);
		if (value != (u32)(last + 0x10000))
			fail("the guest's counter went from %#llx to %#llx", last, value);
		last = value;
		__atomic_add_fetch(&r->exits, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* Until it has had @more exits; a guest that stands still fails in its own thread. */
static void wait_for_exits(struct runner *r, u64 more)
{
	u64 until = __atomic_load_n(&r->exits, __ATOMIC_SEQ_CST) + more;

	while (__atomic_load_n(&r->exits, __ATOMIC_SEQ_CST) < until)
		usleep(1000);
}

/* It is inside the guest when its CPU goes. */
TEST_F_TIMEOUT(hotplug, while_running, 60)
{
	struct runner runners[2] = { { self->vcpu[0] }, { self->vcpu[1] } };
	pthread_t threads[2];
	int i, round;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, keep_running, &runners[i]));
	for (round = 0; round < 4; round++) {
		/* The first of these may have begun elsewhere. */
		for (i = 0; i < 2; i++)
			wait_for_exits(&runners[i], 2);
		ASSERT_EQ(0, write_file(ONLINE, "0"));
		for (i = 0; i < 2; i++)
			wait_for_exits(&runners[i], 2);
		ASSERT_EQ(0, write_file(ONLINE, "1"));
	}
	for (i = 0; i < 2; i++) {
		__atomic_store_n(&runners[i].stop, true, __ATOMIC_SEQ_CST);
		pthread_join(threads[i], NULL);
	}
}

/* A VM made while the CPU was away runs on it when it is back, and the other way round. */
TEST_F_TIMEOUT(hotplug, made_meanwhile, 60)
{
	struct vm *vm;
	struct vcpu *vcpu;
	u64 last = 0;

	ASSERT_EQ(0, write_file(ONLINE, "0"));
	vm = vm_create(1 * MIB, 0);
	vcpu = vcpu_create(vm, 0);
	vcpu_load(vcpu, MODE_LONG, compute);
	check_value(_metadata, vcpu, &last);
	ASSERT_EQ(0, write_file(ONLINE, "1"));
	ASSERT_EQ(0, pin_to_cpu(1));
	check_value(_metadata, vcpu, &last);
	ASSERT_EQ(0, pin_to_cpu(0));
	ASSERT_EQ(0, write_file(ONLINE, "0"));
	/* Destroyed while a CPU on which it has run is away */
	vm_destroy(vm);
	ASSERT_EQ(0, write_file(ONLINE, "1"));
}

/* SVM (VMX) is off on a CPU that is away, and as before when it is back. */
TEST_F_TIMEOUT(hotplug, registers, 60)
{
	u64 before, after;

	if (host_msr(1, 0xc0000080, &before))
		SKIP(return, "no /dev/cpu/1/msr");
	ASSERT_EQ(0, write_file(ONLINE, "0"));
	ASSERT_EQ(0, write_file(ONLINE, "1"));
	ASSERT_EQ(0, host_msr(1, 0xc0000080, &after));
	EXPECT_EQ(before, after);
}

TEST_HARNESS_MAIN
