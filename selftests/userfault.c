// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfaultfd over guest memory: pages that are missing, mapped nowhere yet, or protected against
 * writes. The guest waits for the VMM's answer, and a signal ends the wait.
 */
/* hosts: smp 6.12 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "remote.h"

#define BASE	0x800000		/* guest-physical */
#define PAGES	16

FIXTURE(userfault) {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	int uffd;
	int memfd;
	pthread_t thread;
	/* Of the thread that answers */
	bool hold;		/* do not, for now */
	bool stop;
	u32 asked;
	u32 page;		/* of the last question */
	u32 had;		/* what was in it then */
};

FIXTURE_VARIANT(userfault) {
	bool shared;		/* of a memfd */
	u64 mode;
	u64 feature;
};

FIXTURE_VARIANT_ADD(userfault, missing) {
	.mode = UFFDIO_REGISTER_MODE_MISSING,
};

FIXTURE_VARIANT_ADD(userfault, missing_shared) {
	.mode = UFFDIO_REGISTER_MODE_MISSING, .feature = UFFD_FEATURE_MISSING_SHMEM,
	.shared = true,
};

FIXTURE_VARIANT_ADD(userfault, minor_shared) {
	.mode = UFFDIO_REGISTER_MODE_MINOR, .feature = UFFD_FEATURE_MINOR_SHMEM, .shared = true,
};

FIXTURE_VARIANT_ADD(userfault, write_protected) {
	.mode = UFFDIO_REGISTER_MODE_WP, .feature = UFFD_FEATURE_PAGEFAULT_FLAG_WP,
};

FIXTURE_VARIANT_ADD(userfault, write_protected_shared) {
	.mode = UFFDIO_REGISTER_MODE_WP, .feature = UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
						    UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	.shared = true,
};

static u32 *word(u8 *mem, u32 page)
{
	return (u32 *)(mem + page * PAGE);
}

static int protect(FIXTURE_DATA(userfault) *self, u32 page, u32 count, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)word(self->mem, page), .len = count * PAGE },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(self->uffd, UFFDIO_WRITEPROTECT, &wp);
}

static int give(FIXTURE_DATA(userfault) *self, u64 mode, u32 page)
{
	u64 at = (uintptr_t)word(self->mem, page);
	u32 content[PAGE / 4] = { 500 + page };
	struct uffdio_copy copy = { .dst = at, .src = (uintptr_t)content, .len = PAGE };
	struct uffdio_continue go_on = { .range = { .start = at, .len = PAGE } };

	switch (mode) {
	case UFFDIO_REGISTER_MODE_MISSING:
		return ioctl(self->uffd, UFFDIO_COPY, &copy);
	case UFFDIO_REGISTER_MODE_MINOR:
		return ioctl(self->uffd, UFFDIO_CONTINUE, &go_on);
	default:
		return protect(self, page, 1, false);
	}
}

/* Of a page that can be read without a question: what the guest has not changed yet */
static u32 content_of(FIXTURE_DATA(userfault) *self, u32 page)
{
	u32 value = 0;

	if (self->memfd >= 0 &&
	    pread(self->memfd, &value, sizeof(value), page * PAGE) != sizeof(value))
		fail("the memfd: %s", strerror(errno));
	return self->memfd >= 0 ? value : *word(self->mem, page);
}

struct answerer {
	FIXTURE_DATA(userfault) *self;
	u64 mode;
};

static struct answerer answerer;

static void *answer(void *arg)
{
	FIXTURE_DATA(userfault) *self = answerer.self;
	struct pollfd poll_fd = { .fd = self->uffd, .events = POLLIN };
	struct uffd_msg msg;
	u32 page;

	while (!__atomic_load_n(&self->stop, __ATOMIC_SEQ_CST)) {
		if (poll(&poll_fd, 1, 20) != 1 ||
		    read(self->uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		page = (msg.arg.pagefault.address - (uintptr_t)self->mem) / PAGE;
		self->page = page;
		if (answerer.mode == UFFDIO_REGISTER_MODE_WP)
			self->had = content_of(self, page);
		__atomic_add_fetch(&self->asked, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&self->hold, __ATOMIC_SEQ_CST))
			usleep(1000);
		if (give(self, answerer.mode, page) && errno != EEXIST)
			fail("userfaultfd: %s", strerror(errno));
	}
	return NULL;
}

FIXTURE_SETUP(userfault)
{
	struct uffdio_api api = { .api = UFFD_API, .features = variant->feature };
	struct uffdio_register reg = { .mode = variant->mode };
	u32 i;

	self->memfd = -1;
	self->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (self->uffd < 0)
		SKIP(return, "no userfaultfd here: %s", strerror(errno));
	if (ioctl(self->uffd, UFFDIO_API, &api))
		SKIP(return, "no such userfaultfd here: %s", strerror(errno));
	if (variant->shared) {
		self->memfd = memfd_create("guest memory", MFD_CLOEXEC);
		ASSERT_EQ(0, ftruncate(self->memfd, PAGES * PAGE));
		self->mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
				 self->memfd, 0);
		ASSERT_NE(MAP_FAILED, self->mem);
	} else {
		self->mem = map_memory(PAGES * PAGE);
	}
	for (i = 0; i < PAGES; i++) {
		u32 value = 500 + i;

		if (variant->mode == UFFDIO_REGISTER_MODE_WP)
			*word(self->mem, i) = value;
		if (variant->mode == UFFDIO_REGISTER_MODE_MINOR)
			ASSERT_EQ(sizeof(value),
				  pwrite(self->memfd, &value, sizeof(value), i * PAGE));
	}
	reg.range.start = (uintptr_t)self->mem;
	reg.range.len = PAGES * PAGE;
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_REGISTER, &reg)) TH_LOG("%s", strerror(errno));
	answerer = (struct answerer){ self, variant->mode };
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, answer, NULL));
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, PAGES * PAGE, self->mem, 0));
	remote_start(self->vcpu);
}

