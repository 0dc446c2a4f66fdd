/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's registers around a window: what host.c keeps of them, and the part that every window
 * passes through.
 */
#ifndef VMM_X86_HOST_H
#define VMM_X86_HOST_H

#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/thread_info.h>
#include <linux/types.h>
#include <asm/debugreg.h>

#include "x86/count.h"

#define HOST_MAX_USER_MSRS	5

/**
 * struct host_cpu - what was found on a CPU
 * @known: are @host and @loaded what the registers hold?
 * @host: the host's values of the MSRs that host_add_user_msr() has announced
 * @loaded: those in the registers now; the same as @host outside of windows
 * @restore: what must be put back when the window ends; 0 outside of windows
 * @dr: the host's DR0-3, if that is part of it
 * @guest_dr: what DR0-3 hold instead
 * @dr7: the host's DR7, likewise
 *
 * Only its own CPU touches it, with interrupts off.
 */
struct host_cpu {
	bool known;
	u64 host[HOST_MAX_USER_MSRS];
	u64 loaded[HOST_MAX_USER_MSRS];

	unsigned int restore;
	u64 dr[4];
	u64 guest_dr[4];
	u64 dr7;
};

DECLARE_PER_CPU(struct host_cpu, host_cpus);

void host_change_user_msr(u32 slot, u64 value);
void host_note(u64 dr7);
void host_restore(void);

/**
 * host_set_user_msr - load a guest value into an MSR that the host needs only in user mode
 * @slot: of host_add_user_msr()
 * @value: the guest's
 *
 * The host's is put back, to exactly what was found, when the window ends. Window, after
 * host_load().
 */
static __always_inline void host_set_user_msr(u32 slot, u64 value)
{
	if (unlikely(!__this_cpu_read(host_cpus.known) ||
		     __this_cpu_read(host_cpus.loaded[slot]) != value))
		host_change_user_msr(slot, value);
}

/**
 * host_load - a window begins: note what of the host's state is out of the ordinary
 *
 * Breakpoints, branch steps, and MSRs that another hypervisor has left loaded until this thread
 * returns to user mode. Interrupts are off.
 */
static __always_inline void host_load(void)
{
	u64 dr7 = native_get_debugreg(7);

	count_insn(MOV_DR);
	if (unlikely((dr7 & (DR_GLOBAL_ENABLE_MASK | DR_LOCAL_ENABLE_MASK)) |
		     (read_thread_flags() & (_TIF_BLOCKSTEP | _TIF_USER_RETURN_NOTIFY))))
		host_note(dr7);
}

/**
 * host_unload - the window ends: put back what was changed since host_load()
 *
 * Interrupts are off.
 */
static __always_inline void host_unload(void)
{
	if (unlikely(this_cpu_read(host_cpus.restore)))
		host_restore();
}

#endif
