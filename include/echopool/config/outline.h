/*
 * A configuration file as the list of what it sets: each path with its line and value, in order.
 * One thread at a time.
 */
#ifndef ECHOPOOL_CONFIG_OUTLINE_H
#define ECHOPOOL_CONFIG_OUTLINE_H

#include "echopool/config/value.h"

/* More settings than this in a file are refused. */
#define OUTLINE_ITEMS_MAX 256

struct outline_item {
	char *path; /* "pool.workers"; a group ("pool") is an item too, before its members */
	struct value value;
};

struct outline {
	struct outline_item *items;
	size_t count;
	size_t capacity;
};

/*
 * Reads text (length bytes), which must outlive o. Errors of form and doubled settings are told in
 * f; what they do not concern is in the outline all the same. The caller frees o.
 */
void outline_read(struct outline *o, const char *text, size_t length, struct findings *f);

void outline_free(struct outline *o);

#endif
