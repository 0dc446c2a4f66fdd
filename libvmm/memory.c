// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: what the guest has at which address.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Position of the first region that ends behind @gpa. With vm->lock */
static unsigned int region_after(const struct vmm_vm *vm, uint64_t gpa)
{
	unsigned int low = 0, high = vm->nr_regions;

	while (low < high) {
		unsigned int middle = (low + high) / 2;
		const struct vmm_region *region = &vm->regions[middle].public;

		if (region->gpa + region->bytes <= gpa)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool slot_used(const struct vmm_vm *vm, uint32_t slot)
{
	unsigned int i;

	for (i = 0; i < vm->nr_regions; i++)
		if (vm->regions[i].slot == slot)
			return true;
	return false;
}

static int free_slot(const struct vmm_vm *vm, uint32_t *slot)
{
	for (*slot = 0; *slot < vm->vmm->info.max_slots; (*slot)++)
		if (!slot_used(vm, *slot))
			return 0;
	return -ENOSPC;
}

static int set_slot(struct vmm_vm *vm, const struct region *region, uint64_t bytes)
{
	struct vmm_memory memory = {
		.size = sizeof(memory),
		.flags = (region->public.flags & VMM_MEMORY_READONLY ? VMM_MEM_READONLY : 0) |
			 (region->logged ? VMM_MEM_LOG_DIRTY : 0),
		.slot = region->slot,
		.gpa = region->public.gpa,
		.bytes = bytes,
		.hva = (uintptr_t)region->public.host,
	};
	int err = do_ioctl(vm->fd, VMM_SET_MEMORY, &memory);

	if (err < 0)
		return fail(&vm->message, err, "guest memory at %#llx, %llu bytes: %s",
			    (unsigned long long)region->public.gpa,
			    (unsigned long long)bytes, strerror(-err));
	return 0;
}

static int check_range(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes)
{
	if (!bytes || gpa % PAGE_SIZE || bytes % PAGE_SIZE || gpa + bytes < gpa)
		return fail(&vm->message, -EINVAL,
			    "guest memory at %#llx, %llu bytes: empty or not page aligned",
			    (unsigned long long)gpa, (unsigned long long)bytes);
	if ((gpa + bytes - 1) >> vm->vmm->info.gpa_bits)
		return fail(&vm->message, -EINVAL,
			    "guest memory at %#llx, %llu bytes: this CPU has addresses of %u bits",
			    (unsigned long long)gpa, (unsigned long long)bytes,
			    vm->vmm->info.gpa_bits);
	return 0;
}

/* Make the region known to the module and to us. On failure it stays the caller's */
static int add_region(struct vmm_vm *vm, struct region *region)
{
	const struct vmm_region *new = &region->public;
	struct region *regions;
	unsigned int at;
	int err;

	pthread_rwlock_wrlock(&vm->lock);
	at = region_after(vm, new->gpa);
	if (at < vm->nr_regions && vm->regions[at].public.gpa < new->gpa + new->bytes) {
		err = fail(&vm->message, -EEXIST, "guest memory at %#llx overlaps other memory",
			   (unsigned long long)new->gpa);
		goto out;
	}
	err = free_slot(vm, &region->slot);
	if (err) {
		fail(&vm->message, err, "all %u memory slots are used", vm->vmm->info.max_slots);
		goto out;
	}
	regions = reallocarray(vm->regions, vm->nr_regions + 1, sizeof(*regions));
	if (!regions) {
		err = fail(&vm->message, -ENOMEM, "out of memory");
		goto out;
	}
	vm->regions = regions;
	err = set_slot(vm, region, new->bytes);
	if (err)
		goto out;
	memmove(regions + at + 1, regions + at, (vm->nr_regions - at) * sizeof(*regions));
	regions[at] = *region;
	vm->nr_regions++;
out:
	pthread_rwlock_unlock(&vm->lock);
	return err;
}

static int attach(struct vmm_vm *vm, uint64_t gpa, struct vmm_memory_object *object,
		  uint64_t offset, uint64_t bytes, uint32_t flags)
{
	struct region region = {
		.public = {
			.gpa = gpa, .bytes = bytes, .flags = flags,
			.host = (uint8_t *)object->host + offset,
		},
		.object = object,
	};

	return add_region(vm, &region);
}

int vmm_memory_attach(struct vmm_vm *vm, uint64_t gpa, struct vmm_memory_object *object,
		      uint64_t offset, uint64_t bytes, uint32_t flags)
{
	int err;

	if (flags & ~VMM_MEMORY_READONLY)
		return fail(&vm->message, -EINVAL, "unknown memory flags %#x", flags);
	if (offset % PAGE_SIZE || offset > object->bytes || bytes > object->bytes - offset)
		return fail(&vm->message, -EINVAL, "%llu bytes from %llu on: the memory has %llu",
			    (unsigned long long)bytes, (unsigned long long)offset,
			    (unsigned long long)object->bytes);
	err = check_range(vm, gpa, bytes);
	if (!err)
		err = attach(vm, gpa, object, offset, bytes, flags | object->flags);
	if (!err)
		memory_object_get(object);
	return err;
}

int vmm_memory_add(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, uint32_t flags, void **host)
{
	struct vmm_memory_object *object;
	int err;

	if (host)
		*host = NULL;
	err = check_range(vm, gpa, bytes);
	if (!err)
		err = memory_object_create(&vm->message, gpa, bytes, flags, &object);
	if (err)
		return err;
	err = attach(vm, gpa, object, 0, bytes, flags);
	if (err)
		vmm_memory_free(object);
	else if (host)
		*host = object->host;
	return err;
}

int vmm_memory_map(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, void *host, uint32_t flags)
{
	struct region region = {
		.public = { .gpa = gpa, .bytes = bytes, .host = host, .flags = flags },
	};
	int err;

	if (flags & ~VMM_MEMORY_READONLY)
		return fail(&vm->message, -EINVAL, "unknown memory flags %#x", flags);
	err = check_range(vm, gpa, bytes);
	return err ? err : add_region(vm, &region);
}

int vmm_memory_remove(struct vmm_vm *vm, uint64_t gpa)
{
	struct region region;
	unsigned int at;
	int err = -ENOENT;

	pthread_rwlock_wrlock(&vm->lock);
	at = region_after(vm, gpa);
	if (at < vm->nr_regions && vm->regions[at].public.gpa == gpa) {
		region = vm->regions[at];
		err = set_slot(vm, &region, 0);
		vm->nr_regions--;
		memmove(vm->regions + at, vm->regions + at + 1,
			(vm->nr_regions - at) * sizeof(region));
		vmm_memory_free(region.object);
	} else {
		fail(&vm->message, err, "no guest memory begins at %#llx",
		     (unsigned long long)gpa);
	}
	pthread_rwlock_unlock(&vm->lock);
	return err;
}

/* Memory at @gpa and how much of @bytes follows there in one piece; NULL if none. With vm->lock */
static uint8_t *piece_at(const struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, uint64_t *length)
{
	unsigned int at = region_after(vm, gpa);
	const struct vmm_region *region;
	uint64_t left;

	if (at == vm->nr_regions || vm->regions[at].public.gpa > gpa)
		return NULL;
	region = &vm->regions[at].public;
	left = region->bytes - (gpa - region->gpa);
	*length = bytes < left ? bytes : left;
	return (uint8_t *)region->host + (gpa - region->gpa);
}

void *vmm_memory_at(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes)
{
	uint64_t length;
	uint8_t *host;

	pthread_rwlock_rdlock(&vm->lock);
	host = piece_at(vm, gpa, bytes, &length);
	pthread_rwlock_unlock(&vm->lock);
	return host && length == bytes ? host : NULL;
}

/* Whose access it is: the caller's, who may fill a ROM that is mapped for that; the library's */
enum use { USE_READ, USE_WRITE, USE_PLACE };

static bool allows(const struct region *region, enum use use)
{
	switch (use) {
	case USE_READ:
		return true;
	case USE_WRITE:
		return !region->object || !region->object->readonly;
	default:
		return !(region->public.flags & VMM_MEMORY_READONLY);
	}
}

/* 0; -EFAULT: not all of it is memory; -EACCES: some of it is not for this use. With vm->lock */
static int check_memory(const struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, enum use use)
{
	uint64_t length;
	int err = 0;

	for (; bytes; gpa += length, bytes -= length) {
		if (!piece_at(vm, gpa, bytes, &length))
			return -EFAULT;
		if (!allows(&vm->regions[region_after(vm, gpa)], use))
			err = -EACCES;
	}
	return err;
}

int vmm_memory_read(struct vmm_vm *vm, uint64_t gpa, void *buf, size_t bytes)
{
	uint8_t *to = buf;
	uint64_t length;
	int err;

	pthread_rwlock_rdlock(&vm->lock);
	err = check_memory(vm, gpa, bytes, USE_READ);
	for (; !err && bytes; gpa += length, to += length, bytes -= length) {
		const uint8_t *host = piece_at(vm, gpa, bytes, &length);

		memcpy(to, host, length);
	}
	pthread_rwlock_unlock(&vm->lock);
	return err;
}

/* With vm->lock, after check_memory(); likewise the next */
static void copy_in(struct vmm_vm *vm, uint64_t gpa, const uint8_t *data, uint64_t bytes)
{
	uint64_t length;
	uint8_t *host;

	while (bytes && (host = piece_at(vm, gpa, bytes, &length))) {
		memcpy(host, data, length);
		gpa += length;
		data += length;
		bytes -= length;
	}
}

static void clear(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes)
{
	uint64_t length;
	uint8_t *host;

	while (bytes && (host = piece_at(vm, gpa, bytes, &length))) {
		memset(host, 0, length);
		gpa += length;
		bytes -= length;
	}
}

static int put(struct vmm_vm *vm, uint64_t gpa, const void *data, uint64_t bytes, uint64_t size,
	       enum use use)
{
	int err;

	pthread_rwlock_rdlock(&vm->lock);
	err = check_memory(vm, gpa, size, use);
	if (!err) {
		copy_in(vm, gpa, data, bytes);
		clear(vm, gpa + bytes, size - bytes);
		memory_written(vm, gpa, size);
	}
	pthread_rwlock_unlock(&vm->lock);
	return err;
}

int vmm_memory_write(struct vmm_vm *vm, uint64_t gpa, const void *buf, size_t bytes)
{
	return put(vm, gpa, buf, bytes, bytes, USE_WRITE);
}

int memory_place(struct vmm_vm *vm, uint64_t gpa, const void *data, uint64_t bytes, uint64_t size)
{
	return put(vm, gpa, data, bytes, size, USE_PLACE);
}

int vmm_memory_log(struct vmm_vm *vm, uint64_t gpa, bool on)
{
	struct region *region;
	unsigned int at;
	int err;

	pthread_rwlock_wrlock(&vm->lock);
	at = region_after(vm, gpa);
	if (at < vm->nr_regions && vm->regions[at].public.gpa == gpa) {
		region = &vm->regions[at];
		region->logged = on;
		err = set_slot(vm, region, region->public.bytes);
		if (err)
			region->logged = !on;
		if (region->logged)
			__atomic_store_n(&vm->logged, true, __ATOMIC_RELEASE);
	} else {
		err = fail(&vm->message, -ENOENT, "no guest memory begins at %#llx",
			   (unsigned long long)gpa);
	}
	pthread_rwlock_unlock(&vm->lock);
	return err;
}

static int log_call(struct vmm_vm *vm, unsigned long request, uint32_t flags, uint64_t gpa,
		    uint64_t bytes, const uint64_t *bitmap)
{
	struct vmm_dirty dirty = {
		.size = sizeof(dirty),
		.flags = flags,
		.pages = (bytes + PAGE_SIZE - 1) / PAGE_SIZE,
		.bitmap = (uintptr_t)bitmap,
	};
	unsigned int at;
	int err = -ENOENT;

	pthread_rwlock_rdlock(&vm->lock);
	at = region_after(vm, gpa);
	if (at < vm->nr_regions && vm->regions[at].public.gpa <= gpa) {
		dirty.slot = vm->regions[at].slot;
		dirty.first = (gpa - vm->regions[at].public.gpa) / PAGE_SIZE;
		err = do_ioctl(vm->fd, request, &dirty);
	}
	pthread_rwlock_unlock(&vm->lock);
	return err;
}

int vmm_memory_get_dirty(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, uint64_t *bitmap,
			 bool clear)
{
	return log_call(vm, VMM_GET_DIRTY, clear ? VMM_DIRTY_CLEAR : 0, gpa, bytes, bitmap);
}

int vmm_memory_clear_dirty(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes,
			   const uint64_t *bitmap)
{
	return log_call(vm, VMM_CLEAR_DIRTY, 0, gpa, bytes, bitmap);
}

int vmm_memory_mark_dirty(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes)
{
	struct vmm_range range = { .size = sizeof(range), .gpa = gpa, .bytes = bytes };

	return do_ioctl(vm->fd, VMM_MARK_DIRTY, &range);
}

void memory_written(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes)
{
	if (__atomic_load_n(&vm->logged, __ATOMIC_ACQUIRE) && bytes)
		vmm_memory_mark_dirty(vm, gpa, bytes);
}

int vmm_memory_fd(struct vmm_vm *vm, uint64_t gpa)
{
	unsigned int at;
	int fd = -ENOENT;

	pthread_rwlock_rdlock(&vm->lock);
	at = region_after(vm, gpa);
	if (at < vm->nr_regions && vm->regions[at].public.gpa <= gpa && vm->regions[at].object &&
	    vm->regions[at].object->fd >= 0)
		fd = vm->regions[at].object->fd;
	pthread_rwlock_unlock(&vm->lock);
	return fd;
}

bool vmm_memory_region(struct vmm_vm *vm, unsigned int index, struct vmm_region *region)
{
	bool found;

	pthread_rwlock_rdlock(&vm->lock);
	found = index < vm->nr_regions;
	if (found)
		*region = vm->regions[index].public;
	pthread_rwlock_unlock(&vm->lock);
	return found;
}
