// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots: as many and as large as there can be, and changed while vCPUs look at them.
 */
/* also: intel-sandy_bridge intel-debug */
/* hosts: smp 6.12 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "remote.h"

#define BASE	0x800000		/* guest-physical */

/* ---- large ones ---- */

#define TIB	(1024 * GIB)
#define WINDOW	0x40000000		/* guest-virtual */

/*
 * One slot for all that the guest can address, or 1 TiB of it. It is as cheap as a small one
 * until it is used, and used costs what is used.
 */
TEST(one_of_a_tebibyte)
{
	struct vm *vm = vm_create(0, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u64 bytes = 1ULL << (vm->info.gpa_bits < 40 ? vm->info.gpa_bits : 40);
	u8 *mem = map_memory(bytes);
	long before, used;
	u32 i;

	madvise(mem, bytes, MADV_NOHUGEPAGE);
	before = host_counter("/proc/meminfo", "MemFree");
	ASSERT_EQ(0, vm_set_slot(vm, 0, 0, bytes, mem, 0));
	vm->mem = mem;
	vm->mem_size = bytes;
	remote_start(vcpu);
	for (i = 0; i < 32; i++)
		guest_map(vm, WINDOW + i * PAGE, (i + 1) * (bytes / 32) - PAGE, PTE_P | PTE_RW);
	for (i = 0; i < 32; i++)
		remote_write32(vcpu, WINDOW + i * PAGE + 8 * i, i + 1);
	for (i = 0; i < 32; i++)
		EXPECT_EQ(i + 1, *(u32 *)(mem + (i + 1) * (bytes / 32) - PAGE + 8 * i));
	EXPECT_EQ(32, remote_read32(vcpu, WINDOW + 31 * PAGE + 31 * 8));
	/* 4 bytes a page would be 1 GiB. */
	used = before - host_counter("/proc/meminfo", "MemFree");
	TH_LOG("%llu GiB: %ld KiB used", bytes / GIB, used);
	EXPECT_LT(used, 16 * 1024);
	/* All of it goes at once, by the host and by the slot. */
	ASSERT_EQ(0, madvise(mem, bytes, MADV_DONTNEED));
	remote_start(vcpu);
	guest_map(vm, WINDOW, bytes - PAGE, PTE_P | PTE_RW);
	EXPECT_EQ(0, remote_read32(vcpu, WINDOW + 31 * 8));
	ASSERT_EQ(0, vm_set_slot(vm, 0, 0, 0, NULL, 0));
	vm_destroy(vm);
}

/* From one page on */
TEST(all_sizes)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u64 bytes, last = 1ULL << (vm->info.gpa_bits - 1);
	u8 *mem = map_memory(last);

	remote_start(vcpu);
	for (bytes = PAGE; bytes <= last; bytes *= 4) {
		ASSERT_EQ(0, vm_set_slot(vm, 1, last, bytes, mem, 0));
		guest_map(vm, WINDOW, last + bytes - PAGE, PTE_P | PTE_RW);
		guest_map(vm, WINDOW + PAGE, last + bytes, PTE_P | PTE_RW);
		remote_exits = 0;
		remote_write32(vcpu, WINDOW + PAGE - 4, bytes / PAGE);
		EXPECT_EQ(0, remote_exits);
		EXPECT_EQ((u32)(bytes / PAGE), *(u32 *)(mem + bytes - 4));
		if (last + bytes >= 1ULL << vm->info.gpa_bits)
			break;
		/* The next byte is a device's. */
		remote_write32(vcpu, WINDOW + PAGE, 1);
		EXPECT_EQ(1, remote_exits);
		EXPECT_EQ(last + bytes, remote_exit.mmio.gpa);
		/* The window has other memory behind it the next time. */
		ASSERT_EQ(0, vm_set_slot(vm, 1, 0, 0, NULL, 0));
		remote_start(vcpu);
	}
	vm_destroy(vm);
}

/* ---- many ---- */

/* Added in no order, each is found; deleted, it is a device's address again. */
TEST(all_of_them)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u32 slots = vm->info.max_slots, i, step, n;
	u8 *mem = map_memory(slots * PAGE);

	step = host_is_slow() ? 7 : 1;
	for (i = 1; i < slots; i++) {
		/* 331 and the number of slots, a power of two, have no common divisor. */
		n = i * 331 % slots;
		*(u32 *)(mem + n * PAGE) = n;
		ASSERT_EQ(0, vm_set_slot(vm, n, BASE + n * 2 * PAGE, PAGE, mem + n * PAGE, 0));
	}
	remote_start(vcpu);
	for (i = 1; i < slots; i += step) {
		EXPECT_EQ(i, remote_read32(vcpu, BASE + i * 2 * PAGE));
		EXPECT_EQ(~0U, remote_read32(vcpu, BASE + i * 2 * PAGE + PAGE));
	}
	for (i = 2; i < slots; i += 2)
		ASSERT_EQ(0, vm_set_slot(vm, i, 0, 0, NULL, 0));
	for (i = 1; i < slots; i += step)
		EXPECT_EQ(i % 2 ? i : ~0U, remote_read32(vcpu, BASE + i * 2 * PAGE));
	vm_destroy(vm);
}

