// SPDX-License-Identifier: GPL-2.0-only
/*
 * The 8254 and port 0x61: each mode's output and count, latches and read-back, gates,
 * the interrupts of channel 0, and that all of it is in the state.
 */
/* hosts: deterministic */
#include <pthread.h>

#include "kselftest_harness.h"
#include "remote.h"

#define HZ		1193182.0
#define MS		1000000ULL
#define CONTROL		0x43

/* Control words: channel, access, mode */
#define BOTH		0x30
#define LOW		0x10
#define HIGH		0x20
#define MODE(n)		((n) << 1)
#define BCD		1
#define CHANNEL(n)	((n) << 6)

#define STATUS_OUT	0x80
#define STATUS_NULL	0x40
#define PORT61_OUT	0x20

static void set_mode(struct vcpu *vcpu, int channel, u8 control)
{
	remote_out8(vcpu, CONTROL, CHANNEL(channel) | control);
}

static void load(struct vcpu *vcpu, int channel, u16 count)
{
	remote_out8(vcpu, 0x40 + channel, count);
	remote_out8(vcpu, 0x40 + channel, count >> 8);
}

static u16 read_latched(struct vcpu *vcpu, int channel)
{
	u8 low;

	remote_out8(vcpu, CONTROL, CHANNEL(channel));
	low = remote_in8(vcpu, 0x40 + channel);
	return low | remote_in8(vcpu, 0x40 + channel) << 8;
}

static u8 read_status(struct vcpu *vcpu, int channel)
{
	remote_out8(vcpu, CONTROL, 0xe0 | 2 << channel);
	return remote_in8(vcpu, 0x40 + channel);
}

/* Ticks that lie between two moments */
static double ticks(u64 from, u64 to)
{
	return (to - from) * HZ / 1e9;
}

static void get_pit(struct vcpu *vcpu, struct vmm_vm_state *state)
{
	*state = (struct vmm_vm_state){ .size = sizeof(*state), .groups = VMM_VM_STATE_PIT };
	if (do_ioctl(vcpu->vm->fd, VMM_GET_VM_STATE, state))
		fail("VMM_GET_VM_STATE");
}

static int set_pit(struct vcpu *vcpu, struct vmm_vm_state *state)
{
	return do_ioctl(vcpu->vm->fd, VMM_SET_VM_STATE, state);
}

static void init_pic(struct vcpu *vcpu)
{
	static const u8 words[] = { 0x11, 0x30, 0x04, 0x03 };	/* automatic EOI */
	int i;

	for (i = 0; i < 4; i++)
		remote_out8(vcpu, i ? 0x21 : 0x20, words[i]);
	remote_out8(vcpu, 0x21, 0xfe);
}

FIXTURE(pit) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_SETUP(pit)
{
	self->vm = vm_create(16 * MIB, VMM_VM_PIC | VMM_VM_PIT | VMM_VM_LAPIC);
	self->v = vcpu_create(self->vm, 0);
	remote_start(self->v);
	init_pic(self->v);
}

FIXTURE_TEARDOWN(pit)
{
	vm_destroy(self->vm);
}

/* ---- registers --------------------------------------------------------------- */

TEST_F(pit, status)
{
	struct vcpu *v = self->v;

	/* Until a count is there the output is as the control word put it. */
	set_mode(v, 2, BOTH | MODE(0) | BCD);
	EXPECT_EQ(STATUS_NULL | BOTH | MODE(0) | BCD, read_status(v, 2));
	set_mode(v, 2, LOW | MODE(3));
	EXPECT_EQ(STATUS_OUT | STATUS_NULL | LOW | MODE(3), read_status(v, 2));
	/* Modes 6 and 7 are 2 and 3. */
	set_mode(v, 2, HIGH | MODE(7));
	EXPECT_EQ(STATUS_OUT | STATUS_NULL | HIGH | MODE(3), read_status(v, 2));
	set_mode(v, 1, BOTH | MODE(6));
	EXPECT_EQ(STATUS_OUT | STATUS_NULL | BOTH | MODE(2), read_status(v, 1));
	load(v, 1, 1000);
	EXPECT_EQ(BOTH | MODE(2), read_status(v, 1) & 0x7f);

	/* Latched once, it stays as it was at that moment. */
	set_mode(v, 0, BOTH | MODE(0));
	remote_out8(v, CONTROL, 0xe2);
	load(v, 0, 100);
	usleep(1000);
	remote_out8(v, CONTROL, 0xe2);
	EXPECT_EQ(STATUS_NULL | BOTH | MODE(0), remote_in8(v, 0x40));
	EXPECT_EQ(STATUS_OUT | BOTH | MODE(0), read_status(v, 0));
	/* The control port cannot be read. */
	remote_in8(v, CONTROL);
	EXPECT_EQ(0, remote_exits);
}

