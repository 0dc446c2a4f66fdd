// SPDX-License-Identifier: GPL-2.0-only
/* A VMM that watches: it tells of each write to one page of its guest, which notices nothing. */
#include <stdio.h>
#include <string.h>
#include <vmm/vmm.h>

#define WATCHED	0x2000

static const unsigned char guest[] = {		/* real mode, at 0x1000 */
	0xb9, 0x03, 0x00,			/* mov  $3, %cx */
	0xff, 0x06, 0x00, 0x20,			/* incw 0x2000 */
	0xff, 0x06, 0x00, 0x30,			/* incw 0x3000 */
	0xe2, 0xf6,				/* loop 0x1003 */
	0xf4,					/* hlt */
};

static int watch(void *opaque, struct vmm_vcpu *vcpu, const struct vmm_exit *exit)
{
	if (exit->reason != VMM_EXIT_ACCESS)
		return 1;
	printf("%#llx writes to %#llx\n", exit->rip, exit->access.gpa);
	vmm_vcpu_area(vcpu)->exit.access.once = 1;
	return 0;
}

int main(void)
{
	const struct vmm_ops ops = { .other = watch };
	struct vmm_vcpu *vcpu;
	struct vmm_vm *vm;
	struct vmm *vmm;
	uint32_t view;
	void *memory;

	if (vmm_open(NULL, &vmm) || vmm_vm_create(vmm, 0, &vm))
		return fprintf(stderr, "watchpage: %s\n", vmm_error(vmm)), 1;
	if (vmm_memory_add(vm, 0, 0x10000, 0, &memory) || vmm_vcpu_create(vm, 0, &vcpu) ||
	    vmm_view_create(vm, &view) ||
	    vmm_view_set_access(vm, view, WATCHED, 0x1000, VMM_ACCESS_READ | VMM_ACCESS_EXEC))
		return fprintf(stderr, "watchpage: %s\n", vmm_vm_error(vm)), 1;
	memcpy((char *)memory + 0x1000, guest, sizeof(guest));
	if (vmm_vcpu_set_view(vcpu, view) || vmm_vcpu_real_mode(vcpu, 0, 0x1000) ||
	    vmm_vcpu_run(vcpu, &ops, NULL) < 0)
		return fprintf(stderr, "watchpage: %s\n", vmm_vcpu_error(vcpu)), 1;
	printf("the word is %d\n", *(unsigned short *)((char *)memory + WATCHED));
	return vmm_vcpu_exit(vcpu)->reason != VMM_EXIT_HLT;
}
