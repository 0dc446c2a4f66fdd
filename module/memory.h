/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: slots of the VMM's own address space, mapped on demand into the
 * second-level table under an mmu notifier, never pinned.
 *
 * What keeps the second-level table true. At any moment at which memory.lock is
 * free, each entry maps what the host's page tables map at an address of a slot that
 * there is:
 *
 *  - memory_fault() notes invalidate_seq, looks up the slot, gets the page, and
 *    installs it with the lock held for reading, if no invalidation of that address
 *    runs, and none has ended since. Otherwise it begins again.
 *  - An invalidation raises invalidate_running, zaps with the lock held for writing,
 *    and flushes, before the host changes its tables. It raises the number
 *    afterwards and leaves its range in invalidated[]: a fault that saw the old page finds
 *    one or the other, and one elsewhere is not disturbed. Between slots, and between views,
 *    it gives the lock to who waits for it: as long as it runs nothing of its range comes to
 *    be mapped, so that slots and views may come and go meanwhile.
 *  - A change of slots puts the new one in the place of the old, zaps what that mapped and
 *    raises the number, for all addresses, with the lock held for writing. So a fault
 *    that found the old slot either installed before, and is zapped, or begins again;
 *    and an invalidation never misses a mapping because its slot has just gone.
 */
#ifndef VMM_MEMORY_H
#define VMM_MEMORY_H

#include <linux/cpumask.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "tdp.h"

struct vcpu;
struct vm;

#define MEMORY_MAX_SLOTS	512
#define MEMORY_MAX_VIEWS	64
#define MEMORY_READONLY		1
#define MEMORY_LOG_DIRTY	2

/**
 * struct memory_slot - guest frames and the host addresses behind them
 * @gfn: the first frame
 * @pages: how many
 * @hva: where they are in vm->mm
 * @number: the VMM's
 * @flags: MEMORY_*
 * @log: with MEMORY_LOG_DIRTY: a bit per page, see dirty.c; else NULL
 */
struct memory_slot {
	u64 gfn;
	u64 pages;
	unsigned long hva;
	u32 number;
	u32 flags;
	atomic64_t *log;
};

/* What slots are looked up by, each in a tree of its own: slots.h */
enum memory_key {
	MEMORY_GFN,
	MEMORY_HVA,
	MEMORY_NUMBER,
	MEMORY_KEYS
};

/* Host addresses from @start up to @end */
struct memory_range {
	unsigned long start;
	unsigned long end;
};

/* Invalidations that a fault can tell from its own before it must assume the worst */
#define MEMORY_HISTORY	16

/*
 * The memory of a VM
 *
 * Legend: [I] immutable, [L] vm->lock, [S] read with vm->lock or @lock held, changed with both,
 * @lock for writing, [lock] read with @lock held for reading, changed with it held for
 * writing, [F] flush_lock, [V] read with vm->lock, @lock or @flush_lock held, changed with all of
 * them, @lock for writing.
 *
 * Order: vm->lock, @flush_lock, @lock. Who holds @flush_lock waits for CPUs to take an interrupt:
 * it is never taken with interrupts off, nor with @lock held, which a vCPU's window takes for
 * reading.
 */
struct memory {
	struct rb_root_cached slots[MEMORY_KEYS];	/* [S] */
	unsigned int logs;			/* [L] slots that have one */
	struct mmu_notifier notifier;		/* [I] */
	rwlock_t lock;				/* of the second-level table, see tdp.h */
	unsigned long invalidate_seq;		/* [lock] read without it by memory_fault() */
	long invalidate_running;		/* [lock] */
	struct memory_range invalidating;	/* [lock] bounds of those that run */
	struct memory_range invalidated[MEMORY_HISTORY];/* [lock] by number, the last that ended */
	wait_queue_head_t invalidate_wait;	/* for none to run */
	struct tdp *tdp;			/* [I] view 0 */
	struct list_head views;			/* [V] struct tdp, view 0 among them */
	struct tdp_count count;			/* of all views */
	bool logged;				/* [L] read without: a slot has a log, or had one */
	bool log_wanted;			/* [L] read without: a slot has a log */
	spinlock_t flush_lock;
	cpumask_var_t flush_cpus;		/* [F] */
};

