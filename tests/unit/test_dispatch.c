/*
 * The queue's workers: who is woken, how many each takes, who is asked to close some of its
 * connections, and what becomes of those of a worker that leaves.
 */
#include <stdatomic.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "queue_fixture.h"

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
	assert_false(rung(&f, 1)); /* it was rung and has not taken since */
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
		assert_true(rung(&f, i)); /* only to know that others wait */
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, 2, 1, 0);
	take(f.queue, 3, 1, 1, 1); /* one of its two has gone: it takes */
	close_queue(&f);
}

static void test_a_taker_that_leaves_some_wakes_the_next(void **state)
{
	const uint32_t held[BELLS] = {1, 8, 8, 10};
	struct fixture f;

	(void)state;
	open_queue(&f, 100, 100);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, held[i], 0, 0);
	for (int i = 0; i < 14; i++)
		push(f.queue, i);
	assert_true(rung(&f, 0));
	for (unsigned int i = 1; i < BELLS; i++)
		assert_false(rung(&f, i)); /* fourteen pushes, one bell */
	take(f.queue, 0, 1, 0, 6);         /* while it holds no more than 27 / 4 */
	assert_true(rung(&f, 0));
	take(f.queue, 3, 10, 6, 0); /* 33 / 4 and an eighth are nine */
	take(f.queue, 0, 7, 6, 3);
	assert_true(rung(&f, 1));
	take(f.queue, 1, 8, 9, 3); /* 36 / 4 and an eighth are ten */
	assert_true(rung(&f, 2));
	take(f.queue, 2, 8, 12, 2);
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
	queue_clear_slot(f.queue, 3);
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
		take(f.queue, i, BELLS - i, 0, 0);
	queue_clear_slot(f.queue, 3);
	push(f.queue, 0);
	assert_false(rung(&f, 3));
	assert_true(rung(&f, 2));
	take(f.queue, 2, 2, 0, 1);
	queue_close(f.queue);
	assert_false(rung(&f, 3));
	close_queue(&f);
}

static void *take_in_a_thread(void *argument)
{
	struct sleeper *s = argument;

	atomic_store(&s->tid, (int)gettid());
	queue_take(s->queue, 0, 0, false, &s->batch);
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
		assert_true(rung(&f, i)); /* all must know that others wait */
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

static void test_where_all_hold_what_they_may_others_are_asked_for_room(void **state)
{
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	fill_capacity(&f);
	push(f.queue, 0);
	queue_take(f.queue, 1, 18, true, &batch);
	assert_true(batch.saturated);
	assert_true(batch.make_room);
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

static void test_a_push_to_full_workers_wakes_them_all_once(void **state)
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
	queue_take(f.queue, 0, 1, false, &batch);
	assert_true(batch.saturated);
	push(f.queue, 1); /* they know already */
	assert_false(rung(&f, 0));
	take(f.queue, 0, 0, 0, 1);
	take(f.queue, 1, 0, 1, 1);
	queue_take(f.queue, 2, 1, true, &batch);
	assert_false(batch.saturated);
	assert_false(batch.make_room);
	close_queue(&f);
}

/* Pushes an arrival that is counted as this number. */
static void push_counted(struct queue *q, uint8_t number)
{
	struct arrival a = {.fd = FD_BASE + number, .counted = {{number}}}, displaced;

	assert_true(queue_push(q, &a, false, &displaced));
}

static void test_one_worker_at_a_time_makes_room_for_the_first_that_waits(void **state)
{
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 4);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, 4, 0, 0);
	push_counted(f.queue, 1);
	push_counted(f.queue, 2);
	queue_take(f.queue, 0, 4, false, &batch);
	assert_true(batch.saturated);
	assert_false(batch.make_room); /* it has looked lately */
	queue_take(f.queue, 1, 4, true, &batch);
	assert_true(batch.make_room);
	assert_int_equal(batch.waiting.bytes[0], 1);
	queue_take(f.queue, 2, 4, true, &batch);
	assert_false(batch.make_room); /* 1 does so now */
	take(f.queue, 1, 3, 1, 1);     /* it has made room, and takes */
	queue_take(f.queue, 3, 4, true, &batch);
	assert_true(batch.make_room);
	assert_int_equal(batch.waiting.bytes[0], 2);
	queue_take(f.queue, 3, 4, false, &batch); /* but it has found none to close */
	queue_take(f.queue, 2, 4, true, &batch);
	assert_true(batch.make_room);
	assert_int_equal(batch.waiting.bytes[0], 2);
	take(f.queue, 2, 3, 2, 1);
	close_queue(&f);
}

