// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory objects of libvmm: of every kind, in several guests, at several addresses, and in
 * several processes.
 */
/* also: amd-sanitized */
/* hosts: smp 6.12 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <vmm/vmm.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define HUGE	(2 * MIB)

FIXTURE(libmemory) {
	struct vmm *vmm;
	struct vmm_vm *machine;
	struct vmm_memory_object *object;
};

FIXTURE_VARIANT(libmemory) {
	u32 flags;
};

FIXTURE_VARIANT_ADD(libmemory, anonymous) { 0 };
FIXTURE_VARIANT_ADD(libmemory, anonymous_full) { VMM_MEMORY_POPULATE };
FIXTURE_VARIANT_ADD(libmemory, thp) { VMM_MEMORY_THP | VMM_MEMORY_POPULATE };
FIXTURE_VARIANT_ADD(libmemory, memfd) { VMM_MEMORY_SHARED };
FIXTURE_VARIANT_ADD(libmemory, memfd_full) { VMM_MEMORY_SHARED | VMM_MEMORY_POPULATE };
FIXTURE_VARIANT_ADD(libmemory, hugetlb) { VMM_MEMORY_HUGE };
FIXTURE_VARIANT_ADD(libmemory, hugetlb_memfd) {
	VMM_MEMORY_HUGE | VMM_MEMORY_SHARED | VMM_MEMORY_POPULATE
};

static const char pool[] = "/proc/sys/vm/nr_hugepages";

FIXTURE_SETUP(libmemory)
{
	int err;

	if (variant->flags & VMM_MEMORY_HUGE) {
		write_file(pool, "2");
		if (read_number(pool) < 2)
			SKIP(return, "this host has no huge pages free");
	}
	ASSERT_EQ(0, vmm_open(NULL, &self->vmm));
	ASSERT_EQ(0, vmm_vm_create(self->vmm, 0, &self->machine));
	err = vmm_memory_create(self->vmm, 2 * HUGE, variant->flags, &self->object);
	ASSERT_EQ(0, err) TH_LOG("%s", vmm_error(self->vmm));
}

FIXTURE_TEARDOWN(libmemory)
{
	vmm_vm_free(self->machine);
	vmm_memory_free(self->object);
	vmm_close(self->vmm);
	write_file(pool, "0");
}

/* Adds one to the doublewords at 0x4000, 0x8000 and 0xc000, where it can. */
static const u8 increments[] = {
	0x66, 0xff, 0x06, 0x00, 0x40,		/* incl 0x4000 */
	0x66, 0xff, 0x06, 0x00, 0x80,		/* incl 0x8000 */
	0xf4,
};

static void run_once(struct __test_metadata *_metadata, struct vmm_vm *machine)
{
	struct vmm_vcpu *vcpu;

	ASSERT_EQ(0, vmm_memory_write(machine, 0x1000, increments, sizeof(increments)));
	ASSERT_EQ(0, vmm_vcpu_create(machine, 0, &vcpu));
	ASSERT_EQ(0, vmm_vcpu_real_mode(vcpu, 0, 0x1000));
	ASSERT_EQ(0, vmm_vcpu_run(vcpu, NULL, NULL)) TH_LOG("%s", vmm_vcpu_error(vcpu));
	EXPECT_EQ(VMM_EXIT_HLT, vmm_vcpu_exit(vcpu)->reason);
	vmm_vcpu_free(vcpu);
}

