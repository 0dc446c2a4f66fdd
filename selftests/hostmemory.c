// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory is ordinary memory of a process: transparent huge pages, hugetlb,
 * userfaultfd, KSM and compaction work as for any, under a running guest.
 */
/* also: intel-sandy_bridge intel-plain */
/* hosts: smp 6.12 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "pages.h"
#include "vmmtest.h"

#define HUGE	(2 * MIB)
#define BASE	0x800000		/* guest-physical; aligned as a huge page */

FIXTURE(hostmemory) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(hostmemory)
{
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(hostmemory)
{
	vm_destroy(self->vm);
}

/* Adds one to a doubleword in each page from BASE on, up to RBP, over and over */
GUEST_CODE(sweep, 64,
	   "1: mov $0x800000, %ebx\n"
	   "2: incl (%rbx); add $0x1000, %rbx; cmp %rbp, %rbx; jb 2b\n"
	   "incq DATA_GPA; jmp 1b\n");

static u8 *map_aligned(size_t bytes, size_t alignment)
{
	u8 *mem = map_memory(bytes + alignment);

	return (u8 *)(((uintptr_t)mem + alignment - 1) & ~(alignment - 1));
}

/* ---- huge pages ---- */

static long huge_kib(const void *mem)
{
	char line[256];
	bool inside = false;
	long kib = -1;
	FILE *f = fopen("/proc/self/smaps", "r");

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (uintptr_t)mem >= from && (uintptr_t)mem < to;
		else if (inside && sscanf(line, "AnonHugePages: %ld", &kib) == 1)
			break;
	}
	if (f)
		fclose(f);
	return kib;
}

TEST_F(hostmemory, transparent_huge_pages)
{
	u8 *mem = map_aligned(2 * HUGE, HUGE);
	u32 i;

	ASSERT_EQ(0, madvise(mem, 2 * HUGE, MADV_HUGEPAGE));
	mem[0] = 0;
	mem[HUGE] = 0;
	if (huge_kib(mem) < 4096)
		SKIP(return, "no transparent huge pages here");
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, 2 * HUGE, mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	for (i = 0; i < 2 * HUGE / PAGE; i += 37)
		EXPECT_EQ(1, guest_does(self->vcpu, BASE + i * PAGE));
	/* One small page of it goes, and the huge page is split; the rest stays. */
	ASSERT_EQ(0, madvise(mem + 37 * PAGE, PAGE, MADV_DONTNEED));
	EXPECT_EQ(1, guest_does(self->vcpu, BASE + 37 * PAGE));
	EXPECT_EQ(2, guest_does(self->vcpu, BASE + 74 * PAGE));
	EXPECT_EQ(2, guest_does(self->vcpu, BASE));
	/* All of it goes at once. */
	ASSERT_EQ(0, madvise(mem, HUGE, MADV_DONTNEED));
	EXPECT_EQ(1, guest_does(self->vcpu, BASE + 74 * PAGE));
}

/* A slot that is not aligned as the host's huge page is */
TEST_F(hostmemory, huge_pages_out_of_step)
{
	u8 *mem = map_aligned(2 * HUGE, HUGE);
	u32 i;

	ASSERT_EQ(0, madvise(mem, 2 * HUGE, MADV_HUGEPAGE));
	for (i = 0; i < 2 * HUGE / PAGE; i++)
		*(u32 *)(mem + i * PAGE) = 1000 + i;
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, HUGE, mem + 5 * PAGE, 0));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	for (i = 0; i < HUGE / PAGE; i += 29)
		EXPECT_EQ(1000 + i + 6, guest_does(self->vcpu, BASE + i * PAGE));
	for (i = 0; i < HUGE / PAGE; i++)
		EXPECT_EQ(1000 + i + 5 + !(i % 29), *(u32 *)(mem + (i + 5) * PAGE));
}

/*
 * The host asks which pages the guest has used: khugepaged gets a huge page for a range where
 * someone has used one, and leaves all others alone. (Then it unmaps the range, asks again, and
 * gives up: nobody has used it since.)
 */
