// SPDX-License-Identifier: GPL-2.0-only
/*
 * x2APIC registers that a processor may serve by itself: that it does where GET_INFO says so, and
 * that a guest and its VMM see the same either way.
 */
/* also: intel-plain intel-debug */
#include "kselftest_harness.h"
#include "remote.h"

#define MSR_APIC_BASE	0x1b
#define X2APIC_ON	0xfee00d00
#define XAPIC_ON	0xfee00900
#define ALL_OFF		0xfee00100

#define X2(offset)	(0x800 + (offset) / 16)
#define ID		X2(0x020)
#define TPR		X2(0x080)
#define PPR		X2(0x0a0)
#define EOI		X2(0x0b0)
#define SPIV		X2(0x0f0)
#define ISR		X2(0x100)
#define IRR		X2(0x200)
#define ESR		X2(0x280)
#define ICR		X2(0x300)
#define SELF_IPI	X2(0x3f0)

#define SPIV_ON		0x1ff
#define SPIV_OFF	0x0ff

/* Of a message */
#define ASSERT		0x4000
#define LEVEL		0x8000

#define RECEIVE_ILLEGAL	0x40

FIXTURE(virtualapic) {
	struct vm *vm;
	struct vcpu *v;
	/* Do accesses that need no exit take one? */
	int direct;
	u64 exits;
};

FIXTURE_SETUP(virtualapic)
{
	self->vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	self->v = vcpu_create(self->vm, 0);
	self->direct = !(self->vm->info.caps & VMM_CAP_VIRTUAL_APIC);
	remote_start(self->v);
	ASSERT_TRUE(remote_wrmsr(self->v, MSR_APIC_BASE, X2APIC_ON));
	ASSERT_TRUE(remote_wrmsr(self->v, SPIV, SPIV_ON));
}

FIXTURE_TEARDOWN(virtualapic)
{
	vm_destroy(self->vm);
}

static u64 rd(struct vcpu *vcpu, u32 msr)
{
	u64 value;

	if (!remote_rdmsr(vcpu, msr, &value))
		fail("#GP: RDMSR %#x", msr);
	return value;
}

static void wr(struct vcpu *vcpu, u32 msr, u64 value)
{
	if (!remote_wrmsr(vcpu, msr, value))
		fail("#GP: WRMSR %#x", msr);
}

/* MSR exits since the last call */
static int new_exits(FIXTURE_DATA(virtualapic) *self)
{
	u64 before = self->exits;

	self->exits = get_stat(self->v->fd, "msr_exits");
	return self->exits - before;
}

static int send_msi(struct vm *vm, u32 data)
{
	struct vmm_msi msi = { .size = sizeof(msi), .address = 0xfee00000, .data = data };

	return do_ioctl(vm->fd, VMM_SIGNAL_MSI, &msi);
}

TEST_F(virtualapic, accesses_without_exits)
{
	struct vcpu *v = self->v;
	int i;

	new_exits(self);
	wr(v, TPR, 0x2a);
	EXPECT_EQ(self->direct, new_exits(self));
	EXPECT_EQ(0x2a, rd(v, TPR));
	EXPECT_EQ(self->direct, new_exits(self));
	EXPECT_EQ(0x2a, rd(v, PPR));
	EXPECT_EQ(2, remote_read_cr8(v));
	EXPECT_EQ(self->direct, new_exits(self));
	for (i = 1; i <= 10; i++) {
		wr(v, SELF_IPI, 0x60 + i);
		EXPECT_EQ(1 << i, rd(v, IRR + 3));
		EXPECT_EQ(2 * self->direct, new_exits(self));
		remote_take(v);
		EXPECT_EQ(0, rd(v, IRR + 3));
		EXPECT_EQ(1 << i, rd(v, ISR + 3));
		EXPECT_EQ(0x60, rd(v, PPR));
		wr(v, EOI, 0);
		EXPECT_EQ(0, rd(v, ISR + 3));
		EXPECT_EQ(5 * self->direct, new_exits(self));
	}
	/* These are computed, or do more than change a register. */
	EXPECT_EQ(0, rd(v, ID));
	wr(v, ESR, 0);
	wr(v, SPIV, SPIV_ON);
	EXPECT_EQ(3, new_exits(self));
	EXPECT_EQ(0, remote_exits);
}

TEST_F(virtualapic, bad_values)
{
	struct vcpu *v = self->v;
	u64 value;

	EXPECT_FALSE(remote_wrmsr(v, TPR, 0x100));
	EXPECT_FALSE(remote_wrmsr(v, EOI, 1));
	EXPECT_FALSE(remote_wrmsr(v, SELF_IPI, 0x155));
	EXPECT_FALSE(remote_wrmsr(v, PPR, 0));
	EXPECT_FALSE(remote_wrmsr(v, IRR, 0));
	EXPECT_FALSE(remote_rdmsr(v, EOI, &value));
	EXPECT_FALSE(remote_rdmsr(v, SELF_IPI, &value));
	EXPECT_FALSE(remote_rdmsr(v, X2(0x090), &value));
	EXPECT_FALSE(remote_rdmsr(v, X2(0x310), &value));
	EXPECT_FALSE(remote_rdmsr(v, 0x840, &value));
	/* There is no vector below 16. */
	wr(v, SELF_IPI, 7);
	EXPECT_STREQ("", remote_take(v));
	wr(v, ESR, 0);
	EXPECT_EQ(RECEIVE_ILLEGAL, rd(v, ESR));
	/* All 64 bits of ICR in one register */
	wr(v, ICR, 5ULL << 32 | 0x4071);
	EXPECT_EQ(5ULL << 32 | 0x4071, rd(v, ICR));
}

