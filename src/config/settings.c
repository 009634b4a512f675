/*
 * The one table of settings, and what can be told from it: defaults, ranges in words, -T. Called by
 * the readers of the configuration and by main.c, before the settings are shared with other
 * threads.
 *
 * To add a setting: its field in struct settings, its line here, its line in config/echopool.conf,
 * in echopool.conf(5) and in the README.
 */
#include "echopool/config/settings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(enum queue_full) == sizeof(uint32_t) &&
		      sizeof(enum log_target) == sizeof(uint32_t) &&
		      sizeof(enum log_level) == sizeof(uint32_t),
	      "an enum is stored as the index of its word");

static const char *const default_addresses[] = {"127.0.0.1", "::1", NULL};
static const char *const default_allow[] = {"0.0.0.0/0", "::/0", NULL};
static const char *const default_deny[] = {NULL};
static const char *const queue_full_words[] = {"wait", "reject", NULL};
static const char *const log_target_words[] = {"stderr", "syslog", NULL};
static const char *const log_level_words[] = {"error", "warning", "info", "debug", NULL};

#define AT(field) offsetof(struct settings, field)

#define INTEGER(path, field, preset, min, max)                           \
	{                                                                \
		path, SETTING_INTEGER, AT(field), preset, min, max, NULL \
	}
#define SECONDS(path, field, preset)                                        \
	{                                                                   \
		path, SETTING_SECONDS, AT(field), (preset)*1000, 0, 0, NULL \
	}
#define BOOL(path, field, preset)                                 \
	{                                                         \
		path, SETTING_BOOL, AT(field), preset, 0, 0, NULL \
	}
#define WORD(path, field, preset, words)                           \
	{                                                          \
		path, SETTING_WORD, AT(field), preset, 0, 0, words \
	}
#define LIST(kind, path, field, preset, min, max)          \
	{                                                  \
		path, kind, AT(field), 0, min, max, preset \
	}

const struct setting settings_table[SETTINGS_COUNT] = {
	LIST(SETTING_ADDRESSES, "listen.addresses", listen.addresses, default_addresses, 1, 16),
	INTEGER("listen.port", listen.port, 7007, 0, 65535),
	INTEGER("listen.backlog", listen.backlog, 1024, 1, 65535),
	INTEGER("pool.workers", pool.workers, 0, 0, 1024),
	INTEGER("pool.worker_connections", pool.worker_connections, 4096, 1, 1000000),
	INTEGER("pool.queue_limit", pool.queue_limit, 1024, 1, 1000000),
	WORD("pool.queue_full", pool.queue_full, QUEUE_FULL_WAIT, queue_full_words),
	INTEGER("limits.buffer_bytes", limits.buffer_bytes, 65536, 1024, 16777216),
	INTEGER("limits.connections_per_ip", limits.connections_per_ip, 0, 0, 1000000),
	SECONDS("timeouts.idle", timeouts.idle_ms, 300),
	SECONDS("timeouts.idle_when_full", timeouts.idle_when_full_ms, 5),
	SECONDS("timeouts.queue", timeouts.queue_ms, 30),
	SECONDS("timeouts.write", timeouts.write_ms, 30),
	SECONDS("timeouts.drain", timeouts.drain_ms, 10),
	BOOL("tcp.nodelay", tcp.nodelay, true),
	BOOL("tcp.keepalive", tcp.keepalive, true),
	LIST(SETTING_RULES, "access.allow", access.allow, default_allow, 1, 1024),
	LIST(SETTING_RULES, "access.deny", access.deny, default_deny, 0, 1024),
	WORD("log.target", log.target, LOG_TARGET_STDERR, log_target_words),
	WORD("log.level", log.level, LOG_LEVEL_INFO, log_level_words),
	BOOL("log.connections", log.connections, false),
};

const struct setting *settings_find(const char *path)
{
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		if (strcmp(settings_table[i].path, path) == 0)
			return &settings_table[i];
	}
	return NULL;
}

bool settings_is_group(const char *path)
{
	size_t length = strlen(path);

	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		if (strncmp(settings_table[i].path, path, length) == 0 &&
		    settings_table[i].path[length] == '.')
			return true;
	}
	return false;
}

static bool is_list(const struct setting *setting)
{
	return setting->kind == SETTING_ADDRESSES || setting->kind == SETTING_RULES;
}

/* The setting's value within s: the number, bool, enum or milliseconds. Not for lists. */
static uint32_t number_of(const struct setting *setting, const struct settings *s)
{
	const char *field = (const char *)s + setting->offset;
	uint32_t number;

	if (setting->kind == SETTING_BOOL)
		return *(const bool *)field;
	memcpy(&number, field, sizeof(number));
	return number;
}

void setting_set_number(const struct setting *setting, struct settings *s, uint32_t number)
{
	char *field = (char *)s + setting->offset;

	if (setting->kind == SETTING_BOOL)
		*(bool *)field = number != 0;
	else
		memcpy(field, &number, sizeof(number));
}

struct string_list *setting_list(const struct setting *setting, struct settings *s)
{
	return (struct string_list *)((char *)s + setting->offset);
}

static const struct string_list *list_of(const struct setting *setting, const struct settings *s)
{
	return (const struct string_list *)((const char *)s + setting->offset);
}

