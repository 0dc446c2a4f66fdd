/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The ABI of vmm.ko: three kinds of file descriptors (system, VM, vCPU), the
 * ioctls on each, and the run area that a vCPU shares with its VMM.
 *
 * Rules that hold for every call:
 *  - Every structure begins with "size" (set by the caller to sizeof) and
 *    "flags" (zero unless a flag is defined). A structure only grows at its
 *    end. A caller's structure that is longer than the module knows must be
 *    zero behind what the module knows (E2BIG otherwise); one of an earlier
 *    version leaves the rest at its default; one that is shorter than the first
 *    version is EINVAL. On return "size" is what the module knows.
 *  - Unknown flags and non-zero reserved fields are EINVAL.
 *  - A call that fails has changed nothing, but for VMM_RUN, VMM_SET_MSRS,
 *    VMM_CLEAR_DIRTY, VMM_PREFAULT and VMM_GET_TOUCHED (Documentation/api.rst).
 *  - The layout is the same for 32-bit and 64-bit callers. User addresses are
 *    passed as __u64.
 */
#ifndef _UAPI_LINUX_VMM_H
#define _UAPI_LINUX_VMM_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VMM_API_VERSION		1

#define VMM_IOC			0xbe

/* On /dev/vmm */
#define VMM_GET_INFO		_IO(VMM_IOC, 0x00)	/* struct vmm_info */
#define VMM_CREATE_VM		_IO(VMM_IOC, 0x01)	/* struct vmm_vm_create; returns an fd */
#define VMM_GET_CPUID		_IO(VMM_IOC, 0x02)	/* struct vmm_cpuid: what can be offered; vCPU: its table */
#define VMM_GET_MSR_LIST	_IO(VMM_IOC, 0x03)	/* struct vmm_msr_list */

/* On a VM */
#define VMM_SET_MEMORY		_IO(VMM_IOC, 0x10)	/* struct vmm_memory */
#define VMM_CREATE_VCPU		_IO(VMM_IOC, 0x11)	/* struct vmm_vcpu_create; returns an fd */
#define VMM_IRQ_LINE		_IO(VMM_IOC, 0x12)	/* struct vmm_irq_line */
#define VMM_SIGNAL_MSI		_IO(VMM_IOC, 0x13)	/* struct vmm_msi */
#define VMM_SET_ROUTES		_IO(VMM_IOC, 0x14)	/* struct vmm_routes */
#define VMM_IRQFD		_IO(VMM_IOC, 0x15)	/* struct vmm_irqfd */
#define VMM_IOEVENTFD		_IO(VMM_IOC, 0x16)	/* struct vmm_ioeventfd */
#define VMM_GET_VM_STATE	_IO(VMM_IOC, 0x17)	/* struct vmm_vm_state */
#define VMM_SET_VM_STATE	_IO(VMM_IOC, 0x18)	/* struct vmm_vm_state */
#define VMM_SET_MSR_POLICY	_IO(VMM_IOC, 0x19)	/* struct vmm_msr_policy */
#define VMM_GET_DIRTY		_IO(VMM_IOC, 0x1a)	/* struct vmm_dirty */
#define VMM_CLEAR_DIRTY		_IO(VMM_IOC, 0x1b)	/* struct vmm_dirty */
#define VMM_MARK_DIRTY		_IO(VMM_IOC, 0x1c)	/* struct vmm_range */
#define VMM_PREFAULT		_IO(VMM_IOC, 0x1d)	/* struct vmm_prefault */
#define VMM_GET_TOUCHED		_IO(VMM_IOC, 0x1e)	/* struct vmm_touched */
#define VMM_RESET_RINGS		_IO(VMM_IOC, 0x1f)	/* no argument (0) */

#define VMM_CREATE_VIEW		_IO(VMM_IOC, 0x40)	/* struct vmm_view */
#define VMM_DESTROY_VIEW	_IO(VMM_IOC, 0x41)	/* struct vmm_view */
#define VMM_SET_PAGE_ACCESS	_IO(VMM_IOC, 0x42)	/* struct vmm_page_access */

/* On a vCPU */
#define VMM_RUN			_IO(VMM_IOC, 0x20)	/* no argument (0) */
#define VMM_GET_STATE		_IO(VMM_IOC, 0x21)	/* struct vmm_state */
#define VMM_SET_STATE		_IO(VMM_IOC, 0x22)	/* struct vmm_state */
#define VMM_SET_CPUID		_IO(VMM_IOC, 0x23)	/* struct vmm_cpuid */
#define VMM_GET_MSRS		_IO(VMM_IOC, 0x24)	/* struct vmm_msrs */
#define VMM_SET_MSRS		_IO(VMM_IOC, 0x25)	/* struct vmm_msrs */
#define VMM_INJECT		_IO(VMM_IOC, 0x26)	/* struct vmm_inject */
#define VMM_KICK		_IO(VMM_IOC, 0x27)	/* no argument (0) */
#define VMM_TRANSLATE		_IO(VMM_IOC, 0x28)	/* struct vmm_translate */
#define VMM_SET_EXITS		_IO(VMM_IOC, 0x29)	/* struct vmm_exits */
#define VMM_SET_RING		_IO(VMM_IOC, 0x2a)	/* struct vmm_ring */
#define VMM_SET_VIEW		_IO(VMM_IOC, 0x2b)	/* struct vmm_view */
#define VMM_DEVICE_ACCESS	_IO(VMM_IOC, 0x2c)	/* struct vmm_device_access */

/* On a VM or a vCPU */
#define VMM_GET_STATS		_IO(VMM_IOC, 0x30)	/* struct vmm_stats */

/*
 * VMM_GET_INFO
 */
#define VMM_VENDOR_AMD		1
#define VMM_VENDOR_INTEL	2

/* Capabilities: a bit is set only when all of the feature works here. */
#define VMM_CAP_PIC		(1ULL << 0)
#define VMM_CAP_PIT		(1ULL << 1)
#define VMM_CAP_IOAPIC		(1ULL << 2)
#define VMM_CAP_LAPIC		(1ULL << 3)
#define VMM_CAP_X2APIC		(1ULL << 4)
#define VMM_CAP_TSC_DEADLINE	(1ULL << 5)
#define VMM_CAP_PVCLOCK		(1ULL << 6)
#define VMM_CAP_IRQFD		(1ULL << 7)
#define VMM_CAP_IOEVENTFD	(1ULL << 8)
#define VMM_CAP_READONLY_MEM	(1ULL << 9)
#define VMM_CAP_XSAVE		(1ULL << 10)
#define VMM_CAP_LA57		(1ULL << 11)	/* the guest may use 5-level paging */
#define VMM_CAP_NEXT_RIP	(1ULL << 12)	/* instruction lengths come from the CPU */
#define VMM_CAP_SINGLE_STEP	(1ULL << 13)
#define VMM_CAP_VIRTUAL_APIC	(1ULL << 14)	/* x2APIC: TPR, EOI and SELF_IPI need no exits */
#define VMM_CAP_PAUSE_LOOPS	(1ULL << 15)	/* vCPUs that spin with PAUSE make way for others */
#define VMM_CAP_DIRTY_LOG	(1ULL << 16)
#define VMM_CAP_TOUCHED		(1ULL << 17)	/* VMM_GET_TOUCHED: the CPU has accessed bits */
#define VMM_CAP_DIRTY_RING	(1ULL << 18)
#define VMM_CAP_VIEWS		(1ULL << 19)
#define VMM_CAP_EXEC_ONLY	(1ULL << 20)	/* VMM_SET_PAGE_ACCESS: execution without reading */

