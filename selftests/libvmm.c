// SPDX-License-Identifier: GPL-2.0-only
/*
 * libvmm on the module: its run loop, devices, string I/O and emulation with
 * faults in the middle, memory, callbacks.
 */
/* also: amd-sanitized */
/* timeout: 60 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <vmm/emulate.h>
#include <vmm/vmm.h>

#include "insn.h"
#include "kselftest_harness.h"

#define MEMORY		(4 * MIB)
#define GDT		0x1000
#define IDT		0x2000
#define HANDLERS	0x3000
#define CODE		0x8000
#define TABLES		0x10000
#define DATA		0x100000
#define STACK		0x80000
#define DEVICE		0xd0000000
#define HOLE		0x200000	/* this page is not mapped by the guest */
#define PORT		0x300

#define TF		0x100		/* of RFLAGS */
#define RF		0x10000
#define AC		0x40000
#define AM		0x40000		/* of CR0 */

/*
 * Each exception: its vector to port 0x90, error code to 0x91, CR2 to 0x92, RIP
 * to 0x94, then HLT. Handlers are 16 bytes apart.
 */
asm(
	".pushsection .rodata\n"
	".balign 16\n"
	"handlers:\n"
	".set nr, 0\n"
	".rept 32\n"
	".balign 16\n"
	".if !(nr == 8 || (nr >= 10 && nr <= 14) || nr == 17)\n"
	"	push $0\n"
	".endif\n"
	"	push $nr\n"
	"	jmp common\n"
	".set nr, nr + 1\n"
	".endr\n"
	".balign 16\n"
	"common:\n"
	"	pop %rax; outb %al, $0x90\n"
	"	pop %rax; outl %eax, $0x91\n"
	"	mov %cr2, %rax; outl %eax, $0x92\n"
	"	mov (%rsp), %rax; outl %eax, $0x94\n"
	"	hlt\n"
	"handlers_end:\n"
	".popsection\n"
);

extern const uint8_t handlers[], handlers_end[];

