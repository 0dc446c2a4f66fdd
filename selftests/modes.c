// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests in every mode of the CPU, and a guest's own way through all of them.
 */
#include "kselftest_harness.h"
#include "vmmtest.h"

/* Arithmetic, a subroutine, memory through DS, the stack and an interrupt. */
GUEST_CODE(work16, 16,
	   "mov %cs, %ax; out %ax, $PORT_VALUE\n"
	   "mov $0x1200, %ax; add $0x34, %ax; mov %ax, 0x10\n"
	   "push %ax; call 1f; pop %ax\n"
	   "int $0x40\n"
	   "mov 0x10, %ax; out %ax, $PORT_VALUE\n"
	   "out %al, $PORT_DONE\n"
	   "1: incw 0x10; ret\n");

GUEST_CODE(work32, 32,
	   "mov %cr0, %eax; out %eax, $PORT_VALUE\n"
	   "mov $0x12000000, %eax; add $0x34, %eax; mov %eax, DATA_GPA + 0x10\n"
	   "push %eax; call 1f; pop %eax\n"
	   "int $0x40\n"
	   "mov DATA_GPA + 0x10, %eax; out %eax, $PORT_VALUE\n"
	   "out %al, $PORT_DONE\n"
	   "1: incl DATA_GPA + 0x10; ret\n");

GUEST_CODE(work64, 64,
	   "mov %cr0, %rax; out %eax, $PORT_VALUE\n"
	   "mov $0x1200000000000000, %r9; add $0x34, %r9; mov %r9, DATA_GPA + 0x10\n"
	   "push %r9; call 1f; pop %r9\n"
	   "int $0x40\n"
	   "mov DATA_GPA + 0x10, %rax; out %eax, $PORT_VALUE\n"
	   "shr $32, %rax; out %eax, $PORT_VALUE\n"
	   "out %al, $PORT_DONE\n"
	   "1: incq DATA_GPA + 0x10; ret\n");

