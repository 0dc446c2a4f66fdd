// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host's registers must be again.
 *
 * MSRs that matter in user mode alone stay the guest's until the CPU returns to user
 * mode; the kernel calls us back then. Debug registers and DEBUGCTL are the host's
 * again when the window ends.
 */
#include <linux/smp.h>
#include <asm/msr.h>

#include "compat.h"
#include "vcpu.h"
#include "vmm_abi.h"
#include "x86/host.h"
#include "x86/x86.h"

/* Enable bits of DR7 */
#define BREAKPOINTS	(DR_GLOBAL_ENABLE_MASK | DR_LOCAL_ENABLE_MASK)

static u32 user_msrs[HOST_MAX_USER_MSRS];
static u32 nr_user_msrs;

/* host_cpu.debug */
#define RESTORE_DR	1
#define RESTORE_DR7	2
#define RESTORE_BTF	4	/* in DEBUGCTL */

DEFINE_PER_CPU(struct host_cpu, host_cpus);

/* Interrupts are off. */
static void restore_user_msrs(struct host_cpu *cpu)
{
	u32 i;

	if (!cpu->registered)
		return;
	for (i = 0; i < nr_user_msrs; i++) {
		if (cpu->loaded[i] == cpu->host[i])
			continue;
		wrmsrq(user_msrs[i], cpu->host[i]);
		cpu->loaded[i] = cpu->host[i];
	}
	cpu->registered = false;
	user_return_notifier_unregister(&cpu->urn);
}

/* The interrupt by which host_restore_user_msrs_all() does the same must not come in between. */
static void before_user_mode(struct user_return_notifier *urn)
{
	unsigned long flags;

	local_irq_save(flags);
	restore_user_msrs(container_of(urn, struct host_cpu, urn));
	local_irq_restore(flags);
}

/**
 * host_add_user_msr - announce an MSR for host_set_user_msr()
 * @msr: one that every CPU has; called at init
 *
 * Return: its slot, or ENOSPC.
 */
int host_add_user_msr(u32 msr)
{
	u32 i;

	for (i = 0; i < nr_user_msrs; i++)
		if (user_msrs[i] == msr)
			return i;
	if (nr_user_msrs == HOST_MAX_USER_MSRS)
		return -ENOSPC;
	user_msrs[nr_user_msrs] = msr;
	return nr_user_msrs++;
}

static void read_user_msrs(struct host_cpu *cpu)
{
	u32 i;

	for (i = 0; i < nr_user_msrs; i++) {
		rdmsrq(user_msrs[i], cpu->host[i]);
		cpu->loaded[i] = cpu->host[i];
	}
	cpu->known = true;
}

/* host_set_user_msr(), where the register holds another value */
void host_change_user_msr(u32 slot, u64 value)
{
	struct host_cpu *cpu = this_cpu_ptr(&host_cpus);

	if (!cpu->known)
		read_user_msrs(cpu);
	if (cpu->loaded[slot] == value)
		return;

	wrmsrq(user_msrs[slot], value);
	cpu->loaded[slot] = value;
	if (!cpu->registered) {
		cpu->urn.on_user_return = before_user_mode;
		user_return_notifier_register(&cpu->urn);
		cpu->registered = true;
	}
}

/**
 * host_cpu_down - the CPU goes offline, to sleep, or to another kernel
 *
 * Its user-mode MSRs are the host's again, and are read anew when it comes back.
 * Interrupts are off, on that CPU.
 */
void host_cpu_down(void)
{
	struct host_cpu *cpu = this_cpu_ptr(&host_cpus);

	restore_user_msrs(cpu);
	cpu->known = false;
}

static void restore_here(void *unused)
{
	host_cpu_down();
}

void host_restore_user_msrs_all(void)
{
	on_each_cpu(restore_here, NULL, 1);
}

int host_init(void)
{
	return 0;
}

void host_exit(void)
{
	nr_user_msrs = 0;
}

/* The breakpoints in force: the debugger's or the guest's own */
static const u64 *active_dr(const struct vcpu *vcpu)
{
	return vcpu->exits_wanted & VMM_EXITS_HW_BREAK ? vcpu->debug_dr : vcpu->dr;
}

static void write_dr(const u64 *dr)
{
	native_set_debugreg(0, dr[0]);
	native_set_debugreg(1, dr[1]);
	native_set_debugreg(2, dr[2]);
	native_set_debugreg(3, dr[3]);
}

static void read_dr(u64 *dr)
{
	dr[0] = native_get_debugreg(0);
	dr[1] = native_get_debugreg(1);
	dr[2] = native_get_debugreg(2);
	dr[3] = native_get_debugreg(3);
}

/*
 * BTF, by which a debugger steps the VMM's thread from branch to branch, would turn the guest's
 * single-steps into branch steps.
 */
static void clear_btf(struct host_cpu *cpu)
{
	u64 debugctl;

	rdmsrq(MSR_IA32_DEBUGCTLMSR, debugctl);
	if (debugctl & DEBUGCTLMSR_BTF) {
		wrmsrq(MSR_IA32_DEBUGCTLMSR, debugctl & ~(u64)DEBUGCTLMSR_BTF);
		cpu->debug |= RESTORE_BTF;
	}
}

/* host_debug_load(), where the host has breakpoints or steps from branch to branch */
void host_note_debug(u64 dr7)
{
	struct host_cpu *cpu = this_cpu_ptr(&host_cpus);

	if (dr7 & BREAKPOINTS) {
		cpu->dr7 = dr7;
		cpu->debug |= RESTORE_DR7;
	}
	if (test_thread_flag(TIF_BLOCKSTEP))
		clear_btf(cpu);
}

/**
 * host_debug_guest - load DR0-3 of a guest whose DR7 enables breakpoints
 * @vcpu: in its window; before each entry, as the guest may have changed them
 *
 * The host's DR7 is put out of force first: its own breakpoints must not
 * trigger at the guest's addresses.
 */
void host_debug_guest(struct vcpu *vcpu)
{
	struct host_cpu *cpu = this_cpu_ptr(&host_cpus);
	const u64 *dr = active_dr(vcpu);

	if (!(cpu->debug & RESTORE_DR)) {
		if (cpu->debug & RESTORE_DR7)
			native_set_debugreg(7, 0);
		read_dr(cpu->dr);
		cpu->debug |= RESTORE_DR;
	} else if (!memcmp(cpu->guest_dr, dr, sizeof(cpu->guest_dr))) {
		return;
	}
	memcpy(cpu->guest_dr, dr, sizeof(cpu->guest_dr));
	write_dr(dr);
}

/*
 * host_debug_unload(), where something was changed. DR7 is written where the host had breakpoints:
 * an exit disables them all.
 */
void host_restore_debug(void)
{
	struct host_cpu *cpu = this_cpu_ptr(&host_cpus);
	u64 debugctl;

	if (cpu->debug & RESTORE_DR)
		write_dr(cpu->dr);
	if (cpu->debug & RESTORE_DR7)
		native_set_debugreg(7, cpu->dr7);
	if (cpu->debug & RESTORE_BTF) {
		rdmsrq(MSR_IA32_DEBUGCTLMSR, debugctl);
		wrmsrq(MSR_IA32_DEBUGCTLMSR, debugctl | DEBUGCTLMSR_BTF);
	}
	cpu->debug = 0;
}
