// SPDX-License-Identifier: GPL-2.0-only
/*
 * MMIO: each instruction form that the module decodes is executed on plain
 * memory and then on a device register at the same address, with the same
 * registers. Registers, flags and memory must be the same afterwards. What it
 * does not decode must leave with its bytes.
 */
/* guests: mmio_forms */
/* timeout: 120 */
#include "kselftest_harness.h"
#include "vmmtest.h"

/*
 * The two pages behind slot 0 are memory or device, as slot 1 is set or not. The device's
 * registers are the bytes of shadow[].
 */
#define WINDOW		0x90000
#define WINDOW_SIZE	0x2000
#define RAM		(DATA_GPA + 0x2000)

static u8 *window;
static u8 shadow[WINDOW_SIZE];

/* ---- the instructions, of guests/mmio_forms.S ---- */

enum access { READ, WRITE, MODIFY, END = 0xff };

struct form {
	enum access access;
	u64 flags;		/* arithmetic flags that it defines */
	const u8 *insn;
	u8 size;
	const char *text;
};

enum { FORMS64, STRINGS64, OTHERS64, FORMS32, STRINGS32, FORMS16, STRINGS16 };
#define MAX_FORMS	512

extern const u8 guest_mmio_forms[];

static const u8 *parse_form(const u8 *at, struct form *form)
{
	form->access = at[0];
	form->flags = at[1] | at[2] << 8;
	form->size = at[3];
	form->insn = at + 5;
	form->text = (const char *)at + 5 + at[3];
	return at + 5 + at[3] + at[4];
}

/* The list that is the @number'th; returns how many forms it has. */
static size_t get_forms(int number, struct form forms[MAX_FORMS])
{
	const u8 *at = guest_mmio_forms;
	size_t count = 0;

	for (;; at++) {
		for (count = 0; *at != END; count++) {
			if (count == MAX_FORMS)
				fail("more than %d forms in one list", MAX_FORMS);
			at = parse_form(at, &forms[count]);
		}
		if (!number--)
			return count;
	}
}

/* ---- the guest around them: all registers and flags from, then to memory ---- */

#define BEFORE		DATA_GPA
#define AFTER		(DATA_GPA + 0x100)
asm(".set BEFORE, DATA_GPA; .set AFTER, DATA_GPA + 0x100\n");

GUEST_CODE(frame64, 64,
	   "pushq BEFORE + 0x80; popfq\n"
	   "mov BEFORE, %rax; mov BEFORE + 0x08, %rcx; mov BEFORE + 0x10, %rdx\n"
	   "mov BEFORE + 0x18, %rbx; mov BEFORE + 0x20, %rsp; mov BEFORE + 0x28, %rbp\n"
	   "mov BEFORE + 0x30, %rsi; mov BEFORE + 0x38, %rdi; mov BEFORE + 0x40, %r8\n"
	   "mov BEFORE + 0x48, %r9; mov BEFORE + 0x50, %r10; mov BEFORE + 0x58, %r11\n"
	   "mov BEFORE + 0x60, %r12; mov BEFORE + 0x68, %r13; mov BEFORE + 0x70, %r14\n"
	   "mov BEFORE + 0x78, %r15\n"
	   "frame64_hole: .fill 20, 1, 0x90\n"
	   "mov %rax, AFTER; mov %rcx, AFTER + 0x08; mov %rdx, AFTER + 0x10\n"
	   "mov %rbx, AFTER + 0x18; mov %rsp, AFTER + 0x20; mov %rbp, AFTER + 0x28\n"
	   "mov %rsi, AFTER + 0x30; mov %rdi, AFTER + 0x38; mov %r8, AFTER + 0x40\n"
	   "mov %r9, AFTER + 0x48; mov %r10, AFTER + 0x50; mov %r11, AFTER + 0x58\n"
	   "mov %r12, AFTER + 0x60; mov %r13, AFTER + 0x68; mov %r14, AFTER + 0x70\n"
	   "mov %r15, AFTER + 0x78\n"
	   "pushfq; popq AFTER + 0x80\n"
	   "out %al, $PORT_DONE\n");

