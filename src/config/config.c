/*
 * A configuration file and the overrides into checked settings. Called by main.c, in the main
 * thread, before any other thread exists.
 *
 * The file goes through passes that each tell all their errors: its bytes (text.c), its form
 * (outline.c), its values against the table (setting_store.c). libconfig's opinion (tree.c) is
 * asked last, of a file without any.
 */
#include "echopool/config/config.h"

#include "echopool/config/nearest.h"
#include "echopool/config/override.h"
#include "echopool/config/setting_store.h"
#include "echopool/config/textfile.h"
#include "echopool/config/tree.h"

#include <stdlib.h>
#include <string.h>

/* At most so many bytes of the file's path are shown. */
#define PATH_SHOWN 256

struct loader {
	struct settings *settings;
	struct findings findings;
	struct origin written[SETTINGS_COUNT]; /* where each was, rightly, for the last time */
};

static void tell_unknown(struct loader *l, const char *path, struct origin where, bool group)
{
	const char *near;
	size_t length;

	if (!findings_want_errors(&l->findings)) {
		l->findings.errors++;
		return;
	}
	near = nearest_setting(path, group, &length);
	if (near != NULL)
		findings_add(&l->findings, LOG_LEVEL_ERROR, where, path,
			     "found an unknown %s; did you mean %.*s?", group ? "group" : "setting",
			     (int)length, near);
	else
		findings_add(&l->findings, LOG_LEVEL_ERROR, where, path,
			     "found an unknown %s; expected one of those in echopool.conf(5)",
			     group ? "group" : "setting");
}

static void store(struct loader *l, const struct setting *setting, const struct value *v)
{
	if (!v->told && setting_store(setting, l->settings, v, &l->findings))
		l->written[setting - settings_table] = v->where;
}

/* Applies one item. False: its members, if it is a group, are not worth looking at. */
static bool apply_item(struct loader *l, const struct outline_item *item)
{
	const struct setting *setting = settings_find(item->path);
	bool group = item->value.kind == VALUE_GROUP;
	char found[QUOTE_BYTES];

	if (setting != NULL) {
		store(l, setting, &item->value);
		return false;
	}
	if (settings_is_group(item->path)) {
		if (!group && !item->value.told)
			findings_add(&l->findings, LOG_LEVEL_ERROR, item->value.where, item->path,
				     "found %s; expected a group, as %s: { ... };",
				     value_found(&item->value, found), item->path);
		return true;
	}
	if (!item->value.told)
		tell_unknown(l, item->path, item->value.where, group);
	return false;
}

static bool is_member(const char *path, const char *group)
{
	size_t length = strlen(group);

	return strncmp(path, group, length) == 0 && path[length] == '.';
}

static void apply_outline(struct loader *l, const struct outline *o)
{
	const char *refused_group = NULL;

	for (size_t i = 0; i < o->count; i++) {
		const struct outline_item *item = &o->items[i];

		if (refused_group != NULL && is_member(item->path, refused_group))
			continue;
		refused_group = NULL;
		if (!apply_item(l, item) && item->value.kind == VALUE_GROUP)
			refused_group = item->path;
	}
}

static void load_file(struct loader *l, const char *path)
{
	struct outline outline = {0};
	size_t length = 0;
	char *text = textfile_read(path, &length, &l->findings);

	if (text == NULL)
		return;
	if (!text_check(text, length, (struct origin){.line = 1}, &l->findings))
		goto out;
	findings_pass(&l->findings);
	outline_read(&outline, text, length, &l->findings);
	findings_pass(&l->findings);
	apply_outline(l, &outline);
	if (!findings_failed(&l->findings))
		tree_compare(&outline, text, &l->findings);
	outline_free(&outline);
out:
	free(text);
}

static void apply_override(struct loader *l, const char *text, size_t index)
{
	struct override o;

	if (override_parse(&o, text, index, &l->findings)) {
		const struct setting *setting = settings_find(o.path);

		if (setting != NULL)
			store(l, setting, &o.value);
		else if (settings_is_group(o.path))
			findings_add(
				&l->findings, LOG_LEVEL_ERROR, o.value.where, o.path,
				"found a group; expected one setting of it, as pool.workers=8");
		else
			tell_unknown(l, o.path, o.value.where, false);
	}
	override_free(&o);
}

/*
 * An idle_when_full longer than idle can only be a mistake, unless one of them is the default. That
 * the other is written down too does not count, so that what -T prints can be read back.
 */
static void check_idle(struct loader *l)
{
	const struct setting *idle = settings_find("timeouts.idle");
	const struct setting *when_full = settings_find("timeouts.idle_when_full");
	const uint32_t idle_ms = l->settings->timeouts.idle_ms;
	const uint32_t when_full_ms = l->settings->timeouts.idle_when_full_ms;

	if (idle_ms == idle->preset || when_full_ms == when_full->preset || idle_ms == 0 ||
	    when_full_ms <= idle_ms)
		return;
	findings_add(&l->findings, LOG_LEVEL_ERROR, l->written[when_full - settings_table],
		     when_full->path,
		     "found %.10g seconds; expected at most timeouts.idle, which is %.10g",
		     when_full_ms / 1000.0, idle_ms / 1000.0);
}

/*
 * Returns path as it is shown in messages, to be freed; NULL: memory is short. A long one is cut at
 * its start, which tells less than its end, and leaves a line of the log room for the reason.
 */
static char *shown_path(const char *path)
{
	size_t length = strlen(path);
	size_t cut = length > PATH_SHOWN ? length - PATH_SHOWN : 0;
	char *shown = NULL;

	/* Not in the middle of a UTF-8 character. */
	while (cut > 0 && ((unsigned char)path[cut] & 0xc0) == 0x80)
		cut++;
	if (length == 0)
		return strdup("''");
	if (asprintf(&shown, "%s%s", cut > 0 ? "..." : "", path + cut) < 0)
		return NULL;
	for (char *c = shown; *c != '\0'; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
	return shown;
}

bool config_load(struct settings *s, const char *path, char *const overrides[],
		 size_t override_count, struct config_messages *messages)
{
	struct loader l = {.settings = s};
	char *shown = shown_path(path == NULL ? "" : path);

	l.findings.file = shown;
	if (shown == NULL || !settings_init(s)) {
		*s = (struct settings){0};
		l.findings.no_memory = true;
		goto out;
	}
	if (path != NULL)
		load_file(&l, path);
	findings_pass(&l.findings);
	for (size_t i = 0; i < override_count; i++)
		apply_override(&l, overrides[i], i);
	findings_pass(&l.findings);
	check_idle(&l);
out:;
	bool good = findings_finish(&l.findings, messages);
	if (!good)
		settings_free(s);
	free(shown);
	return good;
}

void config_messages_free(struct config_messages *messages)
{
	for (size_t i = 0; i < messages->count; i++)
		free(messages->items[i].text);
	free(messages->items);
	*messages = (struct config_messages){0};
}
