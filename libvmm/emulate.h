/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvmm: what the parts of the emulator share. Only they know Zydis.
 */
#ifndef LIBVMM_EMULATE_H
#define LIBVMM_EMULATE_H

#include <Zydis/Zydis.h>
#include <vmm/emulate.h>

#include "internal.h"

/**
 * struct insn - an instruction under way
 * @emulator: its surroundings
 * @z: as decoded
 * @operands: as decoded
 * @regs: as they will be; the guest's when all has gone well
 * @segments: likewise
 * @control: likewise
 * @changed: VMM_STATE_SEGMENTS and VMM_STATE_CONTROL, where these did
 * @shadow: interrupt shadow behind the instruction
 * @mode: 2, 4 or 8: the code's size in bytes
 * @user: VMM_ACCESS_USER or 0
 * @stop: not 0: a repetition ends behind the iteration that set it; may be NULL
 * @xstate_loaded: emulator->xstate is valid
 */
struct insn {
	struct vmm_emulator *emulator;
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	struct vmm_regs regs;
	struct vmm_segments segments;
	struct vmm_control control;
	uint64_t changed;
	uint8_t shadow;
	unsigned int mode;
	uint32_t user;
	const int *stop;
	bool xstate_loaded;
};

/*
 * All of these return as vmm_emulate() does: 0 to go on, 1 for a fault that
 * emulator->fault holds, or a negative errno.
 */
int insn_fault(struct insn *insn, uint8_t vector, bool has_error, uint32_t error);
int insn_unsupported(struct insn *insn);

/* Linear address of memory operand @nr, moved by @displacement */
int insn_address(struct insn *insn, unsigned int nr, int64_t displacement, size_t bytes,
		 bool write, uint64_t *linear);

/*
 * Operands of 2, 4 and 8 bytes need an alignment like their size, where the guest has that
 * checked, and wider ones none. What differs, as vectors in parts and structures do, is for
 * insn_aligned() and the accesses that check nothing.
 */
int insn_read_memory(struct insn *insn, uint64_t linear, void *buf, size_t bytes, bool for_write);
int insn_write_memory(struct insn *insn, uint64_t linear, const void *buf, size_t bytes);
int insn_aligned(struct insn *insn, uint64_t linear, size_t alignment);
int insn_read_unaligned(struct insn *insn, uint64_t linear, void *buf, size_t bytes,
			bool for_write);
int insn_write_unaligned(struct insn *insn, uint64_t linear, const void *buf, size_t bytes);

/* Operands of up to 64 bits: general registers, segment selectors, memory, immediates */
int insn_read(struct insn *insn, unsigned int nr, uint64_t *value);
int insn_read_for_write(struct insn *insn, unsigned int nr, uint64_t *value);
int insn_write(struct insn *insn, unsigned int nr, uint64_t value);
unsigned int insn_size(const struct insn *insn, unsigned int nr);

uint64_t insn_get_gpr(const struct insn *insn, ZydisRegister reg);
void insn_set_gpr(struct insn *insn, ZydisRegister reg, uint64_t value);
/* The register numbered @index, cut to @bytes; a write of four bytes clears the upper half */
uint64_t insn_get(const struct insn *insn, unsigned int index, unsigned int bytes);
void insn_set(struct insn *insn, unsigned int index, unsigned int bytes, uint64_t value);

/* The segment register that operand @nr is, or -1 */
int insn_segment(const struct insn *insn, unsigned int nr);
int insn_load_segment(struct insn *insn, int segment, uint16_t selector);
bool insn_canonical(const struct insn *insn, uint64_t address);

int insn_push(struct insn *insn, unsigned int bytes, uint64_t value);
int insn_pop(struct insn *insn, unsigned int bytes, uint64_t *value);

/* The groups of instructions; -ENOSYS without a message: not of this group */
int insn_integer(struct insn *insn);
int insn_stack(struct insn *insn);
int insn_system(struct insn *insn);
int insn_string(struct insn *insn);
int insn_vector(struct insn *insn);

static inline uint64_t size_mask(unsigned int bytes)
{
	return bytes >= 8 ? ~0ULL : (1ULL << 8 * bytes) - 1;
}

static inline uint64_t sign_extend(uint64_t value, unsigned int bytes)
{
	unsigned int shift = 64 - 8 * bytes;

	return bytes >= 8 ? value : (uint64_t)((int64_t)(value << shift) >> shift);
}

/* emulate_alu.c: results and arithmetic flags; operands are cut to @bytes */
enum alu {
	ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR,
	ALU_INC, ALU_DEC, ALU_NEG,
};

enum shift {
	SHIFT_ROL, SHIFT_ROR, SHIFT_RCL, SHIFT_RCR, SHIFT_SHL, SHIFT_SHR, SHIFT_SAR,
};

uint64_t alu(enum alu op, unsigned int bytes, uint64_t a, uint64_t b, __u64 *rflags);
uint64_t shift(enum shift op, unsigned int bytes, uint64_t value, unsigned int count,
	       __u64 *rflags);
uint64_t double_shift(bool left, unsigned int bytes, uint64_t value, uint64_t other,
		      unsigned int count, __u64 *rflags);
bool condition(unsigned int code, uint64_t rflags);

#endif
