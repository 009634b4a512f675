/*
 * What holds at the border of every engine, on real TCP connections: bytes, their order, what is
 * pending, and that nothing is lost when a connection is forgotten while something comes.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/pool/conn_io.h"
#include "engine_fixture.h"
#include "sockets.h"

/* One wait, and a turn for each that it names. Returns what the last one wants. */
static enum conn_want turn(struct fixture *f, int timeout_ms)
{
	enum conn_want want = CONN_WANT_READ;
	struct conn *c;

	f->engine->calls->wait(f->engine, timeout_ms);
	while ((c = f->engine->calls->next(f->engine)))
		want = f->engine->calls->serve(f->engine, c);
	return want;
}

static void client_sends(struct fixture *f, unsigned int i, const void *bytes, size_t count)
{
	assert_int_equal(send(f->pairs[i].theirs, bytes, count, MSG_NOSIGNAL), count);
}

static void client_gets(struct fixture *f, unsigned int i, const char *bytes)
{
	char got[64];

	while (!is_ready(f->pairs[i].theirs, POLLIN))
		turn(f, 10);
	assert_int_equal(recv(f->pairs[i].theirs, got, sizeof(got), 0), strlen(bytes));
	assert_memory_equal(got, bytes, strlen(bytes));
}

static void what_comes_is_echoed_and_counted(void **state)
{
	struct fixture *f = open_engine(1);

	(void)state;
	for (int i = 0; i < 3; i++) {
		client_sends(f, 0, "hello", 5);
		client_gets(f, 0, "hello");
	}
	f->engine->calls->wait(f->engine, 0);
	assert_null(f->engine->calls->next(f->engine));
	assert_int_equal(stat_get(&f->stats.received_bytes), 15);
	assert_int_equal(stat_get(&f->stats.sent_bytes), 15);
	forget_and_close(f);
}

static void the_bell_ends_a_wait_each_time(void **state)
{
	struct fixture *f = open_engine(1);

	(void)state;
	for (int i = 0; i < 3; i++) {
		bell_ring(&f->bell);
		assert_int_equal(f->engine->calls->wait(f->engine, WAIT_MS), 1);
		assert_null(f->engine->calls->next(f->engine));
		assert_int_equal(f->engine->calls->wait(f->engine, 10), 0);
	}
	forget_and_close(f);
}

static void more_than_there_are_buffers_are_echoed(void **state)
{
	struct fixture *f = open_engine(CONNS);

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < CONNS; i++)
			client_sends(f, i, "hello", 5);
		for (unsigned int i = 0; i < CONNS; i++)
			client_gets(f, i, "hello");
	}
	forget_and_close(f);
}

static void the_end_and_a_reset_are_told(void **state)
{
	struct fixture *f = open_engine(2);

	(void)state;
	assert_int_equal(shutdown(f->pairs[0].theirs, SHUT_WR), 0);
	assert_int_equal(turn(f, WAIT_MS), CONN_WANT_CLOSE);
	assert_int_equal(f->conns[0]->end, CONN_END_CLIENT);
	reset_on_close(f->pairs[1].theirs);
	close(f->pairs[1].theirs);
	f->pairs[1].theirs = -1;
	assert_int_equal(turn(f, WAIT_MS), CONN_WANT_CLOSE);
	assert_int_equal(f->conns[1]->end, CONN_END_RESET);
	close_engine(f);
}

/* The byte number i of what the client sends. */
static unsigned char byte_at(uint64_t i)
{
	return (unsigned char)(i * 31 + (i >> 12));
}

