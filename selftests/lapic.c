// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC: registers in both modes, priorities, acceptance and end of interrupts,
 * IPIs of every kind to every kind of destination, errors, the timer, and state.
 */
/* hosts: deterministic */
#include <pthread.h>
#include <sched.h>

#include "kselftest_harness.h"
#include "remote.h"

#define MS		1000000ULL

#define MSR_APIC_BASE	0x1b
#define MSR_DEADLINE	0x6e0
#define BASE		0xfee00000
#define ENABLE		0x800
#define X2APIC		0x400
#define BSP		0x100

/* Registers */
#define ID		0x020
#define VERSION		0x030
#define TPR		0x080
#define PPR		0x0a0
#define EOI		0x0b0
#define LDR		0x0d0
#define DFR		0x0e0
#define SPIV		0x0f0
#define ISR		0x100
#define TMR		0x180
#define IRR		0x200
#define ESR		0x280
#define ICR		0x300
#define ICR2		0x310
#define LVT_TIMER	0x320
#define LVT_THERMAL	0x330
#define LVT_PERF	0x340
#define LINT0		0x350
#define LINT1		0x360
#define LVT_ERROR	0x370
#define INITIAL		0x380
#define CURRENT		0x390
#define DIVIDE		0x3e0
#define SELF_IPI	0x3f0

#define MASKED		0x10000
#define PERIODIC	0x20000
#define DEADLINE	0x40000

/* ICR */
#define LOWEST		0x100
#define SMI		0x200
#define NMI		0x400
#define INIT		0x500
#define SIPI		0x600
#define LOGICAL		0x800
#define ASSERT		0x4000
#define LEVEL		0x8000
#define SELF		0x40000
#define ALL		0x80000
#define OTHERS		0xc0000

#define SEND_ILLEGAL	0x20
#define RECEIVE_ILLEGAL	0x40
#define ILLEGAL_REG	0x80

static u32 rd(struct vcpu *vcpu, u32 reg)
{
	return remote_read32(vcpu, BASE + reg);
}

static void wr(struct vcpu *vcpu, u32 reg, u32 value)
{
	remote_write32(vcpu, BASE + reg, value);
}

/* x2APIC registers; a #GP fails the test */
static u64 rx(struct vcpu *vcpu, u32 reg)
{
	u64 value;

	if (!remote_rdmsr(vcpu, 0x800 + (reg >> 4), &value))
		fail("#GP at register %#x", reg);
	return value;
}

static void wx(struct vcpu *vcpu, u32 reg, u64 value)
{
	if (!remote_wrmsr(vcpu, 0x800 + (reg >> 4), value))
		fail("#GP writing %#llx to register %#x", value, reg);
}

static bool wx_faults(struct vcpu *vcpu, u32 reg, u64 value)
{
	return !remote_wrmsr(vcpu, 0x800 + (reg >> 4), value);
}

static void to_x2apic(struct vcpu *vcpu)
{
	u64 base;

	if (!remote_rdmsr(vcpu, MSR_APIC_BASE, &base) ||
	    !remote_wrmsr(vcpu, MSR_APIC_BASE, base | X2APIC))
		fail("no x2APIC");
}

static int send_msi(struct vm *vm, u64 address, u32 data)
{
	struct vmm_msi msi = { .size = sizeof(msi), .address = BASE | address, .data = data };

	return do_ioctl(vm->fd, VMM_SIGNAL_MSI, &msi);
}

static struct vmm_lapic *get_lapic(struct vcpu *vcpu)
{
	vcpu_get(vcpu, VMM_STATE_LAPIC);
	return &vcpu->state.lapic;
}

static bool has_bit(struct vcpu *vcpu, u32 reg, u8 vector)
{
	return get_lapic(vcpu)->regs[(reg + vector / 32 * 16) / 4] >> vector % 32 & 1;
}

FIXTURE(lapic) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_SETUP(lapic)
{
	self->vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	self->v = vcpu_create(self->vm, 0);
	remote_start(self->v);
	wr(self->v, SPIV, 0x1ff);
}

FIXTURE_TEARDOWN(lapic)
{
	vm_destroy(self->vm);
}

/* ---- registers --------------------------------------------------------------- */

/* As after power-up, but for LINT0 of the first, which firmware would have opened */
TEST(reset)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	struct vcpu *v = vcpu_create(vm, 0x203), *w = vcpu_create(vm, 7);
	u64 base;
	u32 reg;

	remote_start(v);
	EXPECT_TRUE(remote_rdmsr(v, MSR_APIC_BASE, &base));
	EXPECT_EQ(BASE | ENABLE | BSP, base);
	EXPECT_EQ(0x03000000, rd(v, ID));
	EXPECT_EQ(0x14, rd(v, VERSION) & 0xff);
	EXPECT_EQ(5, rd(v, VERSION) >> 16 & 0xff);
	EXPECT_EQ(0xff, rd(v, SPIV));
	EXPECT_EQ(0xffffffff, rd(v, DFR));
	EXPECT_EQ(0x700, rd(v, LINT0));
	EXPECT_EQ(MASKED, rd(v, LVT_TIMER));
	EXPECT_EQ(MASKED, rd(v, LVT_THERMAL));
	EXPECT_EQ(MASKED, rd(v, LVT_PERF));
	EXPECT_EQ(MASKED, rd(v, LINT1));
	EXPECT_EQ(MASKED, rd(v, LVT_ERROR));
	for (reg = ISR; reg <= ICR2; reg += 0x10)
		if (reg < 0x290 || reg > 0x2f0)
			EXPECT_EQ(0, rd(v, reg)) TH_LOG("register %#x", reg);
	EXPECT_EQ(0, rd(v, TPR) | rd(v, PPR) | rd(v, LDR));
	EXPECT_EQ(0, rd(v, INITIAL) | rd(v, CURRENT) | rd(v, DIVIDE));
	EXPECT_EQ(0, rd(v, ESR));
	EXPECT_EQ(MASKED, get_lapic(w)->regs[LINT0 / 4]);
	EXPECT_EQ(BASE | ENABLE, w->state.lapic.apic_base);
	EXPECT_EQ(0x07000000, w->state.lapic.regs[ID / 4]);
	EXPECT_EQ(7, w->state.lapic.id);
	vcpu_get(w, VMM_STATE_EVENTS);
	EXPECT_EQ(VMM_MP_WAIT_SIPI, w->state.events.mp_state);
	vm_destroy(vm);
}

TEST_F(lapic, xapic_bits)
{
	struct vcpu *v = self->v;

	wr(v, TPR, 0xffffff5a);
	EXPECT_EQ(0x5a, rd(v, TPR));
	wr(v, LDR, 0xffffffff);
	EXPECT_EQ(0xff000000, rd(v, LDR));
	wr(v, DFR, 0);
	EXPECT_EQ(0x0fffffff, rd(v, DFR));
	wr(v, LVT_TIMER, 0xfffbffff);
	EXPECT_EQ(0x000300ff, rd(v, LVT_TIMER));
	wr(v, LVT_PERF, 0xffffffff);
	EXPECT_EQ(0x000107ff, rd(v, LVT_PERF));
	wr(v, LINT1, 0xffffffff);
	EXPECT_EQ(0x0001a7ff, rd(v, LINT1));
	wr(v, LVT_ERROR, 0xffffffff);
	EXPECT_EQ(0x000100ff, rd(v, LVT_ERROR));
	wr(v, DIVIDE, 0xffffffff);
	EXPECT_EQ(0xb, rd(v, DIVIDE));
	wr(v, ICR2, 0xffffffff);
	EXPECT_EQ(0xff000000, rd(v, ICR2));
	/* Read-only ones take nothing, and that is no error. */
	wr(v, VERSION, 0);
	EXPECT_EQ(0x14, rd(v, VERSION) & 0xff);
	wr(v, IRR, ~0U);
	EXPECT_EQ(0, rd(v, IRR));
	wr(v, ISR, ~0U);
	EXPECT_EQ(0, rd(v, ISR));
	wr(v, PPR, 0xf0);
	EXPECT_EQ(0x5a, rd(v, PPR));
	wr(v, ESR, 0);
	EXPECT_EQ(0, rd(v, ESR));
	/* The whole of the virtual page is there, and nothing around it. */
	EXPECT_EQ(0, remote_exits);
	remote_read32(v, BASE - 4);
	remote_read32(v, BASE + 0x1000);
	EXPECT_EQ(2, remote_exits);
}

