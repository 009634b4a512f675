/*
 * Accepted connections in the order in which they came: a ring buffer without a lock of its own.
 * The queue owns it and calls these functions under its lock.
 */
#ifndef ECHOPOOL_POOL_RING_H
#define ECHOPOOL_POOL_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/address.h"
#include "echopool/pool/address_count.h"

/*
 * An accepted connection on its way to a worker. It belongs to the thread that holds it, which must
 * close fd or hand it on; fd is -1 then.
 */
struct arrival {
	int fd;
	union address peer;
	struct address_key counted; /* see access_admit() */
	uint64_t accepted_ns;       /* CLOCK_MONOTONIC */
	uint32_t weight;            /* see access_weight() */
};

/* The queue's lock protects all fields. */
struct ring {
	struct arrival *items;
	uint32_t capacity;
	uint32_t head; /* the oldest */
	uint32_t count;
};

/* Makes an empty ring for capacity arrivals, at least 1. False when memory is short. */
bool ring_init(struct ring *r, uint32_t capacity);

/* Closes what is in it, and frees it. */
void ring_free(struct ring *r);

/* Makes room for capacity arrivals at least. False, with nothing changed, when memory is short. */
bool ring_reserve(struct ring *r, uint32_t capacity);

/*
 * Puts the arrival before those at the end that have a greater weight, and takes its descriptor
 * over (a->fd becomes -1). There must be room.
 */
void ring_push(struct ring *r, struct arrival *a);

/* The one at index, from the front. */
struct arrival *ring_at(const struct ring *r, uint32_t index);

/* Removes the first; there must be one. */
struct arrival ring_pop(struct ring *r);

/* Puts the one at index before all others. */
void ring_move_to_front(struct ring *r, uint32_t index);

#endif