FIXTURE(modes) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(modes)
{
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(modes)
{
	vm_destroy(self->vm);
}

TEST_F(modes, real)
{
	struct guest_trap *trap;

	vcpu_load(self->vcpu, MODE_REAL, work16);
	EXPECT_EQ(CODE_GPA >> 4, run_value(self->vcpu));
	trap = run_vector(self->vcpu, 0x40);
	EXPECT_EQ(CODE_GPA >> 4, trap->cs);
	EXPECT_EQ(0x1235, run_value(self->vcpu));
	run_done(self->vcpu);
	EXPECT_EQ(0x1235, guest_u16(self->vm, DATA_GPA + 0x10));
}

static void check_32(struct __test_metadata *_metadata, struct vcpu *vcpu, enum guest_mode mode)
{
	struct guest_trap *trap;
	u64 cr0;

	vcpu_load(vcpu, mode, work32);
	cr0 = run_value(vcpu);
	EXPECT_EQ(CR0_PE | (mode == MODE_PROTECTED ? 0 : CR0_PG), cr0 & (CR0_PE | CR0_PG));
	trap = run_vector(vcpu, 0x40);
	EXPECT_EQ(SEL_CODE32, trap->cs);
	EXPECT_EQ(0x12000035, run_value(vcpu));
	run_done(vcpu);
	EXPECT_EQ(0x12000035, guest_u32(vcpu->vm, DATA_GPA + 0x10));
}

TEST_F(modes, protected)
{
	check_32(_metadata, self->vcpu, MODE_PROTECTED);
}

TEST_F(modes, paged)
{
	check_32(_metadata, self->vcpu, MODE_PAGED);
}

TEST_F(modes, pae)
{
	check_32(_metadata, self->vcpu, MODE_PAE);
}

TEST_F(modes, compatibility)
{
	check_32(_metadata, self->vcpu, MODE_COMPAT);
}

static void check_64(struct __test_metadata *_metadata, struct vcpu *vcpu, enum guest_mode mode)
{
	struct guest_trap *trap;

	vcpu_load(vcpu, mode, work64);
	EXPECT_EQ(CR0_PE | CR0_PG, run_value(vcpu) & (CR0_PE | CR0_PG));
	trap = run_vector(vcpu, 0x40);
	EXPECT_EQ(SEL_CODE64, trap->cs);
	EXPECT_EQ(0x35, run_value(vcpu));
	EXPECT_EQ(0x12000000, run_value(vcpu));
	run_done(vcpu);
	EXPECT_EQ(0x1200000000000035, guest_u64(vcpu->vm, DATA_GPA + 0x10));
}

TEST_F(modes, long_4_level)
{
	check_64(_metadata, self->vcpu, MODE_LONG);
}

TEST_F(modes, long_5_level)
{
	if (!mode_supported(self->vm, MODE_LA57))
		SKIP(return, "this host has no 5-level paging");
	check_64(_metadata, self->vcpu, MODE_LA57);
}

/* Registers of all sizes arrive and are found again where they belong. */
GUEST_CODE(increment64, 64,
	   "inc %rax; inc %rcx; inc %rdx; inc %rbx; inc %rbp; inc %rsi; inc %rdi\n"
	   "inc %r8; inc %r9; inc %r10; inc %r11; inc %r12; inc %r13; inc %r14; inc %r15\n"
	   "out %al, $PORT_DONE\n");

TEST_F(modes, registers)
{
	struct vmm_regs *regs = &self->vcpu->state.regs;
	int i;

	vcpu_load(self->vcpu, MODE_LONG, increment64);
	for (i = 0; i < VMM_NR_GPRS; i++)
		if (i != VMM_RSP)
			regs->gpr[i] = 0x1111111111111111ULL * i;
	regs->rflags = FLAG_FIXED | FLAG_CF | FLAG_DF;
	vcpu_set(self->vcpu, VMM_STATE_REGS);
	run_done(self->vcpu);
	memset(regs, 0xcc, sizeof(*regs));
	vcpu_get(self->vcpu, VMM_STATE_REGS);
	for (i = 0; i < VMM_NR_GPRS; i++)
		EXPECT_EQ(i == VMM_RSP ? STACK_TOP : 0x1111111111111111ULL * i + 1,
			  regs->gpr[i]);
	EXPECT_EQ(CODE_GPA + code_size(increment64), regs->rip);
	/* INC leaves CF and DF alone. */
	EXPECT_EQ(FLAG_FIXED | FLAG_CF | FLAG_DF,
		  regs->rflags & (FLAG_FIXED | FLAG_CF | FLAG_DF));
}

/* A fresh vCPU is a PC at power-on: the first instruction is 16 bytes below 4 GiB. */
GUEST_CODE(reset_vector, 16,
	   "mov %cs, %ax; out %ax, $PORT_VALUE\n"
	   "mov %edx, %eax; out %eax, $PORT_VALUE\n"
	   "ljmp $0, $0x600\n");
GUEST_CODE(after_reset, 16,
	   "smsw %ax; out %ax, $PORT_VALUE\n"
	   "out %al, $PORT_DONE\n");

TEST(power_on)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u8 *rom = map_memory(64 * KIB);

	memcpy(rom + 0xfff0 - 0x20, reset_vector, code_size(reset_vector));
	/* jmp to 0x20 bytes before the reset vector */
	memcpy(rom + 0xfff0, "\xeb\xde", 2);
	memcpy(guest_ptr(vm, 0x600, code_size(after_reset)), after_reset, code_size(after_reset));
	ASSERT_EQ(0, vm_set_slot(vm, 1, 0xffff0000, 64 * KIB, rom, VMM_MEM_READONLY));

	vcpu_get(vcpu, VMM_STATE_SYNC);
	EXPECT_EQ(0xfff0, vcpu->state.regs.rip);
	EXPECT_EQ(FLAG_FIXED, vcpu->state.regs.rflags);
	EXPECT_EQ(0xffff0000, vcpu->state.segments.seg[VMM_CS].base);
	EXPECT_EQ(0xf000, vcpu->state.segments.seg[VMM_CS].selector);
	EXPECT_EQ(0xffff, vcpu->state.segments.seg[VMM_DS].limit);
	EXPECT_EQ(0xffff, vcpu->state.segments.seg[VMM_IDTR].limit);
	EXPECT_EQ(CR0_ET | CR0_CD | CR0_NW, vcpu->state.control.cr0);
	EXPECT_EQ(0, vcpu->state.control.cr4);
	EXPECT_EQ(0, vcpu->state.control.efer);
	EXPECT_EQ(0xffff0ff0, vcpu->state.debug.dr6);
	EXPECT_EQ(0x400, vcpu->state.debug.dr7);
	EXPECT_EQ(VMM_MP_RUNNABLE, vcpu->state.events.mp_state);

	EXPECT_EQ(0xf000, run_value(vcpu));
	/* EDX holds the CPU's signature. */
	EXPECT_EQ(vcpu->state.regs.gpr[VMM_RDX], run_value(vcpu));
	EXPECT_EQ(CR0_ET, run_value(vcpu) & 0xffff);
	run_done(vcpu);
	vm_destroy(vm);
}

