// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: multiboot images (Multiboot Specification 0.6.96): ELF files of 32 or
 * 64 bits, or any file whose header has the address fields. The kernel is
 * entered in 32-bit protected mode without paging.
 */
#include <errno.h>
#include <string.h>

#include "load.h"

#define HEADER_MAGIC	0x1badb002
#define HEADER_SEARCH	8192
#define HEADER_ALIGNED	(1U << 0)	/* modules on page boundaries: always */
#define HEADER_MEMORY	(1U << 1)	/* memory information: always */
#define HEADER_VIDEO	(1U << 2)	/* a preference; there is no video */
#define HEADER_MUST	0x0000ffff	/* bits that a loader must know */
#define HEADER_ADDRESS	(1U << 16)

#define BOOT_MAGIC	0x2badb002
#define INFO_MEMORY	(1U << 0)
#define INFO_CMDLINE	(1U << 2)
#define INFO_MODULES	(1U << 3)
#define INFO_MMAP	(1U << 6)
#define INFO_LOADER	(1U << 9)

struct header {
	uint32_t magic;
	uint32_t flags;
	uint32_t checksum;
	uint32_t header_addr;
	uint32_t load_addr;
	uint32_t load_end_addr;
	uint32_t bss_end_addr;
	uint32_t entry_addr;
};

#define HEADER_SHORT	12	/* without the address fields */

struct info {
	uint32_t flags;
	uint32_t mem_lower;
	uint32_t mem_upper;
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count;
	uint32_t mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length;
	uint32_t mmap_addr;
	uint32_t drives_length;
	uint32_t drives_addr;
	uint32_t config_table;
	uint32_t boot_loader_name;
	uint32_t apm_table;
	uint32_t vbe[4];
	uint32_t framebuffer[7];
};

struct module {
	uint32_t start;
	uint32_t end;
	uint32_t string;
	uint32_t reserved;
};

struct mmap_entry {
	uint32_t size;		/* of what follows */
	uint64_t addr;
	uint64_t length;
	uint32_t type;
} __attribute__((packed));

/* What lies at VMM_LOW_BOOT_INFO, or behind a kernel that lies there itself */
struct boot_area {
	struct info info;
	struct module modules[MAX_MODULES];
	struct mmap_entry mmap[MAX_RANGES];
};

_Static_assert(sizeof(struct boot_area) <= VMM_LOW_BOOT_END - VMM_LOW_BOOT_INFO, "fits");

#define AREA_BYTES	(VMM_LOW_BOOT_END - VMM_LOW_BOOT_INFO)
#define MIB		0x100000ULL

/* The loader's GDT and what firmware leaves lie below the lowest address that a kernel may have. */
#define LOWEST_KERNEL	0x1000ULL

/* The header and where it is in the file; absent fields are zero */
static bool find_header(const struct vmm_file *file, struct header *header, uint32_t *offset)
{
	size_t end = file->size < HEADER_SEARCH ? file->size : HEADER_SEARCH, room;
	uint32_t at;

	for (at = 0; at + HEADER_SHORT <= end; at += 4) {
		memset(header, 0, sizeof(*header));
		room = file->size - at;
		memcpy(header, (const uint8_t *)file->data + at,
		       room < sizeof(*header) ? room : sizeof(*header));
		if (header->magic == HEADER_MAGIC &&
		    header->magic + header->flags + header->checksum == 0) {
			*offset = at;
			return true;
		}
	}
	return false;
}

bool multiboot_is(const struct vmm_file *file)
{
	struct header header;
	uint32_t offset;

	return find_header(file, &header, &offset);
}

/* A file that is no ELF says in its header what goes where */
static int load_by_address(struct vmm_vm *vm, const struct vmm_file *file,
			   const struct header *header, uint32_t header_offset,
			   uint64_t *start, uint64_t *end)
{
	uint64_t offset, bytes, memory;
	int err;

	if (header->load_addr > header->header_addr ||
	    header->header_addr - header->load_addr > header_offset)
		return fail(&vm->message, -ENOEXEC,
			    "multiboot: load address %#x does not fit header address %#x",
			    header->load_addr, header->header_addr);
	offset = header_offset - (header->header_addr - header->load_addr);
	bytes = file->size - offset;
	if (header->load_end_addr) {
		if (header->load_end_addr < header->load_addr ||
		    header->load_end_addr - header->load_addr > bytes)
			return fail(&vm->message, -ENOEXEC,
				    "multiboot: load end address %#x is behind the file's end",
				    header->load_end_addr);
		bytes = header->load_end_addr - header->load_addr;
	}
	memory = bytes;
	if (header->bss_end_addr) {
		if (header->bss_end_addr < header->load_addr + bytes)
			return fail(&vm->message, -ENOEXEC,
				    "multiboot: bss end address %#x is before the data's end",
				    header->bss_end_addr);
		memory = header->bss_end_addr - header->load_addr;
	}
	err = check_placement(vm, LOWEST_KERNEL, header->load_addr, memory);
	if (!err)
		err = place_bytes(vm, header->load_addr, (const uint8_t *)file->data + offset,
				  bytes, memory, "kernel");
	if (err)
		return err;
	*start = header->load_addr;
	*end = header->load_addr + memory;
	return 0;
}

