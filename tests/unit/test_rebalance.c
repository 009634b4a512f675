/*
 * Work that is shared: how many connections go to whom, that they get there, and that they stay
 * there. Played with the real queue, and workers whose work is the sum of what their connections
 * ask for.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/pool/rebalance.h"
#include "queue_fixture.h"

#define CONNS_MAX 400
#define NOBODY    BELLS

static void test_gives_half_of_the_difference(void **state)
{
	static const struct {
		uint32_t own, active, other, count;
	} cases[] = {
		{1000, 4, 0, 2},      {1000, 2, 0, 1},   {500, 4, 0, 2},      {1000, 100, 500, 25},
		{1000, 1, 0, 0},      {1000, 0, 0, 0},   {249, 100, 0, 0},    {250, 100, 0, 50},
		{1000, 100, 501, 0},  {1000, 2, 500, 0}, {300, 100, 1000, 0}, {1000, 1024, 0, 512},
		{1000, 3, 0, 1},      {1000, 2, 250, 1}, {1000, 2, 251, 0},   {0, 100, 0, 0},
		{1000, 100, 1000, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(rebalance_count(cases[i].own, cases[i].active, cases[i].other),
				 cases[i].count);
}

/* A pool that works: which worker holds which connection, and what each asks for. */
struct play {
	struct fixture f;
	struct deadline_entry entries[CONNS_MAX];
	unsigned int holder[CONNS_MAX];
	uint32_t wish[CONNS_MAX]; /* thousandths of a CPU */
	unsigned int count;
	uint32_t noise; /* thousandths, by which what is measured may be wrong */
	uint64_t now_ns;
	unsigned int moves; /* of connections */
	unsigned int again; /* of those that had moved before */
	bool moved[CONNS_MAX];
};

static uint32_t wishes(const struct play *p, unsigned int worker, uint32_t *active)
{
	uint32_t sum = 0;

	*active = 0;
	for (unsigned int i = 0; i < p->count; i++) {
		if (p->holder[i] != worker || !p->wish[i])
			continue;
		sum += p->wish[i];
		++*active;
	}
	return sum;
}

static uint32_t measured(const struct play *p, uint32_t work)
{
	const uint32_t wrong = p->noise ? (uint32_t)rand() % (2 * p->noise + 1) : 0;

	work = work * (WORK_ALL - p->noise + wrong) / WORK_ALL;
	return work < WORK_ALL ? work : WORK_ALL;
}

/* Who asks for least was served least recently. */
static unsigned int lightest(const struct play *p, unsigned int worker)
{
	unsigned int best = CONNS_MAX;

	for (unsigned int i = 0; i < p->count; i++)
		if (p->holder[i] == worker && p->wish[i] &&
		    (best == CONNS_MAX || p->wish[i] < p->wish[best]))
			best = i;
	return best;
}

static void give(struct play *p, unsigned int from, unsigned int to, uint32_t count)
{
	struct deadline_list list;
	struct deadline_entry *e;
	struct queue_batch batch;

	deadline_list_init(&list);
	for (uint32_t n = 0; n < count; n++) {
		const unsigned int i = lightest(p, from);

		p->holder[i] = NOBODY;
		p->moves++;
		p->again += p->moved[i];
		p->moved[i] = true;
		deadline_list_append(&list, &p->entries[i], p->now_ns);
	}
	queue_give(p->f.queue, from, to, &list, count);
	queue_take(p->f.queue, to, 0, false, &batch);
	while ((e = deadline_list_oldest(&batch.handed))) {
		deadline_list_remove(e);
		p->holder[e - p->entries] = to;
		count--;
	}
	assert_int_equal(count, 0);
}

static void play(struct play *p, unsigned int periods)
{
	while (periods--) {
		p->now_ns += WORK_PERIOD_NS;
		for (unsigned int w = 0; w < BELLS; w++) {
			unsigned int to = NOBODY;
			uint32_t active, count;
			const uint32_t work = measured(p, wishes(p, w, &active));

			count = queue_tell_work(p->f.queue, w, work, active, p->now_ns, &to);
			assert_true(count < active || !count);
			if (count)
				give(p, w, to, count);
		}
	}
}

static void open_play(struct play *p, unsigned int count)
{
	*p = (struct play){.count = count, .now_ns = NS_PER_S};
	open_queue(&p->f, 1, CONNS_MAX);
}

/* Until nothing moves any more, and then for a minute. */
static void settle(struct play *p)
{
	unsigned int moves;

	play(p, 200);
	moves = p->moves;
	play(p, 600);
	assert_int_equal(p->moves, moves);
}

