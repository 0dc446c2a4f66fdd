// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty rings: what a vCPU writes to goes into a list of its own, shared with the VMM, in place of
 * the bits of the slot's log (dirty.c).
 *
 * A page of an entry that has not been reset may be written to without another entry, as one whose
 * bit is set.
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "memory.h"
#include "ring.h"
#include "slots.h"
#include "tdp.h"
#include "vcpu.h"
#include "vm.h"
#include "vmm_abi.h"

/* A vCPU leaves when no more are free: an exit can bring what the CPU has logged, and some more. */
#define SPARE		(512 + 64)

/* Entries that are reset at a time, between which writers have their turn */
#define CHUNK		512

/**
 * struct dirty_ring - the module's side
 * @shared: head and entries: hostile memory
 * @entries: of it
 * @size: how many, a power of two
 * @produced: [t] stored so far, modulo 2^32
 * @reset: of these, that are free again; written under vm->lock
 */
struct dirty_ring {
	struct vmm_dirty_ring *shared;
	u64 *entries;
	u32 size;
	u32 produced;
	u32 reset;
};

static unsigned long ring_bytes(u32 size)
{
	return PAGE_SIZE + size * sizeof(u64);
}

int dirty_ring_create(struct vcpu *vcpu, u32 size)
{
	struct dirty_ring *ring;

	if (size < VMM_RING_MIN || size > VMM_RING_MAX || !is_power_of_2(size))
		return -EINVAL;
	if (vcpu->ring)
		return -EEXIST;
	ring = kzalloc(sizeof(*ring), GFP_KERNEL_ACCOUNT);
	if (!ring)
		return -ENOMEM;
	ring->shared = __vmalloc(ring_bytes(size), GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
	if (!ring->shared) {
		kfree(ring);
		return -ENOMEM;
	}
	ring->entries = (void *)ring->shared + PAGE_SIZE;
	ring->size = size;
	ring->shared->entries = size;
	/* Pairs with find_ring(). */
	smp_store_release(&vcpu->ring, ring);
	return 0;
}

void dirty_ring_destroy(struct vcpu *vcpu)
{
	if (!vcpu->ring)
		return;
	vfree(vcpu->ring->shared);
	kfree(vcpu->ring);
}

/* By who does not hold the vCPU's mutex */
static struct dirty_ring *find_ring(const struct vcpu *vcpu)
{
	/* Pairs with dirty_ring_create(). */
	return smp_load_acquire(&vcpu->ring);
}

/* The page of the ring that lies at @pgoff of the vCPU's file */
static unsigned long ring_page(unsigned long pgoff)
{
	return pgoff - VMM_RING_OFFSET / PAGE_SIZE;
}

static vm_fault_t ring_fault(struct vm_fault *vmf)
{
	struct vcpu *vcpu = vmf->vma->vm_file->private_data;
	const struct dirty_ring *ring = find_ring(vcpu);
	unsigned long page = ring_page(vmf->pgoff);

	/* mremap() may have made the mapping longer, or madvise() had a child inherit it. */
	if (page >= ring_bytes(ring->size) / PAGE_SIZE || vmf->vma->vm_mm != vcpu->vm->mm)
		return VM_FAULT_SIGBUS;
	vmf->page = vmalloc_to_page((void *)ring->shared + page * PAGE_SIZE);
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct ring_ops = {
	.fault = ring_fault,
};

int dirty_ring_mmap(struct vcpu *vcpu, struct vm_area_struct *vma)
{
	const struct dirty_ring *ring = find_ring(vcpu);

	if (!ring)
		return -ENXIO;
	if (ring_page(vma->vm_pgoff) + vma_pages(vma) > ring_bytes(ring->size) / PAGE_SIZE)
		return -EINVAL;
	vma->vm_ops = &ring_ops;
	return 0;
}

static u32 free_entries(const struct dirty_ring *ring)
{
	/* Pairs with reset_ring(): what is free has been read. */
	return ring->size - (ring->produced - smp_load_acquire(&ring->reset));
}

bool dirty_ring_push(struct vcpu *vcpu, u64 gfn)
{
	struct dirty_ring *ring = vcpu->ring;
	u32 room;

	if (!ring)
		return false;
	room = free_entries(ring);
	if (room <= SPARE)
		set_bit(VCPU_REQ_RING, &vcpu->requests);
	if (unlikely(!room))
		return false;
	WRITE_ONCE(ring->entries[ring->produced & (ring->size - 1)], gfn << PAGE_SHIFT);
	ring->produced++;
	/* The VMM reads this number first. */
	smp_store_release(&ring->shared->produced, ring->produced);
	return true;
}

bool dirty_ring_is_full(const struct vcpu *vcpu)
{
	return vcpu->ring && free_entries(vcpu->ring) <= SPARE;
}

/* Arm pages that the VMM has collected. Whatever it wrote there: the memory is its own. */
static void arm_entries(struct vm *vm, const struct dirty_ring *ring, u32 from, u32 count)
{
	struct memory *memory = &vm->memory;
	const struct memory_slot *slot;
	u64 base = 0, mask = 0;

	write_lock(&memory->lock);
	for (; count; from++, count--) {
		u64 gfn = READ_ONCE(ring->entries[from & (ring->size - 1)]) >> PAGE_SHIFT;

		slot = slot_at(memory, gfn);
		if (!slot || !slot->log)
			continue;
		if (mask && gfn - base >= 64) {
			memory_rearm(memory, base, mask);
			mask = 0;
		}
		if (!mask)
			base = round_down(gfn, 64);
		mask |= BIT_ULL(gfn - base);
	}
	if (mask)
		memory_rearm(memory, base, mask);
	memory_stale(memory);
	write_unlock(&memory->lock);
}

int dirty_rings_reset(struct vm *vm)
{
	struct vcpu *vcpu;
	int i, total = 0;

	/* All of them are checked before any is changed. */
	vm_for_each_vcpu(vm, vcpu, i) {
		struct dirty_ring *ring = find_ring(vcpu);

		if (ring && READ_ONCE(ring->shared->collected) - ring->reset >
			    READ_ONCE(ring->produced) - ring->reset)
			return -EINVAL;
	}
	vm_for_each_vcpu(vm, vcpu, i) {
		struct dirty_ring *ring = find_ring(vcpu);
		u32 at, count, left;

		if (!ring)
			continue;
		at = ring->reset;
		left = READ_ONCE(ring->shared->collected) - at;
		/* It may have been changed since. */
		left = min(left, READ_ONCE(ring->produced) - at);
		total += left;
		for (; left; at += count, left -= count) {
			count = min_t(u32, left, CHUNK);
			arm_entries(vm, ring, at, count);
			cond_resched();
		}
		/* Pairs with free_entries(). */
		smp_store_release(&ring->reset, at);
	}
	memory_flush(vm);
	return total;
}
