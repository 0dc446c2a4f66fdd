// SPDX-License-Identifier: GPL-2.0-only
/*
 * Running a vCPU under a time limit, and what its guest says with OUT.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "vmmtest.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* Interrupts VMM_RUN of its own thread; the handler's only task is to exist. */
#define TIMEOUT_SIGNAL	(SIGRTMIN + 1)

static __thread struct vmm_run *running;
static __thread bool timed_out;

static void on_timeout(int sig)
{
	timed_out = true;
	if (running)
		__atomic_store_n(&running->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

static timer_t thread_timer(void)
{
	static __thread timer_t timer;
	static __thread pid_t owner;
	struct sigaction action = { .sa_handler = on_timeout };
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = TIMEOUT_SIGNAL,
	};

	/* Timers do not survive fork(). */
	if (owner == gettid())
		return timer;
	event.sigev_notify_thread_id = gettid();
	if (sigaction(TIMEOUT_SIGNAL, &action, NULL) ||
	    timer_create(CLOCK_MONOTONIC, &event, &timer))
		fail("timer: %s", strerror(errno));
	owner = gettid();
	return timer;
}

static void arm(timer_t timer, unsigned int ms)
{
	struct itimerspec when = {
		.it_value = { ms / 1000, ms % 1000 * 1000000L },
	};

	timer_settime(timer, 0, &when, NULL);
}

int vcpu_run_raw(struct vcpu *vcpu)
{
	return do_ioctl(vcpu->fd, VMM_RUN, NULL);
}

int vcpu_run_at(struct vcpu *vcpu, const char *file, int line)
{
	timer_t timer = thread_timer();
	int ret;

	timed_out = false;
	running = vcpu->run;
	arm(timer, vcpu->timeout_ms);
	ret = vcpu_run_raw(vcpu);
	arm(timer, 0);
	running = NULL;
	if (timed_out) {
		vcpu_print(vcpu);
		test_fail(file, line, "the guest did not exit within %u ms", vcpu->timeout_ms);
	}
	return ret;
}

static const char *const exit_names[VMM_NR_EXITS] = {
	"NONE", "INTR", "IO", "MMIO", "HLT", "SHUTDOWN", "HYPERCALL", "MSR", "CPUID", "DEBUG",
	"EMULATE", "FAULT", "INTERRUPT_WINDOW", "NMI_WINDOW", "PAUSE", "EOI", "FAIL_ENTRY",
	"INTERNAL", "RING_FULL", "ACCESS",
};

const char *exit_name(u32 reason)
{
	return reason < VMM_NR_EXITS ? exit_names[reason] : "?";
}

static void print_exit(const struct vmm_exit *e)
{
	int i;

	fprintf(stderr, "# exit %s (%u), hw %#llx info %#llx %#llx\n", exit_name(e->reason),
		e->reason, e->hw_reason, e->hw_info1, e->hw_info2);
	fprintf(stderr, "#   rip %#llx next %#llx rflags %#llx cpl %u%s\n", e->rip, e->next_rip,
		e->rflags, e->cpl, e->long_mode ? " 64-bit" : "");
	switch (e->reason) {
	case VMM_EXIT_IO:
		fprintf(stderr, "#   %s port %#x size %u string %u rep %u count %llu data %#llx\n",
			e->io.in ? "IN" : "OUT", e->io.port, e->io.size, e->io.string,
			e->io.rep, e->io.count, e->io.data);
		break;
	case VMM_EXIT_MMIO:
		fprintf(stderr, "#   %s gpa %#llx size %u data %#llx\n",
			e->mmio.write ? "write" : "read", e->mmio.gpa, e->mmio.size,
			e->mmio.data);
		break;
	case VMM_EXIT_MSR:
		fprintf(stderr, "#   %s MSR %#x data %#llx\n",
			e->msr.write ? "write" : "read", e->msr.index, e->msr.data);
		break;
	case VMM_EXIT_FAULT:
		fprintf(stderr, "#   gpa %#llx access %u: %s\n", e->fault.gpa, e->fault.access,
			strerror(-e->fault.error));
		break;
	case VMM_EXIT_EMULATE:
		fprintf(stderr, "#   gpa %#llx mode %u bytes", e->emulate.gpa, e->emulate.mode);
		for (i = 0; i < e->emulate.length && i < 16; i++)
			fprintf(stderr, " %02x", e->emulate.bytes[i]);
		fprintf(stderr, "\n");
		break;
	case VMM_EXIT_FAIL_ENTRY:
		fprintf(stderr, "#   %.*s\n", (int)sizeof(e->fail_entry.message),
			e->fail_entry.message);
		break;
	}
}

static void print_state(const struct vmm_state *s)
{
	static const char *const gprs[] = {
		"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
	};
	int i;

	for (i = 0; i < VMM_NR_GPRS; i++)
		fprintf(stderr, "%s%-3s %016llx%s", i % 4 ? "" : "#   ", gprs[i],
			s->regs.gpr[i], i % 4 == 3 ? "\n" : "  ");
	fprintf(stderr, "#   rip %016llx  rflags %08llx  cs %04x base %llx attr %03x\n",
		s->regs.rip, s->regs.rflags, s->segments.seg[VMM_CS].selector,
		s->segments.seg[VMM_CS].base, s->segments.seg[VMM_CS].attr);
	fprintf(stderr, "#   cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx\n", s->control.cr0,
		s->control.cr2, s->control.cr3, s->control.cr4, s->control.efer);
	fprintf(stderr, "#   mp_state %u shadow %u NMIs %u%s\n", s->events.mp_state,
		s->events.shadow, s->events.nmi_pending, s->events.nmi_blocked ? " blocked" : "");
}

void vcpu_print(struct vcpu *vcpu)
{
	struct guest_trap *trap;
	int ret;

	print_exit(&vcpu->run->exit);
	ret = vcpu_try_get(vcpu, VMM_STATE_SYNC);
	if (ret)
		fprintf(stderr, "#   no state: %s\n", strerror(-ret));
	else
		print_state(&vcpu->state);
	if (vcpu->vm->mem_size < LOW_MEMORY)
		return;
	trap = guest_trap(vcpu->vm);
	if (trap->count)
		fprintf(stderr, "#   trap %llu: vector %llu error %#llx rip %#llx cr2 %#llx\n",
			trap->count, trap->vector, trap->error, trap->rip, trap->cr2);
}

struct vmm_exit *run_until_at(struct vcpu *vcpu, u32 reason, const char *file, int line)
{
	int ret = vcpu_run_at(vcpu, file, line);

	if (ret) {
		vcpu_print(vcpu);
		test_fail(file, line, "VMM_RUN: %s", strerror(-ret));
	}
	if (vcpu->run->exit.reason != reason) {
		vcpu_print(vcpu);
		test_fail(file, line, "exit %s expected, %s seen", exit_name(reason),
			  exit_name(vcpu->run->exit.reason));
	}
	return &vcpu->run->exit;
}

static struct vmm_exit *run_until_out(struct vcpu *vcpu, u16 port, const char *file, int line)
{
	struct vmm_exit *e = run_until_at(vcpu, VMM_EXIT_IO, file, line);

	if (e->io.port != port || e->io.in || e->io.string) {
		vcpu_print(vcpu);
		test_fail(file, line, "OUT to port %#x expected", port);
	}
	return e;
}

u64 run_value_at(struct vcpu *vcpu, const char *file, int line)
{
	return run_until_out(vcpu, PORT_VALUE, file, line)->io.data;
}

void run_done_at(struct vcpu *vcpu, const char *file, int line)
{
	run_until_out(vcpu, PORT_DONE, file, line);
}

struct guest_trap *run_trap_at(struct vcpu *vcpu, const char *file, int line)
{
	run_until_out(vcpu, PORT_TRAP, file, line);
	return guest_trap(vcpu->vm);
}

struct guest_trap *run_vector_at(struct vcpu *vcpu, u8 vector, const char *file, int line)
{
	struct guest_trap *trap = run_trap_at(vcpu, file, line);

	if (trap->vector != vector) {
		vcpu_print(vcpu);
		test_fail(file, line, "vector %u expected, %llu seen", vector, trap->vector);
	}
	return trap;
}

void vcpu_take_exception(struct vcpu *vcpu)
{
	if (vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 6, false, 0, 0))
		fail("no exception");
	run_vector(vcpu, 6);
	guest_trap(vcpu->vm)->count = 0;
}

GUEST_CODE(hello, 64,
	   "mov $0x1234, %eax\n"
	   "out %eax, $PORT_VALUE\n");

bool vm_works(void)
{
	struct vm *vm = vm_create(MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	bool works;

	vcpu_load(vcpu, MODE_LONG, hello);
	works = run_value(vcpu) == 0x1234;
	vm_destroy(vm);
	return works;
}
