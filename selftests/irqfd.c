// SPDX-License-Identifier: GPL-2.0-only
/*
 * Eventfds that raise interrupts, and eventfds that a guest's writes signal.
 */
/* also: intel-plain */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "kselftest_harness.h"
#include "remote.h"

#define MS	1000000ULL

static int irqfd(struct vm *vm, u32 flags, int fd, u32 gsi, int resample)
{
	struct vmm_irqfd arg = {
		.size = sizeof(arg), .flags = flags, .fd = fd, .gsi = gsi, .resample_fd = resample,
	};

	return do_ioctl(vm->fd, VMM_IRQFD, &arg);
}

static int ioeventfd(struct vm *vm, u32 flags, u64 address, u32 length, int fd, u64 match)
{
	struct vmm_ioeventfd arg = {
		.size = sizeof(arg), .flags = flags, .address = address, .length = length,
		.fd = fd, .match = match,
	};

	return do_ioctl(vm->fd, VMM_IOEVENTFD, &arg);
}

static void signal_fd(int fd)
{
	u64 one = 1;

	if (write(fd, &one, 8) != 8)
		fail("write to an eventfd");
}

/* How often it was signalled since the last time */
static u64 count(int fd)
{
	u64 value;

	return read(fd, &value, 8) == 8 ? value : 0;
}

/* Once it is */
static u64 count_soon(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 10000) == 1 ? count(fd) : 0;
}

static int new_fd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		fail("eventfd");
	return fd;
}

static void eoi(struct vcpu *vcpu)
{
	remote_write32(vcpu, 0xfee000b0, 0);
}

static void wr_entry(struct vcpu *vcpu, int pin, u32 low)
{
	remote_write32(vcpu, 0xfec00000, 0x10 + 2 * pin);
	remote_write32(vcpu, 0xfec00010, low);
}

FIXTURE(eventfd) {
	struct vm *vm;
	struct vcpu *v;
	int fd;
	int other;
};

FIXTURE_SETUP(eventfd)
{
	self->vm = vm_create(16 * MIB, VMM_VM_PIC | VMM_VM_IOAPIC | VMM_VM_LAPIC);
	self->v = vcpu_create(self->vm, 0);
	remote_start(self->v);
	remote_write32(self->v, 0xfee000f0, 0x1ff);
	self->fd = new_fd();
	self->other = new_fd();
	wr_entry(self->v, 10, 0x51);
	wr_entry(self->v, 11, 0x8052);
}

FIXTURE_TEARDOWN(eventfd)
{
	close(self->fd);
	close(self->other);
	vm_destroy(self->vm);
}

/* ---- irqfd --------------------------------------------------------------------- */

TEST_F(eventfd, edge)
{
	struct vcpu *v = self->v;

	ASSERT_EQ(0, irqfd(self->vm, 0, self->fd, 10, 0));
	signal_fd(self->fd);
	EXPECT_STREQ("51", remote_take(v));
	eoi(v);
	EXPECT_STREQ("", remote_take(v));
	/* The module has read it. */
	EXPECT_EQ(0, count(self->fd));
	signal_fd(self->fd);
	EXPECT_STREQ("51", remote_take(v));
	eoi(v);
	/* No more after deassign, when it returns; then the signal is there to read. */
	EXPECT_EQ(0, irqfd(self->vm, VMM_IRQFD_DEASSIGN, self->fd, 10, 0));
	signal_fd(self->fd);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_EQ(1, count(self->fd));
	EXPECT_EQ(-ENOENT, irqfd(self->vm, VMM_IRQFD_DEASSIGN, self->fd, 10, 0));
}

TEST_F(eventfd, signalled_before)
{
	signal_fd(self->fd);
	ASSERT_EQ(0, irqfd(self->vm, 0, self->fd, 10, 0));
	EXPECT_STREQ("51", remote_take(self->v));
}

