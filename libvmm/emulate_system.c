// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: segment registers, descriptor tables, the machine status word, far
 * jumps to code segments.
 */
#include <errno.h>
#include <string.h>

#include "emulate.h"

#define TYPE_ACCESSED	0x1
#define TYPE_WRITABLE	0x2	/* data */
#define TYPE_READABLE	0x2	/* code */
#define TYPE_CONFORMING	0x4	/* code */
#define TYPE_CODE	0x8
#define TYPE_LDT	0x2
#define TYPE_TSS16	0x1
#define TYPE_TSS	0x9
#define TYPE_BUSY	0x2

#define CR0_MSW		0xfULL	/* what LMSW writes: PE, MP, EM, TS */

#define VECTOR_NP	11

/* A descriptor and where it lies */
struct descriptor {
	uint16_t selector;
	uint64_t linear;
	uint64_t low;
	uint64_t high;		/* of one of 16 bytes */
};

static bool protected_mode(const struct insn *insn)
{
	return (insn->control.cr0 & CR0_PE) && !(insn->regs.rflags & RFLAGS_VM);
}

static bool long_mode(const struct insn *insn)
{
	return insn->control.efer & EFER_LMA;
}

static unsigned int cpl(const struct insn *insn)
{
	return state_cpl(&insn->emulator->state);
}

/* User mode is not told of the kernel's tables, nor of CR0 (SDM vol. 3 2.5, CR4.UMIP) */
static bool umip_forbids(const struct insn *insn)
{
	return (insn->control.cr4 & CR4_UMIP) && cpl(insn);
}

static unsigned int dpl(uint16_t attr)
{
	return attr >> VMM_SEG_DPL_SHIFT & 3;
}

/* ---- descriptors ---- */

/* Tables are read as the supervisor */
static int read_descriptor(struct insn *insn, uint16_t selector, unsigned int bytes,
			   struct descriptor *descriptor)
{
	const struct vmm_segment *table;
	struct vmm_emulator *emulator = insn->emulator;
	uint32_t offset = selector & ~7U;
	int ret;

	table = &insn->segments.seg[selector & 4 ? VMM_LDTR : VMM_GDTR];
	if (((selector & 4) && !(table->attr & VMM_SEG_P)) || offset + bytes - 1 > table->limit)
		return insn_fault(insn, VECTOR_GP, true, selector & ~3U);
	descriptor->selector = selector;
	descriptor->linear = table->base + offset;
	descriptor->high = 0;
	ret = emulator->read(emulator->opaque, descriptor->linear, &descriptor->low, 8,
			     VMM_ACCESS_READ, &emulator->fault);
	if (!ret && bytes == 16)
		ret = emulator->read(emulator->opaque, descriptor->linear + 8, &descriptor->high,
				     8, VMM_ACCESS_READ, &emulator->fault);
	return ret;
}

/* Accessed or busy */
static int mark_descriptor(struct insn *insn, struct descriptor *descriptor, uint8_t type)
{
	struct vmm_emulator *emulator = insn->emulator;
	uint8_t byte;

	if ((descriptor->low >> 40 & type) == type)
		return 0;
	descriptor->low |= (uint64_t)type << 40;
	byte = descriptor->low >> 40 & 0xff;
	return emulator->write(emulator->opaque, descriptor->linear + 5, &byte, 1,
			       VMM_ACCESS_WRITE, &emulator->fault);
}

static uint16_t attributes(const struct descriptor *descriptor)
{
	return (descriptor->low >> 40 & 0xff) | (descriptor->low >> 52 & 0xf) << 8;
}

static void set_segment(struct insn *insn, int segment, const struct descriptor *descriptor)
{
	struct vmm_segment *seg = &insn->segments.seg[segment];

	seg->selector = descriptor->selector;
	seg->attr = attributes(descriptor);
	seg->base = (descriptor->low >> 16 & 0xffffff) | (descriptor->low >> 56) << 24 |
		    (descriptor->high & 0xffffffff) << 32;
	seg->limit = (descriptor->low & 0xffff) | (descriptor->low >> 48 & 0xf) << 16;
	if (seg->attr & VMM_SEG_G)
		seg->limit = seg->limit << 12 | 0xfff;
	insn->changed |= VMM_STATE_SEGMENTS;
}

