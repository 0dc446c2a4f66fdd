// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM is saved, destroyed, made anew and restored at every exit, before or
 * after the VMM has answered it: the guest ends with the same memory,
 * registers and talk to its devices as in a run without that.
 */
/* hosts: deterministic */
/* not: amd-deterministic-debug moving a VM at each exit takes too long there */
/* timeout: 240 */
#include <signal.h>
#include <sys/time.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define MEMORY		(1 * MIB)
#define PORT_COMMAND	0xf0
asm(".set PORT_COMMAND, 0xf0\n");

/* What a guest asks of the VMM at PORT_COMMAND */
#define INTERRUPT_PLEASE	1
#define NMI_PLEASE		2
#define UD_PLEASE		3
#define WINDOW_PLEASE		4
#define PF_PLEASE		5

struct scenario {
	const char *name;
	enum guest_mode mode;
	const u8 *code;
	const u8 *end;
	u32 flags;			/* VMM_VM_* */
	u64 exits;			/* VMM_EXITS_* */
	void (*prepare)(struct vcpu *vcpu);
	bool timed;			/* when interrupts come depends on the clock */
};

/* When the VM is moved to a new one */
enum moment { NEVER, BEFORE_ANSWER, AFTER_ANSWER, WHEN_INTERRUPTED };

/* The VMM's side, which lives on */
struct world {
	const struct scenario *scenario;
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *xsave;
	u32 counter;			/* of answers given: each is another */
	u64 digest;			/* of all that the guest said */
	u32 exits;
	u32 moves;
	bool want_window;
	bool nmi_repeated;
};

static void fail_in(struct world *w, const char *what)
{
	vcpu_print(w->vcpu);
	fail("%s, exit %u: %s", w->scenario->name, w->exits, what);
}

/* ---- a VM and its copy ---- */

static void create(struct world *w)
{
	struct vmm_exits exits = { .size = sizeof(exits), .exits = w->scenario->exits };
	struct vmm_msr_policy policy = {
		.size = sizeof(policy), .flags = VMM_MSR_POLICY_UNKNOWN_EXIT,
	};

	w->vm = vm_create(MEMORY, w->scenario->flags);
	if (do_ioctl(w->vm->fd, VMM_SET_MSR_POLICY, &policy))
		fail("VMM_SET_MSR_POLICY");
	w->vcpu = vcpu_create(w->vm, 0);
	w->vcpu->timeout_ms = 30000;
	if (do_ioctl(w->vcpu->fd, VMM_SET_EXITS, &exits))
		fail("VMM_SET_EXITS");
}

static u64 vcpu_groups(const struct world *w)
{
	return w->scenario->flags & VMM_VM_LAPIC ? VMM_STATE_ALL : VMM_STATE_ALL &
	       ~VMM_STATE_LAPIC;
}

static u64 vm_groups(const struct world *w)
{
	u64 groups = VMM_VM_STATE_CLOCK;

	if (w->scenario->flags & VMM_VM_PIC)
		groups |= VMM_VM_STATE_PIC;
	if (w->scenario->flags & VMM_VM_PIT)
		groups |= VMM_VM_STATE_PIT;
	if (w->scenario->flags & VMM_VM_IOAPIC)
		groups |= VMM_VM_STATE_IOAPIC;
	return groups;
}

static void get_all(struct world *w)
{
	struct vmm_state *state = &w->vcpu->state;

	state->xsave = (struct vmm_xsave) {
		.area = (uintptr_t)w->xsave, .area_size = w->vm->info.xsave_size,
	};
	vcpu_get(w->vcpu, vcpu_groups(w));
}

/* Nothing of the old VM is left when the new one begins. */
static void move(struct world *w)
{
	static struct vmm_vm_state controllers;
	static struct vmm_state state;
	u64 tables = w->vm->tables;
	u8 *memory = malloc(MEMORY);
	int mode = w->vm->mode;

	get_all(w);
	state = w->vcpu->state;
	controllers.size = sizeof(controllers);
	controllers.groups = vm_groups(w);
	if (do_ioctl(w->vm->fd, VMM_GET_VM_STATE, &controllers))
		fail("VMM_GET_VM_STATE");
	memcpy(memory, w->vm->mem, MEMORY);
	vm_destroy(w->vm);

	create(w);
	w->vm->mode = mode;
	w->vm->tables = tables;
	memcpy(w->vm->mem, memory, MEMORY);
	free(memory);
	w->vcpu->state = state;
	vcpu_set(w->vcpu, vcpu_groups(w));
	if (do_ioctl(w->vm->fd, VMM_SET_VM_STATE, &controllers))
		fail("VMM_SET_VM_STATE");
	w->moves++;
}

/* ---- the VMM's devices: what they say depends on nothing but how often they were asked ---- */