#define THP(file) "/sys/kernel/mm/transparent_hugepage/" file

static long collapses(void)
{
	return host_counter("/proc/vmstat", "thp_collapse_alloc");
}

static void wait_for_scans(long scans)
{
	long end = read_number(THP("khugepaged/full_scans")) + scans;
	u32 waited = 0;

	while (read_number(THP("khugepaged/full_scans")) < end && waited++ < 500)
		usleep(20000);
}

TEST_F_TIMEOUT(hostmemory, used_by_the_guest, 60)
{
	u8 *mem = map_aligned(2 * HUGE, HUGE);
	u32 i, waited = 0;
	long before;

	if (madvise(mem, 2 * HUGE, MADV_NOHUGEPAGE))
		SKIP(return, "no transparent huge pages here");
	if (collapses() < 0)
		SKIP(return, "this kernel does not count the huge pages that khugepaged gets");
	for (i = 0; i < 2 * HUGE / PAGE; i++)
		*(u32 *)(mem + i * PAGE) = i;
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, 2 * HUGE, mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	for (i = 0; i < HUGE / PAGE; i += 16)
		EXPECT_EQ(i + 1, guest_does(self->vcpu, BASE + i * PAGE));
	/* The process itself has used nothing since. */
	if (write_file("/proc/self/clear_refs", "1"))
		SKIP(return, "no clear_refs here");
	write_file(THP("enabled"), "madvise");
	write_file(THP("khugepaged/scan_sleep_millisecs"), "1");
	write_file(THP("khugepaged/pages_to_scan"), "8192");

	before = collapses();
	ASSERT_EQ(0, madvise(mem + HUGE, HUGE, MADV_HUGEPAGE));
	wait_for_scans(2);
	EXPECT_EQ(before, collapses());
	ASSERT_EQ(0, madvise(mem, HUGE, MADV_HUGEPAGE));
	while (collapses() == before && waited++ < 500)
		usleep(20000);
	EXPECT_LT(before, collapses());

	write_file(THP("khugepaged/scan_sleep_millisecs"), "10000");
	write_file(THP("khugepaged/pages_to_scan"), "4096");
	write_file(THP("enabled"), "always");
	for (i = 0; i < HUGE / PAGE; i += 16)
		EXPECT_EQ(i + 2, guest_does(self->vcpu, BASE + i * PAGE));
}

TEST_F(hostmemory, hugetlb)
{
	const char *pool = "/proc/sys/vm/nr_hugepages";
	u8 *mem;
	u32 i;

	write_file(pool, "4");
	mem = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (mem == MAP_FAILED)
		SKIP(return, "no hugetlb pages here: %s", strerror(errno));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, 2 * HUGE, mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	for (i = 0; i < 2 * HUGE / PAGE; i += 53)
		EXPECT_EQ(1, guest_does(self->vcpu, BASE + i * PAGE));
	for (i = 0; i < 2 * HUGE / PAGE; i++)
		EXPECT_EQ(!(i % 53), *(u32 *)(mem + i * PAGE));
	ASSERT_EQ(0, munmap(mem, 2 * HUGE));
	/* The pool takes them back at once: the VM holds none. */
	write_file(pool, "0");
	EXPECT_EQ(0, read_number(pool));
}

/* ---- userfaultfd ---- */

struct server {
	int uffd;
	u8 *mem;
	u32 served;
	bool interrupted;
	bool late;
};

/*
 * The last page comes when a signal has ended the wait for it; where none can (before 6.2), and
 * where it should have and did not, by itself.
 */
static void keep_waiting(struct server *s)
{
	u64 end = now_ns() + (kernel_at_least(6, 2) ? 8000000000ULL : 1000000000ULL);

	while (!__atomic_load_n(&s->interrupted, __ATOMIC_SEQ_CST)) {
		if (now_ns() > end) {
			__atomic_store_n(&s->late, true, __ATOMIC_SEQ_CST);
			return;
		}
		usleep(1000);
	}
}

/*
 * Fills each page that is missed with its number. All that is counted here is counted before the
 * copy, which lets the guest go on.
 */
