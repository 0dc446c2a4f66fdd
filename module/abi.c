// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctl front end: this file, abi_irq.c and abi_memory.c alone see the structures of
 * uapi/vmm.h as user space wrote them. It copies, checks, and calls the core; another front
 * end can stand beside it. Each call is described in Documentation/api.rst.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/tsc.h>

#include "../uapi/vmm.h"

#include "abi.h"
#include "compat.h"
#include "hw.h"
#include "irq/irq.h"
#include "memory.h"
#include "ring.h"
#include "pv/pv.h"
#include "tdp.h"
#include "vcpu.h"
#include "vm.h"
#include "x86/x86.h"

SAME(struct vmm_regs, struct cpu_regs);
SAME_FIELD(struct vmm_regs, rip, struct cpu_regs, rip);
SAME(struct vmm_segments, struct cpu_segments);
SAME_FIELD(struct vmm_segment, attr, struct cpu_segment, attr);
SAME(struct vmm_control, struct cpu_control);
SAME_FIELD(struct vmm_control, efer, struct cpu_control, efer);
SAME(struct vmm_debug, struct cpu_debug);
SAME_FIELD(struct vmm_debug, dr7, struct cpu_debug, dr7);
SAME(struct vmm_events, struct cpu_events);
SAME_FIELD(struct vmm_events, flags, struct cpu_events, flags);
SAME_FIELD(struct vmm_event, payload, struct cpu_event, payload);
SAME(struct vmm_msr_state, struct cpu_msrs);
SAME_FIELD(struct vmm_msr_state, mtrr_fixed, struct cpu_msrs, mtrr_fixed);
SAME_FIELD(struct vmm_msr_state, smi_count, struct cpu_msrs, smi_count);
SAME(struct vmm_lapic, struct lapic_state);
SAME_FIELD(struct vmm_lapic, regs, struct lapic_state, regs);
SAME(struct vmm_cpuid_entry, struct cpuid_entry);
SAME(struct vmm_msr_range, struct msr_range);
static_assert(sizeof(((struct vmm_pending *)0)->mmio) == sizeof(struct mmio_op));

/* The part of a port access that each of them has goes as one word. */
#define IO_HEAD		offsetof(struct exit_io, count)
SAME(struct vmm_exit_io, struct exit_io);
SAME_FIELD(struct vmm_exit_io, size, struct exit_io, size);
SAME_FIELD(struct vmm_exit_io, in, struct exit_io, in);
SAME_FIELD(struct vmm_exit_io, string, struct exit_io, string);
SAME_FIELD(struct vmm_exit_io, rep, struct exit_io, rep);
SAME_FIELD(struct vmm_exit_io, address_size, struct exit_io, address_size);
SAME_FIELD(struct vmm_exit_io, segment, struct exit_io, segment);
SAME_FIELD(struct vmm_exit_io, count, struct exit_io, count);
static_assert(sizeof(u64) == IO_HEAD);

/* Sizes of version 1 of the ABI: nothing shorter exists. */
static_assert(sizeof(struct vmm_info) == 88);
static_assert(sizeof(struct vmm_exit) == 192);
static_assert(sizeof(struct vmm_run) <= PAGE_SIZE);

#define SYNC_GROUPS	VMM_STATE_SYNC
#define VCPU_GROUPS	VMM_STATE_ALL

/**
 * struct abi_vcpu - what this front end keeps of a vCPU
 * @run: the run area: hostile memory, each field is read once
 * @state: scratch for state transfer, under vcpu->mutex
 */
struct abi_vcpu {
	struct vmm_run *run;
	struct vmm_state state;
};

/* ---- structures that grow ---- */

struct head {
	__u32 size;
	__u32 flags;
};

int copy_in(void *to, size_t ours, const void __user *from, u32 known)
{
	struct head *head = to;
	u32 size;
	int ret;

	if (get_user(size, (const u32 __user *)from))
		return -EFAULT;
	if (size < ours)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(to, ours, from, size);
	if (ret)
		return ret;
	/* The user may have changed it meanwhile. */
	head->size = size;
	return head->flags & ~known ? -EINVAL : 0;
}

int copy_out(void __user *to, void *from, size_t ours)
{
	struct head *head = from;
	u32 room = head->size;

	head->size = ours;
	if (copy_to_user(to, from, ours))
		return -EFAULT;
	if (room > ours && clear_user(to + ours, room - ours))
		return -EFAULT;
	return 0;
}

void *copy_array(u64 address, u32 count, size_t element)
{
	if (address != (unsigned long)address)
		return ERR_PTR(-EFAULT);
	return vmemdup_user(u64_to_user_ptr(address), array_size(count, element));
}

/*
 * The opposite, for lists whose length the caller may not know: @count is set to what there is;
 * E2BIG if @room is too small, and nothing but the count is written then.
 */
static int store_array(u64 address, u32 room, u32 *count, const void *from, u32 there,
		       size_t element)
{
	*count = there;
	if (room < there)
		return -E2BIG;
	if (copy_to_user(u64_to_user_ptr(address), from, array_size(there, element)))
		return -EFAULT;
	return 0;
}

/* ---- state groups ---- */

static u64 pending_data(const struct vmm_run *run, u32 kind)
{
	switch (kind) {
	case VMM_PENDING_IO_IN:
		return READ_ONCE(run->exit.io.data);
	case VMM_PENDING_MSR_READ:
	case VMM_PENDING_MSR_WRITE:
		return READ_ONCE(run->exit.msr.data);
	case VMM_PENDING_HYPERCALL:
		return READ_ONCE(run->exit.hypercall.ret);
	case VMM_PENDING_MMIO:
		return READ_ONCE(run->exit.mmio.data);
	case VMM_PENDING_ACCESS:
		return READ_ONCE(run->exit.access.once);
	default:
		return 0;
	}
}

