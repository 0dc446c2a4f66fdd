// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest sees does not depend on the vendor: random guests, all of whose instructions mean
 * the same to both, with the same CPUID table. What each did, exit by exit, with all its registers,
 * comes down to a number, and these are the same everywhere: twovendors.h has them.
 *
 *	twovendors [--print 1] [--case N [--verbose 1]]
 *
 * --print prints that file, as this host has it. The output of "--verbose 1" on two hosts, compared
 * line by line, shows where a case parts.
 */
/* timeout: 120 */
#include <stdlib.h>

#include "fuzz.h"
#include "kselftest.h"
#include "vmmtest.h"

#define CASES		128
#define SEED		1
#define SLOTS		48
#define SLOT_BYTES	32
#define MAX_EXITS	200
#define PAGES_OFFSET	0x8000
#define PAGES_GPA	(DATA_GPA + PAGES_OFFSET)

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const u32 expected[CASES] = {
#include "twovendors.h"
};

static struct random rnd;
static u64 verbose;

/* ---- code: an instruction or a few to each slot, NOPs behind -------------------------- */

struct slot {
	u8 bytes[SLOT_BYTES];
	unsigned int used;
	unsigned int bits;	/* of the code's operands: 16, 32, 64 */
};

static void put(struct slot *s, const char *bytes, unsigned int length)
{
	memcpy(s->bytes + s->used, bytes, length);
	s->used += length;
}

#define PUT(s, bytes)	put(s, bytes, sizeof(bytes) - 1)

struct insn {
	const char *bytes;
	unsigned int length;
};

#define INSN(bytes)	{ bytes, sizeof(bytes) - 1 }

/* One of a list */
static void put_one(struct slot *s, const struct insn *list, unsigned int count)
{
	const struct insn *insn = &list[below(&rnd, count)];

	put(s, insn->bytes, insn->length);
}

static void put_value(struct slot *s, u32 value)
{
	put(s, (const char *)&value, 4);
}

/* MOV of 32 bits to a register, which in 64-bit code clears the upper half */
static void load_register(struct slot *s, unsigned int reg, u32 value)
{
	u8 op = 0xb8 + reg;

	if (s->bits == 16)
		PUT(s, "\x66");
	put(s, (const char *)&op, 1);
	put_value(s, value);
}

/* An operand of memory at [ESI] */
static void put_modrm(struct slot *s, unsigned int reg)
{
	u8 modrm = reg << 3 | 6;

	put(s, (const char *)&modrm, 1);
}

/* Change one bit of CR0 or CR4: of those whose change leaves the code where it is */
static void toggle_control(struct slot *s)
{
	static const u32 cr0[] = {
		CR0_MP, CR0_EM, CR0_TS, CR0_NE, CR0_WP, CR0_AM, CR0_NW, CR0_CD, 1 << 6, 1 << 28,
	};
	bool four = chance(&rnd, 2);
	u32 bit = four ? 1u << below(&rnd, 23) : cr0[below(&rnd, ARRAY_LENGTH(cr0))];

	/* A guest in PAE, or with other sizes of pages, would lose its tables. */
	if (four && (bit == CR4_PAE || bit == CR4_PSE || bit == CR4_LA57))
		bit = CR4_PGE;
	put(s, four ? "\x0f\x20\xe0" : "\x0f\x20\xc0", 3);
	/* XOR EAX, imm32 */
	if (s->bits == 16)
		PUT(s, "\x66");
	PUT(s, "\x35");
	put_value(s, bit);
	put(s, four ? "\x0f\x22\xe0" : "\x0f\x22\xc0", 3);
}

static void move_control(struct slot *s)
{
	/* CR0, CR2, CR3, CR4 to EBX, and CR2 from there */
	static const struct insn moves[] = {
		INSN("\x0f\x20\xc3"), INSN("\x0f\x20\xd3"), INSN("\x0f\x20\xdb"),
		INSN("\x0f\x20\xe3"), INSN("\x0f\x22\xd3"),
	};

	put_one(s, moves, ARRAY_LENGTH(moves));
}

