// SPDX-License-Identifier: GPL-2.0-only
/*
 * A slot may have any memory behind it that a process can have: anonymous, of a memfd, of
 * a file, of hugetlbfs, small or huge. What the process then does with it, the guest sees.
 */
/* also: amd-large */
/* not: intel-6.12 what a kernel does differently shows on amd-6.12 */
/* hosts: smp 6.12 */
/* timeout: 120 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "remote.h"

#define BASE	0x800000		/* guest-physical; aligned as a huge page */
#define HUGE	(2 * MIB)
#define SMALL	(16 * PAGE)
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#define DISK_FILE	HOST_DISK "/memory"

enum kind { ANON, MEMFD, TMPFS, DISK, HUGETLB };

/* In page @i of a file; where there is none, as in anonymous memory, the test puts it there. */
static u32 content(u32 i)
{
	return 0xc0de0000 + i;
}

FIXTURE(backings) {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	int fd;
};

/**
 * struct backing - a variant
 * @kind: whose memory
 * @bytes: of it
 * @huge: of what size its pages are, 0: PAGE
 * @map: MAP_SHARED or MAP_PRIVATE
 * @readonly: it is mapped from a file that is open for reading alone
 * @thp: ask for transparent huge pages
 */
FIXTURE_VARIANT(backings) {
	enum kind kind;
	u64 bytes;
	u64 huge;
	int map;
	bool readonly;
	bool thp;
};

#define VARIANT(name, ...)							\
	FIXTURE_VARIANT_ADD(backings, name) { __VA_ARGS__ }

VARIANT(anonymous, .kind = ANON, .bytes = SMALL, .map = MAP_PRIVATE);
VARIANT(anonymous_shared, .kind = ANON, .bytes = SMALL, .map = MAP_SHARED);
VARIANT(thp, .kind = ANON, .bytes = 2 * HUGE, .map = MAP_PRIVATE, .thp = true);
VARIANT(memfd_shared, .kind = MEMFD, .bytes = SMALL, .map = MAP_SHARED);
VARIANT(memfd_private, .kind = MEMFD, .bytes = SMALL, .map = MAP_PRIVATE);
VARIANT(tmpfs_shared, .kind = TMPFS, .bytes = SMALL, .map = MAP_SHARED);
VARIANT(tmpfs_private, .kind = TMPFS, .bytes = SMALL, .map = MAP_PRIVATE);
VARIANT(file_shared, .kind = DISK, .bytes = SMALL, .map = MAP_SHARED);
VARIANT(file_private, .kind = DISK, .bytes = SMALL, .map = MAP_PRIVATE);
VARIANT(readonly_file_shared, .kind = DISK, .bytes = SMALL, .map = MAP_SHARED, .readonly = true);
VARIANT(readonly_file_private, .kind = DISK, .bytes = SMALL, .map = MAP_PRIVATE, .readonly = true);
VARIANT(hugetlb, .kind = HUGETLB, .bytes = 2 * HUGE, .huge = HUGE, .map = MAP_SHARED);
VARIANT(hugetlb_private, .kind = HUGETLB, .bytes = 2 * HUGE, .huge = HUGE, .map = MAP_PRIVATE);
VARIANT(hugetlb_1g, .kind = HUGETLB, .bytes = GIB, .huge = GIB, .map = MAP_SHARED);

static const char *pool_of(u64 huge)
{
	return huge == GIB ? "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages" :
			     "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
}

static int open_backing(const FIXTURE_VARIANT(backings) *v)
{
	unsigned int flags = MFD_CLOEXEC;
	const char *name;

	switch (v->kind) {
	case ANON:
		return -1;
	case HUGETLB:
		flags |= MFD_HUGETLB | (v->huge == GIB ? MFD_HUGE_1GB : MFD_HUGE_2MB);
		/* fallthrough */
	case MEMFD:
		return memfd_create("guest memory", flags);
	default:
		name = v->kind == DISK ? DISK_FILE : "/dev/shm/memory";
		if (v->kind == DISK)
			host_disk();
		return open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	}
}

