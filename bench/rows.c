// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is measured, the same for both hypervisors.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

#define MANY	2000		/* operations that a figure is the mean of */
#define VMS	8		/* likewise, VMs */
#define TOUCHED	512		/* pages that a VM has in use when it is destroyed */
#define CROWD	128		/* VMs by whose number the memory of one is found */

#define PAGE_PRESENT	1
#define PAGE_WRITE	2
#define PAGE_HUGE	0x80

static void *at(void *memory, uint64_t gpa)
{
	return (char *)memory + gpa;
}

/* A guest's memory: page tables, GDT, code; the rest untouched */
static void *furnish(void *memory)
{
	static const uint64_t gdt[] = {
		0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00008b0000000067, 0,
	};
	uint64_t *pd = at(memory, GUEST_PD);
	uint64_t i;

	*(uint64_t *)at(memory, GUEST_PML4) = GUEST_PDPT | PAGE_PRESENT | PAGE_WRITE;
	for (i = 0; i < 4; i++)
		((uint64_t *)at(memory, GUEST_PDPT))[i] =
			(GUEST_PD + i * 4096) | PAGE_PRESENT | PAGE_WRITE;
	for (i = 0; i < 4 * 512; i++)
		pd[i] = i << 21 | PAGE_PRESENT | PAGE_WRITE | PAGE_HUGE;
	memcpy(at(memory, GUEST_GDT), gdt, sizeof(gdt));
	memcpy(at(memory, GUEST_CODE), guest_start, guest_end - guest_start);
	return memory;
}

void *guest_memory(size_t bytes)
{
	return furnish(fresh_memory(bytes));
}

void *huge_guest_memory(size_t bytes)
{
	return furnish(fresh_huge_memory(bytes));
}

/* A loop in the guest that never leaves it: the difference of a long and a short one */
static double inside(const struct bed *bed, struct machine *m, const char *routine)
{
	double values[REPEAT];
	uint64_t t[3];
	int i;

	for (i = 0; i < REPEAT; i++) {
		bed->start(m, GUEST_ADDRESS(routine), MANY, 0);
		bed->run(m, 1);
		t[0] = now();
		bed->start(m, GUEST_ADDRESS(routine), MANY, 0);
		bed->run(m, 1);
		t[1] = now();
		bed->start(m, GUEST_ADDRESS(routine), 2 * MANY, 0);
		bed->run(m, 1);
		t[2] = now();
		values[i] = (double)((t[2] - t[1]) - (t[1] - t[0])) / MANY;
	}
	return median(values);
}

/* One that leaves it all the time */
static double outside(const struct bed *bed, struct machine *m, const char *routine)
{
	double values[REPEAT];
	uint64_t start;
	int i;

	bed->start(m, GUEST_ADDRESS(routine), 0, GUEST_DEVICE);
	bed->run(m, 8);
	for (i = 0; i < REPEAT; i++) {
		start = now();
		bed->run(m, MANY);
		values[i] = (double)(now() - start) / MANY;
	}
	bed->settle(m);
	return median(values);
}

struct halting {
	const struct bed *bed;
	struct machine *machine;
};

static void *run_halting(void *arg)
{
	struct halting *halting = arg;

	halting->bed->run(halting->machine, 1);
	return NULL;
}

/*
 * The vCPU's thread preempts this one as soon as an interrupt has woken it, and gives the CPU back
 * when its guest is in HLT again: then interrupt() returns. The CPU never idles.
 */
static double hlt_wake(const struct bed *bed, struct machine *m, void *memory)
{
	struct guest_data *data = at(memory, GUEST_DATA);
	struct halting halting = { .bed = bed, .machine = m };
	double values[REPEAT];
	uint64_t start;
	int i, k;

	bed->start(m, GUEST_ADDRESS(guest_halt), 0, 0);
	bed->run(m, 1);
	start_urgent_thread(run_halting, &halting);
	bed->interrupt(m, BENCH_VECTOR);
	/* KVM waits for a grace period of RCU when a vCPU changes its thread. */
	for (i = 0; i < 100 && !*(volatile uint64_t *)&data->interrupts; i++)
		pause_ms(10);
	for (i = 0; i < REPEAT; i++) {
		start = now();
		for (k = 0; k < MANY; k++)
			bed->interrupt(m, BENCH_VECTOR);
		values[i] = (double)(now() - start) / MANY;
	}
	if (data->interrupts != 1 + REPEAT * MANY)
		die("%s: the guest took %llu interrupts of %u", bed->name,
		    (unsigned long long)data->interrupts, 1 + REPEAT * MANY);
	data->stop = 1;
	bed->interrupt(m, BENCH_VECTOR);
	join_urgent_thread();
	return median(values);
}

static double run_once(const struct bed *bed, struct machine *m, const char *routine,
		       uint64_t rdi, uint64_t rsi)
{
	uint64_t start;

	bed->start(m, GUEST_ADDRESS(routine), rdi, rsi);
	start = now();
	bed->run(m, 1);
	return now() - start;
}

