// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two VMs with the same guest addresses: each sees its own bytes and no others, whatever is moved,
 * reclaimed, merged and given away meanwhile. The walk is random, and can be repeated:
 * SEED=number and STEPS=number in the environment.
 */
/* also: intel-plain */
/* hosts: smp 6.12 */
/* timeout: 90 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "remote.h"

#define PAGES	32			/* of each VM */
#define PLACES	4			/* where they may be */
#define PLACE(n) (0x800000 + (n) * 0x200000ULL)

/**
 * struct side - a VM and what it should see
 * @mem: its pages, where the VMM has them now
 * @place: where the guest has them now
 * @value: of each page
 * @maybe_zero: or else it is 0, by MADV_FREE
 */
struct side {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	u32 place;
	u32 value[PAGES];
	bool maybe_zero[PAGES];
};

static struct side sides[2];
static u32 serial, step;
static unsigned int seed;
static bool have_swap;

static u32 choose(u32 below)
{
	return random() % below;
}

static u32 *word(struct side *s, u32 page)
{
	return (u32 *)(s->mem + page * PAGE);
}

static u64 gpa_of(struct side *s, u32 page)
{
	return PLACE(s->place) + page * PAGE;
}

static void set_slot(struct side *s)
{
	int ret = vm_set_slot(s->vm, 1, PLACE(s->place), PAGES * PAGE, s->mem, 0);

	if (ret)
		fail("VMM_SET_MEMORY: %s", strerror(-ret));
}

static void *private_pages(u32 pages)
{
	u8 *mem = map_memory(pages * PAGE);

	madvise(mem, pages * PAGE, MADV_NOHUGEPAGE);
	madvise(mem, pages * PAGE, MADV_MERGEABLE);
	return mem;
}

static void check(struct side *s, u32 page, u32 seen, const char *who)
{
	if (seen == s->value[page])
		return;
	if (s->maybe_zero[page] && !seen) {
		s->value[page] = 0;
		return;
	}
	fail("seed %u step %u: %s of VM %d sees %#x in page %u, not %#x", seed, step, who,
	     (int)(s - sides), seen, page, s->value[page]);
}

static void guest_reads(struct side *s, u32 page)
{
	check(s, page, remote_read32(s->vcpu, gpa_of(s, page)), "the guest");
}

/* Values tell whose they are and when they were written; some are equal, to be merged. */
static u32 new_value(struct side *s)
{
	return choose(4) ? (u32)(s - sides + 1) << 28 | ++serial : 0x7777;
}

static void wrote(struct side *s, u32 page, u32 value)
{
	s->value[page] = value;
	s->maybe_zero[page] = false;
}

static void guest_writes(struct side *s, u32 page)
{
	u32 value = new_value(s);

	remote_write32(s->vcpu, gpa_of(s, page), value);
	wrote(s, page, value);
}

/* Some pages from @page on */
static u32 length(u32 page)
{
	return 1 + choose(PAGES - page);
}

static void advise(struct side *s, u32 page, int advice)
{
	u32 count = length(page), i;

	if (madvise(word(s, page), count * PAGE, advice) && advice != MADV_PAGEOUT)
		fail("madvise(%d): %s", advice, strerror(errno));
	for (i = page; i < page + count; i++) {
		if (advice == MADV_DONTNEED)
			wrote(s, i, 0);
		else if (advice == MADV_FREE)
			s->maybe_zero[i] = true;
	}
}

