/*
 * The ring of arrivals; see the header.
 */
#include "echopool/pool/ring.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool ring_init(struct ring *r, uint32_t capacity)
{
	*r = (struct ring){.capacity = capacity};
	r->items = calloc(capacity, sizeof(r->items[0]));
	return r->items != NULL;
}

void ring_free(struct ring *r)
{
	while (r->count) {
		struct arrival a = ring_pop(r);

		close(a.fd); /* nothing was read from it, so no error matters */
	}
	free(r->items);
	*r = (struct ring){0};
}

bool ring_reserve(struct ring *r, uint32_t capacity)
{
	const uint32_t to_end = r->capacity - r->head;
	struct arrival *items;

	if (capacity <= r->capacity)
		return true;
	items = calloc(capacity, sizeof(items[0]));
	if (!items)
		return false;
	memcpy(items, r->items + r->head, to_end * sizeof(items[0]));
	memcpy(items + to_end, r->items, r->head * sizeof(items[0]));
	free(r->items);
	r->items = items;
	r->head = 0;
	r->capacity = capacity;
	return true;
}

struct arrival *ring_at(const struct ring *r, uint32_t index)
{
	/* In 64 bits, as head + index may pass 2^32. */
	return &r->items[((uint64_t)r->head + index) % r->capacity];
}

void ring_push(struct ring *r, struct arrival *a)
{
	uint32_t i = r->count;

	for (; i > 0 && ring_at(r, i - 1)->weight > a->weight; i--)
		*ring_at(r, i) = *ring_at(r, i - 1);
	*ring_at(r, i) = *a;
	r->count++;
	a->fd = -1;
}

struct arrival ring_pop(struct ring *r)
{
	struct arrival a = r->items[r->head];

	r->items[r->head].fd = -1;
	r->head = r->head + 1 == r->capacity ? 0 : r->head + 1;
	r->count--;
	return a;
}

void ring_move_to_front(struct ring *r, uint32_t index)
{
	const struct arrival a = *ring_at(r, index);

	for (; index > 0; index--)
		*ring_at(r, index) = *ring_at(r, index - 1);
	*ring_at(r, 0) = a;
}
