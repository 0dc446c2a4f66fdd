// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions that access device registers, one access after the other: each is offered to the
 * devices in the kernel and leaves for the VMM if none has that address.
 *
 * What is left to do is in vcpu->pending alone, so that it survives a move of the vCPU between
 * any two accesses. An exit for the last access of an instruction that ends with a write comes
 * when the instruction is complete: nothing is pending then.
 */
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/types.h>
#include <asm/processor-flags.h>

#include "hw.h"
#include "irq/irq.h"
#include "memory.h"
#include "vcpu.h"
#include "vmm_abi.h"
#include "x86/mmio.h"
#include "x86/x86.h"

#define STEP_READ	0
#define STEP_WRITE	1

#define MMIO_PAGE	4096

static bool crosses_page(u64 gva, int size)
{
	return (gva & (MMIO_PAGE - 1)) + size > MMIO_PAGE;
}

/* An access is 1, 2, 4 or 8 bytes in one page: how many of those that are left may be the next? */
static int piece_size(u64 gva, int left)
{
	int in_page = MMIO_PAGE - (gva & (MMIO_PAGE - 1));
	int size = 8;

	while (size > left || size > in_page)
		size /= 2;
	return size;
}

static u64 operand_gva(const struct mmio_op *op)
{
	return op->op == MMIO_MOVS && op->step == STEP_WRITE ? op->other_gva : op->gva;
}

static int next_piece(const struct mmio_op *op)
{
	return piece_size(operand_gva(op) + op->done, op->size - op->done);
}

/* Is op->gpa where the operand is? If not, the guest's page tables say it, and it may be in RAM. */
static bool gpa_known(const struct mmio_op *op)
{
	return op->op != MMIO_MOVS && !crosses_page(op->gva, op->size);
}

static u32 user_access(struct vcpu *vcpu)
{
	return hw->get_mode(vcpu).cpl == 3 ? ACCESS_USER : 0;
}

/* ---- Registers and flags ---- */

static void write_register(struct vcpu *vcpu, const struct mmio_op *op, u64 value)
{
	u64 *reg = state_gpr(vcpu, op->reg);
	int shift = op->high_byte ? 8 : 0;
	u64 mask = low_bytes(~0ull, op->dest_size) << shift;

	if (op->dest_size >= 4)
		*reg = low_bytes(value, op->dest_size);
	else
		*reg = (*reg & ~mask) | (value << shift & mask);
}

/* Add @delta to a register that strings use, as wide as their addresses are */
static void step_register(struct vcpu *vcpu, int reg, s64 delta, int address_size)
{
	struct mmio_op op = { .reg = reg, .dest_size = address_size };

	write_register(vcpu, &op, vcpu->regs.gpr[reg] + delta);
}

static void set_flag(struct vcpu *vcpu, u64 flag, bool value)
{
	if (value)
		vcpu->regs.rflags |= flag;
	else
		vcpu->regs.rflags &= ~flag;
}

/*
 * @a op @b, with the flags. AF is what the carry into bit 4 says; after the logical operations,
 * where it is undefined, 0.
 */
static u64 compute(struct vcpu *vcpu, u8 alu, u64 a, u64 b, int size)
{
	u64 sign = 1ull << (size * 8 - 1);
	bool carry = false, overflow = false, aux = false;
	u64 result;

	switch (alu) {
	case ALU_ADD:
		result = low_bytes(a + b, size);
		carry = result < a;
		overflow = (a ^ result) & (b ^ result) & sign;
		aux = (a ^ b ^ result) & 0x10;
		break;
	case ALU_SUB:
	case ALU_CMP:
		result = low_bytes(a - b, size);
		carry = a < b;
		overflow = (a ^ b) & (a ^ result) & sign;
		aux = (a ^ b ^ result) & 0x10;
		break;
	case ALU_OR:
		result = a | b;
		break;
	case ALU_XOR:
		result = a ^ b;
		break;
	default:		/* AND, TEST */
		result = a & b;
		break;
	}
	set_flag(vcpu, X86_EFLAGS_CF, carry);
	set_flag(vcpu, X86_EFLAGS_PF, !__builtin_parity(result & 0xff));
	set_flag(vcpu, X86_EFLAGS_AF, aux);
	set_flag(vcpu, X86_EFLAGS_ZF, !result);
	set_flag(vcpu, X86_EFLAGS_SF, result & sign);
	set_flag(vcpu, X86_EFLAGS_OF, overflow);
	return result;
}

