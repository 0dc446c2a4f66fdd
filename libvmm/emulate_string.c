// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: MOVS, STOS, LODS, CMPS and SCAS, with REP, REPE and REPNE.
 */
#include <errno.h>

#include "emulate.h"

/* Iterations between two looks at signals and interrupts */
#define CHUNK	1024

enum string { STRING_MOVS, STRING_STOS, STRING_LODS, STRING_CMPS, STRING_SCAS };

/**
 * struct string_insn - a string instruction
 * @insn: the instruction
 * @kind: which of them
 * @bytes: of an element
 * @address_bytes: of the index registers and the count
 * @source_segment: of the operand at RSI
 */
struct string_insn {
	struct insn *insn;
	enum string kind;
	unsigned int bytes;
	unsigned int address_bytes;
	unsigned int source_segment;
};

/* Sizes are 1, 2, 4 and 8 bytes, in this order */
static const struct {
	ZydisMnemonic mnemonics[4];
	enum string kind;
} kinds[] = {
	{ { ZYDIS_MNEMONIC_MOVSB, ZYDIS_MNEMONIC_MOVSW, ZYDIS_MNEMONIC_MOVSD,
	    ZYDIS_MNEMONIC_MOVSQ }, STRING_MOVS },
	{ { ZYDIS_MNEMONIC_STOSB, ZYDIS_MNEMONIC_STOSW, ZYDIS_MNEMONIC_STOSD,
	    ZYDIS_MNEMONIC_STOSQ }, STRING_STOS },
	{ { ZYDIS_MNEMONIC_LODSB, ZYDIS_MNEMONIC_LODSW, ZYDIS_MNEMONIC_LODSD,
	    ZYDIS_MNEMONIC_LODSQ }, STRING_LODS },
	{ { ZYDIS_MNEMONIC_CMPSB, ZYDIS_MNEMONIC_CMPSW, ZYDIS_MNEMONIC_CMPSD,
	    ZYDIS_MNEMONIC_CMPSQ }, STRING_CMPS },
	{ { ZYDIS_MNEMONIC_SCASB, ZYDIS_MNEMONIC_SCASW, ZYDIS_MNEMONIC_SCASD,
	    ZYDIS_MNEMONIC_SCASQ }, STRING_SCAS },
};

static bool find_kind(ZydisMnemonic mnemonic, enum string *kind, unsigned int *bytes)
{
	unsigned int i, size;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		for (size = 0; size < 4; size++) {
			if (kinds[i].mnemonics[size] == mnemonic) {
				*kind = kinds[i].kind;
				*bytes = 1U << size;
				return true;
			}
		}
	}
	return false;
}

static unsigned int source_segment(const struct insn *insn)
{
	if (insn->z.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_ES)
		return VMM_ES;
	if (insn->z.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_CS)
		return VMM_CS;
	if (insn->z.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_SS)
		return VMM_SS;
	if (insn->z.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS)
		return VMM_FS;
	if (insn->z.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS)
		return VMM_GS;
	return VMM_DS;
}

static int element(struct string_insn *s, unsigned int index, bool write, uint64_t *value)
{
	struct insn *insn = s->insn;
	unsigned int segment = index == VMM_RDI ? VMM_ES : s->source_segment;
	uint64_t linear;
	int ret;

	ret = state_linear(&insn->emulator->state, segment,
			   insn_get(insn, index, s->address_bytes), s->bytes, write, &linear,
			   &insn->emulator->fault);
	if (ret)
		return ret;
	if (write)
		return insn_write_memory(insn, linear, value, s->bytes);
	*value = 0;
	return insn_read_memory(insn, linear, value, s->bytes, false);
}

static void advance(struct string_insn *s, unsigned int index)
{
	uint64_t step = s->insn->regs.rflags & RFLAGS_DF ? -(uint64_t)s->bytes : s->bytes;

	insn_set(s->insn, index, s->address_bytes, s->insn->regs.gpr[index] + step);
}

/* One element; the registers change only if nothing faults */
static int iteration(struct string_insn *s)
{
	struct insn *insn = s->insn;
	uint64_t a, b;
	int ret = 0;

	if (s->kind == STRING_MOVS || s->kind == STRING_LODS || s->kind == STRING_CMPS)
		ret = element(s, VMM_RSI, false, &a);
	else
		a = insn_get(insn, VMM_RAX, s->bytes);
	if (!ret && (s->kind == STRING_CMPS || s->kind == STRING_SCAS))
		ret = element(s, VMM_RDI, false, &b);
	if (!ret && (s->kind == STRING_MOVS || s->kind == STRING_STOS))
		ret = element(s, VMM_RDI, true, &a);
	if (ret)
		return ret;
	if (s->kind == STRING_LODS)
		insn_set(insn, VMM_RAX, s->bytes, a);
	if (s->kind == STRING_CMPS || s->kind == STRING_SCAS)
		alu(ALU_SUB, s->bytes, a, b, &insn->regs.rflags);
	if (s->kind == STRING_MOVS || s->kind == STRING_LODS || s->kind == STRING_CMPS)
		advance(s, VMM_RSI);
	if (s->kind != STRING_LODS)
		advance(s, VMM_RDI);
	return 0;
}

/* Does a comparison end the repetition? */
static bool ends(const struct string_insn *s)
{
	bool equal = s->insn->regs.rflags & RFLAGS_ZF;

	if (s->kind != STRING_CMPS && s->kind != STRING_SCAS)
		return false;
	return s->insn->z.attributes & ZYDIS_ATTRIB_HAS_REPNE ? equal : !equal;
}

/*
 * It goes on at the next run. RF is set between iterations (SDM vol. 3 18.3.1.1), and before the
 * first it stays: a breakpoint at the instruction is not met again.
 */
static void stay(struct insn *insn, unsigned int done)
{
	const struct vmm_regs *before = &insn->emulator->state.regs;

	insn->regs.rip = before->rip;
	insn->regs.rflags |= done ? RFLAGS_RF : before->rflags & RFLAGS_RF;
}

static int repeat(struct string_insn *s)
{
	struct insn *insn = s->insn;
	uint64_t left = insn_get(insn, VMM_RCX, s->address_bytes);
	/* A single step is one iteration. */
	unsigned int done = 0, most = insn->regs.rflags & RFLAGS_TF ? 1 : CHUNK;
	int ret;

	while (left && done < most) {
		ret = iteration(s);
		if (ret) {
			/* What is finished stays finished. */
			stay(insn, done);
			insn->emulator->state.regs = insn->regs;
			if (done)
				insn->emulator->state.events.shadow = 0;
			return ret;
		}
		insn_set(insn, VMM_RCX, s->address_bytes, --left);
		done++;
		if (ends(s))
			return 0;
		if (insn->stop && *insn->stop)
			break;
	}
	if (left)
		stay(insn, done);
	return 0;
}

int insn_string(struct insn *insn)
{
	struct string_insn s = {
		.insn = insn,
		.address_bytes = insn->z.address_width / 8,
		.source_segment = source_segment(insn),
	};
	const uint64_t rep = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;

	if (!find_kind(insn->z.mnemonic, &s.kind, &s.bytes))
		return insn_unsupported(insn);
	return insn->z.attributes & rep ? repeat(&s) : iteration(&s);
}