GUEST_CODE(frame32, 32,
	   "pushl BEFORE + 0x80; popfl\n"
	   "mov BEFORE, %eax; mov BEFORE + 0x08, %ecx; mov BEFORE + 0x10, %edx\n"
	   "mov BEFORE + 0x18, %ebx; mov BEFORE + 0x20, %esp; mov BEFORE + 0x28, %ebp\n"
	   "mov BEFORE + 0x30, %esi; mov BEFORE + 0x38, %edi\n"
	   "frame32_hole: .fill 20, 1, 0x90\n"
	   "mov %eax, AFTER; mov %ecx, AFTER + 0x08; mov %edx, AFTER + 0x10\n"
	   "mov %ebx, AFTER + 0x18; mov %esp, AFTER + 0x20; mov %ebp, AFTER + 0x28\n"
	   "mov %esi, AFTER + 0x30; mov %edi, AFTER + 0x38\n"
	   "pushfl; popl AFTER + 0x80\n"
	   "out %al, $PORT_DONE\n");

/* DS is the window's here: BEFORE and AFTER are reached through GS. */
GUEST_CODE(frame16, 16,
	   "pushl %gs:0x80; popfl\n"
	   "mov %gs:0, %eax; mov %gs:0x08, %ecx; mov %gs:0x10, %edx\n"
	   "mov %gs:0x18, %ebx; mov %gs:0x20, %esp; mov %gs:0x28, %ebp\n"
	   "mov %gs:0x30, %esi; mov %gs:0x38, %edi\n"
	   "frame16_hole: .fill 20, 1, 0x90\n"
	   "mov %eax, %gs:0x100; mov %ecx, %gs:0x108; mov %edx, %gs:0x110\n"
	   "mov %ebx, %gs:0x118; mov %esp, %gs:0x120; mov %ebp, %gs:0x128\n"
	   "mov %esi, %gs:0x130; mov %edi, %gs:0x138\n"
	   "pushfl; popl %gs:0x180\n"
	   "out %al, $PORT_DONE\n");

extern const u8 frame64_hole[], frame32_hole[], frame16_hole[];
#define HOLE 20

struct frame {
	u64 gpr[16];
	u64 rflags;
};