/* BT and its like change CF alone (the other flags are undefined but for ZF, which stays) */
static u64 apply_bit(struct vcpu *vcpu, const struct mmio_op *op)
{
	u64 bit = 1ull << op->value;

	set_flag(vcpu, X86_EFLAGS_CF, op->data & bit);
	switch (op->alu) {
	case BIT_SET:
		return op->data | bit;
	case BIT_RESET:
		return op->data & ~bit;
	case BIT_COMPLEMENT:
		return op->data ^ bit;
	default:
		return op->data;
	}
}

/* The operand was read: op->data becomes what is to be written, where something is */
static void after_read(struct vcpu *vcpu, struct mmio_op *op)
{
	u64 data = op->data;

	switch (op->op) {
	case MMIO_ALU_MEM:
		op->data = compute(vcpu, op->alu, data, op->value, op->size);
		break;
	case MMIO_BIT:
		op->data = apply_bit(vcpu, op);
		break;
	case MMIO_XCHG:
		op->data = op->value;
		op->value = data;
		break;
	}
}

/* All accesses are done, or the last is about to leave: what the instruction does to registers */
static void commit(struct vcpu *vcpu, const struct mmio_op *op)
{
	u64 value = op->data;

	switch (op->op) {
	case MMIO_LOAD_SIGNED:
		value = signed_bytes(value, op->size);
		break;
	case MMIO_LOAD_SWAPPED:
		value = __builtin_bswap64(value) >> (64 - op->size * 8);
		break;
	case MMIO_LOAD:
		break;
	case MMIO_ALU_REG:
		value = compute(vcpu, op->alu, op->value, value, op->size);
		if (op->alu == ALU_CMP)
			return;
		break;
	case MMIO_XCHG:
		value = op->value;
		break;
	default:
		return;
	}
	write_register(vcpu, op, value);
}

/* The string instruction's registers after one iteration; true: it was the last */
static bool step_string(struct vcpu *vcpu, const struct mmio_op *op)
{
	s64 delta = vcpu->regs.rflags & X86_EFLAGS_DF ? -op->size : op->size;

	step_register(vcpu, CPU_RDI, delta, op->address_size);
	if (op->op == MMIO_MOVS)
		step_register(vcpu, CPU_RSI, delta, op->address_size);
	if (!op->rep)
		return true;
	step_register(vcpu, CPU_RCX, -1, op->address_size);
	return !low_bytes(vcpu->regs.gpr[CPU_RCX], op->address_size);
}

/* The instruction, or one iteration of it, is done. The VMM may have set RIP at an earlier exit. */
static void finish(struct vcpu *vcpu)
{
	struct mmio_op *op = &vcpu->pending.mmio;
	u64 rip = op->behind ? vcpu->regs.rip : op->next_rip;
	bool goes_on;

	vcpu->pending.kind = VMM_PENDING_NONE;
	commit(vcpu, op);
	goes_on = mmio_is_string(op) && !step_string(vcpu, op);
	vcpu_finish_insn(vcpu, goes_on ? vcpu->pending.rip : rip);
	/* So that a breakpoint at it is not met at each iteration: SDM vol. 3 18.3.1.1 */
	if (goes_on)
		vcpu->regs.rflags |= X86_EFLAGS_RF;
}

/* ---- Ways out ---- */

static void abandon(struct vcpu *vcpu)
{
	if (vcpu->pending.mmio.behind)
		vcpu->regs.rip = vcpu->pending.rip;
	vcpu->pending.kind = VMM_PENDING_NONE;
}

