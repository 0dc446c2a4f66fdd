// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: slots and copies. memory.h says how slots, faults and invalidations keep the
 * second-level table true.
 */
#include <linux/bitops.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
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
	enum memory_key key;
	int ret;

	for (key = 0; key < MEMORY_KEYS; key++)
		memory->slots[key] = RB_ROOT_CACHED;
	rwlock_init(&memory->lock);
	spin_lock_init(&memory->flush_lock);
	init_waitqueue_head(&memory->invalidate_wait);

	if (!zalloc_cpumask_var(&memory->flush_cpus, GFP_KERNEL_ACCOUNT))
		return -ENOMEM;
	ret = -ENOMEM;
	INIT_LIST_HEAD(&memory->views);
	memory->tdp = tdp_create(&memory->count);
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
	return ret;
}

/* The last holder frees it and its log, or lets go of the entry that has the log now. */
static void drop_entry(struct slot_entry *entry)
{
	while (entry && refcount_dec_and_test(&entry->holders)) {
		struct slot_entry *heir = entry->heir;

		if (!heir)
			kvfree(entry->slot.log);
		kfree(entry);
		entry = heir;
	}
}

static void put_entry(struct slot_entry *entry)
{
	if (refcount_dec_and_test(&entry->users)) {
		complete(&entry->unused);
		drop_entry(entry);
	}
}

/*
 * It is in no tree any more. Whoever uses it may wait for a page that this thread, or one that
 * waits for vm->lock, is to bring: a thread that is killed does not stay for that.
 */
static void retire_entry(struct slot_entry *entry)
{
	put_entry(entry);
	wait_for_completion_killable(&entry->unused);
	drop_entry(entry);
}

/**
 * memory_destroy - the opposite
 * @vm: the VM; its vCPUs run no more, but are still there for a notification that is under way
 */
void memory_destroy(struct vm *vm)
{
	struct memory *memory = &vm->memory;
	struct interval_tree_node *node;
	struct rb_root_cached slots;
	struct tdp *tdp, *next;
	enum memory_key key;

	/* What is mapped goes with its tables: the notifier's last call has nothing to zap. */
	write_lock(&memory->lock);
	slots = memory->slots[MEMORY_GFN];
	for (key = 0; key < MEMORY_KEYS; key++)
		memory->slots[key] = RB_ROOT_CACHED;
	write_unlock(&memory->lock);

	memory_unwatch(vm);
	list_for_each_entry_safe(tdp, next, &memory->views, link)
		tdp_destroy(tdp);
	free_cpumask_var(memory->flush_cpus);
	while ((node = interval_tree_iter_first(&slots, 0, ULONG_MAX))) {
		interval_tree_remove(node, &slots);
		retire_entry(slot_entry(node, MEMORY_GFN));
	}
}

static int check_slot(struct memory *memory, const struct memory_slot *new)
{
	u64 limit = min_t(u64, hw_caps.gpa_bits, PAGE_SHIFT + TDP_BITS * hw_caps.tdp->levels);
	u64 end = new->gfn + new->pages;
	struct slot_entry *entry;

	if (end < new->gfn || end > 1ull << (limit - PAGE_SHIFT))
		return -ERANGE;
	if (!access_ok((void __user *)new->hva, new->pages << PAGE_SHIFT))
		return -EFAULT;
	for_each_slot(entry, memory, MEMORY_GFN, new->gfn, end - 1)
		if (entry->slot.number != new->number)
			return -EEXIST;
	return 0;
}

static void set_key(struct slot_entry *entry, enum memory_key key, unsigned long first,
		    unsigned long last)
{
	entry->key[key].start = first;
	entry->key[key].last = last;
}

static struct slot_entry *create_entry(const struct memory_slot *slot)
{
	struct slot_entry *entry = kzalloc(sizeof(*entry), GFP_KERNEL_ACCOUNT);