/* A slot may move onto its own place, and a smaller one take a part of what it was. */
TEST(onto_itself)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u8 *mem = map_memory(8 * PAGE);
	u32 i;

	for (i = 0; i < 8; i++)
		*(u32 *)(mem + i * PAGE) = i;
	remote_start(vcpu);
	ASSERT_EQ(0, vm_set_slot(vm, 1, BASE, 8 * PAGE, mem, 0));
	for (i = 0; i < 8; i++)
		EXPECT_EQ(i, remote_read32(vcpu, BASE + i * PAGE));
	ASSERT_EQ(0, vm_set_slot(vm, 1, BASE + 3 * PAGE, 8 * PAGE, mem, 0));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(~0U, remote_read32(vcpu, BASE + i * PAGE));
	for (i = 0; i < 8; i++)
		EXPECT_EQ(i, remote_read32(vcpu, BASE + (i + 3) * PAGE));
	ASSERT_EQ(0, vm_set_slot(vm, 1, BASE + 5 * PAGE, 2 * PAGE, mem + 6 * PAGE, 0));
	for (i = 0; i < 12; i++)
		EXPECT_EQ(i == 5 ? 6 : i == 6 ? 7 : ~0U, remote_read32(vcpu, BASE + i * PAGE));
	vm_destroy(vm);
}

#define WINDOWS		24
#define WINDOW_PAGES	8
#define HOST_PAGES	32

/*
 * Slots may lie over each other in the host: what goes there goes from all that have some of it.
 */
TEST(overlapping_in_the_host)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	u8 *mem = map_memory(HOST_PAGES * PAGE);
	int rounds = host_is_slow() ? 2 : 12, round;
	u32 from[WINDOWS], i, k;

	remote_start(vcpu);
	srandom(815);
	for (i = 0; i < WINDOWS; i++) {
		from[i] = random() % (HOST_PAGES - WINDOW_PAGES + 1);
		ASSERT_EQ(0, vm_set_slot(vm, i + 1, BASE + i * 2 * WINDOW_PAGES * PAGE,
					 WINDOW_PAGES * PAGE, mem + from[i] * PAGE, 0));
	}
	for (round = 1; round <= rounds; round++) {
		u32 first = random() % HOST_PAGES;
		u32 count = 1 + random() % (HOST_PAGES - first);

		ASSERT_EQ(0, madvise(mem + first * PAGE, count * PAGE, MADV_DONTNEED));
		for (k = 0; k < HOST_PAGES; k++)
			*(u32 *)(mem + k * PAGE) = round * HOST_PAGES + k;
		for (i = 0; i < WINDOWS; i++)
			for (k = 0; k < WINDOW_PAGES; k++)
				EXPECT_EQ(round * HOST_PAGES + from[i] + k,
					  remote_read32(vcpu, BASE + (i * 2 * WINDOW_PAGES + k) *
							PAGE));
		/* Some of them go elsewhere. */
		i = random() % WINDOWS;
		from[i] = random() % (HOST_PAGES - WINDOW_PAGES + 1);
		ASSERT_EQ(0, vm_set_slot(vm, i + 1, BASE + i * 2 * WINDOW_PAGES * PAGE,
					 WINDOW_PAGES * PAGE, mem + from[i] * PAGE, 0));
	}
	vm_destroy(vm);
}

/* ---- changed while vCPUs run ---- */

#define PLACES	8			/* where a slot may be */
#define PLACE	(64 * PAGE)		/* from one to the next */
#define SIZE	(4 * PAGE)		/* of a slot */
#define SLOTS	5
#define SLOT_PAGES ((int)(SIZE / PAGE))
#define ALL	(PLACES * SLOT_PAGES)
#define CHANGES	120

/*
 * Reads a doubleword of each page of each place into a table at RBP and writes another, over and
 * over. RDI counts.
 */
GUEST_CODE(look_around, 64,
	   "1: inc %edi; mov %rbp, %rsi; mov $0x800000, %ebx\n"
	   "2: mov (%rbx), %eax; mov %eax, (%rsi); mov %edi, 8(%rbx)\n"
	   "add $4, %rsi; add $0x1000, %rbx; test $0x3000, %ebx; jnz 2b\n"
	   "add $0x3c000, %rbx; cmp $0xa00000, %rbx; jb 2b\n"
	   "mov %edi, -4(%rbp); jmp 1b\n");

