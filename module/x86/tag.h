/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tags of cached translations: SVM's ASIDs (APM 15.16), VMX's VPIDs (SDM 29.1). Each CPU gives out
 * its numbers one after the other; when none is left a new generation begins, with nothing cached
 * under any. Whether a vCPU's tag is good is a comparison of numbers, made before each entry.
 */
#ifndef VMM_X86_TAG_H
#define VMM_X86_TAG_H

#include <linux/types.h>

/**
 * struct tag_cpu - the tags of one processor
 * @generation: a tag of an earlier one may be another vCPU's now. The first is 1
 * @next: the next free number of this generation
 * @end: numbers below are tags; 0 is the host's
 *
 * Only its own CPU touches it, with interrupts off.
 */
struct tag_cpu {
	u64 generation;
	u32 next;
	u32 end;
};

/**
 * struct tag - a vCPU's, on the CPU where it was loaded last
 * @generation: of that CPU's tags, when the number was taken; 0: it has none
 * @flush_gen: of the root, when its translations were last invalidated here
 * @flush: all under this tag are stale
 *
 * The number itself is where the CPU looks for it. Covered by the vCPU's mutex.
 */
struct tag {
	u64 generation;
	u64 flush_gen;
	bool flush;
};

/* Anything may be cached under any number: who takes the next tag flushes them all. */
static inline void tag_cpu_spoil(struct tag_cpu *cpu)
{
	cpu->next = cpu->end;
}

/* The same, before the first tag, or after somebody else has had the CPU */
static inline void tag_cpu_begin(struct tag_cpu *cpu, u32 end)
{
	cpu->generation++;
	cpu->end = end;
	tag_cpu_spoil(cpu);
}

/* Before an entry: is anything under the tag stale, is it another's? */
static __always_inline bool tag_is_stale(const struct tag *tag, const struct tag_cpu *cpu,
					 u64 flush_gen)
{
	return (tag->generation ^ cpu->generation) | (tag->flush_gen ^ flush_gen) | tag->flush;
}

/*
 * Take a number that nobody has used in this generation. @flush_all: a new generation has begun;
 * all tags are to be flushed before, or by, the entry that is next on this CPU.
 */
static inline u32 tag_take(struct tag *tag, struct tag_cpu *cpu, bool *flush_all)
{
	*flush_all = cpu->next >= cpu->end;
	if (*flush_all) {
		cpu->generation++;
		cpu->next = 1;
	}
	tag->generation = cpu->generation;
	return cpu->next++;
}

#endif
