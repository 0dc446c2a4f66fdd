// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's decoder and its execution of MMIO instructions, compiled into this
 * program and compared with two others that know x86: Zydis, for what random bytes
 * are, and the CPU that this runs on, for what the instructions do.
 */
/* also: amd-sanitized */
/* not: intel-* it uses no module, and one CPU shows what there is to see */
#include "kshim.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <Zydis/Zydis.h>

#include "kselftest_harness.h"

#include "../module/x86/decode.c"
#include "../module/x86/mmio.c"

/* ---- what decode.c and mmio.c call ---- */

/* RAM lies below, device registers from here on */
#define RAM_PAGES	2
#define DEVICE		((u64)RAM_PAGES * MMIO_PAGE)
#define SPACE		(DEVICE + 2 * MMIO_PAGE)

/* Guest-physical memory, registers included */
static u8 space[SPACE] __attribute__((aligned(MMIO_PAGE)));
static const u64 mapped_at = 0x7f0000;	/* linear address of its first byte */
static u64 unmapped_page = ~0ull;	/* a linear page that faults */
static bool in_kernel;			/* the kernel has the device */
static int nr_exceptions;
static u64 segment_base[CPU_NR_SEGMENTS];
static int code_size;
static u8 code[INSN_MAX];
static int code_split;			/* bytes that the first fetch gets */
static u8 cpl;

static struct cpu_mode get_mode(struct vcpu *vcpu)
{
	return (struct cpu_mode){ .cpl = cpl, .code_size = code_size };
}

static const struct vmm_hw test_hw = { .get_mode = get_mode };
const struct vmm_hw *hw = &test_hw;

u64 state_linear(struct vcpu *vcpu, int segment, u64 offset)
{
	if (code_size == 8)
		return segment >= CPU_FS ? segment_base[segment] + offset : offset;
	return (u32)(segment_base[segment] + offset);
}

u64 *state_gpr(struct vcpu *vcpu, int gpr)
{
	return &vcpu->regs.gpr[gpr];
}

void vcpu_queue_exception(struct vcpu *vcpu, u8 vector, bool has_error, u32 error, u64 payload)
{
	nr_exceptions++;
}

void vcpu_finish_insn_slow(struct vcpu *vcpu, u64 next_rip)
{
	vcpu->regs.rip = next_rip;
}

int insn_fetch(struct vcpu *vcpu, struct insn_bytes *bytes, struct cpu_event *fault)
{
	int count = bytes->count ? INSN_MAX : code_split;

	bytes->size = code_size;
	bytes->linear = vcpu->regs.rip;
	bytes->count = count;
	memcpy(bytes->bytes, code, count);
	return 0;
}

void insn_given(struct vcpu *vcpu, struct insn_bytes *bytes, const u8 *given, int count)
{
	memset(bytes, 0, sizeof(*bytes));
	bytes->size = code_size;
	bytes->linear = vcpu->regs.rip;
	bytes->count = count;
	memcpy(bytes->bytes, given, count);
}

int guest_translate_probe(struct vcpu *vcpu, u64 gva, u32 access, u64 *gpa,
			  struct cpu_event *fault)
{
	*gpa = gva - mapped_at;
	if (*gpa >= SPACE || gva / MMIO_PAGE == unmapped_page) {
		*fault = (struct cpu_event){ .type = EVENT_EXCEPTION, .vector = 14 };
		return 1;
	}
	return 0;
}

int guest_translate(struct vcpu *vcpu, u64 gva, u32 access, u64 *gpa, struct cpu_event *fault)
{
	return guest_translate_probe(vcpu, gva, access, gpa, fault);
}

int guest_read(struct vcpu *vcpu, u64 gva, void *buf, size_t len, u32 access,
	       struct cpu_event *fault)
{
	u64 gpa;

	if (guest_translate(vcpu, gva, access, &gpa, fault) || gpa + len > SPACE)
		return 1;
	memcpy(buf, space + gpa, len);
	return 0;
}

int guest_write(struct vcpu *vcpu, u64 gva, const void *buf, size_t len, u32 access,
		struct cpu_event *fault)
{
	u64 gpa;

	if (guest_translate(vcpu, gva, access, &gpa, fault) || gpa + len > SPACE)
		return 1;
	memcpy(space + gpa, buf, len);
	return 0;
}

bool memory_is_mmio(struct vm *vm, u64 gpa, u32 access)
{
	return gpa >= DEVICE;
}

int memory_read(struct vm *vm, u64 gpa, void *buf, size_t len)
{
	if (gpa + len > DEVICE)
		return -ENXIO;
	memcpy(buf, space + gpa, len);
	return 0;
}

int memory_write(struct vm *vm, u64 gpa, const void *buf, size_t len)
{
	if (gpa + len > DEVICE)
		return -ENXIO;
	memcpy(space + gpa, buf, len);
	return 0;
}

bool irq_mmio_read(struct vcpu *vcpu, u64 gpa, u8 size, u64 *data)
{
	if (!in_kernel || gpa + size > SPACE)
		return false;
	*data = 0x5a5a5a5a5a5a5a5a;	/* what is beyond the size must not matter */
	memcpy(data, space + gpa, size);
	return true;
}

bool irq_mmio_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 data)
{
	if (!in_kernel || gpa + size > SPACE)
		return false;
	memcpy(space + gpa, &data, size);
	return true;
}

/* ---- random instructions ---- */

static u64 random_state = 0x9e3779b97f4a7c15;

/* xorshift64*: the same sequence in every run */
static u64 rnd(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1d;
}

static u32 below(u32 n)
{
	return (rnd() >> 32) % n;
}

static u8 pick(const u8 *list, size_t count)
{
	return list[below(count)];
}

#define PICK(list)	pick(list, sizeof(list))

static const u8 one_byte[] = {
	0x00, 0x01, 0x02, 0x03, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x11, 0x12, 0x13, 0x18, 0x1b, 0x20,
	0x21, 0x22, 0x23, 0x28, 0x29, 0x2a, 0x2b, 0x30, 0x31, 0x32, 0x33, 0x38, 0x39, 0x3a, 0x3b,
	0x63, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8e,
	0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xaa, 0xab, 0xc6, 0xc7, 0xf6, 0xf7,
};

static const u8 two_byte[] = { 0xa3, 0xab, 0xb3, 0xba, 0xbb, 0xb6, 0xb7, 0xbe, 0xbf };

static int random_prefixes(u8 *bytes, int mode)
{
	static const u8 list[] = {
		0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x66, 0x66, 0x67, 0x67, 0xf0, 0xf2, 0xf3,
	};
	int n = 0;

	while (below(2) && n < 5)
		bytes[n++] = PICK(list);
	if (mode == 8 && below(2))
		bytes[n++] = 0x40 | below(16);
	if (mode == 8 && !below(40))	/* a REX that something follows */
		bytes[n++] = PICK(list);
	return n;
}