static void move_debug(struct slot *s)
{
	char bytes[3] = "\x0f\x21";

	bytes[1] += chance(&rnd, 2) ? 2 : 0;
	bytes[2] = 0xc0 | below(&rnd, 8) << 3 | 3;
	/* No breakpoint comes on: it would be hit where the emulators differ. */
	load_register(s, 3, chance(&rnd, 3) ? edge(&rnd) & ~0x20ffULL : 0x400);
	put(s, bytes, 3);
}

/* SYSENTER's, SYSCALL's, and bases: emulators take addresses that are not canonical. */
static bool holds_address(u32 msr)
{
	return msr < 0x200 || msr > 0xc0000000;
}

static void access_msr(struct slot *s)
{
	static const u32 msrs[] = {
		0x1b, 0x175, 0x176, 0x200, 0x201, 0x250, 0x277, 0x2ff, 0xc0000081,
		0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102,
	};
	u32 msr = msrs[below(&rnd, ARRAY_LENGTH(msrs))];

	load_register(s, 1, msr);
	if (msr != 0x1b && chance(&rnd, 2)) {
		load_register(s, 0, edge(&rnd));
		load_register(s, 2, holds_address(msr) || chance(&rnd, 2) ? 0 : edge(&rnd));
		PUT(s, "\x0f\x30");
	}
	PUT(s, "\x0f\x32");
}

static void change_efer(struct slot *s)
{
	static const u32 bits[] = { EFER_SCE, EFER_NXE, EFER_LME, EFER_LMA, 1u << 1, 1u << 31 };

	load_register(s, 1, 0xc0000080);
	PUT(s, "\x0f\x32");
	if (s->bits == 16)
		PUT(s, "\x66");
	PUT(s, "\x35");
	put_value(s, bits[below(&rnd, ARRAY_LENGTH(bits))]);
	PUT(s, "\x0f\x30");
}

/*
 * Emulators do not look at limits and types of data segments: those that hold no segment, or
 * another, are for FS and GS alone, which nothing here uses.
 */
static void load_segment(struct slot *s)
{
	static const u16 selectors[] = {
		SEL_DATA, SEL_USER_DATA, SEL_TSS, 0x1008, 0, SEL_CODE64, SEL_CODE32,
		SEL_USER_CODE64, SEL_DATA16, 0x14,
	};
	static const struct insn data[] = {
		INSN("\x8e\xc0"), INSN("\x8e\xd0"), INSN("\x8e\xd8"),
	};
	static const struct insn others[] = {
		INSN("\x8e\xe0"), INSN("\x8e\xe8"),
	};
	bool any = chance(&rnd, 2);

	load_register(s, 0, selectors[below(&rnd, any ? ARRAY_LENGTH(selectors) : 4)]);
	if (any)
		put_one(s, others, ARRAY_LENGTH(others));
	else
		put_one(s, data, ARRAY_LENGTH(data));
}

static void ask_segment(struct slot *s)
{
	static const u16 selectors[] = {
		0, SEL_DATA, SEL_CODE64, SEL_CODE32, SEL_USER_DATA, SEL_TSS, 0x1008, 0x14,
	};
	/* VERR, VERW; LSL to EBX; LLDT. Some bits of what LAR reads are not defined. */
	static const struct insn asks[] = {
		INSN("\x0f\x00\xe0"), INSN("\x0f\x00\xe8"), INSN("\x0f\x03\xd8"),
		INSN("\x0f\x00\xd0"),
	};

	load_register(s, 3, 0);
	load_register(s, 0, selectors[below(&rnd, ARRAY_LENGTH(selectors))]);
	put_one(s, asks, ARRAY_LENGTH(asks));
}

