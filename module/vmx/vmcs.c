// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is in a VMCS: controls, registers, and events on their way into the guest.
 */
#include <linux/bitops.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/string.h>
#include <asm/apicdef.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/special_insns.h>
#include <asm/trapnr.h>

#include "compat.h"
#include "hw.h"
#include "vm.h"
#include "vmm_abi.h"
#include "vmx/host.h"
#include "vmx/vmx.h"
#include "x86/host.h"
#include "x86/x86.h"

/* By enum vmcs_cached */
static const u32 encodings[] = {
#define F(name, encoding)	encoding,
	VMCS_CACHED_FIELDS(F)
#undef F
};

/* ---- The cache ---- */

/* Fields that this CPU has not are never written. */
static u64 missing_fields(void)
{
	u64 missing = 0;

	if (!vmx_features.vpid)
		missing |= BIT_ULL(VMCS_VPID);
	if (!vmx_features.tpr_shadow)
		missing |= BIT_ULL(VMCS_TPR_THRESHOLD);
	return missing;
}

#define BUSY_TSS_16	(VMX_AR_P_MASK | VMX_AR_TYPE_BUSY_16_TSS)
#define BUSY_TSS	(VMX_AR_P_MASK | VMX_AR_TYPE_BUSY_64_TSS)

/*
 * TR always holds a busy TSS for the CPU (27.3.1.2), in IA-32e mode not a 16-bit one, whatever a
 * guest in real mode that has never loaded it, or thinks itself on another vendor's CPU, has there.
 */
static u32 tr_rights(const struct vmcs_cache *cache)
{
	u32 rights = cache->value[VMCS_TR_AR];
	u32 kept = rights & ~(u32)(VMX_AR_UNUSABLE_MASK | VMX_AR_S_MASK | VMX_AR_TYPE_MASK);

	if ((rights & VMX_AR_TYPE_MASK & ~2) == (VMX_AR_TYPE_BUSY_16_TSS & ~2) &&
	    !(rights & VMX_AR_S_MASK) &&
	    !(cache->value[VMCS_ENTRY_CONTROLS] & VM_ENTRY_IA32E_MODE))
		return kept | BUSY_TSS_16;
	return kept | BUSY_TSS;
}

/**
 * vmcs_write_dirty - bring the current VMCS up to date
 * @vmx: whose it is
 */
void vmcs_write_dirty(struct vmx_vcpu *vmx)
{
	struct vmcs_cache *cache = &vmx->cache;
	u64 dirty = cache->dirty;

	cache->dirty = 0;
	while (dirty) {
		int field = __ffs64(dirty);

		dirty &= dirty - 1;
		vmwrite(encodings[field],
			field == VMCS_TR_AR ? tr_rights(cache) : cache->value[field]);
	}
}

static void read_field(struct vmcs_cache *cache, int field)
{
	cache->value[field] = vmread(encodings[field]);
	cache->valid |= BIT_ULL(field);
}

/* One VMX operation serves all that is likely to be asked for as well. */
static noinline void read_at_rest(struct vmx_vcpu *vmx)
{
	struct vmcs_cache *cache = &vmx->cache;
	unsigned long flags;
	u64 missing;

	local_irq_save(flags);
	if (!vmx_open(vmx)) {
		missing = VMCS_ALL & ~cache->valid;
		while (missing) {
			read_field(cache, __ffs64(missing));
			missing &= missing - 1;
		}
		if (!(vmx->special & SPECIAL_RSP))
			vmx->rsp = vmread(GUEST_RSP);
		vmx_close(vmx);
	}
	local_irq_restore(flags);
}

/**
 * vmcs_get - read a cached field
 * @vcpu: window or at rest
 * @field: which
 *
 * Return: its value.
 */
u64 vmcs_get(struct vcpu *vcpu, enum vmcs_cached field)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	struct vmcs_cache *cache = &vmx->cache;

	if (unlikely(!(cache->valid & BIT_ULL(field)))) {
		if (vmx->current_here)
			read_field(cache, field);
		else
			read_at_rest(vmx);
	}
	return cache->value[field];
}

