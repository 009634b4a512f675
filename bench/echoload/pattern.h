/*
 * The bytes that echoload sends. Each connection sends one endless stream of random bytes, which
 * repeats after a prime number of them, so that a byte that is changed, lost, doubled or in another
 * place is seen by comparing what comes back with the same stream. Made once before the threads
 * start, then only read.
 */
#ifndef ECHOLOAD_PATTERN_H
#define ECHOLOAD_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* A prime, and small enough that all of it stays in a CPU's cache. */
#define PATTERN_PERIOD 65521U

/* How many bytes of the stream lie one after the other from any place of it. */
#define PATTERN_CHUNK (128U << 10)

/* A place in a stream. */
struct pattern_place {
	uint64_t bytes; /* since the connection began */
	uint32_t at;    /* the same in the pattern, below PATTERN_PERIOD */
};

/* Fills the pattern. Main thread, once. */
void pattern_init(void);

/* The start of the stream of connection number index: another one for each. */
struct pattern_place pattern_start(uint32_t index);

/* At least PATTERN_CHUNK bytes of the stream from here. */
const unsigned char *pattern_bytes(const struct pattern_place *place);

void pattern_advance(struct pattern_place *place, uint32_t count);

/*
 * Compares count bytes, at most PATTERN_CHUNK, with the stream from place. Returns how many differ,
 * and in first the place of the first one among them.
 */
uint32_t pattern_count_wrong(const struct pattern_place *place, const unsigned char *bytes,
			     uint32_t count, uint32_t *first);

#endif
