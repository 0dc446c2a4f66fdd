// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an exit means, in the core's words (appendix C of the APM's volume 2 has
 * the codes), and what is wrong with a VMCB that VMRUN refuses.
 */
#include <linux/kernel.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>
#include <uapi/asm/debugreg.h>
#include <uapi/asm/svm.h>

#include "compat.h"
#include "hw.h"
#include "svm/svm.h"
#include "x86/x86.h"

/* EXITINFO1 of CR and DR accesses, with decode assists (15.33.1) */
#define CR_INFO_MOV		BIT_ULL(63)
#define CR_INFO_GPR		0xf

/* EXITINFO1 of port accesses (15.10.2) */
#define IO_INFO_IN		BIT(0)
#define IO_INFO_STRING		BIT(2)
#define IO_INFO_SIZE(info)	(((info) >> 4) & 7)	/* 1, 2, 4 */

/* EXITINFO1 of nested page faults (15.25.6) */
#define NPF_WRITE		BIT_ULL(1)
#define NPF_FETCH		BIT_ULL(4)
#define NPF_TABLE		BIT_ULL(33)		/* in the walk of the guest's own tables */

/* B0-B3, BD, BS, BT */
#define DR6_CONDITIONS		(DR_TRAP_BITS | BIT(13) | DR_STEP | DR_SWITCH)

/* ---- Single kinds of exits ---- */

static void read_io(struct vcpu *vcpu)
{
	struct vmcb_control *control = &to_svm(vcpu)->vmcb->control;
	struct exit_io *io = &vcpu->exit.io;
	u32 info = control->exit_info_1;

	vcpu->exit.reason = EXIT_IO;
	io->port = info >> 16;
	io->size = IO_INFO_SIZE(info);
	io->in = info & IO_INFO_IN;
	io->string = info & IO_INFO_STRING;
	io->rep = false;
	io->address_size = 0;
	io->segment = 0;
	/* Where a string lies is for the decoder to say, with and without assists. */
	vcpu->exit.next_rip = io->string ? 0 : control->exit_info_2;
}

static void read_msr(struct vcpu *vcpu)
{
	struct vmcb_control *control = &to_svm(vcpu)->vmcb->control;

	vcpu->exit.reason = EXIT_MSR;
	vcpu->exit.msr.index = vcpu->regs.gpr[CPU_RCX];
	vcpu->exit.msr.write = control->exit_info_1 & 1;
	vcpu->exit.msr.unknown = false;
}

static void read_cr(struct vcpu *vcpu, u32 code)
{
	struct vmcb_control *control = &to_svm(vcpu)->vmcb->control;
	struct vcpu_exit *exit = &vcpu->exit;

	exit->reason = EXIT_CR;
	exit->cr.nr = code & 0xf;
	/* Otherwise CLTS, LMSW, SMSW */
	if (svm_features.decode_assists && (control->exit_info_1 & CR_INFO_MOV)) {
		exit->cr.op = code < SVM_EXIT_WRITE_CR0 ? CR_OP_READ : CR_OP_WRITE;
		exit->cr.gpr = control->exit_info_1 & CR_INFO_GPR;
	} else {
		exit->next_rip = 0;
	}
}

static void read_dr(struct vcpu *vcpu, u32 code)
{
	struct vmcb_control *control = &to_svm(vcpu)->vmcb->control;
	struct vcpu_exit *exit = &vcpu->exit;

	exit->reason = EXIT_DR;
	exit->cr.nr = code & 0xf;
	if (svm_features.decode_assists) {
		exit->cr.op = code < SVM_EXIT_WRITE_DR0 ? CR_OP_READ : CR_OP_WRITE;
		exit->cr.gpr = control->exit_info_1 & CR_INFO_GPR;
	} else {
		exit->next_rip = 0;
	}
}

