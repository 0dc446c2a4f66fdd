// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMM_EXITS_STEP: one instruction at a time, without the guest's knowing.
 */
#include "insn.h"
#include "kselftest_harness.h"
#include "vmmtest.h"

#define DB		1
#define NMI		2
#define BP		3
#define UD		6
#define GP		13
#define PF		14

#define DR6_BS		(1ULL << 14)

#define MSR_STAR	0xc0000081
#define MSR_LSTAR	0xc0000082
#define MSR_SFMASK	0xc0000084

#define STUB(vector)	(STUBS_GPA + 16 * (vector))

FIXTURE(step) {
	struct vm *vm;
	struct vcpu *vcpu;
	int mark;
};

static int set_exits(struct vcpu *vcpu, u64 exits)
{
	struct vmm_exits e = { .size = sizeof(e), .exits = exits };

	return do_ioctl(vcpu->fd, VMM_SET_EXITS, &e);
}

FIXTURE_SETUP(step)
{
	self->mark = host_log_mark();
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	if (!has_caps(VMM_CAP_SINGLE_STEP))
		SKIP(return, "this CPU cannot step its guests");
	ASSERT_EQ(0, set_exits(self->vcpu, VMM_EXITS_STEP));
}

FIXTURE_TEARDOWN(step)
{
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

/* The exit that ends a step: the linear address of what is next */
static u64 stepped(struct vcpu *vcpu)
{
	struct vmm_exit *e = &vcpu->run->exit;

	if (e->reason != VMM_EXIT_DEBUG || e->debug.kind != VMM_DEBUG_STEP) {
		vcpu_print(vcpu);
		fail("%s exit where a step should end", exit_name(e->reason));
	}
	if (e->debug.vector != DB || e->debug.dr6 != DR6_BS)
		fail("vector %u, DR6 %#llx", e->debug.vector, e->debug.dr6);
	return e->debug.address;
}

/* One step, in which nothing else leaves */
static u64 step(struct vcpu *vcpu)
{
	if (vcpu_run(vcpu))
		fail("VMM_RUN");
	return stepped(vcpu);
}

/* The same, for code at CODE_GPA: the offset */
static u64 step_code(struct vcpu *vcpu)
{
	return step(vcpu) - CODE_GPA;
}

static u64 flags(struct vcpu *vcpu)
{
	vcpu_get(vcpu, VMM_STATE_REGS);
	return vcpu->state.regs.rflags;
}

static u64 reg(struct vcpu *vcpu, int gpr)
{
	vcpu_get(vcpu, VMM_STATE_REGS);
	return vcpu->state.regs.gpr[gpr];
}

static void set_flags(struct vcpu *vcpu, u64 rflags)
{
	vcpu_get(vcpu, VMM_STATE_REGS);
	vcpu->state.regs.rflags = rflags;
	vcpu_set(vcpu, VMM_STATE_REGS);
}

/* ---- instructions ---- */

GUEST_CODE(plain, 32,
	   "nop\n"			/* 0 */
	   "xor %eax, %eax\n"		/* 1 */
	   "jmp 1f\n"			/* 3 */
	   "nop; nop\n"
	   "1: inc %ecx\n"		/* 7; REX.B in 64-bit mode, so: nop of two bytes */
	   "nop\n"			/* 8 */
	   "call 2f\n"			/* 9 */
	   "nop\n"			/* 14 */
	   "2: jmp 2b\n");		/* 15 */

/* In real mode CALL has a displacement of two bytes, and in 64-bit mode 0x41 is a prefix. */
TEST_F(step, each_in_every_mode)
{
	static const u8 rips[] = { 1, 3, 7, 8, 9, 15, 15, 15 };
	enum guest_mode mode;
	unsigned int i;

	for (mode = MODE_PROTECTED; mode < NR_MODES; mode++) {
		if (!mode_supported(self->vm, mode))
			continue;
		vcpu_load(self->vcpu, mode, plain);
		for (i = 0; i < sizeof(rips); i++) {
			u64 rip = step_code(self->vcpu);

			/* One instruction from 7 on */
			if (rips[i] == 8 && rip == 9)
				i++;
			EXPECT_EQ(rips[i], rip) {
				TH_LOG("%s mode, step %u", mode_names[mode], i);
			}
		}
		EXPECT_EQ(FLAG_FIXED, flags(self->vcpu) & (FLAG_FIXED | FLAG_TF | FLAG_RF));
	}
}

GUEST_CODE(in_real_mode, 16,
	   "nop\n"			/* 0 */
	   "push %ax\n"			/* 1 */
	   "pushf\n"			/* 2 */
	   "pop %ax\n"			/* 3 */
	   "int $0x80\n"		/* 4 */
	   "1: jmp 1b\n");		/* 6 */

TEST_F(step, in_real_mode)
{
	vcpu_load(self->vcpu, MODE_REAL, in_real_mode);
	EXPECT_EQ(1, step_code(self->vcpu));
	EXPECT_EQ(2, step_code(self->vcpu));
	EXPECT_EQ(3, step_code(self->vcpu));
	EXPECT_EQ(4, step_code(self->vcpu));
	EXPECT_EQ(FLAG_FIXED, reg(self->vcpu, VMM_RAX) & (FLAG_FIXED | FLAG_TF));
	EXPECT_EQ(STUB(0x80), step(self->vcpu));
	/* IP, CS, FLAGS */
	vcpu_get(self->vcpu, VMM_STATE_REGS);
	EXPECT_EQ(6, guest_u16(self->vm, STACK_GPA + (u16)self->vcpu->state.regs.gpr[VMM_RSP]));
	EXPECT_EQ(0, guest_u16(self->vm,
			       STACK_GPA + (u16)self->vcpu->state.regs.gpr[VMM_RSP] + 4) & FLAG_TF);
	ASSERT_EQ(0, set_exits(self->vcpu, 0));
	EXPECT_EQ(0x80, run_trap(self->vcpu)->vector);
}

/* Those that leave and are completed in the kernel */
GUEST_CODE(leaves, 64,
	   "cpuid\n"			/* 0 */
	   "mov %cr0, %rax\n"		/* 2 */
	   "mov %rax, %cr0\n"		/* 5 */
	   "mov %cr0, %rax\n"		/* 8 */
	   "mov %rax, %dr0\n"		/* 11 */
	   "mov $0x1b, %ecx\n"		/* 14 */
	   "rdmsr\n"			/* 19: #GP without a LAPIC, or not */
	   "wbinvd\n");			/* 21 */

TEST_F(step, that_leave)
{
	static const u8 rips[] = { 2, 5, 8, 11, 14, 19 };
	unsigned int i;

	vcpu_load(self->vcpu, MODE_LONG, leaves);
	for (i = 0; i < sizeof(rips); i++)
		EXPECT_EQ(rips[i], step_code(self->vcpu));
}

GUEST_CODE(msrs, 64,
	   "mov $0x10, %ecx\n"		/* 0 */
	   "rdmsr\n"			/* 5 */
	   "mov $0x12345678, %ecx\n"	/* 7 */
	   "rdmsr\n"			/* 12 */
	   "wbinvd\n");			/* 14 */

/* A fault of an instruction that is completed in the kernel: its handler is next. */
TEST_F(step, rdmsr)
{
	vcpu_load(self->vcpu, MODE_LONG, msrs);
	EXPECT_EQ(5, step_code(self->vcpu));
	EXPECT_EQ(7, step_code(self->vcpu));
	EXPECT_EQ(12, step_code(self->vcpu));
	EXPECT_EQ(STUB(GP), step(self->vcpu));
	ASSERT_EQ(0, set_exits(self->vcpu, 0));
	EXPECT_EQ(CODE_GPA + 12, run_vector(self->vcpu, GP)->rip);
	EXPECT_EQ(0, guest_trap(self->vm)->rflags & FLAG_TF);
}

GUEST_CODE(for_the_vmm, 64,
	   "out %eax, $PORT_VALUE\n"	/* 0 */
	   "in $PORT_VALUE, %eax\n"	/* 2 */
	   "mov %eax, (%rbx)\n"		/* 4 */
	   "mov (%rbx), %ecx\n"		/* 6 */
	   "addl $1, (%rbx)\n"		/* 8 */
	   "hlt\n"			/* 11 */
	   "nop\n");			/* 12 */

/* Those that the VMM completes leave for that first, and end with the step. */
TEST_F(step, for_the_vmm)
{
	struct vmm_exit *e = &self->vcpu->run->exit;

	vcpu_load(self->vcpu, MODE_LONG, for_the_vmm);
	vcpu_get(self->vcpu, VMM_STATE_REGS);
	self->vcpu->state.regs.gpr[VMM_RAX] = 7;
	self->vcpu->state.regs.gpr[VMM_RBX] = MMIO_GPA;
	vcpu_set(self->vcpu, VMM_STATE_REGS);

	run_until(self->vcpu, VMM_EXIT_IO);
	EXPECT_EQ(7, e->io.data);
	EXPECT_EQ(2, step_code(self->vcpu));

	run_until(self->vcpu, VMM_EXIT_IO);
	e->io.data = 8;
	EXPECT_EQ(4, step_code(self->vcpu));
	EXPECT_EQ(8, reg(self->vcpu, VMM_RAX));

	run_until(self->vcpu, VMM_EXIT_MMIO);
	EXPECT_EQ(1, e->mmio.write);
	EXPECT_EQ(8, e->mmio.data);
	EXPECT_EQ(6, step_code(self->vcpu));

	run_until(self->vcpu, VMM_EXIT_MMIO);
	e->mmio.data = 9;
	EXPECT_EQ(8, step_code(self->vcpu));
	EXPECT_EQ(9, reg(self->vcpu, VMM_RCX));

	run_until(self->vcpu, VMM_EXIT_MMIO);
	e->mmio.data = 10;
	run_until(self->vcpu, VMM_EXIT_MMIO);
	EXPECT_EQ(11, e->mmio.data);
	EXPECT_EQ(11, step_code(self->vcpu));

	run_until(self->vcpu, VMM_EXIT_HLT);
	EXPECT_EQ(12, step_code(self->vcpu));
}

/* What is due at an exit is in the vCPU's state, and moves with it. */
TEST_F(step, saved_between)
{
	struct vcpu *other;

	vcpu_load(self->vcpu, MODE_LONG, for_the_vmm);
	run_until(self->vcpu, VMM_EXIT_IO);
	vcpu_get(self->vcpu, VMM_STATE_PENDING);
	EXPECT_EQ(VMM_PENDING_NONE, self->vcpu->state.pending.kind);
	EXPECT_EQ(1, self->vcpu->state.pending.step);

	other = vcpu_create(self->vm, 1);
	vcpu_get(self->vcpu, VMM_STATE_ALL & ~(VMM_STATE_XSAVE | VMM_STATE_LAPIC));
	other->state = self->vcpu->state;
	vcpu_set(other, VMM_STATE_ALL & ~(VMM_STATE_XSAVE | VMM_STATE_LAPIC));
	ASSERT_EQ(0, set_exits(other, VMM_EXITS_STEP));
	EXPECT_EQ(2, step_code(other));

	/* The VMM is asked no more: nothing is due. */
	ASSERT_EQ(0, set_exits(self->vcpu, 0));
	run_until(self->vcpu, VMM_EXIT_IO);
	EXPECT_EQ(1, self->vcpu->run->exit.io.in);

	vcpu_get(self->vcpu, VMM_STATE_PENDING);
	self->vcpu->state.pending.step = 2;
	EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_PENDING));
}

