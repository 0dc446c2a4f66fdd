// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM's life: created by a front end, kept alive by its references, gone with
 * the last.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <asm/tsc.h>

#include "hw.h"
#include "irq/irq.h"
#include "pv/pv.h"
#include "vcpu.h"
#include "vm.h"
#include "x86/x86.h"

static atomic64_t last_serial;

/**
 * vm_create - a VM without memory and vCPUs, for current->mm
 * @flags: VMM_VM_*: controllers that the kernel emulates
 *
 * Return: the VM with one reference, or ERR_PTR: EINVAL (a controller without the one that it
 * needs), ENOMEM, EINTR (a signal while waiting for the mm).
 */
struct vm *vm_create(u32 flags)
{
	struct vm *vm;
	int ret;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);

	kref_init(&vm->ref);
	vm->serial = atomic64_inc_return(&last_serial);
	mutex_init(&vm->lock);
	vm->flags = flags;
	vm->tsc_khz = tsc_khz;
	vm->mm = current->mm;
	mmgrab(vm->mm);
	pv_clock_set(vm, 0);

	ret = memory_init(vm);
	if (ret)
		goto drop_mm;
	ret = hw->vm_create(vm);
	if (ret)
		goto destroy_memory;
	ret = irq_create(vm);
	if (ret)
		goto destroy_hw;
	return vm;

destroy_hw:
	hw->vm_destroy(vm);
destroy_memory:
	memory_destroy(vm);
drop_mm:
	mmdrop(vm->mm);
	kfree(vm);
	return ERR_PTR(ret);
}

static void vm_free(struct kref *ref)
{
	struct vm *vm = container_of(ref, struct vm, ref);
	struct vcpu *vcpu;
	int i;

	/* Interrupts and the mm's notifications end before the vCPUs that they would kick. */
	irq_destroy(vm);
	memory_destroy(vm);
	vm_for_each_vcpu(vm, vcpu, i)
		vcpu_destroy(vcpu);
	msr_policy_free(vm);
	hw->vm_destroy(vm);
	mmdrop(vm->mm);
	kfree(vm);
}

void vm_get(struct vm *vm)
{
	kref_get(&vm->ref);
}

void vm_put(struct vm *vm)
{
	kref_put(&vm->ref, vm_free);
}

void vm_add_vcpu(struct vm *vm, struct vcpu *vcpu)
{
	struct vcpu *other;
	int i;

	vm->vcpus[vm->nr_vcpus] = vcpu;
	/* Pairs with vm_for_each_vcpu(). */
	smp_store_release(&vm->nr_vcpus, vm->nr_vcpus + 1);
	/* From now on both leave where they spin: see vm_has_siblings(). */
	if (vm->nr_vcpus == 2)
		vm_for_each_vcpu(vm, other, i)
			vcpu_request(other, VCPU_REQ_EXITS);
}

struct vcpu *vm_vcpu_by_id(struct vm *vm, u32 id)
{
	struct vcpu *vcpu;
	int i;

	vm_for_each_vcpu(vm, vcpu, i)
		if (vcpu->id == id)
			return vcpu;
	return NULL;
}
