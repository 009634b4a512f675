/*
 * How many of the lines that clients can cause are written: so many a second, and ten seconds'
 * worth at once. The others are counted. Any thread.
 */
#ifndef ECHOPOOL_BASE_LOG_RATE_H
#define ECHOPOOL_BASE_LOG_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* 0, which holds until the first call: all are. */
void log_rate_set(uint32_t lines_per_s);

/* Whether such a line may be written now, having told of those that were left out before it. */
bool log_rate_allows(void);

/* Tells of those that were left out since that was told last, if any. */
void log_rate_tell(void);

#endif
