/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VMX off when the kernel crashes. By itself, as <linux/kprobes.h> has a struct insn, too.
 */
#ifndef VMM_VMX_EMERGENCY_H
#define VMM_VMX_EMERGENCY_H

/* Once, at load; without effect where the kernel has no kprobes or needs none of it. */
void vmx_watch_emergency(void);
void vmx_unwatch_emergency(void);

#endif