static void use_port(struct slot *s)
{
	/* IN and OUT of 8, 16/32, 32/16 bits; INS, OUTS, and with REP */
	static const struct insn uses[] = {
		INSN("\xec"), INSN("\xed"), INSN("\x66\xed"), INSN("\xee"), INSN("\xef"),
		INSN("\x66\xef"), INSN("\x6c"), INSN("\x6d"), INSN("\x6e"), INSN("\x6f"),
		INSN("\xf3\x6c"), INSN("\xf3\x6e"), INSN("\xf3\x66\x6d"),
	};

	load_register(s, 2, 0x3f0 + below(&rnd, 8));
	load_register(s, 1, below(&rnd, 5));
	put_one(s, uses, ARRAY_LENGTH(uses));
}

/* As the mode's usual data segment has it; emulators do not look at the limits of real mode. */
static u32 data_address(const struct slot *s, u32 offset)
{
	return s->bits == 16 ? offset : DATA_GPA + offset;
}

static void use_memory(struct slot *s)
{
	/* EBX and [ESI]; all flags are defined. */
	static const struct insn uses[] = {
		INSN("\x8a"), INSN("\x8b"), INSN("\x88"), INSN("\x89"), INSN("\x86"),
		INSN("\x87"), INSN("\x0f\xb6"), INSN("\x0f\xbf"), INSN("\x0f\xb1"), INSN("\x01"),
		INSN("\x03"), INSN("\x29"), INSN("\x39"), INSN("\x3b"), INSN("\xf0\x0f\xc1"),
		INSN("\x0f\xc1"), INSN("\x11"), INSN("\x0f\xb3"),
	};

	if (chance(&rnd, 3) && s->bits != 16)
		load_register(s, 6, MMIO_GPA + below(&rnd, 16) * 8);
	else
		load_register(s, 6, data_address(s, below(&rnd, 256)));
	if (s->bits == 16)
		PUT(s, "\x67");
	put_one(s, uses, ARRAY_LENGTH(uses));
	put_modrm(s, 3);
}

static void use_string(struct slot *s)
{
	static const struct insn uses[] = {
		INSN("\xa4"), INSN("\xa5"), INSN("\xaa"), INSN("\xab"), INSN("\xac"),
		INSN("\xad"), INSN("\xf3\xa4"), INSN("\xf3\xa5"), INSN("\xf3\xaa"),
		INSN("\xf3\xab"), INSN("\xa6"), INSN("\xf3\xa6"), INSN("\xf2\xae"),
	};
	bool device = s->bits != 16 && chance(&rnd, 3);

	load_register(s, 1, below(&rnd, 5));
	load_register(s, 6, device && chance(&rnd, 2) ? MMIO_GPA : data_address(s, 0x100));
	load_register(s, 7, device ? MMIO_GPA + 64 : data_address(s, 0x200));
	put_one(s, uses, ARRAY_LENGTH(uses));
}

/* A page that vcpu_set_mode()'s tables do not map as usual: see make_pages() */
static void touch_page(struct slot *s)
{
	load_register(s, 6, data_address(s, PAGES_OFFSET) + below(&rnd, 4) * PAGE +
			    below(&rnd, 2) * 0xffe);
	if (s->bits == 16)
		PUT(s, "\x67");
	put(s, chance(&rnd, 2) ? "\x8b" : "\x89", 1);
	put_modrm(s, 3);
}

static void change_flags(struct slot *s)
{
	/* Not TF: emulators differ about what it traps behind. */
	const u32 flags = FLAG_ARITH | FLAG_IF | FLAG_DF | 3 << 12 | 1 << 14 | 1 << 18;

	/* PUSH imm; POPF */
	PUT(s, "\x68");
	if (s->bits == 16)
		put(s, (const char *)&(u16){ edge(&rnd) & flags }, 2);
	else
		put_value(s, edge(&rnd) & flags);
	PUT(s, "\x9d");
}

