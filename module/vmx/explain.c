// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is wrong with a VMCS that the CPU refuses, in words. The CPU gives a number at best; so its
 * conditions are looked through here in the order of the SDM (27.2, 27.3), in the VMCS itself.
 * All strings are static, for struct vcpu_exit.
 */
#include <linux/kernel.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>
#include <uapi/asm/vmx.h>

#include "compat.h"
#include "vmx/vmx.h"
#include "x86/x86.h"

/**
 * vmx_explain_refusal - why VMLAUNCH or VMRESUME failed (chapter 31.4 has the numbers)
 *
 * Return: a static string.
 */
const char *vmx_explain_refusal(void)
{
	switch (vmread(VM_INSTRUCTION_ERROR)) {
	case VMXERR_VMLAUNCH_NONCLEAR_VMCS:
		return "VMLAUNCH with a VMCS that is not clear";
	case VMXERR_VMRESUME_NONLAUNCHED_VMCS:
		return "VMRESUME with a VMCS that is not launched";
	case VMXERR_VMRESUME_AFTER_VMXOFF:
		return "VMRESUME after VMXOFF";
	case VMXERR_ENTRY_INVALID_CONTROL_FIELD:
		return "VM entry with invalid control fields";
	case VMXERR_ENTRY_INVALID_HOST_STATE_FIELD:
		return "VM entry with invalid host-state fields";
	case VMXERR_ENTRY_EVENTS_BLOCKED_BY_MOV_SS:
		return "VM entry while events are blocked by MOV SS";
	default:
		return "VM entry failed with an instruction error that it should not have";
	}
}

struct guest_state {
	u64 cr0, cr4, efer, rflags;
	u32 entry_controls;
	u32 event;
	bool long_mode;
	bool virtual_8086;
};

static void read_guest_state(struct guest_state *s)
{
	*s = (struct guest_state){
		.cr0 = vmread(GUEST_CR0),
		.cr4 = vmread(GUEST_CR4),
		.efer = vmread(GUEST_IA32_EFER),
		.rflags = vmread(GUEST_RFLAGS),
		.entry_controls = vmread(VM_ENTRY_CONTROLS),
		.event = vmread(VM_ENTRY_INTR_INFO_FIELD),
	};
	s->long_mode = s->entry_controls & VM_ENTRY_IA32E_MODE;
	s->virtual_8086 = s->rflags & X86_EFLAGS_VM;
}

/* 27.3.1.1 */
static const char *wrong_control(const struct guest_state *s)
{
	u64 fixed0, fixed1;

	rdmsrq(MSR_IA32_VMX_CR0_FIXED0, fixed0);
	rdmsrq(MSR_IA32_VMX_CR0_FIXED1, fixed1);
	fixed0 &= ~(u64)(X86_CR0_PE | X86_CR0_PG);
	if ((fixed0 & ~s->cr0) || (s->cr0 & ~fixed1))
		return "CR0 has bits that VMX operation does not allow";
	if ((s->cr0 & X86_CR0_PG) && !(s->cr0 & X86_CR0_PE))
		return "CR0.PG is set while CR0.PE is clear";
	rdmsrq(MSR_IA32_VMX_CR4_FIXED0, fixed0);
	rdmsrq(MSR_IA32_VMX_CR4_FIXED1, fixed1);
	if ((fixed0 & ~s->cr4) || (s->cr4 & ~fixed1))
		return "CR4 has bits that VMX operation or this processor does not allow";
	if (s->long_mode && (!(s->cr0 & X86_CR0_PG) || !(s->cr4 & X86_CR4_PAE)))
		return "long mode is active while CR0.PG or CR4.PAE is clear";
	if (!s->long_mode && (s->cr4 & X86_CR4_PCIDE))
		return "CR4.PCIDE is set outside long mode";
	if ((vmread(GUEST_CR3) & ~state_cr3_lam) >> boot_cpu_data.x86_phys_bits)
		return "CR3 has bits set beyond the physical-address width";
	if (vmread(GUEST_DR7) >> 32)
		return "DR7 bits 63:32 are not zero";
	if (!cpu_canonical(vmread(GUEST_SYSENTER_ESP), state_register_bits()) ||
	    !cpu_canonical(vmread(GUEST_SYSENTER_EIP), state_register_bits()))
		return "SYSENTER_ESP or SYSENTER_EIP is not canonical";
	if (!!(s->efer & EFER_LMA) != s->long_mode ||
	    ((s->cr0 & X86_CR0_PG) && !(s->efer & EFER_LMA) != !(s->efer & EFER_LME)))
		return "EFER.LMA is not what the mode makes it";
	return NULL;
}

