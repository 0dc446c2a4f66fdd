// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an exit means, in the core's words (appendix C of the SDM's volume 3 has the reasons, 28.2.1
 * the qualifications).
 */
#include <linux/kernel.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>
#include <uapi/asm/debugreg.h>
#include <uapi/asm/vmx.h>

#include "hw.h"
#include "tdp.h"
#include "vmx/exit.h"
#include "vmx/vmx.h"
#include "x86/x86.h"

/* Qualification of CR accesses (table 28-3) */
#define CR_NR			GENMASK(3, 0)
#define CR_TYPE(q)		(((q) >> 4) & 3)
#define CR_GPR(q)		(((q) >> 8) & 0xf)

/* Of EPT violations (table 28-7): the exit is from an IRET that had ended the blocking of NMIs */
#define EPT_NMI_UNBLOCKED	BIT(12)

#define EXIT_REASON_GETSEC	11
/* No control says that these leave, and no guest is offered them; not in all kernels' headers */
#define EXIT_BY_SEAMCALL		76
#define EXIT_BY_TDCALL			77
#define EXIT_BY_RDMSR_IMMEDIATE		84
#define EXIT_BY_WRMSRNS_IMMEDIATE	85

/* B0-B3, BD, BS: in a qualification and in DR6 alike */
#define DR6_CONDITIONS		(DR_TRAP_BITS | BIT(13) | DR_STEP)
/* Of pending debug exceptions: one of B0-B3 is of a breakpoint that is enabled */
#define PENDING_ENABLED		BIT(12)

static void read_cr(struct vcpu *vcpu)
{
	static const u8 ops[] = { CR_OP_WRITE, CR_OP_READ, CR_OP_CLTS, CR_OP_LMSW };
	u64 qualification = read_qualification(vcpu);

	read_instruction(vcpu, EXIT_CR);
	vcpu->exit.cr.nr = qualification & CR_NR;
	vcpu->exit.cr.op = ops[CR_TYPE(qualification)];
	vcpu->exit.cr.gpr = CR_GPR(qualification);
	vcpu->exit.cr.msw = qualification >> LMSW_SOURCE_DATA_SHIFT;
}

static void read_dr(struct vcpu *vcpu)
{
	u64 qualification = read_qualification(vcpu);

	read_instruction(vcpu, EXIT_DR);
	vcpu->exit.cr.nr = qualification & DEBUG_REG_ACCESS_NUM;
	vcpu->exit.cr.op = qualification & TYPE_MOV_FROM_DR ? CR_OP_READ : CR_OP_WRITE;
	vcpu->exit.cr.gpr = DEBUG_REG_ACCESS_REG(qualification);
}

/* IRET had ended the blocking of NMIs when it faulted: it will do so again (28.2.3). */
static void block_nmis_again(struct vcpu *vcpu)
{
	vcpu->events.nmi_blocked = 1;
}

static void read_ept_violation(struct vcpu *vcpu)
{
	u64 qualification = read_qualification(vcpu);
	struct vcpu_exit *exit = &vcpu->exit;

	exit->reason = EXIT_TDP_FAULT;
	exit->fault.gpa = vmread(GUEST_PHYSICAL_ADDRESS);
	exit->hw_info2 = exit->fault.gpa;
	exit->fault.error = 0;
	exit->fault.insn_len = 0;
	exit->fault.flags = 0;
	if (unlikely(vcpu->tdp->restricted) && (qualification & EPT_VIOLATION_GVA_IS_VALID)) {
		exit->fault.flags = FAULT_GVA;
		exit->fault.gva = vmread(GUEST_LINEAR_ADDRESS);
	}
	/*
	 * Nothing is pending after this kind of exit (28.3.4), but an emulated CPU may have begun
	 * the instruction's single-step trap.
	 */
	if (unlikely(vcpu->regs.rflags & X86_EFLAGS_TF) && !vcpu->events.shadow)
		vmcs_set(to_vmx(vcpu), VMCS_PENDING_DEBUG, 0);
	if ((qualification & EPT_NMI_UNBLOCKED) && !vcpu->events.interrupted.type)
		block_nmis_again(vcpu);
	if ((qualification & EPT_VIOLATION_GVA_IS_VALID) &&
	    !(qualification & EPT_VIOLATION_GVA_TRANSLATED)) {
		/*
		 * A walk may write its accessed and dirty bits to each table that it reads, which
		 * saves another fault for that. A view has to know: with EPT's accessed and dirty
		 * bits reads count as writes (29.3.5), else the CPU tells them apart.
		 */
		exit->fault.access = ACCESS_READ | ACCESS_USER;
		if (!vcpu->tdp->restricted || (qualification & EPT_VIOLATION_ACC_WRITE))
			exit->fault.access |= ACCESS_WRITE;
		exit->fault.flags |= FAULT_WALK;
		return;
	}
	if (qualification & EPT_VIOLATION_ACC_INSTR) {
		exit->fault.access = ACCESS_EXEC;
		return;
	}
	exit->fault.access = qualification & EPT_VIOLATION_ACC_WRITE ? ACCESS_WRITE : ACCESS_READ;
	if (vmx_keep_mode(vcpu).cpl == 3)
		exit->fault.access |= ACCESS_USER;
}