TEST_F(pit, counts_down)
{
	struct vcpu *v = self->v;
	u64 before, loaded, t0, t1;
	u16 count;

	set_mode(v, 0, BOTH | MODE(0));
	before = now_ns();
	load(v, 0, 0xffff);
	loaded = now_ns();
	usleep(5000);
	t0 = now_ns();
	count = read_latched(v, 0);
	t1 = now_ns();
	EXPECT_LE(0xffff - count, ticks(before, t1) + 1);
	EXPECT_GE(0xffff - count, ticks(loaded, t0) - 1);
}

TEST_F(pit, latches)
{
	struct vcpu *v = self->v;
	u8 low, high, again;

	set_mode(v, 0, BOTH | MODE(2));
	load(v, 0, 0);
	/* The second latch does nothing while the first is not read. */
	remote_out8(v, CONTROL, 0x00);
	usleep(1000);
	remote_out8(v, CONTROL, 0x00);
	low = remote_in8(v, 0x40);
	usleep(1000);
	high = remote_in8(v, 0x40);
	EXPECT_LT(0x10000 - (low | high << 8), 1100);
	/* Read-back: status first, then the count */
	remote_out8(v, CONTROL, 0xc2);
	EXPECT_EQ(BOTH | MODE(2), remote_in8(v, 0x40) & 0x7f);
	low = remote_in8(v, 0x40);
	high = remote_in8(v, 0x40);
	EXPECT_GT(0x10000 - (low | high << 8), 2000);
	/* Two channels by one command */
	set_mode(v, 1, LOW | MODE(2));
	remote_out8(v, 0x41, 200);
	remote_out8(v, CONTROL, 0xee);
	EXPECT_EQ(BOTH | MODE(2), remote_in8(v, 0x40) & 0x7f);
	EXPECT_EQ(LOW | MODE(2), remote_in8(v, 0x41) & 0x7f);
	/* One byte alone */
	set_mode(v, 0, HIGH | MODE(2));
	remote_out8(v, 0x40, 0x80);
	EXPECT_GE(0x80, remote_in8(v, 0x40));
	EXPECT_LT(0x70, remote_in8(v, 0x40));
	/* Without a latch the bytes come as they are then. */
	set_mode(v, 0, BOTH | MODE(0));
	load(v, 0, 0xffff);
	low = remote_in8(v, 0x40);
	high = remote_in8(v, 0x40);
	again = remote_in8(v, 0x40);
	EXPECT_NE(low, again);
	EXPECT_GT(high, 0x80);
}

/* Decimal counts, and the largest that a count can be, which is written as 0 */
TEST_F(pit, bcd)
{
	struct vcpu *v = self->v;
	u16 count;
	int i;

	set_mode(v, 0, BOTH | MODE(2) | BCD);
	load(v, 0, 0);
	for (i = 0; i < 50; i++) {
		count = read_latched(v, 0);
		EXPECT_LT(count & 0xf, 10);
		EXPECT_LT(count >> 4 & 0xf, 10);
		EXPECT_LT(count >> 8 & 0xf, 10);
		EXPECT_LT(count >> 12, 10);
	}
	load(v, 0, 0x0002);
	EXPECT_LE(read_latched(v, 0), 2);
	/* What is no decimal number hurts nobody. */
	load(v, 0, 0xffff);
	read_latched(v, 0);
}