static bool pending_fault(const struct vmm_run *run, u32 kind)
{
	return (kind == VMM_PENDING_MSR_READ || kind == VMM_PENDING_MSR_WRITE) &&
	       READ_ONCE(run->exit.msr.fault);
}

static void get_pending(struct vcpu *vcpu, const struct vmm_run *run, struct vmm_pending *to)
{
	const struct cpu_pending *from = &vcpu->pending;

	*to = (struct vmm_pending){
		.kind = from->kind,
		.size = from->size,
		.rip = from->rip,
		.data = pending_data(run, from->kind),
		.fault = pending_fault(run, from->kind),
		.step = from->step,
	};
	if (from->kind == VMM_PENDING_MMIO)
		memcpy(to->mmio, &from->mmio, sizeof(to->mmio));
}

static void to_cpu_pending(const struct vmm_pending *from, struct cpu_pending *to)
{
	to->kind = from->kind;
	to->size = from->size;
	to->rip = from->rip;
	to->step = from->step;
	memcpy(&to->mmio, from->mmio, sizeof(to->mmio));
}

static int check_pending(const struct vmm_pending *pending)
{
	struct cpu_pending cpu;

	if (pending->fault > 1 || pending->step > 1)
		return -EINVAL;
	switch (pending->kind) {
	case VMM_PENDING_NONE:
	case VMM_PENDING_HYPERCALL:
	case VMM_PENDING_MSR_READ:
	case VMM_PENDING_MSR_WRITE:
	case VMM_PENDING_ACCESS:
		return 0;
	case VMM_PENDING_IO_IN:
		return pending->size == 1 || pending->size == 2 || pending->size == 4 ? 0 : -EINVAL;
	case VMM_PENDING_MMIO:
		to_cpu_pending(pending, &cpu);
		return mmio_check(&cpu);
	default:
		return -EINVAL;
	}
}

/* The answer goes back to where the VMM would have put it. */
static void set_pending(struct vcpu *vcpu, struct vmm_run *run, const struct vmm_pending *from)
{
	to_cpu_pending(from, &vcpu->pending);
	switch (from->kind) {
	case VMM_PENDING_IO_IN:
		run->exit.io.data = from->data;
		break;
	case VMM_PENDING_MSR_READ:
	case VMM_PENDING_MSR_WRITE:
		run->exit.msr.data = from->data;
		run->exit.msr.fault = from->fault;
		break;
	case VMM_PENDING_HYPERCALL:
		run->exit.hypercall.ret = from->data;
		break;
	case VMM_PENDING_MMIO:
		run->exit.mmio.data = from->data;
		break;
	case VMM_PENDING_ACCESS:
		run->exit.access.once = !!from->data;
		break;
	}
}

/* The groups that the run area carries too */
static void get_sync_groups(struct vcpu *vcpu, u64 groups, struct vmm_regs *regs,
			    struct vmm_segments *segments, struct vmm_control *control,
			    struct vmm_debug *debug, struct vmm_events *events)
{
	if (groups & VMM_STATE_REGS)
		state_get_regs(vcpu, (struct cpu_regs *)regs);
	if (groups & VMM_STATE_SEGMENTS)
		state_get_segments(vcpu, (struct cpu_segments *)segments);
	if (groups & VMM_STATE_CONTROL)
		state_get_control(vcpu, (struct cpu_control *)control);
	if (groups & VMM_STATE_DEBUG)
		state_get_debug(vcpu, (struct cpu_debug *)debug);
	if (groups & VMM_STATE_EVENTS)
		state_get_events(vcpu, (struct cpu_events *)events);
}

/* Check every group before any is stored. */
static int check_groups(struct vcpu *vcpu, u64 groups, const struct vmm_state *state)
{
	int ret = 0;

	if (groups & VMM_STATE_REGS)
		ret = state_check_regs(vcpu, (const struct cpu_regs *)&state->regs);
	if (!ret && (groups & VMM_STATE_SEGMENTS))
		ret = state_check_segments(vcpu, (const struct cpu_segments *)&state->segments);
	if (!ret && (groups & VMM_STATE_CONTROL))
		ret = state_check_control(vcpu, (const struct cpu_control *)&state->control);
	if (!ret && (groups & VMM_STATE_DEBUG))
		ret = state_check_debug(vcpu, (const struct cpu_debug *)&state->debug);
	if (!ret && (groups & VMM_STATE_EVENTS))
		ret = state_check_events(vcpu, (const struct cpu_events *)&state->events);
	if (!ret && (groups & VMM_STATE_PENDING))
		ret = check_pending(&state->pending);
	if (!ret && (groups & VMM_STATE_MSRS))
		ret = state_check_msrs(vcpu, (const struct cpu_msrs *)&state->msrs);
	if (!ret && (groups & VMM_STATE_LAPIC))
		ret = !vcpu->lapic ? -ENXIO :
		      lapic_check_state(vcpu, (const struct lapic_state *)&state->lapic);
	return ret;
}

static void store_groups(struct vcpu *vcpu, u64 groups, const struct vmm_state *state)
{
	struct abi_vcpu *front = vcpu->front;

	/* CR4 and EFER decide what the other groups mean, so they go first. */
	if (groups & VMM_STATE_CONTROL)
		state_set_control(vcpu, (const struct cpu_control *)&state->control);
	if (groups & VMM_STATE_SEGMENTS)
		state_set_segments(vcpu, (const struct cpu_segments *)&state->segments);
	if (groups & VMM_STATE_REGS)
		state_set_regs(vcpu, (const struct cpu_regs *)&state->regs);
	if (groups & VMM_STATE_DEBUG)
		state_set_debug(vcpu, (const struct cpu_debug *)&state->debug);
	if (groups & VMM_STATE_MSRS)
		state_set_msrs(vcpu, (const struct cpu_msrs *)&state->msrs);
	/* After the TSC offset, by which it arms its deadline */
	if (groups & VMM_STATE_LAPIC)
		lapic_set_state(vcpu, (const struct lapic_state *)&state->lapic);
	if (groups & VMM_STATE_EVENTS)
		state_set_events(vcpu, (const struct cpu_events *)&state->events);
	if (groups & VMM_STATE_PENDING)
		set_pending(vcpu, front->run, &state->pending);
	vcpu->state_changed = true;
}

