// SPDX-License-Identifier: GPL-2.0-only
/*
 * Debug registers: the guest's own breakpoints and single steps, MOV DR, and
 * a VMM's breakpoints beside them.
 */
#include "insn.h"
#include "kselftest_harness.h"
#include "vmmtest.h"

#define DB		1
#define UD		6
#define GP		13

#define DR6_INIT	0xffff0ff0ULL
#define DR6_B0		1ULL
#define DR6_BD		(1ULL << 13)
#define DR6_BS		(1ULL << 14)
#define DR7_INIT	0x400ULL
#define DR7_G0		2ULL
#define DR7_GD		(1ULL << 13)
#define DR7_WRITE4	(0xdULL << 16)		/* breakpoint 0: four bytes written */

FIXTURE(debugregs) {
	struct vm *vm;
	struct vcpu *vcpu;
	int mark;
};

FIXTURE_SETUP(debugregs)
{
	self->mark = host_log_mark();
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	vcpu_set_mode(self->vcpu, MODE_LONG);
}

FIXTURE_TEARDOWN(debugregs)
{
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

static struct vmm_debug *get(struct vcpu *vcpu)
{
	vcpu_get(vcpu, VMM_STATE_DEBUG);
	return &vcpu->state.debug;
}

TEST_F(debugregs, by_instructions_and_by_state)
{
	struct vmm_debug *d;
	u64 data;
	int i;

	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, guest_write_dr(self->vcpu, i, 0x1000 * (i + 1)));
	EXPECT_EQ(0, guest_write_dr(self->vcpu, 6, 0));
	EXPECT_EQ(0, guest_write_dr(self->vcpu, 7, 0x300));
	d = get(self->vcpu);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0x1000 * (i + 1), d->dr[i]);
	EXPECT_EQ(DR6_INIT, d->dr6);
	EXPECT_EQ(0x700, d->dr7);

	/* Bits that are always one may be left out; those that are always zero are dropped. */
	d->dr[2] = 0xffff800000001234;
	d->dr6 = DR6_BS | DR6_BD | 1 << 12;
	d->dr7 = 0x1d800;
	vcpu_set(self->vcpu, VMM_STATE_DEBUG);
	EXPECT_EQ(0, guest_read_dr(self->vcpu, 2, &data));
	EXPECT_EQ(0xffff800000001234, data);
	EXPECT_EQ(0, guest_read_dr(self->vcpu, 6, &data));
	EXPECT_EQ(DR6_INIT | DR6_BS | DR6_BD, data);
	EXPECT_EQ(0, guest_read_dr(self->vcpu, 7, &data));
	EXPECT_EQ(0x10400, data);
}

TEST_F(debugregs, refused)
{
	struct vmm_debug *d;
	u64 cr4, data;

	EXPECT_EQ(GP, guest_write_dr(self->vcpu, 6, 1ULL << 32));
	EXPECT_EQ(GP, guest_write_dr(self->vcpu, 7, 1ULL << 32));
	/* DR4 and DR5 are DR6 and DR7, or nothing. */
	EXPECT_EQ(0, guest_read_dr(self->vcpu, 4, &data));
	EXPECT_EQ(DR6_INIT, data);
	EXPECT_EQ(0, guest_read_dr(self->vcpu, 5, &data));
	EXPECT_EQ(DR7_INIT, data);
	EXPECT_EQ(0, guest_write_dr(self->vcpu, 5, 0x700));
	EXPECT_EQ(0x700, get(self->vcpu)->dr7);
	ASSERT_EQ(0, guest_read_cr(self->vcpu, 4, &cr4));
	ASSERT_EQ(0, guest_write_cr(self->vcpu, 4, cr4 | CR4_DE));
	EXPECT_EQ(UD, guest_read_dr(self->vcpu, 4, &data));
	EXPECT_EQ(UD, guest_write_dr(self->vcpu, 5, 0x400));
	EXPECT_EQ(0, guest_read_dr(self->vcpu, 6, &data));

	d = get(self->vcpu);
	d->dr6 |= 1ULL << 32;
	EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_DEBUG));
	d = get(self->vcpu);
	d->dr7 |= 1ULL << 40;
	EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_DEBUG));
}

TEST_F(debugregs, not_for_user_mode)
{
	u64 data;

	vcpu_set_user(self->vcpu);
	EXPECT_EQ(GP, guest_read_dr(self->vcpu, 0, &data));
	vcpu_set_mode(self->vcpu, MODE_LONG);
	vcpu_set_user(self->vcpu);
	EXPECT_EQ(GP, guest_write_dr(self->vcpu, 7, 0x400));
}