TEST_F(pit, port61)
{
	struct vcpu *v = self->v;
	u8 seen = 0;
	int i;

	remote_out8(v, 0x61, 0xff);
	EXPECT_EQ(0x03, remote_in8(v, 0x61) & 0x0f);
	remote_out8(v, 0x61, 0);
	EXPECT_EQ(0, remote_in8(v, 0x61) & 0x0f);
	/* The refresh request toggles. */
	for (i = 0; i < 1000 && seen != 3; i++)
		seen |= remote_in8(v, 0x61) & 0x10 ? 1 : 2;
	EXPECT_EQ(3, seen);
	EXPECT_EQ(0, remote_exits);
}

/* ---- modes, seen at channel 2 ---------------------------------------------------- */

static bool out2(struct vcpu *vcpu)
{
	return remote_in8(vcpu, 0x61) & PORT61_OUT;
}

static void gate2(struct vcpu *vcpu, bool gate)
{
	remote_out8(vcpu, 0x61, gate);
}

/* Mode 0: low until the end; the gate holds the count without losing it */
TEST_F(pit, mode0)
{
	struct vcpu *v = self->v;
	u16 count;

	gate2(v, 1);
	set_mode(v, 2, BOTH | MODE(0));
	EXPECT_FALSE(out2(v));
	load(v, 2, 60000);
	EXPECT_FALSE(out2(v));
	usleep(5000);
	gate2(v, 0);
	count = read_latched(v, 2);
	EXPECT_LT(count, 55000);
	usleep(5000);
	EXPECT_EQ(count, read_latched(v, 2));
	EXPECT_FALSE(out2(v));
	gate2(v, 1);
	usleep(1000);
	EXPECT_LT(read_latched(v, 2), count - 500);
	/* The first byte of a new count stops it, with either gate. */
	remote_out8(v, 0x42, 0x34);
	count = read_latched(v, 2);
	gate2(v, 0);
	gate2(v, 1);
	usleep(1000);
	EXPECT_EQ(count, read_latched(v, 2));
	remote_out8(v, 0x42, 0x02);
	usleep(2000);
	EXPECT_TRUE(out2(v));
	/* High for good, while it goes on to count below 0. */
	usleep(1000);
	EXPECT_TRUE(out2(v));
	EXPECT_GT(read_latched(v, 2), 0x8000);
	load(v, 2, 60000);
	EXPECT_FALSE(out2(v));
}

/* Mode 1: the gate's rise starts a low pulse, again and again */
TEST_F(pit, mode1)
{
	struct vcpu *v = self->v;
	int i;

	gate2(v, 0);
	set_mode(v, 2, BOTH | MODE(1));
	EXPECT_TRUE(out2(v));
	load(v, 2, 60000);
	EXPECT_TRUE(out2(v));
	for (i = 0; i < 2; i++) {
		gate2(v, 1);
		EXPECT_FALSE(out2(v));
		/* Its fall stops nothing. */
		gate2(v, 0);
		EXPECT_FALSE(out2(v));
		usleep(40000);
	}
	/* Triggered anew before the end */
	gate2(v, 1);
	gate2(v, 0);
	usleep(60000);
	EXPECT_TRUE(out2(v));
}

/* Modes 2 and 3: periodic; the gate's fall forces the output high, its rise starts over */
TEST_F(pit, mode2_and_3)
{
	struct vcpu *v = self->v;
	int high = 0, i;

	gate2(v, 1);
	set_mode(v, 2, BOTH | MODE(3));
	load(v, 2, 2000);
	for (i = 0; i < 400; i++)
		high += out2(v);
	EXPECT_GT(high, 80);
	EXPECT_LT(high, 320);
	gate2(v, 0);
	for (i = 0; i < 100; i++)
		EXPECT_TRUE(out2(v));
	load(v, 2, 60000);
	gate2(v, 1);
	EXPECT_TRUE(out2(v));
	/* Mode 3 counts by two. */
	EXPECT_EQ(0, read_latched(v, 2) & 1);
	usleep(30000);
	EXPECT_FALSE(out2(v));

	set_mode(v, 2, BOTH | MODE(2));
	load(v, 2, 60000);
	usleep(30000);
	EXPECT_TRUE(out2(v));
	EXPECT_LT(read_latched(v, 2), 30000);
	gate2(v, 0);
	gate2(v, 1);
	EXPECT_GT(read_latched(v, 2), 50000);
}

