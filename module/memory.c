// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: slots and copies. memory.h says how slots, faults and invalidations keep the
 * second-level table true.
 */
#include <linux/mm.h>
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
	memory->tdp = tdp_create(vm);
	if (!memory->tdp)
		goto free_cpus;
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

	/* What is mapped goes with its tables: the notifier's last call has nothing to zap. */
	write_lock(&memory->lock);
	slots = rcu_replace_pointer(memory->slots, NULL, true);
	write_unlock(&memory->lock);

	memory_unwatch(vm);
	tdp_destroy(memory->tdp);
	free_cpumask_var(memory->flush_cpus);
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

/* Make @changed the slots; @old is the one that is no longer there as it was, or NULL */
static void publish_slots(struct vm *vm, struct memory_slots *changed,
			  const struct memory_slot *old)
{
	struct memory *memory = &vm->memory;
	LIST_HEAD(zapped);

	write_lock(&memory->lock);
	rcu_assign_pointer(memory->slots, changed);
	if (old)
		tdp_zap(memory->tdp, old->gfn, old->gfn + old->pages, &zapped);
	memory_changed(memory, 0, ULONG_MAX);
	write_unlock(&memory->lock);

	memory_flush(vm);
	tdp_free_zapped(memory->tdp, &zapped, true);
}

int memory_set_slot(struct vm *vm, u32 slot, u64 gpa, u64 bytes, u64 hva, u32 flags)
{
	struct memory *memory = &vm->memory;
	struct memory_slots *slots, *changed;
	const struct memory_slot *old;
	struct memory_slot new = {
		.gfn = gpa >> PAGE_SHIFT,
		.pages = bytes >> PAGE_SHIFT,
		.hva = hva,
		.number = slot,
		.flags = flags,
	};
	int ret;

	if (slot >= MEMORY_MAX_SLOTS || (flags & ~MEMORY_READONLY) ||
	    !PAGE_ALIGNED(gpa | bytes | hva))
		return -EINVAL;

	slots = rcu_dereference_protected(memory->slots, lockdep_is_held(&vm->lock));
	old = slot_by_number(slots, slot);
	if (bytes) {
		ret = check_slot(slots, &new);
		if (ret)
			return ret;
		if (old && !memcmp(old, &new, sizeof(new)))
			return 0;
	} else if (!old) {
		return -ENOENT;
	}
	changed = change_slots(slots, old, bytes ? &new : NULL);
	if (!changed)
		return -ENOMEM;

	publish_slots(vm, changed, old);
	if (slots) {
		synchronize_srcu_expedited(&memory->srcu);
		kfree(slots);
	}
	return 0;
}

bool memory_is_mmio(struct vm *vm, u64 gpa, u32 access)
{
	struct memory_slot slot;

	if (!find_slot(&vm->memory, gpa >> PAGE_SHIFT, &slot))
		return true;
	return (access & ACCESS_WRITE) && (slot.flags & MEMORY_READONLY);
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
