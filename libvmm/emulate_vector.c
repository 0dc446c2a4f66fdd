// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: moves and bitwise logic of SSE, AVX and AVX-512 registers, moves of
 * MMX registers, MXCSR and the x87 control word.
 */
#include <errno.h>
#include <string.h>

#include "emulate.h"

#define XSAVE_FCW	0
#define XSAVE_FSW	2
#define XSAVE_FTW	4
#define XSAVE_MXCSR	24
#define XSAVE_ST	32
#define XSAVE_XMM	160
#define XSAVE_BV	512

#define XFEATURE_X87	0
#define XFEATURE_SSE	1
#define XFEATURE_AVX	2
#define XFEATURE_OPMASK	5
#define XFEATURE_ZMM	6
#define XFEATURE_ZMM16	7

#define VECTOR_MAX	64

/* A vector register, and where its parts lie in the XSAVE area */
struct vector {
	uint8_t bytes[VECTOR_MAX];
};

struct part {
	unsigned int feature;
	uint32_t offset;	/* 0: the guest has no such part */
	unsigned int first;	/* byte of the register */
	unsigned int bytes;
};

static int need_xstate(struct insn *insn)
{
	struct vmm_emulator *emulator = insn->emulator;
	int ret;

	if (insn->xstate_loaded)
		return 0;
	if (!emulator->load_xstate)
		return -ENOSYS;
	ret = emulator->load_xstate(emulator->opaque, emulator->xstate);
	insn->xstate_loaded = !ret;
	return ret;
}

static uint64_t *xstate_bv(const struct insn *insn)
{
	return (uint64_t *)(insn->emulator->xstate->area + XSAVE_BV);
}

/* A component that is absent from XSTATE_BV holds zeros: make that so in the area */
static void need_component(struct insn *insn, unsigned int feature)
{
	struct vmm_emulator_xstate *xstate = insn->emulator->xstate;

	if (*xstate_bv(insn) & 1ULL << feature)
		return;
	switch (feature) {
	case XFEATURE_X87:
		memset(xstate->area, 0, 24);
		memset(xstate->area + 32, 0, 128);
		xstate->area[XSAVE_FCW] = 0x7f;
		xstate->area[XSAVE_FCW + 1] = 0x03;
		break;
	case XFEATURE_SSE:
		memset(xstate->area + XSAVE_XMM, 0, 256);
		break;
	case XFEATURE_AVX:
		memset(xstate->area + xstate->avx, 0, 256);
		break;
	case XFEATURE_OPMASK:
		memset(xstate->area + xstate->opmask, 0, 64);
		break;
	case XFEATURE_ZMM:
		memset(xstate->area + xstate->zmm_hi256, 0, 512);
		break;
	case XFEATURE_ZMM16:
		memset(xstate->area + xstate->hi16_zmm, 0, 1024);
		break;
	}
	*xstate_bv(insn) |= 1ULL << feature;
}

static unsigned int find_parts(const struct insn *insn, unsigned int nr, struct part parts[3])
{
	const struct vmm_emulator_xstate *xstate = insn->emulator->xstate;

	if (nr >= 16) {
		parts[0] = (struct part){
			XFEATURE_ZMM16,
			xstate->hi16_zmm ? xstate->hi16_zmm + (nr - 16) * 64 : 0, 0, 64
		};
		return 1;
	}
	parts[0] = (struct part){ XFEATURE_SSE, XSAVE_XMM + nr * 16, 0, 16 };
	parts[1] = (struct part){ XFEATURE_AVX, xstate->avx ? xstate->avx + nr * 16 : 0, 16, 16 };
	parts[2] = (struct part){
		XFEATURE_ZMM, xstate->zmm_hi256 ? xstate->zmm_hi256 + nr * 32 : 0, 32, 32
	};
	return 3;
}

static void get_vector(struct insn *insn, unsigned int nr, struct vector *v)
{
	struct part parts[3];
	unsigned int i, count = find_parts(insn, nr, parts);

	memset(v, 0, sizeof(*v));
	for (i = 0; i < count; i++)
		if (parts[i].offset && (*xstate_bv(insn) & 1ULL << parts[i].feature))
			memcpy(v->bytes + parts[i].first,
			       insn->emulator->xstate->area + parts[i].offset, parts[i].bytes);
}

