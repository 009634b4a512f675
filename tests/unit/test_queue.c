/*
 * The bounded queue: order, bounds, who is woken, and how it ends.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/queue.h"
#include "sockets.h"

#define BELLS 4

/* A queue whose places have bells. */
struct fixture {
	struct queue *queue;
	struct bell bells[BELLS];
};

static void open_queue(struct fixture *f, uint32_t limit, uint32_t worker_connections)
{
	f->queue = queue_new(limit, BELLS);
	assert_non_null(f->queue);
	for (unsigned int i = 0; i < BELLS; i++) {
		assert_true(bell_open(&f->bells[i]));
		queue_set_place(f->queue, i, worker_connections, &f->bells[i]);
	}
}

static void close_queue(struct fixture *f)
{
	queue_free(f->queue);
	for (unsigned int i = 0; i < BELLS; i++)
		bell_close(&f->bells[i]);
}

/* Descriptors of the tests are only numbers, far above any that is open. */
#define FD_BASE 1000000

static bool push(struct queue *q, int number)
{
	struct arrival a = {.fd = FD_BASE + number};
	bool pushed = queue_push(q, &a);

	assert_int_equal(a.fd, pushed ? -1 : FD_BASE + number);
	return pushed;
}

/* Takes for a worker that holds `held` and checks that it got the numbers from first on. */
static void take(struct queue *q, unsigned int place, uint32_t held, int first, unsigned int count)
{
	struct queue_batch batch;

	queue_take(q, place, held, 0, &batch);
	assert_int_equal(batch.count, count);
	for (unsigned int i = 0; i < count; i++)
		assert_int_equal(batch.arrivals[i].fd, FD_BASE + first + (int)i);
}

/* The workers behind the first tell that they hold so many; nothing waits yet. */
static void others_hold(struct fixture *f, uint32_t held)
{
	for (unsigned int i = 1; i < BELLS; i++)
		take(f->queue, i, held, 0, 0);
}

static bool rung(struct fixture *f, unsigned int place)
{
	bool was = is_ready(f->bells[place].fd, POLLIN);

	bell_clear(&f->bells[place]);
	return was;
}

static void test_keeps_the_order_across_the_end_of_the_ring(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 3, 100);
	others_hold(&f, 50);
	for (int i = 0; i < 20; i += 2) {
		assert_true(push(f.queue, i));
		assert_true(push(f.queue, i + 1));
		take(f.queue, 0, 1, i, 2);
	}
	close_queue(&f);
}

static void test_refuses_what_does_not_fit(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 2, 100);
	others_hold(&f, 50);
	assert_int_equal(queue_wait_for_room(f.queue, 0), 2);
	assert_true(push(f.queue, 0));
	assert_true(push(f.queue, 1));
	assert_false(push(f.queue, 2));
	assert_int_equal(queue_wait_for_room(f.queue, 0), 0);
	assert_int_equal(queue_figures(f.queue).waiting, 2);
	take(f.queue, 0, 0, 0, 2);
	assert_int_equal(queue_figures(f.queue).waiting, 0);
	close_queue(&f);
}

static void test_gives_a_worker_no_more_than_it_has_room_for(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 3);
	others_hold(&f, 3);
	for (int i = 0; i < 10; i++)
		push(f.queue, i);
	take(f.queue, 0, 1, 0, 2);
	take(f.queue, 0, 3, 0, 0);
	take(f.queue, 1, 0, 2, 3);
	take(f.queue, 2, 0, 5, 3);
	take(f.queue, 3, 1, 8, 2);
	close_queue(&f);
}

static void test_gives_at_most_eight_at_once(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 100);
	others_hold(&f, 50);
	for (int i = 0; i < 20; i++)
		push(f.queue, i);
	take(f.queue, 0, 5, 0, QUEUE_TAKE_MAX);
	take(f.queue, 0, 13, 8, QUEUE_TAKE_MAX);
	take(f.queue, 1, 5, 16, 4);
	close_queue(&f);
}

