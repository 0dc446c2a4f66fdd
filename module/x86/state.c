// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU's state as groups: read, checked, stored, reset.
 *
 * state_check_GROUP() refuses what the group cannot be by itself, and changes nothing; after it
 * state_set_GROUP() stores and cannot fail. What the groups must be together state_check() says,
 * once before the vCPU runs. Bits that are always one in a CPU may be left zero by the VMM; bits
 * that are always zero may not be set.
 *
 * Errors: EINVAL (reserved bits, impossible values or combinations), ERANGE (an address that is not
 * canonical or does not fit its register).
 */
#include <linux/kernel.h>
#include <linux/string.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/processor.h>
#include <asm/trapnr.h>

#include "compat.h"
#include "hw.h"
#include "irq/irq.h"
#include "vcpu.h"
#include "x86/x86.h"

#define RFLAGS_BITS	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF |	\
			 X86_EFLAGS_SF | X86_EFLAGS_TF | X86_EFLAGS_IF | X86_EFLAGS_DF |	\
			 X86_EFLAGS_OF | X86_EFLAGS_IOPL | X86_EFLAGS_NT | X86_EFLAGS_RF |	\
			 X86_EFLAGS_VM | X86_EFLAGS_AC | X86_EFLAGS_VIF | X86_EFLAGS_VIP |	\
			 X86_EFLAGS_ID | X86_EFLAGS_FIXED)

#define CR0_BITS	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET |	\
			 X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD |	\
			 X86_CR0_PG)
#define CR0_RESET	(X86_CR0_ET | X86_CR0_NW | X86_CR0_CD)

#define SEG_DPL_3	0x60
#define SEG_BITS	(SEG_TYPE | SEG_S | SEG_DPL_3 | SEG_P | SEG_AVL | SEG_L | SEG_DB | SEG_G)

/* Types of segments: SDM vol. 3 3.4.5.1 and 3.5 */
#define TYPE_ACCESSED	0x1
#define TYPE_WRITE	0x2		/* data */
#define TYPE_CONFORMING	0x4		/* code */
#define TYPE_CODE	0x8
#define TYPE_LDT	0x2
#define TYPE_TSS_16	0x1		/* available; busy: with bit 1 */
#define TYPE_TSS	0x9
#define TYPE_TSS_BUSY	0x2

#define PRESENT(type)	(SEG_P | SEG_S | (type))
/* What every segment register holds in virtual-8086 mode */
#define VIRTUAL_8086	(PRESENT(TYPE_WRITE | TYPE_ACCESSED) | SEG_DPL_3)

/* Exceptions that push an error code, and those that may: #CP, #VC, #SX */
#define PUSH_ERROR_CODE	(BIT(X86_TRAP_DF) | BIT(X86_TRAP_TS) | BIT(X86_TRAP_NP) |	\
			 BIT(X86_TRAP_SS) | BIT(X86_TRAP_GP) | BIT(X86_TRAP_PF) |	\
			 BIT(X86_TRAP_AC))
#define HAS_ERROR_CODE	(PUSH_ERROR_CODE | BIT(21) | BIT(29) | BIT(30))

/* ---- addresses ---- */

/* What the CPU can do decides, whatever the host's or the guest's paging uses of it. */
u8 state_register_bits(void)
{
	return boot_cpu_data.x86_virt_bits > 48 ? 57 : 48;
}

/* Bits of CR3 that a guest can set because the CPU has LAM, whatever its CPUID says: no exit */
u64 state_cr3_lam;

#define CPUID_LAM	BIT(26)		/* leaf 7.1 EAX */

/* The kernel may do without LAM, or not know it: the CPU is asked. */
void state_init(void)
{
	u32 eax, ebx, ecx, edx;

	if (boot_cpu_data.cpuid_level < 7)
		return;
	cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
	if (!eax)
		return;
	cpuid_count(7, 1, &eax, &ebx, &ecx, &edx);
	if (eax & CPUID_LAM)
		state_cr3_lam = CR3_LAM_U48 | CR3_LAM_U57;
}