/* GUEST(name, text): 64-bit code, to be run at CODE */
#define GUEST(name, text)						\
	extern const uint8_t name[], name##_end[];			\
	asm(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n")

struct seen {
	uint32_t vector;
	uint32_t error;
	uint32_t cr2;
	uint32_t rip;
};

FIXTURE(libvmm) {
	struct vmm *vmm;
	struct vmm_vm *vm;
	struct vmm_vcpu *vcpu;
	uint8_t *memory;
	struct vmm_regs regs;
};

/* What the guest's exception handlers said, and what the device on PORT and DEVICE saw */
static struct seen seen;
static uint8_t output[20000];
static unsigned int output_bytes, input_bytes, device_reads;
static uint8_t device[4096];
static int device_answer;

static int take_exception(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	switch (access->address) {
	case 0x90:
		seen.vector = access->data;
		break;
	case 0x91:
		seen.error = access->data;
		break;
	case 0x92:
		seen.cr2 = access->data;
		break;
	case 0x94:
		seen.rip = access->data;
		break;
	}
	return 0;
}

/* Counts up when it is read, collects what is written */
static int stream(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	if (!access->write) {
		access->data = 0;
		for (unsigned int i = 0; i < access->size; i++)
			access->data |= (uint64_t)(input_bytes++ & 0xff) << 8 * i;
	} else if (output_bytes + access->size <= sizeof(output)) {
		memcpy(output + output_bytes, &access->data, access->size);
		output_bytes += access->size;
	}
	return device_answer;
}

static int registers(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	uint8_t *at = device + (access->address - DEVICE);

	if (access->write) {
		memcpy(at, &access->data, access->size);
	} else {
		device_reads++;
		access->data = 0;
		memcpy(&access->data, at, access->size);
	}
	return device_answer;
}

static void make_idt(uint8_t *memory)
{
	unsigned int i;

	for (i = 0; i < 32; i++) {
		uint64_t handler = HANDLERS + i * 16;
		uint64_t gate[2] = { (handler & 0xffff) | 8 << 16 | 0x8e00ULL << 32 |
				     (handler >> 16 & 0xffff) << 48, 0 };

		memcpy(memory + IDT + i * 16, gate, sizeof(gate));
	}
}

FIXTURE_SETUP(libvmm)
{
	static const uint64_t gdt[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	void *memory;

	ASSERT_EQ(0, vmm_open(NULL, &self->vmm)) TH_LOG("%s", vmm_error(self->vmm));
	ASSERT_EQ(0, vmm_vm_create(self->vmm, 0, &self->vm));
	ASSERT_EQ(0, vmm_memory_add(self->vm, 0, MEMORY, 0, &memory));
	self->memory = memory;
	ASSERT_EQ(0, vmm_vcpu_create(self->vm, 0, &self->vcpu));
	ASSERT_EQ(0, vmm_vcpu_default_cpuid(self->vcpu, 1));
	ASSERT_EQ(0, vmm_device_add(self->vm, VMM_BUS_IO, 0x90, 8, take_exception, NULL));
	ASSERT_EQ(0, vmm_device_add(self->vm, VMM_BUS_IO, PORT, 4, stream, NULL));
	ASSERT_EQ(0, vmm_device_add(self->vm, VMM_BUS_MMIO, DEVICE, sizeof(device), registers,
				    NULL));
	memcpy(self->memory + GDT, gdt, sizeof(gdt));
	memcpy(self->memory + HANDLERS, handlers, handlers_end - handlers);
	make_idt(self->memory);
	seen = (struct seen){ .vector = ~0U };
	output_bytes = 0;
	input_bytes = 0;
	device_reads = 0;
	device_answer = 0;
	memset(&self->regs, 0, sizeof(self->regs));
	self->regs.gpr[VMM_RSP] = STACK;
}

FIXTURE_TEARDOWN(libvmm)
{
	vmm_vcpu_free(self->vcpu);
	vmm_vm_free(self->vm);
	vmm_close(self->vmm);
}

/* The guest's first gigabyte in pages of 2 MiB, but the one with HOLE in pages of 4 KiB */
static void make_tables(uint8_t *memory)
{
	uint64_t *pd, *pt = (uint64_t *)(memory + TABLES + 0x8000);
	unsigned int i;

	pd = (uint64_t *)(memory + TABLES + 0x2000);
	for (i = 0; i < 512; i++)
		pt[i] = (HOLE & ~0x1fffffULL) + i * 4096 + 3;
	pt[(HOLE >> 12) & 511] = 0;
	pd[HOLE >> 21] = TABLES + 0x8000 + 3;
}

static void start(struct __test_metadata *_metadata, FIXTURE_DATA(libvmm) *self,
		  const uint8_t *code, const uint8_t *end)
{
	struct vmm_state state;

	memcpy(self->memory + CODE, code, end - code);
	ASSERT_EQ(0, vmm_identity_map(self->vm, TABLES, 4));
	make_tables(self->memory);
	ASSERT_EQ(0, vmm_vcpu_long_mode(self->vcpu, CODE, TABLES, &self->regs));
	ASSERT_EQ(0, vmm_vcpu_get_state(self->vcpu, VMM_STATE_SEGMENTS | VMM_STATE_CONTROL,
					&state));
	state.segments.seg[VMM_GDTR].base = GDT;
	state.segments.seg[VMM_GDTR].limit = 3 * 8 - 1;
	state.segments.seg[VMM_IDTR].base = IDT;
	state.segments.seg[VMM_IDTR].limit = 32 * 16 - 1;
	state.control.cr4 |= 0x600;	/* OSFXSR, OSXMMEXCPT */
	ASSERT_EQ(0, vmm_vcpu_set_state(self->vcpu, &state));
}

/* Run to HLT, and read the registers */
static void run(struct __test_metadata *_metadata, FIXTURE_DATA(libvmm) *self)
{
	int ret = vmm_vcpu_run(self->vcpu, NULL, NULL);

	ASSERT_EQ(0, ret) TH_LOG("%d: %s", ret, vmm_vcpu_error(self->vcpu));
	ASSERT_EQ(VMM_EXIT_HLT, vmm_vcpu_exit(self->vcpu)->reason);
	ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
}

#define START(name)	start(_metadata, self, name, name##_end)
#define RUN()		run(_metadata, self)

/* ---- string I/O ---- */

GUEST(outs, "rep outsb; hlt");
GUEST(outs_dword, "rep outsl; hlt");
GUEST(ins, "rep insb; hlt");
GUEST(ins_word_once, "insw; hlt");
GUEST(outs_back, "std; rep outsw; hlt");
GUEST(outs_a32, "rep outsb (%esi), %dx; hlt");

TEST_F(libvmm, outs)
{
	unsigned int i;

	for (i = 0; i < 10000; i++)
		self->memory[DATA + i] = i * 7 + (i >> 8);
	self->regs.gpr[VMM_RSI] = DATA;
	self->regs.gpr[VMM_RCX] = 10000;
	self->regs.gpr[VMM_RDX] = PORT;
	START(outs);
	RUN();
	EXPECT_EQ(10000, output_bytes);
	EXPECT_EQ(0, memcmp(output, self->memory + DATA, 10000));
	EXPECT_EQ(0, self->regs.gpr[VMM_RCX]);
	EXPECT_EQ(DATA + 10000, self->regs.gpr[VMM_RSI]);
	EXPECT_EQ(CODE + 3, self->regs.rip);
}

TEST_F(libvmm, outs_of_nothing)
{
	self->regs.gpr[VMM_RSI] = HOLE;
	self->regs.gpr[VMM_RDX] = PORT;
	START(outs);
	RUN();
	EXPECT_EQ(0, output_bytes);
	EXPECT_EQ(HOLE, self->regs.gpr[VMM_RSI]);
	EXPECT_EQ(CODE + 3, self->regs.rip);
}

TEST_F(libvmm, outs_across_pages)
{
	memcpy(self->memory + DATA + 0xffe, "abcdefgh", 8);
	self->regs.gpr[VMM_RSI] = DATA + 0xffe;
	self->regs.gpr[VMM_RCX] = 2;
	self->regs.gpr[VMM_RDX] = PORT;
	START(outs_dword);
	RUN();
	EXPECT_EQ(8, output_bytes);
	EXPECT_EQ(0, memcmp(output, "abcdefgh", 8));
}

TEST_F(libvmm, outs_backwards)
{
	memcpy(self->memory + DATA, "abcdef", 6);
	self->regs.gpr[VMM_RSI] = DATA + 4;
	self->regs.gpr[VMM_RCX] = 3;
	self->regs.gpr[VMM_RDX] = PORT;
	START(outs_back);
	RUN();
	EXPECT_EQ(0, memcmp(output, "efcdab", 6));
	EXPECT_EQ(DATA - 2, self->regs.gpr[VMM_RSI]);
}

/* With 32-bit addresses the upper halves of RSI and RCX count for nothing */
TEST_F(libvmm, outs_narrow_address)
{
	memcpy(self->memory + DATA, "xyz", 3);
	self->regs.gpr[VMM_RSI] = 0xabcdef0100000000 | DATA;
	self->regs.gpr[VMM_RCX] = 0x1100000003;
	self->regs.gpr[VMM_RDX] = PORT;
	START(outs_a32);
	RUN();
	EXPECT_EQ(3, output_bytes);
	EXPECT_EQ(0, memcmp(output, "xyz", 3));
	EXPECT_EQ(DATA + 3, self->regs.gpr[VMM_RSI]);
	EXPECT_EQ(0, self->regs.gpr[VMM_RCX]);
}

TEST_F(libvmm, ins)
{
	unsigned int i;

	self->regs.gpr[VMM_RDI] = DATA + 0xf00;
	self->regs.gpr[VMM_RCX] = 5000;
	self->regs.gpr[VMM_RDX] = PORT;
	START(ins);
	RUN();
	EXPECT_EQ(5000, input_bytes);
	for (i = 0; i < 5000; i++)
		ASSERT_EQ(i & 0xff, self->memory[DATA + 0xf00 + i]);
	EXPECT_EQ(DATA + 0xf00 + 5000, self->regs.gpr[VMM_RDI]);
}

/* A page that is not there: what was moved stays, the device was read no further */
TEST_F(libvmm, ins_into_a_page_fault)
{
	self->regs.gpr[VMM_RDI] = HOLE - 100;
	self->regs.gpr[VMM_RCX] = 300;
	self->regs.gpr[VMM_RDX] = PORT;
	START(ins);
	RUN();
	EXPECT_EQ(14, seen.vector);
	EXPECT_EQ(2, seen.error) TH_LOG("a write, by the supervisor, to a page that is absent");
	EXPECT_EQ(HOLE, seen.cr2);
	EXPECT_EQ(CODE, seen.rip);
	EXPECT_EQ(100, input_bytes);
	EXPECT_EQ(200, self->regs.gpr[VMM_RCX]);
	EXPECT_EQ(HOLE, self->regs.gpr[VMM_RDI]);
	EXPECT_EQ(99, self->memory[HOLE - 1]);
}

TEST_F(libvmm, ins_half_into_a_page_fault)
{
	self->regs.gpr[VMM_RDI] = HOLE - 1;
	self->regs.gpr[VMM_RDX] = PORT;
	START(ins_word_once);
	RUN();
	EXPECT_EQ(14, seen.vector);
	EXPECT_EQ(HOLE, seen.cr2);
	EXPECT_EQ(0, input_bytes);
	EXPECT_EQ(0, self->memory[HOLE - 1]);
}

TEST_F(libvmm, outs_from_a_page_fault)
{
	memset(self->memory + HOLE - 10, 0x31, 10);
	self->regs.gpr[VMM_RSI] = HOLE - 10;
	self->regs.gpr[VMM_RCX] = 20;
	self->regs.gpr[VMM_RDX] = PORT;
	START(outs);
	RUN();
	EXPECT_EQ(14, seen.vector);
	EXPECT_EQ(0, seen.error);
	EXPECT_EQ(HOLE, seen.cr2);
	EXPECT_EQ(10, output_bytes);
	EXPECT_EQ(10, self->regs.gpr[VMM_RCX]);
}

/* From one device to another */
TEST_F(libvmm, outs_from_a_device)
{
	memcpy(device + 0x20, "device", 6);
	self->regs.gpr[VMM_RSI] = DEVICE + 0x20;
	self->regs.gpr[VMM_RCX] = 6;
	self->regs.gpr[VMM_RDX] = PORT;
	START(outs);
	RUN();
	EXPECT_EQ(0, memcmp(output, "device", 6));
	EXPECT_EQ(6, device_reads);
}

/* A device that ends the loop in the middle loses nothing: the next run goes on */
TEST_F(libvmm, outs_interrupted_by_the_device)
{
	unsigned int runs = 0;
	int ret;

	memcpy(self->memory + DATA, "0123456789", 10);
	self->regs.gpr[VMM_RSI] = DATA;
	self->regs.gpr[VMM_RCX] = 10;
	self->regs.gpr[VMM_RDX] = PORT;
	device_answer = 77;
	START(outs);
	while ((ret = vmm_vcpu_run(self->vcpu, NULL, NULL)) == 77 && runs < 20)
		runs++;
	EXPECT_EQ(0, ret);
	EXPECT_EQ(VMM_EXIT_HLT, vmm_vcpu_exit(self->vcpu)->reason);
	EXPECT_EQ(10, runs);
	EXPECT_EQ(10, output_bytes);
	EXPECT_EQ(0, memcmp(output, "0123456789", 10));
}

/* RF is set as long as the instruction goes on, and clear behind it */
TEST_F(libvmm, string_io_resume_flag)
{
	unsigned int i;

	self->regs.gpr[VMM_RSI] = DATA;
	self->regs.gpr[VMM_RCX] = 2;
	self->regs.gpr[VMM_RDX] = PORT;
	device_answer = 77;
	START(outs);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, vmm_vcpu_enter(self->vcpu));
		ASSERT_EQ(VMM_EXIT_IO, vmm_vcpu_exit(self->vcpu)->reason);
		ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
		self->regs.rflags &= ~RF;
		self->regs.rflags |= i * RF;
		ASSERT_EQ(0, vmm_vcpu_set_regs(self->vcpu, &self->regs));
		EXPECT_EQ(77, vmm_vcpu_string_io(self->vcpu));
		ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
		EXPECT_EQ(i ? CODE + 2 : CODE, self->regs.rip);
		EXPECT_EQ(i ? 0 : RF, self->regs.rflags & RF);
	}
}