static void read_npf(struct vcpu *vcpu)
{
	struct vmcb *vmcb = to_svm(vcpu)->vmcb;
	struct vmcb_control *control = &vmcb->control;
	struct vcpu_exit *exit = &vcpu->exit;
	u64 error = control->exit_info_1;

	exit->reason = EXIT_TDP_FAULT;
	exit->fault.gpa = control->exit_info_2;
	exit->fault.error = 0;
	exit->fault.insn_len = 0;
	exit->fault.flags = 0;
	if (error & NPF_TABLE) {
		exit->fault.flags = FAULT_WALK;
		/* Accessed and dirty bits: a walk may write each table that it reads. */
		exit->fault.access = ACCESS_READ | ACCESS_WRITE | ACCESS_USER;
		return;
	}
	if (error & NPF_FETCH) {
		exit->fault.access = ACCESS_EXEC;
		return;
	}
	exit->fault.access = error & NPF_WRITE ? ACCESS_WRITE : ACCESS_READ;
	if (vmcb->save.cpl == 3)
		exit->fault.access |= ACCESS_USER;
	if (svm_features.decode_assists) {
		exit->fault.insn_len = min_t(u8, control->insn_len & 0xf,
					     sizeof(exit->fault.insn));
		memcpy(exit->fault.insn, control->insn, exit->fault.insn_len);
	}
}

/* Type of breakpoint @nr in DR7: 0 is instruction fetch */
#define DR7_TYPE(dr7, nr)	(((dr7) >> (DR_CONTROL_SHIFT + (nr) * DR_CONTROL_SIZE)) & 3)

/* An instruction breakpoint is a fault: whoever goes on at RIP must not hit it again (13.1.1.3). */
static bool is_fetch_breakpoint(u64 conditions, u64 dr7)
{
	int nr;

	for (nr = 0; nr < 4; nr++)
		if ((conditions & BIT(nr)) && !DR7_TYPE(dr7, nr))
			return true;
	return false;
}

/*
 * DR6 in the VMCB is DR6_INIT before each entry (all of the guest's own accesses leave), so
 * what is different now are the conditions of this very #DB. One that has none of ours is the
 * host's: its bus lock detection works in guests too.
 */
static void read_debug(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 conditions = (svm->vmcb->save.dr6 ^ DR6_INIT) & DR6_CONDITIONS;

	svm->vmcb->save.dr6 = DR6_INIT;
	vmcb_dirty(svm->vmcb, CLEAN_DRX);
	svm->dr6_loaded = true;
	if (is_fetch_breakpoint(conditions, svm->vmcb->save.dr7))
		vcpu->regs.rflags |= X86_EFLAGS_RF;
	if (conditions)
		vcpu_leave_by_exception(vcpu, X86_TRAP_DB, false, 0, conditions);
	else
		vcpu->exit.reason = EXIT_RESUME;
}

/* 8, 10-14, 17, 21, 29, 30 push an error code (8.2). */
#define HAS_ERROR_CODE	(BIT(8) | GENMASK(14, 10) | BIT(17) | BIT(21) | BIT(29) | BIT(30))

static void read_intercepted_exception(struct vcpu *vcpu, u8 vector)
{
	struct vmcb_control *control = &to_svm(vcpu)->vmcb->control;

	switch (vector) {
	case X86_TRAP_DB:
		read_debug(vcpu);
		break;
	case X86_TRAP_MC:
		/* The host's handler looks at the banks. */
		compat_machine_check();
		vcpu->exit.reason = EXIT_HOST;
		break;
	default:
		vcpu_leave_by_exception(vcpu, vector, HAS_ERROR_CODE & BIT(vector),
					control->exit_info_1,
					vector == X86_TRAP_PF ? control->exit_info_2 : 0);
		break;
	}
}

/* The host interrupt may be the one that svm_prepare_step() has asked for. */
static void read_host_interrupt(struct vcpu *vcpu)
{
	bool window = (to_svm(vcpu)->window & HW_WINDOW_NMI) && !vcpu->events.nmi_blocked &&
		      !vcpu->events.shadow && !vcpu->events.interrupted.type;

	vcpu->exit.reason = window ? EXIT_NMI_WINDOW : EXIT_HOST;
}

/* ---- All of them ---- */

/*
 * An event whose delivery this exit broke off (15.7.2). Software interrupts and INT3, INTO are
 * executed again: RIP is still theirs, unless it was we who injected them.
 */
