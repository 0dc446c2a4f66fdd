// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC: acceptance of interrupts, priorities, acknowledge and EOI. Its registers are in
 * lapic_regs.c, its timer in lapic_timer.c. "SDM" is Intel's volume 3, chapter 11 (APIC); AMD's
 * APM volume 2, chapter 16 says the same where both are quoted.
 *
 * Senders on any CPU set bits in IRR and then irr_map; the vCPU's thread looks at irr_map before
 * each entry, and is made to look by a request that follows the bit. It alone takes bits away.
 *
 * Where the processor works on the registers itself (hw_caps.virtual_apic) nobody else may write
 * those that it changes while the guest runs (SDM 25.11.4). So senders have a copy of IRR then, and
 * irr_map tells what is in that copy; what is in IRR and ISR is found there.
 */
#include <linux/bitmap.h>
#include <linux/nospec.h>
#include <linux/slab.h>

#include "../hw.h"
#include "internal.h"

/* A further bit of irr_map where lapic->virtual: the processor knows other IRR, ISR or TMR */
#define IRR_MAP_CHANGED		8
#define IRR_MAP_WORDS		0xff

/* The 32-bit registers of IRR, ISR and TMR lie 16 bytes apart. */
static inline u32 vector_offset(u32 base, unsigned int vector)
{
	return base + (vector >> 5) * 0x10;
}

static inline bool test_vector(struct lapic *lapic, u32 base, u8 vector)
{
	return lapic_get(lapic, vector_offset(base, vector)) & BIT(vector & 31);
}

static void mark_vector(struct lapic *lapic, u32 base, u8 vector, bool set)
{
	unsigned long *word = (unsigned long *)lapic_reg(lapic, vector_offset(base, vector));

	if (set)
		set_bit(vector & 31, word);
	else
		clear_bit(vector & 31, word);
}

/* Make the vCPU look. Its own thread does so anyway before its next entry or sleep. */
static void request_event(struct vcpu *vcpu)
{
	if (rcu_access_pointer(vcpu->thread) != current || !in_task())
		vcpu_request(vcpu, VCPU_REQ_EVENT);
}

/* ---- the vCPU's side ---- */

static void registers_changed(struct lapic *lapic)
{
	if (lapic->virtual)
		set_bit(IRR_MAP_CHANGED, &lapic->vcpu->irr_map);
}

/* Which of the eight words from @base on hold something: bit by bit */
static u32 find_words(struct lapic *lapic, u32 base)
{
	u32 map = 0;
	int word;

	for (word = 0; word < 8; word++)
		if (lapic_get(lapic, base + word * 0x10))
			map |= BIT(word);
	return map;
}

static int highest_in_words(struct lapic *lapic, u32 base, u32 map)
{
	unsigned int word;

	if (!map)
		return -1;
	word = __fls(map);
	return word * 32 + __fls(lapic_get(lapic, base + word * 0x10));
}

/* What was sent becomes part of IRR. The processor does not work on it: the guest does not run. */
static void take_requests(struct lapic *lapic)
{
	unsigned long *irr_map = &lapic->vcpu->irr_map;
	unsigned long map = READ_ONCE(*irr_map);
	int word;

	for_each_set_bit(word, &map, 8) {
		clear_bit(word, irr_map);
		/* Pairs with accept_vector(), which sets the two bits the other way round */
		smp_mb__after_atomic();
		*lapic_reg(lapic, APIC_IRR + word * 0x10) |= xchg(&lapic->posted[word * 4], 0);
		registers_changed(lapic);
	}
}

/*
 * The highest vector in IRR, or -1. A word that turns out empty leaves irr_map, and is looked at
 * once more, since a sender may have set its bit in between.
 */
static int highest_irr(struct lapic *lapic)
{
	unsigned long *irr_map = &lapic->vcpu->irr_map;
	unsigned long map;

	if (lapic->virtual) {
		take_requests(lapic);
		return highest_in_words(lapic, APIC_IRR, find_words(lapic, APIC_IRR));
	}
	while ((map = READ_ONCE(*irr_map))) {
		unsigned int word = __fls(map);
		u32 bits = lapic_get(lapic, APIC_IRR + word * 0x10);

		if (bits)
			return word * 32 + __fls(bits);
		clear_bit(word, irr_map);
		/* Pairs with accept_vector(), which sets the two bits the other way round */
		smp_mb__after_atomic();
		if (lapic_get(lapic, APIC_IRR + word * 0x10))
			set_bit(word, irr_map);
	}
	return -1;
}

