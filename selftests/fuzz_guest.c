// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests that do what no guest would: random instructions at both privilege levels, in every
 * mode, on random state, while the VMM answers and injects at random.
 *
 *	fuzz_guest [--seed N] [--cases N] [--seconds N] [--case N] [--verbose 1]
 *
 * Each case is one guest with a seed of its own: "--seed N --case M" repeats it, but for the
 * moments at which a guest that stays inside is left.
 *
 * What must hold: each run ends in an exit that is documented; the CPU never refuses what the
 * module let pass; and what a vCPU's state is at any exit, it can be given back, and runs on.
 */
/* timeout: 240 */
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include "fuzz.h"
#include "kselftest.h"
#include "vmmtest.h"

#define MEMORY		(2 * MIB)
#define MAX_EXITS	150
#define MAX_SPINS	3
#define CODE_BYTES	4096

static struct random rnd;
static u64 reasons[VMM_NR_EXITS], refused_states, taken_states;
static bool tolerate_in_long_mode, with_controllers;
static u64 verbose;

/* Why a case failed; NULL if it did not */
static const char *wrong;

static void note(const char *what)
{
	if (!wrong)
		wrong = what;
}

/* ---- state -------------------------------------------------------------------------- */

static void change_segment(struct vmm_segment *seg)
{
	switch (below(&rnd, 5)) {
	case 0:
		seg->base = edge(&rnd);
		break;
	case 1:
		seg->limit = edge(&rnd);
		break;
	case 2:
		seg->selector = below(&rnd, 0x60);
		break;
	case 3:
		seg->attr ^= 1u << below(&rnd, 12);
		break;
	default:
		seg->attr = next_random(&rnd) & 0xfff;
		break;
	}
}

/* State that is right but for a few values; what is refused changes nothing. */
static void change_state(struct vcpu *vcpu)
{
	struct vmm_state *s = &vcpu->state;
	unsigned int changes = 1 + below(&rnd, 3);
	u64 groups = VMM_STATE_SYNC | VMM_STATE_MSRS;
	u64 value;

	vcpu_get(vcpu, groups);
	while (changes--) {
		value = edge(&rnd);
		switch (below(&rnd, 8)) {
		case 0:
			s->regs.rflags = (value & 0x3f7fd7) | FLAG_FIXED;
			break;
		case 1:
		case 2:
			change_segment(&s->segments.seg[below(&rnd, VMM_NR_SEGMENTS)]);
			break;
		case 3:
			((__u64 *)&s->control)[below(&rnd, 6)] ^= 1ULL << below(&rnd, 32);
			break;
		case 4:
			((__u64 *)&s->control)[below(&rnd, 6)] = value;
			break;
		case 5:
			((u8 *)&s->events)[below(&rnd, sizeof(s->events))] = value;
			break;
		case 6:
			((u64 *)&s->msrs)[below(&rnd, sizeof(s->msrs) / 8)] = value;
			break;
		default:
			(&s->debug.dr[0])[below(&rnd, 6)] = value;
			break;
		}
	}
	if (vcpu_try_set(vcpu, groups))
		refused_states++;
	else
		taken_states++;
}

static void print_segments(const struct vmm_segments *segments)
{
	const struct vmm_segment *seg;
	int i;

	for (i = 0; i < VMM_NR_SEGMENTS; i++) {
		seg = &segments->seg[i];
		printf("# segment %d: %04x base %llx limit %x attr %x\n", i, seg->selector,
		       seg->base, seg->limit, seg->attr);
	}
}

