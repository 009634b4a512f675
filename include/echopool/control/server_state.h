/*
 * The state of the main thread, which server.c, reload.c, drain.c and the admin endpoint share, the
 * last only to read. Nobody else includes this header; all of it is the main thread's.
 */
#ifndef ECHOPOOL_CONTROL_SERVER_STATE_H
#define ECHOPOOL_CONTROL_SERVER_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/bell.h"
#include "echopool/config/reload_child.h"
#include "echopool/control/parts.h"
#include "echopool/control/report.h"
#include "echopool/control/starvation.h"

/* What systemd is asked for beyond the drain: until the last thread has closed what it holds. */
#define CLOSING_MS UINT64_C(5000)

/* Main thread. */
struct server {
	struct parts parts;
	const struct config_source *source;
	struct bell bell; /* all workers have ended, or the acceptor is broken */
	int signal_fd;
	struct report report;
	struct starvation starvation;
	struct reload_child child;
	bool reload_again; /* SIGHUP came while a reload was under way */
	bool draining;
	bool closed;               /* in a drain: the listeners are */
	const char *drain_why;     /* the first word of the drain's line */
	bool failed;               /* the exit status will be 1 */
	uint64_t lame_duck_end_ns; /* when the drain begins; UINT64_MAX: nothing has asked for it */
	uint64_t drain_deadline_ns;
	uint64_t alive_due_ns;   /* when the watchdog is told next; UINT64_MAX: never */
	uint64_t second_stop_ns; /* from then on another signal to stop ends the drain */
};

/* Says in the log and to systemd where the server listens, and the sizes in effect. */
void server_announce_ready(const struct server *v);

/* Warns of a file that no reload can read again. */
void reload_warn(const struct server *v);

/* Starts to read the file again, or says why not. */
void reload_begin(struct server *v);

/* Goes on with a reload that was begun; applies the settings once they are there. */
void reload_continue(struct server *v);

/*
 * Begins to close the listeners, which may take a moment. why is the first word of the log line,
 * and lives on.
 */
void drain_begin(struct server *v, const char *why);

/*
 * Closes them once that can be done. From then on workers serve what was accepted, and end as soon
 * as they hold nothing.
 */
void drain_continue(struct server *v);

/* Closes what is still open; the workers end at once. */
void drain_end(struct server *v, const char *why);

#endif