static u8 linear_bits(const struct vcpu *vcpu)
{
	return vcpu->cr4 & X86_CR4_LA57 ? 57 : 48;
}

static bool in_64bit_mode(struct vcpu *vcpu)
{
	return hw_call(get_mode)(vcpu).code_size == 8;
}

u64 state_linear(struct vcpu *vcpu, int segment, u64 offset)
{
	struct cpu_segment seg;

	if (in_64bit_mode(vcpu)) {
		if (segment != CPU_FS && segment != CPU_GS)
			return offset;
		hw->get_segment(vcpu, segment, &seg);
		return seg.base + offset;
	}
	hw->get_segment(vcpu, segment, &seg);
	return (u32)(seg.base + offset);
}

int state_code_size(struct vcpu *vcpu)
{
	return hw_call(get_mode)(vcpu).code_size;
}

/* ---- general registers ---- */

u64 *state_gpr(struct vcpu *vcpu, int gpr)
{
	if (gpr == CPU_RSP)
		hw->get_rsp(vcpu);
	return &vcpu->regs.gpr[gpr];
}

int state_check_regs(struct vcpu *vcpu, const struct cpu_regs *regs)
{
	if (regs->rflags & ~(u64)RFLAGS_BITS)
		return -EINVAL;
	return cpu_rip_holds(regs->rip, state_register_bits()) ? 0 : -ERANGE;
}

void state_get_regs(struct vcpu *vcpu, struct cpu_regs *regs)
{
	hw->get_rsp(vcpu);
	*regs = vcpu->regs;
	/* Zeros on a CPU, but not on each that is emulated: what is given can be given back. */
	regs->rflags &= RFLAGS_BITS;
}

void state_set_regs(struct vcpu *vcpu, const struct cpu_regs *regs)
{
	hw->get_rsp(vcpu);
	vcpu->regs = *regs;
	vcpu->regs.rflags |= X86_EFLAGS_FIXED;
}

/* ---- segments ---- */

static bool valid_limit(const struct cpu_segment *seg)
{
	/* A descriptor has 20 bits, in bytes or in pages. */
	if (seg->limit <= 0xfffff && !(seg->attr & SEG_G))
		return true;
	return (seg->attr & SEG_G) && (seg->limit & 0xfff) == 0xfff;
}

/* TR is in use whatever its P bit says: Intel's CPUs look at its limit always (SDM 27.3.1.2). */
static bool limit_in_use(int index, const struct cpu_segment *seg)
{
	return index == CPU_TR || (seg->attr & SEG_P);
}

static int check_segment(int index, const struct cpu_segment *seg)
{
	bool table = index == CPU_GDTR || index == CPU_IDTR;

	if (seg->attr & ~SEG_BITS)
		return -EINVAL;
	if (table && (seg->attr || seg->selector || seg->limit > 0xffff))
		return -EINVAL;
	if (!table && limit_in_use(index, seg) && !valid_limit(seg))
		return -EINVAL;
	switch (index) {
	case CPU_ES:
	case CPU_CS:
	case CPU_SS:
	case CPU_DS:
		return seg->base > U32_MAX ? -ERANGE : 0;
	default:
		return cpu_canonical(seg->base, state_register_bits()) ? 0 : -ERANGE;
	}
}

int state_check_segments(struct vcpu *vcpu, const struct cpu_segments *segs)
{
	int i, ret;

	for (i = 0; i < CPU_NR_SEGMENTS; i++) {
		ret = check_segment(i, &segs->seg[i]);
		if (ret)
			return ret;
	}
	return 0;
}

static bool readable(const struct cpu_segment *seg)
{
	return (seg->attr & SEG_S) && (seg->attr & (TYPE_CODE | TYPE_WRITE)) != TYPE_CODE;
}

static bool writable(const struct cpu_segment *seg)
{
	return (seg->attr & SEG_S) && (seg->attr & (TYPE_CODE | TYPE_WRITE)) == TYPE_WRITE;
}

