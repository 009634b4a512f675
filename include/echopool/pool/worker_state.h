/*
 * A worker's own state, which its six files share: worker.c, the loop; spin.c, how it waits while
 * that is short; timeouts.c, when a connection is closed for its silence; share_work.c, when some
 * are given to another worker; holders.c, which of them hold it; worker_conns.c, the connections
 * that it holds. Only the worker's thread calls the functions below. Nobody else includes this.
 */
#ifndef ECHOPOOL_POOL_WORKER_STATE_H
#define ECHOPOOL_POOL_WORKER_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/bell.h"
#include "echopool/pool/conn.h"
#include "echopool/pool/deadline_list.h"
#include "echopool/pool/engine.h"
#include "echopool/pool/holders.h"
#include "echopool/pool/rebalance.h"
#include "echopool/pool/spin.h"
#include "echopool/pool/worker.h"

struct worker {
	struct worker_stats stats; /* written by the worker's thread, read by any */
	struct holders_answer holders;

	/* Set before the thread starts, and not changed while it runs. */
	unsigned int index; /* its slot in the queue */
	struct worker_options options;
	struct bell bell; /* rung by the queue */
	struct engine *engine;

	/* Main thread. */
	pthread_t thread;
	uint64_t runqueue_ns; /* as it was told last */

	atomic_int tid; /* set by the worker's thread, read by main; 0: it does not run yet.
			   Relaxed. */

	/* The worker's thread only. */
	struct deadline_list reading; /* connections that wait for their peer to send */
	struct deadline_list writing; /* those with pending bytes: they wait for it to read */
	uint32_t held;                /* how many in both */
	uint64_t now_ns;              /* the time of this turn */
	uint64_t look_ns;             /* when it looks again for one to close for others */
	bool saturated;               /* connections wait, and no worker has room for them */
	struct work_meter meter;
	struct spin spin;
};

static inline uint32_t tuned(const atomic_uint *number)
{
	return atomic_load_explicit(number, memory_order_relaxed);
}

/* Has it go to queue_take() before it sleeps. */
static inline void worker_must_take(struct worker *w)
{
	queue_ring_self(w->options.queue, w->index);
}

/* Takes over an arrival, and connections of workers that left, with all that is pending. */
void worker_adopt(struct worker *w, struct arrival *a);
void worker_adopt_handed(struct worker *w, struct deadline_list *handed);

/* Hands everything that it holds to the workers that stay. */
void worker_hand_over(struct worker *w);

/* Gives count of those that read, from first on, to another worker of the pool. */
void worker_give(struct worker *w, struct deadline_entry *first, uint32_t count, unsigned int to);

/*
 * Once a period looks how much it has worked, and gives connections to a worker that works less.
 * Call it when no event is left that names one.
 */
void share_work(struct worker *w);

/* Tells who holds it, if it was asked. */
void holders_tell(struct worker *w);

/*
 * Looks for events for a short while, if that pays: answers as the engine's wait() does. 0: there
 * was none, or the worker was rung.
 */
unsigned int spin_wait(struct worker *w);

/* Gives a connection one turn, which may close it. */
void worker_serve(struct worker *w, struct conn *c);

void worker_close(struct worker *w, struct conn *c, enum conn_end end);
void worker_close_all(struct worker *w);

/* Whether it is time to look for one to close for others; then not again for a while. */
bool timeouts_may_look(struct worker *w);

/* Looks for one to close for a connection that is counted so and waits since then, and closes it.
 */
void timeouts_make_room(struct worker *w, const struct address_key *waiting, uint64_t since_ns);

/* When timeouts_apply() has something to do; DEADLINE_NEVER for never. */
uint64_t timeouts_next_ns(const struct worker *w);

/* Closes the connections whose time has come, and goes to the queue if it may evict some. */
void timeouts_apply(struct worker *w);

#endif
