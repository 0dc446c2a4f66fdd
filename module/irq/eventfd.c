// SPDX-License-Identifier: GPL-2.0-only
/*
 * Eventfds on both ends: irqfds, whose signal raises a GSI, and ioeventfds, which a guest's
 * write signals.
 *
 * An irqfd is woken under its eventfd's wait queue lock, with interrupts off, by anyone anywhere;
 * it is freed only after it has been taken off that queue. It dies by irqfd_deassign(), with its
 * VM, or when its eventfd is closed, which is noticed under the same lock and so left to a work
 * item.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "../compat.h"
#include "internal.h"

/* Those who want to know when a level-triggered GSI was ended */
struct resampler {
	struct list_head node;			/* [R] irq->resamplers */
	struct list_head fds;			/* [R] of the irqfds that share the GSI */
	u32 gsi;				/* [I] */
	unsigned int count;			/* [m] of fds; read as a hint */
	bool ended;				/* [a] they have yet to be told */
	struct rcu_head rcu;
};

/* One of them */
struct resample_fd {
	struct list_head node;			/* [R] resampler->fds */
	struct resampler *resampler;		/* [I] */
	struct eventfd_ctx *eventfd;		/* [I] */
};

/* An eventfd that raises a GSI */
struct irqfd {
	struct list_head node;			/* irqfds or dead_irqfds; [irqfd_lock] */
	struct hlist_node by_eventfd;		/* [by_eventfd_mutex] */
	struct irq_controllers *irq;		/* [I] */
	struct eventfd_ctx *eventfd;		/* [I] */
	u32 gsi;				/* [I] */
	struct resample_fd *resample;		/* [I] NULL for an edge */
	bool dead;				/* [irqfd_lock] on its way out */
	wait_queue_head_t *wqh;			/* [I] the eventfd's */
	wait_queue_entry_t wait;
	poll_table poll;
};

/* A write that signals an eventfd */
struct ioeventfd {
	struct hlist_node node;			/* [R] irq->ioeventfds */
	struct eventfd_ctx *eventfd;		/* all the rest: [I] */
	u64 address;
	u64 value;
	u32 length;
	bool port;
	bool match;
};

/* Of all VMs: what they leave to it may be much, and wait for a grace period. */
static struct workqueue_struct *eventfd_wq;

/* ---- level-triggered irqfds ---- */

/* RCU keeps the list, or the mutex. */
static void signal_ended(struct resampler *resampler, bool may_sleep)
{
	struct resample_fd *fd;

	if (!xchg(&resampler->ended, false))
		return;
	list_for_each_entry_rcu(fd, &resampler->fds, node, may_sleep) {
		compat_eventfd_signal(fd->eventfd);
		if (may_sleep)
			cond_resched();
	}
}

static void resample_later(struct work_struct *work)
{
	struct irq_controllers *irq = container_of(work, struct irq_controllers, resample_work);
	struct resampler *resampler;

	mutex_lock(&irq->mutex);
	list_for_each_entry(resampler, &irq->resamplers, node)
		signal_ended(resampler, true);
	mutex_unlock(&irq->mutex);
}

/*
 * One signal may set off much, as any write to that eventfd does; with interrupts off there is one
 * at a time.
 */
void irqfd_resample(struct irq_controllers *irq, u32 type, u32 pins)
{
	struct resampler *resampler, *last = NULL;
	unsigned int fds = 0, count;

	rcu_read_lock();
	list_for_each_entry_rcu(resampler, &irq->resamplers, node) {
		if (!irq_gsi_has_pin(irq, resampler->gsi, type, pins))
			continue;
		irq_set_source(irq->vm, resampler->gsi, IRQ_SOURCE_IRQFD, false);
		WRITE_ONCE(resampler->ended, true);
		/* One that comes or goes may be on the list with nobody to be told. */
		count = READ_ONCE(resampler->count);
		if (!count)
			continue;
		fds += count;
		last = resampler;
	}
	if (fds == 1)
		signal_ended(last, false);
	else if (fds)
		queue_work(eventfd_wq, &irq->resample_work);
	rcu_read_unlock();
}

void irqfd_flush_resampled(struct vm *vm)
{
	flush_work(&vm->irq->resample_work);
}