/**
 * vmcs_set - change a cached field; the VMCS has it from the next entry on
 * @vmx: window or at rest
 * @field: which
 * @value: to what
 */
void vmcs_set(struct vmx_vcpu *vmx, enum vmcs_cached field, u64 value)
{
	struct vmcs_cache *cache = &vmx->cache;

	if ((cache->valid & BIT_ULL(field)) && cache->value[field] == value)
		return;
	cache->value[field] = value;
	cache->valid |= BIT_ULL(field);
	cache->dirty |= BIT_ULL(field);
}

/**
 * vmcs_set_control - set or clear bits of a field that the guest does not change
 * @vmx: window or at rest
 * @field: of VMCS_STABLE
 * @bits: which
 * @on: set them
 */
void vmcs_set_control(struct vmx_vcpu *vmx, enum vmcs_cached field, u32 bits, bool on)
{
	u64 value = vmx->cache.value[field];

	vmcs_set(vmx, field, on ? value | bits : value & ~(u64)bits);
}

/*
 * Exceptions that always leave. An endless series of #DB or #AC inside microcode would take the
 * host CPU with it; #MC is the host's; #UD may be AMD's hypercall instruction.
 */
#define FIXED_EXCEPTIONS	(BIT(X86_TRAP_DB) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_MC) |	\
				 BIT(X86_TRAP_UD))

/**
 * vmcs_init - a cache in which only the guest's registers are missing
 * @vmx: its pages are there
 */
void vmcs_init(struct vmx_vcpu *vmx)
{
	struct vmcs_cache *cache = &vmx->cache;

	cache->valid = VMCS_ALL;
	cache->dirty = VMCS_ALL & ~missing_fields();
	cache->value[VMCS_PROCESSOR_CONTROLS] = vmx_features.processor;
	cache->value[VMCS_SECONDARY_CONTROLS] = vmx_features.secondary;
	cache->value[VMCS_ENTRY_CONTROLS] = vmx_features.entry;
	cache->value[VMCS_EXCEPTIONS] = FIXED_EXCEPTIONS;
	vmx->apic_changed = vmx_features.apicv ? APIC_ALL_CHANGED : 0;
	vmx->special = SPECIAL_RSP;
}

/*
 * PAUSEs at most so many ticks of the TSC apart are one loop, which leaves after so many ticks
 * (26.1.3). Far more than a lock is held by one who runs, far less than a time slice.
 */
#define PAUSE_LOOP_GAP		128
#define PAUSE_LOOP_WINDOW	2048

/**
 * vmcs_construct - write the fields that have neither a copy nor another value, ever
 * @vmx: VMCS current, after its first VMCLEAR
 */
