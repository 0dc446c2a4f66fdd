// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: arithmetic with flags. Flags that the manuals leave undefined get
 * the value that the general rule gives.
 */
#include "emulate.h"

#define ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static uint64_t top_bit(unsigned int bytes)
{
	return 1ULL << (8 * bytes - 1);
}

/* ZF, SF, PF */
static uint64_t result_flags(uint64_t result, unsigned int bytes)
{
	uint64_t flags = 0;

	result &= size_mask(bytes);
	if (!result)
		flags |= RFLAGS_ZF;
	if (result & top_bit(bytes))
		flags |= RFLAGS_SF;
	if (!__builtin_parity(result & 0xff))
		flags |= RFLAGS_PF;
	return flags;
}

static uint64_t add(unsigned int bytes, uint64_t a, uint64_t b, unsigned int carry,
		    uint64_t *flags)
{
	unsigned __int128 sum = (unsigned __int128)a + b + carry;
	uint64_t result = sum & size_mask(bytes);

	*flags = result_flags(result, bytes) | ((a ^ b ^ result) & RFLAGS_AF);
	if (sum >> 8 * bytes)
		*flags |= RFLAGS_CF;
	if ((a ^ result) & (b ^ result) & top_bit(bytes))
		*flags |= RFLAGS_OF;
	return result;
}

static uint64_t subtract(unsigned int bytes, uint64_t a, uint64_t b, unsigned int borrow,
			 uint64_t *flags)
{
	uint64_t result = (a - b - borrow) & size_mask(bytes);

	*flags = result_flags(result, bytes) | ((a ^ b ^ result) & RFLAGS_AF);
	if ((unsigned __int128)b + borrow > a)
		*flags |= RFLAGS_CF;
	if ((a ^ b) & (a ^ result) & top_bit(bytes))
		*flags |= RFLAGS_OF;
	return result;
}

uint64_t alu(enum alu op, unsigned int bytes, uint64_t a, uint64_t b, __u64 *rflags)
{
	unsigned int carry = *rflags & RFLAGS_CF ? 1 : 0;
	uint64_t changed = ARITHMETIC, flags = 0, result = 0;

	a &= size_mask(bytes);
	b &= size_mask(bytes);
	switch (op) {
	case ALU_ADD:
		result = add(bytes, a, b, 0, &flags);
		break;
	case ALU_ADC:
		result = add(bytes, a, b, carry, &flags);
		break;
	case ALU_SUB:
		result = subtract(bytes, a, b, 0, &flags);
		break;
	case ALU_SBB:
		result = subtract(bytes, a, b, carry, &flags);
		break;
	case ALU_NEG:
		result = subtract(bytes, 0, a, 0, &flags);
		break;
	case ALU_INC:
		result = add(bytes, a, 1, 0, &flags);
		changed &= ~RFLAGS_CF;
		break;
	case ALU_DEC:
		result = subtract(bytes, a, 1, 0, &flags);
		changed &= ~RFLAGS_CF;
		break;
	case ALU_AND:
		result = a & b;
		flags = result_flags(result, bytes);
		break;
	case ALU_OR:
		result = a | b;
		flags = result_flags(result, bytes);
		break;
	case ALU_XOR:
		result = a ^ b;
		flags = result_flags(result, bytes);
		break;
	}
	*rflags = (*rflags & ~changed) | (flags & changed);
	return result;
}

static uint64_t rotate_left(unsigned int bytes, uint64_t value, unsigned int count)
{
	unsigned int bits = 8 * bytes;

	count &= bits - 1;
	return count ? (value << count | value >> (bits - count)) & size_mask(bytes) : value;
}

/* One step of RCL or RCR */
static uint64_t rotate_carry(enum shift op, unsigned int bytes, uint64_t value, bool *carry)
{
	bool out;

	if (op == SHIFT_RCL) {
		out = value & top_bit(bytes);
		value = (value << 1 | *carry) & size_mask(bytes);
	} else {
		out = value & 1;
		value = value >> 1 | (*carry ? top_bit(bytes) : 0);
	}
	*carry = out;
	return value;
}

