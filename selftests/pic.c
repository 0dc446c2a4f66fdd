// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pair of 8259A: priorities and their rotation, masks, ends of interrupts, edges and
 * levels, the acknowledge cycle, and that all of it is in the state.
 */
#include "kselftest_harness.h"
#include "remote.h"

#define FIRST	0x20		/* command ports */
#define SECOND	0xa0
#define BASE1	0x30		/* vectors */
#define BASE2	0x38

#define EOI		0x20
#define SPECIFIC_EOI(n)	(0x60 | (n))

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

static void get_pics(struct vcpu *vcpu, struct vmm_vm_state *state)
{
	*state = (struct vmm_vm_state){ .size = sizeof(*state), .groups = VMM_VM_STATE_PIC };
	if (do_ioctl(vcpu->vm->fd, VMM_GET_VM_STATE, state))
		fail("VMM_GET_VM_STATE");
}

static int set_pics(struct vcpu *vcpu, struct vmm_vm_state *state)
{
	return do_ioctl(vcpu->vm->fd, VMM_SET_VM_STATE, state);
}

/* Both chips, all inputs unmasked; @icw4 adds to 8086 mode. */
static void init(struct vcpu *vcpu, u8 icw4)
{
	remote_out8(vcpu, FIRST, 0x11);
	remote_out8(vcpu, FIRST + 1, BASE1);
	remote_out8(vcpu, FIRST + 1, 0x04);
	remote_out8(vcpu, FIRST + 1, 0x01 | icw4);
	remote_out8(vcpu, SECOND, 0x11);
	remote_out8(vcpu, SECOND + 1, BASE2);
	remote_out8(vcpu, SECOND + 1, 0x02);
	remote_out8(vcpu, SECOND + 1, 0x01 | icw4);
}

static u8 read_irr(struct vcpu *vcpu, u16 port)
{
	remote_out8(vcpu, port, 0x0a);
	return remote_in8(vcpu, port);
}

static u8 read_isr(struct vcpu *vcpu, u16 port)
{
	remote_out8(vcpu, port, 0x0b);
	return remote_in8(vcpu, port);
}

FIXTURE(pic) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(pic)
{
	self->vm = vm_create(16 * MIB, VMM_VM_PIC);
	self->vcpu = vcpu_create(self->vm, 0);
	remote_start(self->vcpu);
	init(self->vcpu, 0);
}

FIXTURE_TEARDOWN(pic)
{
	vm_destroy(self->vm);
}

TEST_F(pic, fixed_priority)
{
	struct vcpu *v = self->vcpu;

	pulse(v, 3);
	pulse(v, 1);
	pulse(v, 5);
	EXPECT_EQ(0x2a, read_irr(v, FIRST));
	EXPECT_STREQ("31", remote_take(v));
	EXPECT_EQ(0x28, read_irr(v, FIRST));
	EXPECT_EQ(0x02, read_isr(v, FIRST));
	/* A lower one waits for the EOI, a higher one does not. */
	EXPECT_STREQ("", remote_take(v));
	pulse(v, 0);
	EXPECT_STREQ("30", remote_take(v));
	EXPECT_EQ(0x03, read_isr(v, FIRST));
	remote_out8(v, FIRST, EOI);
	EXPECT_EQ(0x02, read_isr(v, FIRST));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("33", remote_take(v));
	remote_out8(v, FIRST, SPECIFIC_EOI(3));
	EXPECT_STREQ("35", remote_take(v));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_EQ(0, read_isr(v, FIRST));
	/* One too many does nothing. */
	remote_out8(v, FIRST, EOI);
}

