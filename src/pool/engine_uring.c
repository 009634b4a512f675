/*
 * The engine that has the kernel receive and send, through io_uring; see engine.h.
 *
 * One ring for a worker, and at most one operation that waits for each connection:
 *
 *	RECEIVE  a recv that takes one of the shared buffers only when something has come, so that a
 *	         silent connection costs none
 *	FLUSH    what is pending, waiting for room
 *
 * What came is sent from its shared buffer, without waiting, and the next recv is linked to that
 * send: it begins only if the peer took all, and ends without a completion if not. So nothing is
 * read while something is owed, no bytes overtake others, and an echo costs a share of one call,
 * that of the wait. A send that takes all has no completion. It has ended when the call that
 * submitted it returns, and uring_settle() then gives its buffer back, as no peer may keep one.
 * What a peer does not take becomes pending.
 *
 * A connection for which no buffer was left has its turn with recv(2) and send(2), so that it is
 * behind nobody. The bell is polled in the ring, by one operation that stays (so it need not be
 * read, as with epoll).
 *
 * A completion is looked for ahead of its turn for is_ready() and forget(): it is copied to the
 * connection, and its place in the ring gets the mark of one that concerns nobody.
 *
 * A descriptor in flight keeps its socket alive after close(2), which would hold back the FIN. A
 * connection is closed only when nothing is in flight: after its own completion, or forget().
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/thread.h"
#include "echopool/pool/uring_state.h"

/* Submitted at once at most; more are submitted before the next wait. */
#define SUBMISSIONS 256

/* Has room for a completion of each connection of a worker by default; the kernel keeps others. */
#define COMPLETIONS 4096

/* How long a cancelled operation may take to end. The kernel ends those on sockets at once. */
#define CANCEL_NS (5 * NS_PER_S)

/* How long it waits for that until it cancels once more what is left. */
#define CANCEL_AGAIN_MS 50

static int begin(struct engine *engine)
{
	struct uring_engine *e = uring_of(engine);

	/* io_uring_enable_rings(), which the shared library of liburing 2.3 does not export. */
	if (syscall(__NR_io_uring_register, e->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
		    0) < 0)
		return errno;
	/* Saves looking its descriptor up for each call; where that is refused it costs just that.
	 */
	io_uring_register_ring_fd(&e->ring);
	return uring_watch_bell(e) ? 0 : EAGAIN;
}

static bool watch(struct engine *engine, struct conn *c)
{
	c->flight = CONN_FLIGHT_NONE;
	c->sends = false;
	return uring_begin_wanted(uring_of(engine), c);
}

static unsigned int wait_for_completions(struct engine *engine, int timeout_ms)
{
	struct uring_engine *e = uring_of(engine);
	struct __kernel_timespec timeout = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = (long long)(timeout_ms % 1000) * (long long)NS_PER_MS,
	};
	struct io_uring_cqe *first;

	/* Sends have to be settled before it sleeps; mostly something has come by then. */
	uring_submit(e);
	if (timeout_ms != 0 && io_uring_cq_ready(&e->ring) == 0) {
		uring_check(io_uring_submit_and_wait_timeout(
				    &e->ring, &first, 1, timeout_ms < 0 ? NULL : &timeout, NULL),
			    "io_uring_enter");
		uring_settle(e);
	}
	e->ready = io_uring_cq_ready(&e->ring);
	return e->ready;
}