/* What it has made of its controllers can be given back. They count on, and so are not compared. */
static void give_controllers_back(struct vcpu *vcpu)
{
	struct vmm_vm_state state = {
		.size = sizeof(state),
		.groups = VMM_VM_STATE_PIC | VMM_VM_STATE_IOAPIC | VMM_VM_STATE_PIT,
	};

	if (do_ioctl(vcpu->vm->fd, VMM_GET_VM_STATE, &state))
		fail("VMM_GET_VM_STATE");
	if (do_ioctl(vcpu->vm->fd, VMM_SET_VM_STATE, &state))
		note("its controllers' own state was refused");
	vcpu_get(vcpu, VMM_STATE_LAPIC);
	if (vcpu_try_set(vcpu, VMM_STATE_LAPIC))
		note("its LAPIC's own state was refused");
}

/* What the guest has come to is what it can be given back. */
static void give_state_back(struct vcpu *vcpu)
{
	u64 groups = VMM_STATE_SYNC | VMM_STATE_MSRS | VMM_STATE_PENDING;
	struct vmm_state before;

	vcpu_get(vcpu, groups);
	before = vcpu->state;
	if (vcpu_try_set(vcpu, groups)) {
		for (; groups; groups &= groups - 1)
			if (vcpu_try_set(vcpu, groups & -groups))
				printf("# refused: group %llx\n", groups & -groups);
		print_segments(&before.segments);
		note("its own state was refused");
		return;
	}
	vcpu_get(vcpu, groups);
	/* Time goes on. */
	before.msrs.tsc_offset = vcpu->state.msrs.tsc_offset;
	if (memcmp(&before, &vcpu->state, sizeof(before)))
		note("its own state was changed by setting it");
	if (with_controllers)
		give_controllers_back(vcpu);
}

/* ---- cases ---------------------------------------------------------------------------- */

static void write_code(struct vm *vm, u64 gpa)
{
	u8 *code = guest_ptr(vm, gpa, CODE_BYTES);
	unsigned int used = 0;

	while (used + INSTRUCTION_BYTES < CODE_BYTES)
		used += emit_instruction(&rnd, code + used);
}

static void random_registers(struct vcpu *vcpu)
{
	unsigned int i;

	for (i = 0; i < VMM_NR_GPRS; i++) {
		if (i == VMM_RSP && !chance(&rnd, 4))
			continue;
		vcpu->state.regs.gpr[i] = chance(&rnd, 2) ? DATA_GPA + below(&rnd, 0x1000) :
							   edge(&rnd);
	}
	vcpu_set(vcpu, VMM_STATE_REGS);
}

static void place(struct vcpu *vcpu)
{
	enum guest_mode mode = below(&rnd, NR_MODES);

	if (!mode_supported(vcpu->vm, mode))
		mode = MODE_LONG;
	/* Descriptors and tables anew, whatever became of them */
	vcpu->vm->mode = -1;
	vcpu_set_mode(vcpu, mode);
	write_code(vcpu->vm, CODE_GPA);
	if (chance(&rnd, 3))
		vcpu_set_user(vcpu);
	random_registers(vcpu);
	if (chance(&rnd, 3))
		change_state(vcpu);
}

static void inject_something(struct vcpu *vcpu)
{
	switch (below(&rnd, 4)) {
	case 0:
		vcpu_nmi(vcpu);
		break;
	case 1:
		/* QEMU refuses number 31, as nothing has it. */
		vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, below(&rnd, 31), chance(&rnd, 2),
			    below(&rnd, 0x10000), edge(&rnd));
		break;
	default:
		vcpu_inject(vcpu, VMM_EVENT_INTERRUPT, below(&rnd, 256), false, 0, 0);
		break;
	}
}

/* The handlers return to the instruction that failed: to one behind it, or it fails for ever. */
static void skip_what_trapped(struct vm *vm)
{
	const struct guest_trap *trap = guest_trap(vm);

	if (trap->frame < LOW_MEMORY - 8 && !(trap->frame & 1))
		guest_return_to(vm, trap->rip + below(&rnd, 5));
}

