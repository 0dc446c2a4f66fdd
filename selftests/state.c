// SPDX-License-Identifier: GPL-2.0-only
/*
 * The registers of a CPU: by state groups there and back, by instructions
 * with every check of the manuals, and after a reset.
 */
/* also: intel-plain intel-debug */
#include <cpuid.h>

#include "insn.h"
#include "kselftest_harness.h"
#include "vmmtest.h"

#define UD		6
#define GP		13
#define PF		14

#define EFER		0xc0000080

FIXTURE(state) {
	struct vm *vm;
	struct vcpu *vcpu;
	int mark;
};

FIXTURE_SETUP(state)
{
	self->mark = host_log_mark();
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	vcpu_set_mode(self->vcpu, MODE_LONG);
}

FIXTURE_TEARDOWN(state)
{
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

/* ---- groups ---- */

/* A value for every register that can hold any, and what comes back */
TEST_F(state, groups_there_and_back)
{
	static struct vmm_state in;
	struct vmm_state *s = &self->vcpu->state;
	u64 groups = VMM_STATE_SYNC | VMM_STATE_MSRS | VMM_STATE_PENDING;
	u32 i;

	vcpu_get(self->vcpu, groups);
	for (i = 0; i < VMM_NR_GPRS; i++)
		s->regs.gpr[i] = 0x0101010101010101 * (i + 1);
	s->regs.rip = 0xffffffff81000000;
	s->regs.rflags = 0x3f7fd7;
	for (i = 0; i < VMM_NR_SEGMENTS; i++) {
		s->segments.seg[i].base = 0x1000 * (i + 1);
		s->segments.seg[i].limit = i < VMM_GDTR ? 0xfff + (i << 12) : 0xff + i;
		if (i < VMM_GDTR)
			s->segments.seg[i].selector = 8 * i;
	}
	s->segments.seg[VMM_FS].base = 0x00007fffffffe000;
	s->segments.seg[VMM_GS].base = 0xffff888000000000;
	/* A segment that cannot be used keeps the rest of its attributes. */
	s->segments.seg[VMM_ES].attr = 0;
	s->control.cr2 = 0xfedcba9876543210;
	s->control.cr3 = 0x12345000;
	s->control.cr8 = 9;
	for (i = 0; i < 4; i++)
		s->debug.dr[i] = 0x1111111111111111 * i;
	s->debug.dr6 = 0xffff4ff1;
	s->debug.dr7 = 0xd0402;
	s->events.nmi_pending = 2;
	s->events.nmi_blocked = 1;
	s->events.shadow = VMM_SHADOW_STI;
	s->events.exception = (struct vmm_event) {
		.type = VMM_EVENT_EXCEPTION, .vector = PF, .has_error = 1, .error = 6,
		.payload = 0x123456,
	};
	s->events.interrupt = (struct vmm_event) {
		.type = VMM_EVENT_INTERRUPT, .vector = 0x77,
	};
	s->events.interrupted = (struct vmm_event) {
		.type = VMM_EVENT_SOFT_INT, .vector = 0x80, .insn_len = 2,
	};
	s->msrs.star = 0x0023001000000000;
	s->msrs.lstar = 0xffffffff81800000;
	s->msrs.sfmask = 0x47700;
	s->msrs.kernel_gs_base = 0x7f0000000000;
	s->msrs.pat = 0x0007010600070106;
	s->msrs.tsc_offset = 0x123456789abcdef;
	s->msrs.tsc_adjust = 0x1000;
	s->msrs.tsc_aux = 5;
	s->msrs.mtrr_def_type = 0xc06;
	s->msrs.smi_count = 3;
	in = *s;
	vcpu_set(self->vcpu, groups);
	memset(s, 0x5a, sizeof(*s));
	vcpu_get(self->vcpu, groups);
	EXPECT_EQ(0, memcmp(&in.regs, &s->regs, sizeof(in.regs)));
	for (i = 0; i < VMM_NR_SEGMENTS; i++) {
		EXPECT_EQ(in.segments.seg[i].base, s->segments.seg[i].base) TH_LOG("%u", i);
		EXPECT_EQ(in.segments.seg[i].limit, s->segments.seg[i].limit) TH_LOG("%u", i);
		EXPECT_EQ(in.segments.seg[i].selector, s->segments.seg[i].selector)
			TH_LOG("%u", i);
		/* Granularity may be told either way where both fit. */
		EXPECT_EQ(in.segments.seg[i].attr & ~VMM_SEG_G,
			  s->segments.seg[i].attr & ~VMM_SEG_G) TH_LOG("%u", i);
	}
	EXPECT_EQ(0, memcmp(&in.control, &s->control, sizeof(in.control)));
	EXPECT_EQ(0, memcmp(&in.debug, &s->debug, sizeof(in.debug)));
	EXPECT_EQ(0, memcmp(&in.events, &s->events, sizeof(in.events)));
	EXPECT_EQ(0, memcmp(&in.pending, &s->pending, sizeof(in.pending)));
	EXPECT_EQ(0, memcmp(&in.msrs, &s->msrs, sizeof(in.msrs)));
	/* What was read can be written. */
	vcpu_set(self->vcpu, groups);
}

/* A group that is not named stays as it is. */
TEST_F(state, other_groups_stay)
{
	struct vmm_state *s = &self->vcpu->state;
	static struct vmm_state before;

	vcpu_get(self->vcpu, VMM_STATE_SYNC);
	before = *s;
	memset(&s->regs, 0, sizeof(s->regs));
	memset(&s->segments, 0xff, sizeof(s->segments));
	memset(&s->control, 0xff, sizeof(s->control));
	memset(&s->events, 0xff, sizeof(s->events));
	vcpu_set(self->vcpu, VMM_STATE_REGS);
	vcpu_get(self->vcpu, VMM_STATE_SYNC);
	EXPECT_EQ(0, s->regs.rip);
	EXPECT_EQ(FLAG_FIXED, s->regs.rflags);
	EXPECT_EQ(0, memcmp(&before.segments, &s->segments, sizeof(s->segments)));
	EXPECT_EQ(0, memcmp(&before.control, &s->control, sizeof(s->control)));
	EXPECT_EQ(0, memcmp(&before.events, &s->events, sizeof(s->events)));
}

/* An NMI that was sent is part of the events, however far it has come. */
TEST_F(state, nmis_on_their_way)
{
	struct vmm_events *e = &self->vcpu->state.events;

	ASSERT_EQ(0, vcpu_nmi(self->vcpu));
	vcpu_get(self->vcpu, VMM_STATE_EVENTS);
	EXPECT_EQ(1, e->nmi_pending);
	ASSERT_EQ(0, vcpu_nmi(self->vcpu));
	ASSERT_EQ(0, vcpu_nmi(self->vcpu));
	vcpu_get(self->vcpu, VMM_STATE_EVENTS);
	EXPECT_EQ(2, e->nmi_pending);
	e->nmi_pending = 0;
	vcpu_set(self->vcpu, VMM_STATE_EVENTS);
	vcpu_get(self->vcpu, VMM_STATE_EVENTS);
	EXPECT_EQ(0, e->nmi_pending);
	EXPECT_EQ(0, guest_exec(self->vcpu, "\x90", 1));
}

/* The flags that a CPU fixes need not be set. */
TEST_F(state, fixed_bits)
{
	struct vmm_state *s = &self->vcpu->state;

	vcpu_get(self->vcpu, VMM_STATE_SYNC);
	s->regs.rflags = 0;
	s->control.cr0 &= ~CR0_ET;
	s->debug.dr6 = 0;
	s->debug.dr7 = 0;
	vcpu_set(self->vcpu, VMM_STATE_SYNC);
	vcpu_get(self->vcpu, VMM_STATE_SYNC);
	EXPECT_EQ(FLAG_FIXED, s->regs.rflags);
	EXPECT_EQ(CR0_ET, s->control.cr0 & CR0_ET);
	EXPECT_EQ(0xffff0ff0, s->debug.dr6);
	EXPECT_EQ(0x400, s->debug.dr7);
}

/* The first MOV has the page there, so that nothing leaves before all of it is done. */
GUEST_CODE(exchange_behind_add, 32,
	   "mov %eax, DATA_GPA\n"
	   "push $2\n"
	   "popf\n"
	   "mov $0x28, %ebx\n"
	   "mov $DATA_GPA, %esi\n"
	   "add %ebx, %eax\n"
	   "cmpxchg8b (%esi)\n"
	   "out %al, $PORT_DONE\n");

/* QEMU's CMPXCHG8B leaves the operand of the ADD in RFLAGS, where it is no flag. */
TEST_F(state, flags_that_there_are)
{
	struct vmm_state *s = &self->vcpu->state;

	vcpu_load(self->vcpu, MODE_PROTECTED, exchange_behind_add);
	run_done(self->vcpu);
	vcpu_get(self->vcpu, VMM_STATE_REGS);
	EXPECT_EQ(FLAG_FIXED, s->regs.rflags & ~0x8d5ULL);
	EXPECT_EQ(0, vcpu_try_set(self->vcpu, VMM_STATE_REGS));
}

/* The shadow alone: NMIs and interrupts that wait are not what is set. */
TEST_F(state, shadow_alone)
{
	struct vmm_events *events = &self->vcpu->state.events;

	vcpu_get(self->vcpu, VMM_STATE_EVENTS);
	events->shadow = VMM_SHADOW_MOV_SS;
	events->interrupt = (struct vmm_event){ .type = VMM_EVENT_INTERRUPT, .vector = 0x40 };
	vcpu_set(self->vcpu, VMM_STATE_EVENTS);
	ASSERT_EQ(0, vcpu_nmi(self->vcpu));
	memset(events, 0, sizeof(*events));
	events->flags = VMM_EVENTS_SHADOW;
	events->mp_state = VMM_MP_HALTED;
	vcpu_set(self->vcpu, VMM_STATE_EVENTS);
	vcpu_get(self->vcpu, VMM_STATE_EVENTS);
	EXPECT_EQ(0, events->shadow);
	EXPECT_EQ(1, events->nmi_pending);
	EXPECT_EQ(0x40, events->interrupt.vector);
	EXPECT_EQ(VMM_MP_RUNNABLE, events->mp_state);
	EXPECT_EQ(0, events->flags);
}

/* The last instruction of the lower half leaves RIP at an address that there is not. */
GUEST_CODE(last_in_half, 64, "out %al, $PORT_VALUE\n");

TEST_F(state, rip_behind_the_lower_half)
{
	const u64 end = 1ULL << 47, last_page = 0x300000;
	struct vmm_state *s = &self->vcpu->state;
	size_t size = code_size(last_in_half);

	vcpu_load(self->vcpu, MODE_LONG, last_in_half);
	guest_map(self->vm, end - PAGE, last_page, PTE_P);
	memcpy(guest_ptr(self->vm, last_page + PAGE - size, size), last_in_half, size);
	s->regs.rip = end - size;
	vcpu_set(self->vcpu, VMM_STATE_REGS);
	run_value(self->vcpu);
	vcpu_get(self->vcpu, VMM_STATE_SYNC);
	EXPECT_EQ(end, s->regs.rip);
	ASSERT_EQ(0, vcpu_try_set(self->vcpu, VMM_STATE_SYNC));
	EXPECT_EQ(end, run_vector(self->vcpu, GP)->rip);

	s->regs.rip = 2 * end;
	EXPECT_EQ(-ERANGE, vcpu_try_set(self->vcpu, VMM_STATE_REGS));
}

/* ---- what the groups cannot be together ---- */

/* Each group can be stored; the run says what is wrong. */
static void refused_at_run(struct __test_metadata *_metadata, struct vcpu *vcpu, const char *what)
{
	struct vmm_exit *e = &vcpu->run->exit;

	EXPECT_EQ(0, vcpu_try_set(vcpu, VMM_STATE_SYNC)) TH_LOG("%s", what);
	ASSERT_EQ(0, vcpu_run(vcpu));
	EXPECT_EQ(VMM_EXIT_FAIL_ENTRY, e->reason) TH_LOG("%s: exit %s", what, exit_name(e->reason));
	if (e->reason == VMM_EXIT_FAIL_ENTRY)
		EXPECT_GT(strnlen(e->fail_entry.message, sizeof(e->fail_entry.message)), 10);
}

#define REFUSED_AT_RUN(mode, change) do {					\
	struct vmm_state *s = &self->vcpu->state;				\
										\
	vcpu_set_mode(self->vcpu, mode);					\
	s->events = (struct vmm_events) { };					\
	vcpu_set(self->vcpu, VMM_STATE_EVENTS);					\
	vcpu_get(self->vcpu, VMM_STATE_SYNC);					\
	change;									\
	refused_at_run(_metadata, self->vcpu, #change);				\
} while (0)

#define EXCEPTION(v, e) ((struct vmm_event) {					\
	.type = VMM_EVENT_EXCEPTION, .vector = v, .has_error = e })

