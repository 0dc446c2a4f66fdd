/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What both backends' ways into a guest and out of it have in common: macros for the assembler.
 */
#ifndef VMM_X86_ENTRY_H
#define VMM_X86_ENTRY_H

#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/alternative.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>
#include <asm/unwind_hints.h>

#include "x86/spec.h"

/* Indices of enum cpu_gpr, times eight */
#define GPR_RAX		0
#define GPR_RCX		8
#define GPR_RDX		16
#define GPR_RBX		24
#define GPR_RBP		40
#define GPR_RSI		48
#define GPR_RDI		56
#define GPR_R(n)	((n) * 8)

/* Callee-saved registers */
.macro SAVE_HOST
	push	%rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
.endm

.macro RESTORE_HOST
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
.endm

/* %rdi: gprs. All but %rax and %rsp; flags stay */
.macro LOAD_GUEST_GPRS
	mov	GPR_RCX(%rdi), %rcx
	mov	GPR_RDX(%rdi), %rdx
	mov	GPR_RBX(%rdi), %rbx
	mov	GPR_RBP(%rdi), %rbp
	mov	GPR_RSI(%rdi), %rsi
	mov	GPR_R(8)(%rdi), %r8
	mov	GPR_R(9)(%rdi), %r9
	mov	GPR_R(10)(%rdi), %r10
	mov	GPR_R(11)(%rdi), %r11
	mov	GPR_R(12)(%rdi), %r12
	mov	GPR_R(13)(%rdi), %r13
	mov	GPR_R(14)(%rdi), %r14
	mov	GPR_R(15)(%rdi), %r15
	mov	GPR_RDI(%rdi), %rdi
.endm

/* %rax: gprs */
.macro STORE_GUEST_GPRS
	mov	%rcx, GPR_RCX(%rax)
	mov	%rdx, GPR_RDX(%rax)
	mov	%rbx, GPR_RBX(%rax)
	mov	%rbp, GPR_RBP(%rax)
	mov	%rsi, GPR_RSI(%rax)
	mov	%rdi, GPR_RDI(%rax)
	mov	%r8, GPR_R(8)(%rax)
	mov	%r9, GPR_R(9)(%rax)
	mov	%r10, GPR_R(10)(%rax)
	mov	%r11, GPR_R(11)(%rax)
	mov	%r12, GPR_R(12)(%rax)
	mov	%r13, GPR_R(13)(%rax)
	mov	%r14, GPR_R(14)(%rax)
	mov	%r15, GPR_R(15)(%rax)
.endm

/* What RESTORE_HOST does not load: nothing of the guest's is left to be speculated with. */
.macro CLEAR_GUEST_GPRS
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
.endm

/* Write SPEC_CTRL from where \offset(%rbx) says; clobbers %rax, %rcx, %rdx */
.macro WRITE_SPEC_CTRL offset
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	mov	\offset(%rbx), %eax
	mov	\offset + 4(%rbx), %edx
	wrmsr
.endm

/*
 * Before an entry. %rbx: guard; \selector: a word with a writable data selector. Clobbers %rax,
 * %rcx, %rdx. All that is loaded behind it must be the guest's own.
 */
.macro GUARD_BEFORE_ENTRY selector
	testl	$GUARD_SPEC_CTRL, GUARD_FLAGS(%rbx)
	jz	.Lguest_spec_ctrl_done\@
	mov	GUARD_GUEST_SPEC_CTRL(%rbx), %rax
	cmp	GUARD_HOST_SPEC_CTRL(%rbx), %rax
	je	.Lguest_spec_ctrl_done\@
	WRITE_SPEC_CTRL GUARD_GUEST_SPEC_CTRL
.Lguest_spec_ctrl_done\@:

	testl	$SPEC_ENTRY_VERW, GUARD_FLAGS(%rbx)
	jz	.Lverw_done\@
	verw	\selector
.Lverw_done\@:
.endm

/* After an exit, before the first RET and indirect branch. %rbx: guard. Clobbers the same */
.macro GUARD_AFTER_EXIT
	testl	$SPEC_EXIT_RSB, GUARD_FLAGS(%rbx)
	jz	.Lrsb_done\@
	mov	$16, %eax
.Lrsb_next\@:
	ANNOTATE_INTRA_FUNCTION_CALL
	call	.Lrsb_even\@
	int3
.Lrsb_even\@:
	ANNOTATE_INTRA_FUNCTION_CALL
	call	.Lrsb_odd\@
	int3
.Lrsb_odd\@:
	add	$16, %rsp
	dec	%eax
	jnz	.Lrsb_next\@
.Lrsb_done\@:
	/* Post-barrier return predictions: one CALL, retired, before the first RET */
	testl	$SPEC_EXIT_RSB_ONE, GUARD_FLAGS(%rbx)
	jz	.Lrsb_one_done\@
	ANNOTATE_INTRA_FUNCTION_CALL
	call	.Lrsb_one\@
	int3
.Lrsb_one\@:
	add	$8, %rsp
.Lrsb_one_done\@:
	/* None of the tests here can be speculated around. */
	lfence

	testl	$GUARD_READ_SPEC_CTRL, GUARD_FLAGS(%rbx)
	jz	.Lread_spec_ctrl_done\@
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	rdmsr
	mov	%eax, GUARD_GUEST_SPEC_CTRL(%rbx)
	mov	%edx, GUARD_GUEST_SPEC_CTRL + 4(%rbx)
.Lread_spec_ctrl_done\@:

	testl	$SPEC_EXIT_IBRS, GUARD_FLAGS(%rbx)
	jnz	.Lwrite_host_spec_ctrl\@
	testl	$GUARD_SPEC_CTRL, GUARD_FLAGS(%rbx)
	jz	.Lhost_spec_ctrl_done\@
	mov	GUARD_GUEST_SPEC_CTRL(%rbx), %rax
	cmp	GUARD_HOST_SPEC_CTRL(%rbx), %rax
	je	.Lhost_spec_ctrl_done\@
.Lwrite_host_spec_ctrl\@:
	WRITE_SPEC_CTRL GUARD_HOST_SPEC_CTRL
.Lhost_spec_ctrl_done\@:

	testl	$SPEC_EXIT_BHB, GUARD_FLAGS(%rbx)
	jz	.Lbhb_done\@
	/* Taken branches, more of them than the deepest branch history known has room for: 194 */
	mov	$13, %ecx
.Lbhb_outer\@:
	mov	$8, %eax
.Lbhb_inner\@:
	jmp	.Lbhb_hop\@
	int3
.Lbhb_hop\@:
	dec	%eax
	jnz	.Lbhb_inner\@
	dec	%ecx
	jnz	.Lbhb_outer\@
.Lbhb_done\@:

	testl	$SPEC_EXIT_IBPB, GUARD_FLAGS(%rbx)
	jz	.Libpb_done\@
	mov	$MSR_IA32_PRED_CMD, %ecx
	mov	$PRED_CMD_IBPB, %eax
	xor	%edx, %edx
	wrmsr
.Libpb_done\@:

	testl	$SPEC_EXIT_UNTRAIN, GUARD_FLAGS(%rbx)
	jz	.Luntrain_done\@
	CALL_UNTRAIN_RET
.Luntrain_done\@:
	lfence
.endm

#endif
