// SPDX-License-Identifier: GPL-2.0-only
/*
 * The contract of every call: sizes and their growth, flags, reserved fields,
 * the kind of file, each errno; the same from a 32-bit caller.
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

enum file { SYSTEM = 1, VM = 2, VCPU = 4 };

FIXTURE(api) {
	struct vm *vm;
	struct vcpu *vcpu;
	int mark;
};

FIXTURE_SETUP(api)
{
	self->mark = host_log_mark();
	self->vm = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(api)
{
	vm_destroy(self->vm);
	/* Whatever a caller gets wrong, the host's log does not say. */
	EXPECT_TRUE(host_log_quiet(self->mark));
}

/* ---- every call that takes a structure ---- */

struct head {
	u32 size;
	u32 flags;
};

/* The largest structure, and room behind it */
union any {
	struct head head;
	struct vmm_info info;
	struct vmm_vm_create vm_create;
	struct vmm_vcpu_create vcpu_create;
	struct vmm_memory memory;
	struct vmm_state state;
	struct vmm_cpuid cpuid;
	struct vmm_msrs msrs;
	struct vmm_msr_list msr_list;
	struct vmm_msr_policy msr_policy;
	struct vmm_exits exits;
	struct vmm_inject inject;
	struct vmm_translate translate;
	struct vmm_device_access device_access;
	struct vmm_irq_line irq_line;
	struct vmm_msi msi;
	struct vmm_routes routes;
	struct vmm_irqfd irqfd;
	struct vmm_ioeventfd ioeventfd;
	struct vmm_vm_state vm_state;
	struct vmm_stats stats;
	u8 bytes[4 * 4096];
};

static struct vmm_cpuid_entry cpuid_entries[256];
static struct vmm_stat stat_entries[128];
static u32 msr_indices[512];
static struct vmm_msr_entry msr_entry;
static int next_vcpu = 100, next_port = 0x1000;

/* Arguments with which each call does its work; what it returns beyond 0 is no error. */
static void make_irqfd(union any *arg)
{
	arg->irqfd.fd = eventfd(0, 0);
	arg->irqfd.gsi = 5;
}

static void make_ioeventfd(union any *arg)
{
	arg->ioeventfd.flags = VMM_IOEVENTFD_IO;
	arg->ioeventfd.address = next_port++;
	arg->ioeventfd.length = 1;
	arg->ioeventfd.fd = eventfd(0, 0);
}

static void make_vcpu(union any *arg)
{
	arg->vcpu_create.id = next_vcpu++;
}

static void make_cpuid(union any *arg)
{
	arg->cpuid.count = ARRAY_SIZE(cpuid_entries);
	arg->cpuid.entries = (uintptr_t)cpuid_entries;
}

static void make_empty_cpuid(union any *arg)
{
	arg->cpuid.entries = (uintptr_t)cpuid_entries;
}

static void make_msrs(union any *arg)
{
	msr_entry = (struct vmm_msr_entry){ .index = 0x277, .data = 0x0007040600070406 };
	arg->msrs.count = 1;
	arg->msrs.entries = (uintptr_t)&msr_entry;
}

static void make_msr_list(union any *arg)
{
	arg->msr_list.count = ARRAY_SIZE(msr_indices);
	arg->msr_list.indices = (uintptr_t)msr_indices;
}

static void make_stats(union any *arg)
{
	arg->stats.count = ARRAY_SIZE(stat_entries);
	arg->stats.stats = (uintptr_t)stat_entries;
}

static void make_nmi(union any *arg)
{
	arg->inject.event.type = VMM_EVENT_NMI;
	arg->inject.event.vector = 2;
}

static void make_msi(union any *arg)
{
	arg->msi.address = 0xfee00000;
	arg->msi.data = 0x40;
}

static void make_translate(union any *arg)
{
	arg->translate.access = VMM_ACCESS_READ;
}

static void make_device_access(union any *arg)
{
	arg->device_access.address = 0xfee00030;
	arg->device_access.bytes = 4;
}

static void make_irq_line(union any *arg)
{
	arg->irq_line.gsi = 3;
}

static void make_memory(union any *arg)
{
	arg->memory.slot = 9;
	arg->memory.gpa = 0x10000000;
	arg->memory.bytes = PAGE;
	arg->memory.hva = (uintptr_t)map_memory(PAGE);
}

static void make_nothing(union any *arg)
{
}

