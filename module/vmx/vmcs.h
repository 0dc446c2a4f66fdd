/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fields of a VMCS that are kept in a cache, and the VMX instructions.
 *
 * A VMCS is current only while its vCPU is in a window, and what VMREAD and VMWRITE cost is
 * paid by the guest. So most fields have a copy (struct vmcs_cache):
 *
 *   valid	the copy is what the VMCS holds, or newer
 *   dirty	it is newer; written to the VMCS before the next entry
 *
 * An exit makes the copies of those fields invalid that a guest changes without leaving; they are
 * read again when somebody asks. At rest that takes a short VMX operation of its own.
 */
#ifndef VMM_VMX_VMCS_H
#define VMM_VMX_VMCS_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/types.h>
#include <asm/asm.h>
#include <asm/vmx.h>

#include "x86/count.h"

/*
 * Cached fields. Segments come first, four fields each in enum cpu_segment_index order, GDTR and
 * IDTR with two: vmcs_segment() counts on it.
 */
#define VMCS_CACHED_FIELDS(F)					\
	F(ES_SELECTOR, GUEST_ES_SELECTOR)			\
	F(ES_BASE, GUEST_ES_BASE)				\
	F(ES_LIMIT, GUEST_ES_LIMIT)				\
	F(ES_AR, GUEST_ES_AR_BYTES)				\
	F(CS_SELECTOR, GUEST_CS_SELECTOR)			\
	F(CS_BASE, GUEST_CS_BASE)				\
	F(CS_LIMIT, GUEST_CS_LIMIT)				\
	F(CS_AR, GUEST_CS_AR_BYTES)				\
	F(SS_SELECTOR, GUEST_SS_SELECTOR)			\
	F(SS_BASE, GUEST_SS_BASE)				\
	F(SS_LIMIT, GUEST_SS_LIMIT)				\
	F(SS_AR, GUEST_SS_AR_BYTES)				\
	F(DS_SELECTOR, GUEST_DS_SELECTOR)			\
	F(DS_BASE, GUEST_DS_BASE)				\
	F(DS_LIMIT, GUEST_DS_LIMIT)				\
	F(DS_AR, GUEST_DS_AR_BYTES)				\
	F(FS_SELECTOR, GUEST_FS_SELECTOR)			\
	F(FS_BASE, GUEST_FS_BASE)				\
	F(FS_LIMIT, GUEST_FS_LIMIT)				\
	F(FS_AR, GUEST_FS_AR_BYTES)				\
	F(GS_SELECTOR, GUEST_GS_SELECTOR)			\
	F(GS_BASE, GUEST_GS_BASE)				\
	F(GS_LIMIT, GUEST_GS_LIMIT)				\
	F(GS_AR, GUEST_GS_AR_BYTES)				\
	F(LDTR_SELECTOR, GUEST_LDTR_SELECTOR)			\
	F(LDTR_BASE, GUEST_LDTR_BASE)				\
	F(LDTR_LIMIT, GUEST_LDTR_LIMIT)				\
	F(LDTR_AR, GUEST_LDTR_AR_BYTES)				\
	F(TR_SELECTOR, GUEST_TR_SELECTOR)			\
	F(TR_BASE, GUEST_TR_BASE)				\
	F(TR_LIMIT, GUEST_TR_LIMIT)				\
	F(TR_AR, GUEST_TR_AR_BYTES)				\
	F(GDTR_BASE, GUEST_GDTR_BASE)				\
	F(GDTR_LIMIT, GUEST_GDTR_LIMIT)				\
	F(IDTR_BASE, GUEST_IDTR_BASE)				\
	F(IDTR_LIMIT, GUEST_IDTR_LIMIT)				\
	F(CR3, GUEST_CR3)					\
	F(SYSENTER_CS, GUEST_SYSENTER_CS)			\
	F(SYSENTER_ESP, GUEST_SYSENTER_ESP)			\
	F(SYSENTER_EIP, GUEST_SYSENTER_EIP)			\
	F(PDPTE0, GUEST_PDPTR0)					\
	F(PDPTE1, GUEST_PDPTR1)					\
	F(PDPTE2, GUEST_PDPTR2)					\
	F(PDPTE3, GUEST_PDPTR3)					\
	F(PENDING_DEBUG, GUEST_PENDING_DBG_EXCEPTIONS)		\
	F(DEBUGCTL, GUEST_IA32_DEBUGCTL)			\
	/* From here on the guest changes nothing by itself. */	\
	F(DR7, GUEST_DR7)					\
	F(CR0, GUEST_CR0)					\
	F(CR0_SHADOW, CR0_READ_SHADOW)				\
	F(CR4, GUEST_CR4)					\
	F(CR4_SHADOW, CR4_READ_SHADOW)				\
	F(EFER, GUEST_IA32_EFER)				\
	F(PAT, GUEST_IA32_PAT)					\
	F(PROCESSOR_CONTROLS, CPU_BASED_VM_EXEC_CONTROL)	\
	F(SECONDARY_CONTROLS, SECONDARY_VM_EXEC_CONTROL)	\
	F(ENTRY_CONTROLS, VM_ENTRY_CONTROLS)			\
	F(EXCEPTIONS, EXCEPTION_BITMAP)				\
	F(TSC_OFFSET, TSC_OFFSET)				\
	F(TPR_THRESHOLD, TPR_THRESHOLD)				\
	F(EPT_POINTER, EPT_POINTER)				\
	F(VPID, VIRTUAL_PROCESSOR_ID)

