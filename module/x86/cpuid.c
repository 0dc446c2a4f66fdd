// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID: what can be offered on this host, and each vCPU's own table.
 *
 * A feature is offered if it is in one of the lists below and this host's CPU and kernel have it,
 * or if we emulate it whole. Everything else reads as zero, in the list and in any table that a VMM
 * sets: a feature that we do not virtualize cannot shine through, nor one that a later CPU brings.
 * Leaves that hold no features (caches, topology, names, frequencies) are the VMM's business.
 */
#include <linux/bitops.h>
#include <linux/kernel.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>
#include <asm/cpufeature.h>
#include <asm/fpu/types.h>
#include <asm/kvm_para.h>
#include <asm/msr-index.h>
#include <asm/processor.h>
#include <asm/processor-flags.h>

#include "compat.h"
#include "hw.h"
#include "irq/irq.h"
#include "pv/pv.h"
#include "vcpu.h"
#include "x86/x86.h"

enum cpuid_reg { EAX, EBX, ECX, EDX };

/* Features by the kernel's numbers: 32 times the word, plus the bit. Offered if the host has it */
static const u16 passed_features[] = {
	X86_FEATURE_FPU, X86_FEATURE_VME, X86_FEATURE_DE, X86_FEATURE_PSE, X86_FEATURE_TSC,
	X86_FEATURE_MSR, X86_FEATURE_PAE, X86_FEATURE_CX8, X86_FEATURE_SEP, X86_FEATURE_PGE,
	X86_FEATURE_CMOV, X86_FEATURE_PSE36, X86_FEATURE_CLFLUSH, X86_FEATURE_MMX,
	X86_FEATURE_FXSR, X86_FEATURE_XMM, X86_FEATURE_XMM2, X86_FEATURE_SELFSNOOP,

	X86_FEATURE_XMM3, X86_FEATURE_PCLMULQDQ, X86_FEATURE_SSSE3, X86_FEATURE_FMA,
	X86_FEATURE_CX16, X86_FEATURE_PCID, X86_FEATURE_XMM4_1, X86_FEATURE_XMM4_2,
	X86_FEATURE_MOVBE, X86_FEATURE_POPCNT, X86_FEATURE_AES, X86_FEATURE_XSAVE,
	X86_FEATURE_AVX, X86_FEATURE_F16C, X86_FEATURE_RDRAND,

	X86_FEATURE_FSGSBASE, X86_FEATURE_BMI1, X86_FEATURE_HLE, X86_FEATURE_AVX2,
	X86_FEATURE_FDP_EXCPTN_ONLY, X86_FEATURE_SMEP, X86_FEATURE_BMI2, X86_FEATURE_ERMS,
	X86_FEATURE_INVPCID, X86_FEATURE_RTM, X86_FEATURE_ZERO_FCS_FDS, X86_FEATURE_AVX512F,
	X86_FEATURE_AVX512DQ, X86_FEATURE_RDSEED, X86_FEATURE_ADX, X86_FEATURE_SMAP,
	X86_FEATURE_AVX512IFMA, X86_FEATURE_CLFLUSHOPT, X86_FEATURE_CLWB, X86_FEATURE_AVX512PF,
	X86_FEATURE_AVX512ER, X86_FEATURE_AVX512CD, X86_FEATURE_SHA_NI, X86_FEATURE_AVX512BW,
	X86_FEATURE_AVX512VL,

	X86_FEATURE_AVX512VBMI, X86_FEATURE_UMIP, X86_FEATURE_PKU, X86_FEATURE_AVX512_VBMI2,
	X86_FEATURE_GFNI, X86_FEATURE_VAES, X86_FEATURE_VPCLMULQDQ, X86_FEATURE_AVX512_VNNI,
	X86_FEATURE_AVX512_BITALG, X86_FEATURE_AVX512_VPOPCNTDQ, X86_FEATURE_LA57,
	X86_FEATURE_RDPID, X86_FEATURE_CLDEMOTE, X86_FEATURE_MOVDIRI, X86_FEATURE_MOVDIR64B,

	X86_FEATURE_AVX512_4VNNIW, X86_FEATURE_AVX512_4FMAPS, X86_FEATURE_FSRM,
	X86_FEATURE_AVX512_VP2INTERSECT, X86_FEATURE_MD_CLEAR, X86_FEATURE_SERIALIZE,
	X86_FEATURE_TSXLDTRK, X86_FEATURE_AVX512_FP16, X86_FEATURE_SPEC_CTRL,
	X86_FEATURE_INTEL_STIBP, X86_FEATURE_FLUSH_L1D, X86_FEATURE_ARCH_CAPABILITIES,
	X86_FEATURE_SPEC_CTRL_SSBD,

	X86_FEATURE_AVX_VNNI, X86_FEATURE_AVX512_BF16,

	X86_FEATURE_XSAVEOPT, X86_FEATURE_XSAVEC, X86_FEATURE_XGETBV1, X86_FEATURE_XSAVES,

	X86_FEATURE_LAHF_LM, X86_FEATURE_CR8_LEGACY, X86_FEATURE_ABM, X86_FEATURE_SSE4A,
	X86_FEATURE_MISALIGNSSE, X86_FEATURE_3DNOWPREFETCH, X86_FEATURE_XOP, X86_FEATURE_FMA4,
	X86_FEATURE_TCE, X86_FEATURE_TBM, X86_FEATURE_TOPOEXT,

	X86_FEATURE_SYSCALL, X86_FEATURE_NX, X86_FEATURE_MMXEXT, X86_FEATURE_FXSR_OPT,
	X86_FEATURE_GBPAGES, X86_FEATURE_RDTSCP, X86_FEATURE_LM, X86_FEATURE_3DNOWEXT,
	X86_FEATURE_3DNOW,

	X86_FEATURE_CLZERO, X86_FEATURE_XSAVEERPTR, X86_FEATURE_WBNOINVD, X86_FEATURE_AMD_IBPB,
	X86_FEATURE_AMD_IBRS, X86_FEATURE_AMD_STIBP, X86_FEATURE_AMD_STIBP_ALWAYS_ON,
	X86_FEATURE_AMD_SSBD, X86_FEATURE_AMD_SSB_NO, X86_FEATURE_BTC_NO,
	X86_FEATURE_AMD_IBPB_RET,
};

