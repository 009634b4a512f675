/*
 * What must hold for every configuration; see the header. The file's bytes are handed to the reader
 * in a block of just their size, so that a sanitizer sees any step outside: --wrap puts
 * __wrap_read_file() in the place of read_file().
 */
#include "properties.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echopool/config/config.h"
#include "echopool/config/findings.h"
#include "echopool/config/read_file.h"

/* Each setting can be told once or twice, the file's mode, and how many errors were left out. */
#define MESSAGES_MAX (FINDINGS_ERRORS_MAX + 2 * SETTINGS_COUNT + 2)

/* A day, the longest timeout. */
#define SECONDS_MAX 86400

static const uint8_t *file_data;
static size_t file_size;

char *__wrap_read_file(const char *path, size_t *length, struct findings *f);

void set_file_text(const uint8_t *data, size_t size)
{
	file_data = data;
	file_size = size;
}

static void require(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "property: %s\n", what);
	abort();
}

char *__wrap_read_file(const char *path, size_t *length, struct findings *f)
{
	char *text = malloc(file_size + 2);

	(void)f;
	require(strcmp(path, TEXT_PATH) == 0, "only the given path is read");
	require(text != NULL, "memory for the file");
	if (file_size > 0)
		memcpy(text, file_data, file_size);
	memcpy(text + file_size, "\n", 2);
	*length = file_size;
	return text;
}

static void check_message(const char *text)
{
	require(*text != '\0', "a message has words");
	for (; *text != '\0'; text++)
		require((unsigned char)*text >= 0x20 && *text != 0x7f,
			"a message is one line without control bytes");
}

static void check_messages(const struct config_messages *messages, bool good)
{
	bool error = false;

	require(messages->count <= MESSAGES_MAX, "the messages are bounded");
	for (size_t i = 0; i < messages->count; i++) {
		error = error || messages->items[i].level == LOG_LEVEL_ERROR;
		check_message(messages->items[i].text);
	}
	require(error != good, "refused if and only if an error is told");
}

/* Loads and checks everything but the reading back. */
static bool load(struct settings *s, const char *path, char *const overrides[], size_t count)
{
	static const struct settings empty;
	struct config_messages messages;
	bool good = config_load(s, path, overrides, count, &messages);

	check_messages(&messages, good);
	require(good || memcmp(s, &empty, sizeof(*s)) == 0, "refused settings are emptied");
	config_messages_free(&messages);
	return good;
}

/* Returns what settings_print() writes, to be freed. */
static char *print(const struct settings *s)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	require(out != NULL, "memory for the printed settings");
	settings_print(s, out);
	require(fclose(out) == 0, "memory for the printed settings");
	return text;
}

/* Cuts text into its lines. */
static void split(char *text, char *lines[static SETTINGS_COUNT])
{
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		char *end = strchr(text, '\n');

		require(end != NULL, "each setting is printed as a line");
		*end = '\0';
		lines[i] = text;
		text = end + 1;
	}
	require(*text == '\0', "nothing but the settings is printed");
}

static bool is_list(const struct setting *setting)
{
	return setting_is_list(setting);
}

/* The number, bool, enum or milliseconds of a setting that is no list. */
static uint32_t number_of(const struct setting *setting, const struct settings *s)
{
	const char *field = (const char *)s + setting->offset;
	uint32_t number;

	if (setting->kind == SETTING_BOOL)
		return *(const bool *)field;
	memcpy(&number, field, sizeof(number));
	return number;
}

static bool same_list(const struct string_list *a, const struct string_list *b)
{
	for (size_t i = 0; i < a->count && a->count == b->count; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	}
	return a->count == b->count;
}

static void check_same(struct settings *a, struct settings *b)
{
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		const struct setting *setting = &settings_table[i];
		bool same = is_list(setting)
				    ? same_list(setting_list(setting, a), setting_list(setting, b))
				    : number_of(setting, a) == number_of(setting, b);

		require(same, "what is printed reads back the same");
	}
}

static void check_ranges(struct settings *s)
{
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		const struct setting *setting = &settings_table[i];
		size_t n = is_list(setting) ? setting_list(setting, s)->count
					    : number_of(setting, s);

		if (is_list(setting) || setting->kind == SETTING_INTEGER)
			require(n >= setting->min && n <= setting->max,
				"what is accepted is within its range");
		else if (setting->kind == SETTING_SECONDS)
			require(n <= SECONDS_MAX * 1000, "what is accepted is within its range");
	}
}

static void check_read_back(struct settings *s)
{
	char *printed = print(s);
	char *lines[SETTINGS_COUNT];
	struct settings again;

	split(printed, lines);
	require(load(&again, NULL, lines, SETTINGS_COUNT), "what is printed is accepted");
	check_same(s, &again);
	settings_free(&again);
	free(printed);
}

void check_load(const char *path, char *const overrides[], size_t count)
{
	struct settings s;

	if (!load(&s, path, overrides, count))
		return;
	check_ranges(&s);
	check_read_back(&s);
	settings_free(&s);
}