static enum mmio_result guest_fault(struct vcpu *vcpu, const struct cpu_event *fault)
{
	abandon(vcpu);
	vcpu_queue_exception(vcpu, fault->vector, fault->has_error, fault->error, fault->payload);
	return MMIO_DONE;
}

static enum mmio_result host_fault(struct vcpu *vcpu, u64 gpa, u32 access, int error)
{
	abandon(vcpu);
	vcpu->exit.reason = EXIT_FAULT;
	vcpu->exit.fault.gpa = gpa;
	vcpu->exit.fault.access = access;
	vcpu->exit.fault.error = error;
	return MMIO_FAULT;
}

/* What guest_translate() and its like answered, not 0 */
static enum mmio_result failed(struct vcpu *vcpu, u64 gpa, u32 access, int ret,
			       const struct cpu_event *fault)
{
	if (ret > 0)
		return guest_fault(vcpu, fault);
	if (ret == -EAGAIN)
		return MMIO_OUTSIDE;
	return host_fault(vcpu, gpa, access, ret);
}

enum mmio_result mmio_emulate(struct vcpu *vcpu, u64 gpa, u32 access, struct insn_bytes *code)
{
	struct exit_emulate *emulate = &vcpu->exit.emulate;
	struct cpu_event ignored;

	if (code->count < INSN_MAX && insn_fetch(vcpu, code, &ignored) == -EAGAIN)
		return MMIO_OUTSIDE;
	vcpu->exit.reason = EXIT_EMULATE;
	*emulate = (struct exit_emulate){
		.gpa = gpa,
		.gva = code->linear,
		.access = access,
		.length = code->count,
		.mode = code->size,
	};
	memcpy(emulate->bytes, code->bytes, code->count);
	return MMIO_EMULATE;
}

/* Let the VMM do the next piece */
static enum mmio_result leave(struct vcpu *vcpu, u64 gpa, int size, u64 data)
{
	struct mmio_op *op = &vcpu->pending.mmio;
	bool write = op->step == STEP_WRITE;

	vcpu->exit.reason = EXIT_MMIO;
	vcpu->exit.rip = vcpu->pending.rip;
	vcpu->exit.next_rip = op->next_rip;
	vcpu->exit.mmio = (struct exit_mmio){
		.gpa = gpa,
		.size = size,
		.write = write,
		.data = data,
	};
	if (write && op->done + size == op->size) {
		finish(vcpu);
		return MMIO_USER;
	}
	vcpu->pending.kind = VMM_PENDING_MMIO;
	vcpu->pending.size = size;
	if (!op->behind && !mmio_is_string(op)) {
		op->behind = 1;
		vcpu->regs.rip = op->next_rip;
	}
	return MMIO_USER;
}

/* ---- Accesses ---- */

/*
 * Is the operand that is to be read now memory? Where one of several pages or operands may be; or
 * where the fault was the write of an instruction that reads its operand first, in a read-only
 * slot.
 */
static bool reads_memory(struct vcpu *vcpu, const struct mmio_op *op, u64 gpa)
{
	return op->step == STEP_READ && (!gpa_known(op) || mmio_writes(op)) &&
	       !memory_is_mmio(vcpu->vm, gpa, ACCESS_READ);
}

/* @size bytes at @gpa. 0; ENXIO: for the VMM to do; EAGAIN: outside the window; EFAULT */
static int access_gpa(struct vcpu *vcpu, const struct mmio_op *op, u64 gpa, int size, u64 *data)
{
	bool write = op->step == STEP_WRITE;
	int ret = -ENXIO;

	if (reads_memory(vcpu, op, gpa)) {
		if (vcpu_in_window(vcpu))
			return -EAGAIN;
		return memory_read(vcpu->vm, gpa, data, size);
	}
	if (write && !gpa_known(op)) {
		ret = memory_write(vcpu->vm, gpa, data, size);
		if (ret != -ENXIO)
			return ret;
	}
	if (write ? irq_mmio_write(vcpu, gpa, size, *data) : irq_mmio_read(vcpu, gpa, size, data))
		return 0;
	return -ENXIO;
}

