// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is not there: every port and address that no other device answers.
 * Reads are all ones. Here so that --stats shows who looks for it.
 */
#include "../machine.h"

static int access_nothing(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	return 0;
}

static int create(struct machine *machine)
{
	static const struct {
		const char *name;
		uint64_t first, count;
	} absent[] = {
		{ "post-code", 0x80, 1 },
		{ "no-com2", 0x2f8, 8 },
		{ "no-com3", 0x3e8, 8 },
		{ "no-com4", 0x2e8, 8 },
		{ "no-vga", 0x3b0, 48 },
	};
	unsigned int i;
	int err = 0;

	for (i = 0; !err && i < sizeof(absent) / sizeof(absent[0]); i++)
		err = machine_add(machine, absent[i].name, VMM_BUS_IO, absent[i].first,
				  absent[i].count, access_nothing, NULL);
	return err;
}

static const struct device_type absent_type = {
	.name = "absent",
	.create = create,
};

DEVICE(absent_type);
