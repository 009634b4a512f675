/*
 * One connection's echo on a real TCP connection: bytes, pending bytes, ends, and memory.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/pool/conn_io.h"
#include "sockets.h"

#define BUFFER_BYTES 4096

struct fixture {
	struct tcp_pair pair; /* ours is the connection's */
	struct conn *conn;
	struct worker_stats stats;
	unsigned char buffer[BUFFER_BYTES];
};

static struct fixture *open_conn(void)
{
	struct fixture *f = aligned_alloc(CACHE_LINE_BYTES, sizeof(*f) + CACHE_LINE_BYTES -
								    sizeof(*f) % CACHE_LINE_BYTES);
	struct arrival a;

	assert_non_null(f);
	memset(f, 0, sizeof(*f));
	tcp_pair_open(&f->pair);
	a = (struct arrival){.fd = f->pair.ours};
	f->conn = conn_new(&a);
	assert_non_null(f->conn);
	assert_int_equal(a.fd, -1);
	return f;
}

static void close_conn(struct fixture *f, enum conn_end end)
{
	int fd = f->conn->fd;

	conn_close(f->conn, end, 1000, false, &f->stats);
	assert_int_equal(stat_get(&f->stats.ended[end]), 1);
	assert_false(is_open(fd));
	f->pair.ours = -1;
	tcp_pair_close(&f->pair);
	free(f);
}

static enum conn_want serve(struct fixture *f)
{
	return conn_serve(f->conn, f->buffer, BUFFER_BYTES, &f->stats);
}

/* Sends from the client's side and waits until our side sees something. */
static void client_sends(struct fixture *f, const void *bytes, size_t count)
{
	assert_int_equal(send(f->pair.theirs, bytes, count, MSG_NOSIGNAL), count);
	assert_true(wait_for(f->pair.ours, POLLIN));
}

static void client_gets(struct fixture *f, const void *bytes, size_t count)
{
	unsigned char got[BUFFER_BYTES];

	assert_int_equal(recv(f->pair.theirs, got, count, MSG_WAITALL), count);
	assert_memory_equal(got, bytes, count);
}

static void test_echoes_a_message(void **state)
{
	struct fixture *f = open_conn();

	(void)state;
	client_sends(f, "hello", 5);
	assert_int_equal(serve(f), CONN_WANT_READ);
	client_gets(f, "hello", 5);
	assert_int_equal(f->conn->received_bytes, 5);
	assert_int_equal(f->conn->sent_bytes, 5);
	assert_int_equal(stat_get(&f->stats.received_bytes), 5);
	assert_int_equal(stat_get(&f->stats.sent_bytes), 5);
	close_conn(f, CONN_END_DRAIN);
}

static void test_nothing_to_read_is_no_end(void **state)
{
	struct fixture *f = open_conn();

	(void)state;
	assert_int_equal(serve(f), CONN_WANT_READ);
	close_conn(f, CONN_END_DRAIN);
}

static void test_one_turn_reads_one_buffer(void **state)
{
	unsigned char bytes[2 * BUFFER_BYTES] = {1};
	struct fixture *f = open_conn();

	(void)state;
	client_sends(f, bytes, sizeof(bytes));
	assert_int_equal(serve(f), CONN_WANT_READ);
	assert_in_range(f->conn->received_bytes, 1, BUFFER_BYTES);
	close_conn(f, CONN_END_DRAIN);
}

static void test_the_end_of_the_stream_ends_it(void **state)
{
	struct fixture *f = open_conn();

	(void)state;
	client_sends(f, "last", 4);
	assert_int_equal(shutdown(f->pair.theirs, SHUT_WR), 0);
	assert_int_equal(serve(f), CONN_WANT_READ);
	assert_true(wait_for(f->pair.ours, POLLIN));
	assert_int_equal(serve(f), CONN_WANT_CLOSE);
	assert_int_equal(f->conn->end, CONN_END_CLIENT);
	client_gets(f, "last", 4);
	close_conn(f, CONN_END_CLIENT);
}

static void test_a_reset_ends_it(void **state)
{
	struct fixture *f = open_conn();

	(void)state;
	reset_on_close(f->pair.theirs);
	close(f->pair.theirs);
	f->pair.theirs = -1;
	assert_true(wait_for(f->pair.ours, POLLIN));
	assert_int_equal(serve(f), CONN_WANT_CLOSE);
	assert_int_equal(f->conn->end, CONN_END_RESET);
	close_conn(f, CONN_END_RESET);
}

