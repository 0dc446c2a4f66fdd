// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: VMs, their devices, interrupts and statistics.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static int explain_create(struct vmm *vmm, int err)
{
	switch (err) {
	case -EINVAL:
		return fail(&vmm->message, err,
			    "this combination of interrupt controllers does not exist");
	case -EBUSY:
		return fail(&vmm->message, err,
			    "another hypervisor holds the CPU's extension (modprobe -r kvm_amd kvm_intel)");
	case -EMFILE:
	case -ENFILE:
		return fail(&vmm->message, err, "too many open files (ulimit -n)");
	default:
		return fail(&vmm->message, err, "cannot create a VM: %s", strerror(-err));
	}
}

int vmm_vm_create(struct vmm *vmm, uint32_t flags, struct vmm_vm **out)
{
	struct vmm_vm_create create = { .size = sizeof(create), .flags = flags };
	struct vmm_vm *vm;

	*out = NULL;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return fail(&vmm->message, -ENOMEM, "out of memory");
	vm->vmm = vmm;
	vm->flags = flags;
	vm->fd = do_ioctl(vmm->fd, VMM_CREATE_VM, &create);
	if (vm->fd < 0) {
		int err = vm->fd;

		free(vm);
		return explain_create(vmm, err);
	}
	pthread_rwlock_init(&vm->lock, NULL);
	*out = vm;
	return 0;
}

void vmm_vm_free(struct vmm_vm *vm)
{
	if (!vm)
		return;
	while (vm->nr_regions)
		vmm_memory_remove(vm, vm->regions[vm->nr_regions - 1].public.gpa);
	free(vm->regions);
	free(vm->bus[VMM_BUS_IO].devices);
	free(vm->bus[VMM_BUS_MMIO].devices);
	pthread_rwlock_destroy(&vm->lock);
	close(vm->fd);
	free(vm);
}

struct vmm *vmm_vm_system(struct vmm_vm *vm)
{
	return vm->vmm;
}

uint32_t vmm_vm_flags(const struct vmm_vm *vm)
{
	return vm->flags;
}

int vmm_vm_fd(const struct vmm_vm *vm)
{
	return vm->fd;
}

/* ---- devices ---- */

int vmm_device_add(struct vmm_vm *vm, int bus_nr, uint64_t first, uint64_t count,
		   vmm_access_fn fn, void *opaque)
{
	uint64_t last = first + count - 1;
	struct device *devices;
	struct bus *bus;
	unsigned int at;

	if (bus_nr != VMM_BUS_IO && bus_nr != VMM_BUS_MMIO)
		return fail(&vm->message, -EINVAL, "no such bus: %d", bus_nr);
	if (!count || last < first || (bus_nr == VMM_BUS_IO && last > 0xffff))
		return fail(&vm->message, -EINVAL, "a device's range is empty or too large");
	bus = &vm->bus[bus_nr];
	for (at = 0; at < bus->count && bus->devices[at].last < first; at++)
		;
	if (at < bus->count && bus->devices[at].first <= last)
		return fail(&vm->message, -EEXIST,
			    "the range %#llx-%#llx overlaps another device's",
			    (unsigned long long)first, (unsigned long long)last);
	devices = reallocarray(bus->devices, bus->count + 1, sizeof(*devices));
	if (!devices)
		return fail(&vm->message, -ENOMEM, "out of memory");
	memmove(devices + at + 1, devices + at, (bus->count - at) * sizeof(*devices));
	devices[at] = (struct device){ first, last, fn, opaque };
	bus->devices = devices;
	bus->count++;
	return 0;
}

/* The device that @address belongs to */
static const struct device *find_device(const struct bus *bus, uint64_t address)
{
	unsigned int low = 0, high = bus->count;

	while (low < high) {
		unsigned int middle = (low + high) / 2;
		const struct device *device = &bus->devices[middle];

		if (address < device->first)
			high = middle;
		else if (address > device->last)
			low = middle + 1;
		else
			return device;
	}
	return NULL;
}

static void note_result(struct vmm_vcpu *vcpu, int ret)
{
	if (ret && !vcpu->device_result)
		vcpu->device_result = ret;
}