/* Outside 64-bit mode the registers are 32 bits wide. */
TEST_F(debugregs, in_32_bit_code)
{
	struct vmm_debug *d;
	u64 data;

	vcpu_set_mode(self->vcpu, MODE_PROTECTED);
	EXPECT_EQ(0, guest_write_dr(self->vcpu, 1, 0x1111111122222222));
	EXPECT_EQ(0x22222222, get(self->vcpu)->dr[1]);
	EXPECT_EQ(0, guest_write_dr(self->vcpu, 7, 0xfffffff100000400));
	d = get(self->vcpu);
	d->dr[1] = 0xaaaaaaaabbbbbbbb;
	vcpu_set(self->vcpu, VMM_STATE_DEBUG);
	EXPECT_EQ(0, guest_read_dr(self->vcpu, 1, &data));
	EXPECT_EQ(0xbbbbbbbb, (u32)data);
}

/* DR7.GD: the next MOV DR is #DB with BD, and the handler may use them again. */
TEST_F(debugregs, general_detect)
{
	struct vmm_debug *d;
	u64 data;

	EXPECT_EQ(0, guest_write_dr(self->vcpu, 7, DR7_INIT | DR7_GD));
	EXPECT_EQ(DR7_INIT | DR7_GD, get(self->vcpu)->dr7);
	EXPECT_EQ(DB, guest_read_dr(self->vcpu, 0, &data));
	EXPECT_EQ(CODE_GPA, guest_trap(self->vm)->rip);
	d = get(self->vcpu);
	EXPECT_EQ(DR6_INIT | DR6_BD, d->dr6);
	EXPECT_EQ(DR7_INIT, d->dr7);
	EXPECT_EQ(0, guest_read_dr(self->vcpu, 0, &data));
}

/* ---- breakpoints of the guest's own ---- */

/* QEMU's CPU loads DR7 at VMRUN, but does not look at what it says. */
#define NEEDS_BREAKPOINTS() do {						\
	if (host_is_qemu())							\
		SKIP(return, "this CPU's guests have no breakpoints");		\
} while (0)

GUEST_CODE(steps_on_breakpoint, 64,
	   "mov $(1f - steps_on_breakpoint + CODE_GPA), %rax; mov %rax, %dr0\n"
	   "xor %eax, %eax; mov %rax, %dr6\n"
	   "mov $0x402, %eax; mov %rax, %dr7\n"
	   "nop\n"
	   "1: inc %ebx\n"
	   "mov %ebx, %eax; out %eax, $PORT_VALUE\n"
	   "out %al, $PORT_DONE\n");

TEST_F(debugregs, execution)
{
	struct guest_trap *trap;

	NEEDS_BREAKPOINTS();
	vcpu_load(self->vcpu, MODE_LONG, steps_on_breakpoint);
	trap = run_vector(self->vcpu, DB);
	/*
	 * A fault: the instruction has not been executed; RF lets it pass. AMD's CPUs push it set,
	 * Intel's leave that to the handler (SDM vol. 3 18.3.1.1).
	 */
	EXPECT_EQ(CODE_GPA + code_size(steps_on_breakpoint) - 8, trap->rip);
	guest_u64(self->vm, trap->frame + 16) |= FLAG_RF;
	EXPECT_EQ(DR6_INIT | DR6_B0, get(self->vcpu)->dr6);
	EXPECT_EQ(1, run_value(self->vcpu));
	run_done(self->vcpu);
}

GUEST_CODE(writes_watched, 64,
	   "mov $DATA_GPA, %eax; mov %rax, %dr0\n"
	   "mov $0xd0402, %eax; mov %rax, %dr7\n"
	   "mov DATA_GPA, %eax\n"
	   "movl $5, DATA_GPA\n"
	   "1: out %al, $PORT_DONE\n");

TEST_F(debugregs, data_written)
{
	struct guest_trap *trap;

	NEEDS_BREAKPOINTS();
	vcpu_load(self->vcpu, MODE_LONG, writes_watched);
	trap = run_vector(self->vcpu, DB);
	/* A trap: behind the instruction, and the data is there. */
	EXPECT_EQ(CODE_GPA + code_size(writes_watched) - 2, trap->rip);
	EXPECT_EQ(DR6_INIT | DR6_B0, get(self->vcpu)->dr6);
	EXPECT_EQ(5, guest_u32(self->vm, DATA_GPA));
	run_done(self->vcpu);
}

/* By state, and again on another CPU: the registers move with the vCPU. */
GUEST_CODE(writes_often, 64,
	   "1: out %al, $PORT_VALUE\n"
	   "incl DATA_GPA\n"
	   "jmp 1b\n");

