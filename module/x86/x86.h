/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The vendor-neutral CPU: what both backends would otherwise write twice.
 */
#ifndef VMM_X86_H
#define VMM_X86_H

#include <linux/types.h>

#include "types.h"
#include "vcpu.h"

struct vcpu;
struct cpu_pending;
struct vcpu_exit;
struct vm;

/* ---- cpuid.c ---- */

struct cpuid_entry {
	u32 function;
	u32 index;
	u32 flags;		/* CPUID_HAS_INDEX */
	u32 eax;
	u32 ebx;
	u32 ecx;
	u32 edx;
	u32 reserved;
};

#define CPUID_HAS_INDEX		1
#define CPUID_MAX_ENTRIES	256

/* Compute once at module load what the host supports and we virtualize. */
int cpuid_init(void);
void cpuid_exit(void);
/* That list. Immutable after cpuid_init(). */
const struct cpuid_entry *cpuid_supported(u32 *count);

/**
 * cpuid_set - give a vCPU its table
 * @vcpu: at rest
 * @entries: the table; copied
 * @count: entries there
 *
 * Fills vcpu->features. Bits that we do not virtualize are taken away in the copy, so that no
 * such feature shines through. Entries are found in constant time for the common leaves.
 * Return: 0, EINVAL (duplicate, unknown flag), E2BIG (more than CPUID_MAX_ENTRIES), ENOMEM.
 */
int cpuid_set(struct vcpu *vcpu, const struct cpuid_entry *entries, u32 count);
/* A new vCPU's table: all that is supported, with vcpu->id as its APIC id. ENOMEM */
int cpuid_set_default(struct vcpu *vcpu);
bool cpuid_offers_la57(void);
/* Bits of IA32_SPEC_CTRL that a guest can have at all */
u64 cpuid_offered_spec_ctrl(void);
/* Leaf 1 EAX: family, model, stepping */
u32 cpuid_signature(const struct vcpu *vcpu);
u32 cpuid_get(const struct vcpu *vcpu, struct cpuid_entry *entries, u32 max);
void cpuid_free(struct vcpu *vcpu);

/**
 * cpuid_exec - the CPUID instruction: leaf and sub-leaf in EAX, ECX of vcpu->regs, results there
 * @vcpu: the vCPU, in its window or outside
 *
 * Dynamic bits (OSXSAVE, OSPKE, APIC enable, XSAVE sizes) come from the vCPU's state. A leaf
 * that the table lacks behaves as that vendor's CPU does (Intel: highest basic leaf; AMD: zeros).
 */
void cpuid_exec(struct vcpu *vcpu);

/* ---- msr.c ---- */

enum msr_result {
	MSR_OK,
	MSR_FAULT,		/* #GP */
	MSR_UNKNOWN,		/* no such MSR here: policy decides */
	MSR_OUTSIDE,		/* needs to sleep or user memory: again outside the window */
};

/**
 * msr_read - read a guest MSR
 * msr_write - write one
 * @vcpu: the vCPU, in its window or outside
 * @index: number of the MSR
 * @data: out: its value
 * @host: the VMM asks (state transfer): permission bits and write-once rules do not apply
 *
 * In the window an access that must sleep answers MSR_OUTSIDE and has done
 * nothing. x2APIC registers, APIC_BASE and TSC_DEADLINE go to irq/, paravirtual ones to pv/.
 * Return: enum msr_result.
 */
enum msr_result msr_read(struct vcpu *vcpu, u32 index, u64 *data, bool host);
enum msr_result msr_write(struct vcpu *vcpu, u32 index, u64 data, bool host);

struct msr_policy;
/* What the VMM's policy says of a guest access */
enum msr_verdict { MSR_POLICY_NONE, MSR_POLICY_EXIT, MSR_POLICY_DENY };
enum msr_verdict msr_policy_check(struct vm *vm, u32 index, bool write);
bool msr_policy_unknown_exits(struct vm *vm);

struct msr_range {
	u32 base;
	u32 count;
	u32 access;		/* 1 read, 2 write */
	u32 action;		/* 0 exit, 1 deny */
};

