// SPDX-License-Identifier: GPL-2.0-only
/*
 * The second-level page table. Its levels are counted from 1, whose entries map 4 KiB each.
 */
#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <asm/cmpxchg.h>

#include "hw.h"
#include "tdp.h"

/*
 * Bits for software: EPT leaves 56:52 to it in all entries (SDM vol. 3 tables 29-1 to 29-6), NPT
 * 58:52 (APM vol. 2 5.3).
 *
 * SOFT_WRITE: a leaf that may be written to; where the write bit is clear a log holds it back
 * SOFT_SMALL: a table whose pages code runs in, which no huge page shall replace
 * SOFT_YOUNG: an accessed bit was there when tdp_touched() cleared it; tdp_young() has not seen it
 * SOFT_TOUCHED: the other way round
 */
#define SOFT_WRITE	BIT_ULL(52)
#define SOFT_SMALL	BIT_ULL(53)
#define SOFT_YOUNG	BIT_ULL(54)
#define SOFT_TOUCHED	BIT_ULL(55)

static unsigned int level_shift(int level)
{
	return TDP_BITS * (level - 1);
}

static unsigned int entry_index(u64 gfn, int level)
{
	return (gfn >> level_shift(level)) & (TDP_ENTRIES - 1);
}

static bool is_present(const struct tdp *tdp, u64 entry)
{
	return entry & tdp->format->present;
}

static bool is_leaf(const struct tdp *tdp, u64 entry, int level)
{
	return level == 1 || (entry & tdp->format->leaf);
}

static u64 *child_table(const struct tdp *tdp, u64 entry)
{
	return __va(entry & tdp->format->address);
}

/*
 * The one place where entries change. False: it is not *old (any more); then *old is what it is
 * now.
 */
static bool change_entry(u64 *entry, u64 *old, u64 new)
{
	return try_cmpxchg64(entry, old, new);
}

/* What was there */
static u64 clear_entry(u64 *entry)
{
	u64 old = READ_ONCE(*entry);

	while (old && !change_entry(entry, &old, 0))
		;
	return old;
}

/*
 * A table's page keeps its level in page_private() and hangs on a list by page->lru once it is
 * unlinked.
 */
static struct page *alloc_table(void)
{
	return alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
}

/**
 * tdp_create - a root that maps nothing
 * @count: of the VM
 *
 * Return: the tdp, or NULL.
 */
struct tdp *tdp_create(struct tdp_count *count)
{
	struct tdp *tdp = kzalloc(sizeof(*tdp), GFP_KERNEL_ACCOUNT);
	struct page *page;

	if (!tdp)
		return NULL;
	page = alloc_table();
	if (!page) {
		kfree(tdp);
		return NULL;
	}
	tdp->count = count;
	tdp->format = hw_caps.tdp;
	tdp->table = page_address(page);
	tdp->root = page_to_phys(page);
	set_page_private(page, tdp->format->levels);
	atomic_long_inc(&count->table_pages);
	/* Backends hold 0, or what another root had, maybe one that lay at the same address. */
	tdp_stale(tdp);
	tdp->flushed_gen = atomic64_read(&tdp->flush_gen);
	return tdp;
}

static void count_leaves(struct tdp *tdp, int level, long count)
{
	atomic_long_add(count, &tdp->count->mapped[level]);
}

/* Take one table off the list and put its own tables on it instead. */
static struct page *pop_table(struct tdp_count *count, struct list_head *zapped)
{
	const struct tdp_format *format = hw_caps.tdp;
	struct page *page = list_first_entry(zapped, struct page, lru);
	u64 *table = page_address(page);
	int level = page_private(page);
	int i, leaves = 0;

