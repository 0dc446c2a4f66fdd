// SPDX-License-Identifier: GPL-2.0-only
/*
 * hold-kvm COMMAND...: run it while a VM of KVM's exists. 3 if there can be none.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), status = 0;
	pid_t pid;

	if (kvm < 0 || argc < 2)
		err(126, "hold-kvm");
	if (ioctl(kvm, KVM_CREATE_VM, 0) < 0) {
		warn("KVM_CREATE_VM");
		return 3;
	}
	pid = fork();
	if (!pid) {
		execvp(argv[1], argv + 1);
		err(127, "%s", argv[1]);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}
