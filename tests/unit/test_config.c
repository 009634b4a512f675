/*
 * Configuration files and overrides that are right, and how errors of several places come together.
 */
#include "config_loading.h"
#include "echopool/config/loading.h"

#define F "E " FILE_NAME

static void expect_said(const char *text, const char *said)
{
	expect_text(text, strlen(text), said);
}

static void an_empty_file_means_the_defaults(void **state)
{
	static const char *const texts[] = {
		"", "\n", "\r\n\r\n", "# nothing", "/* nothing */", "// nothing\n", "pool: { };",
	};

	struct settings defaults;

	(void)state;
	assert_true(settings_init(&defaults));
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct settings s;

		write_text(texts[i]);
		expect_load(&s, FILE_NAME, NULL, 0, "");
		for (size_t n = 0; n < SETTINGS_COUNT; n++)
			assert_true(setting_equal(&settings_table[n], &s, &defaults));
		settings_free(&s);
	}
	settings_free(&defaults);
}

static void every_form_of_the_format_is_read(void **state)
{
	static const char text[] =
		"listen = {\r\n"
		"    addresses = [ \"::\", \"0.0.0.0\" ]\r\n"
		"    port: 0x10, backlog = 5 } // comment\r\n"
		"pool : { workers = 8 /* not 9 */; queue_full = \"re\\x6aect\" };\r\n"
		"timeouts: { drain = .5; };# comment \"\r\n"
		"tcp: { nodelay = FALSE; keepalive = True; };\r\n"
		"/* log: {\r\n*/ log: { level = \"debug\" };";
	struct settings s;

	(void)state;
	write_text(text);
	expect_load(&s, FILE_NAME, NULL, 0, "");
	assert_int_equal(s.listen.addresses.count, 2);
	assert_string_equal(s.listen.addresses.items[0], "::");
	assert_string_equal(s.listen.addresses.items[1], "0.0.0.0");
	assert_int_equal(s.listen.port, 16);
	assert_int_equal(s.listen.backlog, 5);
	assert_int_equal(s.pool.workers, 8);
	assert_int_equal(s.pool.queue_full, QUEUE_FULL_REJECT);
	assert_int_equal(s.timeouts.drain_ms, 500);
	assert_false(s.tcp.nodelay);
	assert_true(s.tcp.keepalive);
	assert_int_equal(s.log.level, LOG_LEVEL_DEBUG);
	settings_free(&s);
}

static void errors_come_in_the_order_of_the_file(void **state)
{
	static const char text[] = "pool: { workers = 70000;\n"
				   "  queue_limit = 010; # \x1b\n"
				   "  colour = 1;\n"
				   "};\n"
				   "@include \"x\"\n"
				   "log: { level = \"in\" \"fo\"; target = 1; };\n"
				   "tcp: { nodelay = 1;\n"
				   "  nodelay = 2;\n"
				   "  keepalive = 2;\n"
				   "};\n";
	char *overrides[] = {"log.level=loud", "log.connections=2"};
	struct settings s;

	(void)state;
	write_text(text);
	/* A doubled setting is libconfig's syntax error, behind which nothing is told. */
	expect_load(&s, FILE_NAME, overrides, 2,
		    F ":1: pool.workers: found 70000; expected a whole number from 0 to 1024\n" F
		      ":2: found the control byte 0x1b; "
		      "expected UTF-8 text without control bytes\n" F
		      ":2: pool.queue_limit: found 010 with a leading zero; "
		      "expected a whole number from 1 to 1000000\n" F
		      ":3: pool.colour: found an unknown setting; "
		      "expected one of those in echopool.conf(5)\n" F
		      ":5: @include: found an include; expected all settings in one file\n" F
		      ":6: log.level: found \"fo\"; expected one string\n" F
		      ":6: log.target: found 1; expected \"stderr\" or \"syslog\"\n" F
		      ":8: tcp.nodelay: found a second time; "
		      "expected once (the first is in line 7)\n"
		      "E -o log.level=loud: log.level: found loud; "
		      "expected \"error\", \"warning\", \"info\" or \"debug\"\n"
		      "E -o log.connections=2: log.connections: found 2; expected true or false\n");
}

