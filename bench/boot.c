// SPDX-License-Identifier: GPL-2.0-only
/*
 * A whole guest: a Debian kernel to its userspace under vmmctl.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define MARK	"guest: userspace reached"

static const char *const command[] = {
	"vmmctl", "run", "--cpus", "1", "--memory", "256M", "--kernel", "/guest/vmlinuz",
	"--initrd", "/guest/initrd", "--append", "console=ttyS0 quiet", "--stats", NULL
};

static pid_t start(int out, FILE *errors)
{
	extern char **environ;
	posix_spawn_file_actions_t actions;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_adddup2(&actions, fileno(errors), 2);
	if (posix_spawnp(&pid, command[0], &actions, NULL, (char *const *)command, environ))
		pid = -1;
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

/* Lines of a name and a number */
static void read_counters(struct boot *boot, FILE *from)
{
	char line[256], name[32] = "";
	unsigned long long value;

	rewind(from);
	while (fgets(line, sizeof(line), from) && boot->nr_counters < MAX_COUNTERS) {
		if (sscanf(line, " %31[a-z0-9_]%*[ :=\t]%llu", name, &value) != 2)
			continue;
		memcpy(boot->counters[boot->nr_counters].name, name, sizeof(name));
		boot->counters[boot->nr_counters++].value = value;
	}
}

static void show(FILE *errors)
{
	char line[256];

	rewind(errors);
	while (fgets(line, sizeof(line), errors))
		fputs(line, stderr);
}

void measure_boot(struct boot *boot)
{
	char text[4096] = "";
	size_t length = 0;
	struct span span;
	FILE *errors;
	ssize_t n;
	int fds[2];
	pid_t pid;

	errors = tmpfile();
	check(errors, "temporary file");
	check(!pipe2(fds, O_CLOEXEC), "pipe");
	boot->status = -1;

	span_begin(&span);
	pid = start(fds[1], errors);
	if (pid < 0)
		return;
	close(fds[1]);
	while ((n = read(fds[0], text + length, sizeof(text) - 1 - length)) > 0) {
		length += n;
		text[length] = 0;
		if (!boot->done && strstr(text, MARK)) {
			boot->instructions = span_end(&span, &boot->idle);
			boot->done = true;
		}
		/* Keep what may be the beginning of the mark. */
		if (length > sizeof(MARK)) {
			memmove(text, text + length - sizeof(MARK), sizeof(MARK) + 1);
			length = sizeof(MARK);
		}
	}
	close(fds[0]);
	while (waitpid(pid, &boot->status, 0) < 0 && errno == EINTR)
		;
	read_counters(boot, errors);
	if (!boot->done || boot->status)
		show(errors);
	fclose(errors);
}