void vmcs_construct(struct vmx_vcpu *vmx)
{
	vmwrite(PIN_BASED_VM_EXEC_CONTROL, vmx_features.pin);
	vmwrite(VM_EXIT_CONTROLS, vmx_features.exit);
	vmwrite(MSR_BITMAP, virt_to_phys(vmx->msr_bitmap));
	if (vmx_features.tpr_shadow)
		vmwrite(VIRTUAL_APIC_PAGE_ADDR, virt_to_phys(vmx->virtual_apic));
	if (vmx_features.pause_loops) {
		vmwrite(PLE_GAP, PAUSE_LOOP_GAP);
		vmwrite(PLE_WINDOW, PAUSE_LOOP_WINDOW);
	}
	if (vmx_features.secondary & SECONDARY_XSAVES)
		vmwrite(XSS_EXIT_BITMAP, 0);
	if (vmx_features.secondary & SECONDARY_EXEC_ENCLS_EXITING)
		vmwrite(ENCLS_EXITING_BITMAP, ~0ull);
	/* Each #PF is the guest's own (26.2). */
	vmwrite(PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmwrite(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	vmwrite(CR3_TARGET_COUNT, 0);
	vmwrite(VM_EXIT_MSR_STORE_COUNT, 0);
	vmwrite(VM_EXIT_MSR_LOAD_COUNT, 0);
	vmwrite(VM_ENTRY_MSR_LOAD_COUNT, 0);
	vmwrite(VM_ENTRY_INTR_INFO_FIELD, 0);
	/* All of CR0 and CR4 is the core's: each write that changes something leaves. */
	vmwrite(CR0_GUEST_HOST_MASK, ~0ull);
	vmwrite(CR4_GUEST_HOST_MASK, ~0ull);
	vmwrite(VMCS_LINK_POINTER, ~0ull);
	vmwrite(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmwrite(GUEST_INTERRUPTIBILITY_INFO, vmx->interruptibility);
	vmwrite(GUEST_RIP, vmx->rip);
	vmwrite(GUEST_RFLAGS, vmx->rflags);
	vmwrite(GUEST_RSP, vmx->rsp);
	if (vmx_features.perf_global_ctrl) {
		/* The host's counters do not count a guest. */
		vmwrite(GUEST_IA32_PERF_GLOBAL_CTRL, 0);
		vmwrite(HOST_IA32_PERF_GLOBAL_CTRL, vmx->host.perf_global_ctrl);
	}

	vmwrite(HOST_CS_SELECTOR, __KERNEL_CS);
	vmwrite(HOST_SS_SELECTOR, __KERNEL_DS);
	vmwrite(HOST_DS_SELECTOR, 0);
	vmwrite(HOST_ES_SELECTOR, 0);
	vmwrite(HOST_FS_SELECTOR, 0);
	vmwrite(HOST_GS_SELECTOR, 0);
	vmwrite(HOST_CR3, vmx->host.cr3);
	vmwrite(HOST_CR4, vmx->host.cr4 | X86_CR4_VMXE);
	vmwrite(HOST_FS_BASE, vmx->host.fs_base);
	vmwrite(HOST_RSP, vmx->host_rsp);
	vmwrite(HOST_RIP, (unsigned long)vmx_exit_point);
}

/* ---- Events into the guest (27.6) ---- */

/*
 * The exceptions that push an error code. CPUs insist on it for each of them, and on none for any
 * other, unless they say that they do not care (appendix A.1).
 */
#define ERROR_CODE_VECTORS	(BIT(X86_TRAP_DF) | BIT(X86_TRAP_TS) | BIT(X86_TRAP_NP) |	\
				 BIT(X86_TRAP_SS) | BIT(X86_TRAP_GP) | BIT(X86_TRAP_PF) |	\
				 BIT(X86_TRAP_AC))

static bool pushes_error_code(struct vcpu *vcpu, const struct cpu_event *event)
{
	/* Nothing is pushed in real mode. */
	return event->has_error && (vcpu->cr0 & X86_CR0_PE) &&
	       (vmx_features.basic_error_codes || BIT(event->vector) & ERROR_CODE_VECTORS);
}

/*
 * Interruption information for an event, or 0. A software interrupt or exception whose delivery was
 * interrupted left RIP at its instruction: it is not injected but executed again, unless the core
 * steps over it.
 */
static u32 interruption_info(struct vcpu *vcpu, const struct cpu_event *event)
{
	u32 info = INTR_INFO_VALID_MASK | event->vector;

	switch (event->type) {
	case EVENT_INTERRUPT:
		return info | INTR_TYPE_EXT_INTR;
	case EVENT_NMI:
		return INTR_INFO_VALID_MASK | X86_TRAP_NMI | INTR_TYPE_NMI_INTR;
	case EVENT_EXCEPTION:
		info |= INTR_TYPE_HARD_EXCEPTION;
		if (pushes_error_code(vcpu, event))
			info |= INTR_INFO_DELIVER_CODE_MASK;
		return info;
	case EVENT_SOFT_INT:
		return hw_caps.steps_by_tf && vcpu->stepping ? info | INTR_TYPE_SOFT_INTR : 0;
	case EVENT_SOFT_EXC:
		return hw_caps.steps_by_tf && vcpu->stepping ? info | INTR_TYPE_SOFT_EXCEPTION : 0;
	default:
		return 0;
	}
}

void vmx_inject(struct vcpu *vcpu, const struct cpu_event *event)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->injected = *event;
	vmx->event = interruption_info(vcpu, event);
}

void vmx_cancel_inject(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (!vmx->event)
		return;
	vmx->event = 0;
	vcpu->events.interrupted = vmx->injected;
}

void vmx_request_window(struct vcpu *vcpu, unsigned int mask)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->window = mask;
	vmx_set_special(vmx, SPECIAL_NMI_WINDOW, mask & HW_WINDOW_NMI);
	vmx_prepare_windows(vcpu);
}