TEST_F(pic, cascade)
{
	struct vcpu *v = self->vcpu;

	pulse(v, 12);
	pulse(v, 8);
	pulse(v, 3);
	EXPECT_EQ(0x04 | 0x08, read_irr(v, FIRST));
	/* The second's inputs are where input 2 of the first is. */
	EXPECT_STREQ("38", remote_take(v));
	EXPECT_EQ(0x04, read_isr(v, FIRST));
	EXPECT_EQ(0x01, read_isr(v, SECOND));
	EXPECT_EQ(0x10, read_irr(v, SECOND));
	/* Without special fully nested mode the first lets none of its input 2 through. */
	remote_out8(v, SECOND, EOI);
	EXPECT_STREQ("", remote_take(v));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("3c", remote_take(v));
	pulse(v, 1);
	EXPECT_STREQ("31", remote_take(v));
	remote_out8(v, FIRST, EOI);
	remote_out8(v, SECOND, EOI);
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("33", remote_take(v));
	remote_out8(v, FIRST, EOI);
	EXPECT_EQ(0, read_isr(v, FIRST));
	EXPECT_EQ(0, read_isr(v, SECOND));
	/* Nothing but the second chip is at input 2. */
	pulse(v, 2);
	EXPECT_STREQ("", remote_take(v));
}

TEST_F(pic, mask)
{
	struct vcpu *v = self->vcpu;

	remote_out8(v, FIRST + 1, 0x08);
	EXPECT_EQ(0x08, remote_in8(v, FIRST + 1));
	pulse(v, 3);
	EXPECT_EQ(0x08, read_irr(v, FIRST));
	EXPECT_STREQ("", remote_take(v));
	/* The request waits behind its mask. */
	remote_out8(v, FIRST + 1, 0);
	EXPECT_STREQ("33", remote_take(v));
	remote_out8(v, FIRST, EOI);
	/* The cascade masked holds the second chip back. */
	remote_out8(v, FIRST + 1, 0x04);
	pulse(v, 9);
	EXPECT_STREQ("", remote_take(v));
	remote_out8(v, FIRST + 1, 0);
	EXPECT_STREQ("39", remote_take(v));
}

TEST_F(pic, edge)
{
	struct vcpu *v = self->vcpu;

	set_line(v, 4, 1);
	EXPECT_STREQ("34", remote_take(v));
	remote_out8(v, FIRST, EOI);
	/* Still high: no new edge */
	EXPECT_STREQ("", remote_take(v));
	set_line(v, 4, 1);
	EXPECT_STREQ("", remote_take(v));
	set_line(v, 4, 0);
	EXPECT_STREQ("", remote_take(v));
	set_line(v, 4, 1);
	EXPECT_STREQ("34", remote_take(v));
	/* One more while it is in service waits its turn. */
	pulse(v, 4);
	set_line(v, 4, 1);
	EXPECT_EQ(0x10, read_irr(v, FIRST));
	EXPECT_STREQ("", remote_take(v));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("34", remote_take(v));
}

TEST_F(pic, level)
{
	struct vcpu *v = self->vcpu;

	/* What cannot be level-triggered stays an edge. */
	remote_out8(v, 0x4d0, 0xff);
	EXPECT_EQ(0xf8, remote_in8(v, 0x4d0));
	remote_out8(v, 0x4d1, 0xff);
	EXPECT_EQ(0xde, remote_in8(v, 0x4d1));
	remote_out16(v, 0x4d0, 0x0a20);
	EXPECT_EQ(0x0a20, remote_in16(v, 0x4d0));

	set_line(v, 5, 1);
	EXPECT_EQ(0x20, read_irr(v, FIRST));
	EXPECT_STREQ("35", remote_take(v));
	EXPECT_EQ(0x20, read_irr(v, FIRST));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("35", remote_take(v));
	set_line(v, 5, 0);
	EXPECT_EQ(0, read_irr(v, FIRST));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("", remote_take(v));
	/* A level that falls before it is taken was never there. */
	pulse(v, 5);
	EXPECT_STREQ("", remote_take(v));

	set_line(v, 11, 1);
	EXPECT_STREQ("3b", remote_take(v));
	remote_out8(v, SECOND, EOI);
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("3b", remote_take(v));
	set_line(v, 11, 0);
	remote_out8(v, SECOND, EOI);
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("", remote_take(v));
}

