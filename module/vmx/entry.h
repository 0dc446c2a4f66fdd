/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What entry.S and C must agree on.
 */
#ifndef VMM_VMX_ENTRY_H
#define VMM_VMX_ENTRY_H

/* HOST_RSP of asm/vmx.h, whose enum the assembler cannot read; checked in vmx.c */
#define VMCS_HOST_RSP	0x6c14

/* Where it is kept, from the guard on */
#define ENTRY_HOST_RSP	24

/* vmx_run(): VMLAUNCH or VMRESUME failed, VM_INSTRUCTION_ERROR says why */
#define VMX_REFUSED	1

#ifndef __ASSEMBLER__

#include <linux/linkage.h>
#include <linux/types.h>

struct spec_guard;

/**
 * vmx_run - enter the guest of the current VMCS and leave it again
 * @gprs: its general registers in enum cpu_gpr order; RSP is in the VMCS
 * @launched: the VMCS is: VMRESUME, else VMLAUNCH
 * @guard: speculation measures; and behind them what its HOST_RSP holds, kept up to date
 *
 * Return: 0 after an exit (of whatever kind), or VMX_REFUSED.
 */
asmlinkage int vmx_run(u64 *gprs, bool launched, struct spec_guard *guard);

/* HOST_RIP */
void vmx_exit_point(void);

#endif /* __ASSEMBLER__ */
#endif