int msr_policy_set(struct vm *vm, const struct msr_range *ranges, u32 count, bool unknown_exits);
void msr_policy_free(struct vm *vm);
/* After a policy change and at vCPU creation: set hw->msr_intercept() anew. vCPU at rest */
void msr_update_intercepts(struct vcpu *vcpu);
/* Numbers of the MSRs that can be read on this host. Immutable after msr_init() */
const u32 *msr_list(u32 *count);
void msr_reset(struct vcpu *vcpu, bool init);
/* The host's TSC lost @ticks: the guest's goes on without a step */
void msr_shift_tsc(struct vcpu *vcpu, u64 ticks);
/* At load: which MSRs this host has for msr_list(), and what the constant ones say */
void msr_init(void);

/* ---- cr.c: registers as instructions write them ---- */

/* Check-and-set as the instructions do: return 0, or MSR_FAULT-like 1 for #GP */
int state_write_cr0(struct vcpu *vcpu, u64 cr0);
int state_write_cr3(struct vcpu *vcpu, u64 cr3);
int state_write_cr4(struct vcpu *vcpu, u64 cr4);
int state_write_cr8(struct vcpu *vcpu, u64 cr8);
u64 state_read_cr8(struct vcpu *vcpu);
int state_write_efer(struct vcpu *vcpu, u64 efer);
/*
 * Give a CPU that holds the page-directory-pointer entries of PAE paging those that its registers
 * ask for. Return: 0, also where there is nothing to do; 1: reserved bits, or no memory there;
 * EAGAIN in the window: not readable there now.
 */
int state_load_pdptes(struct vcpu *vcpu);
int state_write_xcr0(struct vcpu *vcpu, u64 xcr0);
/* MOV CR, MOV DR, CLTS, LMSW, XSETBV of vcpu->exit, to the end of the instruction or its fault */
enum exit_verdict state_exec_cr(struct vcpu *vcpu);
void state_exec_dr(struct vcpu *vcpu);
void state_exec_xsetbv(struct vcpu *vcpu);

/* DR6: B0-B3, BD, BS, BT may be set; RTM and the bits beside it are always one. DR7: bit 10 is. */
#define DR6_VALID_BITS	0x0000e00full
#define DR6_FIXED_BITS	0xffff0ff0ull
#define DR6_BD		0x2000
#define DR7_VALID_BITS	0xffff23ffull
#define DR7_FIXED_BITS	0x00000400ull
u64 state_fix_dr6(u64 dr6);
u64 state_fix_dr7(u64 dr7);
/* After vcpu->dr7, debug_dr7 or exits_wanted changed: put into force what holds */
void state_load_dr7(struct vcpu *vcpu);

/* ---- state.c: state groups, power-on values ---- */

/*
 * What a group may not be by itself: EINVAL (reserved bits, impossible combinations), ERANGE (an
 * address that is not canonical). Change nothing. After them the state_set_* below cannot fail.
 */
int state_check_regs(struct vcpu *vcpu, const struct cpu_regs *regs);
int state_check_segments(struct vcpu *vcpu, const struct cpu_segments *segs);
int state_check_control(struct vcpu *vcpu, const struct cpu_control *ctl);
int state_check_debug(struct vcpu *vcpu, const struct cpu_debug *debug);
/* Can a CPU have this event, by the event alone? */
bool state_valid_event(const struct cpu_event *event);
int state_check_events(struct vcpu *vcpu, const struct cpu_events *events);
int state_check_msrs(struct vcpu *vcpu, const struct cpu_msrs *msrs);

void state_get_regs(struct vcpu *vcpu, struct cpu_regs *regs);
void state_set_regs(struct vcpu *vcpu, const struct cpu_regs *regs);
void state_get_segments(struct vcpu *vcpu, struct cpu_segments *segs);
bool state_mend_segments(struct vcpu *vcpu);
void state_set_segments(struct vcpu *vcpu, const struct cpu_segments *segs);
void state_get_control(struct vcpu *vcpu, struct cpu_control *ctl);
void state_set_control(struct vcpu *vcpu, const struct cpu_control *ctl);
void state_get_debug(struct vcpu *vcpu, struct cpu_debug *debug);
void state_set_debug(struct vcpu *vcpu, const struct cpu_debug *debug);
void state_get_events(struct vcpu *vcpu, struct cpu_events *events);
void state_set_events(struct vcpu *vcpu, const struct cpu_events *events);
void state_get_msrs(struct vcpu *vcpu, struct cpu_msrs *msrs);
void state_set_msrs(struct vcpu *vcpu, const struct cpu_msrs *msrs);
/* Is the whole of it something a CPU can run? NULL, or what is wrong, in words. At rest */
const char *state_check(struct vcpu *vcpu);
/* Power-on (init false) or INIT (true) values. At rest */
void state_reset(struct vcpu *vcpu, bool init);