TEST_F(state, refused_at_run)
{
	/* Real mode */
	REFUSED_AT_RUN(MODE_REAL, s->regs.rflags |= FLAG_VM);
	REFUSED_AT_RUN(MODE_REAL, s->segments.seg[VMM_SS].attr |= 0x60);
	REFUSED_AT_RUN(MODE_REAL, s->segments.seg[VMM_CS].attr = 0);
	REFUSED_AT_RUN(MODE_REAL, s->events.exception = EXCEPTION(GP, 1));
	REFUSED_AT_RUN(MODE_REAL, s->regs.rip = 0x100000000);
	/* Protected mode */
	REFUSED_AT_RUN(MODE_PROTECTED, s->segments.seg[VMM_CS].attr &= ~VMM_SEG_P);
	REFUSED_AT_RUN(MODE_PROTECTED, s->segments.seg[VMM_CS].attr &= ~VMM_SEG_S);
	REFUSED_AT_RUN(MODE_PROTECTED, s->segments.seg[VMM_CS].attr |= 0x60);
	REFUSED_AT_RUN(MODE_PROTECTED, s->segments.seg[VMM_SS].attr |= 8);
	REFUSED_AT_RUN(MODE_PROTECTED, s->segments.seg[VMM_SS].attr &= ~VMM_SEG_P);
	REFUSED_AT_RUN(MODE_PROTECTED, s->segments.seg[VMM_TR].attr = 0);
	REFUSED_AT_RUN(MODE_PROTECTED, s->segments.seg[VMM_TR].attr = VMM_SEG_P | 2);
	REFUSED_AT_RUN(MODE_PROTECTED, s->segments.seg[VMM_LDTR].attr = VMM_SEG_P | 9);
	REFUSED_AT_RUN(MODE_PROTECTED, s->events.exception = EXCEPTION(GP, 0));
	REFUSED_AT_RUN(MODE_PROTECTED, s->events.interrupted = EXCEPTION(PF, 0));
	/* Virtual-8086 mode: its segments are made of their selectors. */
	REFUSED_AT_RUN(MODE_PAGED, s->regs.rflags |= FLAG_VM);
	/* Long mode */
	REFUSED_AT_RUN(MODE_LONG, s->regs.rflags |= FLAG_VM);
	REFUSED_AT_RUN(MODE_LONG, s->segments.seg[VMM_CS].attr |= VMM_SEG_DB);
	REFUSED_AT_RUN(MODE_LONG, s->segments.seg[VMM_TR].attr = VMM_SEG_P | 3);
	REFUSED_AT_RUN(MODE_COMPAT, s->regs.rip = 0x100000000);
	if (self->vm->info.gva_bits == 57)
		REFUSED_AT_RUN(MODE_LONG, s->regs.rip = 0x0080000000000000);
}

