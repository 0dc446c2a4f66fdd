// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: bzImage by the 64-bit boot protocol (Linux,
 * Documentation/arch/x86/boot.rst).
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "load.h"

#define SECTOR		512
#define HEADER_OFFSET	offsetof(struct boot_params, hdr)	/* in the file as in boot_params */
#define HEADER_MAGIC	0x53726448				/* "HdrS" */
#define BOOT_FLAG	0xaa55
#define VERSION_64	0x20c		/* the first with xloadflags */
#define ENTRY_64	0x200		/* behind the load address */
#define LOADER_UNKNOWN	0xff
#define IDENTITY_GIB	4

/* A bzImage taken apart: @size bytes of @code behind the real-mode part */
struct bzimage {
	struct setup_header header;
	const uint8_t *code;
	size_t size;
};

bool linux_is(const struct vmm_file *file)
{
	struct setup_header header;

	if (file->size < HEADER_OFFSET + sizeof(header))
		return false;
	memcpy(&header, (const uint8_t *)file->data + HEADER_OFFSET, sizeof(header));
	return header.boot_flag == BOOT_FLAG && header.header == HEADER_MAGIC;
}

static int take_apart(struct vmm_vm *vm, const struct vmm_file *file, struct bzimage *image)
{
	struct setup_header *header = &image->header;
	size_t length, real_mode;

	if (!linux_is(file))
		return fail(&vm->message, -ENOEXEC, "not a bzImage");
	memcpy(header, (const uint8_t *)file->data + HEADER_OFFSET, sizeof(*header));
	/* The header's length is in the jump over it; what an older one lacks is zero. */
	length = (header->jump >> 8) + offsetof(struct setup_header, header);
	if (length < sizeof(*header))
		memset((uint8_t *)header + length, 0, sizeof(*header) - length);
	if (header->version < VERSION_64)
		return fail(&vm->message, -ENOTSUP,
			    "bzImage: boot protocol %u.%02u has no 64-bit entry",
			    header->version >> 8, header->version & 0xff);
	if (!(header->xloadflags & XLF_KERNEL_64))
		return fail(&vm->message, -ENOTSUP,
			    "bzImage: a 32-bit kernel, which has no 64-bit entry");
	if (!(header->loadflags & LOADED_HIGH))
		return fail(&vm->message, -ENOTSUP, "bzImage: a kernel that loads low (zImage)");
	real_mode = ((header->setup_sects ? header->setup_sects : 4) + 1) * SECTOR;
	if (file->size <= real_mode + ENTRY_64)
		return fail(&vm->message, -ENOEXEC, "bzImage: the file ends before the kernel");
	image->code = (const uint8_t *)file->data + real_mode;
	image->size = file->size - real_mode;
	if (image->size + 15 < (size_t)header->syssize * 16)
		return fail(&vm->message, -ENOEXEC,
			    "bzImage: the file is cut off: %zu of %zu bytes of the kernel",
			    image->size, (size_t)header->syssize * 16);
	return 0;
}

/* Where the kernel goes: where it likes to, else as low as it can go */
static int choose_address(struct vmm_vm *vm, const struct bzimage *image, uint64_t *address,
			  uint64_t *end)
{
	const struct setup_header *header = &image->header;
	uint64_t need = header->init_size > image->size ? header->init_size : image->size;
	uint64_t align = header->kernel_alignment ? header->kernel_alignment : 1;

	*address = header->pref_address;
	if (*address < VMM_LOW_ROM_END || *address + need > low_memory_end(vm)) {
		if (!header->relocatable_kernel)
			return fail(&vm->message, -ENOMEM,
				    "bzImage: the kernel needs %llu bytes of memory at %#llx",
				    (unsigned long long)need, (unsigned long long)*address);
		*address = (VMM_LOW_ROM_END + align - 1) / align * align;
	}
	*end = *address + need;
	if (*end < *address || *end > low_memory_end(vm))
		return fail(&vm->message, -ENOMEM,
			    "bzImage: the kernel needs memory up to %llu MiB, and the guest has %llu MiB there",
			    (unsigned long long)(*end >> 20),
			    (unsigned long long)(low_memory_end(vm) >> 20));
	return 0;
}

