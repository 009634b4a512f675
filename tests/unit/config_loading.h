/*
 * What the tests of the configuration share: a file written and loaded, and its messages compared.
 * Included once by each of their programs.
 */
#ifndef TESTS_CONFIG_LOADING_H
#define TESTS_CONFIG_LOADING_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/config/config.h"

/* Every file has this name, in a directory of the program's own, which it works in. */
#define FILE_NAME "t.conf"

static char test_directory[] = "/tmp/echopool-config-XXXXXX";

static int enter_directory(void **state)
{
	(void)state;
	return mkdtemp(test_directory) == NULL || chdir(test_directory) != 0 ? -1 : 0;
}

static int leave_directory(void **state)
{
	(void)state;
	(void)unlink(FILE_NAME);
	return chdir("/") != 0 || rmdir(test_directory) != 0 ? -1 : 0;
}

static void write_bytes(const char *bytes, size_t length)
{
	(void)unlink(FILE_NAME);
	FILE *f = fopen(FILE_NAME, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, length, f), length);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(FILE_NAME, 0644), 0);
}

static inline void write_text(const char *text)
{
	write_bytes(text, strlen(text));
}

/* All messages, each with "E " or "W " before it and a newline behind it; to be freed. */
static char *join(const struct config_messages *messages)
{
	char *text = NULL;
	size_t length = 0;
	FILE *f = open_memstream(&text, &length);

	assert_non_null(f);
	for (size_t i = 0; i < messages->count; i++)
		fprintf(f, "%c %s\n", messages->items[i].level == LOG_LEVEL_ERROR ? 'E' : 'W',
			messages->items[i].text);
	assert_int_equal(fclose(f), 0);
	return text;
}

/* Loads, and expects these messages; right if there is no error among them. */
static void expect_load(struct settings *s, const char *path, char *const overrides[], size_t count,
			const char *expected)
{
	static const struct settings empty;
	struct config_messages messages;
	bool good = config_load(s, path, overrides, count, &messages);
	char *text = join(&messages);

	config_messages_free(&messages);
	assert_string_equal(text, expected);
	assert_int_equal(good, strncmp(text, "E ", 2) != 0 && strstr(text, "\nE ") == NULL);
	if (!good)
		assert_memory_equal(s, &empty, sizeof(*s));
	free(text);
}

/* Loads this text as a file, expects these messages, and lets the settings go. */
static inline void expect_text(const char *bytes, size_t length, const char *expected)
{
	struct settings s;

	write_bytes(bytes, length);
	expect_load(&s, FILE_NAME, NULL, 0, expected);
	settings_free(&s);
}

#endif