static struct resampler *find_resampler(struct irq_controllers *irq, u32 gsi)
{
	struct resampler *resampler;

	list_for_each_entry(resampler, &irq->resamplers, node)
		if (resampler->gsi == gsi)
			return resampler;
	return NULL;
}

static struct resample_fd *add_resample_fd(struct irq_controllers *irq, u32 gsi, int fd)
{
	struct resampler *resampler;
	struct resample_fd *rfd;
	int ret;

	rfd = kzalloc(sizeof(*rfd), GFP_KERNEL_ACCOUNT);
	if (!rfd)
		return ERR_PTR(-ENOMEM);
	rfd->eventfd = eventfd_ctx_fdget(fd);
	if (IS_ERR(rfd->eventfd)) {
		ret = PTR_ERR(rfd->eventfd);
		goto free;
	}

	mutex_lock(&irq->mutex);
	resampler = find_resampler(irq, gsi);
	if (!resampler) {
		resampler = kzalloc(sizeof(*resampler), GFP_KERNEL_ACCOUNT);
		if (!resampler) {
			ret = -ENOMEM;
			goto unlock;
		}
		INIT_LIST_HEAD(&resampler->fds);
		resampler->gsi = gsi;
		list_add_tail_rcu(&resampler->node, &irq->resamplers);
	}
	if (resampler->count == IRQ_MAX_GSI_RESAMPLERS) {
		ret = -ENOSPC;
		goto unlock;
	}
	WRITE_ONCE(resampler->count, resampler->count + 1);
	rfd->resampler = resampler;
	list_add_tail_rcu(&rfd->node, &resampler->fds);
	mutex_unlock(&irq->mutex);
	return rfd;

unlock:
	mutex_unlock(&irq->mutex);
	eventfd_ctx_put(rfd->eventfd);
free:
	kfree(rfd);
	return ERR_PTR(ret);
}

/* It is told of no end that comes later; readers of the list may still be at it. */
static void unlink_resample_fd(struct irq_controllers *irq, struct resample_fd *rfd)
{
	struct resampler *resampler = rfd->resampler;

	mutex_lock(&irq->mutex);
	list_del_rcu(&rfd->node);
	WRITE_ONCE(resampler->count, resampler->count - 1);
	if (!resampler->count) {
		list_del_rcu(&resampler->node);
		/* Nobody is left who would lower the line. */
		irq_set_source(irq->vm, resampler->gsi, IRQ_SOURCE_IRQFD, false);
		irq_resume_pit(irq->vm);
		kfree_rcu(resampler, rcu);
	}
	mutex_unlock(&irq->mutex);
}

/* A grace period after unlink_resample_fd() */
static void free_resample_fd(struct resample_fd *rfd)
{
	eventfd_ctx_put(rfd->eventfd);
	kfree(rfd);
}

/* ---- irqfds ---- */

/*
 * Those of all VMs that are on the queue of their eventfd, or may come to be: one signal raises
 * all that an eventfd has, with interrupts off.
 */
static DEFINE_HASHTABLE(irqfds_by_eventfd, 10);
static DEFINE_MUTEX(by_eventfd_mutex);

/* Note that its eventfd has one more, if it may. */
static bool irqfd_enter(struct irqfd *irqfd)
{
	unsigned long key = (unsigned long)irqfd->eventfd;
	unsigned int count = 0;
	struct irqfd *other;

	mutex_lock(&by_eventfd_mutex);
	hash_for_each_possible(irqfds_by_eventfd, other, by_eventfd, key)
		count += other->eventfd == irqfd->eventfd;
	if (count < IRQ_MAX_EVENTFD_GSIS)
		hash_add(irqfds_by_eventfd, &irqfd->by_eventfd, key);
	mutex_unlock(&by_eventfd_mutex);
	return count < IRQ_MAX_EVENTFD_GSIS;
}

static void irqfd_leave(struct irqfd *irqfd)
{
	mutex_lock(&by_eventfd_mutex);
	hash_del(&irqfd->by_eventfd);
	mutex_unlock(&by_eventfd_mutex);
}