static int get_xsave(struct vcpu *vcpu, struct vmm_xsave *xsave)
{
	u32 size = xstate_area_size();
	void *area;
	int ret = 0;

	xsave->xcr0 = xstate_xcr0(vcpu);
	xsave->xss = xstate_xss(vcpu);
	if (!xsave->area)
		return 0;
	if (xsave->area_size < size)
		return -ENOSPC;
	area = kvzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!area)
		return -ENOMEM;
	xstate_get_area(vcpu, area, size);
	if (copy_to_user(u64_to_user_ptr(xsave->area), area, size))
		ret = -EFAULT;
	xsave->area_size = size;
	kvfree(area);
	return ret;
}

/* Last of the checks and first of the changes: nothing after it fails. */
static int set_xsave(struct vcpu *vcpu, const struct vmm_xsave *xsave)
{
	u32 size = min_t(u32, xsave->area_size, xstate_area_size());
	void *area;
	int ret;

	if (xsave->reserved)
		return -EINVAL;
	ret = xstate_check_xcr0(vcpu, xsave->xcr0, xsave->xss);
	if (ret)
		return ret;
	if (xsave->area) {
		area = vmemdup_user(u64_to_user_ptr(xsave->area), size);
		if (IS_ERR(area))
			return PTR_ERR(area);
		ret = xstate_set_area(vcpu, area, size);
		kvfree(area);
		if (ret)
			return ret;
	}
	xstate_set_xcr0(vcpu, xsave->xcr0);
	xstate_set_xss(vcpu, xsave->xss);
	return 0;
}

static long abi_get_state(struct vcpu *vcpu, void __user *arg)
{
	struct abi_vcpu *front = vcpu->front;
	struct vmm_state *state = &front->state;
	int ret;

	ret = copy_in(state, sizeof(*state), arg, 0);
	if (ret)
		return ret;
	if (state->groups & ~VCPU_GROUPS)
		return -EINVAL;
	if ((state->groups & VMM_STATE_LAPIC) && !vcpu->lapic)
		return -ENXIO;

	get_sync_groups(vcpu, state->groups, &state->regs, &state->segments, &state->control,
			&state->debug, &state->events);
	if (state->groups & VMM_STATE_PENDING)
		get_pending(vcpu, front->run, &state->pending);
	if (state->groups & VMM_STATE_MSRS)
		state_get_msrs(vcpu, (struct cpu_msrs *)&state->msrs);
	if (state->groups & VMM_STATE_LAPIC)
		lapic_get_state(vcpu, (struct lapic_state *)&state->lapic);
	if (state->groups & VMM_STATE_XSAVE) {
		ret = get_xsave(vcpu, &state->xsave);
		if (ret)
			return ret;
	}
	return copy_out(arg, state, sizeof(*state));
}

static long abi_set_state(struct vcpu *vcpu, void __user *arg)
{
	struct abi_vcpu *front = vcpu->front;
	struct vmm_state *state = &front->state;
	int ret;

	ret = copy_in(state, sizeof(*state), arg, 0);
	if (ret)
		return ret;
	if (state->groups & ~VCPU_GROUPS)
		return -EINVAL;
	ret = check_groups(vcpu, state->groups, state);
	if (!ret && (state->groups & VMM_STATE_XSAVE))
		ret = set_xsave(vcpu, &state->xsave);
	if (ret)
		return ret;
	store_groups(vcpu, state->groups, state);
	return 0;
}

/* ---- running ---- */

/* Groups that the VMM changed in the run area. Nothing is stored if one of them is bad. */
static int take_dirty_groups(struct vcpu *vcpu, struct vmm_run *run, u64 groups)
{
	struct abi_vcpu *front = vcpu->front;
	struct vmm_state *state = &front->state;
	int ret;

	if (groups & ~SYNC_GROUPS)
		return -EINVAL;
	if (groups & VMM_STATE_REGS)
		memcpy(&state->regs, &run->regs, sizeof(state->regs));
	if (groups & VMM_STATE_SEGMENTS)
		memcpy(&state->segments, &run->segments, sizeof(state->segments));
	if (groups & VMM_STATE_CONTROL)
		memcpy(&state->control, &run->control, sizeof(state->control));
	if (groups & VMM_STATE_DEBUG)
		memcpy(&state->debug, &run->debug, sizeof(state->debug));
	if (groups & VMM_STATE_EVENTS)
		memcpy(&state->events, &run->events, sizeof(state->events));
	/* The compiler must not read the run area again behind the check. */
	barrier();

	ret = check_groups(vcpu, groups, state);
	if (ret)
		return ret;
	store_groups(vcpu, groups, state);
	run->dirty_groups = 0;
	return 0;
}

static __always_inline void store_io(const struct exit_io *from, struct vmm_exit_io *to)
{
	memcpy(to, from, IO_HEAD);
	to->data = from->data;
	if (unlikely(from->string)) {
		to->count = from->count;
		to->address = from->address;
	}
}

