// SPDX-License-Identifier: GPL-2.0-only
/*
 * SVM on this host: finding it, turning it on and off on each CPU, and the way into
 * a guest.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/context_tracking.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/jump_label.h>
#include <linux/mem_encrypt.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/page.h>
#include <asm/processor.h>

#include "compat.h"
#include "hw.h"
#include "svm/svm.h"
#include "tdp.h"
#include "vm.h"
#include "vmm_abi.h"
#include "x86/count.h"
#include "x86/host.h"
#include "x86/x86.h"

#define CPUID_SVM_LEAF		0x8000000a
#define CPUID_SVM		BIT(2)		/* 0x80000001 ECX */

/* 8.32 fixed point */
#define TSC_RATIO_ONE		BIT_ULL(32)

/* VM_CR (15.30.1) */
#define VM_CR_LOCK		BIT(3)
#define VM_CR_SVMDIS		BIT(4)

#define IOPM_ORDER		2	/* 12 KiB, contiguous */
#define MSRPM_ORDER		1

struct svm_features svm_features;

static DEFINE_PER_CPU(struct svm_cpu, svm_cpus);

/* VM_HSAVE_PA may not be what was written there when the CPU was enabled: see keep_hsave(). */
static DEFINE_STATIC_KEY_FALSE(hsave_changes);

/* I/O permission map of all VMs: each port leaves */
static struct page *iopm;

/* Entries of the nested table have the format of the host's own (15.25.5). */
static struct tdp_format npt_format;

/* ---- Is it there? ---- */

static bool cpuid_has_svm(void)
{
	return cpuid_eax(0x80000000) >= CPUID_SVM_LEAF &&
	       (cpuid_ecx(0x80000001) & CPUID_SVM);
}

static int check_firmware(void)
{
	u64 vm_cr;

	rdmsrq(MSR_VM_CR, vm_cr);
	if (!(vm_cr & VM_CR_SVMDIS))
		return 0;
	if (vm_cr & VM_CR_LOCK)
		pr_err("the firmware has disabled SVM and locked the setting (VM_CR.SVMDIS, LOCK): enable virtualization in its setup\n");
	else
		pr_err("SVM is disabled (VM_CR.SVMDIS, not locked): enable virtualization in the firmware's setup\n");
	return -EACCES;
}

static int check_support(void)
{
	int ret;

	if (!cpuid_has_svm()) {
		pr_err("this processor has no SVM\n");
		return -ENODEV;
	}
	/* The kernel may hide SVM for it: the CPU is asked. */
	ret = check_firmware();
	if (ret)
		return ret;
	if (!boot_cpu_has(X86_FEATURE_NPT)) {
		pr_err("this processor has no nested page tables: nested paging is required\n");
		return -ENODEV;
	}
	/* Revision guide 41322: a guest's page tables raise a machine check that ends the host. */
	if (boot_cpu_has_bug(X86_BUG_AMD_TLB_MMATCH)) {
		pr_err("any guest could crash this processor (family 10h, erratum 383)\n");
		return -ENODEV;
	}
	return 0;
}

static void find_features(void)
{
	struct svm_features *f = &svm_features;

	f->nr_asids = cpuid_ebx(CPUID_SVM_LEAF);
	f->clean = boot_cpu_has(X86_FEATURE_VMCBCLEAN) ? CLEAN_ALL : 0;
	f->flush_by_asid = boot_cpu_has(X86_FEATURE_FLUSHBYASID);
	f->next_rip = boot_cpu_has(X86_FEATURE_NRIPS);
	f->decode_assists = boot_cpu_has(X86_FEATURE_DECODEASSISTS);
	f->pause_filter = boot_cpu_has(X86_FEATURE_PAUSEFILTER);
	f->pause_threshold = boot_cpu_has(X86_FEATURE_PFTHRESHOLD);
	f->spec_ctrl = boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL);
	f->v_spec_ctrl = boot_cpu_has(X86_FEATURE_V_SPEC_CTRL);
	f->tsc_ratio = boot_cpu_has(X86_FEATURE_TSCRATEMSR);
	f->tsc_aux_slot = boot_cpu_has(X86_FEATURE_RDTSCP) ? host_add_user_msr(MSR_TSC_AUX) : -1;
}

