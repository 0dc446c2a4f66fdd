// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: the device, and names.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

int fail(struct message *message, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(message->text, sizeof(message->text), fmt, args);
	va_end(args);
	return err;
}

int do_ioctl(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

static int open_device(struct vmm *vmm, const char *device)
{
	int err;

	vmm->fd = open(device, O_RDWR | O_CLOEXEC);
	if (vmm->fd >= 0)
		return 0;
	err = -errno;
	switch (err) {
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return fail(&vmm->message, -ENOENT,
			    "%s: the module is not loaded (modprobe vmm)", device);
	case -EACCES:
	case -EPERM:
		return fail(&vmm->message, err,
			    "%s: permission denied (be root, or a member of the group kvm)",
			    device);
	default:
		return fail(&vmm->message, err, "%s: %s", device, strerror(-err));
	}
}

static int read_info(struct vmm *vmm, const char *device)
{
	int err;

	vmm->info.size = sizeof(vmm->info);
	err = do_ioctl(vmm->fd, VMM_GET_INFO, &vmm->info);
	if (err == -ENOTTY)
		return fail(&vmm->message, -ENOTSUP, "%s is not the device of vmm.ko", device);
	if (err < 0)
		return fail(&vmm->message, err, "VMM_GET_INFO: %s", strerror(-err));
	if (vmm->info.api_version != VMM_API_VERSION)
		return fail(&vmm->message, -ENOTSUP,
			    "the module speaks API version %u, this library version %u",
			    vmm->info.api_version, VMM_API_VERSION);
	return 0;
}

int vmm_open(const char *device, struct vmm **out)
{
	struct vmm *vmm = calloc(1, sizeof(*vmm));
	int err;

	*out = vmm;
	if (!vmm)
		return -ENOMEM;
	if (!device)
		device = "/dev/vmm";
	err = open_device(vmm, device);
	return err ? err : read_info(vmm, device);
}

void vmm_close(struct vmm *vmm)
{
	if (!vmm)
		return;
	if (vmm->fd >= 0)
		close(vmm->fd);
	free(vmm);
}

const char *vmm_error(const struct vmm *vmm)
{
	return vmm ? vmm->message.text : "out of memory";
}

const char *vmm_vm_error(const struct vmm_vm *vm)
{
	return vm->message.text;
}

const char *vmm_vcpu_error(const struct vmm_vcpu *vcpu)
{
	return vcpu->message.text;
}

const struct vmm_info *vmm_get_info(const struct vmm *vmm)
{
	return &vmm->info;
}

int vmm_fd(const struct vmm *vmm)
{
	return vmm->fd;
}

const char *vmm_vendor_name(uint32_t vendor)
{
	switch (vendor) {
	case VMM_VENDOR_AMD:
		return "amd";
	case VMM_VENDOR_INTEL:
		return "intel";
	default:
		return "unknown";
	}
}

const char *vmm_exit_name(uint32_t reason)
{
	static const char *const names[VMM_NR_EXITS] = {
		[VMM_EXIT_NONE] = "NONE",
		[VMM_EXIT_INTR] = "INTR",
		[VMM_EXIT_IO] = "IO",
		[VMM_EXIT_MMIO] = "MMIO",
		[VMM_EXIT_HLT] = "HLT",
		[VMM_EXIT_SHUTDOWN] = "SHUTDOWN",
		[VMM_EXIT_HYPERCALL] = "HYPERCALL",
		[VMM_EXIT_MSR] = "MSR",
		[VMM_EXIT_CPUID] = "CPUID",
		[VMM_EXIT_DEBUG] = "DEBUG",
		[VMM_EXIT_EMULATE] = "EMULATE",
		[VMM_EXIT_FAULT] = "FAULT",
		[VMM_EXIT_INTERRUPT_WINDOW] = "INTERRUPT_WINDOW",
		[VMM_EXIT_NMI_WINDOW] = "NMI_WINDOW",
		[VMM_EXIT_PAUSE] = "PAUSE",
		[VMM_EXIT_EOI] = "EOI",
		[VMM_EXIT_FAIL_ENTRY] = "FAIL_ENTRY",
		[VMM_EXIT_INTERNAL] = "INTERNAL",
		[VMM_EXIT_RING_FULL] = "RING_FULL",
		[VMM_EXIT_ACCESS] = "ACCESS",
	};

	return reason < VMM_NR_EXITS ? names[reason] : "unknown";
}

const char *vmm_cap_name(uint64_t cap)
{
	static const char *const names[] = {
		"pic", "pit", "ioapic", "lapic", "x2apic", "tsc-deadline", "pvclock", "irqfd",
		"ioeventfd", "readonly-memory", "xsave", "la57", "next-rip", "single-step",
		"virtual-apic", "pause-loops", "dirty-log", "touched", "dirty-ring", "views",
		"exec-only",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (cap == 1ULL << i)
			return names[i];
	return NULL;
}
