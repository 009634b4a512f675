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
#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/pool/pool.h"
#include "sockets.h"

#define WORKERS 4
#define CLIENTS 200

struct fixture {
	struct settings settings;
	struct worker_tuning tuning;
	struct worker_options options;
	struct access *access;
	struct queue *queue;
	struct bell ended;
	struct pool *pool;
};

static bool start(struct fixture *f, unsigned int workers, uint32_t worker_connections)
{
	assert_true(settings_init(&f->settings));
	f->access = access_new(&f->settings);
	assert_non_null(f->access);
	f->queue = queue_new(CLIENTS, POOL_WORKERS_MAX);
	assert_non_null(f->queue);
	queue_set_capacity(f->queue, POOL_WORKERS_MAX, worker_connections);
	assert_true(bell_open(&f->ended));
	f->pool = pool_new(&f->ended);
	assert_non_null(f->pool);
	atomic_init(&f->tuning.buffer_bytes, 4096);
	atomic_init(&f->tuning.idle_ms, 0);
	atomic_init(&f->tuning.idle_when_full_ms, 0);
	atomic_init(&f->tuning.write_ms, 0);
	atomic_init(&f->tuning.log_connections, false);
	atomic_init(&f->tuning.rebalance, true);
	atomic_init(&f->tuning.spin_us, 50);
	f->options = (struct worker_options){
		.queue = f->queue,
		.access = f->access,
		.tuning = &f->tuning,
	};
	return pool_resize(f->pool, workers, &f->options);
}

static void free_all(struct fixture *f)
{
	pool_free(f->pool);
	queue_free(f->queue);
	access_free(f->access);
	settings_free(&f->settings);
	bell_close(&f->ended);
}

static void finish(struct fixture *f)
{
	assert_true(wait_for(f->ended.fd, POLLIN));
	assert_true(pool_has_ended(f->pool));
	free_all(f);
}

/* Hands our side of a new connection to the queue and returns the client's. */
static int connect_client(struct fixture *f)
{
	struct tcp_pair pair;
	struct arrival a, displaced;

	tcp_pair_open(&pair);
	a = (struct arrival){.fd = pair.ours, .accepted_ns = clock_now_ns()};
	assert_true(address_parse("127.0.0.1", 0, &a.peer));
	assert_int_equal(access_admit(f->access, &a.peer, &a.counted), ACCESS_ADMITTED);
	assert_true(queue_push(f->queue, &a, false, &displaced));
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
	assert_true(start(&f, WORKERS, CLIENTS));
	for (int i = 0; i < CLIENTS; i++)
		clients[i] = connect_client(&f);
	for (int i = 0; i < CLIENTS; i++)
		assert_echoes(clients[i], "echo", 4);
	for (unsigned int i = 0; i < WORKERS; i++) {
		/* An even share is 50; one may take eight at once before the next takes. */
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
	assert_true(start(&f, 2, 1));
	for (int i = 0; i < 2; i++) {
		clients[i] = connect_client(&f);
		assert_echoes(clients[i], "first", 5);
	}
	clients[2] = connect_client(&f);
	assert_int_equal(send(clients[2], "third", 5, MSG_NOSIGNAL), 5);
	assert_echoes(clients[0], "again", 5);
	assert_echoes(clients[1], "again", 5);
	assert_int_equal(queue_figures(f.queue).waiting, 1);
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
	assert_true(start(&f, 2, 10));
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
	assert_true(start(&f, 2, 10));
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
	assert_false(start(&f, 64, 10));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	queue_close(f.queue); /* rings no bell of a worker that is gone */
	free_all(&f);
	assert_int_equal(open_descriptors(), before);
}

static uint64_t handed_in(const struct pool *p)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < pool_workers(p); i++)
		sum += stat_get(&pool_worker_stats(p, i)->handed_in);
	return sum;
}

static void test_resizing_loses_no_connection(void **state)
{
	static const unsigned int sizes[] = {1, 7, 2, 8, 1, 3, 1};
	struct fixture f;
	int clients[50];

	(void)state;
	assert_true(start(&f, WORKERS, 20));
	for (int i = 0; i < 50; i++)
		clients[i] = connect_client(&f);
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		for (int i = 0; i < 50; i++)
			assert_echoes(clients[i], "resize", 6);
		assert_true(pool_resize(f.pool, sizes[s], &f.options));
		assert_int_equal(pool_workers(f.pool), sizes[s]);
	}
	for (int i = 0; i < 50; i++)
		assert_echoes(clients[i], "resize", 6);
	assert_true(handed_in(f.pool) >= 25);
	queue_close(f.queue);
	for (int i = 0; i < 50; i++)
		close(clients[i]);
	finish(&f);
}

static void test_growing_that_fails_leaves_the_pool_as_it_was(void **state)
{
	struct rlimit old, low;
	struct fixture f;
	int client;

	(void)state;
	assert_true(start(&f, 2, 10));
	client = connect_client(&f);
	assert_echoes(client, "before", 6);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = (struct rlimit){.rlim_cur = open_descriptors() + 20, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_false(pool_resize(f.pool, 64, &f.options));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(pool_workers(f.pool), 2);
	assert_echoes(client, "after", 5);
	queue_close(f.queue);
	close(client);
	finish(&f);
}

/* Waits until the server has closed the client's connection. */
static void assert_closed(int fd)
{
	char byte;

	assert_true(wait_for(fd, POLLIN));
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

static void test_silent_clients_go_after_their_time(void **state)
{
	struct fixture f;
	uint64_t began_ns;
	int client;

	(void)state;
	assert_true(start(&f, 1, 10));
	atomic_store(&f.tuning.idle_ms, 100);
	began_ns = clock_now_ns();
	client = connect_client(&f);
	assert_closed(client);
	assert_true(clock_now_ns() - began_ns >= 100 * NS_PER_MS);
	assert_int_equal(stat_get(&pool_worker_stats(f.pool, 0)->ended[CONN_END_IDLE]), 1);
	queue_close(f.queue);
	finish(&f);
}

static void test_a_silent_client_makes_room_for_one_that_waits(void **state)
{
	struct fixture f;
	int clients[3];

	(void)state;
	assert_true(start(&f, 1, 2));
	for (int i = 0; i < 2; i++) {
		clients[i] = connect_client(&f);
		assert_echoes(clients[i], "held", 4);
	}
	atomic_store(&f.tuning.idle_when_full_ms, 50);
	clients[2] = connect_client(&f);
	assert_closed(clients[0]); /* the one that was silent for longest, and only that */
	assert_echoes(clients[2], "third", 5);
	assert_echoes(clients[1], "still", 5);
	assert_int_equal(stat_get(&pool_worker_stats(f.pool, 0)->ended[CONN_END_IDLE_WHEN_FULL]),
			 1);
	queue_close(f.queue);
	close(clients[1]);
	close(clients[2]);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_serves_all_and_spreads_them),
		cmocka_unit_test(test_with_one_connection_each_the_next_waits_its_turn),
		cmocka_unit_test(test_a_closed_queue_lets_clients_finish),
		cmocka_unit_test(test_a_stopped_queue_closes_what_is_held),
		cmocka_unit_test(test_a_pool_that_cannot_start_leaves_nothing),
		cmocka_unit_test(test_resizing_loses_no_connection),
		cmocka_unit_test(test_growing_that_fails_leaves_the_pool_as_it_was),
		cmocka_unit_test(test_silent_clients_go_after_their_time),
		cmocka_unit_test(test_a_silent_client_makes_room_for_one_that_waits),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
