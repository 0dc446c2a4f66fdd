// SPDX-License-Identifier: GPL-2.0-only
/*
 * The registers of the local APIC, as memory (xAPIC) and as MSRs (x2APIC), and
 * IA32_APIC_BASE. "SDM" is Intel's volume 3, chapter 11 (APIC).
 */
#include <linux/nospec.h>

#include "../hw.h"
#include "internal.h"

#define LAPIC_MAX_LVT		5	/* six entries, numbered from 0 */
#define LAPIC_VERSION		(0x14 | LAPIC_MAX_LVT << 16 | APIC_LVR_DIRECTED_EOI)

#define SPIV_WRITABLE		(APIC_VECTOR_MASK | APIC_SPIV_APIC_ENABLED | \
				 APIC_SPIV_FOCUS_DISABLED | APIC_SPIV_DIRECTED_EOI)
#define ICR_WRITABLE		(APIC_VECTOR_MASK | APIC_MODE_MASK | APIC_DEST_LOGICAL | \
				 APIC_INT_ASSERT | APIC_INT_LEVELTRIG | APIC_DEST_ALLBUT)
#define TDCR_WRITABLE		0xb
#define LVT_TIMER_MODE		(APIC_LVT_TIMER_PERIODIC | APIC_LVT_TIMER_TSCDEADLINE)

#define X2APIC_MSR(offset)	(APIC_BASE_MSR + ((offset) >> 4))

/* Which registers there are, one bit for each 16 bytes */
#define REG(offset)		BIT_ULL((offset) >> 4)
#define REGS_8(offset)		(0xffull << ((offset) >> 4))
#define READABLE_REGS		(REG(APIC_ID) | REG(APIC_LVR) | REG(APIC_TASKPRI) | \
				 REG(APIC_PROCPRI) | REG(APIC_LDR) | REG(APIC_SPIV) | \
				 REGS_8(APIC_ISR) | REGS_8(APIC_TMR) | REGS_8(APIC_IRR) | \
				 REG(APIC_ESR) | REG(APIC_ICR) | REG(APIC_LVTT) | \
				 REG(APIC_LVTTHMR) | REG(APIC_LVTPC) | REG(APIC_LVT0) | \
				 REG(APIC_LVT1) | REG(APIC_LVTERR) | REG(APIC_TMICT) | \
				 REG(APIC_TMCCT) | REG(APIC_TDCR))
/* APR and RRR read as zero since the Pentium 4, EOI is write-only: no errors in xAPIC mode */
#define XAPIC_READABLE_REGS	(READABLE_REGS | REG(APIC_ARBPRI) | REG(APIC_EOI) | \
				 REG(APIC_RRR) | REG(APIC_DFR) | REG(APIC_ICR2))

/*
 * What a processor that works on the page may read there by itself; the others are computed, or
 * do not exist. ICR is one register of two there.
 */
#define DIRECT_REGS		(READABLE_REGS & \
				 ~(REG(APIC_ID) | REG(APIC_LVR) | REG(APIC_LDR) | \
				   REG(APIC_ICR) | REG(APIC_TMCCT)))

/* The bits of LVT entry @offset that can be written; 0: no such entry */
static u32 lvt_writable(u32 offset)
{
	switch (offset) {
	case APIC_LVTT:
		return APIC_VECTOR_MASK | APIC_LVT_MASKED | LVT_TIMER_MODE;
	case APIC_LVTTHMR:
	case APIC_LVTPC:
		return APIC_VECTOR_MASK | APIC_LVT_MASKED | APIC_MODE_MASK;
	case APIC_LVT0:
	case APIC_LVT1:
		return APIC_VECTOR_MASK | APIC_LVT_MASKED | APIC_MODE_MASK |
		       APIC_INPUT_POLARITY | APIC_LVT_LEVEL_TRIGGER;
	case APIC_LVTERR:
		return APIC_VECTOR_MASK | APIC_LVT_MASKED;
	default:
		return 0;
	}
}

