/*
 * When a worker looks whether it works more than another, and which of its connections it gives
 * away then. See worker_state.h, and rebalance.c for how many.
 */
#include "echopool/pool/worker_state.h"

/* More active ones than this are not looked at: half of so many go at once at most. */
#define ACTIVE_MAX 1024U

/*
 * Counts the connections that were served since then, up to ACTIVE_MAX, and returns the least
 * recent of them. Those with pending bytes do not count: what they need is a client that reads.
 */
static struct deadline_entry *find_active(const struct worker *w, uint64_t since_ns,
					  uint32_t *count)
{
	struct deadline_entry *e = w->reading.head.prev;

	for (*count = 0; e != &w->reading.head && e->since_ns >= since_ns && *count < ACTIVE_MAX;
	     e = e->prev)
		++*count;
	return e->next;
}

void share_work(struct worker *w)
{
	const uint64_t since_ns = w->meter.began_ns;
	struct deadline_entry *first;
	uint32_t work, active, count;
	unsigned int to;

	if (!atomic_load_explicit(&w->options.tuning->rebalance, memory_order_relaxed) ||
	    !work_measure(&w->meter, w->now_ns, stat_get(&w->stats.polled_ns), &work))
		return;
	first = find_active(w, since_ns, &active);
	count = queue_tell_work(w->options.queue, w->index, work, active, w->now_ns, &to);
	if (count)
		worker_give(w, first, count, to);
}