static void test_rings_the_worker_that_holds_fewest(void **state)
{
	const uint32_t held[BELLS] = {6, 2, 9, 4};
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 100);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, held[i], 0, 0);
	push(f.queue, 0);
	assert_false(rung(&f, 0));
	assert_true(rung(&f, 1));
	assert_false(rung(&f, 2));
	assert_false(rung(&f, 3));
	push(f.queue, 1);
	assert_false(rung(&f, 1)); /* it was rung and has not looked yet */
	take(f.queue, 1, 2, 0, 2);
	take(f.queue, 1, 5, 0, 0);
	push(f.queue, 2);
	assert_true(rung(&f, 3)); /* 1 holds five now */
	close_queue(&f);
}

static void test_rings_no_worker_without_room(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 2);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, i == 2 ? 1 : 2, 0, 0);
	push(f.queue, 0);
	assert_true(rung(&f, 2));
	take(f.queue, 2, 1, 0, 1);
	push(f.queue, 1);
	for (unsigned int i = 0; i < BELLS; i++)
		assert_true(rung(&f, i)); /* only to learn that others wait */
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, 2, 1, 0);
	take(f.queue, 3, 1, 1, 1); /* one of its two has gone: it looks, and takes */
	close_queue(&f);
}

static void test_a_taker_that_leaves_some_wakes_the_next(void **state)
{
	const uint32_t held[BELLS] = {1, 8, 30, 40};
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 100);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, held[i], 0, 0);
	for (int i = 0; i < 12; i++)
		push(f.queue, i);
	assert_true(rung(&f, 0));
	for (unsigned int i = 1; i < BELLS; i++)
		assert_false(rung(&f, i)); /* twelve pushes, one bell */
	take(f.queue, 0, 1, 0, QUEUE_TAKE_MAX);
	assert_true(rung(&f, 1));
	take(f.queue, 1, 8, 8, 3); /* while it holds no more than nine and an eighth */
	assert_true(rung(&f, 0));
	take(f.queue, 0, 9, 11, 1);
	for (unsigned int i = 0; i < BELLS; i++)
		assert_false(rung(&f, i));
	close_queue(&f);
}

static void test_few_are_spread_one_by_one(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 100);
	for (int i = 0; i < BELLS; i++)
		push(f.queue, i);
	for (unsigned int i = 0; i < BELLS; i++) {
		assert_true(rung(&f, i));
		take(f.queue, i, 0, (int)i, 1);
	}
	for (unsigned int i = 0; i < BELLS; i++)
		assert_false(rung(&f, i));
	close_queue(&f);
}

static void test_leaves_all_to_others_that_hold_fewer(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 100);
	others_hold(&f, 7);
	take(f.queue, 0, 8, 0, 0);
	push(f.queue, 0);
	assert_true(rung(&f, 1));
	take(f.queue, 0, 8, 0, 0); /* it has come for another reason */
	take(f.queue, 2, 8, 0, 0);
	take(f.queue, 1, 7, 0, 1);
	push(f.queue, 1);
	assert_true(rung(&f, 3));
	queue_clear_place(f.queue, 3);
	assert_true(rung(&f, 0)); /* what the other was woken for */
	take(f.queue, 0, 8, 1, 1);
	close_queue(&f);
}

static void test_rings_nobody_where_a_worker_has_left(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 10);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, 1 + i, 0, 0);
	queue_clear_place(f.queue, 0);
	push(f.queue, 0);
	assert_false(rung(&f, 0));
	assert_true(rung(&f, 1));
	take(f.queue, 1, 2, 0, 1);
	queue_close(f.queue);
	assert_false(rung(&f, 0));
	close_queue(&f);
}