/* ---- control registers by instructions ---- */

static u64 cr(struct vcpu *vcpu, int nr)
{
	u64 value;

	if (guest_read_cr(vcpu, nr, &value))
		fail("MOV from CR%d", nr);
	return value;
}

/* The group says the same as the instruction. */
static void same(struct __test_metadata *_metadata, struct vcpu *vcpu)
{
	u64 cr0 = cr(vcpu, 0), cr3 = cr(vcpu, 3), cr4 = cr(vcpu, 4);

	vcpu_get(vcpu, VMM_STATE_CONTROL);
	EXPECT_EQ(vcpu->state.control.cr0, cr0);
	EXPECT_EQ(vcpu->state.control.cr3, cr3);
	EXPECT_EQ(vcpu->state.control.cr4, cr4);
}

TEST_F(state, cr0)
{
	struct vcpu *vcpu = self->vcpu;
	u64 cr0 = cr(vcpu, 0);

	EXPECT_EQ(0, guest_write_cr(vcpu, 0, cr0 | CR0_TS | CR0_MP));
	EXPECT_EQ(cr0 | CR0_TS | CR0_MP, cr(vcpu, 0));
	same(_metadata, vcpu);
	EXPECT_EQ(0, guest_exec(vcpu, "\x0f\x06", 2));		/* clts */
	EXPECT_EQ(cr0 | CR0_MP, cr(vcpu, 0));
	/* Reserved bits below 32 are ignored, ET and WP are what they are. */
	EXPECT_EQ(0, guest_write_cr(vcpu, 0, (cr0 | 1 << 7 | 1 << 17) & ~CR0_ET));
	EXPECT_EQ(cr0, cr(vcpu, 0));
	/* Caches off, for the guest alone */
	EXPECT_EQ(0, guest_write_cr(vcpu, 0, cr0 | CR0_CD));
	EXPECT_EQ(cr0 | CR0_CD, cr(vcpu, 0));
	same(_metadata, vcpu);
	EXPECT_EQ(0, guest_write_cr(vcpu, 0, cr0 | CR0_CD | CR0_NW));
	EXPECT_EQ(cr0 | CR0_CD | CR0_NW, cr(vcpu, 0));
	EXPECT_EQ(0, guest_write_cr(vcpu, 0, cr0));

	EXPECT_EQ(GP, guest_write_cr(vcpu, 0, cr0 | 1ULL << 32));
	EXPECT_EQ(GP, guest_write_cr(vcpu, 0, cr0 | CR0_NW));
	EXPECT_EQ(GP, guest_write_cr(vcpu, 0, cr0 & ~CR0_PE));
	/* Paging cannot be left from 64-bit code. */
	EXPECT_EQ(GP, guest_write_cr(vcpu, 0, cr0 & ~CR0_PG));
	EXPECT_EQ(0, guest_trap(self->vm)->error);
	EXPECT_EQ(cr0, cr(vcpu, 0));
	same(_metadata, vcpu);
}

