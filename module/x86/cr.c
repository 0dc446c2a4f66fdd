// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control, debug and extended control registers as the instructions write them: every check of the
 * manuals, and what a new value changes besides itself.
 *
 * Control registers whose change alters how memory is translated flush the vCPU's translations
 * here, because with tagged TLBs an intercepted write does not: SDM vol. 3 4.10.4.1, APM vol. 2
 * 5.5.3.
 */
#include <linux/kernel.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "hw.h"
#include "irq/irq.h"
#include "memory.h"
#include "vcpu.h"
#include "vmm_abi.h"
#include "x86/x86.h"

#define CR0_BITS	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET |	\
			 X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD |	\
			 X86_CR0_PG)
/* What LMSW loads; it can set PE but not clear it */
#define CR0_LMSW_BITS	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS)

#define CR3_NO_FLUSH	BIT_ULL(63)
#define CR3_PCID_BITS	0xfffull

#define TSS_16_AVAILABLE	1
#define TSS_16_BUSY		3

/* ---- control registers ---- */

/*
 * What activates long mode: SDM vol. 3 10.8.5, APM vol. 2 14.6. Intel's processors also want a TSS
 * that is not a 16-bit one.
 */
static bool may_enter_long_mode(struct vcpu *vcpu)
{
	struct cpu_segment cs, tr;
	u8 type;

	if (!(vcpu->cr4 & X86_CR4_PAE))
		return false;
	hw->get_segment(vcpu, CPU_CS, &cs);
	if (cs.attr & SEG_L)
		return false;
	if (vcpu->features.amd)
		return true;
	hw->get_segment(vcpu, CPU_TR, &tr);
	type = tr.attr & SEG_TYPE;
	return type != TSS_16_AVAILABLE && type != TSS_16_BUSY;
}

/* Paging goes on or off: EFER.LMA follows. Return: 1 for #GP */
static int switch_paging(struct vcpu *vcpu, bool on)
{
	struct cpu_segment cs;

	if (on) {
		if (!(vcpu->efer & EFER_LME))
			return 0;
		if (!may_enter_long_mode(vcpu))
			return 1;
		vcpu->efer |= EFER_LMA;
		return 0;
	}

	if (vcpu->cr4 & X86_CR4_PCIDE)
		return 1;
	if (vcpu->efer & EFER_LMA) {
		hw->get_segment(vcpu, CPU_CS, &cs);
		if (cs.attr & SEG_L)
			return 1;
		vcpu->efer &= ~(u64)EFER_LMA;
	}
	return 0;
}

int state_write_cr0(struct vcpu *vcpu, u64 cr0)
{
	u64 old = vcpu->cr0;
	u64 old_efer = vcpu->efer;

	/* Reserved bits of the lower half are ignored, ET is hardwired. */
	if (cr0 > U32_MAX)
		return 1;
	cr0 = (cr0 & CR0_BITS) | X86_CR0_ET;
	if ((cr0 & X86_CR0_PG) && !(cr0 & X86_CR0_PE))
		return 1;
	if ((cr0 & X86_CR0_NW) && !(cr0 & X86_CR0_CD))
		return 1;

	if ((old ^ cr0) & X86_CR0_PG) {
		if (switch_paging(vcpu, cr0 & X86_CR0_PG))
			return 1;
		hw->flush_tlb(vcpu);
	}
	vcpu->cr0 = cr0;
	if (vcpu->efer != old_efer)
		hw->set_efer(vcpu);
	hw->set_cr0(vcpu);
	return 0;
}

int state_write_cr3(struct vcpu *vcpu, u64 cr3)
{
	bool flush = true;

	if (vcpu->efer & EFER_LMA) {
		if ((cr3 & CR3_NO_FLUSH) && (vcpu->cr4 & X86_CR4_PCIDE)) {
			cr3 &= ~CR3_NO_FLUSH;
			flush = false;
		}
		if (cr3 >> vcpu->features.gpa_bits)
			return 1;
	} else {
		cr3 = (u32)cr3;
	}
	hw->set_cr3(vcpu, cr3);
	if (flush)
		hw->flush_tlb(vcpu);
	return 0;
}