/* The same as this guest sees it */
static u32 lvt_guest_writable(struct lapic *lapic, u32 offset)
{
	u32 writable = lvt_writable(offset);

	if (offset == APIC_LVTT && !lapic->vcpu->features.tsc_deadline)
		writable &= ~APIC_LVT_TIMER_TSCDEADLINE;
	return writable;
}

/* ---- ids and destinations ---- */

/* SDM 11.12.10.2: cluster and position in it follow from the id */
u32 lapic_x2apic_ldr(const struct lapic *lapic)
{
	return (lapic->id >> 4) << 16 | BIT(lapic->id & 0xf);
}

static u32 id_register(const struct lapic *lapic)
{
	return lapic->mode == LAPIC_X2APIC ? lapic->id : lapic->id << 24;
}

/* Who may accept what has changed: something that waits may find a taker now. */
static void acceptance_changed(struct lapic *lapic)
{
	struct irq_controllers *irq = lapic->vcpu->vm->irq;

	if (irq->ioapic)
		ioapic_retry(irq->ioapic);
}

static void send_ipi(struct lapic *lapic, u32 icr, u32 dest)
{
	struct irq_message msg = {
		.dest = dest,
		.wide = lapic->mode == LAPIC_X2APIC,
		.logical = icr & APIC_DEST_LOGICAL,
		.mode = GET_APIC_DELIVERY_MODE(icr),
		.vector = icr & APIC_VECTOR_MASK,
	};

	switch (icr & APIC_MODE_MASK) {
	case APIC_DM_LOWEST:
		msg.lowest = true;
		fallthrough;
	case APIC_DM_FIXED:
		if (msg.vector < 16) {
			lapic_error(lapic, APIC_ESR_SENDILL);
			return;
		}
		break;
	case APIC_DM_NMI:
	case APIC_DM_SMI:
		break;
	case APIC_DM_INIT:
		/* Level de-assert did something before the Pentium 4 (SDM 11.6.1) */
		if ((icr & APIC_INT_LEVELTRIG) && !(icr & APIC_INT_ASSERT))
			return;
		break;
	case APIC_DM_STARTUP:
		msg.mode = IRQ_MODE_SIPI;
		break;
	default:
		return;
	}

	switch (icr & APIC_DEST_ALLBUT) {
	case APIC_DEST_SELF:
		lapic_accept(lapic, &msg);
		return;
	case APIC_DEST_ALLBUT:
		msg.exclude = lapic;
		fallthrough;
	case APIC_DEST_ALLINC:
		msg.dest = U32_MAX;
		break;
	}
	irq_deliver(lapic->vcpu->vm, &msg);
}

/* ---- single registers; values have been masked or checked ---- */

static void write_spiv(struct lapic *lapic, u32 value)
{
	u32 old = lapic_get(lapic, APIC_SPIV);
	u32 offset;

	lapic_set(lapic, APIC_SPIV, value);
	if (!((old ^ value) & APIC_SPIV_APIC_ENABLED))
		return;
	lapic_exits_changed(lapic);
	if (value & APIC_SPIV_APIC_ENABLED) {
		acceptance_changed(lapic);
		return;
	}
	/* SDM 11.4.7.2: all LVT entries are masked, and stay so */
	for (offset = APIC_LVTTHMR; offset <= APIC_LVTERR; offset += 0x10)
		lapic_set(lapic, offset, lapic_get(lapic, offset) | APIC_LVT_MASKED);
	lapic_timer_write_lvt(lapic, lapic_get(lapic, APIC_LVTT) | APIC_LVT_MASKED);
}

static void write_lvt(struct lapic *lapic, u32 offset, u32 value)
{
	if (!(lapic_get(lapic, APIC_SPIV) & APIC_SPIV_APIC_ENABLED))
		value |= APIC_LVT_MASKED;
	if (offset == APIC_LVTT)
		lapic_timer_write_lvt(lapic, value);
	else
		lapic_set(lapic, offset, value);
}