TEST_F(state, cr0_outside_long_mode)
{
	struct vcpu *vcpu = self->vcpu;
	u64 efer, cr0;

	vcpu_set_mode(vcpu, MODE_PROTECTED);
	cr0 = cr(vcpu, 0);
	EXPECT_EQ(GP, guest_write_cr(vcpu, 0, (cr0 | CR0_PG) & ~CR0_PE));
	EXPECT_EQ(GP, guest_write_cr(vcpu, 0, cr0 | CR0_NW));

	/* Long mode without PAE. QEMU's CPU does not come back from a guest with LME and no PAE. */
	if (host_is_qemu())
		return;
	EXPECT_EQ(0, guest_write_cr(vcpu, 4, cr(vcpu, 4) & ~CR4_PAE));
	EXPECT_EQ(0, guest_rdmsr(vcpu, EFER, &efer));
	EXPECT_EQ(0, guest_wrmsr(vcpu, EFER, efer | EFER_LME));
	EXPECT_EQ(GP, guest_write_cr(vcpu, 0, cr0 | CR0_PG));
	EXPECT_EQ(0, guest_rdmsr(vcpu, EFER, &efer));
	EXPECT_EQ(EFER_LME, efer & (EFER_LME | EFER_LMA));
	EXPECT_EQ(cr0, cr(vcpu, 0));
}

