/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The AMD backend: a vCPU is a VMCB. Section numbers below are those of the AMD64
 * Architecture Programmer's Manual (APM), volume 2.
 *
 *   svm.c    this host's SVM: is it there, on and off per CPU; load, unload, enter; TLB tags
 *   vmcb.h   the VMCB's layout
 *   vmcb.c   what is in a VMCB: intercepts, registers, events
 *   step.c   single steps, and the NMI window that is made of them
 *   exit.c   an exit code becomes a struct vcpu_exit; what entry failures mean
 *   entry.S  VMRUN
 */
#ifndef VMM_SVM_H
#define VMM_SVM_H

#include <linux/irq_work.h>
#include <linux/types.h>

#include "svm/vmcb.h"
#include "vcpu.h"
#include "x86/spec.h"
#include "x86/tag.h"

/* DR6 without any condition; bits that read as one are set */
#define DR6_INIT		0xffff0ff0u
/* DR7 without any breakpoint: bit 10 reads as one */
#define DR7_INIT		0x400u

/**
 * struct svm_cpu - SVM on one processor
 * @enabled: EFER.SVME is ours
 * @found_hsave: VM_HSAVE_PA as the kernel has left it
 * @found_tsc_ratio: TSC_RATIO likewise
 * @hsave: where VMRUN keeps the host's state; the CPU's alone (15.30.4)
 * @host: save area for VMSAVE: what VMRUN does not keep of the host
 * @host_pa: its physical address
 * @asids: the TLB tags
 * @interrupt: makes the guest exit as soon as the event in its VMCB is delivered
 * @last: for each ASID: who used it last, on what. A debug aid
 *
 * Only its own CPU touches it, with interrupts off.
 */
struct svm_cpu {
	bool enabled;
	u64 found_hsave;
	u64 found_tsc_ratio;
	struct page *hsave;
	struct vmcb *host;
	u64 host_pa;
	struct tag_cpu asids;
	struct irq_work interrupt;
#ifdef VMM_DEBUG
	struct svm_last *last;
#endif
};

#ifdef VMM_DEBUG
/**
 * struct svm_last - what the TLB may hold under an ASID
 * @root: nested root
 * @flush_gen: of that root, at the last flush of this ASID
 */
struct svm_last {
	u64 root;
	u64 flush_gen;
};
#endif

/* What must complete before an NMI can be injected, or is stepped for the core; see step.c */
enum svm_step {
	STEP_NONE,
	STEP_IRET,		/* the IRET that ends the blocking of NMIs */
	STEP_INSN,		/* any other instruction */
	STEP_DELIVERY,		/* of an injected event */
};

/**
 * struct svm_vcpu - a vCPU's VMCB and what belongs to it
 * @vmcb: the VMCB
 * @vmcb_pa: its physical address
 * @msrpm: MSR permission map
 * @cpu: where it was loaded last; NULL before
 * @tag: the VMCB's ASID
 * @proven: the present state has been entered with: the VMCB's save area is good
 * @backup: the save area before the first entry with a state that the VMM has set
 * @guard: SPEC_CTRL and speculation measures
 * @injected: the event in the VMCB's EVENTINJ
 * @window: HW_WINDOW_*
 * @step: what is stepped over
 * @step_rip: the instruction that is stepped over, or whose event is injected
 * @dr6_loaded: a #DB exit has left conditions in the hardware's DR6
 * @debugctl: stored only: without LBR virtualization DEBUGCTL is the host's, also in the guest
 * @tsc_aux: loaded by host_set_user_msr()
 *
 * All are the vCPU's: covered by its mutex.
 */
struct svm_vcpu {
	struct vmcb *vmcb;
	u64 vmcb_pa;
	u32 *msrpm;
	struct svm_cpu *cpu;
	struct tag tag;
	bool proven;
	struct spec_guard guard;
	struct cpu_event injected;
	unsigned int window;
	enum svm_step step;
	u64 step_rip;
	bool dr6_loaded;
	u64 debugctl;
	u64 tsc_aux;
	struct vmcb_save backup;
};

