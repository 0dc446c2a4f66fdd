// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctl front end's calls about guest memory.
 */
#include <linux/mutex.h>
#include <linux/uaccess.h>

#include "../uapi/vmm.h"

#include "abi.h"
#include "memory.h"
#include "ring.h"
#include "vm.h"

static long set_memory(struct vm *vm, void __user *arg)
{
	struct vmm_memory memory;
	long ret;

	static_assert(VMM_MEM_READONLY == MEMORY_READONLY);
	static_assert(VMM_MEM_LOG_DIRTY == MEMORY_LOG_DIRTY);
	ret = copy_in(&memory, sizeof(memory), arg, VMM_MEM_READONLY | VMM_MEM_LOG_DIRTY);
	if (ret)
		return ret;
	if (memory.reserved)
		return -EINVAL;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	ret = memory_set_slot(vm, memory.slot, memory.gpa, memory.bytes, memory.hva, memory.flags);
	mutex_unlock(&vm->lock);
	return ret;
}

static int take_dirty(struct vmm_dirty *dirty, void __user *arg, u32 flags)
{
	int ret = copy_in(dirty, sizeof(*dirty), arg, flags);

	if (ret)
		return ret;
	return dirty->reserved ? -EINVAL : 0;
}

static long get_dirty(struct vm *vm, void __user *arg)
{
	struct vmm_dirty dirty;
	long ret;

	ret = take_dirty(&dirty, arg, VMM_DIRTY_CLEAR);
	if (ret)
		return ret;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	ret = dirty_get(vm, dirty.slot, dirty.first, dirty.pages, u64_to_user_ptr(dirty.bitmap),
			dirty.flags & VMM_DIRTY_CLEAR);
	mutex_unlock(&vm->lock);
	return ret;
}

static long clear_dirty(struct vm *vm, void __user *arg)
{
	struct vmm_dirty dirty;
	long ret;

	ret = take_dirty(&dirty, arg, 0);
	if (ret)
		return ret;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	ret = dirty_clear(vm, dirty.slot, dirty.first, dirty.pages, u64_to_user_ptr(dirty.bitmap));
	mutex_unlock(&vm->lock);
	return ret;
}

static long mark_dirty(struct vm *vm, void __user *arg)
{
	struct vmm_range range;
	long ret;

	ret = copy_in(&range, sizeof(range), arg, 0);
	if (ret)
		return ret;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	ret = dirty_mark(vm, range.gpa, range.bytes);
	mutex_unlock(&vm->lock);
	return ret;
}

static long prefault(struct vm *vm, void __user *arg)
{
	struct vmm_prefault prefault;
	long ret;

	ret = copy_in(&prefault, sizeof(prefault), arg, VMM_PREFAULT_WRITE);
	if (ret)
		return ret;
	ret = memory_prefault(vm, prefault.gpa, prefault.bytes, prefault.flags & VMM_PREFAULT_WRITE,
			      &prefault.done);
	return copy_out(arg, &prefault, sizeof(prefault)) ?: ret;
}

static long get_touched(struct vm *vm, void __user *arg)
{
	struct vmm_touched touched;
	long ret;

	ret = copy_in(&touched, sizeof(touched), arg, VMM_TOUCHED_CLEAR);
	if (ret)
		return ret;
	return memory_touched(vm, touched.gpa, touched.bytes, u64_to_user_ptr(touched.bitmap),
			      touched.flags & VMM_TOUCHED_CLEAR);
}

static long reset_rings(struct vm *vm, unsigned long arg)
{
	long ret;

	if (arg)
		return -EINVAL;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	ret = dirty_rings_reset(vm);
	mutex_unlock(&vm->lock);
	return ret;
}

static int take_view(struct vmm_view *view, void __user *arg)
{
	int ret = copy_in(view, sizeof(*view), arg, 0);

	if (ret)
		return ret;
	return view->reserved ? -EINVAL : 0;
}

static long create_view(struct vm *vm, void __user *arg)
{
	struct vmm_view view;
	long ret;

	static_assert(VMM_MAX_VIEWS == MEMORY_MAX_VIEWS);
	ret = take_view(&view, arg);
	if (ret)
		return ret;
	if (view.view)
		return -EINVAL;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	ret = memory_create_view(vm, &view.view);
	if (!ret) {
		ret = copy_out(arg, &view, sizeof(view));
		if (ret)
			memory_destroy_view(vm, view.view);
	}
	mutex_unlock(&vm->lock);
	return ret;
}

static long destroy_view(struct vm *vm, void __user *arg)
{
	struct vmm_view view;
	long ret;

	ret = take_view(&view, arg);
	if (ret)
		return ret;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	ret = memory_destroy_view(vm, view.view);
	mutex_unlock(&vm->lock);
	return ret;
}

static long set_page_access(struct vm *vm, void __user *arg)
{
	struct vmm_page_access access;
	long ret;

	ret = copy_in(&access, sizeof(access), arg, 0);
	if (ret)
		return ret;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	ret = memory_set_access(vm, access.view, access.gpa, access.bytes, access.access);
	mutex_unlock(&vm->lock);
	return ret;
}

long abi_set_view(struct vcpu *vcpu, void __user *arg)
{
	struct vmm_view view;
	long ret;

	ret = take_view(&view, arg);
	return ret ?: memory_set_view(vcpu, view.view);
}

long abi_memory_ioctl(struct vm *vm, unsigned int cmd, void __user *arg)
{
	switch (cmd) {
	case VMM_SET_MEMORY:
		return set_memory(vm, arg);
	case VMM_GET_DIRTY:
		return get_dirty(vm, arg);
	case VMM_CLEAR_DIRTY:
		return clear_dirty(vm, arg);
	case VMM_MARK_DIRTY:
		return mark_dirty(vm, arg);
	case VMM_PREFAULT:
		return prefault(vm, arg);
	case VMM_GET_TOUCHED:
		return get_touched(vm, arg);
	case VMM_RESET_RINGS:
		return reset_rings(vm, (unsigned long)arg);
	case VMM_CREATE_VIEW:
		return create_view(vm, arg);
	case VMM_DESTROY_VIEW:
		return destroy_view(vm, arg);
	case VMM_SET_PAGE_ACCESS:
		return set_page_access(vm, arg);
	default:
		return -ENOTTY;
	}
}