/*
 * One without any of the guest's conditions is the host's: its bus lock detection works in guests
 * too.
 */
static void read_debug(struct vcpu *vcpu)
{
	u64 conditions = read_qualification(vcpu) & DR6_CONDITIONS;

	if (conditions)
		vcpu_leave_by_exception(vcpu, X86_TRAP_DB, false, 0, conditions);
	else
		set_reason(vcpu, EXIT_RESUME);
}

/* Alignment checks at CPL 3 are the guest's; any other #AC is the host's split-lock detection. */
static void read_alignment_check(struct vcpu *vcpu, u32 error)
{
	bool checked = vmx_get_mode(vcpu).cpl == 3 && (vcpu->cr0 & X86_CR0_AM) &&
		       (vcpu->regs.rflags & X86_EFLAGS_AC);

	if (checked || !boot_cpu_has(X86_FEATURE_SPLIT_LOCK_DETECT)) {
		vcpu_leave_by_exception(vcpu, X86_TRAP_AC, true, error, 0);
		return;
	}
	vmx_allow_split_locks(to_vmx(vcpu));
	set_reason(vcpu, EXIT_RESUME);
}

/* ICEBP: a trap, but the exit comes before it. It sets none of DR6's conditions. */
static void read_privileged_debug(struct vcpu *vcpu)
{
	read_length(vcpu);
	vcpu->regs.rip = vcpu->exit.next_rip;
	vcpu->events.shadow = 0;
	vcpu_leave_by_exception(vcpu, X86_TRAP_DB, false, 0, 0);
}

static void read_exception_or_nmi(struct vcpu *vcpu)
{
	u32 info = vmread(VM_EXIT_INTR_INFO);
	u8 vector = info & INTR_INFO_VECTOR_MASK;
	u32 error = 0;

	vcpu->exit.hw_info2 = info;
	switch (info & INTR_INFO_INTR_TYPE_MASK) {
	case INTR_TYPE_NMI_INTR:
		to_vmx(vcpu)->host_event = X86_TRAP_NMI;
		set_reason(vcpu, EXIT_HOST);
		return;
	case INTR_TYPE_PRIV_SW_EXCEPTION:
		read_privileged_debug(vcpu);
		return;
	}
	if ((info & INTR_INFO_UNBLOCK_NMI) && vector != X86_TRAP_DF &&
	    !vcpu->events.interrupted.type)
		block_nmis_again(vcpu);
	if (info & INTR_INFO_DELIVER_CODE_MASK)
		error = vmread(VM_EXIT_INTR_ERROR_CODE);

	switch (vector) {
	case X86_TRAP_DB:
		read_debug(vcpu);
		break;
	case X86_TRAP_AC:
		read_alignment_check(vcpu, error);
		break;
	case X86_TRAP_MC:
		/* It happened to the host. */
		to_vmx(vcpu)->host_event = X86_TRAP_MC;
		set_reason(vcpu, EXIT_HOST);
		break;
	default:
		vcpu_leave_by_exception(vcpu, vector, info & INTR_INFO_DELIVER_CODE_MASK, error,
					vector == X86_TRAP_PF ? read_qualification(vcpu) : 0);
		break;
	}
}

/* Is the access that an EPT violation broke off one to the gate of @vector? */
static bool reads_gate(struct vcpu *vcpu, u8 vector)
{
	u64 size = vcpu->efer & EFER_LMA ? 16 : vcpu->cr0 & X86_CR0_PE ? 8 : 4;
	u64 gate = vmcs_get(vcpu, VMCS_IDTR_BASE) + vector * size;

	return (u16)vcpu->exit.hw_reason == EXIT_REASON_EPT_VIOLATION &&
	       (vmread(EXIT_QUALIFICATION) & EPT_VIOLATION_GVA_IS_VALID) &&
	       vmread(GUEST_LINEAR_ADDRESS) - gate < size;
}

/*
 * Was it the delivery of a virtual interrupt that the exit broke off? SVI is its vector then. A
 * processor says so: it tells of an interrupt, and those that no entry has injected leave the
 * guest. An emulated one tells of the event before, of whatever type. So it is one as well where
 * the exit is from SVI's gate; and where the entry found this vector in RVI, and the guest has not
 * got any further.
 */
