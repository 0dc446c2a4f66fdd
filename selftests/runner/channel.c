// SPDX-License-Identifier: GPL-2.0-only
/*
 * channel: a command's standard input, output and status over a serial line.
 *
 *   channel send            copy standard input to standard output, encoded
 *   channel run TTY FILE    run the command of FILE on TTY, decoding its input
 *   channel login TTY FILE  run it with TTY as its controlling terminal
 *   channel pty LINK COMMAND [ARG]...
 *                           run an emulator; LINK leads to a terminal that it
 *                           is to open as its serial line, and whose other
 *                           side is standard input and output
 *
 * A serial line cannot say "end of file". So what is sent is escaped: a DLE
 * byte in the data becomes DLE DLE, and DLE EOT is the end. What comes back is
 * not encoded. FILE holds the command's words, each ended by a NUL byte. The
 * exit status is the command's, or 128 + N where signal N ended it, or 127
 * where it could not be started.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define DLE	0x10
#define EOT	0x04

static void write_all(int fd, const unsigned char *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			exit(0);
		p += done;
		n -= done;
	}
}

static int send_stdin(void)
{
	static const unsigned char end[] = { DLE, EOT };
	unsigned char in[4096], out[2 * sizeof(in)];
	ssize_t n;

	while ((n = read(STDIN_FILENO, in, sizeof(in))) > 0) {
		size_t len = 0;

		for (ssize_t i = 0; i < n; i++) {
			if (in[i] == DLE)
				out[len++] = DLE;
			out[len++] = in[i];
		}
		write_all(STDOUT_FILENO, out, len);
	}
	write_all(STDOUT_FILENO, end, sizeof(end));
	return 0;
}

struct decoder {
	unsigned char *buf;	/* decoded, not yet taken by the command */
	size_t start, end, size;
	int escaped, ended;
};

static void decode(struct decoder *d, const unsigned char *p, size_t n)
{
	if (d->start == d->end) {
		d->start = 0;
		d->end = 0;
	}
	if (d->end + n > d->size) {
		d->size = 2 * (d->end + n);
		d->buf = realloc(d->buf, d->size);
		if (!d->buf)
			err(1, "channel");
	}
	for (size_t i = 0; i < n && !d->ended; i++) {
		if (d->escaped) {
			d->escaped = 0;
			if (p[i] == EOT)
				d->ended = 1;
			else
				d->buf[d->end++] = p[i];
		} else if (p[i] == DLE) {
			d->escaped = 1;
		} else {
			d->buf[d->end++] = p[i];
		}
	}
}

/*
 * Feed the command. The line has no flow control: it must always be read, so
 * what the command does not take yet is kept here, whatever its size.
 */
static void feed(int tty, int out)
{
	struct decoder d = { 0 };

	while (!d.ended || d.start < d.end) {
		unsigned char in[4096];
		struct pollfd fds[2] = {
			{ .fd = d.ended ? -1 : tty, .events = POLLIN },
			{ .fd = d.start < d.end ? out : -1, .events = POLLOUT },
		};
		ssize_t n;

		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents) {
			n = read(tty, in, sizeof(in));
			if (n <= 0)
				return;
			decode(&d, in, n);
		}
		if (fds[1].revents & POLLERR)
			return;
		if (fds[1].revents) {
			n = write(out, d.buf + d.start, d.end - d.start);
			if (n < 0 && errno != EAGAIN)
				return;
			d.start += n > 0 ? n : 0;
		}
	}
}

static char **read_command(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char **argv, *p;
	size_t i = 0;

	if (fd < 0 || fstat(fd, &st))
		err(127, "%s", path);
	p = malloc(st.st_size + 1);
	argv = calloc(st.st_size + 1, sizeof(*argv));
	if (!p || !argv || read(fd, p, st.st_size) != st.st_size)
		err(127, "%s", path);
	for (char *end = p + st.st_size; p < end; p += strlen(p) + 1)
		argv[i++] = p;
	if (!i)
		errx(127, "%s: no command", path);
	return argv;
}

static void set_line(int tty, int terminal)
{
	struct termios t;

	if (tcgetattr(tty, &t))
		err(127, "tcgetattr");
	if (terminal) {
		t.c_iflag = ICRNL | BRKINT;
		t.c_oflag = OPOST | ONLCR;
		t.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL |
			    ECHOKE | IEXTEN;
	} else {
		cfmakeraw(&t);
	}
	t.c_cflag |= CLOCAL | CREAD;
	cfsetspeed(&t, B115200);
	if (tcsetattr(tty, TCSANOW, &t))
		err(127, "tcsetattr");
}

