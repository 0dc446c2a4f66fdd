// SPDX-License-Identifier: GPL-2.0-only
/*
 * Model-specific registers, and the VMM's policy about them.
 *
 * A register is one of four kinds: it has a handler (TSC, APIC, segments ...), it is plain state (a
 * field of struct cpu_msrs, which the backend may hold instead), it reads as a constant and ignores
 * or refuses writes, or it is unknown. Values are checked as the CPU checks them, so that a guest
 * never gets a bad one into the hardware, whichever way it comes.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/overflow.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <asm/apicdef.h>
#include <asm/cpufeature.h>
#include <asm/kvm_para.h>
#include <asm/mce.h>
#include <asm/msr.h>
#include <asm/mtrr.h>
#include <asm/processor.h>

#include "compat.h"
#include "hw.h"
#include "irq/irq.h"
#include "pv/pv.h"
#include "vcpu.h"
#include "vm.h"
#include "vmm_abi.h"
#include "x86/x86.h"

#define X2APIC_MSRS	0x100		/* from APIC_BASE_MSR on */

/* IA32_MTRRCAP: eight variable ranges, the fixed ones, write combining */
#define NR_VARIABLE	8
#define MTRR_CAP	(NR_VARIABLE | BIT(8) | BIT(10))
#define MTRR_PHYS_BASE(n)	(0x200 + 2 * (n))
#define MTRR_PHYS_MASK(n)	(0x201 + 2 * (n))
#define MTRR_DEF_VALID	(0xffull | BIT(10) | BIT(11))

/* Power-on value of IA32_PAT: SDM vol. 3 table 12-12 */
#define PAT_POWER_ON	0x0007040600070406ull

/* HWCR bits that software sets and nothing follows from; TscFreqSel: the TSC counts at P0's rate */
#define HWCR_TLB_CACHE_DIS	BIT_ULL(3)
#define HWCR_FF_DIS		BIT_ULL(6)
#define HWCR_IGNNE_EM		BIT_ULL(8)
#define HWCR_MC_STATUS_WR_EN	BIT_ULL(18)
#define HWCR_TSC_FREQ_SEL	BIT_ULL(24)
#define HWCR_VALID		(HWCR_TLB_CACHE_DIS | HWCR_FF_DIS | HWCR_IGNNE_EM |	\
				 HWCR_MC_STATUS_WR_EN | HWCR_TSC_FREQ_SEL)

#define MISC_ENABLE_POWER_ON	(MSR_IA32_MISC_ENABLE_FAST_STRING |		\
				 MSR_IA32_MISC_ENABLE_BTS_UNAVAIL |		\
				 MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL)
#define MISC_ENABLE_READ_ONLY	(MSR_IA32_MISC_ENABLE_BTS_UNAVAIL |		\
				 MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL)

/* AMD gives bits 5:2 to pins that no guest has. */
#define DEBUGCTL_VALID		(DEBUGCTLMSR_LBR | DEBUGCTLMSR_BTF)
#define DEBUGCTL_AMD_PINS	0x3cull

/* Machine check: no banks, no IA32_MCG_CTL */
#define MCG_CAP			0

/* I/O range registers: APM vol. 2 7.9.2 */
#define MSR_IORR_FIRST		0xc0010016
#define MSR_IORR_LAST		0xc0010019

/* VM_CR of a CPU whose SVM is off and locked: APM vol. 2 15.30.1 */
#define VM_CR_LOCK		BIT(3)
#define VM_CR_SVMDIS		BIT(4)

/* Since Linux 6.10: ITS_NO; of older kernels, by number */
#define ARCH_CAP_OFFERED	(ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_RSBA |	\
				 ARCH_CAP_SSB_NO | ARCH_CAP_MDS_NO |			\
				 ARCH_CAP_PSCHANGE_MC_NO | ARCH_CAP_TAA_NO |		\
				 ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO |		\
				 ARCH_CAP_PSDP_NO | ARCH_CAP_FB_CLEAR |			\
				 ARCH_CAP_RRSBA | ARCH_CAP_BHI_NO | ARCH_CAP_PBRSB_NO |	\
				 BIT_ULL(26) /* GDS_NO */ | BIT_ULL(27) /* RFDS_NO */ |	\
				 BIT_ULL(28) /* RFDS_CLEAR */ | BIT_ULL(62) /* ITS_NO */)

/* Of the host, immutable after msr_init() */
static u64 arch_capabilities;
static u64 lfence_config;

/* ---- plain state ---- */

