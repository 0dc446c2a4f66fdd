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

#ifndef __ASSEMBLER__

#include <linux/jump_label.h>
#include <linux/types.h>

struct vcpu;

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