FIXTURE(mmio) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(mmio)
{
	self->vm = vm_create(WINDOW, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	window = map_memory(WINDOW_SIZE);
}

FIXTURE_TEARDOWN(mmio)
{
	vm_destroy(self->vm);
}

static struct frame *before(struct vm *vm)
{
	return guest_ptr(vm, BEFORE, sizeof(struct frame));
}

static struct frame *after(struct vm *vm)
{
	return guest_ptr(vm, AFTER, sizeof(struct frame));
}

static void fill(u8 *bytes, size_t size, u32 seed)
{
	size_t i;

	for (i = 0; i < size; i++) {
		seed = seed * 1664525 + 1013904223;
		bytes[i] = seed >> 24;
	}
}

/* Registers for round @round; in real mode addresses are offsets into the window. */
static void set_registers(struct vm *vm, enum guest_mode mode, int round)
{
	static const s64 bit_offsets[] = { 5, 37, -21, 70 };
	u64 base = mode == MODE_REAL ? 0 : WINDOW;
	struct frame *frame = before(vm);

	fill((u8 *)frame, sizeof(*frame), round + 1);
	frame->gpr[VMM_RCX] = bit_offsets[round % 4];
	frame->gpr[VMM_RDX] = 0x10;
	frame->gpr[VMM_RBX] = base + 0x800;
	frame->gpr[VMM_RBP] = base + 0x900;
	frame->gpr[VMM_RSP] = STACK_TOP - (mode == MODE_REAL ? STACK_GPA : 0);
	frame->gpr[VMM_RSI] = mode == MODE_REAL ? 0x40 : RAM;
	frame->gpr[VMM_RDI] = mode == MODE_REAL ? 0x60 : RAM + 0x800;
	frame->gpr[VMM_R8] = 0x18;
	frame->gpr[VMM_R12] = base + 0xa00;
	frame->gpr[VMM_R13] = base + 0xb00;
	frame->rflags = FLAG_FIXED | (round & 1 ? FLAG_ARITH : 0);
}

/* The frame of @mode without an instruction in it; returns where that goes. */
static u64 load_frame(struct vcpu *vcpu, enum guest_mode mode)
{
	struct vmm_segment *seg = vcpu->state.segments.seg;
	u64 hole;

	if (mode == MODE_REAL) {
		vcpu_load(vcpu, mode, frame16);
		hole = CODE_GPA + (frame16_hole - frame16);
		seg[VMM_DS].base = WINDOW;
		seg[VMM_DS].selector = WINDOW >> 4;
		seg[VMM_ES] = seg[VMM_DS];
		seg[VMM_FS] = seg[VMM_DS];
		seg[VMM_GS].base = DATA_GPA;
		seg[VMM_GS].selector = DATA_GPA >> 4;
	} else if (mode == MODE_LONG) {
		vcpu_load(vcpu, mode, frame64);
		hole = CODE_GPA + (frame64_hole - frame64);
		seg[VMM_FS].base = WINDOW + 0x400;
		seg[VMM_GS].base = WINDOW + 0x500;
	} else {
		vcpu_load(vcpu, mode, frame32);
		hole = CODE_GPA + (frame32_hole - frame32);
		seg[VMM_FS].base = WINDOW + 0x400;
		seg[VMM_GS].base = WINDOW + 0x500;
	}
	vcpu_set(vcpu, VMM_STATE_SEGMENTS);
	return hole;
}

/* One instruction into the frame that is loaded; the vCPU to its start */
static void set_instruction(struct vcpu *vcpu, u64 hole, const struct form *form)
{
	struct vmm_regs *regs = &vcpu->state.regs;
	bool real = vcpu->vm->mode == MODE_REAL;

	if (form->size > HOLE)
		fail("an instruction of %u bytes", form->size);
	memset(guest_ptr(vcpu->vm, hole, HOLE), 0x90, HOLE);
	memcpy(guest_ptr(vcpu->vm, hole, HOLE), form->insn, form->size);
	memset(regs, 0, sizeof(*regs));
	regs->rip = real ? 0 : CODE_GPA;
	regs->gpr[VMM_RSP] = STACK_TOP - (real ? STACK_GPA : 0);
	regs->rflags = FLAG_FIXED;
	vcpu_set(vcpu, VMM_STATE_REGS);
}

struct device_use {
	int reads;
	int writes;
	int bytes;
};

/* The device: answers from and stores to shadow[]. Returns at the guest's end, or false at #UD. */
static bool run_device(struct __test_metadata *_metadata, struct vcpu *vcpu,
		       struct device_use *use)
{
	struct vmm_exit *e = &vcpu->run->exit;
	u64 offset;
	int ret;

	memset(use, 0, sizeof(*use));
	for (;;) {
		ret = vcpu_run(vcpu);
		if (ret)
			fail("VMM_RUN: %s", strerror(-ret));
		if (e->reason == VMM_EXIT_IO && e->io.port == PORT_DONE)
			return true;
		if (e->reason == VMM_EXIT_IO && e->io.port == PORT_TRAP &&
		    guest_trap(vcpu->vm)->vector == 6)
			return false;
		if (e->reason != VMM_EXIT_MMIO) {
			vcpu_print(vcpu);
			fail("an unexpected exit");
		}
		offset = e->mmio.gpa - WINDOW;
		if (offset >= WINDOW_SIZE || offset + e->mmio.size > WINDOW_SIZE ||
		    e->mmio.size > 8 || (e->mmio.size & (e->mmio.size - 1))) {
			vcpu_print(vcpu);
			fail("an access outside the device");
		}
		use->bytes += e->mmio.size;
		if (e->mmio.write) {
			memcpy(&shadow[offset], &e->mmio.data, e->mmio.size);
			use->writes++;
		} else {
			/* What the VMM writes beyond the size must not matter. */
			e->mmio.data = 0xa5a5a5a5a5a5a5a5;
			memcpy(&e->mmio.data, &shadow[offset], e->mmio.size);
			use->reads++;
		}
	}
}

static bool same_frame(const struct frame *ram, const struct frame *device, u64 flags)
{
	int i;

	for (i = 0; i < 16; i++)
		if (ram->gpr[i] != device->gpr[i]) {
			fprintf(stderr, "# register %d: %#llx in memory, %#llx on the device\n", i,
				ram->gpr[i], device->gpr[i]);
			return false;
		}
	if ((ram->rflags ^ device->rflags) & (flags | ~FLAG_ARITH)) {
		fprintf(stderr, "# flags: %#llx in memory, %#llx on the device\n", ram->rflags,
			device->rflags);
		return false;
	}
	return true;
}

/* What one instruction in one round did */
struct outcome {
	bool unknown;		/* to this CPU */
	struct frame frame;
	u64 window;		/* digests of memory */
	u64 ram;
	struct device_use use;
};

static u64 digest_of(const u8 *bytes, size_t size)
{
	u64 digest = 0xcbf29ce484222325ULL;
	size_t i;

	for (i = 0; i < size; i += 8)
		digest = (digest ^ *(const u64 *)(bytes + i)) * 0x100000001b3ULL;
	return digest;
}

/* A list of forms to be tried in one mode */
struct list {
	enum guest_mode mode;
	struct form forms[MAX_FORMS];
	size_t count;
	int rounds;
	void (*place)(struct vm *vm, enum guest_mode mode, int round);
};

/* All of them in all rounds; @target is what lies behind the window. */
static struct outcome *try_all(struct __test_metadata *_metadata, struct vcpu *vcpu,
			       const struct list *list, u8 *target)
{
	struct outcome *outcomes = calloc(list->count * list->rounds, sizeof(*outcomes));
	struct outcome *o = outcomes;
	u64 hole = load_frame(vcpu, list->mode);
	struct vm *vm = vcpu->vm;
	u8 *ram = guest_ptr(vm, RAM, 0x1000);
	size_t i;
	int round;

	for (i = 0; i < list->count; i++) {
		const struct form *form = &list->forms[i];

		for (round = 0; round < list->rounds; round++, o++) {
			set_registers(vm, list->mode, round);
			if (list->place)
				list->place(vm, list->mode, round);
			set_instruction(vcpu, hole, form);
			fill(target, WINDOW_SIZE, round + 100);
			fill(ram, 0x1000, round + 200);
			memset(after(vm), 0, sizeof(struct frame));
			o->unknown = !run_device(_metadata, vcpu, &o->use);
			o->frame = *after(vm);
			o->window = digest_of(target, WINDOW_SIZE);
			o->ram = digest_of(ram, 0x1000);
		}
	}
	return outcomes;
}

static void compare(struct __test_metadata *_metadata, struct vcpu *vcpu, enum guest_mode mode,
		    int number, int rounds,
		    void (*place)(struct vm *vm, enum guest_mode mode, int round))
{
	struct list *list = calloc(1, sizeof(*list));
	struct outcome *memory, *device;
	size_t i, unknown = 0;
	int round;

	list->mode = mode;
	list->count = get_forms(number, list->forms);
	list->rounds = rounds;
	list->place = place;
	ASSERT_GT(list->count, 10);
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, 1, WINDOW, WINDOW_SIZE, window, 0));
	memory = try_all(_metadata, vcpu, list, window);
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, 1, WINDOW, 0, NULL, 0));
	device = try_all(_metadata, vcpu, list, shadow);

	for (i = 0; i < list->count; i++) {
		const struct form *form = &list->forms[i];

		for (round = 0; round < list->rounds; round++) {
			struct outcome *m = &memory[i * list->rounds + round];
			struct outcome *d = &device[i * list->rounds + round];

			EXPECT_EQ(0, m->use.bytes);
			if (m->unknown) {
				unknown += !round;
				continue;
			}
			EXPECT_TRUE(same_frame(&m->frame, &d->frame, form->flags) &&
				    m->window == d->window && m->ram == d->ram)
				TH_LOG("%s mode, round %d: %s", mode_names[list->mode], round,
				       form->text);
			/* A device notices each access: there may be none too many. */
			if (list->place)
				continue;
			EXPECT_EQ(form->access != WRITE, d->use.reads)
				TH_LOG("reads: %s", form->text);
			EXPECT_EQ(form->access != READ, d->use.writes)
				TH_LOG("writes: %s", form->text);
		}
	}
	TH_LOG("%zu forms in %s mode, %zu of them unknown to this CPU", list->count,
	       mode_names[list->mode], unknown);
	EXPECT_LE(unknown, list->count / 10);
	free(memory);
	free(device);
	free(list);
}

