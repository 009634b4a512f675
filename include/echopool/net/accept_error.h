/*
 * What an error of accept4(2) asks for, and how long to pause after it. The acceptor's thread only.
 */
#ifndef ECHOPOOL_NET_ACCEPT_ERROR_H
#define ECHOPOOL_NET_ACCEPT_ERROR_H

#include <stdint.h>

/* What to do after accept4(2). */
enum accept_verdict {
	ACCEPT_TAKEN, /* there is a connection */
	ACCEPT_EMPTY, /* nothing more is waiting */
	ACCEPT_NEXT,  /* that one is gone; try the next */
	ACCEPT_SLOW,  /* that one is gone, and the network may take many: the next, not at once */
	ACCEPT_PAUSE, /* it still waits; trying again at once would only spin */
	ACCEPT_BROKEN /* the listener itself is wrong: a bug */
};

/* The errors of accept4(2) that are counted apart: the four of exhaustion, and all others. */
enum accept_error_kind {
	ACCEPT_EMFILE,
	ACCEPT_ENFILE,
	ACCEPT_ENOBUFS,
	ACCEPT_ENOMEM,
	ACCEPT_OTHER,
	ACCEPT_ERRORS
};

enum accept_error_kind accept_error_kind(int error);

/* "EMFILE", ... or "other". Any thread. */
const char *accept_error_name(enum accept_error_kind kind);

/* The pauses so far; starts as zero. */
struct accept_pauses {
	int last_ms;        /* the last that grew; 0: accept4 succeeded since */
	int logged_error;   /* what the last line was about */
	uint64_t logged_ns; /* and when that was */
};

/* The one place where an errno of accept4(2) becomes what to do. */
enum accept_verdict accept_judge(int error);

/*
 * How many milliseconds to pause after an ACCEPT_SLOW or ACCEPT_PAUSE, which is logged, once a
 * second at most: clients that come and go may make many short pauses.
 */
int accept_pause_ms(struct accept_pauses *p, enum accept_verdict verdict, int error);

/* accept4 has succeeded: the next pause is short again. */
void accept_succeeded(struct accept_pauses *p);

#endif