/*
 * Real mode to 64-bit code and all the way back, with nothing set by the VMM.
 * The page tables are there already.
 */
GUEST_CODE(through_all_modes, 16,
	   "lgdt %cs:(8f - through_all_modes)\n"
	   "mov %cr0, %eax; or $1, %eax; mov %eax, %cr0\n"
	   "ljmpl $SEL_CODE32, $(1f - through_all_modes + CODE_GPA)\n"
	   /* protected mode */
	   ".code32\n"
	   "1: mov $SEL_DATA, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss\n"
	   "mov %cr0, %eax; out %eax, $PORT_VALUE\n"
	   /* compatibility mode */
	   "mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4\n"
	   "mov $TABLES_GPA, %eax; mov %eax, %cr3\n"
	   "mov $0xc0000080, %ecx; rdmsr; or $0x100, %eax; wrmsr\n"
	   "rdmsr; out %eax, $PORT_VALUE\n"
	   "mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
	   "rdmsr; out %eax, $PORT_VALUE\n"
	   "ljmp $SEL_CODE64, $(2f - through_all_modes + CODE_GPA)\n"
	   /* 64-bit mode */
	   ".code64\n"
	   "2: mov $0x123456789abcdef0, %rbx; mov %rbx, DATA_GPA\n"
	   "mov %rbx, %rax; shr $32, %rax; out %eax, $PORT_VALUE\n"
	   "pushq $SEL_CODE32; pushq $(3f - through_all_modes + CODE_GPA); lretq\n"
	   /* compatibility mode, then protected mode without paging */
	   ".code32\n"
	   "3: mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0\n"
	   "rdmsr; out %eax, $PORT_VALUE\n"
	   "and $~0x100, %eax; wrmsr; rdmsr; out %eax, $PORT_VALUE\n"
	   "mov %cr4, %eax; and $~0x20, %eax; mov %eax, %cr4\n"
	   "ljmp $SEL_CODE16, $(4f - through_all_modes)\n"
	   /* 16-bit protected mode, then real mode */
	   ".code16\n"
	   "4: mov $SEL_DATA16, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss\n"
	   "mov %cr0, %eax; and $~1, %eax; mov %eax, %cr0\n"
	   "ljmp $(CODE_GPA >> 4), $(5f - through_all_modes)\n"
	   "5: mov $(DATA_GPA >> 4), %ax; mov %ax, %ds\n"
	   "mov 0, %eax; out %eax, $PORT_VALUE\n"
	   "smsw %ax; out %ax, $PORT_VALUE\n"
	   "out %al, $PORT_DONE\n"
	   "8: .word 0xff; .long GDT_GPA\n");

/* An exit for which the instruction may have to be read through the guest's tables */
GUEST_CODE(read_msr, 32, "mov $0x277, %ecx; rdmsr; out %eax, $PORT_VALUE\n");

TEST_F(modes, instructions_are_found_in_32_bit_modes)
{
	static const enum guest_mode modes[] = {
		MODE_PROTECTED, MODE_PAGED, MODE_PAE, MODE_COMPAT,
	};
	unsigned int i;

	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		vcpu_load(self->vcpu, modes[i], read_msr);
		EXPECT_EQ(0x00070406, run_value(self->vcpu));
	}
}

/* LME, and exits with it, before PAE */
GUEST_CODE(long_mode_wanted, 16,
	   "mov $0xc0000080, %ecx; rdmsr; or $0x100, %eax; wrmsr\n"
	   "1: rdmsr; out %eax, $PORT_VALUE; jmp 1b\n");

TEST_F(modes, long_mode_wanted_without_pae)
{
	int i;

	vcpu_load(self->vcpu, MODE_REAL, long_mode_wanted);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(EFER_LME, run_value(self->vcpu));
}

TEST_F(modes, through_all)
{
	struct vcpu *vcpu = self->vcpu;

	vcpu_set_mode(vcpu, MODE_LONG);
	vcpu_load(vcpu, MODE_REAL, through_all_modes);
	EXPECT_EQ(CR0_PE | CR0_ET, run_value(vcpu) & (CR0_PE | CR0_ET | CR0_PG));
	EXPECT_EQ(EFER_LME, run_value(vcpu));
	EXPECT_EQ(EFER_LME | EFER_LMA, run_value(vcpu));
	EXPECT_EQ(0x12345678, run_value(vcpu));
	EXPECT_EQ(EFER_LME, run_value(vcpu));
	EXPECT_EQ(0, run_value(vcpu));
	EXPECT_EQ(0x9abcdef0, run_value(vcpu));
	EXPECT_EQ(CR0_ET, run_value(vcpu) & (CR0_PE | CR0_ET));
	run_done(vcpu);
	vcpu_get(vcpu, VMM_STATE_CONTROL);
	EXPECT_EQ(0, vcpu->state.control.efer);
	EXPECT_EQ(0, vcpu->state.control.cr4 & CR4_PAE);
}