static noinline void store_exit_detail(const struct vcpu_exit *from, struct vmm_exit *to)
{
	switch (from->reason) {
	case EXIT_MMIO:
		to->mmio.gpa = from->mmio.gpa;
		to->mmio.size = from->mmio.size;
		to->mmio.write = from->mmio.write;
		to->mmio.data = from->mmio.data;
		break;
	case EXIT_HYPERCALL:
		to->hypercall.nr = from->hypercall.nr;
		memcpy(to->hypercall.args, from->hypercall.args, sizeof(to->hypercall.args));
		to->hypercall.ret = 0;
		break;
	case EXIT_MSR:
		to->msr.index = from->msr.index;
		to->msr.write = from->msr.write;
		to->msr.unknown = from->msr.unknown;
		to->msr.fault = 0;
		to->msr.data = from->msr.data;
		break;
	case EXIT_DEBUG:
		to->debug.kind = from->debug.kind;
		to->debug.vector = from->debug.vector;
		to->debug.dr6 = from->debug.dr6;
		to->debug.dr7 = from->debug.dr7;
		to->debug.address = from->debug.address;
		break;
	case EXIT_EMULATE:
		to->emulate.gpa = from->emulate.gpa;
		to->emulate.gva = from->emulate.gva;
		to->emulate.access = from->emulate.access;
		to->emulate.length = from->emulate.length;
		to->emulate.mode = from->emulate.mode;
		memcpy(to->emulate.bytes, from->emulate.bytes, sizeof(to->emulate.bytes));
		break;
	case EXIT_FAULT:
		to->fault.gpa = from->fault.gpa;
		to->fault.access = from->fault.access;
		to->fault.error = from->fault.error;
		break;
	case EXIT_ACCESS:
		to->access.gpa = from->fault.gpa;
		to->access.gva = from->fault.flags & FAULT_GVA ? from->fault.gva : 0;
		to->access.access = from->fault.access;
		to->access.granted = from->fault.granted;
		to->access.flags = from->fault.flags;
		to->access.once = 0;
		break;
	case EXIT_EOI:
		to->eoi.vector = from->eoi.vector;
		break;
	case EXIT_FAIL_ENTRY:
		strscpy_pad(to->fail_entry.message, from->message, sizeof(to->fail_entry.message));
		break;
	default:
		break;
	}
}

static __always_inline void store_common(struct vcpu *vcpu, struct vmm_exit *to)
{
	const struct vcpu_exit *from = &vcpu->exit;

	/* First, as it may take a call: what is in registers would have to be saved. */
	to->cr8 = likely(vcpu->lapic) ? vcpu->cr8 : state_read_cr8(vcpu);
	to->hw_reason = from->hw_reason;
	to->hw_info1 = from->hw_info1;
	to->hw_info2 = from->hw_info2;
	to->rip = from->rip;
	to->next_rip = from->next_rip;
	to->rflags = vcpu->regs.rflags;
	to->interruptible = vcpu_interruptible(vcpu);
	to->nmi_allowed = vcpu_nmi_allowed(vcpu);
}

static __always_inline void store_mode(struct cpu_mode mode, struct vmm_exit *to)
{
	to->cpl = mode.cpl;
	to->long_mode = mode.code_size == 8;
}

static __always_inline void store_io_exit(struct vcpu *vcpu, struct vmm_exit *to)
{
	store_common(vcpu, to);
	store_mode(vcpu->exit.mode, to);
	to->reason = VMM_EXIT_IO;
	store_io(&vcpu->exit.io, &to->io);
}

static void store_any_exit(struct vcpu *vcpu, struct vmm_exit *to)
{
	const struct vcpu_exit *from = &vcpu->exit;

	/* Reasons that leave the core have the ABI's numbers. */
	static_assert((int)EXIT_ACCESS == VMM_EXIT_ACCESS && (int)EXIT_IO == VMM_EXIT_IO &&
		      (int)EXIT_EMULATE == VMM_EXIT_EMULATE && (int)EXIT_PAUSE == VMM_EXIT_PAUSE);
	store_common(vcpu, to);
	store_mode(hw_call(get_mode)(vcpu), to);
	to->reason = from->reason < VMM_NR_EXITS ? (u32)from->reason : VMM_EXIT_INTERNAL;
	store_exit_detail(from, to);
}

/* Behind a run that has ended with @ret. Return: the same */
static noinline int store_exit(struct vcpu *vcpu, struct vmm_run *run, int ret)
{
	if (ret && ret != -EINTR)
		return ret;
	if (vcpu->exit.reason == EXIT_IO)
		store_io_exit(vcpu, &run->exit);
	else
		store_any_exit(vcpu, &run->exit);
	return ret;
}

/* What the run area asks for beyond a run: groups to be taken before it, and given behind it */
static noinline int check_run_groups(struct vcpu *vcpu, struct vmm_run *run, u64 sync, u64 dirty)
{
	if (sync & ~SYNC_GROUPS)
		return -EINVAL;
	return dirty ? take_dirty_groups(vcpu, run, dirty) : 0;
}

/* A run before which the run area's answer or new state is taken, or behind which it gives state */
static noinline int run_with_state(struct vcpu *vcpu, struct vmm_run *run, u64 sync, u64 dirty)
{
	int ret;

	if (vcpu->pending.kind) {
		vcpu->answer = pending_data(run, vcpu->pending.kind);
		if (vcpu->pending.kind == VMM_PENDING_ACCESS && vcpu->answer &&
		    !hw_caps.single_step)
			return -EOPNOTSUPP;
		vcpu->answer_fault = pending_fault(run, vcpu->pending.kind);
	}
	ret = check_run_groups(vcpu, run, sync, dirty);
	if (ret)
		return ret;

	ret = store_exit(vcpu, run, vcpu_run(vcpu));
	if (sync && (!ret || ret == -EINTR))
		get_sync_groups(vcpu, sync, &run->regs, &run->segments, &run->control,
				&run->debug, &run->events);
	return ret;
}