/* Modes 4 and 5: high but for one tick at the end */
TEST_F(pit, mode4_and_5)
{
	struct vcpu *v = self->v;

	gate2(v, 1);
	set_mode(v, 2, BOTH | MODE(4));
	load(v, 2, 2000);
	EXPECT_TRUE(out2(v));
	usleep(3000);
	EXPECT_TRUE(out2(v));
	EXPECT_GT(read_latched(v, 2), 0x8000);
	gate2(v, 0);
	set_mode(v, 2, BOTH | MODE(5));
	load(v, 2, 2000);
	usleep(3000);
	EXPECT_EQ(2000, read_latched(v, 2));
	gate2(v, 1);
	usleep(3000);
	EXPECT_GT(read_latched(v, 2), 0x8000);
	EXPECT_TRUE(out2(v));
}

/* ---- interrupts --------------------------------------------------------------- */

TEST_F(pit, one_shot)
{
	struct vcpu *v = self->v;
	u64 start;

	set_mode(v, 0, BOTH | MODE(0));
	start = now_ns();
	load(v, 0, 11932);	/* 10 ms */
	EXPECT_STREQ("", remote_take(v));
	EXPECT_STREQ("30", remote_wait(v));
	EXPECT_GE(now_ns() - start, 10 * MS);
	usleep(30000);
	EXPECT_STREQ("", remote_take(v));
	/* A control word takes it back. */
	load(v, 0, 1193);
	set_mode(v, 0, BOTH | MODE(0));
	usleep(5000);
	EXPECT_STREQ("", remote_take(v));
	/* What was due before does not get lost by it. */
	load(v, 0, 1193);
	usleep(5000);
	set_mode(v, 0, BOTH | MODE(4));
	EXPECT_STREQ("30", remote_take(v));
	load(v, 0, 1193);
	EXPECT_STREQ("30", remote_wait(v));
	usleep(5000);
	EXPECT_STREQ("", remote_take(v));
}

/* A period is kept over many of them. */
TEST_F(pit, periodic)
{
	struct vcpu *v = self->v;
	u64 start, ns;
	int mode, i;

	for (mode = 2; mode <= 3; mode++) {
		set_mode(v, 0, BOTH | MODE(mode));
		remote_take(v);
		start = now_ns();
		load(v, 0, 5966);	/* 5 ms */
		for (i = 0; i < 40; i++)
			EXPECT_STREQ("30", remote_wait(v));
		ns = now_ns() - start;
		EXPECT_GE(ns, 40 * 5966 / HZ * 1e9);
		/* None of them was late by the half of one, or begun anew. */
		EXPECT_LT(ns, 40.5 * 5966 / HZ * 1e9);
	}
	/* Modes 1 and 5 wait for a gate that channel 0 does not have. */
	for (mode = 1; mode <= 5; mode += 4) {
		set_mode(v, 0, BOTH | MODE(mode));
		remote_take(v);
		load(v, 0, 100);
		usleep(5000);
		EXPECT_STREQ("", remote_take(v));
	}
}

/* The shortest periods are not the host's to suffer from. */
TEST_F(pit, storm)
{
	struct vcpu *v = self->v;
	u64 end = now_ns() + 100 * MS;
	int count = 0;

	NEEDS_SPEED();
	set_mode(v, 0, LOW | MODE(2));
	remote_out8(v, 0x40, 1);
	while (now_ns() < end)
		count += remote_take(v)[0] == '3';
	EXPECT_GT(count, 1);
	EXPECT_LE(count, 501);
	/* The count itself is exact. */
	set_mode(v, 0, LOW | MODE(3));
	remote_out8(v, 0x40, 2);
	EXPECT_EQ(0, remote_in8(v, 0x40) & 0xfd);
	set_mode(v, 0, LOW | MODE(0));
}

TEST(by_ioapic)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_PIT | VMM_VM_IOAPIC | VMM_VM_LAPIC);
	struct vcpu *v = vcpu_create(vm, 0);

	remote_start(v);
	remote_write32(v, 0xfee000f0, 0x1ff);
	/* GSI 0 is pin 2. */
	remote_write32(v, 0xfec00000, 0x14);
	remote_write32(v, 0xfec00010, 0x44);
	set_mode(v, 0, BOTH | MODE(0));
	load(v, 0, 1193);
	EXPECT_STREQ("44", remote_wait(v));
	vm_destroy(vm);
}

