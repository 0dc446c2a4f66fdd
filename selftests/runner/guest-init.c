// SPDX-License-Identifier: GPL-2.0-only
/*
 * The /init of the guest's initrd: says on the console that user space was
 * reached, gives a shell where the command line asks for one, powers off.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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

int main(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("none", "/proc", "proc", 0, NULL);
	mount("none", "/dev", "devtmpfs", 0, NULL);
	if (write(STDOUT_FILENO, "guest: userspace reached\n", 25) < 0)
		reboot(RB_AUTOBOOT);
	if (command_line_has("shell"))
		shell();
	sync();
	reboot(RB_POWER_OFF);
	reboot(RB_HALT_SYSTEM);
	return 0;
}