/**
 * state_mend_segments - make of segments what an entry takes
 * @vcpu: the vCPU, whose segments may be what its guest has made of them
 *
 * A load in real mode need change no more of a register than its selector and base, and makes it
 * usable. What an unusable register held besides is not defined (SDM vol. 3 27.3.2, 28.3.2): its
 * type and limit can be what no entry takes from a usable one (27.3.1.2), although the guest may
 * go on with it. It becomes what real mode takes it for, data that can be written.
 *
 * Return: whether there was something to mend.
 */
bool state_mend_segments(struct vcpu *vcpu)
{
	struct cpu_segment seg, mended;
	bool any = false;
	int i;

	if (vcpu->cr0 & X86_CR0_PE)
		return false;
	for (i = CPU_ES; i <= CPU_GS; i++) {
		if (i == CPU_CS)
			continue;
		hw->get_segment(vcpu, i, &seg);
		if (!(seg.attr & SEG_P))
			continue;
		mended = seg;
		if (!(seg.attr & TYPE_ACCESSED) || !(i == CPU_SS ? writable(&seg) : readable(&seg)))
			mended.attr = (seg.attr & ~SEG_TYPE) | PRESENT(TYPE_WRITE | TYPE_ACCESSED);
		if (!valid_limit(&seg)) {
			mended.attr |= SEG_G;
			mended.limit |= 0xfff;
		}
		if (mended.attr == seg.attr && mended.limit == seg.limit)
			continue;
		hw->set_segment(vcpu, i, &mended);
		any = true;
	}
	return any;
}

void state_get_segments(struct vcpu *vcpu, struct cpu_segments *segs)
{
	int i;

	state_mend_segments(vcpu);
	for (i = 0; i < CPU_NR_SEGMENTS; i++) {
		hw->get_segment(vcpu, i, &segs->seg[i]);
		/* As state_get_regs() */
		segs->seg[i].base = cpu_sign_extend(segs->seg[i].base, state_register_bits());
	}
}

void state_set_segments(struct vcpu *vcpu, const struct cpu_segments *segs)
{
	int i;

	for (i = 0; i < CPU_NR_SEGMENTS; i++)
		hw->set_segment(vcpu, i, &segs->seg[i]);
}

/* ---- control registers ---- */

/* What CR0, CR3, CR4 and EFER cannot be together. NULL, or what is wrong */
static const char *wrong_control(const struct vcpu *vcpu, const struct cpu_control *ctl)
{
	const struct cpu_features *f = &vcpu->features;
	bool paging = ctl->cr0 & X86_CR0_PG;
	bool lma = ctl->efer & EFER_LMA;

	if (ctl->cr0 & ~(u64)CR0_BITS)
		return "CR0 has reserved bits set";
	if (paging && !(ctl->cr0 & X86_CR0_PE))
		return "CR0.PG is set without CR0.PE";
	if ((ctl->cr0 & X86_CR0_NW) && !(ctl->cr0 & X86_CR0_CD))
		return "CR0.NW is set without CR0.CD";
	if (ctl->cr4 & ~f->cr4_allowed)
		return "CR4 has bits set that the vCPU's CPUID does not allow";
	if (ctl->efer & ~f->efer_allowed)
		return "EFER has bits set that the vCPU's CPUID does not allow";
	if (lma != (paging && (ctl->efer & EFER_LME)))
		return "EFER.LMA is not the same as EFER.LME and CR0.PG";
	if (lma && !(ctl->cr4 & X86_CR4_PAE))
		return "long mode is active without CR4.PAE";
	if (!lma && (ctl->cr4 & X86_CR4_PCIDE))
		return "CR4.PCIDE is set outside long mode";
	/*
	 * The CPU lets a guest load what it can itself, whatever the guest's CPUID says. LAM's bits
	 * stay when the guest leaves long mode.
	 */
	if ((ctl->cr3 & ~state_cr3_lam) >> max(f->gpa_bits, boot_cpu_data.x86_phys_bits))
		return "CR3 has bits set beyond the physical address width";
	return NULL;
}

