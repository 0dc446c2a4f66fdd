// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <linux/kcov.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/uio.h>

#include "fuzz.h"

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* ---- numbers ---------------------------------------------------------------------- */

/* SplitMix64 */
u64 next_random(struct random *random)
{
	u64 z = random->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

struct random random_from(u64 seed, u64 stream)
{
	struct random random = { seed };

	random.state = next_random(&random) ^ stream * 0xd1342543de82ef95;
	return random;
}

static u64 *option_value(const struct number_option *options, const char *name)
{
	for (; options->name; options++)
		if (!strcmp(options->name, name))
			return options->value;
	return NULL;
}

void read_numbers(int argc, char **argv, const struct number_option *options)
{
	char *end = "";
	u64 *value;
	int i;

	for (i = 1; i + 1 < argc && !*end; i += 2) {
		value = option_value(options, argv[i]);
		if (!value)
			break;
		*value = strtoull(argv[i + 1], &end, 0);
	}
	if (i >= argc && !*end)
		return;
	fprintf(stderr, "usage: %s", argv[0]);
	for (; options->name; options++)
		fprintf(stderr, " [%s N]", options->name);
	fputs("\n", stderr);
	exit(2);
}

u64 edge(struct random *random)
{
	u64 power = 1ULL << below(random, 64);

	switch (below(random, 10)) {
	case 0:
		return 0;
	case 1:
		return ~0ULL;
	case 2:
		return power;
	case 3:
		return power - 1;
	case 4:
		return -power;
	case 5:		/* neither half of the canonical addresses */
		return power + next_random(random) % 16;
	case 6:
		return below(random, 256);
	case 7:
		return next_random(random) & next_random(random) & next_random(random);
	case 8:
		return (u32)next_random(random);
	default:
		return next_random(random);
	}
}

u32 interesting_msr(struct random *random)
{
	static const u32 start[] = {
		0x10, 0x1b, 0x3a, 0x48, 0x79, 0x8b, 0xc1, 0xe7, 0xfe, 0x10a, 0x174, 0x176,
		0x179, 0x186, 0x1a0, 0x1d9, 0x200, 0x20f, 0x250, 0x268, 0x277, 0x2ff, 0x345,
		0x38f, 0x400, 0x480, 0x491, 0x6e0, 0x800, 0x808, 0x80b, 0x830, 0x83f, 0xda0,
		0x11, 0x4b564d00, 0x4b564d04, 0x40000000, 0xc0000080, 0xc0000084, 0xc0000100,
		0xc0000103, 0xc0010000, 0xc0010015, 0xc0010058, 0xc0010114, 0xc0010117,
		0xc001011f, 0xc0011020, 0xc0011029,
	};

	if (chance(random, 8))
		return edge(random);
	return start[below(random, ARRAY_LENGTH(start))] + below(random, 4);
}

bool copy_over(void *to, const void *from, size_t bytes)
{
	struct iovec local = { (void *)from, bytes }, remote = { to, bytes };

	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)bytes;
}

/* ---- instructions ------------------------------------------------------------------ */

/*
 * A code is its bytes, in which "m" stands for a ModRM byte with any registers, "r" for one that
 * names registers only, "1", "4" for immediate bytes, "p" for one of the usual ports.
 */
struct code {
	const char *bytes;
	u8 length;
};

#define CODE(bytes)	{ bytes, sizeof(bytes) - 1 }
#define M		"\xf0"
#define R		"\xf1"
#define I1		"\xf2"
#define I4		"\xf4"
#define PORT		"\xf5"