static void irqfd_raise(struct irqfd *irqfd)
{
	struct vm *vm = irqfd->irq->vm;

	irq_set_source(vm, irqfd->gsi, IRQ_SOURCE_IRQFD, true);
	if (!irqfd->resample)
		irq_set_source(vm, irqfd->gsi, IRQ_SOURCE_IRQFD, false);
}

/* Of its eventfd, whose wait queue lock is held with interrupts off */
static int irqfd_wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct irqfd *irqfd = container_of(wait, struct irqfd, wait);
	struct irq_controllers *irq = irqfd->irq;
	__poll_t events = key_to_poll(key);
	unsigned long flags;
	u64 count;

	if (events & EPOLLIN) {
		eventfd_ctx_do_read(irqfd->eventfd, &count);
		irqfd_raise(irqfd);
	}
	if (events & EPOLLHUP) {
		spin_lock_irqsave(&irq->irqfd_lock, flags);
		if (!irqfd->dead) {
			irqfd->dead = true;
			list_move_tail(&irqfd->node, &irq->dead_irqfds);
			queue_work(eventfd_wq, &irq->irqfd_reaper);
		}
		spin_unlock_irqrestore(&irq->irqfd_lock, flags);
	}
	return 0;
}

static void irqfd_queue(struct file *file, wait_queue_head_t *wqh, poll_table *poll)
{
	struct irqfd *irqfd = container_of(poll, struct irqfd, poll);

	irqfd->wqh = wqh;
	add_wait_queue(wqh, &irqfd->wait);
}

/* Nobody but the caller has these. One grace period, which interrupts CPUs, is enough for all. */
static void irqfd_free_list(struct irq_controllers *irq, struct list_head *irqfds)
{
	struct irqfd *irqfd, *next;
	unsigned int nr = 0;
	bool wait = false;
	u64 count;

	list_for_each_entry(irqfd, irqfds, node) {
		eventfd_ctx_remove_wait_queue(irqfd->eventfd, &irqfd->wait, &count);
		irqfd_leave(irqfd);
		if (irqfd->resample) {
			unlink_resample_fd(irq, irqfd->resample);
			wait = true;
		}
		cond_resched();
	}
	if (wait)
		synchronize_rcu_expedited();
	list_for_each_entry_safe(irqfd, next, irqfds, node) {
		if (irqfd->resample)
			free_resample_fd(irqfd->resample);
		eventfd_ctx_put(irqfd->eventfd);
		kfree(irqfd);
		nr++;
		cond_resched();
	}
	spin_lock_irq(&irq->irqfd_lock);
	irq->nr_irqfds -= nr;
	spin_unlock_irq(&irq->irqfd_lock);
}

/* Those whose eventfd was closed */
static void irqfd_reap(struct work_struct *work)
{
	struct irq_controllers *irq = container_of(work, struct irq_controllers, irqfd_reaper);
	LIST_HEAD(dead);

	spin_lock_irq(&irq->irqfd_lock);
	list_splice_init(&irq->dead_irqfds, &dead);
	spin_unlock_irq(&irq->irqfd_lock);
	irqfd_free_list(irq, &dead);
}

/* The one of @eventfd and @gsi; irqfd_lock is held */
static struct irqfd *irqfd_find(struct irq_controllers *irq, const struct eventfd_ctx *eventfd,
				u32 gsi)
{
	struct irqfd *irqfd;

	list_for_each_entry(irqfd, &irq->irqfds, node)
		if (irqfd->eventfd == eventfd && irqfd->gsi == gsi)
			return irqfd;
	return NULL;
}

/* Put it on its eventfd's queue, and take what was signalled before. */
static void irqfd_start(struct irqfd *irqfd, struct file *file)
{
	u64 count;

	init_waitqueue_func_entry(&irqfd->wait, irqfd_wakeup);
	init_poll_funcptr(&irqfd->poll, irqfd_queue);
	if (!(vfs_poll(file, &irqfd->poll) & EPOLLIN))
		return;
	spin_lock_irq(&irqfd->wqh->lock);
	eventfd_ctx_do_read(irqfd->eventfd, &count);
	spin_unlock_irq(&irqfd->wqh->lock);
	if (count)
		irqfd_raise(irqfd);
}

