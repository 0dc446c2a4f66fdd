// SPDX-License-Identifier: GPL-2.0-only
/*
 * This project's API, by its raw ioctls.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vmm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define MAX_CPUID	256

struct machine {
	struct vmm_memory slot;
	int vm;
	int vcpu;
	struct vmm_run *run;
};

static int vmm = -1;
static struct vmm_info info = { .size = sizeof(info) };
static struct vmm_cpuid_entry cpuid_entries[MAX_CPUID];
static struct vmm_cpuid cpuid_table = {
	.size = sizeof(cpuid_table),
	.count = MAX_CPUID,
	.entries = (uintptr_t)cpuid_entries,
};

static void vmm_open(void)
{
	vmm = open("/dev/vmm", O_RDWR | O_CLOEXEC);
	check(vmm >= 0, "/dev/vmm");
	check(!ioctl(vmm, VMM_GET_INFO, &info), "VMM_GET_INFO");
	check(!ioctl(vmm, VMM_GET_CPUID, &cpuid_table), "VMM_GET_CPUID");
}

static void set_memory(struct machine *m, struct vmm_memory *slot)
{
	check(!ioctl(m->vm, VMM_SET_MEMORY, slot), "VMM_SET_MEMORY");
}

static struct machine *vmm_create(void *memory, size_t bytes)
{
	struct vmm_vm_create create = { .size = sizeof(create), .flags = VMM_VM_IRQCHIPS };
	struct vmm_vcpu_create vcpu = { .size = sizeof(vcpu) };
	struct vmm_memory slot = {
		.size = sizeof(slot),
		.bytes = bytes,
		.hva = (uintptr_t)memory,
	};
	struct machine *m = calloc(1, sizeof(*m));

	check(m, "memory");
	m->vm = ioctl(vmm, VMM_CREATE_VM, &create);
	check(m->vm >= 0, "VMM_CREATE_VM");
	m->slot = slot;
	set_memory(m, &slot);
	m->vcpu = ioctl(m->vm, VMM_CREATE_VCPU, &vcpu);
	check(m->vcpu >= 0, "VMM_CREATE_VCPU");
	m->run = mmap(NULL, info.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	check(m->run != MAP_FAILED, "mmap of a vCPU");
	check(!ioctl(m->vcpu, VMM_SET_CPUID, &cpuid_table), "VMM_SET_CPUID");
	return m;
}

#define CODE	(VMM_SEG_P | VMM_SEG_S | VMM_SEG_L | VMM_SEG_G | 0xb)
#define DATA	(VMM_SEG_P | VMM_SEG_S | VMM_SEG_DB | VMM_SEG_G | 0x3)
#define TASK	(VMM_SEG_P | 0xb)

static void vmm_start(struct machine *m, uint64_t rip, uint64_t rdi, uint64_t rsi)
{
	struct vmm_segment data = { .selector = SELECTOR_DATA, .limit = ~0u, .attr = DATA };
	struct vmm_run *run = m->run;

	run->regs = (struct vmm_regs){ .rip = rip, .rflags = 2 };
	run->regs.gpr[VMM_RDI] = rdi;
	run->regs.gpr[VMM_RSI] = rsi;
	run->regs.gpr[VMM_RSP] = GUEST_STACK;
	run->segments = (struct vmm_segments){
		.seg[VMM_ES] = data,
		.seg[VMM_CS] = { .selector = SELECTOR_CODE, .limit = ~0u, .attr = CODE },
		.seg[VMM_SS] = data,
		.seg[VMM_DS] = data,
		.seg[VMM_FS] = data,
		.seg[VMM_GS] = data,
		.seg[VMM_TR] = { .selector = SELECTOR_TASK, .limit = 0x67, .attr = TASK },
		.seg[VMM_GDTR] = { .base = GUEST_GDT, .limit = 0x27 },
		.seg[VMM_IDTR] = { .base = GUEST_IDT, .limit = 0xfff },
	};
	run->control = (struct vmm_control){
		.cr0 = 0x80050033,
		.cr3 = GUEST_PML4,
		.cr4 = 0x20,
		.efer = 0x500,
	};
	run->dirty_groups = VMM_STATE_REGS | VMM_STATE_SEGMENTS | VMM_STATE_CONTROL;
}

static void vmm_go(struct machine *m, unsigned long exits)
{
	while (exits--) {
		check(!ioctl(m->vcpu, VMM_RUN, 0), "VMM_RUN");
		switch (m->run->exit.reason) {
		case VMM_EXIT_IO:
			if (m->run->exit.io.port == BENCH_PORT)
				continue;
			break;
		case VMM_EXIT_MMIO:
			if (m->run->exit.mmio.gpa != GUEST_DEVICE)
				break;
			if (!m->run->exit.mmio.write)
				m->run->exit.mmio.data = 0;
			continue;
		case VMM_EXIT_FAIL_ENTRY:
			die("entry refused: %.120s", m->run->exit.fail_entry.message);
		}
		die("VMM left with reason %u (%#llx) at %#llx", m->run->exit.reason,
		    m->run->exit.hw_reason, m->run->exit.rip);
	}
}

static void vmm_settle(struct machine *m)
{
	m->run->immediate_exit = 1;
	check(ioctl(m->vcpu, VMM_RUN, 0) < 0 && errno == EINTR, "VMM_RUN with immediate_exit");
	m->run->immediate_exit = 0;
}

static void vmm_interrupt(struct machine *m, uint8_t vector)
{
	struct vmm_msi msi = { .size = sizeof(msi), .address = 0xfee00000, .data = vector };

	check(ioctl(m->vm, VMM_SIGNAL_MSI, &msi) == 1, "VMM_SIGNAL_MSI");
}

static void vmm_log(struct machine *m, bool on)
{
	m->slot.flags = on ? VMM_MEM_LOG_DIRTY : 0;
	set_memory(m, &m->slot);
}

static const uint64_t *vmm_get_log(struct machine *m, unsigned int pages)
{
	static uint64_t bitmap[LOG_WORDS];
	struct vmm_dirty log = {
		.size = sizeof(log),
		.flags = VMM_DIRTY_CLEAR,
		.pages = pages,
		.bitmap = (uintptr_t)bitmap,
	};

	check(!ioctl(m->vm, VMM_GET_DIRTY, &log), "VMM_GET_DIRTY");
	return bitmap;
}

static void vmm_slot(struct machine *m, void *memory, size_t bytes, bool there)
{
	struct vmm_memory slot = {
		.size = sizeof(slot),
		.slot = 1,
		.gpa = GUEST_SLOT,
		.bytes = there ? bytes : 0,
		.hva = (uintptr_t)memory,
	};

	set_memory(m, &slot);
}

static long long table_pages(struct machine *m)
{
	struct vmm_stat counters[64] = { 0 };
	struct vmm_stats stats = {
		.size = sizeof(stats),
		.count = 64,
		.stats = (uintptr_t)counters,
	};
	unsigned int i;

	check(!ioctl(m->vm, VMM_GET_STATS, &stats), "VMM_GET_STATS");
	for (i = 0; i < stats.count; i++)
		if (!strcmp(counters[i].name, "table_pages"))
			return counters[i].value;
	die("VMM_GET_STATS does not count pages of tables");
}

static long long vmm_tables(struct machine **m, int n)
{
	long long pages = 0;

	while (n--)
		pages += table_pages(m[n]);
	return pages * 4096;
}

static void vmm_destroy(struct machine *m)
{
	munmap(m->run, info.run_size);
	close(m->vcpu);
	close(m->vm);
	free(m);
}

static const char *const modules[] = { "vmm", NULL };

const struct bed vmm_bed = {
	.name = "vmm",
	.modules = { modules, modules },
	.device = "/dev/vmm",
	.open = vmm_open,
	.create = vmm_create,
	.start = vmm_start,
	.run = vmm_go,
	.settle = vmm_settle,
	.interrupt = vmm_interrupt,
	.log = vmm_log,
	.get_log = vmm_get_log,
	.slot = vmm_slot,
	.tables = vmm_tables,
	.destroy = vmm_destroy,
};
