/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a guest gets that knows it is one: the published KVM paravirtual interface
 * (CPUID leaves 0x40000000 on, MSRs 0x4b564d00 on): pvclock, PV EOI, steal time.
 */
#ifndef VMM_PV_H
#define VMM_PV_H

#include <linux/types.h>

#include "../x86/x86.h"

struct vcpu;
struct vm;

int pv_create(struct vcpu *vcpu);
void pv_destroy(struct vcpu *vcpu);
void pv_reset(struct vcpu *vcpu);

/* The MSRs; MSR_UNKNOWN for others, MSR_OUTSIDE in the window where guest memory is touched */
enum msr_result pv_msr_read(struct vcpu *vcpu, u32 index, u64 *data);
enum msr_result pv_msr_write(struct vcpu *vcpu, u32 index, u64 data, bool host);

/* Leaves for the list of supported CPUID */
u32 pv_cpuid(struct cpuid_entry *entries, u32 max);

/* VCPU_REQ_CLOCK: publish time info. Outside the window */
void pv_clock_update(struct vcpu *vcpu);
/* Before a window and after it, outside: steal time, PV EOI. */
void pv_before_window(struct vcpu *vcpu);
void pv_after_window(struct vcpu *vcpu);
/* Nanoseconds of the VM's clock now */
u64 pv_clock_now(struct vm *vm);
void pv_clock_set(struct vm *vm, u64 guest_ns);

/* A hypercall: returns the value for RAX */
u64 pv_hypercall(struct vcpu *vcpu, u64 nr, const u64 args[4]);

#endif
