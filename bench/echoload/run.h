/*
 * A run of the load from its first connection to the last answer, which makes a result. Main
 * thread.
 */
#ifndef ECHOLOAD_RUN_H
#define ECHOLOAD_RUN_H

#include <stdbool.h>

#include "options.h"
#include "result.h"
#include "target.h"

/*
 * Runs the load that o asks for against server, from sources, with a live line on stderr where that
 * is a terminal. SIGINT and SIGTERM end it early. Returns false, after a sentence on stderr, when
 * the system refused something; else r has the result, and result_free() frees it.
 */
bool run(const struct options *o, const union address *server, const struct sources *sources,
	 struct result *r);

#endif
