/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The differences between kernel releases: the only file that asks for
 * LINUX_VERSION_CODE.
 */
#ifndef VMM_COMPAT_H
#define VMM_COMPAT_H

#include <linux/syscore_ops.h>
#include <linux/thread_info.h>
#include <linux/version.h>

/* xfer_to_guest_mode_handle_work() wants the hypervisor's vCPU, and notes a signal in it */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
#define COMPAT_GUEST_WORK_TAKES_VCPU
#endif

/*
 * Work that a thread must do before it goes on in guest mode: reschedule, signals,
 * task work. Returns 0 or EINTR (a signal is pending).
 */
int compat_guest_mode_work(void);

/* Is there any? Exact with interrupts off, a hint otherwise. */
static inline bool compat_guest_mode_work_pending(void)
{
	return unlikely(read_thread_flags() & (_TIF_NEED_RESCHED | _TIF_SIGPENDING |
					       _TIF_NOTIFY_SIGNAL | _TIF_NOTIFY_RESUME));
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

#endif
