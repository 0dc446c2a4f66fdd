// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls that no program would make: each with arguments that are right in most fields and
 * wrong in some, on files of all kinds, from threads that race with one another while files
 * are closed, memory goes away, and processes fork and exec.
 *
 *	fuzz_abi [--seed N] [--calls N] [--seconds N] [--threads N] [--round N]
 *
 * Each round is a process of its own with its own seed, printed where something fails:
 * "--seed N --round M" repeats the round, exactly so with --threads 1. Where the kernel has
 * KCOV, arguments that reached new code are kept and changed further.
 *
 * What may not happen: an error number that is the kernel's own, a call that does not end,
 * a VM that does not work afterwards; and, as always, a word in the host's log.
 */
/* timeout: 240 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "fuzz.h"
#include "kselftest.h"
#include "vmmtest.h"

#define CALLS_PER_ROUND	3000
#define ROUND_SECONDS	60
#define MAX_THREADS	8

/* ---- what the calls are about ------------------------------------------------- */

enum file_kind { DEV, VM, VCPU, EVENT, NR_FILE_KINDS };

#define FILES		6	/* of each kind */
#define SLOTS		1	/* the highest: a few calls shall find what others have made */
#define GUEST_BYTES	(4 * MIB)
#define ARENA_BYTES	(64 * KIB)

/* Open files, which any thread replaces and closes at any time; -1: none */
static atomic_int files[NR_FILE_KINDS][FILES];
/* Run areas and rings, of the sizes below; NULL: none */
static struct mapping {
	u8 *_Atomic at;
} areas[FILES], rings[FILES];
static u8 *guest_memory;
static struct vmm_cpuid_entry *cpuid_entries;
static u32 cpuid_count;
static long tick_ns;

struct thread {
	struct random random;
	struct coverage coverage;
	unsigned int calls;
	u8 *arena;		/* ARENA_BYTES, then a page that cannot be accessed */
	timer_t timer;
	pthread_t handle;
};

static int pick_file(struct thread *t, enum file_kind kind)
{
	if (chance(&t->random, 32))
		kind = below(&t->random, NR_FILE_KINDS);
	return files[kind][below(&t->random, FILES)];
}

static void put_file(struct thread *t, enum file_kind kind, int fd)
{
	int old = atomic_exchange(&files[kind][below(&t->random, FILES)], fd);

	if (old >= 0)
		close(old);
}

#define AREA_BYTES	PAGE
#define RING_BYTES	(PAGE + VMM_RING_MIN * 8)

/*
 * How often each call was made, and how often it worked; of all rounds. Behind the calls: mmap() of
 * run areas and of rings
 */
static struct count {
	atomic_uint made;
	atomic_uint worked;
} *counts;

/* ---- arguments ---------------------------------------------------------------- */

enum field_kind {
	SIZE,		/* of the structure */
	FLAGS,		/* bits out of @limit */
	NUMBER,		/* below @limit */
	ZERO,
	ANY,
	ADDRESS,	/* guest-physical */
	MSI_ADDRESS,
	BYTES,		/* of memory */
	PAGES,
	MEMORY,		/* the process's own, for the guest */
	FILE_EVENT,
	ENTRIES,	/* of a dirty ring */
	COUNT,		/* elements at the POINTER that follows, of @limit bytes */
	POINTER,
};

struct field {
	u16 offset;
	u8 width;
	u8 kind;
	u64 limit;
};

struct call {
	const char *name;
	unsigned long request;
	enum file_kind on;
	u32 size;
	const struct field *fields;
	unsigned int nr_fields;
	void (*elements)(struct thread *t, void *to, u32 count);
	bool creates;		/* returns a file... */
	enum file_kind created;	/* ...of this kind */
	unsigned long get;	/* for a set call: what gives valid values */
};

#define F(type, member, kind, limit)						\
	{ offsetof(struct type, member), sizeof(((struct type *)0)->member), kind, limit }
#define HEAD(type, known) F(type, size, SIZE, 0), F(type, flags, FLAGS, known)

static void fill_routes(struct thread *t, void *to, u32 count)
{
	struct vmm_route *route = to;

	for (; count--; route++)
		*route = (struct vmm_route){
			.gsi = below(&t->random, 30),
			.type = chance(&t->random, 64) ? below(&t->random, 5) :
							 VMM_ROUTE_PIC + below(&t->random, 3),
			.pin = below(&t->random, chance(&t->random, 64) ? 26 : 16),
			.data = below(&t->random, 0x200),
			.address = 0xfee00000 | below(&t->random, 8) << 12,
		};
}