	if (!entry)
		return NULL;
	entry->slot = *slot;
	set_key(entry, MEMORY_GFN, slot->gfn, slot->gfn + slot->pages - 1);
	set_key(entry, MEMORY_HVA, slot->hva, slot->hva + (slot->pages << PAGE_SHIFT) - 1);
	set_key(entry, MEMORY_NUMBER, slot->number, slot->number);
	refcount_set(&entry->users, 1);
	init_completion(&entry->unused);
	refcount_set(&entry->holders, 2);
	return entry;
}

/* Put @new in the place of @old; each may be NULL. memory.lock is held for writing. */
static void exchange_locked(struct memory *memory, struct slot_entry *old, struct slot_entry *new)
{
	enum memory_key key;

	for (key = 0; key < MEMORY_KEYS; key++) {
		if (old)
			interval_tree_remove(&old->key[key], &memory->slots[key]);
		if (new)
			interval_tree_insert(&new->key[key], &memory->slots[key]);
	}
	memory_changed(memory, 0, ULONG_MAX);
}

/* exchange_locked(), and what @old mapped goes */
static void exchange_slots(struct vm *vm, struct slot_entry *old, struct slot_entry *new)
{
	struct memory *memory = &vm->memory;
	/* What the CPUs have logged carries guest addresses: it is read while @old is there. */
	bool drain = hw_caps.pml && old && old->slot.log;
	unsigned long start = drain ? old->slot.hva : 0;
	unsigned long end = drain ? start + (old->slot.pages << PAGE_SHIFT) : 0;
	LIST_HEAD(zapped);

	if (drain)
		memory_begin_change(vm, start, end, true);
	write_lock(&memory->lock);
	if (old)
		memory_zap(memory, old->slot.gfn, old->slot.gfn + old->slot.pages, &zapped);
	exchange_locked(memory, old, new);
	write_unlock(&memory->lock);

	memory_flush(vm);
	tdp_free_zapped(&memory->count, &zapped, true);
	if (drain)
		memory_end_change(vm, start, end);
}

