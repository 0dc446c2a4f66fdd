// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MC146818 and its CMOS memory at 0x70, IRQ 8: the host's time in UTC,
 * alarm, update and periodic interrupts, and the sizes of memory.
 *
 * Time is computed when it is read. The guest may set it: then it differs from
 * the host's by an offset, in this run only.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "../machine.h"

#define RTC_PORT	0x70
#define RTC_GSI		8

enum {
	SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH,
	YEAR, STATUS_A, STATUS_B, STATUS_C, STATUS_D,
	CENTURY = 0x32,
};

#define A_UIP		0x80	/* an update is about to happen */
#define A_RATE		0x0f
#define A_DEFAULT	0x26	/* 32,768 Hz, 1,024 interrupts a second */
#define B_SET		0x80	/* the guest sets the time: it stands still */
#define B_PERIODIC	0x40
#define B_ALARM		0x20
#define B_UPDATE	0x10
#define B_BINARY	0x04
#define B_24H		0x02
#define C_IRQ		0x80
#define D_VALID		0x80
#define ALARM_ANY	0xc0	/* from here on an alarm field matches any value */

#define SECOND_NS	1000000000LL
#define UPDATE_NS	244000	/* UIP is set so long before an update */

/**
 * struct rtc - the clock
 * @machine: the machine
 * @lock: all that follows
 * @index: of the register at the data port
 * @cmos: registers; those of the time are current only while B_SET is set
 * @offset: guest's seconds less the host's
 * @next_second: of guest time, that update and alarm interrupts look at next
 * @next_periodic: CLOCK_MONOTONIC in ns
 * @timer: runs while an interrupt is enabled, for a second at most: the host's clock may be set
 * @level: of the IRQ, as last told to the module
 */
struct rtc {
	struct machine *machine;
	pthread_mutex_t lock;
	uint8_t index;
	uint8_t cmos[128];
	int64_t offset;
	int64_t next_second;
	int64_t next_periodic;
	int timer;
	bool level;
};

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static int64_t host_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

static int64_t host_seconds(void)
{
	return host_ns() / SECOND_NS;
}

/* What no one sets */
static int64_t monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* ---- the time in registers ---- */

static uint8_t encode(const struct rtc *rtc, int value)
{
	return rtc->cmos[STATUS_B] & B_BINARY ? value : value / 10 << 4 | value % 10;
}