/* What a CPU that looks at @bits of a linear address makes of this one */
static inline u64 cpu_sign_extend(u64 address, u8 bits)
{
	return (s64)(address << (64 - bits)) >> (64 - bits);
}

/* Is the address one that such a CPU has? */
static inline bool cpu_canonical(u64 address, u8 bits)
{
	return cpu_sign_extend(address, bits) == address;
}

/*
 * Can RIP be that where an address has so many bits? An instruction at the end of the lower half
 * leaves it behind, which a VM entry takes (SDM vol. 3 27.3.1.4: bits 63:N); the fetch faults.
 */
static inline bool cpu_rip_holds(u64 rip, u8 bits)
{
	return cpu_canonical(rip, bits) || rip == BIT_ULL(bits - 1);
}

/* Width of the addresses that this host's registers hold: SDM vol. 1 3.3.7.1 (CPU-canonical) */
u8 state_register_bits(void);

/*
 * Linear address masking of a user's addresses, in CR3: bits 62:57, and bits 62:48. In
 * state_cr3_lam where the host's CPU has it; immutable after state_init()
 */
#define CR3_LAM_U57	BIT_ULL(61)
#define CR3_LAM_U48	BIT_ULL(62)

extern u64 state_cr3_lam;

/* At init */
void state_init(void);

/* Linear address of an operand in the vCPU's present mode. Window or at rest */
u64 state_linear(struct vcpu *vcpu, int segment, u64 offset);
/* 2, 4, 8: default operand size of the code that runs (8: 64-bit mode) */
int state_code_size(struct vcpu *vcpu);
/* A general register of any number, RSP included, to be read or written. Window or at rest */
u64 *state_gpr(struct vcpu *vcpu, int gpr);

/* ---- xstate.c ---- */

struct xstate;
int xstate_init(void);
u64 xstate_supported_xcr0(void);
/* What XSAVE or XSAVEC writes for the components of @mask: CPUID leaf 0xd EBX */
u32 xstate_size(u64 mask, bool compacted);
/* Size and offset of a component as leaf 0xd has them; false if we do not carry it */
bool xstate_component(int nr, u32 *size, u32 *offset, bool *aligned);
/* Of the standard format with all of xstate_supported_xcr0(); 512 without XSAVE */
u32 xstate_area_size(void);
int xstate_create(struct vcpu *vcpu);
void xstate_destroy(struct vcpu *vcpu);
void xstate_reset(struct vcpu *vcpu, bool init);
u64 xstate_xcr0(const struct vcpu *vcpu);
u64 xstate_xss(const struct vcpu *vcpu);
u32 xstate_pkru(const struct vcpu *vcpu);
/* XCR0 may change inside the window: takes effect at once there */
void xstate_set_xcr0(struct vcpu *vcpu, u64 xcr0);
void xstate_set_xss(struct vcpu *vcpu, u64 xss);
/* EINVAL: values that XSETBV or WRMSR would refuse */
int xstate_check_xcr0(struct vcpu *vcpu, u64 xcr0, u64 xss);
/* The area, at rest: contents in the standard format */
void xstate_get_area(struct vcpu *vcpu, void *area, u32 size);
/* EINVAL: header, MXCSR or components that XRSTOR would refuse */
int xstate_set_area(struct vcpu *vcpu, const void *area, u32 size);

/* ---- walk.c ---- */