TEST_F_TIMEOUT(mmio, forms_long, 100)
{
	compare(_metadata, self->vcpu, MODE_LONG, FORMS64, 4, NULL);
}

TEST_F(mmio, forms_protected)
{
	compare(_metadata, self->vcpu, MODE_PROTECTED, FORMS32, 3, NULL);
}

TEST_F(mmio, forms_compatibility)
{
	compare(_metadata, self->vcpu, MODE_COMPAT, FORMS32, 1, NULL);
}

TEST_F(mmio, forms_paged)
{
	compare(_metadata, self->vcpu, MODE_PAGED, FORMS32, 1, NULL);
}

TEST_F(mmio, forms_real)
{
	compare(_metadata, self->vcpu, MODE_REAL, FORMS16, 3, NULL);
}

/* ---- strings ---- */

/* Device to memory, memory to device, device to device; each with a count of 5, then none */
static void place_strings(struct vm *vm, enum guest_mode mode, int round)
{
	u64 base = mode == MODE_REAL ? 0 : WINDOW;
	struct frame *frame = before(vm);

	frame->gpr[VMM_RSI] = round % 3 == 1 ? RAM + 0x40 : base + 0x840;
	frame->gpr[VMM_RDI] = round % 3 == 0 ? RAM + 0x80 : base + 0x8a0;
	frame->gpr[VMM_RCX] = round < 3 ? 5 : 0;
	if (mode == MODE_REAL) {
		/* Memory is not within reach of the window's segments: device to device. */
		frame->gpr[VMM_RSI] = 0x840;
		frame->gpr[VMM_RDI] = 0x8a0;
	}
}

