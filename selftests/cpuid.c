// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID: what is offered, what a VMM sets, what the guest then sees.
 */
/* hosts: smp deterministic */
#include <cpuid.h>

#include "insn.h"
#include "kselftest_harness.h"
#include "vmmtest.h"

FIXTURE(cpuid) {
	struct vm *vm;
	struct vcpu *vcpu;
	struct vmm_cpuid_entry *entries;
	u32 count;
};

FIXTURE_SETUP(cpuid)
{
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	vcpu_set_mode(self->vcpu, MODE_LONG);
	self->entries = get_supported_cpuid(self->vm->dev, &self->count);
}

FIXTURE_TEARDOWN(cpuid)
{
	vm_destroy(self->vm);
}

#define find(self, function, index)						\
	find_cpuid((self)->entries, (self)->count, function, index)

TEST_F(cpuid, offered)
{
	struct vmm_cpuid_entry *e = find(self, 0, 0);
	u32 eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	ASSERT_NE(NULL, e);
	EXPECT_EQ(ebx, e->ebx);
	EXPECT_EQ(ecx, e->ecx);
	EXPECT_EQ(edx, e->edx);

	__cpuid(1, eax, ebx, ecx, edx);
	e = find(self, 1, 0);
	ASSERT_NE(NULL, e);
	EXPECT_EQ(eax, e->eax);
	/* HYPERVISOR, X2APIC, TSC_DEADLINE are ours on any host. */
	EXPECT_EQ(1U << 31 | 1 << 24 | 1 << 21, e->ecx & (1U << 31 | 1 << 24 | 1 << 21));
	/* FPU TSC MSR PAE CX8 APIC CMOV FXSR SSE SSE2 */
	EXPECT_EQ(0x07008371, e->edx & 0x07008371);
	/* MONITOR VMX SMX EST PDCM, and what follows from state: OSXSAVE */
	EXPECT_EQ(0, e->ecx & (1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 15 | 1 << 27));
	/* DS ACPI TM PBE */
	EXPECT_EQ(0, e->edx & (1 << 21 | 1 << 22 | 1 << 29 | 1U << 31));

	e = find(self, 7, 0);
	ASSERT_NE(NULL, e);
	EXPECT_EQ(1 << 1, e->ebx & 1 << 1);		/* TSC_ADJUST */
	/* SGX MPX RDT PT */
	EXPECT_EQ(0, e->ebx & (1 << 2 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 25));
	/* OSPKE WAITPKG CET_SS TME KEYLOCKER ENQCMD PKS */
	EXPECT_EQ(0, e->ecx & (1 << 4 | 1 << 5 | 1 << 7 | 1 << 13 | 1 << 23 | 1 << 29 | 1U << 31));
	/* UINTR PCONFIG ARCH_LBR CET_IBT AMX */
	EXPECT_EQ(0, e->edx & (1 << 5 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 22 | 1 << 24 | 1 << 25));

	e = find(self, 0x80000001, 0);
	ASSERT_NE(NULL, e);
	EXPECT_EQ(1 << 29, e->edx & 1 << 29);		/* LM */
	/* SVM IBS SKINIT WDT LWP PERFCTR_CORE PERFCTR_NB BPEXT PERFCTR_LLC MWAITX */
	EXPECT_EQ(0, e->ecx & (1 << 2 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 15 | 1 << 23 | 1 << 24 |
			       1 << 26 | 1 << 28 | 1 << 29));

	e = find(self, 0x40000000, 0);
	ASSERT_NE(NULL, e);
	EXPECT_EQ(0, memcmp(&e->ebx, "KVMKVMKVM\0\0\0", 12));
	e = find(self, 0x80000008, 0);
	ASSERT_NE(NULL, e);
	EXPECT_EQ(self->vm->info.gpa_bits, e->eax & 0xff);
}

