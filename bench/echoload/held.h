/*
 * For how long a thread of the load was held up: something waited for it for more than LATE_NS, an
 * answer that had come or a message that was due. Each struct is used by one thread.
 */
#ifndef ECHOLOAD_HELD_H
#define ECHOLOAD_HELD_H

#include <stdint.h>

#include "tally.h"

/* The latest time in which it was held up. */
struct held {
	uint64_t from_ns;
	uint64_t until_ns;
};

/*
 * Something has waited for the thread from from_ns to now_ns, which never goes back. Returns by how
 * much the time in which it was held up is longer than was known.
 */
static inline uint64_t held_note(struct held *h, uint64_t from_ns, uint64_t now_ns)
{
	uint64_t more_ns;

	if (now_ns <= from_ns + LATE_NS)
		return 0;
	if (from_ns > h->until_ns) {
		*h = (struct held){.from_ns = from_ns, .until_ns = now_ns};
		return now_ns - from_ns;
	}
	more_ns = now_ns - h->until_ns;
	h->until_ns = now_ns;
	if (from_ns < h->from_ns) {
		more_ns += h->from_ns - from_ns;
		h->from_ns = from_ns;
	}
	return more_ns;
}

#endif
