// SPDX-License-Identifier: GPL-2.0-only
/*
 * The instructions that the kernel must know by their bytes: those that leave the guest on a CPU
 * that does not tell their length, and those that access device registers. SDM vol. 2 chapter 2
 * and appendix A, APM vol. 3 chapter 1 and appendix A.
 */
#include <linux/errno.h>
#include <linux/types.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "hw.h"
#include "vcpu.h"
#include "x86/mmio.h"
#include "x86/x86.h"

#define BASE_NONE	(-1)
#define BASE_RIP	16

/**
 * struct operand - a memory operand, as ModRM and SIB describe it
 * @base: enum cpu_gpr, BASE_RIP or BASE_NONE
 * @index: enum cpu_gpr or BASE_NONE
 * @scale: of the index: a shift
 * @segment: the default, or the override
 * @disp: displacement
 */
struct operand {
	s8 base;
	s8 index;
	u8 scale;
	u8 segment;
	s64 disp;
};

/**
 * struct decoder - an instruction being read
 * @bytes: what there is of it
 * @count: how many
 * @pos: how many were read; beyond @count where they did not suffice
 * @insn: what was found
 * @code_size: default operand size
 * @operand_size: by prefixes; byte instructions do not say here
 * @address_size: by prefixes
 * @memory: ModRM names @operand, not a register
 * @operand: valid with @memory
 */
struct decoder {
	const u8 *bytes;
	int count;
	int pos;
	struct insn *insn;
	int code_size;
	int operand_size;
	int address_size;
	bool memory;
	struct operand operand;
};

static u8 next_byte(struct decoder *d)
{
	int pos = d->pos++;

	return pos < d->count ? d->bytes[pos] : 0;
}

/* A little-endian number of @size bytes, sign-extended */
static u64 next_number(struct decoder *d, int size)
{
	u64 number = 0;
	int i;

	for (i = 0; i < size; i++)
		number |= (u64)next_byte(d) << (i * 8);
	return signed_bytes(number, size);
}

/* How it went so far: 0, ENODATA (more bytes, please), EINVAL (longer than instructions are) */
static int check_length(const struct decoder *d)
{
	if (d->pos > INSN_MAX)
		return -EINVAL;
	return d->pos > d->count ? -ENODATA : 0;
}

/* Prefixes; returns the byte behind them. A REX prefix counts only right before the opcode. */
static u8 read_prefixes(struct decoder *d)
{
	struct insn *insn = d->insn;

	while (d->pos < INSN_MAX) {
		u8 byte = next_byte(d);

		switch (byte) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			/* In 64-bit mode they mean nothing: an FS or GS before them counts. */
			if (d->code_size != 8)
				insn->segment = (byte >> 3) & 3;
			break;
		case 0x64:
		case 0x65:
			insn->segment = byte - 0x64 + CPU_FS;
			break;
		case 0x66:
			insn->opsize = true;
			break;
		case 0x67:
			insn->addrsize = true;
			break;
		case 0xf0:
			insn->locked = true;
			break;
		case 0xf2:
		case 0xf3:
			insn->rep = byte;
			break;
		default:
			if (d->code_size != 8 || (byte & 0xf0) != 0x40)
				return byte;
			insn->rex = byte;
			continue;
		}
		insn->rex = 0;
	}
	/* Prefixes alone: no instruction is that long. */
	d->pos++;
	return 0;
}

static void set_sizes(struct decoder *d)
{
	const struct insn *insn = d->insn;

	if (insn->rex & 8)
		d->operand_size = 8;
	else if (d->code_size == 2)
		d->operand_size = insn->opsize ? 4 : 2;
	else
		d->operand_size = insn->opsize ? 2 : 4;

	if (!insn->addrsize)
		d->address_size = d->code_size;
	else
		d->address_size = d->code_size == 4 ? 2 : 4;
}

/* Up to and with the opcode */
static int read_opcode(struct decoder *d, const u8 *bytes, int count, int code_size,
		       struct insn *insn)
{
	u8 byte;

	*insn = (struct insn){ .segment = INSN_NO_SEGMENT };
	*d = (struct decoder){
		.bytes = bytes,
		.count = count,
		.insn = insn,
		.code_size = code_size,
	};
	byte = read_prefixes(d);
	set_sizes(d);
	if (byte == 0x0f) {
		insn->opcode_map = 1;
		byte = next_byte(d);
		if (byte == 0x38 || byte == 0x3a) {
			insn->opcode_map = byte == 0x38 ? 2 : 3;
			byte = next_byte(d);
		}
	}
	insn->opcode = byte;
	return check_length(d);
}

