// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where PCI's configuration ports would be: no bus answers, so all reads are
 * all ones, the address register's own included, which a guest takes at once
 * for "no PCI". The reset register is the one byte that does something.
 */
#include "../machine.h"

#define CONFIG_PORT	0xcf8
#define RESET_CPU	0x04

static int access_config(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct machine *machine = opaque;

	if (access->address != RESET_PORT || access->size != 1)
		return 0;
	if (!access->write)
		access->data = 0;
	else if (access->data & RESET_CPU)
		return machine_stop(machine, STATUS_RESET, "the guest reset by port 0xcf9");
	return 0;
}

static int create(struct machine *machine)
{
	return machine_add(machine, "pci", VMM_BUS_IO, CONFIG_PORT, 8, access_config, machine);
}

static const struct device_type pci_type = {
	.name = "pci",
	.create = create,
};

DEVICE(pci_type);