double touch_pages(const struct bed *bed, struct machine *m, uint64_t pages, uint64_t gpa)
{
	return run_once(bed, m, guest_touch, pages, gpa);
}

double touch_some(const struct bed *bed, struct machine *m, uint64_t pages, unsigned int stride)
{
	return run_once(bed, m, guest_stride, pages / stride | (uint64_t)stride << 32, GUEST_FRESH);
}

/* Pages that neither the guest nor the process has touched, in a VM that is new each time */
static double fault_4k(const struct bed *bed)
{
	double values[REPEAT];
	struct machine *m;
	void *memory;
	int i;

	for (i = 0; i < REPEAT; i++) {
		memory = guest_memory(GUEST_BYTES);
		m = bed->create(memory, GUEST_BYTES);
		touch_pages(bed, m, 1, GUEST_DATA);
		values[i] = touch_pages(bed, m, FRESH_PAGES, GUEST_FRESH) / FRESH_PAGES;
		bed->destroy(m);
		drop_memory(memory, GUEST_BYTES);
	}
	return median(values);
}

/*
 * Pages that the process has: to clear one takes so much that nothing else would be seen. The same
 * way again, without faults, is taken off.
 */
static double fault_2m(const struct bed *bed)
{
	uint64_t pages = HUGE_PAGES * HUGE_BYTES / 4096;
	double values[REPEAT], first;
	struct machine *m;
	void *memory;
	int i;

	memory = huge_guest_memory(GUEST_HUGE_BYTES);
	memset(at(memory, GUEST_FRESH), 1, HUGE_PAGES * HUGE_BYTES);
	for (i = 0; i < REPEAT; i++) {
		m = bed->create(memory, GUEST_HUGE_BYTES);
		touch_pages(bed, m, 1, GUEST_DATA);
		first = touch_pages(bed, m, pages, GUEST_FRESH);
		values[i] = (first - touch_pages(bed, m, pages, GUEST_FRESH)) / HUGE_PAGES;
		bed->destroy(m);
	}
	drop_memory(memory, GUEST_HUGE_BYTES);
	return median(values);
}

/* A log of writes to memory that is mapped; each page is written to once between its ends. */
static void dirty_log(const struct bed *bed, struct figures *figures)
{
	double on[REPEAT], off[REPEAT], get[REPEAT], write[REPEAT];
	void *memory = guest_memory(GUEST_BYTES);
	struct machine *m = bed->create(memory, GUEST_BYTES);
	const uint64_t *log;
	struct span span;
	unsigned int got;
	int i;

	touch_pages(bed, m, FRESH_PAGES, GUEST_FRESH);
	for (i = 0; i < REPEAT; i++) {
		span_begin(&span);
		bed->log(m, true);
		on[i] = span_end(&span, NULL);
		write[i] = touch_pages(bed, m, FRESH_PAGES, GUEST_FRESH) / FRESH_PAGES;
		span_begin(&span);
		log = bed->get_log(m, GUEST_BYTES / 4096);
		get[i] = span_end(&span, NULL);
		got = count_bits(log, GUEST_BYTES / 4096);
		if (got < FRESH_PAGES)
			die("%s: %u pages of %u are in the log", bed->name, got, FRESH_PAGES);
		span_begin(&span);
		bed->log(m, false);
		off[i] = span_end(&span, NULL);
		touch_pages(bed, m, FRESH_PAGES, GUEST_FRESH);
	}
	figures->row[ROW_LOG_ON] = median(on);
	figures->row[ROW_LOG_WRITE] = median(write);
	figures->row[ROW_LOG_GET] = median(get);
	figures->row[ROW_LOG_OFF] = median(off);
	bed->destroy(m);
	drop_memory(memory, GUEST_BYTES);
}

/* A slot comes and goes, beside the one that the guest runs in. */
static double slot(const struct bed *bed, struct machine *m)
{
	void *memory = fresh_memory(HUGE_BYTES);
	double values[REPEAT];
	struct span span;
	int i, k;

	for (i = 0; i < REPEAT; i++) {
		span_begin(&span);
		for (k = 0; k < VMS; k++) {
			bed->slot(m, memory, HUGE_BYTES, true);
			bed->slot(m, memory, HUGE_BYTES, false);
		}
		values[i] = span_end(&span, NULL) / VMS;
	}
	drop_memory(memory, HUGE_BYTES);
	return median(values);
}

/* From the first call to the first exit of the guest; its memory is there already. */
static void vm_create(const struct bed *bed, struct machine **m, void **memory, double *create)
{
	double values[REPEAT];
	struct span span;
	int i, k;

	for (i = 0; i < REPEAT; i++) {
		span_begin(&span);
		for (k = 0; k < VMS; k++) {
			m[k] = bed->create(memory[k], GUEST_BYTES);
			bed->start(m[k], GUEST_ADDRESS(guest_out), 0, 0);
			bed->run(m[k], 1);
		}
		values[i] = span_end(&span, NULL) / VMS;
		if (i == REPEAT - 1)
			break;
		for (k = 0; k < VMS; k++)
			bed->destroy(m[k]);
	}
	*create = median(values);
}

