// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: the emulator: decoding, operands, and its place in the run loop.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emulate.h"

/* @mode: 2, 4 or 8; @stack: bytes of the stack pointer, likewise, which no length depends on */
static int init_decoder(ZydisDecoder *decoder, unsigned int mode, unsigned int stack)
{
	ZydisStackWidth width;
	ZyanStatus status;

	if (stack == 8)
		width = ZYDIS_STACK_WIDTH_64;
	else
		width = stack == 4 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16;
	if (mode == 8)
		status = ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, width);
	else if (mode == 4)
		status = ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_32, width);
	else
		status = ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_16, width);
	return ZYAN_SUCCESS(status) ? 0 : -ENOTSUP;
}

unsigned int insn_length(const uint8_t *bytes, size_t count, unsigned int mode)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction z;
	ZydisDecoder decoder;

	if (init_decoder(&decoder, mode, mode) ||
	    !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, count, &z, operands)))
		return 0;
	return z.length;
}

/* ---- faults ---- */

int insn_fault(struct insn *insn, uint8_t vector, bool has_error, uint32_t error)
{
	set_fault(&insn->emulator->fault, vector, has_error, error, 0);
	return 1;
}

int insn_unsupported(struct insn *insn)
{
	char *text = insn->emulator->message;
	size_t size = sizeof(insn->emulator->message);
	ZydisFormatter formatter;
	char name[96];

	if (!ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
	    !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &insn->z, insn->operands,
							  insn->z.operand_count_visible, name,
							  sizeof(name),
							  insn->emulator->state.regs.rip, NULL)))
		snprintf(name, sizeof(name), "?");
	snprintf(text, size, "not emulated: %s", name);
	return -ENOSYS;
}

/* ---- registers ---- */

uint64_t insn_get(const struct insn *insn, unsigned int index, unsigned int bytes)
{
	return insn->regs.gpr[index] & size_mask(bytes);
}

void insn_set(struct insn *insn, unsigned int index, unsigned int bytes, uint64_t value)
{
	__u64 *gpr = &insn->regs.gpr[index];

	if (bytes >= 4)
		*gpr = value & size_mask(bytes);
	else
		*gpr = (*gpr & ~size_mask(bytes)) | (value & size_mask(bytes));
}

/* Number and size of a general register, and whether it is AH, CH, DH or BH */
static bool find_gpr(ZydisRegister reg, unsigned int *index, unsigned int *bytes, bool *high)
{
	*high = false;
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
		/* In the enumeration the four high bytes stand between BL and SPL. */
		*index = reg - ZYDIS_REGISTER_AL;
		*high = *index >= 4 && *index < 8;
		if (*index >= 4)
			*index -= 4;
		*bytes = 1;
		return true;
	case ZYDIS_REGCLASS_GPR16:
		*index = reg - ZYDIS_REGISTER_AX;
		*bytes = 2;
		return true;
	case ZYDIS_REGCLASS_GPR32:
		*index = reg - ZYDIS_REGISTER_EAX;
		*bytes = 4;
		return true;
	case ZYDIS_REGCLASS_GPR64:
		*index = reg - ZYDIS_REGISTER_RAX;
		*bytes = 8;
		return true;
	default:
		return false;
	}
}

uint64_t insn_get_gpr(const struct insn *insn, ZydisRegister reg)
{
	unsigned int index, bytes;
	bool high;

	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP || reg == ZYDIS_REGISTER_IP)
		return insn->emulator->state.regs.rip + insn->z.length;
	if (!find_gpr(reg, &index, &bytes, &high))
		return 0;
	if (high)
		return insn->regs.gpr[index] >> 8 & 0xff;
	return insn_get(insn, index, bytes);
}

void insn_set_gpr(struct insn *insn, ZydisRegister reg, uint64_t value)
{
	unsigned int index, bytes;
	bool high;

	if (!find_gpr(reg, &index, &bytes, &high))
		return;
	if (high)
		insn->regs.gpr[index] = (insn->regs.gpr[index] & ~0xff00ULL) | (value & 0xff) << 8;
	else
		insn_set(insn, index, bytes, value);
}

/* ---- memory ---- */

static int find_segment(ZydisRegister reg)
{
	switch (reg) {
	case ZYDIS_REGISTER_ES:
		return VMM_ES;
	case ZYDIS_REGISTER_CS:
		return VMM_CS;
	case ZYDIS_REGISTER_SS:
		return VMM_SS;
	case ZYDIS_REGISTER_FS:
		return VMM_FS;
	case ZYDIS_REGISTER_GS:
		return VMM_GS;
	default:
		return VMM_DS;
	}
}