TEST_F(libmemory, at_two_addresses)
{
	u8 *host = vmm_memory_host(self->object);
	struct vmm_region region;

	EXPECT_EQ(2 * HUGE, vmm_memory_bytes(self->object));
	ASSERT_EQ(0, vmm_memory_add(self->machine, 0, 0x4000, 0, NULL));
	/* The same page twice, another one as well */
	ASSERT_EQ(0, vmm_memory_attach(self->machine, 0x4000, self->object, 0, 0x1000, 0));
	ASSERT_EQ(0, vmm_memory_attach(self->machine, 0x8000, self->object, 0, 0x1000, 0));
	ASSERT_EQ(0, vmm_memory_attach(self->machine, 4 * HUGE, self->object, HUGE, HUGE, 0));
	run_once(_metadata, self->machine);
	EXPECT_EQ(2, *(u32 *)host);
	EXPECT_EQ(host, vmm_memory_at(self->machine, 0x8000, 0x1000));
	EXPECT_EQ(host + HUGE, vmm_memory_at(self->machine, 4 * HUGE, HUGE));
	ASSERT_TRUE(vmm_memory_region(self->machine, 1, &region));
	EXPECT_EQ(0x4000, region.gpa);
	EXPECT_EQ(variant->flags, region.flags);
	/* The regions keep what its creator gives up. */
	vmm_memory_free(self->object);
	self->object = NULL;
	EXPECT_EQ(0, vmm_memory_remove(self->machine, 0x4000));
	EXPECT_EQ(2, *(u32 *)host);
}

TEST_F(libmemory, readonly)
{
	u32 *host = vmm_memory_host(self->object);
	struct vmm_region region;

	ASSERT_EQ(0, vmm_memory_add(self->machine, 0, 0x4000, 0, NULL));
	ASSERT_EQ(0, vmm_memory_attach(self->machine, 0x4000, self->object, 0, 0x1000,
				       VMM_MEMORY_READONLY));
	ASSERT_EQ(0, vmm_memory_attach(self->machine, 0x8000, self->object, 0x1000, 0x1000, 0));
	ASSERT_TRUE(vmm_memory_region(self->machine, 1, &region));
	EXPECT_TRUE(region.flags & VMM_MEMORY_READONLY);
	host[0] = 41;
	host[1024] = 51;
	run_once(_metadata, self->machine);
	/* A write to it is a device's, here nobody's. */
	EXPECT_EQ(41, host[0]);
	EXPECT_EQ(52, host[1024]);
}

TEST_F(libmemory, all_there)
{
	u8 *host = vmm_memory_host(self->object);
	bool there = variant->flags & VMM_MEMORY_POPULATE;
	u64 at;

	for (at = 0; at < 2 * HUGE; at += 13 * PAGE)
		EXPECT_EQ(there, page_place(host + at) == PAGE_PRESENT);
}

static void send_fd(int socket, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { }, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(socket, &msg, 0) != 1)
		fail("sendmsg: %s", strerror(errno));
}

static int receive_fd(int socket)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		fail("recvmsg: %s", strerror(errno));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/*
 * Another process has its own VM with the same memory. It began before there was any, and so has
 * none of this one's.
 */
static int other_process(struct __test_metadata *_metadata, int socket)
{
	int fd = receive_fd(socket), readonly;
	struct vmm_memory_object *object, *for_reading;
	struct vmm_vm *machine;
	char name[32];
	struct vmm *vmm;
	u32 *host;

	ASSERT_EQ(0, vmm_open(NULL, &vmm));
	ASSERT_EQ(0, vmm_vm_create(vmm, 0, &machine));
	ASSERT_EQ(0, vmm_memory_open(vmm, fd, VMM_MEMORY_POPULATE, &object));
	EXPECT_EQ(2 * HUGE, vmm_memory_bytes(object));
	host = vmm_memory_host(object);
	EXPECT_EQ(100, host[0]);
	ASSERT_EQ(0, vmm_memory_add(machine, 0, 0x4000, 0, NULL));
	ASSERT_EQ(0, vmm_memory_attach(machine, 0x4000, object, 0, 0x1000, 0));

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	readonly = open(name, O_RDONLY | O_CLOEXEC);
	EXPECT_EQ(-EACCES, vmm_memory_open(vmm, readonly, 0, &for_reading));
	EXPECT_EQ(NULL, for_reading);
	ASSERT_EQ(0, vmm_memory_open(vmm, readonly, VMM_MEMORY_READONLY, &for_reading));
	ASSERT_EQ(0, vmm_memory_attach(machine, 0x8000, for_reading, 0, 0x1000, 0));
	/* Each has a descriptor of its own. */
	close(readonly);
	close(fd);

	run_once(_metadata, machine);
	EXPECT_EQ(101, host[0]);
	EXPECT_EQ(101, *(u32 *)vmm_memory_host(for_reading));
	vmm_vm_free(machine);
	vmm_memory_free(object);
	vmm_memory_free(for_reading);
	vmm_close(vmm);
	return _metadata->exit_code;
}

