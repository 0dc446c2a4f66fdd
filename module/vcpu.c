// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU's life, and the run loop: the one way into a guest.
 *
 * An exit travels from the backend's enter() to vcpu_handle_exit() (exit.c),
 * which either handles it, so that the loop enters again, or leaves it in
 * vcpu->exit for the front end. Three rings, from the inside out:
 *
 *   inner loop   entries and the exits that need nothing of the host
 *   window       interrupts off; the CPU is set up for the guest, whose extended state is live
 *   run loop     the thread is an ordinary one: it may sleep, fault, take signals
 */
#define CREATE_TRACE_POINTS
#include "trace.h"

#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vtime.h>

#include "compat.h"
#include "hw.h"
#include "irq/irq.h"
#include "memory.h"
#include "pv/pv.h"
#include "ring.h"
#include "vcpu.h"
#include "vm.h"
#include "vmm_abi.h"
#include "x86/count.h"
#include "x86/spec.h"
#include "x86/x86.h"
#include "x86/xstate.h"

/* What vcpu->immediate_exit points to where no front end has anything to say */
static const u8 no_immediate_exit;

/**
 * vcpu_create - a vCPU in its power-on state
 * @vm: of this VM; the caller publishes it in vm->vcpus and holds vm->lock
 * @id: the VMM's number for it
 *
 * Return: the vCPU or ERR_PTR(-ENOMEM).
 */
struct vcpu *vcpu_create(struct vm *vm, u32 id)
{
	struct vcpu *vcpu;
	int ret;

	vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);
	if (!vcpu)
		return ERR_PTR(-ENOMEM);

	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->index = vm->nr_vcpus;
	vcpu->cpu = -1;
	vcpu->tdp = vm->memory.tdp;
	vcpu->view = vcpu->tdp;
	vcpu->immediate_exit = &no_immediate_exit;
	mutex_init(&vcpu->mutex);
	rcuwait_init(&vcpu->wait);

	ret = xstate_create(vcpu);
	if (ret)
		goto free;
	ret = lapic_create(vcpu);
	if (ret)
		goto destroy_xstate;
	ret = pv_create(vcpu);
	if (ret)
		goto destroy_lapic;
	ret = hw->vcpu_create(vcpu);
	if (ret)
		goto destroy_pv;
	ret = cpuid_set_default(vcpu);
	if (ret)
		goto destroy_hw;
	vcpu_reset(vcpu, false);
	msr_update_intercepts(vcpu);
	hw->update_exits(vcpu);
	return vcpu;

destroy_hw:
	hw->vcpu_destroy(vcpu);
destroy_pv:
	pv_destroy(vcpu);
destroy_lapic:
	lapic_destroy(vcpu);
destroy_xstate:
	xstate_destroy(vcpu);
free:
	kfree(vcpu);
	return ERR_PTR(ret);
}

/**
 * vcpu_destroy - the opposite
 * @vcpu: that nobody can reach any more
 */
void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->front_free)
		vcpu->front_free(vcpu);
	lapic_destroy(vcpu);
	dirty_ring_destroy(vcpu);
	hw->vcpu_destroy(vcpu);
	cpuid_free(vcpu);
	pv_destroy(vcpu);
	xstate_destroy(vcpu);
	kfree(vcpu);
}

/**
 * vcpu_reset - power-on values, or those after INIT
 * @vcpu: at rest
 * @init: INIT rather than power-on
 *
 * The bootstrap processor (index 0) runs from the reset vector; the others wait for a SIPI,
 * if there is a LAPIC in the kernel that could bring one.
 */
