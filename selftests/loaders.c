// SPDX-License-Identifier: GPL-2.0-only
/*
 * libvmm's loaders and ACPI tables, all but the last test without a module: what
 * lies where in the guest's memory afterwards, and that broken images are refused
 * in words, never believed.
 */
/* also: amd-sanitized */
/* timeout: 120 */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <vmm/acpi.h>
#include <vmm/load.h>

#include "kselftest_harness.h"
#include "../libvmm/internal.h"

#define MIB		(1ULL << 20)
#define MEMORY		(64 * MIB)
#define HIGH		(4 * MIB)	/* above 4 GiB */

static struct vmm_vm vm;
static struct region regions[2];
static uint8_t *memory;

static void *at(uint64_t gpa)
{
	return memory + gpa;
}

static uint32_t get32(uint64_t gpa)
{
	uint32_t value;

	memcpy(&value, at(gpa), sizeof(value));
	return value;
}

static uint64_t get64(uint64_t gpa)
{
	uint64_t value;

	memcpy(&value, at(gpa), sizeof(value));
	return value;
}

static void put32(void *to, uint32_t value)
{
	memcpy(to, &value, sizeof(value));
}

FIXTURE(loaders) {
	struct vmm_boot boot;
	struct vmm_entry entry;
};

FIXTURE_SETUP(loaders)
{
	memory = mmap(NULL, MEMORY + HIGH, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	memset(&vm, 0, sizeof(vm));
	pthread_rwlock_init(&vm.lock, NULL);
	regions[0].public = (struct vmm_region){ 0, MEMORY, memory, 0 };
	regions[1].public = (struct vmm_region){ 4096 * MIB, HIGH, memory + MEMORY, 0 };
	vm.regions = regions;
	vm.nr_regions = 2;
	memset(&self->boot, 0, sizeof(self->boot));
}

FIXTURE_TEARDOWN(loaders)
{
	munmap(memory, MEMORY + HIGH);
}

static void set_memory(uint64_t bytes)
{
	regions[0].public.bytes = bytes;
	vm.nr_regions = 1;
}

static bool said(const char *words)
{
	return strstr(vmm_vm_error(&vm), words);
}

#define EXPECT_REFUSED(error, words, call) do {					\
	EXPECT_EQ(error, call);							\
	EXPECT_TRUE(said(words)) TH_LOG("it said: %s", vmm_vm_error(&vm));	\
} while (0)

/* ---- bzImage ---- */

#define SETUP_SECTORS	3
#define KERNEL_BYTES	0x5000
#define BZIMAGE_BYTES	((SETUP_SECTORS + 1) * 512 + KERNEL_BYTES)

static uint8_t bzimage[BZIMAGE_BYTES];
static struct setup_header *const header = (struct setup_header *)(bzimage + 0x1f1);

static void make_bzimage(struct vmm_boot *boot)
{
	memset(bzimage, 0, sizeof(bzimage));
	memset(bzimage + (SETUP_SECTORS + 1) * 512, 0x90, KERNEL_BYTES);
	header->setup_sects = SETUP_SECTORS;
	header->syssize = KERNEL_BYTES / 16;
	header->boot_flag = 0xaa55;
	header->jump = 0xeb | 0x6a << 8;
	header->header = 0x53726448;
	header->version = 0x20f;
	header->loadflags = LOADED_HIGH;
	header->initrd_addr_max = 0x7fffffff;
	header->kernel_alignment = 0x200000;
	header->relocatable_kernel = 1;
	header->xloadflags = XLF_KERNEL_64;
	header->cmdline_size = 255;
	header->pref_address = 16 * MIB;
	header->init_size = 8 * MIB;
	boot->kernel = (struct vmm_file){ bzimage, sizeof(bzimage), NULL };
	boot->cmdline = "console=ttyS0 quiet";
}

static struct boot_params *params_at(const struct vmm_entry *entry)
{
	return at(entry->regs.gpr[VMM_RSI]);
}

TEST_F(loaders, linux_kernel)
{
	static uint8_t initrd[10000];
	struct boot_params *params;
	uint64_t *pml4;

	make_bzimage(&self->boot);
	memset(initrd, 0x5a, sizeof(initrd));
	self->boot.initrd = (struct vmm_file){ initrd, sizeof(initrd), NULL };
	self->boot.rsdp = 0xe0000;
	EXPECT_EQ(VMM_IMAGE_LINUX, vmm_image_kind(&self->boot.kernel));
	ASSERT_EQ(0, vmm_place_linux(&vm, &self->boot, &self->entry)) TH_LOG("%s", vm.message.text);
	EXPECT_TRUE(self->entry.long_mode);
	EXPECT_EQ(16 * MIB + 0x200, self->entry.regs.rip);
	EXPECT_EQ(0, memcmp(at(16 * MIB), bzimage + 4 * 512, KERNEL_BYTES));

	params = params_at(&self->entry);
	EXPECT_EQ(0, memcmp(&params->hdr.header, &header->header, 4));
	EXPECT_EQ(0xff, params->hdr.type_of_loader);
	EXPECT_EQ(0xe0000, params->acpi_rsdp_addr);
	EXPECT_STREQ("console=ttyS0 quiet", at(params->hdr.cmd_line_ptr));
	EXPECT_EQ(sizeof(initrd), params->hdr.ramdisk_size);
	EXPECT_EQ(0, params->hdr.ramdisk_image % 4096);
	EXPECT_LE(24 * MIB, params->hdr.ramdisk_image);
	EXPECT_EQ(0, memcmp(at(params->hdr.ramdisk_image), initrd, sizeof(initrd)));

	EXPECT_EQ(5, params->e820_entries);
	EXPECT_EQ(0, params->e820_table[0].addr);
	EXPECT_EQ(0x9fc00, params->e820_table[0].size);
	EXPECT_EQ(1, params->e820_table[0].type);
	EXPECT_EQ(0x9fc00, params->e820_table[1].addr);
	EXPECT_EQ(2, params->e820_table[1].type);
	EXPECT_EQ(0xe0000, params->e820_table[2].addr);
	EXPECT_EQ(0x20000, params->e820_table[2].size);
	EXPECT_EQ(2, params->e820_table[2].type);
	EXPECT_EQ(MIB, params->e820_table[3].addr);
	EXPECT_EQ(MEMORY - MIB, params->e820_table[3].size);
	EXPECT_EQ(4096 * MIB, params->e820_table[4].addr);
	EXPECT_EQ(HIGH, params->e820_table[4].size);

	pml4 = at(self->entry.cr3);
	EXPECT_EQ(3, pml4[0] & 0xfff);
	/* The last of 4 GiB onto itself */
	EXPECT_EQ(0xffe00083, get64((get64((pml4[0] & ~0xfffULL) + 3 * 8) & ~0xfffULL) + 511 * 8));
}

