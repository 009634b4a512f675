/*
 * The errors and warnings of a configuration: kept with the place where each belongs, sorted at the
 * end. Called by the readers of the configuration, in the one thread that reads it.
 */
#include "echopool/config/findings.h"

#include "echopool/config/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void findings_pass(struct findings *f)
{
	f->pass_errors = 0;
}

bool findings_want_errors(const struct findings *f)
{
	return f->pass_errors < FINDINGS_ERRORS_MAX;
}

static void write_origin(FILE *out, const struct findings *f, struct origin where)
{
	char quoted[QUOTE_BYTES];

	if (where.override != NULL)
		fprintf(out, "-o %s: ", text_quote(where.override, strlen(where.override), quoted));
	else if (where.line != 0)
		fprintf(out, "%s:%u: ", f->file, where.line);
	else
		fprintf(out, "%s: ", f->file);
}

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
	write_origin(out, f, where);
	if (subject != NULL)
		fprintf(out, "%s: ", text_quote(subject, strlen(subject), quoted));
	vfprintf(out, format, arguments);
	bool failed = ferror(out) != 0;
	if (fclose(out) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}

/* Takes over text; NULL stands for one that could not be stored. */
static void keep(struct findings *f, enum log_level level, size_t order, char *text)
{
	if (text != NULL && f->count == f->capacity) {
		size_t capacity = f->capacity == 0 ? 16 : f->capacity * 2;
		struct finding *items = reallocarray(f->items, capacity, sizeof(*items));

		if (items == NULL) {
			free(text);
			text = NULL;
		} else {
			f->items = items;
			f->capacity = capacity;
		}
	}
	if (text == NULL) {
		f->no_memory = true;
		return;
	}
	f->items[f->count] = (struct finding){order, f->count, level, text};
	f->count++;
}

void findings_add(struct findings *f, enum log_level level, struct origin where,
		  const char *subject, const char *format, ...)
{
	va_list arguments;

	if (level == LOG_LEVEL_ERROR) {
		f->errors++;
		if (!findings_want_errors(f))
			return;
		f->pass_errors++;
	}
	va_start(arguments, format);
	keep(f, level, where.order, compose(f, where, subject, format, arguments));
	va_end(arguments);
}

bool findings_failed(const struct findings *f)
{
	return f->errors > 0 || f->no_memory;
}

static int compare(const void *a, const void *b)
{
	const struct finding *x = a;
	const struct finding *y = b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return x->sequence < y->sequence ? -1 : 1;
}

/* Frees the errors past the first ones of the sorted findings. */
static void drop_errors(struct findings *f)
{
	size_t errors = 0;
	size_t kept = 0;

	for (size_t i = 0; i < f->count; i++) {
		if (f->items[i].level == LOG_LEVEL_ERROR && ++errors > FINDINGS_ERRORS_MAX)
			free(f->items[i].text);
		else
			f->items[kept++] = f->items[i];
	}
	f->count = kept;
}

/* Says, as the last line, how many errors were left out. */
static void add_last_line(struct findings *f)
{
	char *text = NULL;

	if (f->errors <= FINDINGS_ERRORS_MAX)
		return;
	if (asprintf(&text, "and %zu more errors", f->errors - FINDINGS_ERRORS_MAX) < 0)
		text = NULL;
	keep(f, LOG_LEVEL_ERROR, SIZE_MAX, text);
}

bool findings_finish(struct findings *f, struct config_messages *out)
{
	*out = (struct config_messages){0};
	if (f->count > 0)
		qsort(f->items, f->count, sizeof(*f->items), compare);
	drop_errors(f);
	add_last_line(f);
	if (f->count > 0 && !f->no_memory) {
		out->items = calloc(f->count, sizeof(*out->items));
		f->no_memory = out->items == NULL;
	}
	for (size_t i = 0; i < f->count; i++) {
		if (f->no_memory)
			free(f->items[i].text);
		else
			out->items[out->count++] =
				(struct config_message){f->items[i].level, f->items[i].text};
	}
	bool good = !findings_failed(f);
	free(f->items);
	*f = (struct findings){0};
	return good;
}
