/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MAP_FILE_H
#define MAP_FILE_H

#include <err.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* All of a file, for reading. The program ends where that cannot be. */
static inline const unsigned char *map_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", path);
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		err(1, "%s", path);
	close(fd);
	*size = st.st_size;
	return p;
}

#endif