/* May the VM have this one, too? It stays so as long as the mutex is held. */
static int irqfd_check(const struct irqfd *irqfd)
{
	struct irq_controllers *irq = irqfd->irq;
	int ret = 0;

	spin_lock_irq(&irq->irqfd_lock);
	if (irqfd_find(irq, irqfd->eventfd, irqfd->gsi))
		ret = -EEXIST;
	else if (irq->nr_irqfds == IRQ_MAX_IRQFDS)
		ret = -ENOSPC;
	spin_unlock_irq(&irq->irqfd_lock);
	return ret;
}

/*
 * The mutex keeps deassign, and the same one from elsewhere, away until it is on both queues; the
 * file, that it is closed.
 */
static int irqfd_add(struct irqfd *irqfd, struct file *file)
{
	struct irq_controllers *irq = irqfd->irq;
	int ret;

	mutex_lock(&irq->mutex);
	ret = irqfd_check(irqfd);
	if (!ret && !irqfd_enter(irqfd))
		ret = -ENOSPC;
	if (!ret) {
		spin_lock_irq(&irq->irqfd_lock);
		irq->nr_irqfds++;
		list_add_tail(&irqfd->node, &irq->irqfds);
		spin_unlock_irq(&irq->irqfd_lock);
		irqfd_start(irqfd, file);
	}
	mutex_unlock(&irq->mutex);
	return ret;
}

/**
 * irqfd_assign - have an eventfd raise a GSI
 * @vm: the VM
 * @fd: the eventfd
 * @gsi: the GSI; it may get its routes later
 * @resample_fd: with @resample: eventfd that is signalled when the guest has ended the interrupt
 * @resample: level-triggered: asserted by @fd, lowered at the guest's EOI
 *
 * Context: process; current->files has the fds.
 * Return: 0; EINVAL (GSI out of range, no eventfd), EBADF, EEXIST (it does so already), ENOSPC (too
 * many in the VM, of the eventfd in all VMs, or resampled of one GSI), ENOMEM.
 */
int irqfd_assign(struct vm *vm, int fd, u32 gsi, int resample_fd, bool resample)
{
	struct irq_controllers *irq = vm->irq;
	struct irqfd *irqfd;
	struct file *file;
	int ret;

	if (gsi >= VM_NR_GSIS)
		return -EINVAL;
	file = eventfd_fget(fd);
	if (IS_ERR(file))
		return PTR_ERR(file);
	irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
	if (!irqfd) {
		ret = -ENOMEM;
		goto put_file;
	}
	irqfd->irq = irq;
	irqfd->gsi = gsi;
	irqfd->eventfd = eventfd_ctx_fileget(file);
	if (IS_ERR(irqfd->eventfd)) {
		ret = PTR_ERR(irqfd->eventfd);
		goto free;
	}
	if (resample) {
		irqfd->resample = add_resample_fd(irq, gsi, resample_fd);
		if (IS_ERR(irqfd->resample)) {
			ret = PTR_ERR(irqfd->resample);
			goto put_eventfd;
		}
	}

	ret = irqfd_add(irqfd, file);
	if (!ret) {
		fput(file);
		return 0;
	}
	if (irqfd->resample) {
		unlink_resample_fd(irq, irqfd->resample);
		synchronize_rcu_expedited();
		free_resample_fd(irqfd->resample);
	}
put_eventfd:
	eventfd_ctx_put(irqfd->eventfd);
free:
	kfree(irqfd);
put_file:
	fput(file);
	return ret;
}

/**
 * irqfd_deassign - undo irqfd_assign()
 * @vm: the VM
 * @fd: the eventfd
 * @gsi: the GSI
 *
 * When it returns, the eventfd raises the GSI no more.
 * Return: 0; EINVAL, EBADF as above; ENOENT.
 */