/* The first @bytes change; those behind become zero with VEX and EVEX, and stay without */
static void set_vector(struct insn *insn, unsigned int nr, const struct vector *v,
		       unsigned int bytes)
{
	bool zero = insn->z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY;
	unsigned int i, count, length;
	struct part parts[3];

	count = find_parts(insn, nr, parts);
	for (i = 0; i < count; i++) {
		uint8_t *area = insn->emulator->xstate->area + parts[i].offset;

		if (!parts[i].offset)
			continue;
		length = 0;
		if (bytes > parts[i].first)
			length = bytes - parts[i].first;
		if (length > parts[i].bytes)
			length = parts[i].bytes;
		if (!length && (!zero || !(*xstate_bv(insn) & 1ULL << parts[i].feature)))
			continue;
		need_component(insn, parts[i].feature);
		memcpy(area, v->bytes + parts[i].first, length);
		if (zero)
			memset(area + length, 0, parts[i].bytes - length);
	}
	insn->emulator->xstate->dirty = true;
}

/* Number of a vector register operand */
static bool is_vector(const struct insn *insn, unsigned int nr, unsigned int *index)
{
	const ZydisDecodedOperand *operand = &insn->operands[nr];

	if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return false;
	switch (ZydisRegisterGetClass(operand->reg.value)) {
	case ZYDIS_REGCLASS_XMM:
		*index = operand->reg.value - ZYDIS_REGISTER_XMM0;
		return true;
	case ZYDIS_REGCLASS_YMM:
		*index = operand->reg.value - ZYDIS_REGISTER_YMM0;
		return true;
	case ZYDIS_REGCLASS_ZMM:
		*index = operand->reg.value - ZYDIS_REGISTER_ZMM0;
		return true;
	default:
		return false;
	}
}

static bool is_memory(const struct insn *insn, unsigned int nr)
{
	return insn->operands[nr].type == ZYDIS_OPERAND_TYPE_MEMORY;
}

/* ---- whole vectors, with an opmask or not ---- */

/* Which elements take part */
static uint64_t opmask(struct insn *insn)
{
	const struct vmm_emulator_xstate *xstate = insn->emulator->xstate;
	unsigned int nr = insn->z.avx.mask.reg - ZYDIS_REGISTER_K0;
	uint64_t mask;

	if (insn->z.avx.mask.mode == ZYDIS_MASK_MODE_INVALID ||
	    insn->z.avx.mask.mode == ZYDIS_MASK_MODE_DISABLED ||
	    insn->z.avx.mask.reg == ZYDIS_REGISTER_NONE || !nr || nr > 7)
		return ~0ULL;
	if (!xstate->opmask || !(*xstate_bv(insn) & 1ULL << XFEATURE_OPMASK))
		return 0;
	memcpy(&mask, xstate->area + xstate->opmask + 8 * nr, sizeof(mask));
	return mask;
}

static bool needs_alignment(const struct insn *insn)
{
	switch (insn->z.mnemonic) {
	case ZYDIS_MNEMONIC_MOVAPS:
	case ZYDIS_MNEMONIC_MOVAPD:
	case ZYDIS_MNEMONIC_MOVDQA:
	case ZYDIS_MNEMONIC_MOVNTDQ:
	case ZYDIS_MNEMONIC_MOVNTDQA:
	case ZYDIS_MNEMONIC_MOVNTPS:
	case ZYDIS_MNEMONIC_MOVNTPD:
	case ZYDIS_MNEMONIC_VMOVAPS:
	case ZYDIS_MNEMONIC_VMOVAPD:
	case ZYDIS_MNEMONIC_VMOVDQA:
	case ZYDIS_MNEMONIC_VMOVDQA32:
	case ZYDIS_MNEMONIC_VMOVDQA64:
	case ZYDIS_MNEMONIC_VMOVNTDQ:
	case ZYDIS_MNEMONIC_VMOVNTDQA:
	case ZYDIS_MNEMONIC_VMOVNTPS:
	case ZYDIS_MNEMONIC_VMOVNTPD:
		return true;
	default:
		return false;
	}
}