static int modrm_reg(const struct insn *insn)
{
	return ((insn->modrm >> 3) & 7) | (insn->rex & 4) << 1;
}

static int modrm_rm(const struct insn *insn)
{
	return (insn->modrm & 7) | (insn->rex & 1) << 3;
}

/* SDM vol. 2 table 2-1 */
static void read_operand16(struct decoder *d)
{
	static const s8 bases[] = {
		CPU_RBX, CPU_RBX, CPU_RBP, CPU_RBP, CPU_RSI, CPU_RDI, CPU_RBP, CPU_RBX,
	};
	static const s8 indices[] = {
		CPU_RSI, CPU_RDI, CPU_RSI, CPU_RDI,
		BASE_NONE, BASE_NONE, BASE_NONE, BASE_NONE,
	};
	int mod = d->insn->modrm >> 6, rm = d->insn->modrm & 7;
	struct operand *operand = &d->operand;

	operand->base = bases[rm];
	operand->index = indices[rm];
	if (mod == 0 && rm == 6) {
		operand->base = BASE_NONE;
		operand->disp = next_number(d, 2);
	} else if (mod) {
		operand->disp = next_number(d, mod);
	}
}

/* Tables 2-2 and 2-3, with REX */
static void read_operand32(struct decoder *d)
{
	int mod = d->insn->modrm >> 6, rm = d->insn->modrm & 7;
	struct operand *operand = &d->operand;
	u8 rex = d->insn->rex;

	operand->index = BASE_NONE;
	operand->base = rm | (rex & 1) << 3;
	if (rm == 4) {
		u8 sib = next_byte(d);

		rm = sib & 7;
		operand->base = rm | (rex & 1) << 3;
		operand->index = ((sib >> 3) & 7) | (rex & 2) << 2;
		operand->scale = sib >> 6;
		if (operand->index == CPU_RSP)
			operand->index = BASE_NONE;
		if (mod == 0 && rm == 5)
			operand->base = BASE_NONE;
	} else if (mod == 0 && rm == 5) {
		operand->base = d->code_size == 8 ? BASE_RIP : BASE_NONE;
	}

	if (mod == 1)
		operand->disp = next_number(d, 1);
	else if (mod == 2 || (mod == 0 && rm == 5))
		operand->disp = next_number(d, 4);
}

static void read_modrm(struct decoder *d)
{
	struct insn *insn = d->insn;

	insn->has_modrm = true;
	insn->modrm = next_byte(d);
	d->memory = insn->modrm < 0xc0;
	if (!d->memory)
		return;

	d->operand = (struct operand){ 0 };
	if (d->address_size == 2)
		read_operand16(d);
	else
		read_operand32(d);
	d->operand.segment = CPU_DS;
	if (d->operand.base == CPU_RSP || d->operand.base == CPU_RBP)
		d->operand.segment = CPU_SS;
	if (insn->segment != INSN_NO_SEGMENT)
		d->operand.segment = insn->segment;
}

/*
 * Offset in its segment. The whole instruction was read: RIP-relative operands count from its
 * end. @extra is added before the offset is cut to the address size.
 */
static u64 effective_address(struct vcpu *vcpu, const struct decoder *d, u64 extra)
{
	const struct operand *operand = &d->operand;
	u64 address = operand->disp + extra;

	if (operand->base == BASE_RIP)
		address += vcpu->regs.rip + d->pos;
	else if (operand->base != BASE_NONE)
		address += *state_gpr(vcpu, operand->base);
	if (operand->index != BASE_NONE)
		address += vcpu->regs.gpr[operand->index] << operand->scale;
	return low_bytes(address, d->address_size);
}

static u64 linear_address(struct vcpu *vcpu, const struct decoder *d)
{
	return state_linear(vcpu, d->operand.segment, effective_address(vcpu, d, 0));
}

/* ---- Instructions that exit by what they are ---- */

/* What follows the opcode of an instruction that decode_simple() knows */
enum tail { TAIL_NONE, TAIL_BYTE, TAIL_MODRM, TAIL_REGISTERS, TAIL_UNKNOWN };

