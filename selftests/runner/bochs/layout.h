/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where things lie in the emulated machine: what rom.S, image.c and intel.sh
 * have to agree on.
 */
#ifndef BOCHS_LAYOUT_H
#define BOCHS_LAYOUT_H

#define ROM_ADDRESS	0xd0000
#define ROM_SIZE	512
#define ROM_CHECKSUM	6

/*
 * The disk: the parameters, the kernel, the initrd, each a whole number of
 * sectors. Each has its place in memory.
 */
#define PARAMS		0x800000
#define KERNEL		0x1000000
#define INITRD		0x8000000

/* The parameters. */
#define BOOT_PARAMS	PARAMS
#define COMMAND_LINE	(PARAMS + 0x1000)
#define KERNEL_ENTRY	(PARAMS + 0x2000)
#define KERNEL_SECTORS	(PARAMS + 0x2008)
#define INITRD_SECTORS	(PARAMS + 0x200c)
#define PAGE_TABLES	(PARAMS + 0x3000)
#define PARAMS_SIZE	0x6000

#endif
