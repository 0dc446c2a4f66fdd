// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: ACPI tables (ACPI 6.1). One builder appends to a buffer; the tables
 * lie there in the order RSDP, FACS, DSDT, FADT, MADT, XSDT, RSDT (the last for
 * kernels that know nothing newer).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vmm/acpi.h>
#include <vmm/load.h>

#include "internal.h"

struct table_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct rsdp {
	char signature[8];
	uint8_t checksum;	/* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));

/* Generic address structure */
struct gas {
	uint8_t space;		/* 1: I/O ports */
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size;	/* 1: byte, 2: word */
	uint64_t address;
} __attribute__((packed));

struct facs {
	char signature[4];
	uint32_t length;
	uint32_t hardware_signature;
	uint32_t waking_vector;
	uint32_t global_lock;
	uint32_t flags;
	uint64_t x_waking_vector;
	uint8_t version;
	uint8_t reserved[31];
} __attribute__((packed));

struct fadt {
	struct table_header header;
	uint32_t facs;
	uint32_t dsdt;
	uint8_t reserved1;
	uint8_t preferred_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable;
	uint8_t acpi_disable;
	uint8_t s4bios_req;
	uint8_t pstate_cnt;
	uint32_t pm1a_evt_blk;
	uint32_t pm1b_evt_blk;
	uint32_t pm1a_cnt_blk;
	uint32_t pm1b_cnt_blk;
	uint32_t pm2_cnt_blk;
	uint32_t pm_tmr_blk;
	uint32_t gpe0_blk;
	uint32_t gpe1_blk;
	uint8_t pm1_evt_len;
	uint8_t pm1_cnt_len;
	uint8_t pm2_cnt_len;
	uint8_t pm_tmr_len;
	uint8_t gpe0_blk_len;
	uint8_t gpe1_blk_len;
	uint8_t gpe1_base;
	uint8_t cst_cnt;
	uint16_t p_lvl2_lat;
	uint16_t p_lvl3_lat;
	uint16_t flush_size;
	uint16_t flush_stride;
	uint8_t duty_offset;
	uint8_t duty_width;
	uint8_t day_alarm;
	uint8_t month_alarm;
	uint8_t century;
	uint16_t iapc_boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_facs;
	uint64_t x_dsdt;
	struct gas x_pm1a_evt_blk;
	struct gas x_pm1b_evt_blk;
	struct gas x_pm1a_cnt_blk;
	struct gas x_pm1b_cnt_blk;
	struct gas x_pm2_cnt_blk;
	struct gas x_pm_tmr_blk;
	struct gas x_gpe0_blk;
	struct gas x_gpe1_blk;
	struct gas sleep_control_reg;
	struct gas sleep_status_reg;
	uint64_t hypervisor_id;
} __attribute__((packed));

_Static_assert(sizeof(struct fadt) == 276, "FADT of revision 6");

/* FADT flags */
#define FADT_WBINVD		(1U << 0)
#define FADT_PROC_C1		(1U << 2)
#define FADT_PWR_BUTTON		(1U << 4)	/* none in the fixed registers */
#define FADT_SLP_BUTTON		(1U << 5)
#define FADT_FIX_RTC		(1U << 6)	/* no RTC wake-up there either */
#define FADT_RESET_REG_SUP	(1U << 10)
#define FADT_HEADLESS		(1U << 12)

/* FADT boot architecture flags */
#define IAPC_LEGACY_DEVICES	(1U << 0)
#define IAPC_8042		(1U << 1)
#define IAPC_NO_VGA		(1U << 2)
#define IAPC_NO_CMOS_RTC	(1U << 5)

struct madt {
	struct table_header header;
	uint32_t lapic;
	uint32_t flags;
} __attribute__((packed));

#define MADT_PCAT_COMPAT	1

struct madt_lapic {
	uint8_t type, length;
	uint8_t uid;
	uint8_t id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} __attribute__((packed));

struct madt_override {
	uint8_t type, length;
	uint8_t bus;
	uint8_t source;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));

struct madt_x2apic {
	uint8_t type, length;
	uint16_t reserved;
	uint32_t id;
	uint32_t flags;
	uint32_t uid;
} __attribute__((packed));

#define MADT_ENABLED		1
#define MADT_ACTIVE_HIGH_LEVEL	0x0d
#define FIRST_X2APIC_ID		255	/* what an xAPIC cannot name */

/* ---- the builder ---- */

struct builder {
	uint8_t *buf;
	size_t size;
	size_t used;		/* beyond @size once something did not fit */
	uint64_t gpa;
};

static void append(struct builder *b, const void *data, size_t bytes)
{
	if (b->used + bytes <= b->size)
		memcpy(b->buf + b->used, data, bytes);
	b->used += bytes;
}