int irqfd_deassign(struct vm *vm, int fd, u32 gsi)
{
	struct irq_controllers *irq = vm->irq;
	struct eventfd_ctx *eventfd;
	struct irqfd *irqfd;
	LIST_HEAD(dead);

	if (gsi >= VM_NR_GSIS)
		return -EINVAL;
	eventfd = eventfd_ctx_fdget(fd);
	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	mutex_lock(&irq->mutex);
	spin_lock_irq(&irq->irqfd_lock);
	irqfd = irqfd_find(irq, eventfd, gsi);
	if (irqfd) {
		irqfd->dead = true;
		list_move(&irqfd->node, &dead);
	}
	spin_unlock_irq(&irq->irqfd_lock);
	mutex_unlock(&irq->mutex);
	eventfd_ctx_put(eventfd);
	if (!irqfd)
		return -ENOENT;
	irqfd_free_list(irq, &dead);
	return 0;
}

/* ---- ioeventfds ---- */

static u64 hash_key(bool port, u64 address)
{
	return address << 1 | port;
}

bool ioeventfd_write(struct irq_controllers *irq, bool port, u64 address, u32 size, u64 data)
{
	struct ioeventfd *e;
	bool found = false;

	rcu_read_lock();
	hash_for_each_possible_rcu(irq->ioeventfds, e, node, hash_key(port, address)) {
		if (e->address != address || e->port != port || (e->length && e->length != size) ||
		    (e->match && e->value != data))
			continue;
		compat_eventfd_signal(e->eventfd);
		found = true;
		break;
	}
	rcu_read_unlock();
	return found;
}

/* Is there a write that both would take? */
static bool ioeventfd_overlaps(const struct ioeventfd *a, const struct ioeventfd *b)
{
	return a->address == b->address && a->port == b->port &&
	       (!a->length || !b->length ||
		(a->length == b->length && (!a->match || !b->match || a->value == b->value)));
}

static bool ioeventfd_equal(const struct ioeventfd *a, const struct ioeventfd *b)
{
	return a->address == b->address && a->port == b->port && a->length == b->length &&
	       a->match == b->match && a->value == b->value && a->eventfd == b->eventfd;
}

/* Check the description of an ioeventfd, and bring it to one form */
static int ioeventfd_parse(struct ioeventfd *e, u64 address, u32 length, bool port, bool match,
			   u64 value)
{
	if (length > 8 || (length && !is_power_of_2(length)) || (port && length == 8))
		return -EINVAL;
	if (match && !length)
		return -EINVAL;
	if (port && (address > 0xffff || address + length > 0x10000))
		return -EINVAL;
	if (length && address + length - 1 < address)
		return -EINVAL;
	if (match && length < 8 && value >> (8 * length))
		return -EINVAL;
	e->address = address;
	e->length = length;
	e->port = port;
	e->match = match;
	e->value = match ? value : 0;
	return 0;
}

static struct ioeventfd *ioeventfd_find(struct irq_controllers *irq, const struct ioeventfd *like,
					bool (*same)(const struct ioeventfd *,
						     const struct ioeventfd *))
{
	struct ioeventfd *e;

	hash_for_each_possible(irq->ioeventfds, e, node, hash_key(like->port, like->address))
		if (same(e, like))
			return e;
	return NULL;
}

static int ioeventfd_add(struct irq_controllers *irq, struct ioeventfd *e)
{
	int ret = 0;

	mutex_lock(&irq->mutex);
	if (ioeventfd_find(irq, e, ioeventfd_overlaps)) {
		ret = -EEXIST;
	} else if (irq->nr_ioeventfds[0] + irq->nr_ioeventfds[1] >= IRQ_MAX_IOEVENTFDS) {
		ret = -ENOSPC;
	} else {
		hash_add_rcu(irq->ioeventfds, &e->node, hash_key(e->port, e->address));
		WRITE_ONCE(irq->nr_ioeventfds[e->port], irq->nr_ioeventfds[e->port] + 1);
		/* It stays when the ioeventfd goes: others may share it. */
		if (e->port)
			WRITE_ONCE(irq->vm->irq_ports,
				   irq->vm->irq_ports | irq_port_bit(e->address));
	}
	mutex_unlock(&irq->mutex);
	return ret;
}

/**
 * ioeventfd_assign - signal an eventfd instead of leaving for a guest's write
 * @vm: the VM
 * @address: guest-physical address or port
 * @length: width of the write, or 0 for any
 * @fd: the eventfd
 * @port: is @address a port?
 * @match: only when @value is written
 * @value: which must fit @length
 *
 * Return: 0; EINVAL (length, range, value, no eventfd), EBADF, EEXIST (some write would be taken by
 * another one as well), ENOSPC (too many), ENOMEM.
 */