static u64 next_answer(struct world *w)
{
	u64 x = ++w->counter * 0x9e3779b97f4a7c15ULL;

	return x ^ (x >> 29);
}

static void note(struct world *w, u64 what)
{
	w->digest = (w->digest ^ what) * 0x100000001b3ULL;
}

static void do_string(struct world *w, const struct vmm_exit *e)
{
	struct vmm_regs *regs = &w->vcpu->state.regs;
	u64 i, at, step = e->rflags & FLAG_DF ? -(u64)e->io.size : e->io.size;

	for (i = 0; i < e->io.count; i++) {
		at = e->io.address + i * step;
		if (e->io.in) {
			u64 data = next_answer(w);

			memcpy(guest_ptr(w->vm, at, e->io.size), &data, e->io.size);
		} else {
			u64 data = 0;

			memcpy(&data, guest_ptr(w->vm, at, e->io.size), e->io.size);
			note(w, data);
		}
	}
	vcpu_get(w->vcpu, VMM_STATE_REGS);
	regs->gpr[e->io.in ? VMM_RDI : VMM_RSI] += step * e->io.count;
	if (e->io.rep)
		regs->gpr[VMM_RCX] = 0;
	regs->rip = e->next_rip;
	vcpu_set(w->vcpu, VMM_STATE_REGS);
}

static void inject(struct world *w, u8 type, u8 vector, bool has_error, u32 error, u64 payload)
{
	int ret = vcpu_inject(w->vcpu, type, vector, has_error, error, payload);

	if (ret)
		fail_in(w, strerror(-ret));
}

static void do_command(struct world *w, u32 command)
{
	switch (command) {
	case INTERRUPT_PLEASE:
		inject(w, VMM_EVENT_INTERRUPT, 0x40, false, 0, 0);
		break;
	case NMI_PLEASE:
		inject(w, VMM_EVENT_NMI, 2, false, 0, 0);
		break;
	case UD_PLEASE:
		inject(w, VMM_EVENT_EXCEPTION, 6, false, 0, 0);
		break;
	case WINDOW_PLEASE:
		w->want_window = true;
		break;
	case PF_PLEASE:
		inject(w, VMM_EVENT_EXCEPTION, 14, true, 2, 0x7777000);
		break;
	}
}

/* Within the handler of an NMI another comes, and an interrupt: both must wait. */
static void do_trap(struct world *w)
{
	struct guest_trap *trap = guest_trap(w->vm);

	note(w, trap->vector);
	note(w, trap->error);
	note(w, trap->rip);
	note(w, trap->cr2);
	if (trap->vector == 2 && !w->nmi_repeated) {
		w->nmi_repeated = true;
		inject(w, VMM_EVENT_NMI, 2, false, 0, 0);
		inject(w, VMM_EVENT_INTERRUPT, 0x42, false, 0, 0);
	}
}

static void do_cpuid(struct world *w)
{
	u64 *gpr = w->vcpu->state.regs.gpr;

	vcpu_get(w->vcpu, VMM_STATE_REGS);
	note(w, gpr[VMM_RAX]);
	gpr[VMM_RAX] = (u32)next_answer(w);
	gpr[VMM_RBX] = (u32)next_answer(w);
	gpr[VMM_RCX] = (u32)next_answer(w);
	gpr[VMM_RDX] = (u32)next_answer(w);
	vcpu_set(w->vcpu, VMM_STATE_REGS);
}

/* Answers the exit @e, a copy: the vCPU may be another one by now. False at the guest's end */
static bool answer(struct world *w, const struct vmm_exit *e)
{
	struct vmm_exit *to = &w->vcpu->run->exit;

	note(w, e->reason);
	note(w, e->rip);
	switch (e->reason) {
	case VMM_EXIT_IO:
		note(w, e->io.port | (u64)e->io.size << 16);
		if (e->io.string) {
			note(w, e->io.count);
			do_string(w, e);
		} else if (e->io.in) {
			to->io.data = next_answer(w);
		} else {
			note(w, e->io.data);
			if (e->io.port == PORT_DONE)
				return false;
			if (e->io.port == PORT_TRAP)
				do_trap(w);
			if (e->io.port == PORT_COMMAND)
				do_command(w, e->io.data);
		}
		return true;
	case VMM_EXIT_MMIO:
		note(w, e->mmio.gpa | (u64)e->mmio.size << 56);
		if (e->mmio.write)
			note(w, e->mmio.data);
		else
			to->mmio.data = next_answer(w);
		return true;
	case VMM_EXIT_MSR:
		note(w, e->msr.index);
		if (e->msr.write)
			note(w, e->msr.data);
		else
			to->msr.data = next_answer(w);
		/* Every odd one does not exist. */
		to->msr.fault = e->msr.index & 1;
		return true;
	case VMM_EXIT_HYPERCALL:
		note(w, e->hypercall.nr);
		note(w, e->hypercall.args[3]);
		to->hypercall.ret = next_answer(w);
		return true;
	case VMM_EXIT_CPUID:
		do_cpuid(w);
		return true;
	case VMM_EXIT_INTERRUPT_WINDOW:
		w->want_window = false;
		inject(w, VMM_EVENT_INTERRUPT, 0x41, false, 0, 0);
		return true;
	case VMM_EXIT_HLT:
		inject(w, VMM_EVENT_INTERRUPT, 0x43, false, 0, 0);
		return true;
	}
	fail_in(w, "an exit that was not expected");
	return false;
}

