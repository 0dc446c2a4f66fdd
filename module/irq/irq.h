/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupt controllers. The core sees them through this header alone.
 *
 * Locks: PIT, I/O APIC and PIC have a raw spinlock each, taken in this order with interrupts off;
 * LAPICs have none. Routes are read under RCU. All functions may be called from any context that
 * they are not said to exclude, the window and hard interrupts included.
 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <linux/bits.h>
#include <linux/types.h>

struct cpu_events;
struct vcpu;
struct vm;

/* One 8259A */
struct pic_state {
	u8 lines, irr, imr, isr, elcr, vector_base, icw4, init_step, init_icw4, priority_add,
	   read_isr, poll, special_mask, rotate_on_auto_eoi, auto_eoi, special_fully_nested;
};

struct ioapic_state {
	u64 base;
	u32 select, id, lines, irr;
	u64 redirection[24];
};

struct pit_channel_state {
	u32 count;
	u16 latched_count;
	u8 count_latched, status_latched, status, read_state, write_state, write_latch,
	   rw_mode, mode, bcd, gate;
	u64 elapsed_ns;
};

struct pit_state {
	struct pit_channel_state channel[3];
	u8 speaker, irq_level, reserved[6];
	u64 ticks_pending;
};

struct lapic_state {
	u64 apic_base;
	u64 timer_remaining_ns;
	u64 tsc_deadline;
	u32 id;
	u32 extint_pending;
	u32 regs[256];
};

/* ---- the whole: route.c ---- */

/*
 * Create the controllers that vm->flags names, and their default routes. EINVAL: a controller
 * without the one that it needs (PIT needs PIC or I/O APIC, I/O APIC needs LAPIC). May sleep.
 */
int irq_create(struct vm *vm);
void irq_destroy(struct vm *vm);

struct irq_route {
	u32 gsi;
	u32 type;		/* VMM_ROUTE_* */
	u32 pin;
	u32 data;
	u64 address;
};

/*
 * EINVAL: type, pin, GSI, address of a message; ENXIO: a controller that the VM lacks; E2BIG;
 * ENOMEM. When it returns nothing is sent by the old routes. May sleep.
 */
int irq_set_routes(struct vm *vm, const struct irq_route *routes, u32 count);
/* EINVAL: GSI out of range or without a route. A message is sent for each call with @level. */
int irq_set_level(struct vm *vm, u32 gsi, bool level);
/* As irq_set_level(), for a source of its own: lines are wired-OR over sources. */
#define IRQ_SOURCE_USER		0
#define IRQ_SOURCE_IRQFD	1
#define IRQ_SOURCE_PIT		2
#define IRQ_NR_SOURCES		3
int irq_set_source(struct vm *vm, u32 gsi, u32 source, bool level);
/* A message; returns how many LAPICs took it. EINVAL: no address of LAPICs; ENXIO: no LAPICs */
int irq_send_msi(struct vm *vm, u64 address, u32 data);

/* Accesses that begin with one of 16 ports: most others are told from them, and are not handled. */
static inline u64 irq_port_bit(u16 port)
{
	return BIT_ULL(port / 16 % 64);
}

/* Ports and registers in the kernel: true if handled */
bool irq_io_read(struct vm *vm, u16 port, u8 size, u32 *data);
bool irq_io_write(struct vm *vm, u16 port, u8 size, u32 data);
bool irq_mmio_read(struct vcpu *vcpu, u64 gpa, u8 size, u64 *data);
bool irq_mmio_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 data);

/*
 * State groups; ENXIO: the VM lacks it; EINVAL: impossible values. Reading the PIT raises its
 * interrupt first if that is due, so read it before the others. A level that setting brings stays
 * on its pin until one who drives the pin sets it again. elapsed_ns of a PIT channel is U64_MAX
 * where it waits for its count or its trigger; irq_level and ticks_pending are 0 here.
 */
int irq_get_pic(struct vm *vm, struct pic_state state[2]);
int irq_get_ioapic(struct vm *vm, struct ioapic_state *state);
int irq_get_pit(struct vm *vm, struct pit_state *state);
/* Changes nothing; after it setting cannot fail. */
int irq_check_pic(struct vm *vm, const struct pic_state state[2]);
int irq_check_ioapic(struct vm *vm, const struct ioapic_state *state);
int irq_check_pit(struct vm *vm, const struct pit_state *state);
void irq_set_pic(struct vm *vm, const struct pic_state state[2]);
void irq_set_ioapic(struct vm *vm, const struct ioapic_state *state);
void irq_set_pit(struct vm *vm, const struct pit_state *state);

/* In a window that has found vm->pit_paused, or where the PIT's interrupt goes has changed */
void irq_resume_pit(struct vm *vm);

/* ---- a vCPU's view: lapic.c ---- */

int lapic_create(struct vcpu *vcpu);		/* does nothing without VMM_VM_LAPIC */
void lapic_destroy(struct vcpu *vcpu);
void lapic_reset(struct vcpu *vcpu, bool init);

#define IRQ_EXTINT	256
#define IRQ_NONE	(-1)
#define IRQ_HELD_BACK	(-2)	/* by priorities: see lapic_tpr_threshold() */

/**
 * irq_pending - what should the vCPU take now?
 * @vcpu: the vCPU, by its own thread, window or outside
 *
 * The LAPIC's highest request above PPR, or IRQ_EXTINT when the PIC pair requests and LVT0 (or
 * I/O APIC pin 0, or a disabled or absent LAPIC) lets it through: that vector is known only after
 * the acknowledge cycle. Changes nothing that can be seen.
 * Return: a vector, IRQ_EXTINT, IRQ_NONE or IRQ_HELD_BACK.
 */
