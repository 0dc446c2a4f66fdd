/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvmm: what its files share and its users do not see.
 */
#ifndef LIBVMM_INTERNAL_H
#define LIBVMM_INTERNAL_H

#include <pthread.h>
#include <vmm/vmm.h>

#include "names.h"

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif
#define PAGE_SIZE	4096ULL

#define MESSAGE_SIZE	256

#define CR3_LAM_U57	(1ULL << 61)
#define CR3_LAM_U48	(1ULL << 62)

#define CR0_PE		(1ULL << 0)
#define CR0_ET		(1ULL << 4)
#define CR0_NE		(1ULL << 5)
#define CR0_WP		(1ULL << 16)
#define CR0_AM		(1ULL << 18)
#define CR0_NW		(1ULL << 29)
#define CR0_CD		(1ULL << 30)
#define CR0_PG		(1ULL << 31)
#define CR4_PAE		(1ULL << 5)
#define CR4_UMIP	(1ULL << 11)
#define CR4_LA57	(1ULL << 12)
#define EFER_LME	(1ULL << 8)
#define EFER_LMA	(1ULL << 10)

#define RFLAGS_CF	(1ULL << 0)
#define RFLAGS_FIXED	(1ULL << 1)
#define RFLAGS_PF	(1ULL << 2)
#define RFLAGS_AF	(1ULL << 4)
#define RFLAGS_ZF	(1ULL << 6)
#define RFLAGS_SF	(1ULL << 7)
#define RFLAGS_TF	(1ULL << 8)
#define RFLAGS_DF	(1ULL << 10)
#define RFLAGS_OF	(1ULL << 11)
#define RFLAGS_RF	(1ULL << 16)
#define RFLAGS_VM	(1ULL << 17)
#define RFLAGS_AC	(1ULL << 18)

#define DR6_BS		(1ULL << 14)

#define VECTOR_DE	0
#define VECTOR_DB	1
#define VECTOR_UD	6
#define VECTOR_SS	12
#define VECTOR_GP	13
#define VECTOR_PF	14
#define VECTOR_AC	17

/* How an object's text of its last failure is stored */
struct message {
	char text[MESSAGE_SIZE];
};

/**
 * fail - note what is wrong
 * @message: of the object that the call is on
 * @err: negative errno
 * @fmt: what is wrong, for people
 * @...: @fmt's
 *
 * Return: @err, for "return fail(...)".
 */