static void random_insn(u8 bytes[INSN_MAX], int mode)
{
	int n;

	for (n = 0; n < INSN_MAX; n++)
		bytes[n] = rnd() >> 56;
	n = random_prefixes(bytes, mode);
	switch (below(8)) {
	case 0:
		break;
	case 1:
	case 2:
		bytes[n++] = 0x0f;
		bytes[n] = below(8) ? PICK(two_byte) : rnd() >> 56;
		break;
	case 3:
		bytes[n++] = 0x0f;
		bytes[n++] = 0x38;
		bytes[n] = below(8) ? 0xf0 | below(2) : rnd() >> 56;
		break;
	default:
		bytes[n] = PICK(one_byte);
		break;
	}
}

static void random_registers(struct vcpu *vcpu)
{
	int i;

	for (i = 0; i < CPU_NR_GPRS; i++)
		vcpu->regs.gpr[i] = rnd() >> below(64);
	vcpu->regs.rip = rnd() >> 20;
	if (code_size != 8)
		vcpu->regs.rip = (u32)vcpu->regs.rip;
	for (i = 0; i < CPU_NR_SEGMENTS; i++)
		segment_base[i] = rnd() >> below(64);
}

/* ---- what Zydis says ---- */

static void init_zydis(ZydisDecoder *decoder, int mode)
{
	switch (mode) {
	case 8:
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
		break;
	case 4:
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
		break;
	default:
		ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
		break;
	}
}

struct known {
	ZydisMnemonic mnemonic;
	u8 alu;
	bool is_bit;
};

/* Mnemonics whose memory forms the decoder must know (DESIGN: MOV ... XCHG) */
static const struct known known[] = {
	{ ZYDIS_MNEMONIC_MOV }, { ZYDIS_MNEMONIC_MOVZX }, { ZYDIS_MNEMONIC_MOVSX },
	{ ZYDIS_MNEMONIC_MOVSXD }, { ZYDIS_MNEMONIC_MOVBE },
	{ ZYDIS_MNEMONIC_STOSB }, { ZYDIS_MNEMONIC_STOSW }, { ZYDIS_MNEMONIC_STOSD },
	{ ZYDIS_MNEMONIC_STOSQ }, { ZYDIS_MNEMONIC_MOVSB }, { ZYDIS_MNEMONIC_MOVSW },
	{ ZYDIS_MNEMONIC_MOVSD }, { ZYDIS_MNEMONIC_MOVSQ },
	{ ZYDIS_MNEMONIC_ADD, ALU_ADD }, { ZYDIS_MNEMONIC_OR, ALU_OR },
	{ ZYDIS_MNEMONIC_AND, ALU_AND }, { ZYDIS_MNEMONIC_SUB, ALU_SUB },
	{ ZYDIS_MNEMONIC_XOR, ALU_XOR }, { ZYDIS_MNEMONIC_CMP, ALU_CMP },
	{ ZYDIS_MNEMONIC_TEST, ALU_TEST }, { ZYDIS_MNEMONIC_XCHG },
	{ ZYDIS_MNEMONIC_BT, BIT_TEST, true }, { ZYDIS_MNEMONIC_BTS, BIT_SET, true },
	{ ZYDIS_MNEMONIC_BTR, BIT_RESET, true }, { ZYDIS_MNEMONIC_BTC, BIT_COMPLEMENT, true },
};

static const struct known *find_known(const ZydisDecodedInstruction *insn)
{
	size_t i;

	/* The string instructions share names with those of SSE. */
	if (insn->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
	    (insn->mnemonic == ZYDIS_MNEMONIC_MOVSD && insn->opcode != 0xa5))
		return NULL;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].mnemonic == insn->mnemonic)
			return &known[i];
	return NULL;
}

static const ZydisDecodedOperand *find_operand(const ZydisDecodedInstruction *insn,
					       const ZydisDecodedOperand *operands,
					       ZydisOperandType type, int nth)
{
	int i;

	for (i = 0; i < insn->operand_count; i++)
		if (operands[i].type == type && nth-- == 0)
			return &operands[i];
	return NULL;
}

static bool is_gpr(ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return true;
	default:
		return false;
	}
}

static bool is_high_byte(ZydisRegister reg)
{
	return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
}

/* Number of a general register of any width */
static int gpr_number(ZydisRegister reg)
{
	return ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg) -
	       ZYDIS_REGISTER_RAX;
}

static void fill_context(const struct vcpu *vcpu, ZydisRegisterContext *context)
{
	int i;

	memset(context, 0, sizeof(*context));
	for (i = 0; i < CPU_NR_GPRS; i++) {
		u64 value = vcpu->regs.gpr[i];

		context->values[ZYDIS_REGISTER_RAX + i] = value;
		context->values[ZYDIS_REGISTER_EAX + i] = (u32)value;
		context->values[ZYDIS_REGISTER_AX + i] = (u16)value;
	}
}

/* Linear address of a memory operand, with the bits that BT's register adds */
static u64 zydis_linear(struct vcpu *vcpu, const ZydisDecodedInstruction *insn,
			const ZydisDecodedOperand *operand, s64 extra)
{
	ZydisRegisterContext context;
	ZyanU64 address;

	fill_context(vcpu, &context);
	if (ZYAN_FAILED(ZydisCalcAbsoluteAddressEx(insn, operand, vcpu->regs.rip, &context,
						   &address)))
		return 0xdead;
	address = low_bytes(address + extra, insn->address_width / 8);
	return state_linear(vcpu, operand->mem.segment - ZYDIS_REGISTER_ES, address);
}

/*
 * Where Zydis 4.0 errs about addresses in 64-bit mode, by the SDM and a CPU's word: the prefixes
 * ES, CS, SS and DS mean nothing, to Zydis they end what an FS or GS before them says; and with 67
 * it takes a SIB byte without a base for one with R13.
 */
static bool address_differs(const ZydisDecodedInstruction *insn)
{
	bool fs_gs = false;
	int i;

	if (insn->address_width == 32 && (insn->attributes & ZYDIS_ATTRIB_HAS_SIB) &&
	    insn->raw.rex.B && insn->raw.sib.base == 5 && insn->raw.modrm.mod == 0)
		return true;
	for (i = 0; code_size == 8 && i < insn->raw.prefix_count; i++) {
		switch (insn->raw.prefixes[i].value) {
		case 0x64:
		case 0x65:
			fs_gs = true;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			if (fs_gs)
				return true;
		}
	}
	return false;
}

static void hex(const u8 *bytes, int count, char *to)
{
	int i;

	for (i = 0; i < count; i++)
		sprintf(to + 3 * i, "%02x ", bytes[i]);
}

/*
 * Does @op say what Zydis says? NULL, or what differs.
 */
