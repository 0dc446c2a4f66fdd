// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty rings: each page that a vCPU writes to is an entry of its ring once, until it is reset; a
 * full ring stops the vCPU and loses nothing.
 */
/* hosts: smp 6.12 */
#include <pthread.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "pages.h"
#include "vmmtest.h"

#define BASE	0x800000
#define PAGES	1024ULL
#define ENTRIES	VMM_RING_MIN

FIXTURE(dirtyring) {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	struct vmm_dirty_ring *ring;
	u64 *entries;
	u64 bits[PAGES / 64];
	int mark;
};

static int set_ring(struct vcpu *vcpu, u32 entries)
{
	struct vmm_ring ring = { .size = sizeof(ring), .entries = entries };

	return do_ioctl(vcpu->fd, VMM_SET_RING, &ring);
}

static void *map_ring(struct vcpu *vcpu, size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, VMM_RING_OFFSET);
}

FIXTURE_SETUP(dirtyring)
{
	self->mark = host_log_mark();
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	self->mem = map_memory(PAGES * PAGE);
	ASSERT_EQ(0, madvise(self->mem, PAGES * PAGE, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, set_ring(self->vcpu, ENTRIES));
	self->ring = map_ring(self->vcpu, PAGE + ENTRIES * 8);
	ASSERT_NE(MAP_FAILED, (void *)self->ring);
	self->entries = (u64 *)((u8 *)self->ring + PAGE);
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, PAGES * PAGE, self->mem, VMM_MEM_LOG_DIRTY));
}

FIXTURE_TEARDOWN(dirtyring)
{
	munmap(self->ring, PAGE + ENTRIES * 8);
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

/* Mark what is in the ring in @bits; how many entries were new */
static u32 collect(struct vmm_dirty_ring *ring, const u64 *entries, u64 *bits)
{
	u32 produced = __atomic_load_n(&ring->produced, __ATOMIC_ACQUIRE);
	u32 i, count = produced - ring->collected;

	for (i = ring->collected; i != produced; i++) {
		u64 page = (entries[i % ENTRIES] - BASE) / PAGE;

		if (page >= PAGES || entries[i % ENTRIES] % PAGE)
			fail("entry %u is %#llx", i, entries[i % ENTRIES]);
		bits[page / 64] |= 1ULL << page % 64;
	}
	__atomic_store_n(&ring->collected, produced, __ATOMIC_RELEASE);
	return count;
}

static int reset(struct vm *vm)
{
	return do_ioctl(vm->fd, VMM_RESET_RINGS, NULL);
}

#define count(bits)	count_pages(bits, PAGES)

/* Adds one to a doubleword in each of the 1,024 pages from BASE on */
GUEST_CODE(sweep, 64,
	   "mov $0x800000, %ebx\n"
	   "2: incl (%rbx); add $0x1000, %rbx; cmp $0xc00000, %rbx; jb 2b\n"
	   "out %al, $PORT_DONE\n");

#define writes(page)	guest_does(self->vcpu, BASE + (page) * PAGE)

TEST_F(dirtyring, refused)
{
	struct vcpu *other = vcpu_create(self->vm, 1);
	struct vmm_ring ring = { .size = sizeof(ring), .entries = 1024, .reserved = 1 };

	EXPECT_EQ(MAP_FAILED, map_ring(other, PAGE));
	EXPECT_EQ(-EINVAL, set_ring(other, 0));
	EXPECT_EQ(-EINVAL, set_ring(other, VMM_RING_MIN / 2));
	EXPECT_EQ(-EINVAL, set_ring(other, VMM_RING_MIN + 1));
	EXPECT_EQ(-EINVAL, set_ring(other, VMM_RING_MAX * 2));
	EXPECT_EQ(-EINVAL, do_ioctl(other->fd, VMM_SET_RING, &ring));
	EXPECT_EQ(-EEXIST, set_ring(self->vcpu, 1024));
	EXPECT_EQ(MAP_FAILED, map_ring(self->vcpu, PAGE + ENTRIES * 8 + PAGE));
	EXPECT_EQ(-EINVAL, do_ioctl(self->vm->fd, VMM_RESET_RINGS, self));
	EXPECT_EQ(ENTRIES, self->ring->entries);
	EXPECT_EQ(0, reset(self->vm));
	/* More than there is */
	self->ring->collected = 1;
	EXPECT_EQ(-EINVAL, reset(self->vm));
	self->ring->collected = -1;
	EXPECT_EQ(-EINVAL, reset(self->vm));
	self->ring->collected = 0;
	EXPECT_EQ(0, reset(self->vm));
}

/* What lies behind the ring in a mapping that was made longer later is no memory. */
TEST_F(dirtyring, nothing_behind)
{
	size_t bytes = PAGE + ENTRIES * 8;
	u8 *longer = map_ring(self->vcpu, bytes);
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	longer = mremap(longer, bytes, bytes + PAGE, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, longer);
	EXPECT_EQ(1, write(fds[1], longer + bytes - 1, 1));
	EXPECT_EQ(-1, write(fds[1], longer + bytes, 1));
	EXPECT_EQ(EFAULT, errno);
	munmap(longer, bytes + PAGE);
}

TEST_F(dirtyring, once_until_reset)
{
	struct vmm_dirty dirty = {
		.size = sizeof(dirty), .slot = 1, .pages = PAGES, .bitmap = (uintptr_t)self->bits,
	};
	struct vmm_range range = { .size = sizeof(range), .gpa = BASE + 9 * PAGE, .bytes = 1 };

	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	writes(5);
	writes(800);
	writes(5);
	EXPECT_EQ(2, collect(self->ring, self->entries, self->bits));
	EXPECT_EQ(2, count(self->bits));
	EXPECT_EQ(1 << 5, self->bits[0]);
	/* Collected is not reset. */
	writes(5);
	EXPECT_EQ(0, collect(self->ring, self->entries, self->bits));
	EXPECT_EQ(2, reset(self->vm));
	EXPECT_EQ(0, reset(self->vm));
	writes(5);
	writes(6);
	EXPECT_EQ(2, collect(self->ring, self->entries, self->bits));
	/* The log has what others write, and that alone. */
	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_MARK_DIRTY, &range));
	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_GET_DIRTY, &dirty));
	EXPECT_EQ(1, count(self->bits));
	EXPECT_EQ(1 << 9, self->bits[0]);
	EXPECT_EQ(0, collect(self->ring, self->entries, self->bits));
}