static void test_closed_gives_what_waits_and_then_the_end(void **state)
{
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 100);
	others_hold(&f, 50);
	for (int i = 0; i < 9; i++)
		push(f.queue, i);
	queue_close(f.queue);
	for (unsigned int i = 0; i < BELLS; i++)
		assert_true(rung(&f, i)); /* all must learn it */
	queue_take(f.queue, 0, 0, 0, &batch);
	assert_int_equal(batch.count, QUEUE_TAKE_MAX);
	assert_false(batch.ended);
	queue_take(f.queue, 1, 0, 0, &batch);
	assert_int_equal(batch.count, 1);
	assert_true(batch.ended);
	assert_false(batch.stopped);
	queue_take(f.queue, 2, 0, 0, &batch); /* does not sleep */
	assert_int_equal(batch.count, 0);
	assert_true(batch.ended);
	close_queue(&f);
}

static void test_stopped_gives_nothing_more(void **state)
{
	struct queue_batch batch;
	struct queue *q = queue_new(2, 1);
	struct bell bell;
	struct tcp_pair pair;
	struct arrival a;

	(void)state;
	assert_true(bell_open(&bell));
	queue_set_place(q, 0, 1, &bell);
	tcp_pair_open(&pair);
	a = (struct arrival){.fd = pair.ours};
	assert_true(queue_push(q, &a));
	queue_stop(q);
	assert_true(is_ready(bell.fd, POLLIN));
	queue_take(q, 0, 0, 0, &batch);
	assert_true(batch.stopped);
	assert_int_equal(batch.count, 0);
	assert_true(is_open(pair.ours));
	queue_free(q); /* closes what nobody took */
	assert_false(is_open(pair.ours));
	pair.ours = -1;
	tcp_pair_close(&pair);
	bell_close(&bell);
}

/* A thread that is to sleep in the queue, what it is given there, and its kernel's number. */
struct sleeper {
	struct queue *queue;
	pthread_t thread;
	atomic_int tid;
	struct queue_batch batch;
	uint32_t room;
};

static void pause_ms(long ms)
{
	const struct timespec pause = {.tv_nsec = ms * 1000000};

	nanosleep(&pause, NULL);
}

/* The state of a thread as the kernel tells it, or 0 when it cannot be read. */
static char state_of(int tid)
{
	char path[64], text[512];
	const char *name_end;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	name_end = strrchr(text, ')');
	return name_end && name_end[1] == ' ' ? name_end[2] : '\0';
}

/* Starts the thread and waits, for ten seconds at most, until it sleeps: nothing but the queue can
 * make it. */
static void start_sleeper(struct sleeper *s, struct queue *q, void *(*body)(void *))
{
	bool asleep = false;

	*s = (struct sleeper){.queue = q};
	assert_int_equal(pthread_create(&s->thread, NULL, body, s), 0);
	for (int i = 0; i < 10000 && !asleep; i++) {
		const int tid = atomic_load(&s->tid);

		asleep = tid && state_of(tid) == 'S';
		if (!asleep)
			pause_ms(1);
	}
	assert_true(asleep);
}

/* The thread must have woken, and end. */
static void join_sleeper(struct sleeper *s)
{
	struct timespec deadline;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &deadline), 0);
	deadline.tv_sec += 10;
	assert_int_equal(pthread_timedjoin_np(s->thread, NULL, &deadline), 0);
}

static void *take_in_a_thread(void *argument)
{
	struct sleeper *s = argument;

	atomic_store(&s->tid, (int)gettid());
	queue_take(s->queue, 0, 0, 0, &s->batch);
	return NULL;
}

static void test_a_sleeping_worker_wakes_for_a_push(void **state)
{
	struct sleeper s;
	struct fixture f;

	(void)state;
	open_queue(&f, 4, 4);
	start_sleeper(&s, f.queue, take_in_a_thread);
	push(f.queue, 7);
	join_sleeper(&s);
	assert_int_equal(s.batch.count, 1);
	assert_int_equal(s.batch.arrivals[0].fd, FD_BASE + 7);
	close_queue(&f);
}

static void test_a_sleeping_worker_wakes_for_the_end(void **state)
{
	struct sleeper s;
	struct fixture f;

	(void)state;
	open_queue(&f, 4, 4);
	start_sleeper(&s, f.queue, take_in_a_thread);
	queue_close(f.queue);
	join_sleeper(&s);
	assert_true(s.batch.ended);
	close_queue(&f);
}

