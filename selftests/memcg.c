// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM's page tables are its VMM's memory: charged to its control group, and where that has no
 * more the guest stops with an error, or the VMM is killed, and nobody else is harmed.
 */
/* hosts: smp 6.12 */
/* timeout: 90 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "remote.h"

#define GROUP	"/sys/fs/cgroup/limited"
#define BASE	0x40000000		/* guest-physical */
#define HUGE	(2 * MIB)		/* one page of a table each */
#define TABLES	512
#define RINGS	4

#define SYSLOG_CLEAR	5

static void write_number(const char *file, long number)
{
	char text[32];
	int ret;

	snprintf(text, sizeof(text), "%ld", number);
	ret = write_file(file, text);
	if (ret)
		fail("%s: %s", file, strerror(-ret));
}

static bool make_group(void)
{
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	mkdir(GROUP, 0755);
	return !write_file(GROUP "/memory.swap.max", "0") ||
	       !access(GROUP "/memory.max", W_OK);
}

static void remove_group(void)
{
	int i;

	write_file(GROUP "/memory.max", "max");
	for (i = 0; rmdir(GROUP) && i < 100; i++)
		usleep(20000);
}

/* A child in the group, which ends with the test */
static pid_t fork_into_group(void)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork: %s", strerror(errno));
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		write_number(GROUP "/cgroup.procs", getpid());
	}
	return child;
}

struct sparse {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	u32 touched;
};

/* The host's side of it is there already: all zero pages, which cost tables alone. */
static void make_sparse(struct sparse *s)
{
	u32 i;

	s->vm = vm_create(1 * MIB, 0);
	s->vcpu = vcpu_create(s->vm, 0);
	s->mem = map_memory(TABLES * HUGE);
	s->touched = 0;
	madvise(s->mem, TABLES * HUGE, MADV_NOHUGEPAGE);
	for (i = 0; i < TABLES; i++)
		if (*(volatile u32 *)(s->mem + i * HUGE))
			_exit(10);
	if (vm_set_slot(s->vm, 1, BASE, TABLES * HUGE, s->mem, 0))
		_exit(11);
	remote_start(s->vcpu);
	remote_read32(s->vcpu, 0);
}

/* Until it fails, or all has been touched */
static int touch(struct sparse *s, u32 count)
{
	u32 value;
	int ret;

	for (; s->touched < count; s->touched++) {
		ret = remote_try_read32(s->vcpu, BASE + s->touched * HUGE, &value);
		if (ret)
			return ret;
	}
	return 0;
}

static int wait_for(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		fail("waitpid: %s", strerror(errno));
	return status;
}

/* ---- what is charged ---- */

TEST(tables_are_charged)
{
	int status;
	pid_t child;

	if (!make_group())
		SKIP(return, "no memory controller here");
	child = fork_into_group();
	if (!child) {
		struct sparse s;
		long before, used, left;
		int i;

		make_sparse(&s);
		before = read_number(GROUP "/memory.current");
		if (touch(&s, TABLES))
			_exit(1);
		used = read_number(GROUP "/memory.current") - before;
		vm_set_slot(s.vm, 1, 0, 0, NULL, 0);
		/* They are freed after a grace period. */
		for (i = 0; i < 200; i++) {
			left = read_number(GROUP "/memory.current") - before;
			if (left < used / 4)
				break;
			usleep(20000);
		}
		fprintf(stderr, "# %d tables: %ld KiB, %ld KiB after them\n", TABLES, used / 1024,
			left / 1024);
		/* The counters are exact to some dozen pages for each CPU. */
		_exit(used < TABLES * 7 / 8 * (long)PAGE || left >= used / 4);
	}
	status = wait_for(child);
	EXPECT_EQ(0, status);
	remove_group();
}

TEST(rings_are_charged)
{
	int status;
	pid_t child;

	if (!make_group())
		SKIP(return, "no memory controller here");
	child = fork_into_group();
	if (!child) {
		struct vmm_ring ring = { .size = sizeof(ring), .entries = VMM_RING_MAX };
		struct vm *vm = vm_create(0, 0);
		long used;
		int i;

		for (i = 0; i < RINGS; i++)
			vcpu_create_bare(vm, i);
		used = -read_number(GROUP "/memory.current");
		for (i = 0; i < RINGS; i++)
			if (do_ioctl(vm->vcpus[i]->fd, VMM_SET_RING, &ring))
				_exit(1);
		used += read_number(GROUP "/memory.current");
		fprintf(stderr, "# %d rings: %ld KiB\n", RINGS, used / 1024);
		_exit(used < RINGS * VMM_RING_MAX * 7);
	}
	status = wait_for(child);
	EXPECT_EQ(0, status);
	remove_group();
}