static int highest_isr(struct lapic *lapic)
{
	if (lapic->virtual)
		lapic->isr_map = find_words(lapic, APIC_ISR);
	return highest_in_words(lapic, APIC_ISR, lapic->isr_map);
}

/* SDM 11.8.3.1: task priority or the class in service, whichever is higher */
static void update_ppr(struct lapic *lapic)
{
	u32 tpr = lapic_get(lapic, APIC_TASKPRI);
	int isr = highest_isr(lapic);

	if (isr >= 0 && (isr & 0xf0) > (tpr & 0xf0))
		tpr = isr & 0xf0;
	lapic_set(lapic, APIC_PROCPRI, tpr);
}

/* Does the PIC pair's output reach this vCPU? By LVT0, by the I/O APIC, or without any LAPIC */
static bool takes_extint(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;
	u32 lvt0;

	if (!lapic || lapic->mode == LAPIC_DISABLED)
		return vcpu->index == 0;
	if (READ_ONCE(vcpu->vm->irq->extint_vcpu) == vcpu->index)
		return true;
	lvt0 = lapic_get(lapic, APIC_LVT0);
	return vcpu->index == 0 && !(lvt0 & APIC_LVT_MASKED) &&
	       GET_APIC_DELIVERY_MODE(lvt0) == APIC_DELIVERY_MODE_EXTINT;
}

static bool extint_pending(struct vcpu *vcpu)
{
	return unlikely(READ_ONCE(vcpu->vm->pic_output)) && takes_extint(vcpu);
}

/* The highest vector that priorities let through, IRQ_NONE or IRQ_HELD_BACK */
static int deliverable_vector(struct lapic *lapic)
{
	int vector = highest_irr(lapic);

	if (vector < 0)
		return IRQ_NONE;
	if (lapic->mode == LAPIC_DISABLED ||
	    (vector & 0xf0) <= (lapic_get(lapic, APIC_PROCPRI) & 0xf0))
		return IRQ_HELD_BACK;
	return vector;
}

int irq_pending(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;

	if (extint_pending(vcpu))
		return IRQ_EXTINT;
	if (!lapic || !(lapic->virtual || READ_ONCE(vcpu->irr_map)))
		return IRQ_NONE;
	return deliverable_vector(lapic);
}

int irq_to_inject(struct vcpu *vcpu)
{
	if (!vcpu->lapic || !vcpu->lapic->virtual)
		return irq_pending(vcpu);
	return extint_pending(vcpu) ? IRQ_EXTINT : IRQ_NONE;
}

void lapic_before_entry(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;
	int irr, isr;

	if (!lapic || !lapic->virtual)
		return;
	irr = highest_irr(lapic);
	if (!test_bit(IRR_MAP_CHANGED, &vcpu->irr_map))
		return;
	clear_bit(IRR_MAP_CHANGED, &vcpu->irr_map);
	isr = highest_isr(lapic);
	if (lapic->mode == LAPIC_DISABLED)
		irr = -1;
	hw->set_virtual_interrupts(vcpu, max(irr, 0), max(isr, 0), lapic_reg(lapic, APIC_TMR));
}

int irq_acknowledge(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;
	int vector;

	if (extint_pending(vcpu) || !lapic)
		return vcpu->vm->irq->pic ? pic_acknowledge(vcpu->vm->irq->pic) : 0;

	vector = deliverable_vector(lapic);
	if (vector < 0) {
		/* Whose was it that went away? The PIC has a spurious vector of its own. */
		if (takes_extint(vcpu) && vcpu->vm->irq->pic)
			return pic_acknowledge(vcpu->vm->irq->pic);
		return lapic_get(lapic, APIC_SPIV) & APIC_VECTOR_MASK;
	}
	mark_vector(lapic, APIC_IRR, vector, false);
	*lapic_reg(lapic, vector_offset(APIC_ISR, vector)) |= BIT(vector & 31);
	lapic->isr_map |= BIT(vector >> 5);
	/* It was above all in service, and above the TPR. */
	lapic_set(lapic, APIC_PROCPRI, vector & 0xf0);
	registers_changed(lapic);
	return vector;
}

