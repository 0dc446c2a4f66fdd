// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is done about an exit, the same for both vendors and any front end.
 *
 * vcpu_handle_exit() is called in the window first. What needs the host answers
 * VERDICT_OUTSIDE there, having changed nothing, and is called again outside.
 */
#include <linux/sched.h>
#include <asm/debugreg.h>
#include <asm/trapnr.h>

#include "hw.h"
#include "irq/irq.h"
#include "memory.h"
#include "pv/pv.h"
#include "trace.h"
#include "vcpu.h"
#include "vm.h"
#include "vmm_abi.h"
#include "x86/x86.h"

/* The exception for the guest, then on with it */
static enum exit_verdict fail_gp(struct vcpu *vcpu)
{
	vcpu_queue_gp(vcpu, 0);
	return VERDICT_ENTER;
}

static enum exit_verdict finish(struct vcpu *vcpu)
{
	vcpu_finish_insn(vcpu, vcpu->exit.next_rip);
	return VERDICT_ENTER;
}

static noinline_for_stack enum exit_verdict handle_cpuid(struct vcpu *vcpu)
{
	vcpu->stats.cpuid_exits++;
	if (vcpu->exits_wanted & VMM_EXITS_CPUID) {
		finish(vcpu);
		return VERDICT_LEAVE;
	}
	cpuid_exec(vcpu);
	return finish(vcpu);
}

/* The answer to IN: bits 63:32 of RAX are cleared by a 32-bit one alone */
static void set_io_result(struct vcpu *vcpu, u64 data, int size)
{
	u64 *rax = &vcpu->regs.gpr[CPU_RAX];

	switch (size) {
	case 1:
		*rax = (*rax & ~0xffull) | (u8)data;
		break;
	case 2:
		*rax = (*rax & ~0xffffull) | (u16)data;
		break;
	default:
		*rax = (u32)data;
		break;
	}
}

static __always_inline enum exit_verdict leave_io(struct vcpu *vcpu)
{
	vcpu->stats.io_user++;
	finish(vcpu);
	return VERDICT_LEAVE;
}

static __always_inline bool may_be_kernels(const struct vcpu *vcpu, u16 port)
{
	return READ_ONCE(vcpu->vm->irq_ports) & irq_port_bit(port);
}

static noinline enum exit_verdict handle_kernels_out(struct vcpu *vcpu)
{
	const struct exit_io *io = &vcpu->exit.io;

	return irq_io_write(vcpu->vm, io->port, io->size, io->data) ? finish(vcpu) : leave_io(vcpu);
}

static __always_inline enum exit_verdict handle_out(struct vcpu *vcpu)
{
	/* By size */
	static const u32 masks[] = { [1] = 0xff, [2] = 0xffff, [4] = 0xffffffff };
	struct exit_io *io = &vcpu->exit.io;

	io->data = vcpu->regs.gpr[CPU_RAX] & masks[io->size];
	return unlikely(may_be_kernels(vcpu, io->port)) ? handle_kernels_out(vcpu) : leave_io(vcpu);
}

static noinline_for_stack enum exit_verdict handle_in(struct vcpu *vcpu)
{
	struct exit_io *io = &vcpu->exit.io;
	u32 data;

	if (may_be_kernels(vcpu, io->port) &&
	    irq_io_read(vcpu->vm, io->port, io->size, &data)) {
		set_io_result(vcpu, data, io->size);
		return finish(vcpu);
	}
	io->data = 0;
	vcpu->pending.kind = VMM_PENDING_IO_IN;
	vcpu->pending.size = io->size;
	vcpu->pending.rip = vcpu->exit.rip;
	return leave_io(vcpu);
}

/* The VMM executes the instruction. */
static enum exit_verdict leave_insn(struct vcpu *vcpu)
{
	vcpu->pending.step = vcpu->stepping;
	return VERDICT_LEAVE;
}

