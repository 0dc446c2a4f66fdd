/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a vendor implements. Everything above this line of the house is the
 * same for VMX and SVM; everything below knows nothing of ioctls, slots,
 * devices or the run loop.
 *
 * Contexts named below:
 *   "window"   between load() and unload(): interrupts off, preemption off, the
 *              guest's extended state live, no sleeping, no user memory
 *   "at rest"  the caller holds the vCPU's mutex, the vCPU is in no window
 */
#ifndef VMM_HW_H
#define VMM_HW_H

#include <linux/static_call.h>
#include <linux/types.h>

#include "x86/types.h"

struct cpu_event;
struct cpu_segment;
struct tdp_format;
struct vcpu;
struct vm;

/* Levels of interruption that request_window() can wait for */
#define HW_WINDOW_INTERRUPT	1
#define HW_WINDOW_NMI		2

/**
 * struct vmm_hw_caps - what the backend found on this host; set by init(), then immutable
 * @vendor: VMM_VENDOR_* of the ABI
 * @next_rip: exits carry the length of the instruction
 * @max_tags: TLB tags (ASIDs, VPIDs) per CPU
 * @loads_pdptes: with PAE paging the CPU holds the four page-directory-pointer entries, and
 *                @set_pdptes must give them to it where it has not loaded them itself
 * @single_step: vcpu->stepping makes the guest leave with EXIT_STEP
 * @steps_by_tf: it does so by RFLAGS.TF: the core says what the instruction is, see x86/step.c, and
 *               asks for the injection of software interrupts, which would push the flag
 * @virtual_apic: the CPU works on the registers of vcpu->lapic_page, delivers what IRR there holds
 *                and serves x2APIC MSRs by itself: @set_virtual_interrupts
 * @pause_loops: loops of PAUSE can leave, rather than each PAUSE
 * @gpa_bits: width of a guest-physical address
 * @pml: the CPU logs the pages whose dirty bits it sets: while vm->memory.log_wanted is set, each
 *       exit gives them to dirty_note_logged(); flush_gen of all roots changes when that changes
 * @tdp: entry format of the second-level table
 */
struct vmm_hw_caps {
	u32 vendor;
	bool next_rip;
	bool loads_pdptes;
	bool single_step;
	bool steps_by_tf;
	bool virtual_apic;
	bool pause_loops;
	bool pml;
	u32 max_tags;
	u32 gpa_bits;
	const struct tdp_format *tdp;
};

/**
 * struct vmm_hw - the verbs of a vendor
 * @name: "svm" or "vmx"
 *
 * @init: is this CPU model fit? Fills @caps. Logs one clear line and returns
 *        ENODEV (no such extension), EACCES (firmware disabled it), ENOTSUPP...
 *        Called once at load.
 * @exit: undoes init(). Called once, no CPU is enabled any more
 * @cpu_enable: make this CPU ready to run guests. Interrupts off, on that CPU. EBUSY
 *              if someone else holds the extension, EACCES if it is locked off
 * @cpu_disable: the opposite; also called at suspend, reboot and hot-unplug, and
 *               from kexec paths: never sleeps, never fails, may be called twice
 *
 * @vm_create: backend part of a VM (MSR bitmaps and the like); may sleep
 * @vm_destroy: no vCPU is left
 * @vcpu_create: allocate the vendor structure, in the power-on state; may sleep
 * @vcpu_destroy: at rest
 *
 * @load: enter a window on this CPU. Interrupts are off. Afterwards the vCPU may
 *        have another CPU, TLB tag or root than last time: all checks of
 *        generations happen here or in enter()
 * @unload: leave it; host state that enter() does not restore (DR7, user-mode MSRs,
 *          ...) is the host's again. With EXIT_IO it fills vcpu->exit.mode
 * @enter: one VM entry and exit, then fills vcpu->exit (reason and union; hw_*, rip,
 *         next_rip), vcpu->regs (GPRs, RIP, RFLAGS; RSP by get_rsp() contract below),
 *         vcpu->events.interrupted and .shadow, vcpu->guest_cr8. Window
 * @get_rsp: bring vcpu->regs.gpr[CPU_RSP] up to date: before it is read and before it is
 *           written. Window or at rest
 *
 * @inject: put @event into the entry. Window, at most once per entry
 * @cancel_inject: take back what inject() put there and was not delivered, into
 *                 vcpu->events.interrupted. Window or at rest
 * @request_window: leave when the guest can take an interrupt or NMI (HW_WINDOW_*
 *                  mask; 0 withdraws). Window
 * @set_tpr_threshold: leave when the guest lowers its CR8 below this (0: never). Window
 * @set_virtual_interrupts: IRR, ISR or TMR of vcpu->lapic_page have changed. @irr, @isr: their
 *                          highest vectors, 0: none. @tmr: its eight words, 16 bytes apart:
 *                          these vectors' EOIs leave with EXIT_LAPIC. Window
 * @get_cr8: the guest's present CR8, where CR8 runs without exits. Window or at rest
 * @set_cr8: set it. Window or at rest
 *
 * Window or at rest, all of these. Values are checked above; the backend adds what
 * its hardware needs (CR0.NE, CR4.VMXE, EFER.SVME) and hides it again.
 * @get_segment: @index is an enum cpu_segment_index
 * @set_segment: likewise
 * @get_mode: the mode that code runs in
 * @set_cr0: the guest's new value is in vcpu->cr0
 * @set_cr4: likewise in vcpu->cr4
 * @set_efer: likewise in vcpu->efer
 * @set_pdptes: see @loads_pdptes; checked above
 * @get_cr2: changes without exits, as CR3 does
 * @set_cr2: set it
 * @get_cr3: see @get_cr2
 * @set_cr3: set it
 * @set_dr7: DR7 in force (guest's or debugger's)
 * @get_msr: MSRs that the hardware swaps or holds for the guest: STAR, LSTAR, CSTAR,
 *           SFMASK, KERNEL_GS_BASE, SYSENTER_*, PAT, DEBUGCTL, SPEC_CTRL, TSC_AUX and
 *           no other; ENOENT for those
 * @set_msr: likewise
 * @set_tsc_offset: guest TSC = host TSC + vcpu->tsc_offset
 * @set_shadow: interrupt shadow and NMI blocking from vcpu->events (at rest)
 * @forget_traps: no #DB of what was executed before is pending any more (at rest)
 * @msr_intercept: vCPU-wide: does reading, writing @msr leave? Applies from the next entry.
 *                 At rest
 * @update_exits: vcpu->exits_wanted, stepping, features, x2apic or vm_has_siblings() changed:
 *                choose intercepts anew. Window or at rest
 * @flush_tlb: all of this vCPU's translations are stale; takes effect at the next entry. Any
 *             context on the vCPU's own thread
 */