/**
 * struct vmm_info - what this module and this host offer
 * @size: in: size of the caller's structure; out: bytes filled
 * @flags: zero
 * @api_version: VMM_API_VERSION of the module
 * @vendor: VMM_VENDOR_*
 * @caps: VMM_CAP_*
 * @vcpu_groups: VMM_STATE_* that VMM_GET_STATE and VMM_SET_STATE know
 * @vm_groups: VMM_VM_STATE_* that VMM_GET_VM_STATE and VMM_SET_VM_STATE know
 * @sync_groups: VMM_STATE_* that the run area can carry
 * @gpa_bits: width of a guest-physical address
 * @gva_bits: width of a guest-virtual address (48 or 57)
 * @max_vcpus: vCPUs per VM
 * @max_slots: memory slots per VM; slot numbers are below this
 * @nr_gsis: GSIs per VM; GSI numbers are below this
 * @run_size: bytes to mmap from a vCPU fd at offset 0
 * @xsave_size: bytes of an XSAVE area (standard format) with all of @xcr0
 * @tsc_khz: frequency of the guest's TSC
 * @xcr0: XCR0 bits that a guest may set; 0 where the host has no XSAVE
 */
struct vmm_info {
	__u32 size;
	__u32 flags;
	__u32 api_version;
	__u32 vendor;
	__u64 caps;
	__u64 vcpu_groups;
	__u64 vm_groups;
	__u64 sync_groups;
	__u32 gpa_bits;
	__u32 gva_bits;
	__u32 max_vcpus;
	__u32 max_slots;
	__u32 nr_gsis;
	__u32 run_size;
	__u32 xsave_size;
	__u32 tsc_khz;
	__u64 xcr0;
};

/*
 * VMM_CREATE_VM. A controller that is left out is the VMM's own to emulate:
 * its ports and addresses then leave as IO and MMIO exits.
 */
#define VMM_VM_PIC		(1U << 0)	/* 8259A pair at 0x20, 0xa0, 0x4d0 */
#define VMM_VM_PIT		(1U << 1)	/* 8254 at 0x40, gate and speaker at 0x61; needs PIC or IOAPIC */
#define VMM_VM_IOAPIC		(1U << 2)	/* at 0xfec00000, 24 pins; needs LAPIC */
#define VMM_VM_LAPIC		(1U << 3)	/* one per vCPU */
#define VMM_VM_IRQCHIPS		(VMM_VM_PIC | VMM_VM_PIT | VMM_VM_IOAPIC | VMM_VM_LAPIC)

/**
 * struct vmm_vm_create - a new VM
 * @size: size of this structure
 * @flags: VMM_VM_*: the controllers that the module emulates
 */
struct vmm_vm_create {
	__u32 size;
	__u32 flags;
};

/**
 * struct vmm_vcpu_create - a new vCPU
 * @size: size of this structure
 * @flags: zero
 * @id: any number below 2^32 - 1 that no vCPU of this VM has; it is the initial
 *      APIC id (xAPIC mode shows its low eight bits)
 * @reserved: zero
 *
 * The first vCPU of a VM, whatever its id, starts runnable at the reset vector; where
 * the LAPIC is in the kernel every other one waits for INIT-SIPI. LINT0 of the first
 * is ExtINT and not masked, as firmware would leave it.
 */
struct vmm_vcpu_create {
	__u32 size;
	__u32 flags;
	__u32 id;
	__u32 reserved;
};

/*
 * VMM_SET_MEMORY
 */
#define VMM_MEM_READONLY	(1U << 0)	/* guest writes leave as MMIO exits */
#define VMM_MEM_LOG_DIRTY	(1U << 1)	/* note which pages are written to */

/**
 * struct vmm_memory - map, move, change or (bytes = 0) delete one memory slot
 * @size: size of this structure
 * @flags: VMM_MEM_*
 * @slot: slot number, below vmm_info.max_slots
 * @reserved: zero
 * @gpa: guest-physical address, page aligned
 * @bytes: length, page aligned; 0 deletes the slot
 * @hva: address in the caller's address space, page aligned
 */
struct vmm_memory {
	__u32 size;
	__u32 flags;
	__u32 slot;
	__u32 reserved;
	__u64 gpa;
	__u64 bytes;
	__u64 hva;
};

/*
 * The log of a slot with VMM_MEM_LOG_DIRTY: a bit for each page that was written to by a guest, by the
 * module for it, or as VMM_MARK_DIRTY says, since the log began or the bit was cleared.
 */
#define VMM_DIRTY_CLEAR		(1U << 0)	/* VMM_GET_DIRTY: and clear the bits that are copied */

/**
 * struct vmm_dirty - pages of a slot, and a bit for each
 * @size: size of this structure
 * @flags: VMM_DIRTY_*
 * @slot: slot number
 * @reserved: zero
 * @first: page of the slot that bit 0 stands for, a multiple of 64
 * @pages: how many; a multiple of 64, or up to the end of the slot
 * @bitmap: address of __u64[(pages + 63) / 64]. VMM_GET_DIRTY: out: the log. VMM_CLEAR_DIRTY: in:
 *          which bits to clear
 */
struct vmm_dirty {
	__u32 size;
	__u32 flags;
	__u32 slot;
	__u32 reserved;
	__u64 first;
	__u64 pages;
	__u64 bitmap;
};

/**
 * struct vmm_range - some guest-physical memory
 * @size: size of this structure
 * @flags: zero
 * @gpa: where it begins
 * @bytes: its length, not 0
 */
struct vmm_range {
	__u32 size;
	__u32 flags;
	__u64 gpa;
	__u64 bytes;
};

#define VMM_PREFAULT_WRITE	(1U << 0)	/* for writing, where the slot allows it */

/**
 * struct vmm_prefault - memory that is to be mapped before the guest touches it
 * @size: size of this structure
 * @flags: VMM_PREFAULT_*
 * @gpa: where it begins, page aligned
 * @bytes: its length, page aligned
 * @done: out: how much of it is through, also if the call fails
 */
struct vmm_prefault {
	__u32 size;
	__u32 flags;
	__u64 gpa;
	__u64 bytes;
	__u64 done;
};

