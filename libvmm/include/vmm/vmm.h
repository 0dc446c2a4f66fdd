/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvmm: objects, memory, vCPU state and the run loop.
 *
 * Rules that hold for every function:
 *  - One that can fail returns 0 (or what it says) on success and a negative
 *    errno on failure. The text of an object's last failure comes from
 *    vmm_error(), vmm_vm_error() or vmm_vcpu_error(); it stays valid until the
 *    next failing call on that object.
 *  - A function that creates an object stores NULL on failure (vmm_open()
 *    excepted), and the text is in the object that it was asked of.
 *  - There is no global state. An object is used by one thread at a time, but
 *    for the functions marked "any thread", which leave no text.
 *  - Nothing is printed, and nothing ends the process.
 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include <linux/vmm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* /dev/vmm; a VM; a vCPU */
struct vmm;
struct vmm_vm;
struct vmm_vcpu;

/* ---- the system ---- */

/**
 * vmm_open - open the device
 * @device: its path, or NULL for /dev/vmm
 * @vmm: out: the object. Stored even on failure, so that vmm_error() can tell
 *       what is wrong, and to be closed all the same (NULL only for -ENOMEM)
 *
 * Return: 0; -ENOENT (module not loaded), -EACCES, -EPERM (no permission),
 * -ENOTSUP (the module's API is another one), -ENOMEM.
 */
int vmm_open(const char *device, struct vmm **vmm);

/**
 * vmm_close - close the device and free @vmm
 * @vmm: may be NULL; all of its VMs must have been freed
 */
void vmm_close(struct vmm *vmm);

/* Text of the last failure; never NULL */
const char *vmm_error(const struct vmm *vmm);
const char *vmm_vm_error(const struct vmm_vm *vm);
const char *vmm_vcpu_error(const struct vmm_vcpu *vcpu);

/* What module and host offer. Any thread */
const struct vmm_info *vmm_get_info(const struct vmm *vmm);

/* The file descriptors, for calls that this library does not wrap */
int vmm_fd(const struct vmm *vmm);
int vmm_vm_fd(const struct vmm_vm *vm);
int vmm_vcpu_fd(const struct vmm_vcpu *vcpu);

/* Names for people: "amd" or "intel"; "IO", "MMIO" ...; of a capability, NULL if it is unknown */
const char *vmm_vendor_name(uint32_t vendor);
const char *vmm_exit_name(uint32_t reason);
const char *vmm_cap_name(uint64_t cap);

/* ---- VMs ---- */

/**
 * vmm_vm_create - a new VM
 * @vmm: the system
 * @flags: VMM_VM_*: controllers in the kernel (VMM_VM_IRQCHIPS for all)
 * @vm: out
 *
 * Return: 0; -EINVAL (a controller needs another one), -ENOMEM and others.
 */
int vmm_vm_create(struct vmm *vmm, uint32_t flags, struct vmm_vm **vm);

/* Free @vm (may be NULL), whose vCPUs must have been freed, and the memory that it was given */
void vmm_vm_free(struct vmm_vm *vm);

struct vmm *vmm_vm_system(struct vmm_vm *vm);
uint32_t vmm_vm_flags(const struct vmm_vm *vm);

/* ---- guest memory ---- */

#define VMM_MEMORY_READONLY	(1U << 0)	/* guest writes leave as MMIO */
#define VMM_MEMORY_SHARED	(1U << 1)	/* a memfd, see vmm_memory_fd() */
#define VMM_MEMORY_HUGE		(1U << 2)	/* huge pages of 2 MiB from hugetlbfs */
#define VMM_MEMORY_THP		(1U << 3)	/* ask for transparent huge pages */
#define VMM_MEMORY_HUGE_1G	(1U << 4)	/* huge pages of 1 GiB from hugetlbfs */
#define VMM_MEMORY_POPULATE	(1U << 5)	/* take all of it from the host now */

/**
 * vmm_memory_add - give the guest zeroed memory
 * @vm: the VM
 * @gpa: guest-physical address, page aligned
 * @bytes: length, page aligned
 * @flags: VMM_MEMORY_*
 * @host: out: where it is mapped here; may be NULL
 *
 * Return: 0; -EINVAL (misaligned), -EEXIST (overlaps other memory), -ENOSPC (no
 * slot is free), -ENOMEM (huge pages included: too few are free).
 */
