/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VMM_FRONT_END_H
#define VMM_FRONT_END_H

#include <linux/build_bug.h>
#include <linux/fs.h>
#include <linux/types.h>

/* What /dev/vmm answers to */
extern const struct file_operations abi_system_fops;

/*
 * Groups move as blocks between the ABI and the core: their layouts must be one.
 */
#define SAME(abi, core)	static_assert(sizeof(abi) == sizeof(core))
#define SAME_FIELD(abi, afield, core, cfield)					\
	static_assert(offsetof(abi, afield) == offsetof(core, cfield))

struct vcpu;
struct vm;

/**
 * copy_in - copy a structure of the caller's size into one of ours
 * @to: where to; zero behind what the caller has
 * @ours: its size
 * @from: the caller's structure, which begins with its size and flags
 * @known: flags that are no error
 *
 * Return: 0, EFAULT, EINVAL (shorter than any version, unknown flags), E2BIG (not zero where longer
 * than ours).
 */
int copy_in(void *to, size_t ours, const void __user *from, u32 known);

/* The way back: fills what the caller has room for and says how much that was. */
int copy_out(void __user *to, void *from, size_t ours);

/* An array of the caller's, to be freed by kvfree(), or an error in a pointer: ENOMEM, EFAULT */
void *copy_array(u64 address, u32 count, size_t element);

/* abi_irq.c: calls about interrupts and shared controllers; ENOIOCTLCMD: none of them */
long abi_irq_ioctl(struct vm *vm, unsigned int cmd, void __user *arg);

/* abi_irq.c: a controller's answer to an access that the VMM makes for the guest; at rest */
long abi_device_access(struct vcpu *vcpu, void __user *arg);

/* abi_memory.c: calls about memory, on a vCPU (at rest), and on a VM; ENOTTY: none of them */
long abi_set_view(struct vcpu *vcpu, void __user *arg);
long abi_memory_ioctl(struct vm *vm, unsigned int cmd, void __user *arg);

#endif