/**
 * struct svm_features - what this host's SVM can do; set by init(), then immutable
 * @nr_asids: numbers below are ASIDs; 0 is the host's
 * @clean: CLEAN_ALL, or 0 without VMCB clean bits
 * @flush_by_asid: TLB_CONTROL can flush one ASID
 * @next_rip: exits carry the next RIP, injected software events take it
 * @decode_assists: register numbers and instruction bytes come with exits
 * @pause_filter: PAUSE exits can come after a number of them
 * @pause_threshold: which begins anew where so much time lies between two
 * @spec_ctrl: the CPU has SPEC_CTRL
 * @v_spec_ctrl: and swaps it by itself
 * @tsc_ratio: the CPU can scale the guest's TSC
 * @tsc_aux_slot: for host_set_user_msr(), or negative: no TSC_AUX
 */
struct svm_features {
	u32 nr_asids;
	u32 clean;
	bool flush_by_asid;
	bool next_rip;
	bool decode_assists;
	bool pause_filter;
	bool pause_threshold;
	bool spec_ctrl;
	bool v_spec_ctrl;
	bool tsc_ratio;
	int tsc_aux_slot;
};

extern struct svm_features svm_features;

static inline struct svm_vcpu *to_svm(const struct vcpu *vcpu)
{
	return vcpu->hw;
}

/* svm.c */
void svm_set_spec_ctrl(struct vcpu *vcpu, u64 data);

/* vmcb.c */
void vmcb_init(struct svm_vcpu *svm, u64 iopm_pa);
void svm_update_exceptions(struct vcpu *vcpu);

void svm_inject(struct vcpu *vcpu, const struct cpu_event *event);
void svm_cancel_inject(struct vcpu *vcpu);
void svm_request_window(struct vcpu *vcpu, unsigned int mask);
void svm_set_tpr_threshold(struct vcpu *vcpu, u8 cr8);
u8 svm_get_cr8(struct vcpu *vcpu);
void svm_set_cr8(struct vcpu *vcpu, u8 cr8);
void svm_get_segment(struct vcpu *vcpu, int index, struct cpu_segment *seg);
void svm_set_segment(struct vcpu *vcpu, int index, const struct cpu_segment *seg);
struct cpu_mode svm_get_mode(struct vcpu *vcpu);
void svm_set_cr0(struct vcpu *vcpu);
void svm_set_cr4(struct vcpu *vcpu);
void svm_set_efer(struct vcpu *vcpu);
u64 svm_get_cr2(struct vcpu *vcpu);
void svm_set_cr2(struct vcpu *vcpu, u64 cr2);
u64 svm_get_cr3(struct vcpu *vcpu);
void svm_set_cr3(struct vcpu *vcpu, u64 cr3);
void svm_set_dr7(struct vcpu *vcpu, u64 dr7);
int svm_get_msr(struct vcpu *vcpu, u32 msr, u64 *data);
int svm_set_msr(struct vcpu *vcpu, u32 msr, u64 data);
void svm_set_tsc_offset(struct vcpu *vcpu);
void svm_set_shadow(struct vcpu *vcpu);
void svm_forget_traps(struct vcpu *vcpu);
void svm_msr_intercept(struct vcpu *vcpu, u32 msr, bool read, bool write);
void svm_update_exits(struct vcpu *vcpu);
void svm_flush_tlb(struct vcpu *vcpu);

/* step.c */
void svm_prepare_step(struct vcpu *vcpu);
void svm_cancel_step(struct vcpu *vcpu);
void svm_begin_iret_step(struct vcpu *vcpu);
void svm_read_step(struct vcpu *vcpu);
void svm_end_step(struct vcpu *vcpu);

/* entry.S */
/**
 * svm_vmrun - enter a guest and leave it again
 * @gprs: the guest's general registers in enum cpu_gpr order; RAX and RSP are in the VMCB
 * @vmcb_pa: physical address of its VMCB
 * @host_pa: where VMSAVE has put the host's state
 *
 * Interrupts are off before and after. In between all but this function's own
 * instructions see GIF clear: no NMI finds the guest's GS base.
 */
asmlinkage void svm_vmrun(u64 *gprs, u64 vmcb_pa, u64 host_pa);

/**
 * svm_vmrun_guarded - the same with speculation measures and SPEC_CTRL
 * @gprs: as above
 * @vmcb_pa: as above
 * @host_pa: as above
 * @guard: what to do
 */
asmlinkage void svm_vmrun_guarded(u64 *gprs, u64 vmcb_pa, u64 host_pa, struct spec_guard *guard);

/* exit.c */
void svm_read_exit(struct vcpu *vcpu);
const char *svm_explain_invalid(const struct vmcb *vmcb);

#endif
