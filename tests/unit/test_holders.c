/*
 * Who holds the workers: the first of each order, from all workers together, as they answered.
 */
#include <stdlib.h>

#include "cmocka_setup.h"
#include "echopool/pool/worker_state.h"

/* More than a worker looks at from both ends of a list. */
#define CONNS 10000

struct fixture {
	struct queue *queue;
	struct worker_tuning tuning;
	struct worker *worker;
	struct conn *conns;
};

static void open_worker(struct fixture *f)
{
	*f = (struct fixture){.queue = queue_new(1, 1), .conns = calloc(CONNS, sizeof(*f->conns))};
	assert_non_null(f->queue);
	assert_non_null(f->conns);
	atomic_init(&f->tuning.buffer_bytes, 4096);
	f->worker =
		worker_new(0, &(struct worker_options){.queue = f->queue, .tuning = &f->tuning});
	assert_non_null(f->worker);
}

static void close_worker(struct fixture *f)
{
	worker_free(f->worker);
	queue_free(f->queue);
	free(f->conns);
}

/* Number i came at accepted_ns; what it has is told by its port too. */
static struct conn *hold(struct fixture *f, struct deadline_list *list, int i, uint64_t accepted_ns,
			 uint64_t moved_ns, uint64_t bytes)
{
	struct conn *c = &f->conns[i];

	c->accepted_ns = accepted_ns;
	c->moved_ns = moved_ns;
	c->received_bytes = c->sent_bytes = bytes / 2;
	assert_true(address_parse("192.0.2.1", (uint16_t)i, &c->peer));
	deadline_list_append(list, &c->deadline, accepted_ns);
	return c;
}

static void ask(struct fixture *f)
{
	holders_ask(&f->worker->holders);
	f->worker->holders.called = true;
}

static struct holders collected(struct fixture *f)
{
	struct holders all = {.missing = 0};

	holders_collect(&f->worker->holders, &all);
	return all;
}

static void assert_order(const struct holders *all, enum holders_order order, unsigned int count,
			 const int *ports)
{
	assert_int_equal(all->count[order], count);
	for (unsigned int i = 0; i < count; i++)
		assert_int_equal(address_port(&all->top[order][i].peer), ports[i]);
}

static void test_each_order_has_its_first_and_nobody_twice(void **state)
{
	struct fixture f;
	struct holders all;

	(void)state;
	open_worker(&f);
	hold(&f, &f.worker->reading, 1, 100, 900, 10);
	hold(&f, &f.worker->reading, 2, 200, 0, 40); /* silent since it came */
	hold(&f, &f.worker->reading, 3, 300, 700, 60);
	hold(&f, &f.worker->writing, 4, 350, 360, 20);
	hold(&f, &f.worker->writing, 5, 400, 600, 90);
	hold(&f, &f.worker->writing, 6, 500, 950, 30);
	ask(&f);
	holders_tell(f.worker);
	all = collected(&f);
	assert_order(&all, HOLDERS_OLDEST, 5, (int[]){1, 2, 3, 4, 5});
	assert_order(&all, HOLDERS_MOST_BYTES, 5, (int[]){5, 3, 2, 6, 4});
	assert_order(&all, HOLDERS_LONGEST_SILENT, 5, (int[]){2, 4, 5, 3, 1});
	assert_int_equal(all.missing, 0);
	close_worker(&f);
}

static void test_who_has_not_answered_is_missing_and_shows_nothing_old(void **state)
{
	struct fixture f;
	struct holders all;

	(void)state;
	open_worker(&f);
	hold(&f, &f.worker->reading, 1, 100, 0, 10);
	holders_tell(f.worker);
	all = collected(&f);
	assert_int_equal(all.count[HOLDERS_OLDEST] + all.missing, 0); /* nobody asked */
	holders_ask(&f.worker->holders); /* it sleeps and holds nothing, so it was not called */
	assert_int_equal(collected(&f).missing, 0);
	ask(&f);
	all = collected(&f);
	assert_int_equal(all.count[HOLDERS_OLDEST], 0);
	assert_int_equal(all.missing, 1);
	ask(&f); /* once more: one answer is for both */
	holders_tell(f.worker);
	all = collected(&f);
	assert_order(&all, HOLDERS_OLDEST, 1, (int[]){1});
	assert_int_equal(all.missing, 0);
	/* It has gone meanwhile, and so has what the worker held. */
	deadline_list_remove(&f.conns[1].deadline);
	ask(&f);
	holders_tell(f.worker);
	all = collected(&f);
	assert_int_equal(all.count[HOLDERS_OLDEST] + all.missing, 0);
	close_worker(&f);
}

static void test_of_many_both_ends_are_looked_at(void **state)
{
	struct fixture f;
	struct holders all;

	(void)state;
	open_worker(&f);
	for (int i = 0; i < CONNS; i++)
		hold(&f, &f.worker->reading, i, 1000 + (uint64_t)i, 0, i == CONNS - 1 ? 20 : 10);
	ask(&f);
	holders_tell(f.worker);
	all = collected(&f);
	assert_order(&all, HOLDERS_OLDEST, 5, (int[]){0, 1, 2, 3, 4});
	assert_int_equal(address_port(&all.top[HOLDERS_MOST_BYTES][0].peer), CONNS - 1);
	close_worker(&f);
}

static void test_those_of_all_workers_are_ranked_together(void **state)
{
	struct holders_answer a[2] = {{.called = true}, {.called = true}};
	struct holders all = {.missing = 0};

	(void)state;
	for (unsigned int i = 0; i < 8; i++)
		holders_add(&a[i % 2].holders, &(struct holder){.worker = i % 2,
								.accepted_ns = 100 + i,
								.moved_ns = 300 - i,
								.bytes = UINT64_C(10) * (i / 2)});
	holders_collect(&a[1], &all);
	holders_collect(&a[0], &all);
	for (unsigned int i = 0; i < HOLDERS_TOP; i++) {
		assert_int_equal(all.top[HOLDERS_OLDEST][i].accepted_ns, 100 + i);
		assert_int_equal(all.top[HOLDERS_LONGEST_SILENT][i].moved_ns, 293 + i);
		assert_int_equal(all.top[HOLDERS_MOST_BYTES][i].bytes, 30 - 10 * (i / 2));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_order_has_its_first_and_nobody_twice),
		cmocka_unit_test(test_who_has_not_answered_is_missing_and_shows_nothing_old),
		cmocka_unit_test(test_of_many_both_ends_are_looked_at),
		cmocka_unit_test(test_those_of_all_workers_are_ranked_together),
	};

	return cmocka_run_group_tests_name("holders", tests, NULL, NULL);
}
