/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an exit means: the part of exit.c that comes often.
 */
#ifndef VMM_VMX_EXIT_H
#define VMM_VMX_EXIT_H

#include <linux/bits.h>
#include <uapi/asm/vmx.h>

#include "vcpu.h"
#include "vmx/vmx.h"

/* Of port accesses (table 28-5) */
#define IO_SIZE(q)		(((q) & 7) + 1)
#define IO_IN			BIT(3)
#define IO_STRING		BIT(4)

static __always_inline void set_reason(struct vcpu *vcpu, enum exit_reason reason)
{
	vcpu->exit.reason = reason;
}

static __always_inline u64 read_qualification(struct vcpu *vcpu)
{
	vcpu->exit.hw_info1 = vmread(EXIT_QUALIFICATION);
	return vcpu->exit.hw_info1;
}

/* Exits by instructions, and by them alone, have their length (28.2.5). */
static __always_inline void read_length(struct vcpu *vcpu)
{
	vcpu->exit.next_rip = vcpu->regs.rip + vmread(VM_EXIT_INSTRUCTION_LEN);
}

static __always_inline void read_instruction(struct vcpu *vcpu, enum exit_reason reason)
{
	read_length(vcpu);
	set_reason(vcpu, reason);
}

static __always_inline void read_io(struct vcpu *vcpu)
{
	u64 qualification = read_qualification(vcpu);
	struct exit_io *io = &vcpu->exit.io;

	vcpu->exit.hw_info2 = 0;
	set_reason(vcpu, EXIT_IO);
	io->port = qualification >> 16;
	io->size = IO_SIZE(qualification);
	io->in = qualification & IO_IN;
	io->string = qualification & IO_STRING;
	/* Where a string lies is for the decoder to say. */
	if (likely(!io->string))
		read_length(vcpu);
	else
		vcpu->exit.next_rip = 0;
}

static __always_inline void read_msr(struct vcpu *vcpu, bool write)
{
	read_instruction(vcpu, EXIT_MSR);
	vcpu->exit.msr.index = vcpu->regs.gpr[CPU_RCX];
	vcpu->exit.msr.write = write;
	vcpu->exit.msr.unknown = false;
}

void vmx_read_other_exit(struct vcpu *vcpu, u32 reason);

/**
 * vmx_read_exit - fill vcpu->exit and what else an exit tells
 * @vcpu: in its window; RIP, also that of the exit, RFLAGS and the shadows have been read
 * @reason: the exit reason
 *
 * Reads no more of the VMCS than this kind of exit needs.
 */
static __always_inline void vmx_read_exit(struct vcpu *vcpu, u32 reason)
{
	/* No jump tables: what comes often is asked for first. */
	if (likely((u16)reason == EXIT_REASON_IO_INSTRUCTION))
		return read_io(vcpu);
	vcpu->exit.hw_info1 = 0;
	vcpu->exit.hw_info2 = 0;
	if ((u16)reason == EXIT_REASON_CPUID)
		return read_instruction(vcpu, EXIT_CPUID);
	if ((u16)reason == EXIT_REASON_MSR_WRITE)
		return read_msr(vcpu, true);
	vmx_read_other_exit(vcpu, reason);
}

#endif
