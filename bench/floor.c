// SPDX-License-Identifier: GPL-2.0-only
/*
 * The floors: what the host asks for the nearest thing that needs no VM. A hypervisor cannot
 * be expected to go below; what it takes above is its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define MANY	2000

/* The guest's own loop, run by the process */
static void cpuid_loop(void)
{
	unsigned long count = MANY;

	asm volatile("1:	xor %%eax, %%eax\n"
		     "	xor %%ecx, %%ecx\n"
		     "	cpuid\n"
		     "	dec %0\n"
		     "	jnz 1b"
		     : "+r"(count) : : "rax", "rbx", "rcx", "rdx", "cc");
}

/* A system call that the kernel does not know: into the kernel and back */
static void system_call_loop(void)
{
	unsigned long count = MANY;

	asm volatile("1:	mov $0x7fff, %%eax\n"
		     "	syscall\n"
		     "	dec %0\n"
		     "	jnz 1b"
		     : "+r"(count) : : "rax", "rcx", "r11", "cc", "memory");
}

static int null_fd;

/* An ioctl that the file does not know */
static void null_ioctl_loop(void)
{
	int i;

	for (i = 0; i < MANY; i++)
		ioctl(null_fd, 0, 0);
}

static double loop(void (*function)(void))
{
	double values[REPEAT];
	uint64_t start;
	int i;

	function();
	for (i = 0; i < REPEAT; i++) {
		start = now();
		function();
		values[i] = (double)(now() - start) / MANY;
	}
	return median(values);
}

static int event_fd;

static void *wait_for_events(void *unused)
{
	uint64_t value;

	do {
		check(read(event_fd, &value, sizeof(value)) == sizeof(value), "read of an eventfd");
	} while (value == 1);
	return NULL;
}

static void signal_event(uint64_t value)
{
	check(write(event_fd, &value, sizeof(value)) == sizeof(value), "write to an eventfd");
}

/* A thread that sleeps in a read, woken by a write; as with the guest in HLT it goes first */
static double sleep_and_wake(void)
{
	double values[REPEAT];
	uint64_t start;
	int i, k;

	event_fd = eventfd(0, EFD_CLOEXEC);
	check(event_fd >= 0, "eventfd");
	start_urgent_thread(wait_for_events, NULL);
	signal_event(1);
	for (i = 0; i < REPEAT; i++) {
		start = now();
		for (k = 0; k < MANY; k++)
			signal_event(1);
		values[i] = (double)(now() - start) / MANY;
	}
	signal_event(2);
	join_urgent_thread();
	close(event_fd);
	return median(values);
}

static double touch(volatile char *memory)
{
	uint64_t start = now();
	int k;

	for (k = 0; k < FRESH_PAGES; k++)
		memory[GUEST_FRESH + k * 4096] = 1;
	return (double)(now() - start) / FRESH_PAGES;
}

/* The pages that the guest touches, touched by the process: for the first time, and again */
static void touches(double *first, double *again)
{
	double values[2][REPEAT];
	volatile char *memory;
	int i;

	for (i = 0; i < REPEAT; i++) {
		memory = fresh_memory(GUEST_BYTES);
		memory[GUEST_DATA] = 1;
		values[0][i] = touch(memory);
		values[1][i] = touch(memory);
		drop_memory((void *)memory, GUEST_BYTES);
	}
	*first = median(values[0]);
	*again = median(values[1]);
}

/* The files and the mapping that a VM with one vCPU consists of, with nothing behind them */
static void life_cycle(double *create, double *destroy)
{
	double created[REPEAT], destroyed[REPEAT];
	uint64_t start;
	int vm, vcpu, i;
	char *run;

	for (i = 0; i < REPEAT; i++) {
		start = now();
		vm = eventfd(0, EFD_CLOEXEC);
		vcpu = eventfd(0, EFD_CLOEXEC);
		run = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		check(vm >= 0 && vcpu >= 0 && run != MAP_FAILED, "eventfd or mmap");
		*run = 1;
		ioctl(null_fd, 0, 0);
		created[i] = now() - start;

		start = now();
		munmap(run, 4096);
		close(vcpu);
		close(vm);
		destroyed[i] = now() - start;
	}
	*create = median(created);
	*destroy = median(destroyed);
}

void measure_floors(struct figures *figures)
{
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	check(null_fd >= 0, "/dev/null");
	figures->row[ROW_CPUID] = loop(cpuid_loop);
	figures->row[ROW_OUT] = loop(null_ioctl_loop);
	figures->row[ROW_MMIO] = figures->row[ROW_OUT];
	figures->row[ROW_HYPERCALL] = loop(system_call_loop);
	figures->row[ROW_MSR_WRITE] = figures->row[ROW_HYPERCALL];
	figures->row[ROW_HLT_WAKE] = sleep_and_wake();
	touches(&figures->row[ROW_FAULT_4K], &figures->row[ROW_LOG_WRITE]);
	figures->row[ROW_FAULT_2M] = figures->row[ROW_HYPERCALL];
	figures->row[ROW_LOG_ON] = figures->row[ROW_OUT];
	figures->row[ROW_LOG_GET] = figures->row[ROW_OUT];
	figures->row[ROW_LOG_OFF] = figures->row[ROW_OUT];
	figures->row[ROW_SLOT] = 2 * figures->row[ROW_OUT];
	life_cycle(&figures->row[ROW_VM_CREATE], &figures->row[ROW_VM_DESTROY]);
	close(null_fd);
}