static noinline enum exit_verdict handle_string_io(struct vcpu *vcpu)
{
	if (vcpu_in_window(vcpu))
		return VERDICT_OUTSIDE;
	vcpu->stats.io_exits++;
	vcpu->stats.io_user++;
	/* An empty REP ends here; the VMM moves data and registers otherwise. */
	return vcpu->exit.io.count ? leave_insn(vcpu) : finish(vcpu);
}

static __always_inline enum exit_verdict handle_io(struct vcpu *vcpu)
{
	if (unlikely(vcpu->exit.io.string))
		return handle_string_io(vcpu);
	vcpu->stats.io_exits++;
	return vcpu->exit.io.in ? handle_in(vcpu) : handle_out(vcpu);
}

/*
 * After a write to a register: was it the EOI of a level-triggered interrupt, which an I/O APIC of
 * the VMM's waits for?
 */
static noinline enum exit_verdict leave_user_eoi(struct vcpu *vcpu)
{
	u8 vector;

	if (!lapic_take_user_eoi(vcpu, &vector))
		return VERDICT_ENTER;
	vcpu->exit.reason = EXIT_EOI;
	vcpu->exit.eoi.vector = vector;
	return VERDICT_LEAVE;
}

static enum exit_verdict leave_eoi(struct vcpu *vcpu)
{
	if (likely((vcpu->vm->flags & (VMM_VM_LAPIC | VMM_VM_IOAPIC)) != VMM_VM_LAPIC))
		return VERDICT_ENTER;
	return leave_user_eoi(vcpu);
}

static enum exit_verdict leave_msr(struct vcpu *vcpu, bool unknown)
{
	vcpu->exit.msr.unknown = unknown;
	if (!vcpu->exit.msr.write)
		vcpu->exit.msr.data = 0;
	vcpu->pending.kind = vcpu->exit.msr.write ? VMM_PENDING_MSR_WRITE : VMM_PENDING_MSR_READ;
	vcpu->pending.size = 8;
	vcpu->pending.rip = vcpu->exit.rip;
	finish(vcpu);
	return VERDICT_LEAVE;
}

static noinline enum msr_result exec_rdmsr(struct vcpu *vcpu, u32 index)
{
	enum msr_result result;
	u64 data = 0;

	result = msr_read(vcpu, index, &data, false);
	if (result == MSR_OK) {
		vcpu->regs.gpr[CPU_RAX] = (u32)data;
		vcpu->regs.gpr[CPU_RDX] = data >> 32;
	}
	return result;
}

static noinline_for_stack enum exit_verdict handle_msr(struct vcpu *vcpu)
{
	bool write = vcpu->exit.msr.write;
	u32 index = vcpu->exit.msr.index;
	const u64 *gpr = vcpu->regs.gpr;
	enum msr_result result;
	u64 data = 0;

	if (write) {
		data = (u32)gpr[CPU_RAX] | gpr[CPU_RDX] << 32;
		vcpu->exit.msr.data = data;
	}

	switch (msr_policy_check(vcpu->vm, index, write)) {
	case MSR_POLICY_EXIT:
		vcpu->stats.msr_exits++;
		return leave_msr(vcpu, false);
	case MSR_POLICY_DENY:
		vcpu->stats.msr_exits++;
		return fail_gp(vcpu);
	case MSR_POLICY_NONE:
		break;
	}

	result = write ? msr_write(vcpu, index, data, false) : exec_rdmsr(vcpu, index);
	if (result == MSR_OUTSIDE)
		return VERDICT_OUTSIDE;
	vcpu->stats.msr_exits++;
	if (result == MSR_UNKNOWN && msr_policy_unknown_exits(vcpu->vm))
		return leave_msr(vcpu, true);
	if (result != MSR_OK)
		return fail_gp(vcpu);
	finish(vcpu);
	return write ? leave_eoi(vcpu) : VERDICT_ENTER;
}

