// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pair of 8259A interrupt controllers as a PC has them: cascaded by input 2 of the
 * first, in 8086 mode, with the edge/level control registers of later chip sets. "The data
 * sheet" is Intel's 231468.
 *
 * Kept as chip sets have it: ICW1's SNGL and LTIM, ICW3, and ICW4's buffered mode do nothing,
 * and a request on an edge-triggered input is latched until it is acknowledged, where the 8259A
 * wants the input to stay high for so long.
 */
#include <linux/slab.h>

#include "internal.h"

#define CASCADE			2

#define ICW1			BIT(4)	/* told from OCW2 and OCW3 by it */
#define ICW1_ICW4		BIT(0)
#define ICW4_AUTO_EOI		BIT(1)
#define ICW4_SPECIAL_NESTED	BIT(4)

#define OCW2_LEVEL		0x07
#define OCW2_EOI		BIT(5)
#define OCW2_SPECIFIC		BIT(6)
#define OCW2_ROTATE		BIT(7)

#define OCW3			BIT(3)
#define OCW3_READ_MASK		0x03
#define OCW3_READ_IRR		0x02
#define OCW3_READ_ISR		0x03
#define OCW3_POLL		BIT(2)
#define OCW3_SPECIAL_MASK	BIT(5)
#define OCW3_SET_SPECIAL_MASK	BIT(6)

/* Inputs that can be level-triggered: not the timer, keyboard, cascade, RTC and FPU */
static const u8 elcr_mask[2] = { 0xf8, 0xde };

/**
 * struct pic - the pair
 * @lock: protects what is below
 * @irq: of which VM
 * @chip: first and second; their irr bits of level-triggered inputs equal lines, and that of the
 *        cascade is the second's output
 * @sources: who drives each input
 * @acked: inputs whose service has ended, for irqfd_resample()
 */
struct pic {
	raw_spinlock_t lock;
	struct irq_controllers *irq;	/* [I] */
	struct pic_state chip[2];	/* [L] */
	u8 sources[PIC_PINS];		/* [L] */
	u16 acked;			/* [L] */
};

/* Rank of the first of @inputs, 0 (highest) to 7; 8 if there is none */
static unsigned int pic_rank(const struct pic_state *s, u8 inputs)
{
	u32 rotated = (inputs | inputs << 8) >> s->priority_add & 0xff;

	return rotated ? __ffs(rotated) : 8;
}

static unsigned int pic_input(const struct pic_state *s, unsigned int rank)
{
	return (rank + s->priority_add) & 7;
}

/* The input that chip @i requests an interrupt for, or -1 */
static int pic_request(const struct pic *pic, int i)
{
	const struct pic_state *s = &pic->chip[i];
	u8 in_service = s->isr;
	unsigned int rank, served;

	rank = pic_rank(s, s->irr & ~s->imr);
	if (rank == 8 || s->init_step)
		return -1;
	if (s->special_mask)
		in_service &= ~s->imr;
	served = pic_rank(s, in_service);
	if (rank < served)
		return pic_input(s, rank);
	/* Special fully nested: the second chip sorts out its own. */
	if (rank == served && i == 0 && s->special_fully_nested && pic_input(s, rank) == CASCADE)
		return CASCADE;
	return -1;
}

static void pic_update(struct pic *pic)
{
	struct pic_state *first = &pic->chip[0];
	bool output;

	first->irr &= ~BIT(CASCADE);
	if (pic_request(pic, 1) >= 0)
		first->irr |= BIT(CASCADE);

	output = pic_request(pic, 0) >= 0;
	if (output == pic->irq->vm->pic_output)
		return;
	WRITE_ONCE(pic->irq->vm->pic_output, output);
	if (output)
		irq_extint_rose(pic->irq);
}

/* The lock is given back, and whoever waits for the end of a level-triggered interrupt told. */
static void pic_unlock(struct pic *pic, unsigned long flags) __releases(&pic->lock)
{
	u16 acked = pic->acked;

	pic->acked = 0;
	raw_spin_unlock_irqrestore(&pic->lock, flags);
	if (unlikely(acked) && irqfd_has_resamplers(pic->irq))
		irqfd_resample(pic->irq, VMM_ROUTE_PIC, acked);
}

static void pic_end_service(struct pic *pic, int i, unsigned int input)
{
	struct pic_state *s = &pic->chip[i];

	if (s->isr & BIT(input))
		pic->acked |= BIT(input) << (8 * i);
	s->isr &= ~BIT(input);
}

static void pic_start_service(struct pic *pic, int i, unsigned int input)
{
	struct pic_state *s = &pic->chip[i];

	if (!(s->elcr & BIT(input)))
		s->irr &= ~BIT(input);
	s->isr |= BIT(input);
	if (!s->auto_eoi)
		return;
	pic_end_service(pic, i, input);
	if (s->rotate_on_auto_eoi)
		s->priority_add = (input + 1) & 7;
}