#define VMM_TOUCHED_CLEAR	(1U << 0)	/* and forget it */

/**
 * struct vmm_touched - pages that guests have read, written or run since that was forgotten
 * @size: size of this structure
 * @flags: VMM_TOUCHED_*
 * @gpa: where they begin, page aligned
 * @bytes: page aligned
 * @bitmap: address of __u64[(pages + 63) / 64]: out: bit 0 is the page at @gpa
 */
struct vmm_touched {
	__u32 size;
	__u32 flags;
	__u64 gpa;
	__u64 bytes;
	__u64 bitmap;
};

/*
 * Dirty rings. A page that the guest of a vCPU with a ring writes to, in a slot with
 * VMM_MEM_LOG_DIRTY, is an entry of the ring instead of a bit of the slot's log; what the module and
 * VMM_MARK_DIRTY write is in the log as before.
 */
#define VMM_RING_MIN		1024
#define VMM_RING_MAX		65536
#define VMM_RING_OFFSET		0x10000		/* in the vCPU's fd: one page of the structure, then the entries */

/**
 * struct vmm_ring - give a vCPU a dirty ring
 * @size: size of this structure
 * @flags: zero
 * @entries: how many, a power of two from VMM_RING_MIN to VMM_RING_MAX
 * @reserved: zero
 */
struct vmm_ring {
	__u32 size;
	__u32 flags;
	__u32 entries;
	__u32 reserved;
};

/**
 * struct vmm_dirty_ring - the head of a ring
 * @entries: out: of the ring
 * @reserved: zero
 * @produced: out: entries stored so far, modulo 2^32; read with acquire semantics
 * @collected: in: entries read so far by the VMM, likewise; seen by VMM_RESET_RINGS
 *
 * Behind its page follow the entries, __u64 each: guest-physical addresses of pages. Entry number n is
 * at n modulo @entries.
 */
struct vmm_dirty_ring {
	__u32 entries;
	__u32 reserved;
	__u32 produced;
	__u32 collected;
};

/*
 * Views: second-level tables over the same slots. Each vCPU runs in one of them. View 0 is always
 * there, and is that of a new vCPU.
 */
#define VMM_MAX_VIEWS		64

/**
 * struct vmm_view - one of them
 * @size: size of this structure
 * @flags: zero
 * @view: its number, below VMM_MAX_VIEWS. VMM_CREATE_VIEW: in: 0; out: the new one's
 * @reserved: zero
 */
struct vmm_view {
	__u32 size;
	__u32 flags;
	__u32 view;
	__u32 reserved;
};

/**
 * struct vmm_page_access - what a view grants, over what the slots do
 * @size: size of this structure
 * @flags: zero
 * @view: its number, not 0
 * @access: VMM_ACCESS_READ, WRITE, EXEC: none of them, READ alone or with others, or EXEC alone
 * @gpa: where the pages begin, page aligned
 * @bytes: page aligned
 */
struct vmm_page_access {
	__u32 size;
	__u32 flags;
	__u32 view;
	__u32 access;
	__u64 gpa;
	__u64 bytes;
};

/*
 * vCPU state, in groups. A bit of state is in exactly one group.
 */
#define VMM_STATE_REGS		(1ULL << 0)	/* struct vmm_regs */
#define VMM_STATE_SEGMENTS	(1ULL << 1)	/* struct vmm_segments */
#define VMM_STATE_CONTROL	(1ULL << 2)	/* struct vmm_control */
#define VMM_STATE_DEBUG		(1ULL << 3)	/* struct vmm_debug */
#define VMM_STATE_EVENTS	(1ULL << 4)	/* struct vmm_events */
#define VMM_STATE_PENDING	(1ULL << 5)	/* struct vmm_pending */
#define VMM_STATE_MSRS		(1ULL << 6)	/* struct vmm_msr_state */
#define VMM_STATE_LAPIC		(1ULL << 7)	/* struct vmm_lapic */
#define VMM_STATE_XSAVE		(1ULL << 8)	/* struct vmm_xsave */
#define VMM_STATE_ALL		((1ULL << 9) - 1)

/* Groups that the run area can carry at every exit */
#define VMM_STATE_SYNC		(VMM_STATE_REGS | VMM_STATE_SEGMENTS | VMM_STATE_CONTROL | \
				 VMM_STATE_DEBUG | VMM_STATE_EVENTS)

/* Indices of struct vmm_regs.gpr: the numbers that instructions encode */
enum vmm_gpr {
	VMM_RAX, VMM_RCX, VMM_RDX, VMM_RBX, VMM_RSP, VMM_RBP, VMM_RSI, VMM_RDI,
	VMM_R8, VMM_R9, VMM_R10, VMM_R11, VMM_R12, VMM_R13, VMM_R14, VMM_R15,
	VMM_NR_GPRS
};

struct vmm_regs {
	__u64 gpr[VMM_NR_GPRS];
	__u64 rip;
	__u64 rflags;
};

/* Indices of struct vmm_segments.seg: the numbers that instructions encode, then the rest */
enum vmm_segment_index {
	VMM_ES, VMM_CS, VMM_SS, VMM_DS, VMM_FS, VMM_GS,
	VMM_LDTR, VMM_TR, VMM_GDTR, VMM_IDTR,
	VMM_NR_SEGMENTS
};

/* Attributes: bits 40-47 and 52-55 of a descriptor, packed. P clear: unusable. */
#define VMM_SEG_TYPE		0x00f
#define VMM_SEG_S		0x010	/* code or data, not system */
#define VMM_SEG_DPL_SHIFT	5
#define VMM_SEG_P		0x080
#define VMM_SEG_AVL		0x100
#define VMM_SEG_L		0x200
#define VMM_SEG_DB		0x400
#define VMM_SEG_G		0x800

/**
 * struct vmm_segment - a segment register with its hidden part
 * @base: linear address
 * @limit: in bytes, granularity applied
 * @selector: visible part; zero for GDTR and IDTR
 * @attr: VMM_SEG_*; zero for GDTR and IDTR
 */
struct vmm_segment {
	__u64 base;
	__u32 limit;
	__u16 selector;
	__u16 attr;
};

struct vmm_segments {
	struct vmm_segment seg[VMM_NR_SEGMENTS];
};

/**
 * struct vmm_control - control registers
 * @cr0: CR0
 * @cr2: CR2
 * @cr3: CR3
 * @cr4: CR4
 * @cr8: TPR bits 7:4. With a LAPIC in the kernel the TPR belongs to VMM_STATE_LAPIC:
 *       reading shows it, writing is ignored
 * @efer: EFER; LMA must match LME and CR0.PG
 */
struct vmm_control {
	__u64 cr0;
	__u64 cr2;
	__u64 cr3;
	__u64 cr4;
	__u64 cr8;
	__u64 efer;
};

struct vmm_debug {
	__u64 dr[4];
	__u64 dr6;
	__u64 dr7;
};