static __always_inline int abi_run_locked(struct vcpu *vcpu)
{
	struct abi_vcpu *front = vcpu->front;
	struct vmm_run *run = front->run;
	u64 sync = READ_ONCE(run->sync_groups);
	u64 dirty = READ_ONCE(run->dirty_groups);
	int ret;

	vcpu->want_interrupt_window = READ_ONCE(run->interrupt_window);
	vcpu->want_nmi_window = READ_ONCE(run->nmi_window);
	if (unlikely(sync | dirty | vcpu->pending.kind))
		return run_with_state(vcpu, run, sync, dirty);

	ret = vcpu_run(vcpu);
	/* What comes most often does not wait for its turn among all. */
	if (unlikely(ret || vcpu->exit.reason != EXIT_IO))
		return store_exit(vcpu, run, ret);
	store_io_exit(vcpu, &run->exit);
	return 0;
}

static long abi_run(struct vcpu *vcpu, unsigned long arg)
{
	int ret;

	if (arg)
		return -EINVAL;
	if (mutex_lock_interruptible(&vcpu->mutex))
		return -EINTR;
	ret = abi_run_locked(vcpu);
	mutex_unlock(&vcpu->mutex);
	return ret;
}

/* ---- the other vCPU calls ---- */

static long abi_set_cpuid(struct vcpu *vcpu, void __user *arg)
{
	struct cpuid_entry *entries;
	struct vmm_cpuid cpuid;
	int ret;

	ret = copy_in(&cpuid, sizeof(cpuid), arg, 0);
	if (ret)
		return ret;
	if (cpuid.reserved)
		return -EINVAL;
	if (cpuid.count > CPUID_MAX_ENTRIES)
		return -E2BIG;
	entries = copy_array(cpuid.entries, cpuid.count, sizeof(*entries));
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	ret = cpuid_set(vcpu, entries, cpuid.count);
	kvfree(entries);
	if (!ret)
		vcpu->state_changed = true;
	return ret;
}

/* The table of @vcpu, or what can be offered (NULL) */
static long abi_get_cpuid(struct vcpu *vcpu, void __user *arg)
{
	struct cpuid_entry *copy = NULL;
	const struct cpuid_entry *entries;
	struct vmm_cpuid cpuid;
	u32 count;
	int ret;

	ret = copy_in(&cpuid, sizeof(cpuid), arg, 0);
	if (ret)
		return ret;
	if (cpuid.reserved)
		return -EINVAL;
	if (vcpu) {
		copy = kvcalloc(CPUID_MAX_ENTRIES, sizeof(*copy), GFP_KERNEL);
		if (!copy)
			return -ENOMEM;
		count = cpuid_get(vcpu, copy, CPUID_MAX_ENTRIES);
		entries = copy;
	} else {
		entries = cpuid_supported(&count);
	}
	ret = store_array(cpuid.entries, cpuid.count, &cpuid.count, entries, count,
			  sizeof(*entries));
	kvfree(copy);
	return copy_out(arg, &cpuid, sizeof(cpuid)) ?: ret;
}

/* MSRs by number: stops at the first that cannot be done, and says how far it came. */
static long abi_msrs(struct vcpu *vcpu, void __user *arg, bool write)
{
	struct vmm_msr_entry __user *user;
	struct vmm_msr_entry entry;
	struct vmm_msrs msrs;
	int ret, status = 0;
	u32 i;

	ret = copy_in(&msrs, sizeof(msrs), arg, 0);
	if (ret)
		return ret;
	if (msrs.reserved)
		return -EINVAL;
	user = u64_to_user_ptr(msrs.entries);

	for (i = 0; i < msrs.count; i++) {
		enum msr_result result;

		if (fatal_signal_pending(current)) {
			status = -EINTR;
			break;
		}
		cond_resched();
		if (copy_from_user(&entry, &user[i], sizeof(entry))) {
			status = -EFAULT;
			break;
		}
		if (entry.reserved)
			result = MSR_FAULT;
		else
			result = write ? msr_write(vcpu, entry.index, entry.data, true) :
					 msr_read(vcpu, entry.index, &entry.data, true);
		if (result != MSR_OK) {
			status = result == MSR_UNKNOWN ? -ENOENT : -EINVAL;
			break;
		}
		if (!write && copy_to_user(&user[i], &entry, sizeof(entry))) {
			status = -EFAULT;
			break;
		}
	}
	msrs.count = i;
	return copy_out(arg, &msrs, sizeof(msrs)) ?: status;
}

static int inject_exception(struct vcpu *vcpu, const struct vmm_event *event)
{
	if (!state_valid_event((const struct cpu_event *)event))
		return -EINVAL;
	if (vcpu->events.exception.type)
		return -EBUSY;
	vcpu_queue_exception(vcpu, event->vector, event->has_error, event->error, event->payload);
	/* Whether it has the error code that its mode asks for is seen before the entry. */
	vcpu->state_changed = true;
	return 0;
}

static int inject_interrupt(struct vcpu *vcpu, const struct vmm_event *event)
{
	if (vcpu->lapic || event->has_error || event->insn_len)
		return -EINVAL;
	/* One whose delivery has begun may have to wait again. */
	if (vcpu->events.interrupt.type || vcpu->events.interrupted.type == EVENT_INTERRUPT)
		return -EBUSY;
	vcpu->events.interrupt = (struct cpu_event){
		.type = EVENT_INTERRUPT,
		.vector = event->vector,
	};
	return 0;
}

static long abi_inject(struct vcpu *vcpu, void __user *arg)
{
	struct vmm_inject inject;
	int ret;

	ret = copy_in(&inject, sizeof(inject), arg, 0);
	if (ret)
		return ret;
	if (inject.event.type == VMM_EVENT_NMI) {
		vcpu_nmi(vcpu);
		return 0;
	}

	if (mutex_lock_interruptible(&vcpu->mutex))
		return -EINTR;
	switch (inject.event.type) {
	case VMM_EVENT_EXCEPTION:
		ret = inject_exception(vcpu, &inject.event);
		break;
	case VMM_EVENT_INTERRUPT:
		ret = inject_interrupt(vcpu, &inject.event);
		break;
	default:
		ret = -EINVAL;
	}
	mutex_unlock(&vcpu->mutex);
	return ret;
}