TEST_F(mmio, strings_long)
{
	compare(_metadata, self->vcpu, MODE_LONG, STRINGS64, 4, place_strings);
}

TEST_F(mmio, strings_protected)
{
	compare(_metadata, self->vcpu, MODE_PROTECTED, STRINGS32, 4, place_strings);
}

TEST_F(mmio, strings_real)
{
	compare(_metadata, self->vcpu, MODE_REAL, STRINGS16, 4, place_strings);
}

/* ---- what is not decoded ---- */

TEST_F(mmio, others_are_emulate_exits)
{
	static struct form forms[MAX_FORMS];
	size_t count = get_forms(OTHERS64, forms), i;
	struct vcpu *vcpu = self->vcpu;
	u64 hole = load_frame(vcpu, MODE_LONG);
	struct vmm_regs regs;
	struct vmm_exit *e;

	ASSERT_GT(count, 10);
	for (i = 0; i < count; i++) {
		const struct form *form = &forms[i];

		set_instruction(vcpu, hole, form);
		set_registers(self->vm, MODE_LONG, 0);
		e = run_until(vcpu, VMM_EXIT_EMULATE);
		EXPECT_EQ(hole, e->rip) TH_LOG("%s", form->text);
		EXPECT_EQ(hole, e->emulate.gva);
		EXPECT_EQ(WINDOW + 0x800, e->emulate.gpa & ~8ULL) TH_LOG("%s", form->text);
		EXPECT_EQ(8, e->emulate.mode);
		ASSERT_GE(e->emulate.length, form->size);
		EXPECT_EQ(0, memcmp(e->emulate.bytes, form->insn, form->size))
			TH_LOG("%s", form->text);

		/* Nothing has happened: the same again, with the same registers. */
		vcpu_get(vcpu, VMM_STATE_REGS);
		regs = vcpu->state.regs;
		EXPECT_EQ(hole, regs.rip);
		e = run_until(vcpu, VMM_EXIT_EMULATE);
		EXPECT_EQ(hole, e->rip);
		vcpu_get(vcpu, VMM_STATE_REGS);
		EXPECT_EQ(0, memcmp(&regs, &vcpu->state.regs, sizeof(regs)));

		/* The VMM does it and goes behind it. */
		vcpu->state.regs.rip += form->size;
		vcpu_set(vcpu, VMM_STATE_REGS);
		run_done(vcpu);
	}
}

/* ---- page boundaries and faults ---- */

GUEST_CODE(split, 64,
	   "mov $0x300ffe, %ebx\n"
	   "mov (%rbx), %eax; out %eax, $PORT_VALUE\n"
	   "movl $0x11223344, (%rbx)\n"
	   "addl $0x01010101, (%rbx)\n"
	   "out %al, $PORT_DONE\n");

/* Answers one device access, which must be this one. */
#define expect_mmio(gpa_, size_, write_) do {					\
	struct vmm_exit *e = run_until(self->vcpu, VMM_EXIT_MMIO);		\
										\
	EXPECT_EQ((gpa_), e->mmio.gpa);						\
	EXPECT_EQ((size_), e->mmio.size);					\
	EXPECT_EQ((write_), e->mmio.write);					\
} while (0)
#define mmio_data	(self->vcpu->run->exit.mmio.data)

