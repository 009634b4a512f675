/*
 * Addresses and address ranges, from text and back.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "cmocka_setup.h"
#include "echopool/base/address.h"

static void good_addresses_come_back_as_they_were(void **state)
{
	static const struct {
		const char *text;
		const char *formatted;
		sa_family_t family;
	} cases[] = {
		{"127.0.0.1", "127.0.0.1:7007", AF_INET},
		{"0.0.0.0", "0.0.0.0:7007", AF_INET},
		{"255.255.255.255", "255.255.255.255:7007", AF_INET},
		{"::", "[::]:7007", AF_INET6},
		{"::1", "[::1]:7007", AF_INET6},
		{"0:0:0:0:0:0:0:1", "[::1]:7007", AF_INET6},
		{"2001:DB8::7", "[2001:db8::7]:7007", AF_INET6},
		{"::ffff:10.1.2.3", "10.1.2.3:7007", AF_INET6},
		{"fe80::1%2", "[fe80::1%2]:7007", AF_INET6},
		{"fe80::1%4294967295", "[fe80::1%4294967295]:7007", AF_INET6},
	};
	char text[ADDRESS_TEXT_BYTES];
	union address a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(address_parse(cases[i].text, 7007, &a));
		assert_int_equal(a.any.sa_family, cases[i].family);
		assert_int_equal(address_port(&a), 7007);
		assert_string_equal(address_format(&a, text), cases[i].formatted);
	}
}

static void an_interface_may_be_named(void **state)
{
	union address a;

	(void)state;
	assert_true(address_parse("fe80::1%lo", 1, &a));
	assert_true(address_resolve_scope("fe80::1%lo", &a));
	assert_int_not_equal(a.v6.sin6_scope_id, 0);
	assert_string_equal(address_scope("fe80::1%lo"), "lo");
	assert_string_equal(address_scope("::1"), "");
	/* There is nothing to look up here. */
	assert_true(address_parse("fe80::1%4294967295", 1, &a));
	assert_true(address_resolve_scope("fe80::1%4294967295", &a));
	assert_int_equal(a.v6.sin6_scope_id, UINT32_MAX);
	assert_true(address_parse("127.0.0.1", 1, &a));
	assert_true(address_resolve_scope("127.0.0.1", &a));
}

static void an_interface_need_not_exist_to_be_named(void **state)
{
	static const char *const cases[] = {"fe80::1%none",   "fe80::1%eth0.100",
					    "fe80::1%br-lan", "fe80::1%123456789abcdef",
					    "fe80::1%2nd",    "fe80::1%_x"};
	union address a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!address_parse(cases[i], 1, &a))
			fail_msg("\"%s\" was refused", cases[i]);
		assert_int_equal(a.v6.sin6_scope_id, 0);
		assert_false(address_resolve_scope(cases[i], &a));
		assert_int_equal(errno, ENODEV);
	}
}

static void bad_addresses_are_refused(void **state)
{
	static const char *const cases[] = {
		"",
		" ",
		"localhost",
		"127.0.0.1 ",
		" 127.0.0.1",
		"127.0.0",
		"127.1",
		"127.0.0.256",
		"127.0.0.01",
		"127.0.0.1:7007",
		"[::1]",
		"::1::",
		":::",
		"12345::",
		"1:2:3:4:5:6:7",
		"fe80::1%",
		"fe80::1%0",
		"fe80::1%02",
		"fe80::1%12345678901",
		"fe80::1%-x",
		"fe80::1%-1",
		"fe80::1%4294967296",
		"1.2.3.4%2",
		"fe80::1%123456789abcdefg",
		"fe80::1%eth 0",
		"fe80::1%eth/0",
		"fe80::1%eth:0",
		"fe80::1%e\"h",
		"fe80::1%.",
		"fe80::1%e\xc3\xa4",
		"10.0.0.0/8",
		"*",
		"::1%1%1",
		"0x7f.0.0.1",
		"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111",
	};
	static const union address empty;
	union address a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (address_parse(cases[i], 1, &a))
			fail_msg("\"%s\" was taken", cases[i]);
		assert_memory_equal(&a, &empty, sizeof(a));
	}
}

/* Each differs from the others in another part of the address. */
static const char *const different[] = {"127.0.0.1", "10.0.0.1", "0.0.0.0",
					"1::",       "0:0:1::",  "0:0:0:0:1::",
					"::1",       "::",       "::ffff:127.0.0.1"};

static bool is_wildcard(const char *text)
{
	return strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0;
}

