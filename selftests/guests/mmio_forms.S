/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The instruction forms that the MMIO test tries, in lists for one mode each.
 * A form is a record: what it does to its operand, which arithmetic flags it
 * defines (16 bits), the lengths of the instruction and of its text, both.
 * A record that begins with END ends a list.
 */
	.set	READ, 0
	.set	WRITE, 1
	.set	MODIFY, 2
	.set	END, 0xff

	/* CF, PF, AF, ZF, SF, OF; not AF; CF and what bit tests leave alone */
	.set	ALL, 0x8d5
	.set	LOGIC, 0x8c5
	.set	BITS, 0x41

	.macro	form access:req, flags:req, insn:req
	.byte	\access
	.word	\flags
	.byte	8f - 7f, 9f - 8f
7:	\insn
8:	.asciz	"\insn"
9:
	.endm

	.macro	end_of_list
	.byte	END
	.endm

	/* Both directions and the immediates, in the widths of every mode */
	.macro	alu access, flags, op, mem
	form	\access, \flags, "\op\()b %al, \mem"
	form	\access, \flags, "\op\()b %ch, \mem"
	form	\access, \flags, "\op\()w %ax, \mem"
	form	\access, \flags, "\op\()l %ecx, \mem"
	form	READ, \flags, "\op\()b \mem, %dl"
	form	READ, \flags, "\op\()b \mem, %ah"
	form	READ, \flags, "\op\()w \mem, %cx"
	form	READ, \flags, "\op\()l \mem, %eax"
	form	\access, \flags, "\op\()b $0x5a, \mem"
	form	\access, \flags, "\op\()w $0x7654, \mem"
	form	\access, \flags, "\op\()w $-3, \mem"
	form	\access, \flags, "\op\()l $0x7654321, \mem"
	form	\access, \flags, "\op\()l $-7, \mem"
	.endm

	.macro	alu64 access, flags, op, mem
	form	\access, \flags, "\op\()q %rax, \mem"
	form	\access, \flags, "\op\()q %r9, \mem"
	form	\access, \flags, "\op\()b %sil, \mem"
	form	\access, \flags, "\op\()w %r10w, \mem"
	form	READ, \flags, "\op\()q \mem, %r11"
	form	READ, \flags, "\op\()l \mem, %r8d"
	form	\access, \flags, "\op\()q $0x7654321, \mem"
	form	\access, \flags, "\op\()q $-7, \mem"
	.endm

	/* A bit offset in a register reaches beyond the operand, in both directions. */
	.macro	bit access, op, mem
	form	\access, BITS, "\op\()w %cx, \mem"
	form	\access, BITS, "\op\()l %ecx, \mem"
	form	\access, BITS, "\op\()w $13, \mem"
	form	\access, BITS, "\op\()l $31, \mem"
	form	\access, BITS, "\op\()l $35, \mem"
	.endm

	/* Forms of every mode with the operand @mem */
	.macro	common mem
	.irp	insn, "movb %al", "movb %ah", "movb %dl", "movw %ax", "movw %cx", "movl %eax", \
		"movl %edi", "movl %esp", "movb $0x5a", "movw $0x7654", "movl $0x87654321"
	form	WRITE, ALL, "\insn, \mem"
	.endr
	.irp	reg, al, dh
	form	READ, ALL, "movb \mem, %\reg"
	.endr
	.irp	reg, ax, bp
	form	READ, ALL, "movw \mem, %\reg"
	.endr
	.irp	reg, eax, edi
	form	READ, ALL, "movl \mem, %\reg"
	.endr
	form	READ, ALL, "movzbw \mem, %cx"
	form	READ, ALL, "movzbl \mem, %ecx"
	form	READ, ALL, "movzwl \mem, %edx"
	form	READ, ALL, "movsbw \mem, %cx"
	form	READ, ALL, "movsbl \mem, %ecx"
	form	READ, ALL, "movswl \mem, %edx"

	alu	MODIFY, LOGIC, and, "\mem"
	alu	MODIFY, LOGIC, or, "\mem"
	alu	MODIFY, LOGIC, xor, "\mem"
	alu	MODIFY, ALL, add, "\mem"
	alu	MODIFY, ALL, sub, "\mem"
	alu	READ, ALL, cmp, "\mem"

	.irp	insn, "testb %al", "testb %dh", "testw %cx", "testl %eax", "testb $0x81", \
		"testw $0x8001", "testl $0x80000001"
	form	READ, LOGIC, "\insn, \mem"
	.endr

	bit	READ, bt, "\mem"
	bit	MODIFY, bts, "\mem"
	bit	MODIFY, btr, "\mem"
	bit	MODIFY, btc, "\mem"

	.irp	insn, "xchgb %al", "xchgb %ch", "xchgw %ax", "xchgl %ecx"
	form	MODIFY, ALL, "\insn, \mem"
	.endr

	form	MODIFY, LOGIC, "lock orb $0x80, \mem"
	form	MODIFY, LOGIC, "lock andl %ecx, \mem"
	form	MODIFY, LOGIC, "lock xorw $0x55, \mem"
	form	MODIFY, ALL, "lock addl $1, \mem"
	form	MODIFY, ALL, "lock subl %eax, \mem"
	form	MODIFY, BITS, "lock btsl $3, \mem"
	form	MODIFY, BITS, "lock btrl %ecx, \mem"
	form	MODIFY, BITS, "lock btcw $3, \mem"
	.endm

	/* Not in 16-bit code: an emulated CPU mistakes the operand's size there. */
	.macro	movbe_forms mem
	form	WRITE, ALL, "movbe %cx, \mem"
	form	WRITE, ALL, "movbe %ecx, \mem"
	form	READ, ALL, "movbe \mem, %dx"
	form	READ, ALL, "movbe \mem, %edx"
	.endm

	.macro	strings
	.irp	insn, stosb, stosw, stosl, "rep stosb", "rep stosw", "rep stosl", \
		"std; rep stosl; cld", movsb, movsw, movsl, "rep movsb", "rep movsw", \
		"rep movsl", "repnz movsb", "std; rep movsw; cld"
	form	MODIFY, ALL, "\insn"
	.endr
	.endm

