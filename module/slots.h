/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Slots, and what is done in all views: for the files that implement memory.h alone.
 */
#ifndef VMM_SLOTS_H
#define VMM_SLOTS_H

#include "memory.h"

/* The slot that holds @gfn, or NULL */
static inline const struct memory_slot *slot_at(const struct memory_slots *slots, u64 gfn)
{
	u32 low = 0, high = slots ? slots->count : 0;

	while (low < high) {
		u32 middle = (low + high) / 2;
		const struct memory_slot *slot = &slots->slot[middle];

		if (gfn < slot->gfn)
			high = middle;
		else if (gfn - slot->gfn >= slot->pages)
			low = middle + 1;
		else
			return slot;
	}
	return NULL;
}

/* The one with the VMM's @number, or NULL */
static inline const struct memory_slot *
slot_by_number(const struct memory_slots *slots, u32 number)
{
	u32 i;

	for (i = 0; slots && i < slots->count; i++)
		if (slots->slot[i].number == number)
			return &slots->slot[i];
	return NULL;
}

static inline unsigned long slot_hva(const struct memory_slot *slot, u64 gpa)
{
	return slot->hva + (gpa - (slot->gfn << PAGE_SHIFT));
}

/* The slots, by a notifier or with the lock held: they change with it held for writing */
static inline const struct memory_slots *locked_slots(struct memory *memory)
{
	return rcu_dereference_protected(memory->slots, lockdep_is_held(&memory->lock));
}

/* Remove what maps a range, in all views; memory.lock is held for writing. */
static inline void memory_zap(struct memory *memory, u64 start, u64 end, struct list_head *zapped)
{
	struct tdp *tdp;

	memory_for_each_view(memory, tdp)
		tdp_zap(tdp, start, end, zapped);
}

/* tdp_rearm() in all views; memory.lock is held for writing. */
static inline void memory_rearm(struct memory *memory, u64 gfn, u64 mask)
{
	struct tdp *tdp;

	memory_for_each_view(memory, tdp)
		tdp_rearm(tdp, gfn, mask);
}

/* tdp_stale() for all views; memory.lock is held. */
static inline void memory_stale(struct memory *memory)
{
	struct tdp *tdp;

	memory_for_each_view(memory, tdp)
		tdp_stale(tdp);
}

/* A copy of the slot that holds @gfn; false: there is none */
static inline bool find_slot(struct memory *memory, u64 gfn, struct memory_slot *slot)
{
	const struct memory_slot *found;
	int idx = srcu_read_lock(&memory->srcu);

	found = slot_at(srcu_dereference(memory->slots, &memory->srcu), gfn);
	if (found)
		*slot = *found;
	srcu_read_unlock(&memory->srcu, idx);
	return found;
}

#endif