#define memory_for_each_view(memory, tdp)					\
	list_for_each_entry(tdp, &(memory)->views, link)

int memory_init(struct vm *vm);
void memory_destroy(struct vm *vm);

/**
 * memory_set_slot - add, move, change or delete a slot
 * @vm: the VM; vm->lock is held, current->mm is vm->mm; may sleep
 * @slot: number, below MEMORY_MAX_SLOTS
 * @gpa: guest-physical address, page aligned
 * @bytes: length, page aligned; 0 deletes
 * @hva: address in vm->mm, page aligned
 * @flags: MEMORY_READONLY, MEMORY_LOG_DIRTY
 *
 * When it returns, no vCPU and no memory_read() or memory_write() uses what the slot was before. If
 * the caller was killed while it waited for the latter, the slot is changed as well, and they end
 * in what it was. A log stays with memory of the same address and size, wherever the slot moves.
 *
 * Return: 0, or EINVAL (alignment, flags, slot number), ERANGE (guest-physical width or wrap),
 * EFAULT (@hva is no user range), EEXIST (overlap), ENOENT (deletes what is not there), ENOMEM.
 */
int memory_set_slot(struct vm *vm, u32 slot, u64 gpa, u64 bytes, u64 hva, u32 flags);

#define MEMORY_MAPPED	0	/* enter again */
#define MEMORY_MMIO	1	/* no slot there, or a write to a read-only one */
#define MEMORY_DENIED	2	/* the vCPU's view does not grant it */

/**
 * memory_is_mmio - would memory_fault() answer MEMORY_MMIO?
 * @vm: the VM; any context
 * @gpa: where
 * @access: ACCESS_*
 *
 * Return: true: it would.
 */
bool memory_is_mmio(struct vm *vm, u64 gpa, u32 access);

/**
 * memory_fault - make a guest-physical address accessible
 * @vcpu: who faulted; outside the window, may sleep
 * @gpa: where
 * @access: ACCESS_*
 *
 * Return: MEMORY_MAPPED, MEMORY_MMIO, MEMORY_DENIED, or a negative errno: EINTR (a signal waits),
 * EFAULT (nothing mapped at the host address, or no page of RAM), EHWPOISON, ENOMEM.
 */
int memory_fault(struct vcpu *vcpu, u64 gpa, u32 access);

/**
 * memory_fault_quick - what memory_fault() can do in the window
 * @vcpu: who faulted
 * @gpa: where
 * @access: ACCESS_*
 *
 * That is a write which nothing but a log holds back, and a huge page that the host has.
 * Return: MEMORY_MAPPED, MEMORY_MMIO, or EAGAIN: ask memory_fault().
 */
int memory_fault_quick(struct vcpu *vcpu, u64 gpa, u32 access);

/**
 * memory_prefault - do the work of later faults now
 * @vm: the VM; current->mm is vm->mm; may sleep
 * @gpa: where to begin, page aligned
 * @bytes: page aligned, not 0
 * @write: for writing, where the slot allows it; marks nothing dirty
 * @done: out, always: bytes from @gpa on that are mapped
 *
 * Return: 0, or why no more: EINVAL (alignment, no bytes), ERANGE (wraps), ENXIO (no slot there),
 * or as memory_fault().
 */
int memory_prefault(struct vm *vm, u64 gpa, u64 bytes, bool write, u64 *done);

/**
 * memory_touched - which pages were accessed by guests since they were forgotten
 * @vm: the VM; current->mm is vm->mm; may sleep
 * @gpa: where to begin, page aligned
 * @bytes: page aligned
 * @bitmap: a bit per page
 * @clear: and forget it
 *
 * Return: 0, EOPNOTSUPP (the CPU has no accessed bits), EINVAL, ERANGE, EFAULT.
 */
