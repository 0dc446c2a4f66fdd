// SPDX-License-Identifier: GPL-2.0-only
/*
 * A 16550A at 0x3f8, IRQ 4, whose wire is stdin and stdout.
 *
 * Sending takes no time: the transmitter is always empty. Output is gathered
 * until a line ends, the buffer is full or some milliseconds have passed.
 *
 * Input waits in the host until the guest is ready for it: has enabled the
 * receiver's interrupt, or polls. So a guest that clears its FIFO while it sets
 * the port up loses nothing of what was piped in. The main thread reads no
 * more from stdin than there is room for.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "../machine.h"

#define COM1_PORT	0x3f8
#define COM1_GSI	4

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define FCR	IIR		/* for writes */

#define IER_RECEIVE	0x01
#define IER_TRANSMIT	0x02
#define IER_MASK	0x0f
#define IIR_NONE	0x01
#define IIR_TRANSMIT	0x02
#define IIR_RECEIVE	0x04
#define IIR_TIMEOUT	0x0c
#define IIR_FIFOS	0xc0
#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define LCR_DLAB	0x80
#define MCR_OUT2	0x08
#define MCR_LOOP	0x10
#define MCR_MASK	0x1f
#define LSR_DATA	0x01
#define LSR_EMPTY	0x60	/* holding register and shift register */
#define MSR_LINES	0xb0	/* carrier, ready, clear to send */

#define INPUT_SIZE	4096
#define OUTPUT_SIZE	512
#define LOOP_SIZE	16
#define FLUSH_NS	5000000
#define PATIENCE_NS	10000000
#define POLLS		64	/* looks at the line status in a row that count as polling */
#define ESCAPE		1	/* Ctrl-A */

/**
 * struct serial - the port
 * @machine: the machine
 * @lock: all that follows
 * @ier: interrupts enabled
 * @lcr: line control
 * @mcr: modem control
 * @scr: scratch
 * @fcr: FIFO control, as written
 * @divisor: as written; sending takes no time
 * @transmit_pending: the "transmitter empty" interrupt was not yet taken notice of
 * @polls: looks at the line status in a row, without sending
 * @polled: there were so many that the guest polls for input; until it sets the port up again
 * @input: bytes from stdin, a ring
 * @first: the oldest byte in @input
 * @held: bytes in @input
 * @loop: bytes that the guest sent to itself
 * @loop_held: bytes in @loop
 * @output: bytes for stdout, gathered
 * @output_held: bytes in @output
 * @paused: stdin is not read, for want of room
 * @timer_armed: the flush timer runs
 * @level: of the IRQ, as last told to the module
 * @timer: timerfd for the flush
 * @stdin_watch: calls when stdin can be read
 * @terminal: stdin is a terminal
 * @escaped: the last byte from it was ESCAPE
 */
struct serial {
	struct machine *machine;
	pthread_mutex_t lock;
	uint8_t ier, lcr, mcr, scr, fcr;
	uint16_t divisor;
	bool transmit_pending;
	unsigned int polls;
	bool polled;
	uint8_t input[INPUT_SIZE];
	unsigned int first, held;
	uint8_t loop[LOOP_SIZE];
	unsigned int loop_held;
	char output[OUTPUT_SIZE];
	unsigned int output_held;
	bool timer_armed;
	bool paused;
	bool level;
	int timer;
	struct watch *stdin_watch;
	bool terminal;
	bool escaped;
};

/* ---- output ---- */

static bool can_write(int ms)
{
	struct pollfd fd = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&fd, 1, ms) == 1;
}

/*
 * With the lock. A reader that does not read holds up the vCPU, until it is to give up because
 * the machine is stopped. A reader that went away stops it.
 */
static void flush_output(struct serial *serial, bool give_up)
{
	unsigned int done = 0;
	ssize_t n;

	while (done < serial->output_held) {
		n = write(STDOUT_FILENO, serial->output + done, serial->output_held - done);
		if (n >= 0) {
			done += n;
		} else if (errno == EAGAIN) {
			can_write(100);
		} else if (errno != EINTR) {
			machine_stop(serial->machine, STATUS_HOST,
				     "cannot write the guest's output: %s", strerror(errno));
			break;
		}
		if (n < 0 && give_up && machine_stopped(serial->machine))
			break;
	}
	serial->output_held = 0;
}

static void arm_timer(struct serial *serial)
{
	const struct itimerspec soon = { .it_value.tv_nsec = FLUSH_NS };

	serial->timer_armed = true;
	timerfd_settime(serial->timer, 0, &soon, NULL);
}