static bool is_virtual_interrupt(struct vcpu *vcpu, u32 info, u8 svi)
{
	u32 type = info & VECTORING_INFO_TYPE_MASK;
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	bool at_once = vmx->status_entry == vcpu->stats.entries &&
		       vmx->status_rip == vcpu->regs.rip && (u8)vmx->interrupt_status == svi &&
		       vmx->interrupt_status >> 8 != svi;

	/* INT n may have SVI's gate as well. */
	if (svi && svi != (info & VECTORING_INFO_VECTOR_MASK) &&
	    (vcpu->regs.rflags & X86_EFLAGS_IF) && (at_once || reads_gate(vcpu, svi)))
		return true;
	return (type == INTR_TYPE_EXT_INTR || type == INTR_TYPE_NMI_INTR) &&
	       !(vmx->event && (vmx->event & INTR_INFO_INTR_TYPE_MASK) == type);
}

/*
 * An event whose delivery this exit broke off (28.2.4); only some kinds of exits can. Software
 * interrupts and exceptions are executed again, unless we injected them: RIP is still theirs.
 */
static void read_interrupted(struct vcpu *vcpu)
{
	u32 info = vmread(IDT_VECTORING_INFO_FIELD);
	struct cpu_event *event = &vcpu->events.interrupted;
	u8 vector = info & VECTORING_INFO_VECTOR_MASK;
	u8 svi;

	if (likely(!(info & VECTORING_INFO_VALID_MASK)))
		return;
	if (vmx_uses_apicv(vcpu)) {
		svi = vmread(GUEST_INTR_STATUS) >> 8;
		if (is_virtual_interrupt(vcpu, info, svi)) {
			*event = (struct cpu_event){ .type = EVENT_INTERRUPT, .vector = svi };
			return;
		}
	}
	switch (info & VECTORING_INFO_TYPE_MASK) {
	case INTR_TYPE_EXT_INTR:
		*event = (struct cpu_event){ .type = EVENT_INTERRUPT, .vector = vector };
		break;
	case INTR_TYPE_NMI_INTR:
		*event = (struct cpu_event){ .type = EVENT_NMI, .vector = X86_TRAP_NMI };
		break;
	case INTR_TYPE_HARD_EXCEPTION:
		*event = (struct cpu_event){
			.type = EVENT_EXCEPTION,
			.vector = vector,
			.has_error = !!(info & VECTORING_INFO_DELIVER_CODE_MASK),
		};
		if (event->has_error)
			event->error = vmread(IDT_VECTORING_ERROR_CODE);
		break;
	default:
		if (hw_caps.steps_by_tf && vcpu->stepping && to_vmx(vcpu)->step_delivers)
			*event = to_vmx(vcpu)->injected;
		break;
	}
}

/*
 * Behind an instruction or the delivery of an event (26.5.2). The traps of that instruction are
 * pending still (28.3.4), where MOV SS does not hold them back until the next: they become an
 * exception, which the vCPU's state can tell of.
 */
static void read_step(struct vcpu *vcpu)
{
	u64 conditions = 0;

	if (vcpu->events.shadow != SHADOW_MOV_SS) {
		conditions = vmcs_get(vcpu, VMCS_PENDING_DEBUG);
		/* Breakpoints that DR7 does not enable are among them (25.4.2). */
		conditions &= conditions & (PENDING_ENABLED | DR_STEP) ? DR6_CONDITIONS : 0;
		vmcs_set(to_vmx(vcpu), VMCS_PENDING_DEBUG, 0);
	}
	set_reason(vcpu, EXIT_STEP);
	vcpu->exit.step.conditions = conditions;
	vcpu->exit.step.stored_tf = false;
}

/* The processor has done its part, and RIP is behind the instruction (30.1.4, 30.1.5, 30.4.3.2). */
static void read_lapic(struct vcpu *vcpu, u32 offset, u32 value)
{
	set_reason(vcpu, EXIT_LAPIC);
	vcpu->exit.next_rip = vcpu->regs.rip;
	vcpu->exit.lapic.offset = offset;
	vcpu->exit.lapic.value = value;
}

static void read_apic_write(struct vcpu *vcpu)
{
	u32 offset = read_qualification(vcpu) & ~PAGE_MASK & ~0xf;

	read_lapic(vcpu, offset, vcpu->lapic_page[offset / 4]);
}

/* The log has been emptied; the write is to be tried again. */
static void read_log_full(struct vcpu *vcpu)
{
	read_interrupted(vcpu);
	if ((read_qualification(vcpu) & EPT_NMI_UNBLOCKED) && !vcpu->events.interrupted.type)
		block_nmis_again(vcpu);
	set_reason(vcpu, EXIT_RESUME);
}

