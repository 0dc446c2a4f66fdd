// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmmctl: the verbs.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmmctl.h"

const struct verb *const verbs[] = {
	&verb_run, &verb_info, &verb_help, &verb_version, NULL
};

void complain(const char *fmt, ...)
{
	va_list args;

	fputs("vmmctl: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static const struct verb *find_verb(const char *name)
{
	const struct verb *const *verb;

	for (verb = verbs; *verb; verb++)
		if (!strcmp((*verb)->name, name))
			return *verb;
	return NULL;
}

/* Files that are opened later must not take the place of a standard one that is closed */
static bool open_standard_files(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	return fd >= 0;
}

static int run_command(int argc, char **argv)
{
	const struct verb *verb;

	if (argc < 2) {
		print_usage();
		return STATUS_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return verb_help.run(1, argv + 1);
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		return verb_version.run(1, argv + 1);
	verb = find_verb(argv[1]);
	if (!verb) {
		complain("no such command: %s (try \"vmmctl help\")", argv[1]);
		return STATUS_USAGE;
	}
	return verb->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	int status;

	if (!open_standard_files())
		return STATUS_HOST;
	status = run_command(argc, argv);
	if (fflush(stdout) || ferror(stdout)) {
		complain("not all could be written to standard output");
		return status == STATUS_OK ? STATUS_HOST : status;
	}
	return status;
}