/* No feature that this host's CPU lacks is offered, but for those that are ours. */
TEST_F(cpuid, host_has_what_is_offered)
{
	static const struct {
		u32 function, index;
		u32 ours[4];
	} words[] = {
		{ 1, 0, { ~0U, ~0U, 1U << 31 | 1 << 24 | 1 << 21, 1 << 9 | 1 << 12 | 1 << 16 } },
		{ 7, 0, { ~0U, 1 << 1 } },
		{ 7, 1 },
		{ 0xd, 1, { 0, ~0U } },
		/* AMD repeats leaf 1 in it. */
		{ 0x80000001, 0, { ~0U, ~0U, 0, 0x0183f3ff } },
		{ 0x80000007, 0 },
		{ 0x80000008, 0, { ~0U } },
		{ 0x80000021, 0 },
	};
	u32 host[4];
	unsigned int i, r;

	for (i = 0; i < ARRAY_SIZE(words); i++) {
		struct vmm_cpuid_entry *e = find(self, words[i].function, words[i].index);

		if (!e)
			continue;
		__cpuid_count(words[i].function, words[i].index, host[0], host[1], host[2],
			      host[3]);
		for (r = 0; r < 4; r++) {
			EXPECT_EQ(0, (&e->eax)[r] & ~host[r] & ~words[i].ours[r])
				TH_LOG("leaf %#x.%u, register %u", e->function, e->index, r);
		}
	}
}

/* Registers that follow the vCPU's state, or may */
static bool is_dynamic(const struct vmm_cpuid_entry *e)
{
	return e->function == 1 || e->function == 7 || e->function == 0xd ||
	       e->function == 0x80000001;
}

TEST_F(cpuid, guest_sees_the_table)
{
	u32 i;

	for (i = 0; i < self->count; i++) {
		struct vmm_cpuid_entry *e = &self->entries[i];
		struct cpuid_regs got;

		if (is_dynamic(e))
			continue;
		got = guest_cpuid(self->vcpu, e->function, e->index);
		EXPECT_EQ(e->eax, got.eax) TH_LOG("leaf %#x.%u", e->function, e->index);
		EXPECT_EQ(e->ebx, got.ebx) TH_LOG("leaf %#x.%u", e->function, e->index);
		EXPECT_EQ(e->ecx, got.ecx) TH_LOG("leaf %#x.%u", e->function, e->index);
		EXPECT_EQ(e->edx, got.edx) TH_LOG("leaf %#x.%u", e->function, e->index);
		/* A leaf without sub-leaves is the same for any. */
		if (e->flags & VMM_CPUID_INDEX)
			continue;
		got = guest_cpuid(self->vcpu, e->function, 0x12345);
		EXPECT_EQ(e->eax, got.eax) TH_LOG("leaf %#x", e->function);
	}
}

TEST_F(cpuid, table_is_sorted_and_read_back)
{
	struct vmm_cpuid_entry in[] = {
		{ 0x80000000, 0, 0, 0x80000000, 1, 2, 3 },
		{ 4, 1, VMM_CPUID_INDEX, 0x11, 0x12, 0x13, 0x14 },
		{ 0, 0, 0, 0x10, 5, 6, 7 },
		{ 4, 0, VMM_CPUID_INDEX, 0x21, 0x22, 0x23, 0x24 },
	};
	static const int order[] = { 2, 3, 1, 0 };
	struct vmm_cpuid_entry *out;
	u32 count, i;

	ASSERT_EQ(0, vcpu_set_cpuid(self->vcpu, in, ARRAY_SIZE(in)));
	out = vcpu_get_cpuid(self->vcpu, &count);
	ASSERT_EQ(ARRAY_SIZE(in), count);
	for (i = 0; i < count; i++)
		EXPECT_EQ(0, memcmp(&in[order[i]], &out[i], sizeof(*out)));
}

