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

struct vcpu;

/**
 * struct spec_guard - what an entry and exit do besides the bare minimum
 * @flags: GUARD_*, SPEC_*; 0: nothing
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

/* Likewise: what spec_enter_vm() and spec_leave_vm() do. Most hosts need neither. */
DECLARE_STATIC_KEY_FALSE(spec_ibpb_between_vms);
DECLARE_STATIC_KEY_FALSE(spec_ibpb_to_user);

void spec_change_vm(struct vcpu *vcpu);
void spec_before_user(void);

/**
 * spec_enter_vm - a window begins
 * @vcpu: whose; preemption is off
 *
 * What another VM has taught the branch predictors must not steer this one.
 */
static __always_inline void spec_enter_vm(struct vcpu *vcpu)
{
	if (static_branch_unlikely(&spec_ibpb_between_vms))
		spec_change_vm(vcpu);
}

/**
 * spec_leave_vm - a window ends, user space may follow on this CPU; preemption is off
 *
 * VMSCAPE: a guest's predictions must not steer its VMM.
 */
static __always_inline void spec_leave_vm(void)
{
	if (static_branch_unlikely(&spec_ibpb_to_user))
		spec_before_user();
}

#endif /* __ASSEMBLER__ */
#endif