static const struct call {
	const char *name;
	unsigned int request;
	u32 files;		/* enum file: that know it */
	u32 size;
	void (*make)(union any *arg);
	u32 reserved;		/* offset of a reserved field, or 0 */
} calls[] = {
	{ "GET_INFO", VMM_GET_INFO, SYSTEM, sizeof(struct vmm_info), make_nothing },
	{ "CREATE_VM", VMM_CREATE_VM, SYSTEM, sizeof(struct vmm_vm_create), make_nothing },
	{ "GET_CPUID", VMM_GET_CPUID, SYSTEM | VCPU, sizeof(struct vmm_cpuid), make_cpuid,
	  offsetof(struct vmm_cpuid, reserved) },
	{ "GET_MSR_LIST", VMM_GET_MSR_LIST, SYSTEM, sizeof(struct vmm_msr_list), make_msr_list,
	  offsetof(struct vmm_msr_list, reserved) },
	{ "SET_MEMORY", VMM_SET_MEMORY, VM, sizeof(struct vmm_memory), make_memory,
	  offsetof(struct vmm_memory, reserved) },
	{ "CREATE_VCPU", VMM_CREATE_VCPU, VM, sizeof(struct vmm_vcpu_create), make_vcpu,
	  offsetof(struct vmm_vcpu_create, reserved) },
	{ "IRQ_LINE", VMM_IRQ_LINE, VM, sizeof(struct vmm_irq_line), make_irq_line },
	{ "SIGNAL_MSI", VMM_SIGNAL_MSI, VM, sizeof(struct vmm_msi), make_msi,
	  offsetof(struct vmm_msi, reserved) },
	{ "SET_ROUTES", VMM_SET_ROUTES, VM, sizeof(struct vmm_routes), make_nothing,
	  offsetof(struct vmm_routes, reserved) },
	{ "IRQFD", VMM_IRQFD, VM, sizeof(struct vmm_irqfd), make_irqfd,
	  offsetof(struct vmm_irqfd, reserved) },
	{ "IOEVENTFD", VMM_IOEVENTFD, VM, sizeof(struct vmm_ioeventfd), make_ioeventfd },
	{ "GET_VM_STATE", VMM_GET_VM_STATE, VM, sizeof(struct vmm_vm_state), make_nothing },
	{ "SET_VM_STATE", VMM_SET_VM_STATE, VM, sizeof(struct vmm_vm_state), make_nothing },
	{ "SET_MSR_POLICY", VMM_SET_MSR_POLICY, VM, sizeof(struct vmm_msr_policy), make_nothing,
	  offsetof(struct vmm_msr_policy, reserved) },
	{ "GET_STATE", VMM_GET_STATE, VCPU, sizeof(struct vmm_state), make_nothing },
	{ "SET_STATE", VMM_SET_STATE, VCPU, sizeof(struct vmm_state), make_nothing },
	{ "SET_CPUID", VMM_SET_CPUID, VCPU, sizeof(struct vmm_cpuid), make_empty_cpuid,
	  offsetof(struct vmm_cpuid, reserved) },
	{ "GET_MSRS", VMM_GET_MSRS, VCPU, sizeof(struct vmm_msrs), make_msrs,
	  offsetof(struct vmm_msrs, reserved) },
	{ "SET_MSRS", VMM_SET_MSRS, VCPU, sizeof(struct vmm_msrs), make_msrs,
	  offsetof(struct vmm_msrs, reserved) },
	{ "INJECT", VMM_INJECT, VCPU, sizeof(struct vmm_inject), make_nmi },
	{ "TRANSLATE", VMM_TRANSLATE, VCPU, sizeof(struct vmm_translate), make_translate },
	{ "SET_EXITS", VMM_SET_EXITS, VCPU, sizeof(struct vmm_exits), make_nothing },
	{ "DEVICE_ACCESS", VMM_DEVICE_ACCESS, VCPU, sizeof(struct vmm_device_access),
	  make_device_access },
	{ "GET_STATS", VMM_GET_STATS, VM | VCPU, sizeof(struct vmm_stats), make_stats,
	  offsetof(struct vmm_stats, reserved) },
};

/* Calls without a structure, and those that need more than a guest to be there first */
static const struct {
	unsigned int request;
	u32 files;
} plain_calls[] = {
	{ VMM_RUN, VCPU }, { VMM_KICK, VCPU }, { VMM_GET_DIRTY, VM }, { VMM_CLEAR_DIRTY, VM },
	{ VMM_MARK_DIRTY, VM }, { VMM_PREFAULT, VM }, { VMM_GET_TOUCHED, VM },
	{ VMM_RESET_RINGS, VM }, { VMM_SET_RING, VCPU },
	{ VMM_CREATE_VIEW, VM }, { VMM_DESTROY_VIEW, VM }, { VMM_SET_PAGE_ACCESS, VM },
	{ VMM_SET_VIEW, VCPU },
};

static const u32 all_files[] = { SYSTEM, VM, VCPU };

static int fd_of(struct vcpu *vcpu, u32 file)
{
	return file == SYSTEM ? vcpu->vm->dev : file == VM ? vcpu->vm->fd : vcpu->fd;
}

static union any *make(const struct call *call)
{
	static union any arg;

	memset(&arg, 0, sizeof(arg));
	call->make(&arg);
	arg.head.size = call->size;
	return &arg;
}

/* Each call on each kind of file that knows it */
struct use {
	const struct call *call;
	u32 file;
};

static struct use uses[2 * ARRAY_SIZE(calls)];

