/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Dirty rings, one per vCPU that the VMM wants one for.
 */
#ifndef VMM_RING_H
#define VMM_RING_H

#include <linux/types.h>

struct vcpu;
struct vm;
struct vm_area_struct;

/**
 * dirty_ring_create - a ring for a vCPU, for as long as it lives
 * @vcpu: its mutex is held
 * @size: entries
 *
 * Return: 0, EINVAL (size), EEXIST, ENOMEM.
 */
int dirty_ring_create(struct vcpu *vcpu, u32 size);
void dirty_ring_destroy(struct vcpu *vcpu);

/**
 * dirty_ring_mmap - map a ring from VMM_RING_OFFSET on
 * @vcpu: whose
 * @vma: where to
 *
 * Return: 0, ENXIO (there is none), EINVAL (it is shorter).
 */
int dirty_ring_mmap(struct vcpu *vcpu, struct vm_area_struct *vma);

/**
 * dirty_ring_push - note a page that the vCPU has written to
 * @vcpu: the vCPU, by its own thread, any context
 * @gfn: the page
 *
 * Return: false: there is no ring, or no room: the slot's bit must be set.
 */
bool dirty_ring_push(struct vcpu *vcpu, u64 gfn);

/* Must the VMM reset entries before the guest goes on? On the vCPU's thread */
bool dirty_ring_is_full(const struct vcpu *vcpu);

/**
 * dirty_rings_reset - free what the VMM has collected, and note writes to these pages anew
 * @vm: its lock is held; may sleep
 *
 * Return: how many entries, or EINVAL: more were collected than there are.
 */
int dirty_rings_reset(struct vm *vm);

#endif
