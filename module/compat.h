/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The differences between kernel releases: the only file that asks for
 * LINUX_VERSION_CODE.
 */
#ifndef VMM_COMPAT_H
#define VMM_COMPAT_H

#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/perf_event.h>
#include <linux/syscore_ops.h>
#include <linux/thread_info.h>
#include <linux/timekeeping.h>
#include <linux/version.h>
#include <asm/mce.h>
#include <asm/msr.h>
#include <asm/processor-flags.h>

#include "x86/count.h"

/* xfer_to_guest_mode_handle_work() wants the hypervisor's vCPU, and notes a signal in it */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
#define COMPAT_GUEST_WORK_TAKES_VCPU
#endif

/*
 * Work that a thread must do before it goes on in guest mode: reschedule, signals,
 * task work. Returns 0 or EINTR (a signal is pending).
 */
int compat_guest_mode_work(void);

/* A reschedule that may wait for the way to user mode, and so for the one to a guest (6.13) */
#ifndef _TIF_NEED_RESCHED_LAZY
#define _TIF_NEED_RESCHED_LAZY	0
#endif

/* Is there any? Exact with interrupts off, a hint otherwise. */
static __always_inline unsigned long compat_guest_mode_work_bits(void)
{
	return read_thread_flags() & (_TIF_NEED_RESCHED | _TIF_NEED_RESCHED_LAZY | _TIF_SIGPENDING |
				      _TIF_NOTIFY_SIGNAL | _TIF_NOTIFY_RESUME);
}

static inline bool compat_guest_mode_work_pending(void)
{
	return unlikely(compat_guest_mode_work_bits());
}

static inline void compat_hrtimer_setup(struct hrtimer *timer,
					enum hrtimer_restart (*function)(struct hrtimer *),
					clockid_t clock, enum hrtimer_mode mode)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, function, clock, mode);
#else
	hrtimer_init(timer, clock, mode);
	timer->function = function;
#endif
}

/* More flags for a mapping that is being made. */
static inline void compat_vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

/*
 * A machine check that has left a guest, with interrupts off, on the thread's own stack. The kernel
 * is told that it came in user mode: of the memory that it is about only the thread loses its
 * own. Where the kernel does not let itself be told, the error is its own, and may end it.
 */
static inline void compat_machine_check(void)
{
#ifdef HAVE_MACHINE_CHECK
	struct pt_regs regs = { .cs = 3, .flags = X86_EFLAGS_IF };

	do_machine_check(&regs);
#else
	asm volatile("int $18");
#endif
}

/*
 * AMD's counters tell host and guest apart by two bits, which do so only while SVM is on: the
 * kernel leaves that for the host out of its events until it is told that SVM is. On this CPU,
 * with interrupts off. Where the kernel does not let itself be told, they count guests as well.
 */
static inline void compat_amd_pmu_enable_virt(void)
{
#ifdef HAVE_AMD_PMU_VIRT
	amd_pmu_enable_virt();
#endif
}

static inline void compat_amd_pmu_disable_virt(void)
{
#ifdef HAVE_AMD_PMU_VIRT
	amd_pmu_disable_virt();
#endif
}

/* Add one to an eventfd, from any context. */
static inline void compat_eventfd_signal(struct eventfd_ctx *eventfd)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(eventfd);
#else
	eventfd_signal(eventfd, 1);
#endif
}

/*
 * System core callbacks got an argument, and a structure around them, in 6.19 and in stable
 * releases before it: Kbuild looks.
 */
#ifndef HAVE_STRUCT_SYSCORE
#define COMPAT_SYSCORE(name, suspend_fn, resume_fn)				\
	static struct syscore_ops name = {					\
		.suspend = suspend_fn,						\
		.resume = resume_fn,						\
	}
