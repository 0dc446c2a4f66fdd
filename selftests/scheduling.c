// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPU threads that the host stops, slows down or prefers: by ptrace, in a control group that is
 * frozen or has little time, in real time, in a crowd. No guest loses anything, and the host has
 * its turn.
 */
/* hosts: 6.12 debug */
/* also: amd-smp */
/* timeout: 60 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define CGROUPS		"/sys/fs/cgroup/"
#define GROUP		CGROUPS "slow"

/* An exit at each 1024th round, which says how far it is */
GUEST_CODE(compute, 64,
	   "1: inc %eax; test $0x3ff, %eax; jnz 1b; out %eax, $PORT_VALUE; jmp 1b\n");
/* Interrupts are on: a processor that is emulated may not look for the host's otherwise. */
GUEST_CODE(spin, 64, "sti; 1: inc %rax; mov %rax, 0x80000; jmp 1b\n");

/* Up to its next exit; who stops the thread may interrupt the call. */
static void run_on(struct vcpu *vcpu, u32 *last)
{
	const struct vmm_exit *exit = &vcpu->run->exit;
	int ret;

	do {
		ret = do_ioctl(vcpu->fd, VMM_RUN, NULL);
	} while (ret == -EINTR);
	if (ret || exit->reason != VMM_EXIT_IO || exit->io.data != *last + 1024)
		fail("%s, exit %s, %#llx after %#x", strerror(-ret), exit_name(exit->reason),
		     exit->io.data, *last);
	*last = exit->io.data;
}

/* ---- a VMM that somebody stops ---- */

FIXTURE(stopped) {
	volatile u32 *progress;		/* how far the child's guest is */
	pid_t child;
};

FIXTURE_SETUP(stopped)
{
	self->progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			      -1, 0);
	self->child = fork();
	if (!self->child) {
		struct vm *vm = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
		struct vcpu *vcpu = vcpu_create(vm, 0);
		u32 last = 0;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		vcpu_load(vcpu, MODE_LONG, compute);
		for (;;) {
			run_on(vcpu, &last);
			*self->progress = last;
		}
	}
}

FIXTURE_TEARDOWN(stopped)
{
	int i;

	write_file(GROUP "/cgroup.freeze", "0");
	kill(self->child, SIGKILL);
	waitpid(self->child, NULL, __WALL);
	for (i = 0; rmdir(GROUP) && errno == EBUSY && i < 100; i++)
		usleep(20000);
}

#define wait_until(condition) do {						\
	int tries;								\
	for (tries = 0; !(condition); tries++) {				\
		if (tries == 20000)						\
			fail("never: %s", #condition);				\
		usleep(1000);							\
	}									\
} while (0)

static void wait_for_progress(volatile u32 *progress)
{
	u32 before = *progress;

	wait_until(*progress != before);
}

static void must_stand_still(volatile u32 *progress)
{
	u32 before = *progress;

	usleep(20000);
	if (*progress != before)
		fail("it runs");
}

TEST_F(stopped, by_ptrace)
{
	int i, status;

	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, self->child, NULL, NULL));
	for (i = 0; i < 10; i++) {
		wait_for_progress(self->progress);
		ASSERT_EQ(0, ptrace(PTRACE_INTERRUPT, self->child, NULL, NULL));
		ASSERT_EQ(self->child, waitpid(self->child, &status, __WALL));
		ASSERT_TRUE(WIFSTOPPED(status));
		must_stand_still(self->progress);
		ASSERT_EQ(0, ptrace(PTRACE_CONT, self->child, NULL, NULL));
	}
	wait_for_progress(self->progress);
	ASSERT_EQ(0, ptrace(PTRACE_INTERRUPT, self->child, NULL, NULL));
	ASSERT_EQ(self->child, waitpid(self->child, &status, __WALL));
	ASSERT_EQ(0, ptrace(PTRACE_DETACH, self->child, NULL, NULL));
	wait_for_progress(self->progress);
}

static bool move_to_group(pid_t child)
{
	char text[16];

	mkdir(GROUP, 0755);
	snprintf(text, sizeof(text), "%d", child);
	return !write_file(GROUP "/cgroup.procs", text);
}

TEST_F(stopped, by_freezing)
{
	int i;

	if (!move_to_group(self->child))
		SKIP(return, "no control groups here");
	for (i = 0; i < 5; i++) {
		wait_for_progress(self->progress);
		ASSERT_EQ(0, write_file(GROUP "/cgroup.freeze", "1"));
		wait_until(host_counter(GROUP "/cgroup.events", "frozen") == 1);
		must_stand_still(self->progress);
		ASSERT_EQ(0, write_file(GROUP "/cgroup.freeze", "0"));
	}
	wait_for_progress(self->progress);
	/* One that is killed while it is frozen goes as well. */
	ASSERT_EQ(0, write_file(GROUP "/cgroup.freeze", "1"));
}

TEST_F(stopped, for_want_of_time)
{
	int i;

	write_file(CGROUPS "cgroup.subtree_control", "+cpu");
	if (!move_to_group(self->child) || write_file(GROUP "/cpu.max", "2000 20000"))
		SKIP(return, "no limits of CPU time here");
	wait_until(host_counter(GROUP "/cpu.stat", "nr_throttled") > 3);
	for (i = 0; i < 5; i++)
		wait_for_progress(self->progress);
}

/* Long enough for a signal to find the call at its work: mappings are locked one by one. */
#define MAPPINGS	4000

