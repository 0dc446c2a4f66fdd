/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KSHIM_ASM_SEGMENT_H
#define KSHIM_ASM_SEGMENT_H

#define SEGMENT_TI_MASK	4

#endif