/*
 * The nested walk runs in the host's paging mode (15.25.3), each access as a user's. Memory
 * type 0 of the host's PAT is write-back.
 */
static void describe_npt(struct vmm_hw_caps *caps)
{
	u64 encrypted = __sme_set(0);

	npt_format = (struct tdp_format){
		.table = _PAGE_PRESENT | _PAGE_RW | _PAGE_USER | encrypted,
		.present = _PAGE_PRESENT,
		.read = _PAGE_PRESENT,
		.write = _PAGE_RW,
		.user = _PAGE_USER,
		.no_exec = _PAGE_NX,
		.accessed = _PAGE_ACCESSED,
		.dirty = _PAGE_DIRTY,
		.leaf = _PAGE_PSE,
		.ram = encrypted,
		.address = GENMASK_ULL(51, PAGE_SHIFT) & ~encrypted,
		.levels = pgtable_l5_enabled() ? 5 : 4,
		.max_level = boot_cpu_has(X86_FEATURE_GBPAGES) ? 3 : 2,
		.huge_exec = true,
	};
	caps->tdp = &npt_format;
	caps->gpa_bits = min(boot_cpu_data.x86_phys_bits, npt_format.levels == 5 ? 52 : 48);
}

static void free_cpus(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *this = per_cpu_ptr(&svm_cpus, cpu);

		irq_work_sync(&this->interrupt);
		if (this->hsave)
			__free_page(this->hsave);
		free_page((unsigned long)this->host);
#ifdef VMM_DEBUG
		kfree(this->last);
		this->last = NULL;
#endif
		this->hsave = NULL;
		this->host = NULL;
	}
}

/* The interrupt is all that is wanted. */
static void interrupt_taken(struct irq_work *work)
{
}

/*
 * A page that the CPU itself writes to. With SEV-SNP in the host, one at the beginning of 2 MiB
 * could make a write to any of these 2 MiB fault: another is taken then.
 */
static struct page *alloc_cpu_page(int node, gfp_t gfp)
{
	struct page *first = alloc_pages_node(node, gfp | __GFP_ZERO, 0);
	struct page *page = first;

	if (first && IS_ALIGNED(page_to_pfn(first), PTRS_PER_PMD)) {
		page = alloc_pages_node(node, gfp | __GFP_ZERO, 0);
		__free_page(first);
	}
	return page;
}

static int alloc_cpu(int cpu)
{
	struct svm_cpu *this = per_cpu_ptr(&svm_cpus, cpu);
	struct page *host;

	/* Never left to a thread */
	this->interrupt = IRQ_WORK_INIT_HARD(interrupt_taken);
	this->hsave = alloc_cpu_page(cpu_to_node(cpu), GFP_KERNEL);
	host = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL | __GFP_ZERO, 0);
	if (host) {
		this->host = page_address(host);
		this->host_pa = __sme_pa(this->host);
	}
#ifdef VMM_DEBUG
	this->last = kcalloc(svm_features.nr_asids, sizeof(*this->last), GFP_KERNEL);
	if (!this->last)
		return -ENOMEM;
#endif
	return this->hsave && this->host ? 0 : -ENOMEM;
}

static int svm_init(struct vmm_hw_caps *caps)
{
	int cpu, ret;

	ret = check_support();
	if (ret)
		return ret;
	find_features();

	iopm = alloc_pages(GFP_KERNEL, IOPM_ORDER);
	if (!iopm)
		return -ENOMEM;
	memset(page_address(iopm), 0xff, PAGE_SIZE << IOPM_ORDER);

	for_each_possible_cpu(cpu) {
		ret = alloc_cpu(cpu);
		if (ret) {
			free_cpus();
			__free_pages(iopm, IOPM_ORDER);
			return ret;
		}
	}

	caps->vendor = VMM_VENDOR_AMD;
	caps->next_rip = svm_features.next_rip;
	caps->single_step = true;
	caps->steps_by_tf = true;
	caps->pause_loops = svm_features.pause_filter;
	caps->max_tags = svm_features.nr_asids;
	describe_npt(caps);
	if (COMPAT_HOST_SNP)
		static_branch_enable(&hsave_changes);
	return 0;
}