bool string_list_add(struct string_list *list, const char *text)
{
	char *copy = strdup(text);
	char **items = NULL;

	if (copy != NULL)
		items = reallocarray(list->items, list->count + 1, sizeof(*items));
	if (items == NULL) {
		free(copy);
		return false;
	}
	items[list->count] = copy;
	list->items = items;
	list->count++;
	return true;
}

void string_list_free(struct string_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct string_list){0};
}

static bool set_default(const struct setting *setting, struct settings *s)
{
	if (!is_list(setting)) {
		setting_set_number(setting, s, setting->preset);
		return true;
	}
	for (size_t i = 0; setting->words[i] != NULL; i++) {
		if (!string_list_add(setting_list(setting, s), setting->words[i]))
			return false;
	}
	return true;
}

bool settings_init(struct settings *s)
{
	*s = (struct settings){0};
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		if (!set_default(&settings_table[i], s)) {
			settings_free(s);
			return false;
		}
	}
	return true;
}

void settings_free(struct settings *s)
{
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		if (is_list(&settings_table[i]))
			string_list_free(setting_list(&settings_table[i], s));
	}
	*s = (struct settings){0};
}

/* Writes "wait" or "reject", as a list in words. */
static void write_words(const char *const *words, char out[static SETTING_RANGE_BYTES])
{
	size_t used = 0;

	for (size_t i = 0; words[i] != NULL; i++) {
		const char *between = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";

		used += (size_t)snprintf(out + used, SETTING_RANGE_BYTES - used, "%s\"%s\"",
					 between, words[i]);
		assert(used < SETTING_RANGE_BYTES);
	}
}

const char *setting_range(const struct setting *setting, char out[static SETTING_RANGE_BYTES])
{
	switch (setting->kind) {
	case SETTING_INTEGER:
		snprintf(out, SETTING_RANGE_BYTES, "a whole number from %u to %u", setting->min,
			 setting->max);
		break;
	case SETTING_SECONDS:
		snprintf(out, SETTING_RANGE_BYTES, "a number of seconds, 0 or from 0.001 to 86400");
		break;
	case SETTING_BOOL:
		snprintf(out, SETTING_RANGE_BYTES, "true or false");
		break;
	case SETTING_WORD:
		write_words(setting->words, out);
		break;
	case SETTING_ADDRESSES:
		snprintf(out, SETTING_RANGE_BYTES,
			 "an array of %u to %u numeric addresses, as [ \"127.0.0.1\", \"::1\" ]",
			 setting->min, setting->max);
		break;
	case SETTING_RULES:
		snprintf(out, SETTING_RANGE_BYTES,
			 "an array of %u to %u address ranges, as [ \"10.0.0.0/8\", \"::1\" ]",
			 setting->min, setting->max);
		break;
	}
	return out;
}

static void print_seconds(uint32_t ms, FILE *out)
{
	char fraction[8];

	snprintf(fraction, sizeof(fraction), "%03u", ms % 1000);
	for (size_t last = 2; last > 0 && fraction[last] == '0'; last--)
		fraction[last] = '\0';
	fprintf(out, "%u.%s", ms / 1000, fraction);
}

static void print_list(const struct string_list *list, FILE *out)
{
	fputs("[ ", out);
	for (size_t i = 0; i < list->count; i++)
		fprintf(out, "\"%s\"%s", list->items[i], i + 1 < list->count ? ", " : " ");
	fputs("]", out);
}

/* Writes the value of one setting as it would be written in a file. */
static void print_value(const struct setting *setting, const struct settings *s, FILE *out)
{
	switch (setting->kind) {
	case SETTING_INTEGER:
		fprintf(out, "%u", number_of(setting, s));
		break;
	case SETTING_SECONDS:
		print_seconds(number_of(setting, s), out);
		break;
	case SETTING_BOOL:
		fputs(number_of(setting, s) != 0 ? "true" : "false", out);
		break;
	case SETTING_WORD:
		fprintf(out, "\"%s\"", setting->words[number_of(setting, s)]);
		break;
	case SETTING_ADDRESSES:
	case SETTING_RULES:
		print_list(list_of(setting, s), out);
		break;
	}
}

bool setting_equal(const struct setting *setting, const struct settings *a,
		   const struct settings *b)
{
	const struct string_list *x = list_of(setting, a);
	const struct string_list *y = list_of(setting, b);

	if (!is_list(setting))
		return number_of(setting, a) == number_of(setting, b);
	for (size_t i = 0; i < x->count && i < y->count; i++) {
		if (strcmp(x->items[i], y->items[i]) != 0)
			return false;
	}
	return x->count == y->count;
}

const char *setting_text(const struct setting *setting, const struct settings *s,
			 char text[static SETTING_TEXT_BYTES])
{
	static const char cut[] = "...";
	FILE *out = fmemopen(text, SETTING_TEXT_BYTES, "w");

	text[0] = '\0';
	if (out == NULL)
		return text;
	print_value(setting, s, out);
	if (fclose(out) != 0 || strlen(text) == SETTING_TEXT_BYTES - 1)
		memcpy(text + SETTING_TEXT_BYTES - sizeof(cut), cut, sizeof(cut));
	return text;
}

void settings_print(const struct settings *s, FILE *out)
{
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		fprintf(out, "%s=", settings_table[i].path);
		print_value(&settings_table[i], s, out);
		fputc('\n', out);
	}
}