u8 pic_acknowledge(struct pic *pic)
{
	unsigned long flags;
	int chip = 0, input;
	u8 vector;

	raw_spin_lock_irqsave(&pic->lock, flags);
	input = pic_request(pic, 0);
	if (input >= 0)
		pic_start_service(pic, 0, input);
	if (input == CASCADE) {
		chip = 1;
		input = pic_request(pic, 1);
		if (input >= 0)
			pic_start_service(pic, 1, input);
	}
	/* A request that went away shows as input 7, which is not in service then. */
	vector = pic->chip[chip].vector_base + (input >= 0 ? input : 7);
	pic_update(pic);
	pic_unlock(pic, flags);
	return vector;
}

void pic_set_pin(struct pic *pic, u32 pin, u32 source, bool level)
{
	struct pic_state *s = &pic->chip[pin / 8];
	u8 bit = BIT(pin % 8);
	unsigned long flags;
	bool was_high;

	if (pin == CASCADE)
		return;
	raw_spin_lock_irqsave(&pic->lock, flags);
	was_high = s->lines & bit;
	level = irq_drive_pin(&pic->sources[pin], source, level);
	if (level != was_high) {
		s->lines ^= bit;
		if (level)
			s->irr |= bit;
		else if (s->elcr & bit)
			s->irr &= ~bit;
		pic_update(pic);
	}
	raw_spin_unlock_irqrestore(&pic->lock, flags);
}

/* The first word of initialization clears what the data sheet says under "ICW1". */
static void pic_write_icw1(struct pic_state *s, u8 data)
{
	s->irr &= s->elcr;
	s->isr = 0;
	s->imr = 0;
	s->priority_add = 0;
	s->special_mask = 0;
	s->read_isr = 0;
	s->poll = 0;
	s->rotate_on_auto_eoi = 0;
	s->icw4 = 0;
	s->auto_eoi = 0;
	s->special_fully_nested = 0;
	s->init_icw4 = !!(data & ICW1_ICW4);
	s->init_step = 2;
}

static void pic_write_ocw2(struct pic *pic, int i, u8 data)
{
	struct pic_state *s = &pic->chip[i];
	unsigned int input = data & OCW2_LEVEL;

	switch (data & (OCW2_ROTATE | OCW2_SPECIFIC | OCW2_EOI)) {
	case OCW2_ROTATE | OCW2_EOI:
	case OCW2_EOI: {
		u8 in_service = s->special_mask ? s->isr & ~s->imr : s->isr;
		unsigned int rank = pic_rank(s, in_service);

		if (rank == 8)
			break;
		input = pic_input(s, rank);
		pic_end_service(pic, i, input);
		if (data & OCW2_ROTATE)
			s->priority_add = (input + 1) & 7;
		break;
	}
	case OCW2_SPECIFIC | OCW2_EOI:
		pic_end_service(pic, i, input);
		break;
	case OCW2_ROTATE | OCW2_SPECIFIC | OCW2_EOI:
		pic_end_service(pic, i, input);
		fallthrough;
	case OCW2_ROTATE | OCW2_SPECIFIC:
		s->priority_add = (input + 1) & 7;
		break;
	case OCW2_ROTATE:
		s->rotate_on_auto_eoi = 1;
		break;
	case 0:
		s->rotate_on_auto_eoi = 0;
		break;
	}
}

static void pic_write_ocw3(struct pic_state *s, u8 data)
{
	s->poll = !!(data & OCW3_POLL);
	if ((data & OCW3_READ_MASK) == OCW3_READ_IRR)
		s->read_isr = 0;
	else if ((data & OCW3_READ_MASK) == OCW3_READ_ISR)
		s->read_isr = 1;
	if (data & OCW3_SET_SPECIAL_MASK)
		s->special_mask = !!(data & OCW3_SPECIAL_MASK);
}

static void pic_write_command(struct pic *pic, int i, u8 data)
{
	if (data & ICW1)
		pic_write_icw1(&pic->chip[i], data);
	else if (data & OCW3)
		pic_write_ocw3(&pic->chip[i], data);
	else
		pic_write_ocw2(pic, i, data);
}

static void pic_write_data(struct pic_state *s, u8 data)
{
	switch (s->init_step) {
	case 0:
		s->imr = data;
		break;
	case 2:
		s->vector_base = data & 0xf8;
		s->init_step = 3;
		break;
	case 3:
		s->init_step = s->init_icw4 ? 4 : 0;
		break;
	case 4:
		s->icw4 = data;
		s->auto_eoi = !!(data & ICW4_AUTO_EOI);
		s->special_fully_nested = !!(data & ICW4_SPECIAL_NESTED);
		s->init_step = 0;
		break;
	}
}