static const char *compare(struct vcpu *vcpu, const struct mmio_op *op,
			   const ZydisDecodedInstruction *insn,
			   const ZydisDecodedOperand *operands, const struct known *k)
{
	const ZydisDecodedOperand *memory = find_operand(insn, operands,
							 ZYDIS_OPERAND_TYPE_MEMORY, 0);
	const ZydisDecodedOperand *imm = find_operand(insn, operands,
						      ZYDIS_OPERAND_TYPE_IMMEDIATE, 0);
	const ZydisDecodedOperand *reg = find_operand(insn, operands,
						      ZYDIS_OPERAND_TYPE_REGISTER, 0);
	u64 next = vcpu->regs.rip + insn->length;
	u64 value = 0;
	s64 extra = 0;

	if (!memory)
		return "no memory operand";
	if (op->next_rip != (code_size == 8 ? next : (u32)next))
		return "length";
	/* MOVSXD with a 16-bit destination reads 16 bits (SDM), not 32 as Zydis has it. */
	if (op->size != memory->size / 8 &&
	    !(insn->mnemonic == ZYDIS_MNEMONIC_MOVSXD && op->dest_size == 2 && op->size == 2))
		return "size";
	if (op->alu != k->alu || (op->op == MMIO_BIT) != k->is_bit)
		return "operation";
	if (op->address_size != insn->address_width / 8)
		return "address size";

	if (op->op == MMIO_MOVS) {
		memory = find_operand(insn, operands, ZYDIS_OPERAND_TYPE_MEMORY, 1);
		if (zydis_linear(vcpu, insn, memory, 0) != op->gva)
			return "source";
		memory = find_operand(insn, operands, ZYDIS_OPERAND_TYPE_MEMORY, 0);
		if (zydis_linear(vcpu, insn, memory, 0) != op->other_gva)
			return "destination";
		return NULL;
	}

	if (imm) {
		value = low_bytes(imm->imm.value.u, op->size);
	} else if (reg) {
		if (op->reg != gpr_number(reg->reg.value) ||
		    op->high_byte != is_high_byte(reg->reg.value))
			return "register";
		if (op->dest_size != reg->size / 8)
			return "register size";
		value = vcpu->regs.gpr[op->reg] >> (op->high_byte ? 8 : 0);
		value = low_bytes(value, op->dest_size);
	}
	if (k->is_bit && !imm)
		extra = ((s64)signed_bytes(value, op->size) >>
			 (op->size == 8 ? 6 : op->size == 4 ? 5 : 4)) * op->size;
	if (k->is_bit)
		value %= op->size * 8;
	if (insn->mnemonic == ZYDIS_MNEMONIC_MOVBE && op->op == MMIO_STORE)
		value = swap_bytes(value, op->size);
	if (op->value != value)
		return "value";
	if (zydis_linear(vcpu, insn, memory, extra) != op->gva)
		return "address";
	if (mmio_writes(op) != !!(memory->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
		return "writes";
	if (mmio_reads(op) != !!(memory->actions & ZYDIS_OPERAND_ACTION_MASK_READ))
		return "reads";
	return NULL;
}

/* Forms of the known mnemonics that the kernel leaves to the emulator nevertheless */
static bool left_out(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	const ZydisDecodedOperand *reg = find_operand(insn, operands,
						      ZYDIS_OPERAND_TYPE_REGISTER, 0);

	/* TEST has an alias that no assembler writes. */
	if (insn->mnemonic == ZYDIS_MNEMONIC_TEST && (insn->opcode | 1) == 0xf7 &&
	    insn->raw.modrm.reg == 1)
		return true;
	/* MOV to and from segment registers */
	if (insn->mnemonic == ZYDIS_MNEMONIC_MOV && reg && !is_gpr(reg->reg.value))
		return true;
	/* A prefix that MOVBE does not have */
	return insn->mnemonic == ZYDIS_MNEMONIC_MOVBE &&
	       (insn->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPNE |
				    ZYDIS_ATTRIB_HAS_REPE));
}

struct tally {
	int known;
	int unknown;
	int undefined;
};

/* One random instruction. NULL, or what is wrong. */
static const char *compare_random(struct vcpu *vcpu, ZydisDecoder *decoder, struct tally *tally)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	struct insn_bytes bytes = { .size = code_size, .count = INSN_MAX };
	ZydisDecodedInstruction insn;
	const struct known *k;
	struct mmio_op op;
	int ret, shorter;
	bool valid;

	random_registers(vcpu);
	random_insn(code, code_size);
	memcpy(bytes.bytes, code, INSN_MAX);
	ret = decode_mmio(vcpu, &bytes, &op);
	valid = ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, code, INSN_MAX, &insn, operands));
	if (ret && ret != -EOPNOTSUPP)
		return "errno";
	if (!valid) {
		tally->undefined++;
		return ret ? NULL : "decoded, but undefined";
	}

	k = find_known(&insn);
	if (ret) {
		tally->unknown++;
		return !k || !find_operand(&insn, operands, ZYDIS_OPERAND_TYPE_MEMORY, 0) ||
		       left_out(&insn, operands) ? NULL : "not decoded";
	}
	if (!k)
		return "decoded, but another";
	tally->known++;
	if (address_differs(&insn))
		return NULL;

	/* Each shorter piece of it asks for more, and says nothing wrong. */
	shorter = below(insn.length);
	bytes.count = shorter;
	memset(bytes.bytes + shorter, rnd(), INSN_MAX - shorter);
	if (decode_mmio(vcpu, &bytes, &(struct mmio_op){ 0 }) != -ENODATA)
		return "a part of it is not ENODATA";
	return compare(vcpu, &op, &insn, operands, k);
}

static void compare_mode(struct __test_metadata *_metadata, int mode)
{
	struct tally tally = { 0 };
	struct vcpu vcpu = { 0 };
	ZydisDecoder decoder;
	const char *wrong;
	char text[64];
	int i;

	code_size = mode;
	init_zydis(&decoder, mode);
	for (i = 0; i < 60000; i++) {
		wrong = compare_random(&vcpu, &decoder, &tally);
		if (wrong) {
			hex(code, INSN_MAX, text);
			TH_LOG("%d-bit: %s: %s", mode * 8, text, wrong);
		}
		ASSERT_EQ(wrong, NULL);
	}
	TH_LOG("%d-bit: %d known, %d others, %d undefined", mode * 8, tally.known, tally.unknown,
	       tally.undefined);
	EXPECT_GT(tally.known, 20000);
	EXPECT_GT(tally.unknown, 5000);
}

TEST(mmio_against_zydis_16) { compare_mode(_metadata, 2); }
TEST(mmio_against_zydis_32) { compare_mode(_metadata, 4); }
TEST(mmio_against_zydis_64) { compare_mode(_metadata, 8); }

/* ---- instructions that exit by what they are ---- */

static const struct {
	enum exit_reason reason;
	u8 length;
	u8 bytes[4];
} simple[] = {
	{ EXIT_CPUID, 2, { 0x0f, 0xa2 } },
	{ EXIT_HLT, 1, { 0xf4 } },
	{ EXIT_MSR, 2, { 0x0f, 0x32 } },
	{ EXIT_HYPERCALL, 3, { 0x0f, 0x01, 0xd9 } },
	{ EXIT_HYPERCALL, 3, { 0x0f, 0x01, 0xc1 } },
	{ EXIT_CACHE, 2, { 0x0f, 0x08 } },
	{ EXIT_CACHE, 2, { 0x0f, 0x09 } },
	{ EXIT_XSETBV, 3, { 0x0f, 0x01, 0xd1 } },
	{ EXIT_PAUSE, 2, { 0xf3, 0x90 } },
	{ EXIT_CR, 3, { 0x0f, 0x20, 0xc3 } },
	{ EXIT_CR, 3, { 0x0f, 0x22, 0xd8 } },
	{ EXIT_CR, 2, { 0x0f, 0x06 } },
	{ EXIT_CR, 3, { 0x0f, 0x01, 0xf1 } },
	{ EXIT_DR, 3, { 0x0f, 0x21, 0xf9 } },
	{ EXIT_DR, 3, { 0x0f, 0x23, 0xf8 } },
	{ EXIT_IO, 2, { 0xe4, 0x60 } },
	{ EXIT_IO, 1, { 0xec } },
	{ EXIT_IO, 1, { 0x6d } },
	{ EXIT_EXCEPTION, 1, { 0xcc } },
	{ EXIT_EXCEPTION, 2, { 0xcd, 0x03 } },
};

