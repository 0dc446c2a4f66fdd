/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vCPU: its state, its exits, its run loop.
 *
 * Legend of the locks: [I] immutable after creation, [a] atomic, [m] vcpu->mutex
 * (held by whoever runs the vCPU or reads or changes its state), [t] only
 * the thread that runs it.
 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <linux/atomic.h>
#include <linux/mutex.h>
#include <linux/rcuwait.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <asm/processor-flags.h>

#include "stats.h"
#include "x86/types.h"

struct vcpu_cpuid;
struct dirty_ring;
struct lapic;
struct pv_vcpu;
struct tdp;
struct vm;

/*
 * Why the guest was left, in words that both vendors and any front end share.
 * Down to EXIT_ACCESS they can leave the core; the others end in it.
 */
enum exit_reason {
	EXIT_NONE,
	EXIT_INTR,
	EXIT_IO,
	EXIT_MMIO,
	EXIT_HLT,
	EXIT_SHUTDOWN,
	EXIT_HYPERCALL,
	EXIT_MSR,
	EXIT_CPUID,
	EXIT_DEBUG,
	EXIT_EMULATE,
	EXIT_FAULT,
	EXIT_INTERRUPT_WINDOW,
	EXIT_NMI_WINDOW,
	EXIT_PAUSE,
	EXIT_EOI,
	EXIT_FAIL_ENTRY,
	EXIT_INTERNAL,
	EXIT_RING_FULL,
	EXIT_ACCESS,

	EXIT_HOST,		/* host interrupt, NMI or SMI: nothing of the guest's */
	EXIT_TDP_FAULT,		/* .fault */
	EXIT_EXCEPTION,		/* .exception: #DB, #AC, #BP, #UD, #MC ... that is intercepted */
	EXIT_CR,		/* .cr */
	EXIT_DR,		/* .cr */
	EXIT_XSETBV,
	EXIT_CACHE,		/* INVD, WBINVD, WBNOINVD */
	EXIT_UNDEFINED,		/* an instruction that our guests do not have: #UD */
	EXIT_TASK_SWITCH,
	EXIT_STEP,		/* .step: vcpu->stepping, and what was to be done is done */
	EXIT_TPR,		/* CR8 fell below the threshold */
	EXIT_LAPIC,		/* .lapic: a register that the CPU has written by itself; a trap */
	EXIT_RESUME,		/* handled by the backend: enter again */
	NR_EXIT_REASONS
};

#define ACCESS_READ	1
#define ACCESS_WRITE	2
#define ACCESS_EXEC	4
#define ACCESS_USER	8
#define ACCESS_ALL	(ACCESS_READ | ACCESS_WRITE | ACCESS_EXEC)

/* Of exit.fault */
#define FAULT_GVA	1	/* gva is known */
#define FAULT_WALK	2	/* by the CPU's walk of the guest's page tables for gva */

enum cr_op {
	CR_OP_WRITE,		/* MOV to CR or DR */
	CR_OP_READ,
	CR_OP_CLTS,
	CR_OP_LMSW,
	CR_OP_SMSW,		/* its operand has been stored */
};

struct exit_io {
	u16 port;
	u8 size;
	bool in;
	bool string;
	bool rep;		/* this and what follows, but @data: for string, by decoding */
	u8 address_size;
	u8 segment;
	u64 count;
	u64 address;
	u64 data;
};

struct exit_mmio {
	u64 gpa;
	u8 size;
	bool write;
	u64 data;
};

struct exit_emulate {
	u64 gpa;
	u64 gva;
	u8 access;
	u8 length;
	u8 mode;
	u8 bytes[16];
};

/**
 * struct vcpu_exit - an exit, neutral
 * @reason: decides which member of the union is valid
 * @mode: that the guest is in, with EXIT_IO; else hw->get_mode() tells
 * @hw_reason: the vendor's, for diagnosis alone
 * @hw_info1: likewise
 * @hw_info2: likewise
 * @rip: of the instruction
 * @next_rip: behind it; 0: the CPU does not say that, or not all that the reason's member of the
 *            union holds: the instruction must be decoded
 * @io: EXIT_IO
 * @mmio: EXIT_MMIO
 * @emulate: EXIT_EMULATE
 * @hypercall: EXIT_HYPERCALL
 * @msr: EXIT_MSR
 * @debug: EXIT_DEBUG
 * @fault: EXIT_FAULT, EXIT_TDP_FAULT
 * @exception: EXIT_EXCEPTION
 * @cr: EXIT_CR, EXIT_DR
 * @step: EXIT_STEP
 * @eoi: EXIT_EOI
 * @lapic: EXIT_LAPIC
 * @message: EXIT_FAIL_ENTRY: static string
 */