/* Where a register's value lies if the backend does not hold it; NULL: not plain state */
static u64 *msr_slot(struct cpu_msrs *msrs, u32 index)
{
	switch (index) {
	case MSR_STAR:
		return &msrs->star;
	case MSR_LSTAR:
		return &msrs->lstar;
	case MSR_CSTAR:
		return &msrs->cstar;
	case MSR_SYSCALL_MASK:
		return &msrs->sfmask;
	case MSR_KERNEL_GS_BASE:
		return &msrs->kernel_gs_base;
	case MSR_IA32_SYSENTER_CS:
		return &msrs->sysenter_cs;
	case MSR_IA32_SYSENTER_ESP:
		return &msrs->sysenter_esp;
	case MSR_IA32_SYSENTER_EIP:
		return &msrs->sysenter_eip;
	case MSR_IA32_CR_PAT:
		return &msrs->pat;
	case MSR_IA32_DEBUGCTLMSR:
		return &msrs->debugctl;
	case MSR_TSC_AUX:
		return &msrs->tsc_aux;
	case MSR_IA32_SPEC_CTRL:
		return &msrs->spec_ctrl;
	case MSR_IA32_MISC_ENABLE:
		return &msrs->misc_enable;
	case MSR_K7_HWCR:
		return &msrs->hwcr;
	case MSR_IA32_MCG_STATUS:
		return &msrs->mcg_status;
	case MSR_SMI_COUNT:
		return &msrs->smi_count;
	case MSR_MTRRdefType:
		return &msrs->mtrr_def_type;
	case MTRR_PHYS_BASE(0) ... MTRR_PHYS_MASK(NR_VARIABLE - 1):
		index = array_index_nospec(index - MTRR_PHYS_BASE(0), ARRAY_SIZE(msrs->mtrr_var));
		return &msrs->mtrr_var[index];
	case MSR_MTRRfix64K_00000:
		return &msrs->mtrr_fixed[0];
	case MSR_MTRRfix16K_80000:
	case MSR_MTRRfix16K_A0000:
		index = array_index_nospec(index - MSR_MTRRfix16K_80000, 2);
		return &msrs->mtrr_fixed[1 + index];
	case MSR_MTRRfix4K_C0000 ... MSR_MTRRfix4K_F8000:
		index = array_index_nospec(index - MSR_MTRRfix4K_C0000, 8);
		return &msrs->mtrr_fixed[3 + index];
	default:
		return NULL;
	}
}

/* Those that a backend may hold: vmm_hw.get_msr answers ENOENT for the ones it does not */
static const u32 hw_msrs[] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE,
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, MSR_IA32_CR_PAT,
	MSR_IA32_DEBUGCTLMSR, MSR_TSC_AUX, MSR_IA32_SPEC_CTRL,
};

/* Does the guest's CPU have it? (The VMM may always transfer it.) */
static bool slot_exists(const struct vcpu *vcpu, u32 index)
{
	const struct cpu_features *f = &vcpu->features;

	switch (index) {
	case MSR_STAR:
	case MSR_SYSCALL_MASK:
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_KERNEL_GS_BASE:
		return f->long_mode;
	case MSR_TSC_AUX:
		return f->tsc_aux;
	case MSR_IA32_SPEC_CTRL:
		return f->spec_ctrl;
	case MSR_K7_HWCR:
		return f->amd;
	default:
		return true;
	}
}

