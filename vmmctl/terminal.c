// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmmctl: the terminal. Its old settings are the one thing that must survive
 * this process, so they are put back at every end that it can have.
 */
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "machine.h"

static struct termios saved;
static volatile sig_atomic_t raw;

void terminal_restore(void)
{
	if (!raw)
		return;
	raw = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

/* tcsetattr() and raise() may be called here; the handler is gone already */
static void crashed(int number)
{
	terminal_restore();
	raise(number);
}

bool terminal_raw(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	struct sigaction action = { .sa_handler = crashed, .sa_flags = SA_RESETHAND };
	struct termios settings;
	unsigned int i;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved))
		return false;
	for (i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		sigaction(crashes[i], &action, NULL);
	atexit(terminal_restore);
	settings = saved;
	cfmakeraw(&settings);
	raw = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &settings);
	return true;
}
