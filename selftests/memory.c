// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: slots and what they refuse; memory of the VMM that comes and
 * goes under a running guest like any process's.
 */
/* also: intel-sandy_bridge intel-plain */
/* hosts: smp 6.12 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

FIXTURE(memory) {
	struct vm *vm;
	struct vcpu *vcpu;
	int mark;
};

FIXTURE_SETUP(memory)
{
	self->mark = host_log_mark();
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(memory)
{
	vm_destroy(self->vm);
	EXPECT_TRUE(host_log_quiet(self->mark));
}

#define slot(...) vm_set_slot(self->vm, __VA_ARGS__)

/* ---- slots ---- */

TEST_F(memory, slot_refused)
{
	u64 gpa_end = 1ULL << self->vm->info.gpa_bits;
	u8 *mem = map_memory(4 * MIB);
	struct vmm_memory m;

	/* Misaligned */
	EXPECT_EQ(-EINVAL, slot(1, 0x200001, PAGE, mem, 0));
	EXPECT_EQ(-EINVAL, slot(1, 0x200000, PAGE + 1, mem, 0));
	EXPECT_EQ(-EINVAL, slot(1, 0x200000, 1, mem, 0));
	EXPECT_EQ(-EINVAL, slot(1, 0x200000, PAGE, mem + 8, 0));
	/* No such slot, no such flag */
	EXPECT_EQ(-EINVAL, slot(self->vm->info.max_slots, 0x200000, PAGE, mem, 0));
	EXPECT_EQ(-EINVAL, slot(~0, 0x200000, PAGE, mem, 0));
	EXPECT_EQ(-EINVAL, slot(1, 0x200000, PAGE, mem, 4));
	EXPECT_EQ(-EINVAL, slot(1, 0x200000, PAGE, mem, 1u << 31));
	/* Overlapping: exactly, at the front, at the end, inside, around */
	EXPECT_EQ(-EEXIST, slot(1, 0, 1 * MIB, mem, 0));
	EXPECT_EQ(-EEXIST, slot(1, 1 * MIB - PAGE, 2 * PAGE, mem, 0));
	EXPECT_EQ(-EEXIST, slot(1, 0x5000, PAGE, mem, 0));
	EXPECT_EQ(-EEXIST, slot(1, 0, 4 * MIB, mem, 0));
	/* Beyond what a guest can address, and around the end of all numbers */
	EXPECT_EQ(-ERANGE, slot(1, gpa_end, PAGE, mem, 0));
	EXPECT_EQ(-ERANGE, slot(1, gpa_end - PAGE, 2 * PAGE, mem, 0));
	EXPECT_EQ(-ERANGE, slot(1, -PAGE, PAGE, mem, 0));
	EXPECT_EQ(-ERANGE, slot(1, -PAGE, 2 * PAGE, mem, 0));
	EXPECT_EQ(-ERANGE, slot(1, 2 * MIB, 0ULL - 2 * MIB, mem, 0));
	/* No address of a process: the kernel's, around the end, between both */
	EXPECT_EQ(-EFAULT, slot(1, 0x200000, PAGE, (void *)0xffff888000000000, 0));
	EXPECT_EQ(-EFAULT, slot(1, 0x200000, PAGE, (void *)0x0000800000000000, 0));
	EXPECT_EQ(-EFAULT, slot(1, 0x200000, 2 * PAGE, (void *)-PAGE, 0));
	EXPECT_EQ(-EFAULT, slot(1, 0x200000, PAGE, (void *)0xdead000000000000, 0));
	/* Nothing to delete */
	EXPECT_EQ(-ENOENT, slot(1, 0, 0, NULL, 0));
	EXPECT_EQ(-ENOENT, slot(7, 0x200000, 0, mem, 0));
	/* The structure itself */
	memset(&m, 0, sizeof(m));
	m.size = sizeof(m);
	m.slot = 1;
	m.gpa = 0x200000;
	m.bytes = PAGE;
	m.hva = (uintptr_t)mem;
	m.reserved = 1;
	EXPECT_EQ(-EINVAL, do_ioctl(self->vm->fd, VMM_SET_MEMORY, &m));

	/* After all that a good one still fits. */
	EXPECT_EQ(0, slot(1, 0x200000, 4 * MIB, mem, 0));
	EXPECT_EQ(0, slot(self->vm->info.max_slots - 1, gpa_end - PAGE, PAGE, mem, 0));
}

