// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: the stack, and near jumps, calls and returns.
 */
#include <errno.h>

#include "emulate.h"

#define RFLAGS_IF	(1ULL << 9)
#define RFLAGS_IOPL	(3ULL << 12)
#define RFLAGS_NT	(1ULL << 14)
#define RFLAGS_ID	(1ULL << 21)

static unsigned int stack_bytes(const struct insn *insn)
{
	return insn->z.stack_width / 8;
}

static unsigned int operand_bytes(const struct insn *insn)
{
	return insn->z.operand_width / 8;
}

static int stack_address(struct insn *insn, uint64_t rsp, unsigned int bytes, bool write,
			 uint64_t *linear)
{
	return state_linear(&insn->emulator->state, VMM_SS, rsp & size_mask(stack_bytes(insn)),
			    bytes, write, linear, &insn->emulator->fault);
}

int insn_push(struct insn *insn, unsigned int bytes, uint64_t value)
{
	uint64_t rsp = insn_get(insn, VMM_RSP, stack_bytes(insn)) - bytes, linear;
	int ret = stack_address(insn, rsp, bytes, true, &linear);

	if (!ret)
		ret = insn_write_memory(insn, linear, &value, bytes);
	if (!ret)
		insn_set(insn, VMM_RSP, stack_bytes(insn), rsp);
	return ret;
}

int insn_pop(struct insn *insn, unsigned int bytes, uint64_t *value)
{
	uint64_t rsp = insn_get(insn, VMM_RSP, stack_bytes(insn)), linear;
	int ret = stack_address(insn, rsp, bytes, false, &linear);

	*value = 0;
	if (!ret)
		ret = insn_read_memory(insn, linear, value, bytes, false);
	if (!ret)
		insn_set(insn, VMM_RSP, stack_bytes(insn), rsp + bytes);
	return ret;
}

static int push(struct insn *insn)
{
	uint64_t value;
	int ret = insn_read(insn, 0, &value);

	return ret ? ret : insn_push(insn, operand_bytes(insn), value);
}

/* An address that uses RSP is computed behind the increment */
static int pop(struct insn *insn)
{
	uint64_t value;
	int segment = insn_segment(insn, 0), ret;

	ret = insn_pop(insn, operand_bytes(insn), &value);
	if (ret)
		return ret;
	if (segment >= 0)
		return insn_load_segment(insn, segment, value & 0xffff);
	return insn_write(insn, 0, value);
}

/* In virtual-8086 mode with IOPL below 3 the flags are a monitor's */
static bool flags_trapped(const struct insn *insn)
{
	return (insn->regs.rflags & RFLAGS_VM) && (insn->regs.rflags & RFLAGS_IOPL) != RFLAGS_IOPL;
}

static int push_flags(struct insn *insn)
{
	uint64_t flags = insn->emulator->state.regs.rflags & ~(RFLAGS_RF | RFLAGS_VM);

	if (flags_trapped(insn))
		return insn_fault(insn, VECTOR_GP, true, 0);
	return insn_push(insn, operand_bytes(insn), flags);
}

/* Which flags change depends on the privilege (SDM Vol. 2, POPF) */
static int pop_flags(struct insn *insn)
{
	uint64_t cpl = state_cpl(&insn->emulator->state), value;
	uint64_t iopl = (insn->regs.rflags & RFLAGS_IOPL) >> 12;
	uint64_t mask = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_TF |
			RFLAGS_DF | RFLAGS_OF | RFLAGS_NT | RFLAGS_AC | RFLAGS_ID;
	int ret;

	if (flags_trapped(insn))
		return insn_fault(insn, VECTOR_GP, true, 0);
	ret = insn_pop(insn, operand_bytes(insn), &value);
	if (ret)
		return ret;
	if (cpl <= iopl)
		mask |= RFLAGS_IF;
	if (!cpl)
		mask |= RFLAGS_IOPL;
	mask &= size_mask(operand_bytes(insn));
	insn->regs.rflags = (insn->regs.rflags & ~mask) | (value & mask);
	return 0;
}

