/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of an x86 CPU, as the core and the backends speak of it. The
 * layout of each group equals that of its ABI twin (checked in abi.c), so that
 * the front end moves it as a block.
 */
#ifndef VMM_X86_TYPES_H
#define VMM_X86_TYPES_H

#include <linux/types.h>

struct tdp;

enum cpu_gpr {
	CPU_RAX, CPU_RCX, CPU_RDX, CPU_RBX, CPU_RSP, CPU_RBP, CPU_RSI, CPU_RDI,
	CPU_R8, CPU_R9, CPU_R10, CPU_R11, CPU_R12, CPU_R13, CPU_R14, CPU_R15,
	CPU_NR_GPRS
};

struct cpu_regs {
	u64 gpr[CPU_NR_GPRS];
	u64 rip;
	u64 rflags;
};

enum cpu_segment_index {
	CPU_ES, CPU_CS, CPU_SS, CPU_DS, CPU_FS, CPU_GS,
	CPU_LDTR, CPU_TR, CPU_GDTR, CPU_IDTR,
	CPU_NR_SEGMENTS
};

#define SEG_TYPE	0x00f
#define SEG_S		0x010
#define SEG_DPL(attr)	(((attr) >> 5) & 3)
#define SEG_P		0x080
#define SEG_AVL		0x100
#define SEG_L		0x200
#define SEG_DB		0x400
#define SEG_G		0x800

/* Attributes are bits 40-47 and 52-55 of a descriptor, packed; P clear: unusable */
struct cpu_segment {
	u64 base;
	u32 limit;
	u16 selector;
	u16 attr;
};

/**
 * struct cpu_mode - what CS, SS and EFER say of the code that runs
 * @cpl: the current privilege level
 * @code_size: default operand size, by EFER.LMA and CS: 2, 4 or 8
 */
struct cpu_mode {
	u8 cpl;
	u8 code_size;
};

struct cpu_segments {
	struct cpu_segment seg[CPU_NR_SEGMENTS];
};

struct cpu_control {
	u64 cr0;
	u64 cr2;
	u64 cr3;
	u64 cr4;
	u64 cr8;
	u64 efer;
};

/* DR7: general detect */
#define DR7_GD		0x2000

struct cpu_debug {
	u64 dr[4];
	u64 dr6;
	u64 dr7;
};

enum cpu_event_type {
	EVENT_NONE,
	EVENT_INTERRUPT,
	EVENT_NMI,
	EVENT_EXCEPTION,
	EVENT_SOFT_INT,
	EVENT_SOFT_EXC,
};

struct cpu_event {
	u8 type;		/* enum cpu_event_type */
	u8 vector;
	u8 has_error;
	u8 insn_len;
	u32 error;
	u64 payload;
};

#define SHADOW_STI	1
#define SHADOW_MOV_SS	2

#define EVENTS_SHADOW	BIT(0)

enum mp_state {
	MP_RUNNABLE,
	MP_HALTED,
	MP_WAIT_SIPI,
	MP_SHUTDOWN,
};

struct cpu_events {
	struct cpu_event interrupted;
	struct cpu_event exception;
	struct cpu_event interrupt;
	u8 nmi_pending;
	u8 nmi_blocked;
	u8 shadow;
	u8 mp_state;
	u8 sipi_vector;
	u8 init_pending;
	u8 sipi_pending;
	u8 flags;		/* of a set: EVENTS_SHADOW: the shadow alone; zero in a vCPU */
};

/* Those that a backend holds (vmm_hw.get_msr) are filled in when state is read */
struct cpu_msrs {
	u64 star;
	u64 lstar;
	u64 cstar;
	u64 sfmask;
	u64 kernel_gs_base;
	u64 sysenter_cs;
	u64 sysenter_esp;
	u64 sysenter_eip;
	u64 pat;
	u64 debugctl;
	u64 tsc_offset;
	u64 tsc_adjust;
	u64 tsc_aux;
	u64 spec_ctrl;
	u64 virt_spec_ctrl;
	u64 misc_enable;
	u64 hwcr;
	u64 patch_level;
	u64 mcg_status;
	u64 mtrr_def_type;
	u64 mtrr_fixed[11];
	u64 mtrr_var[16];
	u64 pv_wall_clock;
	u64 pv_system_time;
	u64 pv_eoi;
	u64 pv_steal_time;
	u64 pv_poll_control;
	u64 smi_count;
	u64 reserved[4];
};

