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

#define MARK		"guest: userspace reached"
#define USER_EXITS	"exits to user space:"

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

/*
 * Lines of a name and a number below lines with a title, as in "accesses by device:"; the first
 * title has the sum itself. Those of single vCPUs say nothing new here.
 */
static void read_counters(struct boot *boot, FILE *from)
{
	char line[256], title[32] = "";
	struct counter *counter;

	rewind(from);
	while (fgets(line, sizeof(line), from) && boot->nr_counters < MAX_COUNTERS) {
		if (line[0] != ' ') {
			if (!strncmp(line, USER_EXITS, strlen(USER_EXITS)))
				boot->user_exits = atoll(line + strlen(USER_EXITS));
			snprintf(title, sizeof(title), "%.*s", (int)strcspn(line, ":\n"), line);
			continue;
		}
		counter = &boot->counters[boot->nr_counters];
		if (!strncmp(title, "vCPU", 4) ||
		    sscanf(line, " %31s %llu", counter->name, &counter->value) != 2)
			continue;
		memcpy(counter->title, title, sizeof(title));
		boot->nr_counters++;
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
	boot->user_exits = -1;

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
