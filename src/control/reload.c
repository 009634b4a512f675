/*
 * A reload as the main thread sees it: SIGHUP starts the child that reads the file, and what it
 * answers is applied. A signal that comes meanwhile begins another one afterwards. Main thread.
 */
#include "echopool/base/log.h"
#include "echopool/config/config.h"
#include "echopool/control/apply.h"
#include "echopool/control/notify.h"
#include "echopool/control/server_state.h"

void reload_warn(const struct server *v)
{
	const char *lacks = v->source->file ? reload_child_lacks(v->source) : NULL;

	if (lacks)
		log_warning("%s cannot be read again by a reload: %s", v->source->file, lacks);
}

void reload_begin(struct server *v)
{
	if (v->draining) {
		log_warning("SIGHUP: draining, the file is not read again");
	} else if (!v->source->file) {
		log_warning("SIGHUP: no file was given with -c, so there is nothing to read again");
	} else if (reload_child_is_reading(&v->child)) {
		v->reload_again = true;
	} else {
		log_info("SIGHUP: reading %s again", v->source->file);
		notify_reloading();
		if (!reload_child_start(&v->child, v->source)) {
			report_reload(&v->report, false);
			server_announce_ready(v);
		}
	}
}

static bool all_equal(const struct settings *a, const struct settings *b)
{
	for (size_t i = 0; i < SETTINGS_COUNT; i++)
		if (!setting_equal(&settings_table[i], a, b))
			return false;
	return true;
}

/* An empty file is right, but may be an editor's accident: what it undoes is worth a word. */
static void warn_of_an_empty_file(const struct server *v, const struct settings *next)
{
	struct config_messages messages = {0};
	struct settings without_file;

	if (all_equal(next, v->parts.settings) ||
	    !config_load(&without_file, NULL, v->source->overrides, v->source->override_count,
			 &messages))
		return;
	if (all_equal(next, &without_file))
		log_warning("reload: %s sets nothing but defaults; is it empty?", v->source->file);
	settings_free(&without_file);
	config_messages_free(&messages);
}

void reload_continue(struct server *v)
{
	struct settings next;
	bool applied;

	switch (reload_child_continue(&v->child, &next)) {
	case RELOAD_PENDING:
		return;
	case RELOAD_READ:
		warn_of_an_empty_file(v, &next);
		applied = apply_settings(&v->parts, &next);
		if (!applied)
			log_error("reload: the settings stay as they are");
		report_reload(&v->report, applied);
		break;
	case RELOAD_REFUSED:
		report_reload(&v->report, false);
		break;
	}
	server_announce_ready(v);
	if (v->reload_again) {
		v->reload_again = false;
		reload_begin(v);
	}
}
