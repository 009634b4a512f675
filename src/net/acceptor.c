/*
 * The acceptor thread; see the header. acceptor_start(), _change(), _stop() and _free() are called
 * by the main thread, everything else runs in the acceptor's own, and acceptor_expire() in the main
 * thread once that has ended.
 *
 * It sleeps in poll(2) over the listeners and its bell. With queue_full = "wait" it waits for room
 * in the queue before it accepts, so that a full server leaves newcomers in the kernel's backlog
 * and holds no descriptor in its hand; except while others may be crowded out (admission.c). What
 * each error of accept4(2) asks for is decided in one place, accept_judge().
 */
#include "echopool/net/acceptor.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/counter.h"
#include "echopool/base/log.h"
#include "echopool/net/acceptor_state.h"
#include "echopool/net/newcomers.h"
#include "echopool/pool/conn.h"

/* Connections accepted from one listener before the others and the bell have their turn. */
#define ACCEPTS_PER_TURN 64

/* How often it asks a listener whether a second connection is there, though the last had one. */
#define TURNS_PER_LOOK 16

/* How long clients in the middle of their handshake may hold up the close of a listener. */
#define HALF_OPEN_MS 500

static bool is_stopping(const struct acceptor *a)
{
	return atomic_load_explicit(&a->stopping, memory_order_acquire);
}

static void stop_for_bug(struct acceptor *a, int error)
{
	log_error("accept: %s; this is a bug in echopool, it accepts no more and drains",
		  strerror(error));
	/* The thread goes on to answer its bell. */
	a->options.listeners.count = 0;
	atomic_store_explicit(&a->broken, true, memory_order_release);
	bell_ring(a->options.main_bell);
}

/*
 * Pauses for at most ms. The bell ends the pause, and so does a connection whose time in the queue
 * is over: closing it frees a descriptor.
 */
static void pause_ms(struct acceptor *a, int ms)
{
	const uint64_t now_ns = clock_now_ns();
	const int queue_ms = clock_timeout_ms(acceptor_expire(a, now_ns), now_ns);
	struct pollfd bell = {.fd = a->bell.fd, .events = POLLIN};

	if (queue_ms >= 0 && queue_ms < ms)
		ms = queue_ms;
	if (poll(&bell, 1, ms) < 0 && errno != EINTR)
		fail(errno, "poll");
}

static enum accept_verdict accept_one(struct acceptor *a, const struct listener *l)
{
	struct arrival arrival = {.fd = -1};
	socklen_t length = sizeof(arrival.peer);
	enum accept_verdict v;
	int error;

