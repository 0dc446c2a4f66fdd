/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KSHIM_ASM_TRAP_PF_H
#define KSHIM_ASM_TRAP_PF_H

#define X86_PF_PROT	(1U << 0)
#define X86_PF_WRITE	(1U << 1)
#define X86_PF_USER	(1U << 2)
#define X86_PF_RSVD	(1U << 3)
#define X86_PF_INSTR	(1U << 4)
#define X86_PF_PK	(1U << 5)

#endif