int state_check_control(struct vcpu *vcpu, const struct cpu_control *ctl)
{
	if (wrong_control(vcpu, ctl) || ctl->cr8 > 15)
		return -EINVAL;
	return 0;
}

void state_get_control(struct vcpu *vcpu, struct cpu_control *ctl)
{
	*ctl = (struct cpu_control){
		.cr0 = vcpu->cr0,
		.cr2 = hw->get_cr2(vcpu),
		.cr3 = hw_call(get_cr3)(vcpu),
		.cr4 = vcpu->cr4,
		.cr8 = state_read_cr8(vcpu),
		.efer = vcpu->efer,
	};
}

void state_set_control(struct vcpu *vcpu, const struct cpu_control *ctl)
{
	vcpu->cr0 = ctl->cr0 | X86_CR0_ET;
	vcpu->cr4 = ctl->cr4;
	vcpu->efer = ctl->efer;
	hw->set_cr0(vcpu);
	hw->set_cr4(vcpu);
	hw->set_efer(vcpu);
	hw->set_cr2(vcpu, ctl->cr2);
	hw->set_cr3(vcpu, ctl->cr3);
	/* A LAPIC's TPR belongs to the LAPIC's group. */
	if (!vcpu->lapic)
		hw_call(set_cr8)(vcpu, ctl->cr8);
	vcpu->pdptes_stale = true;
	hw->flush_tlb(vcpu);
}

/* ---- debug registers ---- */

int state_check_debug(struct vcpu *vcpu, const struct cpu_debug *debug)
{
	return debug->dr6 > U32_MAX || debug->dr7 > U32_MAX ? -EINVAL : 0;
}

void state_get_debug(struct vcpu *vcpu, struct cpu_debug *debug)
{
	memcpy(debug->dr, vcpu->dr, sizeof(debug->dr));
	debug->dr6 = vcpu->dr6;
	debug->dr7 = vcpu->dr7;
}

void state_set_debug(struct vcpu *vcpu, const struct cpu_debug *debug)
{
	memcpy(vcpu->dr, debug->dr, sizeof(vcpu->dr));
	vcpu->dr6 = state_fix_dr6(debug->dr6);
	vcpu->dr7 = state_fix_dr7(debug->dr7);
	state_load_dr7(vcpu);
}

/* ---- events ---- */

bool state_valid_event(const struct cpu_event *event)
{
	bool soft = event->type == EVENT_SOFT_INT || event->type == EVENT_SOFT_EXC;

	/* What is left of an event that was has no meaning. */
	if (event->type == EVENT_NONE)
		return true;
	if (event->has_error > 1 || (event->has_error && event->type != EVENT_EXCEPTION))
		return false;
	if (soft ? event->insn_len < 1 || event->insn_len > 15 : event->insn_len)
		return false;
	if (event->error && (!event->has_error || event->error > U16_MAX))
		return false;

	switch (event->type) {
	case EVENT_INTERRUPT:
	case EVENT_SOFT_INT:
		return true;
	case EVENT_NMI:
		return event->vector == X86_TRAP_NMI;
	case EVENT_EXCEPTION:
		if (event->vector > 31 || event->vector == X86_TRAP_NMI)
			return false;
		if (event->vector == X86_TRAP_DB && event->payload & ~DR6_VALID_BITS)
			return false;
		return !event->has_error || BIT(event->vector) & HAS_ERROR_CODE;
	case EVENT_SOFT_EXC:
		return event->vector == X86_TRAP_DB || event->vector == X86_TRAP_BP ||
		       event->vector == X86_TRAP_OF;
	default:
		return false;
	}
}