static int vector_address(struct insn *insn, unsigned int nr, unsigned int bytes, bool write,
			  uint64_t *linear)
{
	int ret = insn_address(insn, nr, 0, bytes, write, linear);

	if (!ret && needs_alignment(insn) && *linear % bytes)
		return insn_fault(insn, VECTOR_GP, true, 0);
	return ret;
}

/* Elements that the mask leaves out are not touched, and so do not fault; none needs alignment */
static int move_elements(struct insn *insn, uint64_t linear, struct vector *v, unsigned int bytes,
			 unsigned int element, uint64_t mask, bool write)
{
	unsigned int at;
	int ret = 0;

	for (at = 0; at < bytes && !ret; at += element, mask >>= 1) {
		if (!(mask & 1))
			continue;
		if (write)
			ret = insn_write_unaligned(insn, linear + at, v->bytes + at, element);
		else
			ret = insn_read_unaligned(insn, linear + at, v->bytes + at, element,
						  false);
	}
	return ret;
}

static int load(struct insn *insn, unsigned int to)
{
	unsigned int from = insn->z.operand_count_visible - 1, bytes = insn_size(insn, from);
	unsigned int element = insn->operands[from].element_size / 8;
	uint64_t mask = opmask(insn), linear;
	struct vector v;
	int ret;

	if (!is_memory(insn, from) || bytes > VECTOR_MAX)
		return -ENOSYS;
	ret = vector_address(insn, from, bytes, false, &linear);
	if (ret)
		return ret;
	memset(&v, 0, sizeof(v));
	if (mask == ~0ULL) {
		ret = insn_read_memory(insn, linear, v.bytes, bytes, false);
	} else {
		if (insn->z.avx.mask.mode != ZYDIS_MASK_MODE_ZEROING)
			get_vector(insn, to, &v);
		ret = move_elements(insn, linear, &v, bytes, element, mask, false);
	}
	if (!ret)
		set_vector(insn, to, &v, bytes);
	return ret;
}

static int store(struct insn *insn, unsigned int from)
{
	unsigned int bytes = insn_size(insn, 0), element = insn->operands[0].element_size / 8;
	uint64_t mask = opmask(insn), linear;
	struct vector v;
	int ret;

	if (!is_memory(insn, 0) || bytes > VECTOR_MAX)
		return -ENOSYS;
	ret = vector_address(insn, 0, bytes, true, &linear);
	if (ret)
		return ret;
	get_vector(insn, from, &v);
	if (mask == ~0ULL)
		return insn_write_memory(insn, linear, v.bytes, bytes);
	return move_elements(insn, linear, &v, bytes, element, mask, true);
}

static int move_whole(struct insn *insn)
{
	unsigned int last = insn->z.operand_count_visible - 1, nr;

	if (is_memory(insn, 0))
		return is_vector(insn, last, &nr) ? store(insn, nr) : -ENOSYS;
	return is_vector(insn, 0, &nr) ? load(insn, nr) : -ENOSYS;
}

/* ---- parts of vectors ---- */

/* MOVD, MOVQ, MOVSS, MOVSD: a load clears what is above the element */
static int move_low(struct insn *insn)
{
	unsigned int last = insn->z.operand_count_visible - 1, nr;
	struct vector v;
	uint64_t linear;
	int ret;

	if (opmask(insn) != ~0ULL)
		return -ENOSYS;
	if (is_memory(insn, 0) && is_vector(insn, last, &nr)) {
		get_vector(insn, nr, &v);
		ret = insn_address(insn, 0, 0, insn_size(insn, 0), true, &linear);
		return ret ? ret : insn_write_memory(insn, linear, v.bytes, insn_size(insn, 0));
	}
	if (!is_memory(insn, last) || !is_vector(insn, 0, &nr))
		return -ENOSYS;
	memset(&v, 0, sizeof(v));
	ret = insn_address(insn, last, 0, insn_size(insn, last), false, &linear);
	if (!ret)
		ret = insn_read_memory(insn, linear, v.bytes, insn_size(insn, last), false);
	if (!ret)
		set_vector(insn, nr, &v, 16);
	return ret;
}

