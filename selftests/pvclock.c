// SPDX-License-Identifier: GPL-2.0-only
/*
 * The paravirtual clock, steal time and PV EOI, as a guest sees them.
 */
#include <pthread.h>
#include <time.h>

#include "insn.h"
#include "kselftest_harness.h"
#include "vmmtest.h"

#define GP			13

#define WALL_CLOCK_OLD		0x11
#define SYSTEM_TIME_OLD		0x12
#define WALL_CLOCK		0x4b564d00
#define SYSTEM_TIME		0x4b564d01
#define STEAL_TIME		0x4b564d03
#define EOI_EN			0x4b564d04

#define CLOCK_GPA		DATA_GPA
#define WALL_GPA		(DATA_GPA + 0x100)
#define STEAL_GPA		(DATA_GPA + 0x200)
#define EOI_GPA			(DATA_GPA + 0x300)

#define FLAG_STABLE		1

struct time_info {
	u32 version;
	u32 pad0;
	u64 tsc_timestamp;
	u64 system_time;
	u32 mul;
	__s8 shift;
	u8 flags;
	u8 pad[2];
};

struct wall_clock {
	u32 version;
	u32 sec;
	u32 nsec;
};

struct steal_time {
	u64 steal;
	u32 version;
	u32 flags;
	u8 preempted;
	u8 pad8[3];
	u32 pad[11];
};

FIXTURE(pvclock) {
	struct vm *vm;
	struct vcpu *vcpu;
	volatile struct time_info *info;
};

FIXTURE_SETUP(pvclock)
{
	self->vm = vm_create(16 * MIB, VMM_VM_LAPIC);
	self->vcpu = vcpu_create(self->vm, 0);
	vcpu_set_mode(self->vcpu, MODE_LONG);
	self->info = guest_ptr(self->vm, CLOCK_GPA, sizeof(*self->info));
}

FIXTURE_TEARDOWN(pvclock)
{
	vm_destroy(self->vm);
}

/* As a guest computes it */
static u64 clock_at(const volatile struct time_info *info, u64 tsc)
{
	u64 delta = tsc - info->tsc_timestamp;

	delta = info->shift < 0 ? delta >> -info->shift : delta << info->shift;
	return info->system_time + (u64)((unsigned __int128)delta * info->mul >> 32);
}

static u64 read_tsc(struct vcpu *vcpu)
{
	u64 *gpr = vcpu->state.regs.gpr;

	vcpu_get(vcpu, VMM_STATE_REGS);
	if (guest_exec(vcpu, "\x0f\x31", 2))
		fail("RDTSC");
	return (u32)gpr[VMM_RAX] | gpr[VMM_RDX] << 32;
}

static u64 guest_now(struct vcpu *vcpu, const volatile struct time_info *info)
{
	return clock_at(info, read_tsc(vcpu));
}

static u64 vm_clock(struct vm *vm)
{
	struct vmm_vm_state state = { .size = sizeof(state), .groups = VMM_VM_STATE_CLOCK };
	int ret = do_ioctl(vm->fd, VMM_GET_VM_STATE, &state);

	if (ret)
		fail("VMM_GET_VM_STATE: %s", strerror(-ret));
	return state.clock.guest_ns;
}

static void set_vm_clock(struct vm *vm, u64 ns)
{
	struct vmm_vm_state state = {
		.size = sizeof(state), .groups = VMM_VM_STATE_CLOCK, .clock.guest_ns = ns,
	};
	int ret = do_ioctl(vm->fd, VMM_SET_VM_STATE, &state);

	if (ret)
		fail("VMM_SET_VM_STATE: %s", strerror(-ret));
}

/* The guest's time lies between what the VMM reads before and after. */
static void check_clock(struct __test_metadata *_metadata, FIXTURE_DATA(pvclock) *self)
{
	u64 before, now, after;

	before = vm_clock(self->vm);
	now = guest_now(self->vcpu, self->info);
	after = vm_clock(self->vm);
	EXPECT_LE(before, now + 1);
	EXPECT_LE(now, after + 1);
}