/* Long mode goes on and off with paging, in code that allows it. */
TEST_F(state, long_mode)
{
	struct vcpu *vcpu = self->vcpu;
	u64 efer, cr0;

	vcpu_set_mode(vcpu, MODE_COMPAT);
	cr0 = cr(vcpu, 0);
	ASSERT_EQ(0, guest_rdmsr(vcpu, EFER, &efer));
	EXPECT_EQ(EFER_LME | EFER_LMA, efer & (EFER_LME | EFER_LMA));
	/* LMA is not to be written, LME not while paging is on. */
	EXPECT_EQ(0, guest_wrmsr(vcpu, EFER, efer & ~EFER_LMA));
	EXPECT_EQ(GP, guest_wrmsr(vcpu, EFER, efer & ~EFER_LME));
	ASSERT_EQ(0, guest_rdmsr(vcpu, EFER, &efer));
	EXPECT_EQ(EFER_LME | EFER_LMA, efer & (EFER_LME | EFER_LMA));
	EXPECT_EQ(GP, guest_write_cr(vcpu, 4, cr(vcpu, 4) & ~CR4_PAE));

	/* The handlers are 64-bit code, which cannot leave long mode. */
	EXPECT_EQ(GP, guest_write_cr(vcpu, 0, cr0 & ~CR0_PG));
	vcpu_set_mode(vcpu, MODE_COMPAT);
	ASSERT_EQ(0, guest_write_cr(vcpu, 0, cr0 & ~CR0_PG));
	ASSERT_EQ(0, guest_rdmsr(vcpu, EFER, &efer));
	EXPECT_EQ(EFER_LME, efer & (EFER_LME | EFER_LMA));
	vcpu_get(vcpu, VMM_STATE_CONTROL);
	EXPECT_EQ(EFER_LME, vcpu->state.control.efer & (EFER_LME | EFER_LMA));
	ASSERT_EQ(0, guest_write_cr(vcpu, 0, cr0));
	ASSERT_EQ(0, guest_rdmsr(vcpu, EFER, &efer));
	EXPECT_EQ(EFER_LME | EFER_LMA, efer & (EFER_LME | EFER_LMA));
}

