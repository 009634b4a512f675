/*
 * A configuration file and the overrides into checked settings. Called by main.c, in the main
 * thread, before any other thread exists, and by reload_child.c for what its child has printed.
 *
 * The file is read once (read_file.c); its bytes are checked (text.c), then what libconfig would
 * hide (guard.c); libconfig reads it (tree.c), and each value goes against the table (store.c).
 * Each of them tells all the errors that it sees.
 */
#include "echopool/config/loading.h"
#include "echopool/config/read_file.h"
#include "echopool/config/text.h"

#include <stdlib.h>
#include <string.h>

/* At most so many bytes of the file's path are shown. */
#define PATH_SHOWN 256

static void load_file(struct loading *l, const char *path)
{
	size_t length = 0;
	char *text = read_file(path, &length, &l->findings);

	if (text == NULL)
		return;
	text_check(text, length, (struct origin){.line = 1}, &l->findings);
	uint32_t broken_line = guard_check(l, text);
	tree_load(l, text, broken_line);
	free(text);
}

/*
 * An idle_when_full longer than idle can only be a mistake, unless one of them is the default. That
 * the other is written down too does not count, so that what -T prints can be read back.
 */
static void check_idle(struct loading *l)
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
	struct loading l = {.settings = s};
	char *shown = shown_path(path == NULL ? "" : path);

	l.findings.file = shown;
	if (shown != NULL && settings_init(s)) {
		if (path != NULL)
			load_file(&l, path);
		for (size_t i = 0; i < override_count; i++)
			override_apply(&l, overrides[i], (uint32_t)i + 1);
		check_idle(&l);
	} else {
		*s = (struct settings){0};
		l.findings.no_memory = true;
	}
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
