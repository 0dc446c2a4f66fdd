/* SPDX-License-Identifier: GPL-2.0-only */ /* load: 0x8000 */
/*
 * A multiboot kernel that lies low and goes to real mode: its bytes are all there, the command
 * line is found, INT goes through the vectors at 0. Exits with 21, or 1.
 */
#define CODE_EXIT	0xf4

	.code32
	.text
	.globl	start
header:	.long	0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
	.long	header, header, end, 0, start

start:	movl	16(%ebx), %esi			/* the command line */
	movl	$wanted, %edi
	movl	$wanted_end - wanted, %ecx
	repe	cmpsb
	jne	bad32
	cmpl	$0x12345678, last
	jne	bad32
	lgdt	gdtr
	ljmp	$8, $code16
bad32:	movb	$1, %al
	outb	%al, $CODE_EXIT

	.code16
code16:	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movl	%cr0, %eax
	andb	$~1, %al
	movl	%eax, %cr0
	ljmp	$0, $real
real:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$0x7000, %sp
	movw	$handler, 0x11 * 4
	movw	%ax, 0x11 * 4 + 2
	int	$0x11
	outb	%al, $CODE_EXIT
handler: movb	$21, %al
	iret

	.balign	8
gdt:	.quad	0, 0x00009b000000ffff, 0x000093000000ffff
gdtr:	.word	gdtr - gdt - 1
	.long	gdt
wanted:	.asciz	"/guest/realmode.bin to real mode"
wanted_end:
	/* Over the end of what the loader has there for other kernels */
	.fill	0x18000, 1, 0x90
last:	.long	0x12345678
end:
