/*
 * What an error of accept4(2) asks for; see the header. Called by the acceptor.
 */
#include "echopool/net/accept_error.h"

#include <errno.h>
#include <string.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"

/* A pause begins with the first, doubles while the error lasts, and ends with a success. */
#define PAUSE_MIN_MS 10
#define PAUSE_MAX_MS 1000

enum accept_verdict accept_judge(int error)
{
	switch (error) {
	case EAGAIN:
#if EWOULDBLOCK != EAGAIN
	case EWOULDBLOCK:
#endif
		return ACCEPT_EMPTY;
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
		return ACCEPT_NEXT;
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
	case EFAULT:
		return ACCEPT_BROKEN;
	/* Errors of the connection itself that Linux hands on (accept(2)). */
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENONET:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case EPERM:
		return ACCEPT_SLOW;
	/* EMFILE, ENFILE, ENOBUFS, ENOMEM. */
	default:
		return ACCEPT_PAUSE;
	}
}

static void log_pause(struct accept_pauses *p, int error)
{
	const uint64_t now_ns = clock_now_ns();

	if (error == p->logged_error && now_ns - p->logged_ns < NS_PER_S)
		return;
	p->logged_error = error;
	p->logged_ns = now_ns;
	log_warning("accept: %s; pausing for %d ms and longer until it succeeds", strerror(error),
		    PAUSE_MIN_MS);
}

int accept_pause_ms(struct accept_pauses *p, enum accept_verdict verdict, int error)
{
	log_pause(p, error);
	if (verdict == ACCEPT_SLOW)
		return PAUSE_MIN_MS;
	p->last_ms = p->last_ms ? p->last_ms * 2 : PAUSE_MIN_MS;
	if (p->last_ms > PAUSE_MAX_MS)
		p->last_ms = PAUSE_MAX_MS;
	return p->last_ms;
}

void accept_succeeded(struct accept_pauses *p)
{
	p->last_ms = 0;
}

enum accept_error_kind accept_error_kind(int error)
{
	switch (error) {
	case EMFILE:
		return ACCEPT_EMFILE;
	case ENFILE:
		return ACCEPT_ENFILE;
	case ENOBUFS:
		return ACCEPT_ENOBUFS;
	case ENOMEM:
		return ACCEPT_ENOMEM;
	default:
		return ACCEPT_OTHER;
	}
}

const char *accept_error_name(enum accept_error_kind kind)
{
	static const char *const names[ACCEPT_ERRORS] = {"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM",
							 "other"};

	return names[kind];
}
