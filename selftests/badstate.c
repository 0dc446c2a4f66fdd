// SPDX-License-Identifier: GPL-2.0-only
/*
 * State that no CPU can have: each has its errno or its words, nothing
 * changes, and the host's log says nothing.
 */
/* also: intel-debug */
#include <pthread.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

FIXTURE(badstate) {
	struct vm *vm;
	struct vcpu *vcpu;
	int mark;
};

/* What the vCPU has before each bad state, and still has after it */
static struct vmm_state good;

#define GROUPS	(VMM_STATE_SYNC | VMM_STATE_MSRS | VMM_STATE_PENDING)

GUEST_CODE(counting, 64,
	   "1: inc %rax; out %al, $PORT_VALUE; jmp 1b\n");

FIXTURE_SETUP(badstate)
{
	self->mark = host_log_mark();
	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	vcpu_load(self->vcpu, MODE_LONG, counting);
	vcpu_get(self->vcpu, GROUPS);
	good = self->vcpu->state;
}

FIXTURE_TEARDOWN(badstate)
{
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

/* The state is refused with @error, and is still the good one. */
static void refused(struct __test_metadata *_metadata, struct vcpu *vcpu, u64 group, int error,
		    const char *what)
{
	struct vmm_state *state = &vcpu->state;

	/* Another group beside it, which is good, is not taken either. */
	state->regs.gpr[VMM_R15] = 0x1515;
	EXPECT_EQ(error, vcpu_try_set(vcpu, group | VMM_STATE_REGS)) TH_LOG("%s", what);
	vcpu_get(vcpu, GROUPS);
	EXPECT_EQ(0, memcmp(state, &good, sizeof(*state)))
		TH_LOG("%s: the state has changed", what);
	*state = good;
}

#define REFUSED(group, error, change) do {					\
	struct vmm_state *s = &self->vcpu->state;				\
										\
	change;									\
	refused(_metadata, self->vcpu, VMM_STATE_##group, error, #change);		\
} while (0)

/* The state is taken, but the vCPU does not run with it; with the good one it does. */
static void no_entry(struct __test_metadata *_metadata, struct vcpu *vcpu, const char *what)
{
	struct vmm_exit *e = &vcpu->run->exit;
	int i;

	EXPECT_EQ(0, vcpu_try_set(vcpu, VMM_STATE_SYNC)) TH_LOG("%s", what);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, vcpu_run(vcpu));
		EXPECT_EQ(VMM_EXIT_FAIL_ENTRY, e->reason) TH_LOG("%s: exit %s", what,
								 exit_name(e->reason));
		if (e->reason == VMM_EXIT_FAIL_ENTRY)
			EXPECT_GT(strnlen(e->fail_entry.message, sizeof(e->fail_entry.message)),
				  10);
	}
	vcpu->state = good;
	vcpu_set(vcpu, VMM_STATE_SYNC);
	EXPECT_EQ(1, run_value(vcpu)) TH_LOG("%s", what);
	vcpu->state = good;
	vcpu_set(vcpu, VMM_STATE_SYNC);
	vcpu->state = good;
}

#define NO_ENTRY(change) do {							\
	struct vmm_state *s = &self->vcpu->state;				\
										\
	change;									\
	no_entry(_metadata, self->vcpu, #change);					\
} while (0)

TEST_F(badstate, registers)
{
	REFUSED(REGS, -ERANGE, s->regs.rip = 0x0000900000000000);
	REFUSED(REGS, -ERANGE, s->regs.rip = 0xfe00000000000000);
	REFUSED(REGS, -EINVAL, s->regs.rflags |= 1 << 3);
	REFUSED(REGS, -EINVAL, s->regs.rflags |= 1 << 15);
	REFUSED(REGS, -EINVAL, s->regs.rflags |= 1 << 22);
	REFUSED(REGS, -EINVAL, s->regs.rflags |= 1ULL << 32);
}

