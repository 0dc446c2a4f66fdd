// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests in every mode: descriptor tables, page tables, a handler for each
 * vector.
 */
#include <stdlib.h>

#include "vmmtest.h"

const char *const mode_names[NR_MODES] = {
	"real", "protected", "paged", "PAE", "long", "LA57", "compatibility",
};

void *guest_ptr(struct vm *vm, u64 gpa, size_t bytes)
{
	if (gpa + bytes > vm->mem_size)
		fail("guest-physical %#llx is not in slot 0", gpa);
	return vm->mem + gpa;
}

static bool is_long(enum guest_mode mode)
{
	return mode == MODE_LONG || mode == MODE_LA57 || mode == MODE_COMPAT;
}

static bool is_paged(enum guest_mode mode)
{
	return mode >= MODE_PAGED;
}

bool mode_supported(struct vm *vm, enum guest_mode mode)
{
	return mode != MODE_LA57 || (vm->info.caps & VMM_CAP_LA57);
}

/* ---- handlers ----------------------------------------------------------- */

/*
 * At entry the stack holds, from the top: vector, error code (0 where the CPU
 * pushes none), then what the CPU pushed.
 */
GUEST_CODE(handler64, 64,
	   "push %rax\n"
	   "mov 8(%rsp), %rax; mov %rax, TRAP_GPA\n"
	   "mov 16(%rsp), %rax; mov %rax, TRAP_GPA + 8\n"
	   "mov 24(%rsp), %rax; mov %rax, TRAP_GPA + 16\n"
	   "mov 32(%rsp), %rax; mov %rax, TRAP_GPA + 24\n"
	   "mov 40(%rsp), %rax; mov %rax, TRAP_GPA + 32\n"
	   "mov 48(%rsp), %rax; mov %rax, TRAP_GPA + 40\n"
	   "mov 56(%rsp), %rax; mov %rax, TRAP_GPA + 48\n"
	   "mov %cr2, %rax; mov %rax, TRAP_GPA + 56\n"
	   "lea 24(%rsp), %rax; mov %rax, TRAP_GPA + 64\n"
	   "incq TRAP_GPA + 72\n"
	   "out %al, $PORT_TRAP\n"
	   "pop %rax\n"
	   "add $16, %rsp\n"
	   "iretq\n");

GUEST_CODE(handler32, 32,
	   "push %eax\n"
	   "mov 4(%esp), %eax; mov %eax, %ss:TRAP_GPA\n"
	   "mov 8(%esp), %eax; mov %eax, %ss:TRAP_GPA + 8\n"
	   "mov 12(%esp), %eax; mov %eax, %ss:TRAP_GPA + 16\n"
	   "mov 16(%esp), %eax; mov %eax, %ss:TRAP_GPA + 24\n"
	   "mov 20(%esp), %eax; mov %eax, %ss:TRAP_GPA + 32\n"
	   "mov 24(%esp), %eax; mov %eax, %ss:TRAP_GPA + 40\n"
	   "mov 28(%esp), %eax; mov %eax, %ss:TRAP_GPA + 48\n"
	   "mov %cr2, %eax; mov %eax, %ss:TRAP_GPA + 56\n"
	   "lea 12(%esp), %eax; mov %eax, %ss:TRAP_GPA + 64\n"
	   "incl %ss:TRAP_GPA + 72\n"
	   "out %al, $PORT_TRAP\n"
	   "pop %eax\n"
	   "add $8, %esp\n"
	   "iret\n");

/* The handler's CS is 0, and CS is writable in real mode. */
GUEST_CODE(handler16, 16,
	   "push %ax\n"
	   "push %bp\n"
	   "mov %sp, %bp\n"
	   "mov 4(%bp), %ax; mov %ax, %cs:TRAP_GPA\n"
	   "mov 6(%bp), %ax; mov %ax, %cs:TRAP_GPA + 16\n"
	   "mov 8(%bp), %ax; mov %ax, %cs:TRAP_GPA + 24\n"
	   "mov 10(%bp), %ax; mov %ax, %cs:TRAP_GPA + 32\n"
	   "lea 6(%bp), %ax; mov %ax, %cs:TRAP_GPA + 64\n"
	   "movw %ss, %cs:TRAP_GPA + 48\n"
	   "incw %cs:TRAP_GPA + 72\n"
	   "out %al, $PORT_TRAP\n"
	   "pop %bp\n"
	   "pop %ax\n"
	   "add $2, %sp\n"
	   "iret\n");