/* The interrupt window may stand in for that of NMIs: see vmx_prepare_windows(). */
static void read_window(struct vcpu *vcpu)
{
	bool nmi = !(to_vmx(vcpu)->window & HW_WINDOW_INTERRUPT);

	set_reason(vcpu, nmi ? EXIT_NMI_WINDOW : EXIT_INTERRUPT_WINDOW);
}

/* vmx_read_exit() of what comes less often */
void vmx_read_other_exit(struct vcpu *vcpu, u32 reason)
{
	vcpu->exit.next_rip = 0;

	switch ((u16)reason) {
	case EXIT_REASON_EPT_VIOLATION:
		read_interrupted(vcpu);
		return read_ept_violation(vcpu);
	case EXIT_REASON_PML_FULL:
		return read_log_full(vcpu);
	case EXIT_REASON_MSR_READ:
		return read_msr(vcpu, false);
	case EXIT_REASON_HLT:
		return read_instruction(vcpu, EXIT_HLT);
	case EXIT_REASON_EXTERNAL_INTERRUPT:
	case EXIT_REASON_PREEMPTION_TIMER:
	case EXIT_REASON_INIT_SIGNAL:
		return set_reason(vcpu, EXIT_HOST);
	case EXIT_REASON_EXCEPTION_NMI:
		read_interrupted(vcpu);
		return read_exception_or_nmi(vcpu);
	case EXIT_REASON_INTERRUPT_WINDOW:
		return read_window(vcpu);
	case EXIT_REASON_NMI_WINDOW:
		return set_reason(vcpu, EXIT_NMI_WINDOW);
	case EXIT_REASON_MONITOR_TRAP_FLAG:
		return read_step(vcpu);
	case EXIT_REASON_CR_ACCESS:
		return read_cr(vcpu);
	case EXIT_REASON_DR_ACCESS:
		return read_dr(vcpu);
	case EXIT_REASON_VMCALL:
		return read_instruction(vcpu, EXIT_HYPERCALL);
	case EXIT_REASON_PAUSE_INSTRUCTION:
		return read_instruction(vcpu, EXIT_PAUSE);
	case EXIT_REASON_XSETBV:
		return read_instruction(vcpu, EXIT_XSETBV);
	case EXIT_REASON_INVD:
	case EXIT_REASON_WBINVD:
		return read_instruction(vcpu, EXIT_CACHE);
	case EXIT_REASON_TPR_BELOW_THRESHOLD:
		return set_reason(vcpu, EXIT_TPR);
	case EXIT_REASON_EOI_INDUCED:
		return read_lapic(vcpu, APIC_EOI, read_qualification(vcpu));
	case EXIT_REASON_APIC_WRITE:
		return read_apic_write(vcpu);
	case EXIT_REASON_TASK_SWITCH:
		read_qualification(vcpu);
		read_interrupted(vcpu);
		return set_reason(vcpu, EXIT_TASK_SWITCH);
	case EXIT_REASON_TRIPLE_FAULT:
		return set_reason(vcpu, EXIT_SHUTDOWN);
	case EXIT_REASON_RDPMC:
		/* No counters, so no valid number of one */
		return vcpu_leave_by_exception(vcpu, X86_TRAP_GP, true, 0, 0);
	case EXIT_REASON_GETSEC:
	case EXIT_REASON_ENCLS:
	case EXIT_REASON_VMCLEAR:
	case EXIT_REASON_VMLAUNCH:
	case EXIT_REASON_VMPTRLD:
	case EXIT_REASON_VMPTRST:
	case EXIT_REASON_VMREAD:
	case EXIT_REASON_VMRESUME:
	case EXIT_REASON_VMWRITE:
	case EXIT_REASON_VMOFF:
	case EXIT_REASON_VMON:
	case EXIT_REASON_INVEPT:
	case EXIT_REASON_INVVPID:
	case EXIT_REASON_VMFUNC:
	case EXIT_REASON_MONITOR_INSTRUCTION:
	case EXIT_REASON_MWAIT_INSTRUCTION:
	case EXIT_BY_SEAMCALL:
	case EXIT_BY_TDCALL:
	case EXIT_BY_RDMSR_IMMEDIATE:
	case EXIT_BY_WRMSRNS_IMMEDIATE:
		return set_reason(vcpu, EXIT_UNDEFINED);
	case EXIT_REASON_EPT_MISCONFIG:
		/* An entry that the CPU does not understand: only we write them. */
		WARN_ON_ONCE(1);
		vcpu->exit.hw_info2 = vmread(GUEST_PHYSICAL_ADDRESS);
		return set_reason(vcpu, EXIT_INTERNAL);
	default:
		read_qualification(vcpu);
		return set_reason(vcpu, EXIT_INTERNAL);
	}
}
