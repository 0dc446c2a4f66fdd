// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process at its limits: a call that cannot have what it needs says so and has done nothing, a
 * VM needs none of what others are about, and a limit of CPU time holds inside the guest as well.
 */
/* hosts: smp 6.12 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define NOBODY	65534

GUEST_CODE(hello, 64, "1: mov $42, %eax; out %eax, $PORT_VALUE; jmp 1b\n");
GUEST_CODE(spin, 64, "1: inc %rax; jmp 1b\n");

static void limit(int resource, rlim_t soft)
{
	struct rlimit to;

	if (getrlimit(resource, &to))
		fail("getrlimit: %s", strerror(errno));
	to.rlim_cur = soft == RLIM_INFINITY ? to.rlim_max : soft;
	if (setrlimit(resource, &to))
		fail("setrlimit: %s", strerror(errno));
}

/* No file can be opened any more. */
static void no_more_files(void)
{
	int next = open("/dev/null", O_RDONLY);

	close(next);
	limit(RLIMIT_NOFILE, next);
	if (open("/dev/null", O_RDONLY) != -1 || errno != EMFILE)
		fail("a file can be opened");
}

static bool says_hello(struct vcpu *vcpu)
{
	vcpu_load(vcpu, MODE_LONG, hello);
	return run_value(vcpu) == 42;
}

TEST(files)
{
	struct vmm_vm_create create = { .size = sizeof(create) };
	struct vmm_vcpu_create create_vcpu = { .size = sizeof(create_vcpu), .id = 1 };
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	int i, fd;

	no_more_files();
	for (i = 0; i < 3; i++) {
		create.flags = i & 1 ? VMM_VM_IRQCHIPS : 0;
		EXPECT_EQ(-EMFILE, do_ioctl(vm->dev, VMM_CREATE_VM, &create));
		EXPECT_EQ(-EMFILE, do_ioctl(vm->fd, VMM_CREATE_VCPU, &create_vcpu));
	}
	/* What is there needs no more. */
	EXPECT_TRUE(says_hello(vcpu));

	limit(RLIMIT_NOFILE, RLIM_INFINITY);
	/* Its number is free. */
	EXPECT_TRUE(says_hello(vcpu_create(vm, 1)));
	EXPECT_EQ(-EEXIST, do_ioctl(vm->fd, VMM_CREATE_VCPU, &create_vcpu));
	EXPECT_TRUE(says_hello(vcpu));
	fd = do_ioctl(vm->dev, VMM_CREATE_VM, &create);
	EXPECT_LE(0, fd);
	close(fd);
	vm_destroy(vm);
	EXPECT_TRUE(vm_works());
}

static void *map(int fd, size_t bytes, off_t offset)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

TEST(address_space)
{
	size_t ring_bytes = PAGE + VMM_RING_MIN * sizeof(u64);
	struct vmm_ring ring = { .size = sizeof(ring), .entries = VMM_RING_MIN };
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	struct vmm_dirty_ring *shared;

	ASSERT_EQ(0, do_ioctl(vcpu->fd, VMM_SET_RING, &ring));
	ASSERT_TRUE(says_hello(vcpu));
	ASSERT_EQ(0, munmap(vcpu->run, vm->info.run_size));
	limit(RLIMIT_AS, PAGE);
	EXPECT_EQ(MAP_FAILED, map(vcpu->fd, vm->info.run_size, 0));
	EXPECT_EQ(ENOMEM, errno);
	EXPECT_EQ(MAP_FAILED, map(vcpu->fd, ring_bytes, VMM_RING_OFFSET));
	EXPECT_EQ(ENOMEM, errno);

	limit(RLIMIT_AS, RLIM_INFINITY);
	vcpu->run = map(vcpu->fd, vm->info.run_size, 0);
	ASSERT_NE(MAP_FAILED, (void *)vcpu->run);
	shared = map(vcpu->fd, ring_bytes, VMM_RING_OFFSET);
	ASSERT_NE(MAP_FAILED, (void *)shared);
	EXPECT_EQ(VMM_RING_MIN, shared->entries);
	/* What is mapped is enough. */
	limit(RLIMIT_AS, PAGE);
	EXPECT_TRUE(says_hello(vcpu));
	limit(RLIMIT_AS, RLIM_INFINITY);
	munmap(shared, ring_bytes);
	vm_destroy(vm);
}

