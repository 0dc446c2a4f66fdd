// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: vCPUs and their state.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

static int explain_create(struct vmm_vm *vm, uint32_t id, int err)
{
	switch (err) {
	case -EEXIST:
		return fail(&vm->message, err, "the VM already has a vCPU %u", id);
	case -ENOSPC:
	case -E2BIG:
		return fail(&vm->message, err, "a VM has at most %u vCPUs",
			    vm->vmm->info.max_vcpus);
	default:
		return fail(&vm->message, err, "cannot create vCPU %u: %s", id, strerror(-err));
	}
}

int vmm_vcpu_create(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu **out)
{
	struct vmm_vcpu_create create = { .size = sizeof(create), .id = id };
	struct vmm_vcpu *vcpu;
	int err;

	*out = NULL;
	vcpu = calloc(1, sizeof(*vcpu));
	if (!vcpu)
		return fail(&vm->message, -ENOMEM, "out of memory");
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->fd = do_ioctl(vm->fd, VMM_CREATE_VCPU, &create);
	if (vcpu->fd < 0) {
		err = explain_create(vm, id, vcpu->fd);
		goto free;
	}
	vcpu->run_size = vm->vmm->info.run_size;
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		err = fail(&vm->message, -errno, "cannot map the run area: %s", strerror(errno));
		goto close;
	}
	*out = vcpu;
	return 0;
close:
	close(vcpu->fd);
free:
	free(vcpu);
	return err;
}

void vmm_vcpu_free(struct vmm_vcpu *vcpu)
{
	if (!vcpu)
		return;
	free_ring(vcpu);
	munmap(vcpu->run, vcpu->run_size);
	close(vcpu->fd);
	free(vcpu);
}

int vmm_vcpu_fd(const struct vmm_vcpu *vcpu)
{
	return vcpu->fd;
}

struct vmm_vm *vmm_vcpu_vm(struct vmm_vcpu *vcpu)
{
	return vcpu->vm;
}

uint32_t vmm_vcpu_id(const struct vmm_vcpu *vcpu)
{
	return vcpu->id;
}

struct vmm_run *vmm_vcpu_area(struct vmm_vcpu *vcpu)
{
	return vcpu->run;
}

const struct vmm_exit *vmm_vcpu_exit(struct vmm_vcpu *vcpu)
{
	return &vcpu->run->exit;
}

const uint64_t *vmm_vcpu_exit_counts(const struct vmm_vcpu *vcpu)
{
	return vcpu->exits;
}

static int vcpu_control(struct vmm_vcpu *vcpu, unsigned long request, void *arg, const char *what)
{
	int ret = do_ioctl(vcpu->fd, request, arg);

	if (ret < 0)
		return fail(&vcpu->message, ret, "%s, vCPU %u: %s", what, vcpu->id,
			    strerror(-ret));
	return 0;
}

/* ---- state ---- */

int vmm_vcpu_get_state(struct vmm_vcpu *vcpu, uint64_t groups, struct vmm_state *state)
{
	state->size = sizeof(*state);
	state->flags = 0;
	state->groups = groups;
	if (!(groups & VMM_STATE_XSAVE))
		memset(&state->xsave, 0, sizeof(state->xsave));
	state->xsave.reserved = 0;
	return vcpu_control(vcpu, VMM_GET_STATE, state, "VMM_GET_STATE");
}

/* The call reads its argument only, which need not be copied for that. */
int vmm_vcpu_set_state(struct vmm_vcpu *vcpu, const struct vmm_state *state)
{
	if (state->size != sizeof(*state) || state->flags)
		return fail(&vcpu->message, -EINVAL, "a state to set needs its size, and no flags");
	return vcpu_control(vcpu, VMM_SET_STATE, (void *)state, "VMM_SET_STATE");
}

int vmm_vcpu_get_regs(struct vmm_vcpu *vcpu, struct vmm_regs *regs)
{
	struct vmm_state state;
	int err;

	err = vmm_vcpu_get_state(vcpu, VMM_STATE_REGS, &state);
	if (!err)
		*regs = state.regs;
	return err;
}