/* The pages that a test looks at: a few of a large memory, all of a small one */
static u32 stride(const FIXTURE_VARIANT(backings) *v)
{
	return v->bytes > SMALL ? v->bytes / PAGE / 16 - 1 : 1;
}

#define for_each_page(i)							\
	for (i = 0; i < variant->bytes / PAGE; i += stride(variant))

static u32 *word(u8 *mem, u32 page)
{
	return (u32 *)(mem + page * PAGE);
}

FIXTURE_SETUP(backings)
{
	int prot = variant->readonly ? PROT_READ : PROT_READ | PROT_WRITE;
	int map = variant->map | (variant->kind == ANON ? MAP_ANONYMOUS : 0);
	char count[16];
	u32 i, value;

	if (variant->huge) {
		/* Three times as much: a private mapping, its file and a child have pages each. */
		snprintf(count, sizeof(count), "%llu",
			 variant->huge == GIB ? 1 : 3 * variant->bytes / variant->huge);
		write_file(pool_of(variant->huge), count);
		if (read_number(pool_of(variant->huge)) < atol(count))
			SKIP(return, "this host has no %s huge pages free",
			     variant->huge == GIB ? "1 GiB" : "2 MiB");
	}
	self->fd = open_backing(variant);
	if (variant->kind != ANON) {
		ASSERT_LE(0, self->fd) TH_LOG("no such file: %s", strerror(errno));
		ASSERT_EQ(0, ftruncate(self->fd, variant->bytes));
	}
	for_each_page(i) {
		value = content(i);
		if (variant->kind != ANON && variant->kind != HUGETLB)
			ASSERT_EQ(sizeof(value), pwrite(self->fd, &value, sizeof(value), i * PAGE));
	}
	if (variant->readonly) {
		close(self->fd);
		self->fd = open(DISK_FILE, O_RDONLY | O_CLOEXEC);
	}
	if (variant->thp) {
		self->mem = map_memory(variant->bytes + HUGE);
		self->mem += -(uintptr_t)self->mem % HUGE;
		madvise(self->mem, variant->bytes, MADV_HUGEPAGE);
	} else {
		self->mem = mmap(NULL, variant->bytes, prot, map, self->fd, 0);
	}
	ASSERT_NE(MAP_FAILED, self->mem) TH_LOG("mmap: %s", strerror(errno));
	if (variant->kind == HUGETLB && variant->map == MAP_PRIVATE) {
		/* The file's own pages */
		u8 *file = mmap(NULL, variant->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
				self->fd, 0);

		ASSERT_NE(MAP_FAILED, file);
		for_each_page(i)
			*word(file, i) = content(i);
		munmap(file, variant->bytes);
	} else if (variant->kind == ANON || variant->kind == HUGETLB) {
		for_each_page(i)
			*word(self->mem, i) = content(i);
	}

	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, variant->huge == GIB ? GIB : BASE, variant->bytes,
				 self->mem, 0));
	remote_start(self->vcpu);
}

FIXTURE_TEARDOWN(backings)
{
	if (self->vm)
		vm_destroy(self->vm);
	if (self->mem)
		munmap(self->mem, variant->bytes);
	if (self->fd >= 0)
		close(self->fd);
	if (variant->huge) {
		write_file(pool_of(variant->huge), "0");
		/* The pool takes them back at once: the VM holds none. */
		EXPECT_EQ(0, read_number(pool_of(variant->huge)));
	}
}

#define at(i)		((variant->huge == GIB ? GIB : BASE) + (i) * PAGE)
#define guest_reads(i)	remote_read32(self->vcpu, at(i))

/* What @page of the file has, by a mapping of its own */
static u32 in_file(int fd, u64 bytes, u32 page)
{
	u8 *file = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	u32 value;

	if (file == MAP_FAILED)
		fail("mmap of the file: %s", strerror(errno));
	value = *word(file, page);
	munmap(file, bytes);
	return value;
}

