// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: instructions on general registers and memory.
 */
#include <errno.h>
#include <string.h>

#include "emulate.h"

/* Destination, source -> destination and flags. CMP and TEST keep the destination */
static int two_operands(struct insn *insn, enum alu op, bool keep)
{
	uint64_t a, b;
	int ret;

	ret = keep ? insn_read(insn, 0, &a) : insn_read_for_write(insn, 0, &a);
	if (!ret)
		ret = insn_read(insn, 1, &b);
	if (ret)
		return ret;
	a = alu(op, insn_size(insn, 0), a, b, &insn->regs.rflags);
	return keep ? 0 : insn_write(insn, 0, a);
}

static int one_operand(struct insn *insn, enum alu op)
{
	uint64_t a;
	int ret = insn_read_for_write(insn, 0, &a);

	if (ret)
		return ret;
	return insn_write(insn, 0, alu(op, insn_size(insn, 0), a, 0, &insn->regs.rflags));
}

static int invert(struct insn *insn)
{
	uint64_t a;
	int ret = insn_read_for_write(insn, 0, &a);

	return ret ? ret : insn_write(insn, 0, ~a);
}

static int move(struct insn *insn, bool extend_sign)
{
	uint64_t a;
	int ret;

	if (insn_segment(insn, 0) >= 0)
		return -ENOSYS;
	ret = insn_read(insn, 1, &a);
	if (ret)
		return ret;
	if (extend_sign)
		a = sign_extend(a, insn_size(insn, 1));
	return insn_write(insn, 0, a);
}

static int move_swapped(struct insn *insn)
{
	unsigned int bytes = insn_size(insn, 0);
	uint64_t a;
	int ret = insn_read(insn, 1, &a);

	return ret ? ret : insn_write(insn, 0, __builtin_bswap64(a) >> (64 - 8 * bytes));
}

static int shift_operand(struct insn *insn, enum shift op)
{
	uint64_t a, count;
	int ret = insn_read_for_write(insn, 0, &a);

	if (!ret)
		ret = insn_read(insn, 1, &count);
	if (ret)
		return ret;
	a = shift(op, insn_size(insn, 0), a, count & 0xff, &insn->regs.rflags);
	return insn_write(insn, 0, a);
}

static int shift_two(struct insn *insn, bool left)
{
	uint64_t a, b, count;
	int ret = insn_read_for_write(insn, 0, &a);

	if (!ret)
		ret = insn_read(insn, 1, &b);
	if (!ret)
		ret = insn_read(insn, 2, &count);
	if (ret)
		return ret;
	a = double_shift(left, insn_size(insn, 0), a, b, count & 0xff, &insn->regs.rflags);
	return insn_write(insn, 0, a);
}

static int exchange(struct insn *insn)
{
	unsigned int memory = insn->operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY;
	uint64_t a, b;
	int ret;

	/* The operand in memory goes first: it is the one that can fault. */
	ret = insn_read_for_write(insn, memory, &a);
	if (!ret)
		ret = insn_read(insn, !memory, &b);
	if (!ret)
		ret = insn_write(insn, memory, b);
	return ret ? ret : insn_write(insn, !memory, a);
}

/*
 * A destination in memory goes first: its address may be made of the source. Of one register twice
 * the sum stays.
 */
static int exchange_add(struct insn *insn)
{
	bool to_memory = insn->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
	uint64_t a, b, sum;
	int ret = insn_read_for_write(insn, 0, &a);

	if (!ret)
		ret = insn_read(insn, 1, &b);
	if (ret)
		return ret;
	sum = alu(ALU_ADD, insn_size(insn, 0), a, b, &insn->regs.rflags);
	if (to_memory) {
		ret = insn_write(insn, 0, sum);
		return ret ? ret : insn_write(insn, 1, a);
	}
	ret = insn_write(insn, 1, a);
	return ret ? ret : insn_write(insn, 0, sum);
}

