// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's own hypervisor as a neighbour: loaded before us or after, idle or with a guest, on
 * the same CPU or another; either goes while the other one's guest runs on. Each guest finds what
 * it has left, and the host its own registers.
 *
 * Where a CPU cannot be shared (EBUSY says so) there is nothing to test.
 */
/* hosts: kvm */
/* also: intel-kvm-6.12 */
/* timeout: 90 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define ROUNDS	20

/*
 * Fills memory with what only it knows, computes for longer than the host's scheduler lets it,
 * looks at what it has left in memory and registers, and makes a system call: the MSRs behind that
 * are those that hypervisors like to leave loaded for as long as the host stays in the kernel.
 *
 * %rdi: the secret, %r15: rounds, %r14: STAR's upper half, %r13: LSTAR, %r10: what the code there
 * leaves in %r8. OUT to PORT_DONE after each round; last, to PORT_VALUE the number of the check
 * that failed, or 0.
 */
GUEST_CODE(keep_apart, 64,
	   "mov $0xc0000080, %ecx; rdmsr; or $1, %eax; wrmsr\n"
	   "mov $0xc0000081, %ecx; xor %eax, %eax; mov %r14d, %edx; wrmsr\n"
	   "mov $0xc0000082, %ecx; mov %r13d, %eax; xor %edx, %edx; wrmsr\n"
	   "mov $0xc0000084, %ecx; xor %eax, %eax; wrmsr\n"
	   "mov $0xc0000102, %ecx; mov %edi, %eax; wrmsr\n"
	   "mov $0xc0000100, %ecx; mov %edi, %eax; wrmsr\n"
	   "movq %rdi, %xmm5; mov %rdi, %dr0\n"
	   "1: mov $0x100000, %ebx\n"
	   "2: mov %rdi, %rax; xor %rbx, %rax; mov %rax, (%rbx); add $0x1000, %ebx\n"
	   "cmp $0x120000, %ebx; jb 2b\n"
	   "out %eax, $PORT_DONE\n"
	   "mov $100000, %ecx; 3: dec %ecx; jnz 3b\n"
	   "mov $1, %ebp; mov $0x100000, %ebx\n"
	   "4: mov %rdi, %rax; xor %rbx, %rax; cmp %rax, (%rbx); jne 9f; add $0x1000, %ebx\n"
	   "cmp $0x120000, %ebx; jb 4b\n"
	   "mov $2, %ebp; movq %xmm5, %rax; cmp %rax, %rdi; jne 9f\n"
	   "mov $3, %ebp; mov %dr0, %rax; cmp %rax, %rdi; jne 9f\n"
	   "mov $4, %ebp; mov $0xc0000102, %ecx; rdmsr; cmp %eax, %edi; jne 9f\n"
	   "mov $5, %ebp; mov $0xc0000100, %ecx; rdmsr; cmp %eax, %edi; jne 9f\n"
	   "mov $6, %ebp; xor %r8d, %r8d; syscall; cmp %r8d, %r10d; jne 9f\n"
	   "mov $7, %ebp; mov %cs, %eax; cmp %ax, %r14w; jne 9f\n"
	   "dec %r15d; jnz 1b\n"
	   "xor %ebp, %ebp\n"
	   "9: mov %ebp, %eax; out %eax, $PORT_VALUE; jmp 9b\n"
	   ".globl at_one, at_two\n"
	   "at_one: mov $1, %r8d; jmp *%rcx\n"
	   "at_two: mov $2, %r8d; jmp *%rcx\n");
extern const u8 at_one[], at_two[];

#define OUR_SECRET	0x1111222233334444
#define THEIR_SECRET	0x5555666677778888
#define OUR_STAR	0x00230008
/* As Linux has it, so that it need not be changed for the guest */
#define THEIR_STAR	0x00230010

static const char *const checks[] = {
	"", "memory", "XMM5", "DR0", "KERNEL_GS_BASE", "FS_BASE", "LSTAR", "STAR",
};

static const char *check_name(u64 number)
{
	return number < ARRAY_SIZE(checks) ? checks[number] : "?";
}

/* ---- modules ---- */

static int unload(const char *name)
{
	int i;

	/* Files that a process had open are closed a moment after its end. */
	for (i = 0; i < 50; i++) {
		if (!syscall(SYS_delete_module, name, O_NONBLOCK))
			return 0;
		if (errno != EAGAIN && errno != EBUSY)
			break;
		usleep(20000);
	}
	return -errno;
}

static int load_kvm(void)
{
	return system("modprobe kvm_intel 2>/dev/null || modprobe kvm_amd 2>/dev/null");
}

static int unload_kvm(void)
{
	if (unload("kvm_intel") && unload("kvm_amd"))
		return -EBUSY;
	return unload("kvm");
}