TEST_F(pic, rotation)
{
	struct vcpu *v = self->vcpu;

	/* Rotate on non-specific EOI: the one served becomes the last. */
	pulse(v, 3);
	EXPECT_STREQ("33", remote_take(v));
	remote_out8(v, FIRST, 0xa0);
	pulse(v, 3);
	pulse(v, 7);
	pulse(v, 1);
	EXPECT_STREQ("37", remote_take(v));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("31", remote_take(v));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("33", remote_take(v));
	/* Rotate on specific EOI: 5 becomes the last */
	remote_out8(v, FIRST, EOI);
	pulse(v, 5);
	EXPECT_STREQ("35", remote_take(v));
	remote_out8(v, FIRST, 0xe5);
	EXPECT_EQ(0, read_isr(v, FIRST));
	pulse(v, 5);
	pulse(v, 6);
	pulse(v, 0);
	EXPECT_STREQ("36", remote_take(v));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("30", remote_take(v));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("35", remote_take(v));
	remote_out8(v, FIRST, EOI);
	/* Set priority: 7 is the last again */
	remote_out8(v, FIRST, 0xc7);
	pulse(v, 6);
	pulse(v, 0);
	EXPECT_STREQ("30", remote_take(v));
	/* The EOI that is not specific ends the one that the new order puts first. */
	pulse(v, 0);
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("30", remote_take(v));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("36", remote_take(v));
}

TEST_F(pic, special_mask)
{
	struct vcpu *v = self->vcpu;

	pulse(v, 3);
	EXPECT_STREQ("33", remote_take(v));
	pulse(v, 5);
	EXPECT_STREQ("", remote_take(v));
	/* In service and masked: it holds back only itself. */
	remote_out8(v, FIRST + 1, 0x08);
	EXPECT_STREQ("", remote_take(v));
	remote_out8(v, FIRST, 0x68);
	EXPECT_STREQ("35", remote_take(v));
	EXPECT_EQ(0x28, read_isr(v, FIRST));
	/* An EOI that is not specific spares what is masked. */
	remote_out8(v, FIRST, EOI);
	EXPECT_EQ(0x08, read_isr(v, FIRST));
	remote_out8(v, FIRST, EOI);
	EXPECT_EQ(0x08, read_isr(v, FIRST));
	remote_out8(v, FIRST, 0x48);
	pulse(v, 6);
	EXPECT_STREQ("", remote_take(v));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("36", remote_take(v));
}

TEST_F(pic, special_fully_nested)
{
	struct vcpu *v = self->vcpu;

	init(v, 0x10);
	pulse(v, 12);
	EXPECT_STREQ("3c", remote_take(v));
	/* A higher one of the second chip gets through, a lower one, there or here, does not. */
	pulse(v, 9);
	pulse(v, 14);
	pulse(v, 4);
	EXPECT_STREQ("39", remote_take(v));
	EXPECT_EQ(0x04, read_isr(v, FIRST));
	EXPECT_EQ(0x12, read_isr(v, SECOND));
	remote_out8(v, SECOND, EOI);
	EXPECT_STREQ("", remote_take(v));
	remote_out8(v, SECOND, EOI);
	EXPECT_STREQ("3e", remote_take(v));
	remote_out8(v, SECOND, EOI);
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("34", remote_take(v));
}

TEST_F(pic, automatic_eoi)
{
	struct vcpu *v = self->vcpu;

	init(v, 0x02);
	pulse(v, 1);
	pulse(v, 3);
	EXPECT_STREQ("31 33", remote_take(v));
	EXPECT_EQ(0, read_isr(v, FIRST));
	/* With rotation the one that was served is the last. */
	remote_out8(v, FIRST, 0x80);
	pulse(v, 4);
	EXPECT_STREQ("34", remote_take(v));
	pulse(v, 1);
	pulse(v, 4);
	pulse(v, 6);
	EXPECT_STREQ("36 31 34", remote_take(v));
	remote_out8(v, FIRST, 0x00);
	pulse(v, 5);
	EXPECT_STREQ("35", remote_take(v));
	pulse(v, 4);
	pulse(v, 6);
	/* The last rotation was by input 4. */
	EXPECT_STREQ("36 34", remote_take(v));
}

