// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module counts of its costly instructions when it is built for that: module/x86/count.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define FILE_NAME	"/sys/kernel/debug/vmm/instructions"

/* From here on; what ran before is forgotten. */
static void clear_counts(void)
{
	int fd = open(FILE_NAME, O_WRONLY | O_CLOEXEC);

	check(fd >= 0 && write(fd, "0", 1) == 1, FILE_NAME);
	close(fd);
}

/* Its first line: two titles, then names. */
static void read_names(struct counts *counts, FILE *file)
{
	char line[1024], *word, *rest = line;
	int n = 0;

	check(fgets(line, sizeof(line), file), FILE_NAME);
	while ((word = strtok_r(rest, "\n ", &rest)))
		if (n++ >= 2 && counts->nr_insns < MAX_INSNS)
			snprintf(counts->insns[counts->nr_insns++], sizeof(counts->insns[0]), "%s",
				 word);
}

static void read_line(struct exit_counts *exit, int nr_insns, char *line)
{
	char *at = line + strcspn(line, " ");
	int i;

	snprintf(exit->name, sizeof(exit->name), "%.*s", (int)(at - line), line);
	exit->exits = strtoull(at, &at, 10);
	for (i = 0; i < nr_insns; i++)
		exit->insns[i] = strtoull(at, &at, 10);
}

void begin_counts(struct counts *counts)
{
	if (counts)
		clear_counts();
}

void take_counts(struct counts *counts, enum row row)
{
	char line[1024];
	FILE *file;

	if (!counts)
		return;
	file = fopen(FILE_NAME, "re");
	check(file, FILE_NAME);
	counts->nr_insns = 0;
	read_names(counts, file);
	while (counts->nr_exits < MAX_EXITS && fgets(line, sizeof(line), file)) {
		struct exit_counts *exit = &counts->exits[counts->nr_exits++];

		exit->row = row;
		read_line(exit, counts->nr_insns, line);
	}
	fclose(file);
	clear_counts();
}

/* Does this kind of exit belong to the row, or did it come by the way? */
bool is_typical(const struct counts *counts, const struct exit_counts *exit)
{
	uint64_t most = 0;
	int i;

	for (i = 0; i < counts->nr_exits; i++)
		if (counts->exits[i].row == exit->row && counts->exits[i].exits > most)
			most = counts->exits[i].exits;
	return exit->exits * 4 >= most;
}
