/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvmm: one instruction at a time, in user space, for EMULATE exits.
 *
 * vmm_vcpu_run() does all of this by itself. It is of use to a VMM with
 * a run loop of its own, and to tests, which bring a memory of their own.
 */
#ifndef VMM_EMULATE_H
#define VMM_EMULATE_H

#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Room for the extended state: more than the standard format with AVX-512 takes */
#define VMM_EMULATE_XSAVE	4096

/**
 * struct vmm_emulator_xstate - extended state
 * @area: XSAVE area in the standard format
 * @avx: offset of AVX state in @area; 0 where the guest has none (bit of XCR0 clear)
 * @opmask: likewise of the opmask registers
 * @zmm_hi256: likewise of the upper halves of ZMM0 to ZMM15
 * @hi16_zmm: likewise of ZMM16 to ZMM31
 * @dirty: out: the instruction changed @area
 */
struct vmm_emulator_xstate {
	uint8_t area[VMM_EMULATE_XSAVE] __attribute__((aligned(64)));
	uint32_t avx;
	uint32_t opmask;
	uint32_t zmm_hi256;
	uint32_t hi16_zmm;
	bool dirty;
};

/**
 * struct vmm_emulator - an instruction's surroundings
 * @state: groups REGS, SEGMENTS, CONTROL and EVENTS on entry; REGS, events.shadow and the
 *         groups in @changed are changed when the instruction completes, and only then
 *         (but for what vmm_emulate() says of REP)
 * @changed: out: VMM_STATE_SEGMENTS and VMM_STATE_CONTROL, where the instruction changed these
 * @read: linear memory; 0, 1 with @fault filled, or another value that ends the instruction
 * @write: likewise
 * @load_xstate: fill @xstate: 0 or a negative errno. Called at most once, for an instruction that
 *               needs it. NULL: no vector instructions
 * @xstate: where to; may be NULL if @load_xstate is
 * @opaque: for these functions
 * @fault: out: the exception, where vmm_emulate() returns 1
 * @message: out: why, where it returns a negative errno
 */
struct vmm_emulator {
	struct vmm_state state;
	uint64_t changed;
	int (*read)(void *opaque, uint64_t linear, void *buf, size_t bytes, uint32_t access,
		    struct vmm_event *fault);
	int (*write)(void *opaque, uint64_t linear, const void *buf, size_t bytes, uint32_t access,
		     struct vmm_event *fault);
	int (*load_xstate)(void *opaque, struct vmm_emulator_xstate *xstate);
	struct vmm_emulator_xstate *xstate;
	void *opaque;
	struct vmm_event fault;
	char message[160];
};

/**
 * vmm_emulate - carry out the instruction at RIP
 * @emulator: its surroundings
 * @bytes: the instruction, possibly with more behind it
 * @count: how many bytes
 *
 * A REP string instruction may stop after some iterations, with RIP still at it and RFLAGS.RF set;
 * with RFLAGS.TF it stops after each. The #DB of that flag is the caller's to raise.
 * LOCK prefixes are accepted; the access is atomic only as far as @read and @write are.
 *
 * Return: 0: done; 1: the guest gets @fault; -ENOSYS: not an instruction that is emulated;
 * -EILSEQ: no instruction at all, the guest should get #UD; any other value that @read, @write or
 * @load_xstate returned. With all but 0 nothing else has changed, but that a REP instruction keeps
 * its finished iterations.
 */
int vmm_emulate(struct vmm_emulator *emulator, const uint8_t *bytes, size_t count);

/**
 * vmm_vcpu_emulate - carry out the instruction of the present EMULATE exit
 * @vcpu: the vCPU, in its thread
 *
 * Devices are reached through vmm_device_add() ranges. Exceptions are injected.
 * Return: 0: go on running; a negative errno; what a device returned.
 */
int vmm_vcpu_emulate(struct vmm_vcpu *vcpu);

/**
 * vmm_vcpu_string_io - move the data of the present string I/O exit
 * @vcpu: the vCPU, in its thread
 *
 * Return: as vmm_vcpu_emulate().
 */
int vmm_vcpu_string_io(struct vmm_vcpu *vcpu);

#ifdef __cplusplus
}
#endif

#endif
