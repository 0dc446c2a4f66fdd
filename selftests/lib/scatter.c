// SPDX-License-Identifier: GPL-2.0-only
#include "scatter.h"

GUEST_CODE(scatter, 64,
	   "mov $12345, %eax\n"
	   "1: imul $1664525, %eax, %eax; add $1013904223, %eax\n"
	   "mov %eax, %ecx; shr $22, %ecx; shl $12, %ecx; lea 0x800000(%rcx), %rbx\n"
	   "mov %eax, %ecx; shr $9, %ecx; and $0xff8, %ecx; incq (%rbx,%rcx)\n"
	   "jmp 1b\n");
asm(".globl scatter, scatter_end");

void *run_writer(void *arg)
{
	struct writer_thread *w = arg;

	while (!__atomic_load_n(&w->stop, __ATOMIC_SEQ_CST)) {
		int ret = vcpu_run_raw(w->vcpu);

		/* Where the slot is away the guest's write leaves. */
		if (ret && ret != -EINTR)
			fail("VMM_RUN: %s", strerror(-ret));
		if (!ret && w->vcpu->run->exit.reason == VMM_EXIT_RING_FULL)
			usleep(1000);
	}
	return NULL;
}
