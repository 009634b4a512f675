/*
 * The table of settings: defaults, printing, -o and back, numbers, and the nearest known setting.
 */
#include "config_loading.h"
#include "echopool/config/loading.h"
#include "echopool/config/text.h"

#define LINES_MAX 64

/* What -T prints, as one text, to be freed. */
static char *print(const struct settings *s)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	assert_non_null(out);
	settings_print(s, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* Cuts text into its lines, and returns their number. */
static size_t split(char *text, char *lines[static LINES_MAX])
{
	size_t count = 0;

	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		assert_true(count < LINES_MAX);
		lines[count++] = line;
	}
	return count;
}

static void load_overrides(struct settings *s, char *const overrides[], size_t count)
{
	struct config_messages messages;
	bool good = config_load(s, NULL, overrides, count, &messages);

	if (!good)
		fail_msg("%s", messages.count > 0 ? messages.items[0].text : "no message");
	config_messages_free(&messages);
}

static void the_defaults_are_those_of_the_design(void **state)
{
	static const char *const expected =
		"listen.addresses=[ \"127.0.0.1\", \"::1\" ]\n"
		"listen.port=7007\nlisten.backlog=1024\n"
		"pool.workers=0\npool.worker_connections=4096\n"
		"pool.queue_limit=1024\npool.queue_full=\"wait\"\n"
		"pool.rebalance=true\npool.spin_us=50\npool.engine=\"auto\"\n"
		"limits.buffer_bytes=65536\nlimits.connections_per_ip=0\n"
		"limits.prefix_ipv4=32\nlimits.prefix_ipv6=64\n"
		"limits.receive_bytes=0\n"
		"timeouts.idle=300.0\ntimeouts.idle_when_full=5.0\ntimeouts.queue=30.0\n"
		"timeouts.write=120.0\ntimeouts.lame_duck=0.0\ntimeouts.drain=8.0\n"
		"tcp.nodelay=true\ntcp.keepalive=true\n"
		"access.allow=[ \"0.0.0.0/0\", \"::/0\" ]\naccess.deny=[ ]\n"
		"log.target=\"stderr\"\nlog.level=\"info\"\nlog.connections=false\n"
		"log.rate=200\n"
		"admin.addresses=[ ]\nadmin.port=9707\n"
		"admin.allow=[ \"127.0.0.0/8\", \"::1\" ]\nadmin.hosts=[ ]\n"
		"admin.connections=16\nadmin.timeout=10.0\nadmin.unready_after=0.0\n"
		"admin.peers=true\n";
	struct settings s;

	(void)state;
	assert_true(settings_init(&s));
	char *text = print(&s);
	assert_string_equal(text, expected);
	assert_int_equal(s.timeouts.idle_ms, 300000);
	assert_true(s.tcp.nodelay);
	assert_int_equal(s.log.level, LOG_LEVEL_INFO);
	free(text);
	settings_free(&s);
	assert_null(s.listen.addresses.items);
	settings_free(&s);
}

/* Gives the lines of -T back through -o, and expects the same lines again. */
static void expect_round_trip(const struct settings *s)
{
	char *before = print(s);
	char *copy = strdup(before);
	char *lines[LINES_MAX];
	struct settings again;

	assert_non_null(copy);
	load_overrides(&again, lines, split(copy, lines));
	char *after = print(&again);
	assert_string_equal(after, before);
	settings_free(&again);
	free(after);
	free(copy);
	free(before);
}