int state_check_events(struct vcpu *vcpu, const struct cpu_events *events)
{
	u8 exception = events->exception.type;
	u8 interrupt = events->interrupt.type;

	if (!state_valid_event(&events->interrupted) || !state_valid_event(&events->exception) ||
	    !state_valid_event(&events->interrupt))
		return -EINVAL;
	if ((exception != EVENT_NONE && exception != EVENT_EXCEPTION) ||
	    (interrupt != EVENT_NONE && interrupt != EVENT_INTERRUPT))
		return -EINVAL;
	if (events->nmi_pending > 2 || events->nmi_blocked > 1 || events->init_pending > 1 ||
	    events->sipi_pending > 1 || events->flags & ~EVENTS_SHADOW)
		return -EINVAL;
	return events->shadow > SHADOW_MOV_SS || events->mp_state > MP_SHUTDOWN ? -EINVAL : 0;
}

static void clear_if_none(struct cpu_event *event)
{
	if (event->type == EVENT_NONE)
		memset(event, 0, sizeof(*event));
}

/* A request that is still on its way is part of the state: it becomes what it asks for. */
void state_get_events(struct vcpu *vcpu, struct cpu_events *events)
{
	if (vcpu_take_request(vcpu, VCPU_REQ_NMI))
		vcpu_take_nmis(vcpu);
	*events = vcpu->events;
	clear_if_none(&events->interrupted);
	clear_if_none(&events->exception);
	clear_if_none(&events->interrupt);
	if (vcpu->lapic)
		lapic_get_init_sipi(vcpu, events);
}

void state_set_events(struct vcpu *vcpu, const struct cpu_events *events)
{
	if (events->flags & EVENTS_SHADOW) {
		vcpu->events.shadow = events->shadow;
		hw->set_shadow(vcpu);
		return;
	}
	clear_bit(VCPU_REQ_NMI, &vcpu->requests);
	atomic_set(&vcpu->nmis, 0);
	vcpu->events = *events;
	hw->set_shadow(vcpu);
	hw->forget_traps(vcpu);
	if (vcpu->lapic)
		lapic_set_init_sipi(vcpu, events);
}

/* ---- the whole ---- */

#define SELECTOR_RPL	0x3
#define SELECTOR_TI	0x4

static const char *wrong_code_segment(struct vcpu *vcpu, const struct cpu_segment *cs, u8 cpl)
{
	u8 type = cs->attr & SEG_TYPE;

	if (!(cs->attr & SEG_P) || !(cs->attr & SEG_S))
		return "CS is not present, or not a code segment";
	if ((vcpu->efer & EFER_LMA) && (cs->attr & SEG_L) && (cs->attr & SEG_DB))
		return "CS.L and CS.D are both set in long mode";
	/* Real mode code may still run in the data segment that it had before. */
	if (!(type & TYPE_CODE))
		return type == (TYPE_WRITE | TYPE_ACCESSED) && !SEG_DPL(cs->attr) ?
		       NULL : "CS is not a code segment";
	if (type & TYPE_CONFORMING)
		return SEG_DPL(cs->attr) > cpl ? "CS.DPL is above CPL" : NULL;
	if (SEG_DPL(cs->attr) != cpl)
		return "CS.DPL is not the same as CPL (SS.DPL)";
	return (vcpu->cr0 & X86_CR0_PE) && (cs->selector & SELECTOR_RPL) != cpl ?
	       "the RPL of CS is not the same as CPL (SS.DPL)" : NULL;
}

static const char *wrong_stack_segment(struct vcpu *vcpu, const struct cpu_segment *ss)
{
	if (!(ss->attr & SEG_P))
		return vcpu->efer & EFER_LMA ? NULL : "SS is not present outside long mode";
	return writable(ss) ? NULL : "SS is not a writable data segment";
}

static const char *wrong_data_segments(struct vcpu *vcpu)
{
	static const u8 indices[] = { CPU_ES, CPU_DS, CPU_FS, CPU_GS };
	struct cpu_segment seg;
	int i;

	for (i = 0; i < ARRAY_SIZE(indices); i++) {
		hw->get_segment(vcpu, indices[i], &seg);
		if ((seg.attr & SEG_P) && !readable(&seg))
			return "ES, DS, FS or GS is not a segment that can be read";
	}
	return NULL;
}