static void simple(struct slot *s)
{
	static const struct insn all[] = {
		INSN("\x0f\x06"), INSN("\xf4"), INSN("\xfb\xf4"), INSN("\xfa"), INSN("\xfb"),
		INSN("\x9c\x5b"), INSN("\x0f\x0b"), INSN("\xcc"), INSN("\xce"), INSN("\xcd\x41"),
		INSN("\xcd\x2d"), INSN("\xcd\x20"), INSN("\x0f\x01\xe3"), INSN("\x0f\x01\xf3"),
		INSN("\x0f\x01\xd0"), INSN("\x0f\x08"), INSN("\x0f\x09"), INSN("\x0f\xa2"),
		INSN("\xdb\xe3"), INSN("\x0f\x28\xc1"), INSN("\x0f\x01\x0e"),
		INSN("\x0f\x01\x3e"), INSN("\x0f\x01\xc8"), INSN("\x0f\xaa"), INSN("\x0f\xa1"),
		INSN("\xd4\x00"), INSN("\x62\x06"), INSN("\xf6\xf1"),
		INSN("\x0f\xae\xf8"),
	};

	load_register(s, 0, below(&rnd, 4));
	load_register(s, 1, 0);
	load_register(s, 6, data_address(s, 0));
	put_one(s, all, ARRAY_LENGTH(all));
}

static void (*const kinds[])(struct slot *) = {
	toggle_control, move_control, move_debug, access_msr, change_efer, load_segment,
	ask_segment, use_port, use_memory, use_memory, use_string, touch_page, change_flags,
	simple, simple, simple,
};

static void print_slot(unsigned int number, const struct slot *s)
{
	unsigned int i;

	printf("%x:", number * SLOT_BYTES);
	for (i = 0; i < s->used; i++)
		printf(" %02x", s->bytes[i]);
	printf("\n");
}

static void write_code(struct vcpu *vcpu)
{
	unsigned int bits = vcpu->vm->mode == MODE_REAL ? 16 :
			    vcpu->vm->mode == MODE_LONG ? 64 : 32;
	u8 *code = guest_ptr(vcpu->vm, CODE_GPA, (SLOTS + 1) * SLOT_BYTES);
	unsigned int i;

	for (i = 0; i < SLOTS; i++, code += SLOT_BYTES) {
		struct slot s = { .bits = bits };

		memset(s.bytes, 0x90, sizeof(s.bytes));
		kinds[below(&rnd, ARRAY_LENGTH(kinds))](&s);
		memcpy(code, s.bytes, SLOT_BYTES);
		if (verbose)
			print_slot(i, &s);
	}
	/* OUT PORT_DONE, for ever */
	memcpy(code, (const u8 []){ 0xe6, PORT_DONE, 0xeb, 0xfc }, 4);
}

/* ---- handlers: they need no data segment, which the guest may have lost ------------------ */

#define VECTORS 0x80

static bool is_long(const struct vm *vm)
{
	return vm->mode == MODE_LONG || vm->mode == MODE_COMPAT;
}

static bool has_error(const struct vm *vm, unsigned int vector)
{
	const u32 vectors = 1 << 8 | 0x1f << 10 | 1 << 17;

	return vm->mode != MODE_REAL && vector < 32 && (vectors >> vector & 1);
}

/* An OUT to the port of the vector's number, then back to where the VMM wants */
static void write_handlers(struct vm *vm)
{
	unsigned int vector;

	for (vector = 0; vector < VECTORS; vector++) {
		struct slot s = { };

		PUT(&s, "\xe6");
		put(&s, (const char *)&(u8){ vector }, 1);
		/* ADD RSP, 8; ADD ESP, 4 */
		if (has_error(vm, vector) && is_long(vm))
			PUT(&s, "\x48\x83\xc4\x08");
		else if (has_error(vm, vector))
			PUT(&s, "\x83\xc4\x04");
		if (is_long(vm))
			PUT(&s, "\x48");
		PUT(&s, "\xcf");
		memcpy(guest_ptr(vm, STUBS_GPA + vector * 16, 16), s.bytes, 16);
	}
}

