// SPDX-License-Identifier: GPL-2.0-only
/*
 * Port I/O: IN and OUT of every width, string I/O as one exit, and what a port
 * access may not do.
 */
/* hosts: smp 6.12 */
#include "kselftest_harness.h"
#include "vmmtest.h"

FIXTURE(io) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(io)
{
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(io)
{
	vm_destroy(self->vm);
}

/* One exit: where it was, what it was. @length is the instruction's. */
static void expect_io(struct __test_metadata *_metadata, struct vcpu *vcpu, u16 port, bool in,
		      u8 size, u64 rip, u8 length)
{
	struct vmm_exit *e = run_until(vcpu, VMM_EXIT_IO);

	EXPECT_EQ(port, e->io.port);
	EXPECT_EQ(in, e->io.in);
	EXPECT_EQ(size, e->io.size);
	EXPECT_EQ(0, e->io.string);
	EXPECT_EQ(rip, e->rip);
	EXPECT_EQ(rip + length, e->next_rip);
}

#define io_data	(self->vcpu->run->exit.io.data)

GUEST_CODE(outs16, 16,
	   "out %al, $0x21\n"	/* 0: two bytes */
	   "out %ax, $0x22\n"	/* 2 */
	   "out %eax, $0x23\n"	/* 4: three bytes, with the prefix */
	   "out %al, %dx\n"	/* 7: one byte */
	   "out %ax, %dx\n"	/* 8 */
	   "out %eax, %dx\n");	/* 9: two bytes */

GUEST_CODE(outs64, 64,
	   "out %al, $0x21\n"	/* 0 */
	   "out %ax, $0x22\n"	/* 2: three bytes */
	   "out %eax, $0x23\n"	/* 5 */
	   "out %al, %dx\n"	/* 7 */
	   "out %ax, %dx\n"	/* 8: two bytes */
	   "out %eax, %dx\n");	/* 10 */

TEST_F(io, out_real)
{
	u64 *gpr = self->vcpu->state.regs.gpr;

	vcpu_load(self->vcpu, MODE_REAL, outs16);
	gpr[VMM_RAX] = 0x12345678;
	gpr[VMM_RDX] = 0xfedc;
	vcpu_set(self->vcpu, VMM_STATE_REGS);

	expect_io(_metadata, self->vcpu, 0x21, 0, 1, 0, 2);
	EXPECT_EQ(0x78, io_data);
	expect_io(_metadata, self->vcpu, 0x22, 0, 2, 2, 2);
	EXPECT_EQ(0x5678, io_data);
	expect_io(_metadata, self->vcpu, 0x23, 0, 4, 4, 3);
	EXPECT_EQ(0x12345678, io_data);
	expect_io(_metadata, self->vcpu, 0xfedc, 0, 1, 7, 1);
	EXPECT_EQ(0x78, io_data);
	expect_io(_metadata, self->vcpu, 0xfedc, 0, 2, 8, 1);
	EXPECT_EQ(0x5678, io_data);
	expect_io(_metadata, self->vcpu, 0xfedc, 0, 4, 9, 2);
	EXPECT_EQ(0x12345678, io_data);
}

static void check_out_wide(struct __test_metadata *_metadata, struct vcpu *vcpu,
			   enum guest_mode mode)
{
	static const struct { u16 port; u8 size, offset, length; } expected[] = {
		{ 0x21, 1, 0, 2 }, { 0x22, 2, 2, 3 }, { 0x23, 4, 5, 2 },
		{ 0xfedc, 1, 7, 1 }, { 0xfedc, 2, 8, 2 }, { 0xfedc, 4, 10, 1 },
	};
	u64 rax = 0xdeadbeef12345678;
	struct vmm_exit *e;
	unsigned int i;

	vcpu_load(vcpu, mode, outs64);
	vcpu->state.regs.gpr[VMM_RAX] = rax;
	/* Bits above DX do not count. */
	vcpu->state.regs.gpr[VMM_RDX] = 0x3fedc;
	vcpu_set(vcpu, VMM_STATE_REGS);
	for (i = 0; i < ARRAY_SIZE(expected); i++) {
		e = run_until(vcpu, VMM_EXIT_IO);
		EXPECT_EQ(expected[i].port, e->io.port);
		EXPECT_EQ(expected[i].size, e->io.size);
		EXPECT_EQ(0, e->io.in);
		EXPECT_EQ(rax & ((1ULL << (8 * expected[i].size)) - 1), e->io.data);
		EXPECT_EQ(CODE_GPA + expected[i].offset, e->rip);
		EXPECT_EQ(e->rip + expected[i].length, e->next_rip);
	}
}

TEST_F(io, out_protected)
{
	check_out_wide(_metadata, self->vcpu, MODE_PROTECTED);
}

TEST_F(io, out_long)
{
	check_out_wide(_metadata, self->vcpu, MODE_LONG);
}

/* An answer fills exactly the width that was asked for. */
GUEST_CODE(ins64, 64,
	   "in $0x21, %al; mov %rax, DATA_GPA\n"
	   "in $0x22, %ax; mov %rax, DATA_GPA + 8\n"
	   "in $0x23, %eax; mov %rax, DATA_GPA + 16\n"
	   "mov %rbx, %rax; in %dx, %al; mov %rax, DATA_GPA + 24\n"
	   "mov %rbx, %rax; in %dx, %ax; mov %rax, DATA_GPA + 32\n"
	   "mov %rbx, %rax; in %dx, %eax; mov %rax, DATA_GPA + 40\n"
	   "out %al, $PORT_DONE\n");

TEST_F(io, in_long)
{
	static const u64 expected[] = {
		0x1111111111111188, 0x1111111111117788, 0x55667788,
		0x2222222222222288, 0x2222222222227788, 0x55667788,
	};
	unsigned int i;

	vcpu_load(self->vcpu, MODE_LONG, ins64);
	self->vcpu->state.regs.gpr[VMM_RAX] = 0x1111111111111111;
	self->vcpu->state.regs.gpr[VMM_RBX] = 0x2222222222222222;
	self->vcpu->state.regs.gpr[VMM_RDX] = 0xffff;
	vcpu_set(self->vcpu, VMM_STATE_REGS);
	for (i = 0; i < ARRAY_SIZE(expected); i++) {
		struct vmm_exit *e = run_until(self->vcpu, VMM_EXIT_IO);

		EXPECT_EQ(1, e->io.in);
		EXPECT_EQ(1 << (i % 3), e->io.size);
		EXPECT_EQ(i < 3 ? 0x21 + i : 0xffff, e->io.port);
		/* More than was asked for does no harm. */
		e->io.data = 0x1122334455667788;
	}
	run_done(self->vcpu);
	for (i = 0; i < ARRAY_SIZE(expected); i++)
		EXPECT_EQ(expected[i], guest_u64(self->vm, DATA_GPA + 8 * i));
}

/* Without an answer the guest reads zero, not what the VMM last saw. */
GUEST_CODE(out_then_in, 32,
	   "mov $0x12345678, %eax; out %eax, $0x22\n"
	   "in $0x22, %eax; out %eax, $PORT_VALUE\n");

TEST_F(io, in_without_answer)
{
	vcpu_load(self->vcpu, MODE_PROTECTED, out_then_in);
	expect_io(_metadata, self->vcpu, 0x22, 0, 4, CODE_GPA + 5, 2);
	expect_io(_metadata, self->vcpu, 0x22, 1, 4, CODE_GPA + 7, 2);
	EXPECT_EQ(0, run_value(self->vcpu));
}

/* Controllers that the VM does not have are the VMM's: their ports leave. */
TEST_F(io, every_port)
{
	static const u16 ports[] = {
		0, 0x20, 0x21, 0x40, 0x43, 0x60, 0x61, 0x64, 0x70, 0x80, 0xa0, 0xcf8, 0x4d0,
		0x7fff, 0x8000, 0xfffc, 0xffff,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ports); i++) {
		vcpu_load(self->vcpu, MODE_LONG, outs64);
		self->vcpu->state.regs.gpr[VMM_RDX] = ports[i];
		self->vcpu->state.regs.rip = CODE_GPA + 7;
		vcpu_set(self->vcpu, VMM_STATE_REGS);
		expect_io(_metadata, self->vcpu, ports[i], 0, 1, CODE_GPA + 7, 1);
	}
}

