// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmm-bench: what operations of a VM cost in host instructions, here, with the kernel's own
 * hypervisor, and without a VM.
 *
 * It is meant for a host where time counts instructions (see runner/nested --deterministic); it
 * loads and unloads both hypervisors' modules.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/**
 * struct row_info - a line of the table
 * @name: its name, an interface to scripts
 * @aim: what the share of KVM's figure should not exceed; on AMD, on Intel
 * @net: ... once the floor is taken off both
 * @what: is measured
 */
static const struct row_info {
	const char *name;
	double aim[2];
	bool net;
	const char *what;
} rows[NR_ROWS] = {
	[ROW_CPUID] = { "cpuid", { 0.30, 0.35 }, false, "CPUID, handled in the kernel" },
	[ROW_OUT] = { "out", { 0.45, 0.40 }, false, "OUT, to user space and back" },
	[ROW_MMIO] = { "mmio", { 0.50, 0.50 }, true, "MOV to or from a device, as out" },
	[ROW_HYPERCALL] = { "hypercall", { 0.50, 0.50 }, true, "hypercall with an unknown number" },
	[ROW_MSR_WRITE] = { "msr_write", { 0.50, 0.50 }, true,
			    "WRMSR to IA32_TSC_DEADLINE, timer armed" },
	[ROW_HLT_WAKE] = { "hlt_wake", { 0.50, 0.50 }, true,
			   "MSI wakes HLT: handler, EOI, HLT again" },
	[ROW_FAULT_4K] = { "fault_4k", { 0.50, 0.50 }, true, "first touch of a 4 KiB page" },
	[ROW_FAULT_2M] = { "fault_2m", { 0.50, 0.50 }, true, "access to a 2 MiB page of the VMM" },
	[ROW_LOG_ON] = { "log_on", { 0.50, 0.50 }, true, "begin a log of 2048 mapped pages" },
	[ROW_LOG_WRITE] = { "log_write", { 0.50, 0.50 }, true, "first write to a page with a log" },
	[ROW_LOG_GET] = { "log_get", { 0.50, 0.50 }, true, "get and clear it, 2048 pages in it" },
	[ROW_LOG_OFF] = { "log_off", { 0.50, 0.50 }, true, "end it" },
	[ROW_SLOT] = { "slot", { 0.50, 0.50 }, true, "add a slot, and delete it" },
	[ROW_VM_CREATE] = { "vm_create", { 0.50, 0.50 }, true, "first call to first exit" },
	[ROW_VM_DESTROY] = { "vm_destroy", { 0.50, 0.50 }, true, "close, with 512 pages mapped" },

#define LOG_ROW(size, share, step, name, what) \
	[ROW_LOG(size, share, step)] = { name, { 0.50, 0.50 }, true, what }
#define LOG_ROWS(size, mib, share, percent) \
	LOG_ROW(size, share, 0, "on_" mib "_" percent, "begin a log of " mib " MiB"), \
	LOG_ROW(size, share, 1, "get_" mib "_" percent, "get it, " percent "% written to"), \
	LOG_ROW(size, share, 2, "off_" mib "_" percent, "end it")
	LOG_ROWS(0, "64", 0, "1"), LOG_ROWS(0, "64", 1, "10"), LOG_ROWS(0, "64", 2, "100"),
	LOG_ROWS(1, "256", 0, "1"), LOG_ROWS(1, "256", 1, "10"), LOG_ROWS(1, "256", 2, "100"),
	[ROW_DESTROY] = { "destroy_256", { 0.50, 0.50 }, true, "close, with 256 MiB mapped" },
	[ROW_RESET + 0] = { "reset_1", { 0.50, 0.50 }, true, "put 1% of 64 MiB back; per page" },
	[ROW_RESET + 1] = { "reset_10", { 0.50, 0.50 }, true, "10% (aim, too: under 1500)" },
	[ROW_RESET + 2] = { "reset_100", { 0.50, 0.50 }, true, "all of it" },
	[ROW_BYTES_4K] = { "bytes_4k", { 0.50, 0.50 }, true, "bytes of the kernel's for that VM" },
	[ROW_BYTES_2M] = { "bytes_2m", { 0.50, 0.50 }, true, "in pages of 2 MiB" },
};