static void fill_msrs(struct thread *t, void *to, u32 count)
{
	struct vmm_msr_entry *entry = to;

	for (; count--; entry++)
		*entry = (struct vmm_msr_entry){
			.index = interesting_msr(&t->random), .data = edge(&t->random),
		};
}

static void fill_ranges(struct thread *t, void *to, u32 count)
{
	struct vmm_msr_range *range = to;

	for (; count--; range++)
		*range = (struct vmm_msr_range){
			.base = interesting_msr(&t->random), .count = below(&t->random, 0x40),
			.access = below(&t->random, 5), .action = below(&t->random, 3),
		};
}

static void fill_cpuid(struct thread *t, void *to, u32 count)
{
	struct vmm_cpuid_entry *entry = to;

	for (u32 i = 0; i < count; i++) {
		entry[i] = cpuid_entries[i % cpuid_count];
		if (chance(&t->random, 64))
			((u32 *)&entry[i])[below(&t->random, 8)] = edge(&t->random);
	}
}

static const struct field info_fields[] = { HEAD(vmm_info, 0) };

static const struct field create_vm_fields[] = { HEAD(vmm_vm_create, VMM_VM_IRQCHIPS) };

static const struct field cpuid_fields[] = {
	HEAD(vmm_cpuid, 0), F(vmm_cpuid, count, COUNT, sizeof(struct vmm_cpuid_entry)),
	F(vmm_cpuid, reserved, ZERO, 0), F(vmm_cpuid, entries, POINTER, 0),
};

static const struct field msr_list_fields[] = {
	HEAD(vmm_msr_list, 0), F(vmm_msr_list, count, COUNT, sizeof(u32)),
	F(vmm_msr_list, reserved, ZERO, 0), F(vmm_msr_list, indices, POINTER, 0),
};

static const struct field memory_fields[] = {
	HEAD(vmm_memory, VMM_MEM_READONLY | VMM_MEM_LOG_DIRTY), F(vmm_memory, slot, NUMBER, SLOTS),
	F(vmm_memory, reserved, ZERO, 0), F(vmm_memory, gpa, ADDRESS, 0),
	F(vmm_memory, bytes, BYTES, 0), F(vmm_memory, hva, MEMORY, 0),
};

static const struct field create_vcpu_fields[] = {
	HEAD(vmm_vcpu_create, 0), F(vmm_vcpu_create, id, NUMBER, 20),
	F(vmm_vcpu_create, reserved, ZERO, 0),
};

static const struct field irq_line_fields[] = {
	HEAD(vmm_irq_line, 0), F(vmm_irq_line, gsi, NUMBER, 26),
	F(vmm_irq_line, level, NUMBER, 2),
};

static const struct field msi_fields[] = {
	HEAD(vmm_msi, 0), F(vmm_msi, address, MSI_ADDRESS, 0), F(vmm_msi, data, NUMBER, 0x7ff),
	F(vmm_msi, reserved, ZERO, 0),
};

static const struct field routes_fields[] = {
	HEAD(vmm_routes, 0), F(vmm_routes, count, COUNT, sizeof(struct vmm_route)),
	F(vmm_routes, reserved, ZERO, 0), F(vmm_routes, routes, POINTER, 0),
};

static const struct field irqfd_fields[] = {
	HEAD(vmm_irqfd, VMM_IRQFD_DEASSIGN | VMM_IRQFD_RESAMPLE),
	F(vmm_irqfd, fd, FILE_EVENT, 0), F(vmm_irqfd, gsi, NUMBER, 26),
	F(vmm_irqfd, resample_fd, FILE_EVENT, 0), F(vmm_irqfd, reserved, ZERO, 0),
};

static const struct field ioeventfd_fields[] = {
	HEAD(vmm_ioeventfd, 7), F(vmm_ioeventfd, address, ADDRESS, 0),
	F(vmm_ioeventfd, length, NUMBER, 4), F(vmm_ioeventfd, fd, FILE_EVENT, 0),
	F(vmm_ioeventfd, match, ANY, 0),
};

static const struct field vm_state_fields[] = {
	HEAD(vmm_vm_state, 0), F(vmm_vm_state, groups, FLAGS, VMM_VM_STATE_ALL),
};

static const struct field policy_fields[] = {
	HEAD(vmm_msr_policy, VMM_MSR_POLICY_UNKNOWN_EXIT),
	F(vmm_msr_policy, count, COUNT, sizeof(struct vmm_msr_range)),
	F(vmm_msr_policy, reserved, ZERO, 0), F(vmm_msr_policy, ranges, POINTER, 0),
};

static const struct field state_fields[] = {
	HEAD(vmm_state, 0), F(vmm_state, groups, FLAGS, VMM_STATE_ALL),
	F(vmm_state, xsave.area, POINTER, 0), F(vmm_state, xsave.area_size, NUMBER, 0x3000),
};

