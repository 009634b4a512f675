/*
 * The errors and warnings of a configuration, each kept at the place where it belongs. Called by
 * the readers of the configuration, in the one thread that reads it.
 */
#include "echopool/config/findings.h"

#include "echopool/config/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns the whole message, or NULL when memory is short. */
static char *compose(const struct findings *f, struct origin where, const char *subject,
		     const char *format, va_list arguments)
{
	char quoted[QUOTE_BYTES];
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	if (out == NULL)
		return NULL;
	if (where.override != NULL)
		fprintf(out, "-o %s: ", text_quote(where.override, strlen(where.override), quoted));
	else if (where.line != 0)
		fprintf(out, "%s:%u: ", f->file, where.line);
	else
		fprintf(out, "%s: ", f->file);
	if (subject != NULL)
		fprintf(out, "%s: ", text_quote(subject, strlen(subject), quoted));
	vfprintf(out, format, arguments);
	bool failed = ferror(out) != 0;
	if (fclose(out) == 0 && !failed)
		return text;
	free(text);
	return NULL;
}

static bool is_before(struct origin a, struct origin b)
{
	if ((a.override != NULL) != (b.override != NULL))
		return b.override != NULL;
	return a.line < b.line;
}

/* Puts a message in its place; one too many, which is an error, falls out at the end. */
static void keep(struct findings *f, struct finding message)
{
	size_t i = f->count++;

	for (; i > 0 && is_before(message.where, f->items[i - 1].where); i--)
		f->items[i] = f->items[i - 1];
	f->items[i] = message;
	if (f->count > FINDINGS_ERRORS_MAX + f->warnings)
		free(f->items[--f->count].text);
}

void findings_add(struct findings *f, enum log_level level, struct origin where,
		  const char *subject, const char *format, ...)
{
	va_list arguments;

	f->errors += level == LOG_LEVEL_ERROR;
	f->warnings += level == LOG_LEVEL_WARNING;
	va_start(arguments, format);
	char *text = compose(f, where, subject, format, arguments);
	va_end(arguments);
	if (text == NULL)
		f->no_memory = true;
	else
		keep(f, (struct finding){where, level, text});
}

bool findings_finish(struct findings *f, struct config_messages *out)
{
	*out = (struct config_messages){.items = calloc(f->count + 1, sizeof(*out->items))};
	if (f->errors > FINDINGS_ERRORS_MAX) {
		struct finding *last = &f->items[f->count++];

		last->level = LOG_LEVEL_ERROR;
		if (asprintf(&last->text, "and %zu more errors", f->errors - FINDINGS_ERRORS_MAX) <
		    0) {
			last->text = NULL;
			f->no_memory = true;
		}
	}
	f->no_memory = f->no_memory || out->items == NULL;
	for (const struct finding *m = f->items; m < f->items + f->count; m++) {
		if (f->no_memory)
			free(m->text);
		else
			out->items[out->count++] = (struct config_message){m->level, m->text};
	}
	if (f->no_memory)
		config_messages_free(out);
	return f->errors == 0 && !f->no_memory;
}
