// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: what the loaders share: files, the memory map, ELF, the first state.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "load.h"

#define MIB		(1ULL << 20)
#define PIPE_ROOM	(1UL << 20)	/* to begin with */

/* ---- files ---- */

static size_t page_up(size_t bytes)
{
	return (bytes + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

/* From @fd to its end, or up to @most bytes; @room: to begin with */
static int read_file(int fd, size_t room, size_t most, struct vmm_file *file)
{
	uint8_t *data = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	size_t size = 0, more;
	ssize_t n;
	void *new;

	if (data == MAP_FAILED)
		return -errno;
	for (;;) {
		n = read(fd, data + size, room - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		size += n;
		if (size < room)
			continue;
		if (room == most)
			break;
		more = room < most / 2 ? 2 * room : most;
		new = mremap(data, room, more, MREMAP_MAYMOVE);
		if (new == MAP_FAILED) {
			n = -1;
			break;
		}
		data = new;
		room = more;
	}
	if (n < 0 || !size) {
		int err = n < 0 ? -errno : 0;

		munmap(data, room);
		return err;
	}
	/* What vmm_file_unmap() knows of */
	if (page_up(size) < room)
		munmap(data + page_up(size), room - page_up(size));
	file->data = data;
	file->size = size;
	return 0;
}

static int read_descriptor(int fd, struct vmm_file *file)
{
	struct stat st;
	int err;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISREG(st.st_mode))
		return st.st_size ? read_file(fd, st.st_size, st.st_size, file) : 0;
	/* It may have no end (/dev/zero). */
	err = read_file(fd, PIPE_ROOM, VMM_FILE_PIPE_MAX + 1, file);
	if (!err && file->size > VMM_FILE_PIPE_MAX) {
		vmm_file_unmap(file);
		err = -EFBIG;
	}
	return err;
}

int vmm_file_map(const char *path, struct vmm_file *file)
{
	int fd, err;

	memset(file, 0, sizeof(*file));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = read_descriptor(fd, file);
	close(fd);
	return err;
}

void vmm_file_unmap(struct vmm_file *file)
{
	if (file->data)
		munmap((void *)file->data, file->size);
	memset(file, 0, sizeof(*file));
}

/* ---- the memory map ---- */

/* In ascending order; what has no gap and is of one type becomes one. Counts on where it is full */
static void add_range(struct range *ranges, unsigned int *count, uint64_t start, uint64_t end,
		      uint32_t type)
{
	struct range *last = *count && *count <= MAX_RANGES ? &ranges[*count - 1] : NULL;

	if (start >= end)
		return;
	if (last && last->type == type && last->addr + last->size == start) {
		last->size += end - start;
		return;
	}
	if (*count < MAX_RANGES)
		ranges[*count] = (struct range){ start, end - start, type };
	(*count)++;
}

static uint64_t lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t higher(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

int memory_map(struct vmm_vm *vm, struct range ranges[MAX_RANGES])
{
	struct vmm_region region;
	unsigned int i, count = 0;

	for (i = 0; vmm_memory_region(vm, i, &region); i++) {
		uint64_t start = region.gpa, end = region.gpa + region.bytes;
		bool rom = region.flags & VMM_MEMORY_READONLY;

		if (start < MIB && !rom) {
			add_range(ranges, &count, start, lower(end, VMM_LOW_RESERVED),
				  RANGE_USABLE);
			add_range(ranges, &count, higher(start, VMM_LOW_RESERVED),
				  lower(end, 0xa0000), RANGE_RESERVED);
			add_range(ranges, &count, higher(start, VMM_LOW_ROM), lower(end, MIB),
				  RANGE_RESERVED);
			start = MIB;
		}
		add_range(ranges, &count, start, end, rom ? RANGE_RESERVED : RANGE_USABLE);
	}
	if (count > MAX_RANGES)
		return fail(&vm->message, -E2BIG,
			    "guest memory is in %u pieces, and the kernel can be told of %u",
			    count, MAX_RANGES);
	return count;
}

uint64_t low_memory_end(struct vmm_vm *vm)
{
	struct vmm_region region;
	uint64_t end = MIB;
	unsigned int i;

	for (i = 0; vmm_memory_region(vm, i, &region); i++)
		if (region.gpa <= end && region.gpa + region.bytes > end &&
		    !(region.flags & VMM_MEMORY_READONLY))
			end = region.gpa + region.bytes;
	return end == MIB ? 0 : lower(end, 1ULL << 32);
}

int place_bytes(struct vmm_vm *vm, uint64_t gpa, const void *data, uint64_t bytes, uint64_t size,
		const char *what)
{
	int err = memory_place(vm, gpa, data, bytes, size);

	if (err == -EACCES)
		return fail(&vm->message, err, "%s: read-only memory in the %llu bytes at %#llx",
			    what, (unsigned long long)size, (unsigned long long)gpa);
	if (err)
		return fail(&vm->message, -ENOMEM, "%s: no guest memory for %llu bytes at %#llx",
			    what, (unsigned long long)size, (unsigned long long)gpa);
	return 0;
}

int check_placement(struct vmm_vm *vm, uint64_t lowest, uint64_t gpa, uint64_t bytes)
{
	if (gpa < lowest && bytes)
		return fail(&vm->message, -ENOTSUP,
			    "the image wants to lie at %#llx: below %#llx is the loader's",
			    (unsigned long long)gpa, (unsigned long long)lowest);
	if (gpa < VMM_LOW_ACPI_END && gpa + bytes > VMM_LOW_RESERVED)
		return fail(&vm->message, -ENOTSUP,
			    "the image wants to lie at %#llx: %#llx to %#llx is not usable memory",
			    (unsigned long long)gpa, VMM_LOW_RESERVED, VMM_LOW_ACPI_END);
	return 0;
}

/* ---- strings ---- */

int strings_add(struct strings *strings, const char *first, const char *second, uint64_t *gpa)
{
	size_t a = first ? strlen(first) : 0, b = second ? strlen(second) : 0;
	size_t blank = a && b ? 1 : 0, bytes = a + blank + b + 1;
	struct vmm_vm *vm = strings->vm;
	uint64_t at = strings->next;
	int err;

	if (bytes > strings->start + STRINGS_BYTES - at)
		return fail(&vm->message, -E2BIG,
			    "the command lines take more than %llu bytes", STRINGS_BYTES);
	err = place_bytes(vm, at, first, a, bytes, "command line");
	if (!err && blank)
		err = place_bytes(vm, at + a, " ", 1, 1, "command line");
	if (!err && b)
		err = place_bytes(vm, at + a + blank, second, b, b, "command line");
	if (err)
		return err;
	*gpa = at;
	strings->next = at + bytes;
	return 0;
}

/* ---- modules ---- */

static int place_module(struct vmm_vm *vm, const struct vmm_file *file, struct strings *strings,
			uint64_t *next, struct placed_module *module)
{
	int err = strings_add(strings, file->text, NULL, &module->text);

	if (err)
		return err;
	module->gpa = (*next + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	module->bytes = file->size;
	if (module->gpa + file->size > 1ULL << 32)
		return fail(&vm->message, -ENOMEM, "the modules do not fit below 4 GiB");
	err = place_bytes(vm, module->gpa, file->data, file->size, file->size, "module");
	if (!err)
		*next = module->gpa + file->size;
	return err;
}

int place_modules(struct vmm_vm *vm, const struct vmm_boot *boot, struct strings *strings,
		  uint64_t kernel_end, struct placed_module modules[MAX_MODULES])
{
	uint64_t next = higher(kernel_end, MIB);
	int count = 0, err;
	unsigned int i;

	if (boot->nr_modules >= MAX_MODULES)
		return fail(&vm->message, -E2BIG, "%u modules, but %u are the most",
			    boot->nr_modules, MAX_MODULES - 1);
	if (boot->initrd.size) {
		err = place_module(vm, &boot->initrd, strings, &next, &modules[count++]);
		if (err)
			return err;
	}
	for (i = 0; i < boot->nr_modules; i++) {
		err = place_module(vm, &boot->modules[i], strings, &next, &modules[count++]);
		if (err)
			return err;
	}
	return count;
}

/* ---- ELF ---- */

bool elf_is(const struct vmm_file *file)
{
	return file->size >= SELFMAG && !memcmp(file->data, ELFMAG, SELFMAG);
}

int elf_open(const struct vmm_file *file, struct elf *elf, struct message *message)
{
	uint16_t machine;

	if (!elf_is(file) || file->size < sizeof(Elf32_Ehdr))
		return fail(message, -ENOEXEC, "not an ELF file");
	elf->file = file;
	elf->is64 = ((const uint8_t *)file->data)[EI_CLASS] == ELFCLASS64;
	if (((const uint8_t *)file->data)[EI_DATA] != ELFDATA2LSB)
		return fail(message, -ENOEXEC, "ELF: not little-endian");
	if (elf->is64) {
		Elf64_Ehdr header;

		if (file->size < sizeof(header))
			return fail(message, -ENOEXEC, "ELF: the file ends in its header");
		memcpy(&header, file->data, sizeof(header));
		elf->entry = header.e_entry;
		elf->table = header.e_phoff;
		elf->table_entry = header.e_phentsize;
		elf->segments = header.e_phnum;
		machine = header.e_machine;
	} else {
		Elf32_Ehdr header;

		memcpy(&header, file->data, sizeof(header));
		elf->entry = header.e_entry;
		elf->table = header.e_phoff;
		elf->table_entry = header.e_phentsize;
		elf->segments = header.e_phnum;
		machine = header.e_machine;
	}
	if (machine != EM_386 && machine != EM_X86_64)
		return fail(message, -ENOEXEC, "ELF: for another machine (%u)", machine);
	if (elf->table_entry < (elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return fail(message, -ENOEXEC, "ELF: program headers of %u bytes",
			    elf->table_entry);
	if (elf->table > file->size ||
	    (uint64_t)elf->segments * elf->table_entry > file->size - elf->table)
		return fail(message, -ENOEXEC, "ELF: the file ends before its program headers");
	return 0;
}

int elf_segment(const struct elf *elf, unsigned int index, struct elf_segment *segment,
		struct message *message)
{
	const uint8_t *at = (const uint8_t *)elf->file->data + elf->table +
			    (uint64_t)index * elf->table_entry;

	if (elf->is64) {
		Elf64_Phdr header;

		memcpy(&header, at, sizeof(header));
		*segment = (struct elf_segment){
			header.p_type, header.p_offset, header.p_filesz, header.p_paddr,
			header.p_memsz, header.p_align,
		};
	} else {
		Elf32_Phdr header;

		memcpy(&header, at, sizeof(header));
		*segment = (struct elf_segment){
			header.p_type, header.p_offset, header.p_filesz, header.p_paddr,
			header.p_memsz, header.p_align,
		};
	}
	if (segment->type != PT_LOAD && segment->type != PT_NOTE)
		return 0;
	if (segment->offset > elf->file->size ||
	    segment->file_size > elf->file->size - segment->offset)
		return fail(message, -ENOEXEC, "ELF: segment %u lies behind the file's end", index);
	if (segment->type == PT_LOAD && segment->memory_size < segment->file_size)
		return fail(message, -ENOEXEC,
			    "ELF: segment %u is larger in the file than in memory", index);
	return 0;
}

static int load_segment(const struct elf *elf, const struct elf_segment *segment,
			struct vmm_vm *vm, uint64_t lowest)
{
	int err = check_placement(vm, lowest, segment->paddr, segment->memory_size);

	if (err)
		return err;
	return place_bytes(vm, segment->paddr, (const uint8_t *)elf->file->data + segment->offset,
			   segment->file_size, segment->memory_size, "kernel");
}

int elf_load(const struct elf *elf, struct vmm_vm *vm, uint64_t lowest, uint64_t *start,
	     uint64_t *end)
{
	struct elf_segment segment;
	unsigned int i;
	int err;

	*start = UINT64_MAX;
	*end = 0;
	for (i = 0; i < elf->segments; i++) {
		err = elf_segment(elf, i, &segment, &vm->message);
		if (err)
			return err;
		if (segment.type != PT_LOAD || !segment.memory_size)
			continue;
		err = load_segment(elf, &segment, vm, lowest);
		if (err)
			return err;
		*start = lower(*start, segment.paddr);
		*end = higher(*end, segment.paddr + segment.memory_size);
	}
	if (!*end)
		return fail(&vm->message, -ENOEXEC, "ELF: nothing to load");
	return 0;
}

/* ---- which loader ---- */

enum vmm_image_kind vmm_image_kind(const struct vmm_file *image)
{
	uint64_t entry;

	if (linux_is(image))
		return VMM_IMAGE_LINUX;
	if (elf_is(image) && pvh_entry(image, &entry))
		return VMM_IMAGE_PVH;
	if (multiboot_is(image))
		return VMM_IMAGE_MULTIBOOT;
	return VMM_IMAGE_UNKNOWN;
}

const char *vmm_image_kind_name(enum vmm_image_kind kind)
{
	switch (kind) {
	case VMM_IMAGE_LINUX:
		return "linux";
	case VMM_IMAGE_PVH:
		return "pvh";
	case VMM_IMAGE_MULTIBOOT:
		return "multiboot";
	default:
		return "unknown";
	}
}

int vmm_load_flat(struct vmm_vm *vm, const struct vmm_file *image, uint64_t gpa)
{
	if (!image->size)
		return fail(&vm->message, -ENOEXEC, "the image is empty");
	return place_bytes(vm, gpa, image->data, image->size, image->size, "flat image");
}

/* ---- the first state ---- */

#define GDT_CODE	0x10
#define GDT_DATA	0x18

/* Flat segments where the boot protocols want them, in guest memory for whoever reloads one */
static int write_gdt(struct vmm_vm *vm, bool long_mode)
{
	uint64_t gdt[4] = {
		0, 0,
		long_mode ? 0x00af9b000000ffffULL : 0x00cf9b000000ffffULL,
		0x00cf93000000ffffULL,
	};

	return place_bytes(vm, VMM_LOW_GDT, gdt, sizeof(gdt), sizeof(gdt), "GDT");
}

static int enter_at(struct vmm_vcpu *vcpu, const struct vmm_entry *entry)
{
	struct vmm_state state;
	int i, err;

	err = write_gdt(vcpu->vm, entry->long_mode);
	if (err)
		return fail(&vcpu->message, err, "%s", vmm_vm_error(vcpu->vm));
	if (entry->long_mode)
		err = vmm_vcpu_long_mode(vcpu, entry->regs.rip, entry->cr3, &entry->regs);
	else
		err = vmm_vcpu_protected_mode(vcpu, entry->regs.rip, &entry->regs);
	if (!err)
		err = vmm_vcpu_get_state(vcpu, VMM_STATE_SEGMENTS, &state);
	if (err)
		return err;
	for (i = VMM_ES; i <= VMM_GS; i++)
		state.segments.seg[i].selector = i == VMM_CS ? GDT_CODE : GDT_DATA;
	state.segments.seg[VMM_GDTR].base = VMM_LOW_GDT;
	state.segments.seg[VMM_GDTR].limit = 4 * 8 - 1;
	/* As firmware leaves it: a kernel that goes back to real mode finds the vectors at 0. */
	if (!entry->long_mode)
		state.segments.seg[VMM_IDTR].limit = 256 * 4 - 1;
	return vmm_vcpu_set_state(vcpu, &state);
}

static int load_with(struct vmm_vcpu *vcpu, const struct vmm_boot *boot,
		     int (*place)(struct vmm_vm *, const struct vmm_boot *, struct vmm_entry *))
{
	struct vmm_entry entry = { .long_mode = false };
	int err = place(vcpu->vm, boot, &entry);

	if (err)
		return err;
	err = enter_at(vcpu, &entry);
	if (err)
		fail(&vcpu->vm->message, err, "%s", vmm_vcpu_error(vcpu));
	return err;
}

int vmm_load_linux(struct vmm_vcpu *vcpu, const struct vmm_boot *boot)
{
	return load_with(vcpu, boot, vmm_place_linux);
}

int vmm_load_pvh(struct vmm_vcpu *vcpu, const struct vmm_boot *boot)
{
	return load_with(vcpu, boot, vmm_place_pvh);
}

int vmm_load_multiboot(struct vmm_vcpu *vcpu, const struct vmm_boot *boot)
{
	return load_with(vcpu, boot, vmm_place_multiboot);
}

int vmm_load_image(struct vmm_vcpu *vcpu, const struct vmm_boot *boot)
{
	switch (vmm_image_kind(&boot->kernel)) {
	case VMM_IMAGE_LINUX:
		return vmm_load_linux(vcpu, boot);
	case VMM_IMAGE_PVH:
		return vmm_load_pvh(vcpu, boot);
	case VMM_IMAGE_MULTIBOOT:
		return vmm_load_multiboot(vcpu, boot);
	default:
		return fail(&vcpu->vm->message, -ENOEXEC,
			    "not a kernel that is known here: neither bzImage, nor ELF with a PVH entry, nor multiboot");
	}
}