static long abi_translate(struct vcpu *vcpu, void __user *arg)
{
	struct vmm_translate translate;
	struct cpu_event fault;
	int ret;

	ret = copy_in(&translate, sizeof(translate), arg, 0);
	if (ret)
		return ret;
	if (translate.access & ~(VMM_ACCESS_READ | VMM_ACCESS_WRITE | VMM_ACCESS_EXEC |
				 VMM_ACCESS_USER))
		return -EINVAL;
	static_assert(VMM_ACCESS_READ == ACCESS_READ && VMM_ACCESS_WRITE == ACCESS_WRITE &&
		      VMM_ACCESS_EXEC == ACCESS_EXEC && VMM_ACCESS_USER == ACCESS_USER);
	ret = guest_translate_probe(vcpu, translate.gva, translate.access, &translate.gpa, &fault);
	if (ret < 0)
		return ret;
	translate.fault = ret;
	translate.error = ret ? fault.error : 0;
	translate.vector = ret ? fault.vector : 0;
	return copy_out(arg, &translate, sizeof(translate));
}

static u64 known_exits(void)
{
	u64 exits = VMM_EXITS_HLT | VMM_EXITS_HYPERCALL | VMM_EXITS_CPUID | VMM_EXITS_PAUSE |
		    VMM_EXITS_BREAKPOINT;

	return hw_caps.single_step ? exits | VMM_EXITS_STEP : exits;
}

static long abi_set_exits(struct vcpu *vcpu, void __user *arg)
{
	struct vmm_exits exits;
	int ret;

	ret = copy_in(&exits, sizeof(exits), arg, 0);
	if (ret)
		return ret;
	if (exits.exits & ~known_exits())
		return -EINVAL;
	if (!(exits.exits & VMM_EXITS_HW_BREAK) &&
	    (exits.dr[0] | exits.dr[1] | exits.dr[2] | exits.dr[3] | exits.dr7))
		return -EINVAL;
	vcpu->exits_wanted = exits.exits;
	vcpu->stepping = (exits.exits & VMM_EXITS_STEP) || vcpu->once;
	if (!vcpu->stepping)
		vcpu->pending.step = false;
	hw->update_exits(vcpu);
	return 0;
}

static long abi_set_ring(struct vcpu *vcpu, void __user *arg)
{
	struct vmm_ring ring;
	int ret;

	ret = copy_in(&ring, sizeof(ring), arg, 0);
	if (ret)
		return ret;
	return ring.reserved ? -EINVAL : dirty_ring_create(vcpu, ring.entries);
}

/* ---- statistics ---- */

static const char *const stat_names[] = {
#define S(name, what) #name,
	VCPU_STATS(S)
#undef S
};

#define NR_STATS	ARRAY_SIZE(stat_names)
static_assert(sizeof(struct vcpu_stats) == NR_STATS * sizeof(u64));

static void add_stats(struct vmm_stat *stats, const struct vcpu *vcpu)
{
	const u64 *values = (const u64 *)&vcpu->stats;
	u32 i;

	for (i = 0; i < NR_STATS; i++)
		stats[i].value += READ_ONCE(values[i]);
}

/* Of one vCPU, or (NULL) of all, and the VM's own behind them */
/* Of the VM: tables, and pages mapped by level */
static const char *const vm_stat_names[] = { "table_pages", "pages_4k", "pages_2m", "pages_1g" };

static void add_vm_stats(struct vmm_stat *entries, const struct tdp_count *count)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(vm_stat_names); i++)
		strscpy(entries[i].name, vm_stat_names[i], sizeof(entries[i].name));
	entries[0].value = atomic_long_read(&count->table_pages);
	for (i = 1; i <= TDP_MAX_LEAF; i++)
		entries[i].value = atomic_long_read(&count->mapped[i]);
}

static long abi_get_stats(struct vm *vm, struct vcpu *one, void __user *arg)
{
	u32 i, there = NR_STATS + (one ? 0 : ARRAY_SIZE(vm_stat_names));
	struct vmm_stat *entries;
	struct vmm_stats stats;
	struct vcpu *vcpu;
	int ret;

	ret = copy_in(&stats, sizeof(stats), arg, 0);
	if (ret)
		return ret;
	if (stats.reserved)
		return -EINVAL;
	entries = kcalloc(there, sizeof(*entries), GFP_KERNEL);
	if (!entries)
		return -ENOMEM;
	for (i = 0; i < NR_STATS; i++)
		strscpy(entries[i].name, stat_names[i], sizeof(entries[i].name));
	if (one) {
		add_stats(entries, one);
	} else {
		vm_for_each_vcpu(vm, vcpu, i)
			add_stats(entries, vcpu);
		add_vm_stats(entries + NR_STATS, &vm->memory.count);
	}
	ret = store_array(stats.stats, stats.count, &stats.count, entries, there, sizeof(*entries));
	kfree(entries);
	return copy_out(arg, &stats, sizeof(stats)) ?: ret;
}

/* ---- the vCPU file ---- */

static noinline_for_stack long vcpu_ioctl_locked(struct vcpu *vcpu, unsigned int cmd,
						 unsigned long arg)
{
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case VMM_GET_STATE:
		return abi_get_state(vcpu, user);
	case VMM_SET_STATE:
		return abi_set_state(vcpu, user);
	case VMM_GET_CPUID:
		return abi_get_cpuid(vcpu, user);
	case VMM_SET_CPUID:
		return abi_set_cpuid(vcpu, user);
	case VMM_GET_MSRS:
		return abi_msrs(vcpu, user, false);
	case VMM_SET_MSRS:
		return abi_msrs(vcpu, user, true);
	case VMM_TRANSLATE:
		return abi_translate(vcpu, user);
	case VMM_SET_EXITS:
		return abi_set_exits(vcpu, user);
	case VMM_SET_RING:
		return abi_set_ring(vcpu, user);
	case VMM_SET_VIEW:
		return abi_set_view(vcpu, user);
	case VMM_DEVICE_ACCESS:
		return abi_device_access(vcpu, user);
	default:
		return -ENOTTY;
	}
}