int vmm_memory_add(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, uint32_t flags, void **host);

/**
 * vmm_memory_map - give the guest memory that the caller has mapped
 * @vm: the VM
 * @gpa: guest-physical address, page aligned
 * @bytes: length, page aligned
 * @host: its address here, page aligned; stays the caller's, and must outlive the slot
 * @flags: 0 or VMM_MEMORY_READONLY
 *
 * Return: as vmm_memory_add().
 */
int vmm_memory_map(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, void *host, uint32_t flags);

/*
 * Memory objects: memory that is made once and given to as many guests, at as many addresses, and
 * to as many processes as need it. Reference counted: it goes with its creator's reference and
 * with the last region that has it.
 */
struct vmm_memory_object;

/**
 * vmm_memory_create - new memory, all zero
 * @vmm: the system, for the text of a failure
 * @bytes: a multiple of its pages' size
 * @flags: VMM_MEMORY_*. Without VMM_MEMORY_SHARED it is anonymous and this process's alone
 * @object: out
 *
 * Return: 0; -EINVAL; -ENOMEM (huge pages included: too few are free).
 */
int vmm_memory_create(struct vmm *vmm, uint64_t bytes, uint32_t flags,
		      struct vmm_memory_object **object);

/**
 * vmm_memory_open - memory that another process made, or a file
 * @vmm: the system, for the text of a failure
 * @fd: all of it; stays the caller's. Its size must not change meanwhile: that of a memfd of
 *      this library cannot
 * @flags: VMM_MEMORY_READONLY (@fd may be open for reading alone; guests get it read-only),
 *         VMM_MEMORY_POPULATE
 * @object: out
 *
 * Return: 0; -EINVAL (not of whole pages), -EACCES (@fd cannot be written), -ENOMEM and others.
 */
int vmm_memory_open(struct vmm *vmm, int fd, uint32_t flags, struct vmm_memory_object **object);

/* Give up the caller's reference. May be NULL */
void vmm_memory_free(struct vmm_memory_object *object);

/* Where it is mapped here, how long it is, and what other processes can open it by (-ENOENT) */
void *vmm_memory_host(const struct vmm_memory_object *object);
uint64_t vmm_memory_bytes(const struct vmm_memory_object *object);
int vmm_memory_object_fd(const struct vmm_memory_object *object);

/**
 * vmm_memory_attach - give the guest an object, or a part of one
 * @vm: the VM
 * @gpa: guest-physical address, page aligned
 * @object: the memory; the VM takes a reference
 * @offset: where the part begins, page aligned
 * @bytes: its length, page aligned
 * @flags: 0 or VMM_MEMORY_READONLY
 *
 * Return: as vmm_memory_add().
 */
int vmm_memory_attach(struct vmm_vm *vm, uint64_t gpa, struct vmm_memory_object *object,
		      uint64_t offset, uint64_t bytes, uint32_t flags);

/**
 * vmm_memory_remove - take away what one call above gave
 * @vm: the VM
 * @gpa: its first address
 *
 * Return: 0; -ENOENT.
 */
int vmm_memory_remove(struct vmm_vm *vm, uint64_t gpa);

/**
 * vmm_memory_at - where guest-physical memory is mapped here
 * @vm: the VM
 * @gpa: guest-physical address
 * @bytes: that must lie behind @gpa without a gap
 *
 * Any thread.
 * Return: the address, or NULL if not all of it is memory.
 */
void *vmm_memory_at(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes);

/**
 * vmm_memory_read - copy from guest memory
 * vmm_memory_write - copy into guest memory
 * @vm: the VM
 * @gpa: guest-physical address; regions may end and begin on the way
 * @buf: the bytes here
 * @bytes: how many
 *
 * VMM_MEMORY_READONLY binds the guest: vmm_memory_write() fills what only the guest may not write
 * (and what came from vmm_memory_map() must be mapped for it). The loaders, vmm_acpi_install() and
 * vmm_identity_map() refuse it. Any thread.
 *
 * Return: 0; with nothing copied, -EFAULT: not all of it is memory; -EACCES: a write, and some of
 * it is mapped here for reading alone (vmm_memory_open() with VMM_MEMORY_READONLY).
 */
int vmm_memory_read(struct vmm_vm *vm, uint64_t gpa, void *buf, size_t bytes);
int vmm_memory_write(struct vmm_vm *vm, uint64_t gpa, const void *buf, size_t bytes);

