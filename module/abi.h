/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VMM_FRONT_END_H
#define VMM_FRONT_END_H

#include <linux/fs.h>

/* What /dev/vmm answers to */
extern const struct file_operations abi_system_fops;

#endif
