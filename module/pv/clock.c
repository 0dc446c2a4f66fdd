// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvclock: the VM's clock as a function of the guest's TSC.
 *
 * One relation between the host's TSC and its boot time is taken at load, and again after each
 * suspend. A VM's clock is that line plus vm->clock_offset, and every vCPU is told the same line in
 * ticks of its own TSC: so the clocks of all vCPUs agree to the nanosecond, and what pv_clock_now()
 * says is what the guest reads. Where the host's TSC is not the same in all CPUs, or stops, each
 * publication takes a relation of its own and the guest is told not to trust it across vCPUs.
 */
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/seqlock.h>
#include <linux/ktime.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/pvclock.h>
#include <asm/tsc.h>

#include "hw.h"
#include "irq/irq.h"
#include "memory.h"
#include "pv/pv.h"
#include "vcpu.h"
#include "vm.h"

/* The line: at host TSC @tsc the host's clock said @ns. */
struct clock_point {
	u64 tsc;
	u64 ns;
};

static struct {
	seqcount_t seq;			/* written with all other CPUs down, or before any VM */
	struct clock_point point;
	u64 tsc_lost;			/* ticks by which the TSC went back in all suspends */
	u64 tsc_at_suspend;
} host_clock = {
	.seq = SEQCNT_ZERO(host_clock.seq),
};

u32 pv_clock_generation;
static bool tsc_stable;

struct clock_scale {
	u32 mul;
	s8 shift;
};

/* ns = (ticks << shift) * mul >> 32, with mul in the upper half of its range */
static struct clock_scale make_scale(u64 khz)
{
	struct clock_scale scale = { };
	u64 ns = NSEC_PER_SEC;
	u64 hz = khz * 1000;

	while (ns >= hz) {
		hz <<= 1;
		scale.shift++;
	}
	while (ns < hz / 2) {
		ns <<= 1;
		scale.shift--;
	}
	scale.mul = mul_u64_u64_div_u64(ns, 1ull << 32, hz);
	return scale;
}

static struct clock_point now_point(void)
{
	struct clock_point point;
	unsigned long flags;

	local_irq_save(flags);
	point.ns = ktime_get_boottime_ns();
	point.tsc = rdtsc_ordered();
	local_irq_restore(flags);
	return point;
}

static struct clock_point line_point(void)
{
	struct clock_point point;
	unsigned int seq;

	if (!tsc_stable)
		return now_point();
	do {
		seq = read_seqcount_begin(&host_clock.seq);
		point = host_clock.point;
	} while (read_seqcount_retry(&host_clock.seq, seq));
	return point;
}

void pv_clock_init(void)
{
	tsc_stable = boot_cpu_has(X86_FEATURE_CONSTANT_TSC) &&
		     (boot_cpu_has(X86_FEATURE_NONSTOP_TSC) ||
		      boot_cpu_has(X86_FEATURE_TSC_RELIABLE));
	host_clock.point = now_point();
}

void pv_clock_suspend(void)
{
	host_clock.tsc_at_suspend = rdtsc_ordered();
}

void pv_clock_resume(void)
{
	struct clock_point point = now_point();

	write_seqcount_begin(&host_clock.seq);
	if (point.tsc < host_clock.tsc_at_suspend)
		host_clock.tsc_lost += host_clock.tsc_at_suspend - point.tsc;
	host_clock.point = point;
	write_seqcount_end(&host_clock.seq);
	WRITE_ONCE(pv_clock_generation, pv_clock_generation + 1);
}

bool pv_clock_stable(void)
{
	return tsc_stable;
}

static u64 read_tsc_lost(void)
{
	unsigned int seq;
	u64 lost;

	do {
		seq = read_seqcount_begin(&host_clock.seq);
		lost = host_clock.tsc_lost;
	} while (read_seqcount_retry(&host_clock.seq, seq));
	return lost;
}

/* Its TSC offset is made from the host's TSC of now, or is that of the first vCPU. */
void pv_clock_start(struct vcpu *vcpu)
{
	struct pv_vcpu *pv = vcpu->pv;

	if (vcpu->index) {
		const struct pv_vcpu *first = vcpu->vm->vcpus[0]->pv;

		pv->clock_generation = READ_ONCE(first->clock_generation);
		pv->tsc_lost = READ_ONCE(first->tsc_lost);
	} else {
		pv->clock_generation = READ_ONCE(pv_clock_generation);
		pv->tsc_lost = read_tsc_lost();
	}
}

