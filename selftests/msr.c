// SPDX-License-Identifier: GPL-2.0-only
/*
 * Model-specific registers: what an operating system finds, what values the
 * CPU refuses, and the VMM's policy.
 */
#include <pthread.h>
#include <unistd.h>

#include "insn.h"
#include "kselftest_harness.h"
#include "vmmtest.h"

#define GP			13

#define TSC			0x10
#define APIC_BASE		0x1b
#define TSC_ADJUST		0x3b
#define SPEC_CTRL		0x48
#define PRED_CMD		0x49
#define UCODE_REV		0x8b
#define MTRRCAP			0xfe
#define FLUSH_CMD		0x10b
#define SYSENTER_CS		0x174
#define SYSENTER_ESP		0x175
#define SYSENTER_EIP		0x176
#define MCG_CAP			0x179
#define MCG_STATUS		0x17a
#define MCG_CTL			0x17b
#define MISC_ENABLE		0x1a0
#define DEBUGCTL		0x1d9
#define MTRR_BASE0		0x200
#define MTRR_MASK0		0x201
#define MTRR_FIX64K		0x250
#define MISC_FEATURES_ENABLES	0x140
#define PAT			0x277
#define MTRR_DEF		0x2ff
#define TSC_DEADLINE		0x6e0
#define XSS			0xda0
#define EFER			0xc0000080
#define STAR			0xc0000081
#define LSTAR			0xc0000082
#define CSTAR			0xc0000083
#define SFMASK			0xc0000084
#define FS_BASE			0xc0000100
#define GS_BASE			0xc0000101
#define KERNEL_GS_BASE		0xc0000102
#define TSC_AUX			0xc0000103
#define HWCR			0xc0010015
#define DE_CFG			0xc0011029

FIXTURE(msr) {
	struct vm *vm;
	struct vcpu *vcpu;
	int mark;
};

FIXTURE_SETUP(msr)
{
	self->mark = host_log_mark();
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	vcpu_set_mode(self->vcpu, MODE_LONG);
}

FIXTURE_TEARDOWN(msr)
{
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

static bool is_amd(const struct vm *vm)
{
	return vm->info.vendor == VMM_VENDOR_AMD;
}

static bool offers(struct vm *vm, u32 function, int reg, int bit)
{
	u32 count;
	struct vmm_cpuid_entry *entries = get_supported_cpuid(vm->dev, &count);
	struct vmm_cpuid_entry *e = find_cpuid(entries, count, function, 0);

	return e && (&e->eax)[reg] & 1U << bit;
}

/* What the guest writes the VMM reads, and the other way round. */
TEST_F(msr, shared_with_the_vmm)
{
	static const struct {
		u32 index;
		u64 a, b;
	} msrs[] = {
		{ STAR, 0x0023001000000000, 0x123456789abcdef0 },
		{ LSTAR, 0xffffffff81000000, 0x7fffffffffff },
		{ CSTAR, 0xffff800000000000, 0x1000 },
		{ SFMASK, 0x47700, 0x200 },
		{ KERNEL_GS_BASE, 0xffff888012345678, 0x7f0000000000 },
		{ FS_BASE, 0x7f1122334455, 0xffff800000001000 },
		{ GS_BASE, 0xffff888000000000, 0x2000 },
		{ SYSENTER_CS, 0x10, 0x33 },
		{ SYSENTER_ESP, 0x12345678, 0x80000000 },
		{ SYSENTER_EIP, 0x87654321, 0x1000 },
		{ PAT, 0x0007010600070106, 0x0606060606060606 },
		{ MTRR_DEF, 0xc06, 0x800 },
		{ MTRR_BASE0, 0x80000006, 0x100000001 },
		{ MTRR_MASK0, 0xf80000800, 0xff0000800 },
		{ MTRR_BASE0 + 14, 0xe0000000, 4 },
		{ MTRR_FIX64K, 0x0606060606060606, 0x0505050504040101 },
		{ 0x26f, 0x0505050505050505, 0 },
		{ TSC_AUX, 0x1234, 0xffffffff },
		{ MCG_STATUS, 0x4, 0x0 },
		{ DEBUGCTL, 1, 2 },
	};
	u64 data;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		u32 index = msrs[i].index;

		EXPECT_EQ(0, guest_wrmsr(self->vcpu, index, msrs[i].a)) TH_LOG("%#x", index);
		EXPECT_EQ(0, vcpu_get_msr(self->vcpu, index, &data)) TH_LOG("%#x", index);
		EXPECT_EQ(msrs[i].a, data) TH_LOG("%#x", index);
		EXPECT_EQ(0, vcpu_set_msr(self->vcpu, index, msrs[i].b)) TH_LOG("%#x", index);
		EXPECT_EQ(0, guest_rdmsr(self->vcpu, index, &data)) TH_LOG("%#x", index);
		EXPECT_EQ(msrs[i].b, data) TH_LOG("%#x", index);
	}
}

