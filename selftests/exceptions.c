// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exceptions: those that a guest causes, those that a VMM injects, faults on
 * the way to a handler, double faults and shutdown.
 */
/* also: intel-debug */
/* hosts: smp 6.12 */
#include <signal.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

FIXTURE(exceptions) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(exceptions)
{
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(exceptions)
{
	vm_destroy(self->vm);
}

static bool pushes_error(int vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* ---- caused by the guest ---- */

GUEST_CODE(divide, 64, "xor %ecx, %ecx; div %ecx\n");
GUEST_CODE(breakpoint, 64, "int3\n");
GUEST_CODE(undefined, 64, "ud2\n");
GUEST_CODE(no_fpu, 64, "fninit\n");
GUEST_CODE(bad_selector, 64, "mov $0xfff8, %eax; mov %eax, %ds\n");
GUEST_CODE(not_present, 64, "mov $0x60, %eax; mov %eax, %ds\n");
GUEST_CODE(bad_stack, 64, "mov $0x60, %eax; mov %eax, %ss\n");
GUEST_CODE(bad_tss, 64, "mov $0x60, %eax; ltr %ax\n");
GUEST_CODE(privileged_msr, 64, "mov $0x12345678, %ecx; rdmsr\n");
GUEST_CODE(page_fault, 64, "mov $0x123456, %ebx; movl $1, (%rbx)\n");
GUEST_CODE(fetch_fault, 64, "mov $0x123456, %eax; jmp *%rax\n");
GUEST_CODE(float_error, 64,
	   "fninit; fldcw DATA_GPA; fld1; fldz; fdivrp; fwait\n");
GUEST_CODE(simd_error, 64,
	   "ldmxcsr DATA_GPA; xorps %xmm0, %xmm0; divps %xmm0, %xmm0; out %al, $PORT_DONE\n");

TEST_F(exceptions, of_instructions)
{
	static const struct {
		const u8 *code, *end;
		u8 vector;
		u64 error;
		u64 offset;
	} faults[] = {
		{ divide, divide_end, 0, 0, 2 },
		{ breakpoint, breakpoint_end, 3, 0, 1 },
		{ undefined, undefined_end, 6, 0, 0 },
		{ bad_selector, bad_selector_end, 13, 0xfff8, 5 },
		{ privileged_msr, privileged_msr_end, 13, 0, 5 },
	};
	struct guest_trap *trap;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		vcpu_load_code(self->vcpu, MODE_LONG, faults[i].code,
			       faults[i].end - faults[i].code);
		trap = run_vector(self->vcpu, faults[i].vector);
		EXPECT_EQ(faults[i].error, trap->error);
		EXPECT_EQ(CODE_GPA + faults[i].offset, trap->rip);
	}
}

TEST_F(exceptions, of_descriptors)
{
	/* A data segment that is not present, a stack likewise, a TSS that is none */
	vcpu_load(self->vcpu, MODE_LONG, not_present);
	guest_u64(self->vm, GDT_GPA + 0x60) = 0x00cf13000000ffffULL;
	EXPECT_EQ(0x60, run_vector(self->vcpu, 11)->error);
	vcpu_load(self->vcpu, MODE_LONG, bad_stack);
	guest_u64(self->vm, GDT_GPA + 0x60) = 0x00cf13000000ffffULL;
	EXPECT_EQ(0x60, run_vector(self->vcpu, 12)->error);
	vcpu_load(self->vcpu, MODE_LONG, bad_tss);
	guest_u64(self->vm, GDT_GPA + 0x60) = 0x00cf93000000ffffULL;
	EXPECT_EQ(0x60, run_vector(self->vcpu, 13)->error);
}

TEST_F(exceptions, device_not_available)
{
	vcpu_load(self->vcpu, MODE_LONG, no_fpu);
	self->vcpu->state.control.cr0 |= CR0_TS;
	vcpu_set(self->vcpu, VMM_STATE_CONTROL);
	EXPECT_EQ(CODE_GPA, run_vector(self->vcpu, 7)->rip);
}

TEST_F(exceptions, floating_point)
{
	vcpu_load(self->vcpu, MODE_LONG, float_error);
	guest_u16(self->vm, DATA_GPA) = 0x037b;		/* #Z unmasked */
	EXPECT_EQ(CODE_GPA + code_size(float_error) - 1, run_vector(self->vcpu, 16)->rip);
}

/*
 * Emulators leave some exceptions out. Does this host's own CPU have one? @body is to be
 * ended by @signal.
 */
static bool host_has(void (*body)(void), int signal)
{
	int status;
	pid_t child = fork();

	if (!child) {
		body();
		_exit(0);
	}
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

static void cause_simd_error(void)
{
	u32 mxcsr = 0x1f00;

	asm volatile("ldmxcsr %0; xorps %%xmm0, %%xmm0; divps %%xmm0, %%xmm0"
		     : : "m" (mxcsr) : "xmm0");
}

TEST_F(exceptions, simd)
{
	if (!host_has(cause_simd_error, SIGFPE))
		SKIP(return, "this CPU raises no #XM");
	vcpu_load(self->vcpu, MODE_LONG, simd_error);
	guest_u32(self->vm, DATA_GPA) = 0x1f00;		/* invalid operation unmasked */
	EXPECT_EQ(CODE_GPA + code_size(simd_error) - 5, run_vector(self->vcpu, 19)->rip);
}

TEST_F(exceptions, page_fault)
{
	struct guest_trap *trap;

	vcpu_load(self->vcpu, MODE_LONG, page_fault);
	guest_map(self->vm, 0x123000, 0, 0);
	trap = run_vector(self->vcpu, 14);
	EXPECT_EQ(0x123456, trap->cr2);
	EXPECT_EQ(2, trap->error);

	vcpu_load(self->vcpu, MODE_LONG, page_fault);
	guest_map(self->vm, 0x123000, 0x123000, PTE_P);
	trap = run_vector(self->vcpu, 14);
	EXPECT_EQ(0x123456, trap->cr2);
	EXPECT_EQ(3, trap->error);

	vcpu_load(self->vcpu, MODE_LONG, fetch_fault);
	guest_map(self->vm, 0x123000, 0x123000, PTE_P | PTE_RW | PTE_NX);
	trap = run_vector(self->vcpu, 14);
	EXPECT_EQ(0x123456, trap->cr2);
	EXPECT_EQ(0x11, trap->error);
	EXPECT_EQ(0x123456, trap->rip);

	vcpu_load(self->vcpu, MODE_LONG, page_fault);
	guest_map(self->vm, 0x123000, 0x123000, PTE_P | PTE_RW);
	vcpu_set_user(self->vcpu);
	trap = run_vector(self->vcpu, 14);
	EXPECT_EQ(7, trap->error);

	/* A reserved bit: above the guest's physical addresses */
	vcpu_load(self->vcpu, MODE_LONG, page_fault);
	guest_map(self->vm, 0x123000, 1ULL << 51, PTE_P | PTE_RW);
	trap = run_vector(self->vcpu, 14);
	/* Bit 0 belongs to it; an emulated CPU may forget that. */
	EXPECT_EQ(0xa, trap->error & ~1ULL);
}

/* Unaligned data under CR0.AM and EFLAGS.AC, in user mode: the host must not loop on it. */
GUEST_CODE(unaligned, 64,
	   "pushf; orl $0x40000, (%rsp); popf\n"
	   "1: movl $1, DATA_GPA + 1\n"
	   "int $0x40\n");

static void cause_alignment_check(void)
{
	u32 data[2];

	asm volatile("pushf; orl $0x40000, (%%rsp); popf\n"
		     "movl $1, %0\n"
		     "pushf; andl $~0x40000, (%%rsp); popf"
		     : "=m" (*(u32 *)((u8 *)data + 1)));
}

TEST_F(exceptions, alignment_check)
{
	struct guest_trap *trap;

	if (!host_has(cause_alignment_check, SIGBUS))
		SKIP(return, "this CPU raises no #AC");
	vcpu_load(self->vcpu, MODE_LONG, unaligned);
	self->vcpu->state.control.cr0 |= CR0_AM;
	vcpu_set(self->vcpu, VMM_STATE_CONTROL);
	vcpu_set_user(self->vcpu);
	trap = run_vector(self->vcpu, 17);
	EXPECT_EQ(0, trap->error);
	EXPECT_EQ(CODE_GPA + 9, trap->rip);
}

GUEST_CODE(overflow32, 32, "mov $0x7f, %al; add $1, %al; into; nop\n");
GUEST_CODE(bound32, 32, "mov $7, %eax; bound %eax, DATA_GPA\n");

TEST_F(exceptions, of_old_instructions)
{
	vcpu_load(self->vcpu, MODE_PROTECTED, overflow32);
	EXPECT_EQ(CODE_GPA + 5, run_vector(self->vcpu, 4)->rip);
	vcpu_load(self->vcpu, MODE_PROTECTED, bound32);
	guest_u64(self->vm, DATA_GPA) = 0;
	EXPECT_EQ(CODE_GPA + 5, run_vector(self->vcpu, 5)->rip);
}

/* ---- injected by the VMM ---- */

GUEST_CODE(counting, 64,
	   "1: mov %ecx, %eax; out %eax, $PORT_VALUE; inc %ecx; jmp 1b\n");

TEST_F(exceptions, inject_every_vector)
{
	struct vcpu *vcpu = self->vcpu;
	struct guest_trap *trap;
	int vector;

	/* Those above belong to features that guests do not have. */
	for (vector = 0; vector <= 20; vector++) {
		bool error = pushes_error(vector);
		u64 payload = vector == 14 ? 0xdeadbeef000 : vector == 1 ? 0x4000 : 0;

		if (vector == 2)
			continue;
		vcpu_load(vcpu, MODE_LONG, counting);
		EXPECT_EQ(0, run_value(vcpu));
		ASSERT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, vector, error,
					 error ? 0x18 : 0, payload)) TH_LOG("vector %d", vector);
		trap = run_vector(vcpu, vector);
		EXPECT_EQ(error ? 0x18 : 0, trap->error) TH_LOG("vector %d", vector);
		/* Before the instruction behind OUT */
		EXPECT_EQ(CODE_GPA + 4, trap->rip) TH_LOG("vector %d", vector);
		EXPECT_EQ(1, trap->count);
		if (vector == 14)
			EXPECT_EQ(0xdeadbeef000, trap->cr2);
		if (vector == 1) {
			vcpu_get(vcpu, VMM_STATE_DEBUG);
			EXPECT_EQ(0x4000, vcpu->state.debug.dr6 & 0xe00f);
		}
		/* Once: the guest goes on where it was. */
		EXPECT_EQ(1, run_value(vcpu));
	}
}