static void only_so_many_errors_are_listed(void **state)
{
	struct config_messages messages;
	char text[4096] = "";
	struct settings s;

	(void)state;
	for (size_t i = 0; i < 120; i++)
		sprintf(text + strlen(text), "a%zu = 1;%s", i, i % 2 == 0 ? "\n" : " \x01\n");
	write_text(text);
	assert_false(config_load(&s, FILE_NAME, NULL, 0, &messages));
	assert_int_equal(messages.count, 51);
	assert_string_equal(messages.items[49].text,
			    FILE_NAME ":34: found the control byte 0x01; "
				      "expected UTF-8 text without control bytes");
	assert_string_equal(messages.items[50].text, "and 130 more errors");
	config_messages_free(&messages);
	for (size_t i = 0; i < 300; i++)
		sprintf(text + 8 * i, "a%03zu=1;\n", i);
	write_text(text);
	assert_false(config_load(&s, FILE_NAME, NULL, 0, &messages));
	/* 256 of them unknown, and one that says that there are more settings than can be. */
	assert_string_equal(messages.items[50].text, "and 207 more errors");
	config_messages_free(&messages);
	/* What is only known at the end may belong before all the others. */
	strcpy(text, "pool: {\n");
	for (size_t i = 0; i < 60; i++)
		sprintf(text + strlen(text), "a%zu = 010;\n", i);
	write_text(text);
	assert_false(config_load(&s, FILE_NAME, NULL, 0, &messages));
	assert_string_equal(messages.items[0].text,
			    FILE_NAME ":1: pool: found a group that is not closed; "
				      "expected \"}\" at its end");
	/* Each of the 60 is unknown, and has a number that is not plain. */
	assert_string_equal(messages.items[50].text, "and 71 more errors");
	config_messages_free(&messages);
}

static void overrides_win_and_the_last_one_most(void **state)
{
	char *overrides[] = {"pool.workers=3",
			     "pool.queue_full=reject",
			     "pool.workers= 0x4 ",
			     "listen.addresses=[\"::1\"]",
			     "log.level= debug\t ",
			     "log.target=\"syslog\" ",
			     "access.deny= [ \"::2\" ,\"::3\"\t]",
			     "tcp.nodelay=False"};
	struct settings s;

	(void)state;
	write_text("pool: { workers = 2; queue_limit = 7; };");
	expect_load(&s, FILE_NAME, overrides, 8, "");
	assert_int_equal(s.pool.workers, 4);
	assert_int_equal(s.pool.queue_limit, 7);
	assert_int_equal(s.pool.queue_full, QUEUE_FULL_REJECT);
	assert_int_equal(s.listen.addresses.count, 1);
	assert_int_equal(s.log.level, LOG_LEVEL_DEBUG);
	assert_int_equal(s.log.target, LOG_TARGET_SYSLOG);
	assert_int_equal(s.access.deny.count, 2);
	assert_string_equal(s.access.deny.items[0], "::2");
	assert_string_equal(s.access.deny.items[1], "::3");
	assert_false(s.tcp.nodelay);
	settings_free(&s);
}