/* The group and the numbers are the same registers. */
TEST_F(msr, as_a_group)
{
	struct vmm_msr_state *m = &self->vcpu->state.msrs;
	u64 data;

	ASSERT_EQ(0, guest_wrmsr(self->vcpu, LSTAR, 0xffffffff80001000));
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, KERNEL_GS_BASE, 0xffff888000001000));
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, PAT, 0x0007010600070106));
	vcpu_get(self->vcpu, VMM_STATE_MSRS);
	EXPECT_EQ(0xffffffff80001000, m->lstar);
	EXPECT_EQ(0xffff888000001000, m->kernel_gs_base);
	EXPECT_EQ(0x0007010600070106, m->pat);
	m->star = 0x0033002300000000;
	m->tsc_aux = 77;
	m->mtrr_var[3] = 0x800;
	m->mtrr_fixed[10] = 0x0404040404040404;
	vcpu_set(self->vcpu, VMM_STATE_MSRS);
	EXPECT_EQ(0, guest_rdmsr(self->vcpu, STAR, &data));
	EXPECT_EQ(0x0033002300000000, data);
	EXPECT_EQ(0, guest_rdmsr(self->vcpu, TSC_AUX, &data));
	EXPECT_EQ(77, data);
	EXPECT_EQ(0, guest_rdmsr(self->vcpu, MTRR_BASE0 + 3, &data));
	EXPECT_EQ(0x800, data);
	EXPECT_EQ(0, guest_rdmsr(self->vcpu, 0x26f, &data));
	EXPECT_EQ(0x0404040404040404, data);
}

TEST_F(msr, refused_values)
{
	u64 beyond = 1ULL << self->vm->info.gpa_bits;
	const struct {
		u32 index;
		u64 data;
	} msrs[] = {
		{ PAT, 0x0007040600070402 },
		{ PAT, 0x0307040600070406 },
		{ PAT, 0x0007080600070406 },
		{ MTRR_DEF, 0x2 },
		{ MTRR_DEF, 0x806 | 1 << 8 },
		{ MTRR_DEF, 1ULL << 32 },
		{ MTRR_BASE0, 0x2 },
		{ MTRR_BASE0, 0x106 },
		{ MTRR_BASE0, beyond },
		{ MTRR_MASK0, 0x400 },
		{ MTRR_MASK0, beyond | 0x800 },
		{ MTRR_FIX64K, 0x0606060306060606 },
		{ EFER, 1 << 1 },
		{ EFER, 1ULL << 40 },
		{ EFER, EFER_SVME | EFER_LME | EFER_NXE },
		{ EFER, 0 },			/* LME, while paging is on */
		{ MCG_STATUS, 0x8 },
		{ MTRRCAP, 0x508 },
		{ MCG_CAP, 0 },
		{ MCG_CTL, ~0ULL },
		{ 0x17, 0 },			/* PLATFORM_ID */
		{ 0x3a, 1 },			/* FEATURE_CONTROL is locked */
		{ 0x34, 0 },			/* SMI_COUNT */
		{ DEBUGCTL, 1 << 6 },
		{ PRED_CMD, 1 << 1 },
		{ FLUSH_CMD, 1 << 1 },
		{ XSS, 1 << 8 },
		{ SPEC_CTRL, 1ULL << 63 },
		{ HWCR, 1ULL << 63 },
	};
	u64 before, after;
	u32 i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		ret = vcpu_get_msr(self->vcpu, msrs[i].index, &before);
		EXPECT_EQ(GP, guest_wrmsr(self->vcpu, msrs[i].index, msrs[i].data))
			TH_LOG("%#x = %#llx", msrs[i].index, msrs[i].data);
		EXPECT_EQ(0, guest_trap(self->vm)->error);
		EXPECT_EQ(CODE_GPA, guest_trap(self->vm)->rip);
		if (ret)
			continue;
		EXPECT_EQ(0, vcpu_get_msr(self->vcpu, msrs[i].index, &after));
		EXPECT_EQ(before, after) TH_LOG("%#x", msrs[i].index);
	}
}