TEST_F(pvclock, tells_the_vms_time)
{
	u64 first;

	ASSERT_EQ(0, guest_wrmsr(self->vcpu, SYSTEM_TIME, CLOCK_GPA | 1));
	first = guest_now(self->vcpu, self->info);
	EXPECT_EQ(0, self->info->version & 1);
	EXPECT_NE(0, self->info->version);
	EXPECT_GE(self->info->mul, 1U << 31);
	/* The VM is young. */
	EXPECT_LT(first, 60000000000ULL);
	check_clock(_metadata, self);
	usleep(20000);
	check_clock(_metadata, self);
	EXPECT_GE(guest_now(self->vcpu, self->info), first + 20000000);
	EXPECT_LT(guest_now(self->vcpu, self->info), first + 20000000000ULL);
}

TEST_F(pvclock, by_the_old_number)
{
	u64 data;

	ASSERT_EQ(0, guest_wrmsr(self->vcpu, SYSTEM_TIME_OLD, CLOCK_GPA | 1));
	read_tsc(self->vcpu);
	EXPECT_NE(0, self->info->version);
	EXPECT_EQ(0, guest_rdmsr(self->vcpu, SYSTEM_TIME, &data));
	EXPECT_EQ(CLOCK_GPA | 1, data);
	vcpu_get(self->vcpu, VMM_STATE_MSRS);
	EXPECT_EQ(CLOCK_GPA | 1, self->vcpu->state.msrs.pv_system_time);
	/* Off: nothing is written any more. */
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, SYSTEM_TIME_OLD, 0));
	self->info->version = 0;
	set_vm_clock(self->vm, 5);
	read_tsc(self->vcpu);
	EXPECT_EQ(0, self->info->version);
}

/* A new offset of the TSC does not change the time, a new time does not change the TSC. */
TEST_F(pvclock, tsc_and_clock_are_set)
{
	u64 before, tsc;
	u32 version;

	ASSERT_EQ(0, guest_wrmsr(self->vcpu, SYSTEM_TIME, CLOCK_GPA | 1));
	before = guest_now(self->vcpu, self->info);
	version = self->info->version;
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, 0x10, 1ULL << 45));
	EXPECT_GE(read_tsc(self->vcpu), 1ULL << 45);
	EXPECT_NE(version, self->info->version);
	check_clock(_metadata, self);
	EXPECT_GE(guest_now(self->vcpu, self->info), before);
	EXPECT_LT(guest_now(self->vcpu, self->info), before + 20000000000ULL);

	tsc = read_tsc(self->vcpu);
	set_vm_clock(self->vm, 1000000000000000ULL);
	EXPECT_GE(vm_clock(self->vm), 1000000000000000ULL);
	read_tsc(self->vcpu);
	check_clock(_metadata, self);
	EXPECT_GE(guest_now(self->vcpu, self->info), 1000000000000000ULL);
	EXPECT_LT(read_tsc(self->vcpu), tsc + (1ULL << 44));
}

/* Two vCPUs whose clocks are called stable agree. */
TEST_F(pvclock, vcpus_agree)
{
	struct vcpu *second = vcpu_create(self->vm, 1);
	volatile struct time_info *info2 = guest_ptr(self->vm, CLOCK_GPA + 0x80, sizeof(*info2));
	int i;

	second->state.events = (struct vmm_events) { .mp_state = VMM_MP_RUNNABLE };
	vcpu_set(second, VMM_STATE_EVENTS);
	vcpu_set_mode(second, MODE_LONG);
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, SYSTEM_TIME, CLOCK_GPA | 1));
	usleep(10000);
	ASSERT_EQ(0, guest_wrmsr(second, SYSTEM_TIME, (CLOCK_GPA + 0x80) | 1));
	/* Each with a TSC of its own */
	ASSERT_EQ(0, guest_wrmsr(second, 0x10, 1ULL << 40));
	read_tsc(self->vcpu);
	read_tsc(second);
	EXPECT_EQ(self->info->flags, info2->flags);
	if (!(self->info->flags & FLAG_STABLE))
		SKIP(return, "this host's TSC is not good enough");
	for (i = 0; i < 10; i++) {
		u64 a = guest_now(self->vcpu, self->info);
		u64 b = guest_now(second, info2);
		u64 c = guest_now(self->vcpu, self->info);

		EXPECT_LE(a, b);
		EXPECT_LE(b, c);
	}
}