/* ---- guests ---- */

/* A guest of either's; @kvm says whose */
struct guest {
	bool kvm;
	int cpu;
	u32 rounds;
	bool stop;
	u64 done;
	/* of ours */
	struct vcpu *vcpu;
	/* of KVM's */
	int vm_fd, vcpu_fd;
	struct kvm_run *run;
	size_t run_size;
	u8 *mem;
};

static void new_ours(struct guest *g, u32 rounds)
{
	struct vm *vm = vm_create(2 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u64 *gpr = vcpu->state.regs.gpr;

	vcpu_load(vcpu, MODE_LONG, keep_apart);
	gpr[VMM_RDI] = OUR_SECRET;
	gpr[VMM_R15] = rounds;
	gpr[VMM_R14] = OUR_STAR;
	gpr[VMM_R13] = CODE_GPA + (at_one - keep_apart);
	gpr[VMM_R10] = 1;
	vcpu_set(vcpu, VMM_STATE_REGS);
	*g = (struct guest){ .vcpu = vcpu, .rounds = rounds, .cpu = -1 };
}

static void kvm_ioctl(int fd, unsigned long request, void *arg, const char *what)
{
	if (ioctl(fd, request, arg) < 0)
		fail("%s: %s", what, strerror(errno));
}

#define KVM_DO(fd, request, arg)	kvm_ioctl(fd, request, arg, #request)

static struct kvm_segment segment(u16 selector, u8 type, bool code)
{
	return (struct kvm_segment){
		.selector = selector, .limit = ~0u, .type = type, .present = 1, .s = 1,
		.l = code, .db = !code, .g = 1,
	};
}

static void set_registers(struct guest *g, u32 rounds)
{
	struct kvm_regs regs = {
		.rip = CODE_GPA, .rsp = STACK_TOP, .rflags = 2, .rdi = THEIR_SECRET,
		.r15 = rounds, .r14 = THEIR_STAR, .r13 = CODE_GPA + (at_two - keep_apart), .r10 = 2,
	};
	struct kvm_sregs sregs;

	KVM_DO(g->vcpu_fd, KVM_GET_SREGS, &sregs);
	sregs.cs = segment(0x10, 0xb, true);
	sregs.ss = segment(0x18, 0x3, false);
	sregs.ds = sregs.ss;
	sregs.es = sregs.ss;
	sregs.fs = sregs.ss;
	sregs.gs = sregs.ss;
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	sregs.cr3 = TABLES_GPA;
	sregs.cr4 = CR4_PAE | CR4_OSFXSR;
	sregs.efer = EFER_LME | EFER_LMA;
	KVM_DO(g->vcpu_fd, KVM_SET_SREGS, &sregs);
	KVM_DO(g->vcpu_fd, KVM_SET_REGS, &regs);
}

static void set_cpuid(struct guest *g, int kvm)
{
	const u32 max = 256;
	struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + max * sizeof(table->entries[0]));

	table->nent = max;
	KVM_DO(kvm, KVM_GET_SUPPORTED_CPUID, table);
	KVM_DO(g->vcpu_fd, KVM_SET_CPUID2, table);
	free(table);
}

/* 0, or a negative errno where there can be no VM of KVM's */
static int new_theirs(struct guest *g, u32 rounds)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), ret;
	struct kvm_userspace_memory_region region = { .memory_size = 2 * MIB };
	u64 *tables;

	if (kvm < 0)
		return -errno;
	*g = (struct guest){ .kvm = true, .rounds = rounds, .cpu = -1 };
	g->vm_fd = ioctl(kvm, KVM_CREATE_VM, 0);
	if (g->vm_fd < 0) {
		ret = -errno;
		close(kvm);
		return ret;
	}
	g->mem = map_memory(2 * MIB);
	/* The first 2 MiB, one to one */
	tables = (u64 *)(g->mem + TABLES_GPA);
	tables[0] = (TABLES_GPA + PAGE) | PTE_P | PTE_RW;
	tables[512] = (TABLES_GPA + 2 * PAGE) | PTE_P | PTE_RW;
	tables[1024] = PTE_P | PTE_RW | PTE_PS;
	memcpy(g->mem + CODE_GPA, keep_apart, code_size(keep_apart));
	region.userspace_addr = (uintptr_t)g->mem;
	KVM_DO(g->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
	g->vcpu_fd = ioctl(g->vm_fd, KVM_CREATE_VCPU, 0);
	if (g->vcpu_fd < 0)
		fail("KVM_CREATE_VCPU: %s", strerror(errno));
	g->run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	g->run = mmap(NULL, g->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu_fd, 0);
	if (g->run == MAP_FAILED)
		fail("mmap of KVM's vCPU");
	set_cpuid(g, kvm);
	set_registers(g, rounds);
	close(kvm);
	return 0;
}

