// SPDX-License-Identifier: GPL-2.0-only
/*
 * Second-level faults: from a guest-physical address to a page of the VMM's, and its mapping.
 * memory.h says how faults and invalidations keep the second-level table true.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/page-flags.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "hw.h"
#include "memory.h"
#include "slots.h"
#include "tdp.h"
#include "vcpu.h"
#include "vm.h"

static bool huge_pages = true;
module_param(huge_pages, bool, 0444);
MODULE_PARM_DESC(huge_pages, "map huge pages of the host as such (default on)");

/*
 * A fault also maps the other pages of an aligned group of this many, as far as the host has them
 * already: memory that was filled by the VMM or is backed by huge pages costs a fraction of the
 * exits.
 */
#define FAULT_AROUND	16

/**
 * struct fault - what is to be mapped, and one try of it
 * @gfn: guest frame
 * @write: the guest writes
 * @exec: the guest runs code
 * @early: it does nothing there yet
 * @vcpu: whose guest it is; NULL: @early
 * @tdp: the view in which
 *
 * @seq: invalidate_seq when the try began
 * @slot: a copy
 * @hva: the frame's page
 * @level: of the mapping that it is to become
 * @before: pages got before that one
 * @count: pages got in all
 * @borrowed: the one is, see borrow_page(); else each has a reference
 * @page: they
 * @map: what is to be mapped of them
 * @huge: or the huge page that the one is part of
 * @format: of entries, where the view denies something
 * @end: guest frame behind what was mapped
 */
struct fault {
	u64 gfn;
	bool write;
	bool exec;
	bool early;
	struct vcpu *vcpu;
	struct tdp *tdp;

	unsigned long seq;
	struct memory_slot slot;
	unsigned long hva;
	int level;
	int before;
	int count;
	bool borrowed;
	struct page *page[FAULT_AROUND];
	struct tdp_page map[FAULT_AROUND];
	struct tdp_page huge;
	struct tdp_format format;
	u64 end;
};

/**
 * struct host_entry - what the host's page tables have at an address
 * @level: of the page that is mapped there or was; 0: none
 * @flags: _PAGE_*, if it is one of 4 KiB or 2 MiB and there; else 0
 * @pfn: then the frame
 */
struct host_entry {
	int level;
	unsigned long flags;
	u64 pfn;
};

/* Interrupts are off: page tables are not freed then, which is what fast GUP relies on too. */
static void walk_host(unsigned long hva, struct host_entry *host)
{
	pgd_t pgd;
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;
	pte_t pte;

	host->level = 0;
	host->flags = 0;
	pgd = READ_ONCE(*pgd_offset(current->mm, hva));
	if (pgd_none(pgd))
		return;
	p4d = READ_ONCE(*p4d_offset(&pgd, hva));
	if (p4d_none(p4d))
		return;
	pud = READ_ONCE(*pud_offset(&p4d, hva));
	if (pud_none(pud))
		return;
	host->level = 1;
	if (!pud_present(pud))
		return;
	if (pud_leaf(pud)) {
		host->level = 3;
		return;
	}
	pmd = READ_ONCE(*pmd_offset(&pud, hva));
	if (pmd_none(pmd)) {
		host->level = 0;
	} else if (pmd_present(pmd) && pmd_leaf(pmd)) {
		host->level = 2;
		host->flags = pmd_flags(pmd);
		host->pfn = pmd_pfn(pmd) + pte_index(hva);
	} else if (pmd_present(pmd)) {
		pte = READ_ONCE(*pte_offset_kernel(&pmd, hva));
		host->level = !pte_none(pte);
		if (pte_present(pte)) {
			host->flags = pte_flags(pte);
			host->pfn = pte_pfn(pte);
		}
	}
}

/* It holds as long as no invalidation tells otherwise, and for 0 is but a hint. */
static int host_level(unsigned long hva)
{
	struct host_entry host;

	local_irq_disable();
	walk_host(hva, &host);
	local_irq_enable();
	return host.level;
}

