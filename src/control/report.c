/*
 * Figures into log lines; see the header. Called by the main thread, which reads what the other
 * threads count; it never waits for a worker, so a full server answers too.
 */
#include "echopool/control/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "echopool/base/log.h"

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
	const uint64_t gone = all_ended(w) + stat_get(&w->handed_out);
	const uint64_t come = stat_get(&w->taken) + stat_get(&w->handed_in);

	return come > gone ? come - gone : 0;
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
		 " write_timeout=%" PRIu64 " drain=%" PRIu64 " handed_in=%" PRIu64
		 " received_bytes=%" PRIu64 " sent_bytes=%" PRIu64,
		 whose, connections, stat_get(&w->taken), all_ended(w),
		 stat_get(&w->ended[CONN_END_CLIENT]), stat_get(&w->ended[CONN_END_RESET]),
		 stat_get(&w->ended[CONN_END_ERROR]), stat_get(&w->ended[CONN_END_IDLE]),
		 stat_get(&w->ended[CONN_END_IDLE_WHEN_FULL]), stat_get(&w->ended[CONN_END_WRITE]),
		 stat_get(&w->ended[CONN_END_DRAIN]), stat_get(&w->handed_in),
		 stat_get(&w->received_bytes), stat_get(&w->sent_bytes));
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

void report_log(struct report *r, const struct acceptor *acceptor, struct queue *queue,
		const struct pool *pool)
{
	struct wait_totals sum, waits;
	struct acceptor_figures f;
	struct queue_figures q;

	for (unsigned int i = 0; i < pool_workers(pool); i++)
		log_worker(i, pool_worker_stats(pool, i));
	if (pool_left(pool))
		log_left(pool_left(pool), pool_left_stats(pool));
	/* After the workers: what they have taken was pushed before. */
	q = queue_figures(queue);
	f = acceptor_figures(acceptor);
	pool_sum_waits(pool, &sum);
	waits = sum;
	wait_totals_subtract(&waits, &r->earlier);
	r->earlier = sum;
	log_info("queue waiting=%" PRIu32 " accepted=%" PRIu64 " refused=%" PRIu64
		 " rejected=%" PRIu64 " expired=%" PRIu64 " failed=%" PRIu64 " denied=%" PRIu64
		 " too_many=%" PRIu64 " no_memory=%" PRIu64 " wait_us_p50=%" PRIu64
		 " wait_us_p99=%" PRIu64 " wait_us_max=%" PRIu64,
		 q.waiting, q.pushed, f.refused, f.rejected, f.expired, f.failed, f.denied,
		 f.too_many, f.no_memory, wait_totals_quantile(&waits, 0.50),
		 wait_totals_quantile(&waits, 0.99), wait_totals_quantile(&waits, 1.0));
	log_info("reload applied=%" PRIu64 " refused=%" PRIu64, r->reloads, r->refused_reloads);
}