static void test_a_sleeping_worker_wakes_for_its_dismissal(void **state)
{
	struct sleeper s;
	struct fixture f;

	(void)state;
	open_queue(&f, 4, 4);
	start_sleeper(&s, f.queue, take_in_a_thread);
	queue_dismiss(f.queue, 0);
	join_sleeper(&s);
	assert_true(s.batch.leaving);
	close_queue(&f);
}

/* Two workers with ten each may have twenty; worker 1 holds eighteen, and the others one each. */
static void fill_capacity(struct fixture *f)
{
	open_queue(f, 100, 10);
	queue_set_capacity(f->queue, 2, 10);
	for (unsigned int i = 0; i < BELLS; i++) {
		take(f->queue, i, i == 1 ? 18 : 1, 0, 0);
		assert_true(rung(f, i));
	}
}

static void test_all_together_take_no_more_than_the_capacity(void **state)
{
	struct fixture f;

	(void)state;
	fill_capacity(&f);
	push(f.queue, 0);
	push(f.queue, 1);
	for (unsigned int i = 0; i < BELLS; i++) {
		assert_true(rung(&f, i)); /* all must learn that others wait */
		take(f.queue, i, i == 1 ? 18 : 1, 0, 0);
	}
	take(f.queue, 1, 17, 0, 0);
	assert_false(rung(&f, 0));
	take(f.queue, 1, 16, 0, 0); /* there is room for one, and it is another's */
	assert_true(rung(&f, 0));
	take(f.queue, 0, 1, 0, 1);
	take(f.queue, 2, 1, 1, 0);
	queue_set_capacity(f.queue, 3, 10);
	take(f.queue, 2, 1, 1, 1);
	close_queue(&f);
}

static void test_where_all_hold_what_they_may_others_are_asked_to_evict(void **state)
{
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	fill_capacity(&f);
	push(f.queue, 0);
	queue_take(f.queue, 1, 18, 5, &batch);
	assert_true(batch.pressed);
	assert_int_equal(batch.evict, 1);
	close_queue(&f);
}

static void test_a_worker_sleeps_without_capacity_and_wakes_for_it(void **state)
{
	struct sleeper s;
	struct fixture f;

	(void)state;
	fill_capacity(&f);
	push(f.queue, 7);
	start_sleeper(&s, f.queue, take_in_a_thread);
	take(f.queue, 1, 17, 0, 0);
	join_sleeper(&s);
	assert_int_equal(s.batch.count, 1);
	assert_int_equal(s.batch.arrivals[0].fd, FD_BASE + 7);
	close_queue(&f);
}

static void test_a_worker_wakes_for_more_capacity(void **state)
{
	struct sleeper s;
	struct fixture f;

	(void)state;
	fill_capacity(&f);
	push(f.queue, 7);
	start_sleeper(&s, f.queue, take_in_a_thread);
	queue_set_capacity(f.queue, 3, 10);
	join_sleeper(&s);
	assert_int_equal(s.batch.count, 1);
	close_queue(&f);
}

static void test_a_worker_without_capacity_wakes_for_the_end(void **state)
{
	struct sleeper s;
	struct fixture f;
	struct arrival a;

	(void)state;
	fill_capacity(&f);
	push(f.queue, 7);
	queue_close(f.queue);
	start_sleeper(&s, f.queue, take_in_a_thread);
	assert_true(queue_take_back(f.queue, &a));
	join_sleeper(&s);
	assert_int_equal(s.batch.count, 0);
	assert_true(s.batch.ended);
	close_queue(&f);
}

static void *wait_for_room_in_a_thread(void *argument)
{
	struct sleeper *s = argument;

	atomic_store(&s->tid, (int)gettid());
	s->room = queue_wait_for_room(s->queue, UINT64_MAX);
	return NULL;
}

