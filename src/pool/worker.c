/*
 * One worker's loop: take, wait, serve, expire. Everything but worker_new(), worker_start(),
 * worker_join() and worker_free(), which the pool's owner calls, runs in the worker's own thread,
 * and so nothing here needs a lock: connections come through the queue, figures and tuning are
 * single atomic numbers.
 *
 * A worker that holds nothing sleeps in queue_take(). One that holds connections sleeps in
 * epoll_wait, with its bell in the same set, and goes to queue_take() when the bell was rung or a
 * connection ended. The echo itself takes no lock.
 *
 * The set is level-triggered: what one turn leaves in a socket is reported again after its
 * neighbours have had theirs. Each descriptor appears at most once in a batch of events, only its
 * own event ends a connection during the batch, and expiry comes after it, so no event can name one
 * that is gone.
 */
#include "echopool/pool/worker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/base/thread.h"
#include "echopool/pool/conn.h"

/* Enough that many busy connections share one epoll_wait; more would only delay the bell. */
#define EVENTS_PER_WAIT 128

/* How often a worker offers again to close idle connections when its last offer was not needed. */
#define OFFER_PERIOD_NS (10 * NS_PER_MS)

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
	size_t buffer_bytes;
	/* Each connection is in one of these two. */
	struct deadline_list reading; /* waits for its peer to send */
	struct deadline_list owing;   /* waits for its peer to read */
	uint32_t held;                /* how many in both */
	uint64_t now_ns;              /* the time of this turn */
	uint64_t offered_ns;          /* when connections were last offered for closing */
	bool pressed;                 /* others wait, and no worker has room for them */
	bool look;                    /* at the queue: the bell was rung or a connection ended */
};

static uint32_t tuned(const atomic_uint *number)
{
	return atomic_load_explicit(number, memory_order_relaxed);
}

static bool logs_connections(const struct worker *w)
{
	return atomic_load_explicit(&w->options.tuning->log_connections, memory_order_relaxed);
}

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
	deadline_list_init(&w->reading);
	deadline_list_init(&w->owing);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->buffer_bytes = tuned(&options->tuning->buffer_bytes);
	w->buffer = malloc(w->buffer_bytes);
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

/* Follows limits.buffer_bytes; where memory is short the old buffer serves on. */
static void tune_buffer(struct worker *w)
{
	const size_t bytes = tuned(&w->options.tuning->buffer_bytes);
	unsigned char *buffer;

	if (bytes == w->buffer_bytes)
		return;
	buffer = malloc(bytes);
	if (!buffer)
		return;
	free(w->buffer);
	w->buffer = buffer;
	w->buffer_bytes = bytes;
}

/* Ends a connection that the worker holds. */
static void let_go(struct worker *w, struct conn *c, enum conn_end end)
{
	deadline_list_remove(&c->deadline);
	w->held--;
	w->look = true;
	/*
	 * Closing a descriptor takes it out of the set only if nobody has a copy, and a child that
	 * is being started for a reload has one until it executes (epoll(7), Q6). Not in the set:
	 * it could not be watched.
	 */
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL) != 0 && errno != ENOENT)
		fail(errno, "epoll_ctl");
	/* Before the close: who sees it may come again at once. */
	access_release(w->options.access, &c->peer);
	conn_close(c, end, logs_connections(w), &w->stats);
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
		w->look = true;
		access_release(w->options.access, &a->peer);
		stat_add(&w->stats.ended[CONN_END_ERROR], 1);
		close(a->fd); /* nothing was read from it, so no error matters */
		a->fd = -1;
		if (logs_connections(w))
			conn_log_closed(&a->peer, 0, 0, a->accepted_ns,
					conn_end_name(CONN_END_ERROR), ENOMEM);
		return;
	}
	w->held++;
	deadline_list_append(&w->reading, &c->deadline, w->now_ns);
	if (!watch(w, EPOLL_CTL_ADD, c))
		let_go(w, c, CONN_END_ERROR);
}

/*
 * Takes over the connections of workers that left, as they are: what they are owed, and since when
 * they wait. Those of one worker come newest first.
 */
