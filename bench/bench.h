/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The benchmark's own parts.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <x86intrin.h>

#include "bed.h"

/* 64 and 256 MiB; 1, 10 and 100 percent; begin, get, end */
#define NR_SIZES	2
#define NR_SHARES	3
#define NR_LOG_STEPS	3

enum row {
	ROW_CPUID,
	ROW_OUT,
	ROW_MMIO,
	ROW_HYPERCALL,
	ROW_MSR_WRITE,
	ROW_HLT_WAKE,
	ROW_FAULT_4K,
	ROW_FAULT_2M,
	ROW_LOG_ON,
	ROW_LOG_WRITE,
	ROW_LOG_GET,
	ROW_LOG_OFF,
	ROW_SLOT,
	ROW_VM_CREATE,
	ROW_VM_DESTROY,
	NR_OPERATIONS,
	/* What a guest's memory costs, by its size and how much of it the guest writes to */
	ROW_MEMORY = NR_OPERATIONS,
	ROW_DESTROY = ROW_MEMORY + NR_SIZES * NR_SHARES * NR_LOG_STEPS,
	ROW_RESET,
	ROW_BYTES_4K = ROW_RESET + NR_SHARES,
	ROW_BYTES_2M,
	NR_ROWS
};

#define ROW_LOG(size, share, step) \
	(ROW_MEMORY + ((size) * NR_SHARES + (share)) * NR_LOG_STEPS + (step))

#define NO_FIGURE	(-1.0)

/* Instructions per operation, NO_FIGURE where there is none */
struct figures {
	double row[NR_ROWS];
	double vm_bytes;	/* kernel memory of an idle VM beyond its page tables */
};

/* Of a log of writes to a guest's memory */
#define LOG_WORDS	(((GUEST_FRESH + MOST_MEMORY) / 4096 + 63) / 64)

static inline unsigned int count_bits(const uint64_t *bitmap, unsigned int bits)
{
	unsigned int i, count = 0;

	for (i = 0; i < (bits + 63) / 64; i++)
		count += __builtin_popcountll(bitmap[i]);
	return count;
}

/* count.c: costly instructions, by row and kind of exit */
#define MAX_INSNS	32
#define MAX_EXITS	128

struct exit_counts {
	enum row row;
	char name[24];
	uint64_t exits;
	uint64_t insns[MAX_INSNS];	/* of all of them */
};

struct counts {
	int nr_insns;
	char insns[MAX_INSNS][12];
	int nr_exits;
	struct exit_counts exits[MAX_EXITS];
};

/* @counts: NULL where the module does not count. What has run in between is the row's. */
void begin_counts(struct counts *counts);
void take_counts(struct counts *counts, enum row row);
bool is_typical(const struct counts *counts, const struct exit_counts *exit);

/* rows.c, floor.c: measure everything; @figures is filled in as it goes */
void measure_bed(const struct bed *bed, struct figures *figures);
/* memory.c: the same for the rows from ROW_MEMORY on */
void measure_memory(const struct bed *bed, struct figures *figures);
void measure_memory_floors(struct figures *figures);

/* rows.c: a guest's memory, of which nothing but page tables, GDT and code has been touched */
void *guest_memory(size_t bytes);
void *huge_guest_memory(size_t bytes);
/* Have it write to each page of some, or to one in @stride. Return: what that takes */
double touch_pages(const struct bed *bed, struct machine *m, uint64_t pages, uint64_t gpa);
double touch_some(const struct bed *bed, struct machine *m, uint64_t pages, unsigned int stride);

/* With the module that counts: the rows that consist of exits */
void measure_counts(const struct bed *bed, struct counts *counts);
void measure_floors(struct figures *figures);

/* boot.c */
#define MAX_COUNTERS	128

/* One of vmmctl's counters, and under which title it stood */
struct counter {
	char title[32];
	char name[32];
	unsigned long long value;
};

struct boot {
	bool done;
	int status;		/* vmmctl's */
	double instructions;	/* to userspace */
	double idle;		/* not counted above */
	long long user_exits;	/* -1: not known */
	int nr_counters;
	struct counter counters[MAX_COUNTERS];
};

void measure_boot(struct boot *boot);

/* host.c */
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void check(bool ok, const char *what);
bool load_modules(const struct bed *bed);
void unload_modules(const struct bed *bed);
bool load_counting_module(const char *path);
bool on_intel(void);
void pause_ms(int ms);

/* Anonymous memory that nothing has touched, in 4 KiB pages; or in aligned ones of HUGE_BYTES */
void *fresh_memory(size_t bytes);
void *fresh_huge_memory(size_t bytes);
void drop_memory(void *memory, size_t bytes);

/* A thread that preempts its creator whenever it can run */
void start_urgent_thread(void *(*function)(void *), void *arg);
void join_urgent_thread(void);

/* In bytes: a line of /proc/meminfo; what no CPU and nobody else uses */
long long meminfo(const char *field);
long long free_memory(void);

/* A figure is taken REPEAT times; the median discards the ticks of the host. */
#define REPEAT	5
double median(double values[REPEAT]);

/* Where time counts instructions, this counts instructions, those of the idle loop's sleep too. */
static inline uint64_t now(void)
{
	return __rdtsc();
}

/* For what may sleep: a span that knows how much of it the CPU idled */
struct span {
	uint64_t start;
	uint64_t idle;
};

void span_begin(struct span *span);
/* Return: without idling; *idle, if not NULL: idling */
double span_end(const struct span *span, double *idle);

#endif