/**
 * guest_translate - walk the guest's page tables as the CPU would
 * @vcpu: the vCPU, in its window or outside
 * @gva: linear address
 * @access: ACCESS_*
 * @gpa: out
 * @fault: out: the exception that the guest would get
 *
 * Works in the window (reads by memory_peek()) and outside (memory_read()). Sets A and D bits only
 * outside the window and only where the CPU would.
 * Return: 0; 1: @fault; EAGAIN in the window: not readable there now; EFAULT, ENXIO outside.
 */
int guest_translate(struct vcpu *vcpu, u64 gva, u32 access, u64 *gpa, struct cpu_event *fault);
/* The same without side effects in guest memory (a debugger's view) */
int guest_translate_probe(struct vcpu *vcpu, u64 gva, u32 access, u64 *gpa,
			  struct cpu_event *fault);
/* Linear memory, page by page; return as above. Writes only outside the window */
int guest_read(struct vcpu *vcpu, u64 gva, void *buf, size_t len, u32 access,
	       struct cpu_event *fault);
int guest_write(struct vcpu *vcpu, u64 gva, const void *buf, size_t len, u32 access,
		struct cpu_event *fault);

#define INSN_MAX	15	/* bytes of the longest instruction */

/**
 * struct insn_bytes - the code at CS:RIP
 * @linear: linear address of the first byte
 * @access: ACCESS_EXEC, and ACCESS_USER at CPL 3
 * @size: 2, 4, 8: default operand size of the code; 0: nothing here is valid yet
 * @count: bytes there
 * @bytes: they
 */
struct insn_bytes {
	u64 linear;
	u32 access;
	u8 size;
	u8 count;
	u8 bytes[INSN_MAX];
};

/**
 * insn_fetch - get the code at CS:RIP, or more of it
 * @vcpu: the vCPU, in its window or outside
 * @code: with @size 0 at first: up to INSN_MAX bytes, but not beyond the page; the rest with the
 *        next call
 * @fault: out: the exception that the guest would get
 *
 * Return: as guest_translate(); 0 with at least one byte more than before.
 */
int insn_fetch(struct vcpu *vcpu, struct insn_bytes *code, struct cpu_event *fault);
/* The same without a fetch: the CPU has supplied the first @count bytes */
void insn_given(struct vcpu *vcpu, struct insn_bytes *code, const u8 *bytes, int count);
/* Up to 15 bytes at CS:RIP. Returns how many; 0: @fault; negative as guest_translate() */
int guest_fetch(struct vcpu *vcpu, u8 bytes[INSN_MAX], struct cpu_event *fault);

/* ---- decode.c ---- */

#define INSN_NO_SEGMENT	0xff

struct insn {
	u8 length;		/* whole instruction */
	u8 opcode_map;		/* 0: one byte, 1: 0f xx, 2: 0f38, 3: 0f3a */
	u8 opcode;
	u8 modrm;
	bool has_modrm;
	u8 rex;
	u8 rep;			/* 0, 0xf2, 0xf3 */
	bool opsize;		/* 66 */
	bool addrsize;		/* 67 */
	bool locked;
	u8 segment;		/* override, or INSN_NO_SEGMENT */
};

/**
 * decode_simple - length and fields of the few instructions that exit without a memory operand
 *                 or with I/O
 * @bytes: the code
 * @count: bytes there
 * @code_size: 2, 4, 8
 * @insn: out: the fields
 *
 * Return: 0; EINVAL: another instruction, or none; ENODATA: it is longer than @count.
 */
int decode_simple(const u8 *bytes, int count, int code_size, struct insn *insn);
/**
 * decode_mmio - decode an instruction with a device register as memory operand
 * @vcpu: the vCPU
 * @code: its bytes
 * @op: out: all but @gpa
 *
 * Return: 0; EOPNOTSUPP: not one of the forms the kernel completes (an EMULATE exit); ENODATA: more
 * bytes, please.
 */
int decode_mmio(struct vcpu *vcpu, const struct insn_bytes *code, struct mmio_op *op);
/**
 * decode_next_rip - where the instruction of the current exit ends, when the CPU does not say
 * @vcpu: the vCPU, in its window or outside
 *
 * Return: 0 with vcpu->exit.next_rip set (and exit.cr.*, exit.io.* filled in for those exits);
 * 1: an exception for the guest was queued; 2: vcpu->exit is an EMULATE or FAULT exit for the
 * operand; EAGAIN: outside the window please; EINVAL: the bytes there are not such an instruction
 * (any more): enter again.
 */
