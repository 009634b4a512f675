/*
 * A configuration file as the list of what it sets. Called by config.c, in the one thread that
 * reads the configuration.
 *
 * An error costs the setting that it is in and no other: the reader goes on behind it. Only nesting
 * too deep, too many settings and a missing end give up what follows.
 */
#include "echopool/config/outline.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct reader {
	struct scanner scan;
	struct outline *outline;
	size_t open[VALUE_NESTING_MAX]; /* the items of the groups around, outermost first */
	size_t depth;
};

static struct outline_item *open_group(const struct reader *d, size_t level)
{
	return &d->outline->items[d->open[level]];
}

/* Returns "group.name", to be freed, or NULL when memory is short. */
static char *make_path(const struct reader *d, const struct token *name)
{
	const char *group = d->depth == 0 ? "" : open_group(d, d->depth - 1)->path;
	const char *dot = d->depth == 0 ? "" : ".";
	char *path = NULL;

	if (asprintf(&path, "%s%s%.*s", group, dot, (int)name->length, name->start) < 0)
		return NULL;
	return path;
}

/* Adds an item for the name at hand. NULL: memory is short. */
static struct outline_item *add_item(struct reader *d, const struct token *name)
{
	struct outline *o = d->outline;
	char *path = make_path(d, name);

	if (path != NULL && o->count == o->capacity) {
		size_t capacity = o->capacity == 0 ? 32 : o->capacity * 2;
		struct outline_item *items = reallocarray(o->items, capacity, sizeof(*items));

		if (items == NULL) {
			free(path);
			path = NULL;
		} else {
			o->items = items;
			o->capacity = capacity;
		}
	}
	if (path == NULL) {
		d->scan.findings->no_memory = true;
		scan_cut(&d->scan);
		return NULL;
	}
	struct outline_item *item = &o->items[o->count++];
	*item = (struct outline_item){
		.path = path,
		.value.where = scan_origin(&d->scan, name),
	};
	return item;
}

static bool is_name(const struct token *t)
{
	/* To libconfig these two are values wherever they stand. */
	if ((t->length == 4 && strncasecmp(t->start, "true", 4) == 0) ||
	    (t->length == 5 && strncasecmp(t->start, "false", 5) == 0))
		return false;
	if (!isalpha((unsigned char)t->start[0]) && t->start[0] != '*')
		return false;
	for (size_t i = 1; i < t->length; i++) {
		if (!isalnum((unsigned char)t->start[i]) && memchr("-_*", t->start[i], 3) == NULL)
			return false;
	}
	return true;
}

static bool check_name(struct reader *d, const struct token *t, const char *path)
{
	if (is_name(t))
		return true;
	if (memchr(t->start, '.', t->length) != NULL)
		scan_tell(&d->scan, t, path, "a name within its group, as pool: { workers = 8; };");
	else
		scan_tell(&d->scan, t, path,
			  "a setting's name, of letters, digits, \"_\" and \"-\"");
	return false;
}

/* Tells an item whose path was there before, which would make libconfig stop. */
static bool check_single(struct reader *d, const struct outline_item *item)
{
	for (const struct outline_item *other = d->outline->items; other < item; other++) {
		if (strcmp(other->path, item->path) != 0)
			continue;
		findings_add(d->scan.findings, LOG_LEVEL_ERROR, item->value.where, item->path,
			     "found a second time; expected once (the first is in line %u)",
			     other->value.where.line);
		return false;
	}
	return true;
}

/* Passes the optional ";" or "," behind a setting. */
static void pass_terminator(struct reader *d)
{
	if (scan_is(&d->scan, ';') || scan_is(&d->scan, ','))
		scan_next(&d->scan);
}

/* After an error: passes what probably belongs to it. */
static void skip_setting(struct reader *d)
{
	uint32_t line = d->scan.token.line;

	while (d->scan.token.kind != TOKEN_END && !scan_is(&d->scan, ';') &&
	       !scan_is(&d->scan, '}') && d->scan.token.line == line)
		scan_next(&d->scan);
	pass_terminator(d);
}

static void enter_group(struct reader *d, struct outline_item *item)
{
	item->value.kind = VALUE_GROUP;
	d->open[d->depth++] = (size_t)(item - d->outline->items);
	scan_next(&d->scan);
}

