// SPDX-License-Identifier: GPL-2.0-only
/*
 * --test-device: what test kernels use to see whether port and memory accesses,
 * interrupts and the loss of a page reach and leave them unharmed.
 *
 *   0xe0-0xe3      four bytes of scratch, any width
 *   0xe4           writing a page frame number takes that page from this process's page
 *                  tables, contents kept
 *   0xe8           one byte of scratch
 *   0x2000-0x2017  the level of GSI 0-23
 *   0xff000000     64 KiB of scratch memory, as a device
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "../machine.h"

#define SCRATCH_PORT	0xe0
#define PAGE_PORT	0xe4
#define BYTE_PORT	0xe8
#define GSI_PORT	0x2000
#define NR_GSIS		24
#define SCRATCH_MEMORY	0xff000000
#define SCRATCH_BYTES	0x10000
#define PAGE_SIZE	4096

/**
 * struct test_device - what it remembers
 * @machine: the machine
 * @lock: all of it
 * @scratch: at SCRATCH_PORT
 * @byte: at BYTE_PORT
 * @gsi: levels as written at GSI_PORT
 * @memory: at SCRATCH_MEMORY
 */
struct test_device {
	struct machine *machine;
	pthread_mutex_t lock;
	uint8_t scratch[4];
	uint8_t byte;
	bool gsi[NR_GSIS];
	uint8_t memory[SCRATCH_BYTES];
};

/* @bytes at @at, of which an access may reach behind the end */
static void move(uint8_t *at, size_t bytes, struct vmm_access *access)
{
	size_t size = access->size < bytes ? access->size : bytes;

	if (access->write)
		memcpy(at, &access->data, size);
	else
		memcpy(&access->data, at, size);
}

static int access_scratch(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct test_device *device = opaque;
	size_t offset = access->address - SCRATCH_PORT;

	pthread_mutex_lock(&device->lock);
	move(device->scratch + offset, sizeof(device->scratch) - offset, access);
	pthread_mutex_unlock(&device->lock);
	return 0;
}

static int access_byte(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct test_device *device = opaque;

	pthread_mutex_lock(&device->lock);
	move(&device->byte, 1, access);
	pthread_mutex_unlock(&device->lock);
	return 0;
}

static int access_memory(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct test_device *device = opaque;
	size_t offset = access->address - SCRATCH_MEMORY;

	pthread_mutex_lock(&device->lock);
	move(device->memory + offset, SCRATCH_BYTES - offset, access);
	pthread_mutex_unlock(&device->lock);
	return 0;
}

/* Of the host's pages that the guest's memory is in */
static uint64_t page_bytes(const struct options *options)
{
	if (options->memory_flags & VMM_MEMORY_HUGE_1G)
		return 1ULL << 30;
	return options->memory_flags & VMM_MEMORY_HUGE ? 2ULL << 20 : PAGE_SIZE;
}

/*
 * The page leaves the page tables here, and whatever is made of them, and the next access brings it
 * back from the memfd. At no time is there nothing mapped: other vCPUs' threads may copy from it.
 */
static int access_page(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct test_device *device = opaque;
	uint64_t gpa = (access->data & 0xffffffff) * PAGE_SIZE;
	uint8_t *page;

	if (!access->write)
		return 0;
	gpa &= ~(page_bytes(device->machine->options) - 1);
	page = vmm_memory_at(device->machine->vm, gpa, PAGE_SIZE);
	if (page && madvise(page, page_bytes(device->machine->options), MADV_DONTNEED))
		return machine_stop(device->machine, STATUS_HOST,
				    "test device: cannot take a page away: %s", strerror(errno));
	return 0;
}

static int access_gsi(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct test_device *device = opaque;
	unsigned int gsi = access->address - GSI_PORT;

	pthread_mutex_lock(&device->lock);
	if (access->write) {
		device->gsi[gsi] = access->data & 0xff;
		vmm_irq_line(device->machine->vm, gsi, device->gsi[gsi]);
	} else {
		access->data = device->gsi[gsi];
	}
	pthread_mutex_unlock(&device->lock);
	return 0;
}

static bool wanted(const struct options *options)
{
	return options->test_device;
}

static int create(struct machine *machine)
{
	static const struct {
		int bus;
		uint64_t first;
		uint64_t count;
		vmm_access_fn fn;
	} ranges[] = {
		{ VMM_BUS_IO, SCRATCH_PORT, 4, access_scratch },
		{ VMM_BUS_IO, PAGE_PORT, 4, access_page },
		{ VMM_BUS_IO, BYTE_PORT, 1, access_byte },
		{ VMM_BUS_IO, GSI_PORT, NR_GSIS, access_gsi },
		{ VMM_BUS_MMIO, SCRATCH_MEMORY, SCRATCH_BYTES, access_memory },
	};
	static struct test_device device;
	unsigned int i;
	int err = 0;

	device.machine = machine;
	pthread_mutex_init(&device.lock, NULL);
	for (i = 0; !err && i < sizeof(ranges) / sizeof(ranges[0]); i++)
		err = machine_add(machine, "test-device", ranges[i].bus, ranges[i].first,
				  ranges[i].count, ranges[i].fn, &device);
	return err;
}

static const struct device_type test_device_type = {
	.name = "test-device",
	.wanted = wanted,
	.create = create,
};

DEVICE(test_device_type);
