// SPDX-License-Identifier: GPL-2.0-only
/*
 * The counts of count.h, by exits. Built with -DVMM_COUNT alone.
 */
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/seq_file.h>
#include <linux/string.h>

#include "vcpu.h"
#include "x86/count.h"
#include "x86/spec.h"

static const char *const insn_names[] = {
#define C(name)	#name,
	COUNTED_INSNS(C)
#undef C
};

static const char *const exit_names[NR_EXIT_REASONS] = {
	[EXIT_NONE] = "none",
	[EXIT_IO] = "io",
	[EXIT_HLT] = "hlt",
	[EXIT_SHUTDOWN] = "shutdown",
	[EXIT_HYPERCALL] = "hypercall",
	[EXIT_MSR] = "msr",
	[EXIT_CPUID] = "cpuid",
	[EXIT_INTERRUPT_WINDOW] = "interrupt_window",
	[EXIT_NMI_WINDOW] = "nmi_window",
	[EXIT_PAUSE] = "pause",
	[EXIT_FAIL_ENTRY] = "fail_entry",
	[EXIT_INTERNAL] = "internal",
	[EXIT_RING_FULL] = "ring_full",
	[EXIT_HOST] = "host",
	[EXIT_TDP_FAULT] = "tdp_fault",
	[EXIT_EXCEPTION] = "exception",
	[EXIT_CR] = "cr",
	[EXIT_DR] = "dr",
	[EXIT_XSETBV] = "xsetbv",
	[EXIT_CACHE] = "cache",
	[EXIT_UNDEFINED] = "undefined",
	[EXIT_TASK_SWITCH] = "task_switch",
	[EXIT_TPR] = "tpr",
	[EXIT_LAPIC] = "lapic",
	[EXIT_RESUME] = "resume",
};

/**
 * struct exit_counts - sums
 * @exits: of this kind
 * @insns: for all of them
 */
struct exit_counts {
	u64 exits;
	u64 insns[NR_COUNTED_INSNS];
};

/* What has run since the last entry, or since a window's end */
DEFINE_PER_CPU(u64 [NR_COUNTED_INSNS], counted_insns);

/* Only its own CPU adds to it, with preemption off. */
static DEFINE_PER_CPU(struct exit_counts [NR_EXIT_REASONS], exit_counts);

static struct dentry *directory;

static void add_up(enum exit_reason reason)
{
	struct exit_counts *counts = this_cpu_ptr(&exit_counts[reason]);
	int i;

	for (i = 0; i < NR_COUNTED_INSNS; i++)
		counts->insns[i] += this_cpu_xchg(counted_insns[i], 0);
}

void count_entry(struct vcpu *vcpu)
{
	add_up(vcpu->counted_exit);
}

void count_leave(struct vcpu *vcpu)
{
	add_up(vcpu->counted_exit);
}

void count_exit(struct vcpu *vcpu)
{
	vcpu->counted_exit = vcpu->exit.reason;
	this_cpu_inc(exit_counts[vcpu->counted_exit].exits);
}

void count_guard(const struct spec_guard *guard)
{
	if ((guard->flags & GUARD_SPEC_CTRL) && guard->guest_spec_ctrl != guard->host_spec_ctrl)
		count_insns(WRMSR, 2);
	if (guard->flags & GUARD_READ_SPEC_CTRL)
		count_insn(RDMSR);
	if (guard->flags & SPEC_EXIT_IBPB) {
		count_insn(WRMSR);
		count_insn(IBPB);
	}
}

static void show_exit(struct seq_file *m, enum exit_reason reason)
{
	u64 exits = 0, sum;
	int cpu, i;

	for_each_possible_cpu(cpu)
		exits += per_cpu(exit_counts[reason].exits, cpu);
	if (!exits)
		return;
	seq_printf(m, "%s %llu", exit_names[reason] ?: "other", exits);
	for (i = 0; i < NR_COUNTED_INSNS; i++) {
		sum = 0;
		for_each_possible_cpu(cpu)
			sum += per_cpu(exit_counts[reason].insns[i], cpu);
		seq_printf(m, " %llu", sum);
	}
	seq_putc(m, '\n');
}

static int counts_show(struct seq_file *m, void *unused)
{
	int i;

	seq_puts(m, "exit exits");
	for (i = 0; i < NR_COUNTED_INSNS; i++)
		seq_printf(m, " %s", insn_names[i]);
	seq_putc(m, '\n');
	for (i = 0; i < NR_EXIT_REASONS; i++)
		show_exit(m, i);
	return 0;
}

static int counts_open(struct inode *inode, struct file *file)
{
	return single_open(file, counts_show, NULL);
}

/* Guests that run meanwhile may lose a few counts, or keep some. */
static ssize_t counts_write(struct file *file, const char __user *from, size_t bytes, loff_t *at)
{
	int cpu;

	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(&exit_counts[0], cpu), 0, sizeof(exit_counts));
	return bytes;
}

static const struct file_operations counts_fops = {
	.owner = THIS_MODULE,
	.open = counts_open,
	.read = seq_read,
	.write = counts_write,
	.llseek = seq_lseek,
	.release = single_release,
};

/* A kernel without debugfs counts for nobody. */
void count_init(void)
{
	directory = debugfs_create_dir("vmm", NULL);
	debugfs_create_file("instructions", 0600, directory, NULL, &counts_fops);
}

void count_uninit(void)
{
	debugfs_remove_recursive(directory);
}
