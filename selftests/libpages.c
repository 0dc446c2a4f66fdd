// SPDX-License-Identifier: GPL-2.0-only
/*
 * libvmm's way to the pages that a guest has written to or touched, and to those it will.
 */
/* hosts: smp 6.12 */
#include <vmm/vmm.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

#define MEMORY	(1 * MIB)
#define FAR	(1 * GIB)
#define FAR_MEMORY	(256 * MIB)

FIXTURE(libpages) {
	struct vmm *vmm;
	struct vmm_vm *machine;
	struct vmm_vcpu *vcpu;
};

/* Adds one to the doublewords at 0x4000, 0x8000 and 0x5000 */
static const u8 increments[] = {
	0x66, 0xff, 0x06, 0x00, 0x40,
	0x66, 0xff, 0x06, 0x00, 0x80,
	0x66, 0xff, 0x06, 0x00, 0x50,
	0xf4,
};

FIXTURE_SETUP(libpages)
{
	ASSERT_EQ(0, vmm_open(NULL, &self->vmm));
	ASSERT_EQ(0, vmm_vm_create(self->vmm, 0, &self->machine));
	ASSERT_EQ(0, vmm_memory_add(self->machine, 0, MEMORY, 0, NULL));
	ASSERT_EQ(0, vmm_memory_add(self->machine, FAR, FAR_MEMORY, 0, NULL));
	ASSERT_EQ(0, vmm_memory_write(self->machine, 0x1000, increments, sizeof(increments)));
	ASSERT_EQ(0, vmm_vcpu_create(self->machine, 0, &self->vcpu));
}

FIXTURE_TEARDOWN(libpages)
{
	vmm_vcpu_free(self->vcpu);
	vmm_vm_free(self->machine);
	vmm_close(self->vmm);
}

/* What an iterator has said */
struct said {
	u32 runs;
	u64 gpa[8];
	u64 bytes[8];
};

static void note(void *opaque, uint64_t gpa, uint64_t bytes)
{
	struct said *said = opaque;

	if (said->runs == 8)
		fail("more than was written to");
	said->gpa[said->runs] = gpa;
	said->bytes[said->runs++] = bytes;
}

#define EXPECT_RUN(said, n, at, length) do {		\
	EXPECT_EQ(at, (said).gpa[n]);			\
	EXPECT_EQ(length, (said).bytes[n]);		\
} while (0)

static void run_once(struct __test_metadata *_metadata, struct vmm_vcpu *vcpu)
{
	ASSERT_EQ(0, vmm_vcpu_real_mode(vcpu, 0, 0x1000));
	ASSERT_EQ(0, vmm_vcpu_run(vcpu, NULL, NULL)) TH_LOG("%s", vmm_vcpu_error(vcpu));
	ASSERT_EQ(VMM_EXIT_HLT, vmm_vcpu_exit(vcpu)->reason);
}

TEST_F(libpages, dirty)
{
	struct vmm_vm *vm = self->machine;
	struct said said = { };

	EXPECT_EQ(-ENODATA, vmm_memory_each_dirty(vm, 0, MEMORY, true, note, &said));
	EXPECT_EQ(-ENOENT, vmm_memory_each_dirty(vm, 2 * GIB, MEMORY, true, note, &said));
	ASSERT_EQ(0, vmm_memory_log(vm, 0, true));
	run_once(_metadata, self->vcpu);
	ASSERT_EQ(0, vmm_memory_each_dirty(vm, 0, MEMORY, false, note, &said));
	ASSERT_EQ(2, said.runs);
	EXPECT_RUN(said, 0, 0x4000, 0x2000);
	EXPECT_RUN(said, 1, 0x8000, 0x1000);
	said.runs = 0;
	ASSERT_EQ(0, vmm_memory_each_dirty(vm, 0, MEMORY, true, note, &said));
	EXPECT_EQ(2, said.runs);
	ASSERT_EQ(0, vmm_memory_each_dirty(vm, 0, MEMORY, true, note, &said));
	EXPECT_EQ(2, said.runs);
}