TEST_F(pic, poll)
{
	struct vcpu *v = self->vcpu;

	remote_out8(v, FIRST, 0x0c);
	EXPECT_EQ(0, remote_in8(v, FIRST) & 0x80);
	pulse(v, 6);
	pulse(v, 4);
	remote_out8(v, FIRST, 0x0c);
	EXPECT_EQ(0x84, remote_in8(v, FIRST));
	/* It was an acknowledge cycle, and only one. */
	EXPECT_EQ(0x10, read_isr(v, FIRST));
	EXPECT_EQ(0x40, read_irr(v, FIRST));
	EXPECT_STREQ("", remote_take(v));
	remote_out8(v, FIRST, EOI);
	EXPECT_STREQ("36", remote_take(v));
	remote_out8(v, FIRST, EOI);
	/* The second is polled behind the first. */
	pulse(v, 13);
	remote_out8(v, FIRST, 0x0c);
	EXPECT_EQ(0x82, remote_in8(v, FIRST + 1));
	remote_out8(v, SECOND, 0x0c);
	EXPECT_EQ(0x85, remote_in8(v, SECOND));
	EXPECT_EQ(0x20, read_isr(v, SECOND));
}

TEST_F(pic, initialization)
{
	struct vcpu *v = self->vcpu;
	struct vmm_vm_state s;

	remote_out8(v, FIRST + 1, 0xa5);
	remote_out8(v, FIRST, 0xc3);
	remote_out8(v, FIRST, 0x68);
	remote_out8(v, FIRST, 0x0b);
	pulse(v, 1);
	remote_out8(v, FIRST, 0x11);
	get_pics(v, &s);
	EXPECT_EQ(0, s.pic[0].imr);
	EXPECT_EQ(0, s.pic[0].irr);
	EXPECT_EQ(0, s.pic[0].priority_add);
	EXPECT_EQ(0, s.pic[0].special_mask);
	EXPECT_EQ(0, s.pic[0].read_isr);
	EXPECT_EQ(2, s.pic[0].init_step);
	/* Nothing is requested before it is done. */
	pulse(v, 3);
	EXPECT_STREQ("", remote_take(v));
	remote_out8(v, FIRST + 1, 0x57);
	EXPECT_STREQ("", remote_take(v));
	remote_out8(v, FIRST + 1, 0x04);
	EXPECT_STREQ("", remote_take(v));
	remote_out8(v, FIRST + 1, 0x01);
	EXPECT_STREQ("53", remote_take(v));
	/* Without ICW4 */
	remote_out8(v, FIRST, 0x10);
	EXPECT_EQ(0, read_isr(v, FIRST));
	remote_out8(v, FIRST + 1, 0x60);
	remote_out8(v, FIRST + 1, 0x04);
	remote_out8(v, FIRST + 1, 0x5a);
	EXPECT_EQ(0x5a, remote_in8(v, FIRST + 1));
}

/* A byte at a time or both at once, and a neighbour that is not there */
TEST_F(pic, widths)
{
	struct vcpu *v = self->vcpu;

	remote_out16(v, FIRST, 0xa50b);
	EXPECT_EQ(0xa500, remote_in16(v, FIRST));
	EXPECT_EQ(0xffffffa5, remote_in32(v, FIRST + 1));
	EXPECT_EQ(0, remote_exits);
	remote_in8(v, 0x1f);
	remote_in8(v, 0x22);
	EXPECT_EQ(2, remote_exits);
}