TEST_F(badstate, control)
{
	REFUSED(CONTROL, -EINVAL, s->control.cr0 |= 1ULL << 32);
	REFUSED(CONTROL, -EINVAL, s->control.cr0 |= 1 << 7);
	REFUSED(CONTROL, -EINVAL, s->control.cr0 &= ~CR0_PE);
	REFUSED(CONTROL, -EINVAL, s->control.cr0 |= CR0_NW);
	/* Paging off, LMA still set; LMA without LME; LME with paging but without LMA */
	REFUSED(CONTROL, -EINVAL, s->control.cr0 &= ~CR0_PG);
	REFUSED(CONTROL, -EINVAL, s->control.efer &= ~EFER_LME);
	REFUSED(CONTROL, -EINVAL, s->control.efer &= ~EFER_LMA);
	REFUSED(CONTROL, -EINVAL, s->control.cr4 &= ~CR4_PAE);
	REFUSED(CONTROL, -EINVAL, s->control.cr3 |= 1ULL << 63);
	REFUSED(CONTROL, -EINVAL, s->control.cr3 |= 1ULL << 52);
	REFUSED(CONTROL, -EINVAL, s->control.cr4 |= 1ULL << 32);
	REFUSED(CONTROL, -EINVAL, s->control.cr4 |= 1 << 15);
	REFUSED(CONTROL, -EINVAL, s->control.cr4 |= CR4_VMXE);
	REFUSED(CONTROL, -EINVAL, s->control.cr8 = 16);
	REFUSED(CONTROL, -EINVAL, s->control.efer |= 1 << 1);
	REFUSED(CONTROL, -EINVAL, s->control.efer |= 1ULL << 40);
	REFUSED(CONTROL, -EINVAL, s->control.efer |= EFER_SVME);
	if (!(self->vm->info.caps & VMM_CAP_LA57))
		REFUSED(CONTROL, -EINVAL, s->control.cr4 |= CR4_LA57);
}

/* What this vCPU's CPUID does not have, its CR4 and EFER cannot have either. */
TEST_F(badstate, features_not_in_cpuid)
{
	struct vcpu *vcpu = self->vcpu;
	struct vmm_cpuid_entry *entries;
	struct vmm_cpuid_entry *leaf;
	u32 count;

	entries = get_supported_cpuid(self->vm->dev, &count);
	leaf = find_cpuid(entries, count, 7, 0);
	if (leaf)
		leaf->ebx &= ~(1 << 20 | 1 << 7 | 1);
	leaf = find_cpuid(entries, count, 1, 0);
	leaf->ecx &= ~(1 << 26 | 1 << 17);
	leaf->edx &= ~(1 << 13);
	leaf = find_cpuid(entries, count, 0x80000001, 0);
	leaf->edx &= ~(1 << 20);
	/* The state that it has needs none of these but NX. */
	vcpu->state.control.efer &= ~EFER_NXE;
	vcpu_set(vcpu, VMM_STATE_CONTROL);
	ASSERT_EQ(0, vcpu_set_cpuid(vcpu, entries, count));
	vcpu_get(vcpu, GROUPS);
	good = vcpu->state;
	REFUSED(CONTROL, -EINVAL, s->control.cr4 |= CR4_SMEP);
	REFUSED(CONTROL, -EINVAL, s->control.cr4 |= CR4_FSGSBASE);
	REFUSED(CONTROL, -EINVAL, s->control.cr4 |= CR4_OSXSAVE);
	REFUSED(CONTROL, -EINVAL, s->control.cr4 |= CR4_PCIDE);
	REFUSED(CONTROL, -EINVAL, s->control.cr4 |= CR4_PGE);
	REFUSED(CONTROL, -EINVAL, s->control.efer |= EFER_NXE);
	free(entries);
}

