// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmmctl run: run a virtual machine. Here: its options.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

static const char usage[] =
	"usage: vmmctl run [OPTION]... --kernel FILE\n"
	"       vmmctl run [OPTION]... --flat FILE [--load ADDR] [--entry ADDR]\n"
	"\n"
	"Run a virtual machine with its serial port on the terminal. Ctrl-A x leaves.\n"
	"\n"
	"  --cpus N          vCPUs (1)\n"
	"  --memory [size=]SIZE[,hugepages=2M|1G][,prefault][,shared]\n"
	"                    memory, in MiB or with K, M, G, T (256M): from hugetlbfs, all of it\n"
	"                    there and mapped at the start, in a memfd for other processes\n"
	"  --kernel FILE     bzImage, PVH ELF or multiboot kernel\n"
	"  --loader KIND     do not look at the image: linux, pvh or multiboot\n"
	"  --initrd FILE     initial RAM disk; with PVH and multiboot the first module\n"
	"  --append TEXT     kernel command line (console=ttyS0)\n"
	"  --module \"FILE [WORDS]\"\n"
	"                    a module of a PVH or multiboot kernel, with its command line;\n"
	"                    may be repeated\n"
	"  --flat FILE       raw image, copied to --load and entered at --entry\n"
	"  --load ADDR       where (0x1000)\n"
	"  --entry ADDR      where (at --load)\n"
	"  --mode MODE       in which mode: real (default), protected or long\n"
	"  --debug-exit PORT writing VALUE to this port ends with status (VALUE << 1) | 1\n"
	"  --test-device     scratch ports and memory for test kernels, see vmmctl(1)\n"
	"  --huge            the same as hugepages=2M in --memory\n"
	"  --stats           at the end, print the exits by kind to stderr\n"
	"  --help            this text\n"
	"\n"
	"Exit status: 0 power-off, odd debug exit, 2 usage, 4 reset, 6 guest state that\n"
	"cannot be run on, 8 error on the host, 10 left with Ctrl-A x.\n";

enum {
	OPTION_CPUS = 1, OPTION_MEMORY, OPTION_KERNEL, OPTION_LOADER, OPTION_INITRD,
	OPTION_APPEND, OPTION_MODULE, OPTION_FLAT, OPTION_LOAD, OPTION_ENTRY, OPTION_MODE,
	OPTION_DEBUG_EXIT, OPTION_TEST_DEVICE, OPTION_HUGE, OPTION_STATS, OPTION_HELP,
};

static const struct option long_options[] = {
	{ "cpus", required_argument, NULL, OPTION_CPUS },
	{ "memory", required_argument, NULL, OPTION_MEMORY },
	{ "kernel", required_argument, NULL, OPTION_KERNEL },
	{ "loader", required_argument, NULL, OPTION_LOADER },
	{ "initrd", required_argument, NULL, OPTION_INITRD },
	{ "append", required_argument, NULL, OPTION_APPEND },
	{ "module", required_argument, NULL, OPTION_MODULE },
	{ "flat", required_argument, NULL, OPTION_FLAT },
	{ "load", required_argument, NULL, OPTION_LOAD },
	{ "entry", required_argument, NULL, OPTION_ENTRY },
	{ "mode", required_argument, NULL, OPTION_MODE },
	{ "debug-exit", required_argument, NULL, OPTION_DEBUG_EXIT },
	{ "test-device", no_argument, NULL, OPTION_TEST_DEVICE },
	{ "huge", no_argument, NULL, OPTION_HUGE },
	{ "stats", no_argument, NULL, OPTION_STATS },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ NULL }
};

static bool bad_value(const char *option, const char *value, const char *what)
{
	complain("run: --%s %s: not %s", option, value, what);
	return false;
}

static bool take_number(const char *option, const char *text, uint64_t max, uint64_t *value)
{
	char what[64];

	if (parse_number(text, value) && *value <= max)
		return true;
	snprintf(what, sizeof(what), "a number of at most %#llx", (unsigned long long)max);
	return bad_value(option, text, what);
}

static bool take_loader(const char *text, enum vmm_image_kind *kind)
{
	for (*kind = VMM_IMAGE_LINUX; *kind <= VMM_IMAGE_MULTIBOOT; (*kind)++)
		if (!strcmp(text, vmm_image_kind_name(*kind)))
			return true;
	return bad_value("loader", text, "linux, pvh or multiboot");
}

static bool take_mode(const char *text, enum cpu_mode *mode)
{
	if (!strcmp(text, "real"))
		*mode = MODE_REAL;
	else if (!strcmp(text, "protected"))
		*mode = MODE_PROTECTED;
	else if (!strcmp(text, "long"))
		*mode = MODE_LONG;
	else
		return bad_value("mode", text, "real, protected or long");
	return true;
}

static bool take_size(const char *text, uint64_t *bytes)
{
	if (!parse_size(text, bytes) || !*bytes)
		return bad_value("memory", text, "a size");
	if (*bytes % 4096)
		return bad_value("memory", text, "a multiple of 4K");
	return true;
}

static bool take_huge_pages(const char *text, struct options *options)
{
	uint64_t bytes;

	options->memory_flags &= ~(VMM_MEMORY_HUGE | VMM_MEMORY_HUGE_1G);
	if (!parse_size(text, &bytes))
		bytes = 0;
	if (bytes == 2 << 20)
		options->memory_flags |= VMM_MEMORY_HUGE;
	else if (bytes == 1 << 30)
		options->memory_flags |= VMM_MEMORY_HUGE_1G;
	else
		return bad_value("memory", text, "a size of huge pages: 2M or 1G");
	return true;
}