void vcpu_reset(struct vcpu *vcpu, bool init)
{
	vcpu->pending.kind = VMM_PENDING_NONE;
	vcpu->pending.step = false;
	memset(&vcpu->events, 0, sizeof(vcpu->events));
	/* Those that are on their way came before it. */
	clear_bit(VCPU_REQ_NMI, &vcpu->requests);
	atomic_set(&vcpu->nmis, 0);
	state_reset(vcpu, init);
	xstate_reset(vcpu, init);
	msr_reset(vcpu, init);
	lapic_reset(vcpu, init);
	if (!init)
		pv_reset(vcpu);
	if (vcpu->lapic && (init || vcpu->index))
		vcpu->events.mp_state = vcpu->index ? MP_WAIT_SIPI : MP_RUNNABLE;
	hw->set_shadow(vcpu);
	hw->forget_traps(vcpu);
}

/* By anyone: this counter is not its thread's alone. */
void vcpu_count_kick(struct vcpu *vcpu)
{
	count_insn(IPI);
	xadd(&vcpu->stats.kicks, 1);
}

void vcpu_kick(struct vcpu *vcpu)
{
	struct task_struct *thread;

	/* A full barrier, then wakes the thread if it sleeps in HLT. */
	rcuwait_wake_up(&vcpu->wait);

	/* Pairs with the barrier of enter_window(): the request is seen there, or the mode here. */
	smp_mb();
	if (READ_ONCE(vcpu->mode) != VCPU_IN_WINDOW)
		return;

	rcu_read_lock();
	thread = rcu_dereference(vcpu->thread);
	if (thread) {
		vcpu_count_kick(vcpu);
		kick_process(thread);
	}
	rcu_read_unlock();
}

void vcpu_request(struct vcpu *vcpu, enum vcpu_request request)
{
	set_bit(request, &vcpu->requests);
	/* The thread's own requests are seen by its next look. */
	if (rcu_access_pointer(vcpu->thread) != current || !in_task())
		vcpu_kick(vcpu);
}

void vcpu_nmi(struct vcpu *vcpu)
{
	atomic_inc(&vcpu->nmis);
	vcpu_request(vcpu, VCPU_REQ_NMI);
}

/* The CPU keeps one NMI behind the one that is being handled: SDM vol. 3 6.7.1, APM vol. 2 8.2.3 */
void vcpu_take_nmis(struct vcpu *vcpu)
{
	struct cpu_events *events = &vcpu->events;
	bool handled = events->nmi_blocked || events->interrupted.type == EVENT_NMI;
	unsigned int nmis = events->nmi_pending + atomic_xchg(&vcpu->nmis, 0);

	events->nmi_pending = max_t(u8, events->nmi_pending, min(nmis, handled ? 1u : 2u));
}

/* How many others one yield tries: each costs the locks of two run queues. */
#define YIELD_TRIES	3

/* One that runs, or sleeps, has no use for the CPU. Return: it has been given the CPU */
static bool yield_to_vcpu(struct vcpu *vcpu)
{
	struct task_struct *thread;
	bool yielded;

	/* A thread in a window cannot be preempted: it runs. */
	if (READ_ONCE(vcpu->mode) == VCPU_IN_WINDOW)
		return false;
	rcu_read_lock();
	thread = rcu_dereference(vcpu->thread);
	if (thread)
		get_task_struct(thread);
	rcu_read_unlock();
	if (!thread)
		return false;
	yielded = yield_to(thread, true) > 0;
	put_task_struct(thread);
	return yielded;
}

/**
 * vcpu_yield - the guest spins: let a sibling run that wants to, and that it may wait for
 * @vcpu: the vCPU, on its own thread, outside the window
 */
void vcpu_yield(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	int nr, i;

	/* Pairs with vm_add_vcpu(). */
	nr = smp_load_acquire(&vm->nr_vcpus);
	for (i = 0; i < min(nr, YIELD_TRIES); i++) {
		vcpu->yielded_to = (vcpu->yielded_to + 1) % nr;
		if (vcpu->yielded_to != vcpu->index && yield_to_vcpu(vm->vcpus[vcpu->yielded_to]))
			return;
	}
	cond_resched();
}

