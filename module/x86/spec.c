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
#include <linux/topology.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>

#include "compat.h"
#include "vcpu.h"
#include "vm.h"
#include "x86/count.h"
#include "x86/spec.h"
#include "x86/x86.h"

static char *mitigations = "auto";
module_param(mitigations, charp, 0444);
MODULE_PARM_DESC(mitigations, "auto: what the host does for its own guests (default); off: none; force: all that the processor's bugs ask for");

/* SRSO: mode of Zen 5 for a host of guests, where its user and kernel need nothing */
#define MSR_BP_CFG		0xc001102e
#define BP_CFG_SPEC_REDUCE	BIT_ULL(4)

u32 spec_entry_measures;

DEFINE_STATIC_KEY_FALSE(spec_ibpb_between_vcpus);
DEFINE_STATIC_KEY_FALSE(spec_ibpb_to_user);
DEFINE_STATIC_KEY_FALSE(spec_flush_l1d);
DEFINE_STATIC_KEY_FALSE(spec_reduce_prediction);

/* Neither the module's parameter nor the host's command line says that there are to be none. */
static bool measures_wanted;

/* L1TF asks for a flush, by an MSR that the microcode does not have */
static bool l1d_flush_missing;

/* BP_CFG had the bit before */
static DEFINE_PER_CPU(bool, found_reduced);

/* Which vCPU of all VMs ran last on this CPU; 0: none */
static DEFINE_PER_CPU(u64, last_vcpu);

static void issue_ibpb(void)
{
	count_insn(IBPB);
	wrmsrq(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
}

/* A thread's sibling runs something else at the same time, which no flush at an entry reaches. */
static bool smt_active(void)
{
	int cpu;

	for_each_online_cpu(cpu)
		if (cpumask_weight(topology_sibling_cpumask(cpu)) > 1)
			return true;
	return false;
}

static bool leaks_between_threads(void)
{
	bool leaks = boot_cpu_has_bug(X86_BUG_L1TF) || boot_cpu_has_bug(X86_BUG_TAA) ||
		     (boot_cpu_has_bug(X86_BUG_MDS) && !boot_cpu_has_bug(X86_BUG_MSBDS_ONLY));

	return leaks && smt_active();
}

/* The feature bit of enhanced IBRS says that it is there, not that it is on. */
static bool host_uses_ibrs(void)
{
	u64 spec_ctrl = 0;

	if (boot_cpu_has(X86_FEATURE_KERNEL_IBRS))
		return true;
	if (boot_cpu_has(X86_FEATURE_IBRS_ENHANCED) && boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL))
		rdmsrq(MSR_IA32_SPEC_CTRL, spec_ctrl);
	return spec_ctrl & SPEC_CTRL_IBRS;
}

/* Retbleed and SRSO: return predictions must be forgotten on the way out of a guest. */
static u32 untrain_measure(bool force)
{
	bool wanted = boot_cpu_has(X86_FEATURE_UNRET) || boot_cpu_has(X86_FEATURE_SRSO) ||
		      boot_cpu_has(X86_FEATURE_SRSO_ALIAS);

	u32 measures = wanted ? SPEC_EXIT_UNTRAIN : 0;

	/* They may have been chosen each for one of the two. */
	if (COMPAT_IBPB_ON_EXIT || boot_cpu_has(X86_FEATURE_ENTRY_IBPB))
		measures |= SPEC_EXIT_IBPB;
	if (measures)
		return measures;
	/* IBRS is an answer to Retbleed; the kernel's thunks do nothing unless it chose them. */
	if (force && ((boot_cpu_has_bug(X86_BUG_RETBLEED) && !host_uses_ibrs()) ||
		      boot_cpu_has_bug(X86_BUG_SRSO)))
		return SPEC_EXIT_IBPB;
	return 0;
}

static u32 return_stack_measure(bool force)
{
	if (boot_cpu_has(X86_FEATURE_RSB_VMEXIT) ||
	    (force && boot_cpu_has_bug(X86_BUG_SPECTRE_V2) && !host_uses_ibrs()))
		return SPEC_EXIT_RSB;
	if (boot_cpu_has(X86_FEATURE_RSB_VMEXIT_LITE) ||
	    (force && boot_cpu_has_bug(X86_BUG_EIBRS_PBRSB)))
		return SPEC_EXIT_RSB_ONE;
	return 0;
}

