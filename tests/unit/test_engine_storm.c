/*
 * An engine in a storm: clients that send and read as they like, a worker that forgets connections
 * and takes them again, and new bounds of a read, all by chance from a seed. Over io_uring
 * uring_faults.c has calls interrupted, operations fail and completions change places beside that.
 * Each byte comes back once, in its order.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "../faults/simulation/dice.h"
#include "cmocka_setup.h"
#include "echopool/base/clock.h"
#include "engine_fixture.h"

#define CLIENTS     100 /* more than there are buffers */
#define FULL        4
#define BUFFERS     64 /* of io_uring, for bounds up to 64 KiB */
#define MESSAGE_MAX 3000
#define STEPS       20000
#define SEEDS       5
#define CALM_NS     (60 * NS_PER_S)

static struct dice dice;
static uint64_t sent[CLIENTS], got[CLIENTS];
static unsigned int handed_pending; /* connections with pending bytes that were handed over */

/* The byte number n of what client i sends. */
static unsigned char byte_of(unsigned int i, uint64_t n)
{
	return (unsigned char)(n * 31 + (n >> 12) + i);
}

static void client_sends(const struct fixture *f, unsigned int i, uint32_t most)
{
	unsigned char bytes[MESSAGE_MAX];
	const size_t count = dice_upto(&dice, most);
	ssize_t n;

	for (size_t j = 0; j < count; j++)
		bytes[j] = byte_of(i, sent[i] + j);
	n = send(f->pairs[i].theirs, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	assert_true(n > 0 || errno == EAGAIN);
	sent[i] += n > 0 ? (uint64_t)n : 0;
}

static void client_reads(const struct fixture *f, unsigned int i)
{
	unsigned char bytes[2000];
	const size_t most = dice_upto(&dice, sizeof(bytes));
	const ssize_t n = recv(f->pairs[i].theirs, bytes, most, MSG_DONTWAIT);

	assert_true(n > 0 || errno == EAGAIN);
	for (ssize_t j = 0; j < n; j++)
		assert_int_equal(bytes[j], byte_of(i, got[i]++));
	assert_true(got[i] <= sent[i]);
}

static void turn(struct fixture *f, int timeout_ms)
{
	struct conn *c;

	f->engine->calls->wait(f->engine, timeout_ms);
	while ((c = f->engine->calls->next(f->engine)))
		assert_int_not_equal(f->engine->calls->serve(f->engine, c), CONN_WANT_CLOSE);
}

static void hand_over(struct fixture *f, unsigned int i)
{
	assert_int_not_equal(forget(f, i), CONN_WANT_CLOSE);
	assert_int_equal(f->conns[i]->flight, CONN_FLIGHT_NONE);
	handed_pending += f->conns[i]->pending != NULL;
	assert_true(f->engine->calls->watch(f->engine, f->conns[i]));
}

static void step(struct fixture *f)
{
	const unsigned int i = dice_below(&dice, dice_upto(&dice, dice_upto(&dice, f->count)));
	const uint32_t act = dice_below(&dice, 100);

	if (act < 55)
		client_sends(f, i, MESSAGE_MAX);
	else if (act < 88)
		client_reads(f, i);
	else if (act < 93)
		hand_over(f, i);
	else if (act < 94)
		f->engine->calls->tune(f->engine, dice_upto(&dice, 8192));
	else
		turn(f, 0);
}

/* The clients read until each has all that it has sent. */
static void calm_down(struct fixture *f)
{
	const uint64_t deadline_ns = clock_now_ns() + CALM_NS;

	for (unsigned int i = 0; i < f->count; i++)
		while (got[i] < sent[i]) {
			assert_true(clock_now_ns() < deadline_ns);
			if (!is_ready(f->pairs[i].theirs, POLLIN))
				turn(f, 1);
			client_reads(f, i);
		}
}

/* Without faults as many as there are buffers get one each: none was lost in the storm. */
static void assert_no_buffer_is_lost(struct fixture *f)
{
	engine_has_faults = false;
	turn(f, 0);
	turn(f, 0);
	engine_lacked_buffers = 0;
	for (unsigned int i = 0; i < BUFFERS; i++)
		client_sends(f, i, 1);
	calm_down(f);
	assert_int_equal(engine_lacked_buffers, 0);
}

/* The first clients begin with bytes pending, and do most of what is done. */
static void fill(struct fixture *f)
{
	for (unsigned int i = 0; i < FULL; i++)
		while (!f->conns[i]->pending) {
			client_sends(f, i, MESSAGE_MAX);
			turn(f, 0);
		}
}

static void weather(uint64_t seed)
{
	struct fixture *f = open_engine(CLIENTS);
	uint64_t all = 0;

	dice.state = seed;
	memset(sent, 0, sizeof(sent));
	memset(got, 0, sizeof(got));
	fill(f);
	engine_has_faults = true;
	for (unsigned int i = 0; i < STEPS; i++)
		step(f);
	calm_down(f);
	assert_no_buffer_is_lost(f);
	for (unsigned int i = 0; i < f->count; i++)
		all += sent[i];
	assert_int_equal(stat_get(&f->stats.received_bytes), all);
	assert_int_equal(stat_get(&f->stats.sent_bytes), all);
	forget_and_close(f);
}

static void each_byte_comes_back_once_in_its_order(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		print_message("seed %d\n", (int)seed);
		weather(seed);
	}
	assert_true(handed_pending > 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_byte_comes_back_once_in_its_order),
	};

	if (!choose_engine(argc, argv))
		return 0;
	return cmocka_run_group_tests_name(uses_uring ? "storm_io_uring" : "storm_epoll", tests,
					   NULL, NULL);
}
