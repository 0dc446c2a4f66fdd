// SPDX-License-Identifier: GPL-2.0-only
/*
 * The 8254 interval timer, with the gate and the speaker of port 0x61. "The data sheet" is
 * Intel's 231164.
 *
 * A counter is never counted: what it shows, and its output, follow from the host time since it was
 * loaded. The host's timer waits for the next rise of channel 0's output alone. A count written
 * while modes 2 and 3 run takes effect at once, not at the end of the cycle.
 *
 * Rises that the host or a stopped VMM missed are not made up for: a guest that counts time in
 * ticks has better clocks here. Periods below IRQ_MIN_PERIOD_NS rise at most that often.
 *
 * After a periodic rise that finds no vCPU in its guest the timer is not started again: the time
 * that it takes is billed to nobody. What that rise has requested waits, and another one would add
 * nothing to it. The next window of any vCPU goes on with it, or who changes at rest what the rise
 * does: where it goes, or that another source held the line high.
 */
#include <linux/math64.h>
#include <linux/slab.h>
#include <linux/timex.h>

#include "../compat.h"
#include "internal.h"

#define PIT_GSI			0
#define PIT_HZ			1193182
#define PIT_REST		2	/* times as long as a rise has taken, at least */
/* Half of the refresh request's period, which bit 4 of port 0x61 shows */
#define REFRESH_NS		15085

/* Control word, read-back command, status */
#define CONTROL_BCD		BIT(0)
#define CONTROL_MODE(data)	((data) >> 1 & 7)
#define CONTROL_RW(data)	((data) >> 4 & 3)
#define CONTROL_CHANNEL(data)	((data) >> 6)
#define CONTROL_READ_BACK	3
#define READ_BACK_NO_STATUS	BIT(4)
#define READ_BACK_NO_COUNT	BIT(5)
#define STATUS_OUT		BIT(7)
#define STATUS_NULL_COUNT	BIT(6)

#define RW_LATCH		0
#define RW_LOW			1
#define RW_HIGH			2
#define RW_BOTH			3

#define PORT61_GATE		BIT(0)
#define PORT61_SPEAKER		BIT(1)
#define PORT61_REFRESH		BIT(4)
#define PORT61_OUT2		BIT(5)

/* elapsed_ns of a counter that waits for its trigger, or for a count */
#define PIT_IDLE		U64_MAX
/* Longest time that a restored counter may have run */
#define PIT_MAX_ELAPSED_NS	BIT_ULL(61)

/**
 * struct pit_channel - a counter
 * @s: its registers; elapsed_ns is valid only while it does not count
 * @start: host time of the load or trigger that it counts from
 * @counting: is it?
 */
struct pit_channel {
	struct pit_channel_state s;
	s64 start;
	bool counting;
};

/**
 * struct pit - the timer
 * @lock: protects what is below
 * @irq: of which VM
 * @timer: fires at @rise
 * @channel: its counters
 * @speaker: port 0x61 as written
 * @rise: host time of the next rise of channel 0's output that is waited for, 0 for none
 * @rested: host time before which no periodic rise may be
 */
struct pit {
	raw_spinlock_t lock;
	struct irq_controllers *irq;		/* [I] */
	struct hrtimer timer;
	struct pit_channel channel[3];		/* [L] */
	u8 speaker;				/* [L] */
	s64 rise;				/* [L] */
	s64 rested;				/* [L] */
};

static u64 ns_to_ticks(u64 ns)
{
	return mul_u64_u32_div(ns, PIT_HZ, NSEC_PER_SEC);
}

/* Rounded up, so that the tick has passed then */
static u64 ticks_to_ns(u64 ticks)
{
	return mul_u64_u32_div(ticks, NSEC_PER_SEC, PIT_HZ) + 1;
}

static u32 modulus(const struct pit_channel *ch)
{
	return ch->s.bcd ? 10000 : 0x10000;
}

/* Modes in which the gate's rise starts the count, and nothing stops it then */
static bool is_triggered(const struct pit_channel *ch)
{
	return ch->s.mode == 1 || ch->s.mode == 5;
}

static bool is_periodic(const struct pit_channel *ch)
{
	return ch->s.mode == 2 || ch->s.mode == 3;
}

/* Data sheet, mode 0: the first of two bytes stops the count */
static bool awaits_second_byte(const struct pit_channel *ch)
{
	return ch->s.mode == 0 && ch->s.write_state;
}

/* Ticks since it was loaded or triggered; false if it was not */
static bool elapsed_ticks(const struct pit_channel *ch, s64 now, u64 *ticks)
{
	u64 ns = ch->counting ? now - ch->start : ch->s.elapsed_ns;

	if (!ch->s.count || ns == PIT_IDLE)
		return false;
	*ticks = ns_to_ticks(ns);
	return true;
}