	list_del(&page->lru);
	atomic_long_dec(&count->table_pages);
	for (i = 0; i < TDP_ENTRIES; i++) {
		u64 entry = READ_ONCE(table[i]);

		if (!(entry & format->present))
			continue;
		if (level == 1 || (entry & format->leaf))
			leaves++;
		else
			list_add(&virt_to_page(__va(entry & format->address))->lru, zapped);
	}
	if (leaves)
		atomic_long_sub(leaves, &count->mapped[level]);
	set_page_private(page, 0);
	return page;
}

/**
 * tdp_destroy - free a tdp that no vCPU uses any more
 * @tdp: the tdp, or NULL
 */
void tdp_destroy(struct tdp *tdp)
{
	LIST_HEAD(tables);

	if (!tdp)
		return;
	list_add(&virt_to_page(tdp->table)->lru, &tables);
	while (!list_empty(&tables)) {
		__free_page(pop_table(tdp->count, &tables));
		cond_resched();
	}
	access_map_destroy(&tdp->access);
	kfree(tdp);
}

static void free_table_rcu(struct rcu_head *rcu)
{
	__free_page(container_of(rcu, struct page, rcu_head));
}

void tdp_free_zapped(struct tdp_count *count, struct list_head *zapped, bool may_sleep)
{
	while (!list_empty(zapped)) {
		call_rcu(&pop_table(count, zapped)->rcu_head, free_table_rcu);
		if (may_sleep)
			cond_resched();
	}
}

/**
 * tdp_cache_fill - have enough pages for any mapping
 * @cache: the cache
 *
 * Return: 0 or ENOMEM; what was got stays there.
 */
int tdp_cache_fill(struct tdp_cache *cache)
{
	while (cache->count < ARRAY_SIZE(cache->pages)) {
		struct page *page = alloc_table();

		if (!page)
			return -ENOMEM;
		cache->pages[cache->count++] = page;
	}
	return 0;
}

/**
 * tdp_cache_drain - free the pages that were not needed
 * @cache: the cache
 */
void tdp_cache_drain(struct tdp_cache *cache)
{
	while (cache->count)
		__free_page(cache->pages[--cache->count]);
}

/**
 * struct settling - what becomes of the entries of a table that begins to let writes through
 * @present: as in struct tdp_format
 * @leaf: bit of an entry that is a leaf; of level 1 all are
 * @hold: bits that are cleared in others
 * @arm: bits that are cleared in leaves
 * @grant: bits that are set then in leaves which may be written to
 */
struct settling {
	u64 present;
	u64 leaf;
	u64 hold;
	u64 arm;
	u64 grant;
};

/*
 * Tables and, with a log, huge pages hold writes back in the upper entry's place; other leaves are
 * armed, or have what they are entitled to.
 */
static struct settling settling(const struct tdp_format *format, int level, bool logged)
{
	bool hold = logged && (level > 1 || !hw_caps.pml);

	return (struct settling){
		.present = format->present,
		.leaf = level > 1 ? format->leaf : format->present,
		.hold = format->write,
		.arm = hold ? format->write : logged ? format->dirty : 0,
		.grant = hold ? 0 : format->write,
	};
}

static __always_inline u64 settled(u64 entry, const struct settling *how)
{
	/* Most are leaves that may be written to; tables never have this bit. */
	if (likely(entry & SOFT_WRITE))
		return (entry & ~how->arm) | how->grant;
	return entry & ~(entry & how->leaf ? how->arm : how->hold);
}

static __always_inline void settle(u64 *entry, const struct settling *how)
{
	u64 old = READ_ONCE(*entry), new;

	do {
		if (!(old & how->present))
			return;
		new = settled(old, how);
	} while (new != old && !change_entry(entry, &old, new));
}

/*
 * Let writes through @entry, which points to a table and was @old. Two that do it at once may arm a
 * page that one of them has just let through: it is in the log, and armed once more when that is
 * read, which flushes whatever it has changed.
 */