static bool pushes_error(int vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* push $0 where the CPU pushes no error code; push $vector; jmp handler */
static void write_stubs(struct vm *vm, bool real)
{
	u64 gpa = STUBS_GPA;
	int vector, word = real ? 2 : 4;

	for (vector = 0; vector < 256; vector++, gpa += 16) {
		u8 *p = guest_ptr(vm, gpa, 16);
		s32 distance;

		if (!real && !pushes_error(vector)) {
			*p++ = 0x6a;
			*p++ = 0;
		}
		*p++ = 0x68;
		memset(p, 0, word);
		*p = vector;
		p += word;
		*p++ = 0xe9;
		distance = HANDLER_GPA - (p + word - vm->mem);
		memcpy(p, &distance, word);
	}
}

static void write_gates(struct vm *vm, enum guest_mode mode)
{
	u64 stub = STUBS_GPA;
	int vector;

	for (vector = 0; vector < 256; vector++, stub += 16) {
		u64 gate = (stub & 0xffff) | (stub >> 16 << 48) | 0xee0000000000ULL;

		if (mode == MODE_REAL) {
			guest_u32(vm, IVT_GPA + 4 * vector) = stub;
		} else if (is_long(mode)) {
			guest_u64(vm, IDT_GPA + 16 * vector) = gate | SEL_CODE64 << 16;
			guest_u64(vm, IDT_GPA + 16 * vector + 8) = 0;
		} else {
			guest_u64(vm, IDT_GPA + 8 * vector) = gate | SEL_CODE32 << 16;
		}
	}
}

static void write_handlers(struct vm *vm, enum guest_mode mode)
{
	const u8 *code = mode == MODE_REAL ? handler16 : is_long(mode) ? handler64 : handler32;
	size_t size = mode == MODE_REAL ? code_size(handler16) :
		      is_long(mode) ? code_size(handler64) : code_size(handler32);

	memset(guest_trap(vm), 0, sizeof(struct guest_trap));
	memcpy(guest_ptr(vm, HANDLER_GPA, size), code, size);
	write_stubs(vm, mode == MODE_REAL);
	write_gates(vm, mode);
}

/* ---- descriptors --------------------------------------------------------- */

#define ATTR_CODE16	0x09b
#define ATTR_DATA16	0x093
#define ATTR_CODE32	0xc9b
#define ATTR_CODE64	0xa9b
#define ATTR_DATA	0xc93
/* Not busy: an emulated CPU takes stacks from no other. A real one does not care. */
#define ATTR_TSS	0x089
#define ATTR_DPL3	0x060

static u64 descriptor(u32 base, u32 limit, u16 attr)
{
	if (attr & VMM_SEG_G)
		limit >>= 12;
	return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(attr & 0xff) << 40 |
	       (u64)(limit >> 16 & 0xf) << 48 | (u64)(attr >> 8 & 0xf) << 52 |
	       (u64)(base >> 24) << 56;
}

static void write_gdt(struct vm *vm)
{
	u64 *gdt = guest_ptr(vm, GDT_GPA, PAGE);

	memset(gdt, 0, 0x100);
	gdt[SEL_CODE64 / 8] = descriptor(0, ~0, ATTR_CODE64);
	gdt[SEL_DATA / 8] = descriptor(0, ~0, ATTR_DATA);
	gdt[SEL_CODE32 / 8] = descriptor(0, ~0, ATTR_CODE32);
	gdt[SEL_CODE16 / 8] = descriptor(CODE_GPA, 0xffff, ATTR_CODE16);
	gdt[SEL_DATA16 / 8] = descriptor(DATA_GPA, 0xffff, ATTR_DATA16);
	gdt[SEL_USER_CODE64 / 8] = descriptor(0, ~0, ATTR_CODE64 | ATTR_DPL3);
	gdt[SEL_USER_DATA / 8] = descriptor(0, ~0, ATTR_DATA | ATTR_DPL3);
	gdt[SEL_USER_CODE32 / 8] = descriptor(0, ~0, ATTR_CODE32 | ATTR_DPL3);
	gdt[SEL_TSS / 8] = descriptor(TSS_GPA, 0x67, ATTR_TSS);
}

/* Stacks for a change of level: RSP0 in long mode, ESP0 and SS0 otherwise */
static void write_tss(struct vm *vm, bool long_mode)
{
	memset(guest_ptr(vm, TSS_GPA, 0x80), 0, 0x80);
	guest_u32(vm, TSS_GPA + 4) = STACK_TOP;
	if (!long_mode)
		guest_u32(vm, TSS_GPA + 8) = SEL_DATA;
	guest_u16(vm, TSS_GPA + 0x66) = 0x68;
}

static void set_segment(struct vcpu *vcpu, int index, u16 selector, u64 base, u32 limit,
			u16 attr)
{
	vcpu->state.segments.seg[index] = (struct vmm_segment) {
		.base = base, .limit = limit, .selector = selector, .attr = attr,
	};
}

static void set_segments(struct vcpu *vcpu, enum guest_mode mode)
{
	int i;

	memset(&vcpu->state.segments, 0, sizeof(vcpu->state.segments));
	set_segment(vcpu, VMM_LDTR, 0, 0, 0, 0);
	set_segment(vcpu, VMM_TR, SEL_TSS, TSS_GPA, 0x67, ATTR_TSS);
	if (mode == MODE_REAL) {
		for (i = VMM_ES; i <= VMM_GS; i++)
			set_segment(vcpu, i, 0, 0, 0xffff, ATTR_DATA16);
		set_segment(vcpu, VMM_CS, CODE_GPA >> 4, CODE_GPA, 0xffff, ATTR_CODE16);
		set_segment(vcpu, VMM_DS, DATA_GPA >> 4, DATA_GPA, 0xffff, ATTR_DATA16);
		set_segment(vcpu, VMM_SS, STACK_GPA >> 4, STACK_GPA, 0xffff, ATTR_DATA16);
		set_segment(vcpu, VMM_IDTR, 0, IVT_GPA, 0x3ff, 0);
		set_segment(vcpu, VMM_GDTR, 0, GDT_GPA, 0xff, 0);
		return;
	}
	for (i = VMM_ES; i <= VMM_GS; i++)
		set_segment(vcpu, i, SEL_DATA, 0, ~0, ATTR_DATA);
	if (is_long(mode) && mode != MODE_COMPAT)
		set_segment(vcpu, VMM_CS, SEL_CODE64, 0, ~0, ATTR_CODE64);
	else
		set_segment(vcpu, VMM_CS, SEL_CODE32, 0, ~0, ATTR_CODE32);
	set_segment(vcpu, VMM_GDTR, 0, GDT_GPA, 0xff, 0);
	set_segment(vcpu, VMM_IDTR, 0, IDT_GPA, is_long(mode) ? 0xfff : 0x7ff, 0);
}

/* ---- page tables ----------------------------------------------------------- */

#define PTE_ALL		(PTE_P | PTE_RW | PTE_US)

static u64 new_table(struct vm *vm)
{
	u64 gpa = vm->tables;

	if (gpa >= CODE_GPA)
		fail("no room for page tables");
	vm->tables += PAGE;
	memset(guest_ptr(vm, gpa, PAGE), 0, PAGE);
	return gpa;
}

/* The first 4 GiB, one to one, in large pages. Returns CR3. */
static u64 write_tables(struct vm *vm, enum guest_mode mode)
{
	u64 root, pdpt, pml4, pd;
	int i, j;

	vm->tables = TABLES_GPA;
	root = new_table(vm);
	if (mode == MODE_PAGED) {
		for (i = 0; i < 1024; i++)
			guest_u32(vm, root + 4 * i) = (u32)i << 22 | PTE_PS | PTE_ALL;
		return root;
	}
	pdpt = root;
	if (mode == MODE_LA57) {
		pml4 = new_table(vm);
		guest_u64(vm, root) = pml4 | PTE_ALL;
		pdpt = new_table(vm);
		guest_u64(vm, pml4) = pdpt | PTE_ALL;
	} else if (mode != MODE_PAE) {
		pdpt = new_table(vm);
		guest_u64(vm, root) = pdpt | PTE_ALL;
	}
	for (i = 0; i < 4; i++) {
		pd = new_table(vm);
		/* In PAE mode the other bits are reserved at this level. */
		guest_u64(vm, pdpt + 8 * i) = pd | (mode == MODE_PAE ? PTE_P : PTE_ALL);
		for (j = 0; j < 512; j++)
			guest_u64(vm, pd + 8 * j) = ((u64)i << 30) + ((u64)j << 21) + PTE_PS +
						    PTE_ALL;
	}
	return root;
}

/* Make the 2 MiB (4 MiB) entry at @gpa a table of 4 KiB entries. */
static u64 split(struct vm *vm, u64 gpa, bool legacy)
{
	u64 entry = legacy ? guest_u32(vm, gpa) : guest_u64(vm, gpa);
	u64 table, i;

	if ((entry & PTE_P) && !(entry & PTE_PS))
		return entry & ~0xfffULL;
	table = new_table(vm);
	for (i = 0; (entry & PTE_P) && i < (legacy ? 1024 : 512); i++) {
		if (legacy)
			guest_u32(vm, table + 4 * i) = (entry & ~PTE_PS) + i * PAGE;
		else
			guest_u64(vm, table + 8 * i) = (entry & ~PTE_PS) + i * PAGE;
	}
	if (legacy)
		guest_u32(vm, gpa) = table | PTE_ALL;
	else
		guest_u64(vm, gpa) = table | PTE_ALL;
	return table;
}

u64 guest_pte(struct vm *vm, u64 gva)
{
	u64 table = TABLES_GPA, entry;
	int shift;

	if (!is_paged(vm->mode))
		fail("no page tables in %s mode", mode_names[vm->mode]);
	if (vm->mode == MODE_PAGED) {
		table = split(vm, table + 4 * (gva >> 22 & 1023), true);
		return table + 4 * (gva >> 12 & 1023);
	}
	shift = vm->mode == MODE_LA57 ? 48 : vm->mode == MODE_PAE ? 30 : 39;
	for (; shift > 21; shift -= 9) {
		entry = table + 8 * (gva >> shift & 511);
		if (!(guest_u64(vm, entry) & PTE_P))
			guest_u64(vm, entry) = new_table(vm) |
					       (vm->mode == MODE_PAE ? PTE_P : PTE_ALL);
		table = guest_u64(vm, entry) & 0xffffffffff000ULL;
	}
	table = split(vm, table + 8 * (gva >> 21 & 511), false);
	return table + 8 * (gva >> 12 & 511);
}

void guest_map(struct vm *vm, u64 gva, u64 gpa, u64 flags)
{
	u64 entry = guest_pte(vm, gva);

	if (vm->mode == MODE_PAGED)
		guest_u32(vm, entry) = gpa | flags;
	else
		guest_u64(vm, entry) = gpa | flags;
}

/* ---- modes ------------------------------------------------------------------ */

static void set_control(struct vcpu *vcpu, enum guest_mode mode, u64 cr3)
{
	struct vmm_control *control = &vcpu->state.control;

	memset(control, 0, sizeof(*control));
	control->cr0 = CR0_ET;
	if (mode == MODE_REAL)
		return;
	control->cr0 |= CR0_PE | CR0_MP | CR0_NE;
	control->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
	if (!is_paged(mode))
		return;
	control->cr0 |= CR0_PG | CR0_WP;
	control->cr3 = cr3;
	control->cr4 |= mode == MODE_PAGED ? CR4_PSE : CR4_PAE;
	if (mode == MODE_LA57)
		control->cr4 |= CR4_LA57;
	if (is_long(mode))
		control->efer = EFER_LME | EFER_LMA | EFER_NXE;
}

void vcpu_set_mode(struct vcpu *vcpu, enum guest_mode mode)
{
	struct vm *vm = vcpu->vm;
	u64 cr3 = 0;

	vm->mode = mode;
	write_gdt(vm);
	write_tss(vm, is_long(mode));
	write_handlers(vm, mode);
	if (is_paged(mode))
		cr3 = write_tables(vm, mode);

	set_segments(vcpu, mode);
	set_control(vcpu, mode, cr3);
	memset(&vcpu->state.regs, 0, sizeof(vcpu->state.regs));
	vcpu->state.regs.rip = mode == MODE_REAL ? 0 : CODE_GPA;
	vcpu->state.regs.gpr[VMM_RSP] = STACK_TOP - (mode == MODE_REAL ? STACK_GPA : 0);
	vcpu->state.regs.rflags = FLAG_FIXED;
	vcpu_set(vcpu, VMM_STATE_REGS | VMM_STATE_SEGMENTS | VMM_STATE_CONTROL);
}

void vcpu_load_code(struct vcpu *vcpu, enum guest_mode mode, const void *code, size_t size)
{
	if (size > DATA_GPA - CODE_GPA)
		fail("%zu bytes of guest code are too many", size);
	memcpy(guest_ptr(vcpu->vm, CODE_GPA, size), code, size);
	vcpu_set_mode(vcpu, mode);
}

void vcpu_set_user(struct vcpu *vcpu)
{
	enum guest_mode mode = vcpu->vm->mode;
	int i;

	vcpu_get(vcpu, VMM_STATE_SEGMENTS | VMM_STATE_REGS);
	for (i = VMM_ES; i <= VMM_GS; i++)
		set_segment(vcpu, i, SEL_USER_DATA, 0, ~0, ATTR_DATA | ATTR_DPL3);
	if (mode == MODE_LONG || mode == MODE_LA57)
		set_segment(vcpu, VMM_CS, SEL_USER_CODE64, 0, ~0, ATTR_CODE64 | ATTR_DPL3);
	else
		set_segment(vcpu, VMM_CS, SEL_USER_CODE32, 0, ~0, ATTR_CODE32 | ATTR_DPL3);
	/* Below the stack that a change of level switches to */
	vcpu->state.regs.gpr[VMM_RSP] = STACK_TOP - 0x4000;
	vcpu_set(vcpu, VMM_STATE_SEGMENTS | VMM_STATE_REGS);
}

void guest_return_to(struct vm *vm, u64 rip)
{
	u64 frame = guest_trap(vm)->frame;

	if (vm->mode == MODE_REAL)
		guest_u16(vm, STACK_GPA + frame) = rip;
	else if (is_long(vm->mode))
		guest_u64(vm, frame) = rip;
	else
		guest_u32(vm, frame) = rip;
}
