// SPDX-License-Identifier: GPL-2.0-only
/*
 * What brings a vCPU's thread back: signals, immediate_exit, VMM_KICK. The
 * guest may spin with interrupts off; nothing of it is lost.
 */
/* hosts: smp 6.12 */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

static volatile int signals;

static void on_signal(int sig)
{
	signals++;
}

FIXTURE(signals) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(signals)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(signals)
{
	vm_destroy(self->vm);
}

/* Counts for ever, with interrupts off. */
GUEST_CODE(spin, 64, "1: inc %rax; jmp 1b\n");
/* The same without a single register: the shortest there is. */
GUEST_CODE(spin_shortest, 64, "1: jmp 1b\n");

TEST_F(signals, end_a_spinning_guest)
{
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = { };
	struct vcpu *vcpu = self->vcpu;
	int before, advanced = 0;
	u64 counted = 0;

	vcpu_load(vcpu, MODE_LONG, spin);
	setitimer(ITIMER_REAL, &often, NULL);
	/* One that comes before the guest has begun ends the run as well. */
	while (advanced < 5) {
		before = signals;
		ASSERT_EQ(-EINTR, vcpu_run(vcpu));
		EXPECT_GT(signals, before);
		EXPECT_EQ(VMM_EXIT_INTR, vcpu->run->exit.reason);
		vcpu_get(vcpu, VMM_STATE_REGS);
		ASSERT_GE(vcpu->state.regs.gpr[VMM_RAX], counted);
		EXPECT_TRUE(vcpu->state.regs.rip == CODE_GPA ||
			    vcpu->state.regs.rip == CODE_GPA + 3);
		advanced += vcpu->state.regs.gpr[VMM_RAX] > counted;
		counted = vcpu->state.regs.gpr[VMM_RAX];
	}
	setitimer(ITIMER_REAL, &never, NULL);
}

static void *kick_later(void *arg)
{
	struct vcpu *vcpu = arg;

	usleep(30000);
	if (do_ioctl(vcpu->fd, VMM_KICK, NULL))
		fail("VMM_KICK");
	return NULL;
}

TEST_F(signals, kick_a_spinning_guest)
{
	static const enum guest_mode modes[] = { MODE_REAL, MODE_PROTECTED, MODE_LONG };
	struct vcpu *vcpu = self->vcpu;
	pthread_t thread;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		vcpu_load(vcpu, modes[i], spin_shortest);
		ASSERT_EQ(0, pthread_create(&thread, NULL, kick_later, vcpu));
		EXPECT_EQ(-EINTR, vcpu_run(vcpu));
		pthread_join(thread, NULL);
		EXPECT_EQ(VMM_EXIT_INTR, vcpu->run->exit.reason);
	}
}

GUEST_CODE(counting, 64,
	   "1: out %al, $PORT_VALUE; inc %eax; jmp 1b\n");

/* A kick of a vCPU that does not run holds for its next run, once. */
TEST_F(signals, kick_before_run)
{
	struct vcpu *vcpu = self->vcpu;

	vcpu_load(vcpu, MODE_LONG, counting);
	EXPECT_EQ(0, run_value(vcpu));
	ASSERT_EQ(0, do_ioctl(vcpu->fd, VMM_KICK, NULL));
	ASSERT_EQ(0, do_ioctl(vcpu->fd, VMM_KICK, NULL));
	EXPECT_EQ(-EINTR, vcpu_run(vcpu));
	EXPECT_EQ(1, run_value(vcpu));
	EXPECT_EQ(2, run_value(vcpu));
}

TEST_F(signals, immediate_exit_runs_nothing)
{
	struct vcpu *vcpu = self->vcpu;

	vcpu_load(vcpu, MODE_LONG, counting);
	vcpu->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run_raw(vcpu));
	EXPECT_EQ(-EINTR, vcpu_run_raw(vcpu));
	vcpu_get(vcpu, VMM_STATE_REGS);
	EXPECT_EQ(CODE_GPA, vcpu->state.regs.rip);
	EXPECT_EQ(0, get_stat(vcpu->fd, "entries"));
	vcpu->run->immediate_exit = 0;
	EXPECT_EQ(0, run_value(vcpu));
}

static void *set_immediate_exit(void *arg)
{
	struct vcpu *vcpu = arg;

	usleep(30000);
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (do_ioctl(vcpu->fd, VMM_KICK, NULL))
		fail("VMM_KICK");
	return NULL;
}

TEST_F(signals, immediate_exit_while_running)
{
	struct vcpu *vcpu = self->vcpu;
	pthread_t thread;

	vcpu_load(vcpu, MODE_LONG, spin);
	ASSERT_EQ(0, pthread_create(&thread, NULL, set_immediate_exit, vcpu));
	EXPECT_EQ(-EINTR, vcpu_run(vcpu));
	pthread_join(thread, NULL);
}

/*
 * What an exit still waits for is done first: the answer of IN, the rest of an
 * MMIO instruction, a value of an MSR. Then the vCPU is between instructions.
 */