/* Returns the end of uses[]. */
static const struct use *find_uses(void)
{
	struct use *use = uses;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		for (j = 0; j < ARRAY_SIZE(all_files); j++)
			if (calls[i].files & all_files[j])
				*use++ = (struct use) { &calls[i], all_files[j] };
	return use;
}

TEST_F(api, works)
{
	const struct use *use, *end = find_uses();
	const struct call *call;
	union any *arg;

	for (use = uses; use < end; use++) {
		call = use->call;
		arg = make(call);
		EXPECT_LE(0, do_ioctl(fd_of(self->vcpu, use->file), call->request, arg))
			TH_LOG("%s", call->name);
	}
}

TEST_F(api, structure_size)
{
	const struct use *use, *end = find_uses();
	const struct call *call;
	union any *arg;
	u32 size;
	int fd;

	for (use = uses; use < end; use++) {
		call = use->call;
		fd = fd_of(self->vcpu, use->file);
		/* Shorter than any version of it */
		for (size = 0; size < call->size; size += 4) {
			arg = make(call);
			arg->head.size = size;
			EXPECT_EQ(-EINVAL, do_ioctl(fd, call->request, arg))
				TH_LOG("%s with size %u", call->name, size);
		}
		/* Longer than it is today: zeros are welcome ... */
		arg = make(call);
		arg->head.size = call->size + 64;
		EXPECT_LE(0, do_ioctl(fd, call->request, arg)) TH_LOG("%s", call->name);
		/* ... and anything else is of a version that this module does not know. */
		for (size = 0; size < 64; size += 21) {
			arg = make(call);
			arg->head.size = call->size + 64;
			arg->bytes[call->size + size] = 1;
			EXPECT_EQ(-E2BIG, do_ioctl(fd, call->request, arg))
				TH_LOG("%s with a tail at %u", call->name, size);
		}
		arg = make(call);
		arg->head.size = sizeof(*arg);
		EXPECT_EQ(-E2BIG, do_ioctl(fd, call->request, arg)) TH_LOG("%s", call->name);
		arg = make(call);
		arg->head.size = ~0;
		EXPECT_EQ(-E2BIG, do_ioctl(fd, call->request, arg)) TH_LOG("%s", call->name);
	}
}

TEST_F(api, unknown_flags)
{
	const struct use *use, *end = find_uses();
	const struct call *call;
	union any *arg;
	u32 bit;
	int fd;

	for (use = uses; use < end; use++) {
		call = use->call;
		fd = fd_of(self->vcpu, use->file);
		for (bit = 8; bit < 32; bit++) {
			arg = make(call);
			arg->head.flags |= 1U << bit;
			EXPECT_EQ(-EINVAL, do_ioctl(fd, call->request, arg))
				TH_LOG("%s with flag %u", call->name, bit);
		}
	}
}

TEST_F(api, reserved_fields)
{
	const struct use *use, *end = find_uses();
	const struct call *call;
	union any *arg;

	for (use = uses; use < end; use++) {
		call = use->call;
		if (!call->reserved)
			continue;
		arg = make(call);
		arg->bytes[call->reserved] = 1;
		EXPECT_EQ(-EINVAL, do_ioctl(fd_of(self->vcpu, use->file), call->request, arg))
			TH_LOG("%s", call->name);
	}
}

TEST_F(api, bad_pointers)
{
	u8 *two = map_memory(2 * PAGE);
	const struct use *use, *end = find_uses();
	const struct call *call;
	u32 there;
	union any *arg;
	int fd;

	mprotect(two + PAGE, PAGE, PROT_NONE);
	for (use = uses; use < end; use++) {
		call = use->call;
		fd = fd_of(self->vcpu, use->file);
		EXPECT_EQ(-EFAULT, do_ioctl(fd, call->request, NULL)) TH_LOG("%s", call->name);
		EXPECT_EQ(-EFAULT, do_ioctl(fd, call->request, (void *)0xffff888000001000))
			TH_LOG("%s", call->name);
		/* All but the last bytes are there. */
		arg = make(call);
		there = call->size - 4;
		memcpy(two + PAGE - there, arg, there);
		EXPECT_EQ(-EFAULT, do_ioctl(fd, call->request, two + PAGE - there))
			TH_LOG("%s", call->name);
	}
}

/* What is filled in: the size that the module knows, and nothing behind it */
TEST_F(api, size_on_return)
{
	struct { struct vmm_info info; u8 tail[64]; } long_info = {
		.info.size = sizeof(long_info),
	};
	struct vmm_info info;

	memset(&info, 0xff, sizeof(info));
	info.size = sizeof(info);
	info.flags = 0;
	ASSERT_EQ(0, do_ioctl(self->vm->dev, VMM_GET_INFO, &info));
	EXPECT_EQ(sizeof(info), info.size);
	ASSERT_EQ(0, do_ioctl(self->vm->dev, VMM_GET_INFO, &long_info));
	EXPECT_EQ(sizeof(info), long_info.info.size);
	EXPECT_EQ(0, memcmp(&info, &long_info.info, sizeof(info)));
}

/* ---- kinds of files ---- */