/* User mode that asks for alignment gets #AC of data that is not, and the device is left alone */
TEST_F(libvmm, string_io_alignment)
{
	static const uint8_t code[][2] = { { 0x6f }, { 0x6d } };	/* outsl, insl */
	struct vmm_state state;
	unsigned int i;

	self->regs.gpr[VMM_RSI] = DATA + 2;
	self->regs.gpr[VMM_RDI] = DATA + 2;
	self->regs.gpr[VMM_RDX] = PORT;
	for (i = 0; i < 2; i++) {
		memcpy(self->memory + CODE, code[i], 2);
		ASSERT_EQ(0, vmm_vcpu_protected_mode(self->vcpu, CODE, &self->regs));
		ASSERT_EQ(0, vmm_vcpu_enter(self->vcpu));
		ASSERT_EQ(VMM_EXIT_IO, vmm_vcpu_exit(self->vcpu)->reason);
		ASSERT_EQ(0, vmm_vcpu_get_state(self->vcpu, VMM_STATE_REGS | VMM_STATE_SEGMENTS |
						VMM_STATE_CONTROL | VMM_STATE_EVENTS, &state));
		state.regs.rflags |= AC;
		state.control.cr0 |= AM;
		state.segments.seg[VMM_CS].attr |= 3 << VMM_SEG_DPL_SHIFT;
		state.segments.seg[VMM_SS].attr |= 3 << VMM_SEG_DPL_SHIFT;
		ASSERT_EQ(0, vmm_vcpu_set_state(self->vcpu, &state));
		ASSERT_EQ(0, vmm_vcpu_string_io(self->vcpu));
		EXPECT_EQ(0, output_bytes + input_bytes);
		ASSERT_EQ(0, vmm_vcpu_get_state(self->vcpu, VMM_STATE_REGS | VMM_STATE_EVENTS,
						&state));
		EXPECT_EQ(CODE, state.regs.rip);
		EXPECT_EQ(VMM_EVENT_EXCEPTION, state.events.exception.type);
		EXPECT_EQ(17, state.events.exception.vector);
		state.groups = VMM_STATE_EVENTS;
		state.events.exception = (struct vmm_event){ .type = VMM_EVENT_NONE };
		ASSERT_EQ(0, vmm_vcpu_set_state(self->vcpu, &state));
	}
}

/* Behind the last byte of 4 GiB comes the first, but in 64-bit mode */
TEST_F(libvmm, outs_at_the_end_of_the_addresses)
{
	uint8_t *top;

	ASSERT_EQ(0, vmm_memory_add(self->vm, 0xfffff000, 4096, 0, (void **)&top));
	top[4095] = 0x6e;			/* outsb */
	self->memory[0] = 0xf4;			/* hlt */
	self->memory[DATA] = 'x';
	self->regs.gpr[VMM_RSI] = DATA;
	self->regs.gpr[VMM_RDX] = PORT;
	ASSERT_EQ(0, vmm_vcpu_protected_mode(self->vcpu, 0xffffffff, &self->regs));
	RUN();
	EXPECT_EQ(1, output_bytes);
	EXPECT_EQ('x', output[0]);
	EXPECT_EQ(1, self->regs.rip);
}

GUEST(single_step, "rep outsb; nop; hlt");

/* The trap flag: a #DB behind the instruction, or behind an iteration */
GUEST(outs_in_shadow, "mov %ss, %eax; mov %eax, %ss; outsb; hlt");

static int queue_interrupt(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct vmm_event event = { .type = VMM_EVENT_INTERRUPT, .vector = 0x40 };

	return vmm_vcpu_inject(vcpu, &event) ?: vmm_vcpu_inject_nmi(vcpu);
}

/* The end of the shadow takes nothing away of what comes during the instruction. */
TEST_F(libvmm, outs_interrupts_while_in_shadow)
{
	struct vmm_state state;

	ASSERT_EQ(0, vmm_device_add(self->vm, VMM_BUS_IO, 0x310, 1, queue_interrupt, NULL));
	self->regs.gpr[VMM_RSI] = DATA;
	self->regs.gpr[VMM_RDX] = 0x310;
	START(outs_in_shadow);
	RUN();
	/* NMI's handler halts with interrupts off. */
	EXPECT_EQ(2, seen.vector);
	ASSERT_EQ(0, vmm_vcpu_get_state(self->vcpu, VMM_STATE_EVENTS, &state));
	EXPECT_EQ(VMM_EVENT_INTERRUPT, state.events.interrupt.type);
	EXPECT_EQ(0x40, state.events.interrupt.vector);
}

TEST_F(libvmm, string_io_single_step)
{
	struct vmm_state state;

	self->regs.gpr[VMM_RSI] = DATA;
	self->regs.gpr[VMM_RCX] = 1;
	self->regs.gpr[VMM_RDX] = PORT;
	START(single_step);
	ASSERT_EQ(0, vmm_vcpu_get_state(self->vcpu, VMM_STATE_REGS, &state));
	state.regs.rflags |= TF;
	ASSERT_EQ(0, vmm_vcpu_set_state(self->vcpu, &state));
	RUN();
	EXPECT_EQ(1, seen.vector);
	EXPECT_EQ(CODE + 2, seen.rip);
	ASSERT_EQ(0, vmm_vcpu_get_state(self->vcpu, VMM_STATE_DEBUG, &state));
	EXPECT_EQ(0x4000, state.debug.dr6 & 0x4000);
}

