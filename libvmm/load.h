/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvmm: what the loaders share.
 */
#ifndef LIBVMM_LOAD_H
#define LIBVMM_LOAD_H

#include <vmm/load.h>

#include "internal.h"

/* E820 types, which PVH and multiboot use as well */
#define RANGE_USABLE	1
#define RANGE_RESERVED	2

struct range {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
};

#define MAX_RANGES	128

/* The guest's memory as its firmware would tell: how many of @ranges are filled, or -E2BIG */
int memory_map(struct vmm_vm *vm, struct range ranges[MAX_RANGES]);

/* End of the memory that lies without a gap from 1 MiB on, below 4 GiB; 0 if there is none */
uint64_t low_memory_end(struct vmm_vm *vm);

/* memory_place(), with a message where @what does not fit: 0, -ENOMEM, -EACCES */
int place_bytes(struct vmm_vm *vm, uint64_t gpa, const void *data, uint64_t bytes, uint64_t size,
		const char *what);

/* ---- the area of strings ---- */

struct strings {
	struct vmm_vm *vm;
	uint64_t start;
	uint64_t next;
};

#define STRINGS_BYTES	(VMM_LOW_CMDLINE_END - VMM_LOW_CMDLINE)

static inline void strings_init(struct strings *strings, struct vmm_vm *vm, uint64_t start)
{
	strings->vm = vm;
	strings->start = start;
	strings->next = start;
}

/* Store "first second" (either may be NULL): 0 with @gpa, or -E2BIG, -ENOMEM, -EACCES */
int strings_add(struct strings *strings, const char *first, const char *second, uint64_t *gpa);

/* ---- ELF ---- */

/**
 * struct elf - an ELF file, checked as far as its header
 * @file: the contents
 * @is64: class
 * @entry: e_entry
 * @table: e_phoff
 * @table_entry: e_phentsize
 * @segments: number of program headers
 */
struct elf {
	const struct vmm_file *file;
	bool is64;
	uint64_t entry;
	uint64_t table;
	uint16_t table_entry;
	uint16_t segments;
};

struct elf_segment {
	uint32_t type;
	uint64_t offset;
	uint64_t file_size;
	uint64_t paddr;
	uint64_t memory_size;
	uint64_t align;
};

bool elf_is(const struct vmm_file *file);
/* 0 or -ENOEXEC with a message */
int elf_open(const struct vmm_file *file, struct elf *elf, struct message *message);
/* Program header @index, its place in the file checked: 0 or -ENOEXEC */
int elf_segment(const struct elf *elf, unsigned int index, struct elf_segment *segment,
		struct message *message);
/*
 * Copy all PT_LOAD segments to their physical addresses, from @lowest on; @start: the lowest
 * address of one, @end: the highest behind one
 */
int elf_load(const struct elf *elf, struct vmm_vm *vm, uint64_t lowest, uint64_t *start,
	     uint64_t *end);

/* Where an image's own bytes may not lie: the loader's area, below @lowest, and the ROM area */
int check_placement(struct vmm_vm *vm, uint64_t lowest, uint64_t gpa, uint64_t bytes);

/* ---- modules, behind the kernel ---- */

struct placed_module {
	uint64_t gpa;
	uint64_t bytes;
	uint64_t text;		/* guest-physical address of its command line */
};

#define MAX_MODULES	64

/* initrd and modules in order; the count, or a negative errno */
int place_modules(struct vmm_vm *vm, const struct vmm_boot *boot, struct strings *strings,
		  uint64_t kernel_end, struct placed_module modules[MAX_MODULES]);

/* PVH */
bool pvh_entry(const struct vmm_file *file, uint64_t *entry);
/* Multiboot */
bool multiboot_is(const struct vmm_file *file);
bool linux_is(const struct vmm_file *file);

#endif
