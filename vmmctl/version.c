// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmmctl version: of the tool and of the API that it speaks.
 */
#include <linux/vmm.h>
#include <stdio.h>
#include <string.h>

#include "vmmctl.h"

static const char usage[] =
	"usage: vmmctl version [--json]\n"
	"\n"
	"Print the version of vmmctl and of the API that it speaks.\n";

static int run(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(usage, stdout);
		return STATUS_OK;
	}
	if (argc == 2 && !strcmp(argv[1], "--json")) {
		printf("{\"version\": \"%s\", \"api_version\": %d}\n", VMMCTL_VERSION,
		       VMM_API_VERSION);
		return STATUS_OK;
	}
	if (argc > 1) {
		complain("version: unexpected argument: %s", argv[1]);
		return STATUS_USAGE;
	}
	printf("vmmctl %s, API version %d\n", VMMCTL_VERSION, VMM_API_VERSION);
	return STATUS_OK;
}

const struct verb verb_version = {
	.name = "version",
	.summary = "print the version",
	.run = run,
};