/* ---- string I/O: one exit; the VMM moves data and registers ---- */

struct string_io {
	u8 in, size, rep, address_size, segment;
	u64 count, address;
};

#define expect_string(vcpu, ...) \
	expect_string_at(_metadata, vcpu, &(struct string_io){ __VA_ARGS__ }, __LINE__)
static void expect_string_at(struct __test_metadata *_metadata, struct vcpu *vcpu,
			     const struct string_io *want, int line)
{
	struct vmm_exit *e = run_until_at(vcpu, VMM_EXIT_IO, __FILE__, line);

	EXPECT_EQ(1, e->io.string) TH_LOG("expected by line %d", line);
	EXPECT_EQ(want->in, e->io.in) TH_LOG("expected by line %d", line);
	EXPECT_EQ(want->size, e->io.size) TH_LOG("expected by line %d", line);
	EXPECT_EQ(want->rep, e->io.rep) TH_LOG("expected by line %d", line);
	EXPECT_EQ(want->count, e->io.count) TH_LOG("expected by line %d", line);
	EXPECT_EQ(want->segment, e->io.segment) TH_LOG("expected by line %d", line);
	EXPECT_EQ(want->address_size, e->io.address_size) TH_LOG("expected by line %d", line);
	EXPECT_EQ(want->address, e->io.address) TH_LOG("expected by line %d", line);
	EXPECT_EQ(0x1f0, e->io.port);
}