/**
 * vmx_prepare_windows - choose the exits that tell when events can be delivered
 * @vcpu: in its window; before an entry with HW_WINDOW_NMI, and when the request changes
 *
 * An NMI window exit comes although STI holds NMIs back, on CPUs where it does not (26.2, 27.7.6);
 * we do hold them back. Interrupts are enabled then, so that their window tells when it is over.
 */
void vmx_prepare_windows(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	bool nmi = vmx->window & HW_WINDOW_NMI;
	bool behind_sti = nmi && vcpu->events.shadow == SHADOW_STI && !vcpu->events.nmi_blocked;

	vmcs_set_control(vmx, VMCS_PROCESSOR_CONTROLS, CPU_BASED_INTR_WINDOW_EXITING,
			 (vmx->window & HW_WINDOW_INTERRUPT) || behind_sti);
	vmcs_set_control(vmx, VMCS_PROCESSOR_CONTROLS, CPU_BASED_NMI_WINDOW_EXITING,
			 nmi && !behind_sti);
}

/* A threshold above the present TPR is refused (27.2.1.1): the core is about to raise it. */
static void choose_tpr_threshold(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (vmx_features.tpr_shadow)
		vmcs_set(vmx, VMCS_TPR_THRESHOLD, min(vmx->tpr_threshold, vmx_get_cr8(vcpu)));
}

void vmx_set_tpr_threshold(struct vcpu *vcpu, u8 cr8)
{
	to_vmx(vcpu)->tpr_threshold = cr8;
	choose_tpr_threshold(vcpu);
}

u8 vmx_get_cr8(struct vcpu *vcpu)
{
	return vmx_cr8(to_vmx(vcpu));
}

void vmx_set_cr8(struct vcpu *vcpu, u8 cr8)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	/* The LAPIC's own TPR has it already, and has more bits. */
	if (!vmx_uses_apicv(vcpu))
		vmx->virtual_apic[APIC_TASKPRI] = cr8 << 4;
	choose_tpr_threshold(vcpu);
}

void vmx_set_virtual_interrupts(struct vcpu *vcpu, u8 irr, u8 isr, const u32 *tmr)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	int i;

	vmx->interrupt_status = isr << 8 | irr;
	vmx->apic_changed |= APIC_STATUS_CHANGED;
	for (i = 0; i < ARRAY_SIZE(vmx->eoi_exits); i++) {
		u64 vectors = tmr[i * 8] | (u64)tmr[i * 8 + 4] << 32;

		if (vectors != vmx->eoi_exits[i]) {
			vmx->eoi_exits[i] = vectors;
			vmx->apic_changed |= BIT(i);
		}
	}
}

#define EOI_EXIT_BITMAP_STEP	2	/* between the encodings of two of these fields */

/*
 * The entry makes PPR of TPR and SVI, and looks whether RVI is above that (30.1.3, 30.2.1). It
 * does not do so while an interrupt window is asked for.
 */
void vmx_write_virtual_interrupts(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	int i;

	if (vmx->apic_changed & APIC_STATUS_CHANGED) {
		vmwrite(GUEST_INTR_STATUS, vmx->interrupt_status);
		vmx->status_entry = vcpu->stats.entries;
		vmx->status_rip = vcpu->regs.rip;
	}
	for (i = 0; i < ARRAY_SIZE(vmx->eoi_exits); i++)
		if (vmx->apic_changed & BIT(i))
			vmwrite(EOI_EXIT_BITMAP0 + i * EOI_EXIT_BITMAP_STEP, vmx->eoi_exits[i]);
	vmx->apic_changed = 0;
}