static bool host_has_lam(void)
{
	u32 eax, ebx, ecx, edx;

	return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & 1 << 26);
}

TEST_F(state, cr3)
{
	struct vcpu *vcpu = self->vcpu;
	u64 cr3 = cr(vcpu, 3);

	EXPECT_EQ(0, guest_write_cr(vcpu, 3, cr3 | 0x18));
	EXPECT_EQ(cr3 | 0x18, cr(vcpu, 3));
	same(_metadata, vcpu);
	/* Linear address masking is there without an exit, where the host's CPU has it. */
	if (host_has_lam()) {
		EXPECT_EQ(0, guest_write_cr(vcpu, 3, cr3 | 3ULL << 61));
		EXPECT_EQ(cr3 | 3ULL << 61, cr(vcpu, 3));
		same(_metadata, vcpu);
	} else {
		vcpu_get(vcpu, VMM_STATE_CONTROL);
		vcpu->state.control.cr3 |= 1ULL << 61;
		EXPECT_EQ(-EINVAL, vcpu_try_set(vcpu, VMM_STATE_CONTROL));
	}
	EXPECT_EQ(0, guest_write_cr(vcpu, 3, cr3));
}

TEST_F(state, cr4)
{
	struct vcpu *vcpu = self->vcpu;
	u64 cr4 = cr(vcpu, 4);
	u64 more = cr4 | CR4_TSD | CR4_DE | CR4_PSE | CR4_PGE | CR4_MCE;

	EXPECT_EQ(0, guest_write_cr(vcpu, 4, more));
	EXPECT_EQ(more, cr(vcpu, 4));
	same(_metadata, vcpu);
	EXPECT_EQ(0, guest_write_cr(vcpu, 4, cr4));
	EXPECT_EQ(GP, guest_write_cr(vcpu, 4, cr4 | 1 << 15));
	EXPECT_EQ(GP, guest_write_cr(vcpu, 4, cr4 | 1ULL << 32));
	EXPECT_EQ(GP, guest_write_cr(vcpu, 4, cr4 | CR4_VMXE));
	EXPECT_EQ(GP, guest_write_cr(vcpu, 4, cr4 | 1 << 23));		/* CET */
	EXPECT_EQ(GP, guest_write_cr(vcpu, 4, cr4 & ~CR4_PAE));
	EXPECT_EQ(GP, guest_write_cr(vcpu, 4, cr4 ^ CR4_LA57));
	EXPECT_EQ(cr4, cr(vcpu, 4));
	/* PCIDs exist in long mode alone. */
	vcpu_set_mode(vcpu, MODE_PROTECTED);
	EXPECT_EQ(GP, guest_write_cr(vcpu, 4, cr(vcpu, 4) | CR4_PCIDE));
}

TEST_F(state, cr8)
{
	struct vcpu *vcpu = self->vcpu;

	EXPECT_EQ(0, cr(vcpu, 8));
	EXPECT_EQ(0, guest_write_cr(vcpu, 8, 11));
	EXPECT_EQ(11, cr(vcpu, 8));
	vcpu_get(vcpu, VMM_STATE_CONTROL);
	EXPECT_EQ(11, vcpu->state.control.cr8);
	EXPECT_EQ(11, vcpu->run->exit.cr8);
	vcpu->state.control.cr8 = 3;
	vcpu_set(vcpu, VMM_STATE_CONTROL);
	EXPECT_EQ(3, cr(vcpu, 8));
	/* Where CR8 does not leave, the CPU has to check: QEMU's does not. */
	if (host_is_qemu())
		return;
	EXPECT_EQ(GP, guest_write_cr(vcpu, 8, 16));
	EXPECT_EQ(GP, guest_write_cr(vcpu, 8, 1ULL << 63));
	EXPECT_EQ(3, cr(vcpu, 8));
}