static void make_vms(volatile u32 *progress)
{
	u8 *memory = map_memory(MAPPINGS * PAGE);
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < MAPPINGS; i += 2)
		mprotect(memory + i * PAGE, PAGE, PROT_READ);
	for (;;) {
		vm_destroy(vm_create(0, 0));
		++*progress;
	}
}

/* A stop is no affair of the call that it finds: that goes on afterwards, and does not fail. */
TEST(stopped_while_it_makes_vms)
{
	volatile u32 *progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child = fork();
	int i, status;

	if (!child)
		make_vms(progress);
	for (i = 0; i < 50; i++) {
		wait_for_progress(progress);
		usleep(i * 50);
		kill(child, SIGSTOP);
		ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
		ASSERT_TRUE(WIFSTOPPED(status));
		kill(child, SIGCONT);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
}

/* ---- a guest that comes first ---- */

static void *kick_from_behind(void *arg)
{
	struct vcpu *vcpu = arg;

	if (pin_to_cpu(1))
		fail("CPU 1");
	while (!guest_u64(vcpu->vm, 0x80000))
		usleep(1000);
	do_ioctl(vcpu->fd, VMM_KICK, NULL);
	return NULL;
}

/*
 * It spins, in real time, on the CPU of the thread that is to kick it: what the host keeps of each
 * second for others is taken from guests, too.
 */
TEST(in_real_time)
{
	struct sched_param priority = { .sched_priority = 50 }, none = { 0 };
	struct vm *vm = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	pthread_t thread;

	if (host_cpus() < 2)
		SKIP(return, "needs two CPUs");
	vcpu_load(vcpu, MODE_LONG, spin);
	ASSERT_EQ(0, pthread_create(&thread, NULL, kick_from_behind, vcpu));
	ASSERT_EQ(0, pin_to_cpu(1));
	if (sched_setscheduler(0, SCHED_FIFO, &priority))
		SKIP(return, "no real time here");
	EXPECT_EQ(-EINTR, vcpu_run_raw(vcpu));
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_OTHER, &none));
	pthread_join(thread, NULL);
	vm_destroy(vm);
}

/* ---- a guest beside a thread that wakes up often ---- */

#define WAKEUPS		200

struct sleeper {
	struct vcpu *vcpu;		/* kicked at the end, if there is one */
	u64 time;
	int done;
};

static void *sleep_often(void *arg)
{
	struct sched_param none = { 0 };
	struct sleeper *sleeper = arg;
	u64 begin;
	int i;

	if (pin_to_cpu(1) || sched_setscheduler(0, SCHED_OTHER, &none))
		fail("CPU 1");
	usleep(20000);
	begin = now_ns();
	for (i = 0; i < WAKEUPS; i++)
		usleep(100);
	sleeper->time = now_ns() - begin;
	__atomic_store_n(&sleeper->done, 1, __ATOMIC_RELEASE);
	if (sleeper->vcpu)
		do_ioctl(sleeper->vcpu->fd, VMM_KICK, NULL);
	return NULL;
}

/* What that takes beside a guest that spins, or beside a loop of this thread's. */
static u64 time_to_sleep(struct vcpu *vcpu)
{
	struct sleeper sleeper = { .vcpu = vcpu };
	pthread_t thread;

	if (pthread_create(&thread, NULL, sleep_often, &sleeper))
		fail("no thread");
	if (vcpu && vcpu_run_raw(vcpu) != -EINTR)
		fail("not kicked");
	while (!__atomic_load_n(&sleeper.done, __ATOMIC_ACQUIRE))
		;
	pthread_join(thread, NULL);
	return sleeper.time;
}

/*
 * Whoever wakes up has its turn as soon as it would have from a user's thread: at once, for this
 * one gives way to all. Since 6.13 the kernel asks for that by a flag of its own.
 */
TEST(others_wake_up)
{
	struct vm *vm = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	struct sched_param none = { 0 };
	u64 beside_loop = ~0ULL, beside_guest = ~0ULL, time;
	int i;

	if (host_cpus() < 2)
		SKIP(return, "needs two CPUs");
	vcpu_load(vcpu, MODE_LONG, spin);
	ASSERT_EQ(0, pin_to_cpu(1));
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_IDLE, &none));
	/* Of each the shortest: others are on the machine, too. */
	for (i = 0; i < 3 || (i < 12 && beside_guest > 2 * beside_loop); i++) {
		time = time_to_sleep(NULL);
		if (time < beside_loop)
			beside_loop = time;
		time = time_to_sleep(vcpu);
		if (time < beside_guest)
			beside_guest = time;
	}
	if (beside_guest > 2 * beside_loop)
		fail("%llu ns beside a guest, %llu beside a loop", beside_guest, beside_loop);
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_OTHER, &none));
	vm_destroy(vm);
}

/* ---- a crowd ---- */

static void *one_of_many(void *arg)
{
	struct vm *vm = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	pthread_barrier_t *barrier = arg;
	u32 last = 0;
	int i;

	vcpu_load(vcpu, MODE_LONG, compute);
	/* All are there before any has gone. */
	pthread_barrier_wait(barrier);
	for (i = 0; i < 5; i++)
		run_on(vcpu, &last);
	pthread_barrier_wait(barrier);
	vm_destroy(vm);
	return NULL;
}

TEST(two_hundred_on_one_cpu)
{
	int i, count = host_is_slow() ? 20 : 200;
	pthread_barrier_t barrier;
	pthread_t threads[200];

	ASSERT_EQ(0, pin_to_cpu(0));
	pthread_barrier_init(&barrier, NULL, count);
	for (i = 0; i < count; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, one_of_many, &barrier));
	for (i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

TEST_HARNESS_MAIN
