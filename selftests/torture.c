// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens to VMMs and to a host in its life, again and again:
 *
 *	torture [--seed N] [--kills N] [--loads N] [--seconds N]
 *
 * (1000 kills and 200 loads, or as many as go into 75 seconds)
 *
 * VMMs with running guests are killed at random moments, some of them while stopped or traced;
 * the module is unloaded and loaded with a VM in between; meanwhile a CPU goes offline and comes
 * back. Afterwards everything is as before, and a guest runs.
 */
/* hosts: smp */
/* timeout: 240 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "fuzz.h"
#include "kselftest.h"

#define KILLS_PER_ROUND	50
#define LOADS_PER_ROUND	10
#define SECOND_CPU	"/sys/devices/system/cpu/cpu1/online"

static struct random rnd;

/* ---- a VMM that is going to be killed ---- */

#define MAX_VCPUS	3
#define SLOT_GPA	(16 * MIB)
#define SLOT_BYTES	(1 * MIB)

/* Writes to the slot that comes and goes, and exits now and then */
GUEST_CODE(busy, 64,
	   "1: inc %rbx; mov %rbx, %rdi; shl $12, %rdi; and $0xff000, %edi\n"
	   "mov %rbx, 0x1000000(%rdi)\n"
	   "test $0xff, %bl; jnz 1b; out %eax, $PORT_VALUE; jmp 1b\n");

static void *run_busy(void *arg)
{
	struct vcpu *vcpu = arg;

	for (;;)
		vcpu_run_raw(vcpu);
	return NULL;
}

/* Never returns: the caller kills it. */
static void victim(u64 seed, u64 number)
{
	struct random random = random_from(seed, number);
	struct vm *vm = vm_create(MIB, chance(&random, 2) ? VMM_VM_IRQCHIPS : 0);
	unsigned int vcpus = 1 + below(&random, MAX_VCPUS), i;
	u8 *memory = map_memory(SLOT_BYTES);
	struct vmm_dirty dirty = {
		.size = sizeof(dirty), .flags = VMM_DIRTY_CLEAR, .slot = 1,
		.pages = SLOT_BYTES / PAGE,
	};
	u64 bits[SLOT_BYTES / PAGE / 64];
	pthread_t thread;

	dirty.bitmap = (uintptr_t)bits;
	for (i = 0; i < vcpus; i++) {
		struct vcpu *vcpu = vcpu_create(vm, i);

		vcpu_load(vcpu, MODE_LONG, busy);
		if (pthread_create(&thread, NULL, run_busy, vcpu))
			_exit(1);
	}
	for (;;) {
		switch (below(&random, 6)) {
		case 0:
			vm_set_slot(vm, 1, SLOT_GPA, 0, NULL, 0);
			break;
		case 1:
			madvise(memory, SLOT_BYTES, MADV_DONTNEED);
			break;
		case 2:
			do_ioctl(vm->fd, VMM_GET_DIRTY, &dirty);
			break;
		case 3:
			usleep(below(&random, 2000));
			break;
		default:
			vm_set_slot(vm, 1, SLOT_GPA, SLOT_BYTES, memory,
				    chance(&random, 2) ? VMM_MEM_LOG_DIRTY : 0);
		}
	}
}

/* How it is before it is killed */
static void prepare(pid_t pid)
{
	switch (below(&rnd, 8)) {
	case 0:
		kill(pid, SIGSTOP);
		usleep(below(&rnd, 5000));
		break;
	case 1:
		kill(pid, SIGSTOP);
		usleep(below(&rnd, 5000));
		kill(pid, SIGCONT);
		usleep(below(&rnd, 1000));
		break;
	case 2:
		if (!ptrace(PTRACE_SEIZE, pid, NULL, NULL))
			ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
		usleep(below(&rnd, 5000));
		break;
	}
}

/* NULL, or what went wrong */
static const char *kill_one(u64 seed, u64 number)
{
	pid_t pid, ended;
	int status;
	u64 end;

	/* What is printed is not to be printed again by the child. */
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return "fork failed";
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		victim(seed, number);
	}
	usleep(below(&rnd, 10000 * host_slower()));
	prepare(pid);
	kill(pid, SIGKILL);
	end = now_ns() + 20000000000ULL * host_slower();
	do {
		ended = waitpid(pid, &status, WNOHANG | __WALL);
		/* A stop that the tracer is told of comes before the end. */
		if (ended == pid && !WIFSTOPPED(status))
			return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? NULL :
			       "a VMM ended by itself";
		usleep(500);
	} while (now_ns() < end);
	return "a VMM did not end when killed";
}

/* ---- a CPU that comes and goes ---- */

static bool stop;
static unsigned int times_offline;

static void *change_cpus(void *arg)
{
	struct random random = random_from(*(u64 *)arg, 1);

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		usleep(below(&random, 200000));
		if (!write_file(SECOND_CPU, "0"))
			times_offline++;
		usleep(below(&random, 100000));
		write_file(SECOND_CPU, "1");
	}
	return NULL;
}

/* ---- all of it ---- */

/* NULL, or what went wrong */
static const char *load_again(void)
{
	if (host_unload_vmm())
		return "the module cannot be unloaded";
	if (host_load_vmm())
		return "the module cannot be loaded";
	return vm_works() ? NULL : "a VM does not work";
}

int main(int argc, char **argv)
{
	u64 seed = 1, max_kills = 1000, max_loads = 200, seconds = 75, kills = 0, loads = 0, end;
	const char *wrong = NULL;
	pthread_t thread;
	int i;

	READ_NUMBERS(argc, argv, { "--seed", &seed }, { "--kills", &max_kills },
		     { "--loads", &max_loads }, { "--seconds", &seconds });

	/* A victim whose call fails because it is killed tells all of that, or nothing. */
	setlinebuf(stderr);
	ksft_print_header();
	ksft_set_plan(1);
	rnd = random_from(seed, 0);
	if (pthread_create(&thread, NULL, change_cpus, &seed))
		fail("pthread_create");
	end = now_ns() + seconds * 1000000000ULL;
	while (!wrong && now_ns() < end && (kills < max_kills || loads < max_loads)) {
		for (i = 0; !wrong && i < KILLS_PER_ROUND && kills < max_kills; i++)
			wrong = kill_one(seed, ++kills);
		for (i = 0; !wrong && i < LOADS_PER_ROUND && loads < max_loads; i++) {
			wrong = load_again();
			loads += !wrong;
		}
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	ksft_print_msg("--seed %llu: %llu VMMs killed, %llu times loaded, %u times a CPU offline\n",
		       seed, kills, loads, times_offline);
	if (wrong)
		ksft_print_msg("%s\n", wrong);
	ksft_test_result(!wrong, "life\n");
	ksft_finished();
}