#define VMM_EVENT_NONE		0
#define VMM_EVENT_INTERRUPT	1	/* external interrupt */
#define VMM_EVENT_NMI		2
#define VMM_EVENT_EXCEPTION	3	/* hardware exception */
#define VMM_EVENT_SOFT_INT	4	/* INT n */
#define VMM_EVENT_SOFT_EXC	5	/* INT3, INTO, ICEBP */

/**
 * struct vmm_event - one event on its way into the guest
 * @type: VMM_EVENT_*
 * @vector: 0-255
 * @has_error: 1 if @error is pushed
 * @insn_len: bytes, for SOFT_INT and SOFT_EXC; 0 otherwise
 * @error: error code
 * @payload: CR2 for #PF, the DR6 bits for #DB; taken over when the exception is injected
 */
struct vmm_event {
	__u8 type;
	__u8 vector;
	__u8 has_error;
	__u8 insn_len;
	__u32 error;
	__u64 payload;
};

#define VMM_SHADOW_STI		1
#define VMM_SHADOW_MOV_SS	2

#define VMM_MP_RUNNABLE		0
#define VMM_MP_HALTED		1	/* in HLT */
#define VMM_MP_WAIT_SIPI	2	/* INIT received, or an AP that never ran */
#define VMM_MP_SHUTDOWN		3	/* triple fault; only INIT or new state ends it */

/*
 * Set @shadow alone: who has executed an instruction for the guest ends the shadow before it,
 * without a word on NMIs, INITs and interrupts that came since the state was read.
 */
#define VMM_EVENTS_SHADOW	(1U << 0)

/**
 * struct vmm_events - what is on its way into the guest, and what holds it back
 * @interrupted: an event whose delivery an exit interrupted; injected again first
 * @exception: an exception that waits (VMM_EVENT_EXCEPTION, or NONE)
 * @interrupt: an external interrupt that the VMM queued (VMM_EVENT_INTERRUPT, or NONE);
 *             injected when the guest's IF and interrupt shadow allow
 * @nmi_pending: 0-2 NMIs that wait
 * @nmi_blocked: 1 from the injection of an NMI to the guest's IRET
 * @shadow: VMM_SHADOW_*
 * @mp_state: VMM_MP_*
 * @sipi_vector: of a SIPI that arrived, valid with @sipi_pending
 * @init_pending: 1 if an INIT waits
 * @sipi_pending: 1 if a SIPI waits
 * @flags: VMM_EVENTS_*; 0 where events are got
 */
struct vmm_events {
	struct vmm_event interrupted;
	struct vmm_event exception;
	struct vmm_event interrupt;
	__u8 nmi_pending;
	__u8 nmi_blocked;
	__u8 shadow;
	__u8 mp_state;
	__u8 sipi_vector;
	__u8 init_pending;
	__u8 sipi_pending;
	__u8 flags;
};

/*
 * What the next VMM_RUN must still do for the exit that the VMM handles now.
 * RIP already points behind the instruction (but for EMULATE, DEBUG, FAULT and ACCESS
 * exits and string instructions that are not through); what waits is the result
 * that the VMM supplies in the run area.
 */
#define VMM_PENDING_NONE	0
#define VMM_PENDING_IO_IN	1	/* RAX takes io.data */
#define VMM_PENDING_MSR_READ	2	/* EDX:EAX take msr.data, or #GP */
#define VMM_PENDING_MSR_WRITE	3	/* or #GP; then RIP goes back to @rip */
#define VMM_PENDING_HYPERCALL	4	/* RAX takes hypercall.ret */
#define VMM_PENDING_MMIO	5	/* the rest of an MMIO instruction, in @mmio */
#define VMM_PENDING_ACCESS	6	/* access.once: the instruction may have the access */

/**
 * struct vmm_pending - the unfinished part of the current exit
 * @kind: VMM_PENDING_*
 * @size: bytes of the access
 * @rip: of the instruction
 * @data: the VMM's answer so far (the run area's data field at the time of the call; setting
 *        this group puts it back there)
 * @fault: the VMM's msr.fault so far
 * @step: with VMM_EXITS_STEP: 1 if the instruction is done, so that its DEBUG exit comes next
 * @mmio: the module's own record of a decoded MMIO instruction: opaque, carry it unchanged.
 *        Setting it checks it
 */
struct vmm_pending {
	__u32 kind;
	__u32 size;
	__u64 rip;
	__u64 data;
	__u32 fault;
	__u32 step;
	__u64 mmio[8];
};

/**
 * struct vmm_msr_state - the model-specific registers that hold guest state
 * @star: STAR
 * @lstar: LSTAR
 * @cstar: CSTAR
 * @sfmask: SFMASK
 * @kernel_gs_base: KERNEL_GS_BASE
 * @sysenter_cs: IA32_SYSENTER_CS
 * @sysenter_esp: IA32_SYSENTER_ESP
 * @sysenter_eip: IA32_SYSENTER_EIP
 * @pat: IA32_PAT
 * @debugctl: IA32_DEBUGCTL
 * @tsc_offset: guest TSC less host TSC, modulo 2^64
 * @tsc_adjust: IA32_TSC_ADJUST
 * @tsc_aux: TSC_AUX
 * @spec_ctrl: IA32_SPEC_CTRL
 * @virt_spec_ctrl: zero: no guest has VIRT_SPEC_CTRL
 * @misc_enable: IA32_MISC_ENABLE
 * @hwcr: HWCR
 * @patch_level: what IA32_BIOS_SIGN_ID shows: the revision of the microcode
 * @mcg_status: IA32_MCG_STATUS
 * @mtrr_def_type: IA32_MTRR_DEF_TYPE
 * @mtrr_fixed: the fixed-range MTRRs by address: one for 64 KiB units, two for 16 KiB, eight
 *              for 4 KiB
 * @mtrr_var: IA32_MTRR_PHYSBASE0, PHYSMASK0 and so on to PHYSMASK7
 * @pv_wall_clock: MSR_KVM_WALL_CLOCK_NEW
 * @pv_system_time: MSR_KVM_SYSTEM_TIME_NEW
 * @pv_eoi: MSR_KVM_PV_EOI_EN
 * @pv_steal_time: MSR_KVM_STEAL_TIME
 * @pv_poll_control: zero: MSR_KVM_POLL_CONTROL is not offered
 * @smi_count: MSR_SMI_COUNT
 * @reserved: zero
 *
 * The guest's TSC is the host's plus @tsc_offset. Registers that the guest's
 * CPUID table does not announce keep their reset value.
 */
