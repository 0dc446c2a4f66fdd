// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loaded with QEMU, which has one data race less then.
 *
 * QEMU's XRSTOR, FXRSTOR and FNINIT lower IGNNE# of the first CPU, whichever
 * CPU executes them: cpu_clear_ignne() takes a bit out of that CPU's hflags2,
 * not atomically and without a lock, while the first CPU's own thread changes
 * other bits of it. What is lost or comes back then is GIF or "this is a guest
 * with nested paging": a guest uses the host's memory as its own, or the host
 * itself has a #VMEXIT(NPF) behind VMRUN and its state lands in the VMCB.
 *
 * IGNNE# is raised by a write to port 0xf0 alone, which no kernel with CR0.NE
 * does, so that nothing is missing when the function returns at once.
 */
#include <dlfcn.h>
#include <stdio.h>

#include "patch-code.h"

#define RET		0xc3

__attribute__((constructor)) static void return_at_once(void)
{
	void *function = dlsym(RTLD_DEFAULT, "cpu_clear_ignne");

	if (!function || patch_code(function, &(unsigned char){ RET }, 1))
		fputs("ignne: QEMU keeps its data race in cpu_clear_ignne()\n", stderr);
}