/* What is sent before this is lost: the line was not open. */
static void tell_ready(void)
{
	static const char line[] = "<6>nested: channel is open\n";
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, line, sizeof(line) - 1) < 0)
		err(127, "/dev/kmsg");
	close(fd);
}

static int run(const char *path, const char *file, int terminal)
{
	int tty = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	char **argv = read_command(file);
	int in[2] = { -1, -1 }, status;
	pid_t child, pid;

	if (tty < 0)
		err(127, "%s", path);
	set_line(tty, terminal);
	tell_ready();
	if (!terminal && pipe2(in, O_CLOEXEC))
		err(127, "pipe");

	child = fork();
	if (child < 0)
		err(127, "fork");
	if (!child) {
		setsid();
		if (terminal)
			ioctl(tty, TIOCSCTTY, 0);
		dup2(terminal ? tty : in[0], STDIN_FILENO);
		dup2(tty, STDOUT_FILENO);
		dup2(tty, STDERR_FILENO);
		execvp(argv[0], argv);
		warn("%s", argv[0]);
		_exit(127);
	}
	if (!terminal) {
		close(in[0]);
		pid = fork();
		if (!pid) {
			fcntl(in[1], F_SETFL, O_NONBLOCK);
			signal(SIGPIPE, SIG_IGN);
			feed(tty, in[1]);
			_exit(0);
		}
		close(in[1]);
	}
	do {
		pid = waitpid(child, &status, 0);
	} while (pid < 0 && errno == EINTR);
	tcdrain(tty);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
				     WEXITSTATUS(status);
}

static volatile sig_atomic_t child_ended;

static void on_child(int signal)
{
	child_ended = 1;
}

static void make_raw(int fd)
{
	struct termios t;

	if (!tcgetattr(fd, &t)) {
		cfmakeraw(&t);
		tcsetattr(fd, TCSANOW, &t);
	}
}

/* Until the child ends, and then what the line still holds. */
static void relay(int line)
{
	unsigned char buf[4096];
	sigset_t with_child, without;
	int in = STDIN_FILENO;
	ssize_t n;

	sigemptyset(&with_child);
	sigaddset(&with_child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &with_child, &without);
	for (;;) {
		struct timespec now = { 0 };
		struct pollfd fds[2] = {
			{ .fd = line, .events = POLLIN },
			{ .fd = child_ended ? -1 : in, .events = POLLIN },
		};
		int ready = ppoll(fds, 2, child_ended ? &now : NULL, &without);

		if (ready < 0)
			continue;
		if (!ready && child_ended)
			return;
		if (fds[0].revents) {
			n = read(line, buf, sizeof(buf));
			if (n <= 0 && child_ended)
				return;
			if (n > 0)
				write_all(STDOUT_FILENO, buf, n);
		}
		if (fds[1].revents) {
			n = read(in, buf, sizeof(buf));
			if (n <= 0)
				in = -1;
			else
				write_all(line, buf, n);
		}
	}
}

static int run_on_pty(const char *link, char **command)
{
	int line = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), held, status;
	struct sigaction action = { .sa_handler = on_child };
	const char *name;
	pid_t pid;

	if (line < 0 || grantpt(line) || unlockpt(line))
		err(126, "no pseudo-terminal");
	name = ptsname(line);
	/* Without one that is open, the line counts as hung up. */
	held = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	unlink(link);
	if (held < 0 || symlink(name, link))
		err(126, "%s", link);
	make_raw(held);
	make_raw(STDIN_FILENO);
	sigaction(SIGCHLD, &action, NULL);

	pid = fork();
	if (pid < 0)
		err(126, "fork");
	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, STDIN_FILENO);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execvp(command[0], command);
		warn("%s", command[0]);
		_exit(126);
	}
	relay(line);
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
				     WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "send"))
		return send_stdin();
	if (argc == 4 && !strcmp(argv[1], "run"))
		return run(argv[2], argv[3], 0);
	if (argc == 4 && !strcmp(argv[1], "login"))
		return run(argv[2], argv[3], 1);
	if (argc >= 4 && !strcmp(argv[1], "pty"))
		return run_on_pty(argv[2], argv + 3);
	fprintf(stderr, "usage: channel send | run TTY FILE | login TTY FILE |\n"
			"       pty LINK COMMAND [ARG]...\n");
	return 126;
}