static void open_table(const struct tdp *tdp, u64 *entry, u64 old, int level, bool logged)
{
	const struct settling how = settling(tdp->format, level - 1, logged);
	u64 *table = child_table(tdp, old);
	int i;

	for (i = 0; i < TDP_ENTRIES; i++)
		settle(&table[i], &how);
	while (!(old & tdp->format->write) &&
	       !change_entry(entry, &old, old | tdp->format->write))
		;
}

static u64 make_leaf(const struct tdp_format *format, int level, bool logged,
		     const struct tdp_page *page)
{
	u64 leaf = (page->pfn << PAGE_SHIFT) | format->read | format->user | format->ram;

	if (level > 1)
		leaf |= format->leaf;
	if (level == 1 || format->huge_exec)
		leaf |= format->exec;
	if (page->flags & TDP_WRITE)
		leaf |= SOFT_WRITE;
	if ((page->flags & TDP_WRITE) && (!logged || hw_caps.pml || (page->flags & TDP_DIRTY)))
		leaf |= format->write;
	if (page->flags & TDP_DIRTY)
		leaf |= format->dirty;
	if (!(page->flags & TDP_OLD))
		leaf |= format->accessed;
	return leaf;
}

/* The same page and the same rights as a huge page's, in entries of @level */
static void split_leaf(const struct tdp *tdp, u64 *table, u64 leaf, int level,
		       const struct tdp_mapping *mapping)
{
	const struct settling how = settling(tdp->format, level, mapping->logged);
	u64 step = tdp_level_pages(level) << PAGE_SHIFT;
	int i;

	if (level == 1)
		leaf = (leaf & ~tdp->format->leaf) | mapping->format->exec;
	leaf = settled(leaf, &how);
	for (i = 0; i < TDP_ENTRIES; i++)
		table[i] = leaf + i * step;
}

/*
 * Hang a table into @entry, which was *old: an empty one for nothing, else one that maps what the
 * huge page did. Return: 0; ENOBUFS; EAGAIN: *old is something else by now.
 */
static int link_table(struct tdp *tdp, u64 *entry, u64 *old, int level,
		      const struct tdp_mapping *mapping, struct tdp_cache *cache)
{
	const struct tdp_format *format = tdp->format;
	bool split = is_present(tdp, *old);
	struct page *page;
	u64 new;

	if (!cache->count)
		return -ENOBUFS;
	page = cache->pages[cache->count - 1];
	if (split)
		split_leaf(tdp, page_address(page), *old, level, mapping);
	set_page_private(page, level);
	new = page_to_phys(page) | format->table;
	if (mapping->exec && !format->huge_exec)
		new |= SOFT_SMALL;
	if (!change_entry(entry, old, new)) {
		if (split)
			clear_page(page_address(page));
		return -EAGAIN;
	}
	*old = new;
	cache->count--;
	atomic_long_inc(&tdp->count->table_pages);
	if (split) {
		count_leaves(tdp, level + 1, -1);
		count_leaves(tdp, level, TDP_ENTRIES);
		/* No CPU is to hold on to the huge page, which may grant less. */
		tdp_stale(tdp);
	}
	return 0;
}

/* The table behind @entry of @level, whatever is there now, open for a write. ENOBUFS */
static int get_table(struct tdp *tdp, u64 *entry, int level, const struct tdp_mapping *mapping,
		     struct tdp_cache *cache, u64 **table)
{
	u64 old = READ_ONCE(*entry);
	int ret;

	while (!is_present(tdp, old) || is_leaf(tdp, old, level)) {
		ret = link_table(tdp, entry, &old, level - 1, mapping, cache);
		if (ret == -ENOBUFS)
			return ret;
	}
	if (!(old & tdp->format->write) && (mapping->pages[mapping->wanted].flags & TDP_DIRTY))
		open_table(tdp, entry, old, level, mapping->logged);
	*table = child_table(tdp, old);
	return 0;
}