static void leave_group(struct reader *d)
{
	d->depth--;
	scan_next(&d->scan);
	pass_terminator(d);
}

/* Reads a value that is no group. False: the rest of the file is given up. */
static bool read_value(struct reader *d, struct outline_item *item)
{
	struct origin where = item->value.where;
	bool told = item->value.told;
	bool good = value_parse(&d->scan, item->path, d->depth, &item->value);

	item->value.where = where;
	item->value.told = item->value.told || told || !good;
	/* Where a value was wanted and none found, the scanner may stand before anything. */
	if (item->value.told && d->scan.token.kind == TOKEN_MARK && !scan_is(&d->scan, ','))
		skip_setting(d);
	else
		pass_terminator(d);
	return good;
}

/* Reads what stands behind a name: "=" and a value. False: the rest of the file is given up. */
static bool read_assignment(struct reader *d, struct outline_item *item)
{
	if (scan_is(&d->scan, '=')) {
		d->scan.subject = item->path;
		scan_next(&d->scan);
	} else {
		if (!item->value.told)
			scan_tell(&d->scan, &d->scan.token, item->path,
				  "\"=\" or \":\" after the name");
		item->value.told = true;
		/* A group whose ":" is missing is still read as one. */
		if (!scan_is(&d->scan, '{')) {
			skip_setting(d);
			return true;
		}
	}
	if (scan_is(&d->scan, '{') && d->depth < VALUE_NESTING_MAX) {
		enter_group(d, item);
		return true;
	}
	return read_value(d, item);
}

/* Reads one setting. False: the rest of the file is given up. */
static bool read_setting(struct reader *d)
{
	struct token name = d->scan.token;

	d->scan.subject = NULL;
	if (d->outline->count == OUTLINE_ITEMS_MAX) {
		findings_add(d->scan.findings, LOG_LEVEL_ERROR, scan_origin(&d->scan, &name), NULL,
			     "found more than %d settings; expected each setting once",
			     OUTLINE_ITEMS_MAX);
		scan_cut(&d->scan);
		return false;
	}
	struct outline_item *item = add_item(d, &name);
	if (item == NULL)
		return false;
	item->value.told = name.told || !check_name(d, &name, item->path);
	item->value.told = item->value.told || !check_single(d, item);
	scan_next(&d->scan);
	return read_assignment(d, item);
}

/* Reads one setting, or the end of a group. False: the end of what can be read. */
static bool read_next(struct reader *d)
{
	if (d->scan.token.kind == TOKEN_WORD)
		return read_setting(d);
	if (scan_is(&d->scan, '}') && d->depth > 0) {
		leave_group(d);
		return true;
	}
	if (d->scan.token.kind == TOKEN_END)
		return false;
	scan_tell(&d->scan, &d->scan.token, NULL, "a setting, as name = value;");
	skip_setting(d);
	/* A "}" too many would otherwise be met again and again. */
	if (scan_is(&d->scan, '}') && d->depth == 0) {
		scan_next(&d->scan);
		pass_terminator(d);
	}
	return true;
}

/* Tells the groups that the end of the file left open. */
static void tell_open_groups(struct reader *d)
{
	if (d->scan.cut)
		return;
	/* They come before what was told last. */
	findings_pass(d->scan.findings);
	for (size_t i = 0; i < d->depth; i++) {
		const struct outline_item *group = open_group(d, i);

		findings_add(d->scan.findings, LOG_LEVEL_ERROR, group->value.where, group->path,
			     "found a group that is not closed; expected \"}\" at its end");
	}
}

void outline_read(struct outline *o, const char *text, size_t length, struct findings *f)
{
	struct reader d = {
		.scan = {.text = text, .length = length, .findings = f},
		.outline = o,
	};

	*o = (struct outline){0};
	scan_start(&d.scan);
	while (read_next(&d))
		;
	tell_open_groups(&d);
}

void outline_free(struct outline *o)
{
	for (size_t i = 0; i < o->count; i++) {
		value_free(&o->items[i].value);
		free(o->items[i].path);
	}
	free(o->items);
	*o = (struct outline){0};
}
