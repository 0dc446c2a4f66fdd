/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Slots, and what is done in all views: for the files that implement memory.h alone.
 */
#ifndef VMM_SLOTS_H
#define VMM_SLOTS_H

#include <linux/completion.h>
#include <linux/interval_tree.h>
#include <linux/refcount.h>

#include "memory.h"

/**
 * struct slot_entry - a slot in the trees of a VM
 * @slot: it; never changed once it is there
 * @key: its frames, host addresses and number
 * @users: 1 for its being there, 1 for each get_entry()
 * @unused: there are none any more
 * @holders: who keeps it from being freed: 1 for all @users together, 1 for who takes it away and
 *           waits for them, 1 for each entry whose @heir it is
 * @heir: the entry that has taken its log over, which lives as long as @users may note in it; NULL:
 *        the log is its own. Set before it is taken away
 */
struct slot_entry {
	struct memory_slot slot;
	struct interval_tree_node key[MEMORY_KEYS];
	refcount_t users;
	struct completion unused;
	refcount_t holders;
	struct slot_entry *heir;
};

static inline struct slot_entry *slot_entry(const struct interval_tree_node *node,
					    enum memory_key key)
{
	return node ? container_of(node - key, struct slot_entry, key[0]) : NULL;
}

/*
 * All slots that have some of what lies between @first and @last, both included. vm->lock or
 * memory.lock is held, as for all that finds slots here.
 */
#define for_each_slot(entry, memory, by, first, last)						\
	for (entry = slot_entry(interval_tree_iter_first(&(memory)->slots[by], first, last), by);\
	     entry;										\
	     entry = slot_entry(interval_tree_iter_next(&entry->key[by], first, last), by))

static inline struct slot_entry *slot_by(struct memory *memory, enum memory_key key, u64 value)
{
	return slot_entry(interval_tree_iter_first(&memory->slots[key], value, value), key);
}

/* The one with the lowest number from @number on, or NULL */
static inline struct slot_entry *slot_from(struct memory *memory, u32 number)
{
	return slot_entry(interval_tree_iter_first(&memory->slots[MEMORY_NUMBER], number,
						   ULONG_MAX), MEMORY_NUMBER);
}

/* The slot that holds @gfn, or NULL */
static inline const struct memory_slot *slot_at(struct memory *memory, u64 gfn)
{
	const struct slot_entry *entry = slot_by(memory, MEMORY_GFN, gfn);

	return entry ? &entry->slot : NULL;
}

static inline unsigned long slot_hva(const struct memory_slot *slot, u64 gpa)
{
	return slot->hva + (gpa - (slot->gfn << PAGE_SHIFT));
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

/* A copy of the slot that holds @gfn; false: there is none. Takes memory.lock */
static inline bool find_slot(struct memory *memory, u64 gfn, struct memory_slot *slot)
{
	const struct memory_slot *found;

	read_lock(&memory->lock);
	found = slot_at(memory, gfn);
	if (found)
		*slot = *found;
	read_unlock(&memory->lock);
	return found;
}

#endif