TEST_F(debugregs, on_every_cpu)
{
	struct vmm_debug *d;
	int i, cpus = host_cpus();

	NEEDS_BREAKPOINTS();
	vcpu_load(self->vcpu, MODE_LONG, writes_often);
	d = get(self->vcpu);
	d->dr[0] = DATA_GPA;
	d->dr7 = DR7_INIT | DR7_G0 | DR7_WRITE4;
	vcpu_set(self->vcpu, VMM_STATE_DEBUG);
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, pin_to_cpu(i % cpus));
		run_value(self->vcpu);
		run_vector(self->vcpu, DB);
		EXPECT_EQ(DR6_B0, get(self->vcpu)->dr6 & 0xf);
	}
	EXPECT_EQ(10, guest_u32(self->vm, DATA_GPA));
	/* Off again */
	self->vcpu->state.debug.dr7 = DR7_INIT;
	vcpu_set(self->vcpu, VMM_STATE_DEBUG);
	for (i = 0; i < 10; i++)
		run_value(self->vcpu);
}

/* ---- single steps ---- */

GUEST_CODE(stepped, 64,
	   "pushf; orl $0x100, (%rsp); popf\n"
	   "nop\n"
	   "1: cpuid\n"			/* one that leaves */
	   "2: mov %cr3, %rax\n"
	   "3: andl $~0x100, 4f - stepped + CODE_GPA\n"
	   "4: .long 0x90909090\n");

TEST_F(debugregs, single_step)
{
	struct guest_trap *trap;
	u64 rip[4];
	int i;

	vcpu_load(self->vcpu, MODE_LONG, stepped);
	/* POPF, behind which TF is set, is not stepped itself. */
	for (i = 0; i < 4; i++) {
		trap = run_vector(self->vcpu, DB);
		rip[i] = trap->rip;
		EXPECT_EQ(DR6_BS, get(self->vcpu)->dr6 & (DR6_BS | 0xf));
		EXPECT_EQ(FLAG_TF, trap->rflags & FLAG_TF);
	}
	EXPECT_EQ(1, rip[1] - rip[0] - 1);		/* CPUID: two bytes */
	EXPECT_EQ(3, rip[2] - rip[1]);			/* MOV from CR3 */
	EXPECT_EQ(CODE_GPA + code_size(stepped) - 4, rip[3]);
}

GUEST_CODE(two_nops, 64, "nop; nop; hlt\n");

/* In the shadow of a MOV to SS, what that instruction trapped waits for the next one. */
TEST_F(debugregs, single_step_set_in_a_shadow)
{
	vcpu_load(self->vcpu, MODE_LONG, two_nops);
	self->vcpu->state.regs.rflags |= FLAG_TF;
	vcpu_get(self->vcpu, VMM_STATE_EVENTS);
	self->vcpu->state.events.shadow = VMM_SHADOW_MOV_SS;
	vcpu_set(self->vcpu, VMM_STATE_REGS | VMM_STATE_EVENTS);
	EXPECT_EQ(CODE_GPA + 1, run_vector(self->vcpu, DB)->rip);
	EXPECT_EQ(CODE_GPA + 2, run_vector(self->vcpu, DB)->rip);
}

/* A trap that MOV to SS holds back belongs to what the guest was, not to what it becomes. */
GUEST_CODE(out_in_a_shadow, 64,
	   "mov %ss, %eax\n"
	   "pushf; orl $0x100, (%rsp); popf\n"
	   "mov %eax, %ss; out %al, $PORT_VALUE\n"
	   "hlt\n");

TEST_F(debugregs, step_forgotten_with_the_state)
{
	struct vcpu *vcpu = self->vcpu;

	vcpu_load(vcpu, MODE_LONG, out_in_a_shadow);
	run_until(vcpu, VMM_EXIT_IO);
	vcpu_get(vcpu, VMM_STATE_EVENTS | VMM_STATE_PENDING);
	memset(&vcpu->state.events, 0, sizeof(vcpu->state.events));
	memset(&vcpu->state.pending, 0, sizeof(vcpu->state.pending));
	vcpu_set(vcpu, VMM_STATE_EVENTS | VMM_STATE_PENDING);
	vcpu_load(vcpu, MODE_LONG, two_nops);
	run_until(vcpu, VMM_EXIT_HLT);
	EXPECT_EQ(0, guest_trap(self->vm)->count);
	EXPECT_EQ(DR6_INIT, get(vcpu)->dr6);
}

