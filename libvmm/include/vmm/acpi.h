/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvmm: the ACPI tables of a small PC without PCI.
 */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H

#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMM_ACPI_IOAPIC		0xfec00000U
#define VMM_ACPI_LAPIC		0xfee00000U

#define VMM_ACPI_COM1		(1U << 0)	/* serial port at 0x3f8, IRQ 4 */
#define VMM_ACPI_RTC		(1U << 1)	/* MC146818 at 0x70, IRQ 8 */
#define VMM_ACPI_I8042		(1U << 2)	/* keyboard controller at 0x60, 0x64 */

/**
 * struct vmm_acpi - the machine to describe
 * @cpus: number of LAPICs, with ids from 0
 * @pm1_event: port of the PM1 status and enable registers (2 bytes each)
 * @pm1_control: port of the PM1 control register (2 bytes); writing SLP_EN with
 *               SLP_TYP = VMM_ACPI_S5 is power-off
 * @reset_port: port of the reset register, 0 for none
 * @reset_value: what resets when written there
 * @sci: GSI of the SCI, level triggered, active high
 * @devices: VMM_ACPI_* that the DSDT lists
 */
struct vmm_acpi {
	uint32_t cpus;
	uint16_t pm1_event;
	uint16_t pm1_control;
	uint16_t reset_port;
	uint8_t reset_value;
	uint8_t sci;
	uint32_t devices;
};

#define VMM_ACPI_S5		5
#define VMM_ACPI_PM1_SLP_EN	(1U << 13)
#define VMM_ACPI_PM1_SLP_TYP(v)	(((v) >> 10) & 7)

/**
 * vmm_acpi_build - write the tables
 * @acpi: the machine
 * @buf: where to build them; zeroed first
 * @size: bytes there
 * @gpa: where the guest will see @buf: 64-byte aligned, below 4 GiB. The RSDP comes first
 *
 * Return: bytes used; -ENOSPC.
 */
int vmm_acpi_build(const struct vmm_acpi *acpi, void *buf, size_t size, uint64_t gpa);

/**
 * vmm_acpi_install - the same, into guest memory from VMM_LOW_ROM on
 * @vm: the VM
 * @acpi: the machine
 * @rsdp: out: guest-physical address of the RSDP
 *
 * Return: 0; -EFAULT (no guest memory there), -EACCES (the guest may only read it), -ENOSPC (too
 * many CPUs), -ENOMEM.
 */
int vmm_acpi_install(struct vmm_vm *vm, const struct vmm_acpi *acpi, uint64_t *rsdp);

#ifdef __cplusplus
}
#endif

#endif
