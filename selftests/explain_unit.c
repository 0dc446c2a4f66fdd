// SPDX-License-Identifier: GPL-2.0-only
/*
 * The words for VM entries that an Intel CPU refuses. No call of the API leads to one, so the
 * module's file is compiled into this program, with a VMCS that is an array.
 */
/* not: intel-* it uses no module, and one CPU shows what there is to see */
#include "kshim.h"

#include "kselftest_harness.h"

/* What explain.c has of the headers that are left out here */
#define VMM_COMPAT_H
#define VMM_VMX_H

static u64 vmcs[0x8000];
static struct { u8 x86_phys_bits; } boot_cpu_data = { .x86_phys_bits = 40 };

static u64 vmread(unsigned long field)
{
	return vmcs[field];
}

static u64 read_msr(u32 msr);

#define rdmsrq(msr, value)	((value) = read_msr(msr))

#include "../module/vmx/explain.c"

static u64 read_msr(u32 msr)
{
	switch (msr) {
	case MSR_IA32_VMX_CR0_FIXED0:
		return X86_CR0_PE | X86_CR0_NE | X86_CR0_PG;
	case MSR_IA32_VMX_CR4_FIXED0:
		return X86_CR4_VMXE;
	default:	/* FIXED1 */
		return 0xffffffff & ~(u64)(1 << 28);
	}
}

/* There is no LAM. */
u64 state_cr3_lam;

u8 state_register_bits(void)
{
	return 48;
}

#define ENTRY_FAILED	0x80000000U
#define EVENT(type)	(INTR_INFO_VALID_MASK | INTR_TYPE_##type | 32)

/* 64-bit mode, and nothing wrong with it */
static void make_good(void)
{
	int i;

	memset(vmcs, 0, sizeof(vmcs));
	vmcs[GUEST_CR0] = X86_CR0_PE | X86_CR0_NE | X86_CR0_PG;
	vmcs[GUEST_CR3] = 0x1000;
	vmcs[GUEST_CR4] = X86_CR4_PAE | X86_CR4_VMXE;
	vmcs[GUEST_IA32_EFER] = EFER_LME | EFER_LMA;
	vmcs[VM_ENTRY_CONTROLS] = VM_ENTRY_IA32E_MODE;
	vmcs[GUEST_DR7] = 0x400;
	vmcs[GUEST_RFLAGS] = X86_EFLAGS_FIXED | X86_EFLAGS_IF;
	vmcs[GUEST_RIP] = 0xffffffff81000000;
	for (i = CPU_ES; i <= CPU_GS; i++) {
		vmcs[GUEST_ES_LIMIT + 2 * i] = 0xffffffff;
		vmcs[GUEST_ES_AR_BYTES + 2 * i] = 0xc093;
	}
	vmcs[GUEST_CS_AR_BYTES] = 0xa09b;
	vmcs[GUEST_LDTR_AR_BYTES] = VMX_AR_UNUSABLE_MASK;
	vmcs[GUEST_TR_LIMIT] = 0x67;
	vmcs[GUEST_TR_AR_BYTES] = 0x8b;
}

#define NOTHING	"guest state that the processor refuses for a reason unknown here"