static void end_guest(struct guest *g)
{
	if (!g->kvm) {
		vm_destroy(g->vcpu->vm);
		return;
	}
	munmap(g->run, g->run_size);
	close(g->vcpu_fd);
	close(g->vm_fd);
	munmap(g->mem, 2 * MIB);
}

/* Its next OUT: the port, and the value */
static u16 next_out(struct guest *g, u32 *value)
{
	if (!g->kvm) {
		struct vmm_exit *e = run_until(g->vcpu, VMM_EXIT_IO);

		*value = e->io.data;
		return e->io.port;
	}
	while (ioctl(g->vcpu_fd, KVM_RUN, 0))
		if (errno != EINTR)
			fail("KVM_RUN: %s", strerror(errno));
	if (g->run->exit_reason != KVM_EXIT_IO)
		fail("KVM left with reason %u (%#llx)", g->run->exit_reason,
		     g->run->hw.hardware_exit_reason);
	*value = *(u32 *)((u8 *)g->run + g->run->io.data_offset);
	return g->run->io.port;
}

/* One round; false behind the last. */
static bool one_round(struct guest *g)
{
	u32 value;

	if (next_out(g, &value) == PORT_DONE) {
		__atomic_add_fetch(&g->done, 1, __ATOMIC_SEQ_CST);
		return true;
	}
	if (value)
		fail("%s guest has lost its %s after %llu rounds", g->kvm ? "KVM's" : "our",
		     check_name(value), g->done);
	return false;
}

static void all_rounds(struct __test_metadata *_metadata, struct guest *g)
{
	while (one_round(g))
		;
	EXPECT_EQ(g->rounds, g->done);
}

static void *run_guest(void *arg)
{
	struct guest *g = arg;

	if (g->cpu >= 0 && pin_to_cpu(g->cpu))
		fail("no CPU %d", g->cpu);
	while (!__atomic_load_n(&g->stop, __ATOMIC_SEQ_CST) && one_round(g))
		;
	return NULL;
}

static void wait_rounds(struct guest *g, u64 more)
{
	u64 until = __atomic_load_n(&g->done, __ATOMIC_SEQ_CST) + more;

	while (__atomic_load_n(&g->done, __ATOMIC_SEQ_CST) < until)
		usleep(1000);
}

/* ---- the tests ---- */

#define NR_MSRS	4
static const u32 msrs[NR_MSRS] = { 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084 };

FIXTURE(neighbour) {
	u64 msrs[2][NR_MSRS];
	bool has_msrs;
	int mark;
};

FIXTURE_SETUP(neighbour)
{
	sigset_t set;
	int cpu, i;

	/* system() would have it sent to another thread. */
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	unload_kvm();
	unload("vmm");
	if (host_cpus() < 2)
		SKIP(return, "needs two CPUs");
	self->mark = host_log_mark();
	self->has_msrs = true;
	for (cpu = 0; cpu < 2; cpu++)
		for (i = 0; i < NR_MSRS; i++)
			if (host_msr(cpu, msrs[i], &self->msrs[cpu][i]))
				self->has_msrs = false;
}

FIXTURE_TEARDOWN(neighbour)
{
	u64 now;
	int cpu, i;

	for (cpu = 0; cpu < 2 && self->has_msrs; cpu++)
		for (i = 0; i < NR_MSRS; i++) {
			EXPECT_EQ(0, host_msr(cpu, msrs[i], &now));
			EXPECT_EQ(self->msrs[cpu][i], now)
				TH_LOG("MSR %#x of CPU %d", msrs[i], cpu);
		}
	unload_kvm();
	unload("vmm");
}

#define NOT_SHARED	"KVM and this module cannot share this CPU"

#define need_kvm()								\
	do {									\
		if (load_kvm())							\
			SKIP(return, "no KVM on this host");			\
	} while (0)

#define need_vmm()								\
	do {									\
		int error = host_load_vmm();						\
										\
		if (error == -EBUSY)						\
			SKIP(return, NOT_SHARED);				\
		ASSERT_EQ(0, error);						\
	} while (0)

#define need_theirs(g, rounds)							\
	do {									\
		int error = new_theirs(g, rounds);				\
										\
		if (error == -EBUSY)						\
			SKIP(return, NOT_SHARED);				\
		ASSERT_EQ(0, error);						\
	} while (0)

/* KVM without a VM, then with one that is idle, then with one that has run */
TEST_F_TIMEOUT(neighbour, idle, 300)
{
	struct guest ours, theirs;

	need_kvm();
	need_vmm();
	pin_to_cpu(0);
	new_ours(&ours, 2);
	all_rounds(_metadata, &ours);
	end_guest(&ours);

	need_theirs(&theirs, 3);
	new_ours(&ours, 3);
	EXPECT_TRUE(one_round(&ours));
	EXPECT_TRUE(one_round(&theirs));
	EXPECT_TRUE(one_round(&ours));
	all_rounds(_metadata, &theirs);
	end_guest(&theirs);
	all_rounds(_metadata, &ours);
	end_guest(&ours);
}

