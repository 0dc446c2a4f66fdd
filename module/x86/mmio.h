/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The few instructions that access device registers, as decode.c describes them
 * (struct mmio_op) and mmio.c executes them. The numbers are in saved state.
 */
#ifndef VMM_X86_MMIO_H
#define VMM_X86_MMIO_H

#include <linux/types.h>

#include "types.h"

enum mmio_insn {
	MMIO_LOAD = 1,		/* MOV, MOVZX: register = memory, zero-extended */
	MMIO_LOAD_SIGNED,	/* MOVSX, MOVSXD */
	MMIO_LOAD_SWAPPED,	/* MOVBE */
	MMIO_STORE,		/* MOV, MOVBE: memory = value */
	MMIO_STOS,
	MMIO_MOVS,
	MMIO_ALU_REG,		/* register = value alu memory */
	MMIO_ALU_MEM,		/* memory = memory alu value */
	MMIO_BIT,		/* BT and its like; value is the bit's number */
	MMIO_XCHG,
	MMIO_NR_INSNS
};

/* As opcodes and ModRM.reg encode them; ADC (2) and SBB (3) are left to the emulator */
enum mmio_alu {
	ALU_ADD = 0,
	ALU_OR = 1,
	ALU_AND = 4,
	ALU_SUB = 5,
	ALU_XOR = 6,
	ALU_CMP = 7,
	ALU_TEST = 8,
};

enum mmio_bit {
	BIT_TEST = 4,
	BIT_SET = 5,
	BIT_RESET = 6,
	BIT_COMPLEMENT = 7,
};

static inline bool mmio_reads(const struct mmio_op *op)
{
	return op->op != MMIO_STORE && op->op != MMIO_STOS;
}

static inline bool mmio_writes(const struct mmio_op *op)
{
	switch (op->op) {
	case MMIO_STORE:
	case MMIO_STOS:
	case MMIO_MOVS:
	case MMIO_XCHG:
		return true;
	case MMIO_ALU_MEM:
		return op->alu != ALU_CMP && op->alu != ALU_TEST;
	case MMIO_BIT:
		return op->alu != BIT_TEST;
	default:
		return false;
	}
}

static inline bool mmio_is_string(const struct mmio_op *op)
{
	return op->op == MMIO_STOS || op->op == MMIO_MOVS;
}

/* The low @size bytes of @value */
static inline u64 low_bytes(u64 value, int size)
{
	return size == 8 ? value : value & ((1ull << (size * 8)) - 1);
}

/* They as a signed number */
static inline u64 signed_bytes(u64 value, int size)
{
	int shift = 64 - size * 8;

	return (u64)((s64)(value << shift) >> shift);
}

#endif
