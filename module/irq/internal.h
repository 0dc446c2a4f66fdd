/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the interrupt controllers know of one another. Nothing outside irq/ includes this.
 *
 * Legend: [I] immutable after creation, [a] read and written without a lock, [L] the lock of
 * the structure, [m] irq_controllers.mutex, [R] written under [m], read under RCU, [t] the
 * vCPU's own thread, or whoever holds the mutex of a vCPU at rest.
 */
#ifndef VMM_IRQ_INTERNAL_H
#define VMM_IRQ_INTERNAL_H

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/hashtable.h>
#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <asm/apicdef.h>

#include "../vcpu.h"
#include "../vm.h"
#include "../vmm_abi.h"
#include "irq.h"

#define PIC_PINS		16
#define IOAPIC_PINS		24
#define IRQ_MAX_ROUTES		4096
#define IRQ_MAX_IOEVENTFDS	1024
#define IRQ_MAX_IRQFDS		4096
/* What one interrupt, or its end, or an eventfd's signal, may set off with interrupts off */
#define IRQ_MAX_GSI_ROUTES	8
#define IRQ_MAX_EVENTFD_GSIS	8
#define IRQ_MAX_GSI_RESAMPLERS	32

/*
 * No timer of a guest interrupts the host more often than this: shorter periods are counted
 * exactly, but several of their ends become one interrupt.
 */
#define IRQ_MIN_PERIOD_NS	(200 * NSEC_PER_USEC)

struct irq_controllers;

/* ---- route.c ---- */

/**
 * struct irq_routing - where the GSIs go
 * @first: the routes of GSI g are those from first[g] up to first[g + 1]
 * @routes: sorted by GSI
 */
struct irq_routing {
	u16 first[VM_NR_GSIS + 1];
	struct irq_route routes[];
};

/* Does @gsi go to one of @pins of a controller (VMM_ROUTE_*)? Under RCU */
bool irq_gsi_has_pin(struct irq_controllers *irq, u32 gsi, u32 type, u32 pins);

struct ioapic;
struct pic;
struct pit;

/**
 * struct irq_controllers - what a VM has of its own for interrupts
 * @vm: the VM
 * @pic: the PIC pair; NULL where the VMM has its own
 * @ioapic: likewise
 * @pit: likewise
 * @extint_vcpu: index of the vCPU that I/O APIC pin 0 passes that line on to, or -1
 * @routing: where the GSIs go
 * @mutex: routes and eventfds; of the mutexes only eventfd.c's own is taken inside it
 * @irqfd_lock: of the lists of irqfds; a spinlock with interrupts off, taken inside of wait
 *              queue locks
 * @irqfds: those that live
 * @nr_irqfds: how many there are, dying ones included
 * @dead_irqfds: those whose eventfd was closed
 * @irqfd_reaper: frees @dead_irqfds
 * @resamplers: who is told of EOIs
 * @resample_work: tells them where they are several
 * @ioeventfds: by address
 * @nr_ioeventfds: for memory, for ports
 */
struct irq_controllers {
	struct vm *vm;				/* [I] */
	struct pic *pic;			/* [I] */
	struct ioapic *ioapic;			/* [I] */
	struct pit *pit;			/* [I] */
	int extint_vcpu;			/* [a] written under ioapic->lock */
	struct irq_routing __rcu *routing;	/* [R] */
	struct mutex mutex;

	/* eventfd.c */
	spinlock_t irqfd_lock;
	struct list_head irqfds;		/* [irqfd_lock] */
	unsigned int nr_irqfds;			/* [irqfd_lock] until they are freed */
	struct list_head dead_irqfds;		/* [irqfd_lock] */
	struct work_struct irqfd_reaper;
	struct list_head resamplers;		/* [R] */
	struct work_struct resample_work;
	DECLARE_HASHTABLE(ioeventfds, 6);	/* [R] */
	unsigned int nr_ioeventfds[2];		/* [m], read as a hint */
};

/*
 * Who drives a pin: IRQ_SOURCE_*, and what a restored state brought, until one of the
 * drivers speaks up again.
 */
#define IRQ_SOURCE_RESTORED	IRQ_NR_SOURCES

/* Wired-OR: the level of a pin after @source has set its own */
static inline bool irq_drive_pin(u8 *sources, u32 source, bool level)
{
	*sources &= ~(BIT(IRQ_SOURCE_RESTORED) | BIT(source));
	if (level)
		*sources |= BIT(source);
	return *sources;
}

/* ---- pic.c ---- */

