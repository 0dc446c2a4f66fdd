// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: ELF kernels with a PVH entry (Xen, docs/misc/pvh.pandoc and
 * public/arch-x86/hvm/start_info.h): 32-bit protected mode without paging,
 * EBX points to struct hvm_start_info.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "load.h"

#define NOTE_PHYS32_ENTRY	18
#define START_MAGIC		0x336ec578

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct start_module {
	uint64_t paddr;
	uint64_t size;
	uint64_t cmdline_paddr;
	uint64_t reserved;
};

struct start_range {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

/* What lies at VMM_LOW_BOOT_INFO */
struct start_area {
	struct start_info info;
	struct start_module modules[MAX_MODULES];
	struct start_range ranges[MAX_RANGES];
};

_Static_assert(sizeof(struct start_area) <= VMM_LOW_BOOT_END - VMM_LOW_BOOT_INFO, "fits");

static uint64_t padded(uint64_t bytes, uint64_t align)
{
	return (bytes + align - 1) & ~(align - 1);
}

static bool find_note(const struct elf *elf, const struct elf_segment *segment, uint64_t *entry)
{
	const uint8_t *data = (const uint8_t *)elf->file->data + segment->offset;
	uint64_t align = segment->align == 8 ? 8 : 4, at = 0;
	Elf64_Nhdr note;

	while (segment->file_size - at >= sizeof(note)) {
		uint64_t name = at + sizeof(note), descriptor, next;

		memcpy(&note, data + at, sizeof(note));
		descriptor = padded(name + note.n_namesz, align);
		next = padded(descriptor + note.n_descsz, align);
		if (descriptor + note.n_descsz > segment->file_size)
			return false;
		if (note.n_type == NOTE_PHYS32_ENTRY && note.n_namesz == 4 &&
		    !memcmp(data + name, "Xen", 4) &&
		    (note.n_descsz == 4 || note.n_descsz == 8)) {
			*entry = 0;
			memcpy(entry, data + descriptor, note.n_descsz);
			return true;
		}
		if (next >= segment->file_size)
			return false;
		at = next;
	}
	return false;
}

bool pvh_entry(const struct vmm_file *file, uint64_t *entry)
{
	struct elf_segment segment;
	struct message ignored = { "" };
	struct elf elf;
	unsigned int i;

	if (elf_open(file, &elf, &ignored))
		return false;
	for (i = 0; i < elf.segments; i++)
		if (!elf_segment(&elf, i, &segment, &ignored) && segment.type == PT_NOTE &&
		    find_note(&elf, &segment, entry))
			return true;
	return false;
}

static int fill_start_area(struct vmm_vm *vm, struct start_area *area,
			   const struct placed_module *modules, int count)
{
	uint64_t base = VMM_LOW_BOOT_INFO;
	struct range ranges[MAX_RANGES];
	int i, nr_ranges = memory_map(vm, ranges);

	if (nr_ranges < 0)
		return nr_ranges;
	area->info.magic = START_MAGIC;
	area->info.version = 1;
	area->info.nr_modules = count;
	area->info.modlist_paddr = count ? base + offsetof(struct start_area, modules) : 0;
	area->info.memmap_paddr = base + offsetof(struct start_area, ranges);
	area->info.memmap_entries = nr_ranges;
	for (i = 0; i < count; i++) {
		area->modules[i].paddr = modules[i].gpa;
		area->modules[i].size = modules[i].bytes;
		area->modules[i].cmdline_paddr = modules[i].text;
	}
	for (i = 0; i < nr_ranges; i++) {
		area->ranges[i].addr = ranges[i].addr;
		area->ranges[i].size = ranges[i].size;
		area->ranges[i].type = ranges[i].type;
	}
	return 0;
}

int vmm_place_pvh(struct vmm_vm *vm, const struct vmm_boot *boot, struct vmm_entry *entry)
{
	struct placed_module modules[MAX_MODULES];
	uint64_t start, first, end, cmdline;
	struct start_area area;
	struct strings strings;
	struct elf elf;
	int err, count;

	err = elf_open(&boot->kernel, &elf, &vm->message);
	if (err)
		return err;
	if (!pvh_entry(&boot->kernel, &start))
		return fail(&vm->message, -ENOEXEC, "ELF: no PVH entry note");
	if (start >> 32)
		return fail(&vm->message, -ENOEXEC, "ELF: the PVH entry %#llx is above 4 GiB",
			    (unsigned long long)start);
	err = elf_load(&elf, vm, VMM_LOW_CMDLINE_END, &first, &end);
	if (err)
		return err;
	strings_init(&strings, vm, VMM_LOW_CMDLINE);
	err = strings_add(&strings, boot->cmdline, NULL, &cmdline);
	if (err)
		return err;
	count = place_modules(vm, boot, &strings, end, modules);
	if (count < 0)
		return count;
	memset(&area, 0, sizeof(area));
	err = fill_start_area(vm, &area, modules, count);
	if (err)
		return err;
	area.info.cmdline_paddr = cmdline;
	area.info.rsdp_paddr = boot->rsdp;
	err = place_bytes(vm, VMM_LOW_BOOT_INFO, &area, sizeof(area), sizeof(area), "start info");
	if (err)
		return err;

	memset(entry, 0, sizeof(*entry));
	entry->regs.rip = start;
	entry->regs.gpr[VMM_RBX] = VMM_LOW_BOOT_INFO;
	return 0;
}
