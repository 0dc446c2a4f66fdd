// SPDX-License-Identifier: GPL-2.0-only
/*
 * The I/O APIC: registers, edges and levels, remote IRR and its end, masks, delivery modes
 * and destinations, and that all of it is in the state.
 */
/* also: intel-plain */
#include "kselftest_harness.h"
#include "remote.h"

#define SELECT	0xfec00000
#define WINDOW	0xfec00010
#define EOIR	0xfec00040
#define LAPIC	0xfee00000

/* Low half of a redirection entry */
#define LOWEST		0x100
#define SMI		0x200
#define NMI		0x400
#define LOGICAL		0x800
#define PENDING		0x1000
#define LOW_ACTIVE	0x2000
#define REMOTE_IRR	0x4000
#define LEVEL		0x8000
#define MASKED		0x10000

#define NR	4

FIXTURE(ioapic) {
	struct vm *vm;
	struct vcpu *v;
};

/* Enable a LAPIC by its state. */
static void enable(struct vcpu *vcpu)
{
	vcpu_get(vcpu, VMM_STATE_LAPIC);
	vcpu->state.lapic.regs[0xf0 / 4] = 0x1ff;
	vcpu_set(vcpu, VMM_STATE_LAPIC);
}

FIXTURE_SETUP(ioapic)
{
	self->vm = vm_create(16 * MIB, VMM_VM_IOAPIC | VMM_VM_LAPIC);
	self->v = vcpu_create(self->vm, 0);
	remote_start(self->v);
	enable(self->v);
}

FIXTURE_TEARDOWN(ioapic)
{
	vm_destroy(self->vm);
}

static u32 rd(struct vcpu *vcpu, u8 reg)
{
	remote_write32(vcpu, SELECT, reg);
	return remote_read32(vcpu, WINDOW);
}

static void wr(struct vcpu *vcpu, u8 reg, u32 value)
{
	remote_write32(vcpu, SELECT, reg);
	remote_write32(vcpu, WINDOW, value);
}

static void wr_entry(struct vcpu *vcpu, int pin, u32 low, u8 dest)
{
	wr(vcpu, 0x11 + 2 * pin, (u32)dest << 24);
	wr(vcpu, 0x10 + 2 * pin, low);
}

static u32 entry(struct vcpu *vcpu, int pin)
{
	return rd(vcpu, 0x10 + 2 * pin);
}

static void eoi(struct vcpu *vcpu)
{
	remote_write32(vcpu, LAPIC + 0xb0, 0);
}

static void set_line(struct vcpu *vcpu, u32 gsi, u32 level)
{
	struct vmm_irq_line line = { .size = sizeof(line), .gsi = gsi, .level = level };

	if (do_ioctl(vcpu->vm->fd, VMM_IRQ_LINE, &line))
		fail("VMM_IRQ_LINE");
}

static void pulse(struct vcpu *vcpu, u32 gsi)
{
	set_line(vcpu, gsi, 1);
	set_line(vcpu, gsi, 0);
}

static void get_ioapic(struct vcpu *vcpu, struct vmm_vm_state *state)
{
	*state = (struct vmm_vm_state){ .size = sizeof(*state), .groups = VMM_VM_STATE_IOAPIC };
	if (do_ioctl(vcpu->vm->fd, VMM_GET_VM_STATE, state))
		fail("VMM_GET_VM_STATE");
}

static int set_ioapic(struct vcpu *vcpu, struct vmm_vm_state *state)
{
	return do_ioctl(vcpu->vm->fd, VMM_SET_VM_STATE, state);
}

TEST_F(ioapic, registers)
{
	struct vcpu *v = self->v;
	int pin;

	EXPECT_EQ(0, rd(v, 0));
	EXPECT_EQ(0x170020, rd(v, 1));
	EXPECT_EQ(0, rd(v, 2));
	wr(v, 0, ~0U);
	EXPECT_EQ(0x0f000000, rd(v, 0));
	wr(v, 1, 0);
	EXPECT_EQ(0x170020, rd(v, 1));
	for (pin = 0; pin < 24; pin++)
		EXPECT_EQ(MASKED, entry(v, pin));
	wr(v, 0x3e, ~0U);
	EXPECT_EQ(0x1afff, rd(v, 0x3e));
	wr(v, 0x3f, ~0U);
	EXPECT_EQ(0xff000000, rd(v, 0x3f));
	/* Behind the last entry, and between */
	wr(v, 0x40, ~0U);
	EXPECT_EQ(0, rd(v, 0x40));
	EXPECT_EQ(0, rd(v, 0x0f));
	EXPECT_EQ(0, rd(v, 0xff));
	EXPECT_EQ(0xff, remote_read32(v, SELECT));
	EXPECT_EQ(0x01, (remote_write8(v, SELECT, 1), remote_read8(v, SELECT)));
	EXPECT_EQ(0x17, remote_read8(v, WINDOW + 2));
	EXPECT_EQ(0x170020, remote_read64(v, WINDOW));
	EXPECT_EQ(0, remote_read32(v, SELECT + 0x20));
	remote_write32(v, SELECT + 0x20, 5);
	EXPECT_EQ(0, remote_exits);
	remote_read32(v, SELECT + 0x1000);
	EXPECT_EQ(1, remote_exits);
}

