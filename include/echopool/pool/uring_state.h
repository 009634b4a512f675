/*
 * The state of an io_uring engine, which its three files share: engine_uring.c, what the worker
 * calls; uring_flight.c, what is in flight for a connection and what its end means;
 * uring_buffers.c, the shared buffers. Only the worker's thread calls the functions below, once it
 * runs. Nobody else includes this.
 */
#ifndef ECHOPOOL_POOL_URING_STATE_H
#define ECHOPOOL_POOL_URING_STATE_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "echopool/pool/engine.h"

/* The shared buffers: so many at most, a power of two. */
#define BUFFERS_MAX  64U
#define BUFFER_GROUP 0

/* user_data of what is no connection's. */
#define OF_NOBODY   0
#define OF_THE_BELL 2
/* In the address of a connection: of a send, and not of what waits. */
#define OF_A_SEND 1

struct buffer {
	unsigned char *bytes;
	size_t count; /* its size */
};

/* The worker's thread only, once that runs. */
struct uring_engine {
	struct engine engine;
	struct io_uring ring;
	bool has_ring;
	bool stopping;                      /* nothing is put in flight any more */
	struct deadline_list *forgotten[2]; /* by forget_all() */
	unsigned int ready;                 /* completions that this wait has still to name */
	uint32_t in_flight;                 /* connections with something in flight */
	int bell_fd;
	size_t buffer_bytes;
	unsigned int buffer_count;
	struct io_uring_buf_ring *buffer_ring; /* the buffers that the kernel may take */
	struct conn *sending[BUFFERS_MAX];     /* those whose send has to be settled */
	unsigned int sending_count;
	struct buffer spare; /* for those that got no buffer */
	struct buffer buffers[BUFFERS_MAX];
};

static inline struct uring_engine *uring_of(struct engine *e)
{
	return (struct uring_engine *)e;
}

/* The completion number index of those that wait in the ring. */
static inline struct io_uring_cqe *uring_completion_at(const struct io_uring *ring,
						       unsigned int index)
{
	return &ring->cq.cqes[(*ring->cq.khead + index) & ring->cq.ring_mask];
}

/* The connection that a completion is of; NULL: of nobody, or of the bell. */
static inline struct conn *uring_conn_of(const struct io_uring_cqe *cqe)
{
	if (cqe->user_data <= OF_THE_BELL)
		return NULL;
	/* io_uring keeps the pointer as a number: NOLINTNEXTLINE(performance-no-int-to-ptr) */
	return (struct conn *)(uintptr_t)(cqe->user_data & ~(uint64_t)OF_A_SEND);
}

static inline enum conn_want uring_wanted(const struct conn *c)
{
	return c->pending ? CONN_WANT_WRITE : CONN_WANT_READ;
}

/* Ends the process for an answer of io_uring that is none of those that come while all is well. */
void uring_check(int answer, const char *call);

/* Opens the shared buffers for e->buffer_bytes. False: errno says why. */
bool uring_open_buffers(struct uring_engine *e);

/* Lets the kernel take a buffer. */
void uring_give_buffer(struct uring_engine *e, unsigned int number);

/* The engine's tune(). */
void uring_tune(struct engine *engine, size_t buffer_bytes);

/* Submits what is prepared, and has the kernel look at what has become ready. */
void uring_submit(struct uring_engine *e);

/* After any other call that submits: those whose send took all are done with it. */
void uring_settle(struct uring_engine *e);

/* NULL: the kernel takes no more now. */
struct io_uring_sqe *uring_new_submission(struct uring_engine *e);

/* Has the bell end each wait from now on. False: the kernel takes no more now. */
bool uring_watch_bell(struct uring_engine *e);

/* Puts in flight what the connection wants. False: c->error says why it is not. */
bool uring_begin_wanted(struct uring_engine *e, struct conn *c);

/* Takes what a completion says to the connection, which has nothing in flight then. */
void uring_complete(struct uring_engine *e, struct conn *c, const struct io_uring_cqe *cqe);

/* Takes the completion of c ahead of its turn. False: there is none. */
bool uring_fetch(struct uring_engine *e, struct conn *c);

/* What a completion means. Goes on with what the connection wants then, if it does. */
enum conn_want uring_answer(struct uring_engine *e, struct conn *c, bool goes_on);

#endif