TEST_F(exceptions, inject_what_no_cpu_has)
{
	struct vcpu *vcpu = self->vcpu;

	EXPECT_EQ(-EINVAL, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 32, false, 0, 0));
	EXPECT_EQ(-EINVAL, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 2, false, 0, 0));
	EXPECT_EQ(-EINVAL, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 3, true, 0, 0));
	EXPECT_EQ(-EINVAL, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 13, false, 0x18, 0));
	EXPECT_EQ(-EINVAL, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 13, true, 0x10000, 0));
	EXPECT_EQ(-EINVAL, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 1, false, 0, 1ULL << 32));
	EXPECT_EQ(-EINVAL, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 1, false, 0, 0x10000));
	/* And nothing of it waits. */
	EXPECT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 1, false, 0, 0xe00f));
}

TEST_F(exceptions, inject_in_other_modes)
{
	static const enum guest_mode modes[] = { MODE_REAL, MODE_PROTECTED, MODE_COMPAT };
	struct vcpu *vcpu = self->vcpu;
	struct guest_trap *trap;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		/* jmp . is the same everywhere. */
		vcpu_load_code(vcpu, modes[i], "\xeb\xfe", 2);
		ASSERT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 13, modes[i] != MODE_REAL,
					 modes[i] != MODE_REAL ? 0x18 : 0, 0));
		trap = run_vector(vcpu, 13);
		EXPECT_EQ(modes[i] == MODE_REAL ? 0 : CODE_GPA, trap->rip);
		EXPECT_EQ(modes[i] == MODE_REAL ? 0 : 0x18, trap->error);
	}
}