/* What is due waits for a run that is to come at once to an end. */
TEST_F(step, immediate_exit)
{
	vcpu_load(self->vcpu, MODE_LONG, for_the_vmm);
	run_until(self->vcpu, VMM_EXIT_IO);
	self->vcpu->run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	self->vcpu->run->immediate_exit = 0;
	EXPECT_EQ(2, step_code(self->vcpu));
}

GUEST_CODE(strings, 64,
	   "mov $3, %ecx\n"		/* 0 */
	   "mov $DATA_GPA, %edi\n"	/* 5 */
	   "rep stosb\n"		/* 10 */
	   "1: jmp 1b\n");		/* 12 */

TEST_F(step, each_iteration)
{
	vcpu_load(self->vcpu, MODE_LONG, strings);
	step(self->vcpu);
	EXPECT_EQ(10, step_code(self->vcpu));
	EXPECT_EQ(10, step_code(self->vcpu));
	EXPECT_EQ(2, reg(self->vcpu, VMM_RCX));
	EXPECT_EQ(10, step_code(self->vcpu));
	/* CPUs may end it with the last iteration, or find that none is left. */
	if (step_code(self->vcpu) == 10)
		EXPECT_EQ(12, step_code(self->vcpu));
	EXPECT_EQ(0, reg(self->vcpu, VMM_RCX));
}