TEST_F(loaders, linux_in_little_memory)
{
	make_bzimage(&self->boot);
	set_memory(12 * MIB);
	ASSERT_EQ(0, vmm_place_linux(&vm, &self->boot, &self->entry));
	EXPECT_EQ(2 * MIB + 0x200, self->entry.regs.rip);
	set_memory(10 * MIB - 4096);
	EXPECT_REFUSED(-ENOMEM, "needs memory up to 10 MiB",
		       vmm_place_linux(&vm, &self->boot, &self->entry));
	header->relocatable_kernel = 0;
	set_memory(12 * MIB);
	EXPECT_REFUSED(-ENOMEM, "at 0x1000000",
		       vmm_place_linux(&vm, &self->boot, &self->entry));
}

TEST_F(loaders, linux_initrd_limits)
{
	static uint8_t initrd[4097];

	make_bzimage(&self->boot);
	self->boot.initrd = (struct vmm_file){ initrd, sizeof(initrd), NULL };
	header->initrd_addr_max = 40 * MIB - 1;
	ASSERT_EQ(0, vmm_place_linux(&vm, &self->boot, &self->entry));
	EXPECT_EQ(40 * MIB - 8192, params_at(&self->entry)->hdr.ramdisk_image);
	/* The kernel ends at 24 MiB */
	header->initrd_addr_max = 24 * MIB + 4096;
	ASSERT_EQ(0, vmm_place_linux(&vm, &self->boot, &self->entry));
	header->initrd_addr_max = 24 * MIB + 4095;
	EXPECT_REFUSED(-ENOMEM, "initrd", vmm_place_linux(&vm, &self->boot, &self->entry));
	header->initrd_addr_max = 100;
	EXPECT_REFUSED(-ENOMEM, "initrd", vmm_place_linux(&vm, &self->boot, &self->entry));
}

TEST_F(loaders, linux_refusals)
{
	char line[300];

	make_bzimage(&self->boot);
	header->version = 0x20b;
	EXPECT_REFUSED(-ENOTSUP, "2.11", vmm_place_linux(&vm, &self->boot, &self->entry));
	make_bzimage(&self->boot);
	header->xloadflags = 0;
	EXPECT_REFUSED(-ENOTSUP, "32-bit", vmm_place_linux(&vm, &self->boot, &self->entry));
	make_bzimage(&self->boot);
	header->loadflags = 0;
	EXPECT_REFUSED(-ENOTSUP, "zImage", vmm_place_linux(&vm, &self->boot, &self->entry));
	make_bzimage(&self->boot);
	header->setup_sects = 60;
	EXPECT_REFUSED(-ENOEXEC, "ends before", vmm_place_linux(&vm, &self->boot, &self->entry));
	make_bzimage(&self->boot);
	self->boot.kernel.size -= 100;
	EXPECT_REFUSED(-ENOEXEC, "cut off", vmm_place_linux(&vm, &self->boot, &self->entry));
	make_bzimage(&self->boot);
	self->boot.nr_modules = 1;
	EXPECT_REFUSED(-ENOTSUP, "modules", vmm_place_linux(&vm, &self->boot, &self->entry));
	self->boot.nr_modules = 0;
	memset(line, 'x', 256);
	line[256] = 0;
	self->boot.cmdline = line;
	EXPECT_REFUSED(-E2BIG, "256 bytes", vmm_place_linux(&vm, &self->boot, &self->entry));
	line[255] = 0;
	EXPECT_EQ(0, vmm_place_linux(&vm, &self->boot, &self->entry));
	self->boot.kernel.size = 100;
	EXPECT_REFUSED(-ENOEXEC, "not a bzImage", vmm_place_linux(&vm, &self->boot, &self->entry));
	self->boot.kernel = (struct vmm_file){ NULL };
	EXPECT_REFUSED(-ENOEXEC, "not a bzImage", vmm_place_linux(&vm, &self->boot, &self->entry));
	make_bzimage(&self->boot);
	set_memory(512 * 1024);
	EXPECT_EQ(-ENOMEM, vmm_place_linux(&vm, &self->boot, &self->entry));
}

/* ---- ELF ---- */

#define ELF_BYTES	0x2000
#define CODE_OFFSET	0x1000
#define CODE_BYTES	0x800
#define BSS_BYTES	0x1000
#define NOTE_OFFSET	0x400

static uint8_t image[ELF_BYTES] __attribute__((aligned(8)));

static void add_note(uint64_t entry, size_t descriptor)
{
	Elf64_Nhdr *note = (Elf64_Nhdr *)(image + NOTE_OFFSET);

	/* One before it, of another type and with padding */
	note->n_namesz = 4;
	note->n_descsz = 5;
	note->n_type = 6;
	memcpy(note + 1, "Xen", 4);
	note = (Elf64_Nhdr *)(image + NOTE_OFFSET + 24);
	note->n_namesz = 4;
	note->n_descsz = descriptor;
	note->n_type = 18;
	memcpy(note + 1, "Xen", 4);
	memcpy((uint8_t *)(note + 1) + 4, &entry, descriptor);
}

static Elf64_Phdr *make_elf64(struct vmm_boot *boot)
{
	Elf64_Ehdr *elf = (Elf64_Ehdr *)image;
	Elf64_Phdr *segments = (Elf64_Phdr *)(elf + 1);

	memset(image, 0, sizeof(image));
	memset(image + CODE_OFFSET, 0x90, CODE_BYTES);
	memcpy(elf->e_ident, ELFMAG, SELFMAG);
	elf->e_ident[EI_CLASS] = ELFCLASS64;
	elf->e_ident[EI_DATA] = ELFDATA2LSB;
	elf->e_machine = EM_X86_64;
	elf->e_entry = 2 * MIB + 0x10;
	elf->e_phoff = sizeof(*elf);
	elf->e_phentsize = sizeof(Elf64_Phdr);
	elf->e_phnum = 2;
	segments[0] = (Elf64_Phdr){
		.p_type = PT_LOAD, .p_offset = CODE_OFFSET, .p_filesz = CODE_BYTES,
		.p_memsz = CODE_BYTES + BSS_BYTES, .p_paddr = 2 * MIB,
		.p_vaddr = 0xffffffff80000000,
	};
	segments[1] = (Elf64_Phdr){
		.p_type = PT_NOTE, .p_offset = NOTE_OFFSET, .p_filesz = 24 + 12 + 4 + 8,
		.p_align = 4,
	};
	add_note(2 * MIB + 0x20, 8);
	boot->kernel = (struct vmm_file){ image, sizeof(image), NULL };
	return segments;
}