TEST_F(eventfd, several)
{
	struct vcpu *v = self->v;

	wr_entry(v, 12, 0x63);
	/* One to two GSIs, two to one */
	ASSERT_EQ(0, irqfd(self->vm, 0, self->fd, 10, 0));
	ASSERT_EQ(-EEXIST, irqfd(self->vm, 0, self->fd, 10, 0));
	ASSERT_EQ(0, irqfd(self->vm, 0, self->other, 12, 0));
	ASSERT_EQ(0, irqfd(self->vm, 0, self->other, 10, 0));
	signal_fd(self->fd);
	EXPECT_STREQ("51", remote_take(v));
	eoi(v);
	EXPECT_EQ(0, irqfd(self->vm, VMM_IRQFD_DEASSIGN, self->other, 12, 0));
	signal_fd(self->other);
	EXPECT_STREQ("51", remote_take(v));
	eoi(v);
	EXPECT_EQ(-ENOENT, irqfd(self->vm, VMM_IRQFD_DEASSIGN, self->other, 12, 0));
	EXPECT_EQ(0, irqfd(self->vm, VMM_IRQFD_DEASSIGN, self->other, 10, 0));
	EXPECT_EQ(0, irqfd(self->vm, VMM_IRQFD_DEASSIGN, self->fd, 10, 0));
}

/* One signal may not raise any number of them. */
TEST_F(eventfd, most_of_one)
{
	u32 gsi;

	for (gsi = 10; gsi < 18; gsi++)
		ASSERT_EQ(0, irqfd(self->vm, 0, self->fd, gsi, 0));
	EXPECT_EQ(-ENOSPC, irqfd(self->vm, 0, self->fd, gsi, 0));
	EXPECT_EQ(0, irqfd(self->vm, VMM_IRQFD_DEASSIGN, self->fd, 10, 0));
	EXPECT_EQ(0, irqfd(self->vm, 0, self->fd, gsi, 0));
}

/* ... in all VMs together: they are raised by the same signal. */
TEST_F(eventfd, most_of_one_in_two_vms)
{
	struct vm *other = vm_create(0, VMM_VM_PIC);
	u32 gsi;

	for (gsi = 0; gsi < 5; gsi++)
		ASSERT_EQ(0, irqfd(self->vm, 0, self->fd, gsi, 0));
	for (gsi = 0; gsi < 3; gsi++)
		ASSERT_EQ(0, irqfd(other, 0, self->fd, gsi, 0));
	EXPECT_EQ(-ENOSPC, irqfd(other, 0, self->fd, 3, 0));
	EXPECT_EQ(-ENOSPC, irqfd(self->vm, 0, self->fd, 5, 0));
	/* What is not its own does not count, nor what could not be had. */
	EXPECT_EQ(0, irqfd(other, 0, self->other, 3, 0));
	EXPECT_EQ(-EEXIST, irqfd(other, 0, self->fd, 0, 0));
	EXPECT_EQ(0, irqfd(self->vm, VMM_IRQFD_DEASSIGN, self->fd, 0, 0));
	EXPECT_EQ(0, irqfd(other, 0, self->fd, 3, 0));
	EXPECT_EQ(-ENOSPC, irqfd(self->vm, 0, self->fd, 0, 0));
	/* A VM that is gone leaves its share to the others. */
	vm_destroy(other);
	for (gsi = 5; gsi < 9; gsi++)
		EXPECT_EQ(0, irqfd(self->vm, 0, self->fd, gsi, 0));
	EXPECT_EQ(-ENOSPC, irqfd(self->vm, 0, self->fd, gsi, 0));
}

/* A message, and a vCPU that sleeps until it comes */
static void *signal_later(void *arg)
{
	usleep(20000);
	signal_fd(*(int *)arg);
	return NULL;
}

TEST_F(eventfd, wakes)
{
	struct vmm_route route = {
		.gsi = 100, .type = VMM_ROUTE_MSI, .address = 0xfee00000, .data = 0x71,
	};
	struct vmm_routes routes = {
		.size = sizeof(routes), .count = 1, .routes = (uintptr_t)&route,
	};
	pthread_t thread;

	ASSERT_EQ(0, irqfd(self->vm, 0, self->fd, 100, 0));
	/* A route that comes later */
	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_SET_ROUTES, &routes));
	ASSERT_EQ(0, pthread_create(&thread, NULL, signal_later, &self->fd));
	EXPECT_STREQ("71", remote_wait(self->v));
	pthread_join(thread, NULL);
}

