// SPDX-License-Identifier: GPL-2.0-only
/*
 * Logs of what was written to guest memory: a bit per page of a slot.
 *
 * What a log rests on: a page that can be written to without a fault, and without the CPU keeping a
 * log of it, has its bit set, or is about to have it by who let the write through. Therefore
 *
 *  - who lets a write through does it first, and sets the bit then, with memory.lock held for
 *    reading;
 *  - who reads the log takes bits first, then arms their pages with the lock held for writing, and
 *    flushes before the call returns: writes up to then are in the pages that the caller reads
 *    afterwards, later ones set the bit again;
 *  - what the kernel writes itself is in the page before its bit is set.
 *
 * Where a vCPU has a ring (ring.c) what it writes to is there instead of in the bits.
 *
 * With PML, what a vCPU's CPU has logged reaches the bits at its next exit: a reader first has all
 * vCPUs leave their guests. A clear dirty bit counts only behind a flush: the CPU may have
 * cached a set one, and does not log what it does not set (SDM vol. 3 29.3.5, 29.3.6, 29.4.3.4).
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "hw.h"
#include "memory.h"
#include "ring.h"
#include "slots.h"
#include "tdp.h"
#include "vcpu.h"
#include "vm.h"

/* Words that are taken at a time, between which writers and the scheduler have their turn */
#define CHUNK		64
#define TABLE_WORDS	(TDP_ENTRIES / 64)
/* Likewise, in pages */
#define MARK_CHUNK	4096

/* From this many dirty pages of a table on, all of its pages are armed by the entry above. */
#define DIRTY_TABLE	64

/**
 * dirty_log_create - a log without a bit set
 * @pages: of the slot
 *
 * Return: the log, to be freed by kvfree(), or NULL.
 */
