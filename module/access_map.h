/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small number for each guest frame, where most have that of their neighbours.
 *
 * A tree of tables shaped like the second-level one. Its entries of level n stand for
 * tdp_level_pages(n) frames: they hold the number of all of them, or the table below. That of an
 * entry of level 2 has a byte for each frame. A table whose entries have become equal is given up.
 */
#ifndef VMM_ACCESS_MAP_H
#define VMM_ACCESS_MAP_H

#include <linux/list.h>
#include <linux/types.h>
#include <linux/xarray.h>

/**
 * struct access_map - the tree
 * @root: the entry that stands for all frames
 * @level: its level
 */
struct access_map {
	void *root;
	int level;
};

void access_map_init(struct access_map *map, u8 access);
void access_map_destroy(struct access_map *map);

/* Have all frames the number @access? */
static inline bool access_map_is(const struct access_map *map, u8 access)
{
	return map->root == xa_mk_value(access);
}

#define ACCESS_MIXED	(-1)

/**
 * access_map_get - what some frames have; may run beside access_map_split()
 * @map: the map
 * @gfn: the first
 * @pages: how many; they do not cross a multiple of the next power of 512
 *
 * Return: their number, or ACCESS_MIXED: it may not be the same for all.
 */
int access_map_get(const struct access_map *map, u64 gfn, u64 pages);

/**
 * access_map_split - have an entry, or a byte, begin with a frame; nothing else changes
 * @map: the map; no other call changes it
 * @gfn: the frame
 *
 * Return: 0 or ENOMEM.
 */
int access_map_split(struct access_map *map, u64 gfn);

/**
 * access_map_set - change the number of some frames
 * @map: the map; nobody reads it, and access_map_split() was called for both ends
 * @start: the first
 * @end: behind the last
 * @access: the number
 * @garbage: what access_map_free() is to free
 */
void access_map_set(struct access_map *map, u64 start, u64 end, u8 access,
		    struct list_head *garbage);

/* Free tables that nobody reads any more; may sleep. */
void access_map_free(struct list_head *garbage);

#endif
