/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The second-level page table: one implementation for EPT and NPT.
 *
 * Entries change in one function of tdp.c, by cmpxchg, since the CPU sets accessed and dirty
 * bits in them at any time. Who may do what:
 *
 *   add or widen entries,	vm->memory.lock held for reading, several at a time
 *   split a huge page
 *   remove or narrow entries,	vm->memory.lock held for writing
 *   put a huge page for a table
 *   read entries		either of them; or interrupts off or rcu_read_lock(), with results
 *				that may be gone already. In a vCPU's window what is found stays
 *				valid until the window lets interrupts in (memory_flush())
 *
 * A log of writes holds the right to write back, until a write comes. Leaves of 4 KiB pages are
 * armed: with PML (hw_caps.pml) by a clear dirty bit, of whose setting the CPU keeps a log, else by
 * a clear write bit. Above them the write bit of an entry stands for all that is below: it is
 * cleared for as much as lies in the slot, at the highest level, and the first write there passes
 * it on to the entries of the table behind (both manuals grant a write only where each level does:
 * SDM vol. 3 29.3.2, APM vol. 2 15.25.5). So to begin or end a log costs some entries, not one per
 * page. Such an entry covers pages of one slot alone.
 *
 * A table that was unlinked is still walked by CPUs until they have flushed, and by RCU readers:
 * tdp_zap() only collects it, tdp_free_zapped() frees it after both.
 */
#ifndef VMM_TDP_H
#define VMM_TDP_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/list.h>
#include <linux/types.h>

#include "access_map.h"

struct page;

/**
 * struct tdp_format - how a vendor writes an entry
 * @table: bits of an entry that points to a table
 * @present: any of these set: the entry is present
 * @read: bit that grants reads
 * @write: likewise writes
 * @user: likewise CPL 3's accesses, as which all of a guest's count; or 0
 * @exec: bit that grants execution (EPT), or 0
 * @no_exec: bit that denies it (NPT), or 0
 * @accessed: bit that the CPU sets at any access, or 0
 * @dirty: likewise at writes
 * @leaf: set in an entry above level 1 that maps a huge page
 * @ram: memory type of RAM in a leaf
 * @address: mask of the frame address
 * @levels: depth: 4 or 5
 * @max_level: largest pages that the CPU can map: 1, 2 (2 MiB) or 3 (1 GiB)
 * @huge_exec: code may run in huge pages
 * @exec_only: an entry can grant execution without reading
 */
struct tdp_format {
	u64 table;
	u64 present;
	u64 read;
	u64 write;
	u64 user;
	u64 exec;
	u64 no_exec;
	u64 accessed;
	u64 dirty;
	u64 leaf;
	u64 ram;
	u64 address;
	int levels;
	int max_level;
	bool huge_exec;
	bool exec_only;
};

#define TDP_MAX_LEVELS	5
#define TDP_MAX_LEAF	3	/* the highest level whose entries map pages */

/**
 * struct tdp_count - what the tables of a VM hold, and which numbers they have had
 * @table_pages: pages in use for tables
 * @mapped: leaves there are, by level
 * @last_gen: the last number that any root's flush_gen has become
 */
struct tdp_count {
	atomic_long_t table_pages;
	atomic_long_t mapped[TDP_MAX_LEAF + 1];
	atomic64_t last_gen;
};

/**
 * struct tdp - a root and the view of memory that it implements
 * @link: in memory.views
 * @number: the front end's; 0: the whole map
 * @users: [vm->lock] vCPUs that have been brought here less those that left: whose view it is, but
 *         for view 0
 * @format: of the entries
 * @count: of all views of the VM
 * @table: the top table
 * @root: its physical address, what the hardware is pointed at
 * @flush_gen: becomes another number with each removal of entries, one that no root of the VM had
 *             before, be it one that is gone; a backend that entered with another number must flush
 *             this root's translations before it enters again. Never 0
 * @restricted: [memory.lock] @access denies something; read without the lock for what is but a hint
 * @access: [memory.lock] ACCESS_* that each frame grants, over its slot's own; not of view 0, which
 *          denies nothing
 * @flushed_gen: [memory.flush_lock] no vCPU runs on translations older than this
 * @flushing_gen: [memory.flush_lock] what flushed_gen will be
 */
struct tdp {
	struct list_head link;
	u32 number;
	int users;
	const struct tdp_format *format;
	struct tdp_count *count;
	u64 *table;
	u64 root;
	atomic64_t flush_gen;
	bool restricted;
	struct access_map access;
	u64 flushed_gen;
	u64 flushing_gen;
};

#define TDP_BITS	9	/* of a frame number, per level */
#define TDP_ENTRIES	BIT(TDP_BITS)

struct tdp *tdp_create(struct tdp_count *count);
void tdp_destroy(struct tdp *tdp);

/**
 * struct tdp_cache - pages for the tables that a mapping may need, got before the lock is taken
 * @count: pages there
 * @pages: zeroed
 */
struct tdp_cache {
	int count;
	struct page *pages[TDP_MAX_LEVELS - 1];
};

int tdp_cache_fill(struct tdp_cache *cache);
void tdp_cache_drain(struct tdp_cache *cache);

#define TDP_WRITE	BIT(0)	/* the mapping may be written to; with a log, once it is told */
#define TDP_DIRTY	BIT(1)	/* it is about to be: spare the CPU setting the dirty bit */
#define TDP_OLD		BIT(2)	/* not accessed yet */

/**
 * struct tdp_page - what to map
 * @pfn: the host frame
 * @flags: TDP_*
 */
