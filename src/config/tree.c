/*
 * What libconfig makes of a file. Called by config.c, in the one thread that reads the
 * configuration.
 *
 * Values are taken from the text itself, because libconfig's integers wrap without a word and its
 * lookups turn a wrong type into a default. But libconfig defines the format: a file counts only if
 * libconfig accepts it and sees in it the settings, the types and the strings that we see.
 */
#include "echopool/config/tree.h"

#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

/* What bison's parser says of it; libconfig has no error type for it. */
#define OUT_OF_MEMORY "memory exhausted"

/* More than libconfig makes of any file that we read. */
#define TREE_BYTES ((size_t)2 * 1024 * 1024)

static bool same_string(const config_setting_t *setting, const struct value *v, struct findings *f)
{
	if (config_setting_type(setting) != CONFIG_TYPE_STRING)
		return false;
	const char *theirs = config_setting_get_string(setting);
	/* Their copy of it could not be made. */
	if (theirs == NULL)
		f->no_memory = true;
	return theirs == NULL || strcmp(theirs, v->string) == 0;
}

static bool same_array(const config_setting_t *setting, const struct value *v, struct findings *f)
{
	if (config_setting_type(setting) != CONFIG_TYPE_ARRAY ||
	    config_setting_length(setting) != (int)v->count)
		return false;
	for (size_t i = 0; i < v->count; i++) {
		if (!same_string(config_setting_get_elem(setting, (unsigned int)i), &v->elements[i],
				 f))
			return false;
	}
	return true;
}

static bool same_value(const config_setting_t *setting, const struct value *v, struct findings *f)
{
	int type = config_setting_type(setting);

	switch (v->kind) {
	case VALUE_INTEGER:
		return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
	case VALUE_DECIMAL:
		return type == CONFIG_TYPE_FLOAT;
	case VALUE_BOOL:
		return type == CONFIG_TYPE_BOOL && config_setting_get_bool(setting) == v->truth;
	case VALUE_STRING:
		return same_string(setting, v, f);
	case VALUE_ARRAY:
		return same_array(setting, v, f);
	case VALUE_GROUP:
		return type == CONFIG_TYPE_GROUP;
	default:
		return false;
	}
}

static void compare_items(const config_t *config, const struct outline *o, struct findings *f)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct outline_item *item = &o->items[i];
		const config_setting_t *setting = config_lookup(config, item->path);

		if (setting == NULL || !same_value(setting, &item->value, f))
			findings_add(f, LOG_LEVEL_ERROR, item->value.where, item->path,
				     "found what libconfig reads otherwise; "
				     "expected a plain value as in echopool.conf(5)");
	}
}

static void tell_refused(const config_t *config, struct findings *f)
{
	struct origin where = {.line = (uint32_t)config_error_line(config)};

	if (strcmp(config_error_text(config), OUT_OF_MEMORY) == 0)
		f->no_memory = true;
	else
		findings_add(f, LOG_LEVEL_ERROR, where, NULL,
			     "found what libconfig refuses (%s); expected name = value;",
			     config_error_text(config));
}

/*
 * Returns text and a newline, to be freed, since to libconfig 1.5 a comment ends with its line and
 * never with the file. NULL: memory is short. Then libconfig would crash or exit, so it is only
 * asked when there is plenty left.
 */
static char *prepare(const char *text)
{
	size_t length = strlen(text);
	char *most = malloc(length + 2 + TREE_BYTES);

	if (most == NULL)
		return NULL;
	memcpy(most, text, length);
	memcpy(most + length, "\n", 2);
	char *lines = realloc(most, length + 2);
	if (lines == NULL)
		free(most);
	return lines;
}

void tree_compare(const struct outline *o, const char *text, struct findings *f)
{
	char *lines = prepare(text);
	config_t config;

	if (lines == NULL) {
		f->no_memory = true;
		return;
	}
	config_init(&config);
	if (config_read_string(&config, lines) == CONFIG_TRUE)
		compare_items(&config, o, f);
	else
		tell_refused(&config, f);
	config_destroy(&config);
	free(lines);
}