TEST_F(cpuid, wrong_tables)
{
	struct vmm_cpuid_entry twice[] = { { 1 }, { 1 } };
	struct vmm_cpuid_entry flags[] = { { 1, 0, 2 } };
	struct vmm_cpuid_entry reserved[] = { { .function = 1, .reserved = 1 } };
	struct vmm_cpuid_entry index[] = { { 1, 5, 0 } };
	struct vmm_cpuid_entry mixed[] = { { 4, 0, 0 }, { 4, 1, VMM_CPUID_INDEX } };
	struct vmm_cpuid_entry same[] = {
		{ 4, 1, VMM_CPUID_INDEX }, { 4, 0, VMM_CPUID_INDEX }, { 4, 1, VMM_CPUID_INDEX },
	};
	static struct vmm_cpuid_entry many[300];
	struct vmm_cpuid_entry *before, *after;
	u32 count, i;

	before = vcpu_get_cpuid(self->vcpu, &count);
	EXPECT_EQ(-EINVAL, vcpu_set_cpuid(self->vcpu, twice, 2));
	EXPECT_EQ(-EINVAL, vcpu_set_cpuid(self->vcpu, flags, 1));
	EXPECT_EQ(-EINVAL, vcpu_set_cpuid(self->vcpu, reserved, 1));
	EXPECT_EQ(-EINVAL, vcpu_set_cpuid(self->vcpu, index, 1));
	EXPECT_EQ(-EINVAL, vcpu_set_cpuid(self->vcpu, mixed, 2));
	EXPECT_EQ(-EINVAL, vcpu_set_cpuid(self->vcpu, same, 3));
	for (i = 0; i < ARRAY_SIZE(many); i++)
		many[i].function = 0x100 + i;
	EXPECT_EQ(-E2BIG, vcpu_set_cpuid(self->vcpu, many, ARRAY_SIZE(many)));
	after = vcpu_get_cpuid(self->vcpu, &i);
	ASSERT_EQ(count, i);
	EXPECT_EQ(0, memcmp(before, after, count * sizeof(*after)));
	EXPECT_EQ(0, vcpu_set_cpuid(self->vcpu, many, 256));
	EXPECT_EQ(0, vcpu_set_cpuid(self->vcpu, NULL, 0));
}

/* Leaf 1, EDX, and leaf 0x80000001, ECX: topology */
#define HTT		(1 << 28)
#define CMP_LEGACY	(1 << 1)

/* A vCPU is a package of its own until the VMM says otherwise, on a host of whatever shape. */
TEST_F(cpuid, topology_is_the_vmms)
{
	struct vmm_cpuid_entry *basic = find(self, 1, 0), *extended = find(self, 0x80000001, 0);
	struct cpuid_regs got;

	ASSERT_TRUE(basic && extended);
	EXPECT_EQ(1, basic->ebx >> 16 & 0xff);
	EXPECT_EQ(0, basic->edx & HTT);
	EXPECT_EQ(0, extended->ecx & CMP_LEGACY);
	got = guest_cpuid(self->vcpu, 1, 0);
	EXPECT_EQ(0, got.edx & HTT);

	basic->ebx = 3 << 24 | 4 << 16 | (basic->ebx & 0xff00);
	basic->edx |= HTT;
	extended->ecx |= CMP_LEGACY;
	ASSERT_EQ(0, vcpu_set_cpuid(self->vcpu, self->entries, self->count));
	got = guest_cpuid(self->vcpu, 1, 0);
	EXPECT_EQ(basic->ebx, got.ebx);
	EXPECT_EQ(HTT, got.edx & HTT);
	got = guest_cpuid(self->vcpu, 0x80000001, 0);
	EXPECT_EQ(CMP_LEGACY, got.ecx & CMP_LEGACY);
}