int irq_pending(struct vcpu *vcpu);
/* The same, less what the processor delivers by itself (hw_caps.virtual_apic) */
int irq_to_inject(struct vcpu *vcpu);
/* What the processor is to deliver by itself, where it does: tell it. Window */
void lapic_before_entry(struct vcpu *vcpu);

/* Take it: the acknowledge cycle. Returns the vector (a spurious one if it went away). */
int irq_acknowledge(struct vcpu *vcpu);
/* The guest has written CR8 (0-15), which is vcpu->cr8 */
void lapic_set_cr8(struct vcpu *vcpu, u8 cr8);
/* CR8 from which on the highest request is held back, or 0 if none is: hw->set_tpr_threshold */
u8 lapic_tpr_threshold(struct vcpu *vcpu);
/*
 * PV EOI (pv/): may the guest skip the EOI of the interrupt now in service (one in service, edge
 * triggered, none waits behind it)? And: the guest has skipped it, do it. vCPU thread
 */
bool lapic_can_skip_eoi(struct vcpu *vcpu);
void lapic_skipped_eoi(struct vcpu *vcpu);

/*
 * INIT and SIPI that LAPICs sent: they are noted, and VCPU_REQ_EVENT asks the vCPU's thread to take
 * them, INIT first. get and set are for VMM_STATE_EVENTS. A SIPI that finds no vCPU waiting for
 * one is to be dropped by who takes it.
 */
bool lapic_init_sipi_pending(struct vcpu *vcpu);
bool lapic_take_init(struct vcpu *vcpu);
bool lapic_take_sipi(struct vcpu *vcpu, u8 *vector);
void lapic_get_init_sipi(struct vcpu *vcpu, struct cpu_events *events);
void lapic_set_init_sipi(struct vcpu *vcpu, const struct cpu_events *events);
/*
 * After a write to a LAPIC register (MSR or MMIO), where the I/O APIC is the VMM's: was it the EOI
 * of a level-triggered interrupt (EXIT_EOI)? vCPU thread
 */
bool lapic_take_user_eoi(struct vcpu *vcpu, u8 *vector);
/* EXIT_LAPIC: the processor has written this register; what it leaves to be done. vCPU thread */
void lapic_written(struct vcpu *vcpu, u32 offset, u32 value);
/* Does an access to this x2APIC register need no exit as things are? See VCPU_REQ_EXITS */
bool lapic_msr_is_direct(struct vcpu *vcpu, u32 msr, bool write);

u64 lapic_get_base(struct vcpu *vcpu);
int lapic_set_base(struct vcpu *vcpu, u64 base, bool host);	/* 1: #GP */
/* x2APIC registers by MSR number; 1: #GP */
/*
 * An interrupt or NMI, by the low half of an ICR, for those physical ids that are set in @map,
 * whose first bit is the id @first. Any context. Returns how many took it. EINVAL: the ICR says
 * more than that
 */
int lapic_multicast(struct vm *vm, u64 first, const u64 map[2], u64 icr);

int lapic_msr_read(struct vcpu *vcpu, u32 msr, u64 *data);
int lapic_msr_write(struct vcpu *vcpu, u32 msr, u64 data);
u64 lapic_get_tsc_deadline(struct vcpu *vcpu);
void lapic_set_tsc_deadline(struct vcpu *vcpu, u64 deadline);
/* The guest's TSC jumped (offset changed): arm the deadline timer anew */
void lapic_tsc_changed(struct vcpu *vcpu);
bool lapic_enabled(struct vcpu *vcpu);		/* APIC_BASE.EN: CPUID's APIC bit */
/* VCPU_REQ_TIMER: deliver what has ended. vCPU thread */
void lapic_timer_expired(struct vcpu *vcpu);

/*
 * The state group. Reading delivers what is due first, and disturbs no timer. In regs the ID,
 * version, PPR and current count registers, and LDR in x2APIC mode, are shown but not taken, as
 * extint_pending is: they follow from the rest. regs[LAPIC_STATE_ERRORS], behind ESR, holds
 * the errors that ESR does not show yet.
 */
#define LAPIC_STATE_ERRORS	(0x284 / 4)
/* EINVAL: impossible values. Changes nothing; after it lapic_set_state() cannot fail. */
int lapic_check_state(struct vcpu *vcpu, const struct lapic_state *state);
void lapic_get_state(struct vcpu *vcpu, struct lapic_state *state);
void lapic_set_state(struct vcpu *vcpu, const struct lapic_state *state);

/* ---- eventfd.c ---- */

/* At load, before the first VM; ENOMEM. And when the last one is gone */
int eventfd_wq_init(void);
void eventfd_wq_exit(void);
int irqfd_assign(struct vm *vm, int fd, u32 gsi, int resample_fd, bool resample);
int irqfd_deassign(struct vm *vm, int fd, u32 gsi);
/* Whoever is to be told of an interrupt's end has been. May sleep */
void irqfd_flush_resampled(struct vm *vm);
int ioeventfd_assign(struct vm *vm, u64 address, u32 length, int fd, bool port, bool match,
		     u64 value);
int ioeventfd_deassign(struct vm *vm, u64 address, u32 length, int fd, bool port, bool match,
		       u64 value);

#endif
