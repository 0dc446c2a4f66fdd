// SPDX-License-Identifier: GPL-2.0-only
/*
 * Extended state: x87, SSE and whatever XSAVE manages.
 *
 * A vCPU has an area in the standard format that holds all components that we offer, whatever its
 * XCR0 says now: a guest that clears a bit of XCR0 and sets it again finds the state as it was. So
 * XRSTOR and XSAVE run under the host's XCR0, which has all of them, and the guest's is loaded
 * between the two. PKRU is one of the components.
 *
 * Between xstate_load_guest() and xstate_save_guest() interrupts are off: nobody else can find the
 * guest's state in the registers. What is found there before, the thread's or whatever the kernel
 * has left, is there again behind; so the kernel need not be told. Components that are not offered
 * stay in their registers, which no guest reaches: its XCR0 does not have them.
 */
#include <linux/align.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <asm/cpufeature.h>
#include <asm/fpu/types.h>
#include <asm/fpu/xcr.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/special_insns.h>

#include "compat.h"
#include "vcpu.h"
#include "x86/count.h"
#include "x86/x86.h"
#include "x86/xstate.h"

#define AREA_ALIGN	64
#define LEGACY_SIZE	512
#define EXTENDED_OFFSET	(LEGACY_SIZE + 64)

/* What the area may hold. Each needs nothing but XCR0 to be swapped. */
#define OFFERED_XCR0	(XFEATURE_MASK_FP | XFEATURE_MASK_SSE | XFEATURE_MASK_YMM |	\
			 XFEATURE_MASK_AVX512 | XFEATURE_MASK_PKRU)
#define NR_COMPONENTS	(XFEATURE_PKRU + 1)

/* After power-on, not after FNINIT: SDM vol. 3 table 10-1, APM vol. 2 table 14-1 */
#define FCW_POWER_ON	0x0040
#define FTW_ALL_ZERO	0xff		/* abridged: all eight registers hold (zero) values */

struct component {
	u32 size;
	u32 offset;
	bool aligned;		/* in the compacted format */
};

struct xstate_facts xstate_facts;

static u32 mxcsr_mask;
static u32 area_size;
static struct component components[NR_COMPONENTS];

static u32 read_mxcsr_mask(void)
{
	struct fxregs_state *fx;
	u32 mask;

	/* Too large for the stack, and FXSAVE wants it aligned to 16. */
	fx = kzalloc(sizeof(*fx), GFP_KERNEL);
	if (!fx)
		return 0;
	asm volatile("fxsave %0" : "+m" (*fx));
	mask = fx->mxcsr_mask;
	kfree(fx);
	/* SDM vol. 1 11.6.6: zero stands for the mask of the first processors with SSE. */
	return mask ?: 0xffbf;
}

static void read_components(void)
{
	u32 eax, ebx, ecx, edx;
	int nr;

	components[XFEATURE_FP].size = 160;
	components[XFEATURE_SSE].size = 256;
	components[XFEATURE_SSE].offset = 160;

	for (nr = XFEATURE_YMM; nr < NR_COMPONENTS; nr++) {
		if (!(xstate_facts.supported_xcr0 & BIT_ULL(nr)))
			continue;
		cpuid_count(0xd, nr, &eax, &ebx, &ecx, &edx);
		components[nr].size = eax;
		components[nr].offset = ebx;
		components[nr].aligned = ecx & 2;
	}
}

/**
 * xstate_init - learn what this host's extended state is
 *
 * Return: 0 or ENOMEM.
 */
int xstate_init(void)
{
	BUILD_BUG_ON(OFFERED_XCR0 > U32_MAX);

	mxcsr_mask = read_mxcsr_mask();
	if (!mxcsr_mask)
		return -ENOMEM;

	area_size = LEGACY_SIZE;
	if (!boot_cpu_has(X86_FEATURE_OSXSAVE))
		return 0;

	xstate_facts.host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	xstate_facts.supported_xcr0 = xstate_facts.host_xcr0 & OFFERED_XCR0;
	if ((xstate_facts.supported_xcr0 & XFEATURE_MASK_AVX512) != XFEATURE_MASK_AVX512)
		xstate_facts.supported_xcr0 &= ~(u64)XFEATURE_MASK_AVX512;
	/* RDPKRU and WRPKRU need CR4.PKE in the host. */
	if (!boot_cpu_has(X86_FEATURE_OSPKE))
		xstate_facts.supported_xcr0 &= ~(u64)XFEATURE_MASK_PKRU;
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrq(MSR_IA32_XSS, xstate_facts.host_xss);

	read_components();
	area_size = xstate_size(xstate_facts.supported_xcr0, false);
	return 0;
}

u64 xstate_supported_xcr0(void)
{
	return xstate_facts.supported_xcr0;
}

u32 xstate_area_size(void)
{
	return area_size;
}

u32 xstate_size(u64 mask, bool compacted)
{
	u32 size = EXTENDED_OFFSET;
	int nr;

	for (nr = XFEATURE_YMM; nr < NR_COMPONENTS; nr++) {
		const struct component *c = &components[nr];

		if (!(mask & xstate_facts.supported_xcr0 & BIT_ULL(nr)))
			continue;
		if (!compacted)
			size = max(size, c->offset + c->size);
		else
			size = (c->aligned ? ALIGN(size, AREA_ALIGN) : size) + c->size;
	}
	return size;
}