/*
 * Make *entry map what @leaf says. The same frame keeps what it granted before, so that a read
 * fault that comes late takes nothing away from a write fault. Another fault may hang a table there
 * at any time, as long as memory.lock is held for reading alone: that is never overwritten.
 * Return: 0, 1, EEXIST and EMLINK of tdp_map().
 */
static int set_leaf(struct tdp *tdp, u64 *entry, int level, u64 leaf, bool fresh)
{
	const struct tdp_format *format = tdp->format;
	u64 kept = SOFT_WRITE | SOFT_YOUNG | SOFT_TOUCHED | format->write | format->accessed |
		   format->dirty;
	u64 old = READ_ONCE(*entry);
	bool other;
	u64 new;

	do {
		if (is_present(tdp, old) && !is_leaf(tdp, old, level))
			return -EMLINK;
		new = leaf;
		other = is_present(tdp, old) && ((old ^ leaf) & format->address);
		if (other && fresh)
			return -EEXIST;
		if (is_present(tdp, old) && !other)
			new |= old & kept;
		if (new == old)
			return 0;
	} while (!change_entry(entry, &old, new));

	if (!is_present(tdp, old))
		count_leaves(tdp, level, 1);
	if (other)
		tdp_stale(tdp);
	return other;
}

/* Put a huge page where a table is; memory.lock is held for writing. */
static int replace_table(struct tdp *tdp, u64 *entry, u64 old, int level, u64 leaf,
			 struct list_head *zapped)
{
	if (old & SOFT_SMALL)
		return -EEXIST;
	if (!zapped)
		return -EMLINK;
	/* The CPU alone changes what points to a table: the first walk sets the accessed bit. */
	while (!change_entry(entry, &old, leaf))
		;
	list_add(&virt_to_page(child_table(tdp, old))->lru, zapped);
	count_leaves(tdp, level, 1);
	tdp_stale(tdp);
	return 1;
}

int tdp_map(struct tdp *tdp, const struct tdp_mapping *mapping, struct tdp_cache *cache,
	    struct list_head *zapped)
{
	const struct tdp_page *pages = mapping->pages;
	const struct tdp_format *format = mapping->format;
	int level = mapping->level;
	u64 *table = tdp->table;
	int i, l, ret, added = 0;
	u64 *entry;
	u64 leaf, old;

	for (l = format->levels; l > level; l--) {
		entry = &table[entry_index(mapping->gfn, l)];
		ret = get_table(tdp, entry, l, mapping, cache, &table);
		if (ret)
			return ret;
	}

	entry = &table[entry_index(mapping->gfn, level)];
	leaf = make_leaf(format, level, mapping->logged, &pages[mapping->wanted]);
	old = READ_ONCE(*entry);
	if (level > 1 && is_present(tdp, old) && !is_leaf(tdp, old, level))
		return replace_table(tdp, entry, old, level, leaf, zapped);
	for (i = 0; i < mapping->count; i++) {
		u64 none = 0;

		if (i != mapping->wanted && !READ_ONCE(entry[i]))
			added += change_entry(&entry[i], &none,
					      make_leaf(format, level, mapping->logged, &pages[i]));
	}
	if (added)
		count_leaves(tdp, level, added);
	return set_leaf(tdp, entry + mapping->wanted, level, leaf, mapping->fresh);
}

static bool zap_table(struct tdp *tdp, u64 *table, int level, u64 start, u64 end,
		      struct list_head *zapped)
{
	u64 span = 1ull << level_shift(level);
	u64 gfn = round_down(start, span);
	bool changed = false;

	for (; gfn < end; gfn += span) {
		u64 *entry = &table[entry_index(gfn, level)];
		u64 old = READ_ONCE(*entry);

		if (!is_present(tdp, old))
			continue;
		if (is_leaf(tdp, old, level)) {
			clear_entry(entry);
			count_leaves(tdp, level, -1);
			changed = true;
		} else if (gfn >= start && gfn + span <= end) {
			clear_entry(entry);
			list_add(&virt_to_page(child_table(tdp, old))->lru, zapped);
			changed = true;
		} else if (zap_table(tdp, child_table(tdp, old), level - 1, max(start, gfn),
				     min(end, gfn + span), zapped)) {
			changed = true;
		}
	}
	return changed;
}