/* ---- one run ---- */

#define MAX_LOG		1024

struct result {
	u64 digest;
	u64 memory;
	u32 exits;
	u32 moves;
	struct vmm_state state;
	u8 xsave[8192];
	struct {
		u64 digest;
		u64 rip;
		u32 reason;
	} log[MAX_LOG];
};

static u64 digest_of(const u8 *bytes, size_t size)
{
	u64 digest = 0xcbf29ce484222325ULL;
	size_t i;

	for (i = 0; i < size; i += 8)
		digest = (digest ^ *(const u64 *)(bytes + i)) * 0x100000001b3ULL;
	return digest;
}

static void run_scenario(const struct scenario *scenario, enum moment moment,
			 struct result *result)
{
	const struct itimerval soon = { .it_value = { 0, 700 * host_slower() } }, never = {};
	struct world w = { .scenario = scenario };
	bool more = true;
	int ret;

	memset(result, 0, sizeof(*result));
	w.xsave = result->xsave;
	create(&w);
	if (w.vm->info.xsave_size > sizeof(result->xsave))
		fail("an XSAVE area of %u bytes", w.vm->info.xsave_size);
	vcpu_load_code(w.vcpu, scenario->mode, scenario->code, scenario->end - scenario->code);
	if (scenario->prepare)
		scenario->prepare(w.vcpu);

	if (moment == WHEN_INTERRUPTED)
		setitimer(ITIMER_REAL, &soon, NULL);
	while (more) {
		struct vmm_exit e;

		w.vcpu->run->interrupt_window = w.want_window;
		ret = vcpu_run(w.vcpu);
		if (ret == -EINTR && moment == WHEN_INTERRUPTED) {
			move(&w);
			setitimer(ITIMER_REAL, &soon, NULL);
			continue;
		}
		if (ret)
			fail_in(&w, strerror(-ret));
		w.exits++;
		e = w.vcpu->run->exit;
		if (moment == BEFORE_ANSWER)
			move(&w);
		more = answer(&w, &e);
		if (moment == AFTER_ANSWER)
			move(&w);
		if (w.exits < MAX_LOG) {
			result->log[w.exits].digest = w.digest;
			result->log[w.exits].rip = e.rip;
			result->log[w.exits].reason = e.reason;
		}
	}

	setitimer(ITIMER_REAL, &never, NULL);
	get_all(&w);
	result->digest = w.digest;
	result->memory = digest_of(w.vm->mem, MEMORY);
	result->exits = w.exits;
	result->moves = w.moves;
	result->state = w.vcpu->state;
	/* Time has gone on. */
	result->state.msrs.tsc_offset = 0;
	result->state.lapic.timer_remaining_ns = 0;
	result->state.lapic.tsc_deadline = 0;
	result->state.lapic.regs[0x390 / 4] = 0;
	result->state.xsave.area = 0;
	vm_destroy(w.vm);
}

/* The first exit at which two runs were not the same */
static void print_difference(const struct result *quiet, const struct result *moved)
{
	u32 i;

	for (i = 1; i < MAX_LOG && i <= quiet->exits && i <= moved->exits; i++) {
		if (quiet->log[i].digest == moved->log[i].digest)
			continue;
		fprintf(stderr, "# exit %u: %s at %#llx, without moves %s at %#llx\n", i,
			exit_name(moved->log[i].reason), moved->log[i].rip,
			exit_name(quiet->log[i].reason), quiet->log[i].rip);
		return;
	}
}

/* Of a run without moves and of the present one with them */
static struct result quiet, moved;

#define AT(group)	offsetof(struct vmm_state, group)
static const struct {
	const char *name;
	size_t begin, end;
} groups[] = {
	{ "segments", AT(segments), AT(control) },
	{ "control", AT(control), AT(debug) },
	{ "debug", AT(debug), AT(events) },
	{ "pending", AT(pending), AT(msrs) },
	{ "msrs", AT(msrs), AT(lapic) },
	/* These depend on when interrupts come. */
	{ "regs", AT(regs), AT(segments) },
	{ "events", AT(events), AT(pending) },
};