TEST_F(eventfd, resample)
{
	struct vcpu *v = self->v;
	int fd2 = new_fd(), resample2 = new_fd();

	ASSERT_EQ(0, irqfd(self->vm, VMM_IRQFD_RESAMPLE, self->fd, 11, self->other));
	signal_fd(self->fd);
	EXPECT_STREQ("52", remote_take(v));
	EXPECT_EQ(0, count(self->other));
	/* The EOI lowers the line and tells who raised it. */
	eoi(v);
	EXPECT_EQ(1, count(self->other));
	EXPECT_STREQ("", remote_take(v));
	signal_fd(self->fd);
	EXPECT_STREQ("52", remote_take(v));
	/* Raised again before the EOI: that one is for both. */
	signal_fd(self->fd);
	eoi(v);
	EXPECT_EQ(1, count(self->other));
	EXPECT_STREQ("", remote_take(v));
	/* A line that a second one shares: both are told, soon. */
	ASSERT_EQ(0, irqfd(self->vm, VMM_IRQFD_RESAMPLE, fd2, 11, resample2));
	signal_fd(fd2);
	EXPECT_STREQ("52", remote_take(v));
	eoi(v);
	EXPECT_EQ(1, count_soon(self->other));
	EXPECT_EQ(1, count_soon(resample2));
	/* With one of them gone while the line is high the other goes on. */
	signal_fd(self->fd);
	EXPECT_EQ(0, irqfd(self->vm, VMM_IRQFD_DEASSIGN, fd2, 11, 0));
	EXPECT_STREQ("52", remote_take(v));
	eoi(v);
	EXPECT_EQ(1, count(self->other));
	EXPECT_EQ(0, count(resample2));
	/* With the last one gone nobody holds it up. */
	signal_fd(self->fd);
	EXPECT_EQ(0, irqfd(self->vm, VMM_IRQFD_DEASSIGN, self->fd, 11, 0));
	EXPECT_STREQ("52", remote_take(v));
	eoi(v);
	EXPECT_STREQ("", remote_take(v));
	EXPECT_EQ(0, count(self->other));
	close(fd2);
	close(resample2);
}

/* The VMM's own line and an irqfd on one pin: wired or */
TEST_F(eventfd, shared_with_line)
{
	struct vmm_irq_line line = { .size = sizeof(line), .gsi = 11, .level = 1 };
	struct vcpu *v = self->v;

	ASSERT_EQ(0, irqfd(self->vm, VMM_IRQFD_RESAMPLE, self->fd, 11, self->other));
	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_IRQ_LINE, &line));
	signal_fd(self->fd);
	EXPECT_STREQ("52", remote_take(v));
	eoi(v);
	EXPECT_EQ(1, count(self->other));
	EXPECT_STREQ("52", remote_take(v));
	line.level = 0;
	signal_fd(self->fd);
	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_IRQ_LINE, &line));
	eoi(v);
	EXPECT_EQ(1, count(self->other));
	EXPECT_STREQ("", remote_take(v));
}

/* The PIC's way of ending it */
TEST_F(eventfd, resample_by_pic)
{
	static const u8 words[] = { 0x11, 0x38, 0x02, 0x01 };
	struct vcpu *v = self->v;
	int i;

	wr_entry(v, 11, 0x18052);
	for (i = 0; i < 4; i++) {
		remote_out8(v, i ? 0x21 : 0x20, i == 1 ? 0x30 : i == 2 ? 0x04 : words[i]);
		remote_out8(v, i ? 0xa1 : 0xa0, words[i]);
	}
	remote_out8(v, 0x4d1, 0x08);
	ASSERT_EQ(0, irqfd(self->vm, VMM_IRQFD_RESAMPLE, self->fd, 11, self->other));
	signal_fd(self->fd);
	EXPECT_STREQ("3b", remote_take(v));
	EXPECT_EQ(0, count(self->other));
	remote_out8(v, 0xa0, 0x20);
	EXPECT_EQ(1, count(self->other));
	remote_out8(v, 0x20, 0x20);
	EXPECT_STREQ("", remote_take(v));
}

/* The level of an I/O APIC's pin */
static bool line_is_high(struct vm *vm, int pin)
{
	struct vmm_vm_state state = { .size = sizeof(state), .groups = VMM_VM_STATE_IOAPIC };

	if (do_ioctl(vm->fd, VMM_GET_VM_STATE, &state))
		fail("VMM_GET_VM_STATE");
	return state.ioapic.lines >> pin & 1;
}