static void take_piece(struct mmio_op *op, int size, u64 data)
{
	if (op->step == STEP_READ)
		op->data |= low_bytes(data, size) << (op->done * 8);
	op->done += size;
}

/* The rest of the present operand. True: done; false: *@result says how it goes on. */
static bool access_operand(struct vcpu *vcpu, enum mmio_result *result)
{
	struct mmio_op *op = &vcpu->pending.mmio;
	u32 access = op->step == STEP_WRITE ? ACCESS_WRITE : ACCESS_READ;
	struct cpu_event fault;

	while (op->done < op->size) {
		int size = next_piece(op);
		u64 gpa = op->gpa + op->done;
		u64 data = 0;
		int ret = 0;

		if (op->step == STEP_WRITE)
			data = low_bytes(op->data >> (op->done * 8), size);
		if (!gpa_known(op))
			ret = guest_translate(vcpu, operand_gva(op) + op->done,
					      access | user_access(vcpu), &gpa, &fault);
		if (!ret) {
			ret = access_gpa(vcpu, op, gpa, size, &data);
			if (ret == -ENXIO) {
				*result = leave(vcpu, gpa, size, data);
				return false;
			}
		}
		if (ret) {
			*result = failed(vcpu, gpa, access, ret, &fault);
			return false;
		}
		take_piece(op, size, data);
	}
	return true;
}

/* From wherever vcpu->pending.mmio is to the end, or to the next exit */
static enum mmio_result proceed(struct vcpu *vcpu)
{
	struct mmio_op *op = &vcpu->pending.mmio;
	enum mmio_result result;

	if (op->step == STEP_READ) {
		if (!access_operand(vcpu, &result))
			return result;
		after_read(vcpu, op);
		if (mmio_writes(op)) {
			op->step = STEP_WRITE;
			op->done = 0;
		}
	}
	if (op->step == STEP_WRITE && !access_operand(vcpu, &result))
		return result;
	finish(vcpu);
	return MMIO_DONE;
}

static int probe(struct vcpu *vcpu, u64 gva, int size, u32 access, struct cpu_event *fault)
{
	u64 gpa;
	int ret;

	access |= user_access(vcpu);
	ret = guest_translate(vcpu, gva, access, &gpa, fault);
	if (!ret && crosses_page(gva, size))
		ret = guest_translate(vcpu, (gva | (MMIO_PAGE - 1)) + 1, access, &gpa, fault);
	return ret;
}

/*
 * Would the guest get a page fault for one of the operands? Found out before the first access,
 * since reading a device twice is not the same as once.
 */
static int probe_operands(struct vcpu *vcpu, const struct mmio_op *op, struct cpu_event *fault)
{
	u32 access = mmio_writes(op) ? ACCESS_WRITE : ACCESS_READ;
	int ret;

	if (op->op != MMIO_MOVS)
		return probe(vcpu, op->gva, op->size, access, fault);
	ret = probe(vcpu, op->gva, op->size, ACCESS_READ, fault);
	return ret ? ret : probe(vcpu, op->other_gva, op->size, ACCESS_WRITE, fault);
}

/*
 * Is @gpa the operand's, and not a page table's on the way to it? Offsets in the page tell; a CPU
 * that reports another byte of the operand makes us walk.
 */
static bool is_operand(struct vcpu *vcpu, const struct mmio_op *op, u64 gpa)
{
	struct cpu_event ignored;
	u64 operand;

	if (((gpa ^ op->gva) & (MMIO_PAGE - 1)) == 0)
		return true;
	return !guest_translate_probe(vcpu, op->gva, ACCESS_READ | user_access(vcpu), &operand,
				      &ignored) &&
	       ((gpa ^ operand) & ~(u64)(MMIO_PAGE - 1)) == 0;
}

/*
 * Fetch and decode into vcpu->pending.mmio. Return: 0; EOPNOTSUPP: for the emulator; otherwise as
 * insn_fetch().
 */
