// SPDX-License-Identifier: GPL-2.0-only
/*
 * As much of an 8042 as firmware and kernels use without a keyboard: the reset
 * pulse at port 0x64, the output port, and port 0x92. The status register
 * always reads "nothing to read, ready for a command".
 */
#include "../machine.h"

#define DATA_PORT	0x60
#define COMMAND_PORT	0x64
#define FAST_PORT	0x92

#define COMMAND_READ_OUTPUT	0xd0
#define COMMAND_WRITE_OUTPUT	0xd1
#define COMMAND_SELF_TEST	0xaa
#define COMMAND_PULSE		0xf0	/* to 0xff: lines whose bit is clear; line 0 is reset */

#define OUTPUT_RUN	0x01	/* clear: reset */
#define OUTPUT_A20	0x02
#define FAST_RESET	0x01

struct keyboard {
	struct machine *machine;
	uint8_t command;
	uint8_t answer;
	uint8_t fast;
};

static int end_run(struct keyboard *keyboard, const char *how)
{
	return machine_stop(keyboard->machine, STATUS_RESET, "the guest reset by %s", how);
}

static int write_command(struct keyboard *keyboard, uint8_t command)
{
	keyboard->command = command;
	if (command >= COMMAND_PULSE)
		return command & OUTPUT_RUN ? 0 : end_run(keyboard, "the keyboard controller");
	if (command == COMMAND_READ_OUTPUT)
		keyboard->answer = OUTPUT_RUN | OUTPUT_A20;
	else if (command == COMMAND_SELF_TEST)
		keyboard->answer = 0x55;
	return 0;
}

static int access_data(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct keyboard *keyboard = opaque;
	uint8_t command = keyboard->command;

	if (!access->write) {
		access->data = keyboard->answer;
		return 0;
	}
	keyboard->command = 0;
	if (command == COMMAND_WRITE_OUTPUT && !(access->data & OUTPUT_RUN))
		return end_run(keyboard, "the keyboard controller");
	return 0;
}

static int access_command(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	if (access->write)
		return write_command(opaque, access->data & 0xff);
	access->data = 0;
	return 0;
}

static int access_fast(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct keyboard *keyboard = opaque;

	if (!access->write) {
		access->data = keyboard->fast;
		return 0;
	}
	/* A20 cannot be turned off. */
	keyboard->fast = (access->data & 0xff & ~FAST_RESET) | OUTPUT_A20;
	return access->data & FAST_RESET ? end_run(keyboard, "port 0x92") : 0;
}

static int create(struct machine *machine)
{
	static struct keyboard keyboard = { .fast = OUTPUT_A20 };
	int err;

	keyboard.machine = machine;
	err = machine_add(machine, "keyboard", VMM_BUS_IO, DATA_PORT, 1, access_data, &keyboard);
	if (!err)
		err = machine_add(machine, "keyboard", VMM_BUS_IO, COMMAND_PORT, 1, access_command,
				  &keyboard);
	if (!err)
		err = machine_add(machine, "fast-a20", VMM_BUS_IO, FAST_PORT, 1, access_fast,
				  &keyboard);
	return err;
}

static const struct device_type keyboard_type = {
	.name = "keyboard",
	.create = create,
};

DEVICE(keyboard_type);
