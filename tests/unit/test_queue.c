/*
 * The bounded queue: order, bounds, the acceptor's waits, and how it ends.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "queue_fixture.h"
#include "sockets.h"

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

static void test_spells_of_a_full_pool_and_a_full_queue_are_counted(void **state)
{
	struct queue_figures q;
	struct fixture f;

	(void)state;
	open_queue(&f, 2, 100);
	others_hold(&f, 100);
	take(f.queue, 0, 100, 0, 0);
	assert_int_equal(queue_figures(f.queue).saturated.since_ns, 0); /* nobody waits */
	assert_true(push(f.queue, 0));
	assert_true(push(f.queue, 1));
	q = queue_figures(f.queue);
	assert_true(q.saturated.since_ns && q.full.since_ns);
	/* One more has room for one: the queue is not full any more, but the pool is. */
	take(f.queue, 0, 99, 0, 1);
	assert_int_equal(queue_figures(f.queue).saturated.since_ns, q.saturated.since_ns);
	assert_int_equal(queue_figures(f.queue).full.since_ns, 0);
	assert_true(queue_figures(f.queue).full.ended_ns > 0);
	take(f.queue, 0, 99, 1, 1);
	q = queue_figures(f.queue);
	assert_true(!q.saturated.since_ns && q.saturated.ended_ns > 0);
	assert_true(q.saturated.count == 1 && q.full.count == 1);
	assert_true(push(f.queue, 2));
	assert_int_equal(queue_figures(f.queue).saturated.count, 2);
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
		assert_true(rung(&f, i)); /* every worker must know it */
	queue_take(f.queue, 0, 0, false, &batch);
	assert_int_equal(batch.count, QUEUE_TAKE_MAX);
	assert_false(batch.ended);
	queue_take(f.queue, 1, 0, false, &batch);
	assert_int_equal(batch.count, 1);
	assert_true(batch.ended);
	assert_false(batch.stopped);
	queue_take(f.queue, 2, 0, false, &batch); /* does not sleep */
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
	struct arrival a, displaced;

	(void)state;
	assert_true(bell_open(&bell));
	queue_set_slot(q, 0, &bell);
	tcp_pair_open(&pair);
	a = (struct arrival){.fd = pair.ours};
	assert_true(queue_push(q, &a, false, &displaced));
	queue_stop(q);
	assert_true(is_ready(bell.fd, POLLIN));
	queue_take(q, 0, 0, false, &batch);
	assert_true(batch.stopped);
	assert_int_equal(batch.count, 0);
	assert_true(is_open(pair.ours));
	queue_free(q); /* closes what nobody took */
	assert_false(is_open(pair.ours));
	pair.ours = -1;
	tcp_pair_close(&pair);
	bell_close(&bell);
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

static void test_the_head_expires_by_its_own_age(void **state)
{
	const uint64_t ms = 1000000;
	struct arrival a = {.fd = FD_BASE, .accepted_ns = 100 * ms}, displaced;
	struct fixture f;
	uint64_t deadline;

	(void)state;
	open_queue(&f, 10, 1);
	assert_false(queue_expire(f.queue, 50, 1000 * ms, &a, &deadline));
	assert_int_equal(deadline, UINT64_MAX);
	queue_push(f.queue, &a, false, &displaced);
	a = (struct arrival){.fd = FD_BASE + 1, .accepted_ns = 120 * ms};
	queue_push(f.queue, &a, false, &displaced);
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

/* The one that has waited longest stands behind lighter ones that came later. */
static void test_one_that_was_overtaken_expires_by_its_own_age(void **state)
{
	const uint64_t ms = 1000000;
	static const int numbers[] = {0, 3, 1, 2};
	struct arrival a, displaced;
	struct fixture f;
	uint64_t deadline;

	(void)state;
	open_queue(&f, 10, 100);
	others_hold(&f, 50);
	for (unsigned int i = 0; i < 4; i++) {
		a = (struct arrival){.fd = FD_BASE + numbers[i],
				     .weight = i < 2 ? UINT32_MAX : i,
				     .accepted_ns = (100 + 10 * i) * ms};
		assert_true(queue_push(f.queue, &a, false, &displaced));
	}
	assert_false(queue_expire(f.queue, 50, 150 * ms - 1, &a, &deadline));
	assert_int_equal(deadline, 150 * ms);
	assert_true(queue_expire(f.queue, 50, 150 * ms, &a, &deadline));
	assert_int_equal(a.fd, FD_BASE);
	assert_false(queue_expire(f.queue, 50, 150 * ms, &a, &deadline));
	assert_int_equal(deadline, 160 * ms);
	take(f.queue, 0, 0, 1, 3); /* the others are in their order */
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

static void test_room_that_was_asked_for_is_there_past_the_limit(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 4, 100);
	others_hold(&f, 50);
	push(f.queue, 0);
	push(f.queue, 1);
	assert_int_equal(queue_wait_for_room(f.queue, 0), 2);
	assert_true(queue_set_limit(f.queue, 1));
	assert_false(push(f.queue, 2));
	assert_true(push_asked(f.queue, 2));
	assert_true(push_asked(f.queue, 3));
	assert_int_equal(queue_make_room(f.queue, 3), 3);
	for (int i = 4; i < 7; i++)
		assert_true(push_asked(f.queue, i));
	assert_false(push(f.queue, 7));
	take(f.queue, 0, 1, 0, 7);
	close_queue(&f);
}

#define STORM 50000

/* What the takers of the storm share: how often each number was taken. */
struct storm {
	struct fixture f;
	atomic_uint taken[STORM];
	atomic_uint next_slot;
	atomic_bool out_of_order;
};

/*
 * Takes until the end, and holds two at most. With one it waits for its bell; with two, or after
 * the end, it closes one, which makes it take again.
 */
static void *storm_taker(void *argument)
{
	struct storm *s = argument;
	const unsigned int slot = atomic_fetch_add(&s->next_slot, 1);
	struct queue_batch batch;
	uint32_t held = 0;
	int last = -1;

	do {
		queue_take(s->f.queue, slot, held, false, &batch);
		for (unsigned int i = 0; i < batch.count; i++) {
			const int number = batch.arrivals[i].fd - FD_BASE;

			atomic_fetch_add(&s->taken[number], 1);
			if (number <= last)
				atomic_store(&s->out_of_order, true);
			last = number;
		}
		held += batch.count;
		if (held == 1 && !batch.ended && wait_for(s->f.bells[slot].fd, POLLIN))
			bell_clear(&s->f.bells[slot]);
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
		assert_true(push_asked(s->f.queue, i));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keeps_the_order_across_the_end_of_the_ring),
		cmocka_unit_test(test_refuses_what_does_not_fit),
		cmocka_unit_test(test_spells_of_a_full_pool_and_a_full_queue_are_counted),
		cmocka_unit_test(test_closed_gives_what_waits_and_then_the_end),
		cmocka_unit_test(test_stopped_gives_nothing_more),
		cmocka_unit_test(test_the_acceptor_wakes_for_room),
		cmocka_unit_test(test_the_acceptor_wakes_for_an_interrupt),
		cmocka_unit_test(test_the_acceptor_wakes_for_a_higher_limit),
		cmocka_unit_test(test_the_head_expires_by_its_own_age),
		cmocka_unit_test(test_one_that_was_overtaken_expires_by_its_own_age),
		cmocka_unit_test(test_another_limit_keeps_what_waits_in_order),
		cmocka_unit_test(test_room_that_was_asked_for_is_there_past_the_limit),
		cmocka_unit_test(test_a_storm_is_taken_once_and_in_order),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
