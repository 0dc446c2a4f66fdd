// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is in a VMCB: intercepts, registers, and events on their way into the guest.
 */
#include <linux/bitops.h>
#include <linux/mem_encrypt.h>
#include <linux/string.h>
#include <asm/io.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>
#include <uapi/asm/debugreg.h>

#include "hw.h"
#include "svm/svm.h"
#include "vm.h"
#include "vmm_abi.h"
#include "x86/host.h"
#include "x86/x86.h"

/* A PAUSE exit comes after this many in a row that are at most so many cycles apart. */
#define PAUSE_COUNT		3000
#define PAUSE_THRESHOLD		128

/* DR0-7, reads and writes */
#define ALL_DEBUG_REGISTERS	0x00ff00ff

/*
 * Exceptions that always leave. An endless series of #DB or #AC inside microcode would take the
 * host CPU with it; #MC is the host's; #UD may be Intel's hypercall instruction.
 */
#define FIXED_EXCEPTIONS	(BIT(X86_TRAP_DB) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_MC) |	\
				 BIT(X86_TRAP_UD))

/* What leaves the guest whatever the VMM wishes */
static const u8 fixed_intercepts[] = {
	/* The host's */
	INTERCEPT_INTR, INTERCEPT_NMI, INTERCEPT_SMI, INTERCEPT_INIT,
	/* Registers that the core keeps; CR2 and CR3 are the guest's own, CR8 is V_TPR */
	INTERCEPT_CR_WRITE + 0, INTERCEPT_CR_WRITE + 4, INTERCEPT_XSETBV,
	/* What the core executes */
	INTERCEPT_CPUID, INTERCEPT_HLT, INTERCEPT_INVD, INTERCEPT_WBINVD, INTERCEPT_IOIO,
	INTERCEPT_MSR, INTERCEPT_VMMCALL, INTERCEPT_TASK_SWITCH, INTERCEPT_SHUTDOWN,
	/* What our guests do not have; VMRUN's is obligatory (15.5.1) */
	INTERCEPT_VMRUN, INTERCEPT_VMLOAD, INTERCEPT_VMSAVE, INTERCEPT_STGI, INTERCEPT_CLGI,
	INTERCEPT_SKINIT, INTERCEPT_INVLPGA, INTERCEPT_RSM, INTERCEPT_MONITOR, INTERCEPT_MWAIT,
	INTERCEPT_RDPMC, INTERCEPT_RDPRU, INTERCEPT_FERR_FREEZE,
};

/**
 * vmcb_init - a VMCB in which only the guest's registers are missing
 * @svm: its pages are there
 * @iopm_pa: physical address of the I/O permission map
 */
void vmcb_init(struct svm_vcpu *svm, u64 iopm_pa)
{
	struct vmcb_control *control = &svm->vmcb->control;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fixed_intercepts); i++)
		vmcb_set_intercept(svm->vmcb, fixed_intercepts[i], true);
	control->intercepts[INTERCEPT_DR_READ / 32] = ALL_DEBUG_REGISTERS;
	control->intercepts[INTERCEPT_EXCEPTION / 32] = FIXED_EXCEPTIONS;
	control->iopm_pa = iopm_pa;
	control->msrpm_pa = __sme_pa(svm->msrpm);
	control->int_ctl = V_INTR_MASKING;
	control->nested_ctl = NP_ENABLE;
	if (svm_features.pause_filter)
		control->pause_filter_count = PAUSE_COUNT;
	if (svm_features.pause_threshold)
		control->pause_filter_threshold = PAUSE_THRESHOLD;
	svm->vmcb->save.efer = EFER_SVME;
	svm->vmcb->save.dr6 = DR6_INIT;
	svm->vmcb->save.dr7 = DR7_INIT;
}

/* ---- Events into the guest (15.20) ---- */

/* INT3 and INTO: what injection as an exception treats as those instructions' own */
static bool is_soft_vector(u8 vector)
{
	return vector == X86_TRAP_BP || vector == X86_TRAP_OF;
}

/*
 * Vectors that are no exceptions of AMD's CPUs. EVENTINJ does not take them as such; to a guest it
 * is the same as an interrupt of that vector.
 */
#define RESERVED_VECTORS	(BIT(9) | BIT(15) | BIT(20) | GENMASK(27, 22) | BIT(31))

/*
 * EVENTINJ for an event, or 0. A software interrupt or exception whose delivery was
 * interrupted left RIP at its instruction: it is not injected but executed again,
 * unless the core steps over it.
 */
