/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VMX on and off around a window, and the NMIs and machine checks that come in between.
 *
 * The handler of either may be the last that this kernel does on the CPU: by an NMI a crashing
 * kernel stops the others, and kernels from 6.6 on turn VMX off there by a callback of KVM's
 * alone. VMX left on blocks INIT (SDM vol. 3 24.8), and the next kernel would not get the CPU. So a
 * window has an IDT of its own, which differs from the kernel's in these two gates: VMX goes off,
 * the kernel's handler is called, VMX comes back.
 *
 * Both gates run on the stack that is in use, the kernel's own all through a window. GS is not to
 * be relied on (see read_kernel_gs_base()): the IDT is the first member of struct vmx_cpu, and so
 * IDTR tells where that is. Nothing here may be traced or probed.
 *
 * NMIs are blocked until the first IRET, the kernel's handler's. From there on they may come again,
 * anywhere: under the kernel's IDT, or through these gates, one inside the other. A machine check
 * may do that before, too.
 *
 * One may come when a VMXON has failed, before that is known: while its #GP is fixed up, or its
 * flags are looked at. CPU_ON is set then, and VMX is off: the gate's VMCLEAR raises #UD, its VMXON
 * fails again, its VMPTRLD raises #UD, and each is passed over. It is the first #UD's IRET that
 * unblocks NMIs there.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/asm.h>
#include <asm/nospec-branch.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>
#include <asm/unwind_hints.h>

#include "vmx/window.h"

	.section .noinstr.text, "ax"

SYM_FUNC_START(vmx_turn_on)
	ANNOTATE_NOENDBR
.Lturn_on:
	lidt	CPU_IDTR(%rdi)
	mov	CPU_FOUND_CR4(%rdi), %rax
	or	$X86_CR4_VMXE, %rax
	mov	%rax, %cr4
	movb	$1, CPU_ON(%rdi)
	ANNOTATE_NOENDBR
.Lvmxon:
	vmxon	CPU_REGION(%rdi)
	jbe	.Lturn_on_failed
	RET

.Lturn_on_failed:
	movb	$0, CPU_ON(%rdi)
	mov	CPU_FOUND_CR4(%rdi), %rax
	mov	%rax, %cr4
	lidt	CPU_HOST_IDTR(%rdi)
	RET
SYM_FUNC_END(vmx_turn_on)
	/* #GP: where neither CPUID nor IA32_FEATURE_CONTROL has told of what forbids VMX. */
	_ASM_EXTABLE(.Lvmxon, .Lturn_on_failed)

SYM_FUNC_START(vmx_turn_off)
	ANNOTATE_NOENDBR
.Lturn_off:
	vmclear	CPU_VMCS(%rdi)
	ANNOTATE_NOENDBR
.Lvmxoff:
	vmxoff
	ANNOTATE_NOENDBR
.Lbehind_vmxoff:
	movb	$0, CPU_ON(%rdi)
	mov	CPU_FOUND_CR4(%rdi), %rax
	mov	%rax, %cr4
	lidt	CPU_HOST_IDTR(%rdi)
	RET
SYM_FUNC_END(vmx_turn_off)
	_ASM_EXTABLE(.Lturn_off, .Lbehind_vmxoff)

/* RIP of what was interrupted, below the two registers and the IDTR that the gates push */
#define INTERRUPTED_RIP	(2 * 8 + 16)

.macro WINDOW_GATE name, vector
SYM_CODE_START(\name)
	UNWIND_HINT_IRET_REGS
	ENDBR
	push	%rax
	push	%rdi
	sub	$16, %rsp
	sidt	6(%rsp)
	mov	8(%rsp), %rdi

	/* Off: a neighbour's VMX is the neighbour's matter. */
	cmpb	$0, CPU_ON(%rdi)
	je	.Loff\@
	/*
	 * Two places where CPU_ON is not what the CPU is; for the third see above. It is made so,
	 * as the next NMI may find it, and what was interrupted begins again.
	 */
	lea	.Lvmxon(%rip), %rax
	cmp	%rax, INTERRUPTED_RIP(%rsp)
	je	.Lat_vmxon\@
	lea	.Lbehind_vmxoff(%rip), %rax
	cmp	%rax, INTERRUPTED_RIP(%rsp)
	je	.Lnot_on\@
	/* The VMCS will be current again: it is to be cleared again before VMXOFF. */
	lea	.Lvmxoff(%rip), %rax
	cmp	%rax, INTERRUPTED_RIP(%rsp)
	jne	.Lon\@
	lea	.Lturn_off(%rip), %rax
	mov	%rax, INTERRUPTED_RIP(%rsp)
.Lon\@:
	call	vmx_turn_off
	int	$\vector
	call	vmx_turn_on
	/* VMPTRLD of a VMCS that was cleared: what is next is VMLAUNCH, see vmx_enter(). */
.Lvmptrld\@:
	vmptrld	CPU_VMCS(%rdi)
	jmp	.Lback\@

.Lat_vmxon\@:
	lea	.Lturn_on(%rip), %rax
	mov	%rax, INTERRUPTED_RIP(%rsp)
.Lnot_on\@:
	movb	$0, CPU_ON(%rdi)
	/* VMXE may be set for the VMXON that comes, or not be clear yet. */
.Loff\@:
	mov	%cr4, %rax
	push	%rax
	mov	CPU_FOUND_CR4(%rdi), %rax
	mov	%rax, %cr4
	lidt	CPU_HOST_IDTR(%rdi)
	int	$\vector
	lidt	CPU_IDTR(%rdi)
	pop	%rax
	mov	%rax, %cr4
.Lback\@:
	add	$16, %rsp
	pop	%rdi
	pop	%rax
	iretq
SYM_CODE_END(\name)
	_ASM_EXTABLE(.Lvmptrld\@, .Lback\@)
.endm

WINDOW_GATE vmx_window_nmi, X86_TRAP_NMI
WINDOW_GATE vmx_window_machine_check, X86_TRAP_MC