TEST_F(badstate, segments)
{
	REFUSED(SEGMENTS, -EINVAL, s->segments.seg[VMM_CS].attr |= 1 << 12);
	REFUSED(SEGMENTS, -EINVAL, s->segments.seg[VMM_DS].attr |= 1 << 15);
	REFUSED(SEGMENTS, -EINVAL, s->segments.seg[VMM_DS].limit = 0x12345678);
	REFUSED(SEGMENTS, -EINVAL, s->segments.seg[VMM_DS].attr &= ~VMM_SEG_G);
	/* TR is always in use. */
	REFUSED(SEGMENTS, -EINVAL, s->segments.seg[VMM_TR].attr = 0;
		s->segments.seg[VMM_TR].limit = 0x12345678);
	REFUSED(SEGMENTS, -EINVAL, s->segments.seg[VMM_TR].attr = VMM_SEG_G;
		s->segments.seg[VMM_TR].limit = 0x67);
	REFUSED(SEGMENTS, -EINVAL, s->segments.seg[VMM_GDTR].limit = 0x10000);
	REFUSED(SEGMENTS, -EINVAL, s->segments.seg[VMM_IDTR].selector = 8);
	REFUSED(SEGMENTS, -EINVAL, s->segments.seg[VMM_IDTR].attr = VMM_SEG_P);
	REFUSED(SEGMENTS, -ERANGE, s->segments.seg[VMM_GDTR].base = 0x0000900000000000);
	REFUSED(SEGMENTS, -ERANGE, s->segments.seg[VMM_FS].base = 0x1000000000000000);
	REFUSED(SEGMENTS, -ERANGE, s->segments.seg[VMM_TR].base = 0x0000800000000000);
	REFUSED(SEGMENTS, -ERANGE, s->segments.seg[VMM_SS].base = 0x100000000);
}

TEST_F(badstate, debug)
{
	REFUSED(DEBUG, -EINVAL, s->debug.dr7 |= 1ULL << 32);
	REFUSED(DEBUG, -EINVAL, s->debug.dr6 |= 1ULL << 32);
}

TEST_F(badstate, events)
{
	struct vmm_event pf = { .type = VMM_EVENT_EXCEPTION, .vector = 14, .has_error = 1 };

	REFUSED(EVENTS, -EINVAL, s->events.mp_state = 4);
	REFUSED(EVENTS, -EINVAL, s->events.shadow = 4);
	REFUSED(EVENTS, -EINVAL, s->events.nmi_pending = 3);
	REFUSED(EVENTS, -EINVAL, s->events.nmi_blocked = 2);
	REFUSED(EVENTS, -EINVAL, s->events.init_pending = 2);
	REFUSED(EVENTS, -EINVAL, s->events.sipi_pending = 2);
	REFUSED(EVENTS, -EINVAL, s->events.flags = 2);
	REFUSED(EVENTS, -EINVAL, s->events.exception.type = 6);
	REFUSED(EVENTS, -EINVAL, s->events.interrupted.type = 255);
	REFUSED(EVENTS, -EINVAL, s->events.exception = pf; s->events.exception.vector = 32);
	REFUSED(EVENTS, -EINVAL, s->events.exception = pf; s->events.exception.vector = 2);
	REFUSED(EVENTS, -EINVAL, s->events.exception = pf; s->events.exception.vector = 6);
	REFUSED(EVENTS, -EINVAL, s->events.exception = pf; s->events.exception.has_error = 2);
	REFUSED(EVENTS, -EINVAL, s->events.exception = pf; s->events.exception.insn_len = 1);
	REFUSED(EVENTS, -EINVAL, s->events.exception.type = VMM_EVENT_INTERRUPT);
	REFUSED(EVENTS, -EINVAL, s->events.interrupt = pf);
	REFUSED(EVENTS, -EINVAL, s->events.interrupted.type = VMM_EVENT_SOFT_INT);
	REFUSED(EVENTS, -EINVAL, s->events.interrupted.type = VMM_EVENT_SOFT_INT;
		s->events.interrupted.insn_len = 16);
	REFUSED(EVENTS, -EINVAL, s->events.interrupted.type = VMM_EVENT_NMI;
		s->events.interrupted.vector = 3);
}