/* More than is asked for at a time, from its first page to its last */
TEST_F(libpages, dirty_far)
{
	static const u64 pages[] = { 0, 63, 32767, 32768, FAR_MEMORY / PAGE - 1 };
	struct vmm_vm *vm = self->machine;
	struct said said = { };
	u32 i;

	ASSERT_EQ(0, vmm_memory_log(vm, FAR, true));
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, vmm_memory_mark_dirty(vm, FAR + pages[i] * PAGE, 1));
	ASSERT_EQ(0, vmm_memory_each_dirty(vm, FAR, FAR_MEMORY, true, note, &said));
	ASSERT_EQ(5, said.runs);
	for (i = 0; i < 5; i++)
		EXPECT_RUN(said, i, FAR + pages[i] * PAGE, PAGE);
}

TEST_F(libpages, touched)
{
	struct vmm_vm *vm = self->machine;
	struct said said = { };

	if (!has_caps(VMM_CAP_TOUCHED)) {
		EXPECT_EQ(-EOPNOTSUPP, vmm_memory_each_touched(vm, 0, MEMORY, true, note, &said));
		SKIP(return, "the CPU has no accessed bits");
	}
	/* Small pages, each for itself */
	ASSERT_EQ(0, vmm_memory_log(vm, 0, true));
	run_once(_metadata, self->vcpu);
	ASSERT_EQ(0, vmm_memory_each_touched(vm, 0, MEMORY, true, note, &said));
	ASSERT_EQ(3, said.runs);
	EXPECT_RUN(said, 0, 0x1000, 0x1000);
	EXPECT_RUN(said, 1, 0x4000, 0x2000);
	EXPECT_RUN(said, 2, 0x8000, 0x1000);
	ASSERT_EQ(0, vmm_memory_each_touched(vm, 0, MEMORY, true, note, &said));
	EXPECT_EQ(3, said.runs);
}

TEST_F(libpages, prefault)
{
	struct vmm_vm *vm = self->machine;
	int fd = vmm_vm_fd(vm);
	u64 before = get_stat(fd, "pages_4k");

	/* Small pages, to be counted */
	ASSERT_EQ(0, vmm_memory_log(vm, 0, true));
	EXPECT_EQ(0, vmm_memory_prefault(vm, 0x4000, 0x8000, true));
	EXPECT_LE(before + 8, get_stat(fd, "pages_4k"));
	run_once(_metadata, self->vcpu);
	EXPECT_EQ(-EINVAL, vmm_memory_prefault(vm, 0x4001, 0x8000, true));
	EXPECT_EQ(-ENXIO, vmm_memory_prefault(vm, 0, 2 * MEMORY, false));
	EXPECT_NE(NULL, strstr(vmm_vm_error(vm), "ahead"));
}

TEST_F(libpages, ring)
{
	struct vmm_vm *vm = self->machine;
	struct vmm_vcpu *vcpu = self->vcpu;
	struct said said = { };

	EXPECT_EQ(-ENXIO, vmm_vcpu_collect(vcpu, note, &said));
	EXPECT_EQ(-EINVAL, vmm_vcpu_add_ring(vcpu, 1000));
	EXPECT_NE(NULL, strstr(vmm_vcpu_error(vcpu), "1000 entries"));
	ASSERT_EQ(0, vmm_vcpu_add_ring(vcpu, VMM_RING_MIN));
	EXPECT_EQ(-EEXIST, vmm_vcpu_add_ring(vcpu, VMM_RING_MIN));
	ASSERT_EQ(0, vmm_memory_log(vm, 0, true));
	run_once(_metadata, vcpu);
	EXPECT_EQ(3, vmm_vcpu_collect(vcpu, note, &said));
	ASSERT_EQ(3, said.runs);
	EXPECT_RUN(said, 0, 0x4000, PAGE);
	EXPECT_RUN(said, 1, 0x8000, PAGE);
	EXPECT_RUN(said, 2, 0x5000, PAGE);
	EXPECT_EQ(0, vmm_vcpu_collect(vcpu, note, &said));
	EXPECT_EQ(3, vmm_vm_reset_rings(vm));
	run_once(_metadata, vcpu);
	EXPECT_EQ(3, vmm_vcpu_collect(vcpu, note, &said));
	/* What the library writes is in the log. */
	said.runs = 0;
	ASSERT_EQ(0, vmm_memory_write(vm, 0x6000, increments, 1));
	ASSERT_EQ(0, vmm_memory_each_dirty(vm, 0, MEMORY, true, note, &said));
	ASSERT_EQ(1, said.runs);
	EXPECT_RUN(said, 0, 0x6000, PAGE);
}

TEST_HARNESS_MAIN