static u32 read_register(struct lapic *lapic, u32 offset)
{
	switch (offset) {
	case APIC_ID:
		return id_register(lapic);
	case APIC_LVR:
		return LAPIC_VERSION;
	case APIC_LDR:
		if (lapic->mode == LAPIC_X2APIC)
			return lapic_x2apic_ldr(lapic);
		break;
	case APIC_TMCCT:
		return lapic_timer_read_current(lapic);
	}
	return lapic_get(lapic, offset);
}

/* ---- xAPIC ---- */

static void xapic_write(struct lapic *lapic, u32 offset, u32 value)
{
	switch (offset) {
	case APIC_EOI:
		lapic_eoi(lapic);
		break;
	case APIC_TASKPRI:
		lapic_set_tpr(lapic, value & APIC_TPRI_MASK);
		break;
	case APIC_ICR:
		value &= ICR_WRITABLE;
		lapic_set(lapic, APIC_ICR, value);
		send_ipi(lapic, value, GET_XAPIC_DEST_FIELD(lapic_get(lapic, APIC_ICR2)));
		break;
	case APIC_ICR2:
		lapic_set(lapic, APIC_ICR2, value & 0xff000000);
		break;
	case APIC_ID:
		WRITE_ONCE(lapic->id, value >> 24);
		acceptance_changed(lapic);
		break;
	case APIC_LDR:
		lapic_set(lapic, APIC_LDR, value & APIC_LDR_MASK);
		acceptance_changed(lapic);
		break;
	case APIC_DFR:
		lapic_set(lapic, APIC_DFR, value | APIC_DFR_CLUSTER);
		acceptance_changed(lapic);
		break;
	case APIC_SPIV:
		write_spiv(lapic, value & SPIV_WRITABLE);
		break;
	case APIC_ESR:
		lapic_set(lapic, APIC_ESR, atomic_xchg(&lapic->esr_pending, 0));
		break;
	case APIC_TMICT:
		lapic_timer_write_initial(lapic, value);
		break;
	case APIC_TDCR:
		lapic_timer_write_divide(lapic, value & TDCR_WRITABLE);
		break;
	case APIC_LVTT:
	case APIC_LVTTHMR:
	case APIC_LVTPC:
	case APIC_LVT0:
	case APIC_LVT1:
	case APIC_LVTERR:
		write_lvt(lapic, offset, value & lvt_guest_writable(lapic, offset));
		break;
	default:
		/* Read-only registers ignore writes; what does not exist is an error. */
		if (offset >= 0x400 || !(XAPIC_READABLE_REGS & REG(offset)))
			lapic_error(lapic, APIC_ESR_ILLREGA);
		break;
	}
}

/* Is @gpa in the register page, and is there one? */
static bool xapic_hit(const struct lapic *lapic, u64 gpa)
{
	return lapic && lapic->mode == LAPIC_XAPIC &&
	       (gpa & PAGE_MASK) == (lapic->base & PAGE_MASK);
}

/* Registers fill four of sixteen bytes; the others read as zero. */
bool lapic_mmio_read(struct vcpu *vcpu, u64 gpa, u8 size, u64 *data)
{
	struct lapic *lapic = vcpu->lapic;
	u32 offset = gpa & ~PAGE_MASK & ~0xf;

	if (!xapic_hit(lapic, gpa))
		return false;
	*data = 0;
	if (offset >= 0x400 || !(XAPIC_READABLE_REGS & REG(offset)))
		lapic_error(lapic, APIC_ESR_ILLREGA);
	else if ((gpa & 0xf) < 4)
		*data = read_register(lapic, offset) >> (8 * (gpa & 3));
	return true;
}

/* SDM 11.4.1: only aligned 32-bit accesses are defined. Other writes do nothing. */
bool lapic_mmio_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 data)
{
	if (!xapic_hit(vcpu->lapic, gpa))
		return false;
	if (size == 4 && !(gpa & 0xf))
		xapic_write(vcpu->lapic, gpa & ~PAGE_MASK, data);
	return true;
}