/* Real mode keeps what protected mode loaded into the hidden parts of segments. */
GUEST_CODE(big_real, 16,
	   "mov $0x200000, %ebx; addr32 movl $0x600dcafe, (%ebx)\n"
	   "addr32 mov (%ebx), %eax; out %eax, $PORT_VALUE\n"
	   "out %al, $PORT_DONE\n");

TEST_F(modes, real_with_large_segments)
{
	struct vmm_segment *ds = &self->vcpu->state.segments.seg[VMM_DS];

	vcpu_load(self->vcpu, MODE_REAL, big_real);
	ds->base = 0;
	ds->limit = ~0;
	ds->attr |= VMM_SEG_G;
	vcpu_set(self->vcpu, VMM_STATE_SEGMENTS);
	EXPECT_EQ(0x600dcafe, run_value(self->vcpu));
	run_done(self->vcpu);
	EXPECT_EQ(0x600dcafe, guest_u32(self->vm, 0x200000));
}

/* Registers that hold no segment do once real mode has loaded them. */
GUEST_CODE(real_loads, 16,
	   "mov $(DATA_GPA >> 4), %ax; mov %ax, %es; mov %ax, %fs; mov %ax, %gs\n"
	   "out %al, $PORT_VALUE\n"
	   "movw $0x1e5, %es:0; movw $0x1f5, %fs:2; movw $0x165, %gs:4\n"
	   "out %al, $PORT_DONE\n");

TEST_F(modes, real_mode_loads_what_was_unusable)
{
	static const u8 registers[] = { VMM_ES, VMM_FS, VMM_GS };
	struct vcpu *vcpu = self->vcpu;
	struct vmm_segment *seg;
	int i;

	vcpu_load(vcpu, MODE_REAL, real_loads);
	/* What is left in them has a limit that is in pages, and says it no more. */
	for (i = 0; i < 3; i++) {
		seg = &vcpu->state.segments.seg[registers[i]];
		seg->limit = ~0;
		seg->attr = 0;
	}
	vcpu_set(vcpu, VMM_STATE_SEGMENTS);
	run_value(vcpu);
	run_done(vcpu);
	EXPECT_EQ(0x1e5, guest_u16(self->vm, DATA_GPA));
	EXPECT_EQ(0x1f5, guest_u16(self->vm, DATA_GPA + 2));
	EXPECT_EQ(0x165, guest_u16(self->vm, DATA_GPA + 4));

	vcpu_get(vcpu, VMM_STATE_SYNC);
	EXPECT_EQ(0, vcpu_try_set(vcpu, VMM_STATE_SYNC));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(DATA_GPA, vcpu->state.segments.seg[registers[i]].base);
}

/* Virtual-8086 mode runs, and HLT there is a #GP to the protected-mode handler. */
GUEST_CODE(virtual_8086, 16,
	   "mov %cs, %ax; mov %ax, 0x20\n"
	   "movw $0x8086, 0x22\n"
	   "1: hlt\n");

TEST_F(modes, virtual_8086)
{
	struct vmm_state *state = &self->vcpu->state;
	struct guest_trap *trap;
	int i;

	vcpu_load(self->vcpu, MODE_PAGED, virtual_8086);
	for (i = VMM_ES; i <= VMM_GS; i++) {
		u64 base = i == VMM_CS ? CODE_GPA : i == VMM_SS ? STACK_GPA : DATA_GPA;

		state->segments.seg[i] = (struct vmm_segment) {
			.base = base, .selector = base >> 4, .limit = 0xffff, .attr = 0xf3,
		};
	}
	state->regs.rflags = FLAG_FIXED | FLAG_VM | 3 << 12;
	state->regs.rip = 0;
	state->regs.gpr[VMM_RSP] = 0x1000;
	vcpu_set(self->vcpu, VMM_STATE_SEGMENTS | VMM_STATE_REGS);
	trap = run_vector(self->vcpu, 13);
	EXPECT_EQ(0, trap->error);
	EXPECT_EQ(code_size(virtual_8086) - 1, trap->rip);
	EXPECT_EQ(CODE_GPA >> 4, trap->cs & 0xffff);
	EXPECT_TRUE(trap->rflags & FLAG_VM);
	EXPECT_EQ(CODE_GPA >> 4, guest_u16(self->vm, DATA_GPA + 0x20));
	EXPECT_EQ(0x8086, guest_u16(self->vm, DATA_GPA + 0x22));
}

