/*
 * Faults at the border to io_uring, which the linker puts between the engine and liburing: calls
 * that are interrupted, operations that fail though they were begun, and completions in any order.
 * An operation that is to fail becomes one that does nothing, so that no byte is taken by it.
 */
#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../faults/simulation/dice.h"
#include "echopool/pool/uring_state.h"
#include "engine_fixture.h"

int __wrap_io_uring_submit_and_get_events(struct io_uring *ring);
int __wrap_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **first,
					    unsigned int count, struct __kernel_timespec *timeout,
					    sigset_t *mask);
int __real_io_uring_submit_and_get_events(struct io_uring *ring);
int __real_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **first,
					    unsigned int count, struct __kernel_timespec *timeout,
					    sigset_t *mask);

#define FAILING_MAX 4096

static struct dice dice = {.state = 1};

/* Operations that do nothing instead: whose, and what they are to answer. */
static struct failing {
	uint64_t of;
	int32_t error;
} failing[FAILING_MAX];
static unsigned int failing_count;

static bool is_flush(const struct io_uring_sqe *sqe)
{
	return sqe->opcode == IORING_OP_SEND && !(sqe->user_data & OF_A_SEND);
}

static void make_fail(struct io_uring_sqe *sqe)
{
	static const int32_t errors[] = {-EAGAIN, -EINTR, -ENOMEM, -ECANCELED, -ENOBUFS};
	const uint32_t kinds = is_flush(sqe) ? 4 : 5; /* a send takes no buffer */
	const uint64_t of = sqe->user_data;

	failing[failing_count++] = (struct failing){of, errors[dice_below(&dice, kinds)]};
	*sqe = (struct io_uring_sqe){.opcode = IORING_OP_NOP,
				     .flags = sqe->flags & (uint8_t)~IOSQE_BUFFER_SELECT,
				     .user_data = of};
}

static void before(struct io_uring *ring)
{
	const struct io_uring_sq *sq = &ring->sq;

	for (unsigned int i = sq->sqe_head; i != sq->sqe_tail; i++) {
		struct io_uring_sqe *sqe = &sq->sqes[i & sq->ring_mask];

		if ((sqe->opcode == IORING_OP_RECV || is_flush(sqe)) &&
		    failing_count < FAILING_MAX && engine_has_faults && dice_chance(&dice, 50))
			make_fail(sqe);
	}
}

/* Has a completion answer what was chosen for it; one that ended with its link has none. */
static void answer(struct io_uring_cqe *cqe)
{
	engine_lacked_buffers += cqe->res == -ENOBUFS;
	for (unsigned int i = 0; i < failing_count; i++) {
		if (failing[i].of != (cqe->user_data & ~(uint64_t)OF_A_SEND))
			continue;
		if (!(cqe->user_data & OF_A_SEND) && cqe->res == 0)
			cqe->res = failing[i].error;
		failing[i] = failing[--failing_count];
		return;
	}
}

static int after(struct io_uring *ring, int answered)
{
	const unsigned int count = io_uring_cq_ready(ring);

	for (unsigned int i = 0; i < count; i++)
		answer(uring_completion_at(ring, i));
	for (unsigned int i = 1; i < count; i++) {
		struct io_uring_cqe *a = uring_completion_at(ring, i);
		struct io_uring_cqe *b = uring_completion_at(ring, dice_below(&dice, i + 1));
		const struct io_uring_cqe swapped = *a;

		*a = *b;
		*b = swapped;
	}
	return answered;
}

/* Not while submissions are many: a worker that finds no room for one ends its connection. */
static bool is_interrupted(const struct io_uring *ring)
{
	return engine_has_faults && io_uring_sq_ready(ring) < 64 && dice_chance(&dice, 100);
}

int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
	if (is_interrupted(ring))
		return -EINTR;
	before(ring);
	return after(ring, __real_io_uring_submit_and_get_events(ring));
}

int __wrap_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **first,
					    unsigned int count, struct __kernel_timespec *timeout,
					    sigset_t *mask)
{
	if (is_interrupted(ring))
		return -EINTR;
	before(ring);
	return after(ring,
		     __real_io_uring_submit_and_wait_timeout(ring, first, count, timeout, mask));
}