/* Requests that can be granted with interrupts off; the others make the inner loop end. */
#define WINDOW_REQUESTS	(BIT(VCPU_REQ_NMI) | BIT(VCPU_REQ_TIMER) | BIT(VCPU_REQ_FLUSH) | \
			 BIT(VCPU_REQ_EVENT))

static void take_window_requests(struct vcpu *vcpu)
{
	if (vcpu_take_request(vcpu, VCPU_REQ_NMI))
		vcpu_take_nmis(vcpu);
	if (vcpu_take_request(vcpu, VCPU_REQ_TIMER))
		lapic_timer_expired(vcpu);
	if (vcpu_take_request(vcpu, VCPU_REQ_FLUSH))
		hw->flush_tlb(vcpu);
	/* An interrupt that waits is found before each entry; INIT, SIPI are not: put it back. */
	if (vcpu_take_request(vcpu, VCPU_REQ_EVENT) && lapic_init_sipi_pending(vcpu))
		set_bit(VCPU_REQ_EVENT, &vcpu->requests);
}

/* INIT and SIPI, as the LAPIC took them or state brought them: SDM vol. 3 9.4.4 */
static void take_init_sipi(struct vcpu *vcpu)
{
	u8 vector;

	if (lapic_take_init(vcpu)) {
		vcpu_reset(vcpu, true);
		vcpu->events.mp_state = vcpu->index ? MP_WAIT_SIPI : MP_RUNNABLE;
	}
	if (lapic_take_sipi(vcpu, &vector) && vcpu->events.mp_state == MP_WAIT_SIPI) {
		struct cpu_segment cs;

		hw->get_segment(vcpu, CPU_CS, &cs);
		cs.selector = vector << 8;
		cs.base = (u64)vector << 12;
		hw->set_segment(vcpu, CPU_CS, &cs);
		vcpu->regs.rip = 0;
		vcpu->events.mp_state = MP_RUNNABLE;
	}
}

/* All of them. Return: 0, or why the run ends (1: vcpu->exit says it). */
static noinline int take_requests(struct vcpu *vcpu)
{
	if (test_bit(VCPU_REQ_DEAD, &vcpu->requests))
		return -EIO;
	if (vcpu_take_request(vcpu, VCPU_REQ_EXIT))
		return -EINTR;
	if (test_bit(VCPU_REQ_RING, &vcpu->requests)) {
		if (dirty_ring_is_full(vcpu)) {
			vcpu->exit.reason = EXIT_RING_FULL;
			return 1;
		}
		clear_bit(VCPU_REQ_RING, &vcpu->requests);
	}
	if (vcpu_take_request(vcpu, VCPU_REQ_VIEW) && !vcpu->once)
		WRITE_ONCE(vcpu->tdp, vcpu->view);
	if (vcpu_take_request(vcpu, VCPU_REQ_CLOCK))
		pv_clock_update(vcpu);
	if (vcpu_take_request(vcpu, VCPU_REQ_EXITS)) {
		msr_update_intercepts(vcpu);
		hw->update_exits(vcpu);
	}
	if (vcpu_take_request(vcpu, VCPU_REQ_EVENT))
		take_init_sipi(vcpu);
	take_window_requests(vcpu);
	return 0;
}

static bool exit_wanted(const struct vcpu *vcpu)
{
	return READ_ONCE(*vcpu->immediate_exit);
}

/* Is there something to do for a vCPU that is not RUNNABLE? */
static bool has_work(struct vcpu *vcpu)
{
	return READ_ONCE(vcpu->requests) || exit_wanted(vcpu) ||
	       (vcpu->events.mp_state == MP_HALTED && vcpu_halt_ends(vcpu));
}

/* HLT or wait-for-SIPI, in the kernel. Return: 0 when there is something to do, or EINTR. */
static int sleep_until_work(struct vcpu *vcpu)
{
	int ret;

	ret = rcuwait_wait_event(&vcpu->wait, has_work(vcpu), TASK_INTERRUPTIBLE);
	vcpu->stats.halt_wakeups++;
	return ret;
}

