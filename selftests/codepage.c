// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the CPU does not tell the length of an instruction, the module remembers by
 * which entries it got to the page of the last one. Here that page becomes another
 * one, in each way there is, between two CPUID of different lengths.
 */
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define GVA		0x400000ULL
#define PAGE_A		0x60000
#define PAGE_B		0x61000
#define OTHER_TABLES	0x62000		/* four */
#define SLOT_GPA	0x10000000
#define TIMES		8

/* HLT follows, so that a length taken for another one is seen. */
static const u8 cpuid_2[] = { 0x0f, 0xa2, 0xc3, 0xf4, 0xf4 };		/* cpuid; ret */
static const u8 cpuid_3[] = { 0x48, 0x0f, 0xa2, 0xc3, 0xf4 };		/* with REX */

GUEST_CODE(caller, 64,
	   "1: mov %rbx, %cr3\n"
	   "invlpg (%rdi)\n"
	   "call *%rdi\n"
	   "out %al, $PORT_DONE\n"
	   "mov %rsi, %rbx\n"
	   "jmp 1b\n");

/* At the beginning RBX is CR3; CPUID destroys it, RSI is what the next round takes. */
FIXTURE(codepage) {
	struct vm *vm;
	struct vcpu *vcpu;
	u64 cr3;
};

FIXTURE_SETUP(codepage)
{
	struct vcpu *vcpu;

	self->vm = vm_create(LOW_MEMORY, 0);
	vcpu = vcpu_create(self->vm, 0);
	self->vcpu = vcpu;
	vcpu_load(vcpu, MODE_LONG, caller);
	vcpu_get(vcpu, VMM_STATE_REGS | VMM_STATE_CONTROL);
	self->cr3 = vcpu->state.control.cr3;
	vcpu->state.regs.gpr[VMM_RDI] = GVA;
	vcpu->state.regs.gpr[VMM_RBX] = self->cr3;
	vcpu->state.regs.gpr[VMM_RSI] = self->cr3;
	vcpu_set(vcpu, VMM_STATE_REGS);
	memcpy(guest_ptr(self->vm, PAGE_A, 8), cpuid_2, sizeof(cpuid_2));
	memcpy(guest_ptr(self->vm, PAGE_B, 8), cpuid_3, sizeof(cpuid_3));
	guest_map(self->vm, GVA, PAGE_A, PTE_P | PTE_RW);
}

FIXTURE_TEARDOWN(codepage)
{
	vm_destroy(self->vm);
}

/* The guest's last entry */
TEST_F(codepage, remapped)
{
	int i;

	for (i = 0; i < TIMES; i++) {
		guest_map(self->vm, GVA, i & 1 ? PAGE_B : PAGE_A, PTE_P | PTE_RW);
		run_done(self->vcpu);
	}
}

/* A table on the way, and the root itself */
TEST_F(codepage, other_tables)
{
	u64 from = self->cr3, to = OTHER_TABLES;
	struct vcpu *vcpu = self->vcpu;
	int level, i;

	for (level = 4; level >= 1; level--, to += PAGE) {
		u64 index = (GVA >> (12 + 9 * (level - 1)) & 511) * 8;

		memcpy(guest_ptr(self->vm, to, PAGE), guest_ptr(self->vm, from, PAGE), PAGE);
		from = guest_u64(self->vm, from + index) & ~0xfffULL & ~PTE_NX;
		guest_u64(self->vm, to + index) =
			(level > 1 ? to + PAGE : PAGE_B) | PTE_P | PTE_RW | PTE_US;
	}
	for (i = 0; i < TIMES; i++) {
		vcpu_get(vcpu, VMM_STATE_REGS);
		vcpu->state.regs.gpr[VMM_RSI] = i & 1 ? self->cr3 : OTHER_TABLES;
		vcpu_set(vcpu, VMM_STATE_REGS);
		run_done(vcpu);
	}
}

/* The host's memory under the page */
TEST_F(codepage, other_memory)
{
	u8 *at = guest_ptr(self->vm, PAGE_A, PAGE);
	int i;

	for (i = 0; i < TIMES; i++) {
		ASSERT_NE(MAP_FAILED, mmap(at, PAGE, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		memcpy(at, i & 1 ? cpuid_3 : cpuid_2, sizeof(cpuid_2));
		run_done(self->vcpu);
	}
}

/* The slot */
TEST_F(codepage, other_slot)
{
	u8 *pages = map_memory(2 * PAGE);
	int i;

	memcpy(pages, cpuid_2, sizeof(cpuid_2));
	memcpy(pages + PAGE, cpuid_3, sizeof(cpuid_3));
	guest_map(self->vm, GVA, SLOT_GPA, PTE_P | PTE_RW);
	for (i = 0; i < TIMES; i++) {
		ASSERT_EQ(0, vm_set_slot(self->vm, 1, SLOT_GPA, PAGE, pages + (i & 1) * PAGE, 0));
		run_done(self->vcpu);
	}
	munmap(pages, 2 * PAGE);
}

/* The code itself */
TEST_F(codepage, other_code)
{
	u8 *at = guest_ptr(self->vm, PAGE_A, PAGE);
	int i;

	for (i = 0; i < TIMES; i++) {
		memcpy(at, i & 1 ? cpuid_3 : cpuid_2, sizeof(cpuid_2));
		run_done(self->vcpu);
	}
}

TEST_HARNESS_MAIN
