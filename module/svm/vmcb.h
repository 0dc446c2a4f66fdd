/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VMCB, as appendix B of the APM's volume 2 lays it out.
 *
 * The kernel has a description of its own in asm/svm.h, but renames its fields as its
 * hypervisor grows; a module that builds on many kernels cannot use it. Exit codes are
 * ABI there (uapi/asm/svm.h) and are taken from it.
 */
#ifndef VMM_SVM_VMCB_H
#define VMM_SVM_VMCB_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/limits.h>
#include <linux/stddef.h>
#include <linux/types.h>

/* Intercepts, as bits of vmcb_control.intercepts[]: number / 32 is the index */
enum vmcb_intercept {
	/* Words 0 and 1: accesses to CR0-15 and DR0-15, reads in the lower half */
	INTERCEPT_CR_READ	= 0,
	INTERCEPT_CR_WRITE	= 16,
	INTERCEPT_DR_READ	= 32,
	INTERCEPT_DR_WRITE	= 48,
	/* Word 2: exceptions by vector */
	INTERCEPT_EXCEPTION	= 64,
	/* Word 3 */
	INTERCEPT_INTR		= 96,
	INTERCEPT_NMI		= 97,
	INTERCEPT_SMI		= 98,
	INTERCEPT_INIT		= 99,
	INTERCEPT_VINTR		= 100,
	INTERCEPT_RDPMC		= 111,
	INTERCEPT_CPUID		= 114,
	INTERCEPT_RSM		= 115,
	INTERCEPT_IRET		= 116,
	INTERCEPT_INVD		= 118,
	INTERCEPT_PAUSE		= 119,
	INTERCEPT_HLT		= 120,
	INTERCEPT_INVLPGA	= 122,
	INTERCEPT_IOIO		= 123,
	INTERCEPT_MSR		= 124,
	INTERCEPT_TASK_SWITCH	= 125,
	INTERCEPT_FERR_FREEZE	= 126,
	INTERCEPT_SHUTDOWN	= 127,
	/* Word 4 */
	INTERCEPT_VMRUN		= 128,
	INTERCEPT_VMMCALL	= 129,
	INTERCEPT_VMLOAD	= 130,
	INTERCEPT_VMSAVE	= 131,
	INTERCEPT_STGI		= 132,
	INTERCEPT_CLGI		= 133,
	INTERCEPT_SKINIT	= 134,
	INTERCEPT_RDTSCP	= 135,
	INTERCEPT_WBINVD	= 137,	/* and WBNOINVD */
	INTERCEPT_MONITOR	= 138,
	INTERCEPT_MWAIT		= 139,
	INTERCEPT_XSETBV	= 141,
	INTERCEPT_RDPRU		= 142,
};

/* tlb_control */
#define TLB_CONTROL_KEEP		0
#define TLB_CONTROL_FLUSH_ALL		1	/* all ASIDs */
#define TLB_CONTROL_FLUSH_ASID		3	/* this one, with CPUID's FlushByAsid */

/* int_ctl */
#define V_TPR			GENMASK(3, 0)
#define V_IRQ			BIT(8)
#define V_IGN_TPR		BIT(20)
#define V_INTR_MASKING		BIT(24)

/* int_state */
#define INTERRUPT_SHADOW	BIT(0)

/* nested_ctl */
#define NP_ENABLE		BIT(0)

/* event_inj and exit_int_info: vector, type, error code valid, valid */
#define EVENTINJ_VECTOR		GENMASK(7, 0)
#define EVENTINJ_TYPE		GENMASK(10, 8)
#define EVENTINJ_TYPE_INTR		(0 << 8)
#define EVENTINJ_TYPE_NMI		(2 << 8)
#define EVENTINJ_TYPE_EXCEPTION	(3 << 8)
#define EVENTINJ_TYPE_SOFT_INT	(4 << 8)
#define EVENTINJ_HAS_ERROR		BIT(11)
#define EVENTINJ_VALID		BIT(31)

/*
 * Clean bits (15.15.3): one that is set allows the CPU to use the fields it stands for from its
 * cache. It is cleared with each change of a field.
 */
#define CLEAN_INTERCEPTS	BIT(0)	/* and TSC offset, pause filter */
#define CLEAN_PERMISSIONS	BIT(1)	/* IOPM and MSRPM addresses */
#define CLEAN_ASID		BIT(2)
#define CLEAN_TPR		BIT(3)	/* int_ctl, int_vector */
#define CLEAN_NP		BIT(4)	/* nested CR3, gPAT */
#define CLEAN_CRX		BIT(5)	/* CR0, CR3, CR4, EFER */
#define CLEAN_DRX		BIT(6)	/* DR6, DR7 */
#define CLEAN_DT		BIT(7)	/* GDTR, IDTR */
#define CLEAN_SEG		BIT(8)	/* CS, DS, SS, ES, CPL */
#define CLEAN_CR2		BIT(9)
#define CLEAN_ALL		GENMASK(9, 0)

