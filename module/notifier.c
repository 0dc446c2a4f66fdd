// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM follows its mm: what the host unmaps, moves or ages in the VMM's address space it unmaps
 * or ages in the guest. memory.h says why no mapping escapes.
 *
 * Callbacks may come from the OOM reaper, which must not sleep: they take spinlocks alone.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched.h>
#include <linux/smp.h>

#include "compat.h"
#include "memory.h"
#include "slots.h"
#include "tdp.h"
#include "vcpu.h"
#include "vm.h"

static struct vm *notifier_vm(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct vm, memory.notifier);
}

/* The guest frames that @slot has between two host addresses, where it has some */
static void slot_part(const struct memory_slot *slot, unsigned long start, unsigned long end,
		      u64 *first, u64 *last)
{
	unsigned long low = max(start, slot->hva);
	unsigned long high = min(end, slot->hva + (slot->pages << PAGE_SHIFT));

	*first = slot->gfn + ((low - slot->hva) >> PAGE_SHIFT);
	*last = slot->gfn + ((high - 1 - slot->hva) >> PAGE_SHIFT) + 1;
}

/**
 * struct sweep - what host addresses map in the guest goes, one slot and one view after the other
 * @start: the first address
 * @end: the one behind the last
 * @may_sleep: the caller may
 * @zapped: collects tables that are no longer linked
 * @worked: something went since the lock was taken
 * @views: a bit for each that is done with the slot at hand
 */
struct sweep {
	unsigned long start;
	unsigned long end;
	bool may_sleep;
	struct list_head *zapped;
	bool worked;
	u64 views;
};

/*
 * Let go of memory.lock for a moment if somebody waits for it, or for this CPU. True: slots and
 * views may be others now.
 */
static bool give_way(struct memory *memory, struct sweep *sweep)
	__must_hold(&memory->lock)
{
	if (!need_resched() && !rwlock_is_contended(&memory->lock))
		return false;
	write_unlock(&memory->lock);
	if (sweep->may_sleep)
		cond_resched();
	else
		cpu_relax();
	write_lock(&memory->lock);
	sweep->worked = false;
	return true;
}

/* The next slot. False: the lock was away, and it is not done with; there may be another now. */
static bool sweep_slot(struct memory *memory, const struct memory_slot *slot, struct sweep *sweep)
{
	struct tdp *tdp;
	u64 first, last;

	slot_part(slot, sweep->start, sweep->end, &first, &last);
	memory_for_each_view(memory, tdp) {
		static_assert(MEMORY_MAX_VIEWS <= 64);
		if (sweep->views & BIT_ULL(tdp->number))
			continue;
		if (sweep->worked && give_way(memory, sweep))
			return false;
		tdp_zap(tdp, first, last, sweep->zapped);
		sweep->views |= BIT_ULL(tdp->number);
		sweep->worked = true;
	}
	sweep->views = 0;
	return true;
}

static bool has_some(const struct memory_slot *slot, const struct sweep *sweep)
{
	return slot->hva < sweep->end && slot->hva + (slot->pages << PAGE_SHIFT) > sweep->start;
}

/*
 * All slots that have some of the addresses; memory.lock is held for writing. One event may be
 * about each slot, in each view: so the lock is given away in between.
 *
 * Meanwhile nothing of the range may come to be mapped: an invalidation of it runs, as
 * invalidate_running and invalidating say, or nobody is there who faults. A slot that goes then is
 * zapped by who takes it away, and a slot or a view that comes is empty. So what there is to do
 * becomes less alone, and it does not matter that a number is another slot's or view's by the time
 * when it is found done. The numbers of slots go up, which ends it.
 */
static void sweep_slots(struct memory *memory, struct sweep *sweep)
{
	struct slot_entry *entry;
	u32 number = 0;

	for_each_slot(entry, memory, MEMORY_HVA, sweep->start, sweep->end - 1)
		if (!sweep_slot(memory, &entry->slot, sweep))
			break;
	if (!entry)
		return;

	/* That one may be gone, and its place with it: from now on all slots, by their numbers. */
	sweep->views = 0;
	while ((entry = slot_from(memory, number))) {
		if (entry->slot.number != number)
			sweep->views = 0;
		number = entry->slot.number;
		if (!has_some(&entry->slot, sweep) || sweep_slot(memory, &entry->slot, sweep)) {
			sweep->views = 0;
			number++;
		}
	}
}

void memory_begin_change(struct vm *vm, unsigned long start, unsigned long end, bool may_sleep)
{
	struct memory *memory = &vm->memory;
	struct memory_range *bounds = &memory->invalidating;
	LIST_HEAD(zapped);
	struct sweep sweep = {
		.start = start, .end = end, .may_sleep = may_sleep, .zapped = &zapped,
	};

	write_lock(&memory->lock);
	if (memory->invalidate_running++) {
		bounds->start = min(bounds->start, start);
		bounds->end = max(bounds->end, end);
	} else {
		*bounds = (struct memory_range){ start, end };
	}
	sweep_slots(memory, &sweep);
	write_unlock(&memory->lock);

	memory_flush(vm);
	tdp_free_zapped(&memory->count, &zapped, may_sleep);
}