static int bad_selector(struct insn *insn, uint8_t vector, uint16_t selector)
{
	return insn_fault(insn, vector, true, selector & ~3U);
}

/* ---- data and stack segments ---- */

static int load_null(struct insn *insn, int segment, uint16_t selector)
{
	struct vmm_segment *seg = &insn->segments.seg[segment];

	if (segment == VMM_SS &&
	    (insn->mode != 8 || cpl(insn) == 3 || (selector & 3) != cpl(insn)))
		return insn_fault(insn, VECTOR_GP, true, 0);
	*seg = (struct vmm_segment){ .selector = selector };
	/* The privilege level lives here. */
	if (segment == VMM_SS)
		seg->attr = cpl(insn) << VMM_SEG_DPL_SHIFT;
	insn->changed |= VMM_STATE_SEGMENTS;
	return 0;
}

static bool stack_segment_allowed(const struct insn *insn, uint16_t attr, uint16_t selector)
{
	return !(attr & TYPE_CODE) && (attr & TYPE_WRITABLE) && (selector & 3) == cpl(insn) &&
	       dpl(attr) == cpl(insn);
}

static bool data_segment_allowed(const struct insn *insn, uint16_t attr, uint16_t selector)
{
	if ((attr & TYPE_CODE) && !(attr & TYPE_READABLE))
		return false;
	if ((attr & TYPE_CODE) && (attr & TYPE_CONFORMING))
		return true;
	return dpl(attr) >= cpl(insn) && dpl(attr) >= (selector & 3);
}

static int load_protected(struct insn *insn, int segment, uint16_t selector)
{
	struct descriptor descriptor;
	uint16_t attr;
	bool allowed;
	int ret;

	if (!(selector & ~3U))
		return load_null(insn, segment, selector);
	ret = read_descriptor(insn, selector, 8, &descriptor);
	if (ret)
		return ret;
	attr = attributes(&descriptor);
	if (segment == VMM_SS)
		allowed = stack_segment_allowed(insn, attr, selector);
	else
		allowed = data_segment_allowed(insn, attr, selector);
	if (!(attr & VMM_SEG_S) || !allowed)
		return bad_selector(insn, VECTOR_GP, selector);
	if (!(attr & VMM_SEG_P))
		return bad_selector(insn, segment == VMM_SS ? VECTOR_SS : VECTOR_NP, selector);
	ret = mark_descriptor(insn, &descriptor, TYPE_ACCESSED);
	if (!ret)
		set_segment(insn, segment, &descriptor);
	return ret;
}

int insn_load_segment(struct insn *insn, int segment, uint16_t selector)
{
	struct vmm_segment *seg = &insn->segments.seg[segment];
	int ret = 0;

	if (protected_mode(insn)) {
		ret = load_protected(insn, segment, selector);
	} else {
		seg->selector = selector;
		seg->base = (uint64_t)selector << 4;
		insn->changed |= VMM_STATE_SEGMENTS;
	}
	if (!ret && segment == VMM_SS)
		insn->shadow = VMM_SHADOW_MOV_SS;
	return ret;
}

/* MOV to a segment register from memory */
static int move_to_segment(struct insn *insn)
{
	int segment = insn_segment(insn, 0), ret;
	uint64_t selector;

	if (segment < 0 || segment == VMM_CS)
		return -ENOSYS;
	ret = insn_read(insn, 1, &selector);
	return ret ? ret : insn_load_segment(insn, segment, selector & 0xffff);
}

/* ---- LDTR and TR ---- */