/* ---- while nobody runs -------------------------------------------------------- */

#define PERIOD	1193		/* 1 ms */
#define VECTOR	0x44

FIXTURE(ticks) {
	struct vm *vm;
	struct vcpu *v;
};

/* By pin 2 of the I/O APIC, which is masked yet */
FIXTURE_SETUP(ticks)
{
	self->vm = vm_create(16 * MIB, VMM_VM_PIT | VMM_VM_IOAPIC | VMM_VM_LAPIC);
	self->v = vcpu_create(self->vm, 0);
	remote_start(self->v);
	remote_write32(self->v, 0xfee000f0, 0x1ff);
	remote_write32(self->v, 0xfec00000, 0x14);
	remote_write32(self->v, 0xfec00010, 0x10000 | VECTOR);
	set_mode(self->v, 0, BOTH | MODE(2));
	load(self->v, 0, PERIOD);
}

FIXTURE_TEARDOWN(ticks)
{
	vm_destroy(self->vm);
}

/* A LAPIC that requests the tick does so no more. Return: did it? */
static bool take_request(struct vcpu *vcpu)
{
	u32 *irr;
	bool was;

	vcpu_get(vcpu, VMM_STATE_LAPIC);
	irr = &vcpu->state.lapic.regs[(0x200 + VECTOR / 32 * 0x10) / 4];
	was = *irr & 1 << VECTOR % 32;
	*irr &= ~(1 << VECTOR % 32);
	vcpu_set(vcpu, VMM_STATE_LAPIC);
	return was;
}

/* With no vCPU in the guest, one rise is all that the host is to suffer from. */
TEST_F(ticks, wait_for_a_vcpu)
{
	struct vcpu *v = self->v;
	u64 start;
	int i;

	remote_write32(v, 0xfec00010, VECTOR);
	usleep(30000);
	EXPECT_TRUE(take_request(v));
	usleep(30000);
	EXPECT_FALSE(take_request(v));
	/* They go on where they would be now. */
	start = now_ns();
	for (i = 0; i < 20; i++) {
		EXPECT_STREQ("44", remote_wait(v));
		remote_write32(v, 0xfee000b0, 0);
	}
	EXPECT_GE(now_ns() - start, 19 * (PERIOD - 1) / HZ * 1e9);
	/* What is counted does not wait. */
	set_mode(v, 0, BOTH | MODE(2));
	load(v, 0, 0);
	usleep(20000);
	EXPECT_LT(read_latched(v, 0), 0x10000 - ticks(0, 20 * MS));
}

static void *unmask_later(void *arg)
{
	struct vmm_vm_state s = { .size = sizeof(s), .groups = VMM_VM_STATE_IOAPIC };
	struct vm *vm = arg;

	usleep(30000);
	if (do_ioctl(vm->fd, VMM_GET_VM_STATE, &s))
		fail("VMM_GET_VM_STATE");
	s.ioapic.redirection[2] = VECTOR;
	if (do_ioctl(vm->fd, VMM_SET_VM_STATE, &s))
		fail("VMM_SET_VM_STATE");
	return NULL;
}

static void *route_later(void *arg)
{
	struct vmm_route route = {
		.gsi = 0, .type = VMM_ROUTE_MSI, .address = 0xfee00000, .data = VECTOR,
	};
	struct vmm_routes routes = {
		.size = sizeof(routes), .count = 1, .routes = (uintptr_t)&route,
	};
	struct vm *vm = arg;

	usleep(30000);
	if (do_ioctl(vm->fd, VMM_SET_ROUTES, &routes))
		fail("VMM_SET_ROUTES");
	return NULL;
}

