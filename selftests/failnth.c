// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that cannot be had and user memory that cannot be reached: in each call every allocation
 * and every copy fails in turn. The call says ENOMEM or EFAULT and has changed nothing; afterwards
 * it works, and guests run.
 */
/* hosts: debug */
/* not: intel-debug hours, for what a processor has no part in */
/* timeout: 120 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"
#include "pages.h"
#include "vmmtest.h"

#define FAULTS		"/sys/kernel/debug/"
#define SYSLOG_CLEAR	5
#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define MOST		2000		/* allocations and copies of one call */

#define BASE		0x800000	/* slot 1; the guest's words lie in it by STRIDE */
#define BYTES		(8 * MIB)
#define STRIDE		0x201000
#define WORDS		4
#define SUM		6		/* of 1, 2, 3, and a page that is not there yet */

#define HUGE	(2 * MIB)

#define OTHER_BASE	0x2000000	/* slot 2 */
#define OTHER_BYTES	(1 * MIB)

#define XSAVE_ROOM	(4 * PAGE)
#define NR_CPUID	256

struct snapshot {
	struct vmm_state state;
	struct vmm_vm_state vm_state;
	struct vmm_cpuid_entry cpuid[NR_CPUID];
	u8 xsave[XSAVE_ROOM];
	int files;
};

/**
 * struct bed - what the calls work on
 * @vm: a VM with controllers, slot 1, one vCPU, and view 1 where a call is about views
 * @vcpu: it
 * @mem: slot 1
 * @other_mem: for slot 2
 * @other: a VM that the call may take apart; made by make_other()
 * @event: eventfd
 * @resample: eventfd
 * @next_id: of the next vCPU
 * @turn: a number that no earlier call has had
 * @before: what was there before the call
 */
struct bed {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	u8 *other_mem;
	struct vm *other;
	int event;
	int resample;
	u32 next_id;
	u32 turn;
	struct snapshot before;
};

/* ---- failing ---- */

static int fail_nth;

#define CONSOLE_LEVEL	"/proc/sys/kernel/printk"

/*
 * The console is silent meanwhile: kmemleak tells of a failed allocation of its own with its locks
 * held, and lockdep would report the next place where these come behind the console's. With
 * @user_pages those of the process may fail as well.
 */
static bool prepare_faults(bool user_pages)
{
	fail_nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	if (fail_nth < 0)
		return false;
	/* Also what may sleep, of any order; without a word in the log, which is judged. */
	return !write_file(FAULTS "failslab/ignore-gfp-wait", "N") &&
	       !write_file(FAULTS "fail_page_alloc/ignore-gfp-wait", "N") &&
	       !write_file(FAULTS "fail_page_alloc/ignore-gfp-highmem", user_pages ? "N" : "Y") &&
	       !write_file(FAULTS "fail_page_alloc/min-order", "0") &&
	       !write_file(FAULTS "failslab/verbose", "0") &&
	       !write_file(FAULTS "fail_page_alloc/verbose", "0") &&
	       !write_file(FAULTS "fail_usercopy/verbose", "0") &&
	       !write_file(CONSOLE_LEVEL, "1");
}

static void no_more_faults(void)
{
	write_file(CONSOLE_LEVEL, "8");
}

static void arm(unsigned int nth)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", nth);

	if (pwrite(fail_nth, text, length, 0) != length)
		fail("%s: %s", FAIL_NTH, strerror(errno));
}

/* Did it fail? These two calls copy as well, and so may be what fails. */
static bool disarm(void)
{
	char text[16] = "";
	bool hit = pread(fail_nth, text, sizeof(text) - 1, 0) > 0 && atoi(text) == 0;

	while (pwrite(fail_nth, "0", 1, 0) != 1)
		;
	return hit;
}

/* ---- the guest ---- */

GUEST_CODE(add, 64,
	   "1: mov $0x800000, %ebx; mov $4, %ecx; xor %eax, %eax\n"
	   "2: add (%rbx), %eax; incl 8(%rbx); add $0x201000, %rbx; dec %ecx; jnz 2b\n"
	   "out %eax, $PORT_VALUE; jmp 1b\n");

GUEST_CODE(device, 64,
	   "1: mov $MMIO_GPA, %ebx; mov %eax, 8(%rbx); mov $6, %eax\n"
	   "out %eax, $PORT_VALUE; jmp 1b\n");

static void load(struct vcpu *vcpu)
{
	vcpu_load(vcpu, MODE_LONG, add);
}

/* Slot 1 as if it were new: neither side has pages or tables for it, but for the three words. */
static void renew_memory(struct bed *bed, u32 flags)
{
	int i;

	vm_set_slot(bed->vm, 1, 0, 0, NULL, 0);
	if (madvise(bed->mem, BYTES, MADV_DONTNEED))
		fail("madvise");
	for (i = 0; i < WORDS - 1; i++)
		*(volatile u32 *)(bed->mem + i * STRIDE) = i + 1;
	if (vm_set_slot(bed->vm, 1, BASE, BYTES, bed->mem, flags))
		fail("VMM_SET_MEMORY");
}