static void printed_lines_read_back_as_overrides(void **state)
{
	/* Each setting away from its default, with the oddest value that it may have. */
	char *changes[] = {
		"listen.addresses=[\"::1\",\"0.0.0.0\", \"fe80::1%2\" ]",
		"listen.port=0",
		"listen.backlog=0xFF",
		"pool.workers=1024",
		"pool.worker_connections=1",
		"pool.queue_limit=1000000",
		"pool.queue_full=reject",
		"pool.rebalance=false",
		"pool.spin_us=0",
		"pool.engine=io_uring",
		"limits.buffer_bytes=16777216",
		"limits.connections_per_ip=3",
		"limits.prefix_ipv4=24",
		"limits.prefix_ipv6=56",
		"limits.receive_bytes=131072",
		"timeouts.idle=86400",
		"timeouts.idle_when_full=0.001",
		"timeouts.queue=0.02",
		"timeouts.write=1.999",
		"timeouts.lame_duck=2",
		"timeouts.drain=0",
		"tcp.nodelay=false",
		"tcp.keepalive=FALSE",
		"access.allow=[ \"10.0.0.0/8\" ]",
		"access.deny=[ \"10.1.0.0/16\", \"::1\" ]",
		"log.target=\"syslog\"",
		"log.level=debug",
		"log.connections=true",
		"log.rate=1000000",
		"admin.addresses=[ \"::1\" ]",
		"admin.port=0",
		"admin.allow=[ \"10.0.0.0/8\" ]",
		"admin.hosts=[ \"echo.example.net\" ]",
		"admin.connections=64",
		"admin.timeout=0.5",
		"admin.unready_after=30",
		"admin.peers=false",
	};
	struct settings s, defaults;

	(void)state;
	assert_int_equal(sizeof(changes) / sizeof(changes[0]), SETTINGS_COUNT);
	assert_true(settings_init(&defaults));
	assert_true(settings_init(&s));
	expect_round_trip(&s);
	settings_free(&s);
	load_overrides(&s, changes, SETTINGS_COUNT);
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		assert_false(setting_equal(&settings_table[i], &s, &defaults));
		assert_true(setting_equal(&settings_table[i], &s, &s));
	}
	settings_free(&defaults);
	assert_int_equal(s.listen.backlog, 255);
	assert_int_equal(s.timeouts.queue_ms, 20);
	assert_int_equal(s.timeouts.write_ms, 1999);
	assert_int_equal(s.log.target, LOG_TARGET_SYSLOG);
	expect_round_trip(&s);
	settings_free(&s);
}

static void a_value_as_text_is_cut_where_it_is_long(void **state)
{
	char text[SETTING_TEXT_BYTES];
	struct settings s;

	(void)state;
	assert_true(settings_init(&s));
	assert_string_equal(setting_text(settings_find("listen.addresses"), &s, text),
			    "[ \"127.0.0.1\", \"::1\" ]");
	assert_string_equal(setting_text(settings_find("pool.queue_full"), &s, text), "\"wait\"");
	for (int i = 0; i < 100; i++)
		assert_true(string_list_add(&s.access.deny, "192.0.2.0/24"));
	setting_text(settings_find("access.deny"), &s, text);
	assert_int_equal(strlen(text), SETTING_TEXT_BYTES - 1);
	assert_string_equal(text + SETTING_TEXT_BYTES - 4, "...");
	settings_free(&s);
}

static void the_table_is_found_by_path(void **state)
{
	(void)state;
	for (size_t i = 0; i < SETTINGS_COUNT; i++)
		assert_ptr_equal(settings_find(settings_table[i].path), &settings_table[i]);
	assert_null(settings_find("pool"));
	assert_null(settings_find("pool.workers2"));
	assert_true(settings_is_group("pool"));
	assert_false(settings_is_group("poo"));
	assert_false(settings_is_group("pool.workers"));
	assert_false(settings_is_group(""));
}

static void the_range_names_every_word(void **state)
{
	char range[SETTING_RANGE_BYTES];

	(void)state;
	assert_string_equal(setting_range(settings_find("log.level"), range),
			    "\"error\", \"warning\", \"info\" or \"debug\"");
	assert_string_equal(setting_range(settings_find("pool.workers"), range),
			    "a whole number from 0 to 1024");
}

/* A number as it is written, and what it is; NULL-ended. */
struct number_case {
	const char *text;
	bool good;
	uint32_t value;
};