TEST_F(pvclock, wall_clock)
{
	volatile struct wall_clock *wall = guest_ptr(self->vm, WALL_GPA, sizeof(*wall));
	struct timespec before, after;
	u64 start, low, high;

	clock_gettime(CLOCK_REALTIME, &before);
	low = vm_clock(self->vm);
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, WALL_CLOCK, WALL_GPA));
	high = vm_clock(self->vm);
	clock_gettime(CLOCK_REALTIME, &after);
	EXPECT_EQ(0, wall->version & 1);
	EXPECT_NE(0, wall->version);
	EXPECT_LT(wall->nsec, 1000000000);
	start = wall->sec * 1000000000ULL + wall->nsec;
	EXPECT_LE(before.tv_sec * 1000000000ULL + before.tv_nsec, start + high);
	EXPECT_GE(after.tv_sec * 1000000000ULL + after.tv_nsec, start + low);
	/* Again, the old way */
	wall->sec = 0;
	ASSERT_EQ(0, guest_wrmsr(self->vcpu, WALL_CLOCK_OLD, WALL_GPA));
	EXPECT_NE(0, wall->sec);
}

TEST_F(pvclock, refused)
{
	struct vmm_cpuid_entry *entries;
	u64 data;
	u32 count, i;

	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, SYSTEM_TIME, CLOCK_GPA | 2));
	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, STEAL_TIME, STEAL_GPA | 3));
	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, STEAL_TIME, (STEAL_GPA + 32) | 1));
	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, EOI_EN, EOI_GPA | 3));
	/* Where no memory is: the wall clock cannot be written, the others wait for it to come. */
	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, WALL_CLOCK, 0x80000000));
	EXPECT_EQ(0, guest_wrmsr(self->vcpu, SYSTEM_TIME, 0x80000000 | 1));
	EXPECT_EQ(0, guest_wrmsr(self->vcpu, STEAL_TIME, 0x80000000 | 1));
	read_tsc(self->vcpu);
	EXPECT_EQ(0, guest_wrmsr(self->vcpu, SYSTEM_TIME, 0));
	EXPECT_EQ(0, guest_wrmsr(self->vcpu, STEAL_TIME, 0));

	/* What the VMM does not offer is not there. */
	entries = get_supported_cpuid(self->vm->dev, &count);
	for (i = 0; i < count; i++)
		if (entries[i].function == 0x40000001)
			entries[i].eax = 0;
	ASSERT_EQ(0, vcpu_set_cpuid(self->vcpu, entries, count));
	for (i = WALL_CLOCK; i <= EOI_EN; i++) {
		EXPECT_EQ(GP, guest_rdmsr(self->vcpu, i, &data))
			TH_LOG("%#x", i);
	}
	EXPECT_EQ(GP, guest_rdmsr(self->vcpu, WALL_CLOCK_OLD, &data));
	EXPECT_EQ(GP, guest_wrmsr(self->vcpu, SYSTEM_TIME_OLD, CLOCK_GPA | 1));
}

/* ---- steal time ---- */

static void *spin(void *arg)
{
	volatile bool *stop = arg;

	pin_to_cpu(0);
	while (!*stop)
		;
	return NULL;
}