bool tdp_zap(struct tdp *tdp, u64 start, u64 end, struct list_head *zapped)
{
	if (!zap_table(tdp, tdp->table, tdp->format->levels, start, end, zapped))
		return false;
	tdp_stale(tdp);
	return true;
}

bool tdp_write(struct tdp *tdp, u64 gfn, bool logged)
{
	const struct tdp_format *format = tdp->format;
	int level = format->levels;
	u64 *table = tdp->table;
	u64 *entry;
	u64 old;

	for (;; level--) {
		entry = &table[entry_index(gfn, level)];
		old = READ_ONCE(*entry);
		if (!is_present(tdp, old))
			return false;
		if (is_leaf(tdp, old, level))
			break;
		if (!(old & format->write)) {
			/* Without a log a huge page may take its place. */
			if (!logged)
				return false;
			open_table(tdp, entry, old, level, true);
		}
		table = child_table(tdp, old);
	}
	if (logged && level > 1)
		return false;
	do {
		if (!(old & SOFT_WRITE))
			return false;
	} while (!change_entry(entry, &old,
			       old | format->write | format->accessed | format->dirty));
	return true;
}

static void protect_table(struct tdp *tdp, u64 *table, int level, u64 start, u64 end, bool logged)
{
	const struct settling how = settling(tdp->format, 1, logged);
	u64 span = tdp_level_pages(level);
	u64 gfn = round_down(start, span);

	for (; gfn < end; gfn += span) {
		u64 *entry = &table[entry_index(gfn, level)];
		u64 old = READ_ONCE(*entry);

		if (!is_present(tdp, old))
			continue;
		if (level == 1)
			settle(entry, &how);
		else if (is_leaf(tdp, old, level) || (gfn >= start && gfn + span <= end))
			while (!change_entry(entry, &old, old & ~tdp->format->write))
				;
		else
			protect_table(tdp, child_table(tdp, old), level - 1, max(start, gfn),
				      min(end, gfn + span), logged);
	}
}

void tdp_protect(struct tdp *tdp, u64 start, u64 end, bool logged)
{
	protect_table(tdp, tdp->table, tdp->format->levels, start, end, logged);
	tdp_stale(tdp);
}

/* The entry of level 1 that maps @gfn, or NULL */
static u64 *find_small(struct tdp *tdp, u64 gfn)
{
	u64 *table = tdp->table;
	int level;

	for (level = tdp->format->levels; level > 1; level--) {
		u64 entry = READ_ONCE(table[entry_index(gfn, level)]);

		if (!is_present(tdp, entry) || is_leaf(tdp, entry, level))
			return NULL;
		table = child_table(tdp, entry);
	}
	return &table[entry_index(gfn, 1)];
}

void tdp_rearm(struct tdp *tdp, u64 gfn, u64 mask)
{
	const struct settling how = settling(tdp->format, 1, true);
	u64 *entry = NULL;
	unsigned int i;

	/* A huge page, or what is not there, lets no write through. */
	for (; mask; mask &= mask - 1) {
		i = __ffs64(mask);
		/* The 64 may lie in two tables. */
		if (!entry || entry_index(gfn + i, 1) < i) {
			entry = find_small(tdp, gfn + i);
			if (!entry)
				continue;
			entry -= i;
		}
		settle(entry + i, &how);
	}
}

/*
 * Without accessed bits an entry that is there counts as used. To forget that it goes; the next
 * access faults and brings it back. What is left is not zero, so that a fault beside it does not.
 */
#define AGED	BIT_ULL(62)