static void put_output(struct serial *serial, uint8_t byte)
{
	serial->output[serial->output_held++] = byte;
	if (byte == '\n' || serial->output_held == OUTPUT_SIZE)
		flush_output(serial, true);
	else if (!serial->timer_armed)
		arm_timer(serial);
}

/* The main thread's: a vCPU that is held up in flush_output() must not hold it up, too */
static bool try_lock(struct serial *serial)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += PATIENCE_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	return !pthread_mutex_timedlock(&serial->lock, &until);
}

static void timer_ready(struct machine *machine, void *opaque)
{
	struct serial *serial = opaque;
	uint64_t times;

	if (!try_lock(serial))
		return;
	if (read(serial->timer, &times, sizeof(times)) == sizeof(times)) {
		serial->timer_armed = false;
		if (can_write(0))
			flush_output(serial, true);
		else if (serial->output_held)
			arm_timer(serial);
	}
	pthread_mutex_unlock(&serial->lock);
}

/* ---- input ---- */

static bool receiving(const struct serial *serial)
{
	return !(serial->mcr & MCR_LOOP) &&
	       ((serial->ier & IER_RECEIVE) || serial->polled);
}

static bool has_data(const struct serial *serial)
{
	if (serial->mcr & MCR_LOOP)
		return serial->loop_held;
	return serial->held && receiving(serial);
}

static uint8_t take_loop(struct serial *serial)
{
	uint8_t byte = serial->loop[0];

	memmove(serial->loop, serial->loop + 1, --serial->loop_held);
	return byte;
}

static uint8_t take_data(struct serial *serial)
{
	uint8_t byte;

	if (!has_data(serial))
		return 0;
	if (serial->mcr & MCR_LOOP)
		return take_loop(serial);
	byte = serial->input[serial->first];
	serial->first = (serial->first + 1) % INPUT_SIZE;
	serial->held--;
	if (serial->paused && serial->held < INPUT_SIZE / 2) {
		serial->paused = false;
		machine_enable_watch(serial->machine, serial->stdin_watch, true);
	}
	return byte;
}

static void put_input(struct serial *serial, uint8_t byte)
{
	serial->input[(serial->first + serial->held++) % INPUT_SIZE] = byte;
}

/* Ctrl-A x leaves, Ctrl-A Ctrl-A is a Ctrl-A; anything else behind a Ctrl-A is dropped */
static void type_byte(struct serial *serial, uint8_t byte)
{
	if (!serial->terminal) {
		put_input(serial, byte);
	} else if (serial->escaped) {
		serial->escaped = false;
		if (byte == 'x' || byte == 'X')
			machine_stop(serial->machine, STATUS_LEFT, NULL);
		else if (byte == ESCAPE || byte == 'a')
			put_input(serial, ESCAPE);
	} else if (byte == ESCAPE) {
		serial->escaped = true;
	} else {
		put_input(serial, byte);
	}
}

/* ---- interrupts ---- */

static uint8_t interrupt(const struct serial *serial)
{
	if ((serial->ier & IER_RECEIVE) && has_data(serial))
		return IIR_RECEIVE;
	if ((serial->ier & IER_TRANSMIT) && serial->transmit_pending)
		return IIR_TRANSMIT;
	return IIR_NONE;
}

static void update_irq(struct serial *serial)
{
	bool level = interrupt(serial) != IIR_NONE && (serial->mcr & MCR_OUT2) &&
		     !(serial->mcr & MCR_LOOP);

	if (level == serial->level)
		return;
	serial->level = level;
	vmm_irq_line(serial->machine->vm, COM1_GSI, level);
}

/* A file or a pipe may end; a terminal in raw mode does so only by going away */
static void end_input(struct serial *serial)
{
	machine_enable_watch(serial->machine, serial->stdin_watch, false);
	if (serial->terminal)
		machine_stop(serial->machine, STATUS_HOST, "the terminal has gone away");
}

static void stdin_ready(struct machine *machine, void *opaque)
{
	struct serial *serial = opaque;
	uint8_t buf[512];
	size_t room;
	ssize_t i, n;

	if (!try_lock(serial))
		return;
	room = INPUT_SIZE - serial->held;
	if (!room) {
		serial->paused = true;
		machine_enable_watch(machine, serial->stdin_watch, false);
		goto out;
	}
	n = read(STDIN_FILENO, buf, room < sizeof(buf) ? room : sizeof(buf));
	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		end_input(serial);
	for (i = 0; i < n; i++)
		type_byte(serial, buf[i]);
	update_irq(serial);
out:
	pthread_mutex_unlock(&serial->lock);
}