/*
 * Where BHI_DIS_S is the answer, it is in the host's SPEC_CTRL; a guest that runs without it has
 * its own there, and an exit swaps the two.
 */
static u32 branch_history_measure(bool force)
{
	if (COMPAT_BHB_ON_EXIT || (force && COMPAT_BUG_BHI && !COMPAT_BHI_DIS_S))
		return SPEC_EXIT_BHB;
	return 0;
}

/*
 * MMIO stale data is a matter for guests that reach a device's registers, and none does here: GUP
 * returns no such page.
 */
static u32 buffer_measure(bool force)
{
	bool bugs = boot_cpu_has_bug(X86_BUG_MDS) || boot_cpu_has_bug(X86_BUG_TAA) ||
		    COMPAT_BUG_RFDS;

	if (COMPAT_VERW_ON_ENTRY || (bugs && COMPAT_VERW_FOR_INTEL))
		return SPEC_ENTRY_VERW;
	if (force && (bugs || COMPAT_BUG_TSA || boot_cpu_has_bug(X86_BUG_MMIO_STALE_DATA)))
		return SPEC_ENTRY_VERW;
	return 0;
}

/* A hypervisor that flushes for us says so. */
static bool wants_l1d_flush(void)
{
	u64 capabilities = 0;

	if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES))
		rdmsrq(MSR_IA32_ARCH_CAPABILITIES, capabilities);
	return boot_cpu_has_bug(X86_BUG_L1TF) && !(capabilities & ARCH_CAP_SKIP_VMENTRY_L1DFLUSH);
}

static void choose_l1d_flush(void)
{
	if (!wants_l1d_flush())
		return;
	if (boot_cpu_has(X86_FEATURE_FLUSH_L1D)) {
		static_branch_enable(&spec_flush_l1d);
		return;
	}
	l1d_flush_missing = true;
	pr_warn("L1TF: guests may read what the host has in its L1 data cache; a flush needs newer microcode (L1D_FLUSH)\n");
}

static void choose(bool force)
{
	bool has_ibpb = boot_cpu_has(X86_FEATURE_IBPB);
	u32 measures = return_stack_measure(force) | untrain_measure(force) |
		       branch_history_measure(force) | buffer_measure(force);

	measures_wanted = true;
	if (!has_ibpb)
		measures &= ~SPEC_EXIT_IBPB;
	/* An IBPB that spares return predictions asks for the fill as well. */
	if (measures & SPEC_EXIT_IBPB)
		measures |= SPEC_EXIT_RSB;
	if (measures & SPEC_EXIT_RSB)
		measures &= ~SPEC_EXIT_RSB_ONE;
	if (boot_cpu_has(X86_FEATURE_KERNEL_IBRS))
		measures |= SPEC_EXIT_IBRS;
	spec_entry_measures = measures;

	if (has_ibpb && boot_cpu_has_bug(X86_BUG_SPECTRE_V2))
		static_branch_enable(&spec_ibpb_between_vcpus);
	/* One at each exit makes that on the way to user space needless. */
	if (has_ibpb && !(measures & SPEC_EXIT_IBPB) &&
	    (COMPAT_IBPB_TO_USER || (force && COMPAT_BUG_VMSCAPE)))
		static_branch_enable(&spec_ibpb_to_user);
	if (COMPAT_REDUCE_PREDICTION)
		static_branch_enable(&spec_reduce_prediction);
	choose_l1d_flush();
	if (leaks_between_threads())
		pr_warn("a guest may read what the other thread of its core uses (L1TF, MDS, TAA): only \"nosmt\" on the host's command line helps\n");
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

	if (likely(!guard->guest_spec_ctrl &&
		   !(guard->flags & (GUARD_READ_SPEC_CTRL | SPEC_EXIT_IBRS)))) {
		guard->flags &= ~GUARD_SPEC_CTRL;
		return;
	}
	rdmsrq(MSR_IA32_SPEC_CTRL, guard->host_spec_ctrl);
	if (guard->guest_spec_ctrl || (guard->flags & GUARD_READ_SPEC_CTRL))
		guard->flags |= GUARD_SPEC_CTRL;
	else
		guard->flags &= ~GUARD_SPEC_CTRL;
}

