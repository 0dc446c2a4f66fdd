// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events on their way into a guest: which comes first, which must wait, and
 * what becomes of two that meet.
 */
#include <linux/sched.h>
#include <asm/debugreg.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "hw.h"
#include "irq/irq.h"
#include "trace.h"
#include "vcpu.h"
#include "x86/x86.h"

/* Classes of exceptions for double faults: SDM vol. 3 table 6-4, APM vol. 2 table 8-4 */
enum exception_class { BENIGN, CONTRIBUTORY, PAGE_FAULT };

static enum exception_class exception_class(u8 vector)
{
	switch (vector) {
	case X86_TRAP_DE:
	case X86_TRAP_TS:
	case X86_TRAP_NP:
	case X86_TRAP_SS:
	case X86_TRAP_GP:
		return CONTRIBUTORY;
	case X86_TRAP_PF:
		return PAGE_FAULT;
	default:
		return BENIGN;
	}
}

/* The exception whose delivery or report comes first, if there is one */
static struct cpu_event *first_exception(struct cpu_events *events)
{
	if (events->interrupted.type == EVENT_EXCEPTION)
		return &events->interrupted;
	if (events->exception.type == EVENT_EXCEPTION)
		return &events->exception;
	return NULL;
}

/**
 * vcpu_queue_exception - the guest is to get an exception before its next instruction
 * @vcpu: the vCPU, by its own thread
 * @vector: 0-31
 * @has_error: does it push an error code?
 * @error: that code
 * @payload: CR2 of #PF, DR6 bits of #DB
 *
 * Meets an earlier exception as the manuals say: a contributory pair becomes
 * #DF, a fault during #DF is a shutdown, a benign first one is delivered again
 * after the second's handler has returned.
 */
void vcpu_queue_exception(struct vcpu *vcpu, u8 vector, bool has_error, u32 error, u64 payload)
{
	struct cpu_events *events = &vcpu->events;
	struct cpu_event *first = first_exception(events);
	struct cpu_event event = {
		.type = EVENT_EXCEPTION,
		.vector = vector,
		.has_error = has_error,
		.error = error,
		.payload = payload,
	};

	if (first) {
		enum exception_class a = exception_class(first->vector);
		enum exception_class b = exception_class(vector);

		if (first->vector == X86_TRAP_DF && b != BENIGN) {
			events->mp_state = MP_SHUTDOWN;
			return;
		}
		if ((a == CONTRIBUTORY && b == CONTRIBUTORY) || (a == PAGE_FAULT && b != BENIGN)) {
			event.vector = X86_TRAP_DF;
			event.has_error = true;
			event.error = 0;
			event.payload = 0;
		}
	}
	/*
	 * The cause of an exception or INT n whose delivery this one broke is found again when its
	 * instruction runs again. An interrupt or NMI goes back to where it waited.
	 */
	if (events->interrupted.type == EVENT_INTERRUPT) {
		events->interrupt = events->interrupted;
	} else if (events->interrupted.type == EVENT_NMI) {
		events->nmi_blocked = 0;
		events->nmi_pending = min(events->nmi_pending + 1, 2);
	}
	events->interrupted.type = EVENT_NONE;
	events->exception = event;
}

/* RIP of code that is not 64-bit code goes round at 4 GiB; what is above it now is 64-bit code. */
static u64 wrap_rip(struct vcpu *vcpu, u64 rip)
{
	if (likely(rip <= U32_MAX || vcpu->regs.rip > U32_MAX))
		return rip;
	return hw_call(get_mode)(vcpu).code_size == 8 ? rip : (u32)rip;
}

void vcpu_finish_insn_slow(struct vcpu *vcpu, u64 next_rip)
{
	vcpu->regs.rip = wrap_rip(vcpu, next_rip);
	if (unlikely(vcpu->events.shadow)) {
		vcpu->events.shadow = 0;
		hw->set_shadow(vcpu);
	}
	vcpu->pending.step = vcpu->stepping;
	if (unlikely(vcpu->regs.rflags & X86_EFLAGS_TF))
		vcpu_queue_exception(vcpu, X86_TRAP_DB, false, 0, DR_STEP);
	vcpu->regs.rflags &= ~X86_EFLAGS_RF;
}

/* Exceptions that are reported before their instruction completes push RF set (SDM 18.3.1.1) */
static bool is_fault(u8 vector)
{
	switch (vector) {
	case X86_TRAP_DB:
	case X86_TRAP_BP:
	case X86_TRAP_OF:
	case X86_TRAP_DF:
	case X86_TRAP_MC:
		return false;
	default:
		return true;
	}
}

