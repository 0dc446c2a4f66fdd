// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmmctl: the machine's life.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include <vmm/vmm.h>

#include "machine.h"

#define HOLE_START	0xc0000000ULL	/* devices lie from here to 4 GiB */
#define HOLE_END	(1ULL << 32)

extern const struct device_type *const __start_vmmctl_devices[];
extern const struct device_type *const __stop_vmmctl_devices[];

/* ---- the end ---- */

static void kick_all(struct machine *machine)
{
	uint32_t i;

	for (i = 0; i < machine->nr_cpus; i++)
		if (machine->cpus[i].vcpu)
			vmm_vcpu_kick(machine->cpus[i].vcpu);
}

static void wake_main(struct machine *machine)
{
	/* It cannot fail but by overflow, and then the main thread wakes up anyway. */
	eventfd_write(machine->wake, 1);
}

int machine_stop(struct machine *machine, int status, const char *fmt, ...)
{
	int running = -1;
	va_list args;

	if (!atomic_compare_exchange_strong(&machine->status, &running, status))
		return 1;
	if (fmt) {
		pthread_mutex_lock(&machine->lock);
		va_start(args, fmt);
		if (vasprintf(&machine->report, fmt, args) < 0)
			machine->report = NULL;
		va_end(args);
		pthread_mutex_unlock(&machine->lock);
	}
	kick_all(machine);
	wake_main(machine);
	return 1;
}

bool machine_stopped(struct machine *machine)
{
	return atomic_load(&machine->status) >= 0;
}

/* ---- what devices use ---- */

static int count_access(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct claim *claim = opaque;

	atomic_fetch_add_explicit(&claim->count, 1, memory_order_relaxed);
	return claim->fn(claim->opaque, vcpu, access);
}

int machine_add(struct machine *machine, const char *name, int bus, uint64_t first,
		uint64_t count, vmm_access_fn fn, void *opaque)
{
	struct claim *claim;
	int err;

	if (machine->nr_claims == MAX_PORTS) {
		complain("%s: too many devices", name);
		return -ENOSPC;
	}
	claim = &machine->claims[machine->nr_claims++];
	claim->name = name;
	claim->fn = fn;
	claim->opaque = opaque;
	err = vmm_device_add(machine->vm, bus, first, count, count_access, claim);
	if (err)
		complain("%s: %s", name, vmm_vm_error(machine->vm));
	return err;
}

struct watch *machine_watch(struct machine *machine, int fd,
			    void (*ready)(struct machine *machine, void *opaque), void *opaque)
{
	struct watch *watch;

	if (machine->nr_watches == MAX_WATCHES)
		return NULL;
	watch = &machine->watches[machine->nr_watches++];
	watch->fd = fd;
	watch->enabled = true;
	watch->ready = ready;
	watch->opaque = opaque;
	return watch;
}

void machine_enable_watch(struct machine *machine, struct watch *watch, bool enable)
{
	pthread_mutex_lock(&machine->lock);
	watch->enabled = enable;
	pthread_mutex_unlock(&machine->lock);
	if (enable)
		wake_main(machine);
}

/* ---- vCPU threads ---- */

static int interrupted(void *opaque, struct vmm_vcpu *vcpu)
{
	struct cpu *cpu = opaque;

	return machine_stopped(cpu->machine);
}

/* The guest cannot go on: everything that helps to see why */
static int fatal(struct machine *machine, struct vmm_vcpu *vcpu, const char *why)
{
	char state[4096];
	size_t length;

	if (vmm_vcpu_describe(vcpu, state, sizeof(state)) < 0)
		snprintf(state, sizeof(state), "(its state cannot be read: %s)\n",
			 vmm_vcpu_error(vcpu));
	length = strlen(state);
	if (length && state[length - 1] == '\n')
		state[length - 1] = 0;
	return machine_stop(machine, STATUS_GUEST, "vCPU %u: %s\n%s", vmm_vcpu_id(vcpu), why,
			    state);
}