GUEST(copy, "rep movsb; hlt");
GUEST(compare, "repe cmpsb; hlt");

/* A repetition of three: of OUTS, of MOVS that the module does, of CMPS that libvmm does */
static void start_repetition(struct __test_metadata *_metadata, FIXTURE_DATA(libvmm) *self,
			     unsigned int which)
{
	memset(device, 0, 3);
	self->regs = (struct vmm_regs){ 0 };
	self->regs.gpr[VMM_RSI] = which == 1 ? DEVICE : DATA;
	self->regs.gpr[VMM_RDI] = which == 2 ? DEVICE : DATA;
	self->regs.gpr[VMM_RCX] = 3;
	self->regs.gpr[VMM_RDX] = PORT;
	self->regs.gpr[VMM_RSP] = STACK;
	if (which == 0)
		START(outs);
	else if (which == 1)
		START(copy);
	else
		START(compare);
}

/* A step ends behind each iteration, not behind as many as are done at once */
TEST_F(libvmm, repetition_single_step)
{
	uint64_t frame[3];
	unsigned int i;

	for (i = 0; i < 3; i++) {
		start_repetition(_metadata, self, i);
		ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
		self->regs.rflags |= TF;
		ASSERT_EQ(0, vmm_vcpu_set_regs(self->vcpu, &self->regs));
		seen = (struct seen){ .vector = ~0U };
		RUN();
		EXPECT_EQ(1, seen.vector);
		EXPECT_EQ(CODE, seen.rip);
		EXPECT_EQ(2, self->regs.gpr[VMM_RCX]);
		memcpy(frame, self->memory + self->regs.gpr[VMM_RSP], sizeof(frame));
		EXPECT_EQ(RF | TF, frame[2] & (RF | TF));
	}
	EXPECT_EQ(1, output_bytes);
	EXPECT_EQ(2, device_reads);
}

/* A breakpoint that has been met, and is gone past with RF, is not met again at each iteration */
TEST_F(libvmm, repetition_with_a_breakpoint)
{
	struct vmm_state state;
	unsigned int i, runs;
	int ret;

	if (host_is_qemu())
		SKIP(return, "this CPU's guests have no breakpoints");
	/* The guest's first fetch is an EPT violation, and in Bochs one takes RF away. */
	start_repetition(_metadata, self, 0);
	RUN();
	device_answer = 77;
	for (i = 0; i < 3; i++) {
		start_repetition(_metadata, self, i);
		ASSERT_EQ(0, vmm_vcpu_get_state(self->vcpu, VMM_STATE_REGS | VMM_STATE_DEBUG,
						&state));
		state.regs.rflags |= RF;
		state.debug.dr[0] = CODE;
		state.debug.dr7 = 0x402;
		ASSERT_EQ(0, vmm_vcpu_set_state(self->vcpu, &state));
		runs = 0;
		while ((ret = vmm_vcpu_run(self->vcpu, NULL, NULL)) == 77 && runs < 10)
			runs++;
		EXPECT_EQ(0, ret);
		EXPECT_EQ(3, runs);
		EXPECT_EQ(~0U, seen.vector) TH_LOG("repetition %u", i);
	}
}

/*
 * The second gigabyte's table is nowhere, and so a translation there fails, for none of the guest's
 * doing. What comes before it is the first 2 MiB.
 */
static void lose_table(uint8_t *memory)
{
	uint64_t *pdpt = (uint64_t *)(memory + TABLES + 0x1000);
	uint64_t *pd = (uint64_t *)(memory + TABLES + 0x2000);

	pdpt[1] = 0x10000003;
	pd[511] = 0x83;
}

/* An error in the middle of a repetition loses nothing of what is done */
TEST_F(libvmm, repetition_with_an_error)
{
	memcpy(self->memory + 2 * MIB - 2, "ab", 2);
	self->regs.gpr[VMM_RSI] = 0x3ffffffe;
	self->regs.gpr[VMM_RCX] = 4;
	self->regs.gpr[VMM_RDX] = PORT;
	START(outs);
	lose_table(self->memory);
	EXPECT_EQ(-ENXIO, vmm_vcpu_run(self->vcpu, NULL, NULL));
	EXPECT_NE(NULL, strstr(vmm_vcpu_error(self->vcpu), "VMM_TRANSLATE"));
	EXPECT_EQ(2, output_bytes);
	EXPECT_EQ(0, memcmp(output, "ab", 2));
	ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
	EXPECT_EQ(2, self->regs.gpr[VMM_RCX]);
	EXPECT_EQ(0x40000000, self->regs.gpr[VMM_RSI]);
	EXPECT_EQ(CODE, self->regs.rip);
	EXPECT_EQ(RF, self->regs.rflags & RF);

	/* Nor is a breakpoint at it met again where nothing is done yet. */
	self->regs.rflags &= ~RF;
	ASSERT_EQ(0, vmm_vcpu_set_regs(self->vcpu, &self->regs));
	EXPECT_EQ(-ENXIO, vmm_vcpu_run(self->vcpu, NULL, NULL));
	ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
	EXPECT_EQ(2, self->regs.gpr[VMM_RCX]);
	EXPECT_EQ(RF, self->regs.rflags & RF);
}

TEST_F(libvmm, emulate_repetition_with_an_error)
{
	memcpy(device, "cdef", 4);
	memcpy(self->memory + 2 * MIB - 2, "cd", 2);
	self->regs.gpr[VMM_RSI] = 0x3ffffffe;
	self->regs.gpr[VMM_RDI] = DEVICE;
	self->regs.gpr[VMM_RCX] = 4;
	START(compare);
	lose_table(self->memory);
	EXPECT_EQ(-ENXIO, vmm_vcpu_run(self->vcpu, NULL, NULL));
	EXPECT_NE(NULL, strstr(vmm_vcpu_error(self->vcpu), "VMM_TRANSLATE"));
	EXPECT_EQ(VMM_EXIT_EMULATE, vmm_vcpu_exit(self->vcpu)->reason);
	ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
	EXPECT_EQ(2, self->regs.gpr[VMM_RCX]);
	EXPECT_EQ(0x40000000, self->regs.gpr[VMM_RSI]);
	EXPECT_EQ(DEVICE + 2, self->regs.gpr[VMM_RDI]);
	EXPECT_EQ(CODE, self->regs.rip);
	EXPECT_EQ(RF, self->regs.rflags & RF);
}

GUEST(steps, "nop; outb %al, %dx; rep outsb; hlt");