/* Which rows are measured: the operations, or those about memory */
static int first_row, last_row = NR_OPERATIONS;

/* Put there by runner/bench */
#define COUNTING_MODULE		"/lib/modules/vmm-count.ko"

#define VM_BYTES_AIM		(100 * 1024)
#define BOOT_AIM		1.3e9
#define BOOT_EXITS_AIM		3000
/* kvmtool with KVM on Linux 6.1, same guest, same emulator */
#define BOOT_KVM		1487019825.0
#define BOOT_KVM_EXITS		29053

struct results {
	struct figures vmm;
	struct figures kvm;
	struct figures floor;
	bool booted;
	struct boot boot;
	struct counts counts;
};

static double ratio(double a, double b)
{
	return b > 0 ? a / b : NO_FIGURE;
}

/* The share that the row's aim speaks of */
static double share(const struct results *r, int row)
{
	double floor = rows[row].net ? r->floor.row[row] : 0;

	return ratio(r->vmm.row[row] - floor, r->kvm.row[row] - floor);
}

static double aim_of(int row)
{
	return rows[row].aim[on_intel()];
}

static bool has_figures(const struct results *r, int row)
{
	return r->vmm.row[row] >= 0 && r->kvm.row[row] >= 0 && r->floor.row[row] >= 0;
}

static void print_number(double value, int width)
{
	if (value < 0)
		printf(" %*s", width, "-");
	else
		printf(" %*.0f", width, value);
}

static void print_rows(const struct results *r)
{
	int i;

	printf("%-10s %10s %10s %10s %8s   %-19s %s\n", "", "vmm", "kvm", "floor", "vmm/kvm",
	       "share, aim", "what");
	for (i = first_row; i < last_row; i++) {
		char aim[64] = "no figure";

		printf("%-10s", rows[i].name);
		print_number(r->vmm.row[i], 10);
		print_number(r->kvm.row[i], 10);
		print_number(r->floor.row[i], 10);
		if (has_figures(r, i)) {
			printf(" %8.3f", ratio(r->vmm.row[i], r->kvm.row[i]));
			snprintf(aim, sizeof(aim), "%.2f%s %s (%.2f)", share(r, i),
				 rows[i].net ? "*" : " ",
				 share(r, i) <= aim_of(i) ? "met" : "missed", aim_of(i));
		} else {
			printf(" %8s", "-");
		}
		printf("   %-19s %s\n", aim, rows[i].what);
	}
}

static void print_boot(const struct boot *boot)
{
	int i;

	if (!boot->done) {
		printf("boot: vmmctl did not bring the guest to its userspace (status %d)\n",
		       boot->status);
		return;
	}
	printf("a Debian kernel to its userspace: %.0f instructions (aim: under %.2g, %s)\n",
	       boot->instructions, BOOT_AIM, boot->instructions < BOOT_AIM ? "met" : "missed");
	printf("  256 MiB, one CPU, serial console; idle time not counted: %.0f\n", boot->idle);
	printf("  kvmtool on KVM is known to take %.0f, with %d exits\n", BOOT_KVM,
	       BOOT_KVM_EXITS);
	printf("  exits to user space: %lld (aim: under %d, %s)\n", boot->user_exits,
	       BOOT_EXITS_AIM, boot->user_exits < BOOT_EXITS_AIM ? "met" : "missed");
	for (i = 0; i < boot->nr_counters; i++) {
		const struct counter *c = &boot->counters[i];

		if (!i || strcmp(c->title, c[-1].title))
			printf("  %s:\n", c->title);
		printf("    %-24s %10llu\n", c->name, c->value);
	}
}

static const char notes[] =
	"\n"
	"* floors taken off: (vmm - floor) / (kvm - floor). A floor is the nearest operation\n"
	"  without a VM.\n"
	"An entry, an exit or an MSR access counts as one instruction here: the figures are the\n"
	"length of the software's path, not a CPU's time.\n";

static const char amd_note[] =
	"KVM decodes instructions on this emulated CPU, which does not tell an exit where the next\n"
	"instruction is.\n";

static bool runs(const struct counts *counts, int insn)
{
	int i;

	for (i = 0; i < counts->nr_exits; i++)
		if (is_typical(counts, &counts->exits[i]) && counts->exits[i].insns[insn])
			return true;
	return false;
}