TEST_F(memory, all_slots)
{
	u8 *mem = map_memory(PAGE);
	u32 i;

	for (i = 1; i < self->vm->info.max_slots; i++)
		ASSERT_EQ(0, slot(i, 1 * MIB + i * 2 * PAGE, PAGE, mem, 0));
	/* The gap that one leaves takes three pages, not four. */
	EXPECT_EQ(0, slot(5, 0, 0, NULL, 0));
	EXPECT_EQ(-EEXIST, slot(5, 1 * MIB + 9 * PAGE, 4 * PAGE, mem, 0));
	EXPECT_EQ(-EEXIST, slot(5, 1 * MIB + 8 * PAGE, 3 * PAGE, mem, 0));
	EXPECT_EQ(0, slot(5, 1 * MIB + 9 * PAGE, 3 * PAGE, mem, 0));
	for (i = 1; i < self->vm->info.max_slots; i++)
		ASSERT_EQ(0, slot(i, 0, 0, NULL, 0));
}

/* ---- a guest that reads or writes where it is told ---- */

/* Reads the quadword at each address that it gets, and says its low half */
GUEST_CODE(reader, 64,
	   "1: in $PORT_VALUE, %eax; mov (%rax), %rax; out %eax, $PORT_VALUE; jmp 1b\n");
/* Adds one to it */
GUEST_CODE(writer, 64,
	   "1: in $PORT_VALUE, %eax; incl (%rax); out %eax, $PORT_VALUE; jmp 1b\n");

static void tell(struct vcpu *vcpu, u64 address)
{
	struct vmm_exit *e = run_until(vcpu, VMM_EXIT_IO);

	if (!e->io.in)
		fail("the guest was to ask");
	e->io.data = address;
}

static u32 guest_read(struct vcpu *vcpu, u64 address)
{
	tell(vcpu, address);
	return run_value(vcpu);
}

TEST_F(memory, add_move_delete)
{
	u32 *mem = map_memory(2 * MIB), *other = map_memory(2 * MIB);
	struct vcpu *vcpu = self->vcpu;

	mem[0] = 0x11;
	mem[PAGE / 4] = 0x12;
	other[0] = 0x21;
	other[PAGE / 4] = 0x22;
	vcpu_load(vcpu, MODE_LONG, reader);
	ASSERT_EQ(0, slot(3, 0x400000, 2 * MIB, mem, 0));
	EXPECT_EQ(0x11, guest_read(vcpu, 0x400000));
	EXPECT_EQ(0x12, guest_read(vcpu, 0x401000));
	/* Other memory at the same place, the same memory elsewhere */
	ASSERT_EQ(0, slot(3, 0x400000, 2 * MIB, other, 0));
	EXPECT_EQ(0x21, guest_read(vcpu, 0x400000));
	EXPECT_EQ(0x22, guest_read(vcpu, 0x401000));
	ASSERT_EQ(0, slot(3, 0x800000, 2 * MIB, other, 0));
	EXPECT_EQ(0x21, guest_read(vcpu, 0x800000));
	tell(vcpu, 0x400000);
	EXPECT_EQ(0x400000, run_until(vcpu, VMM_EXIT_MMIO)->mmio.gpa);
	vcpu->run->exit.mmio.data = 0x99;
	EXPECT_EQ(0x99, run_value(vcpu));
	/* Shorter: what is behind it is gone. */
	ASSERT_EQ(0, slot(3, 0x800000, PAGE, other, 0));
	EXPECT_EQ(0x21, guest_read(vcpu, 0x800000));
	tell(vcpu, 0x801000);
	EXPECT_EQ(0x801000, run_until(vcpu, VMM_EXIT_MMIO)->mmio.gpa);
	run_value(vcpu);
	/* The same memory twice */
	ASSERT_EQ(0, slot(4, 0xa00000, PAGE, other, 0));
	other[0] = 0x77;
	EXPECT_EQ(0x77, guest_read(vcpu, 0x800000));
	EXPECT_EQ(0x77, guest_read(vcpu, 0xa00000));
	ASSERT_EQ(0, slot(3, 0, 0, NULL, 0));
	ASSERT_EQ(0, slot(4, 0, 0, NULL, 0));
	tell(vcpu, 0x800000);
	run_until(vcpu, VMM_EXIT_MMIO);
	run_value(vcpu);
	tell(vcpu, 0xa00000);
	run_until(vcpu, VMM_EXIT_MMIO);
}

