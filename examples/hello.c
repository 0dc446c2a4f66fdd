// SPDX-License-Identifier: GPL-2.0-only
/* A whole VMM: its guest says hello through a port, then halts. */
#include <stdio.h>
#include <string.h>
#include <vmm/vmm.h>

static const unsigned char guest[] = {		/* real mode, at 0x1000 */
	0xbe, 0x0c, 0x10,			/* mov  $message, %si */
	0xb9, 0x06, 0x00,			/* mov  $6, %cx */
	0xba, 0xf8, 0x03,			/* mov  $0x3f8, %dx */
	0xf3, 0x6e,				/* rep  outsb */
	0xf4,					/* hlt */
	'h', 'e', 'l', 'l', 'o', '\n',		/* message: */
};

static int put_byte(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	if (access->write)
		putchar((int)access->data);
	return 0;
}

int main(void)
{
	const struct vmm_ops ops = { .io = put_byte };
	struct vmm_vcpu *vcpu;
	struct vmm_vm *vm;
	struct vmm *vmm;
	void *memory;
	int ret;

	if (vmm_open(NULL, &vmm) || vmm_vm_create(vmm, 0, &vm))
		return fprintf(stderr, "hello: %s\n", vmm_error(vmm)), 1;
	if (vmm_memory_add(vm, 0, 0x10000, 0, &memory) || vmm_vcpu_create(vm, 0, &vcpu))
		return fprintf(stderr, "hello: %s\n", vmm_vm_error(vm)), 1;
	memcpy((char *)memory + 0x1000, guest, sizeof(guest));
	if (vmm_vcpu_real_mode(vcpu, 0, 0x1000) || vmm_vcpu_run(vcpu, &ops, NULL))
		return fprintf(stderr, "hello: %s\n", vmm_vcpu_error(vcpu)), 1;
	ret = vmm_vcpu_exit(vcpu)->reason != VMM_EXIT_HLT;
	vmm_vcpu_free(vcpu);
	vmm_vm_free(vm);
	vmm_close(vmm);
	return ret;
}
