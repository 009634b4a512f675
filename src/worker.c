/*
 * One worker's loop: take, wait, serve. Everything but worker_new(), worker_start(), worker_join()
 * and worker_free(), which the pool's owner calls, runs in the worker's own thread, and so nothing
 * here needs a lock: connections come through the queue, and figures are single atomic counters.
 *
 * A worker that holds nothing sleeps in queue_take(). One that holds connections sleeps in
 * epoll_wait, with its bell in the same set, and goes to queue_take() when the bell was rung or a
 * connection ended. The echo itself takes no lock.
 *
 * The set is level-triggered: what one turn leaves in a socket is reported again after its
 * neighbours have had theirs. Each descriptor appears at most once in a batch of events and only
 * its own event ends a connection, so no event of a batch can name one that is gone.
 */
#include "echopool/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "echopool/clock.h"
#include "echopool/conn.h"
#include "echopool/log.h"
#include "echopool/thread.h"

/* Enough that many busy connections share one epoll_wait; more would only delay the bell. */
#define EVENTS_PER_WAIT 128

struct worker {
	struct worker_stats stats; /* written by its thread, read by any */

	/* Set before the thread starts. */
	unsigned int index;
	struct worker_options options;
	struct bell bell;
	int epoll_fd;
	pthread_t thread; /* the pool's owner */

	/* Its thread only. */
	unsigned char *buffer;
	struct conn *conns; /* those it holds */
	uint32_t held;      /* how many */
	bool look;          /* at the queue: the bell was rung or a connection ended */
};

static bool watch_bell(struct worker *w)
{
	/* Edge-triggered, so that it need not be read; a null pointer tells it from connections. */
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};

	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->bell.fd, &event) == 0;
}

struct worker *worker_new(unsigned int index, const struct worker_options *options)
{
	struct worker *w = aligned_alloc(CACHE_LINE_BYTES, sizeof(*w));
	int error;

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->index = index;
	w->options = *options;
	w->bell.fd = -1;
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->buffer = malloc(options->buffer_bytes);
	if (w->epoll_fd < 0 || !w->buffer || !bell_open(&w->bell) || !watch_bell(w)) {
		error = errno;
		worker_free(w);
		errno = error;
		return NULL;
	}
	queue_set_place(options->queue, index, options->worker_connections, &w->bell);
	return w;
}

void worker_free(struct worker *w)
{
	queue_clear_place(w->options.queue, w->index);
	bell_close(&w->bell);
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	free(w->buffer);
	free(w);
}

const struct worker_stats *worker_stats(const struct worker *w)
{
	return &w->stats;
}

/* The list of connections: link is what points at one, so that it leaves without a search. */
static void hold(struct worker *w, struct conn *c)
{
	c->next = w->conns;
	c->link = &w->conns;
	if (c->next)
		c->next->link = &c->next;
	w->conns = c;
	w->held++;
}

/* Ends a connection that the worker holds. */
static void let_go(struct worker *w, struct conn *c, enum conn_end end)
{
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	w->held--;
	w->look = true;
	conn_close(c, end, w->options.log_connections, &w->stats);
}

/* Has epoll watch for what the connection wants; operation is EPOLL_CTL_ADD or EPOLL_CTL_MOD. */
static bool watch(struct worker *w, int operation, struct conn *c)
{
	struct epoll_event event = {.events = c->owed ? EPOLLOUT : EPOLLIN, .data.ptr = c};

	if (epoll_ctl(w->epoll_fd, operation, c->fd, &event) == 0)
		return true;
	c->error = errno;
	return false;
}

/* Makes an arrival a connection of this worker. */
static void adopt(struct worker *w, struct arrival *a)
{
	struct conn *c = conn_new(a);

	stat_add(&w->stats.taken, 1);
	if (!c) {
		close(a->fd); /* nothing was read from it, so no error matters */
		stat_add(&w->stats.ended[CONN_END_ERROR], 1);
		w->look = true;
		return;
	}
	hold(w, c);
	if (!watch(w, EPOLL_CTL_ADD, c))
		let_go(w, c, CONN_END_ERROR);
}

/* Takes what the queue has for this worker; sleeps there if it holds nothing. False: the end. */
static bool take(struct worker *w)
{
	struct queue_batch batch;
	uint64_t now_ns;

	w->look = false;
	queue_take(w->options.queue, w->index, w->held, &batch);
	now_ns = batch.count ? clock_now_ns() : 0;
	for (unsigned int i = 0; i < batch.count; i++) {
		stats_add_wait(&w->stats, (now_ns - batch.arrivals[i].accepted_ns) / 1000);
		adopt(w, &batch.arrivals[i]);
	}
	return !batch.stopped && !(batch.ended && w->held == 0);
}

static void serve(struct worker *w, struct conn *c)
{
	const bool owed = c->owed != NULL;
	const enum conn_want want = conn_serve(c, w->buffer, w->options.buffer_bytes, &w->stats);

	if (want == CONN_WANT_CLOSE)
		let_go(w, c, c->end);
	else if (owed != (want == CONN_WANT_WRITE) && !watch(w, EPOLL_CTL_MOD, c))
		let_go(w, c, CONN_END_ERROR);
}

/* Waits for the connections and the bell, and serves those that are ready, one turn each. */
static void wait_and_serve(struct worker *w)
{
	struct epoll_event events[EVENTS_PER_WAIT];
	int n;

	do
		n = epoll_wait(w->epoll_fd, events, EVENTS_PER_WAIT, -1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		must(errno, "epoll_wait");
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr)
			serve(w, events[i].data.ptr);
		else
			w->look = true;
	}
}

static void *worker_run(void *argument)
{
	struct worker *w = argument;
	char name[16];

	snprintf(name, sizeof(name), "worker-%u", w->index);
	thread_set_name(name);
	for (;;) {
		if ((w->look || w->held == 0) && !take(w))
			break;
		if (w->held)
			wait_and_serve(w);
	}
	while (w->conns)
		let_go(w, w->conns, CONN_END_DRAIN);
	w->options.on_end(w->options.on_end_argument);
	return NULL;
}

int worker_start(struct worker *w)
{
	return thread_start(&w->thread, worker_run, w);
}

void worker_join(struct worker *w)
{
	thread_join(w->thread);
}