static void svm_exit(void)
{
	free_cpus();
	__free_pages(iopm, IOPM_ORDER);
}

/* ---- On and off, on one CPU ---- */

/* The guest's TSC runs at the host's rate, whatever whoever was here before has left. */
static void change_tsc_ratio(u64 from, u64 to)
{
	if (from != to)
		wrmsrq(MSR_AMD64_TSC_RATIO, to);
}

static void set_svme(bool on)
{
	u64 efer;

	rdmsrq(MSR_EFER, efer);
	wrmsrq(MSR_EFER, on ? efer | EFER_SVME : efer & ~(u64)EFER_SVME);
}

static u64 hsave_pa(const struct svm_cpu *cpu)
{
	return __sme_set(page_to_phys(cpu->hsave));
}

/*
 * SEV-SNP's firmware can be initialized only while VM_HSAVE_PA is 0 on all CPUs (SEV-SNP firmware
 * ABI, SNP_INIT). The kernel does that when the firmware is first used, which may be long after
 * this CPU was enabled, and writes the zeros by an interrupt to each CPU. The next VMRUN would
 * save the host's state to page 0, all CPUs to the same. Interrupts wait until the window ends:
 * what is there when it begins holds for all of it.
 */
static void keep_hsave(struct svm_cpu *cpu)
{
	u64 pa = compat_rdmsr(MSR_VM_HSAVE_PA);

	if (likely(pa == hsave_pa(cpu)))
		return;
	cpu->found_hsave = pa;
	compat_wrmsr(MSR_VM_HSAVE_PA, hsave_pa(cpu));
}

/* What the kernel has written there since is its own. */
static void put_hsave_back(struct svm_cpu *cpu)
{
	u64 pa;

	rdmsrq(MSR_VM_HSAVE_PA, pa);
	if (pa == hsave_pa(cpu))
		wrmsrq(MSR_VM_HSAVE_PA, cpu->found_hsave);
}

static int svm_cpu_enable(void)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpus);
	u64 efer, vm_cr;

	if (cpu->enabled)
		return 0;

	rdmsrq(MSR_EFER, efer);
	if (efer & EFER_SVME) {
		pr_err("CPU %d: SVM is in use by another hypervisor; if that is KVM: modprobe -r kvm_amd\n",
		       smp_processor_id());
		return -EBUSY;
	}
	rdmsrq(MSR_VM_CR, vm_cr);
	if (vm_cr & VM_CR_SVMDIS) {
		pr_err("CPU %d: SVM is disabled by the firmware\n", smp_processor_id());
		return -EACCES;
	}

	set_svme(true);
	rdmsrq(MSR_VM_HSAVE_PA, cpu->found_hsave);
	wrmsrq(MSR_VM_HSAVE_PA, hsave_pa(cpu));
	if (svm_features.tsc_ratio) {
		rdmsrq(MSR_AMD64_TSC_RATIO, cpu->found_tsc_ratio);
		change_tsc_ratio(cpu->found_tsc_ratio, TSC_RATIO_ONE);
	}

	tag_cpu_begin(&cpu->asids, svm_features.nr_asids);
	spec_cpu_enable();
	compat_amd_pmu_enable_virt();
	cpu->enabled = true;
	return 0;
}

static void svm_cpu_disable(void)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpus);

	host_cpu_down();
	if (!cpu->enabled)
		return;
	cpu->enabled = false;
	compat_amd_pmu_disable_virt();
	spec_cpu_disable();

	if (svm_features.tsc_ratio)
		change_tsc_ratio(TSC_RATIO_ONE, cpu->found_tsc_ratio);
	put_hsave_back(cpu);
	/* Who takes the CPU over needs interrupts and NMIs; STGI exists while SVME is set. */
	asm volatile("stgi" ::: "memory");
	set_svme(false);
}