/* Each sees what the other writes; a file has it where its mapping is shared, and else not. */
TEST_F(backings, both_ways)
{
	u32 i, value;

	for_each_page(i)
		EXPECT_EQ(content(i), guest_reads(i));
	for_each_page(i) {
		int ret = remote_try_write32(self->vcpu, at(i), i + 1);

		if (variant->readonly) {
			ASSERT_EQ(-EFAULT, ret);
			/* The guest would be at it still. */
			remote_start(self->vcpu);
			EXPECT_EQ(content(i), guest_reads(i));
			continue;
		}
		ASSERT_EQ(0, ret);
		EXPECT_EQ(i + 1, *word(self->mem, i));
		*word(self->mem, i) = i + 2;
		EXPECT_EQ(i + 2, guest_reads(i));
	}
	for_each_page(i) {
		if (variant->kind == ANON)
			continue;
		value = in_file(self->fd, variant->bytes, i);
		EXPECT_EQ(variant->readonly || variant->map == MAP_PRIVATE ? content(i) : i + 2,
			  value);
	}
}

/* A write without any read before, to pages that the host does not map yet */
TEST_F(backings, written_first)
{
	u32 i;

	if (variant->readonly)
		return;
	if (variant->map == MAP_SHARED)
		ASSERT_EQ(0, madvise(self->mem, variant->bytes, MADV_DONTNEED));
	for_each_page(i)
		remote_write32(self->vcpu, at(i), i + 7);
	for_each_page(i)
		EXPECT_EQ(i + 7, *word(self->mem, i));
}

/* MADV_DONTNEED: what was private is gone, what is shared stays. */
TEST_F(backings, not_needed)
{
	u32 i, expected;

	for_each_page(i) {
		guest_reads(i);
		if (!variant->readonly)
			remote_write32(self->vcpu, at(i), i + 1);
	}
	ASSERT_EQ(0, madvise(self->mem, variant->bytes, MADV_DONTNEED));
	for_each_page(i) {
		expected = content(i);
		if (variant->map == MAP_SHARED && !variant->readonly)
			expected = i + 1;
		else if (variant->kind == ANON)
			expected = 0;
		EXPECT_EQ(expected, guest_reads(i));
	}
}

/* MADV_REMOVE: a hole in what is shared reads as zeros, and can be written again. */
TEST_F(backings, removed)
{
	u64 unit = variant->huge ?: PAGE;
	u32 i;

	for_each_page(i)
		guest_reads(i);
	if (variant->map != MAP_SHARED || variant->readonly) {
		EXPECT_NE(0, madvise(self->mem, unit, MADV_REMOVE));
		EXPECT_EQ(content(0), guest_reads(0));
		return;
	}
	ASSERT_EQ(0, madvise(self->mem, unit, MADV_REMOVE)) TH_LOG("%s", strerror(errno));
	for_each_page(i)
		EXPECT_EQ(i < unit / PAGE ? 0 : content(i), guest_reads(i));
	remote_write32(self->vcpu, at(0), 5);
	EXPECT_EQ(5, *word(self->mem, 0));
}

/* mremap() takes the memory from under the slot, and brings it back. */
TEST_F(backings, moved_away)
{
	u64 align = variant->huge ?: variant->thp ? HUGE : PAGE;
	u8 *room = map_memory(variant->bytes + align), *away;
	u32 i, value;

	away = room + -(uintptr_t)room % align;
	for_each_page(i)
		EXPECT_EQ(content(i), guest_reads(i));
	ASSERT_EQ(away, mremap(self->mem, variant->bytes, variant->bytes,
			       MREMAP_MAYMOVE | MREMAP_FIXED, away));
	EXPECT_EQ(-EFAULT, remote_try_read32(self->vcpu, at(3 * stride(variant)), &value));
	EXPECT_EQ(-EFAULT, remote_retry(self->vcpu, &value));
	ASSERT_EQ(self->mem, mremap(away, variant->bytes, variant->bytes,
				    MREMAP_MAYMOVE | MREMAP_FIXED, self->mem));
	EXPECT_EQ(0, remote_retry(self->vcpu, &value));
	EXPECT_EQ(content(3 * stride(variant)), value);
	for_each_page(i)
		EXPECT_EQ(content(i), guest_reads(i));
}