/* Interruptibility is compared before each entry. */
void vmx_set_shadow(struct vcpu *vcpu)
{
}

/* What MOV SS has held back waits in the VMCS (25.4.2, 28.3.4): entries would deliver it. */
void vmx_forget_traps(struct vcpu *vcpu)
{
	vmcs_set(to_vmx(vcpu), VMCS_PENDING_DEBUG, 0);
}

/* ---- Exits that depend on the VMM's wishes ---- */

/* Instructions that the CPU has and the guest's CPUID may lack are #UD then. */
void vmx_update_exits(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 secondary = vmx_features.secondary;

	if (vmx->pml_on)
		secondary |= SECONDARY_EXEC_ENABLE_PML;
	/* RDPID's, too (26.3) */
	if (!vcpu->features.tsc_aux)
		secondary &= ~(u32)SECONDARY_EXEC_ENABLE_RDTSCP;
	if (!vcpu->features.xsaves)
		secondary &= ~(u32)SECONDARY_XSAVES;
	if (vmx_uses_apicv(vcpu)) {
		secondary |= VMX_APICV_CONTROLS;
		if (vcpu->x2apic)
			secondary |= SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE;
	}
	if (vmx_features.pause_loops && vm_has_siblings(vcpu->vm))
		secondary |= SECONDARY_EXEC_PAUSE_LOOP_EXITING;
	vmcs_set(vmx, VMCS_SECONDARY_CONTROLS, secondary);

	vmcs_set_control(vmx, VMCS_EXCEPTIONS, BIT(X86_TRAP_BP),
			 vcpu->exits_wanted & VMM_EXITS_BREAKPOINT);
	vmcs_set_control(vmx, VMCS_PROCESSOR_CONTROLS, CPU_BASED_PAUSE_EXITING,
			 vcpu->exits_wanted & VMM_EXITS_PAUSE);
	vmcs_set_control(vmx, VMCS_PROCESSOR_CONTROLS, CPU_BASED_MONITOR_TRAP_FLAG,
			 vcpu->stepping && vmx_features.monitor_trap);
	vmx_set_special(vmx, SPECIAL_STEP, vcpu->stepping && !vmx_features.monitor_trap);
}

/* The bitmap (25.6.9): byte offset for reads of an MSR; writes lie 2 KiB behind. Negative: none */
static int bitmap_offset(u32 msr)
{
	switch (msr) {
	case 0 ... 0x1fff:
		return 0;
	case 0xc0000000 ... 0xc0001fff:
		return 1024;
	default:
		return -1;
	}
}

/*
 * MSRs that are the host's while the guest runs, and those of which host_set_user_msr() must know
 * what they hold.
 */
static bool msr_must_exit(u32 msr, bool write)
{
	switch (msr) {
	case MSR_EFER:
	case MSR_IA32_DEBUGCTLMSR:
	case MSR_STAR:
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_SYSCALL_MASK:
		return true;
	case MSR_TSC_AUX:
		return write;
	case MSR_IA32_SPEC_CTRL:
		return !vmx_features.spec_ctrl;
	default:
		return false;
	}
}

static void assign_bitmap_bit(u8 *bitmap, u32 msr, bool value)
{
	u8 *byte = &bitmap[(msr & 0x1fff) / 8];

	*byte = value ? *byte | BIT(msr % 8) : *byte & ~BIT(msr % 8);
}