static bool is_trap(const struct vmm_exit *e)
{
	return e->reason == VMM_EXIT_IO && !e->io.in && e->io.port < VECTORS;
}

/* Where the saved RIP is, behind an error code; 0: in no memory. The state is in vcpu->state. */
static u64 frame_of(struct vcpu *vcpu, unsigned int vector)
{
	const struct vmm_segment *ss = &vcpu->state.segments.seg[VMM_SS];
	u64 at = vcpu->state.regs.gpr[VMM_RSP];

	if (!is_long(vcpu->vm))
		at = (u32)(ss->base + (ss->attr & VMM_SEG_DB ? (u32)at : (u16)at));
	if (has_error(vcpu->vm, vector))
		at += is_long(vcpu->vm) ? 8 : 4;
	return at >= 8 && at < vcpu->vm->mem_size - 8 ? at : 0;
}

static unsigned int word_bytes(const struct vm *vm)
{
	return vm->mode == MODE_REAL ? 2 : is_long(vm) ? 8 : 4;
}

static u64 read_word(struct vm *vm, u64 gpa)
{
	u64 value = 0;

	memcpy(&value, guest_ptr(vm, gpa, 8), word_bytes(vm));
	return value;
}

/* ---- what is compared ------------------------------------------------------------------ */

static u32 digest;

static void add(const char *name, u64 value)
{
	unsigned int i;

	if (verbose)
		printf(" %s=%llx", name, value);
	for (i = 0; i < 8; i++)
		digest = (digest ^ (u8)(value >> i * 8)) * 0x01000193;
}

static void add_segments(const struct vmm_segments *segments, bool real)
{
	static const char *const names[] = {
		"es", "cs", "ss", "ds", "fs", "gs", "ldt", "tr",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LENGTH(names); i++) {
		const struct vmm_segment *seg = &segments->seg[i];

		add(names[i], seg->selector);
		/* What a register holds that holds no segment is the vendor's matter. */
		if (!(seg->attr & VMM_SEG_P) || (!real && !(seg->selector & ~3)))
			continue;
		/* Real mode has only data segments for one, and code for the other. */
		if (!real)
			add("attr", seg->attr);
		add("limit", seg->limit);
		add("base", seg->base);
	}
}

static void add_exit(struct vcpu *vcpu)
{
	const struct vmm_exit *e = &vcpu->run->exit;
	const struct vmm_state *s = &vcpu->state;
	unsigned int i;

	if (verbose)
		printf("%s", exit_name(e->reason));
	add("reason", e->reason);
	switch (e->reason) {
	case VMM_EXIT_IO:
		add("port", e->io.port);
		add("size", e->io.size);
		add("in", e->io.in);
		if (!e->io.in)
			add("data", e->io.data);
		break;
	case VMM_EXIT_MMIO:
		add("gpa", e->mmio.gpa);
		add("size", e->mmio.size);
		add("write", e->mmio.write);
		if (e->mmio.write)
			add("data", e->mmio.data);
		break;
	default:
		break;
	}
	vcpu_get(vcpu, VMM_STATE_REGS | VMM_STATE_SEGMENTS | VMM_STATE_CONTROL | VMM_STATE_DEBUG);
	add("cpl", e->cpl);
	add("interruptible", e->interruptible);
	add("rip", s->regs.rip);
	/* Emulators leave RF set for longer than one instruction. */
	add("rflags", s->regs.rflags & ~FLAG_RF);
	for (i = 0; i < VMM_NR_GPRS; i++)
		add("gpr", s->regs.gpr[i]);
	add("cr0", s->control.cr0);
	add("cr2", s->control.cr2);
	add("cr3", s->control.cr3);
	add("cr4", s->control.cr4);
	add("efer", s->control.efer);
	add("dr6", s->debug.dr6);
	add("dr7", s->debug.dr7);
	add_segments(&s->segments, vcpu->vm->mode == MODE_REAL);
	if (is_trap(e)) {
		u64 frame = frame_of(vcpu, e->io.port);

		add("frame", frame);
		add("at", read_word(vcpu->vm, frame));
		if (has_error(vcpu->vm, e->io.port))
			add("error", (u32)read_word(vcpu->vm, frame - word_bytes(vcpu->vm)));
	}
	if (verbose)
		printf("\n");
}