/* Offered on every host, because they are all ours. */
static const u16 emulated_features[] = {
	X86_FEATURE_APIC, X86_FEATURE_MTRR, X86_FEATURE_PAT, X86_FEATURE_MCE, X86_FEATURE_MCA,
	X86_FEATURE_X2APIC, X86_FEATURE_TSC_DEADLINE_TIMER, X86_FEATURE_HYPERVISOR,
	X86_FEATURE_TSC_ADJUST, X86_FEATURE_ARAT,
};

/*
 * Of the topology, which is the VMM's: whether leaf 1 counts more than one logical processor, and
 * whether those are cores (APM vol. 3 E.4.1). Not offered, as every vCPU is a package of its own
 * unless the VMM says otherwise; taken from it whatever the host's own topology is.
 */
static const u16 topology_features[] = {
	X86_FEATURE_HT, X86_FEATURE_CMP_LEGACY,
};

/* Where the words of the lists above lie */
static const struct {
	u32 function;
	u8 index;
	u8 reg;
	u8 word;
} feature_words[] = {
	{ 1, 0, EDX, CPUID_1_EDX },
	{ 1, 0, ECX, CPUID_1_ECX },
	{ 6, 0, EAX, CPUID_6_EAX },
	{ 7, 0, EBX, CPUID_7_0_EBX },
	{ 7, 0, ECX, CPUID_7_ECX },
	{ 7, 0, EDX, CPUID_7_EDX },
	{ 7, 1, EAX, CPUID_7_1_EAX },
	{ 0xd, 1, EAX, CPUID_D_1_EAX },
	{ 0x80000001, 0, ECX, CPUID_8000_0001_ECX },
	{ 0x80000001, 0, EDX, CPUID_8000_0001_EDX },
	{ 0x80000008, 0, EBX, CPUID_8000_0008_EBX },
};

/*
 * Bits that some of our kernels have no name for. They say how the CPU behaves or bring
 * instructions without state of their own, so that the host's word is enough.
 */
static const struct {
	u32 function;
	u8 index;
	u8 reg;
	u32 bits;
} nameless_features[] = {
	/* SHA512 SM3 SM4 AVX-VNNI AVX512-BF16 CMPCCXADD FZRM FSRS FSRC AVX-IFMA */
	{ 7, 1, EAX, BIT(0) | BIT(1) | BIT(2) | BIT(7) | BIT(10) | BIT(11) | BIT(12) | BIT(23) },
	/* AVX-VNNI-INT8 AVX-NE-CONVERT AVX-VNNI-INT16 PREFETCHI */
	{ 7, 1, EDX, BIT(4) | BIT(5) | BIT(10) | BIT(14) },
	/* PSFD IPRED_CTRL RRSBA_CTRL DDPD_U BHI_CTRL (all in IA32_SPEC_CTRL) MCDT_NO */
	{ 7, 2, EDX, BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) },
	/* Invariant TSC */
	{ 0x80000007, 0, EDX, BIT(8) },
	/* IBRS_SAME_MODE PSFD */
	{ 0x80000008, 0, EBX, BIT(19) | BIT(28) },
	/* FP128 MOVU FP256 */
	{ 0x8000001a, 0, EAX, BIT(0) | BIT(1) | BIT(2) },
	/*
	 * NO_NESTED_DATA_BP LFENCE_RDTSC VERW_CLEAR NULL_SEL_CLR_BASE AUTOIBRS FSRS FSRC
	 * PREFETCHI SBPB IBPB_BRTYPE SRSO_NO SRSO_USER_KERNEL_NO
	 */
	{ 0x80000021, 0, EAX, BIT(0) | BIT(2) | BIT(5) | BIT(6) | BIT(8) | BIT(10) | BIT(11) |
			      BIT(20) | BIT(27) | BIT(28) | BIT(29) | BIT(30) },
	/* TSA_SQ_NO TSA_L1_NO */
	{ 0x80000021, 0, ECX, BIT(1) | BIT(2) },
};

/* Registers of leaf 0x80000001 that repeat leaf 1 on AMD's processors */
#define AMD_ALIASES	(BIT(X86_FEATURE_FPU) | BIT(X86_FEATURE_VME) | BIT(X86_FEATURE_DE) |	\
			 BIT(X86_FEATURE_PSE) | BIT(X86_FEATURE_TSC) | BIT(X86_FEATURE_MSR) |	\
			 BIT(X86_FEATURE_PAE) | BIT(X86_FEATURE_MCE) | BIT(X86_FEATURE_CX8) |	\
			 BIT(X86_FEATURE_APIC) | BIT(X86_FEATURE_MTRR) | BIT(X86_FEATURE_PGE) |	\
			 BIT(X86_FEATURE_MCA) | BIT(X86_FEATURE_CMOV) | BIT(X86_FEATURE_PAT) |	\
			 BIT(X86_FEATURE_PSE36) | BIT(X86_FEATURE_MMX) | BIT(X86_FEATURE_FXSR))