static int other_exit(void *opaque, struct vmm_vcpu *vcpu, const struct vmm_exit *exit)
{
	struct machine *machine = ((struct cpu *)opaque)->machine;
	char why[256];

	switch (exit->reason) {
	case VMM_EXIT_SHUTDOWN:
		return machine_stop(machine, STATUS_RESET,
				    "the guest reset by a triple fault at %#" PRIx64,
				    (uint64_t)exit->rip);
	case VMM_EXIT_FAIL_ENTRY:
		snprintf(why, sizeof(why), "the state cannot be run: %.*s",
			 (int)sizeof(exit->fail_entry.message), exit->fail_entry.message);
		break;
	case VMM_EXIT_FAULT:
		snprintf(why, sizeof(why), "no memory for the guest at %#" PRIx64 ": %s",
			 (uint64_t)exit->fault.gpa, strerror(-exit->fault.error));
		break;
	case VMM_EXIT_INTERNAL:
		snprintf(why, sizeof(why), "an exit that the module does not know");
		break;
	default:
		snprintf(why, sizeof(why), "unexpected exit %s", vmm_exit_name(exit->reason));
		break;
	}
	snprintf(why + strlen(why), sizeof(why) - strlen(why),
		 " (%s %#" PRIx64 ", %#" PRIx64 ", %#" PRIx64 ")",
		 vmm_vendor_name(vmm_get_info(machine->vmm)->vendor), (uint64_t)exit->hw_reason,
		 (uint64_t)exit->hw_info1, (uint64_t)exit->hw_info2);
	return fatal(machine, vcpu, why);
}

static void *run_cpu(void *opaque)
{
	static const struct vmm_ops ops = {
		.interrupted = interrupted,
		.other = other_exit,
	};
	struct cpu *cpu = opaque;
	struct machine *machine = cpu->machine;
	struct vmm_vcpu *vcpu = cpu->vcpu;
	int ret;

	ret = vmm_vcpu_run(vcpu, &ops, cpu);
	if (ret == -ENOSYS || ret == -EFAULT || ret == -EINVAL || ret == -EILSEQ)
		fatal(machine, vcpu, vmm_vcpu_error(vcpu));
	else if (ret < 0)
		machine_stop(machine, STATUS_HOST, "%s", vmm_vcpu_error(vcpu));
	return NULL;
}

static int start_cpus(struct machine *machine)
{
	char name[16];
	uint32_t i;
	int err;

	for (i = 0; i < machine->nr_cpus; i++) {
		struct cpu *cpu = &machine->cpus[i];

		err = pthread_create(&cpu->thread, NULL, run_cpu, cpu);
		if (err) {
			complain("cannot create a thread: %s", strerror(err));
			return -err;
		}
		cpu->started = true;
		snprintf(name, sizeof(name), "vcpu-%u", i % 1000);
		pthread_setname_np(cpu->thread, name);
	}
	return 0;
}

/* Ends a write() to a reader that does not read; VMM_KICK ends VMM_RUN */
static void nudged(int number)
{
}

static void nudge_cpus(struct machine *machine)
{
	uint32_t i;

	for (i = 0; i < machine->nr_cpus; i++)
		if (machine->cpus[i].started)
			pthread_kill(machine->cpus[i].thread, SIGUSR1);
}

static bool join_within_a_second(struct cpu *cpu)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec++;
	return pthread_clockjoin_np(cpu->thread, NULL, CLOCK_MONOTONIC, &until) != ETIMEDOUT;
}

/* One may wait for a device's lock that any other holds in its write(): all are nudged. */
static void join_cpus(struct machine *machine)
{
	uint32_t i;

	for (i = 0; i < machine->nr_cpus; i++) {
		struct cpu *cpu = &machine->cpus[i];

		while (cpu->started) {
			if (join_within_a_second(cpu))
				cpu->started = false;
			else
				nudge_cpus(machine);
		}
	}
}

/* ---- the main thread's loop ---- */

static void drain_wake(struct machine *machine, void *opaque)
{
	eventfd_t count;

	eventfd_read(machine->wake, &count);
}

static void take_signal(struct machine *machine, void *opaque)
{
	struct signalfd_siginfo info;
	int fd = (int)(intptr_t)opaque;

	if (read(fd, &info, sizeof(info)) == sizeof(info)) {
		machine->signal = info.ssi_signo;
		machine_stop(machine, STATUS_HOST, NULL);
	}
}