/* ---- VMs and vCPUs ---- */

static int svm_vm_create(struct vm *vm)
{
	return 0;
}

static void svm_vm_destroy(struct vm *vm)
{
}

static int svm_vcpu_create(struct vcpu *vcpu)
{
	struct page *vmcb, *msrpm;
	struct svm_vcpu *svm;

	svm = kzalloc(sizeof(*svm), GFP_KERNEL_ACCOUNT);
	if (!svm)
		return -ENOMEM;
	vmcb = alloc_cpu_page(NUMA_NO_NODE, GFP_KERNEL_ACCOUNT);
	if (!vmcb)
		goto free_svm;
	svm->vmcb = page_address(vmcb);
	msrpm = alloc_pages(GFP_KERNEL_ACCOUNT, MSRPM_ORDER);
	if (!msrpm)
		goto free_vmcb;
	svm->vmcb_pa = __sme_pa(svm->vmcb);
	svm->msrpm = page_address(msrpm);
	memset(svm->msrpm, 0xff, PAGE_SIZE << MSRPM_ORDER);
	svm->guard.flags = spec_entry_measures;

	vcpu->hw = svm;
	vmcb_init(svm, __sme_set(page_to_phys(iopm)));
	return 0;

free_vmcb:
	free_page((unsigned long)svm->vmcb);
free_svm:
	kfree(svm);
	return -ENOMEM;
}

static void svm_vcpu_destroy(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	free_pages((unsigned long)svm->msrpm, MSRPM_ORDER);
	free_page((unsigned long)svm->vmcb);
	kfree(svm);
}

/* ---- TLB tags (15.16) ---- */

/*
 * With a new generation this very entry flushes the tags of the last one: nothing may leave the
 * window between here and VMRUN.
 */
static void take_asid(struct svm_vcpu *svm, struct svm_cpu *cpu)
{
	struct vmcb_control *control = &svm->vmcb->control;
	bool flush_all;

	control->asid = tag_take(&svm->tag, &cpu->asids, &flush_all);
	if (flush_all)
		control->tlb_control = TLB_CONTROL_FLUSH_ALL;
	vmcb_dirty(svm->vmcb, CLEAN_ASID);
}

/* Some translations under this vCPU's tag are stale, or it has none on this CPU. */
static void renew_translations(struct vcpu *vcpu, struct svm_cpu *cpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	/* Read before the flush: an invalidation that comes later kicks the vCPU. */
	svm->tag.flush_gen = atomic64_read(&vcpu->tdp->flush_gen);
	svm->tag.flush = false;
	vcpu->stats.tlb_flushes++;
	if (svm->tag.generation == cpu->asids.generation && svm_features.flush_by_asid)
		svm->vmcb->control.tlb_control = TLB_CONTROL_FLUSH_ASID;
	else
		take_asid(svm, cpu);
#ifdef VMM_DEBUG
	cpu->last[svm->vmcb->control.asid] = (struct svm_last){
		.root = svm->vmcb->control.nested_cr3,
		.flush_gen = svm->tag.flush_gen,
	};
#endif
}

#ifdef VMM_DEBUG
/* No emulator shows a missing flush: the numbers must. */
static void check_tag(struct svm_vcpu *svm, struct svm_cpu *cpu)
{
	const struct svm_last *last = &cpu->last[svm->vmcb->control.asid];

	WARN_ON_ONCE(!svm->vmcb->control.asid || svm->tag.generation != cpu->asids.generation);
	WARN_ON_ONCE(last->root != svm->vmcb->control.nested_cr3 ||
		     last->flush_gen != svm->tag.flush_gen);
}
#endif

static void check_translations(struct vcpu *vcpu, struct svm_cpu *cpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 flush_gen = atomic64_read(&vcpu->tdp->flush_gen);

	if (unlikely(tag_is_stale(&svm->tag, &cpu->asids, flush_gen)))
		renew_translations(vcpu, cpu);
#ifdef VMM_DEBUG
	check_tag(svm, cpu);
#endif
}

/* ---- The window ---- */