static const struct code codes[] = {
	/* control and debug registers */
	CODE("\x0f\x20" R), CODE("\x0f\x22" R), CODE("\x0f\x21" R), CODE("\x0f\x23" R),
	CODE("\x0f\x06"), CODE("\x0f\x01" M), CODE("\x0f\x00" M), CODE("\x44\x0f\x22" R),
	/* MSRs, counters, XCR0 */
	CODE("\x0f\x30"), CODE("\x0f\x32"), CODE("\xb9" I4 "\x0f\x30"), CODE("\x0f\x31"),
	CODE("\x0f\x33"), CODE("\x0f\x01\xd1"), CODE("\x0f\x01\xd0"), CODE("\x0f\x01\xf9"),
	/* ports */
	CODE("\xe4" PORT), CODE("\xe6" PORT), CODE("\xe7" PORT), CODE("\xec"), CODE("\xee"),
	CODE("\x6c"), CODE("\xf3\x6e"), CODE("\x6f"), CODE("\x66\xed"),
	/* what always or often leaves */
	CODE("\x0f\xa2"), CODE("\xf4"), CODE("\xf3\x90"), CODE("\x0f\x08"), CODE("\x0f\x09"),
	CODE("\x0f\x01\xc1"), CODE("\x0f\x01\xd9"), CODE("\x0f\x01\xc8"), CODE("\x0f\x01\xc9"),
	CODE("\x0f\x01\x38"), CODE("\x0f\xaa"), CODE("\x0f\x01\xd8"), CODE("\x0f\x01\xdc"),
	CODE("\x0f\x78" R), CODE("\x0f\xc7" M), CODE("\x66\x0f\x38\x82\x00"), CODE("\x0f\x37"),
	/* events */
	CODE("\xcd" I1), CODE("\xcc"), CODE("\xf1"), CODE("\xce"), CODE("\x0f\x0b"),
	CODE("\xcf"), CODE("\x48\xcf"), CODE("\xfa"), CODE("\xfb"), CODE("\xfb\xf4"),
	CODE("\x9c"), CODE("\x9d"), CODE("\x68" I4 "\x9d"), CODE("\x17"), CODE("\x8e\xd0"),
	CODE("\x0f\x05"), CODE("\x0f\x07"), CODE("\x0f\x34"), CODE("\x0f\x35"),
	/* segments, tasks, far transfers */
	CODE("\x8e" R), CODE("\x0f\xb2" M), CODE("\xcb"), CODE("\x9a" I4 "\x08\x00"),
	CODE("\xea" I4 "\x10\x00"), CODE("\xff" M), CODE("\x0f\xa1"), CODE("\x0f\xa9"),
	/* memory, also where there is none */
	CODE("\xa1" I4), CODE("\xa3" I4), CODE("\x8b" M), CODE("\x89" M), CODE("\x87" M),
	CODE("\xf0\x0f\xb1" M), CODE("\xf3\xa4"), CODE("\xf3\xab"), CODE("\xa5"), CODE("\xc7" M I4),
	CODE("\x0f\xae" M), CODE("\x66\x0f\x6f" M), CODE("\xd9" M), CODE("\xdd" M),
	/* values to do it with */
	CODE("\xb8" I4), CODE("\xb9" I4), CODE("\xba" I4), CODE("\xbb" I4), CODE("\xbc" I4),
	CODE("\xbe" I4), CODE("\xbf" I4), CODE("\x31\xc0"), CODE("\x31\xd2"), CODE("\x48\xff\xc8"),
	CODE("\xeb\x02"), CODE("\xe2\xf0"), CODE("\x90"), CODE("\xc3"),
};

static u32 immediate(struct random *random)
{
	switch (below(random, 5)) {
	case 0:
		return interesting_msr(random);
	case 1:
		return 0xfee00000 | below(random, 0x40) << 4;
	case 2:
		return 0xfec00000 | below(random, 2) << 4;
	case 3:
		return below(random, 0x80000);
	default:
		return edge(random);
	}
}

unsigned int emit_instruction(struct random *random, u8 *to)
{
	static const u8 ports[] = {
		0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x80, 0xe0,
	};
	const struct code *code = &codes[below(random, ARRAY_LENGTH(codes))];
	unsigned int i, used = 0;
	u32 value;

	if (chance(random, 12)) {
		used = 1 + below(random, 8);
		for (i = 0; i < used; i++)
			to[i] = next_random(random);
		return used;
	}
	if (chance(random, 16))
		to[used++] = "\x66\x67\xf2\xf3\xf0\x2e\x48\x41"[below(random, 8)];
	for (i = 0; i < code->length; i++) {
		u8 byte = code->bytes[i];

		switch (byte) {
		case 0xf0:	/* M; what it asks for behind it may be missing */
			to[used++] = next_random(random);
			break;
		case 0xf1:
			to[used++] = 0xc0 | next_random(random);
			break;
		case 0xf2:
			to[used++] = next_random(random);
			break;
		case 0xf4:
			value = immediate(random);
			memcpy(to + used, &value, 4);
			used += 4;
			break;
		case 0xf5:
			to[used++] = ports[below(random, sizeof(ports))];
			break;
		default:
			to[used++] = byte;
			break;
		}
	}
	return used;
}