GUEST_CODE(pending, 64,
	   "in $PORT_VALUE, %eax\n"		/* 0 */
	   "mov $MMIO_GPA, %ebx\n"			/* 2 */
	   "mov (%rbx), %ecx\n"			/* 7 */
	   "addl $1, (%rbx)\n"			/* 9 */
	   "out %al, $PORT_DONE\n");		/* 12 */

TEST_F(signals, immediate_exit_completes)
{
	struct vcpu *vcpu = self->vcpu;
	struct vmm_exit *e = &vcpu->run->exit;
	u64 *gpr = vcpu->state.regs.gpr;

	vcpu_load(vcpu, MODE_LONG, pending);

	run_until(vcpu, VMM_EXIT_IO);
	e->io.data = 0x1234;
	vcpu->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(vcpu));
	vcpu_get(vcpu, VMM_STATE_REGS | VMM_STATE_PENDING);
	EXPECT_EQ(0x1234, gpr[VMM_RAX]);
	EXPECT_EQ(CODE_GPA + 2, vcpu->state.regs.rip);
	EXPECT_EQ(VMM_PENDING_NONE, vcpu->state.pending.kind);

	vcpu->run->immediate_exit = 0;
	run_until(vcpu, VMM_EXIT_MMIO);
	e->mmio.data = 0x5678;
	vcpu->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(vcpu));
	vcpu_get(vcpu, VMM_STATE_REGS | VMM_STATE_PENDING);
	EXPECT_EQ(0x5678, gpr[VMM_RCX]);
	EXPECT_EQ(CODE_GPA + 9, vcpu->state.regs.rip);
	EXPECT_EQ(VMM_PENDING_NONE, vcpu->state.pending.kind);

	/* The rest of the instruction is a write, which leaves, immediate_exit or not. */
	vcpu->run->immediate_exit = 0;
	run_until(vcpu, VMM_EXIT_MMIO);
	e->mmio.data = 41;
	vcpu->run->immediate_exit = 1;
	ASSERT_EQ(0, vcpu_run(vcpu));
	EXPECT_EQ(VMM_EXIT_MMIO, e->reason);
	EXPECT_EQ(1, e->mmio.write);
	EXPECT_EQ(42, e->mmio.data);
	EXPECT_EQ(-EINTR, vcpu_run(vcpu));
	vcpu_get(vcpu, VMM_STATE_REGS | VMM_STATE_PENDING);
	EXPECT_EQ(CODE_GPA + 12, vcpu->state.regs.rip);
	EXPECT_EQ(VMM_PENDING_NONE, vcpu->state.pending.kind);
	vcpu->run->immediate_exit = 0;
	run_done(vcpu);
}

/*
 * A guest that computes and reports, in a storm of signals: the result is that of a
 * quiet run.
 */
GUEST_CODE(compute, 64,
	   "mov $1, %rax; mov $200, %ecx\n"
	   "1: mov $5000, %edx\n"
	   "2: imul $1664525, %rax, %rax; add $1013904223, %rax\n"
	   "mov %rax, DATA_GPA(,%rdx,8); dec %edx; jnz 2b\n"
	   "out %eax, $PORT_VALUE; in $PORT_VALUE, %eax\n"
	   "dec %ecx; jnz 1b\n"
	   "out %al, $PORT_DONE\n");

static u64 run_compute(struct vcpu *vcpu, int *interrupted)
{
	struct vmm_exit *e = &vcpu->run->exit;
	u64 digest = 0;
	int ret;

	vcpu_load(vcpu, MODE_LONG, compute);
	for (;;) {
		ret = vcpu_run(vcpu);
		if (ret == -EINTR) {
			++*interrupted;
			continue;
		}
		if (ret || e->reason != VMM_EXIT_IO) {
			vcpu_print(vcpu);
			fail("VMM_RUN: %d", ret);
		}
		if (e->io.port == PORT_DONE)
			return digest;
		if (e->io.in)
			e->io.data = (u32)digest;
		else
			digest = digest * 31 + e->io.data;
	}
}

static u64 digest_of_data(struct vm *vm)
{
	u64 *data = guest_ptr(vm, DATA_GPA, 5001 * 8);
	u64 digest = 0;
	int i;

	for (i = 0; i <= 5000; i++)
		digest = digest * 31 + data[i];
	memset(data, 0, 5001 * 8);
	return digest;
}

TEST_F(signals, storm)
{
	struct itimerval storm = { { 0, 200 }, { 0, 200 } }, calm = { };
	int quiet = 0, interrupted = 0;
	u64 result, memory;

	result = run_compute(self->vcpu, &quiet);
	memory = digest_of_data(self->vm);

	setitimer(ITIMER_REAL, &storm, NULL);
	EXPECT_EQ(result, run_compute(self->vcpu, &interrupted));
	setitimer(ITIMER_REAL, &calm, NULL);
	EXPECT_EQ(memory, digest_of_data(self->vm));
	TH_LOG("%d signals, %d runs ended by one", signals, interrupted);
	EXPECT_GT(interrupted, 0);
}