/* What the process may not do, its guest may not do either. */
TEST_F(backings, protected)
{
	u64 unit = variant->huge ?: PAGE;
	u32 value;

	EXPECT_EQ(content(0), guest_reads(0));
	ASSERT_EQ(0, mprotect(self->mem, unit, PROT_NONE));
	EXPECT_EQ(-EFAULT, remote_try_read32(self->vcpu, at(0), &value));
	ASSERT_EQ(0, mprotect(self->mem, unit, PROT_READ));
	EXPECT_EQ(0, remote_retry(self->vcpu, &value));
	EXPECT_EQ(content(0), value);
	EXPECT_EQ(-EFAULT, remote_try_write32(self->vcpu, at(0), 1));
	if (variant->readonly && variant->map == MAP_SHARED) {
		EXPECT_NE(0, mprotect(self->mem, unit, PROT_READ | PROT_WRITE));
		return;
	}
	ASSERT_EQ(0, mprotect(self->mem, unit, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, remote_retry(self->vcpu, NULL));
	EXPECT_EQ(1, *word(self->mem, 0));
	if (variant->kind != ANON && variant->map == MAP_PRIVATE)
		EXPECT_EQ(content(0), in_file(self->fd, variant->bytes, 0));
}

/* After fork() each side of a private mapping writes its own, and of a shared one the same. */
TEST_F(backings, forked)
{
	bool shared = variant->map == MAP_SHARED;
	int go[2], status;
	pid_t child;
	u32 i;

	if (variant->readonly)
		return;
	if (variant->huge == GIB)
		SKIP(return, "one page alone cannot be copied");
	ASSERT_EQ(0, pipe(go));
	for_each_page(i)
		remote_write32(self->vcpu, at(i), i + 1);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char c;

		if (read(go[0], &c, 1) != 1)
			_exit(1);
		for_each_page(i)
			if (*word(self->mem, i) != (shared ? i + 100 : i + 1))
				_exit(2);
		for_each_page(i)
			*word(self->mem, i) = i + 200;
		_exit(0);
	}
	for_each_page(i)
		remote_write32(self->vcpu, at(i), i + 100);
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	for_each_page(i)
		EXPECT_EQ(i + (shared ? 200 : 100), guest_reads(i));
}

/* ---- no memory of that kind ---- */

/* Where a mapping of this process begins, by its name; NULL: there is none. */
static void *find_mapping(const char *name)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long start = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, name)) {
			start = strtoul(line, NULL, 16);
			break;
		}
	if (f)
		fclose(f);
	return (void *)start;
}

/* Page frames that are mapped without a struct page: the vDSO's variables are, up to 6.18 or so */
static void *find_page_frames(void)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start = 0, begin, end;
	void *found = NULL;
	char line[256];

	while (f && !found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx", &begin, &end) == 2)
			start = begin;
		else if (!strncmp(line, "VmFlags:", 8) && strstr(line, " pf"))
			found = (void *)start;
	if (f)
		fclose(f);
	return found;
}

/* Registers of a device: the display's, the HPET's, whatever this host lets be mapped */
static void *map_device(void)
{
	static const u64 places[] = { 0xa0000, 0xb8000, 0xfed00000, 0xfee00000, 0xfec00000 };
	int fd = open("/dev/mem", O_RDWR | O_CLOEXEC);
	void *mem = MAP_FAILED;
	u32 i;

	for (i = 0; fd >= 0 && i < ARRAY_SIZE(places) && mem == MAP_FAILED; i++)
		mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, places[i]);
	close(fd);
	return mem == MAP_FAILED ? NULL : mem;
}

