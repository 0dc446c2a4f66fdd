// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest's memory costs beside what the memory itself does: logs of writes to it, by its size
 * and by how much of it is written to; the end of a VM that has used all of it; putting it back as
 * it was; the kernel's own memory.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const uint64_t sizes[NR_SIZES] = { 64ull << 20, MOST_MEMORY };
/* One page in so many is written to */
static const unsigned int strides[NR_SHARES] = { 100, 10, 1 };

enum log_step { LOG_BEGIN, LOG_GET, LOG_END };

static size_t guest_bytes(uint64_t size)
{
	return GUEST_FRESH + size;
}

/* Copy back what the guest has written to since the log was last read. Return: pages */
static unsigned int put_back(const struct bed *bed, struct machine *m, char *memory,
			     const char *base, size_t bytes)
{
	unsigned int words = (bytes / 4096 + 63) / 64, i, count = 0;
	const uint64_t *log = bed->get_log(m, bytes / 4096);

	for (i = 0; i < words; i++) {
		uint64_t word = log[i];

		for (; word; word &= word - 1) {
			size_t offset = (i * 64ull + __builtin_ctzll(word)) * 4096;

			memcpy(memory + offset, base + offset, 4096);
			count++;
		}
	}
	return count;
}

/* Per page, with its share of what reading the log takes. There is a log. */
static double reset(const struct bed *bed, struct machine *m, char *memory, unsigned int stride)
{
	size_t bytes = guest_bytes(sizes[0]);
	char *base = fresh_memory(bytes);
	unsigned int pages;
	uint64_t start;
	double all;

	memcpy(base, memory, bytes);
	bed->get_log(m, bytes / 4096);
	touch_some(bed, m, sizes[0] / 4096, stride);
	start = now();
	pages = put_back(bed, m, memory, base, bytes);
	all = now() - start;
	if (pages < sizes[0] / 4096 / stride)
		die("%s: %u pages are put back", bed->name, pages);
	drop_memory(base, bytes);
	return all / pages;
}

static void log_rows(const struct bed *bed, struct figures *figures, int size)
{
	uint64_t pages = sizes[size] / 4096;
	size_t bytes = guest_bytes(sizes[size]);
	void *memory = guest_memory(bytes);
	struct machine *m = bed->create(memory, bytes);
	const uint64_t *log;
	struct span span;
	int i;

	for (i = 0; i < NR_SHARES; i++) {
		double *row = &figures->row[ROW_LOG(size, i, 0)];

		touch_some(bed, m, pages, 1);
		span_begin(&span);
		bed->log(m, true);
		row[LOG_BEGIN] = span_end(&span, NULL);
		touch_some(bed, m, pages, strides[i]);
		span_begin(&span);
		log = bed->get_log(m, bytes / 4096);
		row[LOG_GET] = span_end(&span, NULL);
		if (count_bits(log, bytes / 4096) < pages / strides[i])
			die("%s: %u pages are in the log", bed->name,
			    count_bits(log, bytes / 4096));
		if (!size)
			figures->row[ROW_RESET + i] = reset(bed, m, memory, strides[i]);
		span_begin(&span);
		bed->log(m, false);
		row[LOG_END] = span_end(&span, NULL);
	}
	bed->destroy(m);
	drop_memory(memory, bytes);
}

/* As vm_destroy in rows.c, with all of a larger memory in use */
static double destroy(const struct bed *bed)
{
	size_t bytes = guest_bytes(MOST_MEMORY);
	void *memory = guest_memory(bytes);
	struct machine *m = bed->create(memory, bytes);
	struct span span;
	double quiet, all;

	touch_some(bed, m, MOST_MEMORY / 4096, 1);
	pause_ms(50);
	span_begin(&span);
	pause_ms(200);
	quiet = span_end(&span, NULL);
	span_begin(&span);
	bed->destroy(m);
	pause_ms(200);
	all = span_end(&span, NULL);
	drop_memory(memory, bytes);
	return all - quiet;
}

/*
 * What the kernel has for a VM that uses all of @memory. The process has that, and its own page
 * tables, before; what VMs leave for others is there after the first time.
 */
static double kernel_bytes(const struct bed *bed, void *memory)
{
	size_t bytes = guest_bytes(MOST_MEMORY);
	long long used = 0;
	struct machine *m;
	int i;

	memset((char *)memory + GUEST_FRESH, 1, MOST_MEMORY);
	for (i = 0; i < 2; i++) {
		pause_ms(500);
		used = free_memory();
		m = bed->create(memory, bytes);
		touch_some(bed, m, MOST_MEMORY / 4096, 1);
		pause_ms(500);
		used -= free_memory();
		bed->destroy(m);
	}
	drop_memory(memory, bytes);
	return used;
}

void measure_memory(const struct bed *bed, struct figures *figures)
{
	void *memory = guest_memory(GUEST_BYTES);
	struct machine *m;
	int i;

	/* Stays to the end, as that of measure_bed() */
	bed->open();
	m = bed->create(memory, GUEST_BYTES);
	touch_pages(bed, m, 1, GUEST_DATA);
	for (i = 0; i < NR_SIZES; i++)
		log_rows(bed, figures, i);
	figures->row[ROW_DESTROY] = destroy(bed);
	figures->row[ROW_BYTES_4K] = kernel_bytes(bed, guest_memory(guest_bytes(MOST_MEMORY)));
	figures->row[ROW_BYTES_2M] = kernel_bytes(bed, huge_guest_memory(guest_bytes(MOST_MEMORY)));
	bed->destroy(m);
	drop_memory(memory, GUEST_BYTES);
}

#define COPIES	256

/* Nothing but the copy */
static double copy(void)
{
	char *from = fresh_memory(COPIES * 4096), *to = fresh_memory(COPIES * 4096);
	uint64_t start, all;
	int i;

	memset(from, 1, COPIES * 4096);
	memset(to, 2, COPIES * 4096);
	start = now();
	for (i = 0; i < COPIES; i++)
		memcpy(to + i * 4096, from + i * 4096, 4096);
	all = now() - start;
	drop_memory(from, COPIES * 4096);
	drop_memory(to, COPIES * 4096);
	return (double)all / COPIES;
}

/* The floors of calls and of an end are those of measure_floors(). */
void measure_memory_floors(struct figures *figures)
{
	double copied = copy();
	int i;

	for (i = ROW_MEMORY; i < ROW_DESTROY; i++)
		figures->row[i] = figures->row[ROW_OUT];
	figures->row[ROW_DESTROY] = figures->row[ROW_VM_DESTROY];
	for (i = 0; i < NR_SHARES; i++)
		figures->row[ROW_RESET + i] = copied;
	/* Second-level tables of four levels, that of 4 KiB pages for each 2 MiB */
	figures->row[ROW_BYTES_2M] = 3 * 4096;
	figures->row[ROW_BYTES_4K] = (3 + guest_bytes(MOST_MEMORY) / HUGE_BYTES) * 4096;
}