TEST_F(badstate, pending)
{
	REFUSED(PENDING, -EINVAL, s->pending.kind = VMM_PENDING_ACCESS + 1);
	REFUSED(PENDING, -EINVAL, s->pending.kind = ~0);
	REFUSED(PENDING, -EINVAL, s->pending.step = 2);
	REFUSED(PENDING, -EINVAL, s->pending.fault = 2);
	REFUSED(PENDING, -EINVAL, s->pending.kind = VMM_PENDING_IO_IN; s->pending.size = 3);
	REFUSED(PENDING, -EINVAL, s->pending.kind = VMM_PENDING_IO_IN; s->pending.size = 8);
	REFUSED(PENDING, -EINVAL, s->pending.kind = VMM_PENDING_MMIO);
	REFUSED(PENDING, -EINVAL, s->pending.kind = VMM_PENDING_MMIO; s->pending.size = 4;
		memset(s->pending.mmio, 0xff, sizeof(s->pending.mmio)));
}

TEST_F(badstate, msrs)
{
	REFUSED(MSRS, -EINVAL, s->msrs.pat = 0x0606060606060602);
	REFUSED(MSRS, -ERANGE, s->msrs.lstar = 0x0000900000000000);
	REFUSED(MSRS, -ERANGE, s->msrs.kernel_gs_base = 0x1000000000000000);
	REFUSED(MSRS, -ERANGE, s->msrs.sysenter_eip = 0x0000800000000000);
	REFUSED(MSRS, -EINVAL, s->msrs.reserved[3] = 1);
	REFUSED(MSRS, -EINVAL, s->msrs.mtrr_def_type = ~0ULL);
	REFUSED(MSRS, -EINVAL, s->msrs.mtrr_fixed[0] = 0x0202020202020202);
}

TEST_F(badstate, xsave)
{
	struct vmm_state *state = &self->vcpu->state;
	u32 size = self->vm->info.xsave_size;
	u8 *area = calloc(1, size + PAGE);

	state->xsave = (struct vmm_xsave){ .area = (uintptr_t)area, .area_size = size };
	vcpu_get(self->vcpu, VMM_STATE_XSAVE);
	EXPECT_EQ(size, state->xsave.area_size);
	good = *state;
	/* What was got can be set. */
	EXPECT_EQ(0, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));

	state->xsave.area_size = size - 1;
	EXPECT_EQ(-ENOSPC, vcpu_try_get(self->vcpu, VMM_STATE_XSAVE));
	state->xsave = good.xsave;
	state->xsave.area = 0xffff888000001000;
	EXPECT_EQ(-EFAULT, vcpu_try_get(self->vcpu, VMM_STATE_XSAVE));
	EXPECT_EQ(-EFAULT, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));
	state->xsave = good.xsave;
	state->xsave.reserved = 1;
	EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));
	state->xsave = good.xsave;
	state->xsave.xcr0 = 0;
	EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));
	state->xsave.xcr0 = 1ULL << 62 | 1;
	EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));
	state->xsave = good.xsave;
	state->xsave.xss = 1ULL << 60;
	EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));
	state->xsave = good.xsave;
	state->xsave.area_size = 100;
	EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));
	state->xsave = good.xsave;
	/* MXCSR with reserved bits: FXRSTOR would fault on the host. */
	*(u32 *)(area + 24) |= 1U << 31;
	EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));
	*(u32 *)(area + 24) &= ~(1U << 31);
	if (self->vm->info.xcr0) {
		/* XSTATE_BV and XCOMP_BV, and the reserved rest of the header */
		*(u64 *)(area + 512) |= 1ULL << 62;
		EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));
		*(u64 *)(area + 512) &= ~(1ULL << 62);
		*(u64 *)(area + 520) = 1ULL << 63;
		EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));
		*(u64 *)(area + 520) = 0;
		area[540] = 1;
		EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));
		area[540] = 0;
	}
	EXPECT_EQ(0, vcpu_try_set(self->vcpu, VMM_STATE_XSAVE));
	EXPECT_EQ(1, run_value(self->vcpu));
	free(area);
}

