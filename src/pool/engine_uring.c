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
 *read while something is owed, no bytes overtake others, and an echo costs a share of one call,
 *that of the wait. A send that takes all has no completion. It has ended when the call that
 *submitted it returns, and settle() then gives its buffer back, as no peer may keep one. What a
 *peer does not take becomes pending.
 *
 * A connection for which no
 * buffer was left has its turn with recv(2) and send(2), so that it is behind nobody. The bell is
 * polled in the ring, by one operation that stays (so it need not be read, as with epoll).
 *
 * A completion is looked for ahead of its turn for is_ready() and forget(): it is copied to the
 * connection, and its place in the ring gets the mark of one that concerns nobody.
 *
 * A descriptor in flight keeps its socket alive after close(2), which would hold back the FIN. A
 * connection is closed only when nothing is in flight: after its own completion, or forget().
 */
#include <errno.h>
#include <liburing.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/thread.h"
#include "echopool/pool/engine.h"

/* Submitted at once at most; more are submitted before the next wait. */
#define SUBMISSIONS 256

/* Has room for a completion of each connection of a worker by default; the kernel keeps others. */
#define COMPLETIONS 4096

/* The shared buffers: so many (a power of two), but at least these for large ones. */
#define BUFFERS_MAX   64U
#define BUFFERS_MIN   8U
#define BUFFERS_BYTES (4U << 20) /* of all together, unless the least are more */
#define BUFFER_GROUP  0

/* How long a cancelled operation may take to end. The kernel ends those on sockets at once. */
#define CANCEL_NS (5 * NS_PER_S)

/* How long it waits for that until it cancels once more what is left. */
#define CANCEL_AGAIN_MS 50

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

static struct uring_engine *of(struct engine *e)
{
	return (struct uring_engine *)e;
}

/* What may be answered while all is well: a signal, a timeout, a lack that may pass. */
static void check(int answer, const char *call)
{
	if (answer < 0 && answer != -EINTR && answer != -ETIME && answer != -EAGAIN &&
	    answer != -EBUSY && answer != -ENOMEM)
		fail(-answer, call);
}

/* --- the buffers --- */

static unsigned int buffers_for(size_t buffer_bytes)
{
	unsigned int count = BUFFERS_MAX;

	while (count > BUFFERS_MIN && count * buffer_bytes > BUFFERS_BYTES)
		count /= 2;
	return count;
}

/* Follows a change of size; where memory is short the old buffer stays. */
static void fit(const struct uring_engine *e, struct buffer *b)
{
	unsigned char *bytes;

	if (b->count == e->buffer_bytes)
		return;
	bytes = malloc(e->buffer_bytes);
	if (!bytes)
		return;
	free(b->bytes);
	*b = (struct buffer){.bytes = bytes, .count = e->buffer_bytes};
}

/* Lets the kernel take it. */
static void give_buffer(struct uring_engine *e, unsigned int number)
{
	struct buffer *b = &e->buffers[number];

	fit(e, b);
	io_uring_buf_ring_add(e->buffer_ring, b->bytes, (unsigned int)b->count,
			      (unsigned short)number, io_uring_buf_ring_mask(BUFFERS_MAX), 0);
	io_uring_buf_ring_advance(e->buffer_ring, 1);
}

static bool open_buffers(struct uring_engine *e)
{
	struct io_uring_buf_reg reg = {.ring_entries = BUFFERS_MAX, .bgid = BUFFER_GROUP};
	int error;

	error = posix_memalign((void **)&e->buffer_ring, 4096,
			       BUFFERS_MAX * sizeof(struct io_uring_buf));
	if (!error) {
		memset(e->buffer_ring, 0, BUFFERS_MAX * sizeof(struct io_uring_buf));
		reg.ring_addr = (uint64_t)(uintptr_t)e->buffer_ring;
		error = -io_uring_register_buf_ring(&e->ring, &reg, 0);
	}
	if (error) {
		errno = error;
		return false;
	}
	fit(e, &e->spare);
	for (unsigned int i = 0; i < e->buffer_count; i++) {
		fit(e, &e->buffers[i]);
		if (!e->buffers[i].bytes)
			return false;
		give_buffer(e, i);
	}
	return e->spare.bytes != NULL;
}

/* The entries that the kernel may take now do not change while the thread is not in a call. */
static void tune(struct engine *engine, size_t buffer_bytes)
{
	struct uring_engine *e = of(engine);

	if (buffer_bytes == e->buffer_bytes)
		return;
	e->buffer_bytes = buffer_bytes;
	fit(e, &e->spare);
	for (unsigned int i = 0; i < BUFFERS_MAX; i++)
		if (e->buffer_ring->bufs[i].len > buffer_bytes)
			e->buffer_ring->bufs[i].len = (unsigned int)buffer_bytes;
}