/* The state of a chip in every situation goes to another VM and back without a trace. */
TEST_F(pic, state)
{
	struct vcpu *v = self->vcpu, *w;
	struct vmm_vm_state s, t;
	struct vm *other;

	remote_out16(v, 0x4d0, 0x0a20);
	remote_out8(v, FIRST, 0xc1);
	set_line(v, 5, 1);
	pulse(v, 3);
	EXPECT_STREQ("33", remote_take(v));
	pulse(v, 4);
	set_line(v, 11, 1);
	remote_out8(v, SECOND, 0x11);
	remote_out8(v, SECOND + 1, 0x58);
	remote_out8(v, FIRST, 0x0f);
	get_pics(v, &s);

	other = vm_create(16 * MIB, VMM_VM_PIC);
	w = vcpu_create(other, 0);
	remote_start(w);
	ASSERT_EQ(0, set_pics(w, &s));
	get_pics(w, &t);
	EXPECT_EQ(0, memcmp(&s, &t, sizeof(s)));
	/* Poll was waiting, input 3 is in service and 2 has the highest priority. */
	remote_out8(w, FIRST, SPECIFIC_EOI(3));
	EXPECT_EQ(0x84, remote_in8(w, FIRST));
	EXPECT_EQ(0x10, remote_in8(w, FIRST));	/* ISR was chosen */
	remote_out8(w, FIRST, EOI);
	EXPECT_STREQ("35", remote_take(w));
	/* The restored level is the line's until it is driven again. */
	remote_out8(w, FIRST, EOI);
	EXPECT_STREQ("35", remote_take(w));
	set_line(w, 5, 0);
	remote_out8(w, FIRST, EOI);
	EXPECT_STREQ("", remote_take(w));
	remote_out8(w, SECOND + 1, 0x02);
	remote_out8(w, SECOND + 1, 0x01);
	EXPECT_STREQ("5b", remote_take(w));
	vm_destroy(other);
}

TEST_F(pic, bad_state)
{
	struct vcpu *v = self->vcpu;
	struct vmm_vm_state good, s;
	unsigned int i;
	static const struct {
		size_t offset;
		u8 value;
	} bad[] = {
#define BAD(chip, field, value) { offsetof(struct vmm_vm_state, pic[chip].field), value }
		BAD(0, elcr, 0x01), BAD(0, elcr, 0x04), BAD(1, elcr, 0x20),
		BAD(0, vector_base, 0x31),
		BAD(0, init_step, 1), BAD(1, init_step, 5), BAD(0, priority_add, 8),
		BAD(0, init_icw4, 2), BAD(1, read_isr, 2), BAD(0, poll, 0x80),
		BAD(0, special_mask, 2), BAD(0, rotate_on_auto_eoi, 3), BAD(0, auto_eoi, 2),
		BAD(1, special_fully_nested, 0x10),
	};

	pulse(v, 3);
	get_pics(v, &good);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		s = good;
		*((u8 *)&s + bad[i].offset) = bad[i].value;
		EXPECT_EQ(-EINVAL, set_pics(v, &s)) TH_LOG("case %u", i);
	}
	get_pics(v, &s);
	EXPECT_EQ(0, memcmp(&s, &good, sizeof(s)));
	/* All other bytes may be anything: whatever they are, the guest goes on. */
	for (i = 0; i < 256; i++) {
		s = good;
		s.pic[0].irr = i;
		s.pic[1].isr = i;
		s.pic[0].imr = i * 7;
		s.pic[1].irr = i * 7;
		s.pic[0].lines = ~i;
		s.pic[1].icw4 = i;
		EXPECT_EQ(0, set_pics(v, &s));
		remote_take(v);
	}
}

/* ---- the way to the processor ---- */

#define LAPIC(offset)	(0xfee00000 + (offset))