GUEST_CODE(stack_switch, 64,
	   "mov %ss, %eax\n"		/* 0 */
	   "mov %eax, %ss\n"		/* 2 */
	   "out %eax, $PORT_VALUE\n"	/* 4 */
	   "sti\n"			/* 6 */
	   "nop\n"			/* 7 */
	   "1: jmp 1b\n");		/* 8 */

/* From an STI; QEMU's CPU traps behind the instruction in its shadow, as behind MOV SS's. */
static void step_sti(struct vcpu *vcpu)
{
	if (!host_is_qemu() && step(vcpu) != CODE_GPA + 7)
		fail("not one step over STI");
	if (step(vcpu) != CODE_GPA + 8)
		fail("not one step in STI's shadow");
}

/* Traps wait for the instruction behind MOV SS, which a step may include (APM vol. 2 13.1.4). */
TEST_F(step, interrupt_shadows)
{
	vcpu_load(self->vcpu, MODE_LONG, stack_switch);
	EXPECT_EQ(2, step_code(self->vcpu));
	ASSERT_EQ(0, vcpu_run(self->vcpu));
	if (self->vcpu->run->exit.reason == VMM_EXIT_DEBUG) {
		EXPECT_EQ(4, stepped(self->vcpu) - CODE_GPA);
		run_until(self->vcpu, VMM_EXIT_IO);
	}
	EXPECT_EQ(6, step_code(self->vcpu));
	step_sti(self->vcpu);
}