atomic64_t *dirty_log_create(u64 pages)
{
	u64 bytes = BITS_TO_LONGS(pages) * sizeof(atomic64_t);

	return kvzalloc(bytes, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
}

static void note(const struct memory_slot *slot, u64 gfn)
{
	unsigned long *bits = (unsigned long *)slot->log;
	u64 page = gfn - slot->gfn;

	if (!test_bit(page, bits))
		set_bit(page, bits);
}

void dirty_note(const struct memory_slot *slot, u64 gfn, u64 pages)
{
	for (; slot->log && pages; gfn++, pages--)
		note(slot, gfn);
}

void dirty_note_vcpu(struct vcpu *vcpu, const struct memory_slot *slot, u64 gfn)
{
	if (slot->log && !dirty_ring_push(vcpu, gfn))
		note(slot, gfn);
}

/* Up to 64 pages, whose bits are in one word of the log */
static void note_word(const struct memory_slot *slot, u64 word, u64 bits)
{
	if (bits & ~atomic64_read(&slot->log[word]))
		atomic64_or(bits, &slot->log[word]);
}

/*
 * Take note of those in @slot with which a list begins. Neighbours come together, mostly, and are
 * noted so. Return: behind them
 */
static const u64 *note_run(const struct memory_slot *slot, const u64 *gpas, const u64 *end)
{
	while (gpas < end) {
		u64 page = (*gpas >> PAGE_SHIFT) - slot->gfn;
		u64 first = round_down(page, 64);
		u64 pages = min(64ull, slot->pages - first);
		u64 gfn = slot->gfn + first;
		u64 bits = 0;

		if (page >= slot->pages)
			break;
		do {
			page = (*gpas >> PAGE_SHIFT) - gfn;
			if (page >= pages)
				break;
			bits |= BIT_ULL(page);
		} while (++gpas < end);
		note_word(slot, first / 64, bits);
	}
	return gpas;
}

void dirty_note_logged(struct vcpu *vcpu, const u64 *gpas, int count)
{
	struct memory *memory = &vcpu->vm->memory;
	const u64 *end = gpas + count;

	read_lock(&memory->lock);
	while (gpas < end) {
		u64 gfn = *gpas >> PAGE_SHIFT;
		const struct memory_slot *slot = slot_at(memory, gfn);

		if (slot && slot->log && !vcpu->ring) {
			gpas = note_run(slot, gpas, end);
			continue;
		}
		if (slot)
			dirty_note_vcpu(vcpu, slot, gfn);
		gpas++;
	}
	read_unlock(&memory->lock);
	vcpu->stats.pages_logged += count;
}

bool dirty_write(struct vcpu *vcpu, const struct memory_slot *slot, u64 gfn)
{
	if (!READ_ONCE(vcpu->vm->memory.logged) || !tdp_write(vcpu->tdp, gfn, slot->log))
		return false;
	dirty_note_vcpu(vcpu, slot, gfn);
	return true;
}

/* The slot, if it has a log of all of these pages. vm->lock is held. */
static const struct memory_slot *find_log(struct vm *vm, u32 number, u64 first, u64 pages)
{
	const struct slot_entry *entry = slot_by(&vm->memory, MEMORY_NUMBER, number);
	const struct memory_slot *slot;

	if (!entry)
		return ERR_PTR(-ENOENT);
	slot = &entry->slot;
	if (!slot->log)
		return ERR_PTR(-ENODATA);
	if (!pages || first % 64)
		return ERR_PTR(-EINVAL);
	if (first >= slot->pages || pages > slot->pages - first)
		return ERR_PTR(-ERANGE);
	if (pages % 64 && first + pages != slot->pages)
		return ERR_PTR(-EINVAL);
	return slot;
}

static unsigned int weight(const u64 *words)
{
	return bitmap_weight((const unsigned long *)words, TDP_ENTRIES);
}

/* Arm the pages of the bits that were taken; @gfn is that of the first. */
static void arm(struct memory *memory, const struct memory_slot *slot, u64 gfn, const u64 *words,
		int count)
{
	u64 end = slot->gfn + slot->pages;
	struct tdp *tdp;
	int i;

	write_lock(&memory->lock);
	for (i = 0; i < count; i++, gfn += 64) {
		/* The last word may be of fewer pages: the table is another slot's as well then. */
		if (gfn % TDP_ENTRIES == 0 && i + TABLE_WORDS <= count &&
		    gfn + TDP_ENTRIES <= end && weight(words + i) >= DIRTY_TABLE) {
			memory_for_each_view(memory, tdp)
				tdp_protect(tdp, gfn, gfn + TDP_ENTRIES, true);
			gfn += TDP_ENTRIES - 64;
			i += TABLE_WORDS - 1;
		} else if (words[i]) {
			memory_rearm(memory, gfn, words[i]);
		}
	}
	/* Even if nothing has changed: another fault may have armed these pages (open_table()). */
	memory_stale(memory);
	write_unlock(&memory->lock);
}

/* Take all bits of some words, or those that are set in @words. Return: were there any? */
static bool take(atomic64_t *log, u64 *words, int count, bool all)
{
	u64 any = 0;
	int i;

	for (i = 0; i < count; i++) {
		if (all)
			words[i] = atomic64_read(&log[i]) ? atomic64_xchg(&log[i], 0) : 0;
		else if (words[i])
			words[i] &= atomic64_fetch_andnot(words[i], &log[i]);
		any |= words[i];
	}
	return any;
}

static void put_back(atomic64_t *log, const u64 *words, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (words[i])
			atomic64_or(words[i], &log[i]);
}

/* The caller has not got all of them: those that he has got are to be there again, too. */
static void put_all_back(atomic64_t *log, const u64 __user *bitmap, u64 words)
{
	u64 buf[CHUNK];
	u64 done;

	for (done = 0; done < words; done += CHUNK) {
		int count = min_t(u64, CHUNK, words - done);

		if (copy_from_user(buf, bitmap + done, count * sizeof(u64)))
			memset(buf, 0xff, sizeof(buf));
		put_back(log + done, buf, count);
		cond_resched();
	}
}

static noinline_for_stack int get_and_clear(struct memory *memory, const struct memory_slot *slot,
					    u64 first, u64 words, u64 __user *bitmap)
{
	atomic64_t *log = slot->log + first / 64;
	u64 buf[CHUNK];
	u64 done;

	for (done = 0; done < words; done += CHUNK) {
		int count = min_t(u64, CHUNK, words - done);
		bool any = take(log + done, buf, count, true);

		if (copy_to_user(bitmap + done, buf, count * sizeof(u64))) {
			put_back(log + done, buf, count);
			put_all_back(log, bitmap, done);
			return -EFAULT;
		}
		if (any)
			arm(memory, slot, slot->gfn + first + done * 64, buf, count);
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static noinline_for_stack int get(const struct memory_slot *slot, u64 first, u64 words,
				  u64 __user *bitmap)
{
	if (copy_to_user(bitmap, slot->log + first / 64, words * sizeof(u64)))
		return -EFAULT;
	return 0;
}

static noinline_for_stack int clear(struct memory *memory, const struct memory_slot *slot,
				    u64 first, u64 pages, const u64 __user *bitmap)
{
	u64 words = DIV_ROUND_UP(pages, 64);
	u64 buf[CHUNK];
	u64 done;

	for (done = 0; done < words; done += CHUNK) {
		int count = min_t(u64, CHUNK, words - done);

		/* What was cleared so far is what the caller wanted cleared. */
		if (copy_from_user(buf, bitmap + done, count * sizeof(u64)))
			return -EFAULT;
		if (done + count == words && pages % 64)
			buf[count - 1] &= GENMASK_ULL(pages % 64 - 1, 0);
		if (take(slot->log + first / 64 + done, buf, count, false))
			arm(memory, slot, slot->gfn + first + done * 64, buf, count);
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

int dirty_get(struct vm *vm, u32 number, u64 first, u64 pages, u64 __user *bitmap, bool and_clear)
{
	struct memory *memory = &vm->memory;
	u64 words = DIV_ROUND_UP(pages, 64);
	const struct memory_slot *slot;
	int ret;

	slot = find_log(vm, number, first, pages);
	if (IS_ERR(slot))
		return PTR_ERR(slot);
	if (hw_caps.pml)
		memory_leave_guests(vm);
	if (!and_clear)
		return get(slot, first, words, bitmap);
	ret = get_and_clear(memory, slot, first, words, bitmap);
	memory_flush(vm);
	return ret;
}

int dirty_clear(struct vm *vm, u32 number, u64 first, u64 pages, const u64 __user *bitmap)
{
	const struct memory_slot *slot;
	int ret;

	slot = find_log(vm, number, first, pages);
	if (IS_ERR(slot))
		return PTR_ERR(slot);
	ret = clear(&vm->memory, slot, first, pages, bitmap);
	memory_flush(vm);
	return ret;
}

int dirty_mark(struct vm *vm, u64 gpa, u64 bytes)
{
	struct memory *memory = &vm->memory;
	const struct memory_slot *slot;
	u64 gfn, end, part;

	if (!bytes)
		return -EINVAL;
	if (gpa + bytes < gpa)
		return -ERANGE;
	end = ((gpa + bytes - 1) >> PAGE_SHIFT) + 1;
	for (gfn = gpa >> PAGE_SHIFT; gfn < end; gfn += part) {
		slot = slot_at(memory, gfn);
		if (!slot)
			return -ENXIO;
		part = min(end, slot->gfn + slot->pages) - gfn;
	}
	for (gfn = gpa >> PAGE_SHIFT; gfn < end; gfn += part) {
		slot = slot_at(memory, gfn);
		part = min3(end, slot->gfn + slot->pages, gfn + MARK_CHUNK) - gfn;
		dirty_note(slot, gfn, part);
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}