/*
 * Leaves that hold nothing but features that we do not have: MWAIT, performance counters, RDT, SGX,
 * processor trace, PCONFIG, hybrid, HRESET, key locker, LBR, AMX, extended counters, AVX10; SVM,
 * IBS, LWP, memory encryption, QoS, AMD's extended counters.
 */
static const u32 absent_leaves[] = {
	0x5, 0xa, 0xf, 0x10, 0x12, 0x14, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x20, 0x23, 0x24,
	0x8000000a, 0x8000001b, 0x8000001c, 0x8000001f, 0x80000020, 0x80000022, 0x80000023,
	0x80000024, 0x80000025,
};

#define BASIC_LEAVES	0x25
#define HV_LEAVES	0x12
#define EXT_LEAVES	0x28

/**
 * struct vcpu_cpuid - a vCPU's CPUID, sorted by function and index
 * @count: entries
 * @basic: position of a function's first entry, plus one; 0: it has none
 * @hv: the same for the functions from KVM_CPUID_SIGNATURE on
 * @ext: and for those from 0x80000000 on
 * @entries: the leaves
 */
struct vcpu_cpuid {
	u32 count;
	u16 basic[BASIC_LEAVES];
	u16 hv[HV_LEAVES];
	u16 ext[EXT_LEAVES];
	struct cpuid_entry entries[];
};

/* Immutable after cpuid_init(): what can be offered, and what follows from it */
static struct vcpu_cpuid *supported;
static struct cpu_features supported_features;

static u32 *reg_of(struct cpuid_entry *entry, enum cpuid_reg reg)
{
	switch (reg) {
	case EAX:
		return &entry->eax;
	case EBX:
		return &entry->ebx;
	case ECX:
		return &entry->ecx;
	default:
		return &entry->edx;
	}
}

/* ---- finding a leaf ---- */

static u16 *slot_of(struct vcpu_cpuid *table, u32 function)
{
	if (function < BASIC_LEAVES)
		return &table->basic[array_index_nospec(function, BASIC_LEAVES)];
	if (function - 0x80000000 < EXT_LEAVES)
		return &table->ext[array_index_nospec(function - 0x80000000, EXT_LEAVES)];
	if (function - KVM_CPUID_SIGNATURE < HV_LEAVES)
		return &table->hv[array_index_nospec(function - KVM_CPUID_SIGNATURE, HV_LEAVES)];
	return NULL;
}

/* The first entry of @function, or NULL */
static __always_inline struct cpuid_entry *find_function(struct vcpu_cpuid *table, u32 function)
{
	u16 *slot = slot_of(table, function);
	u32 i;

	if (likely(slot))
		return *slot ? &table->entries[*slot - 1] : NULL;
	for (i = 0; i < table->count; i++)
		if (table->entries[i].function == function)
			return &table->entries[i];
	return NULL;
}

static __always_inline struct cpuid_entry *search_leaf(struct vcpu_cpuid *table, u32 function,
						       u32 index)
{
	struct cpuid_entry *entry = find_function(table, function);

	if (!entry)
		return NULL;
	for (; entry < table->entries + table->count && entry->function == function; entry++)
		if (!(entry->flags & CPUID_HAS_INDEX) || entry->index == index)
			return entry;
	return NULL;
}

static struct cpuid_entry *find_leaf(struct vcpu_cpuid *table, u32 function, u32 index)
{
	return search_leaf(table, function, index);
}

static u32 leaf_reg(struct vcpu_cpuid *table, u32 function, u32 index, enum cpuid_reg reg)
{
	struct cpuid_entry *entry = find_leaf(table, function, index);

	return entry ? *reg_of(entry, reg) : 0;
}

static void index_table(struct vcpu_cpuid *table)
{
	u32 i;

	for (i = table->count; i-- > 0;) {
		u16 *slot = slot_of(table, table->entries[i].function);

		if (slot)
			*slot = i + 1;
	}
}

/* ---- what can be offered: built once ---- */

static struct cpuid_entry *add(u32 function, u32 index, u32 flags)
{
	struct cpuid_entry *entry = &supported->entries[supported->count];

	if (WARN_ON_ONCE(supported->count == CPUID_MAX_ENTRIES))
		return entry - 1;
	supported->count++;
	*entry = (struct cpuid_entry){ .function = function, .index = index, .flags = flags };
	return entry;
}

/* A leaf as the host has it */
static struct cpuid_entry *add_host(u32 function, u32 index, u32 flags)
{
	struct cpuid_entry *entry = add(function, index, flags);

	cpuid_count(function, index, &entry->eax, &entry->ebx, &entry->ecx, &entry->edx);
	return entry;
}

/* Caches, as seen by a processor that shares them with nobody: bits 25:14 and 31:26 of EAX */
static void add_caches(u32 function)
{
	struct cpuid_entry *entry;
	u32 index = 0;

	do {
		entry = add_host(function, index++, CPUID_HAS_INDEX);
		entry->eax &= 0x3fff;
	} while ((entry->eax & 0x1f) && index < 16);
}