/* ---- what happens where there is no more ---- */

/*
 * The kernel writes a stack trace for each killing, and looks like a host in trouble. So what is
 * on the console, and in the log afterwards, is left out, once the test has seen that there is
 * nothing else in it.
 */
struct quiet {
	int traces, killings, warnings, bugs, oopses;
	char level[8];
};

static void begin_quiet(struct quiet *q)
{
	int fd = open("/proc/sys/kernel/printk", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, q->level, sizeof(q->level) - 1);

	q->level[n < 0 ? 0 : n] = 0;
	close(fd);
	write_file("/proc/sys/kernel/printk", "1");
	q->traces = host_log_mark();
	q->killings = host_log_mark();
	q->warnings = host_log_mark();
	q->bugs = host_log_mark();
	q->oopses = host_log_mark();
}

static bool end_quiet(struct quiet *q)
{
	int traces = host_log_count(q->traces, "Call Trace:");
	int killings = host_log_count(q->killings, "invoked oom-killer");
	bool clean = traces <= killings && !host_log_count(q->warnings, "WARNING: ") &&
		     !host_log_count(q->bugs, "BUG") && !host_log_count(q->oopses, "Oops");

	fprintf(stderr, "# %d times out of memory, %d traces\n", killings, traces);
	if (clean)
		klogctl(SYSLOG_CLEAR, NULL, 0);
	write_file("/proc/sys/kernel/printk", q->level);
	return clean && killings;
}

/* A VMM that must not be killed gets an error, and its guest goes on when there is memory again. */
TEST(guest_stops)
{
	struct quiet quiet;
	pid_t child;

	if (!make_group())
		SKIP(return, "no memory controller here");
	begin_quiet(&quiet);
	child = fork_into_group();
	if (!child) {
		struct sparse s;
		int ret;

		if (write_file("/proc/self/oom_score_adj", "-1000"))
			_exit(1);
		make_sparse(&s);
		if (touch(&s, 8))
			_exit(2);
		write_number(GROUP "/memory.max", read_number(GROUP "/memory.current") + 512 * KIB);
		ret = touch(&s, TABLES);
		fprintf(stderr, "# after %u tables: %s\n", s.touched, strerror(-ret));
		if (ret != -ENOMEM || s.vcpu->run->exit.reason != VMM_EXIT_FAULT)
			_exit(3);
		if (s.vcpu->run->exit.fault.gpa != BASE + s.touched * HUGE)
			_exit(4);
		/* It is not there by itself the next time. */
		if (remote_retry(s.vcpu, NULL) != -ENOMEM)
			_exit(5);
		write_file(GROUP "/memory.max", "max");
		if (remote_retry(s.vcpu, NULL) || touch(&s, TABLES))
			_exit(6);
		vm_destroy(s.vm);
		_exit(0);
	}
	EXPECT_EQ(0, wait_for(child));
	EXPECT_TRUE(end_quiet(&quiet));
	remove_group();
}

/* One that may be killed is, in the middle of its guest, and leaves nothing behind. */
TEST(vmm_is_killed)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	struct quiet quiet;
	int round, status;
	pid_t child;

	if (!make_group())
		SKIP(return, "no memory controller here");
	remote_start(vcpu);
	begin_quiet(&quiet);
	for (round = 0; round < 3; round++) {
		write_file(GROUP "/memory.max", "max");
		child = fork_into_group();
		if (!child) {
			struct sparse s;

			write_file("/proc/self/oom_score_adj", "1000");
			make_sparse(&s);
			write_number(GROUP "/memory.max",
				     read_number(GROUP "/memory.current") + 512 * KIB);
			if (round == 2) {
				/* By its guest's own pages, not by tables */
				u32 i;

				for (i = 0; i < 512; i++)
					remote_write32(s.vcpu, BASE + i * PAGE, i);
			} else {
				touch(&s, TABLES);
			}
			_exit(1);
		}
		status = wait_for(child);
		EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			TH_LOG("round %d: %#x", round, status);
		/* Others go on. */
		remote_write32(vcpu, 0x1000, round);
		EXPECT_EQ(round, remote_read32(vcpu, 0x1000));
	}
	EXPECT_TRUE(end_quiet(&quiet));
	remove_group();
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