/* With a LAPIC in the kernel CR8 is its TPR. */
TEST(cr8_is_tpr)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	struct vcpu *vcpu = vcpu_create(vm, 0);

	vcpu_set_mode(vcpu, MODE_LONG);
	EXPECT_EQ(0, guest_write_cr(vcpu, 8, 5));
	vcpu_get(vcpu, VMM_STATE_LAPIC | VMM_STATE_CONTROL);
	EXPECT_EQ(0x50, vcpu->state.lapic.regs[0x80 / 4]);
	EXPECT_EQ(5, vcpu->state.control.cr8);
	vcpu->state.lapic.regs[0x80 / 4] = 0x90;
	vcpu_set(vcpu, VMM_STATE_LAPIC);
	EXPECT_EQ(9, cr(vcpu, 8));
	/* The control group shows it, and does not change it. */
	vcpu_get(vcpu, VMM_STATE_CONTROL);
	EXPECT_EQ(9, vcpu->state.control.cr8);
	vcpu->state.control.cr8 = 1;
	vcpu_set(vcpu, VMM_STATE_CONTROL);
	EXPECT_EQ(9, cr(vcpu, 8));
	vm_destroy(vm);
}

/* LMSW and SMSW, with a register and with memory */
TEST_F(state, machine_status_word)
{
	struct vcpu *vcpu = self->vcpu;
	u64 *gpr = vcpu->state.regs.gpr;
	u64 cr0;

	vcpu_set_mode(vcpu, MODE_PROTECTED);
	cr0 = cr(vcpu, 0);
	vcpu_get(vcpu, VMM_STATE_REGS);
	/* It sets TS and cannot clear PE. */
	gpr[VMM_RAX] = CR0_TS;
	ASSERT_EQ(0, guest_exec(vcpu, "\x0f\x01\xf0", 3));		/* lmsw %ax */
	EXPECT_EQ((cr0 & ~(CR0_MP | CR0_EM)) | CR0_TS, cr(vcpu, 0));
	guest_u32(self->vm, DATA_GPA) = cr0 & 0xffff;
	vcpu_get(vcpu, VMM_STATE_REGS);
	gpr[VMM_RAX] = DATA_GPA;
	ASSERT_EQ(0, guest_exec(vcpu, "\x0f\x01\x30", 3));		/* lmsw (%eax) */
	EXPECT_EQ(cr0, cr(vcpu, 0));

	/* Reads leave while the caches are off. */
	EXPECT_EQ(0, guest_write_cr(vcpu, 0, cr0 | CR0_CD));
	vcpu_get(vcpu, VMM_STATE_REGS);
	gpr[VMM_RBX] = ~0ULL;
	ASSERT_EQ(0, guest_exec(vcpu, "\x66\x0f\x01\xe3", 4));		/* smsw %bx */
	EXPECT_EQ(0xffff0000 | (cr0 & 0xffff), (u32)gpr[VMM_RBX]);
	ASSERT_EQ(0, guest_exec(vcpu, "\x0f\x01\xe3", 3));		/* smsw %ebx */
	EXPECT_EQ(cr0 | CR0_CD, (u32)gpr[VMM_RBX]);
	guest_u32(self->vm, DATA_GPA) = ~0U;
	gpr[VMM_RBX] = DATA_GPA;
	ASSERT_EQ(0, guest_exec(vcpu, "\x0f\x01\x23", 3));		/* smsw (%ebx) */
	EXPECT_EQ(0xffff0000 | (cr0 & 0xffff), guest_u32(self->vm, DATA_GPA));
}

/* With a device register as operand they are for the VMM's emulator, as others are. */
TEST_F(state, machine_status_word_in_device)
{
	static const struct {
		const char *insn;
		u8 access;
		u64 cr0;
	} insns[] = {
		{ "\x0f\x01\x30", VMM_ACCESS_READ, 0 },		/* lmsw (%eax) */
		{ "\x0f\x01\x20", VMM_ACCESS_WRITE, 0 },	/* smsw (%eax) */
		{ "\x0f\x01\x20", VMM_ACCESS_WRITE, CR0_CD },
	};
	struct vmm_exit *e = &self->vcpu->run->exit;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(insns); i++) {
		vcpu_set_mode(self->vcpu, MODE_PROTECTED);
		vcpu_get(self->vcpu, VMM_STATE_CONTROL);
		self->vcpu->state.control.cr0 |= insns[i].cr0;
		vcpu_set(self->vcpu, VMM_STATE_CONTROL);
		vcpu_get(self->vcpu, VMM_STATE_REGS);
		self->vcpu->state.regs.gpr[VMM_RAX] = MMIO_GPA + 8;
		ASSERT_EQ(-VMM_EXIT_EMULATE, guest_exec(self->vcpu, insns[i].insn, 3));
		EXPECT_EQ(MMIO_GPA + 8, e->emulate.gpa);
		EXPECT_EQ(CODE_GPA, e->emulate.gva);
		EXPECT_EQ(insns[i].access, e->emulate.access);
		EXPECT_EQ(4, e->emulate.mode);
		EXPECT_EQ(0, memcmp(e->emulate.bytes, insns[i].insn, 3));
		vcpu_get(self->vcpu, VMM_STATE_REGS);
		EXPECT_EQ(CODE_GPA, self->vcpu->state.regs.rip);
	}
}