static bool valid_pat(u64 data)
{
	int i;

	for (i = 0; i < 64; i += 8) {
		u8 type = data >> i;

		/* Uncached, write combining, write through, protected, write back, UC- */
		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

static bool valid_mtrr_type(u8 type)
{
	return type == MTRR_TYPE_UNCACHABLE || type == MTRR_TYPE_WRCOMB ||
	       (type >= MTRR_TYPE_WRTHROUGH && type <= MTRR_TYPE_WRBACK);
}

/* SDM vol. 3 12.11.2 */
static bool valid_mtrr(const struct vcpu *vcpu, u32 index, u64 data)
{
	u64 address = GENMASK_ULL(vcpu->features.gpa_bits - 1, 12);
	int i;

	if (index == MSR_MTRRdefType)
		return !(data & ~MTRR_DEF_VALID) && valid_mtrr_type(data);
	if (index <= MTRR_PHYS_MASK(NR_VARIABLE - 1)) {
		if (index & 1)
			return !(data & ~(address | BIT(11)));
		return !(data & ~(address | 0xff)) && valid_mtrr_type(data);
	}
	for (i = 0; i < 64; i += 8)
		if (!valid_mtrr_type(data >> i))
			return false;
	return true;
}

static bool is_address(u32 index)
{
	switch (index) {
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_KERNEL_GS_BASE:
	case MSR_IA32_SYSENTER_ESP:
	case MSR_IA32_SYSENTER_EIP:
		return true;
	default:
		return false;
	}
}

/*
 * The value that writing @data leaves, or false for #GP. What only the guest may not do (read-only
 * registers) is not decided here.
 */
static bool valid_slot(const struct vcpu *vcpu, u32 index, u64 *data)
{
	const struct cpu_features *f = &vcpu->features;

	if (is_address(index))
		return cpu_canonical(*data, state_register_bits());
	switch (index) {
	case MSR_SYSCALL_MASK:
		if (!f->amd && *data > U32_MAX)
			return false;
		*data = (u32)*data;
		return true;
	case MSR_IA32_CR_PAT:
		return valid_pat(*data);
	case MSR_IA32_DEBUGCTLMSR:
		return !(*data & ~(DEBUGCTL_VALID | (f->amd ? DEBUGCTL_AMD_PINS : 0)));
	case MSR_TSC_AUX:
		/* Intel reserves the upper half, AMD ignores it. */
		if (!f->amd && *data > U32_MAX)
			return false;
		*data = (u32)*data;
		return true;
	case MSR_IA32_SPEC_CTRL:
		/* Bits that the guest is not shown can be in it, once it is passed through. */
		return !(*data & ~(f->spec_ctrl_allowed ? cpuid_offered_spec_ctrl() : 0));
	case MSR_K7_HWCR:
		return !(*data & ~HWCR_VALID);
	case MSR_IA32_MISC_ENABLE:
		*data |= MISC_ENABLE_READ_ONLY;
		return true;
	case MSR_IA32_MCG_STATUS:
		return !(*data & ~(MCG_STATUS_RIPV | MCG_STATUS_EIPV | MCG_STATUS_MCIP));
	default:
		return index < MTRR_PHYS_BASE(0) || index > MSR_MTRRdefType ||
		       valid_mtrr(vcpu, index, *data);
	}
}

/* Addresses are canonical on a CPU, but not on each that is emulated: as state_get_regs(). */
static u64 read_slot(struct vcpu *vcpu, u32 index, const u64 *slot)
{
	u64 data;

	if (hw->get_msr(vcpu, index, &data))
		data = *slot;
	return is_address(index) ? cpu_sign_extend(data, state_register_bits()) : data;
}

static void choose_spec_ctrl(struct vcpu *vcpu);

static void write_slot(struct vcpu *vcpu, u32 index, u64 *slot, u64 data)
{
	*slot = data;
	hw->set_msr(vcpu, index, data);
	if (index == MSR_IA32_SPEC_CTRL)
		choose_spec_ctrl(vcpu);
}

/* ---- time ---- */

static u64 guest_tsc(struct vcpu *vcpu)
{
	pv_clock_catch_up(vcpu);
	return rdtsc() + vcpu->tsc_offset;
}

static void set_tsc_offset(struct vcpu *vcpu, u64 offset)
{
	if (vcpu->tsc_offset == offset)
		return;
	vcpu->tsc_offset = offset;
	hw->set_tsc_offset(vcpu);
	if (vcpu->lapic)
		lapic_tsc_changed(vcpu);
	/* pvclock is told in ticks of the guest's TSC. */
	vcpu_request(vcpu, VCPU_REQ_CLOCK);
}

void msr_shift_tsc(struct vcpu *vcpu, u64 ticks)
{
	set_tsc_offset(vcpu, vcpu->tsc_offset + ticks);
}

/* A guest's write of either register moves both (SDM vol. 3 18.17.3); the VMM sets each alone. */
static enum msr_result write_tsc(struct vcpu *vcpu, u64 data, bool host)
{
	u64 step = data - guest_tsc(vcpu);

	if (!host)
		vcpu->msrs.tsc_adjust += step;
	set_tsc_offset(vcpu, vcpu->tsc_offset + step);
	return MSR_OK;
}

static enum msr_result write_tsc_adjust(struct vcpu *vcpu, u64 data, bool host)
{
	u64 step = data - vcpu->msrs.tsc_adjust;

	if (!host && !vcpu->features.tsc_adjust)
		return MSR_FAULT;
	vcpu->msrs.tsc_adjust = data;
	if (!host)
		set_tsc_offset(vcpu, vcpu->tsc_offset + step);
	return MSR_OK;
}

/* ---- handlers ---- */

static bool has_tsc_deadline(const struct vcpu *vcpu, bool host)
{
	return vcpu->lapic && (host || vcpu->features.tsc_deadline);
}

static u64 read_segment_base(struct vcpu *vcpu, int index)
{
	struct cpu_segment seg;

	hw->get_segment(vcpu, index, &seg);
	return seg.base;
}

static enum msr_result write_segment_base(struct vcpu *vcpu, int index, u64 base)
{
	struct cpu_segment seg;

	if (!cpu_canonical(base, state_register_bits()))
		return MSR_FAULT;
	hw->get_segment(vcpu, index, &seg);
	seg.base = base;
	hw->set_segment(vcpu, index, &seg);
	return MSR_OK;
}

static enum msr_result write_xss(struct vcpu *vcpu, u64 data, bool host)
{
	if (!vcpu->features.xsaves && !host)
		return MSR_FAULT;
	if (xstate_check_xcr0(vcpu, xstate_xcr0(vcpu), data))
		return MSR_FAULT;
	xstate_set_xss(vcpu, data);
	return MSR_OK;
}

/* Commands to this CPU: what they clear must be clear before the guest goes on. */
static enum msr_result write_command(u32 index, u64 data, u64 allowed)
{
	if (!allowed || data & ~allowed)
		return MSR_FAULT;
	if (data)
		wrmsrq(index, data);
	return MSR_OK;
}

/* AMD's patch level is a number, Intel's microcode revision one in the upper half. */
static u64 host_microcode(void)
{
	u64 revision = boot_cpu_data.microcode;

	return boot_cpu_data.x86_vendor == X86_VENDOR_INTEL ? revision << 32 : revision;
}

/* ---- constants ---- */

/*
 * Of AMD's CPUs: what firmware sets up and operating systems look at, or mend, at boot, and the
 * counters that every one of them has. Zero, whatever is written.
 */
static bool is_amd_zero(u32 index)
{
	switch (index) {
	case MSR_K7_EVNTSEL0 ... MSR_K7_PERFCTR3:
	case MSR_AMD64_SYSCFG:
	case MSR_IORR_FIRST ... MSR_IORR_LAST:
	case MSR_K8_TOP_MEM1:
	case MSR_K8_TOP_MEM2:
	case MSR_AMD64_NB_CFG:
	case MSR_K8_INT_PENDING_MSG:
	case MSR_FAM10H_MMIO_CONF_BASE:
	case MSR_AMD64_LS_CFG:
	case MSR_F15H_IC_CFG:
	case MSR_AMD64_DC_CFG:
	case MSR_AMD64_BU_CFG2:
		return true;
	default:
		return false;
	}
}

/* Registers that software looks at and that have nothing to say here. False: not one of them */
static bool read_constant(const struct vcpu *vcpu, u32 index, u64 *data)
{
	*data = 0;
	switch (index) {
	case MSR_MTRRcap:
		*data = MTRR_CAP;
		return true;
	case MSR_IA32_MCG_CAP:
		*data = MCG_CAP;
		return true;
	case MSR_IA32_FEAT_CTL:
		*data = FEAT_CTL_LOCKED;
		return true;
	case MSR_EBC_FREQUENCY_ID:
		/* Pentium 4's bus: a scale that is not zero, for those who divide by it */
		*data = 1 << 24;
		return true;
	case MSR_IA32_P5_MC_ADDR:
	case MSR_IA32_P5_MC_TYPE:
	case MSR_IA32_PLATFORM_ID:
	case MSR_IA32_EBL_CR_POWERON:
	case MSR_PLATFORM_INFO:
	case MSR_MISC_FEATURES_ENABLES:
	case MSR_IA32_PERF_STATUS:
	case MSR_IA32_LASTBRANCHFROMIP:
	case MSR_IA32_LASTBRANCHTOIP:
	case MSR_IA32_LASTINTFROMIP:
	case MSR_IA32_LASTINTTOIP:
		return true;
	case MSR_AMD64_DE_CFG:
		*data = lfence_config;
		return vcpu->features.amd;
	case MSR_VM_CR:
		*data = VM_CR_SVMDIS | VM_CR_LOCK;
		return vcpu->features.amd;
	case MSR_K8_TSEG_ADDR:
	case MSR_K8_TSEG_MASK:
		return vcpu->features.amd;
	default:
		return vcpu->features.amd && is_amd_zero(index);
	}
}

/* Take any write and stay as they are */
static bool ignores_writes(const struct vcpu *vcpu, u32 index)
{
	switch (index) {
	case MSR_IA32_UCODE_WRITE:
		return true;
	case MSR_AMD64_PATCH_LOADER:
	case MSR_AMD64_DE_CFG:
	case MSR_VM_CR:
		return vcpu->features.amd;
	default:
		return vcpu->features.amd && is_amd_zero(index);
	}
}

/* Of those that have a constant value, which may a guest write, if it is that? */
static bool is_writable(u32 index)
{
	/* All features that it could enable are absent. */
	return index == MSR_MISC_FEATURES_ENABLES;
}

/* ---- reading and writing ---- */

enum msr_result msr_read(struct vcpu *vcpu, u32 index, u64 *data, bool host)
{
	const struct cpu_features *f = &vcpu->features;
	u64 *slot;

	switch (index) {
	case MSR_IA32_TSC:
		*data = guest_tsc(vcpu);
		return MSR_OK;
	case MSR_IA32_TSC_DEADLINE:
		if (!has_tsc_deadline(vcpu, host))
			return MSR_UNKNOWN;
		*data = lapic_get_tsc_deadline(vcpu);
		return MSR_OK;
	case APIC_BASE_MSR ... APIC_BASE_MSR + X2APIC_MSRS - 1:
		if (!vcpu->lapic)
			return MSR_UNKNOWN;
		return lapic_msr_read(vcpu, index, data) ? MSR_FAULT : MSR_OK;
	case MSR_IA32_APICBASE:
		if (!vcpu->lapic)
			return MSR_UNKNOWN;
		*data = lapic_get_base(vcpu);
		return MSR_OK;
	case MSR_IA32_TSC_ADJUST:
		if (!host && !f->tsc_adjust)
			return MSR_FAULT;
		*data = vcpu->msrs.tsc_adjust;
		return MSR_OK;
	case MSR_EFER:
		*data = vcpu->efer;
		return MSR_OK;
	case MSR_FS_BASE:
		*data = read_segment_base(vcpu, CPU_FS);
		return MSR_OK;
	case MSR_GS_BASE:
		*data = read_segment_base(vcpu, CPU_GS);
		return MSR_OK;
	case MSR_IA32_XSS:
		if (!host && !f->xsaves)
			return MSR_FAULT;
		*data = xstate_xss(vcpu);
		return MSR_OK;
	case MSR_IA32_UCODE_REV:
		*data = vcpu->msrs.patch_level;
		return MSR_OK;
	case MSR_IA32_ARCH_CAPABILITIES:
		if (!host && !f->arch_capabilities)
			return MSR_UNKNOWN;
		*data = arch_capabilities;
		return MSR_OK;
	case MSR_IA32_PRED_CMD:
	case MSR_IA32_FLUSH_CMD:
		return MSR_FAULT;
	default:
		break;
	}

	slot = msr_slot(&vcpu->msrs, index);
	if (slot) {
		if (!host && !slot_exists(vcpu, index))
			return MSR_UNKNOWN;
		*data = read_slot(vcpu, index, slot);
		return MSR_OK;
	}
	if (read_constant(vcpu, index, data))
		return MSR_OK;
	return pv_msr_read(vcpu, index, data, host);
}

static enum msr_result write_plain(struct vcpu *vcpu, u32 index, u64 *slot, u64 data, bool host)
{
	if (!host && !slot_exists(vcpu, index))
		return MSR_UNKNOWN;
	if (!host && index == MSR_SMI_COUNT)
		return MSR_FAULT;
	if (!host && index == MSR_IA32_SPEC_CTRL && (data & ~vcpu->features.spec_ctrl_allowed))
		return MSR_FAULT;
	if (!valid_slot(vcpu, index, &data))
		return MSR_FAULT;
	write_slot(vcpu, index, slot, data);
	return MSR_OK;
}

static noinline enum msr_result write_other(struct vcpu *vcpu, u32 index, u64 data, bool host)
{
	u64 *slot, now;

	switch (index) {
	case MSR_IA32_APICBASE:
		if (!vcpu->lapic)
			return MSR_UNKNOWN;
		return lapic_set_base(vcpu, data, host) ? MSR_FAULT : MSR_OK;
	case MSR_IA32_TSC:
		return write_tsc(vcpu, data, host);
	case MSR_IA32_TSC_ADJUST:
		return write_tsc_adjust(vcpu, data, host);
	case MSR_EFER:
		return state_write_efer(vcpu, data) ? MSR_FAULT : MSR_OK;
	case MSR_FS_BASE:
		return write_segment_base(vcpu, CPU_FS, data);
	case MSR_GS_BASE:
		return write_segment_base(vcpu, CPU_GS, data);
	case MSR_IA32_XSS:
		return write_xss(vcpu, data, host);
	case MSR_IA32_PRED_CMD:
		return write_command(index, data, vcpu->features.pred_cmd_allowed);
	case MSR_IA32_FLUSH_CMD:
		return write_command(index, data, vcpu->features.flush_cmd_allowed);
	case MSR_IA32_UCODE_REV:
		/* Intel's way to read it begins with writing zero; AMD's is read-only. */
		if (host)
			vcpu->msrs.patch_level = data;
		else if (vcpu->features.amd)
			return MSR_FAULT;
		return MSR_OK;
	default:
		break;
	}

	slot = msr_slot(&vcpu->msrs, index);
	if (slot)
		return write_plain(vcpu, index, slot, data, host);
	if (ignores_writes(vcpu, index))
		return MSR_OK;
	if (read_constant(vcpu, index, &now) ||
	    (index == MSR_IA32_ARCH_CAPABILITIES &&
	     msr_read(vcpu, index, &now, host) == MSR_OK))
		return data == now && (host || is_writable(index)) ? MSR_OK : MSR_FAULT;
	return pv_msr_write(vcpu, index, data, host);
}

enum msr_result msr_write(struct vcpu *vcpu, u32 index, u64 data, bool host)
{
	/* These are what guests write all the time. */
	if (index == MSR_IA32_TSC_DEADLINE) {
		if (!has_tsc_deadline(vcpu, host))
			return MSR_UNKNOWN;
		lapic_set_tsc_deadline(vcpu, data);
		return MSR_OK;
	}
	if (index - APIC_BASE_MSR < X2APIC_MSRS) {
		if (!vcpu->lapic)
			return MSR_UNKNOWN;
		return lapic_msr_write(vcpu, index, data) ? MSR_FAULT : MSR_OK;
	}
	return write_other(vcpu, index, data, host);
}

/* ---- as a state group ---- */

void state_get_msrs(struct vcpu *vcpu, struct cpu_msrs *msrs)
{
	int i;

	pv_clock_catch_up(vcpu);
	*msrs = vcpu->msrs;
	for (i = 0; i < ARRAY_SIZE(hw_msrs); i++) {
		u64 *slot = msr_slot(msrs, hw_msrs[i]);

		*slot = read_slot(vcpu, hw_msrs[i], slot);
	}
	msrs->tsc_offset = vcpu->tsc_offset;
}

static bool valid_mtrrs(struct vcpu *vcpu, struct cpu_msrs *msrs)
{
	u32 index;

	for (index = MTRR_PHYS_BASE(0); index <= MSR_MTRRdefType; index++) {
		u64 *slot = msr_slot(msrs, index);

		/* IA32_PAT lies between them. */
		if (slot && !valid_slot(vcpu, index, slot))
			return false;
	}
	return true;
}

int state_check_msrs(struct vcpu *vcpu, const struct cpu_msrs *msrs)
{
	static const u32 others[] = {
		MSR_IA32_MISC_ENABLE, MSR_K7_HWCR, MSR_IA32_MCG_STATUS,
	};
	struct cpu_msrs copy = *msrs;
	int i;

	for (i = 0; i < ARRAY_SIZE(hw_msrs); i++)
		if (!valid_slot(vcpu, hw_msrs[i], msr_slot(&copy, hw_msrs[i])))
			return is_address(hw_msrs[i]) ? -ERANGE : -EINVAL;
	for (i = 0; i < ARRAY_SIZE(others); i++)
		if (!valid_slot(vcpu, others[i], msr_slot(&copy, others[i])))
			return -EINVAL;
	if (!valid_mtrrs(vcpu, &copy) || copy.virt_spec_ctrl || !pv_valid_msrs(&copy) ||
	    memchr_inv(copy.reserved, 0, sizeof(copy.reserved)))
		return -EINVAL;
	return 0;
}

void state_set_msrs(struct vcpu *vcpu, const struct cpu_msrs *msrs)
{
	int i;

	pv_clock_catch_up(vcpu);
	vcpu->msrs = *msrs;
	vcpu->msrs.misc_enable |= MISC_ENABLE_READ_ONLY;
	for (i = 0; i < ARRAY_SIZE(hw_msrs); i++) {
		u64 *slot = msr_slot(&vcpu->msrs, hw_msrs[i]);

		/* Cuts what the register does not have, as the check has seen. */
		valid_slot(vcpu, hw_msrs[i], slot);
		hw->set_msr(vcpu, hw_msrs[i], *slot);
	}
	set_tsc_offset(vcpu, msrs->tsc_offset);
	choose_spec_ctrl(vcpu);
	pv_msrs_changed(vcpu);
}

/* A vCPU that comes later has the time of the first. */
static u64 power_on_tsc_offset(const struct vcpu *vcpu)
{
	const struct vm *vm = vcpu->vm;

	return vcpu->index ? READ_ONCE(vm->vcpus[0]->tsc_offset) : -rdtsc();
}

void msr_reset(struct vcpu *vcpu, bool init)
{
	int i;

	/* INIT leaves nearly all of them: SDM vol. 3 table 10-1 */
	if (init) {
		write_slot(vcpu, MSR_IA32_SPEC_CTRL, &vcpu->msrs.spec_ctrl, 0);
		return;
	}
	vcpu->msrs = (struct cpu_msrs){
		.pat = PAT_POWER_ON,
		.misc_enable = MISC_ENABLE_POWER_ON,
		.hwcr = boot_cpu_has(X86_FEATURE_NONSTOP_TSC) ? HWCR_TSC_FREQ_SEL : 0,
		.patch_level = host_microcode(),
	};
	for (i = 0; i < ARRAY_SIZE(hw_msrs); i++)
		hw->set_msr(vcpu, hw_msrs[i], *msr_slot(&vcpu->msrs, hw_msrs[i]));
	vcpu->tsc_offset = power_on_tsc_offset(vcpu);
	hw->set_tsc_offset(vcpu);
}

/* ---- the list for state transfer ---- */

static u32 list[80];
static u32 list_count;

const u32 *msr_list(u32 *count)
{
	*count = list_count;
	return list;
}

static void add_to_list(u32 index)
{
	if (!WARN_ON_ONCE(list_count == ARRAY_SIZE(list)))
		list[list_count++] = index;
}

/* Those of a LAPIC are in its group: not every VM has one. */
void msr_init(void)
{
	static const u32 always[] = {
		MSR_IA32_TSC, MSR_IA32_TSC_ADJUST, MSR_IA32_UCODE_REV, MSR_EFER, MSR_FS_BASE,
		MSR_GS_BASE, MSR_IA32_MISC_ENABLE, MSR_K7_HWCR, MSR_IA32_MCG_STATUS,
		MSR_SMI_COUNT, MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW,
		MSR_KVM_PV_EOI_EN, MSR_KVM_STEAL_TIME,
	};
	struct cpu_msrs msrs;
	u32 index;
	int i;

	for (i = 0; i < ARRAY_SIZE(always); i++)
		add_to_list(always[i]);
	for (i = 0; i < ARRAY_SIZE(hw_msrs); i++)
		add_to_list(hw_msrs[i]);
	for (index = MTRR_PHYS_BASE(0); index <= MSR_MTRRdefType; index++)
		if (index != MSR_IA32_CR_PAT && msr_slot(&msrs, index))
			add_to_list(index);
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		add_to_list(MSR_IA32_XSS);
	if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES)) {
		rdmsrq(MSR_IA32_ARCH_CAPABILITIES, arch_capabilities);
		arch_capabilities &= ARCH_CAP_OFFERED;
		add_to_list(MSR_IA32_ARCH_CAPABILITIES);
	}
	/* LFENCE waits for all before it: always, or because the host has set this bit. */
	if (boot_cpu_has(X86_FEATURE_LFENCE_RDTSC))
		lfence_config = MSR_AMD64_DE_CFG_LFENCE_SERIALIZE;
}