/* Do bits change on which translations depend? SMEP when it is set, PCIDE when it is cleared */
static bool cr4_changes_translation(u64 old, u64 new)
{
	u64 changed = old ^ new;

	return changed & (X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_LA57) ||
	       changed & new & X86_CR4_SMEP || changed & old & X86_CR4_PCIDE;
}

int state_write_cr4(struct vcpu *vcpu, u64 cr4)
{
	u64 old = vcpu->cr4;
	u64 changed = old ^ cr4;

	if (cr4 & ~vcpu->features.cr4_allowed)
		return 1;
	if (vcpu->efer & EFER_LMA) {
		if (!(cr4 & X86_CR4_PAE) || changed & X86_CR4_LA57)
			return 1;
	}
	if (changed & cr4 & X86_CR4_PCIDE) {
		if (!(vcpu->efer & EFER_LMA) || hw->get_cr3(vcpu) & CR3_PCID_BITS)
			return 1;
	}

	vcpu->cr4 = cr4;
	hw->set_cr4(vcpu);
	if (cr4_changes_translation(old, cr4))
		hw->flush_tlb(vcpu);
	return 0;
}

int state_write_cr8(struct vcpu *vcpu, u64 cr8)
{
	if (cr8 > 15)
		return 1;
	if (vcpu->lapic)
		lapic_set_cr8(vcpu, cr8);
	hw_call(set_cr8)(vcpu, cr8);
	return 0;
}

u64 state_read_cr8(struct vcpu *vcpu)
{
	return vcpu->lapic ? vcpu->cr8 : hw_call(get_cr8)(vcpu);
}

/* LMA is the CPU's to say: what the instruction has there is ignored. */
int state_write_efer(struct vcpu *vcpu, u64 efer)
{
	u64 changed = vcpu->efer ^ efer;

	if (efer & ~vcpu->features.efer_allowed)
		return 1;
	if ((vcpu->cr0 & X86_CR0_PG) && changed & EFER_LME)
		return 1;
	vcpu->efer = (efer & ~(u64)EFER_LMA) | (vcpu->efer & EFER_LMA);
	hw->set_efer(vcpu);
	if (changed & EFER_NX)
		hw->flush_tlb(vcpu);
	return 0;
}

int state_write_xcr0(struct vcpu *vcpu, u64 xcr0)
{
	if (xstate_check_xcr0(vcpu, xcr0, xstate_xss(vcpu)))
		return 1;
	xstate_set_xcr0(vcpu, xcr0);
	return 0;
}

/* ---- page-directory-pointer entries: SDM vol. 3 4.4.1 ---- */

#define PDPTE_RESERVED	(GENMASK_ULL(2, 1) | GENMASK_ULL(8, 5))
#define PDPTES_ADDRESS	GENMASK_ULL(31, 5)

static bool holds_pdptes(const struct vcpu *vcpu, u64 cr0, u64 cr4)
{
	return unlikely(hw_caps.loads_pdptes && (cr0 & X86_CR0_PG) && (cr4 & X86_CR4_PAE) &&
			!(vcpu->efer & EFER_LME));
}

static int read_pdptes(struct vcpu *vcpu, u64 cr3, u64 pdptes[4])
{
	u64 reserved = PDPTE_RESERVED | ~GENMASK_ULL(vcpu->features.gpa_bits - 1, 0);
	u64 gpa = cr3 & PDPTES_ADDRESS;
	size_t size = 4 * sizeof(*pdptes);
	int i;

	if (vcpu_in_window(vcpu)) {
		if (memory_peek(vcpu, gpa, pdptes, size))
			return -EAGAIN;
	} else if (memory_read(vcpu->vm, gpa, pdptes, size)) {
		return 1;
	}
	for (i = 0; i < 4; i++)
		if ((pdptes[i] & _PAGE_PRESENT) && (pdptes[i] & reserved))
			return 1;
	return 0;
}

int state_load_pdptes(struct vcpu *vcpu)
{
	u64 pdptes[4];
	int ret;

	if (!holds_pdptes(vcpu, vcpu->cr0, vcpu->cr4))
		return 0;
	ret = read_pdptes(vcpu, hw->get_cr3(vcpu), pdptes);
	if (!ret)
		hw->set_pdptes(vcpu, pdptes);
	return ret;
}

