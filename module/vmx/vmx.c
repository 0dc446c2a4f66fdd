// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMX on this host: finding it, the window in which it is on, and the way into a guest.
 *
 * VMX operation exists inside a window alone. Nobody else ever finds it on by our doing: not a
 * kernel that starts after a crash, not firmware, not another hypervisor that is loaded later.
 * One that has turned VMX on itself is a neighbour, whose current VMCS is current again
 * behind the window.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/context_tracking.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/jump_label.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/page.h>
#include <asm/processor.h>
#include <asm/special_insns.h>
#include <asm/trapnr.h>
#include <asm/tsc.h>

#include "compat.h"
#include "hw.h"
#include "tdp.h"
#include "vm.h"
#include "vmm_abi.h"
#include "vmx/exit.h"
#include "vmx/host.h"
#include "vmx/vmx.h"
#include "vmx/window.h"
#include "x86/count.h"
#include "x86/host.h"
#include "x86/x86.h"

#define CPUID_VMX		BIT(5)		/* leaf 1 ECX */
#define CR4_FRED		BIT_ULL(32)

#define NO_VMCS			(~0ull)

/* IA32_VMX_BASIC (appendix A.1) */
#define BASIC_REVISION		GENMASK_ULL(30, 0)
#define BASIC_MEMORY_TYPE(b)	(((b) >> 50) & 0xf)
#define BASIC_TRUE_CONTROLS	BIT_ULL(55)
#define BASIC_ERROR_CODES	BIT_ULL(56)

/* IA32_VMX_MISC (appendix A.6): ticks of the TSC that the timer counts as one, a power of two */
#define MISC_TIMER_RATE(m)	((m) & 0x1f)
#define MISC_TRACING		BIT_ULL(14)	/* Intel PT works in VMX operation */

static bool ept_ad = true;
module_param(ept_ad, bool, 0444);
MODULE_PARM_DESC(ept_ad, "use accessed and dirty bits of EPT entries where the processor has them (default on)");

static bool pml = true;
module_param(pml, bool, 0444);
MODULE_PARM_DESC(pml, "have the processor log writes to guest memory, where it can and a VMM asks for a log (default on)");

static bool vpid = true;
module_param(vpid, bool, 0444);
MODULE_PARM_DESC(vpid, "use VPIDs where the processor has them (default on)");

static bool monitor_trap = true;
module_param(monitor_trap, bool, 0444);
MODULE_PARM_DESC(monitor_trap, "single-step guests by the monitor trap flag where the processor has it, not by RFLAGS.TF (default on)");
static bool apicv = true;
module_param(apicv, bool, 0444);
MODULE_PARM_DESC(apicv, "virtualize APIC registers and deliver virtual interrupts where the processor does that (default on)");

/*
 * A window ends when its guest has run for so long, whatever holds the host's interrupts back: an
 * emulated CPU may look for them only where the guest has enabled its own.
 */
static unsigned int longest_run = 2000;
module_param(longest_run, uint, 0444);
MODULE_PARM_DESC(longest_run, "microseconds after which a guest that has not left is left, where the processor has a VMX-preemption timer; 0: never (default 2000)");

struct vmx_features vmx_features;

/* What find_controls() has found at init, whatever is used of it */
static struct vmx_features found_controls;

static DEFINE_PER_CPU(struct vmx_cpu, vmx_cpus);

/* VMXON would end the host's tracing for good: see stop_tracing(). */
static DEFINE_STATIC_KEY_FALSE(vmxon_ends_tracing);

static struct tdp_format ept_format;

/* ---- Is it there? ---- */

static int check_firmware(void)
{
	u64 control;

	rdmsrq(MSR_IA32_FEAT_CTL, control);
	if ((control & FEAT_CTL_LOCKED) && (control & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX))
		return 0;
	if (control & FEAT_CTL_LOCKED)
		pr_err("the firmware has disabled VMX and locked the setting (IA32_FEATURE_CONTROL): enable virtualization in its setup\n");
	else
		pr_err("VMX is not enabled (IA32_FEATURE_CONTROL is not locked): enable virtualization in the firmware's setup\n");
	return -EACCES;
}

/* A set of controls and the MSRs that say which of its bits may be zero and which one */
struct control_set {
	const char *name;
	u32 msr;
	u32 true_msr;
	u32 required;
	u32 optional;
};

static const struct control_set pin_controls = {
	"pin-based", MSR_IA32_VMX_PINBASED_CTLS, MSR_IA32_VMX_TRUE_PINBASED_CTLS,
	PIN_BASED_EXT_INTR_MASK | PIN_BASED_NMI_EXITING | PIN_BASED_VIRTUAL_NMIS,
	PIN_BASED_VMX_PREEMPTION_TIMER,
};

static const struct control_set processor_controls = {
	"processor-based", MSR_IA32_VMX_PROCBASED_CTLS, MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
	CPU_BASED_USE_TSC_OFFSETTING | CPU_BASED_HLT_EXITING | CPU_BASED_MWAIT_EXITING |
	CPU_BASED_RDPMC_EXITING | CPU_BASED_MOV_DR_EXITING | CPU_BASED_UNCOND_IO_EXITING |
	CPU_BASED_USE_MSR_BITMAPS | CPU_BASED_MONITOR_EXITING |
	CPU_BASED_ACTIVATE_SECONDARY_CONTROLS,
	CPU_BASED_TPR_SHADOW | CPU_BASED_MONITOR_TRAP_FLAG,
};