int vmm_vcpu_set_regs(struct vmm_vcpu *vcpu, const struct vmm_regs *regs)
{
	struct vmm_state state = { .size = sizeof(state), .groups = VMM_STATE_REGS };

	state.regs = *regs;
	return vmm_vcpu_set_state(vcpu, &state);
}

static int move_msrs(struct vmm_vcpu *vcpu, unsigned long request, const void *entries,
		     uint32_t count, const char *what)
{
	struct vmm_msrs msrs = {
		.size = sizeof(msrs),
		.count = count,
		.entries = (uintptr_t)entries,
	};
	int err = vcpu_control(vcpu, request, &msrs, what);

	return err && (!msrs.count || msrs.count >= count) ? err : (int)msrs.count;
}

int vmm_vcpu_get_msrs(struct vmm_vcpu *vcpu, struct vmm_msr_entry *entries, uint32_t count)
{
	return move_msrs(vcpu, VMM_GET_MSRS, entries, count, "VMM_GET_MSRS");
}

int vmm_vcpu_set_msrs(struct vmm_vcpu *vcpu, const struct vmm_msr_entry *entries, uint32_t count)
{
	return move_msrs(vcpu, VMM_SET_MSRS, entries, count, "VMM_SET_MSRS");
}

int vmm_vcpu_set_view(struct vmm_vcpu *vcpu, uint32_t view)
{
	struct vmm_view arg = { .size = sizeof(arg), .view = view };

	return vcpu_control(vcpu, VMM_SET_VIEW, &arg, "VMM_SET_VIEW");
}

int vmm_vcpu_set_exits(struct vmm_vcpu *vcpu, const struct vmm_exits *exits)
{
	struct vmm_exits copy = *exits;
	int err;

	copy.size = sizeof(copy);
	copy.flags = 0;
	err = vcpu_control(vcpu, VMM_SET_EXITS, &copy, "VMM_SET_EXITS");
	if (!err)
		vcpu->wanted = copy;
	return err;
}

/* ---- events ---- */

int vmm_vcpu_inject(struct vmm_vcpu *vcpu, const struct vmm_event *event)
{
	struct vmm_inject inject = { .size = sizeof(inject), .event = *event };

	return do_ioctl(vcpu->fd, VMM_INJECT, &inject);
}

/* Vectors that push an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP, #SX */
static bool pushes_error(uint8_t vector)
{
	return vector < 32 && (1U << vector & 0x40227d00);
}

int vmm_vcpu_inject_exception(struct vmm_vcpu *vcpu, uint8_t vector, int error, uint64_t payload)
{
	struct vmm_event event;

	set_fault(&event, vector, pushes_error(vector), pushes_error(vector) ? error : 0,
		  payload);
	return vmm_vcpu_inject(vcpu, &event);
}

int vmm_vcpu_inject_nmi(struct vmm_vcpu *vcpu)
{
	struct vmm_event event = { .type = VMM_EVENT_NMI, .vector = 2 };

	return vmm_vcpu_inject(vcpu, &event);
}

int vmm_vcpu_translate(struct vmm_vcpu *vcpu, uint64_t gva, uint32_t access, uint64_t *gpa,
		       struct vmm_event *fault)
{
	struct vmm_translate translate = {
		.size = sizeof(translate),
		.access = access,
		.gva = gva,
	};
	int err = vcpu_control(vcpu, VMM_TRANSLATE, &translate, "VMM_TRANSLATE");

	if (err)
		return err;
	if (!translate.fault) {
		*gpa = translate.gpa;
		return 0;
	}
	if (fault)
		set_fault(fault, translate.vector, true, translate.error,
			  translate.vector == VECTOR_PF ? gva : 0);
	return 1;
}

int vmm_vcpu_kick(struct vmm_vcpu *vcpu)
{
	return do_ioctl(vcpu->fd, VMM_KICK, NULL);
}