/* Instructions one by one, with what they need of the VMM */
TEST_F(libvmm, single_steps)
{
	static const uint8_t rips[] = { 1, 2, 4 };
	const struct vmm_exit *exit = vmm_vcpu_exit(self->vcpu);
	unsigned int i;

	if (!(vmm_get_info(self->vmm)->caps & VMM_CAP_SINGLE_STEP)) {
		EXPECT_EQ(-ENOTSUP, vmm_vcpu_step(self->vcpu, NULL, NULL));
		SKIP(return, "this CPU cannot step its guests");
	}
	self->regs.gpr[VMM_RAX] = 'x';
	self->regs.gpr[VMM_RSI] = DATA;
	self->regs.gpr[VMM_RCX] = 3;
	self->regs.gpr[VMM_RDX] = PORT;
	START(steps);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, vmm_vcpu_step(self->vcpu, NULL, NULL));
		ASSERT_EQ(VMM_EXIT_DEBUG, exit->reason);
		EXPECT_EQ(VMM_DEBUG_STEP, exit->debug.kind);
		EXPECT_EQ(CODE + rips[i], exit->debug.address);
	}
	EXPECT_EQ(4, output_bytes);
	/* HLT, which nobody handles, stands for its step, and steps are off again. */
	ASSERT_EQ(0, vmm_vcpu_step(self->vcpu, NULL, NULL));
	EXPECT_EQ(VMM_EXIT_HLT, exit->reason);
}

/* ---- emulated instructions ---- */

GUEST(sse_copy,
      "movdqu 0x10(%rdi), %xmm3\n"
      "movups %xmm3, 0x100(%rdi)\n"
      "movq %xmm3, 0x200(%rdi)\n"
      "movdqu %xmm3, (%rsi)\n"
      "hlt");
GUEST(locked,
      "lock xaddl %eax, 0x40(%rdi)\n"
      "lock cmpxchg16b 0x50(%rdi)\n"
      "incq 0x60(%rdi)\n"
      "pushq 0x60(%rdi)\n"
      "popq 0x68(%rdi)\n"
      "hlt");
GUEST(across, "addq %rax, (%rdi); hlt");
GUEST(push_device, "pushq 8(%rdi); hlt");

TEST_F(libvmm, emulate_sse)
{
	unsigned int i;

	for (i = 0; i < 16; i++)
		device[0x10 + i] = 0xf0 + i;
	memset(device + 0x200, 0xee, 16);
	self->regs.gpr[VMM_RDI] = DEVICE;
	self->regs.gpr[VMM_RSI] = DATA;
	START(sse_copy);
	RUN();
	EXPECT_EQ(0, memcmp(device + 0x100, device + 0x10, 16));
	EXPECT_EQ(0, memcmp(device + 0x200, device + 0x10, 8));
	EXPECT_EQ(0xee, device[0x208]);
	EXPECT_EQ(0, memcmp(self->memory + DATA, device + 0x10, 16));
	EXPECT_EQ(2, device_reads);
	EXPECT_LE(3, vmm_vcpu_exit_counts(self->vcpu)[VMM_EXIT_EMULATE]);
}

TEST_F(libvmm, emulate_locked)
{
	uint32_t sum;
	uint64_t value[4];

	memset(device, 0, sizeof(device));
	memset(device + 0x40, 0x11, 4);
	self->regs.gpr[VMM_RDI] = DEVICE;
	self->regs.gpr[VMM_RBX] = 0x1234;
	self->regs.gpr[VMM_RCX] = 0x5678;
	START(locked);
	RUN();
	memcpy(&sum, device + 0x40, 4);
	memcpy(value, device + 0x50, sizeof(value));
	EXPECT_EQ(0x11111111, sum);
	/* RAX holds what was at 0x40, so the 16 bytes were not equal */
	EXPECT_EQ(0, value[0]);
	EXPECT_EQ(0, self->regs.gpr[VMM_RAX]);
	EXPECT_EQ(0, self->regs.rflags & 0x40);
	EXPECT_EQ(1, value[2]);
	EXPECT_EQ(1, value[3]);
	EXPECT_EQ(STACK, self->regs.gpr[VMM_RSP]);
}

TEST_F(libvmm, emulate_compare)
{
	memcpy(device, "the same, not", 13);
	memcpy(self->memory + DATA, "the same? not", 13);
	self->regs.gpr[VMM_RSI] = DATA;
	self->regs.gpr[VMM_RDI] = DEVICE;
	self->regs.gpr[VMM_RCX] = 13;
	START(compare);
	RUN();
	EXPECT_EQ(4, self->regs.gpr[VMM_RCX]);
	EXPECT_EQ(DATA + 9, self->regs.gpr[VMM_RSI]);
	EXPECT_EQ(DEVICE + 9, self->regs.gpr[VMM_RDI]);
	EXPECT_EQ(0, self->regs.rflags & 0x40);
}

/* Only the instruction's stack is in the hole: the handler of #PF has an IST */
static void move_stack_to_hole(struct __test_metadata *_metadata, FIXTURE_DATA(libvmm) *self)
{
	uint64_t *gate = (uint64_t *)(self->memory + IDT + 14 * 16);
	uint64_t tss = 0x4000, ist = STACK;
	uint64_t descriptor[2] = { 0x67 | (tss & 0xffffff) << 16 | 0x89ULL << 40, 0 };
	struct vmm_state state;

	memcpy(self->memory + GDT + 24, descriptor, sizeof(descriptor));
	memcpy(self->memory + tss + 0x24, &ist, 8);
	*gate |= 1ULL << 32;
	ASSERT_EQ(0, vmm_vcpu_get_state(self->vcpu, VMM_STATE_SEGMENTS | VMM_STATE_REGS, &state));
	state.segments.seg[VMM_TR].base = tss;
	state.segments.seg[VMM_TR].limit = 0x67;
	state.segments.seg[VMM_TR].selector = 24;
	state.regs.gpr[VMM_RSP] = HOLE + 8;
	ASSERT_EQ(0, vmm_vcpu_set_state(self->vcpu, &state));
}

/* The stack is not there: the device has been read, and no more */
TEST_F(libvmm, emulate_page_fault)
{
	self->regs.gpr[VMM_RDI] = DEVICE;
	START(push_device);
	move_stack_to_hole(_metadata, self);
	RUN();
	EXPECT_EQ(14, seen.vector);
	EXPECT_EQ(2, seen.error);
	EXPECT_EQ(HOLE, seen.cr2);
	EXPECT_EQ(CODE, seen.rip);
}

/* A device ends the loop at its own exit, where a fault or an error follows its access, too */
TEST_F(libvmm, emulate_page_fault_interrupted_by_the_device)
{
	self->regs.gpr[VMM_RDI] = DEVICE;
	START(push_device);
	move_stack_to_hole(_metadata, self);
	device_answer = 77;
	EXPECT_EQ(77, vmm_vcpu_run(self->vcpu, NULL, NULL));
	EXPECT_EQ(VMM_EXIT_EMULATE, vmm_vcpu_exit(self->vcpu)->reason);
	device_answer = 0;
	RUN();
	EXPECT_EQ(14, seen.vector);
	EXPECT_EQ(CODE, seen.rip);
}

GUEST(far_jump, "rex.W ljmp *(%rdi); outb %al, %dx; hlt");

