/*
 * The times in which a thread of the load was held up: it did something more than LATE_NS after it
 * was due. A message that was due in such a time, and had room, is late by the generator until the
 * time ends; any other late message is late by the server. Each struct is used by one thread.
 */
#ifndef ECHOLOAD_HELD_H
#define ECHOLOAD_HELD_H

#include <stdint.h>

#include "tally.h"

/* What the oldest held up has long gone out when so many more have come. */
#define HELD_KEPT 32

struct held {
	struct held_time {
		uint64_t from_ns;
		uint64_t until_ns;
	} times[HELD_KEPT];
	uint32_t last;
};

/*
 * Notes that the thread does at now_ns what only the thread itself has kept from being done at
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

/* For how long after due_ns the thread was held up; 0: it was not. */
static inline uint64_t held_for(const struct held *h, uint64_t due_ns)
{
	for (uint32_t i = 0; i < HELD_KEPT; i++)
		if (due_ns >= h->times[i].from_ns && due_ns <= h->times[i].until_ns)
			return h->times[i].until_ns - due_ns;
	return 0;
}

/*
 * The earliest time at which something can have come that the thread finds at now_ns, and did not
 * find at before_ns. The thread is woken at once, unless it is held up.
 */
static inline uint64_t held_came(const struct held *h, uint64_t before_ns, uint64_t now_ns)
{
	const struct held_time *last = &h->times[h->last];

	if (last->until_ns <= before_ns)
		return now_ns;
	return last->from_ns > before_ns ? last->from_ns : before_ns;
}

#endif