static int load_system(struct insn *insn, int segment)
{
	struct descriptor descriptor;
	uint64_t selector;
	uint16_t type;
	int ret;

	if (!protected_mode(insn))
		return insn_fault(insn, VECTOR_UD, false, 0);
	if (cpl(insn))
		return insn_fault(insn, VECTOR_GP, true, 0);
	ret = insn_read(insn, 0, &selector);
	if (ret)
		return ret;
	if (!(selector & ~3ULL)) {
		if (segment == VMM_TR)
			return insn_fault(insn, VECTOR_GP, true, 0);
		insn->segments.seg[segment] = (struct vmm_segment){ .selector = selector };
		insn->changed |= VMM_STATE_SEGMENTS;
		return 0;
	}
	if (selector & 4)
		return bad_selector(insn, VECTOR_GP, selector);
	ret = read_descriptor(insn, selector, long_mode(insn) ? 16 : 8, &descriptor);
	if (ret)
		return ret;
	type = attributes(&descriptor) & (VMM_SEG_TYPE | VMM_SEG_S);
	if (segment == VMM_LDTR ? type != TYPE_LDT :
	    type != TYPE_TSS && (type != TYPE_TSS16 || long_mode(insn)))
		return bad_selector(insn, VECTOR_GP, selector);
	if (!(attributes(&descriptor) & VMM_SEG_P))
		return bad_selector(insn, VECTOR_NP, selector);
	if (segment == VMM_TR)
		ret = mark_descriptor(insn, &descriptor, TYPE_BUSY);
	if (!ret)
		set_segment(insn, segment, &descriptor);
	return ret;
}

static int store_selector(struct insn *insn, int segment)
{
	if (!protected_mode(insn))
		return insn_fault(insn, VECTOR_UD, false, 0);
	if (umip_forbids(insn))
		return insn_fault(insn, VECTOR_GP, true, 0);
	return insn_write(insn, 0, insn->segments.seg[segment].selector);
}

/* ---- GDTR and IDTR: a limit of 16 bits, a base of 24, 32 or 64 ---- */

static int load_table(struct insn *insn, int segment)
{
	unsigned int bytes = insn->mode == 8 ? 8 : 4;
	struct vmm_segment *seg = &insn->segments.seg[segment];
	uint64_t linear, base = 0;
	uint8_t buf[10];
	int ret;

	if (cpl(insn))
		return insn_fault(insn, VECTOR_GP, true, 0);
	ret = insn_address(insn, 0, 0, 2 + bytes, false, &linear);
	if (!ret)
		ret = insn_read_unaligned(insn, linear, buf, 2 + bytes, false);
	if (ret)
		return ret;
	memcpy(&base, buf + 2, bytes);
	if (insn->mode != 8 && insn->z.operand_width == 16)
		base &= 0xffffff;
	if (bytes == 8 && !insn_canonical(insn, base))
		return insn_fault(insn, VECTOR_GP, true, 0);
	*seg = (struct vmm_segment){ .base = base, .limit = buf[0] | buf[1] << 8 };
	insn->changed |= VMM_STATE_SEGMENTS;
	return 0;
}

static int store_table(struct insn *insn, int segment)
{
	unsigned int bytes = insn->mode == 8 ? 8 : 4;
	const struct vmm_segment *seg = &insn->segments.seg[segment];
	uint64_t linear;
	uint8_t buf[10];
	int ret;

	if (umip_forbids(insn))
		return insn_fault(insn, VECTOR_GP, true, 0);
	buf[0] = seg->limit & 0xff;
	buf[1] = seg->limit >> 8 & 0xff;
	memcpy(buf + 2, &seg->base, bytes);
	ret = insn_address(insn, 0, 0, 2 + bytes, true, &linear);
	if (!ret)
		ret = insn_aligned(insn, linear, 4);
	return ret ? ret : insn_write_unaligned(insn, linear, buf, 2 + bytes);
}

/* ---- the machine status word ---- */

static int store_msw(struct insn *insn)
{
	if (umip_forbids(insn))
		return insn_fault(insn, VECTOR_GP, true, 0);
	return insn_write(insn, 0, insn->control.cr0);
}

/* PE can be set by it, but not cleared */
static int load_msw(struct insn *insn)
{
	uint64_t value;
	int ret;

	if (cpl(insn))
		return insn_fault(insn, VECTOR_GP, true, 0);
	ret = insn_read(insn, 0, &value);
	if (ret)
		return ret;
	value |= insn->control.cr0 & CR0_PE;
	insn->control.cr0 = (insn->control.cr0 & ~CR0_MSW) | (value & CR0_MSW);
	insn->changed |= VMM_STATE_CONTROL;
	return 0;
}

/* ---- far jumps and calls, to code segments; gates and tasks are not modelled ---- */