int insn_segment(const struct insn *insn, unsigned int nr)
{
	const ZydisDecodedOperand *operand = &insn->operands[nr];

	if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER ||
	    ZydisRegisterGetClass(operand->reg.value) != ZYDIS_REGCLASS_SEGMENT)
		return -1;
	return find_segment(operand->reg.value);
}

bool insn_canonical(const struct insn *insn, uint64_t address)
{
	unsigned int unused = insn->control.cr4 & CR4_LA57 ? 7 : 16;

	return (int64_t)(address << unused) >> unused == (int64_t)address;
}

int insn_address(struct insn *insn, unsigned int nr, int64_t displacement, size_t bytes,
		 bool write, uint64_t *linear)
{
	const ZydisDecodedOperandMem *mem = &insn->operands[nr].mem;
	uint64_t offset = 0;

	if (mem->type != ZYDIS_MEMOP_TYPE_MEM)
		return insn_unsupported(insn);
	if (mem->base != ZYDIS_REGISTER_NONE)
		offset += insn_get_gpr(insn, mem->base);
	if (mem->index != ZYDIS_REGISTER_NONE)
		offset += insn_get_gpr(insn, mem->index) * mem->scale;
	if (mem->disp.has_displacement)
		offset += mem->disp.value;
	offset = (offset + displacement) & size_mask(insn->z.address_width / 8);
	return state_linear(&insn->emulator->state, find_segment(mem->segment), offset, bytes,
			    write, linear, &insn->emulator->fault);
}

int insn_aligned(struct insn *insn, uint64_t linear, size_t alignment)
{
	return state_aligned(&insn->emulator->state, linear, alignment, &insn->emulator->fault);
}

int insn_read_unaligned(struct insn *insn, uint64_t linear, void *buf, size_t bytes,
			bool for_write)
{
	struct vmm_emulator *emulator = insn->emulator;
	uint32_t access = VMM_ACCESS_READ | insn->user | (for_write ? VMM_ACCESS_WRITE : 0);

	return emulator->read(emulator->opaque, linear, buf, bytes, access, &emulator->fault);
}

int insn_write_unaligned(struct insn *insn, uint64_t linear, const void *buf, size_t bytes)
{
	struct vmm_emulator *emulator = insn->emulator;

	return emulator->write(emulator->opaque, linear, buf, bytes,
			       VMM_ACCESS_WRITE | insn->user, &emulator->fault);
}

int insn_read_memory(struct insn *insn, uint64_t linear, void *buf, size_t bytes, bool for_write)
{
	int ret = bytes <= 8 ? insn_aligned(insn, linear, bytes) : 0;

	return ret ? ret : insn_read_unaligned(insn, linear, buf, bytes, for_write);
}

int insn_write_memory(struct insn *insn, uint64_t linear, const void *buf, size_t bytes)
{
	int ret = bytes <= 8 ? insn_aligned(insn, linear, bytes) : 0;

	return ret ? ret : insn_write_unaligned(insn, linear, buf, bytes);
}

/* ---- operands ---- */

unsigned int insn_size(const struct insn *insn, unsigned int nr)
{
	return insn->operands[nr].size / 8;
}

static int read_operand(struct insn *insn, unsigned int nr, uint64_t *value, bool for_write)
{
	const ZydisDecodedOperand *operand = &insn->operands[nr];
	unsigned int bytes = insn_size(insn, nr);
	uint64_t linear;
	int ret, segment = insn_segment(insn, nr);

	*value = 0;
	switch (operand->type) {
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		*value = operand->imm.value.u;
		return 0;
	case ZYDIS_OPERAND_TYPE_REGISTER:
		if (segment >= 0)
			*value = insn->segments.seg[segment].selector;
		else
			*value = insn_get_gpr(insn, operand->reg.value);
		return 0;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (bytes > 8)
			return insn_unsupported(insn);
		ret = insn_address(insn, nr, 0, bytes, for_write, &linear);
		return ret ? ret : insn_read_memory(insn, linear, value, bytes, for_write);
	default:
		return insn_unsupported(insn);
	}
}

int insn_read(struct insn *insn, unsigned int nr, uint64_t *value)
{
	return read_operand(insn, nr, value, false);
}

int insn_read_for_write(struct insn *insn, unsigned int nr, uint64_t *value)
{
	return read_operand(insn, nr, value, true);
}