/* ---- 64-bit mode ---- */

	.code64
	common	"8(%rbx)"
	movbe_forms "8(%rbx)"
	.irp	insn, "movq %rax", "movq %r15", "movb %sil", "movb %bpl", "movb %r9b", \
		"movw %r10w", "movl %r11d", "movq $-2", "movq $0x12345678", "movbe %r9"
	form	WRITE, ALL, "\insn, 8(%rbx)"
	.endr
	.irp	insn, "movq 8(%rbx), %rax", "movq 8(%rbx), %r14", "movb 8(%rbx), %dil", \
		"movb 8(%rbx), %r8b", "movl 8(%rbx), %r9d", "movw 8(%rbx), %r9w", \
		"movzbq 8(%rbx), %rcx", "movzwq 8(%rbx), %rcx", "movzbl 8(%rbx), %r10d", \
		"movsbq 8(%rbx), %rcx", "movswq 8(%rbx), %r12", "movslq 8(%rbx), %rdx", \
		"movbe 8(%rbx), %r10", "movabs 0x90808, %al", "movabs 0x90808, %ax", \
		"movabs 0x90808, %eax", "movabs 0x90808, %rax"
	form	READ, ALL, "\insn"
	.endr
	.irp	reg, al, ax, eax, rax
	form	WRITE, ALL, "movabs %\reg, 0x90808"
	.endr
	alu64	MODIFY, LOGIC, and, "8(%rbx)"
	alu64	MODIFY, LOGIC, or, "8(%rbx)"
	alu64	MODIFY, LOGIC, xor, "8(%rbx)"
	alu64	MODIFY, ALL, add, "8(%rbx)"
	alu64	MODIFY, ALL, sub, "8(%rbx)"
	alu64	READ, ALL, cmp, "8(%rbx)"
	form	READ, LOGIC, "testq %rcx, 8(%rbx)"
	form	READ, LOGIC, "testq $-7, 8(%rbx)"
	form	READ, BITS, "btq %rcx, 8(%rbx)"
	form	MODIFY, BITS, "btsq %rcx, 8(%rbx)"
	form	MODIFY, BITS, "btrq $63, 8(%rbx)"
	form	MODIFY, BITS, "btcq $5, 8(%rbx)"
	form	MODIFY, ALL, "xchgq %rax, 8(%rbx)"
	form	MODIFY, ALL, "xchgq %r9, 8(%rbx)"
	form	MODIFY, ALL, "lock addq %r9, 8(%rbx)"

	/* Every way to name the operand */
	.irp	mem, "8(%rbx)", "0x123(%rbx)", "-0x40(%rbx)", "-0x123(%rbx)", "(%rbx,%rdx)", \
		"(%rbx,%rdx,4)", "0x10(%rbx,%rdx,8)", "-0x200(%rbx,%rdx,2)", \
		"0x90810(,%rdx,4)", "0x90810", "(%r12)", "(%r13)", "4(%r12,%rdx)", \
		"4(%r13,%r8,2)", "(%rbp)", "0x20(%rbp,%rdx)", "(%ebx)", "4(%r13d,%r8d,2)", \
		"%fs:8(%rdx)", "%gs:(%rdx)", "%ds:8(%rbx)", "%es:8(%rbx)", "0x60800(%rip)"
	form	READ, ALL, "movl \mem, %eax"
	form	READ, ALL, "movzwl \mem, %ecx"
	form	WRITE, ALL, "movb %al, \mem"
	form	WRITE, ALL, "movl $0x12345678, \mem"
	form	MODIFY, LOGIC, "orw $0x1234, \mem"
	.endr
	end_of_list

	strings
	.irp	insn, stosq, "rep stosq", movsq, "rep movsq", "addr32 rep movsl", \
		"addr32 rep stosb", "std; rep movsq; cld"
	form	MODIFY, ALL, "\insn"
	.endr
	end_of_list

	/* What is not in the kernel's table */
	.irp	insn, "adcl %eax, 8(%rbx)", "sbbl 8(%rbx), %eax", "incl 8(%rbx)", \
		"decb 8(%rbx)", "notl 8(%rbx)", "negq 8(%rbx)", "xaddl %eax, 8(%rbx)", \
		"cmpxchgl %ecx, 8(%rbx)", "lock cmpxchg8b 8(%rbx)", "shll $3, 8(%rbx)", \
		"imull $5, 8(%rbx), %eax", "mull 8(%rbx)", "movups 8(%rbx), %xmm1", \
		"movdqa %xmm2, (%rbx)", "fldl 8(%rbx)", "pushq 8(%rbx)", "call *8(%rbx)", \
		"cmovzl 8(%rbx), %eax", "sete 8(%rbx)", "bsfl 8(%rbx), %eax"
	form	READ, ALL, "\insn"
	.endr
	end_of_list

