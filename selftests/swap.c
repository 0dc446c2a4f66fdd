// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory that goes out and comes back: to swap, to the disk of a file, under a
 * running guest too. What a guest wrote is never lost.
 */
/* also: intel-sandy_bridge */
/* hosts: smp 6.12 */
/* timeout: 120 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/swap.h>

#include "kselftest_harness.h"
#include "remote.h"

#define BASE	0x800000		/* guest-physical; aligned as a huge page */
#define PAGES	256
#define BYTES	(PAGES * PAGE)

FIXTURE(swap) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(swap)
{
	if (!host_swap())
		SKIP(return, "no swap here: %s", strerror(errno));
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(swap)
{
	if (self->vm)
		vm_destroy(self->vm);
}

/*
 * Writes RDI plus the page's address into each page from BASE on, up to RBP, every RSI bytes,
 * and says so.
 */
GUEST_CODE(fill, 64,
	   "mov $0x800000, %ebx\n"
	   "1: lea (%rdi, %rbx), %eax; mov %eax, (%rbx); add %rsi, %rbx; cmp %rbp, %rbx; jb 1b\n"
	   "out %al, $PORT_DONE\n");

/* Adds up what is in them, and says the sum. */
GUEST_CODE(sum, 64,
	   "mov $0x800000, %ebx; xor %eax, %eax\n"
	   "1: add (%rbx), %eax; add %rsi, %rbx; cmp %rbp, %rbx; jb 1b\n"
	   "out %eax, $PORT_VALUE\n");

static void set_sweep(struct vcpu *vcpu, u32 secret, u64 step)
{
	vcpu->state.regs.gpr[VMM_RDI] = secret;
	vcpu->state.regs.gpr[VMM_RSI] = step;
	vcpu->state.regs.gpr[VMM_RBP] = BASE + BYTES;
	vcpu_set(vcpu, VMM_STATE_REGS);
}

static void guest_fills(struct vcpu *vcpu, u32 secret, u64 step)
{
	vcpu_load(vcpu, MODE_LONG, fill);
	set_sweep(vcpu, secret, step);
	run_done(vcpu);
}

static u32 guest_sum(struct vcpu *vcpu, u64 step)
{
	vcpu_load(vcpu, MODE_LONG, sum);
	set_sweep(vcpu, 0, step);
	return run_value(vcpu);
}

/* That of pages filled with @secret */
static u32 sum_of(u32 secret, u64 step)
{
	u32 sum = 0;
	u64 at;

	for (at = BASE; at < BASE + BYTES; at += step)
		sum += secret + at;
	return sum;
}

static u32 *word(u8 *mem, u32 page)
{
	return (u32 *)(mem + page * PAGE);
}

/*
 * Out with it; how many of the pages are then not here any more. Before 6.9 the first call takes no
 * pages that were used lately, which the guest's use counts for.
 */
static u32 page_out(u8 *mem)
{
	u32 i, try, gone = 0;

	for (try = 0; try < 3; try++)
		if (madvise(mem, BYTES, MADV_PAGEOUT))
			fail("MADV_PAGEOUT: %s", strerror(errno));
	for (i = 0; i < PAGES; i++)
		gone += page_place(mem + i * PAGE) != PAGE_PRESENT;
	return gone;
}

static u8 *small_pages(void)
{
	u8 *mem = map_memory(BYTES);

	madvise(mem, BYTES, MADV_NOHUGEPAGE);
	return mem;
}

TEST_F(swap, out_and_in)
{
	u8 *mem = small_pages();
	u32 i, round;

	/* What waits in another CPU's batch to get onto the LRU lists, up to 31 pages, stays. */
	ASSERT_EQ(0, pin_to_cpu(0));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, BYTES, mem, 0));
	for (round = 1; round <= 3; round++) {
		u32 secret = round * 0x01010000;

		guest_fills(self->vcpu, secret, PAGE);
		EXPECT_GE(page_out(mem), PAGES * 9 / 10);
		EXPECT_EQ(PAGE_SWAPPED, page_place(mem + 8 * PAGE));
		/* Read back, they have a copy in swap that is as good. */
		EXPECT_EQ(sum_of(secret, PAGE), guest_sum(self->vcpu, PAGE));
		/* But once the guest has written again, that copy is old. */
		guest_fills(self->vcpu, secret + 0x77, 2 * PAGE);
		page_out(mem);
		for (i = 0; i < PAGES; i++)
			EXPECT_EQ(secret + BASE + i * PAGE + (i % 2 ? 0 : 0x77), *word(mem, i));
	}
}