static void add_memory(struct vm *vm, u64 gpa, unsigned int bytes)
{
	const u64 *word = guest_ptr(vm, gpa, bytes);
	unsigned int i;

	for (i = 0; i < bytes / 8; i++)
		add("", word[i]);
	if (verbose)
		printf("\n");
}

/* ---- cases --------------------------------------------------------------------------------- */

/* Features that guests of both vendors have had for long */
static const struct vmm_cpuid_entry cpuid_table[] = {
	{ .function = 0, .eax = 1 },
	/* FPU PSE TSC MSR PAE MCE CX8 APIC MTRR PGE MCA CMOV PAT CLFSH MMX FXSR SSE SSE2; SSE3 */
	{ .function = 1, .eax = 0x600, .ebx = 0x800, .edx = 0x078bf3f9, .ecx = 1 },
	{ .function = 0x80000000, .eax = 0x80000008 },
	/* SYSCALL NX LM; LAHF */
	{ .function = 0x80000001, .edx = 0x20100800, .ecx = 1 },
	{ .function = 0x80000008, .eax = 0x3028 },
};

/* In modes with 4 KiB pages: none, one to read, one of the supervisor's; more are as usual. */
static void make_pages(struct vm *vm)
{
	guest_map(vm, PAGES_GPA, 0, 0);
	guest_map(vm, PAGES_GPA + PAGE, PAGES_GPA + PAGE, PTE_P | PTE_US);
	guest_map(vm, PAGES_GPA + 2 * PAGE, PAGES_GPA + 2 * PAGE, PTE_P | PTE_RW);
}

static void place(struct vcpu *vcpu)
{
	static const enum guest_mode modes[] = {
		MODE_REAL, MODE_PROTECTED, MODE_PAGED, MODE_PAE, MODE_LONG, MODE_LONG, MODE_COMPAT,
	};
	enum guest_mode mode = modes[below(&rnd, ARRAY_LENGTH(modes))];
	unsigned int i;

	vcpu_set_mode(vcpu, mode);
	if (mode == MODE_PAE || mode == MODE_LONG || mode == MODE_COMPAT)
		make_pages(vcpu->vm);
	write_handlers(vcpu->vm);
	write_code(vcpu);
	if (mode != MODE_REAL && chance(&rnd, 3))
		vcpu_set_user(vcpu);
	for (i = 0; i < VMM_NR_GPRS; i++)
		if (i != VMM_RSP)
			vcpu->state.regs.gpr[i] = mode == MODE_LONG ? edge(&rnd) :
								      (u32)edge(&rnd);
	vcpu_set(vcpu, VMM_STATE_REGS);
}

static u64 next_slot(u64 rip)
{
	return (rip & ~(u64)(SLOT_BYTES - 1)) + SLOT_BYTES;
}

/* An instruction that the VMM would do is not done. */
static void skip_insn(struct vcpu *vcpu)
{
	vcpu->state.regs.rip = next_slot(vcpu->state.regs.rip);
	vcpu_set(vcpu, VMM_STATE_REGS);
}

/* Back from a handler: to the slot behind what trapped */
static bool return_from(struct vcpu *vcpu, unsigned int vector)
{
	u64 frame = frame_of(vcpu, vector), rip;

	if (!frame)
		return false;
	rip = next_slot(read_word(vcpu->vm, frame));
	memcpy(guest_ptr(vcpu->vm, frame, 8), &rip, word_bytes(vcpu->vm));
	return true;
}

