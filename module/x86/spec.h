/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Speculation measures that belong into a backend's entry path. The others are
 * spec_enter_vm() and spec_leave_vm() of x86.h.
 */
#ifndef VMM_X86_SPEC_H
#define VMM_X86_SPEC_H

#define SPEC_EXIT_RSB		0x01	/* fill the return stack buffer before the first RET */
#define SPEC_EXIT_UNTRAIN	0x02	/* forget return predictions (Retbleed, SRSO) */
#define SPEC_EXIT_IBPB		0x04	/* the same by an IBPB */
#define SPEC_ENTRY_VERW		0x08	/* clear CPU buffers of the host's data */

#ifndef __ASSEMBLER__

#include <linux/types.h>

/* SPEC_EXIT_* and SPEC_ENTRY_* to be taken; set by spec_init(), then immutable */
extern u32 spec_entry_measures;

#endif /* __ASSEMBLER__ */
#endif