static enum tail tail_one_byte(u8 opcode)
{
	switch (opcode) {
	case 0x6c ... 0x6f:	/* INS, OUTS */
	case 0xec ... 0xef:	/* IN, OUT with DX */
	case 0x90:		/* PAUSE, with F3 */
	case 0xcc:		/* INT3 */
	case 0xce:		/* INTO */
	case 0xf1:		/* ICEBP */
	case 0xf4:		/* HLT */
		return TAIL_NONE;
	case 0xcd:		/* INT n */
	case 0xe4 ... 0xe7:	/* IN, OUT with a port number */
		return TAIL_BYTE;
	default:
		return TAIL_UNKNOWN;
	}
}

static enum tail tail_two_byte(u8 opcode)
{
	switch (opcode) {
	case 0x06:		/* CLTS */
	case 0x08:		/* INVD */
	case 0x09:		/* WBINVD, WBNOINVD with F3 */
	case 0x30:		/* WRMSR */
	case 0x31:		/* RDTSC */
	case 0x32:		/* RDMSR */
	case 0x33:		/* RDPMC */
	case 0xa2:		/* CPUID */
	case 0xaa:		/* RSM */
		return TAIL_NONE;
	case 0x00:		/* SLDT, STR, LLDT, LTR */
	case 0x01:		/* LMSW, SMSW, INVLPG, SGDT ...; VMMCALL, XSETBV, RDTSCP ... */
		return TAIL_MODRM;
	case 0x20 ... 0x23:	/* MOV CR, MOV DR: ModRM names registers whatever its mode says */
		return TAIL_REGISTERS;
	default:
		return TAIL_UNKNOWN;
	}
}

static int read_simple(struct decoder *d, const u8 *bytes, int count, int code_size,
		       struct insn *insn)
{
	enum tail tail = TAIL_UNKNOWN;
	int ret;

	ret = read_opcode(d, bytes, count, code_size, insn);
	if (ret)
		return ret;
	if (insn->opcode_map == 0)
		tail = tail_one_byte(insn->opcode);
	else if (insn->opcode_map == 1)
		tail = tail_two_byte(insn->opcode);

	switch (tail) {
	case TAIL_NONE:
		break;
	case TAIL_BYTE:
		next_byte(d);
		break;
	case TAIL_MODRM:
		read_modrm(d);
		break;
	case TAIL_REGISTERS:
		insn->has_modrm = true;
		insn->modrm = next_byte(d) | 0xc0;
		break;
	case TAIL_UNKNOWN:
		return -EINVAL;
	}
	insn->length = d->pos;
	return check_length(d);
}

int decode_simple(const u8 *bytes, int count, int code_size, struct insn *insn)
{
	struct decoder d;

	return read_simple(&d, bytes, count, code_size, insn);
}

static bool is_two_byte(const struct insn *insn, u8 opcode)
{
	return insn->opcode_map == 1 && insn->opcode == opcode;
}

static bool is_group7(const struct insn *insn, u8 modrm)
{
	return is_two_byte(insn, 0x01) && insn->modrm == modrm;
}

/* IN and OUT: the register operand's size and the port are the CPU's to say */
static int take_io(struct vcpu *vcpu, const struct decoder *d)
{
	const struct insn *insn = d->insn;
	struct exit_io *io = &vcpu->exit.io;
	bool string = (insn->opcode & 0xfc) == 0x6c;
	bool plain = (insn->opcode & 0xf4) == 0xe4;
	u64 *gpr = vcpu->regs.gpr;
	u64 offset;

	if (insn->opcode_map || !(string || plain) || string != io->string ||
	    io->in != !(insn->opcode & 2))
		return -EINVAL;
	if (!string)
		return 0;

	if (io->in)
		io->segment = CPU_ES;
	else
		io->segment = insn->segment == INSN_NO_SEGMENT ? CPU_DS : insn->segment;
	offset = low_bytes(gpr[io->in ? CPU_RDI : CPU_RSI], d->address_size);
	io->address_size = d->address_size;
	io->address = state_linear(vcpu, io->segment, offset);
	io->rep = insn->rep;
	io->count = io->rep ? low_bytes(gpr[CPU_RCX], d->address_size) : 1;
	return 0;
}