TEST_F(libvmm, emulate_unknown_interrupted_by_the_device)
{
	static const uint64_t tss = 0x0000890000000067;

	memset(device, 0, 16);
	device[8] = 16;			/* to a task */
	self->regs.gpr[VMM_RDI] = DEVICE;
	self->regs.gpr[VMM_RDX] = PORT;
	START(far_jump);
	memcpy(self->memory + GDT + 16, &tss, sizeof(tss));
	device_answer = 77;
	EXPECT_EQ(-ENOSYS, vmm_vcpu_run(self->vcpu, NULL, NULL));
	EXPECT_LT(0, device_reads);
	device_answer = 0;
	ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
	self->regs.rip = CODE + 3;
	ASSERT_EQ(0, vmm_vcpu_set_regs(self->vcpu, &self->regs));
	RUN();
	EXPECT_EQ(CODE + 5, self->regs.rip);
}

/* A repetition goes on at the next run, as string I/O does */
TEST_F(libvmm, emulate_compare_interrupted_by_the_device)
{
	unsigned int runs = 0;
	int ret;

	memcpy(device, "the same", 8);
	memcpy(self->memory + DATA, "the same", 8);
	self->regs.gpr[VMM_RSI] = DATA;
	self->regs.gpr[VMM_RDI] = DEVICE;
	self->regs.gpr[VMM_RCX] = 8;
	START(compare);
	device_answer = 77;
	while ((ret = vmm_vcpu_run(self->vcpu, NULL, NULL)) == 77 && runs < 20) {
		runs++;
		EXPECT_EQ(runs, device_reads);
		ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
		EXPECT_EQ(8 - runs, self->regs.gpr[VMM_RCX]);
		EXPECT_EQ(runs < 8 ? CODE : CODE + 2, self->regs.rip);
	}
	EXPECT_EQ(0, ret);
	EXPECT_EQ(8, runs);
	EXPECT_EQ(VMM_EXIT_HLT, vmm_vcpu_exit(self->vcpu)->reason);
}

/* Half memory, half device: where the device begins behind the end of memory */
TEST_F(libvmm, emulate_across_memory_and_device)
{
	uint64_t value = 0x1111111111111111;

	ASSERT_EQ(0, vmm_memory_add(self->vm, DEVICE - 4096, 4096, 0, NULL));
	ASSERT_EQ(0, vmm_memory_write(self->vm, DEVICE - 4, &value, 4));
	memcpy(device, &value, 4);
	self->regs.gpr[VMM_RDI] = DEVICE - 4;
	self->regs.gpr[VMM_RAX] = 0x22222222f2222222;
	START(across);
	RUN();
	ASSERT_EQ(0, vmm_memory_read(self->vm, DEVICE - 4, &value, 4));
	memcpy((uint8_t *)&value + 4, device, 4);
	EXPECT_EQ(0x3333333403333333, value);
}

/* What cannot be emulated ends the loop with a text that names it; nothing has changed */
GUEST(unknown, "fxsave (%rdi); hlt");

TEST_F(libvmm, emulate_unknown)
{
	struct vmm_regs before;
	int i;

	self->regs.gpr[VMM_RDI] = DEVICE;
	START(unknown);
	ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &before));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-ENOSYS, vmm_vcpu_run(self->vcpu, NULL, NULL));
		EXPECT_NE(NULL, strstr(vmm_vcpu_error(self->vcpu), "fxsave"));
		ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
		EXPECT_EQ(0, memcmp(&before, &self->regs, sizeof(before)));
	}
}

GUEST(execute, "jmp *%rdi");

TEST_F(libvmm, execute_no_memory)
{
	self->regs.gpr[VMM_RDI] = DEVICE;
	START(execute);
	EXPECT_EQ(0, vmm_vcpu_run(self->vcpu, NULL, NULL));
	EXPECT_EQ(VMM_EXIT_FAULT, vmm_vcpu_exit(self->vcpu)->reason);
	EXPECT_EQ(DEVICE, vmm_vcpu_exit(self->vcpu)->fault.gpa);
	EXPECT_EQ(VMM_ACCESS_EXEC, vmm_vcpu_exit(self->vcpu)->fault.access & VMM_ACCESS_EXEC);
}

/* ---- devices and callbacks ---- */

GUEST(reads, "mov $0x1234, %dx; inw %dx; mov %eax, %ebx; movzwl (%rdi), %ecx; outb %al, %dx; hlt");

TEST_F(libvmm, absent_reads_as_ones)
{
	static const struct vmm_ops none;

	self->regs.gpr[VMM_RDI] = DEVICE + 0x1000;
	START(reads);
	ASSERT_EQ(0, vmm_vcpu_run(self->vcpu, &none, NULL));
	ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
	EXPECT_EQ(0xffff, self->regs.gpr[VMM_RBX]);
	EXPECT_EQ(0xffff, self->regs.gpr[VMM_RCX]);
}

static struct vmm_access last_access;
static void *last_opaque;

static int remember(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	last_opaque = opaque;
	last_access = *access;
	if (!access->write)
		access->data = 0x55aa;
	return access->write ? 42 : 0;
}

TEST_F(libvmm, fallbacks)
{
	static const struct vmm_ops ops = { .io = remember, .mmio = remember };

	self->regs.gpr[VMM_RDI] = DEVICE + 0x1000;
	START(reads);
	EXPECT_EQ(42, vmm_vcpu_run(self->vcpu, &ops, &seen)) TH_LOG("what the function returned");
	EXPECT_EQ(&seen, last_opaque);
	EXPECT_EQ(0x1234, last_access.address);
	EXPECT_EQ(1, last_access.size);
	EXPECT_EQ(0xaa, last_access.data);
	ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
	EXPECT_EQ(0x55aa, self->regs.gpr[VMM_RBX]);
	EXPECT_EQ(0x55aa, self->regs.gpr[VMM_RCX]);
}

TEST_F(libvmm, device_ranges)
{
	EXPECT_EQ(-EEXIST, vmm_device_add(self->vm, VMM_BUS_IO, PORT + 3, 1, stream, NULL));
	EXPECT_EQ(-EEXIST, vmm_device_add(self->vm, VMM_BUS_IO, PORT - 5, 6, stream, NULL));
	EXPECT_EQ(0, vmm_device_add(self->vm, VMM_BUS_IO, PORT - 5, 5, stream, NULL));
	EXPECT_EQ(0, vmm_device_add(self->vm, VMM_BUS_IO, PORT + 4, 1, stream, NULL));
	EXPECT_EQ(-EINVAL, vmm_device_add(self->vm, VMM_BUS_IO, 0xffff, 2, stream, NULL));
	EXPECT_EQ(0, vmm_device_add(self->vm, VMM_BUS_IO, 0xffff, 1, stream, NULL));
	EXPECT_EQ(-EINVAL, vmm_device_add(self->vm, VMM_BUS_IO, 5, 0, stream, NULL));
	EXPECT_EQ(-EINVAL, vmm_device_add(self->vm, 2, 5, 1, stream, NULL));
	EXPECT_EQ(-EINVAL, vmm_device_add(self->vm, VMM_BUS_MMIO, ~0ULL, 2, stream, NULL));
	EXPECT_EQ(0, vmm_device_add(self->vm, VMM_BUS_MMIO, ~0ULL, 1, stream, NULL));
}

GUEST(spin, "1: jmp 1b");

static int asked;

static int give_up(void *opaque, struct vmm_vcpu *vcpu)
{
	return ++asked == 2 ? 9 : 0;
}

