// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cached translations (SDM vol. 3 29.4). A guest's are tagged with its VPID and its EPT root. Here
 * numbers are compared before each entry; what they say is stale is invalidated then, on this
 * CPU, where the vCPU is about to run.
 *
 * Another hypervisor that uses VMX beside us may use the same VPIDs. With EPT in use all that is
 * cached under a VPID is tagged with the root as well, and a root is a page of one owner's: neither
 * can hit what the other has left.
 */
#include <linux/io.h>

#include "hw.h"
#include "tdp.h"
#include "vcpu.h"
#include "vm.h"
#include "vmx/vmx.h"

#define NR_VPIDS	0x10000

/* EPTP (25.6.11) */
#define EPTP_LEVELS_4	(3 << 3)

static u64 ept_pointer(u64 root)
{
	return root | VMX_EPTP_MT_WB | EPTP_LEVELS_4 |
	       (vmx_features.ept_ad ? VMX_EPTP_AD_ENABLE_BIT : 0);
}

static void invalidate_root(u64 pointer)
{
	if (vmx_features.invept_context)
		invept(VMX_EPT_EXTENT_CONTEXT, pointer);
	else
		invept(VMX_EPT_EXTENT_GLOBAL, 0);
}

void vmx_begin_vpids(struct vmx_cpu *cpu)
{
	tag_cpu_begin(&cpu->vpids, NR_VPIDS);
}

static void take_vpid(struct vmx_vcpu *vmx, struct vmx_cpu *cpu)
{
	bool flush_all;

	vmcs_set(vmx, VMCS_VPID, tag_take(&vmx->tag, &cpu->vpids, &flush_all));
	if (flush_all)
		invvpid(VMX_VPID_EXTENT_ALL_CONTEXT, 0);
}

static void renew_vpid(struct vmx_vcpu *vmx, struct vmx_cpu *cpu)
{
	/* Without VPIDs each entry and each exit invalidates all that is not the root's alone. */
	if (!vmx_features.vpid) {
		vmx->tag.generation = cpu->vpids.generation;
		return;
	}
	if (vmx->tag.generation == cpu->vpids.generation && vmx_features.invvpid_context)
		invvpid(VMX_VPID_EXTENT_SINGLE_CONTEXT, vmx->cache.value[VMCS_VPID]);
	else
		take_vpid(vmx, cpu);
}

/**
 * vmx_use_root - the vCPU has moved to this CPU, or has another root than before
 * @vcpu: in its window, VMCS current
 *
 * What this CPU still knows of a root, or of a page that was one before, is not to be relied on.
 */
void vmx_use_root(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->root = vcpu->tdp->root;
	vmcs_set(vmx, VMCS_EPT_POINTER, ept_pointer(vmx->root));
	/* No root's generation is 0, nor is a VPID's. */
	vmx->tag.flush_gen = 0;
	vmx->tag.generation = 0;
}

/* The log is filled from its end to its beginning. */
#define PML_ENTRIES	512
#define PML_EMPTY	(PML_ENTRIES - 1)

/* Have the CPU log writes, or no longer. The log is empty: each exit sees to that. */
static void switch_pml(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->pml_on = !vmx->pml_on;
	vmx_set_special(vmx, SPECIAL_PML, vmx->pml_on);
	vmcs_set_control(vmx, VMCS_SECONDARY_CONTROLS, SECONDARY_EXEC_ENABLE_PML, vmx->pml_on);
	if (vmx->pml_on) {
		vmwrite(PML_ADDRESS, virt_to_phys(vmx->pml));
		vmwrite(GUEST_PML_INDEX, PML_EMPTY);
	}
}

/**
 * vmx_renew_translations - invalidate what is stale, on this CPU
 * @vcpu: in its window, VMCS current
 * @flush_gen: of the root, as the caller has read it
 *
 * No two roots of a VM ever have the same number: it tells of another root, too.
 */
void vmx_renew_translations(struct vcpu *vcpu, u64 flush_gen)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vcpu->stats.tlb_flushes++;
	if (vmx->tag.flush_gen != flush_gen) {
		if (unlikely(vmx->root != vcpu->tdp->root))
			vmx_use_root(vcpu);
		/* Pairs with want_log(). */
		smp_rmb();
		if (vmx_features.pml && vmx->pml_on != READ_ONCE(vcpu->vm->memory.log_wanted))
			switch_pml(vcpu);
		/* Read before: an invalidation that comes later kicks the vCPU. */
		vmx->tag.flush_gen = flush_gen;
		invalidate_root(vmx->cache.value[VMCS_EPT_POINTER]);
	}
	if (vmx->tag.flush || vmx->tag.generation != vmx->cpu->vpids.generation) {
		vmx->tag.flush = false;
		renew_vpid(vmx, vmx->cpu);
	}
}

#ifdef VMM_DEBUG
/* No emulator shows a missing flush: the numbers must. */
void vmx_check_numbers(struct vcpu *vcpu, u64 flush_gen)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	WARN_ON_ONCE(vmx->tag.flush || vmx->tag.flush_gen != flush_gen);
	WARN_ON_ONCE(vmx->cache.value[VMCS_EPT_POINTER] != ept_pointer(vcpu->tdp->root));
	WARN_ON_ONCE(vmx_features.vpid && (!vmx->cache.value[VMCS_VPID] ||
					   vmx->tag.generation != vmx->cpu->vpids.generation));
}
#endif

/**
 * vmx_drain_pml - pass on what was logged since the last exit (29.3.6)
 * @vcpu: in its window
 */
void vmx_drain_pml(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u16 next = vmread(GUEST_PML_INDEX);
	int first;

	if (likely(next == PML_EMPTY))
		return;
	/* A full log ends with an index below zero. */
	first = next < PML_ENTRIES ? next + 1 : 0;
	dirty_note_logged(vcpu, vmx->pml + first, PML_ENTRIES - first);
	vmwrite(GUEST_PML_INDEX, PML_EMPTY);
}

void vmx_flush_tlb(struct vcpu *vcpu)
{
	to_vmx(vcpu)->tag.flush = true;
}
