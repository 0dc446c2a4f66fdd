// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: INS and OUTS. The module says port, width, count and address; the
 * data and the registers are ours to move. RIP is at the instruction, and
 * stays there until the last iteration is done.
 */
#include <errno.h>
#include <string.h>
#include <vmm/emulate.h>

#include "internal.h"

/* Iterations between two looks at signals and interrupts */
#define CHUNK	4096

static uint64_t address_mask(unsigned int address_size)
{
	return address_size >= 8 ? ~0ULL : (1ULL << (8 * address_size)) - 1;
}

/* A write of 32 bits clears the upper half, one of 16 bits leaves the rest */
static void set_gpr(__u64 *gpr, unsigned int address_size, uint64_t value)
{
	uint64_t mask = address_mask(address_size);

	*gpr = address_size == 2 ? (*gpr & ~mask) | (value & mask) : value & mask;
}

static int find_next_rip(struct vmm_vcpu *vcpu, const struct vmm_state *state, uint64_t *next)
{
	unsigned int length, mode = state_code_size(state);
	uint8_t bytes[15];

	*next = vcpu->run->exit.next_rip;
	if (!*next) {
		length = insn_length(bytes, vcpu_fetch(vcpu, state, bytes), mode);
		if (!length)
			return fail(&vcpu->message, -EILSEQ,
				    "string I/O: the instruction at %#llx cannot be read",
				    (unsigned long long)state->regs.rip);
		*next = state->regs.rip + length;
	}
	if (mode != 8)
		*next &= 0xffffffff;
	return 0;
}

/* One element: 0; 1 with @fault, and nothing moved; a negative errno */
static int move_element(struct vmm_vcpu *vcpu, const struct vmm_state *state,
			const struct vmm_exit_io *io, struct vmm_event *fault)
{
	uint32_t user = state_cpl(state) == 3 ? VMM_ACCESS_USER : 0;
	const __u64 *offset = &state->regs.gpr[io->in ? VMM_RDI : VMM_RSI];
	struct vmm_access access = {
		.address = io->port,
		.size = io->size,
		.write = !io->in,
	};
	uint64_t linear, gpa;
	int ret;

	if (state_linear(state, io->segment, *offset & address_mask(io->address_size), io->size,
			 io->in, &linear, fault) ||
	    state_aligned(state, linear, io->size, fault))
		return 1;
	if (!io->in) {
		ret = vcpu_read_linear(vcpu, linear, &access.data, io->size,
				       user | VMM_ACCESS_READ, fault);
		if (!ret)
			vcpu_insn_access(vcpu, VMM_BUS_IO, &access);
		return ret;
	}
	/* The device is not read before it is known that the data can be stored. */
	ret = vmm_vcpu_translate(vcpu, linear, user | VMM_ACCESS_WRITE, &gpa, fault);
	if (!ret && linear % PAGE_SIZE + io->size > PAGE_SIZE)
		ret = vmm_vcpu_translate(vcpu, linear + io->size - 1, user | VMM_ACCESS_WRITE,
					 &gpa, fault);
	if (ret)
		return ret;
	vcpu_insn_access(vcpu, VMM_BUS_IO, &access);
	return vcpu_write_linear(vcpu, linear, &access.data, io->size, user | VMM_ACCESS_WRITE,
				 fault);
}

/*
 * Iterations until all are done, a fault, a device that wants out, or a chunk is full, which is one
 * iteration where the guest steps
 */
static int move_elements(struct vmm_vcpu *vcpu, struct vmm_state *state,
			 const struct vmm_exit_io *io, uint64_t *left, struct vmm_event *fault)
{
	__u64 *index = &state->regs.gpr[io->in ? VMM_RDI : VMM_RSI];
	uint64_t step = state->regs.rflags & RFLAGS_DF ? -(uint64_t)io->size : io->size;
	unsigned int done, most = state->regs.rflags & RFLAGS_TF ? 1 : CHUNK;
	int ret;

	for (done = 0; *left && done < most && !vcpu->device_result; done++) {
		ret = move_element(vcpu, state, io, fault);
		if (ret)
			return ret;
		set_gpr(index, io->address_size, *index + step);
		(*left)--;
	}
	return 0;
}

static int string_io(struct vmm_vcpu *vcpu)
{
	/* A copy: the run area is shared, and the loop trusts these numbers. */
	const struct vmm_exit_io io = vcpu->run->exit.io;
	uint64_t left = io.count, next_rip;
	struct vmm_event fault;
	struct vmm_state state;
	bool shadow;
	int ret, err;

	err = vmm_vcpu_get_state(vcpu, VMM_STATE_REGS | VMM_STATE_SEGMENTS | VMM_STATE_CONTROL |
				 VMM_STATE_EVENTS, &state);
	if (!err)
		err = find_next_rip(vcpu, &state, &next_rip);
	if (err)
		return err;
	ret = move_elements(vcpu, &state, &io, &left, &fault);
	/* What is finished stays finished, whatever else went wrong. */
	if (io.rep)
		set_gpr(&state.regs.gpr[VMM_RCX], io.address_size, left);
	if (!ret && !left) {
		state.regs.rip = next_rip;
		state.regs.rflags &= ~RFLAGS_RF;
	} else {
		/*
		 * A breakpoint at it is not met again: not between iterations (SDM vol. 3
		 * 18.3.1.1), nor before the first, where the exit has taken RF away (28.3.3).
		 */
		state.regs.rflags |= RFLAGS_RF;
	}
	shadow = state.events.shadow && left != io.count;
	state.events.shadow = 0;
	state.events.flags = VMM_EVENTS_SHADOW;
	state.groups = VMM_STATE_REGS | (shadow ? VMM_STATE_EVENTS : 0);
	err = vmm_vcpu_set_state(vcpu, &state);
	if (ret < 0)
		return ret;
	if (err)
		return err;
	if (ret)
		return vcpu_inject_fault(vcpu, &fault);
	if (left != io.count || !io.count)
		err = vcpu_finish_insn(vcpu, state.regs.rflags);
	return err;
}

int vmm_vcpu_string_io(struct vmm_vcpu *vcpu)
{
	return vcpu_take_device_result(vcpu, string_io(vcpu));
}