/* The KVM hypercall ABI: number in RAX, arguments in RBX, RCX, RDX, RSI, result in RAX */
static noinline_for_stack enum exit_verdict handle_hypercall(struct vcpu *vcpu)
{
	u64 mask = state_code_size(vcpu) == 8 ? ~0ull : U32_MAX;
	u64 *gpr = vcpu->regs.gpr;
	u64 nr = gpr[CPU_RAX] & mask;
	u64 args[4] = {
		gpr[CPU_RBX] & mask, gpr[CPU_RCX] & mask, gpr[CPU_RDX] & mask, gpr[CPU_RSI] & mask,
	};

	vcpu->stats.hypercalls++;
	if (!(vcpu->exits_wanted & VMM_EXITS_HYPERCALL)) {
		gpr[CPU_RAX] = pv_hypercall(vcpu, nr, args) & mask;
		return finish(vcpu);
	}
	vcpu->exit.hypercall.nr = nr;
	memcpy(vcpu->exit.hypercall.args, args, sizeof(args));
	vcpu->pending.kind = VMM_PENDING_HYPERCALL;
	vcpu->pending.size = 8;
	vcpu->pending.rip = vcpu->exit.rip;
	finish(vcpu);
	return VERDICT_LEAVE;
}

static enum exit_verdict handle_hlt(struct vcpu *vcpu)
{
	vcpu->stats.hlt_exits++;
	finish(vcpu);
	if (!vcpu->lapic || (vcpu->exits_wanted & VMM_EXITS_HLT))
		return VERDICT_LEAVE;
	if (vcpu_halt_ends(vcpu))
		return VERDICT_ENTER;
	/* The run loop sleeps. */
	vcpu->events.mp_state = MP_HALTED;
	vcpu->exit.reason = EXIT_HOST;
	return VERDICT_OUTSIDE;
}

static enum exit_verdict handle_pause(struct vcpu *vcpu)
{
	bool wanted = vcpu->exits_wanted & VMM_EXITS_PAUSE;

	if (!wanted && vcpu_in_window(vcpu))
		return VERDICT_OUTSIDE;
	vcpu->stats.pause_exits++;
	finish(vcpu);
	if (wanted)
		return VERDICT_LEAVE;
	vcpu_yield(vcpu);
	return VERDICT_ENTER;
}

static enum exit_verdict debug_exit(struct vcpu *vcpu, u32 kind, u64 dr6)
{
	vcpu->exit.reason = EXIT_DEBUG;
	vcpu->exit.debug.kind = kind;
	vcpu->exit.debug.vector = kind == VMM_DEBUG_BREAKPOINT ? X86_TRAP_BP : X86_TRAP_DB;
	vcpu->exit.debug.dr6 = dr6;
	vcpu->exit.debug.dr7 = vcpu->debug_dr7;
	vcpu->exit.debug.address = state_linear(vcpu, CPU_CS, vcpu->regs.rip);
	return VERDICT_LEAVE;
}

/*
 * The front end lets an access through that the view does not grant: a step in view 0, which other
 * vCPUs do not see. Outside the window
 */
static void begin_once(struct vcpu *vcpu)
{
	vcpu->once = true;
	WRITE_ONCE(vcpu->tdp, vcpu->vm->memory.tdp);
	vcpu->stepping = true;
	hw->update_exits(vcpu);
}

/* Views change outside windows alone. */
static void end_once(struct vcpu *vcpu)
{
	vcpu->once = false;
	set_bit(VCPU_REQ_VIEW, &vcpu->requests);
	vcpu->stepping = vcpu->exits_wanted & VMM_EXITS_STEP;
	hw->update_exits(vcpu);
}

/**
 * vcpu_end_step - an instruction, or the delivery of an event, is done while vcpu->stepping
 * @vcpu: window or outside; registers are those before the next instruction
 *
 * Return: VERDICT_LEAVE with vcpu->exit filled in, or VERDICT_ENTER.
 */