static void read_interrupted(struct vcpu *vcpu, u32 info)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct cpu_event *event = &vcpu->events.interrupted;
	u8 vector = info & EVENTINJ_VECTOR;

	if (svm->step == STEP_DELIVERY && event_is_soft(&svm->injected)) {
		*event = svm->injected;
		return;
	}
	switch (info & EVENTINJ_TYPE) {
	case EVENTINJ_TYPE_INTR:
		*event = (struct cpu_event){ .type = EVENT_INTERRUPT, .vector = vector };
		break;
	case EVENTINJ_TYPE_NMI:
		*event = (struct cpu_event){ .type = EVENT_NMI, .vector = X86_TRAP_NMI };
		break;
	case EVENTINJ_TYPE_EXCEPTION:
		if ((vector == X86_TRAP_BP || vector == X86_TRAP_OF) &&
		    (svm->injected.type != EVENT_EXCEPTION || svm->injected.vector != vector))
			break;
		*event = (struct cpu_event){
			.type = EVENT_EXCEPTION,
			.vector = vector,
			.has_error = !!(info & EVENTINJ_HAS_ERROR),
		};
		if (event->has_error)
			event->error = svm->vmcb->control.exit_int_error;
		break;
	}
}

static void set_reason(struct vcpu *vcpu, enum exit_reason reason)
{
	vcpu->exit.reason = reason;
}

static void translate(struct vcpu *vcpu, u32 code)
{
	switch (code) {
	case SVM_EXIT_INTR:
		return read_host_interrupt(vcpu);
	case SVM_EXIT_NMI:
	case SVM_EXIT_SMI:
	case SVM_EXIT_INIT:
		return set_reason(vcpu, EXIT_HOST);
	case SVM_EXIT_NPF:
		return read_npf(vcpu);
	case SVM_EXIT_IOIO:
		return read_io(vcpu);
	case SVM_EXIT_MSR:
		return read_msr(vcpu);
	case SVM_EXIT_CPUID:
		return set_reason(vcpu, EXIT_CPUID);
	case SVM_EXIT_HLT:
		return set_reason(vcpu, EXIT_HLT);
	case SVM_EXIT_VMMCALL:
		return set_reason(vcpu, EXIT_HYPERCALL);
	case SVM_EXIT_VINTR:
		return set_reason(vcpu, EXIT_INTERRUPT_WINDOW);
	case SVM_EXIT_IRET:
		svm_begin_iret_step(vcpu);
		return set_reason(vcpu, EXIT_RESUME);
	case SVM_EXIT_PAUSE:
		return set_reason(vcpu, EXIT_PAUSE);
	case SVM_EXIT_XSETBV:
		return set_reason(vcpu, EXIT_XSETBV);
	case SVM_EXIT_INVD:
	case SVM_EXIT_WBINVD:
		return set_reason(vcpu, EXIT_CACHE);
	case SVM_EXIT_READ_CR0 ... SVM_EXIT_READ_CR0 + 15:
	case SVM_EXIT_WRITE_CR0 ... SVM_EXIT_WRITE_CR0 + 15:
		return read_cr(vcpu, code);
	case SVM_EXIT_READ_DR0 ... SVM_EXIT_READ_DR7:
	case SVM_EXIT_WRITE_DR0 ... SVM_EXIT_WRITE_DR7:
		return read_dr(vcpu, code);
	case SVM_EXIT_EXCP_BASE ... SVM_EXIT_LAST_EXCP:
		return read_intercepted_exception(vcpu, code - SVM_EXIT_EXCP_BASE);
	case SVM_EXIT_TASK_SWITCH:
		return set_reason(vcpu, EXIT_TASK_SWITCH);
	case SVM_EXIT_SHUTDOWN:
		/* What the CPU has kept of the state is undefined (15.14.3). */
		to_svm(vcpu)->vmcb->control.clean = 0;
		return set_reason(vcpu, EXIT_SHUTDOWN);
	case SVM_EXIT_RDPMC:
		/* No counters, so no valid number of one */
		return vcpu_leave_by_exception(vcpu, X86_TRAP_GP, true, 0, 0);
	case SVM_EXIT_FERR_FREEZE:
		/* There is no FERR# pin that could become an interrupt. */
		return vcpu_leave_by_exception(vcpu, X86_TRAP_MF, false, 0, 0);
	case SVM_EXIT_VMRUN:
	case SVM_EXIT_VMLOAD:
	case SVM_EXIT_VMSAVE:
	case SVM_EXIT_STGI:
	case SVM_EXIT_CLGI:
	case SVM_EXIT_SKINIT:
	case SVM_EXIT_INVLPGA:
	case SVM_EXIT_RSM:
	case SVM_EXIT_RDTSCP:
	case SVM_EXIT_RDPRU:
	case SVM_EXIT_MONITOR:
	case SVM_EXIT_MWAIT:
	case SVM_EXIT_MWAIT_COND:
		return set_reason(vcpu, EXIT_UNDEFINED);
	default:
		return set_reason(vcpu, EXIT_INTERNAL);
	}
}