TEST_F(ioapic, edge)
{
	struct vcpu *v = self->v;

	wr_entry(v, 4, 0x51, 0);
	set_line(v, 4, 1);
	EXPECT_STREQ("51", remote_take(v));
	eoi(v);
	set_line(v, 4, 1);
	EXPECT_STREQ("", remote_take(v));
	set_line(v, 4, 0);
	EXPECT_STREQ("", remote_take(v));
	pulse(v, 4);
	EXPECT_STREQ("51", remote_take(v));
	/* In service: another one waits */
	pulse(v, 4);
	EXPECT_STREQ("", remote_take(v));
	eoi(v);
	EXPECT_STREQ("51", remote_take(v));
	eoi(v);
	EXPECT_EQ(0x51, entry(v, 4));
	/* An edge on a masked pin is gone. */
	wr_entry(v, 4, MASKED | 0x51, 0);
	set_line(v, 4, 1);
	wr(v, 0x10 + 8, 0x51);
	EXPECT_STREQ("", remote_take(v));
	/* Polarity is the board's affair: a line is what VMM_IRQ_LINE says. */
	set_line(v, 4, 0);
	wr_entry(v, 4, LOW_ACTIVE | 0x51, 0);
	EXPECT_STREQ("", remote_take(v));
	set_line(v, 4, 1);
	EXPECT_STREQ("51", remote_take(v));
}

TEST_F(ioapic, level)
{
	struct vcpu *v = self->v;

	wr_entry(v, 10, LEVEL | 0x52, 0);
	set_line(v, 10, 1);
	EXPECT_EQ(LEVEL | REMOTE_IRR | 0x52, entry(v, 10));
	EXPECT_STREQ("52", remote_take(v));
	EXPECT_STREQ("", remote_take(v));
	EXPECT_EQ(LEVEL | REMOTE_IRR | 0x52, entry(v, 10));
	/* Still asserted at EOI: again */
	eoi(v);
	EXPECT_EQ(LEVEL | REMOTE_IRR | 0x52, entry(v, 10));
	EXPECT_STREQ("52", remote_take(v));
	set_line(v, 10, 0);
	EXPECT_EQ(LEVEL | REMOTE_IRR | 0x52, entry(v, 10));
	eoi(v);
	EXPECT_EQ(LEVEL | 0x52, entry(v, 10));
	EXPECT_STREQ("", remote_take(v));
	/* Sent while the line was high, it stays sent. */
	pulse(v, 10);
	EXPECT_STREQ("52", remote_take(v));
	eoi(v);
	EXPECT_STREQ("", remote_take(v));

	/* Masked and unmasked while asserted */
	wr_entry(v, 10, LEVEL | MASKED | 0x52, 0);
	set_line(v, 10, 1);
	EXPECT_EQ(LEVEL | MASKED | 0x52, entry(v, 10));
	wr(v, 0x10 + 20, LEVEL | 0x52);
	EXPECT_STREQ("52", remote_take(v));
	wr(v, 0x10 + 20, LEVEL | MASKED | 0x52);
	EXPECT_EQ(LEVEL | MASKED | REMOTE_IRR | 0x52, entry(v, 10));
	eoi(v);
	EXPECT_EQ(LEVEL | MASKED | 0x52, entry(v, 10));
	EXPECT_STREQ("", remote_take(v));
	wr(v, 0x10 + 20, LEVEL | 0x52);
	EXPECT_STREQ("52", remote_take(v));

	/* A remote IRR that an edge makes no sense of goes: an old trick of Linux's */
	wr(v, 0x10 + 20, MASKED | 0x52);
	EXPECT_EQ(MASKED | 0x52, entry(v, 10));
	wr(v, 0x10 + 20, LEVEL | MASKED | 0x52);
	EXPECT_EQ(LEVEL | MASKED | 0x52, entry(v, 10));
	/* It cannot be written. */
	wr(v, 0x10 + 20, LEVEL | MASKED | REMOTE_IRR | PENDING | 0x52);
	EXPECT_EQ(LEVEL | MASKED | 0x52, entry(v, 10));
}