static void compare_groups(struct __test_metadata *_metadata, unsigned int count)
{
	const u8 *one = (const u8 *)&quiet.state, *two = (const u8 *)&moved.state;
	unsigned int i;

	for (i = 0; i < count; i++) {
		EXPECT_EQ(0, memcmp(one + groups[i].begin, two + groups[i].begin,
				    groups[i].end - groups[i].begin))
			TH_LOG("%s", groups[i].name);
	}
}

static void check(struct __test_metadata *_metadata, const struct scenario *scenario)
{
	enum moment moment;

	run_scenario(scenario, NEVER, &quiet);
	EXPECT_EQ(0, quiet.moves);
	EXPECT_GT(quiet.exits, 5);
	for (moment = BEFORE_ANSWER; moment <= AFTER_ANSWER; moment++) {
		run_scenario(scenario, moment, &moved);
		TH_LOG("%s: %u exits, %u moves", scenario->name, moved.exits, moved.moves);
		EXPECT_EQ(moved.exits, moved.moves);
		compare_groups(_metadata, ARRAY_SIZE(groups) - (scenario->timed ? 2 : 0));
		EXPECT_EQ(0, memcmp(quiet.xsave, moved.xsave, sizeof(quiet.xsave)));
		if (scenario->timed)
			continue;
		EXPECT_EQ(quiet.digest, moved.digest)
			print_difference(&quiet, &moved);
		EXPECT_EQ(quiet.memory, moved.memory);
		EXPECT_EQ(quiet.exits, moved.exits);
	}
}

FIXTURE(saverestore) {
	int unused;
};

FIXTURE_SETUP(saverestore)
{
}

FIXTURE_TEARDOWN(saverestore)
{
}

/* ---- the guests ---- */

#define LOOP(count, body) \
	"mov $" #count ", %r15d\n9: " body "dec %r15d; jnz 9b\n"

GUEST_CODE(guest_ports, 64,
	   "mov $0x1f0, %edx; mov $DATA_GPA + 0x1000, %edi\n"
	   LOOP(3,
		"in $PORT_VALUE, %al; stosq; in $PORT_VALUE, %ax; stosq\n"
		"in $PORT_VALUE, %eax; stosq; in (%dx), %eax; stosq\n"
		"out %al, $PORT_VALUE; out %ax, $PORT_VALUE; out %eax, $PORT_VALUE\n"
		"insb; insw; insl; mov $5, %ecx; rep insb\n"
		"mov $7, %ecx; rep insl\n"
		"mov $DATA_GPA + 0x1003, %esi; outsb; outsw; mov $9, %ecx; rep outsl\n"
		"std; mov $4, %ecx; rep outsw; cld\n"
		"in (%dx), %al; mov %eax, %eax; add %rax, %r14\n")
	   "out %al, $PORT_DONE\n");

static const struct scenario ports = {
	.name = "ports", .mode = MODE_LONG,
	.code = guest_ports, .end = guest_ports_end,
};

TEST_F_TIMEOUT(saverestore, ports, 60)
{
	check(_metadata, &ports);
}

GUEST_CODE(guest_ports16, 16,
	   "mov $0x1f0, %dx; mov $0x100, %di; mov $0x80, %si; mov $3, %bp\n"
	   "1: in $PORT_VALUE, %al; in $PORT_VALUE, %ax; mov %ax, 0x20\n"
	   "in $PORT_VALUE, %eax; mov %eax, 0x24\n"
	   "push %es; push %ds; pop %es; mov $6, %cx; rep insw; pop %es\n"
	   "mov $3, %cx; rep outsb; out %al, $PORT_VALUE\n"
	   "int $0x60\n"
	   "dec %bp; jnz 1b\n"
	   "out %al, $PORT_DONE\n");

static const struct scenario ports16 = {
	.name = "ports16", .mode = MODE_REAL,
	.code = guest_ports16, .end = guest_ports16_end,
};

TEST_F_TIMEOUT(saverestore, ports16, 60)
{
	check(_metadata, &ports16);
}

