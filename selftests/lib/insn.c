// SPDX-License-Identifier: GPL-2.0-only
/*
 * One instruction at a time.
 */
#include <cpuid.h>

#include "insn.h"

/* So that user mode can say that it is through */
#define IOPL_3		(3 << 12)
#define OUT_DONE	"\xe6\xe0"	/* out %al, $PORT_DONE */

int guest_exec(struct vcpu *vcpu, const void *insn, size_t size)
{
	struct vmm_regs *regs = &vcpu->state.regs;
	u8 *code = guest_ptr(vcpu->vm, CODE_GPA, size + 2);
	u64 rsp = regs->gpr[VMM_RSP];
	struct vmm_exit *e = &vcpu->run->exit;
	int ret;

	memcpy(code, insn, size);
	memcpy(code + size, OUT_DONE, 2);
	regs->rip = vcpu->vm->mode == MODE_REAL ? 0 : CODE_GPA;
	regs->rflags |= IOPL_3;
	vcpu_set(vcpu, VMM_STATE_REGS);
	ret = vcpu_run(vcpu);
	if (ret)
		fail("VMM_RUN: %s", strerror(-ret));
	vcpu_get(vcpu, VMM_STATE_REGS);
	if (e->reason != VMM_EXIT_IO || e->io.in)
		return -(int)e->reason;
	if (e->io.port == PORT_DONE)
		return 0;
	if (e->io.port != PORT_TRAP)
		return -VMM_EXIT_IO;
	/* The handler is left where it stands. */
	regs->gpr[VMM_RSP] = rsp;
	regs->rflags = FLAG_FIXED;
	return guest_trap(vcpu->vm)->vector;
}

static u64 *fetch(struct vcpu *vcpu)
{
	vcpu_get(vcpu, VMM_STATE_REGS);
	return vcpu->state.regs.gpr;
}

static void put_pair(u64 *gpr, u32 index, u64 data)
{
	gpr[VMM_RAX] = (u32)data;
	gpr[VMM_RDX] = data >> 32;
	gpr[VMM_RCX] = index;
}

static u64 get_pair(const u64 *gpr)
{
	return (u32)gpr[VMM_RAX] | gpr[VMM_RDX] << 32;
}

int guest_rdmsr(struct vcpu *vcpu, u32 index, u64 *data)
{
	u64 *gpr = fetch(vcpu);
	int ret;

	put_pair(gpr, index, 0x5a5a5a5a5a5a5a5a);
	ret = guest_exec(vcpu, "\x0f\x32", 2);
	if (!ret)
		*data = get_pair(gpr);
	return ret;
}

int guest_wrmsr(struct vcpu *vcpu, u32 index, u64 data)
{
	put_pair(fetch(vcpu), index, data);
	return guest_exec(vcpu, "\x0f\x30", 2);
}

/* MOV between RBX and a control or debug register; with REX.R for the upper eight */
static int move(struct vcpu *vcpu, u8 opcode, int nr)
{
	u8 insn[4] = { 0x44, 0x0f, opcode, 0xc0 | (nr & 7) << 3 | VMM_RBX };

	return nr < 8 ? guest_exec(vcpu, insn + 1, 3) : guest_exec(vcpu, insn, 4);
}

static int read_by_rbx(struct vcpu *vcpu, u8 opcode, int nr, u64 *data)
{
	u64 *gpr = fetch(vcpu);
	int ret;

	ret = move(vcpu, opcode, nr);
	if (!ret)
		*data = gpr[VMM_RBX];
	return ret;
}

static int write_by_rbx(struct vcpu *vcpu, u8 opcode, int nr, u64 data)
{
	fetch(vcpu)[VMM_RBX] = data;
	return move(vcpu, opcode, nr);
}

int guest_read_cr(struct vcpu *vcpu, int nr, u64 *data)
{
	return read_by_rbx(vcpu, 0x20, nr, data);
}

int guest_write_cr(struct vcpu *vcpu, int nr, u64 data)
{
	return write_by_rbx(vcpu, 0x22, nr, data);
}

int guest_read_dr(struct vcpu *vcpu, int nr, u64 *data)
{
	return read_by_rbx(vcpu, 0x21, nr, data);
}

int guest_write_dr(struct vcpu *vcpu, int nr, u64 data)
{
	return write_by_rbx(vcpu, 0x23, nr, data);
}

int guest_xgetbv(struct vcpu *vcpu, u32 index, u64 *data)
{
	u64 *gpr = fetch(vcpu);
	int ret;

	put_pair(gpr, index, 0);
	ret = guest_exec(vcpu, "\x0f\x01\xd0", 3);
	if (!ret)
		*data = get_pair(gpr);
	return ret;
}

int guest_xsetbv(struct vcpu *vcpu, u32 index, u64 data)
{
	put_pair(fetch(vcpu), index, data);
	return guest_exec(vcpu, "\x0f\x01\xd1", 3);
}

struct cpuid_regs guest_cpuid(struct vcpu *vcpu, u32 function, u32 index)
{
	u64 *gpr = fetch(vcpu);
	int ret;

	gpr[VMM_RAX] = function;
	gpr[VMM_RCX] = index;
	/* The upper halves must not survive. */
	gpr[VMM_RBX] = ~0ULL;
	gpr[VMM_RDX] = ~0ULL;
	ret = guest_exec(vcpu, "\x0f\xa2", 2);
	if (ret)
		fail("CPUID: %d", ret);
	if ((gpr[VMM_RAX] | gpr[VMM_RBX] | gpr[VMM_RCX] | gpr[VMM_RDX]) >> 32)
		fail("CPUID left bits above 32");
	return (struct cpuid_regs) {
		.eax = gpr[VMM_RAX], .ebx = gpr[VMM_RBX],
		.ecx = gpr[VMM_RCX], .edx = gpr[VMM_RDX],
	};
}

bool host_is_qemu(void)
{
	u32 eax, name[3];

	__cpuid(0x40000000, eax, name[0], name[1], name[2]);
	return !memcmp(name, "TCGTCGTCGTCG", sizeof(name));
}