/* Signals that end the process do so after the terminal is as it was */
static void ending_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
}

static int watch_signals(struct machine *machine)
{
	struct sigaction nudge = { .sa_handler = nudged };
	sigset_t set;
	int fd;

	ending_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGUSR1, &nudge, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	machine->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0 || machine->wake < 0) {
		complain("cannot watch signals: %s", strerror(errno));
		return -errno;
	}
	machine_watch(machine, machine->wake, drain_wake, NULL);
	machine_watch(machine, fd, take_signal, (void *)(intptr_t)fd);
	return 0;
}

static void wait_once(struct machine *machine)
{
	struct pollfd fds[MAX_WATCHES];
	unsigned int i, count = machine->nr_watches;

	pthread_mutex_lock(&machine->lock);
	for (i = 0; i < count; i++) {
		fds[i].fd = machine->watches[i].enabled ? machine->watches[i].fd : -1;
		fds[i].events = POLLIN;
		fds[i].revents = 0;
	}
	pthread_mutex_unlock(&machine->lock);
	if (poll(fds, count, -1) < 0)
		return;
	for (i = 0; i < count; i++)
		if (fds[i].revents)
			machine->watches[i].ready(machine, machine->watches[i].opaque);
}

/* ---- putting it together ---- */

static int open_vm(struct machine *machine)
{
	if (vmm_open(NULL, &machine->vmm)) {
		complain("%s", vmm_error(machine->vmm));
		return -ENODEV;
	}
	if (machine->options->cpus > vmm_get_info(machine->vmm)->max_vcpus) {
		complain("--cpus: at most %u", vmm_get_info(machine->vmm)->max_vcpus);
		return -EINVAL;
	}
	if (vmm_vm_create(machine->vmm, VMM_VM_IRQCHIPS, &machine->vm)) {
		complain("%s", vmm_error(machine->vmm));
		return -ENODEV;
	}
	return 0;
}

static int add_range(struct machine *machine, uint64_t gpa, uint64_t bytes)
{
	uint32_t flags = machine->options->memory_flags;
	int err;

	/* From a memfd a page that the test device takes away comes back with its contents. */
	if (machine->options->test_device)
		flags |= VMM_MEMORY_SHARED;
	err = vmm_memory_add(machine->vm, gpa, bytes, flags, NULL);
	if (!err && machine->options->prefault)
		err = vmm_memory_prefault(machine->vm, gpa, bytes, true);
	return err;
}

static int add_memory(struct machine *machine)
{
	uint64_t bytes = machine->options->memory;
	int err;

	machine->low_bytes = bytes < HOLE_START ? bytes : HOLE_START;
	err = add_range(machine, 0, machine->low_bytes);
	if (!err && bytes > HOLE_START)
		err = add_range(machine, HOLE_END, bytes - HOLE_START);
	if (err)
		complain("%s", vmm_vm_error(machine->vm));
	return err;
}

static int add_devices(struct machine *machine)
{
	const struct device_type *const *type;
	int err;

	for (type = __start_vmmctl_devices; type < __stop_vmmctl_devices; type++) {
		if ((*type)->wanted && !(*type)->wanted(machine->options))
			continue;
		err = (*type)->create(machine);
		if (err)
			return err;
	}
	return 0;
}

static int add_cpus(struct machine *machine)
{
	uint32_t i, count = machine->options->cpus;

	machine->cpus = calloc(count, sizeof(*machine->cpus));
	if (!machine->cpus) {
		complain("out of memory");
		return -ENOMEM;
	}
	machine->nr_cpus = count;
	for (i = 0; i < count; i++) {
		struct cpu *cpu = &machine->cpus[i];

		cpu->machine = machine;
		if (vmm_vcpu_create(machine->vm, i, &cpu->vcpu)) {
			complain("%s", vmm_vm_error(machine->vm));
			return -EINVAL;
		}
		if (vmm_vcpu_default_cpuid(cpu->vcpu, count)) {
			complain("%s", vmm_vcpu_error(cpu->vcpu));
			return -EINVAL;
		}
	}
	return 0;
}