int fail(struct message *message, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

struct vmm {
	int fd;
	struct vmm_info info;
	struct message message;
};

struct region {
	struct vmm_region public;
	uint32_t slot;
	struct vmm_memory_object *object;	/* a reference; NULL: the caller's own mapping */
	bool logged;		/* dirty pages */
};

/**
 * struct vmm_memory_object - memory, mapped here once
 * @references: its creator's, and one for each region; atomic
 * @bytes: its length
 * @host: where it is mapped here
 * @flags: VMM_MEMORY_* that it was made with
 * @fd: what it is shared by, or -1
 * @readonly: mapped for reading alone
 */
struct vmm_memory_object {
	unsigned int references;
	uint64_t bytes;
	void *host;
	uint32_t flags;
	int fd;
	bool readonly;
};

/* As vmm_memory_create(); huge pages of @gpa and of the mapping will fall together. */
int memory_object_create(struct message *message, uint64_t gpa, uint64_t bytes, uint32_t flags,
			 struct vmm_memory_object **object);
void memory_object_get(struct vmm_memory_object *object);

struct device {
	uint64_t first;
	uint64_t last;
	vmm_access_fn fn;
	void *opaque;
};

/* Sorted by address */
struct bus {
	struct device *devices;
	unsigned int count;
};

/**
 * struct vmm_vm - a VM
 * @vmm: the system
 * @fd: the VM's
 * @flags: VMM_VM_*
 * @lock: guards @regions, @nr_regions and @logged
 * @regions: its memory, sorted by address
 * @nr_regions: how many
 * @logged: a region has a log of dirty pages, or had one
 * @bus: by VMM_BUS_*; changes only while no vCPU runs
 * @message: text of the last failure
 */
struct vmm_vm {
	struct vmm *vmm;
	int fd;
	uint32_t flags;
	pthread_rwlock_t lock;
	struct region *regions;
	unsigned int nr_regions;
	bool logged;
	struct bus bus[2];
	struct message message;
};

/**
 * struct vmm_vcpu - a vCPU
 * @vm: its VM
 * @fd: the vCPU's
 * @id: the VMM's number, initial APIC id
 * @run: the run area
 * @run_size: bytes mapped there
 * @ring: its dirty ring, mapped; may be NULL
 * @ring_entries: how long it is
 * @ops: the caller's, while an exit is handled; else NULL
 * @opaque: for @ops
 * @device_result: first non-zero answer of a device during the present exit
 * @exits: counts by VMM_EXIT_*
 * @wanted: by vmm_vcpu_set_exits()
 * @message: text of the last failure
 */
struct vmm_vcpu {
	struct vmm_vm *vm;
	int fd;
	uint32_t id;
	struct vmm_run *run;
	size_t run_size;
	struct vmm_dirty_ring *ring;
	uint32_t ring_entries;
	const struct vmm_ops *ops;
	void *opaque;
	int device_result;
	uint64_t exits[VMM_NR_EXITS];
	struct vmm_exits wanted;
	struct message message;
};

/* ioctl() with -errno */
int do_ioctl(int fd, unsigned long request, void *arg);

/* Memory was written to through its address here. */
void memory_written(struct vmm_vm *vm, uint64_t gpa, uint64_t bytes);

/*
 * All that this library puts into a guest's memory before the guest runs: @bytes of @data and
 * zeroes behind them, @size bytes in all, across regions. They are in the dirty log. 0; with
 * nothing written and no message, -EFAULT (not all of it is memory), -EACCES (the guest may only
 * read some of it, and others may have it as well).
 */
int memory_place(struct vmm_vm *vm, uint64_t gpa, const void *data, uint64_t bytes,
		 uint64_t size);

/* Unmap a vCPU's ring, if it has one. */
void free_ring(struct vmm_vcpu *vcpu);

/* Let a device answer; sets vcpu->device_result */
void vcpu_access(struct vmm_vcpu *vcpu, int bus, struct vmm_access *access);

/* The same of an instruction that is executed here: its accesses have not met the module. */
void vcpu_insn_access(struct vmm_vcpu *vcpu, int bus, struct vmm_access *access);

/*
 * What a call that devices may have answered in returns: @ret, if that is not 0, else
 * vcpu->device_result. No answer is left for another call.
 */
int vcpu_take_device_result(struct vmm_vcpu *vcpu, int ret);

/*
 * Linear memory, devices included: 0; 1 with @fault; a negative errno. The
 * device's own answer is in vcpu->device_result.
 */
int vcpu_read_linear(struct vmm_vcpu *vcpu, uint64_t linear, void *buf, size_t bytes,
		     uint32_t access, struct vmm_event *fault);
int vcpu_write_linear(struct vmm_vcpu *vcpu, uint64_t linear, const void *buf, size_t bytes,
		      uint32_t access, struct vmm_event *fault);

/* Bring a fault to the guest. 0 or a negative errno */
int vcpu_inject_fault(struct vmm_vcpu *vcpu, const struct vmm_event *fault);

/*
 * An instruction (or an iteration of it) that began with @rflags is complete:
 * single-step, if the guest does so. 0 or a negative errno
 */
int vcpu_finish_insn(struct vmm_vcpu *vcpu, uint64_t rflags);

/* Bytes at RIP, as many as can be read; needs REGS, SEGMENTS and CONTROL in @state */
size_t vcpu_fetch(struct vmm_vcpu *vcpu, const struct vmm_state *state, uint8_t bytes[15]);

/* Length of the instruction in @bytes, 0 if it is none; @mode: 2, 4 or 8 */
unsigned int insn_length(const uint8_t *bytes, size_t count, unsigned int mode);

/* Mode of the code that runs: 2, 4 or 8; how many bytes of RSP count; and the privilege */
unsigned int state_code_size(const struct vmm_state *state);
unsigned int state_stack_size(const struct vmm_state *state);
unsigned int state_cpl(const struct vmm_state *state);

/**
 * state_linear - linear address of an operand, checked against its segment
 * @state: needs REGS, SEGMENTS and CONTROL
 * @segment: enum vmm_segment_index
 * @offset: the effective address
 * @bytes: of the operand
 * @write: the access writes
 * @linear: out
 * @fault: out: the exception
 *
 * Return: 0; 1: the guest gets @fault (#GP or #SS).
 */
int state_linear(const struct vmm_state *state, unsigned int segment, uint64_t offset,
		 size_t bytes, bool write, uint64_t *linear, struct vmm_event *fault);

/**
 * state_aligned - alignment of an operand, where the guest has it checked
 * @state: needs REGS, SEGMENTS and CONTROL
 * @linear: where the operand is
 * @alignment: what its type needs: a power of two (SDM Vol. 3, interrupt 17)
 * @fault: out: the exception
 *
 * Return: 0; 1: the guest gets @fault (#AC).
 */
int state_aligned(const struct vmm_state *state, uint64_t linear, size_t alignment,
		  struct vmm_event *fault);

static inline void set_fault(struct vmm_event *fault, uint8_t vector, bool has_error,
			     uint32_t error, uint64_t payload)
{
	*fault = (struct vmm_event){
		.type = VMM_EVENT_EXCEPTION,
		.vector = vector,
		.has_error = has_error,
		.error = error,
		.payload = payload,
	};
}

#endif