/* The VMM's part; false: the guest is through. */
static bool answer(struct vcpu *vcpu)
{
	struct vmm_exit *e = &vcpu->run->exit;

	switch (e->reason) {
	case VMM_EXIT_IO:
		if (e->io.port == PORT_DONE)
			return false;
		if (is_trap(e))
			return return_from(vcpu, e->io.port);
		if (e->io.in)
			e->io.data = next_random(&rnd);
		if (e->io.string)
			skip_insn(vcpu);
		return true;
	case VMM_EXIT_MMIO:
		e->mmio.data = next_random(&rnd);
		return true;
	case VMM_EXIT_HLT:
		if (!e->interruptible || chance(&rnd, 3))
			return !vcpu_nmi(vcpu);
		return !vcpu_interrupt(vcpu, 0x50);
	case VMM_EXIT_EMULATE:
		skip_insn(vcpu);
		return true;
	default:
		return false;
	}
}

static bool is_code(const struct vm *vm, u64 rip)
{
	if (vm->mode != MODE_REAL)
		rip -= CODE_GPA;
	return rip <= SLOTS * SLOT_BYTES + 4;
}

/* A guest that runs what is no code of its own is not looked at any more. */
static bool is_lost(struct vcpu *vcpu)
{
	const struct vmm_exit *e = &vcpu->run->exit;
	u64 frame;

	if (!is_trap(e))
		return !is_code(vcpu->vm, e->rip);
	vcpu_get(vcpu, VMM_STATE_REGS | VMM_STATE_SEGMENTS);
	frame = frame_of(vcpu, e->io.port);
	return !frame || !is_code(vcpu->vm, read_word(vcpu->vm, frame));
}

/* Return: what it comes down to */
static u32 run_case(unsigned int number)
{
	unsigned int exits = 0;
	bool through = false;
	struct vcpu *vcpu;
	struct vm *vm;

	rnd = random_from(SEED, number);
	digest = 0x811c9dc5;
	vm = vm_create(2 * MIB, 0);
	vcpu = vcpu_create_bare(vm, 0);
	if (vcpu_set_cpuid(vcpu, cpuid_table, ARRAY_LENGTH(cpuid_table)))
		fail("VMM_SET_CPUID");
	place(vcpu);
	while (!through && exits++ < MAX_EXITS) {
		if (vcpu_run(vcpu))
			fail("VMM_RUN");
		if (is_lost(vcpu))
			break;
		add_exit(vcpu);
		if (vcpu->run->exit.interruptible && chance(&rnd, 8))
			vcpu_interrupt(vcpu, 0x51);
		through = !answer(vcpu);
	}
	if (through) {
		add_memory(vm, DATA_GPA, PAGE);
		add_memory(vm, PAGES_GPA, 4 * PAGE);
	}
	vm_destroy(vm);
	return digest;
}

int main(int argc, char **argv)
{
	unsigned int i, wrong = 0;
	u64 only = ~0ULL, print = 0;

	setlinebuf(stdout);
	READ_NUMBERS(argc, argv, { "--print", &print }, { "--case", &only },
		     { "--verbose", &verbose });
	if (!print) {
		ksft_print_header();
		ksft_set_plan(1);
	}
	for (i = 0; i < CASES; i++) {
		u32 result;

		if (only != ~0ULL && i != only)
			continue;
		result = run_case(i);
		if (print) {
			printf("%s0x%08x,%s", i % 4 ? " " : "\t", result, i % 4 == 3 ? "\n" : "");
		} else if (expected[i] && result != expected[i]) {
			ksft_print_msg("case %u: %08x, not %08x\n", i, result, expected[i]);
			wrong++;
		}
	}
	if (print)
		return 0;
	ksft_test_result(!wrong, "guests\n");
	ksft_finished();
}
