/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KSHIM_LINUX_RCUWAIT_H
#define KSHIM_LINUX_RCUWAIT_H

struct rcuwait {
	int unused;
};

#endif
