// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMM_TRANSLATE: what the guest's page tables say, in every mode, with the
 * fault that the guest would get, and without a trace in its tables.
 */
#include "kselftest_harness.h"
#include "vmmtest.h"

FIXTURE(translate) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(translate)
{
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(translate)
{
	vm_destroy(self->vm);
}

#define RD	VMM_ACCESS_READ
#define WR	VMM_ACCESS_WRITE
#define EX	VMM_ACCESS_EXEC
#define USER	VMM_ACCESS_USER

static struct vmm_translate translate(struct vcpu *vcpu, u64 gva, u32 access)
{
	struct vmm_translate t = { .size = sizeof(t), .gva = gva, .access = access };
	int ret = do_ioctl(vcpu->fd, VMM_TRANSLATE, &t);

	if (ret)
		fail("VMM_TRANSLATE of %#llx: %s", gva, strerror(-ret));
	return t;
}

static void expect_gpa_at(struct __test_metadata *_metadata, struct vcpu *vcpu, u64 gpa, u64 gva,
			  u32 access, int line)
{
	struct vmm_translate t = translate(vcpu, gva, access);

	EXPECT_EQ(0, t.fault) TH_LOG("in line %d", line);
	EXPECT_EQ(gpa, t.gpa) TH_LOG("in line %d", line);
}

static void expect_fault_at(struct __test_metadata *_metadata, struct vcpu *vcpu, u32 vector,
			    u32 error, u64 gva, u32 access, int line)
{
	struct vmm_translate t = translate(vcpu, gva, access);

	EXPECT_EQ(1, t.fault) TH_LOG("in line %d", line);
	EXPECT_EQ(vector, t.vector) TH_LOG("in line %d", line);
	EXPECT_EQ(error, t.error) TH_LOG("in line %d", line);
}

#define expect_gpa(gpa, gva, access) \
	expect_gpa_at(_metadata, vcpu, gpa, gva, access, __LINE__)
#define expect_fault(vector, error, gva, access) \
	expect_fault_at(_metadata, vcpu, vector, error, gva, access, __LINE__)

TEST_F(translate, without_paging)
{
	struct vcpu *vcpu = self->vcpu;

	vcpu_load_code(vcpu, MODE_REAL, "", 0);
	expect_gpa(0x12345, 0x12345, RD);
	vcpu_load_code(vcpu, MODE_PROTECTED, "", 0);
	expect_gpa(0x12345678, 0x12345678, RD | WR);
	expect_gpa(0xfffffff0, 0xfffffff0, EX);
}

static void check_paged(struct __test_metadata *_metadata, struct vcpu *vcpu,
			enum guest_mode mode)
{
	struct vm *vm = vcpu->vm;

	TH_LOG("%s mode", mode_names[mode]);
	vcpu_load_code(vcpu, mode, "", 0);
	/* A large page, a small one, one that is not there */
	expect_gpa(0x789abc, 0x789abc, RD | WR | USER);
	guest_map(vm, 0x400000, 0x5000, PTE_P | PTE_RW | PTE_US);
	expect_gpa(0x5123, 0x400123, RD | WR | USER);
	expect_gpa(0x401123, 0x401123, RD);
	guest_map(vm, 0x401000, 0, 0);
	expect_fault(14, 0, 0x401123, RD);
	expect_fault(14, 2, 0x401123, WR);
	expect_fault(14, 4, 0x401123, RD | USER);
	expect_fault(14, 6, 0x401123, WR | USER);

	/* Permissions: WP is on. */
	guest_map(vm, 0x402000, 0x6000, PTE_P | PTE_US);
	expect_gpa(0x6123, 0x402123, RD | USER);
	expect_fault(14, 3, 0x402123, WR);
	expect_fault(14, 7, 0x402123, WR | USER);
	guest_map(vm, 0x403000, 0x7000, PTE_P | PTE_RW);
	expect_gpa(0x7123, 0x403123, WR);
	expect_fault(14, 5, 0x403123, RD | USER);

	/* Without it the supervisor writes where the page says read-only. */
	vcpu_get(vcpu, VMM_STATE_CONTROL);
	vcpu->state.control.cr0 &= ~CR0_WP;
	vcpu_set(vcpu, VMM_STATE_CONTROL);
	expect_gpa(0x6123, 0x402123, WR);
	expect_fault(14, 7, 0x402123, WR | USER);

	/* Nothing was marked as accessed or written. */
	EXPECT_EQ(0, guest_u32(vm, guest_pte(vm, 0x400000)) & (PTE_A | PTE_D));
	EXPECT_EQ(0, guest_u32(vm, TABLES_GPA) & PTE_A);
}

TEST_F(translate, paged)
{
	check_paged(_metadata, self->vcpu, MODE_PAGED);
}

TEST_F(translate, pae)
{
	check_paged(_metadata, self->vcpu, MODE_PAE);
}

TEST_F(translate, long_mode)
{
	check_paged(_metadata, self->vcpu, MODE_LONG);
	check_paged(_metadata, self->vcpu, MODE_COMPAT);
}

TEST_F(translate, five_levels)
{
	if (!mode_supported(self->vm, MODE_LA57))
		SKIP(return, "this host has no 5-level paging");
	check_paged(_metadata, self->vcpu, MODE_LA57);
}

TEST_F(translate, no_execute)
{
	struct vcpu *vcpu = self->vcpu;
	struct vm *vm = self->vm;

	vcpu_load_code(vcpu, MODE_LONG, "", 0);
	guest_map(vm, 0x400000, 0x5000, PTE_P | PTE_RW | PTE_NX);
	expect_gpa(0x5000, 0x400000, RD | WR);
	expect_fault(14, 0x11, 0x400000, EX);
	guest_map(vm, 0x401000, 0x6000, PTE_P | PTE_RW);
	expect_gpa(0x6000, 0x401000, EX);
}

TEST_F(translate, not_canonical)
{
	struct vcpu *vcpu = self->vcpu;

	vcpu_load_code(vcpu, MODE_LONG, "", 0);
	expect_fault(13, 0, 0x0000800000000000, RD);
	expect_fault(13, 0, 0xffff7fffffffffff, WR);
	expect_fault(14, 0, 0xffff800000000000, RD);
	expect_fault(14, 0, 0xffffffffffffffff, RD);
}

TEST_F(translate, reserved_bits)
{
	struct vcpu *vcpu = self->vcpu;
	struct vm *vm = self->vm;

	vcpu_load_code(vcpu, MODE_LONG, "", 0);
	guest_map(vm, 0x400000, 1ULL << 51, PTE_P | PTE_RW);
	expect_fault(14, 9, 0x400000, RD);
	/* Bit 7 of a PML4 entry */
	guest_u64(vm, TABLES_GPA) |= PTE_PS;
	expect_fault(14, 9, 0x500000, RD);
}

/* SMEP and SMAP, where this host has them */
TEST_F(translate, supervisor_protection)
{
	struct vmm_cpuid_entry *entries, *leaf7;
	struct vcpu *vcpu = self->vcpu;
	u32 count;

	entries = get_supported_cpuid(self->vm->dev, &count);
	leaf7 = find_cpuid(entries, count, 7, 0);
	if (!leaf7 || !(leaf7->ebx & 1 << 20) || !(leaf7->ebx & 1 << 7))
		SKIP(return, "no SMEP and SMAP");
	vcpu_load_code(vcpu, MODE_LONG, "", 0);
	vcpu->state.control.cr4 |= CR4_SMEP | CR4_SMAP;
	vcpu_set(vcpu, VMM_STATE_CONTROL);
	guest_map(self->vm, 0x400000, 0x5000, PTE_P | PTE_RW | PTE_US);
	expect_fault(14, 0x11, 0x400000, EX);
	expect_fault(14, 1, 0x400000, RD);
	expect_gpa(0x5000, 0x400000, RD | USER);
	vcpu->state.regs.rflags |= 1 << 18;
	vcpu_set(vcpu, VMM_STATE_REGS);
	expect_gpa(0x5000, 0x400000, RD);
	expect_fault(14, 0x11, 0x400000, EX);
}

TEST_F(translate, bad_arguments)
{
	struct vmm_translate t = { .size = sizeof(t), .access = 1 << 4 };

	vcpu_load_code(self->vcpu, MODE_LONG, "", 0);
	EXPECT_EQ(-EINVAL, do_ioctl(self->vcpu->fd, VMM_TRANSLATE, &t));
	t.access = RD;
	t.flags = 1;
	EXPECT_EQ(-EINVAL, do_ioctl(self->vcpu->fd, VMM_TRANSLATE, &t));
	/* Tables that lie where no memory is: the call says so. */
	t.flags = 0;
	guest_u64(self->vm, TABLES_GPA) = MMIO_GPA | 7;
	EXPECT_NE(0, do_ioctl(self->vcpu->fd, VMM_TRANSLATE, &t));
}

TEST_HARNESS_MAIN