/* ---- policy ---- */

/**
 * struct msr_policy - the VMM's; replaced as a whole, read under RCU
 * @rcu: to free it
 * @unknown_exits: MSRs that the module does not know leave, rather than fault
 * @count: how many ranges
 * @ranges: the first that matches decides
 */
struct msr_policy {
	struct rcu_head rcu;
	bool unknown_exits;
	u32 count;
	struct msr_range ranges[];
};

#define MAX_RANGES	64
#define MAX_RANGE	0x2000
#define ACCESSES	(VMM_MSR_READ | VMM_MSR_WRITE)

static enum msr_verdict find_range(const struct msr_policy *policy, u32 index, u32 access)
{
	u32 i;

	for (i = 0; i < policy->count; i++) {
		const struct msr_range *range = &policy->ranges[i];

		if (index - range->base < range->count && (range->access & access))
			return range->action == VMM_MSR_DENY ? MSR_POLICY_DENY : MSR_POLICY_EXIT;
	}
	return MSR_POLICY_NONE;
}

enum msr_verdict msr_policy_check(struct vm *vm, u32 index, bool write)
{
	enum msr_verdict verdict = MSR_POLICY_NONE;
	const struct msr_policy *policy;

	if (likely(!rcu_access_pointer(vm->msr_policy)))
		return MSR_POLICY_NONE;
	rcu_read_lock();
	policy = rcu_dereference(vm->msr_policy);
	if (policy)
		verdict = find_range(policy, index, write ? VMM_MSR_WRITE : VMM_MSR_READ);
	rcu_read_unlock();
	return verdict;
}