#define NR_SIMPLE	(int)(sizeof(simple) / sizeof(simple[0]))

static void set_exit(struct vcpu *vcpu, int i)
{
	memset(&vcpu->exit, 0, sizeof(vcpu->exit));
	vcpu->exit.reason = simple[i].reason;
	if (vcpu->exit.reason == EXIT_IO) {
		vcpu->exit.io.in = true;
		vcpu->exit.io.string = simple[i].bytes[0] == 0x6d;
	}
}

/* Each exit is found at its instruction alone, whatever the fetch gives at first */
TEST(exits_match_their_instruction)
{
	struct vcpu vcpu = { 0 };
	int i, j, ret;

	for (code_size = 2; code_size <= 8; code_size *= 2) {
		for (i = 0; i < NR_SIMPLE * NR_SIMPLE; i++) {
			int exit = i / NR_SIMPLE, bytes = i % NR_SIMPLE;
			bool same = simple[exit].reason == simple[bytes].reason;

			memset(code, 0x90, sizeof(code));
			memcpy(code, simple[bytes].bytes, simple[bytes].length);
			if (same && simple[exit].reason == EXIT_IO)
				same = (simple[exit].bytes[0] == 0x6d) ==
				       (simple[bytes].bytes[0] == 0x6d);
			for (j = 1; j < 4; j++) {
				code_split = j;
				vcpu.regs.rip = 0x1000;
				set_exit(&vcpu, exit);
				ret = decode_next_rip(&vcpu);
				ASSERT_EQ(ret, same ? 0 : -EINVAL) {
					TH_LOG("exit %d at %d, mode %d", exit, bytes, code_size);
				}
				if (same)
					ASSERT_EQ(vcpu.exit.next_rip,
						  0x1000 + simple[bytes].length);
			}
		}
	}
	code_split = INSN_MAX;
}

TEST(simple_lengths_against_zydis)
{
	static const u8 opcodes[] = {
		0x6c, 0x6d, 0x6e, 0x6f, 0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef, 0x90, 0xcc,
		0xcd, 0xce, 0xf1, 0xf4,
	};
	static const u8 opcodes_0f[] = {
		0x00, 0x01, 0x06, 0x08, 0x09, 0x20, 0x21, 0x22, 0x23, 0x30, 0x31, 0x32, 0x33, 0xa2,
	};
	int i, n, same = 0;

	for (i = 0; i < 100000; i++) {
		ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
		ZydisDecodedInstruction insn;
		ZydisDecoder decoder;
		struct insn ours;
		char text[64];

		code_size = 2 << below(3);
		init_zydis(&decoder, code_size);
		for (n = 0; n < INSN_MAX; n++)
			code[n] = rnd() >> 56;
		n = random_prefixes(code, code_size);
		if (below(2)) {
			code[n++] = 0x0f;
			code[n] = PICK(opcodes_0f);
		} else {
			code[n] = PICK(opcodes);
		}
		if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, code, INSN_MAX, &insn, operands)))
			continue;
		/* A REX prefix makes it XCHG R8. */
		if (insn.mnemonic == ZYDIS_MNEMONIC_XCHG)
			continue;
		same++;
		hex(code, INSN_MAX, text);
		ASSERT_EQ(decode_simple(code, INSN_MAX, code_size, &ours), 0) {
			TH_LOG("%s", text);
		}
		ASSERT_EQ(ours.length, insn.length) {
			TH_LOG("%s", text);
		}
		for (n = 0; n < insn.length; n++)
			ASSERT_EQ(decode_simple(code, n, code_size, &ours), -ENODATA);
	}
	EXPECT_GT(same, 30000);
}

TEST(string_io_operands)
{
	struct vcpu vcpu = { .regs.gpr = {
		[CPU_RCX] = 0x1111222233334444, [CPU_RSI] = 0xaaaabbbbccccdddd,
		[CPU_RDI] = 0x5555666677778888,
	} };

	code_size = 8;
	code_split = INSN_MAX;
	segment_base[CPU_GS] = 0x10000;

	/* rep outsb %gs:(%esi), (%dx) */
	memcpy(code, "\xf3\x65\x67\x6e", 4);
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_IO, .io.string = true };
	ASSERT_EQ(decode_next_rip(&vcpu), 0);
	EXPECT_EQ(vcpu.exit.io.segment, CPU_GS);
	EXPECT_EQ(vcpu.exit.io.address_size, 4);
	EXPECT_EQ(vcpu.exit.io.address, 0xcccdddd + 0xc0010000);
	EXPECT_EQ(vcpu.exit.io.count, 0x33334444);
	EXPECT_TRUE(vcpu.exit.io.rep);
	EXPECT_EQ(vcpu.exit.next_rip, 4);

	/* insl (%dx), (%rdi): a segment override means nothing */
	memcpy(code, "\x65\x6d", 2);
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_IO, .io.string = true, .io.in = true };
	ASSERT_EQ(decode_next_rip(&vcpu), 0);
	EXPECT_EQ(vcpu.exit.io.segment, CPU_ES);
	EXPECT_EQ(vcpu.exit.io.address_size, 8);
	EXPECT_EQ(vcpu.exit.io.address, 0x5555666677778888);
	EXPECT_EQ(vcpu.exit.io.count, 1);
	EXPECT_FALSE(vcpu.exit.io.rep);
}

TEST(control_register_operands)
{
	struct vcpu vcpu = { .regs.gpr = { [CPU_RBX] = mapped_at, [CPU_R9] = 0x12345 } };

	code_size = 8;
	code_split = INSN_MAX;

	memcpy(code, "\x45\x0f\x22\xc1", 4);		/* mov %r9, %cr8 */
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_CR };
	ASSERT_EQ(decode_next_rip(&vcpu), 0);
	EXPECT_EQ(vcpu.exit.cr.nr, 8);
	EXPECT_EQ(vcpu.exit.cr.op, CR_OP_WRITE);
	EXPECT_EQ(vcpu.exit.cr.gpr, CPU_R9);

	memcpy(code, "\x0f\x20\x1b", 3);		/* mov %cr3, %rbx, whatever ModRM.mod */
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_CR };
	ASSERT_EQ(decode_next_rip(&vcpu), 0);
	EXPECT_EQ(vcpu.exit.cr.nr, 3);
	EXPECT_EQ(vcpu.exit.cr.op, CR_OP_READ);
	EXPECT_EQ(vcpu.exit.cr.gpr, CPU_RBX);
	EXPECT_EQ(vcpu.exit.next_rip, 3);

	memcpy(code, "\xf0\x0f\x20\xc3", 4);		/* lock mov %cr0: CR8 */
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_CR };
	ASSERT_EQ(decode_next_rip(&vcpu), 0);
	EXPECT_EQ(vcpu.exit.cr.nr, 8);

	space[4] = 0x33;
	space[5] = 0x80;
	memcpy(code, "\x0f\x01\x73\x04", 4);		/* lmsw 4(%rbx) */
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_CR };
	ASSERT_EQ(decode_next_rip(&vcpu), 0);
	EXPECT_EQ(vcpu.exit.cr.op, CR_OP_LMSW);
	EXPECT_EQ(vcpu.exit.cr.msw, 0x8033);
	EXPECT_EQ(vcpu.exit.next_rip, 4);
}