/* Only aligned 32-bit accesses are defined: others read what there is and write nothing. */
TEST_F(lapic, xapic_widths)
{
	struct vcpu *v = self->v;

	wr(v, TPR, 0x20);
	remote_write8(v, BASE + TPR, 0x50);
	remote_write16(v, BASE + TPR, 0x50);
	remote_write64(v, BASE + TPR, 0x50);
	remote_write32(v, BASE + TPR + 4, 0x50);
	EXPECT_EQ(0x20, rd(v, TPR));
	EXPECT_EQ(0x14, remote_read8(v, BASE + VERSION));
	EXPECT_EQ(0x05, remote_read8(v, BASE + VERSION + 2));
	EXPECT_EQ(0x14, remote_read16(v, BASE + VERSION) & 0xff);
	EXPECT_EQ(rd(v, VERSION), remote_read64(v, BASE + VERSION));
	EXPECT_EQ(0, remote_read32(v, BASE + VERSION + 8));
	EXPECT_EQ(0, remote_exits);
}

TEST_F(lapic, errors)
{
	struct vcpu *v = self->v;

	wr(v, LVT_ERROR, 0x55);
	/* Errors show at the next write to ESR, and interrupt once until then. */
	rd(v, 0x040);
	wr(v, 0x3f0, 0);
	EXPECT_EQ(0, rd(v, ESR));
	EXPECT_STREQ("55", remote_take(v));
	wr(v, EOI, 0);
	rd(v, 0x400);
	EXPECT_STREQ("", remote_take(v));
	wr(v, ESR, 0);
	EXPECT_EQ(ILLEGAL_REG, rd(v, ESR));
	EXPECT_EQ(ILLEGAL_REG, rd(v, ESR));
	wr(v, ESR, 0);
	EXPECT_EQ(0, rd(v, ESR));

	wr(v, ICR, ASSERT | 0x0f);
	EXPECT_STREQ("55", remote_take(v));
	wr(v, EOI, 0);
	wr(v, ESR, 0);
	EXPECT_EQ(SEND_ILLEGAL, rd(v, ESR));
	/* Received, from outside and from its own vector table */
	EXPECT_EQ(1, send_msi(self->vm, 0, 0x05));
	EXPECT_STREQ("55", remote_take(v));
	wr(v, EOI, 0);
	wr(v, ESR, 0);
	EXPECT_EQ(RECEIVE_ILLEGAL, rd(v, ESR));
	wr(v, LVT_TIMER, 0x08);
	wr(v, INITIAL, 1);
	usleep(1000);
	EXPECT_STREQ("55", remote_take(v));
	wr(v, EOI, 0);
	wr(v, ESR, 0);
	EXPECT_EQ(RECEIVE_ILLEGAL, rd(v, ESR));
	EXPECT_EQ(0, rd(v, IRR));
	/* An error vector that is illegal itself comes to nothing. */
	wr(v, LVT_ERROR, 0x02);
	rd(v, 0x040);
	wr(v, ESR, 0);
	EXPECT_EQ(ILLEGAL_REG | RECEIVE_ILLEGAL, rd(v, ESR));
	EXPECT_STREQ("", remote_take(v));
}

TEST_F(lapic, software_disable)
{
	struct vcpu *v = self->v;

	wr(v, LVT_TIMER, 0x41);
	wr(v, LVT_ERROR, 0x42);
	EXPECT_EQ(1, send_msi(self->vm, 0, 0x50));
	wr(v, SPIV, 0xff);
	EXPECT_EQ(MASKED | 0x41, rd(v, LVT_TIMER));
	EXPECT_EQ(MASKED | 0x42, rd(v, LVT_ERROR));
	wr(v, LVT_TIMER, 0x41);
	EXPECT_EQ(MASKED | 0x41, rd(v, LVT_TIMER));
	/* It accepts no more, but what it had it keeps. */
	EXPECT_EQ(0, send_msi(self->vm, 0, 0x51));
	EXPECT_STREQ("50", remote_take(v));
	EXPECT_EQ(1, rd(v, ISR + 0x20) >> 16 & 1);
	/* NMIs are another matter. */
	EXPECT_EQ(1, send_msi(self->vm, 0, NMI));
	rd(v, ID);
	EXPECT_STREQ("02", remote_taken());
	wr(v, SPIV, 0x1ff);
	EXPECT_EQ(1, send_msi(self->vm, 0, 0x61));
	EXPECT_STREQ("61", remote_take(v));
}

/* ---- APIC_BASE and x2APIC ---------------------------------------------------------- */

TEST_F(lapic, modes)
{
	struct vcpu *v = self->v;
	const u64 xapic = BASE | BSP | ENABLE, x2apic = xapic | X2APIC, off = BASE | BSP;
	u64 value;

	EXPECT_FALSE(remote_wrmsr(v, MSR_APIC_BASE, off | X2APIC));
	EXPECT_FALSE(remote_wrmsr(v, MSR_APIC_BASE, xapic | 1));
	EXPECT_FALSE(remote_wrmsr(v, MSR_APIC_BASE, xapic | 1ULL << 60));
	EXPECT_FALSE(remote_rdmsr(v, 0x802, &value));
	EXPECT_FALSE(remote_wrmsr(v, 0x808, 0));

	/* To x2APIC: what there was stays, the ID grows */
	wr(v, TPR, 0x20);
	wr(v, LVT_TIMER, 0x41);
	wr(v, ICR2, 0x05000000);
	EXPECT_TRUE(remote_wrmsr(v, MSR_APIC_BASE, x2apic));
	EXPECT_EQ(0x20, rx(v, TPR));
	EXPECT_EQ(0x41, rx(v, LVT_TIMER));
	EXPECT_EQ(0x1ff, rx(v, SPIV));
	EXPECT_EQ(0, rx(v, ICR) >> 32);
	EXPECT_EQ(0, rx(v, ID));
	/* The page is gone. */
	remote_read32(v, BASE + ID);
	EXPECT_EQ(1, remote_exits);
	EXPECT_FALSE(remote_wrmsr(v, MSR_APIC_BASE, xapic));
	EXPECT_FALSE(remote_wrmsr(v, MSR_APIC_BASE, off | X2APIC));
	EXPECT_TRUE(remote_wrmsr(v, MSR_APIC_BASE, x2apic));

	/* Off, and on again as after power-up */
	EXPECT_TRUE(remote_wrmsr(v, MSR_APIC_BASE, off));
	EXPECT_FALSE(remote_rdmsr(v, 0x802, &value));
	remote_read32(v, BASE + ID);
	EXPECT_EQ(2, remote_exits);
	EXPECT_EQ(0, send_msi(self->vm, 0, 0x50));
	EXPECT_FALSE(remote_wrmsr(v, MSR_APIC_BASE, x2apic));
	EXPECT_TRUE(remote_wrmsr(v, MSR_APIC_BASE, xapic));
	EXPECT_EQ(0, rd(v, TPR));
	EXPECT_EQ(0xff, rd(v, SPIV));
	EXPECT_EQ(MASKED, rd(v, LVT_TIMER));

	/* Moved */
	EXPECT_TRUE(remote_wrmsr(v, MSR_APIC_BASE, 0xd0000000 | BSP | ENABLE));
	EXPECT_EQ(0x14, remote_read8(v, 0xd0000030));
	EXPECT_EQ(2, remote_exits);
	remote_read32(v, BASE + ID);
	EXPECT_EQ(3, remote_exits);
}