/* PUSHA: RSP as it was before */
static int push_all(struct insn *insn)
{
	unsigned int bytes = operand_bytes(insn), i;
	uint64_t rsp = insn->regs.gpr[VMM_RSP];
	int ret = 0;

	for (i = VMM_RAX; i <= VMM_RDI && !ret; i++)
		ret = insn_push(insn, bytes, i == VMM_RSP ? rsp : insn->regs.gpr[i]);
	return ret;
}

/* POPA: what was pushed for RSP is dropped */
static int pop_all(struct insn *insn)
{
	unsigned int bytes = operand_bytes(insn);
	uint64_t value;
	int i, ret;

	for (i = VMM_RDI; i >= VMM_RAX; i--) {
		ret = insn_pop(insn, bytes, &value);
		if (ret)
			return ret;
		if (i != VMM_RSP)
			insn_set(insn, i, bytes, value);
	}
	return 0;
}

/* Without nested frames */
static int enter(struct insn *insn)
{
	unsigned int bytes = operand_bytes(insn);
	uint64_t size, level, frame;
	int ret;

	ret = insn_read(insn, 0, &size);
	if (!ret)
		ret = insn_read(insn, 1, &level);
	if (!ret && level % 32)
		return -ENOSYS;
	if (!ret)
		ret = insn_push(insn, bytes, insn->regs.gpr[VMM_RBP]);
	if (ret)
		return ret;
	frame = insn->regs.gpr[VMM_RSP];
	insn_set(insn, VMM_RBP, bytes, frame);
	insn_set(insn, VMM_RSP, stack_bytes(insn), frame - size);
	return 0;
}

static int leave(struct insn *insn)
{
	uint64_t value;
	int ret;

	insn_set(insn, VMM_RSP, stack_bytes(insn), insn->regs.gpr[VMM_RBP]);
	ret = insn_pop(insn, operand_bytes(insn), &value);
	if (!ret)
		insn_set(insn, VMM_RBP, operand_bytes(insn), value);
	return ret;
}

/* ---- near jumps ---- */

static int go_to(struct insn *insn, uint64_t target)
{
	target &= size_mask(operand_bytes(insn));
	if (insn->mode == 8 ? !insn_canonical(insn, target) :
	    target > insn->segments.seg[VMM_CS].limit)
		return insn_fault(insn, VECTOR_GP, true, 0);
	insn->regs.rip = target;
	return 0;
}

/* To a relative, a register's or memory's target */
static int jump(struct insn *insn, bool call)
{
	uint64_t target, next = insn->regs.rip;
	int ret = insn_read(insn, 0, &target);

	if (ret)
		return ret;
	if (insn->operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		target += next;
	ret = go_to(insn, target);
	if (!ret && call)
		ret = insn_push(insn, operand_bytes(insn), next);
	return ret;
}

/* With or without arguments to drop */
static int jump_back(struct insn *insn)
{
	uint64_t target, arguments = 0;
	int ret;

	ret = insn_pop(insn, operand_bytes(insn), &target);
	if (!ret && insn->operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		ret = insn_read(insn, 0, &arguments);
	if (ret)
		return ret;
	insn_set(insn, VMM_RSP, stack_bytes(insn),
		 insn_get(insn, VMM_RSP, stack_bytes(insn)) + arguments);
	return go_to(insn, target);
}

int insn_stack(struct insn *insn)
{
	if (insn->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return -ENOSYS;
	switch (insn->z.mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
		return push(insn);
	case ZYDIS_MNEMONIC_POP:
		return pop(insn);
	case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_PUSHFD:
	case ZYDIS_MNEMONIC_PUSHFQ:
		return push_flags(insn);
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ:
		return pop_flags(insn);
	case ZYDIS_MNEMONIC_PUSHA:
	case ZYDIS_MNEMONIC_PUSHAD:
		return push_all(insn);
	case ZYDIS_MNEMONIC_POPA:
	case ZYDIS_MNEMONIC_POPAD:
		return pop_all(insn);
	case ZYDIS_MNEMONIC_ENTER:
		return enter(insn);
	case ZYDIS_MNEMONIC_LEAVE:
		return leave(insn);
	case ZYDIS_MNEMONIC_CALL:
		return jump(insn, true);
	case ZYDIS_MNEMONIC_JMP:
		return jump(insn, false);
	case ZYDIS_MNEMONIC_RET:
		return jump_back(insn);
	default:
		return -ENOSYS;
	}
}