TEST_F(api, wrong_kind_of_file)
{
	const struct call *call;
	unsigned int i, j;
	union any *arg;
	int fd;

	for (call = calls; call < calls + ARRAY_SIZE(calls); call++) {
		for (i = 0; i < ARRAY_SIZE(all_files); i++) {
			if (call->files & all_files[i])
				continue;
			arg = make(call);
			fd = fd_of(self->vcpu, all_files[i]);
			EXPECT_EQ(-ENOTTY, do_ioctl(fd, call->request, arg))
				TH_LOG("%s on file %u", call->name, all_files[i]);
		}
	}
	for (j = 0; j < ARRAY_SIZE(plain_calls); j++)
		for (i = 0; i < ARRAY_SIZE(all_files); i++)
			if (!(plain_calls[j].files & all_files[i]))
				EXPECT_EQ(-ENOTTY, do_ioctl(fd_of(self->vcpu, all_files[i]),
							    plain_calls[j].request, NULL));
}

static bool known(unsigned int request)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].request == request)
			return true;
	for (i = 0; i < ARRAY_SIZE(plain_calls); i++)
		if (plain_calls[i].request == request)
			return true;
	return false;
}

TEST_F(api, unknown_calls)
{
	static u8 page[4096];
	unsigned int nr, i;

	for (nr = 0; nr < 256; nr++) {
		if (known(_IO(VMM_IOC, nr)))
			continue;
		for (i = 0; i < ARRAY_SIZE(all_files); i++) {
			EXPECT_EQ(-ENOTTY, do_ioctl(fd_of(self->vcpu, all_files[i]),
						    _IO(VMM_IOC, nr), page))
				TH_LOG("number %#x", nr);
		}
	}
	/* The same numbers with a direction or a size are other calls. */
	EXPECT_EQ(-ENOTTY, do_ioctl(self->vm->dev, _IOR(VMM_IOC, 0, struct vmm_info), page));
	EXPECT_EQ(-ENOTTY, do_ioctl(self->vm->dev, VMM_GET_INFO & 0xff, page));
}

TEST_F(api, files_are_no_ordinary_ones)
{
	char c;

	EXPECT_EQ(-1, read(self->vm->fd, &c, 1));
	EXPECT_EQ(-1, write(self->vm->fd, &c, 1));
	EXPECT_EQ(-1, read(self->vcpu->fd, &c, 1));
	EXPECT_EQ(-1, write(self->vcpu->fd, &c, 1));
	EXPECT_EQ(-1, read(self->vm->dev, &c, 1));
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->vm->fd, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->vcpu->fd, F_GETFD));
}

/* ---- what each call says ---- */

TEST_F(api, info)
{
	struct vmm_info *info = &self->vm->info;

	EXPECT_EQ(VMM_API_VERSION, info->api_version);
	EXPECT_EQ(0, info->flags);
	EXPECT_TRUE(info->vendor == VMM_VENDOR_AMD || info->vendor == VMM_VENDOR_INTEL);
	EXPECT_EQ(VMM_STATE_ALL, info->vcpu_groups);
	EXPECT_EQ(VMM_VM_STATE_ALL, info->vm_groups);
	EXPECT_EQ(VMM_STATE_SYNC, info->sync_groups);
	EXPECT_GE(info->gpa_bits, 36);
	EXPECT_LE(info->gpa_bits, 52);
	EXPECT_TRUE(info->gva_bits == 48 || info->gva_bits == 57);
	EXPECT_EQ(info->gva_bits == 57, !!(info->caps & VMM_CAP_LA57));
	EXPECT_GE(info->max_vcpus, 1);
	EXPECT_GE(info->max_slots, 32);
	EXPECT_GE(info->nr_gsis, 24);
	EXPECT_EQ(0, info->run_size % PAGE);
	EXPECT_GE(info->xsave_size, 512);
	EXPECT_GT(info->tsc_khz, 1000);
	EXPECT_EQ(!!info->xcr0, !!(info->caps & VMM_CAP_XSAVE));
	if (info->xcr0)
		EXPECT_EQ(3, info->xcr0 & 3);
}

TEST_F(api, create_vm)
{
	static const struct { u32 flags; int ret; } sets[] = {
		{ 0, 0 }, { VMM_VM_LAPIC, 0 }, { VMM_VM_PIC, 0 }, { VMM_VM_PIC | VMM_VM_PIT, 0 },
		{ VMM_VM_LAPIC | VMM_VM_IOAPIC, 0 },
		{ VMM_VM_LAPIC | VMM_VM_IOAPIC | VMM_VM_PIT, 0 },
		{ VMM_VM_IRQCHIPS, 0 },
		{ VMM_VM_PIT, -EINVAL },
		{ VMM_VM_PIT | VMM_VM_LAPIC, -EINVAL },
		{ VMM_VM_IOAPIC, -EINVAL },
		{ VMM_VM_IOAPIC | VMM_VM_PIC, -EINVAL },
		{ 1 << 4, -EINVAL }, { VMM_VM_IRQCHIPS | 1 << 5, -EINVAL },
	};
	struct vmm_vm_create create = { .size = sizeof(create) };
	unsigned int i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(sets); i++) {
		create.flags = sets[i].flags;
		fd = do_ioctl(self->vm->dev, VMM_CREATE_VM, &create);
		EXPECT_EQ(sets[i].ret, fd < 0 ? fd : 0) TH_LOG("flags %#x", sets[i].flags);
		if (fd >= 0)
			close(fd);
	}
}