struct vmm_msr_state {
	__u64 star;
	__u64 lstar;
	__u64 cstar;
	__u64 sfmask;
	__u64 kernel_gs_base;
	__u64 sysenter_cs;
	__u64 sysenter_esp;
	__u64 sysenter_eip;
	__u64 pat;
	__u64 debugctl;
	__u64 tsc_offset;
	__u64 tsc_adjust;
	__u64 tsc_aux;
	__u64 spec_ctrl;
	__u64 virt_spec_ctrl;
	__u64 misc_enable;
	__u64 hwcr;
	__u64 patch_level;
	__u64 mcg_status;
	__u64 mtrr_def_type;
	__u64 mtrr_fixed[11];
	__u64 mtrr_var[16];
	__u64 pv_wall_clock;
	__u64 pv_system_time;
	__u64 pv_eoi;
	__u64 pv_steal_time;
	__u64 pv_poll_control;
	__u64 smi_count;
	__u64 reserved[4];
};

/**
 * struct vmm_lapic - a LAPIC
 * @apic_base: IA32_APIC_BASE
 * @timer_remaining_ns: until the one-shot or periodic timer fires; 0 if it does not run
 * @tsc_deadline: IA32_TSC_DEADLINE, in guest TSC ticks; 0 if not armed
 * @id: the APIC id (32 bits; the ID register shows it in the format of the mode)
 * @extint_pending: bit 0: the PIC's output reaches this LAPIC
 * @regs: the register page: the register at offset 0x10 * n is regs[4 * n]. Behind ESR, in
 *        regs[0xa1], are the errors that ESR does not show yet
 *
 * The ID, version, processor priority and current count registers, LDR in x2APIC mode, and
 * @extint_pending follow from the rest: they are shown, and ignored when set.
 */
struct vmm_lapic {
	__u64 apic_base;
	__u64 timer_remaining_ns;
	__u64 tsc_deadline;
	__u32 id;
	__u32 extint_pending;
	__u32 regs[256];
};

/**
 * struct vmm_xsave - extended state
 * @xcr0: XCR0
 * @xss: IA32_XSS
 * @area: address of the XSAVE area in the standard format, 0 to leave it alone
 * @area_size: bytes there; at least what XCR0's largest component needs (get: at least
 *             vmm_info.xsave_size, or 512 without XSAVE)
 * @reserved: zero
 */
struct vmm_xsave {
	__u64 xcr0;
	__u64 xss;
	__u64 area;
	__u32 area_size;
	__u32 reserved;
};

/**
 * struct vmm_state - vCPU state, for VMM_GET_STATE and VMM_SET_STATE
 * @size: size of this structure
 * @flags: zero
 * @groups: VMM_STATE_* to read or write; other groups are not touched
 * @regs: VMM_STATE_REGS
 * @segments: VMM_STATE_SEGMENTS
 * @control: VMM_STATE_CONTROL
 * @debug: VMM_STATE_DEBUG
 * @events: VMM_STATE_EVENTS
 * @pending: VMM_STATE_PENDING
 * @msrs: VMM_STATE_MSRS
 * @lapic: VMM_STATE_LAPIC
 * @xsave: VMM_STATE_XSAVE
 *
 * Setting stores what is not impossible to store; what the groups must be
 * together is checked at VMM_RUN.
 */
struct vmm_state {
	__u32 size;
	__u32 flags;
	__u64 groups;
	struct vmm_regs regs;
	struct vmm_segments segments;
	struct vmm_control control;
	struct vmm_debug debug;
	struct vmm_events events;
	struct vmm_pending pending;
	struct vmm_msr_state msrs;
	struct vmm_lapic lapic;
	struct vmm_xsave xsave;
};

/*
 * CPUID
 */
#define VMM_CPUID_INDEX		(1U << 0)	/* the sub-leaf in ECX is significant */

struct vmm_cpuid_entry {
	__u32 function;
	__u32 index;
	__u32 flags;
	__u32 eax;
	__u32 ebx;
	__u32 ecx;
	__u32 edx;
	__u32 reserved;
};

/**
 * struct vmm_cpuid - a table of CPUID leaves
 * @size: size of this structure
 * @flags: zero
 * @count: entries at @entries; out: entries filled, or (with E2BIG) needed
 * @reserved: zero
 * @entries: address of struct vmm_cpuid_entry[count]
 */
struct vmm_cpuid {
	__u32 size;
	__u32 flags;
	__u32 count;
	__u32 reserved;
	__u64 entries;
};

/*
 * MSRs by number
 */
struct vmm_msr_entry {
	__u32 index;
	__u32 reserved;
	__u64 data;
};

/**
 * struct vmm_msrs - read or write MSRs by number
 * @size: size of this structure
 * @flags: zero
 * @count: entries at @entries; out: how many were done (fewer with an error at the next)
 * @reserved: zero
 * @entries: address of struct vmm_msr_entry[count]
 */
struct vmm_msrs {
	__u32 size;
	__u32 flags;
	__u32 count;
	__u32 reserved;
	__u64 entries;
};

/**
 * struct vmm_msr_list - the MSRs that VMM_GET_MSRS can read on this host
 * @size: size of this structure
 * @flags: zero
 * @count: __u32 numbers at @indices; out: filled, or (with E2BIG) needed
 * @reserved: zero
 * @indices: address of __u32[count]
 */
struct vmm_msr_list {
	__u32 size;
	__u32 flags;
	__u32 count;
	__u32 reserved;
	__u64 indices;
};

#define VMM_MSR_POLICY_UNKNOWN_EXIT	(1U << 0)	/* MSRs unknown to the module leave as MSR exits */

#define VMM_MSR_READ		(1U << 0)
#define VMM_MSR_WRITE		(1U << 1)

#define VMM_MSR_EXIT		0	/* leaves as an MSR exit */
#define VMM_MSR_DENY		1	/* #GP */

/**
 * struct vmm_msr_range - accesses that do not go their usual way
 * @base: first MSR
 * @count: how many, 1 to 0x2000
 * @access: VMM_MSR_READ, VMM_MSR_WRITE or both
 * @action: VMM_MSR_EXIT or VMM_MSR_DENY
 */
struct vmm_msr_range {
	__u32 base;
	__u32 count;
	__u32 access;
	__u32 action;
};

/**
 * struct vmm_msr_policy - which MSR accesses the VMM sees
 * @size: size of this structure
 * @flags: VMM_MSR_POLICY_*; without it an unknown MSR is #GP
 * @count: ranges at @ranges, up to 64; they replace all earlier ones
 * @reserved: zero
 * @ranges: address of struct vmm_msr_range[count]; the first that matches decides
 *
 * x2APIC registers (0x800-0x8ff) with a LAPIC in the kernel cannot be named: EINVAL.
 */
struct vmm_msr_policy {
	__u32 size;
	__u32 flags;
	__u32 count;
	__u32 reserved;
	__u64 ranges;
};

/*
 * Optional exits
 */