enum exit_verdict vcpu_end_step(struct vcpu *vcpu)
{
	vcpu->pending.step = false;
	if (unlikely(vcpu->once))
		end_once(vcpu);
	if (!(vcpu->exits_wanted & VMM_EXITS_STEP))
		return VERDICT_ENTER;
	vcpu->exit.rip = vcpu->regs.rip;
	vcpu->exit.next_rip = 0;
	return debug_exit(vcpu, VMM_DEBUG_STEP, DR_STEP);
}

static noinline_for_stack enum exit_verdict handle_step(struct vcpu *vcpu)
{
	u64 conditions = vcpu->exit.step.conditions;

	if (vcpu->exit.step.stored_tf) {
		if (vcpu_in_window(vcpu))
			return VERDICT_OUTSIDE;
		step_hide_stored_tf(vcpu);
	}
	if (conditions)
		vcpu_queue_exception(vcpu, X86_TRAP_DB, false, 0, conditions);
	return vcpu_end_step(vcpu);
}

static enum exit_verdict handle_exception(struct vcpu *vcpu)
{
	u64 payload = vcpu->exit.exception.payload;
	u8 vector = vcpu->exit.exception.vector;

	/* The KVM interface lets guests use either vendor's instruction; each CPU knows its own. */
	if (vector == X86_TRAP_UD) {
		switch (decode_hypercall(vcpu)) {
		case 1:
			vcpu->exit.reason = EXIT_HYPERCALL;
			return handle_hypercall(vcpu);
		case -EAGAIN:
			return VERDICT_OUTSIDE;
		}
	}
	if (vector == X86_TRAP_DB && (vcpu->exits_wanted & VMM_EXITS_HW_BREAK) &&
	    (payload & DR_TRAP_BITS))
		return debug_exit(vcpu, VMM_DEBUG_HW_BREAK, payload);
	if (vector == X86_TRAP_BP && (vcpu->exits_wanted & VMM_EXITS_BREAKPOINT))
		return debug_exit(vcpu, VMM_DEBUG_BREAKPOINT, 0);
	vcpu_queue_exception(vcpu, vector, vcpu->exit.exception.has_error,
			     vcpu->exit.exception.error, payload);
	return VERDICT_ENTER;
}

static enum exit_verdict mmio_verdict(struct vcpu *vcpu, enum mmio_result result)
{
	switch (result) {
	case MMIO_DONE:
		return leave_eoi(vcpu);
	case MMIO_OUTSIDE:
		return VERDICT_OUTSIDE;
	case MMIO_USER:
		vcpu->stats.mmio_user++;
		return VERDICT_LEAVE;
	case MMIO_EMULATE:
		vcpu->stats.emulate_exits++;
		return leave_insn(vcpu);
	case MMIO_FAULT:
		break;
	}
	return VERDICT_LEAVE;
}

static enum exit_verdict handle_mmio(struct vcpu *vcpu, u64 gpa, u32 access)
{
	enum mmio_result result = mmio_start(vcpu, gpa);

	if (result != MMIO_OUTSIDE) {
		trace_vmm_fault(vcpu->id, gpa, access, MEMORY_MMIO);
		vcpu->stats.faults++;
		vcpu->stats.mmio_exits++;
	}
	return mmio_verdict(vcpu, result);
}

/* The view does not grant what the guest has tried. */
static noinline enum exit_verdict leave_access(struct vcpu *vcpu)
{
	vcpu->stats.access_exits++;
	vcpu->exit.reason = EXIT_ACCESS;
	vcpu->exit.fault.granted = memory_granted(vcpu, vcpu->exit.fault.gpa);
	vcpu->pending.kind = VMM_PENDING_ACCESS;
	vcpu->pending.size = 0;
	vcpu->pending.rip = vcpu->exit.rip;
	return VERDICT_LEAVE;
}

