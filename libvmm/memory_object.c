// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: memory that can be given to guests, and shared with other processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "internal.h"

#define HUGE_2M		(2ULL << 20)
#define HUGE_1G		(1ULL << 30)

#define CREATE_FLAGS	(VMM_MEMORY_READONLY | VMM_MEMORY_SHARED | VMM_MEMORY_HUGE |	\
			 VMM_MEMORY_HUGE_1G | VMM_MEMORY_THP | VMM_MEMORY_POPULATE)

static uint64_t page_size(uint32_t flags)
{
	if (flags & VMM_MEMORY_HUGE_1G)
		return HUGE_1G;
	return flags & VMM_MEMORY_HUGE ? HUGE_2M : PAGE_SIZE;
}

static int check_size(struct message *message, uint64_t bytes, uint32_t flags)
{
	if (bytes && !(bytes % page_size(flags)))
		return 0;
	return fail(message, -EINVAL, "%llu bytes of memory: not a multiple of its pages' %llu",
		    (unsigned long long)bytes, (unsigned long long)page_size(flags));
}

/*
 * Huge pages, the host's and those of the second-level table, need an address here that is
 * congruent to the guest's. Reserve more than that takes, and give back the rest. NULL: there is
 * not as much.
 */
static void *reserve_aligned(uint64_t gpa, uint64_t bytes)
{
	uint64_t size = bytes >= HUGE_1G ? HUGE_1G : HUGE_2M, skip;
	uint8_t *start;

	if (bytes + size < bytes)
		return NULL;
	start = mmap(NULL, bytes + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1, 0);
	if (start == MAP_FAILED)
		return NULL;
	skip = (gpa - (uintptr_t)start) % size;
	if (skip)
		munmap(start, skip);
	munmap(start + skip + bytes, size - skip);
	return start + skip;
}

static int map_object(struct message *message, struct vmm_memory_object *object, uint64_t gpa,
		      int prot)
{
	bool huge = page_size(object->flags) != PAGE_SIZE;
	uint64_t bytes = object->bytes;
	/* Huge pages are reserved: a page that is missing later would be a SIGBUS. */
	int map = huge ? 0 : MAP_NORESERVE;
	void *place = NULL;
	int err;

	if (object->fd >= 0)
		map |= MAP_SHARED;
	else
		map |= MAP_PRIVATE | MAP_ANONYMOUS;
	if (huge && object->fd < 0)
		map |= MAP_HUGETLB |
		       (object->flags & VMM_MEMORY_HUGE_1G ? MAP_HUGE_1GB : MAP_HUGE_2MB);
	/* hugetlbfs chooses an address of its own size. */
	if (bytes >= HUGE_2M && !huge)
		place = reserve_aligned(gpa, bytes);
	object->host = mmap(place, bytes, prot, place ? map | MAP_FIXED : map, object->fd, 0);
	if (object->host == MAP_FAILED) {
		err = -errno;
		if (place)
			munmap(place, bytes);
		return fail(message, err, "cannot map %llu bytes of guest memory: %s%s",
			    (unsigned long long)bytes, strerror(-err),
			    huge ? " (see /sys/kernel/mm/hugepages/*/nr_hugepages)" : "");
	}
	/* Advice that cannot be followed changes nothing but speed. */
	if (object->flags & VMM_MEMORY_THP)
		madvise(object->host, bytes, MADV_HUGEPAGE);
	return 0;
}