/*
 * Equal: the destination takes the source; else RAX takes the destination. The destination is
 * written either way.
 */
static int compare_exchange(struct insn *insn)
{
	unsigned int bytes = insn_size(insn, 0);
	uint64_t a, b, accumulator = insn_get(insn, VMM_RAX, bytes);
	int ret = insn_read_for_write(insn, 0, &a);

	if (!ret)
		ret = insn_read(insn, 1, &b);
	if (ret)
		return ret;
	alu(ALU_SUB, bytes, accumulator, a, &insn->regs.rflags);
	if (accumulator == a)
		return insn_write(insn, 0, b);
	ret = insn_write(insn, 0, a);
	if (!ret)
		insn_set(insn, VMM_RAX, bytes, a);
	return ret;
}

/* CMPXCHG8B, CMPXCHG16B: RDX:RAX against two halves of memory, RCX:RBX into it */
static int compare_exchange_pair(struct insn *insn, unsigned int half)
{
	uint64_t linear, low = 0, high = 0;
	uint8_t buf[16];
	bool equal;
	int ret;

	ret = insn_address(insn, 0, 0, 2 * half, true, &linear);
	if (!ret && half == 8 && linear % 16)
		return insn_fault(insn, VECTOR_GP, true, 0);
	if (!ret)
		ret = insn_read_memory(insn, linear, buf, 2 * half, true);
	if (ret)
		return ret;
	memcpy(&low, buf, half);
	memcpy(&high, buf + half, half);
	equal = low == insn_get(insn, VMM_RAX, half) && high == insn_get(insn, VMM_RDX, half);
	if (equal) {
		memcpy(buf, &insn->regs.gpr[VMM_RBX], half);
		memcpy(buf + half, &insn->regs.gpr[VMM_RCX], half);
		insn->regs.rflags |= RFLAGS_ZF;
	} else {
		insn->regs.rflags &= ~RFLAGS_ZF;
	}
	ret = insn_write_memory(insn, linear, buf, 2 * half);
	if (!ret && !equal) {
		insn_set(insn, VMM_RAX, half, low);
		insn_set(insn, VMM_RDX, half, high);
	}
	return ret;
}