/* ---- registers ---- */

static void transmit(struct serial *serial, uint8_t byte)
{
	serial->polls = 0;
	if (!(serial->mcr & MCR_LOOP))
		put_output(serial, byte);
	else if (serial->loop_held < LOOP_SIZE)
		serial->loop[serial->loop_held++] = byte;
	serial->transmit_pending = true;
}

static void write_register(struct serial *serial, unsigned int reg, uint8_t value)
{
	bool dlab = serial->lcr & LCR_DLAB;

	switch (reg) {
	case DATA:
		if (dlab)
			serial->divisor = (serial->divisor & 0xff00) | value;
		else
			transmit(serial, value);
		break;
	case IER:
		if (dlab) {
			serial->divisor = (serial->divisor & 0x00ff) | value << 8;
			break;
		}
		/* Enabling it while the transmitter is empty raises it at once. */
		if (value & ~serial->ier & IER_TRANSMIT)
			serial->transmit_pending = true;
		serial->ier = value & IER_MASK;
		break;
	case FCR:
		serial->fcr = value;
		serial->polled = false;
		if (value & FCR_CLEAR_RX)
			serial->loop_held = 0;
		break;
	case LCR:
		serial->lcr = value;
		break;
	case MCR:
		serial->mcr = value & MCR_MASK;
		break;
	case SCR:
		serial->scr = value;
		break;
	}
}

static uint8_t read_iir(struct serial *serial)
{
	uint8_t cause = interrupt(serial);

	if (cause == IIR_TRANSMIT)
		serial->transmit_pending = false;
	else if (cause == IIR_RECEIVE && (serial->fcr & FCR_ENABLE))
		cause = IIR_TIMEOUT;
	return cause | (serial->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct serial *serial)
{
	if (++serial->polls == POLLS)
		serial->polled = true;
	return LSR_EMPTY | (has_data(serial) ? LSR_DATA : 0);
}

/* In loop mode the four outputs are the four inputs */
static uint8_t read_msr(const struct serial *serial)
{
	uint8_t mcr = serial->mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_LINES;
	return (mcr & 0x02) << 3 | (mcr & 0x01) << 5 | (mcr & 0x0c) << 4;
}

static uint8_t read_register(struct serial *serial, unsigned int reg)
{
	bool dlab = serial->lcr & LCR_DLAB;

	switch (reg) {
	case DATA:
		return dlab ? serial->divisor & 0xff : take_data(serial);
	case IER:
		return dlab ? serial->divisor >> 8 : serial->ier;
	case IIR:
		return read_iir(serial);
	case LCR:
		return serial->lcr;
	case MCR:
		return serial->mcr;
	case LSR:
		return read_lsr(serial);
	case MSR:
		return read_msr(serial);
	default:
		return serial->scr;
	}
}

static int access_port(void *opaque, struct vmm_vcpu *vcpu, struct vmm_access *access)
{
	struct serial *serial = opaque;
	unsigned int i, reg = access->address - COM1_PORT;

	pthread_mutex_lock(&serial->lock);
	/* A wider access is one to each of the registers. */
	for (i = 0; i < access->size && reg + i <= SCR; i++) {
		if (access->write) {
			write_register(serial, reg + i, access->data >> 8 * i & 0xff);
		} else {
			access->data &= ~(0xffULL << 8 * i);
			access->data |= (uint64_t)read_register(serial, reg + i) << 8 * i;
		}
	}
	update_irq(serial);
	pthread_mutex_unlock(&serial->lock);
	return 0;
}

static struct serial com1 = { .divisor = 12, .timer = -1 };

/* No vCPU runs any more. After a signal, what cannot be written at once is given up */
static void last_output(void)
{
	bool hurry = com1.machine->signal;

	if (!hurry || can_write(0))
		flush_output(&com1, hurry);
}

static int create(struct machine *machine)
{
	com1.machine = machine;
	pthread_mutex_init(&com1.lock, NULL);
	com1.terminal = isatty(STDIN_FILENO);
	com1.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (com1.timer < 0) {
		complain("serial: timerfd: %s", strerror(errno));
		return -errno;
	}
	machine_watch(machine, com1.timer, timer_ready, &com1);
	com1.stdin_watch = machine_watch(machine, STDIN_FILENO, stdin_ready, &com1);
	machine->last_output = last_output;
	return machine_add(machine, "serial", VMM_BUS_IO, COM1_PORT, 8, access_port, &com1);
}

static const struct device_type serial_type = {
	.name = "serial",
	.create = create,
};

DEVICE(serial_type);
