// SPDX-License-Identifier: GPL-2.0-only
/*
 * What needs a header of the kernel's own hypervisor, kept apart from ours.
 */
#ifdef HAVE_ENTRY_VIRT
#include <linux/entry-virt.h>
#else
#include <linux/entry-kvm.h>
#endif
#include <linux/kvm_host.h>

#include "compat.h"

#ifdef COMPAT_GUEST_WORK_TAKES_VCPU

/* Where it notes the signal; nobody reads it. */
static struct kvm_run signal_sink_run;
static struct kvm_vcpu signal_sink = { .run = &signal_sink_run };

int compat_guest_mode_work(void)
{
	return xfer_to_guest_mode_handle_work(&signal_sink);
}

#else

int compat_guest_mode_work(void)
{
	return xfer_to_guest_mode_handle_work();
}

#endif