#define VMM_EXITS_HLT		(1ULL << 0)	/* HLT leaves even with a LAPIC in the kernel */
#define VMM_EXITS_HYPERCALL	(1ULL << 1)	/* hypercalls leave instead of failing in the guest */
#define VMM_EXITS_CPUID		(1ULL << 2)
#define VMM_EXITS_PAUSE		(1ULL << 3)	/* PAUSE loops */
#define VMM_EXITS_STEP		(1ULL << 4)	/* one instruction, or delivery of an event, then a DEBUG exit */
#define VMM_EXITS_BREAKPOINT	(1ULL << 5)	/* DEBUG exit at INT3 */
#define VMM_EXITS_HW_BREAK	(1ULL << 6)	/* @dr and @dr7 are the VMM's; DEBUG exit when they hit */

/**
 * struct vmm_exits - the optional exits of a vCPU
 * @size: size of this structure
 * @flags: zero
 * @exits: VMM_EXITS_*
 * @dr: breakpoint addresses, with VMM_EXITS_HW_BREAK
 * @dr7: which of them are active, in DR7's format
 */
struct vmm_exits {
	__u32 size;
	__u32 flags;
	__u64 exits;
	__u64 dr[4];
	__u64 dr7;
};

/**
 * struct vmm_inject - bring an event to a vCPU
 * @size: size of this structure
 * @flags: zero
 * @event: EXCEPTION (0-31, not 2), INTERRUPT (without a LAPIC in the kernel) or NMI
 *
 * NMIs may come from any thread at any time. The others need a vCPU that does
 * not run, and EBUSY says that one of the kind waits already. EINVAL: no CPU has such an
 * event: an error code where none is pushed, or of more than 16 bits; a payload of #DB with
 * other bits than B0-B3, BD, BS and BT; an insn_len other than 0.
 */
struct vmm_inject {
	__u32 size;
	__u32 flags;
	struct vmm_event event;
};

#define VMM_ACCESS_READ		(1U << 0)
#define VMM_ACCESS_WRITE	(1U << 1)
#define VMM_ACCESS_EXEC		(1U << 2)
#define VMM_ACCESS_USER		(1U << 3)	/* as CPL 3; otherwise as the supervisor */

/**
 * struct vmm_translate - guest-virtual to guest-physical, by the vCPU's present page tables
 * @size: size of this structure
 * @flags: zero
 * @access: VMM_ACCESS_*
 * @fault: out: 0, or 1 if the guest would get an exception for this access
 * @gva: linear address
 * @gpa: out: guest-physical address, valid if @fault is 0
 * @error: out: the #PF error code if @fault is 1
 * @vector: out: 14 (#PF) or 13 (#GP: not canonical) if @fault is 1
 */
struct vmm_translate {
	__u32 size;
	__u32 flags;
	__u32 access;
	__u32 fault;
	__u64 gva;
	__u64 gpa;
	__u32 error;
	__u32 vector;
};

#define VMM_DEVICE_WRITE	(1U << 0)	/* otherwise a read */
#define VMM_DEVICE_IO		(1U << 1)	/* a port, otherwise guest-physical */

/**
 * struct vmm_device_access - the guest's access to what the module emulates, made by the VMM
 * @size: size of this structure
 * @flags: VMM_DEVICE_*
 * @address: guest-physical address, or port
 * @data: what is written, or out: what is read, in its low @bytes bytes
 * @bytes: 1, 2, 4, or 8 (not a port); memory within a page
 * @eoi: out: the vector of a level interrupt that the write has ended, where the I/O APIC is the
 *       VMM's (as VMM_EXIT_EOI says of others), or 0
 *
 * Where an instruction is the VMM's to execute (EMULATE exits, string I/O), it does not know what
 * a LAPIC, another controller or an ioeventfd would make of its accesses: this call makes one.
 */
struct vmm_device_access {
	__u32 size;
	__u32 flags;
	__u64 address;
	__u64 data;
	__u32 bytes;
	__u32 eoi;
};

/*
 * Interrupts
 */

/**
 * struct vmm_irq_line - set the level of a GSI
 * @size: size of this structure
 * @flags: zero
 * @gsi: below vmm_info.nr_gsis
 * @level: 0 or 1; for an edge-triggered pin the rise from 0 to 1 counts
 */
struct vmm_irq_line {
	__u32 size;
	__u32 flags;
	__u32 gsi;
	__u32 level;
};

/**
 * struct vmm_msi - a message-signalled interrupt
 * @size: size of this structure
 * @flags: zero
 * @address: as written by a device: bits 39:20 are 0x00fee; bits 63:40 hold bits 31:8 of the
 *           destination id
 * @data: as written by a device
 * @reserved: zero
 *
 * Returns the number of LAPICs that took it.
 */
struct vmm_msi {
	__u32 size;
	__u32 flags;
	__u64 address;
	__u32 data;
	__u32 reserved;
};

#define VMM_ROUTE_PIC		1	/* @pin: 0-15 */
#define VMM_ROUTE_IOAPIC	2	/* @pin: 0-23 */
#define VMM_ROUTE_MSI		3	/* @address, @data */

/**
 * struct vmm_route - where a GSI goes; a GSI may have several
 * @gsi: below vmm_info.nr_gsis
 * @type: VMM_ROUTE_*
 * @pin: of the PIC pair or the I/O APIC
 * @data: of an MSI
 * @address: of an MSI
 */
struct vmm_route {
	__u32 gsi;
	__u32 type;
	__u32 pin;
	__u32 data;
	__u64 address;
};

/**
 * struct vmm_routes - all routes of a VM
 * @size: size of this structure
 * @flags: zero
 * @count: routes at @routes, up to 4096, and up to 8 of one GSI; they replace all earlier ones
 * @reserved: zero
 * @routes: address of struct vmm_route[count]
 *
 * A new VM routes GSI 0-15 to the PIC's pins and GSI 0-23 to the I/O APIC's
 * (GSI 0 to pin 2), as far as it has them.
 */
struct vmm_routes {
	__u32 size;
	__u32 flags;
	__u32 count;
	__u32 reserved;
	__u64 routes;
};

#define VMM_IRQFD_DEASSIGN	(1U << 0)
#define VMM_IRQFD_RESAMPLE	(1U << 1)	/* level: asserted by @fd, lowered at EOI, @resample_fd told */

/**
 * struct vmm_irqfd - an eventfd that raises a GSI
 * @size: size of this structure
 * @flags: VMM_IRQFD_*
 * @fd: eventfd whose signal raises the GSI
 * @gsi: below vmm_info.nr_gsis
 * @resample_fd: eventfd that is signalled at the guest's EOI, with VMM_IRQFD_RESAMPLE; else 0
 * @reserved: zero
 */
struct vmm_irqfd {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 gsi;
	__s32 resample_fd;
	__u32 reserved;
};

#define VMM_IOEVENTFD_DEASSIGN	(1U << 0)
#define VMM_IOEVENTFD_IO	(1U << 1)	/* @address is a port; else a guest-physical address */
#define VMM_IOEVENTFD_MATCH	(1U << 2)	/* only when @match is written */

