// SPDX-License-Identifier: GPL-2.0-only
/*
 * The KVM paravirtual interface: its CPUID leaves, MSRs and hypercalls, steal time and PV EOI. The
 * names and layouts are those of the kernel's uapi headers; what they mean is published in its
 * Documentation/virt/kvm/x86/ (cpuid.rst, msr.rst, hypercalls.rst).
 */
#include <linux/kernel.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <asm/kvm_para.h>
#include <uapi/linux/kvm_para.h>

#include "hw.h"
#include "irq/irq.h"
#include "memory.h"
#include "pv/pv.h"
#include "vcpu.h"
#include "vm.h"

#define FEATURE(name)	BIT(KVM_FEATURE_##name)
#define FEATURES	(FEATURE(CLOCKSOURCE) | FEATURE(NOP_IO_DELAY) | FEATURE(CLOCKSOURCE2) |	\
			 FEATURE(STEAL_TIME) | FEATURE(PV_EOI) | FEATURE(PV_SEND_IPI) |		\
			 FEATURE(CLOCKSOURCE_STABLE_BIT))

/* MSR values: an address, the lowest bit switches on */
#define MSR_ENABLE		1ull
#define SYSTEM_TIME_RESERVED	2ull
#define EOI_RESERVED		2ull
#define STEAL_RESERVED		0x3eull

int pv_create(struct vcpu *vcpu)
{
	vcpu->pv = kzalloc(sizeof(*vcpu->pv), GFP_KERNEL_ACCOUNT);
	if (!vcpu->pv)
		return -ENOMEM;
	pv_clock_start(vcpu);
	return 0;
}

void pv_destroy(struct vcpu *vcpu)
{
	kfree(vcpu->pv);
	vcpu->pv = NULL;
}

void pv_reset(struct vcpu *vcpu)
{
	vcpu->msrs.pv_wall_clock = 0;
	vcpu->msrs.pv_system_time = 0;
	vcpu->msrs.pv_eoi = 0;
	vcpu->msrs.pv_steal_time = 0;
	vcpu->msrs.pv_poll_control = 0;
	pv_msrs_changed(vcpu);
}

u32 pv_cpuid(struct cpuid_entry *entries, u32 max)
{
	const char *name = KVM_SIGNATURE;

	if (max < 2)
		return 0;
	entries[0] = (struct cpuid_entry){
		.function = KVM_CPUID_SIGNATURE,
		.eax = KVM_CPUID_FEATURES,
	};
	memcpy(&entries[0].ebx, name, 4);
	memcpy(&entries[0].ecx, name + 4, 4);
	memcpy(&entries[0].edx, name + 8, 4);
	entries[1] = (struct cpuid_entry){
		.function = KVM_CPUID_FEATURES,
		.eax = FEATURES,
	};
	return 2;
}

/* ---- MSRs ---- */

/* Where a register's value lies, and the feature that announces it; NULL: not one of ours */
static u64 *find_msr(struct cpu_msrs *msrs, u32 index, u32 *feature)
{
	switch (index) {
	case MSR_KVM_WALL_CLOCK:
		*feature = FEATURE(CLOCKSOURCE);
		return &msrs->pv_wall_clock;
	case MSR_KVM_WALL_CLOCK_NEW:
		*feature = FEATURE(CLOCKSOURCE2);
		return &msrs->pv_wall_clock;
	case MSR_KVM_SYSTEM_TIME:
		*feature = FEATURE(CLOCKSOURCE);
		return &msrs->pv_system_time;
	case MSR_KVM_SYSTEM_TIME_NEW:
		*feature = FEATURE(CLOCKSOURCE2);
		return &msrs->pv_system_time;
	case MSR_KVM_STEAL_TIME:
		*feature = FEATURE(STEAL_TIME);
		return &msrs->pv_steal_time;
	case MSR_KVM_PV_EOI_EN:
		*feature = FEATURE(PV_EOI);
		return &msrs->pv_eoi;
	default:
		return NULL;
	}
}

