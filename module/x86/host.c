// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host's registers must be again when a window ends.
 *
 * MSRs that matter in user mode alone could stay the guest's until the CPU returns to user mode,
 * but for a neighbour. KVM takes for the host's values what it finds when it is loaded, or makes
 * its first VM, by an interrupt to each CPU; and it remembers what it has loaded for a guest of its
 * own, and writes that once, though we may have run on this CPU since. So they are the guest's in
 * windows alone, where nobody interrupts, and what is put back is what was found.
 */
#include <linux/bits.h>
#include <asm/msr.h>

#include "compat.h"
#include "vcpu.h"
#include "vmm_abi.h"
#include "x86/count.h"
#include "x86/host.h"
#include "x86/x86.h"

/* Enable bits of DR7 */
#define BREAKPOINTS	(DR_GLOBAL_ENABLE_MASK | DR_LOCAL_ENABLE_MASK)

static u32 user_msrs[HOST_MAX_USER_MSRS];
static u32 nr_user_msrs;

/* host_cpu.restore */
#define RESTORE_DR		BIT(0)
#define RESTORE_DR7		BIT(1)
#define RESTORE_BTF		BIT(2)	/* in DEBUGCTL */
#define RESTORE_USER_MSRS	BIT(3)
#define FORGET_USER_MSRS	BIT(4)	/* what was found is another guest's */

DEFINE_PER_CPU(struct host_cpu, host_cpus);

static void restore_user_msrs(struct host_cpu *cpu)
{
	u32 i;

	for (i = 0; i < nr_user_msrs; i++) {
		if (cpu->loaded[i] == cpu->host[i])
			continue;
		wrmsrq(user_msrs[i], cpu->host[i]);
		cpu->loaded[i] = cpu->host[i];
	}
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
	cpu->restore |= RESTORE_USER_MSRS;
}

/**
 * host_cpu_down - the CPU goes offline, to sleep, or to another kernel
 *
 * Its user-mode MSRs are read anew when it comes back. Interrupts are off, on that CPU.
 */
void host_cpu_down(void)
{
	this_cpu_write(host_cpus.known, false);
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
	count_insns(MOV_DR, 4);
	native_set_debugreg(0, dr[0]);
	native_set_debugreg(1, dr[1]);
	native_set_debugreg(2, dr[2]);
	native_set_debugreg(3, dr[3]);
}

static void read_dr(u64 *dr)
{
	count_insns(MOV_DR, 4);
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
		cpu->restore |= RESTORE_BTF;
	}
}

/*
 * host_load(), where there is something to note. A user-return notifier means that another
 * hypervisor has changed user-mode MSRs on this CPU, and will know them when the thread that it was
 * called by runs again.
 */
void host_note(u64 dr7)
{
	struct host_cpu *cpu = this_cpu_ptr(&host_cpus);

	if (dr7 & BREAKPOINTS) {
		cpu->dr7 = dr7;
		cpu->restore |= RESTORE_DR7;
	}
	if (test_thread_flag(TIF_BLOCKSTEP))
		clear_btf(cpu);
	if (test_thread_flag(TIF_USER_RETURN_NOTIFY)) {
		cpu->known = false;
		cpu->restore |= FORGET_USER_MSRS;
	}
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

	if (!(cpu->restore & RESTORE_DR)) {
		if (cpu->restore & RESTORE_DR7) {
			count_insn(MOV_DR);
			native_set_debugreg(7, 0);
		}
		read_dr(cpu->dr);
		cpu->restore |= RESTORE_DR;
	} else if (!memcmp(cpu->guest_dr, dr, sizeof(cpu->guest_dr))) {
		return;
	}
	memcpy(cpu->guest_dr, dr, sizeof(cpu->guest_dr));
	write_dr(dr);
}

/*
 * host_unload(), where something was changed. DR7 is written where the host had breakpoints:
 * an exit disables them all.
 */
void host_restore(void)
{
	struct host_cpu *cpu = this_cpu_ptr(&host_cpus);
	u64 debugctl;

	if (cpu->restore & RESTORE_USER_MSRS)
		restore_user_msrs(cpu);
	if (cpu->restore & FORGET_USER_MSRS)
		cpu->known = false;
	if (cpu->restore & RESTORE_DR)
		write_dr(cpu->dr);
	if (cpu->restore & RESTORE_DR7) {
		count_insn(MOV_DR);
		native_set_debugreg(7, cpu->dr7);
	}
	if (cpu->restore & RESTORE_BTF) {
		rdmsrq(MSR_IA32_DEBUGCTLMSR, debugctl);
		wrmsrq(MSR_IA32_DEBUGCTLMSR, debugctl | DEBUGCTLMSR_BTF);
	}
	cpu->restore = 0;
}
