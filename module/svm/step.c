// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single steps by RFLAGS.TF, and the NMI window that is made of them.
 *
 * SVM (without virtual NMIs) knows no NMI blocking and has no NMI window:
 *
 *  - From the injection of an NMI on IRET is intercepted. That exit comes before the
 *    instruction, and NMIs stay blocked until it has completed: an NMI injected earlier
 *    would be delivered on the stack of the handler that is about to return. So IRET
 *    is executed with RFLAGS.TF set: its #DB says that it is done. IRET loads RFLAGS, so
 *    our TF is gone with it. If it faults instead, the fault, intercepted like
 *    any other during the step, is injected with the guest's own RFLAGS.
 *
 *  - An NMI that waits for the end of an interrupt shadow has the instruction in it stepped
 *    over in the same way. An instruction that stores RFLAGS there (PUSHF, INT n, SYSCALL)
 *    would store our TF; no guest puts those into the shadow of a stack switch.
 *
 *  - An NMI that waits because another event is injected by the same entry only needs an exit after
 *    that: a host interrupt to ourselves, which is taken as soon as GIF is set by VMRUN and
 *    the event is delivered.
 *
 * Nor has it a monitor trap flag, so that the core's steps are made of the same: TF over an
 * instruction, the interrupt behind the delivery of an event, whose frame then has no TF of ours.
 * What the guest could see of it x86/step.c hides.
 */
#include <linux/irq_work.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>
#include <uapi/asm/debugreg.h>

#include "hw.h"
#include "svm/svm.h"
#include "x86/x86.h"

static void begin_step(struct vcpu *vcpu, enum svm_step step)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (!vcpu->stepping)
		vcpu->step_insn = step == STEP_IRET ? STEP_INSN_LOADS_FLAGS : STEP_INSN_OTHER;
	svm->step = step;
	svm->step_rip = vcpu->regs.rip;
	vmcb_set_intercept(svm->vmcb, INTERCEPT_IRET,
			   step != STEP_IRET && vcpu->events.nmi_blocked);
	svm_update_exceptions(vcpu);
}

static void cancel_step(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->step = STEP_NONE;
	vmcb_set_intercept(svm->vmcb, INTERCEPT_IRET, vcpu->events.nmi_blocked);
	svm_update_exceptions(vcpu);
}

/**
 * svm_begin_iret_step - an IRET is about to end the blocking of NMIs
 * @vcpu: left by the IRET intercept
 */
void svm_begin_iret_step(struct vcpu *vcpu)
{
	if (vcpu->events.nmi_blocked)
		begin_step(vcpu, STEP_IRET);
	else
		vmcb_set_intercept(to_svm(vcpu)->vmcb, INTERCEPT_IRET, false);
}

/*
 * The event that is injected is an instruction's: what its handler returns to is behind that.
 * Without next-RIP support the CPU pushes RIP; svm_read_step() brings it back if something else is
 * pushed.
 */
static void return_behind(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 next_rip = vcpu->regs.rip + svm->injected.insn_len;

	if (svm_get_mode(vcpu).code_size != 8)
		next_rip = (u32)next_rip;
	if (svm_features.next_rip)
		svm->vmcb->control.next_rip = next_rip;
	else
		svm->vmcb->save.rip = next_rip;
}

/**
 * svm_prepare_step - before an entry during a step, of a guest that is stepped, or with
 *                    HW_WINDOW_NMI requested
 * @vcpu: in its window, registers and event are in the VMCB
 */
void svm_prepare_step(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	bool injects = svm->vmcb->control.event_inj & EVENTINJ_VALID;
	bool window = (svm->window & HW_WINDOW_NMI) && !vcpu->events.nmi_blocked;

	/* An event that goes first, or a VMM that moved RIP, makes the step another's. */
	if (svm->step && (injects || svm->step_rip != vcpu->regs.rip))
		cancel_step(vcpu);

	if (injects && vcpu->stepping) {
		begin_step(vcpu, STEP_DELIVERY);
		if (event_is_soft(&svm->injected))
			return_behind(vcpu);
		irq_work_queue(&svm->cpu->interrupt);
		return;
	}
	if (!svm->step) {
		if (window && (injects || !vcpu->events.shadow))
			irq_work_queue(&svm->cpu->interrupt);
		else if (vcpu->stepping || window)
			begin_step(vcpu, STEP_INSN);
	}
	if (svm->step) {
		step_set_tf(vcpu);
		svm->vmcb->save.rflags = vcpu->regs.rflags;
	}
}

/**
 * svm_cancel_step - the entry for which svm_prepare_step() was called was refused
 * @vcpu: in its window
 */
void svm_cancel_step(struct vcpu *vcpu)
{
	if (to_svm(vcpu)->step != STEP_DELIVERY)
		step_take_tf(vcpu, false);
	cancel_step(vcpu);
}

static bool is_delivered(const struct svm_vcpu *svm)
{
	return !(svm->vmcb->control.exit_int_info & EVENTINJ_VALID);
}

/**
 * svm_read_step - after an exit during a step, before anything else
 * @vcpu: registers are stored
 */
void svm_read_step(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (svm->step == STEP_DELIVERY && event_is_soft(&svm->injected) && !is_delivered(svm))
		vcpu->regs.rip = svm->step_rip;
}

static void end_delivery(struct vcpu *vcpu)
{
	/* The handler's first instruction is another step. */
	vcpu->step_insn = STEP_INSN_OTHER;
	if (is_delivered(to_svm(vcpu)))
		step_leave(vcpu, step_conditions(&vcpu->exit));
	cancel_step(vcpu);
}

/**
 * svm_end_step - after an exit during a step: was it the end of it?
 * @vcpu: registers are stored, vcpu->exit is filled in
 *
 * The guest and the VMM never see our TF.
 */
void svm_end_step(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vcpu_exit *exit = &vcpu->exit;
	bool trap, done;
	u64 conditions;

	if (svm->step == STEP_DELIVERY) {
		end_delivery(vcpu);
		return;
	}
	conditions = step_conditions(exit);
	trap = conditions & DR_STEP;
	done = trap || vcpu->regs.rip != svm->step_rip;
	if (!step_take_tf(vcpu, done))
		conditions &= ~(u64)DR_STEP;

	if (!done) {
		/* A fault's handler comes before the IRET is tried again. */
		if (exit->reason == EXIT_EXCEPTION || svm->step == STEP_INSN)
			cancel_step(vcpu);
		return;
	}

	if (svm->step == STEP_IRET)
		vcpu->events.nmi_blocked = 0;
	if (vcpu->stepping) {
		step_leave(vcpu, conditions);
		cancel_step(vcpu);
		return;
	}
	cancel_step(vcpu);
	if (trap) {
		exit->exception.payload = conditions;
		if (!conditions)
			exit->reason = EXIT_RESUME;
	}
	if (exit->reason == EXIT_RESUME && (svm->window & HW_WINDOW_NMI))
		exit->reason = EXIT_NMI_WINDOW;
}
