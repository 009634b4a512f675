/*
 * The pool with real workers: every connection served by somebody, spread over all, ended in order,
 * and nothing left behind when it cannot start.
 */
#include <dirent.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/clock.h"
#include "echopool/log.h"
#include "echopool/pool.h"
#include "sockets.h"

#define WORKERS 4
#define CLIENTS 200

struct fixture {
	struct queue *queue;
	struct bell ended;
	struct pool *pool;
};

static struct pool *start(struct fixture *f, unsigned int workers, uint32_t worker_connections)
{
	struct worker_options options = {.worker_connections = worker_connections,
					 .buffer_bytes = 4096};

	assert_true(bell_open(&f->ended));
	f->queue = queue_new(CLIENTS, workers);
	assert_non_null(f->queue);
	options.queue = f->queue;
	f->pool = pool_start(workers, &options, &f->ended);
	return f->pool;
}

static void finish(struct fixture *f)
{
	assert_true(wait_for(f->ended.fd, POLLIN));
	assert_true(pool_has_ended(f->pool));
	pool_free(f->pool);
	queue_free(f->queue);
	bell_close(&f->ended);
}

/* Hands our side of a new connection to the queue and returns the client's. */
static int connect_client(struct fixture *f)
{
	struct tcp_pair pair;
	struct arrival a;

	tcp_pair_open(&pair);
	a = (struct arrival){.fd = pair.ours, .accepted_ns = clock_now_ns()};
	assert_true(queue_push(f->queue, &a));
	return pair.theirs;
}

static void assert_echoes(int fd, const char *text, size_t bytes)
{
	char got[16];

	assert_int_equal(send(fd, text, bytes, MSG_NOSIGNAL), bytes);
	assert_true(wait_for(fd, POLLIN));
	assert_int_equal(recv(fd, got, bytes, MSG_WAITALL), bytes);
	assert_memory_equal(got, text, bytes);
}

static uint64_t taken(const struct pool *p, unsigned int i)
{
	return stat_get(&pool_worker_stats(p, i)->taken);
}

static void test_serves_all_and_spreads_them(void **state)
{
	struct fixture f;
	int clients[CLIENTS];
	uint64_t sum = 0;

	(void)state;
	assert_non_null(start(&f, WORKERS, CLIENTS));
	for (int i = 0; i < CLIENTS; i++)
		clients[i] = connect_client(&f);
	for (int i = 0; i < CLIENTS; i++)
		assert_echoes(clients[i], "echo", 4);
	for (unsigned int i = 0; i < WORKERS; i++) {
		/* An even share is 50; eight at once may fall to one before the next looks. */
		assert_in_range(taken(f.pool, i), 25, 75);
		sum += taken(f.pool, i);
	}
	assert_int_equal(sum, CLIENTS);
	queue_close(f.queue);
	for (int i = 0; i < CLIENTS; i++)
		close(clients[i]);
	finish(&f);
}

static void test_with_one_connection_each_the_next_waits_its_turn(void **state)
{
	struct fixture f;
	int clients[3];

	(void)state;
	assert_non_null(start(&f, 2, 1));
	for (int i = 0; i < 2; i++) {
		clients[i] = connect_client(&f);
		assert_echoes(clients[i], "first", 5);
	}
	clients[2] = connect_client(&f);
	assert_int_equal(send(clients[2], "third", 5, MSG_NOSIGNAL), 5);
	assert_echoes(clients[0], "again", 5);
	assert_echoes(clients[1], "again", 5);
	assert_int_equal(queue_waiting(f.queue), 1);
	assert_false(is_ready(clients[2], POLLIN));
	close(clients[0]);
	assert_true(wait_for(clients[2], POLLIN));
	queue_close(f.queue);
	close(clients[1]);
	close(clients[2]);
	finish(&f);
}

static void test_a_closed_queue_lets_clients_finish(void **state)
{
	struct fixture f;
	int client;

	(void)state;
	assert_non_null(start(&f, 2, 10));
	client = connect_client(&f);
	assert_echoes(client, "one", 3);
	queue_close(f.queue);
	assert_echoes(client, "two", 3);
	assert_false(pool_has_ended(f.pool));
	close(client);
	finish(&f);
}

static void test_a_stopped_queue_closes_what_is_held(void **state)
{
	struct fixture f;
	uint64_t drained = 0;
	int clients[10];
	char byte;

	(void)state;
	assert_non_null(start(&f, 2, 10));
	for (int i = 0; i < 10; i++) {
		clients[i] = connect_client(&f);
		assert_echoes(clients[i], "held", 4);
	}
	queue_stop(f.queue);
	for (int i = 0; i < 10; i++) {
		assert_true(wait_for(clients[i], POLLIN));
		assert_int_equal(recv(clients[i], &byte, 1, 0), 0);
		close(clients[i]);
	}
	assert_true(wait_for(f.ended.fd, POLLIN));
	for (unsigned int i = 0; i < 2; i++)
		drained += stat_get(&pool_worker_stats(f.pool, i)->ended[CONN_END_DRAIN]);
	assert_int_equal(drained, 10);
	finish(&f);
}

static unsigned int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void test_a_pool_that_cannot_start_leaves_nothing(void **state)
{
	const unsigned int before = open_descriptors();
	struct rlimit old, low;
	struct fixture f;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	/* Enough for some workers' epoll sets and bells, not for all. */
	low = (struct rlimit){.rlim_cur = before + 20, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_null(start(&f, 64, 10));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	queue_close(f.queue); /* rings no bell of a worker that is gone */
	queue_free(f.queue);
	bell_close(&f.ended);
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_serves_all_and_spreads_them),
		cmocka_unit_test(test_with_one_connection_each_the_next_waits_its_turn),
		cmocka_unit_test(test_a_closed_queue_lets_clients_finish),
		cmocka_unit_test(test_a_stopped_queue_closes_what_is_held),
		cmocka_unit_test(test_a_pool_that_cannot_start_leaves_nothing),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