static const struct control_set secondary_controls = {
	"secondary processor-based", MSR_IA32_VMX_PROCBASED_CTLS2, MSR_IA32_VMX_PROCBASED_CTLS2,
	SECONDARY_EXEC_ENABLE_EPT | SECONDARY_EXEC_UNRESTRICTED_GUEST |
	SECONDARY_EXEC_WBINVD_EXITING,
	SECONDARY_EXEC_ENABLE_RDTSCP | SECONDARY_EXEC_ENABLE_INVPCID | SECONDARY_EXEC_ENABLE_VPID |
	SECONDARY_XSAVES | SECONDARY_EXEC_ENCLS_EXITING | VMX_APICV_CONTROLS |
	SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE | SECONDARY_EXEC_PAUSE_LOOP_EXITING |
	SECONDARY_EXEC_ENABLE_PML,
};

static const struct control_set exit_controls = {
	"VM-exit", MSR_IA32_VMX_EXIT_CTLS, MSR_IA32_VMX_TRUE_EXIT_CTLS,
	VM_EXIT_HOST_ADDR_SPACE_SIZE | VM_EXIT_SAVE_DEBUG_CONTROLS | VM_EXIT_LOAD_IA32_EFER |
	VM_EXIT_LOAD_IA32_PAT,
	VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL | VM_EXIT_SAVE_VMX_PREEMPTION_TIMER,
};

static const struct control_set entry_controls = {
	"VM-entry", MSR_IA32_VMX_ENTRY_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS,
	VM_ENTRY_LOAD_DEBUG_CONTROLS | VM_ENTRY_LOAD_IA32_EFER | VM_ENTRY_LOAD_IA32_PAT,
	VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL,
};

/* Controls of a set that this host has; bits that must be one included (appendix A.2) */
static int choose_controls(const struct control_set *set, bool has_true, u32 *controls)
{
	u32 must_be_one, may_be_one;

	rdmsr(has_true ? set->true_msr : set->msr, must_be_one, may_be_one);
	if (set->required & ~may_be_one) {
		pr_err("this processor's VMX lacks %s controls %#x\n", set->name,
		       set->required & ~may_be_one);
		return -ENODEV;
	}
	*controls = set->required | (set->optional & may_be_one) | must_be_one;
	return 0;
}

static int check_unrestricted(void)
{
	u64 controls;
	u32 may_be_one;

	rdmsrq(MSR_IA32_VMX_PROCBASED_CTLS, controls);
	if ((controls >> 32) & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS) {
		rdmsrq(MSR_IA32_VMX_PROCBASED_CTLS2, controls);
		may_be_one = controls >> 32;
		if (!(may_be_one & SECONDARY_EXEC_ENABLE_EPT)) {
			pr_err("this processor has no EPT: second-level paging is required\n");
			return -ENODEV;
		}
		if (may_be_one & SECONDARY_EXEC_UNRESTRICTED_GUEST)
			return 0;
	}
	pr_err("this processor's VMX has no unrestricted guests: real mode would have to be emulated\n");
	return -ENODEV;
}

static int find_controls(struct vmx_features *f)
{
	bool has_true;
	u64 basic;
	int ret;

	rdmsrq(MSR_IA32_VMX_BASIC, basic);
	f->revision = basic & BASIC_REVISION;
	f->basic_error_codes = basic & BASIC_ERROR_CODES;
	has_true = basic & BASIC_TRUE_CONTROLS;

	ret = choose_controls(&pin_controls, has_true, &f->pin);
	if (!ret)
		ret = choose_controls(&processor_controls, has_true, &f->processor);
	if (!ret)
		ret = choose_controls(&secondary_controls, false, &f->secondary);
	if (!ret)
		ret = choose_controls(&exit_controls, has_true, &f->exit);
	if (!ret)
		ret = choose_controls(&entry_controls, has_true, &f->entry);
	return ret;
}

/*
 * Nehalem's and Westmere's exits may clear the fixed counters' bits of the host (specification
 * updates: AAK155, AAP115, AAT100, BC86, AAY89, BD102, BA97).
 */
static bool exits_forget_counters(void)
{
	if (boot_cpu_data.x86_vendor != X86_VENDOR_INTEL || boot_cpu_data.x86 != 6)
		return false;
	switch (boot_cpu_data.x86_model) {
	case 0x1a:		/* Nehalem */
	case 0x1e:
	case 0x2e:
	case 0x25:		/* Westmere */
	case 0x2c:
		return true;
	default:
		return false;
	}
}

/*
 * Performance counters are swapped by both or not at all, and where there are any of version 2.
 * Where they cannot be by entries and exits, vmx_stop_counters() does it.
 */
static void find_perf_global_ctrl(struct vmx_features *f)
{
	bool counters = boot_cpu_data.cpuid_level >= 0xa && (cpuid_eax(0xa) & 0xff) >= 2;

	f->perf_global_ctrl = counters && (f->entry & VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL) &&
			      (f->exit & VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL);
	if (!f->perf_global_ctrl || exits_forget_counters()) {
		f->entry &= ~(u32)VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL;
		f->exit &= ~(u32)VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL;
	}
}

/* All of it or nothing. Who has a LAPIC in the kernel, and in which mode, decides for each vCPU. */
static void find_apicv(struct vmx_features *f)
{
	const u32 controls = VMX_APICV_CONTROLS | SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE;

	f->tpr_shadow = f->processor & CPU_BASED_TPR_SHADOW;
	f->apicv = apicv && f->tpr_shadow && (f->secondary & controls) == controls;
	f->secondary &= ~controls;
	/* Without the shadow CR8 is the core's. */
	if (!f->tpr_shadow)
		f->processor |= CPU_BASED_CR8_LOAD_EXITING | CPU_BASED_CR8_STORE_EXITING;
}

