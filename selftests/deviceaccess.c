// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMM_DEVICE_ACCESS: what the module emulates, by the VMM for a guest; and that instructions which
 * libvmm executes find controllers and ioeventfds as those do that the module executes.
 */
/* hosts: smp 6.12 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <vmm/vmm.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define APIC		0xfee00000
#define TPR		(APIC + 0x80)
#define EOI		(APIC + 0xb0)
#define SPIV		(APIC + 0xf0)
#define IOAPIC		0xfec00000
#define DOORBELL	0xd0000000
#define PIC_MASK	0x21

#define WRITE		VMM_DEVICE_WRITE
#define IO		VMM_DEVICE_IO

/* ---- the call ---- */

static int device_access(struct vcpu *vcpu, u32 flags, u64 address, u32 bytes, u64 *data, u32 *eoi)
{
	struct vmm_device_access access = {
		.size = sizeof(access), .flags = flags, .address = address, .bytes = bytes,
		.data = *data, .eoi = 77,
	};
	int ret = do_ioctl(vcpu->fd, VMM_DEVICE_ACCESS, &access);

	*data = access.data;
	if (eoi)
		*eoi = access.eoi;
	return ret;
}

static int device_write(struct vcpu *vcpu, u32 flags, u64 address, u32 bytes, u64 data)
{
	return device_access(vcpu, flags | WRITE, address, bytes, &data, NULL);
}

static u64 device_read(struct vcpu *vcpu, u32 flags, u64 address, u32 bytes)
{
	u64 data = ~0ULL;
	int ret = device_access(vcpu, flags, address, bytes, &data, NULL);

	if (ret)
		fail("a read of %u bytes at %#llx: %s", bytes, address, strerror(-ret));
	return data;
}

FIXTURE(deviceaccess) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_VARIANT(deviceaccess) {
	u32 flags;
};

FIXTURE_VARIANT_ADD(deviceaccess, all) { .flags = VMM_VM_IRQCHIPS };
FIXTURE_VARIANT_ADD(deviceaccess, none) { };
FIXTURE_VARIANT_ADD(deviceaccess, lapic) { .flags = VMM_VM_LAPIC };

FIXTURE_SETUP(deviceaccess)
{
	self->vm = vm_create(1 * MIB, variant->flags);
	self->vcpu = vcpu_create(self->vm, 0);
}

FIXTURE_TEARDOWN(deviceaccess)
{
	vm_destroy(self->vm);
}

TEST_F(deviceaccess, registers)
{
	struct vcpu *vcpu = self->vcpu;
	u64 data = 0;

	EXPECT_EQ(-ENXIO, device_access(vcpu, 0, DOORBELL, 4, &data, NULL));
	EXPECT_EQ(-ENXIO, device_access(vcpu, IO, 0x300, 4, &data, NULL));
	if (!(variant->flags & VMM_VM_LAPIC)) {
		EXPECT_EQ(-ENXIO, device_access(vcpu, 0, TPR, 4, &data, NULL));
	} else {
		EXPECT_EQ(0, device_write(vcpu, 0, TPR, 4, 0xffffffff00000045));
		EXPECT_EQ(0x45, device_read(vcpu, 0, TPR, 4));
		vcpu_get(vcpu, VMM_STATE_CONTROL);
		EXPECT_EQ(4, vcpu->state.control.cr8);
		/* As the guest's own: half a register does nothing, and may be read. */
		EXPECT_EQ(0, device_write(vcpu, 0, TPR, 2, 0x20));
		EXPECT_EQ(0x45, device_read(vcpu, 0, TPR, 1));
	}
	if (!(variant->flags & VMM_VM_IOAPIC)) {
		EXPECT_EQ(-ENXIO, device_access(vcpu, 0, IOAPIC, 4, &data, NULL));
	} else {
		EXPECT_EQ(0, device_write(vcpu, 0, IOAPIC, 4, 1));
		EXPECT_EQ(0x17, device_read(vcpu, 0, IOAPIC + 0x10, 4) >> 16);
	}
	if (!(variant->flags & VMM_VM_PIC)) {
		EXPECT_EQ(-ENXIO, device_access(vcpu, IO, PIC_MASK, 1, &data, NULL));
	} else {
		EXPECT_EQ(0, device_write(vcpu, IO, PIC_MASK, 1, 0x155));
		EXPECT_EQ(0x55, device_read(vcpu, IO, PIC_MASK, 1));
	}
}