static void append_byte(struct builder *b, uint8_t byte)
{
	append(b, &byte, 1);
}

static void align(struct builder *b, size_t bytes)
{
	b->used = (b->used + bytes - 1) & ~(bytes - 1);
}

static uint8_t checksum(const void *data, size_t bytes)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (bytes--)
		sum += *p++;
	return -sum;
}

static void fill_header(struct table_header *header, const char *signature, uint8_t revision)
{
	memcpy(header->signature, signature, 4);
	header->revision = revision;
	memcpy(header->oem_id, "VMM   ", 6);
	memcpy(header->oem_table_id, "VMMTABLE", 8);
	header->oem_revision = 1;
	memcpy(header->creator_id, "VMM ", 4);
	header->creator_revision = 1;
}

/* Length and checksum of the table that begins at @start and ends here */
static void finish_table(struct builder *b, size_t start)
{
	struct table_header *header = (struct table_header *)(b->buf + start);

	if (b->used > b->size)
		return;
	header->length = b->used - start;
	header->checksum = checksum(header, header->length);
}

/* ---- AML ---- */

#define AML_ZERO	0x00
#define AML_ONE		0x01
#define AML_NAME	0x08
#define AML_BYTE	0x0a
#define AML_DWORD	0x0c
#define AML_SCOPE	0x10
#define AML_BUFFER	0x11
#define AML_PACKAGE	0x12
#define AML_EXT		0x5b
#define AML_DEVICE	0x82	/* behind AML_EXT */

/* Room for a PkgLength of two bytes; filled by aml_end() */
static size_t aml_begin(struct builder *b)
{
	size_t start = b->used;

	append(b, "\0", 2);
	return start;
}

static void aml_end(struct builder *b, size_t start)
{
	size_t length = b->used - start;

	if (b->used > b->size)
		return;
	b->buf[start] = 0x40 | (length & 0x0f);
	b->buf[start + 1] = length >> 4;
}

static void aml_name(struct builder *b, const char *name)
{
	append_byte(b, AML_NAME);
	append(b, name, 4);
}

static void aml_integer(struct builder *b, uint8_t value)
{
	append_byte(b, AML_BYTE);
	append_byte(b, value);
}

/* Sleep state 5: what goes into SLP_TYP of PM1a and PM1b */
static void aml_s5(struct builder *b)
{
	size_t package;

	aml_name(b, "_S5_");
	append_byte(b, AML_PACKAGE);
	package = aml_begin(b);
	append_byte(b, 4);
	aml_integer(b, VMM_ACPI_S5);
	aml_integer(b, VMM_ACPI_S5);
	append_byte(b, AML_ZERO);
	append_byte(b, AML_ZERO);
	aml_end(b, package);
}