static void test_busy_ones_spread_and_stay(void **state)
{
	(void)state;
	for (unsigned int n = 2; n <= CONNS_MAX; n += 1 + n / 3) {
		struct play p;

		open_play(&p, n);
		for (unsigned int i = 0; i < n; i++)
			p.wish[i] = 2 * BELLS * WORK_ALL / (3 * n); /* two thirds of all CPUs */
		settle(&p);
		for (unsigned int w = 0; w < BELLS; w++) {
			uint32_t active;

			(void)wishes(&p, w, &active);
			/* Half as much is no difference. */
			assert_in_range(active, 0, 2 * n / (BELLS + 1) + 1);
		}
		assert_int_equal(p.again, p.again < n ? p.again : n);
		close_queue(&p.f);
	}
}

static void test_unequal_ones_come_to_rest(void **state)
{
	(void)state;
	srand(1);
	for (int round = 0; round < 300; round++) {
		struct play p;

		open_play(&p, 2 + (unsigned int)rand() % 40);
		for (unsigned int i = 0; i < p.count; i++) {
			p.holder[i] = (unsigned int)rand() % BELLS;
			p.wish[i] = rand() % 3 ? (uint32_t)rand() % 50 : (uint32_t)rand() % 900;
		}
		settle(&p);
		close_queue(&p.f);
	}
}

static void test_noise_moves_nobody(void **state)
{
	struct play p;

	(void)state;
	srand(1);
	open_play(&p, CONNS_MAX);
	p.noise = 300; /* almost a third each way */
	for (unsigned int i = 0; i < p.count; i++) {
		p.holder[i] = i % BELLS;
		p.wish[i] = 8;
	}
	play(&p, 1000);
	assert_int_equal(p.moves, 0);
	close_queue(&p.f);
}

static void test_one_that_makes_all_the_work_stays(void **state)
{
	struct play p;

	(void)state;
	open_play(&p, 6);
	for (unsigned int i = 0; i < p.count; i++)
		p.wish[i] = i ? 20 : WORK_ALL;
	settle(&p);
	assert_int_equal(p.holder[0], 0);
	for (unsigned int i = 1; i < p.count; i++)
		assert_int_not_equal(p.holder[i], 0);
	close_queue(&p.f);
}

/* Has a worker tell twice that it works all the time; returns what it is to give. */
static uint32_t tell_of(struct fixture *f, unsigned int slot, uint64_t now_ns, unsigned int *to)
{
	/* Others that begin to work with it have told when it tells again. */
	assert_int_equal(queue_tell_work(f->queue, slot, WORK_ALL, 4, now_ns - WORK_PERIOD_NS, to),
			 0);
	return queue_tell_work(f->queue, slot, WORK_ALL, 4, now_ns, to);
}

static uint32_t tell(struct fixture *f, uint64_t now_ns, unsigned int *to)
{
	return tell_of(f, 0, now_ns, to);
}

static void test_gives_to_the_one_that_works_least_and_of_such_to_the_lightest(void **state)
{
	const uint64_t now_ns = NS_PER_S;
	unsigned int to = NOBODY;
	struct fixture f;

	(void)state;
	open_queue(&f, 1, 100);
	take(f.queue, 1, 1, 0, 0);
	take(f.queue, 2, 9, 0, 0);
	take(f.queue, 3, 8, 0, 0);
	assert_int_equal(queue_tell_work(f.queue, 1, 200, 1, now_ns, &to), 0);
	assert_int_equal(tell(&f, now_ns, &to), 2);
	assert_int_equal(to, 3);
	/* Both rest: another gives to the next. */
	assert_int_equal(tell(&f, now_ns + REBALANCE_PAUSE_NS - 1, &to), 0);
	assert_int_equal(tell_of(&f, 2, now_ns + WORK_PERIOD_NS, &to), 1);
	assert_int_equal(to, 1);
	/* What worker 3 told is old by then. */
	assert_int_equal(tell(&f, now_ns + 10 * REBALANCE_PAUSE_NS, &to), 2);
	assert_int_equal(to, 1);
	close_queue(&f);
}

