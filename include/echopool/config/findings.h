/*
 * The errors and warnings found while a configuration is read: collected in any order, handed out
 * in the order of the file and then of the overrides, and bounded in number. One thread at a time.
 */
#ifndef ECHOPOOL_CONFIG_FINDINGS_H
#define ECHOPOOL_CONFIG_FINDINGS_H

#include "echopool/config/config.h"

/* More errors than this are only counted. */
#define FINDINGS_ERRORS_MAX 50

/* The order of the first override; every byte of a file comes before it. */
#define ORIGIN_ORDER_OVERRIDES ((size_t)1 << 24)

/* Where something was written: a line of the file, or an override. */
struct origin {
	size_t order;         /* by which messages are sorted: the offset in the file */
	uint32_t line;        /* from 1; 0: the file as a whole */
	const char *override; /* "path=value" as given with -o, NULL: the file; not owned */
};

struct finding {
	size_t order;
	size_t sequence; /* keeps the order of arrival among equals */
	enum log_level level;
	char *text;
};

struct findings {
	const char *file; /* its name in messages; not owned */
	struct finding *items;
	size_t count;
	size_t capacity;
	size_t errors;      /* all, those that were not kept too */
	size_t pass_errors; /* those of this pass over the file */
	bool no_memory;     /* something could not be stored: the configuration must not be used */
};

/*
 * Starts another pass over the file. Within a pass the errors arrive in order, so that those past
 * FINDINGS_ERRORS_MAX of a pass can never be among the first and are dropped at once.
 */
void findings_pass(struct findings *f);

/* True while an error added now would be kept; spares the work for a message that nobody sees. */
bool findings_want_errors(const struct findings *f);

/*
 * Adds "file:line: subject: text" or "-o path=value: subject: text", with "warning: " behind the
 * place if it is one. The subject, which may be NULL
 * and comes from the operator, is escaped and cut; the arguments are taken as they are.
 */
void findings_add(struct findings *f, enum log_level level, struct origin where,
		  const char *subject, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* True when there was an error, or no memory for one. */
bool findings_failed(const struct findings *f);

/*
 * Moves the messages, sorted, into out, which the caller frees; f is then empty. When memory was
 * short there are none, because what was found may not be true then. Returns !findings_failed().
 */
bool findings_finish(struct findings *f, struct config_messages *out);

#endif