/* An instruction that leaves to the VMM is stepped as well. */
GUEST_CODE(steps_over_out, 64,
	   "pushf; orl $0x100, (%rsp); popf\n"
	   "out %eax, $PORT_VALUE\n"
	   "1: in $PORT_VALUE, %eax\n"
	   "2: hlt\n");

TEST_F(debugregs, single_step_over_io)
{
	u64 out;

	vcpu_load(self->vcpu, MODE_LONG, steps_over_out);
	run_value(self->vcpu);
	out = CODE_GPA + code_size(steps_over_out) - 3;
	EXPECT_EQ(out, run_vector(self->vcpu, DB)->rip);
	run_until(self->vcpu, VMM_EXIT_IO);
	EXPECT_EQ(1, self->vcpu->run->exit.io.in);
	self->vcpu->run->exit.io.data = 0x1234;
	EXPECT_EQ(out + 2, run_vector(self->vcpu, DB)->rip);
	EXPECT_EQ(DR6_BS, get(self->vcpu)->dr6 & (DR6_BS | 0xf));
}

/* ---- the VMM's breakpoints ---- */

static int set_exits(struct vcpu *vcpu, u64 exits, u64 dr0, u64 dr7)
{
	struct vmm_exits e = {
		.size = sizeof(e), .exits = exits, .dr = { dr0 }, .dr7 = dr7,
	};

	return do_ioctl(vcpu->fd, VMM_SET_EXITS, &e);
}

/* The guest's registers are kept apart, and hold again afterwards. */
TEST_F(debugregs, beside_the_vmms)
{
	struct vmm_exit *e;
	struct vmm_debug *d;
	u64 data;

	if (set_exits(self->vcpu, VMM_EXITS_HW_BREAK, 0, 0) == -EINVAL)
		SKIP(return, "this module has no breakpoints for the VMM");
	vcpu_load(self->vcpu, MODE_LONG, writes_often);
	d = get(self->vcpu);
	d->dr[0] = DATA_GPA;
	d->dr7 = DR7_INIT | DR7_G0 | DR7_WRITE4;
	vcpu_set(self->vcpu, VMM_STATE_DEBUG);
	/* What the guest reads are its own. */
	ASSERT_EQ(0, set_exits(self->vcpu, VMM_EXITS_HW_BREAK, CODE_GPA + 0x1000,
			       DR7_INIT | DR7_G0));
	EXPECT_EQ(0, guest_read_dr(self->vcpu, 0, &data));
	EXPECT_EQ(DATA_GPA, data);
	EXPECT_EQ(0, guest_read_dr(self->vcpu, 7, &data));
	EXPECT_EQ(DR7_INIT | DR7_G0 | DR7_WRITE4, data);
	EXPECT_EQ(0, guest_write_dr(self->vcpu, 7, DR7_INIT));
	ASSERT_EQ(0, set_exits(self->vcpu, 0, 0, 0));
	EXPECT_EQ(0, guest_read_dr(self->vcpu, 7, &data));
	EXPECT_EQ(DR7_INIT, data);

	NEEDS_BREAKPOINTS();
	vcpu_load(self->vcpu, MODE_LONG, writes_often);
	d = get(self->vcpu);
	d->dr7 = DR7_INIT | DR7_G0 | DR7_WRITE4;
	vcpu_set(self->vcpu, VMM_STATE_DEBUG);
	/* At INCL */
	ASSERT_EQ(0, set_exits(self->vcpu, VMM_EXITS_HW_BREAK, CODE_GPA + 2,
			       DR7_INIT | DR7_G0));
	run_value(self->vcpu);
	e = run_until(self->vcpu, VMM_EXIT_DEBUG);
	EXPECT_EQ(VMM_DEBUG_HW_BREAK, e->debug.kind);
	EXPECT_EQ(CODE_GPA + 2, e->debug.address);
	EXPECT_EQ(DR6_B0, e->debug.dr6 & 0xf);
	EXPECT_EQ(0, guest_u32(self->vm, DATA_GPA));
	d = get(self->vcpu);
	EXPECT_EQ(DATA_GPA, d->dr[0]);
	EXPECT_EQ(DR7_INIT | DR7_G0 | DR7_WRITE4, d->dr7);
	EXPECT_EQ(0, d->dr6 & 0xf);

	ASSERT_EQ(0, set_exits(self->vcpu, 0, 0, 0));
	run_vector(self->vcpu, DB);
	EXPECT_EQ(1, guest_u32(self->vm, DATA_GPA));
	EXPECT_EQ(DR6_B0, get(self->vcpu)->dr6 & 0xf);
}

TEST_HARNESS_MAIN
