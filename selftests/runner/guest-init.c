// SPDX-License-Identifier: GPL-2.0-only
/*
 * The /init of the guest's initrd: says on the console that user space was
 * reached, gives a shell or checks memory where the command line asks for it,
 * powers off.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int command_line_has(const char *word)
{
	static const char delimiters[] = "\n ";
	char line[4096], *p;
	ssize_t n;
	int fd;

	fd = open("/proc/cmdline", O_RDONLY);
	n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	close(fd);
	if (n < 0)
		return 0;
	line[n] = 0;
	for (p = strtok(line, delimiters); p; p = strtok(NULL, delimiters))
		if (!strcmp(p, word))
			return 1;
	return 0;
}

static void shell(void)
{
	static char *const argv[] = {
		"sh", "-c",
		"/bin/busybox --install -s /bin; "
		"mount -t sysfs none /sys; "
		"exec setsid -c sh -l <>/dev/console >&0 2>&0",
		NULL
	};
	static char *const env[] = {
		"PATH=/bin", "HOME=/", "TERM=linux", "PS1=guest# ", NULL
	};
	pid_t pid = fork();

	if (!pid) {
		execve("/bin/busybox", argv, env);
		_exit(127);
	}
	while (wait(NULL) != pid)
		;
}

/*
 * checksum=MIB: fill that much memory with numbers, and add them up again and again, in order and
 * against it.
 */
static uint64_t number_at(uint64_t i)
{
	return i * 0x9e3779b97f4a7c15ULL ^ i >> 9;
}

static void add_up(unsigned long mib)
{
	uint64_t count = ((uint64_t)mib << 20) / sizeof(uint64_t), i, sum, right = 0;
	uint64_t *memory = mmap(NULL, count * sizeof(*memory), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int pass;

	if (memory == MAP_FAILED) {
		printf("guest: no memory\n");
		return;
	}
	for (i = 0; i < count; i++) {
		memory[i] = number_at(i);
		right += memory[i];
	}
	for (pass = 0; pass < 3; pass++) {
		sum = 0;
		for (i = 0; i < count; i++)
			sum += memory[pass % 2 ? count - 1 - i : i];
		printf("guest: checksum %d of %lu MiB %s\n", pass, mib,
		       sum == right ? "right" : "wrong");
		fflush(stdout);
	}
}

int main(void)
{
	const char *mib;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("none", "/proc", "proc", 0, NULL);
	mount("none", "/dev", "devtmpfs", 0, NULL);
	if (write(STDOUT_FILENO, "guest: userspace reached\n", 25) < 0)
		reboot(RB_AUTOBOOT);
	if (command_line_has("shell"))
		shell();
	/* The kernel makes a variable of a word with "=" that it does not know. */
	mib = getenv("checksum");
	if (mib)
		add_up(strtoul(mib, NULL, 10));
	sync();
	reboot(RB_POWER_OFF);
	reboot(RB_HALT_SYSTEM);
	return 0;
}