/* The largest mapping that host, alignment and slot allow, where the host's is of @level */
static int guest_level(const struct fault *fault, int level)
{
	const struct memory_slot *slot = &fault->slot;

	level = min(level, hw_caps.tdp->max_level);
	if (!huge_pages || slot->log || (fault->exec && !hw_caps.tdp->huge_exec))
		return 1;
	for (; level > 1; level--) {
		u64 pages = tdp_level_pages(level);
		u64 first = round_down(fault->gfn, pages);

		if (!((fault->gfn ^ fault->hva >> PAGE_SHIFT) & (pages - 1)) &&
		    first >= slot->gfn && first + pages <= slot->gfn + slot->pages)
			break;
	}
	return max(level, 1);
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
 * Get @before pages before the one that faulted, and what follows in its group, up to @most, as far
 * as the host maps them for reading, or with FOLL_WRITE for writing. False: not the one that
 * faulted.
 */
static bool get_group(struct fault *fault, int before, int most, unsigned int gup)
{
	u64 group = FAULT_AROUND - fault->gfn % FAULT_AROUND;
	u64 slot = fault->slot.gfn + fault->slot.pages - fault->gfn;
	int count = min_t(u64, before + min(group, slot), most);

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

	if (fault->level > 1)
		return get_group(fault, 0, 1, gup);
	if (around && before && get_group(fault, before, FAULT_AROUND, gup))
		return true;
	return get_group(fault, 0, FAULT_AROUND, gup);
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

/* What a mapping of the guest's may be, where the host's is known to be @writable or not */
static void choose_mapping(struct fault *fault, int i, bool writable)
{
	struct tdp_page *map = &fault->map[i];

	map->pfn = page_to_pfn(fault->page[i]);
	map->flags = i == fault->before && !fault->early ? 0 : TDP_OLD;
	if (i == fault->before && fault->write)
		map->flags |= fault->early ? TDP_WRITE : TDP_WRITE | TDP_DIRTY;
	else if (writable && !(fault->slot.flags & MEMORY_READONLY) &&
		 writable_for_free(fault->page[i]))
		map->flags |= TDP_WRITE;
}

static void choose_mappings(struct fault *fault, bool writable)
{
	int i;

	fault->borrowed = false;
	for (i = 0; i < fault->count; i++)
		choose_mapping(fault, i, writable);
}

/*
 * May the page be taken as the host's entry has it, without a reference and at a fraction of GUP's
 * price? It is looked at with interrupts off, as fast GUP does before it has its reference, then
 * no more until check_mapping() has said that the host maps it still. Anonymous memory alone: that
 * is RAM which the kernel maps too. A key of memory protection is for GUP to judge, since in the
 * window PKRU is the guest's.
 */
static bool may_borrow(const struct fault *fault, const struct host_entry *host)
{
	unsigned long need = _PAGE_PRESENT | _PAGE_USER | (fault->write ? _PAGE_RW : 0);

	return (host->flags & (need | _PAGE_SPECIAL)) == need && !pte_flags_pkey(host->flags) &&
	       PageAnon(pfn_to_page(host->pfn));
}

static void borrow(struct fault *fault, const struct host_entry *host)
{
	fault->borrowed = true;
	fault->before = 0;
	fault->count = 1;
	fault->page[0] = pfn_to_page(host->pfn);
	choose_mapping(fault, 0, host->flags & _PAGE_RW);
}

/* A page that has just come to be */
static bool borrow_page(struct fault *fault)
{
	struct host_entry host;

	local_irq_disable();
	walk_host(fault->hva, &host);
	fault->borrowed = host.level == 1 && may_borrow(fault, &host);
	if (fault->borrowed) {
		fault->level = 1;
		borrow(fault, &host);
	}
	local_irq_enable();
	return fault->borrowed;
}

/*
 * Get the page, and those that follow. A read must not break a COW or allocate what is still the
 * zero page: a later write faults again. Return: 0, or as memory_fault(), or EAGAIN.
 */
static int get_pages(struct fault *fault)
{
	int level = host_level(fault->hva);
	bool absent = !level;
	int try, ret;

	fault->level = guest_level(fault, level);
	for (try = 0; try < 2; try++) {
		if (try || absent) {
			ret = fault_in(fault);
			if (ret)
				return ret;
			if (borrow_page(fault))
				return 0;
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

/* The host may have had nothing there before, or something else: look again what it has now. */
static void choose_level(struct fault *fault)
{
	if (fault->borrowed || (fault->level == 1 &&
				!folio_test_large(page_folio(fault->page[fault->before]))))
		return;
	fault->level = guest_level(fault, host_level(fault->hva));
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
 * Is what was got for this mapping still what the host maps? memory.lock is held for reading.
 * Return: 0; EAGAIN: begin again; EBUSY: but not before the invalidation is over.
 */
static int check_mapping(const struct memory *memory, const struct fault *fault,
			 const struct tdp_mapping *mapping)
{
	unsigned long start = fault->hva - ((fault->gfn - mapping->gfn) << PAGE_SHIFT);
	u64 pages = mapping->count * tdp_level_pages(mapping->level);
	unsigned long end = start + (pages << PAGE_SHIFT);

	if (invalidating(memory, start, end))
		return -EBUSY;
	return invalidated_since(memory, fault->seq, start, end) ? -EAGAIN : 0;
}

/*
 * The guest's writes do not make the host's entries dirty, and fast GUP does not either. Whoever
 * cleans a page zaps it first, and so finds this mark if he finds the mapping.
 */
static void mark_dirty(const struct fault *fault, const struct tdp_mapping *mapping)
{
	int first = mapping->level > 1 ? fault->before : mapping->pages - fault->map;
	int i;

	for (i = first; i < first + mapping->count; i++) {
		struct folio *folio = page_folio(fault->page[i]);

		if ((fault->map[i].flags & TDP_WRITE) && !folio_test_dirty(folio))
			folio_set_dirty(folio);
	}
}

/* The page that faulted alone */
static struct tdp_mapping one_page(const struct fault *fault)
{
	return (struct tdp_mapping){
		.gfn = fault->gfn,
		.level = 1,
		.pages = fault->map + fault->before,
		.count = 1,
		.exec = fault->exec,
		.logged = fault->slot.log,
		.format = hw_caps.tdp,
	};
}

/* All that was got, or the huge page around the one that faulted */
static struct tdp_mapping whole_mapping(struct fault *fault)
{
	struct tdp_mapping mapping = one_page(fault);
	u64 inside = fault->gfn & (tdp_level_pages(fault->level) - 1);

	if (fault->level > 1) {
		fault->huge = *mapping.pages;
		fault->huge.pfn -= inside;
		mapping.gfn -= inside;
		mapping.level = fault->level;
		mapping.pages = &fault->huge;
	} else {
		mapping.gfn -= fault->before;
		mapping.pages -= fault->before;
		mapping.count = fault->count;
		mapping.wanted = fault->before;
	}
	return mapping;
}

/* What the view grants for all pages of the mapping, or ACCESS_MIXED. memory.lock is held. */
static int granted(const struct fault *fault, const struct tdp_mapping *mapping)
{
	return access_map_get(&fault->tdp->access, mapping->gfn,
			      mapping->count * tdp_level_pages(mapping->level));
}

static bool denies(const struct fault *fault, int access)
{
	u32 needed = fault->write ? ACCESS_WRITE : fault->exec ? ACCESS_EXEC : ACCESS_READ;

	return !(access & needed);
}

/*
 * Take from the mapping what the view denies. Return: 0; EEXIST: it grants not the same for all of
 * its pages; MEMORY_DENIED: not what is needed.
 */
static noinline int restrict_mapping(struct fault *fault, struct tdp_mapping *mapping)
{
	int access = granted(fault, mapping);
	int i;

	if (access == ACCESS_MIXED)
		return -EEXIST;
	if (denies(fault, access))
		return MEMORY_DENIED;
	fault->format = *mapping->format;
	mapping->format = &fault->format;
	if (!(access & ACCESS_READ))
		fault->format.read = 0;
	if (!(access & ACCESS_EXEC)) {
		fault->format.exec = 0;
		fault->format.ram |= fault->format.no_exec;
	}
	if (!(access & ACCESS_WRITE)) {
		fault->huge.flags &= ~TDP_WRITE;
		for (i = 0; i < fault->count; i++)
			fault->map[i].flags &= ~TDP_WRITE;
	}
	return 0;
}

/* Before the host is asked for the page: does the view deny the access? */
static noinline bool view_denies(struct memory *memory, const struct fault *fault)
{
	bool denied;

	read_lock(&memory->lock);
	denied = denies(fault, access_map_get(&fault->tdp->access, fault->gfn, 1));
	read_unlock(&memory->lock);
	return denied;
}

/*
 * Map it, if it is still right. memory.lock is held, for writing with @zapped. Return: as
 * check_mapping(), restrict_mapping() and tdp_map().
 */
static int install_locked(struct memory *memory, struct fault *fault,
			  struct tdp_mapping *mapping, struct tdp_cache *cache,
			  struct list_head *zapped)
{
	int ret = check_mapping(memory, fault, mapping);

	if (!ret && unlikely(fault->tdp->restricted))
		ret = restrict_mapping(fault, mapping);
	if (!ret)
		ret = tdp_map(fault->tdp, mapping, cache, zapped);
	if (ret < 0 || ret == MEMORY_DENIED)
		return ret;
	mark_dirty(fault, mapping);
	fault->end = mapping->gfn + mapping->count * tdp_level_pages(mapping->level);
	/* The slot is the one that was found: the check has said so. */
	if (fault->write && !fault->early)
		dirty_note_vcpu(fault->vcpu, &fault->slot, fault->gfn);
	return ret;
}

/* Put a huge page where its pieces were mapped. Return: as install_locked(). */
static noinline int install_huge(struct memory *memory, struct fault *fault,
				 struct tdp_mapping *mapping, struct tdp_cache *cache,
				 struct list_head *zapped)
{
	int ret;

	write_lock(&memory->lock);
	ret = install_locked(memory, fault, mapping, cache, zapped);
	write_unlock(&memory->lock);
	/* Small pages must do there since it was looked at. */
	return ret == -EEXIST ? -EAGAIN : ret;
}

/* Map the pages, or the one that faulted alone. Return: as install_locked(). */
static int install(struct memory *memory, struct fault *fault, struct tdp_cache *cache,
		   struct list_head *zapped)
{
	struct tdp_mapping mapping = whole_mapping(fault);
	bool more = mapping.count > 1;
	int ret;

	read_lock(&memory->lock);
	ret = install_locked(memory, fault, &mapping, cache, NULL);
	if (ret == -EBUSY || ret == -EEXIST || (more && ret == -EAGAIN)) {
		mapping = one_page(fault);
		ret = install_locked(memory, fault, &mapping, cache, NULL);
	}
	read_unlock(&memory->lock);
	return ret == -EMLINK ? install_huge(memory, fault, &mapping, cache, zapped) : ret;
}

static bool none_invalidating(struct memory *memory, const struct fault *fault)
{
	struct tdp_mapping mapping = one_page(fault);
	bool none;

	read_lock(&memory->lock);
	none = check_mapping(memory, fault, &mapping) != -EBUSY;
	read_unlock(&memory->lock);
	return none;
}

/* One try; EAGAIN: another */
static int try_fault(struct vm *vm, struct fault *fault, struct tdp_cache *cache)
{
	struct memory *memory = &vm->memory;
	LIST_HEAD(zapped);
	int ret;

	/* Pairs with memory_changed(): read before slots and pages. */
	fault->seq = smp_load_acquire(&memory->invalidate_seq);
	if (!find_slot(memory, fault->gfn, &fault->slot))
		return MEMORY_MMIO;
	if (fault->slot.flags & MEMORY_READONLY) {
		if (fault->write && !fault->early)
			return MEMORY_MMIO;
		fault->write = false;
	}
	if (unlikely(READ_ONCE(fault->tdp->restricted)) && view_denies(memory, fault))
		return MEMORY_DENIED;
	fault->hva = slot_hva(&fault->slot, fault->gfn << PAGE_SHIFT);
	ret = get_pages(fault);
	if (ret)
		return ret;
	choose_level(fault);

	ret = install(memory, fault, cache, &zapped);
	if (ret == -ENOBUFS) {
		ret = tdp_cache_fill(cache);
		if (!ret)
			ret = install(memory, fault, cache, &zapped);
	}
	if (!fault->borrowed)
		put_pages(fault);

	if (ret == 1) {
		memory_flush(vm);
		tdp_free_zapped(&memory->count, &zapped, true);
		ret = MEMORY_MAPPED;
	} else if (ret == -EBUSY) {
		ret = wait_event_interruptible(memory->invalidate_wait,
					       none_invalidating(memory, fault));
		ret = ret ? -EINTR : -EAGAIN;
	}
	return ret;
}

static int map_fault(struct vm *vm, struct fault *fault, struct tdp_cache *cache)
{
	int ret;

	do {
		ret = try_fault(vm, fault, cache);
		if (ret == -EAGAIN && signal_pending(current))
			ret = -EINTR;
	} while (ret == -EAGAIN);
	return ret;
}

static void begin_fault(struct fault *fault, struct vcpu *vcpu, u64 gpa, u32 access)
{
	fault->gfn = gpa >> PAGE_SHIFT;
	fault->write = access & ACCESS_WRITE;
	fault->exec = access & ACCESS_EXEC;
	fault->early = false;
	fault->vcpu = vcpu;
	fault->tdp = vcpu->tdp;
}

/*
 * Map the host's huge page, if no more is needed than an entry; memory.lock is held for reading,
 * from before the host's entry was looked at.
 */
static noinline int map_huge(struct vcpu *vcpu, const struct memory_slot *slot, u64 gpa,
			     u32 access, const struct host_entry *host)
{
	struct memory *memory = &vcpu->vm->memory;
	struct tdp_cache none = { .count = 0 };
	struct fault fault __uninitialized;
	struct tdp_mapping mapping;

	begin_fault(&fault, vcpu, gpa, access);
	fault.seq = memory->invalidate_seq;
	fault.slot = *slot;
	fault.hva = slot_hva(slot, fault.gfn << PAGE_SHIFT);
	fault.level = guest_level(&fault, host->level);
	if (fault.level != 2 || !may_borrow(&fault, host))
		return -EAGAIN;
	borrow(&fault, host);
	mapping = whole_mapping(&fault);
	mapping.fresh = true;
	return install_locked(memory, &fault, &mapping, &none, NULL) ? -EAGAIN : MEMORY_MAPPED;
}

int memory_fault_quick(struct vcpu *vcpu, u64 gpa, u32 access)
{
	struct memory *memory = &vcpu->vm->memory;
	const struct memory_slot *slot;
	struct host_entry host;
	int ret = MEMORY_MMIO;

	if (!read_trylock(&memory->lock))
		return -EAGAIN;
	slot = slot_at(memory, gpa >> PAGE_SHIFT);
	if (slot && !((access & ACCESS_WRITE) && (slot->flags & MEMORY_READONLY))) {
		ret = MEMORY_MAPPED;
		if (!(access & ACCESS_WRITE) || !dirty_write(vcpu, slot, gpa >> PAGE_SHIFT)) {
			walk_host(slot_hva(slot, gpa), &host);
			ret = host.level == 2 ? map_huge(vcpu, slot, gpa, access, &host) : -EAGAIN;
		}
	}
	read_unlock(&memory->lock);
	return ret;
}

int memory_fault(struct vcpu *vcpu, u64 gpa, u32 access)
{
	struct tdp_cache cache = { .count = 0 };
	/* Large: what of it is used is written first. */
	struct fault fault __uninitialized;
	int ret;

	begin_fault(&fault, vcpu, gpa, access);
	ret = map_fault(vcpu->vm, &fault, &cache);
	tdp_cache_drain(&cache);
	return ret;
}

int memory_prefault(struct vm *vm, u64 gpa, u64 bytes, bool write, u64 *done)
{
	struct tdp_cache cache = { .count = 0 };
	u64 end = (gpa + bytes) >> PAGE_SHIFT;
	struct fault fault = { .gfn = gpa >> PAGE_SHIFT, .tdp = vm->memory.tdp };
	int ret = 0;

	*done = 0;
	if (!bytes || !PAGE_ALIGNED(gpa | bytes))
		return -EINVAL;
	if (gpa + bytes < gpa)
		return -ERANGE;
	while (fault.gfn < end) {
		fault.write = write;
		fault.early = true;
		ret = map_fault(vm, &fault, &cache);
		if (!ret && signal_pending(current))
			ret = -EINTR;
		if (ret)
			break;
		fault.gfn = min(fault.end, end);
		*done = (fault.gfn << PAGE_SHIFT) - gpa;
		cond_resched();
	}
	tdp_cache_drain(&cache);
	return ret == MEMORY_MMIO ? -ENXIO : ret;
}
