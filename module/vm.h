/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM: what its vCPUs share.
 *
 * Legend: [I] immutable after creation, [a] atomic, [L] vm->lock, [R] written under
 * vm->lock and read under RCU.
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <linux/kref.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/types.h>

#include "memory.h"

#define VM_MAX_VCPUS	255
#define VM_NR_GSIS	1024

struct irq_controllers;
struct vcpu;

struct vm {
	u64 serial;			/* [I] of this VM, never that of another */
	struct kref ref;		/* one for the fd, one for each vCPU's fd */
	struct mm_struct *mm;		/* [I] whose memory it is; held by mmgrab() */
	u32 flags;			/* [I] VMM_VM_* of the ABI: controllers in the kernel */
	struct mutex lock;		/* slots, vCPU creation, routes; inside a vCPU's mutex */

	struct memory memory;		/* its own locks, see memory.h */
	struct vcpu *vcpus[VM_MAX_VCPUS];/* [R] the first nr_vcpus, published in order */
	int nr_vcpus;			/* [L], release/acquire for readers without it */
	struct irq_controllers *irq;	/* [I] */
	struct msr_policy __rcu *msr_policy;/* [R] */
	s64 clock_offset;		/* [L] pvclock = host boot time + this, ns */
	u64 tsc_khz;			/* [I] */
	bool pic_output;		/* [a] the PIC pair's INTR line, written under its lock */
	bool pit_paused;		/* [a] the PIT waits for a window, written under its lock */
	u64 irq_ports;			/* [a] irq_port_bit() of what irq_io_*() may handle */
	void *hw;			/* [I] the backend's */
};

struct vm *vm_create(u32 flags);
void vm_get(struct vm *vm);
void vm_put(struct vm *vm);

/**
 * vm_add_vcpu - a new vCPU can be found
 * @vm: vm->lock is held, there is room
 * @vcpu: complete
 */
void vm_add_vcpu(struct vm *vm, struct vcpu *vcpu);

/* Is there another vCPU that one that spins may wait for? */
static inline bool vm_has_siblings(const struct vm *vm)
{
	return READ_ONCE(vm->nr_vcpus) > 1;
}

/**
 * vm_vcpu_by_id - find a vCPU
 * @vm: the VM
 * @id: the VMM's number
 *
 * Return: the vCPU, or NULL.
 */
struct vcpu *vm_vcpu_by_id(struct vm *vm, u32 id);

#define vm_for_each_vcpu(vm, vcpu, i)						\
	for ((i) = 0; (i) < smp_load_acquire(&(vm)->nr_vcpus) &&		\
		      ((vcpu) = (vm)->vcpus[i], true); (i)++)

#endif