static u32 event_inj(struct vcpu *vcpu, const struct cpu_event *event)
{
	u32 inj = EVENTINJ_VALID | event->vector;

	switch (event->type) {
	case EVENT_INTERRUPT:
		return inj | EVENTINJ_TYPE_INTR;
	case EVENT_NMI:
		return EVENTINJ_VALID | X86_TRAP_NMI | EVENTINJ_TYPE_NMI;
	case EVENT_EXCEPTION:
		if (RESERVED_VECTORS & BIT(event->vector))
			return inj | EVENTINJ_TYPE_INTR;
		inj |= EVENTINJ_TYPE_EXCEPTION;
		/* Nothing is pushed in real mode. */
		if (event->has_error && (vcpu->cr0 & X86_CR0_PE))
			inj |= EVENTINJ_HAS_ERROR;
		return inj;
	case EVENT_SOFT_INT:
		return vcpu->stepping ? inj | EVENTINJ_TYPE_SOFT_INT : 0;
	case EVENT_SOFT_EXC:
		return vcpu->stepping ? inj | EVENTINJ_TYPE_EXCEPTION : 0;
	default:
		return 0;
	}
}

void svm_inject(struct vcpu *vcpu, const struct cpu_event *event)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control *control = &svm->vmcb->control;

	svm->injected = *event;
	control->event_inj = event_inj(vcpu, event);
	control->event_inj_error = event->error;
	if (event->type == EVENT_NMI) {
		vmcb_set_intercept(svm->vmcb, INTERCEPT_IRET, true);
	} else if (event->type == EVENT_EXCEPTION && is_soft_vector(event->vector)) {
		/* The CPU takes it for INT3 or INTO, and this for the RIP to push. */
		control->next_rip = vcpu->regs.rip;
	}
}

void svm_cancel_inject(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control *control = &svm->vmcb->control;

	if (!(control->event_inj & EVENTINJ_VALID))
		return;
	control->event_inj = 0;
	vcpu->events.interrupted = svm->injected;
}

/*
 * Each write to CR8 leaves while an interrupt waits for a lower one; and while one waits for its
 * window, where no processor needs it: QEMU (7.2) ends itself at a write with V_IRQ set.
 */
static void update_cr8_intercept(struct vcpu *vcpu)
{
	bool waits = vcpu->tpr_threshold || (to_svm(vcpu)->window & HW_WINDOW_INTERRUPT);

	vmcb_set_intercept(to_svm(vcpu)->vmcb, INTERCEPT_CR_WRITE + 8, waits);
}

/*
 * VINTR: a virtual interrupt that is never delivered, as its own intercept comes first, tells when
 * the guest could take one (15.21.4). Its priority does not matter here.
 */
void svm_request_window(struct vcpu *vcpu, unsigned int mask)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control *control = &svm->vmcb->control;

	svm->window = mask;
	vmcb_set_intercept(svm->vmcb, INTERCEPT_VINTR, mask & HW_WINDOW_INTERRUPT);
	control->int_ctl &= ~(V_IRQ | V_IGN_TPR);
	if (mask & HW_WINDOW_INTERRUPT)
		control->int_ctl |= V_IRQ | V_IGN_TPR;
	vmcb_dirty(svm->vmcb, CLEAN_TPR);
	update_cr8_intercept(vcpu);
}

/* @cr8 is vcpu->tpr_threshold already. */
void svm_set_tpr_threshold(struct vcpu *vcpu, u8 cr8)
{
	update_cr8_intercept(vcpu);
}

u8 svm_get_cr8(struct vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->control.int_ctl & V_TPR;
}

void svm_set_cr8(struct vcpu *vcpu, u8 cr8)
{
	struct vmcb *vmcb = to_svm(vcpu)->vmcb;

	if ((vmcb->control.int_ctl & V_TPR) == cr8)
		return;
	vmcb->control.int_ctl = (vmcb->control.int_ctl & ~V_TPR) | cr8;
	vmcb_dirty(vmcb, CLEAN_TPR);
}

void svm_set_shadow(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (vcpu->events.shadow)
		svm->vmcb->control.int_state |= INTERRUPT_SHADOW;
	else
		svm->vmcb->control.int_state &= ~INTERRUPT_SHADOW;
	if (svm->step == STEP_IRET && vcpu->events.nmi_blocked)
		return;
	svm->step = STEP_NONE;
	vmcb_set_intercept(svm->vmcb, INTERCEPT_IRET, vcpu->events.nmi_blocked);
}