static int put_together(struct machine *machine)
{
	int err = watch_signals(machine);

	if (!err)
		err = open_vm(machine);
	if (!err)
		err = add_memory(machine);
	if (!err)
		err = add_devices(machine);
	if (!err)
		err = add_cpus(machine);
	if (!err)
		err = machine_load(machine);
	return err;
}

static void take_apart(struct machine *machine)
{
	uint32_t i;

	for (i = 0; i < machine->nr_cpus; i++)
		vmm_vcpu_free(machine->cpus[i].vcpu);
	free(machine->cpus);
	vmm_vm_free(machine->vm);
	vmm_close(machine->vmm);
	free(machine->report);
}

/* ---- statistics ---- */

static void print_module_stats(const char *title, struct vmm_stat *stats, int count)
{
	int i;

	if (count <= 0)
		return;
	fprintf(stderr, "%s:\n", title);
	for (i = 0; i < count; i++)
		if (stats[i].value)
			fprintf(stderr, "  %-24.24s%12" PRIu64 "\n", stats[i].name,
				(uint64_t)stats[i].value);
	free(stats);
}

static void print_stats(struct machine *machine)
{
	uint64_t exits[VMM_NR_EXITS] = { 0 }, total = 0;
	struct vmm_stat *stats;
	unsigned int i, reason;
	char title[32];
	int count;

	for (i = 0; i < machine->nr_cpus; i++)
		for (reason = 0; reason < VMM_NR_EXITS; reason++)
			exits[reason] += vmm_vcpu_exit_counts(machine->cpus[i].vcpu)[reason];
	for (reason = 0; reason < VMM_NR_EXITS; reason++)
		total += exits[reason];
	fprintf(stderr, "exits to user space: %" PRIu64 "\n", total);
	for (reason = 0; reason < VMM_NR_EXITS; reason++)
		if (exits[reason])
			fprintf(stderr, "  %-24s%12" PRIu64 "\n", vmm_exit_name(reason),
				exits[reason]);
	fprintf(stderr, "accesses by device:\n");
	for (i = 0; i < machine->nr_claims; i++)
		if (machine->claims[i].count)
			fprintf(stderr, "  %-24s%12" PRIu64 "\n", machine->claims[i].name,
				machine->claims[i].count);
	count = vmm_vm_stats(machine->vm, &stats);
	print_module_stats("VM", stats, count);
	for (i = 0; i < machine->nr_cpus; i++) {
		count = vmm_vcpu_stats(machine->cpus[i].vcpu, &stats);
		snprintf(title, sizeof(title), "vCPU %u", i);
		print_module_stats(title, stats, count);
	}
}

/* ---- the whole ---- */

/* SIGQUIT: what does the guest do? */
static void print_cpus(struct machine *machine)
{
	char state[4096];
	uint32_t i;

	for (i = 0; i < machine->nr_cpus; i++)
		if (vmm_vcpu_describe(machine->cpus[i].vcpu, state, sizeof(state)) > 0)
			complain("vCPU %u:\n%s", i, state);
}

static void run_to_end(struct machine *machine)
{
	sigset_t set;

	terminal_raw();
	if (start_cpus(machine))
		machine_stop(machine, STATUS_HOST, NULL);
	while (!machine_stopped(machine))
		wait_once(machine);
	join_cpus(machine);
	terminal_restore();
	/* From here on signals may end the process as ever. */
	ending_signals(&set);
	if (!machine->signal)
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (machine->last_output)
		machine->last_output();
	if (machine->report)
		complain("%s", machine->report);
	if (machine->signal == SIGQUIT)
		print_cpus(machine);
	if (machine->options->stats)
		print_stats(machine);
}

/* As if it had not been caught */
static void die_of(int number)
{
	sigset_t set;

	signal(number, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, number);
	raise(number);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int machine_run(const struct options *options)
{
	struct machine machine = { .options = options, .wake = -1 };
	int status, err;

	pthread_mutex_init(&machine.lock, NULL);
	atomic_init(&machine.status, -1);
	err = put_together(&machine);
	if (!err)
		run_to_end(&machine);
	status = err ? STATUS_HOST : atomic_load(&machine.status);
	take_apart(&machine);
	if (machine.signal)
		die_of(machine.signal);
	return status;
}