/* What 27.3.1.2 asks of any usable segment's access rights and limit */
static bool wrong_rights(u32 rights, u32 limit)
{
	if (!(rights & VMX_AR_P_MASK) || (rights & 0xf00))
		return true;
	if ((limit & 0xfff) != 0xfff && (rights & VMX_AR_G_MASK))
		return true;
	return limit >> 20 && !(rights & VMX_AR_G_MASK);
}

#define SEGMENT_STEP	2	/* between the encodings of two segments' fields */

static const char *wrong_data_segment(int index)
{
	static const char * const messages[] = {
		"ES is not what a data segment may be", "CS is not what a code segment may be",
		"SS is not what a stack segment may be", "DS is not what a data segment may be",
		"FS is not what a data segment may be", "GS is not what a data segment may be",
	};
	u32 rights = vmread(GUEST_ES_AR_BYTES + index * SEGMENT_STEP);
	u32 limit = vmread(GUEST_ES_LIMIT + index * SEGMENT_STEP);
	u8 type = rights & VMX_AR_TYPE_MASK;

	if (rights & VMX_AR_UNUSABLE_MASK)
		return index == CPU_CS ? "CS is unusable" : NULL;
	if (wrong_rights(rights, limit) || !(rights & VMX_AR_S_MASK))
		return messages[index];
	switch (index) {
	case CPU_CS:
		return type == 3 || (type & 9) == 9 ? NULL : messages[index];
	case CPU_SS:
		return type == 3 || type == 7 ? NULL : messages[index];
	default:
		return (type & 1) && (!(type & 8) || (type & 2)) ? NULL : messages[index];
	}
}

static const char *wrong_privilege(const struct guest_state *s)
{
	u32 cs = vmread(GUEST_CS_AR_BYTES);
	u32 ss = vmread(GUEST_SS_AR_BYTES);
	u8 type = cs & VMX_AR_TYPE_MASK;

	if ((type == 3 || !(s->cr0 & X86_CR0_PE)) && VMX_AR_DPL(ss))
		return "SS.DPL (CPL) is not 0 in real mode, or with a data segment in CS";
	if ((type == 9 || type == 11) && VMX_AR_DPL(cs) != VMX_AR_DPL(ss))
		return "CS.DPL is not the same as SS.DPL (CPL)";
	if (type >= 13 && VMX_AR_DPL(cs) > VMX_AR_DPL(ss))
		return "CS.DPL is above SS.DPL (CPL)";
	if (s->long_mode && (cs & VMX_AR_L_MASK) && (cs & VMX_AR_DB_MASK))
		return "CS.L and CS.D are both set in long mode";
	return NULL;
}

