/*
 * A run of the load, from its first connection to the last answer. Main thread.
 */
#ifndef ECHOLOAD_RUN_H
#define ECHOLOAD_RUN_H

#include <stdbool.h>

#include "options.h"
#include "result.h"
#include "target.h"

/*
 * Runs the load of o against server, from sources. Where stderr is a terminal, it has a live line.
 * SIGINT and SIGTERM end the run early. Returns false, after a sentence on stderr, when the system
 * refused something. r gets the result; result_free() frees it in either case.
 */
bool run(const struct options *o, const union address *server, const struct sources *sources,
	 struct result *r);

#endif
