/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: slots of the VMM's own address space, mapped on demand into the
 * second-level table under an mmu notifier, never pinned.
 */
#ifndef VMM_MEMORY_H
#define VMM_MEMORY_H

#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/types.h>

struct memory_slots;
struct tdp;
struct vcpu;
struct vm;

#define MEMORY_MAX_SLOTS	512
#define MEMORY_READONLY		1

/**
 * struct memory - the memory of a VM
 *
 * Legend: [I] immutable, [L] vm->lock, [S] read under srcu, replaced under vm->lock,
 * [N] notifier_lock for writing, read by memory_fault() as its comment says.
 */
struct memory {
	struct memory_slots __rcu *slots;	/* [S] sorted by gfn */
	struct srcu_struct srcu;
	struct mmu_notifier notifier;		/* [I] */
	rwlock_t lock;				/* readers install entries (cmpxchg), writers zap */
	unsigned long invalidate_seq;		/* [lock] */
	long invalidate_running;		/* [lock] */
	struct tdp *tdp;			/* [I] the default view */
};

int memory_init(struct vm *vm);
void memory_destroy(struct vm *vm);

/**
 * memory_set_slot - add, move, change or delete a slot
 * @vm: the VM; vm->lock is held, current->mm is vm->mm
 * @slot: number, below MEMORY_MAX_SLOTS
 * @gpa: @bytes, @hva: page aligned; @bytes 0 deletes
 * @flags: MEMORY_READONLY or 0
 *
 * Return: 0, or EINVAL (alignment, flags, slot number), ERANGE (guest-physical width or wrap), EFAULT
 * (@hva is no user range), EEXIST (overlap), ENOENT (deletes what is not there), ENOMEM.
 */
int memory_set_slot(struct vm *vm, u32 slot, u64 gpa, u64 bytes, u64 hva, u32 flags);

#define MEMORY_MAPPED	0	/* enter again */
#define MEMORY_MMIO	1	/* no slot there, or a write to a read-only one */

/**
 * memory_fault - make a guest-physical address accessible
 * @vcpu: who faulted; outside the window, may sleep
 * @gpa: where
 * @access: ACCESS_*
 *
 * Return: MEMORY_MAPPED, MEMORY_MMIO, or a negative errno: EINTR (a signal is pending),
 * EFAULT (nothing mapped at the host address), EHWPOISON, ENOMEM.
 */
int memory_fault(struct vcpu *vcpu, u64 gpa, u32 access);

/**
 * memory_read - copy from guest-physical memory; may sleep, current->mm is vm->mm
 * memory_write - copy to it
 *
 * Ranges may span slots. Return: 0; ENXIO (no slot, or read-only for a write); EFAULT.
 */
int memory_read(struct vm *vm, u64 gpa, void *buf, size_t len);
int memory_write(struct vm *vm, u64 gpa, const void *buf, size_t len);

/**
 * memory_peek - read guest-physical memory inside the window
 * @vcpu: the vCPU; in its window, so that no invalidation can complete meanwhile
 * @gpa: where; must not cross a page
 *
 * Reads through the host frame that the vCPU's second-level table maps.
 * Return: 0, or EAGAIN if it is not mapped there now (leave the window and use memory_read()).
 */
int memory_peek(struct vcpu *vcpu, u64 gpa, void *buf, size_t len);

#endif