	arrival.fd = accept4(l->fd, &arrival.peer.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (arrival.fd >= 0) {
		arrival.accepted_ns = clock_now_ns();
		accept_succeeded(&a->pauses);
		if (a->sweeping)
			newcomers_release(arrival.fd);
		acceptor_admit(a, &arrival);
		return ACCEPT_TAKEN;
	}
	error = errno;
	v = accept_judge(error);
	if (v == ACCEPT_EMPTY)
		return v;
	stat_add(&a->failed[accept_error_kind(error)], 1);
	log_debug("accept: %s", strerror(error));
	if (v == ACCEPT_BROKEN)
		stop_for_bug(a, error);
	else if (v != ACCEPT_NEXT && !is_stopping(a) && !a->sweeping)
		pause_ms(a, accept_pause_ms(&a->pauses, v, error));
	return v;
}

/* Whether to try the next connection of the same listener at once. */
static bool may_go_on(enum accept_verdict v)
{
	return v == ACCEPT_TAKEN || v == ACCEPT_NEXT || v == ACCEPT_SLOW;
}

/* Anybody may see since when it has been inside one turn; at_ns is 0 while it sleeps. */
static void note_turn(struct acceptor *a, uint64_t at_ns)
{
	atomic_store_explicit(&a->turn_ns, at_ns, memory_order_relaxed);
}

/*
 * Whether to accept from a listener until it has none. That costs an accept4 in vain, which makes a
 * socket and drops it; without it poll tells of the next. So it pays only where several come at
 * once.
 */
static bool is_rush(struct acceptor *a)
{
	return a->rush || a->turns++ % TURNS_PER_LOOK == 0;
}

/*
 * How many connections may be accepted before asking again. With queue_full = "wait" it waits for
 * room in the queue; 0 means that something else has to be looked at first.
 */
static uint32_t may_accept(struct acceptor *a)
{
	const uint32_t most = is_rush(a) ? ACCEPTS_PER_TURN : 1;
	uint32_t room;

	/* While others may be crowded out, it must see who comes. */
	a->asked = a->options.queue_full == QUEUE_FULL_WAIT &&
		   !(queue_is_saturated(a->options.queue) && access_may_crowd(a->options.access));
	if (!a->asked)
		return most;
	note_turn(a, 0);
	room = queue_wait_for_room(a->options.queue, a->expiry_ns);
	note_turn(a, clock_now_ns());
	return room < most ? room : most;
}

/* Takes one turn at a readable listener. False: something else has to be looked at first. */
static bool accept_from(struct acceptor *a, const struct listener *l)
{
	const uint32_t most = may_accept(a);
	enum accept_verdict v = ACCEPT_TAKEN;
	uint32_t taken = 0;

	while (taken < most && may_go_on(v) && !is_stopping(a)) {
		v = accept_one(a, l);
		taken += v != ACCEPT_EMPTY;
	}
	a->rush = taken > 1;
	return most > 0;
}

static bool somebody_waits_at(const struct listener *l)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/*
 * Closing a listener resets the connections in its backlog. They are accepted first, past the
 * queue's limit too, but at most one backlog at once.
 */
static enum accept_verdict accept_the_rest(struct acceptor *a, const struct listener *l)
{
	const uint32_t room = queue_make_room(a->options.queue, a->options.backlog + 1);
	enum accept_verdict v = ACCEPT_TAKEN;