/* A VMCB has no place for a trap that waits (appendix B): none outlives the exit. */
void svm_forget_traps(struct vcpu *vcpu)
{
}

/* ---- Intercepts that depend on the VMM's wishes and the CPU it offers ---- */

/**
 * svm_update_exceptions - choose the exceptions that leave
 * @vcpu: window or at rest
 *
 * During a step all faults do. #BP and #OF are not faults, and #DB ends it.
 */
void svm_update_exceptions(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u32 vectors = FIXED_EXCEPTIONS;

	if (svm->step)
		vectors |= ~(BIT(X86_TRAP_BP) | BIT(X86_TRAP_OF) | BIT(X86_TRAP_NMI));
	if (vcpu->exits_wanted & VMM_EXITS_BREAKPOINT)
		vectors |= BIT(X86_TRAP_BP);
	if (svm->vmcb->control.intercepts[INTERCEPT_EXCEPTION / 32] == vectors)
		return;
	svm->vmcb->control.intercepts[INTERCEPT_EXCEPTION / 32] = vectors;
	vmcb_dirty(svm->vmcb, CLEAN_INTERCEPTS);
}

void svm_update_exits(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm_update_exceptions(vcpu);
	/* Without the filter each single PAUSE would leave. */
	vmcb_set_intercept(svm->vmcb, INTERCEPT_PAUSE,
			   (vcpu->exits_wanted & VMM_EXITS_PAUSE) ||
			   (svm_features.pause_filter && vm_has_siblings(vcpu->vm)));
	vmcb_set_intercept(svm->vmcb, INTERCEPT_RDTSCP, !vcpu->features.rdtscp);
}

/* First bit of an MSR in the permission map (15.11), or negative: it always leaves */
static int msrpm_bit(u32 msr)
{
	switch (msr) {
	case 0 ... 0x1fff:
		return 2 * msr;
	case 0xc0000000 ... 0xc0001fff:
		return 0x800 * 8 + 2 * (msr - 0xc0000000);
	case 0xc0010000 ... 0xc0011fff:
		return 0x1000 * 8 + 2 * (msr - 0xc0010000);
	default:
		return -1;
	}
}

/* MSRs that are the host's while the guest runs, or that hold what the guest must not see */
static bool msr_must_exit(u32 msr)
{
	switch (msr) {
	case MSR_EFER:
	case MSR_IA32_DEBUGCTLMSR:
	case MSR_TSC_AUX:
	case MSR_VM_CR:
	case MSR_VM_HSAVE_PA:
		return true;
	case MSR_IA32_SPEC_CTRL:
		return !svm_features.spec_ctrl && !svm_features.v_spec_ctrl;
	default:
		return false;
	}
}

static void assign_msrpm_bit(u32 *msrpm, int bit, bool value)
{
	if (value)
		msrpm[bit / 32] |= BIT(bit % 32);
	else
		msrpm[bit / 32] &= ~BIT(bit % 32);
}

void svm_msr_intercept(struct vcpu *vcpu, u32 msr, bool read, bool write)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	int bit = msrpm_bit(msr);

	if (bit < 0 || msr_must_exit(msr))
		return;
	assign_msrpm_bit(svm->msrpm, bit, read);
	assign_msrpm_bit(svm->msrpm, bit + 1, write);
	vmcb_dirty(svm->vmcb, CLEAN_PERMISSIONS);

	if (msr == MSR_IA32_SPEC_CTRL && !svm_features.v_spec_ctrl) {
		if (write)
			svm->guard.flags &= ~GUARD_READ_SPEC_CTRL;
		else
			svm->guard.flags |= GUARD_READ_SPEC_CTRL;
	}
}

/* ---- Registers ---- */

/*
 * State that the VMM sets is good only once the CPU has accepted it. What the guest does
 * by its own instructions was checked.
 */
static void state_changed(struct vcpu *vcpu, u32 clean)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	vmcb_dirty(svm->vmcb, clean);
	if (!vcpu_in_window(vcpu))
		svm->proven = false;
}

static struct vmcb_seg *vmcb_segment(struct vmcb *vmcb, int index)
{
	struct vmcb_save *save = &vmcb->save;

	switch (index) {
	case CPU_ES:
		return &save->es;
	case CPU_CS:
		return &save->cs;
	case CPU_SS:
		return &save->ss;
	case CPU_DS:
		return &save->ds;
	case CPU_FS:
		return &save->fs;
	case CPU_GS:
		return &save->gs;
	case CPU_LDTR:
		return &save->ldtr;
	case CPU_TR:
		return &save->tr;
	case CPU_GDTR:
		return &save->gdtr;
	default:
		return &save->idtr;
	}
}

