/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The differences between kernel releases: the only file that asks for
 * LINUX_VERSION_CODE.
 */
#ifndef VMM_COMPAT_H
#define VMM_COMPAT_H

#include <linux/version.h>

#endif