/* ---- flags ---- */

GUEST_CODE(flags_on_stack, 64,
	   "pushf\n"			/* 0 */
	   "pop %rax\n"			/* 1 */
	   "pushfw\n"			/* 2 */
	   "pop %bx\n"			/* 4 */
	   "push %rax\n"		/* 6 */
	   "popf\n"			/* 7 */
	   "pushf\n"			/* 8 */
	   "popf\n"			/* 9 */
	   "1: jmp 1b\n");		/* 10 */

TEST_F(step, no_trap_flag_is_seen)
{
	static const u8 rips[] = { 1, 2, 4, 6, 7, 8, 9, 10, 10 };
	unsigned int i;

	vcpu_load(self->vcpu, MODE_LONG, flags_on_stack);
	set_flags(self->vcpu, FLAG_FIXED | FLAG_CF);
	for (i = 0; i < sizeof(rips); i++) {
		EXPECT_EQ(rips[i], step_code(self->vcpu));
		EXPECT_EQ(0, flags(self->vcpu) & FLAG_TF);
		EXPECT_EQ(0, self->vcpu->run->exit.rflags & FLAG_TF);
	}
	EXPECT_EQ(FLAG_FIXED | FLAG_CF,
		  reg(self->vcpu, VMM_RAX) & (FLAG_FIXED | FLAG_CF | FLAG_TF));
	EXPECT_EQ(FLAG_FIXED | FLAG_CF, reg(self->vcpu, VMM_RBX));
}

GUEST_CODE(steps_itself, 64,
	   "pushf\n"			/* 0 */
	   "orl $0x100, (%rsp)\n"	/* 1 */
	   "popf\n"			/* 8 */
	   "pushf\n"			/* 9 */
	   "cpuid\n"			/* 10 */
	   "1: jmp 1b\n");		/* 12 */

/* A guest that steps itself gets its own traps beside, at the same places. */
TEST_F(step, a_guest_that_does_too)
{
	int i;

	vcpu_load(self->vcpu, MODE_LONG, steps_itself);
	EXPECT_EQ(1, step_code(self->vcpu));
	EXPECT_EQ(8, step_code(self->vcpu));
	EXPECT_EQ(9, step_code(self->vcpu));
	EXPECT_EQ(FLAG_TF, flags(self->vcpu) & FLAG_TF);
	/* PUSHF, and the flag in what it stores */
	EXPECT_EQ(10, step_code(self->vcpu));
	EXPECT_EQ(FLAG_TF, guest_u64(self->vm, reg(self->vcpu, VMM_RSP)) & FLAG_TF);
	EXPECT_EQ(STUB(DB), step(self->vcpu));
	EXPECT_EQ(0, flags(self->vcpu) & FLAG_TF);
	/* The handler, up to its return */
	for (i = 0; i < 200; i++) {
		ASSERT_EQ(0, vcpu_run(self->vcpu));
		if (self->vcpu->run->exit.reason == VMM_EXIT_IO)
			continue;
		if (stepped(self->vcpu) == CODE_GPA + 10)
			break;
	}
	ASSERT_LT(i, 200);
	EXPECT_EQ(DB, guest_trap(self->vm)->vector);
	EXPECT_EQ(CODE_GPA + 10, guest_trap(self->vm)->rip);
	EXPECT_EQ(FLAG_TF, guest_trap(self->vm)->rflags & FLAG_TF);
	EXPECT_EQ(FLAG_TF, flags(self->vcpu) & FLAG_TF);
	vcpu_get(self->vcpu, VMM_STATE_DEBUG);
	EXPECT_EQ(DR6_BS, self->vcpu->state.debug.dr6 & (DR6_BS | 0xf));
	/* CPUID leaves. */
	EXPECT_EQ(12, step_code(self->vcpu));
	EXPECT_EQ(STUB(DB), step(self->vcpu));
}