/* Each group for itself may be; together they are no CPU. */
TEST_F(badstate, together)
{
	NO_ENTRY(s->segments.seg[VMM_CS].attr |= VMM_SEG_DB);
	NO_ENTRY(s->segments.seg[VMM_CS].attr &= ~VMM_SEG_P);
	NO_ENTRY(s->segments.seg[VMM_CS].attr &= ~VMM_SEG_S);
	NO_ENTRY(s->segments.seg[VMM_CS].attr |= 3 << VMM_SEG_DPL_SHIFT);
	NO_ENTRY(s->segments.seg[VMM_SS].attr = 0xc9b);
	NO_ENTRY(s->segments.seg[VMM_SS].attr = 0xc91);
	NO_ENTRY(s->segments.seg[VMM_TR].attr = 0x082);
	NO_ENTRY(s->segments.seg[VMM_TR].attr = 0x083);
	NO_ENTRY(s->segments.seg[VMM_TR].attr = 0);
	NO_ENTRY(s->segments.seg[VMM_LDTR].attr = 0x08b);
	NO_ENTRY(s->regs.rflags |= FLAG_VM);
	NO_ENTRY(s->regs.rip = 0x100000000; s->segments.seg[VMM_CS].attr = 0xc9b);
	NO_ENTRY(s->events.interrupted = ((struct vmm_event) {
		.type = VMM_EVENT_INTERRUPT, .vector = 0x20 }));
}

TEST_F(badstate, together_in_real_mode)
{
	struct vmm_state *s = &self->vcpu->state;

	vcpu_load_code(self->vcpu, MODE_REAL, "\x40\xe6\xe4\xeb\xfb", 5);	/* inc; out; jmp */
	vcpu_get(self->vcpu, GROUPS);
	good = *s;
	NO_ENTRY(s->regs.rip = 0x100000000);
	NO_ENTRY(s->events.exception = ((struct vmm_event) {
		.type = VMM_EVENT_EXCEPTION, .vector = 13, .has_error = 1 }));
}

/* What TR may hold in real mode without having been loaded */
TEST_F(badstate, task_register_in_real_mode)
{
	static const struct {
		u16 attr;
		u32 limit;
	} good_tr[] = { { 0, 0 }, { 0, 0xffff }, { VMM_SEG_G, ~0u }, { 0x8b, 0x67 } };
	static const struct {
		u16 attr;
		u32 limit;
	} bad_tr[] = { { 0, ~0u }, { VMM_SEG_G, 0 }, { 0, 0x100000 }, { VMM_SEG_G, 0xffffe } };
	struct vmm_segment *tr = &self->vcpu->state.segments.seg[VMM_TR];
	u32 i;

	vcpu_load_code(self->vcpu, MODE_REAL, "\x40\xe6\xe4\xeb\xfb", 5);	/* inc; out; jmp */
	vcpu_get(self->vcpu, VMM_STATE_SEGMENTS);
	for (i = 0; i < ARRAY_SIZE(good_tr); i++) {
		tr->attr = good_tr[i].attr;
		tr->limit = good_tr[i].limit;
		EXPECT_EQ(0, vcpu_try_set(self->vcpu, VMM_STATE_SEGMENTS)) TH_LOG("good %u", i);
		EXPECT_EQ(i + 1, run_value(self->vcpu));
	}
	for (i = 0; i < ARRAY_SIZE(bad_tr); i++) {
		tr->attr = bad_tr[i].attr;
		tr->limit = bad_tr[i].limit;
		EXPECT_EQ(-EINVAL, vcpu_try_set(self->vcpu, VMM_STATE_SEGMENTS))
			TH_LOG("bad %u", i);
		ASSERT_EQ(0, vcpu_run(self->vcpu));
		EXPECT_EQ(VMM_EXIT_IO, self->vcpu->run->exit.reason)
			TH_LOG("bad %u: exit %s", i, exit_name(self->vcpu->run->exit.reason));
	}
}

