/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guests that use the pages that a test names, or such as only they know; bitmaps of pages.
 */
#ifndef PAGES_H
#define PAGES_H

#include "vmmtest.h"

/* Adds one to the doubleword at the address that it gets, and says the sum; says the doubleword */
extern const u8 page_writer[], page_writer_end[];
extern const u8 page_reader[], page_reader_end[];

/* Give one of them an address; what it says */
u32 guest_does(struct vcpu *vcpu, u64 address);

static inline bool page_is_set(const u64 *bits, u64 page)
{
	return bits[page / 64] >> (page % 64) & 1;
}

u32 count_pages(const u64 *bits, u64 pages);

/* Adds one to a quadword of a page that a sequence known to it alone chooses, without end */
extern const u8 scatter[], scatter_end[];

struct writer_thread {
	struct vcpu *vcpu;
	bool stop;
};

/* A thread's function, whose argument is a struct writer_thread: run the guest until @stop */
void *run_writer(void *arg);

#endif