TEST(x2apic_ids)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	struct vcpu *v = vcpu_create(vm, 0x12345);

	remote_start(v);
	EXPECT_EQ(0x45000000, rd(v, ID));
	wr(v, ID, 0x99000000);
	EXPECT_EQ(0x99000000, rd(v, ID));
	to_x2apic(v);
	EXPECT_EQ(0x12345, rx(v, ID));
	EXPECT_EQ(0x12340000 | 1 << 5, rx(v, LDR));
	vm_destroy(vm);
}

TEST_F(lapic, x2apic_registers)
{
	static const u16 absent[] = {
		0x000, 0x010, 0x040, 0x070, 0x090, 0x0c0, 0x0e0, 0x290, 0x2e0, 0x2f0, 0x310, 0x3a0,
		0x3d0, 0x400, 0x500, 0xff0,
	};
	static const u16 read_only[] = { ID, VERSION, PPR, LDR, ISR, TMR + 0x70, IRR, CURRENT };
	static const struct {
		u16 reg;
		u64 bad;
	} reserved[] = {
		{ TPR, 0x100 }, { TPR, 1ULL << 32 }, { EOI, 1 }, { SPIV, 0x400 },
		{ SPIV, 1ULL << 40 },
		{ ESR, 1 }, { ICR, 0x2000 }, { ICR, 0x10000 }, { ICR, 0x100000 },
		{ LVT_TIMER, 0x100 }, { LVT_TIMER, 0x80000 }, { LVT_PERF, 0x2000 },
		{ LINT0, 0x800 },
		{ LVT_ERROR, 0x100 }, { INITIAL, 1ULL << 32 }, { DIVIDE, 4 }, { SELF_IPI, 0x100 },
	};
	struct vcpu *v = self->v;
	unsigned int i;
	u64 value;

	to_x2apic(v);
	for (i = 0; i < ARRAY_SIZE(absent); i++) {
		u32 msr = 0x800 + (absent[i] >> 4);

		EXPECT_FALSE(remote_rdmsr(v, msr, &value)) TH_LOG("read %#x", msr);
		EXPECT_FALSE(remote_wrmsr(v, msr, 0)) TH_LOG("write %#x", msr);
	}
	for (i = 0; i < ARRAY_SIZE(read_only); i++) {
		rx(v, read_only[i]);
		EXPECT_TRUE(wx_faults(v, read_only[i], 0)) TH_LOG("%#x", read_only[i]);
	}
	for (i = 0; i < ARRAY_SIZE(reserved); i++) {
		EXPECT_TRUE(wx_faults(v, reserved[i].reg, reserved[i].bad))
			TH_LOG("case %u", i);
	}
	EXPECT_FALSE(remote_rdmsr(v, 0x80b, &value));
	EXPECT_FALSE(remote_rdmsr(v, 0x83f, &value));
	wx(v, EOI, 0);
	wx(v, ESR, 0);
	wx(v, SELF_IPI, 0x77);
	EXPECT_STREQ("77", remote_take(v));
	wx(v, EOI, 0);
	wx(v, ICR, 0x1234567800000000 | SELF | 0x78);
	EXPECT_STREQ("78", remote_take(v));
	EXPECT_EQ(0x1234567800000000 | SELF | 0x78, rx(v, ICR));
	wx(v, EOI, 0);
	/* A self IPI with an illegal vector is one received. */
	wx(v, SELF_IPI, 0x07);
	wx(v, ESR, 0);
	EXPECT_EQ(RECEIVE_ILLEGAL, rx(v, ESR));
}

/* ---- priorities ----------------------------------------------------------------- */

TEST_F(lapic, priorities)
{
	struct vcpu *v = self->v;

	send_msi(self->vm, 0, 0x41);
	send_msi(self->vm, 0, 0x92);
	send_msi(self->vm, 0, 0x93);
	send_msi(self->vm, 0, 0x31);
	EXPECT_EQ(1 << 1, rd(v, IRR + 0x20));
	EXPECT_EQ(1 << 17, rd(v, IRR + 0x10));
	EXPECT_STREQ("93", remote_take(v));
	EXPECT_EQ(0x90, rd(v, PPR));
	EXPECT_EQ(1 << 19, rd(v, ISR + 0x40));
	/* The same class waits, a higher one does not. */
	EXPECT_STREQ("", remote_take(v));
	send_msi(self->vm, 0, 0xa0);
	EXPECT_STREQ("a0", remote_take(v));
	EXPECT_EQ(0xa0, rd(v, PPR));
	wr(v, EOI, 0);
	EXPECT_EQ(0x90, rd(v, PPR));
	wr(v, EOI, 0);
	EXPECT_STREQ("92", remote_take(v));
	wr(v, EOI, 0);
	/* The task priority holds its own class back and all below. */
	wr(v, TPR, 0x40);
	EXPECT_EQ(0x40, rd(v, PPR));
	EXPECT_STREQ("", remote_take(v));
	wr(v, TPR, 0x3f);
	EXPECT_STREQ("41", remote_take(v));
	EXPECT_EQ(0x40, rd(v, PPR));
	wr(v, TPR, 0x4e);
	EXPECT_EQ(0x40, rd(v, PPR) & 0xf0);
	wr(v, TPR, 0x5e);
	EXPECT_EQ(0x5e, rd(v, PPR));
	wr(v, EOI, 0);
	wr(v, EOI, 0);
	EXPECT_STREQ("", remote_take(v));
	wr(v, TPR, 0x2f);
	EXPECT_STREQ("31", remote_take(v));
	wr(v, EOI, 0);
	EXPECT_EQ(0x2f, rd(v, PPR));
}

/* Every vector that there is, all at once: they come in descending order, a class at a time. */
TEST_F(lapic, all_vectors)
{
	struct vcpu *v = self->v;
	int vector;
	char expected[4];

	for (vector = 32; vector < 256; vector++)
		EXPECT_EQ(1, send_msi(self->vm, 0, vector));
	for (vector = 255; vector >= 32; vector--) {
		sprintf(expected, "%02x", vector);
		EXPECT_STREQ(expected, remote_take(v));
		wr(v, EOI, 0);
	}
	EXPECT_STREQ("", remote_take(v));
}

TEST_F(lapic, cr8)
{
	struct vcpu *v = self->v;

	EXPECT_TRUE(remote_write_cr8(v, 5));
	EXPECT_EQ(0x50, rd(v, TPR));
	EXPECT_EQ(0x50, rd(v, PPR));
	wr(v, TPR, 0x7c);
	EXPECT_EQ(7, remote_read_cr8(v));
	EXPECT_EQ(0x7c, rd(v, TPR));
	send_msi(self->vm, 0, 0x61);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_TRUE(remote_write_cr8(v, 6));
	EXPECT_STREQ("", remote_take(v));
	EXPECT_TRUE(remote_write_cr8(v, 5));
	EXPECT_STREQ("61", remote_take(v));
	vcpu_get(v, VMM_STATE_CONTROL);
	EXPECT_EQ(5, v->state.control.cr8);
}

/* Code that lowers CR8 by itself, with interrupts on, is interrupted right there. */
GUEST_CODE(lower_cr8, 64,
	   "mov $15, %eax; mov %rax, %cr8\n"
	   "sti\n"
	   "nop\n"
	   "out %al, $PORT_VALUE\n"
	   "mov $9, %eax; mov %rax, %cr8\n"
	   "xor %ebx, %ebx\n"
	   "mov $8, %eax; mov %rax, %cr8\n"
	   "inc %ebx; inc %ebx; inc %ebx\n"
	   "cli\n"
	   "out %al, $PORT_DONE\n");