TEST_F(virtualapic, task_priority)
{
	struct vcpu *v = self->v;

	wr(v, TPR, 0x5f);
	EXPECT_EQ(1, send_msi(self->vm, 0x51));
	EXPECT_EQ(1, send_msi(self->vm, 0x61));
	EXPECT_STREQ("61", remote_take(v));
	EXPECT_EQ(0x60, rd(v, PPR));
	wr(v, EOI, 0);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_TRUE(remote_write_cr8(v, 4));
	EXPECT_STREQ("51", remote_take(v));
	vcpu_get(v, VMM_STATE_CONTROL | VMM_STATE_LAPIC);
	EXPECT_EQ(4, v->state.control.cr8);
	EXPECT_EQ(0x40, v->state.lapic.regs[0x80 / 4]);
	EXPECT_EQ(0x50, v->state.lapic.regs[0xa0 / 4]);
	wr(v, EOI, 0);
	EXPECT_EQ(0x40, rd(v, PPR));
}

/* While interrupts are closed none is delivered, whatever interrupts the host. */
TEST_F(virtualapic, closed)
{
	struct vcpu *v = self->v;

	wr(v, SELF_IPI, 0x60);
	EXPECT_STREQ("", remote_spin(v, 2000000));
	EXPECT_STREQ("60", remote_take(v));
	wr(v, EOI, 0);
}

/* The end of a level-triggered interrupt is heard of, that of an edge is not. */
TEST_F(virtualapic, end_of_level)
{
	struct vcpu *v = self->v;

	EXPECT_EQ(1, send_msi(self->vm, LEVEL | ASSERT | 0x52));
	EXPECT_EQ(1, send_msi(self->vm, 0x53));
	EXPECT_STREQ("53", remote_take(v));
	wr(v, EOI, 0);
	EXPECT_EQ(0, remote_exits);
	EXPECT_STREQ("52", remote_take(v));
	new_exits(self);
	wr(v, EOI, 0);
	EXPECT_EQ(1, new_exits(self));
	ASSERT_EQ(1, remote_exits);
	EXPECT_EQ(VMM_EXIT_EOI, remote_exit.reason);
	EXPECT_EQ(0x52, remote_exit.eoi.vector);
	/* The same vector, as an edge */
	EXPECT_EQ(1, send_msi(self->vm, 0x52));
	EXPECT_STREQ("52", remote_take(v));
	wr(v, EOI, 0);
	EXPECT_EQ(1, remote_exits);
}

TEST_F(virtualapic, disabled)
{
	struct vcpu *v = self->v;
	u64 value;

	/* By software: its own messages neither are accepted */
	wr(v, SPIV, SPIV_OFF);
	wr(v, SELF_IPI, 0x60);
	EXPECT_EQ(0, rd(v, IRR + 3));
	wr(v, SPIV, SPIV_ON);
	EXPECT_STREQ("", remote_take(v));
	wr(v, SELF_IPI, 0x60);
	EXPECT_STREQ("60", remote_take(v));

	/* Off: there are no such MSRs, and what was in service is gone. */
	wr(v, MSR_APIC_BASE, ALL_OFF);
	EXPECT_FALSE(remote_rdmsr(v, TPR, &value));
	EXPECT_FALSE(remote_wrmsr(v, EOI, 0));
	EXPECT_FALSE(remote_wrmsr(v, SELF_IPI, 0x61));
	wr(v, MSR_APIC_BASE, XAPIC_ON);
	EXPECT_FALSE(remote_rdmsr(v, TPR, &value));
	EXPECT_FALSE(remote_wrmsr(v, SELF_IPI, 0x61));
	wr(v, MSR_APIC_BASE, X2APIC_ON);
	wr(v, SPIV, SPIV_ON);
	EXPECT_EQ(0, rd(v, ISR + 3));
	wr(v, SELF_IPI, 0x62);
	EXPECT_STREQ("62", remote_take(v));
}

/* What waits and what is in service goes along when a vCPU is saved and restored. */
TEST_F(virtualapic, state)
{
	struct vcpu *v = self->v;
	struct vmm_lapic saved;
	u64 value;

	EXPECT_EQ(1, send_msi(self->vm, 0x73));
	EXPECT_STREQ("73", remote_take(v));
	wr(v, SELF_IPI, 0x85);
	EXPECT_EQ(1, send_msi(self->vm, 0x41));
	vcpu_get(v, VMM_STATE_LAPIC);
	saved = v->state.lapic;
	EXPECT_EQ(1 << 19, saved.regs[0x130 / 4]);
	EXPECT_EQ(1 << 5, saved.regs[0x240 / 4]);
	EXPECT_EQ(1 << 1, saved.regs[0x220 / 4]);
	EXPECT_EQ(0x70, saved.regs[0xa0 / 4]);
	EXPECT_EQ(0, saved.regs[0x3f0 / 4]);

	/* Nothing of it is left in a LAPIC in another mode ... */
	memset(v->state.lapic.regs, 0, sizeof(saved.regs));
	v->state.lapic.apic_base = XAPIC_ON;
	v->state.lapic.regs[0xf0 / 4] = SPIV_ON;
	vcpu_set(v, VMM_STATE_LAPIC);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_FALSE(remote_rdmsr(v, TPR, &value));

	/* ... and all is there when it is put back. */
	v->state.lapic = saved;
	vcpu_set(v, VMM_STATE_LAPIC);
	EXPECT_STREQ("85", remote_take(v));
	EXPECT_EQ(0x80, rd(v, PPR));
	wr(v, EOI, 0);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_EQ(0x70, rd(v, PPR));
	wr(v, EOI, 0);
	EXPECT_STREQ("41", remote_take(v));
	wr(v, EOI, 0);
	EXPECT_EQ(0, rd(v, PPR));
}

TEST_HARNESS_MAIN
