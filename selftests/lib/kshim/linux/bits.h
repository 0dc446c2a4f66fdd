/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KSHIM_LINUX_BITS_H
#define KSHIM_LINUX_BITS_H

#include "kshim.h"

#endif