bool pv_valid_msrs(const struct cpu_msrs *msrs)
{
	return !(msrs->pv_system_time & SYSTEM_TIME_RESERVED) &&
	       !(msrs->pv_eoi & EOI_RESERVED) && !(msrs->pv_steal_time & STEAL_RESERVED) &&
	       !msrs->pv_poll_control;
}

void pv_msrs_changed(struct vcpu *vcpu)
{
	struct pv_vcpu *pv = vcpu->pv;

	pv->active = 0;
	if (vcpu->msrs.pv_system_time & MSR_ENABLE)
		pv->active |= PV_CLOCK;
	if (vcpu->msrs.pv_steal_time & MSR_ENABLE)
		pv->active |= PV_STEAL_TIME;
	if (vcpu->lapic && vcpu->msrs.pv_eoi & MSR_ENABLE)
		pv->active |= PV_EOI;
	/* Steal time counts from here. */
	pv->thread = NULL;
	vcpu_request(vcpu, VCPU_REQ_CLOCK);
}

enum msr_result pv_msr_read(struct vcpu *vcpu, u32 index, u64 *data, bool host)
{
	u32 feature;
	u64 *slot = find_msr(&vcpu->msrs, index, &feature);

	if (!slot || (!host && !(vcpu->features.pv & feature)))
		return MSR_UNKNOWN;
	*data = *slot;
	return MSR_OK;
}

enum msr_result pv_msr_write(struct vcpu *vcpu, u32 index, u64 data, bool host)
{
	struct cpu_msrs copy;
	u32 feature;
	u64 *slot;

	if (!find_msr(&vcpu->msrs, index, &feature) ||
	    (!host && !(vcpu->features.pv & feature)))
		return MSR_UNKNOWN;

	copy = vcpu->msrs;
	slot = find_msr(&copy, index, &feature);
	*slot = data;
	if (!pv_valid_msrs(&copy))
		return MSR_FAULT;

	/* What is armed is settled where it is. */
	if (slot == &copy.pv_eoi && vcpu->eoi_armed)
		return MSR_OUTSIDE;
	/* The write itself asks for the answer in memory; a VMM only says what was written. */
	if (slot == &copy.pv_wall_clock && !host) {
		if (vcpu_in_window(vcpu))
			return MSR_OUTSIDE;
		if (pv_clock_write_wall(vcpu, data))
			return MSR_FAULT;
	}
	*find_msr(&vcpu->msrs, index, &feature) = data;
	pv_msrs_changed(vcpu);
	return MSR_OK;
}

/* ---- hypercalls ---- */

/* Two words of the caller's width, the first id in them, an ICR; how many vCPUs took it */
static u64 send_ipi(struct vcpu *vcpu, const u64 args[4])
{
	u64 map[2] = { args[0], args[1] };
	int ret;

	if (!vcpu->lapic || !(vcpu->features.pv & FEATURE(PV_SEND_IPI)))
		return -KVM_ENOSYS;
	if (state_code_size(vcpu) != 8) {
		map[0] |= map[1] << 32;
		map[1] = 0;
	}
	ret = lapic_multicast(vcpu->vm, args[2], map, args[3]);
	return ret < 0 ? -KVM_EINVAL : ret;
}

u64 pv_hypercall(struct vcpu *vcpu, u64 nr, const u64 args[4])
{
	if (hw_call(get_mode)(vcpu).cpl)
		return -KVM_EPERM;
	switch (nr) {
	case KVM_HC_VAPIC_POLL_IRQ:
		/* An exit is all that it is for. */
		return 0;
	case KVM_HC_SEND_IPI:
		return send_ipi(vcpu, args);
	default:
		return -KVM_ENOSYS;
	}
}

/* ---- steal time: time that the thread wanted to run and did not ---- */

#ifdef CONFIG_SCHED_INFO
static u64 thread_run_delay(void)
{
	return current->sched_info.run_delay;
}
#else
static u64 thread_run_delay(void)
{
	return 0;
}
#endif