/* The bits that say that there is more than one: HTT, and CmpLegacy, which Intel's do not have */
TEST_F(libvmm, topology)
{
	struct vmm_cpuid_entry table[] = {
		{ 0, 0, 0, 1, 0x68747541, 0x444d4163, 0x69746e65 },	/* "AuthenticAMD" */
		{ 1 }, { 0x80000001 },
	};

	vmm_cpuid_topology(table, 3, 2, 4);
	EXPECT_EQ(2 << 24 | 4 << 16, table[1].ebx);
	EXPECT_EQ(1 << 28, table[1].edx);
	EXPECT_EQ(1 << 1, table[2].ecx);
	vmm_cpuid_topology(table, 3, 0, 1);
	EXPECT_EQ(1 << 16, table[1].ebx);
	EXPECT_EQ(0, table[1].edx);
	EXPECT_EQ(0, table[2].ecx);
	table[0].ebx = 0x756e6547;		/* "GenuineIntel" */
	table[0].edx = 0x49656e69;
	table[0].ecx = 0x6c65746e;
	vmm_cpuid_topology(table, 3, 0, 4);
	EXPECT_EQ(1 << 28, table[1].edx);
	EXPECT_EQ(0, table[2].ecx);
}

/* Two kicks that nobody has seen yet are one: go on until both have been. */
static void *kick_until_asked_twice(void *opaque)
{
	while (__atomic_load_n(&asked, __ATOMIC_RELAXED) < 2) {
		usleep(20000);
		vmm_vcpu_kick(opaque);
	}
	return NULL;
}

TEST_F(libvmm, kick)
{
	static const struct vmm_ops ops = { .interrupted = give_up };
	pthread_t thread;

	START(spin);
	ASSERT_EQ(0, vmm_vcpu_kick(self->vcpu));
	EXPECT_EQ(-EINTR, vmm_vcpu_run(self->vcpu, NULL, NULL)) TH_LOG("a kick is remembered");
	asked = 0;
	ASSERT_EQ(0, pthread_create(&thread, NULL, kick_until_asked_twice, self->vcpu));
	EXPECT_EQ(9, vmm_vcpu_run(self->vcpu, &ops, NULL));
	pthread_join(thread, NULL);
}

/* Steps are interrupted as runs are */
TEST_F(libvmm, kick_before_a_step)
{
	static const struct vmm_ops ops = { .interrupted = give_up };
	const struct vmm_exit *exit = vmm_vcpu_exit(self->vcpu);

	if (!(vmm_get_info(self->vmm)->caps & VMM_CAP_SINGLE_STEP))
		SKIP(return, "this CPU cannot step its guests");
	START(steps);
	ASSERT_EQ(0, vmm_vcpu_kick(self->vcpu));
	EXPECT_EQ(-EINTR, vmm_vcpu_step(self->vcpu, NULL, NULL));
	EXPECT_STREQ("interrupted", vmm_vcpu_error(self->vcpu));
	asked = 0;
	ASSERT_EQ(0, vmm_vcpu_kick(self->vcpu));
	EXPECT_EQ(0, vmm_vcpu_step(self->vcpu, &ops, NULL)) TH_LOG("it goes on");
	EXPECT_EQ(1, asked);
	EXPECT_EQ(VMM_EXIT_DEBUG, exit->reason);
	EXPECT_EQ(CODE + 1, exit->debug.address);
	ASSERT_EQ(0, vmm_vcpu_kick(self->vcpu));
	EXPECT_EQ(9, vmm_vcpu_step(self->vcpu, &ops, NULL)) TH_LOG("what the function returned");
}

GUEST(msr, "mov $0x12345678, %ecx; rdmsr; mov %eax, %ebx; wrmsr; hlt");

static int answer_msr(void *opaque, struct vmm_vcpu *vcpu, struct vmm_exit_msr *access)
{
	if (access->write)
		access->fault = 1;
	else
		access->data = 0xabcd;
	return 0;
}

TEST_F(libvmm, msr)
{
	static const struct vmm_ops ops = { .msr = answer_msr };

	START(msr);
	ASSERT_EQ(0, vmm_vm_set_msr_policy(self->vm, VMM_MSR_POLICY_UNKNOWN_EXIT, NULL, 0));
	ASSERT_EQ(0, vmm_vcpu_run(self->vcpu, &ops, NULL));
	ASSERT_EQ(0, vmm_vcpu_get_regs(self->vcpu, &self->regs));
	EXPECT_EQ(0xabcd, self->regs.gpr[VMM_RBX]);
	EXPECT_EQ(13, seen.vector);
	EXPECT_EQ(CODE + 9, seen.rip);
}

/* ---- memory ---- */

TEST_F(libvmm, memory)
{
	struct vmm_region region;
	char text[16];
	void *host;

	EXPECT_EQ(-EEXIST, vmm_memory_add(self->vm, MEMORY - 4096, 8192, 0, NULL));
	EXPECT_EQ(-EINVAL, vmm_memory_add(self->vm, MEMORY + 1, 4096, 0, NULL));
	EXPECT_EQ(-EINVAL, vmm_memory_add(self->vm, MEMORY, 4095, 0, NULL));
	EXPECT_EQ(-EINVAL, vmm_memory_add(self->vm, MEMORY, 0, 0, NULL));
	EXPECT_EQ(-EINVAL, vmm_memory_add(self->vm, MEMORY, 4096, 1 << 20, NULL));
	EXPECT_EQ(-EINVAL, vmm_memory_add(self->vm, 1ULL << vmm_get_info(self->vmm)->gpa_bits, 4096,
					  0, NULL));
	EXPECT_NE(NULL, strstr(vmm_vm_error(self->vm), "bits"));
	ASSERT_EQ(0, vmm_memory_add(self->vm, MEMORY, 4096, VMM_MEMORY_SHARED, &host));
	EXPECT_LE(0, vmm_memory_fd(self->vm, MEMORY + 5));
	EXPECT_EQ(-ENOENT, vmm_memory_fd(self->vm, 0));
	EXPECT_EQ(host, vmm_memory_at(self->vm, MEMORY, 4096));
	EXPECT_EQ(NULL, vmm_memory_at(self->vm, MEMORY, 4097));
	/* Across two regions by copy */
	EXPECT_EQ(0, vmm_memory_write(self->vm, MEMORY - 6, "hello, world", 12));
	EXPECT_EQ(0, memcmp(host, " world", 6));
	EXPECT_EQ(0, vmm_memory_read(self->vm, MEMORY - 6, text, 12));
	EXPECT_EQ(0, memcmp(text, "hello, world", 12));
	EXPECT_EQ(-EFAULT, vmm_memory_write(self->vm, MEMORY + 4090, "0123456789", 10));
	EXPECT_EQ(0, *((char *)host + 4090)) TH_LOG("a failed copy has copied nothing");
	EXPECT_TRUE(vmm_memory_region(self->vm, 1, &region));
	EXPECT_EQ(MEMORY, region.gpa);
	EXPECT_FALSE(vmm_memory_region(self->vm, 2, &region));
	EXPECT_EQ(-ENOENT, vmm_memory_remove(self->vm, MEMORY + 4096));
	EXPECT_EQ(0, vmm_memory_remove(self->vm, MEMORY));
	EXPECT_EQ(NULL, vmm_memory_at(self->vm, MEMORY, 1));
}

