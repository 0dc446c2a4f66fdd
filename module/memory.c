// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: slots and copies. memory.h says how slots, faults and invalidations keep the
 * second-level table true.
 */
#include <linux/bitops.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "hw.h"
#include "memory.h"
#include "slots.h"
#include "tdp.h"
#include "vcpu.h"
#include "vm.h"

/**
 * memory_init - no slots yet; from here on the VM follows its mm
 * @vm: the VM, with vm->mm set to current->mm
 *
 * Return: 0, ENOMEM or EINTR.
 */
int memory_init(struct vm *vm)
{
	struct memory *memory = &vm->memory;
	int ret;

	rwlock_init(&memory->lock);
	spin_lock_init(&memory->flush_lock);
	init_waitqueue_head(&memory->invalidate_wait);

	ret = init_srcu_struct(&memory->srcu);
	if (ret)
		return ret;
	ret = -ENOMEM;
	if (!zalloc_cpumask_var(&memory->flush_cpus, GFP_KERNEL_ACCOUNT))
		goto cleanup_srcu;
	INIT_LIST_HEAD(&memory->views);
	memory->tdp = tdp_create(&memory->count, 0);
	if (!memory->tdp)
		goto free_cpus;
	list_add(&memory->tdp->link, &memory->views);
	ret = memory_watch(vm);
	if (ret)
		goto destroy_tdp;
	return 0;

destroy_tdp:
	tdp_destroy(memory->tdp);
free_cpus:
	free_cpumask_var(memory->flush_cpus);
cleanup_srcu:
	cleanup_srcu_struct(&memory->srcu);
	return ret;
}

/**
 * memory_destroy - the opposite
 * @vm: the VM; its vCPUs run no more, but are still there for a notification that is under way
 */
void memory_destroy(struct vm *vm)
{
	struct memory *memory = &vm->memory;
	struct memory_slots *slots;
	struct tdp *tdp, *next;
	u32 i;

	/* What is mapped goes with its tables: the notifier's last call has nothing to zap. */
	write_lock(&memory->lock);
	slots = rcu_replace_pointer(memory->slots, NULL, true);
	write_unlock(&memory->lock);

	memory_unwatch(vm);
	list_for_each_entry_safe(tdp, next, &memory->views, link)
		tdp_destroy(tdp);
	free_cpumask_var(memory->flush_cpus);
	for (i = 0; slots && i < slots->count; i++)
		kvfree(slots->slot[i].log);
	kfree(slots);
	cleanup_srcu_struct(&memory->srcu);
}

static int check_slot(const struct memory_slots *slots, const struct memory_slot *new)
{
	u64 limit = min_t(u64, hw_caps.gpa_bits, PAGE_SHIFT + TDP_BITS * hw_caps.tdp->levels);
	u64 end = new->gfn + new->pages;
	u32 i;

	if (end < new->gfn || end > 1ull << (limit - PAGE_SHIFT))
		return -ERANGE;
	if (!access_ok((void __user *)new->hva, new->pages << PAGE_SHIFT))
		return -EFAULT;
	for (i = 0; slots && i < slots->count; i++) {
		const struct memory_slot *slot = &slots->slot[i];

		if (slot->number != new->number && slot->gfn < end &&
		    new->gfn < slot->gfn + slot->pages)
			return -EEXIST;
	}
	return 0;
}

/* A sorted copy of @slots without @old and with @new; each may be NULL */
static struct memory_slots *change_slots(const struct memory_slots *slots,
					 const struct memory_slot *old,
					 const struct memory_slot *new)
{
	u32 count = slots ? slots->count : 0;
	struct memory_slots *changed;
	u32 i;

	changed = kzalloc(struct_size(changed, slot, count + 1), GFP_KERNEL_ACCOUNT);
	if (!changed)
		return NULL;
	for (i = 0; i < count; i++) {
		const struct memory_slot *slot = &slots->slot[i];

		if (slot == old)
			continue;
		if (new && new->gfn < slot->gfn) {
			changed->slot[changed->count++] = *new;
			new = NULL;
		}
		changed->slot[changed->count++] = *slot;
	}
	if (new)
		changed->slot[changed->count++] = *new;
	return changed;
}

static void publish_locked(struct memory *memory, struct memory_slots *changed)
{
	rcu_assign_pointer(memory->slots, changed);
	memory_changed(memory, 0, ULONG_MAX);
}

/* Make @changed the slots; @old is the one that is no longer there as it was, or NULL */
static void publish_slots(struct vm *vm, struct memory_slots *changed,
			  const struct memory_slot *old)
{
	struct memory *memory = &vm->memory;
	/* What the CPUs have logged carries guest addresses: it is read by the old array. */
	bool drain = hw_caps.pml && old && old->log;
	unsigned long start = drain ? old->hva : 0;
	unsigned long end = drain ? start + (old->pages << PAGE_SHIFT) : 0;
	LIST_HEAD(zapped);

	if (drain)
		memory_begin_change(vm, start, end, true);
	write_lock(&memory->lock);
	if (old)
		memory_zap(memory, old->gfn, old->gfn + old->pages, &zapped);
	publish_locked(memory, changed);
	write_unlock(&memory->lock);

	memory_flush(vm);
	tdp_free_zapped(&memory->count, &zapped, true);
	if (drain)
		memory_end_change(vm, start, end);
}

