// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: guest memory as an instruction sees it: segments, pages, devices.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

#define MAX_PIECES	3	/* of an operand: 4,096 bytes and less touch two pages */

/* One page's part of a linear access */
struct piece {
	uint64_t gpa;
	size_t bytes;
	uint8_t *host;		/* NULL: a device */
};

unsigned int state_code_size(const struct vmm_state *state)
{
	uint16_t cs = state->segments.seg[VMM_CS].attr;

	if (!(state->control.cr0 & CR0_PE) || (state->regs.rflags & RFLAGS_VM))
		return 2;
	if ((state->control.efer & EFER_LMA) && (cs & VMM_SEG_L))
		return 8;
	return cs & VMM_SEG_DB ? 4 : 2;
}

unsigned int state_stack_size(const struct vmm_state *state)
{
	if (state_code_size(state) == 8)
		return 8;
	return state->segments.seg[VMM_SS].attr & VMM_SEG_DB ? 4 : 2;
}

unsigned int state_cpl(const struct vmm_state *state)
{
	if (!(state->control.cr0 & CR0_PE))
		return 0;
	if (state->regs.rflags & RFLAGS_VM)
		return 3;
	return state->segments.seg[VMM_SS].attr >> VMM_SEG_DPL_SHIFT & 3;
}

