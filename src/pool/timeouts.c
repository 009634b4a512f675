/*
 * When a worker closes a connection for its silence: timeouts.idle, timeouts.write, and
 * timeouts.idle_when_full while others wait. See worker_state.h.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "echopool/base/clock.h"
#include "echopool/pool/worker_state.h"

/* How long a worker waits to offer connections again after an offer that was not needed. */
#define OFFER_PERIOD_NS (10 * NS_PER_MS)

/* How often a connection with pending bytes is checked within timeouts.write. */
#define WRITE_CHECKS 8

/* Whether what the connection waits for has come true already. */
static bool is_ready(const struct conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = c->pending ? POLLOUT : POLLIN};
	int n;

	do
		n = poll(&p, 1, 0);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/*
 * Closes the oldest of a list, whose time has come. A connection on which something has happened is
 * served instead: when the process was stopped for a while, or a batch of events was full, epoll
 * has not reported it yet.
 */
static void close_if_silent(struct worker *w, struct deadline_list *list, enum conn_end end)
{
	struct deadline_entry *oldest = deadline_list_oldest(list);
	const uint64_t since_ns = oldest->since_ns;

	if (is_ready(conn_of_deadline(oldest)))
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

uint32_t timeouts_count_evictable(const struct worker *w)
{
	return deadline_list_count_expired(&w->reading, evict_ms(w), w->now_ns, QUEUE_TAKE_MAX);
}

void timeouts_evict(struct worker *w, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		close_if_silent(w, &w->reading, CONN_END_IDLE_WHEN_FULL);
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

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t timeouts_next_ns(const struct worker *w)
{
	const struct worker_tuning *t = w->options.tuning;
	uint64_t deadline = sooner(deadline_list_next_ns(&w->reading, tuned(&t->idle_ms)),
				   deadline_list_next_ns(&w->writing, check_ms(w)));
	uint64_t offer;

	if (!w->saturated)
		return deadline;
	offer = deadline_list_next_ns(&w->reading, evict_ms(w));
	if (offer < w->offered_ns + OFFER_PERIOD_NS)
		offer = w->offered_ns + OFFER_PERIOD_NS;
	return sooner(deadline, offer);
}

void timeouts_apply(struct worker *w)
{
	while (deadline_list_next_ns(&w->reading, tuned(&w->options.tuning->idle_ms)) <= w->now_ns)
		close_if_silent(w, &w->reading, CONN_END_IDLE);
	check_writing(w);
	if (w->saturated && timeouts_next_ns(w) <= w->now_ns)
		worker_must_take(w);
}