/**
 * vmm_memory_log - begin or end the log of dirty pages of what one call above gave
 * @vm: the VM
 * @gpa: its first address
 * @on: an empty log begins; false: it ends
 *
 * Writes by guests, by the module and by this library (its emulator, its loaders,
 * vmm_memory_write()) are in it; for others, through vmm_memory_at(), there is
 * vmm_memory_mark_dirty().
 * Return: 0; -ENOENT; -ENOMEM.
 */
int vmm_memory_log(struct vmm_vm *vm, uint64_t gpa, bool on);

/**
 * vmm_memory_get_dirty - read the log
 * @vm: the VM
 * @gpa: where a part of what one call above gave begins: from its beginning in steps of 64
 *       pages
 * @bytes: length of the part: whole steps; the last may be shorter
 * @bitmap: out: a bit per page, (pages + 63) / 64 words
 * @clear: and begin anew with these pages
 *
 * Any thread.
 * Return: 0; -ENOENT (no memory there); -ENODATA (it has no log); -EINVAL (steps); -ERANGE
 * (more than one call gave).
 */
int vmm_memory_get_dirty(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, uint64_t *bitmap,
			 bool clear);

/* Begin anew with those pages whose bits are set; otherwise as above. Any thread */
int vmm_memory_clear_dirty(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes,
			   const uint64_t *bitmap);

/* Put pages into their logs. Any thread. Return: 0; -ENXIO (not all of it is memory), -EINVAL */
int vmm_memory_mark_dirty(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes);

/**
 * vmm_memory_get_touched - which pages guests have read, written or run
 * @vm: the VM
 * @gpa: where to begin, page aligned; regions and gaps do not matter
 * @bytes: page aligned
 * @bitmap: out: a bit per page, (pages + 63) / 64 words
 * @clear: and begin anew
 *
 * Any thread.
 * Return: 0; -EOPNOTSUPP (without VMM_CAP_TOUCHED); -EINVAL; -ERANGE.
 */
int vmm_memory_get_touched(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, uint64_t *bitmap,
			   bool clear);

/* Pages one after the other in guest memory */
typedef void (*vmm_pages_fn)(void *opaque, uint64_t gpa, uint64_t bytes);

/**
 * vmm_memory_each_dirty - go through the pages of a log
 * vmm_memory_each_touched - go through the pages that were touched
 * @vm: the VM
 * @gpa: as for vmm_memory_get_dirty() and vmm_memory_get_touched()
 * @bytes: likewise
 * @clear: and begin anew with them, before @fn sees them
 * @fn: called for each run of such pages, in ascending order
 * @opaque: its first argument
 *
 * Any thread.
 * Return: as vmm_memory_get_dirty() and vmm_memory_get_touched().
 */
int vmm_memory_each_dirty(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, bool clear,
			  vmm_pages_fn fn, void *opaque);
int vmm_memory_each_touched(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, bool clear,
			    vmm_pages_fn fn, void *opaque);

/**
 * vmm_memory_prefault - map memory before the guest touches it
 * @vm: the VM
 * @gpa: where to begin, page aligned
 * @bytes: page aligned, not 0
 * @write: for writing, where the guest may
 *
 * Signals do not end it.
 * Return: 0; -EINVAL; -ERANGE; -ENXIO (not all of it is memory); -EFAULT (the host has nothing
 * there); -ENOMEM.
 */
int vmm_memory_prefault(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes, bool write);

/**
 * vmm_view_create - another second-level table over the same memory, for vmm_vcpu_set_view()
 * @vm: the VM
 * @view: out: its number
 *
 * Any thread.
 *
 * Return: 0; -ENOSPC; -ENOMEM.
 */
int vmm_view_create(struct vmm_vm *vm, uint32_t *view);

/* The opposite. Any thread. Return: 0; -EPERM (view 0), -ENOENT, -EBUSY (a vCPU has it) */
int vmm_view_destroy(struct vmm_vm *vm, uint32_t view);