static u32 read_counter(const struct pit_channel *ch, s64 now)
{
	u32 count = ch->s.count, m = modulus(ch), value;
	u64 ticks;

	if (!elapsed_ticks(ch, now, &ticks))
		value = count;
	else if (ch->s.mode == 2)
		value = count - (u32)(ticks % count);
	else if (ch->s.mode == 3)
		value = count - (u32)(2 * ticks % count);
	else
		value = count + m - (u32)(ticks % m);

	value %= m;
	if (!ch->s.bcd)
		return value;
	return value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10;
}

static bool read_output(const struct pit_channel *ch, s64 now)
{
	u32 count = ch->s.count;
	u64 ticks;

	if (!elapsed_ticks(ch, now, &ticks))
		return ch->s.mode != 0;
	switch (ch->s.mode) {
	case 0:
	case 1:
		return ticks >= count;
	case 2:
		return !ch->s.gate || ticks % count != count - 1;
	case 3:
		return !ch->s.gate || ticks % count < (count + 1) / 2;
	default:
		return ticks != count;
	}
}

/* ---- channel 0 ---- */

/* Ticks from the start to the next rise of the output, or 0 */
static u64 next_rise(const struct pit_channel *ch, s64 now)
{
	u32 count = ch->s.count;
	u64 ticks, rise;

	if (!ch->counting || !elapsed_ticks(ch, now, &ticks))
		return 0;
	if (is_periodic(ch))
		return (div_u64(ticks, count) + 1) * count;
	/* Mode 4 strobes low for the tick at which the count ends. */
	rise = ch->s.mode == 4 ? count + 1 : count;
	return ticks < rise ? rise : 0;
}

static void arm(struct pit *pit, s64 now)
{
	struct pit_channel *ch = &pit->channel[0];
	u64 rise = next_rise(ch, now);

	WRITE_ONCE(pit->irq->vm->pit_paused, false);
	pit->rise = 0;
	if (!rise) {
		hrtimer_try_to_cancel(&pit->timer);
		return;
	}
	pit->rise = ch->start + ticks_to_ns(rise);
	if (is_periodic(ch) && ticks_to_ns(ch->s.count) < IRQ_MIN_PERIOD_NS)
		pit->rise = max_t(s64, pit->rise, now + IRQ_MIN_PERIOD_NS);
	if (is_periodic(ch))
		pit->rise = max(pit->rise, pit->rested);
	hrtimer_start(&pit->timer, pit->rise, HRTIMER_MODE_ABS_HARD);
}

/* Leave it to the next window to go on, unless a vCPU is in one. */
static bool pause(struct pit *pit)
{
	struct vm *vm = pit->irq->vm;
	struct vcpu *vcpu;
	int i;

	WRITE_ONCE(vm->pit_paused, true);
	/* Pairs with enter_window(): it sees that, or its mode is seen here. */
	smp_mb();
	vm_for_each_vcpu(vm, vcpu, i)
		if (READ_ONCE(vcpu->mode) == VCPU_IN_WINDOW)
			return false;
	return true;
}

/* An edge is all that the controllers make of it. */
static void settle(struct pit *pit, s64 now)
{
	if (!pit->rise || now < pit->rise)
		return;
	pit->rise = 0;
	/* A state that was set may have the line high: from here on it is the PIT's. */
	irq_set_source(pit->irq->vm, PIT_GSI, IRQ_SOURCE_PIT, false);
	irq_set_source(pit->irq->vm, PIT_GSI, IRQ_SOURCE_PIT, true);
	irq_set_source(pit->irq->vm, PIT_GSI, IRQ_SOURCE_PIT, false);
	/* Its routes may go to all LAPICs several times. */
	pit->rested = now + (ktime_get() - now) * PIT_REST;
	if (!is_periodic(&pit->channel[0]) || !pause(pit))
		arm(pit, now);
}

void irq_resume_pit(struct vm *vm)
{
	struct pit *pit = vm->irq->pit;
	unsigned long flags;

	if (!pit)
		return;
	raw_spin_lock_irqsave(&pit->lock, flags);
	if (vm->pit_paused)
		arm(pit, ktime_get());
	raw_spin_unlock_irqrestore(&pit->lock, flags);
}

static enum hrtimer_restart timer_fired(struct hrtimer *timer)
{
	struct pit *pit = container_of(timer, struct pit, timer);
	unsigned long flags;

	raw_spin_lock_irqsave(&pit->lock, flags);
	settle(pit, ktime_get());
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	return HRTIMER_NORESTART;
}

/* ---- programming ---- */

static void start_counting(struct pit_channel *ch, s64 start)
{
	ch->start = start;
	ch->counting = true;
}

static void stop_counting(struct pit_channel *ch, s64 now)
{
	if (ch->counting)
		ch->s.elapsed_ns = now - ch->start;
	ch->counting = false;
}

