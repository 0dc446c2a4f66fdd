// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a test looks at on the host: its log, its MSRs, its counters.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>

#include "vmmtest.h"

int host_cpus(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

unsigned int host_slower(void)
{
	const char *text = getenv("SLOWER");

	return text ? atoi(text) : 1;
}

/* The Makefile has the linker lead to this one. */
unsigned int __wrap_alarm(unsigned int seconds)
{
	return __real_alarm(seconds * host_slower());
}

bool kernel_at_least(int major, int minor)
{
	struct utsname name;
	int have_major = 0, have_minor = 0;

	uname(&name);
	if (sscanf(name.release, "%d.%d", &have_major, &have_minor) != 2)
		fail("a kernel of release %s", name.release);
	return have_major > major || (have_major == major && have_minor >= minor);
}

int pin_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* @state: the letter that /proc/.../stat has for it */
static void wait_for_state(pid_t thread, char state)
{
	u64 end = now_ns() + 20000000000ULL;
	char name[64], line[256];
	const char *behind_name;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/stat", thread);
	do {
		usleep(1000);
		f = fopen(name, "r");
		if (!f || !fgets(line, sizeof(line), f))
			fail("%s: %s", name, strerror(errno));
		fclose(f);
		/* "number (name) state ..." */
		behind_name = strrchr(line, ')');
		if (behind_name && behind_name[1] && behind_name[2] == state)
			return;
	} while (now_ns() < end);
	fail("thread %d does not come to state %c: %s", thread, state, line);
}

void wait_until_asleep(pid_t thread)
{
	wait_for_state(thread, 'S');
}

void wait_until_stuck(pid_t thread)
{
	wait_for_state(thread, 'D');
}

int host_log_mark(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		fail("/dev/kmsg: %s", strerror(errno));
	lseek(fd, 0, SEEK_END);
	return fd;
}

/* What a slow emulated machine makes the kernel say of itself */
static bool is_of_the_machine(const char *text)
{
	static const char *const prefixes[] = {
		"hrtimer: interrupt took", "perf: interrupt took", "clocksource: ", "random: ",
		"workqueue: ", "sched: RT throttling", "rcu: INFO: NMI handler",
	};
	unsigned int i;

	for (i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (!strncmp(text, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

/*
 * The next record that the kernel itself wrote ("priority,sequence,time,flags;text"), or
 * NULL. Facility 0 is the kernel's.
 */
static const char *next_record(int mark, char *record, size_t size)
{
	char *text;
	ssize_t n;

	for (;;) {
		n = read(mark, record, size - 1);
		if (n < 0 && errno == EPIPE)
			continue;	/* overwritten meanwhile: the next one */
		if (n <= 0)
			return NULL;
		record[n] = 0;
		text = strchr(record, ';');
		if (text && atoi(record) < 8 && !is_of_the_machine(text + 1))
			return text + 1;
	}
}

bool host_log_quiet(int mark)
{
	char record[8192];
	bool quiet = true;
	const char *text;

	while ((text = next_record(mark, record, sizeof(record)))) {
		fprintf(stderr, "# the host's log: %.*s\n", (int)strcspn(text, "\n"), text);
		quiet = false;
	}
	close(mark);
	return quiet;
}

int host_log_count(int mark, const char *text)
{
	char record[8192];
	const char *said;
	int count = 0;

	while ((said = next_record(mark, record, sizeof(record))))
		if (strstr(said, text))
			count++;
	return count;
}

int host_msr(int cpu, u32 index, u64 *data)
{
	char name[64];
	int fd, ret = 0;

	snprintf(name, sizeof(name), "/dev/cpu/%d/msr", cpu);
	if (access(name, R_OK) && system("modprobe msr 2>/dev/null"))
		return -ENOENT;
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ENOENT;
	if (pread(fd, data, sizeof(*data), index) != sizeof(*data))
		ret = -errno;
	close(fd);
	return ret;
}

long host_counter(const char *file, const char *name)
{
	size_t length = strlen(name);
	char line[512];
	long value = -1;
	FILE *f = fopen(file, "r");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, length) || !strchr(" :\t", line[length]))
			continue;
		value = atol(line + length + strspn(line + length, " :\t"));
		break;
	}
	fclose(f);
	return value;
}

long read_number(const char *file)
{
	long value = -1;
	FILE *f = fopen(file, "r");

	if (!f)
		return -1;
	if (fscanf(f, "%li", &value) != 1)
		value = -1;
	fclose(f);
	return value;
}

int write_file(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Does each command do its work? What they say is of no interest. */
static bool all_work(const char *const *commands, unsigned int count)
{
	char line[160];
	unsigned int i;

	for (i = 0; i < count; i++) {
		snprintf(line, sizeof(line), "{ %s; } >/dev/null 2>&1", commands[i]);
		if (system(line))
			return false;
	}
	return true;
}

#define ALL_WORK(commands) all_work(commands, sizeof(commands) / sizeof(*(commands)))

void host_disk(void)
{
	static const char *const there[] = { "grep ' " HOST_DISK " ' /proc/mounts" };
	static const char *const make[] = {
		"modprobe loop",
		"mkdir -p " HOST_DISK,
		"truncate -s 8M " HOST_DISK ".image",
		"mke2fs -F " HOST_DISK ".image",
		"mount -t ext4 -o loop " HOST_DISK ".image " HOST_DISK,
	};

	if (!ALL_WORK(there) && !ALL_WORK(make))
		fail("no disk can be made here");
}

bool host_swap(void)
{
	static const char *const there[] = { "grep zram /proc/swaps" };
	static const char *const make[] = {
		"modprobe lzo-rle; modprobe zram",
		"echo 256M >/sys/block/zram0/disksize",
		"mkswap /dev/zram0",
		"swapon /dev/zram0",
	};

	return ALL_WORK(there) || ALL_WORK(make);
}

u64 host_swapped_out(void)
{
	static const char file[] = "/sys/block/zram0/stat";
	FILE *f = fopen(file, "r");
	u64 sectors;

	/* Requests, merges, sectors and time of reads, then those of writes */
	if (!f || fscanf(f, "%*u %*u %*u %*u %*u %*u %llu", &sectors) != 1)
		fail("%s: %s", file, strerror(errno));
	fclose(f);
	return sectors * 512 / PAGE;
}

enum page_place page_place(const void *at)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	u64 entry;

	if (fd < 0 || pread(fd, &entry, sizeof(entry), (uintptr_t)at / PAGE * 8) != sizeof(entry))
		fail("/proc/self/pagemap: %s", strerror(errno));
	close(fd);
	if (entry >> 63)
		return PAGE_PRESENT;
	return entry >> 62 & 1 ? PAGE_SWAPPED : PAGE_NONE;
}

/* The parameters that the host's command line has for it */
static void module_parameters(char *to, size_t size)
{
	char line[2048] = "", *word, *rest = line;
	int fd = open("/proc/cmdline", O_RDONLY);

	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0)
		fail("/proc/cmdline");
	close(fd);
	*to = 0;
	while ((word = strsep(&rest, "\n "))) {
		if (strncmp(word, "vmm.", 4))
			continue;
		strncat(to, word + 4, size - strlen(to) - 2);
		strcat(to, " ");
	}
}

int host_load_vmm(void)
{
	int fd = open("/lib/modules/vmm.ko", O_RDONLY | O_CLOEXEC), ret;
	char parameters[512];

	if (fd < 0)
		return -errno;
	module_parameters(parameters, sizeof(parameters));
	ret = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	return ret;
}

int host_unload_vmm(void)
{
	return syscall(SYS_delete_module, "vmm", O_NONBLOCK) ? -errno : 0;
}
