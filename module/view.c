// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views: second-level tables over the same slots, of which each vCPU uses one.
 *
 * View 0 is the whole map, always there. What happens to memory happens in all of them: slots,
 * invalidations, ageing and logs go through memory.views. A view is filled by its own faults.
 */
#include <linux/list.h>
#include <linux/mutex.h>

#include "memory.h"
#include "tdp.h"
#include "vcpu.h"
#include "vm.h"

/* vm->lock is held. */
static struct tdp *find_view(struct memory *memory, u32 number)
{
	struct tdp *tdp;

	memory_for_each_view(memory, tdp)
		if (tdp->number == number)
			return tdp;
	return NULL;
}

static void lock_views(struct memory *memory)
{
	write_lock(&memory->lock);
	spin_lock(&memory->flush_lock);
}

static void unlock_views(struct memory *memory)
{
	spin_unlock(&memory->flush_lock);
	write_unlock(&memory->lock);
}

int memory_create_view(struct vm *vm, u32 *number)
{
	struct memory *memory = &vm->memory;
	struct tdp *tdp;
	u32 free = 1;

	while (find_view(memory, free))
		free++;
	if (free >= MEMORY_MAX_VIEWS)
		return -ENOSPC;
	tdp = tdp_create(&memory->count, ++memory->views_made);
	if (!tdp)
		return -ENOMEM;
	tdp->number = free;
	*number = free;

	lock_views(memory);
	list_add_tail(&tdp->link, &memory->views);
	unlock_views(memory);
	return 0;
}

int memory_destroy_view(struct vm *vm, u32 number)
{
	struct memory *memory = &vm->memory;
	struct tdp *tdp = find_view(memory, number);

	if (!number)
		return -EPERM;
	if (!tdp)
		return -ENOENT;
	if (tdp->users)
		return -EBUSY;

	lock_views(memory);
	list_del(&tdp->link);
	unlock_views(memory);
	/* No vCPU is in it, and who enters another with this root or number flushes first. */
	tdp_destroy(tdp);
	return 0;
}

int memory_set_view(struct vcpu *vcpu, u32 number)
{
	struct vm *vm = vcpu->vm;
	struct tdp *tdp;

	mutex_lock(&vm->lock);
	tdp = find_view(&vm->memory, number);
	if (tdp) {
		vcpu->view->users--;
		tdp->users++;
		vcpu->view = tdp;
		WRITE_ONCE(vcpu->tdp, tdp);
	}
	mutex_unlock(&vm->lock);
	return tdp ? 0 : -ENOENT;
}