TEST_F(lapic, cr8_threshold)
{
	struct vcpu *v = self->v;

	vcpu_load(v, MODE_LONG, lower_cr8);
	run_value(v);
	EXPECT_EQ(1, send_msi(self->vm, 0, 0x95));
	run_vector(v, 0x95);
	vcpu_get(v, VMM_STATE_REGS);
	EXPECT_EQ(0, v->state.regs.gpr[VMM_RBX]);
	run_done(v);
}

/* Writes while an interrupt waits that both values let through, and others */
TEST_F(lapic, cr8_while_closed)
{
	u64 values[] = { 0, 4, 15, 9, 8, 0 };
	struct vcpu *v = self->v;
	int i;

	EXPECT_EQ(1, send_msi(self->vm, 0, 0x95));
	for (i = 0; i < 6; i++) {
		EXPECT_TRUE(remote_write_cr8(v, values[i]));
		EXPECT_EQ(values[i], remote_read_cr8(v));
	}
	EXPECT_STREQ("95", remote_take(v));
}

/* ---- edges, levels, EOI ------------------------------------------------------------- */

TEST_F(lapic, edge_and_level)
{
	struct vcpu *v = self->v;

	EXPECT_EQ(1, send_msi(self->vm, 0, 0x51));
	EXPECT_EQ(1, send_msi(self->vm, 0, 0x51));
	EXPECT_STREQ("51", remote_take(v));
	/* One more waits while it is in service; two become one. */
	send_msi(self->vm, 0, 0x51);
	send_msi(self->vm, 0, 0x51);
	wr(v, EOI, 0);
	EXPECT_STREQ("51", remote_take(v));
	wr(v, EOI, 0);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_EQ(0, remote_exits);

	/* The I/O APIC is the VMM's here: it hears of the end of a level. */
	EXPECT_EQ(1, send_msi(self->vm, 0, LEVEL | ASSERT | 0x52));
	EXPECT_EQ(1 << 18, rd(v, TMR + 0x20));
	EXPECT_STREQ("52", remote_take(v));
	EXPECT_EQ(1 << 18, rd(v, TMR + 0x20));
	wr(v, EOI, 0);
	EXPECT_EQ(1, remote_exits);
	EXPECT_EQ(VMM_EXIT_EOI, remote_exit.reason);
	EXPECT_EQ(0x52, remote_exit.eoi.vector);
	/* The same vector as an edge */
	EXPECT_EQ(1, send_msi(self->vm, 0, 0x52));
	EXPECT_EQ(0, rd(v, TMR + 0x20));
	EXPECT_STREQ("52", remote_take(v));
	wr(v, EOI, 0);
	EXPECT_EQ(1, remote_exits);
	/* The end of a level's assertion is no interrupt. */
	EXPECT_EQ(0, send_msi(self->vm, 0, LEVEL | 0x52));
	/* By MSR, and not at all with the broadcast suppressed */
	to_x2apic(v);
	send_msi(self->vm, 0, LEVEL | ASSERT | 0x53);
	EXPECT_STREQ("53", remote_take(v));
	wx(v, EOI, 0);
	EXPECT_EQ(2, remote_exits);
	EXPECT_EQ(0x53, remote_exit.eoi.vector);
	EXPECT_EQ(1, rx(v, VERSION) >> 24 & 1);
	wx(v, SPIV, 0x11ff);
	send_msi(self->vm, 0, LEVEL | ASSERT | 0x53);
	EXPECT_STREQ("53", remote_take(v));
	wx(v, EOI, 0);
	EXPECT_EQ(2, remote_exits);
}

/* ---- IPIs ------------------------------------------------------------------------- */

#define NR	6

/*
 * Six LAPICs, all enabled; those from the fourth on are x2APICs. Ids 0, 1, 5, 0x13,
 * 0x1f, 0x105.
 */
FIXTURE(ipi) {
	struct vm *vm;
	struct vcpu *v[NR];
};

FIXTURE_SETUP(ipi)
{
	static const u32 ids[NR] = { 0, 1, 5, 0x13, 0x1f, 0x105 };
	static const u8 logical[3] = { 0x01, 0x02, 0x06 };
	int i;

	self->vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	for (i = 0; i < NR; i++) {
		struct vmm_lapic *lapic;

		self->v[i] = vcpu_create(self->vm, ids[i]);
		lapic = get_lapic(self->v[i]);
		lapic->regs[SPIV / 4] = 0x1ff;
		if (i < 3)
			lapic->regs[LDR / 4] = logical[i] << 24;
		else
			lapic->apic_base |= X2APIC;
		vcpu_set(self->v[i], VMM_STATE_LAPIC);
	}
	remote_start(self->v[0]);
}

FIXTURE_TEARDOWN(ipi)
{
	vm_destroy(self->vm);
}

/* Who has @vector in IRR, as a mask; it is taken away again. */
static u32 receivers(struct vcpu *v[NR], u8 vector)
{
	u32 mask = 0;
	int i;

	for (i = 0; i < NR; i++) {
		if (!has_bit(v[i], IRR, vector))
			continue;
		mask |= 1 << i;
		v[i]->state.lapic.regs[(IRR + vector / 32 * 16) / 4] &= ~(1U << vector % 32);
		vcpu_set(v[i], VMM_STATE_LAPIC);
	}
	return mask;
}

static u32 xapic_ipi(struct vcpu *v[NR], u32 icr, u8 dest)
{
	wr(v[0], ICR2, (u32)dest << 24);
	wr(v[0], ICR, icr | ASSERT | 0x60);
	return receivers(v, 0x60);
}

static u32 x2apic_ipi(struct vcpu *v[NR], u32 icr, u32 dest)
{
	wx(v[0], ICR, (u64)dest << 32 | icr | ASSERT | 0x60);
	return receivers(v, 0x60);
}

TEST_F(ipi, from_xapic)
{
	struct vcpu **v = self->v;

	EXPECT_EQ(0x01, xapic_ipi(v, 0, 0));
	EXPECT_EQ(0x02, xapic_ipi(v, 0, 1));
	EXPECT_EQ(0x04, xapic_ipi(v, 0, 5));	/* and not 0x105, an x2APIC */
	EXPECT_EQ(0x08, xapic_ipi(v, 0, 0x13));
	EXPECT_EQ(0, xapic_ipi(v, 0, 2));
	EXPECT_EQ(0x3f, xapic_ipi(v, 0, 0xff));
	/* Flat: any bit in common; an x2APIC knows its cluster 0 alone */
	EXPECT_EQ(0x01, xapic_ipi(v, LOGICAL, 0x01));
	EXPECT_EQ(0x06, xapic_ipi(v, LOGICAL, 0x02));
	EXPECT_EQ(0x05, xapic_ipi(v, LOGICAL, 0x05));
	EXPECT_EQ(0, xapic_ipi(v, LOGICAL, 0x80));
	EXPECT_EQ(0x3f, xapic_ipi(v, LOGICAL, 0xff));
	/* Shorthands take no notice of the destination. */
	EXPECT_EQ(0x01, xapic_ipi(v, SELF, 5));
	EXPECT_EQ(0x3f, xapic_ipi(v, ALL, 5));
	EXPECT_EQ(0x3e, xapic_ipi(v, OTHERS, 5));
	/* The trigger mode of an ICR means something to INIT alone. */
	wr(v[0], ICR, SELF | LEVEL | ASSERT | 0x60);
	EXPECT_FALSE(has_bit(v[0], TMR, 0x60));
}