/* ---- events ---- */

GUEST_CODE(interrupts_itself, 64,
	   "int $0x80\n"		/* 0 */
	   "int3\n"			/* 2 */
	   "ud2\n");			/* 3 */

/* Step through a handler of vmmtest.h's up to CODE_GPA. */
static u64 through_handler(struct vcpu *vcpu)
{
	u64 address = 0;
	int i;

	for (i = 0; i < 200 && address < CODE_GPA; i++) {
		if (vcpu_run(vcpu))
			fail("VMM_RUN");
		if (vcpu->run->exit.reason != VMM_EXIT_IO)
			address = stepped(vcpu);
	}
	return address - CODE_GPA;
}

TEST_F(step, software_interrupts)
{
	static const enum guest_mode modes[] = { MODE_LONG, MODE_COMPAT, MODE_PROTECTED };
	struct guest_trap *trap = guest_trap(self->vm);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		vcpu_load(self->vcpu, modes[i], interrupts_itself);
		EXPECT_EQ(STUB(0x80), step(self->vcpu));
		EXPECT_EQ(2, through_handler(self->vcpu));
		EXPECT_EQ(0x80, trap->vector);
		EXPECT_EQ(CODE_GPA + 2, trap->rip);
		EXPECT_EQ(FLAG_FIXED, trap->rflags & (FLAG_FIXED | FLAG_TF | FLAG_RF));
		EXPECT_EQ(STUB(BP), step(self->vcpu));
		EXPECT_EQ(3, through_handler(self->vcpu));
		EXPECT_EQ(BP, trap->vector);
		EXPECT_EQ(CODE_GPA + 3, trap->rip);
		EXPECT_EQ(0, trap->rflags & FLAG_TF);
		/* A fault returns to its instruction. */
		EXPECT_EQ(STUB(UD), step(self->vcpu));
		EXPECT_EQ(3, through_handler(self->vcpu));
		EXPECT_EQ(CODE_GPA + 3, trap->rip);
		EXPECT_EQ(0, trap->rflags & FLAG_TF);
	}
}

/* From user mode, with a change of stacks; and a gate that it may not use */
TEST_F(step, from_user_mode)
{
	struct guest_trap *trap = guest_trap(self->vm);

	vcpu_load(self->vcpu, MODE_LONG, interrupts_itself);
	vcpu_set_user(self->vcpu);
	EXPECT_EQ(STUB(0x80), step(self->vcpu));
	EXPECT_EQ(2, through_handler(self->vcpu));
	EXPECT_EQ(CODE_GPA + 2, trap->rip);
	EXPECT_EQ(SEL_USER_CODE64, trap->cs);

	vcpu_load(self->vcpu, MODE_LONG, interrupts_itself);
	vcpu_set_user(self->vcpu);
	guest_u64(self->vm, IDT_GPA + 16 * 0x80) &= ~(3ULL << 45);
	EXPECT_EQ(STUB(GP), step(self->vcpu));
	EXPECT_EQ(0, through_handler(self->vcpu));
	EXPECT_EQ(CODE_GPA, trap->rip);
	/* QEMU counts 16 bytes of the IDT in it. */
	if (!host_is_qemu())
		EXPECT_EQ(0x80 << 3 | 2, trap->error);
	EXPECT_EQ(0, trap->rflags & FLAG_TF);
}