/* RIP is at the instruction: go behind it, with the registers moved, as a VMM does. */
static void finish_string(struct vcpu *vcpu)
{
	const struct vmm_exit_io *io = &vcpu->run->exit.io;
	struct vmm_regs *regs = &vcpu->state.regs;
	s64 step = io->size * io->count;

	vcpu_get(vcpu, VMM_STATE_REGS);
	if (vcpu->run->exit.rflags & FLAG_DF)
		step = -step;
	regs->gpr[io->in ? VMM_RDI : VMM_RSI] += step;
	if (io->rep)
		regs->gpr[VMM_RCX] = 0;
	regs->rip = vcpu->run->exit.next_rip;
	vcpu_set(vcpu, VMM_STATE_REGS);
}

GUEST_CODE(strings64, 64,
	   "outsb\n"
	   "outsw\n"
	   "outsl\n"
	   "rep outsb\n"
	   "rep outsl %gs:(%rsi), %dx\n"
	   "addr32 rep outsw\n"
	   "insb\n"
	   "rep insw\n"
	   "rep insl\n"
	   "std; rep insl; cld\n"
	   "out %al, $PORT_DONE\n");

TEST_F(io, string_long)
{
	struct vcpu *vcpu = self->vcpu;
	u64 *gpr = vcpu->state.regs.gpr;

	vcpu_load(vcpu, MODE_LONG, strings64);
	gpr[VMM_RDX] = 0x1f0;
	gpr[VMM_RCX] = 0x123456789;
	gpr[VMM_RSI] = DATA_GPA;
	gpr[VMM_RDI] = DATA_GPA + 0x1000;
	vcpu->state.segments.seg[VMM_GS].base = 0x100000;
	vcpu_set(vcpu, VMM_STATE_REGS | VMM_STATE_SEGMENTS);

	expect_string(vcpu, 0, 1, 0, 8, VMM_DS, 1, DATA_GPA);
	/* Not finished by the VMM: the same instruction again, and nothing else. */
	expect_string(vcpu, 0, 1, 0, 8, VMM_DS, 1, DATA_GPA);
	EXPECT_EQ(CODE_GPA, vcpu->run->exit.rip);
	EXPECT_EQ(CODE_GPA + 1, vcpu->run->exit.next_rip);
	vcpu_get(vcpu, VMM_STATE_REGS);
	EXPECT_EQ(CODE_GPA, vcpu->state.regs.rip);
	EXPECT_EQ(DATA_GPA, gpr[VMM_RSI]);
	finish_string(vcpu);
	expect_string(vcpu, 0, 2, 0, 8, VMM_DS, 1, DATA_GPA + 1);
	finish_string(vcpu);
	expect_string(vcpu, 0, 4, 0, 8, VMM_DS, 1, DATA_GPA + 3);
	finish_string(vcpu);
	expect_string(vcpu, 0, 1, 1, 8, VMM_DS, 0x123456789, DATA_GPA + 7);
	vcpu_get(vcpu, VMM_STATE_REGS);
	EXPECT_EQ(0x123456789, gpr[VMM_RCX]);
	finish_string(vcpu);

	gpr[VMM_RCX] = 5;
	gpr[VMM_RSI] = 0x40;
	vcpu_set(vcpu, VMM_STATE_REGS);
	expect_string(vcpu, 0, 4, 1, 8, VMM_GS, 5, 0x100040);
	finish_string(vcpu);

	/* A 32-bit address wraps there, and ECX counts. */
	gpr[VMM_RCX] = 0x700000003;
	gpr[VMM_RSI] = 0x900000000 + DATA_GPA;
	vcpu_set(vcpu, VMM_STATE_REGS);
	expect_string(vcpu, 0, 2, 1, 4, VMM_DS, 3, DATA_GPA);
	finish_string(vcpu);

	expect_string(vcpu, 1, 1, 0, 8, VMM_ES, 1, DATA_GPA + 0x1000);
	finish_string(vcpu);
	gpr[VMM_RCX] = 2;
	vcpu_set(vcpu, VMM_STATE_REGS);
	expect_string(vcpu, 1, 2, 1, 8, VMM_ES, 2, DATA_GPA + 0x1001);
	finish_string(vcpu);
	/* The count is zero now: the last two are no exits. */
	run_done(vcpu);
}

