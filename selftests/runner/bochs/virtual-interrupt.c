// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loaded with Bochs, which keeps virtual interrupts from guests that have interrupts closed then.
 *
 * BX_CPU_C::InterruptAcknowledge() is called when an interrupt can be delivered: the guest's own
 * by virtual-interrupt delivery, or one that leaves the guest. It takes the guest's wherever one is
 * pending, also where that is held back, by RFLAGS.IF, and the host's is not (SDM 30.2.2 asks for
 * RFLAGS.IF = 1): the guest finds itself in a handler while it holds a spin lock.
 */
#include <dlfcn.h>
#include <stdio.h>

#include "../patch-code.h"

#define FUNCTION		"_ZN8BX_CPU_C20InterruptAcknowledgeEv"

/* Of Bochs 2.7, as in Debian 12: in BX_CPU_C, the events that are pending, and held back. */
#define PENDING			0x93b0
#define MASKED			0x93b4
#define VIRTUAL_INTERRUPT	0x200

/* The function begins with these bytes there, up to the question that is wrong. */
static const unsigned char beginning[] = {
	/* whole instructions without addresses, as many as the jump takes */
	0x41, 0x54,					/* push %r12 */
	0x55,						/* push %rbp */
	0x53,						/* push %rbx */
	0x80, 0xbf, 0x60, 0x92, 0x00, 0x00, 0x00,	/* cmpb $0, 0x9260(%rdi) */
	0x48, 0x89, 0xfb,				/* mov %rdi, %rbx */
	/* the rest */
	0x74, 0x0d,					/* je 1f */
	0xf6, 0x87, 0x6c, 0x93, 0x00, 0x00, 0x01,	/* testb $1, 0x936c(%rdi) */
	0x0f, 0x85, 0xfb, 0x00, 0x00, 0x00,		/* jne */
	0x80, 0xbb, 0xc1, 0x8f, 0x00, 0x00, 0x00,	/* 1: cmpb $0, 0x8fc1(%rbx) */
	0x8b, 0x83, 0xb0, 0x93, 0x00, 0x00,		/* mov PENDING(%rbx), %eax */
	0x74, 0x17,					/* je */
	0x48, 0x89, 0xdf,				/* mov %rbx, %rdi */
	0xf6, 0xc4, 0x02,				/* test $VIRTUAL_INTERRUPT >> 8, %ah */
};

static void (*acknowledge)(void *cpu);

/* A VM exit does not return. It forgets what is pending; the next entry knows it again from RVI. */
static void acknowledge_unmasked(void *cpu)
{
	unsigned int *pending = (unsigned int *)((char *)cpu + PENDING);
	unsigned int *masked = (unsigned int *)((char *)cpu + MASKED);
	unsigned int waits = *pending & *masked & VIRTUAL_INTERRUPT;

	*pending &= ~waits;
	acknowledge(cpu);
	*pending |= waits;
}

__attribute__((constructor)) static void take_over(void)
{
	unsigned char *function = dlsym(RTLD_DEFAULT, FUNCTION);
	unsigned char *moved = mmap(NULL, 2 * JUMP_LENGTH, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char jump[JUMP_LENGTH];

	if (!function || memcmp(function, beginning, sizeof(beginning)) || moved == MAP_FAILED)
		goto failed;
	memcpy(moved, function, JUMP_LENGTH);
	make_jump(moved + JUMP_LENGTH, function + JUMP_LENGTH);
	if (mprotect(moved, 2 * JUMP_LENGTH, PROT_READ | PROT_EXEC))
		goto failed;
	acknowledge = (void (*)(void *))moved;
	make_jump(jump, acknowledge_unmasked);
	if (!patch_code(function, jump, JUMP_LENGTH))
		return;
failed:
	fputs("virtual-interrupt: Bochs delivers virtual interrupts with RFLAGS.IF = 0\n", stderr);
}
