/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KSHIM_LINUX_SCHED_H
#define KSHIM_LINUX_SCHED_H

struct task_struct;

#endif
