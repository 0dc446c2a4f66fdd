/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Into an SVM guest and out of it.
 *
 * The order of what follows VMRUN matters:
 *  1. VMSAVE keeps the guest's FS, GS, TR, LDTR and system call MSRs, VMLOAD brings the
 *     host's back. No C code, no NMI (GIF is clear), nothing that uses GS before that.
 *  2. Measures against what the guest did to the branch predictors come before the
 *     first RET and the first indirect branch.
 *  3. STGI last: pending NMIs are taken there, on a host that is itself again.
 *
 * The host's IF must be 1 while the guest runs: with V_INTR_MASKING it, not the
 * guest's, decides whether a physical interrupt ends the guest (APM vol. 2 15.21.1).
 * CLGI holds interrupts back, so IF can be set long before VMRUN: the one-instruction
 * shadow of STI is over by then and cannot leak into the guest.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/alternative.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>
#include <asm/unwind_hints.h>

#include "svm/entry.h"

/* Indices of enum cpu_gpr, times eight */
#define GPR_RCX		8
#define GPR_RDX		16
#define GPR_RBX		24
#define GPR_RBP		40
#define GPR_RSI		48
#define GPR_RDI		56
#define GPR_R(n)	((n) * 8)

	.section .rodata
	.balign 2
.Lverw_selector:
	.word	__KERNEL_DS

	.section .noinstr.text, "ax"

/* Callee-saved registers, then the arguments that are needed after the exit */
.macro SAVE_HOST
	push	%rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rdx			/* host_pa */
	push	%rdi			/* gprs */
.endm

.macro RESTORE_HOST
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
.endm

/* %rdi: gprs; %rax is VMRUN's operand, the guest's lies in the VMCB */
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

/*
 * %rax: gprs. Registers that RESTORE_HOST does not load are zeroed: nothing of the guest's is
 * left in them for a speculated use.
 */
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
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
.endm

/* %rax: the VMCB's physical address, before and after (VMRUN saves and restores the host's) */
.macro RUN_GUEST
	vmload	%rax
	LOAD_GUEST_GPRS
	vmrun	%rax
	vmsave	%rax
	pop	%rax			/* gprs */
	STORE_GUEST_GPRS
	pop	%rax			/* host_pa */
	vmload	%rax
.endm

SYM_FUNC_START(svm_vmrun)
	SAVE_HOST
	mov	%rsi, %rax
	clgi
	sti
	RUN_GUEST
	cli
	RESTORE_HOST
	stgi
	RET
SYM_FUNC_END(svm_vmrun)

/* Write SPEC_CTRL from where \offset(%rbx) says; clobbers %rax, %rcx, %rdx */
.macro WRITE_SPEC_CTRL offset
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	mov	\offset(%rbx), %eax
	mov	\offset + 4(%rbx), %edx
	wrmsr
.endm

SYM_FUNC_START(svm_vmrun_guarded)
	push	%rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rcx			/* guard */
	push	%rdx			/* host_pa */
	push	%rdi			/* gprs */
	mov	%rcx, %rbx
	clgi
	sti

	testl	$GUARD_SPEC_CTRL, GUARD_FLAGS(%rbx)
	jz	.Lguest_spec_ctrl_done
	mov	GUARD_GUEST_SPEC_CTRL(%rbx), %rax
	cmp	GUARD_HOST_SPEC_CTRL(%rbx), %rax
	je	.Lguest_spec_ctrl_done
	WRITE_SPEC_CTRL GUARD_GUEST_SPEC_CTRL
.Lguest_spec_ctrl_done:

	/* All that is loaded from here on is the guest's own. */
	testl	$SPEC_ENTRY_VERW, GUARD_FLAGS(%rbx)
	jz	.Lverw_done
	verw	.Lverw_selector(%rip)
.Lverw_done:

	mov	%rsi, %rax
	RUN_GUEST
	cli
	pop	%rbx			/* guard */

	testl	$SPEC_EXIT_RSB, GUARD_FLAGS(%rbx)
	jz	.Lrsb_done
	mov	$16, %eax
.Lrsb_next:
	ANNOTATE_INTRA_FUNCTION_CALL
	call	.Lrsb_even
	int3
.Lrsb_even:
	ANNOTATE_INTRA_FUNCTION_CALL
	call	.Lrsb_odd
	int3
.Lrsb_odd:
	add	$16, %rsp
	dec	%eax
	jnz	.Lrsb_next
.Lrsb_done:
	/* None of the tests here can be speculated around. */
	lfence

	testl	$GUARD_READ_SPEC_CTRL, GUARD_FLAGS(%rbx)
	jz	.Lread_spec_ctrl_done
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	rdmsr
	mov	%eax, GUARD_GUEST_SPEC_CTRL(%rbx)
	mov	%edx, GUARD_GUEST_SPEC_CTRL + 4(%rbx)
.Lread_spec_ctrl_done:

	testl	$GUARD_SPEC_CTRL, GUARD_FLAGS(%rbx)
	jz	.Lhost_spec_ctrl_done
	mov	GUARD_GUEST_SPEC_CTRL(%rbx), %rax
	cmp	GUARD_HOST_SPEC_CTRL(%rbx), %rax
	je	.Lhost_spec_ctrl_done
	WRITE_SPEC_CTRL GUARD_HOST_SPEC_CTRL
.Lhost_spec_ctrl_done:

	testl	$SPEC_EXIT_IBPB, GUARD_FLAGS(%rbx)
	jz	.Libpb_done
	mov	$MSR_IA32_PRED_CMD, %ecx
	mov	$PRED_CMD_IBPB, %eax
	xor	%edx, %edx
	wrmsr
.Libpb_done:

	testl	$SPEC_EXIT_UNTRAIN, GUARD_FLAGS(%rbx)
	jz	.Luntrain_done
	CALL_UNTRAIN_RET
.Luntrain_done:
	lfence
	xor	%eax, %eax
	RESTORE_HOST
	stgi
	RET
SYM_FUNC_END(svm_vmrun_guarded)