/* What the exception does besides being delivered: SDM vol. 3 6.15, 18.2.3 */
static void deliver_payload(struct vcpu *vcpu, const struct cpu_event *event)
{
	if (event->vector == X86_TRAP_PF) {
		hw->set_cr2(vcpu, event->payload);
	} else if (event->vector == X86_TRAP_DB) {
		vcpu->dr6 = (vcpu->dr6 & ~(u64)DR_TRAP_BITS) | event->payload;
		if (vcpu->dr7 & DR7_GD) {
			vcpu->dr7 &= ~(u64)DR7_GD;
			state_load_dr7(vcpu);
		}
	}
	if (is_fault(event->vector))
		vcpu->regs.rflags |= X86_EFLAGS_RF;
}

static void inject(struct vcpu *vcpu, const struct cpu_event *event)
{
	trace_vmm_inject(vcpu->id, event->type, event->vector, event->error);
	hw_call(inject)(vcpu, event);
}

static void inject_interrupt(struct vcpu *vcpu)
{
	struct cpu_event event = vcpu->events.interrupt;

	if (event.type)
		vcpu->events.interrupt.type = EVENT_NONE;
	else
		event = (struct cpu_event){
			.type = EVENT_INTERRUPT,
			.vector = irq_acknowledge(vcpu),
		};
	vcpu->stats.interrupts++;
	inject(vcpu, &event);
}

static bool interrupt_waits(struct vcpu *vcpu)
{
	return vcpu->events.interrupt.type || irq_to_inject(vcpu) >= 0;
}

/**
 * vcpu_halt_ends - is there an event that ends a HLT?
 * @vcpu: the vCPU, by its own thread
 *
 * Return: true: the vCPU has to go on.
 */
bool vcpu_halt_ends(struct vcpu *vcpu)
{
	return vcpu->events.interrupted.type || vcpu->events.exception.type ||
	       (vcpu->events.nmi_pending && vcpu_nmi_allowed(vcpu)) ||
	       (vcpu_interruptible(vcpu) &&
		(vcpu->events.interrupt.type || irq_pending(vcpu) >= 0));
}

/* Leave when the guest lowers its CR8 below what a request of the LAPIC waits for. */
static void set_tpr_threshold(struct vcpu *vcpu)
{
	u8 threshold = vcpu->lapic ? lapic_tpr_threshold(vcpu) : 0;

	if (threshold != vcpu->tpr_threshold) {
		vcpu->tpr_threshold = threshold;
		hw->set_tpr_threshold(vcpu, threshold);
	}
}

/**
 * vcpu_inject_events - put the event that comes first into the next entry
 * @vcpu: the vCPU, in its window
 *
 * The order is that of SDM vol. 3 table 6-2: what was under way, exceptions, NMI, interrupts. Asks
 * for an exit at the moment when the guest can take what has to wait.
 */
void vcpu_inject_events(struct vcpu *vcpu)
{
	struct cpu_events *events = &vcpu->events;
	unsigned int window = 0;
	bool injected = false;

	if (unlikely(events->interrupted.type)) {
		inject(vcpu, &events->interrupted);
		events->interrupted.type = EVENT_NONE;
		vcpu->stats.reinjections++;
		injected = true;
	} else if (unlikely(events->exception.type)) {
		deliver_payload(vcpu, &events->exception);
		inject(vcpu, &events->exception);
		events->exception.type = EVENT_NONE;
		vcpu->stats.exceptions++;
		injected = true;
	}

	if (unlikely(events->nmi_pending)) {
		if (!injected && vcpu_nmi_allowed(vcpu)) {
			static const struct cpu_event nmi = {
				.type = EVENT_NMI,
				.vector = X86_TRAP_NMI,
			};

			inject(vcpu, &nmi);
			events->nmi_blocked = 1;
			events->nmi_pending--;
			vcpu->stats.nmis++;
			injected = true;
		}
		if (events->nmi_pending)
			window |= HW_WINDOW_NMI;
	}

	if (interrupt_waits(vcpu)) {
		if (!injected && vcpu_interruptible(vcpu)) {
			inject_interrupt(vcpu);
			if (interrupt_waits(vcpu))
				window |= HW_WINDOW_INTERRUPT;
		} else {
			window |= HW_WINDOW_INTERRUPT;
		}
	}

	if (vcpu->want_interrupt_window)
		window |= HW_WINDOW_INTERRUPT;
	if (vcpu->want_nmi_window)
		window |= HW_WINDOW_NMI;
	if (window != vcpu->window_requested) {
		vcpu->window_requested = window;
		hw_call(request_window)(vcpu, window);
	}
	set_tpr_threshold(vcpu);
	lapic_before_entry(vcpu);
}
