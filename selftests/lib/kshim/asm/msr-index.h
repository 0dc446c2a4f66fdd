/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KSHIM_ASM_MSR_INDEX_H
#define KSHIM_ASM_MSR_INDEX_H

#define MSR_IA32_VMX_CR0_FIXED0	0x486
#define MSR_IA32_VMX_CR0_FIXED1	0x487
#define MSR_IA32_VMX_CR4_FIXED0	0x488
#define MSR_IA32_VMX_CR4_FIXED1	0x489

#define EFER_LME	(1ULL << 8)
#define EFER_LMA	(1ULL << 10)
#define EFER_NX		(1ULL << 11)

#endif