static enum exit_verdict handle_tdp_fault(struct vcpu *vcpu)
{
	u32 access = vcpu->exit.fault.access;
	u64 gpa = vcpu->exit.fault.gpa;
	int ret;

	if (vcpu_in_window(vcpu)) {
		ret = memory_fault_quick(vcpu, gpa, access);
		if (ret == -EAGAIN)
			return VERDICT_OUTSIDE;
	} else {
		ret = memory_fault(vcpu, gpa, access);
	}
	if (ret == MEMORY_MMIO)
		return handle_mmio(vcpu, gpa, access);

	trace_vmm_fault(vcpu->id, gpa, access, ret);
	vcpu->stats.faults++;
	if (ret == MEMORY_MAPPED) {
		vcpu->stats.faults_mapped++;
		return VERDICT_ENTER;
	}
	/* The run loop sees the signal; the guest faults again. */
	if (ret == -EINTR)
		return VERDICT_ENTER;
	if (ret == MEMORY_DENIED)
		return leave_access(vcpu);
	vcpu->exit.reason = EXIT_FAULT;
	vcpu->exit.fault.error = ret;
	return VERDICT_LEAVE;
}

/* Of which exits must the instruction be decoded, where the CPU does not tell all? */
static bool is_instruction(enum exit_reason reason)
{
	switch (reason) {
	case EXIT_IO:
	case EXIT_CR:
	case EXIT_DR:
	case EXIT_CPUID:
	case EXIT_MSR:
	case EXIT_HYPERCALL:
	case EXIT_HLT:
	case EXIT_XSETBV:
	case EXIT_CACHE:
	case EXIT_PAUSE:
		return true;
	default:
		return false;
	}
}

static noinline enum exit_verdict handle_any(struct vcpu *vcpu)
{
	if (unlikely(!vcpu->exit.next_rip) && is_instruction(vcpu->exit.reason)) {
		switch (decode_next_rip(vcpu)) {
		case 0:
			break;
		case 2:
			return vcpu->exit.reason == EXIT_EMULATE ?
				       mmio_verdict(vcpu, MMIO_EMULATE) : VERDICT_LEAVE;
		case -EAGAIN:
			return VERDICT_OUTSIDE;
		default:
			return VERDICT_ENTER;
		}
	}

	switch (vcpu->exit.reason) {
	case EXIT_RESUME:
	case EXIT_TPR:
		return VERDICT_ENTER;
	case EXIT_HOST:
		if (!vcpu_in_window(vcpu))
			return VERDICT_ENTER;
		vcpu->stats.host_exits++;
		return VERDICT_OUTSIDE;
	case EXIT_CPUID:
		return handle_cpuid(vcpu);
	case EXIT_IO:
		return handle_io(vcpu);
	case EXIT_MSR:
		return handle_msr(vcpu);
	case EXIT_HYPERCALL:
		return handle_hypercall(vcpu);
	case EXIT_HLT:
		return handle_hlt(vcpu);
	case EXIT_TDP_FAULT:
		return handle_tdp_fault(vcpu);
	case EXIT_LAPIC:
		vcpu->stats.msr_exits++;
		lapic_written(vcpu, vcpu->exit.lapic.offset, vcpu->exit.lapic.value);
		return leave_eoi(vcpu);
	case EXIT_CR:
		vcpu->stats.cr_exits++;
		return state_exec_cr(vcpu);
	case EXIT_DR:
		vcpu->stats.cr_exits++;
		state_exec_dr(vcpu);
		return VERDICT_ENTER;
	case EXIT_XSETBV:
		state_exec_xsetbv(vcpu);
		return VERDICT_ENTER;
	case EXIT_CACHE:
		/* Memory is coherent and write-back: there is nothing to flush for a guest. */
		return finish(vcpu);
	case EXIT_UNDEFINED:
		vcpu_queue_ud(vcpu);
		return VERDICT_ENTER;
	case EXIT_EXCEPTION:
		return handle_exception(vcpu);
	case EXIT_STEP:
		return handle_step(vcpu);
	case EXIT_INTERRUPT_WINDOW:
		vcpu->stats.window_exits++;
		return vcpu->want_interrupt_window && vcpu_interruptible(vcpu) ? VERDICT_LEAVE :
										 VERDICT_ENTER;
	case EXIT_NMI_WINDOW:
		vcpu->stats.window_exits++;
		return vcpu->want_nmi_window ? VERDICT_LEAVE : VERDICT_ENTER;
	case EXIT_PAUSE:
		return handle_pause(vcpu);
	case EXIT_SHUTDOWN:
		vcpu->events.mp_state = MP_SHUTDOWN;
		return VERDICT_LEAVE;
	case EXIT_TASK_SWITCH:
		/* Hardware task switches are for the VMM's emulator. */
		vcpu->exit.reason = EXIT_INTERNAL;
		return VERDICT_LEAVE;
	default:
		return VERDICT_LEAVE;
	}
}

