/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Into a VMX guest and out of it.
 *
 * VM entry loads and VM exit stores RSP, RIP, RFLAGS and all that is not a general register. An
 * exit comes out at vmx_exit_point with RSP as it was here; a refused entry falls through
 * behind VMLAUNCH or VMRESUME with the guest's general registers in place.
 *
 * Interrupts are off before and after. An NMI between this code and the guest sees a host that
 * is complete: all that VMX swaps is swapped by the entry and the exit themselves.
 */
#include "vmx/entry.h"
#include "x86/entry.h"

	.section .rodata
	.balign 2
.Lverw_selector:
	.word	__KERNEL_DS

	.section .noinstr.text, "ax"

/* int vmx_run(u64 *gprs, bool launched, struct spec_guard *guard) */
SYM_FUNC_START(vmx_run)
	SAVE_HOST
	push	%rdx			/* guard */
	push	%rdi			/* gprs */

	/* The same thread enters from the same depth: mostly it is there already. */
	cmp	%rsp, ENTRY_HOST_RSP(%rdx)
	je	.Lhost_rsp_done
	mov	%rsp, ENTRY_HOST_RSP(%rdx)
	mov	$VMCS_HOST_RSP, %eax
	vmwrite	%rsp, %rax
.Lhost_rsp_done:

	cmpl	$0, GUARD_FLAGS(%rdx)
	je	.Lunguarded_entry
	mov	%rdx, %rbx
	GUARD_BEFORE_ENTRY .Lverw_selector(%rip)
.Lunguarded_entry:

	UNWIND_HINT_SAVE
	testb	%sil, %sil
	mov	GPR_RAX(%rdi), %rax
	LOAD_GUEST_GPRS
	jz	.Llaunch
	vmresume
	jmp	.Lrefused
.Llaunch:
	vmlaunch
.Lrefused:
	mov	$VMX_REFUSED, %ebp
	jmp	.Lout

SYM_INNER_LABEL_ALIGN(vmx_exit_point, SYM_L_GLOBAL)
	UNWIND_HINT_RESTORE
	ENDBR
	push	%rax
	mov	8(%rsp), %rax		/* gprs */
	STORE_GUEST_GPRS
	pop	GPR_RAX(%rax)
	xor	%ebp, %ebp

.Lout:
	CLEAR_GUEST_GPRS
	add	$8, %rsp
	pop	%rbx			/* guard */
	cmpl	$0, GUARD_FLAGS(%rbx)
	je	.Lunguarded_exit
	GUARD_AFTER_EXIT
	jmp	.Lguarded
.Lunguarded_exit:
	/* Not to be speculated to: there is a RET behind it. */
	lfence
.Lguarded:
	mov	%ebp, %eax
	RESTORE_HOST
	RET
SYM_FUNC_END(vmx_run)
