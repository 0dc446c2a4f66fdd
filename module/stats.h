/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Statistics: a counter is declared and described in one line. Names are ABI
 * (at most 23 characters).
 */
#ifndef VMM_STATS_H
#define VMM_STATS_H

#include <linux/types.h>

#define VCPU_STATS(S)								\
	S(entries,		"VM entries")					\
	S(windows,		"times the window was entered")			\
	S(user_exits,		"returns to the VMM")				\
	S(host_exits,		"exits for a host interrupt or NMI")		\
	S(io_exits,		"port accesses")				\
	S(io_user,		"port accesses that the VMM completed")		\
	S(mmio_exits,		"MMIO accesses")				\
	S(mmio_user,		"MMIO accesses that the VMM completed")		\
	S(emulate_exits,	"instructions left to the VMM's emulator")	\
	S(cpuid_exits,		"CPUID instructions")				\
	S(msr_exits,		"MSR accesses")					\
	S(cr_exits,		"control and debug register accesses")		\
	S(hlt_exits,		"HLT instructions")				\
	S(pause_exits,		"PAUSE loops")					\
	S(halt_wakeups,		"sleeps in HLT that ended")			\
	S(hypercalls,		"hypercalls")					\
	S(faults,		"second-level faults")				\
	S(faults_mapped,	"second-level faults that mapped a page")	\
	S(access_exits,		"accesses that the view does not grant")	\
	S(pages_logged,		"pages that the CPU has logged as written to")	\
	S(exceptions,		"exceptions injected")				\
	S(interrupts,		"interrupts injected, but for those that the CPU delivers itself") \
	S(nmis,			"NMIs injected")				\
	S(reinjections,		"events injected again after an interrupted delivery") \
	S(window_exits,		"interrupt and NMI window exits")		\
	S(tlb_flushes,		"flushes of the guest's translations")		\
	S(kicks,		"interrupts sent to make the vCPU look")

struct vcpu_stats {
#define S(name, what) u64 name;
	VCPU_STATS(S)
#undef S
};

#endif