static void answer(struct vcpu *vcpu)
{
	struct vmm_exit *e = &vcpu->run->exit;

	switch (e->reason) {
	case VMM_EXIT_IO:
		e->io.data = edge(&rnd);
		if (e->io.port == PORT_TRAP)
			skip_what_trapped(vcpu->vm);
		if (!e->io.string)
			return;
		break;
	case VMM_EXIT_MMIO:
		e->mmio.data = edge(&rnd);
		return;
	case VMM_EXIT_MSR:
		e->msr.data = edge(&rnd);
		e->msr.fault = chance(&rnd, 3);
		return;
	case VMM_EXIT_HYPERCALL:
		e->hypercall.ret = edge(&rnd);
		return;
	case VMM_EXIT_EMULATE:
	case VMM_EXIT_FAULT:
		break;
	case VMM_EXIT_SHUTDOWN:
	case VMM_EXIT_FAIL_ENTRY:
		place(vcpu);
		return;
	default:
		return;
	}
	/* Instructions that are the VMM's to complete: this one goes past them. */
	vcpu_get(vcpu, VMM_STATE_REGS);
	vcpu->state.regs.rip += 1 + below(&rnd, 4);
	if (vcpu_try_set(vcpu, VMM_STATE_REGS))
		place(vcpu);
}

GUEST_CODE(write_cr3, 64,
	   "mov $0x4000000000008000, %rax\n"
	   "mov %rax, %cr3\n"
	   "out %al, $PORT_DONE\n");

/*
 * QEMU ends a MOV to CR3 of reserved bits, in long mode, as if the entry had failed, where a CPU
 * raises #GP. There a refused entry says nothing in that mode.
 */