/* spec_enter_vcpu(), where the host needs it */
void spec_change_vcpu(struct vcpu *vcpu)
{
	/* Processes of a guest are not to steer each other's branches either. */
	u64 serial = vcpu->vm->serial << 16 | vcpu->index;

	if (this_cpu_read(last_vcpu) == serial)
		return;
	if (this_cpu_read(last_vcpu))
		issue_ibpb();
	this_cpu_write(last_vcpu, serial);
}

/* spec_leave_vcpu(), likewise */
void spec_before_user(void)
{
	issue_ibpb();
}

/* spec_load_window(), where the host needs it */
void spec_empty_l1d(void)
{
	wrmsrq(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
}

/* spec_cpu_enable() and spec_cpu_disable(), likewise */
void spec_set_prediction(bool reduced)
{
	u64 config;

	rdmsrq(MSR_BP_CFG, config);
	if (reduced)
		this_cpu_write(found_reduced, config & BP_CFG_SPEC_REDUCE);
	if (reduced || this_cpu_read(found_reduced))
		config |= BP_CFG_SPEC_REDUCE;
	else
		config &= ~BP_CFG_SPEC_REDUCE;
	wrmsrq(MSR_BP_CFG, config);
}

static const char *yes_no(bool yes)
{
	return yes ? "yes" : "no";
}

static const char *describe_return_stack(void)
{
	if (spec_entry_measures & SPEC_EXIT_RSB_ONE)
		return "one entry (PBRSB)";
	return yes_no(spec_entry_measures & SPEC_EXIT_RSB);
}

static const char *describe_branch_history(void)
{
	if (COMPAT_BHI_DIS_S)
		return "no, the host's SPEC_CTRL has BHI_DIS_S";
	return yes_no(spec_entry_measures & SPEC_EXIT_BHB);
}

static const char *describe_buffers(void)
{
	bool old = (boot_cpu_has_bug(X86_BUG_MDS) || boot_cpu_has_bug(X86_BUG_TAA)) &&
		   !boot_cpu_has(X86_FEATURE_MD_CLEAR);

	if ((spec_entry_measures & SPEC_ENTRY_VERW) && old)
		return "tried, needs newer microcode (MD_CLEAR)";
	return yes_no(spec_entry_measures & SPEC_ENTRY_VERW);
}

static const char *describe_l1d(void)
{
	if (l1d_flush_missing)
		return "no, needs newer microcode (L1D_FLUSH)";
	return yes_no(static_key_enabled(&spec_flush_l1d));
}

static const char *describe_ibpb(bool on, bool asked_for)
{
	if (measures_wanted && asked_for && !boot_cpu_has(X86_FEATURE_IBPB))
		return "no, needs newer microcode (IBPB)";
	return yes_no(on);
}

static const char *describe_threads(void)
{
	if (leaks_between_threads())
		return "yes (L1TF, MDS, TAA), only nosmt helps";
	return "no";
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
	u32 measures = spec_entry_measures;
	const struct {
		const char *name;
		const char *what;
	} lines[] = {
		{ "mitigations", mitigations },
		{ "return stack filled at exits", describe_return_stack() },
		{ "return predictions untrained at exits", yes_no(measures & SPEC_EXIT_UNTRAIN) },
		{ "IBPB at exits", yes_no(measures & SPEC_EXIT_IBPB) },
		{ "IBRS written at exits", yes_no(measures & SPEC_EXIT_IBRS) },
		{ "branch history cleared at exits", describe_branch_history() },
		{ "branch prediction reduced",
		  yes_no(static_key_enabled(&spec_reduce_prediction)) },
		{ "CPU buffers cleared at entries", describe_buffers() },
		{ "L1 data cache flushed before a guest", describe_l1d() },
		{ "IBPB between vCPUs",
		  describe_ibpb(static_key_enabled(&spec_ibpb_between_vcpus),
				boot_cpu_has_bug(X86_BUG_SPECTRE_V2)) },
		{ "IBPB before user space",
		  describe_ibpb(static_key_enabled(&spec_ibpb_to_user), COMPAT_BUG_VMSCAPE) },
		{ "leaks between the threads of a core", describe_threads() },
	};
	ssize_t len = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lines); i++)
		len += scnprintf(buf + len, size - len, "%s: %s\n", lines[i].name, lines[i].what);
	return len;
}