struct vcpu_exit {
	enum exit_reason reason;
	struct cpu_mode mode;
	u64 hw_reason;
	u64 hw_info1;
	u64 hw_info2;
	u64 rip;
	u64 next_rip;
	union {
		struct exit_io io;
		struct exit_mmio mmio;
		struct exit_emulate emulate;
		struct {
			u64 nr;
			u64 args[4];
		} hypercall;
		struct {
			u32 index;
			bool write;
			bool unknown;
			u64 data;
		} msr;
		struct {
			u32 kind;	/* VMM_DEBUG_* */
			u32 vector;
			u64 dr6;
			u64 dr7;
			u64 address;
		} debug;
		struct {
			u64 gpa;
			u32 access;	/* ACCESS_* */
			int error;	/* EXIT_FAULT: negative errno */
			u8 insn_len;	/* EXIT_TDP_FAULT: bytes that the CPU supplied, 0 if none */
			u8 insn[15];
			u32 flags;	/* FAULT_*; with a restricted view alone */
			u32 granted;	/* EXIT_ACCESS: ACCESS_*, by the view */
			u64 gva;
		} fault;
		struct {
			u8 vector;
			bool has_error;
			u32 error;
			u64 payload;	/* DR6 bits of #DB, CR2 of #PF */
		} exception;
		struct {
			u8 nr;		/* number of the register */
			u8 op;		/* enum cr_op */
			u8 gpr;
			u16 msw;	/* CR_OP_LMSW */
		} cr;
		struct {
			u64 conditions;	/* DR6 bits of a #DB that the guest is to get now */
			bool stored_tf;	/* RFLAGS was pushed with a TF not the guest's */
		} step;
		struct {
			u32 vector;
		} eoi;
		struct {
			u32 offset;	/* of the register */
			u32 value;	/* of APIC_EOI: the vector that was ended */
		} lapic;
		const char *message;
	};
};

/**
 * struct cpu_pending - what the next run must still do for the last exit
 * @kind: VMM_PENDING_* of the ABI
 * @size: of the access
 * @rip: of the instruction
 * @step: the instruction is done: vcpu_end_step() before the next one
 * @mmio: of an MMIO instruction in progress (x86/mmio.c)
 */
struct cpu_pending {
	u32 kind;
	u32 size;
	u64 rip;
	bool step;
	struct mmio_op mmio;
};

/* Bits of vcpu->requests: set by anyone, then vcpu_kick(); taken by the run loop */
enum vcpu_request {
	VCPU_REQ_EXIT,		/* leave to the front end with EXIT_INTR */
	VCPU_REQ_EVENT,		/* look at interrupts, INIT, SIPI again */
	VCPU_REQ_NMI,		/* vcpu->nmis (events.nmi_pending is the thread's own) */
	VCPU_REQ_CLOCK,		/* publish pvclock again */
	VCPU_REQ_FLUSH,		/* TLB */
	VCPU_REQ_TIMER,		/* the LAPIC timer's callback has fired */
	VCPU_REQ_EXITS,		/* what decides about intercepts has changed: choose them anew */
	VCPU_REQ_VIEW,		/* what was let through once is done: back to the chosen view */
	VCPU_REQ_RING,		/* leave with EXIT_RING_FULL, if it still is */
	VCPU_REQ_DEAD,		/* the VM is going: leave with EIO */
};

/* The next instruction, where hw_caps.steps_by_tf: what RFLAGS.TF does to it or it to RFLAGS.TF */
enum step_insn {
	STEP_INSN_OTHER,
	STEP_INSN_STORES_FLAGS,	/* PUSHF */
	STEP_INSN_LOADS_FLAGS,	/* POPF, IRET */
	STEP_INSN_SYSCALL,	/* in long mode */
	STEP_INSN_SYSRET,
};

enum vcpu_mode {
	VCPU_OUTSIDE,		/* requests are seen before the next entry */
	VCPU_IN_WINDOW,		/* an interrupt is needed to make it look */
};