static const char *wrong_system_segment(const struct guest_state *s)
{
	u32 tr = vmread(GUEST_TR_AR_BYTES);
	u32 ldtr = vmread(GUEST_LDTR_AR_BYTES);
	u8 type = tr & VMX_AR_TYPE_MASK;

	if ((tr & (VMX_AR_UNUSABLE_MASK | VMX_AR_S_MASK)) ||
	    wrong_rights(tr, vmread(GUEST_TR_LIMIT)) ||
	    (type != VMX_AR_TYPE_BUSY_64_TSS &&
	     (s->long_mode || type != VMX_AR_TYPE_BUSY_16_TSS)))
		return "TR is not a busy task state segment that this mode allows";
	if (vmread(GUEST_TR_SELECTOR) & SEGMENT_TI_MASK ||
	    (!(ldtr & VMX_AR_UNUSABLE_MASK) && vmread(GUEST_LDTR_SELECTOR) & SEGMENT_TI_MASK))
		return "the selector in TR or LDTR refers to the local descriptor table";
	if (!(ldtr & VMX_AR_UNUSABLE_MASK) &&
	    ((ldtr & (VMX_AR_TYPE_MASK | VMX_AR_S_MASK)) != VMX_AR_TYPE_LDT ||
	     wrong_rights(ldtr, vmread(GUEST_LDTR_LIMIT))))
		return "LDTR is not a local descriptor table";
	return NULL;
}

static const char *wrong_segments(const struct guest_state *s)
{
	const char *wrong;
	int i;

	if (s->virtual_8086) {
		for (i = CPU_ES; i <= CPU_GS; i++)
			if (vmread(GUEST_ES_AR_BYTES + i * SEGMENT_STEP) != 0xf3)
				return "a segment is not what virtual-8086 mode makes of it";
	} else {
		for (i = CPU_ES; i <= CPU_GS; i++) {
			wrong = wrong_data_segment(i);
			if (wrong)
				return wrong;
		}
		wrong = wrong_privilege(s);
		if (wrong)
			return wrong;
	}
	return wrong_system_segment(s);
}

/* 27.3.1.4, 27.3.1.5 */
static const char *wrong_execution_state(const struct guest_state *s)
{
	u32 shadow = vmread(GUEST_INTERRUPTIBILITY_INFO);
	u32 blocked = shadow & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);
	u32 type = s->event & INTR_INFO_INTR_TYPE_MASK;
	u64 rip = vmread(GUEST_RIP);

	if (!(s->long_mode && (vmread(GUEST_CS_AR_BYTES) & VMX_AR_L_MASK)) && rip >> 32)
		return "RIP is above 4 GiB outside 64-bit mode";
	if (!cpu_rip_holds(rip, state_register_bits()))
		return "RIP is not canonical";
	if (s->virtual_8086 && (s->long_mode || !(s->cr0 & X86_CR0_PE)))
		return "RFLAGS.VM is set in real mode or long mode";
	if (!(s->event & INTR_INFO_VALID_MASK))
		return NULL;
	if (type == INTR_TYPE_EXT_INTR && (!(s->rflags & X86_EFLAGS_IF) || blocked))
		return "an external interrupt is delivered although the guest cannot take one";
	if (type == INTR_TYPE_NMI_INTR && (shadow & (GUEST_INTR_STATE_MOV_SS |
						     GUEST_INTR_STATE_NMI)))
		return "an NMI is delivered although NMIs are blocked";
	return NULL;
}

/**
 * vmx_explain_state - why an entry failed after VMLAUNCH or VMRESUME had begun
 * @reason: the exit reason; its bit 31 is set
 *
 * Return: a static string.
 */
const char *vmx_explain_state(u32 reason)
{
	struct guest_state s;
	const char *wrong;

	switch ((u16)reason) {
	case EXIT_REASON_MSR_LOAD_FAIL:
		return "VM entry could not load an MSR";
	case EXIT_REASON_MCE_DURING_VMENTRY:
		return "a machine check happened during VM entry";
	}
	switch (vmread(EXIT_QUALIFICATION)) {
	case ENTRY_FAIL_PDPTE:
		return "a page-directory-pointer entry has reserved bits set";
	case ENTRY_FAIL_VMCS_LINK_PTR:
		return "the VMCS link pointer is invalid";
	}
	read_guest_state(&s);
	wrong = wrong_control(&s);
	if (!wrong)
		wrong = wrong_segments(&s);
	if (!wrong)
		wrong = wrong_execution_state(&s);
	return wrong ?: "guest state that the processor refuses for a reason unknown here";
}