/* The I/O APIC hears of the end of what is level-triggered. */
static void broadcast_eoi(struct lapic *lapic, u8 vector)
{
	struct irq_controllers *irq = lapic->vcpu->vm->irq;

	if (likely(!test_vector(lapic, APIC_TMR, vector)) ||
	    (lapic_get(lapic, APIC_SPIV) & APIC_SPIV_DIRECTED_EOI))
		return;
	if (irq->ioapic)
		ioapic_eoi(irq->ioapic, vector);
	else
		lapic->user_eoi = vector;
}

void lapic_eoi(struct lapic *lapic)
{
	int vector = highest_isr(lapic);
	u32 *word;

	if (vector < 0)
		return;
	word = lapic_reg(lapic, vector_offset(APIC_ISR, vector));
	*word &= ~BIT(vector & 31);
	if (!*word)
		lapic->isr_map &= ~BIT(vector >> 5);
	update_ppr(lapic);
	registers_changed(lapic);
	broadcast_eoi(lapic, vector);
}

void lapic_written(struct vcpu *vcpu, u32 offset, u32 value)
{
	struct irq_message msg = { .vector = value };

	if (offset == APIC_EOI)
		broadcast_eoi(vcpu->lapic, value);
	else if (offset == APIC_SELF_IPI)
		lapic_accept(vcpu->lapic, &msg);
}

bool lapic_take_user_eoi(struct vcpu *vcpu, u8 *vector)
{
	struct lapic *lapic = vcpu->lapic;

	if (!lapic || lapic->user_eoi < 0)
		return false;
	*vector = lapic->user_eoi;
	lapic->user_eoi = -1;
	return true;
}

/* After a change of TPR, or of all registers */
static void tpr_changed(struct lapic *lapic)
{
	struct vcpu *vcpu = lapic->vcpu;

	vcpu->cr8 = lapic_get(lapic, APIC_TASKPRI) >> 4;
	vcpu->cr8_changed = true;
	update_ppr(lapic);
}

void lapic_set_tpr(struct lapic *lapic, u32 tpr)
{
	lapic_set(lapic, APIC_TASKPRI, tpr);
	tpr_changed(lapic);
}

void lapic_set_cr8(struct vcpu *vcpu, u8 cr8)
{
	struct lapic *lapic = vcpu->lapic;

	if (!lapic || vcpu->cr8 == cr8)
		return;
	/* The processor may have set all of TPR already, and PPR. */
	if (lapic_get(lapic, APIC_TASKPRI) >> 4 == cr8)
		vcpu->cr8 = cr8;
	else
		lapic_set_tpr(lapic, (cr8 & 0xf) << 4);
}

u8 lapic_tpr_threshold(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;
	int vector, isr;
	u8 class;

	if (!lapic || lapic->virtual || likely(!READ_ONCE(vcpu->irr_map)))
		return 0;
	vector = highest_irr(lapic);
	if (vector < 0)
		return 0;
	class = vector >> 4;
	isr = highest_isr(lapic);
	if (isr >> 4 >= class || lapic_get(lapic, APIC_TASKPRI) >> 4 < class)
		return 0;
	return class;
}

bool lapic_can_skip_eoi(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;
	u32 bits;
	int vector;

	if (!lapic)
		return false;
	if (lapic->virtual) {
		/* EOI costs no exit, and a request by SELF_IPI would not tell of a skipped one. */
		if (lapic->mode == LAPIC_X2APIC || highest_irr(lapic) >= 0)
			return false;
	} else if (READ_ONCE(vcpu->irr_map)) {
		return false;
	}
	vector = highest_isr(lapic);
	if (!is_power_of_2(lapic->isr_map))
		return false;
	bits = lapic_get(lapic, vector_offset(APIC_ISR, vector));
	return is_power_of_2(bits) && !test_vector(lapic, APIC_TMR, vector);
}

void lapic_skipped_eoi(struct vcpu *vcpu)
{
	if (vcpu->lapic)
		lapic_eoi(vcpu->lapic);
}

