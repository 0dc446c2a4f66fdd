// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctl front end's calls about interrupts and the controllers that a VM's vCPUs share.
 */
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <asm/tsc.h>

#include "../uapi/vmm.h"

#include "abi.h"
#include "irq/irq.h"
#include "pv/pv.h"
#include "vm.h"

SAME(struct vmm_pic, struct pic_state);
SAME_FIELD(struct vmm_pic, auto_eoi, struct pic_state, auto_eoi);
SAME(struct vmm_ioapic, struct ioapic_state);
SAME_FIELD(struct vmm_ioapic, redirection, struct ioapic_state, redirection);
SAME(struct vmm_pit, struct pit_state);
SAME_FIELD(struct vmm_pit_channel, elapsed_ns, struct pit_channel_state, elapsed_ns);
SAME(struct vmm_route, struct irq_route);
SAME_FIELD(struct vmm_route, address, struct irq_route, address);

/* ---- what raises interrupts ---- */

static long set_line(struct vm *vm, void __user *arg)
{
	struct vmm_irq_line line;
	long ret;

	ret = copy_in(&line, sizeof(line), arg, 0);
	if (ret)
		return ret;
	if (line.level > 1)
		return -EINVAL;
	return irq_set_level(vm, line.gsi, line.level);
}

static long signal_msi(struct vm *vm, void __user *arg)
{
	struct vmm_msi msi;
	long ret;

	ret = copy_in(&msi, sizeof(msi), arg, 0);
	if (ret)
		return ret;
	if (msi.reserved)
		return -EINVAL;
	return irq_send_msi(vm, msi.address, msi.data);
}

static long set_routes(struct vm *vm, void __user *arg)
{
	struct vmm_routes routes;
	struct irq_route *table;
	long ret;

	ret = copy_in(&routes, sizeof(routes), arg, 0);
	if (ret)
		return ret;
	if (routes.reserved)
		return -EINVAL;
	if (routes.count > 4096)
		return -E2BIG;
	table = copy_array(routes.routes, routes.count, sizeof(*table));
	if (IS_ERR(table))
		return PTR_ERR(table);
	ret = mutex_lock_killable(&vm->lock);
	if (!ret) {
		ret = irq_set_routes(vm, table, routes.count);
		mutex_unlock(&vm->lock);
	}
	kvfree(table);
	return ret;
}

static long set_irqfd(struct vm *vm, void __user *arg)
{
	bool resample;
	struct vmm_irqfd irqfd;
	long ret;

	ret = copy_in(&irqfd, sizeof(irqfd), arg, VMM_IRQFD_DEASSIGN | VMM_IRQFD_RESAMPLE);
	if (ret)
		return ret;
	resample = irqfd.flags & VMM_IRQFD_RESAMPLE;
	if (irqfd.reserved || (!resample && irqfd.resample_fd))
		return -EINVAL;
	if (irqfd.flags & VMM_IRQFD_DEASSIGN)
		return irqfd_deassign(vm, irqfd.fd, irqfd.gsi);
	return irqfd_assign(vm, irqfd.fd, irqfd.gsi, irqfd.resample_fd, resample);
}

static long set_ioeventfd(struct vm *vm, void __user *arg)
{
	struct vmm_ioeventfd io;
	bool port, match;
	long ret;

	ret = copy_in(&io, sizeof(io), arg,
		      VMM_IOEVENTFD_DEASSIGN | VMM_IOEVENTFD_IO | VMM_IOEVENTFD_MATCH);
	if (ret)
		return ret;
	port = io.flags & VMM_IOEVENTFD_IO;
	match = io.flags & VMM_IOEVENTFD_MATCH;
	if (io.length > 8 || (io.length & (io.length - 1)) || (port && io.length == 8))
		return -EINVAL;
	if ((match && !io.length) || (!match && io.match))
		return -EINVAL;
	if (port ? io.address + io.length > 0x10000 : io.address + io.length < io.address)
		return -EINVAL;
	if (io.flags & VMM_IOEVENTFD_DEASSIGN)
		return ioeventfd_deassign(vm, io.address, io.length, io.fd, port, match, io.match);
	return ioeventfd_assign(vm, io.address, io.length, io.fd, port, match, io.match);
}

/* ---- accesses of the guest that the VMM makes ---- */

static bool port_access(struct vm *vm, struct vmm_device_access *access)
{
	u16 port = access->address;
	u32 data;

	if (access->flags & VMM_DEVICE_WRITE)
		return irq_io_write(vm, port, access->bytes, access->data);
	if (!irq_io_read(vm, port, access->bytes, &data))
		return false;
	access->data = data;
	return true;
}

static bool memory_access(struct vcpu *vcpu, struct vmm_device_access *access)
{
	u8 vector;

	if (!(access->flags & VMM_DEVICE_WRITE))
		return irq_mmio_read(vcpu, access->address, access->bytes, &access->data);
	if (!irq_mmio_write(vcpu, access->address, access->bytes, access->data))
		return false;
	if (lapic_take_user_eoi(vcpu, &vector))
		access->eoi = vector;
	return true;
}

