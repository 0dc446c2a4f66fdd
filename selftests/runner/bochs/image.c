// SPDX-License-Identifier: GPL-2.0-only
/*
 * bochs-image: the disk that an emulated machine boots from, and the option
 * ROM that is its boot loader.
 *
 *   bochs-image rom OUT
 *   bochs-image kernel VMLINUX OUT
 *	the segments of an ELF kernel as they lie in memory
 *   bochs-image params BZIMAGE VMLINUX KERNEL INITRD COMMAND-LINE OUT
 *	what the boot loader must know: KERNEL is what "kernel" wrote, BZIMAGE
 *	the file that VMLINUX came in
 *
 * The disk is params, KERNEL, INITRD, one after the other. The kernel lies
 * there unpacked, for emulated code takes seconds to do it.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../map-file.h"
#include "layout.h"

extern const unsigned char rom_start[], rom_end[];

static void write_file(const char *path, const void *p, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, p, size) != (ssize_t)size || close(fd))
		err(1, "%s", path);
}

static const Elf64_Ehdr *map_elf(const char *path, size_t *size)
{
	const Elf64_Ehdr *elf = (const void *)map_file(path, size);

	if (*size < sizeof(*elf) || memcmp(elf->e_ident, ELFMAG, SELFMAG) ||
	    elf->e_machine != EM_X86_64 ||
	    elf->e_phoff + elf->e_phnum * sizeof(Elf64_Phdr) > *size)
		errx(1, "%s: no x86-64 ELF image", path);
	return elf;
}

static void write_kernel(const char *vmlinux, const char *out)
{
	size_t size, end = 0;
	const Elf64_Ehdr *elf = map_elf(vmlinux, &size);
	const Elf64_Phdr *ph = (const void *)((const char *)elf + elf->e_phoff);
	unsigned char *image;

	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < elf->e_phnum; i++) {
			size_t at = ph[i].p_paddr - KERNEL;

			if (ph[i].p_type != PT_LOAD)
				continue;
			if (ph[i].p_paddr < KERNEL ||
			    ph[i].p_paddr + ph[i].p_memsz > INITRD ||
			    ph[i].p_offset + ph[i].p_filesz > size)
				errx(1, "%s: a segment that does not fit", vmlinux);
			if (pass)
				memcpy(image + at, (const char *)elf + ph[i].p_offset,
				       ph[i].p_filesz);
			else if (end < at + ph[i].p_filesz)
				end = at + ph[i].p_filesz;
		}
		if (!pass) {
			image = calloc(1, end + 512);
			if (!image)
				err(1, "%s", vmlinux);
		}
	}
	write_file(out, image, (end + 511) & ~511ul);
}

static void write_rom(const char *out)
{
	unsigned char rom[ROM_SIZE], sum = 0;

	if (rom_end - rom_start != ROM_SIZE)
		errx(1, "the ROM is too large");
	memcpy(rom, rom_start, ROM_SIZE);
	for (int i = 0; i < ROM_SIZE; i++)
		sum += rom[i];
	rom[ROM_CHECKSUM] = -sum;
	write_file(out, rom, ROM_SIZE);
}

static size_t file_size(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		err(1, "%s", path);
	return st.st_size;
}

static void write_params(const char *bzimage, const char *vmlinux,
			 const char *kernel, const char *initrd,
			 const char *command_line, const char *out)
{
	static unsigned char image[PARAMS_SIZE] __attribute__((aligned(8)));
	struct boot_params *bp = (void *)image;
	uint64_t *pml4 = (void *)(image + (PAGE_TABLES - PARAMS));
	uint64_t *pdpt = pml4 + 512, *pd = pdpt + 512;
	const size_t header = offsetof(struct boot_params, hdr);
	const unsigned char *bz;
	uint64_t *entry = (void *)(image + (KERNEL_ENTRY - PARAMS));
	uint32_t *sectors = (void *)(image + (KERNEL_SECTORS - PARAMS));
	size_t size;

	*entry = map_elf(vmlinux, &size)->e_entry;
	sectors[0] = file_size(kernel) / 512;
	sectors[1] = (file_size(initrd) + 511) / 512;

	/* The setup header ends where the jump at its start leads to. */
	bz = map_file(bzimage, &size);
	if (size < 4096 || memcmp(bz + 0x202, "HdrS", 4))
		errx(1, "%s: no bzImage", bzimage);
	memcpy(image + header, bz + header, 0x202 + bz[0x201] - header);
	bp->hdr.type_of_loader = 0xff;
	bp->hdr.loadflags |= LOADED_HIGH;
	bp->hdr.cmd_line_ptr = COMMAND_LINE;
	bp->hdr.ramdisk_image = INITRD;
	bp->hdr.ramdisk_size = file_size(initrd);
	if (strlen(command_line) >= KERNEL_ENTRY - COMMAND_LINE ||
	    strlen(command_line) > bp->hdr.cmdline_size)
		errx(1, "the command line is too long");
	memcpy(image + (COMMAND_LINE - PARAMS), command_line, strlen(command_line));

	/* The first GiB, one to one, in pages of 2 MiB. */
	pml4[0] = (PAGE_TABLES + 0x1000) | 3;
	pdpt[0] = (PAGE_TABLES + 0x2000) | 3;
	for (uint64_t i = 0; i < 512; i++)
		pd[i] = i << 21 | 0x83;
	write_file(out, image, sizeof(image));
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "rom"))
		write_rom(argv[2]);
	else if (argc == 4 && !strcmp(argv[1], "kernel"))
		write_kernel(argv[2], argv[3]);
	else if (argc == 8 && !strcmp(argv[1], "params"))
		write_params(argv[2], argv[3], argv[4], argv[5], argv[6], argv[7]);
	else
		errx(126, "usage: see the top of image.c");
	return 0;
}