void vmx_msr_intercept(struct vcpu *vcpu, u32 msr, bool read, bool write)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	int offset = bitmap_offset(msr);

	if (offset < 0)
		return;
	read |= msr_must_exit(msr, false);
	write |= msr_must_exit(msr, true);
	assign_bitmap_bit(vmx->msr_bitmap + offset, msr, read);
	assign_bitmap_bit(vmx->msr_bitmap + offset + 2048, msr, write);

	if (msr == MSR_IA32_SPEC_CTRL) {
		if (write)
			vmx->guard.flags &= ~GUARD_READ_SPEC_CTRL;
		else
			vmx->guard.flags |= GUARD_READ_SPEC_CTRL;
	}
}

/* ---- Segments ---- */

/* Access rights (25.4.1): our attributes with a gap at bits 8-11 */
static u32 access_rights(u16 attr)
{
	return (attr & 0xff) | (attr & 0xf00) << 4;
}

static u16 attributes(u32 rights)
{
	return (rights & 0xff) | (rights >> 4 & 0xf00);
}

static enum vmcs_cached segment_field(int index, enum vmcs_cached es_field)
{
	return es_field + index * (VMCS_CS_BASE - VMCS_ES_BASE);
}

#define DPL_BITS	(3 << VMX_AR_DPL_SHIFT)

void vmx_get_segment(struct vcpu *vcpu, int index, struct cpu_segment *seg)
{
	u32 rights;

	if (index >= CPU_GDTR) {
		bool gdtr = index == CPU_GDTR;

		*seg = (struct cpu_segment){
			.base = vmcs_get(vcpu, gdtr ? VMCS_GDTR_BASE : VMCS_IDTR_BASE),
			.limit = vmcs_get(vcpu, gdtr ? VMCS_GDTR_LIMIT : VMCS_IDTR_LIMIT),
		};
		return;
	}

	rights = vmcs_get(vcpu, segment_field(index, VMCS_ES_AR));
	/* An unusable SS still has CPL as its DPL. */
	if (rights & VMX_AR_UNUSABLE_MASK)
		rights &= index == CPU_SS ? DPL_BITS : 0;
	*seg = (struct cpu_segment){
		.selector = vmcs_get(vcpu, segment_field(index, VMCS_ES_SELECTOR)),
		.base = vmcs_get(vcpu, segment_field(index, VMCS_ES_BASE)),
		.limit = vmcs_get(vcpu, segment_field(index, VMCS_ES_LIMIT)),
		.attr = attributes(rights),
	};
}

#define TYPE_ACCESSED	1

void vmx_set_segment(struct vcpu *vcpu, int index, const struct cpu_segment *seg)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 rights = access_rights(seg->attr);

	if (index >= CPU_GDTR) {
		bool gdtr = index == CPU_GDTR;

		vmcs_set(vmx, gdtr ? VMCS_GDTR_BASE : VMCS_IDTR_BASE, seg->base);
		vmcs_set(vmx, gdtr ? VMCS_GDTR_LIMIT : VMCS_IDTR_LIMIT, seg->limit);
		return;
	}

	if (!(rights & VMX_AR_P_MASK))
		rights |= VMX_AR_UNUSABLE_MASK;
	else if (rights & VMX_AR_S_MASK)
		/* Whoever loads a segment register marks its descriptor (3.4.5.1). */
		rights |= TYPE_ACCESSED;
	vmcs_set(vmx, segment_field(index, VMCS_ES_SELECTOR), seg->selector);
	vmcs_set(vmx, segment_field(index, VMCS_ES_BASE), seg->base);
	vmcs_set(vmx, segment_field(index, VMCS_ES_LIMIT), seg->limit);
	vmcs_set(vmx, segment_field(index, VMCS_ES_AR), rights);
}

#define MODE_FIELDS	(BIT_ULL(VMCS_CS_AR) | BIT_ULL(VMCS_SS_AR))

/* vmx_get_mode(), where more than one field tells, or none is in the cache */
struct cpu_mode vmx_read_mode(struct vcpu *vcpu)
{
	const struct vmcs_cache *cache = &to_vmx(vcpu)->cache;
	u32 cs = vmcs_get(vcpu, VMCS_CS_AR);
	u32 ss = cs;