/* The completion of what is cancelled says so, whatever it is; this one only if it found none. */
static bool begin_cancel(struct uring_engine *e, struct conn *c)
{
	struct io_uring_sqe *sqe = uring_new_submission(e);

	if (!sqe)
		return false;
	io_uring_prep_cancel(sqe, c, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(sqe, OF_NOBODY);
	return true;
}

static void cancel_list(struct uring_engine *e, struct deadline_list *list)
{
	for (struct deadline_entry *entry = list->head.next; entry != &list->head;
	     entry = entry->next) {
		struct conn *c = conn_of_deadline(entry);

		if (c->flight != CONN_FLIGHT_NONE && !begin_cancel(e, c))
			fail(EAGAIN, "cancelling in io_uring");
	}
}

/* Of a worker that leaves: all that is in flight has to end. */
static void wait_for_the_cancelled(struct uring_engine *e)
{
	const uint64_t deadline_ns = clock_now_ns() + CANCEL_NS;

	while (e->ready == 0 && e->in_flight) {
		wait_for_completions(&e->engine, CANCEL_AGAIN_MS);
		if (e->ready)
			break;
		if (clock_now_ns() > deadline_ns)
			fail(ETIMEDOUT, "the end of what io_uring has in flight");
		/* Some may have begun only after it was to be cancelled. */
		cancel_list(e, e->forgotten[0]);
		cancel_list(e, e->forgotten[1]);
	}
}

static struct conn *next(struct engine *engine)
{
	struct uring_engine *e = uring_of(engine);

	for (;;) {
		struct io_uring_cqe *cqe;
		struct conn *c;

		if (e->ready == 0 && e->stopping)
			wait_for_the_cancelled(e);
		if (e->ready == 0)
			return NULL;
		e->ready--;
		cqe = uring_completion_at(&e->ring, 0);
		c = uring_conn_of(cqe);
		if (c)
			uring_complete(e, c, cqe);
		else if (cqe->user_data == OF_THE_BELL && !(cqe->flags & IORING_CQE_F_MORE) &&
			 !e->stopping && !uring_watch_bell(e))
			fail(EAGAIN, "the bell in io_uring");
		io_uring_cq_advance(&e->ring, 1);
		if (c)
			return c;
	}
}

static enum conn_want serve(struct engine *engine, struct conn *c)
{
	return uring_answer(uring_of(engine), c, !uring_of(engine)->stopping);
}

static bool is_ready(struct engine *engine, struct conn *c)
{
	struct uring_engine *e = uring_of(engine);

	/* Has the kernel look at what has become ready. */
	uring_submit(e);
	return uring_fetch(e, c);
}

static enum conn_want forget(struct engine *engine, struct conn *c)
{
	struct uring_engine *e = uring_of(engine);
	const uint64_t deadline_ns = clock_now_ns() + CANCEL_NS;

	if (c->flight == CONN_FLIGHT_NONE)
		return uring_wanted(c);
	/* Only what has begun can be cancelled: a recv begins after the send that it is linked to.
	 */
	uring_submit(e);
	while (!uring_fetch(e, c)) {
		if (clock_now_ns() > deadline_ns)
			fail(ETIMEDOUT, "the end of what io_uring has in flight");
		begin_cancel(e, c);
		uring_submit(e);
	}
	return uring_answer(e, c, false);
}

static void forget_all(struct engine *engine, struct deadline_list *reading,
		       struct deadline_list *writing)
{
	struct uring_engine *e = uring_of(engine);

	e->stopping = true;
	e->forgotten[0] = reading;
	e->forgotten[1] = writing;
	uring_submit(e); /* see forget() */
	cancel_list(e, reading);
	cancel_list(e, writing);
	uring_submit(e);
	e->ready = io_uring_cq_ready(&e->ring);
}

static void close_engine(struct engine *engine)
{
	struct uring_engine *e = uring_of(engine);

	if (e->has_ring)
		io_uring_queue_exit(&e->ring);
	for (unsigned int i = 0; i < BUFFERS_MAX; i++)
		free(e->buffers[i].bytes);
	free(e->spare.bytes);
	free(e->buffer_ring);
	free(e);
}

static const struct engine_calls calls = {
	.begin = begin,
	.watch = watch,
	.wait = wait_for_completions,
	.next = next,
	.serve = serve,
	.is_ready = is_ready,
	.forget = forget,
	.forget_all = forget_all,
	.tune = uring_tune,
	.close = close_engine,
};

/*
 * The ring is opened disabled, and belongs to the thread that enables it: that one alone uses it,
 * and the kernel does its part only while that thread waits. liburing opens it with O_CLOEXEC.
 */
static int open_ring(struct uring_engine *e)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE |
			 IORING_SETUP_CLAMP,
		.cq_entries = COMPLETIONS,
	};
	const int answered = io_uring_queue_init_params(SUBMISSIONS, &e->ring, &params);

	e->has_ring = answered == 0;
	return -answered;
}

struct engine *engine_uring_open(const struct bell *bell, size_t buffer_bytes)
{
	struct uring_engine *e = calloc(1, sizeof(*e));
	int error;

	if (!e)
		return NULL;
	e->engine.calls = &calls;
	e->engine.most = UINT_MAX;
	e->bell_fd = bell->fd;
	e->buffer_bytes = buffer_bytes;
	errno = ENOMEM;
	error = open_ring(e);
	if (!error && uring_open_buffers(e))
		return &e->engine;
	if (!error)
		error = errno;
	close_engine(&e->engine);
	errno = error;
	return NULL;
}
