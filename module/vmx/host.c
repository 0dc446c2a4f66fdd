// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's state around a guest. VM exits load most of it from the VMCS (SDM vol. 3 28.5); what
 * they load with fixed values, or leave as the guest had it, is put back here when the window ends.
 */
#include <linux/percpu.h>
#include <asm/cpufeature.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/segment.h>
#include <asm/special_insns.h>

#include "compat.h"
#include "hw.h"
#include "vmx/vmx.h"
#include "x86/count.h"
#include "x86/x86.h"

static u16 read_ldt(void)
{
	u16 selector;

	asm volatile("sldt %0" : "=rm" (selector));
	return selector;
}

static u64 read_fs_base(void)
{
	u64 base;

	if (boot_cpu_has(X86_FEATURE_FSGSBASE))
		return rdfsbase();
	rdmsrq(MSR_FS_BASE, base);
	return base;
}

static void write_fs_base(u64 base)
{
	if (boot_cpu_has(X86_FEATURE_FSGSBASE))
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
 *
 * Writes what is the same in all windows on this CPU. The VMCS is current.
 */
void vmx_move_host(void)
{
	struct desc_ptr gdt;
	u64 value;
	u16 tr;

	asm volatile("sgdt %0" : "=m" (gdt));
	asm volatile("str %0" : "=rm" (tr));
	vmwrite(HOST_GDTR_BASE, gdt.address);
	vmwrite(HOST_TR_SELECTOR, tr);
	vmwrite(HOST_TR_BASE, tss_base(&gdt, tr));
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

/* Write a host field that has another value than in the window before. */
static void update(u64 *held, unsigned long field, u64 value)
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
static void note_selectors(struct vmx_found *found)
{
	savesegment(ds, found->ds);
	savesegment(es, found->es);
	savesegment(fs, found->fs);
	savesegment(gs, found->gs);
	found->ldt = read_ldt();
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
	if (found->gs)
		load_user_gs(found->gs);
}

/*
 * KERNEL_GS_BASE without an access to the MSR, where the CPU can. In between GS is not the
 * kernel's: interrupts are off, and where these instructions are enabled an NMI's way in counts
 * on no value of its base.
 */
static u64 read_kernel_gs_base(void)
{
	u64 base;

	if (boot_cpu_has(X86_FEATURE_FSGSBASE))
		asm volatile("swapgs\n\trdgsbase %0\n\tswapgs" : "=r" (base) : : "memory");
	else
		rdmsrq(MSR_KERNEL_GS_BASE, base);
	return base;
}

static void write_kernel_gs_base(u64 base)
{
	if (boot_cpu_has(X86_FEATURE_FSGSBASE))
		asm volatile("swapgs\n\twrgsbase %0\n\tswapgs" : : "r" (base) : "memory");
	else
		wrmsrq(MSR_KERNEL_GS_BASE, base);
}

static void load_kernel_gs_base(struct vmx_vcpu *vmx)
{
	vmx->found.kernel_gs_base = read_kernel_gs_base();
	if (vmx->found.kernel_gs_base != vmx->kernel_gs_base)
		write_kernel_gs_base(vmx->kernel_gs_base);
}

static void unload_kernel_gs_base(struct vmx_vcpu *vmx)
{
	vmx->kernel_gs_base = read_kernel_gs_base();
	if (vmx->found.gs || vmx->found.kernel_gs_base != vmx->kernel_gs_base)
		write_kernel_gs_base(vmx->found.kernel_gs_base);
}

/*
 * A PEBS record that is under way when the guest begins would be written to the host's linear
 * address in the guest.
 */
static void stop_pebs(struct vmx_found *found)
{
	if (!boot_cpu_has(X86_FEATURE_PEBS))
		return;
	rdmsrq(MSR_IA32_PEBS_ENABLE, found->pebs_enable);
	if (found->pebs_enable)
		wrmsrq(MSR_IA32_PEBS_ENABLE, 0);
}

/**
 * vmx_load_host - a window begins: bring the VMCS's host state up to date, note the rest
 * @vcpu: VMCS current
 */
void vmx_load_host(struct vcpu *vcpu)
{
	struct vmx_cpu *cpu = to_vmx(vcpu)->cpu;
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	struct vmx_found *found = &vmx->found;
	struct vmx_host *host = &vmx->host;

	asm volatile("sgdt %0" : "=m" (found->gdt));
	asm volatile("sidt %0" : "=m" (found->idt));
	note_selectors(found);
	count_insn(MOV_CR);
	update(&host->cr3, HOST_CR3, __read_cr3());
	update(&host->cr4, HOST_CR4, cpu->found_cr4 | X86_CR4_VMXE);
	update(&host->fs_base, HOST_FS_BASE, read_fs_base());
	update(&host->idt_base, HOST_IDTR_BASE, found->idt.address);
	if (vmx_features.perf_global_ctrl) {
		update(&host->perf_global_ctrl, HOST_IA32_PERF_GLOBAL_CTRL,
		       compat_rdmsr(MSR_CORE_PERF_GLOBAL_CTRL));
		if (unlikely(host->perf_global_ctrl))
			stop_pebs(found);
	}
	found->debugctl = compat_rdmsr(MSR_IA32_DEBUGCTLMSR);
	load_kernel_gs_base(vmx);
}

/**
 * vmx_unload_host - a window ends
 * @vcpu: its guest may have run
 *
 * Exits set the limits of GDT and IDT to 0xffff and that of the TSS to 0x67 (28.5.2): the kernel
 * loads TR again before it needs the I/O bitmap behind it.
 */
void vmx_unload_host(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	struct vmx_found *found = &vmx->found;

	if (likely(vmx->entered)) {
		count_insns(LGDT, 2);
		asm volatile("lgdt %0" : : "m" (found->gdt));
		asm volatile("lidt %0" : : "m" (found->idt));
		invalidate_tss_limit();
		if (unlikely(found->ds | found->es | found->fs | found->gs | found->ldt))
			restore_selectors(vmx);
		/* Cleared by exits */
		if (unlikely(found->debugctl))
			wrmsrq(MSR_IA32_DEBUGCTLMSR, found->debugctl);
	}
	unload_kernel_gs_base(vmx);
	if (unlikely(found->pebs_enable)) {
		wrmsrq(MSR_IA32_PEBS_ENABLE, found->pebs_enable);
		found->pebs_enable = 0;
	}
	if (unlikely(found->restore_test_ctrl)) {
		found->restore_test_ctrl = false;
		wrmsrq(MSR_TEST_CTRL, found->test_ctrl);
	}
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

	/* The core's other thread may have set it again: what is put back is what was found. */
	if (!found->restore_test_ctrl)
		rdmsrq(MSR_TEST_CTRL, found->test_ctrl);
	found->restore_test_ctrl = true;
	wrmsrq(MSR_TEST_CTRL, found->test_ctrl & ~(u64)MSR_TEST_CTRL_SPLIT_LOCK_DETECT);
}