/* Every way in which an MMIO instruction can be half done */
GUEST_CODE(guest_device, 64,
	   "mov $MMIO_GPA, %ebx\n"
	   LOOP(2,
		"mov (%rbx), %rax; mov %rax, DATA_GPA; movzbl 4(%rbx), %ecx; movsbq 5(%rbx), %rdx\n"
		"mov %cl, 8(%rbx); mov %rdx, 16(%rbx); movl $77, (%rbx)\n"
		"addl $3, (%rbx); orb $1, (%rbx); xorq %rdx, (%rbx); lock; subw $5, 2(%rbx)\n"
		"xchg %eax, (%rbx); mov %rax, DATA_GPA + 8; cmpl $0, (%rbx); setc DATA_GPA + 16\n"
		"btsl $7, (%rbx); setc DATA_GPA + 17; testb $1, (%rbx); setz DATA_GPA + 18\n"
		/* across a page boundary, in both directions */
		"mov 0xffd(%rbx), %eax; mov %rax, DATA_GPA + 24; addl $9, 0xffe(%rbx)\n"
		/* strings: to memory, from memory, within the device */
		"mov %rbx, %rsi; mov $DATA_GPA + 0x100, %edi; mov $5, %ecx; rep movsl\n"
		"mov $DATA_GPA + 0x100, %esi; mov %rbx, %rdi; mov $9, %ecx; rep movsb\n"
		"mov %rbx, %rsi; lea 0x800(%rbx), %rdi; mov $3, %ecx; rep movsq\n"
		"mov %rbx, %rdi; mov $6, %ecx; rep stosw; std; movsl; cld\n")
	   "out %al, $PORT_DONE\n");

static const struct scenario device = {
	.name = "device", .mode = MODE_LONG,
	.code = guest_device, .end = guest_device_end,
};

TEST_F_TIMEOUT(saverestore, device, 60)
{
	check(_metadata, &device);
}

GUEST_CODE(guest_modes, 16,
	   "in $PORT_VALUE, %ax; mov %ax, 0\n"
	   "lgdt %cs:(8f - guest_modes)\n"
	   "mov %cr0, %eax; or $1, %eax; mov %eax, %cr0; in $PORT_VALUE, %al\n"
	   "ljmpl $SEL_CODE32, $(1f - guest_modes + CODE_GPA)\n"
	   ".code32\n"
	   "1: mov $SEL_DATA, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss\n"
	   "in $PORT_VALUE, %eax; mov %eax, DATA_GPA + 4\n"
	   "mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4\n"
	   "mov $TABLES_GPA, %eax; mov %eax, %cr3\n"
	   "mov $0xc0000080, %ecx; rdmsr; or $0x900, %eax; wrmsr; in $PORT_VALUE, %al\n"
	   "mov %cr0, %eax; or $0x80010000, %eax; mov %eax, %cr0; in $PORT_VALUE, %al\n"
	   "ljmp $SEL_CODE64, $(2f - guest_modes + CODE_GPA)\n"
	   ".code64\n"
	   "2: in $PORT_VALUE, %eax; mov %rax, DATA_GPA + 8; mov $SEL_TSS, %eax; ltr %ax\n"
	   "out %al, $PORT_VALUE\n"
	   "mov %cr4, %rax; or $0x80, %rax; mov %rax, %cr4; in $PORT_VALUE, %al\n"
	   "mov $0x55, %eax; mov %rax, %dr0; in $PORT_VALUE, %al\n"
	   "pushq $SEL_CODE32; pushq $(3f - guest_modes + CODE_GPA); lretq\n"
	   ".code32\n"
	   "3: in $PORT_VALUE, %eax; mov %eax, DATA_GPA + 16\n"
	   "mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0; in $PORT_VALUE, %al\n"
	   "rdmsr; and $~0x900, %eax; wrmsr; in $PORT_VALUE, %al\n"
	   "ljmp $SEL_CODE16, $(4f - guest_modes)\n"
	   ".code16\n"
	   "4: in $PORT_VALUE, %al; mov $SEL_DATA16, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss\n"
	   "mov %cr0, %eax; and $~1, %eax; mov %eax, %cr0; in $PORT_VALUE, %al\n"
	   "ljmp $(CODE_GPA >> 4), $(5f - guest_modes)\n"
	   "5: in $PORT_VALUE, %ax; mov $(DATA_GPA >> 4), %bx; mov %bx, %ds; mov %ax, 20\n"
	   "out %al, $PORT_DONE\n"
	   "8: .word 0xff; .long GDT_GPA\n");

static void prepare_modes(struct vcpu *vcpu)
{
	vcpu_set_mode(vcpu, MODE_LONG);
	/* The guest loads TR itself: it must not be busy. */
	vcpu_set_mode(vcpu, MODE_REAL);
	guest_u8(vcpu->vm, GDT_GPA + SEL_TSS + 5) = 0x89;
}

static const struct scenario modes = {
	.name = "modes", .mode = MODE_REAL,
	.code = guest_modes, .end = guest_modes_end,
	.prepare = prepare_modes,
};

TEST_F_TIMEOUT(saverestore, modes, 60)
{
	check(_metadata, &modes);
}