/* Writes each to a setting, in a file and with -o, and expects the same of both. */
static void expect_numbers(const char *path, const struct number_case *cases)
{
	for (const struct number_case *c = cases; c->text != NULL; c++) {
		const int group = (int)strcspn(path, ".");
		char text[128];

		snprintf(text, sizeof(text), "%.*s: { %s = %s; };", group, path, path + group + 1,
			 c->text);
		write_text(text);
		snprintf(text, sizeof(text), "%s=%s", path, c->text);
		for (size_t overrides = 0; overrides < 2; overrides++) {
			struct config_messages messages;
			struct settings s;
			bool good = config_load(&s, overrides == 0 ? FILE_NAME : NULL,
						(char *const[]){text}, overrides, &messages);
			const char *field = (const char *)&s + settings_find(path)->offset;
			uint32_t value = 0;

			if (good)
				memcpy(&value, field, sizeof(value));
			if (good != c->good || value != c->value ||
			    messages.count != (c->good ? 0 : 1))
				fail_msg("%s: %d, %u, %zu messages", text, good, value,
					 messages.count);
			config_messages_free(&messages);
			settings_free(&s);
		}
	}
}

static void whole_numbers_never_wrap(void **state)
{
	static const struct number_case cases[] = {
		{"0", true, 0},
		{"7007", true, 7007},
		{"1000000", true, 1000000},
		{"0x10", true, 16},
		{"0xF4240", true, 1000000},
		{"0x00000000f4240", true, 1000000},
		{"", false, 0},
		{"1000001", false, 0},
		{"2147483647", false, 0},
		{"2147483648", false, 0},
		{"4294967295", false, 0},
		{"4294967296", false, 0},
		{"4294967312", false, 0},
		{"9223372036854775807", false, 0},
		{"18446744073709551616", false, 0},
		{"99999999999999999999", false, 0},
		{"0xffffFFFF", false, 0},
		{"0x100000000", false, 0},
		{"0x100000010", false, 0},
		{"0x10000000000000001", false, 0},
		{"010", false, 0},
		{"00", false, 0},
		{"-1", false, 0},
		{"-0", false, 0},
		{"+1", false, 0},
		{"5L", false, 0},
		{"5LL", false, 0},
		{"0x", false, 0},
		{"1e3", false, 0},
		{"0b11", false, 0},
		{"0o17", false, 0},
		{"5.0", false, 0},
		{NULL, false, 0},
	};

	(void)state;
	expect_numbers("limits.connections_per_ip", cases);
}

static void seconds_are_rounded_but_never_to_nothing(void **state)
{
	static const struct number_case cases[] = {
		{"0", true, 0},
		{"0.0", true, 0},
		{"0.0000", true, 0},
		{".5", true, 500},
		{"5.", true, 5000},
		{"300", true, 300000},
		{"0.001", true, 1},
		{"0.0014", true, 1},
		{"0.0015", true, 2},
		{"1.0005", true, 1001},
		{"2.0035", true, 2004},
		{"8.4995", true, 8500},
		{"1.00049999", true, 1000},
		{"1.9996", true, 2000},
		{"0.25", true, 250},
		{"0.250000000000000000000", true, 250},
		{"86400", true, 86400000},
		{"86400.0", true, 86400000},
		{"0.0009", false, 0},
		{"0.00099999999", false, 0},
		{"0.0000001", false, 0},
		{"86400.0001", false, 0},
		{"86400.0000000001", false, 0},
		{"86401", false, 0},
		{"99999999999999999999", false, 0},
		{"99999999999999999999.0", false, 0},
		{".", false, 0},
		{"", false, 0},
		{"-1.0", false, 0},
		{"-0.0", false, 0},
		{"+1.0", false, 0},
		{"1.0e3", false, 0},
		{"1.0e0", false, 0},
		{"01.5", false, 0},
		{"0x10", false, 0},
		{"5L", false, 0},
		{"1.5.5", false, 0},
		{NULL, false, 0},
	};

	(void)state;
	expect_numbers("timeouts.write", cases);
}

/* What is plain is what every libconfig reads without wrapping. */
static void a_plain_number_is_below_two_to_the_31st(void **state)
{
	const char *why;

	(void)state;
	assert_true(text_is_number("2147483647", 10, &why));
	assert_true(text_is_number("0x7fffffff", 10, &why));
	assert_false(text_is_number("2147483648", 10, &why));
	assert_string_equal(why, "");
	assert_false(text_is_number("0x80000000", 10, &why));
	assert_false(text_is_number("4294967296", 10, &why));
	assert_string_equal(why, ", which is more than 32 bits");
	assert_false(text_is_number("+1", 2, &why));
	assert_string_equal(why, " with a sign");
}