int decode_next_rip(struct vcpu *vcpu);
/**
 * decode_hypercall - is what lies at CS:RIP a hypercall instruction, of either vendor?
 * @vcpu: the vCPU, in its window or outside
 *
 * Return: 1 with vcpu->exit.next_rip set; 0: no; EAGAIN: outside the window please.
 */
int decode_hypercall(struct vcpu *vcpu);

/**
 * decode_step - what a single step by RFLAGS.TF must know of the instruction at CS:RIP
 * @vcpu: the vCPU, outside its window
 * @soft: out: the event that the instruction causes by itself; type EVENT_NONE: none
 *
 * Code that cannot be read is no such instruction: the CPU shall say.
 * Return: enum step_insn.
 */
enum step_insn decode_step(struct vcpu *vcpu, struct cpu_event *soft);

/* ---- step.c ---- */

/* Outside the window, with vcpu->stepping: the next instruction is to be stepped. */
void step_begin(struct vcpu *vcpu);
/* Outside: PUSHF has been stepped, and its stack shows a TF that the guest does not have. */
void step_hide_stored_tf(struct vcpu *vcpu);
/*
 * A backend's, in its window, around an entry of a step by RFLAGS.TF: set the flag in vcpu->regs,
 * and have there what the guest would have, with the instruction done or not. Return: the trap is
 * the guest's, too.
 */
void step_set_tf(struct vcpu *vcpu);
bool step_take_tf(struct vcpu *vcpu, bool done);
/*
 * The step that the core wanted is done: vcpu->exit becomes EXIT_STEP. Where that was not what the
 * guest was left for, the next instruction has not been executed: the exit comes again with it.
 */
void step_leave(struct vcpu *vcpu, u64 conditions);
/* DR6 bits of the #DB that @exit is, or 0 */
u64 step_conditions(const struct vcpu_exit *exit);
/* Of an instruction that is made to be one: INT n, or INT3 and INTO */
static inline bool event_is_soft(const struct cpu_event *event)
{
	return event->type == EVENT_SOFT_INT || event->type == EVENT_SOFT_EXC;
}

/* ---- mmio.c ---- */

/* What became of an MMIO instruction */
enum mmio_result {
	MMIO_DONE,		/* instruction (or its fault) complete: enter again */
	MMIO_USER,		/* vcpu->exit is an MMIO exit, vcpu->pending says what is left */
	MMIO_EMULATE,		/* vcpu->exit is an EMULATE exit */
	MMIO_FAULT,		/* vcpu->exit is a FAULT exit */
	MMIO_OUTSIDE,		/* nothing was done: again outside the window */
};

/*
 * An access to @gpa that no slot backs; vcpu->exit is the EXIT_TDP_FAULT. In the window (where
 * memory_is_mmio() tells) it does what touches no guest memory but the code; else outside.
 */
enum mmio_result mmio_start(struct vcpu *vcpu, u64 gpa);
/* Leave @code, with an access to @gpa that no slot backs, to the VMM's emulator */
enum mmio_result mmio_emulate(struct vcpu *vcpu, u64 gpa, u32 access, struct insn_bytes *code);
/* Go on with vcpu->pending: the VMM has answered a read (vcpu->answer) or taken a write */
enum mmio_result mmio_continue(struct vcpu *vcpu);
/* Is a record from user space sane? 0 or EINVAL */
int mmio_check(const struct cpu_pending *pending);

/* ---- host.c, spec.c: see host.h and spec.h for what windows do ---- */

int host_init(void);
void host_exit(void);
int host_add_user_msr(u32 msr);		/* at init: returns the slot */
/* In a window, before an entry with breakpoints enabled: load the guest's DR0-3 */
void host_debug_guest(struct vcpu *vcpu);
/* This CPU goes offline, to sleep, or to another kernel. Interrupts off */
void host_cpu_down(void);

int spec_init(void);			/* bug bits, host policy, module parameter; sysfs text */
ssize_t spec_describe(char *buf, size_t size);

#endif
