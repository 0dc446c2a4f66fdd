// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single steps without a monitor trap flag: RFLAGS.TF over an instruction, and a VMX-preemption
 * timer that has expired for the delivery of an event, which ends before the handler's first
 * instruction (27.7.4). What the guest could see of the flag x86/step.c hides.
 */
#include <asm/processor-flags.h>
#include <asm/trapnr.h>
#include <uapi/asm/debugreg.h>

#include "hw.h"
#include "vmx/vmx.h"
#include "x86/x86.h"

/*
 * A fault's frame is pushed by an injection, without our TF. #BP and #OF are none, NMI is the
 * host's.
 */
#define STEP_EXCEPTIONS	(~(u32)(BIT(X86_TRAP_NMI) | BIT(X86_TRAP_BP) | BIT(X86_TRAP_OF)))

/**
 * vmx_prepare_step - before an entry with a guest that is stepped
 * @vcpu: in its window; what is to be injected is in @event
 */
void vmx_prepare_step(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->step_exceptions = vmx->cache.value[VMCS_EXCEPTIONS];
	vmcs_set(vmx, VMCS_EXCEPTIONS, vmx->step_exceptions | STEP_EXCEPTIONS);
	vmx->step_rip = vcpu->regs.rip;
	vmx->step_delivers = vmx->event;
	if (vmx->event) {
		if (event_is_soft(&vmx->injected))
			vmwrite(VM_ENTRY_INSTRUCTION_LEN, vmx->injected.insn_len);
		vmwrite(VMX_PREEMPTION_TIMER_VALUE, 0);
		return;
	}
	vmx->step_if = vcpu->regs.rflags & X86_EFLAGS_IF;
	/*
	 * In a shadow an entry with TF takes the trap of the instruction before. Without it windows
	 * would be open already.
	 */
	vmx->step_shadow = vcpu->events.shadow;
	if (vmx->step_shadow) {
		vcpu->events.shadow = 0;
		vmcs_set_control(vmx, VMCS_PROCESSOR_CONTROLS,
				 CPU_BASED_INTR_WINDOW_EXITING | CPU_BASED_NMI_WINDOW_EXITING,
				 false);
	}
	step_set_tf(vcpu);
}

/* Behind an entry without the shadow, whatever became of it */
static void restore_windows(struct vcpu *vcpu)
{
	if (to_vmx(vcpu)->step_shadow)
		vmx_prepare_windows(vcpu);
}

static void end_delivery(struct vcpu *vcpu)
{
	vmwrite(VMX_PREEMPTION_TIMER_VALUE, vmx_features.timer);
	/* The handler's first instruction is another step. */
	vcpu->step_insn = STEP_INSN_OTHER;
	if (!vcpu->events.interrupted.type)
		step_leave(vcpu, step_conditions(&vcpu->exit));
}

/**
 * vmx_end_step - after an exit of a guest that is stepped: was it the end of the step?
 * @vcpu: registers are stored, vcpu->exit is filled in
 */
void vmx_end_step(struct vcpu *vcpu)
{
	u64 conditions = step_conditions(&vcpu->exit);
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	bool done;

	vmcs_set(vmx, VMCS_EXCEPTIONS, vmx->step_exceptions);
	if (vmx->step_delivers) {
		end_delivery(vcpu);
		return;
	}
	/*
	 * Our trap may wait for the end of MOV SS's shadow. An emulated CPU may also have begun
	 * that of an instruction which it has not executed.
	 */
	vmcs_set(vmx, VMCS_PENDING_DEBUG,
		 vmcs_get(vcpu, VMCS_PENDING_DEBUG) & ~(u64)PENDING_DEBUG_BS);
	done = (conditions & DR_STEP) || vcpu->regs.rip != vmx->step_rip;
	if (!step_take_tf(vcpu, done))
		conditions &= ~(u64)DR_STEP;
	if (done) {
		/* The trap has ended the shadow of an STI, as an interrupt would have. */
		if (!vmx->step_if && (vcpu->regs.rflags & X86_EFLAGS_IF) &&
		    vcpu->step_insn == STEP_INSN_OTHER)
			vcpu->events.shadow = SHADOW_STI;
		step_leave(vcpu, conditions);
	} else {
		vcpu->events.shadow = vmx->step_shadow;
	}
	restore_windows(vcpu);
}

/**
 * vmx_cancel_step - the entry for which vmx_prepare_step() was called was refused
 * @vcpu: in its window
 */
void vmx_cancel_step(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmcs_set(vmx, VMCS_EXCEPTIONS, vmx->step_exceptions);
	if (vmx->step_delivers) {
		vmwrite(VMX_PREEMPTION_TIMER_VALUE, vmx_features.timer);
		return;
	}
	step_take_tf(vcpu, false);
	vcpu->events.shadow = vmx->step_shadow;
	restore_windows(vcpu);
}