TEST_F(exceptions, inject_refused)
{
	static const struct { u8 type, vector, has_error, insn_len; int result; } bad[] = {
		{ VMM_EVENT_EXCEPTION, 2, 0, 0, -EINVAL },
		{ VMM_EVENT_EXCEPTION, 32, 0, 0, -EINVAL },
		{ VMM_EVENT_EXCEPTION, 255, 0, 0, -EINVAL },
		{ VMM_EVENT_EXCEPTION, 6, 1, 0, -EINVAL },
		{ VMM_EVENT_EXCEPTION, 13, 2, 0, -EINVAL },
		{ VMM_EVENT_EXCEPTION, 13, 1, 1, -EINVAL },
		{ VMM_EVENT_NONE, 0, 0, 0, -EINVAL },
		{ VMM_EVENT_SOFT_INT, 0x80, 0, 2, -EINVAL },
		{ VMM_EVENT_SOFT_EXC, 3, 0, 1, -EINVAL },
		{ 99, 3, 0, 0, -EINVAL },
		{ VMM_EVENT_INTERRUPT, 0x20, 1, 0, -EINVAL },
		{ VMM_EVENT_INTERRUPT, 0x20, 0, 1, -EINVAL },
	};
	struct vmm_inject inject = { .size = sizeof(inject) };
	struct vcpu *vcpu = self->vcpu;
	unsigned int i;

	vcpu_load(vcpu, MODE_LONG, counting);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		inject.event.type = bad[i].type;
		inject.event.vector = bad[i].vector;
		inject.event.has_error = bad[i].has_error;
		inject.event.insn_len = bad[i].insn_len;
		EXPECT_EQ(bad[i].result, do_ioctl(vcpu->fd, VMM_INJECT, &inject))
			TH_LOG("event %u", i);
	}
	/* A second one of the kind */
	EXPECT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 6, false, 0, 0));
	EXPECT_EQ(-EBUSY, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 13, true, 0, 0));
	EXPECT_EQ(0, vcpu_interrupt(vcpu, 0x20));
	EXPECT_EQ(-EBUSY, vcpu_interrupt(vcpu, 0x21));
	run_vector(vcpu, 6);
	EXPECT_EQ(1, guest_trap(self->vm)->count);
	EXPECT_EQ(0, run_value(vcpu));
}

