// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmmctl: the image and its surroundings into the guest's memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmm/acpi.h>

#include "machine.h"

#define DEFAULT_APPEND	"console=ttyS0"
#define DEFAULT_LOAD	0x1000
#define TABLE_GIB	4
#define TABLE_BYTES	((2 + TABLE_GIB) * 4096ULL)

static int map_file(const char *what, const char *path, struct vmm_file *file)
{
	int err = vmm_file_map(path, file);

	if (err)
		complain("%s: %s: %s", what, path, strerror(-err));
	return err;
}

/* "FILE words": the file is the first word, the command line all of it */
static int map_module(const char *argument, struct vmm_file *file)
{
	char *path = strndup(argument, strcspn(argument, " "));
	int err;

	if (!path) {
		complain("out of memory");
		return -ENOMEM;
	}
	err = map_file("--module", path, file);
	free(path);
	file->text = argument;
	return err;
}

static int install_acpi(struct machine *machine, uint64_t *rsdp)
{
	struct vmm_acpi acpi = {
		.cpus = machine->options->cpus,
		.pm1_event = PM1_EVENT_PORT,
		.pm1_control = PM1_CONTROL_PORT,
		.reset_port = RESET_PORT,
		.reset_value = RESET_VALUE,
		.sci = SCI_GSI,
		.devices = VMM_ACPI_COM1 | VMM_ACPI_RTC,
	};
	int err = vmm_acpi_install(machine->vm, &acpi, rsdp);

	if (err)
		complain("%s", vmm_vm_error(machine->vm));
	return err;
}

static int load_kind(struct vmm_vcpu *vcpu, const struct vmm_boot *boot, enum vmm_image_kind kind)
{
	switch (kind) {
	case VMM_IMAGE_LINUX:
		return vmm_load_linux(vcpu, boot);
	case VMM_IMAGE_PVH:
		return vmm_load_pvh(vcpu, boot);
	case VMM_IMAGE_MULTIBOOT:
		return vmm_load_multiboot(vcpu, boot);
	default:
		return vmm_load_image(vcpu, boot);
	}
}

static int load_kernel(struct machine *machine)
{
	const struct options *options = machine->options;
	struct vmm_file modules[MAX_MODULES] = { { NULL } };
	struct vmm_boot boot = {
		.name = options->kernel,
		.cmdline = options->append ? options->append : DEFAULT_APPEND,
		.modules = modules,
		.nr_modules = options->nr_modules,
	};
	unsigned int i;
	int err;

	err = map_file("--kernel", options->kernel, &boot.kernel);
	if (!err && options->initrd) {
		err = map_file("--initrd", options->initrd, &boot.initrd);
		boot.initrd.text = options->initrd;
	}
	for (i = 0; !err && i < options->nr_modules; i++)
		err = map_module(options->modules[i], &modules[i]);
	if (!err)
		err = install_acpi(machine, &boot.rsdp);
	if (!err) {
		err = load_kind(machine->cpus[0].vcpu, &boot, options->loader);
		if (err)
			complain("%s: %s", options->kernel, vmm_vm_error(machine->vm));
	}
	for (i = 0; i < options->nr_modules; i++)
		vmm_file_unmap(&modules[i]);
	vmm_file_unmap(&boot.initrd);
	vmm_file_unmap(&boot.kernel);
	return err;
}

/* 64-bit mode needs page tables: in the last pages of low memory, where the image must not lie */
static int make_tables(struct machine *machine, uint64_t load, uint64_t bytes, uint64_t *tables)
{
	int err;

	*tables = (machine->low_bytes - TABLE_BYTES) & ~4095ULL;
	if (load < *tables + TABLE_BYTES && load + bytes > *tables) {
		complain("%s: it lies where --mode long has its page tables at %#" PRIx64,
			 machine->options->flat, *tables);
		return -EINVAL;
	}
	err = vmm_identity_map(machine->vm, *tables, TABLE_GIB);
	if (err)
		complain("%s", vmm_vm_error(machine->vm));
	return err;
}

static int load_flat(struct machine *machine)
{
	const struct options *options = machine->options;
	uint64_t load = options->has_load ? options->load : DEFAULT_LOAD;
	uint64_t entry = options->has_entry ? options->entry : load;
	struct vmm_vcpu *vcpu = machine->cpus[0].vcpu;
	struct vmm_file file;
	uint64_t bytes, tables;
	int err;

	err = map_file("--flat", options->flat, &file);
	if (err)
		return err;
	err = vmm_load_flat(machine->vm, &file, load);
	bytes = file.size;
	vmm_file_unmap(&file);
	if (err) {
		complain("%s: %s", options->flat, vmm_vm_error(machine->vm));
		return err;
	}
	switch (options->mode) {
	case MODE_PROTECTED:
		err = vmm_vcpu_protected_mode(vcpu, entry, NULL);
		break;
	case MODE_LONG:
		err = make_tables(machine, load, bytes, &tables);
		if (err)
			return err;
		err = vmm_vcpu_long_mode(vcpu, entry, tables, NULL);
		break;
	default:
		/* Below 64 KiB in segment 0, above in the segment of its 64 KiB */
		err = vmm_vcpu_real_mode(vcpu, (entry & 0xf0000) >> 4, entry & 0xffff);
		break;
	}
	if (err)
		complain("%s", vmm_vcpu_error(vcpu));
	return err;
}

int machine_load(struct machine *machine)
{
	return machine->options->flat ? load_flat(machine) : load_kernel(machine);
}