static void *serve(void *arg)
{
	struct server *s = arg;
	u32 *page = map_memory(PAGE);
	struct uffd_msg msg;

	while (read(s->uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		u64 at = msg.arg.pagefault.address & ~(PAGE - 1);
		struct uffdio_copy copy = {
			.dst = at, .src = (uintptr_t)page, .len = PAGE,
		};

		page[0] = 500 + (at - (uintptr_t)s->mem) / PAGE;
		if (page[0] == 515)
			keep_waiting(s);
		__atomic_add_fetch(&s->served, 1, __ATOMIC_SEQ_CST);
		if (ioctl(s->uffd, UFFDIO_COPY, &copy))
			fail("UFFDIO_COPY: %s", strerror(errno));
		if (page[0] == 515)
			break;
	}
	return NULL;
}

static void on_alarm(int sig)
{
}

TEST_F(hostmemory, userfaultfd)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval often = { { 0, 200000 }, { 0, 200000 } }, never = { };
	struct uffdio_api api = { .api = UFFD_API };
	struct server s = { .mem = map_memory(16 * PAGE) };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)s.mem, .len = 16 * PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	pthread_t thread;
	u32 i;

	s.uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (s.uffd < 0)
		SKIP(return, "no userfaultfd here: %s", strerror(errno));
	ASSERT_EQ(0, ioctl(s.uffd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(s.uffd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, pthread_create(&thread, NULL, serve, &s));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, 16 * PAGE, s.mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	for (i = 0; i < 15; i++)
		EXPECT_EQ(501 + i, guest_does(self->vcpu, BASE + i * PAGE));
	EXPECT_EQ(15, __atomic_load_n(&s.served, __ATOMIC_SEQ_CST));
	/*
	 * A signal ends the wait for a page that does not come, where the kernel lets one wait so
	 * (since 6.2); nothing is lost.
	 */
	run_until(self->vcpu, VMM_EXIT_IO)->io.data = BASE + 15 * PAGE;
	sigaction(SIGALRM, &action, NULL);
	/* Again and again: one that comes before the run is over then. */
	setitimer(ITIMER_REAL, &often, NULL);
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	if (kernel_at_least(6, 2))
		EXPECT_FALSE(__atomic_load_n(&s.late, __ATOMIC_SEQ_CST));
	setitimer(ITIMER_REAL, &never, NULL);
	__atomic_store_n(&s.interrupted, true, __ATOMIC_SEQ_CST);
	EXPECT_EQ(516, run_value(self->vcpu));
	pthread_join(thread, NULL);
	EXPECT_EQ(16, s.served);
	close(s.uffd);
}

#define SYSTEM_TIME	0x4b564d01

static void *run_once(void *arg)
{
	run_until(arg, VMM_EXIT_IO);
	return NULL;
}

struct slot_change {
	struct vm *vm;
	u8 *mem;
};

static int change_slot(void *arg)
{
	struct slot_change *change = arg;

	_exit(vm_set_slot(change->vm, 1, BASE, 16 * PAGE, change->mem,
			  VMM_MEM_LOG_DIRTY | VMM_MEM_READONLY));
}

/* Is it gone after @seconds at the latest? */
static bool has_ended(pid_t pid, int *status, unsigned int seconds)
{
	u64 end = now_ns() + seconds * host_slower() * 1000000000ULL;

	while (waitpid(pid, status, WNOHANG) != pid) {
		if (now_ns() > end)
			return false;
		usleep(1000);
	}
	return true;
}

/*
 * Who changes a slot waits for a write of the module's to what it was, and can be killed while that
 * waits for its page. The slot is changed then, and the write comes to its end, log included.
 */
TEST_F(hostmemory, killed_while_a_write_waits)
{
	struct uffdio_api api = {
		.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	struct slot_change change = { .vm = self->vm, .mem = map_memory(16 * PAGE) };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)change.mem, .len = 16 * PAGE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect protect = {
		.range = reg.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	u8 *stack = map_memory(64 * KIB);
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffd_msg msg;
	pthread_t thread;
	int status = 0;
	pid_t child;
	bool ended;

	if (uffd < 0)
		SKIP(return, "no userfaultfd here: %s", strerror(errno));
	if (ioctl(uffd, UFFDIO_API, &api))
		SKIP(return, "no such userfaultfd here: %s", strerror(errno));
	memset(change.mem, 0, 16 * PAGE);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_WRITEPROTECT, &protect));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, 16 * PAGE, change.mem, VMM_MEM_LOG_DIRTY));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	/* The clock's page is written to before the guest is entered. */
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, SYSTEM_TIME, BASE | 1));
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_once, self->vcpu));
	ASSERT_EQ(sizeof(msg), read(uffd, &msg, sizeof(msg)));
	EXPECT_EQ((uintptr_t)change.mem, msg.arg.pagefault.address & ~(PAGE - 1));

	/* A process of its own, or the same signal would end the write as well. */
	child = clone(change_slot, stack + 64 * KIB, CLONE_VM | SIGCHLD, &change);
	ASSERT_LT(0, child);
	wait_until_stuck(child);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ended = has_ended(child, &status, 5);
	EXPECT_TRUE(ended);
	if (ended) {
		EXPECT_TRUE(WIFSIGNALED(status));
		/* Nothing holds the next one up, and with it the log goes from the VM. */
		EXPECT_EQ(0, vm_set_slot(self->vm, 1, 0, 0, NULL, 0));
	}
	protect.mode = 0;
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_WRITEPROTECT, &protect));
	pthread_join(thread, NULL);
	if (!ended)
		waitpid(child, &status, 0);
	/* The clock's version: it was written. */
	EXPECT_NE(0, *(volatile u32 *)change.mem);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_UNREGISTER, &reg.range));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, 16 * PAGE, change.mem, 0));
	/* The guest has asked for a page meanwhile. */
	self->vcpu->run->exit.io.data = BASE + PAGE;
	EXPECT_EQ(1, run_value(self->vcpu));
	close(uffd);
}

