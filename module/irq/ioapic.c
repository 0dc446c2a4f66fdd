// SPDX-License-Identifier: GPL-2.0-only
/*
 * The I/O APIC: 24 pins, version 0x20. "The data sheet" is Intel's 290566 (82093AA); the EOI
 * register is that of the chip sets that followed.
 */
#include <linux/nospec.h>
#include <linux/slab.h>

#include "internal.h"

#define IOAPIC_BASE		0xfec00000ull
#define IOAPIC_VERSION		(0x20 | (IOAPIC_PINS - 1) << 16)

/* Memory-mapped registers */
#define IOAPIC_SELECT		0x00
#define IOAPIC_WINDOW		0x10
#define IOAPIC_EOI		0x40

/* Registers behind the window */
#define IOAPIC_REG_ID		0x00
#define IOAPIC_REG_VERSION	0x01
#define IOAPIC_REG_ARBITRATION	0x02
#define IOAPIC_REG_REDIRECTION	0x10
#define IOAPIC_ID_MASK		0x0f000000

/* A redirection entry */
#define ENTRY_VECTOR		0xffull
#define ENTRY_MODE(entry)	((entry) >> 8 & 7)
#define ENTRY_LOGICAL		BIT_ULL(11)
#define ENTRY_REMOTE_IRR	BIT_ULL(14)
#define ENTRY_LEVEL		BIT_ULL(15)
#define ENTRY_MASKED		BIT_ULL(16)
#define ENTRY_DEST(entry)	((entry) >> 56)
/* Vector, delivery mode, destination mode, polarity, trigger mode, mask, destination */
#define ENTRY_WRITABLE		0xff0000000001afffull

/*
 * The pin that the PIC pair's output is wired to, for ExtINT. The line is followed, not latched:
 * see irq_extint_rose().
 */
#define EXTINT_PIN		0

/**
 * struct ioapic - the I/O APIC of a VM
 * @lock: protects what is below
 * @irq: of which VM
 * @state: its irr holds edges that no LAPIC has accepted yet
 * @sources: who drives each pin
 * @waiting: something is asserted that no LAPIC accepted when it was tried last
 */
struct ioapic {
	raw_spinlock_t lock;
	struct irq_controllers *irq;		/* [I] */
	struct ioapic_state state;		/* [L] */
	u8 sources[IOAPIC_PINS];		/* [L] */
	bool waiting;				/* [L], read as a hint */
};

static void entry_to_message(u64 entry, struct irq_message *msg)
{
	*msg = (struct irq_message){
		.dest = ENTRY_DEST(entry),
		.logical = entry & ENTRY_LOGICAL,
		.level = entry & ENTRY_LEVEL,
		.lowest = ENTRY_MODE(entry) == APIC_DELIVERY_MODE_LOWESTPRIO,
		.mode = ENTRY_MODE(entry),
		.vector = entry & ENTRY_VECTOR,
	};
}

/* SMI, NMI, INIT and ExtINT are edges, whatever the entry says (data sheet 3.2.4) */
static bool is_level(u64 entry)
{
	return (entry & ENTRY_LEVEL) && ENTRY_MODE(entry) <= APIC_DELIVERY_MODE_LOWESTPRIO;
}

/* False: nobody takes it now; ioapic_retry() will be called when somebody may. */
static bool try_deliver(struct ioapic *ioapic, const struct irq_message *msg)
{
	if (irq_deliver(ioapic->irq->vm, msg) > 0)
		return true;
	WRITE_ONCE(ioapic->waiting, true);
	/* Pairs with ioapic_retry(): whoever has become able to sees that, or is found here. */
	smp_mb();
	return irq_deliver(ioapic->irq->vm, msg) > 0;
}

/* Send what @pin requests, if it may */
static void ioapic_service(struct ioapic *ioapic, unsigned int pin)
{
	struct ioapic_state *s = &ioapic->state;
	u64 *entry = &s->redirection[pin];
	bool level = is_level(*entry);
	struct irq_message msg;

	if (*entry & ENTRY_MASKED)
		return;
	if (!((level ? s->lines : s->irr) & BIT(pin)) || (level && (*entry & ENTRY_REMOTE_IRR)))
		return;

	entry_to_message(*entry, &msg);
	msg.level = level;
	if (msg.mode == APIC_DELIVERY_MODE_EXTINT) {
		s->irr &= ~BIT(pin);
	} else if (try_deliver(ioapic, &msg)) {
		s->irr &= ~BIT(pin);
		if (level)
			*entry |= ENTRY_REMOTE_IRR;
	}
}