static const struct field msrs_fields[] = {
	HEAD(vmm_msrs, 0), F(vmm_msrs, count, COUNT, sizeof(struct vmm_msr_entry)),
	F(vmm_msrs, reserved, ZERO, 0), F(vmm_msrs, entries, POINTER, 0),
};

static const struct field inject_fields[] = {
	HEAD(vmm_inject, 0), F(vmm_inject, event.type, NUMBER, 6),
	F(vmm_inject, event.vector, NUMBER, 256), F(vmm_inject, event.has_error, NUMBER, 2),
	F(vmm_inject, event.insn_len, ZERO, 0), F(vmm_inject, event.error, NUMBER, 0x10000),
	F(vmm_inject, event.payload, ZERO, 0),
};

static const struct field translate_fields[] = {
	HEAD(vmm_translate, 0), F(vmm_translate, access, FLAGS, 15),
	F(vmm_translate, gva, ADDRESS, 0),
};

static const struct field exits_fields[] = {
	HEAD(vmm_exits, 0), F(vmm_exits, exits, NUMBER, 0x7f), F(vmm_exits, dr[0], ZERO, 0),
	F(vmm_exits, dr7, ZERO, 0),
};

static const struct field stats_fields[] = {
	HEAD(vmm_stats, 0), F(vmm_stats, count, COUNT, sizeof(struct vmm_stat)),
	F(vmm_stats, reserved, ZERO, 0), F(vmm_stats, stats, POINTER, 0),
};

static const struct field view_fields[] = {
	HEAD(vmm_view, 0), F(vmm_view, view, NUMBER, 4), F(vmm_view, reserved, ZERO, 0),
};

static const struct field new_view_fields[] = {
	HEAD(vmm_view, 0), F(vmm_view, view, ZERO, 0), F(vmm_view, reserved, ZERO, 0),
};

static const struct field page_access_fields[] = {
	HEAD(vmm_page_access, 0), F(vmm_page_access, view, NUMBER, 4),
	F(vmm_page_access, access, FLAGS, 7), F(vmm_page_access, gpa, ADDRESS, 0),
	F(vmm_page_access, bytes, BYTES, 0),
};

static const struct field dirty_fields[] = {
	HEAD(vmm_dirty, VMM_DIRTY_CLEAR), F(vmm_dirty, slot, NUMBER, SLOTS),
	F(vmm_dirty, reserved, ZERO, 0), F(vmm_dirty, first, ZERO, 0),
	F(vmm_dirty, pages, PAGES, 0), F(vmm_dirty, bitmap, POINTER, 0),
};

static const struct field range_fields[] = {
	HEAD(vmm_range, 0), F(vmm_range, gpa, ADDRESS, 0), F(vmm_range, bytes, BYTES, 0),
};

static const struct field prefault_fields[] = {
	HEAD(vmm_prefault, VMM_PREFAULT_WRITE), F(vmm_prefault, gpa, ADDRESS, 0),
	F(vmm_prefault, bytes, BYTES, 0),
};

static const struct field touched_fields[] = {
	HEAD(vmm_touched, VMM_TOUCHED_CLEAR), F(vmm_touched, gpa, ADDRESS, 0),
	F(vmm_touched, bytes, BYTES, 0), F(vmm_touched, bitmap, POINTER, 0),
};

static const struct field ring_fields[] = {
	HEAD(vmm_ring, 0), F(vmm_ring, entries, ENTRIES, 0), F(vmm_ring, reserved, ZERO, 0),
};

static const struct field device_fields[] = {
	HEAD(vmm_device_access, VMM_DEVICE_WRITE), F(vmm_device_access, address, ADDRESS, 0),
	F(vmm_device_access, data, NUMBER, 0xff), F(vmm_device_access, bytes, NUMBER, 8),
};

static const struct field port_fields[] = {
	HEAD(vmm_device_access, VMM_DEVICE_WRITE | VMM_DEVICE_IO),
	F(vmm_device_access, address, NUMBER, 0x100), F(vmm_device_access, data, NUMBER, 0xff),
	F(vmm_device_access, bytes, NUMBER, 8),
};

