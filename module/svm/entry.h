/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What entry.S and C must agree on.
 */
#ifndef VMM_SVM_ENTRY_H
#define VMM_SVM_ENTRY_H

#include "x86/spec.h"

/* Offsets in struct svm_guard, checked in svm.c */
#define GUARD_FLAGS		0
#define GUARD_GUEST_SPEC_CTRL	8
#define GUARD_HOST_SPEC_CTRL	16

/* In svm_guard.flags, beside the SPEC_EXIT_* and SPEC_ENTRY_* measures of the host */
#define GUARD_SPEC_CTRL		0x100	/* swap SPEC_CTRL where guest and host differ */
#define GUARD_READ_SPEC_CTRL	0x200	/* the guest writes it without an exit: fetch it */

#ifndef __ASSEMBLER__

#include <linux/types.h>

/**
 * struct svm_guard - what an entry and exit do besides the bare minimum
 * @flags: GUARD_*, SPEC_*; 0: svm_vmrun() is enough
 * @guest_spec_ctrl: the guest's SPEC_CTRL
 * @host_spec_ctrl: the host's in this window
 */
struct svm_guard {
	u32 flags;
	u32 reserved;
	u64 guest_spec_ctrl;
	u64 host_spec_ctrl;
};

/**
 * svm_vmrun - enter a guest and leave it again
 * @gprs: the guest's general registers in enum cpu_gpr order; RAX and RSP are in the VMCB
 * @vmcb_pa: physical address of its VMCB
 * @host_pa: where VMSAVE has put the host's state
 *
 * Interrupts are off before and after. In between all but this function's own
 * instructions see GIF clear: no NMI finds the guest's GS base.
 */
asmlinkage void svm_vmrun(u64 *gprs, u64 vmcb_pa, u64 host_pa);

/**
 * svm_vmrun_guarded - the same with speculation measures and SPEC_CTRL
 * @gprs: @vmcb_pa: @host_pa: as above
 * @guard: what to do
 */
asmlinkage void svm_vmrun_guarded(u64 *gprs, u64 vmcb_pa, u64 host_pa, struct svm_guard *guard);

#endif /* __ASSEMBLER__ */
#endif