uint64_t shift(enum shift op, unsigned int bytes, uint64_t value, unsigned int count,
	       __u64 *rflags)
{
	unsigned int bits = 8 * bytes, i;
	uint64_t changed = ARITHMETIC & ~RFLAGS_AF, flags, result, before;
	bool carry = *rflags & RFLAGS_CF, overflow;

	count &= bytes == 8 ? 0x3f : 0x1f;
	if (!count)
		return value;
	value &= size_mask(bytes);
	before = value;
	switch (op) {
	case SHIFT_SHL:
		carry = count <= bits && ((value >> (bits - count)) & 1);
		result = count < bits ? value << count & size_mask(bytes) : 0;
		overflow = !!(result & top_bit(bytes)) ^ carry;
		break;
	case SHIFT_SHR:
		carry = count <= bits && ((value >> (count - 1)) & 1);
		result = count < bits ? value >> count : 0;
		overflow = before & top_bit(bytes);
		break;
	case SHIFT_SAR:
		value = sign_extend(value, bytes);
		i = count < bits ? count : bits - 1;
		carry = (int64_t)value >> (count <= bits ? count - 1 : bits - 1) & 1;
		result = (uint64_t)((int64_t)value >> i) & size_mask(bytes);
		overflow = false;
		break;
	case SHIFT_ROL:
		result = rotate_left(bytes, value, count);
		carry = result & 1;
		overflow = !!(result & top_bit(bytes)) ^ carry;
		changed = RFLAGS_CF | RFLAGS_OF;
		break;
	case SHIFT_ROR:
		result = rotate_left(bytes, value, bits - count % bits);
		carry = result & top_bit(bytes);
		overflow = carry ^ !!(result & (top_bit(bytes) >> 1));
		changed = RFLAGS_CF | RFLAGS_OF;
		break;
	default:
		result = value;
		for (i = 0; i < count % (bits + 1); i++)
			result = rotate_carry(op, bytes, result, &carry);
		if (op == SHIFT_RCL)
			overflow = !!(result & top_bit(bytes)) ^ carry;
		else
			overflow = !!(result & top_bit(bytes)) ^ !!(result & (top_bit(bytes) >> 1));
		changed = RFLAGS_CF | RFLAGS_OF;
		break;
	}
	flags = result_flags(result, bytes) | (carry ? RFLAGS_CF : 0) |
		(overflow ? RFLAGS_OF : 0);
	*rflags = (*rflags & ~changed) | (flags & changed);
	return result;
}

uint64_t double_shift(bool left, unsigned int bytes, uint64_t value, uint64_t other,
		      unsigned int count, __u64 *rflags)
{
	unsigned int bits = 8 * bytes;
	unsigned __int128 both;
	uint64_t result, flags;
	bool carry;

	count &= bytes == 8 ? 0x3f : 0x1f;
	if (!count || count > bits)
		return value;
	value &= size_mask(bytes);
	other &= size_mask(bytes);
	if (left) {
		both = (unsigned __int128)value << bits | other;
		carry = value >> (bits - count) & 1;
		result = both << count >> bits & size_mask(bytes);
		if (bits == 64)
			result = count == 64 ? other : value << count | other >> (64 - count);
	} else {
		both = (unsigned __int128)other << bits | value;
		carry = value >> (count - 1) & 1;
		result = (uint64_t)(both >> count) & size_mask(bytes);
	}
	flags = result_flags(result, bytes) | (carry ? RFLAGS_CF : 0);
	if ((value ^ result) & top_bit(bytes))
		flags |= RFLAGS_OF;
	*rflags = (*rflags & ~(ARITHMETIC & ~RFLAGS_AF)) | flags;
	return result;
}

bool condition(unsigned int code, uint64_t rflags)
{
	bool sf = rflags & RFLAGS_SF, of = rflags & RFLAGS_OF, zf = rflags & RFLAGS_ZF;
	bool cf = rflags & RFLAGS_CF, pf = rflags & RFLAGS_PF, met;

	switch (code >> 1 & 7) {
	case 0:
		met = of;
		break;
	case 1:
		met = cf;
		break;
	case 2:
		met = zf;
		break;
	case 3:
		met = cf || zf;
		break;
	case 4:
		met = sf;
		break;
	case 5:
		met = pf;
		break;
	case 6:
		met = sf != of;
		break;
	default:
		met = zf || sf != of;
		break;
	}
	return met != (code & 1);
}
