// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hypercalls: an unknown one fails in the guest as it does on KVM; on request
 * they leave with their arguments.
 */
#include "kselftest_harness.h"
#include "vmmtest.h"

#define KVM_ENOSYS	1000

/* AMD's instruction and Intel's; the VMM patches in what this host's is. */
GUEST_CODE(hypercall64, 64,
	   "vmmcall\n"
	   "mov %rax, DATA_GPA\n"
	   "out %al, $PORT_DONE\n");
GUEST_CODE(hypercall32, 32,
	   "vmmcall\n"
	   "mov %eax, DATA_GPA\n"
	   "out %al, $PORT_DONE\n");

FIXTURE(hypercall) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(hypercall)
{
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(hypercall)
{
	vm_destroy(self->vm);
}

static void load(struct vcpu *vcpu, enum guest_mode mode)
{
	u64 *gpr = vcpu->state.regs.gpr;

	if (mode == MODE_LONG)
		vcpu_load(vcpu, mode, hypercall64);
	else
		vcpu_load(vcpu, mode, hypercall32);
	if (vcpu->vm->info.vendor == VMM_VENDOR_INTEL)
		guest_u8(vcpu->vm, CODE_GPA + 2) = 0xc1;
	guest_u64(vcpu->vm, DATA_GPA) = 0;
	gpr[VMM_RAX] = 0x7777777700001234;
	gpr[VMM_RBX] = 0x1111111111111111;
	gpr[VMM_RCX] = 0x2222222222222222;
	gpr[VMM_RDX] = 0x3333333333333333;
	gpr[VMM_RSI] = 0x4444444444444444;
	vcpu_set(vcpu, VMM_STATE_REGS);
}

TEST_F(hypercall, unknown)
{
	load(self->vcpu, MODE_LONG);
	run_done(self->vcpu);
	EXPECT_EQ((u64)-KVM_ENOSYS, guest_u64(self->vm, DATA_GPA));

	load(self->vcpu, MODE_PROTECTED);
	run_done(self->vcpu);
	EXPECT_EQ((u32)-KVM_ENOSYS, guest_u64(self->vm, DATA_GPA));
	EXPECT_EQ(2, get_stat(self->vcpu->fd, "hypercalls"));
}

static void want_hypercalls(struct vcpu *vcpu)
{
	struct vmm_exits exits = { .size = sizeof(exits), .exits = VMM_EXITS_HYPERCALL };
	int ret = do_ioctl(vcpu->fd, VMM_SET_EXITS, &exits);

	if (ret)
		fail("VMM_SET_EXITS: %s", strerror(-ret));
}

TEST_F(hypercall, leaves)
{
	struct vmm_exit *e;

	want_hypercalls(self->vcpu);
	load(self->vcpu, MODE_LONG);
	e = run_until(self->vcpu, VMM_EXIT_HYPERCALL);
	EXPECT_EQ(CODE_GPA, e->rip);
	EXPECT_EQ(CODE_GPA + 3, e->next_rip);
	EXPECT_EQ(0x7777777700001234, e->hypercall.nr);
	EXPECT_EQ(0x1111111111111111, e->hypercall.args[0]);
	EXPECT_EQ(0x2222222222222222, e->hypercall.args[1]);
	EXPECT_EQ(0x3333333333333333, e->hypercall.args[2]);
	EXPECT_EQ(0x4444444444444444, e->hypercall.args[3]);
	EXPECT_EQ(0, e->hypercall.ret);
	e->hypercall.ret = 0xabcdef0123456789;
	run_done(self->vcpu);
	EXPECT_EQ(0xabcdef0123456789, guest_u64(self->vm, DATA_GPA));
}

/* 32-bit code has 32-bit arguments. */
TEST_F(hypercall, leaves_32)
{
	struct vmm_exit *e;

	want_hypercalls(self->vcpu);
	load(self->vcpu, MODE_PROTECTED);
	e = run_until(self->vcpu, VMM_EXIT_HYPERCALL);
	EXPECT_EQ(0x1234, e->hypercall.nr);
	EXPECT_EQ(0x11111111, e->hypercall.args[0]);
	EXPECT_EQ(0x44444444, e->hypercall.args[3]);
	e->hypercall.ret = 0xabcdef0123456789;
	run_done(self->vcpu);
	EXPECT_EQ(0x23456789, guest_u64(self->vm, DATA_GPA));
}

/* Without an answer the guest gets zero; off again, it fails in the guest again. */
TEST_F(hypercall, off_again)
{
	struct vmm_exits none = { .size = sizeof(none) };

	want_hypercalls(self->vcpu);
	load(self->vcpu, MODE_LONG);
	run_until(self->vcpu, VMM_EXIT_HYPERCALL);
	run_done(self->vcpu);
	EXPECT_EQ(0, guest_u64(self->vm, DATA_GPA));
	ASSERT_EQ(0, do_ioctl(self->vcpu->fd, VMM_SET_EXITS, &none));
	load(self->vcpu, MODE_LONG);
	run_done(self->vcpu);
	EXPECT_EQ((u64)-KVM_ENOSYS, guest_u64(self->vm, DATA_GPA));
}

/* The KVM interface allows either vendor's instruction on either vendor's CPU. */
TEST_F(hypercall, of_the_other_vendor)
{
	struct vmm_exit *e;

	load(self->vcpu, MODE_LONG);
	guest_u8(self->vm, CODE_GPA + 2) ^= 0xd9 ^ 0xc1;
	run_done(self->vcpu);
	EXPECT_EQ((u64)-KVM_ENOSYS, guest_u64(self->vm, DATA_GPA));

	want_hypercalls(self->vcpu);
	load(self->vcpu, MODE_PROTECTED);
	guest_u8(self->vm, CODE_GPA + 2) ^= 0xd9 ^ 0xc1;
	e = run_until(self->vcpu, VMM_EXIT_HYPERCALL);
	EXPECT_EQ(CODE_GPA, e->rip);
	EXPECT_EQ(CODE_GPA + 3, e->next_rip);
	EXPECT_EQ(0x1234, e->hypercall.nr);
	EXPECT_EQ(2, get_stat(self->vcpu->fd, "hypercalls"));
}

/* It begins on one page and ends on the next, whose table entry is looked at then. */
GUEST_CODE(straddling, 64,
	   "jmp . + 0xffe\n"
	   ".fill 0xff9, 1, 0x90\n"
	   "vmmcall\n"
	   "mov %rax, DATA_GPA\n"
	   "out %al, $PORT_DONE\n");

TEST_F(hypercall, of_the_other_vendor_straddling)
{
	u64 at = CODE_GPA + 0xffe;

	load(self->vcpu, MODE_LONG);
	vcpu_load(self->vcpu, MODE_LONG, straddling);
	ASSERT_EQ(0x0f, guest_u8(self->vm, at));
	guest_u8(self->vm, at + 2) = self->vm->info.vendor == VMM_VENDOR_INTEL ? 0xd9 : 0xc1;
	run_done(self->vcpu);
	EXPECT_EQ((u64)-KVM_ENOSYS, guest_u64(self->vm, DATA_GPA));
}

/* All other undefined instructions are what they were: prefixes make one of this, too. */
GUEST_CODE(undefined, 64, "ud2\n");
GUEST_CODE(locked, 64, "lock; .byte 0x0f, 0x01, 0xc1\n");

TEST_F(hypercall, undefined)
{
	vcpu_load(self->vcpu, MODE_LONG, undefined);
	EXPECT_EQ(CODE_GPA, run_vector(self->vcpu, 6)->rip);
	vcpu_load(self->vcpu, MODE_LONG, locked);
	EXPECT_EQ(CODE_GPA, run_vector(self->vcpu, 6)->rip);
	EXPECT_EQ(0, get_stat(self->vcpu->fd, "hypercalls"));
}

/* ---- KVM_HC_SEND_IPI: an interrupt for all whose APIC ids are set in a map ---- */

#define SEND_IPI	10
#define SELF		0x40000
#define NMI		0x00400
#define X2APIC		0x00400
#define SPIV		0x0f0
#define IRR		0x200
#define NR		4

FIXTURE(multicast) {
	struct vm *vm;
	struct vcpu *v[NR];
};

FIXTURE_SETUP(multicast)
{
	static const u32 ids[NR] = { 0, 3, 70, 0x105 };
	int i;

	self->vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	for (i = 0; i < NR; i++) {
		self->v[i] = vcpu_create(self->vm, ids[i]);
		vcpu_get(self->v[i], VMM_STATE_LAPIC);
		self->v[i]->state.lapic.regs[SPIV / 4] = 0x1ff;
		if (ids[i] > 0xff)
			self->v[i]->state.lapic.apic_base |= X2APIC;
		vcpu_set(self->v[i], VMM_STATE_LAPIC);
	}
}

FIXTURE_TEARDOWN(multicast)
{
	vm_destroy(self->vm);
}

/* What the guest gets for it; *receivers: who has vector 0x60 in IRR, which is taken away again */
static u64 send_ipi(struct vcpu *v[NR], enum guest_mode mode, u64 low, u64 high, u64 first, u64 icr,
		    u32 *receivers)
{
	u64 *gpr = v[0]->state.regs.gpr;
	u32 *irr;
	int i;

	load(v[0], mode);
	gpr[VMM_RAX] = SEND_IPI;
	gpr[VMM_RBX] = low;
	gpr[VMM_RCX] = high;
	gpr[VMM_RDX] = first;
	gpr[VMM_RSI] = icr;
	vcpu_set(v[0], VMM_STATE_REGS);
	run_done(v[0]);

	*receivers = 0;
	for (i = 0; i < NR; i++) {
		vcpu_get(v[i], VMM_STATE_LAPIC);
		irr = &v[i]->state.lapic.regs[(IRR + 0x60 / 32 * 16) / 4];
		if (*irr)
			*receivers |= 1 << i;
		*irr = 0;
		vcpu_set(v[i], VMM_STATE_LAPIC);
	}
	return guest_u64(v[0]->vm, DATA_GPA);
}

TEST_F(multicast, interrupts)
{
	struct vcpu **v = self->v;
	u32 mask;

	EXPECT_EQ(2, send_ipi(v, MODE_LONG, 1 << 3, 1 << (70 - 64), 0, 0x60, &mask));
	EXPECT_EQ(0x6, mask);
	EXPECT_EQ(1, send_ipi(v, MODE_LONG, 1, 0, 0, 0x4060, &mask));
	EXPECT_EQ(0x1, mask);
	EXPECT_EQ(2, send_ipi(v, MODE_LONG, ~0ULL, ~0ULL, 3, 0x60, &mask));
	EXPECT_EQ(0x6, mask);
	EXPECT_EQ(1, send_ipi(v, MODE_LONG, 1 << 5, 0, 0x100, 0x60, &mask));
	EXPECT_EQ(0x8, mask);
	/* Nobody is not an error, and no id is everybody's. */
	EXPECT_EQ(0, send_ipi(v, MODE_LONG, 1 << 4, 0, 0, 0x60, &mask));
	EXPECT_EQ(0, send_ipi(v, MODE_LONG, ~0ULL, 0, 0xffffffff, 0x60, &mask));
	EXPECT_EQ(0, send_ipi(v, MODE_LONG, ~0ULL, ~0ULL, ~0ULL - 200, 0x60, &mask));
	EXPECT_EQ(0, mask);
	/* 32-bit code has words of 32 bits. */
	EXPECT_EQ(1, send_ipi(v, MODE_PROTECTED, 1, 1ULL << 18, 20, 0x60, &mask));
	EXPECT_EQ(0x4, mask);
	EXPECT_EQ(1, send_ipi(v, MODE_PROTECTED, 1 << 3, 0, 0, 0x60, &mask));
	EXPECT_EQ(0x2, mask);
}

TEST_F(multicast, nmi)
{
	u32 mask;

	EXPECT_EQ(1, send_ipi(self->v, MODE_LONG, 1 << 3, 0, 0, NMI, &mask));
	EXPECT_EQ(0, mask);
	vcpu_get(self->v[1], VMM_STATE_EVENTS);
	EXPECT_EQ(1, self->v[1]->state.events.nmi_pending);
	vcpu_get(self->v[2], VMM_STATE_EVENTS);
	EXPECT_EQ(0, self->v[2]->state.events.nmi_pending);
}

TEST_F(multicast, refused)
{
	static const u64 icrs[] = { SELF | 0x60, 0x860, 0x500, 0x608, 1ULL << 32 | 0x60 };
	struct vcpu *v = self->v[0];
	struct vmm_cpuid_entry *entries;
	u32 count, mask, i;

	for (i = 0; i < ARRAY_SIZE(icrs); i++) {
		EXPECT_EQ((u64)-EINVAL, send_ipi(self->v, MODE_LONG, 1, 0, 0, icrs[i], &mask))
			TH_LOG("ICR %#llx", icrs[i]);
	}
	/* To nobody, as guests ask whether there is such a call */
	EXPECT_EQ(0, send_ipi(self->v, MODE_LONG, 0, 0, 0, 0, &mask));

	/* What the VMM does not offer is not there. */
	entries = get_supported_cpuid(self->vm->dev, &count);
	for (i = 0; i < count; i++)
		if (entries[i].function == 0x40000001)
			entries[i].eax &= ~(1U << 11);
	ASSERT_EQ(0, vcpu_set_cpuid(v, entries, count));
	free(entries);
	EXPECT_EQ((u64)-KVM_ENOSYS, send_ipi(self->v, MODE_LONG, 1, 0, 0, 0x60, &mask));
}

/* Without LAPICs there is nobody to send to. */
TEST_F(hypercall, send_ipi_without_lapics)
{
	load(self->vcpu, MODE_LONG);
	self->vcpu->state.regs.gpr[VMM_RAX] = SEND_IPI;
	vcpu_set(self->vcpu, VMM_STATE_REGS);
	run_done(self->vcpu);
	EXPECT_EQ((u64)-KVM_ENOSYS, guest_u64(self->vm, DATA_GPA));
}

/* CPUID leaves on request, RIP behind it; the VMM answers in the registers. */
GUEST_CODE(cpuid, 64,
	   "mov $0x40000000, %eax; mov $7, %ecx; cpuid\n"
	   "out %eax, $PORT_VALUE\n");

TEST_F(hypercall, cpuid_leaves)
{
	struct vmm_exits exits = { .size = sizeof(exits), .exits = VMM_EXITS_CPUID };
	struct vcpu *vcpu = self->vcpu;

	ASSERT_EQ(0, do_ioctl(vcpu->fd, VMM_SET_EXITS, &exits));
	vcpu_load(vcpu, MODE_LONG, cpuid);
	vcpu->run->sync_groups = VMM_STATE_REGS;
	run_until(vcpu, VMM_EXIT_CPUID);
	EXPECT_EQ(0x40000000, vcpu->run->regs.gpr[VMM_RAX]);
	EXPECT_EQ(7, vcpu->run->regs.gpr[VMM_RCX]);
	EXPECT_EQ(CODE_GPA + 12, vcpu->run->regs.rip);
	vcpu->run->regs.gpr[VMM_RAX] = 0x99;
	vcpu->run->dirty_groups = VMM_STATE_REGS;
	EXPECT_EQ(0x99, run_value(vcpu));
}

/* PAUSE, too */
GUEST_CODE(pausing, 64, "pause; pause; out %al, $PORT_DONE\n");

TEST_F(hypercall, pause_leaves)
{
	struct vmm_exits exits = { .size = sizeof(exits), .exits = VMM_EXITS_PAUSE };
	struct vcpu *vcpu = self->vcpu;
	int i;

	ASSERT_EQ(0, do_ioctl(vcpu->fd, VMM_SET_EXITS, &exits));
	vcpu_load(vcpu, MODE_LONG, pausing);
	/* A CPU may filter short loops, so not each one need leave. */
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, vcpu_run(vcpu));
		if (vcpu->run->exit.reason != VMM_EXIT_PAUSE)
			break;
	}
	EXPECT_EQ(VMM_EXIT_IO, vcpu->run->exit.reason);
}