/* Does writing @value to a control register load them? */
static bool write_loads_pdptes(struct vcpu *vcpu, u8 nr, u64 value)
{
	switch (nr) {
	case 0:
		return holds_pdptes(vcpu, value, vcpu->cr4) &&
		       (vcpu->cr0 ^ value) & (X86_CR0_CD | X86_CR0_NW | X86_CR0_PG);
	case 3:
		return holds_pdptes(vcpu, vcpu->cr0, vcpu->cr4);
	default:
		return holds_pdptes(vcpu, vcpu->cr0, value) &&
		       (vcpu->cr4 ^ value) & (X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE |
					      X86_CR4_SMEP);
	}
}

/* CR0, CR3 or CR4. Return: 0, 1 for #GP, EAGAIN: outside the window please */
static int write_paging(struct vcpu *vcpu, u8 nr, u64 value)
{
	bool loads = write_loads_pdptes(vcpu, nr, value);
	u64 pdptes[4];
	int ret;

	if (loads) {
		ret = read_pdptes(vcpu, nr == 3 ? value : hw->get_cr3(vcpu), pdptes);
		if (ret)
			return ret;
	}
	if (nr == 0)
		ret = state_write_cr0(vcpu, value);
	else
		ret = nr == 3 ? state_write_cr3(vcpu, value) : state_write_cr4(vcpu, value);
	if (loads && !ret)
		hw->set_pdptes(vcpu, pdptes);
	return ret;
}

/* ---- the instructions ---- */

/* General registers of MOV CR and MOV DR: always 64 bits wide in 64-bit mode, else 32 */
static u64 read_gpr(struct vcpu *vcpu, u8 gpr)
{
	u64 value = *state_gpr(vcpu, gpr);

	return state_code_size(vcpu) == 8 ? value : (u32)value;
}

static void write_gpr(struct vcpu *vcpu, u8 gpr, u64 value)
{
	*state_gpr(vcpu, gpr) = state_code_size(vcpu) == 8 ? value : (u32)value;
}

static void finish(struct vcpu *vcpu)
{
	vcpu_finish_insn(vcpu, vcpu->exit.next_rip);
}

/* Return: 0, 1 for #GP, -1 for #UD, EAGAIN as above */
static int write_cr(struct vcpu *vcpu, u8 nr, u64 value)
{
	switch (nr) {
	case 0:
	case 3:
	case 4:
		return write_paging(vcpu, nr, value);
	case 2:
		hw->set_cr2(vcpu, value);
		return 0;
	case 8:
		return state_write_cr8(vcpu, value);
	default:
		return -1;
	}
}

static int read_cr(struct vcpu *vcpu, u8 nr, u64 *value)
{
	switch (nr) {
	case 0:
		*value = vcpu->cr0;
		return 0;
	case 2:
		*value = hw->get_cr2(vcpu);
		return 0;
	case 3:
		*value = hw->get_cr3(vcpu);
		return 0;
	case 4:
		*value = vcpu->cr4;
		return 0;
	case 8:
		*value = state_read_cr8(vcpu);
		return 0;
	default:
		return -1;
	}
}

static u64 lmsw(const struct vcpu *vcpu, u16 msw)
{
	u64 cr0 = vcpu->cr0 & ~(u64)(CR0_LMSW_BITS & ~X86_CR0_PE);

	return cr0 | (msw & CR0_LMSW_BITS);
}

/*
 * The instruction of vcpu->exit, complete with its end or its exception. CPL has been checked: such
 * faults come before the exit. VERDICT_OUTSIDE: nothing was done.
 */
enum exit_verdict state_exec_cr(struct vcpu *vcpu)
{
	u8 nr = vcpu->exit.cr.nr;
	u64 value;
	int ret;

