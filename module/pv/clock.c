// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvclock: the VM's clock as a function of the guest's TSC.
 *
 * While the host keeps its own time by the TSC, that is good in all CPUs. One relation between it
 * and the host's boot time is taken then, and again after each suspend: a VM's clock is that line
 * plus vm->clock_offset, and every vCPU is told the same line in ticks of its own TSC. So the
 * clocks of all vCPUs agree to the nanosecond, and pv_clock_now() says what the guest reads.
 *
 * While the host does not, each publication takes a relation of its own, the guest is told not to
 * compare vCPUs, and is told anew on each CPU and every second.
 */
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/seqlock.h>
#include <linux/smp.h>
#include <asm/msr.h>
#include <asm/pvclock.h>
#include <asm/tsc.h>

#include "compat.h"
#include "hw.h"
#include "irq/irq.h"
#include "memory.h"
#include "pv/pv.h"
#include "vcpu.h"
#include "vm.h"

/* How often the host is looked at */
#define STABLE_INTERVAL		(8 * HZ)
#define DRIFT_INTERVAL		HZ

/* The line: at host TSC @tsc the host's boot time was @ns. */
struct clock_point {
	u64 tsc;
	u64 ns;
};

/**
 * struct host_clock - what is known of the host's time
 * @lock: for writing; reading goes by its sequence
 * @stable: the host keeps time by the TSC
 * @point: valid if @stable
 * @tsc_lost: ticks by which the TSC went back in all suspends
 * @tsc_at_suspend: where it was at the last one; the last CPU's own
 */
static struct host_clock {
	seqlock_t lock;
	bool stable;
	struct clock_point point;
	u64 tsc_lost;
	u64 tsc_at_suspend;
} host_clock = {
	.lock = __SEQLOCK_UNLOCKED(host_clock.lock),
};

u32 pv_clock_generation;

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

/* Both from one moment. @point is that of the line, if there is one. */
static bool read_line(struct clock_point *point, u64 *tsc_lost)
{
	unsigned int seq;
	bool stable;

	do {
		seq = read_seqbegin(&host_clock.lock);
		stable = host_clock.stable;
		*point = host_clock.point;
		*tsc_lost = host_clock.tsc_lost;
	} while (read_seqretry(&host_clock.lock, seq));
	return stable;
}

static bool line_or_now(struct clock_point *point)
{
	bool stable;
	u64 lost;

	stable = read_line(point, &lost);
	if (!stable)
		*point = now_point();
	return stable;
}

/* Does the host's clock source count as the TSC does? Then it is the TSC, and trusted. */
static bool host_uses_tsc(void)
{
	u64 before, cycles, after;

	preempt_disable();
	before = rdtsc_ordered();
	cycles = compat_clock_cycles();
	after = rdtsc_ordered();
	preempt_enable();
	return cycles >= before && cycles <= after;
}

static void begin_line(bool stable)
{
	host_clock.stable = stable;
	host_clock.point = now_point();
	WRITE_ONCE(pv_clock_generation, pv_clock_generation + 1);
}

static void look_at_host(void)
{
	bool stable = host_uses_tsc();

	if (stable == READ_ONCE(host_clock.stable))
		return;
	write_seqlock(&host_clock.lock);
	if (stable != host_clock.stable)
		begin_line(stable);
	write_sequnlock(&host_clock.lock);
}

void pv_clock_init(void)
{
	look_at_host();
}

void pv_clock_suspend(void)
{
	host_clock.tsc_at_suspend = rdtsc_ordered();
}

void pv_clock_resume(void)
{
	u64 tsc = rdtsc_ordered();

	write_seqlock(&host_clock.lock);
	if (tsc < host_clock.tsc_at_suspend)
		host_clock.tsc_lost += host_clock.tsc_at_suspend - tsc;
	begin_line(host_clock.stable);
	write_sequnlock(&host_clock.lock);
}