TEST_F(ipi, cluster)
{
	static const u8 logical[3] = { 0x11, 0x12, 0x21 };
	struct vcpu **v = self->v;
	int i;

	for (i = 0; i < 3; i++) {
		get_lapic(v[i])->regs[LDR / 4] = logical[i] << 24;
		v[i]->state.lapic.regs[DFR / 4] = 0x0fffffff;
		vcpu_set(v[i], VMM_STATE_LAPIC);
	}
	EXPECT_EQ(0x01, xapic_ipi(v, LOGICAL, 0x11));
	EXPECT_EQ(0x03, xapic_ipi(v, LOGICAL, 0x13));
	EXPECT_EQ(0x04, xapic_ipi(v, LOGICAL, 0x2f));
	EXPECT_EQ(0, xapic_ipi(v, LOGICAL, 0x31));
	EXPECT_EQ(0, xapic_ipi(v, LOGICAL, 0x14));
	EXPECT_EQ(0x3f, xapic_ipi(v, LOGICAL, 0xff));
	/* A model that is neither matches nothing. */
	get_lapic(v[1])->regs[DFR / 4] = 0x5fffffff;
	vcpu_set(v[1], VMM_STATE_LAPIC);
	EXPECT_EQ(0x01, xapic_ipi(v, LOGICAL, 0x13));
}

TEST_F(ipi, from_x2apic)
{
	struct vcpu **v = self->v;

	to_x2apic(v[0]);
	EXPECT_EQ(0x01, x2apic_ipi(v, 0, 0));
	EXPECT_EQ(0x04, x2apic_ipi(v, 0, 5));
	EXPECT_EQ(0x20, x2apic_ipi(v, 0, 0x105));
	EXPECT_EQ(0, x2apic_ipi(v, 0, 0xff));
	EXPECT_EQ(0x3f, x2apic_ipi(v, 0, 0xffffffff));
	/* 0x13 and 0x1f are bits 3 and 15 of cluster 1, 0x105 bit 5 of cluster 0x10. */
	EXPECT_EQ(0x08, x2apic_ipi(v, LOGICAL, 0x00010008));
	EXPECT_EQ(0x18, x2apic_ipi(v, LOGICAL, 0x0001ffff));
	EXPECT_EQ(0x20, x2apic_ipi(v, LOGICAL, 0x00100020));
	EXPECT_EQ(0, x2apic_ipi(v, LOGICAL, 0x00020008));
	EXPECT_EQ(0x3f, x2apic_ipi(v, LOGICAL, 0xffffffff));
	EXPECT_EQ(0x3e, x2apic_ipi(v, OTHERS, 0));
	EXPECT_EQ(0x3f, x2apic_ipi(v, ALL, 0));
}

TEST_F(ipi, lowest_priority)
{
	struct vcpu **v = self->v;
	u32 seen = 0;
	int i;

	/* Exactly one of those with the lowest priority; vectors spread over them. */
	for (i = 0; i < 12; i++) {
		u32 who;

		wr(v[0], ICR2, 0xff000000);
		wr(v[0], ICR, LOWEST | LOGICAL | ASSERT | (0x70 + i));
		who = receivers(v, 0x70 + i);
		EXPECT_EQ(1, __builtin_popcount(who)) TH_LOG("%#x", who);
		seen |= who;
	}
	EXPECT_GT(__builtin_popcount(seen), 2);
	for (i = 0; i < NR; i++) {
		get_lapic(v[i])->regs[TPR / 4] = i == 4 ? 0x10 : 0x20 + i;
		vcpu_set(v[i], VMM_STATE_LAPIC);
	}
	EXPECT_EQ(0x10, xapic_ipi(v, LOWEST | LOGICAL, 0xff));
	EXPECT_EQ(0x01, xapic_ipi(v, LOWEST, 0));
	/* One that is disabled takes no part. */
	get_lapic(v[4])->regs[SPIV / 4] = 0xff;
	vcpu_set(v[4], VMM_STATE_LAPIC);
	EXPECT_EQ(1, __builtin_popcount(xapic_ipi(v, LOWEST | LOGICAL, 0xff) & 0x2f));
	EXPECT_EQ(0x2f, xapic_ipi(v, 0, 0xff));
}

TEST_F(ipi, init_and_sipi)
{
	struct vcpu **v = self->v;
	struct vmm_events *e = &v[1]->state.events;

	wr(v[0], ICR2, 0x01000000);
	wr(v[0], ICR, INIT | LEVEL | ASSERT);
	vcpu_get(v[1], VMM_STATE_EVENTS);
	EXPECT_EQ(1, e->init_pending);
	EXPECT_EQ(0, e->sipi_pending);
	/* De-assertion does nothing since the Pentium 4. */
	wr(v[0], ICR, INIT | LEVEL);
	wr(v[0], ICR, SIPI | ASSERT | 0x9a);
	vcpu_get(v[1], VMM_STATE_EVENTS);
	EXPECT_EQ(1, e->init_pending);
	EXPECT_EQ(1, e->sipi_pending);
	EXPECT_EQ(0x9a, e->sipi_vector);
	/* An INIT takes back the SIPI that came before it. */
	wr(v[0], ICR, INIT | ASSERT);
	vcpu_get(v[1], VMM_STATE_EVENTS);
	EXPECT_EQ(1, e->init_pending);
	EXPECT_EQ(0, e->sipi_pending);
	/* It is state like any other. */
	e->init_pending = 0;
	e->sipi_pending = 1;
	e->sipi_vector = 0x31;
	vcpu_set(v[1], VMM_STATE_EVENTS);
	memset(e, 0xee, sizeof(*e));
	vcpu_get(v[1], VMM_STATE_EVENTS);
	EXPECT_EQ(0, e->init_pending);
	EXPECT_EQ(1, e->sipi_pending);
	EXPECT_EQ(0x31, e->sipi_vector);
	vcpu_get(v[2], VMM_STATE_EVENTS);
	EXPECT_EQ(0, v[2]->state.events.init_pending);
	/* NMI, and modes that do nothing */
	wr(v[0], ICR2, 0x05000000);
	wr(v[0], ICR, NMI | ASSERT);
	wr(v[0], ICR, SMI | ASSERT);
	wr(v[0], ICR, 0x300 | ASSERT | 0x60);
	wr(v[0], ICR, 0x700 | ASSERT | 0x60);
	vcpu_get(v[2], VMM_STATE_EVENTS);
	EXPECT_EQ(1, v[2]->state.events.nmi_pending);
	EXPECT_EQ(0, receivers(v, 0x60));
}

/* The application processor's first steps, in real mode at the page that the SIPI names */
GUEST_CODE(ap_start, 16,
	   "mov %cs, %ax\n"
	   "out %ax, $PORT_VALUE\n"
	   "hlt\n");

TEST_F(ipi, sipi_starts)
{
	struct vcpu **v = self->v;

	memcpy(guest_ptr(self->vm, 0x49000, 64), ap_start, code_size(ap_start));
	wr(v[0], ICR2, 0x05000000);
	wr(v[0], ICR, INIT | ASSERT);
	wr(v[0], ICR, SIPI | ASSERT | 0x49);
	EXPECT_EQ(0x4900, run_value(v[2]));
	EXPECT_EQ(code_size(ap_start) - 1, v[2]->run->exit.next_rip);
	/* INIT has reset its LAPIC. */
	EXPECT_EQ(0xff, get_lapic(v[2])->regs[SPIV / 4]);
	/* It runs: another SIPI is not for it. */
	wr(v[0], ICR, SIPI | ASSERT | 0x4a);
	v[2]->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run_raw(v[2]));
	v[2]->run->immediate_exit = 0;
	vcpu_get(v[2], VMM_STATE_EVENTS | VMM_STATE_SEGMENTS);
	EXPECT_EQ(0x4900, v[2]->state.segments.seg[VMM_CS].selector);
}

