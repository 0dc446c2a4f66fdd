// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views: second-level tables over the same slots, of which each vCPU uses one.
 *
 * View 0 is the whole map, always there. What happens to memory happens in all of them: slots,
 * invalidations, ageing and logs go through memory.views. A view is filled by its own faults.
 *
 * The others may grant less than the slots do. What they grant is looked up by faults, with
 * memory.lock held when they install a mapping; who changes it removes with the lock held for
 * writing, and flushes, what was mapped by the old rule.
 */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>

#include "hw.h"
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

int memory_create_view(struct vm *vm, u32 *number)
{
	struct memory *memory = &vm->memory;
	struct tdp *tdp;
	u32 free = 1;

	while (find_view(memory, free))
		free++;
	if (free >= MEMORY_MAX_VIEWS)
		return -ENOSPC;
	tdp = tdp_create(&memory->count);
	if (!tdp)
		return -ENOMEM;
	tdp->number = free;
	access_map_init(&tdp->access, ACCESS_ALL);
	*number = free;

	spin_lock(&memory->flush_lock);
	write_lock(&memory->lock);
	list_add_tail(&tdp->link, &memory->views);
	write_unlock(&memory->lock);
	spin_unlock(&memory->flush_lock);
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

	spin_lock(&memory->flush_lock);
	write_lock(&memory->lock);
	list_del(&tdp->link);
	write_unlock(&memory->lock);
	spin_unlock(&memory->flush_lock);
	/* No vCPU is in it, and who enters another with this root or number flushes first. */
	tdp_destroy(tdp);
	return 0;
}

static int check_access(u64 gpa, u64 bytes, u32 access)
{
	if (!bytes || !PAGE_ALIGNED(gpa | bytes) || (access & ~ACCESS_ALL))
		return -EINVAL;
	if ((access & ACCESS_WRITE) && !(access & ACCESS_READ))
		return -EINVAL;
	if (access == ACCESS_EXEC && !hw_caps.tdp->exec_only)
		return -EOPNOTSUPP;
	if (gpa + bytes < gpa || (gpa + bytes - 1) >> hw_caps.gpa_bits)
		return -ERANGE;
	return 0;
}

int memory_set_access(struct vm *vm, u32 number, u64 gpa, u64 bytes, u32 access)
{
	u64 start = gpa >> PAGE_SHIFT, end = start + (bytes >> PAGE_SHIFT);
	struct memory *memory = &vm->memory;
	LIST_HEAD(garbage);
	LIST_HEAD(zapped);
	struct tdp *tdp;
	int ret;

	ret = check_access(gpa, bytes, access);
	if (ret)
		return ret;
	if (!number)
		return -EPERM;
	tdp = find_view(memory, number);
	if (!tdp)
		return -ENOENT;
	ret = access_map_split(&tdp->access, start) ?: access_map_split(&tdp->access, end);
	if (ret)
		return ret;

	write_lock(&memory->lock);
	access_map_set(&tdp->access, start, end, access, &garbage);
	WRITE_ONCE(tdp->restricted, !access_map_is(&tdp->access, ACCESS_ALL));
	tdp_zap(tdp, start, end, &zapped);
	write_unlock(&memory->lock);

	access_map_free(&garbage);
	memory_flush(vm);
	tdp_free_zapped(&memory->count, &zapped, true);
	return 0;
}

u32 memory_granted(struct vcpu *vcpu, u64 gpa)
{
	struct memory *memory = &vcpu->vm->memory;
	u32 access = ACCESS_ALL;

	read_lock(&memory->lock);
	if (vcpu->tdp->restricted)
		access = access_map_get(&vcpu->tdp->access, gpa >> PAGE_SHIFT, 1);
	read_unlock(&memory->lock);
	return access;
}

int memory_set_view(struct vcpu *vcpu, u32 number)
{
	struct vm *vm = vcpu->vm;
	struct tdp *tdp;

	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	tdp = find_view(&vm->memory, number);
	if (tdp) {
		vcpu->view->users--;
		tdp->users++;
		vcpu->view = tdp;
		if (!vcpu->once)
			WRITE_ONCE(vcpu->tdp, tdp);
	}
	mutex_unlock(&vm->lock);
	return tdp ? 0 : -ENOENT;
}