static uint8_t hex_digit(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

/* Three letters of five bits, four hexadecimal digits; big-endian */
static void aml_eisa_id(struct builder *b, const char *id)
{
	uint16_t letters = (id[0] - '@') << 10 | (id[1] - '@') << 5 | (id[2] - '@');

	append_byte(b, AML_DWORD);
	append_byte(b, letters >> 8);
	append_byte(b, letters & 0xff);
	append_byte(b, hex_digit(id[3]) << 4 | hex_digit(id[4]));
	append_byte(b, hex_digit(id[5]) << 4 | hex_digit(id[6]));
}

/* An I/O port descriptor that decodes 16 bits and cannot move */
static size_t resource_io(uint8_t *at, uint16_t port, uint8_t count)
{
	at[0] = 0x47;
	at[1] = 1;
	at[2] = port & 0xff;	/* lowest base */
	at[3] = port >> 8;
	at[4] = port & 0xff;	/* highest base */
	at[5] = port >> 8;
	at[6] = 1;
	at[7] = count;
	return 8;
}

/* An IRQ descriptor without flags: edge, active high */
static size_t resource_irq(uint8_t *at, unsigned int irq)
{
	at[0] = 0x22;
	at[1] = (1U << irq) & 0xff;
	at[2] = (1U << irq) >> 8;
	return 3;
}

static size_t resource_end(uint8_t *at)
{
	at[0] = 0x79;
	at[1] = 0;
	return 2;
}

struct legacy_device {
	uint32_t bit;		/* VMM_ACPI_* */
	char name[5];
	char hid[8];
	uint16_t ports[2];
	uint8_t counts[2];
	uint8_t irq;
};

static void aml_device(struct builder *b, const struct legacy_device *device)
{
	uint8_t resources[32];
	size_t bytes = 0, whole, buffer;
	unsigned int i;

	for (i = 0; i < 2 && device->counts[i]; i++)
		bytes += resource_io(resources + bytes, device->ports[i], device->counts[i]);
	bytes += resource_irq(resources + bytes, device->irq);
	bytes += resource_end(resources + bytes);

	append_byte(b, AML_EXT);
	append_byte(b, AML_DEVICE);
	whole = aml_begin(b);
	append(b, device->name, 4);
	aml_name(b, "_HID");
	aml_eisa_id(b, device->hid);
	aml_name(b, "_UID");
	append_byte(b, AML_ONE);
	aml_name(b, "_STA");
	aml_integer(b, 0x0f);
	aml_name(b, "_CRS");
	append_byte(b, AML_BUFFER);
	buffer = aml_begin(b);
	aml_integer(b, bytes);
	append(b, resources, bytes);
	aml_end(b, buffer);
	aml_end(b, whole);
}

/* ---- the tables ---- */

static uint64_t add_dsdt(struct builder *b, const struct vmm_acpi *acpi)
{
	static const struct legacy_device devices[] = {
		{ VMM_ACPI_COM1, "COM1", "PNP0501", { 0x3f8 }, { 8 }, 4 },
		{ VMM_ACPI_RTC, "RTC_", "PNP0B00", { 0x70 }, { 2 }, 8 },
		{ VMM_ACPI_I8042, "KBD_", "PNP0303", { 0x60, 0x64 }, { 1, 1 }, 1 },
	};
	struct table_header header = { .signature = "" };
	size_t start = b->used, scope;
	unsigned int i;

	fill_header(&header, "DSDT", 2);
	append(b, &header, sizeof(header));
	aml_s5(b);
	append_byte(b, AML_SCOPE);
	scope = aml_begin(b);
	append(b, "\\_SB_", 5);
	for (i = 0; i < ARRAY_SIZE(devices); i++)
		if (acpi->devices & devices[i].bit)
			aml_device(b, &devices[i]);
	aml_end(b, scope);
	finish_table(b, start);
	return b->gpa + start;
}

static uint64_t add_facs(struct builder *b)
{
	struct facs facs = { .signature = "FACS", .length = sizeof(facs), .version = 2 };
	size_t start;

	align(b, 64);
	start = b->used;
	append(b, &facs, sizeof(facs));
	return b->gpa + start;
}

static struct gas io_register(uint16_t port, uint8_t bytes)
{
	struct gas gas = {
		.space = 1,
		.bit_width = 8 * bytes,
		.access_size = bytes == 1 ? 1 : 2,
		.address = port,
	};

	return gas;
}

static uint64_t add_fadt(struct builder *b, const struct vmm_acpi *acpi, uint64_t facs,
			 uint64_t dsdt)
{
	struct fadt fadt = {
		.facs = facs,
		.dsdt = dsdt,
		.sci_int = acpi->sci,
		.pm1a_evt_blk = acpi->pm1_event,
		.pm1a_cnt_blk = acpi->pm1_control,
		.pm1_evt_len = 4,
		.pm1_cnt_len = 2,
		.p_lvl2_lat = 0xffff,	/* no C2 */
		.p_lvl3_lat = 0xffff,	/* no C3 */
		.century = 0x32,
		.iapc_boot_arch = IAPC_LEGACY_DEVICES | IAPC_NO_VGA,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON |
			 FADT_FIX_RTC | FADT_HEADLESS,
		.minor_version = 1,
		.x_dsdt = dsdt,
	};
	size_t start = b->used;

	fill_header(&fadt.header, "FACP", 6);
	if (acpi->devices & VMM_ACPI_I8042)
		fadt.iapc_boot_arch |= IAPC_8042;
	if (!(acpi->devices & VMM_ACPI_RTC))
		fadt.iapc_boot_arch |= IAPC_NO_CMOS_RTC;
	if (acpi->reset_port) {
		fadt.flags |= FADT_RESET_REG_SUP;
		fadt.reset_reg = io_register(acpi->reset_port, 1);
		fadt.reset_value = acpi->reset_value;
	}
	fadt.x_pm1a_evt_blk = io_register(acpi->pm1_event, 4);
	fadt.x_pm1a_cnt_blk = io_register(acpi->pm1_control, 2);
	append(b, &fadt, sizeof(fadt));
	finish_table(b, start);
	return b->gpa + start;
}

static void add_cpu(struct builder *b, uint32_t id)
{
	struct madt_lapic lapic = {
		.type = 0, .length = sizeof(lapic), .uid = id, .id = id, .flags = MADT_ENABLED,
	};
	struct madt_x2apic x2apic = {
		.type = 9, .length = sizeof(x2apic), .uid = id, .id = id, .flags = MADT_ENABLED,
	};

	if (id < FIRST_X2APIC_ID)
		append(b, &lapic, sizeof(lapic));
	else
		append(b, &x2apic, sizeof(x2apic));
}

static uint64_t add_madt(struct builder *b, const struct vmm_acpi *acpi)
{
	struct madt madt = { .lapic = VMM_ACPI_LAPIC, .flags = MADT_PCAT_COMPAT };
	struct madt_ioapic ioapic = {
		.type = 1, .length = sizeof(ioapic), .address = VMM_ACPI_IOAPIC,
	};
	struct madt_override timer = { .type = 2, .length = sizeof(timer), .source = 0, .gsi = 2 };
	struct madt_override sci = {
		.type = 2, .length = sizeof(sci), .source = acpi->sci, .gsi = acpi->sci,
		.flags = MADT_ACTIVE_HIGH_LEVEL,
	};
	size_t start = b->used;
	uint32_t id;

	fill_header(&madt.header, "APIC", 4);
	append(b, &madt, sizeof(madt));
	for (id = 0; id < acpi->cpus; id++)
		add_cpu(b, id);
	append(b, &ioapic, sizeof(ioapic));
	append(b, &timer, sizeof(timer));
	append(b, &sci, sizeof(sci));
	finish_table(b, start);
	return b->gpa + start;
}

static uint64_t add_xsdt(struct builder *b, const uint64_t *tables, unsigned int count)
{
	struct table_header header = { .signature = "" };
	size_t start = b->used;

	fill_header(&header, "XSDT", 1);
	append(b, &header, sizeof(header));
	append(b, tables, count * sizeof(*tables));
	finish_table(b, start);
	return b->gpa + start;
}

static uint64_t add_rsdt(struct builder *b, const uint64_t *tables, unsigned int count)
{
	struct table_header header = { .signature = "" };
	size_t start = b->used;
	unsigned int i;

	fill_header(&header, "RSDT", 1);
	append(b, &header, sizeof(header));
	for (i = 0; i < count; i++)
		append(b, &tables[i], 4);
	finish_table(b, start);
	return b->gpa + start;
}

static void fill_rsdp(struct builder *b, uint64_t xsdt, uint64_t rsdt)
{
	struct rsdp rsdp = {
		.signature = "RSD PTR ",
		.oem_id = "VMM   ",
		.revision = 2,
		.rsdt = rsdt,
		.length = sizeof(rsdp),
		.xsdt = xsdt,
	};

	rsdp.checksum = checksum(&rsdp, 20);
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	memcpy(b->buf, &rsdp, sizeof(rsdp));
}

int vmm_acpi_build(const struct vmm_acpi *acpi, void *buf, size_t size, uint64_t gpa)
{
	struct builder b = { .buf = buf, .size = size, .gpa = gpa };
	uint64_t facs, dsdt, tables[2], xsdt, rsdt;

	memset(buf, 0, size);
	b.used = sizeof(struct rsdp);
	facs = add_facs(&b);
	align(&b, 16);
	dsdt = add_dsdt(&b, acpi);
	align(&b, 16);
	tables[0] = add_fadt(&b, acpi, facs, dsdt);
	align(&b, 16);
	tables[1] = add_madt(&b, acpi);
	align(&b, 16);
	xsdt = add_xsdt(&b, tables, ARRAY_SIZE(tables));
	align(&b, 16);
	rsdt = add_rsdt(&b, tables, ARRAY_SIZE(tables));
	if (b.used > size)
		return -ENOSPC;
	fill_rsdp(&b, xsdt, rsdt);
	return (int)b.used;
}

int vmm_acpi_install(struct vmm_vm *vm, const struct vmm_acpi *acpi, uint64_t *rsdp)
{
	size_t size = 4096 + 16 * (size_t)acpi->cpus;
	uint8_t *tables;
	int bytes, err;

	/* Most of the area is read by nobody: leave it untouched. */
	if (size > VMM_LOW_ACPI_END - VMM_LOW_ROM)
		size = VMM_LOW_ACPI_END - VMM_LOW_ROM;
	tables = malloc(size);
	if (!tables)
		return fail(&vm->message, -ENOMEM, "out of memory");
	bytes = vmm_acpi_build(acpi, tables, size, VMM_LOW_ROM);
	err = bytes < 0 ? bytes : memory_place(vm, VMM_LOW_ROM, tables, bytes, bytes);
	free(tables);
	switch (err) {
	case 0:
		*rsdp = VMM_LOW_ROM;
		return 0;
	case -ENOSPC:
		return fail(&vm->message, err, "ACPI tables for %u CPUs do not fit", acpi->cpus);
	case -EACCES:
		return fail(&vm->message, err, "read-only memory for the ACPI tables at %#llx",
			    VMM_LOW_ROM);
	default:
		return fail(&vm->message, err, "no guest memory for the ACPI tables at %#llx",
			    VMM_LOW_ROM);
	}
}