struct tdp_page {
	u64 pfn;
	unsigned int flags;
};

/**
 * struct tdp_mapping - pages to be mapped together
 * @gfn: the first guest frame, aligned to @level
 * @level: 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB
 * @pages: for @gfn and the frames behind it
 * @count: of @pages; more than one at level 1 alone, and all in one table
 * @wanted: which of them; the others are mapped only where nothing is yet
 * @exec: code is to run there
 * @logged: the slot has a log of writes
 * @fresh: nobody can flush, so that nothing may be there but the same
 * @format: what leaves are made of: the format of the table, or less than that where the view
 *          denies something, which is the same for all @pages, and for a huge page that they lie in
 */
struct tdp_mapping {
	u64 gfn;
	int level;
	const struct tdp_page *pages;
	int count;
	int wanted;
	bool exec;
	bool logged;
	bool fresh;
	const struct tdp_format *format;
};

/* Frames that an entry maps */
static inline u64 tdp_level_pages(int level)
{
	return 1ull << (TDP_BITS * (level - 1));
}

/**
 * tdp_map - map pages, or widen what their mappings grant
 * @tdp: memory.lock is held for reading, or for writing with @zapped
 * @mapping: what
 * @cache: gives table pages
 * @zapped: collects tables that a huge page has replaced; NULL: none may be
 *
 * A huge page that lies in the way of smaller ones is split.
 * Return: 0; 1: something else was mapped there, so the caller must call memory_flush(); ENOBUFS:
 * @cache is empty, fill it and try again; EMLINK: a table is in the way of a huge page: again with
 * @zapped; EEXIST: it has to stay, as code runs in its pages: map smaller ones; or with @fresh
 * something else is mapped there.
 */
int tdp_map(struct tdp *tdp, const struct tdp_mapping *mapping, struct tdp_cache *cache,
	    struct list_head *zapped);

/**
 * tdp_write - let a write through that nothing but a log holds back
 * @tdp: memory.lock is held for reading
 * @gfn: the page
 * @logged: its slot has a log: the caller must take note of the page when this returns true
 *
 * Return: false: the page must be mapped first, or otherwise.
 */
bool tdp_write(struct tdp *tdp, u64 gfn, bool logged);

/**
 * tdp_protect - have the next write to each page of a range fault, or be logged by the CPU
 * @tdp: memory.lock is held for writing
 * @start: first guest frame
 * @end: the one behind the last; all in one slot
 * @logged: the slot has a log
 *
 * What holds writes back when a log has ended is undone, and huge pages are put back, by the
 * faults to come. flush_gen has changed, so memory_flush() must follow.
 */
void tdp_protect(struct tdp *tdp, u64 start, u64 end, bool logged);

/**
 * tdp_rearm - arm pages whose writes were taken note of, and are to be again
 * @tdp: memory.lock is held for writing
 * @gfn: the first of 64 frames
 * @mask: which of them
 *
 * The caller calls tdp_stale() when it is through.
 */
void tdp_rearm(struct tdp *tdp, u64 gfn, u64 mask);

/* All that CPUs hold of @tdp is stale: memory_flush() must follow before anyone relies on it. */
static inline void tdp_stale(struct tdp *tdp)
{
	/*
	 * Of two that do so at once the earlier number may overwrite the later one: no vCPU has
	 * flushed for it yet, and who looks from then on will.
	 */
	atomic64_set(&tdp->flush_gen, atomic64_inc_return(&tdp->count->last_gen));
}

/**
 * tdp_zap - remove all mappings of a range
 * @tdp: memory.lock is held for writing
 * @start: first guest frame
 * @end: the one behind the last
 * @zapped: collects tables that are no longer linked
 *
 * A huge page that overlaps the range goes as a whole. Costs no more than a few tables' worth of
 * entries, whatever the size of the range: what lies within it wholly is unlinked at its top.
 * Return: true if something was mapped: then flush_gen has changed and memory_flush() must follow.
 */
bool tdp_zap(struct tdp *tdp, u64 start, u64 end, struct list_head *zapped);

/**
 * tdp_free_zapped - free what tdp_zap() collected; memory_flush() was called
 * @count: of the VM
 * @zapped: the list, of any of its views
 * @may_sleep: yield now and then
 */
void tdp_free_zapped(struct tdp_count *count, struct list_head *zapped, bool may_sleep);

/**
 * tdp_young - was anything in a range accessed since the last time?
 * @tdp: memory.lock is held
 * @start: first guest frame
 * @end: the one behind the last
 * @clear: forget it
 *
 * Return: true: some page was.
 */
bool tdp_young(struct tdp *tdp, u64 start, u64 end, bool clear);

/**
 * tdp_touched - which pages of a range were accessed since they were forgotten here
 * @tdp: memory.lock is held
 * @start: first guest frame
 * @end: the one behind the last
 * @bits: one is set for each page that was, from that of @start on; a huge page is one with all its
 *        pages
 * @clear: forget it. tdp_young() does not, nor is it the other way round
 *
 * Return: true: something was forgotten, so tdp_stale() and memory_flush() should follow.
 */
bool tdp_touched(struct tdp *tdp, u64 start, u64 end, u64 *bits, bool clear);

#define TDP_UNMAPPED	(~0ull)

/**
 * tdp_translate - host-physical address of a guest-physical one
 * @tdp: may be read, see above
 * @gpa: guest-physical address
 *
 * Return: the address, or TDP_UNMAPPED.
 */
u64 tdp_translate(const struct tdp *tdp, u64 gpa);

#endif