TEST_F(api, create_vcpu)
{
	struct vmm_vcpu_create create = { .size = sizeof(create) };
	struct vm *vm = vm_create(0, VMM_VM_LAPIC);
	u32 i;

	/* Any number below 2^32 - 1, once */
	create.id = ~0U;
	EXPECT_EQ(-EINVAL, do_ioctl(vm->fd, VMM_CREATE_VCPU, &create));
	create.id = ~0U - 1;
	EXPECT_LE(0, do_ioctl(vm->fd, VMM_CREATE_VCPU, &create));
	EXPECT_EQ(-EEXIST, do_ioctl(vm->fd, VMM_CREATE_VCPU, &create));
	create.id = 0;
	EXPECT_LE(0, do_ioctl(vm->fd, VMM_CREATE_VCPU, &create));
	EXPECT_EQ(-EEXIST, do_ioctl(vm->fd, VMM_CREATE_VCPU, &create));
	/* As many as was said, and not one more */
	for (i = 2; i < vm->info.max_vcpus; i++) {
		create.id = 1000 * i;
		ASSERT_LE(0, do_ioctl(vm->fd, VMM_CREATE_VCPU, &create)) TH_LOG("vCPU %u", i);
	}
	create.id = 77;
	EXPECT_EQ(-ENOSPC, do_ioctl(vm->fd, VMM_CREATE_VCPU, &create));
	vm_destroy(vm);
}

/* The file descriptors run out: nothing is left behind. */
TEST_F(api, no_file_descriptor)
{
	struct vmm_vcpu_create vcpu = { .size = sizeof(vcpu), .id = 50 };
	struct vmm_vm_create vm = { .size = sizeof(vm) };
	int fds[4096], n = 0;

	while (n < 4096 && (fds[n] = dup(0)) >= 0)
		n++;
	EXPECT_EQ(-EMFILE, do_ioctl(self->vm->dev, VMM_CREATE_VM, &vm));
	EXPECT_EQ(-EMFILE, do_ioctl(self->vm->fd, VMM_CREATE_VCPU, &vcpu));
	while (n)
		close(fds[--n]);
	EXPECT_LE(0, do_ioctl(self->vm->fd, VMM_CREATE_VCPU, &vcpu));
}

TEST_F(api, state_groups)
{
	struct vcpu *vcpu = self->vcpu;
	struct vm *bare;

	EXPECT_EQ(-EINVAL, vcpu_try_get(vcpu, VMM_STATE_ALL + 1));
	EXPECT_EQ(-EINVAL, vcpu_try_set(vcpu, VMM_STATE_ALL + 1));
	EXPECT_EQ(-EINVAL, vcpu_try_get(vcpu, 1ULL << 63));
	EXPECT_EQ(0, vcpu_try_get(vcpu, 0));
	EXPECT_EQ(0, vcpu_try_set(vcpu, 0));
	/* Only what is asked for is touched. */
	memset(&vcpu->state, 0xcc, sizeof(vcpu->state));
	vcpu_get(vcpu, VMM_STATE_DEBUG);
	EXPECT_EQ(0x400, vcpu->state.debug.dr7);
	EXPECT_EQ(0xcccccccccccccccc, vcpu->state.regs.rip);
	EXPECT_EQ(0xcccccccccccccccc, vcpu->state.xsave.xcr0);

	/* A group of what the VM does not have */
	bare = vm_create(0, 0);
	vcpu = vcpu_create(bare, 0);
	EXPECT_EQ(-ENXIO, vcpu_try_get(vcpu, VMM_STATE_LAPIC));
	EXPECT_EQ(-ENXIO, vcpu_try_set(vcpu, VMM_STATE_LAPIC));
	vm_destroy(bare);
}

TEST_F(api, vm_state_groups)
{
	struct vmm_vm_state *state = calloc(1, sizeof(*state));
	struct vm *bare = vm_create(0, 0);
	u64 group;

	state->size = sizeof(*state);
	state->groups = VMM_VM_STATE_ALL + 1;
	EXPECT_EQ(-EINVAL, do_ioctl(self->vm->fd, VMM_GET_VM_STATE, state));
	EXPECT_EQ(-EINVAL, do_ioctl(self->vm->fd, VMM_SET_VM_STATE, state));
	state->groups = VMM_VM_STATE_ALL;
	EXPECT_EQ(0, do_ioctl(self->vm->fd, VMM_GET_VM_STATE, state));
	EXPECT_EQ(0, do_ioctl(self->vm->fd, VMM_SET_VM_STATE, state));
	for (group = VMM_VM_STATE_PIC; group <= VMM_VM_STATE_PIT; group *= 2) {
		state->groups = group;
		EXPECT_EQ(-ENXIO, do_ioctl(bare->fd, VMM_GET_VM_STATE, state));
		EXPECT_EQ(-ENXIO, do_ioctl(bare->fd, VMM_SET_VM_STATE, state));
	}
	state->groups = VMM_VM_STATE_CLOCK;
	EXPECT_EQ(0, do_ioctl(bare->fd, VMM_GET_VM_STATE, state));
	vm_destroy(bare);
}