/* A blocked signal does not end a run; unblocked for the run alone, it does. */
TEST_F(signals, blocked)
{
	struct vcpu *vcpu = self->vcpu;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	vcpu_load(vcpu, MODE_LONG, counting);
	EXPECT_EQ(0, run_value(vcpu));
	EXPECT_EQ(1, run_value(vcpu));
	EXPECT_EQ(0, signals);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	EXPECT_EQ(1, signals);
}

static volatile bool init_senders_stop;

/* INIT to the LAPIC with the ID 1, over and over */
static void *send_inits(void *arg)
{
	struct vmm_msi msi = { .size = sizeof(msi), .address = 0xfee01000, .data = 0x4500 };
	struct vm *vm = arg;

	while (!init_senders_stop)
		if (do_ioctl(vm->fd, VMM_SIGNAL_MSI, &msi) != 1)
			fail("VMM_SIGNAL_MSI");
	return NULL;
}

GUEST_CODE(init_loop, 64,
	   "mov $0xfee00300, %ebx\n"
	   "movl $0x01000000, 0x10(%rbx)\n"
	   "1: movl $0x4500, (%rbx)\n"
	   "incq DATA_GPA\n"
	   "jmp 1b\n");

static void *run_init_loop(void *arg)
{
	struct vcpu *vcpu = arg;
	int ret;

	do {
		ret = vcpu_run_raw(vcpu);
		if (ret != -EINTR)
			fail("VMM_RUN: %d", ret);
	} while (!init_senders_stop);
	return NULL;
}

/*
 * A vCPU that waits for a SIPI, as it does after each of the INITs that others send it without end:
 * there is always work for it, but it must see its signals all the same.
 */
TEST_F(signals, while_inits_come)
{
	struct itimerval soon = { { 0, 50000 }, { 0, 50000 } }, never = { };
	struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	struct vcpu *sender = vcpu_create(vm, 0), *vcpu = vcpu_create(vm, 1);
	pthread_t guest, host;
	sigset_t set;
	int i;

	vcpu_load(sender, MODE_LONG, init_loop);
	/* The timer's are for this thread alone. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	init_senders_stop = false;
	ASSERT_EQ(0, pthread_create(&guest, NULL, run_init_loop, sender));
	ASSERT_EQ(0, pthread_create(&host, NULL, send_inits, vm));
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(-EINTR, vcpu_run(vcpu));
		EXPECT_EQ(VMM_EXIT_INTR, vcpu->run->exit.reason);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	EXPECT_GT(guest_u64(vm, DATA_GPA), 0);
	init_senders_stop = true;
	ASSERT_EQ(0, do_ioctl(sender->fd, VMM_KICK, NULL));
	pthread_join(guest, NULL);
	pthread_join(host, NULL);
	vm_destroy(vm);
}

/* The same, and the signal is one that ends the process. */
TEST_F(signals, killed_while_inits_come)
{
	int status, tube[2];
	pid_t child;
	char c;

	ASSERT_EQ(0, pipe(tube));
	child = fork();
	if (!child) {
		struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);
		struct vcpu *sender = vcpu_create(vm, 0), *vcpu = vcpu_create(vm, 1);
		pthread_t guest, host;

		vcpu_load(sender, MODE_LONG, init_loop);
		if (pthread_create(&guest, NULL, run_init_loop, sender) ||
		    pthread_create(&host, NULL, send_inits, vm))
			_exit(1);
		while (!guest_u64(vm, DATA_GPA))
			usleep(1000);
		if (write(tube[1], "", 1) != 1)
			_exit(2);
		vcpu_run_raw(vcpu);
		_exit(3);
	}
	ASSERT_EQ(1, read(tube[0], &c, 1));
	usleep(50000);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* A stopped and continued process finds its guest as it was. */
TEST_F(signals, stop_and_continue)
{
	struct vcpu *vcpu = self->vcpu;
	pid_t parent = getpid(), child;
	u64 counted = 0;
	int status;

	child = fork();
	if (!child) {
		usleep(20000);
		kill(parent, SIGSTOP);
		usleep(50000);
		kill(parent, SIGCONT);
		/* One that comes between two runs ends none. */
		while (getppid() == parent) {
			usleep(20000);
			kill(parent, SIGUSR1);
		}
		_exit(0);
	}
	vcpu_load(vcpu, MODE_LONG, spin);
	while (!signals || !counted) {
		ASSERT_EQ(-EINTR, vcpu_run(vcpu));
		vcpu_get(vcpu, VMM_STATE_REGS);
		ASSERT_GE(vcpu->state.regs.gpr[VMM_RAX], counted);
		counted = vcpu->state.regs.gpr[VMM_RAX];
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
}

TEST_HARNESS_MAIN