static const char *wrong_local_table(const struct cpu_segment *ldtr)
{
	return (ldtr->attr & SEG_P) && (ldtr->attr & (SEG_S | SEG_TYPE)) != TYPE_LDT ?
	       "LDTR is not a local descriptor table" : NULL;
}

static const char *wrong_system_selectors(const struct cpu_segment *tr,
					  const struct cpu_segment *ldtr)
{
	if (tr->selector & SELECTOR_TI || ((ldtr->attr & SEG_P) && ldtr->selector & SELECTOR_TI))
		return "the selector in TR or LDTR refers to the local descriptor table";
	return NULL;
}

static const char *wrong_system_segments(struct vcpu *vcpu)
{
	struct cpu_segment tr, ldtr;
	u8 type;

	hw->get_segment(vcpu, CPU_TR, &tr);
	type = tr.attr & SEG_TYPE & ~TYPE_TSS_BUSY;
	if (!(tr.attr & SEG_P) || tr.attr & SEG_S ||
	    (type != TYPE_TSS && (type != TYPE_TSS_16 || vcpu->efer & EFER_LMA)))
		return "TR is not a task state segment that this mode allows";
	hw->get_segment(vcpu, CPU_LDTR, &ldtr);
	return wrong_local_table(&ldtr) ?: wrong_system_selectors(&tr, &ldtr);
}

static const char *wrong_virtual_8086(struct vcpu *vcpu)
{
	struct cpu_segment seg;
	int i;

	if (vcpu->efer & EFER_LMA)
		return "RFLAGS.VM is set in long mode";
	for (i = CPU_ES; i <= CPU_GS; i++) {
		hw->get_segment(vcpu, i, &seg);
		if (seg.base != (u64)seg.selector << 4 || seg.limit != 0xffff ||
		    seg.attr != VIRTUAL_8086)
			return "a segment is not what virtual-8086 mode makes of its selector";
	}
	return NULL;
}

/* Real mode keeps what the segments were, but TR may never have been loaded. */
static const char *wrong_real_mode(struct vcpu *vcpu, const struct cpu_segment *cs,
				   const struct cpu_segment *ss)
{
	struct cpu_segment tr, ldtr;

	if (vcpu->regs.rflags & X86_EFLAGS_VM)
		return "RFLAGS.VM is set in real mode";
	if (SEG_DPL(ss->attr))
		return "CPL (SS.DPL) is not 0 in real mode";
	if ((ss->attr & SEG_P) && wrong_stack_segment(vcpu, ss))
		return wrong_stack_segment(vcpu, ss);
	hw->get_segment(vcpu, CPU_TR, &tr);
	hw->get_segment(vcpu, CPU_LDTR, &ldtr);
	return wrong_local_table(&ldtr) ?: wrong_system_selectors(&tr, &ldtr) ?:
	       wrong_code_segment(vcpu, cs, 0);
}

static const char *wrong_segments(struct vcpu *vcpu)
{
	struct cpu_segment cs, ss;
	const char *wrong;

	hw->get_segment(vcpu, CPU_CS, &cs);
	hw->get_segment(vcpu, CPU_SS, &ss);
	if (vcpu->cr0 & X86_CR0_PE && vcpu->regs.rflags & X86_EFLAGS_VM)
		return wrong_virtual_8086(vcpu) ?: wrong_system_segments(vcpu);
	wrong = wrong_data_segments(vcpu);
	if (wrong)
		return wrong;
	if (!(vcpu->cr0 & X86_CR0_PE))
		return wrong_real_mode(vcpu, &cs, &ss);

	wrong = wrong_code_segment(vcpu, &cs, SEG_DPL(ss.attr));
	if (!wrong)
		wrong = wrong_stack_segment(vcpu, &ss);
	return wrong ?: wrong_system_segments(vcpu);
}

static const char *wrong_rip(struct vcpu *vcpu)
{
	u64 rip = vcpu->regs.rip;

	if (!in_64bit_mode(vcpu))
		return rip > U32_MAX ? "RIP is above 4 GiB outside 64-bit mode" : NULL;
	return cpu_rip_holds(rip, linear_bits(vcpu)) ? NULL : "RIP is not canonical";
}