int insn_write(struct insn *insn, unsigned int nr, uint64_t value)
{
	const ZydisDecodedOperand *operand = &insn->operands[nr];
	unsigned int bytes = insn_size(insn, nr);
	uint64_t linear;
	int ret;

	if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER) {
		if (insn_segment(insn, nr) >= 0)
			return -ENOSYS;
		insn_set_gpr(insn, operand->reg.value, value);
		return 0;
	}
	if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY || bytes > 8)
		return insn_unsupported(insn);
	ret = insn_address(insn, nr, 0, bytes, true, &linear);
	return ret ? ret : insn_write_memory(insn, linear, &value, bytes);
}

/* ---- one instruction ---- */

static int carry_out(struct insn *insn)
{
	int ret;

	if (insn->z.meta.category == ZYDIS_CATEGORY_STRINGOP)
		return insn_string(insn);
	ret = insn_integer(insn);
	if (ret == -ENOSYS)
		ret = insn_stack(insn);
	if (ret == -ENOSYS)
		ret = insn_system(insn);
	if (ret == -ENOSYS)
		ret = insn_vector(insn);
	return ret == -ENOSYS ? insn_unsupported(insn) : ret;
}

static int emulate_bytes(struct vmm_emulator *emulator, const uint8_t *bytes, size_t count,
			 const int *stop)
{
	struct vmm_state *state = &emulator->state;
	struct insn insn = {
		.emulator = emulator,
		.regs = state->regs,
		.segments = state->segments,
		.control = state->control,
		.stop = stop,
	};
	ZydisDecoder decoder;
	int ret;

	emulator->message[0] = 0;
	emulator->changed = 0;
	insn.mode = state_code_size(state);
	insn.user = state_cpl(state) == 3 ? VMM_ACCESS_USER : 0;
	if (init_decoder(&decoder, insn.mode, state_stack_size(state)) ||
	    !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, count, &insn.z,
						 insn.operands))) {
		snprintf(emulator->message, sizeof(emulator->message), "no instruction at RIP");
		return -EILSEQ;
	}
	insn.regs.rip += insn.z.length;
	insn.regs.rflags &= ~RFLAGS_RF;
	ret = carry_out(&insn);
	if (ret) {
		if (emulator->xstate)
			emulator->xstate->dirty = false;
		return ret;
	}
	state->regs = insn.regs;
	state->segments = insn.segments;
	state->control = insn.control;
	state->events.shadow = insn.shadow;
	/* A far jump may have changed the mode. What keeps 16-bit code low is the limit. */
	if (state_code_size(state) != 8)
		state->regs.rip &= size_mask(4);
	emulator->changed = insn.changed;
	return 0;
}

int vmm_emulate(struct vmm_emulator *emulator, const uint8_t *bytes, size_t count)
{
	return emulate_bytes(emulator, bytes, count, NULL);
}

/* ---- on a vCPU ---- */

static int vcpu_read(void *opaque, uint64_t linear, void *buf, size_t bytes, uint32_t access,
		     struct vmm_event *fault)
{
	return vcpu_read_linear(opaque, linear, buf, bytes, access, fault);
}

static int vcpu_write(void *opaque, uint64_t linear, const void *buf, size_t bytes,
		      uint32_t access, struct vmm_event *fault)
{
	return vcpu_write_linear(opaque, linear, buf, bytes, access, fault);
}

/* Where a component lies in the standard format; the CPU says, and so for every guest on it */
static uint32_t component_offset(uint64_t xcr0, unsigned int component)
{
	uint32_t size, offset, ecx, edx;

	if (!(xcr0 & 1ULL << component))
		return 0;
	if (!__get_cpuid_count(0xd, component, &size, &offset, &ecx, &edx))
		return 0;
	return (uint64_t)offset + size <= VMM_EMULATE_XSAVE ? offset : 0;
}

static int vcpu_load_xstate(void *opaque, struct vmm_emulator_xstate *xstate)
{
	struct vmm_vcpu *vcpu = opaque;
	struct vmm_state state;
	int err;

	if (vcpu->vm->vmm->info.xsave_size > VMM_EMULATE_XSAVE)
		return fail(&vcpu->message, -ENOSYS, "extended state of %u bytes",
			    vcpu->vm->vmm->info.xsave_size);
	state.xsave.area = (uintptr_t)xstate->area;
	state.xsave.area_size = VMM_EMULATE_XSAVE;
	err = vmm_vcpu_get_state(vcpu, VMM_STATE_XSAVE, &state);
	if (err)
		return err;
	xstate->avx = component_offset(state.xsave.xcr0, 2);
	xstate->opmask = component_offset(state.xsave.xcr0, 5);
	xstate->zmm_hi256 = component_offset(state.xsave.xcr0, 6);
	xstate->hi16_zmm = component_offset(state.xsave.xcr0, 7);
	return 0;
}

