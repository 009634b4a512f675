/*
 * Figures into log lines; see the header. Called by the main thread, which reads what the other
 * threads count; it never waits for a worker, so a full server answers too.
 *
 * The lines of many workers are more than a pipe holds. So the totals come first, and the rest as
 * fast as the reader of the log takes them. A reader that takes nothing for a while loses lines.
 */
#include "echopool/control/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/base/log_rate.h"

/* As many as the queue of a datagram socket holds, of which poll(2) does not tell whether it has
 * room: 10 where nobody has changed it (unix(7)). */
#define LINES_PER_MS 8

/* When to look again whether the log has room, and how long to do so. */
#define NO_ROOM_MS  5
#define PATIENCE_MS 1000

static uint64_t all_ended(const struct worker_stats *w)
{
	uint64_t sum = 0;

	for (unsigned int end = 0; end < CONN_END_COUNT; end++)
		sum += stat_get(&w->ended[end]);
	return sum;
}

/*
 * The ends are read before the beginnings: a connection that comes and goes between the two reads
 * counts as one held. Relaxed loads may change places, so fewer than none is taken for none.
 */
static uint64_t held_now(const struct worker_stats *w)
{
	const uint64_t gone = all_ended(w) + stat_get(&w->handed_out) + stat_get(&w->rebalanced);
	const uint64_t come = stat_get(&w->taken) + stat_get(&w->handed_in);

	return come > gone ? come - gone : 0;
}

uint64_t report_worker_connections(const struct pool *pool, unsigned int index)
{
	return held_now(pool_worker_stats(pool, index));
}

void report_reload(struct report *r, bool applied)
{
	if (applied) {
		r->reloads++;
		r->loaded_s = time(NULL);
	} else {
		r->refused_reloads++;
	}
	r->last_refused = !applied;
}

/* Not the sum of what each holds: those handed on and not fetched yet would be nobody's. */
uint64_t report_connections(const struct pool *pool)
{
	uint64_t gone = all_ended(pool_left_stats(pool));
	uint64_t come = stat_get(&pool_left_stats(pool)->taken);

	for (unsigned int i = 0; i < pool_workers(pool); i++)
		gone += all_ended(pool_worker_stats(pool, i));
	for (unsigned int i = 0; i < pool_workers(pool); i++)
		come += stat_get(&pool_worker_stats(pool, i)->taken);
	return come > gone ? come - gone : 0;
}

/* One line: whose counts, how many connections they hold or have handed on, and the counts. */
static void log_counts(const char *whose, uint64_t connections, const struct worker_stats *w)
{
	log_info("%s=%" PRIu64 " taken=%" PRIu64 " closed=%" PRIu64 " client=%" PRIu64
		 " reset=%" PRIu64 " error=%" PRIu64 " idle=%" PRIu64 " idle_when_full=%" PRIu64
		 " crowded=%" PRIu64 " write_timeout=%" PRIu64 " drain=%" PRIu64
		 " handed_in=%" PRIu64 " rebalanced=%" PRIu64 " received_bytes=%" PRIu64
		 " sent_bytes=%" PRIu64,
		 whose, connections, stat_get(&w->taken), all_ended(w),
		 stat_get(&w->ended[CONN_END_CLIENT]), stat_get(&w->ended[CONN_END_RESET]),
		 stat_get(&w->ended[CONN_END_ERROR]), stat_get(&w->ended[CONN_END_IDLE]),
		 stat_get(&w->ended[CONN_END_IDLE_WHEN_FULL]),
		 stat_get(&w->ended[CONN_END_CROWDED]), stat_get(&w->ended[CONN_END_WRITE]),
		 stat_get(&w->ended[CONN_END_DRAIN]), stat_get(&w->handed_in),
		 stat_get(&w->rebalanced), stat_get(&w->received_bytes), stat_get(&w->sent_bytes));
}

static void log_worker(unsigned int index, const struct worker_stats *w)
{
	char whose[sizeof("worker= connections") + 10];

	snprintf(whose, sizeof(whose), "worker=%u connections", index);
	log_counts(whose, held_now(w), w);
}

static void log_left(uint64_t workers, const struct worker_stats *sums)
{
	char whose[sizeof("left workers= handed_out") + 20];

	snprintf(whose, sizeof(whose), "left workers=%" PRIu64 " handed_out", workers);
	log_counts(whose, stat_get(&sums->handed_out), sums);
}

static void log_queue(struct report *r, const struct parts *p)
{
	const struct queue_figures q = queue_figures(p->queue);
	const struct acceptor_figures f = acceptor_figures(p->acceptor);
	struct wait_totals sum, waits;

	pool_sum_waits(p->pool, &sum);
	waits = sum;
	wait_totals_subtract(&waits, &r->earlier);
	r->earlier = sum;
	log_info("queue waiting=%" PRIu32 " accepted=%" PRIu64 " refused=%" PRIu64
		 " rejected=%" PRIu64 " expired=%" PRIu64 " failed=%" PRIu64 " denied=%" PRIu64
		 " too_many=%" PRIu64 " no_memory=%" PRIu64 " crowded=%" PRIu64
		 " wait_us_p50=%" PRIu64 " wait_us_p99=%" PRIu64 " wait_us_max=%" PRIu64,
		 q.waiting, q.pushed, f.refused, f.rejected, f.expired, f.failed, f.denied,
		 f.too_many, f.no_memory, f.crowded, wait_totals_quantile(&waits, 0.50),
		 wait_totals_quantile(&waits, 0.99), wait_totals_quantile(&waits, 1.0));
}

void report_begin(struct report *r, const struct parts *p)
{
	if (r->under_way) {
		r->again = true;
		return;
	}
	log_rate_tell();
	log_queue(r, p);
	log_info("reload applied=%" PRIu64 " refused=%" PRIu64, r->reloads, r->refused_reloads);
	if (pool_left(p->pool))
		log_left(pool_left(p->pool), pool_left_stats(p->pool));
	r->under_way = true;
	r->next_worker = 0;
	r->due_ns = clock_now_ns();
	r->patience_ns = r->due_ns + PATIENCE_MS * NS_PER_MS;
}

uint64_t report_due_ns(const struct report *r)
{
	return r->under_way ? r->due_ns : UINT64_MAX;
}

static void log_next_worker(struct report *r, const struct pool *pool)
{
	log_worker(r->next_worker, pool_worker_stats(pool, r->next_worker));
	r->next_worker++;
}

void report_continue(struct report *r, const struct parts *p)
{
	const uint64_t now_ns = clock_now_ns();

	if (now_ns < report_due_ns(r))
		return;
	r->due_ns = now_ns + NS_PER_MS;
	for (int i = 0; i < LINES_PER_MS && r->next_worker < pool_workers(p->pool); i++) {
		if (log_has_room()) {
			r->patience_ns = now_ns + PATIENCE_MS * NS_PER_MS;
		} else if (now_ns < r->patience_ns) {
			r->due_ns = now_ns + NO_ROOM_MS * NS_PER_MS;
			return;
		}
		log_next_worker(r, p->pool);
	}
	if (r->next_worker < pool_workers(p->pool))
		return;
	r->under_way = false;
	if (r->again) {
		r->again = false;
		report_begin(r, p);
	}
}

void report_end(struct report *r, const struct parts *p)
{
	while (r->under_way && r->next_worker < pool_workers(p->pool))
		log_next_worker(r, p->pool);
	r->under_way = false;
}