/**
 * vmm_view_set_access - what a view grants of some pages, over what vmm_memory_add() did
 * @vm: the VM
 * @view: not 0, the whole map
 * @gpa: where they begin, page aligned, with memory there or not
 * @bytes: page aligned
 * @access: VMM_ACCESS_READ, alone or with WRITE and EXEC; none; or EXEC alone, with
 *          VMM_CAP_EXEC_ONLY
 *
 * Other accesses of guests in this view leave with VMM_EXIT_ACCESS; what this library does for a
 * guest is not stopped. Any thread.
 *
 * Return: 0; -EINVAL, -EOPNOTSUPP (EXEC alone), -ERANGE, -EPERM (view 0), -ENOENT, -ENOMEM.
 */
int vmm_view_set_access(struct vmm_vm *vm, uint32_t view, uint64_t gpa, uint64_t bytes,
			uint32_t access);

/* The memfd behind VMM_MEMORY_SHARED memory that contains @gpa; -ENOENT */
int vmm_memory_fd(struct vmm_vm *vm, uint64_t gpa);

/**
 * struct vmm_region - one piece of guest memory
 * @gpa: where it begins
 * @bytes: its length
 * @host: where it is mapped here
 * @flags: VMM_MEMORY_*
 */
struct vmm_region {
	uint64_t gpa;
	uint64_t bytes;
	void *host;
	uint32_t flags;
};

/* The @index'th region by address. Any thread. False when there are fewer */
bool vmm_memory_region(struct vmm_vm *vm, unsigned int index, struct vmm_region *region);

/* ---- devices ---- */

/**
 * struct vmm_access - one access of a guest to a port or to device memory
 * @address: port number or guest-physical address
 * @data: value written; for a read, the device's answer (all ones beforehand)
 * @size: bytes: 1, 2, 4, or 8
 * @write: direction
 */
struct vmm_access {
	uint64_t address;
	uint64_t data;
	uint8_t size;
	bool write;
};

/**
 * typedef vmm_access_fn - a device's side of an access
 * @opaque: what the function was named with
 * @vcpu: who accesses; the call is in its thread
 * @access: the access, to be answered if it reads
 *
 * Return: 0 to go on; anything else ends vmm_vcpu_run() with that value. The access is complete all
 * the same, and so is its instruction, or its iteration of a repeated one, or the exception that
 * follows is on its way. If an error follows that is what vmm_vcpu_run() returns.
 */
typedef int (*vmm_access_fn)(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access);

#define VMM_BUS_IO		0
#define VMM_BUS_MMIO		1

/**
 * vmm_device_add - let a function answer for a range of ports or addresses
 * @vm: the VM
 * @bus: VMM_BUS_*
 * @first: first port or guest-physical address
 * @count: how many
 * @fn: called in the vCPU's thread; an access belongs to the range that its first byte is in
 * @opaque: its first argument
 *
 * Not while a vCPU runs.
 * Return: 0; -EEXIST (overlaps another), -EINVAL, -ENOMEM.
 */
int vmm_device_add(struct vmm_vm *vm, int bus, uint64_t first, uint64_t count,
		   vmm_access_fn fn, void *opaque);

/* ---- interrupts; any thread ---- */

int vmm_irq_line(struct vmm_vm *vm, uint32_t gsi, bool level);
int vmm_signal_msi(struct vmm_vm *vm, uint64_t address, uint32_t data);
int vmm_set_routes(struct vmm_vm *vm, const struct vmm_route *routes, uint32_t count);
/* @resample_fd: -1 for none */
int vmm_irqfd(struct vmm_vm *vm, int fd, uint32_t gsi, int resample_fd);
int vmm_irqfd_remove(struct vmm_vm *vm, int fd, uint32_t gsi);
/* @flags: VMM_IOEVENTFD_*, DEASSIGN included */
int vmm_ioeventfd(struct vmm_vm *vm, uint32_t flags, uint64_t address, uint32_t length, int fd,
		  uint64_t match);

/* ---- state of the VM, statistics ---- */

int vmm_vm_get_state(struct vmm_vm *vm, uint64_t groups, struct vmm_vm_state *state);
int vmm_vm_set_state(struct vmm_vm *vm, const struct vmm_vm_state *state);
int vmm_vm_set_msr_policy(struct vmm_vm *vm, uint32_t flags, const struct vmm_msr_range *ranges,
			  uint32_t count);

/**
 * vmm_vm_stats - the module's counters of a VM
 * vmm_vcpu_stats - of a vCPU
 * @vm: the VM
 * @stats: out: array, to be freed with free()
 *
 * Return: number of entries, or a negative errno.
 */
