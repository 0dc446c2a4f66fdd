// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's state around a guest. VM exits load most of it from the VMCS (SDM vol. 3 28.5); what
 * they load with fixed values, or leave as the guest had it, is put back here when the window ends.
 */
#include <asm/cpufeature.h>
#include <asm/desc.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/segment.h>

#include "compat.h"
#include "hw.h"
#include "vmx/host.h"
#include "vmx/vmx.h"
#include "x86/count.h"
#include "x86/x86.h"

static u16 read_ldt(void)
{
	u16 selector;

	asm volatile("sldt %0" : "=rm" (selector));
	return selector;
}

static void write_fs_base(u64 base)
{
	if (cpu_feature_enabled(X86_FEATURE_FSGSBASE))
		wrfsbase(base);
	else
		wrmsrq(MSR_FS_BASE, base);
}

static u64 tss_base(const struct desc_ptr *gdt, u16 tr)
{
	const struct ldttss_desc *tss = (const void *)(gdt->address + (tr & ~7));

	return tss->base0 | tss->base1 << 16 | (u64)tss->base2 << 24 | (u64)tss->base3 << 32;
}

/**
 * vmx_move_host - the VMCS holds another CPU's host state, or none yet
 * @vmx: its VMCS, which is current; @cpu is this one
 *
 * Writes what is the same in all windows on this CPU: the kernel has set up its descriptor tables
 * when it brought the CPU up.
 */
void vmx_move_host(struct vmx_vcpu *vmx)
{
	struct vmx_found *found = &vmx->found;
	u64 value;
	u16 tr;

	asm volatile("sgdt %0" : "=m" (found->gdt));
	asm volatile("str %0" : "=rm" (tr));
	vmwrite(HOST_GDTR_BASE, found->gdt.address);
	vmwrite(HOST_IDTR_BASE, vmx->cpu->idtr.address);
	vmwrite(HOST_TR_SELECTOR, tr);
	vmwrite(HOST_TR_BASE, tss_base(&found->gdt, tr));
	rdmsrq(MSR_GS_BASE, value);
	vmwrite(HOST_GS_BASE, value);
	rdmsrq(MSR_IA32_SYSENTER_CS, value);
	vmwrite(HOST_IA32_SYSENTER_CS, value);
	rdmsrq(MSR_IA32_SYSENTER_ESP, value);
	vmwrite(HOST_IA32_SYSENTER_ESP, value);
	rdmsrq(MSR_IA32_SYSENTER_EIP, value);
	vmwrite(HOST_IA32_SYSENTER_EIP, value);
	rdmsrq(MSR_EFER, value);
	vmwrite(HOST_IA32_EFER, value);
	rdmsrq(MSR_IA32_CR_PAT, value);
	vmwrite(HOST_IA32_PAT, value);
	vmwrite(HOST_CR0, read_cr0());
}

/* selectors_in_use() */
void vmx_note_selectors(struct vmx_vcpu *vmx)
{
	struct vmx_found *found = &vmx->found;

	savesegment(ds, found->ds);
	savesegment(es, found->es);
	savesegment(fs, found->fs);
	savesegment(gs, found->gs);
	found->ldt = read_ldt();
	found->restore |= RESTORE_SELECTORS;
}

/*
 * Loading GS changes the base in use, which is the kernel's: the other one takes its place for that
 * moment, so that an NMI's way in finds a state that it knows.
 */
static void load_user_gs(u16 selector)
{
	asm volatile("swapgs\n"
		     "	mov %k0, %%gs\n"
		     "	mfence\n"
		     "	swapgs"
		     : : "r" ((u32)selector) : "memory");
}

static void restore_selectors(struct vmx_vcpu *vmx)
{
	const struct vmx_found *found = &vmx->found;

	if (found->ldt) {
		count_insn(LGDT);
		asm volatile("lldt %0" : : "rm" (found->ldt));
	}
	if (found->ds)
		loadsegment(ds, found->ds);
	if (found->es)
		loadsegment(es, found->es);
	if (found->fs) {
		loadsegment(fs, found->fs);
		write_fs_base(vmx->host.fs_base);
	}
	if (found->gs) {
		load_user_gs(found->gs);
		write_kernel_gs_base(found->kernel_gs_base);
	}
}

/*
 * The host's counters count: what of that must end before the guest begins. Entries stop them, but
 * on CPUs whose exits would not let them go on; there they rest for the window, or until the
 * kernel's handler of an NMI in it has them go on. A PEBS record that is under way when the guest
 * begins would be written to the host's linear address in the guest.
 */
void vmx_stop_counters(struct vmx_vcpu *vmx)
{
	struct vmx_found *found = &vmx->found;

	if (!(vmx_features.exit & VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL)) {
		wrmsrq(MSR_CORE_PERF_GLOBAL_CTRL, 0);
		found->restore |= RESTORE_COUNTERS;
	}
	if (!boot_cpu_has(X86_FEATURE_PEBS))
		return;
	rdmsrq(MSR_IA32_PEBS_ENABLE, found->pebs_enable);
	if (found->pebs_enable) {
		wrmsrq(MSR_IA32_PEBS_ENABLE, 0);
		found->restore |= RESTORE_PEBS;
	}
}

/* For a thread that uses the I/O bitmap behind it now */
void vmx_restore_tss_limit(void)
{
	invalidate_tss_limit();
}

/* vmx_unload_host(), where there is more to be put back than in each window */
void vmx_restore_host(struct vmx_vcpu *vmx)
{
	struct vmx_found *found = &vmx->found;

	if (found->restore & RESTORE_SELECTORS)
		restore_selectors(vmx);
	/* Cleared by exits */
	if (found->restore & RESTORE_DEBUGCTL)
		wrmsrq(MSR_IA32_DEBUGCTLMSR, found->debugctl);
	if (found->restore & RESTORE_PEBS)
		wrmsrq(MSR_IA32_PEBS_ENABLE, found->pebs_enable);
	if (found->restore & RESTORE_COUNTERS)
		wrmsrq(MSR_CORE_PERF_GLOBAL_CTRL, vmx->host.perf_global_ctrl);
	if (found->restore & RESTORE_TEST_CTRL)
		wrmsrq(MSR_TEST_CTRL, found->test_ctrl);
	found->restore = 0;
}

/**
 * vmx_allow_split_locks - for the rest of the window
 * @vmx: whose guest has done a locked access that crosses cache lines
 *
 * The host's detection raises #AC for it, also in a guest that knows nothing of that.
 */
void vmx_allow_split_locks(struct vmx_vcpu *vmx)
{
	struct vmx_found *found = &vmx->found;

	/*
	 * The MSR is the core's: its other thread may have set the bit again, or be here as well
	 * and have cleared it. The exception has shown that the host has it set.
	 */
	if (!(found->restore & RESTORE_TEST_CTRL))
		rdmsrq(MSR_TEST_CTRL, found->test_ctrl);
	found->test_ctrl |= MSR_TEST_CTRL_SPLIT_LOCK_DETECT;
	found->restore |= RESTORE_TEST_CTRL;
	wrmsrq(MSR_TEST_CTRL, found->test_ctrl & ~(u64)MSR_TEST_CTRL_SPLIT_LOCK_DETECT);
}
