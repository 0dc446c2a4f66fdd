/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest that does what the test says, one access at a time, so that a test of a
 * device reads as one program.
 *
 * remote_start() brings the vCPU there, with interrupts off. Each call below runs it until the
 * access is done. Vectors that it takes meanwhile are noted (and not ended: that is
 * the test's business); NMIs may come at any time, interrupts in remote_take() and
 * remote_wait() alone.
 */
#ifndef REMOTE_H
#define REMOTE_H

#include "vmmtest.h"

void remote_start(struct vcpu *vcpu);

void remote_out8(struct vcpu *vcpu, u16 port, u8 value);
void remote_out16(struct vcpu *vcpu, u16 port, u16 value);
void remote_out32(struct vcpu *vcpu, u16 port, u32 value);
u8 remote_in8(struct vcpu *vcpu, u16 port);
u16 remote_in16(struct vcpu *vcpu, u16 port);
u32 remote_in32(struct vcpu *vcpu, u16 port);

void remote_write8(struct vcpu *vcpu, u32 gpa, u8 value);
void remote_write16(struct vcpu *vcpu, u32 gpa, u16 value);
void remote_write32(struct vcpu *vcpu, u32 gpa, u32 value);
void remote_write64(struct vcpu *vcpu, u32 gpa, u64 value);
u8 remote_read8(struct vcpu *vcpu, u32 gpa);
u16 remote_read16(struct vcpu *vcpu, u32 gpa);
u32 remote_read32(struct vcpu *vcpu, u32 gpa);
u64 remote_read64(struct vcpu *vcpu, u32 gpa);

/*
 * As remote_write32() and remote_read32(), where it may fail: 0, or the errno of a FAULT exit or of
 * VMM_RUN. The guest is still at it then, and remote_retry() goes on with it.
 */
int remote_try_write32(struct vcpu *vcpu, u32 gpa, u32 value);
int remote_try_read32(struct vcpu *vcpu, u32 gpa, u32 *value);
int remote_retry(struct vcpu *vcpu, u32 *value);

/* False if the guest got #GP. */
bool remote_wrmsr(struct vcpu *vcpu, u32 msr, u64 value);
bool remote_rdmsr(struct vcpu *vcpu, u32 msr, u64 *value);
bool remote_write_cr8(struct vcpu *vcpu, u64 value);
u64 remote_read_cr8(struct vcpu *vcpu);
u64 remote_rdtsc(struct vcpu *vcpu);

/*
 * Turn interrupts on for a moment. Returns the vectors that came, in hexadecimal and in their
 * order, with a blank between two: "" for none. Valid up to the next call.
 */
const char *remote_take(struct vcpu *vcpu);
/* The same, but sleep in HLT until one comes. */
const char *remote_wait(struct vcpu *vcpu);
/*
 * The same, but stay busy for so many rounds of a loop with interrupts off. The loop closes them
 * over and over, where a processor may look again at what is pending.
 */
const char *remote_spin(struct vcpu *vcpu, u32 rounds);

/* The vectors that came in the last call of any kind. */
const char *remote_taken(void);

/*
 * A write that leaves to the VMM, by remote_write32() and the like, is noted: exits so far, the
 * last one as it was. Reads get all ones.
 */
extern unsigned int remote_exits;
extern struct vmm_exit remote_exit;

#endif
