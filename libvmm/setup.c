// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: the states that boot protocols start a CPU in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define CODE_TYPE	0xb	/* execute, read, accessed */
#define DATA_TYPE	0x3	/* read, write, accessed */
#define TSS_TYPE	0xb	/* busy TSS of 32 or 64 bits */
#define TSS16_TYPE	0x3
#define LDT_TYPE	0x2

#define PTE_PRESENT	(1ULL << 0)
#define PTE_WRITE	(1ULL << 1)
#define PTE_LARGE	(1ULL << 7)

static void set_segment(struct vmm_state *state, int index, uint16_t selector, uint64_t base,
			uint32_t limit, uint16_t attr)
{
	state->segments.seg[index] = (struct vmm_segment){
		.base = base,
		.limit = limit,
		.selector = selector,
		.attr = attr,
	};
}

static void set_data_segments(struct vmm_state *state, uint16_t selector, uint32_t limit,
			      uint16_t attr)
{
	static const int data[] = { VMM_ES, VMM_SS, VMM_DS, VMM_FS, VMM_GS };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(data); i++)
		set_segment(state, data[i], selector, 0, limit,
			    attr | VMM_SEG_P | VMM_SEG_S | DATA_TYPE);
}

/*
 * Start from what the vCPU has, so that whatever is not named here (CR2, the
 * TPR, the debug registers) keeps its power-on value.
 */
static int read_state(struct vmm_vcpu *vcpu, struct vmm_state *state)
{
	int err = vmm_vcpu_get_state(vcpu, VMM_STATE_REGS | VMM_STATE_SEGMENTS | VMM_STATE_CONTROL,
				     state);

	if (err)
		return err;
	memset(&state->regs, 0, sizeof(state->regs));
	state->regs.rflags = RFLAGS_FIXED;
	return 0;
}

int vmm_vcpu_real_mode(struct vmm_vcpu *vcpu, uint16_t cs, uint16_t ip)
{
	struct vmm_state state;
	int err = read_state(vcpu, &state);

	if (err)
		return err;
	set_data_segments(&state, 0, 0xffff, 0);
	set_segment(&state, VMM_CS, cs, (uint64_t)cs << 4, 0xffff,
		    VMM_SEG_P | VMM_SEG_S | CODE_TYPE);
	set_segment(&state, VMM_LDTR, 0, 0, 0xffff, VMM_SEG_P | LDT_TYPE);
	set_segment(&state, VMM_TR, 0, 0, 0xffff, VMM_SEG_P | TSS16_TYPE);
	set_segment(&state, VMM_GDTR, 0, 0, 0xffff, 0);
	set_segment(&state, VMM_IDTR, 0, 0, 0xffff, 0);
	state.regs.rip = ip;
	state.control.cr0 = CR0_ET;
	state.control.cr4 = 0;
	state.control.efer = 0;
	return vmm_vcpu_set_state(vcpu, &state);
}

static void set_flat_segments(struct vmm_state *state, uint16_t code_attr)
{
	set_data_segments(state, 0x10, 0xffffffff, VMM_SEG_G | VMM_SEG_DB);
	set_segment(state, VMM_CS, 0x8, 0, 0xffffffff,
		    VMM_SEG_P | VMM_SEG_S | VMM_SEG_G | code_attr | CODE_TYPE);
	set_segment(state, VMM_LDTR, 0, 0, 0xffff, VMM_SEG_P | LDT_TYPE);
	set_segment(state, VMM_TR, 0, 0, 0xffff, VMM_SEG_P | TSS_TYPE);
	set_segment(state, VMM_GDTR, 0, 0, 0, 0);
	set_segment(state, VMM_IDTR, 0, 0, 0, 0);
}

int vmm_vcpu_protected_mode(struct vmm_vcpu *vcpu, uint32_t eip, const struct vmm_regs *regs)
{
	struct vmm_state state;
	int err = read_state(vcpu, &state);

	if (err)
		return err;
	set_flat_segments(&state, VMM_SEG_DB);
	if (regs)
		memcpy(state.regs.gpr, regs->gpr, sizeof(regs->gpr));
	state.regs.rip = eip;
	state.control.cr0 = CR0_ET | CR0_PE;
	state.control.cr4 = 0;
	state.control.efer = 0;
	return vmm_vcpu_set_state(vcpu, &state);
}

int vmm_vcpu_long_mode(struct vmm_vcpu *vcpu, uint64_t rip, uint64_t cr3,
		       const struct vmm_regs *regs)
{
	struct vmm_state state;
	int err = read_state(vcpu, &state);

	if (err)
		return err;
	set_flat_segments(&state, VMM_SEG_L);
	if (regs)
		memcpy(state.regs.gpr, regs->gpr, sizeof(regs->gpr));
	state.regs.rip = rip;
	state.control.cr0 = CR0_ET | CR0_NE | CR0_WP | CR0_PE | CR0_PG;
	state.control.cr3 = cr3;
	state.control.cr4 = CR4_PAE;
	state.control.efer = EFER_LME | EFER_LMA;
	return vmm_vcpu_set_state(vcpu, &state);
}

static void fill_tables(uint64_t *pml4, uint64_t gpa, unsigned int gigabytes)
{
	uint64_t *pdpt = pml4 + 512, *pd = pdpt + 512;
	unsigned int i;

	pml4[0] = (gpa + PAGE_SIZE) | PTE_PRESENT | PTE_WRITE;
	for (i = 0; i < gigabytes; i++)
		pdpt[i] = (gpa + (2 + i) * PAGE_SIZE) | PTE_PRESENT | PTE_WRITE;
	for (i = 0; i < gigabytes * 512; i++)
		pd[i] = ((uint64_t)i << 21) | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
}

int vmm_identity_map(struct vmm_vm *vm, uint64_t gpa, unsigned int gigabytes)
{
	uint64_t bytes = (2ULL + gigabytes) * PAGE_SIZE;
	uint64_t *tables;
	int err;

	if (!gigabytes || gigabytes > 512 || gpa % PAGE_SIZE)
		return fail(&vm->message, -EINVAL,
			    "page tables for %u gigabytes at %#llx: out of range or misaligned",
			    gigabytes, (unsigned long long)gpa);
	tables = calloc(1, bytes);
	if (!tables)
		return fail(&vm->message, -ENOMEM, "out of memory");
	fill_tables(tables, gpa, gigabytes);
	err = memory_place(vm, gpa, tables, bytes, bytes);
	free(tables);
	if (err)
		return fail(&vm->message, err, "%s for page tables at %#llx",
			    err == -EACCES ? "read-only memory" : "no guest memory",
			    (unsigned long long)gpa);
	return 0;
}