bool lapic_init_sipi_pending(struct vcpu *vcpu)
{
	return vcpu->lapic && READ_ONCE(vcpu->lapic->events);
}

bool lapic_take_init(struct vcpu *vcpu)
{
	return lapic_init_sipi_pending(vcpu) &&
	       test_and_clear_bit(LAPIC_EVENT_INIT, &vcpu->lapic->events);
}

bool lapic_take_sipi(struct vcpu *vcpu, u8 *vector)
{
	if (!lapic_init_sipi_pending(vcpu) ||
	    !test_and_clear_bit(LAPIC_EVENT_SIPI, &vcpu->lapic->events))
		return false;
	*vector = READ_ONCE(vcpu->lapic->sipi_vector);
	return true;
}

void lapic_get_init_sipi(struct vcpu *vcpu, struct cpu_events *events)
{
	unsigned long pending = READ_ONCE(vcpu->lapic->events);

	events->init_pending = !!(pending & BIT(LAPIC_EVENT_INIT));
	events->sipi_pending = !!(pending & BIT(LAPIC_EVENT_SIPI));
	events->sipi_vector = events->sipi_pending ? READ_ONCE(vcpu->lapic->sipi_vector) : 0;
}

void lapic_set_init_sipi(struct vcpu *vcpu, const struct cpu_events *events)
{
	struct lapic *lapic = vcpu->lapic;

	WRITE_ONCE(lapic->sipi_vector, events->sipi_vector);
	WRITE_ONCE(lapic->events, events->init_pending << LAPIC_EVENT_INIT |
				  events->sipi_pending << LAPIC_EVENT_SIPI);
	vcpu_request(vcpu, VCPU_REQ_EVENT);
}

/* ---- the senders' side ---- */

static bool software_enabled(struct lapic *lapic)
{
	return lapic_get(lapic, APIC_SPIV) & APIC_SPIV_APIC_ENABLED;
}

/*
 * SDM 11.5.3: an error is noted for the next write to ESR, and interrupts once until then.
 */
void lapic_error(struct lapic *lapic, u32 error)
{
	if (!atomic_fetch_or(error, &lapic->esr_pending))
		lapic_local_interrupt(lapic, APIC_LVTERR);
}

static bool accept_vector(struct lapic *lapic, u8 vector, bool level)
{
	unsigned long *request = (unsigned long *)&lapic->requests[vector_offset(0, vector) / 4];

	if (!software_enabled(lapic))
		return false;
	if (unlikely(vector < 16)) {
		/* The error's own vector must not bring another one */
		if ((lapic_get(lapic, APIC_LVTERR) & APIC_VECTOR_MASK) >= 16)
			lapic_error(lapic, APIC_ESR_RECVILL);
		else
			atomic_or(APIC_ESR_RECVILL, &lapic->esr_pending);
		return true;
	}
	if (test_vector(lapic, APIC_TMR, vector) != level)
		mark_vector(lapic, APIC_TMR, vector, level);
	/* Who set the bit first makes the vCPU look, or has done so. */
	if (test_and_set_bit(vector & 31, request))
		return true;
	set_bit(vector >> 5, &lapic->vcpu->irr_map);
	request_event(lapic->vcpu);
	return true;
}

bool lapic_accept(struct lapic *lapic, const struct irq_message *msg)
{
	struct vcpu *vcpu = lapic->vcpu;

	switch (msg->mode) {
	case APIC_DELIVERY_MODE_FIXED:
	case APIC_DELIVERY_MODE_LOWESTPRIO:
		return accept_vector(lapic, msg->vector, msg->level);
	case APIC_DELIVERY_MODE_NMI:
		vcpu_nmi(vcpu);
		return true;
	case APIC_DELIVERY_MODE_INIT:
		/* SDM 9.4.4: what came before it is gone */
		clear_bit(LAPIC_EVENT_SIPI, &lapic->events);
		set_bit(LAPIC_EVENT_INIT, &lapic->events);
		vcpu_request(vcpu, VCPU_REQ_EVENT);
		return true;
	case IRQ_MODE_SIPI:
		WRITE_ONCE(lapic->sipi_vector, msg->vector);
		/* The vector is there before its bit. */
		smp_mb__before_atomic();
		set_bit(LAPIC_EVENT_SIPI, &lapic->events);
		vcpu_request(vcpu, VCPU_REQ_EVENT);
		return true;
	default:
		/* SMI: there is no SMM to enter. The others are reserved. */
		return true;
	}
}