/* ---- the way to the handler is not in the second-level table ---- */

/*
 * The guest's memory is a shared file's: MADV_DONTNEED takes the mapping away, not the
 * contents, so that whatever the CPU touches next faults on the host.
 */
static struct vm *file_backed_vm(struct vcpu **vcpu, u32 flags)
{
	struct vm *vm = vm_create(0, flags);
	int fd = memfd_create("guest", MFD_CLOEXEC);

	vm->mem_size = 16 * MIB;
	if (fd < 0 || ftruncate(fd, vm->mem_size))
		fail("memfd: %s", strerror(errno));
	vm->mem = mmap(NULL, vm->mem_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (vm->mem == MAP_FAILED || vm_set_slot(vm, 0, 0, vm->mem_size, vm->mem, 0))
		fail("guest memory of a file: %s", strerror(errno));
	close(fd);
	*vcpu = vcpu_create(vm, 0);
	return vm;
}

static void forget(struct vm *vm, u64 gpa)
{
	if (madvise(guest_ptr(vm, gpa, PAGE), PAGE, MADV_DONTNEED))
		fail("MADV_DONTNEED: %s", strerror(errno));
}

/* All that a delivery reads and writes, one page at a time, then all of them */
static const u64 delivery_pages[] = {
	IDT_GPA, GDT_GPA, STACK_TOP & ~0xfff, STUBS_GPA, TABLES_GPA, TABLES_GPA + PAGE,
	TABLES_GPA + 2 * PAGE,
};

#define NR_PLACES (ARRAY_SIZE(delivery_pages) + 1)

static void forget_place(struct vm *vm, unsigned int place)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(delivery_pages); i++)
		if (i == place || place == NR_PLACES - 1)
			forget(vm, delivery_pages[i]);
}