TEST_F(deviceaccess, refused)
{
	static const struct {
		u32 flags;
		u64 address;
		u32 bytes;
	} bad[] = {
		{ 4, TPR, 4 }, { 0, TPR, 0 }, { 0, TPR, 3 }, { 0, TPR, 16 }, { 0, TPR, 1U << 31 },
		{ 0, APIC + 0xffd, 4 }, { 0, ~0ULL, 2 }, { IO, PIC_MASK, 8 }, { IO, 0x10000, 1 },
		{ IO | WRITE, 0x10021, 1 }, { IO, ~0ULL, 1 },
	};
	u64 data = 0;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EINVAL, device_access(self->vcpu, bad[i].flags, bad[i].address,
						 bad[i].bytes, &data, NULL)) TH_LOG("%u", i);
	/* The last bytes of all */
	EXPECT_EQ(-ENXIO, device_access(self->vcpu, 0, ~0ULL, 1, &data, NULL));
	EXPECT_EQ(-ENXIO, device_access(self->vcpu, IO, 0xffff, 4, &data, NULL));
}

TEST_F(deviceaccess, ioeventfd)
{
	struct vmm_ioeventfd doorbell = {
		.size = sizeof(doorbell), .address = DOORBELL, .length = 4,
		.fd = eventfd(0, EFD_NONBLOCK),
	};
	u64 data = 0, count = 0;

	ASSERT_EQ(0, do_ioctl(self->vm->fd, VMM_IOEVENTFD, &doorbell));
	EXPECT_EQ(-ENXIO, device_access(self->vcpu, 0, DOORBELL, 4, &data, NULL));
	EXPECT_EQ(-ENXIO, device_write(self->vcpu, 0, DOORBELL, 2, 1));
	EXPECT_EQ(-ENXIO, device_write(self->vcpu, IO, 0, 4, 1));
	EXPECT_EQ(0, device_write(self->vcpu, 0, DOORBELL, 4, 1));
	EXPECT_EQ(8, read(doorbell.fd, &count, 8));
	EXPECT_EQ(1, count);
	close(doorbell.fd);
}

/* An I/O APIC of the VMM's own hears of it. */
GUEST_CODE(level, 64,
	   "mov $0xfee000f0, %eax; movl $0x1ff, (%rax); sti; nop\n"
	   "1: out %al, $PORT_VALUE; jmp 1b\n");

TEST_F(deviceaccess, end_of_a_level)
{
	struct vmm_msi msi = { .size = sizeof(msi), .address = APIC, .data = 0xc000 | 0x52 };
	u64 data = 0;
	u32 eoi;

	if (variant->flags != VMM_VM_LAPIC)
		return;
	EXPECT_EQ(0, device_access(self->vcpu, WRITE, EOI, 4, &data, &eoi));
	EXPECT_EQ(0, eoi);
	vcpu_load(self->vcpu, MODE_LONG, level);
	run_value(self->vcpu);
	ASSERT_EQ(1, do_ioctl(self->vm->fd, VMM_SIGNAL_MSI, &msi));
	run_vector(self->vcpu, 0x52);
	EXPECT_EQ(0, device_access(self->vcpu, WRITE, EOI, 4, &data, &eoi));
	EXPECT_EQ(0x52, eoi);
	EXPECT_EQ(0, device_access(self->vcpu, WRITE, EOI, 4, &data, &eoi));
	EXPECT_EQ(0, eoi);
}