void memory_end_change(struct vm *vm, unsigned long start, unsigned long end)
{
	struct memory *memory = &vm->memory;
	bool last;

	write_lock(&memory->lock);
	memory_changed(memory, start, end);
	last = !--memory->invalidate_running;
	write_unlock(&memory->lock);

	if (last && wq_has_sleeper(&memory->invalidate_wait))
		wake_up_all(&memory->invalidate_wait);
}

static int invalidate_range_start(struct mmu_notifier *notifier,
				  const struct mmu_notifier_range *range)
{
	memory_begin_change(notifier_vm(notifier), range->start, range->end,
			    mmu_notifier_range_blockable(range));
	return 0;
}

static void invalidate_range_end(struct mmu_notifier *notifier,
				 const struct mmu_notifier_range *range)
{
	memory_end_change(notifier_vm(notifier), range->start, range->end);
}

static bool young(struct mmu_notifier *notifier, unsigned long start, unsigned long end,
		  bool clear)
{
	struct memory *memory = &notifier_vm(notifier)->memory;
	struct slot_entry *entry;
	bool young = false;
	struct tdp *tdp;
	u64 first, last;

	read_lock(&memory->lock);
	for_each_slot(entry, memory, MEMORY_HVA, start, end - 1) {
		slot_part(&entry->slot, start, end, &first, &last);
		memory_for_each_view(memory, tdp)
			young |= tdp_young(tdp, first, last, clear);
		/* The host asks with its page table locked: no longer than it takes. */
		if (young && !clear)
			break;
	}
	read_unlock(&memory->lock);
	return young;
}

/*
 * Nothing is flushed here, as x86 flushes nothing when it ages its own page tables: an access
 * through a translation that is still cached goes unseen, which only makes the page look older.
 */
static compat_young_t clear_young(struct mmu_notifier *notifier, struct mm_struct *mm,
				  unsigned long start, unsigned long end)
{
	return young(notifier, start, end, true);
}

static compat_young_t test_young(struct mmu_notifier *notifier, struct mm_struct *mm,
				 unsigned long address)
{
	return young(notifier, address, address + 1, false);
}

/* The mm is going and no thread of it runs any more: nothing will be mapped from here on. */
static void release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct vm *vm = notifier_vm(notifier);
	struct memory *memory = &vm->memory;
	struct vcpu *vcpu;
	LIST_HEAD(zapped);
	struct sweep all = { .end = ULONG_MAX, .may_sleep = true, .zapped = &zapped };
	int i;

	write_lock(&memory->lock);
	sweep_slots(memory, &all);
	memory_changed(memory, 0, ULONG_MAX);
	write_unlock(&memory->lock);

	memory_flush(vm);
	tdp_free_zapped(&memory->count, &zapped, true);
	vm_for_each_vcpu(vm, vcpu, i)
		vcpu_request(vcpu, VCPU_REQ_DEAD);
}

static const struct mmu_notifier_ops notifier_ops = {
	.release = release,
	.clear_flush_young = clear_young,
	.clear_young = clear_young,
	.test_young = test_young,
	.invalidate_range_start = invalidate_range_start,
	.invalidate_range_end = invalidate_range_end,
};

int memory_watch(struct vm *vm)
{
	vm->memory.notifier.ops = &notifier_ops;
	return mmu_notifier_register(&vm->memory.notifier, vm->mm);
}

void memory_unwatch(struct vm *vm)
{
	mmu_notifier_unregister(&vm->memory.notifier, vm->mm);
}

/* May a vCPU hold what was removed from this view? memory.flush_lock is held. */
static bool is_stale(const struct tdp *tdp)
{
	return tdp->flushing_gen != tdp->flushed_gen;
}

/* The interrupt itself made the vCPU leave the guest; where it is taken no peek is under way. */
static void leave_guest(void *unused)
{
}

/* All of them, or those with stale translations; memory.flush_lock is held. */
static void interrupt_guests(struct vm *vm, bool all)
{
	struct memory *memory = &vm->memory;
	struct vcpu *vcpu;
	int i;

	/*
	 * Pairs with the barrier between a vCPU's becoming VCPU_IN_WINDOW and its reading of
	 * flush_gen: it sees what was changed before, or is seen here.
	 */
	smp_mb();
	cpumask_clear(memory->flush_cpus);
	vm_for_each_vcpu(vm, vcpu, i)
		/* The view is that of this window or a later one. */
		if (smp_load_acquire(&vcpu->mode) == VCPU_IN_WINDOW &&
		    (all || is_stale(READ_ONCE(vcpu->tdp)))) {
			cpumask_set_cpu(READ_ONCE(vcpu->cpu), memory->flush_cpus);
			vcpu_count_kick(vcpu);
		}
	on_each_cpu_mask(memory->flush_cpus, leave_guest, NULL, true);
}

void memory_leave_guests(struct vm *vm)
{
	spin_lock(&vm->memory.flush_lock);
	interrupt_guests(vm, true);
	spin_unlock(&vm->memory.flush_lock);
}

void memory_flush(struct vm *vm)
{
	struct memory *memory = &vm->memory;
	bool stale = false;
	struct tdp *tdp;

	spin_lock(&memory->flush_lock);
	memory_for_each_view(memory, tdp) {
		tdp->flushing_gen = atomic64_read(&tdp->flush_gen);
		stale |= is_stale(tdp);
	}
	if (stale) {
		interrupt_guests(vm, false);
		memory_for_each_view(memory, tdp)
			tdp->flushed_gen = tdp->flushing_gen;
	}
	spin_unlock(&memory->flush_lock);
}
