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
#include "x86/entry.h"

	.section .rodata
	.balign 2
.Lverw_selector:
	.word	__KERNEL_DS

	.section .noinstr.text, "ax"

/* %rax: the VMCB's physical address, before and after (VMRUN saves and restores the host's) */
.macro RUN_GUEST
	vmload	%rax
	LOAD_GUEST_GPRS
	vmrun	%rax
	vmsave	%rax
	pop	%rax			/* gprs */
	STORE_GUEST_GPRS
	CLEAR_GUEST_GPRS
	pop	%rax			/* host_pa */
	vmload	%rax
.endm

SYM_FUNC_START(svm_vmrun)
	SAVE_HOST
	push	%rdx			/* host_pa */
	push	%rdi			/* gprs */
	mov	%rsi, %rax
	clgi
	sti
	RUN_GUEST
	cli
	RESTORE_HOST
	stgi
	RET
SYM_FUNC_END(svm_vmrun)

SYM_FUNC_START(svm_vmrun_guarded)
	SAVE_HOST
	push	%rcx			/* guard */
	push	%rdx			/* host_pa */
	push	%rdi			/* gprs */
	mov	%rcx, %rbx
	clgi
	sti
	GUARD_BEFORE_ENTRY .Lverw_selector(%rip)
	mov	%rsi, %rax
	RUN_GUEST
	cli
	pop	%rbx			/* guard */
	GUARD_AFTER_EXIT
	xor	%eax, %eax
	RESTORE_HOST
	stgi
	RET
SYM_FUNC_END(svm_vmrun_guarded)