/* Closing an eventfd takes its interrupt away; soon, not at once. */
TEST_F(eventfd, closed)
{
	int i, fd;

	for (i = 0; i < 100; i++) {
		fd = new_fd();
		ASSERT_EQ(0, irqfd(self->vm, 0, fd, 10, 0));
		signal_fd(fd);
		close(fd);
	}
	/* ... with its resample line still high */
	fd = new_fd();
	ASSERT_EQ(0, irqfd(self->vm, VMM_IRQFD_RESAMPLE, fd, 11, self->other));
	signal_fd(fd);
	close(fd);
	for (i = 0; i < 10000 && line_is_high(self->vm, 11); i++)
		usleep(1000);
	EXPECT_FALSE(line_is_high(self->vm, 11));
	EXPECT_STREQ("52", remote_take(self->v));
	eoi(self->v);
	EXPECT_STREQ("51", remote_take(self->v));
	eoi(self->v);
	EXPECT_STREQ("", remote_take(self->v));
	EXPECT_EQ(0, count(self->other));
}

TEST_F(eventfd, bad_irqfd)
{
	int null = open("/dev/null", O_RDWR), fds[33], i;

	EXPECT_EQ(-EBADF, irqfd(self->vm, 0, -1, 10, 0));
	EXPECT_EQ(-EBADF, irqfd(self->vm, 0, 9999, 10, 0));
	EXPECT_EQ(-EINVAL, irqfd(self->vm, 0, null, 10, 0));
	EXPECT_EQ(-EINVAL, irqfd(self->vm, 0, self->fd, 1024, 0));
	EXPECT_EQ(-EINVAL, irqfd(self->vm, 0, self->fd, 10, self->other));
	EXPECT_EQ(-EBADF, irqfd(self->vm, VMM_IRQFD_RESAMPLE, self->fd, 11, -1));
	EXPECT_EQ(-EINVAL, irqfd(self->vm, VMM_IRQFD_RESAMPLE, self->fd, 11, null));
	EXPECT_EQ(-EBADF, irqfd(self->vm, VMM_IRQFD_DEASSIGN, -1, 10, 0));
	EXPECT_EQ(-EINVAL, irqfd(self->vm, VMM_IRQFD_DEASSIGN, null, 10, 0));
	EXPECT_EQ(-EINVAL, irqfd(self->vm, VMM_IRQFD_DEASSIGN, self->fd, 1024, 0));
	EXPECT_EQ(-EINVAL, irqfd(self->vm, 1 << 5, self->fd, 10, 0));
	/* What shares a GSI has an end. */
	for (i = 0; i < 33; i++)
		fds[i] = new_fd();
	for (i = 0; i < 32; i++)
		EXPECT_EQ(0, irqfd(self->vm, VMM_IRQFD_RESAMPLE, fds[i], 11, self->other));
	EXPECT_EQ(-ENOSPC, irqfd(self->vm, VMM_IRQFD_RESAMPLE, fds[32], 11, self->other));
	EXPECT_EQ(0, irqfd(self->vm, VMM_IRQFD_DEASSIGN, fds[0], 11, 0));
	EXPECT_EQ(0, irqfd(self->vm, VMM_IRQFD_RESAMPLE, fds[32], 11, self->other));
	for (i = 0; i < 33; i++)
		close(fds[i]);
	/* None of that has left anything behind. */
	signal_fd(self->fd);
	EXPECT_EQ(1, count(self->fd));
	close(null);
}

/* ---- ioeventfd ------------------------------------------------------------------- */

#define PORT	VMM_IOEVENTFD_IO
#define MATCH	VMM_IOEVENTFD_MATCH
#define REMOVE	VMM_IOEVENTFD_DEASSIGN