static void test_the_acceptor_wakes_for_room(void **state)
{
	struct sleeper s;
	struct fixture f;

	(void)state;
	open_queue(&f, 2, 1);
	push(f.queue, 0);
	push(f.queue, 1);
	start_sleeper(&s, f.queue, wait_for_room_in_a_thread);
	take(f.queue, 0, 0, 0, 1);
	join_sleeper(&s);
	assert_int_equal(s.room, 1);
	take(f.queue, 1, 0, 1, 1);
	close_queue(&f);
}

static void test_the_acceptor_wakes_for_an_interrupt(void **state)
{
	struct sleeper s;
	struct fixture f;

	(void)state;
	open_queue(&f, 1, 1);
	push(f.queue, 0);
	start_sleeper(&s, f.queue, wait_for_room_in_a_thread);
	queue_interrupt(f.queue);
	join_sleeper(&s);
	assert_int_equal(s.room, 0);
	take(f.queue, 0, 0, 0, 1);
	close_queue(&f);
}

static void test_the_acceptor_wakes_for_a_higher_limit(void **state)
{
	struct sleeper s;
	struct fixture f;

	(void)state;
	open_queue(&f, 1, 1);
	push(f.queue, 0);
	start_sleeper(&s, f.queue, wait_for_room_in_a_thread);
	assert_true(queue_set_limit(f.queue, 3));
	join_sleeper(&s);
	assert_int_equal(s.room, 2);
	take(f.queue, 0, 0, 0, 1);
	close_queue(&f);
}

static void test_a_push_to_full_workers_tells_them_all_once(void **state)
{
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 1);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, 1, 0, 0);
	push(f.queue, 0);
	for (unsigned int i = 0; i < BELLS; i++)
		assert_true(rung(&f, i));
	queue_take(f.queue, 0, 1, 0, &batch);
	assert_true(batch.pressed);
	push(f.queue, 1); /* they know already */
	assert_false(rung(&f, 0));
	take(f.queue, 0, 0, 0, 1);
	take(f.queue, 1, 0, 1, 1);
	queue_take(f.queue, 2, 1, 5, &batch);
	assert_false(batch.pressed);
	assert_int_equal(batch.evict, 0);
	close_queue(&f);
}

static void test_workers_are_asked_to_evict_no_more_than_wait(void **state)
{
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 4);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, 4, 0, 0);
	for (int i = 0; i < 5; i++)
		push(f.queue, i);
	queue_take(f.queue, 0, 4, 2, &batch);
	assert_int_equal(batch.evict, 2);
	queue_take(f.queue, 1, 4, 4, &batch);
	assert_int_equal(batch.evict, 3);
	queue_take(f.queue, 2, 4, 4, &batch);
	assert_int_equal(batch.evict, 0);
	take(f.queue, 0, 2, 0, 2); /* it has made room, and takes */
	queue_take(f.queue, 2, 4, 4, &batch);
	assert_int_equal(batch.evict, 0); /* three wait, and 1 makes room for three */
	take(f.queue, 1, 1, 2, 3);
	close_queue(&f);
}

static void test_nobody_is_evicted_while_another_worker_has_room(void **state)
{
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 2);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, i == 1 ? 1 : 2, 0, 0);
	push(f.queue, 0);
	push(f.queue, 1);
	queue_take(f.queue, 0, 2, 2, &batch); /* 1 was woken, and has not looked yet */
	assert_false(batch.pressed);
	assert_int_equal(batch.evict, 0);
	rung(&f, 0);
	take(f.queue, 1, 1, 0, 1); /* and now there is no room for the other one */
	assert_true(rung(&f, 0));
	queue_take(f.queue, 0, 2, 2, &batch);
	assert_true(batch.pressed);
	assert_int_equal(batch.evict, 1);
	take(f.queue, 0, 1, 1, 1);
	close_queue(&f);
}