/* MOVLPS, MOVHPS and the like: one half; a load takes the other from the register before it */
static int move_half(struct insn *insn, unsigned int half)
{
	unsigned int last = insn->z.operand_count_visible - 1, nr, other;
	struct vector v;
	uint64_t linear;
	int ret;

	if (is_memory(insn, 0) && is_vector(insn, last, &nr)) {
		get_vector(insn, nr, &v);
		ret = insn_address(insn, 0, 0, 8, true, &linear);
		return ret ? ret : insn_write_memory(insn, linear, v.bytes + half, 8);
	}
	if (!is_memory(insn, last) || !is_vector(insn, 0, &nr) ||
	    !is_vector(insn, last - 1, &other))
		return -ENOSYS;
	get_vector(insn, other, &v);
	ret = insn_address(insn, last, 0, 8, false, &linear);
	if (!ret)
		ret = insn_read_memory(insn, linear, v.bytes + half, 8, false);
	if (!ret)
		set_vector(insn, nr, &v, 16);
	return ret;
}

/* VBROADCAST*: one element, or a part of several, into all places */
static int broadcast(struct insn *insn)
{
	unsigned int bytes = insn_size(insn, 1), whole = insn_size(insn, 0), nr, at;
	struct vector v;
	uint64_t linear;
	int ret;

	if (!is_memory(insn, 1) || !is_vector(insn, 0, &nr) || opmask(insn) != ~0ULL ||
	    bytes > whole || whole > VECTOR_MAX)
		return -ENOSYS;
	memset(&v, 0, sizeof(v));
	ret = insn_address(insn, 1, 0, bytes, false, &linear);
	if (!ret)
		ret = insn_read_memory(insn, linear, v.bytes, bytes, false);
	if (ret)
		return ret;
	for (at = bytes; at < whole; at += bytes)
		memcpy(v.bytes + at, v.bytes, bytes);
	set_vector(insn, nr, &v, whole);
	return 0;
}

/* ---- bitwise logic ---- */

enum logic { LOGIC_AND, LOGIC_ANDN, LOGIC_OR, LOGIC_XOR };

static uint8_t combine(enum logic op, uint8_t a, uint8_t b)
{
	switch (op) {
	case LOGIC_AND:
		return a & b;
	case LOGIC_ANDN:
		return ~a & b;
	case LOGIC_OR:
		return a | b;
	default:
		return a ^ b;
	}
}

static int bitwise(struct insn *insn, enum logic op)
{
	unsigned int last = insn->z.operand_count_visible - 1, to, from, i;
	unsigned int bytes = insn_size(insn, 0);
	struct vector a, b;
	uint64_t linear;
	int ret;

	if (!is_memory(insn, last) || !is_vector(insn, 0, &to) ||
	    !is_vector(insn, last - 1, &from) || insn_size(insn, last) != bytes ||
	    opmask(insn) != ~0ULL)
		return -ENOSYS;
	ret = insn_address(insn, last, 0, bytes, false, &linear);
	if (ret)
		return ret;
	if (insn->z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && linear % bytes)
		return insn_fault(insn, VECTOR_GP, true, 0);
	ret = insn_read_memory(insn, linear, b.bytes, bytes, false);
	if (ret)
		return ret;
	get_vector(insn, from, &a);
	for (i = 0; i < bytes; i++)
		a.bytes[i] = combine(op, a.bytes[i], b.bytes[i]);
	set_vector(insn, to, &a, bytes);
	return 0;
}

/* ---- MMX: the mantissas of the x87 registers, whose stack it empties ---- */

#define FSW_TOP_SHIFT	11
#define ST_BYTES	16

/* The area holds the registers by distance from the top of the stack: make that their number */
static void enter_mmx(struct insn *insn)
{
	uint8_t *area = insn->emulator->xstate->area, old[8 * ST_BYTES];
	uint16_t fsw;
	unsigned int i, top;

	need_component(insn, XFEATURE_X87);
	memcpy(&fsw, area + XSAVE_FSW, sizeof(fsw));
	top = fsw >> FSW_TOP_SHIFT & 7;
	memcpy(old, area + XSAVE_ST, sizeof(old));
	for (i = 0; i < 8; i++)
		memcpy(area + XSAVE_ST + (i + top) % 8 * ST_BYTES, old + i * ST_BYTES, ST_BYTES);
	fsw &= ~(7 << FSW_TOP_SHIFT);
	memcpy(area + XSAVE_FSW, &fsw, sizeof(fsw));
	area[XSAVE_FTW] = 0xff;		/* all valid */
	insn->emulator->xstate->dirty = true;
}