static void *take_with_nothing(void *argument)
{
	struct sleeper *s = argument;

	atomic_store(&s->tid, (int)gettid());
	queue_take(s->queue, 0, 0, false, &s->batch);
	return NULL;
}

/* Where the pool holds more than its capacity, one that has closed its last gets nothing for it. */
static void test_one_that_sleeps_makes_no_room(void **state)
{
	struct queue_batch batch;
	struct sleeper s;
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 100);
	take(f.queue, 0, 1, 0, 0);
	others_hold(&f, 5);
	queue_set_capacity(f.queue, BELLS, 1);
	push_counted(f.queue, 1);
	queue_take(f.queue, 0, 1, true, &batch);
	assert_true(batch.make_room);
	start_sleeper(&s, f.queue, take_with_nothing);
	queue_take(f.queue, 1, 5, true, &batch);
	assert_true(batch.make_room);
	queue_stop(f.queue);
	join_sleeper(&s);
	close_queue(&f);
}

static bool push_weight(struct queue *q, int number, uint32_t weight, struct arrival *displaced)
{
	struct arrival a = {.fd = FD_BASE + number, .weight = weight};
	const bool pushed = queue_push(q, &a, false, displaced);

	assert_int_equal(a.fd, pushed ? -1 : FD_BASE + number);
	return pushed;
}

static void test_the_lightest_goes_first_and_the_heaviest_has_to_go(void **state)
{
	struct arrival displaced;
	struct fixture f;

	(void)state;
	open_queue(&f, 4, 4);
	others_hold(&f, 4);
	assert_false(queue_is_saturated(f.queue));
	take(f.queue, 0, 4, 0, 0);
	assert_true(queue_is_saturated(f.queue));
	assert_true(push_weight(f.queue, 0, UINT32_MAX, &displaced));
	assert_true(push_weight(f.queue, 4, 3, &displaced));
	assert_true(push_weight(f.queue, 2, 1, &displaced));
	assert_true(push_weight(f.queue, 3, 1, &displaced)); /* behind its equal */
	assert_int_equal(displaced.fd, -1);
	assert_true(push_weight(f.queue, 1, 0, &displaced));
	assert_int_equal(displaced.fd, FD_BASE);
	assert_false(push_weight(f.queue, 5, 3, &displaced));
	assert_int_equal(displaced.fd, -1);
	assert_true(push_weight(f.queue, 5, 2, &displaced));
	assert_int_equal(displaced.fd, FD_BASE + 4);
	take(f.queue, 0, 1, 1, 3);
	take(f.queue, 1, 3, 5, 1);
	close_queue(&f);
}

static void test_nobody_makes_room_while_another_worker_has_some(void **state)
{
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 2);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, i == 1 ? 1 : 2, 0, 0);
	push(f.queue, 0);
	push(f.queue, 1);
	queue_take(f.queue, 0, 2, true, &batch); /* 1 was woken, and has not taken yet */
	assert_false(batch.saturated);
	assert_false(batch.make_room);
	rung(&f, 0);
	take(f.queue, 1, 1, 0, 1); /* and now there is no room for the other one */
	assert_true(rung(&f, 0));
	queue_take(f.queue, 0, 2, true, &batch);
	assert_true(batch.saturated);
	assert_true(batch.make_room);
	take(f.queue, 0, 1, 1, 1);
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

/* Has the last worker leave, with count entries. */
static void leave(struct fixture *f, struct deadline_entry *entries, uint32_t count)
{
	struct deadline_list list;
	struct queue_batch batch;

	deadline_list_init(&list);
	for (uint32_t i = 0; i < count; i++)
		deadline_list_append(&list, &entries[i], i);
	queue_dismiss(f->queue, BELLS - 1);
	assert_true(rung(f, BELLS - 1));
	queue_take(f->queue, BELLS - 1, count, false, &batch);
	assert_true(batch.leaving);
	assert_int_equal(batch.count, 0);
	assert_null(deadline_list_oldest(&batch.handed));
	queue_hand_over(f->queue, BELLS - 1, &list, count);
	assert_null(deadline_list_oldest(&list));
}

/* Takes for a worker that holds `held`; returns how many it got of a worker that left. */
static uint32_t take_handed(struct queue *q, unsigned int slot, uint32_t held)
{
	struct deadline_entry *oldest;
	struct queue_batch batch;
	uint32_t count = 0;

	queue_take(q, slot, held, false, &batch);
	assert_false(batch.leaving);
	assert_int_equal(batch.count, 0);
	for (; (oldest = deadline_list_oldest(&batch.handed)); count++)
		deadline_list_remove(oldest);
	return count;
}