/* The version is odd while the rest changes. Memory that the guest took away is its own loss. */
static void add_steal_time(struct vcpu *vcpu, u64 ns)
{
	u64 gpa = vcpu->msrs.pv_steal_time & ~(STEAL_RESERVED | MSR_ENABLE);
	u64 version_gpa = gpa + offsetof(struct kvm_steal_time, version);
	struct kvm_steal_time st;
	struct vm *vm = vcpu->vm;

	if (memory_read(vm, gpa, &st, sizeof(st)))
		return;
	st.version |= 1;
	if (memory_write(vm, version_gpa, &st.version, sizeof(st.version)))
		return;
	/* Readers who see an even version see all of one time: they read it before and after. */
	smp_wmb();
	st.steal += ns;
	memory_write(vm, gpa + offsetof(struct kvm_steal_time, steal), &st.steal, sizeof(st.steal));
	/* As above */
	smp_wmb();
	st.version++;
	memory_write(vm, version_gpa, &st.version, sizeof(st.version));
}

static void account_steal(struct vcpu *vcpu)
{
	struct pv_vcpu *pv = vcpu->pv;
	u64 delay = thread_run_delay();

	if (pv->thread != current) {
		pv->thread = current;
		pv->run_delay = delay;
	} else if (delay != pv->run_delay) {
		add_steal_time(vcpu, delay - pv->run_delay);
		pv->run_delay = delay;
	}
}

/* ---- PV EOI: a bit in guest memory that says "the next EOI may be skipped" ---- */

static u64 eoi_gpa(const struct vcpu *vcpu)
{
	return vcpu->msrs.pv_eoi & ~(EOI_RESERVED | MSR_ENABLE);
}

/*
 * The bit is set only while nothing waits behind the interrupt in service, so that a guest that
 * skips its EOI withholds nothing. The guest clears it when it does.
 */
static void arm_eoi(struct vcpu *vcpu)
{
	u8 skip = KVM_PV_EOI_ENABLED;

	if (!lapic_can_skip_eoi(vcpu))
		return;
	vcpu->eoi_armed = !memory_write(vcpu->vm, eoi_gpa(vcpu), &skip, sizeof(skip));
	vcpu->pv->eoi_fresh = true;
}

static void settle_eoi(struct vcpu *vcpu)
{
	u8 skip;

	vcpu->eoi_armed = false;
	if (memory_read(vcpu->vm, eoi_gpa(vcpu), &skip, sizeof(skip)))
		return;
	if (!(skip & KVM_PV_EOI_ENABLED)) {
		lapic_skipped_eoi(vcpu);
		return;
	}
	skip = KVM_PV_EOI_DISABLED;
	memory_write(vcpu->vm, eoi_gpa(vcpu), &skip, sizeof(skip));
}

/* Has the guest skipped its EOI meanwhile? What waits for it must be seen before the next entry. */
bool pv_in_window_slow(struct vcpu *vcpu)
{
	struct pv_vcpu *pv = vcpu->pv;
	u8 skip;

	/* Memory that cannot be looked at here must not keep the guest from ever running. */
	if (pv->eoi_fresh) {
		pv->eoi_fresh = false;
		return lapic_can_skip_eoi(vcpu);
	}
	if (memory_peek(vcpu, eoi_gpa(vcpu), &skip, sizeof(skip)))
		return false;
	if (!(skip & KVM_PV_EOI_ENABLED)) {
		vcpu->eoi_armed = false;
		lapic_skipped_eoi(vcpu);
		return true;
	}
	/* An interrupt that came behind the one in service needs a real EOI. */
	return lapic_can_skip_eoi(vcpu);
}

/* ---- around windows ---- */

void pv_before_window_slow(struct vcpu *vcpu)
{
	struct pv_vcpu *pv = vcpu->pv;

	if (pv->active & PV_STEAL_TIME)
		account_steal(vcpu);
	if (pv->active & PV_EOI)
		arm_eoi(vcpu);
}

void pv_after_window_slow(struct vcpu *vcpu)
{
	settle_eoi(vcpu);
}
