// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random page tables in every mode: what VMM_TRANSLATE says of an address is what
 * the guest meets there, down to the error code.
 */
#include <stdlib.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define NR_TRIALS	1500

#define MEMORY		(16 * MIB)
#define FRAMES		(8 * MIB)	/* from here on each word holds its own address */
#define USER_GPA	(CODE_GPA + 0x1000)
#define WALK_GPA	0x100000	/* tables for the address under test */
#define PF_PROT		(1U << 0)
#define PF_RSVD		(1U << 3)
#define FLAG_IOPL	(3ULL << 12)
#define FLAG_AC		(1ULL << 18)

/*
 * Flush the TLB and load PKRU from EBX; then go where the stack says: to one of the accesses, in
 * ring 0 or 3, with EBP in EAX.
 */
GUEST_CODE(enter64, 64,
	   "mov %cr3, %rdx; mov %rdx, %cr3\n"
	   "mov %cr4, %rax\n"
	   "bt $22, %eax\n"
	   "jnc 1f\n"
	   "mov %ebx, %eax; xor %ecx, %ecx; xor %edx, %edx; wrpkru\n"
	   "1: mov %ebp, %eax\n"
	   "out %al, $PORT_DONE\n"
	   "iretq\n");

GUEST_CODE(enter32, 32,
	   "mov %cr3, %edx; mov %edx, %cr3\n"
	   "mov %ebp, %eax\n"
	   "out %al, $PORT_DONE\n"
	   "iretl\n");

/* In 64-bit code these mean the same with RDI. */
static const u8 load_code[] = { 0x8b, 0x07, 0xe7, PORT_VALUE };	/* mov (%edi), %eax; out %eax */
static const u8 store_code[] = { 0x89, 0x07, 0xe7, PORT_VALUE };	/* mov %eax, (%edi) */
static const u8 jump_code[] = { 0xff, 0xe7 };				/* jmp *%edi */
static const u8 target_code[] = { 0xe7, PORT_VALUE };

FIXTURE(pagewalk) {
	struct vm *vm;
	struct vcpu *vcpu;
	bool smep, smap, pku;
};