static struct vmm_dirty dirty_for_nobody;

static void *get_dirty_of_slot_1(void *arg)
{
	do_ioctl(((struct vm *)arg)->fd, VMM_GET_DIRTY, &dirty_for_nobody);
	return NULL;
}

/* A process of its own with our memory */
static int reset_rings(void *vm)
{
	syscall(SYS_ioctl, ((struct vm *)vm)->fd, VMM_RESET_RINGS, NULL);
	return 0;
}

/* One call waits for a page that does not come. Who waits for that call can be killed. */
TEST_F(hostmemory, killed_behind_a_page_that_does_not_come)
{
	struct uffdio_api api = { .api = UFFD_API };
	u8 *page = map_memory(PAGE), *stack = map_memory(16 * PAGE);
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)page, .len = PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_zeropage zero = { .range = reg.range };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), status = 0;
	struct pollfd missed = { .fd = uffd, .events = POLLIN };
	pthread_t thread;
	pid_t child;
	bool ended;

	if (uffd < 0)
		SKIP(return, "no userfaultfd here: %s", strerror(errno));
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, 16 * PAGE, map_memory(16 * PAGE),
				 VMM_MEM_LOG_DIRTY));
	dirty_for_nobody = (struct vmm_dirty){
		.size = sizeof(dirty_for_nobody), .slot = 1, .pages = 16,
		.bitmap = (uintptr_t)page,
	};
	ASSERT_EQ(0, pthread_create(&thread, NULL, get_dirty_of_slot_1, self->vm));
	ASSERT_EQ(1, poll(&missed, 1, 10000));
	ASSERT_EQ(POLLIN, missed.revents);

	child = clone(reset_rings, stack + 16 * PAGE, CLONE_VM | SIGCHLD, self->vm);
	ASSERT_LT(0, child);
	wait_until_stuck(child);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ended = has_ended(child, &status, 5);
	EXPECT_TRUE(ended && WIFSIGNALED(status));

	ASSERT_EQ(0, ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	pthread_join(thread, NULL);
	if (!ended)
		waitpid(child, &status, 0);
	close(uffd);
}