static void test_who_works_least_is_rung_for_a_new_one(void **state)
{
	const uint32_t held[BELLS] = {7, 8, 8, 30}, work[BELLS] = {800, 330, 390, 0};
	/* What a worker told is never old then, however slow this runs. */
	const uint64_t now_ns = clock_now_ns() + 3600 * NS_PER_S;
	unsigned int to;
	struct fixture f;

	(void)state;
	open_queue(&f, 2, 100);
	for (unsigned int i = 0; i < BELLS; i++) {
		take(f.queue, i, held[i], 0, 0);
		assert_int_equal(queue_tell_work(f.queue, i, work[i], 1, now_ns, &to), 0);
	}
	/* The lightest of those that work about as little, while it may; 3 holds too many. */
	take(f.queue, 2, 7, 0, 0);
	push(f.queue, 0);
	assert_true(rung(&f, 2));
	take(f.queue, 2, 40, 0, 0);
	assert_true(rung(&f, 1));
	close_queue(&f);
}

static void test_one_period_alone_decides_nothing(void **state)
{
	const uint64_t now_ns = NS_PER_S;
	unsigned int to = NOBODY;
	struct fixture f;

	(void)state;
	open_queue(&f, 1, 100);
	queue_dismiss(f.queue, 2);
	assert_int_equal(queue_tell_work(f.queue, 0, 300, 8, now_ns, &to), 0);
	assert_int_equal(queue_tell_work(f.queue, 1, 400, 8, now_ns, &to), 0);
	assert_int_equal(queue_tell_work(f.queue, 0, 1000, 8, now_ns + WORK_PERIOD_NS, &to), 0);
	assert_int_equal(queue_tell_work(f.queue, 0, 1000, 8, now_ns + 2 * WORK_PERIOD_NS, &to), 2);
	close_queue(&f);
}

static void test_gives_no_more_than_there_is_room_for(void **state)
{
	unsigned int to = NOBODY;
	struct fixture f;

	(void)state;
	open_queue(&f, 1, 10);
	take(f.queue, 0, 10, 0, 0);
	take(f.queue, 1, 10, 0, 0);
	take(f.queue, 2, 10, 0, 0);
	take(f.queue, 3, 9, 0, 0);
	assert_int_equal(tell(&f, NS_PER_S, &to), 1);
	assert_int_equal(to, 3);
	close_queue(&f);
}

/* Worker 0 gives two of those that it holds to worker 1. */
static void give_two(struct fixture *f, struct deadline_entry entries[2])
{
	struct deadline_list list;

	deadline_list_init(&list);
	for (unsigned int i = 0; i < 2; i++)
		deadline_list_append(&list, &entries[i], i);
	queue_give(f->queue, 0, 1, &list, 2);
}

static unsigned int handed(struct queue *q, unsigned int slot, uint32_t held,
			   struct queue_batch *batch)
{
	unsigned int count = 0;

	queue_take(q, slot, held, false, batch);
	for (struct deadline_entry *e = batch->handed.head.next; e != &batch->handed.head;
	     e = e->next)
		count++;
	return count;
}

static void test_what_is_given_is_for_that_worker_alone(void **state)
{
	struct deadline_entry entries[2];
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	open_queue(&f, 1, 100);
	for (unsigned int i = 0; i < BELLS; i++)
		take(f.queue, i, i ? 4 : 5, 0, 0);
	give_two(&f, entries);
	assert_true(rung(&f, 1));
	assert_int_equal(handed(f.queue, 2, 4, &batch), 0);
	assert_int_equal(handed(f.queue, 1, 4, &batch), 2);
	assert_int_equal(handed(f.queue, 1, 6, &batch), 0);
	/* The queue counts them where they are: the giver has most room. */
	push(f.queue, 0);
	assert_true(rung(&f, 0));
	close_queue(&f);
}

static void *take_in_a_thread(void *argument)
{
	struct sleeper *s = argument;

	atomic_store(&s->tid, gettid());
	queue_take(s->queue, 1, 0, false, &s->batch);
	return NULL;
}

static void test_a_sleeping_worker_wakes_for_what_it_is_given(void **state)
{
	struct deadline_entry entries[2];
	struct sleeper s;
	struct fixture f;

	(void)state;
	open_queue(&f, 1, 100);
	take(f.queue, 0, 4, 0, 0);
	start_sleeper(&s, f.queue, take_in_a_thread);
	give_two(&f, entries);
	join_sleeper(&s);
	assert_ptr_equal(deadline_list_oldest(&s.batch.handed), &entries[0]);
	close_queue(&f);
}

static void test_what_is_given_to_one_that_leaves_is_not_lost(void **state)
{
	struct deadline_entry entries[2];
	struct queue_batch batch;
	unsigned int to;
	struct fixture f;

	(void)state;
	open_queue(&f, 1, 100);
	take(f.queue, 0, 4, 0, 0);
	give_two(&f, entries);
	queue_dismiss(f.queue, 1);
	assert_int_equal(tell(&f, NS_PER_S, &to), 0); /* nobody is left to give to */
	assert_int_equal(handed(f.queue, 1, 0, &batch), 2);
	assert_true(batch.leaving);
	/* It had left already. */
	give_two(&f, entries);
	assert_int_equal(handed(f.queue, 0, 2, &batch), 2);
	close_queue(&f);
}