/**
 * vcpu_handle_exit - handle vcpu->exit, or say who must
 * @vcpu: the vCPU, on its own thread
 *
 * Return: see enum exit_verdict. VERDICT_OUTSIDE comes only in the window, but for EXIT_HOST, which
 * means that there is nothing to handle.
 */
enum exit_verdict vcpu_handle_exit(struct vcpu *vcpu)
{
	/* What comes often does not wait for its turn among all. */
	if (likely(vcpu->exit.next_rip)) {
		if (vcpu->exit.reason == EXIT_IO)
			return handle_io(vcpu);
		if (vcpu->exit.reason == EXIT_CPUID)
			return handle_cpuid(vcpu);
		if (vcpu->exit.reason == EXIT_MSR)
			return handle_msr(vcpu);
	} else if (vcpu->exit.reason == EXIT_TDP_FAULT) {
		return handle_tdp_fault(vcpu);
	}
	return handle_any(vcpu);
}

static void complete_msr_fault(struct vcpu *vcpu)
{
	/* The step over the instruction did not happen, nor did its trap. */
	vcpu->regs.rip = vcpu->pending.rip;
	vcpu->pending.step = false;
	if (vcpu->events.exception.vector == X86_TRAP_DB)
		vcpu->events.exception.type = EVENT_NONE;
	vcpu_queue_gp(vcpu, 0);
}

/**
 * vcpu_complete - finish the last exit with the front end's answer
 * @vcpu: outside the window; vcpu->answer and answer_fault are set
 *
 * Return: VERDICT_ENTER, or VERDICT_LEAVE with a further exit of the same instruction.
 */
enum exit_verdict vcpu_complete(struct vcpu *vcpu)
{
	u32 kind = vcpu->pending.kind;

	vcpu->pending.kind = VMM_PENDING_NONE;
	switch (kind) {
	case VMM_PENDING_IO_IN:
		set_io_result(vcpu, vcpu->answer, vcpu->pending.size);
		break;
	case VMM_PENDING_MSR_READ:
		if (vcpu->answer_fault) {
			complete_msr_fault(vcpu);
			break;
		}
		vcpu->regs.gpr[CPU_RAX] = (u32)vcpu->answer;
		vcpu->regs.gpr[CPU_RDX] = vcpu->answer >> 32;
		break;
	case VMM_PENDING_MSR_WRITE:
		if (vcpu->answer_fault)
			complete_msr_fault(vcpu);
		break;
	case VMM_PENDING_HYPERCALL:
		vcpu->regs.gpr[CPU_RAX] = vcpu->answer;
		break;
	case VMM_PENDING_MMIO:
		vcpu->pending.kind = kind;
		return mmio_verdict(vcpu, mmio_continue(vcpu));
	case VMM_PENDING_ACCESS:
		if (vcpu->answer)
			begin_once(vcpu);
		break;
	}
	return VERDICT_ENTER;
}