static int load_kernel(struct vmm_vm *vm, const struct vmm_file *file, uint64_t *entry,
		       uint64_t *start, uint64_t *end)
{
	struct header header;
	uint32_t offset;
	struct elf elf;
	int err;

	if (!find_header(file, &header, &offset))
		return fail(&vm->message, -ENOEXEC, "no multiboot header");
	if (header.flags & HEADER_MUST & ~(HEADER_ALIGNED | HEADER_MEMORY | HEADER_VIDEO))
		return fail(&vm->message, -ENOTSUP, "multiboot: the image needs features %#x",
			    header.flags & HEADER_MUST);
	if (header.flags & HEADER_ADDRESS) {
		if (file->size < offset + sizeof(header))
			return fail(&vm->message, -ENOEXEC,
				    "multiboot: the file ends in its header");
		*entry = header.entry_addr;
		return load_by_address(vm, file, &header, offset, start, end);
	}
	if (!elf_is(file))
		return fail(&vm->message, -ENOEXEC,
			    "multiboot: neither an ELF file nor a header with addresses");
	err = elf_open(file, &elf, &vm->message);
	if (err)
		return err;
	if (elf.entry >> 32)
		return fail(&vm->message, -ENOEXEC, "ELF: the entry %#llx is above 4 GiB",
			    (unsigned long long)elf.entry);
	*entry = elf.entry;
	return elf_load(&elf, vm, LOWEST_KERNEL, start, end);
}

static void fill_modules(struct boot_area *area, uint64_t area_gpa,
			 const struct placed_module *modules, int count)
{
	int i;

	area->info.flags |= INFO_MODULES;
	area->info.mods_count = count;
	area->info.mods_addr = area_gpa + offsetof(struct boot_area, modules);
	for (i = 0; i < count; i++) {
		area->modules[i].start = modules[i].gpa;
		area->modules[i].end = modules[i].gpa + modules[i].bytes;
		area->modules[i].string = modules[i].text;
	}
}

static int fill_memory(struct vmm_vm *vm, struct boot_area *area, uint64_t area_gpa)
{
	struct range ranges[MAX_RANGES];
	int i, count = memory_map(vm, ranges);
	uint64_t top = low_memory_end(vm);

	if (count < 0)
		return count;
	area->info.flags |= INFO_MEMORY | INFO_MMAP;
	area->info.mem_lower = VMM_LOW_RESERVED / 1024;
	area->info.mem_upper = top ? (top - (1 << 20)) / 1024 : 0;
	area->info.mmap_addr = area_gpa + offsetof(struct boot_area, mmap);
	area->info.mmap_length = count * sizeof(area->mmap[0]);
	for (i = 0; i < count; i++) {
		area->mmap[i].size = sizeof(area->mmap[0]) - sizeof(area->mmap[0].size);
		area->mmap[i].addr = ranges[i].addr;
		area->mmap[i].length = ranges[i].size;
		area->mmap[i].type = ranges[i].type;
	}
	return 0;
}

int vmm_place_multiboot(struct vmm_vm *vm, const struct vmm_boot *boot, struct vmm_entry *entry)
{
	struct placed_module modules[MAX_MODULES];
	uint64_t area_gpa = VMM_LOW_BOOT_INFO, strings_gpa = VMM_LOW_CMDLINE;
	uint64_t rip = 0, start = 0, end = 0, cmdline, loader;
	struct boot_area area;
	struct strings strings;
	int err, count;

	err = load_kernel(vm, &boot->kernel, &rip, &start, &end);
	if (err)
		return err;
	/* A kernel for real mode lies where else the loader's own would. */
	if (start < VMM_LOW_CMDLINE_END) {
		area_gpa = end > MIB ? (end + 4095) & ~4095ULL : MIB;
		strings_gpa = area_gpa + AREA_BYTES;
		end = strings_gpa + STRINGS_BYTES;
	}
	strings_init(&strings, vm, strings_gpa);
	err = strings_add(&strings, boot->name, boot->cmdline, &cmdline);
	if (!err)
		err = strings_add(&strings, "libvmm", NULL, &loader);
	if (err)
		return err;
	count = place_modules(vm, boot, &strings, end, modules);
	if (count < 0)
		return count;
	memset(&area, 0, sizeof(area));
	area.info.flags = INFO_CMDLINE | INFO_LOADER;
	area.info.cmdline = cmdline;
	area.info.boot_loader_name = loader;
	fill_modules(&area, area_gpa, modules, count);
	err = fill_memory(vm, &area, area_gpa);
	if (!err)
		err = place_bytes(vm, area_gpa, &area, sizeof(area), sizeof(area),
				  "multiboot information");
	if (err)
		return err;

	memset(entry, 0, sizeof(*entry));
	entry->regs.rip = rip;
	entry->regs.gpr[VMM_RAX] = BOOT_MAGIC;
	entry->regs.gpr[VMM_RBX] = area_gpa;
	return 0;
}