/* Every vCPU is a package of its own; a VMM that wants another shape says so. */
static void add_topology(u32 function)
{
	struct cpuid_entry *entry;
	u32 level;

	for (level = 0; level < 2; level++) {
		entry = add(function, level, CPUID_HAS_INDEX);
		entry->ebx = 1;
		entry->ecx = level | (level + 1) << 8;
	}
}

static void add_xsave(void)
{
	u64 xcr0 = xstate_supported_xcr0();
	struct cpuid_entry *entry;
	u32 size, offset;
	bool aligned;
	int nr;

	if (!xcr0)
		return;
	entry = add(0xd, 0, CPUID_HAS_INDEX);
	entry->eax = xcr0;
	entry->edx = xcr0 >> 32;
	entry->ecx = xstate_size(xcr0, false);
	entry->ebx = entry->ecx;
	add(0xd, 1, CPUID_HAS_INDEX);
	for (nr = XFEATURE_YMM; nr < 63; nr++) {
		if (!xstate_component(nr, &size, &offset, &aligned))
			continue;
		entry = add(0xd, nr, CPUID_HAS_INDEX);
		entry->eax = size;
		entry->ebx = offset;
		entry->ecx = aligned ? 2 : 0;
	}
}

static void add_basic(void)
{
	bool intel = boot_cpu_data.x86_vendor == X86_VENDOR_INTEL;
	u32 host_max = cpuid_eax(0);
	struct cpuid_entry *entry;

	add_host(0, 0, 0);
	entry = add_host(1, 0, 0);
	/* The size of a cache line to flush, one logical processor; the rest is set per vCPU. */
	entry->ebx = (entry->ebx & 0xff00) | 1 << 16;
	if (intel) {
		add_host(2, 0, 0);
		add_caches(4);
	}
	add(6, 0, 0);
	entry = add(7, 0, CPUID_HAS_INDEX);
	if (host_max >= 7)
		entry->eax = min(cpuid_eax(7), 2u);
	if (entry->eax >= 1)
		add(7, 1, CPUID_HAS_INDEX);
	if (entry->eax >= 2)
		add(7, 2, CPUID_HAS_INDEX);
	add_topology(0xb);
	add_xsave();
	/* Crystal and processor frequencies */
	if (intel && host_max >= 0x15)
		add_host(0x15, 0, 0);
	if (intel && host_max >= 0x16)
		add_host(0x16, 0, 0);
	supported->entries[0].eax = supported->entries[supported->count - 1].function;
}

static void add_paravirtual(void)
{
	supported->count += pv_cpuid(&supported->entries[supported->count],
				     CPUID_MAX_ENTRIES - supported->count);
}

static void add_extended(void)
{
	u32 host_max = cpuid_eax(0x80000000);
	u32 first = supported->count;
	struct cpuid_entry *entry;
	u32 function;

	add_host(0x80000000, 0, 0);
	entry = add_host(0x80000001, 0, 0);
	entry->ebx = 0;
	/* The processor's name */
	for (function = 0x80000002; function <= 0x80000004; function++)
		add_host(function, 0, 0);
	/* First level caches and TLBs; second level and third */
	if (host_max >= 0x80000005 && boot_cpu_data.x86_vendor != X86_VENDOR_INTEL)
		add_host(0x80000005, 0, 0);
	if (host_max >= 0x80000006)
		add_host(0x80000006, 0, 0);
	add(0x80000007, 0, 0);
	entry = add_host(0x80000008, 0, 0);
	entry->eax = hw_caps.gpa_bits | (cpuid_offers_la57() ? 57 : 48) << 8;
	entry->ecx = 0;
	entry->edx = 0;
	if (boot_cpu_data.x86_vendor != X86_VENDOR_INTEL) {
		/* TLBs for 1 GiB pages, speed of vector units, caches, topology */
		if (host_max >= 0x80000019)
			add_host(0x80000019, 0, 0);
		if (host_max >= 0x8000001a)
			add(0x8000001a, 0, 0);
		if (boot_cpu_has(X86_FEATURE_TOPOEXT)) {
			add_caches(0x8000001d);
			add(0x8000001e, 0, 0);
		}
		if (host_max >= 0x80000021)
			add(0x80000021, 0, 0);
	}
	supported->entries[first].eax = supported->entries[supported->count - 1].function;
}

static bool host_has(u32 function)
{
	return function <= cpuid_eax(function & 0x80000000);
}

static u32 host_reg(u32 function, u32 index, enum cpuid_reg reg)
{
	u32 regs[4];

	if (!host_has(function))
		return 0;
	cpuid_count(function, index, &regs[EAX], &regs[EBX], &regs[ECX], &regs[EDX]);
	return regs[reg];
}

static void drop(u32 *words, u16 feature)
{
	words[feature / 32] &= ~BIT(feature % 32);
}

/* What of passed_features this host's kernel has, by word */
static void choose_features(u32 *words)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(passed_features); i++) {
		u16 feature = passed_features[i];

		/* The kernel knows of what it, firmware or the administrator took away. */
		if (boot_cpu_has(feature))
			words[feature / 32] |= BIT(feature % 32);
	}

	if (!xstate_supported_xcr0()) {
		drop(words, X86_FEATURE_XSAVE);
		drop(words, X86_FEATURE_AVX);
		words[CPUID_D_1_EAX] = 0;
	}
	if (!(xstate_supported_xcr0() & XFEATURE_MASK_PKRU))
		drop(words, X86_FEATURE_PKU);
	if (boot_cpu_has_bug(X86_BUG_TAA) || !boot_cpu_has(X86_FEATURE_RTM)) {
		drop(words, X86_FEATURE_HLE);
		drop(words, X86_FEATURE_RTM);
		drop(words, X86_FEATURE_TSXLDTRK);
	}
}

