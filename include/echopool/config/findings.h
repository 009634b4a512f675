/*
 * The errors and warnings found while a configuration is read: collected in any order, handed out
 * in the order of the file's lines and then of the overrides, and bounded in number. One thread at
 * a time.
 */
#ifndef ECHOPOOL_CONFIG_FINDINGS_H
#define ECHOPOOL_CONFIG_FINDINGS_H

#include "echopool/config/config.h"

/* More errors than this, the first ones, are only counted. */
#define FINDINGS_ERRORS_MAX 50

/* There are no more warnings than these, of who may change the file. */
#define FINDINGS_WARNINGS_MAX 4

/* Where something was written: in a line of the file, or in an override. */
struct origin {
	uint32_t line;        /* from 1; 0: the file as a whole. Of an override: its number */
	const char *override; /* "path=value" as given with -o; NULL: the file; not owned */
};

struct finding {
	struct origin where;
	enum log_level level;
	char *text;
};

struct findings {
	const char *file; /* its name in messages; not owned */
	/* In order. The last is for one that is too many. */
	struct finding items[FINDINGS_ERRORS_MAX + FINDINGS_WARNINGS_MAX + 1];
	size_t count;
	size_t warnings;
	size_t errors;  /* all, those that were not kept too */
	bool no_memory; /* something could not be stored: the configuration must not be used */
};

/*
 * Adds "file:line: subject: text" or "-o path=value: subject: text". The subject, which may be NULL
 * and comes from the operator, is escaped and cut; the arguments are taken as they are.
 */
void findings_add(struct findings *f, enum log_level level, struct origin where,
		  const char *subject, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/*
 * Moves the messages into out, which the caller frees; f is then empty. When memory was short there
 * are none, because what was found may not be true then. Returns whether there was neither an error
 * nor a lack of memory.
 */
bool findings_finish(struct findings *f, struct config_messages *out);

#endif
