/*
 * Connections in the order of their deadlines.
 */
#include "cmocka_setup.h"
#include "echopool/base/clock.h"
#include "echopool/pool/deadline_list.h"

#define ENTRIES 5

struct fixture {
	struct deadline_list list;
	struct deadline_entry entries[ENTRIES];
};

/* Entry i has been idle since i milliseconds. */
static void fill(struct fixture *f)
{
	deadline_list_init(&f->list);
	for (unsigned int i = 0; i < ENTRIES; i++)
		deadline_list_append(&f->list, &f->entries[i], i * NS_PER_MS);
}

/* Takes all out, oldest first, and checks that they come in this order. */
static void expect_order(struct fixture *f, const unsigned int *order, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct deadline_entry *oldest = deadline_list_oldest(&f->list);

		assert_ptr_equal(oldest, &f->entries[order[i]]);
		deadline_list_remove(oldest);
	}
	assert_null(deadline_list_oldest(&f->list));
}

static void test_the_oldest_is_the_one_appended_first(void **state)
{
	struct fixture f;

	(void)state;
	fill(&f);
	expect_order(&f, (const unsigned int[]){0, 1, 2, 3, 4}, ENTRIES);
}

static void test_a_touch_makes_it_the_newest(void **state)
{
	struct fixture f;

	(void)state;
	fill(&f);
	deadline_list_touch(&f.list, &f.entries[1], 10 * NS_PER_MS);
	deadline_list_touch(&f.list, &f.entries[0], 11 * NS_PER_MS);
	deadline_list_touch(&f.list, &f.entries[0], 12 * NS_PER_MS); /* the newest itself */
	assert_int_equal(f.entries[0].since_ns, 12 * NS_PER_MS);
	expect_order(&f, (const unsigned int[]){2, 3, 4, 1, 0}, ENTRIES);
}

static void test_leaves_from_the_middle_and_the_ends(void **state)
{
	struct fixture f;

	(void)state;
	fill(&f);
	deadline_list_remove(&f.entries[2]);
	deadline_list_remove(&f.entries[0]);
	deadline_list_remove(&f.entries[4]);
	expect_order(&f, (const unsigned int[]){1, 3}, 2);
}

static void test_an_inserted_entry_keeps_its_age(void **state)
{
	struct fixture f;

	(void)state;
	deadline_list_init(&f.list);
	for (unsigned int i = 0; i < ENTRIES; i++)
		f.entries[i].since_ns = i * NS_PER_MS;
	deadline_list_append(&f.list, &f.entries[1], NS_PER_MS);
	deadline_list_append(&f.list, &f.entries[3], 3 * NS_PER_MS);
	deadline_list_insert(&f.list, &f.entries[4]);
	deadline_list_insert(&f.list, &f.entries[2]);
	deadline_list_insert(&f.list, &f.entries[0]);
	expect_order(&f, (const unsigned int[]){0, 1, 2, 3, 4}, ENTRIES);
}

static void test_all_move_behind_those_of_another_list(void **state)
{
	struct deadline_list other;
	struct fixture f;

	(void)state;
	fill(&f);
	deadline_list_init(&other);
	deadline_list_move_all(&f.list, &other); /* nothing */
	for (unsigned int i = 0; i < 2; i++) {
		deadline_list_remove(&f.entries[i]);
		deadline_list_append(&other, &f.entries[i], (10 + i) * NS_PER_MS);
	}
	deadline_list_move_all(&f.list, &other);
	assert_null(deadline_list_oldest(&other));
	deadline_list_move_all(&other, &f.list); /* into an empty one */
	assert_null(deadline_list_oldest(&f.list));
	deadline_list_move_all(&f.list, &other);
	assert_int_equal(f.entries[1].since_ns, 11 * NS_PER_MS);
	expect_order(&f, (const unsigned int[]){2, 3, 4, 0, 1}, ENTRIES);
}

static void test_the_deadline_is_that_of_the_oldest(void **state)
{
	struct fixture f;

	(void)state;
	deadline_list_init(&f.list);
	assert_int_equal(deadline_list_next_ns(&f.list, 100), DEADLINE_NEVER);
	fill(&f);
	deadline_list_remove(&f.entries[0]);
	assert_int_equal(deadline_list_next_ns(&f.list, 100), 101 * NS_PER_MS);
	assert_int_equal(deadline_list_next_ns(&f.list, 86400000), 86400001 * NS_PER_MS);
	assert_int_equal(deadline_list_next_ns(&f.list, 0), DEADLINE_NEVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_oldest_is_the_one_appended_first),
		cmocka_unit_test(test_a_touch_makes_it_the_newest),
		cmocka_unit_test(test_leaves_from_the_middle_and_the_ends),
		cmocka_unit_test(test_an_inserted_entry_keeps_its_age),
		cmocka_unit_test(test_all_move_behind_those_of_another_list),
		cmocka_unit_test(test_the_deadline_is_that_of_the_oldest),
	};

	return cmocka_run_group_tests_name("deadline_list", tests, NULL, NULL);
}