/* Two pins with one vector: one EOI is for both. */
TEST_F(ioapic, shared_vector)
{
	struct vcpu *v = self->v;

	wr_entry(v, 10, LEVEL | 0x52, 0);
	wr_entry(v, 11, LEVEL | 0x52, 0);
	wr_entry(v, 12, LEVEL | 0x53, 0);
	set_line(v, 10, 1);
	set_line(v, 11, 1);
	set_line(v, 12, 1);
	EXPECT_STREQ("53", remote_take(v));
	eoi(v);
	EXPECT_STREQ("53", remote_take(v));
	set_line(v, 12, 0);
	eoi(v);
	EXPECT_STREQ("52", remote_take(v));
	set_line(v, 10, 0);
	eoi(v);
	EXPECT_EQ(LEVEL | 0x52, entry(v, 10));
	EXPECT_EQ(LEVEL | REMOTE_IRR | 0x52, entry(v, 11));
	EXPECT_STREQ("52", remote_take(v));
	set_line(v, 11, 0);
	eoi(v);
	EXPECT_STREQ("", remote_take(v));
}

/* The LAPIC keeps its EOI to itself; the guest tells the I/O APIC. */
TEST_F(ioapic, directed_eoi)
{
	struct vcpu *v = self->v;

	remote_write32(v, LAPIC + 0xf0, 0x11ff);
	wr_entry(v, 10, LEVEL | 0x52, 0);
	set_line(v, 10, 1);
	EXPECT_STREQ("52", remote_take(v));
	eoi(v);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_EQ(LEVEL | REMOTE_IRR | 0x52, entry(v, 10));
	remote_write32(v, EOIR, 0x51);
	EXPECT_STREQ("", remote_take(v));
	remote_write32(v, EOIR, 0x52);
	EXPECT_STREQ("52", remote_take(v));
	set_line(v, 10, 0);
	eoi(v);
	remote_write32(v, EOIR, 0x52);
	EXPECT_EQ(LEVEL | 0x52, entry(v, 10));
}

TEST_F(ioapic, modes)
{
	struct vcpu *v = self->v;

	wr_entry(v, 5, NMI | 0x77, 0);
	pulse(v, 5);
	remote_read32(v, SELECT);
	EXPECT_STREQ("02", remote_taken());
	/* NMI and INIT are edges even if the entry says level. */
	wr_entry(v, 5, NMI | LEVEL, 0);
	set_line(v, 5, 1);
	EXPECT_EQ(NMI | LEVEL, entry(v, 5));
	remote_read32(v, SELECT);
	wr_entry(v, 5, NMI | LEVEL, 0);
	remote_read32(v, SELECT);
	EXPECT_STREQ("", remote_taken());
	set_line(v, 5, 0);
	wr_entry(v, 5, SMI, 0);
	pulse(v, 5);
	/* Reserved, and SIPI, which no pin can send */
	wr_entry(v, 5, 0x377, 0);
	pulse(v, 5);
	wr_entry(v, 5, 0x677, 0);
	pulse(v, 5);
	EXPECT_STREQ("", remote_take(v));
	/* An illegal vector is the LAPIC's to complain about. */
	wr_entry(v, 5, 0x05, 0);
	pulse(v, 5);
	EXPECT_STREQ("", remote_take(v));
	remote_write32(v, LAPIC + 0x280, 0);
	EXPECT_EQ(0x40, remote_read32(v, LAPIC + 0x280));
}

/* Who has @vector in IRR, as a mask; taken away again. Bit 0 is the first vCPU. */
static u32 receivers(struct vcpu **vcpus, int count, u8 vector)
{
	u32 mask = 0, *word;
	int i;

	for (i = 0; i < count; i++) {
		vcpu_get(vcpus[i], VMM_STATE_LAPIC);
		word = &vcpus[i]->state.lapic.regs[(0x200 + vector / 32 * 16) / 4];
		if (!(*word >> vector % 32 & 1))
			continue;
		mask |= 1 << i;
		*word &= ~(1U << vector % 32);
		vcpu_set(vcpus[i], VMM_STATE_LAPIC);
	}
	return mask;
}