/* The VMM's breakpoints are told from steps. */
TEST_F(step, breakpoint)
{
	ASSERT_EQ(0, set_exits(self->vcpu, VMM_EXITS_STEP | VMM_EXITS_BREAKPOINT));
	vcpu_load(self->vcpu, MODE_LONG, interrupts_itself);
	step(self->vcpu);
	EXPECT_EQ(2, through_handler(self->vcpu));
	if (host_is_qemu())
		SKIP(return, "this CPU does not tell INT3 from INT 3");
	run_until(self->vcpu, VMM_EXIT_DEBUG);
	EXPECT_EQ(VMM_DEBUG_BREAKPOINT, self->vcpu->run->exit.debug.kind);
	EXPECT_EQ(CODE_GPA + 2, self->vcpu->run->exit.debug.address);
	EXPECT_EQ(0, flags(self->vcpu) & FLAG_TF);
}

GUEST_CODE(touches_nothing, 64,
	   "movl $1, 0x7ffff000\n"	/* 0 */
	   "nop\n");			/* 11 */

TEST_F(step, page_fault)
{
	struct guest_trap *trap = guest_trap(self->vm);

	vcpu_load(self->vcpu, MODE_LONG, touches_nothing);
	guest_map(self->vm, 0x7ffff000, 0, 0);
	EXPECT_EQ(STUB(PF), step(self->vcpu));
	EXPECT_EQ(0, through_handler(self->vcpu));
	EXPECT_EQ(0x7ffff000, trap->cr2);
	EXPECT_EQ(2, trap->error);
	EXPECT_EQ(0, trap->rflags & FLAG_TF);
	guest_map(self->vm, 0x7ffff000, DATA_GPA, PTE_P | PTE_RW);
	EXPECT_EQ(11, step_code(self->vcpu));
	EXPECT_EQ(1, guest_u32(self->vm, DATA_GPA));
}

/* An interrupt and an NMI from outside: a step ends where their handlers begin. */
GUEST_CODE(waits, 64, "nop; nop; nop\n1: jmp 1b\n");

TEST_F(step, from_outside)
{
	struct guest_trap *trap = guest_trap(self->vm);

	vcpu_load(self->vcpu, MODE_LONG, waits);
	EXPECT_EQ(1, step_code(self->vcpu));
	ASSERT_EQ(0, vcpu_interrupt(self->vcpu, 0x51));
	/* Interrupts are off. */
	EXPECT_EQ(2, step_code(self->vcpu));
	set_flags(self->vcpu, FLAG_FIXED | FLAG_IF);
	EXPECT_EQ(STUB(0x51), step(self->vcpu));
	EXPECT_EQ(2, through_handler(self->vcpu));
	EXPECT_EQ(0x51, trap->vector);
	EXPECT_EQ(CODE_GPA + 2, trap->rip);
	EXPECT_EQ(FLAG_IF, trap->rflags & (FLAG_IF | FLAG_TF));

	ASSERT_EQ(0, vcpu_nmi(self->vcpu));
	EXPECT_EQ(STUB(NMI), step(self->vcpu));
	/* One more, which is held back up to the IRET */
	ASSERT_EQ(0, vcpu_nmi(self->vcpu));
	vcpu_get(self->vcpu, VMM_STATE_EVENTS);
	EXPECT_EQ(1, self->vcpu->state.events.nmi_blocked);
	EXPECT_EQ(2, through_handler(self->vcpu));
	EXPECT_EQ(CODE_GPA + 2, trap->rip);
	EXPECT_EQ(FLAG_IF, trap->rflags & (FLAG_IF | FLAG_TF));
	vcpu_get(self->vcpu, VMM_STATE_EVENTS);
	EXPECT_EQ(0, self->vcpu->state.events.nmi_blocked);
	EXPECT_EQ(STUB(NMI), step(self->vcpu));
	EXPECT_EQ(2, through_handler(self->vcpu));
	EXPECT_EQ(3, step_code(self->vcpu));
}

/* The VMM waits for the interrupt window, and is told of it between two steps. */
TEST_F(step, interrupt_window)
{
	vcpu_load(self->vcpu, MODE_LONG, stack_switch);
	vcpu_get(self->vcpu, VMM_STATE_REGS);
	self->vcpu->state.regs.rip += 6;
	vcpu_set(self->vcpu, VMM_STATE_REGS);
	self->vcpu->run->interrupt_window = 1;
	step_sti(self->vcpu);
	run_until(self->vcpu, VMM_EXIT_INTERRUPT_WINDOW);
	self->vcpu->run->interrupt_window = 0;
	EXPECT_EQ(8, step_code(self->vcpu));
}