/* ---- execution, against the CPU ---- */

/* Registers that the native run loads and stores; RSP stays the program's */
static struct {
	u64 gpr[CPU_NR_GPRS];
	u64 rflags;
	u64 rsp;
	void *code;
} native __attribute__((used));

#define FLAGS	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | X86_EFLAGS_SF | \
		 X86_EFLAGS_OF | X86_EFLAGS_DF)

asm(".pushsection .text\n"
    "run_native:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	pushq native+128(%rip); popfq\n"
    "	mov native+0(%rip), %rax; mov native+8(%rip), %rcx\n"
    "	mov native+16(%rip), %rdx; mov native+24(%rip), %rbx\n"
    "	mov native+40(%rip), %rbp; mov native+48(%rip), %rsi\n"
    "	mov native+56(%rip), %rdi; mov native+64(%rip), %r8\n"
    "	mov native+72(%rip), %r9; mov native+80(%rip), %r10\n"
    "	mov native+88(%rip), %r11; mov native+96(%rip), %r12\n"
    "	mov native+104(%rip), %r13; mov native+112(%rip), %r14\n"
    "	mov native+120(%rip), %r15\n"
    "	call *native+144(%rip)\n"
    "	mov %rax, native+0(%rip); mov %rcx, native+8(%rip)\n"
    "	mov %rdx, native+16(%rip); mov %rbx, native+24(%rip)\n"
    "	mov %rbp, native+40(%rip); mov %rsi, native+48(%rip)\n"
    "	mov %rdi, native+56(%rip); mov %r8, native+64(%rip)\n"
    "	mov %r9, native+72(%rip); mov %r10, native+80(%rip)\n"
    "	mov %r11, native+88(%rip); mov %r12, native+96(%rip)\n"
    "	mov %r13, native+104(%rip); mov %r14, native+112(%rip)\n"
    "	mov %r15, native+120(%rip)\n"
    "	pushfq; popq native+128(%rip); cld\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n"
    ".popsection\n");
void run_native(void);

/*
 * An instruction whose operand is at disp8(%rdi), or at %rdi, %rsi for strings, and what of its
 * flags is defined.
 */
struct form {
	u8 bytes[3];
	u8 length;		/* of the opcode */
	s8 group;		/* ModRM.reg, where it is part of the opcode; -1: a register */
	u8 immediate;		/* bytes; 4: two with 66; 8: none */
	u8 min_size;		/* of operands, to leave REX.W and 66 out */
	u64 flags;		/* that are defined */
	bool lock;
	bool string;
};

#define ARITHMETIC	(FLAGS & ~X86_EFLAGS_DF)
#define LOGIC		(ARITHMETIC & ~(u64)X86_EFLAGS_AF)
#define NO_FLAGS	ARITHMETIC
#define BITS		(X86_EFLAGS_CF | X86_EFLAGS_ZF)

static const struct form forms[] = {
	{ { 0x00 }, 1, -1, 0, 1, ARITHMETIC, true }, { { 0x01 }, 1, -1, 0, 2, ARITHMETIC, true },
	{ { 0x02 }, 1, -1, 0, 1, ARITHMETIC }, { { 0x03 }, 1, -1, 0, 2, ARITHMETIC },
	{ { 0x08 }, 1, -1, 0, 1, LOGIC, true }, { { 0x09 }, 1, -1, 0, 2, LOGIC, true },
	{ { 0x0a }, 1, -1, 0, 1, LOGIC }, { { 0x0b }, 1, -1, 0, 2, LOGIC },
	{ { 0x20 }, 1, -1, 0, 1, LOGIC, true }, { { 0x21 }, 1, -1, 0, 2, LOGIC, true },
	{ { 0x22 }, 1, -1, 0, 1, LOGIC }, { { 0x23 }, 1, -1, 0, 2, LOGIC },
	{ { 0x28 }, 1, -1, 0, 1, ARITHMETIC, true }, { { 0x29 }, 1, -1, 0, 2, ARITHMETIC, true },
	{ { 0x2a }, 1, -1, 0, 1, ARITHMETIC }, { { 0x2b }, 1, -1, 0, 2, ARITHMETIC },
	{ { 0x30 }, 1, -1, 0, 1, LOGIC, true }, { { 0x31 }, 1, -1, 0, 2, LOGIC, true },
	{ { 0x32 }, 1, -1, 0, 1, LOGIC }, { { 0x33 }, 1, -1, 0, 2, LOGIC },
	{ { 0x38 }, 1, -1, 0, 1, ARITHMETIC }, { { 0x39 }, 1, -1, 0, 2, ARITHMETIC },
	{ { 0x3a }, 1, -1, 0, 1, ARITHMETIC }, { { 0x3b }, 1, -1, 0, 2, ARITHMETIC },
	{ { 0x63 }, 1, -1, 0, 4, NO_FLAGS },
	{ { 0x80 }, 1, 0, 1, 1, ARITHMETIC, true }, { { 0x80 }, 1, 1, 1, 1, LOGIC, true },
	{ { 0x80 }, 1, 4, 1, 1, LOGIC, true }, { { 0x80 }, 1, 7, 1, 1, ARITHMETIC },
	{ { 0x81 }, 1, 0, 4, 2, ARITHMETIC, true }, { { 0x81 }, 1, 1, 4, 2, LOGIC, true },
	{ { 0x81 }, 1, 5, 4, 2, ARITHMETIC, true }, { { 0x81 }, 1, 6, 4, 2, LOGIC, true },
	{ { 0x83 }, 1, 0, 1, 2, ARITHMETIC, true }, { { 0x83 }, 1, 4, 1, 2, LOGIC, true },
	{ { 0x83 }, 1, 5, 1, 2, ARITHMETIC, true }, { { 0x83 }, 1, 7, 1, 2, ARITHMETIC },
	{ { 0x84 }, 1, -1, 0, 1, LOGIC }, { { 0x85 }, 1, -1, 0, 2, LOGIC },
	{ { 0x86 }, 1, -1, 0, 1, NO_FLAGS, true }, { { 0x87 }, 1, -1, 0, 2, NO_FLAGS, true },
	{ { 0x88 }, 1, -1, 0, 1, NO_FLAGS }, { { 0x89 }, 1, -1, 0, 2, NO_FLAGS },
	{ { 0x8a }, 1, -1, 0, 1, NO_FLAGS }, { { 0x8b }, 1, -1, 0, 2, NO_FLAGS },
	{ { 0xc6 }, 1, 0, 1, 1, NO_FLAGS }, { { 0xc7 }, 1, 0, 4, 2, NO_FLAGS },
	{ { 0xf6 }, 1, 0, 1, 1, LOGIC }, { { 0xf7 }, 1, 0, 4, 2, LOGIC },
	{ { 0x0f, 0xa3 }, 2, -1, 0, 2, BITS }, { { 0x0f, 0xab }, 2, -1, 0, 2, BITS, true },
	{ { 0x0f, 0xb3 }, 2, -1, 0, 2, BITS, true }, { { 0x0f, 0xbb }, 2, -1, 0, 2, BITS, true },
	{ { 0x0f, 0xba }, 2, 4, 1, 2, BITS }, { { 0x0f, 0xba }, 2, 5, 1, 2, BITS, true },
	{ { 0x0f, 0xba }, 2, 6, 1, 2, BITS, true }, { { 0x0f, 0xba }, 2, 7, 1, 2, BITS, true },
	{ { 0x0f, 0xb6 }, 2, -1, 0, 2, NO_FLAGS }, { { 0x0f, 0xb7 }, 2, -1, 0, 2, NO_FLAGS },
	{ { 0x0f, 0xbe }, 2, -1, 0, 2, NO_FLAGS }, { { 0x0f, 0xbf }, 2, -1, 0, 2, NO_FLAGS },
	{ { 0x0f, 0x38, 0xf0 }, 3, -1, 0, 2, NO_FLAGS },
	{ { 0x0f, 0x38, 0xf1 }, 3, -1, 0, 2, NO_FLAGS },
	{ { 0xaa }, 1, -1, 0, 1, NO_FLAGS, false, true },
	{ { 0xab }, 1, -1, 0, 2, NO_FLAGS, false, true },
	{ { 0xa4 }, 1, -1, 0, 1, NO_FLAGS, false, true },
	{ { 0xa5 }, 1, -1, 0, 2, NO_FLAGS, false, true },
};

