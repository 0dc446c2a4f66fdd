/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guests of the benchmark do. It is copied to GUEST_CODE, so nothing here
 * may depend on where it was linked. RDI and RSI hold the arguments; a routine that
 * counts ends with an OUT to BENCH_PORT.
 */
#include "bed.h"

#define MSR_APIC_BASE		0x1b
#define APIC_BASE_X2APIC	0x400
#define MSR_TSC_DEADLINE	0x6e0
#define MSR_X2APIC_EOI		0x80b
#define MSR_X2APIC_SVR		0x80f
#define MSR_X2APIC_LVTT		0x832
#define SVR_ENABLE		0x100
#define LVTT_DEADLINE_MASKED	0x50000

	.section .rodata
	.code64
	.balign	16
	.globl	guest_start
guest_start:

done:
	out	%al, $BENCH_PORT
	jmp	done

/* RDI: how many */
	.globl	guest_cpuid
guest_cpuid:
	xor	%eax, %eax
	xor	%ecx, %ecx
	cpuid
	dec	%rdi
	jnz	guest_cpuid
	jmp	done

	.globl	guest_out
guest_out:
	out	%al, $BENCH_PORT
	jmp	guest_out

/* RSI: address of the device; a write and a read in turn */
	.globl	guest_mmio
guest_mmio:
	mov	%eax, (%rsi)
	mov	(%rsi), %eax
	jmp	guest_mmio

/* RDI: how many. A number that no hypervisor knows. */
	.globl	guest_vmcall
guest_vmcall:
	mov	$0x7fff, %eax
	vmcall
	dec	%rdi
	jnz	guest_vmcall
	jmp	done

	.globl	guest_vmmcall
guest_vmmcall:
	mov	$0x7fff, %eax
	vmmcall
	dec	%rdi
	jnz	guest_vmmcall
	jmp	done

.macro enable_apic
	mov	$MSR_APIC_BASE, %ecx
	rdmsr
	or	$APIC_BASE_X2APIC, %eax
	wrmsr
	mov	$MSR_X2APIC_SVR, %ecx
	mov	$(SVR_ENABLE | 0xff), %eax
	xor	%edx, %edx
	wrmsr
.endm

/*
 * RDI: how many. Arms the deadline timer, as a tickless kernel does before it idles; half an
 * hour ahead, so that it never fires.
 */
	.globl	guest_msr_write
guest_msr_write:
	enable_apic
	mov	$MSR_X2APIC_LVTT, %ecx
	mov	$LVTT_DEADLINE_MASKED, %eax
	xor	%edx, %edx
	wrmsr
	mov	$MSR_TSC_DEADLINE, %ecx
	rdtsc
	add	$0x400, %edx
1:	inc	%eax
	wrmsr
	dec	%rdi
	jnz	1b
	jmp	done

/* HLT until told to stop; each interrupt runs the handler below. */
	.globl	guest_halt
guest_halt:
	enable_apic
	lea	handler(%rip), %rax
	mov	$(GUEST_IDT + BENCH_VECTOR * 16), %rdi
	mov	%ax, (%rdi)
	movw	$SELECTOR_CODE, 2(%rdi)
	movw	$0x8e00, 4(%rdi)
	shr	$16, %rax
	mov	%ax, 6(%rdi)
	movq	$0, 8(%rdi)
	out	%al, $BENCH_PORT
	sti
1:	hlt
	cmpq	$0, GUEST_DATA + DATA_STOP
	je	1b
	cli
	jmp	done

handler:
	incq	GUEST_DATA + DATA_INTERRUPTS
	mov	$MSR_X2APIC_EOI, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	iretq

/* RDI: how many pages, RSI: address of the first */
	.globl	guest_touch
guest_touch:
	movb	$1, (%rsi)
	add	$4096, %rsi
	dec	%rdi
	jnz	guest_touch
	jmp	done

/* RDI: how many pages, and in bits 63:32 of how many each time one; RSI: address of the first */
	.globl	guest_stride
guest_stride:
	mov	%rdi, %rax
	shr	$32, %rax
	shl	$12, %rax
	mov	%edi, %edi
1:	movb	$1, (%rsi)
	add	%rax, %rsi
	dec	%rdi
	jnz	1b
	jmp	done

	.globl	guest_end
guest_end:

	.section .note.GNU-stack, "", @progbits