static void print_per_exit(double value, int width)
{
	if (value < 0.005)
		printf(" %*s", width, "-");
	else
		printf(" %*.3g", width, value);
}

static void print_counts(const struct counts *counts)
{
	int i, k;

	if (!counts->nr_exits)
		return;
	printf("What costs more than one instruction on a CPU, times per exit; from the exit to\n"
	       "the next entry, counted by a module that is built for it\n\n%-10s %-10s %8s", "",
	       "exit", "exits");
	for (k = 0; k < counts->nr_insns; k++)
		if (runs(counts, k))
			printf(" %s", counts->insns[k]);
	printf("\n");
	for (i = 0; i < counts->nr_exits; i++) {
		const struct exit_counts *exit = &counts->exits[i];

		if (!is_typical(counts, exit))
			continue;
		printf("%-10s %-10s %8llu", rows[exit->row].name, exit->name,
		       (unsigned long long)exit->exits);
		for (k = 0; k < counts->nr_insns; k++)
			if (runs(counts, k))
				print_per_exit((double)exit->insns[k] / exit->exits,
					       strlen(counts->insns[k]));
		printf("\n");
	}
	printf("\n");
}

static void print_text(const struct results *r)
{
	struct utsname uts;

	uname(&uts);
	printf("Host instructions per operation; %s, Linux %s, all in one boot\n\n",
	       on_intel() ? "intel" : "amd", uts.release);
	print_rows(r);
	fputs(notes, stdout);
	if (!on_intel())
		fputs(amd_note, stdout);
	printf("\n");
	print_counts(&r->counts);
	if (first_row)
		return;
	printf("kernel memory of an idle VM with one vCPU, beyond its page tables, bytes:");
	print_number(r->vmm.vm_bytes, 0);
	printf(" (aim: under %d, %s); KVM:", VM_BYTES_AIM,
	       r->vmm.vm_bytes < 0 ? "no figure" :
	       r->vmm.vm_bytes < VM_BYTES_AIM ? "met" : "missed");
	print_number(r->kvm.vm_bytes, 0);
	printf("\n");
	if (r->booted)
		print_boot(&r->boot);
}

static void json_number(const char *name, double value, const char *format)
{
	printf("\"%s\":", name);
	if (value == NO_FIGURE)
		printf("null");
	else
		printf(format, value);
}

static void json_counts(const struct counts *counts)
{
	int i, k;

	printf("\"counts\":[");
	for (i = 0; i < counts->nr_exits; i++) {
		const struct exit_counts *exit = &counts->exits[i];

		printf("%s\n{\"row\":\"%s\",\"exit\":\"%s\",\"exits\":%llu,", i ? "," : "",
		       rows[exit->row].name, exit->name,
		       (unsigned long long)exit->exits);
		printf("\"instructions\":{");
		for (k = 0; k < counts->nr_insns; k++)
			printf("%s\"%s\":%llu", k ? "," : "", counts->insns[k],
			       (unsigned long long)exit->insns[k]);
		printf("}}");
	}
	printf("],\n");
}