/* Those that may meet a running vCPU */
static noinline_for_stack long vcpu_ioctl_any_time(struct vcpu *vcpu, unsigned int cmd,
						   unsigned long arg)
{
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case VMM_KICK:
		if (arg)
			return -EINVAL;
		vcpu_request(vcpu, VCPU_REQ_EXIT);
		return 0;
	case VMM_INJECT:
		return abi_inject(vcpu, user);
	default:
		return abi_get_stats(vcpu->vm, vcpu, user);
	}
}

static noinline long vcpu_ioctl_other(struct vcpu *vcpu, unsigned int cmd, unsigned long arg)
{
	long ret;

	if (cmd == VMM_KICK || cmd == VMM_INJECT || cmd == VMM_GET_STATS)
		return vcpu_ioctl_any_time(vcpu, cmd, arg);

	if (mutex_lock_interruptible(&vcpu->mutex))
		return -EINTR;
	ret = vcpu_ioctl_locked(vcpu, cmd, arg);
	mutex_unlock(&vcpu->mutex);
	return ret;
}

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vcpu *vcpu = file->private_data;

	/*
	 * State refers to the memory of the process that created the VM. No other may so much as
	 * hold the vCPU's mutex: it could be stopped there.
	 */
	if (unlikely(vcpu->vm->mm != current->mm))
		return -EXDEV;
	return likely(cmd == VMM_RUN) ? abi_run(vcpu, arg) : vcpu_ioctl_other(vcpu, cmd, arg);
}

static vm_fault_t run_area_fault(struct vm_fault *vmf)
{
	struct vcpu *vcpu = vmf->vma->vm_file->private_data;
	struct abi_vcpu *front = vcpu->front;
	struct page *page = virt_to_page(front->run);

	if (vmf->pgoff || vmf->vma->vm_mm != vcpu->vm->mm)
		return VM_FAULT_SIGBUS;
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct run_area_ops = {
	.fault = run_area_fault,
};

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct vcpu *vcpu = file->private_data;

	if (vcpu->vm->mm != current->mm)
		return -EXDEV;
	if (!(vma->vm_flags & VM_SHARED) || (vma->vm_flags & VM_EXEC))
		return -EINVAL;
	/*
	 * What is written there is a call as well: a child must not have it. Where madvise() has
	 * taken this back, a child finds no page: none is copied of such a mapping.
	 */
	compat_vm_flags_set(vma, VM_DONTCOPY);
	if (vma->vm_pgoff >= VMM_RING_OFFSET / PAGE_SIZE)
		return dirty_ring_mmap(vcpu, vma);
	if (vma->vm_pgoff || vma->vm_end - vma->vm_start > PAGE_SIZE)
		return -EINVAL;
	vma->vm_ops = &run_area_ops;
	return 0;
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct vcpu *vcpu = file->private_data;

	/* The vCPU itself lives as long as its VM, whose interrupts may name it. */
	vm_put(vcpu->vm);
	return 0;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.release = vcpu_release,
	.unlocked_ioctl = vcpu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = vcpu_mmap,
	.llseek = noop_llseek,
};

/* The core's vcpu_destroy() calls this for what abi_create_vcpu() hung on the vCPU. */
static void abi_free_vcpu(struct vcpu *vcpu)
{
	struct abi_vcpu *front = vcpu->front;

	if (!front)
		return;
	free_page((unsigned long)front->run);
	kfree(front);
}

static int add_front(struct vcpu *vcpu)
{
	struct abi_vcpu *front = kzalloc(sizeof(*front), GFP_KERNEL_ACCOUNT);

	if (!front)
		return -ENOMEM;
	front->run = (struct vmm_run *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!front->run) {
		kfree(front);
		return -ENOMEM;
	}
	front->run->size = sizeof(*front->run);
	vcpu->front = front;
	vcpu->front_free = abi_free_vcpu;
	vcpu->immediate_exit = &front->run->immediate_exit;
	return 0;
}

/* ---- the VM calls ---- */

static long create_vcpu_locked(struct vm *vm, u32 id)
{
	struct vcpu *vcpu;
	struct file *file;
	int fd, ret;

	if (vm_vcpu_by_id(vm, id))
		return -EEXIST;
	if (vm->nr_vcpus == VM_MAX_VCPUS)
		return -ENOSPC;
	vcpu = vcpu_create(vm, id);
	if (IS_ERR(vcpu))
		return PTR_ERR(vcpu);
	ret = add_front(vcpu);
	if (ret)
		goto destroy;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		ret = fd;
		goto destroy;
	}
	file = anon_inode_getfile("vmm-vcpu", &vcpu_fops, vcpu, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		ret = PTR_ERR(file);
		goto destroy;
	}

	vm_get(vm);
	vm_add_vcpu(vm, vcpu);
	fd_install(fd, file);
	return fd;

destroy:
	vcpu_destroy(vcpu);
	return ret;
}

static long abi_create_vcpu(struct vm *vm, void __user *arg)
{
	struct vmm_vcpu_create create;
	long ret;

	ret = copy_in(&create, sizeof(create), arg, 0);
	if (ret)
		return ret;
	if (create.reserved || create.id == U32_MAX)
		return -EINVAL;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	ret = create_vcpu_locked(vm, create.id);
	mutex_unlock(&vm->lock);
	return ret;
}

