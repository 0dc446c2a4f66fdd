// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's NMIs while guests run: none is lost, none is the guest's, and the guest goes on. And
 * what an NMI's handler finds: hardware virtualization as it was before the module came, also where
 * it comes in a window.
 *
 * The kernel sends NMIs where it is asked for the stacks of all CPUs, and shows their registers.
 */
/* hosts: smp 6.12 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/klog.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define KLOG_READ_CLEAR		4
#define KLOG_CONSOLE_OFF	6
#define KLOG_CONSOLE_ON		7

#define BACKTRACE_IDLE	"/sys/module/nmi_backtrace/parameters/backtrace_idle"

static char klog[1 << 18];

/*
 * Have the other CPUs interrupted once. What the kernel says of them is kept from its console,
 * where it would be taken for a fault; it is in klog. The console must be through with it before
 * the next time, as the kernel announces each on its console whatever the level.
 */
static void send_nmis(void)
{
	int bytes;

	if (write_file("/proc/sysrq-trigger", "l"))
		fail("/proc/sysrq-trigger: %s", strerror(errno));
	bytes = klogctl(KLOG_READ_CLEAR, klog, sizeof(klog) - 1);
	klog[bytes > 0 ? bytes : 0] = 0;
	usleep(50000);
}

/* NMIs that @cpu, of two, has had */
static long nmis_of(int cpu)
{
	char line[256], name[8];
	long counts[2] = { -1, -1 };
	FILE *f = fopen("/proc/interrupts", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %7s %ld %ld", name, &counts[0], &counts[1]) == 3 &&
		    !strcmp(name, "NMI:"))
			break;
	if (f)
		fclose(f);
	return counts[cpu];
}

/* Computes on; an exit each time the counter's low 16 bits are zero */
GUEST_CODE(compute, 64,
	   "1: inc %rax; imul $0x343fd, %rbx, %rbx; add $0x269ec3, %rbx\n"
	   "test %ax, %ax; jnz 1b; out %eax, $PORT_VALUE; jmp 1b\n");

/* Exits all the time: the NMI meets the way in and out. */
GUEST_CODE(leave, 64, "1: add $0x10000, %rax; out %eax, $PORT_VALUE; jmp 1b\n");

/* Exits that do not leave the window */
GUEST_CODE(identify, 64,
	   "1: mov $1000, %esi\n"
	   "2: xor %eax, %eax; cpuid; dec %esi; jnz 2b\n"
	   "add $0x10000, %rdi; mov %edi, %eax; out %eax, $PORT_VALUE; jmp 1b\n");

FIXTURE(hostnmi) {
	struct vm *vm;
	struct vcpu *vcpu;
	pthread_t thread;
	bool stop;
	u64 exits;
};