/* Addresses that are not canonical. The guest writes these without an exit: the CPU checks. */
TEST_F(msr, refused_addresses)
{
	static const struct {
		u32 index;
		u64 data;
	} msrs[] = {
		{ LSTAR, 0x0100000000000000 },
		{ CSTAR, 0x8000000000000000 },
		{ KERNEL_GS_BASE, 0x1000000000000000 },
		{ FS_BASE, 0x01ff800000000000 },
		{ GS_BASE, 0xfe00000000000000 },
	};
	bool skipped = false;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		EXPECT_EQ(-EINVAL, vcpu_set_msr(self->vcpu, msrs[i].index, msrs[i].data))
			TH_LOG("%#x", msrs[i].index);
		if (guest_wrmsr(self->vcpu, msrs[i].index, msrs[i].data) != GP)
			skipped = true;
	}
	if (skipped)
		SKIP(return, "this CPU does not look at addresses");
}

/* Whatever a guest has got there, on a CPU that does not look, can be given back. */
TEST_F(msr, addresses_as_state)
{
	static const u32 msrs[] = { LSTAR, CSTAR, KERNEL_GS_BASE, FS_BASE, GS_BASE };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		guest_wrmsr(self->vcpu, msrs[i], 0x0100000000000000);
		vcpu_get(self->vcpu, VMM_STATE_MSRS | VMM_STATE_SEGMENTS);
		EXPECT_EQ(0, vcpu_try_set(self->vcpu, VMM_STATE_MSRS | VMM_STATE_SEGMENTS))
			TH_LOG("%#x", msrs[i]);
	}
}

/* What kernels read without looking first, on either vendor's CPUs */
TEST_F(msr, there_for_an_os)
{
	static const u32 both[] = {
		0x0, 0x1, 0x17, 0x2a, UCODE_REV, MTRRCAP, MCG_CAP, MCG_STATUS, 0xce, 0x140, 0x198,
		MISC_ENABLE, DEBUGCTL, 0x1db, 0x1dc, PAT, MTRR_DEF, TSC, EFER, 0x34,
	};
	static const u32 amd[] = {
		0xc0010000, 0xc0010003, 0xc0010004, 0xc0010007, 0xc0010010, HWCR, 0xc0010016,
		0xc0010019, 0xc001001a, 0xc001001d, 0xc001001f, 0xc0010055, 0xc0010058, 0xc0010112,
		0xc0010113, 0xc0010114, 0xc0011020, 0xc0011021, 0xc0011022, DE_CFG, 0xc001102a,
	};
	static const u32 amd_writable[] = {
		0xc0010000, 0xc0010004, 0xc0010010, 0xc001001f, 0xc0010020, 0xc0011020, 0xc0011022,
		DE_CFG,
	};
	u64 data;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(both); i++) {
		EXPECT_EQ(0, guest_rdmsr(self->vcpu, both[i], &data))
			TH_LOG("%#x", both[i]);
	}
	for (i = 0; i < ARRAY_SIZE(amd); i++) {
		EXPECT_EQ(is_amd(self->vm) ? 0 : GP, guest_rdmsr(self->vcpu, amd[i], &data))
			TH_LOG("%#x", amd[i]);
	}
	for (i = 0; i < ARRAY_SIZE(amd_writable); i++) {
		EXPECT_EQ(is_amd(self->vm) ? 0 : GP,
			  guest_wrmsr(self->vcpu, amd_writable[i], 0x1234))
			TH_LOG("%#x", amd_writable[i]);
	}
	/* Microcode: Linux's way to read Intel's, and to load any. */
	EXPECT_EQ(is_amd(self->vm) ? GP : 0, guest_wrmsr(self->vcpu, UCODE_REV, 0));
	/* An OS writes back what it has read. */
	EXPECT_EQ(0, guest_wrmsr(self->vcpu, MISC_FEATURES_ENABLES, 0));
	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, MISC_FEATURES_ENABLES, 1));
	EXPECT_EQ(0, guest_wrmsr(self->vcpu, 0x79, 0x1000));
}