static void find_tracing(void)
{
	u64 misc;

	rdmsrq(MSR_IA32_VMX_MISC, misc);
	if (boot_cpu_has(X86_FEATURE_INTEL_PT) && !(misc & MISC_TRACING))
		static_branch_enable(&vmxon_ends_tracing);
}

/* The timer counts at the TSC's rate, divided by a power of two (25.5.1). */
static void find_timer(struct vmx_features *f)
{
	u64 misc;

	if (f->exit & VM_EXIT_SAVE_VMX_PREEMPTION_TIMER) {
		rdmsrq(MSR_IA32_VMX_MISC, misc);
		f->timer = min_t(u64, U32_MAX,
				 mul_u64_u32_div(tsc_khz, longest_run, USEC_PER_MSEC) >>
				 MISC_TIMER_RATE(misc));
	}
	/* Where exits do not store what is left each of them would begin anew. */
	if (!f->timer) {
		f->pin &= ~(u32)PIN_BASED_VMX_PREEMPTION_TIMER;
		f->exit &= ~(u32)VM_EXIT_SAVE_VMX_PREEMPTION_TIMER;
	}
}

/* EPT and VPID capabilities (appendix A.10) */
static int find_translation(struct vmx_features *f)
{
	u32 ept, vpids;

	rdmsr(MSR_IA32_VMX_EPT_VPID_CAP, ept, vpids);
	if (!(ept & VMX_EPT_PAGE_WALK_4_BIT) || !(ept & VMX_EPTP_WB_BIT) ||
	    !(ept & VMX_EPT_INVEPT_BIT) ||
	    !(ept & (VMX_EPT_EXTENT_CONTEXT_BIT | VMX_EPT_EXTENT_GLOBAL_BIT))) {
		pr_err("this processor's EPT lacks 4-level walks, write-back tables or INVEPT\n");
		return -ENODEV;
	}
	f->ept_ad = ept_ad && (ept & VMX_EPT_AD_BIT);
	f->ept_exec_only = ept & VMX_EPT_EXECUTE_ONLY_BIT;
	/* Dirty bits are what it logs (29.3.6); turned on by vmx_renew_translations(). */
	f->pml = pml && f->ept_ad && (f->secondary & SECONDARY_EXEC_ENABLE_PML);
	f->secondary &= ~(u32)SECONDARY_EXEC_ENABLE_PML;
	f->max_level = ept & VMX_EPT_2MB_PAGE_BIT ? ept & VMX_EPT_1GB_PAGE_BIT ? 3 : 2 : 1;
	f->invept_context = ept & VMX_EPT_EXTENT_CONTEXT_BIT;
	f->invvpid_context = vpids & VMX_VPID_EXTENT_SINGLE_CONTEXT_BIT;
	f->vpid = vpid && (f->secondary & SECONDARY_EXEC_ENABLE_VPID) &&
		  (vpids & VMX_VPID_INVVPID_BIT) && (vpids & VMX_VPID_EXTENT_GLOBAL_CONTEXT_BIT);
	if (!f->vpid)
		f->secondary &= ~(u32)SECONDARY_EXEC_ENABLE_VPID;
	return 0;
}

/*
 * CR0 and CR4 bits that must be one in VMX operation (24.8); unrestricted guests are free of PE and
 * PG. A machine check while the guest has CR4.MCE clear would shut the host down.
 */
static void find_fixed_bits(struct vmx_features *f)
{
	u64 cr0, cr4;

	rdmsrq(MSR_IA32_VMX_CR0_FIXED0, cr0);
	rdmsrq(MSR_IA32_VMX_CR4_FIXED0, cr4);
	f->cr0_fixed = cr0 & ~(u64)(X86_CR0_PE | X86_CR0_PG);
	f->cr4_fixed = cr4 | (__read_cr4() & X86_CR4_MCE);
}

static int find_user_msrs(struct vmx_features *f)
{
	static const u32 msrs[] = { MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK };
	int i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		f->syscall_slots[i] = host_add_user_msr(msrs[i]);
		if (f->syscall_slots[i] < 0)
			return f->syscall_slots[i];
	}
	if (boot_cpu_has(X86_FEATURE_RDTSCP) || boot_cpu_has(X86_FEATURE_RDPID)) {
		f->tsc_aux_slot = host_add_user_msr(MSR_TSC_AUX);
		if (f->tsc_aux_slot < 0)
			return f->tsc_aux_slot;
	}
	return 0;
}

static int find_features(void)
{
	struct vmx_features *f = &vmx_features;
	int ret;

	ret = find_controls(f);
	found_controls = *f;
	if (!ret)
		ret = find_translation(f);
	if (!ret)
		ret = find_user_msrs(f);
	if (ret)
		return ret;
	find_perf_global_ctrl(f);
	find_tracing();
	find_timer(f);
	find_fixed_bits(f);
	find_apicv(f);
	/* Each vCPU's own matter, like them */
	f->pause_loops = f->secondary & SECONDARY_EXEC_PAUSE_LOOP_EXITING;
	f->secondary &= ~(u32)SECONDARY_EXEC_PAUSE_LOOP_EXITING;
	f->spec_ctrl = boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL);
	/* Set for a vCPU that is stepped */
	f->monitor_trap = monitor_trap && (f->processor & CPU_BASED_MONITOR_TRAP_FLAG);
	f->processor &= ~(u32)CPU_BASED_MONITOR_TRAP_FLAG;
	return 0;
}

/*
 * Guest RAM is write-back whatever the guest's PAT says: the host maps the same pages so, and
 * different types on one page are undefined (12.12.4).
 */