/* ---- x2APIC ---- */

int lapic_msr_read(struct vcpu *vcpu, u32 msr, u64 *data)
{
	struct lapic *lapic = vcpu->lapic;
	u32 offset = (msr - APIC_BASE_MSR) << 4;

	if (!lapic || lapic->mode != LAPIC_X2APIC)
		return 1;
	if (msr - APIC_BASE_MSR >= 0x40 || !(READABLE_REGS & REG(offset)))
		return 1;
	offset = array_index_nospec(msr - APIC_BASE_MSR, 0x40) << 4;
	*data = read_register(lapic, offset);
	if (offset == APIC_ICR)
		*data |= (u64)lapic_get(lapic, APIC_ICR2) << 32;
	return 0;
}

/* What can be written without #GP. Bit 12 of ICR is gone, and ignored (SDM 11.12.9) */
static bool x2apic_value_valid(struct lapic *lapic, u32 offset, u64 data)
{
	switch (offset) {
	case APIC_ESR:
		return !data;
	case APIC_TASKPRI:
	case APIC_SELF_IPI:
		return !(data & ~0xffull);
	case APIC_SPIV:
		return !(data & ~(u64)SPIV_WRITABLE);
	case APIC_ICR:
		return !((u32)data & ~(ICR_WRITABLE | APIC_ICR_BUSY));
	case APIC_TMICT:
		return !(data >> 32);
	case APIC_TDCR:
		return !(data & ~(u64)TDCR_WRITABLE);
	case APIC_LVTT:
	case APIC_LVTTHMR:
	case APIC_LVTPC:
	case APIC_LVT0:
	case APIC_LVT1:
	case APIC_LVTERR:
		/* Delivery status and remote IRR are read-only, not reserved. */
		return !(data & ~(u64)(lvt_guest_writable(lapic, offset) | APIC_SEND_PENDING |
				       APIC_LVT_REMOTE_IRR));
	default:
		return false;
	}
}

int lapic_msr_write(struct vcpu *vcpu, u32 msr, u64 data)
{
	struct lapic *lapic = vcpu->lapic;
	u32 offset = (msr - APIC_BASE_MSR) << 4;

	if (!lapic || lapic->mode != LAPIC_X2APIC)
		return 1;
	/* The one that each interrupt brings */
	if (likely(offset == APIC_EOI && !data)) {
		lapic_eoi(lapic);
		return 0;
	}
	if (!x2apic_value_valid(lapic, offset, data))
		return 1;
	switch (offset) {
	case APIC_ICR:
		data &= ~(u64)APIC_ICR_BUSY;
		lapic_set(lapic, APIC_ICR, data);
		lapic_set(lapic, APIC_ICR2, data >> 32);
		send_ipi(lapic, data, data >> 32);
		break;
	case APIC_SELF_IPI: {
		struct irq_message msg = { .vector = data };

		lapic_accept(lapic, &msg);
		break;
	}
	default:
		xapic_write(lapic, offset, data);
		break;
	}
	return 0;
}

/* A LAPIC that software has disabled accepts no IPI, of its own neither. */
bool lapic_msr_is_direct(struct vcpu *vcpu, u32 msr, bool write)
{
	struct lapic *lapic = vcpu->lapic;
	u32 offset = (msr - APIC_BASE_MSR) << 4;

	if (!lapic || !lapic->virtual || lapic->mode != LAPIC_X2APIC)
		return false;
	if (!write)
		return offset < 0x400 && (DIRECT_REGS & REG(offset));
	switch (offset) {
	case APIC_TASKPRI:
	case APIC_EOI:
		return true;
	case APIC_SELF_IPI:
		return lapic_get(lapic, APIC_SPIV) & APIC_SPIV_APIC_ENABLED;
	default:
		return false;
	}
}

/* ---- IA32_APIC_BASE ---- */

