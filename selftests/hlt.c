// SPDX-License-Identifier: GPL-2.0-only
/*
 * HLT: an exit where the VMM has the interrupt controllers, a sleep in the
 * kernel where the module has them, and what ends it.
 */
/* also: amd-trinity_apu intel-plain */
#include <pthread.h>
#include <signal.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

GUEST_CODE(halt, 64,
	   "out %al, $PORT_VALUE\n"	/* 0 */
	   "hlt\n"				/* 2 */
	   "out %al, $PORT_VALUE\n"	/* 3 */
	   "sti; hlt\n"			/* 5, 6 */
	   "cli\n"				/* 7 */
	   "out %al, $PORT_DONE\n");

/* ---- the VMM has the controllers ---- */

TEST(leaves_to_the_vmm)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	struct vmm_exit *e;

	vcpu_load(vcpu, MODE_LONG, halt);
	run_value(vcpu);
	e = run_until(vcpu, VMM_EXIT_HLT);
	EXPECT_EQ(CODE_GPA + 2, e->rip);
	EXPECT_EQ(CODE_GPA + 3, e->next_rip);
	EXPECT_EQ(0, e->rflags & FLAG_IF);
	EXPECT_EQ(0, e->interruptible);
	/* The VMM decides when it ends; running again is that decision. */
	run_value(vcpu);
	e = run_until(vcpu, VMM_EXIT_HLT);
	EXPECT_EQ(CODE_GPA + 6, e->rip);
	/* The shadow of STI is over. */
	EXPECT_EQ(1, e->interruptible);
	ASSERT_EQ(0, vcpu_interrupt(vcpu, 0x50));
	EXPECT_EQ(CODE_GPA + 7, run_vector(vcpu, 0x50)->rip);
	run_done(vcpu);
	vm_destroy(vm);
}

/* STI; HLT with an interrupt that already waits: it is taken behind HLT, and not lost. */
TEST(interrupt_waits_already)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);

	vcpu_load(vcpu, MODE_LONG, halt);
	vcpu->state.regs.rip = CODE_GPA + 5;
	vcpu_set(vcpu, VMM_STATE_REGS);
	ASSERT_EQ(0, vcpu_interrupt(vcpu, 0x50));
	run_until(vcpu, VMM_EXIT_HLT);
	EXPECT_EQ(CODE_GPA + 7, run_vector(vcpu, 0x50)->rip);
	run_done(vcpu);
	vm_destroy(vm);
}

/* ---- the module has them ---- */

FIXTURE(sleep) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(sleep)
{
	self->vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	self->vcpu = vcpu_create(self->vm, 0);
	vcpu_load(self->vcpu, MODE_LONG, halt);
	vcpu_take_exception(self->vcpu);
}

FIXTURE_TEARDOWN(sleep)
{
	vm_destroy(self->vm);
}

/* Does something to a vCPU that sleeps, from another thread, after a while. */
struct waker {
	struct vcpu *vcpu;
	void (*wake)(struct waker *waker);
	pthread_t sleeper;
	pid_t sleeper_id;
	u64 when;
	u64 cpu_ns;		/* that the sleep cost its thread */
};