/* Has the module a controller or an ioeventfd there? Then that has done it. */
static bool module_access(struct vmm_vcpu *vcpu, int bus, struct vmm_access *access)
{
	struct vmm_device_access there = {
		.size = sizeof(there),
		.flags = (access->write ? VMM_DEVICE_WRITE : 0) |
			 (bus == VMM_BUS_IO ? VMM_DEVICE_IO : 0),
		.address = access->address,
		.data = access->data,
		.bytes = access->size,
	};
	struct vmm_exit exit = { .reason = VMM_EXIT_EOI };
	int err;

	/* A signal may end the wait for one who reads the vCPU's state meanwhile. */
	do
		err = do_ioctl(vcpu->fd, VMM_DEVICE_ACCESS, &there);
	while (err == -EINTR);
	if (err == -ENXIO)
		return false;
	if (err) {
		note_result(vcpu, fail(&vcpu->message, err, "VMM_DEVICE_ACCESS at %#llx: %s",
				       (unsigned long long)access->address, strerror(-err)));
		return true;
	}
	if (!access->write)
		access->data = there.data;
	exit.eoi.vector = there.eoi;
	if (there.eoi && vcpu->ops && vcpu->ops->other)
		note_result(vcpu, vcpu->ops->other(vcpu->opaque, vcpu, &exit));
	return true;
}

void vcpu_insn_access(struct vmm_vcpu *vcpu, int bus, struct vmm_access *access)
{
	if (!module_access(vcpu, bus, access))
		vcpu_access(vcpu, bus, access);
}

void vcpu_access(struct vmm_vcpu *vcpu, int bus, struct vmm_access *access)
{
	const struct device *device = find_device(&vcpu->vm->bus[bus], access->address);
	const struct vmm_ops *ops = vcpu->ops;
	vmm_access_fn fallback = NULL;
	int ret = 0;

	if (!access->write)
		access->data = ~0ULL;
	if (ops)
		fallback = bus == VMM_BUS_IO ? ops->io : ops->mmio;
	if (device)
		ret = device->fn(device->opaque, vcpu, access);
	else if (fallback)
		ret = fallback(vcpu->opaque, vcpu, access);
	note_result(vcpu, ret);
}

/* ---- interrupts: from any thread, so no message ---- */

int vmm_irq_line(struct vmm_vm *vm, uint32_t gsi, bool level)
{
	struct vmm_irq_line line = { .size = sizeof(line), .gsi = gsi, .level = level };

	return do_ioctl(vm->fd, VMM_IRQ_LINE, &line);
}

int vmm_signal_msi(struct vmm_vm *vm, uint64_t address, uint32_t data)
{
	struct vmm_msi msi = { .size = sizeof(msi), .address = address, .data = data };

	return do_ioctl(vm->fd, VMM_SIGNAL_MSI, &msi);
}

int vmm_set_routes(struct vmm_vm *vm, const struct vmm_route *routes, uint32_t count)
{
	struct vmm_routes set = {
		.size = sizeof(set),
		.count = count,
		.routes = (uintptr_t)routes,
	};

	return do_ioctl(vm->fd, VMM_SET_ROUTES, &set);
}

int vmm_irqfd(struct vmm_vm *vm, int fd, uint32_t gsi, int resample_fd)
{
	struct vmm_irqfd irqfd = { .size = sizeof(irqfd), .fd = fd, .gsi = gsi };

	if (resample_fd >= 0) {
		irqfd.flags = VMM_IRQFD_RESAMPLE;
		irqfd.resample_fd = resample_fd;
	}
	return do_ioctl(vm->fd, VMM_IRQFD, &irqfd);
}

int vmm_irqfd_remove(struct vmm_vm *vm, int fd, uint32_t gsi)
{
	struct vmm_irqfd irqfd = {
		.size = sizeof(irqfd),
		.flags = VMM_IRQFD_DEASSIGN,
		.fd = fd,
		.gsi = gsi,
	};

	return do_ioctl(vm->fd, VMM_IRQFD, &irqfd);
}

int vmm_ioeventfd(struct vmm_vm *vm, uint32_t flags, uint64_t address, uint32_t length, int fd,
		  uint64_t match)
{
	struct vmm_ioeventfd ioeventfd = {
		.size = sizeof(ioeventfd),
		.flags = flags,
		.address = address,
		.length = length,
		.fd = fd,
		.match = match,
	};

	return do_ioctl(vm->fd, VMM_IOEVENTFD, &ioeventfd);
}