GUEST_CODE(soft_events, 64,
	   "1: out %al, $PORT_VALUE\n"	/* 0 */
	   "int $0x80\n"			/* 2 */
	   "out %al, $PORT_VALUE\n"	/* 4 */
	   "int3\n"			/* 6 */
	   "out %al, $PORT_VALUE\n"	/* 7 */
	   "2: ud2\n"			/* 9 */
	   "nop\n");

TEST(delivery_faults_soft)
{
	struct guest_trap *trap;
	struct vcpu *vcpu;
	struct vm *vm = file_backed_vm(&vcpu, 0);
	unsigned int place;
	u64 before = 0;

	for (place = 0; place < NR_PLACES; place++) {
		vcpu_load(vcpu, MODE_LONG, soft_events);
		run_value(vcpu);
		forget_place(vm, place);
		trap = run_vector(vcpu, 0x80);
		EXPECT_EQ(CODE_GPA + 4, trap->rip) TH_LOG("place %u", place);
		EXPECT_EQ(1, trap->count) TH_LOG("place %u", place);
		run_value(vcpu);
		forget_place(vm, place);
		trap = run_vector(vcpu, 3);
		EXPECT_EQ(CODE_GPA + 7, trap->rip) TH_LOG("place %u", place);
		EXPECT_EQ(2, trap->count) TH_LOG("place %u", place);
		run_value(vcpu);
		forget_place(vm, place);
		trap = run_vector(vcpu, 6);
		EXPECT_EQ(CODE_GPA + 9, trap->rip) TH_LOG("place %u", place);
		EXPECT_EQ(3, trap->count) TH_LOG("place %u", place);
		EXPECT_EQ(STACK_TOP, trap->rsp) TH_LOG("place %u", place);
	}
	/* Deliveries were interrupted, or this tested nothing. */
	before = get_stat(vcpu->fd, "faults");
	EXPECT_GT(before, 3 * NR_PLACES);
	vm_destroy(vm);
}

TEST(delivery_faults_injected)
{
	struct guest_trap *trap;
	struct vcpu *vcpu;
	struct vm *vm = file_backed_vm(&vcpu, 0);
	unsigned int place;

	for (place = 0; place < NR_PLACES; place++) {
		vcpu_load(vcpu, MODE_LONG, counting);
		vcpu->state.regs.rflags |= FLAG_IF;
		vcpu_set(vcpu, VMM_STATE_REGS);
		run_value(vcpu);

		forget_place(vm, place);
		ASSERT_EQ(0, vcpu_interrupt(vcpu, 0x31));
		trap = run_vector(vcpu, 0x31);
		EXPECT_EQ(CODE_GPA + 4, trap->rip) TH_LOG("place %u", place);
		EXPECT_EQ(1, trap->count) TH_LOG("place %u", place);
		EXPECT_EQ(1, run_value(vcpu));

		forget_place(vm, place);
		ASSERT_EQ(0, vcpu_nmi(vcpu));
		trap = run_vector(vcpu, 2);
		EXPECT_EQ(CODE_GPA + 4, trap->rip) TH_LOG("place %u", place);
		EXPECT_EQ(2, trap->count) TH_LOG("place %u", place);
		EXPECT_EQ(2, run_value(vcpu));

		forget_place(vm, place);
		ASSERT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 14, true, 6, 0x5555000));
		trap = run_vector(vcpu, 14);
		EXPECT_EQ(CODE_GPA + 4, trap->rip) TH_LOG("place %u", place);
		EXPECT_EQ(6, trap->error) TH_LOG("place %u", place);
		EXPECT_EQ(0x5555000, trap->cr2) TH_LOG("place %u", place);
		EXPECT_EQ(3, trap->count) TH_LOG("place %u", place);
		EXPECT_EQ(3, run_value(vcpu));

		/* All three at once: exception, then NMI, then interrupt. */
		forget_place(vm, place);
		ASSERT_EQ(0, vcpu_interrupt(vcpu, 0x32));
		ASSERT_EQ(0, vcpu_nmi(vcpu));
		ASSERT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 6, false, 0, 0));
		run_trap(vcpu);
		forget_place(vm, place);
		run_trap(vcpu);
		forget_place(vm, place);
		run_trap(vcpu);
		EXPECT_EQ(6, guest_trap(vm)->count) TH_LOG("place %u", place);
		EXPECT_EQ(4, run_value(vcpu)) TH_LOG("place %u", place);
	}
	EXPECT_GT(get_stat(vcpu->fd, "reinjections"), 0);
	vm_destroy(vm);
}