int memory_touched(struct vm *vm, u64 gpa, u64 bytes, u64 __user *bitmap, bool clear);

/**
 * memory_create_view - another second-level table over the slots
 * @vm: the VM; vm->lock is held; may sleep
 * @number: out: its number, below MEMORY_MAX_VIEWS
 *
 * Return: 0, ENOSPC (there are MEMORY_MAX_VIEWS), ENOMEM.
 */
int memory_create_view(struct vm *vm, u32 *number);

/**
 * memory_destroy_view - the opposite
 * @vm: the VM; vm->lock is held; may sleep
 * @number: of the view
 *
 * Return: 0, EPERM (view 0), ENOENT (there is none), EBUSY (a vCPU has it).
 */
int memory_destroy_view(struct vm *vm, u32 number);

/**
 * memory_set_view - choose the view that a vCPU runs in, from its next entry on
 * @vcpu: at rest
 * @number: of the view
 *
 * Return: 0, ENOENT, or EINTR (killed).
 */
int memory_set_view(struct vcpu *vcpu, u32 number);

/**
 * memory_set_access - choose what a view grants for a range, over what the slots do
 * @vm: the VM; vm->lock is held; may sleep
 * @number: of the view
 * @gpa: where it begins, page aligned; in slots or not
 * @bytes: page aligned
 * @access: ACCESS_READ, WRITE, EXEC
 *
 * It stays with the addresses, whatever slots are there. When it returns no vCPU in this view goes
 * on with what is denied.
 *
 * Return: 0, EINVAL (alignment, no bytes, writing without reading, other bits), EOPNOTSUPP (the CPU
 * cannot grant execution without reading), ERANGE (wraps, or exceeds the guest-physical width),
 * EPERM (view 0), ENOENT, ENOMEM.
 */
int memory_set_access(struct vm *vm, u32 number, u64 gpa, u64 bytes, u32 access);

/**
 * memory_granted - what a vCPU's view grants at a guest-physical address
 * @vcpu: the vCPU
 * @gpa: the address
 *
 * Return: ACCESS_*.
 */
u32 memory_granted(struct vcpu *vcpu, u64 gpa);

/* What logs of writes hold: dirty.c says what keeps them complete. */
atomic64_t *dirty_log_create(u64 pages);

/**
 * dirty_note_vcpu - a vCPU has written to a page
 * @vcpu: who
 * @slot: where; it cannot go away meanwhile
 * @gfn: the page
 */
void dirty_note_vcpu(struct vcpu *vcpu, const struct memory_slot *slot, u64 gfn);

/**
 * dirty_note - somebody else has written to pages
 * @slot: where; it cannot go away meanwhile
 * @gfn: the first page
 * @pages: how many
 */
void dirty_note(const struct memory_slot *slot, u64 gfn, u64 pages);

/**
 * dirty_note_logged - the CPU's log says that a vCPU has written to pages
 * @vcpu: who; in its window
 * @gpas: addresses in these pages
 * @count: how many
 */
void dirty_note_logged(struct vcpu *vcpu, const u64 *gpas, int count);

/**
 * dirty_write - let a write through that nothing but a log holds back
 * @vcpu: who faulted; memory.lock is held for reading
 * @slot: where, not a read-only one
 * @gfn: the page
 *
 * Return: true: enter again; false: it must be mapped.
 */
bool dirty_write(struct vcpu *vcpu, const struct memory_slot *slot, u64 gfn);

/**
 * dirty_get - copy bits of a log out
 * @vm: the VM; vm->lock is held, current->mm is vm->mm; may sleep
 * @slot: number
 * @first: page of the slot, a multiple of 64
 * @pages: a multiple of 64, or up to the slot's end
 * @bitmap: for one bit per page, from bit 0 of the first word on
 * @clear: and take them from the log: writes that come after the call are noted again
 *
 * Return: 0, ENOENT (no such slot), ENODATA (it has no log), EINVAL (alignment, no pages), ERANGE
 * (not all of them are in the slot), EFAULT.
 */
