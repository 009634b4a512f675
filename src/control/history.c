/*
 * Samples of each second and each minute; see the header. Main thread.
 */
#include "echopool/control/history.h"

#include <sys/resource.h>

#include "echopool/base/clock.h"
#include "echopool/control/server_state.h"

#define SECONDS_OF_A_MINUTE 60

/* Two clocks that are read one after the other may differ by more than there is. */
static uint64_t less(uint64_t whole, uint64_t part)
{
	return whole > part ? whole - part : 0;
}

/* A worker that polls has nothing to do, and others could have its CPU. */
static uint64_t process_work_ns(const struct pool *pool)
{
	uint64_t polled_ns = stat_get(&pool_left_stats(pool)->polled_ns);
	struct timespec used;

	for (unsigned int i = 0; i < pool_workers(pool); i++)
		polled_ns += stat_get(&pool_worker_stats(pool, i)->polled_ns);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used); /* it cannot fail, as clock_now_ns() */
	return less((uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec, polled_ns);
}

static uint32_t per_mille(uint64_t part, uint64_t whole)
{
	return whole ? (uint32_t)(part * 1000 / whole) : 0;
}

/* What each worker has done since the last sample; a new one has no rate yet. */
static void rate_workers(struct history *h, const struct pool *pool, uint64_t elapsed_ns)
{
	const unsigned int before = h->workers;

	h->workers = pool_workers(pool);
	for (unsigned int i = 0; i < h->workers; i++) {
		struct worker_rate *r = &h->rates[i];
		const struct worker_rate last = *r;

		r->cpu_ns = less(pool_worker_cpu_ns(pool, i),
				 stat_get(&pool_worker_stats(pool, i)->polled_ns));
		r->sent_bytes = stat_get(&pool_worker_stats(pool, i)->sent_bytes);
		r->cpu = 0;
		r->bytes_per_s = 0;
		/* Another worker may have its number now. */
		if (i >= before || r->cpu_ns < last.cpu_ns || r->sent_bytes < last.sent_bytes)
			continue;
		r->cpu = per_mille(r->cpu_ns - last.cpu_ns, elapsed_ns);
		r->bytes_per_s = (r->sent_bytes - last.sent_bytes) * NS_PER_S / elapsed_ns;
	}
}

static void end_minute(struct history *h)
{
	struct sample *m = &h->minutes[h->minute_count++ % HISTORY_MINUTES];

	*m = (struct sample){
		.connections = (uint32_t)(h->sums[0] / SECONDS_OF_A_MINUTE),
		.waiting = (uint32_t)(h->sums[1] / SECONDS_OF_A_MINUTE),
		.saturated = (uint32_t)(h->sums[2] / SECONDS_OF_A_MINUTE),
		.cpu = (uint32_t)(h->sums[3] / SECONDS_OF_A_MINUTE),
	};
	for (int i = 0; i < 4; i++)
		h->sums[i] = 0;
}

static void add(struct history *h, const struct sample *s)
{
	h->seconds[h->second_count++ % HISTORY_SECONDS] = *s;
	h->sums[0] += s->connections;
	h->sums[1] += s->waiting;
	h->sums[2] += s->saturated;
	h->sums[3] += s->cpu;
	if (h->second_count % SECONDS_OF_A_MINUTE == 0)
		end_minute(h);
}

void history_tick(struct history *h, const struct server *v)
{
	const uint64_t now_ns = clock_now_ns(), elapsed_ns = now_ns - h->at_ns;
	const bool is_first = h->at_ns == 0;
	struct queue_figures q;
	uint64_t cpu_ns, saturated_ns;

	if (now_ns < history_due_ns(h))
		return;
	q = queue_figures(v->parts.queue);
	cpu_ns = process_work_ns(v->parts.pool);
	saturated_ns = spell_total_ns(&q.saturated, now_ns);
	rate_workers(h, v->parts.pool, is_first ? NS_PER_S : elapsed_ns);
	if (!is_first)
		add(h, &(struct sample){
			       .connections = (uint32_t)report_connections(v->parts.pool),
			       .waiting = q.waiting,
			       .saturated = per_mille(saturated_ns - h->saturated_ns, elapsed_ns),
			       .cpu = per_mille(less(cpu_ns, h->cpu_ns), elapsed_ns),
		       });
	h->at_ns = now_ns;
	h->cpu_ns = cpu_ns;
	h->saturated_ns = saturated_ns;
}

uint64_t history_due_ns(const struct history *h)
{
	return h->at_ns ? h->at_ns + NS_PER_S : 0;
}

unsigned int history_size(const struct history *h, bool minutes)
{
	const uint64_t count = minutes ? h->minute_count : h->second_count;
	const uint64_t most = minutes ? HISTORY_MINUTES : HISTORY_SECONDS;

	return (unsigned int)(count < most ? count : most);
}

const struct sample *history_at(const struct history *h, bool minutes, unsigned int number)
{
	const uint64_t count = minutes ? h->minute_count : h->second_count;
	const uint64_t first = count - history_size(h, minutes);

	return minutes ? &h->minutes[(first + number) % HISTORY_MINUTES]
		       : &h->seconds[(first + number) % HISTORY_SECONDS];
}
