// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's linear memory: its page tables walked as its CPU walks them, and what is read and
 * written through them. SDM vol. 3 chapter 4, APM vol. 2 chapter 5.
 */
#include <linux/bits.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trap_pf.h>
#include <asm/trapnr.h>

#include "hw.h"
#include "memory.h"
#include "tdp.h"
#include "vcpu.h"
#include "x86/mmio.h"
#include "x86/x86.h"

#define ENTRY_PRESENT	BIT_ULL(0)
#define ENTRY_WRITE	BIT_ULL(1)
#define ENTRY_USER	BIT_ULL(2)
#define ENTRY_ACCESSED	BIT_ULL(5)
#define ENTRY_DIRTY	BIT_ULL(6)
#define ENTRY_LARGE	BIT_ULL(7)
#define ENTRY_NX	BIT_ULL(63)
#define ENTRY_ADDRESS	GENMASK_ULL(51, 12)
#define ENTRY_KEY(e)	(((e) >> 59) & 15)

#define MAX_LEVELS	WALK_MAX_LEVELS

/* How often an entry may change under the walk before its A and D bits are left alone */
#define MAX_RETRIES	16

/**
 * struct walk - a walk under way
 * @vcpu: whose tables
 * @gva: linear address
 * @access: ACCESS_*
 * @levels: of the tables, 2 to 5
 * @index_bits: per level
 * @entry_size: 4 or 8
 * @pae: the 3-level tables, whose top level is of its own kind
 * @reserved: bits that no entry may have set
 * @table: the next table
 * @rights: ENTRY_WRITE and ENTRY_USER, as far as all entries grant them; ENTRY_NX if any has it
 * @gpa: where each entry read lies; by level - 1
 * @host: where the host has it; in the window
 * @entry: what was there
 */
struct walk {
	struct vcpu *vcpu;
	u64 gva;
	u32 access;
	int levels;
	int index_bits;
	int entry_size;
	bool pae;
	u64 reserved;
	u64 table;
	u64 rights;
	u64 gpa[MAX_LEVELS];
	const void *host[MAX_LEVELS];
	u64 entry[MAX_LEVELS];
};

static bool long_mode(const struct vcpu *vcpu)
{
	return vcpu->efer & EFER_LMA;
}

static bool has_nx(const struct vcpu *vcpu)
{
	return (vcpu->efer & EFER_NX) && (vcpu->cr4 & X86_CR4_PAE);
}

static void begin_walk(struct walk *w, struct vcpu *vcpu, u64 gva, u32 access)
{
	u64 beyond = ~0ull << vcpu->features.gpa_bits;
	u64 cr3 = hw_call(get_cr3)(vcpu);

	w->vcpu = vcpu;
	w->gva = gva;
	w->access = access;
	w->rights = ENTRY_WRITE | ENTRY_USER;
	w->pae = false;
	w->index_bits = 9;
	w->entry_size = 8;
	if (long_mode(vcpu)) {
		w->levels = vcpu->cr4 & X86_CR4_LA57 ? 5 : 4;
		w->table = cr3 & ENTRY_ADDRESS;
		w->reserved = beyond & ENTRY_ADDRESS;
	} else if (vcpu->cr4 & X86_CR4_PAE) {
		w->pae = true;
		w->levels = 3;
		w->table = cr3 & GENMASK_ULL(31, 5);
		w->reserved = beyond & ~ENTRY_NX;
	} else {
		w->levels = 2;
		w->index_bits = 10;
		w->entry_size = 4;
		w->table = cr3 & GENMASK_ULL(31, 12);
		w->reserved = 0;
	}
	if (w->entry_size == 8 && !has_nx(vcpu))
		w->reserved |= ENTRY_NX;
}

static int level_shift(const struct walk *w, int level)
{
	return PAGE_SHIFT + w->index_bits * (level - 1);
}

static bool is_directory_pointer(const struct walk *w, int level)
{
	return w->pae && level == 3;
}

/* Does this entry map a page? */
static bool is_leaf(const struct walk *w, int level, u64 entry)
{
	if (level == 1)
		return true;
	if (!(entry & ENTRY_LARGE) || level > 3 || is_directory_pointer(w, level))
		return false;
	return w->entry_size == 8 || (w->vcpu->cr4 & X86_CR4_PSE);
}

