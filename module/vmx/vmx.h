/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The Intel backend: a vCPU is a VMCS. Section numbers below are those of Intel's Software
 * Developer's Manual (SDM), volume 3.
 *
 *   vmx.c      this host's VMX: is it there; the window; load, unload, enter
 *   host.[ch]  the host's state around a guest: what exits load, what they leave behind
 *   tlb.c      VPIDs (x86/tag.h), INVEPT, INVVPID
 *   vmcs.h     the cached fields, the instructions
 *   vmcs.c     what is in a VMCS: controls, registers, events
 *   exit.[ch]  an exit reason becomes a struct vcpu_exit
 *   explain.c  what is wrong with a VMCS that the CPU refuses, in words
 *   entry.S    VMLAUNCH, VMRESUME
 *   window.S   VMXON, VMXOFF, and NMIs in between
 */
#ifndef VMM_VMX_H
#define VMM_VMX_H

#include <linux/types.h>
#include <asm/apicdef.h>
#include <asm/desc_defs.h>

#include "vcpu.h"
#include "vmx/entry.h"
#include "vmx/vmcs.h"
#include "x86/spec.h"
#include "x86/tag.h"

#define WINDOW_GATES	32

/**
 * struct vmx_cpu - VMX on one processor
 * @idt: in force during windows: the kernel's exceptions but for two, see window.S. Interrupts are
 *       off there, and nothing beyond exceptions can come.
 * @idtr: of that
 * @host_idtr: the kernel's
 * @vmcs_pa: the VMCS of the window's vCPU
 * @region_pa: the VMXON region's physical address
 * @found_cr4: CR4 before the window
 * @on: we have turned VMX on. It is off where a neighbour's was on already.
 * @enabled: windows may be opened
 * @region: the VMXON region
 * @found_vmcs: the VMCS that was current before the window, where VMX was on
 * @found_rtit_ctl: IA32_RTIT_CTL before the window, where VMXON changes it
 * @vpids: the TLB tags
 *
 * Only its own CPU touches it, with interrupts off, and NMIs that come in a window. window.S knows
 * where its members are.
 */
struct vmx_cpu {
	gate_desc idt[WINDOW_GATES];
	struct desc_ptr idtr;
	struct desc_ptr host_idtr;
	u64 vmcs_pa;
	u64 region_pa;
	u64 found_cr4;
	bool on;
	bool enabled;
	struct page *region;
	u64 found_vmcs;
	u64 found_rtit_ctl;
	struct tag_cpu vpids;
};

/**
 * struct vmx_host - the host's state, as the VMCS's host fields have it
 * @cr3: may differ from window to window
 * @cr4: likewise, and without VMXE where that was clear before the window
 * @fs_base: may differ from window to window
 * @perf_global_ctrl: likewise, where it is swapped
 */
struct vmx_host {
	u64 cr3;
	u64 cr4;
	u64 fs_base;
	u64 perf_global_ctrl;
};

/**
 * struct vmx_found - what exits leave changed, to be put back at the window's end
 * @restore: RESTORE_* of vmx/host.h: which of the following; 0 outside of windows
 * @ds: selector
 * @es: selector
 * @fs: selector
 * @gs: selector
 * @ldt: selector
 * @debugctl: the MSR
 * @test_ctrl: the MSR
 * @pebs_enable: the MSR
 * @kernel_gs_base: the MSR, in each window
 * @gdt: the register with its limit, in each window
 */
struct vmx_found {
	u32 restore;
	u16 ds, es, fs, gs, ldt;
	u64 debugctl;
	u64 test_ctrl;
	u64 pebs_enable;
	u64 kernel_gs_base;
	struct desc_ptr gdt;
};

