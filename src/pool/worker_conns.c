/*
 * The connections that a worker holds, from the moment it takes them until it closes them or hands
 * them over. See worker_state.h.
 */
#include <errno.h>
#include <unistd.h>

#include "echopool/pool/conn_io.h"
#include "echopool/pool/worker_state.h"

static bool logs_connections(const struct worker *w)
{
	return atomic_load_explicit(&w->options.tuning->log_connections, memory_order_relaxed);
}

static struct deadline_list *list_of(struct worker *w, const struct conn *c)
{
	return c->pending ? &w->writing : &w->reading;
}

/* Counts those to whom bytes are owed, or not any more. */
static void note_owing(struct worker *w, struct conn *c, bool owing)
{
	if (c->owing != owing)
		stat_add(&w->stats.owing, owing ? 1 : UINT64_MAX);
	c->owing = owing;
}

static bool watch(struct worker *w, struct conn *c)
{
	return w->engine->calls->watch(w->engine, c);
}

/* Of a connection that its engine does not watch any more. */
static void end(struct worker *w, struct conn *c, enum conn_end why)
{
	deadline_list_remove(&c->deadline);
	note_owing(w, c, false);
	w->held--;
	worker_must_take(w);
	/* Before the close: a client that sees it may connect again at once. */
	access_release(w->options.access, &c->counted, true);
	conn_close(c, why, tuned(&w->options.tuning->write_ms), logs_connections(w), &w->stats);
}

void worker_close(struct worker *w, struct conn *c, enum conn_end why)
{
	/* What has come meanwhile is echoed; that its peer has ended it is not the reason now. */
	w->engine->calls->forget(w->engine, c);
	end(w, c, why);
}

/* Closes an arrival that there is no memory for. */
static void drop_arrival(struct worker *w, struct arrival *a)
{
	worker_must_take(w);
	access_release(w->options.access, &a->counted, true);
	stat_add(&w->stats.ended[CONN_END_ERROR], 1);
	close(a->fd); /* nothing was read from it, so no error matters */
	a->fd = -1;
	if (logs_connections(w))
		conn_log_closed(&a->peer, 0, 0, a->accepted_ns, conn_end_name(CONN_END_ERROR),
				ENOMEM);
}

void worker_adopt(struct worker *w, struct arrival *a)
{
	struct conn *c;

	access_serve(w->options.access, &a->counted);
	c = conn_new(a);
	stat_add(&w->stats.taken, 1);
	if (!c) {
		drop_arrival(w, a);
		return;
	}
	w->held++;
	deadline_list_append(&w->reading, &c->deadline, w->now_ns);
	if (!watch(w, c))
		end(w, c, CONN_END_ERROR);
}

/*
 * Those that wait for their client start their idle time afresh, which needs no search. A client
 * that does not read cannot gain time by it.
 */
void worker_adopt_handed(struct worker *w, struct deadline_list *handed)
{
	struct deadline_entry *oldest;

	while ((oldest = deadline_list_oldest(handed))) {
		struct conn *c = conn_of_deadline(oldest);

		deadline_list_remove(oldest);
		w->held++;
		stat_add(&w->stats.handed_in, 1);
		c->owing = false; /* another worker has counted it */
		note_owing(w, c, c->pending != NULL);
		if (c->pending)
			deadline_list_insert(&w->writing, oldest);
		else
			deadline_list_append(&w->reading, oldest, w->now_ns);
		if (!watch(w, c))
			end(w, c, CONN_END_ERROR);
	}
}

void worker_hand_over(struct worker *w)
{
	struct conn *c;
	uint32_t count;

	w->engine->calls->forget_all(w->engine, &w->reading, &w->writing);
	while ((c = w->engine->calls->next(w->engine)))
		worker_serve(w, c);
	count = w->held;
	stat_add(&w->stats.handed_out, count);
	atomic_store_explicit(&w->stats.owing, 0, memory_order_relaxed);
	w->held = 0;
	deadline_list_move_all(&w->reading, &w->writing);
	queue_hand_over(w->options.queue, w->index, &w->reading, count);
}

void worker_give(struct worker *w, struct deadline_entry *first, uint32_t count, unsigned int to)
{
	struct deadline_list given;
	uint32_t left = 0;

	deadline_list_init(&given);
	for (uint32_t i = 0; i < count; i++) {
		struct deadline_entry *e = first;
		struct conn *c = conn_of_deadline(e);

		first = e->next;
		if (w->engine->calls->forget(w->engine, c) == CONN_WANT_CLOSE) {
			end(w, c, c->end);
			continue;
		}
		note_owing(w, c, false);
		deadline_list_remove(e);
		deadline_list_append(&given, e, e->since_ns);
		left++;
	}
	w->held -= left;
	stat_add(&w->stats.rebalanced, left);
	queue_give(w->options.queue, w->index, to, &given, left);
}

void worker_serve(struct worker *w, struct conn *c)
{
	struct deadline_list *const list = list_of(w, c);
	const uint64_t moved_bytes = c->received_bytes + c->sent_bytes;

	if (w->engine->calls->serve(w->engine, c) == CONN_WANT_CLOSE) {
		end(w, c, c->end);
	} else if (list_of(w, c) != list) {
		c->moved_ns = w->now_ns;
		note_owing(w, c, c->pending != NULL);
		deadline_list_remove(&c->deadline);
		deadline_list_append(list_of(w, c), &c->deadline, w->now_ns);
	} else if (c->received_bytes + c->sent_bytes != moved_bytes) {
		c->moved_ns = w->now_ns;
		deadline_list_touch(list, &c->deadline, w->now_ns);
	}
}

static void close_list(struct worker *w, struct deadline_list *list)
{
	struct deadline_entry *oldest;

	while ((oldest = deadline_list_oldest(list)))
		worker_close(w, conn_of_deadline(oldest), CONN_END_DRAIN);
}

void worker_close_all(struct worker *w)
{
	close_list(w, &w->reading);
	close_list(w, &w->writing);
}