int pic_create(struct irq_controllers *irq);
void pic_destroy(struct irq_controllers *irq);
void pic_set_pin(struct pic *pic, u32 pin, u32 source, bool level);
/* The processor's INTA cycle: the vector */
u8 pic_acknowledge(struct pic *pic);
u8 pic_read_port(struct pic *pic, u16 port);
void pic_write_port(struct pic *pic, u16 port, u8 data);

/* ---- pit.c ---- */

int pit_create(struct irq_controllers *irq);
void pit_destroy(struct irq_controllers *irq);
u8 pit_read_port(struct pit *pit, u16 port);
void pit_write_port(struct pit *pit, u16 port, u8 data);

/* ---- ioapic.c ---- */

int ioapic_create(struct irq_controllers *irq);
void ioapic_destroy(struct irq_controllers *irq);
void ioapic_set_pin(struct ioapic *ioapic, u32 pin, u32 source, bool level);
/* A LAPIC, or the guest by the I/O APIC's own register, ends a level-triggered interrupt */
void ioapic_eoi(struct ioapic *ioapic, u8 vector);
/* A LAPIC may now accept what none did before */
void ioapic_retry(struct ioapic *ioapic);
bool ioapic_mmio_read(struct ioapic *ioapic, u64 gpa, u8 size, u64 *data);
bool ioapic_mmio_write(struct ioapic *ioapic, u64 gpa, u8 size, u64 data);

/* ---- lapic.c ---- */

enum lapic_mode {
	LAPIC_DISABLED,		/* APIC_BASE.EN is clear */
	LAPIC_XAPIC,
	LAPIC_X2APIC,
};

/**
 * struct lapic_timer - one-shot and periodic count in nanoseconds, deadlines in TSC ticks
 * @host: fires at the next end that the guest is to be interrupted for, and only asks the
 *        vCPU's thread to look: what has ended is decided there, by the clock
 * @expires: host time at which the count reaches zero next; 0 if it does not run
 * @tsc_deadline: in guest ticks; 0 if not armed
 * @shift: log2 of the divider
 */
struct lapic_timer {
	struct hrtimer host;
	ktime_t expires;			/* [t] */
	u64 tsc_deadline;			/* [t] */
	u8 shift;				/* [t] */
};

/* Bits of lapic->events */
#define LAPIC_EVENT_INIT	0
#define LAPIC_EVENT_SIPI	1

/**
 * struct lapic - a local APIC
 * @vcpu: whose
 * @base: IA32_APIC_BASE
 * @mode: follows from @base
 * @id: the APIC id; the ID register shows it in the format of the mode
 * @isr_map: of ISR what vcpu->irr_map is of IRR, but exact: there a bit is set whenever its word of
 *           the register may not be zero
 * @esr_pending: errors found since ESR was last written
 * @events: LAPIC_EVENT_*
 * @sipi_vector: of LAPIC_EVENT_SIPI
 * @user_eoi: vector whose EOI the VMM's I/O APIC is to hear of, or -1
 * @timer: its timer
 * @virtual: hw_caps.virtual_apic: while the guest runs the processor works on @regs. It delivers
 *           what IRR holds, moves bits to ISR, and ends what is in service there
 * @regs: one page, as the guest sees it. TMR [a], changed by any sender, and so is IRR, unless
 *        @virtual; the other registers [t], of which senders read those that decide about
 *        acceptance (LDR, DFR, SPIV, PPR, LVTs)
 * @requests: where senders set their bits, laid out as IRR. That is IRR itself, or where @virtual
 *            @posted, from which the vCPU's thread moves them to IRR
 * @posted: requests that IRR does not have yet, with @virtual
 *
 * There is no lock: senders only set bits that the vCPU's thread takes.
 */
struct lapic {
	struct vcpu *vcpu;			/* [I] */
	u64 base;				/* [t] */
	enum lapic_mode mode;			/* [t], senders read it */
	u32 id;					/* [t], senders read it */
	u32 isr_map;				/* [t] */
	atomic_t esr_pending;
	unsigned long events;			/* [a] */
	u8 sipi_vector;				/* [a] */
	int user_eoi;				/* [t] */
	struct lapic_timer timer;
	bool virtual;				/* [I] */
	u32 *regs;				/* [I] pointer */
	u32 *requests;				/* [I] pointer, [a] */
	u32 posted[32];				/* [a] */
};

static inline u32 *lapic_reg(struct lapic *lapic, u32 offset)
{
	return &lapic->regs[offset / 4];
}

