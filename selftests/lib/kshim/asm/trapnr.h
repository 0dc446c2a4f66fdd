/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KSHIM_ASM_TRAPNR_H
#define KSHIM_ASM_TRAPNR_H

#define X86_TRAP_BP	3
#define X86_TRAP_OF	4
#define X86_TRAP_GP	13
#define X86_TRAP_PF	14

#endif