/* Interrupts are taken behind the first NOP. */
GUEST_CODE(opens_late, 64,
	   "out %al, $PORT_VALUE\n"	/* 0 */
	   "out %al, $PORT_VALUE\n"	/* 2 */
	   "sti; nop\n"			/* 4 */
	   "1: nop; jmp 1b\n");		/* 6 */

/* From the first value to the second, by way of an exception, with nothing in the LAPIC */
static void begin_lapic(struct vcpu *vcpu, struct vmm_lapic *lapic, u64 rflags)
{
	vcpu->state.lapic = *lapic;
	vcpu->state.regs.rflags |= rflags;
	vcpu_set(vcpu, VMM_STATE_REGS | VMM_STATE_LAPIC);
	run_value(vcpu);
	vcpu_take_exception(vcpu);
	run_value(vcpu);
}

static void send_msi(struct vm *vm, u32 vector)
{
	struct vmm_msi msi = { .size = sizeof(msi), .address = 0xfee00000, .data = vector };

	if (do_ioctl(vm->fd, VMM_SIGNAL_MSI, &msi) != 1)
		fail("no LAPIC takes the message");
}

/* Interrupts of a LAPIC, which a processor may deliver by itself, behind something else */
TEST(delivery_faults_lapic)
{
	struct guest_trap *trap;
	struct vmm_lapic clean;
	struct vcpu *vcpu;
	struct vm *vm = file_backed_vm(&vcpu, VMM_VM_LAPIC);
	unsigned int place;

	vcpu_get(vcpu, VMM_STATE_LAPIC);
	clean = vcpu->state.lapic;
	clean.regs[0xf0 / 4] |= 0x100;
	for (place = 0; place < NR_PLACES; place++) {
		vcpu_load(vcpu, MODE_LONG, counting);
		begin_lapic(vcpu, &clean, FLAG_IF);
		forget_place(vm, place);
		send_msi(vm, 0x51);
		trap = run_vector(vcpu, 0x51);
		EXPECT_EQ(CODE_GPA + 4, trap->rip) TH_LOG("place %u", place);
		EXPECT_EQ(1, trap->count) TH_LOG("place %u", place);
		EXPECT_EQ(2, run_value(vcpu)) TH_LOG("place %u", place);
		vcpu_get(vcpu, VMM_STATE_LAPIC);
		EXPECT_EQ(1 << 17, vcpu->state.lapic.regs[0x120 / 4]) TH_LOG("place %u", place);
		EXPECT_EQ(0, vcpu->state.lapic.regs[0x220 / 4]) TH_LOG("place %u", place);
	}
	vcpu_load(vcpu, MODE_LONG, opens_late);
	begin_lapic(vcpu, &clean, 0);
	forget(vm, IDT_GPA);
	send_msi(vm, 0x51);
	EXPECT_EQ(CODE_GPA + 6, run_vector(vcpu, 0x51)->rip);
	EXPECT_EQ(1, guest_trap(vm)->count);
	vm_destroy(vm);
}