/* The pages of a memfd and of shared anonymous memory go to swap as well. */
TEST_F(swap, shared_memory)
{
	int fd = memfd_create("guest memory", MFD_CLOEXEC);
	u8 *mem;

	ASSERT_EQ(0, ftruncate(fd, BYTES));
	mem = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, pin_to_cpu(0));
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, BYTES, mem, 0));
	guest_fills(self->vcpu, 0x5000000, PAGE);
	EXPECT_GE(page_out(mem), PAGES * 9 / 10);
	EXPECT_EQ(sum_of(0x5000000, PAGE), guest_sum(self->vcpu, PAGE));
	guest_fills(self->vcpu, 0x6000000, PAGE);
	EXPECT_GE(page_out(mem), PAGES * 9 / 10);
	EXPECT_EQ(sum_of(0x6000000, PAGE), guest_sum(self->vcpu, PAGE));
	close(fd);
}

/*
 * MADV_FREE: pages may go without being written out, unless they are written after the call. So
 * the guest's mappings must not be writable beyond it, or its writes would be lost.
 */
TEST_F(swap, freed)
{
	u8 *mem = small_pages();
	u32 i, lost = 0;

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, BYTES, mem, 0));
	guest_fills(self->vcpu, 0x1000000, PAGE);
	ASSERT_EQ(0, madvise(mem, BYTES, MADV_FREE));
	EXPECT_EQ(sum_of(0x1000000, PAGE), guest_sum(self->vcpu, PAGE));
	guest_fills(self->vcpu, 0x2000000, 2 * PAGE);
	page_out(mem);
	for (i = 0; i < PAGES; i++) {
		u32 value = *word(mem, i);

		if (i % 2 && !value) {
			lost++;
			continue;
		}
		EXPECT_EQ((i % 2 ? 0x1000000 : 0x2000000) + BASE + i * PAGE, value);
	}
	TH_LOG("%u of %u pages went for good", lost, PAGES / 2);
	EXPECT_GT(lost, PAGES / 4);
}

/* swapoff brings all of it back, each page to its place. */
TEST_F(swap, turned_off)
{
	u8 *mem = small_pages();
	u32 i;

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, BYTES, mem, 0));
	guest_fills(self->vcpu, 0x3000000, PAGE);
	EXPECT_GE(page_out(mem), PAGES * 9 / 10);
	ASSERT_EQ(0, swapoff("/dev/zram0"));
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(PAGE_PRESENT, page_place(mem + i * PAGE));
	EXPECT_EQ(sum_of(0x3000000, PAGE), guest_sum(self->vcpu, PAGE));
	ASSERT_EQ(0, swapon("/dev/zram0", 0));
}

/* ---- while it runs ---- */

/*
 * Adds one to a doubleword in each page from BASE on, up to RBP, over and over; so slowly that some
 * pages have not been used lately.
 */
GUEST_CODE(sweep, 64,
	   "1: mov $0x800000, %ebx\n"
	   "2: incl (%rbx); mov $2000, %ecx\n"
	   "3: dec %ecx; jnz 3b; add $0x1000, %rbx; cmp %rbp, %rbx; jb 2b\n"
	   "incq DATA_GPA; jmp 1b\n");

struct pusher {
	struct vcpu *vcpu;
	u8 *mem;
	u64 gone;
};