static void test_a_dismissed_worker_gets_nothing_and_hands_over(void **state)
{
	struct deadline_entry entries[3];
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 2);
	take(f.queue, 0, 2, 0, 0);
	take(f.queue, 1, 1, 0, 0);
	take(f.queue, 2, 2, 0, 0);
	take(f.queue, 3, 2, 0, 0);
	push(f.queue, 0);
	assert_true(rung(&f, 1));
	leave(&f, entries, 3);
	/* Each goes to one that holds fewest, past its limit, and before the arrival. */
	assert_int_equal(take_handed(f.queue, 1, 1), 2);
	assert_true(rung(&f, 0));
	assert_int_equal(take_handed(f.queue, 1, 3), 0);
	assert_int_equal(take_handed(f.queue, 0, 2), 1);
	take(f.queue, 2, 1, 0, 1);
	close_queue(&f);
}

static void test_what_is_handed_over_is_shared_a_few_at_once(void **state)
{
	struct deadline_entry entries[3 * QUEUE_TAKE_MAX];
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 100);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, 1, 0, 0);
	leave(&f, entries, 3 * QUEUE_TAKE_MAX);
	for (unsigned int i = 0; i < BELLS - 1; i++) {
		assert_true(rung(&f, i));
		assert_int_equal(take_handed(f.queue, i, 1), QUEUE_TAKE_MAX);
	}
	for (unsigned int i = 0; i < BELLS; i++)
		assert_false(rung(&f, i));
	close_queue(&f);
}

static void test_what_is_handed_over_counts_for_the_capacity(void **state)
{
	struct deadline_entry entries[3];
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 100);
	queue_set_capacity(f.queue, 1, 6);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, i < 3 ? 1 : 3, 0, 0);
	leave(&f, entries, 3);
	push(f.queue, 0);
	assert_int_equal(take_handed(f.queue, 0, 1), 2);
	assert_int_equal(take_handed(f.queue, 1, 1), 1);
	take(f.queue, 2, 1, 0, 0);
	take(f.queue, 2, 0, 0, 1);
	close_queue(&f);
}

static void test_a_stop_gives_all_that_was_handed_over(void **state)
{
	struct deadline_entry entries[2 * QUEUE_TAKE_MAX];
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 100);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, 1, 0, 0);
	leave(&f, entries, 2 * QUEUE_TAKE_MAX);
	queue_stop(f.queue);
	assert_int_equal(take_handed(f.queue, 2, 1), 2 * QUEUE_TAKE_MAX);
	close_queue(&f);
}

static void test_the_end_waits_for_what_is_handed_over(void **state)
{
	struct deadline_entry entries[QUEUE_TAKE_MAX + 1];
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 100);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, 10, 0, 0);
	leave(&f, entries, QUEUE_TAKE_MAX + 1);
	queue_close(f.queue);
	queue_take(f.queue, 0, 0, false, &batch);
	assert_non_null(deadline_list_oldest(&batch.handed));
	assert_false(batch.ended);
	queue_take(f.queue, 1, 0, false, &batch);
	assert_non_null(deadline_list_oldest(&batch.handed));
	assert_true(batch.ended);
	close_queue(&f);
}

static void test_a_worker_that_leaves_passes_its_wake_up_on(void **state)
{
	struct deadline_list none;
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 4);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, BELLS - i, 0, 0);
	push(f.queue, 0);
	assert_true(rung(&f, 3)); /* it holds fewest, but before it takes: */
	queue_dismiss(f.queue, 3);
	deadline_list_init(&none);
	queue_hand_over(f.queue, 3, &none, 0);
	assert_true(rung(&f, 2));
	take(f.queue, 2, 2, 0, 1);
	close_queue(&f);
}

static void test_a_sleeping_worker_wakes_for_a_hand_over(void **state)
{
	struct deadline_entry entry;
	struct sleeper s;
	struct fixture f;

	(void)state;
	open_queue(&f, 4, 4);
	for (unsigned int i = 1; i < BELLS; i++)
		take(f.queue, i, 1, 0, 0);
	start_sleeper(&s, f.queue, take_in_a_thread);
	leave(&f, &entry, 1);
	join_sleeper(&s);
	assert_ptr_equal(deadline_list_oldest(&s.batch.handed), &entry);
	close_queue(&f);
}