static void test_the_head_expires_by_its_own_age(void **state)
{
	const uint64_t ms = 1000000;
	struct arrival a = {.fd = FD_BASE, .accepted_ns = 100 * ms};
	struct fixture f;
	uint64_t deadline;

	(void)state;
	open_queue(&f, 10, 1);
	assert_false(queue_expire(f.queue, 50, 1000 * ms, &a, &deadline));
	assert_int_equal(deadline, UINT64_MAX);
	queue_push(f.queue, &a);
	a = (struct arrival){.fd = FD_BASE + 1, .accepted_ns = 120 * ms};
	queue_push(f.queue, &a);
	assert_false(queue_expire(f.queue, 0, 1000 * ms, &a, &deadline));
	assert_int_equal(deadline, UINT64_MAX);
	assert_false(queue_expire(f.queue, 50, 150 * ms - 1, &a, &deadline));
	assert_int_equal(deadline, 150 * ms);
	assert_true(queue_expire(f.queue, 50, 150 * ms, &a, &deadline));
	assert_int_equal(a.fd, FD_BASE);
	assert_false(queue_expire(f.queue, 50, 150 * ms, &a, &deadline));
	assert_int_equal(deadline, 170 * ms);
	take(f.queue, 0, 0, 1, 1);
	close_queue(&f);
}

static void test_another_limit_keeps_what_waits_in_order(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 4, 100);
	others_hold(&f, 99);
	for (int i = 0; i < 3; i++)
		push(f.queue, i);
	take(f.queue, 0, 0, 0, 3); /* so that the ring's head is not its start */
	for (int i = 0; i < 4; i++)
		assert_true(push(f.queue, i));
	assert_true(queue_set_limit(f.queue, 6));
	assert_true(push(f.queue, 4));
	assert_true(push(f.queue, 5));
	assert_false(push(f.queue, 6));
	assert_true(queue_set_limit(f.queue, 2));
	assert_int_equal(queue_wait_for_room(f.queue, 0), 0);
	take(f.queue, 0, 96, 0, 4);
	assert_int_equal(queue_wait_for_room(f.queue, 0), 0);
	take(f.queue, 1, 99, 4, 1);
	assert_int_equal(queue_wait_for_room(f.queue, 0), 1);
	take(f.queue, 1, 1, 5, 1);
	close_queue(&f);
}

static void test_promised_room_is_there_past_the_limit(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 2, 100);
	others_hold(&f, 50);
	push(f.queue, 0);
	push(f.queue, 1);
	assert_int_equal(queue_promise_room(f.queue, 3), 3);
	assert_true(queue_set_limit(f.queue, 1));
	for (int i = 2; i < 5; i++)
		assert_true(push(f.queue, i));
	assert_false(push(f.queue, 5));
	assert_int_equal(queue_promise_room(f.queue, 3), 3);
	queue_forget_room(f.queue);
	assert_false(push(f.queue, 5));
	take(f.queue, 0, 1, 0, 5);
	close_queue(&f);
}

static void test_a_lower_worker_limit_binds_what_comes_after(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 4);
	others_hold(&f, 3);
	take(f.queue, 0, 3, 0, 0);
	queue_set_capacity(f.queue, 100, 2);
	for (unsigned int i = 0; i < BELLS; i++)
		assert_true(rung(&f, i)); /* their settings are others now */
	push(f.queue, 0);
	take(f.queue, 0, 3, 0, 0);
	take(f.queue, 0, 1, 0, 1);
	close_queue(&f);
}

static void test_a_dismissed_worker_gets_nothing_and_hands_over(void **state)
{
	struct queue_link links[3] = {{&links[1]}, {&links[2]}, {NULL}};
	struct queue_batch batch;
	unsigned int handed = 0;
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 2);
	take(f.queue, 0, 2, 0, 0);
	take(f.queue, 1, 1, 0, 0);
	take(f.queue, 2, 2, 0, 0);
	take(f.queue, 3, 2, 0, 0);
	queue_dismiss(f.queue, 3);
	assert_true(rung(&f, 3));
	push(f.queue, 0);
	assert_true(rung(&f, 1));
	queue_take(f.queue, 3, 1, 0, &batch);
	assert_true(batch.leaving);
	assert_int_equal(batch.count, 0);
	queue_hand_over(f.queue, 3, links);
	/* Each goes to the one that then holds fewest, past its limit: 1 to 1, then 0, 1 or 2. */
	for (unsigned int i = 0; i < 3; i++) {
		queue_take(f.queue, i, i == 1 ? 1 : 2, 0, &batch);
		assert_false(batch.leaving);
		for (struct queue_link *l = batch.handed; l; l = l->next)
			handed++;
		if (i == 1)
			assert_non_null(batch.handed);
		else
			assert_int_equal(batch.count, 0);
	}
	assert_int_equal(handed, 3);
	close_queue(&f);
}

