// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmmctl help: what there is.
 */
#include <stdio.h>
#include <string.h>

#include "vmmctl.h"

void print_usage(void)
{
	const struct verb *const *verb;

	puts("usage: vmmctl COMMAND [OPTION]...\n\ncommands:");
	for (verb = verbs; *verb; verb++)
		printf("  %-10s%s\n", (*verb)->name, (*verb)->summary);
	puts("\n\"vmmctl COMMAND --help\" tells more of one; vmmctl(1) tells all.");
}

static int run(int argc, char **argv)
{
	const struct verb *const *verb;

	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		print_usage();
		return STATUS_OK;
	}
	for (verb = verbs; *verb; verb++) {
		if (!strcmp((*verb)->name, argv[1])) {
			/* As if it were "vmmctl VERB --help" */
			argv[0] = argv[1];
			argv[1] = "--help";
			return (*verb)->run(2, argv);
		}
	}
	complain("no such command: %s", argv[1]);
	return STATUS_USAGE;
}

const struct verb verb_help = {
	.name = "help",
	.summary = "tell what there is",
	.run = run,
};
