/*
 * A reload as the main thread sees it: SIGHUP starts the child that reads the file, and what it
 * answers is applied. A signal that comes meanwhile begins another one afterwards. Main thread.
 */
#include "echopool/base/log.h"
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
			v->report.refused_reloads++;
			server_tell_ready(v);
		}
	}
}

void reload_continue(struct server *v)
{
	struct settings next;

	switch (reload_child_continue(&v->child, &next)) {
	case RELOAD_PENDING:
		return;
	case RELOAD_READ:
		if (apply_settings(&v->parts, &next)) {
			v->report.reloads++;
			break;
		}
		log_error("reload: the settings stay as they are");
		v->report.refused_reloads++;
		break;
	case RELOAD_REFUSED:
		v->report.refused_reloads++;
		break;
	}
	server_tell_ready(v);
	if (v->reload_again) {
		v->reload_again = false;
		reload_begin(v);
	}
}