static inline u32 lapic_get(struct lapic *lapic, u32 offset)
{
	return READ_ONCE(*lapic_reg(lapic, offset));
}

static inline void lapic_set(struct lapic *lapic, u32 offset, u32 value)
{
	WRITE_ONCE(*lapic_reg(lapic, offset), value);
}

/**
 * struct irq_message - an interrupt on its way to LAPICs
 * @dest: destination id, physical or logical
 * @logical: @dest is a logical id
 * @wide: @dest is a 32-bit id of x2APIC, so that 0xff is no broadcast
 * @level: level-triggered
 * @mode: APIC_DELIVERY_MODE_*, or IRQ_MODE_SIPI
 * @vector: of the interrupt, or of a SIPI
 * @lowest: only one of those that match gets it
 * @exclude: one that does not get it, or NULL
 */
struct irq_message {
	u32 dest;
	bool logical;
	bool wide;
	bool level;
	bool lowest;
	u8 mode;
	u8 vector;
	const struct lapic *exclude;
};

#define IRQ_MODE_SIPI		8	/* not 6, which means something in an ICR alone */

/* Deliver it. Any context. Return: how many LAPICs accepted it */
int irq_deliver(struct vm *vm, const struct irq_message *msg);
/* The first LAPIC's vCPU that it would go to, or NULL */
struct vcpu *irq_find_target(struct vm *vm, const struct irq_message *msg);
/* The PIC pair's output rose; pic->lock is held */
void irq_extint_rose(struct irq_controllers *irq);
/* The same for one LAPIC; false if it is disabled and does not accept the message */
bool lapic_accept(struct lapic *lapic, const struct irq_message *msg);
/* An interrupt of the local vector table, subject to its mask. [t] or, for LVT0, any context */
void lapic_local_interrupt(struct lapic *lapic, u32 lvt);
/* Note an error (APIC_ESR_*). Any context */
void lapic_error(struct lapic *lapic, u32 error);
void lapic_eoi(struct lapic *lapic);				/* [t] */
void lapic_set_tpr(struct lapic *lapic, u32 tpr);		/* [t] */
void lapic_reset_regs(struct lapic *lapic);			/* [t] */
/* See lapic_msr_is_direct(). [t] */
void lapic_exits_changed(struct lapic *lapic);
/* IA32_APIC_BASE without checks. [t] */
void lapic_apply_base(struct lapic *lapic, u64 base);

/* ---- lapic_regs.c ---- */

u32 lapic_x2apic_ldr(const struct lapic *lapic);
/* Has IA32_APIC_BASE bits set that this host's guests do not have? */
bool lapic_base_reserved(struct vcpu *vcpu, u64 base);
/* The registers that are not kept in the page */
void lapic_export_regs(struct lapic *lapic, u32 *regs);
bool lapic_regs_valid(const struct lapic_state *state);
bool lapic_mmio_read(struct vcpu *vcpu, u64 gpa, u8 size, u64 *data);
bool lapic_mmio_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 data);

/* ---- lapic_timer.c; all [t] ---- */

void lapic_timer_init(struct lapic *lapic);
void lapic_timer_destroy(struct lapic *lapic);
/* As after reset */
void lapic_timer_reset(struct lapic *lapic);
void lapic_timer_write_lvt(struct lapic *lapic, u32 value);
void lapic_timer_write_initial(struct lapic *lapic, u32 count);
void lapic_timer_write_divide(struct lapic *lapic, u32 value);
u32 lapic_timer_read_current(struct lapic *lapic);
/* Deliver what is due, then tell what is left of the count: nanoseconds, 0 if it does not run */
u64 lapic_timer_remaining(struct lapic *lapic);
bool lapic_timer_state_valid(const struct lapic_state *state);
/* The registers were replaced: go on with so much left */
void lapic_timer_restore(struct lapic *lapic, u64 remaining_ns, u64 tsc_deadline);

/* ---- eventfd.c ---- */

void eventfd_init(struct irq_controllers *irq);
void eventfd_destroy(struct irq_controllers *irq);
/* Signal the eventfd of a write; true if there is one */
bool ioeventfd_write(struct irq_controllers *irq, bool port, u64 address, u32 size, u64 data);
/* The guest has ended interrupts of these pins of a controller (VMM_ROUTE_*). No lock is held */
void irqfd_resample(struct irq_controllers *irq, u32 type, u32 pins);

static inline bool irqfd_has_resamplers(struct irq_controllers *irq)
{
	return !list_empty(&irq->resamplers);
}

#endif
