/*
 * The acceptor thread; see the header. acceptor_start(), _stop() and _free() are called by the main
 * thread, everything else runs in the acceptor's own.
 *
 * It sleeps in poll(2) over the listeners and its bell. With queue_full = "wait" it waits for room
 * in the queue before it accepts, so that a full server leaves newcomers in the kernel's backlog
 * and holds no descriptor in its hand. What each error of accept4(2) asks for is decided in one
 * place, judge().
 */
#include "echopool/acceptor.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echopool/clock.h"
#include "echopool/log.h"
#include "echopool/stats.h"
#include "echopool/thread.h"

/* Accepted from one listener before the others and the bell are looked at again. */
#define ACCEPTS_PER_TURN 64

/* A pause begins with the first, doubles while the error lasts, and ends with a success. */
#define PAUSE_MIN_MS 10
#define PAUSE_MAX_MS 1000

/* What to do after accept4(2). */
enum verdict {
	VERDICT_TAKEN, /* there is a connection */
	VERDICT_EMPTY, /* nothing more is waiting */
	VERDICT_NEXT,  /* that one is gone; try the next */
	VERDICT_SLOW,  /* that one is gone, and the network may take many: the next, but not at once
			*/
	VERDICT_PAUSE, /* it still waits; trying again at once would only spin */
	VERDICT_BROKEN /* the listener itself is wrong: a bug */
};

struct acceptor {
	struct acceptor_options options;
	struct bell bell;
	pthread_t thread;

	/*
	 * Set by the main thread before it rings the bell, read by the acceptor after it was woken;
	 * release and acquire order them.
	 */
	atomic_bool stopping;
	/* Set by the acceptor before it rings options.broken; release and acquire as above. */
	atomic_bool broken;

	/* Counted by the acceptor, read by any thread; see stats.h. */
	_Atomic uint64_t accepted;
	_Atomic uint64_t rejected;
	_Atomic uint64_t failed;

	/* The acceptor's own. */
	int pause_ms;   /* the last pause; 0: accept4 succeeded since */
	int slow_error; /* what a run of VERDICT_SLOW was about; 0: accept4 succeeded since */
};

/* The one place where an errno of accept4(2) becomes what to do. */
static enum verdict judge(int error)
{
	switch (error) {
	case EAGAIN:
#if EWOULDBLOCK != EAGAIN
	case EWOULDBLOCK:
#endif
		return VERDICT_EMPTY;
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
		return VERDICT_NEXT;
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
	case EFAULT:
		return VERDICT_BROKEN;
	/* Errors of the connection itself that Linux hands on (accept(2)). */
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENONET:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case EPERM:
		return VERDICT_SLOW;
	/* EMFILE, ENFILE, ENOBUFS, ENOMEM. */
	default:
		return VERDICT_PAUSE;
	}
}

static bool is_stopping(const struct acceptor *a)
{
	return atomic_load_explicit(&a->stopping, memory_order_acquire);
}

/* Sleeps, or until the bell: a stop ends every pause. */
static void sleep_ms(struct acceptor *a, int ms)
{
	struct pollfd bell = {.fd = a->bell.fd, .events = POLLIN};

	if (poll(&bell, 1, ms) < 0 && errno != EINTR)
		must(errno, "poll");
}

/* A pause that grows as long as the error lasts, with one line each. */
static void pause_growing(struct acceptor *a, int error)
{
	a->pause_ms = a->pause_ms ? a->pause_ms * 2 : PAUSE_MIN_MS;
	if (a->pause_ms > PAUSE_MAX_MS)
		a->pause_ms = PAUSE_MAX_MS;
	log_warning("accept: %s; trying again in %d ms", strerror(error), a->pause_ms);
	sleep_ms(a, a->pause_ms);
}

/* A short pause for each of a run of errors, with a line for the run. */
static void pause_briefly(struct acceptor *a, int error)
{
	if (error != a->slow_error)
		log_warning("accept: %s; going on slowly until one succeeds", strerror(error));
	a->slow_error = error;
	sleep_ms(a, PAUSE_MIN_MS);
}

static void stop_for_bug(struct acceptor *a, int error)
{
	log_error("accept: %s; this is a bug in echopool, it accepts no more and drains",
		  strerror(error));
	atomic_store_explicit(&a->broken, true, memory_order_release);
	bell_ring(a->options.broken);
}