static Elf32_Phdr *make_elf32(struct vmm_boot *boot)
{
	Elf32_Ehdr *elf = (Elf32_Ehdr *)image;
	Elf32_Phdr *segments = (Elf32_Phdr *)(elf + 1);

	memset(image, 0, sizeof(image));
	memset(image + CODE_OFFSET, 0x90, CODE_BYTES);
	memcpy(elf->e_ident, ELFMAG, SELFMAG);
	elf->e_ident[EI_CLASS] = ELFCLASS32;
	elf->e_ident[EI_DATA] = ELFDATA2LSB;
	elf->e_machine = EM_386;
	elf->e_entry = 2 * MIB + 0x10;
	elf->e_phoff = sizeof(*elf);
	elf->e_phentsize = sizeof(Elf32_Phdr);
	elf->e_phnum = 1;
	segments[0] = (Elf32_Phdr){
		.p_type = PT_LOAD, .p_offset = CODE_OFFSET, .p_filesz = CODE_BYTES,
		.p_memsz = CODE_BYTES + BSS_BYTES, .p_paddr = 2 * MIB,
	};
	boot->kernel = (struct vmm_file){ image, sizeof(image), NULL };
	return segments;
}

static void add_multiboot(uint32_t offset, uint32_t flags)
{
	put32(image + offset, 0x1badb002);
	put32(image + offset + 4, flags);
	put32(image + offset + 8, -(0x1badb002 + flags));
}

/* ---- PVH ---- */

TEST_F(loaders, pvh)
{
	static const struct vmm_file modules[] = { { "second", 6, "two words" } };
	uint64_t info, list;

	make_elf64(&self->boot);
	memset(at(2 * MIB + CODE_BYTES), 0xff, BSS_BYTES);
	self->boot.cmdline = "a=b";
	self->boot.initrd = (struct vmm_file){ "first", 5, NULL };
	self->boot.modules = modules;
	self->boot.nr_modules = 1;
	self->boot.rsdp = 0xe0000;
	EXPECT_EQ(VMM_IMAGE_PVH, vmm_image_kind(&self->boot.kernel));
	ASSERT_EQ(0, vmm_place_pvh(&vm, &self->boot, &self->entry)) TH_LOG("%s", vm.message.text);
	EXPECT_FALSE(self->entry.long_mode);
	EXPECT_EQ(2 * MIB + 0x20, self->entry.regs.rip);
	EXPECT_EQ(0, memcmp(at(2 * MIB), image + CODE_OFFSET, CODE_BYTES));
	EXPECT_EQ(0, get32(2 * MIB + CODE_BYTES)) TH_LOG("bss");
	EXPECT_EQ(0, get32(2 * MIB + CODE_BYTES + BSS_BYTES - 4));

	info = self->entry.regs.gpr[VMM_RBX];
	EXPECT_EQ(0x336ec578, get32(info));
	EXPECT_EQ(1, get32(info + 4));
	EXPECT_EQ(2, get32(info + 12));
	list = get64(info + 16);
	EXPECT_EQ(0, memcmp(at(get64(list)), "first", 5));
	EXPECT_EQ(5, get64(list + 8));
	EXPECT_EQ(0, memcmp(at(get64(list + 32)), "second", 6));
	EXPECT_STREQ("two words", at(get64(list + 48)));
	EXPECT_STREQ("a=b", at(get64(info + 24)));
	EXPECT_EQ(0xe0000, get64(info + 32));
	EXPECT_EQ(5, get32(info + 48));
	EXPECT_EQ(MIB, get64(get64(info + 40) + 3 * 24));
	EXPECT_EQ(1, get32(get64(info + 40) + 3 * 24 + 16));
}