static int place_kernel(struct vmm_vm *vm, const struct bzimage *image, uint64_t *address,
			uint64_t *end)
{
	int err = choose_address(vm, image, address, end);

	if (err)
		return err;
	return place_bytes(vm, *address, image->code, image->size, image->size, "kernel");
}

/* As high as the kernel allows, so that it lies in no place that the kernel grows into */
static int place_initrd(struct vmm_vm *vm, const struct vmm_file *initrd, uint64_t kernel_end,
			struct setup_header *header)
{
	uint64_t top = low_memory_end(vm), address;

	if (!initrd->size)
		return 0;
	if (top > (uint64_t)header->initrd_addr_max + 1)
		top = (uint64_t)header->initrd_addr_max + 1;
	if (initrd->size > top || ((top - initrd->size) & ~(PAGE_SIZE - 1)) < kernel_end)
		return fail(&vm->message, -ENOMEM,
			    "initrd: %zu bytes do not fit between the kernel's end at %#llx and %#llx",
			    initrd->size, (unsigned long long)kernel_end, (unsigned long long)top);
	address = (top - initrd->size) & ~(PAGE_SIZE - 1);
	header->ramdisk_image = address;
	header->ramdisk_size = initrd->size;
	return place_bytes(vm, address, initrd->data, initrd->size, initrd->size, "initrd");
}

static int place_cmdline(struct vmm_vm *vm, const char *cmdline, struct setup_header *header)
{
	struct strings strings;
	uint64_t gpa;
	int err;

	if (cmdline && header->cmdline_size && strlen(cmdline) > header->cmdline_size)
		return fail(&vm->message, -E2BIG,
			    "the command line has %zu bytes, and the kernel takes %u",
			    strlen(cmdline), header->cmdline_size);
	strings_init(&strings, vm, VMM_LOW_CMDLINE);
	err = strings_add(&strings, cmdline, NULL, &gpa);
	if (!err)
		header->cmd_line_ptr = gpa;
	return err;
}

static int fill_e820(struct vmm_vm *vm, struct boot_params *params)
{
	struct range ranges[MAX_RANGES];
	int i, count = memory_map(vm, ranges);

	_Static_assert(MAX_RANGES <= E820_MAX_ENTRIES_ZEROPAGE, "room in boot_params");
	for (i = 0; i < count; i++) {
		params->e820_table[i].addr = ranges[i].addr;
		params->e820_table[i].size = ranges[i].size;
		params->e820_table[i].type = ranges[i].type;
	}
	params->e820_entries = count > 0 ? count : 0;
	return count < 0 ? count : 0;
}

int vmm_place_linux(struct vmm_vm *vm, const struct vmm_boot *boot, struct vmm_entry *entry)
{
	struct boot_params params = { .acpi_rsdp_addr = boot->rsdp };
	struct bzimage image;
	uint64_t address = 0, end = 0;
	int err;

	if (boot->nr_modules)
		return fail(&vm->message, -ENOTSUP, "a Linux kernel takes an initrd, not modules");
	err = take_apart(vm, &boot->kernel, &image);
	if (!err)
		err = place_kernel(vm, &image, &address, &end);
	if (!err)
		err = place_initrd(vm, &boot->initrd, end, &image.header);
	if (!err)
		err = place_cmdline(vm, boot->cmdline, &image.header);
	if (!err)
		err = vmm_identity_map(vm, VMM_LOW_PAGE_TABLES, IDENTITY_GIB);
	if (err)
		return err;
	params.hdr = image.header;
	params.hdr.type_of_loader = LOADER_UNKNOWN;
	params.hdr.code32_start = address;
	err = fill_e820(vm, &params);
	if (!err)
		err = place_bytes(vm, VMM_LOW_BOOT_INFO, &params, sizeof(params), sizeof(params),
				  "boot_params");
	if (err)
		return err;

	memset(entry, 0, sizeof(*entry));
	entry->long_mode = true;
	entry->cr3 = VMM_LOW_PAGE_TABLES;
	entry->regs.rip = address + ENTRY_64;
	entry->regs.gpr[VMM_RSI] = VMM_LOW_BOOT_INFO;
	return 0;
}