/* The same for one that is as it was, but that it has a log now or has none any more */
static void publish_log(struct vm *vm, struct memory_slots *changed, const struct memory_slot *new)
{
	struct memory *memory = &vm->memory;
	struct tdp *tdp;

	write_lock(&memory->lock);
	publish_locked(memory, changed);
	memory_for_each_view(memory, tdp)
		tdp_protect(tdp, new->gfn, new->gfn + new->pages, new->log);
	write_unlock(&memory->lock);
	memory_flush(vm);
}

static bool same_memory(const struct memory_slot *a, const struct memory_slot *b)
{
	return a->hva == b->hva && a->pages == b->pages;
}

/* The log for @new, which takes the place of @old (may be NULL). ENOMEM */
static int choose_log(const struct memory_slot *old, struct memory_slot *new)
{
	if (!(new->flags & MEMORY_LOG_DIRTY))
		return 0;
	new->log = old && same_memory(old, new) ? old->log : NULL;
	if (!new->log)
		new->log = dirty_log_create(new->pages);
	return new->log ? 0 : -ENOMEM;
}

/* Before a log begins CPUs must keep theirs; when the last has ended they need not. */
static void want_log(struct vm *vm, const struct memory_slots *slots)
{
	struct memory *memory = &vm->memory;
	bool wanted = false;
	u32 i;

	for (i = 0; i < slots->count; i++)
		wanted |= !!slots->slot[i].log;
	if (wanted)
		WRITE_ONCE(memory->logged, true);
	if (memory->log_wanted == wanted)
		return;
	WRITE_ONCE(memory->log_wanted, wanted);
	/* A vCPU looks when it enters a window. */
	if (hw_caps.pml && wanted)
		memory_leave_guests(vm);
}

static int replace_slot(struct vm *vm, struct memory_slots *slots, const struct memory_slot *old,
			const struct memory_slot *new)
{
	bool same = old && new && same_memory(old, new) && old->gfn == new->gfn &&
		    !((old->flags ^ new->flags) & ~MEMORY_LOG_DIRTY);
	atomic64_t *old_log = old ? old->log : NULL;
	struct memory *memory = &vm->memory;
	struct memory_slots *changed;

	changed = change_slots(slots, old, new);
	if (!changed)
		return -ENOMEM;
	want_log(vm, changed);
	if (same)
		publish_log(vm, changed, new);
	else
		publish_slots(vm, changed, old);
	if (slots) {
		synchronize_srcu_expedited(&memory->srcu);
		if (!new || new->log != old_log)
			kvfree(old_log);
		kfree(slots);
	}
	return 0;
}

int memory_set_slot(struct vm *vm, u32 slot, u64 gpa, u64 bytes, u64 hva, u32 flags)
{
	struct memory *memory = &vm->memory;
	const struct memory_slot *old;
	struct memory_slots *slots;
	struct memory_slot new = {
		.gfn = gpa >> PAGE_SHIFT,
		.pages = bytes >> PAGE_SHIFT,
		.hva = hva,
		.number = slot,
		.flags = flags,
	};
	int ret;

	if (slot >= MEMORY_MAX_SLOTS || (flags & ~(MEMORY_READONLY | MEMORY_LOG_DIRTY)) ||
	    !PAGE_ALIGNED(gpa | bytes | hva))
		return -EINVAL;

	slots = rcu_dereference_protected(memory->slots, lockdep_is_held(&vm->lock));
	old = slot_by_number(slots, slot);
	if (!bytes)
		return old ? replace_slot(vm, slots, old, NULL) : -ENOENT;
	ret = check_slot(slots, &new);
	if (!ret)
		ret = choose_log(old, &new);
	if (ret)
		return ret;
	if (old && !memcmp(old, &new, sizeof(new)))
		return 0;
	ret = replace_slot(vm, slots, old, &new);
	if (ret && !(old && old->log == new.log))
		kvfree(new.log);
	return ret;
}

bool memory_is_mmio(struct vm *vm, u64 gpa, u32 access)
{
	struct memory_slot slot;

	if (!find_slot(&vm->memory, gpa >> PAGE_SHIFT, &slot))
		return true;
	return (access & ACCESS_WRITE) && (slot.flags & MEMORY_READONLY);
}

/* Pages at a time */
#define TOUCHED_CHUNK	4096