/* Nobody who gets the descriptor can make it shorter, which would be a SIGBUS for all others. */
static int make_memfd(struct message *message, uint64_t bytes, uint32_t flags)
{
	unsigned int memfd_flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd, err;

	if (flags & VMM_MEMORY_HUGE_1G)
		memfd_flags |= MFD_HUGETLB | MFD_HUGE_1GB;
	else if (flags & VMM_MEMORY_HUGE)
		memfd_flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	fd = memfd_create("guest memory", memfd_flags);
	if (fd >= 0 && !ftruncate(fd, bytes) &&
	    !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return fd;
	err = -errno;
	if (fd >= 0)
		close(fd);
	return fail(message, err, "memfd of %llu bytes: %s", (unsigned long long)bytes,
		    strerror(-err));
}

static int populate(struct message *message, struct vmm_memory_object *object)
{
	int how = object->readonly ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
	int err;

	do {
		err = madvise(object->host, object->bytes, how) ? -errno : 0;
	} while (err == -EINTR || err == -EAGAIN);
	if (err)
		return fail(message, err, "cannot fill %llu bytes of guest memory: %s",
			    (unsigned long long)object->bytes, strerror(-err));
	return 0;
}

/* From here on the object frees what it has. @prot: what the host may do with it */
static int start_object(struct message *message, struct vmm_memory_object *object, uint64_t gpa,
			int prot)
{
	int err = map_object(message, object, gpa, prot);

	if (err)
		object->host = NULL;
	else if (object->flags & VMM_MEMORY_POPULATE)
		err = populate(message, object);
	return err;
}

static struct vmm_memory_object *new_object(uint64_t bytes, uint32_t flags)
{
	struct vmm_memory_object *object = calloc(1, sizeof(*object));

	if (object) {
		object->references = 1;
		object->bytes = bytes;
		object->flags = flags;
		object->fd = -1;
	}
	return object;
}

int memory_object_create(struct message *message, uint64_t gpa, uint64_t bytes, uint32_t flags,
			 struct vmm_memory_object **object)
{
	struct vmm_memory_object *new;
	int err;

	*object = NULL;
	if (flags & ~CREATE_FLAGS)
		return fail(message, -EINVAL, "unknown memory flags %#x", flags);
	err = check_size(message, bytes, flags);
	if (err)
		return err;
	new = new_object(bytes, flags);
	if (!new)
		return fail(message, -ENOMEM, "out of memory");
	if (flags & VMM_MEMORY_SHARED) {
		new->fd = make_memfd(message, bytes, flags);
		err = new->fd < 0 ? new->fd : 0;
	}
	if (!err)
		err = start_object(message, new, gpa, PROT_READ | PROT_WRITE);
	if (err)
		vmm_memory_free(new);
	else
		*object = new;
	return err;
}

int vmm_memory_create(struct vmm *vmm, uint64_t bytes, uint32_t flags,
		      struct vmm_memory_object **object)
{
	return memory_object_create(&vmm->message, 0, bytes, flags, object);
}

/* The VMM_MEMORY_HUGE* that the file of @fd has */
static uint32_t huge_flags(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) || fs.f_type != HUGETLBFS_MAGIC)
		return 0;
	return (uint64_t)fs.f_bsize == HUGE_1G ? VMM_MEMORY_HUGE_1G : VMM_MEMORY_HUGE;
}

int vmm_memory_open(struct vmm *vmm, int fd, uint32_t flags, struct vmm_memory_object **object)
{
	struct vmm_memory_object *new;
	struct stat stat;
	int err;

	*object = NULL;
	if (flags & ~(VMM_MEMORY_READONLY | VMM_MEMORY_POPULATE))
		return fail(&vmm->message, -EINVAL, "unknown memory flags %#x", flags);
	if (fstat(fd, &stat))
		return fail(&vmm->message, -errno, "memory of descriptor %d: %s", fd,
			    strerror(errno));
	flags |= VMM_MEMORY_SHARED | huge_flags(fd);
	err = check_size(&vmm->message, stat.st_size, flags);
	if (err)
		return err;
	new = new_object(stat.st_size, flags);
	if (!new)
		return fail(&vmm->message, -ENOMEM, "out of memory");
	new->readonly = flags & VMM_MEMORY_READONLY;
	new->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (new->fd < 0)
		err = fail(&vmm->message, -errno, "descriptor %d: %s", fd, strerror(errno));
	else
		err = start_object(&vmm->message, new, 0,
				   new->readonly ? PROT_READ : PROT_READ | PROT_WRITE);
	if (err)
		vmm_memory_free(new);
	else
		*object = new;
	return err;
}

void memory_object_get(struct vmm_memory_object *object)
{
	__atomic_add_fetch(&object->references, 1, __ATOMIC_RELAXED);
}

void vmm_memory_free(struct vmm_memory_object *object)
{
	if (!object || __atomic_sub_fetch(&object->references, 1, __ATOMIC_ACQ_REL))
		return;
	if (object->host)
		munmap(object->host, object->bytes);
	if (object->fd >= 0)
		close(object->fd);
	free(object);
}

void *vmm_memory_host(const struct vmm_memory_object *object)
{
	return object->host;
}

uint64_t vmm_memory_bytes(const struct vmm_memory_object *object)
{
	return object->bytes;
}

int vmm_memory_object_fd(const struct vmm_memory_object *object)
{
	return object->fd >= 0 ? object->fd : -ENOENT;
}