/* What came before an INIT is gone, however it came, and whether its thread had looked or not. */
TEST_F(ipi, init_forgets_nmis)
{
	struct vcpu **v = self->v;
	u32 round;

	memcpy(guest_ptr(self->vm, 0x49000, 64), ap_start, code_size(ap_start));
	wr(v[0], ICR2, 0x05000000);
	for (round = 0; round < 3; round++) {
		if (round != 1)
			wr(v[0], ICR, NMI | ASSERT);
		else if (vcpu_nmi(v[2]))
			fail("VMM_INJECT");
		if (round == 2) {
			vcpu_get(v[2], VMM_STATE_EVENTS);
			EXPECT_EQ(1, v[2]->state.events.nmi_pending);
		}
		wr(v[0], ICR, INIT | ASSERT);
		v[2]->run->immediate_exit = 1;
		EXPECT_EQ(-EINTR, vcpu_run_raw(v[2]));
		v[2]->run->immediate_exit = 0;
		vcpu_get(v[2], VMM_STATE_EVENTS);
		EXPECT_EQ(VMM_MP_WAIT_SIPI, v[2]->state.events.mp_state);
		EXPECT_EQ(0, v[2]->state.events.nmi_pending) TH_LOG("round %u", round);
		wr(v[0], ICR, SIPI | ASSERT | 0x49);
		EXPECT_EQ(0x4900, run_value(v[2]));
	}
	EXPECT_EQ(0, get_stat(v[2]->fd, "nmis"));
	/* One that comes behind it is not. */
	wr(v[0], ICR, INIT | ASSERT);
	v[2]->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run_raw(v[2]));
	v[2]->run->immediate_exit = 0;
	wr(v[0], ICR, NMI | ASSERT);
	vcpu_get(v[2], VMM_STATE_EVENTS);
	EXPECT_EQ(1, v[2]->state.events.nmi_pending);
}

static volatile pid_t ap_thread;

static void *run_ap(void *arg)
{
	struct vcpu *vcpu = arg;

	ap_thread = gettid();
	return (void *)(uintptr_t)run_value(vcpu);
}

/*
 * An NMI and an INIT that find the thread asleep, which wakes up when both are there: on this
 * host's one CPU it does not run before the sender gives the CPU up.
 */
TEST_F(ipi, init_forgets_nmis_of_a_sleeper)
{
	struct sched_param first = { .sched_priority = 1 }, any = { };
	struct vcpu **v = self->v;
	struct vcpu *ap = v[2];
	pthread_t thread;
	void *value;

	memcpy(guest_ptr(self->vm, 0x49000, 64), ap_start, code_size(ap_start));
	/* Its NMI handler says another value. */
	memcpy(guest_ptr(self->vm, 0x4a000, 64), ap_start, code_size(ap_start));
	guest_u32(self->vm, IVT_GPA + 2 * 4) = 0x4a000000;
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_ap, ap));
	while (!ap_thread)
		usleep(1000);
	wait_until_asleep(ap_thread);
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_FIFO, &first));
	EXPECT_EQ(1, send_msi(self->vm, 0x5000, NMI | ASSERT));
	EXPECT_EQ(1, send_msi(self->vm, 0x5000, INIT | ASSERT));
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_OTHER, &any));
	wait_until_asleep(ap_thread);
	wr(v[0], ICR2, 0x05000000);
	wr(v[0], ICR, SIPI | ASSERT | 0x49);
	pthread_join(thread, &value);
	EXPECT_EQ(0x4900, (uintptr_t)value);
	EXPECT_EQ(0, get_stat(ap->fd, "nmis"));
}

/* One NMI waits behind the one that is handled, however many are sent. */
GUEST_CODE(nmi_storm, 64,
	   "mov $0xfee00300, %ebx\n"
	   "movl $0x44400, (%rbx)\n"	/* NMI to itself */
	   "nop; nop; nop; nop\n"
	   "out %al, $PORT_DONE\n");

GUEST_CODE(nmi_handler, 64,
	   "incq DATA_GPA\n"
	   "cmpq $1, DATA_GPA; jne 1f\n"
	   "movl $0x44400, (%rbx)\n"
	   "movl $0x44400, (%rbx)\n"
	   "movl $0x44400, (%rbx)\n"
	   "1: iretq\n");

TEST_F(lapic, nmis)
{
	struct vcpu *v = self->v;

	vcpu_load(v, MODE_LONG, nmi_storm);
	memcpy(guest_ptr(self->vm, STUBS_GPA + 2 * 16, 16), "\xe9", 1);
	*(s32 *)guest_ptr(self->vm, STUBS_GPA + 2 * 16 + 1, 4) =
		DATA_GPA + 0x100 - (STUBS_GPA + 2 * 16 + 5);
	memcpy(guest_ptr(self->vm, DATA_GPA + 0x100, code_size(nmi_handler)), nmi_handler,
	       code_size(nmi_handler));
	guest_u64(self->vm, DATA_GPA) = 0;
	run_done(v);
	EXPECT_EQ(2, guest_u64(self->vm, DATA_GPA));
	/* Two at once, from outside, are both taken: the second waits for the first's end. */
	guest_u64(self->vm, DATA_GPA) = 1;
	EXPECT_EQ(1, send_msi(self->vm, 0, NMI));
	EXPECT_EQ(1, send_msi(self->vm, 0, NMI));
	EXPECT_EQ(1, send_msi(self->vm, 0, NMI));
	vcpu_get(v, VMM_STATE_REGS);
	v->state.regs.rip = CODE_GPA + code_size(nmi_storm) - 6;
	vcpu_set(v, VMM_STATE_REGS);
	run_done(v);
	EXPECT_EQ(3, guest_u64(self->vm, DATA_GPA));
}

/* ---- timer ---------------------------------------------------------------------- */

TEST_F(lapic, one_shot)
{
	static const u8 divide[8] = { 0xb, 0, 1, 2, 3, 8, 9, 0xa };
	struct vcpu *v = self->v;
	u64 before, start, now;
	u32 count;
	int i;

	wr(v, LVT_TIMER, 0x41);
	for (i = 0; i < 8; i++) {
		wr(v, DIVIDE, divide[i]);
		before = now_ns();
		wr(v, INITIAL, 10 * MS >> i);	/* 10 ms */
		start = now_ns();
		count = rd(v, CURRENT);
		now = now_ns();
		EXPECT_LE((10 * MS >> i) - count, (now - before) >> i);
		EXPECT_GE((u64)(10 * MS >> i), count);
		EXPECT_STREQ("41", remote_wait(v));
		EXPECT_GE(now_ns() - before, 10 * MS);
		EXPECT_LT(now_ns() - start, 200 * MS);
		EXPECT_EQ(0, rd(v, CURRENT));
		wr(v, EOI, 0);
	}
	EXPECT_EQ(10 * MS >> 7, rd(v, INITIAL));
	usleep(20000);
	EXPECT_STREQ("", remote_take(v));
	/* Stopped by a zero; masked, it counts without interrupting */
	wr(v, DIVIDE, 0xb);
	wr(v, INITIAL, 5 * MS);
	wr(v, INITIAL, 0);
	EXPECT_EQ(0, rd(v, CURRENT));
	usleep(10000);
	EXPECT_STREQ("", remote_take(v));
	wr(v, LVT_TIMER, MASKED | 0x41);
	wr(v, INITIAL, 5 * MS);
	EXPECT_GT(rd(v, CURRENT), 0);
	usleep(10000);
	EXPECT_EQ(0, rd(v, CURRENT));
	wr(v, LVT_TIMER, 0x41);
	EXPECT_STREQ("", remote_take(v));
	/* Unmasked in time */
	wr(v, LVT_TIMER, MASKED | 0x41);
	wr(v, INITIAL, 10 * MS);
	wr(v, LVT_TIMER, 0x43);
	EXPECT_STREQ("43", remote_wait(v));
}

