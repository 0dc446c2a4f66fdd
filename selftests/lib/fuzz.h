/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fuzzers share: numbers that repeat from a seed, values at edges, instructions, and
 * the kernel's coverage.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "vmmtest.h"

struct random {
	u64 state;
};

/* The same @seed and @stream give the same numbers, on every machine. */
struct random random_from(u64 seed, u64 stream);
u64 next_random(struct random *random);

/* A number below @limit, which is not 0 */
static inline u64 below(struct random *random, u64 limit)
{
	return next_random(random) % limit;
}

/* True once in @times */
static inline bool chance(struct random *random, u64 times)
{
	return !below(random, times);
}

/* A value at which code errs: around powers of two, all ones, few bits, or anything */
u64 edge(struct random *random);

/* The number of an MSR that the module knows, of a neighbour of one, or any */
u32 interesting_msr(struct random *random);

/* An option of a program's, "--name NUMBER": where to put it; the last has no name */
struct number_option {
	const char *name;
	u64 *value;
};

/* Take the program's options; with anything else among them it ends, and says what it takes. */
#define READ_NUMBERS(argc, argv, ...) \
	read_numbers(argc, argv, (const struct number_option[]){ __VA_ARGS__, { NULL, NULL } })
void read_numbers(int argc, char **argv, const struct number_option *options);

#define INSTRUCTION_BYTES 15

/*
 * One instruction at @to, which has room for INSTRUCTION_BYTES: of those that a hypervisor has to
 * do with, or random bytes. Returns its length.
 */
unsigned int emit_instruction(struct random *random, u8 *to);

/* One of at most eight bytes, with NOPs behind it */
u64 random_instruction(struct random *random);

/* Copy as the kernel does: false, and no signal, where the memory cannot be written. */
bool copy_over(void *to, const void *from, size_t bytes);

/* ---- coverage, where the kernel has KCOV; else nothing happens --------------------- */

#define COVERAGE_ARGUMENT 4096

/* Of one thread */
struct coverage {
	int fd;
	u64 *trace;
	u32 call;
	u32 size;
	u8 argument[COVERAGE_ARGUMENT];
};

/* Once, before the processes that share what was reached */
void coverage_share(void);
void coverage_open(struct coverage *coverage);
/* Before call number @call, which gets @size bytes at @argument, and after it */
void coverage_start(struct coverage *coverage, u32 call, const void *argument, u32 size);
void coverage_end(struct coverage *coverage);
/* Now and then: put a changed argument there that once reached new code; else false. */
bool coverage_mutate(struct coverage *coverage, struct random *random, u32 call, void *argument,
		     u32 size);
/* Places of the module that were reached so far */
unsigned int coverage_places(void);

#endif
