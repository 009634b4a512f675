/*
 * Whether io_uring works here: what the engine needs is tried once on a pair of sockets, so that
 * neither the kernel's version nor its lists of operations need be trusted. Main thread, at start.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echopool/pool/engine.h"

#define TRIALS   4
#define TRIAL_MS 250

/* Waits for c, also beyond what is nobody's. False: nothing has happened on it. */
static bool happens(struct engine *e, struct conn *c)
{
	for (int i = 0; i < TRIALS; i++) {
		e->calls->wait(e, TRIAL_MS);
		if (e->calls->next(e) == c)
			return true;
	}
	return false;
}

/* Reads what was echoed to the other end. */
static bool is_echoed(int fd)
{
	char text[8];

	return recv(fd, text, sizeof(text), MSG_DONTWAIT) == 4 && memcmp(text, "echo", 4) == 0;
}

/* Fills the way to the other end, and sends more: the echo of that has to become pending. */
static bool try_slow_reader(struct engine *e, struct conn *c, int peer)
{
	static const char bytes[4096];

	while (send(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	return send(peer, "echo", 4, MSG_NOSIGNAL) == 4 && happens(e, c) &&
	       e->calls->serve(e, c) == CONN_WANT_READ && happens(e, c) &&
	       e->calls->serve(e, c) == CONN_WANT_WRITE;
}

static const char *try_echo(struct engine *e, struct conn *c, int peer)
{
	if (!e->calls->watch(e, c) || e->calls->is_ready(e, c))
		return "it does not wait on a socket";
	if (send(peer, "echo", 4, MSG_NOSIGNAL) != 4 || !happens(e, c) ||
	    e->calls->serve(e, c) != CONN_WANT_READ)
		return "it does not receive into a shared buffer";
	e->calls->wait(e, 0);
	if (e->calls->next(e) || !is_echoed(peer))
		return "it does not send";
	if (!try_slow_reader(e, c, peer))
		return "it does not stop where a send is not taken whole";
	if (e->calls->forget(e, c) != CONN_WANT_WRITE || c->flight != CONN_FLIGHT_NONE)
		return "it does not cancel";
	return NULL;
}

static const char *try_engine(struct engine *e)
{
	static struct worker_stats stats; /* a large one, of the main thread alone */
	struct conn c = {.fd = -1};
	const char *why;
	int error;
	int pair[2];

	e->stats = &stats;
	error = e->calls->begin(e);
	if (error)
		return strerror(error);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		return strerror(errno);
	c.fd = pair[0];
	why = try_echo(e, &c, pair[1]);
	free(c.pending);
	close(pair[0]);
	close(pair[1]);
	return why;
}

bool engine_uring_works(const char **why)
{
	struct bell bell;
	struct engine *e = NULL;

	*why = NULL;
	if (bell_open(&bell))
		e = engine_uring_open(&bell, 4096);
	*why = e ? try_engine(e) : strerror(errno);
	if (e)
		e->calls->close(e);
	bell_close(&bell);
	return *why == NULL;
}
