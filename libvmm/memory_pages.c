// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: which pages a guest has written to or touched, and mapping them ahead.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

/* Words of a bitmap that are taken at a time */
#define CHUNK	512

int vmm_memory_get_touched(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, uint64_t *bitmap,
			   bool clear)
{
	struct vmm_touched touched = {
		.size = sizeof(touched),
		.flags = clear ? VMM_TOUCHED_CLEAR : 0,
		.gpa = gpa,
		.bytes = bytes,
		.bitmap = (uintptr_t)bitmap,
	};

	return do_ioctl(vm->fd, VMM_GET_TOUCHED, &touched);
}

static bool is_set(const uint64_t *bitmap, uint64_t page)
{
	return bitmap[page / 64] >> page % 64 & 1;
}

static void each_run(const uint64_t *bitmap, uint64_t gpa, uint64_t pages, vmm_pages_fn fn,
		     void *opaque)
{
	uint64_t page = 0, first;

	while (page < pages) {
		if (page % 64 == 0 && !bitmap[page / 64]) {
			page += 64;
			continue;
		}
		first = page;
		while (page < pages && is_set(bitmap, page))
			page++;
		if (page > first)
			fn(opaque, gpa + first * PAGE_SIZE, (page - first) * PAGE_SIZE);
		else
			page++;
	}
}

typedef int (*get_fn)(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, uint64_t *bitmap,
		      bool clear);

static int each(get_fn get, struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, bool clear,
		vmm_pages_fn fn, void *opaque)
{
	uint64_t bitmap[CHUNK], part;
	int err;

	do {
		part = bytes < CHUNK * 64 * PAGE_SIZE ? bytes : CHUNK * 64 * PAGE_SIZE;
		err = get(vm, gpa, part, bitmap, clear);
		if (err)
			return err;
		each_run(bitmap, gpa, (part + PAGE_SIZE - 1) / PAGE_SIZE, fn, opaque);
		gpa += part;
		bytes -= part;
	} while (bytes);
	return 0;
}

int vmm_memory_each_dirty(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, bool clear,
			  vmm_pages_fn fn, void *opaque)
{
	return each(vmm_memory_get_dirty, vm, gpa, bytes, clear, fn, opaque);
}

int vmm_memory_each_touched(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, bool clear,
			    vmm_pages_fn fn, void *opaque)
{
	return each(vmm_memory_get_touched, vm, gpa, bytes, clear, fn, opaque);
}

int vmm_memory_prefault(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, bool write)
{
	struct vmm_prefault prefault = {
		.size = sizeof(prefault),
		.flags = write ? VMM_PREFAULT_WRITE : 0,
		.gpa = gpa,
		.bytes = bytes,
	};
	int err;

	do {
		err = do_ioctl(vm->fd, VMM_PREFAULT, &prefault);
		prefault.gpa += prefault.done;
		prefault.bytes -= prefault.done;
	} while (err == -EINTR && prefault.bytes);
	if (err && prefault.bytes)
		return fail(&vm->message, err,
			    "cannot map %llu bytes of guest memory at %#llx ahead: %s",
			    (unsigned long long)bytes, (unsigned long long)gpa, strerror(-err));
	return 0;
}

/* ---- rings ---- */

static size_t ring_bytes(uint32_t entries)
{
	return PAGE_SIZE + entries * sizeof(uint64_t);
}

int vmm_vcpu_add_ring(struct vmm_vcpu *vcpu, uint32_t entries)
{
	struct vmm_ring ring = { .size = sizeof(ring), .entries = entries };
	int err = do_ioctl(vcpu->fd, VMM_SET_RING, &ring);
	void *shared;

	if (!err) {
		shared = mmap(NULL, ring_bytes(entries), PROT_READ | PROT_WRITE, MAP_SHARED,
			      vcpu->fd, VMM_RING_OFFSET);
		if (shared == MAP_FAILED)
			err = -errno;
	}
	if (err)
		return fail(&vcpu->message, err, "a dirty ring of %u entries, vCPU %u: %s",
			    entries, vcpu->id, strerror(-err));
	vcpu->ring = shared;
	vcpu->ring_entries = entries;
	return 0;
}

void free_ring(struct vmm_vcpu *vcpu)
{
	if (vcpu->ring)
		munmap(vcpu->ring, ring_bytes(vcpu->ring_entries));
}

int vmm_vcpu_collect(struct vmm_vcpu *vcpu, vmm_pages_fn fn, void *opaque)
{
	struct vmm_dirty_ring *ring = vcpu->ring;
	uint32_t from, to, at;
	uint64_t *entries;

	if (!ring)
		return -ENXIO;
	entries = (uint64_t *)((uint8_t *)ring + PAGE_SIZE);
	from = ring->collected;
	to = __atomic_load_n(&ring->produced, __ATOMIC_ACQUIRE);
	for (at = from; at != to; at++)
		fn(opaque, entries[at % vcpu->ring_entries], PAGE_SIZE);
	__atomic_store_n(&ring->collected, to, __ATOMIC_RELEASE);
	return to - from;
}

int vmm_vm_reset_rings(struct vmm_vm *vm)
{
	return do_ioctl(vm->fd, VMM_RESET_RINGS, NULL);
}