static void test_a_worker_that_leaves_passes_its_wake_up_on(void **state)
{
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 4);
	take(f.queue, 0, 3, 0, 0);
	for (unsigned int i = 1; i < BELLS; i++)
		take(f.queue, i, i + 1, 0, 0);
	take(f.queue, 1, 1, 0, 0);
	push(f.queue, 0);
	assert_true(rung(&f, 1)); /* it holds fewest, but before it looks: */
	queue_dismiss(f.queue, 1);
	queue_take(f.queue, 1, 0, 0, &batch);
	assert_true(batch.leaving);
	queue_hand_over(f.queue, 1, NULL);
	assert_true(rung(&f, 0) || rung(&f, 2));
	take(f.queue, 0, 3, 0, 1);
	close_queue(&f);
}

static void test_a_sleeping_worker_wakes_for_a_hand_over(void **state)
{
	struct queue_link link = {NULL};
	struct sleeper s;
	struct fixture f;

	(void)state;
	open_queue(&f, 4, 4);
	for (unsigned int i = 1; i < BELLS; i++)
		take(f.queue, i, 1, 0, 0);
	start_sleeper(&s, f.queue, take_in_a_thread);
	queue_dismiss(f.queue, 1);
	queue_hand_over(f.queue, 1, &link);
	join_sleeper(&s);
	assert_ptr_equal(s.batch.handed, &link);
	close_queue(&f);
}

#define STORM 50000

/* What the takers of the storm share: how often each number was taken. */
struct storm {
	struct fixture f;
	atomic_uint taken[STORM];
	atomic_uint next_place;
	atomic_bool out_of_order;
};

/*
 * Takes until the end. It holds two at most: when it holds any, it waits for its bell as long as
 * the last look gave something, and else lets one go, which makes it look again.
 */
static void *storm_taker(void *argument)
{
	struct storm *s = argument;
	const unsigned int place = atomic_fetch_add(&s->next_place, 1);
	struct queue_batch batch;
	uint32_t held = 0;
	int last = -1;

	do {
		queue_take(s->f.queue, place, held, 0, &batch);
		for (unsigned int i = 0; i < batch.count; i++) {
			const int number = batch.arrivals[i].fd - FD_BASE;

			atomic_fetch_add(&s->taken[number], 1);
			if (number <= last)
				atomic_store(&s->out_of_order, true);
			last = number;
		}
		held += batch.count;
		if (held == 1 && !batch.ended && wait_for(s->f.bells[place].fd, POLLIN))
			bell_clear(&s->f.bells[place]);
		else if (held)
			held--;
	} while (!batch.ended || held);
	return NULL;
}

static void test_a_storm_is_taken_once_and_in_order(void **state)
{
	struct storm *s = calloc(1, sizeof(*s));
	pthread_t threads[BELLS];

	(void)state;
	assert_non_null(s);
	open_queue(&s->f, 16, 2);
	for (unsigned int i = 0; i < BELLS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, storm_taker, s), 0);
	for (int i = 0; i < STORM; i++) {
		while (queue_wait_for_room(s->f.queue, UINT64_MAX) == 0)
			;
		assert_true(push(s->f.queue, i));
	}
	queue_close(s->f.queue);
	for (unsigned int i = 0; i < BELLS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (int i = 0; i < STORM; i++)
		assert_int_equal(atomic_load(&s->taken[i]), 1);
	assert_false(atomic_load(&s->out_of_order));
	close_queue(&s->f);
	free(s);
}

static bool take_some(struct queue *q, unsigned int place, uint32_t held, unsigned int count)
{
	struct queue_batch batch;

	queue_take(q, place, held, 0, &batch);
	assert_int_equal(batch.count, count);
	return queue_is_rung(q, place);
}

