// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints this machine's TSC frequency in kHz. QEMU's emulated processors count these ticks, and a
 * kernel that measures them while the machine is busy may be wrong by a factor of ten.
 */
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

struct moment {
	unsigned long long tsc;
	unsigned long long ns;
};

/* Of many looks the one in which the least happened between the two clocks */
static struct moment look(void)
{
	unsigned long long before, after, least = ~0ULL;
	struct moment best = { };
	struct timespec ts;
	int i;

	for (i = 0; i < 1000; i++) {
		before = __rdtsc();
		clock_gettime(CLOCK_MONOTONIC, &ts);
		after = __rdtsc();
		if (after - before >= least)
			continue;
		least = after - before;
		best.tsc = before + least / 2;
		best.ns = ts.tv_sec * 1000000000ULL + ts.tv_nsec;
	}
	return best;
}

int main(void)
{
	struct moment first = look(), last;

	usleep(50000);
	last = look();
	printf("%llu\n", (last.tsc - first.tsc) * 1000000 / (last.ns - first.ns));
	return 0;
}