TEST_F(pvclock, steal_time)
{
	volatile struct steal_time *st = guest_ptr(self->vm, STEAL_GPA, sizeof(*st));
	u64 steal, until;
	bool stop = false;
	pthread_t thread;

	ASSERT_EQ(0, guest_wrmsr(self->vcpu, STEAL_TIME, STEAL_GPA | 1));
	read_tsc(self->vcpu);
	EXPECT_EQ(0, st->version & 1);
	steal = st->steal;
	EXPECT_LT(steal, 10000000000ULL);

	/* A second thread on this CPU takes its time. */
	ASSERT_EQ(0, pin_to_cpu(0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, spin, &stop));
	until = now_ns() + 20000000000ULL;
	while (st->steal == steal && now_ns() < until)
		read_tsc(self->vcpu);
	stop = true;
	pthread_join(thread, NULL);
	EXPECT_GT(st->steal, steal);
	EXPECT_EQ(0, st->version & 1);
	EXPECT_EQ(0, st->preempted);
}

/* ---- PV EOI ---- */

/*
 * x2APIC on, interrupts on, one interrupt to itself after the other. The
 * handler leaves to the VMM before its EOI, so that the module can tell it
 * whether it may skip it.
 */
asm(".set EOI_BYTE, 0x40300\n");
GUEST_CODE(sends_itself, 64,
	   "mov $0x1b, %ecx; mov $0xfee00d00, %eax; xor %edx, %edx; wrmsr\n"
	   "mov $0x80f, %ecx; mov $0x1ff, %eax; wrmsr\n"
	   "sti\n"
	   "1: mov $0x83f, %ecx; mov $0x60, %eax; xor %edx, %edx; wrmsr\n"
	   "nop\n"
	   "cmpl $3, %ebx\n"
	   "jne 1b\n"
	   "out %al, $PORT_DONE\n"
	   /* the handler */
	   ".balign 16\n"
	   "inc %ebx\n"
	   "mov %ebx, %eax; out %eax, $PORT_VALUE\n"
	   "btrl $0, EOI_BYTE\n"
	   "jc 2f\n"
	   "mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr\n"
	   "2: setc %al; movzbl %al, %eax; out %eax, $PORT_VALUE\n"
	   "iretq\n");

/* Its handler, of interrupt 0x60, begins at the only INC EBX. */
static void load_handler(FIXTURE_DATA(pvclock) *self, const u8 *from, size_t size)
{
	u8 *code, *end;
	u64 *gate;
	u64 handler;

	vcpu_load_code(self->vcpu, MODE_LONG, from, size);
	code = guest_ptr(self->vm, CODE_GPA, size);
	end = code + size;
	while (code < end && memcmp(code, "\xff\xc3\x89\xd8", 4))
		code += 16;
	handler = CODE_GPA + (code - (u8 *)guest_ptr(self->vm, CODE_GPA, 1));
	gate = guest_ptr(self->vm, IDT_GPA + 0x60 * 16, 16);
	gate[0] = (handler & 0xffff) | SEL_CODE64 << 16 | 0x8e00ULL << 32 |
		  (handler >> 16 & 0xffff) << 48;
	gate[1] = 0;
}

/* Where an EOI costs no exit there is nothing that skipping it would spare. */
TEST_F(pvclock, eoi_is_skipped)
{
	u32 skips = !(self->vm->info.caps & VMM_CAP_VIRTUAL_APIC);
	u32 i;

	load_handler(self, sends_itself, code_size(sends_itself));
	guest_u8(self->vm, EOI_GPA) = 0;
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, EOI_EN, EOI_GPA | 1));
	/* Each interrupt comes only if the one before it was ended. */
	for (i = 1; i <= 3; i++) {
		EXPECT_EQ(i, run_value(self->vcpu));
		EXPECT_EQ(skips, run_value(self->vcpu)) TH_LOG("interrupt %u", i);
		EXPECT_EQ(0, guest_u8(self->vm, EOI_GPA) & 1);
	}
	run_done(self->vcpu);
	/* Nothing is left in service. */
	vcpu_get(self->vcpu, VMM_STATE_LAPIC);
	for (i = 0; i < 8; i++)
		EXPECT_EQ(0, self->vcpu->state.lapic.regs[(0x100 + 16 * i) / 4]);
}

