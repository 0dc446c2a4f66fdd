// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmmctl on a terminal: keys go to the guest as they are, Ctrl-A is vmmctl's,
 * and the terminal is afterwards as it was, however the run ended.
 */
/* also: amd-sanitized */
/* timeout: 60 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "kselftest_harness.h"

#define STATUS_LEFT	10

/* Real mode: sends back what it receives; "Q" powers off. Says ">" first */
static const unsigned char echo[] = {
	0xb0, '>', 0xba, 0xf8, 0x03, 0xee,	/* mov $'>', %al; outb %al, $0x3f8 */
	0xba, 0xfd, 0x03,			/* 1: mov $0x3fd, %dx */
	0xec, 0xa8, 0x01, 0x74, 0xf8,		/* inb; test $1, %al; jz 1b */
	0xba, 0xf8, 0x03, 0xec,			/* mov $0x3f8, %dx; inb */
	0x3c, 'Q', 0x74, 0x03,			/* cmp $'Q', %al; je 2f */
	0xee, 0xeb, 0xed,			/* outb; jmp 1b */
	0xb8, 0x00, 0x34, 0xba, 0x04, 0x06, 0xef, 0xf4,
};

FIXTURE(terminal) {
	int master;
	int slave;
	pid_t pid;
	struct termios before;
};

FIXTURE_SETUP(terminal)
{
	char path[] = "/tmp/echo.XXXXXX";
	int fd = mkstemp(path);

	ASSERT_LE(0, fd);
	ASSERT_EQ(sizeof(echo), write(fd, echo, sizeof(echo)));
	close(fd);
	ASSERT_EQ(0, openpty(&self->master, &self->slave, NULL, NULL, NULL));
	ASSERT_EQ(0, tcgetattr(self->slave, &self->before));
	self->pid = fork();
	if (!self->pid) {
		setsid();
		dup2(self->slave, 0);
		dup2(self->slave, 1);
		close(self->master);
		execlp("vmmctl", "vmmctl", "run", "--flat", path, "--memory", "1M", NULL);
		_exit(127);
	}
	/* The guest speaks after the terminal is raw */
	struct pollfd ready = { .fd = self->master, .events = POLLIN };
	char c;

	EXPECT_EQ(1, poll(&ready, 1, 20000));
	EXPECT_EQ(1, read(self->master, &c, 1));
	EXPECT_EQ('>', c);
	unlink(path);
}

FIXTURE_TEARDOWN(terminal)
{
	kill(self->pid, SIGKILL);
	waitpid(self->pid, NULL, 0);
	close(self->master);
	close(self->slave);
}

static int read_within(int fd, char *buf, size_t bytes, int ms)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	size_t done = 0;
	ssize_t n;

	while (done < bytes && poll(&ready, 1, ms) == 1) {
		n = read(fd, buf + done, bytes - done);
		if (n <= 0)
			break;
		done += n;
	}
	return done;
}

static int wait_status(pid_t pid)
{
	int status = -1, i;

	for (i = 0; i < 400; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(50000);
	}
	return -1;
}

static bool as_before(int slave, const struct termios *before)
{
	struct termios now;

	if (tcgetattr(slave, &now))
		return false;
	return now.c_iflag == before->c_iflag && now.c_oflag == before->c_oflag &&
	       now.c_cflag == before->c_cflag && now.c_lflag == before->c_lflag &&
	       !memcmp(now.c_cc, before->c_cc, sizeof(now.c_cc));
}

TEST_F(terminal, keys_reach_the_guest)
{
	/* Interrupt, suspend, end of file, carriage return: none of it is the terminal's now */
	static const char keys[] = "a\003\032\004\r\x7f\xffz";
	char back[32];

	EXPECT_FALSE(as_before(self->slave, &self->before));
	ASSERT_EQ(sizeof(keys) - 1, write(self->master, keys, sizeof(keys) - 1));
	ASSERT_EQ(sizeof(keys) - 1, read_within(self->master, back, sizeof(keys) - 1, 20000));
	EXPECT_EQ(0, memcmp(keys, back, sizeof(keys) - 1));
	EXPECT_EQ(0, read_within(self->master, back, 1, 200)) TH_LOG("echoed twice");
	ASSERT_EQ(1, write(self->master, "Q", 1));
	EXPECT_EQ(0, wait_status(self->pid));
	EXPECT_TRUE(as_before(self->slave, &self->before));
}

TEST_F(terminal, escape)
{
	char back[8];

	ASSERT_EQ(4, write(self->master, "\001\001\001?", 4));
	ASSERT_EQ(1, write(self->master, "b", 1));
	ASSERT_EQ(2, read_within(self->master, back, 2, 20000));
	EXPECT_EQ(0, memcmp(back, "\001b", 2)) TH_LOG("one Ctrl-A, and not the question mark");
	ASSERT_EQ(1, write(self->master, "\001", 1));
	usleep(50000);
	ASSERT_EQ(1, write(self->master, "x", 1));
	int status = wait_status(self->pid);

	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(STATUS_LEFT, WEXITSTATUS(status));
	EXPECT_TRUE(as_before(self->slave, &self->before));
}

static void ends_with(struct __test_metadata *_metadata, FIXTURE_DATA(terminal) *self, int number)
{
	int status;

	EXPECT_FALSE(as_before(self->slave, &self->before));
	kill(self->pid, number);
	status = wait_status(self->pid);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(number, WTERMSIG(status));
	EXPECT_TRUE(as_before(self->slave, &self->before));
}

TEST_F(terminal, sigterm)
{
	ends_with(_metadata, self, SIGTERM);
}

TEST_F(terminal, sighup)
{
	ends_with(_metadata, self, SIGHUP);
}

TEST_F(terminal, sigsegv)
{
	ends_with(_metadata, self, SIGSEGV);
}

TEST_F(terminal, terminal_goes_away)
{
	int status;

	close(self->slave);
	close(self->master);
	status = wait_status(self->pid);
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(8, WEXITSTATUS(status));
	self->master = -1;
	self->slave = -1;
}

TEST_HARNESS_MAIN