/* Bring mp_state to RUNNABLE, sleeping as long as it takes. Return: 0 or why the run ends. */
static int wait_runnable(struct vcpu *vcpu)
{
	int ret;

	for (;;) {
		ret = unlikely(READ_ONCE(vcpu->requests)) ? take_requests(vcpu) : 0;
		if (ret)
			return ret;
		switch (vcpu->events.mp_state) {
		case MP_RUNNABLE:
			return 0;
		case MP_HALTED:
			if (vcpu_halt_ends(vcpu)) {
				vcpu->events.mp_state = MP_RUNNABLE;
				return 0;
			}
			break;
		case MP_SHUTDOWN:
			vcpu->exit.reason = EXIT_SHUTDOWN;
			return 1;
		default:
			break;
		}
		/* Others can have work for it without end: it would not look at signals. */
		if (exit_wanted(vcpu) || signal_pending(current))
			return -EINTR;
		cond_resched();
		ret = sleep_until_work(vcpu);
		if (ret)
			return ret;
	}
}

/*
 * With a LAPIC CR8 is its TPR, which the guest also reaches without leaving: SDM vol. 3 11.8.6, APM
 * vol. 2 15.21.2
 */
static void load_cr8(struct vcpu *vcpu)
{
	if (vcpu->cr8_changed) {
		vcpu->cr8_changed = false;
		vcpu->guest_cr8 = vcpu->cr8;
		hw_call(set_cr8)(vcpu, vcpu->cr8);
	}
}

static void save_cr8(struct vcpu *vcpu)
{
	if (unlikely(vcpu->guest_cr8 != vcpu->cr8))
		lapic_set_cr8(vcpu, vcpu->guest_cr8);
}

/*
 * Does anything wait that needs the run loop: a request, work of the thread, a guest that halts?
 * It is asked before each entry, and mostly there is nothing.
 */
static __always_inline unsigned long must_end_window(const struct vcpu *vcpu)
{
	return READ_ONCE(vcpu->requests) | (vcpu->events.mp_state ^ MP_RUNNABLE) |
	       READ_ONCE(*vcpu->immediate_exit) | compat_guest_mode_work_bits();
}

/* Something waits. What can be granted with interrupts off is; does the window end for the rest? */
static noinline bool window_ends(struct vcpu *vcpu)
{
	take_window_requests(vcpu);
	return must_end_window(vcpu) || !pv_in_window(vcpu);
}

/* A quick look at the controllers: zero only where there is nothing to do about interrupts */
static __always_inline unsigned long interrupt_may_wait(const struct vcpu *vcpu)
{
	return READ_ONCE(vcpu->vm->pic_output) | READ_ONCE(vcpu->irr_map);
}

/*
 * Is there an event for the guest, something to take back that was asked for an earlier one, or
 * another step before the entry?
 */
static __always_inline unsigned long event_waits(const struct vcpu *vcpu)
{
	const struct cpu_events *events = &vcpu->events;

	return events->interrupted.type | events->exception.type | events->interrupt.type |
	       events->nmi_pending | vcpu->before_entry | interrupt_may_wait(vcpu);
}

/* The VMM waits for the moment when an interrupt of its own can be taken: is this it? */
static bool interrupt_window_is_open(const struct vcpu *vcpu)
{
	return vcpu->want_interrupt_window && vcpu_interruptible(vcpu) &&
	       !vcpu->events.interrupted.type && !vcpu->events.exception.type &&
	       !vcpu->events.interrupt.type;
}

/*
 * Something waits. Return: ENTER when it has been done, or what inner_loop() returns if there is to
 * be no entry.
 */