/* The guest's own tables lack the handler's page: its #PF comes instead, and it is told of both. */
TEST_F(exceptions, handler_not_mapped)
{
	struct guest_trap *trap;

	/* The stack of a change of level is not present: #DF, and its own stack by IST. */
	vcpu_load(self->vcpu, MODE_LONG, page_fault);
	guest_map(self->vm, 0x123000, 0, 0);
	guest_map(self->vm, 0x200000, 0, 0);
	vcpu_set_user(self->vcpu);
	guest_u64(self->vm, TSS_GPA + 4) = 0x200800;
	guest_u64(self->vm, TSS_GPA + 0x24) = STACK_TOP;
	guest_u32(self->vm, IDT_GPA + 16 * 8 + 4) |= 1;
	trap = run_vector(self->vcpu, 8);
	EXPECT_EQ(0, trap->error);
	EXPECT_EQ(CODE_GPA + 5, trap->rip);
	EXPECT_EQ(0x2007f8, trap->cr2);
}

/* ---- double and triple faults ---- */

GUEST_CODE(twice_bad_selector, 64,
	   /* The first brings in what a delivery touches. */
	   "int $0x40; mov $0xfff8, %eax; mov %eax, %ds\n");

/* A gate that is not present: contributory faults pair up, the others come one after another. */
TEST_F(exceptions, double_fault)
{
	struct guest_trap *trap;

	/* #GP whose gate gives #NP: #DF */
	vcpu_load(self->vcpu, MODE_LONG, twice_bad_selector);
	guest_u64(self->vm, IDT_GPA + 16 * 13) &= ~(1ULL << 47);
	run_vector(self->vcpu, 0x40);
	trap = run_vector(self->vcpu, 8);
	EXPECT_EQ(0, trap->error);

	/* #UD, which is benign: only #NP */
	vcpu_load(self->vcpu, MODE_LONG, undefined);
	guest_u64(self->vm, IDT_GPA + 16 * 6) &= ~(1ULL << 47);
	trap = run_vector(self->vcpu, 11);
	EXPECT_EQ(2, trap->error & 2);
	EXPECT_EQ(CODE_GPA, trap->rip);

	/*
	 * The same for an injected one; an emulated CPU may forget that the first was injected,
	 * and deliver the second.
	 */
	vcpu_load(self->vcpu, MODE_LONG, counting);
	guest_u64(self->vm, IDT_GPA + 16 * 13) &= ~(1ULL << 47);
	ASSERT_EQ(0, vcpu_inject(self->vcpu, VMM_EVENT_EXCEPTION, 13, true, 0, 0));
	trap = run_trap(self->vcpu);
	EXPECT_TRUE(trap->vector == 8 || trap->vector == 11);
	EXPECT_EQ(CODE_GPA, trap->rip);
}

/*
 * An exception whose delivery an exit has broken off, and one that the VMM adds: what such a pair
 * becomes. 0 is a shutdown.
 */
TEST_F(exceptions, pairs)
{
	static const struct { u8 first, second, seen; } pairs[] = {
		{ 13, 13, 8 }, { 13, 11, 8 }, { 10, 12, 8 }, { 0, 13, 8 },
		{ 14, 13, 8 }, { 14, 14, 8 }, { 14, 6, 6 },
		{ 13, 14, 14 }, { 13, 6, 6 }, { 6, 13, 13 }, { 6, 14, 14 }, { 3, 6, 6 },
		{ 8, 13, 0 }, { 8, 14, 0 }, { 8, 6, 6 },
	};
	struct vcpu *vcpu = self->vcpu;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct vmm_events *events = &vcpu->state.events;
		u8 first = pairs[i].first, second = pairs[i].second;

		TH_LOG("%u, then %u", first, second);
		vcpu_load(vcpu, MODE_LONG, counting);
		memset(events, 0, sizeof(*events));
		events->interrupted = (struct vmm_event) {
			.type = VMM_EVENT_EXCEPTION, .vector = first,
			.has_error = pushes_error(first),
		};
		vcpu_set(vcpu, VMM_STATE_EVENTS);
		ASSERT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, second, pushes_error(second),
					 pushes_error(second) ? 0x20 : 0, 0));
		if (!pairs[i].seen) {
			run_until(vcpu, VMM_EXIT_SHUTDOWN);
			continue;
		}
		EXPECT_EQ(pairs[i].seen == 8 || !pushes_error(second) ? 0 : 0x20,
			  run_vector(vcpu, pairs[i].seen)->error);
		/* The first is gone with its instruction, which would cause it again. */
		EXPECT_EQ(0, run_value(vcpu));
	}
}