FIXTURE(other) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(other)
{
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	remote_start(self->vcpu);
}

FIXTURE_TEARDOWN(other)
{
	vm_destroy(self->vm);
}

/* Mappings of page frames without a struct page behind them, as drivers make, are refused. */
TEST_F(other, page_frames)
{
	u8 *mem = find_page_frames();
	u32 value;

	if (!mem)
		SKIP(return, "this process has none mapped");
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, PAGE, mem, 0));
	EXPECT_EQ(-EFAULT, remote_try_read32(self->vcpu, BASE, &value));
	EXPECT_EQ(VMM_EXIT_FAULT, self->vcpu->run->exit.reason);
}

TEST_F(other, device_registers)
{
	u8 *mem = map_device();
	u32 value;

	if (!mem)
		SKIP(return, "this host lets no device be mapped by /dev/mem");
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, PAGE, mem, 0));
	EXPECT_EQ(-EFAULT, remote_try_read32(self->vcpu, BASE, &value));
	remote_start(self->vcpu);
	EXPECT_EQ(-EFAULT, remote_try_write32(self->vcpu, BASE, 0));
}

/* Pages of the kernel that a process may read, such as its vDSO, a guest may read too. */
TEST_F(other, vdso)
{
	u8 *mem = find_mapping("[vdso]");

	if (!mem)
		SKIP(return, "no vDSO here");
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, PAGE, mem, 0));
	EXPECT_EQ(*(u32 *)mem, remote_read32(self->vcpu, BASE));
	EXPECT_EQ(-EFAULT, remote_try_write32(self->vcpu, BASE, 0));
}

/* The run area is shared with the kernel, which reads each field once; nothing else is at stake. */
TEST_F(other, its_own_run_area)
{
	u32 value;

	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, PAGE, self->vcpu->run, 0));
	if (!remote_try_read32(self->vcpu, BASE, &value)) {
		remote_write32(self->vcpu, BASE + PAGE - 4, ~0U);
		self->vcpu->run->immediate_exit = 0;
	}
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, 0, 0, NULL, 0));
	remote_start(self->vcpu);
	remote_read32(self->vcpu, 0);
}

static void on_bus_error(int sig)
{
}

/* A page whose memory goes bad is no longer there; one that is taken out of use has moved. */
TEST_F(other, bad_memory)
{
	u8 *mem = map_memory(3 * PAGE);
	u32 i, value;

	madvise(mem, 3 * PAGE, MADV_NOHUGEPAGE);
	ASSERT_EQ(0, vm_set_slot(self->vm, 1, BASE, 3 * PAGE, mem, 0));
	for (i = 0; i < 3; i++)
		remote_write32(self->vcpu, BASE + i * PAGE, i + 1);
	if (madvise(mem, PAGE, MADV_SOFT_OFFLINE))
		SKIP(return, "this host cannot take memory out of use");
	EXPECT_EQ(1, remote_read32(self->vcpu, BASE));
	remote_write32(self->vcpu, BASE, 11);
	EXPECT_EQ(11, *word(mem, 0));
	/* Since 6.11 the caller is told as if it had used the page. */
	signal(SIGBUS, on_bus_error);
	ASSERT_EQ(0, madvise(mem + PAGE, PAGE, MADV_HWPOISON));
	EXPECT_EQ(-EHWPOISON, remote_try_read32(self->vcpu, BASE + PAGE, &value));
	EXPECT_EQ(-EHWPOISON, remote_retry(self->vcpu, &value));
	/* With another page in its place the guest goes on. */
	ASSERT_NE(MAP_FAILED, mmap(mem + PAGE, PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_EQ(0, remote_retry(self->vcpu, &value));
	EXPECT_EQ(0, value);
	EXPECT_EQ(3, remote_read32(self->vcpu, BASE + 2 * PAGE));
}

TEST_HARNESS_MAIN
