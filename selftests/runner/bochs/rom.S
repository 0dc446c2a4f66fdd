/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An option ROM that is the boot loader. The firmware calls it after it has
 * written its tables. It asks the firmware for the map of memory, reads what
 * image.c made from the disk, and enters the kernel in 64-bit mode, as
 * Documentation/arch/x86/boot.rst of the kernel's source describes.
 */
#include "layout.h"

#define REAL(x)		((x) - rom_start)
#define LINEAR(x)	(ROM_ADDRESS + REAL(x))
#define E820_BUFFER	0x7c00

/* The first ATA channel's ports, and bits of its status register. */
#define ATA_DATA	0x1f0
#define ATA_COUNT	0x1f2
#define ATA_LBA_LOW	0x1f3
#define ATA_DEVICE	0x1f6
#define ATA_COMMAND	0x1f7
#define ATA_BSY		0x80
#define ATA_DRQ		0x08
#define READ_SECTORS	0x20

	.section .rodata
	.globl	rom_start, rom_end
	.code16
rom_start:
	.byte	0x55, 0xaa, ROM_SIZE / 512
	jmp	1f
	.org	rom_start + ROM_CHECKSUM
	.byte	0
1:
	cld
	xor	%ax, %ax
	mov	%ax, %es
	xor	%ebx, %ebx
	xor	%ebp, %ebp			/* entries of the map */
	mov	$E820_BUFFER, %edi
2:
	mov	$0xe820, %eax
	mov	$0x534d4150, %edx		/* "SMAP" */
	mov	$20, %ecx
	int	$0x15
	jc	3f
	add	$20, %edi
	inc	%ebp
	test	%ebx, %ebx
	jnz	2b
3:
	cli
	lgdtl	%cs:REAL(gdt_pointer)
	mov	%cr0, %eax
	or	$1, %al				/* PE */
	mov	%eax, %cr0
	ljmpl	$0x08, $LINEAR(protected)

	.code32
protected:
	mov	$0x18, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$0x7c00, %esp

	xor	%ebx, %ebx
	mov	$PARAMS, %edi
	mov	$(PARAMS_SIZE / 512), %esi
	call	read_disk
	mov	$KERNEL, %edi
	mov	KERNEL_SECTORS, %esi
	call	read_disk
	mov	$INITRD, %edi
	mov	INITRD_SECTORS, %esi
	call	read_disk

	mov	%ebp, %eax
	mov	%al, BOOT_PARAMS + 0x1e8	/* e820_entries */
	imul	$20, %ebp, %ecx
	mov	$E820_BUFFER, %esi
	mov	$(BOOT_PARAMS + 0x2d0), %edi	/* e820_table */
	rep movsb

	mov	%cr4, %eax
	or	$(1 << 5), %al			/* PAE */
	mov	%eax, %cr4
	mov	$PAGE_TABLES, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx		/* EFER */
	rdmsr
	or	$(1 << 8), %eax			/* LME */
	wrmsr
	mov	%cr0, %eax
	or	$(1 << 31), %eax		/* PG */
	mov	%eax, %cr0
	ljmpl	$0x10, $LINEAR(enter)

/* ESI sectors, from EBX on, to EDI; EBX and EDI are then behind them. */
read_disk:
	mov	$256, %ecx			/* as many as a command may ask for */
	cmp	%ecx, %esi
	cmovb	%esi, %ecx
	sub	%ecx, %esi
	push	%esi
	mov	%ecx, %esi
1:
	mov	$ATA_COMMAND, %edx
	in	(%dx), %al
	test	$ATA_BSY, %al
	jnz	1b
	mov	$ATA_COUNT, %edx
	mov	%ecx, %eax
	out	%al, (%dx)			/* 256 as 0 */
	mov	%ebx, %eax
	mov	$ATA_LBA_LOW, %edx
2:
	out	%al, (%dx)
	inc	%edx
	shr	$8, %eax
	cmp	$ATA_DEVICE, %edx
	jb	2b
	or	$0xe0, %al			/* LBA, device 0 */
	out	%al, (%dx)
	mov	$ATA_COMMAND, %edx
	mov	$READ_SECTORS, %al
	out	%al, (%dx)
	add	%ecx, %ebx
3:
	mov	$ATA_COMMAND, %edx
	in	(%dx), %al
	and	$(ATA_BSY | ATA_DRQ), %al
	cmp	$ATA_DRQ, %al
	jne	3b
	mov	$ATA_DATA, %edx
	mov	$256, %ecx
	rep insw
	dec	%esi
	jnz	3b
	pop	%esi
	test	%esi, %esi
	jnz	read_disk
	ret

	.code64
enter:
	mov	$BOOT_PARAMS, %esi
	mov	KERNEL_ENTRY, %rax
	jmp	*%rax

	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff		/* 0x08: 32-bit code */
	.quad	0x00af9b000000ffff		/* 0x10: 64-bit code */
	.quad	0x00cf93000000ffff		/* 0x18: data */
gdt_end:
gdt_pointer:
	.short	gdt_end - gdt - 1
	.long	LINEAR(gdt)
	.org	rom_start + ROM_SIZE
rom_end:
	.section .note.GNU-stack, "", @progbits
