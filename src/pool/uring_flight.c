/*
 * What an io_uring engine has in flight for a connection, and what its end means; see
 * engine_uring.c for the rules.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "echopool/base/thread.h"
#include "echopool/pool/conn_io.h"
#include "echopool/pool/uring_state.h"

/* What may be answered while all is well: a signal, a timeout, a lack that may pass. */
void uring_check(int answer, const char *call)
{
	if (answer < 0 && answer != -EINTR && answer != -ETIME && answer != -EAGAIN &&
	    answer != -EBUSY && answer != -ENOMEM)
		fail(-answer, call);
}

/* --- sends --- */

/* Tells the connections whose send did not take all. */
static void take_failures(struct uring_engine *e)
{
	const unsigned int count = io_uring_cq_ready(&e->ring);

	for (unsigned int i = 0; i < count; i++) {
		const struct io_uring_cqe *cqe = uring_completion_at(&e->ring, i);

		if (cqe->user_data & OF_A_SEND)
			uring_conn_of(cqe)->sent = cqe->res;
	}
}

/* Its send has ended: takes note of it, and gives the buffer back. */
static enum conn_want end_send(struct uring_engine *e, struct conn *c)
{
	enum conn_want want =
		conn_sent(c, e->buffers[c->lent].bytes, c->lent_bytes, c->sent, e->engine.stats);

	c->sends = false;
	uring_give_buffer(e, c->lent);
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
void uring_settle(struct uring_engine *e)
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

void uring_submit(struct uring_engine *e)
{
	uring_check(io_uring_submit_and_get_events(&e->ring), "io_uring_enter");
	uring_settle(e);
}

/* Whether there is room for so many, which are submitted together. */
static bool have_room(struct uring_engine *e, unsigned int submissions)
{
	if (io_uring_sq_space_left(&e->ring) < submissions)
		uring_submit(e);
	return io_uring_sq_space_left(&e->ring) >= submissions;
}

struct io_uring_sqe *uring_new_submission(struct uring_engine *e)
{
	return have_room(e, 1) ? io_uring_get_sqe(&e->ring) : NULL;
}

static struct io_uring_sqe *begin_flight(struct uring_engine *e, struct conn *c,
					 enum conn_flight flight)
{
	struct io_uring_sqe *sqe = uring_new_submission(e);

	if (!sqe)
		return NULL;
	c->flight = flight;
	e->in_flight++;
	return sqe;
}

bool uring_watch_bell(struct uring_engine *e)
{
	struct io_uring_sqe *sqe = uring_new_submission(e);

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

bool uring_begin_wanted(struct uring_engine *e, struct conn *c)
{
	const bool began = c->pending ? begin_flush(e, c) : begin_receive(e, c);

	if (!began)
		c->error = EAGAIN;
	return began;
}

void uring_complete(struct uring_engine *e, struct conn *c, const struct io_uring_cqe *cqe)
{
	/* Of a send that failed: the recv that is linked to it ends without a completion. */
	c->result = cqe->user_data & OF_A_SEND ? -ECANCELED : cqe->res;
	if (cqe->flags & IORING_CQE_F_BUFFER)
		c->buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	e->in_flight--;
}

bool uring_fetch(struct uring_engine *e, struct conn *c)
{
	const unsigned int count = io_uring_cq_ready(&e->ring);

	for (unsigned int i = 0; i < count; i++) {
		struct io_uring_cqe *cqe = uring_completion_at(&e->ring, i);
		const struct conn *owner = uring_conn_of(cqe);

		if (!owner || owner != c)
			continue;
		uring_complete(e, c, cqe);
		cqe->user_data = OF_NOBODY;
		return true;
	}
	return false;
}

/* Some bytes came, into a shared buffer: they are sent from there. */
static enum conn_want echo(struct uring_engine *e, struct conn *c, bool goes_on)
{
	const uint32_t bytes = (uint32_t)c->result;
	enum conn_want want;

	if (goes_on && begin_echo(e, c, bytes))
		return CONN_WANT_READ;
	want = conn_send(c, e->buffers[c->buffer].bytes, bytes, e->engine.stats);
	uring_give_buffer(e, c->buffer);
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
	if (c->result == -ECANCELED)
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

enum conn_want uring_answer(struct uring_engine *e, struct conn *c, bool goes_on)
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
		want = uring_wanted(c);
	}
	if (want != CONN_WANT_CLOSE && goes_on && c->flight == CONN_FLIGHT_NONE &&
	    !uring_begin_wanted(e, c))
		want = conn_failed(c, c->error);
	return want;
}