TEST_F(libmemory, shared_with_a_process)
{
	int sockets[2], status, fd = vmm_memory_object_fd(self->object);
	u32 *host = vmm_memory_host(self->object);
	pid_t child;

	if (!(variant->flags & VMM_MEMORY_SHARED)) {
		EXPECT_EQ(-ENOENT, fd);
		return;
	}
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(other_process(_metadata, sockets[1]));
	host[0] = 100;
	send_fd(sockets[0], fd);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(101, host[0]);
	/* Nobody can take away what others have mapped. */
	EXPECT_EQ(-1, ftruncate(fd, HUGE));
	EXPECT_EQ(EPERM, errno);
}

FIXTURE(refused) {
	struct vmm *vmm;
	struct vmm_vm *machine;
};

FIXTURE_SETUP(refused)
{
	ASSERT_EQ(0, vmm_open(NULL, &self->vmm));
	ASSERT_EQ(0, vmm_vm_create(self->vmm, 0, &self->machine));
}

FIXTURE_TEARDOWN(refused)
{
	vmm_vm_free(self->machine);
	vmm_close(self->vmm);
}

TEST_F(refused, objects)
{
	struct vmm_memory_object *object;
	int fd, pipes[2];

	EXPECT_EQ(-EINVAL, vmm_memory_create(self->vmm, 0, 0, &object));
	EXPECT_EQ(NULL, object);
	EXPECT_EQ(-EINVAL, vmm_memory_create(self->vmm, PAGE + 1, 0, &object));
	EXPECT_EQ(-EINVAL, vmm_memory_create(self->vmm, PAGE, 1 << 30, &object));
	EXPECT_EQ(-EINVAL, vmm_memory_create(self->vmm, PAGE, VMM_MEMORY_HUGE, &object));
	EXPECT_EQ(-EINVAL, vmm_memory_create(self->vmm, HUGE, VMM_MEMORY_HUGE_1G, &object));
	write_file(pool, "0");
	EXPECT_EQ(-ENOMEM, vmm_memory_create(self->vmm, HUGE, VMM_MEMORY_HUGE, &object));
	EXPECT_NE(NULL, strstr(vmm_error(self->vmm), "nr_hugepages"));
	EXPECT_EQ(NULL, object);

	EXPECT_EQ(-EBADF, vmm_memory_open(self->vmm, 9999, 0, &object));
	fd = memfd_create("odd", MFD_CLOEXEC);
	EXPECT_EQ(-EINVAL, vmm_memory_open(self->vmm, fd, 0, &object));
	ASSERT_EQ(0, ftruncate(fd, PAGE + 5));
	EXPECT_EQ(-EINVAL, vmm_memory_open(self->vmm, fd, 0, &object));
	EXPECT_EQ(-EINVAL, vmm_memory_open(self->vmm, fd, VMM_MEMORY_HUGE, &object));
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_GT(0, vmm_memory_open(self->vmm, pipes[0], 0, &object));
	vmm_memory_free(NULL);
}

/* What does not fit into 64 bits with what alignment takes */
TEST_F(refused, sizes)
{
	static const u64 sizes[] = { PAGE - GIB, -GIB, -HUGE, -PAGE, 1ULL << 63 };
	struct vmm_memory_object *object;
	unsigned int i;
	void *below;

	/* The next mapping is made below this one. */
	below = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, below);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT_EQ(-ENOMEM, vmm_memory_create(self->vmm, sizes[i], 0, &object));
		EXPECT_EQ(NULL, object);
		EXPECT_GT(0, vmm_memory_create(self->vmm, sizes[i], VMM_MEMORY_SHARED, &object));
		EXPECT_EQ(NULL, object);
	}
	EXPECT_EQ(0, msync(below, PAGE, MS_ASYNC)) TH_LOG("others' memory was unmapped");
}