GUEST_CODE(guest_events, 64,
	   LOOP(2,
		/* an interrupt that waits for STI; a window that the VMM waits for */
		"mov $1, %al; out %al, $PORT_COMMAND; sti; nop; cli\n"
		"mov $4, %al; out %al, $PORT_COMMAND; in $PORT_VALUE, %al; sti; nop; nop; cli\n"
		/* NMIs, one in the other's handler */
		"mov $2, %al; out %al, $PORT_COMMAND; nop; sti; nop; cli\n"
		/* exceptions from outside, and the guest's own */
		"mov $3, %al; out %al, $PORT_COMMAND; mov $5, %al; out %al, $PORT_COMMAND\n"
		"int3; int $0x80; xor %eax, %eax\n"
		/* a shadow, with an exit inside it */
		"mov $1, %al; out %al, $PORT_COMMAND; sti; in $PORT_VALUE, %al; cli\n"
		"mov $1, %al; out %al, $PORT_COMMAND; mov %ss, %ecx; mov %ecx, %ss\n"
		"sti; mov %ecx, %ss\n"
		"in $PORT_VALUE, %al; cli\n"
		/* all at once */
		"mov $1, %al; out %al, $PORT_COMMAND; mov $2, %al; out %al, $PORT_COMMAND\n"
		"mov $3, %al; out %al, $PORT_COMMAND; sti; nop; cli\n"
		"sti; hlt; cli\n"
		/* a trap behind an instruction that leaves */
		"pushf; orl $0x100, (%rsp); popf; in $PORT_VALUE, %al; nop\n"
		"pushf; andl $~0x100, (%rsp); popf\n")
	   "out %al, $PORT_DONE\n");

static const struct scenario events = {
	.name = "events", .mode = MODE_LONG,
	.code = guest_events, .end = guest_events_end,
};

TEST_F_TIMEOUT(saverestore, events, 60)
{
	check(_metadata, &events);
}

GUEST_CODE(guest_calls, 64,
	   LOOP(3,
		"mov $0x12345678, %ecx; rdmsr; mov %eax, DATA_GPA; mov %edx, DATA_GPA + 4; wrmsr\n"
		/* #GP by the VMM: the handler goes on behind the two-byte instruction. */
		"mov $0x12345679, %ecx; rdmsr; wrmsr\n"
		"mov %r15, %rax; xor %ebx, %ebx; mov %rsp, %rsi; vmmcall; mov %rax, DATA_GPA + 8\n"
		"mov $7, %eax; mov $1, %ecx; cpuid; mov %rax, DATA_GPA + 16\n"
		"mov %rdx, DATA_GPA + 24\n"
		/* what the module handles itself must move, too */
		"mov $0xc0000082, %ecx; rdmsr; inc %eax; wrmsr\n"
		"mov $0xc0000102, %ecx; rdmsr; add $16, %eax; wrmsr\n"
		"mov $0x277, %ecx; rdmsr; rol $8, %eax; wrmsr\n"
		"mov %cr2, %rax; add $0x1000, %rax; mov %rax, %cr2\n"
		"mov %dr1, %rax; add $3, %rax; mov %rax, %dr1; mov $0x400, %eax; mov %rax, %dr7\n"
		"mov %cr8, %rax; inc %rax; mov %rax, %cr8; in $PORT_VALUE, %al\n"
		"mov %cr0, %rax; xor $8, %rax; mov %rax, %cr0; in $PORT_VALUE, %al\n")
	   "mov $0xc0000082, %ecx; rdmsr; out %eax, $PORT_VALUE\n"
	   "out %al, $PORT_DONE\n");

/* Here #GP's handler skips what faulted: add $2 to the saved RIP. */
GUEST_CODE(skip_two, 64, "addq $2, 8(%rsp); add $8, %rsp; iretq\n");

/* VMMCALL is AMD's; Intel's VMCALL differs in the last byte. */
static void use_vendor_hypercall(struct vm *vm, size_t size)
{
	u8 *code = guest_ptr(vm, CODE_GPA, size);
	u8 *insn = memmem(code, size, "\x0f\x01\xd9", 3);

	if (insn && vm->info.vendor == VMM_VENDOR_INTEL)
		insn[2] = 0xc1;
}

static void prepare_calls(struct vcpu *vcpu)
{
	u64 stub = STUBS_GPA + 16 * 13;

	if (code_size(skip_two) > 16)
		fail("a stub of %zu bytes", code_size(skip_two));
	memcpy(guest_ptr(vcpu->vm, stub, 16), skip_two, code_size(skip_two));
	use_vendor_hypercall(vcpu->vm, code_size(guest_calls));
}

static const struct scenario calls = {
	.name = "calls", .mode = MODE_LONG,
	.code = guest_calls, .end = guest_calls_end,
	.exits = VMM_EXITS_HYPERCALL | VMM_EXITS_CPUID,
	.prepare = prepare_calls,
};

