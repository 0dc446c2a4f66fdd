/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One instruction at a time: the guest executes what a test asks for and says
 * what became of it.
 */
#ifndef INSN_H
#define INSN_H

#include "vmmtest.h"

/**
 * guest_exec - have the vCPU execute some bytes of code
 * @vcpu: in the mode that vcpu_set_mode() made; its registers are those in
 *        vcpu->state.regs, but for RIP
 * @insn: the code; it is followed by an OUT to PORT_DONE
 * @size: bytes of it
 *
 * vcpu->state.regs are what the code left. After an exception RSP is as it was
 * before; the rest of the vCPU is in the exception's handler, at CPL 0.
 * Return: 0, the vector of an exception, or the negative of an exit's reason if the code left
 * otherwise.
 */
int guest_exec(struct vcpu *vcpu, const void *insn, size_t size);

/* The state is fetched first, so that a test needs to know nothing of it. Return: as above. */
int guest_rdmsr(struct vcpu *vcpu, u32 index, u64 *data);
int guest_wrmsr(struct vcpu *vcpu, u32 index, u64 data);
int guest_read_cr(struct vcpu *vcpu, int nr, u64 *data);
int guest_write_cr(struct vcpu *vcpu, int nr, u64 data);
int guest_read_dr(struct vcpu *vcpu, int nr, u64 *data);
int guest_write_dr(struct vcpu *vcpu, int nr, u64 data);
int guest_xgetbv(struct vcpu *vcpu, u32 index, u64 *data);
int guest_xsetbv(struct vcpu *vcpu, u32 index, u64 data);

struct cpuid_regs {
	u32 eax, ebx, ecx, edx;
};

struct cpuid_regs guest_cpuid(struct vcpu *vcpu, u32 function, u32 index);

/* Is the host's CPU QEMU's? Some things cannot be seen there, and some would end the host. */
bool host_is_qemu(void);

#endif