int dirty_get(struct vm *vm, u32 slot, u64 first, u64 pages, u64 __user *bitmap, bool clear);

/**
 * dirty_clear - take bits from a log
 * @vm: as for dirty_get()
 * @slot: number
 * @first: page of the slot, a multiple of 64
 * @pages: a multiple of 64, or up to the slot's end
 * @bitmap: which bits to take
 *
 * Return: as dirty_get().
 */
int dirty_clear(struct vm *vm, u32 slot, u64 first, u64 pages, const u64 __user *bitmap);

/**
 * dirty_mark - note writes that the front end has done
 * @vm: the VM; vm->lock is held
 * @gpa: where they begin
 * @bytes: how much
 *
 * Return: 0, EINVAL (@bytes 0), ERANGE (wraps), ENXIO (not all of it is in slots).
 */
int dirty_mark(struct vm *vm, u64 gpa, u64 bytes);

/**
 * memory_read - copy from guest-physical memory
 * @vm: the VM; may sleep, current->mm is vm->mm
 * @gpa: where; may span slots
 * @buf: the copy
 * @len: bytes
 *
 * memory_write() copies to it.
 * Return: 0; ENXIO (no slot, or read-only for a write); EFAULT.
 */
int memory_read(struct vm *vm, u64 gpa, void *buf, size_t len);
int memory_write(struct vm *vm, u64 gpa, const void *buf, size_t len);

/**
 * memory_cmpxchg - change 4 or 8 bytes of guest-physical memory atomically, as memory_write()
 * @vm: the VM
 * @gpa: aligned to @size
 * @old: what is expected there
 * @new: what shall be there
 * @size: 4 or 8
 *
 * Return: 0; EAGAIN (something else is there); ENXIO, EFAULT.
 */
int memory_cmpxchg(struct vm *vm, u64 gpa, u64 old, u64 new, int size);

/**
 * memory_peek - read guest-physical memory inside the window
 * @vcpu: the vCPU; in its window, so that no invalidation can complete meanwhile
 * @gpa: where; must not cross a page
 * @buf: the copy
 * @len: bytes
 *
 * Reads through the host frame that the vCPU's second-level table maps.
 * Return: 0, or EAGAIN if it is not mapped there now (leave the window and use memory_read()).
 */
int memory_peek(struct vcpu *vcpu, u64 gpa, void *buf, size_t len);

/**
 * memory_flush - no vCPU goes on with translations that were removed from the table
 * @vm: the VM; interrupts are on, memory.lock is not held
 *
 * On return each vCPU has left its window or will flush before it runs guest code again, and no
 * memory_peek() that began before is still under way. Does nothing if nothing was removed since
 * the last time.
 */
void memory_flush(struct vm *vm);

/**
 * memory_leave_guests - each vCPU leaves its guest once; otherwise as memory_flush()
 * @vm: as for memory_flush()
 */
void memory_leave_guests(struct vm *vm);

/*
 * notifier.c, for memory.c alone: what these host addresses map in the guest goes, and does not
 * come back before the end. memory.lock is not held, and may be given away on the way; with
 * @may_sleep so is the CPU.
 */
void memory_begin_change(struct vm *vm, unsigned long start, unsigned long end, bool may_sleep);
void memory_end_change(struct vm *vm, unsigned long start, unsigned long end);

/* notifier.c, for memory.c alone: the notifier's life. EINTR, ENOMEM */
int memory_watch(struct vm *vm);
void memory_unwatch(struct vm *vm);

/*
 * What faults between these addresses have seen is no longer so; memory.lock is held for writing.
 */
static inline void memory_changed(struct memory *memory, unsigned long start, unsigned long end)
{
	unsigned long seq = memory->invalidate_seq;

	memory->invalidated[seq % MEMORY_HISTORY] = (struct memory_range){ start, end };
	/* Pairs with try_fault(): who sees this number sees the new slots, the host's entries. */
	smp_store_release(&memory->invalidate_seq, seq + 1);
}

#endif
