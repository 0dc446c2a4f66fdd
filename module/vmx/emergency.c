// SPDX-License-Identifier: GPL-2.0-only
/*
 * A crash while a CPU is in a window.
 *
 * The kernel goes down, and stops each CPU for ever, the one that crashes and by an NMI the others.
 * Where that comes in a window, and not in its guest, VMX would stay on, and the INIT by which the
 * next kernel starts the CPU be blocked (SDM vol. 3 24.8). Kernels from 6.6 on, and the later ones
 * of 6.1, leave VMX to a callback of KVM's. There is room for one, and who comes second makes the
 * kernel warn, so the function that would call it is probed. Older kernels turn VMX off themselves.
 */
#include <linux/kprobes.h>
#include <asm/asm.h>
#include <asm/processor-flags.h>
#include <asm/special_insns.h>

#include "vmx/emergency.h"

/* Whose VMX it is does not matter any more. Nothing here may be probed. */
static int turn_vmx_off(struct kprobe *probe, struct pt_regs *regs)
{
	u64 cr4 = native_read_cr4();

	if (!(cr4 & X86_CR4_VMXE))
		return 0;
	/* #UD: VMXON had not come yet. */
	asm volatile("1: vmxoff\n2:\n" _ASM_EXTABLE(1b, 2b) : : : "cc", "memory");
	asm volatile("mov %0, %%cr4" : : "r" (cr4 & ~(u64)X86_CR4_VMXE) : "memory");
	return 0;
}

NOKPROBE_SYMBOL(turn_vmx_off);

static struct kprobe emergency = {
	.symbol_name = "cpu_emergency_disable_virtualization",
	.pre_handler = turn_vmx_off,
};

static bool watched;

void vmx_watch_emergency(void)
{
	watched = !register_kprobe(&emergency);
}

void vmx_unwatch_emergency(void)
{
	if (watched)
		unregister_kprobe(&emergency);
}