/**
 * struct cpu_features - what the core asks of a vCPU's CPUID table; computed when the table is set
 * @cr4_allowed: CR4 bits that the guest may set
 * @efer_allowed: likewise of EFER
 * @xcr0_allowed: likewise of XCR0
 * @xss_allowed: likewise of IA32_XSS
 * @spec_ctrl_allowed: likewise of IA32_SPEC_CTRL; 0 where the guest has no such MSR
 * @pred_cmd_allowed: likewise of IA32_PRED_CMD
 * @flush_cmd_allowed: likewise of IA32_FLUSH_CMD
 * @pv: KVM_FEATURE_* bits that the guest was told of
 * @gpa_bits: the guest's MAXPHYADDR
 * @nx: pages that deny execution
 * @gbpages: pages of 1 GiB
 * @long_mode: long mode
 * @la57: 5-level paging
 * @xsave: XSAVE
 * @xsaves: XSAVES and IA32_XSS
 * @x2apic: x2APIC mode
 * @tsc_deadline: the LAPIC timer's TSC-deadline mode
 * @tsc_adjust: IA32_TSC_ADJUST exists
 * @spec_ctrl: IA32_SPEC_CTRL exists
 * @arch_capabilities: IA32_ARCH_CAPABILITIES exists
 * @tsc_aux: IA32_TSC_AUX exists (RDTSCP or RDPID)
 * @rdtscp: RDTSCP
 * @amd: vendor string: decides between vendor behaviours that a guest sees
 */
struct cpu_features {
	u64 cr4_allowed;
	u64 efer_allowed;
	u64 xcr0_allowed;
	u64 xss_allowed;
	u64 spec_ctrl_allowed;
	u64 pred_cmd_allowed;
	u64 flush_cmd_allowed;
	u32 pv;
	u8 gpa_bits;
	bool nx;
	bool gbpages;
	bool long_mode;
	bool la57;
	bool xsave;
	bool xsaves;
	bool x2apic;
	bool tsc_deadline;
	bool tsc_adjust;
	bool tsc_aux;
	bool rdtscp;
	bool spec_ctrl;
	bool arch_capabilities;
	bool amd;
};

#define WALK_MAX_LEVELS	5

/**
 * struct code_page - the page that code was last fetched from in the window, and why it is that one
 * @host: the page in the host's memory; NULL: none
 * @linear: its linear address
 * @tdp: the second-level table, by which @host and @entry are right
 * @flush_gen: its generation then
 * @cr0: CR0: what the walk followed from
 * @cr3: likewise
 * @cr4: likewise
 * @efer: likewise
 * @levels: entries on the way
 * @entry: they, in the host's memory
 * @value: what they were
 *
 * While all of this is as it was, another walk would end at the same page.
 */
struct code_page {
	const u8 *host;
	u64 linear;
	const struct tdp *tdp;
	u64 flush_gen;
	u64 cr0, cr3, cr4, efer;
	int levels;
	const u64 *entry[WALK_MAX_LEVELS];
	u64 value[WALK_MAX_LEVELS];
};

/*
 * An instruction with a device register as operand, decoded
 *
 * Filled by decode.c, executed by mmio.c. Part of the vCPU's state while one of
 * its accesses waits for the VMM, so its size and layout are ABI (8 quadwords).
 */
struct mmio_op {
	u64 gpa;		/* of the memory operand if it lies within one page; not for MOVS */
	u64 gva;		/* of the memory operand; MOVS: of the source */
	u64 other_gva;		/* MOVS: of the destination */
	u64 next_rip;
	u64 value;		/* register or immediate operand */
	u64 data;		/* memory operand: as far as it was read, or what is written */
	u8 op;			/* enum mmio_insn */
	u8 alu;			/* enum mmio_alu, or enum mmio_bit */
	u8 size;		/* of the memory operand, bytes */
	u8 dest_size;		/* of the destination register, bytes */
	u8 reg;			/* destination or source register */
	u8 high_byte;		/* it is AH, CH, DH, BH */
	u8 rep;			/* 0, 0xf2, 0xf3 */
	u8 address_size;	/* of the string registers, bytes */
	u8 step;		/* 0: reads, 1: writes */
	u8 done;		/* bytes of that done */
	u8 behind;		/* RIP was moved behind the instruction already */
	u8 reserved[5];
};

#endif