/* The same for one that is as it was, but that it has a log now or has none any more */
static void exchange_logs(struct vm *vm, struct slot_entry *old, struct slot_entry *new)
{
	const struct memory_slot *slot = &new->slot;
	struct memory *memory = &vm->memory;
	struct tdp *tdp;

	write_lock(&memory->lock);
	exchange_locked(memory, old, new);
	memory_for_each_view(memory, tdp)
		tdp_protect(tdp, slot->gfn, slot->gfn + slot->pages, slot->log);
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
static void want_log(struct vm *vm, const struct slot_entry *old, const struct slot_entry *new)
{
	struct memory *memory = &vm->memory;
	bool wanted;

	memory->logs += new && new->slot.log;
	memory->logs -= old && old->slot.log;
	wanted = memory->logs;
	if (wanted)
		WRITE_ONCE(memory->logged, true);
	if (memory->log_wanted == wanted)
		return;
	WRITE_ONCE(memory->log_wanted, wanted);
	if (!hw_caps.pml)
		return;
	/* A vCPU looks when it has found flush_gen changed, in this order. */
	smp_wmb();
	read_lock(&memory->lock);
	memory_stale(memory);
	read_unlock(&memory->lock);
	if (wanted)
		memory_leave_guests(vm);
}

static void replace_slot(struct vm *vm, struct slot_entry *old, struct slot_entry *new)
{
	bool same = old && new && same_memory(&old->slot, &new->slot) &&
		    old->slot.gfn == new->slot.gfn &&
		    !((old->slot.flags ^ new->slot.flags) & ~MEMORY_LOG_DIRTY);

	if (old && new && old->slot.log && old->slot.log == new->slot.log) {
		refcount_inc(&new->holders);
		old->heir = new;
	}
	want_log(vm, old, new);
	if (same)
		exchange_logs(vm, old, new);
	else
		exchange_slots(vm, old, new);
	if (old)
		retire_entry(old);
}

int memory_set_slot(struct vm *vm, u32 slot, u64 gpa, u64 bytes, u64 hva, u32 flags)
{
	struct slot_entry *old, *entry;
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

	old = slot_by(&vm->memory, MEMORY_NUMBER, slot);
	if (!bytes) {
		if (!old)
			return -ENOENT;
		replace_slot(vm, old, NULL);
		return 0;
	}
	ret = check_slot(&vm->memory, &new);
	if (!ret)
		ret = choose_log(old ? &old->slot : NULL, &new);
	if (ret)
		return ret;
	if (old && !memcmp(&old->slot, &new, sizeof(new)))
		return 0;
	entry = create_entry(&new);
	if (!entry) {
		if (!old || old->slot.log != new.log)
			kvfree(new.log);
		return -ENOMEM;
	}
	replace_slot(vm, old, entry);
	return 0;
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
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
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

	/* Entries of a guest's tables are read in one piece: others change them. */
	if (copy == COPY_READ && len == 8 && IS_ALIGNED(hva, 8))
		return get_user(*(u64 *)buf, (u64 __user *)user);
	if (copy == COPY_READ && len == 4 && IS_ALIGNED(hva, 4))
		return get_user(*(u32 *)buf, (u32 __user *)user);
	left = copy == COPY_WRITE ? copy_to_user(user, buf, len) : copy_from_user(buf, user, len);
	return left ? -EFAULT : 0;
}

/* The slot that holds @gfn, which stays as it is until put_entry(); NULL: there is none */
static struct slot_entry *get_entry(struct memory *memory, u64 gfn)
{
	struct slot_entry *entry;

	read_lock(&memory->lock);
	entry = slot_by(memory, MEMORY_GFN, gfn);
	if (entry)
		refcount_inc(&entry->users);
	read_unlock(&memory->lock);
	return entry;
}

/* As much of it as lies in one slot. Return: how much, ENXIO or EFAULT */
static ssize_t copy_part(struct memory *memory, u64 gpa, void *buf, size_t len, enum copy copy)
{
	struct slot_entry *entry = get_entry(memory, gpa >> PAGE_SHIFT);
	const struct memory_slot *slot;
	ssize_t ret = -ENXIO;

	if (!entry)
		return ret;
	slot = &entry->slot;
	if (copy == COPY_READ || !(slot->flags & MEMORY_READONLY)) {
		len = min_t(u64, len, ((slot->gfn + slot->pages) << PAGE_SHIFT) - gpa);
		ret = copy_at(slot_hva(slot, gpa), buf, len, copy) ?: len;
		/* Some of it may have been written even if it failed. */
		if (copy == COPY_WRITE)
			dirty_note(slot, gpa >> PAGE_SHIFT,
				   ((gpa + len - 1) >> PAGE_SHIFT) - (gpa >> PAGE_SHIFT) + 1);
	}
	put_entry(entry);
	return ret;
}

static int copy_guest(struct vm *vm, u64 gpa, void *buf, size_t len, enum copy copy)
{
	while (len) {
		ssize_t part = copy_part(&vm->memory, gpa, buf, len, copy);

		if (part < 0)
			return part;
		gpa += part;
		buf += part;
		len -= part;
	}
	return 0;
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
	struct slot_entry *entry = get_entry(&vm->memory, gpa >> PAGE_SHIFT);
	int ret = -ENXIO;

	if (!entry)
		return ret;
	if (!(entry->slot.flags & MEMORY_READONLY)) {
		unsigned long hva = slot_hva(&entry->slot, gpa);

		if (size == 8)
			ret = cmpxchg_user8((u64 __user *)hva, old, new);
		else
			ret = cmpxchg_user4((u32 __user *)hva, old, new);
		dirty_note(&entry->slot, gpa >> PAGE_SHIFT, 1);
	}
	put_entry(entry);
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
