/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's state around a guest: the part of host.c that every window passes through.
 */
#ifndef VMM_VMX_HOST_H
#define VMM_VMX_HOST_H

#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/thread_info.h>
#include <asm/cpufeature.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/msr.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>
#include <asm/special_insns.h>

#include "compat.h"
#include "vmx/vmx.h"
#include "x86/count.h"
#include "x86/host.h"

/* vmx_found.restore */
#define RESTORE_SELECTORS	BIT(0)
#define RESTORE_DEBUGCTL	BIT(1)
#define RESTORE_PEBS		BIT(2)
#define RESTORE_TEST_CTRL	BIT(3)
#define RESTORE_COUNTERS	BIT(4)

void vmx_note_selectors(struct vmx_vcpu *vmx);
void vmx_stop_counters(struct vmx_vcpu *vmx);
void vmx_restore_tss_limit(void);
void vmx_restore_host(struct vmx_vcpu *vmx);

static __always_inline u64 read_fs_base(void)
{
	u64 base;

	if (likely(cpu_feature_enabled(X86_FEATURE_FSGSBASE)))
		return rdfsbase();
	rdmsrq(MSR_FS_BASE, base);
	return base;
}

/*
 * KERNEL_GS_BASE without an access to the MSR, where the CPU can. In between GS is not the
 * kernel's: interrupts are off, and where these instructions are enabled an NMI's way in counts
 * on no value of its base.
 */
static __always_inline u64 read_kernel_gs_base(void)
{
	u64 base;

	if (likely(cpu_feature_enabled(X86_FEATURE_FSGSBASE)))
		asm volatile("swapgs\n\trdgsbase %0\n\tswapgs" : "=r" (base) : : "memory");
	else
		rdmsrq(MSR_KERNEL_GS_BASE, base);
	return base;
}

static inline void write_kernel_gs_base(u64 base)
{
	if (cpu_feature_enabled(X86_FEATURE_FSGSBASE))
		asm volatile("swapgs\n\twrgsbase %0\n\tswapgs" : : "r" (base) : "memory");
	else
		wrmsrq(MSR_KERNEL_GS_BASE, base);
}

/* Write a host field that has another value than in the window before. */
static __always_inline void update_host(u64 *held, unsigned long field, u64 value)
{
	if (unlikely(*held != value)) {
		*held = value;
		vmwrite(field, value);
	}
}

/*
 * Host selectors must have RPL and TI clear (27.2.3), which a user's own need not: the VMCS has
 * zero for the data segments, and what was found is loaded again. The same goes for the LDT.
 */
static __always_inline bool selectors_in_use(void)
{
	u32 ds, es, fs, gs, ldt;

	savesegment(ds, ds);
	savesegment(es, es);
	savesegment(fs, fs);
	savesegment(gs, gs);
	asm volatile("sldt %0" : "=r" (ldt));
	return ds | es | fs | gs | ldt;
}

/**
 * vmx_load_host - a window begins: bring the VMCS's host state up to date, note the rest
 * @vmx: its VMCS is current
 * @cpu: this one, with @found_cr4
 */
static __always_inline void vmx_load_host(struct vmx_vcpu *vmx, const struct vmx_cpu *cpu)
{
	struct vmx_found *found = &vmx->found;
	struct vmx_host *host = &vmx->host;
	u64 debugctl;

	if (unlikely(selectors_in_use()))
		vmx_note_selectors(vmx);
	count_insn(MOV_CR);
	update_host(&host->cr3, HOST_CR3, __native_read_cr3());
	if (unlikely(host->cr4 != cpu->found_cr4)) {
		host->cr4 = cpu->found_cr4;
		vmwrite(HOST_CR4, host->cr4 | X86_CR4_VMXE);
	}
	update_host(&host->fs_base, HOST_FS_BASE, read_fs_base());
	if (vmx_features.perf_global_ctrl) {
		update_host(&host->perf_global_ctrl, HOST_IA32_PERF_GLOBAL_CTRL,
			    compat_rdmsr(MSR_CORE_PERF_GLOBAL_CTRL));
		if (unlikely(host->perf_global_ctrl))
			vmx_stop_counters(vmx);
	}
	debugctl = compat_rdmsr(MSR_IA32_DEBUGCTLMSR);
	if (unlikely(debugctl)) {
		found->debugctl = debugctl;
		found->restore |= RESTORE_DEBUGCTL;
	}
	found->kernel_gs_base = read_kernel_gs_base();
	if (unlikely(found->kernel_gs_base != vmx->kernel_gs_base))
		write_kernel_gs_base(vmx->kernel_gs_base);
}

/**
 * vmx_unload_host - a window ends
 * @vmx: its guest may have run
 *
 * Exits set the limits of GDT and IDT to 0xffff and that of the TSS to 0x67 (28.5.2). IDTR is
 * loaded where VMX goes off; the kernel loads TR again before it needs the I/O bitmap behind it.
 */
static __always_inline void vmx_unload_host(struct vmx_vcpu *vmx)
{
	struct vmx_found *found = &vmx->found;

	count_insn(LGDT);
	asm volatile("lgdt %0" : : "m" (found->gdt));
	if (unlikely(test_thread_flag(TIF_IO_BITMAP)))
		vmx_restore_tss_limit();
	else
		this_cpu_write(__tss_limit_invalid, true);
	vmx->kernel_gs_base = read_kernel_gs_base();
	if (unlikely(found->kernel_gs_base != vmx->kernel_gs_base))
		write_kernel_gs_base(found->kernel_gs_base);
	if (unlikely(found->restore))
		vmx_restore_host(vmx);
}

/**
 * vmx_load_user_msrs - the MSRs that the host needs in user mode alone become the guest's
 * @vcpu: in its window: at its begin, and when one of them changes
 * @vmx: its
 *
 * SYSCALL uses its four in 64-bit mode alone, where EFER.SCE is set: @syscall_runs.
 */
static __always_inline void vmx_load_user_msrs(const struct vcpu *vcpu, const struct vmx_vcpu *vmx)
{
	int i;

	/* Offered only where the host has it, which then has a slot for TSC_AUX. */
	if (likely(vcpu->features.tsc_aux))
		host_set_user_msr(vmx_features.tsc_aux_slot, vmx->tsc_aux);
	if (!vmx->syscall_runs)
		return;
	for (i = 0; i < ARRAY_SIZE(vmx->syscall_msrs); i++)
		host_set_user_msr(vmx_features.syscall_slots[i], vmx->syscall_msrs[i]);
}

#endif