TEST_F(memory, readonly)
{
	u32 *mem = map_memory(PAGE);
	struct vcpu *vcpu = self->vcpu;
	struct vmm_exit *e = &vcpu->run->exit;

	mem[0] = 41;
	ASSERT_EQ(0, slot(1, 0x400000, PAGE, mem, VMM_MEM_READONLY));
	vcpu_load(vcpu, MODE_LONG, reader);
	EXPECT_EQ(41, guest_read(vcpu, 0x400000));

	/* INC is not decoded; the write leaves with its bytes, and nothing has changed. */
	vcpu_load(vcpu, MODE_LONG, writer);
	tell(vcpu, 0x400000);
	run_until(vcpu, VMM_EXIT_EMULATE);
	EXPECT_EQ(0x400000, e->emulate.gpa);
	EXPECT_EQ(41, mem[0]);

	/* A plain store leaves as MMIO; so does one behind which the slot becomes writable. */
	vcpu_load_code(vcpu, MODE_LONG, "\xc7\x04\x25\x00\x00\x40\x00\x07\x00\x00\x00\xeb\xf3", 13);
	run_until(vcpu, VMM_EXIT_MMIO);
	EXPECT_EQ(0x400000, e->mmio.gpa);
	EXPECT_EQ(1, e->mmio.write);
	EXPECT_EQ(7, e->mmio.data);
	EXPECT_EQ(41, mem[0]);
	run_until(vcpu, VMM_EXIT_MMIO);
	EXPECT_EQ(41, mem[0]);

	ASSERT_EQ(0, slot(1, 0x400000, PAGE, mem, 0));
	vcpu_load(vcpu, MODE_LONG, writer);
	tell(vcpu, 0x400000);
	run_value(vcpu);
	EXPECT_EQ(42, mem[0]);
	/* And back: what was mapped writable is no longer. */
	ASSERT_EQ(0, slot(1, 0x400000, PAGE, mem, VMM_MEM_READONLY));
	tell(vcpu, 0x400000);
	run_until(vcpu, VMM_EXIT_EMULATE);
	EXPECT_EQ(42, mem[0]);
}

/* A read-modify-write of read-only memory reads memory and writes a device. */
GUEST_CODE(or_readonly, 64, "orl $0x100, 0x400000; out %al, $PORT_DONE\n");

TEST_F(memory, readonly_modify)
{
	u32 *mem = map_memory(PAGE);
	struct vmm_exit *e;

	mem[0] = 7;
	ASSERT_EQ(0, slot(1, 0x400000, PAGE, mem, VMM_MEM_READONLY));
	vcpu_load(self->vcpu, MODE_LONG, or_readonly);
	e = run_until(self->vcpu, VMM_EXIT_MMIO);
	EXPECT_EQ(1, e->mmio.write);
	EXPECT_EQ(0x107, e->mmio.data);
	EXPECT_EQ(7, mem[0]);
	run_done(self->vcpu);
}

/* Memory is taken when the guest touches it, and not before. */
TEST_F(memory, on_demand)
{
	u8 *mem = map_memory(64 * MIB);
	unsigned char present[4];
	u64 before;

	ASSERT_EQ(0, slot(1, 0x4000000, 64 * MIB, mem, 0));
	ASSERT_EQ(0, madvise(mem, 64 * MIB, MADV_NOHUGEPAGE));
	vcpu_load(self->vcpu, MODE_LONG, writer);
	tell(self->vcpu, 0x4001000);
	before = get_stat(self->vcpu->fd, "faults_mapped");
	run_value(self->vcpu);
	EXPECT_GT(get_stat(self->vcpu->fd, "faults_mapped"), before);
	ASSERT_EQ(0, mincore(mem, 4 * PAGE, present));
	EXPECT_EQ(0, present[0] & 1);
	EXPECT_EQ(1, present[1] & 1);
	EXPECT_EQ(0, present[2] & 1);
	EXPECT_EQ(1, *(u32 *)(mem + PAGE));
}

