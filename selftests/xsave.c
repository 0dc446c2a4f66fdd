// SPDX-License-Identifier: GPL-2.0-only
/*
 * Extended state: x87, SSE, AVX, XCR0, and their state group.
 */
/* also: intel-haswell amd-trinity_apu */
#include <cpuid.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "insn.h"
#include "kselftest_harness.h"
#include "vmmtest.h"

#define UD		6
#define GP		13

#define XCR0_X87	1ULL
#define XCR0_SSE	2ULL
#define XCR0_AVX	4ULL

/* Offsets in an XSAVE area */
#define FCW		0
#define FTW		4
#define MXCSR		24
#define ST0		32
#define XMM(n)		(160 + 16 * (n))
#define XSTATE_BV	512
#define XCOMP_BV	520
#define HEADER		512
#define EXTENDED	576

FIXTURE(xsave) {
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *area;
	u32 size;
	u32 ymm_high;		/* offset of the upper halves */
};

FIXTURE_SETUP(xsave)
{
	u32 eax, ebx, ecx, edx;

	self->vm = vm_create(16 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	vcpu_set_mode(self->vcpu, MODE_LONG);
	self->size = self->vm->info.xsave_size;
	self->area = calloc(1, self->size);
	__cpuid_count(0xd, 2, eax, ebx, ecx, edx);
	self->ymm_high = ebx;
}

FIXTURE_TEARDOWN(xsave)
{
	vm_destroy(self->vm);
	free(self->area);
}

static bool has_xsave(FIXTURE_DATA(xsave) *self)
{
	return self->vm->info.caps & VMM_CAP_XSAVE;
}

static bool has_avx(FIXTURE_DATA(xsave) *self)
{
	return self->vm->info.xcr0 & XCR0_AVX;
}

static struct vmm_xsave *get(FIXTURE_DATA(xsave) *self)
{
	struct vmm_xsave *x = &self->vcpu->state.xsave;

	*x = (struct vmm_xsave) { .area = (uintptr_t)self->area, .area_size = self->size };
	vcpu_get(self->vcpu, VMM_STATE_XSAVE);
	return x;
}

static int try_set(FIXTURE_DATA(xsave) *self)
{
	return vcpu_try_set(self->vcpu, VMM_STATE_XSAVE);
}

#define AREA(type, offset) (*(type *)(self->area + (offset)))

TEST_F(xsave, power_on)
{
	struct vmm_xsave *x = get(self);
	u32 i;

	EXPECT_EQ(XCR0_X87, x->xcr0);
	EXPECT_EQ(0, x->xss);
	EXPECT_EQ(self->size, x->area_size);
	/* SDM vol. 3 table 10-1: not what FNINIT leaves */
	EXPECT_EQ(0x40, AREA(u16, FCW));
	EXPECT_EQ(0x1f80, AREA(u32, MXCSR));
	for (i = ST0; i < XMM(16); i++) {
		EXPECT_EQ(0, self->area[i])
			TH_LOG("byte %u", i);
	}
	if (has_xsave(self)) {
		EXPECT_EQ(0, AREA(u64, XCOMP_BV));
		EXPECT_EQ(0, AREA(u64, XSTATE_BV) & ~XCR0_X87);
	}
	ASSERT_EQ(0, guest_exec(self->vcpu, "\xdb\xe3", 2));		/* fninit */
	get(self);
	EXPECT_EQ(0x37f, AREA(u16, FCW));
	EXPECT_EQ(0, AREA(u8, FTW));
}

/* x87 and SSE, which every host has */
GUEST_CODE(legacy, 64,
	   "fninit; fld1; fldpi\n"
	   "mov $0x1f81, %eax; mov %eax, DATA_GPA; ldmxcsr DATA_GPA\n"
	   "mov $0x0123456789abcdef, %rax; movq %rax, %xmm3; movq %rax, %xmm12\n"
	   "pslldq $8, %xmm12\n"
	   "out %al, $PORT_VALUE\n"
	   "movdqu %xmm3, DATA_GPA; movdqu %xmm12, DATA_GPA + 16\n"
	   "fstpl DATA_GPA + 32; stmxcsr DATA_GPA + 40\n"
	   "out %al, $PORT_DONE\n");

TEST_F(xsave, legacy)
{
	double st;

	vcpu_load(self->vcpu, MODE_LONG, legacy);
	run_value(self->vcpu);
	get(self);
	EXPECT_EQ(0x1f81, AREA(u32, MXCSR));
	EXPECT_EQ(0x0123456789abcdef, AREA(u64, XMM(3)));
	EXPECT_EQ(0x0123456789abcdef, AREA(u64, XMM(12) + 8));
	EXPECT_EQ(0x4000, AREA(u16, ST0 + 8));			/* pi */
	EXPECT_EQ(0xc90fdaa22168c235, AREA(u64, ST0));
	EXPECT_EQ(0x3fff, AREA(u16, ST0 + 16 + 8));		/* 1 */
	EXPECT_EQ(0xc0, AREA(u8, FTW));

	AREA(u64, XMM(3)) = 0x3333;
	AREA(u64, XMM(12)) = 0x1212;
	AREA(u32, MXCSR) = 0x1f90;
	memcpy(self->area + ST0, self->area + ST0 + 16, 10);	/* 1 */
	ASSERT_EQ(0, try_set(self));
	run_done(self->vcpu);
	EXPECT_EQ(0x3333, guest_u64(self->vm, DATA_GPA));
	EXPECT_EQ(0x1212, guest_u64(self->vm, DATA_GPA + 16));
	EXPECT_EQ(0x0123456789abcdef, guest_u64(self->vm, DATA_GPA + 24));
	memcpy(&st, guest_ptr(self->vm, DATA_GPA + 32, 8), 8);
	EXPECT_EQ(1.0, st);
	EXPECT_EQ(0x1f90, guest_u32(self->vm, DATA_GPA + 40));
}

GUEST_CODE(avx, 64,
	   "mov %cr4, %rax; or $0x40000, %rax; mov %rax, %cr4\n"
	   "xor %ecx, %ecx; xor %edx, %edx; mov $7, %eax; xsetbv\n"
	   "vmovdqu DATA_GPA, %ymm0; vmovdqu DATA_GPA + 32, %ymm15\n"
	   "out %al, $PORT_VALUE\n"
	   "vmovdqu %ymm0, DATA_GPA; vmovdqu %ymm15, DATA_GPA + 32\n"
	   /* Without AVX in XCR0 its state stays. */
	   "mov $3, %eax; xsetbv\n"
	   "out %al, $PORT_VALUE\n"
	   "pxor %xmm1, %xmm1\n"
	   "mov $7, %eax; xsetbv\n"
	   "vmovdqu %ymm0, DATA_GPA; vmovdqu %ymm15, DATA_GPA + 32\n"
	   "out %al, $PORT_DONE\n");

TEST_F(xsave, avx)
{
	struct vmm_xsave *x;
	u32 i;

	if (!has_avx(self))
		SKIP(return, "this host has no AVX");
	vcpu_load(self->vcpu, MODE_LONG, avx);
	for (i = 0; i < 64; i++)
		guest_u8(self->vm, DATA_GPA + i) = i + 1;
	run_value(self->vcpu);
	x = get(self);
	EXPECT_EQ(7, x->xcr0);
	EXPECT_EQ(XCR0_AVX, AREA(u64, XSTATE_BV) & XCR0_AVX);
	for (i = 0; i < 16; i++) {
		EXPECT_EQ(i + 1, AREA(u8, XMM(0) + i));
		EXPECT_EQ(i + 17, AREA(u8, self->ymm_high + i));
		EXPECT_EQ(i + 33, AREA(u8, XMM(15) + i));
		EXPECT_EQ(i + 49, AREA(u8, self->ymm_high + 15 * 16 + i));
	}
	AREA(u64, self->ymm_high) = 0xabcdabcdabcdabcd;
	AREA(u64, XMM(15)) = 0x1515;
	ASSERT_EQ(0, try_set(self));
	run_value(self->vcpu);
	EXPECT_EQ(0xabcdabcdabcdabcd, guest_u64(self->vm, DATA_GPA + 16));
	EXPECT_EQ(0x1515, guest_u64(self->vm, DATA_GPA + 32));

	x = get(self);
	EXPECT_EQ(3, x->xcr0);
	EXPECT_EQ(0xabcdabcdabcdabcd, AREA(u64, self->ymm_high));
	memset(guest_ptr(self->vm, DATA_GPA, 64), 0, 64);
	run_done(self->vcpu);
	EXPECT_EQ(0xabcdabcdabcdabcd, guest_u64(self->vm, DATA_GPA + 16));
	EXPECT_EQ(0x1515, guest_u64(self->vm, DATA_GPA + 32));
}

/* A component that the area calls initial is, whatever bytes lie there. */
TEST_F(xsave, initial_components)
{
	u32 i;

	if (!has_avx(self))
		SKIP(return, "this host has no AVX");
	vcpu_load(self->vcpu, MODE_LONG, avx);
	for (i = 0; i < 64; i++)
		guest_u8(self->vm, DATA_GPA + i) = i + 1;
	run_value(self->vcpu);
	get(self);
	AREA(u64, XSTATE_BV) &= ~XCR0_AVX;
	ASSERT_EQ(0, try_set(self));
	run_value(self->vcpu);
	for (i = 0; i < 16; i++) {
		EXPECT_EQ(i + 1, guest_u8(self->vm, DATA_GPA + i));
		EXPECT_EQ(0, guest_u8(self->vm, DATA_GPA + 16 + i));
	}
}

/* Registers of one guest are not those of another, nor of the next one on this CPU. */
TEST_F(xsave, guests_apart)
{
	struct vcpu *other;
	struct vm *vm;
	u32 i, round;

	vm = vm_create(16 * MIB, 0);
	other = vcpu_create(vm, 0);
	vcpu_load(self->vcpu, MODE_LONG, legacy);
	run_value(self->vcpu);
	for (round = 0; round < 20; round++) {
		vcpu_load(other, MODE_LONG, legacy);
		run_value(other);
		other->state.xsave = (struct vmm_xsave) {
			.area = (uintptr_t)self->area, .area_size = self->size,
		};
		vcpu_get(other, VMM_STATE_XSAVE);
		for (i = 0; i < 16; i++)
			AREA(u64, XMM(i)) = ~0ULL;
		vcpu_set(other, VMM_STATE_XSAVE);
		run_done(other);
		EXPECT_EQ(~0ULL, guest_u64(vm, DATA_GPA));
	}
	run_done(self->vcpu);
	EXPECT_EQ(0x0123456789abcdef, guest_u64(self->vm, DATA_GPA));
	EXPECT_EQ(0, guest_u64(self->vm, DATA_GPA + 8));
	vm_destroy(vm);
}

/* ---- XSETBV and XGETBV ---- */

TEST_F(xsave, xsetbv)
{
	struct vcpu *vcpu = self->vcpu;
	u64 cr4, xcr0 = self->vm->info.xcr0, data;

	/* CR4.OSXSAVE is clear. */
	EXPECT_EQ(UD, guest_xsetbv(vcpu, 0, 1));
	EXPECT_EQ(UD, guest_xgetbv(vcpu, 0, &data));
	ASSERT_EQ(0, guest_read_cr(vcpu, 4, &cr4));
	if (!has_xsave(self)) {
		EXPECT_EQ(GP, guest_write_cr(vcpu, 4, cr4 | CR4_OSXSAVE));
		SKIP(return, "this host has no XSAVE");
	}
	ASSERT_EQ(0, guest_write_cr(vcpu, 4, cr4 | CR4_OSXSAVE));
	EXPECT_EQ(0, guest_xgetbv(vcpu, 0, &data));
	EXPECT_EQ(1, data);
	EXPECT_EQ(GP, guest_xsetbv(vcpu, 0, 0));
	EXPECT_EQ(GP, guest_xsetbv(vcpu, 0, xcr0 & ~1ULL));
	EXPECT_EQ(GP, guest_xsetbv(vcpu, 0, ~0ULL));
	EXPECT_EQ(GP, guest_xsetbv(vcpu, 0, 1ULL << 63 | 1));
	EXPECT_EQ(GP, guest_xsetbv(vcpu, 1, 1));
	EXPECT_EQ(0, guest_xgetbv(vcpu, 0, &data));
	EXPECT_EQ(1, data);
	EXPECT_EQ(0, guest_xsetbv(vcpu, 0, xcr0));
	EXPECT_EQ(0, guest_xgetbv(vcpu, 0, &data));
	EXPECT_EQ(xcr0, data);
	EXPECT_EQ(xcr0, get(self)->xcr0);

	vcpu_set_user(vcpu);
	EXPECT_EQ(0, guest_xgetbv(vcpu, 0, &data));
	EXPECT_EQ(GP, guest_xsetbv(vcpu, 0, 1));
	EXPECT_EQ(xcr0, get(self)->xcr0);
}

/* ---- what the state group refuses ---- */

static void refused(struct __test_metadata *_metadata, FIXTURE_DATA(xsave) *self, int error,
		    const char *what)
{
	EXPECT_EQ(error, try_set(self)) TH_LOG("%s", what);
	get(self);
	EXPECT_EQ(0x600d, AREA(u64, XMM(1))) TH_LOG("%s: the state has changed", what);
	EXPECT_EQ(XCR0_X87, self->vcpu->state.xsave.xcr0) TH_LOG("%s", what);
}

#define REFUSED(error, change) do {						\
	struct vmm_xsave *x = get(self);					\
										\
	(void)x;								\
	AREA(u64, XMM(1)) = 0xbad;						\
	change;									\
	refused(_metadata, self, error, #change);				\
} while (0)

TEST_F(xsave, refused)
{
	u8 *page = map_memory(2 * PAGE);

	get(self);
	AREA(u64, XMM(1)) = 0x600d;
	if (has_xsave(self))
		AREA(u64, XSTATE_BV) |= XCR0_SSE;
	ASSERT_EQ(0, try_set(self));

	REFUSED(-EINVAL, AREA(u32, MXCSR) |= 1U << 31);
	REFUSED(-EINVAL, x->xcr0 = 0);
	REFUSED(-EINVAL, x->xcr0 = 2);
	REFUSED(-EINVAL, x->xcr0 = 5);
	REFUSED(-EINVAL, x->xcr0 = 0x23);
	REFUSED(-EINVAL, x->xcr0 = 1ULL << 62 | 1);
	REFUSED(-EINVAL, x->xss = 1 << 8);
	REFUSED(-EINVAL, x->reserved = 1);
	REFUSED(-EINVAL, x->area_size = 511);
	REFUSED(-EFAULT, x->area = 8);
	mprotect(page + PAGE, PAGE, PROT_NONE);
	REFUSED(-EFAULT, x->area = (uintptr_t)(page + PAGE - 256));
	if (!has_xsave(self))
		SKIP(return, "this host has no XSAVE");
	REFUSED(-EINVAL, x->area_size = EXTENDED - 1);
	REFUSED(-EINVAL, AREA(u64, XSTATE_BV) |= 1ULL << 63);
	REFUSED(-EINVAL, AREA(u64, XSTATE_BV) |= 1 << 3);
	REFUSED(-EINVAL, AREA(u64, XCOMP_BV) = 1ULL << 63);
	REFUSED(-EINVAL, AREA(u64, HEADER + 16) = 1);
	REFUSED(-EINVAL, AREA(u8, HEADER + 63) = 1);
	if (has_avx(self))
		REFUSED(-EINVAL, AREA(u64, XSTATE_BV) |= XCR0_AVX; x->area_size = EXTENDED);
}

/* Only the registers, without the area; a short area; one that is too small to read into */
TEST_F(xsave, without_the_area)
{
	struct vmm_xsave *x;

	get(self);
	AREA(u64, XMM(1)) = 0x1111;
	if (has_xsave(self))
		AREA(u64, XSTATE_BV) |= XCR0_SSE;
	ASSERT_EQ(0, try_set(self));

	x = &self->vcpu->state.xsave;
	*x = (struct vmm_xsave) { };
	vcpu_get(self->vcpu, VMM_STATE_XSAVE);
	EXPECT_EQ(XCR0_X87, x->xcr0);
	if (has_xsave(self)) {
		x->xcr0 = XCR0_X87 | XCR0_SSE;
		EXPECT_EQ(0, try_set(self));
	}
	x = get(self);
	EXPECT_EQ(0x1111, AREA(u64, XMM(1)));
	if (has_xsave(self))
		EXPECT_EQ(XCR0_X87 | XCR0_SSE, x->xcr0);

	x->area_size = self->size - 1;
	EXPECT_EQ(-ENOSPC, vcpu_try_get(self->vcpu, VMM_STATE_XSAVE));
}

TEST_HARNESS_MAIN
