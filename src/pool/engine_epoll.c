/*
 * The engine that waits in epoll, and receives and sends when that says so; see engine.h.
 *
 * The set is level-triggered: what one turn leaves in a socket is reported again after the other
 * connections had their turn. No event names a connection that is gone: a descriptor is at most
 * once in a batch of events, during the batch a connection is closed only for its own event, and
 * timeouts come after the batch.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "echopool/base/thread.h"
#include "echopool/pool/conn_io.h"
#include "echopool/pool/engine.h"

/* Many busy connections share one epoll_wait; more than these would only delay the bell. */
#define EVENTS_PER_WAIT 128

/* The worker's thread only. */
struct epoll_engine {
	struct engine engine;
	int fd;
	size_t buffer_bytes;
	unsigned char *buffer;
	int count, next; /* of events */
	struct epoll_event events[EVENTS_PER_WAIT];
};

static struct epoll_engine *of(struct engine *e)
{
	return (struct epoll_engine *)e;
}

static int begin(struct engine *engine)
{
	(void)engine;
	return 0;
}

/* Has epoll watch for what the connection wants; operation is EPOLL_CTL_ADD or EPOLL_CTL_MOD. */
static bool set_interest(const struct epoll_engine *e, int operation, struct conn *c)
{
	struct epoll_event event = {.events = c->pending ? EPOLLOUT : EPOLLIN, .data.ptr = c};

	if (epoll_ctl(e->fd, operation, c->fd, &event) == 0)
		return true;
	c->error = errno;
	return false;
}

static bool watch(struct engine *engine, struct conn *c)
{
	return set_interest(of(engine), EPOLL_CTL_ADD, c);
}

static unsigned int wait_for_events(struct engine *engine, int timeout_ms)
{
	struct epoll_engine *e = of(engine);

	e->next = 0;
	e->count = epoll_wait(e->fd, e->events, EVENTS_PER_WAIT, timeout_ms);
	if (e->count < 0 && errno != EINTR)
		fail(errno, "epoll_wait");
	return e->count > 0 ? (unsigned int)e->count : 0;
}

/* The bell, which is the null pointer, only ends the wait: queue_is_rung() says what it is for. */
static struct conn *next(struct engine *engine)
{
	struct epoll_engine *e = of(engine);

	while (e->next < e->count) {
		struct conn *c = e->events[e->next++].data.ptr;

		if (c)
			return c;
	}
	return NULL;
}

/*
 * close() takes a descriptor out of the set only if nobody else holds its file (epoll(7), Q6), and
 * until then an event could name a connection that is freed. The child of a reload holds it until
 * it has closed what it inherits; whoever reads /proc/PID/fdinfo, as lsof(8) does, or lists
 * /proc/PID/fd, holds it for a moment, and no agreement with them is possible. A connection that
 * could not be watched is not in the set.
 */
static void take_out(const struct epoll_engine *e, const struct conn *c)
{
	if (epoll_ctl(e->fd, EPOLL_CTL_DEL, c->fd, NULL) != 0 && errno != ENOENT)
		fail(errno, "epoll_ctl");
}

static enum conn_want serve(struct engine *engine, struct conn *c)
{
	struct epoll_engine *e = of(engine);
	const bool wrote = c->pending != NULL;
	enum conn_want want = conn_serve(c, e->buffer, e->buffer_bytes, engine->stats);

	if (want != CONN_WANT_CLOSE && (c->pending != NULL) != wrote &&
	    !set_interest(e, EPOLL_CTL_MOD, c))
		want = conn_failed(c, c->error);
	if (want == CONN_WANT_CLOSE)
		take_out(e, c);
	return want;
}

/* When the process was stopped for a while, or a batch was full, epoll has not reported it yet. */
static bool is_ready(struct engine *engine, struct conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = c->pending ? POLLOUT : POLLIN};
	int n;

	(void)engine;
	do
		n = poll(&p, 1, 0);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

static enum conn_want forget(struct engine *engine, struct conn *c)
{
	take_out(of(engine), c);
	return c->pending ? CONN_WANT_WRITE : CONN_WANT_READ;
}

/* Takes all descriptors out of the set at once, and looks at none of them. */
static void forget_all(struct engine *engine, struct deadline_list *reading,
		       struct deadline_list *writing)
{
	struct epoll_engine *e = of(engine);

	(void)reading;
	(void)writing;
	close(e->fd);
	e->fd = -1;
	e->count = 0;
}

static void tune(struct engine *engine, size_t buffer_bytes)
{
	struct epoll_engine *e = of(engine);
	unsigned char *buffer;

	if (buffer_bytes == e->buffer_bytes)
		return;
	buffer = malloc(buffer_bytes);
	if (!buffer)
		return;
	free(e->buffer);
	e->buffer = buffer;
	e->buffer_bytes = buffer_bytes;
}

static void close_engine(struct engine *engine)
{
	struct epoll_engine *e = of(engine);

	if (e->fd >= 0)
		close(e->fd);
	free(e->buffer);
	free(e);
}

static const struct engine_calls calls = {
	.begin = begin,
	.watch = watch,
	.wait = wait_for_events,
	.next = next,
	.serve = serve,
	.is_ready = is_ready,
	.forget = forget,
	.forget_all = forget_all,
	.tune = tune,
	.close = close_engine,
};

/* Edge-triggered, so that it need not be read. */
static bool watch_bell(const struct epoll_engine *e, const struct bell *bell)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};

	return epoll_ctl(e->fd, EPOLL_CTL_ADD, bell->fd, &event) == 0;
}

struct engine *engine_epoll_open(const struct bell *bell, size_t buffer_bytes)
{
	struct epoll_engine *e = calloc(1, sizeof(*e));
	int error;

	if (!e)
		return NULL;
	e->engine.calls = &calls;
	e->engine.most = EVENTS_PER_WAIT;
	e->buffer_bytes = buffer_bytes;
	e->buffer = malloc(buffer_bytes);
	e->fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->fd >= 0 && e->buffer && watch_bell(e, bell))
		return &e->engine;
	error = e->buffer ? errno : ENOMEM;
	close_engine(&e->engine);
	errno = error;
	return NULL;
}
