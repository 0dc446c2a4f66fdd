// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMs come and go: a thousand times without anything left over, in any order
 * of closing, by kill -9; the module stays while it is in use, and goes when
 * it is not.
 */
/* hosts: smp 6.12 */
/* timeout: 480 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

GUEST_CODE(loop, 64, "1: out %al, $PORT_VALUE; jmp 1b\n");
GUEST_CODE(spin, 64, "1: inc %rax; mov %rax, 0x80000; jmp 1b\n");

/* ---- nothing is left ---- */

#define MAX_CACHES	128

struct usage {
	struct {
		char name[32];
		long objects;
	} cache[MAX_CACHES];
	int count;
	long free_pages;
	long page_tables;
};

/*
 * The objects in use of a cache. "shrink" takes back what each CPU keeps for itself; until the
 * count is read a CPU may have begun a new slab, all of which counts: so the least of some.
 */
static long count_objects(const char *cache)
{
	char shrink[320], objects[320];
	long n, least = -1;
	int i;

	snprintf(shrink, sizeof(shrink), "/sys/kernel/slab/%s/shrink", cache);
	snprintf(objects, sizeof(objects), "/sys/kernel/slab/%s/objects", cache);
	for (i = 0; i < 8; i++) {
		write_file(shrink, "1");
		n = read_number(objects);
		if (least < 0 || n < least)
			least = n;
	}
	return least;
}

/* The kmalloc caches: the module has no others. */
static void count_caches(struct usage *usage)
{
	DIR *dir = opendir("/sys/kernel/slab");
	struct dirent *entry;

	usage->count = 0;
	while (dir && (entry = readdir(dir)) && usage->count < MAX_CACHES) {
		if (strncmp(entry->d_name, "kmalloc-", 8))
			continue;
		snprintf(usage->cache[usage->count].name, sizeof(usage->cache[0].name), "%.31s",
			 entry->d_name);
		usage->cache[usage->count++].objects = count_objects(entry->d_name);
	}
	if (dir)
		closedir(dir);
}

/* Let everything that waits for RCU, SRCU and work queues happen, then count. */
static void measure(struct usage *usage)
{
	int i;

	for (i = 0; i < 4; i++) {
		syscall(SYS_membarrier, 1 /* MEMBARRIER_CMD_GLOBAL */, 0, 0);
		usleep(100000);
	}
	sync();
	write_file("/proc/sys/vm/drop_caches", "3");
	count_caches(usage);
	usage->free_pages = host_counter("/proc/vmstat", "nr_free_pages");
	usage->page_tables = host_counter("/proc/vmstat", "nr_page_table_pages");
}

static long objects_in(const struct usage *usage, const char *name)
{
	int i;

	for (i = 0; i < usage->count; i++)
		if (!strcmp(usage->cache[i].name, name))
			return usage->cache[i].objects;
	return 0;
}

/* All that a VM can have */
static void one_life(u32 flags)
{
	struct vm *vm = vm_create(1 * MIB, flags);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	struct vmm_ioeventfd io = {
		.size = sizeof(io), .address = 0xd0000000, .length = 4, .fd = eventfd(0, 0),
	};
	struct vmm_irqfd irqfd = { .size = sizeof(irqfd), .fd = eventfd(0, 0), .gsi = 5 };
	struct vmm_msr_range range = { .base = 0x1000, .count = 1, .access = VMM_MSR_READ };
	struct vmm_msr_policy policy = {
		.size = sizeof(policy), .count = 1, .ranges = (uintptr_t)&range,
	};

	if (do_ioctl(vm->fd, VMM_IOEVENTFD, &io) || do_ioctl(vm->fd, VMM_SET_MSR_POLICY, &policy))
		fail("ioeventfd or MSR policy");
	if (flags && do_ioctl(vm->fd, VMM_IRQFD, &irqfd))
		fail("VMM_IRQFD");
	vcpu_load(vcpu, MODE_LONG, loop);
	run_value(vcpu);
	vm_destroy(vm);
	close(io.fd);
	close(irqfd.fd);
}

static void many_lives(int count)
{
	int i;

	for (i = 0; i < count; i++)
		one_life(i & 1 ? VMM_VM_IRQCHIPS : 0);
}

/* One lost object per VM would be a thousand, or 500 if only every other VM has it. */
#define LIVES		1000
#define LOST_OBJECTS	250
#define LOST_PAGES	350
/* Processes come and go with each of these, which alone moves thousands of pages to and fro. */
#define KILLS		400
#define LOST_BY_KILLS	(KILLS * 20)

static bool has_grown(const struct usage *before, const struct usage *after)
{
	int i;

	for (i = 0; i < after->count; i++)
		if (after->cache[i].objects - objects_in(before, after->cache[i].name) >=
		    LOST_OBJECTS)
			return true;
	return false;
}