TEST_F_TIMEOUT(saverestore, calls, 60)
{
	check(_metadata, &calls);
}

/* x87, SSE and (where the host has XSAVE) AVX registers hold values over every exit. */
GUEST_CODE(guest_registers, 64,
	   "fninit; fldpi; fldl2e; fld1\n"
	   "mov $0x40, %eax; movd %eax, %xmm0; pshufd $0, %xmm0, %xmm1\n"
	   "movdqa %xmm1, %xmm7; paddd %xmm1, %xmm7; movdqa %xmm7, %xmm15\n"
	   "ldmxcsr DATA_GPA + 0x10\n"
	   "cmpb $0, DATA_GPA; je 1f\n"
	   "mov %cr4, %rax; or $0x40000, %rax; mov %rax, %cr4\n"
	   "xor %ecx, %ecx; xgetbv; or $7, %eax; xsetbv\n"
	   "vinsertf128 $1, %xmm1, %ymm1, %ymm1; vinsertf128 $1, %xmm7, %ymm15, %ymm15\n"
	   "1:\n"
	   LOOP(6,
		"in $PORT_VALUE, %eax; mov %eax, DATA_GPA + 0x20; fmuls DATA_GPA + 0x14\n"
		"paddd %xmm1, %xmm7; paddd %xmm7, %xmm15; fadd %st(1), %st\n"
		"out %al, $PORT_VALUE\n"
		"cmpb $0, DATA_GPA; je 2f\n"
		"vaddps %ymm15, %ymm1, %ymm3; vpxor %xmm2, %xmm2, %xmm2\n"
		"vinsertf128 $1, %xmm3, %ymm2, %ymm4\n"
		"2:\n")
	   "fxsaveq DATA_GPA + 0x100\n"
	   "cmpb $0, DATA_GPA; je 3f\n"
	   "mov $7, %eax; xor %edx, %edx; xsave DATA_GPA + 0x400\n"
	   "3: out %al, $PORT_DONE\n");

static void prepare_registers(struct vcpu *vcpu)
{
	bool avx = (vcpu->vm->info.xcr0 & 7) == 7;

	guest_u8(vcpu->vm, DATA_GPA) = avx;
	guest_u32(vcpu->vm, DATA_GPA + 0x10) = 0x1f80 | 3 << 13;
	guest_u32(vcpu->vm, DATA_GPA + 0x14) = 0x3f800001;
}

static const struct scenario registers = {
	.name = "registers", .mode = MODE_LONG,
	.code = guest_registers, .end = guest_registers_end,
	.prepare = prepare_registers,
};

TEST_F_TIMEOUT(saverestore, registers, 60)
{
	check(_metadata, &registers);
}

/*
 * A LAPIC with an interrupt in service, one waiting above and one below the TPR, and its timer:
 * one-shot, periodic.
 */
GUEST_CODE(guest_lapic, 64,
	   "mov $0xfee00000, %ebx; movl $0x1ff, 0xf0(%rbx)\n"
	   "movl $0x30, 0x80(%rbx); movl $0x44025, 0x300(%rbx); movl $0x44055, 0x300(%rbx)\n"
	   "in $PORT_VALUE, %al; sti; nop; cli\n"
	   "in $PORT_VALUE, %al; movl $0, 0x80(%rbx); sti; nop; cli\n"
	   /* two nested: the handler of 0x66 is entered inside that of 0x55 */
	   "movl $0xb, 0x3e0(%rbx)\n"
	   LOOP(4,
		"movl $0x71, 0x320(%rbx); movl $200000, 0x380(%rbx); in $PORT_VALUE, %al\n"
		"sti; hlt; cli\n")
	   "movl $0x20072, 0x320(%rbx); movl $5000000, 0x380(%rbx)\n"
	   LOOP(6, "in $PORT_VALUE, %al; sti; hlt; cli\n")
	   "movl $0x10072, 0x320(%rbx); movl $0, 0x380(%rbx)\n"
	   "out %al, $PORT_DONE\n");

/* All vectors from 0x20 on: count, say so, end the interrupt. */
GUEST_CODE(lapic_handler, 64,
	   "push %rax; push %rdx; mov 16(%rsp), %rax; incq DATA_GPA(,%rax,8)\n"
	   "out %al, $PORT_VALUE\n"
	   "mov $0xfee000b0, %edx; movl $0, (%rdx)\n"
	   "out %al, $PORT_VALUE\n"
	   "pop %rdx; pop %rax; add $16, %rsp; iretq\n");

static void prepare_lapic(struct vcpu *vcpu)
{
	memcpy(guest_ptr(vcpu->vm, HANDLER_GPA, code_size(lapic_handler)), lapic_handler,
	       code_size(lapic_handler));
}

