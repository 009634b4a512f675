/*
 * Access control: who may connect, and how many of one address.
 */
#include <stdio.h>
#include <string.h>

#include "cmocka_setup.h"
#include "echopool/pool/access.h"

/* Settings with these rules, each list ended by NULL; NULL for the default. */
static struct settings rules(const char *const *allow, const char *const *deny, uint32_t per_ip)
{
	struct settings s;

	assert_true(settings_init(&s));
	if (allow)
		string_list_free(&s.access.allow);
	for (; allow && *allow; allow++)
		assert_true(string_list_add(&s.access.allow, *allow));
	for (; deny && *deny; deny++)
		assert_true(string_list_add(&s.access.deny, *deny));
	s.limits.connections_per_ip = per_ip;
	return s;
}

static struct access *make(const char *const *allow, const char *const *deny, uint32_t per_ip)
{
	struct settings s = rules(allow, deny, per_ip);
	struct access *a = access_new(&s);

	assert_non_null(a);
	settings_free(&s);
	return a;
}

static union address from(const char *text)
{
	union address a;

	assert_true(address_parse(text, 12345, &a));
	return a;
}

static enum access_verdict admit(struct access *a, const char *text)
{
	const union address peer = from(text);

	struct address_key counted;

	return access_admit(a, &peer, &counted);
}

/* One that was admitted when an address was counted by its first bits; of IPv4, 96 more. */
static void release_prefix(struct access *a, const char *text, unsigned int bits)
{
	const union address peer = from(text);
	const struct address_key key = address_key_of(&peer);
	const struct address_key counted = address_key_prefix(&key, bits);

	access_release(a, &counted, false);
}

static void release(struct access *a, const char *text)
{
	release_prefix(a, text, strchr(text, '.') ? 128 : 64);
}

static void test_the_default_admits_everyone(void **state)
{
	struct access *a = make(NULL, NULL, 0);

	(void)state;
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "2001:db8::1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "::ffff:192.0.2.1"), ACCESS_ADMITTED);
	access_free(a);
}

static void test_without_a_limit_one_address_has_half_of_the_pool(void **state)
{
	struct access *a = make(NULL, NULL, 0);

	(void)state;
	access_set_capacity(a, 5);
	for (int i = 0; i < 3; i++) {
		const enum access_verdict v = i < 2 ? ACCESS_ADMITTED : ACCESS_TOO_MANY;

		assert_int_equal(admit(a, "192.0.2.1"), v);
		assert_int_equal(admit(a, "2001:db8::1"), v);
		assert_int_equal(admit(a, "127.0.0.1"), ACCESS_ADMITTED);
		assert_int_equal(admit(a, "::ffff:127.255.0.1"), ACCESS_ADMITTED);
		assert_int_equal(admit(a, "::1"), ACCESS_ADMITTED);
	}
	access_set_capacity(a, 6);
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_TOO_MANY);
	access_set_capacity(a, 1);
	assert_int_equal(admit(a, "128.0.0.1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "128.0.0.1"), ACCESS_TOO_MANY);
	access_free(a);
}

static void test_only_what_is_allowed_is_admitted(void **state)
{
	static const char *const allow[] = {"10.1.2.0/23", "2001:db8::/33", "192.0.2.7", NULL};
	struct access *a = make(allow, NULL, 0);

	(void)state;
	assert_int_equal(admit(a, "10.1.2.0"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "10.1.3.255"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "10.1.4.0"), ACCESS_DENIED);
	assert_int_equal(admit(a, "10.1.1.255"), ACCESS_DENIED);
	assert_int_equal(admit(a, "192.0.2.7"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "192.0.2.6"), ACCESS_DENIED);
	assert_int_equal(admit(a, "2001:db8:7fff::1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "2001:db8:8000::1"), ACCESS_DENIED);
	access_free(a);
}

static void test_deny_wins(void **state)
{
	static const char *const allow[] = {"10.0.0.0/8", NULL};
	static const char *const deny[] = {"10.0.0.0/9", "10.255.0.1", NULL};
	struct access *a = make(allow, deny, 0);

	(void)state;
	assert_int_equal(admit(a, "10.127.255.255"), ACCESS_DENIED);
	assert_int_equal(admit(a, "10.128.0.0"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "10.255.0.1"), ACCESS_DENIED);
	access_free(a);
}

static void test_ipv4_mapped_into_ipv6_is_ipv4(void **state)
{
	static const char *const deny[] = {"10.0.0.0/8", "::ffff:172.16.0.0/108", NULL};
	struct access *a = make(NULL, deny, 0);

	(void)state;
	assert_int_equal(admit(a, "::ffff:10.1.1.1"), ACCESS_DENIED);
	assert_int_equal(admit(a, "172.31.0.1"), ACCESS_DENIED);
	assert_int_equal(admit(a, "::ffff:172.31.0.1"), ACCESS_DENIED);
	assert_int_equal(admit(a, "172.32.0.1"), ACCESS_ADMITTED);
	access_free(a);
}

static void test_a_rule_for_ipv6_says_nothing_of_ipv4(void **state)
{
	static const char *const deny[] = {"::/0", NULL};
	struct access *a = make(NULL, deny, 0);

	(void)state;
	assert_int_equal(admit(a, "2001:db8::1"), ACCESS_DENIED);
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "::ffff:192.0.2.1"), ACCESS_ADMITTED);
	access_free(a);
}

static void test_a_limit_refuses_only_the_excess_of_one_address(void **state)
{
	struct access *a = make(NULL, NULL, 2);

	(void)state;
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "::ffff:192.0.2.1"), ACCESS_ADMITTED); /* the same */
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_TOO_MANY);
	assert_int_equal(admit(a, "192.0.2.2"), ACCESS_ADMITTED);
	release(a, "192.0.2.1");
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_TOO_MANY);
	access_free(a);
}