static void equality_and_exclusion_look_at_every_part(void **state)
{
	const size_t count = sizeof(different) / sizeof(different[0]);
	union address a, b;

	(void)state;
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < count; j++) {
			const bool same = i == j;

			assert_true(address_parse(different[i], 7, &a));
			assert_true(address_parse(different[j], 7, &b));
			assert_int_equal(address_equal(&a, &b), same);
			assert_int_equal(
				address_excludes(&a, &b),
				same || (a.any.sa_family == b.any.sa_family &&
					 (is_wildcard(different[i]) || is_wildcard(different[j]))));
			assert_true(address_parse(different[j], 8, &b));
			assert_false(address_equal(&a, &b));
			assert_false(address_excludes(&a, &b));
		}
	}
	assert_true(address_parse("fe80::1%1", 7, &a));
	assert_true(address_parse("fe80::1%2", 7, &b));
	assert_false(address_equal(&a, &b));
}

static void loopback_is_told_by_every_part(void **state)
{
	static const struct {
		const char *text;
		bool loopback;
	} cases[] = {
		{"127.0.0.1", true},
		{"127.255.0.9", true},
		{"126.0.0.1", false},
		{"128.0.0.1", false},
		{"::1", true},
		{"::2", false},
		{"1::1", false},
		{"0:0:1::1", false},
		{"0:0:0:0:1::1", false},
		{"::ffff:127.0.0.2", true},
		{"::ffff:10.0.0.1", false},
		{"1::ffff:7f00:1", false},
		{"0:0:1::ffff:7f00:1", false},
	};
	union address a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(address_parse(cases[i].text, 1, &a));
		if (address_is_loopback(&a) != cases[i].loopback)
			fail_msg("%s", cases[i].text);
	}
}

static void the_length_and_port_follow_the_family(void **state)
{
	char text[ADDRESS_TEXT_BYTES];
	union address a;

	(void)state;
	assert_true(address_parse("10.0.0.1", 65535, &a));
	assert_int_equal(address_length(&a), sizeof(struct sockaddr_in));
	assert_int_equal(ntohs(a.v4.sin_port), 65535);
	assert_true(address_parse("::1", 0, &a));
	assert_int_equal(address_length(&a), sizeof(struct sockaddr_in6));
	assert_int_equal(address_port(&a), 0);
	memset(&a, 0, sizeof(a));
	a.any.sa_family = AF_UNIX;
	assert_int_equal(address_port(&a), 0);
	assert_string_equal(address_format(&a, text), "address family 1");
}

static void good_ranges_are_parsed(void **state)
{
	static const struct {
		const char *text;
		sa_family_t family;
		uint8_t prefix_bits;
		uint8_t first, last; /* of the bytes that the family uses */
	} cases[] = {
		{"0.0.0.0/0", AF_INET, 0, 0, 0},
		{"10.0.0.0/8", AF_INET, 8, 10, 0},
		{"192.168.1.128/25", AF_INET, 25, 192, 128},
		{"10.1.2.3", AF_INET, 32, 10, 3},
		{"10.1.2.3/32", AF_INET, 32, 10, 3},
		{"::/0", AF_INET6, 0, 0, 0},
		{"fe80::/10", AF_INET6, 10, 0xfe, 0},
		{"2001:db8::1/128", AF_INET6, 128, 0x20, 1},
		{"::1", AF_INET6, 128, 0, 1},
	};
	struct cidr c;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(cidr_parse(cases[i].text, &c));
		assert_int_equal(c.family, cases[i].family);
		assert_int_equal(c.prefix_bits, cases[i].prefix_bits);
		assert_int_equal(c.bytes[0], cases[i].first);
		assert_int_equal(c.bytes[c.family == AF_INET ? 3 : 15], cases[i].last);
	}
}

static void bad_ranges_are_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"/",
		"/8",
		"10.0.0.0/",
		"10.0.0.0/33",
		"10.0.0.0/-1",
		"10.0.0.0/08",
		"10.0.0.0/8 ",
		"10.0.0.0/8/8",
		"10.0.0.1/8",
		"10.0.0.0/4294967304",
		"::/129",
		"::1/127",
		"fe80::1%2",
		"fe80::%2/10",
		"192.168.1.1/24",
		"10.0.0/8",
		"everyone",
		"10.0.0.0/0x8",
		"10.0.0.0/255.0.0.0",
		"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111/8",
	};
	struct cidr c;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cidr_parse(cases[i], &c))
			fail_msg("\"%s\" was taken", cases[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_addresses_come_back_as_they_were),
		cmocka_unit_test(an_interface_may_be_named),
		cmocka_unit_test(an_interface_need_not_exist_to_be_named),
		cmocka_unit_test(bad_addresses_are_refused),
		cmocka_unit_test(equality_and_exclusion_look_at_every_part),
		cmocka_unit_test(loopback_is_told_by_every_part),
		cmocka_unit_test(the_length_and_port_follow_the_family),
		cmocka_unit_test(good_ranges_are_parsed),
		cmocka_unit_test(bad_ranges_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