static void ioapic_update_extint(struct ioapic *ioapic)
{
	u64 entry = ioapic->state.redirection[EXTINT_PIN];
	struct vcpu *target = NULL;
	struct irq_message msg;

	if (!(entry & ENTRY_MASKED) && ENTRY_MODE(entry) == APIC_DELIVERY_MODE_EXTINT) {
		entry_to_message(entry, &msg);
		target = irq_find_target(ioapic->irq->vm, &msg);
	}
	WRITE_ONCE(ioapic->irq->extint_vcpu, target ? target->index : -1);
	if (target && READ_ONCE(ioapic->irq->vm->pic_output))
		vcpu_request(target, VCPU_REQ_EVENT);
}

void ioapic_set_pin(struct ioapic *ioapic, u32 pin, u32 source, bool level)
{
	struct ioapic_state *s = &ioapic->state;
	unsigned long flags;
	bool was_high;

	raw_spin_lock_irqsave(&ioapic->lock, flags);
	was_high = s->lines & BIT(pin);
	level = irq_drive_pin(&ioapic->sources[pin], source, level);
	if (level != was_high) {
		u64 entry = s->redirection[pin];

		s->lines ^= BIT(pin);
		/* Edges on a masked pin are ignored (data sheet 3.2.4, interrupt mask) */
		if (level && !is_level(entry) && !(entry & ENTRY_MASKED))
			s->irr |= BIT(pin);
		if (level)
			ioapic_service(ioapic, pin);
	}
	raw_spin_unlock_irqrestore(&ioapic->lock, flags);
}

void ioapic_retry(struct ioapic *ioapic)
{
	unsigned long flags;
	unsigned int pin;

	/* Pairs with try_deliver() */
	smp_mb();
	if ((READ_ONCE(ioapic->state.redirection[EXTINT_PIN]) & ENTRY_MASKED) &&
	    !READ_ONCE(ioapic->waiting))
		return;
	raw_spin_lock_irqsave(&ioapic->lock, flags);
	ioapic_update_extint(ioapic);
	ioapic->waiting = false;
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic_service(ioapic, pin);
	raw_spin_unlock_irqrestore(&ioapic->lock, flags);
}

void ioapic_eoi(struct ioapic *ioapic, u8 vector)
{
	bool resample = irqfd_has_resamplers(ioapic->irq);
	struct ioapic_state *s = &ioapic->state;
	unsigned long flags;
	unsigned int pin;
	u32 acked = 0;

	raw_spin_lock_irqsave(&ioapic->lock, flags);
	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		u64 *entry = &s->redirection[pin];

		if (!(*entry & ENTRY_REMOTE_IRR) || (*entry & ENTRY_VECTOR) != vector)
			continue;
		*entry &= ~ENTRY_REMOTE_IRR;
		acked |= BIT(pin);
		if (!resample)
			ioapic_service(ioapic, pin);
	}
	raw_spin_unlock_irqrestore(&ioapic->lock, flags);
	if (!resample || !acked)
		return;

	/* The lines fall first, without the lock, so that only what is asserted anew interrupts. */
	irqfd_resample(ioapic->irq, VMM_ROUTE_IOAPIC, acked);
	raw_spin_lock_irqsave(&ioapic->lock, flags);
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		if (acked & BIT(pin))
			ioapic_service(ioapic, pin);
	raw_spin_unlock_irqrestore(&ioapic->lock, flags);
}

static void ioapic_write_entry(struct ioapic *ioapic, unsigned int pin, u64 value)
{
	struct ioapic_state *s = &ioapic->state;
	u64 *entry = &s->redirection[pin];

	*entry = (*entry & ~ENTRY_WRITABLE) | (value & ENTRY_WRITABLE);
	if (!(*entry & ENTRY_LEVEL))
		*entry &= ~ENTRY_REMOTE_IRR;
	if ((*entry & ENTRY_MASKED) || is_level(*entry))
		s->irr &= ~BIT(pin);
	if (pin == EXTINT_PIN)
		ioapic_update_extint(ioapic);
	ioapic_service(ioapic, pin);
}

static void ioapic_write_window(struct ioapic *ioapic, u32 data)
{
	struct ioapic_state *s = &ioapic->state;
	u32 index = s->select - IOAPIC_REG_REDIRECTION;
	u64 entry;

	if (s->select == IOAPIC_REG_ID) {
		s->id = data & IOAPIC_ID_MASK;
		return;
	}
	if (index >= 2 * IOAPIC_PINS)
		return;
	index = array_index_nospec(index, 2 * IOAPIC_PINS);
	entry = s->redirection[index / 2];
	if (index & 1)
		entry = (u32)entry | (u64)data << 32;
	else
		entry = (entry & ~(u64)U32_MAX) | data;
	ioapic_write_entry(ioapic, index / 2, entry);
}