static void adopt_handed(struct worker *w, struct queue_link *links)
{
	struct deadline_entry *near_reading = NULL, *near_owing = NULL;

	while (links) {
		struct conn *c = conn_of_link(links);

		links = links->next;
		w->held++;
		stat_add(&w->stats.handed_in, 1);
		if (c->owed) {
			deadline_list_insert(&w->owing, &c->deadline, near_owing);
			near_owing = &c->deadline;
		} else {
			deadline_list_insert(&w->reading, &c->deadline, near_reading);
			near_reading = &c->deadline;
		}
	}
}

/* A second pass: a connection that cannot be watched ends, and must not be near the next one then.
 */
static void watch_handed(struct worker *w, struct queue_link *links)
{
	while (links) {
		struct conn *c = conn_of_link(links);

		links = links->next;
		if (!watch(w, EPOLL_CTL_ADD, c))
			let_go(w, c, CONN_END_ERROR);
	}
}

/* Prepends the connections of a list to links, newest first: queue_hand_over() turns them round. */
static struct queue_link *unlink_all(struct worker *w, struct deadline_list *list,
				     struct queue_link *links)
{
	struct deadline_entry *e;

	while ((e = deadline_list_newest(list))) {
		struct conn *c = conn_of_deadline(e);

		deadline_list_remove(e);
		w->held--;
		stat_add(&w->stats.handed_out, 1);
		/* It fails only for a descriptor that is not in the set, and each is. */
		if (epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL) != 0)
			fail(errno, "epoll_ctl");
		c->link.next = links;
		links = &c->link;
	}
	return links;
}

/* Gives all it holds to the workers that stay. */
static void leave(struct worker *w)
{
	struct queue_link *links = unlink_all(w, &w->owing, NULL);

	queue_hand_over(w->options.queue, w->index, unlink_all(w, &w->reading, links));
}

static void serve(struct worker *w, struct conn *c)
{
	const bool owed = c->owed != NULL;
	const uint64_t sent_bytes = c->sent_bytes;
	const enum conn_want want = conn_serve(c, w->buffer, w->buffer_bytes, &w->stats);

	if (want == CONN_WANT_CLOSE) {
		let_go(w, c, c->end);
	} else if (owed == (want == CONN_WANT_WRITE)) {
		if (c->sent_bytes != sent_bytes)
			deadline_list_touch(owed ? &w->owing : &w->reading, &c->deadline,
					    w->now_ns);
	} else {
		deadline_list_remove(&c->deadline);
		deadline_list_append(owed ? &w->reading : &w->owing, &c->deadline, w->now_ns);
		if (!watch(w, EPOLL_CTL_MOD, c))
			let_go(w, c, CONN_END_ERROR);
	}
}

/* Whether what the connection waits for has come true already. */
static bool is_ready(const struct conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = c->owed ? POLLOUT : POLLIN};
	int n;

	do
		n = poll(&p, 1, 0);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/*
 * Ends the oldest of a list, whose time has come, unless something has happened on it that no event
 * has told yet: after a stop of the process, or behind a batch of events that was full.
 */
static void end_if_silent(struct worker *w, struct deadline_list *list, enum conn_end end)
{
	struct deadline_entry *oldest = deadline_list_oldest(list);
	const uint64_t since_ns = oldest->since_ns;

	if (is_ready(conn_of_deadline(oldest)))
		serve(w, conn_of_deadline(oldest));
	if (deadline_list_oldest(list) == oldest && oldest->since_ns == since_ns)
		let_go(w, conn_of_deadline(oldest), end);
}

/* How long a silent connection may stay while others wait; 0: for ever. */
static uint32_t pressed_ms(const struct worker *w)
{
	const uint32_t idle_ms = tuned(&w->options.tuning->idle_ms);
	const uint32_t when_full_ms = tuned(&w->options.tuning->idle_when_full_ms);

	if (when_full_ms == 0 || (idle_ms && idle_ms < when_full_ms))
		return idle_ms;
	return when_full_ms;
}