static noinline enum exit_verdict prepare_entry(struct vcpu *vcpu)
{
	if ((must_end_window(vcpu) | vcpu->eoi_armed) && window_ends(vcpu)) {
		vcpu->exit.reason = EXIT_HOST;
		return VERDICT_OUTSIDE;
	}
	if (event_waits(vcpu)) {
		if (vcpu->pending.step) {
			if (vcpu_end_step(vcpu) == VERDICT_LEAVE)
				return VERDICT_LEAVE;
			/* It may have been one in view 0. */
			if (must_end_window(vcpu)) {
				vcpu->exit.reason = EXIT_HOST;
				return VERDICT_OUTSIDE;
			}
		}
		if (interrupt_window_is_open(vcpu)) {
			vcpu->exit.reason = EXIT_INTERRUPT_WINDOW;
			return VERDICT_LEAVE;
		}
		vcpu_inject_events(vcpu);
	}
	load_cr8(vcpu);
	return VERDICT_ENTER;
}

/*
 * Enter and handle, with interrupts off, until something needs the host.
 * Return: what vcpu_handle_exit() wants, OUTSIDE for a break without an exit of the guest's.
 */
static enum exit_verdict inner_loop(struct vcpu *vcpu)
{
	enum exit_verdict verdict;

	do {
		if (unlikely(must_end_window(vcpu) | event_waits(vcpu))) {
			verdict = prepare_entry(vcpu);
			if (verdict != VERDICT_ENTER)
				break;
		}

		trace_vmm_entry(vcpu);
		vcpu->stats.entries++;
		hw_call(enter)(vcpu);
		save_cr8(vcpu);
		trace_vmm_exit(vcpu);

		verdict = vcpu_handle_exit(vcpu);
	} while (verdict == VERDICT_ENTER);
	return verdict;
}

/*
 * One inner loop between load() and unload(). Interrupts are on, and off behind it. In between
 * nothing sleeps, faults or touches user memory, whose accesses the guest's PKRU would govern.
 */
static __always_inline enum exit_verdict enter_window(struct vcpu *vcpu)
{
	enum exit_verdict verdict;

	local_irq_disable();
	vtime_account_guest_enter();
	/* Before load(), whose last step may be to empty caches of what the host has used. */
	xstate_load_guest(vcpu);
	hw_call(load)(vcpu);
	/* Before the mode: memory_flush() asks who is in a window, then where. */
	WRITE_ONCE(vcpu->cpu, smp_processor_id());
	smp_store_release(&vcpu->mode, VCPU_IN_WINDOW);
	/*
	 * Pairs with vcpu_kick(), memory_flush(), the PIT's pause(): requests, generations,
	 * pit_paused are read after this.
	 */
	smp_mb();
	if (unlikely(READ_ONCE(vcpu->vm->pit_paused)))
		irq_resume_pit(vcpu->vm);

	vcpu->stats.windows++;
	verdict = inner_loop(vcpu);

	WRITE_ONCE(vcpu->mode, VCPU_OUTSIDE);
	/* Before unload(), which may call a handler of the host's. */
	xstate_save_guest(vcpu);
	hw_call(unload)(vcpu);
	return verdict;
}

/* The guest's time is over; interrupts are off, and on behind it. */
static __always_inline void leave_window(void)
{
	vtime_account_guest_exit();
	local_irq_enable();
}

/* The same where an interrupt of the host's ended it, which is taken in it: so ticks count. */
static noinline void take_host_interrupts(void)
{
	local_irq_enable();
	/* STI holds interrupts back for the instruction behind it. */
	asm volatile("nop" : : : "memory");
	local_irq_disable();
	/* RCU is told, at the host's ticks, of a thread that may stay in its guest. */
	rcu_note_context_switch(false);
	leave_window();
}

/* Windows until there is more to do than to take the host's interrupts; no VM comes between. */
static enum exit_verdict run_windows(struct vcpu *vcpu)
{
	enum exit_verdict verdict;