/* One thing that is wrong, and its words; or only allowed, and none */
static const struct {
	const char *words;
	struct {
		u32 field;
		u64 value;
	} set[8];
} states[] = {
	{ NOTHING, { } },
	{ "CR0 has bits that VMX operation does not allow",
	  { { GUEST_CR0, X86_CR0_PE | X86_CR0_PG } } },
	{ "CR0 has bits that VMX operation does not allow",
	  { { GUEST_CR0, X86_CR0_PE | X86_CR0_NE | X86_CR0_PG | 1 << 28 } } },
	{ "CR0.PG is set while CR0.PE is clear",
	  { { GUEST_CR0, X86_CR0_NE | X86_CR0_PG } } },
	{ "CR4 has bits that VMX operation or this processor does not allow",
	  { { GUEST_CR4, X86_CR4_PAE } } },
	{ "CR4 has bits that VMX operation or this processor does not allow",
	  { { GUEST_CR4, X86_CR4_PAE | X86_CR4_VMXE | 1 << 28 } } },
	{ "long mode is active while CR0.PG or CR4.PAE is clear",
	  { { GUEST_CR4, X86_CR4_VMXE } } },
	{ "long mode is active while CR0.PG or CR4.PAE is clear",
	  { { GUEST_CR0, X86_CR0_PE | X86_CR0_NE } } },
	{ "CR4.PCIDE is set outside long mode",
	  { { VM_ENTRY_CONTROLS, 0 }, { GUEST_CR4, X86_CR4_PAE | X86_CR4_VMXE | X86_CR4_PCIDE } } },
	{ "CR3 has bits set beyond the physical-address width",
	  { { GUEST_CR3, 1ULL << 40 } } },
	{ "DR7 bits 63:32 are not zero",
	  { { GUEST_DR7, 1ULL << 32 } } },
	{ "SYSENTER_ESP or SYSENTER_EIP is not canonical",
	  { { GUEST_SYSENTER_ESP, 1ULL << 47 } } },
	{ "SYSENTER_ESP or SYSENTER_EIP is not canonical",
	  { { GUEST_SYSENTER_EIP, 1ULL << 63 } } },
	{ "EFER.LMA is not what the mode makes it",
	  { { GUEST_IA32_EFER, EFER_LME } } },
	{ "EFER.LMA is not what the mode makes it",
	  { { GUEST_IA32_EFER, EFER_LMA } } },
	{ "EFER.LMA is not what the mode makes it",
	  { { VM_ENTRY_CONTROLS, 0 } } },
	/* Segments */
	{ "CS is unusable", { { GUEST_CS_AR_BYTES, VMX_AR_UNUSABLE_MASK } } },
	{ NOTHING, { { GUEST_SS_AR_BYTES, VMX_AR_UNUSABLE_MASK } } },
	{ NOTHING, { { GUEST_ES_AR_BYTES, VMX_AR_UNUSABLE_MASK } } },
	{ "CS is not what a code segment may be", { { GUEST_CS_AR_BYTES, 0xa09a } } },
	{ "CS is not what a code segment may be", { { GUEST_CS_AR_BYTES, 0xa091 } } },
	{ "SS is not what a stack segment may be", { { GUEST_SS_AR_BYTES, 0xc09b } } },
	{ "SS is not what a stack segment may be", { { GUEST_SS_AR_BYTES, 0xc091 } } },
	{ "ES is not what a data segment may be", { { GUEST_ES_AR_BYTES, 0xc092 } } },
	{ "DS is not what a data segment may be", { { GUEST_DS_AR_BYTES, 0xc099 } } },
	{ NOTHING, { { GUEST_DS_AR_BYTES, 0xc09b } } },
	{ "DS is not what a data segment may be", { { GUEST_DS_AR_BYTES, 0xc083 } } },
	{ "FS is not what a data segment may be", { { GUEST_FS_AR_BYTES, 0xc193 } } },
	{ "FS is not what a data segment may be", { { GUEST_FS_AR_BYTES, 0xc013 } } },
	{ "GS is not what a data segment may be", { { GUEST_GS_AR_BYTES, 0x4093 } } },
	{ "GS is not what a data segment may be", { { GUEST_GS_LIMIT, 0xfffffffe } } },
	{ "SS.DPL (CPL) is not 0 in real mode, or with a data segment in CS",
	  { { GUEST_CS_AR_BYTES, 0xc093 }, { GUEST_SS_AR_BYTES, 0xc0f3 } } },
	{ "CS.DPL is not the same as SS.DPL (CPL)", { { GUEST_SS_AR_BYTES, 0xc0f3 } } },
	{ "CS.DPL is above SS.DPL (CPL)", { { GUEST_CS_AR_BYTES, 0xa0ff } } },
	{ NOTHING, { { GUEST_CS_AR_BYTES, 0xa09f } } },
	{ NOTHING, { { GUEST_CS_AR_BYTES, 0xa09f }, { GUEST_SS_AR_BYTES, 0xc0f3 } } },
	{ "CS.L and CS.D are both set in long mode", { { GUEST_CS_AR_BYTES, 0xe09b } } },
	{ "TR is not a busy task state segment that this mode allows",
	  { { GUEST_TR_AR_BYTES, VMX_AR_UNUSABLE_MASK } } },
	{ "TR is not a busy task state segment that this mode allows",
	  { { GUEST_TR_AR_BYTES, 0x89 } } },
	{ "TR is not a busy task state segment that this mode allows",
	  { { GUEST_TR_AR_BYTES, 0x83 } } },
	{ "TR is not a busy task state segment that this mode allows",
	  { { GUEST_TR_LIMIT, 0x100000 } } },
	{ "the selector in TR or LDTR refers to the local descriptor table",
	  { { GUEST_TR_SELECTOR, 4 } } },
	{ NOTHING, { { GUEST_LDTR_SELECTOR, 4 } } },
	{ "the selector in TR or LDTR refers to the local descriptor table",
	  { { GUEST_LDTR_SELECTOR, 4 }, { GUEST_LDTR_AR_BYTES, 0x82 } } },
	{ NOTHING, { { GUEST_LDTR_AR_BYTES, 0x82 } } },
	{ "LDTR is not a local descriptor table", { { GUEST_LDTR_AR_BYTES, 0x8b } } },
	/* Virtual-8086 mode */
	{ "a segment is not what virtual-8086 mode makes of it",
	  { { GUEST_RFLAGS, X86_EFLAGS_FIXED | X86_EFLAGS_VM } } },
	{ "RFLAGS.VM is set in real mode or long mode",
	  { { GUEST_RFLAGS, X86_EFLAGS_FIXED | X86_EFLAGS_VM }, { GUEST_RIP, 0x1000 },
	    { GUEST_ES_AR_BYTES, 0xf3 }, { GUEST_CS_AR_BYTES, 0xf3 },
	    { GUEST_SS_AR_BYTES, 0xf3 }, { GUEST_DS_AR_BYTES, 0xf3 },
	    { GUEST_FS_AR_BYTES, 0xf3 }, { GUEST_GS_AR_BYTES, 0xf3 } } },
	/* RIP, and events */
	{ "RIP is above 4 GiB outside 64-bit mode", { { GUEST_CS_AR_BYTES, 0xc09b } } },
	{ NOTHING, { { GUEST_RIP, 1ULL << 47 } } },
	{ "RIP is not canonical", { { GUEST_RIP, 1ULL << 48 } } },
	{ NOTHING, { { VM_ENTRY_INTR_INFO_FIELD, EVENT(EXT_INTR) } } },
	{ "an external interrupt is delivered although the guest cannot take one",
	  { { VM_ENTRY_INTR_INFO_FIELD, EVENT(EXT_INTR) }, { GUEST_RFLAGS, X86_EFLAGS_FIXED } } },
	{ "an external interrupt is delivered although the guest cannot take one",
	  { { VM_ENTRY_INTR_INFO_FIELD, EVENT(EXT_INTR) },
	    { GUEST_INTERRUPTIBILITY_INFO, GUEST_INTR_STATE_STI } } },
	{ NOTHING,
	  { { VM_ENTRY_INTR_INFO_FIELD, EVENT(NMI_INTR) },
	    { GUEST_INTERRUPTIBILITY_INFO, GUEST_INTR_STATE_STI } } },
	{ "an NMI is delivered although NMIs are blocked",
	  { { VM_ENTRY_INTR_INFO_FIELD, EVENT(NMI_INTR) },
	    { GUEST_INTERRUPTIBILITY_INFO, GUEST_INTR_STATE_NMI } } },
};

