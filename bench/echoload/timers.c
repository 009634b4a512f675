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

static void put(struct timers *t, uint32_t place, struct alarm *a)
{
	t->heap[place] = a;
	a->place = place;
}

/* Moves an alarm from a free place to where its time belongs. */
static void settle(struct timers *t, uint32_t place, struct alarm *a)
{
	uint32_t child;

	for (; place > 1 && t->heap[place / 2]->at_ns > a->at_ns; place /= 2)
		put(t, place, t->heap[place / 2]);
	for (; (child = 2 * place) <= t->count; place = child) {
		if (child < t->count && t->heap[child + 1]->at_ns < t->heap[child]->at_ns)
			child++;
		if (t->heap[child]->at_ns >= a->at_ns)
			break;
		put(t, place, t->heap[child]);
	}
	put(t, place, a);
}

void timers_set(struct timers *t, struct alarm *a, uint64_t at_ns)
{
	a->at_ns = at_ns;
	settle(t, a->place ? a->place : ++t->count, a);
}

void timers_clear(struct timers *t, struct alarm *a)
{
	const uint32_t place = a->place;
	struct alarm *last;

	if (!place)
		return;
	a->place = 0;
	last = t->heap[t->count--];
	if (last != a)
		settle(t, place, last);
}

struct alarm *timers_first(const struct timers *t)
{
	return t->count ? t->heap[1] : NULL;
}
