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
		      sizeof(enum engine_choice) == sizeof(uint32_t) &&
		      sizeof(enum log_target) == sizeof(uint32_t) &&
		      sizeof(enum log_level) == sizeof(uint32_t),
	      "an enum is stored as the index of its word");

static const char *const default_addresses[] = {"127.0.0.1", "::1", NULL};
static const char *const default_allow[] = {"0.0.0.0/0", "::/0", NULL};
static const char *const default_none[] = {NULL};
static const char *const default_admin_allow[] = {"127.0.0.0/8", "::1", NULL};
static const char *const queue_full_words[] = {"wait", "reject", NULL};
static const char *const engine_words[] = {"auto", "epoll", "io_uring", NULL};
static const char *const log_target_words[] = {"stderr", "syslog", NULL};
static const char *const log_level_words[] = {"error", "warning", "info", "debug", NULL};

#define AT(field) offsetof(struct settings, field)

/* The path, the kind, the field, the default, the least, the most, the words. */
const struct setting settings_table[SETTINGS_COUNT] = {
	{"listen.addresses", SETTING_ADDRESSES, AT(listen.addresses), 0, 1, 16, default_addresses},
	{"listen.port", SETTING_INTEGER, AT(listen.port), 7007, 0, 65535, NULL},
	{"listen.backlog", SETTING_INTEGER, AT(listen.backlog), 1024, 1, 65535, NULL},
	{"pool.workers", SETTING_INTEGER, AT(pool.workers), 0, 0, 1024, NULL},
	{"pool.worker_connections", SETTING_INTEGER, AT(pool.worker_connections), 4096, 1, 1000000,
	 NULL},
	{"pool.queue_limit", SETTING_INTEGER, AT(pool.queue_limit), 1024, 1, 1000000, NULL},
	{"pool.queue_full", SETTING_WORD, AT(pool.queue_full), QUEUE_FULL_WAIT, 0, 0,
	 queue_full_words},
	{"pool.rebalance", SETTING_BOOL, AT(pool.rebalance), true, 0, 0, NULL},
	{"pool.spin_us", SETTING_INTEGER, AT(pool.spin_us), 50, 0, 1000, NULL},
	{"pool.engine", SETTING_WORD, AT(pool.engine), ENGINE_AUTO, 0, 0, engine_words},
	{"limits.buffer_bytes", SETTING_INTEGER, AT(limits.buffer_bytes), 65536, 1024, 16777216,
	 NULL},
	{"limits.connections_per_ip", SETTING_INTEGER, AT(limits.connections_per_ip), 0, 0, 1000000,
	 NULL},
	{"limits.prefix_ipv4", SETTING_INTEGER, AT(limits.prefix_ipv4), 32, 1, 32, NULL},
	{"limits.prefix_ipv6", SETTING_INTEGER, AT(limits.prefix_ipv6), 64, 1, 128, NULL},
	{"limits.receive_bytes", SETTING_INTEGER, AT(limits.receive_bytes), 0, 0, 16777216, NULL},
	{"timeouts.idle", SETTING_SECONDS, AT(timeouts.idle_ms), 300 * 1000, 0, 0, NULL},
	{"timeouts.idle_when_full", SETTING_SECONDS, AT(timeouts.idle_when_full_ms), 5 * 1000, 0, 0,
	 NULL},
	{"timeouts.queue", SETTING_SECONDS, AT(timeouts.queue_ms), 30 * 1000, 0, 0, NULL},
	{"timeouts.write", SETTING_SECONDS, AT(timeouts.write_ms), 120 * 1000, 0, 0, NULL},
	{"timeouts.lame_duck", SETTING_SECONDS, AT(timeouts.lame_duck_ms), 0, 0, 0, NULL},
	{"timeouts.drain", SETTING_SECONDS, AT(timeouts.drain_ms), 8 * 1000, 0, 0, NULL},
	{"tcp.nodelay", SETTING_BOOL, AT(tcp.nodelay), true, 0, 0, NULL},
	{"tcp.keepalive", SETTING_BOOL, AT(tcp.keepalive), true, 0, 0, NULL},
	{"access.allow", SETTING_RULES, AT(access.allow), 0, 1, 1024, default_allow},
	{"access.deny", SETTING_RULES, AT(access.deny), 0, 0, 1024, default_none},
	{"log.target", SETTING_WORD, AT(log.target), LOG_TARGET_STDERR, 0, 0, log_target_words},
	{"log.level", SETTING_WORD, AT(log.level), LOG_LEVEL_INFO, 0, 0, log_level_words},
	{"log.connections", SETTING_BOOL, AT(log.connections), false, 0, 0, NULL},
	{"log.rate", SETTING_INTEGER, AT(log.rate), 200, 0, 1000000, NULL},
	{"admin.addresses", SETTING_ADDRESSES, AT(admin.addresses), 0, 0, 4, default_none},
	{"admin.port", SETTING_INTEGER, AT(admin.port), 9707, 0, 65535, NULL},
	{"admin.allow", SETTING_RULES, AT(admin.allow), 0, 1, 64, default_admin_allow},
	{"admin.hosts", SETTING_NAMES, AT(admin.hosts), 0, 0, 16, default_none},
	{"admin.connections", SETTING_INTEGER, AT(admin.connections), 16, 1, 64, NULL},
	{"admin.timeout", SETTING_SECONDS, AT(admin.timeout_ms), 10 * 1000, 0, 0, NULL},
	{"admin.unready_after", SETTING_SECONDS, AT(admin.unready_after_ms), 0, 0, 0, NULL},
	{"admin.peers", SETTING_BOOL, AT(admin.peers), true, 0, 0, NULL},
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

bool setting_is_list(const struct setting *setting)
{
	return setting->kind == SETTING_ADDRESSES || setting->kind == SETTING_RULES ||
	       setting->kind == SETTING_NAMES;
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

bool settings_init(struct settings *s)
{
	*s = (struct settings){0};
	for (const struct setting *t = settings_table; t < settings_table + SETTINGS_COUNT; t++) {
		if (!setting_is_list(t))
			setting_set_number(t, s, t->preset);
		for (size_t i = 0; setting_is_list(t) && t->words[i] != NULL; i++) {
			if (!string_list_add(setting_list(t, s), t->words[i])) {
				settings_free(s);
				return false;
			}
		}
	}
	return true;
}

void settings_free(struct settings *s)
{
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		if (setting_is_list(&settings_table[i]))
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

/* What the entries of a list are. */
static const char *entries_of(enum setting_kind kind)
{
	switch (kind) {
	case SETTING_ADDRESSES:
		return "numeric addresses, as [ \"127.0.0.1\", \"::1\" ]";
	case SETTING_RULES:
		return "address ranges, as [ \"10.0.0.0/8\", \"::1\" ]";
	default:
		return "host names, as [ \"echo.example.net\" ]";
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
		return "a number of seconds, 0 or from 0.001 to 86400";
	case SETTING_BOOL:
		return "true or false";
	case SETTING_WORD:
		write_words(setting->words, out);
		break;
	case SETTING_ADDRESSES:
	case SETTING_RULES:
	case SETTING_NAMES:
		snprintf(out, SETTING_RANGE_BYTES, "an array of %u to %u %s", setting->min,
			 setting->max, entries_of(setting->kind));
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
	case SETTING_NAMES:
		print_list(list_of(setting, s), out);
		break;
	}
}

bool setting_equal(const struct setting *setting, const struct settings *a,
		   const struct settings *b)
{
	const struct string_list *x = list_of(setting, a);
	const struct string_list *y = list_of(setting, b);

	if (!setting_is_list(setting))
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