u64 random_instruction(struct random *random)
{
	u8 bytes[INSTRUCTION_BYTES + 8];
	u64 word;

	do {
		memset(bytes, 0x90, sizeof(bytes));
	} while (emit_instruction(random, bytes) > 8);
	memcpy(&word, bytes, sizeof(word));
	return word;
}

/* ---- coverage ---------------------------------------------------------------------- */

#define PLACES		(1u << 16)
#define KEPT		512
#define TRACE_WORDS	(1u << 14)

/*
 * Where the kernel puts modules, or 512 MiB behind that if it may move itself: the rest of it is
 * not what is tested.
 */
#define MODULES_START	0xffffffffa0000000ULL

struct kept {
	atomic_uint size;	/* 0 while it is written */
	u32 call;
	u8 argument[COVERAGE_ARGUMENT];
};

static struct {
	atomic_uchar reached[PLACES];
	atomic_uint places;
	atomic_uint kept;
	struct kept arguments[KEPT];
} *shared;

void coverage_share(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	if (access("/sys/kernel/debug/kcov", F_OK))
		mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
}

void coverage_open(struct coverage *coverage)
{
	coverage->trace = NULL;
	coverage->fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (coverage->fd < 0)
		return;
	if (ioctl(coverage->fd, KCOV_INIT_TRACE, (unsigned long)TRACE_WORDS))
		fail("KCOV_INIT_TRACE: %s", strerror(errno));
	coverage->trace = mmap(NULL, TRACE_WORDS * sizeof(u64), PROT_READ | PROT_WRITE,
			       MAP_SHARED, coverage->fd, 0);
	if (coverage->trace == MAP_FAILED ||
	    ioctl(coverage->fd, KCOV_ENABLE, (unsigned long)KCOV_TRACE_PC))
		fail("KCOV: %s", strerror(errno));
}

void coverage_start(struct coverage *coverage, u32 call, const void *argument, u32 size)
{
	if (!coverage->trace)
		return;
	coverage->call = call;
	/* What cannot be read is not kept. */
	coverage->size = size <= COVERAGE_ARGUMENT &&
			 copy_over(coverage->argument, argument, size) ? size : 0;
	__atomic_store_n(&coverage->trace[0], 0, __ATOMIC_RELAXED);
}

static bool mark_reached(const struct coverage *coverage)
{
	u64 i, count = __atomic_load_n(&coverage->trace[0], __ATOMIC_RELAXED);
	bool any = false;

	for (i = 1; i <= count && i < TRACE_WORDS; i++) {
		u64 place = coverage->trace[i];

		if (place < MODULES_START)
			continue;
		if (!atomic_exchange(&shared->reached[(place ^ place >> 16) % PLACES], 1)) {
			atomic_fetch_add(&shared->places, 1);
			any = true;
		}
	}
	return any;
}

void coverage_end(struct coverage *coverage)
{
	struct kept *kept;

	if (!coverage->trace || !mark_reached(coverage) || !coverage->size)
		return;
	kept = &shared->arguments[atomic_fetch_add(&shared->kept, 1) % KEPT];
	kept->size = 0;
	kept->call = coverage->call;
	memcpy(kept->argument, coverage->argument, coverage->size);
	kept->size = coverage->size;
}

bool coverage_mutate(struct coverage *coverage, struct random *random, u32 call, void *argument,
		     u32 size)
{
	unsigned int i, count = shared->kept < KEPT ? shared->kept : KEPT;
	const struct kept *kept;

	if (!coverage->trace || !count || chance(random, 2))
		return false;
	for (i = 0; i < 8; i++) {
		kept = &shared->arguments[below(random, count)];
		if (kept->call == call && kept->size == size)
			break;
	}
	if (i == 8)
		return false;
	memcpy(argument, kept->argument, size);
	for (i = 1 + below(random, 3); i; i--) {
		u64 value = edge(random);
		unsigned int width = 1u << below(random, 4);

		if (width <= size)
			memcpy((u8 *)argument + below(random, size / width) * width, &value, width);
	}
	return true;
}

unsigned int coverage_places(void)
{
	return shared->places;
}