/* Every feature that the lists name, into its place */
static void add_features(void)
{
	u32 passed[NCAPINTS] = { }, emulated[NCAPINTS] = { };
	struct cpuid_entry *entry;
	int i;

	choose_features(passed);
	for (i = 0; i < ARRAY_SIZE(emulated_features); i++)
		emulated[emulated_features[i] / 32] |= BIT(emulated_features[i] % 32);

	for (i = 0; i < ARRAY_SIZE(feature_words); i++) {
		u32 function = feature_words[i].function, index = feature_words[i].index;
		u8 reg = feature_words[i].reg, word = feature_words[i].word;

		/* The kernel also adds: what it knows of otherwise, or emulates. */
		entry = find_leaf(supported, function, index);
		if (entry)
			*reg_of(entry, reg) = (passed[word] & host_reg(function, index, reg)) |
					      emulated[word];
	}
	for (i = 0; i < ARRAY_SIZE(nameless_features); i++) {
		u32 function = nameless_features[i].function, index = nameless_features[i].index;
		u8 reg = nameless_features[i].reg;

		entry = find_leaf(supported, function, index);
		if (entry)
			*reg_of(entry, reg) |= host_reg(function, index, reg) &
					       nameless_features[i].bits;
	}
	entry = find_leaf(supported, 0x80000001, 0);
	if (entry && boot_cpu_data.x86_vendor != X86_VENDOR_INTEL)
		entry->edx |= leaf_reg(supported, 1, 0, EDX) & AMD_ALIASES;
}

void cpuid_exit(void)
{
	kfree(supported);
	supported = NULL;
}

const struct cpuid_entry *cpuid_supported(u32 *count)
{
	*count = supported->count;
	return supported->entries;
}

u64 cpuid_offered_spec_ctrl(void)
{
	return supported_features.spec_ctrl_allowed;
}

bool cpuid_offers_la57(void)
{
	return boot_cpu_has(X86_FEATURE_LA57);
}

/* ---- a vCPU's table ---- */

static int compare_entries(const void *a, const void *b)
{
	const struct cpuid_entry *x = a, *y = b;

	if (x->function != y->function)
		return x->function < y->function ? -1 : 1;
	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	return 0;
}

/* Sorted, each leaf once, and a function either with sub-leaves or without */
static int check_entries(const struct cpuid_entry *entries, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++) {
		const struct cpuid_entry *entry = &entries[i];

		if (entry->flags & ~CPUID_HAS_INDEX || entry->reserved)
			return -EINVAL;
		if (!(entry->flags & CPUID_HAS_INDEX) && entry->index)
			return -EINVAL;
		if (i && entry[-1].function == entry->function &&
		    (!(entry->flags & entry[-1].flags & CPUID_HAS_INDEX) ||
		     entry[-1].index == entry->index))
			return -EINVAL;
	}
	return 0;
}

static void mask_reg(struct vcpu_cpuid *table, u32 function, u32 index, enum cpuid_reg reg)
{
	struct cpuid_entry *entry = find_leaf(table, function, index);

	if (entry)
		*reg_of(entry, reg) &= leaf_reg(supported, function, index, reg);
}

static void clear_function(struct vcpu_cpuid *table, u32 function)
{
	struct cpuid_entry *end = table->entries + table->count;
	struct cpuid_entry *entry = find_function(table, function);

	for (; entry && entry < end && entry->function == function; entry++) {
		*entry = (struct cpuid_entry){
			.function = function,
			.index = entry->index,
			.flags = entry->flags,
		};
	}
}

/* The KVM leaves, wherever a VMM put them: 0x40000000 and every 0x100 from there. Its base or 0 */
static u32 find_kvm_base(struct vcpu_cpuid *table)
{
	u32 i;

	for (i = 0; i < table->count; i++) {
		const struct cpuid_entry *entry = &table->entries[i];
		u32 name[3] = { entry->ebx, entry->ecx, entry->edx };

		if ((entry->function & 0xffff00ff) == KVM_CPUID_SIGNATURE &&
		    !memcmp(name, KVM_SIGNATURE, sizeof(name)))
			return entry->function;
	}
	return 0;
}

static u32 topology_word(u8 word)
{
	u32 bits = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(topology_features); i++)
		if (topology_features[i] / 32 == word)
			bits |= BIT(topology_features[i] % 32);
	return bits;
}