struct vcpu {
	struct vm *vm;			/* [I] */
	u32 id;				/* [I] the VMM's number, initial APIC id */
	int index;			/* [I] dense, position in vm->vcpus */
	struct mutex mutex;

	struct cpu_regs regs;		/* [m] RSP only after hw->get_rsp() */
	u64 cr0, cr4, efer;		/* [m] what the guest sees; all writes are intercepted */
	u64 dr[4], dr6, dr7;		/* [m] the guest's */
	u64 tsc_offset;			/* [m] */
	struct cpu_msrs msrs;		/* [m] those that the hardware does not hold */
	struct cpu_events events;	/* [m] */
	struct cpu_pending pending;	/* [m] */
	struct vcpu_exit exit;		/* [m] */
	struct code_page code_page;	/* [t] spares walks of the guest's tables */
	struct xstate *xstate;		/* [m] contents; [I] pointer */
	struct vcpu_cpuid *cpuid;	/* [m] */
	struct cpu_features features;	/* [m] what follows from cpuid */
	struct tdp *tdp;		/* [m] the view of memory it runs on */
	struct tdp *view;		/* [m] the one that the front end chose */
	bool once;			/* [m] but one instruction is run in view 0 first: exit.c */
	struct dirty_ring *ring;	/* [m] set once, released to readers without; NULL: none */
	struct lapic *lapic;		/* [I] NULL if the VMM has its own */
	u32 *lapic_page;		/* [I] its registers, NULL likewise */
	bool x2apic;			/* [m] they are MSRs */
	struct pv_vcpu *pv;		/* [m] contents; [I] pointer */
	void *hw;			/* [I] the backend's */

	/* Wishes and answers of the front end, [m] */
	u64 exits_wanted;		/* VMM_EXITS_* */
	u8 step_insn;			/* [t] enum step_insn: that is stepped; see x86/step.c */
	bool step_tf;			/* [t] the guest's own RFLAGS.TF before */
	u64 step_saved;			/* [t] the guest's own SFMASK or R11 */
	u64 debug_dr[4], debug_dr7;	/* with VMM_EXITS_HW_BREAK */
	const u8 *immediate_exit;	/* [I] hostile memory */
	u64 answer;			/* data for what is pending */
	bool answer_fault;
	bool pdptes_stale;		/* [m] read them then, too, where the CPU holds them */

	unsigned long irr_map;		/* [a] bit n: word n of what the LAPIC was sent */
	/* Each asks for something before an entry; mostly none does, as one word tells. */
	union {
		struct {
			u8 want_interrupt_window; /* [m] wishes of the front end */
			u8 want_nmi_window;
			u8 window_requested;	/* [t] what hw->request_window() was told last */
			u8 tpr_threshold;	/* [t] and hw->set_tpr_threshold() */
			bool cr8_changed;	/* [m] the hardware has yet to be told cr8 */
			bool eoi_armed;		/* [t] the guest may skip its next EOI */
			bool stepping;		/* [m] leave behind each instruction: exit.c */
			bool state_changed;	/* [m] by the front end, and not checked yet */
		};
		u64 before_entry;
	};
	u8 cr8;				/* [m] with a LAPIC: bits 7:4 of its TPR */
	u8 guest_cr8;			/* [t] what is in the hardware; hw->enter() brings it */

	unsigned long requests;		/* [a] enum vcpu_request */
	atomic_t nmis;			/* that were sent since the thread last looked */
	int mode;			/* [a] enum vcpu_mode */
	int cpu;			/* [t] of the last window, -1 before */
	struct task_struct __rcu *thread;/* who runs it now; read under RCU */
	struct rcuwait wait;		/* of that thread in HLT */
	int yielded_to;			/* [t] index of the vCPU that vcpu_yield() tried last */

	struct vcpu_stats stats;	/* [t], but for kicks [a] */
#ifdef VMM_COUNT
	enum exit_reason counted_exit;	/* [t] whose instructions run */
#endif
	void *front;			/* [I] the front end's, and how it is freed */
	void (*front_free)(struct vcpu *vcpu);
};

/* vcpu.c: life cycle and the run loop */
struct vcpu *vcpu_create(struct vm *vm, u32 id);
void vcpu_destroy(struct vcpu *vcpu);
int vcpu_run(struct vcpu *vcpu);
void vcpu_yield(struct vcpu *vcpu);
void vcpu_reset(struct vcpu *vcpu, bool init);