/* Without a LAPIC in the kernel its registers are the VMM's; with one they are there. */
TEST_F(msr, of_the_lapic)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u64 data;

	vcpu_set_mode(vcpu, MODE_LONG);
	EXPECT_EQ(GP, guest_rdmsr(self->vcpu, APIC_BASE, &data));
	EXPECT_EQ(GP, guest_rdmsr(self->vcpu, TSC_DEADLINE, &data));
	EXPECT_EQ(GP, guest_rdmsr(self->vcpu, 0x802, &data));
	EXPECT_EQ(0, guest_rdmsr(vcpu, APIC_BASE, &data));
	EXPECT_EQ(0xfee00900, data);
	EXPECT_EQ(0, guest_rdmsr(vcpu, TSC_DEADLINE, &data));
	EXPECT_EQ(0, data);
	/* x2APIC registers exist in that mode alone. */
	EXPECT_EQ(GP, guest_rdmsr(vcpu, 0x802, &data));
	EXPECT_EQ(0, guest_wrmsr(vcpu, APIC_BASE, 0xfee00d00));
	EXPECT_EQ(0, guest_rdmsr(vcpu, 0x802, &data));
	EXPECT_EQ(0, data);
	vm_destroy(vm);
}

TEST_F(msr, speculation)
{
	bool ibpb = offers(self->vm, 0x80000008, 1, 12) || offers(self->vm, 7, 3, 26);
	u64 data;

	if (offers(self->vm, 0x80000008, 1, 14) || offers(self->vm, 7, 3, 26)) {
		EXPECT_EQ(0, guest_wrmsr(self->vcpu, SPEC_CTRL, 1));
		EXPECT_EQ(0, guest_rdmsr(self->vcpu, SPEC_CTRL, &data));
		EXPECT_EQ(1, data);
		EXPECT_EQ(0, vcpu_get_msr(self->vcpu, SPEC_CTRL, &data));
		EXPECT_EQ(1, data);
		EXPECT_EQ(0, guest_wrmsr(self->vcpu, SPEC_CTRL, 0));
		EXPECT_EQ(0, guest_rdmsr(self->vcpu, SPEC_CTRL, &data));
		EXPECT_EQ(0, data);
	} else {
		EXPECT_EQ(GP, guest_rdmsr(self->vcpu, SPEC_CTRL, &data));
	}
	EXPECT_EQ(ibpb ? 0 : GP, guest_wrmsr(self->vcpu, PRED_CMD, 1));
	/* A command cannot be read. */
	EXPECT_EQ(GP, guest_rdmsr(self->vcpu, PRED_CMD, &data));
}

/*
 * What the guest is not shown can be in IA32_SPEC_CTRL all the same, once it writes there without
 * an exit: it can be restored then. By itself it does not come to that.
 */