GUEST(write_rom, "movb $0x77, 0x400000; incl 0x400004; movzbl 0x400000, %ebx; hlt");

/* Writes to read-only memory go to the device there, reads come from memory */
TEST_F(libvmm, readonly_memory)
{
	static const struct vmm_ops ops = { .mmio = remember };
	void *host;
	int ret;

	ASSERT_EQ(0, vmm_memory_add(self->vm, MEMORY, 4096, VMM_MEMORY_READONLY, &host));
	memset(host, 0x10, 8);
	START(write_rom);
	ret = vmm_vcpu_run(self->vcpu, &ops, NULL);
	EXPECT_EQ(42, ret);
	EXPECT_EQ(MEMORY, last_access.address);
	EXPECT_EQ(0x77, last_access.data);
	ret = vmm_vcpu_run(self->vcpu, &ops, NULL);
	EXPECT_EQ(42, ret) TH_LOG("%d %s", ret, vmm_vcpu_error(self->vcpu));
	EXPECT_EQ(MEMORY + 4, last_access.address);
	EXPECT_EQ(0x10101011, last_access.data);
	RUN();
	EXPECT_EQ(0x10, self->regs.gpr[VMM_RBX]);
	EXPECT_EQ(0x10, *(uint8_t *)host);
}

TEST_F(libvmm, linear_memory)
{
	struct vmm_event fault;
	char text[16];
	uint64_t gpa;

	START(spin);
	EXPECT_EQ(0, vmm_vcpu_write(self->vcpu, DATA + 4090, "across pages", 12, 0, &fault));
	EXPECT_EQ(0, vmm_vcpu_read(self->vcpu, DATA + 4090, text, 12, 0, &fault));
	EXPECT_EQ(0, memcmp(text, "across pages", 12));
	EXPECT_EQ(1, vmm_vcpu_write(self->vcpu, HOLE - 4, "not there", 9, 0, &fault));
	EXPECT_EQ(14, fault.vector);
	EXPECT_EQ(HOLE, fault.payload);
	EXPECT_EQ(0, self->memory[HOLE - 4]) TH_LOG("a failed write has written nothing");
	EXPECT_EQ(1, vmm_vcpu_translate(self->vcpu, 1ULL << 50, VMM_ACCESS_READ, &gpa, &fault));
	EXPECT_EQ(13, fault.vector);
	EXPECT_EQ(0, vmm_vcpu_translate(self->vcpu, DATA + 5, VMM_ACCESS_READ, &gpa, &fault));
	EXPECT_EQ(DATA + 5, gpa);
	memcpy(device + 8, "dev", 3);
	EXPECT_EQ(0, vmm_vcpu_read(self->vcpu, DEVICE + 8, text, 3, 0, &fault));
	EXPECT_EQ(0, memcmp(text, "dev", 3));
}

TEST_F(libvmm, describe)
{
	char text[4096], small[20];

	START(spin);
	EXPECT_LT(1000, vmm_vcpu_describe(self->vcpu, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "RIP 0000000000008000"));
	EXPECT_NE(NULL, strstr(text, "code at RIP: eb fe"));
	EXPECT_NE(NULL, strstr(text, "runnable"));
	EXPECT_EQ(sizeof(small) - 1, vmm_vcpu_describe(self->vcpu, small, sizeof(small)));
	EXPECT_EQ(sizeof(small) - 1, strlen(small));
}

/* The text of a failure stays until the next one, whatever succeeds in between */
TEST_F(libvmm, error_stays)
{
	struct vmm_state state = { .size = sizeof(state), .groups = ~0ULL };
	char before[256], text[4096];

	self->regs.gpr[VMM_RSI] = DATA;
	self->regs.gpr[VMM_RDI] = DEVICE;
	self->regs.gpr[VMM_RCX] = 1;
	START(compare);
	ASSERT_EQ(-EINVAL, vmm_vcpu_set_state(self->vcpu, &state));
	snprintf(before, sizeof(before), "%s", vmm_vcpu_error(self->vcpu));
	EXPECT_NE(0, strlen(before));
	EXPECT_LT(1000, vmm_vcpu_describe(self->vcpu, text, sizeof(text)));
	EXPECT_STREQ(before, vmm_vcpu_error(self->vcpu));
	ASSERT_EQ(0, vmm_vcpu_enter(self->vcpu));
	ASSERT_EQ(VMM_EXIT_EMULATE, vmm_vcpu_exit(self->vcpu)->reason);
	EXPECT_EQ(0, vmm_vcpu_emulate(self->vcpu));
	EXPECT_STREQ(before, vmm_vcpu_error(self->vcpu));
}

TEST_F(libvmm, statistics)
{
	struct vmm_stat *stats;
	int count, i;
	bool found = false;

	START(spin);
	count = vmm_vcpu_stats(self->vcpu, &stats);
	ASSERT_LT(0, count);
	for (i = 0; i < count; i++)
		found = found || !strcmp(stats[i].name, "entries");
	EXPECT_TRUE(found);
	free(stats);
	EXPECT_LE(0, vmm_vm_stats(self->vm, &stats));
	free(stats);
}

TEST_F(libvmm, cpuid)
{
	struct vmm_cpuid_entry *entries;
	int count, i;

	ASSERT_EQ(0, vmm_vcpu_default_cpuid(self->vcpu, 6));
	count = vmm_vcpu_get_cpuid(self->vcpu, &entries);
	ASSERT_LT(5, count);
	for (i = 0; i < count; i++) {
		if (entries[i].function == 1) {
			EXPECT_EQ(6, entries[i].ebx >> 16 & 0xff);
			EXPECT_EQ(0, entries[i].ebx >> 24);
		} else if (entries[i].function == 0x80000008) {
			EXPECT_EQ(5, entries[i].ecx & 0xff);
			EXPECT_EQ(3, entries[i].ecx >> 12 & 0xf);
		}
	}
	free(entries);
}

/* Errors come as text, in the object that was asked */
TEST_F(libvmm, errors)
{
	struct vmm *other;
	struct vmm_vm *vm;
	struct vmm_vcpu *vcpu;

	EXPECT_EQ(-ENOENT, vmm_open("/dev/no-such-device", &other));
	EXPECT_NE(NULL, strstr(vmm_error(other), "not loaded"));
	vmm_close(other);
	EXPECT_EQ(-ENOTSUP, vmm_open("/dev/null", &other));
	EXPECT_NE(NULL, strstr(vmm_error(other), "not the device"));
	vmm_close(other);
	EXPECT_EQ(-EINVAL, vmm_vm_create(self->vmm, 1U << 31, &vm));
	EXPECT_EQ(NULL, vm);
	EXPECT_NE(0, strlen(vmm_error(self->vmm)));
	EXPECT_EQ(-EEXIST, vmm_vcpu_create(self->vm, 0, &vcpu));
	EXPECT_EQ(NULL, vcpu);
	EXPECT_NE(NULL, strstr(vmm_vm_error(self->vm), "already"));
	vmm_vcpu_free(NULL);
	vmm_vm_free(NULL);
	vmm_close(NULL);
}

TEST_HARNESS_MAIN