/* XCR0 and XSS go back as they came */
static int store_xstate(struct vmm_vcpu *vcpu, struct vmm_emulator_xstate *xstate)
{
	struct vmm_state state = { .xsave.area = 0 };
	int err = vmm_vcpu_get_state(vcpu, VMM_STATE_XSAVE, &state);

	if (err)
		return err;
	state.xsave.area = (uintptr_t)xstate->area;
	state.xsave.area_size = vcpu->vm->vmm->info.xsave_size;
	return vmm_vcpu_set_state(vcpu, &state);
}

static int store(struct vmm_vcpu *vcpu, struct vmm_emulator *emulator, uint8_t shadow)
{
	int err;

	emulator->state.groups = VMM_STATE_REGS | emulator->changed;
	if (shadow != emulator->state.events.shadow) {
		emulator->state.groups |= VMM_STATE_EVENTS;
		emulator->state.events.flags = VMM_EVENTS_SHADOW;
	}
	err = vmm_vcpu_set_state(vcpu, &emulator->state);
	if (!err && emulator->xstate->dirty)
		err = store_xstate(vcpu, emulator->xstate);
	return err;
}

static int finish(struct vmm_vcpu *vcpu, struct vmm_emulator *emulator, uint64_t rflags,
		  uint8_t shadow)
{
	int err = store(vcpu, emulator, shadow);

	return err ? err : vcpu_finish_insn(vcpu, rflags);
}

static int emulate_exit(struct vmm_vcpu *vcpu)
{
	const struct vmm_exit_emulate exit = vcpu->run->exit.emulate;
	struct vmm_emulator_xstate xstate;
	struct vmm_emulator emulator = {
		.read = vcpu_read,
		.write = vcpu_write,
		.load_xstate = vcpu_load_xstate,
		.xstate = &xstate,
		.opaque = vcpu,
	};
	size_t count = exit.length < 16 ? exit.length : 15;
	uint8_t bytes[15];
	uint64_t rflags;
	uint8_t shadow;
	int ret;

	xstate.dirty = false;
	ret = vmm_vcpu_get_state(vcpu, VMM_STATE_REGS | VMM_STATE_SEGMENTS | VMM_STATE_CONTROL |
				 VMM_STATE_EVENTS, &emulator.state);
	if (ret)
		return ret;
	memcpy(bytes, exit.bytes, count);
	if (!count)
		count = vcpu_fetch(vcpu, &emulator.state, bytes);
	if (!count)
		return fail(&vcpu->message, -EFAULT,
			    "the guest executes at %#llx (guest-physical %#llx), which is no memory",
			    (unsigned long long)vcpu->run->exit.rip,
			    (unsigned long long)exit.gpa);
	shadow = emulator.state.events.shadow;
	rflags = emulator.state.regs.rflags;
	ret = emulate_bytes(&emulator, bytes, count, &vcpu->device_result);
	if (ret == -EILSEQ && count < 15) {
		/* The module had not all of it. */
		count = vcpu_fetch(vcpu, &emulator.state, bytes);
		ret = emulate_bytes(&emulator, bytes, count, &vcpu->device_result);
	}
	switch (ret) {
	case 0:
		return finish(vcpu, &emulator, rflags, shadow);
	case 1:
		ret = store(vcpu, &emulator, shadow);
		return ret ? ret : vcpu_inject_fault(vcpu, &emulator.fault);
	case -EILSEQ:
		set_fault(&emulator.fault, VECTOR_UD, false, 0, 0);
		return vcpu_inject_fault(vcpu, &emulator.fault);
	default:
		/* Some iterations of a string instruction may be done. */
		store(vcpu, &emulator, shadow);
		/* If it has none the text is that of the access which failed. */
		if (emulator.message[0])
			fail(&vcpu->message, ret, "%s", emulator.message);
		return ret;
	}
}

int vmm_vcpu_emulate(struct vmm_vcpu *vcpu)
{
	return vcpu_take_device_result(vcpu, emulate_exit(vcpu));
}