TEST_F(io, string_backwards)
{
	struct vcpu *vcpu = self->vcpu;
	u64 *gpr = vcpu->state.regs.gpr;

	vcpu_load(vcpu, MODE_LONG, strings64);
	gpr[VMM_RDX] = 0x1f0;
	gpr[VMM_RCX] = 4;
	gpr[VMM_RSI] = DATA_GPA + 0x80;
	vcpu->state.regs.rflags |= FLAG_DF;
	/* rep outsb */
	vcpu->state.regs.rip = CODE_GPA + 4;
	vcpu_set(vcpu, VMM_STATE_REGS);
	expect_string(vcpu, 0, 1, 1, 8, VMM_DS, 4, DATA_GPA + 0x80);
	EXPECT_TRUE(vcpu->run->exit.rflags & FLAG_DF);
}

/* With a count of zero nothing happens, and nobody is told. */
GUEST_CODE(empty_strings, 64,
	   "rep outsb; rep insb; rep outsl; rep insl\n"
	   "mov %ecx, %eax; out %eax, $PORT_VALUE\n"
	   "mov %esi, %eax; out %eax, $PORT_VALUE\n"
	   "mov %edi, %eax; out %eax, $PORT_VALUE\n"
	   "out %al, $PORT_DONE\n");

TEST_F(io, string_empty)
{
	struct vcpu *vcpu = self->vcpu;

	vcpu_load(vcpu, MODE_LONG, empty_strings);
	vcpu->state.regs.gpr[VMM_RDX] = 0x1f0;
	vcpu->state.regs.gpr[VMM_RSI] = 0x12345;
	vcpu->state.regs.gpr[VMM_RDI] = 0x54321;
	vcpu_set(vcpu, VMM_STATE_REGS);
	EXPECT_EQ(0, run_value(vcpu));
	EXPECT_EQ(0x12345, run_value(vcpu));
	EXPECT_EQ(0x54321, run_value(vcpu));
	run_done(vcpu);
}

GUEST_CODE(strings16, 16,
	   "outsb\n"
	   "rep outsw %ss:(%si), %dx\n"
	   "addr32 rep outsl\n"
	   "rep insb\n"
	   "rep insw\n"
	   "out %al, $PORT_DONE\n");

TEST_F(io, string_real)
{
	struct vcpu *vcpu = self->vcpu;
	u64 *gpr = vcpu->state.regs.gpr;

	vcpu_load(vcpu, MODE_REAL, strings16);
	gpr[VMM_RDX] = 0x1f0;
	gpr[VMM_RSI] = 0x77770010;
	gpr[VMM_RCX] = 0x66660007;
	vcpu_set(vcpu, VMM_STATE_REGS);
	expect_string(vcpu, 0, 1, 0, 2, VMM_DS, 1, DATA_GPA + 0x10);
	finish_string(vcpu);
	expect_string(vcpu, 0, 2, 1, 2, VMM_SS, 7, STACK_GPA + 0x11);
	finish_string(vcpu);
	gpr[VMM_RCX] = 0x3;
	gpr[VMM_RSI] = 0x1000;
	gpr[VMM_RDI] = 0x12342000;
	vcpu_set(vcpu, VMM_STATE_REGS);
	expect_string(vcpu, 0, 4, 1, 4, VMM_DS, 3, DATA_GPA + 0x1000);
	finish_string(vcpu);
	gpr[VMM_RCX] = 0x9;
	vcpu_set(vcpu, VMM_STATE_REGS);
	expect_string(vcpu, 1, 1, 1, 2, VMM_ES, 9, 0x2000);
	finish_string(vcpu);
	gpr[VMM_RCX] = 0x1;
	vcpu_set(vcpu, VMM_STATE_REGS);
	expect_string(vcpu, 1, 2, 1, 2, VMM_ES, 1, 0x2009);
	finish_string(vcpu);
	run_done(vcpu);
}