int vmm_vm_stats(struct vmm_vm *vm, struct vmm_stat **stats);
int vmm_vcpu_stats(struct vmm_vcpu *vcpu, struct vmm_stat **stats);

/* ---- vCPUs ---- */

/**
 * vmm_vcpu_create - a new vCPU, in its power-on state, with all that the host offers by CPUID
 * @vm: the VM
 * @id: its initial APIC id
 * @vcpu: out
 *
 * Return: 0; -EEXIST (the VM has a vCPU with that id), -ENOSPC (no more vCPUs), -EINVAL (@id),
 * -ENOMEM and others.
 */
int vmm_vcpu_create(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu **vcpu);
void vmm_vcpu_free(struct vmm_vcpu *vcpu);

struct vmm_vm *vmm_vcpu_vm(struct vmm_vcpu *vcpu);
uint32_t vmm_vcpu_id(const struct vmm_vcpu *vcpu);

/* The mapped run area, and why the guest was last left */
struct vmm_run *vmm_vcpu_area(struct vmm_vcpu *vcpu);
const struct vmm_exit *vmm_vcpu_exit(struct vmm_vcpu *vcpu);

/**
 * vmm_vcpu_get_state - read state groups
 * @vcpu: the vCPU, which does not run
 * @groups: VMM_STATE_*
 * @state: out. With VMM_STATE_XSAVE the caller has set xsave.area and xsave.area_size
 *         (both 0: XCR0 and XSS alone)
 *
 * Return: 0; -EINVAL (unknown group), -ENXIO (VMM_STATE_LAPIC without a LAPIC in the kernel),
 * -ENOSPC (xsave.area_size is too small).
 */
int vmm_vcpu_get_state(struct vmm_vcpu *vcpu, uint64_t groups, struct vmm_state *state);
/* Write the groups in @state->groups */
int vmm_vcpu_set_state(struct vmm_vcpu *vcpu, const struct vmm_state *state);

/* One group of it, for short */
int vmm_vcpu_get_regs(struct vmm_vcpu *vcpu, struct vmm_regs *regs);
int vmm_vcpu_set_regs(struct vmm_vcpu *vcpu, const struct vmm_regs *regs);

/* MSRs by number. Return: how many were done, or a negative errno if the first failed */
int vmm_vcpu_get_msrs(struct vmm_vcpu *vcpu, struct vmm_msr_entry *entries, uint32_t count);
int vmm_vcpu_set_msrs(struct vmm_vcpu *vcpu, const struct vmm_msr_entry *entries, uint32_t count);

int vmm_vcpu_set_exits(struct vmm_vcpu *vcpu, const struct vmm_exits *exits);

/*
 * A dirty ring: pages that this vCPU's guest writes to are entries there, not bits in their logs.
 * VMM_EXIT_RING_FULL asks for the two calls behind it.
 */

/**
 * vmm_vcpu_add_ring - give a vCPU a dirty ring
 * @vcpu: the vCPU
 * @entries: a power of two from VMM_RING_MIN to VMM_RING_MAX
 *
 * Return: 0; -EINVAL; -EEXIST (it has one); -ENOMEM.
 */
int vmm_vcpu_add_ring(struct vmm_vcpu *vcpu, uint32_t entries);

/**
 * vmm_vcpu_collect - take the entries of a vCPU's ring
 * @vcpu: the vCPU
 * @fn: called for each page, in the order in which the guest wrote to them
 * @opaque: its first argument
 *
 * Any thread, one at a time; the vCPU may run. A page comes again after vmm_vm_reset_rings() alone.
 * Return: how many; -ENXIO (it has no ring).
 */
int vmm_vcpu_collect(struct vmm_vcpu *vcpu, vmm_pages_fn fn, void *opaque);

/* Begin anew with what was collected, of all vCPUs. Any thread. Return: how many; -EINVAL */
int vmm_vm_reset_rings(struct vmm_vm *vm);

/* The view that it runs in: 0 at first, or one of vmm_view_create() */
int vmm_vcpu_set_view(struct vmm_vcpu *vcpu, uint32_t view);

/* Events. NMIs: any thread; the others: the vCPU does not run */
int vmm_vcpu_inject(struct vmm_vcpu *vcpu, const struct vmm_event *event);
int vmm_vcpu_inject_exception(struct vmm_vcpu *vcpu, uint8_t vector, int error, uint64_t payload);
int vmm_vcpu_inject_nmi(struct vmm_vcpu *vcpu);