	switch (vcpu->exit.cr.op) {
	case CR_OP_WRITE:
		ret = write_cr(vcpu, nr, read_gpr(vcpu, vcpu->exit.cr.gpr));
		break;
	case CR_OP_READ:
		ret = read_cr(vcpu, nr, &value);
		if (!ret)
			write_gpr(vcpu, vcpu->exit.cr.gpr, value);
		break;
	case CR_OP_CLTS:
		ret = state_write_cr0(vcpu, vcpu->cr0 & ~(u64)X86_CR0_TS);
		break;
	case CR_OP_LMSW:
		ret = state_write_cr0(vcpu, lmsw(vcpu, vcpu->exit.cr.msw));
		break;
	case CR_OP_SMSW:
		ret = 0;
		break;
	default:
		ret = -1;
		break;
	}

	if (ret == -EAGAIN)
		return VERDICT_OUTSIDE;
	if (ret < 0)
		vcpu_queue_ud(vcpu);
	else if (ret)
		vcpu_queue_gp(vcpu, 0);
	else
		finish(vcpu);
	return VERDICT_ENTER;
}

/* ---- debug registers ---- */

u64 state_fix_dr6(u64 dr6)
{
	return (dr6 & DR6_VALID_BITS) | DR6_FIXED_BITS;
}

u64 state_fix_dr7(u64 dr7)
{
	return (dr7 & DR7_VALID_BITS) | DR7_FIXED_BITS;
}

/* DR7 in force is the guest's, unless the VMM uses the breakpoints. */
void state_load_dr7(struct vcpu *vcpu)
{
	hw->set_dr7(vcpu, vcpu->exits_wanted & VMM_EXITS_HW_BREAK ? vcpu->debug_dr7 : vcpu->dr7);
}

static int write_dr(struct vcpu *vcpu, u8 nr, u64 value)
{
	if (nr < 4) {
		vcpu->dr[nr] = value;
		return 0;
	}
	if (value > U32_MAX)
		return 1;
	if (nr == 6) {
		vcpu->dr6 = state_fix_dr6(value);
	} else {
		vcpu->dr7 = state_fix_dr7(value);
		state_load_dr7(vcpu);
	}
	return 0;
}

static u64 read_dr(struct vcpu *vcpu, u8 nr)
{
	if (nr < 4)
		return vcpu->dr[nr];
	return nr == 6 ? vcpu->dr6 : vcpu->dr7;
}

/*
 * The order of the checks is that of SDM vol. 2 MOV (debug registers). They are all made here: the
 * exit comes before the CPU's own on Intel, and after some of them on AMD.
 */
void state_exec_dr(struct vcpu *vcpu)
{
	bool write = vcpu->exit.cr.op == CR_OP_WRITE;
	u8 gpr = vcpu->exit.cr.gpr;
	u8 nr = vcpu->exit.cr.nr;

	if (nr > 7 || ((nr == 4 || nr == 5) && (vcpu->cr4 & X86_CR4_DE))) {
		vcpu_queue_ud(vcpu);
		return;
	}
	if (hw->get_mode(vcpu).cpl) {
		vcpu_queue_gp(vcpu, 0);
		return;
	}
	if (vcpu->dr7 & DR7_GD) {
		vcpu_queue_exception(vcpu, X86_TRAP_DB, false, 0, DR6_BD);
		return;
	}
	if (nr == 4 || nr == 5)
		nr += 2;

	if (!write) {
		write_gpr(vcpu, gpr, read_dr(vcpu, nr));
	} else if (write_dr(vcpu, nr, read_gpr(vcpu, gpr))) {
		vcpu_queue_gp(vcpu, 0);
		return;
	}
	finish(vcpu);
}

/* XCR0 is the only one there is. Not all CPUs check CR4.OSXSAVE and CPL before the exit. */
void state_exec_xsetbv(struct vcpu *vcpu)
{
	const u64 *gpr = vcpu->regs.gpr;
	u64 value = (u32)gpr[CPU_RAX] | gpr[CPU_RDX] << 32;

	if (!(vcpu->cr4 & X86_CR4_OSXSAVE))
		vcpu_queue_ud(vcpu);
	else if (hw->get_mode(vcpu).cpl || (u32)gpr[CPU_RCX] || state_write_xcr0(vcpu, value))
		vcpu_queue_gp(vcpu, 0);
	else
		finish(vcpu);
}