TEST_F(state, not_for_user_mode)
{
	static const u8 insns[][4] = {
		{ 0x0f, 0x20, 0xc3 }, { 0x0f, 0x22, 0xc3 }, { 0x0f, 0x20, 0xdb },
		{ 0x0f, 0x22, 0xdb }, { 0x0f, 0x20, 0xe3 }, { 0x0f, 0x22, 0xe3 },
		{ 0x44, 0x0f, 0x20, 0xc3 }, { 0x44, 0x0f, 0x22, 0xc3 },
		{ 0x0f, 0x06 }, { 0x0f, 0x01, 0xf0 }, { 0x0f, 0x08 }, { 0x0f, 0x09 },
		{ 0x0f, 0x30 }, { 0x0f, 0x32 }, { 0xf4 },
	};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(insns); i++) {
		vcpu_set_mode(self->vcpu, MODE_LONG);
		vcpu_set_user(self->vcpu);
		EXPECT_EQ(GP, guest_exec(self->vcpu, insns[i], 4))
			TH_LOG("%02x %02x %02x", insns[i][0], insns[i][1], insns[i][2]);
		EXPECT_EQ(CODE_GPA, guest_trap(self->vm)->rip);
		EXPECT_EQ(SEL_USER_CODE64, guest_trap(self->vm)->cs);
	}
}

/* Control registers that no CPU has */
TEST_F(state, absent_control_registers)
{
	static const int absent[] = { 1, 5, 6, 7, 9, 15 };
	u64 value;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(absent); i++) {
		EXPECT_EQ(UD, guest_read_cr(self->vcpu, absent[i], &value)) TH_LOG("%d", absent[i]);
		EXPECT_EQ(UD, guest_write_cr(self->vcpu, absent[i], 0)) TH_LOG("%d", absent[i]);
	}
}

/* ---- reset ---- */

/* INIT brings the first CPU back to the reset vector, and leaves what it must. */
TEST(init)
{
	struct vm *vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	struct vmm_state *s = &vcpu->state;

	vcpu_set_mode(vcpu, MODE_LONG);
	ASSERT_EQ(0, guest_wrmsr(vcpu, 0x277, 0x0606060606060606));
	ASSERT_EQ(0, guest_wrmsr(vcpu, 0xc0000082, 0x12345000));
	ASSERT_EQ(0, guest_write_cr(vcpu, 2, 0x777));
	ASSERT_EQ(0, guest_write_dr(vcpu, 0, 0x1000));
	vcpu_get(vcpu, VMM_STATE_EVENTS);
	s->events.init_pending = 1;
	vcpu_set(vcpu, VMM_STATE_EVENTS);
	/* It is taken before the next instruction, which is none: no memory is there. */
	ASSERT_EQ(0, vcpu_run(vcpu));
	vcpu_get(vcpu, VMM_STATE_SYNC | VMM_STATE_MSRS);
	EXPECT_EQ(0xfff0, s->regs.rip);
	EXPECT_EQ(FLAG_FIXED, s->regs.rflags);
	EXPECT_EQ(0xffff0000, s->segments.seg[VMM_CS].base);
	EXPECT_EQ(0xf000, s->segments.seg[VMM_CS].selector);
	EXPECT_EQ(CR0_ET, s->control.cr0);
	EXPECT_EQ(0, s->control.cr2);
	EXPECT_EQ(0, s->control.cr3);
	EXPECT_EQ(0, s->control.cr4);
	EXPECT_EQ(0, s->control.efer);
	EXPECT_EQ(0, s->debug.dr[0]);
	EXPECT_EQ(0xffff0ff0, s->debug.dr6);
	EXPECT_EQ(0x400, s->debug.dr7);
	EXPECT_EQ(0, s->events.init_pending);
	EXPECT_EQ(0x0606060606060606, s->msrs.pat);
	EXPECT_EQ(0x12345000, s->msrs.lstar);
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
