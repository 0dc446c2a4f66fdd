// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host: its modules, memory, threads and time.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

void die(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fputs("vmm-bench: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

void check(bool ok, const char *what)
{
	if (!ok)
		die("%s: %s", what, strerror(errno));
}

static bool command(const char *const argv[])
{
	extern char **environ;
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ))
		return false;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool on_intel(void)
{
	unsigned int eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	return ebx == signature_INTEL_ebx;
}

bool load_modules(const struct bed *bed)
{
	const char *const *modules = bed->modules[on_intel()];
	struct stat st;
	int i;

	for (i = 0; modules[i]; i++) {
		if (!command((const char *const[]){ "modprobe", modules[i], NULL })) {
			fprintf(stderr, "vmm-bench: cannot load %s\n", modules[i]);
			return false;
		}
	}
	for (i = 0; i < 100 && stat(bed->device, &st); i++)
		pause_ms(10);
	return true;
}

/* In the place of vmm_bed's own */
bool load_counting_module(const char *path)
{
	return !access(path, R_OK) && command((const char *const[]){ "insmod", path, NULL });
}

void unload_modules(const struct bed *bed)
{
	const char *const *modules = bed->modules[on_intel()];
	int i;

	for (i = 0; modules[i]; i++)
		;
	while (i--)
		if (!command((const char *const[]){ "rmmod", modules[i], NULL }))
			die("cannot unload %s", modules[i]);
}

void pause_ms(int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

void *fresh_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	check(memory != MAP_FAILED, "mmap");
	/* Kernels without huge pages refuse, and have none. */
	if (madvise(memory, bytes, MADV_NOHUGEPAGE) && errno != EINVAL)
		check(false, "MADV_NOHUGEPAGE");
	return memory;
}

/* The kernel aligns what may be huge since 6.7 alone: what is too much at both ends goes. */
void *fresh_huge_memory(size_t bytes)
{
	char *memory = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before = -(uintptr_t)memory % HUGE_BYTES;

	check(memory != MAP_FAILED, "mmap");
	if (before)
		drop_memory(memory, before);
	memory += before;
	drop_memory(memory + bytes, HUGE_BYTES - before);
	check(!madvise(memory, bytes, MADV_HUGEPAGE), "MADV_HUGEPAGE");
	return memory;
}

void drop_memory(void *memory, size_t bytes)
{
	check(!munmap(memory, bytes), "munmap");
}

static pthread_t urgent_thread;

void start_urgent_thread(void *(*function)(void *), void *arg)
{
	struct sched_param param = { .sched_priority = 10 };
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &param);
	errno = pthread_create(&urgent_thread, &attr, function, arg);
	check(!errno, "pthread_create");
	pthread_attr_destroy(&attr);
}

void join_urgent_thread(void)
{
	errno = pthread_join(urgent_thread, NULL);
	check(!errno, "pthread_join");
}

/* The contents of a file of /proc, of which there is one copy */
static char *proc_file(const char *path)
{
	static char text[1 << 18];
	size_t length = 0;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	check(fd >= 0, path);
	while ((n = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += n;
	check(n == 0, path);
	close(fd);
	text[length] = 0;
	return text;
}

#define MEMINFO	"/proc/meminfo"

long long meminfo(const char *field)
{
	char *at = strstr(proc_file(MEMINFO), field);

	if (!at)
		return 0;
	return strtoll(strchr(at, ':') + 1, NULL, 10) * 1024;
}

/* MemFree leaves out the pages that each CPU keeps for itself, some megabytes. */
long long free_memory(void)
{
	char *line = proc_file("/proc/zoneinfo");
	long long pages = 0, n;

	for (; line; line = strchr(line + 1, '\n'))
		if (sscanf(line, "\n pages free %lld", &n) == 1 ||
		    sscanf(line, "\n count: %lld", &n) == 1)
			pages += n;
	return pages * sysconf(_SC_PAGESIZE);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double values[REPEAT])
{
	qsort(values, REPEAT, sizeof(*values), compare);
	return values[REPEAT / 2];
}

/*
 * How long the CPU has idled. The emulator's clock jumps over idle time to the next timer, so
 * this is what has to be taken off a span to have its instructions. The file has nanoseconds;
 * /proc/stat would have hundredths of a second.
 */
static uint64_t idle_time(void)
{
	char *at = strstr(proc_file("/proc/timer_list"), ".idle_sleeptime");

	if (!at)
		die("/proc/timer_list: no idle_sleeptime");
	return strtoull(strchr(at, ':') + 1, NULL, 10);
}

static uint64_t nanoseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* By the emulator's clock: one where the host is QEMU, less in Bochs */
static double instructions_per_nanosecond(void)
{
	static double rate;
	uint64_t start[2];

	if (!rate) {
		start[0] = now();
		start[1] = nanoseconds();
		pause_ms(1000);
		rate = (double)(now() - start[0]) / (nanoseconds() - start[1]);
	}
	return rate;
}

void span_begin(struct span *span)
{
	instructions_per_nanosecond();
	span->idle = idle_time();
	span->start = now();
}

double span_end(const struct span *span, double *idle)
{
	double all = now() - span->start;
	double idled = (idle_time() - span->idle) * instructions_per_nanosecond();

	if (idle)
		*idle = idled;
	return all - idled;
}