static u32 from_bcd(u32 value)
{
	return (value >> 12) * 1000 + (value >> 8 & 15) * 100 + (value >> 4 & 15) * 10 +
	       (value & 15);
}

static void load_count(struct pit *pit, struct pit_channel *ch, u32 value, s64 now)
{
	if (ch->s.bcd)
		value = from_bcd(value) % 10000;
	ch->s.count = value ?: modulus(ch);
	if (!is_triggered(ch)) {
		ch->counting = false;
		ch->s.elapsed_ns = 0;
		if (ch->s.gate)
			start_counting(ch, now);
	}
	if (ch == &pit->channel[0])
		arm(pit, now);
}

static void write_counter(struct pit *pit, struct pit_channel *ch, u8 data, s64 now)
{
	switch (ch->s.rw_mode) {
	case RW_LOW:
		load_count(pit, ch, data, now);
		break;
	case RW_HIGH:
		load_count(pit, ch, data << 8, now);
		break;
	case RW_BOTH:
		ch->s.write_state ^= 1;
		if (ch->s.write_state) {
			ch->s.write_latch = data;
			if (awaits_second_byte(ch)) {
				stop_counting(ch, now);
				if (ch == &pit->channel[0])
					arm(pit, now);
			}
		} else {
			load_count(pit, ch, ch->s.write_latch | data << 8, now);
		}
		break;
	}
}

static void latch_count(struct pit_channel *ch, s64 now)
{
	if (ch->s.count_latched)
		return;
	ch->s.latched_count = read_counter(ch, now);
	ch->s.count_latched = ch->s.rw_mode == RW_BOTH ? 2 : 1;
}

static void latch_status(struct pit_channel *ch, s64 now)
{
	if (ch->s.status_latched)
		return;
	ch->s.status = (read_output(ch, now) ? STATUS_OUT : 0) |
		       (ch->s.count ? 0 : STATUS_NULL_COUNT) |
		       ch->s.rw_mode << 4 | ch->s.mode << 1 | ch->s.bcd;
	ch->s.status_latched = 1;
}

static void read_back(struct pit *pit, u8 data, s64 now)
{
	int i;

	for (i = 0; i < 3; i++) {
		if (!(data & BIT(i + 1)))
			continue;
		if (!(data & READ_BACK_NO_COUNT))
			latch_count(&pit->channel[i], now);
		if (!(data & READ_BACK_NO_STATUS))
			latch_status(&pit->channel[i], now);
	}
}

static void write_control(struct pit *pit, u8 data, s64 now)
{
	struct pit_channel *ch;
	u8 mode;

	if (CONTROL_CHANNEL(data) == CONTROL_READ_BACK) {
		read_back(pit, data, now);
		return;
	}
	ch = &pit->channel[CONTROL_CHANNEL(data)];
	if (CONTROL_RW(data) == RW_LATCH) {
		latch_count(ch, now);
		return;
	}
	/* Modes 6 and 7 are 2 and 3 */
	mode = CONTROL_MODE(data);
	ch->s = (struct pit_channel_state){
		.mode = mode > 5 ? mode - 4 : mode,
		.rw_mode = CONTROL_RW(data),
		.bcd = data & CONTROL_BCD,
		.gate = ch->s.gate,
		.elapsed_ns = PIT_IDLE,
	};
	ch->counting = false;
	if (ch == &pit->channel[0])
		arm(pit, now);
}

static u8 read_port(struct pit_channel *ch, s64 now)
{
	bool high = ch->s.rw_mode == RW_HIGH || (ch->s.rw_mode == RW_BOTH && ch->s.read_state);
	u16 value;

	if (ch->s.status_latched) {
		ch->s.status_latched = 0;
		return ch->s.status;
	}
	if (ch->s.count_latched) {
		value = ch->s.latched_count;
		ch->s.count_latched--;
	} else {
		value = read_counter(ch, now);
	}
	if (ch->s.rw_mode == RW_BOTH)
		ch->s.read_state ^= 1;
	return high ? value >> 8 : value;
}

/* Data sheet, "gate pin operations summary" */
static void set_gate(struct pit_channel *ch, bool gate, s64 now)
{
	if (gate == ch->s.gate)
		return;
	ch->s.gate = gate;
	if (!ch->s.count || awaits_second_byte(ch))
		return;
	if (is_triggered(ch)) {
		if (gate)
			start_counting(ch, now);
	} else if (!gate) {
		stop_counting(ch, now);
	} else if (is_periodic(ch)) {
		start_counting(ch, now);
	} else {
		start_counting(ch, now - ch->s.elapsed_ns);
	}
}

static u8 read_port61(struct pit *pit, s64 now)
{
	u8 data = pit->speaker;

	if (div_u64(now, REFRESH_NS) & 1)
		data |= PORT61_REFRESH;
	if (read_output(&pit->channel[2], now))
		data |= PORT61_OUT2;
	return data;
}

