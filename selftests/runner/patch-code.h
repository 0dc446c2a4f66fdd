/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For libraries that are loaded with an emulator to mend it.
 */
#ifndef PATCH_CODE_H
#define PATCH_CODE_H

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define JUMP_LENGTH	14

/* jmp *0(%rip), and where to */
static inline void make_jump(unsigned char *jump, const void *to)
{
	memcpy(jump, "\xff\x25\0\0\0", 6);
	memcpy(jump + 6, &to, sizeof(to));
}

/* Write over instructions of this program that no thread executes yet. Returns 0 or -1. */
static inline int patch_code(void *at, const void *code, size_t length)
{
	size_t offset = (uintptr_t)at & (sysconf(_SC_PAGESIZE) - 1);
	char *page = (char *)at - offset;

	if (mprotect(page, offset + length, PROT_READ | PROT_WRITE))
		return -1;
	memcpy(at, code, length);
	return mprotect(page, offset + length, PROT_READ | PROT_EXEC);
}

#endif