struct looker {
	struct vcpu *vcpu;
	u64 table;
	u64 mmio;
	bool stop;
};

static void *look(void *arg)
{
	struct looker *l = arg;
	struct vmm_exit *e = &l->vcpu->run->exit;
	int ret;

	while (!__atomic_load_n(&l->stop, __ATOMIC_SEQ_CST)) {
		ret = vcpu_run_raw(l->vcpu);
		if (ret == -EINTR)
			continue;
		if (ret || e->reason != VMM_EXIT_MMIO) {
			vcpu_print(l->vcpu);
			fail("exit %s: %s", exit_name(e->reason), strerror(-ret));
		}
		if (!e->mmio.write)
			e->mmio.data = ~0ULL;
		l->mmio++;
	}
	return NULL;
}

struct place {
	int slot;		/* -1: none */
	bool readonly;
};

/* RBP: where it notes what it sees; RDI: how often it has been around, which no two begin with */
static void make_looker(struct vm *vm, struct looker *looker, int index, const u8 *code,
			size_t size)
{
	struct vcpu *vcpu = vcpu_create(vm, index);

	looker->vcpu = vcpu;
	looker->table = DATA_GPA + 16 + index * 0x1000;
	vcpu_load_code(vcpu, MODE_LONG, code, size);
	vcpu->state.regs.gpr[VMM_RBP] = looker->table;
	vcpu->state.regs.gpr[VMM_RDI] = index << 24;
	vcpu_set(vcpu, VMM_STATE_REGS);
	/* The same in memory: or the first end would count as many. */
	*(u32 *)guest_ptr(vm, looker->table - 4, 4) = index << 24;
}

/* Until each has been around once from its beginning */
static void wait_around(struct vm *vm, struct looker *lookers, int count)
{
	u64 end = now_ns() + 20000000000ULL;
	int i;

	for (i = 0; i < count; i++) {
		u32 before = guest_u32(vm, lookers[i].table - 4);

		while (guest_u32(vm, lookers[i].table - 4) - before < 2) {
			if (now_ns() > end)
				fail("vCPU %d does not get around", i);
			usleep(100);
		}
	}
}

static int place_of(const struct place *places, int slot)
{
	int i;

	for (i = 0; i < PLACES; i++)
		if (places[i].slot == slot)
			return i;
	return -1;
}

TEST(changed_while_vcpus_run)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct looker lookers[2] = { };
	struct place places[PLACES];
	u8 *mem = map_memory(SLOTS * SIZE);
	int count = host_cpus() > 1 ? 2 : 1;
	pthread_t threads[2];
	u32 i, round, kept[SLOTS];
	int k;

	for (i = 0; i < SLOTS * SIZE / PAGE; i++)
		*(u32 *)(mem + i * PAGE) = 100 + i;
	for (i = 0; i < PLACES; i++)
		places[i] = (struct place){ -1 };
	srandom(4711);
	for (k = 0; k < count; k++)
		make_looker(vm, &lookers[k], k, look_around, code_size(look_around));
	for (k = 0; k < count; k++)
		ASSERT_EQ(0, pthread_create(&threads[k], NULL, look, &lookers[k]));

	for (round = 0; round < (host_is_slow() ? CHANGES / 4 : CHANGES); round++) {
		int slot = random() % SLOTS, to = random() % PLACES;
		int from = place_of(places, slot);
		bool readonly = random() % 3 == 0;
		u8 *backing = mem + slot * SIZE;
		int ret;

		if (random() % 4 == 0) {
			ret = vm_set_slot(vm, slot + 1, 0, 0, NULL, 0);
			ASSERT_EQ(from < 0 ? -ENOENT : 0, ret);
			if (from >= 0)
				places[from].slot = -1;
		} else {
			ret = vm_set_slot(vm, slot + 1, BASE + to * PLACE, SIZE, backing,
					  readonly ? VMM_MEM_READONLY : 0);
			if (places[to].slot >= 0 && to != from) {
				ASSERT_EQ(-EEXIST, ret);
				continue;
			}
			ASSERT_EQ(0, ret);
			if (from >= 0)
				places[from].slot = -1;
			places[to] = (struct place){ slot, readonly };
		}
		/* From here on nobody sees what was before, or writes what may not be written. */
		for (i = 0; i < SLOTS; i++)
			kept[i] = *(volatile u32 *)(mem + i * SIZE + 8);
		wait_around(vm, lookers, count);
		for (i = 0; i < SLOTS; i++) {
			u32 now = *(volatile u32 *)(mem + i * SIZE + 8);
			int at = place_of(places, i);
			bool writable = at >= 0 && !places[at].readonly;

			EXPECT_EQ(writable, now != kept[i]) TH_LOG("round %u slot %u", round, i);
		}
		for (i = 0; i < ALL * count; i++) {
			u32 page = i % ALL % SLOT_PAGES;
			int there = places[i % ALL / SLOT_PAGES].slot;
			u32 seen = guest_u32(vm, lookers[i / ALL].table + i % ALL * 4);

			EXPECT_EQ(there < 0 ? ~0U : 100 + there * SLOT_PAGES + page, seen)
				TH_LOG("round %u vCPU %u place %u", round, i / ALL, i % ALL);
		}
	}
	for (k = 0; k < count; k++) {
		__atomic_store_n(&lookers[k].stop, true, __ATOMIC_SEQ_CST);
		__atomic_store_n(&lookers[k].vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		do_ioctl(lookers[k].vcpu->fd, VMM_KICK, NULL);
		pthread_join(threads[k], NULL);
		EXPECT_GT(lookers[k].mmio, 0);
	}
	vm_destroy(vm);
}