/* ---- system calls ---- */

GUEST_CODE(calls_the_system, 64,
	   "syscall\n"			/* 0 */
	   "nop\n"			/* 2 */
	   "1: jmp 1b\n"		/* 3 */
	   ".org calls_the_system + 16\n"
	   "nop\n"			/* 16 */
	   "sysretq\n");		/* 17 */

TEST_F(step, system_calls)
{
	u64 masks[] = { FLAG_TF | FLAG_IF, 0 };
	int i;

	for (i = 0; i < 2; i++) {
		vcpu_load(self->vcpu, MODE_LONG, calls_the_system);
		/* SYSCALL: CS and SS at 0x8; SYSRET: SS at 0x3b, CS at 0x43, a 64-bit one */
		ASSERT_EQ(0, vcpu_set_msr(self->vcpu, MSR_STAR, 0x33ULL << 48 | 0x8ULL << 32));
		ASSERT_EQ(0, vcpu_set_msr(self->vcpu, MSR_LSTAR, CODE_GPA + 16));
		ASSERT_EQ(0, vcpu_set_msr(self->vcpu, MSR_SFMASK, masks[i]));
		vcpu_get(self->vcpu, VMM_STATE_CONTROL);
		self->vcpu->state.control.efer |= EFER_SCE;
		vcpu_set(self->vcpu, VMM_STATE_CONTROL);
		vcpu_set_user(self->vcpu);
		set_flags(self->vcpu, FLAG_FIXED | FLAG_CF);

		EXPECT_EQ(16, step_code(self->vcpu));
		EXPECT_EQ(0, self->vcpu->run->exit.cpl);
		EXPECT_EQ(FLAG_FIXED | FLAG_CF, reg(self->vcpu, VMM_R11));
		EXPECT_EQ(CODE_GPA + 2, reg(self->vcpu, VMM_RCX));
		EXPECT_EQ(0, flags(self->vcpu) & FLAG_TF);
		vcpu_get(self->vcpu, VMM_STATE_MSRS);
		EXPECT_EQ(masks[i], self->vcpu->state.msrs.sfmask);
		EXPECT_EQ(17, step_code(self->vcpu));
		EXPECT_EQ(2, step_code(self->vcpu));
		EXPECT_EQ(3, self->vcpu->run->exit.cpl);
		EXPECT_EQ(FLAG_FIXED | FLAG_CF, reg(self->vcpu, VMM_R11));
		EXPECT_EQ(FLAG_FIXED | FLAG_CF, flags(self->vcpu));
		EXPECT_EQ(3, step_code(self->vcpu));
	}
}

/* ---- beside other exits ---- */

/* With it off again the guest runs. */
GUEST_CODE(counts, 64,
	   "1: inc %ecx\n"
	   "cmp $1000, %ecx\n"
	   "jb 1b\n"
	   "mov %ecx, %eax\n"
	   "out %eax, $PORT_VALUE\n"
	   "out %al, $PORT_DONE\n");

TEST_F(step, off_again)
{
	int i;

	vcpu_load(self->vcpu, MODE_LONG, counts);
	for (i = 0; i < 30; i++)
		step(self->vcpu);
	EXPECT_EQ(10, reg(self->vcpu, VMM_RCX));
	ASSERT_EQ(0, set_exits(self->vcpu, 0));
	EXPECT_EQ(1000, run_value(self->vcpu));
	run_done(self->vcpu);
}

/* A halted guest sleeps, and its next step ends where the handler of what wakes it begins. */
TEST_F(step, halt_with_lapic)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	struct vcpu *vcpu = vcpu_create(vm, 0);

	ASSERT_EQ(0, set_exits(vcpu, VMM_EXITS_STEP));
	vcpu_load(vcpu, MODE_LONG, for_the_vmm);
	vcpu_get(vcpu, VMM_STATE_REGS);
	vcpu->state.regs.rip += 11;
	vcpu_set(vcpu, VMM_STATE_REGS);
	EXPECT_EQ(12, step_code(vcpu));
	vcpu_get(vcpu, VMM_STATE_EVENTS);
	EXPECT_EQ(VMM_MP_HALTED, vcpu->state.events.mp_state);
	ASSERT_EQ(0, vcpu_nmi(vcpu));
	EXPECT_EQ(STUB(NMI), step(vcpu));
	EXPECT_EQ(12, through_handler(vcpu));
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