/* Whatever a VMM claims, a feature that is not offered is not there. */
TEST_F(cpuid, nothing_shines_through)
{
	static const u32 zero[] = {
		5, 0xa, 0xf, 0x10, 0x12, 0x14, 0x19, 0x1c, 0x1d, 0x1e, 0x23, 0x24, 0x8000000a,
		0x8000001b, 0x8000001c, 0x8000001f, 0x80000022,
	};
	struct vmm_cpuid_entry all[64], *e;
	struct cpuid_regs got;
	u32 n = 0, i;

#define ALL(f, ix, fl) (all[n++] = (struct vmm_cpuid_entry) { f, ix, fl, ~0U, ~0U, ~0U, ~0U })
	ALL(0, 0, 0);
	ALL(1, 0, 0);
	ALL(7, 0, VMM_CPUID_INDEX);
	ALL(7, 1, VMM_CPUID_INDEX);
	ALL(7, 2, VMM_CPUID_INDEX);
	ALL(0xd, 0, VMM_CPUID_INDEX);
	ALL(0xd, 1, VMM_CPUID_INDEX);
	ALL(0x80000000, 0, 0);
	ALL(0x80000001, 0, 0);
	ALL(0x80000007, 0, 0);
	ALL(0x80000008, 0, 0);
	ALL(0x80000021, 0, 0);
	for (i = 0; i < ARRAY_SIZE(zero); i++)
		ALL(zero[i], 0, 0);
	ASSERT_EQ(0, vcpu_set_cpuid(self->vcpu, all, n));

#define OFFERED(f, ix, reg) ((e = find(self, f, ix)) ? e->reg : 0)
	got = guest_cpuid(self->vcpu, 1, 0);
	EXPECT_EQ(OFFERED(1, 0, ecx), got.ecx);
	EXPECT_EQ(OFFERED(1, 0, edx) | HTT, got.edx);
	got = guest_cpuid(self->vcpu, 7, 0);
	EXPECT_EQ(OFFERED(7, 0, ebx), got.ebx);
	EXPECT_EQ(OFFERED(7, 0, ecx), got.ecx);
	EXPECT_EQ(OFFERED(7, 0, edx), got.edx);
	got = guest_cpuid(self->vcpu, 7, 1);
	EXPECT_EQ(OFFERED(7, 1, eax), got.eax);
	EXPECT_EQ(OFFERED(7, 1, edx), got.edx);
	got = guest_cpuid(self->vcpu, 7, 2);
	EXPECT_EQ(OFFERED(7, 2, edx), got.edx);
	got = guest_cpuid(self->vcpu, 0xd, 0);
	EXPECT_EQ(self->vm->info.xcr0, got.eax | (u64)got.edx << 32);
	got = guest_cpuid(self->vcpu, 0xd, 1);
	EXPECT_EQ(OFFERED(0xd, 1, eax), got.eax);
	EXPECT_EQ(0, got.ecx | got.edx);
	got = guest_cpuid(self->vcpu, 0x80000001, 0);
	EXPECT_EQ(OFFERED(0x80000001, 0, ecx) | CMP_LEGACY, got.ecx);
	EXPECT_EQ(OFFERED(0x80000001, 0, edx), got.edx);
	got = guest_cpuid(self->vcpu, 0x80000007, 0);
	EXPECT_EQ(0, got.eax | got.ebx | got.ecx);
	EXPECT_EQ(OFFERED(0x80000007, 0, edx), got.edx);
	got = guest_cpuid(self->vcpu, 0x80000008, 0);
	EXPECT_EQ(self->vm->info.gpa_bits, got.eax & 0xff);
	EXPECT_EQ(OFFERED(0x80000008, 0, ebx), got.ebx);
	got = guest_cpuid(self->vcpu, 0x80000021, 0);
	EXPECT_EQ(OFFERED(0x80000021, 0, eax), got.eax);
	for (i = 0; i < ARRAY_SIZE(zero); i++) {
		got = guest_cpuid(self->vcpu, zero[i], 0);
		EXPECT_EQ(0, got.eax | got.ebx | got.ecx | got.edx) TH_LOG("leaf %#x", zero[i]);
	}
}