TEST_F(api, cpuid_list)
{
	struct vmm_cpuid_entry *entries;
	struct vmm_cpuid cpuid = { .size = sizeof(cpuid) };
	u32 count;

	/* Too little room: how much is needed, and nothing is written */
	memset(cpuid_entries, 0xee, sizeof(cpuid_entries));
	cpuid.count = 1;
	cpuid.entries = (uintptr_t)cpuid_entries;
	EXPECT_EQ(-E2BIG, do_ioctl(self->vm->dev, VMM_GET_CPUID, &cpuid));
	EXPECT_GT(cpuid.count, 5);
	EXPECT_EQ(0xeeeeeeee, cpuid_entries[0].function);
	EXPECT_EQ(0, do_ioctl(self->vm->dev, VMM_GET_CPUID, &cpuid));
	cpuid.entries = 0xffff888000001000;
	EXPECT_EQ(-EFAULT, do_ioctl(self->vm->dev, VMM_GET_CPUID, &cpuid));

	entries = get_supported_cpuid(self->vm->dev, &count);
	EXPECT_EQ(0, vcpu_set_cpuid(self->vcpu, entries, count));
	/* Twice the same leaf, an unknown flag, a reserved field, more than there may be */
	entries[count] = entries[0];
	EXPECT_EQ(-EINVAL, vcpu_set_cpuid(self->vcpu, entries, count + 1));
	entries[1].flags |= 1 << 5;
	EXPECT_EQ(-EINVAL, vcpu_set_cpuid(self->vcpu, entries, count));
	entries[1].flags &= ~(1 << 5);
	entries[1].reserved = 1;
	EXPECT_EQ(-EINVAL, vcpu_set_cpuid(self->vcpu, entries, count));
	EXPECT_EQ(-E2BIG, vcpu_set_cpuid(self->vcpu, entries, 100000));
	EXPECT_EQ(-E2BIG, vcpu_set_cpuid(self->vcpu, entries, ~0U));
	EXPECT_EQ(-EFAULT, vcpu_set_cpuid(self->vcpu, NULL, 10));
	EXPECT_EQ(-EFAULT, vcpu_set_cpuid(self->vcpu, (void *)0xffff888000001000, 10));
	free(entries);

	/* All those failures have left the table as it was. */
	entries = vcpu_get_cpuid(self->vcpu, &count);
	EXPECT_NE(NULL, find_cpuid(entries, count, 1, 0));
	EXPECT_EQ(0, entries[1].flags & 1 << 5);
	free(entries);
}

TEST_F(api, msr_list)
{
	struct vmm_msr_list list = { .size = sizeof(list) };
	u64 data;
	u32 i;

	EXPECT_EQ(-E2BIG, do_ioctl(self->vm->dev, VMM_GET_MSR_LIST, &list));
	EXPECT_GT(list.count, 20);
	ASSERT_LE(list.count, ARRAY_SIZE(msr_indices));
	list.indices = (uintptr_t)msr_indices;
	ASSERT_EQ(0, do_ioctl(self->vm->dev, VMM_GET_MSR_LIST, &list));
	/* Each of them can be read, and what was read can be written. */
	for (i = 0; i < list.count; i++) {
		EXPECT_EQ(0, vcpu_get_msr(self->vcpu, msr_indices[i], &data))
			TH_LOG("MSR %#x", msr_indices[i]);
		EXPECT_EQ(0, vcpu_set_msr(self->vcpu, msr_indices[i], data))
			TH_LOG("MSR %#x", msr_indices[i]);
	}
}

