/*
 * A worker's own state, which its three files share: worker.c, its loop; worker_conns.c, the
 * connections that it holds; and timeouts.c, which closes them in time. The functions below are
 * called by the worker's thread. Nobody else includes this.
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
#include "echopool/pool/worker.h"

struct worker {
	struct worker_stats stats; /* written by its thread, read by any */

	/* Set before the thread starts. */
	unsigned int index; /* its slot in the queue */
	struct worker_options options;
	struct bell bell;
	int epoll_fd;

	pthread_t thread; /* main thread */

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

static inline uint32_t tuned(const atomic_uint *number)
{
	return atomic_load_explicit(number, memory_order_relaxed);
}

/* worker_conns.c */

/* Makes an arrival a connection of this worker. */
void worker_adopt(struct worker *w, struct arrival *a);

/* Takes over the connections of workers that left. */
void worker_adopt_handed(struct worker *w, struct queue_link *links);

/* Hands all that it holds to the workers that stay. */
void worker_hand_over(struct worker *w);

/* Gives a connection its turn. */
void worker_serve(struct worker *w, struct conn *c);

/* Ends a connection that the worker holds. */
void worker_close_conn(struct worker *w, struct conn *c, enum conn_end end);

/* Ends all connections, as the server stops. */
void worker_close_all(struct worker *w);

/* timeouts.c */

/* How many connections could be closed for others that wait. */
uint32_t timeouts_count_evictable(const struct worker *w);

/* Closes up to count connections for others that wait: those silent for longest. */
void timeouts_evict(struct worker *w, uint32_t count);

/* When the next connection may have to be closed; DEADLINE_NEVER for none. */
uint64_t timeouts_next_ns(const struct worker *w);

/* Closes the connections whose time has come. */
void timeouts_apply(struct worker *w);

#endif
