/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vmm

#if !defined(VMM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define VMM_TRACE_H

#include <linux/tracepoint.h>

#include "vcpu.h"

TRACE_EVENT(vmm_entry,
	TP_PROTO(const struct vcpu *vcpu),
	TP_ARGS(vcpu),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u64, rip)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu->id;
		__entry->rip = vcpu->regs.rip;
	),
	TP_printk("vcpu %u rip 0x%llx", __entry->vcpu, __entry->rip)
);

TRACE_EVENT(vmm_exit,
	TP_PROTO(const struct vcpu *vcpu),
	TP_ARGS(vcpu),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u32, reason)
		__field(u64, rip)
		__field(u64, hw_reason)
		__field(u64, info1)
		__field(u64, info2)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu->id;
		__entry->reason = vcpu->exit.reason;
		__entry->rip = vcpu->exit.rip;
		__entry->hw_reason = vcpu->exit.hw_reason;
		__entry->info1 = vcpu->exit.hw_info1;
		__entry->info2 = vcpu->exit.hw_info2;
	),
	TP_printk("vcpu %u reason %u rip 0x%llx hw 0x%llx info 0x%llx 0x%llx",
		  __entry->vcpu, __entry->reason, __entry->rip, __entry->hw_reason,
		  __entry->info1, __entry->info2)
);

TRACE_EVENT(vmm_fault,
	TP_PROTO(u32 vcpu, u64 gpa, u32 access, int result),
	TP_ARGS(vcpu, gpa, access, result),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u64, gpa)
		__field(u32, access)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->gpa = gpa;
		__entry->access = access;
		__entry->result = result;
	),
	TP_printk("vcpu %u gpa 0x%llx access 0x%x result %d",
		  __entry->vcpu, __entry->gpa, __entry->access, __entry->result)
);

TRACE_EVENT(vmm_inject,
	TP_PROTO(u32 vcpu, u8 type, u8 vector, u32 error),
	TP_ARGS(vcpu, type, vector, error),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u8, type)
		__field(u8, vector)
		__field(u32, error)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->type = type;
		__entry->vector = vector;
		__entry->error = error;
	),
	TP_printk("vcpu %u type %u vector %u error 0x%x",
		  __entry->vcpu, __entry->type, __entry->vector, __entry->error)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
