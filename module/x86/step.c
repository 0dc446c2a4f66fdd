// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single steps that a CPU makes with RFLAGS.TF (hw_caps.steps_by_tf): the guest must neither see
 * the flag nor lose a step by it. A few instructions store RFLAGS, load it, or deliver an event,
 * whose frame would hold the flag and whose handler begins without it:
 *
 *   PUSHF            is stepped; the flag is taken from the stack afterwards
 *   POPF, IRET       what they load is the guest's; the trap comes all the same
 *   SYSCALL, SYSRET  the trap may depend on the flag behind them: it is brought through
 *   INT n, INT3, INTO  are injected, as are faults: the frame of an injected event has the
 *                      guest's own flags
 *
 * One that another CPU changes between this look and its execution is stepped for what it was.
 * In virtual-8086 mode, where INT n has rules of its own, it is left to the CPU.
 */
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "hw.h"
#include "memory.h"
#include "vcpu.h"
#include "vmm_abi.h"
#include "x86/x86.h"

void step_begin(struct vcpu *vcpu)
{
	struct cpu_events *events = &vcpu->events;
	struct cpu_event soft;

	if (!hw_caps.steps_by_tf)
		return;
	/* The instruction may be another by now. */
	if (event_is_soft(&events->interrupted))
		events->interrupted.type = EVENT_NONE;

	vcpu->step_insn = decode_step(vcpu, &soft);
	/* What waits is delivered before the instruction. */
	if (!soft.type || events->interrupted.type || events->exception.type ||
	    (vcpu->regs.rflags & X86_EFLAGS_VM))
		return;
	if (soft.vector == X86_TRAP_BP && (vcpu->exits_wanted & VMM_EXITS_BREAKPOINT))
		return;
	events->interrupted = soft;
}

/* RSP as an address: 64 bits, or as wide as SS says */
static u64 stack_offset(struct vcpu *vcpu)
{
	u64 rsp = *state_gpr(vcpu, CPU_RSP);
	struct cpu_segment ss;

	if (state_code_size(vcpu) == 8)
		return rsp;
	hw->get_segment(vcpu, CPU_SS, &ss);
	return ss.attr & SEG_DB ? (u32)rsp : (u16)rsp;
}

void step_hide_stored_tf(struct vcpu *vcpu)
{
	/* The second byte of the image: TF is its bit 0. */
	u64 gva = state_linear(vcpu, CPU_SS, stack_offset(vcpu)) + 1;
	u32 access = hw->get_mode(vcpu).cpl == 3 ? ACCESS_USER : 0;
	struct cpu_event ignored;
	u64 gpa;
	u8 byte;

	if (guest_translate_probe(vcpu, gva, access | ACCESS_READ, &gpa, &ignored) ||
	    memory_read(vcpu->vm, gpa, &byte, sizeof(byte)))
		return;
	byte &= ~(X86_EFLAGS_TF >> 8);
	memory_write(vcpu->vm, gpa, &byte, sizeof(byte));
}

/*
 * CPUs may look at TF behind a SYSCALL, where SFMASK has cleared it, and behind a SYSRET, which has
 * loaded it from R11.
 */
static void carry_tf(struct vcpu *vcpu)
{
	if (vcpu->step_insn == STEP_INSN_SYSCALL) {
		hw->get_msr(vcpu, MSR_SYSCALL_MASK, &vcpu->step_saved);
		hw->set_msr(vcpu, MSR_SYSCALL_MASK, vcpu->step_saved & ~(u64)X86_EFLAGS_TF);
	} else if (vcpu->step_insn == STEP_INSN_SYSRET) {
		vcpu->step_saved = vcpu->regs.gpr[CPU_R11];
		vcpu->regs.gpr[CPU_R11] |= X86_EFLAGS_TF;
	}
}

static void carry_no_tf(struct vcpu *vcpu)
{
	if (vcpu->step_insn == STEP_INSN_SYSCALL)
		hw->set_msr(vcpu, MSR_SYSCALL_MASK, vcpu->step_saved);
	else if (vcpu->step_insn == STEP_INSN_SYSRET)
		vcpu->regs.gpr[CPU_R11] = vcpu->step_saved;
}

void step_set_tf(struct vcpu *vcpu)
{
	vcpu->step_tf = vcpu->regs.rflags & X86_EFLAGS_TF;
	vcpu->regs.rflags |= X86_EFLAGS_TF;
	carry_tf(vcpu);
}

bool step_take_tf(struct vcpu *vcpu, bool done)
{
	bool tf = vcpu->step_tf;

	carry_no_tf(vcpu);
	if (done) {
		switch (vcpu->step_insn) {
		case STEP_INSN_LOADS_FLAGS:
			return tf;
		case STEP_INSN_SYSCALL:
			if (!tf)
				vcpu->regs.gpr[CPU_R11] &= ~(u64)X86_EFLAGS_TF;
			tf &= !(vcpu->step_saved & X86_EFLAGS_TF);
			break;
		case STEP_INSN_SYSRET:
			tf = vcpu->step_saved & X86_EFLAGS_TF;
			break;
		}
	}
	if (!tf)
		vcpu->regs.rflags &= ~(u64)X86_EFLAGS_TF;
	return tf;
}

u64 step_conditions(const struct vcpu_exit *exit)
{
	if (exit->reason == EXIT_EXCEPTION && exit->exception.vector == X86_TRAP_DB)
		return exit->exception.payload;
	return 0;
}

void step_leave(struct vcpu *vcpu, u64 conditions)
{
	struct vcpu_exit *exit = &vcpu->exit;

	if (exit->reason == EXIT_SHUTDOWN)
		return;
	exit->reason = EXIT_STEP;
	exit->step.conditions = conditions;
	exit->step.stored_tf = vcpu->step_insn == STEP_INSN_STORES_FLAGS && !vcpu->step_tf;
}