FIXTURE_SETUP(pagewalk)
{
	struct vmm_cpuid_entry *entries, *leaf;
	u32 count;

	self->vm = vm_create(MEMORY, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	entries = get_supported_cpuid(self->vm->dev, &count);
	leaf = find_cpuid(entries, count, 7, 0);
	self->smep = leaf && (leaf->ebx & 1 << 7);
	self->smap = leaf && (leaf->ebx & 1 << 20);
	self->pku = leaf && (leaf->ecx & 1 << 3);
	free(entries);
}

FIXTURE_TEARDOWN(pagewalk)
{
	vm_destroy(self->vm);
}

static u64 random_state = 0x853c49e6748fea9b;

static u64 rnd(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1d;
}

static bool one_in(u32 n)
{
	return (rnd() >> 32) % n == 0;
}

/**
 * struct trial - one access
 * @gva: linear address
 * @access: VMM_ACCESS_*, with USER for ring 3
 * @rflags: AC matters
 */
struct trial {
	u64 gva;
	u32 access;
	u64 rflags;
};

static bool is_legacy(struct vm *vm)
{
	return vm->mode == MODE_PAGED;
}

/* Flags that an entry may have in any mode, mostly granting */
static u64 random_flags(struct vm *vm)
{
	u64 entry = (rnd() & (PTE_A | PTE_D)) | (rnd() & 0xf00);

	entry |= one_in(16) ? 0 : PTE_P;
	entry |= one_in(4) ? 0 : PTE_RW;
	entry |= one_in(4) ? 0 : PTE_US;
	if (is_legacy(vm))
		return entry;
	entry |= one_in(4) ? PTE_NX : 0;
	if (one_in(24))
		entry |= 1ULL << (one_in(2) ? 51 : 48);
	if (one_in(24))		/* reserved with PAE, ignored in long mode */
		entry |= 1ULL << 54;
	return entry;
}

static void write_entry(struct vm *vm, u64 table, u64 gva, int level, u64 entry)
{
	int bits = is_legacy(vm) ? 10 : 9;
	u64 index = gva >> (12 + bits * (level - 1)) & ((1 << bits) - 1);

	if (is_legacy(vm))
		guest_u32(vm, table + 4 * index) = entry;
	else
		guest_u64(vm, table + 8 * index) = entry;
}

/* A frame within RAM for a leaf at @level, one that words tell from others */
static u64 random_frame(struct vm *vm, int level)
{
	if (level == 1)
		return FRAMES + (rnd() >> 32) % (FRAMES / PAGE) * PAGE;
	if (level == 2 && !is_legacy(vm))
		return FRAMES + (rnd() >> 32) % 4 * 2 * MIB;
	if (level == 2)
		return FRAMES + (rnd() >> 32) % 2 * 4 * MIB;
	return 0;
}

/* Entries for @gva from @level down to a leaf, in tables of their own */
static void write_walk(struct vm *vm, u64 gva, int level, u64 table)
{
	u64 next = WALK_GPA;

	for (; level >= 1; level--) {
		bool directory_pointer = vm->mode == MODE_PAE && level == 3;
		bool leaf = level == 1 || (level <= 3 && !directory_pointer && one_in(4));
		u64 entry = random_flags(vm);

		if (directory_pointer)
			entry = PTE_P;
		if (!leaf) {
			entry |= next;
			write_entry(vm, table, gva, level, entry);
			table = next;
			next += PAGE;
			continue;
		}
		entry |= random_frame(vm, level);
		if (level > 1)
			entry |= PTE_PS;
		/* The protection key: reserved with PAE, ignored without CR4.PKE */
		if (vm->mode == MODE_LONG || vm->mode == MODE_LA57)
			entry |= (rnd() & 15) << 59;
		if (level > 1 && one_in(16))	/* reserved, or the PAT bit */
			entry |= 1ULL << (12 + rnd() % (is_legacy(vm) ? 10 : 8));
		if (level > 3 && one_in(16))
			entry |= PTE_PS;
		write_entry(vm, table, gva, level, entry);
		return;
	}
}

/* What the handlers need is the supervisor's alone, so that SMEP and SMAP do not meet it. */
static void map_low_memory(struct vm *vm)
{
	u64 gpa;

	for (gpa = 0; gpa < LOW_MEMORY; gpa += PAGE)
		guest_map(vm, gpa, gpa, PTE_P | PTE_RW);
}

static struct trial random_trial(FIXTURE_DATA(pagewalk) *self)
{
	static const u32 accesses[] = { VMM_ACCESS_READ, VMM_ACCESS_WRITE, VMM_ACCESS_EXEC };
	struct vm *vm = self->vm;
	struct trial trial;
	int level = 2;

	/* The low bits are within FRAMES, for a gigabyte page that begins at 0. */
	trial.gva = FRAMES + ((rnd() >> 32) % FRAMES & ~7ULL);
	trial.access = accesses[(rnd() >> 32) % 3];
	trial.access |= one_in(2) ? VMM_ACCESS_USER : 0;
	trial.rflags = FLAG_FIXED | FLAG_IOPL | (one_in(2) ? FLAG_AC : 0);
	switch (vm->mode) {
	case MODE_PAGED:
		trial.gva |= 0xc0000000;
		break;
	case MODE_PAE:
		trial.gva |= 0xc0000000;
		level = 3;
		break;
	case MODE_LA57:
		trial.gva |= (rnd() & 0xff) << 39 | (1 + rnd() % 255) << 48;
		level = 5;
		break;
	default:
		trial.gva |= (1 + rnd() % 255) << 39;
		level = 4;
		break;
	}
	if (level >= 4 && one_in(2))
		trial.gva |= ~0ULL << (level == 4 ? 47 : 56);
	memset(guest_ptr(vm, WALK_GPA, 4 * PAGE), 0, 4 * PAGE);
	write_walk(vm, trial.gva, level, TABLES_GPA);
	if (level >= 4 && one_in(32) && !(trial.access & VMM_ACCESS_EXEC))
		trial.gva ^= 1ULL << (level == 4 ? 60 : 62);
	return trial;
}

/* Registers for @trial: at the code that flushes, with a stack that leads to the access. */
static void load_trial(FIXTURE_DATA(pagewalk) *self, const struct trial *trial)
{
	bool user = trial->access & VMM_ACCESS_USER;
	struct vcpu *vcpu = self->vcpu;
	struct vm *vm = self->vm;
	bool wide = vm->mode == MODE_LONG || vm->mode == MODE_LA57;
	u64 frame[5] = {
		USER_GPA,
		user ? (wide ? SEL_USER_CODE64 : SEL_USER_CODE32) :
		       (wide ? SEL_CODE64 : SEL_CODE32),
		trial->rflags, STACK_TOP - 0x4000, user ? SEL_USER_DATA : SEL_DATA,
	};
	u64 rsp = STACK_TOP - 0x1000;
	const u8 *code = load_code;
	size_t size = sizeof(load_code);
	int i;

	for (i = 0; i < 5; i++) {
		if (wide)
			guest_u64(vm, rsp + 8 * i) = frame[i];
		else
			guest_u32(vm, rsp + 4 * i) = frame[i];
	}
	if (trial->access & VMM_ACCESS_WRITE) {
		code = store_code;
	} else if (trial->access & VMM_ACCESS_EXEC) {
		code = jump_code;
		size = sizeof(jump_code);
	}
	memcpy(guest_ptr(vm, USER_GPA, size), code, size);
	guest_map(vm, USER_GPA, USER_GPA, PTE_P | PTE_RW | (user ? PTE_US : 0));

	memset(&vcpu->state.regs, 0, sizeof(vcpu->state.regs));
	vcpu->state.regs.rip = CODE_GPA;
	vcpu->state.regs.rflags = FLAG_FIXED;
	vcpu->state.regs.gpr[VMM_RSP] = rsp;
	vcpu->state.regs.gpr[VMM_RDI] = trial->gva;
	vcpu->state.regs.gpr[VMM_RBP] = 0x77777777;
	vcpu->state.regs.gpr[VMM_RBX] = (u32)rnd();
}

/* CR0.WP, SMEP, SMAP, PKE and NX, as far as the host has them */
static void random_control(FIXTURE_DATA(pagewalk) *self)
{
	struct vmm_control *control = &self->vcpu->state.control;

	control->cr0 &= ~CR0_WP;
	control->cr0 |= one_in(2) ? CR0_WP : 0;
	control->cr4 &= ~(CR4_SMEP | CR4_SMAP | CR4_PKE);
	control->cr4 |= self->smep && one_in(2) ? CR4_SMEP : 0;
	control->cr4 |= self->smap && one_in(2) ? CR4_SMAP : 0;
	control->cr4 |= self->pku && one_in(2) ? CR4_PKE : 0;
	control->efer &= ~EFER_NXE;
	control->efer |= one_in(4) ? 0 : EFER_NXE;
}

/* CS for the code that flushes, and the segments that go with it */
static void load_state(FIXTURE_DATA(pagewalk) *self, const struct vmm_segments *segments,
		       const struct trial *trial)
{
	struct vcpu *vcpu = self->vcpu;

	vcpu->state.segments = *segments;
	load_trial(self, trial);
	/* An MMIO read of the last trial has nowhere to go. */
	memset(&vcpu->state.pending, 0, sizeof(vcpu->state.pending));
	vcpu_set(vcpu, VMM_STATE_REGS | VMM_STATE_SEGMENTS | VMM_STATE_CONTROL |
		       VMM_STATE_PENDING);
}

/* The guest got through: where VMM_TRANSLATE says? NULL, or what differs. */
static const char *check_reached(FIXTURE_DATA(pagewalk) *self, const struct trial *trial, u64 gpa)
{
	struct vmm_exit *exit = &self->vcpu->run->exit;
	u32 *word;

	/* PSE-36, or a gigabyte page: beyond RAM */
	if (exit->reason == VMM_EXIT_MMIO)
		return exit->mmio.gpa == gpa ? NULL : "device address";
	if (exit->reason == VMM_EXIT_FAULT && (trial->access & VMM_ACCESS_EXEC))
		return gpa >= MEMORY && exit->fault.gpa / PAGE == gpa / PAGE ? NULL : "fetch";
	if (exit->reason != VMM_EXIT_IO || exit->io.port != PORT_VALUE)
		return "a fault that was not foretold";
	if (gpa >= MEMORY)
		return "not RAM";
	word = guest_ptr(self->vm, gpa, 4);
	if (trial->access & VMM_ACCESS_READ)
		return exit->io.data == (u32)gpa ? NULL : "another page was read";
	if (trial->access & VMM_ACCESS_EXEC)
		return exit->rip == trial->gva ? NULL : "other code ran";
	if (*word != 0x77777777)
		return "another page was written";
	*word = gpa;
	return NULL;
}

/* The guest got an exception: the one that VMM_TRANSLATE has foretold? */
static const char *check_fault(FIXTURE_DATA(pagewalk) *self, const struct trial *trial,
			       const struct vmm_translate *t)
{
	struct guest_trap *trap = guest_trap(self->vm);
	struct vmm_exit *exit = &self->vcpu->run->exit;
	bool wide = self->vm->mode == MODE_LONG || self->vm->mode == MODE_LA57;

	if (exit->reason != VMM_EXIT_IO || exit->io.port != PORT_TRAP)
		return "a fault did not come";
	if (trap->vector != t->vector)
		return "vector";
	/* For a reserved bit QEMU 7.2 leaves P out. */
	if (trap->error != t->error &&
	    !(t->error & PF_RSVD && (trap->error | PF_PROT) == t->error))
		return "error code";
	if (t->vector == 14 && trap->cr2 != (wide ? trial->gva : (u32)trial->gva))
		return "CR2";
	return NULL;
}

static const char *check_trial(FIXTURE_DATA(pagewalk) *self, const struct trial *trial,
			       struct vmm_translate *t)
{
	struct vcpu *vcpu = self->vcpu;
	const char *wrong;
	u32 saved = 0;
	bool target;

	*t = (struct vmm_translate){
		.size = sizeof(*t), .gva = trial->gva, .access = trial->access,
	};
	run_done(vcpu);
	/* The access is made with these flags, not with those of the code before it. */
	vcpu_get(vcpu, VMM_STATE_REGS);
	vcpu->state.regs.rflags |= trial->rflags & FLAG_AC;
	vcpu_set(vcpu, VMM_STATE_REGS);
	if (do_ioctl(vcpu->fd, VMM_TRANSLATE, t))
		return "VMM_TRANSLATE failed";

	target = !t->fault && (trial->access & VMM_ACCESS_EXEC) && t->gpa < MEMORY;
	if (target) {
		saved = guest_u32(self->vm, t->gpa);
		memcpy(guest_ptr(self->vm, t->gpa, 2), target_code, sizeof(target_code));
	}
	if (vcpu_run(vcpu))
		return "VMM_RUN failed";
	wrong = t->fault ? check_fault(self, trial, t) : check_reached(self, trial, t->gpa);
	if (target)
		guest_u32(self->vm, t->gpa) = saved;
	return wrong;
}

static void print_trial(struct __test_metadata *_metadata, FIXTURE_DATA(pagewalk) *self,
			const struct trial *trial, const struct vmm_translate *t)
{
	struct vmm_control *control = &self->vcpu->state.control;
	struct guest_trap *trap = guest_trap(self->vm);
	struct vm *vm = self->vm;
	int i;

	TH_LOG("%s: gva %#llx access %#x rflags %#llx cr0 %#llx cr4 %#llx efer %#llx",
	       mode_names[vm->mode], trial->gva, trial->access, trial->rflags, control->cr0,
	       control->cr4, control->efer);
	TH_LOG("translate: %s vector %u error %#x gpa %#llx", t->fault ? "fault" : "reached",
	       t->vector, t->error, t->gpa);
	TH_LOG("trap: vector %llu error %#llx cr2 %#llx rip %#llx", trap->vector, trap->error,
	       trap->cr2, trap->rip);
	for (i = 0; i < 512 * 4; i++)
		if (guest_u64(vm, WALK_GPA + 8 * i))
			TH_LOG("table %d: %#llx", i / 512, guest_u64(vm, WALK_GPA + 8 * i));
	vcpu_print(self->vcpu);
}

static void walk_mode(struct __test_metadata *_metadata, FIXTURE_DATA(pagewalk) *self,
		      enum guest_mode mode)
{
	struct vcpu *vcpu = self->vcpu;
	struct vmm_segments segments;
	struct vm *vm = self->vm;
	int counts[2] = { 0 };
	u64 gpa;
	int i;

	if (!mode_supported(vm, mode))
		SKIP(return, "this host has no 5-level paging");
	for (gpa = FRAMES; gpa < MEMORY; gpa += 4)
		guest_u32(vm, gpa) = gpa;
	if (mode == MODE_LONG || mode == MODE_LA57)
		vcpu_load(vcpu, mode, enter64);
	else
		vcpu_load(vcpu, mode, enter32);
	map_low_memory(vm);
	segments = vcpu->state.segments;
	/* A return to user mode takes away what only the kernel may use. */
	for (i = VMM_ES; i <= VMM_GS; i++) {
		if (i == VMM_CS || i == VMM_SS)
			continue;
		segments.seg[i].selector = SEL_USER_DATA;
		segments.seg[i].attr |= 0x60;
	}

	for (i = 0; i < NR_TRIALS; i++) {
		struct trial trial = random_trial(self);
		struct vmm_translate t;
		const char *wrong;

		random_control(self);
		load_state(self, &segments, &trial);
		wrong = check_trial(self, &trial, &t);
		if (wrong) {
			print_trial(_metadata, self, &trial, &t);
			TH_LOG("trial %d: %s", i, wrong);
		}
		ASSERT_EQ(wrong, NULL);
		counts[t.fault]++;
	}
	TH_LOG("%s: %d accesses, %d faults", mode_names[mode], counts[0], counts[1]);
	EXPECT_GT(counts[0], NR_TRIALS / 10);
	EXPECT_GT(counts[1], NR_TRIALS / 10);
}

TEST_F(pagewalk, paged) { walk_mode(_metadata, self, MODE_PAGED); }
TEST_F(pagewalk, pae) { walk_mode(_metadata, self, MODE_PAE); }
TEST_F(pagewalk, long_mode) { walk_mode(_metadata, self, MODE_LONG); }
TEST_F(pagewalk, five_levels) { walk_mode(_metadata, self, MODE_LA57); }

TEST_HARNESS_MAIN
