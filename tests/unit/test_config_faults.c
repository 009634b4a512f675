/*
 * Every wrong configuration file that we know of, and what is said about it.
 */
#include "config_loading.h"

#define F          "E " FILE_NAME
#define WORKERS    "expected a whole number from 0 to 1024\n"
#define BACKLOG    "expected a whole number from 1 to 65535\n"
#define NOT_OF_ONE "expected the address of one machine, not of many\n"
#define ADDRESSES  "expected an array of 1 to 16 numeric addresses, as [ \"127.0.0.1\", \"::1\" ]\n"
#define REFUSED    "found what libconfig refuses (syntax error); "
#define IN_POOL(x) "pool: { " x " };"

/* A text; the bytes that it has when it holds a NUL; what is said. */
struct fault {
	const char *text;
	size_t length;
	const char *said;
};

static void expect_faults(const struct fault *faults, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct fault *f = &faults[i];

		expect_text(f->text, f->length == 0 ? strlen(f->text) : f->length, f->said);
	}
}

#define EXPECT_FAULTS(faults) expect_faults(faults, sizeof(faults) / sizeof((faults)[0]))

static void wrong_files_are_refused_by_their_kind(void **state)
{
	struct settings s;

	(void)state;
	expect_load(&s, "missing.conf", NULL, 0,
		    "E missing.conf: cannot be read: No such file or directory; "
		    "expected the path of an existing file\n");
	expect_load(&s, ".", NULL, 0, "E .: found a directory; expected a regular file\n");
	assert_int_equal(symlink("loop", "loop"), 0);
	expect_load(&s, "loop", NULL, 0,
		    "E loop: cannot be read: Too many levels of symbolic links; "
		    "expected a file that echopool may read\n");
	assert_int_equal(unlink("loop"), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	expect_load(&s, "fifo", NULL, 0, "E fifo: found a FIFO; expected a regular file\n");
	assert_int_equal(unlink("fifo"), 0);
	expect_load(&s, "/dev/zero", NULL, 0,
		    "E /dev/zero: found a device; expected a regular file\n");
	expect_load(&s, "", NULL, 0,
		    "E '': cannot be read: No such file or directory; "
		    "expected the path of an existing file\n");
}

static void an_unreadable_file_is_refused(void **state)
{
	uid_t user = geteuid();
	struct settings s;

	(void)state;
	write_text("");
	assert_int_equal(chmod(FILE_NAME, 0), 0);
	assert_int_equal(chmod(".", 0755), 0);
	/* root reads every file, so it becomes somebody else meanwhile. */
	if (user == 0 && seteuid(65534) != 0) {
		print_message("# not run: needs the right to become another user\n");
		skip();
	}
	expect_load(&s, FILE_NAME, NULL, 0,
		    F ": cannot be read: Permission denied; "
		      "expected a file that echopool may read\n");
	assert_int_equal(seteuid(user), 0);
}

/* Fills a file with repetitions of a text, up to a size. */
static void expect_filled(const char *start, const char *repeated, size_t size, const char *said)
{
	size_t step = strlen(repeated);
	char *text = malloc(size + step);
	size_t used = strlen(start);

	assert_non_null(text);
	memcpy(text, start, used);
	for (; used < size; used += step)
		memcpy(text + used, repeated, step);
	expect_text(text, size, said);
	free(text);
}

static void too_much_is_refused(void **state)
{
	static const char *const too_large = F
		": found more than 64 KiB; expected a file of at most that\n";

	(void)state;
	expect_filled("", "\n", 65536, "");
	expect_filled("", "\n", 65537, too_large);
	expect_filled("a = \"", "x", 50000000, too_large);
	expect_filled("", "key = 1;\n", 900000, too_large);
	expect_filled("access: { deny = [ ", "\"::1\",", 1000000, too_large);
	expect_filled("a = \"", "x", 60000,
		      F ":1: a: found a string that is not closed in its line; "
			"expected a closing '\"'\n");
	/* The last element is cut off in its middle. */
	expect_filled(
		"access: { deny = [ ", "\"::1\",", 60000,
		F
		":1: access: found a group that is not closed; expected \"}\" at its end\n" F
		":1: access.deny: found a bracket that is not closed; expected \"]\" at its end\n");
}

static void bytes_that_are_no_text_are_refused(void **state)
{
	static const struct fault faults[] = {
		{"# x\n/* pool: {\n workers = 70000;\n", 0,
		 F ":2: found a comment that is not closed; expected \"*/\"\n"},
		{"log: {\nlevel = \"info;\nconnections = 1; };", 0,
		 F ":2: log.level: found a string that is not closed in its line; "
		   "expected a closing '\"'\n"},
		{"log: { level = \"in\nfo\"; };", 0,
		 F ":1: log.level: found a string that is not closed in its line; "
		   "expected a closing '\"'\n"},
		{"]]] %&!\n" IN_POOL("workers = 70000;"), 0,
		 F ":1: " REFUSED "expected name = value;\n"},
		{IN_POOL("workers = 70000;") "\n]]] %&!", 0,
		 F ":1: pool.workers: found 70000; " WORKERS F ":2: " REFUSED
		   "expected name = value;\n"},
		{"\xef\xbb\xbfpool: { workers = 2000; };", 0,
		 F ":1: found a byte order mark; expected UTF-8 text without one\n" F
		   ":1: pool.workers: found 2000; " WORKERS},
		{"\xff\xfep\0o\0", 6, F ":1: found UTF-16 text; expected UTF-8 text\n"},
		{"\xfe\xff\0p\0o", 6, F ":1: found UTF-16 text; expected UTF-8 text\n"},
		{"\n# \x1b[31m\n", 0,
		 F ":2: found the control byte 0x1b; "
		   "expected UTF-8 text without control bytes\n"},
		{"# a\rb\n", 0,
		 F ":1: found the control byte 0x0d; "
		   "expected UTF-8 text without control bytes\n"},
		{"pool: { workers\0 = 2000; };", 27,
		 F ":1: found a NUL byte; expected UTF-8 text without control bytes\n" F
		   ":1: pool.workers: found 2000; " WORKERS},
		{"pool: { work\0ers = 8;\nqueue_limit = 0; };", 41,
		 F ":1: found a NUL byte; expected UTF-8 text without control bytes\n"},
		{"log: { level = \"in\0fo\"; target = \"x\"; };", 41,
		 F ":1: found a NUL byte; expected UTF-8 text without control bytes\n" F
		   ":1: log.target: found \"x\"; expected \"stderr\" or \"syslog\"\n"},
		{"log: { level = \"info\\x00\"; };", 0,
		 F ":1: log.level: found \"\\x00\" in a string; expected text without NUL\n"},
		{"# caf\xe9\n", 0,
		 F ":1: found the byte 0xe9, which is not UTF-8 here; expected UTF-8 text\n"},
		{"# \xc0\xaf\n# \xed\xa0\x80\n", 0,
		 F ":1: found the byte 0xc0, which is not UTF-8 here; expected UTF-8 text\n" F
		   ":2: found the byte 0xed, which is not UTF-8 here; expected UTF-8 text\n"},
		{"log: { level = \"\\\";\\\"; };", 0,
		 F ":1: log.level: found a string that is not closed in its line; "
		   "expected a closing '\"'\n"},
		{"log: { level = \"\\info\"; };", 0,
		 F ":1: log.level: found an unknown escape in a string; "
		   "expected one of \\\\ \\\" \\f \\n \\r \\t and \\xNN\n"},
	};

	(void)state;
	EXPECT_FAULTS(faults);
}

static void numbers_are_taken_for_what_they_are(void **state)
{
	static const struct fault faults[] = {
		{IN_POOL("workers = 2147483648;"), 0,
		 F ":1: pool.workers: found 2147483648; " WORKERS},
		{"listen: { port = 4294974996; };", 0,
		 F ":1: listen.port: found 4294974996, which is more than 32 bits; "
		   "expected a whole number from 0 to 65535\n"},
		{IN_POOL("workers = 4294967312;"), 0,
		 F ":1: pool.workers: found 4294967312, which is more than 32 bits; " WORKERS},
		{IN_POOL("workers = 9223372036854775807;"), 0,
		 F ":1: pool.workers: found 9223372036854775807, "
		   "which is more than 32 bits; " WORKERS},
		{IN_POOL("workers = 99999999999999999999;"), 0,
		 F ":1: pool.workers: found 99999999999999999999, "
		   "which is more than 32 bits; " WORKERS},
		{IN_POOL("workers = 0x100000001;"), 0,
		 F ":1: pool.workers: found 0x100000001, which is more than 32 bits; " WORKERS},
		{IN_POOL("workers = 8L;"), 0,
		 F ":1: pool.workers: found 8L with an \"L\" behind it; " WORKERS},
		{IN_POOL("workers = 010;"), 0,
		 F ":1: pool.workers: found 010 with a leading zero; " WORKERS},
		{IN_POOL("workers = -1;"), 0, F ":1: pool.workers: found -1; " WORKERS},
		{IN_POOL("queue_limit = 0;"), 0,
		 F ":1: pool.queue_limit: found 0; expected a whole number from 1 to 1000000\n"},
		{IN_POOL("workers = 1025;"), 0, F ":1: pool.workers: found 1025; " WORKERS},
		{IN_POOL("workers = 16.0;"), 0, F ":1: pool.workers: found 16.0; " WORKERS},
		{IN_POOL("workers = \"16\";"), 0, F ":1: pool.workers: found \"16\"; " WORKERS},
		{IN_POOL("workers = true;"), 0, F ":1: pool.workers: found true; " WORKERS},
		{IN_POOL("workers = [ 16 ];"), 0, F ":1: pool.workers: found an array; " WORKERS},
		{IN_POOL("workers = ( 16 );"), 0, F ":1: pool.workers: found a list; " WORKERS},
		{IN_POOL("workers: { x = 1; };"), 0, F ":1: pool.workers: found a group; " WORKERS},
		{IN_POOL("workers = 1e999;"), 0, F ":1: pool.workers: found 1e999; " WORKERS},
		{IN_POOL("workers = eight;"), 0, F ":1: pool.workers: " REFUSED WORKERS},
		{"timeouts: { drain = 1e999; };", 0,
		 F ":1: timeouts.drain: found 1e999; "
		   "expected a number of seconds, 0 or from 0.001 to 86400\n"},
		{"timeouts: { drain = -1.0; };", 0,
		 F ":1: timeouts.drain: found -1.0; "
		   "expected a number of seconds, 0 or from 0.001 to 86400\n"},
		{"listen: { port = 70000; };", 0,
		 F ":1: listen.port: found 70000; expected a whole number from 0 to 65535\n"},
		{"listen: { backlog = 0; };", 0, F ":1: listen.backlog: found 0; " BACKLOG},
	};

	(void)state;
	EXPECT_FAULTS(faults);
}

static void wrong_words_and_lists_are_refused(void **state)
{
	static const struct fault faults[] = {
		{"log: { level = info; target = 1; connections = \"true\"; };", 0,
		 F ":1: log.level: " REFUSED
		   "expected \"error\", \"warning\", \"info\" or \"debug\"\n"},
		{"log: { target = 1; connections = \"true\"; level = info; };", 0,
		 F ":1: log.target: found 1; expected \"stderr\" or \"syslog\"\n" F
		   ":1: log.connections: found \"true\"; expected true or false\n" F
		   ":1: log.level: " REFUSED
		   "expected \"error\", \"warning\", \"info\" or \"debug\"\n"},
		{"listen: { addresses = [ \"127.0.0.1\", 5,\n\"::1\" ]; };", 0,
		 F ":1: listen.addresses: found what libconfig refuses "
		   "(mismatched element type in array); " ADDRESSES},
		{"listen: { addresses = [ 5, 6 ]; };", 0,
		 F ":1: listen.addresses: found 5; expected a numeric address, as "
		   "\"127.0.0.1\" or \"::1\"\n" F
		   ":1: listen.addresses: found 6; expected a numeric address, as "
		   "\"127.0.0.1\" or \"::1\"\n"},
		{"listen: { addresses = [ \"::1\",\n\"localhost\",\n\"0::1\" ]; };", 0,
		 F ":2: listen.addresses: found \"localhost\"; "
		   "expected a numeric address, as \"127.0.0.1\" or \"::1\"\n" F
		   ":3: listen.addresses: found \"0::1\" beside \"::1\"; expected each address "
		   "once, and \"0.0.0.0\" or \"::\" without others of its family\n"},
		{"listen: { addresses = [ \"::\", \"0.0.0.0\" ]; };", 0, ""},
		{"listen: { addresses = [ \"127.0.0.1\", \"::1\", \"0.0.0.0\" ]; };", 0,
		 F ":1: listen.addresses: found \"0.0.0.0\" beside \"127.0.0.1\"; expected each "
		   "address once, and \"0.0.0.0\" or \"::\" without others of its family\n"},
		{"listen: { addresses = [ \"::1%lo\" ]; };", 0,
		 F ":1: listen.addresses: found \"::1%lo\"; "
		   "expected a numeric address, as \"127.0.0.1\" or \"::1\"\n"},
		{"listen: { addresses = [ \"::ffff:127.0.0.1\" ]; };", 0,
		 F ":1: listen.addresses: found \"::ffff:127.0.0.1\"; "
		   "expected a numeric address, as \"127.0.0.1\" or \"::1\"\n"},
		{"listen: { addresses = \"::1\"; };", 0,
		 F ":1: listen.addresses: found \"::1\"; expected an array of 1 to 16 numeric "
		   "addresses, as [ \"127.0.0.1\", \"::1\" ]\n"},
		{"listen: { addresses = [ \"::1\" \"0.0.0.0\" ]; };", 0,
		 F ":1: listen.addresses: found \"0.0.0.0\"; expected \",\" or \"]\"\n"},
		{"listen: { addresses = [ \"0.0\"\n\".0.0\" ]; port = 70000; };", 0,
		 F ":2: listen.addresses: found \".0.0\"; expected \",\" or \"]\"\n" F
		   ":2: listen.port: found 70000; expected a whole number from 0 to 65535\n"},
		{"log: { level = \"in\"\n \"fo\" \"\"; target = 1; };", 0,
		 F ":2: log.level: found \"fo\"; expected one string\n" F
		   ":2: log.level: found \"\"; expected one string\n" F
		   ":2: log.target: found 1; expected \"stderr\" or \"syslog\"\n"},
		{"listen: { addresses = [ \"::1\", \"::2\", ]; };", 0,
		 F ":1: listen.addresses: found \"]\"; "
		   "expected a value after the comma, or no comma\n"},
		{"listen: { addresses = [ , ]; };", 0,
		 F ":1: listen.addresses: found \"]\"; "
		   "expected a value after the comma, or no comma\n"},
		{"listen: { addresses = [ \"::1\",, \"::2\" ]; };", 0,
		 F ":1: listen.addresses: found \",\"; "
		   "expected a value after the comma, or no comma\n"},
		{"listen: { addresses = [ , \"::1\" ]; };", 0,
		 F ":1: listen.addresses: " REFUSED ADDRESSES},
		{"listen: { addresses = [ \"fe80::1\", \"febf::1\", \"fec0::1\" ]; };", 0,
		 F ":1: listen.addresses: found \"fe80::1\"; expected its interface with it, as "
		   "\"fe80::1%eth0\"\n" F
		   ":1: listen.addresses: found \"febf::1\"; expected its interface with it, as "
		   "\"fe80::1%eth0\"\n"},
		{"listen: { addresses = [ \"ff02::1%lo\", \"ff0e::1\",\n"
		 "\"224.0.0.1\", \"239.255.255.255\", \"255.255.255.255\" ]; };",
		 0,
		 F ":1: listen.addresses: found \"ff02::1%lo\"; " NOT_OF_ONE F
		   ":1: listen.addresses: found \"ff0e::1\"; " NOT_OF_ONE F
		   ":2: listen.addresses: found \"224.0.0.1\"; " NOT_OF_ONE F
		   ":2: listen.addresses: found \"239.255.255.255\"; " NOT_OF_ONE F
		   ":2: listen.addresses: found \"255.255.255.255\"; " NOT_OF_ONE},
		/* One of these may be had, by whoever has configured it. */
		{"listen: { addresses = [ \"0.0.0.1\", \"223.255.255.255\", \"240.0.0.1\" ]; };", 0,
		 ""},
		{"listen: { addresses = [ \"fe80::1%eth8\", \"fe80::1%eth9\" ]; };", 0, ""},
		{"listen: { addresses = [ \"fe80::1%eth9\", \"fe80::1%eth9\", \"::\" ]; };", 0,
		 F ":1: listen.addresses: found \"fe80::1%eth9\" beside \"fe80::1%eth9\"; expected "
		   "each address once, and \"0.0.0.0\" or \"::\" without others of its "
		   "family\n" F
		   ":1: listen.addresses: found \"::\" beside \"fe80::1%eth9\"; expected each "
		   "address once, and \"0.0.0.0\" or \"::\" without others of its family\n"},
		{"listen: { port = 70000; addresses = [ \"::1\", [ \"::2\" ] ]; };", 0,
		 F ":1: listen.port: found 70000; expected a whole number from 0 to 65535\n" F
		   ":1: listen.addresses: " REFUSED ADDRESSES},
		{"listen: { addresses = [ \"::1\", 5 \"::2\";\nport = 70000; };", 0,
		 F ":1: listen: found a group that is not closed; expected \"}\" at its end\n" F
		   ":1: listen.addresses: found a bracket that is not closed; "
		   "expected \"]\" at its end\n"},
		{"listen: { addresses = [ \"::\", \"::1\", \"::2\", \"::3\", \"::4\", \"::5\", \"::6\",\n"
		 "\"::7\", \"::8\", \"::9\", \"::a\", \"::b\", \"::c\", \"::d\", \"::e\", \"::f\", \"::10\" ]; };",
		 0,
		 F ":1: listen.addresses: found 17 entries; expected an array of 1 to 16 numeric "
		   "addresses, as [ \"127.0.0.1\", \"::1\" ]\n"},
		{"access: { allow = [ 5 ]; };", 0,
		 F ":1: access.allow: found 5; expected an address, or a range with no bits set "
		   "behind its prefix, as \"10.0.0.0/8\"\n"},
		{"access: { allow = [ ]; deny = [ \"10.0.0.1/8\" ]; };", 0,
		 F ":1: access.allow: found 0 entries; expected an array of 1 to 1024 address "
		   "ranges, as [ \"10.0.0.0/8\", \"::1\" ]\n" F
		   ":1: access.deny: found \"10.0.0.1/8\"; expected an address, or a range with "
		   "no bits set behind its prefix, as \"10.0.0.0/8\"\n"},
	};

	(void)state;
	EXPECT_FAULTS(faults);
}

static void wrong_keys_are_refused(void **state)
{
	static const struct fault faults[] = {
		{IN_POOL("wrokers = 8;"), 0,
		 F ":1: pool.wrokers: found an unknown setting; did you mean pool.workers?\n"},
		{IN_POOL("Workers = 8;"), 0,
		 F ":1: pool.Workers: found an unknown setting; did you mean pool.workers?\n"},
		{"workers = 8;", 0,
		 F ":1: workers: found an unknown setting; did you mean pool.workers?\n"},
		{"colour = 8;", 0,
		 F ":1: colour: found an unknown setting; "
		   "expected one of those in echopool.conf(5)\n"},
		{"timeout: { idle = 1; drian = 1; };", 0,
		 F ":1: timeout: found an unknown group; did you mean timeouts?\n"},
		{"pool = 8;", 0, F ":1: pool: found 8; expected a group, as pool: { ... };\n"},
		{"pool.workers = 8;", 0, F ":1: " REFUSED "expected name = value;\n"},
		{IN_POOL("workers = 1;\nworkers = 2000;"), 0,
		 F ":2: pool.workers: found a second time; "
		   "expected once (the first is in line 1)\n"},
		{IN_POOL("workers = 1;") "\n" IN_POOL("queue_limit = 0;"), 0,
		 F ":2: pool: found a second time; expected once (the first is in line 1)\n"},
		{"pool: { queue_limit = 0; workers 8; };", 0,
		 F ":1: pool.queue_limit: found 0; expected a whole number from 1 to 1000000\n" F
		   ":1: pool.workers: " REFUSED WORKERS},
		{"pool { workers = 70000; };", 0, F ":1: " REFUSED "expected name = value;\n"},
		{"pool: {\nworkers = ; };\ntrue = 1;", 0, F ":2: pool.workers: " REFUSED WORKERS},
		{"pool: { };\ntrue = 1;", 0, F ":2: " REFUSED "expected name = value;\n"},
		{"pool: {\nworkers = 1;\n", 0,
		 F ":1: pool: found a group that is not closed; expected \"}\" at its end\n"},
		{"pool: { workers = 2; }; };", 0, F ":1: " REFUSED "expected name = value;\n"},
	};

	(void)state;
	EXPECT_FAULTS(faults);
}

static void deep_nesting_is_refused(void **state)
{
#define UNKNOWN_A F ":1: a: found an unknown group; expected one of those in echopool.conf(5)\n"
#define TOO_DEEP(path)                                          \
	F ":1: " path ": found more than 8 levels of nesting; " \
	  "expected a setting within its group\n"
	static const struct fault faults[] = {
		{"a:{a:{a:{a:{a:{a:{a:{a:{ a = 1; }}}}}}}}", 0, UNKNOWN_A},
		{"a:{a:{a:{a:{a:{a:{a:{a:{ a:{ }}}}}}}}}", 0,
		 TOO_DEEP("a.a.a.a.a.a.a.a.a") UNKNOWN_A},
		{"a:{a:{a:{a:{a:{a:{a:{a:{ a = [ ]; }}}}}}}}", 0,
		 TOO_DEEP("a.a.a.a.a.a.a.a.a") UNKNOWN_A},
		{IN_POOL("workers = ((((((((") "\nworkers = 70000;", 0, TOO_DEEP("pool.workers")},
	};

	(void)state;
	EXPECT_FAULTS(faults);
	expect_filled(
		IN_POOL("workers = 70000;") "a = ", "[", 65536,
		TOO_DEEP("a") F
		":1: pool.workers: found 70000; " WORKERS F
		":1: a: found an unknown setting; expected one of those in echopool.conf(5)\n");
}

static void every_include_is_refused(void **state)
{
#define INCLUDE_IN(line) \
	F ":" line ": @include: found an include; expected all settings in one file\n"
	static const struct fault faults[] = {
		{"@include \"" FILE_NAME "\"\n" IN_POOL("workers = 70000;"), 0,
		 INCLUDE_IN("1") F ":2: pool.workers: found 70000; " WORKERS},
		{"@include \"missing.conf\"\n", 0, INCLUDE_IN("1")},
		{"\n \t@include \"/\"", 0, INCLUDE_IN("2")},
		{"pool: {\n  @include \"/etc/passwd\"\n};", 0, INCLUDE_IN("2")},
		{"@include", 0, INCLUDE_IN("1")},
		{"pool: { workers = 1; @include \"x\" queue_limit = 1; };", 0, INCLUDE_IN("1")},
		{"# @include \"a\"\n/* \n@include \"b\"\n*/ // @include \"c\"", 0, ""},
	};

	(void)state;
	EXPECT_FAULTS(faults);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_files_are_refused_by_their_kind),
		cmocka_unit_test(an_unreadable_file_is_refused),
		cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(bytes_that_are_no_text_are_refused),
		cmocka_unit_test(numbers_are_taken_for_what_they_are),
		cmocka_unit_test(wrong_words_and_lists_are_refused),
		cmocka_unit_test(wrong_keys_are_refused),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(every_include_is_refused),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
