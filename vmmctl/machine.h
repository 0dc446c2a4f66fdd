/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmmctl: the machine that "run" puts together: a VM, its vCPUs' threads, and
 * devices, each a file of devices/ that registers itself.
 *
 * Threads: each vCPU has one, in which its accesses to devices are answered. The
 * main thread waits for file descriptors on behalf of the devices. What a
 * device shares between the two it locks itself. The main thread also takes the
 * signals, so what it does for a device must not block.
 */
#ifndef VMMCTL_MACHINE_H
#define VMMCTL_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <vmm/load.h>
#include <vmm/vmm.h>

#include "vmmctl.h"

#define MAX_MODULES	32
#define MAX_WATCHES	16
#define MAX_PORTS	32

/* What a flat image starts in */
enum cpu_mode { MODE_REAL, MODE_PROTECTED, MODE_LONG };

/* The command line, parsed */
struct options {
	uint32_t cpus;
	uint64_t memory;
	uint32_t memory_flags;		/* VMM_MEMORY_* */
	bool prefault;
	const char *kernel;
	enum vmm_image_kind loader;	/* VMM_IMAGE_UNKNOWN: look at the image */
	const char *initrd;
	const char *append;
	const char *modules[MAX_MODULES];
	unsigned int nr_modules;
	const char *flat;
	uint64_t load;
	uint64_t entry;
	bool has_load;
	bool has_entry;
	enum cpu_mode mode;
	int debug_exit;			/* port, or -1 */
	bool test_device;
	bool stats;
};

struct machine;

/* A file descriptor that the main thread waits for */
struct watch {
	int fd;
	bool enabled;
	void (*ready)(struct machine *machine, void *opaque);
	void *opaque;
};

/* Ports or addresses that a device answers, counted for --stats */
struct claim {
	const char *name;
	vmm_access_fn fn;
	void *opaque;
	atomic_uint_fast64_t count;
};

struct cpu {
	struct machine *machine;
	struct vmm_vcpu *vcpu;
	pthread_t thread;
	bool started;		/* and not yet joined */
};

/**
 * struct machine - all of it
 * @options: the command line
 * @vmm: the system
 * @vm: the VM
 * @cpus: its vCPUs
 * @nr_cpus: how many
 * @low_bytes: of memory below the hole under 4 GiB
 * @status: exit status once it has ended, -1 before; set once
 * @signal: that ended it, or 0
 * @lock: guards @report and the watches' enabled
 * @report: why it ended, for stderr, or NULL; under @lock
 * @wake: eventfd: the main thread should look again
 * @watches: what the main thread waits for; grows before vCPUs run
 * @nr_watches: how many
 * @claims: the devices' ports and addresses; likewise
 * @nr_claims: how many
 * @last_output: the serial port's, once no vCPU runs any more
 */
struct machine {
	const struct options *options;
	struct vmm *vmm;
	struct vmm_vm *vm;
	struct cpu *cpus;
	uint32_t nr_cpus;
	uint64_t low_bytes;
	atomic_int status;
	int signal;
	pthread_mutex_t lock;
	char *report;
	int wake;
	struct watch watches[MAX_WATCHES];
	unsigned int nr_watches;
	struct claim claims[MAX_PORTS];
	unsigned int nr_claims;
	void (*last_output)(void);
};

/**
 * struct device_type - a device
 * @name: for messages and --stats
 * @wanted: is it part of this machine? NULL: always
 * @create: add it: 0 or a negative errno, after a complaint
 */
struct device_type {
	const char *name;
	bool (*wanted)(const struct options *options);
	int (*create)(struct machine *machine);
};

#define DEVICE(type)								\
	static const struct device_type *const type##_entry			\
		__attribute__((used, section("vmmctl_devices"))) = &(type)

/* Run the machine of @options to its end; the exit status */
int machine_run(const struct options *options);

/**
 * machine_stop - end the machine, from any thread; the first call decides
 * @machine: the machine
 * @status: exit status
 * @fmt: why, for stderr; NULL: says itself
 * @...: @fmt's
 *
 * Return: a value with which a device ends its vCPU's loop.
 */
int machine_stop(struct machine *machine, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Has it been stopped? Whoever waits for something outside should give up then */
bool machine_stopped(struct machine *machine);

/* Answer for ports or addresses; complains when it fails */
int machine_add(struct machine *machine, const char *name, int bus, uint64_t first,
		uint64_t count, vmm_access_fn fn, void *opaque);

/* Have the main thread call @ready when @fd can be read. Its handle, to be enabled and disabled */
struct watch *machine_watch(struct machine *machine, int fd,
			    void (*ready)(struct machine *machine, void *opaque), void *opaque);
/* Any thread */
void machine_enable_watch(struct machine *machine, struct watch *watch, bool enable);

/* Put the kernel, or the flat image, where it goes. 0 or a negative errno after a complaint */
int machine_load(struct machine *machine);

/* Ports of the PM1 registers and of the reset register, told to the guest by ACPI */
#define PM1_EVENT_PORT		0x600
#define PM1_CONTROL_PORT	0x604
#define RESET_PORT		0xcf9
#define RESET_VALUE		0x06
#define SCI_GSI			9

/* terminal.c: raw mode, if stdin is a terminal; put back at any end of the process */
bool terminal_raw(void);
void terminal_restore(void);

#endif
