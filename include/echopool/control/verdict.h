/*
 * What is wrong, in one sentence. Main thread.
 */
#ifndef ECHOPOOL_CONTROL_VERDICT_H
#define ECHOPOOL_CONTROL_VERDICT_H

#include <stdbool.h>
#include <stddef.h>

struct server;

#define VERDICT_BYTES 256

/* Writes the sentence into text, and returns whether all is well. */
bool verdict(const struct server *v, char text[static VERDICT_BYTES]);

#endif