static void wrong_overrides_are_refused(void **state)
{
#define LEVELS "expected \"error\", \"warning\", \"info\" or \"debug\""
#define RULES  "expected an array of 0 to 1024 address ranges, as [ \"10.0.0.0/8\", \"::1\" ]"
	static const struct {
		char *text;
		const char *said; /* behind "-o text: " */
	} faults[] = {
		{"pool.workers",
		 "found no setting and value; expected path=value, as pool.workers=8"},
		{"=8", "found no setting and value; expected path=value, as pool.workers=8"},
		{"pool.workers=",
		 "pool.workers: found nothing; expected a whole number from 0 to 1024"},
		{"pool.workers=70000",
		 "pool.workers: found 70000; expected a whole number from 0 to 1024"},
		{"pool.workers=8 9",
		 "pool.workers: found 8 9; expected a whole number from 0 to 1024"},
		{"pool.workers={ x = 1; }",
		 "pool.workers: found { x = 1; }; expected a whole number from 0 to 1024"},
		{"pool.wrokers=8",
		 "pool.wrokers: found an unknown setting; did you mean pool.workers?"},
		{"pool=8", "pool: found a group; expected one setting of it, as pool.workers=8"},
		{"log.level=\"info\" x", "log.level: found \"info\" x; " LEVELS},
		{"log.level=\"info", "log.level: found \"info; " LEVELS},
		{"log.level=\"", "log.level: found \"; " LEVELS},
		{"log.level=\"in\" \"fo\"", "log.level: found \"in\" \"fo\"; " LEVELS},
		{"log.level=\"\\x69nfo\"", "log.level: found \"\\x69nfo\"; " LEVELS},
		{"pool.workers=[ \"8\" ]",
		 "pool.workers: found [ \"8\" ]; expected a whole number from 0 to 1024"},
		{"pool.workers=08", "pool.workers: found 08 with a leading zero; "
				    "expected a whole number from 0 to 1024"},
		{"pool.workers=0b1",
		 "pool.workers: found 0b1; expected a whole number from 0 to 1024"},
		{"tcp.nodelay=\"true\"", "tcp.nodelay: found \"true\"; expected true or false"},
		{"pool.workers= 8 9 ",
		 "pool.workers: found 8 9; expected a whole number from 0 to 1024"},
		{"log.level= \t", "log.level: found nothing; " LEVELS},
		{"access.deny=[\"::1\"", "access.deny: found [\"::1\"; " RULES},
		{"access.deny=[", "access.deny: found [; " RULES},
		{"access.deny=[\"", "access.deny: found [\"; " RULES},
		{"access.deny=[,]", "access.deny: found [,]; " RULES},
		{"access.deny=[\"::1\",]", "access.deny: found [\"::1\",]; " RULES},
		{"access.deny=[\"::1\",,\"::2\"]", "access.deny: found [\"::1\",,\"::2\"]; " RULES},
		{"access.deny=[\"::1\" \"::2\"]", "access.deny: found [\"::1\" \"::2\"]; " RULES},
		{"access.deny=[\"::1\"]]", "access.deny: found [\"::1\"]]; " RULES},
		{"access.deny=[] x", "access.deny: found [] x; " RULES},
		{"access.deny=[ 5 ]", "access.deny: found [ 5 ]; " RULES},
		{"access.deny=[[[[[[[[[[", "access.deny: found [[[[[[[[[[; " RULES},
		{"access.deny=\"::1\"", "access.deny: found \"::1\"; " RULES},
		{"access.deny=[ \"x\" ]",
		 "access.deny: found \"x\"; expected an address, or a range with no bits set behind "
		 "its prefix, as \"10.0.0.0/8\""},
		{"listen.addresses=[]",
		 "listen.addresses: found 0 entries; expected an array of 1 to 16 numeric addresses, "
		 "as [ \"127.0.0.1\", \"::1\" ]"},
		{"log.level=in\xff"
		 "fo",
		 "found the byte 0xff, which is not UTF-8 here; expected UTF-8 text"},
		{"log.level=info\x01",
		 "found the control byte 0x01; expected UTF-8 text without control bytes"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct config_messages messages;
		struct settings s;

		assert_false(config_load(&s, NULL, &faults[i].text, 1, &messages));
		assert_int_equal(messages.count, 1);
		const char *text = messages.items[0].text;
		assert_int_equal(strncmp(text, "-o ", 3), 0);
		if (strlen(text) < strlen(faults[i].said) ||
		    strcmp(text + strlen(text) - strlen(faults[i].said), faults[i].said) != 0)
			fail_msg("%s", text);
		config_messages_free(&messages);
	}
}

static void idle_when_full_may_not_be_longer_than_idle(void **state)
{
	char *when_full[] = {"timeouts.idle_when_full=3.5"};
	struct settings s;

	(void)state;
	expect_said("timeouts: { idle = 2; idle_when_full = 3.5; };",
		    F ":1: timeouts.idle_when_full: found 3.5 seconds; "
		      "expected at most timeouts.idle, which is 2\n");
	write_text("timeouts: { idle = 2; };");
	/* The default of idle_when_full is longer, but nobody wrote it. */
	expect_load(&s, FILE_NAME, NULL, 0, "");
	settings_free(&s);
	expect_load(&s, FILE_NAME, when_full, 1,
		    "E -o timeouts.idle_when_full=3.5: timeouts.idle_when_full: "
		    "found 3.5 seconds; expected at most timeouts.idle, which is 2\n");
	expect_said("timeouts: { idle_when_full = 301; };", "");
	/* So the defaults may be written down, as -T does. */
	expect_said("timeouts: { idle_when_full = 301; idle = 300; };", "");
	expect_said("timeouts: { idle_when_full = 5.0; idle = 2; };", "");
	expect_said("timeouts: { idle_when_full = 5; idle = 5; };", "");
	expect_said("timeouts: { idle_when_full = 5; idle = 0; };", "");
}

static void a_file_that_others_may_write_is_a_warning(void **state)
{
	struct settings s;

	(void)state;
	write_text("pool: { workers = 2; };");
	assert_int_equal(chmod(FILE_NAME, 0666), 0);
	expect_load(&s, FILE_NAME, NULL, 0,
		    "W " FILE_NAME ": found that others may write to it (mode 0666); "
		    "expected mode 0644\n");
	assert_int_equal(s.pool.workers, 2);
	settings_free(&s);
}

static void a_name_with_control_bytes_is_shown_without_them(void **state)
{
	struct settings s;

	(void)state;
	expect_load(&s, "a\x1b\x7f", NULL, 0,
		    "E a??: cannot be read: No such file or directory; "
		    "expected the path of an existing file\n");
}

static void a_long_name_leaves_room_for_the_reason(void **state)
{
	char path[3000], expected[512];
	struct settings s;

	(void)state;
	/* Each character is two bytes, so that the cut must look for its start. */
	for (size_t i = 0; i + 2 < sizeof(path); i += 2)
		memcpy(path + i, "\xc3\xa4", 2);
	memcpy(path + 2994, "z.conf", 6);
	path[2999] = '\0';
	sprintf(expected,
		"E ...%s: cannot be read: File name too long; "
		"expected a file that echopool may read\n",
		path + 2999 - 255);
	expect_load(&s, path, NULL, 0, expected);
}

/* What is told of this text by tree.c alone, without the guard before it; to be freed. */
static char *said_by_tree(const char *text, bool *nothing_stored)
{
	struct config_messages messages;
	struct settings s, defaults;
	struct loading l = {.settings = &s, .findings.file = FILE_NAME};

	assert_true(settings_init(&s) && settings_init(&defaults));
	tree_load(&l, text, UINT32_MAX);
	*nothing_stored = true;
	for (size_t n = 0; n < SETTINGS_COUNT; n++)
		*nothing_stored &= setting_equal(&settings_table[n], &s, &defaults);
	findings_finish(&l.findings, &messages);
	char *said = join(&messages);
	config_messages_free(&messages);
	settings_free(&s);
	settings_free(&defaults);
	return said;
}

/* Even of an include that the guard would miss: of a directory libconfig 1.5 ends the process. */
static void libconfig_follows_no_include(void **state)
{
	static const char *const names[] = {"inc", "./inc", "/", ".", "missing", "/etc/passwd", ""};

	(void)state;
	write_text("pool: { workers = 7; };");
	assert_int_equal(rename(FILE_NAME, "inc"), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char text[64];
		bool nothing_stored;

		snprintf(text, sizeof(text), "\n@include \"%s\"\n", names[i]);
		char *said = said_by_tree(text, &nothing_stored);
		assert_true(nothing_stored);
		assert_string_equal(said, F ":2: found what libconfig refuses (cannot open include "
					    "file); expected name = value;\n");
		free(said);
	}
	assert_int_equal(unlink("inc"), 0);
}

/* Where it is a comment or a string, it is no include, for the guard as for libconfig. */
static void an_include_in_a_comment_or_a_string_is_none(void **state)
{
	static const char *const texts[] = {
		"/*\n@include \"inc\"\n*/",
		"/* \"\n\t @include \"inc\"\n*/",
		"# @include \"inc\"\n",
		"// @include \"inc\"\ntcp: { }; // @include \"inc\"",
		"# \"\n# /*\n// @include \"inc\"\ntcp: { }; #@include \"inc\"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		expect_said(texts[i], "");
	expect_said("log: { level = \"@include \\\"inc\\\"\"; };",
		    F ":1: log.level: found \"@include \"inc\"\"; expected \"error\", \"warning\", "
		      "\"info\" or \"debug\"\n");
	expect_said("log: { level =\n\"@include\"; }; // \"inc\"",
		    F ":1: log.level: found \"@include\"; expected \"error\", \"warning\", "
		      "\"info\" or \"debug\"\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_means_the_defaults),
		cmocka_unit_test(every_form_of_the_format_is_read),
		cmocka_unit_test(errors_come_in_the_order_of_the_file),
		cmocka_unit_test(only_so_many_errors_are_listed),
		cmocka_unit_test(overrides_win_and_the_last_one_most),
		cmocka_unit_test(wrong_overrides_are_refused),
		cmocka_unit_test(idle_when_full_may_not_be_longer_than_idle),
		cmocka_unit_test(a_file_that_others_may_write_is_a_warning),
		cmocka_unit_test(a_name_with_control_bytes_is_shown_without_them),
		cmocka_unit_test(a_long_name_leaves_room_for_the_reason),
		cmocka_unit_test(libconfig_follows_no_include),
		cmocka_unit_test(an_include_in_a_comment_or_a_string_is_none),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