/* Take away what is not offered. */
static void mask_features(struct vcpu_cpuid *table)
{
	u32 base = find_kvm_base(table);
	struct cpuid_entry *entry;
	int i;

	for (i = 0; i < ARRAY_SIZE(feature_words); i++) {
		u32 function = feature_words[i].function, index = feature_words[i].index;
		u8 reg = feature_words[i].reg;

		entry = find_leaf(table, function, index);
		if (entry)
			*reg_of(entry, reg) &= leaf_reg(supported, function, index, reg) |
					       topology_word(feature_words[i].word);
	}
	for (i = 0; i < ARRAY_SIZE(nameless_features); i++)
		mask_reg(table, nameless_features[i].function, nameless_features[i].index,
			 nameless_features[i].reg);

	mask_reg(table, 6, 0, ECX);
	mask_reg(table, 7, 1, EBX);
	mask_reg(table, 7, 1, ECX);
	mask_reg(table, 0xd, 0, EAX);
	mask_reg(table, 0xd, 0, EDX);
	mask_reg(table, 0xd, 1, ECX);
	mask_reg(table, 0xd, 1, EDX);
	mask_reg(table, 0x80000007, 0, EAX);
	mask_reg(table, 0x80000007, 0, EBX);
	mask_reg(table, 0x80000007, 0, ECX);

	for (i = 0; i < ARRAY_SIZE(absent_leaves); i++)
		clear_function(table, absent_leaves[i]);

	/* Guest-physical addresses are no wider than what the second level translates. */
	entry = find_leaf(table, 0x80000008, 0);
	if (entry && (entry->eax & 0xff) > hw_caps.gpa_bits)
		entry->eax = (entry->eax & ~0xffu) | hw_caps.gpa_bits;

	entry = base ? find_leaf(table, base + 1, 0) : NULL;
	if (entry)
		entry->eax &= leaf_reg(supported, KVM_CPUID_FEATURES, 0, EAX);
}

static bool vendor_is(struct vcpu_cpuid *table, const char *name)
{
	u32 vendor[3] = {
		leaf_reg(table, 0, 0, EBX), leaf_reg(table, 0, 0, EDX), leaf_reg(table, 0, 0, ECX),
	};

	return !memcmp(vendor, name, sizeof(vendor));
}

/* A table's registers with features, by the kernel's words */
static void table_words(struct vcpu_cpuid *table, u32 *words)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(feature_words); i++)
		words[feature_words[i].word] = leaf_reg(table, feature_words[i].function,
							feature_words[i].index,
							feature_words[i].reg);
}

static bool has(const u32 *words, u16 feature)
{
	return words[feature / 32] & BIT(feature % 32);
}

static u64 allowed_cr4(const u32 *words)
{
	static const struct {
		u16 feature;
		u32 cr4;
	} needs[] = {
		{ X86_FEATURE_VME, X86_CR4_VME | X86_CR4_PVI },
		{ X86_FEATURE_TSC, X86_CR4_TSD },
		{ X86_FEATURE_DE, X86_CR4_DE },
		{ X86_FEATURE_PSE, X86_CR4_PSE },
		{ X86_FEATURE_PAE, X86_CR4_PAE },
		{ X86_FEATURE_MCE, X86_CR4_MCE },
		{ X86_FEATURE_PGE, X86_CR4_PGE },
		{ X86_FEATURE_FXSR, X86_CR4_OSFXSR },
		{ X86_FEATURE_XMM, X86_CR4_OSXMMEXCPT },
		{ X86_FEATURE_UMIP, X86_CR4_UMIP },
		{ X86_FEATURE_LA57, X86_CR4_LA57 },
		{ X86_FEATURE_FSGSBASE, X86_CR4_FSGSBASE },
		{ X86_FEATURE_PCID, X86_CR4_PCIDE },
		{ X86_FEATURE_XSAVE, X86_CR4_OSXSAVE },
		{ X86_FEATURE_SMEP, X86_CR4_SMEP },
		{ X86_FEATURE_SMAP, X86_CR4_SMAP },
		{ X86_FEATURE_PKU, X86_CR4_PKE },
	};
	u64 cr4 = X86_CR4_PCE;
	int i;

	for (i = 0; i < ARRAY_SIZE(needs); i++)
		if (has(words, needs[i].feature))
			cr4 |= needs[i].cr4;
	return cr4;
}

/* Bits of EFER that the kernel's headers of some releases lack */
#define EFER_BIT_TCE		BIT_ULL(15)
#define EFER_BIT_AUTOIBRS	BIT_ULL(21)

static u64 allowed_efer(struct vcpu_cpuid *table, const u32 *words)
{
	u64 efer = 0;

	if (has(words, X86_FEATURE_SYSCALL))
		efer |= EFER_SCE;
	if (has(words, X86_FEATURE_LM))
		efer |= EFER_SCE | EFER_LME | EFER_LMA;
	if (has(words, X86_FEATURE_NX))
		efer |= EFER_NX;
	if (has(words, X86_FEATURE_FXSR_OPT))
		efer |= EFER_FFXSR;
	if (has(words, X86_FEATURE_TCE))
		efer |= EFER_BIT_TCE;
	if (leaf_reg(table, 0x80000021, 0, EAX) & BIT(8))
		efer |= EFER_BIT_AUTOIBRS;
	return efer;
}

/* IA32_SPEC_CTRL: SDM vol. 4 table 2-2, AMD's "Speculation Control" papers. 0: no such MSR */
static u64 allowed_spec_ctrl(struct vcpu_cpuid *table, const u32 *words)
{
	u32 more = leaf_reg(table, 7, 2, EDX);
	u64 bits = 0;

	if (has(words, X86_FEATURE_SPEC_CTRL) || has(words, X86_FEATURE_AMD_IBRS))
		bits |= SPEC_CTRL_IBRS;
	if (has(words, X86_FEATURE_INTEL_STIBP) || has(words, X86_FEATURE_AMD_STIBP))
		bits |= SPEC_CTRL_STIBP;
	if (has(words, X86_FEATURE_SPEC_CTRL_SSBD) || has(words, X86_FEATURE_AMD_SSBD))
		bits |= SPEC_CTRL_SSBD;
	if ((more & BIT(0)) || leaf_reg(table, 0x80000008, 0, EBX) & BIT(28))
		bits |= BIT_ULL(7);			/* PSFD */
	if (more & BIT(1))
		bits |= BIT_ULL(3) | BIT_ULL(4);	/* IPRED_DIS_U, IPRED_DIS_S */
	if (more & BIT(2))
		bits |= BIT_ULL(5) | BIT_ULL(6);	/* RRSBA_DIS_U, RRSBA_DIS_S */
	if (more & BIT(3))
		bits |= BIT_ULL(8);			/* DDPD_U */
	if (more & BIT(4))
		bits |= BIT_ULL(10);			/* BHI_DIS_S */
	return bits;
}