/* What is lost stays so; what only waits to be freed by a busy host's kernel threads does not. */
static void measure_again(const struct usage *before, struct usage *after)
{
	int i;

	measure(after);
	for (i = 0; i < 20 && has_grown(before, after); i++)
		measure(after);
}

/*
 * What @work loses it loses each time. The slab that a CPU allocates from counts as one without a
 * free object, which by chance is up to 512 more in kmalloc-8: so the best of some times.
 */
static void measure_work(void (*work)(void), struct usage *before, struct usage *after)
{
	int i;

	work();
	measure_again(before, after);
	for (i = 0; i < 2 && has_grown(before, after); i++) {
		*before = *after;
		work();
		measure_again(before, after);
	}
}

static void compare(struct __test_metadata *_metadata, const struct usage *before,
		    const struct usage *after, long lost_pages)
{
	int i;

	EXPECT_GT(after->count, 10);
	for (i = 0; i < after->count; i++) {
		long grown = after->cache[i].objects - objects_in(before, after->cache[i].name);

		EXPECT_LT(grown, LOST_OBJECTS)
			TH_LOG("%s: %ld objects more", after->cache[i].name, grown);
	}
	EXPECT_LT(before->free_pages - after->free_pages, lost_pages);
	EXPECT_LT(after->page_tables - before->page_tables, LOST_PAGES);
	TH_LOG("%ld pages of memory and %ld of page tables more",
	       before->free_pages - after->free_pages, after->page_tables - before->page_tables);
}

FIXTURE(leaks) {
	struct usage before;
	struct usage after;
};

FIXTURE_SETUP(leaks)
{
	/* What is made once and kept: caches of each CPU, the msr file of eventfds ... */
	many_lives(60);
	measure(&self->before);
}

FIXTURE_TEARDOWN(leaks)
{
}

static void a_thousand_lives(void)
{
	many_lives(LIVES);
}

TEST_F_TIMEOUT(leaks, a_thousand_lives, 240)
{
	measure_work(a_thousand_lives, &self->before, &self->after);
	compare(_metadata, &self->before, &self->after, LOST_PAGES);
}

/* The same for what is refused half-way: a vCPU, or a VM, whose file descriptor cannot be had */
static void a_thousand_failures(void)
{
	struct vmm_vcpu_create create = { .size = sizeof(create) };
	struct vmm_vm_create vm_create_arg = { .size = sizeof(vm_create_arg) };
	struct vm *vm = vm_create(0, VMM_VM_IRQCHIPS);
	int fds[1024], n = 0, i;

	while (n < 1024 && (fds[n] = dup(0)) >= 0)
		n++;
	for (i = 0; i < LIVES; i++) {
		create.id = i;
		if (do_ioctl(vm->fd, VMM_CREATE_VCPU, &create) != -EMFILE ||
		    do_ioctl(vm->dev, VMM_CREATE_VM, &vm_create_arg) != -EMFILE)
			fail("a file descriptor could be had");
	}
	while (n)
		close(fds[--n]);
	vm_destroy(vm);
}

TEST_F_TIMEOUT(leaks, a_thousand_failures, 60)
{
	measure_work(a_thousand_failures, &self->before, &self->after);
	compare(_metadata, &self->before, &self->after, LOST_PAGES);
}

/* Killed in the middle of everything */
static void killed_life(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		struct vm *vm = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
		struct vcpu *vcpu = vcpu_create(vm, 0);

		vcpu_load(vcpu, MODE_LONG, spin);
		vcpu_run_raw(vcpu);
		_exit(0);
	}
	usleep(3000);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	if (!WIFSIGNALED(status))
		fail("the VMM was not killed");
}

static void many_killed_lives(void)
{
	int i;

	for (i = 0; i < KILLS; i++)
		killed_life();
}

TEST_F_TIMEOUT(leaks, killed, 120)
{
	measure_work(many_killed_lives, &self->before, &self->after);
	compare(_metadata, &self->before, &self->after, LOST_BY_KILLS);
}

/* ---- orders of closing ---- */

TEST(vcpu_outlives_the_vm_file)
{
	struct vm *vm = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
	struct vcpu *vcpu = vcpu_create(vm, 0);

	vcpu_load(vcpu, MODE_LONG, loop);
	close(vm->fd);
	close(vm->dev);
	run_value(vcpu);
	run_value(vcpu);
	close(vcpu->fd);
}

TEST(run_area_outlives_all_files)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);

	vcpu_load(vcpu, MODE_LONG, loop);
	run_value(vcpu);
	close(vcpu->fd);
	close(vm->fd);
	close(vm->dev);
	EXPECT_EQ(VMM_EXIT_IO, vcpu->run->exit.reason);
	memset(vcpu->run, 0xff, PAGE);
}

/* Memory that goes before its VM: exits of a FAULT, then nothing */
TEST(memory_goes_first)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);

	vcpu_load(vcpu, MODE_LONG, loop);
	run_value(vcpu);
	munmap(vm->mem, vm->mem_size);
	run_until(vcpu, VMM_EXIT_FAULT);
	EXPECT_EQ(-EFAULT, vcpu->run->exit.fault.error);
	close(vcpu->fd);
	close(vm->fd);
}

