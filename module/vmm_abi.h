/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The numbers of the ABI that the core speaks as well (VMM_VM_*, VMM_EXITS_*,
 * VMM_PENDING_*, VMM_ROUTE_*). Its structures are for abi.c alone.
 */
#ifndef VMM_ABI_H
#define VMM_ABI_H

#include "../uapi/vmm.h"

#endif