/* --- sends --- */

static struct io_uring_cqe *completion_at(const struct uring_engine *e, unsigned int index)
{
	const struct io_uring_cq *cq = &e->ring.cq;

	return &cq->cqes[(*cq->khead + index) & cq->ring_mask];
}

/* The connection that a completion is of; NULL: of nobody, or of the bell. */
static struct conn *conn_of(const struct io_uring_cqe *cqe)
{
	if (cqe->user_data <= OF_THE_BELL)
		return NULL;
	/* io_uring keeps the pointer as a number: NOLINTNEXTLINE(performance-no-int-to-ptr) */
	return (struct conn *)(uintptr_t)(cqe->user_data & ~(uint64_t)OF_A_SEND);
}

/* Tells the connections whose send did not take all. */
static void take_failures(struct uring_engine *e)
{
	const unsigned int count = io_uring_cq_ready(&e->ring);

	for (unsigned int i = 0; i < count; i++) {
		const struct io_uring_cqe *cqe = completion_at(e, i);

		if (cqe->user_data & OF_A_SEND)
			conn_of(cqe)->sent = cqe->res;
	}
}

/* Its send has ended: takes note of it, and gives the buffer back. */
static enum conn_want end_send(struct uring_engine *e, struct conn *c)
{
	enum conn_want want =
		conn_sent(c, e->buffers[c->lent].bytes, c->lent_bytes, c->sent, e->engine.stats);

	c->sends = false;
	give_buffer(e, c->lent);
	return want;
}

static bool took_all(const struct conn *c)
{
	return c->sent == (int32_t)c->lent_bytes;
}

/*
 * After a call: those whose send took all are done with it. A connection whose send did not is
 * served for that.
 */
static void settle(struct uring_engine *e)
{
	if (e->sending_count == 0)
		return;
	take_failures(e);
	/* Some were not submitted, or the completion of one that failed may not be here yet. */
	if (io_uring_sq_ready(&e->ring) || io_uring_cq_has_overflow(&e->ring))
		return;
	for (unsigned int i = 0; i < e->sending_count; i++)
		if (e->sending[i] && took_all(e->sending[i]))
			end_send(e, e->sending[i]);
	e->sending_count = 0;
}

/* Of one that is served: a send of it that has not been settled has ended all the same. */
static enum conn_want settle_one(struct uring_engine *e, struct conn *c)
{
	for (unsigned int i = 0; i < e->sending_count; i++)
		if (e->sending[i] == c)
			e->sending[i] = NULL;
	return end_send(e, c);
}

/* --- the ring --- */

static void submit(struct uring_engine *e)
{
	check(io_uring_submit_and_get_events(&e->ring), "io_uring_enter");
	settle(e);
}

/* Whether there is room for so many, which are submitted together. */
static bool have_room(struct uring_engine *e, unsigned int submissions)
{
	if (io_uring_sq_space_left(&e->ring) < submissions)
		submit(e);
	return io_uring_sq_space_left(&e->ring) >= submissions;
}

/* NULL: the kernel takes no more now. */
static struct io_uring_sqe *new_submission(struct uring_engine *e)
{
	return have_room(e, 1) ? io_uring_get_sqe(&e->ring) : NULL;
}

static struct io_uring_sqe *begin_flight(struct uring_engine *e, struct conn *c,
					 enum conn_flight flight)
{
	struct io_uring_sqe *sqe = new_submission(e);

	if (!sqe)
		return NULL;
	c->flight = flight;
	e->in_flight++;
	return sqe;
}

static bool watch_bell(struct uring_engine *e)
{
	struct io_uring_sqe *sqe = new_submission(e);

	if (!sqe)
		return false;
	io_uring_prep_poll_multishot(sqe, e->bell_fd, POLLIN);
	io_uring_sqe_set_data64(sqe, OF_THE_BELL);
	return true;
}

/* --- what is in flight --- */