/* LMSW: the source's low 16 bits */
static int take_lmsw(struct vcpu *vcpu, const struct decoder *d)
{
	struct cpu_event fault;
	u16 msw = 0;
	int ret;

	vcpu->exit.cr.nr = 0;
	vcpu->exit.cr.op = CR_OP_LMSW;
	if (!d->memory) {
		vcpu->exit.cr.msw = *state_gpr(vcpu, modrm_rm(d->insn));
		return 0;
	}
	/* The CPU runs LMSW at CPL 0 alone. */
	ret = guest_read(vcpu, linear_address(vcpu, d), &msw, sizeof(msw), ACCESS_READ, &fault);
	if (ret > 0)
		vcpu_queue_exception(vcpu, fault.vector, fault.has_error, fault.error,
				     fault.payload);
	vcpu->exit.cr.msw = msw;
	return ret;
}

/* SMSW, the only reader of CR0 besides MOV: stored here, so that only its end is left to do */
static int take_smsw(struct vcpu *vcpu, const struct decoder *d)
{
	u64 *reg = state_gpr(vcpu, modrm_rm(d->insn));
	struct cpu_event fault;
	u16 msw = vcpu->cr0;
	u32 access;
	int ret;

	vcpu->exit.cr.nr = 0;
	vcpu->exit.cr.op = CR_OP_SMSW;
	if (!d->memory) {
		if (d->operand_size == 2)
			*reg = (*reg & ~0xffffull) | msw;
		else
			*reg = low_bytes(vcpu->cr0, d->operand_size);
		return 0;
	}
	access = ACCESS_WRITE | (hw->get_mode(vcpu).cpl == 3 ? ACCESS_USER : 0);
	ret = guest_write(vcpu, linear_address(vcpu, d), &msw, sizeof(msw), access, &fault);
	if (ret > 0)
		vcpu_queue_exception(vcpu, fault.vector, fault.has_error, fault.error,
				     fault.payload);
	return ret;
}

static int take_cr(struct vcpu *vcpu, const struct decoder *d)
{
	const struct insn *insn = d->insn;

	if (is_two_byte(insn, 0x06)) {
		vcpu->exit.cr.nr = 0;
		vcpu->exit.cr.op = CR_OP_CLTS;
		return 0;
	}
	if (is_two_byte(insn, 0x01) && ((insn->modrm >> 3) & 7) == 6)
		return take_lmsw(vcpu, d);
	if (is_two_byte(insn, 0x01) && ((insn->modrm >> 3) & 7) == 4)
		return take_smsw(vcpu, d);
	if (!is_two_byte(insn, 0x20) && !is_two_byte(insn, 0x22))
		return -EINVAL;

	vcpu->exit.cr.nr = modrm_reg(insn);
	/* AMD's way to CR8 without REX: LOCK MOV CR0 */
	if (insn->locked && vcpu->exit.cr.nr == 0)
		vcpu->exit.cr.nr = 8;
	vcpu->exit.cr.op = insn->opcode & 2 ? CR_OP_WRITE : CR_OP_READ;
	vcpu->exit.cr.gpr = modrm_rm(insn);
	return 0;
}

static int take_dr(struct vcpu *vcpu, const struct insn *insn)
{
	if (!is_two_byte(insn, 0x21) && !is_two_byte(insn, 0x23))
		return -EINVAL;
	vcpu->exit.cr.nr = modrm_reg(insn);
	vcpu->exit.cr.op = insn->opcode & 2 ? CR_OP_WRITE : CR_OP_READ;
	vcpu->exit.cr.gpr = modrm_rm(insn);
	return 0;
}

/* Is this the instruction that left? Fills in what else the exit says of it. */
static int take_insn(struct vcpu *vcpu, const struct decoder *d)
{
	const struct insn *insn = d->insn;
	bool match;

	switch (vcpu->exit.reason) {
	case EXIT_IO:
		return take_io(vcpu, d);
	case EXIT_CR:
		return take_cr(vcpu, d);
	case EXIT_DR:
		return take_dr(vcpu, insn);
	case EXIT_CPUID:
		match = is_two_byte(insn, 0xa2);
		break;
	case EXIT_MSR:
		match = is_two_byte(insn, vcpu->exit.msr.write ? 0x30 : 0x32);
		break;
	case EXIT_HYPERCALL:
		match = is_group7(insn, 0xd9) || is_group7(insn, 0xc1);
		break;
	case EXIT_XSETBV:
		match = is_group7(insn, 0xd1);
		break;
	case EXIT_CACHE:
		match = is_two_byte(insn, 0x08) || is_two_byte(insn, 0x09);
		break;
	case EXIT_HLT:
		match = !insn->opcode_map && insn->opcode == 0xf4;
		break;
	case EXIT_PAUSE:
		match = !insn->opcode_map && insn->opcode == 0x90 && insn->rep == 0xf3;
		break;
	case EXIT_EXCEPTION:
		match = !insn->opcode_map && (insn->opcode & 0xfc) == 0xcc;
		break;
	default:
		match = true;
		break;
	}
	return match ? 0 : -EINVAL;
}