static void test_a_worker_that_rang_for_itself_needs_no_bell(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 10, 4);
	others_hold(&f, 2);
	take(f.queue, 0, 1, 0, 0);
	assert_false(queue_is_rung(f.queue, 0));
	queue_ring_self(f.queue, 0);
	assert_true(queue_is_rung(f.queue, 0));
	push(f.queue, 0);
	for (unsigned int i = 0; i < BELLS; i++)
		assert_false(rung(&f, i));
	take(f.queue, 0, 1, 0, 1);
	assert_false(queue_is_rung(f.queue, 0));
	close_queue(&f);
}

static bool take_some(struct queue *q, unsigned int slot, uint32_t held, unsigned int count)
{
	struct queue_batch batch;

	queue_take(q, slot, held, false, &batch);
	assert_int_equal(batch.count, count);
	return queue_is_rung(q, slot);
}

static void test_a_worker_that_holds_something_is_called_and_one_that_sleeps_is_not(void **state)
{
	struct fixture f;

	(void)state;
	open_queue(&f, 4, 10);
	assert_true(push(f.queue, 0));
	take(f.queue, 0, 0, 0, 1);
	rung(&f, 0);
	assert_true(queue_call(f.queue, 0));
	assert_true(queue_is_rung(f.queue, 0));
	assert_true(rung(&f, 0));
	assert_false(queue_call(f.queue, 1));
	assert_false(rung(&f, 1));
	close_queue(&f);
}

static void test_a_worker_that_leaves_some_for_itself_is_rung(void **state)
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

static void test_a_worker_that_leaves_some_for_another_is_not_rung(void **state)
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
		cmocka_unit_test(test_gives_a_worker_no_more_than_it_has_room_for),
		cmocka_unit_test(test_gives_at_most_eight_at_once),
		cmocka_unit_test(test_rings_the_worker_that_holds_fewest),
		cmocka_unit_test(test_rings_no_worker_without_room),
		cmocka_unit_test(test_a_taker_that_leaves_some_wakes_the_next),
		cmocka_unit_test(test_few_are_spread_one_by_one),
		cmocka_unit_test(test_leaves_all_to_others_that_hold_fewer),
		cmocka_unit_test(test_rings_nobody_where_a_worker_has_left),
		cmocka_unit_test(test_a_sleeping_worker_wakes_for_a_push),
		cmocka_unit_test(test_a_sleeping_worker_wakes_for_the_end),
		cmocka_unit_test(test_a_sleeping_worker_wakes_for_its_dismissal),
		cmocka_unit_test(test_all_together_take_no_more_than_the_capacity),
		cmocka_unit_test(test_where_all_hold_what_they_may_others_are_asked_for_room),
		cmocka_unit_test(test_a_worker_sleeps_without_capacity_and_wakes_for_it),
		cmocka_unit_test(test_a_worker_wakes_for_more_capacity),
		cmocka_unit_test(test_a_worker_without_capacity_wakes_for_the_end),
		cmocka_unit_test(test_a_push_to_full_workers_wakes_them_all_once),
		cmocka_unit_test(test_one_worker_at_a_time_makes_room_for_the_first_that_waits),
		cmocka_unit_test(test_one_that_sleeps_makes_no_room),
		cmocka_unit_test(test_the_lightest_goes_first_and_the_heaviest_has_to_go),
		cmocka_unit_test(test_nobody_makes_room_while_another_worker_has_some),
		cmocka_unit_test(test_a_lower_worker_limit_binds_what_comes_after),
		cmocka_unit_test(test_a_dismissed_worker_gets_nothing_and_hands_over),
		cmocka_unit_test(test_what_is_handed_over_is_shared_a_few_at_once),
		cmocka_unit_test(test_what_is_handed_over_counts_for_the_capacity),
		cmocka_unit_test(test_a_stop_gives_all_that_was_handed_over),
		cmocka_unit_test(test_the_end_waits_for_what_is_handed_over),
		cmocka_unit_test(test_a_worker_that_leaves_passes_its_wake_up_on),
		cmocka_unit_test(test_a_sleeping_worker_wakes_for_a_hand_over),
		cmocka_unit_test(test_a_worker_that_rang_for_itself_needs_no_bell),
		cmocka_unit_test(test_a_worker_that_leaves_some_for_itself_is_rung),
		cmocka_unit_test(
			test_a_worker_that_holds_something_is_called_and_one_that_sleeps_is_not),
		cmocka_unit_test(test_a_worker_that_leaves_some_for_another_is_not_rung),
	};

	return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