static bool leaf_present_young(struct tdp *tdp, u64 *entry, u64 old, int level, bool clear)
{
	while (clear && is_present(tdp, old)) {
		if (!change_entry(entry, &old, AGED))
			continue;
		count_leaves(tdp, level, -1);
		/* Whoever unmaps the page next finds nothing here, but flushes for the number. */
		tdp_stale(tdp);
		return true;
	}
	return is_present(tdp, old);
}

/*
 * Was there an access since the reader with the bit @mine last cleared it? What the CPU has noted
 * is kept for the other one.
 */
static bool leaf_accessed(struct tdp *tdp, u64 *entry, u64 old, u64 mine, u64 others, bool clear)
{
	u64 accessed = tdp->format->accessed;

	while (old & (accessed | mine)) {
		u64 new = old & ~(accessed | mine);

		if (old & accessed)
			new |= others;
		if (!clear || change_entry(entry, &old, new))
			return true;
	}
	return false;
}

static bool table_young(struct tdp *tdp, u64 *table, int level, u64 start, u64 end, bool clear)
{
	u64 span = 1ull << level_shift(level);
	u64 gfn = round_down(start, span);
	bool young = false;

	for (; gfn < end && (clear || !young); gfn += span) {
		u64 *entry = &table[entry_index(gfn, level)];
		u64 old = READ_ONCE(*entry);

		if (!is_present(tdp, old))
			continue;
		if (is_leaf(tdp, old, level))
			young |= tdp->format->accessed ?
				 leaf_accessed(tdp, entry, old, SOFT_YOUNG, SOFT_TOUCHED, clear) :
				 leaf_present_young(tdp, entry, old, level, clear);
		else
			young |= table_young(tdp, child_table(tdp, old), level - 1, max(start, gfn),
					     min(end, gfn + span), clear);
	}
	return young;
}

bool tdp_young(struct tdp *tdp, u64 start, u64 end, bool clear)
{
	return table_young(tdp, tdp->table, tdp->format->levels, start, end, clear);
}

static bool table_touched(struct tdp *tdp, u64 *table, int level, u64 start, u64 end, u64 first,
			  u64 *bits, bool clear)
{
	u64 span = tdp_level_pages(level);
	u64 gfn = round_down(start, span);
	bool touched = false;

	for (; gfn < end; gfn += span) {
		u64 *entry = &table[entry_index(gfn, level)];
		u64 from = max(start, gfn), to = min(end, gfn + span);
		u64 old = READ_ONCE(*entry);

		if (!is_present(tdp, old))
			continue;
		if (!is_leaf(tdp, old, level)) {
			touched |= table_touched(tdp, child_table(tdp, old), level - 1, from, to,
						 first, bits, clear);
		} else if (leaf_accessed(tdp, entry, old, SOFT_TOUCHED, SOFT_YOUNG, clear)) {
			bitmap_set((unsigned long *)bits, from - first, to - from);
			touched = true;
		}
	}
	return touched;
}

bool tdp_touched(struct tdp *tdp, u64 start, u64 end, u64 *bits, bool clear)
{
	return table_touched(tdp, tdp->table, tdp->format->levels, start, end, start, bits,
			     clear) && clear;
}

u64 tdp_translate(const struct tdp *tdp, u64 gpa)
{
	const struct tdp_format *format = tdp->format;
	unsigned int shift = PAGE_SHIFT + TDP_BITS * format->levels;
	const u64 *table = tdp->table;
	u64 entry, offset;

	if (gpa >> shift)
		return TDP_UNMAPPED;
	for (;;) {
		shift -= TDP_BITS;
		entry = READ_ONCE(table[(gpa >> shift) & (TDP_ENTRIES - 1)]);
		if (!(entry & format->present))
			return TDP_UNMAPPED;
		if (shift == PAGE_SHIFT || (entry & format->leaf))
			break;
		table = __va(entry & format->address);
	}
	offset = gpa & ((1ull << shift) - 1);
	return (entry & format->address & ~((1ull << shift) - 1)) | offset;
}