/* Takes what the queue has for this worker; sleeps there if it holds nothing. False: the end. */
static bool take(struct worker *w)
{
	const uint32_t offer =
		deadline_list_count_expired(&w->reading, pressed_ms(w), w->now_ns, QUEUE_TAKE_MAX);
	struct queue_batch batch;

	w->look = false;
	queue_take(w->options.queue, w->index, w->held, offer, &batch);
	w->offered_ns = w->now_ns;
	w->now_ns = clock_now_ns();
	w->pressed = batch.pressed;
	adopt_handed(w, batch.handed);
	watch_handed(w, batch.handed);
	for (unsigned int i = 0; i < batch.count; i++) {
		stats_add_wait(&w->stats, (w->now_ns - batch.arrivals[i].accepted_ns) / 1000);
		adopt(w, &batch.arrivals[i]);
	}
	for (uint32_t i = 0; i < batch.evict; i++)
		end_if_silent(w, &w->reading, CONN_END_IDLE_WHEN_FULL);
	/* Who was not silent after all no longer counts as making room. */
	if (batch.evict)
		w->look = true;
	if (batch.leaving && !batch.stopped)
		leave(w);
	return !batch.leaving && !batch.stopped && !(batch.ended && w->held == 0);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When the next connection may have to be closed. */
static uint64_t deadline_ns(const struct worker *w)
{
	const struct worker_tuning *t = w->options.tuning;
	uint64_t deadline = sooner(deadline_list_next_ns(&w->reading, tuned(&t->idle_ms)),
				   deadline_list_next_ns(&w->owing, tuned(&t->write_ms)));
	uint64_t offer;

	if (!w->pressed)
		return deadline;
	offer = deadline_list_next_ns(&w->reading, pressed_ms(w));
	if (offer < w->offered_ns + OFFER_PERIOD_NS)
		offer = w->offered_ns + OFFER_PERIOD_NS;
	return sooner(deadline, offer);
}

/* Closes the connections of a list whose time has come. */
static void expire_list(struct worker *w, struct deadline_list *list, uint32_t limit_ms,
			enum conn_end end)
{
	while (deadline_list_next_ns(list, limit_ms) <= w->now_ns)
		end_if_silent(w, list, end);
}

static void expire(struct worker *w)
{
	const struct worker_tuning *t = w->options.tuning;

	expire_list(w, &w->reading, tuned(&t->idle_ms), CONN_END_IDLE);
	expire_list(w, &w->owing, tuned(&t->write_ms), CONN_END_WRITE);
	if (w->pressed && deadline_ns(w) <= w->now_ns)
		w->look = true;
}

/*
 * Waits for the connections and the bell, and serves those that are ready, one turn each. Does not
 * sleep while there is room that the queue has not been told of.
 */
static void wait_and_serve(struct worker *w)
{
	struct epoll_event events[EVENTS_PER_WAIT];
	const int timeout_ms = w->look ? 0 : clock_timeout_ms(deadline_ns(w), w->now_ns);
	int n = epoll_wait(w->epoll_fd, events, EVENTS_PER_WAIT, timeout_ms);

	if (n < 0 && errno != EINTR)
		fail(errno, "epoll_wait");
	w->now_ns = clock_now_ns();
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr)
			serve(w, events[i].data.ptr);
		else
			w->look = true;
	}
	expire(w);
	w->look = w->look || queue_is_rung(w->options.queue, w->index);
}

static void let_all_go(struct worker *w, struct deadline_list *list)
{
	struct deadline_entry *e;

	while ((e = deadline_list_oldest(list)))
		let_go(w, conn_of_deadline(e), CONN_END_DRAIN);
}

static void *worker_run(void *argument)
{
	struct worker *w = argument;
	char name[16];

	snprintf(name, sizeof(name), "worker-%u", w->index);
	thread_set_name(name);
	w->now_ns = clock_now_ns();
	for (;;) {
		if ((w->look || w->held == 0) && !take(w))
			break;
		tune_buffer(w);
		if (w->held)
			wait_and_serve(w);
	}
	let_all_go(w, &w->reading);
	let_all_go(w, &w->owing);
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