/* A leaf beyond the highest: zeros on AMD, the highest basic one on Intel. By the table's vendor */
TEST_F(cpuid, beyond_the_limit)
{
	struct vmm_cpuid_entry table[] = {
		{ 0, 0, 0, 3, 0x68747541, 0x444d4163, 0x69746e65 },	/* "AuthenticAMD" */
		{ 1, 0, 0, 0x600, 0, 0, ~0U },
		{ 3, 0, 0, 0x1111, 0x2222, 0x3333, 0x4444 },
		{ 0x80000000, 0, 0, 0x80000001, 5, 6, 7 },
		{ 0x80000001, 0, 0, 0, 0, 0, ~0U },
	};
	static const u32 beyond[] = {
		4, 0x20, 0x3fffffff, 0x40000000, 0x80000055, 0xc0000000, ~0U,
	};
	struct cpuid_regs got;
	unsigned int i;

	ASSERT_EQ(0, vcpu_set_cpuid(self->vcpu, table, ARRAY_SIZE(table)));
	for (i = 0; i < ARRAY_SIZE(beyond); i++) {
		got = guest_cpuid(self->vcpu, beyond[i], 0);
		EXPECT_EQ(0, got.eax | got.ebx | got.ecx | got.edx) TH_LOG("leaf %#x", beyond[i]);
	}

	/* "GenuineIntel" */
	table[0].ebx = 0x756e6547;
	table[0].edx = 0x49656e69;
	table[0].ecx = 0x6c65746e;
	ASSERT_EQ(0, vcpu_set_cpuid(self->vcpu, table, ARRAY_SIZE(table)));
	for (i = 0; i < ARRAY_SIZE(beyond); i++) {
		got = guest_cpuid(self->vcpu, beyond[i], 0);
		EXPECT_EQ(0x1111, got.eax) TH_LOG("leaf %#x", beyond[i]);
		EXPECT_EQ(0x2222, got.ebx) TH_LOG("leaf %#x", beyond[i]);
		EXPECT_EQ(0x3333, got.ecx) TH_LOG("leaf %#x", beyond[i]);
		EXPECT_EQ(0x4444, got.edx) TH_LOG("leaf %#x", beyond[i]);
	}
	/* In the range, but not there */
	got = guest_cpuid(self->vcpu, 2, 0);
	EXPECT_EQ(0, got.eax | got.ebx | got.ecx | got.edx);
}

/* A vCPU whose VMM sets no table */
TEST_F(cpuid, default_table)
{
	struct vcpu *vcpu = vcpu_create_bare(self->vm, 0x23);
	struct vmm_cpuid_entry *e, *entries;
	struct cpuid_regs got;
	u32 count, i;

	entries = vcpu_get_cpuid(vcpu, &count);
	EXPECT_EQ(self->count, count);
	for (i = 0; i < count; i++) {
		e = &entries[i];
		EXPECT_EQ(self->entries[i].function, e->function);
		EXPECT_EQ(self->entries[i].eax | (e->function == 0x8000001e ? 0x23 : 0), e->eax);
		EXPECT_EQ(self->entries[i].ecx, e->ecx);
	}
	vcpu_set_mode(vcpu, MODE_LONG);
	got = guest_cpuid(vcpu, 1, 0);
	EXPECT_EQ(0x23, got.ebx >> 24);
	got = guest_cpuid(vcpu, 0xb, 0);
	EXPECT_EQ(0x23, got.edx);
	got = guest_cpuid(vcpu, 0xb, 7);
	EXPECT_EQ(0, got.eax);
	EXPECT_EQ(7, got.ecx);
	EXPECT_EQ(0x23, got.edx);
}

