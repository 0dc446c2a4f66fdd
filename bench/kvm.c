// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's own hypervisor, by its raw ioctls.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define MAX_CPUID	256

struct machine {
	struct kvm_userspace_memory_region region;
	int vm;
	int vcpu;
	struct kvm_run *run;
};

static int kvm = -1;
static int run_size;
static struct kvm_cpuid2 *cpuid_table;

static void kvm_open(void)
{
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	check(kvm >= 0, "/dev/kvm");
	run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	check(run_size > 0, "KVM_GET_VCPU_MMAP_SIZE");
	cpuid_table = calloc(1, sizeof(*cpuid_table) +
			     MAX_CPUID * sizeof(cpuid_table->entries[0]));
	check(cpuid_table, "memory");
	cpuid_table->nent = MAX_CPUID;
	check(!ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid_table), "KVM_GET_SUPPORTED_CPUID");
}

static void set_region(struct machine *m, struct kvm_userspace_memory_region *region)
{
	check(!ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, region), "KVM_SET_USER_MEMORY_REGION");
}

static struct machine *kvm_create(void *memory, size_t bytes)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)memory,
	};
	struct kvm_pit_config pit = { 0 };
	struct machine *m = calloc(1, sizeof(*m));

	check(m, "memory");
	m->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	check(m->vm >= 0, "KVM_CREATE_VM");
	check(!ioctl(m->vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	check(!ioctl(m->vm, KVM_CREATE_PIT2, &pit), "KVM_CREATE_PIT2");
	m->region = region;
	set_region(m, &region);
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	check(m->vcpu >= 0, "KVM_CREATE_VCPU");
	m->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	check(m->run != MAP_FAILED, "mmap of a vCPU");
	check(!ioctl(m->vcpu, KVM_SET_CPUID2, cpuid_table), "KVM_SET_CPUID2");
	return m;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code, bool system)
{
	return (struct kvm_segment){
		.selector = selector,
		.limit = system ? 0x67 : ~0u,
		.type = type,
		.present = 1,
		.s = !system,
		.l = code,
		.db = !code && !system,
		.g = !system,
	};
}

static void kvm_start(struct machine *m, uint64_t rip, uint64_t rdi, uint64_t rsi)
{
	struct kvm_regs regs = {
		.rip = rip,
		.rdi = rdi,
		.rsi = rsi,
		.rsp = GUEST_STACK,
		.rflags = 2,
	};
	struct kvm_sregs sregs;

	check(!ioctl(m->vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = segment(SELECTOR_CODE, 0xb, true, false);
	sregs.ss = segment(SELECTOR_DATA, 0x3, false, false);
	sregs.ds = sregs.ss;
	sregs.es = sregs.ss;
	sregs.fs = sregs.ss;
	sregs.gs = sregs.ss;
	sregs.tr = segment(SELECTOR_TASK, 0xb, false, true);
	sregs.gdt.base = GUEST_GDT;
	sregs.gdt.limit = 0x27;
	sregs.idt.base = GUEST_IDT;
	sregs.idt.limit = 0xfff;
	sregs.cr0 = 0x80050033;
	sregs.cr3 = GUEST_PML4;
	sregs.cr4 = 0x20;
	sregs.efer = 0x500;
	check(!ioctl(m->vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(!ioctl(m->vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void kvm_go(struct machine *m, unsigned long exits)
{
	while (exits--) {
		check(!ioctl(m->vcpu, KVM_RUN, 0), "KVM_RUN");
		switch (m->run->exit_reason) {
		case KVM_EXIT_IO:
			if (m->run->io.port == BENCH_PORT)
				continue;
			break;
		case KVM_EXIT_MMIO:
			if (m->run->mmio.phys_addr != GUEST_DEVICE)
				break;
			if (!m->run->mmio.is_write)
				memset(m->run->mmio.data, 0, sizeof(m->run->mmio.data));
			continue;
		}
		die("KVM left with reason %u", m->run->exit_reason);
	}
}

static void kvm_settle(struct machine *m)
{
	m->run->immediate_exit = 1;
	check(ioctl(m->vcpu, KVM_RUN, 0) < 0 && errno == EINTR, "KVM_RUN with immediate_exit");
	m->run->immediate_exit = 0;
}

static void kvm_interrupt(struct machine *m, uint8_t vector)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = vector };

	check(ioctl(m->vm, KVM_SIGNAL_MSI, &msi) == 1, "KVM_SIGNAL_MSI");
}

static void kvm_log(struct machine *m, bool on)
{
	m->region.flags = on ? KVM_MEM_LOG_DIRTY_PAGES : 0;
	set_region(m, &m->region);
}

static const uint64_t *kvm_get_log(struct machine *m, unsigned int pages)
{
	static uint64_t bitmap[LOG_WORDS];
	struct kvm_dirty_log log = { .dirty_bitmap = bitmap };

	check(!ioctl(m->vm, KVM_GET_DIRTY_LOG, &log), "KVM_GET_DIRTY_LOG");
	return bitmap;
}

static void kvm_slot(struct machine *m, void *memory, size_t bytes, bool there)
{
	struct kvm_userspace_memory_region region = {
		.slot = 1,
		.guest_phys_addr = GUEST_SLOT,
		.memory_size = there ? bytes : 0,
		.userspace_addr = (uintptr_t)memory,
	};

	set_region(m, &region);
}

static long long kvm_tables(struct machine **m, int n)
{
	return meminfo("SecPageTables");
}

static void kvm_destroy(struct machine *m)
{
	munmap(m->run, run_size);
	close(m->vcpu);
	close(m->vm);
	free(m);
}

static const char *const amd_modules[] = { "kvm", "kvm_amd", NULL };
static const char *const intel_modules[] = { "kvm", "kvm_intel", NULL };

const struct bed kvm_bed = {
	.name = "kvm",
	.modules = { amd_modules, intel_modules },
	.device = "/dev/kvm",
	.open = kvm_open,
	.create = kvm_create,
	.start = kvm_start,
	.run = kvm_go,
	.settle = kvm_settle,
	.interrupt = kvm_interrupt,
	.log = kvm_log,
	.get_log = kvm_get_log,
	.slot = kvm_slot,
	.tables = kvm_tables,
	.destroy = kvm_destroy,
};