#define NR_FORMS	(int)(sizeof(forms) / sizeof(forms[0]))

/* Write the instruction into code[]; returns its length. */
static int encode(const struct form *form, int disp)
{
	int n = 0, size = 4, immediate = form->immediate;
	u8 rex = 0, reg;

	memset(code, 0x90, sizeof(code));
	if (form->lock && below(3) == 0)
		code[n++] = 0xf0;
	if (form->string && below(2))
		code[n++] = 0xf2 | below(2);
	if (form->min_size > 1 && !below(4)) {
		code[n++] = 0x66;
		size = 2;
	}
	/* QEMU 7.2 takes MOVBE with 66 and REX.W for the 16-bit one. */
	if (form->min_size > 1 && !below(4) && !(form->length == 3 && size == 2))
		rex |= 8;
	if (form->min_size == 4)	/* MOVSXD, as compilers write it */
		rex |= 8;
	do {
		reg = below(16);
	} while (reg == CPU_RSP && form->min_size > 1);
	if (form->group >= 0)
		reg = form->group;
	if (reg & 8)
		rex |= 4;
	/* Byte registers 4-7 are AH ... without REX; SPL would be the program's stack. */
	if (rex || (!form->string && reg != CPU_RSP && below(4) == 0))
		code[n++] = 0x40 | rex;
	if (reg == CPU_RSP && rex)
		reg = CPU_RBP;

	memcpy(code + n, form->bytes, form->length);
	n += form->length;
	if (!form->string) {
		code[n++] = 0x40 | (reg & 7) << 3 | CPU_RDI;
		code[n++] = disp;
	}
	if (immediate == 4 && size == 2 && !(rex & 8))
		immediate = 2;
	while (immediate--)
		code[n++] = rnd() >> 56;
	return n;
}

/* The VMM's part: what an MMIO exit asks for. NULL, or what is wrong with it. */
static const char *play_vmm(struct vcpu *vcpu)
{
	struct exit_mmio *mmio = &vcpu->exit.mmio;

	if (vcpu->exit.reason != EXIT_MMIO)
		return "no MMIO exit";
	if (mmio->gpa < DEVICE || mmio->gpa + mmio->size > SPACE)
		return "not the device";
	if (mmio->write) {
		if (low_bytes(mmio->data, mmio->size) != mmio->data)
			return "data beyond the size";
		memcpy(space + mmio->gpa, &mmio->data, mmio->size);
	} else {
		vcpu->answer = rnd();
		memcpy(&vcpu->answer, space + mmio->gpa, mmio->size);
	}
	return NULL;
}

/* Save and restore what the ABI carries, into a vCPU that knows nothing else */
static const char *migrate(struct vcpu *vcpu)
{
	struct vcpu other = { 0 };

	if (vcpu->pending.kind == VMM_PENDING_MMIO && mmio_check(&vcpu->pending))
		return "own record refused";
	other.regs = vcpu->regs;
	other.pending = vcpu->pending;
	other.answer = vcpu->answer;
	*vcpu = other;
	return NULL;
}

/* Until RIP is behind the instruction. NULL, or what is wrong. */
static const char *run_mmio(struct vcpu *vcpu, u64 start, u64 end, u64 fault_gva)
{
	enum mmio_result result;
	const char *wrong;
	int rounds = 0;

	while (vcpu->regs.rip == start) {
		if (++rounds > 100)
			return "does not end";
		vcpu->exit = (struct vcpu_exit){ .reason = EXIT_TDP_FAULT };
		vcpu->exit.fault.access = ACCESS_READ;
		result = mmio_start(vcpu, fault_gva - mapped_at);
		while (result == MMIO_USER) {
			wrong = play_vmm(vcpu);
			if (!wrong)
				wrong = migrate(vcpu);
			if (wrong)
				return wrong;
			if (!vcpu->pending.kind)
				break;
			result = mmio_continue(vcpu);
		}
		if (result == MMIO_OUTSIDE || result == MMIO_EMULATE || result == MMIO_FAULT)
			return "left";
		/* The CPU would fault again at the next element of a string. */
		if (vcpu->regs.rip == start)
			fault_gva = vcpu->regs.gpr[CPU_RDI];
	}
	if (vcpu->regs.rip != end)
		return "wrong RIP";
	if (nr_exceptions)
		return "exception";
	return NULL;
}

struct trial {
	u8 *page;		/* for native code */
	u8 before[SPACE];
	u8 after[SPACE];
	struct cpu_regs regs;
};

/*
 * Run the same on the CPU: space[] is where the linear addresses say. Without LOCK, since a
 * host may punish what locks two cache lines.
 */
static void run_on_cpu(struct trial *trial, int length, u64 shift)
{
	int locked = code[0] == 0xf0;

	memcpy(native.gpr, trial->regs.gpr, sizeof(native.gpr));
	native.gpr[CPU_RDI] += shift;
	native.gpr[CPU_RSI] += shift;
	native.rflags = trial->regs.rflags;
	native.code = trial->page;
	memcpy(trial->page, code + locked, length - locked);
	trial->page[length - locked] = 0xc3;
	run_native();
	native.gpr[CPU_RDI] -= shift;
	native.gpr[CPU_RSI] -= shift;
}

/* The first byte of the operand that is a register, where the CPU would fault */
static bool touches_device(struct vcpu *vcpu, u64 *gva)
{
	struct insn_bytes bytes = { .size = code_size, .count = INSN_MAX };
	struct mmio_op op;

	memcpy(bytes.bytes, code, INSN_MAX);
	if (decode_mmio(vcpu, &bytes, &op))
		return false;
	*gva = op.gva < mapped_at + DEVICE ? mapped_at + DEVICE : op.gva;
	return op.op == MMIO_MOVS || op.gva + op.size > mapped_at + DEVICE;
}

