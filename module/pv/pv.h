/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a guest gets that knows it is one: the published KVM paravirtual interface
 * (CPUID leaves 0x40000000 on, MSRs 0x4b564d00 on): pvclock, PV EOI, steal time.
 *
 * All state that a guest can see lies in vcpu->msrs.pv_* and in guest memory.
 */
#ifndef VMM_PV_H
#define VMM_PV_H

#include <linux/jiffies.h>
#include <linux/smp.h>
#include <linux/types.h>

#include "../vcpu.h"
#include "../x86/x86.h"

struct task_struct;
struct vm;

/* What vcpu->msrs has switched on */
#define PV_CLOCK	1
#define PV_STEAL_TIME	2
#define PV_EOI		4

/**
 * struct pv_vcpu - what a vCPU's paravirtual parts keep between windows
 * @active: PV_*: what vcpu->msrs has switched on
 * @eoi_fresh: it has not run since
 * @clock_stable: the guest was told that its vCPUs' clocks agree
 * @clock_cpu: where it was told last
 * @clock_generation: of the host clock that it was told of
 * @clock_due: when the host's clock is to be looked at again, jiffies
 * @tsc_lost: host TSC ticks lost in suspends that are in vcpu->tsc_offset already
 * @run_delay: of @thread, up to which steal time has been told, ns
 * @thread: whose; compared, never followed
 */
struct pv_vcpu {
	u32 active;
	bool eoi_fresh;
	bool clock_stable;
	int clock_cpu;
	u32 clock_generation;
	unsigned long clock_due;
	u64 tsc_lost;
	u64 run_delay;
	const struct task_struct *thread;
};

int pv_create(struct vcpu *vcpu);
void pv_destroy(struct vcpu *vcpu);
void pv_reset(struct vcpu *vcpu);

/* The MSRs; MSR_UNKNOWN for others, MSR_OUTSIDE in the window where guest memory is touched */
enum msr_result pv_msr_read(struct vcpu *vcpu, u32 index, u64 *data, bool host);
enum msr_result pv_msr_write(struct vcpu *vcpu, u32 index, u64 data, bool host);
/* State transfer: could these be the guest's? And: vcpu->msrs has new ones */
bool pv_valid_msrs(const struct cpu_msrs *msrs);
void pv_msrs_changed(struct vcpu *vcpu);

/* Leaves for the list of supported CPUID */
u32 pv_cpuid(struct cpuid_entry *entries, u32 max);

/* A hypercall: returns the value for RAX */
u64 pv_hypercall(struct vcpu *vcpu, u64 nr, const u64 args[4]);

/* ---- clock.c ---- */

/* At load; around suspend, with interrupts off on the last CPU */
void pv_clock_init(void);
void pv_clock_suspend(void);
void pv_clock_resume(void);
/* Rises when the host's TSC has got a new relation to its clock */
extern u32 pv_clock_generation;

/* VCPU_REQ_CLOCK: publish time info. Outside the window */
void pv_clock_update(struct vcpu *vcpu);
void pv_clock_check(struct vcpu *vcpu);
/* A new vCPU knows of all suspends that were */
void pv_clock_start(struct vcpu *vcpu);
/* After a suspend: the guest's TSC goes on from where it was. At rest or on the vCPU's thread */
void pv_clock_catch_up(struct vcpu *vcpu);
/* Write the time of day at which the VM's clock was zero. Outside the window */
int pv_clock_write_wall(struct vcpu *vcpu, u64 gpa);
/* Nanoseconds of the VM's clock now */
u64 pv_clock_now(struct vm *vm);
/* Set it: vm->lock is held, or the VM is new */
void pv_clock_set(struct vm *vm, u64 guest_ns);

/* ---- around windows ---- */

void pv_before_window_slow(struct vcpu *vcpu);
void pv_after_window_slow(struct vcpu *vcpu);
bool pv_in_window_slow(struct vcpu *vcpu);

static inline bool pv_clock_is_due(const struct pv_vcpu *pv)
{
	return pv->clock_generation != READ_ONCE(pv_clock_generation) ||
	       (pv->active & PV_CLOCK && (time_after_eq(jiffies, pv->clock_due) ||
		(!pv->clock_stable && pv->clock_cpu != raw_smp_processor_id())));
}

/**
 * pv_before_window - steal time, PV EOI, what happened to the host's clock
 * @vcpu: outside the window, which comes next
 */
static inline void pv_before_window(struct vcpu *vcpu)
{
	const struct pv_vcpu *pv = vcpu->pv;

	if (likely(!(pv->active | (pv->clock_generation ^ READ_ONCE(pv_clock_generation)))))
		return;
	if (unlikely(pv_clock_is_due(pv)))
		pv_clock_check(vcpu);
	if (pv->active & (PV_STEAL_TIME | PV_EOI))
		pv_before_window_slow(vcpu);
}

/**
 * pv_after_window - has the guest skipped an EOI?
 * @vcpu: outside the window
 */
static inline void pv_after_window(struct vcpu *vcpu)
{
	if (unlikely(vcpu->eoi_armed))
		pv_after_window_slow(vcpu);
}

/**
 * pv_in_window - the same, in the window, before irq_pending() is asked
 * @vcpu: in its window
 *
 * Return: false if that cannot be told here: leave the window.
 */
static inline bool pv_in_window(struct vcpu *vcpu)
{
	return likely(!vcpu->eoi_armed) || pv_in_window_slow(vcpu);
}

#endif