static u64 cpu_ns_of(pthread_t thread)
{
	struct timespec ts;
	clockid_t clock;

	if (pthread_getcpuclockid(thread, &clock) || clock_gettime(clock, &ts))
		fail("no clock of a thread's CPU time");
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void *wake_later(void *arg)
{
	struct waker *waker = arg;
	u64 before;

	wait_until_asleep(waker->sleeper_id);
	before = cpu_ns_of(waker->sleeper);
	usleep(50000);
	waker->cpu_ns = cpu_ns_of(waker->sleeper) - before;
	waker->when = now_ns();
	waker->wake(waker);
	return NULL;
}

static pthread_t start_waker(struct waker *waker)
{
	pthread_t thread;

	waker->sleeper = pthread_self();
	waker->sleeper_id = gettid();
	if (pthread_create(&thread, NULL, wake_later, waker))
		fail("no thread");
	return thread;
}

static void wake_by_nmi(struct waker *waker)
{
	if (vcpu_nmi(waker->vcpu))
		fail("VMM_INJECT of an NMI");
}

static void wake_by_kick(struct waker *waker)
{
	if (do_ioctl(waker->vcpu->fd, VMM_KICK, NULL))
		fail("VMM_KICK");
}

static void wake_by_signal(struct waker *waker)
{
	pthread_kill(waker->sleeper, SIGUSR1);
}

static void wake_by_msi(struct waker *waker)
{
	struct vmm_msi msi = { .size = sizeof(msi), .address = 0xfee00000, .data = 0x51 };

	if (do_ioctl(waker->vcpu->vm->fd, VMM_SIGNAL_MSI, &msi) != 1)
		fail("VMM_SIGNAL_MSI");
}

static void on_signal(int sig)
{
}

TEST_F(sleep, woken_by_nmi)
{
	struct waker waker = { .vcpu = self->vcpu, .wake = wake_by_nmi };
	pthread_t thread;

	run_value(self->vcpu);
	thread = start_waker(&waker);
	EXPECT_EQ(CODE_GPA + 3, run_vector(self->vcpu, 2)->rip);
	EXPECT_GE(now_ns(), waker.when);
	run_value(self->vcpu);
	pthread_join(thread, NULL);
	EXPECT_GE(get_stat(self->vcpu->fd, "halt_wakeups"), 1);
}

TEST_F(sleep, woken_by_msi)
{
	struct waker waker = { .vcpu = self->vcpu, .wake = wake_by_msi };
	pthread_t thread;

	vcpu_get(self->vcpu, VMM_STATE_LAPIC);
	/* Spurious-interrupt register: enabled in software */
	self->vcpu->state.lapic.regs[0xf0 / 4] |= 0x100;
	vcpu_set(self->vcpu, VMM_STATE_LAPIC);
	self->vcpu->state.regs.rip = CODE_GPA + 5;
	vcpu_set(self->vcpu, VMM_STATE_REGS);
	thread = start_waker(&waker);
	EXPECT_EQ(CODE_GPA + 7, run_vector(self->vcpu, 0x51)->rip);
	run_done(self->vcpu);
	pthread_join(thread, NULL);
}

/* With IF clear an interrupt does not end HLT, but it is not lost either. */
TEST_F(sleep, not_woken_by_masked_interrupt)
{
	struct waker waker = { .vcpu = self->vcpu, .wake = wake_by_kick };
	pthread_t thread;

	vcpu_get(self->vcpu, VMM_STATE_LAPIC);
	self->vcpu->state.lapic.regs[0xf0 / 4] |= 0x100;
	vcpu_set(self->vcpu, VMM_STATE_LAPIC);
	run_value(self->vcpu);
	wake_by_msi(&waker);
	thread = start_waker(&waker);
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	pthread_join(thread, NULL);
	vcpu_get(self->vcpu, VMM_STATE_EVENTS | VMM_STATE_REGS);
	EXPECT_EQ(VMM_MP_HALTED, self->vcpu->state.events.mp_state);
	EXPECT_EQ(CODE_GPA + 3, self->vcpu->state.regs.rip);
	/* The VMM ends the HLT; the interrupt comes once the guest lets it. */
	self->vcpu->state.events.mp_state = VMM_MP_RUNNABLE;
	vcpu_set(self->vcpu, VMM_STATE_EVENTS);
	run_value(self->vcpu);
	EXPECT_EQ(CODE_GPA + 7, run_vector(self->vcpu, 0x51)->rip);
	run_done(self->vcpu);
}

static void check_interrupted(struct __test_metadata *_metadata, struct vcpu *vcpu,
			      void (*wake)(struct waker *waker))
{
	struct waker waker = { .vcpu = vcpu, .wake = wake };
	pthread_t thread;
	int i;

	run_value(vcpu);
	for (i = 0; i < 3; i++) {
		thread = start_waker(&waker);
		EXPECT_EQ(-EINTR, vcpu_run(vcpu));
		pthread_join(thread, NULL);
		EXPECT_EQ(VMM_EXIT_INTR, vcpu->run->exit.reason);
		vcpu_get(vcpu, VMM_STATE_EVENTS);
		EXPECT_EQ(VMM_MP_HALTED, vcpu->state.events.mp_state);
	}
	/* Still asleep after all that */
	ASSERT_EQ(0, vcpu_nmi(vcpu));
	EXPECT_EQ(CODE_GPA + 3, run_vector(vcpu, 2)->rip);
	run_value(vcpu);
}

TEST_F(sleep, kick_leaves_it_halted)
{
	check_interrupted(_metadata, self->vcpu, wake_by_kick);
}

TEST_F(sleep, signal_leaves_it_halted)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &action, NULL);
	check_interrupted(_metadata, self->vcpu, wake_by_signal);
}