	for (uint32_t i = 0; i < room && may_go_on(v); i++)
		v = accept_one(a, l);
	return room <= a->options.backlog ? ACCEPT_PAUSE : v;
}

static void warn_of_resets(const struct listener *l, enum accept_verdict v)
{
	char text[ADDRESS_TEXT_BYTES];

	if (v != ACCEPT_EMPTY && v != ACCEPT_BROKEN && somebody_waits_at(l))
		log_warning("accept: connections that still wait at %s are reset as it closes: %s",
			    address_format(&l->address, text),
			    v == ACCEPT_PAUSE ? "no descriptor or memory for more"
					      : "they are more than its backlog");
}

static bool any_half_open(const struct listeners *closing)
{
	for (unsigned int i = 0; i < closing->count; i++)
		if (newcomers_are_half_open(&closing->items[i]))
			return true;
	return false;
}

/*
 * Waits until a connection can be accepted from one of them, which it returns, or until the time is
 * over. One that could not be emptied is not waited for, as it is ready all the time.
 */
static bool wait_for_backlog(const struct listeners *closing, const enum accept_verdict v[],
			     int wait_ms)
{
	struct pollfd fds[LISTENERS_MAX];
	int n;

	for (unsigned int i = 0; i < closing->count; i++)
		fds[i] = (struct pollfd){.fd = v[i] == ACCEPT_EMPTY ? closing->items[i].fd : -1,
					 .events = POLLIN};
	n = poll(fds, closing->count, wait_ms);
	if (n < 0 && errno != EINTR)
		fail(errno, "poll");
	return n > 0;
}

/*
 * Accepts what listeners hold that take no new clients, until for a while nobody has come and no
 * handshake is half done. The shortest while is for a handshake that the kernel does not show yet,
 * which takes microseconds; they grow as long as nobody comes.
 */
static void drain_backlogs(struct acceptor *a, const struct listeners *closing)
{
	const uint64_t deadline_ns = clock_now_ns() + HALF_OPEN_MS * NS_PER_MS;
	enum accept_verdict v[LISTENERS_MAX];
	int wait_ms = 1;
	bool came, more;

	for (unsigned int i = 0; i < closing->count; i++)
		v[i] = ACCEPT_EMPTY;
	do {
		const int left_ms = clock_timeout_ms(deadline_ns, clock_now_ns());

		came = wait_for_backlog(closing, v, wait_ms < left_ms ? wait_ms : left_ms);
		wait_ms = came ? 1 : 2 * wait_ms;
		/* Asked before those are accepted whose handshake has come to its end. */
		more = clock_now_ns() < deadline_ns && (came || any_half_open(closing));
		for (unsigned int i = 0; i < closing->count; i++)
			v[i] = accept_the_rest(a, &closing->items[i]);
	} while (more);
	for (unsigned int i = 0; i < closing->count; i++)
		warn_of_resets(&closing->items[i], v[i]);
}

/* Drains the backlogs of the listeners that will be closed, so that no client is reset. */
static void drain_backlogs_except(struct acceptor *a, const struct listeners *keep)
{
	const struct listeners *l = &a->options.listeners;
	struct listeners closing = {.count = 0};

	for (unsigned int i = 0; i < l->count; i++) {
		if (listeners_have(keep, l->items[i].fd))
			continue;
		if (!newcomers_ignore(l->items[i].fd))
			log_warning(
				"accept: cannot keep new clients from a listener that closes, some may be reset: %s",
				strerror(errno));
		closing.items[closing.count++] = l->items[i];
	}
	a->sweeping = true;
	if (closing.count)
		drain_backlogs(a, &closing);
	a->sweeping = false;
}

/* Takes over the options that acceptor_change() left, if any, and wakes it. */
static void follow_change(struct acceptor *a)
{
	const struct acceptor_options *next;

	lock_acquire(&a->lock);
	next = a->next;
	lock_release(&a->lock);
	if (!next)
		return;
	drain_backlogs_except(a, &next->listeners);
	a->options = *next;
	a->expiry_ns = 0; /* queue_ms may be another */
	lock_acquire(&a->lock);
	a->next = NULL;
	condition_signal(&a->changed);
	lock_release(&a->lock);
}

/* Waits for connections or the bell, and takes one turn at each listener. */
static void wait_and_accept(struct acceptor *a)
{
	const struct listeners *l = &a->options.listeners;
	const unsigned int count = l->count;
	const uint64_t now_ns = clock_now_ns();
	const uint64_t deadline_ns = acceptor_expire(a, now_ns);
	struct pollfd fds[LISTENERS_MAX + 1];
	int n;

	for (unsigned int i = 0; i < count; i++)
		fds[i] = (struct pollfd){.fd = l->items[i].fd, .events = POLLIN};
	fds[count] = (struct pollfd){.fd = a->bell.fd, .events = POLLIN};
	note_turn(a, 0);
	n = poll(fds, count + 1, clock_timeout_ms(deadline_ns, now_ns));
	note_turn(a, clock_now_ns());
	if (n < 0) {
		if (errno != EINTR)
			fail(errno, "poll");
		return;
	}
	if (fds[count].revents) {
		bell_clear(&a->bell);
		follow_change(a);
		return; /* the listeners may be others now */
	}
	/*
	 * An interrupt ends one wait for room, so the next listener must not begin another wait
	 * before the cause was looked at. The listener that found no room is first in the next
	 * turn; otherwise one with many clients could take all the room for ever. The count is read
	 * each time, as a broken listener removes all of them.
	 */
	for (unsigned int i = 0; i < l->count; i++) {
		const unsigned int next = (a->first + i) % l->count;

		if (fds[next].revents && !accept_from(a, &l->items[next])) {
			a->first = next;
			return;
		}
	}
}

static void *acceptor_run(void *argument)
{
	static const struct listeners none = {.count = 0};
	struct acceptor *a = argument;

	thread_set_name("acceptor");
	/*
	 * The acceptor must not interrupt a worker for each single connection. On an idle CPU it
	 * wakes at once all the same.
	 */
	thread_never_preempt();
	while (!is_stopping(a))
		wait_and_accept(a);
	/* What inherited listeners hold is for the next process that gets them. */
	if (a->options.listeners_close)
		drain_backlogs_except(a, &none);
	atomic_store_explicit(&a->ended, true, memory_order_release);
	bell_ring(a->options.main_bell);
	return NULL;
}

struct acceptor *acceptor_start(const struct acceptor_options *options)
{
	struct acceptor *a = calloc(1, sizeof(*a));
	int error;