/* ---- KSM ---- */

#define KSM(file) "/sys/kernel/mm/ksm/" file

TEST_F_TIMEOUT(hostmemory, same_page_merging, 60)
{
	u8 *mem = map_memory(64 * PAGE);
	u32 i, waited = 0;

	memset(mem, 0x5a, 64 * PAGE);
	if (madvise(mem, 64 * PAGE, MADV_MERGEABLE))
		SKIP(return, "no KSM here: %s", strerror(errno));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, 64 * PAGE, mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	/* Mapped by the guest for writing, then made equal again */
	for (i = 0; i < 64; i++) {
		EXPECT_EQ(0x5a5a5a5b, guest_does(self->vcpu, BASE + i * PAGE));
		*(u32 *)(mem + i * PAGE) = 0x5a5a5a5a;
	}
	write_file(KSM("pages_to_scan"), "1000");
	write_file(KSM("sleep_millisecs"), "1");
	write_file(KSM("run"), "1");
	while (read_number(KSM("pages_sharing")) < 32 && waited++ < 400)
		usleep(20000);
	EXPECT_GE(read_number(KSM("pages_sharing")), 32);
	/* What the guest writes now is its own page's again, and no other's. */
	for (i = 0; i < 64; i += 2)
		EXPECT_EQ(0x5a5a5a5b, guest_does(self->vcpu, BASE + i * PAGE));
	for (i = 0; i < 64; i++)
		EXPECT_EQ(i & 1 ? 0x5a5a5a5a : 0x5a5a5a5b, *(u32 *)(mem + i * PAGE));
	write_file(KSM("run"), "2");
}

/* ---- compaction ---- */

/*
 * An emulated host compacts slowly, and holds up whoever faults meanwhile: go on until the guest
 * has got somewhere.
 */
static void *compact(void *arg)
{
	struct vcpu *vcpu = arg;
	u64 end = now_ns() + 20000000000ULL;
	int i;

	for (i = 0; now_ns() < end; i++) {
		if (i >= 5 && guest_u64(vcpu->vm, DATA_GPA) >= 20)
			break;
		write_file("/proc/sys/vm/compact_memory", "1");
	}
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	do_ioctl(vcpu->fd, VMM_KICK, NULL);
	return NULL;
}

/* Pages move from frame to frame while the guest counts in each of them. */
TEST_F_TIMEOUT(hostmemory, compaction, 60)
{
	long before = host_counter("/proc/vmstat", "pgmigrate_success");
	u32 pages = 2 * MIB / PAGE, i, first, last, count;
	u8 *mem = map_memory(2 * MIB);
	u64 sweeps;
	pthread_t thread;

	ASSERT_EQ(0, madvise(mem, 2 * MIB, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, 2 * MIB, mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, sweep);
	self->vcpu->state.regs.gpr[VMM_RBP] = BASE + 2 * MIB;
	vcpu_set(self->vcpu, VMM_STATE_REGS);
	guest_u64(self->vm, DATA_GPA) = 0;
	self->vcpu->timeout_ms = 40000;
	ASSERT_EQ(0, pthread_create(&thread, NULL, compact, self->vcpu));
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	pthread_join(thread, NULL);
	sweeps = guest_u64(self->vm, DATA_GPA);
	TH_LOG("%ld pages moved, %llu sweeps",
	       host_counter("/proc/vmstat", "pgmigrate_success") - before, sweeps);
	EXPECT_GE(sweeps, 20);

	/* The first pages may have been counted in once more than the last. */
	first = *(u32 *)mem;
	last = *(u32 *)(mem + (pages - 1) * PAGE);
	EXPECT_LE(first - last, 1);
	EXPECT_LE(last - sweeps, 1);
	for (i = 0; i < pages; i++) {
		count = *(u32 *)(mem + i * PAGE);
		EXPECT_TRUE(count == first || count == last) TH_LOG("page %u: %u", i, count);
	}
}

TEST_HARNESS_MAIN
