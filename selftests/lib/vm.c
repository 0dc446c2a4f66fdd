// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMs, vCPUs and their state, by the raw ioctls.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "vmmtest.h"

void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "# %s:%d: ", file, line);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n");
	fflush(stderr);
	_exit(1);
}

int do_ioctl(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

int open_dev(void)
{
	int fd = open("/dev/vmm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("/dev/vmm: %s", strerror(errno));
	return fd;
}

void get_info(int dev, struct vmm_info *info)
{
	int ret;

	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	ret = do_ioctl(dev, VMM_GET_INFO, info);
	if (ret)
		fail("VMM_GET_INFO: %s", strerror(-ret));
}

bool host_is_slow(void)
{
	struct vmm_info info;
	int dev = open_dev();

	get_info(dev, &info);
	close(dev);
	return info.tsc_khz < 100000;
}

bool has_caps(u64 caps)
{
	struct vmm_info info;
	int dev = open_dev();

	get_info(dev, &info);
	close(dev);
	return (info.caps & caps) == caps;
}

void *map_memory(size_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		fail("mmap of %zu bytes: %s", bytes, strerror(errno));
	return mem;
}

int vm_set_slot(struct vm *vm, u32 slot, u64 gpa, u64 bytes, void *hva, u32 flags)
{
	struct vmm_memory memory = {
		.size = sizeof(memory),
		.flags = flags,
		.slot = slot,
		.gpa = gpa,
		.bytes = bytes,
		.hva = (uintptr_t)hva,
	};

	return do_ioctl(vm->fd, VMM_SET_MEMORY, &memory);
}

struct vm *vm_create(size_t mem_size, u32 flags)
{
	struct vmm_vm_create create = { .size = sizeof(create), .flags = flags };
	struct vm *vm = calloc(1, sizeof(*vm));
	int ret;

	vm->dev = open_dev();
	get_info(vm->dev, &vm->info);
	vm->fd = do_ioctl(vm->dev, VMM_CREATE_VM, &create);
	if (vm->fd < 0)
		fail("VMM_CREATE_VM(%#x): %s", flags, strerror(-vm->fd));
	if (!mem_size)
		return vm;

	vm->mem_size = mem_size;
	vm->mem = map_memory(mem_size);
	ret = vm_set_slot(vm, 0, 0, mem_size, vm->mem, 0);
	if (ret)
		fail("VMM_SET_MEMORY of %#zx bytes: %s", mem_size, strerror(-ret));
	return vm;
}

void vm_destroy(struct vm *vm)
{
	int i;

	for (i = 0; i < MAX_TEST_VCPUS; i++)
		if (vm->vcpus[i])
			vcpu_destroy(vm->vcpus[i]);
	close(vm->fd);
	close(vm->dev);
	if (vm->mem)
		munmap(vm->mem, vm->mem_size);
	free(vm);
}

struct vcpu *vcpu_create_bare(struct vm *vm, u32 id)
{
	struct vmm_vcpu_create create = { .size = sizeof(create), .id = id };
	struct vcpu *vcpu = calloc(1, sizeof(*vcpu));
	int i;

	vcpu->vm = vm;
	vcpu->timeout_ms = 10000;
	vcpu->state.size = sizeof(vcpu->state);
	vcpu->fd = do_ioctl(vm->fd, VMM_CREATE_VCPU, &create);
	if (vcpu->fd < 0)
		fail("VMM_CREATE_VCPU(%u): %s", id, strerror(-vcpu->fd));
	vcpu->run = mmap(NULL, vm->info.run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		fail("mmap of the run area: %s", strerror(errno));
	for (i = 0; i < MAX_TEST_VCPUS; i++)
		if (!vm->vcpus[i])
			break;
	if (i == MAX_TEST_VCPUS)
		fail("more than %d vCPUs", MAX_TEST_VCPUS);
	vm->vcpus[i] = vcpu;
	return vcpu;
}

struct vcpu *vcpu_create(struct vm *vm, u32 id)
{
	struct vcpu *vcpu = vcpu_create_bare(vm, id);
	struct vmm_cpuid_entry *entries;
	u32 count;
	int ret;

	entries = get_supported_cpuid(vm->dev, &count);
	ret = vcpu_set_cpuid(vcpu, entries, count);
	if (ret)
		fail("VMM_SET_CPUID of what is supported: %s", strerror(-ret));
	free(entries);
	return vcpu;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	int i;

	for (i = 0; i < MAX_TEST_VCPUS; i++)
		if (vm->vcpus[i] == vcpu)
			vm->vcpus[i] = NULL;
	munmap(vcpu->run, vm->info.run_size);
	close(vcpu->fd);
	free(vcpu);
}

static struct vmm_cpuid_entry *get_cpuid(int fd, u32 *count)
{
	struct vmm_cpuid cpuid = { .size = sizeof(cpuid) };
	struct vmm_cpuid_entry *entries;
	int ret;

	ret = do_ioctl(fd, VMM_GET_CPUID, &cpuid);
	if (ret && ret != -E2BIG)
		fail("VMM_GET_CPUID for the count: %s", strerror(-ret));
	entries = calloc(cpuid.count + 1, sizeof(*entries));
	cpuid.entries = (uintptr_t)entries;
	ret = do_ioctl(fd, VMM_GET_CPUID, &cpuid);
	if (ret)
		fail("VMM_GET_CPUID: %s", strerror(-ret));
	*count = cpuid.count;
	return entries;
}

struct vmm_cpuid_entry *get_supported_cpuid(int dev, u32 *count)
{
	return get_cpuid(dev, count);
}

struct vmm_cpuid_entry *vcpu_get_cpuid(struct vcpu *vcpu, u32 *count)
{
	return get_cpuid(vcpu->fd, count);
}

int vcpu_set_cpuid(struct vcpu *vcpu, const struct vmm_cpuid_entry *entries, u32 count)
{
	struct vmm_cpuid cpuid = {
		.size = sizeof(cpuid),
		.count = count,
		.entries = (uintptr_t)entries,
	};

	return do_ioctl(vcpu->fd, VMM_SET_CPUID, &cpuid);
}

struct vmm_cpuid_entry *find_cpuid(struct vmm_cpuid_entry *entries, u32 count, u32 function,
				   u32 index)
{
	u32 i;

	for (i = 0; i < count; i++) {
		if (entries[i].function != function)
			continue;
		if (!(entries[i].flags & VMM_CPUID_INDEX) || entries[i].index == index)
			return &entries[i];
	}
	return NULL;
}

int vcpu_try_get(struct vcpu *vcpu, u64 groups)
{
	vcpu->state.size = sizeof(vcpu->state);
	vcpu->state.flags = 0;
	vcpu->state.groups = groups;
	return do_ioctl(vcpu->fd, VMM_GET_STATE, &vcpu->state);
}

int vcpu_try_set(struct vcpu *vcpu, u64 groups)
{
	vcpu->state.size = sizeof(vcpu->state);
	vcpu->state.flags = 0;
	vcpu->state.groups = groups;
	return do_ioctl(vcpu->fd, VMM_SET_STATE, &vcpu->state);
}

void vcpu_get(struct vcpu *vcpu, u64 groups)
{
	int ret = vcpu_try_get(vcpu, groups);

	if (ret)
		fail("VMM_GET_STATE(%#llx): %s", groups, strerror(-ret));
}

void vcpu_set(struct vcpu *vcpu, u64 groups)
{
	int ret = vcpu_try_set(vcpu, groups);

	if (ret)
		fail("VMM_SET_STATE(%#llx): %s", groups, strerror(-ret));
}

static int access_msr(struct vcpu *vcpu, unsigned long request, u32 index, u64 *data)
{
	struct vmm_msr_entry entry = { .index = index, .data = *data };
	struct vmm_msrs msrs = {
		.size = sizeof(msrs),
		.count = 1,
		.entries = (uintptr_t)&entry,
	};
	int ret = do_ioctl(vcpu->fd, request, &msrs);

	*data = entry.data;
	return ret;
}

int vcpu_get_msr(struct vcpu *vcpu, u32 index, u64 *data)
{
	*data = 0;
	return access_msr(vcpu, VMM_GET_MSRS, index, data);
}

int vcpu_set_msr(struct vcpu *vcpu, u32 index, u64 data)
{
	return access_msr(vcpu, VMM_SET_MSRS, index, &data);
}

int vcpu_inject(struct vcpu *vcpu, u8 type, u8 vector, bool has_error, u32 error, u64 payload)
{
	struct vmm_inject inject = {
		.size = sizeof(inject),
		.event = {
			.type = type,
			.vector = vector,
			.has_error = has_error,
			.error = error,
			.payload = payload,
		},
	};

	return do_ioctl(vcpu->fd, VMM_INJECT, &inject);
}

int vcpu_interrupt(struct vcpu *vcpu, u8 vector)
{
	return vcpu_inject(vcpu, VMM_EVENT_INTERRUPT, vector, false, 0, 0);
}

int vcpu_nmi(struct vcpu *vcpu)
{
	return vcpu_inject(vcpu, VMM_EVENT_NMI, 2, false, 0, 0);
}

u64 get_stat(int fd, const char *name)
{
	struct vmm_stat stat[128] = { 0 };
	struct vmm_stats stats = {
		.size = sizeof(stats),
		.count = 128,
		.stats = (uintptr_t)stat,
	};
	int ret = do_ioctl(fd, VMM_GET_STATS, &stats);
	u32 i;

	if (ret)
		fail("VMM_GET_STATS: %s", strerror(-ret));
	for (i = 0; i < stats.count; i++)
		if (!strncmp(stat[i].name, name, sizeof(stat[i].name)))
			return stat[i].value;
	fail("no statistic \"%s\"", name);
}