/* A file descriptor that another process still has: the VM's memory is gone with its mm. */
TEST(inherited_by_another_process)
{
	int fds[2], status;
	pid_t maker;
	char c;

	ASSERT_EQ(0, pipe(fds));
	maker = fork();
	if (!maker) {
		struct vm *vm = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
		struct vcpu *vcpu = vcpu_create(vm, 0);

		vcpu_load(vcpu, MODE_LONG, loop);
		run_value(vcpu);
		if (!fork()) {
			/* After the death of the process that made it */
			while (getppid() == maker)
				usleep(1000);
			c = vcpu_run_raw(vcpu) == -EXDEV ? 'y' : 'n';
			if (write(fds[1], &c, 1) != 1)
				_exit(1);
			_exit(0);
		}
		_exit(0);
	}
	EXPECT_EQ(maker, waitpid(maker, &status, 0));
	EXPECT_EQ(1, read(fds[0], &c, 1));
	EXPECT_EQ('y', c);
}

/* exec() replaces the mm; the files are closed by it. */
TEST(exec_closes)
{
	int status;
	pid_t child = fork();

	if (!child) {
		struct vm *vm = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
		struct vcpu *vcpu = vcpu_create(vm, 0);

		vcpu_load(vcpu, MODE_LONG, loop);
		run_value(vcpu);
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

static void *close_later(void *arg)
{
	struct vcpu *vcpu = arg;

	/* Its guest counts: it is inside. */
	while (!guest_u64(vcpu->vm, 0x80000))
		usleep(1000);
	close(vcpu->fd);
	close(vcpu->vm->fd);
	do_ioctl(vcpu->fd, VMM_KICK, NULL);
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* Closed by one thread while another is inside: the call in progress keeps what it needs. */
TEST(closed_while_it_runs)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	pthread_t thread;
	int ret;

	vcpu_load(vcpu, MODE_LONG, spin);
	ASSERT_EQ(0, pthread_create(&thread, NULL, close_later, vcpu));
	ret = vcpu_run_raw(vcpu);
	EXPECT_EQ(-EINTR, ret);
	pthread_join(thread, NULL);
}

/* ---- the module ---- */

TEST(unload_refused_in_use)
{
	struct vm *vm;
	struct vcpu *vcpu;
	int dev = open_dev();

	EXPECT_EQ(-EWOULDBLOCK, host_unload_vmm());
	vm = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
	close(dev);
	close(vm->dev);
	EXPECT_EQ(-EWOULDBLOCK, host_unload_vmm());
	vcpu = vcpu_create_bare(vm, 0);
	close(vm->fd);
	EXPECT_EQ(-EWOULDBLOCK, host_unload_vmm());
	/* The mapping alone */
	close(vcpu->fd);
	EXPECT_EQ(-EWOULDBLOCK, host_unload_vmm());
	munmap(vcpu->run, vm->info.run_size);
	EXPECT_EQ(0, host_unload_vmm());
	EXPECT_EQ(-1, access("/dev/vmm", F_OK));
	EXPECT_EQ(0, host_load_vmm());
	close(open_dev());
}

/* What the module found on every CPU is what it leaves; SVM is off without it. */
TEST(unloaded_leaves_no_trace)
{
	static const u32 msrs[] = { 0xc0000080, 0xc0010117, 0xc0000103, 0xc0000081, 0xc0000082 };
	u64 without[8][ARRAY_SIZE(msrs)], again;
	int error[8][ARRAY_SIZE(msrs)];
	int cpu, cpus = host_cpus() < 8 ? host_cpus() : 8;
	unsigned int i;

	ASSERT_EQ(0, host_unload_vmm());
	for (cpu = 0; cpu < cpus; cpu++)
		for (i = 0; i < ARRAY_SIZE(msrs); i++)
			error[cpu][i] = host_msr(cpu, msrs[i], &without[cpu][i]);
	for (cpu = 0; cpu < cpus; cpu++)
		if (!error[cpu][0])
			EXPECT_EQ(0, without[cpu][0] & EFER_SVME);
	ASSERT_EQ(0, host_load_vmm());
	for (cpu = 0; cpu < cpus; cpu++) {
		pin_to_cpu(cpu);
		one_life(VMM_VM_IRQCHIPS);
	}
	ASSERT_EQ(0, host_unload_vmm());
	for (cpu = 0; cpu < cpus; cpu++) {
		for (i = 0; i < ARRAY_SIZE(msrs); i++) {
			if (error[cpu][i] || host_msr(cpu, msrs[i], &again))
				continue;
			EXPECT_EQ(without[cpu][i], again) TH_LOG("CPU %d, MSR %#x", cpu, msrs[i]);
		}
	}
	ASSERT_EQ(0, host_load_vmm());
}

TEST_HARNESS_MAIN