/* ---- by instructions that libvmm executes ---- */

#define CODE		0x8000
#define DATA		0x9000
#define STACK		0x7000
#define DONE		0x90

FIXTURE(insn) {
	struct vmm *vmm;
	struct vmm_vm *machine;
	struct vmm_vcpu *vcpu;
	u8 *memory;
};

static int stop(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	return 1;
}

FIXTURE_SETUP(insn)
{
	void *memory;

	ASSERT_EQ(0, vmm_open(NULL, &self->vmm));
	ASSERT_EQ(0, vmm_vm_create(self->vmm, VMM_VM_IRQCHIPS, &self->machine));
	ASSERT_EQ(0, vmm_memory_add(self->machine, 0, 1 * MIB, 0, &memory));
	self->memory = memory;
	ASSERT_EQ(0, vmm_vcpu_create(self->machine, 0, &self->vcpu));
	ASSERT_EQ(0, vmm_device_add(self->machine, VMM_BUS_IO, DONE, 1, stop, NULL));
}

FIXTURE_TEARDOWN(insn)
{
	vmm_vcpu_free(self->vcpu);
	vmm_vm_free(self->machine);
	vmm_close(self->vmm);
}

static void run_insns(struct __test_metadata *_metadata, FIXTURE_DATA(insn) *self, const u8 *code,
		      size_t size)
{
	struct vmm_regs regs = { .gpr[VMM_RSP] = STACK };

	memcpy(self->memory + CODE, code, size);
	ASSERT_EQ(0, vmm_vcpu_protected_mode(self->vcpu, CODE, &regs));
	ASSERT_EQ(1, vmm_vcpu_run(self->vcpu, NULL, NULL)) TH_LOG("%s",
								  vmm_vcpu_error(self->vcpu));
}

#define RUN_INSNS(name)	run_insns(_metadata, self, name, code_size(name))

/* Instructions that the module leaves to the VMM: registers of the LAPIC */
GUEST_CODE(push_register, 32,
	   "movl $0x1ff, 0xfee000f0\n"
	   "pushl 0xfee000f0\n"
	   "popl 0xfee00080\n"
	   "decl 0xfee00080\n"
	   "out %al, $0x90\n");

TEST_F(insn, lapic)
{
	struct vmm_state state;

	RUN_INSNS(push_register);
	EXPECT_EQ(0x1ff, *(u32 *)(self->memory + STACK - 4));
	ASSERT_EQ(0, vmm_vcpu_get_state(self->vcpu, VMM_STATE_LAPIC, &state));
	EXPECT_EQ(0xfe, state.lapic.regs[0x80 / 4]);
}

GUEST_CODE(string_to_port, 32,
	   "mov $0x9000, %esi; mov $0x9100, %edi; mov $0x21, %edx; cld\n"
	   "outsb; insb\n"
	   "out %al, $0x90\n");

TEST_F(insn, string_io)
{
	self->memory[DATA] = 0xa5;
	RUN_INSNS(string_to_port);
	EXPECT_EQ(0xa5, self->memory[DATA + 0x100]);
}

GUEST_CODE(ring_doorbell, 32,
	   "mov $0x600, %eax; mov %eax, %cr4\n"
	   "mov $7, %eax; movd %eax, %xmm0; movd %xmm0, 0xd0000000\n"
	   "out %al, $0x90\n");

TEST_F(insn, ioeventfd)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	u64 count = 0;

	ASSERT_EQ(0, vmm_ioeventfd(self->machine, 0, DOORBELL, 4, fd, 0));
	ASSERT_EQ(0, vmm_vcpu_default_cpuid(self->vcpu, 1));
	RUN_INSNS(ring_doorbell);
	EXPECT_EQ(8, read(fd, &count, 8));
	EXPECT_EQ(1, count);
	close(fd);
}

TEST_HARNESS_MAIN
