/*
 * The times in which a thread of the load was held up: something was to be done, and this thread
 * did it more than LATE_NS later. What was due in them is late by the generator itself, whenever
 * it goes out; all else that is late is so by the server. Each struct is used by one thread.
 */
#ifndef ECHOLOAD_HELD_H
#define ECHOLOAD_HELD_H

#include <stdbool.h>
#include <stdint.h>

#include "tally.h"

/* By the time that there were so many more, what the first one held up has long gone out. */
#define HELD_KEPT 32

struct held {
	struct held_time {
		uint64_t from_ns;
		uint64_t until_ns;
	} times[HELD_KEPT];
	uint32_t last;
};

/*
 * Takes note that at now_ns the thread does what nothing but itself has kept it from doing at
 * due_ns. now_ns never goes back.
 */
static inline void held_note(struct held *h, uint64_t due_ns, uint64_t now_ns)
{
	struct held_time *last = &h->times[h->last];

	if (now_ns <= due_ns + LATE_NS)
		return;
	if (due_ns > last->until_ns) {
		h->last = (h->last + 1) % HELD_KEPT;
		h->times[h->last] = (struct held_time){.from_ns = due_ns, .until_ns = now_ns};
		return;
	}
	if (due_ns < last->from_ns)
		last->from_ns = due_ns;
	last->until_ns = now_ns;
}

/* Whether the thread was held up when something was due. */
static inline bool held_then(const struct held *h, uint64_t due_ns)
{
	for (uint32_t i = 0; i < HELD_KEPT; i++)
		if (due_ns >= h->times[i].from_ns && due_ns <= h->times[i].until_ns)
			return true;
	return false;
}

#endif