TEST_F(loaders, pvh_note)
{
	Elf64_Phdr *segments = make_elf64(&self->boot);
	uint64_t size = segments[1].p_filesz;

	add_note(0x123456789, 8);
	EXPECT_REFUSED(-ENOEXEC, "above 4 GiB", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	add_note(2 * MIB + 0x40, 4);
	ASSERT_EQ(0, vmm_place_pvh(&vm, &self->boot, &self->entry));
	EXPECT_EQ(2 * MIB + 0x40, self->entry.regs.rip);
	/* Cut off anywhere before its last byte, it is not there */
	for (segments[1].p_filesz = 0; segments[1].p_filesz < size - 4; segments[1].p_filesz++)
		EXPECT_REFUSED(-ENOEXEC, "no PVH entry",
			       vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	put32(image + NOTE_OFFSET, 0xfffffff0);
	EXPECT_REFUSED(-ENOEXEC, "no PVH entry", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	put32(image + NOTE_OFFSET + 4, 0xffffffff);
	EXPECT_REFUSED(-ENOEXEC, "no PVH entry", vmm_place_pvh(&vm, &self->boot, &self->entry));
}

TEST_F(loaders, elf_refusals)
{
	Elf64_Ehdr *elf = (Elf64_Ehdr *)image;
	Elf64_Phdr *segments = make_elf64(&self->boot);
	size_t bytes;

	elf->e_ident[EI_DATA] = ELFDATA2MSB;
	EXPECT_REFUSED(-ENOEXEC, "little-endian", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	elf->e_machine = EM_AARCH64;
	EXPECT_REFUSED(-ENOEXEC, "another machine", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	elf->e_phentsize = 8;
	EXPECT_REFUSED(-ENOEXEC, "of 8 bytes", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	elf->e_phoff = ~0ULL - 8;
	EXPECT_REFUSED(-ENOEXEC, "before its program headers",
		       vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	elf->e_phnum = 0xffff;
	EXPECT_REFUSED(-ENOEXEC, "before its program headers",
		       vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	segments[0].p_offset = ~0ULL - 100;
	EXPECT_REFUSED(-ENOEXEC, "segment 0", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	segments[0].p_filesz = ELF_BYTES;
	segments[0].p_memsz = ELF_BYTES;
	EXPECT_REFUSED(-ENOEXEC, "segment 0", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	segments[0].p_memsz = CODE_BYTES - 1;
	EXPECT_REFUSED(-ENOEXEC, "larger in the file",
		       vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	segments[0].p_paddr = MEMORY - CODE_BYTES;
	EXPECT_REFUSED(-ENOMEM, "no guest memory", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	segments[0].p_memsz = ~0ULL;
	EXPECT_REFUSED(-ENOMEM, "no guest memory", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	segments[0].p_paddr = 0x8000;
	EXPECT_REFUSED(-ENOTSUP, "the loader's", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	segments[0].p_paddr = 0xdf000;
	EXPECT_REFUSED(-ENOTSUP, "not usable", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	segments[0].p_type = PT_NULL;
	EXPECT_REFUSED(-ENOEXEC, "nothing to load",
		       vmm_place_pvh(&vm, &self->boot, &self->entry));
	for (bytes = 0; bytes < CODE_OFFSET + CODE_BYTES; bytes += 7) {
		make_elf64(&self->boot);
		self->boot.kernel.size = bytes;
		EXPECT_EQ(-ENOEXEC, vmm_place_pvh(&vm, &self->boot, &self->entry));
	}
}

/* ---- multiboot ---- */

TEST_F(loaders, multiboot)
{
	static const struct vmm_file modules[] = { { "one", 3, "FILE words" }, { "two", 3, NULL } };
	uint64_t info, list, map;

	make_elf32(&self->boot);
	add_multiboot(0x1ffc & 0x1f00, 3);
	self->boot.name = "kernel.elf";
	self->boot.cmdline = "x=1 y";
	self->boot.modules = modules;
	self->boot.nr_modules = 2;
	EXPECT_EQ(VMM_IMAGE_MULTIBOOT, vmm_image_kind(&self->boot.kernel));
	ASSERT_EQ(0, vmm_place_multiboot(&vm, &self->boot, &self->entry))
		TH_LOG("%s", vm.message.text);
	EXPECT_FALSE(self->entry.long_mode);
	EXPECT_EQ(2 * MIB + 0x10, self->entry.regs.rip);
	EXPECT_EQ(0x2badb002, self->entry.regs.gpr[VMM_RAX]);
	EXPECT_EQ(0, memcmp(at(2 * MIB), image + CODE_OFFSET, CODE_BYTES));

	info = self->entry.regs.gpr[VMM_RBX];
	EXPECT_EQ(0x24d, get32(info) & 0x24d);
	EXPECT_EQ(0x9fc00 / 1024, get32(info + 4));
	EXPECT_EQ((MEMORY - MIB) / 1024, get32(info + 8));
	EXPECT_STREQ("kernel.elf x=1 y", at(get32(info + 16)));
	EXPECT_EQ(2, get32(info + 20));
	list = get32(info + 24);
	EXPECT_EQ(3, get32(list + 4) - get32(list));
	EXPECT_EQ(0, get32(list) % 4096);
	EXPECT_LE(2 * MIB + CODE_BYTES + BSS_BYTES, get32(list));
	EXPECT_EQ(0, memcmp(at(get32(list)), "one", 3));
	EXPECT_STREQ("FILE words", at(get32(list + 8)));
	EXPECT_EQ(0, memcmp(at(get32(list + 16)), "two", 3));
	EXPECT_STREQ("", at(get32(list + 24)));
	EXPECT_EQ(5 * 24, get32(info + 44));
	map = get32(info + 48);
	EXPECT_EQ(20, get32(map));
	EXPECT_EQ(0, get64(map + 4));
	EXPECT_EQ(0x9fc00, get64(map + 12));
	EXPECT_EQ(1, get32(map + 20));
	EXPECT_NE(0, strlen(at(get32(info + 64))));
}

/* A kernel for real mode lies where the information would: that goes behind it. */
TEST_F(loaders, multiboot_low)
{
	static const struct vmm_file modules[] = { { "one", 3, "FILE words" } };
	static const uint32_t places[] = { 0x1000, 0x8000, 0x1f000 };
	Elf32_Phdr *segment;
	uint64_t info, list;
	unsigned int i;

	self->boot.name = "low.elf";
	self->boot.cmdline = "x=1 y";
	self->boot.modules = modules;
	self->boot.nr_modules = 1;
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		segment = make_elf32(&self->boot);
		segment->p_paddr = places[i];
		((Elf32_Ehdr *)image)->e_entry = places[i] + 0x10;
		add_multiboot(0x200, 0);
		memset(at(0), 0xff, MIB);
		ASSERT_EQ(0, vmm_place_multiboot(&vm, &self->boot, &self->entry))
			TH_LOG("%s", vm.message.text);
		EXPECT_EQ(places[i] + 0x10, self->entry.regs.rip);
		EXPECT_EQ(0, memcmp(at(places[i]), image + CODE_OFFSET, CODE_BYTES));
		EXPECT_EQ(0, get32(places[i] + CODE_BYTES));
		EXPECT_EQ(0, get32(places[i] + CODE_BYTES + BSS_BYTES - 4));
		EXPECT_EQ(0xffffffff, get32(places[i] + CODE_BYTES + BSS_BYTES));
		info = self->entry.regs.gpr[VMM_RBX];
		EXPECT_EQ(MIB, info);
		EXPECT_STREQ("low.elf x=1 y", at(get32(info + 16)));
		EXPECT_EQ(1, get32(info + 20));
		list = get32(info + 24);
		EXPECT_EQ(0, memcmp(at(get32(list)), "one", 3));
		EXPECT_STREQ("FILE words", at(get32(list + 8)));
		EXPECT_EQ(20, get32(get32(info + 48)));
	}

	segment->p_paddr = 0xfff;
	EXPECT_REFUSED(-ENOTSUP, "the loader's",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
}

TEST_F(loaders, multiboot_elf64)
{
	Elf64_Ehdr *elf = (Elf64_Ehdr *)image;

	make_elf64(&self->boot);
	memset(image + NOTE_OFFSET, 0, 64);
	add_multiboot(0x800, 0);
	EXPECT_EQ(VMM_IMAGE_MULTIBOOT, vmm_image_kind(&self->boot.kernel));
	ASSERT_EQ(0, vmm_place_multiboot(&vm, &self->boot, &self->entry));
	EXPECT_EQ(2 * MIB + 0x10, self->entry.regs.rip);
	elf->e_entry = 0xffffffff80000000;
	EXPECT_REFUSED(-ENOEXEC, "above 4 GiB",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
}

static void add_addresses(uint32_t header, uint32_t load, uint32_t load_end, uint32_t bss_end,
			  uint32_t entry)
{
	put32(image + 0x20c, header);
	put32(image + 0x210, load);
	put32(image + 0x214, load_end);
	put32(image + 0x218, bss_end);
	put32(image + 0x21c, entry);
}

TEST_F(loaders, multiboot_addresses)
{
	memset(image, 0x77, sizeof(image));
	add_multiboot(0x200, 1 << 16);
	self->boot.kernel = (struct vmm_file){ image, sizeof(image), NULL };
	/* The file's offset 0x100 goes to 3 MiB */
	add_addresses(3 * MIB + 0x100, 3 * MIB, 3 * MIB + 0x1000, 3 * MIB + 0x2000, 3 * MIB + 8);
	memset(at(3 * MIB), 0xff, 0x3000);
	ASSERT_EQ(0, vmm_place_multiboot(&vm, &self->boot, &self->entry));
	EXPECT_EQ(3 * MIB + 8, self->entry.regs.rip);
	EXPECT_EQ(0, memcmp(at(3 * MIB), image + 0x100, 0x1000));
	EXPECT_EQ(0, get32(3 * MIB + 0x1000));
	EXPECT_EQ(0, get32(3 * MIB + 0x1ffc));
	EXPECT_EQ(0xffffffff, get32(3 * MIB + 0x2000));
	/* No ends: all of the file, no bss */
	add_addresses(3 * MIB + 0x100, 3 * MIB, 0, 0, 3 * MIB);
	ASSERT_EQ(0, vmm_place_multiboot(&vm, &self->boot, &self->entry));
	EXPECT_EQ(0x77777777, get32(3 * MIB + ELF_BYTES - 0x104));

	add_addresses(3 * MIB, 3 * MIB + 1, 0, 0, 0);
	EXPECT_REFUSED(-ENOEXEC, "load address",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
	add_addresses(3 * MIB + 0x201, 3 * MIB, 0, 0, 0);
	EXPECT_REFUSED(-ENOEXEC, "load address",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
	add_addresses(3 * MIB, 3 * MIB, 3 * MIB + ELF_BYTES, 0, 0);
	EXPECT_REFUSED(-ENOEXEC, "load end", vmm_place_multiboot(&vm, &self->boot, &self->entry));
	add_addresses(3 * MIB, 3 * MIB, 2 * MIB, 0, 0);
	EXPECT_REFUSED(-ENOEXEC, "load end", vmm_place_multiboot(&vm, &self->boot, &self->entry));
	add_addresses(3 * MIB, 3 * MIB, 0, 3 * MIB + 16, 0);
	EXPECT_REFUSED(-ENOEXEC, "bss end", vmm_place_multiboot(&vm, &self->boot, &self->entry));
	add_addresses(3 * MIB, 3 * MIB, 0, 0xffffffff, 0);
	EXPECT_REFUSED(-ENOMEM, "no guest memory",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
	add_addresses(0xf00, 0xf00, 0, 0, 0);
	EXPECT_REFUSED(-ENOTSUP, "the loader's",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
	self->boot.kernel.size = 0x21f;
	EXPECT_REFUSED(-ENOEXEC, "ends in its header",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
}

TEST_F(loaders, multiboot_refusals)
{
	make_elf32(&self->boot);
	EXPECT_REFUSED(-ENOEXEC, "no multiboot header",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
	add_multiboot(0x802, 0);
	EXPECT_REFUSED(-ENOEXEC, "no multiboot header",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
	make_elf32(&self->boot);
	add_multiboot(0x800, 1 << 3);
	EXPECT_REFUSED(-ENOTSUP, "features 0x8",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
	make_elf32(&self->boot);
	add_multiboot(0x800, 0);
	image[0x808] ^= 1;
	EXPECT_REFUSED(-ENOEXEC, "no multiboot header",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
	memset(image, 0, sizeof(image));
	add_multiboot(0, 0);
	EXPECT_REFUSED(-ENOEXEC, "neither",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
}

TEST_F(loaders, modules_must_fit)
{
	static uint8_t big[MIB];
	struct vmm_file modules[70];
	char *line = malloc(70000);
	unsigned int i;

	make_elf32(&self->boot);
	add_multiboot(0x800, 0);
	for (i = 0; i < 70; i++)
		modules[i] = (struct vmm_file){ big, sizeof(big), "text" };
	self->boot.modules = modules;
	self->boot.nr_modules = 70;
	EXPECT_REFUSED(-E2BIG, "70 modules", vmm_place_multiboot(&vm, &self->boot, &self->entry));
	self->boot.nr_modules = 63;
	EXPECT_REFUSED(-ENOMEM, "module", vmm_place_multiboot(&vm, &self->boot, &self->entry));
	self->boot.nr_modules = 3;
	EXPECT_EQ(0, vmm_place_multiboot(&vm, &self->boot, &self->entry));
	memset(line, 'y', 70000);
	line[69999] = 0;
	modules[2].text = line;
	EXPECT_REFUSED(-E2BIG, "command lines",
		       vmm_place_multiboot(&vm, &self->boot, &self->entry));
	free(line);
}

/* ---- any loader ---- */

TEST_F(loaders, flat)
{
	static const struct vmm_file file = { "flat image", 10, NULL }, empty = { NULL };

	EXPECT_EQ(0, vmm_load_flat(&vm, &file, 0x1000));
	EXPECT_EQ(0, memcmp(at(0x1000), "flat image", 10));
	EXPECT_EQ(0, vmm_load_flat(&vm, &file, MEMORY - 10));
	EXPECT_REFUSED(-ENOMEM, "no guest memory", vmm_load_flat(&vm, &file, MEMORY - 9));
	EXPECT_REFUSED(-ENOMEM, "no guest memory", vmm_load_flat(&vm, &file, ~0ULL));
	EXPECT_REFUSED(-ENOEXEC, "empty", vmm_load_flat(&vm, &empty, 0x1000));
}

/* Three pieces without a gap: memory up to @gpa, @bytes with @flags, the rest */
static void set_pieces(uint64_t gpa, uint64_t bytes, uint32_t flags)
{
	static struct region pieces[3];
	uint64_t end = gpa + bytes;

	pieces[0].public = (struct vmm_region){ 0, gpa, memory, 0 };
	pieces[1].public = (struct vmm_region){ gpa, bytes, memory + gpa, flags };
	pieces[2].public = (struct vmm_region){ end, MEMORY - end, memory + end, 0 };
	vm.regions = pieces;
	vm.nr_regions = 3;
}

static void set_rom(uint64_t gpa, uint64_t bytes)
{
	set_pieces(gpa, bytes, VMM_MEMORY_READONLY);
	mprotect(memory, MEMORY, PROT_READ | PROT_WRITE);
	mprotect(memory + gpa, bytes, PROT_READ);
}

/* Read-only memory may be mapped for reading alone, or be other guests' as well. */
TEST_F(loaders, read_only_memory)
{
	static const struct vmm_file file = { "flat image", 10, NULL };
	static const struct vmm_acpi one = { .cpus = 1 };
	uint64_t rsdp;

	set_rom(0xe0000, 0x20000);
	EXPECT_REFUSED(-EACCES, "read-only", vmm_acpi_install(&vm, &one, &rsdp));
	set_rom(0x8000, 0x4000);
	EXPECT_REFUSED(-EACCES, "read-only", vmm_identity_map(&vm, 0x7000, 4));
	set_rom(0x2000, 0x1000);
	EXPECT_REFUSED(-EACCES, "read-only", vmm_load_flat(&vm, &file, 0x2000 - 1));
	EXPECT_REFUSED(-EACCES, "read-only", vmm_load_flat(&vm, &file, 0x3000 - 1));
	EXPECT_EQ(0, vmm_load_flat(&vm, &file, 0x3000));

	set_rom(2 * MIB + 0x1000, 0x1000);
	make_elf64(&self->boot);
	EXPECT_REFUSED(-EACCES, "read-only", vmm_place_pvh(&vm, &self->boot, &self->entry));
	add_multiboot(0x800, 0);
	EXPECT_REFUSED(-EACCES, "read-only", vmm_place_multiboot(&vm, &self->boot, &self->entry));
	set_rom(VMM_LOW_CMDLINE, 0x1000);
	EXPECT_REFUSED(-EACCES, "read-only", vmm_place_pvh(&vm, &self->boot, &self->entry));
	make_bzimage(&self->boot);
	EXPECT_REFUSED(-EACCES, "read-only", vmm_place_linux(&vm, &self->boot, &self->entry));
	set_rom(VMM_LOW_BOOT_INFO, 0x1000);
	EXPECT_REFUSED(-EACCES, "read-only", vmm_place_linux(&vm, &self->boot, &self->entry));
}

/* Where one region ends and the next begins is nothing to an image. */
TEST_F(loaders, regions_without_a_gap)
{
	make_elf64(&self->boot);
	set_pieces(2 * MIB + 0x1000, 0x1000, 0);
	memset(at(2 * MIB), 0xff, 0x4000);
	ASSERT_EQ(0, vmm_place_pvh(&vm, &self->boot, &self->entry)) TH_LOG("%s", vm.message.text);
	EXPECT_EQ(0, memcmp(at(2 * MIB), image + CODE_OFFSET, CODE_BYTES));
	EXPECT_EQ(0, get32(2 * MIB + CODE_BYTES + BSS_BYTES - 4));
	EXPECT_EQ(0xffffffff, get32(2 * MIB + CODE_BYTES + BSS_BYTES));
}

#define MANY		256

/* @step bytes from one to the next, of which each has a page or more */
static void set_many(uint64_t step, uint64_t bytes)
{
	static struct region many[MANY];
	unsigned int i;

	many[0].public = (struct vmm_region){ 0, 40 * MIB, memory, 0 };
	for (i = 1; i < MANY; i++) {
		uint64_t gpa = 40 * MIB + i * step;

		many[i].public = (struct vmm_region){ gpa, bytes, memory + gpa, 0 };
	}
	vm.regions = many;
	vm.nr_regions = MANY;
}

/* A boot protocol's map of memory has an end: what would be left out were lost to the guest. */
TEST_F(loaders, many_regions)
{
	make_bzimage(&self->boot);
	set_many(0x3000, 0x1000);
	EXPECT_REFUSED(-E2BIG, "128", vmm_place_linux(&vm, &self->boot, &self->entry));
	make_elf64(&self->boot);
	EXPECT_REFUSED(-E2BIG, "128", vmm_place_pvh(&vm, &self->boot, &self->entry));
	add_multiboot(0x800, 0);
	EXPECT_REFUSED(-E2BIG, "128", vmm_place_multiboot(&vm, &self->boot, &self->entry));
	vm.nr_regions = 125;
	EXPECT_EQ(0, vmm_place_pvh(&vm, &self->boot, &self->entry));
	EXPECT_EQ(128, get32(self->entry.regs.gpr[VMM_RBX] + 48));

	/* Those without a gap are one */
	make_bzimage(&self->boot);
	set_many(0x1000, 0x1000);
	ASSERT_EQ(0, vmm_place_linux(&vm, &self->boot, &self->entry));
	EXPECT_EQ(5, params_at(&self->entry)->e820_entries);
	EXPECT_EQ(40 * MIB + 0x1000, params_at(&self->entry)->e820_table[4].addr);
	EXPECT_EQ((MANY - 1) * 0x1000, params_at(&self->entry)->e820_table[4].size);
}

static uint64_t seed = 88172645463325252ULL;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint8_t *fuzz_bytes;

/* In a page of its own end, so that a read too far is a fault */
static struct vmm_file fuzzed(const struct vmm_file *file)
{
	struct vmm_file copy = *file;
	size_t bytes = random64() % 3 ? file->size : random64() % file->size;
	unsigned int i, changes = random64() % 12;
	uint8_t *to;

	bytes &= ~7UL;
	to = fuzz_bytes + 0x10000 - bytes;
	memcpy(to, file->data, bytes);
	for (i = 0; i < changes && bytes; i++) {
		size_t where = random64() % 2 ? random64() % bytes : random64() % 0x280 % bytes;

		to[where] = random64() % 4 ? random64() : 0xff;
	}
	copy.data = to;
	copy.size = bytes;
	return copy;
}

TEST_F_TIMEOUT(loaders, broken_images, 180)
{
	unsigned int round;
	int ret;

	fuzz_bytes = mmap(NULL, 0x11000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)fuzz_bytes);
	mprotect(fuzz_bytes + 0x10000, 0x1000, PROT_NONE);
	set_memory(4 * MIB);
	for (round = 0; round < 30000; round++) {
		switch (round % 4) {
		case 0:
			make_bzimage(&self->boot);
			header->init_size = MIB;
			self->boot.kernel = fuzzed(&self->boot.kernel);
			ret = vmm_place_linux(&vm, &self->boot, &self->entry);
			break;
		case 1:
			make_elf64(&self->boot);
			self->boot.kernel = fuzzed(&self->boot.kernel);
			ret = vmm_place_pvh(&vm, &self->boot, &self->entry);
			break;
		case 2:
			make_elf32(&self->boot);
			add_multiboot(0x200, 0);
			self->boot.kernel = fuzzed(&self->boot.kernel);
			ret = vmm_place_multiboot(&vm, &self->boot, &self->entry);
			break;
		default:
			memset(image, 0, sizeof(image));
			add_multiboot(0x200, 1 << 16);
			add_addresses(3 * MIB + 0x100, 3 * MIB, 0, 0, 3 * MIB);
			self->boot.kernel = (struct vmm_file){ image, sizeof(image), NULL };
			self->boot.kernel = fuzzed(&self->boot.kernel);
			ret = vmm_place_multiboot(&vm, &self->boot, &self->entry);
			break;
		}
		EXPECT_TRUE(ret == 0 || ret == -ENOEXEC || ret == -ENOTSUP || ret == -ENOMEM ||
			    ret == -E2BIG) TH_LOG("round %u: %d", round, ret);
	}
	munmap(fuzz_bytes, 0x11000);
}

TEST_F(loaders, kinds)
{
	struct vmm_file text = { "#!/bin/sh\n", 10, NULL }, empty = { NULL };

	EXPECT_EQ(VMM_IMAGE_UNKNOWN, vmm_image_kind(&text));
	EXPECT_EQ(VMM_IMAGE_UNKNOWN, vmm_image_kind(&empty));
	make_elf64(&self->boot);
	add_multiboot(0x800, 0);
	EXPECT_EQ(VMM_IMAGE_PVH, vmm_image_kind(&self->boot.kernel));
	memset(image + NOTE_OFFSET, 0, 64);
	EXPECT_EQ(VMM_IMAGE_MULTIBOOT, vmm_image_kind(&self->boot.kernel));
	add_multiboot(0x800, 1);
	image[0x800] ^= 1;
	EXPECT_EQ(VMM_IMAGE_UNKNOWN, vmm_image_kind(&self->boot.kernel));
}

TEST_F(loaders, files)
{
	struct vmm_file file;

	EXPECT_EQ(-ENOENT, vmm_file_map("/no/such/file", &file));
	EXPECT_EQ(-EISDIR, vmm_file_map("/", &file));
	EXPECT_EQ(0, vmm_file_map("/dev/null", &file));
	EXPECT_EQ(0, file.size);
	vmm_file_unmap(&file);
	EXPECT_EQ(0, vmm_file_map("/proc/self/exe", &file));
	EXPECT_TRUE(file.size > 1000 && !memcmp(file.data, ELFMAG, SELFMAG));
	vmm_file_unmap(&file);
	EXPECT_EQ(0, vmm_file_map("/proc/version", &file)) TH_LOG("a file that says size 0");
	vmm_file_unmap(&file);
}

/* What its owner does to a file does not change what was read of it. */
TEST_F(loaders, file_cut_off)
{
	char path[] = "/tmp/image.XXXXXX";
	int fd = mkstemp(path);
	struct vmm_file file;

	ASSERT_LE(0, fd);
	ASSERT_EQ(10, pwrite(fd, "flat image", 10, 3 * 4096));
	ASSERT_EQ(0, vmm_file_map(path, &file));
	unlink(path);
	EXPECT_EQ(3 * 4096 + 10, file.size);
	EXPECT_EQ(10, pwrite(fd, "other data", 10, 3 * 4096));
	EXPECT_EQ(0, memcmp((const char *)file.data + 3 * 4096, "flat image", 10));
	ASSERT_EQ(0, ftruncate(fd, 0));
	EXPECT_EQ(0, memcmp((const char *)file.data + 3 * 4096, "flat image", 10));
	vmm_file_unmap(&file);
	close(fd);
}

static void write_pipe(int fd, size_t bytes)
{
	static const char block[4096] = { 0x5a };

	for (; bytes; bytes -= sizeof(block))
		if (write(fd, block, sizeof(block)) != sizeof(block))
			_exit(1);
	_exit(0);
}

/* A limit of the files that this process writes is none of those that it reads. */
TEST_F(loaders, file_from_a_pipe)
{
	const struct rlimit small = { 100000, RLIM_INFINITY };
	size_t bytes = 50 * 4096, i;
	struct vmm_file file;
	int pipes[2], status;
	char path[32];
	pid_t child;

	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		write_pipe(pipes[1], bytes);
	close(pipes[1]);
	signal(SIGXFSZ, SIG_IGN);
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &small));
	snprintf(path, sizeof(path), "/dev/fd/%d", pipes[0]);
	errno = 0;
	EXPECT_EQ(0, vmm_file_map(path, &file));
	EXPECT_LE(0, fcntl(STDIN_FILENO, F_GETFD)) TH_LOG("standard input was closed");
	ASSERT_EQ(bytes, file.size);
	for (i = 0; i < bytes; i += 4096)
		EXPECT_EQ(0x5a, ((const char *)file.data)[i]);
	vmm_file_unmap(&file);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/* ---- ACPI ---- */

static uint8_t sum(uint64_t gpa, size_t bytes)
{
	const uint8_t *p = at(gpa);
	uint8_t total = 0;

	while (bytes--)
		total += *p++;
	return total;
}

static const struct vmm_acpi machine = {
	.cpus = 3, .pm1_event = 0x600, .pm1_control = 0x604, .reset_port = 0xcf9,
	.reset_value = 6, .sci = 9, .devices = VMM_ACPI_COM1 | VMM_ACPI_RTC,
};

TEST_F(loaders, acpi)
{
	uint64_t rsdp, rsdt, xsdt, fadt, madt, dsdt, entry;
	unsigned int lapics = 0, ioapics = 0, overrides = 0;

	ASSERT_EQ(0, vmm_acpi_install(&vm, &machine, &rsdp));
	EXPECT_EQ(0, memcmp(at(rsdp), "RSD PTR ", 8));
	EXPECT_EQ(0, sum(rsdp, 20));
	EXPECT_EQ(0, sum(rsdp, 36));
	rsdt = get32(rsdp + 16);
	EXPECT_EQ(0, memcmp(at(rsdt), "RSDT", 4));
	EXPECT_EQ(0, sum(rsdt, get32(rsdt + 4)));
	EXPECT_EQ(36 + 2 * 4, get32(rsdt + 4));
	xsdt = get64(rsdp + 24);
	EXPECT_EQ(get64(xsdt + 36), get32(rsdt + 36));
	EXPECT_EQ(get64(xsdt + 44), get32(rsdt + 40));
	EXPECT_EQ(0, memcmp(at(xsdt), "XSDT", 4));
	EXPECT_EQ(0, sum(xsdt, get32(xsdt + 4)));
	ASSERT_EQ(36 + 2 * 8, get32(xsdt + 4));
	fadt = get64(xsdt + 36);
	madt = get64(xsdt + 44);
	EXPECT_EQ(0, memcmp(at(fadt), "FACP", 4));
	EXPECT_EQ(276, get32(fadt + 4));
	EXPECT_EQ(0, sum(fadt, 276));
	EXPECT_EQ(0x600, get32(fadt + 56));
	EXPECT_EQ(0x604, get32(fadt + 64));
	EXPECT_EQ(0xcf9, get64(fadt + 120));
	EXPECT_EQ(6, *(uint8_t *)at(fadt + 128));
	dsdt = get64(fadt + 140);
	EXPECT_EQ(get32(fadt + 40), dsdt);
	EXPECT_EQ(0, memcmp(at(dsdt), "DSDT", 4));
	EXPECT_EQ(0, sum(dsdt, get32(dsdt + 4)));
	EXPECT_NE(NULL, memmem(at(dsdt), get32(dsdt + 4), "_S5_\x12", 5));
	EXPECT_NE(NULL, memmem(at(dsdt), get32(dsdt + 4), "_HID\x0c\x41\xd0\x05\x01", 9));
	EXPECT_NE(NULL, memmem(at(dsdt), get32(dsdt + 4), "_HID\x0c\x41\xd0\x0b\x00", 9));
	EXPECT_EQ(NULL, memmem(at(dsdt), get32(dsdt + 4), "_HID\x0c\x41\xd0\x03\x03", 9));
	EXPECT_EQ(0, memcmp(at(get32(fadt + 36)), "FACS", 4));
	EXPECT_EQ(0, get32(fadt + 36) % 64);

	EXPECT_EQ(0, memcmp(at(madt), "APIC", 4));
	EXPECT_EQ(0, sum(madt, get32(madt + 4)));
	for (entry = madt + 44; entry < madt + get32(madt + 4);
	     entry += ((uint8_t *)at(entry))[1]) {
		const uint8_t *p = at(entry);

		ASSERT_LT(1, p[1]);
		switch (p[0]) {
		case 0:
			EXPECT_EQ(lapics++, p[3]);
			break;
		case 1:
			ioapics++;
			break;
		case 2:
			overrides++;
			EXPECT_EQ(p[3] ? 9 : 2, get32(entry + 4));
			break;
		}
	}
	EXPECT_EQ(3, lapics);
	EXPECT_EQ(1, ioapics);
	EXPECT_EQ(2, overrides);
}

TEST_F(loaders, acpi_many_cpus)
{
	struct vmm_acpi many = machine;
	uint64_t rsdp, madt, entry;
	unsigned int x2apics = 0;

	many.cpus = 300;
	ASSERT_EQ(0, vmm_acpi_install(&vm, &many, &rsdp));
	madt = get64(get64(rsdp + 24) + 44);
	EXPECT_EQ(0, sum(madt, get32(madt + 4)));
	for (entry = madt + 44; entry < madt + get32(madt + 4);
	     entry += ((uint8_t *)at(entry))[1])
		if (*(uint8_t *)at(entry) == 9)
			x2apics += get32(entry + 4) == 255 + x2apics;
	EXPECT_EQ(45, x2apics);
	EXPECT_EQ(-ENOSPC, vmm_acpi_build(&many, at(0x1000), 1000, 0x1000));
	EXPECT_EQ(0, get32(0x1000 + 1000)) TH_LOG("nothing behind the buffer");
	set_memory(0x80000);
	EXPECT_REFUSED(-EFAULT, "ACPI", vmm_acpi_install(&vm, &many, &rsdp));
}

/* ---- the log of dirty pages, which needs the module ---- */

#define LOGGED_PAGES	(MEMORY / 4096)

static bool is_zero(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, 4095);
}

/* Every page that is no longer zero is in the log, which begins anew. How many there are */
static unsigned int check_log(struct __test_metadata *_metadata, struct vmm_vm *logged,
			      uint8_t *host, const char *what)
{
	static uint64_t bitmap[LOGGED_PAGES / 64];
	unsigned int page, written = 0, missing = 0;

	ASSERT_EQ(0, vmm_memory_get_dirty(logged, 0, MEMORY, bitmap, true));
	for (page = 0; page < LOGGED_PAGES; page++) {
		if (is_zero(host + page * 4096UL))
			continue;
		written++;
		missing += !(bitmap[page / 64] >> page % 64 & 1);
	}
	EXPECT_EQ(0, missing) TH_LOG("%s: %u of %u pages are not in the log", what, missing,
				     written);
	memset(host, 0, MEMORY);
	return written;
}

TEST_F(loaders, in_the_dirty_log)
{
	static const struct vmm_file modules[] = { { "module", 6, "text" } };
	static const struct vmm_file flat = { "flat image", 10, NULL };
	struct vmm_vm *logged;
	struct vmm_vcpu *vcpu;
	uint64_t rsdp;
	struct vmm *vmm;
	uint8_t *host;

	ASSERT_EQ(0, vmm_open(NULL, &vmm));
	ASSERT_EQ(0, vmm_vm_create(vmm, 0, &logged));
	ASSERT_EQ(0, vmm_vcpu_create(logged, 0, &vcpu));
	ASSERT_EQ(0, vmm_memory_add(logged, 0, MEMORY, 0, (void **)&host));
	ASSERT_EQ(0, vmm_memory_log(logged, 0, true));

	ASSERT_EQ(0, vmm_load_flat(logged, &flat, 0x5000 - 5));
	EXPECT_EQ(2, check_log(_metadata, logged, host, "a flat image"));
	ASSERT_EQ(0, vmm_identity_map(logged, 0x9000, 4));
	EXPECT_EQ(6, check_log(_metadata, logged, host, "page tables"));
	ASSERT_EQ(0, vmm_acpi_install(logged, &machine, &rsdp));
	EXPECT_LE(1, check_log(_metadata, logged, host, "ACPI tables"));

	self->boot.initrd = flat;
	make_bzimage(&self->boot);
	ASSERT_EQ(0, vmm_load_linux(vcpu, &self->boot));
	EXPECT_LE(5 + 1 + 6 + 3, check_log(_metadata, logged, host, "a bzImage"));
	self->boot.modules = modules;
	self->boot.nr_modules = 1;
	make_elf64(&self->boot);
	ASSERT_EQ(0, vmm_load_pvh(vcpu, &self->boot));
	EXPECT_LE(1 + 2 + 3, check_log(_metadata, logged, host, "a PVH kernel"));
	add_multiboot(0x800, 0);
	ASSERT_EQ(0, vmm_load_multiboot(vcpu, &self->boot));
	EXPECT_LE(1 + 2 + 3, check_log(_metadata, logged, host, "a multiboot kernel"));
	memset(image, 0x77, sizeof(image));
	add_multiboot(0x200, 1 << 16);
	add_addresses(3 * MIB + 0x200, 3 * MIB, 0, 0, 3 * MIB);
	ASSERT_EQ(0, vmm_load_multiboot(vcpu, &self->boot));
	EXPECT_LE(2 + 2 + 3, check_log(_metadata, logged, host, "a kernel with addresses"));

	vmm_vcpu_free(vcpu);
	vmm_vm_free(logged);
	vmm_close(vmm);
}

TEST_HARNESS_MAIN
