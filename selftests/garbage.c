// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest writes garbage into every register of the system's that it can: MSRs, control and debug
 * registers, XCR0. Each write is done, or refused by an exception, or takes the guest astray. None
 * makes a state that the CPU will not enter with, and the next guest is well.
 */
/* timeout: 120 */
#include "insn.h"
#include "kselftest_harness.h"
#include "vmmtest.h"

FIXTURE(garbage) {
	struct vm *vm;
	struct vcpu *vcpu;
	int mark;
	u64 seed;
};

FIXTURE_VARIANT(garbage) {
	u32 flags;
};

FIXTURE_VARIANT_ADD(garbage, bare) {
	.flags = 0,
};

FIXTURE_VARIANT_ADD(garbage, with_controllers) {
	.flags = VMM_VM_LAPIC,
};

FIXTURE_SETUP(garbage)
{
	self->mark = host_log_mark();
	self->seed = 12345;
	self->vm = vm_create(1 * MIB, variant->flags);
	self->vcpu = vcpu_create(self->vm, 0);
	vcpu_set_mode(self->vcpu, MODE_LONG);
}

GUEST_CODE(well, 64, "mov $1, %eax; out %eax, $PORT_VALUE\n");

FIXTURE_TEARDOWN(garbage)
{
	struct vm *next = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(next, 0);

	vcpu_load(vcpu, MODE_LONG, well);
	EXPECT_EQ(1, run_value(vcpu));
	vm_destroy(next);
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

static u64 random64(u64 *seed)
{
	*seed = *seed * 6364136223846793005 + 1442695040888963407;
	return *seed >> 32 | *seed << 32;
}

/* All ones, one bit, any bits, few bits, a small number, something canonical */
static u64 garbage_value(u64 *seed)
{
	u64 a = random64(seed), b = random64(seed);

	switch (random64(seed) % 6) {
	case 0:
		return ~0ULL;
	case 1:
		return 1ULL << a % 64;
	case 2:
		return a;
	case 3:
		return a & b & random64(seed);
	case 4:
		return a % 4096;
	default:
		return (s64)a >> 17;
	}
}

/* What guest_exec() answered; the vCPU is fit for the next write afterwards. */
static void check(struct __test_metadata *_metadata, struct vcpu *vcpu, int ret, const char *what,
		  u32 number, u64 data)
{
	const struct vmm_exit *e = &vcpu->run->exit;

	if (ret < 0) {
		EXPECT_NE(-VMM_EXIT_FAIL_ENTRY, ret)
			TH_LOG("%s %#x = %#llx: %s", what, number, data, e->fail_entry.message);
		EXPECT_NE(-VMM_EXIT_INTERNAL, ret)
			TH_LOG("%s %#x = %#llx: exit %#llx", what, number, data, e->hw_reason);
	}
	vcpu_set_mode(vcpu, MODE_LONG);
	/* An end to a shutdown */
	memset(&vcpu->state.events, 0, sizeof(vcpu->state.events));
	vcpu_set(vcpu, VMM_STATE_EVENTS);
}

/* QEMU takes CR3 beyond the CPU's addresses for a failed entry, a CPU for a #GP. */
static bool spared(u8 number, u64 data)
{
	return number == 3 && data >> 36 && host_is_qemu();
}

static const struct {
	u32 first, last;
} msrs[] = {
	{ 0x0, 0x1ff },
	{ 0x200, 0x2ff },		/* MTRRs */
	{ 0x300, 0x3ff },		/* counters */
	{ 0x400, 0x4ff },		/* machine check banks, VMX */
	{ 0x560, 0x5a0 },
	{ 0x600, 0x6ff },
	{ 0x800, 0x83f },		/* x2APIC */
	{ 0xc80, 0xda0 },
	{ 0x40000000, 0x4000001f },
	{ 0x4b564d00, 0x4b564d08 },
	{ 0xc0000080, 0xc0000104 },
	{ 0xc0010000, 0xc0010140 },
	{ 0xc0011020, 0xc0011030 },
};

TEST_F_TIMEOUT(garbage, msrs, 300)
{
	/* A slow CPU writes some of them, others in the other variant. */
	u32 stride = host_is_slow() ? 7 : 1, i, index;
	u64 data;

	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		for (index = msrs[i].first + variant->flags % stride; index <= msrs[i].last;
		     index += msrs[i].first == 0xc0000080 ? 1 : stride) {
			data = garbage_value(&self->seed);
			check(_metadata, self->vcpu, guest_wrmsr(self->vcpu, index, data), "MSR",
			      index, data);
		}
}

TEST_F_TIMEOUT(garbage, control_registers, 300)
{
	static const u8 registers[] = { 0, 2, 3, 4, 8, 1, 5, 15 };
	int rounds = host_is_slow() ? 25 : 300, round;
	u64 data;
	u32 i;

	for (round = 0; round < rounds; round++)
		for (i = 0; i < (round % 25 ? 5 : ARRAY_SIZE(registers)); i++) {
			data = garbage_value(&self->seed);
			if (spared(registers[i], data))
				continue;
			check(_metadata, self->vcpu,
			      guest_write_cr(self->vcpu, registers[i], data), "CR", registers[i],
			      data);
		}
}

/* One bit changed in what works, and what follows is entered with that state. */
TEST_F_TIMEOUT(garbage, control_bits, 300)
{
	static const u8 registers[] = { 0, 3, 4 };
	u64 data;
	u32 i;
	int bit;

	for (i = 0; i < ARRAY_SIZE(registers); i++)
		for (bit = 0; bit < 64; bit++) {
			ASSERT_EQ(0, guest_read_cr(self->vcpu, registers[i], &data));
			data ^= 1ULL << bit;
			if (spared(registers[i], data))
				continue;
			check(_metadata, self->vcpu,
			      guest_write_cr(self->vcpu, registers[i], data), "CR", registers[i],
			      data);
		}
}

TEST_F_TIMEOUT(garbage, debug_registers, 300)
{
	int rounds = host_is_slow() ? 10 : 100, round, nr;
	u64 data;

	for (round = 0; round < rounds; round++)
		for (nr = 0; nr < 8; nr++) {
			data = garbage_value(&self->seed);
			check(_metadata, self->vcpu, guest_write_dr(self->vcpu, nr, data), "DR", nr,
			      data);
		}
}

TEST_F(garbage, xcr0)
{
	int round;
	u64 data;

	for (round = 0; round < 40; round++) {
		data = garbage_value(&self->seed);
		vcpu_get(self->vcpu, VMM_STATE_CONTROL);
		self->vcpu->state.control.cr4 |= CR4_OSXSAVE;
		if (vcpu_try_set(self->vcpu, VMM_STATE_CONTROL))
			SKIP(return, "no XSAVE on this CPU");
		check(_metadata, self->vcpu, guest_xsetbv(self->vcpu, round % 8 ? 0 : round, data),
		      "XCR", 0, data);
	}
}

TEST_HARNESS_MAIN