/* ---- one host page in many slots ---- */

#define ALIASES		64
#define VIEWS		3

/* Reads a doubleword of each alias into a table at RBP, over and over. EDI counts. */
GUEST_CODE(read_aliases, 64,
	   "1: inc %edi; mov %rbp, %rsi; mov $0x800000, %ebx\n"
	   "2: mov (%rbx), %eax; mov %eax, (%rsi)\n"
	   "add $4, %rsi; add $0x1000, %rbx; cmp $0x840000, %rbx; jb 2b\n"
	   "mov %edi, -4(%rbp); jmp 1b\n");

struct changer {
	struct vm *vm;
	u8 *page;
	bool stop;
};

/* Slots and views come and go. */
static void *change(void *arg)
{
	struct changer *c = arg;
	struct vmm_view view;
	u32 i = 0;

	while (!__atomic_load_n(&c->stop, __ATOMIC_SEQ_CST)) {
		i = (i + 37) % ALIASES;
		view = (struct vmm_view){ .size = sizeof(view) };
		if (do_ioctl(c->vm->fd, VMM_CREATE_VIEW, &view) ||
		    vm_set_slot(c->vm, i + 1, 0, 0, NULL, 0) ||
		    vm_set_slot(c->vm, i + 1, BASE + i * PAGE, PAGE, c->page, 0) ||
		    do_ioctl(c->vm->fd, VMM_DESTROY_VIEW, &view))
			fail("slot %u, view %u", i, view.view);
		/* A fault during which slots change begins again: one must get through. */
		usleep(200 * host_slower());
	}
	return NULL;
}

/*
 * What goes in the host goes from all slots and views that have it, while vCPUs fault there and
 * other slots and views come and go.
 */
TEST(aliases_while_vcpus_run)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct changer changer = { .vm = vm, .page = map_memory(PAGE) };
	struct vmm_view view = { .size = sizeof(view) };
	int count = host_cpus() > 1 ? 2 : 1, k;
	struct looker lookers[2] = { };
	pthread_t threads[2], other;
	u32 round, i;

	for (i = 0; i < ALIASES; i++)
		ASSERT_EQ(0, vm_set_slot(vm, i + 1, BASE + i * PAGE, PAGE, changer.page, 0));
	for (k = 0; k < count; k++)
		make_looker(vm, &lookers[k], k, read_aliases, code_size(read_aliases));
	/* The last in a view of its own, behind empty ones */
	for (i = 1; i < VIEWS; i++) {
		view.view = 0;
		ASSERT_EQ(0, do_ioctl(vm->fd, VMM_CREATE_VIEW, &view));
	}
	ASSERT_EQ(0, do_ioctl(lookers[count - 1].vcpu->fd, VMM_SET_VIEW, &view));
	for (k = 0; k < count; k++)
		ASSERT_EQ(0, pthread_create(&threads[k], NULL, look, &lookers[k]));
	ASSERT_EQ(0, pthread_create(&other, NULL, change, &changer));

	for (round = 1; round <= (host_slower() > 1 ? 10 : 100); round++) {
		ASSERT_EQ(0, madvise(changer.page, PAGE, MADV_DONTNEED));
		*(volatile u32 *)changer.page = round;
		wait_around(vm, lookers, count);
		for (i = 0; i < ALIASES * count; i++) {
			u32 seen = guest_u32(vm, lookers[i / ALIASES].table + i % ALIASES * 4);

			EXPECT_TRUE(seen == round || seen == ~0U)
				TH_LOG("round %u vCPU %u slot %u: %u", round, i / ALIASES,
				       i % ALIASES + 1, seen);
		}
	}
	__atomic_store_n(&changer.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(other, NULL);
	for (k = 0; k < count; k++) {
		__atomic_store_n(&lookers[k].stop, true, __ATOMIC_SEQ_CST);
		__atomic_store_n(&lookers[k].vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		do_ioctl(lookers[k].vcpu->fd, VMM_KICK, NULL);
		pthread_join(threads[k], NULL);
	}
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