bool msr_policy_unknown_exits(struct vm *vm)
{
	const struct msr_policy *policy;
	bool exits;

	rcu_read_lock();
	policy = rcu_dereference(vm->msr_policy);
	exits = policy && policy->unknown_exits;
	rcu_read_unlock();
	return exits;
}

static bool valid_range(const struct vm *vm, const struct msr_range *range)
{
	u32 end;

	if (!range->count || range->count > MAX_RANGE || !range->access ||
	    range->access & ~ACCESSES || range->action > VMM_MSR_DENY)
		return false;
	if (check_add_overflow(range->base, range->count - 1, &end))
		return false;
	/* The LAPIC's registers are its own: hardware may serve them without an exit. */
	return !(vm->flags & VMM_VM_LAPIC) || end < APIC_BASE_MSR ||
	       range->base >= APIC_BASE_MSR + X2APIC_MSRS;
}

/**
 * msr_policy_set - replace a VM's policy
 * @vm: with vm->lock held
 * @ranges: @count of them; copied
 * @count: up to 64
 * @unknown_exits: let unknown MSRs leave
 *
 * The caller then sends VCPU_REQ_EXITS to every vCPU.
 * Return: 0, EINVAL (a range that is none, or the LAPIC's), E2BIG, ENOMEM.
 */