/* A vCPU that sleeps, and no tick has woken, is woken by the first one that can. */
TEST_F(ticks, reach_a_sleeper)
{
	void *(*const later[])(void *) = { unmask_later, route_later };
	struct vcpu *v = self->v;
	pthread_t thread;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(later); i++) {
		remote_write32(v, 0xfec00010, 0x10000 | VECTOR);
		remote_take(v);
		remote_write32(v, 0xfee000b0, 0);
		ASSERT_EQ(0, pthread_create(&thread, NULL, later[i], self->vm));
		EXPECT_STREQ("44", remote_wait(v));
		pthread_join(thread, NULL);
		remote_write32(v, 0xfee000b0, 0);
	}
}

static void set_line(struct vm *vm, bool level)
{
	struct vmm_irq_line line = { .size = sizeof(line), .level = level };

	if (do_ioctl(vm->fd, VMM_IRQ_LINE, &line))
		fail("VMM_IRQ_LINE");
}

static void *lower_later(void *vm)
{
	usleep(30000);
	set_line(vm, false);
	return NULL;
}

/* Nor does it sleep for ever where another's line hides the ticks, or a restored one. */
TEST_F(ticks, reach_a_sleeper_behind_a_high_line)
{
	struct vmm_vm_state s = { .size = sizeof(s), .groups = VMM_VM_STATE_IOAPIC };
	struct vcpu *v = self->v;
	pthread_t thread;

	remote_write32(v, 0xfec00010, VECTOR);
	set_line(self->vm, true);
	EXPECT_STREQ("44", remote_wait(v));
	remote_write32(v, 0xfee000b0, 0);
	ASSERT_EQ(0, pthread_create(&thread, NULL, lower_later, self->vm));
	EXPECT_STREQ("44", remote_wait(v));
	pthread_join(thread, NULL);
	remote_write32(v, 0xfee000b0, 0);

	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_GET_VM_STATE, &s));
	s.ioapic.lines |= 1 << 2;
	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_SET_VM_STATE, &s));
	EXPECT_STREQ("44", remote_wait(v));
}

/* Counts ticks with interrupts closed for most of the time, and leaves for nobody. */
GUEST_CODE(count_ticks, 64,
	   "1: mov $5000, %ecx\n"
	   "2: dec %ecx\n"
	   "jnz 2b\n"
	   "sti\n"
	   "nop\n"
	   "cli\n"
	   "cmpl $100, DATA_GPA\n"
	   "jb 1b\n"
	   "out %al, $PORT_DONE\n"
	   "count_ticks_handler: incl DATA_GPA\n"
	   "iretq\n");
extern const u8 count_ticks_handler[];

TEST_F(pit, reach_a_guest_that_spins)
{
	u64 handler = CODE_GPA + (count_ticks_handler - count_ticks), start, ns;
	struct vcpu *v = self->v;

	set_mode(v, 0, BOTH | MODE(2));
	load(v, 0, PERIOD);
	vcpu_load(v, MODE_LONG, count_ticks);
	guest_u32(self->vm, DATA_GPA) = 0;
	guest_u16(self->vm, IDT_GPA + 16 * 0x30) = handler;
	guest_u16(self->vm, IDT_GPA + 16 * 0x30 + 6) = handler >> 16;
	start = now_ns();
	run_done(v);
	ns = now_ns() - start;
	EXPECT_GE(ns, 98 * (PERIOD - 1) / HZ * 1e9);
	/* Most are taken: none waits for an interrupt of the host's. */
	EXPECT_LT(ns, 150 * PERIOD / HZ * 1e9);
}

/* ---- state ------------------------------------------------------------------- */