/* Its TSC offset is made from the host's TSC of now, or is that of the first vCPU. */
void pv_clock_start(struct vcpu *vcpu)
{
	struct pv_vcpu *pv = vcpu->pv;
	struct clock_point point;

	pv->clock_generation = READ_ONCE(pv_clock_generation);
	if (vcpu->index)
		pv->tsc_lost = READ_ONCE(vcpu->vm->vcpus[0]->pv->tsc_lost);
	else
		read_line(&point, &pv->tsc_lost);
}

void pv_clock_catch_up(struct vcpu *vcpu)
{
	struct pv_vcpu *pv = vcpu->pv;
	struct clock_point point;
	u64 lost;

	read_line(&point, &lost);
	if (likely(lost == pv->tsc_lost))
		return;
	msr_shift_tsc(vcpu, lost - pv->tsc_lost);
	pv->tsc_lost = lost;
}

/* The VM's clock at host TSC @tsc, from the line through @point */
static u64 clock_at(const struct vm *vm, const struct clock_point *point, u64 tsc)
{
	struct clock_scale scale = make_scale(vm->tsc_khz);
	u64 ns = point->ns + READ_ONCE(vm->clock_offset);

	/* Another CPU may be a few ticks behind where the line begins. */
	if (tsc > point->tsc)
		ns += pvclock_scale_delta(tsc - point->tsc, scale.mul, scale.shift);
	return ns;
}

u64 pv_clock_now(struct vm *vm)
{
	struct clock_point point;

	line_or_now(&point);
	return clock_at(vm, &point, rdtsc_ordered());
}

void pv_clock_set(struct vm *vm, u64 guest_ns)
{
	struct vcpu *vcpu;
	int i;

	WRITE_ONCE(vm->clock_offset, vm->clock_offset + guest_ns - pv_clock_now(vm));
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
	size_t skip = offsetof(struct pvclock_vcpu_time_info, tsc_timestamp);
	struct pvclock_vcpu_time_info info = { };
	struct pv_vcpu *pv = vcpu->pv;
	struct vm *vm = vcpu->vm;
	struct clock_point point;
	struct clock_scale scale;
	u32 version;

	if (!(pv->active & PV_CLOCK))
		return;
	pv->clock_cpu = raw_smp_processor_id();
	pv->clock_generation = READ_ONCE(pv_clock_generation);
	pv->clock_stable = line_or_now(&point);
	scale = make_scale(vm->tsc_khz);
	info.tsc_timestamp = point.tsc + vcpu->tsc_offset;
	info.system_time = point.ns + READ_ONCE(vm->clock_offset);
	info.tsc_to_system_mul = scale.mul;
	info.tsc_shift = scale.shift;
	info.flags = pv->clock_stable ? PVCLOCK_TSC_STABLE_BIT : 0;

	/* Memory that the guest took away is its own loss. */
	if (begin_write(vm, gpa, &version))
		return;
	memory_write(vm, gpa + skip, (u8 *)&info + skip, sizeof(info) - skip);
	end_write(vm, gpa, version);
}

/**
 * pv_clock_check - is what the guest was told still good?
 * @vcpu: outside the window, with pvclock
 *
 * Called when the clock's generation or the CPU is another one, or the time is up.
 */
void pv_clock_check(struct vcpu *vcpu)
{
	struct pv_vcpu *pv = vcpu->pv;
	bool due = time_after_eq(jiffies, pv->clock_due);

	if (due)
		look_at_host();
	pv_clock_catch_up(vcpu);
	if (pv->clock_generation != READ_ONCE(pv_clock_generation) || !pv->clock_stable)
		pv_clock_update(vcpu);
	pv->clock_generation = READ_ONCE(pv_clock_generation);
	pv->clock_cpu = raw_smp_processor_id();
	if (due)
		pv->clock_due = jiffies + (pv->clock_stable ? STABLE_INTERVAL : DRIFT_INTERVAL);
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