/**
 * struct vmx_vcpu - a vCPU's VMCS and what belongs to it
 * @vmcs: the VMCS's page
 * @vmcs_pa: its physical address
 * @msr_bitmap: a page
 * @virtual_apic: a page, of which the TPR is used; with APIC virtualization the LAPIC's registers
 * @constructed: fields that never change have been written
 * @current_here: the VMCS is current on this CPU: VMREAD and VMWRITE may be used
 * @launched: VMRESUME, not VMLAUNCH, is next
 * @failure: why there is no VMX in this window, where not @current_here
 * @special: SPECIAL_*: what entries and exits have to do beyond the usual; mostly nothing
 * @cpu: whose host state the VMCS holds; NULL before
 * @pml: where the CPU logs pages that the guest writes to, if @pml_on
 * @pml_on: it does
 * @cache: of the VMCS's fields
 * @rip: as it is in the VMCS
 * @rflags: likewise
 * @rsp: as it is in the VMCS, with SPECIAL_RSP; else the VMCS has a newer one than vcpu->regs
 * @interruptibility: as it is in the VMCS
 * @host: the host's state that exits load
 * @found: and what they do not
 * @host_event: the vector of an NMI or machine check that ended the guest's run: the host's handler
 *              is called behind the window; else 0
 * @root: that the EPT pointer has
 * @tag: the VMCS's VPID; without VPIDs its generation is @cpu's, and nothing else of it
 * @guard: SPEC_CTRL and speculation measures
 * @host_rsp: HOST_RSP; right behind @guard, for vmx_run()
 * @injected: the event of the next entry, and
 * @event: the same as the VMCS wants it; 0: none
 * @apic_changed: which of the following the VMCS has not: bit n: @eoi_exits[n], and
 *                APIC_STATUS_CHANGED
 * @interrupt_status: RVI and SVI. The VMCS's is the processor's: it changes while the guest runs
 * @status_entry: the last entry that brought it, by stats.entries, and
 * @status_rip: the guest's RIP then
 * @eoi_exits: vectors whose EOIs leave
 * @window: HW_WINDOW_*
 * @cr2: the guest's
 * @debugctl: the guest's
 * @syscall_runs: EFER lets SYSCALL run in 64-bit mode
 * @syscall_msrs: STAR, LSTAR, CSTAR, SFMASK: host_set_user_msr() loads them for who uses them
 * @kernel_gs_base: the guest's; in the register during a window
 * @tsc_aux: loaded by host_set_user_msr()
 * @tpr_threshold: as the core wants it
 * @step_delivers: the step that the last entry made is the delivery of @injected
 * @step_shadow: interrupt shadow without the step
 * @step_exceptions: intercepted exceptions without it
 * @step_rip: the instruction that is stepped over
 * @step_if: the guest's RFLAGS.IF before it
 *
 * All are the vCPU's: covered by its mutex.
 */
struct vmx_vcpu {
	void *vmcs;
	u64 vmcs_pa;
	u8 *msr_bitmap;
	u8 *virtual_apic;
	u64 *pml;
	bool pml_on;
	bool constructed;
	bool syscall_runs;
	bool current_here;
	bool launched;
	u8 special;
	u8 host_event;
	const char *failure;
	struct vmx_cpu *cpu;
	struct vmcs_cache cache;
	u64 rip;
	u64 rflags;
	u64 rsp;
	u32 interruptibility;
	struct vmx_host host;
	struct vmx_found found;
	u64 root;
	struct tag tag;
	struct spec_guard guard;
	u64 host_rsp;
	struct cpu_event injected;
	u32 event;
	u32 apic_changed;
	u16 interrupt_status;
	u64 status_entry;
	u64 status_rip;
	u64 eoi_exits[4];
	unsigned int window;
	u64 cr2;
	u64 debugctl;
	u64 syscall_msrs[4];
	u64 kernel_gs_base;
	u64 tsc_aux;
	u8 tpr_threshold;
	bool step_delivers;
	bool step_if;
	u8 step_shadow;
	u32 step_exceptions;
	u64 step_rip;
};

/**
 * struct vmx_features - what this host's VMX can do; set by init(), then immutable
 * @pin: pin-based controls that all vCPUs have
 * @processor: likewise primary processor-based
 * @secondary: likewise secondary ones
 * @exit: likewise VM-exit controls
 * @entry: likewise VM-entry controls
 * @revision: of VMCSs and VMXON regions
 * @cr0_fixed: CR0 bits that must be one
 * @cr4_fixed: likewise of CR4
 * @basic_error_codes: exceptions may be injected with an error code whatever their vector (A.1)
 * @ept_ad: accessed and dirty bits in EPT entries
 * @ept_exec_only: EPT entries may grant execution alone
 * @pml: writes can be logged
 * @max_level: of EPT entries that map pages
 * @invept_context: INVEPT of one root, else all
 * @vpid: VPIDs are in use
 * @invvpid_context: INVVPID of one VPID, else all
 * @tpr_shadow: CR8 runs without exits
 * @monitor_trap: the CPU leaves behind each instruction if told to; else see step.c
 * @apicv: APIC-register virtualization, virtual-interrupt delivery and x2APIC mode's are used
 * @pause_loops: loops of PAUSE can leave
 * @perf_global_ctrl: the MSR is swapped, by entries and exits if these have the controls
 * @spec_ctrl: the CPU has SPEC_CTRL
 * @timer: VMX-preemption timer's value at a window's begin; 0: it is not used
 * @syscall_slots: for host_set_user_msr(): STAR, LSTAR, CSTAR, SFMASK
 * @tsc_aux_slot: likewise, where there is a TSC_AUX
 */
struct vmx_features {
	u32 pin;
	u32 processor;
	u32 secondary;
	u32 exit;
	u32 entry;
	u32 revision;
	u64 cr0_fixed;
	u64 cr4_fixed;
	bool basic_error_codes;
	bool ept_ad;
	bool ept_exec_only;
	bool pml;
	int max_level;
	bool invept_context;
	bool vpid;
	bool invvpid_context;
	bool tpr_shadow;
	bool monitor_trap;
	bool apicv;
	bool pause_loops;
	bool perf_global_ctrl;
	bool spec_ctrl;
	u32 timer;
	int syscall_slots[4];
	int tsc_aux_slot;
};

extern struct vmx_features vmx_features;

static inline struct vmx_vcpu *to_vmx(const struct vcpu *vcpu)
{
	return vcpu->hw;
}

/* Kept there also where the CPU does not look at it */
static inline u8 vmx_cr8(const struct vmx_vcpu *vmx)
{
	return vmx->virtual_apic[APIC_TASKPRI] >> 4;
}

/* Virtual interrupts, and with them APIC registers, are the processor's for this vCPU (30.1). */
static inline bool vmx_uses_apicv(const struct vcpu *vcpu)
{
	return vmx_features.apicv && vcpu->lapic_page;
}

#define VMX_APICV_CONTROLS	(SECONDARY_EXEC_APIC_REGISTER_VIRT |	\
				 SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY)

#define APIC_STATUS_CHANGED	BIT(4)
#define APIC_ALL_CHANGED	GENMASK(4, 0)

/* BS in the pending debug exceptions (25.4.2) */
#define PENDING_DEBUG_BS	BIT(14)

/* vmx_vcpu.special */
#define SPECIAL_FAILURE		BIT(0)	/* there was no VMX, see @failure */
#define SPECIAL_NMI_WINDOW	BIT(1)	/* @window has HW_WINDOW_NMI */
#define SPECIAL_STEP		BIT(2)	/* it is stepped without a monitor trap */
#define SPECIAL_PML		BIT(3)	/* @pml_on */
#define SPECIAL_BREAKPOINTS	BIT(4)	/* the guest's DR7 enables some */
#define SPECIAL_RSP		BIT(5)	/* @rsp is known, vcpu->regs may have another */

static inline void vmx_set_special(struct vmx_vcpu *vmx, u8 bit, bool on)
{
	vmx->special = on ? vmx->special | bit : vmx->special & ~bit;
}

/* vmx.c */
const char *vmx_open(struct vmx_vcpu *vmx);
void vmx_close(struct vmx_vcpu *vmx);

/* host.c */
void vmx_move_host(struct vmx_vcpu *vmx);
void vmx_allow_split_locks(struct vmx_vcpu *vmx);

/* tlb.c */
void vmx_begin_vpids(struct vmx_cpu *cpu);
void vmx_drain_pml(struct vcpu *vcpu);
void vmx_renew_translations(struct vcpu *vcpu, u64 flush_gen);
#ifdef VMM_DEBUG
void vmx_check_numbers(struct vcpu *vcpu, u64 flush_gen);
#else
static inline void vmx_check_numbers(struct vcpu *vcpu, u64 flush_gen) { }
#endif
void vmx_use_root(struct vcpu *vcpu);
void vmx_flush_tlb(struct vcpu *vcpu);

/* vmcs.c */
void vmcs_init(struct vmx_vcpu *vmx);
void vmcs_construct(struct vmx_vcpu *vmx);
void vmcs_write_dirty(struct vmx_vcpu *vmx);
u64 vmcs_get(struct vcpu *vcpu, enum vmcs_cached field);
void vmcs_set(struct vmx_vcpu *vmx, enum vmcs_cached field, u64 value);
void vmcs_set_control(struct vmx_vcpu *vmx, enum vmcs_cached field, u32 bits, bool on);