#define HYPERCALL_LENGTH	3

/* VMMCALL, VMCALL */
static bool is_hypercall(const u8 *bytes)
{
	return bytes[0] == 0x0f && bytes[1] == 0x01 && (bytes[2] == 0xd9 || bytes[2] == 0xc1);
}

/*
 * Length of the instructions that leave most often, if they are written as they mostly are, without
 * prefixes; or 0. That the CPU left for such an instruction proves that these bytes are it.
 */
static int plain_length(const struct vcpu_exit *exit, const struct insn_bytes *code)
{
	const u8 *bytes = code->bytes;

	if (code->count < HYPERCALL_LENGTH)
		return 0;
	switch (exit->reason) {
	case EXIT_HLT:
		return bytes[0] == 0xf4 ? 1 : 0;
	case EXIT_CPUID:
		return bytes[0] == 0x0f && bytes[1] == 0xa2 ? 2 : 0;
	case EXIT_MSR:
		return bytes[0] == 0x0f && bytes[1] == (exit->msr.write ? 0x30 : 0x32) ? 2 : 0;
	case EXIT_HYPERCALL:
		return is_hypercall(bytes) ? HYPERCALL_LENGTH : 0;
	default:
		return 0;
	}
}

/*
 * LMSW's or SMSW's operand is a device's, or memory that the host cannot supply: vcpu->exit becomes
 * the exit that any other instruction would have left with.
 */
static int leave_operand(struct vcpu *vcpu, const struct decoder *d, struct insn_bytes *code,
			 int error)
{
	u32 access = vcpu->exit.cr.op == CR_OP_LMSW ? ACCESS_READ : ACCESS_WRITE;
	struct cpu_event ignored;
	u64 gpa = ~0ull;

	if (hw->get_mode(vcpu).cpl == 3)
		access |= ACCESS_USER;
	guest_translate_probe(vcpu, linear_address(vcpu, d), access, &gpa, &ignored);
	if (error == -ENXIO) {
		mmio_emulate(vcpu, gpa, access, code);
	} else {
		vcpu->exit.reason = EXIT_FAULT;
		vcpu->exit.fault.gpa = gpa;
		vcpu->exit.fault.access = access;
		vcpu->exit.fault.error = error;
	}
	return 2;
}

int decode_next_rip(struct vcpu *vcpu)
{
	struct insn_bytes code = { .size = 0 };
	struct cpu_event fault;
	struct decoder d;
	struct insn insn;
	int ret;

	do {
		ret = insn_fetch(vcpu, &code, &fault);
		if (ret > 0) {
			vcpu_queue_exception(vcpu, fault.vector, fault.has_error, fault.error,
					     fault.payload);
			return 1;
		}
		if (ret)
			break;
		insn.length = plain_length(&vcpu->exit, &code);
		if (likely(insn.length))
			goto known;
		ret = read_simple(&d, code.bytes, code.count, code.size, &insn);
	} while (ret == -ENODATA);

	if (!ret) {
		ret = take_insn(vcpu, &d);
		if (ret < 0 && ret != -EAGAIN && ret != -EINVAL)
			return leave_operand(vcpu, &d, &code, ret);
	}
known:
	if (!ret)
		vcpu->exit.next_rip = low_bytes(vcpu->regs.rip + insn.length,
						code.size == 8 ? 8 : 4);
	/* Code that has become unreadable is not an instruction either: the CPU shall say. */
	return ret < 0 && ret != -EAGAIN ? -EINVAL : ret;
}

int decode_hypercall(struct vcpu *vcpu)
{
	struct insn_bytes code = { .size = 0 };
	struct cpu_event fault;
	int ret;

	do {
		ret = insn_fetch(vcpu, &code, &fault);
		if (ret)
			return ret == -EAGAIN ? ret : 0;
	} while (code.count < HYPERCALL_LENGTH);

	if (!is_hypercall(code.bytes))
		return 0;
	vcpu->exit.next_rip = low_bytes(vcpu->regs.rip + HYPERCALL_LENGTH,
					code.size == 8 ? 8 : 4);
	return 1;
}

