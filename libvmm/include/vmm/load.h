/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvmm: putting a kernel into a guest's memory and its first vCPU at the
 * kernel's entry.
 *
 * An image is hostile input: every offset and length in it is checked against
 * the file and the guest's memory before it is used, and what is wrong is said
 * in vmm_vm_error().
 */
#ifndef VMM_LOAD_H
#define VMM_LOAD_H

#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What the loaders put below 1 MiB. Guest memory must cover the first
 * megabyte without a gap (a flat image excepted).
 */
#define VMM_LOW_GDT		0x00000500ULL
#define VMM_LOW_BOOT_INFO	0x00001000ULL	/* boot_params, hvm_start_info, multiboot info */
#define VMM_LOW_BOOT_END	0x00009000ULL
#define VMM_LOW_PAGE_TABLES	0x00009000ULL
#define VMM_LOW_PAGE_TABLES_END	0x00010000ULL
#define VMM_LOW_CMDLINE		0x00010000ULL
#define VMM_LOW_CMDLINE_END	0x00020000ULL
#define VMM_LOW_RESERVED	0x0009fc00ULL	/* from here to the ROM area: not usable */
#define VMM_LOW_ROM		0x000e0000ULL	/* ACPI tables */
#define VMM_LOW_ACPI_END	0x000f0000ULL	/* from here to 1 MiB an image may lie */
#define VMM_LOW_ROM_END		0x00100000ULL

enum vmm_image_kind {
	VMM_IMAGE_UNKNOWN,
	VMM_IMAGE_LINUX,	/* bzImage, 64-bit boot protocol */
	VMM_IMAGE_PVH,		/* ELF with XEN_ELFNOTE_PHYS32_ENTRY */
	VMM_IMAGE_MULTIBOOT,	/* multiboot version 1, ELF or with the address fields */
};

/**
 * struct vmm_file - a file's contents
 * @data: the contents
 * @size: bytes of them
 * @text: an initrd's or module's command line; may be NULL
 */
struct vmm_file {
	const void *data;
	size_t size;
	const char *text;
};

/* The most that vmm_file_map() reads from what is no regular file, bytes */
#define VMM_FILE_PIPE_MAX	(256ULL << 20)

/**
 * vmm_file_map - read a file for a loader
 * @path: of a file; of a regular one as much as it has when it is opened, else to its end
 * @file: out; its text is set to NULL
 *
 * The contents are a copy: they stay as they are whatever becomes of the file.
 * Return: 0 or a negative errno. EFBIG: a pipe or device has more than VMM_FILE_PIPE_MAX
 */
int vmm_file_map(const char *path, struct vmm_file *file);
void vmm_file_unmap(struct vmm_file *file);

/* What an image looks like. PVH is preferred where an ELF file is multiboot as well */
enum vmm_image_kind vmm_image_kind(const struct vmm_file *image);
const char *vmm_image_kind_name(enum vmm_image_kind kind);

/**
 * struct vmm_boot - what is to be booted
 * @kernel: the image
 * @name: the kernel's name; with multiboot the first word of the command line. May be NULL
 * @cmdline: command line, or NULL for an empty one
 * @initrd: size 0 for none; with PVH and multiboot it is the first module
 * @modules: bzImage has none
 * @nr_modules: how many, up to 63
 * @rsdp: guest-physical address of the ACPI root pointer, or 0
 */
struct vmm_boot {
	struct vmm_file kernel;
	const char *name;
	const char *cmdline;
	struct vmm_file initrd;
	const struct vmm_file *modules;
	unsigned int nr_modules;
	uint64_t rsdp;
};

/**
 * vmm_load_linux - load a bzImage
 * vmm_load_pvh - load an ELF file with a PVH entry
 * vmm_load_multiboot - load a multiboot image
 * vmm_load_image - load whichever of the three it is
 * @vcpu: the vCPU that starts; it is set to the entry point's state
 * @boot: what to load; copied
 *
 * Return: 0; -ENOEXEC (not such an image, or a broken one), -ENOTSUP (an image that needs what
 * is not offered), -E2BIG (command line too long; guest memory in more pieces than a kernel is told
 * of, which is 128), -ENOMEM (guest memory is too small), -EACCES (the guest may only read some of
 * the memory that the image or the loader wants).
 */
int vmm_load_linux(struct vmm_vcpu *vcpu, const struct vmm_boot *boot);
int vmm_load_pvh(struct vmm_vcpu *vcpu, const struct vmm_boot *boot);
int vmm_load_multiboot(struct vmm_vcpu *vcpu, const struct vmm_boot *boot);
int vmm_load_image(struct vmm_vcpu *vcpu, const struct vmm_boot *boot);

/**
 * vmm_load_flat - copy an image to an address; the vCPU is not touched
 * @vm: the VM
 * @image: what to copy
 * @gpa: guest-physical address of its first byte
 *
 * Return: 0; -ENOEXEC (an empty image), -ENOMEM (it does not fit into guest memory there), -EACCES
 * (the guest may only read some of it; vmm_memory_write() fills that).
 */
int vmm_load_flat(struct vmm_vm *vm, const struct vmm_file *image, uint64_t gpa);

/* ---- the parts of a loader that need no module: for tests and other front ends ---- */

/**
 * struct vmm_entry - the state in which an image wants to be entered
 * @long_mode: 64-bit mode with page tables at @cr3; else 32-bit protected mode without paging
 * @cr3: guest-physical address of the top table, with @long_mode
 * @regs: general registers and RIP
 */
struct vmm_entry {
	bool long_mode;
	uint64_t cr3;
	struct vmm_regs regs;
};

int vmm_place_linux(struct vmm_vm *vm, const struct vmm_boot *boot, struct vmm_entry *entry);
int vmm_place_pvh(struct vmm_vm *vm, const struct vmm_boot *boot, struct vmm_entry *entry);
int vmm_place_multiboot(struct vmm_vm *vm, const struct vmm_boot *boot, struct vmm_entry *entry);

#ifdef __cplusplus
}
#endif

#endif