TEST_F(eventfd, ports)
{
	struct vcpu *v = self->v;

	ASSERT_EQ(0, ioeventfd(self->vm, PORT, 0x500, 2, self->fd, 0));
	remote_out16(v, 0x500, 0x1234);
	EXPECT_EQ(1, count(self->fd));
	EXPECT_EQ(0, remote_exits);
	/* Another width, another port, a read */
	remote_out8(v, 0x500, 1);
	remote_out32(v, 0x500, 1);
	remote_out16(v, 0x501, 1);
	remote_in16(v, 0x500);
	EXPECT_EQ(4, remote_exits);
	EXPECT_EQ(0, count(self->fd));
	remote_out16(v, 0x500, 1);
	remote_out16(v, 0x500, 2);
	EXPECT_EQ(2, count(self->fd));
	EXPECT_EQ(0, ioeventfd(self->vm, PORT | REMOVE, 0x500, 2, self->fd, 0));
	remote_out16(v, 0x500, 1);
	EXPECT_EQ(5, remote_exits);
	/* Any width */
	ASSERT_EQ(0, ioeventfd(self->vm, PORT, 0x500, 0, self->fd, 0));
	remote_out8(v, 0x500, 1);
	remote_out16(v, 0x500, 1);
	remote_out32(v, 0x500, 1);
	EXPECT_EQ(3, count(self->fd));
	EXPECT_EQ(5, remote_exits);
	/* Before the module's own devices */
	ASSERT_EQ(0, ioeventfd(self->vm, PORT | MATCH, 0x21, 1, self->other, 0x5a));
	remote_out8(v, 0x21, 0x5a);
	EXPECT_EQ(1, count(self->other));
	EXPECT_NE(0x5a, remote_in8(v, 0x21));
	remote_out8(v, 0x21, 0x5b);
	EXPECT_EQ(0x5b, remote_in8(v, 0x21));
	EXPECT_EQ(0, count(self->other));
}

TEST_F(eventfd, memory)
{
	struct vcpu *v = self->v;

	ASSERT_EQ(0, ioeventfd(self->vm, 0, MMIO_GPA, 4, self->fd, 0));
	ASSERT_EQ(0, ioeventfd(self->vm, 0, MMIO_GPA + 8, 8, self->fd, 0));
	remote_write32(v, MMIO_GPA, 1);
	remote_write64(v, MMIO_GPA + 8, 1);
	EXPECT_EQ(2, count(self->fd));
	EXPECT_EQ(0, remote_exits);
	remote_write32(v, MMIO_GPA + 4, 1);
	remote_write64(v, MMIO_GPA, 1);
	remote_read32(v, MMIO_GPA);
	EXPECT_EQ(3, remote_exits);
	EXPECT_EQ(0, count(self->fd));
	/* A port of the same number is another thing. */
	ASSERT_EQ(0, ioeventfd(self->vm, 0, 0x20000000, 1, self->fd, 0));
	ASSERT_EQ(0, ioeventfd(self->vm, PORT, 0x600, 1, self->other, 0));
	ASSERT_EQ(0, ioeventfd(self->vm, 0, 0x600, 1, self->fd, 0));
	remote_out8(v, 0x600, 1);
	EXPECT_EQ(1, count(self->other));
	EXPECT_EQ(0, count(self->fd));
}

TEST_F(eventfd, match)
{
	struct vcpu *v = self->v;

	ASSERT_EQ(0, ioeventfd(self->vm, MATCH, MMIO_GPA, 4, self->fd, 1));
	ASSERT_EQ(0, ioeventfd(self->vm, MATCH, MMIO_GPA, 4, self->other, 0xffffffff));
	remote_write32(v, MMIO_GPA, 1);
	EXPECT_EQ(1, count(self->fd));
	EXPECT_EQ(0, count(self->other));
	remote_write32(v, MMIO_GPA, ~0U);
	EXPECT_EQ(1, count(self->other));
	EXPECT_EQ(0, remote_exits);
	remote_write32(v, MMIO_GPA, 2);
	EXPECT_EQ(1, remote_exits);
	EXPECT_EQ(2, remote_exit.mmio.data);
	/* Some write would be taken by two */
	EXPECT_EQ(-EEXIST, ioeventfd(self->vm, MATCH, MMIO_GPA, 4, self->other, 1));
	EXPECT_EQ(-EEXIST, ioeventfd(self->vm, 0, MMIO_GPA, 4, self->other, 0));
	EXPECT_EQ(-EEXIST, ioeventfd(self->vm, 0, MMIO_GPA, 0, self->other, 0));
	EXPECT_EQ(0, ioeventfd(self->vm, MATCH, MMIO_GPA, 2, self->other, 1));
	/* All must be as it was given. */
	EXPECT_EQ(-ENOENT, ioeventfd(self->vm, REMOVE | MATCH, MMIO_GPA, 4, self->fd, 2));
	EXPECT_EQ(-ENOENT, ioeventfd(self->vm, REMOVE | MATCH, MMIO_GPA, 4, self->other, 1));
	EXPECT_EQ(-ENOENT, ioeventfd(self->vm, REMOVE | MATCH, MMIO_GPA, 1, self->fd, 1));
	EXPECT_EQ(-ENOENT, ioeventfd(self->vm, REMOVE, MMIO_GPA, 4, self->fd, 0));
	EXPECT_EQ(-ENOENT, ioeventfd(self->vm, REMOVE | PORT | MATCH, 0x100, 4, self->fd, 1));
	EXPECT_EQ(0, ioeventfd(self->vm, REMOVE | MATCH, MMIO_GPA, 4, self->fd, 1));
	remote_write32(v, MMIO_GPA, 1);
	EXPECT_EQ(2, remote_exits);
}

