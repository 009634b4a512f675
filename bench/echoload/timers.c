/*
 * Alarms in the order of their time; see the header.
 */
#include "timers.h"

#include <stdlib.h>

bool timers_init(struct timers *t, uint32_t limit)
{
	t->heap = calloc((size_t)limit + 1, sizeof(struct alarm *));
	t->count = 0;
	return t->heap != NULL;
}

void timers_destroy(struct timers *t)
{
	free(t->heap);
	t->heap = NULL;
}

static void put(struct timers *t, uint32_t index, struct alarm *a)
{
	t->heap[index] = a;
	a->index = index;
}

/* Puts an alarm where its time belongs, beginning at a free index. */
static void settle(struct timers *t, uint32_t index, struct alarm *a)
{
	uint32_t child;

	for (; index > 1 && t->heap[index / 2]->at_ns > a->at_ns; index /= 2)
		put(t, index, t->heap[index / 2]);
	for (; (child = 2 * index) <= t->count; index = child) {
		if (child < t->count && t->heap[child + 1]->at_ns < t->heap[child]->at_ns)
			child++;
		if (t->heap[child]->at_ns >= a->at_ns)
			break;
		put(t, index, t->heap[child]);
	}
	put(t, index, a);
}

void timers_set(struct timers *t, struct alarm *a, uint64_t at_ns)
{
	a->at_ns = at_ns;
	settle(t, a->index ? a->index : ++t->count, a);
}

void timers_clear(struct timers *t, struct alarm *a)
{
	const uint32_t index = a->index;
	struct alarm *last;

	if (!index)
		return;
	a->index = 0;
	last = t->heap[t->count--];
	if (last != a)
		settle(t, index, last);
}

struct alarm *timers_first(const struct timers *t)
{
	return t->count ? t->heap[1] : NULL;
}
