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

/**
 * struct xstate - a vCPU's extended state
 * @xcr0: the guest's XCR0
 * @xss: the guest's IA32_XSS
 * @live: the registers hold the guest's state, the area is stale
 * @area: the XSAVE area, aligned
 * @host: another one, for what is found in the registers
 * @space: where they lie
 */
struct xstate {
	u64 xcr0;
	u64 xss;
	bool live;
	struct xregs_state *area;
	struct xregs_state *host;
	u8 space[];
};

struct component {
	u32 size;
	u32 offset;
	bool aligned;		/* in the compacted format */
};

/* Facts about the host, immutable after xstate_init(). host_xcr0 is 0 where it has no XSAVE. */
static u64 host_xcr0;
static u64 host_xss;
static u64 supported_xcr0;
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
		if (!(supported_xcr0 & BIT_ULL(nr)))
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
	mxcsr_mask = read_mxcsr_mask();
	if (!mxcsr_mask)
		return -ENOMEM;

	area_size = LEGACY_SIZE;
	if (!boot_cpu_has(X86_FEATURE_OSXSAVE))
		return 0;

	host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	supported_xcr0 = host_xcr0 & OFFERED_XCR0;
	if ((supported_xcr0 & XFEATURE_MASK_AVX512) != XFEATURE_MASK_AVX512)
		supported_xcr0 &= ~(u64)XFEATURE_MASK_AVX512;
	/* RDPKRU and WRPKRU need CR4.PKE in the host. */
	if (!boot_cpu_has(X86_FEATURE_OSPKE))
		supported_xcr0 &= ~(u64)XFEATURE_MASK_PKRU;
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrq(MSR_IA32_XSS, host_xss);

	read_components();
	area_size = xstate_size(supported_xcr0, false);
	return 0;
}

u64 xstate_supported_xcr0(void)
{
	return supported_xcr0;
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

		if (!(mask & supported_xcr0 & BIT_ULL(nr)))
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
	if (nr >= NR_COMPONENTS || !(supported_xcr0 & BIT_ULL(nr)))
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
	if (supported_xcr0)
		x->area->header.xfeatures = XFEATURE_MASK_FP;
	x->xcr0 = XFEATURE_MASK_FP;
	x->xss = 0;
}

static u64 get_xcr0(void)
{
	count_insn(XGETBV);
	return xgetbv(XCR_XFEATURE_ENABLED_MASK);
}

static void set_xcr0(u64 xcr0)
{
	count_insn(XSETBV);
	xsetbv(XCR_XFEATURE_ENABLED_MASK, xcr0);
}

/*
 * FXSAVE and XSAVE skip the x87 pointers when no exception waits (APM vol. 2 11.4.4), so that
 * XRSTOR does not load them: what is there is the other side's, and none of its business.
 */
static __always_inline void clear_x87_pointers(void)
{
	if (static_cpu_has_bug(X86_BUG_FXSAVE_LEAK))
		asm volatile("fninit");
}

/* XSAVE and XRSTOR of what is offered, all of which lies in the mask's lower half */
static __always_inline void save_area(struct xregs_state *area, u32 mask)
{
	static_assert(OFFERED_XCR0 <= U32_MAX);
	count_insn(XSAVE);
	asm volatile("xsave64 %0" : "+m" (*area) : "a" (mask), "d" (0) : "memory");
}

static __always_inline void load_area(const struct xregs_state *area, u32 mask)
{
	clear_x87_pointers();
	count_insn(XRSTOR);
	asm volatile("xrstor64 %0" : : "m" (*area), "a" (mask), "d" (0) : "memory");
}

/* For hosts without XSAVE */
static __always_inline void exchange_legacy(struct xregs_state *from, struct xregs_state *to)
{
	count_insn(XSAVE);
	asm volatile("fxsave64 %0" : "=m" (from->i387));
	clear_x87_pointers();
	count_insn(XRSTOR);
	asm volatile("fxrstor64 %0" : : "m" (to->i387));
}

/**
 * xstate_load_guest - the registers become the guest's
 * @vcpu: whose; interrupts are off until xstate_save_guest()
 */
void xstate_load_guest(struct vcpu *vcpu)
{
	struct xstate *x = vcpu->xstate;
	u32 mask = supported_xcr0;

	x->live = true;
	if (!mask) {
		exchange_legacy(x->host, x->area);
		return;
	}
	save_area(x->host, mask);
	load_area(x->area, mask);
	if (x->xcr0 != host_xcr0)
		set_xcr0(x->xcr0);
	if (unlikely(x->xss != host_xss))
		compat_wrmsr(MSR_IA32_XSS, x->xss);
}

/**
 * xstate_save_guest - keep the guest's, and put back what xstate_load_guest() has found
 * @vcpu: whose
 */
void xstate_save_guest(struct vcpu *vcpu)
{
	struct xstate *x = vcpu->xstate;
	u32 mask = supported_xcr0;

	x->live = false;
	if (!mask) {
		exchange_legacy(x->area, x->host);
		return;
	}
	if (unlikely(x->xss != host_xss))
		compat_wrmsr(MSR_IA32_XSS, host_xss);
	/* The register itself is asked, as in xstate_xcr0(). */
	x->xcr0 = get_xcr0();
	if (x->xcr0 != host_xcr0)
		set_xcr0(host_xcr0);
	save_area(x->area, mask);
	load_area(x->host, mask);
}

/*
 * While the guest's state is live the register itself is asked: not every emulated CPU lets XSETBV
 * leave, and the copy would be wrong there without anyone noticing.
 */
u64 xstate_xcr0(const struct vcpu *vcpu)
{
	const struct xstate *x = vcpu->xstate;

	return x->live && supported_xcr0 ? get_xcr0() : x->xcr0;
}

u64 xstate_xss(const struct vcpu *vcpu)
{
	return vcpu->xstate->xss;
}

u32 xstate_pkru(const struct vcpu *vcpu)
{
	const struct xstate *x = vcpu->xstate;

	if (!(supported_xcr0 & XFEATURE_MASK_PKRU))
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
	if (vcpu->xstate->live && supported_xcr0)
		set_xcr0(xcr0);
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
	if (header->xfeatures & ~supported_xcr0 || header->xcomp_bv ||
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
	if (supported_xcr0) {
		ret = check_header(from, size);
		if (ret)
			return ret;
	}
	size = min(size, area_size);
	memcpy(vcpu->xstate->area, area, size);
	memset((u8 *)vcpu->xstate->area + size, 0, area_size - size);
	return 0;
}
