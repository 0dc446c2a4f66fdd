// SPDX-License-Identifier: GPL-2.0-only
/*
 * probe-accel amd|intel: exit status 0 where /dev/kvm can give a guest SVM
 * (or VMX), 1 where not. That /dev/kvm exists, or that this machine's own CPU
 * shows the flag, does not tell: nesting may be off, or not there at all.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_ENTRIES	256

int main(int argc, char **argv)
{
	struct kvm_cpuid2 *cpuid;
	__u32 leaf, bit;
	int kvm;

	if (argc == 2 && !strcmp(argv[1], "amd")) {
		leaf = 0x80000001;
		bit = 1u << 2;
	} else if (argc == 2 && !strcmp(argv[1], "intel")) {
		leaf = 1;
		bit = 1u << 5;
	} else {
		fprintf(stderr, "usage: probe-accel amd|intel\n");
		return 126;
	}

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0 || ioctl(kvm, KVM_CREATE_VM, 0) < 0)
		return 1;
	cpuid = calloc(1, sizeof(*cpuid) +
			  MAX_ENTRIES * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return 1;
	cpuid->nent = MAX_ENTRIES;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid))
		return 1;
	for (__u32 i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == leaf)
			return !(cpuid->entries[i].ecx & bit);
	return 1;
}
