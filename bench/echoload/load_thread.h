/*
 * One thread of the load from inside: for load.c, which runs it, and talk.c, which serves its
 * clients. Called in the thread itself.
 */
#ifndef ECHOLOAD_LOAD_THREAD_H
#define ECHOLOAD_LOAD_THREAD_H

#include "held.h"
#include "load.h"

struct load {
	struct tally tally; /* written by its thread, read by any */
	_Atomic uint32_t open_now;

	/* Set before the thread starts. */
	struct plan *plan;
	const struct options *options;
	uint32_t thread;
	pthread_t id;
	int epoll_fd;
	struct client *clients; /* idle ones come first */
	uint32_t count;
	uint32_t idle;
	struct flight *flights; /* options->pipeline for each client that talks */

	/* Its thread only. */
	unsigned char *buffer;
	struct random random;
	struct timers timers;
	struct schedule opening;   /* of the first connection of each client */
	struct schedule arrivals;  /* of new connections, in the open loop */
	struct client *free_first; /* clients that wait for an arrival; the oldest is first */
	struct client **free_last;
	struct held held;
	uint32_t source;     /* the number of the address that the next connection comes from */
	uint32_t begun;      /* clients that have begun to connect, or were made free */
	uint32_t tried;      /* clients whose first connection has succeeded or failed */
	uint32_t connecting; /* clients that connect now */
	uint64_t in_flight;  /* messages */
	uint64_t now_ns;     /* the time of this turn */
	uint64_t check_ns;   /* of the next check for timeouts */
	bool notified_ready;
	bool has_no_pwait2; /* the system refuses epoll_pwait2(2) */
};

/*
 * The measured time, read anew each time: a thread that was held up may go on in the middle of a
 * turn long after it became known.
 */
static inline uint64_t load_begin_ns(const struct load *l)
{
	return atomic_load_explicit(&l->plan->begin_ns, memory_order_relaxed);
}

static inline uint64_t load_end_ns(const struct load *l)
{
	return atomic_load_explicit(&l->plan->end_ns, memory_order_relaxed);
}

/* Begins a connection that was due at wanted_ns; where that fails, it tries again later. */
void talk_open(struct load *l, struct client *c, uint64_t wanted_ns);

/* Handles an event of a client's socket. */
void talk_on_event(struct load *l, struct client *c, uint32_t events);

/* Handles the alarm of a client. */
void talk_on_alarm(struct load *l, struct client *c);

/* Closes a connection that is over. */
void talk_drop(struct load *l, struct client *c);

/* Counts the fault of a connection, closes it, and has the client try again. */
void talk_break_off(struct load *l, struct client *c, enum fault fault);

/*
 * Has a closed client connect again at at_ns, or at the next arrival after that, unless the load
 * has ended.
 */
void talk_again(struct load *l, struct client *c, uint64_t at_ns);

/*
 * Counts a message or an arrival of the open loop that goes out now. could_ns: when a thread that
 * is never late would have sent it.
 */
void talk_count_sent(struct load *l, uint64_t due_ns, uint64_t could_ns);

/* Counts how much of the measured time something has waited for the thread, if that is long. */
void talk_note_held(struct load *l, uint64_t from_ns);

#endif
