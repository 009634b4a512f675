/*
 * How a worker waits for its connections, and receives and sends: the border between the worker,
 * which knows no system call of these, and an engine, which knows no timeout, no list and no queue.
 *
 *	watch(c)   from now on the engine does what c wants: receive, or flush what is pending
 *	wait()     sleeps until something has happened on one, or the bell rings
 *	next()     names one on which something has happened; NULL: no more of this wait
 *	serve(c)   gives it its turn, and answers what c wants now
 *	forget(c)  ends watch(); serve() that answers CONN_WANT_CLOSE ends it too
 *
 * While a connection is watched the engine may use its descriptor and its pending bytes at any
 * moment, also between two calls: nobody else writes to either, or closes it. After forget()
 * nothing is in flight any more. What had been received meanwhile has been echoed by then, or is
 * pending, so that a connection can be handed on without a byte lost, doubled or reordered.
 *
 * The main thread opens and closes an engine, before its worker's thread starts and after it has
 * ended; all else is called by that thread.
 */
#ifndef ECHOPOOL_POOL_ENGINE_H
#define ECHOPOOL_POOL_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echopool/base/bell.h"
#include "echopool/pool/conn.h"
#include "echopool/pool/worker_stats.h"

struct engine;

struct engine_calls {
	/* The first call of the worker's thread. Returns 0 or an errno value. */
	int (*begin)(struct engine *e);
	/* False: it cannot be watched, and c->error says why; it is not watched then. */
	bool (*watch)(struct engine *e, struct conn *c);
	/*
	 * Returns after timeout_ms at the latest; -1: only for an event or the bell. Answers how
	 * many events there are, the bell's among them.
	 */
	unsigned int (*wait)(struct engine *e, int timeout_ms);
	struct conn *(*next)(struct engine *e);
	/* Only for a connection that next() has named or that is_ready(). */
	enum conn_want (*serve)(struct engine *e, struct conn *c);
	/*
	 * Whether something has happened on c that next() has not named; then serve() it at once.
	 * Not between two calls of next().
	 */
	bool (*is_ready)(struct engine *e, struct conn *c);
	/* Answers what c wants now, which may be to be closed. Not between two calls of next(). */
	enum conn_want (*forget)(struct engine *e, struct conn *c);
	/*
	 * Begins to forget all that are in the two lists, which are all that it watches. next()
	 * names those that need a last serve(); when it answers NULL all are forgotten.
	 */
	void (*forget_all)(struct engine *e, struct deadline_list *reading,
			   struct deadline_list *writing);
	/* Bounds one read from now on; where memory is short the old bound stays. */
	void (*tune)(struct engine *e, size_t buffer_bytes);
	void (*close)(struct engine *e);
};

/* The first member of each engine. */
struct engine {
	const struct engine_calls *calls;
	struct worker_stats *stats; /* where its bytes are counted; set before begin() */
	unsigned int most;          /* events that one wait may tell; UINT_MAX: any number */
};

/*
 * Opens an engine that reads at most buffer_bytes at once and wakes when the bell rings, which
 * outlives it. Returns NULL with errno set.
 */
struct engine *engine_epoll_open(const struct bell *bell, size_t buffer_bytes);
struct engine *engine_uring_open(const struct bell *bell, size_t buffer_bytes);

/* Whether this build and this kernel have all that engine_uring_open() needs; else *why says what
 * is missing. Main thread. */
bool engine_uring_works(const char **why);

#endif