/* INT3 on request, with RIP at it; the guest's own handler otherwise */
GUEST_CODE(breakpoint, 64, "nop; int3; out %al, $PORT_DONE\n");

TEST_F(hypercall, breakpoint_leaves)
{
	struct vmm_exits exits = { .size = sizeof(exits), .exits = VMM_EXITS_BREAKPOINT };
	struct vcpu *vcpu = self->vcpu;
	struct vmm_exit *e;

	ASSERT_EQ(0, do_ioctl(vcpu->fd, VMM_SET_EXITS, &exits));
	vcpu_load(vcpu, MODE_LONG, breakpoint);
	ASSERT_EQ(0, vcpu_run(vcpu));
	e = &vcpu->run->exit;
	if (e->reason == VMM_EXIT_IO && guest_trap(self->vm)->vector == 3)
		SKIP(return, "this CPU does not tell INT3 from INT 3");
	ASSERT_EQ(VMM_EXIT_DEBUG, e->reason);
	EXPECT_EQ(VMM_DEBUG_BREAKPOINT, e->debug.kind);
	EXPECT_EQ(3, e->debug.vector);
	EXPECT_EQ(CODE_GPA + 1, e->debug.address);
	vcpu_get(vcpu, VMM_STATE_REGS);
	EXPECT_EQ(CODE_GPA + 1, vcpu->state.regs.rip);
	vcpu->state.regs.rip++;
	vcpu_set(vcpu, VMM_STATE_REGS);
	run_done(vcpu);

	exits.exits = 0;
	ASSERT_EQ(0, do_ioctl(vcpu->fd, VMM_SET_EXITS, &exits));
	vcpu_load(vcpu, MODE_LONG, breakpoint);
	EXPECT_EQ(CODE_GPA + 2, run_vector(vcpu, 3)->rip);
	run_done(vcpu);
}

TEST_HARNESS_MAIN