TEST_F(mmio, across_pages_both_device)
{
	vcpu_load(self->vcpu, MODE_LONG, split);
	/* Not neighbours in physical memory */
	guest_map(self->vm, 0x300000, MMIO_GPA, PTE_P | PTE_RW);
	guest_map(self->vm, 0x301000, MMIO_GPA + 0x8000, PTE_P | PTE_RW);
	expect_mmio(MMIO_GPA + 0xffe, 2, 0);
	mmio_data = 0x7788;
	expect_mmio(MMIO_GPA + 0x8000, 2, 0);
	mmio_data = 0x5566;
	EXPECT_EQ(0x55667788, run_value(self->vcpu));
	expect_mmio(MMIO_GPA + 0xffe, 2, 1);
	EXPECT_EQ(0x3344, mmio_data);
	expect_mmio(MMIO_GPA + 0x8000, 2, 1);
	EXPECT_EQ(0x1122, mmio_data);
	expect_mmio(MMIO_GPA + 0xffe, 2, 0);
	mmio_data = 0xffff;
	expect_mmio(MMIO_GPA + 0x8000, 2, 0);
	mmio_data = 0;
	expect_mmio(MMIO_GPA + 0xffe, 2, 1);
	EXPECT_EQ(0x0100, mmio_data);
	expect_mmio(MMIO_GPA + 0x8000, 2, 1);
	EXPECT_EQ(0x0102, mmio_data);
	run_done(self->vcpu);
}

TEST_F(mmio, across_pages_half_memory)
{
	struct vm *vm = self->vm;

	vcpu_load(self->vcpu, MODE_LONG, split);
	guest_map(vm, 0x300000, MMIO_GPA, PTE_P | PTE_RW);
	guest_map(vm, 0x301000, RAM, PTE_P | PTE_RW);
	guest_u16(vm, RAM) = 0x5566;
	expect_mmio(MMIO_GPA + 0xffe, 2, 0);
	mmio_data = 0x7788;
	EXPECT_EQ(0x55667788, run_value(self->vcpu));
	expect_mmio(MMIO_GPA + 0xffe, 2, 1);
	EXPECT_EQ(0x3344, mmio_data);
	expect_mmio(MMIO_GPA + 0xffe, 2, 0);
	EXPECT_EQ(0x1122, guest_u16(vm, RAM));
	mmio_data = 0x3344;
	expect_mmio(MMIO_GPA + 0xffe, 2, 1);
	EXPECT_EQ(0x3445, mmio_data);
	run_done(self->vcpu);
	EXPECT_EQ(0x1223, guest_u16(vm, RAM));
}

/* The second page is not there: a #PF, and the device has seen nothing. */
TEST_F(mmio, across_pages_then_fault)
{
	struct guest_trap *trap;

	vcpu_load(self->vcpu, MODE_LONG, split);
	guest_map(self->vm, 0x300000, MMIO_GPA, PTE_P | PTE_RW);
	guest_map(self->vm, 0x301000, 0, 0);
	trap = run_vector(self->vcpu, 14);
	EXPECT_EQ(0x301000, trap->cr2);
	EXPECT_EQ(0, trap->error);
	EXPECT_EQ(CODE_GPA + 5, trap->rip);
	/* mov (%rbx), %eax; out %eax, imm8 are two bytes each. */
	guest_return_to(self->vm, CODE_GPA + 9);
	trap = run_vector(self->vcpu, 14);
	EXPECT_EQ(0x301000, trap->cr2);
	EXPECT_EQ(2, trap->error);
	guest_map(self->vm, 0x301000, MMIO_GPA + 0x8000, PTE_P);
	vcpu_get(self->vcpu, VMM_STATE_CONTROL);
	vcpu_set(self->vcpu, VMM_STATE_CONTROL);
	/* Read-only for the guest: a write that its own tables forbid never reaches the device. */
	trap = run_vector(self->vcpu, 14);
	EXPECT_EQ(0x301000, trap->cr2);
	EXPECT_EQ(3, trap->error);
}

/* A repeated move that faults half-way: what was done stays done. */
GUEST_CODE(rep_movs, 64, "rep movsl; out %al, $PORT_DONE\n");