static void describe_ept(struct vmm_hw_caps *caps)
{
	ept_format = (struct tdp_format){
		.table = VMX_EPT_RWX_MASK,
		.present = VMX_EPT_RWX_MASK,
		.read = VMX_EPT_READABLE_MASK,
		.write = VMX_EPT_WRITABLE_MASK,
		.exec = VMX_EPT_EXECUTABLE_MASK,
		.accessed = vmx_features.ept_ad ? VMX_EPT_ACCESS_BIT : 0,
		.dirty = vmx_features.ept_ad ? VMX_EPT_DIRTY_BIT : 0,
		.leaf = BIT_ULL(7),
		.ram = VMX_EPTP_MT_WB << VMX_EPT_MT_EPTE_SHIFT | VMX_EPT_IPAT_BIT,
		.address = GENMASK_ULL(51, PAGE_SHIFT),
		.levels = 4,
		.max_level = vmx_features.max_level,
		/* Where changing the size of its code's pages could cause a machine check */
		.huge_exec = !boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT),
		.exec_only = vmx_features.ept_exec_only,
	};
	caps->tdp = &ept_format;
	caps->gpa_bits = min_t(u32, boot_cpu_data.x86_phys_bits, 48);
}

static int check_support(void)
{
	int ret;

	if (!(cpuid_ecx(1) & CPUID_VMX)) {
		pr_err("this processor has no VMX\n");
		return -ENODEV;
	}
	if (__read_cr4() & CR4_FRED) {
		pr_err("this host delivers events by FRED: VMX beside that is not supported yet (boot with fred=off)\n");
		return -ENODEV;
	}
	ret = check_firmware();
	if (ret)
		return ret;
	/* By clearcpuid=, or since this boot was a measured one and VMX is not for these (TXT) */
	if (!boot_cpu_has(X86_FEATURE_VMX)) {
		pr_err("the kernel does not let VMX be used on this host\n");
		return -ENODEV;
	}
	return check_unrestricted();
}

static void free_cpus(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct vmx_cpu *this = per_cpu_ptr(&vmx_cpus, cpu);

		if (this->region)
			__free_page(this->region);
		this->region = NULL;
	}
}

/* VMXON regions and VMCSs begin with the revision (25.2, 25.11.5); none is larger than a page. */
static struct page *alloc_region(int node, gfp_t flags)
{
	struct page *page = alloc_pages_node(node, flags | __GFP_ZERO, 0);

	if (page)
		*(u32 *)page_address(page) = vmx_features.revision;
	return page;
}

static int alloc_cpus(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct vmx_cpu *this = per_cpu_ptr(&vmx_cpus, cpu);

		this->region = alloc_region(cpu_to_node(cpu), GFP_KERNEL);
		if (!this->region) {
			free_cpus();
			return -ENOMEM;
		}
		this->region_pa = page_to_phys(this->region);
		/* What was cached before, under any VPID, goes with the first that is taken. */
		vmx_begin_vpids(this);
	}
	return 0;
}

static int vmx_init(struct vmm_hw_caps *caps)
{
	int ret;

	BUILD_BUG_ON(VMCS_HOST_RSP != HOST_RSP);
	BUILD_BUG_ON(offsetof(struct vmx_vcpu, host_rsp) - offsetof(struct vmx_vcpu, guard) !=
		     ENTRY_HOST_RSP);
	BUILD_BUG_ON(offsetof(struct vmx_cpu, idt) != 0);
	BUILD_BUG_ON(offsetof(struct vmx_cpu, idtr) != CPU_IDTR);
	BUILD_BUG_ON(offsetof(struct vmx_cpu, host_idtr) != CPU_HOST_IDTR);
	BUILD_BUG_ON(offsetof(struct vmx_cpu, vmcs_pa) != CPU_VMCS);
	BUILD_BUG_ON(offsetof(struct vmx_cpu, region_pa) != CPU_REGION);
	BUILD_BUG_ON(offsetof(struct vmx_cpu, found_cr4) != CPU_FOUND_CR4);
	BUILD_BUG_ON(offsetof(struct vmx_cpu, on) != CPU_ON);

	ret = check_support();
	if (!ret)
		ret = find_features();
	if (!ret)
		ret = alloc_cpus();
	if (ret)
		return ret;

	caps->vendor = VMM_VENDOR_INTEL;
	caps->next_rip = true;
	caps->loads_pdptes = true;
	caps->single_step = vmx_features.monitor_trap || vmx_features.timer;
	caps->steps_by_tf = !vmx_features.monitor_trap;
	caps->virtual_apic = vmx_features.apicv;
	caps->pause_loops = vmx_features.pause_loops;
	caps->pml = vmx_features.pml;
	caps->max_tags = vmx_features.vpid ? 0xffff : 0;
	describe_ept(caps);
	return 0;
}

static void vmx_exit(void)
{
	free_cpus();
}

/* ---- On and off, on one CPU ---- */

/* The kernel's IDT has the window's two handlers: without IST, as they stay on the stack in use. */
static void set_gate(gate_desc *gate, void (*handler)(void))
{
	unsigned long address = (unsigned long)handler;

	gate->offset_low = (u16)address;
	gate->offset_middle = (u16)(address >> 16);
	gate->offset_high = (u32)(address >> 32);
	gate->bits.ist = 0;
}

static void make_idt(struct vmx_cpu *cpu)
{
	store_idt(&cpu->host_idtr);
	memcpy(cpu->idt, (const void *)cpu->host_idtr.address, sizeof(cpu->idt));
	set_gate(&cpu->idt[X86_TRAP_NMI], vmx_window_nmi);
	set_gate(&cpu->idt[X86_TRAP_MC], vmx_window_machine_check);
	cpu->idtr.address = (unsigned long)cpu->idt;
	cpu->idtr.size = sizeof(cpu->idt) - 1;
}