/* The operand of a string is not there: VMM_TRANSLATE says what to inject. */
GUEST_CODE(string_fault, 64,
	   "mov $0x1f0, %dx; mov $0x123450, %esi\n"
	   "1: outsl\n"
	   "out %al, $PORT_DONE\n");

TEST_F(io, string_operand_not_present)
{
	struct vmm_translate translate = {
		.size = sizeof(translate),
		.access = VMM_ACCESS_READ,
	};
	struct vcpu *vcpu = self->vcpu;
	struct guest_trap *trap;

	vcpu_load(vcpu, MODE_LONG, string_fault);
	guest_map(self->vm, 0x123000, 0, 0);
	expect_string(vcpu, 0, 4, 0, 8, VMM_DS, 1, 0x123450);
	translate.gva = vcpu->run->exit.io.address;
	ASSERT_EQ(0, do_ioctl(vcpu->fd, VMM_TRANSLATE, &translate));
	ASSERT_EQ(1, translate.fault);
	ASSERT_EQ(14, translate.vector);
	ASSERT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, translate.vector, true,
				 translate.error, translate.gva));
	trap = run_vector(vcpu, 14);
	EXPECT_EQ(0x123450, trap->cr2);
	EXPECT_EQ(0, trap->error);
	EXPECT_EQ(CODE_GPA + 9, trap->rip);
	/* The guest repairs it, and the instruction happens after all. */
	guest_map(self->vm, 0x123000, 0x123000, PTE_P | PTE_RW | PTE_US);
	expect_string(vcpu, 0, 4, 0, 8, VMM_DS, 1, 0x123450);
	finish_string(vcpu);
	run_done(vcpu);
}

/* A port is the guest kernel's affair first: user code gets #GP and nothing leaves. */
GUEST_CODE(user_io, 32,
	   "1: in $0x21, %al\n"
	   "2: out %al, $0x21\n"
	   "int $0x40\n");

TEST_F(io, user_mode)
{
	static const enum guest_mode modes[] = { MODE_PROTECTED, MODE_LONG };
	struct vcpu *vcpu = self->vcpu;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		vcpu_load(vcpu, modes[i], user_io);
		vcpu_set_user(vcpu);
		EXPECT_EQ(CODE_GPA, run_vector(vcpu, 13)->rip);
		guest_return_to(self->vm, CODE_GPA + 2);
		EXPECT_EQ(CODE_GPA + 2, run_vector(vcpu, 13)->rip);
		guest_return_to(self->vm, CODE_GPA + 4);
		run_vector(vcpu, 0x40);

		/* With IOPL 3 it may. */
		vcpu_load(vcpu, modes[i], user_io);
		vcpu_set_user(vcpu);
		vcpu->state.regs.rflags |= 3 << 12;
		vcpu_set(vcpu, VMM_STATE_REGS);
		expect_io(_metadata, self->vcpu, 0x21, 1, 1, CODE_GPA, 2);
		EXPECT_EQ(3, vcpu->run->exit.cpl);
		expect_io(_metadata, self->vcpu, 0x21, 0, 1, CODE_GPA + 2, 2);
		run_vector(vcpu, 0x40);
	}
}

/* 16,384 exits in a row, each answered: none is lost or repeated. */
GUEST_CODE(sum, 32,
	   "xor %ebx, %ebx; mov $0x4000, %ecx\n"
	   "1: in $0x22, %eax; add %eax, %ebx; loop 1b\n"
	   "mov %ebx, %eax; out %eax, $PORT_VALUE\n");

TEST_F(io, many)
{
	u32 i, total = 0;

	vcpu_load(self->vcpu, MODE_PROTECTED, sum);
	for (i = 0; i < 0x4000; i++) {
		struct vmm_exit *e = run_until(self->vcpu, VMM_EXIT_IO);

		ASSERT_EQ(1, e->io.in);
		e->io.data = i * 2654435761u;
		total += i * 2654435761u;
	}
	EXPECT_EQ(total, run_value(self->vcpu));
}

TEST_HARNESS_MAIN
