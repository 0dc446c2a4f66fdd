/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How often the costly instructions run, counted with -DVMM_COUNT alone: an emulator charges
 * one instruction for what silicon charges hundreds of cycles for.
 */
#ifndef VMM_VMX_COUNT_H
#define VMM_VMX_COUNT_H

#define vmx_count(instruction)	do { } while (0)

#endif