/**
 * vmm_vcpu_translate - guest-virtual to guest-physical
 * @vcpu: the vCPU, which does not run
 * @gva: linear address
 * @access: VMM_ACCESS_*
 * @gpa: out
 * @fault: out: the exception that the guest would get; may be NULL
 *
 * Return: 0; 1: @fault; a negative errno.
 */
int vmm_vcpu_translate(struct vmm_vcpu *vcpu, uint64_t gva, uint32_t access, uint64_t *gpa,
		       struct vmm_event *fault);

/**
 * vmm_vcpu_read - copy linear guest memory
 * vmm_vcpu_write
 * @vcpu: the vCPU, which does not run
 * @gva: linear address
 * @buf: the copy
 * @bytes: how many
 * @access: VMM_ACCESS_*
 * @fault: out: the exception that the guest would get
 *
 * Device memory is reached as the guest would reach it: through vmm_device_add()
 * ranges, else it reads as all ones. A fault anywhere leaves all of memory as it was.
 * Return: 0; 1: @fault; a negative errno, or what a device returned.
 */
int vmm_vcpu_read(struct vmm_vcpu *vcpu, uint64_t gva, void *buf, size_t bytes, uint32_t access,
		  struct vmm_event *fault);
int vmm_vcpu_write(struct vmm_vcpu *vcpu, uint64_t gva, const void *buf, size_t bytes,
		   uint32_t access, struct vmm_event *fault);

/* ---- CPUID ---- */

/**
 * vmm_cpuid_supported - what can be offered to a guest on this host
 * @vmm: the system
 * @entries: out: array, to be freed with free()
 *
 * Return: number of entries, or a negative errno.
 */
int vmm_cpuid_supported(struct vmm *vmm, struct vmm_cpuid_entry **entries);

/**
 * vmm_cpuid_topology - adapt a table to one vCPU of several
 * @entries: the table, changed in place
 * @count: entries there
 * @id: APIC id of the vCPU
 * @cpus: vCPUs of the VM: cores of one package, without SMT
 */
void vmm_cpuid_topology(struct vmm_cpuid_entry *entries, int count, uint32_t id, uint32_t cpus);

/* The vCPU's table */
int vmm_vcpu_set_cpuid(struct vmm_vcpu *vcpu, const struct vmm_cpuid_entry *entries, int count);
int vmm_vcpu_get_cpuid(struct vmm_vcpu *vcpu, struct vmm_cpuid_entry **entries);

/* All that the host supports, as one of @cpus: the three calls above in one */
int vmm_vcpu_default_cpuid(struct vmm_vcpu *vcpu, uint32_t cpus);

/* ---- start states ---- */

/**
 * vmm_vcpu_real_mode - real mode, flat segments at 0 but for CS
 * @vcpu: the vCPU
 * @cs: selector of the code segment, whose base is 16 times that
 * @ip: where to start in it
 *
 * Return: 0 or a negative errno.
 */
int vmm_vcpu_real_mode(struct vmm_vcpu *vcpu, uint16_t cs, uint16_t ip);

/**
 * vmm_vcpu_protected_mode - 32-bit protected mode, flat segments, no paging, interrupts off
 * @vcpu: the vCPU
 * @eip: where to start
 * @regs: initial general registers, or NULL for zeros; its rip and rflags are not used
 *
 * No descriptor table is in guest memory: selectors are 0x8 for code and 0x10 for data,
 * and GDTR is empty.
 * Return: 0 or a negative errno.
 */
int vmm_vcpu_protected_mode(struct vmm_vcpu *vcpu, uint32_t eip, const struct vmm_regs *regs);

/**
 * vmm_vcpu_long_mode - 64-bit mode, flat segments, interrupts off
 * @vcpu: the vCPU
 * @rip: where to start
 * @cr3: page tables, see vmm_identity_map()
 * @regs: as above
 *
 * Return: 0 or a negative errno.
 */
int vmm_vcpu_long_mode(struct vmm_vcpu *vcpu, uint64_t rip, uint64_t cr3,
		       const struct vmm_regs *regs);