/* Behind the slot there is nothing, or nothing that may be touched. */
TEST_F(memory, not_mapped_by_the_vmm)
{
	u8 *mem = map_memory(4 * PAGE);
	struct vcpu *vcpu = self->vcpu;
	struct vmm_exit *e = &vcpu->run->exit;

	munmap(mem + PAGE, PAGE);
	mprotect(mem + 2 * PAGE, PAGE, PROT_NONE);
	mprotect(mem + 3 * PAGE, PAGE, PROT_READ);
	ASSERT_EQ(0, slot(1, 0x400000, 4 * PAGE, mem, 0));
	vcpu_load(vcpu, MODE_LONG, writer);
	tell(vcpu, 0x401010);
	run_until(vcpu, VMM_EXIT_FAULT);
	EXPECT_EQ(0x401010, e->fault.gpa);
	EXPECT_EQ(-EFAULT, e->fault.error);
	/* Again the same; repaired, the instruction goes through. */
	run_until(vcpu, VMM_EXIT_FAULT);
	ASSERT_NE(MAP_FAILED, mmap(mem + PAGE, PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	run_value(vcpu);
	EXPECT_EQ(1, *(u32 *)(mem + PAGE + 0x10));

	tell(vcpu, 0x402000);
	run_until(vcpu, VMM_EXIT_FAULT);
	EXPECT_EQ(-EFAULT, e->fault.error);
	mprotect(mem + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE);
	run_value(vcpu);

	vcpu_load(vcpu, MODE_LONG, reader);
	EXPECT_EQ(0, guest_read(vcpu, 0x403000));
	vcpu_load(vcpu, MODE_LONG, writer);
	tell(vcpu, 0x403000);
	run_until(vcpu, VMM_EXIT_FAULT);
	EXPECT_EQ(-EFAULT, e->fault.error);
	mprotect(mem + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE);
	run_value(vcpu);
	EXPECT_EQ(1, *(u32 *)(mem + 3 * PAGE));
}

/* A file that is shorter than its mapping */
TEST_F(memory, behind_the_end_of_a_file)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	u8 *mem;

	ASSERT_EQ(0, ftruncate(fd, PAGE));
	mem = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, slot(1, 0x400000, 2 * PAGE, mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, writer);
	tell(self->vcpu, 0x400000);
	run_value(self->vcpu);
	tell(self->vcpu, 0x401000);
	run_until(self->vcpu, VMM_EXIT_FAULT);
	EXPECT_EQ(-EFAULT, self->vcpu->run->exit.fault.error);
	ASSERT_EQ(0, ftruncate(fd, 2 * PAGE));
	run_value(self->vcpu);
	/* Truncated under the guest, it is gone at once. */
	ASSERT_EQ(0, ftruncate(fd, 0));
	tell(self->vcpu, 0x400000);
	run_until(self->vcpu, VMM_EXIT_FAULT);
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	run_value(self->vcpu);
	EXPECT_EQ(1, *(u32 *)mem);
	close(fd);
}

/* ---- changes behind the guest's back, between two runs ---- */

TEST_F(memory, dont_need)
{
	u32 *mem = map_memory(PAGE);
	struct vcpu *vcpu = self->vcpu;

	ASSERT_EQ(0, slot(1, 0x400000, PAGE, mem, 0));
	vcpu_load(vcpu, MODE_LONG, writer);
	tell(vcpu, 0x400000);
	run_value(vcpu);
	tell(vcpu, 0x400000);
	run_value(vcpu);
	EXPECT_EQ(2, mem[0]);
	ASSERT_EQ(0, madvise(mem, PAGE, MADV_DONTNEED));
	tell(vcpu, 0x400000);
	run_value(vcpu);
	EXPECT_EQ(1, mem[0]);
}

TEST_F(memory, remapped)
{
	u32 *mem = map_memory(PAGE);
	struct vcpu *vcpu = self->vcpu;
	u32 i;

	ASSERT_EQ(0, slot(1, 0x400000, PAGE, mem, 0));
	vcpu_load(vcpu, MODE_LONG, reader);
	for (i = 1; i < 20; i++) {
		ASSERT_EQ(mem, mmap(mem, PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		mem[0] = i;
		EXPECT_EQ(i, guest_read(vcpu, 0x400000));
	}
}

/* Read as the zero page first, written by the process then: the guest sees it. */
TEST_F(memory, zero_page)
{
	u32 *mem = map_memory(PAGE);

	ASSERT_EQ(0, slot(1, 0x400000, PAGE, mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, reader);
	EXPECT_EQ(0, guest_read(self->vcpu, 0x400000));
	mem[0] = 0x55;
	EXPECT_EQ(0x55, guest_read(self->vcpu, 0x400000));
	/* And what the guest writes into such a page is not seen by others that have it. */
	vcpu_load(self->vcpu, MODE_LONG, writer);
	ASSERT_EQ(0, madvise(mem, PAGE, MADV_DONTNEED));
	tell(self->vcpu, 0x400000);
	run_value(self->vcpu);
	EXPECT_EQ(1, mem[0]);
	EXPECT_EQ(0, *(u32 *)map_memory(PAGE));
}

/* fork() shares pages until one side writes: neither sees what the other writes then. */
TEST_F(memory, fork)
{
	u32 *mem = map_memory(PAGE);
	struct vcpu *vcpu = self->vcpu;
	int go[2], done[2], status;
	pid_t child;
	char c = 0;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(done));
	ASSERT_EQ(0, slot(1, 0x400000, PAGE, mem, 0));
	vcpu_load(vcpu, MODE_LONG, writer);
	tell(vcpu, 0x400000);
	run_value(vcpu);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		/* After the parent's guest has written */
		if (read(go[0], &c, 1) != 1 || mem[0] != 1)
			_exit(1);
		mem[0] = 100;
		if (write(done[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(2);
		_exit(mem[0] == 100 ? 0 : 3);
	}
	tell(vcpu, 0x400000);
	run_value(vcpu);
	EXPECT_EQ(2, mem[0]);
	EXPECT_EQ(1, write(go[1], &c, 1));
	EXPECT_EQ(1, read(done[0], &c, 1));
	tell(vcpu, 0x400000);
	run_value(vcpu);
	EXPECT_EQ(3, mem[0]);
	EXPECT_EQ(1, write(go[1], &c, 1));
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	tell(vcpu, 0x400000);
	run_value(vcpu);
	EXPECT_EQ(4, mem[0]);
}

static bool can_read(const void *from)
{
	char c;
	struct iovec local = { &c, 1 }, remote = { (void *)from, 1 };

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}

/* A child of fork() has the file descriptors, but not the VM: it is another mm's. */
TEST_F(memory, foreign_process)
{
	struct vmm_stats stats = { .size = sizeof(stats) };
	struct vcpu *vcpu = self->vcpu;
	int status;
	pid_t child;
	u8 *mem;

	vcpu_load(vcpu, MODE_LONG, writer);
	/* Not even where the parent has it inherit the mapping */
	ASSERT_EQ(0, madvise(vcpu->run, PAGE, MADV_DOFORK));
	child = fork();
	if (!child) {
		/* Nor the run area, through which the next run could be told what to do */
		if (can_read(vcpu->run))
			_exit(9);
		mem = map_memory(PAGE);
		if (vcpu_run_raw(vcpu) != -EXDEV)
			_exit(1);
		if (slot(1, 0x400000, PAGE, mem, 0) != -EXDEV)
			_exit(2);
		if (vcpu_try_get(vcpu, VMM_STATE_REGS) != -EXDEV)
			_exit(3);
		if (vcpu_try_set(vcpu, VMM_STATE_REGS) != -EXDEV)
			_exit(4);
		if (vcpu_nmi(vcpu) != -EXDEV)
			_exit(5);
		if (do_ioctl(vcpu->fd, VMM_KICK, NULL) != -EXDEV)
			_exit(6);
		if (do_ioctl(self->vm->fd, VMM_GET_STATS, &stats) != -EXDEV)
			_exit(7);
		if (mmap(NULL, PAGE, PROT_READ, MAP_SHARED, vcpu->fd, 0) != MAP_FAILED ||
		    errno != EXDEV)
			_exit(8);
		_exit(0);
	}
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(can_read(vcpu->run));
	tell(vcpu, 0x1000);
	run_value(vcpu);
}

static void *run_thread(void *vcpu)
{
	vcpu_run(vcpu);
	return NULL;
}

GUEST_CODE(spin_there, 64, "incq DATA_GPA; spin: jmp spin\n");

/* It does not wait for the vCPU either: it would hold the mutex when it is stopped then. */
TEST_F(memory, foreign_process_does_not_wait)
{
	struct vcpu *vcpu = self->vcpu;
	pthread_t thread;
	int status;
	pid_t child;

	vcpu_load(vcpu, MODE_LONG, spin_there);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_thread, vcpu));
	while (!guest_u64(self->vm, DATA_GPA))
		usleep(1000);
	child = fork();
	if (!child) {
		alarm(10);
		_exit(vcpu_run_raw(vcpu) == -EXDEV ? 0 : 1);
	}
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(0, do_ioctl(vcpu->fd, VMM_KICK, NULL));
	pthread_join(thread, NULL);
}

/* ---- and while it runs ---- */

/* Reads one place without a pause, and counts how often it finds each of two values. */
GUEST_CODE(watcher, 64,
	   "mov $0x400000, %ebx\n"
	   "1: mov (%rbx), %eax; cmp $0x11, %eax; je 2f; cmp $0x22, %eax; je 3f\n"
	   "out %eax, $PORT_VALUE; jmp 1b\n"
	   "2: incl DATA_GPA; jmp 1b\n"
	   "3: incl DATA_GPA + 4; jmp 1b\n");

struct changer {
	struct vm *vm;
	struct vcpu *vcpu;
	u32 *mem;
	u32 *pages[2];
	int how;
	int rounds;
};

enum { BY_MREMAP, BY_SLOT, BY_MPROTECT };

/* Waits for the guest to have seen @value at the place, so that each change is a real one. */
static void wait_until_seen(struct changer *c, int which)
{
	u32 before = guest_u32(c->vm, DATA_GPA + 4 * which);

	while (guest_u32(c->vm, DATA_GPA + 4 * which) == before)
		usleep(100);
}

static void *change(void *arg)
{
	struct changer *c = arg;
	int i, ret = 0;
	u32 stale;

	for (i = 0; i < c->rounds; i++) {
		int which = i & 1;
		u32 value = which ? 0x22 : 0x11;

		switch (c->how) {
		case BY_MREMAP:
			/* Another page is moved over the old one. */
			c->pages[0] = map_memory(PAGE);
			c->pages[0][0] = value;
			if (mremap(c->pages[0], PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
				   c->mem) != c->mem)
				fail("mremap: %s", strerror(errno));
			break;
		case BY_SLOT:
			ret = vm_set_slot(c->vm, 1, 0x400000, PAGE, c->pages[which], 0);
			break;
		case BY_MPROTECT:
			mprotect(c->mem, PAGE, PROT_READ);
			mprotect(c->mem, PAGE, PROT_READ | PROT_WRITE);
			c->mem[0] = value;
			break;
		}
		if (ret)
			fail("VMM_SET_MEMORY: %s", strerror(-ret));
		/* Afterwards the old contents are not seen again, however long one looks. */
		wait_until_seen(c, which);
		stale = guest_u32(c->vm, DATA_GPA + 4 * !which);
		wait_until_seen(c, which);
		wait_until_seen(c, which);
		if (guest_u32(c->vm, DATA_GPA + 4 * !which) != stale)
			fail("round %d: the guest still sees the old page", i);
	}
	__atomic_store_n(&c->vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	do_ioctl(c->vcpu->fd, VMM_KICK, NULL);
	return NULL;
}

static void check_changes(struct __test_metadata *_metadata, struct vcpu *vcpu, int how)
{
	struct changer c = {
		.vm = vcpu->vm, .vcpu = vcpu, .mem = map_memory(PAGE),
		.pages = { map_memory(PAGE), map_memory(PAGE) }, .how = how, .rounds = 40,
	};
	pthread_t thread;

	*c.mem = 0x22;
	*c.pages[0] = 0x11;
	*c.pages[1] = 0x22;
	ASSERT_EQ(0, vm_set_slot(vcpu->vm, 1, 0x400000, PAGE, c.mem, 0));
	vcpu_load(vcpu, MODE_LONG, watcher);
	guest_u64(vcpu->vm, DATA_GPA) = 0;
	vcpu->timeout_ms = 25000;
	ASSERT_EQ(0, pthread_create(&thread, NULL, change, &c));
	EXPECT_EQ(-EINTR, vcpu_run(vcpu));
	pthread_join(thread, NULL);
}

TEST_F(memory, mremap_under_a_running_guest)
{
	check_changes(_metadata, self->vcpu, BY_MREMAP);
}

TEST_F(memory, mprotect_under_a_running_guest)
{
	check_changes(_metadata, self->vcpu, BY_MPROTECT);
}

TEST_F(memory, slot_changed_under_a_running_guest)
{
	check_changes(_metadata, self->vcpu, BY_SLOT);
}

/* A balloon that breathes fast: pages vanish and are written all the time. */
GUEST_CODE(hammer, 64,
	   "1: mov $0x400000, %ebx\n"
	   "2: incl (%rbx); add $0x1000, %ebx; cmp $0x500000, %ebx; jne 2b\n"
	   "incq DATA_GPA; jmp 1b\n");

static void *breathe(void *arg)
{
	struct changer *c = arg;
	u64 end = now_ns() + 20000000000ULL;
	int i;

	/* Until the guest has got somewhere, however slow the host is */
	for (i = 0; now_ns() < end && (i < 100 || guest_u64(c->vm, DATA_GPA) < 5); i++) {
		madvise(c->mem, 256 * KIB, MADV_DONTNEED);
		madvise((u8 *)c->mem + 512 * KIB, 64 * KIB, MADV_FREE);
		usleep(2000);
	}
	__atomic_store_n(&c->vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	do_ioctl(c->vcpu->fd, VMM_KICK, NULL);
	return NULL;
}

TEST_F(memory, balloon)
{
	struct changer c = {
		.vm = self->vm, .vcpu = self->vcpu, .mem = map_memory(1 * MIB),
	};
	pthread_t thread;
	u32 i;

	ASSERT_EQ(0, slot(1, 0x400000, 1 * MIB, c.mem, 0));
	vcpu_load(self->vcpu, MODE_LONG, hammer);
	guest_u64(self->vm, DATA_GPA) = 0;
	self->vcpu->timeout_ms = 25000;
	ASSERT_EQ(0, pthread_create(&thread, NULL, breathe, &c));
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	pthread_join(thread, NULL);
	EXPECT_GE(guest_u64(self->vm, DATA_GPA), 5);
	/* No count is older than the last time that its page went. */
	ASSERT_EQ(0, madvise(c.mem, 1 * MIB, MADV_DONTNEED));
	self->vcpu->run->immediate_exit = 0;
	for (i = 0; i < 256; i++)
		EXPECT_EQ(0, c.mem[i * PAGE / 4]);
}

/* ---- two VMs ---- */

TEST_F(memory, two_vms_are_apart)
{
	struct vm *other = vm_create(1 * MIB, 0);
	struct vcpu *theirs = vcpu_create(other, 0);
	u32 *mine = map_memory(PAGE), *shared = map_memory(PAGE);
	int i;

	/* The same addresses in both guests: one page each of their own, one in common */
	ASSERT_EQ(0, slot(1, 0x400000, PAGE, mine, 0));
	ASSERT_EQ(0, slot(2, 0x402000, PAGE, shared, 0));
	ASSERT_EQ(0, vm_set_slot(other, 1, 0x400000, PAGE, map_memory(PAGE), 0));
	ASSERT_EQ(0, vm_set_slot(other, 2, 0x402000, PAGE, shared, 0));
	vcpu_load(self->vcpu, MODE_LONG, writer);
	vcpu_load(theirs, MODE_LONG, writer);
	for (i = 0; i < 50; i++) {
		tell(self->vcpu, 0x400000);
		run_value(self->vcpu);
		tell(theirs, 0x400000);
		run_value(theirs);
		tell(theirs, 0x402000);
		run_value(theirs);
		tell(self->vcpu, 0x402000);
		run_value(self->vcpu);
	}
	EXPECT_EQ(50, mine[0]);
	EXPECT_EQ(100, shared[0]);
	vm_destroy(other);
	tell(self->vcpu, 0x400000);
	run_value(self->vcpu);
	EXPECT_EQ(51, mine[0]);
}

TEST_HARNESS_MAIN