/* CR4.VMXE is set: where VMX is on it stays on. */
static noinline bool join_neighbour(struct vmx_cpu *cpu)
{
	cpu->found_vmcs = NO_VMCS;
	if (!vmptrst(&cpu->found_vmcs))
		return false;
	load_idt(&cpu->idtr);
	return true;
}

static noinline void leave_to_neighbour(struct vmx_cpu *cpu)
{
	vmclear(&cpu->vmcs_pa);
	if (cpu->found_vmcs != NO_VMCS)
		vmptrld(&cpu->found_vmcs);
	load_idt(&cpu->host_idtr);
}

/*
 * Where Intel PT does not work in VMX operation, VMXON clears IA32_RTIT_CTL.TraceEn, and VMXOFF
 * leaves it so (A.6). All of the MSR is cleared first, which is allowed together with TraceEn
 * (33.2.8.2): what the kernel's handler of an NMI in the window writes there is something else, and
 * is not overwritten afterwards. A trace that goes on behind that handler is ended by the VMXON
 * that follows it, until perf starts it again.
 */
static noinline void stop_tracing(struct vmx_cpu *cpu)
{
	rdmsrq(MSR_IA32_RTIT_CTL, cpu->found_rtit_ctl);
	if (cpu->found_rtit_ctl & RTIT_CTL_TRACEEN)
		wrmsrq(MSR_IA32_RTIT_CTL, 0);
}

static noinline void resume_tracing(struct vmx_cpu *cpu)
{
	u64 control;

	if (!(cpu->found_rtit_ctl & RTIT_CTL_TRACEEN))
		return;
	rdmsrq(MSR_IA32_RTIT_CTL, control);
	if (!control)
		wrmsrq(MSR_IA32_RTIT_CTL, cpu->found_rtit_ctl);
}

/* CR4 is read and written without the kernel's copy of it, which is to stay what it is. */
static __always_inline bool start_vmx(struct vmx_cpu *cpu)
{
	u64 cr4 = __read_cr4();

	count_insns(MOV_CR, 2);
	count_insn(LGDT);
	count_insn(VMXON);
	cpu->found_cr4 = cr4;
	if (unlikely(cr4 & X86_CR4_VMXE) && join_neighbour(cpu))
		return true;
	if (static_branch_unlikely(&vmxon_ends_tracing))
		stop_tracing(cpu);
	vmx_turn_on(cpu);
	if (static_branch_unlikely(&vmxon_ends_tracing) && !cpu->on)
		resume_tracing(cpu);
	return likely(cpu->on);
}

static __always_inline void stop_vmx(struct vmx_cpu *cpu)
{
	count_insn(VMCLEAR);
	count_insn(VMXOFF);
	count_insn(MOV_CR);
	count_insn(LGDT);
	if (likely(cpu->on)) {
		vmx_turn_off(cpu);
		if (static_branch_unlikely(&vmxon_ends_tracing))
			resume_tracing(cpu);
	} else {
		leave_to_neighbour(cpu);
	}
}

/*
 * Does VMXON work here, where nobody else has done it? It may not although all that is asked above
 * says so: in a measured boot (24.7), or under a hypervisor.
 */
static bool try_vmx(struct vmx_cpu *cpu)
{
	if (__read_cr4() & X86_CR4_VMXE)
		return true;
	/* VMCLEAR of the VMXON region fails, and changes nothing. */
	cpu->vmcs_pa = cpu->region_pa;
	if (!start_vmx(cpu))
		return false;
	stop_vmx(cpu);
	return true;
}

/* A VMCS goes from CPU to CPU: each has the controls and the format of the one at init. */
static bool same_controls(void)
{
	struct vmx_features here;

	memset(&here, 0, sizeof(here));
	return !find_controls(&here) && !memcmp(&here, &found_controls, sizeof(here));
}

static int vmx_cpu_enable(void)
{
	struct vmx_cpu *cpu = this_cpu_ptr(&vmx_cpus);
	int ret;

	if (cpu->enabled)
		return 0;
	ret = check_firmware();
	if (ret)
		return ret;
	if (!same_controls()) {
		pr_err("CPU %d: its VMX differs from the others'\n", smp_processor_id());
		return -ENODEV;
	}
	make_idt(cpu);
	if (!try_vmx(cpu)) {
		pr_err("CPU %d: VMXON fails, although the processor and its firmware offer VMX\n",
		       smp_processor_id());
		return -ENODEV;
	}
	cpu->enabled = true;
	return 0;
}

/* VMX is off already: there is no window here. */
static void vmx_cpu_disable(void)
{
	host_cpu_down();
	this_cpu_write(vmx_cpus.enabled, false);
}

/* Before its first use a VMCS is cleared (25.11.3); after that each window ends with it. */
static noinline bool construct(struct vmx_vcpu *vmx)
{
	if (!vmclear(&vmx->vmcs_pa)) {
		vmx->failure = "VMCLEAR of a new VMCS failed";
		return false;
	}
	if (!vmptrld(&vmx->vmcs_pa)) {
		vmx->failure = "VMPTRLD of a new VMCS failed";
		return false;
	}
	vmcs_construct(vmx);
	vmx->constructed = true;
	return true;
}

static __always_inline bool make_current(struct vmx_vcpu *vmx)
{
	if (unlikely(!vmx->constructed))
		return construct(vmx);
	if (likely(vmptrld(&vmx->vmcs_pa)))
		return true;
	vmx->failure = "VMPTRLD failed";
	return false;
}