static int read_insn(struct vcpu *vcpu, struct insn_bytes *code, struct cpu_event *fault)
{
	int ret;

	insn_given(vcpu, code, vcpu->exit.fault.insn, vcpu->exit.fault.insn_len);
	for (;;) {
		ret = decode_mmio(vcpu, code, &vcpu->pending.mmio);
		if (ret != -ENODATA)
			return ret;
		ret = insn_fetch(vcpu, code, fault);
		if (ret)
			return ret;
	}
}

enum mmio_result mmio_start(struct vcpu *vcpu, u64 gpa)
{
	struct mmio_op *op = &vcpu->pending.mmio;
	u32 access = vcpu->exit.fault.access;
	struct cpu_event fault;
	struct insn_bytes code;
	int ret;

	*op = (struct mmio_op){ 0 };
	vcpu->pending.rip = vcpu->regs.rip;
	/* What the CPU fetches, or reads to deliver an event, is no instruction's operand. */
	if ((access & ACCESS_EXEC) || vcpu->events.interrupted.type)
		return host_fault(vcpu, gpa, access, -ENXIO);

	ret = read_insn(vcpu, &code, &fault);
	if (ret == -EOPNOTSUPP)
		return mmio_emulate(vcpu, gpa, access, &code);
	if (ret)
		return failed(vcpu, gpa, access, ret, &fault);
	if (op->rep && !low_bytes(vcpu->regs.gpr[CPU_RCX], op->address_size)) {
		vcpu_finish_insn(vcpu, op->next_rip);
		return MMIO_DONE;
	}

	if (gpa_known(op)) {
		if (!is_operand(vcpu, op, gpa))
			return vcpu_in_window(vcpu) ? MMIO_OUTSIDE :
						      host_fault(vcpu, gpa, access, -ENXIO);
		op->gpa = (gpa & ~(u64)(MMIO_PAGE - 1)) | (op->gva & (MMIO_PAGE - 1));
	} else {
		if (vcpu_in_window(vcpu))
			return MMIO_OUTSIDE;
		ret = probe_operands(vcpu, op, &fault);
		if (ret)
			return failed(vcpu, gpa, access, ret, &fault);
	}
	return proceed(vcpu);
}

enum mmio_result mmio_continue(struct vcpu *vcpu)
{
	struct mmio_op *op = &vcpu->pending.mmio;

	vcpu->pending.kind = VMM_PENDING_NONE;
	take_piece(op, vcpu->pending.size, vcpu->answer);
	return proceed(vcpu);
}

static bool is_size(u8 size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static bool check_alu(const struct mmio_op *op)
{
	switch (op->op) {
	case MMIO_ALU_REG:
	case MMIO_ALU_MEM:
		return op->alu <= ALU_TEST && op->alu != 2 && op->alu != 3;
	case MMIO_BIT:
		return op->alu >= BIT_TEST && op->alu <= BIT_COMPLEMENT &&
		       op->value < op->size * 8;
	default:
		return !op->alu;
	}
}

int mmio_check(const struct cpu_pending *pending)
{
	const struct mmio_op *op = &pending->mmio;
	int i;

	if (!op->op || op->op >= MMIO_NR_INSNS || !is_size(op->size) || !is_size(op->dest_size) ||
	    !is_size(op->address_size) || op->address_size == 1 || op->reg >= CPU_NR_GPRS ||
	    !check_alu(op))
		return -EINVAL;
	if (op->high_byte && (op->high_byte > 1 || op->dest_size != 1 || op->reg > CPU_RBX))
		return -EINVAL;
	if (op->rep && (!mmio_is_string(op) || (op->rep != 0xf2 && op->rep != 0xf3)))
		return -EINVAL;
	if (op->step > STEP_WRITE || (op->step == STEP_READ ? !mmio_reads(op) : !mmio_writes(op)))
		return -EINVAL;
	if (op->behind != !mmio_is_string(op))
		return -EINVAL;
	for (i = 0; i < sizeof(op->reserved); i++)
		if (op->reserved[i])
			return -EINVAL;
	/* Some of the operand is left, and the VMM does the next piece of it. */
	if (op->done >= op->size || pending->size != next_piece(op))
		return -EINVAL;
	return 0;
}
