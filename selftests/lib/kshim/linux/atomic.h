/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KSHIM_LINUX_ATOMIC_H
#define KSHIM_LINUX_ATOMIC_H

#include "kshim.h"

#endif