/**
 * struct vmm_ioeventfd - signal an eventfd instead of leaving for a write
 * @size: size of this structure
 * @flags: VMM_IOEVENTFD_*
 * @address: of the port or the register
 * @length: width of the write: 1, 2, 4, 8 (not for ports), or 0 for any
 * @fd: eventfd
 * @match: value, with VMM_IOEVENTFD_MATCH (@length not 0)
 */
struct vmm_ioeventfd {
	__u32 size;
	__u32 flags;
	__u64 address;
	__u32 length;
	__s32 fd;
	__u64 match;
};

/*
 * State of the controllers that the VCPUs share
 */
#define VMM_VM_STATE_PIC	(1ULL << 0)
#define VMM_VM_STATE_IOAPIC	(1ULL << 1)
#define VMM_VM_STATE_PIT	(1ULL << 2)
#define VMM_VM_STATE_CLOCK	(1ULL << 3)
#define VMM_VM_STATE_ALL	((1ULL << 4) - 1)

/* One 8259A. Levels and requests are bit masks of its eight inputs. */
struct vmm_pic {
	__u8 lines;		/* levels of the inputs now */
	__u8 irr;
	__u8 imr;
	__u8 isr;
	__u8 elcr;
	__u8 vector_base;	/* ICW2 */
	__u8 icw4;
	__u8 init_step;		/* 0, or the ICW that comes next (2-4) */
	__u8 init_icw4;		/* ICW4 follows */
	__u8 priority_add;	/* the input with the highest priority */
	__u8 read_isr;		/* OCW3 */
	__u8 poll;
	__u8 special_mask;
	__u8 rotate_on_auto_eoi;
	__u8 auto_eoi;
	__u8 special_fully_nested;
};

struct vmm_ioapic {
	__u64 base;
	__u32 select;		/* IOREGSEL */
	__u32 id;
	__u32 lines;		/* levels of the pins now */
	__u32 irr;		/* edges that wait for a masked pin or a busy LAPIC */
	__u64 redirection[24];
};

struct vmm_pit_channel {
	__u32 count;		/* reload value, 1-0x10000; 0: not programmed */
	__u16 latched_count;
	__u8 count_latched;	/* bytes of it still to be read */
	__u8 status_latched;
	__u8 status;
	__u8 read_state;
	__u8 write_state;
	__u8 write_latch;
	__u8 rw_mode;
	__u8 mode;
	__u8 bcd;
	__u8 gate;
	__u64 elapsed_ns;	/* since the count was loaded or the gate last rose; ~0 before */
};

struct vmm_pit {
	struct vmm_pit_channel channel[3];
	__u8 speaker;		/* port 0x61 bits 0-1 as written */
	__u8 irq_level;		/* 0: each rise of channel 0's output is an edge of no length */
	__u8 reserved[6];
	__u64 ticks_pending;	/* 0: rises that came too fast are not made up for */
};

/**
 * struct vmm_clock - the VM's paravirtual clock
 * @guest_ns: nanoseconds that pvclock shows now
 * @realtime_ns: host wall time at the same moment (out only)
 * @host_tsc: host TSC at the same moment (out only)
 */
struct vmm_clock {
	__u64 guest_ns;
	__u64 realtime_ns;
	__u64 host_tsc;
};

/**
 * struct vmm_vm_state - controller state, for VMM_GET_VM_STATE and VMM_SET_VM_STATE
 * @size: size of this structure
 * @flags: zero
 * @groups: VMM_VM_STATE_* to read or write; ENXIO for a controller that this VM lacks
 * @pic: VMM_VM_STATE_PIC: the first 8259A, and that at its input 2
 * @ioapic: VMM_VM_STATE_IOAPIC
 * @pit: VMM_VM_STATE_PIT
 * @clock: VMM_VM_STATE_CLOCK
 *
 * A line that is high when set stays so until it is set by VMM_IRQ_LINE, or by an irqfd,
 * again.
 */
struct vmm_vm_state {
	__u32 size;
	__u32 flags;
	__u64 groups;
	struct vmm_pic pic[2];
	struct vmm_ioapic ioapic;
	struct vmm_pit pit;
	struct vmm_clock clock;
};

/*
 * Statistics
 */
struct vmm_stat {
	char name[24];
	__u64 value;
};

/**
 * struct vmm_stats - counters since creation
 * @size: size of this structure
 * @flags: zero
 * @count: entries at @stats; out: filled, or (with E2BIG) needed
 * @reserved: zero
 * @stats: address of struct vmm_stat[count]
 */
struct vmm_stats {
	__u32 size;
	__u32 flags;
	__u32 count;
	__u32 reserved;
	__u64 stats;
};

/*
 * Exits. VMM_RUN returns 0 and vmm_run.exit says why, or -1 with errno EINTR
 * (and reason INTR) after a signal, immediate_exit or VMM_KICK.
 */
#define VMM_EXIT_NONE		0
#define VMM_EXIT_INTR		1	/* nothing happened in the guest */
#define VMM_EXIT_IO		2	/* exit.io */
#define VMM_EXIT_MMIO		3	/* exit.mmio */
#define VMM_EXIT_HLT		4	/* without a LAPIC in the kernel, or on request */
#define VMM_EXIT_SHUTDOWN	5	/* triple fault */
#define VMM_EXIT_HYPERCALL	6	/* exit.hypercall; on request */
#define VMM_EXIT_MSR		7	/* exit.msr; by vmm_msr_policy */
#define VMM_EXIT_CPUID		8	/* on request; the guest's registers hold leaf and sub-leaf, RIP is behind */
#define VMM_EXIT_DEBUG		9	/* exit.debug; on request */
#define VMM_EXIT_EMULATE	10	/* exit.emulate: an instruction that the module does not complete */
#define VMM_EXIT_FAULT		11	/* exit.fault: the host could not supply guest memory */
#define VMM_EXIT_INTERRUPT_WINDOW 12	/* the guest can take an interrupt; on request */
#define VMM_EXIT_NMI_WINDOW	13	/* the guest can take an NMI; on request */
#define VMM_EXIT_PAUSE		14	/* on request */
#define VMM_EXIT_EOI		15	/* exit.eoi: level interrupt, where the I/O APIC is the VMM's */
#define VMM_EXIT_FAIL_ENTRY	16	/* exit.fail_entry: the CPU or the module refused the state */
#define VMM_EXIT_INTERNAL	17	/* an exit that the module does not know; hw_* say which */
#define VMM_EXIT_RING_FULL	18	/* collect entries of the vCPU's dirty ring, then VMM_RESET_RINGS */
#define VMM_EXIT_ACCESS		19	/* exit.access: the vCPU's view does not grant it */
#define VMM_NR_EXITS		20