/* ---- 32-bit code ---- */

	.code32
	common	"8(%ebx)"
	movbe_forms "8(%ebx)"
	form	READ, ALL, "movl (%ebx,%edx,4), %eax"
	form	READ, ALL, "movl 0x90810, %eax"
	form	READ, ALL, "movl 0x90810, %ecx"
	form	WRITE, ALL, "movb %al, 0x90810"
	form	WRITE, ALL, "movl %eax, 0x90810"
	form	READ, ALL, "movw %fs:8(%edx), %ax"
	form	WRITE, ALL, "movl %eax, (%ebp)"
	form	READ, ALL, "movl %gs:(%edx,%edx), %ebp"
	end_of_list

	strings
	end_of_list

/* ---- 16-bit code ---- */

	.code16
	common	"8(%bx)"
	.irp	mem, "(%bx)", "0x123(%bx)", "-0x10(%bx)", "(%bx,%si)", "2(%bx,%di)", "(%si)", \
		"4(%di)", "%ds:(%bp)", "%ds:4(%bp,%si)", "%ds:4(%bp,%di)", "0x810"
	form	READ, ALL, "movw \mem, %ax"
	.endr
	form	WRITE, ALL, "movb %al, 0x810"
	form	WRITE, ALL, "movl %eax, 0x810"
	form	WRITE, ALL, "movw $7, 0x810"
	form	READ, ALL, "movl 8(%ebx), %eax"
	form	WRITE, ALL, "movb %al, (%ebx,%edx,2)"
	form	WRITE, ALL, "movw %ax, %fs:(%bx)"
	end_of_list

	strings
	end_of_list