struct vmcb_control {
	u32 intercepts[5];
	u8 reserved_014[0x3c - 0x14];
	u16 pause_filter_threshold;
	u16 pause_filter_count;
	u64 iopm_pa;
	u64 msrpm_pa;
	u64 tsc_offset;
	u32 asid;
	u8 tlb_control;
	u8 reserved_05d[3];
	u32 int_ctl;
	u32 int_vector;
	u64 int_state;
	u64 exit_code;
	u64 exit_info_1;
	u64 exit_info_2;
	u32 exit_int_info;
	u32 exit_int_error;
	u64 nested_ctl;
	u64 reserved_098[2];
	u32 event_inj;
	u32 event_inj_error;
	u64 nested_cr3;
	u64 virt_ext;
	u32 clean;
	u32 reserved_0c4;
	u64 next_rip;
	u8 insn_len;
	u8 insn[15];
	u8 reserved_0e0[0x400 - 0xe0];
};

struct vmcb_seg {
	u16 selector;
	u16 attr;		/* the format of struct cpu_segment */
	u32 limit;
	u64 base;
};

/* VMLOAD and VMSAVE move FS, GS, TR, LDTR and the MSRs from star on, but gPAT and behind. */
struct vmcb_save {
	struct vmcb_seg es;
	struct vmcb_seg cs;
	struct vmcb_seg ss;
	struct vmcb_seg ds;
	struct vmcb_seg fs;
	struct vmcb_seg gs;
	struct vmcb_seg gdtr;
	struct vmcb_seg ldtr;
	struct vmcb_seg idtr;
	struct vmcb_seg tr;
	u8 reserved_0a0[0xcb - 0xa0];
	u8 cpl;
	u32 reserved_0cc;
	u64 efer;
	u8 reserved_0d8[0x148 - 0xd8];
	u64 cr4;
	u64 cr3;
	u64 cr0;
	u64 dr7;
	u64 dr6;
	u64 rflags;
	u64 rip;
	u8 reserved_180[0x1d8 - 0x180];
	u64 rsp;
	u64 reserved_1e0[3];
	u64 rax;
	u64 star;
	u64 lstar;
	u64 cstar;
	u64 sfmask;
	u64 kernel_gs_base;
	u64 sysenter_cs;
	u64 sysenter_esp;
	u64 sysenter_eip;
	u64 cr2;
	u8 reserved_248[0x268 - 0x248];
	u64 g_pat;
	u64 reserved_270[5];
	u8 reserved_298[0x2e0 - 0x298];
	u64 spec_ctrl;
};

struct vmcb {
	struct vmcb_control control;
	struct vmcb_save save;
};

static_assert(offsetof(struct vmcb_control, pause_filter_threshold) == 0x3c);
static_assert(offsetof(struct vmcb_control, asid) == 0x58);
static_assert(offsetof(struct vmcb_control, exit_code) == 0x70);
static_assert(offsetof(struct vmcb_control, nested_ctl) == 0x90);
static_assert(offsetof(struct vmcb_control, event_inj) == 0xa8);
static_assert(offsetof(struct vmcb_control, clean) == 0xc0);
static_assert(offsetof(struct vmcb_control, next_rip) == 0xc8);
static_assert(offsetof(struct vmcb, save) == 0x400);
static_assert(offsetof(struct vmcb_save, cpl) == 0xcb);
static_assert(offsetof(struct vmcb_save, efer) == 0xd0);
static_assert(offsetof(struct vmcb_save, cr4) == 0x148);
static_assert(offsetof(struct vmcb_save, rip) == 0x178);
static_assert(offsetof(struct vmcb_save, rsp) == 0x1d8);
static_assert(offsetof(struct vmcb_save, rax) == 0x1f8);
static_assert(offsetof(struct vmcb_save, cr2) == 0x240);
static_assert(offsetof(struct vmcb_save, g_pat) == 0x268);
static_assert(offsetof(struct vmcb_save, spec_ctrl) == 0x2e0);

/* A field under @clean has changed */
static inline void vmcb_dirty(struct vmcb *vmcb, u32 clean)
{
	vmcb->control.clean &= ~clean;
}

/*
 * Has VMRUN refused it? The exit code is all ones then, but emulators differ in how many of its 64
 * bits they write.
 */
static inline bool vmcb_refused(const struct vmcb *vmcb)
{
	return (u32)vmcb->control.exit_code == U32_MAX;
}

static inline bool vmcb_intercepts(const struct vmcb *vmcb, int intercept)
{
	return vmcb->control.intercepts[intercept / 32] & BIT(intercept % 32);
}

static inline void vmcb_set_intercept(struct vmcb *vmcb, int intercept, bool on)
{
	u32 *word = &vmcb->control.intercepts[intercept / 32];
	u32 value = on ? *word | BIT(intercept % 32) : *word & ~BIT(intercept % 32);

	if (*word != value) {
		*word = value;
		vmcb_dirty(vmcb, CLEAN_INTERCEPTS);
	}
}

#endif
