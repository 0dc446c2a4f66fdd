/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Enough of the kernel for module/x86/{decode,walk,mmio}.c to be compiled into a test
 * program: include this first, then those files. The test supplies what they call:
 * guest memory, registers, devices. The headers beside this one stand in for the
 * kernel's of the same name.
 */
#ifndef KSHIM_H
#define KSHIM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <linux/types.h>

/* As in the kernel, where they are the same on all architectures */
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef long long s64;
typedef struct { int counter; } atomic_t;

#define __rcu
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)
#define READ_ONCE(x)	(*(const volatile typeof(x) *)&(x))

#define BIT_ULL(n)		(1ULL << (n))
#define GENMASK_ULL(h, l)	((~0ULL << (l)) & (~0ULL >> (63 - (h))))

#define min(a, b)		((a) < (b) ? (a) : (b))
#define min_t(type, a, b)	min((type)(a), (type)(b))

#define PAGE_SHIFT		12
#define PAGE_SIZE		(1UL << PAGE_SHIFT)
#define offset_in_page(p)	((unsigned long)(p) & (PAGE_SIZE - 1))

static inline bool test_bit(int nr, const unsigned long *bits)
{
	return *bits >> nr & 1;
}

static inline bool test_and_clear_bit(int nr, unsigned long *bits)
{
	bool set = test_bit(nr, bits);

	*bits &= ~(1UL << nr);
	return set;
}

/* module/memory.h needs much of the kernel; these are the functions that are called */
#define VMM_MEMORY_H
struct vcpu;
struct vm;
bool memory_is_mmio(struct vm *vm, u64 gpa, u32 access);
int memory_read(struct vm *vm, u64 gpa, void *buf, size_t len);
int memory_write(struct vm *vm, u64 gpa, const void *buf, size_t len);
int memory_cmpxchg(struct vm *vm, u64 gpa, u64 old, u64 new, int size);
int memory_peek(struct vcpu *vcpu, u64 gpa, void *buf, size_t len);

#endif