static long abi_set_msr_policy(struct vm *vm, void __user *arg)
{
	struct vmm_msr_policy policy;
	struct msr_range *ranges;
	struct vcpu *vcpu;
	long ret;
	int i;

	ret = copy_in(&policy, sizeof(policy), arg, VMM_MSR_POLICY_UNKNOWN_EXIT);
	if (ret)
		return ret;
	if (policy.reserved)
		return -EINVAL;
	if (policy.count > 64)
		return -E2BIG;
	ranges = copy_array(policy.ranges, policy.count, sizeof(*ranges));
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);
	ret = mutex_lock_killable(&vm->lock);
	if (!ret) {
		ret = msr_policy_set(vm, ranges, policy.count,
				     policy.flags & VMM_MSR_POLICY_UNKNOWN_EXIT);
		mutex_unlock(&vm->lock);
	}
	kvfree(ranges);
	if (ret)
		return ret;

	/* Holds from each vCPU's next entry on. */
	vm_for_each_vcpu(vm, vcpu, i)
		vcpu_request(vcpu, VCPU_REQ_EXITS);
	return 0;
}

/* ---- the VM file ---- */

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vm *vm = file->private_data;
	void __user *user = (void __user *)arg;
	long ret;

	if (vm->mm != current->mm)
		return -EXDEV;

	switch (cmd) {
	case VMM_CREATE_VCPU:
		return abi_create_vcpu(vm, user);
	case VMM_SET_MSR_POLICY:
		return abi_set_msr_policy(vm, user);
	case VMM_GET_STATS:
		return abi_get_stats(vm, NULL, user);
	default:
		ret = abi_irq_ioctl(vm, cmd, user);
		return ret == -ENOIOCTLCMD ? abi_memory_ioctl(vm, cmd, user) : ret;
	}
}

static int vm_release(struct inode *inode, struct file *file)
{
	vm_put(file->private_data);
	return 0;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.release = vm_release,
	.unlocked_ioctl = vm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

/* ---- the system calls ---- */

static long abi_get_info(void __user *arg)
{
	struct vmm_info info;
	int ret;

	ret = copy_in(&info, sizeof(info), arg, 0);
	if (ret)
		return ret;
	info = (struct vmm_info){
		.size = info.size,
		.api_version = VMM_API_VERSION,
		.vendor = hw_caps.vendor,
		.caps = VMM_CAP_PIC | VMM_CAP_PIT | VMM_CAP_IOAPIC | VMM_CAP_LAPIC |
			VMM_CAP_X2APIC | VMM_CAP_TSC_DEADLINE | VMM_CAP_PVCLOCK |
			VMM_CAP_IRQFD | VMM_CAP_IOEVENTFD | VMM_CAP_READONLY_MEM |
			VMM_CAP_DIRTY_LOG | VMM_CAP_DIRTY_RING | VMM_CAP_VIEWS,
		.vcpu_groups = VCPU_GROUPS,
		.vm_groups = VMM_VM_STATE_ALL,
		.sync_groups = SYNC_GROUPS,
		.gpa_bits = hw_caps.gpa_bits,
		.gva_bits = cpuid_offers_la57() ? 57 : 48,
		.max_vcpus = VM_MAX_VCPUS,
		.max_slots = MEMORY_MAX_SLOTS,
		.nr_gsis = VM_NR_GSIS,
		.run_size = PAGE_SIZE,
		.xsave_size = xstate_area_size(),
		.tsc_khz = tsc_khz,
		.xcr0 = xstate_supported_xcr0(),
	};
	if (info.xcr0)
		info.caps |= VMM_CAP_XSAVE;
	if (info.gva_bits == 57)
		info.caps |= VMM_CAP_LA57;
	if (hw_caps.tdp->accessed)
		info.caps |= VMM_CAP_TOUCHED;
	if (hw_caps.next_rip)
		info.caps |= VMM_CAP_NEXT_RIP;
	if (hw_caps.tdp->exec_only)
		info.caps |= VMM_CAP_EXEC_ONLY;
	if (hw_caps.single_step)
		info.caps |= VMM_CAP_SINGLE_STEP;
	if (hw_caps.virtual_apic)
		info.caps |= VMM_CAP_VIRTUAL_APIC;
	if (hw_caps.pause_loops)
		info.caps |= VMM_CAP_PAUSE_LOOPS;
	return copy_out(arg, &info, sizeof(info));
}

static long abi_get_msr_list(void __user *arg)
{
	struct vmm_msr_list list;
	const u32 *indices;
	u32 count;
	int ret;

	ret = copy_in(&list, sizeof(list), arg, 0);
	if (ret)
		return ret;
	if (list.reserved)
		return -EINVAL;
	indices = msr_list(&count);
	ret = store_array(list.indices, list.count, &list.count, indices, count, sizeof(u32));
	return copy_out(arg, &list, sizeof(list)) ?: ret;
}

static long abi_create_vm(void __user *arg)
{
	struct vmm_vm_create create;
	struct vm *vm;
	int ret;

	ret = copy_in(&create, sizeof(create), arg, VMM_VM_IRQCHIPS);
	if (ret)
		return ret;
	vm = vm_create(create.flags);
	/* A stop, a tracer or the freezer may be all that it was: the call begins again. */
	if (IS_ERR(vm))
		return PTR_ERR(vm) == -EINTR ? -ERESTARTSYS : PTR_ERR(vm);
	ret = anon_inode_getfd("vmm-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
	if (ret < 0)
		vm_put(vm);
	return ret;
}

static long system_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case VMM_GET_INFO:
		return abi_get_info(user);
	case VMM_CREATE_VM:
		return abi_create_vm(user);
	case VMM_GET_CPUID:
		return abi_get_cpuid(NULL, user);
	case VMM_GET_MSR_LIST:
		return abi_get_msr_list(user);
	default:
		return -ENOTTY;
	}
}

const struct file_operations abi_system_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = system_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};