int msr_policy_set(struct vm *vm, const struct msr_range *ranges, u32 count, bool unknown_exits)
{
	struct msr_policy *policy, *old;
	u32 i;

	if (count > MAX_RANGES)
		return -E2BIG;
	for (i = 0; i < count; i++)
		if (!valid_range(vm, &ranges[i]))
			return -EINVAL;

	policy = kzalloc(struct_size(policy, ranges, count), GFP_KERNEL_ACCOUNT);
	if (!policy)
		return -ENOMEM;
	policy->unknown_exits = unknown_exits;
	policy->count = count;
	memcpy(policy->ranges, ranges, count * sizeof(*ranges));

	old = rcu_replace_pointer(vm->msr_policy, policy, lockdep_is_held(&vm->lock));
	if (old)
		kfree_rcu(old, rcu);
	return 0;
}

void msr_policy_free(struct vm *vm)
{
	/* Nobody else has the VM any more. */
	kfree(rcu_dereference_protected(vm->msr_policy, true));
	RCU_INIT_POINTER(vm->msr_policy, NULL);
}

/* ---- intercepts ---- */

static void pass_through(struct vcpu *vcpu, u32 index, bool read, bool write)
{
	if (read)
		read = msr_policy_check(vcpu->vm, index, false) == MSR_POLICY_NONE;
	if (write)
		write = msr_policy_check(vcpu->vm, index, true) == MSR_POLICY_NONE;
	hw->msr_intercept(vcpu, index, !read, !write);
}