static bool canonical(const struct vmm_state *state, uint64_t address)
{
	int unused = state->control.cr4 & CR4_LA57 ? 7 : 16;

	return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

/*
 * A pointer to data in the lower half, without the bits that CR3 has the processor ignore (SDM
 * Vol. 3, 4.4): only one with LAM has such bits of CR3.
 */
static uint64_t without_tag(const struct vmm_state *state, uint64_t linear)
{
	int unused = state->control.cr3 & CR3_LAM_U57 ? 7 : 16;

	if (linear >> 63 || !(state->control.cr3 & (CR3_LAM_U57 | CR3_LAM_U48)))
		return linear;
	return (uint64_t)((int64_t)(linear << unused) >> unused) & ~(1ULL << 63);
}

/* May the segment be used so (SDM Vol. 3, 5.5; APM Vol. 2, 4.12)? */
static bool segment_allows(const struct vmm_state *state, const struct vmm_segment *seg,
			   uint64_t offset, size_t bytes, bool write)
{
	bool protected_mode = (state->control.cr0 & CR0_PE) && !(state->regs.rflags & RFLAGS_VM);
	uint64_t top = seg->attr & VMM_SEG_DB ? 0xffffffff : 0xffff;
	uint64_t last = offset + bytes - 1;
	bool code = seg->attr & 8;

	if (protected_mode) {
		if (!(seg->attr & VMM_SEG_P))
			return false;
		if (write && (code || !(seg->attr & 2)))
			return false;
		if (!write && code && !(seg->attr & 2))
			return false;
	}
	if (!code && (seg->attr & 4))		/* expands down */
		return offset > seg->limit && last <= top;
	return last <= seg->limit;
}

int state_linear(const struct vmm_state *state, unsigned int segment, uint64_t offset,
		 size_t bytes, bool write, uint64_t *linear, struct vmm_event *fault)
{
	const struct vmm_segment *seg = &state->segments.seg[segment];
	uint8_t vector = segment == VMM_SS ? VECTOR_SS : VECTOR_GP;

	if (state_code_size(state) == 8) {
		*linear = offset;
		if (segment == VMM_FS || segment == VMM_GS)
			*linear += seg->base;
		*linear = without_tag(state, *linear);
		if (!canonical(state, *linear) || !canonical(state, *linear + bytes - 1)) {
			set_fault(fault, vector, true, 0, 0);
			return 1;
		}
		return 0;
	}
	if (!segment_allows(state, seg, offset, bytes, write)) {
		set_fault(fault, vector, true, 0, 0);
		return 1;
	}
	*linear = (uint32_t)(seg->base + offset);
	return 0;
}

int state_aligned(const struct vmm_state *state, uint64_t linear, size_t alignment,
		  struct vmm_event *fault)
{
	if (!(linear & (alignment - 1)) || !(state->regs.rflags & RFLAGS_AC) ||
	    !(state->control.cr0 & CR0_AM) || state_cpl(state) != 3)
		return 0;
	set_fault(fault, VECTOR_AC, true, 0, 0);
	return 1;
}

/*
 * Translate all of an access before any of it happens.
 * Return: how many pieces; 0 with @fault; a negative errno.
 */
static int find_pieces(struct vmm_vcpu *vcpu, uint64_t linear, size_t bytes, uint32_t access,
		       struct piece pieces[MAX_PIECES], struct vmm_event *fault)
{
	int count = 0;

	while (bytes) {
		struct piece *piece = &pieces[count];
		size_t room = PAGE_SIZE - linear % PAGE_SIZE;
		int ret;

		if (count == MAX_PIECES)
			return fail(&vcpu->message, -EINVAL, "an access of more than two pages");
		ret = vmm_vcpu_translate(vcpu, linear, access, &piece->gpa, fault);
		if (ret)
			return ret < 0 ? ret : 0;
		piece->bytes = bytes < room ? bytes : room;
		piece->host = vmm_memory_at(vcpu->vm, piece->gpa, piece->bytes);
		linear += piece->bytes;
		bytes -= piece->bytes;
		count++;
	}
	return count;
}

/* Widest naturally aligned access that begins at @gpa and is not longer than @bytes */
static unsigned int device_width(uint64_t gpa, size_t bytes)
{
	unsigned int width = 8;

	while (width > bytes || gpa % width)
		width /= 2;
	return width;
}

static void device_piece(struct vmm_vcpu *vcpu, const struct piece *piece, void *to,
			 const void *from)
{
	size_t done, width;

	for (done = 0; done < piece->bytes; done += width) {
		struct vmm_access access = { .address = piece->gpa + done, .write = from };

		width = device_width(access.address, piece->bytes - done);
		access.size = width;
		if (from)
			memcpy(&access.data, (const uint8_t *)from + done, width);
		vcpu_insn_access(vcpu, VMM_BUS_MMIO, &access);
		if (to)
			memcpy((uint8_t *)to + done, &access.data, width);
	}
}

static bool readonly(struct vmm_vm *vm, uint64_t gpa)
{
	struct vmm_region region;
	unsigned int i;

	for (i = 0; vmm_memory_region(vm, i, &region); i++)
		if (gpa - region.gpa < region.bytes)
			return region.flags & VMM_MEMORY_READONLY;
	return false;
}

int vcpu_read_linear(struct vmm_vcpu *vcpu, uint64_t linear, void *buf, size_t bytes,
		     uint32_t access, struct vmm_event *fault)
{
	struct piece pieces[MAX_PIECES];
	int i, count;

	count = find_pieces(vcpu, linear, bytes, access, pieces, fault);
	if (count <= 0)
		return count < 0 ? count : 1;
	for (i = 0; i < count; i++) {
		if (pieces[i].host)
			memcpy(buf, pieces[i].host, pieces[i].bytes);
		else
			device_piece(vcpu, &pieces[i], buf, NULL);
		buf = (uint8_t *)buf + pieces[i].bytes;
	}
	return 0;
}

int vcpu_write_linear(struct vmm_vcpu *vcpu, uint64_t linear, const void *buf, size_t bytes,
		      uint32_t access, struct vmm_event *fault)
{
	struct piece pieces[MAX_PIECES];
	int i, count;

	count = find_pieces(vcpu, linear, bytes, access | VMM_ACCESS_WRITE, pieces, fault);
	if (count <= 0)
		return count < 0 ? count : 1;
	for (i = 0; i < count; i++) {
		if (pieces[i].host && !readonly(vcpu->vm, pieces[i].gpa)) {
			memcpy(pieces[i].host, buf, pieces[i].bytes);
			memory_written(vcpu->vm, pieces[i].gpa, pieces[i].bytes);
		} else {
			device_piece(vcpu, &pieces[i], NULL, buf);
		}
		buf = (const uint8_t *)buf + pieces[i].bytes;
	}
	return 0;
}

int vcpu_take_device_result(struct vmm_vcpu *vcpu, int ret)
{
	int answer = vcpu->device_result;

	vcpu->device_result = 0;
	return ret ? ret : answer;
}

int vmm_vcpu_read(struct vmm_vcpu *vcpu, uint64_t gva, void *buf, size_t bytes, uint32_t access,
		  struct vmm_event *fault)
{
	int ret = 0;

	for (; bytes && !ret; gva += PAGE_SIZE) {
		size_t part = bytes < PAGE_SIZE ? bytes : PAGE_SIZE;

		ret = vcpu_read_linear(vcpu, gva, buf, part, access | VMM_ACCESS_READ, fault);
		ret = vcpu_take_device_result(vcpu, ret);
		buf = (uint8_t *)buf + part;
		bytes -= part;
	}
	return ret;
}

int vmm_vcpu_write(struct vmm_vcpu *vcpu, uint64_t gva, const void *buf, size_t bytes,
		   uint32_t access, struct vmm_event *fault)
{
	size_t checked;
	uint64_t gpa;
	int ret;

	for (checked = 0; checked < bytes; checked += PAGE_SIZE - (gva + checked) % PAGE_SIZE) {
		ret = vmm_vcpu_translate(vcpu, gva + checked, access | VMM_ACCESS_WRITE, &gpa,
					 fault);
		if (ret)
			return ret;
	}
	for (ret = 0; bytes && !ret; gva += PAGE_SIZE) {
		size_t part = bytes < PAGE_SIZE ? bytes : PAGE_SIZE;

		ret = vcpu_write_linear(vcpu, gva, buf, part, access | VMM_ACCESS_WRITE, fault);
		ret = vcpu_take_device_result(vcpu, ret);
		buf = (const uint8_t *)buf + part;
		bytes -= part;
	}
	return ret;
}

size_t vcpu_fetch(struct vmm_vcpu *vcpu, const struct vmm_state *state, uint8_t bytes[15])
{
	uint32_t access = VMM_ACCESS_EXEC | (state_cpl(state) == 3 ? VMM_ACCESS_USER : 0);
	uint64_t linear = state->regs.rip, gpa;
	size_t count = 0, part;
	struct vmm_event fault;

	if (state_code_size(state) != 8)
		linear = (uint32_t)(state->segments.seg[VMM_CS].base + linear);
	while (count < 15) {
		part = PAGE_SIZE - (linear + count) % PAGE_SIZE;
		if (part > 15 - count)
			part = 15 - count;
		if (vmm_vcpu_translate(vcpu, linear + count, access, &gpa, &fault) ||
		    vmm_memory_read(vcpu->vm, gpa, bytes + count, part))
			break;
		count += part;
	}
	return count;
}

int vcpu_inject_fault(struct vmm_vcpu *vcpu, const struct vmm_event *fault)
{
	int err = vmm_vcpu_inject(vcpu, fault);

	if (err)
		return fail(&vcpu->message, err, "injecting exception %u: %s", fault->vector,
			    strerror(-err));
	return 0;
}

int vcpu_finish_insn(struct vmm_vcpu *vcpu, uint64_t rflags)
{
	struct vmm_event step;

	if (!(rflags & RFLAGS_TF))
		return 0;
	set_fault(&step, VECTOR_DB, false, 0, DR6_BS);
	return vcpu_inject_fault(vcpu, &step);
}