static void translate_step(struct vcpu *vcpu, u32 code)
{
	translate(vcpu, code);
	svm_end_step(vcpu);
}

/**
 * svm_read_exit - fill vcpu->exit and what else an exit tells
 * @vcpu: in its window; vcpu->regs are the guest's, hw_* are filled in
 */
void svm_read_exit(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control *control = &svm->vmcb->control;

	if (unlikely(svm->step))
		svm_read_step(vcpu);
	vcpu->exit.rip = vcpu->regs.rip;
	vcpu->exit.next_rip = svm_features.next_rip ? control->next_rip : 0;
	/* Behind a shutdown the rest of the VMCB means nothing (15.14.3). */
	if (unlikely(control->exit_int_info & EVENTINJ_VALID) &&
	    control->exit_code != SVM_EXIT_SHUTDOWN)
		read_interrupted(vcpu, control->exit_int_info);
	if (unlikely(svm->step))
		translate_step(vcpu, control->exit_code);
	else if (control->exit_code == SVM_EXIT_IOIO)
		/* First, for the same reason as in vcpu_handle_exit() */
		read_io(vcpu);
	else
		translate(vcpu, control->exit_code);
}

/* ---- Refused entries ---- */

/**
 * svm_explain_invalid - what is wrong with a VMCB that VMRUN refused, in words
 * @vmcb: as it was at the entry
 *
 * The conditions are those of 15.5.1, in its order.
 * Return: a static string.
 */
const char *svm_explain_invalid(const struct vmcb *vmcb)
{
	const struct vmcb_control *control = &vmcb->control;
	const struct vmcb_save *save = &vmcb->save;
	bool long_paging = (save->efer & EFER_LME) && (save->cr0 & X86_CR0_PG);

	if (!(save->efer & EFER_SVME))
		return "EFER.SVME is clear";
	if (!(save->cr0 & X86_CR0_CD) && (save->cr0 & X86_CR0_NW))
		return "CR0.NW is set while CR0.CD is clear";
	if (save->cr0 >> 32)
		return "CR0 bits 63:32 are not zero";
	if ((save->cr0 & X86_CR0_PG) && !(save->cr0 & X86_CR0_PE))
		return "CR0.PG is set while CR0.PE is clear";
	if (save->cr3 >> 52)
		return "CR3 bits 63:52 are not zero";
	if (save->cr4 >> 32)
		return "CR4 bits 63:32 are not zero";
	if (save->dr6 >> 32)
		return "DR6 bits 63:32 are not zero";
	if (save->dr7 >> 32)
		return "DR7 bits 63:32 are not zero";
	if (long_paging && !(save->cr4 & X86_CR4_PAE))
		return "EFER.LME and CR0.PG are set while CR4.PAE is clear";
	if (long_paging && !(save->cr0 & X86_CR0_PE))
		return "EFER.LME and CR0.PG are set while CR0.PE is clear";
	if (long_paging && (save->cs.attr & SEG_L) && (save->cs.attr & SEG_DB))
		return "CS.L and CS.D are both set in long mode";
	if ((save->cr4 & X86_CR4_CET) && !(save->cr0 & X86_CR0_WP))
		return "CR4.CET is set while CR0.WP is clear";
	if (!vmcb_intercepts(vmcb, INTERCEPT_VMRUN))
		return "the VMRUN intercept is clear";
	if (!control->asid)
		return "the ASID is zero";
	if (control->event_inj & EVENTINJ_VALID)
		return "the event to inject is not one the CPU accepts in this state";
	return "CR4, EFER, CR3 or PAT have reserved bits set for this CPU";
}
