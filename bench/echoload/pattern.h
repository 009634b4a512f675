/*
 * The bytes that echoload sends. Each connection sends an endless stream of random bytes, which
 * repeats after a prime number of them. Comparing the answer with the same stream shows a byte that
 * is changed, lost, doubled or moved. The pattern is made before the threads start, then only read.
 */
#ifndef ECHOLOAD_PATTERN_H
#define ECHOLOAD_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* A prime, and small enough that all of it stays in a CPU's cache. */
#define PATTERN_PERIOD 65521U

/* So many bytes of the stream lie in a row, from any position on. */
#define PATTERN_CHUNK (128U << 10)

/* A position in a stream. */
struct pattern_position {
	uint64_t bytes; /* since the connection began */
	uint32_t at;    /* in the pattern, below PATTERN_PERIOD */
};

/* Fills the pattern. Main thread, once. */
void pattern_init(void);

/* The start of the stream of a connection; its index gives it another one than its neighbours'. */
struct pattern_position pattern_start(uint32_t index);

/* At least PATTERN_CHUNK bytes of the stream from here. */
const unsigned char *pattern_bytes(const struct pattern_position *position);

void pattern_advance(struct pattern_position *position, uint32_t count);

/*
 * Compares count bytes, at most PATTERN_CHUNK, with the stream from position. Returns how many
 * differ; first gets the index of the first of them.
 */
uint32_t pattern_count_wrong(const struct pattern_position *position, const unsigned char *bytes,
			     uint32_t count, uint32_t *first);

#endif
