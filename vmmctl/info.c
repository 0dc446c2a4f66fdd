// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmmctl info: what module and host offer.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <vmm/vmm.h>

#include "vmmctl.h"

static const char usage[] =
	"usage: vmmctl info [--json]\n"
	"\n"
	"Print what the module and this host offer to virtual machines.\n"
	"\n"
	"  --json   as JSON\n"
	"  --help   this text\n";

/* One number of struct vmm_info */
struct number {
	const char *key;
	const char *label;
	uint64_t value;
};

static void print_numbers(const struct vmm_info *info, bool json)
{
	const struct number numbers[] = {
		{ "gpa_bits", "guest-physical address bits", info->gpa_bits },
		{ "gva_bits", "guest-virtual address bits", info->gva_bits },
		{ "max_vcpus", "vCPUs per VM", info->max_vcpus },
		{ "max_slots", "memory slots per VM", info->max_slots },
		{ "nr_gsis", "GSIs per VM", info->nr_gsis },
		{ "run_size", "run area, bytes", info->run_size },
		{ "xsave_size", "XSAVE area, bytes", info->xsave_size },
		{ "tsc_khz", "TSC, kHz", info->tsc_khz },
	};
	unsigned int i;

	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (json)
			printf("\"%s\": %" PRIu64 ", ", numbers[i].key, numbers[i].value);
		else
			printf("%-30s%" PRIu64 "\n", numbers[i].label, numbers[i].value);
	}
	if (json)
		printf("\"xcr0\": %" PRIu64, (uint64_t)info->xcr0);
	else
		printf("%-30s%#" PRIx64 "\n", "XCR0 bits", (uint64_t)info->xcr0);
}

static void print_capabilities(const struct vmm_info *info, bool json)
{
	bool first = true;
	unsigned int bit;

	for (bit = 0; bit < 64; bit++) {
		const char *name = vmm_cap_name(1ULL << bit);

		if (!(info->caps & 1ULL << bit))
			continue;
		if (json)
			printf(first ? "" : ", ");
		else
			printf(first ? "" : " ");
		if (name && json)
			print_json_string(name);
		else if (name)
			printf("%s", name);
		else
			printf(json ? "\"bit-%u\"" : "bit-%u", bit);
		first = false;
	}
}

static void print_info(const struct vmm_info *info, bool json)
{
	if (json) {
		printf("{\"version\": \"%s\", \"api_version\": %u, \"vendor\": ", VMMCTL_VERSION,
		       info->api_version);
		print_json_string(vmm_vendor_name(info->vendor));
		printf(", \"capabilities\": [");
		print_capabilities(info, json);
		printf("], ");
		print_numbers(info, json);
		puts("}");
		return;
	}
	printf("%-30s%s\n", "vmmctl", VMMCTL_VERSION);
	printf("%-30s%u\n", "API version", info->api_version);
	printf("%-30s%s\n", "vendor", vmm_vendor_name(info->vendor));
	printf("%-30s", "capabilities");
	print_capabilities(info, json);
	putchar('\n');
	print_numbers(info, json);
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL }
	};
	struct vmm *vmm;
	bool json = false;
	int option, err;

	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return STATUS_OK;
		default:
			return STATUS_USAGE;
		}
	}
	if (optind < argc) {
		complain("info: unexpected argument: %s", argv[optind]);
		return STATUS_USAGE;
	}
	err = vmm_open(NULL, &vmm);
	if (err)
		complain("%s", vmm_error(vmm));
	else
		print_info(vmm_get_info(vmm), json);
	vmm_close(vmm);
	return err ? STATUS_HOST : STATUS_OK;
}

const struct verb verb_info = {
	.name = "info",
	.summary = "print what module and host offer",
	.run = run,
};