static bool is_broadcast(const struct irq_message *msg)
{
	return msg->dest == U32_MAX || (!msg->wide && msg->dest == 0xff);
}

/* SDM 11.6.2.2, 11.12.10.2; the formats of a LAPIC's own mode decide */
static bool matches_logical(struct lapic *lapic, u32 dest)
{
	u32 ldr;

	if (lapic->mode == LAPIC_X2APIC) {
		ldr = lapic_x2apic_ldr(lapic);
		return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
	}
	if (dest > 0xff)
		return false;
	ldr = GET_APIC_LOGICAL_ID(lapic_get(lapic, APIC_LDR));
	switch (lapic_get(lapic, APIC_DFR) >> 28) {
	case 0xf:
		return dest & ldr;
	case 0:
		return dest >> 4 == ldr >> 4 && (dest & ldr & 0xf);
	default:
		return false;
	}
}

static u32 physical_id(struct lapic *lapic)
{
	u32 id = READ_ONCE(lapic->id);

	return READ_ONCE(lapic->mode) == LAPIC_X2APIC ? id : (u8)id;
}

static bool matches(struct lapic *lapic, const struct irq_message *msg)
{
	if (READ_ONCE(lapic->mode) == LAPIC_DISABLED || lapic == msg->exclude)
		return false;
	if (is_broadcast(msg))
		return true;
	if (msg->logical)
		return matches_logical(lapic, msg->dest);
	return msg->dest == physical_id(lapic);
}

/*
 * Lowest-priority arbitration (SDM 11.6.2.4): of the LAPICs that match and are enabled, one with
 * the lowest processor priority. Among equals the vector decides, so that vectors spread and a
 * restored VM goes on as the saved one would have.
 */
static struct lapic *arbitrate(struct vm *vm, const struct irq_message *msg)
{
	DECLARE_BITMAP(equals, VM_MAX_VCPUS);
	unsigned int nr_equals = 0, nth, i;
	u32 lowest = U32_MAX;
	struct vcpu *vcpu;
	int index;

	vm_for_each_vcpu(vm, vcpu, index) {
		struct lapic *lapic = vcpu->lapic;
		u32 ppr = lapic_get(lapic, APIC_PROCPRI) & 0xf0;

		if (ppr > lowest || !matches(lapic, msg) || !software_enabled(lapic))
			continue;
		if (ppr < lowest) {
			bitmap_zero(equals, VM_MAX_VCPUS);
			nr_equals = 0;
			lowest = ppr;
		}
		__set_bit(index, equals);
		nr_equals++;
	}
	if (!nr_equals)
		return NULL;
	nth = msg->vector % nr_equals;
	for_each_set_bit(i, equals, VM_MAX_VCPUS)
		if (!nth--)
			break;
	return vm->vcpus[i]->lapic;
}

int irq_deliver(struct vm *vm, const struct irq_message *msg)
{
	struct vcpu *vcpu;
	int count = 0, i;

	if (msg->lowest) {
		struct lapic *lapic = arbitrate(vm, msg);

		return lapic && lapic_accept(lapic, msg);
	}
	vm_for_each_vcpu(vm, vcpu, i)
		if (matches(vcpu->lapic, msg))
			count += lapic_accept(vcpu->lapic, msg);
	return count;
}

int lapic_multicast(struct vm *vm, u64 first, const u64 map[2], u64 icr)
{
	struct irq_message msg = {
		.mode = GET_APIC_DELIVERY_MODE(icr),
		.vector = icr & APIC_VECTOR_MASK,
	};
	struct vcpu *vcpu;
	int count = 0, i;

	/* Level and trigger mode mean nothing to these (SDM 11.6.1). */
	if (icr & ~(u64)(APIC_VECTOR_MASK | APIC_MODE_MASK | APIC_INT_ASSERT | APIC_INT_LEVELTRIG))
		return -EINVAL;
	if (msg.mode != APIC_DELIVERY_MODE_FIXED && msg.mode != APIC_DELIVERY_MODE_NMI)
		return -EINVAL;

	vm_for_each_vcpu(vm, vcpu, i) {
		u64 bit = physical_id(vcpu->lapic) - first;

		if (READ_ONCE(vcpu->lapic->mode) == LAPIC_DISABLED || bit >= 128)
			continue;
		bit = array_index_nospec(bit, 128);
		if (map[bit / 64] & BIT_ULL(bit % 64))
			count += lapic_accept(vcpu->lapic, &msg);
	}
	return count;
}

