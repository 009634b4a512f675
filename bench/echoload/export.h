/*
 * The result of a run for programs: JSON, CSV, and the whole distribution. Main thread.
 */
#ifndef ECHOLOAD_EXPORT_H
#define ECHOLOAD_EXPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "result.h"

/* Where each form goes; NULL: not asked for. */
struct exports {
	FILE *json;
	FILE *csv;
	FILE *hist;
};

/*
 * Opens the files that o names; "-" is the standard output. To be called before the load, so that
 * it does not run in vain. False, after a sentence on stderr, when one cannot be opened.
 */
bool exports_open(struct exports *e, const struct options *o);

/*
 * Writes the result to all of them, in the formats of echoload(1). An empty CSV file gets the
 * header first. False, after a sentence on stderr, when one cannot be written.
 */
bool exports_write(const struct exports *e, const struct result *r);

/* Closes what is open, once. False, after a sentence on stderr, when not all of it was written. */
bool exports_close(struct exports *e, const struct options *o);

#endif