/* ---- Instructions that deal with RFLAGS.TF ---- */

static enum step_insn step_two_byte(struct vcpu *vcpu, u8 opcode)
{
	if (!(vcpu->efer & EFER_LMA))
		return STEP_INSN_OTHER;
	switch (opcode) {
	case 0x05:
		return STEP_INSN_SYSCALL;
	case 0x07:
		return STEP_INSN_SYSRET;
	default:
		return STEP_INSN_OTHER;
	}
}

static enum step_insn step_one_byte(struct vcpu *vcpu, struct decoder *d, struct cpu_event *soft)
{
	switch (d->insn->opcode) {
	case 0x9c:
		return STEP_INSN_STORES_FLAGS;
	case 0x9d:
	case 0xcf:
		return STEP_INSN_LOADS_FLAGS;
	case 0xcc:
		soft->type = EVENT_SOFT_EXC;
		soft->vector = X86_TRAP_BP;
		break;
	case 0xcd:
		soft->type = EVENT_SOFT_INT;
		soft->vector = next_byte(d);
		break;
	case 0xce:
		if (d->code_size == 8 || !(vcpu->regs.rflags & X86_EFLAGS_OF))
			break;
		soft->type = EVENT_SOFT_EXC;
		soft->vector = X86_TRAP_OF;
		break;
	}
	return STEP_INSN_OTHER;
}

enum step_insn decode_step(struct vcpu *vcpu, struct cpu_event *soft)
{
	enum step_insn result = STEP_INSN_OTHER;
	struct insn_bytes code = { .size = 0 };
	struct cpu_event ignored;
	struct decoder d;
	struct insn insn;
	int ret;

	do {
		*soft = (struct cpu_event){ .type = EVENT_NONE };
		if (insn_fetch(vcpu, &code, &ignored))
			return STEP_INSN_OTHER;
		ret = read_opcode(&d, code.bytes, code.count, code.size, &insn);
		if (!ret && !insn.locked) {
			if (insn.opcode_map == 0)
				result = step_one_byte(vcpu, &d, soft);
			else if (insn.opcode_map == 1)
				result = step_two_byte(vcpu, insn.opcode);
			ret = check_length(&d);
		}
	} while (ret == -ENODATA);

	if (ret)
		soft->type = EVENT_NONE;
	soft->insn_len = d.pos;
	return result;
}

/* ---- Instructions that access device registers ---- */

/* Register @reg as a byte instruction without REX names it: 4-7 are AH, CH, DH, BH */
static void set_register(struct mmio_op *op, const struct insn *insn, int reg, int size)
{
	op->reg = reg;
	op->dest_size = size;
	if (size == 1 && !insn->rex && reg >= 4) {
		op->reg = reg - 4;
		op->high_byte = 1;
	}
}

static u64 register_value(struct vcpu *vcpu, const struct mmio_op *op)
{
	u64 value = *state_gpr(vcpu, op->reg);

	return low_bytes(op->high_byte ? value >> 8 : value, op->dest_size);
}

/* ModRM with a memory operand; its register is the other operand */
static int read_memory_modrm(struct decoder *d)
{
	read_modrm(d);
	return d->memory ? 0 : -EOPNOTSUPP;
}

/* op register, memory */
static int register_form(struct vcpu *vcpu, struct decoder *d, struct mmio_op *op,
			 enum mmio_insn kind, int size)
{
	op->op = kind;
	op->size = size;
	set_register(op, d->insn, modrm_reg(d->insn), size);
	op->value = register_value(vcpu, op);
	return 0;
}

/* op memory, immediate */
static int immediate_form(struct decoder *d, struct mmio_op *op, enum mmio_insn kind, int size,
			  int immediate_size)
{
	op->op = kind;
	op->size = size;
	op->dest_size = size;
	op->value = low_bytes(next_number(d, immediate_size), size);
	return 0;
}

/* 00-3b: ALU operations in four forms each; and their relatives 80-85 */
static int decode_alu(struct vcpu *vcpu, struct decoder *d, struct mmio_op *op)
{
	u8 opcode = d->insn->opcode;
	int size = opcode & 1 ? d->operand_size : 1;

	if (opcode >= 0x84) {
		op->alu = ALU_TEST;
		return register_form(vcpu, d, op, MMIO_ALU_MEM, size);
	}
	op->alu = opcode >= 0x80 ? (d->insn->modrm >> 3) & 7 : opcode >> 3;
	if (op->alu == 2 || op->alu == 3)
		return -EOPNOTSUPP;
	if (opcode >= 0x80)
		return immediate_form(d, op, MMIO_ALU_MEM, size,
				      opcode == 0x81 ? min(size, 4) : 1);
	return register_form(vcpu, d, op, opcode & 2 ? MMIO_ALU_REG : MMIO_ALU_MEM, size);
}