/**
 * vmm_identity_map - page tables that map the first gigabytes onto themselves, in 2M pages
 * @vm: the VM
 * @gpa: where to put them; page aligned, (2 + @gigabytes) pages
 * @gigabytes: 1 to 512
 *
 * Return: 0; -EFAULT (no memory there), -EACCES (the guest may only read it), -EINVAL, -ENOMEM.
 */
int vmm_identity_map(struct vmm_vm *vm, uint64_t gpa, unsigned int gigabytes);

/* ---- running ---- */

/**
 * struct vmm_ops - what a VMM does at its guest's exits; each may be NULL
 * @io: a port that no vmm_device_add() range answers. Default: reads as all ones
 * @mmio: likewise an address
 * @hypercall: with VMM_EXITS_HYPERCALL; sets ->ret
 * @msr: by vmm_vm_set_msr_policy(); sets ->data or ->fault. Default: #GP
 * @hlt: without a LAPIC in the kernel, or with VMM_EXITS_HLT
 * @interrupted: a signal, vmm_vcpu_kick() or immediate_exit. Default: leave with -EINTR
 * @other: any other exit, or one above without its function. Default: leave with 0
 *
 * Return: 0 to go on; anything else ends vmm_vcpu_run() with that value.
 */
struct vmm_ops {
	vmm_access_fn io;
	vmm_access_fn mmio;
	int (*hypercall)(void *opaque, struct vmm_vcpu *vcpu, struct vmm_exit_hypercall *call);
	int (*msr)(void *opaque, struct vmm_vcpu *vcpu, struct vmm_exit_msr *msr);
	int (*hlt)(void *opaque, struct vmm_vcpu *vcpu);
	int (*interrupted)(void *opaque, struct vmm_vcpu *vcpu);
	int (*other)(void *opaque, struct vmm_vcpu *vcpu, const struct vmm_exit *exit);
};

/**
 * vmm_vcpu_run - run a vCPU until something ends it
 * @vcpu: the vCPU
 * @ops: may be NULL
 * @opaque: for @ops
 *
 * Completes string I/O and EMULATE exits by itself.
 * Return: 0: an exit that nobody handles, see vmm_vcpu_exit(); what a function
 * returned; -EINTR; -ENOSYS: an instruction that cannot be emulated; another
 * negative errno from the module. Text for the negative ones: vmm_vcpu_error().
 */
int vmm_vcpu_run(struct vmm_vcpu *vcpu, const struct vmm_ops *ops, void *opaque);

/* VMM_RUN alone: 0, -EINTR or another negative errno; the caller handles the exit */
int vmm_vcpu_enter(struct vmm_vcpu *vcpu);

/**
 * vmm_vcpu_step - run a vCPU for one instruction, or up to the begin of a handler
 * @vcpu: the vCPU
 * @ops: as above, for what the instruction does and what interrupts it; may be NULL
 * @opaque: for @ops
 *
 * Return: 0: the exit is a DEBUG exit of kind VMM_DEBUG_STEP, or one that nobody handles, which
 * then stands for it; -ENOTSUP: without VMM_CAP_SINGLE_STEP; otherwise as vmm_vcpu_run().
 */
int vmm_vcpu_step(struct vmm_vcpu *vcpu, const struct vmm_ops *ops, void *opaque);

/* Handle the present exit as vmm_vcpu_run() does. Return: as it; or 0 with @again set: run on */
int vmm_vcpu_handle_exit(struct vmm_vcpu *vcpu, const struct vmm_ops *ops, void *opaque,
			 bool *again);

/*
 * Make vmm_vcpu_run() or vmm_vcpu_step() call ->interrupted soon, also when the vCPU does not run
 * yet. Any thread
 */
int vmm_vcpu_kick(struct vmm_vcpu *vcpu);

/* Exits to user space so far, by VMM_EXIT_*: an array of VMM_NR_EXITS */
const uint64_t *vmm_vcpu_exit_counts(const struct vmm_vcpu *vcpu);

/**
 * vmm_vcpu_describe - registers, what the vCPU waits for and the bytes at RIP, as text
 * @vcpu: the vCPU, which does not run
 * @buf: where to put it; cut to fit, always terminated
 * @size: bytes there
 *
 * Return: length of the text, or a negative errno if the state cannot be read.
 */
int vmm_vcpu_describe(struct vmm_vcpu *vcpu, char *buf, size_t size);

#ifdef __cplusplus
}
#endif

#endif