/* A list of MSRs stops at the first that cannot be done, and says where. */
TEST_F(api, msrs_stop_at_the_first)
{
	struct vmm_msr_entry entries[] = {
		{ .index = 0xc0000082, .data = 0x1111 },	/* LSTAR */
		{ .index = 0xc0000083, .data = 0x2222 },	/* CSTAR */
		{ .index = 0x12345678, .data = 1 },
		{ .index = 0xc0000102, .data = 0x3333 },	/* KERNEL_GS_BASE */
	};
	struct vmm_msrs msrs = {
		.size = sizeof(msrs), .count = ARRAY_SIZE(entries),
		.entries = (uintptr_t)entries,
	};
	u64 data;

	EXPECT_EQ(-ENOENT, do_ioctl(self->vcpu->fd, VMM_SET_MSRS, &msrs));
	EXPECT_EQ(2, msrs.count);
	EXPECT_EQ(0, vcpu_get_msr(self->vcpu, 0xc0000083, &data));
	EXPECT_EQ(0x2222, data);
	EXPECT_EQ(0, vcpu_get_msr(self->vcpu, 0xc0000102, &data));
	EXPECT_EQ(0, data);
	msrs.count = ARRAY_SIZE(entries);
	EXPECT_EQ(-ENOENT, do_ioctl(self->vcpu->fd, VMM_GET_MSRS, &msrs));
	EXPECT_EQ(2, msrs.count);
	/* A value that cannot be: not canonical, a reserved field */
	EXPECT_EQ(-EINVAL, vcpu_set_msr(self->vcpu, 0xc0000082, 0x800000000000));
	entries[0].reserved = 1;
	msrs.count = 1;
	EXPECT_EQ(-EINVAL, do_ioctl(self->vcpu->fd, VMM_SET_MSRS, &msrs));
	EXPECT_EQ(0, msrs.count);
	msrs.entries = 0;
	msrs.count = 1;
	EXPECT_EQ(-EFAULT, do_ioctl(self->vcpu->fd, VMM_SET_MSRS, &msrs));
	EXPECT_EQ(0, vcpu_get_msr(self->vcpu, 0xc0000082, &data));
	EXPECT_EQ(0x1111, data);
}

TEST_F(api, msr_policy)
{
	struct vmm_msr_range range = { .base = 0x1000, .count = 1, .access = VMM_MSR_READ };
	struct vmm_msr_policy policy = {
		.size = sizeof(policy), .count = 1, .ranges = (uintptr_t)&range,
	};
	int fd = self->vm->fd;

	EXPECT_EQ(0, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
	range.count = 0;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
	range.count = 0x2001;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
	range.count = 0x2000;
	EXPECT_EQ(0, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
	range.base = 0xffffff00;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
	range.base = 0x1000;
	range.count = 1;
	range.access = 0;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
	range.access = 4;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
	range.access = VMM_MSR_WRITE;
	range.action = 2;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
	range.action = VMM_MSR_DENY;
	/* x2APIC registers belong to the LAPIC in the kernel. */
	range.base = 0x810;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
	range.base = 0x7ff;
	range.count = 2;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
	policy.count = 65;
	EXPECT_EQ(-E2BIG, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
	policy.count = 1;
	policy.ranges = 0;
	EXPECT_EQ(-EFAULT, do_ioctl(fd, VMM_SET_MSR_POLICY, &policy));
}

TEST_F(api, exits)
{
	struct vmm_exits exits = { .size = sizeof(exits), .exits = 1ULL << 40 };
	int fd = self->vcpu->fd;

	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_EXITS, &exits));
	/* Breakpoints without the flag that makes them count */
	exits.exits = 0;
	exits.dr7 = 1;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_EXITS, &exits));
	exits.dr7 = 0;
	exits.dr[2] = 0x1000;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_EXITS, &exits));
	exits.dr[2] = 0;
	/* What the capabilities do not announce is refused, not half done. */
	if (!has_caps(VMM_CAP_SINGLE_STEP)) {
		exits.exits = VMM_EXITS_STEP;
		EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_EXITS, &exits));
		exits.exits = VMM_EXITS_HW_BREAK;
		EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_EXITS, &exits));
	}
	exits.exits = VMM_EXITS_HLT | VMM_EXITS_CPUID;
	EXPECT_EQ(0, do_ioctl(fd, VMM_SET_EXITS, &exits));
}

TEST_F(api, interrupts)
{
	struct vmm_irq_line line = { .size = sizeof(line), .gsi = 4, .level = 2 };
	struct vmm_msi msi = { .size = sizeof(msi), .address = 0xfee00000, .data = 0x40 };
	struct vmm_route route = { .gsi = 40, .type = VMM_ROUTE_MSI, .address = 0xfee00000 };
	struct vmm_routes routes = {
		.size = sizeof(routes), .count = 1, .routes = (uintptr_t)&route,
	};
	struct vm *bare = vm_create(0, 0);
	int fd = self->vm->fd;

	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IRQ_LINE, &line));
	line.level = 0;
	line.gsi = self->vm->info.nr_gsis;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IRQ_LINE, &line));
	line.gsi = 500;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IRQ_LINE, &line));
	EXPECT_EQ(-ENXIO, do_ioctl(bare->fd, VMM_SIGNAL_MSI, &msi));

	EXPECT_EQ(0, do_ioctl(fd, VMM_SET_ROUTES, &routes));
	route.gsi = self->vm->info.nr_gsis;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_ROUTES, &routes));
	route.gsi = 40;
	route.type = 0;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_ROUTES, &routes));
	route.type = 4;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_ROUTES, &routes));
	route.type = VMM_ROUTE_PIC;
	route.pin = 16;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_ROUTES, &routes));
	route.type = VMM_ROUTE_IOAPIC;
	route.pin = 24;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_SET_ROUTES, &routes));
	route.pin = 23;
	EXPECT_EQ(0, do_ioctl(fd, VMM_SET_ROUTES, &routes));
	EXPECT_EQ(-ENXIO, do_ioctl(bare->fd, VMM_SET_ROUTES, &routes));
	routes.count = 4097;
	EXPECT_EQ(-E2BIG, do_ioctl(fd, VMM_SET_ROUTES, &routes));
	routes.count = 1;
	routes.routes = 0;
	EXPECT_EQ(-EFAULT, do_ioctl(fd, VMM_SET_ROUTES, &routes));
	vm_destroy(bare);
}