/* BT, BTS, BTR, BTC: a bit offset in a register reaches beyond the operand */
static int bit_test(struct insn *insn)
{
	unsigned int bytes = insn_size(insn, 0), bits = 8 * bytes;
	bool write = insn->z.mnemonic != ZYDIS_MNEMONIC_BT;
	uint64_t bit, value = 0, linear = 0;
	int64_t displacement = 0;
	int ret;

	ret = insn_read(insn, 1, &bit);
	if (ret)
		return ret;
	if (insn->operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
		displacement = ((int64_t)sign_extend(bit, bytes) >> __builtin_ctz(bits)) *
			       (int64_t)bytes;
	if (insn->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY) {
		ret = insn_address(insn, 0, displacement, bytes, write, &linear);
		if (!ret)
			ret = insn_read_memory(insn, linear, &value, bytes, write);
	} else {
		ret = insn_read(insn, 0, &value);
	}
	if (ret)
		return ret;
	bit = 1ULL << bit % bits;
	insn->regs.rflags &= ~RFLAGS_CF;
	if (value & bit)
		insn->regs.rflags |= RFLAGS_CF;
	switch (insn->z.mnemonic) {
	case ZYDIS_MNEMONIC_BTS:
		value |= bit;
		break;
	case ZYDIS_MNEMONIC_BTR:
		value &= ~bit;
		break;
	case ZYDIS_MNEMONIC_BTC:
		value ^= bit;
		break;
	default:
		return 0;
	}
	if (insn->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY)
		return insn_write_memory(insn, linear, &value, bytes);
	return insn_write(insn, 0, value);
}

/* BSF, BSR, TZCNT, LZCNT, POPCNT */
static int bit_count(struct insn *insn)
{
	unsigned int bytes = insn_size(insn, 1), bits = 8 * bytes;
	uint64_t value, result = 0, flags = 0;
	int ret = insn_read(insn, 1, &value);

	if (ret)
		return ret;
	switch (insn->z.mnemonic) {
	case ZYDIS_MNEMONIC_BSF:
	case ZYDIS_MNEMONIC_BSR:
		insn->regs.rflags &= ~RFLAGS_ZF;
		if (!value) {
			insn->regs.rflags |= RFLAGS_ZF;
			return 0;
		}
		result = insn->z.mnemonic == ZYDIS_MNEMONIC_BSF ? __builtin_ctzll(value) :
			 63 - __builtin_clzll(value);
		return insn_write(insn, 0, result);
	case ZYDIS_MNEMONIC_TZCNT:
		result = value ? (uint64_t)__builtin_ctzll(value) : bits;
		break;
	case ZYDIS_MNEMONIC_LZCNT:
		result = value ? __builtin_clzll(value) - (64 - bits) : bits;
		break;
	default:
		result = __builtin_popcountll(value);
		flags = value ? 0 : RFLAGS_ZF;
		insn->regs.rflags &= ~(RFLAGS_OF | RFLAGS_SF | RFLAGS_ZF | RFLAGS_AF | RFLAGS_CF |
				       RFLAGS_PF);
		insn->regs.rflags |= flags;
		return insn_write(insn, 0, result);
	}
	insn->regs.rflags &= ~(RFLAGS_CF | RFLAGS_ZF);
	if (!value)
		insn->regs.rflags |= RFLAGS_CF;
	if (!result)
		insn->regs.rflags |= RFLAGS_ZF;
	return insn_write(insn, 0, result);
}

static void set_carry_overflow(struct insn *insn, bool set)
{
	insn->regs.rflags &= ~(RFLAGS_CF | RFLAGS_OF);
	if (set)
		insn->regs.rflags |= RFLAGS_CF | RFLAGS_OF;
}

/* A product of twice the size into RDX:RAX, or AX for bytes */
static void set_wide(struct insn *insn, unsigned int bytes, unsigned __int128 value)
{
	if (bytes == 1) {
		insn_set(insn, VMM_RAX, 2, (uint64_t)value);
		return;
	}
	insn_set(insn, VMM_RAX, bytes, (uint64_t)value);
	insn_set(insn, VMM_RDX, bytes, (uint64_t)(value >> 8 * bytes));
}

static unsigned __int128 get_wide(const struct insn *insn, unsigned int bytes)
{
	if (bytes == 1)
		return insn_get(insn, VMM_RAX, 2);
	return (unsigned __int128)insn_get(insn, VMM_RDX, bytes) << 8 * bytes |
	       insn_get(insn, VMM_RAX, bytes);
}

static int multiply_wide(struct insn *insn, bool is_signed)
{
	unsigned int bytes = insn_size(insn, 0);
	uint64_t a, low, accumulator = insn_get(insn, VMM_RAX, bytes);
	unsigned __int128 product;
	int ret = insn_read(insn, 0, &a);

	if (ret)
		return ret;
	if (is_signed)
		product = (__int128)(int64_t)sign_extend(a, bytes) *
			  (int64_t)sign_extend(accumulator, bytes);
	else
		product = (unsigned __int128)a * accumulator;
	set_wide(insn, bytes, product);
	low = (uint64_t)product & size_mask(bytes);
	if (is_signed)
		set_carry_overflow(insn, (__int128)product != (int64_t)sign_extend(low, bytes));
	else
		set_carry_overflow(insn, product != low);
	return 0;
}

static int multiply_signed(struct insn *insn)
{
	unsigned int bytes = insn_size(insn, 0);
	unsigned int second = insn->z.operand_count_visible == 3 ? 2 : 0;
	uint64_t a, b, result;
	__int128 product;
	int ret;

	if (insn->z.operand_count_visible == 1)
		return multiply_wide(insn, true);
	ret = insn_read(insn, 1, &a);
	if (!ret)
		ret = insn_read(insn, second, &b);
	if (ret)
		return ret;
	product = (__int128)(int64_t)sign_extend(a, bytes) * (int64_t)sign_extend(b, bytes);
	result = (uint64_t)product & size_mask(bytes);
	set_carry_overflow(insn, product != (int64_t)sign_extend(result, bytes));
	return insn_write(insn, 0, result);
}

static int divide(struct insn *insn)
{
	unsigned int bytes = insn_size(insn, 0);
	unsigned __int128 value = get_wide(insn, bytes), quotient;
	uint64_t a, remainder;
	int ret = insn_read(insn, 0, &a);

	if (ret)
		return ret;
	if (!a)
		return insn_fault(insn, VECTOR_DE, false, 0);
	quotient = value / a;
	remainder = (uint64_t)(value % a);
	if (quotient > size_mask(bytes))
		return insn_fault(insn, VECTOR_DE, false, 0);
	set_wide(insn, bytes, (unsigned __int128)remainder << 8 * bytes | quotient);
	return 0;
}

static int divide_signed(struct insn *insn)
{
	unsigned int bytes = insn_size(insn, 0), bits = 8 * bytes;
	unsigned __int128 wide = get_wide(insn, bytes), magnitude, quotient, limit;
	uint64_t a, divisor, remainder;
	bool negative, divisor_negative;
	int ret = insn_read(insn, 0, &a);

	if (ret)
		return ret;
	if (!a)
		return insn_fault(insn, VECTOR_DE, false, 0);
	negative = wide >> (2 * bits - 1) & 1;
	divisor_negative = a >> (bits - 1) & 1;
	magnitude = wide;
	if (negative) {
		magnitude = -wide;
		if (bytes < 8)
			magnitude &= ((unsigned __int128)1 << 2 * bits) - 1;
	}
	divisor = divisor_negative ? -a & size_mask(bytes) : a;
	quotient = magnitude / divisor;
	remainder = (uint64_t)(magnitude % divisor);
	limit = (unsigned __int128)1 << (bits - 1);
	if (quotient > limit || (quotient == limit && negative == divisor_negative))
		return insn_fault(insn, VECTOR_DE, false, 0);
	if (negative != divisor_negative)
		quotient = -quotient;
	if (negative)
		remainder = -remainder;
	set_wide(insn, bytes, (unsigned __int128)(remainder & size_mask(bytes)) << bits |
		 ((uint64_t)quotient & size_mask(bytes)));
	return 0;
}

static int set_condition(struct insn *insn)
{
	return insn_write(insn, 0, condition(insn->z.opcode & 15, insn->regs.rflags));
}

/* The source is read even if the condition is false */
static int move_condition(struct insn *insn)
{
	uint64_t a, old;
	int ret = insn_read(insn, 1, &a);

	if (!ret)
		ret = insn_read(insn, 0, &old);
	if (ret)
		return ret;
	return insn_write(insn, 0, condition(insn->z.opcode & 15, insn->regs.rflags) ? a : old);
}

int insn_integer(struct insn *insn)
{
	switch (insn->z.mnemonic) {
	case ZYDIS_MNEMONIC_ADD:
		return two_operands(insn, ALU_ADD, false);
	case ZYDIS_MNEMONIC_OR:
		return two_operands(insn, ALU_OR, false);
	case ZYDIS_MNEMONIC_ADC:
		return two_operands(insn, ALU_ADC, false);
	case ZYDIS_MNEMONIC_SBB:
		return two_operands(insn, ALU_SBB, false);
	case ZYDIS_MNEMONIC_AND:
		return two_operands(insn, ALU_AND, false);
	case ZYDIS_MNEMONIC_SUB:
		return two_operands(insn, ALU_SUB, false);
	case ZYDIS_MNEMONIC_XOR:
		return two_operands(insn, ALU_XOR, false);
	case ZYDIS_MNEMONIC_CMP:
		return two_operands(insn, ALU_SUB, true);
	case ZYDIS_MNEMONIC_TEST:
		return two_operands(insn, ALU_AND, true);
	case ZYDIS_MNEMONIC_INC:
		return one_operand(insn, ALU_INC);
	case ZYDIS_MNEMONIC_DEC:
		return one_operand(insn, ALU_DEC);
	case ZYDIS_MNEMONIC_NEG:
		return one_operand(insn, ALU_NEG);
	case ZYDIS_MNEMONIC_NOT:
		return invert(insn);
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVNTI:
	case ZYDIS_MNEMONIC_MOVDIRI:
		return move(insn, false);
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
		return move(insn, true);
	case ZYDIS_MNEMONIC_MOVBE:
		return move_swapped(insn);
	case ZYDIS_MNEMONIC_XCHG:
		return exchange(insn);
	case ZYDIS_MNEMONIC_XADD:
		return exchange_add(insn);
	case ZYDIS_MNEMONIC_CMPXCHG:
		return compare_exchange(insn);
	case ZYDIS_MNEMONIC_CMPXCHG8B:
		return compare_exchange_pair(insn, 4);
	case ZYDIS_MNEMONIC_CMPXCHG16B:
		return compare_exchange_pair(insn, 8);
	case ZYDIS_MNEMONIC_SHL:
		return shift_operand(insn, SHIFT_SHL);
	case ZYDIS_MNEMONIC_SHR:
		return shift_operand(insn, SHIFT_SHR);
	case ZYDIS_MNEMONIC_SAR:
		return shift_operand(insn, SHIFT_SAR);
	case ZYDIS_MNEMONIC_ROL:
		return shift_operand(insn, SHIFT_ROL);
	case ZYDIS_MNEMONIC_ROR:
		return shift_operand(insn, SHIFT_ROR);
	case ZYDIS_MNEMONIC_RCL:
		return shift_operand(insn, SHIFT_RCL);
	case ZYDIS_MNEMONIC_RCR:
		return shift_operand(insn, SHIFT_RCR);
	case ZYDIS_MNEMONIC_SHLD:
		return shift_two(insn, true);
	case ZYDIS_MNEMONIC_SHRD:
		return shift_two(insn, false);
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC:
		return bit_test(insn);
	case ZYDIS_MNEMONIC_BSF:
	case ZYDIS_MNEMONIC_BSR:
	case ZYDIS_MNEMONIC_TZCNT:
	case ZYDIS_MNEMONIC_LZCNT:
	case ZYDIS_MNEMONIC_POPCNT:
		return bit_count(insn);
	case ZYDIS_MNEMONIC_MUL:
		return multiply_wide(insn, false);
	case ZYDIS_MNEMONIC_IMUL:
		return multiply_signed(insn);
	case ZYDIS_MNEMONIC_DIV:
		return divide(insn);
	case ZYDIS_MNEMONIC_IDIV:
		return divide_signed(insn);
	case ZYDIS_MNEMONIC_NOP:
	case ZYDIS_MNEMONIC_CLFLUSH:
	case ZYDIS_MNEMONIC_CLFLUSHOPT:
	case ZYDIS_MNEMONIC_CLWB:
	case ZYDIS_MNEMONIC_CLDEMOTE:
		return 0;
	default:
		break;
	}
	switch (insn->z.meta.category) {
	case ZYDIS_CATEGORY_SETCC:
		return set_condition(insn);
	case ZYDIS_CATEGORY_CMOV:
		return move_condition(insn);
	case ZYDIS_CATEGORY_PREFETCH:
		return 0;
	default:
		return -ENOSYS;
	}
}