long abi_device_access(struct vcpu *vcpu, void __user *arg)
{
	struct vmm_device_access access;
	bool port;
	u64 mask;
	int ret;

	ret = copy_in(&access, sizeof(access), arg, VMM_DEVICE_WRITE | VMM_DEVICE_IO);
	if (ret)
		return ret;
	port = access.flags & VMM_DEVICE_IO;
	if (access.bytes > 8 || !is_power_of_2(access.bytes))
		return -EINVAL;
	if (port ? access.bytes == 8 || access.address > U16_MAX :
		   (access.address & ~PAGE_MASK) + access.bytes > PAGE_SIZE)
		return -EINVAL;
	mask = ~0ull >> (64 - 8 * access.bytes);
	access.data &= mask;
	access.eoi = 0;
	if (port ? !port_access(vcpu->vm, &access) : !memory_access(vcpu, &access))
		return -ENXIO;
	/* Not in a window: nobody else looks whether the PIT rests. */
	if (access.flags & VMM_DEVICE_WRITE)
		irq_resume_pit(vcpu->vm);
	access.data &= mask;
	return copy_out(arg, &access, sizeof(access));
}

/* ---- state of the shared controllers ---- */

static int get_controllers(struct vm *vm, struct vmm_vm_state *state)
{
	u64 groups = state->groups;
	int ret = 0;

	/* The caller may ask next who wants to assert a line anew. */
	irqfd_flush_resampled(vm);
	/* The PIT raises an interrupt that is due when it is read. */
	if (groups & VMM_VM_STATE_PIT)
		ret = irq_get_pit(vm, (struct pit_state *)&state->pit);
	if (!ret && (groups & VMM_VM_STATE_PIC))
		ret = irq_get_pic(vm, (struct pic_state *)state->pic);
	if (!ret && (groups & VMM_VM_STATE_IOAPIC))
		ret = irq_get_ioapic(vm, (struct ioapic_state *)&state->ioapic);
	if (!ret && (groups & VMM_VM_STATE_CLOCK)) {
		state->clock.guest_ns = pv_clock_now(vm);
		state->clock.realtime_ns = ktime_get_real_ns();
		state->clock.host_tsc = rdtsc();
	}
	return ret;
}

static int set_controllers(struct vm *vm, const struct vmm_vm_state *state)
{
	const struct pic_state *pic = (const struct pic_state *)state->pic;
	const struct ioapic_state *ioapic = (const struct ioapic_state *)&state->ioapic;
	const struct pit_state *pit = (const struct pit_state *)&state->pit;
	u64 groups = state->groups;
	int ret = 0;

	if (groups & VMM_VM_STATE_PIC)
		ret = irq_check_pic(vm, pic);
	if (!ret && (groups & VMM_VM_STATE_IOAPIC))
		ret = irq_check_ioapic(vm, ioapic);
	if (!ret && (groups & VMM_VM_STATE_PIT))
		ret = irq_check_pit(vm, pit);
	if (ret)
		return ret;

	if (groups & VMM_VM_STATE_PIC)
		irq_set_pic(vm, pic);
	if (groups & VMM_VM_STATE_IOAPIC)
		irq_set_ioapic(vm, ioapic);
	if (groups & VMM_VM_STATE_PIT)
		irq_set_pit(vm, pit);
	if (groups & VMM_VM_STATE_CLOCK)
		pv_clock_set(vm, state->clock.guest_ns);
	return 0;
}

static long access_state(struct vm *vm, void __user *arg, bool set)
{
	struct vmm_vm_state *state;
	long ret;

	state = kzalloc(sizeof(*state), GFP_KERNEL);
	if (!state)
		return -ENOMEM;

	ret = copy_in(state, sizeof(*state), arg, 0);
	if (ret)
		goto out;
	ret = -EINVAL;
	if (state->groups & ~VMM_VM_STATE_ALL)
		goto out;

	ret = mutex_lock_killable(&vm->lock);
	if (ret)
		goto out;
	ret = set ? set_controllers(vm, state) : get_controllers(vm, state);
	mutex_unlock(&vm->lock);
	if (!ret && !set)
		ret = copy_out(arg, state, sizeof(*state));
out:
	kfree(state);
	return ret;
}

long abi_irq_ioctl(struct vm *vm, unsigned int cmd, void __user *arg)
{
	switch (cmd) {
	case VMM_IRQ_LINE:
		return set_line(vm, arg);
	case VMM_SIGNAL_MSI:
		return signal_msi(vm, arg);
	case VMM_SET_ROUTES:
		return set_routes(vm, arg);
	case VMM_IRQFD:
		return set_irqfd(vm, arg);
	case VMM_IOEVENTFD:
		return set_ioeventfd(vm, arg);
	case VMM_GET_VM_STATE:
		return access_state(vm, arg, false);
	case VMM_SET_VM_STATE:
		return access_state(vm, arg, true);
	default:
		return -ENOIOCTLCMD;
	}
}