/* Byte number n of a stream in which no two parts nearby are alike. */
static unsigned char stream_byte(uint64_t n)
{
	return (unsigned char)(n * 2654435761U >> 13);
}

/* The client writes until the connection has pending bytes. Returns how much it wrote. */
static uint64_t fill_until_pending(struct fixture *f)
{
	unsigned char bytes[BUFFER_BYTES];
	uint64_t sent = 0;

	while (!f->conn->pending) {
		ssize_t n;

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = stream_byte(sent + i);
		n = send(f->pair.theirs, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			sent += (uint64_t)n;
		if (is_ready(f->pair.ours, POLLIN))
			serve(f);
		assert_in_range(sent, 0, 1 << 30);
	}
	return sent;
}

static void test_keeps_pending_bytes_for_a_peer_that_does_not_read(void **state)
{
	struct fixture *f = open_conn();

	(void)state;
	fill_until_pending(f);
	assert_in_range(f->conn->pending_bytes, 1, BUFFER_BYTES);
	assert_int_equal(f->conn->received_bytes - f->conn->sent_bytes,
			 f->conn->pending_bytes - f->conn->pending_offset);
	/* It reads no more meanwhile, though there is more. */
	for (int i = 0; i < 3; i++) {
		const uint64_t received = f->conn->received_bytes;

		if (serve(f) == CONN_WANT_WRITE)
			assert_int_equal(f->conn->received_bytes, received);
	}
	close_conn(f, CONN_END_DRAIN);
}

static void test_flushes_every_byte_in_order(void **state)
{
	struct fixture *f = open_conn();
	const uint64_t sent = fill_until_pending(f);
	unsigned char got[BUFFER_BYTES];
	uint64_t received = 0;
	enum conn_want want = CONN_WANT_WRITE;

	(void)state;
	assert_int_equal(shutdown(f->pair.theirs, SHUT_WR), 0);
	while (want != CONN_WANT_CLOSE) {
		ssize_t n = recv(f->pair.theirs, got, sizeof(got), MSG_DONTWAIT);

		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(got[i], stream_byte(received + (uint64_t)i));
		if (n > 0)
			received += (uint64_t)n;
		if (is_ready(f->pair.ours, want == CONN_WANT_WRITE ? POLLOUT : POLLIN))
			want = serve(f);
		assert_int_equal(want == CONN_WANT_WRITE, f->conn->pending != NULL);
	}
	assert_int_equal(f->conn->end, CONN_END_CLIENT);
	assert_int_equal(f->conn->received_bytes, sent);
	assert_int_equal(f->conn->sent_bytes, sent);
	/* What is still in the kernel comes after the close, and then the end. */
	conn_close(f->conn, CONN_END_CLIENT, 1000, false, &f->stats);
	f->pair.ours = -1;
	while (received < sent) {
		ssize_t n = recv(f->pair.theirs, got, sizeof(got), 0);

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(got[i], stream_byte(received + (uint64_t)i));
		received += (uint64_t)n;
	}
	assert_int_equal(recv(f->pair.theirs, got, 1, 0), 0);
	tcp_pair_close(&f->pair);
	free(f);
}

#define LARGE_BYTES        (1 << 20)
#define SMALL_SOCKET_BYTES 4096

static void shrink_send_buffer(int fd)
{
	const int bytes = SMALL_SOCKET_BYTES;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
}

/* Fills the connection's receiving side with the stream while nobody serves it. */
static uint64_t send_what_fits(int fd)
{
	unsigned char bytes[BUFFER_BYTES];
	uint64_t sent = 0;
	ssize_t n;

	do {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = stream_byte(sent + i);
		n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			sent += (uint64_t)n;
	} while (n > 0 && sent < LARGE_BYTES);
	return sent;
}

/* Reads what has come and compares it with the stream at position; returns how much came. */
static uint64_t check_some(int fd, uint64_t position)
{
	unsigned char got[1000];
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);

	for (ssize_t i = 0; i < n; i++)
		assert_int_equal(got[i], stream_byte(position + (uint64_t)i));
	return n > 0 ? (uint64_t)n : 0;
}