struct vmm_hw {
	const char *name;

	int (*init)(struct vmm_hw_caps *caps);
	void (*exit)(void);
	int (*cpu_enable)(void);
	void (*cpu_disable)(void);

	int (*vm_create)(struct vm *vm);
	void (*vm_destroy)(struct vm *vm);
	int (*vcpu_create)(struct vcpu *vcpu);
	void (*vcpu_destroy)(struct vcpu *vcpu);

	void (*load)(struct vcpu *vcpu);
	void (*unload)(struct vcpu *vcpu);
	void (*enter)(struct vcpu *vcpu);
	void (*get_rsp)(struct vcpu *vcpu);

	void (*inject)(struct vcpu *vcpu, const struct cpu_event *event);
	void (*cancel_inject)(struct vcpu *vcpu);
	void (*request_window)(struct vcpu *vcpu, unsigned int mask);
	void (*set_tpr_threshold)(struct vcpu *vcpu, u8 cr8);
	void (*set_virtual_interrupts)(struct vcpu *vcpu, u8 irr, u8 isr, const u32 *tmr);
	u8 (*get_cr8)(struct vcpu *vcpu);
	void (*set_cr8)(struct vcpu *vcpu, u8 cr8);

	void (*get_segment)(struct vcpu *vcpu, int index, struct cpu_segment *seg);
	void (*set_segment)(struct vcpu *vcpu, int index, const struct cpu_segment *seg);
	struct cpu_mode (*get_mode)(struct vcpu *vcpu);
	void (*set_cr0)(struct vcpu *vcpu);
	void (*set_cr4)(struct vcpu *vcpu);
	void (*set_efer)(struct vcpu *vcpu);
	void (*set_pdptes)(struct vcpu *vcpu, const u64 pdptes[4]);
	u64 (*get_cr2)(struct vcpu *vcpu);
	void (*set_cr2)(struct vcpu *vcpu, u64 cr2);
	u64 (*get_cr3)(struct vcpu *vcpu);
	void (*set_cr3)(struct vcpu *vcpu, u64 cr3);
	void (*set_dr7)(struct vcpu *vcpu, u64 dr7);
	int (*get_msr)(struct vcpu *vcpu, u32 msr, u64 *data);
	int (*set_msr)(struct vcpu *vcpu, u32 msr, u64 data);
	void (*set_tsc_offset)(struct vcpu *vcpu);
	void (*set_shadow)(struct vcpu *vcpu);
	void (*forget_traps)(struct vcpu *vcpu);
	void (*msr_intercept)(struct vcpu *vcpu, u32 msr, bool read, bool write);
	void (*update_exits)(struct vcpu *vcpu);
	void (*flush_tlb)(struct vcpu *vcpu);
};

/* The backend in use and what it found; set once at load */
extern const struct vmm_hw *hw;
extern struct vmm_hw_caps hw_caps;

extern const struct vmm_hw svm_hw;
extern const struct vmm_hw vmx_hw;

/*
 * The verbs of the hot path: hw_call(enter)(vcpu) is hw->enter(vcpu) by a direct call, which
 * hw_use() puts there.
 */
#define HW_HOT_VERBS(V)								\
	V(load)									\
	V(unload)								\
	V(enter)								\
	V(inject)								\
	V(request_window)							\
	V(get_cr8)								\
	V(set_cr8)								\
	V(get_mode)								\
	V(get_cr3)

#define V(verb)	DECLARE_STATIC_CALL(hw_##verb, *((struct vmm_hw *)NULL)->verb);
HW_HOT_VERBS(V)
#undef V

#define hw_call(verb)	static_call(hw_##verb)

void hw_use(const struct vmm_hw *backend);

#endif