#define CALL(request, on, type, fields, ...)					\
	{ #request, request, on, sizeof(struct type), fields, ARRAY_SIZE(fields), __VA_ARGS__ }

static const struct call calls[] = {
	CALL(VMM_GET_INFO, DEV, vmm_info, info_fields),
	CALL(VMM_CREATE_VM, DEV, vmm_vm_create, create_vm_fields, .creates = true, .created = VM),
	CALL(VMM_GET_CPUID, DEV, vmm_cpuid, cpuid_fields),
	CALL(VMM_GET_MSR_LIST, DEV, vmm_msr_list, msr_list_fields),
	CALL(VMM_SET_MEMORY, VM, vmm_memory, memory_fields),
	CALL(VMM_CREATE_VCPU, VM, vmm_vcpu_create, create_vcpu_fields, .creates = true,
	     .created = VCPU),
	CALL(VMM_IRQ_LINE, VM, vmm_irq_line, irq_line_fields),
	CALL(VMM_SIGNAL_MSI, VM, vmm_msi, msi_fields),
	CALL(VMM_SET_ROUTES, VM, vmm_routes, routes_fields, fill_routes),
	CALL(VMM_IRQFD, VM, vmm_irqfd, irqfd_fields),
	CALL(VMM_IOEVENTFD, VM, vmm_ioeventfd, ioeventfd_fields),
	CALL(VMM_GET_VM_STATE, VM, vmm_vm_state, vm_state_fields),
	CALL(VMM_SET_VM_STATE, VM, vmm_vm_state, vm_state_fields, .get = VMM_GET_VM_STATE),
	CALL(VMM_SET_MSR_POLICY, VM, vmm_msr_policy, policy_fields, fill_ranges),
	CALL(VMM_GET_DIRTY, VM, vmm_dirty, dirty_fields),
	CALL(VMM_CLEAR_DIRTY, VM, vmm_dirty, dirty_fields),
	CALL(VMM_MARK_DIRTY, VM, vmm_range, range_fields),
	CALL(VMM_PREFAULT, VM, vmm_prefault, prefault_fields),
	CALL(VMM_GET_TOUCHED, VM, vmm_touched, touched_fields),
	{ "VMM_RESET_RINGS", VMM_RESET_RINGS, VM },
	CALL(VMM_SET_RING, VCPU, vmm_ring, ring_fields),
	CALL(VMM_CREATE_VIEW, VM, vmm_view, new_view_fields),
	CALL(VMM_DESTROY_VIEW, VM, vmm_view, view_fields),
	CALL(VMM_SET_PAGE_ACCESS, VM, vmm_page_access, page_access_fields),
	CALL(VMM_SET_VIEW, VCPU, vmm_view, view_fields),
	{ "VMM_RUN", VMM_RUN, VCPU },
	CALL(VMM_GET_STATE, VCPU, vmm_state, state_fields),
	CALL(VMM_SET_STATE, VCPU, vmm_state, state_fields, .get = VMM_GET_STATE),
	CALL(VMM_SET_CPUID, VCPU, vmm_cpuid, cpuid_fields, fill_cpuid),
	CALL(VMM_GET_CPUID, VCPU, vmm_cpuid, cpuid_fields),
	CALL(VMM_GET_MSRS, VCPU, vmm_msrs, msrs_fields, fill_msrs),
	CALL(VMM_SET_MSRS, VCPU, vmm_msrs, msrs_fields, fill_msrs),
	CALL(VMM_INJECT, VCPU, vmm_inject, inject_fields),
	{ "VMM_KICK", VMM_KICK, VCPU },
	CALL(VMM_TRANSLATE, VCPU, vmm_translate, translate_fields),
	CALL(VMM_SET_EXITS, VCPU, vmm_exits, exits_fields),
	CALL(VMM_DEVICE_ACCESS, VCPU, vmm_device_access, device_fields),
	CALL(VMM_DEVICE_ACCESS, VCPU, vmm_device_access, port_fields),
	CALL(VMM_GET_STATS, VM, vmm_stats, stats_fields),
	CALL(VMM_GET_STATS, VCPU, vmm_stats, stats_fields),
};

static u64 address(struct thread *t)
{
	switch (below(&t->random, 8)) {
	case 0:
		return edge(&t->random);
	case 1:
		return 0xfec00000 + below(&t->random, 2) * 0x200000 +
		       (below(&t->random, 0x1000) & ~15);
	case 2:
		return below(&t->random, GUEST_BYTES);
	case 3:
		return below(&t->random, GUEST_BYTES / PAGE) * PAGE;
	default:	/* where most slots begin */
		return 0;
	}
}

static u64 pointer(struct thread *t)
{
	switch (below(&t->random, 16)) {
	case 0:
		return edge(&t->random);
	case 1:		/* up to what cannot be accessed, and a little into it */
		return (u64)t->arena + ARENA_BYTES - below(&t->random, 256);
	default:
		return (u64)t->arena;
	}
}

/* All of the guest's memory as often as less of it: logs are asked for by whole slots. */
static u64 some_pages(struct random *r)
{
	return chance(r, 2) ? GUEST_BYTES / PAGE : 1 + below(r, GUEST_BYTES / PAGE);
}

static u64 field_value(struct thread *t, const struct call *call, const struct field *field)
{
	struct random *r = &t->random;

	/* Now and then anything, in any field */
	if (chance(r, 24))
		return edge(r);
	switch (field->kind) {
	case SIZE:
		return call->size;
	case FLAGS:
		return chance(r, 3) ? field->limit : next_random(r) & next_random(r) & field->limit;
	case NUMBER:
		return below(r, field->limit + 1);
	case ZERO:
		return 0;
	case ANY:
		return edge(r);
	case ADDRESS:
		return address(t);
	case MSI_ADDRESS:
		return 0xfee00000 | below(r, 8) << 12 | below(r, 4) << 2;
	case BYTES:
		return chance(r, 4) ? 0 : some_pages(r) * PAGE;
	case PAGES:
		return some_pages(r);
	case MEMORY:
		return (u64)guest_memory + below(r, 4) * PAGE;
	case FILE_EVENT:
		return (u32)pick_file(t, EVENT);
	case ENTRIES:
		return chance(r, 4) ? edge(r) : VMM_RING_MIN << below(r, 3);
	case COUNT:
		return below(r, chance(r, 8) ? 1000 : 40);
	case POINTER:
		return pointer(t);
	}
	return 0;
}

static void put_field(u8 *arg, const struct field *field, u64 value)
{
	memcpy(arg + field->offset, &value, field->width);
}

/* Bring a guest to memory that it has, so that some of them run code. */
static void place_in_memory(struct thread *t, struct vmm_state *state)
{
	static const u64 cr0[] = { 0x10, 0x11, 0x60000010, 0x31 };
	struct vmm_segment *cs = &state->segments.seg[VMM_CS];

	cs->base = 0;
	cs->selector = 0;
	state->control.cr0 = cr0[below(&t->random, ARRAY_SIZE(cr0))];
	state->regs.rip = below(&t->random, 0x10000);
	state->events.mp_state = VMM_MP_RUNNABLE;
}

/* Valid state of @fd, with some words of it changed. False: there is none. */
static bool change_state(struct thread *t, const struct call *call, int fd, u8 *arg)
{
	struct vmm_state *state = (void *)arg;
	unsigned int changes = below(&t->random, 6);
	u64 groups, have;

	if (call->request == VMM_SET_STATE) {
		groups = next_random(&t->random) & VMM_STATE_ALL;
		have = VMM_STATE_ALL & ~VMM_STATE_LAPIC;
		state->xsave.area = (u64)t->arena;
		state->xsave.area_size = ARENA_BYTES;
	} else {
		groups = next_random(&t->random) & VMM_VM_STATE_ALL;
		have = groups;
	}
	memcpy(arg, &call->size, sizeof(u32));
	memcpy(arg + offsetof(struct vmm_state, groups), &have, sizeof(have));
	if (ioctl(fd, call->get, arg))
		return false;
	if (call->request == VMM_SET_STATE && chance(&t->random, 2))
		place_in_memory(t, state);
	memcpy(arg + offsetof(struct vmm_state, groups), &groups, sizeof(groups));
	while (changes--) {
		u64 value = edge(&t->random);
		unsigned int width = 1u << below(&t->random, 4);

		memcpy(arg + below(&t->random, call->size / width) * width, &value, width);
	}
	return true;
}

static void make_argument(struct thread *t, const struct call *call, int fd, u8 *arg)
{
	unsigned int i;
	u64 count = 0;

	memset(arg, 0, call->size);
	if (call->get && !chance(&t->random, 8) && change_state(t, call, fd, arg))
		return;
	for (i = 0; i < call->nr_fields; i++) {
		u64 value = field_value(t, call, &call->fields[i]);

		put_field(arg, &call->fields[i], value);
		if (call->fields[i].kind == COUNT)
			count = value;
	}
	if (call->elements && count && count < 1000)
		call->elements(t, t->arena, count);
}

/* An argument of another process has that one's pointers and files. */
static void renew_references(struct thread *t, const struct call *call, u8 *arg)
{
	unsigned int i;

	for (i = 0; i < call->nr_fields; i++) {
		u8 kind = call->fields[i].kind;

		if (kind == POINTER || kind == MEMORY || kind == FILE_EVENT)
			put_field(arg, &call->fields[i], field_value(t, call, &call->fields[i]));
	}
}

/* ---- calls ---------------------------------------------------------------------- */

static _Noreturn void report(const char *what, int error)
{
	printf("# %s: %s (%d)\n", what, strerror(error), error);
	fflush(stdout);
	_exit(1);
}

/* Signals to the thread, every @ns nanoseconds from then on; 0: none any more */
static void set_ticks(struct thread *t, long ns)
{
	struct itimerspec every = { { 0, ns }, { 0, ns } };

	if (timer_settime(t->timer, 0, &every, NULL))
		report("timer", errno);
}

static void one_call(struct thread *t, const struct call *call)
{
	/* In front of a page that cannot be accessed, and aligned as the structure */
	u8 *arg = t->arena + ARENA_BYTES - call->size;
	int fd = pick_file(t, chance(&t->random, 64) ? below(&t->random, NR_FILE_KINDS) : call->on);
	/* No call is left in a guest for long; some others are interrupted as well. */
	bool ticks = call->request == VMM_RUN || chance(&t->random, 8);
	long ret;

	if (!call->size)
		arg = chance(&t->random, 16) ? t->arena : NULL;
	else if (coverage_mutate(&t->coverage, &t->random, call - calls, arg, call->size))
		renew_references(t, call, arg);
	else
		make_argument(t, call, fd, arg);
	if (chance(&t->random, 64))
		arg = (u8 *)pointer(t);
	if (ticks)
		set_ticks(t, tick_ns);
	coverage_start(&t->coverage, call - calls, arg, call->size);
	ret = ioctl(fd, call->request, arg);
	counts[call - calls].made++;
	counts[call - calls].worked += ret >= 0;
	if (ret < 0) {
		if (errno >= 512 || errno == ENOSYS)
			report(call->name, errno);
	} else if (call->creates) {
		put_file(t, call->created, ret);
	}
	coverage_end(&t->coverage);
	if (ticks)
		set_ticks(t, 0);
}

enum mapping_kind { MAP_AREA = ARRAY_SIZE(calls), MAP_RING, NR_COUNTS };

static void count_mapping(enum mapping_kind what, void *at)
{
	counts[what].made++;
	counts[what].worked += at != MAP_FAILED;
}

/*
 * The old mapping of @which may go: who writes to it meanwhile does so by copy_over(). Its place
 * stays taken, or it would be something else's that is written to.
 */
static void put_mapping(struct thread *t, struct mapping *which, void *at, size_t bytes)
{
	u64 fate = below(&t->random, 4);
	u8 *old;

	if (at == MAP_FAILED)
		return;
	old = atomic_exchange(&which->at, at);
	if (!old)
		return;
	if (fate == 0)
		madvise(old, bytes, MADV_DONTNEED);
	else if (fate < 3)
		mmap(old, fate == 1 ? PAGE : bytes, PROT_NONE,
		     MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void map_area(struct thread *t)
{
	unsigned int i = below(&t->random, FILES);
	void *area;

	area = mmap(NULL, chance(&t->random, 8) ? 2 * PAGE : AREA_BYTES,
		    PROT_READ | (chance(&t->random, 8) ? 0 : PROT_WRITE),
		    chance(&t->random, 8) ? MAP_PRIVATE : MAP_SHARED, files[VCPU][i],
		    chance(&t->random, 16) ? PAGE : 0);
	count_mapping(MAP_AREA, area);
	put_mapping(t, &areas[i], area, AREA_BYTES);
}

static void map_ring(struct thread *t)
{
	unsigned int i = below(&t->random, FILES);
	off_t offset = VMM_RING_OFFSET;
	void *ring;

	if (chance(&t->random, 16))
		offset = chance(&t->random, 2) ? offset + PAGE : edge(&t->random) & ~(PAGE - 1);
	/* What is longer than it is remembered as stays. */
	ring = mmap(NULL, RING_BYTES + (chance(&t->random, 8) ? PAGE : 0),
		    PROT_READ | (chance(&t->random, 8) ? 0 : PROT_WRITE),
		    chance(&t->random, 16) ? MAP_PRIVATE : MAP_SHARED, files[VCPU][i], offset);
	count_mapping(MAP_RING, ring);
	put_mapping(t, &rings[i], ring, RING_BYTES);
}

/* As a VMM does that has read it all, or not quite; or anything, anywhere */
static void scribble_on_ring(struct thread *t)
{
	u8 *ring = rings[below(&t->random, FILES)].at;
	u64 value = edge(&t->random), kind = below(&t->random, 4);
	size_t offset = 8 * below(&t->random, RING_BYTES / 8);
	u32 collected, back = below(&t->random, 4);

	if (!ring)
		return;
	if (kind < 2) {
		if (!copy_over(&collected, ring + offsetof(struct vmm_dirty_ring, produced), 4))
			return;
		if (kind)
			collected -= back;
		copy_over(ring + offsetof(struct vmm_dirty_ring, collected), &collected, 4);
		return;
	}
	if (kind == 2)
		offset %= sizeof(struct vmm_dirty_ring);
	copy_over(ring + offset, &value, 8);
}

static void scribble_on_area(struct thread *t)
{
	u8 *area = areas[below(&t->random, FILES)].at;
	u64 value = edge(&t->random);
	size_t offset;

	if (!area)
		return;
	switch (below(&t->random, 4)) {
	case 0:
		offset = offsetof(struct vmm_run, immediate_exit);
		value &= 0x00010101;
		copy_over(area + offset, &value, 4);
		return;
	case 1:
		offset = offsetof(struct vmm_run, dirty_groups);
		value &= VMM_STATE_SYNC;
		break;
	case 2:
		offset = offsetof(struct vmm_run, sync_groups);
		value &= VMM_STATE_SYNC;
		break;
	default:
		offset = 8 * below(&t->random, sizeof(struct vmm_run) / 8);
		break;
	}
	copy_over(area + offset, &value, 8);
}

static void change_memory(struct thread *t)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_PAGEOUT,
		MADV_WILLNEED,
	};
	u8 *at = guest_memory + below(&t->random, GUEST_BYTES / PAGE) * PAGE;
	size_t bytes = (1 + below(&t->random, 16)) * PAGE;

	if (at + bytes > guest_memory + GUEST_BYTES)
		return;
	switch (below(&t->random, 6)) {
	case 0:
		mprotect(at, bytes, PROT_READ);
		break;
	case 1:
		mprotect(at, bytes, PROT_READ | PROT_WRITE);
		break;
	case 2:
		mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
		break;
	case 3:
		munmap(at, PAGE);
		mmap(at, PAGE, PROT_READ | PROT_WRITE,
		     MAP_FIXED_NOREPLACE | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		break;
	default:
		madvise(at, bytes, advice[below(&t->random, ARRAY_SIZE(advice))]);
		break;
	}
}

/* A child with the same files, which are not its own to use */
static void fork_and_exec(struct thread *t)
{
	pid_t pid = fork();

	if (!pid) {
		struct vmm_info info = { .size = sizeof(info) };
		unsigned int i;

		for (i = 0; i < FILES; i++) {
			ioctl(files[VCPU][i], VMM_RUN, 0);
			ioctl(files[VM][i], VMM_SET_MEMORY, &info);
			ioctl(files[DEV][i], VMM_GET_INFO, &info);
		}
		if (chance(&t->random, 2))
			execl("/bin/true", "true", NULL);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void other_step(struct thread *t)
{
	enum file_kind kind;
	u64 one = 1;

	switch (below(&t->random, 14)) {
	case 0:
		put_file(t, DEV, open("/dev/vmm", O_RDWR | O_CLOEXEC));
		break;
	case 1:
		put_file(t, EVENT, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
		break;
	case 2:
		if (chance(&t->random, 4))
			put_file(t, below(&t->random, NR_FILE_KINDS), -1);
		break;
	case 3:
		kind = below(&t->random, NR_FILE_KINDS);
		put_file(t, kind, dup(pick_file(t, chance(&t->random, 16) ?
						   below(&t->random, NR_FILE_KINDS) : kind)));
		break;
	case 4:
		if (chance(&t->random, 8))
			fork_and_exec(t);
		break;
	case 5:
	case 6:
		map_area(t);
		break;
	case 7:
	case 8:
		change_memory(t);
		break;
	case 9:
		if (write(pick_file(t, EVENT), &one, 8) < 0)
			break;
		break;
	case 10:
		map_ring(t);
		break;
	case 11:
		scribble_on_ring(t);
		break;
	default:
		scribble_on_area(t);
		break;
	}
}

/* ---- rounds ---------------------------------------------------------------------- */

static void interrupted(int signal)
{
}

static void make_timer(struct thread *t)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1,
		._sigev_un._tid = gettid(),
	};

	if (timer_create(CLOCK_MONOTONIC, &event, &t->timer))
		report("timer", errno);
}

/* What makes another VM or vCPU comes less often, so that some grow old. */
static const struct call *pick_call(struct thread *t)
{
	const struct call *call;

	do {
		call = &calls[below(&t->random, ARRAY_SIZE(calls))];
	} while (call->creates && !chance(&t->random, 4));
	return call;
}

static void *run_thread(void *arg)
{
	struct thread *t = arg;
	unsigned int i;

	make_timer(t);
	coverage_open(&t->coverage);
	for (i = 0; i < t->calls; i++) {
		/* Something to work on first, then anything */
		if (i < 24)
			one_call(t, &calls[i % 4 == 3 ? 4 : i % 4 == 2 ? 5 : 1]);
		else
			one_call(t, pick_call(t));
		if (chance(&t->random, 4))
			other_step(t);
	}
	timer_delete(t->timer);
	return NULL;
}

static void fill_guest_memory(struct random *r)
{
	u64 *word = (u64 *)guest_memory;
	unsigned int i;

	for (i = 0; i < GUEST_BYTES / 16 / sizeof(*word); i++)
		word[i] = chance(r, 3) ? random_instruction(r) : next_random(r);
}

/* Never returns */
static void run_round(u64 seed, u64 round, unsigned int threads)
{
	struct sigaction action = { .sa_handler = interrupted };
	struct thread t[MAX_THREADS] = {};
	struct random random = random_from(seed, round);
	unsigned int i, j;
	int dev;

	sigaction(SIGUSR1, &action, NULL);
	tick_ns = 2000000L * host_slower();
	guest_memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guest_memory == MAP_FAILED)
		report("mmap", errno);
	fill_guest_memory(&random);
	for (i = 0; i < NR_FILE_KINDS; i++)
		for (j = 0; j < FILES; j++)
			files[i][j] = -1;
	for (j = 0; j < FILES; j++) {
		files[DEV][j] = open("/dev/vmm", O_RDWR | O_CLOEXEC);
		files[EVENT][j] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	}
	dev = open_dev();
	cpuid_entries = get_supported_cpuid(dev, &cpuid_count);
	close(dev);

	for (i = 0; i < threads; i++) {
		t[i].random = random_from(next_random(&random), i);
		t[i].calls = CALLS_PER_ROUND / threads;
		t[i].arena = mmap(NULL, ARENA_BYTES + PAGE, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (t[i].arena == MAP_FAILED ||
		    mprotect(t[i].arena, ARENA_BYTES, PROT_READ | PROT_WRITE))
			report("mmap", errno);
		errno = pthread_create(&t[i].handle, NULL, run_thread, &t[i]);
		if (errno)
			report("pthread_create", errno);
	}
	for (i = 0; i < threads; i++)
		pthread_join(t[i].handle, NULL);
	_exit(0);
}

/* One round in a process of its own. Returns NULL or what went wrong. */
static const char *round_in_child(u64 seed, u64 round, unsigned int threads)
{
	u64 end = now_ns() + ROUND_SECONDS * 1000000000ULL * host_slower();
	pid_t pid, ended = 0;
	int status = 0;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return "fork failed";
	if (!pid)
		run_round(seed, round, threads);
	while (!ended && now_ns() < end) {
		ended = waitpid(pid, &status, WNOHANG);
		if (!ended)
			usleep(2000);
	}
	if (!ended) {
		kill(pid, SIGKILL);
		usleep(1000000);
		return waitpid(pid, &status, WNOHANG) ? "it did not end by itself" :
							"it did not end when killed";
	}
	if (WIFSIGNALED(status))
		return strsignal(WTERMSIG(status));
	if (WEXITSTATUS(status))
		return "a call answered as none may";
	return vm_works() ? NULL : "a VM did not work afterwards";
}

int main(int argc, char **argv)
{
	u64 seed = 1, total = host_is_slow() ? 6000 : 100000, seconds = 0, only = ~0ULL;
	const char *wrong = NULL;
	u64 threads = 3, round, end;
	int i;

	READ_NUMBERS(argc, argv, { "--seed", &seed }, { "--calls", &total },
		     { "--seconds", &seconds }, { "--threads", &threads }, { "--round", &only });
	if (!threads || threads > MAX_THREADS)
		fail("--threads: 1 to %u", MAX_THREADS);

	ksft_print_header();
	ksft_set_plan(1);
	coverage_share();
	counts = mmap(NULL, NR_COUNTS * sizeof(*counts), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	end = now_ns() + seconds * 1000000000ULL;
	for (round = only == ~0ULL ? 0 : only; !wrong; round++) {
		if (only != ~0ULL ? round > only :
		    seconds ? now_ns() >= end : round * CALLS_PER_ROUND >= total)
			break;
		wrong = round_in_child(seed, round, threads);
	}
	if (wrong)
		ksft_print_msg("--seed %llu --round %llu: %s\n", seed, round - 1, wrong);
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		ksft_print_msg("%-20s %7u made %7u worked\n", calls[i].name, counts[i].made,
			       counts[i].worked);
	ksft_print_msg("%-20s %7u made %7u worked\n", "run areas", counts[MAP_AREA].made,
		       counts[MAP_AREA].worked);
	ksft_print_msg("%-20s %7u made %7u worked\n", "rings", counts[MAP_RING].made,
		       counts[MAP_RING].worked);
	ksft_print_msg("%llu calls, %u places reached\n", round * CALLS_PER_ROUND,
		       coverage_places());
	ksft_test_result(!wrong, "calls\n");
	ksft_finished();
}