static bool begin_receive(struct uring_engine *e, struct conn *c)
{
	struct io_uring_sqe *sqe = begin_flight(e, c, CONN_FLIGHT_RECEIVE);

	if (!sqe)
		return false;
	io_uring_prep_recv(sqe, c->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
	io_uring_sqe_set_data(sqe, c);
	return true;
}

/* Sends bytes of the buffer that c received into, and has a recv begin when all are taken. */
static bool begin_echo(struct uring_engine *e, struct conn *c, uint32_t bytes)
{
	const unsigned char *buffer = e->buffers[c->buffer].bytes;
	struct io_uring_sqe *sqe;

	if (e->sending_count == BUFFERS_MAX || !have_room(e, 2))
		return false;
	sqe = io_uring_get_sqe(&e->ring);
	/* A send that is not taken whole fails for its link only if it must wait for all. */
	io_uring_prep_send(sqe, c->fd, buffer, bytes, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL);
	sqe->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)c | OF_A_SEND);
	c->sends = true;
	c->sent = (int32_t)bytes;
	c->lent = c->buffer;
	c->lent_bytes = bytes;
	e->sending[e->sending_count++] = c;
	return begin_receive(e, c);
}

static bool begin_flush(struct uring_engine *e, struct conn *c)
{
	struct io_uring_sqe *sqe = begin_flight(e, c, CONN_FLIGHT_FLUSH);

	if (!sqe)
		return false;
	io_uring_prep_send(sqe, c->fd, c->pending + c->pending_offset,
			   c->pending_bytes - c->pending_offset, MSG_NOSIGNAL);
	io_uring_sqe_set_data(sqe, c);
	return true;
}

/* Puts in flight what the connection wants. */
static bool begin_wanted(struct uring_engine *e, struct conn *c)
{
	const bool began = c->pending ? begin_flush(e, c) : begin_receive(e, c);

	if (!began)
		c->error = EAGAIN;
	return began;
}

static bool watch(struct engine *engine, struct conn *c)
{
	c->flight = CONN_FLIGHT_NONE;
	c->sends = false;
	return begin_wanted(of(engine), c);
}

/* Takes what a completion says to the connection, which has nothing in flight then. */
static void complete(struct uring_engine *e, struct conn *c, const struct io_uring_cqe *cqe)
{
	/* Of a send that failed: the recv that is linked to it ends without a completion. */
	c->result = cqe->user_data & OF_A_SEND ? -ECANCELED : cqe->res;
	if (cqe->flags & IORING_CQE_F_BUFFER)
		c->buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	e->in_flight--;
}

/* Takes the completion of c ahead of its turn. False: there is none. */
static bool fetch(struct uring_engine *e, struct conn *c)
{
	const unsigned int count = io_uring_cq_ready(&e->ring);

	for (unsigned int i = 0; i < count; i++) {
		struct io_uring_cqe *cqe = completion_at(e, i);

		if (conn_of(cqe) != c)
			continue;
		complete(e, c, cqe);
		cqe->user_data = OF_NOBODY;
		return true;
	}
	return false;
}

static enum conn_want wanted(const struct conn *c)
{
	return c->pending ? CONN_WANT_WRITE : CONN_WANT_READ;
}

/* Some bytes came, into a shared buffer: they are sent from there. */
static enum conn_want echo(struct uring_engine *e, struct conn *c, bool goes_on)
{
	const uint32_t bytes = (uint32_t)c->result;
	enum conn_want want;

	if (goes_on && begin_echo(e, c, bytes))
		return CONN_WANT_READ;
	want = conn_send(c, e->buffers[c->buffer].bytes, bytes, e->engine.stats);
	give_buffer(e, c->buffer);
	return want;
}

static enum conn_want received(struct uring_engine *e, struct conn *c, bool goes_on)
{
	enum conn_want want = c->sends ? settle_one(e, c) : CONN_WANT_READ;

	if (want != CONN_WANT_READ)
		return want; /* its send did not take all, so that nothing was received */
	/* No buffer was left, or no memory to wait with: its turn is now. */
	if (c->result == -ENOBUFS || c->result == -EAGAIN || c->result == -ENOMEM)
		return conn_serve(c, e->spare.bytes, e->spare.count, e->engine.stats);
	if (c->result == -ECANCELED || c->result == -EINTR)
		return CONN_WANT_READ;
	want = conn_received(c, c->result, e->engine.stats);
	return want == CONN_WANT_WRITE ? echo(e, c, goes_on) : want;
}

static enum conn_want flushed(const struct uring_engine *e, struct conn *c)
{
	const ssize_t n = c->result == -ECANCELED || c->result == -ENOMEM ? -EAGAIN : c->result;

	return conn_sent(c, c->pending + c->pending_offset, c->pending_bytes - c->pending_offset, n,
			 e->engine.stats);
}

/* What a completion means. Goes on with what the connection wants then, if it does. */
static enum conn_want answer(struct uring_engine *e, struct conn *c, bool goes_on)
{
	const enum conn_flight flight = c->flight;
	enum conn_want want;