FIXTURE_TEARDOWN(userfault)
{
	if (!self->vm)
		return;
	__atomic_store_n(&self->hold, false, __ATOMIC_SEQ_CST);
	__atomic_store_n(&self->stop, true, __ATOMIC_SEQ_CST);
	pthread_join(self->thread, NULL);
	vm_destroy(self->vm);
	close(self->uffd);
}

#define asked()		__atomic_load_n(&self->asked, __ATOMIC_SEQ_CST)
#define is_wp		(variant->mode == UFFDIO_REGISTER_MODE_WP)

TEST_F(userfault, each_is_asked_for_once)
{
	u32 i, round;

	for (round = 0; round < 3; round++) {
		self->asked = 0;
		if (is_wp) {
			/* What the guest could write before it cannot write now. */
			ASSERT_EQ(0, protect(self, 0, PAGES, true));
		} else {
			ASSERT_EQ(0, madvise(self->mem, PAGES * PAGE, MADV_DONTNEED));
			if (variant->mode == UFFDIO_REGISTER_MODE_MISSING && variant->shared)
				ASSERT_EQ(0, madvise(self->mem, PAGES * PAGE, MADV_REMOVE));
		}
		for (i = 0; i < PAGES; i++) {
			bool kept = round && variant->mode != UFFDIO_REGISTER_MODE_MISSING;
			u32 value = kept ? 1000 * round + i : 500 + i;

			EXPECT_EQ(value, remote_read32(self->vcpu, BASE + i * PAGE));
			EXPECT_EQ(is_wp ? i : i + 1, asked());
			remote_write32(self->vcpu, BASE + i * PAGE, 1000 * (round + 1) + i);
			EXPECT_EQ(i + 1, asked());
			EXPECT_EQ(i, self->page);
			/* The write came after the answer, not before. */
			if (is_wp)
				EXPECT_EQ(value, self->had);
			/* From now on it is a page as any. */
			remote_write32(self->vcpu, BASE + i * PAGE, 1000 * (round + 1) + i);
			EXPECT_EQ(i + 1, asked());
			EXPECT_EQ(1000 * (round + 1) + i, *word(self->mem, i));
		}
	}
}

static void on_alarm(int sig)
{
}

/* A signal ends the wait for an answer; the access is done when that has come. */
TEST_F(userfault, wait_is_interrupted)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval often = { { 0, 100000 }, { 0, 100000 } }, never = { };
	int i;

	ASSERT_EQ(0, is_wp ? protect(self, 0, PAGES, true) :
			     madvise(self->mem, PAGES * PAGE, MADV_DONTNEED));
	__atomic_store_n(&self->hold, true, __ATOMIC_SEQ_CST);
	sigaction(SIGALRM, &action, NULL);
	/* Again and again: one that comes before the run is over then. */
	setitimer(ITIMER_REAL, &often, NULL);
	EXPECT_EQ(-EINTR, remote_try_write32(self->vcpu, BASE + 5 * PAGE, 7));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-EINTR, remote_retry(self->vcpu, NULL));
	setitimer(ITIMER_REAL, &never, NULL);
	EXPECT_EQ(1, asked());
	__atomic_store_n(&self->hold, false, __ATOMIC_SEQ_CST);
	EXPECT_EQ(0, remote_retry(self->vcpu, NULL));
	EXPECT_EQ(7, *word(self->mem, 5));
}

/* A process whose guest waits so can be killed. */
TEST_F(userfault, waiter_is_killed)
{
	int status, ready[2];
	pid_t child;
	char c;

	ASSERT_EQ(0, pipe(ready));
	child = fork();
	if (!child) {
		struct uffdio_api api = { .api = UFFD_API, .features = variant->feature };
		struct uffdio_register reg = {
			.mode = variant->mode,
			.range = { .start = (uintptr_t)self->mem, .len = PAGES * PAGE },
		};
		struct vm *vm = vm_create(1 * MIB, 0);
		struct vcpu *vcpu = vcpu_create(vm, 0);

		/* Nobody reads this one. */
		self->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
		if (ioctl(self->uffd, UFFDIO_API, &api) ||
		    ioctl(self->uffd, UFFDIO_REGISTER, &reg) ||
		    (is_wp ? protect(self, 0, PAGES, true) :
			     madvise(self->mem, PAGES * PAGE, MADV_DONTNEED)) ||
		    vm_set_slot(vm, 1, BASE, PAGES * PAGE, self->mem, 0) ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		remote_start(vcpu);
		vcpu->timeout_ms = 60000;
		remote_try_write32(vcpu, BASE, 7);
		_exit(2);
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	usleep(host_is_slow() ? 500000 : 100000);
	ASSERT_EQ(0, waitpid(child, &status, WNOHANG));
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
}

TEST_HARNESS_MAIN