u8 pit_read_port(struct pit *pit, u16 port)
{
	unsigned long flags;
	u8 data = 0xff;
	s64 now;

	raw_spin_lock_irqsave(&pit->lock, flags);
	now = ktime_get();
	if (port == 0x61)
		data = read_port61(pit, now);
	else if (port != 0x43)
		data = read_port(&pit->channel[port & 3], now);
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	return data;
}

void pit_write_port(struct pit *pit, u16 port, u8 data)
{
	unsigned long flags;
	s64 now;

	raw_spin_lock_irqsave(&pit->lock, flags);
	now = ktime_get();
	/* What was due is not lost by what is programmed now. */
	settle(pit, now);
	if (port == 0x61) {
		pit->speaker = data & (PORT61_GATE | PORT61_SPEAKER);
		set_gate(&pit->channel[2], data & PORT61_GATE, now);
	} else if (port == 0x43) {
		write_control(pit, data, now);
	} else {
		write_counter(pit, &pit->channel[port & 3], data, now);
	}
	raw_spin_unlock_irqrestore(&pit->lock, flags);
}

/* ---- state ---- */

int irq_get_pit(struct vm *vm, struct pit_state *state)
{
	struct pit *pit = vm->irq->pit;
	unsigned long flags;
	s64 now;
	int i;

	if (!pit)
		return -ENXIO;
	memset(state, 0, sizeof(*state));
	raw_spin_lock_irqsave(&pit->lock, flags);
	now = ktime_get();
	settle(pit, now);
	for (i = 0; i < 3; i++) {
		const struct pit_channel *ch = &pit->channel[i];

		state->channel[i] = ch->s;
		if (ch->counting)
			state->channel[i].elapsed_ns = now - ch->start;
	}
	state->speaker = pit->speaker;
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	return 0;
}

static bool channel_valid(const struct pit_channel_state *s)
{
	return s->count <= (s->bcd ? 10000 : 0x10000) && s->count_latched <= 2 &&
	       (s->status_latched | s->read_state | s->write_state | s->bcd | s->gate) <= 1 &&
	       s->rw_mode >= RW_LOW && s->rw_mode <= RW_BOTH && s->mode <= 5 &&
	       (s->elapsed_ns <= PIT_MAX_ELAPSED_NS || s->elapsed_ns == PIT_IDLE);
}

static bool pit_state_valid(const struct pit_state *state)
{
	int i;

	for (i = 0; i < 3; i++)
		if (!channel_valid(&state->channel[i]))
			return false;
	return state->channel[0].gate && state->channel[1].gate &&
	       state->channel[2].gate == (state->speaker & PORT61_GATE) &&
	       !(state->speaker & ~(PORT61_GATE | PORT61_SPEAKER)) &&
	       !state->irq_level && !state->ticks_pending && !memchr_inv(state->reserved, 0, 6);
}

int irq_check_pit(struct vm *vm, const struct pit_state *state)
{
	if (!vm->irq->pit)
		return -ENXIO;
	return pit_state_valid(state) ? 0 : -EINVAL;
}

void irq_set_pit(struct vm *vm, const struct pit_state *state)
{
	struct pit *pit = vm->irq->pit;
	unsigned long flags;
	s64 now;
	int i;

	raw_spin_lock_irqsave(&pit->lock, flags);
	now = ktime_get();
	for (i = 0; i < 3; i++) {
		struct pit_channel *ch = &pit->channel[i];

		ch->s = state->channel[i];
		ch->counting = false;
		if (ch->s.count && ch->s.elapsed_ns != PIT_IDLE &&
		    (ch->s.gate || is_triggered(ch)) && !awaits_second_byte(ch))
			start_counting(ch, now - ch->s.elapsed_ns);
	}
	pit->speaker = state->speaker;
	arm(pit, now);
	raw_spin_unlock_irqrestore(&pit->lock, flags);
}

int pit_create(struct irq_controllers *irq)
{
	struct pit *pit = kzalloc(sizeof(*pit), GFP_KERNEL_ACCOUNT);
	int i;

	if (!pit)
		return -ENOMEM;
	raw_spin_lock_init(&pit->lock);
	compat_hrtimer_setup(&pit->timer, timer_fired, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_HARD);
	pit->irq = irq;
	for (i = 0; i < 3; i++) {
		pit->channel[i].s.rw_mode = RW_BOTH;
		pit->channel[i].s.gate = i < 2;
		pit->channel[i].s.elapsed_ns = PIT_IDLE;
	}
	irq->pit = pit;
	return 0;
}

void pit_destroy(struct irq_controllers *irq)
{
	if (!irq->pit)
		return;
	hrtimer_cancel(&irq->pit->timer);
	kfree(irq->pit);
}