	if (!a) {
		log_error("no memory for the acceptor");
		return NULL;
	}
	a->options = *options;
	lock_init(&a->lock);
	condition_init(&a->changed);
	if (!bell_open(&a->bell)) {
		log_error("cannot make the acceptor's bell: %s", strerror(errno));
		goto failed;
	}
	error = thread_start(&a->thread, acceptor_run, a);
	if (error) {
		log_error("cannot start the acceptor's thread: %s", strerror(error));
		goto failed;
	}
	return a;

failed:
	acceptor_free(a);
	return NULL;
}

void acceptor_change(struct acceptor *a, const struct acceptor_options *options)
{
	lock_acquire(&a->lock);
	a->next = options;
	bell_ring(&a->bell);
	lock_release(&a->lock);
	queue_interrupt(options->queue);
	lock_acquire(&a->lock);
	while (a->next)
		condition_wait(&a->changed, &a->lock);
	lock_release(&a->lock);
}

void acceptor_begin_stop(struct acceptor *a)
{
	atomic_store_explicit(&a->stopping, true, memory_order_release);
	bell_ring(&a->bell);
	queue_interrupt(a->options.queue);
}

bool acceptor_has_ended(const struct acceptor *a)
{
	return atomic_load_explicit(&a->ended, memory_order_acquire);
}

void acceptor_join(struct acceptor *a)
{
	thread_join(a->thread);
}

void acceptor_free(struct acceptor *a)
{
	struct arrival arrival;

	while (queue_take_back(a->options.queue, &arrival)) {
		acceptor_let_go(a, &arrival, conn_end_name(CONN_END_DRAIN));
	}
	bell_close(&a->bell);
	condition_destroy(&a->changed);
	lock_destroy(&a->lock);
	free(a);
}

bool acceptor_is_broken(const struct acceptor *a)
{
	return atomic_load_explicit(&a->broken, memory_order_acquire);
}

struct acceptor_figures acceptor_figures(const struct acceptor *a)
{
	struct acceptor_figures f = {
		.denied = stat_get(&a->refused[ACCESS_DENIED]),
		.too_many = stat_get(&a->refused[ACCESS_TOO_MANY]),
		.no_memory = stat_get(&a->refused[ACCESS_NO_MEMORY]),
		.rejected = stat_get(&a->rejected),
		.crowded = stat_get(&a->crowded),
		.expired = stat_get(&a->expired),
	};

	for (unsigned int i = 0; i < ACCEPT_ERRORS; i++) {
		f.failed_by[i] = stat_get(&a->failed[i]);
		f.failed += f.failed_by[i];
	}
	f.refused = f.denied + f.too_many + f.no_memory;
	return f;
}

void acceptor_sum_waits(const struct acceptor *a, struct wait_totals *totals)
{
	wait_totals_sum(&a->expired_waits, totals);
}

uint64_t acceptor_turn_ns(const struct acceptor *a)
{
	return atomic_load_explicit(&a->turn_ns, memory_order_relaxed);
}