TEST_F(exceptions, shutdown)
{
	struct vcpu *vcpu = self->vcpu;

	vcpu_load(vcpu, MODE_LONG, undefined);
	vcpu->state.segments.seg[VMM_IDTR].limit = 0;
	vcpu_set(vcpu, VMM_STATE_SEGMENTS);
	run_until(vcpu, VMM_EXIT_SHUTDOWN);
	vcpu_get(vcpu, VMM_STATE_EVENTS | VMM_STATE_REGS);
	EXPECT_EQ(VMM_MP_SHUTDOWN, vcpu->state.events.mp_state);
	/* It stays so until its state is set. */
	run_until(vcpu, VMM_EXIT_SHUTDOWN);
	run_until(vcpu, VMM_EXIT_SHUTDOWN);

	vcpu_load(vcpu, MODE_LONG, counting);
	memset(&vcpu->state.events, 0, sizeof(vcpu->state.events));
	vcpu_set(vcpu, VMM_STATE_EVENTS);
	EXPECT_EQ(0, run_value(vcpu));
	EXPECT_EQ(1, run_value(vcpu));
}

/* An injected exception without any IDT is a shutdown, not a loop. */
TEST_F(exceptions, shutdown_by_injection)
{
	struct vcpu *vcpu = self->vcpu;

	vcpu_load(vcpu, MODE_LONG, counting);
	vcpu->state.segments.seg[VMM_IDTR].limit = 0;
	vcpu_set(vcpu, VMM_STATE_SEGMENTS);
	ASSERT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 13, true, 0, 0));
	run_until(vcpu, VMM_EXIT_SHUTDOWN);
}

/* The tables of the handlers lie where there is no memory: an end, and soon. */
TEST_F(exceptions, idt_in_nowhere)
{
	struct vcpu *vcpu = self->vcpu;
	int i;

	vcpu_load(vcpu, MODE_LONG, undefined);
	vcpu->state.segments.seg[VMM_IDTR].base = MMIO_GPA;
	vcpu_set(vcpu, VMM_STATE_SEGMENTS);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, vcpu_run(vcpu));
		EXPECT_NE(VMM_EXIT_IO, vcpu->run->exit.reason);
	}
}

GUEST_CODE(beyond_gdt, 64,
	   "mov $0x1238, %eax; mov %eax, %ds\n");

/* An error code is that of the delivery that was broken off, not of one before. */
TEST_F(exceptions, broken_off)
{
	struct vcpu *vcpu = self->vcpu;
	struct vmm_events *events = &vcpu->state.events;
	const struct vmm_event *interrupted = &events->interrupted;
	int i;

	for (i = 0; i < 4; i++) {
		bool first = i < 2;

		/* By its instruction, then by an injection of what was broken off */
		if (i % 2 == 0) {
			memset(events, 0, sizeof(*events));
			vcpu_set(vcpu, VMM_STATE_EVENTS);
			if (first)
				vcpu_load(vcpu, MODE_LONG, beyond_gdt);
			else
				vcpu_load(vcpu, MODE_LONG, divide);
			vcpu->state.segments.seg[VMM_IDTR].base = MMIO_GPA;
			vcpu_set(vcpu, VMM_STATE_SEGMENTS);
		}
		ASSERT_EQ(0, vcpu_run(vcpu));
		vcpu_get(vcpu, VMM_STATE_EVENTS);
		EXPECT_EQ(VMM_EVENT_EXCEPTION, interrupted->type);
		EXPECT_EQ(first ? 13 : 0, interrupted->vector);
		EXPECT_EQ(first, interrupted->has_error);
		EXPECT_EQ(first ? 0x1238 : 0, interrupted->error);
		EXPECT_EQ(0, vcpu_try_set(vcpu, VMM_STATE_EVENTS));
	}
}

TEST_HARNESS_MAIN
