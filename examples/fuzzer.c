// SPDX-License-Identifier: GPL-2.0-only
/*
 * A snapshot fuzzer, whole: its guest runs from one base state on one input after the other. After
 * each round only the pages that were written to are put back; how many they are also tells how
 * far an input has brought the guest.
 *
 * fuzzer [ROUNDS]: exit status 0 if the input that breaks the guest was found.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmm/vmm.h>

#define MEMORY		(16 << 20)
#define CODE		0x1000
#define INPUT		0x10000
#define LENGTH		6
#define RUNS		0x20000

/* It counts its runs, writes to one page further for each letter that it knows, and breaks. */
extern const char guest[], guest_end[];
asm(".pushsection .rodata\n"
    "guest: .code32\n"
    "	mov $0x10000, %esi\n"
    "	mov $0x20000, %edi\n"
    "	mov $0x1000 + letters - guest, %ebx\n"
    "	incl (%edi)\n"
    "1:	lodsb\n"
    "	cmp (%ebx), %al\n"
    "	jne 2f\n"
    "	add $0x1000, %edi\n"
    "	incl (%edi)\n"
    "	inc %ebx\n"
    "	cmpb $0, (%ebx)\n"
    "	jne 1b\n"
    "	ud2\n"			/* without an IDT: SHUTDOWN */
    "2:	hlt\n"
    "letters: .asciz \"sesame\"\n"
    "guest_end: .code64\n"
    ".popsection\n");

struct fuzzer {
	struct vmm *vmm;
	struct vmm_vm *vm;
	struct vmm_vcpu *vcpu;
	uint8_t *memory;
	uint8_t *base;			/* a copy of it, and */
	struct vmm_state state;		/* the vCPU's state with it */
	uint64_t pages;			/* that were put back */
};

static void put_back(void *opaque, uint64_t gpa, uint64_t bytes)
{
	struct fuzzer *f = opaque;

	memcpy(f->memory + gpa, f->base + gpa, bytes);
	f->pages += bytes / 4096;
}

static int reset(struct fuzzer *f)
{
	f->pages = 0;
	return vmm_memory_each_dirty(f->vm, 0, MEMORY, true, put_back, f) ||
	       vmm_vcpu_set_state(f->vcpu, &f->state);
}

static int start(struct fuzzer *f)
{
	if (vmm_open(NULL, &f->vmm) || vmm_vm_create(f->vmm, 0, &f->vm))
		return fprintf(stderr, "fuzzer: %s\n", vmm_error(f->vmm)), 1;
	if (vmm_memory_add(f->vm, 0, MEMORY, 0, (void **)&f->memory) ||
	    vmm_vcpu_create(f->vm, 0, &f->vcpu))
		return fprintf(stderr, "fuzzer: %s\n", vmm_vm_error(f->vm)), 1;
	memcpy(f->memory + CODE, guest, guest_end - guest);
	f->state.xsave.area_size = vmm_get_info(f->vmm)->xsave_size;
	f->state.xsave.area = (uintptr_t)calloc(1, f->state.xsave.area_size);
	f->base = malloc(MEMORY);
	if (vmm_vcpu_protected_mode(f->vcpu, CODE, NULL) ||
	    vmm_vcpu_get_state(f->vcpu, VMM_STATE_ALL & ~VMM_STATE_LAPIC, &f->state))
		return fprintf(stderr, "fuzzer: %s\n", vmm_vcpu_error(f->vcpu)), 1;
	memcpy(f->base, f->memory, MEMORY);
	if (vmm_memory_log(f->vm, 0, true))
		return fprintf(stderr, "fuzzer: %s\n", vmm_vm_error(f->vm)), 1;
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long round, rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 10000, found = 0;
	char best[LENGTH + 1] = "......", input[LENGTH + 1];
	struct fuzzer f = { };
	uint64_t most = 0, total = 0;

	if (start(&f))
		return 1;
	for (round = 1; round <= rounds; round++) {
		memcpy(input, best, sizeof(input));
		input[rand() % LENGTH] = 'a' + rand() % 26;
		/* This puts the page into the log, too. */
		if (vmm_memory_write(f.vm, INPUT, input, LENGTH) ||
		    vmm_vcpu_run(f.vcpu, NULL, NULL))
			return fprintf(stderr, "fuzzer: %s\n", vmm_vcpu_error(f.vcpu)), 1;
		if (*(uint32_t *)(f.memory + RUNS) != 1)
			return fprintf(stderr, "fuzzer: the guest has run before\n"), 1;
		if (vmm_vcpu_exit(f.vcpu)->reason == VMM_EXIT_SHUTDOWN && !found) {
			found = round;
			printf("%s breaks it, found in round %lu\n", input, round);
		}
		if (reset(&f))
			return fprintf(stderr, "fuzzer: cannot reset the guest\n"), 1;
		total += f.pages;
		if (f.pages > most) {
			most = f.pages;
			memcpy(best, input, sizeof(best));
		}
	}
	if (memcmp(f.memory, f.base, MEMORY))
		return fprintf(stderr, "fuzzer: the guest's memory is another\n"), 1;
	printf("%lu rounds, %lu pages put back\n", rounds, (unsigned long)total);
	vmm_vcpu_free(f.vcpu);
	vmm_vm_free(f.vm);
	vmm_close(f.vmm);
	return !found;
}
