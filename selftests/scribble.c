// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run area is hostile memory: a thread writes nonsense all over it while
 * the vCPU runs. The guest may go astray, the calls may fail; the host does
 * not mind, and the vCPU is as good as new with fresh state.
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

/* All kinds of exits that wait for an answer in the run area, round and round */
GUEST_CODE(busy, 64,
	   "mov $MMIO_GPA, %ebx\n"
	   "1: in $PORT_VALUE, %eax\n"
	   "mov (%rbx), %rax\n"
	   "addl $1, (%rbx)\n"
	   "mov $0x1f0, %edx; mov $DATA_GPA, %esi; mov $4, %ecx; rep outsb\n"
	   "mov $0x12345678, %ecx; rdmsr; wrmsr\n"
	   "hlt\n"
	   "out %eax, $PORT_VALUE\n"
	   "jmp 1b\n");

struct scribbler {
	struct vmm_run *run;
	size_t from, to;
	volatile bool stop;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	u8 *bytes = (u8 *)s->run;
	u32 seed = 1;

	while (!s->stop) {
		int i;

		for (i = 0; i < 64; i++) {
			size_t at;

			seed = seed * 1664525 + 1013904223;
			at = s->from + (seed >> 4) % (s->to - s->from);
			*(volatile u8 *)&bytes[at] = seed >> 24;
		}
		/* A guest that was sent to sleep or to spin comes back. */
		__atomic_store_n(&s->run->immediate_exit, seed >> 31, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static volatile bool kicker_stop;

static void *kick(void *arg)
{
	struct vcpu *vcpu = arg;

	while (!kicker_stop) {
		usleep(2000);
		do_ioctl(vcpu->fd, VMM_KICK, NULL);
	}
	return NULL;
}

static void allow_msr_exits(struct vm *vm)
{
	struct vmm_msr_policy policy = {
		.size = sizeof(policy), .flags = VMM_MSR_POLICY_UNKNOWN_EXIT,
	};

	if (do_ioctl(vm->fd, VMM_SET_MSR_POLICY, &policy))
		fail("VMM_SET_MSR_POLICY");
}

static void check_scribbling(struct __test_metadata *_metadata, size_t from, size_t to)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	struct scribbler s = { .run = vcpu->run, .from = from, .to = to };
	u64 end, count = 0, succeeded = 0;
	pthread_t scribbler, kicker;
	int mark = host_log_mark();

	allow_msr_exits(vm);
	vcpu_load(vcpu, MODE_LONG, busy);
	kicker_stop = false;
	ASSERT_EQ(0, pthread_create(&scribbler, NULL, scribble, &s));
	ASSERT_EQ(0, pthread_create(&kicker, NULL, kick, vcpu));
	/* A while; where the host is slow, as long as something has come of it */
	end = now_ns() + 2000000000ULL;
	while (now_ns() < end || (succeeded <= 10 && now_ns() < end + 15000000000ULL)) {
		int ret;

		/* What may be right for a moment */
		vcpu->run->sync_groups = VMM_STATE_SYNC;
		vcpu->run->dirty_groups = count & 3 ? 0 : VMM_STATE_REGS | VMM_STATE_EVENTS;
		vcpu->run->immediate_exit = 0;
		ret = vcpu_run_raw(vcpu);
		count++;
		succeeded += !ret;
		ASSERT_TRUE(!ret || ret == -EINTR || ret == -EINVAL || ret == -ERANGE)
			TH_LOG("VMM_RUN: %s", strerror(-ret));
		/* Out of wherever the nonsense has led it */
		if (count % 16 == 0) {
			memset(&vcpu->state.events, 0, sizeof(vcpu->state.events));
			vcpu_set(vcpu, VMM_STATE_EVENTS);
			vcpu_set_mode(vcpu, MODE_LONG);
		}
	}
	s.stop = true;
	kicker_stop = true;
	pthread_join(scribbler, NULL);
	pthread_join(kicker, NULL);
	TH_LOG("%llu runs, %llu of them with an exit", count, succeeded);
	EXPECT_GT(succeeded, 10);

	/* In order again */
	memset((u8 *)vcpu->run + 4, 0, vm->info.run_size - 4);
	memset(&vcpu->state.events, 0, sizeof(vcpu->state.events));
	memset(&vcpu->state.pending, 0, sizeof(vcpu->state.pending));
	vcpu_set(vcpu, VMM_STATE_EVENTS | VMM_STATE_PENDING);
	vcpu_load(vcpu, MODE_LONG, busy);
	vcpu_run(vcpu);		/* a kick may be left over */
	memset(&vcpu->state.pending, 0, sizeof(vcpu->state.pending));
	vcpu_set(vcpu, VMM_STATE_PENDING);
	vcpu_load(vcpu, MODE_LONG, busy);
	run_until(vcpu, VMM_EXIT_IO);
	vcpu->run->exit.io.data = 1;
	run_until(vcpu, VMM_EXIT_MMIO);
	EXPECT_EQ(MMIO_GPA, vcpu->run->exit.mmio.gpa);
	EXPECT_EQ(8, vcpu->run->exit.mmio.size);
	EXPECT_TRUE(host_log_quiet(mark));
	vm_destroy(vm);
}

TEST(everywhere)
{
	check_scribbling(_metadata, 0, PAGE);
}

TEST(over_the_exit)
{
	check_scribbling(_metadata, offsetof(struct vmm_run, exit),
			 offsetof(struct vmm_run, regs));
}

TEST(over_the_groups)
{
	check_scribbling(_metadata, offsetof(struct vmm_run, sync_groups),
			 sizeof(struct vmm_run));
}

/* State goes in from the run area while it changes there: checked once, used as checked. */
TEST(state_that_changes)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	struct scribbler s = {
		.run = vcpu->run,
		.from = offsetof(struct vmm_run, control),
		.to = offsetof(struct vmm_run, debug),
	};
	int rounds = host_is_slow() ? 1000 : 20000;
	int mark = host_log_mark();
	pthread_t thread;
	int i, taken = 0;

	vcpu_load(vcpu, MODE_LONG, busy);
	vcpu_get(vcpu, VMM_STATE_SYNC);
	ASSERT_EQ(0, pthread_create(&thread, NULL, scribble, &s));
	for (i = 0; i < rounds; i++) {
		vcpu->run->control = vcpu->state.control;
		vcpu->run->dirty_groups = VMM_STATE_CONTROL;
		vcpu->run->immediate_exit = 1;
		taken += vcpu_run_raw(vcpu) != -EINVAL;
		/* What was taken is always something that a CPU can have. */
		vcpu_get(vcpu, VMM_STATE_SYNC);
		EXPECT_EQ(0, vcpu_try_set(vcpu, VMM_STATE_CONTROL));
		vcpu_set_mode(vcpu, MODE_LONG);
	}
	s.stop = true;
	pthread_join(thread, NULL);
	TH_LOG("%d of %d taken", taken, i);
	EXPECT_TRUE(host_log_quiet(mark));
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
