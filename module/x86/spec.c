// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measures against speculative execution: which of them this host needs, and those
 * that are taken at the ends of a window. Backends take the others at each
 * entry and exit (spec.h).
 *
 * The host's policy is read from what the kernel makes public: the bug and feature
 * bits that its own choice has set, and cpu_mitigations_off().
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>

#include "compat.h"
#include "vcpu.h"
#include "vm.h"
#include "x86/spec.h"
#include "x86/x86.h"

static char *mitigations = "auto";
module_param(mitigations, charp, 0444);
MODULE_PARM_DESC(mitigations, "auto: what the host does for its own guests (default); off: none; force: all that the processor's bugs ask for");

u32 spec_entry_measures;

DEFINE_STATIC_KEY_FALSE(spec_ibpb_between_vms);
DEFINE_STATIC_KEY_FALSE(spec_ibpb_to_user);

/* Serial number of the VM that ran last on this CPU; 0: none since its last IBPB */
static DEFINE_PER_CPU(u64, last_vm);

static void issue_ibpb(void)
{
	wrmsrq(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
}

/* Retbleed and SRSO: return predictions must be forgotten on the way out of a guest. */
static u32 untrain_measure(bool force)
{
	bool wanted = boot_cpu_has(X86_FEATURE_UNRET) || boot_cpu_has(X86_FEATURE_SRSO) ||
		      boot_cpu_has(X86_FEATURE_SRSO_ALIAS);

	if (wanted)
		return SPEC_EXIT_UNTRAIN;
	if (COMPAT_IBPB_ON_EXIT || boot_cpu_has(X86_FEATURE_ENTRY_IBPB))
		return SPEC_EXIT_IBPB;
	/* The kernel's thunks do nothing where it has not chosen them. */
	if (force && (boot_cpu_has_bug(X86_BUG_RETBLEED) || boot_cpu_has_bug(X86_BUG_SRSO)))
		return SPEC_EXIT_IBPB;
	return 0;
}

static void choose(bool force)
{
	bool has_ibpb = boot_cpu_has(X86_FEATURE_IBPB);

	if (boot_cpu_has(X86_FEATURE_RSB_VMEXIT) ||
	    (force && boot_cpu_has_bug(X86_BUG_SPECTRE_V2)))
		spec_entry_measures |= SPEC_EXIT_RSB;
	spec_entry_measures |= untrain_measure(force);
	if (!has_ibpb)
		spec_entry_measures &= ~SPEC_EXIT_IBPB;
	/* An IBPB that spares return predictions asks for the fill as well. */
	if (spec_entry_measures & SPEC_EXIT_IBPB)
		spec_entry_measures |= SPEC_EXIT_RSB;
	if (COMPAT_VERW_ON_ENTRY || (force && COMPAT_BUG_TSA))
		spec_entry_measures |= SPEC_ENTRY_VERW;

	if (has_ibpb && boot_cpu_has_bug(X86_BUG_SPECTRE_V2))
		static_branch_enable(&spec_ibpb_between_vms);
	/* One at each exit makes that on the way to user space needless. */
	if (has_ibpb && !(spec_entry_measures & SPEC_EXIT_IBPB) &&
	    (COMPAT_IBPB_TO_USER || (force && COMPAT_BUG_VMSCAPE)))
		static_branch_enable(&spec_ibpb_to_user);
}

/**
 * spec_init - choose the measures, once, at load
 *
 * Return: 0, or EINVAL for an unknown value of the module parameter.
 */
int spec_init(void)
{
	bool force = sysfs_streq(mitigations, "force");

	if (!force && !sysfs_streq(mitigations, "auto") && !sysfs_streq(mitigations, "off")) {
		pr_err("mitigations=%s is none of auto, off, force\n", mitigations);
		return -EINVAL;
	}
	if (sysfs_streq(mitigations, "off") || (!force && cpu_mitigations_off()))
		return 0;
	choose(force);
	return 0;
}

void spec_load_guard(struct spec_guard *guard)
{
	BUILD_BUG_ON(offsetof(struct spec_guard, flags) != GUARD_FLAGS);
	BUILD_BUG_ON(offsetof(struct spec_guard, guest_spec_ctrl) != GUARD_GUEST_SPEC_CTRL);
	BUILD_BUG_ON(offsetof(struct spec_guard, host_spec_ctrl) != GUARD_HOST_SPEC_CTRL);

	if (likely(!guard->guest_spec_ctrl && !(guard->flags & GUARD_READ_SPEC_CTRL))) {
		guard->flags &= ~GUARD_SPEC_CTRL;
		return;
	}
	rdmsrq(MSR_IA32_SPEC_CTRL, guard->host_spec_ctrl);
	guard->flags |= GUARD_SPEC_CTRL;
}

/* spec_enter_vm(), where the host needs it */
void spec_change_vm(struct vcpu *vcpu)
{
	u64 serial = vcpu->vm->serial;

	if (this_cpu_read(last_vm) == serial)
		return;
	if (this_cpu_read(last_vm))
		issue_ibpb();
	this_cpu_write(last_vm, serial);
}

/* spec_leave_vm(), likewise */
void spec_before_user(void)
{
	issue_ibpb();
}

/**
 * spec_describe - the measures in words, one a line
 * @buf: where to
 * @size: bytes there
 *
 * Return: bytes written.
 */
ssize_t spec_describe(char *buf, size_t size)
{
	const struct {
		const char *name;
		bool on;
	} lines[] = {
		{ "return stack filled at exits", spec_entry_measures & SPEC_EXIT_RSB },
		{ "return predictions untrained at exits",
		  spec_entry_measures & SPEC_EXIT_UNTRAIN },
		{ "IBPB at exits", spec_entry_measures & SPEC_EXIT_IBPB },
		{ "CPU buffers cleared at entries", spec_entry_measures & SPEC_ENTRY_VERW },
		{ "IBPB between VMs", static_key_enabled(&spec_ibpb_between_vms) },
		{ "IBPB before user space", static_key_enabled(&spec_ibpb_to_user) },
	};
	ssize_t len = scnprintf(buf, size, "mitigations: %s\n", mitigations);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lines); i++)
		len += scnprintf(buf + len, size - len, "%s: %s\n", lines[i].name,
				 lines[i].on ? "yes" : "no");
	return len;
}