static void test_what_is_given_to_one_that_never_began_is_not_lost(void **state)
{
	struct deadline_entry entries[2];
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	open_queue(&f, 1, 100);
	take(f.queue, 0, 4, 0, 0);
	give_two(&f, entries);
	for (unsigned int i = BELLS; i-- > 1;)
		queue_clear_slot(f.queue, i);
	assert_true(rung(&f, 0));
	assert_int_equal(handed(f.queue, 0, 2, &batch), 2);
	close_queue(&f);
}

static void test_what_is_given_as_the_queue_ends_is_served(void **state)
{
	struct deadline_entry entries[4];
	struct queue_batch batch;
	unsigned int to;
	struct fixture f;

	(void)state;
	open_queue(&f, 1, 100);
	take(f.queue, 0, 4, 0, 0);
	give_two(&f, entries);
	queue_close(f.queue);
	assert_int_equal(tell(&f, NS_PER_S, &to), 0); /* who holds nothing may have ended */
	assert_int_equal(handed(f.queue, 1, 0, &batch), 2);
	give_two(&f, &entries[2]);
	assert_int_equal(handed(f.queue, 2, 0, &batch), 2);
	assert_true(batch.ended);
	close_queue(&f);
}

static void test_a_stop_gives_what_was_given(void **state)
{
	struct deadline_entry entries[2];
	struct queue_batch batch;
	struct fixture f;

	(void)state;
	open_queue(&f, 1, 100);
	take(f.queue, 0, 4, 0, 0);
	give_two(&f, entries);
	queue_stop(f.queue);
	assert_int_equal(handed(f.queue, 1, 0, &batch), 2);
	close_queue(&f);
}

/* The work of this thread, which never sleeps, if it polls all of its time or none. */
static uint32_t measure(bool polls)
{
	const uint64_t began_ns = clock_now_ns(), end_ns = began_ns + 20 * NS_PER_S;
	uint64_t now_ns = began_ns;
	struct work_meter m = {0};
	uint32_t work = 0;
	bool known = false;

	assert_false(work_measure(&m, now_ns, 0, &work)); /* nothing to compare with */
	assert_false(work_measure(&m, now_ns + WORK_PERIOD_NS - 1, 0, &work));
	/* A thread that others keep from its CPU for a whole period must look again. */
	for (; !known && now_ns < end_ns; now_ns = clock_now_ns())
		known = work_measure(&m, now_ns, polls ? now_ns - began_ns : 0, &work);
	assert_true(known);
	return work;
}

/* The CPU time is the thread's own: while it runs without a sleep it has worked all the time. */
static void test_measures_a_thread_that_never_sleeps(void **state)
{
	(void)state;
	assert_in_range(measure(false), 1, WORK_ALL);
}

static void test_what_a_thread_polls_is_no_work(void **state)
{
	(void)state;
	assert_in_range(measure(true), 0, WORK_ALL / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gives_half_of_the_difference),
		cmocka_unit_test(test_busy_ones_spread_and_stay),
		cmocka_unit_test(test_unequal_ones_come_to_rest),
		cmocka_unit_test(test_noise_moves_nobody),
		cmocka_unit_test(test_one_that_makes_all_the_work_stays),
		cmocka_unit_test(
			test_gives_to_the_one_that_works_least_and_of_such_to_the_lightest),
		cmocka_unit_test(test_who_works_least_is_rung_for_a_new_one),
		cmocka_unit_test(test_one_period_alone_decides_nothing),
		cmocka_unit_test(test_gives_no_more_than_there_is_room_for),
		cmocka_unit_test(test_what_is_given_is_for_that_worker_alone),
		cmocka_unit_test(test_a_sleeping_worker_wakes_for_what_it_is_given),
		cmocka_unit_test(test_what_is_given_to_one_that_leaves_is_not_lost),
		cmocka_unit_test(test_what_is_given_to_one_that_never_began_is_not_lost),
		cmocka_unit_test(test_what_is_given_as_the_queue_ends_is_served),
		cmocka_unit_test(test_a_stop_gives_what_was_given),
		cmocka_unit_test(test_measures_a_thread_that_never_sleeps),
		cmocka_unit_test(test_what_a_thread_polls_is_no_work),
	};

	return cmocka_run_group_tests_name("rebalance", tests, NULL, NULL);
}