struct vmm_exit_io {
	__u16 port;
	__u8 size;		/* 1, 2 or 4 */
	__u8 in;		/* 1 for IN and INS */
	__u8 string;		/* INS or OUTS: the VMM moves the data and the registers; RIP is at the instruction */
	__u8 rep;
	__u8 address_size;	/* 2, 4 or 8, for string */
	__u8 segment;		/* enum vmm_segment_index, for string */
	__u64 count;		/* iterations, for string: RCX with REP, else 1 */
	__u64 address;		/* linear address of the first element, for string */
	__u64 data;		/* out: value written; IN: the VMM's answer */
};

struct vmm_exit_mmio {
	__u64 gpa;
	__u8 size;		/* 1, 2, 4 or 8 */
	__u8 write;
	__u8 reserved[6];
	__u64 data;		/* value written, or the VMM's answer */
};

struct vmm_exit_hypercall {
	__u64 nr;
	__u64 args[4];
	__u64 ret;		/* the VMM's answer */
};

struct vmm_exit_msr {
	__u32 index;
	__u8 write;
	__u8 fault;		/* the VMM's answer: 1 gives the guest #GP */
	__u8 unknown;		/* 1: the module does not know this MSR */
	__u8 reserved;
	__u64 data;		/* value written, or the VMM's answer */
};

#define VMM_DEBUG_STEP		1
#define VMM_DEBUG_HW_BREAK	2
#define VMM_DEBUG_BREAKPOINT	3

struct vmm_exit_debug {
	__u32 kind;		/* VMM_DEBUG_* */
	__u32 vector;		/* 1 or 3 */
	__u64 dr6;
	__u64 dr7;
	__u64 address;		/* linear address of the instruction that is next (BREAKPOINT: of the INT3) */
};

struct vmm_exit_emulate {
	__u64 gpa;		/* that faulted; ~0 if none did */
	__u64 gva;		/* linear address of the instruction */
	__u8 access;		/* VMM_ACCESS_* */
	__u8 length;		/* bytes in @bytes */
	__u8 mode;		/* default operand size in bytes: 2, 4, 8 */
	__u8 reserved[5];
	__u8 bytes[16];		/* from RIP on */
};

struct vmm_exit_fault {
	__u64 gpa;
	__u32 access;		/* VMM_ACCESS_* */
	__s32 error;		/* -EFAULT, -EHWPOISON, -ENOMEM, ...; -ENXIO: no slot there, and it is no
				 * operand but a fetch, a page-table walk or an event's delivery
				 */
};

#define VMM_FAULT_GVA		(1U << 0)	/* @gva is known */
#define VMM_FAULT_WALK		(1U << 1)	/* by the CPU's walk of the guest's page tables, for @gva */

struct vmm_exit_access {
	__u64 gpa;
	__u64 gva;		/* linear address, with VMM_FAULT_GVA; else 0 */
	__u32 access;		/* VMM_ACCESS_*: what the guest does */
	__u32 granted;		/* VMM_ACCESS_*: what the view grants there */
	__u32 flags;		/* VMM_FAULT_GVA, VMM_FAULT_WALK */
	__u32 once;		/* the VMM's answer: 1 lets this one instruction do it */
};

struct vmm_exit_eoi {
	__u32 vector;
	__u32 reserved;
};

struct vmm_exit_fail_entry {
	char message[120];	/* what is wrong, in words; zero-terminated */
};

/**
 * struct vmm_exit - why the guest was left
 * @reason: VMM_EXIT_*
 * @reserved: zero
 * @hw_reason: the vendor's exit code (VMEXIT_* or basic exit reason)
 * @hw_info1: EXITINFO1, or the exit qualification
 * @hw_info2: EXITINFO2, or the guest-physical address
 * @rip: of the instruction that left
 * @next_rip: behind it, or 0 where unknown
 * @rflags: RFLAGS
 * @cr8: TPR bits 7:4
 * @interruptible: 1 if VMM_EVENT_INTERRUPT would be taken at once
 * @nmi_allowed: 1 if an NMI would be taken at once
 * @cpl: current privilege level
 * @long_mode: 1 in 64-bit code
 * @reserved2: zero
 * @io: VMM_EXIT_IO
 * @mmio: VMM_EXIT_MMIO
 * @hypercall: VMM_EXIT_HYPERCALL
 * @msr: VMM_EXIT_MSR
 * @debug: VMM_EXIT_DEBUG
 * @emulate: VMM_EXIT_EMULATE
 * @fault: VMM_EXIT_FAULT
 * @access: VMM_EXIT_ACCESS
 * @eoi: VMM_EXIT_EOI
 * @fail_entry: VMM_EXIT_FAIL_ENTRY
 * @pad: room for kinds to come
 */
struct vmm_exit {
	__u32 reason;
	__u32 reserved;
	__u64 hw_reason;
	__u64 hw_info1;
	__u64 hw_info2;
	__u64 rip;
	__u64 next_rip;
	__u64 rflags;
	__u8 cr8;
	__u8 interruptible;
	__u8 nmi_allowed;
	__u8 cpl;
	__u8 long_mode;
	__u8 reserved2[3];
	union {
		struct vmm_exit_io io;
		struct vmm_exit_mmio mmio;
		struct vmm_exit_hypercall hypercall;
		struct vmm_exit_msr msr;
		struct vmm_exit_debug debug;
		struct vmm_exit_emulate emulate;
		struct vmm_exit_fault fault;
		struct vmm_exit_access access;
		struct vmm_exit_eoi eoi;
		struct vmm_exit_fail_entry fail_entry;
		__u64 pad[16];
	};
};

/**
 * struct vmm_run - the run area, mapped from a vCPU fd at offset 0
 * @size: out: bytes of this structure that the module uses
 * @immediate_exit: in: not 0: VMM_RUN completes what is pending, then returns EINTR
 * @interrupt_window: in: not 0: leave when the guest can take an interrupt
 * @nmi_window: in: not 0: leave when the guest can take an NMI
 * @reserved: zero
 * @sync_groups: in: VMM_STATE_SYNC groups to store below at every exit
 * @dirty_groups: in: VMM_STATE_SYNC groups below to take at the next VMM_RUN, which
 *                clears it
 * @exit: out: why the guest was left; in: the VMM's answer
 * @regs: VMM_STATE_REGS
 * @segments: VMM_STATE_SEGMENTS
 * @control: VMM_STATE_CONTROL
 * @debug: VMM_STATE_DEBUG
 * @events: VMM_STATE_EVENTS
 *
 * Writing while the vCPU runs is allowed and changes nothing before the next
 * VMM_RUN, but for immediate_exit, which may be seen at once.
 */
struct vmm_run {
	__u32 size;
	__u8 immediate_exit;
	__u8 interrupt_window;
	__u8 nmi_window;
	__u8 reserved;
	__u64 sync_groups;
	__u64 dirty_groups;
	struct vmm_exit exit;
	struct vmm_regs regs;
	struct vmm_segments segments;
	struct vmm_control control;
	struct vmm_debug debug;
	struct vmm_events events;
};

#endif