/* The host's FS, GS, TR, LDTR and system call MSRs, for the VMLOAD after each exit */
static void save_host(u64 pa)
{
	count_insn(VMSAVE);
	asm volatile("vmsave %0" : : "a" (pa) : "memory");
}

/* The CPU may cache VMCB fields and translations of the vCPU's last visit here. */
static void move_to_cpu(struct svm_vcpu *svm, struct svm_cpu *cpu)
{
	svm->cpu = cpu;
	svm->tag.generation = 0;
	svm->vmcb->control.clean = 0;
}

static void use_root(struct svm_vcpu *svm, u64 root)
{
	svm->vmcb->control.nested_cr3 = root;
	vmcb_dirty(svm->vmcb, CLEAN_NP);
	svm->tag.flush = true;
}

/**
 * svm_set_spec_ctrl - the guest's SPEC_CTRL, where entry and exit have to swap it
 * @vcpu: window or at rest
 * @data: the value
 */
void svm_set_spec_ctrl(struct vcpu *vcpu, u64 data)
{
	struct spec_guard *guard = &to_svm(vcpu)->guard;

	guard->guest_spec_ctrl = data;
	if (vcpu_in_window(vcpu))
		spec_load_guard(guard);
}

static void svm_load(struct vcpu *vcpu)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpus);
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 root = __sme_set(vcpu->tdp->root);

	if (unlikely(svm->cpu != cpu))
		move_to_cpu(svm, cpu);
	if (unlikely(svm->vmcb->control.nested_cr3 != root))
		use_root(svm, root);
	if (unlikely(!svm->proven))
		svm->backup = svm->vmcb->save;

	/* What of the host VMRUN does not keep stays the same for the whole window. */
	if (likely(cpu->enabled)) {
		if (static_branch_unlikely(&hsave_changes))
			keep_hsave(cpu);
		save_host(cpu->host_pa);
	}
	host_load();
	/* RDPID cannot be intercepted: a guest that is not offered it has this one as well. */
	if (likely(svm_features.tsc_aux_slot >= 0))
		host_set_user_msr(svm_features.tsc_aux_slot, svm->tsc_aux);
	if (svm_features.spec_ctrl && !svm_features.v_spec_ctrl)
		spec_load_guard(&svm->guard);
}

static void svm_unload(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	vcpu->exit.mode = svm_get_mode(vcpu);
	if (unlikely(svm->dr6_loaded)) {
		count_insn(MOV_DR);
		/* What the kernel leaves there after each of its own #DB */
		native_set_debugreg(6, DR6_INIT);
		svm->dr6_loaded = false;
	}
	host_unload();
}

/* VMRUN failed: nothing of the guest ran. Take from copies what the CPU may have overwritten. */
static void entry_failed(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct svm_cpu *cpu = svm->cpu;

	if (!svm->proven)
		svm->vmcb->save = svm->backup;
	vcpu->exit.reason = EXIT_FAIL_ENTRY;
	vcpu->exit.rip = vcpu->regs.rip;
	vcpu->exit.message = svm_explain_invalid(svm->vmcb);
	svm_cancel_inject(vcpu);
	if (svm->step)
		svm_cancel_step(vcpu);
	/* Nor was anything flushed. */
	svm->tag.generation = 0;
	svm->vmcb->control.clean = 0;
	tag_cpu_spoil(&cpu->asids);
}

/* On a CPU without a tick RCU takes the guest for user code: nothing here may be traced. */
static noinstr void svm_run(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = vcpu->hw;

	context_tracking_guest_enter();
	spec_clear_divider();
	if (likely(!svm->guard.flags))
		svm_vmrun(vcpu->regs.gpr, svm->vmcb_pa, svm->cpu->host_pa);
	else
		svm_vmrun_guarded(vcpu->regs.gpr, svm->vmcb_pa, svm->cpu->host_pa, &svm->guard);
	context_tracking_guest_exit();
}