struct vcpu *irq_find_target(struct vm *vm, const struct irq_message *msg)
{
	struct vcpu *vcpu;
	int i;

	vm_for_each_vcpu(vm, vcpu, i)
		if (matches(vcpu->lapic, msg))
			return vcpu;
	return NULL;
}

void lapic_local_interrupt(struct lapic *lapic, u32 lvt)
{
	u32 entry = lapic_get(lapic, lvt);
	struct irq_message msg = {
		.mode = GET_APIC_DELIVERY_MODE(entry),
		.vector = entry & APIC_VECTOR_MASK,
	};

	if (entry & APIC_LVT_MASKED)
		return;
	if (lvt == APIC_LVTT || lvt == APIC_LVTERR)
		msg.mode = APIC_DELIVERY_MODE_FIXED;
	lapic_accept(lapic, &msg);
}

void irq_extint_rose(struct irq_controllers *irq)
{
	struct vcpu *vcpu;
	int i;

	vm_for_each_vcpu(irq->vm, vcpu, i) {
		if (takes_extint(vcpu))
			request_event(vcpu);
		else if (i == 0 && vcpu->lapic->mode != LAPIC_DISABLED)
			/* LINT0 in another mode: an edge like any other */
			lapic_local_interrupt(vcpu->lapic, APIC_LVT0);
	}
}

/* ---- state ---- */

/* Which accesses need no exit may be another matter now. */
void lapic_exits_changed(struct lapic *lapic)
{
	if (lapic->virtual)
		vcpu_request(lapic->vcpu, VCPU_REQ_EXITS);
}

/* After registers were replaced: what is derived from them */
static void rebuild(struct lapic *lapic)
{
	memset(lapic->posted, 0, sizeof(lapic->posted));
	/* A sender may be at it: the map says too much rather than too little. */
	WRITE_ONCE(lapic->vcpu->irr_map, IRR_MAP_WORDS);
	lapic->isr_map = find_words(lapic, APIC_ISR);
	tpr_changed(lapic);
	lapic_exits_changed(lapic);
}

/* Registers as after power-up (SDM 11.4.7); mode and id stay */
void lapic_reset_regs(struct lapic *lapic)
{
	static const u32 lvts[] = {
		APIC_LVTT, APIC_LVTTHMR, APIC_LVTPC, APIC_LVT0, APIC_LVT1, APIC_LVTERR,
	};
	int i;

	lapic_timer_reset(lapic);
	memset(lapic->regs, 0, PAGE_SIZE);
	lapic_set(lapic, APIC_DFR, APIC_DFR_FLAT);
	lapic_set(lapic, APIC_SPIV, 0xff);
	for (i = 0; i < ARRAY_SIZE(lvts); i++)
		lapic_set(lapic, lvts[i], APIC_LVT_MASKED);
	/*
	 * The virtual wire: firmware opens it before any system runs, and here a guest may have
	 * none.
	 */
	if (lapic->vcpu->index == 0)
		lapic_set(lapic, APIC_LVT0, APIC_DM_EXTINT);
	atomic_set(&lapic->esr_pending, 0);
	lapic->user_eoi = -1;
	rebuild(lapic);
}

/* IA32_APIC_BASE without checks */
void lapic_apply_base(struct lapic *lapic, u64 base)
{
	lapic->base = base;
	if (!(base & XAPIC_ENABLE))
		WRITE_ONCE(lapic->mode, LAPIC_DISABLED);
	else if (base & X2APIC_ENABLE)
		WRITE_ONCE(lapic->mode, LAPIC_X2APIC);
	else
		WRITE_ONCE(lapic->mode, LAPIC_XAPIC);
	lapic->vcpu->x2apic = lapic->mode == LAPIC_X2APIC;
	lapic_exits_changed(lapic);
}