static void test_who_leaves_some_for_itself_is_rung(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 100);
	for (int i = 0; i < 2 * QUEUE_TAKE_MAX + 1; i++)
		assert_true(push(f.queue, i));
	/* The others hold more, so the next are for the first again. */
	for (unsigned int i = 1; i < BELLS; i++)
		assert_false(take_some(f.queue, i, 100, 0));
	assert_true(take_some(f.queue, 0, 0, QUEUE_TAKE_MAX));
	assert_true(take_some(f.queue, 0, QUEUE_TAKE_MAX, QUEUE_TAKE_MAX));
	assert_false(take_some(f.queue, 0, 2 * QUEUE_TAKE_MAX, 1));
	close_queue(&f);
}

static void test_who_leaves_some_for_another_is_not(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 100);
	for (int i = 0; i < 2; i++)
		assert_true(push(f.queue, i));
	assert_false(take_some(f.queue, 0, 0, 1));
	close_queue(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keeps_the_order_across_the_end_of_the_ring),
		cmocka_unit_test(test_refuses_what_does_not_fit),
		cmocka_unit_test(test_gives_a_worker_no_more_than_it_has_room_for),
		cmocka_unit_test(test_gives_at_most_eight_at_once),
		cmocka_unit_test(test_rings_the_worker_that_holds_fewest),
		cmocka_unit_test(test_rings_no_worker_without_room),
		cmocka_unit_test(test_a_taker_that_leaves_some_wakes_the_next),
		cmocka_unit_test(test_few_are_spread_one_by_one),
		cmocka_unit_test(test_leaves_all_to_others_that_hold_fewer),
		cmocka_unit_test(test_rings_nobody_where_a_worker_has_left),
		cmocka_unit_test(test_closed_gives_what_waits_and_then_the_end),
		cmocka_unit_test(test_stopped_gives_nothing_more),
		cmocka_unit_test(test_a_sleeping_worker_wakes_for_a_push),
		cmocka_unit_test(test_a_sleeping_worker_wakes_for_the_end),
		cmocka_unit_test(test_a_sleeping_worker_wakes_for_its_dismissal),
		cmocka_unit_test(test_all_together_take_no_more_than_the_capacity),
		cmocka_unit_test(test_where_all_hold_what_they_may_others_are_asked_to_evict),
		cmocka_unit_test(test_a_worker_sleeps_without_capacity_and_wakes_for_it),
		cmocka_unit_test(test_a_worker_wakes_for_more_capacity),
		cmocka_unit_test(test_a_worker_without_capacity_wakes_for_the_end),
		cmocka_unit_test(test_the_acceptor_wakes_for_room),
		cmocka_unit_test(test_the_acceptor_wakes_for_an_interrupt),
		cmocka_unit_test(test_the_acceptor_wakes_for_a_higher_limit),
		cmocka_unit_test(test_a_push_to_full_workers_tells_them_all_once),
		cmocka_unit_test(test_workers_are_asked_to_evict_no_more_than_wait),
		cmocka_unit_test(test_nobody_is_evicted_while_another_worker_has_room),
		cmocka_unit_test(test_the_head_expires_by_its_own_age),
		cmocka_unit_test(test_another_limit_keeps_what_waits_in_order),
		cmocka_unit_test(test_promised_room_is_there_past_the_limit),
		cmocka_unit_test(test_a_lower_worker_limit_binds_what_comes_after),
		cmocka_unit_test(test_a_dismissed_worker_gets_nothing_and_hands_over),
		cmocka_unit_test(test_a_worker_that_leaves_passes_its_wake_up_on),
		cmocka_unit_test(test_a_sleeping_worker_wakes_for_a_hand_over),
		cmocka_unit_test(test_a_storm_is_taken_once_and_in_order),
		cmocka_unit_test(test_who_leaves_some_for_itself_is_rung),
		cmocka_unit_test(test_who_leaves_some_for_another_is_not),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