/* Hands an accepted connection to the queue, or turns it away. */
static void admit(struct acceptor *a, const struct listener *l, struct arrival *arrival)
{
	char peer[ADDRESS_TEXT_BYTES], local[ADDRESS_TEXT_BYTES];

	if (a->options.log_connections)
		log_info("connection accepted peer=%s local=%s",
			 address_format(&arrival->peer, peer), address_format(&l->address, local));
	if (queue_push(a->options.queue, arrival)) {
		stat_add(&a->accepted, 1);
		return;
	}
	stat_add(&a->rejected, 1);
	close(arrival->fd); /* nothing was read or written, so no error matters */
	if (a->options.log_connections)
		log_info(
			"connection closed peer=%s received=0 sent=0 seconds=0.000 reason=queue-full",
			peer);
}

static enum verdict accept_one(struct acceptor *a, const struct listener *l)
{
	struct arrival arrival = {.fd = -1};
	socklen_t length = sizeof(arrival.peer);
	enum verdict v;
	int error;

	arrival.fd = accept4(l->fd, &arrival.peer.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (arrival.fd >= 0) {
		arrival.accepted_ns = clock_now_ns();
		a->pause_ms = 0;
		a->slow_error = 0;
		admit(a, l, &arrival);
		return VERDICT_TAKEN;
	}
	error = errno;
	v = judge(error);
	if (v != VERDICT_EMPTY)
		stat_add(&a->failed, 1);
	if (v == VERDICT_PAUSE)
		pause_growing(a, error);
	else if (v == VERDICT_SLOW)
		pause_briefly(a, error);
	else if (v == VERDICT_BROKEN)
		stop_for_bug(a, error);
	return v;
}

/* How many may be accepted before asking again; waits for room when the settings say so. */
static uint32_t may_accept(struct acceptor *a)
{
	uint32_t room = ACCEPTS_PER_TURN;

	if (a->options.queue_full == QUEUE_FULL_WAIT)
		room = queue_wait_for_room(a->options.queue);
	return room < ACCEPTS_PER_TURN ? room : ACCEPTS_PER_TURN;
}

/* One turn at a listener that is readable. False: the acceptor cannot go on. */
static bool accept_from(struct acceptor *a, const struct listener *l)
{
	const uint32_t most = may_accept(a);
	enum verdict v = VERDICT_TAKEN;

	for (uint32_t i = 0; i < most && v != VERDICT_EMPTY && !is_stopping(a); i++) {
		v = accept_one(a, l);
		if (v == VERDICT_BROKEN)
			return false;
		if (v == VERDICT_PAUSE)
			break;
	}
	return true;
}

/*
 * Closing a listener resets what it has completed and nobody accepted. So what is there, and fits,
 * is taken first; the backlog, a bound that the kernel keeps, ends it.
 */
static void accept_the_rest(struct acceptor *a, const struct listener *l)
{
	uint32_t room = queue_room(a->options.queue);
	enum verdict v = VERDICT_TAKEN;

	while (room-- && (v == VERDICT_TAKEN || v == VERDICT_NEXT))
		v = accept_one(a, l);
}

static void *acceptor_run(void *argument)
{
	struct acceptor *a = argument;
	const struct listeners *l = a->options.listeners;
	struct pollfd fds[LISTENERS_MAX + 1];

	thread_set_name("acceptor");
	for (unsigned int i = 0; i < l->count; i++)
		fds[i] = (struct pollfd){.fd = l->items[i].fd, .events = POLLIN};
	fds[l->count] = (struct pollfd){.fd = a->bell.fd, .events = POLLIN};

	while (!is_stopping(a)) {
		if (poll(fds, l->count + 1, -1) < 0) {
			if (errno != EINTR)
				must(errno, "poll");
			continue;
		}
		for (unsigned int i = 0; i < l->count; i++)
			if (fds[i].revents && !accept_from(a, &l->items[i]))
				return NULL;
	}
	for (unsigned int i = 0; i < l->count; i++)
		accept_the_rest(a, &l->items[i]);
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

void acceptor_stop(struct acceptor *a)
{
	atomic_store_explicit(&a->stopping, true, memory_order_release);
	bell_ring(&a->bell);
	queue_end_waiting(a->options.queue);
	thread_join(a->thread);
}

void acceptor_free(struct acceptor *a)
{
	bell_close(&a->bell);
	free(a);
}

bool acceptor_is_broken(const struct acceptor *a)
{
	return atomic_load_explicit(&a->broken, memory_order_acquire);
}

struct acceptor_figures acceptor_figures(const struct acceptor *a)
{
	return (struct acceptor_figures){
		.accepted = stat_get(&a->accepted),
		.rejected = stat_get(&a->rejected),
		.failed = stat_get(&a->failed),
	};
}