TEST_F(cpuid, osxsave_and_sizes)
{
	struct vcpu *vcpu = self->vcpu;
	struct cpuid_regs got;
	u64 cr4;

	got = guest_cpuid(vcpu, 1, 0);
	EXPECT_EQ(0, got.ecx & 1 << 27);
	if (!(self->vm->info.caps & VMM_CAP_XSAVE))
		SKIP(return, "this host has no XSAVE");

	ASSERT_EQ(0, guest_read_cr(vcpu, 4, &cr4));
	ASSERT_EQ(0, guest_write_cr(vcpu, 4, cr4 | CR4_OSXSAVE));
	got = guest_cpuid(vcpu, 1, 0);
	EXPECT_EQ(1 << 27, got.ecx & 1 << 27);
	got = guest_cpuid(vcpu, 0xd, 0);
	EXPECT_EQ(576, got.ebx);
	EXPECT_EQ(self->vm->info.xsave_size, got.ecx);
	ASSERT_EQ(0, guest_xsetbv(vcpu, 0, self->vm->info.xcr0));
	got = guest_cpuid(vcpu, 0xd, 0);
	EXPECT_EQ(self->vm->info.xsave_size, got.ebx);
	ASSERT_EQ(0, guest_xsetbv(vcpu, 0, 1));
	got = guest_cpuid(vcpu, 0xd, 0);
	EXPECT_EQ(576, got.ebx);
}

TEST(apic_bit)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u64 base;

	vcpu_set_mode(vcpu, MODE_LONG);
	EXPECT_EQ(1 << 9, guest_cpuid(vcpu, 1, 0).edx & 1 << 9);
	ASSERT_EQ(0, guest_rdmsr(vcpu, 0x1b, &base));
	ASSERT_EQ(0, guest_wrmsr(vcpu, 0x1b, base & ~(1ULL << 11)));
	EXPECT_EQ(0, guest_cpuid(vcpu, 1, 0).edx & 1 << 9);
	EXPECT_EQ(0, guest_cpuid(vcpu, 0x80000001, 0).edx & 1 << 9);
	ASSERT_EQ(0, guest_wrmsr(vcpu, 0x1b, base));
	EXPECT_EQ(1 << 9, guest_cpuid(vcpu, 1, 0).edx & 1 << 9);
	vm_destroy(vm);
}

/* What the table takes away, CR4 and EFER do not have. */
TEST_F(cpuid, decides_what_registers_hold)
{
	struct vmm_cpuid_entry *e;
	u64 cr4, efer;

	ASSERT_EQ(0, guest_read_cr(self->vcpu, 4, &cr4));
	ASSERT_EQ(0, guest_write_cr(self->vcpu, 4, cr4 | CR4_PGE));
	ASSERT_EQ(0, guest_write_cr(self->vcpu, 4, cr4));
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, 0xc0000080, &efer));
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, 0xc0000080, efer | EFER_NXE));
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, 0xc0000080, efer & ~EFER_NXE));

	e = find(self, 1, 0);
	e->edx &= ~(1 << 13);
	e = find(self, 0x80000001, 0);
	e->edx &= ~(1 << 13 | 1 << 20);
	ASSERT_EQ(0, vcpu_set_cpuid(self->vcpu, self->entries, self->count));
	EXPECT_EQ(13, guest_write_cr(self->vcpu, 4, cr4 | CR4_PGE));
	EXPECT_EQ(13, guest_wrmsr(self->vcpu, 0xc0000080, efer | EFER_NXE));
	EXPECT_EQ(0, guest_wrmsr(self->vcpu, 0xc0000080, efer & ~EFER_NXE));
}

TEST_F(cpuid, syscall_bit_by_mode)
{
	bool compat;

	EXPECT_EQ(1 << 11, guest_cpuid(self->vcpu, 0x80000001, 0).edx & 1 << 11);
	vcpu_set_mode(self->vcpu, MODE_COMPAT);
	compat = guest_cpuid(self->vcpu, 0x80000001, 0).edx & 1 << 11;
	EXPECT_EQ(self->vm->info.vendor != VMM_VENDOR_INTEL, compat);
}

TEST_HARNESS_MAIN