/* The ring is as long as the memory: it is full before the sweep is through. */
TEST_F(dirtyring, full)
{
	u32 i, round, stops = 0;

	for (round = 0; round < 2; round++) {
		memset(self->bits, 0, sizeof(self->bits));
		vcpu_load(self->vcpu, MODE_LONG, sweep);
		for (;;) {
			ASSERT_EQ(0, vcpu_run(self->vcpu));
			if (self->vcpu->run->exit.reason != VMM_EXIT_RING_FULL)
				break;
			stops++;
			/* It does not go on before something is reset. */
			ASSERT_EQ(0, vcpu_run(self->vcpu));
			ASSERT_EQ(VMM_EXIT_RING_FULL, self->vcpu->run->exit.reason);
			ASSERT_LT(0, collect(self->ring, self->entries, self->bits));
			ASSERT_LT(0, reset(self->vm));
		}
		ASSERT_EQ(VMM_EXIT_IO, self->vcpu->run->exit.reason);
		collect(self->ring, self->entries, self->bits);
		EXPECT_LE(0, reset(self->vm));
		EXPECT_EQ(PAGES, count(self->bits));
	}
	EXPECT_LE(2, stops);
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(2, *(u32 *)(self->mem + i * PAGE));
}

/* What the VMM writes into its ring hurts nobody. */
TEST_F(dirtyring, scribbled)
{
	u32 i;

	vcpu_load(self->vcpu, MODE_LONG, page_writer);
	writes(1);
	writes(2);
	for (i = 0; i < ENTRIES; i++)
		self->entries[i] = i % 2 ? ~0ULL : 0x123456789abcdef0ULL * i;
	self->ring->entries = 7;
	self->ring->produced = 77;
	self->ring->collected = 2;
	EXPECT_EQ(2, reset(self->vm));
	writes(1);
	writes(3);
	EXPECT_EQ(3, self->ring->produced);
	EXPECT_EQ(BASE + 3 * PAGE, self->entries[2]);
}

/* ---- collected while the guest writes ---- */

TEST_F(dirtyring, while_written)
{
	u64 end = now_ns() + (host_is_slow() ? 1500000000ULL : 700000000ULL);
	u8 *shadow = map_memory(PAGES * PAGE);
	struct writer_thread w = { .vcpu = self->vcpu };
	u32 i, rounds = 0;
	pthread_t thread;

	vcpu_load(self->vcpu, MODE_LONG, scatter);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_writer, &w));
	while (now_ns() < end || rounds < 3) {
		memset(self->bits, 0, sizeof(self->bits));
		collect(self->ring, self->entries, self->bits);
		ASSERT_LE(0, reset(self->vm));
		for (i = 0; i < PAGES; i++)
			if (self->bits[i / 64] >> (i % 64) & 1)
				memcpy(shadow + i * PAGE, self->mem + i * PAGE, PAGE);
		rounds++;
	}
	__atomic_store_n(&w.stop, true, __ATOMIC_SEQ_CST);
	ASSERT_EQ(0, do_ioctl(self->vcpu->fd, VMM_KICK, NULL));
	pthread_join(thread, NULL);
	memset(self->bits, 0, sizeof(self->bits));
	collect(self->ring, self->entries, self->bits);
	for (i = 0; i < PAGES; i++) {
		if (self->bits[i / 64] >> (i % 64) & 1)
			continue;
		if (memcmp(shadow + i * PAGE, self->mem + i * PAGE, PAGE)) {
			EXPECT_EQ(-1, (int)i) TH_LOG("page %u was missed", i);
			break;
		}
	}
}

TEST_HARNESS_MAIN