static u64 allowed_pred_cmd(struct vcpu_cpuid *table, const u32 *words)
{
	u64 bits = 0;

	if (has(words, X86_FEATURE_SPEC_CTRL) || has(words, X86_FEATURE_AMD_IBPB))
		bits |= PRED_CMD_IBPB;
	if (leaf_reg(table, 0x80000021, 0, EAX) & BIT(27))
		bits |= BIT_ULL(7);			/* SBPB */
	return bits;
}

static void compute_features(struct cpu_features *f, struct vcpu_cpuid *table)
{
	u32 base = find_kvm_base(table);
	u32 words[NCAPINTS] = { };
	u32 width;

	table_words(table, words);
	memset(f, 0, sizeof(*f));
	f->amd = vendor_is(table, "AuthenticAMD") || vendor_is(table, "HygonGenuine");
	f->cr4_allowed = allowed_cr4(words);
	f->efer_allowed = allowed_efer(table, words);
	f->xcr0_allowed = XFEATURE_MASK_FP;
	f->xsave = has(words, X86_FEATURE_XSAVE);
	if (f->xsave)
		f->xcr0_allowed |= leaf_reg(table, 0xd, 0, EAX) |
				   (u64)leaf_reg(table, 0xd, 0, EDX) << 32;
	f->xsaves = f->xsave && has(words, X86_FEATURE_XSAVES);
	f->spec_ctrl_allowed = allowed_spec_ctrl(table, words);
	f->spec_ctrl = f->spec_ctrl_allowed;
	f->pred_cmd_allowed = allowed_pred_cmd(table, words);
	f->flush_cmd_allowed = has(words, X86_FEATURE_FLUSH_L1D) ? L1D_FLUSH : 0;
	f->pv = base ? leaf_reg(table, base + 1, 0, EAX) : 0;
	f->nx = has(words, X86_FEATURE_NX);
	f->gbpages = has(words, X86_FEATURE_GBPAGES);
	f->long_mode = has(words, X86_FEATURE_LM);
	f->la57 = has(words, X86_FEATURE_LA57);
	f->x2apic = has(words, X86_FEATURE_X2APIC);
	f->tsc_deadline = has(words, X86_FEATURE_TSC_DEADLINE_TIMER);
	f->tsc_adjust = has(words, X86_FEATURE_TSC_ADJUST);
	f->rdtscp = has(words, X86_FEATURE_RDTSCP);
	f->tsc_aux = f->rdtscp || has(words, X86_FEATURE_RDPID);
	f->arch_capabilities = has(words, X86_FEATURE_ARCH_CAPABILITIES);

	width = leaf_reg(table, 0x80000008, 0, EAX) & 0xff;
	if (!width)
		width = has(words, X86_FEATURE_PAE) ? 36 : 32;
	f->gpa_bits = min(width, hw_caps.gpa_bits);
}

int cpuid_init(void)
{
	supported = kzalloc(struct_size(supported, entries, CPUID_MAX_ENTRIES), GFP_KERNEL);
	if (!supported)
		return -ENOMEM;
	add_basic();
	add_paravirtual();
	add_extended();
	index_table(supported);
	add_features();
	compute_features(&supported_features, supported);
	return 0;
}

/* A copy of @entries, sorted */
static struct vcpu_cpuid *make_table(const struct cpuid_entry *entries, u32 count)
{
	struct vcpu_cpuid *table;
	int ret;

	table = kzalloc(struct_size(table, entries, count), GFP_KERNEL_ACCOUNT);
	if (!table)
		return ERR_PTR(-ENOMEM);
	table->count = count;
	memcpy(table->entries, entries, count * sizeof(*entries));
	sort(table->entries, count, sizeof(*entries), compare_entries, NULL);
	ret = check_entries(table->entries, count);
	if (ret) {
		kfree(table);
		return ERR_PTR(ret);
	}
	index_table(table);
	return table;
}

int cpuid_set(struct vcpu *vcpu, const struct cpuid_entry *entries, u32 count)
{
	struct vcpu_cpuid *table;

	if (count > CPUID_MAX_ENTRIES)
		return -E2BIG;
	table = make_table(entries, count);
	if (IS_ERR(table))
		return PTR_ERR(table);

	mask_features(table);
	compute_features(&vcpu->features, table);
	kfree(vcpu->cpuid);
	vcpu->cpuid = table;
	msr_update_intercepts(vcpu);
	hw->update_exits(vcpu);
	return 0;
}

