// SPDX-License-Identifier: GPL-2.0-only
/*
 * See access_map.h.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "access_map.h"
#include "hw.h"
#include "tdp.h"

/* The entry of a table, whose entries are of @level, for @gfn */
static void **entry_at(void *table, u64 gfn, int level)
{
	return (void **)table + ((gfn >> (TDP_BITS * (level - 1))) & (TDP_ENTRIES - 1));
}

/* A table whose entries are of @level, all with the number @access */
static void *make_table(int level, u8 access)
{
	struct page *page;
	void **table;

	if (level == 1) {
		u8 *bytes = kmalloc(TDP_ENTRIES, GFP_KERNEL_ACCOUNT);

		return bytes ? memset(bytes, access, TDP_ENTRIES) : NULL;
	}
	page = alloc_page(GFP_KERNEL_ACCOUNT);
	if (!page)
		return NULL;
	set_page_private(page, level);
	table = page_address(page);
	memset64((u64 *)table, (u64)xa_mk_value(access), TDP_ENTRIES);
	return table;
}

static void free_page_table(struct page *page)
{
	set_page_private(page, 0);
	__free_page(page);
}

/* Give up what is below an entry of @level. */
static void drop(void *entry, int level, struct list_head *garbage)
{
	/* The map of view 0 was never begun. */
	if (!entry || xa_is_value(entry))
		return;
	if (level == 2)
		kfree(entry);
	else
		list_add(&virt_to_page(entry)->lru, garbage);
}

void access_map_free(struct list_head *garbage)
{
	while (!list_empty(garbage)) {
		struct page *page = list_first_entry(garbage, struct page, lru);
		void **table = page_address(page);
		int level = page_private(page);
		int i;

		list_del(&page->lru);
		for (i = 0; i < TDP_ENTRIES; i++)
			drop(table[i], level, garbage);
		free_page_table(page);
		cond_resched();
	}
}

void access_map_init(struct access_map *map, u8 access)
{
	map->root = xa_mk_value(access);
	map->level = hw_caps.tdp->levels + 1;
}

void access_map_destroy(struct access_map *map)
{
	LIST_HEAD(garbage);

	drop(map->root, map->level, &garbage);
	access_map_free(&garbage);
}

static int get_bytes(const u8 *bytes, u64 pages)
{
	return memchr_inv(bytes, *bytes, pages) ? ACCESS_MIXED : *bytes;
}

int access_map_get(const struct access_map *map, u64 gfn, u64 pages)
{
	void *entry = READ_ONCE(map->root);
	int level = map->level;

	for (; !xa_is_value(entry); level--) {
		if (level == 2)
			return get_bytes((const u8 *)entry + gfn % TDP_ENTRIES, pages);
		if (pages > tdp_level_pages(level - 1))
			return ACCESS_MIXED;
		entry = READ_ONCE(*entry_at(entry, gfn, level - 1));
	}
	return xa_to_value(entry);
}

int access_map_split(struct access_map *map, u64 gfn)
{
	void **entry = &map->root;
	int level = map->level;

	for (; level > 1 && (gfn & (tdp_level_pages(level) - 1)); level--) {
		if (xa_is_value(*entry)) {
			void *table = make_table(level - 1, xa_to_value(*entry));

			if (!table)
				return -ENOMEM;
			/* A reader that finds it finds what it holds. */
			smp_store_release(entry, table);
		}
		if (level > 2)
			entry = entry_at(*entry, gfn, level - 1);
	}
	return 0;
}

/* An entry of @level instead of its table, if all that is there is the same */
static void join(void **entry, int level)
{
	void **table = *entry;
	int access, i;

	if (level == 2) {
		access = get_bytes(*entry, TDP_ENTRIES);
		if (access != ACCESS_MIXED) {
			kfree(*entry);
			*entry = xa_mk_value(access);
		}
		return;
	}
	for (i = 0; i < TDP_ENTRIES; i++)
		if (table[i] != table[0] || !xa_is_value(table[i]))
			return;
	*entry = table[0];
	free_page_table(virt_to_page(table));
}

/* The frames from @start up to @end are among those that the entry of @level stands for. */
static void set_entry(void **entry, int level, u64 start, u64 end, u8 access,
		      struct list_head *garbage)
{
	u64 span = tdp_level_pages(level - 1);
	u64 gfn, next;

	if (end - start == tdp_level_pages(level)) {
		drop(*entry, level, garbage);
		*entry = xa_mk_value(access);
		return;
	}
	if (level == 2) {
		memset((u8 *)*entry + start % TDP_ENTRIES, access, end - start);
	} else {
		for (gfn = start; gfn < end; gfn = next) {
			next = min(end, round_down(gfn, span) + span);
			set_entry(entry_at(*entry, gfn, level - 1), level - 1, gfn, next, access,
				  garbage);
		}
	}
	join(entry, level);
}

void access_map_set(struct access_map *map, u64 start, u64 end, u8 access,
		    struct list_head *garbage)
{
	set_entry(&map->root, map->level, start, end, access, garbage);
}