/* VMM_RUN up to the sum; what the host could not supply comes as an exit. */
static long run(struct bed *bed)
{
	struct vcpu *vcpu = bed->vcpu;
	const struct vmm_exit *exit = &vcpu->run->exit;
	int ret;

	do {
		ret = do_ioctl(vcpu->fd, VMM_RUN, NULL);
		if (ret)
			return ret;
		if (exit->reason == VMM_EXIT_FAULT)
			return exit->fault.error;
	} while (exit->reason == VMM_EXIT_MMIO && exit->mmio.gpa == MMIO_GPA + 8);
	if (exit->reason == VMM_EXIT_IO && exit->io.port == PORT_VALUE && exit->io.data == SUM)
		return 0;
	vcpu_print(vcpu);
	fail("the guest left in another way");
}

static void must_run(struct bed *bed)
{
	long ret = run(bed);

	if (ret)
		fail("VMM_RUN: %s", strerror(-ret));
}

static void new_run(struct bed *bed)
{
	renew_memory(bed, 0);
	load(bed->vcpu);
}

static void new_logged_run(struct bed *bed)
{
	renew_memory(bed, VMM_MEM_LOG_DIRTY);
	load(bed->vcpu);
}

/* Where the host can have huge pages, and has them for the words that are there */
static void new_huge_run(struct bed *bed)
{
	if (madvise(bed->mem, BYTES, MADV_HUGEPAGE))
		fail("MADV_HUGEPAGE: %s", strerror(errno));
	new_run(bed);
}

static void new_device(struct bed *bed)
{
	vcpu_load(bed->vcpu, MODE_LONG, device);
}

/* ---- what may have changed ---- */