/* "SIZE,WORD,..."; the size may be the word "size=SIZE" as well, and be anywhere then. */
static bool take_memory(char *text, struct options *options)
{
	enum { SIZE, HUGE_PAGES, PREFAULT, SHARED };
	static char *const words[] = {
		[SIZE] = "size", [HUGE_PAGES] = "hugepages", [PREFAULT] = "prefault",
		[SHARED] = "shared", NULL
	};
	bool first = true;
	char *value, *word;

	for (; *text; first = false) {
		word = text;
		switch (getsubopt(&text, words, &value)) {
		case SIZE:
			if (!take_size(value ?: "", &options->memory))
				return false;
			break;
		case HUGE_PAGES:
			if (!take_huge_pages(value ?: "", options))
				return false;
			break;
		case PREFAULT:
			options->prefault = true;
			break;
		case SHARED:
			options->memory_flags |= VMM_MEMORY_SHARED;
			break;
		default:
			if (!first)
				return bad_value("memory", word,
						 "size=, hugepages=, prefault or shared");
			if (!take_size(word, &options->memory))
				return false;
		}
	}
	return !first || bad_value("memory", "", "a size");
}

static bool take_option(int option, struct options *options)
{
	uint64_t number;

	switch (option) {
	case OPTION_CPUS:
		if (!take_number("cpus", optarg, 0xffff, &number))
			return false;
		if (!number)
			return bad_value("cpus", optarg, "at least 1");
		options->cpus = number;
		return true;
	case OPTION_MEMORY:
		return take_memory(optarg, options);
	case OPTION_KERNEL:
		options->kernel = optarg;
		return true;
	case OPTION_LOADER:
		return take_loader(optarg, &options->loader);
	case OPTION_INITRD:
		options->initrd = optarg;
		return true;
	case OPTION_APPEND:
		options->append = optarg;
		return true;
	case OPTION_MODULE:
		if (options->nr_modules == MAX_MODULES)
			return bad_value("module", optarg, "possible: too many modules");
		options->modules[options->nr_modules++] = optarg;
		return true;
	case OPTION_FLAT:
		options->flat = optarg;
		return true;
	case OPTION_LOAD:
		options->has_load = true;
		return take_number("load", optarg, UINT64_MAX, &options->load);
	case OPTION_ENTRY:
		options->has_entry = true;
		return take_number("entry", optarg, UINT64_MAX, &options->entry);
	case OPTION_MODE:
		return take_mode(optarg, &options->mode);
	case OPTION_DEBUG_EXIT:
		if (!take_number("debug-exit", optarg, 0xffff, &number))
			return false;
		options->debug_exit = number;
		return true;
	case OPTION_TEST_DEVICE:
		options->test_device = true;
		return true;
	case OPTION_HUGE:
		options->memory_flags |= VMM_MEMORY_HUGE;
		return true;
	case OPTION_STATS:
		options->stats = true;
		return true;
	default:
		/* getopt_long() has said what is wrong. */
		return false;
	}
}

static bool check(const struct options *options)
{
	uint64_t entry = options->has_entry ? options->entry : options->load;

	if (!options->kernel == !options->flat) {
		complain("run: either --kernel or --flat is needed (try \"vmmctl run --help\")");
		return false;
	}
	if (options->flat && (options->initrd || options->append || options->nr_modules)) {
		complain("run: a flat image takes no --initrd, --append or --module");
		return false;
	}
	if (!options->flat && (options->has_load || options->has_entry)) {
		complain("run: --load and --entry belong to --flat");
		return false;
	}
	if (!options->flat && options->memory < 2 << 20) {
		complain("run: --memory: a kernel needs at least 2M");
		return false;
	}
	if (options->flat && options->mode == MODE_REAL && entry >> 20) {
		complain("run: --entry: real mode begins below 1 MiB (see --mode)");
		return false;
	}
	if (options->flat && options->mode != MODE_REAL && entry >> 32) {
		complain("run: --entry: protected and long mode begin below 4 GiB");
		return false;
	}
	if (options->memory_flags & VMM_MEMORY_HUGE && options->memory % (2 << 20)) {
		complain("run: huge pages: --memory must be a multiple of 2M");
		return false;
	}
	if (options->memory_flags & VMM_MEMORY_HUGE_1G && options->memory % (1 << 30)) {
		complain("run: huge pages of 1G: --memory must be a multiple of that");
		return false;
	}
	return true;
}

static int parse_and_run(int argc, char **argv)
{
	struct options options = {
		.cpus = 1,
		.memory = 256ULL << 20,
		.debug_exit = -1,
	};
	int option;

	optind = 1;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == OPTION_HELP) {
			fputs(usage, stdout);
			return STATUS_OK;
		}
		if (!take_option(option, &options))
			return STATUS_USAGE;
	}
	if (optind < argc) {
		complain("run: unexpected argument: %s", argv[optind]);
		return STATUS_USAGE;
	}
	if (!check(&options))
		return STATUS_USAGE;
	return machine_run(&options);
}

const struct verb verb_run = {
	.name = "run",
	.summary = "run a virtual machine",
	.run = parse_and_run,
};