void pv_clock_catch_up(struct vcpu *vcpu)
{
	struct pv_vcpu *pv = vcpu->pv;
	u64 lost;

	if (likely(pv->clock_generation == READ_ONCE(pv_clock_generation)))
		return;
	pv->clock_generation = READ_ONCE(pv_clock_generation);
	lost = read_tsc_lost() - pv->tsc_lost;
	pv->tsc_lost += lost;
	msr_shift_tsc(vcpu, lost);
}

/* The VM's clock at host TSC @tsc, from the line through @point */
static u64 clock_at(const struct vm *vm, const struct clock_point *point, u64 tsc)
{
	struct clock_scale scale = make_scale(vm->tsc_khz);
	u64 ns = point->ns + vm->clock_offset;

	/* Another CPU may be a few ticks behind where the line begins. */
	if (tsc > point->tsc)
		ns += pvclock_scale_delta(tsc - point->tsc, scale.mul, scale.shift);
	return ns;
}

u64 pv_clock_now(struct vm *vm)
{
	struct clock_point point = line_point();

	return clock_at(vm, &point, rdtsc_ordered());
}

void pv_clock_set(struct vm *vm, u64 guest_ns)
{
	struct vcpu *vcpu;
	int i;

	vm->clock_offset += guest_ns - pv_clock_now(vm);
	vm_for_each_vcpu(vm, vcpu, i)
		vcpu_request(vcpu, VCPU_REQ_CLOCK);
}

/* The versions that readers of @gpa know: even and constant around what they read, odd meanwhile */
static int begin_write(struct vm *vm, u64 gpa, u32 *version)
{
	int ret = memory_read(vm, gpa, version, sizeof(*version));

	if (ret)
		return ret;
	*version = (*version + 1) | 1;
	ret = memory_write(vm, gpa, version, sizeof(*version));
	/* Readers look at the version before and after the rest. */
	smp_wmb();
	return ret;
}

static int end_write(struct vm *vm, u64 gpa, u32 version)
{
	/* As in begin_write() */
	smp_wmb();
	version++;
	return memory_write(vm, gpa, &version, sizeof(version));
}

/**
 * pv_clock_update - tell a guest that asked for pvclock how its TSC tells the time
 * @vcpu: outside the window
 */
void pv_clock_update(struct vcpu *vcpu)
{
	u64 gpa = vcpu->msrs.pv_system_time & ~3ull;
	struct clock_point point = line_point();
	struct clock_scale scale = make_scale(vcpu->vm->tsc_khz);
	struct pvclock_vcpu_time_info info = {
		.tsc_timestamp = point.tsc + vcpu->tsc_offset,
		.system_time = point.ns + vcpu->vm->clock_offset,
		.tsc_to_system_mul = scale.mul,
		.tsc_shift = scale.shift,
		.flags = tsc_stable ? PVCLOCK_TSC_STABLE_BIT : 0,
	};
	size_t skip = offsetof(struct pvclock_vcpu_time_info, tsc_timestamp);
	struct vm *vm = vcpu->vm;
	u32 version;

	if (!(vcpu->pv->active & PV_CLOCK) || begin_write(vm, gpa, &version))
		return;
	memory_write(vm, gpa + skip, (u8 *)&info + skip, sizeof(info) - skip);
	end_write(vm, gpa, version);
}

/* Return: 0 or why the guest's memory could not be written */
int pv_clock_write_wall(struct vcpu *vcpu, u64 gpa)
{
	struct pvclock_wall_clock wall;
	struct vm *vm = vcpu->vm;
	u32 ns, version;
	u64 start;
	int ret;

	start = ktime_get_real_ns() - pv_clock_now(vm);
	wall.sec = div_u64_rem(start, NSEC_PER_SEC, &ns);
	wall.nsec = ns;

	ret = begin_write(vm, gpa, &version);
	if (!ret)
		ret = memory_write(vm, gpa + offsetof(struct pvclock_wall_clock, sec), &wall.sec,
				   sizeof(wall.sec) + sizeof(wall.nsec));
	return ret ?: end_write(vm, gpa, version);
}