static bool fails_by_cr3(void)
{
	struct vm *vm = vm_create(MEMORY, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	bool fails;

	vcpu_load(vcpu, MODE_LONG, write_cr3);
	fails = !vcpu_run(vcpu) && vcpu->run->exit.reason == VMM_EXIT_FAIL_ENTRY;
	vm_destroy(vm);
	return fails;
}

static bool cpu_refused(struct vcpu *vcpu)
{
	const struct vmm_exit *e = &vcpu->run->exit;

	if (e->reason != VMM_EXIT_FAIL_ENTRY || !e->hw_reason)
		return false;
	if (!tolerate_in_long_mode)
		return true;
	vcpu_get(vcpu, VMM_STATE_CONTROL);
	return !(vcpu->state.control.efer & EFER_LMA);
}

static void check_exit(struct vcpu *vcpu)
{
	const struct vmm_exit *e = &vcpu->run->exit;

	if (e->reason == VMM_EXIT_NONE || e->reason >= VMM_NR_EXITS) {
		note("a reason that there is not");
		return;
	}
	reasons[e->reason]++;
	if (e->reason == VMM_EXIT_INTERNAL)
		note("an exit that the module does not know");
	if (cpu_refused(vcpu))
		note("the CPU refused what the module let pass");
}

static void set_random_exits(struct vcpu *vcpu)
{
	struct vmm_exits exits = {
		.size = sizeof(exits),
		.exits = next_random(&rnd) & (VMM_EXITS_HLT | VMM_EXITS_HYPERCALL |
					      VMM_EXITS_CPUID | VMM_EXITS_PAUSE),
	};

	if (do_ioctl(vcpu->fd, VMM_SET_EXITS, &exits))
		fail("VMM_SET_EXITS");
}

static void print_guest(struct vcpu *vcpu)
{
	u64 at;
	int i;

	vcpu_print(vcpu);
	vcpu_get(vcpu, VMM_STATE_SEGMENTS);
	print_segments(&vcpu->state.segments);
	at = vcpu->state.segments.seg[VMM_CS].base + vcpu->state.regs.rip;
	printf("# code at %llx:", at);
	for (i = 0; i < 16 && at + i < MEMORY; i++)
		printf(" %02x", vcpu->vm->mem[at + i]);
	printf("\n");
}

/* The ticks end this call alone. */
static int run_until_tick(struct vcpu *vcpu)
{
	sigset_t ticks;
	int ret;

	sigemptyset(&ticks);
	sigaddset(&ticks, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &ticks, NULL);
	ret = vcpu_run_raw(vcpu);
	sigprocmask(SIG_BLOCK, &ticks, NULL);
	return ret;
}

/* MSRs that the module does not know are the VMM's. */
static void set_policy(struct vm *vm)
{
	struct vmm_msr_policy policy = {
		.size = sizeof(policy), .flags = VMM_MSR_POLICY_UNKNOWN_EXIT,
	};

	if (do_ioctl(vm->fd, VMM_SET_MSR_POLICY, &policy))
		fail("VMM_SET_MSR_POLICY");
}

static void run_case(u64 seed, u64 number)
{
	unsigned int exits = 0, spins = 0;
	struct vcpu *vcpu;
	struct vm *vm;
	int ret;

	rnd = random_from(seed, number);
	with_controllers = chance(&rnd, 2);
	vm = vm_create(MEMORY, with_controllers ? VMM_VM_IRQCHIPS : 0);
	if (chance(&rnd, 2))
		set_policy(vm);
	vcpu = vcpu_create(vm, 0);
	place(vcpu);
	set_random_exits(vcpu);
	while (!wrong && exits < MAX_EXITS && spins < MAX_SPINS) {
		ret = run_until_tick(vcpu);
		if (ret == -EINTR) {
			spins++;
			/* It waits for something, or spins: something else then */
			inject_something(vcpu);
			continue;
		}
		if (ret) {
			note(strerror(-ret));
			break;
		}
		exits++;
		check_exit(vcpu);
		if (verbose)
			printf("# %u: %s at %llx: %llx %llx %llx\n", exits,
			       exit_name(vcpu->run->exit.reason), vcpu->run->exit.rip,
			       vcpu->run->exit.hw_reason, vcpu->run->exit.hw_info1,
			       vcpu->run->exit.hw_info2);
		if (chance(&rnd, 4))
			give_state_back(vcpu);
		if (!wrong)
			answer(vcpu);
		if (chance(&rnd, 8))
			inject_something(vcpu);
		if (chance(&rnd, 16))
			change_state(vcpu);
	}
	if (wrong)
		print_guest(vcpu);
	vm_destroy(vm);
}

static void interrupted(int signal)
{
}

int main(int argc, char **argv)
{
	u64 seed = 1, cases = host_is_slow() ? 40 : 400, seconds = 0, only = ~0ULL, number, end;
	struct sigaction action = { .sa_handler = interrupted };
	struct itimerval every = { { 0, 5000 }, { 0, 5000 } };
	unsigned int i;
	int mark;

	READ_NUMBERS(argc, argv, { "--seed", &seed }, { "--cases", &cases },
		     { "--seconds", &seconds }, { "--case", &only }, { "--verbose", &verbose });

	ksft_print_header();
	ksft_set_plan(1);
	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGALRM);
	sigprocmask(SIG_BLOCK, &action.sa_mask, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	tolerate_in_long_mode = fails_by_cr3();
	mark = host_log_mark();
	end = now_ns() + seconds * 1000000000ULL;
	for (number = only == ~0ULL ? 0 : only; !wrong; number++) {
		if (only != ~0ULL ? number > only : seconds ? now_ns() >= end : number >= cases)
			break;
		run_case(seed, number);
		/* Refused entries are in the log. */
		if (host_log_count(mark, "refused"))
			note("the log speaks of a refused entry");
	}
	if (wrong)
		ksft_print_msg("--seed %llu --case %llu: %s\n", seed, number - 1, wrong);
	for (i = 1; i < VMM_NR_EXITS; i++)
		ksft_print_msg("%-18s %llu\n", exit_name(i), reasons[i]);
	ksft_print_msg("%llu cases; of changed states %llu were taken, %llu refused\n", number,
		       taken_states, refused_states);
	ksft_test_result(!wrong, "guests\n");
	ksft_finished();
}