static void *push(void *arg)
{
	struct pusher *p = arg;
	u64 end = now_ns() + 15000000000ULL;
	u32 i;

	for (i = 0; now_ns() < end; i++) {
		if (i >= 10 && guest_u64(p->vcpu->vm, DATA_GPA) >= 5)
			break;
		/* A part of it at a time: a slow guest gets somewhere meanwhile. */
		madvise(p->mem + i % 4 * BYTES / 4, BYTES / 4, MADV_PAGEOUT);
		madvise(p->mem + i % 4 * BYTES / 4, BYTES / 4, MADV_PAGEOUT);
		usleep(host_is_slow() ? 100000 : 3000);
	}
	__atomic_store_n(&p->vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	do_ioctl(p->vcpu->fd, VMM_KICK, NULL);
	return NULL;
}

/* No count is lost, however often the pages go out under it. */
TEST_F_TIMEOUT(swap, under_a_running_guest, 60)
{
	u64 before = host_swapped_out();
	struct pusher p = { .vcpu = self->vcpu, .mem = small_pages() };
	pthread_t thread;
	u32 i, first, last, count;
	u64 sweeps;

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, BYTES, p.mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, sweep);
	set_sweep(self->vcpu, 0, PAGE);
	guest_u64(self->vm, DATA_GPA) = 0;
	self->vcpu->timeout_ms = 40000;
	ASSERT_EQ(0, pthread_create(&thread, NULL, push, &p));
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	pthread_join(thread, NULL);
	sweeps = guest_u64(self->vm, DATA_GPA);
	TH_LOG("%llu pages went out, %llu sweeps", host_swapped_out() - before, sweeps);
	EXPECT_GE(sweeps, 5);
	EXPECT_GT(host_swapped_out(), before);

	/* The first pages may have been counted in once more than the last. */
	first = *word(p.mem, 0);
	last = *word(p.mem, PAGES - 1);
	EXPECT_LE(first - last, 1);
	EXPECT_LE(last - sweeps, 1);
	for (i = 0; i < PAGES; i++) {
		count = *word(p.mem, i);
		EXPECT_TRUE(count == first || count == last) TH_LOG("page %u: %u", i, count);
	}
}

/* ---- a file ---- */

/* What the disk itself has */
static u32 on_disk(const char *name, u32 page)
{
	int fd = open(name, O_RDONLY | O_DIRECT | O_CLOEXEC);
	u32 *buffer = map_memory(PAGE);
	u32 value;

	if (fd < 0 || pread(fd, buffer, PAGE, page * PAGE) != PAGE)
		fail("%s: %s", name, strerror(errno));
	value = *buffer;
	munmap(buffer, PAGE);
	close(fd);
	return value;
}

/*
 * Once a page is written back it is clean, and the guest's next write must make it dirty again:
 * nothing else would bring that write to the disk.
 */
TEST_F(swap, written_back)
{
	const char *name = HOST_DISK "/written";
	u32 i, round;
	u8 *mem;
	int fd;

	host_disk();
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, BYTES));
	mem = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, BYTES, mem, 0));
	for (round = 1; round <= 3; round++) {
		guest_fills(self->vcpu, round << 24, PAGE);
		ASSERT_EQ(0, fsync(fd));
		/* Reads between two writes leave it clean, and are no way around. */
		EXPECT_EQ(sum_of(round << 24, PAGE), guest_sum(self->vcpu, PAGE));
		for (i = 0; i < PAGES; i += 15)
			EXPECT_EQ((round << 24) + BASE + i * PAGE, on_disk(name, i));
	}
	/* Dropped from memory altogether, they come from there. */
	ASSERT_EQ(0, posix_fadvise(fd, 0, BYTES, POSIX_FADV_DONTNEED));
	page_out(mem);
	EXPECT_EQ(sum_of(3 << 24, PAGE), guest_sum(self->vcpu, PAGE));
	close(fd);
	unlink(name);
}

TEST_HARNESS_MAIN
