/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmmctl: what its files share.
 */
#ifndef VMMCTL_H
#define VMMCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMMCTL_VERSION	"0.1.0"

/*
 * Exit statuses. Odd ones are a guest's debug exit, (code << 1) | 1; so all
 * others are even.
 */
#define STATUS_OK		0	/* of "run": the guest powered off */
#define STATUS_USAGE		2
#define STATUS_RESET		4	/* the guest reset itself, or a triple fault did */
#define STATUS_GUEST		6	/* the guest's state cannot be run on */
#define STATUS_HOST		8	/* module, permission, memory, files */
#define STATUS_LEFT		10	/* Ctrl-A x */

/**
 * struct verb - what vmmctl can be asked to do
 * @name: the first argument
 * @summary: one line
 * @run: its own main(); argv[0] is the verb
 */
struct verb {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

extern const struct verb verb_help, verb_info, verb_run, verb_version;
extern const struct verb *const verbs[];

/* Print "vmmctl: ..." to stderr */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Print all of vmmctl's usage */
void print_usage(void);

/* Numbers as options write them; false if @text is none */
bool parse_number(const char *text, uint64_t *value);
/* Bytes: a number with K, M, G or T behind it; without one, MiB */
bool parse_size(const char *text, uint64_t *bytes);

/* A string in JSON's quotes, to stdout */
void print_json_string(const char *text);

#endif
