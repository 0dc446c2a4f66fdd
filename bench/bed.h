/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the benchmark asks of a hypervisor's API. vmm.c and kvm.c answer, each in
 * the fewest and cheapest calls that its API has for it; everything that is
 * measured is driven through this table.
 */
#ifndef BENCH_BED_H
#define BENCH_BED_H

/* Guest-physical memory, identity-mapped by 2 MiB pages up to 4 GiB */
#define GUEST_PML4		0x1000
#define GUEST_PDPT		0x2000
#define GUEST_PD		0x3000		/* four of them */
#define GUEST_GDT		0x7000
#define GUEST_IDT		0x8000
#define GUEST_DATA		0x9000		/* struct guest_data */
#define GUEST_STACK		0xb000		/* its top */
#define GUEST_CODE		0x10000
#define GUEST_FRESH		0x200000	/* from here on nothing has been touched */
#define GUEST_BYTES		(GUEST_FRESH + FRESH_PAGES * 4096)
#define GUEST_DEVICE		0x10000000	/* memory there is none */
#define GUEST_SLOT		0x20000000

#define FRESH_PAGES		2048

/* Guests that are measured for what their memory costs have so much of it from GUEST_FRESH on. */
#define MOST_MEMORY		(256ull << 20)

/* Where the host has huge pages: the first holds what the guest needs, the others are touched. */
#define HUGE_BYTES		0x200000
#define HUGE_PAGES		8
#define GUEST_HUGE_BYTES	((HUGE_PAGES + 1) * HUGE_BYTES)

#define BENCH_PORT		0xe0
#define BENCH_VECTOR		0x40

#define SELECTOR_CODE		0x08
#define SELECTOR_DATA		0x10
#define SELECTOR_TASK		0x18

/* Offsets in GUEST_DATA */
#define DATA_INTERRUPTS		0
#define DATA_STOP		8

#ifndef __ASSEMBLER__

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One VM with one vCPU; what is in it is its bed's. */
struct machine;

/**
 * struct bed - a hypervisor's API
 * @name: as in the table
 * @modules: what must be loaded, in this order, NULL-terminated; on AMD, on Intel
 * @device: that then exists
 *
 * All of these end the program with a message if something fails.
 * @open: open the device, learn what stays the same for all VMs
 * @create: a VM with PIC pair, PIT, I/O APIC and local APIC, @bytes of @memory at
 *          guest-physical 0 and one vCPU, which has the host's CPUID table
 * @start: put the vCPU into 64-bit mode on the page tables above, at @rip, with
 *         interrupts off and two arguments
 * @run: enter until the guest has made @exits accesses to BENCH_PORT or GUEST_DEVICE.
 *       Reads give 0
 * @settle: have the guest take the answer to the last access, and no further instruction
 * @interrupt: send the vCPU an MSI; from another thread
 * @log: begin or end a log of writes to the memory
 * @get_log: copy it out, and clear it; @pages there are. Return: a bit for each, set where it
 *           was written to; good until the next call
 * @slot: add or delete another piece of guest-physical memory at GUEST_SLOT
 * @tables: bytes in the second-level tables of @n VMs; or of all that there are, where
 *          the API does not tell
 * @destroy: close everything
 */
struct bed {
	const char *name;
	const char *const *modules[2];
	const char *device;
	void (*open)(void);
	struct machine *(*create)(void *memory, size_t bytes);
	void (*start)(struct machine *m, uint64_t rip, uint64_t rdi, uint64_t rsi);
	void (*run)(struct machine *m, unsigned long exits);
	void (*settle)(struct machine *m);
	void (*interrupt)(struct machine *m, uint8_t vector);
	void (*log)(struct machine *m, bool on);
	const uint64_t *(*get_log)(struct machine *m, unsigned int pages);
	void (*slot)(struct machine *m, void *memory, size_t bytes, bool there);
	long long (*tables)(struct machine **m, int n);
	void (*destroy)(struct machine *m);
};

extern const struct bed vmm_bed;
extern const struct bed kvm_bed;

/* guest.S: routines of the guest, by their address there */
extern const char guest_start[], guest_end[];
extern const char guest_cpuid[], guest_out[], guest_mmio[], guest_vmcall[],
	guest_vmmcall[], guest_msr_write[], guest_halt[], guest_touch[], guest_stride[];

#define GUEST_ADDRESS(routine)	(GUEST_CODE + ((routine) - guest_start))

struct guest_data {
	uint64_t interrupts;	/* taken */
	uint64_t stop;
};

#endif
#endif