/*
 * One form with random operands, at @gva. Where the instruction uses RDI or RSI as a value, the two
 * runs differ by where memory lies: such are left out.
 */
static const char *try_form(struct trial *trial, const struct form *form, u64 gva, int repeat)
{
	u64 shift = (u64)space - mapped_at;
	struct vcpu vcpu = { 0 };
	int i, length, reg;
	const char *wrong;

	for (i = 0; i < SPACE; i++)
		space[i] = rnd() >> 56;
	memcpy(trial->before, space, SPACE);

	do {
		length = encode(form, 8);
		i = 0;
		while (code[i] != form->bytes[0])
			i++;
		reg = (code[i + form->length] >> 3) & 7;
	} while (!form->string && (reg == CPU_RDI || reg == CPU_RSI) && form->group < 0);

	for (i = 0; i < CPU_NR_GPRS; i++)
		trial->regs.gpr[i] = rnd() >> below(64);
	/* Bit numbers stay in the neighbourhood. */
	if (form->flags == BITS)
		for (i = 0; i < CPU_NR_GPRS; i++)
			trial->regs.gpr[i] = (rnd() & 0xffff0000003f003full) |
					     (below(2) ? 0 : 0xffc0);
	if (form->flags == BITS && form->group < 0)
		for (i = 0; i < CPU_NR_GPRS; i++)
			trial->regs.gpr[i] = (s64)below(512) - 256;
	trial->regs.gpr[CPU_RDI] = form->string ? gva : gva - 8;
	trial->regs.gpr[CPU_RSI] = mapped_at + 64 + below(SPACE - 128);
	if (form->string)
		trial->regs.gpr[CPU_RCX] = 1 + below(repeat);
	trial->regs.rflags = 0x202 | (rnd() & FLAGS);
	if (!form->string)
		trial->regs.rflags &= ~(u64)X86_EFLAGS_DF;
	trial->regs.rip = 0x4000;

	vcpu.regs = trial->regs;
	if (!touches_device(&vcpu, &gva))
		return NULL;
	wrong = run_mmio(&vcpu, 0x4000, 0x4000 + length, gva);
	if (wrong)
		return wrong;
	memcpy(trial->after, space, SPACE);
	memcpy(space, trial->before, SPACE);
	run_on_cpu(trial, length, shift);

	for (i = 0; i < CPU_NR_GPRS; i++)
		if (i != CPU_RSP && vcpu.regs.gpr[i] != native.gpr[i])
			return "register";
	if ((vcpu.regs.rflags ^ native.rflags) & form->flags)
		return "flags";
	if ((vcpu.regs.rflags ^ trial->regs.rflags) & ~(u64)FLAGS)
		return "other flags";
	return memcmp(trial->after, space, SPACE) ? "memory" : NULL;
}

static void try_forms(struct __test_metadata *_metadata, bool kernel_device, bool crossing)
{
	struct trial *trial = calloc(1, sizeof(*trial));
	const char *wrong;
	char text[64];
	int i;

	trial->page = mmap(NULL, MMIO_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(trial->page, MAP_FAILED);
	code_size = 8;
	code_split = INSN_MAX;
	in_kernel = kernel_device;
	for (i = 0; i < 100 * NR_FORMS; i++) {
		const struct form *form = &forms[i % NR_FORMS];
		u64 gva = mapped_at + DEVICE + 512 + below(3000);
		int repeat = 5;

		/* From RAM into the device, or from one page of it into the other */
		if (crossing) {
			gva = mapped_at + DEVICE + (below(2) ? MMIO_PAGE : 0) - 1 - below(8);
			repeat = 1;
		}
		/* XCHG locks without the prefix; see exchange_across_pages. */
		if ((form->bytes[0] | 1) == 0x87 && (gva & 63) > 56)
			continue;
		wrong = try_form(trial, form, gva, repeat);
		if (wrong) {
			hex(code, INSN_MAX, text);
			TH_LOG("%s: %s", text, wrong);
		}
		ASSERT_EQ(wrong, NULL);
	}
	free(trial);
}

TEST(execution_by_kernel_devices) { try_forms(_metadata, true, false); }
TEST(execution_by_vmm) { try_forms(_metadata, false, false); }
TEST(execution_across_pages) { try_forms(_metadata, false, true); }
TEST(execution_across_pages_by_kernel) { try_forms(_metadata, true, true); }

TEST(exchange_across_pages)
{
	static const u8 split[] = { 2, 1, 4, 1 };	/* accesses of 8 bytes at ...ffd */
	struct vcpu vcpu = { .regs = {
		.gpr = { [CPU_RDI] = mapped_at + SPACE - MMIO_PAGE - 3,
			 [CPU_RBX] = 0x1122334455667788 },
		.rip = 0x4000,
	} };
	u64 at = vcpu.regs.gpr[CPU_RDI] - mapped_at;
	u64 before = 0xa1a2a3a4a5a6a7a8, after;
	enum mmio_result result;
	int i;

	code_size = 8;
	code_split = INSN_MAX;
	in_kernel = false;
	memcpy(space + at, &before, 8);
	memcpy(code, "\x48\x87\x1f", 3);		/* xchg %rbx, (%rdi) */
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_TDP_FAULT };
	result = mmio_start(&vcpu, at);
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(result, MMIO_USER);
		EXPECT_EQ(vcpu.exit.mmio.size, split[i % 4]);
		EXPECT_EQ(vcpu.exit.mmio.write, i >= 4);
		EXPECT_EQ(vcpu.pending.kind, i < 7 ? VMM_PENDING_MMIO : VMM_PENDING_NONE);
		ASSERT_EQ(play_vmm(&vcpu), NULL);
		ASSERT_EQ(migrate(&vcpu), NULL);
		if (i < 7)
			result = mmio_continue(&vcpu);
	}
	memcpy(&after, space + at, 8);
	EXPECT_EQ(after, 0x1122334455667788);
	EXPECT_EQ(vcpu.regs.gpr[CPU_RBX], before);
	EXPECT_EQ(vcpu.regs.rip, 0x4003);
}

/* ---- faults and the order of things ---- */

TEST(no_read_before_a_fault)
{
	struct vcpu vcpu = { .regs = {
		.gpr = { [CPU_RSI] = mapped_at + DEVICE, [CPU_RDI] = mapped_at },
		.rip = 0x4000,
	} };

	code_size = 8;
	code_split = INSN_MAX;
	in_kernel = false;
	unmapped_page = mapped_at / MMIO_PAGE;
	code[0] = 0xa4;					/* movsb */
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_TDP_FAULT };
	EXPECT_EQ(mmio_start(&vcpu, DEVICE), MMIO_DONE);
	EXPECT_EQ(nr_exceptions, 1);
	EXPECT_EQ(vcpu.regs.rip, 0x4000);
	EXPECT_EQ(vcpu.pending.kind, VMM_PENDING_NONE);
}

