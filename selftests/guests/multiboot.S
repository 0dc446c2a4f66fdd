/* SPDX-License-Identifier: GPL-2.0-only */ /* load: 0x100000 */
/*
 * A multiboot kernel that is no ELF file: its header has the address fields.
 * It prints what the loader told it and tries the test device. Writes 21 to
 * port 0xf4 if all is as it should be, else the number of the line that is not.
 */
#define COM1		0x3f8
#define DEBUG_EXIT	0xf4
#define MAGIC		0x1badb002
#define FLAGS		0x00010003
#define PAGE		0x400000

#define CHECK(cond)	movl $__LINE__, %ebp; j##cond 1f; jmp bad; 1:

	.code32
	.globl	_start
_start:
	jmp	entry
	.balign	4
header:
	.long	MAGIC, FLAGS, -(MAGIC + FLAGS)
	.long	header, _start, end, bss_end, entry

entry:
	movl	$stack_end, %esp
	cmpl	$0x2badb002, %eax
	CHECK(e)
	movl	%ebx, %edi
	movl	(%edi), %eax		/* memory, command line, modules, map, name */
	andl	$0x24d, %eax
	cmpl	$0x24d, %eax
	CHECK(e)
	cmpl	$639, 4(%edi)
	CHECK(e)
	cmpl	$0, bss			/* was cleared */
	CHECK(e)

	movl	16(%edi), %esi
	call	put_line
	movl	64(%edi), %esi
	call	put_line
	movl	20(%edi), %ecx
	movl	24(%edi), %ebx
modules:
	testl	%ecx, %ecx
	jz	ports
	movl	8(%ebx), %esi
	call	put_line
	movl	(%ebx), %esi
	movl	4(%ebx), %edx
	call	put_bytes
	addl	$16, %ebx
	decl	%ecx
	jmp	modules

ports:
	movl	$0x12345678, %eax
	outl	%eax, $0xe0
	inb	$0xe0, %al
	cmpb	$0x78, %al
	CHECK(e)
	inw	$0xe2, %ax
	cmpw	$0x1234, %ax
	CHECK(e)
	movb	$0xab, %al
	outb	%al, $0xe1
	inl	$0xe0, %eax
	cmpl	$0x1234ab78, %eax
	CHECK(e)
	movb	$0x5c, %al
	outb	%al, $0xe8
	xorl	%eax, %eax
	inb	$0xe8, %al
	cmpl	$0x5c, %eax
	CHECK(e)
	inl	$0xec, %eax		/* absent */
	cmpl	$-1, %eax
	CHECK(e)
	movw	$0xcf8, %dx		/* no PCI */
	movl	$0x80000000, %eax
	outl	%eax, %dx
	movw	$0xcfc, %dx
	inl	%dx, %eax
	cmpl	$-1, %eax
	CHECK(e)

	/* A page that goes and comes back keeps what it holds, and can be written */
	movl	$0xcafe1234, PAGE
	movl	$PAGE >> 12, %eax
	outl	%eax, $0xe4
	cmpl	$0xcafe1234, PAGE
	CHECK(e)
	incl	PAGE
	outl	%eax, $0xe4
	cmpl	$0xcafe1235, PAGE
	CHECK(e)

	/* Device memory, also where the kernel does not know the instruction */
	movl	$0x89abcdef, 0xff000010
	movzwl	0xff000012, %eax
	cmpl	$0x89ab, %eax
	CHECK(e)
	incl	0xff000010
	lock negl 0xff000010
	cmpl	$-0x89abcdf0, 0xff000010
	CHECK(e)
	pushl	0xff000010
	popl	0xff00fffc
	movl	0xff00fffc, %eax
	cmpl	$-0x89abcdf0, %eax
	CHECK(e)
	movl	$0xfd000000, %eax	/* absent */
	cmpl	$-1, (%eax)
	CHECK(e)

	/* The level of a GSI is what was set */
	movw	$0x2013, %dx
	movb	$1, %al
	outb	%al, %dx
	movb	$0, %al
	inb	%dx, %al
	cmpb	$1, %al
	CHECK(e)
	movb	$0, %al
	outb	%al, %dx
	inb	%dx, %al
	cmpb	$0, %al
	CHECK(e)

	movl	$21, %ebp
bad:
	movl	%ebp, %eax
	outl	%eax, $DEBUG_EXIT
	hlt

/* The string at ESI and a new line */
put_line:
	lodsb
	testb	%al, %al
	jz	1f
	movw	$COM1, %dx
	outb	%al, %dx
	jmp	put_line
1:	movb	$'\n', %al
	movw	$COM1, %dx
	outb	%al, %dx
	ret

/* From ESI to EDX, as string I/O */
put_bytes:
	pushl	%ecx
	movl	%edx, %ecx
	subl	%esi, %ecx
	movw	$COM1, %dx
	cld
	rep outsb
	popl	%ecx
	ret

	.balign	4
	.globl	end
end:
	.set	bss, end
	.set	stack_end, end + 0x1000
	.set	bss_end, end + 0x1000