void vmx_get_rsp(struct vcpu *vcpu);
void vmx_inject(struct vcpu *vcpu, const struct cpu_event *event);
void vmx_cancel_inject(struct vcpu *vcpu);
void vmx_request_window(struct vcpu *vcpu, unsigned int mask);
void vmx_prepare_windows(struct vcpu *vcpu);
void vmx_set_tpr_threshold(struct vcpu *vcpu, u8 cr8);
void vmx_set_virtual_interrupts(struct vcpu *vcpu, u8 irr, u8 isr, const u32 *tmr);
void vmx_write_virtual_interrupts(struct vcpu *vcpu);
u8 vmx_get_cr8(struct vcpu *vcpu);
void vmx_set_cr8(struct vcpu *vcpu, u8 cr8);
void vmx_get_segment(struct vcpu *vcpu, int index, struct cpu_segment *seg);
void vmx_set_segment(struct vcpu *vcpu, int index, const struct cpu_segment *seg);
struct cpu_mode vmx_get_mode(struct vcpu *vcpu);
struct cpu_mode vmx_read_mode(struct vcpu *vcpu);
void vmx_set_cr0(struct vcpu *vcpu);
void vmx_set_cr4(struct vcpu *vcpu);
void vmx_set_efer(struct vcpu *vcpu);
void vmx_set_pdptes(struct vcpu *vcpu, const u64 pdptes[4]);
u64 vmx_get_cr2(struct vcpu *vcpu);
void vmx_set_cr2(struct vcpu *vcpu, u64 cr2);
u64 vmx_get_cr3(struct vcpu *vcpu);
void vmx_set_cr3(struct vcpu *vcpu, u64 cr3);
void vmx_set_dr7(struct vcpu *vcpu, u64 dr7);
int vmx_get_msr(struct vcpu *vcpu, u32 msr, u64 *data);
int vmx_set_msr(struct vcpu *vcpu, u32 msr, u64 data);
void vmx_set_tsc_offset(struct vcpu *vcpu);
void vmx_set_shadow(struct vcpu *vcpu);
void vmx_forget_traps(struct vcpu *vcpu);
void vmx_msr_intercept(struct vcpu *vcpu, u32 msr, bool read, bool write);
void vmx_update_exits(struct vcpu *vcpu);

#define CODE_CONFORMING	BIT(2)

static __always_inline struct cpu_mode vmx_mode_of(const struct vcpu *vcpu, u32 cs, u32 ss)
{
	struct cpu_mode mode = { .cpl = VMX_AR_DPL(ss) };

	if ((vcpu->efer & EFER_LMA) && (cs & VMX_AR_L_MASK))
		mode.code_size = 8;
	else
		mode.code_size = cs & VMX_AR_DB_MASK ? 4 : 2;
	return mode;
}

/* Have in the cache what get_mode() reads. The VMCS is current. Return: the same */
static __always_inline struct cpu_mode vmx_keep_mode(struct vcpu *vcpu)
{
	struct vmcs_cache *cache = &to_vmx(vcpu)->cache;
	u32 cs;

	if (likely(!(cache->valid & BIT_ULL(VMCS_CS_AR)))) {
		cache->value[VMCS_CS_AR] = vmread(GUEST_CS_AR_BYTES);
		cache->valid |= BIT_ULL(VMCS_CS_AR);
	}
	cs = cache->value[VMCS_CS_AR];
	if (unlikely((cs & CODE_CONFORMING) | (cache->valid & BIT_ULL(VMCS_SS_AR))))
		return vmx_read_mode(vcpu);
	return vmx_mode_of(vcpu, cs, cs);
}

/* The same of the VMCS alone, while it holds what the last exit has stored there */
static __always_inline struct cpu_mode vmx_exit_mode(const struct vcpu *vcpu)
{
	u32 cs = vmread(GUEST_CS_AR_BYTES);
	u32 ss = cs;

	if (unlikely(cs & CODE_CONFORMING))
		ss = vmread(GUEST_SS_AR_BYTES);
	return vmx_mode_of(vcpu, cs, ss);
}

/* step.c */
void vmx_prepare_step(struct vcpu *vcpu);
void vmx_end_step(struct vcpu *vcpu);
void vmx_cancel_step(struct vcpu *vcpu);

/* explain.c */
const char *vmx_explain_refusal(void);
const char *vmx_explain_state(u32 reason);

#endif