TEST_F(sleep, immediate_exit)
{
	run_value(self->vcpu);
	self->vcpu->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	self->vcpu->run->immediate_exit = 0;
}

/* The sleep costs no time of the CPU. */
TEST_F(sleep, is_idle)
{
	struct waker waker = { .vcpu = self->vcpu, .wake = wake_by_nmi };
	pthread_t thread;
	u64 entries;

	run_value(self->vcpu);
	entries = get_stat(self->vcpu->fd, "entries");
	thread = start_waker(&waker);
	run_vector(self->vcpu, 2);
	pthread_join(thread, NULL);
	EXPECT_LT(waker.cpu_ns, 5000000);
	EXPECT_LT(get_stat(self->vcpu->fd, "entries") - entries, 40);
}

/* On request HLT leaves even so. */
TEST_F(sleep, exit_on_request)
{
	struct vmm_exits exits = { .size = sizeof(exits), .exits = VMM_EXITS_HLT };

	ASSERT_EQ(0, do_ioctl(self->vcpu->fd, VMM_SET_EXITS, &exits));
	run_value(self->vcpu);
	EXPECT_EQ(CODE_GPA + 2, run_until(self->vcpu, VMM_EXIT_HLT)->rip);
	run_value(self->vcpu);
}

/* Many naps, each ended by another thread at no certain moment: no wake-up is lost. */
GUEST_CODE(naps, 64,
	   "1: cli; cmpb $0, DATA_GPA + 8; jne 2f; sti; hlt; jmp 1b\n"
	   "2: out %al, $PORT_DONE\n");

/* A handler that only counts and ends the interrupt; no exit */
GUEST_CODE(count_and_eoi, 64,
	   "push %rax\n"
	   "incq DATA_GPA\n"
	   "mov $0xfee000b0, %eax; movl $0, (%rax)\n"
	   "pop %rax; iretq\n");

#define NAPS		2000
#define ENOUGH_NAPS	100	/* where the host is slow */

static void *keep_waking(void *arg)
{
	u64 end = now_ns() + 15000000000ULL, i;
	struct waker waker = { .vcpu = arg };
	struct vm *vm = waker.vcpu->vm;

	for (i = 0; i < NAPS && (i < ENOUGH_NAPS || now_ns() < end); i++) {
		wake_by_msi(&waker);
		/* The next one only when the guest has had this one */
		while (guest_u64(vm, DATA_GPA) == i)
			__builtin_ia32_pause();
	}
	guest_u8(vm, DATA_GPA + 8) = 1;
	wake_by_msi(&waker);
	return (void *)i;
}

TEST_F(sleep, no_wakeup_is_lost)
{
	struct vcpu *vcpu = self->vcpu;
	pthread_t thread;
	void *naps_had;

	if (host_cpus() < 2)
		SKIP(return, "needs two CPUs");
	vcpu_load(vcpu, MODE_LONG, naps);
	memcpy(guest_ptr(self->vm, STUBS_GPA + 16 * 0x51, 16), "\xe9", 1);
	*(s32 *)guest_ptr(self->vm, STUBS_GPA + 16 * 0x51 + 1, 4) =
		DATA_GPA + 0x100 - (STUBS_GPA + 16 * 0x51 + 5);
	memcpy(guest_ptr(self->vm, DATA_GPA + 0x100, code_size(count_and_eoi)), count_and_eoi,
	       code_size(count_and_eoi));
	vcpu_get(vcpu, VMM_STATE_LAPIC);
	vcpu->state.lapic.regs[0xf0 / 4] |= 0x100;
	vcpu_set(vcpu, VMM_STATE_LAPIC);
	vcpu->timeout_ms = 25000;
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_waking, vcpu));
	run_done(vcpu);
	pthread_join(thread, &naps_had);
	/* The last message may come when the guest has seen already that it is to stop. */
	EXPECT_GE(guest_u64(self->vm, DATA_GPA), (u64)naps_had);
	EXPECT_LE(guest_u64(self->vm, DATA_GPA), (u64)naps_had + 1);
}

TEST_HARNESS_MAIN