/* False: vmx->failure says what went wrong. */
static __always_inline bool open_window(struct vmx_vcpu *vmx, struct vmx_cpu *cpu)
{
	if (unlikely(!cpu->enabled)) {
		vmx->failure = "the machine goes down: VMX is off already";
		return false;
	}
	cpu->vmcs_pa = vmx->vmcs_pa;
	if (unlikely(!start_vmx(cpu))) {
		vmx->failure = "VMXON failed";
		return false;
	}
	if (unlikely(!make_current(vmx))) {
		stop_vmx(cpu);
		return false;
	}
	vmx->current_here = true;
	vmx->launched = false;
	return true;
}

static __always_inline void close_window(struct vmx_vcpu *vmx, struct vmx_cpu *cpu)
{
	vmx->current_here = false;
	stop_vmx(cpu);
}

/**
 * vmx_open - turn VMX on, and make a vCPU's VMCS the current one
 * @vmx: whose; interrupts are off
 *
 * Return: NULL, or what went wrong, in words.
 */
const char *vmx_open(struct vmx_vcpu *vmx)
{
	return open_window(vmx, this_cpu_ptr(&vmx_cpus)) ? NULL : vmx->failure;
}

/**
 * vmx_close - the opposite; the VMCS is in memory and on no CPU afterwards
 * @vmx: whose
 */
void vmx_close(struct vmx_vcpu *vmx)
{
	close_window(vmx, this_cpu_ptr(&vmx_cpus));
}

/* ---- VMs and vCPUs ---- */

static int vmx_vm_create(struct vm *vm)
{
	return 0;
}

static void vmx_vm_destroy(struct vm *vm)
{
}

static void free_vcpu(struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
	free_page((unsigned long)vmx->pml);
	if (!vmx_uses_apicv(vcpu))
		free_page((unsigned long)vmx->virtual_apic);
	free_page((unsigned long)vmx->msr_bitmap);
	free_page((unsigned long)vmx->vmcs);
	kfree(vmx);
}

static int vmx_vcpu_create(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx;
	struct page *vmcs;

	vmx = kzalloc(sizeof(*vmx), GFP_KERNEL_ACCOUNT);
	if (!vmx)
		return -ENOMEM;
	vmcs = alloc_region(NUMA_NO_NODE, GFP_KERNEL_ACCOUNT);
	vmx->vmcs = vmcs ? page_address(vmcs) : NULL;
	vmx->msr_bitmap = (u8 *)__get_free_page(GFP_KERNEL_ACCOUNT);
	vmx->virtual_apic = vmx_uses_apicv(vcpu) ? (u8 *)vcpu->lapic_page :
						   (u8 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (vmx_features.pml)
		vmx->pml = (u64 *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!vmx->vmcs || !vmx->msr_bitmap || !vmx->virtual_apic ||
	    (vmx_features.pml && !vmx->pml)) {
		free_vcpu(vcpu, vmx);
		return -ENOMEM;
	}
	vmx->vmcs_pa = virt_to_phys(vmx->vmcs);
	memset(vmx->msr_bitmap, 0xff, PAGE_SIZE);
	vmx->guard.flags = spec_entry_measures;
	vcpu->hw = vmx;
	vmcs_init(vmx);
	return 0;
}

static void vmx_vcpu_destroy(struct vcpu *vcpu)
{
	free_vcpu(vcpu, to_vmx(vcpu));
}

/* ---- The window ---- */

static void vmx_load(struct vcpu *vcpu)
{
	struct vmx_cpu *cpu = this_cpu_ptr(&vmx_cpus);
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (unlikely(!open_window(vmx, cpu))) {
		vmx->special |= SPECIAL_FAILURE;
		return;
	}
	if (unlikely(vmx->cpu != cpu)) {
		vmx->cpu = cpu;
		vmx_move_host(vmx);
		vmx_use_root(vcpu);
	}
	if (likely(vmx_features.timer))
		vmwrite(VMX_PREEMPTION_TIMER_VALUE, vmx_features.timer);
	vmx_load_host(vmx, cpu);
	host_load();
	vmx_load_user_msrs(vcpu, vmx);
	if (unlikely(vmx->guard.guest_spec_ctrl | vmx->guard.flags) && vmx_features.spec_ctrl)
		spec_load_guard(&vmx->guard);
	spec_load_window();
}

/* An NMI's exit has NMIs blocked (28.2.3): the handler's IRET ends that. */
static noinline void call_host_handler(struct vmx_vcpu *vmx)
{
	if (vmx->host_event == X86_TRAP_NMI)
		asm volatile("int $2");
	else
		compat_machine_check();
	vmx->host_event = 0;
}

static void vmx_unload(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (unlikely(!vmx->current_here))
		return;
	/* Each exit to the front end carries CPL and the code's size; get_mode() may be asked. */
	if (likely(vcpu->exit.reason == EXIT_IO))
		vcpu->exit.mode = vmx_exit_mode(vcpu);
	else if (vcpu->exit.reason != EXIT_HOST)
		vmx_keep_mode(vcpu);
	vmx_unload_host(vmx);
	close_window(vmx, vmx->cpu);
	host_unload();
	if (unlikely(vmx->host_event))
		call_host_handler(vmx);
}

/* Shadow and NMI blocking as they must be at the entry, with what is injected by it (27.3.1.5) */
static u32 wanted_interruptibility(struct vcpu *vcpu)
{
	const struct cpu_events *events = &vcpu->events;
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 type = vmx->event & INTR_INFO_INTR_TYPE_MASK;
	bool delivers = vmx->event && type != INTR_TYPE_HARD_EXCEPTION;
	u32 info = 0;

	/* Where an interrupt or NMI is delivered the shadow is over. */
	if (events->shadow && !delivers)
		info = events->shadow == SHADOW_STI && (vcpu->regs.rflags & X86_EFLAGS_IF) ?
		       GUEST_INTR_STATE_STI : GUEST_INTR_STATE_MOV_SS;
	/* The injected NMI blocks others by itself. */
	if (events->nmi_blocked && !(vmx->event && type == INTR_TYPE_NMI_INTR))
		info |= GUEST_INTR_STATE_NMI;
	return info;
}

/*
 * In a shadow the single-step trap of the instruction before is pending where RFLAGS.TF is set, and
 * else it is not (27.3.1.5).
 */
static void fix_pending_debug(struct vcpu *vcpu)
{
	u64 pending = vmcs_get(vcpu, VMCS_PENDING_DEBUG) & ~(u64)PENDING_DEBUG_BS;
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if ((vcpu->regs.rflags & X86_EFLAGS_TF) &&
	    !(vmcs_get(vcpu, VMCS_DEBUGCTL) & DEBUGCTLMSR_BTF))
		pending |= PENDING_DEBUG_BS;
	vmcs_set(vmx, VMCS_PENDING_DEBUG, pending);
}

/* What is known of translations is compared with what has been invalidated: see tlb.c. */
static __always_inline void check_translations(struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
	u64 flush_gen = atomic64_read(&vcpu->tdp->flush_gen);

	if (unlikely(tag_is_stale(&vmx->tag, &vmx->cpu->vpids, flush_gen)))
		vmx_renew_translations(vcpu, flush_gen);
	vmx_check_numbers(vcpu, flush_gen);
}

/* The event to be injected, what is blocked at the entry, and what waits in the LAPIC */
static noinline void write_event(struct vcpu *vcpu)
{
	u32 interruptibility = wanted_interruptibility(vcpu);
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (vmx->interruptibility != interruptibility) {
		vmwrite(GUEST_INTERRUPTIBILITY_INFO, interruptibility);
		vmx->interruptibility = interruptibility;
	}
	if (interruptibility & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS))
		fix_pending_debug(vcpu);
	if (vmx->event) {
		vmwrite(VM_ENTRY_INTR_INFO_FIELD, vmx->event);
		if (vmx->event & INTR_INFO_DELIVER_CODE_MASK)
			vmwrite(VM_ENTRY_EXCEPTION_ERROR_CODE, vmx->injected.error);
	}
	if (vmx->apic_changed)
		vmx_write_virtual_interrupts(vcpu);
}