static bool is_mmx(const struct insn *insn, unsigned int nr, unsigned int *index)
{
	const ZydisDecodedOperand *operand = &insn->operands[nr];

	if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER ||
	    ZydisRegisterGetClass(operand->reg.value) != ZYDIS_REGCLASS_MMX)
		return false;
	*index = operand->reg.value - ZYDIS_REGISTER_MM0;
	return true;
}

/* MOVQ, MOVD, MOVNTQ: a load of four bytes clears the other four */
static int move_mmx(struct insn *insn, unsigned int nr)
{
	uint8_t *st = insn->emulator->xstate->area + XSAVE_ST + nr * ST_BYTES;
	bool is_store = is_memory(insn, 0);
	unsigned int memory = is_store ? 0 : 1, bytes = insn_size(insn, memory);
	uint64_t linear, value = 0;
	int ret;

	if (!is_memory(insn, memory) || bytes > 8)
		return -ENOSYS;
	ret = insn_address(insn, memory, 0, bytes, is_store, &linear);
	if (!ret && !is_store)
		ret = insn_read_memory(insn, linear, &value, bytes, false);
	if (ret)
		return ret;
	enter_mmx(insn);
	if (is_store)
		return insn_write_memory(insn, linear, st, bytes);
	memcpy(st, &value, 8);
	memset(st + 8, 0xff, 2);	/* sign and exponent */
	return 0;
}

/* ---- control words ---- */

static int control_word(struct insn *insn, unsigned int offset, bool is_store)
{
	unsigned int bytes = insn_size(insn, 0);
	uint8_t *word = insn->emulator->xstate->area + offset;
	uint64_t linear;
	uint32_t value;
	int ret;

	ret = insn_address(insn, 0, 0, bytes, is_store, &linear);
	if (ret)
		return ret;
	if (offset == XSAVE_FCW)
		need_component(insn, XFEATURE_X87);
	if (is_store)
		return insn_write_memory(insn, linear, word, bytes);
	ret = insn_read_memory(insn, linear, &value, bytes, false);
	if (ret)
		return ret;
	/* Reserved bits of MXCSR: those outside the mask that FXSAVE stores behind it. */
	if (offset == XSAVE_MXCSR) {
		uint32_t mask;

		memcpy(&mask, word + 4, sizeof(mask));
		if (value & ~(mask ? mask : 0xffbf))
			return insn_fault(insn, VECTOR_GP, true, 0);
		need_component(insn, XFEATURE_SSE);
	}
	memcpy(word, &value, bytes);
	insn->emulator->xstate->dirty = true;
	return 0;
}