/* exit.c: what is done about an exit */
enum exit_verdict {
	VERDICT_ENTER,		/* handled: enter again */
	VERDICT_OUTSIDE,	/* call again outside the window */
	VERDICT_LEAVE,		/* vcpu->exit is for the front end */
};

enum exit_verdict vcpu_handle_exit(struct vcpu *vcpu);
enum exit_verdict vcpu_complete(struct vcpu *vcpu);
enum exit_verdict vcpu_end_step(struct vcpu *vcpu);

/**
 * vcpu_request - ask something of a vCPU, from any context
 * @vcpu: of whom
 * @request: what
 *
 * The request is visible before the vCPU next enters its guest: either it has
 * not yet looked, or it is kicked out of the guest or its sleep.
 */
void vcpu_request(struct vcpu *vcpu, enum vcpu_request request);
void vcpu_kick(struct vcpu *vcpu);
/* An interrupt is sent to the CPU that it runs on */
void vcpu_count_kick(struct vcpu *vcpu);

/* Send an NMI, from any context; and the thread's side of it: VCPU_REQ_NMI has been taken. */
void vcpu_nmi(struct vcpu *vcpu);
void vcpu_take_nmis(struct vcpu *vcpu);

static inline bool vcpu_take_request(struct vcpu *vcpu, enum vcpu_request request)
{
	return test_bit(request, &vcpu->requests) &&
	       test_and_clear_bit(request, &vcpu->requests);
}

/* The vCPU thread's own: is it inside hw->load() .. unload()? */
static inline bool vcpu_in_window(const struct vcpu *vcpu)
{
	return vcpu->mode == VCPU_IN_WINDOW;
}

/* vcpu_event.c: exceptions, interrupts, instruction ends */
void vcpu_queue_exception(struct vcpu *vcpu, u8 vector, bool has_error, u32 error, u64 payload);

static inline void vcpu_queue_ud(struct vcpu *vcpu)
{
	vcpu_queue_exception(vcpu, 6, false, 0, 0);
}

static inline void vcpu_queue_gp(struct vcpu *vcpu, u32 error)
{
	vcpu_queue_exception(vcpu, 13, true, error, 0);
}

/* A backend's: the guest was left by an exception that the core gives back to it, or looks at. */
static inline void vcpu_leave_by_exception(struct vcpu *vcpu, u8 vector, bool has_error, u32 error,
					   u64 payload)
{
	struct vcpu_exit *exit = &vcpu->exit;

	exit->reason = EXIT_EXCEPTION;
	exit->exception.vector = vector;
	exit->exception.has_error = has_error;
	exit->exception.error = error;
	exit->exception.payload = payload;
}

void vcpu_finish_insn_slow(struct vcpu *vcpu, u64 next_rip);

/**
 * vcpu_finish_insn - the instruction of the exit is done: go behind it
 * @vcpu: the vCPU
 * @next_rip: where that is
 *
 * Ends the interrupt shadow and a step of ours, and queues #DB when RFLAGS.TF single-steps.
 */
static inline void vcpu_finish_insn(struct vcpu *vcpu, u64 next_rip)
{
	/* Below 4 GiB no RIP goes round, whatever the code's size. */
	if (unlikely(next_rip >> 32 | vcpu->events.shadow | vcpu->stepping |
		     (vcpu->regs.rflags & X86_EFLAGS_TF))) {
		vcpu_finish_insn_slow(vcpu, next_rip);
		return;
	}
	vcpu->regs.rip = next_rip;
	vcpu->regs.rflags &= ~(u64)X86_EFLAGS_RF;
}

/* Would the guest take an external interrupt now? */
static inline bool vcpu_interruptible(const struct vcpu *vcpu)
{
	return (vcpu->regs.rflags & X86_EFLAGS_IF) && !vcpu->events.shadow;
}

/* Would it take an NMI? Both shadows hold one back (SDM vol. 3 table 25-3). */
static inline bool vcpu_nmi_allowed(const struct vcpu *vcpu)
{
	return !vcpu->events.nmi_blocked && !vcpu->events.shadow;
}

bool vcpu_halt_ends(struct vcpu *vcpu);
void vcpu_inject_events(struct vcpu *vcpu);

#endif