int memory_touched(struct vm *vm, u64 gpa, u64 bytes, u64 __user *bitmap, bool clear)
{
	u64 bits[BITS_TO_LONGS(TOUCHED_CHUNK)];
	struct memory *memory = &vm->memory;
	u64 gfn = gpa >> PAGE_SHIFT;
	u64 end = gfn + (bytes >> PAGE_SHIFT);
	bool cleared = false;
	struct tdp *tdp;
	int ret = 0;

	if (!hw_caps.tdp->accessed)
		return -EOPNOTSUPP;
	if (!bytes || !PAGE_ALIGNED(gpa | bytes))
		return -EINVAL;
	if (gpa + bytes < gpa || (gpa + bytes - 1) >> hw_caps.gpa_bits)
		return -ERANGE;
	for (; gfn < end && !ret; gfn += TOUCHED_CHUNK) {
		u64 pages = min_t(u64, TOUCHED_CHUNK, end - gfn);
		u64 words = BITS_TO_LONGS(pages);

		memset(bits, 0, sizeof(bits));
		read_lock(&memory->lock);
		memory_for_each_view(memory, tdp)
			cleared |= tdp_touched(tdp, gfn, gfn + pages, bits, clear);
		if (cleared)
			memory_stale(memory);
		read_unlock(&memory->lock);
		if (copy_to_user(bitmap, bits, words * sizeof(u64)))
			ret = -EFAULT;
		bitmap += words;
		cond_resched();
	}
	/* Else the next access may go through a translation that is cached, and unseen. */
	if (cleared)
		memory_flush(vm);
	return ret;
}

enum copy { COPY_READ, COPY_WRITE };

static int copy_at(unsigned long hva, void *buf, size_t len, enum copy copy)
{
	void __user *user = (void __user *)hva;
	size_t left;

	left = copy == COPY_WRITE ? copy_to_user(user, buf, len) : copy_from_user(buf, user, len);
	return left ? -EFAULT : 0;
}

static int copy_guest(struct vm *vm, u64 gpa, void *buf, size_t len, enum copy copy)
{
	struct memory *memory = &vm->memory;
	const struct memory_slots *slots;
	int idx = srcu_read_lock(&memory->srcu);
	int ret = 0;

	slots = srcu_dereference(memory->slots, &memory->srcu);
	while (len && !ret) {
		const struct memory_slot *slot = slot_at(slots, gpa >> PAGE_SHIFT);
		size_t part;

		if (!slot || (copy == COPY_WRITE && slot->flags & MEMORY_READONLY)) {
			ret = -ENXIO;
			break;
		}
		part = min_t(u64, len, ((slot->gfn + slot->pages) << PAGE_SHIFT) - gpa);
		ret = copy_at(slot_hva(slot, gpa), buf, part, copy);
		/* Some of it may have been written even if it failed. */
		if (copy == COPY_WRITE)
			dirty_note(slot, gpa >> PAGE_SHIFT,
				   ((gpa + part - 1) >> PAGE_SHIFT) - (gpa >> PAGE_SHIFT) + 1);
		gpa += part;
		buf += part;
		len -= part;
	}
	srcu_read_unlock(&memory->srcu, idx);
	return ret;
}

int memory_read(struct vm *vm, u64 gpa, void *buf, size_t len)
{
	return copy_guest(vm, gpa, buf, len, COPY_READ);
}

int memory_write(struct vm *vm, u64 gpa, const void *buf, size_t len)
{
	return copy_guest(vm, gpa, (void *)buf, len, COPY_WRITE);
}

static int cmpxchg_user4(u32 __user *user, u32 old, u32 new)
{
	return __try_cmpxchg_user(user, &old, new, fault);
}

static int cmpxchg_user8(u64 __user *user, u64 old, u64 new)
{
	return __try_cmpxchg_user(user, &old, new, fault);
}

int memory_cmpxchg(struct vm *vm, u64 gpa, u64 old, u64 new, int size)
{
	struct memory *memory = &vm->memory;
	const struct memory_slot *slot;
	int idx = srcu_read_lock(&memory->srcu);
	int ret = -ENXIO;

	slot = slot_at(srcu_dereference(memory->slots, &memory->srcu), gpa >> PAGE_SHIFT);
	if (slot && !(slot->flags & MEMORY_READONLY)) {
		unsigned long hva = slot_hva(slot, gpa);

		if (size == 8)
			ret = cmpxchg_user8((u64 __user *)hva, old, new);
		else
			ret = cmpxchg_user4((u32 __user *)hva, old, new);
		dirty_note(slot, gpa >> PAGE_SHIFT, 1);
	}
	srcu_read_unlock(&memory->srcu, idx);
	return ret > 0 ? -EAGAIN : ret;
}

int memory_peek(struct vcpu *vcpu, u64 gpa, void *buf, size_t len)
{
	u64 address = tdp_translate(vcpu->tdp, gpa);
	const void *from;

	if (address == TDP_UNMAPPED)
		return -EAGAIN;
	from = __va(address);
	/* Page-table entries change under us: they are read in one piece. */
	switch (len) {
	case 8:
		*(u64 *)buf = READ_ONCE(*(const u64 *)from);
		break;
	case 4:
		*(u32 *)buf = READ_ONCE(*(const u32 *)from);
		break;
	default:
		memcpy(buf, from, len);
		break;
	}
	return 0;
}