static int count_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (dir && readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static long get_all_state(struct bed *bed, struct snapshot *to)
{
	to->state.size = sizeof(to->state);
	to->state.groups = VMM_STATE_ALL;
	to->state.xsave.area = (uintptr_t)to->xsave;
	to->state.xsave.area_size = sizeof(to->xsave);
	return do_ioctl(bed->vcpu->fd, VMM_GET_STATE, &to->state);
}

static long get_cpuid_of(int fd, struct snapshot *to)
{
	struct vmm_cpuid cpuid = {
		.size = sizeof(cpuid), .count = NR_CPUID, .entries = (uintptr_t)to->cpuid,
	};

	return do_ioctl(fd, VMM_GET_CPUID, &cpuid);
}

static long get_controllers(struct bed *bed, struct snapshot *to)
{
	to->vm_state.size = sizeof(to->vm_state);
	to->vm_state.groups = VMM_VM_STATE_PIC | VMM_VM_STATE_IOAPIC;
	return do_ioctl(bed->vm->fd, VMM_GET_VM_STATE, &to->vm_state);
}

static void take_snapshot(struct bed *bed, struct snapshot *to)
{
	memset(to, 0, sizeof(*to));
	if (get_all_state(bed, to) || get_cpuid_of(bed->vcpu->fd, to) || get_controllers(bed, to))
		fail("what is there cannot be read");
	to->state.xsave.area = 0;
	to->files = count_files();
}

static void compare_snapshot(struct bed *bed)
{
	static struct snapshot after;
	size_t i;

	take_snapshot(bed, &after);
	for (i = 0; i < sizeof(after); i++)
		if (((u8 *)&after)[i] != ((u8 *)&bed->before)[i])
			fail("byte %zu has changed (vm_state %zu, cpuid %zu, xsave %zu, files %zu)",
			     i, offsetof(struct snapshot, vm_state),
			     offsetof(struct snapshot, cpuid), offsetof(struct snapshot, xsave),
			     offsetof(struct snapshot, files));
}

/* ---- the system's calls ---- */

static void close_it(struct bed *bed, long fd)
{
	close(fd);
}

static long open_device(struct bed *bed)
{
	int fd = open("/dev/vmm", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static long info(struct bed *bed)
{
	struct vmm_info arg = { .size = sizeof(arg) };

	return do_ioctl(bed->vm->dev, VMM_GET_INFO, &arg);
}

static long create_vm(struct bed *bed)
{
	struct vmm_vm_create arg = { .size = sizeof(arg) };

	return do_ioctl(bed->vm->dev, VMM_CREATE_VM, &arg);
}

static long create_vm_with_controllers(struct bed *bed)
{
	struct vmm_vm_create arg = { .size = sizeof(arg), .flags = VMM_VM_IRQCHIPS };

	return do_ioctl(bed->vm->dev, VMM_CREATE_VM, &arg);
}

static struct snapshot scratch;

static long get_offered_cpuid(struct bed *bed)
{
	return get_cpuid_of(bed->vm->dev, &scratch);
}

static long get_msr_list(struct bed *bed)
{
	static u32 indices[1024];
	struct vmm_msr_list arg = {
		.size = sizeof(arg), .count = 1024, .indices = (uintptr_t)indices,
	};

	return do_ioctl(bed->vm->dev, VMM_GET_MSR_LIST, &arg);
}

/* ---- memory ---- */

static long add_slot(struct bed *bed)
{
	return vm_set_slot(bed->vm, 2, OTHER_BASE, OTHER_BYTES, bed->other_mem, 0);
}

static long add_logged_slot(struct bed *bed)
{
	return vm_set_slot(bed->vm, 2, OTHER_BASE, OTHER_BYTES, bed->other_mem,
			   VMM_MEM_LOG_DIRTY);
}

static long delete_slot(struct bed *bed)
{
	return vm_set_slot(bed->vm, 2, 0, 0, NULL, 0);
}

static long move_slot(struct bed *bed)
{
	return vm_set_slot(bed->vm, 2, OTHER_BASE + OTHER_BYTES, OTHER_BYTES, bed->other_mem, 0);
}

static void no_other_slot(struct bed *bed)
{
	delete_slot(bed);
}

static void no_other_slot_any_more(struct bed *bed, long result)
{
	delete_slot(bed);
}

static void other_slot(struct bed *bed)
{
	delete_slot(bed);
	if (add_slot(bed))
		fail("VMM_SET_MEMORY");
}

static void other_logged_slot(struct bed *bed)
{
	struct vmm_range range = { .size = sizeof(range), .gpa = OTHER_BASE, .bytes = OTHER_BYTES };

	delete_slot(bed);
	if (add_logged_slot(bed) || do_ioctl(bed->vm->fd, VMM_MARK_DIRTY, &range))
		fail("VMM_SET_MEMORY");
}

static void is_not_there(struct bed *bed)
{
	if (delete_slot(bed) != -ENOENT)
		fail("the slot is there");
}

/* The slot is where it was, if it is in the way of another. */
static void is_there(struct bed *bed)
{
	if (vm_set_slot(bed->vm, 3, OTHER_BASE, PAGE, bed->other_mem, 0) != -EEXIST)
		fail("the slot is not there");
}

static u64 bitmap[OTHER_BYTES / PAGE / 64];

static long dirty_call(struct bed *bed, unsigned long call, u32 flags)
{
	struct vmm_dirty arg = {
		.size = sizeof(arg), .flags = flags, .slot = 2, .pages = OTHER_BYTES / PAGE,
		.bitmap = (uintptr_t)bitmap,
	};

	return do_ioctl(bed->vm->fd, call, &arg);
}

static long get_dirty(struct bed *bed)
{
	return dirty_call(bed, VMM_GET_DIRTY, 0);
}

static long take_dirty(struct bed *bed)
{
	return dirty_call(bed, VMM_GET_DIRTY, VMM_DIRTY_CLEAR);
}

static long clear_dirty(struct bed *bed)
{
	memset(bitmap, 0xff, sizeof(bitmap));
	return dirty_call(bed, VMM_CLEAR_DIRTY, 0);
}

static void is_still_dirty(struct bed *bed)
{
	size_t i;

	memset(bitmap, 0, sizeof(bitmap));
	if (get_dirty(bed))
		fail("VMM_GET_DIRTY");
	for (i = 0; i < sizeof(bitmap) / sizeof(*bitmap); i++)
		if (~bitmap[i])
			fail("word %zu of the log is %#llx", i, bitmap[i]);
}

static void has_no_log(struct bed *bed)
{
	is_there(bed);
	if (get_dirty(bed) != -ENODATA)
		fail("the slot has a log");
}

/* A host whose memory is in pieces may have none to give. */
static void must_be_huge(struct bed *bed, long result)
{
	if (host_counter("/proc/self/smaps_rollup", "AnonHugePages:") >= BYTES / 1024 &&
	    !get_stat(bed->vm->fd, "pages_2m"))
		fail("no page of the guest's is huge");
}

/* The guest has written to the page of each word, and the log knows. */
static void must_be_logged(struct bed *bed, long result)
{
	static u64 bits[BYTES / PAGE / 64];
	struct vmm_dirty arg = {
		.size = sizeof(arg), .slot = 1, .pages = BYTES / PAGE,
		.bitmap = (uintptr_t)bits,
	};
	int i;

	if (do_ioctl(bed->vm->fd, VMM_GET_DIRTY, &arg))
		fail("VMM_GET_DIRTY");
	for (i = 0; i < WORDS; i++)
		if (!page_is_set(bits, i * (STRIDE / PAGE)))
			fail("word %d is not in the log", i);
}

static void must_run_logged(struct bed *bed)
{
	must_run(bed);
	must_be_logged(bed, 0);
}

static long mark_dirty(struct bed *bed)
{
	struct vmm_range arg = { .size = sizeof(arg), .gpa = OTHER_BASE, .bytes = OTHER_BYTES };

	return do_ioctl(bed->vm->fd, VMM_MARK_DIRTY, &arg);
}

static long prefault(struct bed *bed)
{
	struct vmm_prefault arg = {
		.size = sizeof(arg), .flags = VMM_PREFAULT_WRITE, .gpa = BASE, .bytes = BYTES,
	};

	return do_ioctl(bed->vm->fd, VMM_PREFAULT, &arg);
}

static long get_touched(struct bed *bed)
{
	static u64 touched[BYTES / PAGE / 64];
	struct vmm_touched arg = {
		.size = sizeof(arg), .flags = VMM_TOUCHED_CLEAR, .gpa = BASE, .bytes = BYTES,
		.bitmap = (uintptr_t)touched,
	};
	long ret = do_ioctl(bed->vm->fd, VMM_GET_TOUCHED, &arg);

	return ret == -EOPNOTSUPP ? 0 : ret;
}

/* The host takes back the page that has no word in it. */
static long take_page(struct bed *bed)
{
	return madvise(bed->mem + (WORDS - 1) * STRIDE, PAGE, MADV_DONTNEED) ? -errno : 0;
}

static void mapped(struct bed *bed)
{
	load(bed->vcpu);
	must_run(bed);
}

/* ---- views ---- */

static long view_call(int fd, unsigned long call, u32 view)
{
	struct vmm_view arg = { .size = sizeof(arg), .view = view };

	return do_ioctl(fd, call, &arg);
}

static long create_view(struct bed *bed)
{
	return view_call(bed->vm->fd, VMM_CREATE_VIEW, 0);
}

static long destroy_view(struct bed *bed)
{
	return view_call(bed->vm->fd, VMM_DESTROY_VIEW, 1);
}

static long set_view(struct bed *bed)
{
	return view_call(bed->vcpu->fd, VMM_SET_VIEW, 1);
}

static void no_view(struct bed *bed)
{
	if (destroy_view(bed) != -ENOENT)
		fail("the view is there");
}

static void no_view_any_more(struct bed *bed, long result)
{
	if (destroy_view(bed))
		fail("VMM_DESTROY_VIEW");
}

static void view_is_there(struct bed *bed)
{
	if (set_view(bed) || view_call(bed->vcpu->fd, VMM_SET_VIEW, 0))
		fail("the view is not there");
}

static long deny(struct bed *bed, u64 gpa, u64 bytes)
{
	struct vmm_page_access arg = {
		.size = sizeof(arg), .view = 1, .gpa = gpa, .bytes = bytes,
	};

	return do_ioctl(bed->vm->fd, VMM_SET_PAGE_ACCESS, &arg);
}

/* From the second word on up to a page of the next table: both ends have to be made. */
static long set_page_access(struct bed *bed)
{
	return deny(bed, BASE + STRIDE, HUGE);
}

/* View 1 as if it were new; it denies a page far away, and so is asked about each. */
static void new_view(struct bed *bed)
{
	view_call(bed->vcpu->fd, VMM_SET_VIEW, 0);
	destroy_view(bed);
	if (create_view(bed) || deny(bed, 1ULL << (bed->vm->info.gpa_bits - 1), PAGE))
		fail("VMM_CREATE_VIEW");
}

static void in_new_view(struct bed *bed)
{
	new_run(bed);
	new_view(bed);
	if (set_view(bed))
		fail("VMM_SET_VIEW");
}

static void new_run_in_view(struct bed *bed)
{
	in_new_view(bed);
	/* There is no word there, but between two. */
	if (deny(bed, BASE + STRIDE + 8 * PAGE, 3 * PAGE))
		fail("VMM_SET_PAGE_ACCESS");
}

static void new_view_that_denies(struct bed *bed)
{
	new_run(bed);
	new_view(bed);
	if (set_page_access(bed))
		fail("VMM_SET_PAGE_ACCESS");
}

static void must_be_denied(struct bed *bed, long result)
{
	const struct vmm_exit *exit = run_until(bed->vcpu, VMM_EXIT_ACCESS);

	if (exit->access.gpa != BASE + STRIDE)
		fail("%#llx is denied", exit->access.gpa);
}

/* ---- interrupts ---- */

static long irq_line(struct bed *bed)
{
	struct vmm_irq_line arg = { .size = sizeof(arg), .gsi = 3, .level = 1 };

	return do_ioctl(bed->vm->fd, VMM_IRQ_LINE, &arg);
}

static void lower(struct bed *bed, long result)
{
	struct vmm_irq_line arg = { .size = sizeof(arg), .gsi = 3 };

	if (do_ioctl(bed->vm->fd, VMM_IRQ_LINE, &arg))
		fail("VMM_IRQ_LINE");
}

static long signal_msi(struct bed *bed)
{
	struct vmm_msi arg = { .size = sizeof(arg), .address = 0xfee0f000, .data = 0x40 };
	long ret = do_ioctl(bed->vm->fd, VMM_SIGNAL_MSI, &arg);

	return ret == -ESRCH || ret == -ENXIO ? 0 : ret;
}

static long set_route(struct bed *bed, u32 pin)
{
	struct vmm_route route[] = {
		{ .gsi = 3, .type = VMM_ROUTE_IOAPIC, .pin = pin },
		{ .gsi = 9, .type = VMM_ROUTE_MSI, .address = 0xfee00000, .data = 0x41 },
	};
	struct vmm_routes arg = { .size = sizeof(arg), .count = 2, .routes = (uintptr_t)route };

	return do_ioctl(bed->vm->fd, VMM_SET_ROUTES, &arg);
}

static long set_routes(struct bed *bed)
{
	return set_route(bed, 4);
}

static void old_routes(struct bed *bed)
{
	if (set_route(bed, 3))
		fail("VMM_SET_ROUTES");
}

static void routes_are_old(struct bed *bed)
{
	irq_line(bed);
	if (get_controllers(bed, &scratch) || scratch.vm_state.ioapic.lines != 1 << 3)
		fail("lines %#x by the old route", scratch.vm_state.ioapic.lines);
	lower(bed, 0);
}

static long irqfd(struct bed *bed, u32 flags)
{
	struct vmm_irqfd arg = { .size = sizeof(arg), .flags = flags, .fd = bed->event, .gsi = 5 };

	if (flags & VMM_IRQFD_RESAMPLE)
		arg.resample_fd = bed->resample;
	return do_ioctl(bed->vm->fd, VMM_IRQFD, &arg);
}

static long add_irqfd(struct bed *bed)
{
	return irqfd(bed, 0);
}

static long add_resample_irqfd(struct bed *bed)
{
	return irqfd(bed, VMM_IRQFD_RESAMPLE);
}

static long remove_irqfd(struct bed *bed)
{
	return irqfd(bed, VMM_IRQFD_DEASSIGN);
}

static void no_irqfd(struct bed *bed)
{
	if (remove_irqfd(bed) != -ENOENT)
		fail("the irqfd is there");
}

static void undo_irqfd(struct bed *bed, long result)
{
	if (remove_irqfd(bed))
		fail("the irqfd cannot be removed");
}

static void an_irqfd(struct bed *bed)
{
	long ret = add_irqfd(bed);

	if (ret && ret != -EEXIST)
		fail("VMM_IRQFD");
}

static long ioeventfd(struct bed *bed, u32 flags)
{
	struct vmm_ioeventfd arg = {
		.size = sizeof(arg), .flags = flags, .address = MMIO_GPA, .length = 4,
		.fd = bed->event,
	};

	return do_ioctl(bed->vm->fd, VMM_IOEVENTFD, &arg);
}

static long add_ioeventfd(struct bed *bed)
{
	return ioeventfd(bed, 0);
}

static long remove_ioeventfd(struct bed *bed)
{
	return ioeventfd(bed, VMM_IOEVENTFD_DEASSIGN);
}

static void no_ioeventfd(struct bed *bed)
{
	if (remove_ioeventfd(bed) != -ENOENT)
		fail("the ioeventfd is there");
}

static void undo_ioeventfd(struct bed *bed, long result)
{
	if (remove_ioeventfd(bed))
		fail("the ioeventfd cannot be removed");
}

static void an_ioeventfd(struct bed *bed)
{
	long ret = add_ioeventfd(bed);

	if (ret && ret != -EEXIST)
		fail("VMM_IOEVENTFD");
}

static long get_vm_state(struct bed *bed)
{
	scratch.vm_state.size = sizeof(scratch.vm_state);
	scratch.vm_state.groups = VMM_VM_STATE_ALL;
	return do_ioctl(bed->vm->fd, VMM_GET_VM_STATE, &scratch.vm_state);
}

static void changed_vm_state(struct bed *bed)
{
	if (get_controllers(bed, &scratch))
		fail("VMM_GET_VM_STATE");
	scratch.vm_state.ioapic.redirection[0] = 1 << 16 | bed->turn % 128;
}

static long set_vm_state(struct bed *bed)
{
	return do_ioctl(bed->vm->fd, VMM_SET_VM_STATE, &scratch.vm_state);
}

/* ---- the VM's others ---- */

static long create_vcpu(struct bed *bed)
{
	struct vmm_vcpu_create arg = { .size = sizeof(arg), .id = bed->next_id };

	return do_ioctl(bed->vm->fd, VMM_CREATE_VCPU, &arg);
}

/* It stays as long as its VM. */
static void use_up_id(struct bed *bed, long fd)
{
	close(fd);
	bed->next_id++;
}

static long set_msr_policy(struct bed *bed)
{
	struct vmm_msr_range range = { .base = 0x1000, .count = 1, .access = VMM_MSR_READ };
	struct vmm_msr_policy arg = {
		.size = sizeof(arg), .count = 1, .ranges = (uintptr_t)&range,
	};

	return do_ioctl(bed->vm->fd, VMM_SET_MSR_POLICY, &arg);
}

static long get_stats_of(int fd)
{
	static struct vmm_stat entries[256];
	struct vmm_stats arg = {
		.size = sizeof(arg), .count = 256, .stats = (uintptr_t)entries,
	};

	return do_ioctl(fd, VMM_GET_STATS, &arg);
}

static long get_vm_stats(struct bed *bed)
{
	return get_stats_of(bed->vm->fd);
}

/* A VM with all that one can have, which has run */
static void make_other(struct bed *bed)
{
	struct vmm_ring ring = { .size = sizeof(ring), .entries = VMM_RING_MIN };
	struct bed inner = *bed;

	if (bed->other)
		vm_destroy(bed->other);
	bed->other = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
	inner.vm = bed->other;
	inner.vcpu = vcpu_create(inner.vm, 0);
	if (do_ioctl(inner.vcpu->fd, VMM_SET_RING, &ring) || set_routes(&inner) ||
	    add_resample_irqfd(&inner) || add_ioeventfd(&inner) || set_msr_policy(&inner) ||
	    vm_set_slot(inner.vm, 1, BASE, BYTES, bed->mem, VMM_MEM_LOG_DIRTY))
		fail("another VM");
	load(inner.vcpu);
	must_run(&inner);
}

static long close_vm(struct bed *bed)
{
	vm_destroy(bed->other);
	bed->other = NULL;
	return 0;
}

static void make_bare_other(struct bed *bed)
{
	if (bed->other)
		vm_destroy(bed->other);
	bed->other = vm_create(0, 0);
	vcpu_create_bare(bed->other, 0);
}

static long set_ring(struct bed *bed)
{
	struct vmm_ring arg = { .size = sizeof(arg), .entries = VMM_RING_MAX };

	return do_ioctl(bed->other->vcpus[0]->fd, VMM_SET_RING, &arg);
}

static void make_ring(struct bed *bed)
{
	make_bare_other(bed);
	if (set_ring(bed))
		fail("VMM_SET_RING");
}

static long map(int fd, size_t bytes, off_t offset)
{
	u8 *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	size_t i;

	if (at == MAP_FAILED)
		return -errno;
	for (i = 0; i < bytes; i += PAGE)
		((volatile u8 *)at)[i];
	munmap(at, bytes);
	return 0;
}

static long map_run_area(struct bed *bed)
{
	return map(bed->vcpu->fd, PAGE, 0);
}

static long map_ring(struct bed *bed)
{
	return map(bed->other->vcpus[0]->fd, PAGE + VMM_RING_MAX * 8, VMM_RING_OFFSET);
}

static long reset_rings(struct bed *bed)
{
	return do_ioctl(bed->other->fd, VMM_RESET_RINGS, NULL);
}

/* ---- the vCPU's calls ---- */

static long get_state(struct bed *bed)
{
	return get_all_state(bed, &scratch);
}

static void changed_state(struct bed *bed)
{
	if (get_state(bed))
		fail("VMM_GET_STATE");
	scratch.state.regs.gpr[VMM_RBX] = bed->turn;
	scratch.state.control.cr2 = bed->turn;
	scratch.state.msrs.lstar = bed->turn;
	memset(scratch.xsave + 160, bed->turn, 16);		/* XMM0 */
	scratch.xsave[512] |= 2;				/* XSTATE_BV: it is not initial */
}

static long set_state(struct bed *bed)
{
	return do_ioctl(bed->vcpu->fd, VMM_SET_STATE, &scratch.state);
}

static long get_cpuid(struct bed *bed)
{
	return get_cpuid_of(bed->vcpu->fd, &scratch);
}

static long set_cpuid(struct bed *bed)
{
	struct vmm_cpuid_entry entries[200];
	struct vmm_cpuid arg = {
		.size = sizeof(arg), .count = 200, .entries = (uintptr_t)entries,
	};
	int i;

	/* Enough of them for more than a page */
	memset(entries, 0, sizeof(entries));
	for (i = 0; i < 200; i++)
		entries[i] = (struct vmm_cpuid_entry){ .function = i, .eax = bed->turn };
	entries[1].edx = 0x078bfbff;		/* what long mode and paging need */
	entries[199] = (struct vmm_cpuid_entry){ .function = 0x80000001, .edx = 0x2c100800 };
	return do_ioctl(bed->vcpu->fd, VMM_SET_CPUID, &arg);
}

static long msrs(struct bed *bed, unsigned long call)
{
	struct vmm_msr_entry entries[] = {
		{ .index = 0x174, .data = bed->turn }, { .index = 0x175, .data = bed->turn },
	};
	struct vmm_msrs arg = { .size = sizeof(arg), .count = 2, .entries = (uintptr_t)entries };

	return do_ioctl(bed->vcpu->fd, call, &arg);
}

static long get_msrs(struct bed *bed)
{
	return msrs(bed, VMM_GET_MSRS);
}

static long set_msrs(struct bed *bed)
{
	return msrs(bed, VMM_SET_MSRS);
}

static long inject(struct bed *bed)
{
	struct vmm_inject arg = {
		.size = sizeof(arg), .event = { .type = VMM_EVENT_EXCEPTION, .vector = 6 },
	};

	return do_ioctl(bed->vcpu->fd, VMM_INJECT, &arg);
}

static void forget_event(struct bed *bed, long result)
{
	vcpu_get(bed->vcpu, VMM_STATE_EVENTS);
	bed->vcpu->state.events.exception.type = VMM_EVENT_NONE;
	vcpu_set(bed->vcpu, VMM_STATE_EVENTS);
}

static long translate(struct bed *bed)
{
	struct vmm_translate arg = {
		.size = sizeof(arg), .access = VMM_ACCESS_READ, .gva = BASE,
	};

	return do_ioctl(bed->vcpu->fd, VMM_TRANSLATE, &arg);
}

static long device_access(struct bed *bed)
{
	struct vmm_device_access arg = { .size = sizeof(arg), .address = 0xfee00030, .bytes = 4 };

	return do_ioctl(bed->vcpu->fd, VMM_DEVICE_ACCESS, &arg);
}

static long set_exits(struct bed *bed)
{
	struct vmm_exits arg = { .size = sizeof(arg), .exits = VMM_EXITS_HLT };

	return do_ioctl(bed->vcpu->fd, VMM_SET_EXITS, &arg);
}

static long get_vcpu_stats(struct bed *bed)
{
	return get_stats_of(bed->vcpu->fd);
}

/* ---- the test ---- */

FIXTURE(failnth) {
	struct bed bed;
};

/**
 * struct failnth's variants - a call, and what belongs to it
 * @call: it; negative errno, or a result
 * @before: prepares each try, before what is there is looked at
 * @undo: takes back what it has done
 * @failed: looks at what cannot be read, after a try that failed
 * @partly: may have done a part of it, as is documented; then nothing is compared
 * @user_pages: the pages of the process fail as well
 */
FIXTURE_VARIANT(failnth) {
	long (*call)(struct bed *bed);
	void (*before)(struct bed *bed);
	void (*undo)(struct bed *bed, long result);
	void (*failed)(struct bed *bed);
	bool partly;
	bool user_pages;
};

#define CALL(name, ...)								\
	FIXTURE_VARIANT_ADD(failnth, name) { .call = name, __VA_ARGS__ }

CALL(open_device, .undo = close_it);
CALL(info);
CALL(create_vm, .undo = close_it);
CALL(create_vm_with_controllers, .undo = close_it);
CALL(get_offered_cpuid);
CALL(get_msr_list);

CALL(add_slot, .before = no_other_slot, .failed = is_not_there, .undo = no_other_slot_any_more);
CALL(add_logged_slot, .before = other_slot, .failed = has_no_log);
CALL(delete_slot, .before = other_slot, .failed = is_there);
CALL(move_slot, .before = other_slot, .failed = is_there);
CALL(get_dirty, .before = other_logged_slot, .failed = is_still_dirty);
CALL(take_dirty, .before = other_logged_slot, .failed = is_still_dirty);
CALL(clear_dirty, .before = other_logged_slot);
CALL(mark_dirty, .before = other_logged_slot);
CALL(prefault, .before = new_run, .failed = must_run);
CALL(get_touched, .before = mapped);
CALL(take_page, .before = mapped, .failed = must_run);

CALL(create_view, .failed = no_view, .undo = no_view_any_more);
CALL(destroy_view, .before = new_view_that_denies, .failed = view_is_there);
CALL(set_page_access, .before = in_new_view, .failed = must_run, .undo = must_be_denied);
CALL(set_view, .before = new_view_that_denies, .failed = must_run, .undo = must_be_denied);

CALL(irq_line, .undo = lower);
CALL(signal_msi);
CALL(set_routes, .before = old_routes, .failed = routes_are_old);
CALL(add_irqfd, .failed = no_irqfd, .undo = undo_irqfd);
CALL(add_resample_irqfd, .failed = no_irqfd, .undo = undo_irqfd);
CALL(remove_irqfd, .before = an_irqfd);
CALL(add_ioeventfd, .failed = no_ioeventfd, .undo = undo_ioeventfd);
CALL(remove_ioeventfd, .before = an_ioeventfd);
CALL(get_vm_state);
CALL(set_vm_state, .before = changed_vm_state);

CALL(create_vcpu, .undo = use_up_id);
CALL(set_msr_policy);
CALL(get_vm_stats);
CALL(close_vm, .before = make_other);
CALL(set_ring, .before = make_bare_other);
CALL(map_ring, .before = make_ring);
CALL(map_run_area);
CALL(reset_rings, .before = make_ring);

CALL(run, .before = new_run, .failed = must_run, .partly = true, .user_pages = true);
CALL(get_state);
CALL(set_state, .before = changed_state);
CALL(get_cpuid);
CALL(set_cpuid);
CALL(get_msrs);
CALL(set_msrs, .partly = true);
CALL(inject, .undo = forget_event);
CALL(translate, .before = new_run);
CALL(set_exits);
CALL(device_access);
CALL(get_vcpu_stats);

FIXTURE_VARIANT_ADD(failnth, run_to_a_device) {
	.call = run, .before = new_device, .failed = must_run, .partly = true,
};

FIXTURE_VARIANT_ADD(failnth, run_in_view) {
	.call = run, .before = new_run_in_view, .failed = must_run, .partly = true,
	.user_pages = true,
};

FIXTURE_VARIANT_ADD(failnth, run_with_log) {
	.call = run, .before = new_logged_run, .failed = must_run_logged, .undo = must_be_logged,
	.partly = true, .user_pages = true,
};

FIXTURE_VARIANT_ADD(failnth, run_in_huge_memory) {
	.call = run, .before = new_huge_run, .failed = must_run, .undo = must_be_huge,
	.partly = true, .user_pages = true,
};

FIXTURE_SETUP(failnth)
{
	struct bed *bed = &self->bed;

	if (!prepare_faults(variant->user_pages))
		SKIP(return, "this kernel has no fault injection");
	bed->vm = vm_create(1 * MIB, VMM_VM_IRQCHIPS);
	bed->vcpu = vcpu_create(bed->vm, 0);
	/* Where a huge page may begin */
	bed->mem = map_memory(BYTES + HUGE);
	bed->mem += -(uintptr_t)bed->mem % HUGE;
	bed->other_mem = map_memory(OTHER_BYTES);
	bed->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	bed->resample = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	bed->next_id = 1;
	ASSERT_EQ(0, madvise(bed->mem, BYTES, MADV_NOHUGEPAGE));
	new_run(bed);
}

FIXTURE_TEARDOWN(failnth)
{
	if (self->bed.other)
		vm_destroy(self->bed.other);
	vm_destroy(self->bed.vm);
	no_more_faults();
}

TEST_F_TIMEOUT(failnth, anywhere, 600)
{
	struct bed *bed = &self->bed;
	unsigned int nth, failed = 0, around = 0;
	bool hit = true;
	long ret;

	for (nth = 1; hit && nth < MOST; nth++) {
		bed->turn++;
		if (variant->before)
			variant->before(bed);
		take_snapshot(bed, &bed->before);
		arm(nth);
		ret = variant->call(bed);
		hit = disarm();
		if (ret >= 0) {
			/* There was another way, as for what need not be contiguous. */
			around += hit;
			if (variant->undo)
				variant->undo(bed, ret);
			continue;
		}
		ASSERT_TRUE(hit)
			TH_LOG("%s without any failure", strerror(-ret));
		ASSERT_TRUE(ret == -ENOMEM || ret == -EFAULT)
			TH_LOG("failure %u: %s", nth, strerror(-ret));
		failed++;
		if (!variant->partly)
			compare_snapshot(bed);
		if (variant->failed)
			variant->failed(bed);
	}
	ASSERT_FALSE(hit);
	printf("# %u failures, %u with a way around\n", failed, around);
	view_call(bed->vcpu->fd, VMM_SET_VIEW, 0);
	new_run(bed);
	must_run(bed);
}

/* ---- the module itself ---- */

FIXTURE(host) {
	int unused;
};

FIXTURE_SETUP(host)
{
	if (!prepare_faults(false))
		SKIP(return, "this kernel has no fault injection");
}

FIXTURE_TEARDOWN(host)
{
	no_more_faults();
}

static void run_once(int cpu)
{
	struct bed bed = { 0 };

	if (pin_to_cpu(cpu))
		fail("CPU %d", cpu);
	bed.vm = vm_create(1 * MIB, 0);
	bed.vcpu = vcpu_create(bed.vm, 0);
	bed.mem = map_memory(BYTES);
	new_run(&bed);
	must_run(&bed);
	vm_destroy(bed.vm);
	munmap(bed.mem, BYTES);
}

static void unload(void)
{
	int ret = host_unload_vmm();

	if (ret)
		fail("the module cannot be unloaded: %s", strerror(-ret));
}

/*
 * What loads modules, or another module when a CPU comes, reports with a trace that it has no room,
 * and warns when the fields of a tracepoint cannot be described: no fault of this module's. That
 * alone may be in the log from complaints_begin() on, and is left out of it.
 */
static void complaints_begin(int marks[4])
{
	int i;

	for (i = 0; i < 4; i++)
		marks[i] = host_log_mark();
}

static bool others_alone_complain(const int marks[4])
{
	int traces = host_log_count(marks[0], "Call Trace:");
	int warnings = host_log_count(marks[1], "WARNING: ");
	int fields = host_log_count(marks[2], " at kernel/trace/trace_events.c:");
	int rooms = host_log_count(marks[3], "vmalloc error: ");

	printf("# %d times no room, %d warnings, %d traces\n", rooms, warnings, traces);
	if (warnings != fields || traces != fields + rooms)
		return false;
	return !klogctl(SYSLOG_CLEAR, NULL, 0);
}

TEST_F_TIMEOUT(host, load, 3000)
{
	int ret, marks[4], fd = open("/lib/modules/vmm.ko", O_RDONLY | O_CLOEXEC);
	unsigned int nth, failed = 0;
	bool hit = true;

	complaints_begin(marks);
	unload();
	for (nth = 1; hit; nth++) {
		arm(nth);
		ret = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;
		hit = disarm();
		if (ret) {
			ASSERT_TRUE(hit)
				TH_LOG("load: %s", strerror(-ret));
			ASSERT_EQ(-1, access("/dev/vmm", F_OK));
			failed++;
		} else if (hit) {
			unload();
		}
	}
	printf("# %u failures of %u\n", failed, nth - 2);
	EXPECT_TRUE(others_alone_complain(marks));
	run_once(0);
	/* With the host's parameters */
	unload();
	ASSERT_EQ(0, host_load_vmm());
}

#define ONLINE	"/sys/devices/system/cpu/cpu1/online"

TEST_F_TIMEOUT(host, cpu_online, 3000)
{
	unsigned int nth, failed = 0;
	bool hit = true;
	int marks[4];

	if (host_cpus() < 2)
		SKIP(return, "needs two CPUs");
	complaints_begin(marks);
	for (nth = 1; hit; nth++) {
		ASSERT_EQ(0, write_file(ONLINE, "0"));
		arm(nth);
		failed += !!write_file(ONLINE, "1");
		hit = disarm();
		run_once(0);
	}
	printf("# %u failures of %u\n", failed, nth - 2);
	EXPECT_TRUE(others_alone_complain(marks));
	run_once(1);
}

TEST_HARNESS_MAIN