/* Bits that must not be set in this entry: SDM vol. 3 table 4-2 on, and 4.7 */
static u64 reserved_bits(const struct walk *w, int level, u64 entry)
{
	const struct cpu_features *features = &w->vcpu->features;

	if (w->entry_size == 4) {
		/* PSE-36: bits 20:13 are address bits 39:32. */
		if (!is_leaf(w, level, entry) || level == 1)
			return 0;
		return BIT_ULL(21) |
		       ((~0ull << features->gpa_bits >> 32 << 13) & GENMASK_ULL(20, 13));
	}
	/* Where the CPU reads them in each walk, an emulated one also marks them as accessed. */
	if (is_directory_pointer(w, level))
		return w->reserved | ENTRY_NX | GENMASK_ULL(2, 1) |
		       (hw_caps.loads_pdptes ? GENMASK_ULL(8, 5) : GENMASK_ULL(8, 6));
	if (level > 3)
		return w->reserved | ENTRY_LARGE;
	if (level == 1 || !(entry & ENTRY_LARGE))
		return w->reserved;
	if (level == 2)
		return w->reserved | GENMASK_ULL(20, 13);
	return w->reserved | (features->gbpages ? GENMASK_ULL(29, 13) : ENTRY_LARGE);
}

static int read_guest(struct vcpu *vcpu, u64 gpa, void *buf, size_t len)
{
	if (vcpu_in_window(vcpu))
		return memory_peek(vcpu, gpa, buf, len);
	return memory_read(vcpu->vm, gpa, buf, len);
}

/* Where the host has a guest-physical address, in the window; NULL: nowhere, now */
static const void *host_address(struct vcpu *vcpu, u64 gpa)
{
	u64 address = tdp_translate(vcpu->tdp, gpa);

	return address == TDP_UNMAPPED ? NULL : __va(address);
}

static int peek_entry(struct walk *w, int level, u64 gpa, u64 *entry)
{
	const void *host = host_address(w->vcpu, gpa);

	if (!host)
		return -EAGAIN;
	w->host[level - 1] = host;
	/* It may change under us: it is read in one piece. */
	*entry = w->entry_size == 8 ? READ_ONCE(*(const u64 *)host) :
				      READ_ONCE(*(const u32 *)host);
	return 0;
}

static int read_entry(struct walk *w, int level, u64 *entry)
{
	u64 index = (w->gva >> level_shift(w, level)) & ((1u << w->index_bits) - 1);
	u64 gpa = w->table + index * w->entry_size;
	int ret;

	w->gpa[level - 1] = gpa;
	*entry = 0;
	ret = vcpu_in_window(w->vcpu) ? peek_entry(w, level, gpa, entry) :
					memory_read(w->vcpu->vm, gpa, entry, w->entry_size);
	w->entry[level - 1] = *entry;
	return ret;
}

static int page_fault(const struct walk *w, u32 error, struct cpu_event *fault)
{
	struct vcpu *vcpu = w->vcpu;

	if (w->access & ACCESS_WRITE)
		error |= X86_PF_WRITE;
	if (w->access & ACCESS_USER)
		error |= X86_PF_USER;
	if ((w->access & ACCESS_EXEC) && (has_nx(vcpu) || (vcpu->cr4 & X86_CR4_SMEP)))
		error |= X86_PF_INSTR;
	*fault = (struct cpu_event){
		.type = EVENT_EXCEPTION,
		.vector = X86_TRAP_PF,
		.has_error = 1,
		.error = error,
		.payload = w->gva,
	};
	return 1;
}

static int not_canonical(struct cpu_event *fault)
{
	*fault = (struct cpu_event){
		.type = EVENT_EXCEPTION,
		.vector = X86_TRAP_GP,
		.has_error = 1,
	};
	return 1;
}