TEST_F(msr, speculation_unseen)
{
	static const struct {
		u8 leaf_7, ext_8;	/* bits of EDX and of EBX */
	} bits[] = { { 26, 14 }, { 27, 15 }, { 31, 24 } };
	struct vmm_cpuid_entry *entries, *leaf_7, *ext_8;
	u32 count, i, hidden = 0, offered = 0;
	u64 data;

	entries = get_supported_cpuid(self->vm->dev, &count);
	leaf_7 = find_cpuid(entries, count, 7, 0);
	ext_8 = find_cpuid(entries, count, 0x80000008, 0);
	for (i = 0; i < ARRAY_SIZE(bits); i++)
		if ((leaf_7 && leaf_7->edx & 1U << bits[i].leaf_7) ||
		    (ext_8 && ext_8->ebx & 1U << bits[i].ext_8))
			offered |= 1 << i;
	if (__builtin_popcount(offered) < 2) {
		free(entries);
		SKIP(return, "this CPU does not offer two bits of SPEC_CTRL");
	}
	/* The highest of them */
	for (i = 0; i < ARRAY_SIZE(bits); i++)
		if (offered & 1 << i)
			hidden = i;
	if (leaf_7)
		leaf_7->edx &= ~(1U << bits[hidden].leaf_7);
	if (ext_8)
		ext_8->ebx &= ~(1U << bits[hidden].ext_8);
	ASSERT_EQ(0, vcpu_set_cpuid(self->vcpu, entries, count));
	free(entries);

	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, SPEC_CTRL, 1 << hidden));
	EXPECT_EQ(0, vcpu_set_msr(self->vcpu, SPEC_CTRL, 1 << hidden));
	EXPECT_EQ(0, vcpu_get_msr(self->vcpu, SPEC_CTRL, &data));
	EXPECT_EQ(1 << hidden, data);
	vcpu_get(self->vcpu, VMM_STATE_MSRS);
	EXPECT_EQ(1 << hidden, self->vcpu->state.msrs.spec_ctrl);
	EXPECT_EQ(0, vcpu_try_set(self->vcpu, VMM_STATE_MSRS));
	self->vcpu->state.msrs.spec_ctrl = 0;
	EXPECT_EQ(0, vcpu_try_set(self->vcpu, VMM_STATE_MSRS));
	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, SPEC_CTRL, 1 << hidden));
	self->vcpu->state.msrs.spec_ctrl = 1 << hidden;
	EXPECT_EQ(0, vcpu_try_set(self->vcpu, VMM_STATE_MSRS));
	EXPECT_EQ(0, guest_rdmsr(self->vcpu, SPEC_CTRL, &data));
	EXPECT_EQ(1 << hidden, data);
	/* What nobody can have is still refused. */
	for (i = 0; i < ARRAY_SIZE(bits); i++)
		if (!(offered & 1 << i))
			EXPECT_EQ(-EINVAL, vcpu_set_msr(self->vcpu, SPEC_CTRL, 1 << i));
	EXPECT_EQ(-EINVAL, vcpu_set_msr(self->vcpu, SPEC_CTRL, 1 << 9));
	EXPECT_EQ(-EINVAL, vcpu_set_msr(self->vcpu, SPEC_CTRL, 1ULL << 63));
	self->vcpu->state.msrs.spec_ctrl |= 1 << 9;
	EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_MSRS));
	EXPECT_EQ(0, vcpu_get_msr(self->vcpu, SPEC_CTRL, &data));
	EXPECT_EQ(1 << hidden, data);
}