static u32 ioapic_read_window(const struct ioapic *ioapic)
{
	const struct ioapic_state *s = &ioapic->state;
	u32 index = s->select - IOAPIC_REG_REDIRECTION;

	switch (s->select) {
	case IOAPIC_REG_ID:
	case IOAPIC_REG_ARBITRATION:
		return s->id;
	case IOAPIC_REG_VERSION:
		return IOAPIC_VERSION;
	}
	if (index >= 2 * IOAPIC_PINS)
		return 0;
	index = array_index_nospec(index, 2 * IOAPIC_PINS);
	return s->redirection[index / 2] >> (index & 1 ? 32 : 0);
}

static bool ioapic_hit(const struct ioapic *ioapic, u64 gpa)
{
	return (gpa & PAGE_MASK) == READ_ONCE(ioapic->state.base);
}

bool ioapic_mmio_read(struct ioapic *ioapic, u64 gpa, u8 size, u64 *data)
{
	unsigned int offset = gpa & ~PAGE_MASK;
	unsigned long flags;
	u32 value = 0;

	if (!ioapic_hit(ioapic, gpa))
		return false;
	raw_spin_lock_irqsave(&ioapic->lock, flags);
	switch (offset & ~3) {
	case IOAPIC_SELECT:
		value = ioapic->state.select;
		break;
	case IOAPIC_WINDOW:
		value = ioapic_read_window(ioapic);
		break;
	}
	raw_spin_unlock_irqrestore(&ioapic->lock, flags);
	*data = value >> (8 * (offset & 3));
	return true;
}

bool ioapic_mmio_write(struct ioapic *ioapic, u64 gpa, u8 size, u64 data)
{
	unsigned int offset = gpa & ~PAGE_MASK;
	unsigned long flags;

	if (!ioapic_hit(ioapic, gpa))
		return false;
	if (offset == IOAPIC_EOI) {
		ioapic_eoi(ioapic, data);
		return true;
	}
	raw_spin_lock_irqsave(&ioapic->lock, flags);
	if (offset == IOAPIC_SELECT)
		ioapic->state.select = (u8)data;
	else if (offset == IOAPIC_WINDOW && size >= 4)
		ioapic_write_window(ioapic, data);
	raw_spin_unlock_irqrestore(&ioapic->lock, flags);
	return true;
}

int irq_get_ioapic(struct vm *vm, struct ioapic_state *state)
{
	struct ioapic *ioapic = vm->irq->ioapic;
	unsigned long flags;

	if (!ioapic)
		return -ENXIO;
	raw_spin_lock_irqsave(&ioapic->lock, flags);
	*state = ioapic->state;
	raw_spin_unlock_irqrestore(&ioapic->lock, flags);
	return 0;
}

static bool ioapic_state_valid(const struct ioapic_state *state)
{
	const u32 pins = GENMASK(IOAPIC_PINS - 1, 0);
	int pin;

	if ((state->base & ~PAGE_MASK) || state->base >> 52 || state->select > 0xff ||
	    (state->id & ~IOAPIC_ID_MASK) || (state->lines & ~pins) || (state->irr & ~pins))
		return false;
	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		u64 entry = state->redirection[pin];

		if (entry & ~(ENTRY_WRITABLE | ENTRY_REMOTE_IRR))
			return false;
		if ((entry & ENTRY_REMOTE_IRR) && !(entry & ENTRY_LEVEL))
			return false;
	}
	return true;
}

int irq_check_ioapic(struct vm *vm, const struct ioapic_state *state)
{
	if (!vm->irq->ioapic)
		return -ENXIO;
	return ioapic_state_valid(state) ? 0 : -EINVAL;
}

void irq_set_ioapic(struct vm *vm, const struct ioapic_state *state)
{
	struct ioapic *ioapic = vm->irq->ioapic;
	unsigned long flags;
	unsigned int pin;

	raw_spin_lock_irqsave(&ioapic->lock, flags);
	ioapic->state = *state;
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic->sources[pin] = state->lines & BIT(pin) ? BIT(IRQ_SOURCE_RESTORED) : 0;
	ioapic_update_extint(ioapic);
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic_service(ioapic, pin);
	raw_spin_unlock_irqrestore(&ioapic->lock, flags);
	irq_resume_pit(vm);
}

int ioapic_create(struct irq_controllers *irq)
{
	struct ioapic *ioapic = kzalloc(sizeof(*ioapic), GFP_KERNEL_ACCOUNT);
	int pin;

	if (!ioapic)
		return -ENOMEM;
	raw_spin_lock_init(&ioapic->lock);
	ioapic->irq = irq;
	ioapic->state.base = IOAPIC_BASE;
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic->state.redirection[pin] = ENTRY_MASKED;
	irq->ioapic = ioapic;
	return 0;
}

void ioapic_destroy(struct irq_controllers *irq)
{
	kfree(irq->ioapic);
}