/* Does the page's protection key forbid the access? SDM vol. 3 4.6.2 */
static bool key_denies(const struct walk *w, u64 leaf)
{
	struct vcpu *vcpu = w->vcpu;
	u32 key;

	if (!(vcpu->cr4 & X86_CR4_PKE) || !long_mode(vcpu) || !(w->rights & ENTRY_USER) ||
	    (w->access & ACCESS_EXEC))
		return false;
	key = xstate_pkru(vcpu) >> (2 * ENTRY_KEY(leaf));
	if (key & 1)
		return true;
	return (key & 2) && (w->access & ACCESS_WRITE) &&
	       ((w->access & ACCESS_USER) || (vcpu->cr0 & X86_CR0_WP));
}

/* Do the rights found on the way forbid it? SDM vol. 3 4.6.1 */
static bool rights_deny(const struct walk *w)
{
	struct vcpu *vcpu = w->vcpu;
	bool user_page = w->rights & ENTRY_USER;
	bool user = w->access & ACCESS_USER;

	if (user && !user_page)
		return true;
	if ((w->access & ACCESS_WRITE) && !(w->rights & ENTRY_WRITE) &&
	    (user || (vcpu->cr0 & X86_CR0_WP)))
		return true;
	if (w->access & ACCESS_EXEC)
		return ((w->rights & ENTRY_NX) && has_nx(vcpu)) ||
		       (!user && user_page && (vcpu->cr4 & X86_CR4_SMEP));
	return !user && user_page && (vcpu->cr4 & X86_CR4_SMAP) &&
	       !(vcpu->regs.rflags & X86_EFLAGS_AC);
}

/* Take part of the rights away. The directory pointers of PAE have none. */
static void narrow_rights(struct walk *w, int level, u64 entry)
{
	if (is_directory_pointer(w, level))
		return;
	w->rights = (w->rights & (entry | ENTRY_NX)) | (entry & ENTRY_NX);
}

/*
 * Down to the entry that maps the page. Return: its level; 0: @fault; negative: as
 * guest_translate().
 */
static int find_leaf(struct walk *w, struct cpu_event *fault)
{
	int level = w->levels;
	u64 entry;
	int ret;

	for (;; level--) {
		ret = read_entry(w, level, &entry);
		if (ret)
			return ret;
		if (!(entry & ENTRY_PRESENT)) {
			page_fault(w, 0, fault);
			return 0;
		}
		if (entry & reserved_bits(w, level, entry)) {
			page_fault(w, X86_PF_PROT | X86_PF_RSVD, fault);
			return 0;
		}
		narrow_rights(w, level, entry);
		if (is_leaf(w, level, entry))
			return level;
		w->table = entry & ENTRY_ADDRESS;
	}
}

static u64 leaf_gpa(const struct walk *w, int level)
{
	u64 mask = (1ull << level_shift(w, level)) - 1;
	u64 entry = w->entry[level - 1];
	u64 frame = entry & ENTRY_ADDRESS & ~mask;

	if (w->entry_size == 4 && level == 2)
		frame |= (entry >> 13 & 0xff) << 32;
	return frame | (w->gva & mask);
}

/*
 * Set A in all entries of the walk, and D in the leaf of a write.
 * Return: 0; EAGAIN: an entry has changed, walk again; ENXIO, EFAULT.
 */
static int mark_entries(struct walk *w, int leaf)
{
	int level;

	for (level = w->levels; level >= leaf; level--) {
		u64 old = w->entry[level - 1];
		u64 new = old | ENTRY_ACCESSED;
		int ret;

		if (is_directory_pointer(w, level))
			continue;
		if (level == leaf && (w->access & ACCESS_WRITE))
			new |= ENTRY_DIRTY;
		if (new == old)
			continue;
		ret = memory_cmpxchg(w->vcpu->vm, w->gpa[level - 1], old, new, w->entry_size);
		if (ret)
			return ret;
	}
	return 0;
}

static int walk_tables(struct vcpu *vcpu, u64 gva, u32 access, bool mark, u64 *gpa,
		       struct cpu_event *fault)
{
	struct walk w;
	int level;

	begin_walk(&w, vcpu, gva, access);
	level = find_leaf(&w, fault);
	if (level <= 0)
		return level ? level : 1;