/* Waits until the connection has room to write or its peer something to read. */
static void wait_for_either(const struct fixture *f)
{
	struct pollfd ends[] = {{.fd = f->pair.ours, .events = f->conn->pending ? POLLOUT : POLLIN},
				{.fd = f->pair.theirs, .events = POLLIN}};

	assert_true(poll(ends, 2, 10000) > 0);
}

/* One buffer holds far more than the kernel takes at once, so it is flushed in many parts. */
static void test_flushes_in_parts(void **state)
{
	struct fixture *f = open_conn();
	unsigned char *buffer = malloc(LARGE_BYTES);
	unsigned int parts = 0;
	uint64_t received = 0, sent;

	(void)state;
	assert_non_null(buffer);
	shrink_send_buffer(f->pair.ours);
	sent = send_what_fits(f->pair.theirs);
	assert_true(sent > 8 * SMALL_SOCKET_BYTES);
	while (received < sent) {
		wait_for_either(f);
		if (is_ready(f->pair.ours, f->conn->pending ? POLLOUT : POLLIN))
			conn_serve(f->conn, buffer, LARGE_BYTES, &f->stats);
		received += check_some(f->pair.theirs, received);
		parts += f->conn->pending_offset > 0 &&
			 f->conn->pending_offset < f->conn->pending_bytes;
	}
	assert_true(parts > 1);
	assert_null(f->conn->pending);
	assert_int_equal(f->conn->sent_bytes, sent);
	free(buffer);
	close_conn(f, CONN_END_DRAIN);
}

static void test_a_reset_with_pending_bytes_ends_it(void **state)
{
	struct fixture *f = open_conn();

	(void)state;
	fill_until_pending(f);
	reset_on_close(f->pair.theirs);
	close(f->pair.theirs);
	f->pair.theirs = -1;
	assert_true(wait_for(f->pair.ours, POLLHUP));
	assert_int_equal(serve(f), CONN_WANT_CLOSE);
	assert_int_equal(f->conn->end, CONN_END_RESET);
	close_conn(f, CONN_END_RESET);
}

static void test_a_descriptor_that_fails_is_an_error_with_its_errno(void **state)
{
	struct fixture *f = open_conn();
	int pipe_ends[2];

	(void)state;
	assert_int_equal(pipe(pipe_ends), 0);
	assert_int_equal(dup2(pipe_ends[0], f->conn->fd), f->conn->fd);
	assert_int_equal(serve(f), CONN_WANT_CLOSE);
	assert_int_equal(f->conn->end, CONN_END_ERROR);
	assert_int_equal(f->conn->error, ENOTSOCK);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	close_conn(f, CONN_END_ERROR);
}

/* Neither a timeout nor making room for others leaves bytes that the client does not take. */
static void test_the_kernel_keeps_nothing_of_who_is_closed_by_us(void **state)
{
	static const enum conn_end ends[] = {CONN_END_IDLE, CONN_END_IDLE_WHEN_FULL,
					     CONN_END_CROWDED, CONN_END_WRITE};

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct fixture *f = open_conn();

		while (send(f->pair.ours, f->buffer, sizeof(f->buffer), MSG_NOSIGNAL) > 0)
			;
		conn_close(f->conn, ends[i], 1000, false, &f->stats);
		assert_true(wait_for(f->pair.theirs, POLLERR)); /* it is reset */
		f->pair.ours = -1;
		tcp_pair_close(&f->pair);
		free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echoes_a_message),
		cmocka_unit_test(test_nothing_to_read_is_no_end),
		cmocka_unit_test(test_one_turn_reads_one_buffer),
		cmocka_unit_test(test_the_end_of_the_stream_ends_it),
		cmocka_unit_test(test_a_reset_ends_it),
		cmocka_unit_test(test_keeps_pending_bytes_for_a_peer_that_does_not_read),
		cmocka_unit_test(test_flushes_every_byte_in_order),
		cmocka_unit_test(test_flushes_in_parts),
		cmocka_unit_test(test_a_reset_with_pending_bytes_ends_it),
		cmocka_unit_test(test_a_descriptor_that_fails_is_an_error_with_its_errno),
		cmocka_unit_test(test_the_kernel_keeps_nothing_of_who_is_closed_by_us),
	};

	return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
