// SPDX-License-Identifier: GPL-2.0-only
/*
 * The timer of the local APIC (SDM vol. 3, 11.5.4). The bus clock that it counts is 1 GHz, so
 * that a count is nanoseconds.
 *
 * Whether something has ended is decided by the clock, on the vCPU's thread; the host's timer
 * only makes that thread look. It is started for each end anew, so that a guest that does not
 * run costs the host at most one interrupt, and a period is kept by adding to the last end, not
 * to the time at which it was noticed.
 */
#include <linux/math64.h>
#include <asm/msr.h>
#include <asm/tsc.h>

#include "../compat.h"
#include "internal.h"

#define LVT_TIMER_MODE		(APIC_LVT_TIMER_PERIODIC | APIC_LVT_TIMER_TSCDEADLINE)

/* Longest sleep: later deadlines are looked at again then */
#define MAX_SLEEP_SECONDS	(365ull * 24 * 3600)

static u32 timer_mode(struct lapic *lapic)
{
	return lapic_get(lapic, APIC_LVTT) & LVT_TIMER_MODE;
}

static bool masked(struct lapic *lapic)
{
	return lapic_get(lapic, APIC_LVTT) & APIC_LVT_MASKED;
}

/* Bits 0, 1 and 3: 0 divides by 2, 6 by 128, 7 by 1 */
static u8 divide_shift(u32 tdcr)
{
	return (((tdcr & 3) | (tdcr & 8) >> 1) + 1) & 7;
}

static u64 guest_tsc(const struct lapic *lapic)
{
	return rdtsc() + lapic->vcpu->tsc_offset;
}

static u64 period_ns(struct lapic *lapic)
{
	return (u64)lapic_get(lapic, APIC_TMICT) << lapic->timer.shift;
}

static enum hrtimer_restart host_timer_fired(struct hrtimer *host)
{
	struct lapic *lapic = container_of(host, struct lapic, timer.host);

	vcpu_request(lapic->vcpu, VCPU_REQ_TIMER);
	return HRTIMER_NORESTART;
}

static void start_host_timer(struct lapic *lapic, ktime_t when)
{
	hrtimer_start(&lapic->timer.host, when, HRTIMER_MODE_ABS_PINNED_HARD);
}

/* A callback that runs already only makes the vCPU look in vain. */
static void stop_host_timer(struct lapic *lapic)
{
	if (hrtimer_active(&lapic->timer.host))
		hrtimer_try_to_cancel(&lapic->timer.host);
}

/* ---- one-shot and periodic ---- */

/* Note the ends that have passed: one interrupt for all of them */
static void settle_count(struct lapic *lapic, ktime_t now)
{
	struct lapic_timer *timer = &lapic->timer;
	u64 period;

	if (!timer->expires || now < timer->expires)
		return;
	if (timer_mode(lapic) == APIC_LVT_TIMER_PERIODIC) {
		period = period_ns(lapic);
		timer->expires += (div64_u64(now - timer->expires, period) + 1) * period;
	} else {
		timer->expires = 0;
	}
	lapic_local_interrupt(lapic, APIC_LVTT);
}

static void arm_count(struct lapic *lapic, ktime_t now)
{
	ktime_t when = lapic->timer.expires;

	if (!when || masked(lapic)) {
		stop_host_timer(lapic);
		return;
	}
	if (timer_mode(lapic) == APIC_LVT_TIMER_PERIODIC && period_ns(lapic) < IRQ_MIN_PERIOD_NS)
		when = max(when, now + IRQ_MIN_PERIOD_NS);
	start_host_timer(lapic, when);
}

/* ---- TSC deadline ---- */

static void fire_deadline(struct lapic *lapic)
{
	lapic->timer.tsc_deadline = 0;
	lapic_local_interrupt(lapic, APIC_LVTT);
}

static void settle_deadline(struct lapic *lapic, u64 tsc)
{
	if (lapic->timer.tsc_deadline && tsc >= lapic->timer.tsc_deadline)
		fire_deadline(lapic);
}

static void arm_deadline(struct lapic *lapic, u64 tsc)
{
	u32 khz = lapic->vcpu->vm->tsc_khz;
	u64 ticks;

	settle_deadline(lapic, tsc);
	if (!lapic->timer.tsc_deadline || masked(lapic)) {
		stop_host_timer(lapic);
		return;
	}
	ticks = min(lapic->timer.tsc_deadline - tsc, MAX_SLEEP_SECONDS * 1000 * khz);
	/* Rounded up: not before the deadline */
	start_host_timer(lapic, ktime_get() + mul_u64_u32_div(ticks, USEC_PER_SEC, khz) + 1);
}

u64 lapic_get_tsc_deadline(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;

	if (!lapic)
		return 0;
	settle_deadline(lapic, guest_tsc(lapic));
	return lapic->timer.tsc_deadline;
}

