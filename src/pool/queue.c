/*
 * The bounded queue: a ring under one lock, a condition variable for workers that hold nothing
 * (not_empty) and one for the acceptor (not_full). Here the acceptor pushes, and the main thread
 * changes the limit and closes. How workers take is in dispatch.c, and who is woken in wake.c.
 *
 * The acceptor waits for room on not_full and checks for it before each wait; whatever makes room
 * signals it. Stop and close set their flag under the lock and then wake everybody: sleepers by a
 * broadcast, the others by their bells. tests/model checks this with spin.
 */
#include <stdlib.h>
#include <string.h>

#include "echopool/base/clock.h"
#include "echopool/pool/queue_state.h"

struct queue *queue_new(uint32_t limit, unsigned int slots)
{
	const size_t bytes = sizeof(struct queue) + slots * sizeof(struct slot);
	struct queue *q = aligned_alloc(CACHE_LINE_BYTES, bytes);

	if (!q)
		return NULL;
	memset(q, 0, bytes);
	if (!ring_init(&q->ring, limit)) {
		free(q);
		return NULL;
	}
	q->limit = limit;
	q->capacity = UINT64_MAX;
	q->worker_connections = UINT32_MAX;
	deadline_list_init(&q->handed);
	lock_init(&q->lock);
	condition_init(&q->not_empty);
	condition_init(&q->not_full);
	return q;
}

void queue_free(struct queue *q)
{
	ring_free(&q->ring);
	condition_destroy(&q->not_full);
	condition_destroy(&q->not_empty);
	lock_destroy(&q->lock);
	free(q);
}

bool queue_set_limit(struct queue *q, uint32_t limit)
{
	bool fits;

	lock_acquire(&q->lock);
	fits = ring_reserve(&q->ring, limit);
	if (fits) {
		q->limit = limit;
		queue_note_full(q);
		condition_signal(&q->not_full);
	}
	lock_release(&q->lock);
	return fits;
}

/* The newest, if the arrival should go before it; NULL: there is none. */
static const struct arrival *heavier(const struct queue *q, const struct arrival *a)
	REQUIRES(q->lock)
{
	const struct arrival *newest;

	if (q->ring.count == 0)
		return NULL;
	newest = ring_at(&q->ring, q->ring.count - 1);
	return newest->weight > a->weight ? newest : NULL;
}

bool queue_push(struct queue *q, struct arrival *a, bool asked, struct arrival *displaced)
{
	bool room;

	displaced->fd = -1;
	lock_acquire(&q->lock);
	/* Only the acceptor fills the ring, and it never shrinks: room that was there is there. */
	room = q->ring.count < (asked ? q->ring.capacity : q->limit);
	if (!room && heavier(q, a)) {
		*displaced = *heavier(q, a);
		q->ring.count--;
		room = true;
	}
	if (room) {
		ring_push(&q->ring, a);
		q->pushed++;
		queue_note_full(q);
		queue_wake_next(q);
	}
	lock_release(&q->lock);
	return room;
}

static uint32_t room_now(const struct queue *q)
{
	return q->ring.count < q->limit ? q->limit - q->ring.count : 0;
}

uint32_t queue_wait_for_room(struct queue *q, uint64_t deadline_ns)
{
	uint32_t room;

	lock_acquire(&q->lock);
	while (!room_now(q) && !q->interrupted && clock_now_ns() < deadline_ns)
		condition_wait_until(&q->not_full, &q->lock, deadline_ns);
	room = q->interrupted ? 0 : room_now(q);
	q->interrupted = false;
	lock_release(&q->lock);
	return room;
}

uint32_t queue_make_room(struct queue *q, uint32_t more)
{
	uint32_t room;

	lock_acquire(&q->lock);
	room = ring_reserve(&q->ring, q->ring.count + more) ? more : room_now(q);
	lock_release(&q->lock);
	return room;
}

void queue_interrupt(struct queue *q)
{
	lock_acquire(&q->lock);
	q->interrupted = true;
	condition_signal(&q->not_full);
	lock_release(&q->lock);
}

/*
 * Where the one is that has waited longest: the first, unless lighter ones have overtaken it. Those
 * of one weight are in the order in which they came.
 */
static uint32_t longest_waiting(const struct queue *q) REQUIRES(q->lock)
{
	const uint32_t last = q->ring.count - 1;
	uint32_t longest = 0;

	if (ring_at(&q->ring, 0)->weight == ring_at(&q->ring, last)->weight)
		return 0;
	for (uint32_t i = 1; i <= last; i++)
		if (ring_at(&q->ring, i)->accepted_ns < ring_at(&q->ring, longest)->accepted_ns)
			longest = i;
	return longest;
}

bool queue_expire(struct queue *q, uint32_t timeout_ms, uint64_t now_ns, struct arrival *a,
		  uint64_t *deadline_ns)
{
	bool expired = false;
	uint32_t longest = 0;

	*deadline_ns = UINT64_MAX;
	lock_acquire(&q->lock);
	if (q->ring.count && timeout_ms) {
		longest = longest_waiting(q);
		*deadline_ns = ring_at(&q->ring, longest)->accepted_ns + timeout_ms * NS_PER_MS;
		expired = *deadline_ns <= now_ns;
	}
	if (expired) {
		ring_move_to_front(&q->ring, longest);
		*a = queue_pop(q);
	}
	lock_release(&q->lock);
	return expired;
}

bool queue_take_back(struct queue *q, struct arrival *a)
{
	bool any;

	lock_acquire(&q->lock);
	any = q->ring.count > 0;
	if (any)
		*a = queue_pop(q);
	lock_release(&q->lock);
	return any;
}

static void end(struct queue *q) REQUIRES(q->lock)
{
	q->closed = true;
	condition_broadcast(&q->not_empty);
	queue_ring_all(q);
}

void queue_close(struct queue *q)
{
	lock_acquire(&q->lock);
	end(q);
	lock_release(&q->lock);
}

void queue_stop(struct queue *q)
{
	lock_acquire(&q->lock);
	q->stopped = true;
	end(q);
	lock_release(&q->lock);
}

bool queue_watch(struct queue *q, const struct bell *bell)
{
	bool watches;

	lock_acquire(&q->lock);
	watches = q->starving.since_ns == 0;
	if (watches)
		atomic_store_explicit(&q->watcher, bell, memory_order_relaxed);
	lock_release(&q->lock);
	return watches;
}

bool queue_watch_is_over(const struct queue *q)
{
	return atomic_load_explicit(&q->watcher, memory_order_relaxed) == NULL;
}

struct queue_figures queue_figures(struct queue *q)
{
	struct queue_figures f;

	lock_acquire(&q->lock);
	f = (struct queue_figures){
		.waiting = q->ring.count,
		.limit = q->limit,
		.pushed = q->pushed,
		.saturated = q->starving,
		.full = q->full,
	};
	if (f.waiting)
		f.oldest_ns = ring_at(&q->ring, longest_waiting(q))->accepted_ns;
	lock_release(&q->lock);
	return f;
}
