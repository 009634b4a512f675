/*
 * Counters with one writer and any number of readers. Nothing else depends on their values, so
 * relaxed order suffices; and as nobody else writes, a load and a store do where a locked add would
 * cost a bus cycle.
 */
#ifndef ECHOPOOL_BASE_COUNTER_H
#define ECHOPOOL_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

/* What one thread writes all the time begins on a line of its own. */
#define CACHE_LINE_BYTES 64

/* Adds n to a counter. Only the thread that owns the counter may call it. */
static inline void stat_add(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, old + n, memory_order_relaxed);
}

/* Reads a counter; any thread. */
static inline uint64_t stat_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
