/*
 * Memory that runs short at each place where the reader of the configuration asks for some: nothing
 * is said about the file then, and nothing leaks (under LeakSanitizer). The linker's --wrap puts
 * the functions here in the place of the C library's, for the program's own calls.
 */
#include <stdio.h>

#include "config_loading.h"

/* How many requests are left that succeed; the one after them fails. Negative: all succeed. */
static int left = -1;

static bool fails(void)
{
	return left >= 0 && left-- == 0;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void *__real_reallocarray(void *p, size_t count, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t length);
FILE *__real_open_memstream(char **text, size_t *length);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void *__wrap_reallocarray(void *p, size_t count, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t length);
FILE *__wrap_open_memstream(char **text, size_t *length);
int __wrap_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));

void *__wrap_malloc(size_t bytes)
{
	return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
	return fails() ? NULL : __real_realloc(p, bytes);
}

void *__wrap_reallocarray(void *p, size_t count, size_t bytes)
{
	return fails() ? NULL : __real_reallocarray(p, count, bytes);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t length)
{
	return fails() ? NULL : __real_strndup(text, length);
}

FILE *__wrap_open_memstream(char **text, size_t *length)
{
	return fails() ? NULL : __real_open_memstream(text, length);
}

int __wrap_asprintf(char **text, const char *format, ...)
{
	va_list arguments;

	if (fails())
		return -1;
	va_start(arguments, format);
	int n = vasprintf(text, format, arguments);
	va_end(arguments);
	return n;
}

/* Lets each request fail in turn, and expects the right result once none does. */
static void expect_each_request_told(char *const overrides[], size_t count, bool right)
{
	static const struct settings empty;
	struct config_messages messages;
	bool good = false, short_of_memory = true;
	struct settings s;
	int n;

	for (n = 0; short_of_memory; n++) {
		assert_in_range(n, 0, 1000);
		left = n;
		good = config_load(&s, FILE_NAME, overrides, count, &messages);
		short_of_memory = left < 0;
		left = -1;
		if (short_of_memory) {
			assert_false(good);
			assert_int_equal(messages.count, 0);
			assert_memory_equal(&s, &empty, sizeof(s));
		}
		if (!short_of_memory)
			assert_int_equal(messages.count > 0, !right);
		config_messages_free(&messages);
	}
	assert_int_equal(good, right);
	assert_in_range(n, 20, 1000);
	settings_free(&s);
}

static void short_memory_does_not_accuse_a_right_file(void **state)
{
	char *overrides[] = {"access.deny=[ \"::1\" ]", "log.level=debug"};

	(void)state;
	write_text("listen: { addresses = [ \"127.0.0.1\", \"::1\" ]; port = 0; };\n"
		   "log: { target = \"stderr\"; connections = true; };\n"
		   "timeouts: { idle = 1.5; };\n");
	expect_each_request_told(overrides, 2, true);
}

static void short_memory_does_not_accuse_a_wrong_file_of_more(void **state)
{
	char *overrides[] = {"pool.wrokers=1", "pool.workers=x"};

	(void)state;
	write_text("listen: { addresses = [ \"x\" \"y\" ];\n port = 70000; };\n"
		   "log: { target = \"x\n; colour = 1; };\n");
	expect_each_request_told(overrides, 2, false);
}

static void short_memory_is_told_for_many_errors_too(void **state)
{
	char text[2048] = "";

	(void)state;
	for (size_t i = 0; i < 60; i++)
		sprintf(text + strlen(text), "a%zu = 1;\n", i);
	write_text(text);
	expect_each_request_told(NULL, 0, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_memory_does_not_accuse_a_right_file),
		cmocka_unit_test(short_memory_does_not_accuse_a_wrong_file_of_more),
		cmocka_unit_test(short_memory_is_told_for_many_errors_too),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
