/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Speculation measures: those that belong into a backend's entry path, and those at the ends of a
 * window.
 */
#ifndef VMM_X86_SPEC_H
#define VMM_X86_SPEC_H

#define SPEC_EXIT_RSB		0x01	/* fill the return stack buffer before the first RET */
#define SPEC_EXIT_UNTRAIN	0x02	/* forget return predictions (Retbleed, SRSO) */
#define SPEC_EXIT_IBPB		0x04	/* the same by an IBPB */
#define SPEC_ENTRY_VERW		0x08	/* clear CPU buffers of the host's data */
#define SPEC_EXIT_RSB_ONE	0x10	/* one entry is enough: what was there before is not used */
#define SPEC_EXIT_BHB		0x20	/* forget the branch history */
#define SPEC_EXIT_IBRS		0x40	/* write SPEC_CTRL: IBRS is about what ran before */

/* Offsets in struct spec_guard, checked in spec.c */
#define GUARD_FLAGS		0
#define GUARD_GUEST_SPEC_CTRL	8
#define GUARD_HOST_SPEC_CTRL	16

/* In spec_guard.flags, beside the measures above */
#define GUARD_SPEC_CTRL		0x100	/* swap SPEC_CTRL where guest and host differ */
#define GUARD_READ_SPEC_CTRL	0x200	/* the guest writes it without an exit: fetch it */

#ifndef __ASSEMBLER__

#include <linux/jump_label.h>
#include <linux/types.h>
#include <asm/alternative.h>
#include <asm/cpufeatures.h>

struct vcpu;

/**
 * struct spec_guard - what an entry and exit do besides the bare minimum
 * @flags: GUARD_*, SPEC_*; 0: nothing
 * @reserved: zero
 * @guest_spec_ctrl: the guest's SPEC_CTRL
 * @host_spec_ctrl: the host's in this window
 *
 * One for each vCPU, whose mutex covers it.
 */
struct spec_guard {
	u32 flags;
	u32 reserved;
	u64 guest_spec_ctrl;
	u64 host_spec_ctrl;
};

/*
 * Where the CPU does not swap SPEC_CTRL itself, a guest that has set it runs with its own value.
 * The others run with the host's, which is never less safe. Window: at its begin, and when
 * the guest's value or GUARD_READ_SPEC_CTRL changes.
 */
void spec_load_guard(struct spec_guard *guard);

/* SPEC_EXIT_* and SPEC_ENTRY_* to be taken; set by spec_init(), then immutable */
extern u32 spec_entry_measures;

/* Likewise: what the functions below do. Most hosts need none. */
DECLARE_STATIC_KEY_FALSE(spec_ibpb_between_vcpus);
DECLARE_STATIC_KEY_FALSE(spec_ibpb_to_user);
DECLARE_STATIC_KEY_FALSE(spec_flush_l1d);
DECLARE_STATIC_KEY_FALSE(spec_reduce_prediction);

void spec_change_vcpu(struct vcpu *vcpu);
void spec_before_user(void);
void spec_empty_l1d(void);
void spec_set_prediction(bool reduced);

/**
 * spec_enter_vcpu - a window begins
 * @vcpu: whose; preemption is off
 *
 * What another vCPU has taught the branch predictors must not steer this one: it may be another
 * VM's, or run another process of the same guest.
 */
static __always_inline void spec_enter_vcpu(struct vcpu *vcpu)
{
	if (static_branch_unlikely(&spec_ibpb_between_vcpus))
		spec_change_vcpu(vcpu);
}

/**
 * spec_leave_vcpu - a window ends, user space may follow on this CPU; preemption is off
 *
 * VMSCAPE: a guest's predictions must not steer its VMM.
 */
static __always_inline void spec_leave_vcpu(void)
{
	if (static_branch_unlikely(&spec_ibpb_to_user))
		spec_before_user();
}

/**
 * spec_clear_divider - AMD's DIV0: a quotient of the host's must not be left for the guest
 *
 * Right before each entry.
 */
static __always_inline void spec_clear_divider(void)
{
#ifdef X86_BUG_DIV0
	asm volatile(ALTERNATIVE("", "xor %%eax, %%eax; xor %%edx, %%edx; mov $1, %%ecx; div %%ecx",
				 X86_BUG_DIV0) : : : "eax", "ecx", "edx", "cc");
#endif
}

/**
 * spec_load_window - the last step of load()
 *
 * L1TF: what the host has just used must not be in the L1 data cache when the guest runs.
 * Interrupts stay off until it does, so that none brings other data back.
 */
static __always_inline void spec_load_window(void)
{
	if (static_branch_unlikely(&spec_flush_l1d))
		spec_empty_l1d();
}

/**
 * spec_cpu_enable - guests may run on this CPU
 *
 * SRSO on processors that have a mode for hosts of guests; spec_cpu_disable() is the opposite.
 */
static inline void spec_cpu_enable(void)
{
	if (static_branch_unlikely(&spec_reduce_prediction))
		spec_set_prediction(true);
}

static inline void spec_cpu_disable(void)
{
	if (static_branch_unlikely(&spec_reduce_prediction))
		spec_set_prediction(false);
}

#endif /* __ASSEMBLER__ */
#endif