void lapic_set_tsc_deadline(struct vcpu *vcpu, u64 deadline)
{
	struct lapic *lapic = vcpu->lapic;
	u64 tsc;

	/* SDM 11.5.4.1: in another mode it reads as zero and ignores writes */
	if (!lapic || timer_mode(lapic) != APIC_LVT_TIMER_TSCDEADLINE)
		return;
	tsc = guest_tsc(lapic);
	settle_deadline(lapic, tsc);
	lapic->timer.tsc_deadline = deadline;
	arm_deadline(lapic, tsc);
}

void lapic_tsc_changed(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;

	if (lapic && lapic->timer.tsc_deadline)
		arm_deadline(lapic, guest_tsc(lapic));
}

/* ---- either ---- */

static void settle(struct lapic *lapic)
{
	settle_count(lapic, ktime_get());
	settle_deadline(lapic, guest_tsc(lapic));
}

static void arm(struct lapic *lapic)
{
	if (timer_mode(lapic) == APIC_LVT_TIMER_TSCDEADLINE)
		arm_deadline(lapic, guest_tsc(lapic));
	else
		arm_count(lapic, ktime_get());
}

void lapic_timer_expired(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;

	if (!lapic)
		return;
	settle(lapic);
	if (lapic->timer.expires || lapic->timer.tsc_deadline)
		arm(lapic);
}

u32 lapic_timer_read_current(struct lapic *lapic)
{
	ktime_t now = ktime_get();

	settle_count(lapic, now);
	if (!lapic->timer.expires)
		return 0;
	/* The count is still n while less than n ticks are left. */
	return (lapic->timer.expires - now + BIT(lapic->timer.shift) - 1) >> lapic->timer.shift;
}

void lapic_timer_write_initial(struct lapic *lapic, u32 count)
{
	ktime_t now;

	/* SDM 11.5.4.1: ignored in deadline mode */
	if (timer_mode(lapic) == APIC_LVT_TIMER_TSCDEADLINE)
		return;
	now = ktime_get();
	settle_count(lapic, now);
	lapic_set(lapic, APIC_TMICT, count);
	lapic->timer.expires = count ? now + period_ns(lapic) : 0;
	arm_count(lapic, now);
}

static void set_divide(struct lapic *lapic, u32 value)
{
	lapic_set(lapic, APIC_TDCR, value);
	lapic->timer.shift = divide_shift(value);
}

/* The count goes on from where it is, at the new pace. */
void lapic_timer_write_divide(struct lapic *lapic, u32 value)
{
	u32 count = lapic_timer_read_current(lapic);

	set_divide(lapic, value);
	if (!lapic->timer.expires)
		return;
	lapic->timer.expires = ktime_get() + ((u64)count << lapic->timer.shift);
	arm(lapic);
}

void lapic_timer_write_lvt(struct lapic *lapic, u32 value)
{
	u32 old_mode = timer_mode(lapic);
	u32 mode = value & LVT_TIMER_MODE;

	/* What has ended so far has ended under the old entry. */
	settle(lapic);
	if (mode != old_mode && ((mode | old_mode) & APIC_LVT_TIMER_TSCDEADLINE)) {
		/* SDM 11.5.4.1: to and from deadline mode disarms */
		lapic->timer.expires = 0;
		lapic->timer.tsc_deadline = 0;
		lapic_set(lapic, APIC_TMICT, 0);
	}
	lapic_set(lapic, APIC_LVTT, value);
	arm(lapic);
}

u64 lapic_timer_remaining(struct lapic *lapic)
{
	ktime_t now = ktime_get();

	settle_count(lapic, now);
	settle_deadline(lapic, guest_tsc(lapic));
	return lapic->timer.expires ? lapic->timer.expires - now : 0;
}

bool lapic_timer_state_valid(const struct lapic_state *state)
{
	u32 mode = state->regs[APIC_LVTT / 4] & LVT_TIMER_MODE;
	u64 longest = (u64)state->regs[APIC_TMICT / 4] << divide_shift(state->regs[APIC_TDCR / 4]);

	if (mode == APIC_LVT_TIMER_TSCDEADLINE)
		longest = 0;
	return state->timer_remaining_ns <= longest &&
	       (!state->tsc_deadline || mode == APIC_LVT_TIMER_TSCDEADLINE);
}

void lapic_timer_restore(struct lapic *lapic, u64 remaining_ns, u64 tsc_deadline)
{
	set_divide(lapic, lapic_get(lapic, APIC_TDCR));
	lapic->timer.expires = remaining_ns ? ktime_get() + remaining_ns : 0;
	lapic->timer.tsc_deadline = tsc_deadline;
	if (remaining_ns || tsc_deadline)
		arm(lapic);
}

void lapic_timer_reset(struct lapic *lapic)
{
	stop_host_timer(lapic);
	lapic->timer.expires = 0;
	lapic->timer.tsc_deadline = 0;
	lapic->timer.shift = 1;
}

void lapic_timer_init(struct lapic *lapic)
{
	compat_hrtimer_setup(&lapic->timer.host, host_timer_fired, CLOCK_MONOTONIC,
			     HRTIMER_MODE_ABS_PINNED_HARD);
}

void lapic_timer_destroy(struct lapic *lapic)
{
	hrtimer_cancel(&lapic->timer.host);
}