/* The client sends and reads nothing until our side has bytes pending. */
static uint64_t fill(struct fixture *f)
{
	unsigned char bytes[BUFFER_BYTES];
	uint64_t sent = 0;

	while (!f->conns[0]->pending) {
		ssize_t n;

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = byte_at(sent + i);
		n = send(f->pairs[0].theirs, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
		sent += n > 0 ? (uint64_t)n : 0;
		turn(f, 0);
	}
	return sent;
}

/* The client reads all that it sent, in its order. */
static void drain(struct fixture *f, uint64_t sent)
{
	unsigned char bytes[BUFFER_BYTES];

	for (uint64_t got = 0; got < sent;) {
		ssize_t n = recv(f->pairs[0].theirs, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (n < 0)
			turn(f, 10);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(bytes[i], byte_at(got++));
	}
	assert_false(is_ready(f->pairs[0].theirs, POLLIN));
}

static void what_the_peer_does_not_take_comes_later_in_its_order(void **state)
{
	struct fixture *f = open_engine(1);
	uint64_t sent = fill(f);

	(void)state;
	assert_true(stat_get(&f->stats.sent_bytes) < stat_get(&f->stats.received_bytes));
	drain(f, sent);
	f->engine->calls->wait(f->engine, 0);
	assert_null(f->engine->calls->next(f->engine));
	assert_int_equal(stat_get(&f->stats.sent_bytes), sent);
	forget_and_close(f);
}

/* As a worker hands it on: another engine goes on where this one was. */
static void what_is_pending_outlives_being_forgotten(void **state)
{
	struct fixture *f = open_engine(1);
	uint64_t sent = fill(f);

	(void)state;
	assert_int_equal(forget(f, 0), CONN_WANT_WRITE);
	assert_non_null(f->conns[0]->pending);
	assert_true(f->engine->calls->watch(f->engine, f->conns[0]));
	drain(f, sent);
	forget_and_close(f);
}

/* At whatever moment: before the engine saw the bytes, when it has received them, when it sends. */
static void no_byte_is_lost_when_it_is_forgotten(void **state)
{
	struct fixture *f = open_engine(1);

	(void)state;
	for (int moment = 0; moment < 3; moment++) {
		client_sends(f, 0, "hello", 5);
		assert_true(wait_for(f->pairs[0].theirs, POLLOUT));
		if (moment == 1)
			f->engine->calls->wait(f->engine, WAIT_MS);
		if (moment == 2)
			turn(f, WAIT_MS);
		assert_int_equal(forget(f, 0), CONN_WANT_READ);
		assert_true(f->engine->calls->watch(f->engine, f->conns[0]));
		client_gets(f, 0, "hello");
		assert_false(is_ready(f->pairs[0].theirs, POLLIN));
	}
	forget_and_close(f);
}

static void a_closed_one_sends_its_fin_at_once(void **state)
{
	struct fixture *f = open_engine(1);
	char byte;

	(void)state;
	assert_int_equal(f->engine->calls->wait(f->engine, 0), 0);
	assert_int_equal(forget(f, 0), CONN_WANT_READ);
	f->count = 0;
	conn_close(f->conns[0], CONN_END_CLIENT, 1000, false, &f->stats);
	assert_true(wait_for(f->pairs[0].theirs, POLLIN));
	assert_int_equal(recv(f->pairs[0].theirs, &byte, 1, 0), 0);
	close(f->pairs[0].theirs);
	close_engine(f);
}

static void all_are_forgotten_at_once_and_nothing_is_lost(void **state)
{
	struct fixture *f = open_engine(CONNS);
	struct deadline_list reading, writing;
	struct conn *c;

	(void)state;
	deadline_list_init(&reading);
	deadline_list_init(&writing);
	for (unsigned int i = 0; i < CONNS; i++)
		deadline_list_append(&reading, &f->conns[i]->deadline, 1);
	f->engine->calls->wait(f->engine, 0);
	for (unsigned int i = 0; i < CONNS; i += 2)
		client_sends(f, i, "hello", 5);
	f->engine->calls->forget_all(f->engine, &reading, &writing);
	while ((c = f->engine->calls->next(f->engine)))
		assert_int_equal(f->engine->calls->serve(f->engine, c), CONN_WANT_READ);
	for (unsigned int i = 0; i < CONNS; i++)
		assert_int_equal(f->conns[i]->flight, CONN_FLIGHT_NONE);
	for (unsigned int i = 0; i < CONNS; i += 2)
		assert_int_equal(is_ready(f->pairs[i].theirs, POLLIN) +
					 is_ready(f->conns[i]->fd, POLLIN),
				 1);
	close_engine(f);
}

static void a_new_bound_of_one_read_is_followed(void **state)
{
	static const size_t bounds[] = {1024, 8192, 2048};
	struct fixture *f = open_engine(1);
	char bytes[8192] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		f->engine->calls->tune(f->engine, bounds[i]);
		/* Buffers that an engine has lent have the new size when they are lent again. */
		for (int j = 0; j < 100; j++) {
			client_sends(f, 0, "hello", 5);
			client_gets(f, 0, "hello");
		}
		client_sends(f, 0, bytes, sizeof(bytes));
		assert_true(wait_for(f->conns[0]->fd, POLLIN));
		do
			f->engine->calls->wait(f->engine, WAIT_MS);
		while (f->engine->calls->next(f->engine) != f->conns[0]);
		const uint64_t before = f->conns[0]->received_bytes;

		assert_int_equal(f->engine->calls->serve(f->engine, f->conns[0]), CONN_WANT_READ);
		assert_true(f->conns[0]->received_bytes - before <= bounds[i]);
		for (size_t got = 0; got < sizeof(bytes);) {
			ssize_t n = recv(f->pairs[0].theirs, bytes, sizeof(bytes), MSG_DONTWAIT);

			if (n < 0)
				turn(f, 10);
			got += n > 0 ? (size_t)n : 0;
		}
	}
	forget_and_close(f);
}

static int run_all(const char *name)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_is_echoed_and_counted),
		cmocka_unit_test(the_bell_ends_a_wait_each_time),
		cmocka_unit_test(more_than_there_are_buffers_are_echoed),
		cmocka_unit_test(the_end_and_a_reset_are_told),
		cmocka_unit_test(what_the_peer_does_not_take_comes_later_in_its_order),
		cmocka_unit_test(what_is_pending_outlives_being_forgotten),
		cmocka_unit_test(no_byte_is_lost_when_it_is_forgotten),
		cmocka_unit_test(a_closed_one_sends_its_fin_at_once),
		cmocka_unit_test(all_are_forgotten_at_once_and_nothing_is_lost),
		cmocka_unit_test(a_new_bound_of_one_read_is_followed),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

/* One engine for each run. */
int main(int argc, char **argv)
{
	return choose_engine(argc, argv) ? run_all(uses_uring ? "engine_io_uring" : "engine_epoll")
					 : 0;
}
