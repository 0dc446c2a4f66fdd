// SPDX-License-Identifier: GPL-2.0-only
/*
 * kexec [-p] VMLINUX INITRD COMMAND-LINE: go there at once, as kexec -e does; with -p, what a
 * crash goes to.
 *
 * The kernel is an unpacked one, entered in 64-bit mode as its own unpacking code does: on a slow
 * CPU it would unpack itself for minutes. It lies where it is loaded, in what "Crash kernel"
 * of /proc/iomem names or in memory of no special kind: a page of code, boot_params, the command
 * line, the kernel, the initrd.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../runner/map-file.h"

#define PAGE		4096ul
#define PMD		(2ul << 20)
#define ALIGN(x, to)	(((x) + (to) - 1) & ~((to) - 1))
#define MAX(a, b)	((a) > (b) ? (a) : (b))

/* Where a kernel that is none for crashes goes */
#define NORMAL_START	0x4000000ul
#define NORMAL_END	0x20000000ul

/* The first pages of what is loaded */
struct start {
	unsigned char code[PAGE];
	struct boot_params params;
	char command_line[2048];
} __attribute__((aligned(PAGE)));

static void crash_region(uint64_t *start, uint64_t *end)
{
	FILE *file = fopen("/proc/iomem", "r");
	char line[256];

	if (!file)
		err(1, "/proc/iomem");
	while (fgets(line, sizeof(line), file))
		if (strstr(line, "Crash kernel") &&
		    sscanf(line, " %lx-%lx", start, end) == 2) {
			fclose(file);
			++*end;
			return;
		}
	errx(1, "no memory is kept for a crash (crashkernel=)");
}

/* The kernel's segments as they lie in memory, from @segment->mem on. Returns its entry. */
static uint64_t load_kernel(const char *path, struct kexec_segment *segment)
{
	size_t size;
	const unsigned char *file = map_file(path, &size);
	const Elf64_Ehdr *elf = (const void *)file;
	const Elf64_Phdr *ph = (const void *)(file + elf->e_phoff);
	uint64_t first = ~0ul, end = 0, end_in_file = 0;
	int i;

	if (size < sizeof(*elf) || memcmp(elf->e_ident, ELFMAG, SELFMAG) ||
	    elf->e_machine != EM_X86_64)
		errx(1, "%s: no x86-64 ELF image", path);
	for (i = 0; i < elf->e_phnum; i++) {
		if (ph[i].p_type != PT_LOAD)
			continue;
		if (first > ph[i].p_paddr)
			first = ph[i].p_paddr;
		end = MAX(end, ph[i].p_paddr + ph[i].p_memsz);
		end_in_file = MAX(end_in_file, ph[i].p_paddr + ph[i].p_filesz);
	}
	segment->bufsz = end_in_file - first;
	segment->memsz = ALIGN(end - first, PAGE);
	segment->buf = calloc(1, segment->bufsz);
	if (!segment->buf)
		err(1, "%s", path);
	for (i = 0; i < elf->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD)
			memcpy((char *)segment->buf + ph[i].p_paddr - first,
			       file + ph[i].p_offset, ph[i].p_filesz);
	return elf->e_entry - first + (uint64_t)segment->mem;
}

/* What the running kernel was started with; for a crash, with the memory that is kept for it */
static void fill_params(struct boot_params *params, uint64_t crash_start, uint64_t crash_end)
{
	struct boot_e820_entry *entry;
	int fd = open("/sys/kernel/boot_params/data", O_RDONLY);
	int i, n = 0;

	if (fd < 0 || read(fd, params, sizeof(*params)) != sizeof(*params))
		err(1, "/sys/kernel/boot_params/data");
	close(fd);
	params->hdr.type_of_loader = 0xff;
	params->hdr.setup_data = 0;
	params->ext_ramdisk_image = 0;
	params->ext_ramdisk_size = 0;
	params->ext_cmd_line_ptr = 0;
	if (!crash_end)
		return;
	/* Other CPUs start in the first 640 KiB. */
	for (i = 0; i < params->e820_entries; i++) {
		entry = &params->e820_table[i];
		if (entry->type != 1 || entry->addr < 0xa0000)
			params->e820_table[n++] = *entry;
	}
	params->e820_table[n++] = (struct boot_e820_entry){
		.addr = crash_start, .size = crash_end - crash_start, .type = 1,
	};
	params->e820_entries = n;
}

int main(int argc, char **argv)
{
	/* lea params(%rip), %rsi; mov $entry, %rax; jmp *%rax */
	static const unsigned char code[] = {
		0x48, 0x8d, 0x35, 0xf9, 0x0f, 0, 0,
		0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0,
		0xff, 0xe0,
	};
	static struct start start;
	struct kexec_segment segments[3] = {};
	uint64_t base = NORMAL_START, end = NORMAL_END, at, entry;
	int crash = argc == 5 && !strcmp(argv[1], "-p");

	if (argc != 4 + crash)
		errx(126, "usage: kexec [-p] VMLINUX INITRD COMMAND-LINE");
	argv += crash;
	if (strlen(argv[3]) >= sizeof(start.command_line))
		errx(126, "the command line is too long");
	if (crash)
		crash_region(&base, &end);

	segments[0].buf = &start;
	segments[0].bufsz = sizeof(start);
	segments[0].mem = (void *)base;
	segments[0].memsz = ALIGN(sizeof(start), PAGE);
	at = ALIGN(base + segments[0].memsz, PMD);
	segments[1].mem = (void *)at;
	entry = load_kernel(argv[1], &segments[1]);
	at = ALIGN(at + segments[1].memsz, PMD);
	segments[2].buf = map_file(argv[2], &segments[2].bufsz);
	segments[2].mem = (void *)at;
	segments[2].memsz = ALIGN(segments[2].bufsz, PAGE);
	if (at + segments[2].memsz > end)
		errx(1, "there is no room");

	memcpy(start.code, code, sizeof(code));
	memcpy(start.code + 9, &entry, sizeof(entry));
	snprintf(start.command_line, sizeof(start.command_line), "%s", argv[3]);
	fill_params(&start.params, base, crash ? end : 0);
	start.params.hdr.cmd_line_ptr = base + offsetof(struct start, command_line);
	start.params.hdr.ramdisk_image = at;
	start.params.hdr.ramdisk_size = segments[2].bufsz;

	if (syscall(SYS_kexec_load, base, 3UL, segments,
		    KEXEC_ARCH_X86_64 | (crash ? KEXEC_ON_CRASH : 0UL)))
		err(1, "kexec_load");
	if (crash)
		return 0;
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	err(1, "reboot");
}
