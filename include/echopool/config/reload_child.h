/*
 * Reading the configuration again while the server runs, in a short-lived child: the program
 * itself, which prints what is in effect (-T) or what is wrong. Whatever is in the file, and
 * whatever libconfig makes of it, happens there. Called by the main thread, which goes on serving
 * signals meanwhile.
 */
#ifndef ECHOPOOL_CONFIG_RELOAD_CHILD_H
#define ECHOPOOL_CONFIG_RELOAD_CHILD_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "echopool/config/settings.h"

/* How long the child may take. */
#define RELOAD_TIMEOUT_MS 2000

/* The file and the -o overrides of the command line, which outlive the server. */
struct config_source {
	const char *file; /* NULL: none */
	char *const *overrides;
	size_t override_count;
};

/* What the child writes to one of its outputs. */
struct reload_child_output {
	int fd; /* -1: it has ended */
	char *text;
	size_t bytes;
};

struct reload_child {
	pid_t pid;     /* 0: none is there */
	bool ended;    /* with status; see waitpid(2) */
	bool killed;   /* and not yet ended */
	bool given_up; /* killed, and does not end: it waits for something outside */
	int status;
	struct reload_child_output settings;
	struct reload_child_output messages;
	uint64_t deadline_ns;
	bool too_long;  /* it wrote more than it can have to say */
	bool timed_out; /* it did not say all in its time */
};

enum reload_result { RELOAD_PENDING, RELOAD_READ, RELOAD_REFUSED };

/* A reload that does nothing yet. */
void reload_child_init(struct reload_child *r);

/*
 * What the child would lack in this process's world, as a clause; NULL: nothing. source has a file.
 */
const char *reload_child_lacks(const struct config_source *source);

/*
 * Starts the child. Returns false when it cannot be had, or when the one before has not ended yet;
 * the log has said why.
 */
bool reload_child_start(struct reload_child *r, const struct config_source *source);

/* What to wait for: both outputs; an output that has ended has fd -1, which poll(2) leaves out. */
void reload_child_fill_poll(const struct reload_child *r, struct pollfd fds[static 2]);

/* Whether a reload is under way. */
bool reload_child_is_reading(const struct reload_child *r);

/* Tells that a process has ended and was reaped, the child or another one. */
void reload_child_ended(struct reload_child *r, pid_t pid, int status);

/*
 * While a reload is under way: goes on after poll(2), after SIGCHLD, or at the deadline. It never
 * waits: a child that does not end when it is killed is left to itself. RELOAD_READ: the file is
 * right, and s holds the settings, which the caller frees with settings_free(). RELOAD_REFUSED: the
 * log has said why.
 */
enum reload_result reload_child_continue(struct reload_child *r, struct settings *s);

/* Kills the child, if one runs, and forgets it. */
void reload_child_abort(struct reload_child *r);

#endif
