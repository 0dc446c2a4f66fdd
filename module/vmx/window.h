/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VMX on and off around a window: what window.S and C must agree on.
 */
#ifndef VMM_VMX_WINDOW_H
#define VMM_VMX_WINDOW_H

/* Members of struct vmx_cpu; checked in vmx.c */
#define CPU_IDTR	512
#define CPU_HOST_IDTR	522
#define CPU_VMCS	536
#define CPU_REGION	544
#define CPU_FOUND_CR4	552
#define CPU_ON		560

#ifndef __ASSEMBLER__

#include <linux/linkage.h>
#include <linux/types.h>

struct vmx_cpu;

/**
 * vmx_turn_on - the window's IDT in force, CR4.VMXE set, VMXON
 * @cpu: the one that this runs on, with @found_cr4 and @vmcs_pa set; interrupts are off
 *
 * Where VMXON has failed or faulted, @on is not set, and all is as it was.
 */
asmlinkage void vmx_turn_on(struct vmx_cpu *cpu);

/**
 * vmx_turn_off - VMCLEAR of @vmcs_pa, VMXOFF, CR4 and IDT as they were found
 * @cpu: vmx_turn_on() has turned VMX on
 */
asmlinkage void vmx_turn_off(struct vmx_cpu *cpu);

/* Gates of the window's IDT: not to be called */
void vmx_window_nmi(void);
void vmx_window_machine_check(void);

#endif /* __ASSEMBLER__ */
#endif
