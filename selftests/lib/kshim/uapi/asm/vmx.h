/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The exit reasons, and of the kernel's own <asm/vmx.h> what module/vmx/explain.c uses: numbers of
 * the SDM, vol. 3, chapters 25 to 27, 31 and appendix B.
 */
#ifndef KSHIM_UAPI_ASM_VMX_H
#define KSHIM_UAPI_ASM_VMX_H

#include <asm/vmx.h>

/* Segments' fields are two apart, in the order of enum cpu_segment_index. */
#define GUEST_LDTR_SELECTOR		0x080c
#define GUEST_TR_SELECTOR		0x080e
#define GUEST_IA32_EFER			0x2806
#define VM_ENTRY_CONTROLS		0x4012
#define VM_ENTRY_INTR_INFO_FIELD	0x4016
#define VM_INSTRUCTION_ERROR		0x4400
#define GUEST_ES_LIMIT			0x4800
#define GUEST_CS_LIMIT			0x4802
#define GUEST_GS_LIMIT			0x480a
#define GUEST_LDTR_LIMIT		0x480c
#define GUEST_TR_LIMIT			0x480e
#define GUEST_ES_AR_BYTES		0x4814
#define GUEST_CS_AR_BYTES		0x4816
#define GUEST_SS_AR_BYTES		0x4818
#define GUEST_DS_AR_BYTES		0x481a
#define GUEST_FS_AR_BYTES		0x481c
#define GUEST_GS_AR_BYTES		0x481e
#define GUEST_LDTR_AR_BYTES		0x4820
#define GUEST_TR_AR_BYTES		0x4822
#define GUEST_INTERRUPTIBILITY_INFO	0x4824
#define EXIT_QUALIFICATION		0x6400
#define GUEST_CR0			0x6800
#define GUEST_CR3			0x6802
#define GUEST_CR4			0x6804
#define GUEST_DR7			0x681a
#define GUEST_RIP			0x681e
#define GUEST_RFLAGS			0x6820
#define GUEST_SYSENTER_ESP		0x6824
#define GUEST_SYSENTER_EIP		0x6826

#define VM_ENTRY_IA32E_MODE		0x200

#define VMX_AR_TYPE_MASK		0xf
#define VMX_AR_TYPE_LDT			2
#define VMX_AR_TYPE_BUSY_16_TSS		3
#define VMX_AR_TYPE_BUSY_64_TSS		11
#define VMX_AR_S_MASK			0x10
#define VMX_AR_DPL(rights)		((rights) >> 5 & 3)
#define VMX_AR_P_MASK			0x80
#define VMX_AR_L_MASK			0x2000
#define VMX_AR_DB_MASK			0x4000
#define VMX_AR_G_MASK			0x8000
#define VMX_AR_UNUSABLE_MASK		0x10000

#define INTR_INFO_VALID_MASK		0x80000000U
#define INTR_INFO_INTR_TYPE_MASK	0x700
#define INTR_TYPE_EXT_INTR		0x000
#define INTR_TYPE_NMI_INTR		0x200

#define GUEST_INTR_STATE_STI		1
#define GUEST_INTR_STATE_MOV_SS		2
#define GUEST_INTR_STATE_NMI		8

#define ENTRY_FAIL_PDPTE		2
#define ENTRY_FAIL_VMCS_LINK_PTR	4

#define VMXERR_VMLAUNCH_NONCLEAR_VMCS			4
#define VMXERR_VMRESUME_NONLAUNCHED_VMCS		5
#define VMXERR_VMRESUME_AFTER_VMXOFF			6
#define VMXERR_ENTRY_INVALID_CONTROL_FIELD		7
#define VMXERR_ENTRY_INVALID_HOST_STATE_FIELD		8
#define VMXERR_ENTRY_EVENTS_BLOCKED_BY_MOV_SS		26

#endif