TEST(guest_state)
{
	u32 i, j;

	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		make_good();
		for (j = 0; j < 8 && states[i].set[j].field; j++)
			vmcs[states[i].set[j].field] = states[i].set[j].value;
		EXPECT_STREQ(states[i].words,
			     vmx_explain_state(ENTRY_FAILED | EXIT_REASON_INVALID_STATE))
			TH_LOG("state %u: field %#x is %#llx", i, states[i].set[0].field,
			       states[i].set[0].value);
	}
}

TEST(reasons)
{
	make_good();
	EXPECT_STREQ("VM entry could not load an MSR",
		     vmx_explain_state(ENTRY_FAILED | EXIT_REASON_MSR_LOAD_FAIL));
	EXPECT_STREQ("a machine check happened during VM entry",
		     vmx_explain_state(ENTRY_FAILED | EXIT_REASON_MCE_DURING_VMENTRY));
	vmcs[EXIT_QUALIFICATION] = ENTRY_FAIL_PDPTE;
	EXPECT_STREQ("a page-directory-pointer entry has reserved bits set",
		     vmx_explain_state(ENTRY_FAILED | EXIT_REASON_INVALID_STATE));
	vmcs[EXIT_QUALIFICATION] = ENTRY_FAIL_VMCS_LINK_PTR;
	EXPECT_STREQ("the VMCS link pointer is invalid",
		     vmx_explain_state(ENTRY_FAILED | EXIT_REASON_INVALID_STATE));
}

TEST(refusals)
{
	static const struct {
		u32 error;
		const char *words;
	} refusals[] = {
		{ 4, "VMLAUNCH with a VMCS that is not clear" },
		{ 5, "VMRESUME with a VMCS that is not launched" },
		{ 6, "VMRESUME after VMXOFF" },
		{ 7, "VM entry with invalid control fields" },
		{ 8, "VM entry with invalid host-state fields" },
		{ 26, "VM entry while events are blocked by MOV SS" },
		{ 99, "VM entry failed with an instruction error that it should not have" },
	};
	u32 i;

	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		vmcs[VM_INSTRUCTION_ERROR] = refusals[i].error;
		EXPECT_STREQ(refusals[i].words, vmx_explain_refusal());
	}
}

TEST_HARNESS_MAIN