TEST_F(lapic, periodic)
{
	struct vcpu *v = self->v;
	u64 before, begun, end;
	int i;

	wr(v, DIVIDE, 0xb);
	wr(v, LVT_TIMER, PERIODIC | 0x41);
	before = now_ns();
	wr(v, INITIAL, 5 * MS);
	begun = now_ns();
	for (i = 0; i < 40; i++) {
		EXPECT_STREQ("41", remote_wait(v));
		end = now_ns();
		wr(v, EOI, 0);
	}
	EXPECT_GE(end - before, 200 * MS);
	/*
	 * None of them was late by the half of one, or begun anew. On a slow host the write alone,
	 * in which the timer began, may take as long.
	 */
	EXPECT_LT(end - (host_slower() > 1 ? begun : before), 200 * MS + 5 * MS / 2);
	/* A vCPU that did not look for many periods finds one interrupt. */
	usleep(30000);
	EXPECT_STREQ("41", remote_take(v));
	wr(v, EOI, 0);
	/* To one-shot without a break: the count goes on, once */
	wr(v, INITIAL, 100 * MS);
	remote_take(v);
	wr(v, EOI, 0);
	wr(v, LVT_TIMER, 0x41);
	EXPECT_GT(rd(v, CURRENT), 0);
	EXPECT_STREQ("41", remote_wait(v));
	wr(v, EOI, 0);
	usleep(150000);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_EQ(0, rd(v, CURRENT));
}

/* The host is not to suffer from a period of a nanosecond. */
TEST_F(lapic, storm)
{
	struct vcpu *v = self->v;
	u64 end;
	int count = 0;

	wr(v, DIVIDE, 0xb);
	wr(v, LVT_TIMER, PERIODIC | 0x41);
	wr(v, INITIAL, 1);
	end = now_ns() + 100 * MS;
	while (now_ns() < end) {
		count += !strcmp(remote_take(v), "41");
		wr(v, EOI, 0);
	}
	EXPECT_GT(count, 1);
	EXPECT_LE(rd(v, CURRENT), 1);
	wr(v, INITIAL, 0);
}

/* A divider that changes under way leaves the count where it is. */
TEST_F(lapic, divider_changes)
{
	struct vcpu *v = self->v;
	u32 count;

	wr(v, LVT_TIMER, 0x41);
	wr(v, DIVIDE, 0xa);
	wr(v, INITIAL, 100000000);
	usleep(1000);
	count = rd(v, CURRENT);
	EXPECT_LT(count, 100000000);
	wr(v, DIVIDE, 0xb);
	EXPECT_LE(rd(v, CURRENT), count);
	EXPECT_STREQ("41", remote_wait(v));
}

TEST_F(lapic, deadline)
{
	struct vcpu *v = self->v;
	u64 tsc, value, ms = self->vm->info.tsc_khz;

	/* In another mode it is not there. */
	EXPECT_TRUE(remote_wrmsr(v, MSR_DEADLINE, 1));
	EXPECT_TRUE(remote_rdmsr(v, MSR_DEADLINE, &value));
	EXPECT_EQ(0, value);
	EXPECT_STREQ("", remote_take(v));

	wr(v, LVT_TIMER, DEADLINE | 0x41);
	tsc = remote_rdtsc(v) + 10 * ms;
	EXPECT_TRUE(remote_wrmsr(v, MSR_DEADLINE, tsc));
	EXPECT_TRUE(remote_rdmsr(v, MSR_DEADLINE, &value));
	EXPECT_EQ(tsc, value);
	EXPECT_STREQ("41", remote_wait(v));
	EXPECT_GE(remote_rdtsc(v), tsc);
	EXPECT_TRUE(remote_rdmsr(v, MSR_DEADLINE, &value));
	EXPECT_EQ(0, value);
	wr(v, EOI, 0);
	/* Past deadlines fire at once, later ones replace earlier ones, 0 disarms. */
	EXPECT_TRUE(remote_wrmsr(v, MSR_DEADLINE, 1));
	EXPECT_STREQ("41", remote_take(v));
	wr(v, EOI, 0);
	EXPECT_TRUE(remote_wrmsr(v, MSR_DEADLINE, remote_rdtsc(v) + 20 * ms));
	EXPECT_TRUE(remote_wrmsr(v, MSR_DEADLINE, ~0ULL));
	usleep(30000);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_TRUE(remote_wrmsr(v, MSR_DEADLINE, remote_rdtsc(v) + 20 * ms));
	EXPECT_TRUE(remote_wrmsr(v, MSR_DEADLINE, 0));
	usleep(30000);
	EXPECT_STREQ("", remote_take(v));
	/* The count registers mean nothing in this mode. */
	wr(v, INITIAL, 1000);
	EXPECT_EQ(0, rd(v, INITIAL) | rd(v, CURRENT));
	/* Masked: it ends unnoticed */
	wr(v, LVT_TIMER, MASKED | DEADLINE | 0x41);
	EXPECT_TRUE(remote_wrmsr(v, MSR_DEADLINE, remote_rdtsc(v) + ms));
	usleep(5000);
	EXPECT_TRUE(remote_rdmsr(v, MSR_DEADLINE, &value));
	EXPECT_EQ(0, value);
	/* Changing the mode disarms. */
	wr(v, LVT_TIMER, DEADLINE | 0x41);
	EXPECT_TRUE(remote_wrmsr(v, MSR_DEADLINE, remote_rdtsc(v) + 20 * ms));
	wr(v, LVT_TIMER, 0x41);
	wr(v, LVT_TIMER, DEADLINE | 0x41);
	usleep(30000);
	EXPECT_STREQ("", remote_take(v));
	wr(v, LVT_TIMER, 0x41);
	wr(v, INITIAL, 20 * MS);
	wr(v, LVT_TIMER, DEADLINE | 0x41);
	wr(v, LVT_TIMER, 0x41);
	EXPECT_EQ(0, rd(v, INITIAL) | rd(v, CURRENT));
}

/* The deadline is in the guest's ticks: it follows when those jump. */
TEST_F(lapic, deadline_and_tsc)
{
	struct vcpu *v = self->v;
	u64 tsc, ms = self->vm->info.tsc_khz;

	wr(v, LVT_TIMER, DEADLINE | 0x41);
	EXPECT_TRUE(remote_wrmsr(v, 0x10, 0));
	tsc = remote_rdtsc(v);
	EXPECT_LT(tsc, 5000 * ms);
	EXPECT_TRUE(remote_wrmsr(v, MSR_DEADLINE, tsc + 3600 * 1000 * ms));
	EXPECT_STREQ("", remote_take(v));
	EXPECT_TRUE(remote_wrmsr(v, 0x10, tsc + 3600 * 1000 * ms - 5 * ms));
	EXPECT_STREQ("41", remote_wait(v));
}

/* ---- state ------------------------------------------------------------------------ */

static struct vcpu *twin(struct vcpu *v)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	struct vcpu *w = vcpu_create(vm, 0);

	remote_start(w);
	vcpu_get(v, VMM_STATE_MSRS);
	w->state.msrs = v->state.msrs;
	w->state.lapic = v->state.lapic;
	vcpu_set(w, VMM_STATE_LAPIC | VMM_STATE_MSRS);
	return w;
}