static int dispatch(struct insn *insn)
{
	unsigned int nr;

	switch (insn->z.mnemonic) {
	case ZYDIS_MNEMONIC_MOVNTQ:
		return is_mmx(insn, 1, &nr) ? move_mmx(insn, nr) : -ENOSYS;
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVAPS:
	case ZYDIS_MNEMONIC_MOVAPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_MOVDQA:
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_MOVNTDQ:
	case ZYDIS_MNEMONIC_MOVNTDQA:
	case ZYDIS_MNEMONIC_MOVNTPS:
	case ZYDIS_MNEMONIC_MOVNTPD:
	case ZYDIS_MNEMONIC_VMOVUPS:
	case ZYDIS_MNEMONIC_VMOVUPD:
	case ZYDIS_MNEMONIC_VMOVAPS:
	case ZYDIS_MNEMONIC_VMOVAPD:
	case ZYDIS_MNEMONIC_VMOVDQU:
	case ZYDIS_MNEMONIC_VMOVDQU8:
	case ZYDIS_MNEMONIC_VMOVDQU16:
	case ZYDIS_MNEMONIC_VMOVDQU32:
	case ZYDIS_MNEMONIC_VMOVDQU64:
	case ZYDIS_MNEMONIC_VMOVDQA:
	case ZYDIS_MNEMONIC_VMOVDQA32:
	case ZYDIS_MNEMONIC_VMOVDQA64:
	case ZYDIS_MNEMONIC_VLDDQU:
	case ZYDIS_MNEMONIC_VMOVNTDQ:
	case ZYDIS_MNEMONIC_VMOVNTDQA:
	case ZYDIS_MNEMONIC_VMOVNTPS:
	case ZYDIS_MNEMONIC_VMOVNTPD:
		return move_whole(insn);
	case ZYDIS_MNEMONIC_MOVD:
	case ZYDIS_MNEMONIC_MOVQ:
		if (is_mmx(insn, 0, &nr) || is_mmx(insn, 1, &nr))
			return move_mmx(insn, nr);
		return move_low(insn);
	case ZYDIS_MNEMONIC_MOVSS:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_VMOVD:
	case ZYDIS_MNEMONIC_VMOVQ:
	case ZYDIS_MNEMONIC_VMOVSS:
	case ZYDIS_MNEMONIC_VMOVSD:
		return move_low(insn);
	case ZYDIS_MNEMONIC_MOVLPS:
	case ZYDIS_MNEMONIC_MOVLPD:
	case ZYDIS_MNEMONIC_VMOVLPS:
	case ZYDIS_MNEMONIC_VMOVLPD:
		return move_half(insn, 0);
	case ZYDIS_MNEMONIC_MOVHPS:
	case ZYDIS_MNEMONIC_MOVHPD:
	case ZYDIS_MNEMONIC_VMOVHPS:
	case ZYDIS_MNEMONIC_VMOVHPD:
		return move_half(insn, 8);
	case ZYDIS_MNEMONIC_VBROADCASTSS:
	case ZYDIS_MNEMONIC_VBROADCASTSD:
	case ZYDIS_MNEMONIC_VBROADCASTF128:
	case ZYDIS_MNEMONIC_VBROADCASTI128:
	case ZYDIS_MNEMONIC_VPBROADCASTB:
	case ZYDIS_MNEMONIC_VPBROADCASTW:
	case ZYDIS_MNEMONIC_VPBROADCASTD:
	case ZYDIS_MNEMONIC_VPBROADCASTQ:
		return broadcast(insn);
	case ZYDIS_MNEMONIC_PAND:
	case ZYDIS_MNEMONIC_ANDPS:
	case ZYDIS_MNEMONIC_ANDPD:
	case ZYDIS_MNEMONIC_VPAND:
	case ZYDIS_MNEMONIC_VANDPS:
	case ZYDIS_MNEMONIC_VANDPD:
		return bitwise(insn, LOGIC_AND);
	case ZYDIS_MNEMONIC_PANDN:
	case ZYDIS_MNEMONIC_ANDNPS:
	case ZYDIS_MNEMONIC_ANDNPD:
	case ZYDIS_MNEMONIC_VPANDN:
	case ZYDIS_MNEMONIC_VANDNPS:
	case ZYDIS_MNEMONIC_VANDNPD:
		return bitwise(insn, LOGIC_ANDN);
	case ZYDIS_MNEMONIC_POR:
	case ZYDIS_MNEMONIC_ORPS:
	case ZYDIS_MNEMONIC_ORPD:
	case ZYDIS_MNEMONIC_VPOR:
	case ZYDIS_MNEMONIC_VORPS:
	case ZYDIS_MNEMONIC_VORPD:
		return bitwise(insn, LOGIC_OR);
	case ZYDIS_MNEMONIC_PXOR:
	case ZYDIS_MNEMONIC_XORPS:
	case ZYDIS_MNEMONIC_XORPD:
	case ZYDIS_MNEMONIC_VPXOR:
	case ZYDIS_MNEMONIC_VXORPS:
	case ZYDIS_MNEMONIC_VXORPD:
		return bitwise(insn, LOGIC_XOR);
	case ZYDIS_MNEMONIC_STMXCSR:
	case ZYDIS_MNEMONIC_VSTMXCSR:
		return control_word(insn, XSAVE_MXCSR, true);
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_VLDMXCSR:
		return control_word(insn, XSAVE_MXCSR, false);
	case ZYDIS_MNEMONIC_FNSTCW:
		return control_word(insn, XSAVE_FCW, true);
	case ZYDIS_MNEMONIC_FLDCW:
		return control_word(insn, XSAVE_FCW, false);
	default:
		return -ENOSYS;
	}
}

int insn_vector(struct insn *insn)
{
	int ret = need_xstate(insn);

	return ret ? ret : dispatch(insn);
}