TEST(virtual_wire)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_PIC | VMM_VM_LAPIC);
	struct vcpu *v = vcpu_create(vm, 0);

	remote_start(v);
	init(v, 0);
	/* As firmware would leave it */
	EXPECT_EQ(0x700, remote_read32(v, LAPIC(0x350)));
	pulse(v, 3);
	EXPECT_STREQ("33", remote_take(v));
	remote_out8(v, FIRST, EOI);

	remote_write32(v, LAPIC(0xf0), 0x1ff);
	remote_write32(v, LAPIC(0x350), 0x10700);
	pulse(v, 3);
	EXPECT_STREQ("", remote_take(v));
	/* It waited behind the mask. The task priority does not matter. */
	remote_write32(v, LAPIC(0x80), 0xf0);
	remote_write32(v, LAPIC(0x350), 0x700);
	EXPECT_STREQ("33", remote_take(v));
	remote_out8(v, FIRST, EOI);
	remote_write32(v, LAPIC(0x80), 0);

	/* LINT0 as an edge of its own */
	remote_write32(v, LAPIC(0x350), 0x51);
	pulse(v, 4);
	EXPECT_STREQ("51", remote_take(v));
	remote_write32(v, LAPIC(0xb0), 0);
	remote_out8(v, FIRST, 0x0c);
	EXPECT_EQ(0x84, remote_in8(v, FIRST));
	remote_out8(v, FIRST, EOI);
	/* ... or as NMI, the old way of a watchdog */
	remote_write32(v, LAPIC(0x350), 0x400);
	pulse(v, 0);
	remote_read32(v, LAPIC(0x20));
	remote_out8(v, FIRST, 0x0c);
	EXPECT_EQ(0x80, remote_in8(v, FIRST));
	vm_destroy(vm);
}

TEST(nmi_by_lint0)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_PIC | VMM_VM_LAPIC);
	struct vcpu *v = vcpu_create(vm, 0);

	remote_start(v);
	init(v, 0);
	remote_write32(v, LAPIC(0xf0), 0x1ff);
	remote_write32(v, LAPIC(0x350), 0x400);
	pulse(v, 0);
	remote_read32(v, LAPIC(0x20));
	EXPECT_STREQ("02", remote_taken());
	vm_destroy(vm);
}

/* An APIC that is switched off leaves the processor's INTR pin to the PIC. */
TEST(lapic_off)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_PIC | VMM_VM_LAPIC);
	struct vcpu *v = vcpu_create(vm, 0);

	remote_start(v);
	init(v, 0);
	remote_write32(v, LAPIC(0xf0), 0x1ff);
	remote_write32(v, LAPIC(0x350), 0x10000);
	pulse(v, 3);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_TRUE(remote_wrmsr(v, 0x1b, 0xfee00100));
	EXPECT_STREQ("33", remote_take(v));
	vm_destroy(vm);
}

/* Through pin 0 of the I/O APIC */
TEST(ioapic_extint)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_PIC | VMM_VM_LAPIC | VMM_VM_IOAPIC);
	struct vcpu *v = vcpu_create(vm, 0);

	remote_start(v);
	init(v, 0);
	remote_write32(v, LAPIC(0xf0), 0x1ff);
	remote_write32(v, LAPIC(0x350), 0x10000);
	pulse(v, 3);
	EXPECT_STREQ("", remote_take(v));
	remote_write32(v, 0xfec00000, 0x11);
	remote_write32(v, 0xfec00010, 0);
	remote_write32(v, 0xfec00000, 0x10);
	remote_write32(v, 0xfec00010, 0x700);
	EXPECT_STREQ("33", remote_take(v));
	remote_out8(v, FIRST, EOI);
	pulse(v, 9);
	EXPECT_STREQ("39", remote_take(v));
	remote_out8(v, SECOND, EOI);
	remote_out8(v, FIRST, EOI);
	remote_write32(v, 0xfec00010, 0x10700);
	pulse(v, 3);
	EXPECT_STREQ("", remote_take(v));
	vm_destroy(vm);
}

/* A guest that sleeps is woken by it. */
TEST(ends_hlt)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_PIC | VMM_VM_LAPIC);
	struct vcpu *v = vcpu_create(vm, 0);

	remote_start(v);
	init(v, 0);
	pulse(v, 3);
	EXPECT_STREQ("33", remote_wait(v));
	vm_destroy(vm);
}

TEST(absent)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *v = vcpu_create(vm, 0);

	remote_start(v);
	remote_out8(v, 0x20, 0x11);
	EXPECT_EQ(1, remote_exits);
	EXPECT_EQ(0x20, remote_exit.io.port);
	EXPECT_EQ(0xff, remote_in8(v, 0x4d1));
	EXPECT_EQ(2, remote_exits);
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