	c->flight = CONN_FLIGHT_NONE;
	switch (flight) {
	case CONN_FLIGHT_RECEIVE:
		want = received(e, c, goes_on);
		break;
	case CONN_FLIGHT_FLUSH:
		want = flushed(e, c);
		break;
	default:
		want = wanted(c);
	}
	if (want != CONN_WANT_CLOSE && goes_on && c->flight == CONN_FLIGHT_NONE &&
	    !begin_wanted(e, c))
		want = conn_failed(c, c->error);
	return want;
}

/* --- what the worker calls --- */

static int begin(struct engine *engine)
{
	struct uring_engine *e = of(engine);

	/* io_uring_enable_rings(), which the shared library of liburing 2.3 does not export. */
	if (syscall(__NR_io_uring_register, e->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
		    0) < 0)
		return errno;
	/* Saves looking its descriptor up for each call; where that is refused it costs just that.
	 */
	io_uring_register_ring_fd(&e->ring);
	return watch_bell(e) ? 0 : EAGAIN;
}

static unsigned int wait_for_completions(struct engine *engine, int timeout_ms)
{
	struct uring_engine *e = of(engine);
	struct __kernel_timespec timeout = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = (long long)(timeout_ms % 1000) * (long long)NS_PER_MS,
	};
	struct io_uring_cqe *first;

	/* Sends have to be settled before it sleeps; mostly something has come by then. */
	submit(e);
	if (timeout_ms != 0 && io_uring_cq_ready(&e->ring) == 0) {
		check(io_uring_submit_and_wait_timeout(&e->ring, &first, 1,
						       timeout_ms < 0 ? NULL : &timeout, NULL),
		      "io_uring_enter");
		settle(e);
	}
	e->ready = io_uring_cq_ready(&e->ring);
	return e->ready;
}

/* The completion of what is cancelled says so, whatever it is; this one only if it found none. */
static bool begin_cancel(struct uring_engine *e, struct conn *c)
{
	struct io_uring_sqe *sqe = new_submission(e);

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
	struct uring_engine *e = of(engine);

	for (;;) {
		struct io_uring_cqe *cqe;
		struct conn *c;

		if (e->ready == 0 && e->stopping)
			wait_for_the_cancelled(e);
		if (e->ready == 0)
			return NULL;
		e->ready--;
		cqe = completion_at(e, 0);
		c = conn_of(cqe);
		if (c)
			complete(e, c, cqe);
		else if (cqe->user_data == OF_THE_BELL && !(cqe->flags & IORING_CQE_F_MORE) &&
			 !e->stopping && !watch_bell(e))
			fail(EAGAIN, "the bell in io_uring");
		io_uring_cq_advance(&e->ring, 1);
		if (c)
			return c;
	}
}

static enum conn_want serve(struct engine *engine, struct conn *c)
{
	return answer(of(engine), c, !of(engine)->stopping);
}

static bool is_ready(struct engine *engine, struct conn *c)
{
	struct uring_engine *e = of(engine);

	/* Has the kernel look at what has become ready. */
	submit(e);
	return fetch(e, c);
}

static enum conn_want forget(struct engine *engine, struct conn *c)
{
	struct uring_engine *e = of(engine);
	const uint64_t deadline_ns = clock_now_ns() + CANCEL_NS;

	if (c->flight == CONN_FLIGHT_NONE)
		return wanted(c);
	/* Only what has begun can be cancelled: a recv begins after the send that it is linked to.
	 */
	submit(e);
	while (!fetch(e, c)) {
		if (clock_now_ns() > deadline_ns)
			fail(ETIMEDOUT, "the end of what io_uring has in flight");
		begin_cancel(e, c);
		submit(e);
	}
	return answer(e, c, false);
}

static void forget_all(struct engine *engine, struct deadline_list *reading,
		       struct deadline_list *writing)
{
	struct uring_engine *e = of(engine);

	e->stopping = true;
	e->forgotten[0] = reading;
	e->forgotten[1] = writing;
	submit(e); /* see forget() */
	cancel_list(e, reading);
	cancel_list(e, writing);
	submit(e);
	e->ready = io_uring_cq_ready(&e->ring);
}

static void close_engine(struct engine *engine)
{
	struct uring_engine *e = of(engine);

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
	.tune = tune,
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
	e->buffer_count = buffers_for(buffer_bytes);
	errno = ENOMEM;
	error = open_ring(e);
	if (!error && open_buffers(e))
		return &e->engine;
	if (!error)
		error = errno;
	close_engine(&e->engine);
	errno = error;
	return NULL;
}