TEST_F(eventfd, bad_ioeventfd)
{
	int null = open("/dev/null", O_RDWR), i;

	EXPECT_EQ(-EBADF, ioeventfd(self->vm, 0, MMIO_GPA, 4, -1, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(self->vm, 0, MMIO_GPA, 4, null, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(self->vm, 0, MMIO_GPA, 3, self->fd, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(self->vm, 0, MMIO_GPA, 16, self->fd, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(self->vm, 0, ~0ULL - 2, 4, self->fd, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(self->vm, MATCH, MMIO_GPA, 0, self->fd, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(self->vm, MATCH, MMIO_GPA, 1, self->fd, 0x100));
	EXPECT_EQ(-EINVAL, ioeventfd(self->vm, 0, MMIO_GPA, 4, self->fd, 5));
	EXPECT_EQ(-EINVAL, ioeventfd(self->vm, PORT, 0x10000, 0, self->fd, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(self->vm, PORT, 0xffff, 2, self->fd, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(self->vm, PORT, 0x100, 8, self->fd, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(self->vm, 1 << 3, MMIO_GPA, 4, self->fd, 0));
	EXPECT_EQ(-EBADF, ioeventfd(self->vm, REMOVE, MMIO_GPA, 4, -1, 0));
	/* There is an end to them. */
	for (i = 0; i < 1024; i++)
		ASSERT_EQ(0, ioeventfd(self->vm, MATCH, MMIO_GPA, 4, self->fd, i));
	EXPECT_EQ(-ENOSPC, ioeventfd(self->vm, MATCH, MMIO_GPA, 4, self->fd, i));
	remote_write32(self->v, MMIO_GPA, 1023);
	EXPECT_EQ(1, count(self->fd));
	close(null);
}

/* A guest's write that comes back as an interrupt, all in the kernel */
TEST_F(eventfd, round_trip)
{
	ASSERT_EQ(0, irqfd(self->vm, 0, self->fd, 10, 0));
	ASSERT_EQ(0, ioeventfd(self->vm, PORT, 0x500, 1, self->fd, 0));
	remote_out8(self->v, 0x500, 1);
	EXPECT_STREQ("51", remote_take(self->v));
	/* Its own echo: the end of the interrupt raises it again, and it still ends. */
	ASSERT_EQ(0, irqfd(self->vm, VMM_IRQFD_RESAMPLE, self->other, 11, self->other));
	eoi(self->v);
	signal_fd(self->other);
	EXPECT_STREQ("52", remote_take(self->v));
	eoi(self->v);
	EXPECT_STREQ("52", remote_take(self->v));
}

/* ---- many of them ------------------------------------------------------------------ */

#define MANY	200

/* Function calls that one CPU has made on another since boot */
static u64 calls_of_cpus(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	char line[4096], *at, *end;
	u64 sum = 0, n;

	if (!f)
		fail("/proc/interrupts");
	while (fgets(line, sizeof(line), f)) {
		at = strstr(line, "CAL:");
		if (!at)
			continue;
		for (at += 4; n = strtoull(at, &end, 10), end != at; at = end)
			sum += n;
	}
	fclose(f);
	return sum;
}

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
}

static void *stay_busy(void *arg)
{
	stay_on(1);
	while (!__atomic_load_n((bool *)arg, __ATOMIC_RELAXED))
		;
	return NULL;
}

/*
 * Level-triggered ones that go with their VM wait together until nobody tells them anything. Each
 * such wait interrupts the CPUs that are busy.
 */
TEST(destroyed_together)
{
	int fds[MANY], resample = new_fd(), i;
	struct vm *vm = vm_create(0, VMM_VM_PIC);
	bool done = false;
	pthread_t thread;
	u64 calls;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "one CPU");
	for (i = 0; i < MANY; i++) {
		fds[i] = new_fd();
		ASSERT_EQ(0, irqfd(vm, VMM_IRQFD_RESAMPLE, fds[i], i, resample));
	}
	stay_on(0);
	ASSERT_EQ(0, pthread_create(&thread, NULL, stay_busy, &done));
	usleep(10000);
	calls = calls_of_cpus();
	vm_destroy(vm);
	EXPECT_GT(MANY / 2, calls_of_cpus() - calls);
	__atomic_store_n(&done, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	for (i = 0; i < MANY; i++)
		close(fds[i]);
	close(resample);
}

/* ---- threads ---------------------------------------------------------------------- */

static bool stop;

static void *keep_signalling(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		signal_fd(*(int *)arg);
	return NULL;
}

/* VMs come and go while their eventfds fire. */
TEST(destroyed_under_fire)
{
	int fd = new_fd(), resample = new_fd(), i;
	pthread_t thread;

	stop = false;
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_signalling, &fd));
	for (i = 0; i < 50; i++) {
		struct vm *vm = vm_create(0, VMM_VM_IRQCHIPS);
		struct vcpu *v = vcpu_create(vm, 0);

		ASSERT_EQ(0, irqfd(vm, 0, fd, 10, 0));
		ASSERT_EQ(0, irqfd(vm, VMM_IRQFD_RESAMPLE, fd, 11, resample));
		ASSERT_EQ(0, ioeventfd(vm, PORT, 0x500, 0, fd, 0));
		if (i & 1)
			ASSERT_EQ(0, irqfd(vm, VMM_IRQFD_DEASSIGN, fd, 10, 0));
		(void)v;
		vm_destroy(vm);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	close(fd);
	close(resample);
}

static void *assign_and_deassign(void *arg)
{
	struct vm *vm = arg;
	int fd = new_fd(), null = -1;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		irqfd(vm, VMM_IRQFD_RESAMPLE, fd, 11, fd);
		signal_fd(fd);
		irqfd(vm, VMM_IRQFD_DEASSIGN, fd, 11, 0);
		irqfd(vm, 0, null, 10, 0);
		ioeventfd(vm, PORT, 0x500, 1, fd, 0);
		ioeventfd(vm, PORT | REMOVE, 0x500, 1, fd, 0);
	}
	close(fd);
	return NULL;
}

/* Assigned and taken away while the guest ends interrupts and writes */
TEST_F(eventfd, under_load)
{
	u64 end = now_ns() + 500 * MS;
	pthread_t threads[2];
	int i;

	stop = false;
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, assign_and_deassign, self->vm));
	while (now_ns() < end) {
		remote_out8(self->v, 0x500, 1);
		if (strcmp(remote_take(self->v), ""))
			eoi(self->v);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

static void *come_and_go(void *arg)
{
	int fd = new_fd(), resample = new_fd();
	struct vm *vm = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		irqfd(vm, VMM_IRQFD_RESAMPLE, fd, 100, resample);
		irqfd(vm, VMM_IRQFD_DEASSIGN, fd, 100, 0);
	}
	close(fd);
	close(resample);
	return NULL;
}

/* Who stays is told of each end, whoever shares the pin by another GSI and goes meanwhile. */
TEST_F(eventfd, told_while_others_go)
{
	struct vmm_route route[] = {
		{ .gsi = 11, .type = VMM_ROUTE_IOAPIC, .pin = 11 },
		{ .gsi = 100, .type = VMM_ROUTE_IOAPIC, .pin = 11 },
	};
	struct vmm_routes routes = {
		.size = sizeof(routes), .count = 2, .routes = (uintptr_t)route,
	};
	u64 end = now_ns() + 2000 * MS;
	unsigned int told = 0, ends = 0;
	struct vcpu *v = self->v;
	pthread_t thread;

	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_SET_ROUTES, &routes));
	ASSERT_EQ(0, irqfd(self->vm, VMM_IRQFD_RESAMPLE, self->fd, 11, self->other));
	stop = false;
	ASSERT_EQ(0, pthread_create(&thread, NULL, come_and_go, self->vm));
	while (now_ns() < end && told == ends) {
		signal_fd(self->fd);
		ASSERT_STREQ("52", remote_take(v));
		eoi(v);
		ends++;
		told += count_soon(self->other);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(ends, told);
}

TEST_HARNESS_MAIN