static void svm_enter(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb *vmcb = svm->vmcb;
	struct svm_cpu *cpu = svm->cpu;

	if (unlikely(!cpu->enabled)) {
		vcpu->exit.reason = EXIT_FAIL_ENTRY;
		vcpu->exit.message = "the machine goes down: SVM is off already";
		return;
	}

	vmcb->save.rip = vcpu->regs.rip;
	vmcb->save.rflags = vcpu->regs.rflags;
	vmcb->save.rax = vcpu->regs.gpr[CPU_RAX];
	vmcb->save.rsp = vcpu->regs.gpr[CPU_RSP];
	vmcb->control.tlb_control = TLB_CONTROL_KEEP;
	if (unlikely((svm->window & HW_WINDOW_NMI) | svm->step | vcpu->stepping))
		svm_prepare_step(vcpu);
	if (unlikely(vmcb->save.dr7 & (DR_LOCAL_ENABLE_MASK | DR_GLOBAL_ENABLE_MASK)))
		host_debug_guest(vcpu);
	check_translations(vcpu, cpu);

	count_insns(VMLOAD, 2);
	count_insn(VMSAVE);
	count_insns(FLUSH, vmcb->control.tlb_control ? 1 : 0);
	count_guard(&svm->guard);
	count_entry(vcpu);
	svm_run(vcpu);

	vmcb->control.clean = svm_features.clean;
	vcpu->exit.hw_reason = vmcb->control.exit_code;
	vcpu->exit.hw_info1 = vmcb->control.exit_info_1;
	vcpu->exit.hw_info2 = vmcb->control.exit_info_2;
	if (unlikely(vmcb_refused(vmcb))) {
		entry_failed(vcpu);
		return;
	}
	vmcb->control.event_inj = 0;
	svm->proven = true;

	vcpu->regs.rip = vmcb->save.rip;
	vcpu->regs.rflags = vmcb->save.rflags;
	vcpu->regs.gpr[CPU_RAX] = vmcb->save.rax;
	vcpu->regs.gpr[CPU_RSP] = vmcb->save.rsp;
	vcpu->guest_cr8 = vmcb->control.int_ctl & V_TPR;
	vcpu->events.shadow = vmcb->control.int_state & INTERRUPT_SHADOW ? SHADOW_STI : 0;
	svm_read_exit(vcpu);
	/* Whatever a later exit breaks off is not this one. */
	svm->injected.type = EVENT_NONE;
	count_exit(vcpu);
}

/* RSP comes with each exit. */
static void svm_get_rsp(struct vcpu *vcpu)
{
}

const struct vmm_hw svm_hw = {
	.name = "svm",

	.init = svm_init,
	.exit = svm_exit,
	.cpu_enable = svm_cpu_enable,
	.cpu_disable = svm_cpu_disable,

	.vm_create = svm_vm_create,
	.vm_destroy = svm_vm_destroy,
	.vcpu_create = svm_vcpu_create,
	.vcpu_destroy = svm_vcpu_destroy,

	.load = svm_load,
	.unload = svm_unload,
	.enter = svm_enter,
	.get_rsp = svm_get_rsp,

	.inject = svm_inject,
	.cancel_inject = svm_cancel_inject,
	.request_window = svm_request_window,
	.set_tpr_threshold = svm_set_tpr_threshold,
	.get_cr8 = svm_get_cr8,
	.set_cr8 = svm_set_cr8,

	.get_segment = svm_get_segment,
	.set_segment = svm_set_segment,
	.get_mode = svm_get_mode,
	.set_cr0 = svm_set_cr0,
	.set_cr4 = svm_set_cr4,
	.set_efer = svm_set_efer,
	.get_cr2 = svm_get_cr2,
	.set_cr2 = svm_set_cr2,
	.get_cr3 = svm_get_cr3,
	.set_cr3 = svm_set_cr3,
	.set_dr7 = svm_set_dr7,
	.get_msr = svm_get_msr,
	.set_msr = svm_set_msr,
	.set_tsc_offset = svm_set_tsc_offset,
	.set_shadow = svm_set_shadow,
	.forget_traps = svm_forget_traps,
	.msr_intercept = svm_msr_intercept,
	.update_exits = svm_update_exits,
	.flush_tlb = svm_flush_tlb,
};