static void move_pages_to(u8 *from, u8 *to)
{
	u64 half = PAGES / 2 * PAGE;

	if (mremap(from, half, half, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		fail("mremap: %s", strerror(errno));
}

/* The whole of it to another address here, and the slot after it */
static void move_here(struct side *s)
{
	u8 *to = private_pages(PAGES);

	move_pages_to(s->mem, to);
	move_pages_to(s->mem + PAGES / 2 * PAGE, to + PAGES / 2 * PAGE);
	s->mem = to;
	set_slot(s);
}

/* Two halves of it change places behind the slot. */
static void swap_halves(struct side *s)
{
	u8 *aside = private_pages(PAGES / 2), *second = s->mem + PAGES / 2 * PAGE;
	struct side old = *s;
	u32 i;

	move_pages_to(s->mem, aside);
	move_pages_to(second, s->mem);
	move_pages_to(aside, second);
	for (i = 0; i < PAGES; i++) {
		s->value[i] = old.value[(i + PAGES / 2) % PAGES];
		s->maybe_zero[i] = old.maybe_zero[(i + PAGES / 2) % PAGES];
	}
}

static void move_in_guest(struct side *s)
{
	s->place = choose(PLACES);
	set_slot(s);
}

/* Each takes the other's memory, and with it what is in it. */
static void exchange(void)
{
	struct side old = sides[0];
	u32 i;

	sides[0].mem = sides[1].mem;
	sides[1].mem = old.mem;
	for (i = 0; i < PAGES; i++) {
		sides[0].value[i] = sides[1].value[i];
		sides[0].maybe_zero[i] = sides[1].maybe_zero[i];
		sides[1].value[i] = old.value[i];
		sides[1].maybe_zero[i] = old.maybe_zero[i];
	}
	set_slot(&sides[0]);
	set_slot(&sides[1]);
}

/* A child writes into its copies of all. */
static void fork_child(void)
{
	pid_t child = fork();
	u32 i;

	if (!child) {
		for (i = 0; i < PAGES; i++)
			*word(&sides[i & 1], i) = 0xbad00000 + i;
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

static void take_step(void)
{
	struct side *s = &sides[choose(2)];
	u32 page = choose(PAGES), what = choose(100);

	if (what < 30) {
		guest_reads(s, page);
	} else if (what < 55) {
		guest_writes(s, page);
	} else if (what < 62) {
		u32 value = new_value(s);

		*word(s, page) = value;
		wrote(s, page, value);
	} else if (what < 70) {
		check(s, page, *word(s, page), "the VMM");
	} else if (what < 75) {
		advise(s, page, MADV_DONTNEED);
	} else if (what < 80) {
		advise(s, page, MADV_FREE);
	} else if (what < 87 && have_swap) {
		advise(s, page, MADV_PAGEOUT);
	} else if (what < 90) {
		move_here(s);
	} else if (what < 93) {
		swap_halves(s);
	} else if (what < 96) {
		move_in_guest(s);
	} else if (what < 98) {
		exchange();
	} else if (what < 99) {
		fork_child();
	} else {
		mprotect(s->mem, PAGES * PAGE, PROT_READ);
		guest_reads(s, page);
		mprotect(s->mem, PAGES * PAGE, PROT_READ | PROT_WRITE);
	}
}

static u32 from_environment(const char *name, u32 otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

TEST(random_walk)
{
	u32 steps = from_environment("STEPS", host_is_slow() ? 1500 : 6000), i;
	int n;

	seed = from_environment("SEED", 20240101);
	srandom(seed);
	have_swap = host_swap();
	write_file("/sys/kernel/mm/ksm/pages_to_scan", "500");
	write_file("/sys/kernel/mm/ksm/sleep_millisecs", "20");
	write_file("/sys/kernel/mm/ksm/run", "1");
	for (n = 0; n < 2; n++) {
		struct side *s = &sides[n];

		s->vm = vm_create(1 * MIB, 0);
		s->vcpu = vcpu_create(s->vm, 0);
		s->mem = private_pages(PAGES);
		set_slot(s);
		remote_start(s->vcpu);
	}
	for (step = 0; step < steps; step++)
		take_step();
	for (n = 0; n < 2; n++)
		for (i = 0; i < PAGES; i++) {
			guest_reads(&sides[n], i);
			check(&sides[n], i, *word(&sides[n], i), "the VMM");
		}
	TH_LOG("%u steps of seed %u", steps, seed);
	vm_destroy(sides[0].vm);
	/* The other one is as it was. */
	for (i = 0; i < PAGES; i++)
		guest_reads(&sides[1], i);
	vm_destroy(sides[1].vm);
	write_file("/sys/kernel/mm/ksm/run", "2");
}

TEST_HARNESS_MAIN