/*
 * Closing everything, and what that leaves for later: the work of some milliseconds, less that of
 * as many in which nothing is destroyed.
 */
static double vm_destroy(const struct bed *bed, struct machine **m, void **memory)
{
	double values[REPEAT], quiet;
	struct span span;
	int i, k;

	for (i = 0; i < REPEAT; i++) {
		for (k = 0; k < VMS; k++) {
			if (i)
				m[k] = bed->create(memory[k], GUEST_BYTES);
			bed->start(m[k], GUEST_ADDRESS(guest_touch), TOUCHED, GUEST_FRESH);
			bed->run(m[k], 1);
		}
		pause_ms(50);
		span_begin(&span);
		pause_ms(100);
		quiet = span_end(&span, NULL);
		span_begin(&span);
		for (k = 0; k < VMS; k++)
			bed->destroy(m[k]);
		pause_ms(100);
		values[i] = (span_end(&span, NULL) - quiet) / VMS;
	}
	return median(values);
}

static void life_cycle(const struct bed *bed, struct figures *figures)
{
	struct machine *m[VMS];
	void *memory[VMS];
	int k;

	for (k = 0; k < VMS; k++)
		memory[k] = guest_memory(GUEST_BYTES);
	vm_create(bed, m, memory, &figures->row[ROW_VM_CREATE]);
	figures->row[ROW_VM_DESTROY] = vm_destroy(bed, m, memory);
	for (k = 0; k < VMS; k++)
		drop_memory(memory[k], GUEST_BYTES);
}

/* All VMs share the memory of one guest, so that what they take is the kernel's. */
static void crowd(const struct bed *bed, void *memory, struct machine **m, int n)
{
	int k;

	for (k = 0; k < n; k++) {
		m[k] = bed->create(memory, GUEST_BYTES);
		bed->start(m[k], GUEST_ADDRESS(guest_out), 0, 0);
		bed->run(m[k], 1);
	}
}

/*
 * The first ones fill up what earlier VMs have left half empty, and stay; then each further one
 * takes what it needs from the free pages.
 */
static double vm_bytes(const struct bed *bed)
{
	struct machine *m[2 * CROWD];
	long long free[2], tables[2];
	void *memory = guest_memory(GUEST_BYTES);
	int k;

	crowd(bed, memory, m, CROWD);
	pause_ms(500);
	free[0] = free_memory();
	tables[0] = bed->tables(m, CROWD);
	crowd(bed, memory, m + CROWD, CROWD);
	pause_ms(500);
	free[1] = free_memory();
	tables[1] = bed->tables(m, 2 * CROWD);

	for (k = 0; k < 2 * CROWD; k++)
		bed->destroy(m[k]);
	drop_memory(memory, GUEST_BYTES);
	return (double)(free[0] - free[1] - (tables[1] - tables[0])) / CROWD;
}

static void exit_rows(const struct bed *bed, struct machine *m, void *memory,
		      struct figures *figures, struct counts *counts)
{
	begin_counts(counts);
	figures->row[ROW_CPUID] = inside(bed, m, guest_cpuid);
	take_counts(counts, ROW_CPUID);
	figures->row[ROW_OUT] = outside(bed, m, guest_out);
	take_counts(counts, ROW_OUT);
	figures->row[ROW_MMIO] = outside(bed, m, guest_mmio);
	take_counts(counts, ROW_MMIO);
	figures->row[ROW_HYPERCALL] = inside(bed, m, on_intel() ? guest_vmcall : guest_vmmcall);
	take_counts(counts, ROW_HYPERCALL);
	figures->row[ROW_MSR_WRITE] = inside(bed, m, guest_msr_write);
	take_counts(counts, ROW_MSR_WRITE);
	figures->row[ROW_HLT_WAKE] = hlt_wake(bed, m, memory);
	take_counts(counts, ROW_HLT_WAKE);
	figures->row[ROW_FAULT_4K] = fault_4k(bed);
	take_counts(counts, ROW_FAULT_4K);
}

static void measure_rows(const struct bed *bed, struct figures *figures, struct counts *counts)
{
	void *memory = guest_memory(GUEST_BYTES);
	struct machine *m;

	/* This VM stays to the end: the first one's cost of being first is not measured. */
	bed->open();
	m = bed->create(memory, GUEST_BYTES);
	exit_rows(bed, m, memory, figures, counts);
	if (!counts) {
		figures->row[ROW_FAULT_2M] = fault_2m(bed);
		dirty_log(bed, figures);
		figures->row[ROW_SLOT] = slot(bed, m);
		life_cycle(bed, figures);
		figures->vm_bytes = vm_bytes(bed);
	}
	bed->destroy(m);
	drop_memory(memory, GUEST_BYTES);
}

void measure_bed(const struct bed *bed, struct figures *figures)
{
	measure_rows(bed, figures, NULL);
}

void measure_counts(const struct bed *bed, struct counts *counts)
{
	struct figures unused;

	measure_rows(bed, &unused, counts);
}
