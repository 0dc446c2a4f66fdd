// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: slots, faults, copies. memory.h says how slots, faults and invalidations keep
 * the second-level table true.
 */
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "hw.h"
#include "memory.h"
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

/* The slot that holds @gfn, or NULL */
static const struct memory_slot *slot_at(const struct memory_slots *slots, u64 gfn)
{
	u32 low = 0, high = slots ? slots->count : 0;

	while (low < high) {
		u32 middle = (low + high) / 2;
		const struct memory_slot *slot = &slots->slot[middle];

		if (gfn < slot->gfn)
			high = middle;
		else if (gfn - slot->gfn >= slot->pages)
			low = middle + 1;
		else
			return slot;
	}
	return NULL;
}

/* The one with the VMM's @number, or NULL */
static const struct memory_slot *slot_by_number(const struct memory_slots *slots, u32 number)
{
	u32 i;

	for (i = 0; slots && i < slots->count; i++)
		if (slots->slot[i].number == number)
			return &slots->slot[i];
	return NULL;
}

static unsigned long slot_hva(const struct memory_slot *slot, u64 gpa)
{
	return slot->hva + (gpa - (slot->gfn << PAGE_SHIFT));
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

/* A copy of the slot that holds @gfn; false: there is none */
static bool find_slot(struct memory *memory, u64 gfn, struct memory_slot *slot)
{
	const struct memory_slot *found;
	int idx = srcu_read_lock(&memory->srcu);

	found = slot_at(srcu_dereference(memory->slots, &memory->srcu), gfn);
	if (found)
		*slot = *found;
	srcu_read_unlock(&memory->srcu, idx);
	return found;
}

bool memory_is_mmio(struct vm *vm, u64 gpa, u32 access)
{
	struct memory_slot slot;

	if (!find_slot(&vm->memory, gpa >> PAGE_SHIFT, &slot))
		return true;
	return (access & ACCESS_WRITE) && (slot.flags & MEMORY_READONLY);
}

/*
 * A fault also maps the other pages of an aligned group of this many, as far as the host has them
 * already: memory that was filled by the VMM or is backed by huge pages costs a fraction of the
 * exits.
 */
#define FAULT_AROUND	16

/**
 * struct fault - one try of memory_fault()
 * @seq: invalidate_seq when it began
 * @slot: a copy
 * @gfn: guest frame
 * @hva: its page
 * @write: the guest writes
 * @before: pages got before that one
 * @count: pages got in all, with a reference each
 * @page: they
 * @map: what is to be mapped of them
 */
struct fault {
	unsigned long seq;
	struct memory_slot slot;
	u64 gfn;
	unsigned long hva;
	bool write;
	int before;
	int count;
	struct page *page[FAULT_AROUND];
	struct tdp_page map[FAULT_AROUND];
};

/*
 * Has the host no page at @hva? A hint without any lock: page tables are not freed while
 * interrupts are off, which is what fast GUP relies on too.
 */
static bool is_absent(unsigned long hva)
{
	bool absent = true;
	pgd_t pgd;
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;

	local_irq_disable();
	pgd = READ_ONCE(*pgd_offset(current->mm, hva));
	if (pgd_none(pgd))
		goto out;
	p4d = READ_ONCE(*p4d_offset(&pgd, hva));
	if (p4d_none(p4d))
		goto out;
	pud = READ_ONCE(*pud_offset(&p4d, hva));
	if (pud_none(pud))
		goto out;
	absent = false;
	if (!pud_present(pud) || pud_leaf(pud))
		goto out;
	pmd = READ_ONCE(*pmd_offset(&pud, hva));
	absent = pmd_none(pmd);
	if (pmd_present(pmd) && !pmd_leaf(pmd))
		absent = pte_none(READ_ONCE(*pte_offset_kernel(&pmd, hva)));
out:
	local_irq_enable();
	return absent;
}

/*
 * Have the host bring the page, as a fault of the VMM's own would: the usual way in which guest
 * memory comes to be. Where that fails, GUP fails too and says why. Return: 0; EAGAIN: begin
 * again, unless there is a signal (the only way in which one ends a long fault before 6.3).
 */
static int fault_in(const struct fault *fault)
{
	unsigned int flags = FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE |
			     FAULT_FLAG_INTERRUPTIBLE | (fault->write ? FAULT_FLAG_WRITE : 0);
	unsigned long need = fault->write ? VM_WRITE : VM_READ;
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	vm_fault_t result = 0;

	if (mmap_read_lock_killable(mm))
		return -EAGAIN;
	vma = vma_lookup(mm, fault->hva);
	if (vma && (vma->vm_flags & need) && !(vma->vm_flags & (VM_IO | VM_PFNMAP)))
		result = handle_mm_fault(vma, fault->hva, flags, NULL);
	/* These two mean that the lock was dropped. */
	if (!(result & (VM_FAULT_RETRY | VM_FAULT_COMPLETED)))
		mmap_read_unlock(mm);
	return result & VM_FAULT_RETRY ? -EAGAIN : 0;
}

static void put_pages(struct fault *fault)
{
	int i, refs = 1;

	for (i = 0; i < fault->count; i++, refs++) {
		struct folio *folio = page_folio(fault->page[i]);

		if (i + 1 < fault->count && page_folio(fault->page[i + 1]) == folio)
			continue;
		folio_put_refs(folio, refs);
		refs = 0;
	}
}

/*
 * Get @before pages before the one that faulted, and what follows in its group, as far as the host
 * maps them for reading, or with FOLL_WRITE for writing. False: not the one that faulted.
 */
static bool get_group(struct fault *fault, int before, unsigned int gup)
{
	u64 group = FAULT_AROUND - fault->gfn % FAULT_AROUND;
	u64 slot = fault->slot.gfn + fault->slot.pages - fault->gfn;
	int count = before + min(group, slot);

	fault->before = before;
	fault->count = get_user_pages_fast_only(fault->hva - before * PAGE_SIZE, count,
						gup | COMPAT_GUP_FAST, fault->page);
	if (fault->count > before)
		return true;
	if (fault->count > 0)
		put_pages(fault);
	return false;
}

/* Where the page has just come to be, those before it hardly are there. */
static bool get_pages_fast(struct fault *fault, bool around, unsigned int gup)
{
	int before = min(fault->gfn % FAULT_AROUND, fault->gfn - fault->slot.gfn);

	if (around && before && get_group(fault, before, gup))
		return true;
	return get_group(fault, 0, gup);
}

static int get_page_slow(struct fault *fault, unsigned int gup)
{
	int ret = get_user_pages_unlocked(fault->hva, 1, fault->page, gup | COMPAT_GUP_SLOW);

	if (ret < 0)
		return ret;
	fault->before = 0;
	fault->count = ret;
	return ret ? 0 : -EAGAIN;
}

/*
 * May a page that the guest has not written to be mapped writable, where the host maps it so
 * already? That saves a second fault, but makes the page dirty: no loss where it must be written
 * out anyway before it can go, that is where it is dirty, or anonymous without a copy in swap and
 * without MADV_FREE.
 */
static bool writable_for_free(struct page *page)
{
	struct folio *folio = page_folio(page);

	return folio_test_dirty(folio) || (folio_test_anon(folio) && folio_test_swapbacked(folio) &&
					   !folio_test_swapcache(folio));
}

/* What the guest's mappings may be, where the host's are known to be @writable or not */
static void choose_mappings(struct fault *fault, bool writable)
{
	int i;

	if (fault->slot.flags & MEMORY_READONLY)
		writable = false;
	for (i = 0; i < fault->count; i++) {
		struct tdp_page *map = &fault->map[i];

		map->pfn = page_to_pfn(fault->page[i]);
		map->flags = i == fault->before ? 0 : TDP_OLD;
		if (i == fault->before && fault->write)
			map->flags = TDP_WRITE | TDP_DIRTY;
		else if (writable && writable_for_free(fault->page[i]))
			map->flags |= TDP_WRITE;
	}
}

/*
 * Get the page, and those that follow. A read must not break a COW or allocate what is still the
 * zero page: a later write faults again. Return: 0, or as memory_fault(), or EAGAIN.
 */
static int get_pages(struct fault *fault)
{
	bool absent = is_absent(fault->hva);
	int try, ret;

	for (try = 0; try < 2; try++) {
		if (try || absent) {
			ret = fault_in(fault);
			if (ret)
				return ret;
		}
		if (get_pages_fast(fault, !absent, FOLL_WRITE)) {
			choose_mappings(fault, true);
			return 0;
		}
		if (!fault->write && get_pages_fast(fault, !absent, 0)) {
			choose_mappings(fault, false);
			return 0;
		}
	}
	ret = get_page_slow(fault, fault->write ? FOLL_WRITE : 0);
	if (!ret)
		choose_mappings(fault, false);
	return ret;
}

static bool overlap(const struct memory_range *range, unsigned long start, unsigned long end)
{
	return start < range->end && end > range->start;
}

/* Does an invalidation of these addresses run? memory.lock is held for reading. */
static bool invalidating(const struct memory *memory, unsigned long start, unsigned long end)
{
	return unlikely(memory->invalidate_running) &&
	       overlap(&memory->invalidating, start, end);
}

/* Has one ended since invalidate_seq was @seq? Likewise. */
static bool invalidated_since(const struct memory *memory, unsigned long seq,
			      unsigned long start, unsigned long end)
{
	if (memory->invalidate_seq - seq > MEMORY_HISTORY)
		return true;
	for (; seq != memory->invalidate_seq; seq++)
		if (overlap(&memory->invalidated[seq % MEMORY_HISTORY], start, end))
			return true;
	return false;
}

/*
 * Are @count pages from page[@first] on still what the host maps? memory.lock is held for reading.
 * Return: 0; EAGAIN: begin again; EBUSY: but not before the invalidation is over.
 */
static int check_pages(const struct memory *memory, const struct fault *fault, int first, int count)
{
	unsigned long start = fault->hva + (first - fault->before) * PAGE_SIZE;
	unsigned long end = start + count * PAGE_SIZE;

	if (invalidating(memory, start, end))
		return -EBUSY;
	return invalidated_since(memory, fault->seq, start, end) ? -EAGAIN : 0;
}

/*
 * The guest's writes do not make the host's entries dirty, and fast GUP does not either. Whoever
 * cleans a page zaps it first, and so finds this mark if he finds the mapping.
 */
static void mark_dirty(const struct fault *fault, int first, int count)
{
	int i;

	for (i = first; i < first + count; i++) {
		struct folio *folio = page_folio(fault->page[i]);

		if ((fault->map[i].flags & TDP_WRITE) && !folio_test_dirty(folio))
			folio_set_dirty(folio);
	}
}

/* Map the pages, or the one that faulted alone. Return: as check_pages() and tdp_map(). */
static int install(struct memory *memory, const struct fault *fault, struct tdp_cache *cache)
{
	int first = 0, count = fault->count;
	int ret;

	read_lock(&memory->lock);
	ret = check_pages(memory, fault, first, count);
	if (ret && count > 1) {
		first = fault->before;
		count = 1;
		ret = check_pages(memory, fault, first, count);
	}
	if (!ret)
		ret = tdp_map(memory->tdp, fault->gfn - fault->before + first, 1,
			      fault->map + first, count, fault->before - first, cache);
	if (ret >= 0)
		mark_dirty(fault, first, count);
	read_unlock(&memory->lock);
	return ret;
}

static bool none_invalidating(struct memory *memory, const struct fault *fault)
{
	bool none;

	read_lock(&memory->lock);
	none = check_pages(memory, fault, fault->before, 1) != -EBUSY;
	read_unlock(&memory->lock);
	return none;
}

/* One try of memory_fault(); EAGAIN: another */
static int try_fault(struct vm *vm, u64 gpa, u32 access, struct tdp_cache *cache)
{
	struct memory *memory = &vm->memory;
	/* Large: what of it is used is written first. */
	struct fault fault __uninitialized;
	int ret;

	/* Pairs with memory_changed(): read before slots and pages. */
	fault.seq = smp_load_acquire(&memory->invalidate_seq);
	fault.gfn = gpa >> PAGE_SHIFT;
	fault.write = access & ACCESS_WRITE;
	if (!find_slot(memory, fault.gfn, &fault.slot) ||
	    (fault.write && (fault.slot.flags & MEMORY_READONLY)))
		return MEMORY_MMIO;
	fault.hva = slot_hva(&fault.slot, gpa) & PAGE_MASK;
	ret = get_pages(&fault);
	if (ret)
		return ret;

	ret = install(memory, &fault, cache);
	if (ret == -ENOBUFS) {
		ret = tdp_cache_fill(cache);
		if (!ret)
			ret = install(memory, &fault, cache);
	}
	put_pages(&fault);

	if (ret == 1) {
		memory_flush(vm);
		ret = MEMORY_MAPPED;
	} else if (ret == -EBUSY) {
		ret = wait_event_interruptible(memory->invalidate_wait,
					       none_invalidating(memory, &fault));
		ret = ret ? -EINTR : -EAGAIN;
	}
	return ret;
}

int memory_fault(struct vcpu *vcpu, u64 gpa, u32 access)
{
	struct tdp_cache cache = { .count = 0 };
	int ret;

	do {
		ret = try_fault(vcpu->vm, gpa, access, &cache);
		if (ret == -EAGAIN && signal_pending(current))
			ret = -EINTR;
	} while (ret == -EAGAIN);
	tdp_cache_drain(&cache);
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