TEST_F(mmio, repeated_move_faults)
{
	struct vcpu *vcpu = self->vcpu;
	struct guest_trap *trap;
	u32 i;

	vcpu_load(vcpu, MODE_LONG, rep_movs);
	guest_map(self->vm, 0x300000, MMIO_GPA, PTE_P | PTE_RW);
	guest_map(self->vm, 0x301000, RAM, PTE_P | PTE_RW);
	guest_map(self->vm, 0x302000, 0, 0);
	vcpu->state.regs.gpr[VMM_RSI] = 0x300000;
	vcpu->state.regs.gpr[VMM_RDI] = 0x301ff0;
	vcpu->state.regs.gpr[VMM_RCX] = 6;
	vcpu_set(vcpu, VMM_STATE_REGS);
	for (i = 0; i < 4; i++) {
		expect_mmio(MMIO_GPA + 4 * i, 4, 0);
		mmio_data = 0x1000 + i;
	}
	/* The fifth may or may not be read before its destination faults. */
	vcpu_run(vcpu);
	if (vcpu->run->exit.reason == VMM_EXIT_MMIO) {
		EXPECT_EQ(MMIO_GPA + 16, vcpu->run->exit.mmio.gpa);
		mmio_data = 0x1004;
		run_vector(vcpu, 14);
	}
	trap = guest_trap(self->vm);
	EXPECT_EQ(14, trap->vector);
	EXPECT_EQ(0x302000, trap->cr2);
	EXPECT_EQ(CODE_GPA, trap->rip);
	vcpu_get(vcpu, VMM_STATE_REGS);
	EXPECT_EQ(2, vcpu->state.regs.gpr[VMM_RCX]);
	EXPECT_EQ(0x300010, vcpu->state.regs.gpr[VMM_RSI]);
	EXPECT_EQ(0x302000, vcpu->state.regs.gpr[VMM_RDI]);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0x1000 + i, guest_u32(self->vm, RAM + 0xff0 + 4 * i));

	guest_map(self->vm, 0x302000, RAM + 0x1000, PTE_P | PTE_RW);
	for (i = 4; i < 6; i++) {
		expect_mmio(MMIO_GPA + 4 * i, 4, 0);
		mmio_data = 0x1000 + i;
	}
	run_done(vcpu);
	EXPECT_EQ(0x1005, guest_u32(self->vm, RAM + 0x1004));
}

/* The trap flag is honoured behind a completed access, as behind any instruction. */
GUEST_CODE(stepped, 64,
	   "mov $MMIO_GPA, %ebx\n"
	   "pushf; orl $0x100, (%rsp); popf\n"
	   "mov %eax, (%rbx)\n"
	   "1: nop\n");

TEST_F(mmio, trap_flag)
{
	struct guest_trap *trap;

	vcpu_load(self->vcpu, MODE_LONG, stepped);
	expect_mmio(MMIO_GPA, 4, 1);
	trap = run_vector(self->vcpu, 1);
	EXPECT_EQ(CODE_GPA + code_size(stepped) - 1, trap->rip);
}

/* Code in a device, page tables in a device: nothing to run, but a clear end. */
GUEST_CODE(jump_away, 64, "mov $MMIO_GPA, %eax; jmp *%rax\n");

TEST_F(mmio, code_in_device)
{
	struct vmm_exit *e;

	vcpu_load(self->vcpu, MODE_LONG, jump_away);
	e = run_until(self->vcpu, VMM_EXIT_FAULT);
	EXPECT_EQ(MMIO_GPA, e->fault.gpa);
	EXPECT_EQ(VMM_ACCESS_EXEC, e->fault.access & VMM_ACCESS_EXEC);
	EXPECT_EQ(-ENXIO, e->fault.error);
	EXPECT_EQ(MMIO_GPA, e->rip);
}

TEST_F(mmio, page_table_in_device)
{
	struct vcpu *vcpu = self->vcpu;
	u32 reason;

	vcpu_load(vcpu, MODE_LONG, jump_away);
	guest_u64(self->vm, TABLES_GPA) = MMIO_GPA | 7;
	ASSERT_EQ(0, vcpu_run(vcpu));
	reason = vcpu->run->exit.reason;
	EXPECT_TRUE(reason == VMM_EXIT_FAULT || reason == VMM_EXIT_EMULATE)
		TH_LOG("exit %s", exit_name(reason));
}

TEST_HARNESS_MAIN