/*
 * One interrupt to itself. Its handler leaves to the VMM, skips its EOI if it may, and then writes
 * PV_EOI_EN, with no exit in between.
 */
GUEST_CODE(moves_eoi, 64,
	   "mov $0x1b, %ecx; mov $0xfee00d00, %eax; xor %edx, %edx; wrmsr\n"
	   "mov $0x80f, %ecx; mov $0x1ff, %eax; wrmsr\n"
	   "sti\n"
	   "mov $0x83f, %ecx; mov $0x60, %eax; xor %edx, %edx; wrmsr\n"
	   "nop\n"
	   "out %al, $PORT_DONE\n"
	   /* the handler */
	   ".balign 16\n"
	   "inc %ebx\n"
	   "mov %ebx, %eax; out %eax, $PORT_VALUE\n"
	   "mov $0x4b564d04, %ecx; mov %ebp, %eax; xor %edx, %edx\n"
	   "btrl $0, EOI_BYTE\n"
	   "jc 2f\n"
	   "mov $0x80b, %ecx; xor %eax, %eax; wrmsr\n"
	   "mov $0x4b564d04, %ecx; mov %ebp, %eax\n"
	   "2: wrmsr\n"
	   "iretq\n");

/* A skipped EOI counts where it was offered, whatever the guest does next. */
TEST_F(pvclock, eoi_is_settled_where_it_was)
{
	static const u64 next[] = { 0, (EOI_GPA + 0x40) | 1 };
	u32 i, j;
	u64 data;

	for (i = 0; i < ARRAY_SIZE(next); i++) {
		load_handler(self, moves_eoi, code_size(moves_eoi));
		guest_u8(self->vm, 0) = 0xff;
		guest_u8(self->vm, EOI_GPA) = 0;
		guest_u8(self->vm, EOI_GPA + 0x40) = 0xff;
		ASSERT_EQ(0, vcpu_set_msr(self->vcpu, EOI_EN, EOI_GPA | 1));
		vcpu_get(self->vcpu, VMM_STATE_REGS);
		self->vcpu->state.regs.gpr[VMM_RBP] = next[i];
		vcpu_set(self->vcpu, VMM_STATE_REGS);
		EXPECT_EQ(1, run_value(self->vcpu));
		run_done(self->vcpu);
		EXPECT_EQ(0, vcpu_get_msr(self->vcpu, EOI_EN, &data));
		EXPECT_EQ(next[i], data);
		EXPECT_EQ(0xff, guest_u8(self->vm, 0));
		EXPECT_EQ(0, guest_u8(self->vm, EOI_GPA));
		EXPECT_EQ(0xff, guest_u8(self->vm, EOI_GPA + 0x40));
		vcpu_get(self->vcpu, VMM_STATE_LAPIC);
		for (j = 0; j < 8; j++)
			EXPECT_EQ(0, self->vcpu->state.lapic.regs[(0x100 + 16 * j) / 4])
				TH_LOG("ISR %u", j);
	}
}

TEST_F(pvclock, eoi_is_not_skipped_unasked)
{
	u32 i;

	load_handler(self, sends_itself, code_size(sends_itself));
	guest_u8(self->vm, EOI_GPA) = 0;
	for (i = 1; i <= 3; i++) {
		EXPECT_EQ(i, run_value(self->vcpu));
		EXPECT_EQ(0, run_value(self->vcpu));
	}
	run_done(self->vcpu);
}

TEST_HARNESS_MAIN