#define SEG_DPL_SHIFT	5
#define TSS_BUSY	2

/*
 * The VMCB's attributes have our format, but CPUs leave anything in bits that they do not use. What
 * is shown is what the architecture says: SS has the DPL of CPL, a field of its own (SYSRET may
 * leave another in SS); granularity follows the limit; TR is busy. That bit is of use in memory
 * alone: some CPUs keep it in TR, some never do and want it clear.
 */
void svm_get_segment(struct vcpu *vcpu, int index, struct cpu_segment *seg)
{
	struct vmcb *vmcb = to_svm(vcpu)->vmcb;
	const struct vmcb_seg *from = vmcb_segment(vmcb, index);

	seg->base = from->base;
	seg->limit = from->limit;
	seg->selector = 0;
	seg->attr = 0;
	if (index == CPU_GDTR || index == CPU_IDTR)
		return;

	seg->selector = from->selector;
	seg->attr = from->attr;
	if (index == CPU_SS)
		seg->attr = (seg->attr & ~(3 << SEG_DPL_SHIFT)) | vmcb->save.cpl << SEG_DPL_SHIFT;
	if (!(seg->attr & SEG_P))
		return;
	if (index == CPU_TR)
		seg->attr |= TSS_BUSY;
	if (seg->limit > 0xfffff)
		seg->attr |= SEG_G;
	else if ((seg->limit & 0xfff) != 0xfff)
		seg->attr &= ~SEG_G;
}

void svm_set_segment(struct vcpu *vcpu, int index, const struct cpu_segment *seg)
{
	struct vmcb *vmcb = to_svm(vcpu)->vmcb;
	struct vmcb_seg *to = vmcb_segment(vmcb, index);

	to->selector = seg->selector;
	to->attr = index == CPU_TR ? seg->attr & ~TSS_BUSY : seg->attr;
	to->limit = seg->limit;
	to->base = seg->base;
	if (index == CPU_SS)
		vmcb->save.cpl = SEG_DPL(seg->attr);
	state_changed(vcpu, CLEAN_SEG | CLEAN_DT);
}

struct cpu_mode svm_get_mode(struct vcpu *vcpu)
{
	const struct vmcb_save *save = &to_svm(vcpu)->vmcb->save;
	struct cpu_mode mode = { .cpl = save->cpl };

	if ((vcpu->efer & EFER_LMA) && (save->cs.attr & SEG_L))
		mode.code_size = 8;
	else
		mode.code_size = save->cs.attr & SEG_DB ? 4 : 2;
	return mode;
}

/*
 * CR0.CD would make this CPU's accesses to memory uncached. EPT guests do not feel it, and a VMM
 * that starts a guest from reset values would wonder. So it is hidden from the CPU, and reads
 * leave as long as it is set.
 */
void svm_set_cr0(struct vcpu *vcpu)
{
	struct vmcb *vmcb = to_svm(vcpu)->vmcb;

	vmcb->save.cr0 = vcpu->cr0 & ~(u64)(X86_CR0_CD | X86_CR0_NW);
	vmcb_set_intercept(vmcb, INTERCEPT_CR_READ + 0, vmcb->save.cr0 != vcpu->cr0);
	state_changed(vcpu, CLEAN_CRX);
}

/*
 * A machine check while CR4.MCE is clear is a shutdown (8.2.19), which the host's handler would
 * never hear of. So the CPU has the host's MCE as well, and reads leave as long as it shows.
 */
void svm_set_cr4(struct vcpu *vcpu)
{
	struct vmcb *vmcb = to_svm(vcpu)->vmcb;

	vmcb->save.cr4 = vcpu->cr4 | (__read_cr4() & X86_CR4_MCE);
	vmcb_set_intercept(vmcb, INTERCEPT_CR_READ + 4, vmcb->save.cr4 != vcpu->cr4);
	state_changed(vcpu, CLEAN_CRX);
}

/*
 * LME counts from the moment when the guest turns paging on, which leaves. Before, the guest runs
 * without it: an emulated CPU whose guest has LME but not PAE refuses the host's CR0 at the exit,
 * since it still has the guest's other two registers, and the host is lost.
 */