	if (key_denies(&w, w.entry[level - 1]))
		return page_fault(&w, X86_PF_PROT | X86_PF_PK, fault);
	if (rights_deny(&w))
		return page_fault(&w, X86_PF_PROT, fault);
	*gpa = leaf_gpa(&w, level);
	return mark ? mark_entries(&w, level) : 0;
}

static bool is_canonical(const struct vcpu *vcpu, u64 gva)
{
	int shift = vcpu->cr4 & X86_CR4_LA57 ? 7 : 16;

	return (u64)((s64)(gva << shift) >> shift) == gva;
}

/*
 * Which address is meant where linear address masking lets a pointer to the lower half have any
 * bits between its own and bit 63. It is not for fetches. That of the upper half takes
 * CR4.LAM_SUP, which no vCPU is offered.
 */
static u64 without_tag(struct vcpu *vcpu, u64 gva, u32 access)
{
	u64 cr3;
	int bit;

	if (likely(!state_cr3_lam) || (access & ACCESS_EXEC) || gva >> 63)
		return gva;
	cr3 = hw_call(get_cr3)(vcpu) & state_cr3_lam;
	if (!cr3)
		return gva;
	bit = cr3 & CR3_LAM_U57 ? 56 : 47;
	/* Bit 63 stays: where the highest of its own bits is set, it is not canonical. */
	return cpu_sign_extend(gva, bit + 1) & ~BIT_ULL(63);
}

static int translate(struct vcpu *vcpu, u64 gva, u32 access, bool mark, u64 *gpa,
		     struct cpu_event *fault)
{
	int retries = 0;
	int ret;

	if (long_mode(vcpu)) {
		gva = without_tag(vcpu, gva, access);
		if (!is_canonical(vcpu, gva))
			return not_canonical(fault);
	} else {
		gva = (u32)gva;
	}
	if (!(vcpu->cr0 & X86_CR0_PG)) {
		*gpa = gva;
		return 0;
	}

	if (!mark || vcpu_in_window(vcpu))
		return walk_tables(vcpu, gva, access, false, gpa, fault);
	do {
		ret = walk_tables(vcpu, gva, access, retries++ < MAX_RETRIES, gpa, fault);
	} while (ret == -EAGAIN);
	return ret;
}

int guest_translate(struct vcpu *vcpu, u64 gva, u32 access, u64 *gpa, struct cpu_event *fault)
{
	return translate(vcpu, gva, access, true, gpa, fault);
}

int guest_translate_probe(struct vcpu *vcpu, u64 gva, u32 access, u64 *gpa,
			  struct cpu_event *fault)
{
	return translate(vcpu, gva, access, false, gpa, fault);
}

static size_t left_in_page(u64 gva, size_t len)
{
	return min_t(size_t, len, PAGE_SIZE - offset_in_page(gva));
}

int guest_read(struct vcpu *vcpu, u64 gva, void *buf, size_t len, u32 access,
	       struct cpu_event *fault)
{
	while (len) {
		size_t part = left_in_page(gva, len);
		u64 gpa;
		int ret;

		ret = guest_translate(vcpu, gva, access, &gpa, fault);
		if (!ret)
			ret = read_guest(vcpu, gpa, buf, part);
		if (ret)
			return ret;
		gva += part;
		buf += part;
		len -= part;
	}
	return 0;
}

int guest_write(struct vcpu *vcpu, u64 gva, const void *buf, size_t len, u32 access,
		struct cpu_event *fault)
{
	if (vcpu_in_window(vcpu))
		return -EAGAIN;

	while (len) {
		size_t part = left_in_page(gva, len);
		u64 gpa;
		int ret;

		ret = guest_translate(vcpu, gva, access, &gpa, fault);
		if (!ret)
			ret = memory_write(vcpu->vm, gpa, buf, part);
		if (ret)
			return ret;
		gva += part;
		buf += part;
		len -= part;
	}
	return 0;
}

/* Where the code is and how it is to be read */
static void locate_code(struct vcpu *vcpu, struct insn_bytes *code)
{
	code->access = ACCESS_EXEC;
	if (hw_call(get_mode)(vcpu).cpl == 3)
		code->access |= ACCESS_USER;
	code->size = state_code_size(vcpu);
	code->linear = state_linear(vcpu, CPU_CS, vcpu->regs.rip);
}