bool xstate_component(int nr, u32 *size, u32 *offset, bool *aligned)
{
	if (nr >= NR_COMPONENTS || !(xstate_facts.supported_xcr0 & BIT_ULL(nr)))
		return false;
	*size = components[nr].size;
	*offset = components[nr].offset;
	*aligned = components[nr].aligned;
	return true;
}

/**
 * xstate_create - extended state for a new vCPU
 * @vcpu: whose
 *
 * Return: 0 or ENOMEM. xstate_reset() gives it values.
 */
int xstate_create(struct vcpu *vcpu)
{
	u32 size = ALIGN(area_size, AREA_ALIGN);
	struct xstate *x;

	x = kzalloc(sizeof(*x) + 2 * size + AREA_ALIGN - 1, GFP_KERNEL_ACCOUNT);
	if (!x)
		return -ENOMEM;
	x->area = PTR_ALIGN((struct xregs_state *)x->space, AREA_ALIGN);
	x->host = (void *)x->area + size;
	vcpu->xstate = x;
	return 0;
}

void xstate_destroy(struct vcpu *vcpu)
{
	kfree(vcpu->xstate);
	vcpu->xstate = NULL;
}

/* INIT leaves extended state, XCR0 and IA32_XSS alone. */
void xstate_reset(struct vcpu *vcpu, bool init)
{
	struct xstate *x = vcpu->xstate;

	if (init)
		return;
	memset(x->area, 0, area_size);
	x->area->i387.cwd = FCW_POWER_ON;
	x->area->i387.twd = FTW_ALL_ZERO;
	x->area->i387.mxcsr = MXCSR_DEFAULT;
	if (xstate_facts.supported_xcr0)
		x->area->header.xfeatures = XFEATURE_MASK_FP;
	x->xcr0 = XFEATURE_MASK_FP;
	x->xss = 0;
}

/*
 * While the guest's state is live the register itself is asked: not every emulated CPU lets XSETBV
 * leave, and the copy would be wrong there without anyone noticing.
 */
u64 xstate_xcr0(const struct vcpu *vcpu)
{
	const struct xstate *x = vcpu->xstate;

	return x->live && xstate_facts.supported_xcr0 ? xstate_get_xcr0() : x->xcr0;
}

u64 xstate_xss(const struct vcpu *vcpu)
{
	return vcpu->xstate->xss;
}

u32 xstate_pkru(const struct vcpu *vcpu)
{
	const struct xstate *x = vcpu->xstate;

	if (!(xstate_facts.supported_xcr0 & XFEATURE_MASK_PKRU))
		return 0;
	if (x->live)
		return rdpkru();
	if (!(x->area->header.xfeatures & XFEATURE_MASK_PKRU))
		return 0;
	return *(const u32 *)((const u8 *)x->area + components[XFEATURE_PKRU].offset);
}

/* Values have been checked by xstate_check_xcr0(). */
void xstate_set_xcr0(struct vcpu *vcpu, u64 xcr0)
{
	vcpu->xstate->xcr0 = xcr0;
	if (vcpu->xstate->live && xstate_facts.supported_xcr0)
		xstate_write_xcr0(xcr0);
}

void xstate_set_xss(struct vcpu *vcpu, u64 xss)
{
	struct xstate *x = vcpu->xstate;

	/* Written even if it is the host's: the register holds the old one now. */
	if (x->live && x->xss != xss)
		wrmsrq(MSR_IA32_XSS, xss);
	x->xss = xss;
}

/* SDM vol. 1 13.3: x87 always; AVX needs SSE; the parts of AVX-512 need each other and AVX. */
int xstate_check_xcr0(struct vcpu *vcpu, u64 xcr0, u64 xss)
{
	u64 avx512 = xcr0 & XFEATURE_MASK_AVX512;

	if (xcr0 & ~vcpu->features.xcr0_allowed || !(xcr0 & XFEATURE_MASK_FP))
		return -EINVAL;
	if ((xcr0 & XFEATURE_MASK_YMM) && !(xcr0 & XFEATURE_MASK_SSE))
		return -EINVAL;
	if (avx512 && (avx512 != XFEATURE_MASK_AVX512 || !(xcr0 & XFEATURE_MASK_YMM)))
		return -EINVAL;
	return xss & ~vcpu->features.xss_allowed ? -EINVAL : 0;
}

void xstate_get_area(struct vcpu *vcpu, void *area, u32 size)
{
	memcpy(area, vcpu->xstate->area, min(size, area_size));
	if (size > area_size)
		memset(area + area_size, 0, size - area_size);
}

/* What XRSTOR of the standard form would fault on: SDM vol. 1 13.8.1 */
static int check_header(const struct xregs_state *area, u32 size)
{
	const struct xstate_header *header = &area->header;

	if (size < EXTENDED_OFFSET)
		return -EINVAL;
	if (header->xfeatures & ~xstate_facts.supported_xcr0 || header->xcomp_bv ||
	    memchr_inv(header->reserved, 0, sizeof(header->reserved)))
		return -EINVAL;
	return size < xstate_size(header->xfeatures, false) ? -EINVAL : 0;
}

int xstate_set_area(struct vcpu *vcpu, const void *area, u32 size)
{
	const struct xregs_state *from = area;
	int ret;

	if (size < LEGACY_SIZE || from->i387.mxcsr & ~mxcsr_mask)
		return -EINVAL;
	if (xstate_facts.supported_xcr0) {
		ret = check_header(from, size);
		if (ret)
			return ret;
	}
	size = min(size, area_size);
	memcpy(vcpu->xstate->area, area, size);
	memset((u8 *)vcpu->xstate->area + size, 0, area_size - size);
	return 0;
}