/* SDM vol. 3 18.17.3: writing one of the two moves the other. */
TEST_F(msr, tsc_and_adjust)
{
	u64 before, after, adjust, step = 1ULL << 40;

	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC_ADJUST, &adjust));
	EXPECT_EQ(0, adjust);
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC, &before));
	EXPECT_LT(before, step);
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, TSC, before + step));
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC, &after));
	EXPECT_GE(after, before + step);
	EXPECT_LT(after, before + step + step / 2);
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC_ADJUST, &adjust));
	/* Less what passed between the reading and the writing */
	EXPECT_LE(adjust, step);
	EXPECT_GT(adjust, step / 2);

	ASSERT_EQ(0, guest_wrmsr(self->vcpu, TSC_ADJUST, adjust + step));
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC, &before));
	EXPECT_GE(before, after + step);
	EXPECT_LT(before, after + step + step / 2);
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, TSC_ADJUST, 0));
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC, &after));
	EXPECT_LT(after, step);

	/* The VMM sets each for itself. */
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, TSC, step));
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC, &after));
	EXPECT_GE(after, step);
	EXPECT_LT(after, step + step / 2);
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC_ADJUST, &adjust));
	EXPECT_EQ(0, adjust);
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, TSC_ADJUST, 0x77));
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC, &before));
	EXPECT_LT(before, step + step / 2);
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC_ADJUST, &adjust));
	EXPECT_EQ(0x77, adjust);
}

/* RDTSC and RDMSR tell one time, and RDTSCP the processor. */
TEST_F(msr, rdtsc)
{
	struct vmm_regs *regs = &self->vcpu->state.regs;
	u64 a, b, c, offset = 5ULL << 40;

	ASSERT_EQ(0, guest_wrmsr(self->vcpu, TSC, offset));
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC, &a));
	vcpu_get(self->vcpu, VMM_STATE_REGS);
	ASSERT_EQ(0, guest_exec(self->vcpu, "\x0f\x31", 2));
	b = (u32)regs->gpr[VMM_RAX] | regs->gpr[VMM_RDX] << 32;
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC, &c));
	EXPECT_LE(a, b);
	EXPECT_LE(b, c);
	EXPECT_GE(a, offset);
	vcpu_get(self->vcpu, VMM_STATE_MSRS);
	self->vcpu->state.msrs.tsc_offset += offset;
	vcpu_set(self->vcpu, VMM_STATE_MSRS);
	ASSERT_EQ(0, guest_rdmsr(self->vcpu, TSC, &a));
	EXPECT_GE(a, c + offset);

	if (!offers(self->vm, 0x80000001, 3, 27))
		return;
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, TSC_AUX, 0xabcd));
	vcpu_get(self->vcpu, VMM_STATE_REGS);
	ASSERT_EQ(0, guest_exec(self->vcpu, "\x0f\x01\xf9", 3));
	EXPECT_EQ(0xabcd, regs->gpr[VMM_RCX]);
}

/* A vCPU that is made later has the time of the first. */
TEST_F(msr, tsc_of_all_vcpus)
{
	struct vcpu *second;
	u64 a, b, c;

	ASSERT_EQ(0, guest_wrmsr(self->vcpu, TSC, 1ULL << 44));
	usleep(10000);
	second = vcpu_create(self->vm, 1);
	ASSERT_EQ(0, vcpu_get_msr(self->vcpu, TSC, &a));
	ASSERT_EQ(0, vcpu_get_msr(second, TSC, &b));
	ASSERT_EQ(0, vcpu_get_msr(self->vcpu, TSC, &c));
	EXPECT_LE(a, b);
	EXPECT_LE(b, c);
}

/* ---- the policy ---- */

static void set_policy(struct vm *vm, u32 flags, const struct vmm_msr_range *ranges, u32 count)
{
	struct vmm_msr_policy policy = {
		.size = sizeof(policy), .flags = flags, .count = count,
		.ranges = (uintptr_t)ranges,
	};
	int ret = do_ioctl(vm->fd, VMM_SET_MSR_POLICY, &policy);

	if (ret)
		fail("VMM_SET_MSR_POLICY: %s", strerror(-ret));
}

#define UNKNOWN_MSR	0x12345