	pv_before_window(vcpu);
	preempt_disable();
	spec_enter_vcpu(vcpu);

	for (;;) {
		verdict = enter_window(vcpu);
		if (likely(verdict != VERDICT_OUTSIDE) || vcpu->exit.reason != EXIT_HOST) {
			leave_window();
			break;
		}
		take_host_interrupts();
		if (must_end_window(vcpu) || vcpu->eoi_armed)
			break;
	}

	/* User space may follow without another look. */
	spec_leave_vcpu();
	count_leave(vcpu);
	preempt_enable();
	pv_after_window(vcpu);
	return verdict;
}

/* What must_end_window() has found, outside. Return: 0, or why the run ends */
static noinline int before_window(struct vcpu *vcpu)
{
	int ret = compat_guest_mode_work_pending() ? compat_guest_mode_work() : 0;

	if (!ret)
		ret = wait_runnable(vcpu);
	if (!ret && exit_wanted(vcpu))
		ret = -EINTR;
	return ret;
}

/* Outside, with vcpu->stepping: report the step that is done, or begin one. */
static noinline enum exit_verdict next_step(struct vcpu *vcpu)
{
	if (vcpu->pending.step && !exit_wanted(vcpu) && vcpu_end_step(vcpu) == VERDICT_LEAVE)
		return VERDICT_LEAVE;
	step_begin(vcpu);
	return VERDICT_ENTER;
}

/* The front end has answered, changed state, or steps. Return: as vcpu_complete() */
static noinline enum exit_verdict prepare_run(struct vcpu *vcpu)
{
	enum exit_verdict verdict = VERDICT_ENTER;
	const char *wrong;

	if (vcpu->pending.kind)
		verdict = vcpu_complete(vcpu);
	if (verdict == VERDICT_ENTER && vcpu->state_changed) {
		wrong = state_check(vcpu);
		if (wrong) {
			vcpu->exit = (struct vcpu_exit){
				.reason = EXIT_FAIL_ENTRY,
				.rip = vcpu->regs.rip,
				.message = wrong,
			};
			return VERDICT_LEAVE;
		}
		vcpu->state_changed = false;
	}
	if (verdict == VERDICT_ENTER && vcpu->stepping)
		verdict = next_step(vcpu);
	return verdict;
}

/**
 * vcpu_run - run the guest until something is the front end's
 * @vcpu: the vCPU, of a VM of this mm, with its mutex held; vcpu->answer holds what vcpu->pending
 *	waits for
 *
 * Return: 0 with vcpu->exit filled; EINTR (a signal, immediate_exit or VCPU_REQ_EXIT; exit.reason
 * is EXIT_INTR, nothing is lost); EIO (the mm is gone).
 */
int vcpu_run(struct vcpu *vcpu)
{
	enum exit_verdict verdict = VERDICT_ENTER;
	int ret = 0;

	/* From here on vcpu_kick() finds the thread. */
	rcu_assign_pointer(vcpu->thread, current);
	if (unlikely(vcpu->pending.kind | vcpu->before_entry))
		verdict = prepare_run(vcpu);

	/* What waits already is found by the first window, before it enters. */
	while (verdict == VERDICT_ENTER) {
		verdict = run_windows(vcpu);
		if (likely(verdict == VERDICT_LEAVE))
			break;
		verdict = vcpu_handle_exit(vcpu);
		if (verdict == VERDICT_ENTER && unlikely(vcpu->stepping))
			verdict = next_step(vcpu);
		if (verdict == VERDICT_ENTER && must_end_window(vcpu)) {
			ret = before_window(vcpu);
			if (ret)
				break;
		}
	}

	rcu_assign_pointer(vcpu->thread, NULL);
	if (ret > 0)
		ret = 0;
	if (ret < 0)
		vcpu->exit.reason = EXIT_INTR;
	vcpu->stats.user_exits++;
	return ret;
}
