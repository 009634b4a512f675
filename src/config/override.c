/*
 * One "path=value" from the command line. Called by config.c, in the one thread that reads the
 * configuration.
 */
#include "echopool/config/loading.h"

#include "echopool/config/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BLANKS " \t\r\n"

/* Ends the string that starts at *at, and moves to what is behind it. NULL: it is none. */
static const char *parse_string(char **at)
{
	char *string = *at + 1;
	char *end = **at == '"' ? strchr(string, '"') : NULL;

	if (end == NULL)
		return NULL;
	*end = '\0';
	*at = end + 1 + strspn(end + 1, BLANKS);
	return string;
}

/* Parses strings with commas between them, up to the bracket. False: that is not what they are. */
static bool parse_elements(char *at, struct value *v)
{
	if (*at == ']')
		return at[1] == '\0';
	for (;; at += 1 + strspn(at + 1, BLANKS)) {
		struct value *element = &v->elements[v->count];

		*element = (struct value){.type = CONFIG_TYPE_STRING, .where = v->where};
		element->string = parse_string(&at);
		if (element->string == NULL)
			return false;
		v->count++;
		if (*at != ',')
			return strcmp(at, "]") == 0;
	}
}

static void parse_array(struct loading *l, char *text, struct value *v)
{
	/* Each element takes two quotes. */
	v->elements = calloc(strlen(text) / 2 + 1, sizeof(*v->elements));
	if (v->elements == NULL)
		l->findings.no_memory = true;
	else if (parse_elements(text + 1 + strspn(text + 1, BLANKS), v))
		v->type = CONFIG_TYPE_ARRAY;
}

/* Sets the type and value that text, which is changed, is of; CONFIG_TYPE_NONE: of none. */
static void parse(struct loading *l, char *text, struct value *v)
{
	char *at = text;

	if (*text == '[') {
		parse_array(l, text, v);
	} else if (*text == '"') {
		v->string = parse_string(&at);
		if (v->string != NULL && *at == '\0')
			v->type = CONFIG_TYPE_STRING;
	} else if (!text_means_number(text)) {
		v->string = text;
		v->integer = strcasecmp(text, "true") == 0;
		v->type = v->integer != 0 || strcasecmp(text, "false") == 0 ? CONFIG_TYPE_BOOL
									    : CONFIG_TYPE_STRING;
	} else if (text_is_number(text, strlen(text), &v->odd)) {
		v->type = strchr(text, '.') != NULL ? CONFIG_TYPE_FLOAT : CONFIG_TYPE_INT;
		v->hexadecimal = strpbrk(text, "xX") != NULL;
		v->integer = (int)strtol(text, NULL, v->hexadecimal ? 16 : 10);
		v->decimal = strtod(text, NULL);
	}
}

static void apply(struct loading *l, const char *path, struct value *v, char *text)
{
	const struct setting *setting = settings_find(path);

	if (setting != NULL) {
		parse(l, text, v);
		store_value(l, setting, v);
		free(v->elements);
	} else if (settings_is_group(path)) {
		findings_add(&l->findings, LOG_LEVEL_ERROR, v->where, path,
			     "found a group; expected one setting of it, as pool.workers=8");
	} else {
		nearest_report(l, v->where, path, false);
	}
}

/* Cuts the blanks at both ends of text. */
static char *trim(char *text)
{
	size_t length = strlen(text);

	while (length > 0 && strchr(BLANKS, text[length - 1]) != NULL)
		length--;
	text[length] = '\0';
	return text + strspn(text, BLANKS);
}

void override_apply(struct loading *l, const char *text, uint32_t number)
{
	struct value v = {.type = CONFIG_TYPE_NONE, .where = {number, text}};
	char *path = strdup(text);
	char *copy = strdup(text);
	const size_t length = strcspn(text, "=");

	if (path == NULL || copy == NULL) {
		l->findings.no_memory = true;
	} else if (length == 0 || text[length] == '\0') {
		findings_add(&l->findings, LOG_LEVEL_ERROR, v.where, NULL,
			     "found no setting and value; expected path=value, as pool.workers=8");
	} else if (text_check(path, strlen(path), v.where, &l->findings)) {
		path[length] = '\0';
		v.raw = trim(path + length + 1);
		apply(l, path, &v, trim(copy + length + 1));
	}
	free(copy);
	free(path);
}