/*
 * A guest that has once set a bit of IA32_SPEC_CTRL will do so often. The others do not pay for
 * reading it back at every exit.
 */
static void choose_spec_ctrl(struct vcpu *vcpu)
{
	bool pass = vcpu->features.spec_ctrl &&
		    read_slot(vcpu, MSR_IA32_SPEC_CTRL, &vcpu->msrs.spec_ctrl);

	pass_through(vcpu, MSR_IA32_SPEC_CTRL, pass, pass);
}

static void choose_x2apic(struct vcpu *vcpu)
{
	u32 msr;

	if (!hw_caps.virtual_apic)
		return;
	for (msr = APIC_BASE_MSR; msr < APIC_BASE_MSR + X2APIC_MSRS; msr++)
		pass_through(vcpu, msr, lapic_msr_is_direct(vcpu, msr, false),
			     lapic_msr_is_direct(vcpu, msr, true));
}

void msr_update_intercepts(struct vcpu *vcpu)
{
	const struct cpu_features *f = &vcpu->features;
	static const u32 long_mode_msrs[] = {
		MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_FS_BASE, MSR_GS_BASE,
		MSR_KERNEL_GS_BASE,
	};
	static const u32 sysenter_msrs[] = {
		MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(long_mode_msrs); i++)
		pass_through(vcpu, long_mode_msrs[i], f->long_mode, f->long_mode);
	for (i = 0; i < ARRAY_SIZE(sysenter_msrs); i++)
		pass_through(vcpu, sysenter_msrs[i], true, true);
	pass_through(vcpu, MSR_TSC_AUX, f->rdtscp, false);
	pass_through(vcpu, MSR_IA32_PRED_CMD, false, f->pred_cmd_allowed);
	pass_through(vcpu, MSR_IA32_FLUSH_CMD, false, f->flush_cmd_allowed);
	choose_spec_ctrl(vcpu);
	choose_x2apic(vcpu);
}