/* User mode: the CPU changes to the kernel's stack, and comes back. */
GUEST_CODE(user32, 32,
	   "mov %cs, %eax; int $0x40\n"
	   "int $0x41\n");

TEST_F(modes, user_mode)
{
	static const enum guest_mode modes[] = {
		MODE_PROTECTED, MODE_PAGED, MODE_PAE, MODE_COMPAT, MODE_LONG,
	};
	struct guest_trap *trap;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		TH_LOG("%s mode", mode_names[modes[i]]);
		/* These few instructions are the same in 64-bit code. */
		vcpu_load(self->vcpu, modes[i], user32);
		vcpu_set_user(self->vcpu);
		trap = run_vector(self->vcpu, 0x40);
		EXPECT_EQ(3, trap->cs & 3);
		EXPECT_EQ(STACK_TOP - 0x4000, trap->rsp);
		EXPECT_EQ(SEL_USER_DATA, trap->ss & 0xffff);
		EXPECT_EQ(0, self->vcpu->run->exit.cpl);
		trap = run_vector(self->vcpu, 0x41);
		EXPECT_EQ(3, trap->cs & 3);
		EXPECT_EQ(STACK_TOP - 0x4000, trap->rsp);
	}
}

/* SYSCALL and SYSRET, by MSRs that the guest writes. */
GUEST_CODE(syscall64, 64,
	   "mov $0xc0000080, %ecx; rdmsr; or $1, %eax; wrmsr\n"
	   "mov $0xc0000081, %ecx; xor %eax, %eax\n"
	   /* SYSRET takes CS from bits 63:48 plus 16, SS from them plus 8 */
	   "mov $(0x2b << 16 | SEL_CODE64), %edx; wrmsr\n"
	   "mov $0xc0000082, %ecx; mov $(1f - syscall64 + CODE_GPA), %eax; xor %edx, %edx; wrmsr\n"
	   "mov $0xc0000084, %ecx; mov $0x400, %eax; wrmsr\n"
	   "mov $(2f - syscall64 + CODE_GPA), %ecx; mov $0x402, %r11; sysretq\n"
	   /* the kernel's entry */
	   "1: mov %cs, %eax; out %eax, $PORT_VALUE\n"
	   "mov %ecx, %eax; out %eax, $PORT_VALUE\n"
	   "pushf; pop %rax; out %eax, $PORT_VALUE\n"
	   "mov %r11, %rax; out %eax, $PORT_VALUE\n"
	   "out %al, $PORT_DONE\n"
	   /* user code */
	   "2: syscall\n"
	   "3:\n");

TEST_F(modes, syscall)
{
	struct vcpu *vcpu = self->vcpu;
	u64 *gdt = guest_ptr(self->vm, GDT_GPA, PAGE);

	vcpu_load(vcpu, MODE_LONG, syscall64);
	/* SYSRET's order: data, then 64-bit code */
	gdt[0x30 / 8] = gdt[SEL_USER_DATA / 8];
	gdt[0x38 / 8] = 0x00affb000000ffffULL;
	EXPECT_EQ(SEL_CODE64, run_value(vcpu));
	EXPECT_EQ(CODE_GPA + code_size(syscall64), run_value(vcpu));
	/* SFMASK clears DF; R11 has it. */
	EXPECT_EQ(0, run_value(vcpu) & FLAG_DF);
	EXPECT_EQ(FLAG_DF, run_value(vcpu) & FLAG_DF);
	run_done(vcpu);
}

/* An address in the second half of a 4-level table, and one that no such table has. */
GUEST_CODE(canonical, 64,
	   "mov $0xffff800000200000, %rbx; movl $0x77, (%rbx); mov (%rbx), %eax\n"
	   "out %eax, $PORT_VALUE\n"
	   "mov $0x0000900000000000, %rbx; 1: mov (%rbx), %eax\n");

TEST_F(modes, canonical_addresses)
{
	struct guest_trap *trap;

	vcpu_load(self->vcpu, MODE_LONG, canonical);
	guest_u64(self->vm, TABLES_GPA + 8 * 256) = guest_u64(self->vm, TABLES_GPA);
	EXPECT_EQ(0x77, run_value(self->vcpu));
	EXPECT_EQ(0x77, guest_u32(self->vm, 0x200000));
	trap = run_vector(self->vcpu, 13);
	EXPECT_EQ(CODE_GPA + code_size(canonical) - 2, trap->rip);
	EXPECT_EQ(0, trap->error);
}

TEST_HARNESS_MAIN
