/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The second-level page table: one implementation for EPT and NPT.
 */
#ifndef VMM_TDP_H
#define VMM_TDP_H

#include <linux/atomic.h>
#include <linux/types.h>

struct vm;

/**
 * struct tdp_format - how a vendor writes an entry
 * @table: bits of an entry that points to a table
 * @present: any of these set: the entry is present
 * @read: @write, @user: bits that grant
 * @exec: bit that grants execution (EPT), or 0
 * @no_exec: bit that denies it (NPT), or 0
 * @accessed: @dirty: bits that the CPU sets
 * @leaf: set in an entry above level 1 that maps a huge page
 * @ram: memory type of RAM in a leaf
 * @address: mask of the frame address
 * @levels: depth: 4 or 5
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
};

/**
 * struct tdp - a root and the view of memory that it implements
 * @root: physical address of the top table, what the hardware is pointed at
 * @flush_gen: rises with each invalidation; a backend that entered with an older number
 *             must flush this root's translations before it enters again
 * @table_pages: pages in use for tables
 *
 * Writers of entries hold vm->memory.lock as memory.h says.
 */
struct tdp {
	struct vm *vm;
	u64 *table;
	u64 root;
	atomic64_t flush_gen;
	atomic_long_t table_pages;
};

struct tdp *tdp_create(struct vm *vm);
void tdp_destroy(struct tdp *tdp);

#endif
