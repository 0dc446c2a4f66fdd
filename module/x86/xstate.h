/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Extended state: the part of xstate.c that every window passes through.
 */
#ifndef VMM_X86_XSTATE_H
#define VMM_X86_XSTATE_H

#include <linux/types.h>
#include <asm/cpufeature.h>
#include <asm/fpu/types.h>
#include <asm/fpu/xcr.h>
#include <asm/msr.h>

#include "compat.h"
#include "vcpu.h"
#include "x86/count.h"

/**
 * struct xstate - a vCPU's extended state
 * @xcr0: the guest's XCR0
 * @xss: the guest's IA32_XSS
 * @live: the registers hold the guest's state, the area is stale
 * @area: the XSAVE area, aligned
 * @host: another one, for what is found in the registers
 * @space: where they lie
 */
struct xstate {
	u64 xcr0;
	u64 xss;
	bool live;
	struct xregs_state *area;
	struct xregs_state *host;
	u8 space[];
};

/**
 * struct xstate_facts - what the host has; immutable after xstate_init()
 * @host_xcr0: its XCR0; 0 where it has no XSAVE
 * @host_xss: its IA32_XSS
 * @supported_xcr0: what is offered to guests, all of it in the lower half
 */
struct xstate_facts {
	u64 host_xcr0;
	u64 host_xss;
	u64 supported_xcr0;
};

extern struct xstate_facts xstate_facts;

static inline u64 xstate_get_xcr0(void)
{
	count_insn(XGETBV);
	return xgetbv(XCR_XFEATURE_ENABLED_MASK);
}

static inline void xstate_write_xcr0(u64 xcr0)
{
	count_insn(XSETBV);
	xsetbv(XCR_XFEATURE_ENABLED_MASK, xcr0);
}

/*
 * FXSAVE and XSAVE skip the x87 pointers when no exception waits (APM vol. 2 11.4.4), so that
 * XRSTOR does not load them: what is there is the other side's, and none of its business.
 */
static __always_inline void clear_x87_pointers(void)
{
	if (static_cpu_has_bug(X86_BUG_FXSAVE_LEAK))
		asm volatile("fninit");
}

/* XSAVE and XRSTOR of what is offered, all of which lies in the mask's lower half */
static __always_inline void save_area(struct xregs_state *area, u32 mask)
{
	count_insn(XSAVE);
	asm volatile("xsave64 %0" : "+m" (*area) : "a" (mask), "d" (0) : "memory");
}

static __always_inline void load_area(const struct xregs_state *area, u32 mask)
{
	clear_x87_pointers();
	count_insn(XRSTOR);
	asm volatile("xrstor64 %0" : : "m" (*area), "a" (mask), "d" (0) : "memory");
}

/* For hosts without XSAVE */
static __always_inline void exchange_legacy(struct xregs_state *from, struct xregs_state *to)
{
	count_insn(XSAVE);
	asm volatile("fxsave64 %0" : "=m" (from->i387));
	clear_x87_pointers();
	count_insn(XRSTOR);
	asm volatile("fxrstor64 %0" : : "m" (to->i387));
}

/**
 * xstate_load_guest - the registers become the guest's
 * @vcpu: whose; interrupts are off until xstate_save_guest()
 */
static __always_inline void xstate_load_guest(struct vcpu *vcpu)
{
	struct xstate *x = vcpu->xstate;
	u32 mask = xstate_facts.supported_xcr0;

	x->live = true;
	if (!mask) {
		exchange_legacy(x->host, x->area);
		return;
	}
	save_area(x->host, mask);
	load_area(x->area, mask);
	if (x->xcr0 != xstate_facts.host_xcr0)
		xstate_write_xcr0(x->xcr0);
	if (unlikely(x->xss != xstate_facts.host_xss))
		compat_wrmsr(MSR_IA32_XSS, x->xss);
}

/**
 * xstate_save_guest - keep the guest's, and put back what xstate_load_guest() has found
 * @vcpu: whose
 */
static __always_inline void xstate_save_guest(struct vcpu *vcpu)
{
	struct xstate *x = vcpu->xstate;
	u32 mask = xstate_facts.supported_xcr0;

	x->live = false;
	if (!mask) {
		exchange_legacy(x->area, x->host);
		return;
	}
	if (unlikely(x->xss != xstate_facts.host_xss))
		compat_wrmsr(MSR_IA32_XSS, xstate_facts.host_xss);
	/* The register itself is asked, as in xstate_xcr0(). */
	x->xcr0 = xstate_get_xcr0();
	if (x->xcr0 != xstate_facts.host_xcr0)
		xstate_write_xcr0(xstate_facts.host_xcr0);
	save_area(x->area, mask);
	load_area(x->host, mask);
}

#endif