static void pic_write_elcr(struct pic *pic, int i, u8 data)
{
	struct pic_state *s = &pic->chip[i];

	s->elcr = data & elcr_mask[i];
	s->irr = (s->irr & ~s->elcr) | (s->lines & s->elcr);
}

void pic_write_port(struct pic *pic, u16 port, u8 data)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&pic->lock, flags);
	switch (port) {
	case 0x20:
	case 0xa0:
		pic_write_command(pic, port == 0xa0, data);
		break;
	case 0x21:
	case 0xa1:
		pic_write_data(&pic->chip[port == 0xa1], data);
		break;
	case 0x4d0:
	case 0x4d1:
		pic_write_elcr(pic, port & 1, data);
		break;
	}
	pic_update(pic);
	pic_unlock(pic, flags);
}

/* The read after a poll command: an acknowledge cycle of this chip alone */
static u8 pic_read_poll(struct pic *pic, int i)
{
	int input = pic_request(pic, i);

	pic->chip[i].poll = 0;
	if (input < 0)
		return 0x07;
	pic_start_service(pic, i, input);
	return 0x80 | input;
}

static u8 pic_read_chip(struct pic *pic, int i, bool data_port)
{
	const struct pic_state *s = &pic->chip[i];

	if (s->poll)
		return pic_read_poll(pic, i);
	if (data_port)
		return s->imr;
	return s->read_isr ? s->isr : s->irr;
}

u8 pic_read_port(struct pic *pic, u16 port)
{
	unsigned long flags;
	u8 data = 0xff;

	raw_spin_lock_irqsave(&pic->lock, flags);
	switch (port) {
	case 0x20:
	case 0x21:
	case 0xa0:
	case 0xa1:
		data = pic_read_chip(pic, port >> 7, port & 1);
		break;
	case 0x4d0:
	case 0x4d1:
		data = pic->chip[port & 1].elcr;
		break;
	}
	pic_update(pic);
	pic_unlock(pic, flags);
	return data;
}

int irq_get_pic(struct vm *vm, struct pic_state state[2])
{
	struct pic *pic = vm->irq->pic;
	unsigned long flags;

	if (!pic)
		return -ENXIO;
	raw_spin_lock_irqsave(&pic->lock, flags);
	memcpy(state, pic->chip, sizeof(pic->chip));
	raw_spin_unlock_irqrestore(&pic->lock, flags);
	return 0;
}

static bool pic_state_valid(const struct pic_state *s, int i)
{
	return !(s->elcr & ~elcr_mask[i]) && !(s->vector_base & 7) &&
	       s->init_step <= 4 && s->init_step != 1 && s->priority_add <= 7 &&
	       (s->init_icw4 | s->read_isr | s->poll | s->special_mask | s->rotate_on_auto_eoi |
		s->auto_eoi | s->special_fully_nested) <= 1;
}

int irq_check_pic(struct vm *vm, const struct pic_state state[2])
{
	if (!vm->irq->pic)
		return -ENXIO;
	return pic_state_valid(&state[0], 0) && pic_state_valid(&state[1], 1) ? 0 : -EINVAL;
}

void irq_set_pic(struct vm *vm, const struct pic_state state[2])
{
	struct pic *pic = vm->irq->pic;
	unsigned long flags;
	int i;

	raw_spin_lock_irqsave(&pic->lock, flags);
	memcpy(pic->chip, state, sizeof(pic->chip));
	pic->chip[0].lines &= ~BIT(CASCADE);
	for (i = 0; i < 2; i++) {
		struct pic_state *s = &pic->chip[i];

		s->irr = (s->irr & ~s->elcr) | (s->lines & s->elcr);
	}
	for (i = 0; i < PIC_PINS; i++) {
		bool high = pic->chip[i / 8].lines & BIT(i % 8);

		pic->sources[i] = high ? BIT(IRQ_SOURCE_RESTORED) : 0;
	}
	pic_update(pic);
	raw_spin_unlock_irqrestore(&pic->lock, flags);
	irq_resume_pit(vm);
}

int pic_create(struct irq_controllers *irq)
{
	struct pic *pic = kzalloc(sizeof(*pic), GFP_KERNEL_ACCOUNT);

	if (!pic)
		return -ENOMEM;
	raw_spin_lock_init(&pic->lock);
	pic->irq = irq;
	/* Not initialized, so without vectors: as firmware does, nothing is let through. */
	pic->chip[0].imr = 0xff;
	pic->chip[1].imr = 0xff;
	irq->pic = pic;
	return 0;
}

void pic_destroy(struct irq_controllers *irq)
{
	kfree(irq->pic);
}