static void print_json(const struct results *r)
{
	struct utsname uts;
	int i;

	uname(&uts);
	printf("{\"vendor\":\"%s\",\"host_kernel\":\"%s\",\"unit\":\"instructions\",\"results\":[",
	       on_intel() ? "intel" : "amd", uts.release);
	for (i = first_row; i < last_row; i++) {
		bool all = has_figures(r, i);

		printf("%s\n{\"name\":\"%s\",", i > first_row ? "," : "", rows[i].name);
		json_number("vmm", r->vmm.row[i], "%.1f");
		printf(",");
		json_number("kvm", r->kvm.row[i], "%.1f");
		printf(",");
		json_number("floor", r->floor.row[i], "%.1f");
		printf(",");
		json_number("ratio", all ? ratio(r->vmm.row[i], r->kvm.row[i]) : NO_FIGURE, "%.4f");
		printf(",\"aim\":{\"of\":\"%s\",\"at_most\":%.2f,",
		       rows[i].net ? "(vmm-floor)/(kvm-floor)" : "vmm/kvm", aim_of(i));
		json_number("is", all ? share(r, i) : NO_FIGURE, "%.4f");
		printf("}}");
	}
	printf("],\n");
	json_counts(&r->counts);
	printf("\"vm_bytes\":{");
	json_number("vmm", r->vmm.vm_bytes, "%.0f");
	printf(",");
	json_number("kvm", r->kvm.vm_bytes, "%.0f");
	printf(",\"aim\":%d},\n\"boot\":{", VM_BYTES_AIM);
	json_number("instructions", r->boot.done ? r->boot.instructions : NO_FIGURE, "%.0f");
	printf(",");
	json_number("idle", r->boot.done ? r->boot.idle : NO_FIGURE, "%.0f");
	printf(",\"aim\":%.0f,\"kvmtool_on_kvm\":%.0f,\"user_exits\":%lld,\"counters\":{",
	       BOOT_AIM, BOOT_KVM, r->boot.user_exits);
	for (i = 0; i < r->boot.nr_counters; i++) {
		const struct counter *c = &r->boot.counters[i];
		bool first = !i || strcmp(c->title, c[-1].title);

		if (first)
			printf("%s\"%s\":{", i ? "}," : "", c->title);
		printf("%s\"%s\":%llu", first ? "" : ",", c->name, c->value);
	}
	printf("%s}}}\n", i ? "}" : "");
}

static void no_figures(struct figures *figures)
{
	int i;

	for (i = 0; i < NR_ROWS; i++)
		figures->row[i] = NO_FIGURE;
	figures->vm_bytes = NO_FIGURE;
}

/*
 * In a process of its own, so that none inherits the others' memory; what fails ends that process
 * alone, and its rows stay without figures.
 */
static void measure(const struct bed *bed, struct figures *figures, struct counts *counts)
{
	int status;
	pid_t pid;

	pid = fork();
	check(pid >= 0, "fork");
	if (!pid) {
		if (counts)
			measure_counts(bed, counts);
		else if (bed && first_row)
			measure_memory(bed, figures);
		else if (bed)
			measure_bed(bed, figures);
		else
			measure_floors(figures);
		if (!bed && first_row)
			measure_memory_floors(figures);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status)
		fprintf(stderr, "vmm-bench: measuring %s failed\n", bed ? bed->name : "floors");
}

static void usage(FILE *to)
{
	fprintf(to,
		"vmm-bench [--format text|json] [--no-boot|--memory]\n"
		"Measures operations of a VM with vmm.ko and with KVM, loading each in turn;\n"
		"or what their memory costs.\n"
		"Exit status: 0 if every row has all its figures.\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "format", required_argument, NULL, 'f' },
		{ "no-boot", no_argument, NULL, 'b' },
		{ "memory", no_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL }
	};
	bool json = false, boot = true, complete = true;
	struct results *r;
	int c, i;

	while ((c = getopt_long(argc, argv, "f:h", options, NULL)) >= 0) {
		switch (c) {
		case 'f':
			json = !strcmp(optarg, "json");
			if (!json && strcmp(optarg, "text")) {
				usage(stderr);
				return 2;
			}
			break;
		case 'b':
			boot = false;
			break;
		case 'm':
			boot = false;
			first_row = ROW_MEMORY;
			last_row = NR_ROWS;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}

	/* Shared with the children */
	r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(r != MAP_FAILED, "mmap");
	no_figures(&r->vmm);
	no_figures(&r->kvm);
	no_figures(&r->floor);

	measure(NULL, &r->floor, NULL);
	if (load_modules(&kvm_bed)) {
		measure(&kvm_bed, &r->kvm, NULL);
		unload_modules(&kvm_bed);
	}
	if (load_modules(&vmm_bed)) {
		measure(&vmm_bed, &r->vmm, NULL);
		r->booted = boot;
		if (boot)
			measure_boot(&r->boot);
		unload_modules(&vmm_bed);
	}
	if (!first_row && load_counting_module(COUNTING_MODULE)) {
		measure(&vmm_bed, NULL, &r->counts);
		unload_modules(&vmm_bed);
	}

	if (json)
		print_json(r);
	else
		print_text(r);
	for (i = first_row; i < last_row; i++)
		complete = complete && has_figures(r, i);
	return complete && (!boot || r->boot.done) ? 0 : 1;
}