TEST_F(ioapic, destinations)
{
	static const u32 ids[NR] = { 0, 1, 2, 0x13 };
	struct vcpu *v = self->v, *all[NR] = { v };
	u32 who;
	int i;

	for (i = 1; i < NR; i++)
		all[i] = vcpu_create(self->vm, ids[i]);
	for (i = 0; i < NR; i++) {
		vcpu_get(all[i], VMM_STATE_LAPIC);
		all[i]->state.lapic.regs[0xf0 / 4] = 0x1ff;
		all[i]->state.lapic.regs[0xd0 / 4] = i == 3 ? 0 : 0x01000000U << i;
		if (i == 3)
			all[i]->state.lapic.apic_base |= 0x400;
		vcpu_set(all[i], VMM_STATE_LAPIC);
	}

#define SEND(low, dest) ({							\
	wr_entry(v, 6, (low) | 0x60, dest);					\
	pulse(v, 6);								\
	receivers(all, NR, 0x60);						\
})
	EXPECT_EQ(0x1, SEND(0, 0));
	EXPECT_EQ(0x2, SEND(0, 1));
	EXPECT_EQ(0x8, SEND(0, 0x13));
	EXPECT_EQ(0, SEND(0, 0x55));
	EXPECT_EQ(0xf, SEND(0, 0xff));
	EXPECT_EQ(0x5, SEND(LOGICAL, 0x05));
	EXPECT_EQ(0xf, SEND(LOGICAL, 0xff));
	who = SEND(LOWEST | LOGICAL, 0x07);
	EXPECT_EQ(1, __builtin_popcount(who & 0x7));
	for (i = 0; i < 3; i++) {
		vcpu_get(all[i], VMM_STATE_LAPIC);
		all[i]->state.lapic.regs[0x80 / 4] = i == 1 ? 0x20 : 0x30;
		vcpu_set(all[i], VMM_STATE_LAPIC);
	}
	EXPECT_EQ(0x2, SEND(LOWEST | LOGICAL, 0x07));
	EXPECT_EQ(0x4, SEND(LOWEST, 2));
	/* A level to several: the first EOI of any of them ends it here, as on the real bus. */
	wr_entry(v, 6, LEVEL | LOGICAL | 0x60, 0x03);
	set_line(v, 6, 1);
	EXPECT_EQ(0x3, receivers(all, NR, 0x60));
	EXPECT_EQ(LEVEL | LOGICAL | REMOTE_IRR | 0x60, entry(v, 6));
}

/* Nobody there to accept it: it is sent again when somebody is. */
TEST_F(ioapic, no_taker)
{
	struct vcpu *v = self->v;

	remote_write32(v, LAPIC + 0xf0, 0xff);
	wr_entry(v, 6, LEVEL | 0x61, 0);
	wr_entry(v, 7, 0x62, 0);
	set_line(v, 6, 1);
	pulse(v, 7);
	EXPECT_EQ(LEVEL | 0x61, entry(v, 6));
	EXPECT_STREQ("", remote_take(v));
	remote_write32(v, LAPIC + 0xf0, 0x1ff);
	EXPECT_EQ(LEVEL | REMOTE_IRR | 0x61, entry(v, 6));
	EXPECT_STREQ("62", remote_take(v));
	eoi(v);
	EXPECT_STREQ("61", remote_take(v));
	set_line(v, 6, 0);
	eoi(v);
	/* A logical destination that comes into being */
	wr_entry(v, 6, LEVEL | LOGICAL | 0x61, 0x40);
	set_line(v, 6, 1);
	EXPECT_STREQ("", remote_take(v));
	remote_write32(v, LAPIC + 0xd0, 0x40000000);
	EXPECT_STREQ("61", remote_take(v));
	set_line(v, 6, 0);
	eoi(v);
	/* An edge is not kept behind a mask. */
	wr_entry(v, 7, 0x62, 9);
	pulse(v, 7);
	wr_entry(v, 7, MASKED | 0x62, 9);
	wr_entry(v, 7, 0x62, 0);
	EXPECT_STREQ("", remote_take(v));
}

/* Default routes: one to one, but GSI 0 to pin 2 */
TEST_F(ioapic, default_routes)
{
	struct vcpu *v = self->v;
	u32 gsi;

	for (gsi = 0; gsi < 24; gsi++)
		wr_entry(v, gsi, 0x40 + gsi, 0);
	for (gsi = 0; gsi < 24; gsi++) {
		char expected[4];

		sprintf(expected, "%02x", 0x40 + (gsi ? gsi : 2));
		pulse(v, gsi);
		EXPECT_STREQ(expected, remote_take(v));
		eoi(v);
	}
}

/* ---- state ------------------------------------------------------------------- */

