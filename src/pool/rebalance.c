/*
 * How much a worker works, how much of that it gives away, and to whom; see the header. The workers
 * call all of it.
 *
 * NEVER BACK AND FORTH. Let a worker with n active connections work for own, and another for other,
 * and take each connection for one n-th of own. It gives k = n (own - other) / (2 own) of them,
 * which leaves both with the same work, rounded up only from three quarters. So after it the other
 * works more at most by half a connection's work, and gives none back: for that it would have to
 * be one and a half. A worker with one active connection gives none.
 *
 * Where connections differ, the estimate does. A worker therefore gives those of its active ones
 * that it has served least recently. Who makes all the work is served in each turn and stays; the
 * others leave it, until it has that one alone and gives none.
 *
 * What two periods measure differs too, most where threads wait for a CPU. So it is the mean of two
 * that counts, and another that works more than half as much is left alone. Who gave or was given
 * some rests for REBALANCE_PAUSE_NS, so that the next look sees what has become of it.
 *
 * A worker's time is measured by the kernel, which a worker asks once a period: the CPU time of its
 * thread, and how often that slept. The hot path counts nothing and reads no clock for it.
 */
#include "echopool/pool/rebalance.h"

#include <sys/resource.h>

#include "echopool/pool/queue_state.h"

/* Who works less than this gives nothing: there is little to gain. In thousandths of its time. */
#define BUSY 250U

uint32_t rebalance_count(uint32_t own, uint32_t active, uint32_t other)
{
	if (active < 2 || own < BUSY || 2 * other > own)
		return 0;
	return (uint32_t)((2 * (uint64_t)active * (own - other) + own) / (4 * (uint64_t)own));
}

static uint64_t ns_of(struct timeval t)
{
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_usec * NS_PER_US;
}

bool work_measure(struct work_meter *m, uint64_t now_ns, uint64_t polled_ns, uint32_t *share)
{
	const struct work_meter before = *m;
	const uint64_t elapsed_ns = now_ns - before.began_ns;
	const uint64_t idle_ns = polled_ns - before.polled_ns;
	struct rusage used;
	uint64_t busy_ns, worked;

	if (elapsed_ns < WORK_PERIOD_NS)
		return false;
	/* Where it is refused, nobody works much. */
	if (getrusage(RUSAGE_THREAD, &used) != 0)
		return false;
	*m = (struct work_meter){
		.began_ns = now_ns,
		.cpu_ns = ns_of(used.ru_utime) + ns_of(used.ru_stime),
		.polled_ns = polled_ns,
		.sleeps = used.ru_nvcsw,
	};
	if (elapsed_ns > 2 * WORK_PERIOD_NS)
		return false;
	busy_ns = m->cpu_ns - before.cpu_ns;
	/* Others may have had the CPU for some of the time that it polled. */
	worked = busy_ns > idle_ns ? (busy_ns - idle_ns) * WORK_ALL / elapsed_ns : 0;
	if (worked > WORK_ALL || (idle_ns == 0 && m->sleeps == before.sleeps))
		worked = WORK_ALL;
	*share = (uint32_t)worked;
	return true;
}

/* A worker that has not told for so long has slept, or was seldom let on a CPU. */
static bool has_told(const struct slot *s, uint64_t now_ns)
{
	return s->work_ns + 2 * WORK_PERIOD_NS >= now_ns;
}

static uint32_t work_of(const struct slot *s, uint64_t now_ns)
{
	return has_told(s, now_ns) ? s->work : 0;
}

bool slot_works_less(const struct slot *s, const struct slot *other, uint32_t step, uint64_t now_ns)
{
	const uint32_t own = work_of(s, now_ns) / step, others = work_of(other, now_ns) / step;

	return own != others ? own < others : s->held < other->held;
}

static bool rests(const struct slot *s, uint64_t now_ns)
{
	return s->rebalanced_ns + REBALANCE_PAUSE_NS > now_ns;
}

/* It rests after it gave some or was given, and gives none when it tells for the first time: others
 * that have begun to work with it have not told yet. */
static bool may_give(const struct queue *q, const struct slot *s, uint64_t now_ns) REQUIRES(q->lock)
{
	return has_told(s, now_ns) && !rests(s, now_ns) && !is_leaving(q, s) && !q->closed;
}

/* Which worker another should give some to; NULL: none has room. */
static struct slot *idlest(struct queue *q, const struct slot *giver, uint64_t now_ns)
	REQUIRES(q->lock)
{
	struct slot *best = NULL;

	for (unsigned int i = 0; i < q->workers; i++) {
		struct slot *s = &q->slots[i];

		if (s == giver || s->held >= q->worker_connections || rests(s, now_ns))
			continue;
		if (!best || slot_works_less(s, best, 1, now_ns))
			best = s;
	}
	return best;
}

uint32_t queue_tell_work(struct queue *q, unsigned int slot, uint32_t work, uint32_t active,
			 uint64_t now_ns, unsigned int *to)
{
	struct slot *s = &q->slots[slot], *other;
	uint32_t count = 0, room;

	lock_acquire(&q->lock);
	other = may_give(q, s, now_ns) ? idlest(q, s, now_ns) : NULL;
	work = has_told(s, now_ns) ? (s->work + work) / 2 : work;
	s->work = work;
	s->work_ns = now_ns;
	if (other) {
		count = rebalance_count(work, active, work_of(other, now_ns));
		room = q->worker_connections - other->held;
		count = count < room ? count : room;
	}
	if (count) {
		*to = (unsigned int)(other - q->slots);
		s->rebalanced_ns = now_ns;
		other->rebalanced_ns = now_ns;
	}
	lock_release(&q->lock);
	return count;
}
