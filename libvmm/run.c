// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: the run loop.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <vmm/emulate.h>

#include "internal.h"

static int explain_run(struct vmm_vcpu *vcpu, int err)
{
	switch (err) {
	case -EIO:
		return fail(&vcpu->message, err, "the VM is dead: its memory or module is gone");
	default:
		return fail(&vcpu->message, err, "VMM_RUN, vCPU %u: %s", vcpu->id, strerror(-err));
	}
}

int vmm_vcpu_enter(struct vmm_vcpu *vcpu)
{
	uint32_t reason;
	int err;

	if (!ioctl(vcpu->fd, VMM_RUN, 0)) {
		reason = vcpu->run->exit.reason;
		vcpu->exits[reason < VMM_NR_EXITS ? reason : VMM_EXIT_INTERNAL]++;
		return 0;
	}
	err = -errno;
	if (err == -EINTR) {
		vcpu->exits[VMM_EXIT_INTR]++;
		return err;
	}
	return explain_run(vcpu, err);
}

static int handle_io(struct vmm_vcpu *vcpu)
{
	struct vmm_exit_io *io = &vcpu->run->exit.io;
	struct vmm_access access;

	if (io->string)
		return vmm_vcpu_string_io(vcpu);
	access = (struct vmm_access){
		.address = io->port,
		.data = io->data,
		.size = io->size,
		.write = !io->in,
	};
	vcpu_access(vcpu, VMM_BUS_IO, &access);
	if (io->in)
		io->data = access.data;
	return 0;
}

static int handle_mmio(struct vmm_vcpu *vcpu)
{
	struct vmm_exit_mmio *mmio = &vcpu->run->exit.mmio;
	struct vmm_access access = {
		.address = mmio->gpa,
		.data = mmio->data,
		.size = mmio->size,
		.write = mmio->write,
	};

	vcpu_access(vcpu, VMM_BUS_MMIO, &access);
	if (!mmio->write)
		mmio->data = access.data;
	return 0;
}

static int handle_msr(struct vmm_vcpu *vcpu)
{
	struct vmm_exit_msr *msr = &vcpu->run->exit.msr;

	if (vcpu->ops && vcpu->ops->msr)
		return vcpu->ops->msr(vcpu->opaque, vcpu, msr);
	msr->fault = 1;
	return 0;
}

static int handle_other(struct vmm_vcpu *vcpu, bool *again)
{
	if (vcpu->ops && vcpu->ops->other)
		return vcpu->ops->other(vcpu->opaque, vcpu, &vcpu->run->exit);
	*again = false;
	return 0;
}

int vmm_vcpu_handle_exit(struct vmm_vcpu *vcpu, const struct vmm_ops *ops, void *opaque,
			 bool *again)
{
	int ret = 0;

	vcpu->ops = ops;
	vcpu->opaque = opaque;
	*again = true;
	switch (vcpu->run->exit.reason) {
	case VMM_EXIT_IO:
		ret = handle_io(vcpu);
		break;
	case VMM_EXIT_MMIO:
		ret = handle_mmio(vcpu);
		break;
	case VMM_EXIT_MSR:
		ret = handle_msr(vcpu);
		break;
	case VMM_EXIT_EMULATE:
		ret = vmm_vcpu_emulate(vcpu);
		break;
	case VMM_EXIT_HYPERCALL:
		if (!ops || !ops->hypercall)
			ret = handle_other(vcpu, again);
		else
			ret = ops->hypercall(opaque, vcpu, &vcpu->run->exit.hypercall);
		break;
	case VMM_EXIT_HLT:
		ret = ops && ops->hlt ? ops->hlt(opaque, vcpu) : handle_other(vcpu, again);
		break;
	default:
		ret = handle_other(vcpu, again);
	}
	ret = vcpu_take_device_result(vcpu, ret);
	if (ret)
		*again = false;
	vcpu->ops = NULL;
	return ret;
}

/* VMM_RUN, again as long as ->interrupted says so */
static int enter(struct vmm_vcpu *vcpu, const struct vmm_ops *ops, void *opaque)
{
	int ret;

	while ((ret = vmm_vcpu_enter(vcpu)) == -EINTR) {
		if (!ops || !ops->interrupted)
			return fail(&vcpu->message, ret, "interrupted");
		ret = ops->interrupted(opaque, vcpu);
		if (ret)
			break;
	}
	return ret;
}

int vmm_vcpu_run(struct vmm_vcpu *vcpu, const struct vmm_ops *ops, void *opaque)
{
	bool again = true;
	int ret = 0;

	while (again) {
		ret = enter(vcpu, ops, opaque);
		if (ret)
			return ret;
		ret = vmm_vcpu_handle_exit(vcpu, ops, opaque, &again);
	}
	return ret;
}

static bool is_step(const struct vmm_exit *exit)
{
	return exit->reason == VMM_EXIT_DEBUG && exit->debug.kind == VMM_DEBUG_STEP;
}

int vmm_vcpu_step(struct vmm_vcpu *vcpu, const struct vmm_ops *ops, void *opaque)
{
	struct vmm_exits before = vcpu->wanted, exits = before;
	bool again = true;
	int ret = 0, err;

	if (!(vmm_get_info(vcpu->vm->vmm)->caps & VMM_CAP_SINGLE_STEP))
		return fail(&vcpu->message, -ENOTSUP, "this processor cannot step its guests");
	exits.exits |= VMM_EXITS_STEP;
	err = vmm_vcpu_set_exits(vcpu, &exits);
	if (err)
		return err;
	while (again) {
		ret = enter(vcpu, ops, opaque);
		if (ret || is_step(&vcpu->run->exit))
			break;
		ret = vmm_vcpu_handle_exit(vcpu, ops, opaque, &again);
	}
	err = vmm_vcpu_set_exits(vcpu, &before);
	return ret ? ret : err;
}