/* Saved in one VM, restored in another some time later: the time between did not pass. */
TEST_F(pit, state)
{
	struct vcpu *v = self->v, *w;
	struct vmm_vm_state s, t;
	struct vm *other;
	u64 start;
	u16 count;

	gate2(v, 1);
	set_mode(v, 2, BOTH | MODE(0));
	load(v, 2, 60000);
	gate2(v, 0);
	count = read_latched(v, 2);
	remote_out8(v, CONTROL, 0xc8);		/* status and count latched, none read */
	set_mode(v, 1, BOTH | MODE(1));
	remote_out8(v, 0x41, 0x77);		/* one byte of two */
	set_mode(v, 0, BOTH | MODE(0));
	load(v, 0, 59659);			/* 50 ms */
	usleep(10000);
	get_pit(v, &s);
	EXPECT_GE(s.pit.channel[0].elapsed_ns, 10 * MS);
	usleep(60000);

	other = vm_create(16 * MIB, VMM_VM_PIC | VMM_VM_PIT | VMM_VM_LAPIC);
	w = vcpu_create(other, 0);
	remote_start(w);
	init_pic(w);
	start = now_ns();
	ASSERT_EQ(0, set_pit(w, &s));
	get_pit(w, &t);
	EXPECT_GE(t.pit.channel[0].elapsed_ns, s.pit.channel[0].elapsed_ns);
	t.pit.channel[0].elapsed_ns = s.pit.channel[0].elapsed_ns;
	EXPECT_EQ(0, memcmp(&s, &t, sizeof(s)));
	EXPECT_STREQ("30", remote_wait(w));
	EXPECT_GE(now_ns() - start + s.pit.channel[0].elapsed_ns, 50 * MS);
	/* What was latched, the gate that was low, the byte that was missing */
	EXPECT_EQ(BOTH | MODE(0), remote_in8(w, 0x42));
	EXPECT_EQ(count & 0xff, remote_in8(w, 0x42));
	EXPECT_EQ(count >> 8, remote_in8(w, 0x42));
	EXPECT_EQ(count, read_latched(w, 2));
	remote_out8(w, 0x41, 0x33);
	EXPECT_EQ(0x3377, read_latched(w, 1));
	vm_destroy(other);
}

TEST_F(pit, bad_state)
{
	struct vcpu *v = self->v;
	struct vmm_vm_state good, s;
	unsigned int i;
	static const struct {
		size_t offset;
		size_t size;
		u64 value;
	} bad[] = {
#define BAD(field, value) { offsetof(struct vmm_vm_state, pit.field),		\
			    sizeof(((struct vmm_vm_state *)0)->pit.field), value }
		BAD(channel[0].count, 0x10001), BAD(channel[1].count, ~0U),
		BAD(channel[0].count_latched, 3), BAD(channel[0].status_latched, 2),
		BAD(channel[0].read_state, 2), BAD(channel[2].write_state, 0xff),
		BAD(channel[0].rw_mode, 0), BAD(channel[0].rw_mode, 4), BAD(channel[0].mode, 6),
		BAD(channel[1].bcd, 2), BAD(channel[0].gate, 0), BAD(channel[2].gate, 1),
		BAD(channel[0].elapsed_ns, ~0ULL - 1), BAD(channel[0].elapsed_ns, 1ULL << 62),
		BAD(speaker, 4), BAD(speaker, 1), BAD(irq_level, 2), BAD(reserved[5], 1),
	};

	NEEDS_SPEED();
	get_pit(v, &good);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		s = good;
		memcpy((u8 *)&s + bad[i].offset, &bad[i].value, bad[i].size);
		EXPECT_EQ(-EINVAL, set_pit(v, &s)) TH_LOG("case %u", i);
	}
	s = good;
	s.pit.channel[1].bcd = 1;
	s.pit.channel[1].count = 10001;
	EXPECT_EQ(-EINVAL, set_pit(v, &s));
	get_pit(v, &s);
	EXPECT_EQ(0, memcmp(&s, &good, sizeof(s)));
	/* Extremes that are possible */
	s.pit.channel[0].elapsed_ns = 1ULL << 61;
	s.pit.channel[0].mode = 2;
	s.pit.channel[0].count = 1;
	s.pit.channel[2].elapsed_ns = 1ULL << 61;
	s.pit.channel[2].count = 1;
	s.pit.channel[2].mode = 3;
	s.pit.channel[2].gate = 1;
	s.pit.speaker = 1;
	EXPECT_EQ(0, set_pit(v, &s));
	read_latched(v, 0);
	read_latched(v, 2);
	read_status(v, 2);
	EXPECT_EQ('3', remote_wait(v)[0]);
}

TEST(absent)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_PIC);
	struct vcpu *v = vcpu_create(vm, 0);
	u16 port;

	remote_start(v);
	for (port = 0x40; port <= 0x43; port++)
		EXPECT_EQ(0xff, remote_in8(v, port));
	EXPECT_EQ(0xff, remote_in8(v, 0x61));
	EXPECT_EQ(5, remote_exits);
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