void svm_set_efer(struct vcpu *vcpu)
{
	u64 efer = vcpu->efer | EFER_SVME;

	if (!(efer & EFER_LMA))
		efer &= ~(u64)EFER_LME;
	to_svm(vcpu)->vmcb->save.efer = efer;
	state_changed(vcpu, CLEAN_CRX);
}

u64 svm_get_cr2(struct vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->save.cr2;
}

void svm_set_cr2(struct vcpu *vcpu, u64 cr2)
{
	struct vmcb *vmcb = to_svm(vcpu)->vmcb;

	vmcb->save.cr2 = cr2;
	vmcb_dirty(vmcb, CLEAN_CR2);
}

u64 svm_get_cr3(struct vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->save.cr3;
}

void svm_set_cr3(struct vcpu *vcpu, u64 cr3)
{
	to_svm(vcpu)->vmcb->save.cr3 = cr3;
	state_changed(vcpu, CLEAN_CRX);
}

void svm_set_dr7(struct vcpu *vcpu, u64 dr7)
{
	to_svm(vcpu)->vmcb->save.dr7 = dr7;
	state_changed(vcpu, CLEAN_DRX);
}

/* MSRs that VMLOAD and VMSAVE move to and from the save area, or NULL */
static u64 *swapped_msr(struct vmcb_save *save, u32 msr)
{
	switch (msr) {
	case MSR_STAR:
		return &save->star;
	case MSR_LSTAR:
		return &save->lstar;
	case MSR_CSTAR:
		return &save->cstar;
	case MSR_SYSCALL_MASK:
		return &save->sfmask;
	case MSR_KERNEL_GS_BASE:
		return &save->kernel_gs_base;
	case MSR_IA32_SYSENTER_CS:
		return &save->sysenter_cs;
	case MSR_IA32_SYSENTER_ESP:
		return &save->sysenter_esp;
	case MSR_IA32_SYSENTER_EIP:
		return &save->sysenter_eip;
	case MSR_IA32_CR_PAT:
		return &save->g_pat;
	default:
		return NULL;
	}
}

int svm_get_msr(struct vcpu *vcpu, u32 msr, u64 *data)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	const u64 *swapped = swapped_msr(&svm->vmcb->save, msr);

	if (swapped) {
		*data = *swapped;
		/*
		 * The CPU takes any value for SYSENTER_ESP and SYSENTER_EIP and uses the low bits
		 * (APM vol. 2 6.1.2). What it uses is what can be set again, here and elsewhere.
		 */
		if (msr == MSR_IA32_SYSENTER_ESP || msr == MSR_IA32_SYSENTER_EIP)
			*data = cpu_sign_extend(*data, state_register_bits());
		return 0;
	}
	switch (msr) {
	case MSR_IA32_DEBUGCTLMSR:
		*data = svm->debugctl;
		return 0;
	case MSR_IA32_SPEC_CTRL:
		*data = svm_features.v_spec_ctrl ? svm->vmcb->save.spec_ctrl :
						   svm->guard.guest_spec_ctrl;
		return 0;
	case MSR_TSC_AUX:
		*data = svm->tsc_aux;
		return 0;
	default:
		return -ENOENT;
	}
}

int svm_set_msr(struct vcpu *vcpu, u32 msr, u64 data)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 *swapped = swapped_msr(&svm->vmcb->save, msr);

	if (swapped) {
		*swapped = data;
		if (msr == MSR_IA32_CR_PAT)
			vmcb_dirty(svm->vmcb, CLEAN_NP);
		return 0;
	}
	switch (msr) {
	case MSR_IA32_DEBUGCTLMSR:
		svm->debugctl = data;
		return 0;
	case MSR_IA32_SPEC_CTRL:
		if (svm_features.v_spec_ctrl)
			svm->vmcb->save.spec_ctrl = data;
		else
			svm_set_spec_ctrl(vcpu, data);
		return 0;
	case MSR_TSC_AUX:
		svm->tsc_aux = data;
		if (vcpu_in_window(vcpu) && svm_features.tsc_aux_slot >= 0)
			host_set_user_msr(svm_features.tsc_aux_slot, data);
		return 0;
	default:
		return -ENOENT;
	}
}

void svm_set_tsc_offset(struct vcpu *vcpu)
{
	struct vmcb *vmcb = to_svm(vcpu)->vmcb;

	vmcb->control.tsc_offset = vcpu->tsc_offset;
	vmcb_dirty(vmcb, CLEAN_INTERCEPTS);
}

void svm_flush_tlb(struct vcpu *vcpu)
{
	to_svm(vcpu)->tag.flush = true;
}
