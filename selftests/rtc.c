// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmmctl's real-time clock: its interrupts go on when a clock is set, the host's or the guest's,
 * back or forward.
 */
/* guests: rtc */
/* also: amd-sanitized */
/* timeout: 120 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"

#define HOUR	3600

extern const unsigned char guest_rtc[], guest_rtc_end[];

FIXTURE(rtc) {
	pid_t pid;
	int to;
	int from;
	struct timespec real;
	struct timespec monotonic;
};

/* In this process, whose descriptors the harness does not need */
static void run_guest(const char *path, int stdin_fd, int stdout_fd)
{
	dup2(stdin_fd, 0);
	dup2(stdout_fd, 1);
	closefrom(3);
	execlp("vmmctl", "vmmctl", "run", "--flat", path, "--memory", "1M", NULL);
	_exit(127);
}

static int ms_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) * 1000 + (now.tv_nsec - start->tv_nsec) / 1000000;
}

/* Three updates, alarms and periods within @ms. What came until then */
static bool goes_on(int fd, int ms)
{
	unsigned int updates = 0, alarms = 0, periods = 0;
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	struct timespec start;
	char c;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (updates < 3 || alarms < 3 || periods < 3) {
		int left = ms - ms_since(&start);

		if (left <= 0 || poll(&ready, 1, left) != 1 || read(fd, &c, 1) != 1) {
			printf("# %u updates, %u alarms, %u periods in %d ms\n", updates, alarms,
			       periods, ms);
			return false;
		}
		updates += c == 'u';
		alarms += c == 'a';
		periods += c == 'p';
	}
	return true;
}

/* What the guest has said before does not count. */
static void forget(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char said[64];

	while (poll(&ready, 1, 0) == 1 && read(fd, said, sizeof(said)) > 0)
		;
}

FIXTURE_SETUP(rtc)
{
	size_t bytes = guest_rtc_end - guest_rtc;
	char path[] = "/tmp/rtc.XXXXXX";
	int fd = mkstemp(path), to[2], from[2];

	ASSERT_LE(0, fd);
	ASSERT_EQ(bytes, write(fd, guest_rtc, bytes));
	close(fd);
	ASSERT_EQ(0, pipe(to));
	ASSERT_EQ(0, pipe(from));
	clock_gettime(CLOCK_REALTIME, &self->real);
	clock_gettime(CLOCK_MONOTONIC, &self->monotonic);
	self->pid = fork();
	if (!self->pid)
		run_guest(path, to[0], from[1]);
	close(to[0]);
	close(from[1]);
	self->to = to[1];
	self->from = from[0];
	EXPECT_TRUE(goes_on(self->from, 20000));
	unlink(path);
}

FIXTURE_TEARDOWN(rtc)
{
	int ms = ms_since(&self->monotonic);

	kill(self->pid, SIGKILL);
	waitpid(self->pid, NULL, 0);
	self->real.tv_sec += ms / 1000;
	clock_settime(CLOCK_REALTIME, &self->real);
}

static void step_host(int seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += seconds;
	clock_settime(CLOCK_REALTIME, &now);
}

TEST_F(rtc, host_sets_its_clock)
{
	step_host(-HOUR);
	forget(self->from);
	EXPECT_TRUE(goes_on(self->from, 8000)) TH_LOG("back");
	step_host(2 * HOUR);
	forget(self->from);
	EXPECT_TRUE(goes_on(self->from, 8000)) TH_LOG("forward");
	step_host(-365 * 24 * HOUR);
	forget(self->from);
	EXPECT_TRUE(goes_on(self->from, 8000)) TH_LOG("far back");
}

static bool goes_on_after(int to, int from, char word)
{
	if (write(to, &word, 1) != 1)
		return false;
	/* It looks twice a second. */
	usleep(1500000);
	forget(from);
	return goes_on(from, 8000);
}

TEST_F(rtc, guest_sets_its_clock)
{
	EXPECT_TRUE(goes_on_after(self->to, self->from, 'f')) TH_LOG("forward");
	EXPECT_TRUE(goes_on_after(self->to, self->from, 'b')) TH_LOG("back");
}

TEST_F(rtc, guest_sets_its_clock_with_set)
{
	EXPECT_TRUE(goes_on_after(self->to, self->from, 'F')) TH_LOG("forward");
	EXPECT_TRUE(goes_on_after(self->to, self->from, 'B')) TH_LOG("back");
}

TEST_HARNESS_MAIN