/* What changes often has no place in the cache, but is compared with what the VMCS holds. */
static __always_inline void write_state(struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
	if (vmx->rip != vcpu->regs.rip)
		vmwrite(GUEST_RIP, vcpu->regs.rip);
	if (unlikely(vmx->rflags != vcpu->regs.rflags))
		vmwrite(GUEST_RFLAGS, vcpu->regs.rflags);
	/* Mostly nothing is blocked, nor was it, and nothing is injected: one branch for all. */
	if (unlikely(vmx->event | vmx->interruptibility | vcpu->events.shadow |
		     vcpu->events.nmi_blocked | vmx->apic_changed | vmx->cache.dirty)) {
		write_event(vcpu);
		if (vmx->cache.dirty)
			vmcs_write_dirty(vmx);
	}
}

/* On a CPU without a tick RCU takes the guest for user code: nothing here may be traced. */
static noinstr int run_tracked(struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
	int refused;

	context_tracking_guest_enter();
	refused = vmx_run(vcpu->regs.gpr, vmx->launched, &vmx->guard);
	context_tracking_guest_exit();
	return refused;
}

static __always_inline int run_guest(struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
	if (context_tracking_enabled())
		return run_tracked(vcpu, vmx);
	return vmx_run(vcpu->regs.gpr, vmx->launched, &vmx->guard);
}

/* Nothing of the guest ran. The VMCS still has the event, which the next entry may not want. */
static void undo_entry(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (vmx->event)
		vmwrite(VM_ENTRY_INTR_INFO_FIELD, 0);
	vmx_cancel_inject(vcpu);
	if (vmx->special & SPECIAL_STEP)
		vmx_cancel_step(vcpu);
	/* What it holds now is what was written. */
	vmx->rip = vcpu->regs.rip;
	vmx->rflags = vcpu->regs.rflags;
	if (vmx->special & SPECIAL_RSP)
		vmx->rsp = vcpu->regs.gpr[CPU_RSP];
}

static void entry_failed(struct vcpu *vcpu, const char *message)
{
	undo_entry(vcpu);
	vcpu->exit.reason = EXIT_FAIL_ENTRY;
	vcpu->exit.rip = vcpu->regs.rip;
	vcpu->exit.message = message;
	pr_warn_ratelimited("vCPU %u: entry refused: %s\n", vcpu->id, message);
}

static __always_inline void read_state(struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
	u64 rip = vmread(GUEST_RIP);
	u64 rflags = vmread(GUEST_RFLAGS);
	u32 info = vmread(GUEST_INTERRUPTIBILITY_INFO);

	vmx->cache.valid &= VMCS_STABLE;
	vmx->rip = rip;
	vmx->rflags = rflags;
	vmx->special &= ~SPECIAL_RSP;
	vcpu->regs.rip = rip;
	vcpu->regs.rflags = rflags;
	vcpu->exit.rip = rip;
	vmx->interruptibility = info;
	vcpu->guest_cr8 = vmx_cr8(vmx);
	vcpu->events.nmi_blocked = 0;
	vcpu->events.shadow = 0;
	if (unlikely(info)) {
		vcpu->events.nmi_blocked = !!(info & GUEST_INTR_STATE_NMI);
		vcpu->events.shadow = info & GUEST_INTR_STATE_STI ? SHADOW_STI :
				      info & GUEST_INTR_STATE_MOV_SS ? SHADOW_MOV_SS : 0;
	}
}

