// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loaded with QEMU, whose VMRUN injects an interrupt once then.
 *
 * It delivers the interrupt and leaves its vector in cpu->exception_index, where an exception that
 * has yet to be delivered is. Mostly something else gets there before it is looked at. Where the
 * CPU is asked to stop for a moment right behind VMRUN (another thread's kick, the end of the
 * instructions that -icount gives it) it is looked at: the guest is in its handler twice.
 */
#include <dlfcn.h>
#include <stdio.h>

#include "patch-code.h"

static void (*do_interrupt_all)(void *cpu, int vector, int is_int, int error, unsigned long next_ip,
				int is_hw);
/* Of QEMU's structures, as its own instructions have them */
static int env_in_cpu, exception_index;

static void do_interrupt_hardirq(void *env, int vector, int is_hw)
{
	char *cpu = (char *)env - env_in_cpu;

	do_interrupt_all(cpu, vector, 0, 0, 0, is_hw);
	*(int *)(cpu + exception_index) = -1;
}

__attribute__((constructor)) static void take_over(void)
{
	/* mov %edx, %r9d; sub $env_in_cpu, %rdi; zeros into %r8d, %ecx and %edx; jmp */
	unsigned char *hardirq = dlsym(RTLD_DEFAULT, "do_interrupt_x86_hardirq");
	/* sub $8, %rsp; movl $-1, exception_index(%rdi) */
	unsigned char *noexc = dlsym(RTLD_DEFAULT, "cpu_loop_exit_noexc");
	unsigned char jump[JUMP_LENGTH];

	*(void **)&do_interrupt_all = dlsym(RTLD_DEFAULT, "do_interrupt_all");
	if (!hardirq || !noexc || !do_interrupt_all ||
	    memcmp(hardirq, "\x41\x89\xd1\x48\x81\xef", 6) ||
	    memcmp(hardirq + 10, "\x45\x31\xc0\x31\xc9\x31\xd2\xe9", 8) ||
	    memcmp(noexc, "\x48\x83\xec\x08\xc7\x87", 6) ||
	    memcmp(noexc + 10, "\xff\xff\xff\xff", 4))
		goto failed;
	memcpy(&env_in_cpu, hardirq + 6, sizeof(env_in_cpu));
	memcpy(&exception_index, noexc + 6, sizeof(exception_index));
	make_jump(jump, do_interrupt_hardirq);
	if (!patch_code(hardirq, jump, sizeof(jump)))
		return;
failed:
	fputs("injected-once: QEMU may inject an interrupt twice\n", stderr);
}
