/*
 * One "path=value", as given with -o or printed by -T, into a path and a value, without libconfig.
 * One thread at a time.
 */
#ifndef ECHOPOOL_CONFIG_OVERRIDE_H
#define ECHOPOOL_CONFIG_OVERRIDE_H

#include "echopool/config/value.h"

struct override {
	char *path; /* owned; the value's raw text lies behind it */
	struct value value;
};

/*
 * Parses text, which must outlive o: a number, a quoted string, true, false or an array as in a
 * file; any other text is a string. The index counts the overrides and orders the messages. False:
 * it is none, which is told in f. The caller frees o with override_free() in either case.
 */
bool override_parse(struct override *o, const char *text, size_t index, struct findings *f);

void override_free(struct override *o);

#endif
