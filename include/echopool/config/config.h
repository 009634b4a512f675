/*
 * A configuration file (libconfig's format) and the -o overrides into a checked struct settings.
 * No side effects: nothing is bound, started or logged; what there is to say goes into messages.
 * Called from the main thread.
 */
#ifndef ECHOPOOL_CONFIG_CONFIG_H
#define ECHOPOOL_CONFIG_CONFIG_H

#include "echopool/config/settings.h"

/* Lines for the operator, without a newline at their end; the struct owns them. */
struct config_messages {
	struct config_message {
		enum log_level level; /* LOG_LEVEL_ERROR or LOG_LEVEL_WARNING */
		char *text;           /* "file:line: setting: found X; expected Y" */
	} * items;
	size_t count;
};

/*
 * Reads path (NULL: no file, the defaults hold), then applies the overrides, each "path=value" as
 * given with -o; the last one wins. Fills s, which the caller frees with settings_free().
 *
 * All errors are told at once, in the order of the file and then of the overrides, but for what
 * stands in a file behind a syntax error. Returns true when there was no error; false, with s
 * emptied, otherwise. Warnings do not make it fail. False without any message: memory was short,
 * which says nothing about the file. The caller frees messages with config_messages_free() in
 * either case.
 */
bool config_load(struct settings *s, const char *path, char *const overrides[],
		 size_t override_count, struct config_messages *messages);

void config_messages_free(struct config_messages *messages);

#endif