static int check_code(struct insn *insn, const struct descriptor *descriptor)
{
	uint16_t attr = attributes(descriptor), selector = descriptor->selector;
	bool allowed;

	if (!(attr & VMM_SEG_S))
		return -ENOSYS;
	if (attr & TYPE_CONFORMING)
		allowed = dpl(attr) <= cpl(insn);
	else
		allowed = dpl(attr) == cpl(insn) && (selector & 3) <= cpl(insn);
	if (!(attr & TYPE_CODE) || !allowed ||
	    (long_mode(insn) && (attr & VMM_SEG_L) && (attr & VMM_SEG_DB)))
		return bad_selector(insn, VECTOR_GP, selector);
	if (!(attr & VMM_SEG_P))
		return bad_selector(insn, VECTOR_NP, selector);
	return 0;
}

static int load_code(struct insn *insn, uint16_t selector)
{
	struct vmm_segment *cs = &insn->segments.seg[VMM_CS];
	struct descriptor descriptor;
	int ret;

	if (!protected_mode(insn)) {
		cs->selector = selector;
		cs->base = (uint64_t)selector << 4;
		insn->changed |= VMM_STATE_SEGMENTS;
		return 0;
	}
	if (!(selector & ~3U))
		return insn_fault(insn, VECTOR_GP, true, 0);
	ret = read_descriptor(insn, selector, 8, &descriptor);
	if (!ret)
		ret = check_code(insn, &descriptor);
	if (!ret)
		ret = mark_descriptor(insn, &descriptor, TYPE_ACCESSED);
	if (ret)
		return ret;
	descriptor.selector = (selector & ~3U) | cpl(insn);
	set_segment(insn, VMM_CS, &descriptor);
	return 0;
}

/* Memory holds the offset, of the operand's size, and the selector behind it */
static int jump_far(struct insn *insn, bool call)
{
	unsigned int bytes = insn->z.operand_width / 8;
	uint64_t linear, offset = 0, next = insn->regs.rip;
	const struct vmm_segment *cs = &insn->segments.seg[VMM_CS];
	uint16_t selector, back = cs->selector;
	uint8_t buf[10];
	int ret;

	if (insn->operands[0].type != ZYDIS_OPERAND_TYPE_MEMORY)
		return -ENOSYS;
	ret = insn_address(insn, 0, 0, bytes + 2, false, &linear);
	if (!ret)
		ret = insn_aligned(insn, linear, bytes);
	if (!ret)
		ret = insn_read_unaligned(insn, linear, buf, bytes + 2, false);
	if (ret)
		return ret;
	memcpy(&offset, buf, bytes);
	memcpy(&selector, buf + bytes, 2);
	ret = load_code(insn, selector);
	if (ret)
		return ret;
	if (long_mode(insn) && (cs->attr & VMM_SEG_L) ? !insn_canonical(insn, offset) :
	    offset > cs->limit)
		return insn_fault(insn, VECTOR_GP, true, 0);
	if (call) {
		ret = insn_push(insn, bytes, back);
		if (!ret)
			ret = insn_push(insn, bytes, next);
	}
	insn->regs.rip = offset;
	return ret;
}

int insn_system(struct insn *insn)
{
	switch (insn->z.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		return move_to_segment(insn);
	case ZYDIS_MNEMONIC_LLDT:
		return load_system(insn, VMM_LDTR);
	case ZYDIS_MNEMONIC_LTR:
		return load_system(insn, VMM_TR);
	case ZYDIS_MNEMONIC_SLDT:
		return store_selector(insn, VMM_LDTR);
	case ZYDIS_MNEMONIC_STR:
		return store_selector(insn, VMM_TR);
	case ZYDIS_MNEMONIC_LGDT:
		return load_table(insn, VMM_GDTR);
	case ZYDIS_MNEMONIC_LIDT:
		return load_table(insn, VMM_IDTR);
	case ZYDIS_MNEMONIC_SGDT:
		return store_table(insn, VMM_GDTR);
	case ZYDIS_MNEMONIC_SIDT:
		return store_table(insn, VMM_IDTR);
	case ZYDIS_MNEMONIC_SMSW:
		return store_msw(insn);
	case ZYDIS_MNEMONIC_LMSW:
		return load_msw(insn);
	case ZYDIS_MNEMONIC_CALL:
		return jump_far(insn, true);
	case ZYDIS_MNEMONIC_JMP:
		return jump_far(insn, false);
	default:
		return -ENOSYS;
	}
}