/* Who may fill a ROM is who has it mapped for writing. */
TEST_F(refused, writes)
{
	struct vmm_memory_object *object, *for_reading;
	u8 bytes[16] = { 1, 2, 3, 4, 5, 6, 7, 8 }, back[16];
	char name[32];
	int fd;

	ASSERT_EQ(0, vmm_memory_create(self->vmm, PAGE, VMM_MEMORY_SHARED, &object));
	snprintf(name, sizeof(name), "/proc/self/fd/%d", vmm_memory_object_fd(object));
	fd = open(name, O_RDONLY | O_CLOEXEC);
	ASSERT_EQ(0, vmm_memory_open(self->vmm, fd, VMM_MEMORY_READONLY, &for_reading));
	close(fd);
	ASSERT_EQ(0, vmm_memory_add(self->machine, 0, PAGE, 0, NULL));
	ASSERT_EQ(0, vmm_memory_attach(self->machine, PAGE, for_reading, 0, PAGE, 0));
	ASSERT_EQ(0, vmm_memory_attach(self->machine, 2 * PAGE, object, 0, PAGE,
				       VMM_MEMORY_READONLY));
	EXPECT_EQ(-EACCES, vmm_memory_write(self->machine, PAGE, bytes, 16));
	EXPECT_EQ(-EACCES, vmm_memory_write(self->machine, PAGE - 8, bytes, 16));
	EXPECT_EQ(0, vmm_memory_read(self->machine, PAGE - 8, back, 16));
	EXPECT_EQ(0, back[0]) TH_LOG("a failed copy has copied nothing");
	EXPECT_EQ(0, vmm_memory_write(self->machine, 2 * PAGE, bytes, 16));
	EXPECT_EQ(0, vmm_memory_read(self->machine, PAGE, back, 16));
	EXPECT_EQ(0, memcmp(bytes, back, 16));
	vmm_memory_free(object);
	vmm_memory_free(for_reading);
}

TEST_F(refused, regions)
{
	struct vmm_memory_object *object;

	ASSERT_EQ(0, vmm_memory_create(self->vmm, 4 * PAGE, 0, &object));
	EXPECT_EQ(-EINVAL, vmm_memory_attach(self->machine, 0, object, 1, PAGE, 0));
	EXPECT_EQ(-EINVAL, vmm_memory_attach(self->machine, 0, object, 0, 5 * PAGE, 0));
	EXPECT_EQ(-EINVAL, vmm_memory_attach(self->machine, 0, object, 4 * PAGE, PAGE, 0));
	EXPECT_EQ(-EINVAL, vmm_memory_attach(self->machine, 0, object, PAGE, -PAGE, 0));
	EXPECT_EQ(-EINVAL, vmm_memory_attach(self->machine, 0, object, -PAGE, 2 * PAGE, 0));
	EXPECT_EQ(-EINVAL, vmm_memory_attach(self->machine, 0, object, 0, 0, 0));
	EXPECT_EQ(-EINVAL, vmm_memory_attach(self->machine, 5, object, 0, PAGE, 0));
	EXPECT_EQ(-EINVAL, vmm_memory_attach(self->machine, 0, object, 0, PAGE,
					     VMM_MEMORY_SHARED));
	EXPECT_EQ(0, vmm_memory_attach(self->machine, 0, object, PAGE, 3 * PAGE, 0));
	EXPECT_EQ(-EEXIST, vmm_memory_attach(self->machine, PAGE, object, 0, PAGE, 0));
	vmm_memory_free(object);
}

TEST_HARNESS_MAIN