	if ((cs & CODE_CONFORMING) || (cache->valid & BIT_ULL(VMCS_SS_AR)))
		ss = vmcs_get(vcpu, VMCS_SS_AR);
	return vmx_mode_of(vcpu, cs, ss);
}

/*
 * CPL is SS's DPL. That of CS is the same after each exit, but for conforming segments (27.3.1.2),
 * and CS tells the code's size as well.
 */
struct cpu_mode vmx_get_mode(struct vcpu *vcpu)
{
	const struct vmcs_cache *cache = &to_vmx(vcpu)->cache;
	u32 cs = cache->value[VMCS_CS_AR];

	if (unlikely((cache->valid & MODE_FIELDS) != BIT_ULL(VMCS_CS_AR) || (cs & CODE_CONFORMING)))
		return vmx_read_mode(vcpu);
	return vmx_mode_of(vcpu, cs, cs);
}

/* ---- Other registers ---- */

/* Read by each exit that needs it; vcpu->regs is newer once it was. */
void vmx_get_rsp(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (vmx->special & SPECIAL_RSP)
		return;
	if (vmx->current_here)
		vmx->rsp = vmread(GUEST_RSP);
	else
		read_at_rest(vmx);
	vmx->special |= SPECIAL_RSP;
	vcpu->regs.gpr[CPU_RSP] = vmx->rsp;
}

/* CD and NW are not the guest's: an entry does not load them (27.3.2.1). */
void vmx_set_cr0(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmcs_set(vmx, VMCS_CR0, (vcpu->cr0 & ~(u64)(X86_CR0_CD | X86_CR0_NW)) |
				vmx_features.cr0_fixed);
	vmcs_set(vmx, VMCS_CR0_SHADOW, vcpu->cr0);
}

void vmx_set_cr4(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmcs_set(vmx, VMCS_CR4, vcpu->cr4 | vmx_features.cr4_fixed);
	vmcs_set(vmx, VMCS_CR4_SHADOW, vcpu->cr4);
}

void vmx_set_efer(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmcs_set(vmx, VMCS_EFER, vcpu->efer);
	vmcs_set_control(vmx, VMCS_ENTRY_CONTROLS, VM_ENTRY_IA32E_MODE, vcpu->efer & EFER_LMA);
	/* What TR may be depends on it. */
	vmcs_get(vcpu, VMCS_TR_AR);
	vmx->cache.dirty |= BIT_ULL(VMCS_TR_AR);
	vmx->syscall_runs = (vcpu->efer & EFER_LMA) && (vcpu->efer & EFER_SCE);
	if (vcpu_in_window(vcpu))
		vmx_load_user_msrs(vcpu, vmx);
}

void vmx_set_pdptes(struct vcpu *vcpu, const u64 pdptes[4])
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	int i;

	for (i = 0; i < 4; i++)
		vmcs_set(vmx, VMCS_PDPTE0 + i, pdptes[i]);
}

u64 vmx_get_cr2(struct vcpu *vcpu)
{
	return to_vmx(vcpu)->cr2;
}

void vmx_set_cr2(struct vcpu *vcpu, u64 cr2)
{
	to_vmx(vcpu)->cr2 = cr2;
}

u64 vmx_get_cr3(struct vcpu *vcpu)
{
	return vmcs_get(vcpu, VMCS_CR3);
}

void vmx_set_cr3(struct vcpu *vcpu, u64 cr3)
{
	vmcs_set(to_vmx(vcpu), VMCS_CR3, cr3);
}

void vmx_set_dr7(struct vcpu *vcpu, u64 dr7)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmcs_set(vmx, VMCS_DR7, dr7);
	vmx_set_special(vmx, SPECIAL_BREAKPOINTS,
			dr7 & (DR_LOCAL_ENABLE_MASK | DR_GLOBAL_ENABLE_MASK));
}

void vmx_set_tsc_offset(struct vcpu *vcpu)
{
	vmcs_set(to_vmx(vcpu), VMCS_TSC_OFFSET, vcpu->tsc_offset);
}

/* ---- MSRs ---- */