/* An exception with the error code of another mode, or without that of this one, by VMM_INJECT */
TEST_F(badstate, injected)
{
	static const struct {
		enum guest_mode mode;
		bool has_error;		/* what its #GP has not */
	} bad[] = { { MODE_LONG, false }, { MODE_PROTECTED, false }, { MODE_REAL, true } };
	struct vmm_exit *e = &self->vcpu->run->exit;
	struct vcpu *vcpu = self->vcpu;
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		/* out; jmp: the same in each mode */
		vcpu_load_code(vcpu, bad[i].mode, "\xe6\xe4\xeb\xfc", 4);
		run_value(vcpu);
		ASSERT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 13, bad[i].has_error, 0, 0));
		for (j = 0; j < 2; j++) {
			ASSERT_EQ(0, vcpu_run(vcpu));
			EXPECT_EQ(VMM_EXIT_FAIL_ENTRY, e->reason)
				TH_LOG("%s: exit %s", mode_names[bad[i].mode],
				       exit_name(e->reason));
			EXPECT_GT(strnlen(e->fail_entry.message, sizeof(e->fail_entry.message)),
				  10);
		}
		/* It still waits, and can be taken away. */
		vcpu_get(vcpu, VMM_STATE_EVENTS);
		EXPECT_EQ(VMM_EVENT_EXCEPTION, vcpu->state.events.exception.type);
		memset(&vcpu->state.events.exception, 0, sizeof(vcpu->state.events.exception));
		vcpu_set(vcpu, VMM_STATE_EVENTS);
		run_value(vcpu);
		ASSERT_EQ(0, vcpu_inject(vcpu, VMM_EVENT_EXCEPTION, 13, !bad[i].has_error, 0, 0));
		run_vector(vcpu, 13);
	}
}

/* By the run area it is the same: the errno, no change, no run. */
TEST_F(badstate, by_the_run_area)
{
	struct vmm_run *run = self->vcpu->run;

	run->sync_groups = VMM_STATE_SYNC;
	EXPECT_EQ(1, run_value(self->vcpu));
	run->control.cr0 |= 1ULL << 40;
	run->regs.gpr[VMM_RAX] = 77;
	run->dirty_groups = VMM_STATE_REGS | VMM_STATE_CONTROL;
	EXPECT_EQ(-EINVAL, vcpu_run_raw(self->vcpu));
	run->dirty_groups = VMM_STATE_REGS;
	run->regs.rip = 0x0000900000000000;
	EXPECT_EQ(-ERANGE, vcpu_run_raw(self->vcpu));
	run->dirty_groups = 0;
	EXPECT_EQ(2, run_value(self->vcpu));
}

static volatile bool stop;

static void *keep_kicking(void *arg)
{
	struct vcpu *vcpu = arg;

	while (!stop) {
		usleep(2000);
		do_ioctl(vcpu->fd, VMM_KICK, NULL);
	}
	return NULL;
}

/* Random state, many times: whatever the answer, the host is well, and so is the next guest. */
TEST_F(badstate, random)
{
	u64 from = offsetof(struct vmm_state, regs);
	u64 size = offsetof(struct vmm_state, pending) - from;
	struct vcpu *vcpu = self->vcpu;
	u8 *bytes = (u8 *)&vcpu->state;
	int round, i, taken = 0;
	u32 seed = 12345;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_kicking, vcpu));
	for (round = 0; round < 2000; round++) {
		vcpu->state = good;
		for (i = 0; i <= round % 4; i++) {
			seed = seed * 1664525 + 1013904223;
			bytes[from + (seed >> 8) % size] ^= 1 << (seed >> 29);
		}
		if (vcpu_try_set(vcpu, VMM_STATE_SYNC))
			continue;
		taken++;
		vcpu_run_raw(vcpu);
	}
	stop = true;
	pthread_join(thread, NULL);
	TH_LOG("%d of %d states taken", taken, round);
	EXPECT_GT(taken, 100);
	/* Some of them have written where this is. */
	vcpu_load(vcpu, MODE_LONG, counting);
	vcpu->state = good;
	vcpu_set(vcpu, VMM_STATE_SYNC | VMM_STATE_PENDING);
	vcpu_run(vcpu);		/* a kick may be left over */
	vcpu->state = good;
	vcpu_set(vcpu, VMM_STATE_SYNC | VMM_STATE_PENDING);
	EXPECT_EQ(1, run_value(vcpu));
}

TEST_HARNESS_MAIN
