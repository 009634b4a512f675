/*
 * The connections that a worker holds; see worker_state.h.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "echopool/base/thread.h"
#include "echopool/pool/worker_state.h"

static bool logs_connections(const struct worker *w)
{
	return atomic_load_explicit(&w->options.tuning->log_connections, memory_order_relaxed);
}

void worker_close_conn(struct worker *w, struct conn *c, enum conn_end end)
{
	deadline_list_remove(&c->deadline);
	w->held--;
	w->look = true;
	/*
	 * Closing a descriptor takes it out of the set only if nobody has a copy, and a child that
	 * is being started for a reload has one until it executes (epoll(7), Q6). Not in the set:
	 * it could not be watched.
	 */
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL) != 0 && errno != ENOENT)
		fail(errno, "epoll_ctl");
	/* Before the close: who sees it may come again at once. */
	access_release(w->options.access, &c->peer);
	conn_close(c, end, logs_connections(w), &w->stats);
}

/* Has epoll watch for what the connection wants; operation is EPOLL_CTL_ADD or EPOLL_CTL_MOD. */
static bool watch(struct worker *w, int operation, struct conn *c)
{
	struct epoll_event event = {.events = c->owed ? EPOLLOUT : EPOLLIN, .data.ptr = c};

	if (epoll_ctl(w->epoll_fd, operation, c->fd, &event) == 0)
		return true;
	c->error = errno;
	return false;
}

void worker_adopt(struct worker *w, struct arrival *a)
{
	struct conn *c = conn_new(a);

	stat_add(&w->stats.taken, 1);
	if (!c) {
		w->look = true;
		access_release(w->options.access, &a->peer);
		stat_add(&w->stats.ended[CONN_END_ERROR], 1);
		close(a->fd); /* nothing was read from it, so no error matters */
		a->fd = -1;
		if (logs_connections(w))
			conn_log_closed(&a->peer, 0, 0, a->accepted_ns,
					conn_end_name(CONN_END_ERROR), ENOMEM);
		return;
	}
	w->held++;
	deadline_list_append(&w->reading, &c->deadline, w->now_ns);
	if (!watch(w, EPOLL_CTL_ADD, c))
		worker_close_conn(w, c, CONN_END_ERROR);
}

/*
 * Takes over the connections of workers that left, as they are: what they are owed, and since when
 * they wait. Those of one worker come newest first.
 */
static void insert_handed(struct worker *w, struct queue_link *links)
{
	struct deadline_entry *near_reading = NULL, *near_owing = NULL;

	while (links) {
		struct conn *c = conn_of_link(links);

		links = links->next;
		w->held++;
		stat_add(&w->stats.handed_in, 1);
		if (c->owed) {
			deadline_list_insert(&w->owing, &c->deadline, near_owing);
			near_owing = &c->deadline;
		} else {
			deadline_list_insert(&w->reading, &c->deadline, near_reading);
			near_reading = &c->deadline;
		}
	}
}

/* A second pass: a connection that cannot be watched ends, and must not be near the next one then.
 */
static void watch_handed(struct worker *w, struct queue_link *links)
{
	while (links) {
		struct conn *c = conn_of_link(links);

		links = links->next;
		if (!watch(w, EPOLL_CTL_ADD, c))
			worker_close_conn(w, c, CONN_END_ERROR);
	}
}

void worker_adopt_handed(struct worker *w, struct queue_link *links)
{
	insert_handed(w, links);
	watch_handed(w, links);
}

/* Prepends the connections of a list to links, newest first: queue_hand_over() turns them round. */
static struct queue_link *unlink_all(struct worker *w, struct deadline_list *list,
				     struct queue_link *links)
{
	struct deadline_entry *e;

	while ((e = deadline_list_newest(list))) {
		struct conn *c = conn_of_deadline(e);

		deadline_list_remove(e);
		w->held--;
		stat_add(&w->stats.handed_out, 1);
		/* It fails only for a descriptor that is not in the set, and each is. */
		if (epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL) != 0)
			fail(errno, "epoll_ctl");
		c->link.next = links;
		links = &c->link;
	}
	return links;
}

void worker_hand_over(struct worker *w)
{
	struct queue_link *links = unlink_all(w, &w->owing, NULL);

	queue_hand_over(w->options.queue, w->index, unlink_all(w, &w->reading, links));
}

void worker_serve(struct worker *w, struct conn *c)
{
	const bool owed = c->owed != NULL;
	const uint64_t sent_bytes = c->sent_bytes;
	const enum conn_want want = conn_serve(c, w->buffer, w->buffer_bytes, &w->stats);

	if (want == CONN_WANT_CLOSE) {
		worker_close_conn(w, c, c->end);
	} else if (owed == (want == CONN_WANT_WRITE)) {
		if (c->sent_bytes != sent_bytes)
			deadline_list_touch(owed ? &w->owing : &w->reading, &c->deadline,
					    w->now_ns);
	} else {
		deadline_list_remove(&c->deadline);
		deadline_list_append(owed ? &w->reading : &w->owing, &c->deadline, w->now_ns);
		if (!watch(w, EPOLL_CTL_MOD, c))
			worker_close_conn(w, c, CONN_END_ERROR);
	}
}

static void close_list(struct worker *w, struct deadline_list *list)
{
	struct deadline_entry *e;

	while ((e = deadline_list_oldest(list)))
		worker_close_conn(w, conn_of_deadline(e), CONN_END_DRAIN);
}

void worker_close_all(struct worker *w)
{
	close_list(w, &w->reading);
	close_list(w, &w->owing);
}
