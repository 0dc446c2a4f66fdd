// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may have VMs: the mode of /dev/vmm decides at open(), and whoever was given the descriptor
 * may use it; in another user or pid namespace it is the same.
 */
/* hosts: smp 6.12 */
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define NOBODY	65534

GUEST_CODE(hello, 64, "mov $42, %eax; out %eax, $PORT_VALUE\n");

/* A VM from a descriptor that is there already */
static void run_guest(int dev)
{
	struct vmm_vm_create create = { .size = sizeof(create) };
	struct vm vm = { .dev = dev, .mem_size = 1 * MIB, .mem = map_memory(1 * MIB) };
	struct vcpu *vcpu;

	get_info(dev, &vm.info);
	vm.fd = do_ioctl(dev, VMM_CREATE_VM, &create);
	if (vm.fd < 0 || vm_set_slot(&vm, 0, 0, vm.mem_size, vm.mem, 0))
		fail("VMM_CREATE_VM: %s", strerror(-vm.fd));
	vcpu = vcpu_create(&vm, 0);
	vcpu_load(vcpu, MODE_LONG, hello);
	if (run_value(vcpu) != 42)
		fail("the guest does not run");
}

static void become_nobody(void)
{
	if (setgid(NOBODY) || setuid(NOBODY))
		fail("setuid: %s", strerror(errno));
}

static int exit_status(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		fail("waitpid: %s", strerror(errno));
	return status;
}

TEST(user_without_permission)
{
	struct stat stat;
	pid_t child;

	ASSERT_EQ(0, lstat("/dev/vmm", &stat));
	EXPECT_EQ(0660, stat.st_mode & 0777);
	child = fork();
	if (!child) {
		become_nobody();
		_exit(open("/dev/vmm", O_RDWR) != -1 || errno != EACCES);
	}
	EXPECT_EQ(0, exit_status(child));
}

TEST(user_who_was_given_it)
{
	int dev = open_dev();
	pid_t child = fork();

	if (!child) {
		become_nobody();
		run_guest(dev);
		_exit(0);
	}
	EXPECT_EQ(0, exit_status(child));
}

/* Root there is not root here. */
TEST(user_namespace)
{
	int dev = open_dev();
	pid_t child = fork();

	if (!child) {
		become_nobody();
		/* Else its files in /proc are root's. */
		prctl(PR_SET_DUMPABLE, 1);
		if (unshare(CLONE_NEWUSER))
			_exit(4);
		if (write_file("/proc/self/uid_map", "0 65534 1") || getuid() != 0)
			_exit(2);
		if (open("/dev/vmm", O_RDWR) != -1 || errno != EACCES)
			_exit(3);
		run_guest(dev);
		_exit(0);
	}
	child = exit_status(child);
	if (WEXITSTATUS(child) == 4)
		SKIP(return, "no user namespaces here");
	EXPECT_EQ(0, child);
}

TEST(pid_namespace)
{
	pid_t child;

	if (unshare(CLONE_NEWPID))
		SKIP(return, "no pid namespaces here");
	child = fork();
	if (!child) {
		if (getpid() != 1)
			_exit(2);
		run_guest(open_dev());
		_exit(0);
	}
	EXPECT_EQ(0, exit_status(child));
}

TEST_HARNESS_MAIN