int cpuid_set_default(struct vcpu *vcpu)
{
	struct vcpu_cpuid *table;
	struct cpuid_entry *entry;
	u32 level;

	table = kmemdup(supported, struct_size(supported, entries, supported->count),
			GFP_KERNEL_ACCOUNT);
	if (!table)
		return -ENOMEM;

	entry = find_leaf(table, 1, 0);
	if (entry)
		entry->ebx |= vcpu->id << 24;
	for (level = 0; level < 2; level++) {
		entry = find_leaf(table, 0xb, level);
		if (entry)
			entry->edx = vcpu->id;
	}
	entry = find_leaf(table, 0x8000001e, 0);
	if (entry)
		entry->eax = vcpu->id;
	vcpu->cpuid = table;
	vcpu->features = supported_features;
	return 0;
}

u32 cpuid_get(const struct vcpu *vcpu, struct cpuid_entry *entries, u32 max)
{
	const struct vcpu_cpuid *table = vcpu->cpuid;

	memcpy(entries, table->entries, min(max, table->count) * sizeof(*entries));
	return table->count;
}

void cpuid_free(struct vcpu *vcpu)
{
	kfree(vcpu->cpuid);
	vcpu->cpuid = NULL;
}

u32 cpuid_signature(const struct vcpu *vcpu)
{
	return leaf_reg(vcpu->cpuid, 1, 0, EAX);
}

/* ---- the instruction ---- */

/* The highest leaf that the range of @function has, for Intel's rule about leaves beyond it */
static bool beyond_limit(struct vcpu_cpuid *table, u32 function)
{
	u32 base = function & 0xc0000000;

	if (base == KVM_CPUID_SIGNATURE)
		base = function & 0xffffff00;
	return function > leaf_reg(table, base, 0, EAX);
}

/* Bits that follow the vCPU's state rather than the table */
static void apply_state(struct vcpu *vcpu, struct cpuid_entry *leaf)
{
	u64 xcr0;

	switch (leaf->function) {
	case 1:
		if ((leaf->ecx & BIT(X86_FEATURE_XSAVE % 32)) && (vcpu->cr4 & X86_CR4_OSXSAVE))
			leaf->ecx |= BIT(X86_FEATURE_OSXSAVE % 32);
		if (vcpu->lapic && !lapic_enabled(vcpu))
			leaf->edx &= ~BIT(X86_FEATURE_APIC % 32);
		break;
	case 7:
		if (!leaf->index && (vcpu->cr4 & X86_CR4_PKE))
			leaf->ecx |= BIT(X86_FEATURE_OSPKE % 32);
		break;
	case 0xd:
		xcr0 = xstate_xcr0(vcpu);
		if (leaf->index == 0)
			leaf->ebx = xstate_size(xcr0, false);
		else if (leaf->index == 1 && (leaf->eax & (BIT(X86_FEATURE_XSAVEC % 32) |
							   BIT(X86_FEATURE_XSAVES % 32))))
			leaf->ebx = xstate_size(xcr0 | xstate_xss(vcpu), true);
		break;
	case 0x80000001:
		if (vcpu->lapic && !lapic_enabled(vcpu))
			leaf->edx &= ~BIT(X86_FEATURE_APIC % 32);
		/* Intel's CPUs have SYSCALL in 64-bit mode alone. */
		if (!vcpu->features.amd && state_code_size(vcpu) != 8)
			leaf->edx &= ~BIT(X86_FEATURE_SYSCALL % 32);
		break;
	}
}

/* A sub-leaf behind the last one of a topology leaf still says which processor this is. */
static void absent_subleaf(struct vcpu_cpuid *table, struct cpuid_entry *leaf)
{
	if (leaf->function != 0xb && leaf->function != 0x1f)
		return;
	if (!find_function(table, leaf->function))
		return;
	leaf->ecx = leaf->index & 0xff;
	leaf->edx = leaf_reg(table, leaf->function, 0, EDX);
}

/* Does apply_state() change anything in this leaf? */
static __always_inline bool follows_state(u32 function)
{
	return function == 1 || function == 7 || function == 0xd || function == 0x80000001;
}

static noinline void exec_slowly(struct vcpu *vcpu)
{
	struct vcpu_cpuid *table = vcpu->cpuid;
	u64 *gpr = vcpu->regs.gpr;
	struct cpuid_entry leaf = {
		.function = gpr[CPU_RAX],
		.index = gpr[CPU_RCX],
	};
	struct cpuid_entry *entry;

	entry = find_leaf(table, leaf.function, leaf.index);
	if (!entry && !vcpu->features.amd && beyond_limit(table, leaf.function)) {
		leaf.function = leaf_reg(table, 0, 0, EAX);
		entry = find_leaf(table, leaf.function, leaf.index);
	}
	if (entry) {
		leaf = *entry;
		apply_state(vcpu, &leaf);
	} else {
		absent_subleaf(table, &leaf);
	}
	gpr[CPU_RAX] = leaf.eax;
	gpr[CPU_RBX] = leaf.ebx;
	gpr[CPU_RCX] = leaf.ecx;
	gpr[CPU_RDX] = leaf.edx;
}

void cpuid_exec(struct vcpu *vcpu)
{
	u64 *gpr = vcpu->regs.gpr;
	const struct cpuid_entry *leaf;

	leaf = search_leaf(vcpu->cpuid, gpr[CPU_RAX], gpr[CPU_RCX]);
	if (unlikely(!leaf || follows_state(leaf->function))) {
		exec_slowly(vcpu);
		return;
	}
	gpr[CPU_RAX] = leaf->eax;
	gpr[CPU_RBX] = leaf->ebx;
	gpr[CPU_RCX] = leaf->ecx;
	gpr[CPU_RDX] = leaf->edx;
}