static int decode(const struct rtc *rtc, uint8_t value)
{
	return rtc->cmos[STATUS_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const struct rtc *rtc, int hour)
{
	if (rtc->cmos[STATUS_B] & B_24H)
		return encode(rtc, hour);
	return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static int decode_hour(const struct rtc *rtc, uint8_t value)
{
	int hour;

	if (rtc->cmos[STATUS_B] & B_24H)
		return decode(rtc, value);
	hour = decode(rtc, value & 0x7f) % 12;
	return value & 0x80 ? hour + 12 : hour;
}

static void store_time(struct rtc *rtc, int64_t seconds)
{
	time_t when = seconds;
	struct tm tm;

	gmtime_r(&when, &tm);
	rtc->cmos[SECONDS] = encode(rtc, tm.tm_sec);
	rtc->cmos[MINUTES] = encode(rtc, tm.tm_min);
	rtc->cmos[HOURS] = encode_hour(rtc, tm.tm_hour);
	rtc->cmos[WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	rtc->cmos[DAY] = encode(rtc, tm.tm_mday);
	rtc->cmos[MONTH] = encode(rtc, tm.tm_mon + 1);
	rtc->cmos[YEAR] = encode(rtc, tm.tm_year % 100);
	rtc->cmos[CENTURY] = encode(rtc, 19 + tm.tm_year / 100);
}

static int64_t stored_time(const struct rtc *rtc)
{
	struct tm tm = {
		.tm_sec = decode(rtc, rtc->cmos[SECONDS]),
		.tm_min = decode(rtc, rtc->cmos[MINUTES]),
		.tm_hour = decode_hour(rtc, rtc->cmos[HOURS]),
		.tm_mday = decode(rtc, rtc->cmos[DAY]),
		.tm_mon = decode(rtc, rtc->cmos[MONTH]) - 1,
		.tm_year = (decode(rtc, rtc->cmos[CENTURY]) - 19) * 100 +
			   decode(rtc, rtc->cmos[YEAR]),
	};

	return timegm(&tm);
}

static bool is_time(unsigned int index)
{
	switch (index) {
	case SECONDS:
	case MINUTES:
	case HOURS:
	case WEEKDAY:
	case DAY:
	case MONTH:
	case YEAR:
	case CENTURY:
		return true;
	default:
		return false;
	}
}

static void load_time(struct rtc *rtc)
{
	if (!(rtc->cmos[STATUS_B] & B_SET))
		store_time(rtc, host_seconds() + rtc->offset);
}

/* The guest's clock is set to what the registers hold. No second before that is looked at. */
static void set_clock(struct rtc *rtc)
{
	rtc->offset = stored_time(rtc) - host_seconds();
	rtc->next_second = host_seconds() + rtc->offset + 1;
}

/* ---- interrupts ---- */

static void update_irq(struct rtc *rtc)
{
	uint8_t enabled = rtc->cmos[STATUS_B] & (B_PERIODIC | B_ALARM | B_UPDATE);
	bool level = rtc->cmos[STATUS_C] & enabled;

	rtc->cmos[STATUS_C] &= ~C_IRQ;
	if (level)
		rtc->cmos[STATUS_C] |= C_IRQ;
	if (level == rtc->level)
		return;
	rtc->level = level;
	vmm_irq_line(rtc->machine->vm, RTC_GSI, level);
}

static bool alarm_field(const struct rtc *rtc, unsigned int field, unsigned int alarm)
{
	return rtc->cmos[alarm] >= ALARM_ANY || rtc->cmos[alarm] == rtc->cmos[field];
}

static bool alarm_matches(struct rtc *rtc, int64_t seconds)
{
	store_time(rtc, seconds);
	return alarm_field(rtc, SECONDS, SECONDS_ALARM) &&
	       alarm_field(rtc, MINUTES, MINUTES_ALARM) && alarm_field(rtc, HOURS, HOURS_ALARM);
}

static int64_t period_ns(const struct rtc *rtc)
{
	unsigned int rate = rtc->cmos[STATUS_A] & A_RATE;

	if (!rate)
		return 0;
	if (rate < 3)
		rate += 7;
	return SECOND_NS * (1LL << (rate - 1)) / 32768;
}

/* Seconds and periods that have passed since the last look */
static void catch_up(struct rtc *rtc)
{
	int64_t now = monotonic_ns(), seconds = host_seconds() + rtc->offset;

	/* None is due later than the next one, though the host's clock may have been set back. */
	if ((rtc->cmos[STATUS_B] & B_SET) || rtc->next_second > seconds)
		rtc->next_second = seconds + 1;
	/* After a long sleep only the last minute is looked at. */
	if (seconds - rtc->next_second > 60)
		rtc->next_second = seconds - 60;
	for (; rtc->next_second <= seconds; rtc->next_second++) {
		rtc->cmos[STATUS_C] |= B_UPDATE;
		if ((rtc->cmos[STATUS_B] & B_ALARM) && alarm_matches(rtc, rtc->next_second))
			rtc->cmos[STATUS_C] |= B_ALARM;
	}
	if (period_ns(rtc) && now >= rtc->next_periodic) {
		rtc->cmos[STATUS_C] |= B_PERIODIC;
		rtc->next_periodic += period_ns(rtc);
		if (rtc->next_periodic <= now)
			rtc->next_periodic = now + period_ns(rtc);
	}
}

/* What is due is due at once: 0 would stop the timer. */
static int64_t at_least_1(int64_t wait)
{
	return wait < 1 ? 1 : wait;
}

/* To the next second or period that an enabled interrupt waits for */
static void set_timer(struct rtc *rtc)
{
	uint8_t b = rtc->cmos[STATUS_B];
	struct itimerspec when = { .it_value.tv_sec = 0 };
	int64_t wait = 0, period;

	if ((b & (B_ALARM | B_UPDATE)) && !(b & B_SET)) {
		wait = at_least_1((rtc->next_second - rtc->offset) * SECOND_NS - host_ns());
		if (wait > SECOND_NS)
			wait = SECOND_NS;
	}
	if ((b & B_PERIODIC) && period_ns(rtc)) {
		period = at_least_1(rtc->next_periodic - monotonic_ns());
		if (!wait || period < wait)
			wait = period;
	}
	when.it_value.tv_sec = wait / SECOND_NS;
	when.it_value.tv_nsec = wait % SECOND_NS;
	timerfd_settime(rtc->timer, 0, &when, NULL);
}

static void timer_ready(struct machine *machine, void *opaque)
{
	struct rtc *rtc = opaque;
	uint64_t times;

	pthread_mutex_lock(&rtc->lock);
	if (read(rtc->timer, &times, sizeof(times)) == sizeof(times)) {
		catch_up(rtc);
		update_irq(rtc);
		set_timer(rtc);
	}
	pthread_mutex_unlock(&rtc->lock);
}

/* ---- registers ---- */

static void write_b(struct rtc *rtc, uint8_t value)
{
	uint8_t old = rtc->cmos[STATUS_B];

	if (!(old & B_SET))
		load_time(rtc);
	if (value & B_SET)
		value &= ~B_UPDATE;
	rtc->cmos[STATUS_B] = value;
	if ((old & B_SET) && !(value & B_SET))
		set_clock(rtc);
	if ((value & (B_PERIODIC | B_ALARM | B_UPDATE)) & ~old) {
		rtc->next_second = host_seconds() + rtc->offset + 1;
		rtc->next_periodic = monotonic_ns() + period_ns(rtc);
		rtc->cmos[STATUS_C] &= old;
	}
	update_irq(rtc);
	set_timer(rtc);
}

static void write_cmos(struct rtc *rtc, unsigned int index, uint8_t value)
{
	switch (index) {
	case STATUS_A:
		rtc->cmos[index] = value & ~A_UIP;
		rtc->next_periodic = monotonic_ns() + period_ns(rtc);
		set_timer(rtc);
		break;
	case STATUS_B:
		write_b(rtc, value);
		break;
	case STATUS_C:
	case STATUS_D:
		break;
	default:
		if (!is_time(index)) {
			rtc->cmos[index] = value;
			break;
		}
		load_time(rtc);
		rtc->cmos[index] = value;
		if (rtc->cmos[STATUS_B] & B_SET)
			break;
		set_clock(rtc);
		set_timer(rtc);
		break;
	}
}

static uint8_t read_cmos(struct rtc *rtc, unsigned int index)
{
	uint8_t value;

	switch (index) {
	case STATUS_A:
		value = rtc->cmos[index];
		if (!(rtc->cmos[STATUS_B] & B_SET) &&
		    host_ns() % SECOND_NS >= SECOND_NS - UPDATE_NS)
			value |= A_UIP;
		return value;
	case STATUS_C:
		catch_up(rtc);
		update_irq(rtc);
		value = rtc->cmos[index];
		rtc->cmos[index] = 0;
		update_irq(rtc);
		return value;
	case STATUS_D:
		return D_VALID;
	default:
		if (is_time(index))
			load_time(rtc);
		return rtc->cmos[index];
	}
}

static int access_port(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct rtc *rtc = opaque;
	bool data = access->address & 1;

	pthread_mutex_lock(&rtc->lock);
	if (access->write && !data) {
		/* Bit 7 masks the NMI, of which there is no source. */
		rtc->index = access->data & 0x7f;
		if (access->size > 1)
			write_cmos(rtc, rtc->index, access->data >> 8 & 0xff);
	} else if (access->write) {
		write_cmos(rtc, rtc->index, access->data & 0xff);
	} else if (data) {
		access->data = (access->data & ~0xffULL) | read_cmos(rtc, rtc->index);
	}
	pthread_mutex_unlock(&rtc->lock);
	return 0;
}

/* ---- memory sizes, as PC firmware leaves them ---- */

static void put16(struct rtc *rtc, unsigned int index, uint64_t value)
{
	if (value > 0xffff)
		value = 0xffff;
	rtc->cmos[index] = value & 0xff;
	rtc->cmos[index + 1] = value >> 8;
}

static void put_memory(struct rtc *rtc, uint64_t low, uint64_t all)
{
	uint64_t high = (all - low) >> 16;

	put16(rtc, 0x15, 640);
	if (low > 1 << 20) {
		put16(rtc, 0x17, (low - (1 << 20)) >> 10);
		put16(rtc, 0x30, (low - (1 << 20)) >> 10);
	}
	if (low > 16 << 20)
		put16(rtc, 0x34, (low - (16 << 20)) >> 16);
	rtc->cmos[0x5b] = high & 0xff;
	rtc->cmos[0x5c] = high >> 8 & 0xff;
	rtc->cmos[0x5d] = high >> 16 & 0xff;
}

static int create(struct machine *machine)
{
	static struct rtc rtc;

	rtc.machine = machine;
	pthread_mutex_init(&rtc.lock, NULL);
	rtc.cmos[STATUS_A] = A_DEFAULT;
	rtc.cmos[STATUS_B] = B_24H;
	put_memory(&rtc, machine->low_bytes, machine->options->memory);
	rtc.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (rtc.timer < 0) {
		complain("rtc: timerfd: %s", strerror(errno));
		return -errno;
	}
	machine_watch(machine, rtc.timer, timer_ready, &rtc);
	return machine_add(machine, "rtc", VMM_BUS_IO, RTC_PORT, 2, access_port, &rtc);
}

static const struct device_type rtc_type = {
	.name = "rtc",
	.create = create,
};

DEVICE(rtc_type);