static void side_by_side(struct __test_metadata *_metadata, int our_cpu, int their_cpu)
{
	struct guest ours, theirs;
	pthread_t threads[2];

	need_theirs(&theirs, ROUNDS);
	new_ours(&ours, ROUNDS);
	ours.cpu = our_cpu;
	theirs.cpu = their_cpu;
	ASSERT_EQ(0, pthread_create(&threads[0], NULL, run_guest, &ours));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, run_guest, &theirs));
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	EXPECT_EQ(ROUNDS, ours.done);
	EXPECT_EQ(ROUNDS, theirs.done);
	end_guest(&ours);
	end_guest(&theirs);
}

TEST_F_TIMEOUT(neighbour, on_one_cpu, 300)
{
	need_kvm();
	need_vmm();
	side_by_side(_metadata, 0, 0);
}

TEST_F_TIMEOUT(neighbour, on_two_cpus, 300)
{
	need_vmm();
	need_kvm();
	side_by_side(_metadata, 0, 1);
	side_by_side(_metadata, 1, 0);
}

TEST_F_TIMEOUT(neighbour, anywhere, 300)
{
	need_vmm();
	need_kvm();
	side_by_side(_metadata, -1, -1);
}

/*
 * KVM comes, runs and goes while our guest runs. What KVM takes for the host's registers when it
 * comes must be the host's.
 */
TEST_F_TIMEOUT(neighbour, kvm_comes_and_goes, 300)
{
	struct guest ours, theirs;
	pthread_t thread;
	int i;

	need_vmm();
	new_ours(&ours, ~0u);
	ours.cpu = 0;
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_guest, &ours));
	for (i = 0; i < 2; i++) {
		need_kvm();
		wait_rounds(&ours, 1);
		pin_to_cpu(1);
		need_theirs(&theirs, 3);
		EXPECT_TRUE(one_round(&theirs));
		wait_rounds(&ours, 1);
		pin_to_cpu(0);
		all_rounds(_metadata, &theirs);
		end_guest(&theirs);
		wait_rounds(&ours, 1);
		EXPECT_EQ(0, unload_kvm());
		wait_rounds(&ours, 1);
	}
	__atomic_store_n(&ours.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	end_guest(&ours);
}

/* And the other way round */
TEST_F_TIMEOUT(neighbour, we_come_and_go, 300)
{
	struct guest ours, theirs;
	pthread_t thread;
	int i;

	need_kvm();
	need_theirs(&theirs, ~0u);
	theirs.cpu = 0;
	pin_to_cpu(1);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_guest, &theirs));
	for (i = 0; i < 2; i++) {
		int error = host_load_vmm();

		if (error == -EBUSY)
			break;
		ASSERT_EQ(0, error);
		wait_rounds(&theirs, 1);
		new_ours(&ours, 3);
		pin_to_cpu(1);
		EXPECT_TRUE(one_round(&ours));
		pin_to_cpu(0);
		all_rounds(_metadata, &ours);
		end_guest(&ours);
		EXPECT_EQ(0, unload("vmm"));
		wait_rounds(&theirs, 1);
	}
	__atomic_store_n(&theirs.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	end_guest(&theirs);
	if (i < 2)
		SKIP(return, NOT_SHARED);
}

/* The CPU goes away under both. */
TEST_F_TIMEOUT(neighbour, hotplug, 300)
{
	struct guest ours, theirs;
	pthread_t threads[2];

	need_kvm();
	need_vmm();
	need_theirs(&theirs, ~0u);
	new_ours(&ours, ~0u);
	ours.cpu = 1;
	theirs.cpu = 1;
	ASSERT_EQ(0, pthread_create(&threads[0], NULL, run_guest, &ours));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, run_guest, &theirs));
	wait_rounds(&ours, 1);
	wait_rounds(&theirs, 1);
	EXPECT_EQ(0, write_file("/sys/devices/system/cpu/cpu1/online", "0"));
	wait_rounds(&ours, 1);
	wait_rounds(&theirs, 1);
	EXPECT_EQ(0, write_file("/sys/devices/system/cpu/cpu1/online", "1"));
	wait_rounds(&ours, 1);
	wait_rounds(&theirs, 1);
	__atomic_store_n(&ours.stop, true, __ATOMIC_SEQ_CST);
	__atomic_store_n(&theirs.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	end_guest(&ours);
	end_guest(&theirs);
}

TEST_HARNESS_MAIN
