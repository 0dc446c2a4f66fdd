// SPDX-License-Identifier: GPL-2.0-only
/*
 * A port with which a test guest ends the run and says how it went: writing
 * CODE, in any width, gives exit status (CODE << 1) | 1.
 */
#include <errno.h>

#include "../machine.h"

static int access_port(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct machine *machine = opaque;

	if (!access->write)
		return 0;
	return machine_stop(machine, ((access->data << 1) | 1) & 0xff, NULL);
}

static bool wanted(const struct options *options)
{
	return options->debug_exit >= 0;
}

/* Ports that never leave the kernel: PIC pair, PIT with the speaker's gate, trigger modes */
static bool is_kernel_port(unsigned int port)
{
	return (port & ~1U) == 0x20 || (port & ~3U) == 0x40 || port == 0x61 ||
	       (port & ~1U) == 0xa0 || (port & ~1U) == 0x4d0;
}

static int create(struct machine *machine)
{
	if (is_kernel_port(machine->options->debug_exit)) {
		complain("--debug-exit %#x: an interrupt controller has that port",
			 machine->options->debug_exit);
		return -EBUSY;
	}
	return machine_add(machine, "debug-exit", VMM_BUS_IO, machine->options->debug_exit, 1,
			   access_port, machine);
}

static const struct device_type debug_exit_type = {
	.name = "debug-exit",
	.wanted = wanted,
	.create = create,
};

DEVICE(debug_exit_type);
