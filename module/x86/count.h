/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How often the costly instructions run, for each kind of exit. Built with -DVMM_COUNT alone;
 * otherwise none of this leaves a trace. An emulator charges one instruction for what silicon
 * charges hundreds of cycles for: see "The bench" in Documentation/testing.rst.
 *
 * What runs from an exit to the next entry is that exit's, the window's end and the begin of the
 * next one included. debugfs has the sums: vmm/instructions, which a write of anything clears.
 */
#ifndef VMM_X86_COUNT_H
#define VMM_X86_COUNT_H

/* The names are an interface to scripts. Reads and writes of a register count alike. */
#define COUNTED_INSNS(C)						\
	C(VMREAD)							\
	C(VMWRITE)							\
	C(VMPTRLD)							\
	C(VMCLEAR)							\
	C(VMXON)							\
	C(VMXOFF)							\
	C(INVEPT)							\
	C(INVVPID)							\
	C(VMLOAD)							\
	C(VMSAVE)							\
	C(FLUSH)	/* by VMRUN */					\
	C(RDMSR)							\
	C(WRMSR)							\
	C(MOV_CR)							\
	C(MOV_DR)							\
	C(XGETBV)							\
	C(XSETBV)							\
	C(XSAVE)							\
	C(XRSTOR)							\
	C(WRPKRU)							\
	C(LGDT)		/* and LIDT, LLDT, LTR */			\
	C(IBPB)		/* a WRMSR as well */				\
	C(IPI)

struct spec_guard;
struct vcpu;

#ifdef VMM_COUNT

#include <linux/percpu.h>
#include <linux/types.h>

enum counted_insn {
#define C(name)	INSN_##name,
	COUNTED_INSNS(C)
#undef C
	NR_COUNTED_INSNS
};

DECLARE_PER_CPU(u64 [NR_COUNTED_INSNS], counted_insns);

/* Any context */
#define count_insns(name, n)	this_cpu_add(counted_insns[INSN_##name], n)

/* The backend calls these just before an entry, and when vcpu->exit is filled in. */
void count_entry(struct vcpu *vcpu);
void count_exit(struct vcpu *vcpu);
/* The window has ended, another vCPU's may follow; preemption is off */
void count_leave(struct vcpu *vcpu);
/* What spec_guard.flags make the assembler do around the guest */
void count_guard(const struct spec_guard *guard);

void count_init(void);
void count_uninit(void);

#else

#define count_insns(name, n)	do { } while (0)

static inline void count_entry(struct vcpu *vcpu) { }
static inline void count_exit(struct vcpu *vcpu) { }
static inline void count_leave(struct vcpu *vcpu) { }
static inline void count_guard(const struct spec_guard *guard) { }
static inline void count_init(void) { }
static inline void count_uninit(void) { }

#endif

#define count_insn(name)	count_insns(name, 1)

#endif
