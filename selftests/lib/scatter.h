/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest that writes where only it knows, for as long as it may, while a test reads its log.
 */
#ifndef SCATTER_H
#define SCATTER_H

#include "vmmtest.h"

/* Adds one to a quadword of a page that a sequence known to it alone chooses, without end */
extern const u8 scatter[], scatter_end[];

struct writer_thread {
	struct vcpu *vcpu;
	bool stop;
};

/* A thread's function, whose argument is a struct writer_thread: run the guest until @stop */
void *run_writer(void *arg);

#endif