/* What is shared with the module is not data of the process's. */
TEST(data)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);

	ASSERT_EQ(0, munmap(vcpu->run, vm->info.run_size));
	limit(RLIMIT_DATA, PAGE);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	EXPECT_EQ(ENOMEM, errno);
	vcpu->run = map(vcpu->fd, vm->info.run_size, 0);
	ASSERT_NE(MAP_FAILED, (void *)vcpu->run);
	EXPECT_TRUE(says_hello(vcpu));
	limit(RLIMIT_DATA, RLIM_INFINITY);
	vm_destroy(vm);
}

/* A VM of somebody to whom the limits of locked memory and of processes apply: it has neither. */
TEST(locked_memory_and_processes)
{
	struct vmm_vm_create create = { .size = sizeof(create), .flags = VMM_VM_IRQCHIPS };
	struct vm vm = { .dev = open_dev(), .mem_size = 1 * MIB };
	struct vcpu *vcpu;

	limit(RLIMIT_MEMLOCK, 0);
	limit(RLIMIT_NPROC, 0);
	ASSERT_EQ(0, setgid(NOBODY));
	ASSERT_EQ(0, setuid(NOBODY));
	vm.mem = map_memory(vm.mem_size);
	ASSERT_EQ(-1, mlock(vm.mem, PAGE));
	EXPECT_EQ(EPERM, errno);
	ASSERT_EQ(-1, fork());
	EXPECT_EQ(EAGAIN, errno);

	get_info(vm.dev, &vm.info);
	vm.fd = do_ioctl(vm.dev, VMM_CREATE_VM, &create);
	ASSERT_LE(0, vm.fd);
	ASSERT_EQ(0, vm_set_slot(&vm, 0, 0, vm.mem_size, vm.mem, VMM_MEM_LOG_DIRTY));
	vcpu = vcpu_create(&vm, 0);
	EXPECT_TRUE(says_hello(vcpu));
	EXPECT_EQ(0, host_counter("/proc/self/status", "VmLck:"));
	EXPECT_EQ(0, host_counter("/proc/self/status", "VmPin:"));
}

static volatile int signals;

static void on_signal(int sig)
{
	signals++;
}

static u64 cpu_ms(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000ULL +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

TEST(cpu_time)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);

	ASSERT_EQ(0, sigaction(SIGXCPU, &action, NULL));
	vcpu->timeout_ms *= host_slower();
	vcpu_load(vcpu, MODE_LONG, spin);
	limit(RLIMIT_CPU, 1);
	ASSERT_EQ(-EINTR, vcpu_run(vcpu));
	EXPECT_EQ(1, signals);
	EXPECT_EQ(VMM_EXIT_INTR, vcpu->run->exit.reason);
	/* Ticks were counted, this is measured. */
	EXPECT_LE(900, cpu_ms());
	/* The kernel gives it another second. */
	ASSERT_EQ(-EINTR, vcpu_run(vcpu));
	EXPECT_EQ(2, signals);
	vcpu_get(vcpu, VMM_STATE_REGS);
	EXPECT_LT(0, vcpu->state.regs.gpr[VMM_RAX]);
	limit(RLIMIT_CPU, RLIM_INFINITY);
	EXPECT_TRUE(says_hello(vcpu));
	vm_destroy(vm);
}

/* Where no more is given the guest ends with its process. */
TEST(cpu_time_for_good)
{
	struct rlimit second = { 1, 1 };
	pid_t child = fork();
	int status;

	if (!child) {
		struct vcpu *vcpu = vcpu_create(vm_create(1 * MIB, 0), 0);

		vcpu_load(vcpu, MODE_LONG, spin);
		if (setrlimit(RLIMIT_CPU, &second))
			fail("setrlimit: %s", strerror(errno));
		vcpu_run_raw(vcpu);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	EXPECT_TRUE(vm_works());
}

TEST_HARNESS_MAIN
