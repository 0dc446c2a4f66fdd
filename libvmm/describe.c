// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libvmm: a vCPU's state for people.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

struct text {
	char *buf;
	size_t size;
	size_t length;
};

static void add(struct text *text, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *fmt, ...)
{
	size_t room = text->size - text->length;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text->buf + text->length, room, fmt, args);
	va_end(args);
	if (n > 0)
		text->length += (size_t)n < room ? (size_t)n : room - 1;
}

static void add_regs(struct text *text, const struct vmm_regs *regs)
{
	static const char *const names[VMM_NR_GPRS] = {
		"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
		"R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15",
	};
	int i;

	add(text, "RIP %016llx  RFLAGS %016llx\n", (unsigned long long)regs->rip,
	    (unsigned long long)regs->rflags);
	for (i = 0; i < VMM_NR_GPRS; i++)
		add(text, "%s %016llx%s", names[i], (unsigned long long)regs->gpr[i],
		    i % 4 == 3 ? "\n" : "  ");
}

static void add_segments(struct text *text, const struct vmm_segments *segments)
{
	static const char *const names[VMM_NR_SEGMENTS] = {
		"ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR", "GDTR", "IDTR",
	};
	int i;

	for (i = 0; i < VMM_NR_SEGMENTS; i++) {
		const struct vmm_segment *seg = &segments->seg[i];

		add(text, "%-4s %04x base %016llx limit %08x attr %03x\n", names[i],
		    seg->selector, (unsigned long long)seg->base, seg->limit, seg->attr);
	}
}

static void add_code(struct text *text, struct vmm_vcpu *vcpu, const struct vmm_state *state)
{
	uint8_t bytes[15];
	size_t i, count = vcpu_fetch(vcpu, state, bytes);

	add(text, "code at RIP:");
	for (i = 0; i < count; i++)
		add(text, " %02x", bytes[i]);
	add(text, count ? "\n" : " (not readable)\n");
}

/* The vectors whose bits are set in IRR or ISR */
static void add_vectors(struct text *text, const char *name, const uint32_t *regs)
{
	unsigned int vector;

	add(text, "  %s", name);
	for (vector = 0; vector < 256; vector++)
		if (regs[vector / 32 * 4] & 1U << vector % 32)
			add(text, " %02x", vector);
}

/* What the vCPU waits for, and whether it could take it */
static void add_waiting(struct text *text, const struct vmm_state *state)
{
	static const char *const modes[] = { "runnable", "halted", "waits for SIPI", "shut down" };
	const struct vmm_events *events = &state->events;
	const struct vmm_lapic *lapic = &state->lapic;

	if (events->mp_state < sizeof(modes) / sizeof(modes[0]))
		add(text, "%s", modes[events->mp_state]);
	if (lapic->apic_base) {
		add(text, "; LAPIC TPR %02x  PPR %02x", lapic->regs[0x80 / 4],
		    lapic->regs[0xa0 / 4]);
		add_vectors(text, "IRR", &lapic->regs[0x200 / 4]);
		add_vectors(text, "ISR", &lapic->regs[0x100 / 4]);
		add(text, "  timer %05x in %llu ns, at TSC %llx", lapic->regs[0x320 / 4],
		    (unsigned long long)lapic->timer_remaining_ns,
		    (unsigned long long)lapic->tsc_deadline);
	}
	add(text, "\n");
}

int vmm_vcpu_describe(struct vmm_vcpu *vcpu, char *buf, size_t size)
{
	struct text text = { .buf = buf, .size = size };
	struct message message;
	struct vmm_state state;
	int err;

	if (!size)
		return 0;
	*buf = 0;
	err = vmm_vcpu_get_state(vcpu, VMM_STATE_REGS | VMM_STATE_SEGMENTS | VMM_STATE_CONTROL |
				 VMM_STATE_EVENTS, &state);
	if (err)
		return err;
	/* What cannot be read is left out, and no failure: there may be no LAPIC in the kernel. */
	message = vcpu->message;
	if (vmm_vcpu_get_state(vcpu, VMM_STATE_LAPIC, &state))
		state.lapic.apic_base = 0;
	add_regs(&text, &state.regs);
	add_segments(&text, &state.segments);
	add(&text, "CR0 %08llx  CR2 %016llx  CR3 %016llx  CR4 %08llx  CR8 %llx  EFER %llx\n",
	    (unsigned long long)state.control.cr0, (unsigned long long)state.control.cr2,
	    (unsigned long long)state.control.cr3, (unsigned long long)state.control.cr4,
	    (unsigned long long)state.control.cr8, (unsigned long long)state.control.efer);
	if (state.events.interrupted.type != VMM_EVENT_NONE)
		add(&text, "while delivering event type %u vector %u\n",
		    state.events.interrupted.type, state.events.interrupted.vector);
	add_waiting(&text, &state);
	add_code(&text, vcpu, &state);
	vcpu->message = message;
	return (int)text.length;
}