void lapic_reset(struct vcpu *vcpu, bool init)
{
	struct lapic *lapic = vcpu->lapic;

	if (!lapic)
		return;
	if (!init) {
		lapic->id = vcpu->id;
		lapic->events = 0;
		lapic_apply_base(lapic, APIC_DEFAULT_PHYS_BASE | XAPIC_ENABLE |
					(vcpu->index == 0 ? MSR_IA32_APICBASE_BSP : 0));
	}
	lapic_reset_regs(lapic);
}

int lapic_create(struct vcpu *vcpu)
{
	struct lapic *lapic;

	if (!(vcpu->vm->flags & VMM_VM_LAPIC))
		return 0;
	lapic = kzalloc(sizeof(*lapic), GFP_KERNEL_ACCOUNT);
	if (!lapic)
		return -ENOMEM;
	lapic->regs = (u32 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!lapic->regs) {
		kfree(lapic);
		return -ENOMEM;
	}
	lapic->vcpu = vcpu;
	lapic->virtual = hw_caps.virtual_apic;
	lapic->requests = lapic->virtual ? lapic->posted : lapic_reg(lapic, APIC_IRR);
	vcpu->lapic_page = lapic->regs;
	lapic_timer_init(lapic);
	vcpu->lapic = lapic;
	lapic_reset(vcpu, false);
	return 0;
}

void lapic_destroy(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;

	if (!lapic)
		return;
	lapic_timer_destroy(lapic);
	free_page((unsigned long)lapic->regs);
	kfree(lapic);
	vcpu->lapic = NULL;
}

void lapic_get_state(struct vcpu *vcpu, struct lapic_state *state)
{
	struct lapic *lapic = vcpu->lapic;

	memset(state, 0, sizeof(*state));
	if (!lapic)
		return;
	/* First what is due: it shows in the registers. */
	state->timer_remaining_ns = lapic_timer_remaining(lapic);
	state->apic_base = lapic->base;
	state->tsc_deadline = lapic->timer.tsc_deadline;
	state->id = lapic->id;
	state->extint_pending = extint_pending(vcpu);
	if (lapic->virtual)
		take_requests(lapic);
	memcpy(state->regs, lapic->regs, sizeof(state->regs));
	lapic_export_regs(lapic, state->regs);
	state->regs[LAPIC_STATE_ERRORS] = atomic_read(&lapic->esr_pending);
}

int lapic_check_state(struct vcpu *vcpu, const struct lapic_state *state)
{
	u64 base = state->apic_base;
	int word;

	if (lapic_base_reserved(vcpu, base) ||
	    (base & (XAPIC_ENABLE | X2APIC_ENABLE)) == X2APIC_ENABLE)
		return -EINVAL;
	if (state->id != vcpu->id && (state->id > 0xff || (base & X2APIC_ENABLE)))
		return -EINVAL;
	if (state->extint_pending & ~1u)
		return -EINVAL;
	/* Vectors below 16 do not exist. */
	for (word = 0; word < 3; word++)
		if (state->regs[(APIC_ISR + word * 0x80) / 4] & 0xffff)
			return -EINVAL;
	return lapic_regs_valid(state) ? 0 : -EINVAL;
}

void lapic_set_state(struct vcpu *vcpu, const struct lapic_state *state)
{
	struct lapic *lapic = vcpu->lapic;
	int i;

	lapic_timer_reset(lapic);
	lapic->id = state->id;
	lapic_apply_base(lapic, state->apic_base);
	/* What lies between registers is the upper half of some to a processor that reads them. */
	for (i = 0; i < ARRAY_SIZE(state->regs); i++)
		lapic->regs[i] = i % 4 ? 0 : state->regs[i];
	atomic_set(&lapic->esr_pending, state->regs[LAPIC_STATE_ERRORS]);
	lapic->user_eoi = -1;
	rebuild(lapic);
	lapic_timer_restore(lapic, state->timer_remaining_ns, state->tsc_deadline);
	if (vcpu->vm->irq->ioapic)
		ioapic_retry(vcpu->vm->irq->ioapic);
}