/* Those that VM entries and exits swap */
static int swapped_msr(u32 msr)
{
	switch (msr) {
	case MSR_IA32_SYSENTER_CS:
		return VMCS_SYSENTER_CS;
	case MSR_IA32_SYSENTER_ESP:
		return VMCS_SYSENTER_ESP;
	case MSR_IA32_SYSENTER_EIP:
		return VMCS_SYSENTER_EIP;
	case MSR_IA32_CR_PAT:
		return VMCS_PAT;
	default:
		return -1;
	}
}

static int syscall_msr(u32 msr)
{
	switch (msr) {
	case MSR_STAR:
		return 0;
	case MSR_LSTAR:
		return 1;
	case MSR_CSTAR:
		return 2;
	case MSR_SYSCALL_MASK:
		return 3;
	default:
		return -1;
	}
}

static noinline void reload_user_msrs(struct vcpu *vcpu)
{
	vmx_load_user_msrs(vcpu, to_vmx(vcpu));
}

static u64 get_kernel_gs_base(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (vmx->current_here)
		rdmsrq(MSR_KERNEL_GS_BASE, vmx->kernel_gs_base);
	return vmx->kernel_gs_base;
}

static void set_kernel_gs_base(struct vcpu *vcpu, u64 data)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->kernel_gs_base = data;
	if (vmx->current_here)
		wrmsrq(MSR_KERNEL_GS_BASE, data);
}

/* #DB clears BTF, and the exit keeps what is left. LBR is stored only. */
static u64 get_debugctl(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (vmx->debugctl & DEBUGCTLMSR_BTF && !(vmcs_get(vcpu, VMCS_DEBUGCTL) & DEBUGCTLMSR_BTF))
		vmx->debugctl &= ~(u64)DEBUGCTLMSR_BTF;
	return vmx->debugctl;
}

static void set_spec_ctrl(struct vcpu *vcpu, u64 data)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->guard.guest_spec_ctrl = data;
	if (vmx->current_here)
		spec_load_guard(&vmx->guard);
}

int vmx_get_msr(struct vcpu *vcpu, u32 msr, u64 *data)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (swapped_msr(msr) >= 0) {
		*data = vmcs_get(vcpu, swapped_msr(msr));
		return 0;
	}
	if (syscall_msr(msr) >= 0) {
		*data = vmx->syscall_msrs[syscall_msr(msr)];
		return 0;
	}
	switch (msr) {
	case MSR_KERNEL_GS_BASE:
		*data = get_kernel_gs_base(vcpu);
		return 0;
	case MSR_IA32_DEBUGCTLMSR:
		*data = get_debugctl(vcpu);
		return 0;
	case MSR_IA32_SPEC_CTRL:
		*data = vmx->guard.guest_spec_ctrl;
		return 0;
	case MSR_TSC_AUX:
		*data = vmx->tsc_aux;
		return 0;
	default:
		return -ENOENT;
	}
}

int vmx_set_msr(struct vcpu *vcpu, u32 msr, u64 data)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (swapped_msr(msr) >= 0) {
		vmcs_set(vmx, swapped_msr(msr), data);
		return 0;
	}
	if (syscall_msr(msr) >= 0) {
		vmx->syscall_msrs[syscall_msr(msr)] = data;
		if (vmx->current_here)
			reload_user_msrs(vcpu);
		return 0;
	}
	switch (msr) {
	case MSR_KERNEL_GS_BASE:
		set_kernel_gs_base(vcpu, data);
		return 0;
	case MSR_IA32_DEBUGCTLMSR:
		vmx->debugctl = data;
		vmcs_set(vmx, VMCS_DEBUGCTL, data & DEBUGCTLMSR_BTF);
		return 0;
	case MSR_IA32_SPEC_CTRL:
		set_spec_ctrl(vcpu, data);
		return 0;
	case MSR_TSC_AUX:
		vmx->tsc_aux = data;
		if (vmx->current_here)
			reload_user_msrs(vcpu);
		return 0;
	default:
		return -ENOENT;
	}
}