int ioeventfd_assign(struct vm *vm, u64 address, u32 length, int fd, bool port, bool match,
		     u64 value)
{
	struct ioeventfd *e;
	int ret;

	e = kzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);
	if (!e)
		return -ENOMEM;
	ret = ioeventfd_parse(e, address, length, port, match, value);
	if (ret)
		goto free;
	e->eventfd = eventfd_ctx_fdget(fd);
	if (IS_ERR(e->eventfd)) {
		ret = PTR_ERR(e->eventfd);
		goto free;
	}
	ret = ioeventfd_add(vm->irq, e);
	if (!ret)
		return 0;
	eventfd_ctx_put(e->eventfd);
free:
	kfree(e);
	return ret;
}

/**
 * ioeventfd_deassign - undo ioeventfd_assign(), with the same arguments
 * @vm: the VM
 * @address: guest-physical address or port
 * @length: width of the write, or 0 for any
 * @fd: the eventfd
 * @port: is @address a port?
 * @match: only when @value is written
 * @value: which must fit @length
 *
 * When it returns, writes leave again.
 * Return: 0; EINVAL, EBADF as above; ENOENT.
 */
int ioeventfd_deassign(struct vm *vm, u64 address, u32 length, int fd, bool port, bool match,
		       u64 value)
{
	struct irq_controllers *irq = vm->irq;
	struct ioeventfd like = {};
	struct ioeventfd *e;
	int ret;

	ret = ioeventfd_parse(&like, address, length, port, match, value);
	if (ret)
		return ret;
	like.eventfd = eventfd_ctx_fdget(fd);
	if (IS_ERR(like.eventfd))
		return PTR_ERR(like.eventfd);

	mutex_lock(&irq->mutex);
	e = ioeventfd_find(irq, &like, ioeventfd_equal);
	if (e) {
		hash_del_rcu(&e->node);
		WRITE_ONCE(irq->nr_ioeventfds[e->port], irq->nr_ioeventfds[e->port] - 1);
	}
	mutex_unlock(&irq->mutex);
	eventfd_ctx_put(like.eventfd);
	if (!e)
		return -ENOENT;
	synchronize_rcu_expedited();
	eventfd_ctx_put(e->eventfd);
	kfree(e);
	return 0;
}

/* ---- life ---- */

int __init eventfd_wq_init(void)
{
	eventfd_wq = alloc_workqueue("vmm", WQ_UNBOUND, 0);
	return eventfd_wq ? 0 : -ENOMEM;
}

void eventfd_wq_exit(void)
{
	destroy_workqueue(eventfd_wq);
}

void eventfd_init(struct irq_controllers *irq)
{
	spin_lock_init(&irq->irqfd_lock);
	INIT_LIST_HEAD(&irq->irqfds);
	INIT_LIST_HEAD(&irq->dead_irqfds);
	INIT_LIST_HEAD(&irq->resamplers);
	INIT_WORK(&irq->irqfd_reaper, irqfd_reap);
	INIT_WORK(&irq->resample_work, resample_later);
	hash_init(irq->ioeventfds);
}

/* No call on the VM is under way; eventfds may still be signalled and closed. */
void eventfd_destroy(struct irq_controllers *irq)
{
	struct hlist_node *next;
	struct ioeventfd *e;
	struct irqfd *irqfd;
	int bucket;

	spin_lock_irq(&irq->irqfd_lock);
	list_for_each_entry(irqfd, &irq->irqfds, node)
		irqfd->dead = true;
	list_splice_tail_init(&irq->irqfds, &irq->dead_irqfds);
	spin_unlock_irq(&irq->irqfd_lock);
	/* All are dead, so that the work is queued no more. */
	cancel_work_sync(&irq->irqfd_reaper);
	irqfd_reap(&irq->irqfd_reaper);
	cancel_work_sync(&irq->resample_work);

	hash_for_each_safe(irq->ioeventfds, bucket, next, e, node) {
		hash_del(&e->node);
		eventfd_ctx_put(e->eventfd);
		kfree(e);
	}
}
