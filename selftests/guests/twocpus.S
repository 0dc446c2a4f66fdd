/* SPDX-License-Identifier: GPL-2.0-only */ /* load: 0x1000 */
/*
 * Two CPUs in real mode, as a flat image. The entry says what they do:
 *
 *   0x1100  the second one sends without end, the first one looks at the line status
 *   0x1180  the second one sends from a page that the first one has the test device take away,
 *           4,096 times; then it writes 21 to port 0xf4
 */
#define COM1		0x3f8
#define LINE_STATUS	0x3fd
#define SCRATCH_PORT	0xe0
#define PAGE_PORT	0xe4
#define DEBUG_EXIT	0xf4
#define PAGE		0x8000
#define BYTES		64

#define APIC_BASE	0x1b
#define X2APIC_ICR	0x830
#define INIT_OTHERS	0xc4500
#define SIPI_OTHERS	0xc4601		/* at 0x1000 */

	.code16
	.text
	.globl	_start
_start:	/* The second CPU begins here */
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	ljmp	*work

work:	.word	0, 0

	/* The other one is to begin at %ax. */
start_other:
	movw	%ax, work
	movl	$APIC_BASE, %ecx
	rdmsr
	orb	$0x0c, %ah		/* x2APIC: real mode reaches its registers */
	wrmsr
	movl	$X2APIC_ICR, %ecx
	xorl	%edx, %edx
	movl	$INIT_OTHERS, %eax
	wrmsr
	movl	$SIPI_OTHERS, %eax
	wrmsr
	ret

	.org	0x100
send:	movw	$0x7000, %sp
	movw	$1f, %ax
	call	start_other
	movw	$LINE_STATUS, %dx
0:	inb	%dx, %al
	jmp	0b
1:	movw	$COM1, %dx
	cld
0:	xorw	%si, %si
	movw	$0x4000, %cx
	rep outsb
	jmp	0b

	.org	0x180
take:	movw	$0x7000, %sp
	movw	$1f, %ax
	call	start_other
	movl	$PAGE >> 12, %eax
	movl	$0x1000, %ecx
0:	outl	%eax, $PAGE_PORT
	decl	%ecx
	jnz	0b
	movb	$21, %al
	outb	%al, $DEBUG_EXIT
	hlt
1:	movw	$SCRATCH_PORT, %dx
	cld
0:	movw	$PAGE, %si
	movw	$BYTES, %cx
	rep outsb
	jmp	0b