/* A0-A3: MOV between the accumulator and an address in the instruction */
static int decode_moffs(struct vcpu *vcpu, struct decoder *d, struct mmio_op *op)
{
	u8 opcode = d->insn->opcode;
	u8 segment = d->insn->segment;

	d->memory = true;
	d->operand = (struct operand){
		.base = BASE_NONE,
		.index = BASE_NONE,
		.segment = segment == INSN_NO_SEGMENT ? CPU_DS : segment,
		.disp = next_number(d, d->address_size),
	};
	op->op = opcode & 2 ? MMIO_STORE : MMIO_LOAD;
	op->size = opcode & 1 ? d->operand_size : 1;
	op->dest_size = op->size;
	op->reg = CPU_RAX;
	op->value = register_value(vcpu, op);
	return 0;
}

static u64 string_address(struct vcpu *vcpu, const struct decoder *d, int segment, int reg)
{
	return state_linear(vcpu, segment, low_bytes(vcpu->regs.gpr[reg], d->address_size));
}

static int decode_string(struct vcpu *vcpu, struct decoder *d, struct mmio_op *op)
{
	const struct insn *insn = d->insn;
	int source = insn->segment == INSN_NO_SEGMENT ? CPU_DS : insn->segment;
	u64 destination = string_address(vcpu, d, CPU_ES, CPU_RDI);

	op->size = insn->opcode & 1 ? d->operand_size : 1;
	op->dest_size = op->size;
	op->rep = insn->rep;
	if (insn->opcode <= 0xa5) {
		op->op = MMIO_MOVS;
		op->gva = string_address(vcpu, d, source, CPU_RSI);
		op->other_gva = destination;
	} else {
		op->op = MMIO_STOS;
		op->reg = CPU_RAX;
		op->value = register_value(vcpu, op);
		op->gva = destination;
	}
	return 0;
}

static int decode_one_byte(struct vcpu *vcpu, struct decoder *d, struct mmio_op *op)
{
	u8 opcode = d->insn->opcode;
	int size = opcode & 1 ? d->operand_size : 1;
	int ret;

	switch (opcode) {
	case 0xa0 ... 0xa3:
		return decode_moffs(vcpu, d, op);
	case 0xa4:
	case 0xa5:
	case 0xaa:
	case 0xab:
		return decode_string(vcpu, d, op);
	case 0x82:
		if (d->code_size == 8)
			return -EOPNOTSUPP;
		break;
	}

	ret = read_memory_modrm(d);
	if (ret)
		return ret;
	switch (opcode) {
	case 0x00 ... 0x3f:
		return opcode & 4 ? -EOPNOTSUPP : decode_alu(vcpu, d, op);
	case 0x63:		/* MOVSXD; ARPL outside 64-bit mode */
		if (d->code_size != 8)
			return -EOPNOTSUPP;
		ret = register_form(vcpu, d, op, MMIO_LOAD_SIGNED, d->operand_size);
		op->size = min_t(u8, op->dest_size, 4);
		return ret;
	case 0x80 ... 0x85:
		return decode_alu(vcpu, d, op);
	case 0x86:
	case 0x87:
		return register_form(vcpu, d, op, MMIO_XCHG, size);
	case 0x88:
	case 0x89:
		return register_form(vcpu, d, op, MMIO_STORE, size);
	case 0x8a:
	case 0x8b:
		return register_form(vcpu, d, op, MMIO_LOAD, size);
	case 0xc6:
	case 0xc7:
		if (d->insn->modrm & 0x38)
			return -EOPNOTSUPP;
		return immediate_form(d, op, MMIO_STORE, size, min(size, 4));
	case 0xf6:
	case 0xf7:
		if (d->insn->modrm & 0x38)
			return -EOPNOTSUPP;
		op->alu = ALU_TEST;
		return immediate_form(d, op, MMIO_ALU_MEM, size, min(size, 4));
	default:
		return -EOPNOTSUPP;
	}
}

/* 0f a3, ab, b3, bb and ba: the bit's number is @op->value, modulo the operand's size */
static int decode_bit(struct vcpu *vcpu, struct decoder *d, struct mmio_op *op)
{
	u8 opcode = d->insn->opcode;

	if (opcode == 0xba) {
		op->alu = (d->insn->modrm >> 3) & 7;
		if (op->alu < BIT_TEST)
			return -EOPNOTSUPP;
		immediate_form(d, op, MMIO_BIT, d->operand_size, 1);
	} else {
		op->alu = (opcode >> 3) & 7;
		register_form(vcpu, d, op, MMIO_BIT, d->operand_size);
	}
	op->value &= op->size * 8 - 1;
	return 0;
}

static int decode_two_byte(struct vcpu *vcpu, struct decoder *d, struct mmio_op *op)
{
	u8 opcode = d->insn->opcode;
	bool extends = (opcode & 0xf6) == 0xb6;		/* MOVZX b6 b7, MOVSX be bf */
	int ret;

	if (!extends && opcode != 0xa3 && opcode != 0xab && opcode != 0xb3 && opcode != 0xbb &&
	    opcode != 0xba)
		return -EOPNOTSUPP;
	ret = read_memory_modrm(d);
	if (ret)
		return ret;
	if (!extends)
		return decode_bit(vcpu, d, op);
	ret = register_form(vcpu, d, op, opcode & 8 ? MMIO_LOAD_SIGNED : MMIO_LOAD,
			    d->operand_size);
	op->size = opcode & 1 ? 2 : 1;
	return ret;
}

static u64 swap_bytes(u64 value, int size)
{
	return __builtin_bswap64(value) >> (64 - size * 8);
}

/* 0f 38 f0, f1: MOVBE; with F2 they are CRC32 */
static int decode_movbe(struct vcpu *vcpu, struct decoder *d, struct mmio_op *op)
{
	bool store = d->insn->opcode & 1;
	int ret;

	if ((d->insn->opcode & 0xfe) != 0xf0 || d->insn->rep)
		return -EOPNOTSUPP;
	ret = read_memory_modrm(d);
	if (ret)
		return ret;
	register_form(vcpu, d, op, store ? MMIO_STORE : MMIO_LOAD_SWAPPED, d->operand_size);
	if (store)
		op->value = swap_bytes(op->value, op->size);
	return 0;
}

/* How far a bit number in a register moves BT's operand, in bytes */
static u64 bit_displacement(struct vcpu *vcpu, const struct decoder *d, const struct mmio_op *op)
{
	s64 bit;

	if (op->op != MMIO_BIT || d->insn->opcode == 0xba)
		return 0;
	bit = signed_bytes(vcpu->regs.gpr[op->reg], op->size);
	return (bit >> 3) & ~(s64)(op->size - 1);
}

/* Which may be locked: those that read and write memory (SDM, LOCK); not MOVS */
static bool may_lock(const struct mmio_op *op)
{
	return mmio_reads(op) && mmio_writes(op) && op->op != MMIO_MOVS;
}

int decode_mmio(struct vcpu *vcpu, const struct insn_bytes *code, struct mmio_op *op)
{
	struct decoder d;
	struct insn insn;
	int ret;

	*op = (struct mmio_op){ 0 };
	ret = read_opcode(&d, code->bytes, code->count, code->size, &insn);
	if (!ret) {
		switch (insn.opcode_map) {
		case 0:
			ret = decode_one_byte(vcpu, &d, op);
			break;
		case 1:
			ret = decode_two_byte(vcpu, &d, op);
			break;
		case 2:
			ret = decode_movbe(vcpu, &d, op);
			break;
		default:
			ret = -EOPNOTSUPP;
			break;
		}
		if (check_length(&d))
			ret = check_length(&d);
	}
	if (!ret && insn.locked && !may_lock(op))
		ret = -EOPNOTSUPP;
	if (ret)
		return ret == -EINVAL ? -EOPNOTSUPP : ret;

	if (!mmio_is_string(op))
		op->gva = state_linear(vcpu, d.operand.segment,
				       effective_address(vcpu, &d, bit_displacement(vcpu, &d, op)));
	op->address_size = d.address_size;
	op->next_rip = low_bytes(vcpu->regs.rip + d.pos, code->size == 8 ? 8 : 4);
	op->step = !mmio_reads(op);
	if (op->step)
		op->data = op->value;
	return 0;
}