FIXTURE_SETUP(hostnmi)
{
	if (host_cpus() != 2)
		SKIP(return, "needs two CPUs");
	if (nmis_of(1) < 0 || access("/proc/sysrq-trigger", W_OK))
		SKIP(return, "no way to send NMIs");
	klogctl(KLOG_CONSOLE_OFF, NULL, 0);
	pin_to_cpu(0);
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(hostnmi)
{
	klogctl(KLOG_CONSOLE_ON, NULL, 0);
	if (self->vm)
		vm_destroy(self->vm);
}

static void *run_guest(void *arg)
{
	FIXTURE_DATA(hostnmi) *self = arg;
	u64 last = 0;

	pin_to_cpu(1);
	while (!__atomic_load_n(&self->stop, __ATOMIC_SEQ_CST)) {
		u64 value = run_value(self->vcpu);

		if (value != (u32)(last + 0x10000))
			fail("the guest's counter went from %#llx to %#llx", last, value);
		last = value;
		__atomic_add_fetch(&self->exits, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void wait_for_exits(FIXTURE_DATA(hostnmi) *self, u64 more)
{
	u64 until = __atomic_load_n(&self->exits, __ATOMIC_SEQ_CST) + more;

	while (__atomic_load_n(&self->exits, __ATOMIC_SEQ_CST) < until)
		usleep(1000);
}

/* CR4 as an NMI's handler found it on the CPU that this thread is not on, or 0: not shown */
static u64 shown_cr4(void)
{
	const char *cr4 = strstr(klog, " CR4: ");

	return cr4 ? strtoull(cr4 + 6, NULL, 16) : 0;
}

#define ROUNDS	10

static void flood(struct __test_metadata *_metadata, FIXTURE_DATA(hostnmi) *self)
{
	long before;
	int i;

	ASSERT_EQ(0, pthread_create(&self->thread, NULL, run_guest, self));
	wait_for_exits(self, 2);
	before = nmis_of(1);
	for (i = 0; i < ROUNDS; i++) {
		send_nmis();
		/* The kernel waits until each CPU has answered, or for ten seconds. */
		EXPECT_EQ(before + i + 1, nmis_of(1));
		EXPECT_EQ(NULL, strstr(klog, "Oops"));
		EXPECT_EQ(NULL, strstr(klog, "WARNING:"));
		/* It may never return: a crash stops the CPUs so. */
		EXPECT_EQ(0, shown_cr4() & CR4_VMXE);
		usleep(500 * (i % 5));
	}
	wait_for_exits(self, 2);
	__atomic_store_n(&self->stop, true, __ATOMIC_SEQ_CST);
	pthread_join(self->thread, NULL);
	/* None of them was the guest's. */
	EXPECT_EQ(0, guest_trap(self->vm)->count);
}

TEST_F_TIMEOUT(hostnmi, in_the_guest, 60)
{
	vcpu_load(self->vcpu, MODE_LONG, compute);
	flood(_metadata, self);
}

/* Interrupts that the guest has enabled are another matter than NMIs. */
TEST_F_TIMEOUT(hostnmi, in_the_guest_with_interrupts_on, 60)
{
	vcpu_load(self->vcpu, MODE_LONG, compute);
	self->vcpu->state.regs.rflags |= FLAG_IF;
	vcpu_set(self->vcpu, VMM_STATE_REGS);
	flood(_metadata, self);
}

TEST_F_TIMEOUT(hostnmi, on_the_way, 60)
{
	vcpu_load(self->vcpu, MODE_LONG, leave);
	flood(_metadata, self);
}

TEST_F_TIMEOUT(hostnmi, in_the_window, 60)
{
	vcpu_load(self->vcpu, MODE_LONG, identify);
	flood(_metadata, self);
}

/* Likewise, by an NMI of its own */
static u64 other_cr4(void)
{
	send_nmis();
	return shown_cr4();
}

/* VMX is off between windows, on a CPU that has run guests and on one that comes back. */
TEST_F_TIMEOUT(hostnmi, off_behind_it, 60)
{
	u64 cr4;
	int i;

	if (write_file(BACKTRACE_IDLE, "Y"))
		SKIP(return, "the kernel does not show idle CPUs' registers");
	vcpu_load(self->vcpu, MODE_LONG, leave);
	pin_to_cpu(1);
	for (i = 0; i < 10; i++)
		run_value(self->vcpu);
	pin_to_cpu(0);
	usleep(20000);
	cr4 = other_cr4();
	if (!cr4)
		SKIP(return, "the kernel does not show CR4");
	EXPECT_EQ(0, cr4 & CR4_VMXE);
	ASSERT_EQ(0, write_file("/sys/devices/system/cpu/cpu1/online", "0"));
	ASSERT_EQ(0, write_file("/sys/devices/system/cpu/cpu1/online", "1"));
	usleep(20000);
	EXPECT_EQ(cr4, other_cr4());
	pin_to_cpu(1);
	for (i = 0; i < 10; i++)
		run_value(self->vcpu);
	pin_to_cpu(0);
	usleep(20000);
	EXPECT_EQ(cr4, other_cr4());
}

TEST_HARNESS_MAIN