TEST(rip_at_the_exits)
{
	struct vcpu vcpu = { .regs = {
		.gpr = { [CPU_RDI] = mapped_at + DEVICE, [CPU_RCX] = 2, [CPU_RAX] = 0x77 },
		.rip = 0x4000,
	} };

	code_size = 8;
	code_split = INSN_MAX;
	in_kernel = false;

	memcpy(code, "\xf3\xaa", 2);			/* rep stosb */
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_TDP_FAULT };
	ASSERT_EQ(mmio_start(&vcpu, DEVICE), MMIO_USER);
	EXPECT_EQ(vcpu.regs.rip, 0x4000);
	EXPECT_EQ(vcpu.regs.gpr[CPU_RCX], 1);
	EXPECT_EQ(vcpu.pending.kind, VMM_PENDING_NONE);
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_TDP_FAULT };
	ASSERT_EQ(mmio_start(&vcpu, DEVICE + 1), MMIO_USER);
	EXPECT_EQ(vcpu.regs.rip, 0x4002);
	EXPECT_EQ(vcpu.regs.gpr[CPU_RCX], 0);
	EXPECT_EQ(vcpu.exit.mmio.gpa, DEVICE + 1);
	EXPECT_EQ(vcpu.exit.mmio.data, 0x77);

	/* A read waits for its answer with RIP behind it; what the VMM makes of RIP counts. */
	memcpy(code, "\x8b\x07", 2);			/* mov (%rdi), %eax */
	vcpu.regs.rip = 0x4000;
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_TDP_FAULT };
	ASSERT_EQ(mmio_start(&vcpu, DEVICE + 2), MMIO_USER);
	EXPECT_EQ(vcpu.regs.rip, 0x4002);
	EXPECT_EQ(vcpu.pending.rip, 0x4000);
	EXPECT_EQ(vcpu.pending.kind, VMM_PENDING_MMIO);
	vcpu.regs.rip = 0x5000;
	vcpu.answer = 0x123456789;
	ASSERT_EQ(mmio_continue(&vcpu), MMIO_DONE);
	EXPECT_EQ(vcpu.regs.rip, 0x5000);
	EXPECT_EQ(vcpu.regs.gpr[CPU_RAX], 0x23456789);
}

TEST(not_an_operand)
{
	struct vcpu vcpu = { .regs = {
		.gpr = { [CPU_RDI] = mapped_at + DEVICE + 8 },
		.rip = 0x4000,
	} };

	code_size = 8;
	code_split = INSN_MAX;
	memcpy(code, "\x8b\x07", 2);			/* mov (%rdi), %eax */

	/* A page table that no memory backs */
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_TDP_FAULT };
	EXPECT_EQ(mmio_start(&vcpu, 0x123450), MMIO_FAULT);
	EXPECT_EQ(vcpu.exit.reason, EXIT_FAULT);
	EXPECT_EQ(vcpu.exit.fault.error, -ENXIO);

	/* A fetch, and the delivery of an event */
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_TDP_FAULT, .fault.access = ACCESS_EXEC };
	EXPECT_EQ(mmio_start(&vcpu, DEVICE + 8), MMIO_FAULT);
	vcpu.events.interrupted.type = EVENT_INTERRUPT;
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_TDP_FAULT, .fault.access = ACCESS_READ };
	EXPECT_EQ(mmio_start(&vcpu, DEVICE + 8), MMIO_FAULT);

	/* Another instruction */
	vcpu.events.interrupted.type = EVENT_NONE;
	memcpy(code, "\xff\x07", 2);			/* incl (%rdi) */
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_TDP_FAULT, .fault.access = ACCESS_READ };
	ASSERT_EQ(mmio_start(&vcpu, DEVICE + 8), MMIO_EMULATE);
	EXPECT_EQ(vcpu.exit.emulate.gpa, DEVICE + 8);
	EXPECT_EQ(vcpu.exit.emulate.gva, 0x4000);
	EXPECT_EQ(vcpu.exit.emulate.length, INSN_MAX);
	EXPECT_EQ(vcpu.exit.emulate.mode, 8);
	EXPECT_EQ(memcmp(vcpu.exit.emulate.bytes, code, INSN_MAX), 0);
}

/* In the window nothing but the code is read: the rest is put off, with nothing done */
TEST(window_touches_no_memory)
{
	struct vcpu vcpu = { .mode = VCPU_IN_WINDOW, .regs = {
		.gpr = { [CPU_RDI] = mapped_at + DEVICE - 2, [CPU_RSI] = mapped_at },
		.rip = 0x4000,
	} };
	struct cpu_regs regs = vcpu.regs;

	code_size = 8;
	code_split = INSN_MAX;
	in_kernel = true;
	code[0] = 0xa5;					/* movsl, of RAM and registers */
	vcpu.exit = (struct vcpu_exit){ .reason = EXIT_TDP_FAULT };
	EXPECT_EQ(mmio_start(&vcpu, DEVICE), MMIO_OUTSIDE);
	memcpy(code, "\x8b\x07", 2);			/* mov (%rdi), %eax: across pages */
	EXPECT_EQ(mmio_start(&vcpu, DEVICE), MMIO_OUTSIDE);
	EXPECT_EQ(memcmp(&regs, &vcpu.regs, sizeof(regs)), 0);
	EXPECT_EQ(vcpu.exit.reason, EXIT_TDP_FAULT);

	memcpy(code, "\x8b\x47\x02", 3);		/* mov 2(%rdi), %eax */
	EXPECT_EQ(mmio_start(&vcpu, DEVICE), MMIO_DONE);
	EXPECT_EQ(vcpu.regs.rip, 0x4003);
}

/* Whatever a VMM restores, it is refused or runs to its end */
TEST(hostile_records)
{
	const int trials = 400000;
	int i, j, accepted = 0;

	code_size = 8;
	in_kernel = false;
	for (i = 0; i < trials; i++) {
		struct vcpu vcpu = { 0 };
		struct mmio_op *op = &vcpu.pending.mmio;
		u8 *bytes = (u8 *)&op->op;
		int rounds = 0;

		random_registers(&vcpu);
		for (j = 0; j < 6; j++)
			((u64 *)op)[j] = below(2) ? mapped_at + below(SPACE + MMIO_PAGE) : rnd();
		for (j = 0; j < 11; j++)
			bytes[j] = below(20) ? below(9) : rnd() >> 56;
		op->op = below(MMIO_NR_INSNS + 1);
		op->size = 1 << below(4);
		op->dest_size = 1 << below(4);
		op->address_size = 1 << below(4);
		op->rep = below(3) ? 0 : 0xf2 + below(3);
		op->high_byte = below(6) == 0;
		op->step = below(5) ? below(2) : below(256);
		op->done = below(3) ? 0 : below(op->size + 1);
		op->behind = below(2);
		vcpu.pending.kind = VMM_PENDING_MMIO;
		vcpu.pending.size = 1 << below(4);
		if (mmio_check(&vcpu.pending))
			continue;
		accepted++;
		while (vcpu.pending.kind) {
			ASSERT_LT(rounds++, 20);
			vcpu.answer = rnd();
			mmio_continue(&vcpu);
		}
	}
	TH_LOG("%d of %d accepted", accepted, trials);
	EXPECT_GT(accepted, 1000);
}

TEST_HARNESS_MAIN