#define compat_register_syscore(core)	register_syscore_ops(core)
#define compat_unregister_syscore(core)	unregister_syscore_ops(core)
#else
#define COMPAT_SYSCORE(name, suspend_fn, resume_fn)				\
	static int name##_suspend(void *data) { return suspend_fn(); }		\
	static void name##_resume(void *data) { resume_fn(); }			\
	static const struct syscore_ops name##_ops = {				\
		.suspend = name##_suspend,					\
		.resume = name##_resume,					\
	};									\
	static struct syscore name = { .ops = &name##_ops }
#define compat_register_syscore(core)	register_syscore(core)
#define compat_unregister_syscore(core)	unregister_syscore(core)
#endif

/* The clock source's count; a snapshot is of a clock that is named, where Kbuild says so. */
static inline u64 compat_clock_cycles(void)
{
	struct system_time_snapshot now;

#ifdef HAVE_SNAPSHOT_OF_CLOCK
	ktime_get_snapshot_id(CLOCK_MONOTONIC, &now);
#else
	ktime_get_snapshot(&now);
#endif
	return now.cycles;
}

/* What an mmu notifier's callbacks for ageing return: int, later bool */
typedef typeof(((struct mmu_notifier_ops *)NULL)->test_young(NULL, NULL, 0)) compat_young_t;

/*
 * Besides FOLL_WRITE, how guest pages are got: NUMA balancing sees the access (6.6), and any
 * signal ends a long fault (6.3; before that a fatal one alone).
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define COMPAT_GUP_FAST	FOLL_HONOR_NUMA_FAULT
#define COMPAT_GUP_SLOW	(FOLL_HONOR_NUMA_FAULT | FOLL_INTERRUPTIBLE | FOLL_HWPOISON)
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#define COMPAT_GUP_FAST	0
#define COMPAT_GUP_SLOW	(FOLL_INTERRUPTIBLE | FOLL_HWPOISON)
#else
#define COMPAT_GUP_FAST	0
#define COMPAT_GUP_SLOW	FOLL_HWPOISON
#endif

/* Accesses to MSRs have their new names, those to CPUID their own header, since 6.16. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
#include <asm/cpuid/api.h>
#else
#include <asm/processor.h>
#define rdmsrq(msr, value)	rdmsrl(msr, value)
#define wrmsrq(msr, value)	wrmsrl(msr, value)
#endif

/*
 * For what each window passes through: without the detour by which a paravirtualized kernel asks
 * its hypervisor, on which no guest can be run.
 */
static __always_inline u64 compat_rdmsr(u32 msr)
{
	count_insn(RDMSR);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
	return native_rdmsrq(msr);
#else
	return __rdmsr(msr);
#endif
}

static __always_inline void compat_wrmsr(u32 msr, u64 value)
{
	count_insn(WRMSR);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
	native_wrmsrq(msr, value);
#else
	__wrmsr(msr, (u32)value, value >> 32);
#endif
}

#ifdef VMM_COUNT
#undef rdmsrq
#undef wrmsrq
#define rdmsrq(msr, value)						\
do {									\
	u32 low_, high_;						\
									\
	count_insn(RDMSR);						\
	rdmsr(msr, low_, high_);					\
	(value) = (u64)high_ << 32 | low_;				\
} while (0)
#define wrmsrq(msr, value)						\
do {									\
	u64 value_ = (value);						\
									\
	count_insn(WRMSR);						\
	wrmsr(msr, (u32)value_, value_ >> 32);				\
} while (0)
#endif

/* The host may run guests by SEV-SNP: kernels without the name cannot. */
#ifdef X86_FEATURE_SEV_SNP
#define COMPAT_HOST_SNP		boot_cpu_has(X86_FEATURE_SEV_SNP)
#else
#define COMPAT_HOST_SNP		false
#endif

/*
 * Bugs and host policies that not every kernel of a series knows: stable updates
 * brought them, so that the name decides, not the version.
 */
#ifdef X86_BUG_VMSCAPE
#define COMPAT_BUG_VMSCAPE	boot_cpu_has_bug(X86_BUG_VMSCAPE)
#else
#define COMPAT_BUG_VMSCAPE	false
#endif
#ifdef X86_BUG_TSA
#define COMPAT_BUG_TSA		boot_cpu_has_bug(X86_BUG_TSA)
#else
#define COMPAT_BUG_TSA		false
#endif
#ifdef X86_FEATURE_CLEAR_CPU_BUF_VM
#define COMPAT_VERW_ON_ENTRY	boot_cpu_has(X86_FEATURE_CLEAR_CPU_BUF_VM)
#else
#define COMPAT_VERW_ON_ENTRY	false
#endif
/*
 * Is VERW what the host does about those of Intel's bugs that it asks for? Kernels with the first
 * name say what guests need apart, by CLEAR_CPU_BUF_VM; those without the second do it
 * wherever their mitigations are on.
 */
#ifdef X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO
#define COMPAT_VERW_FOR_INTEL	false
#elif defined(X86_FEATURE_CLEAR_CPU_BUF)
#define COMPAT_VERW_FOR_INTEL	boot_cpu_has(X86_FEATURE_CLEAR_CPU_BUF)
#else
#define COMPAT_VERW_FOR_INTEL	true
#endif
#ifdef X86_BUG_RFDS
#define COMPAT_BUG_RFDS		boot_cpu_has_bug(X86_BUG_RFDS)
#else
#define COMPAT_BUG_RFDS		false
#endif
#ifdef X86_BUG_BHI
#define COMPAT_BUG_BHI		boot_cpu_has_bug(X86_BUG_BHI)
#else
#define COMPAT_BUG_BHI		false
#endif
#ifdef X86_FEATURE_CLEAR_BHB_HW
#define COMPAT_BHI_DIS_S	boot_cpu_has(X86_FEATURE_CLEAR_BHB_HW)
#else
#define COMPAT_BHI_DIS_S	false
#endif
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
#define COMPAT_BHB_ON_EXIT	boot_cpu_has(X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT)
#elif defined(X86_FEATURE_CLEAR_BHB_VMEXIT)
#define COMPAT_BHB_ON_EXIT	boot_cpu_has(X86_FEATURE_CLEAR_BHB_VMEXIT)
#else
#define COMPAT_BHB_ON_EXIT	false
#endif
#ifdef X86_FEATURE_SRSO_BP_SPEC_REDUCE
#define COMPAT_REDUCE_PREDICTION boot_cpu_has(X86_FEATURE_SRSO_BP_SPEC_REDUCE)
#else
#define COMPAT_REDUCE_PREDICTION false
#endif
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
#define COMPAT_IBPB_TO_USER	boot_cpu_has(X86_FEATURE_IBPB_EXIT_TO_USER)
#else
#define COMPAT_IBPB_TO_USER	COMPAT_BUG_VMSCAPE
#endif
#ifdef X86_FEATURE_IBPB_ON_VMEXIT
#define COMPAT_IBPB_ON_EXIT	boot_cpu_has(X86_FEATURE_IBPB_ON_VMEXIT)
#else
#define COMPAT_IBPB_ON_EXIT	false
#endif

#endif