/* Before an entry, with vmx->special. False: there is none */
static noinline bool prepare_special(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (!vmx->current_here) {
		vmx_cancel_inject(vcpu);
		vcpu->exit.reason = EXIT_FAIL_ENTRY;
		vcpu->exit.rip = vcpu->regs.rip;
		vcpu->exit.message = vmx->failure;
		return false;
	}
	vmx->special &= ~SPECIAL_FAILURE;
	if (vmx->special & SPECIAL_NMI_WINDOW)
		vmx_prepare_windows(vcpu);
	if (vmx->special & SPECIAL_STEP)
		vmx_prepare_step(vcpu);
	if (vmx->special & SPECIAL_BREAKPOINTS)
		host_debug_guest(vcpu);
	if ((vmx->special & SPECIAL_RSP) && vmx->rsp != vcpu->regs.gpr[CPU_RSP])
		vmwrite(GUEST_RSP, vcpu->regs.gpr[CPU_RSP]);
	return true;
}

/* Behind an exit, with vmx->special */
static noinline void finish_special(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (vmx->special & SPECIAL_PML)
		vmx_drain_pml(vcpu);
	if (vmx->special & SPECIAL_STEP)
		vmx_end_step(vcpu);
}

static void vmx_enter(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 reason;
	int refused;

	if (unlikely(vmx->special) && !prepare_special(vcpu))
		return;
	check_translations(vcpu, vmx);
	write_state(vcpu, vmx);
	count_guard(&vmx->guard);
	count_insns(MOV_CR, native_read_cr2() != vmx->cr2 ? 3 : 2);
	count_entry(vcpu);
	/* Nobody else changes it: nothing here faults, and NMIs keep it. */
	if (native_read_cr2() != vmx->cr2)
		native_write_cr2(vmx->cr2);
	refused = run_guest(vcpu, vmx);
	/* An NMI in this window has cleared the VMCS: see window.S. */
	if (unlikely(refused && vmread(VM_INSTRUCTION_ERROR) == VMXERR_VMRESUME_NONLAUNCHED_VMCS)) {
		vmx->launched = false;
		refused = run_guest(vcpu, vmx);
	}
	vmx->cr2 = native_read_cr2();
	if (unlikely(refused)) {
		vcpu->exit.hw_reason = vmread(VM_INSTRUCTION_ERROR);
		vcpu->exit.hw_info1 = 0;
		vcpu->exit.hw_info2 = 0;
		entry_failed(vcpu, vmx_explain_refusal());
		return;
	}
	reason = vmread(VM_EXIT_REASON);
	vcpu->exit.hw_reason = reason;
	if (unlikely(reason & VMX_EXIT_REASONS_FAILED_VMENTRY)) {
		vcpu->exit.hw_info1 = vmread(EXIT_QUALIFICATION);
		vcpu->exit.hw_info2 = 0;
		if ((u16)reason == EXIT_REASON_MCE_DURING_VMENTRY)
			vmx->host_event = X86_TRAP_MC;
		if ((u16)reason == EXIT_REASON_INVALID_STATE && state_mend_segments(vcpu)) {
			undo_entry(vcpu);
			vcpu->exit.reason = EXIT_RESUME;
			return;
		}
		entry_failed(vcpu, vmx_explain_state(reason));
		return;
	}
	/* An entry that fails leaves the VMCS as it was (31.3, VMLAUNCH). */
	vmx->launched = true;
	read_state(vcpu, vmx);
	vmx_read_exit(vcpu, reason);
	if (unlikely(vmx->special))
		finish_special(vcpu);
	vmx->event = 0;
	count_exit(vcpu);
}

const struct vmm_hw vmx_hw = {
	.name = "vmx",

	.init = vmx_init,
	.exit = vmx_exit,
	.cpu_enable = vmx_cpu_enable,
	.cpu_disable = vmx_cpu_disable,

	.vm_create = vmx_vm_create,
	.vm_destroy = vmx_vm_destroy,
	.vcpu_create = vmx_vcpu_create,
	.vcpu_destroy = vmx_vcpu_destroy,

	.load = vmx_load,
	.unload = vmx_unload,
	.enter = vmx_enter,
	.get_rsp = vmx_get_rsp,

	.inject = vmx_inject,
	.cancel_inject = vmx_cancel_inject,
	.request_window = vmx_request_window,
	.set_tpr_threshold = vmx_set_tpr_threshold,
	.set_virtual_interrupts = vmx_set_virtual_interrupts,
	.get_cr8 = vmx_get_cr8,
	.set_cr8 = vmx_set_cr8,

	.get_segment = vmx_get_segment,
	.set_segment = vmx_set_segment,
	.get_mode = vmx_get_mode,
	.set_cr0 = vmx_set_cr0,
	.set_cr4 = vmx_set_cr4,
	.set_efer = vmx_set_efer,
	.set_pdptes = vmx_set_pdptes,
	.get_cr2 = vmx_get_cr2,
	.set_cr2 = vmx_set_cr2,
	.get_cr3 = vmx_get_cr3,
	.set_cr3 = vmx_set_cr3,
	.set_dr7 = vmx_set_dr7,
	.get_msr = vmx_get_msr,
	.set_msr = vmx_set_msr,
	.set_tsc_offset = vmx_set_tsc_offset,
	.set_shadow = vmx_set_shadow,
	.forget_traps = vmx_forget_traps,
	.msr_intercept = vmx_msr_intercept,
	.update_exits = vmx_update_exits,
	.flush_tlb = vmx_flush_tlb,
};