TEST_F(lapic, state)
{
	struct vcpu *v = self->v, *w;
	struct vmm_lapic saved;
	u64 start;

	wr(v, TPR, 0x1c);
	wr(v, LDR, 0x04000000);
	wr(v, LVT_ERROR, 0xe5);
	send_msi(self->vm, 0, LEVEL | ASSERT | 0x71);
	EXPECT_STREQ("71", remote_take(v));
	send_msi(self->vm, 0, 0x72);
	send_msi(self->vm, 0, 0x85);
	rd(v, 0x040);			/* an error that is not yet shown */
	EXPECT_STREQ("e5", remote_take(v));
	wr(v, EOI, 0);
	EXPECT_STREQ("85", remote_take(v));
	wr(v, EOI, 0);
	wr(v, DIVIDE, 0);
	wr(v, LVT_TIMER, 0x41);
	wr(v, INITIAL, 20 * MS);	/* 40 ms */
	usleep(10000);
	saved = *get_lapic(v);
	EXPECT_GT(saved.timer_remaining_ns, 0);
	EXPECT_LE(saved.timer_remaining_ns, 30 * MS);
	EXPECT_EQ(0x1c, saved.regs[TPR / 4]);
	EXPECT_EQ(0x70, saved.regs[PPR / 4]);
	usleep(50000);

	/* In the other VM the time between has not passed. */
	start = now_ns();
	w = twin(v);
	get_lapic(w);
	EXPECT_LE(w->state.lapic.timer_remaining_ns, saved.timer_remaining_ns);
	w->state.lapic.timer_remaining_ns = saved.timer_remaining_ns;
	w->state.lapic.regs[CURRENT / 4] = saved.regs[CURRENT / 4];
	EXPECT_EQ(0, memcmp(&saved, &w->state.lapic, sizeof(saved)));
	EXPECT_STREQ("", remote_take(w));
	wr(w, EOI, 0);
	EXPECT_EQ(0x71, remote_exit.eoi.vector);
	EXPECT_STREQ("72", remote_take(w));
	wr(w, EOI, 0);
	EXPECT_STREQ("41", remote_wait(w));
	EXPECT_GE(now_ns() - start, saved.timer_remaining_ns);
	wr(w, ESR, 0);
	EXPECT_EQ(ILLEGAL_REG, rd(w, ESR));
	vm_destroy(w->vm);
}

/* Reading state disturbs no timer, and shows what is due as requested. */
TEST_F(lapic, state_of_timers)
{
	struct vcpu *v = self->v, *w;
	u64 start, ms = self->vm->info.tsc_khz, tsc;
	int i;

	wr(v, DIVIDE, 0xb);
	wr(v, LVT_TIMER, 0x41);
	start = now_ns();
	wr(v, INITIAL, 20 * MS);
	for (i = 0; i < 50; i++)
		get_lapic(v);
	EXPECT_STREQ("41", remote_wait(v));
	EXPECT_GE(now_ns() - start, 20 * MS);
	wr(v, EOI, 0);
	wr(v, INITIAL, MS);
	usleep(5000);
	EXPECT_TRUE(has_bit(v, IRR, 0x41));
	EXPECT_EQ(0, v->state.lapic.timer_remaining_ns);
	EXPECT_STREQ("41", remote_take(v));
	wr(v, EOI, 0);

	/* Set, with nothing changed, it goes on as it was; a period too */
	wr(v, LVT_TIMER, PERIODIC | 0x41);
	wr(v, INITIAL, 10 * MS);
	for (i = 0; i < 10; i++) {
		get_lapic(v);
		vcpu_set(v, VMM_STATE_LAPIC);
		EXPECT_STREQ("41", remote_wait(v));
		wr(v, EOI, 0);
	}
	wr(v, INITIAL, 0);
	remote_take(v);
	wr(v, EOI, 0);
	wr(v, LVT_TIMER, DEADLINE | 0x41);
	tsc = remote_rdtsc(v) + 20 * ms;
	EXPECT_TRUE(remote_wrmsr(v, MSR_DEADLINE, tsc));
	EXPECT_EQ(tsc, get_lapic(v)->tsc_deadline);
	w = twin(v);
	EXPECT_STREQ("41", remote_wait(w));
	EXPECT_GE(remote_rdtsc(w), tsc);
	vm_destroy(w->vm);
}

/* Bits 18:17 of LVTT may be 11b, which is no mode: the count goes on, and what is got is taken. */
TEST_F(lapic, state_of_a_reserved_timer_mode)
{
	struct vcpu *v = self->v;
	struct vmm_lapic saved;

	wr(v, DIVIDE, 0xb);
	wr(v, LVT_TIMER, DEADLINE | PERIODIC | 0x41);
	wr(v, INITIAL, 1000 * MS);
	saved = *get_lapic(v);
	EXPECT_EQ(DEADLINE | PERIODIC | 0x41, saved.regs[LVT_TIMER / 4]);
	EXPECT_EQ(1000 * MS, saved.regs[INITIAL / 4]);
	EXPECT_GT(saved.timer_remaining_ns, 0);
	EXPECT_EQ(0, vcpu_try_set(v, VMM_STATE_LAPIC));
	get_lapic(v);
	EXPECT_GT(v->state.lapic.timer_remaining_ns, 0);
	EXPECT_LE(v->state.lapic.timer_remaining_ns, saved.timer_remaining_ns);
	/* The next mode finds a timer that works. */
	wr(v, LVT_TIMER, 0x41);
	wr(v, INITIAL, MS);
	EXPECT_STREQ("41", remote_wait(v));
}

TEST_F(lapic, bad_state)
{
	static const struct {
		size_t offset;
		u64 value;
		size_t size;
	} bad[] = {
#define BAD(field, value) { offsetof(struct vmm_lapic, field), value,		\
			    sizeof(((struct vmm_lapic *)0)->field) }
		BAD(apic_base, BASE | X2APIC), BAD(apic_base, BASE | ENABLE | 1),
		BAD(apic_base, ~0ULL), BAD(timer_remaining_ns, 1001),
		BAD(timer_remaining_ns, ~0ULL),
		BAD(tsc_deadline, 1), BAD(id, 0x100), BAD(extint_pending, 2),
		BAD(regs[ISR / 4], 0x8000), BAD(regs[IRR / 4], 1), BAD(regs[TMR / 4], 2),
		BAD(regs[TPR / 4], 0x100), BAD(regs[SPIV / 4], 0x400), BAD(regs[DIVIDE / 4], 4),
		BAD(regs[ICR / 4], 0x1000), BAD(regs[LVT_TIMER / 4], 0x100),
		BAD(regs[LINT0 / 4], 0x4000), BAD(regs[LVT_ERROR / 4], 0x700),
		BAD(regs[ESR / 4 + 1], 0x100),
	};
	struct vcpu *v = self->v;
	struct vmm_lapic good;
	unsigned int i;

	wr(v, LVT_TIMER, MASKED);
	wr(v, DIVIDE, 0xb);
	wr(v, INITIAL, 1000);
	usleep(1000);
	good = *get_lapic(v);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		v->state.lapic = good;
		memcpy((u8 *)&v->state.lapic + bad[i].offset, &bad[i].value, bad[i].size);
		EXPECT_EQ(-EINVAL, vcpu_try_set(v, VMM_STATE_LAPIC)) TH_LOG("case %u", i);
	}
	EXPECT_EQ(0, memcmp(&good, get_lapic(v), sizeof(good)));
	/* An x2APIC has the id that it was made with. */
	v->state.lapic.apic_base |= X2APIC;
	v->state.lapic.id = 3;
	EXPECT_EQ(-EINVAL, vcpu_try_set(v, VMM_STATE_LAPIC));
	/* Everything requested and in service at once is odd, but possible. */
	v->state.lapic = good;
	for (i = 0; i < 8; i++) {
		v->state.lapic.regs[(ISR + i * 16) / 4] = i ? ~0U : 0xffff0000;
		v->state.lapic.regs[(IRR + i * 16) / 4] = i ? ~0U : 0xffff0000;
		v->state.lapic.regs[(TMR + i * 16) / 4] = i ? ~0U : 0xffff0000;
	}
	EXPECT_EQ(0, vcpu_try_set(v, VMM_STATE_LAPIC));
	EXPECT_EQ(0xf0, rd(v, PPR));
	EXPECT_STREQ("", remote_take(v));
	for (i = 255; i >= 16; i--)
		wr(v, EOI, 0);
	EXPECT_EQ(240, remote_exits);
	EXPECT_STREQ("ff", remote_take(v));
}

TEST(absent)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *v = vcpu_create(vm, 0);

	remote_start(v);
	EXPECT_EQ(~0U, rd(v, ID));
	wr(v, TPR, 0x20);
	EXPECT_EQ(2, remote_exits);
	EXPECT_EQ(-ENXIO, send_msi(vm, 0, 0x50));
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