TEST_F(api, eventfds)
{
	struct vmm_irqfd irqfd = { .size = sizeof(irqfd), .fd = eventfd(0, 0), .gsi = 5 };
	struct vmm_ioeventfd io = { .size = sizeof(io), .fd = eventfd(0, 0), .length = 4 };
	int fd = self->vm->fd;

	EXPECT_EQ(0, do_ioctl(fd, VMM_IRQFD, &irqfd));
	irqfd.gsi = self->vm->info.nr_gsis;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IRQFD, &irqfd));
	irqfd.gsi = 5;
	irqfd.resample_fd = irqfd.fd;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IRQFD, &irqfd));
	irqfd.resample_fd = 0;
	irqfd.fd = -1;
	EXPECT_EQ(-EBADF, do_ioctl(fd, VMM_IRQFD, &irqfd));
	/* A file, but none of eventfd's */
	irqfd.fd = fd;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IRQFD, &irqfd));

	io.address = 0x10000000;
	EXPECT_EQ(0, do_ioctl(fd, VMM_IOEVENTFD, &io));
	io.length = 3;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IOEVENTFD, &io));
	io.length = 16;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IOEVENTFD, &io));
	io.length = 8;
	io.flags = VMM_IOEVENTFD_IO;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IOEVENTFD, &io));
	io.length = 4;
	io.address = 0xfffe;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IOEVENTFD, &io));
	io.address = 0x10000;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IOEVENTFD, &io));
	io.address = 0x500;
	io.match = 5;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IOEVENTFD, &io));
	io.flags |= VMM_IOEVENTFD_MATCH;
	io.length = 0;
	EXPECT_EQ(-EINVAL, do_ioctl(fd, VMM_IOEVENTFD, &io));
	io.length = 4;
	io.fd = -1;
	EXPECT_EQ(-EBADF, do_ioctl(fd, VMM_IOEVENTFD, &io));
}

/* ---- a 32-bit caller ---- */

/* The system call gate of 32-bit programs; pointers must be below 4 GiB. */
static int ioctl32(int fd, unsigned int request, void *arg)
{
	int ret;

	if ((uintptr_t)arg >> 32)
		fail("no 32-bit pointer");
	asm volatile("int $0x80" : "=a" (ret)
		     : "a" (54), "b" (fd), "c" (request), "d" ((u32)(uintptr_t)arg)
		     : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

GUEST_CODE(answer32, 32, "in $PORT_VALUE, %eax; inc %eax; out %eax, $PORT_VALUE\n");

TEST_F(api, caller_of_32_bits)
{
	u8 *low = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct vcpu *vcpu = self->vcpu;
	const struct use *use, *end = find_uses();
	const struct call *call;
	union any *arg = (void *)low;
	struct vmm_cpuid_entry *entries;
	u32 count;

	ASSERT_NE(MAP_FAILED, low);
	for (use = uses; use < end; use++) {
		call = use->call;
		memcpy(low, make(call), sizeof(*arg));
		EXPECT_LE(0, ioctl32(fd_of(self->vcpu, use->file), call->request, low))
			TH_LOG("%s", call->name);
	}

	/* The same state by both gates, and a guest that runs */
	entries = get_supported_cpuid(self->vm->dev, &count);
	ASSERT_EQ(0, vcpu_set_cpuid(vcpu, entries, count));
	vcpu_load(vcpu, MODE_PROTECTED, answer32);
	memset(&vcpu->state.events, 0, sizeof(vcpu->state.events));
	vcpu_set(vcpu, VMM_STATE_EVENTS);
	memset(low, 0, 64 * KIB);
	arg->state.size = sizeof(arg->state);
	arg->state.groups = VMM_STATE_SYNC;
	ASSERT_EQ(0, ioctl32(vcpu->fd, VMM_GET_STATE, low));
	vcpu_get(vcpu, VMM_STATE_SYNC);
	EXPECT_EQ(0, memcmp(&arg->state.regs, &vcpu->state.regs, sizeof(vcpu->state.regs)));
	EXPECT_EQ(0, memcmp(&arg->state.events, &vcpu->state.events,
			    sizeof(vcpu->state.events)));
	ASSERT_EQ(0, ioctl32(vcpu->fd, VMM_RUN, NULL));
	EXPECT_EQ(VMM_EXIT_IO, vcpu->run->exit.reason);
	vcpu->run->exit.io.data = 41;
	ASSERT_EQ(0, ioctl32(vcpu->fd, VMM_RUN, NULL));
	EXPECT_EQ(42, vcpu->run->exit.io.data);
}

TEST_HARNESS_MAIN