/* SDM vol. 3 27.2.1.3: the exceptions that have an error code push it, but not in real mode. */
static const char *wrong_error_code(struct vcpu *vcpu, const struct cpu_event *event)
{
	if (event->type != EVENT_EXCEPTION)
		return NULL;
	if (!(vcpu->cr0 & X86_CR0_PE))
		return event->has_error ? "an exception has an error code in real mode" : NULL;
	return !event->has_error && BIT(event->vector) & PUSH_ERROR_CODE ?
	       "an exception has no error code that must have one" : NULL;
}

/* What is to be delivered must be deliverable. */
static const char *wrong_events(struct vcpu *vcpu)
{
	const struct cpu_events *events = &vcpu->events;
	const char *wrong;

	if (events->interrupted.type == EVENT_INTERRUPT && !(vcpu->regs.rflags & X86_EFLAGS_IF))
		return "an external interrupt is being delivered although RFLAGS.IF is clear";
	wrong = wrong_error_code(vcpu, &events->interrupted);
	return wrong ?: wrong_error_code(vcpu, &events->exception);
}

const char *state_check(struct vcpu *vcpu)
{
	struct cpu_control ctl;
	const char *wrong;

	state_get_control(vcpu, &ctl);
	wrong = wrong_control(vcpu, &ctl);
	if (!wrong)
		wrong = wrong_segments(vcpu);
	if (!wrong)
		wrong = wrong_rip(vcpu);
	if (!wrong)
		wrong = wrong_events(vcpu);
	if (!wrong && vcpu->pdptes_stale) {
		if (state_load_pdptes(vcpu))
			return "a page-directory-pointer entry is reserved or not in memory";
		vcpu->pdptes_stale = false;
	}
	return wrong;
}

/* ---- power-on and INIT: SDM vol. 3 table 10-1, APM vol. 2 table 14-1 ---- */

#define DATA_SEGMENT	{ .limit = 0xffff, .attr = PRESENT(TYPE_WRITE | TYPE_ACCESSED) }

static void reset_segments(struct vcpu *vcpu)
{
	static const struct cpu_segments values = {
		.seg = {
			[CPU_ES] = DATA_SEGMENT,
			[CPU_CS] = {
				.selector = 0xf000,
				.base = 0xffff0000,
				.limit = 0xffff,
				.attr = PRESENT(TYPE_CODE | TYPE_WRITE | TYPE_ACCESSED),
			},
			[CPU_SS] = DATA_SEGMENT,
			[CPU_DS] = DATA_SEGMENT,
			[CPU_FS] = DATA_SEGMENT,
			[CPU_GS] = DATA_SEGMENT,
			[CPU_LDTR] = { .limit = 0xffff, .attr = SEG_P | TYPE_LDT },
			[CPU_TR] = { .limit = 0xffff, .attr = SEG_P | TYPE_TSS | TYPE_TSS_BUSY },
			[CPU_GDTR] = { .limit = 0xffff },
			[CPU_IDTR] = { .limit = 0xffff },
		},
	};

	state_set_segments(vcpu, &values);
}

void state_reset(struct vcpu *vcpu, bool init)
{
	static const struct cpu_debug debug = { .dr6 = DR6_FIXED_BITS, .dr7 = DR7_FIXED_BITS };
	struct cpu_control ctl = { .cr0 = CR0_RESET };
	struct cpu_regs regs = {
		.gpr[CPU_RDX] = cpuid_signature(vcpu),
		.rip = 0xfff0,
		.rflags = X86_EFLAGS_FIXED,
	};

	/* INIT leaves the caches on or off. */
	if (init)
		ctl.cr0 = X86_CR0_ET | (vcpu->cr0 & (X86_CR0_NW | X86_CR0_CD));
	state_set_control(vcpu, &ctl);
	reset_segments(vcpu);
	state_set_regs(vcpu, &regs);
	state_set_debug(vcpu, &debug);
	/* There is no paging. */
	vcpu->pdptes_stale = false;
}
