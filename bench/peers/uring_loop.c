/*
 * The simple io_uring loop: one thread, one ring, a recv that takes one of the ring's buffers when
 * something has come, then a send from it. "uring_loop PORT" listens on 127.0.0.1 and ends by
 * SIGTERM.
 *
 * bench/compare.py runs it beside echopool, as the yardstick for a loop without a call for each
 * recv and send. A client that does not read keeps its buffer: a few of them stop everybody.
 */
#include <errno.h>
#include <liburing.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

#define SUBMISSIONS  4096
#define COMPLETIONS  16384
#define BUFFERS      64 /* a power of two */
#define BUFFER_GROUP 0

/* What the client's operation in flight is. */
enum operation { RECEIVE, SEND };

struct client {
	int fd;
	enum operation operation;
	unsigned short buffer; /* of a send */
};

static struct io_uring ring;
static struct io_uring_buf_ring *buffer_ring;
static char buffers[BUFFERS][PEER_BUFFER_BYTES];

static struct io_uring_sqe *new_submission(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (!sqe) {
		io_uring_submit(&ring);
		sqe = io_uring_get_sqe(&ring);
	}
	if (!sqe)
		peer_fail("io_uring_get_sqe");
	return sqe;
}

/* The completion of an accept has no client. */
static void begin_accept(int listener)
{
	struct io_uring_sqe *sqe = new_submission();

	io_uring_prep_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
	io_uring_sqe_set_data(sqe, NULL);
}

static void begin_receive(struct client *c)
{
	struct io_uring_sqe *sqe = new_submission();

	c->operation = RECEIVE;
	io_uring_prep_recv(sqe, c->fd, NULL, PEER_BUFFER_BYTES, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
	io_uring_sqe_set_data(sqe, c);
}

static void begin_send(struct client *c, size_t count)
{
	struct io_uring_sqe *sqe = new_submission();

	c->operation = SEND;
	io_uring_prep_send(sqe, c->fd, buffers[c->buffer], count, MSG_NOSIGNAL | MSG_WAITALL);
	io_uring_sqe_set_data(sqe, c);
}

static void give_buffer(unsigned short number)
{
	io_uring_buf_ring_add(buffer_ring, buffers[number], PEER_BUFFER_BYTES, number,
			      io_uring_buf_ring_mask(BUFFERS), 0);
	io_uring_buf_ring_advance(buffer_ring, 1);
}

static void end(struct client *c)
{
	close(c->fd); /* nothing of it is in flight */
	free(c);
}

static void accepted(int listener, int fd)
{
	struct client *c = NULL;

	begin_accept(listener);
	errno = -fd;
	if (fd < 0) {
		peer_accept_failed();
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	begin_receive(c);
}

static void received(struct client *c, const struct io_uring_cqe *cqe)
{
	if (cqe->res == -ENOBUFS) {
		begin_receive(c);
		return;
	}
	if (cqe->flags & IORING_CQE_F_BUFFER)
		c->buffer = (unsigned short)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	if (cqe->res > 0) {
		begin_send(c, (size_t)cqe->res);
		return;
	}
	if (cqe->flags & IORING_CQE_F_BUFFER)
		give_buffer(c->buffer);
	end(c);
}

static void sent(struct client *c, const struct io_uring_cqe *cqe)
{
	give_buffer(c->buffer);
	if (cqe->res < 0)
		end(c);
	else
		begin_receive(c);
}

static void open_ring(void)
{
	struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER |
						  IORING_SETUP_DEFER_TASKRUN |
						  IORING_SETUP_COOP_TASKRUN,
					 .cq_entries = COMPLETIONS};
	struct io_uring_buf_reg registration = {.ring_entries = BUFFERS, .bgid = BUFFER_GROUP};

	errno = -io_uring_queue_init_params(SUBMISSIONS, &ring, &params);
	if (errno)
		peer_fail("io_uring_queue_init");
	buffer_ring = aligned_alloc(4096, 4096);
	if (!buffer_ring)
		peer_fail("aligned_alloc");
	memset(buffer_ring, 0, 4096);
	registration.ring_addr = (uint64_t)(uintptr_t)buffer_ring;
	errno = -io_uring_register_buf_ring(&ring, &registration, 0);
	if (errno)
		peer_fail("io_uring_register_buf_ring");
	for (unsigned short i = 0; i < BUFFERS; i++)
		give_buffer(i);
}

int main(int argc, char **argv)
{
	const int port = peer_port(argc, argv);
	struct io_uring_cqe *cqe;
	unsigned int head, count;
	int listener, error;

	peer_raise_descriptors();
	open_ring();
	listener = peer_listen(port, SOCK_STREAM);
	begin_accept(listener);
	peer_ready();
	for (;;) {
		error = io_uring_submit_and_wait(&ring, 1);
		if (error < 0 && error != -EINTR) {
			errno = -error;
			peer_fail("io_uring_submit_and_wait");
		}
		count = 0;
		io_uring_for_each_cqe(&ring, head, cqe)
		{
			struct client *c = io_uring_cqe_get_data(cqe);

			if (!c)
				accepted(listener, cqe->res);
			else if (c->operation == RECEIVE)
				received(c, cqe);
			else
				sent(c, cqe);
			count++;
		}
		io_uring_cq_advance(&ring, count);
	}
}
