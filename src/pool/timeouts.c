/*
 * When a worker closes a connection for its silence, timeouts.idle and timeouts.write, and which
 * one to make room for others that wait. See worker_state.h.
 *
 * While arrivals wait and no worker has room, each worker looks ten times a second, and at once
 * after each success, for one connection to close for one that waits:
 *
 *  1. Fair: if the address of which workers hold most has more by two than that of who waits, and
 *     has waited for half a second, the longest silent of it goes, or if all of it that a worker
 *     holds do not read, one of these.
 *     This never meets an address that holds no more than an equal share, and never the only one.
 *  2. Silent: otherwise the longest silent, if it is silent for timeouts.idle_when_full, goes for
 *     one of its own address or of one with less. So who holds most cannot push out who holds few.
 */
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "echopool/base/clock.h"
#include "echopool/pool/worker_state.h"

/* How long a worker that has found none to close for others waits until it looks again. */
#define LOOK_PERIOD_NS (100 * NS_PER_MS)

/*
 * How long a connection waits before one of another address is closed for it. A short rush passes
 * in less, and closes nobody; with the look period a newcomer is served within a second.
 */
#define PATIENCE_NS (500 * NS_PER_MS)

/* How often a connection with pending bytes is checked within timeouts.write. */
#define WRITE_CHECKS 8

/* Whether what the connection waits for has come true already. */
static bool is_ready(const struct worker *w, struct conn *c)
{
	return w->engine->calls->is_ready(w->engine, c);
}

/*
 * Closes the oldest of a list, whose time has come. A connection on which something has happened is
 * served instead: when the process was stopped for a while, or a batch of events was full, its
 * engine has not reported it yet.
 */
static void close_if_silent(struct worker *w, struct deadline_list *list, enum conn_end end)
{
	struct deadline_entry *oldest = deadline_list_oldest(list);
	const uint64_t since_ns = oldest->since_ns;

	if (is_ready(w, conn_of_deadline(oldest)))
		worker_serve(w, conn_of_deadline(oldest));
	if (deadline_list_oldest(list) == oldest && oldest->since_ns == since_ns)
		worker_close(w, conn_of_deadline(oldest), end);
}

/* How long a silent connection may stay while others wait; 0: for ever. */
static uint32_t evict_ms(const struct worker *w)
{
	const uint32_t idle_ms = tuned(&w->options.tuning->idle_ms);
	const uint32_t when_full_ms = tuned(&w->options.tuning->idle_when_full_ms);

	if (when_full_ms == 0 || (idle_ms && idle_ms < when_full_ms))
		return idle_ms;
	return when_full_ms;
}

/* The first of an address. */
static struct conn *find_address(const struct deadline_list *list, const struct address_key *key)
{
	for (struct deadline_entry *e = list->head.next; e != &list->head; e = e->next)
		if (memcmp(&conn_of_deadline(e)->counted, key, sizeof(*key)) == 0)
			return conn_of_deadline(e);
	return NULL;
}

/* The longest silent that may be closed for its silence. */
static struct conn *find_silent(struct worker *w, const struct address_key *waiting)
{
	const uint64_t ms = evict_ms(w);
	const struct deadline_list *list = &w->reading;

	for (struct deadline_entry *e = list->head.next; ms && e != &list->head; e = e->next) {
		struct conn *c = conn_of_deadline(e);

		if (e->since_ns + ms * NS_PER_MS > w->now_ns)
			return NULL;
		if (access_may_replace(w->options.access, &c->counted, waiting))
			return c;
	}
	return NULL;
}

/* One of the heaviest address. */
static struct conn *find_crowding(struct worker *w, const struct address_key *heaviest)
{
	struct conn *c = find_address(&w->reading, heaviest);

	return c ? c : find_address(&w->writing, heaviest);
}

/* Closes one for another that waits, so the next may be looked for at once. */
static void close_for_another(struct worker *w, struct conn *c, enum conn_end end)
{
	w->look_ns = w->now_ns;
	if (end == CONN_END_IDLE_WHEN_FULL && is_ready(w, c))
		worker_serve(w, c); /* its engine has not reported it yet */
	else
		worker_close(w, c, end);
}

void timeouts_make_room(struct worker *w, const struct address_key *waiting, uint64_t since_ns)
{
	const bool is_patient = since_ns + PATIENCE_NS <= w->now_ns;
	struct address_key heaviest;
	struct conn *c;

	/* Nobody else goes for its silence while the heaviest will make room. */
	if (access_is_crowded(w->options.access, waiting, &heaviest)) {
		c = is_patient ? find_crowding(w, &heaviest) : NULL;
		if (c)
			close_for_another(w, c, CONN_END_CROWDED);
	} else {
		c = find_silent(w, waiting);
		if (c)
			close_for_another(w, c, CONN_END_IDLE_WHEN_FULL);
	}
}

bool timeouts_may_look(struct worker *w)
{
	if (w->held == 0 || w->look_ns > w->now_ns)
		return false;
	w->look_ns = w->now_ns + LOOK_PERIOD_NS;
	return true;
}

/*
 * When the peer took something last. What it takes makes room for bytes that the kernel sends at
 * once, so one that takes some has both acknowledged and been sent something lately. One that only
 * answers the probes of its closed window is sent nothing; one that is gone is sent the same bytes
 * again, and acknowledges nothing.
 */
static uint64_t taken_ns(const struct worker *w, const struct conn *c)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);
	uint64_t taken_ns = 0;

	if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0) {
		const uint32_t ago_ms = info.tcpi_last_data_sent > info.tcpi_last_ack_recv
						? info.tcpi_last_data_sent
						: info.tcpi_last_ack_recv;

		taken_ns = w->now_ns - ago_ms * NS_PER_MS;
	}
	return taken_ns > c->moved_ns ? taken_ns : c->moved_ns;
}

/* The time between two checks of a connection with pending bytes; 0: it is never checked. */
static uint32_t check_ms(const struct worker *w)
{
	return (tuned(&w->options.tuning->write_ms) + WRITE_CHECKS - 1) / WRITE_CHECKS;
}

/*
 * Checks the connections with pending bytes whose turn it is. Room to write is reported in larger
 * steps than those in which a slow reader takes its bytes, so the kernel is asked.
 */
static void check_writing(struct worker *w)
{
	const uint32_t write_ms = tuned(&w->options.tuning->write_ms);

	while (deadline_list_next_ns(&w->writing, check_ms(w)) <= w->now_ns) {
		struct deadline_entry *oldest = deadline_list_oldest(&w->writing);

		if (taken_ns(w, conn_of_deadline(oldest)) + write_ms * NS_PER_MS > w->now_ns)
			deadline_list_touch(&w->writing, oldest, w->now_ns);
		else
			close_if_silent(w, &w->writing, CONN_END_WRITE);
	}
}

uint64_t timeouts_next_ns(const struct worker *w)
{
	const struct worker_tuning *t = w->options.tuning;
	uint64_t deadline = clock_sooner(deadline_list_next_ns(&w->reading, tuned(&t->idle_ms)),
					 deadline_list_next_ns(&w->writing, check_ms(w)));

	return w->saturated ? clock_sooner(deadline, w->look_ns) : deadline;
}

void timeouts_apply(struct worker *w)
{
	while (deadline_list_next_ns(&w->reading, tuned(&w->options.tuning->idle_ms)) <= w->now_ns)
		close_if_silent(w, &w->reading, CONN_END_IDLE);
	check_writing(w);
	if (w->saturated && timeouts_next_ns(w) <= w->now_ns)
		worker_must_take(w);
}
