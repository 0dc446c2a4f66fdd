/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KSHIM_LINUX_MUTEX_H
#define KSHIM_LINUX_MUTEX_H

struct mutex {
	int unused;
};

#endif