void insn_given(struct vcpu *vcpu, struct insn_bytes *code, const u8 *bytes, int count)
{
	locate_code(vcpu, code);
	code->count = count;
	memcpy(code->bytes, bytes, count);
}

/* ---- the page that code was fetched from last ---- */

/* Is it @linear's, still? In the window, where neither the host's pages nor its tables go away */
static const u8 *find_code_page(struct vcpu *vcpu, u64 linear)
{
	const struct code_page *page = &vcpu->code_page;
	int i;

	if (!page->host || page->linear != linear || page->tdp != vcpu->tdp ||
	    page->flush_gen != atomic64_read(&vcpu->tdp->flush_gen) ||
	    page->cr0 != vcpu->cr0 || page->cr4 != vcpu->cr4 || page->efer != vcpu->efer ||
	    page->cr3 != hw_call(get_cr3)(vcpu))
		return NULL;
	for (i = 0; i < page->levels; i++)
		if (READ_ONCE(*page->entry[i]) != page->value[i])
			return NULL;
	return page->host;
}

/* Walk to @linear, and remember the way. Return: the page; NULL: the caller's walk shall say why */
static const u8 *note_code_page(struct vcpu *vcpu, u64 linear, u32 access)
{
	struct code_page *page = &vcpu->code_page;
	struct cpu_event ignored;
	struct walk w;
	int leaf, i;

	page->host = NULL;
	page->tdp = vcpu->tdp;
	page->flush_gen = atomic64_read(&vcpu->tdp->flush_gen);
	begin_walk(&w, vcpu, linear, access);
	leaf = find_leaf(&w, &ignored);
	if (leaf <= 0)
		return NULL;
	page->levels = w.levels - leaf + 1;
	for (i = 0; i < page->levels; i++) {
		page->entry[i] = w.host[leaf - 1 + i];
		page->value[i] = w.entry[leaf - 1 + i];
	}
	page->linear = linear;
	page->cr0 = vcpu->cr0;
	page->cr3 = hw_call(get_cr3)(vcpu);
	page->cr4 = vcpu->cr4;
	page->efer = vcpu->efer;
	page->host = host_address(vcpu, leaf_gpa(&w, leaf));
	return page->host;
}

/*
 * Up to the page's end, where the CPU has fetched from: its checks need not be repeated. False: by
 * another way.
 */
static bool fetch_in_window(struct vcpu *vcpu, struct insn_bytes *code, u64 gva)
{
	u64 linear = gva & PAGE_MASK;
	const u8 *page;
	size_t part;

	page = find_code_page(vcpu, linear);
	if (!page)
		page = note_code_page(vcpu, linear, code->access);
	if (!page)
		return false;
	part = left_in_page(gva, INSN_MAX - code->count);
	memcpy(code->bytes + code->count, page + offset_in_page(gva), part);
	code->count += part;
	return true;
}

int insn_fetch(struct vcpu *vcpu, struct insn_bytes *code, struct cpu_event *fault)
{
	size_t part;
	u64 gva, gpa;
	int ret;

	if (!code->size)
		locate_code(vcpu, code);
	gva = code->linear + code->count;
	if (code->size != 8)
		gva = (u32)gva;
	if (code->size == 8 && vcpu_in_window(vcpu) && fetch_in_window(vcpu, code, gva))
		return 0;

	part = left_in_page(gva, INSN_MAX - code->count);
	ret = guest_translate(vcpu, gva, code->access, &gpa, fault);
	if (!ret)
		ret = read_guest(vcpu, gpa, code->bytes + code->count, part);
	if (!ret)
		code->count += part;
	return ret;
}

int guest_fetch(struct vcpu *vcpu, u8 bytes[INSN_MAX], struct cpu_event *fault)
{
	struct insn_bytes code = { .size = 0 };
	struct cpu_event ignored;
	int ret;

	ret = insn_fetch(vcpu, &code, fault);
	if (ret)
		return ret > 0 ? 0 : ret;
	if (code.count < INSN_MAX)
		insn_fetch(vcpu, &code, &ignored);
	memcpy(bytes, code.bytes, code.count);
	return code.count;
}