/* ---- state, policy, statistics ---- */

int vmm_vm_get_state(struct vmm_vm *vm, uint64_t groups, struct vmm_vm_state *state)
{
	int err;

	state->size = sizeof(*state);
	state->flags = 0;
	state->groups = groups;
	err = do_ioctl(vm->fd, VMM_GET_VM_STATE, state);
	if (err < 0)
		return fail(&vm->message, err, "VMM_GET_VM_STATE: %s", strerror(-err));
	return 0;
}

int vmm_vm_set_state(struct vmm_vm *vm, const struct vmm_vm_state *state)
{
	struct vmm_vm_state copy = *state;
	int err;

	copy.size = sizeof(copy);
	copy.flags = 0;
	err = do_ioctl(vm->fd, VMM_SET_VM_STATE, &copy);
	if (err < 0)
		return fail(&vm->message, err, "VMM_SET_VM_STATE: %s", strerror(-err));
	return 0;
}

int vmm_vm_set_msr_policy(struct vmm_vm *vm, uint32_t flags, const struct vmm_msr_range *ranges,
			  uint32_t count)
{
	struct vmm_msr_policy policy = {
		.size = sizeof(policy),
		.flags = flags,
		.count = count,
		.ranges = (uintptr_t)ranges,
	};
	int err = do_ioctl(vm->fd, VMM_SET_MSR_POLICY, &policy);

	if (err < 0)
		return fail(&vm->message, err, "VMM_SET_MSR_POLICY: %s", strerror(-err));
	return 0;
}

static int read_stats(int fd, struct vmm_stat **out, struct message *message)
{
	struct vmm_stats stats = { .size = sizeof(stats) };
	struct vmm_stat *list = NULL;
	int err;

	*out = NULL;
	while ((err = do_ioctl(fd, VMM_GET_STATS, &stats)) == -E2BIG) {
		free(list);
		list = calloc(stats.count, sizeof(*list));
		if (!list)
			return fail(message, -ENOMEM, "out of memory");
		stats.size = sizeof(stats);
		stats.stats = (uintptr_t)list;
	}
	if (err < 0) {
		free(list);
		return fail(message, err, "VMM_GET_STATS: %s", strerror(-err));
	}
	*out = list;
	return stats.count;
}

int vmm_vm_stats(struct vmm_vm *vm, struct vmm_stat **stats)
{
	return read_stats(vm->fd, stats, &vm->message);
}

int vmm_vcpu_stats(struct vmm_vcpu *vcpu, struct vmm_stat **stats)
{
	return read_stats(vcpu->fd, stats, &vcpu->message);
}

int vmm_view_create(struct vmm_vm *vm, uint32_t *view)
{
	struct vmm_view arg = { .size = sizeof(arg) };
	int err = do_ioctl(vm->fd, VMM_CREATE_VIEW, &arg);

	if (err < 0)
		return fail(&vm->message, err, "VMM_CREATE_VIEW: %s", strerror(-err));
	*view = arg.view;
	return 0;
}

int vmm_view_destroy(struct vmm_vm *vm, uint32_t view)
{
	struct vmm_view arg = { .size = sizeof(arg), .view = view };
	int err = do_ioctl(vm->fd, VMM_DESTROY_VIEW, &arg);

	if (err < 0)
		return fail(&vm->message, err, "VMM_DESTROY_VIEW, view %u: %s", view,
			    err == -EBUSY ? "a vCPU has it" : strerror(-err));
	return 0;
}

int vmm_view_set_access(struct vmm_vm *vm, uint32_t view, uint64_t gpa, uint64_t bytes,
			uint32_t access)
{
	struct vmm_page_access arg = {
		.size = sizeof(arg),
		.view = view,
		.access = access,
		.gpa = gpa,
		.bytes = bytes,
	};
	int err = do_ioctl(vm->fd, VMM_SET_PAGE_ACCESS, &arg);

	if (err < 0)
		return fail(&vm->message, err, "VMM_SET_PAGE_ACCESS, view %u: %s", view,
			    err == -EOPNOTSUPP ? "this CPU reads what it executes" :
						 strerror(-err));
	return 0;
}