static const struct scenario lapic = {
	.name = "lapic", .mode = MODE_LONG,
	.code = guest_lapic, .end = guest_lapic_end,
	.flags = VMM_VM_LAPIC,
	.prepare = prepare_lapic,
	.timed = true,
};

TEST_F_TIMEOUT(saverestore, lapic, 60)
{
	NEEDS_SPEED();
	check(_metadata, &lapic);
}

/* The PC's old set: both PICs, the PIT's channel 0 as a rate generator, ticks counted */
GUEST_CODE(guest_pc, 64,
	   /* The PIC's output reaches the CPU through the LAPIC. */
	   "mov $0xfee00000, %ebx; movl $0x1ff, 0xf0(%rbx); movl $0x700, 0x350(%rbx)\n"
	   "mov $0x11, %al; out %al, $0x20; out %al, $0xa0\n"
	   "mov $0x20, %al; out %al, $0x21; in $PORT_VALUE, %al; mov $0x28, %al; out %al, $0xa1\n"
	   "mov $4, %al; out %al, $0x21; mov $2, %al; out %al, $0xa1\n"
	   "mov $1, %al; out %al, $0x21; out %al, $0xa1\n"
	   "mov $0xfe, %al; out %al, $0x21; mov $0xff, %al; out %al, $0xa1\n"
	   "mov $0x34, %al; out %al, $0x43; mov $0xa9, %al; out %al, $0x40\n"
	   "in $PORT_VALUE, %al; mov $4, %al; out %al, $0x40\n"
	   "1: sti; hlt; cli; in $PORT_VALUE, %al; cmpq $8, DATA_GPA; jb 1b\n"
	   "out %al, $PORT_DONE\n");

GUEST_CODE(pic_handler, 64,
	   "push %rax; incq DATA_GPA; out %al, $PORT_VALUE; mov $0x20, %al; out %al, $0x20\n"
	   "out %al, $PORT_VALUE; pop %rax; add $16, %rsp; iretq\n");

static void prepare_pc(struct vcpu *vcpu)
{
	memcpy(guest_ptr(vcpu->vm, HANDLER_GPA, code_size(pic_handler)), pic_handler,
	       code_size(pic_handler));
}

static const struct scenario pc = {
	.name = "pc", .mode = MODE_LONG,
	.code = guest_pc, .end = guest_pc_end,
	.flags = VMM_VM_IRQCHIPS,
	.prepare = prepare_pc,
	.timed = true,
};

TEST_F_TIMEOUT(saverestore, pc, 60)
{
	NEEDS_SPEED();
	check(_metadata, &pc);
}

/* ---- between any two instructions ---- */

/* Mixes registers, memory and flags; hardly ever leaves by itself. */
GUEST_CODE(guest_compute, 64,
	   "mov $1, %rax; mov $0x1234, %ebx; mov $200, %r15d\n"
	   "1: mov $5000, %ecx\n"
	   "2: imul $0x41c64e6d, %rax, %rax; adc $12345, %rax; ror $7, %rbx; xor %rax, %rbx\n"
	   "mov %rbx, DATA_GPA(,%rcx,8); push %rax; addl $3, (%rsp); pop %rdx; add %rdx, %rbx\n"
	   "int3\n"
	   "dec %ecx; jnz 2b\n"
	   "out %eax, $PORT_VALUE; dec %r15d; jnz 1b\n"
	   "out %al, $PORT_DONE\n");

/* INT3 is but a subroutine here. */
GUEST_CODE(quick_return, 64, "incq DATA_GPA; iretq\n");

static void prepare_compute(struct vcpu *vcpu)
{
	memcpy(guest_ptr(vcpu->vm, STUBS_GPA + 16 * 3, 16), quick_return,
	       code_size(quick_return));
}

static const struct scenario compute = {
	.name = "compute", .mode = MODE_LONG,
	.code = guest_compute, .end = guest_compute_end,
	.prepare = prepare_compute,
};

static void on_alarm(int sig)
{
}

TEST_F_TIMEOUT(saverestore, anywhere, 60)
{
	struct sigaction action = { .sa_handler = on_alarm };

	NEEDS_SPEED();
	run_scenario(&compute, NEVER, &quiet);
	sigaction(SIGALRM, &action, NULL);
	run_scenario(&compute, WHEN_INTERRUPTED, &moved);
	TH_LOG("%u exits, %u moves", moved.exits, moved.moves);
	EXPECT_GT(moved.moves, 3);
	EXPECT_EQ(quiet.exits, moved.exits);
	EXPECT_EQ(quiet.digest, moved.digest);
	EXPECT_EQ(quiet.memory, moved.memory);
	compare_groups(_metadata, ARRAY_SIZE(groups));
}

TEST_HARNESS_MAIN
