// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: CPUID tables.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static int read_table(int fd, struct vmm_cpuid_entry **out, struct message *message)
{
	struct vmm_cpuid cpuid = { .size = sizeof(cpuid) };
	struct vmm_cpuid_entry *entries = NULL;
	int err;

	*out = NULL;
	while ((err = do_ioctl(fd, VMM_GET_CPUID, &cpuid)) == -E2BIG) {
		free(entries);
		entries = calloc(cpuid.count, sizeof(*entries));
		if (!entries)
			return fail(message, -ENOMEM, "out of memory");
		cpuid.size = sizeof(cpuid);
		cpuid.entries = (uintptr_t)entries;
	}
	if (err < 0) {
		free(entries);
		return fail(message, err, "VMM_GET_CPUID: %s", strerror(-err));
	}
	*out = entries;
	return cpuid.count;
}

int vmm_cpuid_supported(struct vmm *vmm, struct vmm_cpuid_entry **entries)
{
	return read_table(vmm->fd, entries, &vmm->message);
}

int vmm_vcpu_get_cpuid(struct vmm_vcpu *vcpu, struct vmm_cpuid_entry **entries)
{
	return read_table(vcpu->fd, entries, &vcpu->message);
}

int vmm_vcpu_set_cpuid(struct vmm_vcpu *vcpu, const struct vmm_cpuid_entry *entries, int count)
{
	struct vmm_cpuid cpuid = {
		.size = sizeof(cpuid),
		.count = count,
		.entries = (uintptr_t)entries,
	};
	int err = do_ioctl(vcpu->fd, VMM_SET_CPUID, &cpuid);

	if (err < 0)
		return fail(&vcpu->message, err, "VMM_SET_CPUID, %d entries: %s", count,
			    strerror(-err));
	return 0;
}

static uint32_t replace(uint32_t value, int shift, uint32_t mask, uint32_t field)
{
	return (value & ~(mask << shift)) | (field & mask) << shift;
}

/* Bits that an APIC id needs for @cpus cores */
static uint32_t id_bits(uint32_t cpus)
{
	uint32_t bits = 0;

	while (1ULL << bits < cpus)
		bits++;
	return bits;
}

static uint32_t at_most(uint32_t value, uint32_t limit)
{
	return value < limit ? value : limit;
}

/* Deterministic cache parameters (4 and 0x8000001d): who shares a cache */
static void cache_topology(struct vmm_cpuid_entry *e, uint32_t cpus)
{
	uint32_t level = e->eax >> 5 & 7;

	if (!(e->eax & 0x1f))
		return;
	e->eax = replace(e->eax, 14, 0xfff, level >= 3 ? (1U << id_bits(cpus)) - 1 : 0);
	if (e->function == 4)
		e->eax = replace(e->eax, 26, 0x3f, at_most((1U << id_bits(cpus)) - 1, 0x3f));
}

/* Extended topology (0xb, 0x1f): one thread per core, all cores in one package */
static void extended_topology(struct vmm_cpuid_entry *e, uint32_t id, uint32_t cpus)
{
	e->eax = 0;
	e->ebx = 0;
	e->ecx = e->index & 0xff;
	e->edx = id;
	if (e->index == 0) {
		e->ebx = 1;
		e->ecx |= 1 << 8;
	} else if (e->index == 1) {
		e->eax = id_bits(cpus);
		e->ebx = cpus;
		e->ecx |= 2 << 8;
	}
}

static bool is_intel(const struct vmm_cpuid_entry *entries, int count)
{
	const struct vmm_cpuid_entry *e;

	for (e = entries; e < entries + count; e++)
		if (!e->function)
			return e->ebx == 0x756e6547;	/* "Genu", of "GenuineIntel" */
	return false;
}

void vmm_cpuid_topology(struct vmm_cpuid_entry *entries, int count, uint32_t id, uint32_t cpus)
{
	bool intel = is_intel(entries, count);
	struct vmm_cpuid_entry *e;

	for (e = entries; e < entries + count; e++) {
		switch (e->function) {
		case 1:
			e->ebx = replace(e->ebx, 24, 0xff, id);
			e->ebx = replace(e->ebx, 16, 0xff, at_most(cpus, 0xff));
			e->edx = replace(e->edx, 28, 1, cpus > 1);
			break;
		case 4:
		case 0x8000001d:
			cache_topology(e, cpus);
			break;
		case 0xb:
		case 0x1f:
			extended_topology(e, id, cpus);
			break;
		case 0x80000001:
			/* CmpLegacy: all logical processors are cores; reserved on Intel's */
			e->ecx = replace(e->ecx, 1, 1, cpus > 1 && !intel);
			break;
		case 0x80000008:
			e->ecx = replace(e->ecx, 0, 0xff, at_most(cpus - 1, 0xff));
			e->ecx = replace(e->ecx, 12, 0xf, id_bits(cpus));
			break;
		case 0x8000001e:
			e->eax = id;
			e->ebx = id & 0xff;
			e->ecx = 0;
			break;
		}
	}
}

int vmm_vcpu_default_cpuid(struct vmm_vcpu *vcpu, uint32_t cpus)
{
	struct vmm_cpuid_entry *entries;
	int count, err;

	count = vmm_cpuid_supported(vcpu->vm->vmm, &entries);
	if (count < 0)
		return fail(&vcpu->message, count, "%s", vmm_error(vcpu->vm->vmm));
	vmm_cpuid_topology(entries, count, vcpu->id, cpus);
	err = vmm_vcpu_set_cpuid(vcpu, entries, count);
	free(entries);
	return err;
}