enum vmcs_cached {
#define F(name, encoding)	VMCS_##name,
	VMCS_CACHED_FIELDS(F)
#undef F
	NR_VMCS_CACHED
};

static_assert(NR_VMCS_CACHED <= 64);

#define VMCS_FIRST_STABLE	VMCS_DR7
#define VMCS_ALL		GENMASK_ULL(NR_VMCS_CACHED - 1, 0)
#define VMCS_STABLE		GENMASK_ULL(NR_VMCS_CACHED - 1, VMCS_FIRST_STABLE)

/* The kernel's header has had two names for it. */
#define SECONDARY_XSAVES	VMCS_CONTROL_BIT(XSAVES)

/**
 * struct vmcs_cache - see above
 * @valid: a bit for each copy, by enum vmcs_cached
 * @dirty: likewise: the VMCS has not got it yet; what is dirty is valid
 * @value: the copies
 */
struct vmcs_cache {
	u64 valid;
	u64 dirty;
	u64 value[NR_VMCS_CACHED];
};

/* ---- The instructions; SDM vol. 3 chapter 31. VMX operation is on, a VMCS is current. ---- */

/* VMfailInvalid: no VMCS is current, so there is no error number */
#define VMX_FAIL_INVALID	-1

static inline u64 vmread(unsigned long field)
{
	u64 value;

	count_insn(VMREAD);
	asm volatile("vmread %1, %0" : "=r" (value) : "r" (field) : "cc");
	return value;
}

/* Of a field that this CPU has; there is no other way for it to fail. */
static inline void vmwrite(unsigned long field, u64 value)
{
	count_insn(VMWRITE);
	asm volatile("vmwrite %1, %0" : : "r" (field), "rm" (value) : "cc");
}

/* Operands are physical addresses, in memory. False: it failed */
static inline bool vmptrld(const u64 *vmcs)
{
	bool failed;

	count_insn(VMPTRLD);
	asm volatile("vmptrld %1" : "=@ccbe" (failed) : "m" (*vmcs) : "memory");
	return !failed;
}

static inline bool vmclear(const u64 *vmcs)
{
	bool failed;

	count_insn(VMCLEAR);
	asm volatile("vmclear %1" : "=@ccbe" (failed) : "m" (*vmcs) : "memory");
	return !failed;
}

/*
 * Which VMCS is current: ~0 for none. False: VMX operation is off, where the instruction is
 * undefined; nothing else tells whether it is on.
 */
static inline bool vmptrst(u64 *vmcs)
{
	bool on = false;

	asm volatile("1:	vmptrst %1\n"
		     "	movb $1, %0\n"
		     "2:\n"
		     _ASM_EXTABLE(1b, 2b)
		     : "+q" (on), "=m" (*vmcs) : : "cc");
	return on;
}

static inline void invept(unsigned long type, u64 ept_pointer)
{
	const struct {
		u64 ept_pointer;
		u64 reserved;
	} operand = { .ept_pointer = ept_pointer };

	count_insn(INVEPT);
	asm volatile("invept %0, %1" : : "m" (operand), "r" (type) : "cc", "memory");
}

static inline void invvpid(unsigned long type, u16 vpid)
{
	const struct {
		u64 vpid;
		u64 address;
	} operand = { .vpid = vpid };

	count_insn(INVVPID);
	asm volatile("invvpid %0, %1" : : "m" (operand), "r" (type) : "cc", "memory");
}

#endif