bool lapic_base_reserved(struct vcpu *vcpu, u64 base)
{
	u64 valid = GENMASK_ULL(hw_caps.gpa_bits - 1, PAGE_SHIFT) | XAPIC_ENABLE |
		    MSR_IA32_APICBASE_BSP | X2APIC_ENABLE;

	return base & ~valid;
}

/* Figure 11-27 of the SDM: the steps that there are between off, xAPIC and x2APIC */
static bool transition_allowed(struct lapic *lapic, u64 base)
{
	bool enabled = base & XAPIC_ENABLE;

	if (!(base & X2APIC_ENABLE))
		return !enabled || lapic->mode != LAPIC_X2APIC;
	return enabled && lapic->mode != LAPIC_DISABLED && lapic->vcpu->features.x2apic;
}

u64 lapic_get_base(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;

	if (lapic)
		return lapic->base;
	return APIC_DEFAULT_PHYS_BASE | XAPIC_ENABLE |
	       (vcpu->index == 0 ? MSR_IA32_APICBASE_BSP : 0);
}

int lapic_set_base(struct vcpu *vcpu, u64 base, bool host)
{
	struct lapic *lapic = vcpu->lapic;
	enum lapic_mode old;

	/* Without a LAPIC in the kernel the register belongs to the VMM's. */
	if (!lapic)
		return base == lapic_get_base(vcpu) ? 0 : 1;
	if (base == lapic->base)
		return 0;
	if (lapic_base_reserved(vcpu, base))
		return 1;
	if ((base & (XAPIC_ENABLE | X2APIC_ENABLE)) == X2APIC_ENABLE)
		return 1;
	if (!host && (!transition_allowed(lapic, base) ||
		      base >> vcpu->features.gpa_bits))
		return 1;

	old = lapic->mode;
	lapic_apply_base(lapic, base);
	if (lapic->mode == old)
		return 0;
	if (lapic->mode == LAPIC_DISABLED) {
		/* SDM 11.4.3, 11.12.5.1: enabled again, it comes up as after power-up */
		lapic->id = vcpu->id;
		lapic_reset_regs(lapic);
	} else if (lapic->mode == LAPIC_X2APIC) {
		/* SDM 11.12.5.1: the rest is kept */
		lapic->id = vcpu->id;
		lapic_set(lapic, APIC_ICR2, 0);
	}
	acceptance_changed(lapic);
	return 0;
}

bool lapic_enabled(struct vcpu *vcpu)
{
	return !vcpu->lapic || vcpu->lapic->mode != LAPIC_DISABLED;
}

/* ---- state ---- */

void lapic_export_regs(struct lapic *lapic, u32 *regs)
{
	regs[APIC_ID / 4] = id_register(lapic);
	regs[APIC_LVR / 4] = LAPIC_VERSION;
	if (lapic->mode == LAPIC_X2APIC)
		regs[APIC_LDR / 4] = lapic_x2apic_ldr(lapic);
	regs[APIC_TMCCT / 4] = lapic_timer_read_current(lapic);
	/* Write-only: a processor may have left a value there. */
	regs[APIC_SELF_IPI / 4] = 0;
}

bool lapic_regs_valid(const struct lapic_state *state)
{
	const u32 *regs = state->regs;
	u32 offset;

	for (offset = APIC_LVTT; offset <= APIC_LVTERR; offset += 0x10)
		if (regs[offset / 4] & ~lvt_writable(offset))
			return false;
	return lapic_timer_state_valid(state) &&
	       !(regs[APIC_TASKPRI / 4] & ~APIC_TPRI_MASK) &&
	       !(regs[APIC_SPIV / 4] & ~SPIV_WRITABLE) &&
	       !(regs[APIC_TDCR / 4] & ~TDCR_WRITABLE) &&
	       !(regs[APIC_ICR / 4] & ~ICR_WRITABLE) &&
	       !(regs[LAPIC_STATE_ERRORS] & ~0xffu);
}