static void the_nearest_setting_is_named(void **state)
{
	static const struct {
		const char *path;
		const char *nearest;
	} cases[] = {
		{"pool.wrokers", "pool.workers"},
		{"listen.prot", "listen.port"},
		{"pool.worker", "pool.workers"},
		{"pool.Workers", "pool.workers"},
		{"POOL.WORKERS", "pool.workers"},
		{"workers", "pool.workers"},
		{"pool.port", "listen.port"},
		{"listen.queue-limit", "pool.queue_limit"},
		{"pool.queue_ful", "pool.queue_full"},
		{"timeout.idle", "timeouts.idle"},
		{"buffer_bytes", "limits.buffer_bytes"},
		{"tcp.no_delay", "tcp.nodelay"},
		{"pool.colour", NULL},
		{"x", NULL},
		{"", NULL},
		{"a.path.that.is.much.longer.than.any.setting.there.is", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t length = 0;
		const char *nearest = nearest_setting(cases[i].path, false, &length);

		if (nearest != NULL)
			assert_int_equal(length, strlen(nearest));
		if (nearest != cases[i].nearest && (nearest == NULL || cases[i].nearest == NULL ||
						    strcmp(nearest, cases[i].nearest) != 0))
			fail_msg("%s: %s", cases[i].path, nearest == NULL ? "none" : nearest);
	}
}

static void expect_nearest_group(const char *path, const char *group)
{
	size_t length = 0;
	const char *nearest = nearest_setting(path, true, &length);

	assert_non_null(nearest);
	assert_int_equal(length, strlen(group));
	assert_memory_equal(nearest, group, length);
}

static void every_group_can_be_the_nearest(void **state)
{
	size_t length;

	(void)state;
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		const char *dot = strchr(settings_table[i].path, '.');
		char *group =
			strndup(settings_table[i].path, (size_t)(dot - settings_table[i].path));

		assert_non_null(group);
		expect_nearest_group(group, group);
		free(group);
	}
	expect_nearest_group("timeout", "timeouts");
	expect_nearest_group("tc", "tcp");
	assert_null(nearest_setting("colours", true, &length));
}

static void quoted_text_is_cut_and_escaped(void **state)
{
	char out[QUOTE_BYTES];
	char text[100];

	(void)state;
	assert_string_equal(text_quote("a\x1b[1m\n\x7f\xff\xc2\x9b", 10, out),
			    "a\\x1b[1m\\x0a\\x7f\\xff\\xc2\\x9b");
	assert_string_equal(text_quote("\xc3\xa4", 2, out), "\xc3\xa4");
	memset(text, 'x', sizeof(text));
	assert_int_equal(strlen(text_quote(text, sizeof(text), out)), QUOTE_SHOWN + 3);
	/* A character is never cut in two. */
	memcpy(text + QUOTE_SHOWN - 1, "\xc3\xa4", 2);
	assert_string_equal(text_quote(text, sizeof(text), out) + QUOTE_SHOWN - 2, "x...");
	memset(text, 1, sizeof(text));
	assert_int_equal(strlen(text_quote(text, sizeof(text), out)), QUOTE_BYTES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_defaults_are_those_of_the_design),
		cmocka_unit_test(printed_lines_read_back_as_overrides),
		cmocka_unit_test(a_value_as_text_is_cut_where_it_is_long),
		cmocka_unit_test(the_table_is_found_by_path),
		cmocka_unit_test(the_range_names_every_word),
		cmocka_unit_test(whole_numbers_never_wrap),
		cmocka_unit_test(seconds_are_rounded_but_never_to_nothing),
		cmocka_unit_test(a_plain_number_is_below_two_to_the_31st),
		cmocka_unit_test(the_nearest_setting_is_named),
		cmocka_unit_test(every_group_can_be_the_nearest),
		cmocka_unit_test(quoted_text_is_cut_and_escaped),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
