// SPDX-License-Identifier: GPL-2.0-only
/*
 * ACPI's PM1a registers: power-off. No event ever happens, so the SCI never
 * comes.
 */
#include <pthread.h>
#include <vmm/acpi.h>

#include "../machine.h"

#define CONTROL_SCI_EN	0x0001	/* ACPI mode, from the beginning */
#define CONTROL_KEPT	0x1c07	/* SCI_EN, BM_RLD, GBL_RLS, SLP_TYP */

/**
 * struct power - the registers
 * @machine: the machine
 * @lock: for those below; read and written by any vCPU
 * @enable: the PM1 enable register
 * @control: the PM1 control register
 */
struct power {
	struct machine *machine;
	pthread_mutex_t lock;
	uint16_t enable;
	uint16_t control;
};

static int write_control(struct power *power, uint16_t value)
{
	power->control = (value & CONTROL_KEPT) | CONTROL_SCI_EN;
	if ((value & VMM_ACPI_PM1_SLP_EN) && VMM_ACPI_PM1_SLP_TYP(value) == VMM_ACPI_S5)
		return machine_stop(power->machine, STATUS_OK, NULL);
	return 0;
}

/* Status in the lower half, enable in the upper */
static int access_event(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct power *power = opaque;
	unsigned int offset = access->address - PM1_EVENT_PORT;
	uint32_t both;

	pthread_mutex_lock(&power->lock);
	both = (uint32_t)power->enable << 16;
	if (!access->write) {
		access->data = both >> 8 * offset;
	} else {
		uint32_t mask = access->size >= 4 ? ~0U : (1U << 8 * access->size) - 1;

		both = (both & ~(mask << 8 * offset)) | (access->data & mask) << 8 * offset;
		power->enable = both >> 16;
	}
	pthread_mutex_unlock(&power->lock);
	return 0;
}

static int access_control(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct power *power = opaque;
	unsigned int shift = 8 * (access->address - PM1_CONTROL_PORT);
	uint16_t value;
	int ret = 0;

	pthread_mutex_lock(&power->lock);
	if (!access->write) {
		access->data = power->control >> shift;
	} else {
		value = access->data << shift;
		if (access->size == 1)
			value |= power->control & ~(0xff << shift);
		ret = write_control(power, value);
	}
	pthread_mutex_unlock(&power->lock);
	return ret;
}

static int create(struct machine *machine)
{
	static struct power power = { .control = CONTROL_SCI_EN };
	int err;

	power.machine = machine;
	pthread_mutex_init(&power.lock, NULL);
	err = machine_add(machine, "acpi-event", VMM_BUS_IO, PM1_EVENT_PORT, 4, access_event,
			  &power);
	if (!err)
		err = machine_add(machine, "acpi-control", VMM_BUS_IO, PM1_CONTROL_PORT, 2,
				  access_control, &power);
	return err;
}

static const struct device_type power_type = {
	.name = "power",
	.create = create,
};

DEVICE(power_type);
