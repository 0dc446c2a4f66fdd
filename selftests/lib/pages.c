// SPDX-License-Identifier: GPL-2.0-only
#include "pages.h"

GUEST_CODE(page_writer, 64,
	   "1: in $PORT_VALUE, %eax; incl (%rax); mov (%rax), %eax; out %eax, $PORT_VALUE; jmp 1b\n");
GUEST_CODE(page_reader, 64,
	   "1: in $PORT_VALUE, %eax; mov (%rax), %eax; out %eax, $PORT_VALUE; jmp 1b\n");
GUEST_CODE(scatter, 64,
	   "mov $12345, %eax\n"
	   "1: imul $1664525, %eax, %eax; add $1013904223, %eax\n"
	   "mov %eax, %ecx; shr $22, %ecx; shl $12, %ecx; lea 0x800000(%rcx), %rbx\n"
	   "mov %eax, %ecx; shr $9, %ecx; and $0xff8, %ecx; incq (%rbx,%rcx)\n"
	   "jmp 1b\n");
asm(".globl page_writer, page_writer_end, page_reader, page_reader_end, scatter, scatter_end");

u32 guest_does(struct vcpu *vcpu, u64 address)
{
	struct vmm_exit *e = run_until(vcpu, VMM_EXIT_IO);

	if (!e->io.in)
		fail("the guest was to ask");
	e->io.data = address;
	return run_value(vcpu);
}

u32 count_pages(const u64 *bits, u64 pages)
{
	u32 i, n = 0;

	for (i = 0; i < pages; i++)
		n += page_is_set(bits, i);
	return n;
}

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