TEST_F(ioapic, state)
{
	struct vcpu *v = self->v, *w;
	struct vmm_vm_state s, t;
	struct vm *other;

	wr(v, 0, 0x03000000);
	wr_entry(v, 10, LEVEL | 0x52, 0);
	wr_entry(v, 11, LEVEL | MASKED | 0x53, 0);
	wr_entry(v, 12, LEVEL | 0x54, 0);
	set_line(v, 10, 1);
	set_line(v, 11, 1);
	set_line(v, 12, 1);
	set_line(v, 3, 1);
	EXPECT_STREQ("54", remote_take(v));
	set_line(v, 12, 0);
	remote_write32(v, SELECT, 0x26);
	get_ioapic(v, &s);
	EXPECT_EQ(1 << 10 | 1 << 11 | 1 << 3, s.ioapic.lines);
	EXPECT_EQ(0x26, s.ioapic.select);
	EXPECT_EQ(SELECT, s.ioapic.base);

	/* The LAPIC's part, in either order */
	other = vm_create(16 * MIB, VMM_VM_IOAPIC | VMM_VM_LAPIC);
	w = vcpu_create(other, 0);
	remote_start(w);
	ASSERT_EQ(0, set_ioapic(w, &s));
	get_ioapic(w, &t);
	EXPECT_EQ(0, memcmp(&s, &t, sizeof(s)));
	vcpu_get(v, VMM_STATE_LAPIC);
	w->state.lapic = v->state.lapic;
	vcpu_set(w, VMM_STATE_LAPIC);
	get_ioapic(w, &t);
	EXPECT_EQ(0, memcmp(&s, &t, sizeof(s)));

	EXPECT_EQ(LEVEL | MASKED | 0x53, remote_read32(w, WINDOW));
	EXPECT_STREQ("", remote_take(w));
	eoi(w);
	EXPECT_STREQ("52", remote_take(w));
	/* The line is high until it is driven again. */
	eoi(w);
	EXPECT_STREQ("52", remote_take(w));
	set_line(w, 10, 0);
	eoi(w);
	EXPECT_STREQ("", remote_take(w));
	wr(w, 0x26, LEVEL | 0x53);
	EXPECT_STREQ("53", remote_take(w));
	/* High already: no edge */
	wr_entry(w, 3, 0x88, 0);
	set_line(w, 3, 1);
	EXPECT_STREQ("", remote_take(w));
	vm_destroy(other);
}

TEST_F(ioapic, bad_state)
{
	static const struct {
		size_t offset;
		size_t size;
		u64 value;
	} bad[] = {
#define BAD(field, value) { offsetof(struct vmm_vm_state, ioapic.field),		\
			    sizeof(((struct vmm_vm_state *)0)->ioapic.field), value }
		BAD(base, 0xfec00800), BAD(base, 1ULL << 52), BAD(select, 0x100), BAD(id, 1),
		BAD(id, 0x10000000), BAD(lines, 1 << 24), BAD(irr, 0x80000000),
		BAD(redirection[0], REMOTE_IRR), BAD(redirection[23], PENDING),
		BAD(redirection[7], 1ULL << 17), BAD(redirection[7], 1ULL << 55),
	};
	struct vcpu *v = self->v;
	struct vmm_vm_state good, s;
	unsigned int i;

	get_ioapic(v, &good);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		s = good;
		memcpy((u8 *)&s + bad[i].offset, &bad[i].value, bad[i].size);
		EXPECT_EQ(-EINVAL, set_ioapic(v, &s)) TH_LOG("case %u", i);
	}
	get_ioapic(v, &s);
	EXPECT_EQ(0, memcmp(&s, &good, sizeof(s)));
	/* Asserted and not yet sent: it is sent. An edge that waits, too */
	s.ioapic.lines = 1 << 9;
	s.ioapic.irr = 1 << 8;
	s.ioapic.redirection[9] = LEVEL | 0x79;
	s.ioapic.redirection[8] = 0x68;
	EXPECT_EQ(0, set_ioapic(v, &s));
	EXPECT_STREQ("79", remote_take(v));
	set_line(v, 9, 0);
	eoi(v);
	EXPECT_STREQ("68", remote_take(v));
	eoi(v);
	/* A chip set that has it elsewhere */
	get_ioapic(v, &s);
	s.ioapic.base = 0xfed80000;
	EXPECT_EQ(0, set_ioapic(v, &s));
	remote_write32(v, 0xfed80000, 1);
	EXPECT_EQ(0x170020, remote_read32(v, 0xfed80010));
	EXPECT_EQ(0, remote_exits);
	remote_read32(v, WINDOW);
	EXPECT_EQ(1, remote_exits);
}

TEST(absent)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	struct vcpu *v = vcpu_create(vm, 0);

	remote_start(v);
	EXPECT_EQ(~0U, remote_read32(v, WINDOW));
	EXPECT_EQ(1, remote_exits);
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
