/*
 * One "path=value" from the command line. Called by config.c, in the one thread that reads the
 * configuration.
 */
#include "echopool/config/override.h"

#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\n"

/* Parses what starts with a quote or a bracket, and must end with it. */
static bool parse_quoted(struct override *o, char *text, struct scanner *s)
{
	s->text = text;
	s->length = strlen(text);
	s->subject = o->path;
	scan_start(s);
	if (!value_parse(s, o->path, 0, &o->value))
		return false;
	if (!o->value.told && s->token.kind != TOKEN_END) {
		scan_tell(s, &s->token, o->path, "nothing behind the value");
		o->value.told = true;
	}
	return !o->value.told;
}

/* Takes all of the text: there is nothing in an override that a bare word must be kept from. */
static bool parse_bare(struct override *o, const char *text, struct findings *f)
{
	size_t length = strlen(text);

	value_set_word(&o->value, text, length);
	if (o->value.kind != VALUE_WORD)
		return true;
	o->value.kind = VALUE_STRING;
	o->value.string = strndup(text, length);
	if (o->value.string == NULL)
		f->no_memory = true;
	return o->value.string != NULL;
}

/* Cuts the blanks at the end, as those before a value are passed. */
static void cut_blanks(char *text)
{
	size_t length = strlen(text);

	while (length > 0 && strchr(BLANKS, text[length - 1]) != NULL)
		length--;
	text[length] = '\0';
}

bool override_parse(struct override *o, const char *text, size_t index, struct findings *f)
{
	struct origin where = {.order = ORIGIN_ORDER_OVERRIDES + index, .override = text};
	size_t errors = f->errors;

	*o = (struct override){0};
	o->path = strdup(text);
	if (o->path == NULL) {
		f->no_memory = true;
		return false;
	}
	text_check(o->path, strlen(o->path), where, f);
	if (f->errors > errors)
		return false;
	char *equals = strchr(o->path, '=');
	if (equals == NULL || equals == o->path) {
		findings_add(f, LOG_LEVEL_ERROR, where, NULL,
			     "found no setting and value; expected path=value, as pool.workers=8");
		return false;
	}
	*equals = '\0';
	char *value = equals + 1 + strspn(equals + 1, BLANKS);
	cut_blanks(value);
	struct scanner s = {.override = text, .order = where.order, .findings = f};
	bool good = *value != '\0' && strchr("\"[({", *value) != NULL ? parse_quoted(o, value, &s)
								      : parse_bare(o, value, f);
	o->value.where = where;
	return good;
}

void override_free(struct override *o)
{
	value_free(&o->value);
	free(o->path);
	*o = (struct override){0};
}