TEST_F(msr, unknown)
{
	struct vmm_exit *e = &self->vcpu->run->exit;
	u64 *gpr = self->vcpu->state.regs.gpr;
	u64 data;

	EXPECT_EQ(GP, guest_rdmsr(self->vcpu, UNKNOWN_MSR, &data));
	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, UNKNOWN_MSR, 1));
	EXPECT_EQ(-ENOENT, vcpu_get_msr(self->vcpu, UNKNOWN_MSR, &data));
	EXPECT_EQ(-ENOENT, vcpu_set_msr(self->vcpu, UNKNOWN_MSR, 1));

	set_policy(self->vm, VMM_MSR_POLICY_UNKNOWN_EXIT, NULL, 0);
	EXPECT_EQ(-VMM_EXIT_MSR, guest_rdmsr(self->vcpu, UNKNOWN_MSR, &data));
	EXPECT_EQ(UNKNOWN_MSR, e->msr.index);
	EXPECT_EQ(0, e->msr.write);
	EXPECT_EQ(1, e->msr.unknown);
	EXPECT_EQ(CODE_GPA, e->rip);
	EXPECT_EQ(CODE_GPA + 2, e->next_rip);
	e->msr.data = 0x1122334455667788;
	run_done(self->vcpu);
	vcpu_get(self->vcpu, VMM_STATE_REGS);
	EXPECT_EQ(0x55667788, gpr[VMM_RAX]);
	EXPECT_EQ(0x11223344, gpr[VMM_RDX]);

	EXPECT_EQ(-VMM_EXIT_MSR, guest_wrmsr(self->vcpu, UNKNOWN_MSR, 0xaabbccdd11223344));
	EXPECT_EQ(1, e->msr.write);
	EXPECT_EQ(0xaabbccdd11223344, e->msr.data);
	run_done(self->vcpu);

	/* The VMM may say that it does not exist. */
	EXPECT_EQ(-VMM_EXIT_MSR, guest_rdmsr(self->vcpu, UNKNOWN_MSR, &data));
	e->msr.fault = 1;
	run_vector(self->vcpu, GP);
	EXPECT_EQ(CODE_GPA, guest_trap(self->vm)->rip);
	vcpu_set_mode(self->vcpu, MODE_LONG);
	EXPECT_EQ(-VMM_EXIT_MSR, guest_wrmsr(self->vcpu, UNKNOWN_MSR, 1));
	e->msr.fault = 1;
	run_vector(self->vcpu, GP);
	EXPECT_EQ(CODE_GPA, guest_trap(self->vm)->rip);
	vcpu_set_mode(self->vcpu, MODE_LONG);

	/* A bad value of a known one is no business of the VMM's. */
	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, PAT, 2));
	set_policy(self->vm, 0, NULL, 0);
	EXPECT_EQ(GP, guest_rdmsr(self->vcpu, UNKNOWN_MSR, &data));
}

TEST_F(msr, ranges)
{
	static const struct vmm_msr_range ranges[] = {
		{ LSTAR, 1, VMM_MSR_WRITE, VMM_MSR_DENY },
		{ STAR, 3, VMM_MSR_READ, VMM_MSR_EXIT },
		{ LSTAR, 1, VMM_MSR_READ | VMM_MSR_WRITE, VMM_MSR_EXIT },
		{ PAT, 1, VMM_MSR_READ | VMM_MSR_WRITE, VMM_MSR_DENY },
		{ 0xffffffff, 1, VMM_MSR_READ, VMM_MSR_EXIT },
		{ 0, 1, VMM_MSR_WRITE, VMM_MSR_EXIT },
	};
	struct vmm_exit *e = &self->vcpu->run->exit;
	u64 data;

	/* These go without an exit before. */
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, LSTAR, 0x1000));
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, SFMASK, 0x200));
	set_policy(self->vm, 0, ranges, ARRAY_SIZE(ranges));
	/* The first that matches decides. */
	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, LSTAR, 0x2000));
	EXPECT_EQ(-VMM_EXIT_MSR, guest_rdmsr(self->vcpu, LSTAR, &data));
	EXPECT_EQ(0, e->msr.unknown);
	e->msr.data = 0x7777;
	run_done(self->vcpu);
	vcpu_get(self->vcpu, VMM_STATE_REGS);
	EXPECT_EQ(0x7777, self->vcpu->state.regs.gpr[VMM_RAX]);
	EXPECT_EQ(-VMM_EXIT_MSR, guest_rdmsr(self->vcpu, CSTAR, &data));
	run_done(self->vcpu);
	EXPECT_EQ(0, guest_wrmsr(self->vcpu, CSTAR, 0x3000));
	EXPECT_EQ(0, guest_wrmsr(self->vcpu, SFMASK, 0x300));
	EXPECT_EQ(0, guest_rdmsr(self->vcpu, SFMASK, &data));
	EXPECT_EQ(GP, guest_rdmsr(self->vcpu, PAT, &data));
	EXPECT_EQ(-VMM_EXIT_MSR, guest_rdmsr(self->vcpu, 0xffffffff, &data));
	run_done(self->vcpu);
	EXPECT_EQ(-VMM_EXIT_MSR, guest_wrmsr(self->vcpu, 0, 5));
	run_done(self->vcpu);
	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, 1, 5));

	/* The VMM itself is not held by its policy. */
	EXPECT_EQ(0, vcpu_get_msr(self->vcpu, LSTAR, &data));
	EXPECT_EQ(0x1000, data);
	EXPECT_EQ(0, vcpu_set_msr(self->vcpu, PAT, 0x0606060606060606));

	set_policy(self->vm, 0, NULL, 0);
	EXPECT_EQ(0, guest_wrmsr(self->vcpu, LSTAR, 0x2000));
	EXPECT_EQ(0, guest_rdmsr(self->vcpu, LSTAR, &data));
	EXPECT_EQ(0x2000, data);
	EXPECT_EQ(0, guest_rdmsr(self->vcpu, PAT, &data));
}