static void test_a_denied_connection_is_not_counted(void **state)
{
	static const char *const deny[] = {"192.0.2.1", NULL};
	struct access *a = make(NULL, deny, 1);
	struct settings s = rules(NULL, NULL, 1);

	(void)state;
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_DENIED);
	assert_true(access_update(a, &s));
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_ADMITTED);
	settings_free(&s);
	access_free(a);
}

static void test_a_new_limit_knows_those_that_were_there(void **state)
{
	struct access *a = make(NULL, NULL, 0);
	struct settings s = rules(NULL, NULL, 2);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(admit(a, "192.0.2.1"), ACCESS_ADMITTED);
	assert_true(access_update(a, &s));
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_TOO_MANY);
	release(a, "192.0.2.1");
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_TOO_MANY);
	release(a, "192.0.2.1");
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_ADMITTED);
	settings_free(&s);
	access_free(a);
}

/* More addresses than there are chains, all there at once, and all gone again. */
static void test_an_address_is_counted_by_its_prefix(void **state)
{
	struct access *a = make(NULL, NULL, 1);

	(void)state;
	assert_int_equal(admit(a, "2001:db8::1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "2001:db8::ffff:ffff:ffff:ffff"), ACCESS_TOO_MANY);
	assert_int_equal(admit(a, "2001:db8:0:1::1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "192.0.2.0"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "::ffff:192.0.2.0"), ACCESS_TOO_MANY);
	access_free(a);
}

static void test_what_was_counted_by_another_prefix_is_released_as_that(void **state)
{
	struct access *a = make(NULL, NULL, 1);
	struct settings s = rules(NULL, NULL, 1);

	(void)state;
	assert_int_equal(admit(a, "2001:db8:0:1::1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_ADMITTED);
	s.limits.prefix_ipv6 = 47;
	s.limits.prefix_ipv4 = 23;
	assert_true(access_update(a, &s));
	assert_int_equal(admit(a, "2001:db8:1::1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "2001:db8::1"), ACCESS_TOO_MANY);
	assert_int_equal(admit(a, "2001:db8:2::1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "192.0.3.1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_TOO_MANY);
	release_prefix(a, "2001:db8:0:1::1", 64);
	release_prefix(a, "192.0.2.1", 128);
	assert_int_equal(admit(a, "2001:db8::1"), ACCESS_TOO_MANY);
	release_prefix(a, "2001:db8:1::1", 47);
	release_prefix(a, "192.0.3.1", 96 + 23);
	assert_int_equal(admit(a, "2001:db8::1"), ACCESS_ADMITTED);
	assert_int_equal(admit(a, "192.0.2.1"), ACCESS_ADMITTED);
	settings_free(&s);
	access_free(a);
}

static void test_many_addresses_are_kept_apart(void **state)
{
	struct access *a = make(NULL, NULL, 1);
	char text[32];

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 20000; i++) {
			snprintf(text, sizeof(text), "10.0.%d.%d", i / 256, i % 256);
			assert_int_equal(admit(a, text), ACCESS_ADMITTED);
			assert_int_equal(admit(a, text), ACCESS_TOO_MANY);
		}
		for (int i = 0; i < 20000; i++) {
			snprintf(text, sizeof(text), "10.0.%d.%d", i / 256, i % 256);
			release(a, text);
		}
	}
	access_free(a);
}

/* Admits one, which is served if workers have room; returns whether it is light. */
static bool comes(struct access *a, const char *text, bool room)
{
	const union address peer = from(text);
	struct address_key counted;
	bool light;

	assert_int_equal(access_admit(a, &peer, &counted), ACCESS_ADMITTED);
	light = access_weight(a, &counted) != ACCESS_NOT_LIGHT;
	if (room)
		access_serve(a, &counted);
	return light;
}

static struct address_key key_from(const char *text)
{
	const union address peer = from(text);

	return address_key_of(&peer);
}

/* Whether who comes from text is crowded out, which must be by heaviest. */
static bool is_crowded_by(struct access *a, const char *text, const char *heaviest)
{
	const struct address_key waiting = key_from(text), expected = key_from(heaviest);
	struct address_key k;
	const bool crowded = access_is_crowded(a, &waiting, &k);

	if (crowded)
		assert_memory_equal(&k, &expected, sizeof(k));
	return crowded;
}

static bool may_replace(struct access *a, const char *silent, const char *waiting)
{
	const struct address_key s = key_from(silent), w = key_from(waiting);

	return access_may_replace(a, &s, &w);
}

static void test_two_addresses_with_one_each_crowd_nobody(void **state)
{
	struct access *a = make(NULL, NULL, 0);

	(void)state;
	comes(a, "192.0.2.1", true);
	comes(a, "192.0.2.2", true);
	assert_false(access_may_crowd(a));
	comes(a, "192.0.2.1", true);
	assert_true(access_may_crowd(a));
	access_free(a);
}

static void test_who_waits_counts_against_its_own_address_only(void **state)
{
	const struct address_key second = key_from("192.0.2.2");
	struct access *a = make(NULL, NULL, 0);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_false(comes(a, "192.0.2.1", true));
	assert_false(access_may_crowd(a)); /* one address alone */
	assert_true(comes(a, "192.0.2.2", false));
	assert_true(access_may_crowd(a));
	assert_true(is_crowded_by(a, "192.0.2.2", "192.0.2.1"));
	assert_true(comes(a, "192.0.2.2", false));
	assert_false(comes(a, "192.0.2.2", false)); /* three would be an equal share */
	assert_false(comes(a, "192.0.2.1", false));
	/* Two of the three that waited are served: three to two is fair. */
	access_serve(a, &second);
	assert_true(is_crowded_by(a, "192.0.2.2", "192.0.2.1"));
	access_serve(a, &second);
	assert_false(is_crowded_by(a, "192.0.2.2", "192.0.2.1"));
	assert_false(is_crowded_by(a, "192.0.2.1", "192.0.2.1"));
	access_free(a);
}

static void test_nobody_with_less_is_replaced(void **state)
{
	struct access *a = make(NULL, NULL, 0);

	(void)state;
	comes(a, "192.0.2.1", true);
	comes(a, "192.0.2.1", true);
	comes(a, "192.0.2.2", true);
	assert_true(may_replace(a, "192.0.2.1", "192.0.2.2"));
	assert_true(may_replace(a, "192.0.2.1", "192.0.2.1"));
	assert_true(may_replace(a, "192.0.2.2", "192.0.2.3"));
	assert_false(may_replace(a, "192.0.2.2", "192.0.2.1"));
	access_free(a);
}

static void test_the_first_holders_are_told_most_first(void **state)
{
	static const char *const comers[] = {
		"192.0.2.1",   "192.0.2.2", "192.0.2.2", "2001:db8::1", "2001:db8::2",
		"2001:db8::3", "192.0.2.3", "192.0.2.3", "192.0.2.3",   "192.0.2.3",
		"192.0.2.4",   "192.0.2.5", "192.0.2.6",
	};
	struct access_holder top[ACCESS_TOP];
	struct access *a = make(NULL, NULL, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(comers) / sizeof(comers[0]); i++)
		comes(a, comers[i], true);
	comes(a, "192.0.2.1", false); /* and waits: it holds no more */
	assert_int_equal(access_top_holders(a, top), ACCESS_TOP);
	assert_string_equal(top[0].text, "192.0.2.3");
	assert_int_equal(top[0].held, 4);
	assert_string_equal(top[1].text, "2001:db8::/64");
	assert_int_equal(top[1].held, 3);
	assert_string_equal(top[2].text, "192.0.2.2");
	assert_int_equal(top[2].held, 2);
	for (size_t i = 3; i < ACCESS_TOP; i++)
		assert_int_equal(top[i].held, 1);
	access_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_default_admits_everyone),
		cmocka_unit_test(test_without_a_limit_one_address_has_half_of_the_pool),
		cmocka_unit_test(test_only_what_is_allowed_is_admitted),
		cmocka_unit_test(test_deny_wins),
		cmocka_unit_test(test_ipv4_mapped_into_ipv6_is_ipv4),
		cmocka_unit_test(test_a_rule_for_ipv6_says_nothing_of_ipv4),
		cmocka_unit_test(test_a_limit_refuses_only_the_excess_of_one_address),
		cmocka_unit_test(test_a_denied_connection_is_not_counted),
		cmocka_unit_test(test_a_new_limit_knows_those_that_were_there),
		cmocka_unit_test(test_an_address_is_counted_by_its_prefix),
		cmocka_unit_test(test_what_was_counted_by_another_prefix_is_released_as_that),
		cmocka_unit_test(test_many_addresses_are_kept_apart),
		cmocka_unit_test(test_two_addresses_with_one_each_crowd_nobody),
		cmocka_unit_test(test_who_waits_counts_against_its_own_address_only),
		cmocka_unit_test(test_nobody_with_less_is_replaced),
		cmocka_unit_test(test_the_first_holders_are_told_most_first),
	};

	return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