/* x2APIC registers are the LAPIC's own. */
TEST_F(msr, ranges_and_the_lapic)
{
	struct vmm_msr_range range = { 0x7ff, 2, VMM_MSR_READ, VMM_MSR_EXIT };
	struct vmm_msr_policy policy = {
		.size = sizeof(policy), .count = 1, .ranges = (uintptr_t)&range,
	};
	struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);

	EXPECT_EQ(0, do_ioctl(self->vm->fd, VMM_SET_MSR_POLICY, &policy));
	EXPECT_EQ(-EINVAL, do_ioctl(vm->fd, VMM_SET_MSR_POLICY, &policy));
	range.base = 0x8ff;
	EXPECT_EQ(-EINVAL, do_ioctl(vm->fd, VMM_SET_MSR_POLICY, &policy));
	range.base = 0x900;
	EXPECT_EQ(0, do_ioctl(vm->fd, VMM_SET_MSR_POLICY, &policy));
	range.base = 0x7fe;
	EXPECT_EQ(0, do_ioctl(vm->fd, VMM_SET_MSR_POLICY, &policy));
	vm_destroy(vm);
}

/* A policy that changes while the guest runs holds for it too. */
GUEST_CODE(keeps_reading, 64,
	   "mov $0xc0000082, %ecx\n"
	   "1: out %al, $PORT_VALUE\n"
	   "2: rdmsr\n"
	   "mov $1000, %ebx; 3: dec %ebx; jnz 3b\n"
	   "jmp 2b\n");

struct setter {
	struct vm *vm;
	const struct vmm_msr_range *range;
};

static void *set_later(void *arg)
{
	struct setter *setter = arg;

	usleep(50000);
	set_policy(setter->vm, 0, setter->range, 1);
	return NULL;
}

TEST_F(msr, policy_reaches_a_running_guest)
{
	static const struct vmm_msr_range range = { LSTAR, 1, VMM_MSR_READ, VMM_MSR_EXIT };
	struct setter setter = { self->vm, &range };
	pthread_t thread;

	vcpu_load(self->vcpu, MODE_LONG, keeps_reading);
	run_value(self->vcpu);
	ASSERT_EQ(0, pthread_create(&thread, NULL, set_later, &setter));
	run_until(self->vcpu, VMM_EXIT_MSR);
	EXPECT_EQ(LSTAR, self->vcpu->run->exit.msr.index);
	pthread_join(thread, NULL);
}

TEST_HARNESS_MAIN
