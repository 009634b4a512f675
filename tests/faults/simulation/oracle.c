/*
 * What must hold at each wake-up, worked out from the sockets alone: the worker's own lists and
 * flags are not read, only what it calls and counts.
 */
#include <inttypes.h>
#include <sys/epoll.h>

#include "echopool/base/clock.h"
#include "simulation.h"

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* When the worker has to act on its silence: to close it, or to check one that does not read. */
static uint64_t deadline_of(const struct sim_socket *s)
{
	const uint32_t check_ms = (sim.tuning.write_ms + WRITE_CHECKS - 1) / WRITE_CHECKS;

	if (has_pending(s))
		return check_ms ? later(s->since_ns, s->checked_ns) + check_ms * NS_PER_MS
				: UINT64_MAX;
	return sim.tuning.idle_ms ? s->since_ns + sim.tuning.idle_ms * NS_PER_MS : UINT64_MAX;
}

/* Whether its time is over. The kernel tells in whole milliseconds when a client took something. */
static bool has_expired(const struct sim_socket *s)
{
	const uint64_t ago_ms = (sim.now_ns - s->taken_ns) / NS_PER_MS;
	const uint64_t taken_ns = later(s->since_ns, sim.now_ns - ago_ms * NS_PER_MS);

	return deadline_of(s) <= sim.now_ns &&
	       (!has_pending(s) || taken_ns + sim.tuning.write_ms * NS_PER_MS <= sim.now_ns);
}

/* How long a connection that waits for its client may stay while others wait for the worker. */
static uint32_t evict_ms(void)
{
	const uint32_t idle_ms = sim.tuning.idle_ms;
	const uint32_t when_full_ms = sim.tuning.idle_when_full_ms;

	if (when_full_ms == 0)
		return idle_ms;
	return idle_ms && idle_ms < when_full_ms ? idle_ms : when_full_ms;
}

static bool may_be_evicted(const struct sim_socket *s)
{
	return s->stage == STAGE_HELD && !has_pending(s) && evict_ms() &&
	       s->since_ns + evict_ms() * NS_PER_MS <= sim.now_ns && address_of(s) != sim.spared;
}

static bool may_be_crowded_out(const struct sim_socket *s, bool pending)
{
	return sim.is_crowded && s->stage == STAGE_HELD && has_pending(s) == pending &&
	       address_of(s) == sim.heaviest;
}

struct sim_socket *oracle_victim(void)
{
	struct sim_socket *reading = NULL, *writing = NULL, *silent = NULL;

	FOR_EACH_SOCKET(s)
	{
		if (may_be_crowded_out(s, false) && (!reading || s->since_ns < reading->since_ns))
			reading = s;
		if (may_be_crowded_out(s, true) && (!writing || s->since_ns < writing->since_ns))
			writing = s;
		if (may_be_evicted(s) && (!silent || s->since_ns < silent->since_ns))
			silent = s;
	}
	if (!sim.is_crowded)
		return silent;
	if (!sim.is_patient)
		return NULL;
	return reading ? reading : writing;
}

/* Whether s may go in place of the victim: they began at the same time, or do not read. */
static bool is_like_victim(const struct sim_socket *s)
{
	return sim.make_room && sim.victim && has_pending(s) == has_pending(sim.victim) &&
	       (has_pending(s) || s->since_ns == sim.victim->since_ns);
}

static bool is_crowded_out(const struct sim_socket *s)
{
	return is_like_victim(s) && may_be_crowded_out(s, has_pending(s)) &&
	       may_be_crowded_out(sim.victim, has_pending(s));
}

enum conn_end oracle_reason(struct sim_socket *s)
{
	if (s->doomed)
		return s->end;
	if (sim.calloc_failed && !s->watched) {
		sim.calloc_failed = false;
		return CONN_END_ERROR;
	}
	if (sim.knows_stop)
		return CONN_END_DRAIN;
	if (s->evicting && s->since_ns == s->since_at_last_check) {
		s->evicting = false;
		return CONN_END_IDLE_WHEN_FULL;
	}
	if (is_crowded_out(s)) {
		sim.make_room = false;
		return CONN_END_CROWDED;
	}
	if (has_expired(s))
		return has_pending(s) ? CONN_END_WRITE : CONN_END_IDLE;
	sim_fail(s, "closed without a reason");
}

/* A turn: one recv and the send of it, or one send of pending bytes. */
static void check_turn(struct sim_socket *s)
{
	if (!s->reported)
		return;
	s->reported = false;
	if (!s->acted)
		sim_fail(s, "was reported, and nothing was done");
	if (s->pending_at_start && s->receives > 0)
		sim_fail(s, "reads in the turn in which it flushed");
	if (has_pending(s) && s->sends == 0)
		sim_fail(s, "read and did not try to write");
}

void oracle_check(struct sim_socket *s)
{
	if (!has_pending(s) || deadline_of(s) > sim.now_ns)
		sim_fail(s, "a check before its time");
	check_turn(s);
	sim.woke_for_time = false;
	/* Otherwise the last check must follow. */
	if (!has_expired(s))
		s->checked_ns = sim.now_ns;
}

/*
 * A turn without an event: before a connection is closed for its silence it is polled once more, as
 * something may have happened that epoll has not reported.
 */
void oracle_last_check(struct sim_socket *s)
{
	const bool evicting = is_like_victim(s) && may_be_evicted(s);

	if (!evicting && !has_expired(s))
		sim_fail(s, "a last check before its time");
	check_turn(s);
	if (evicting)
		sim.make_room = false;
	s->evicting = evicting;
	s->since_at_last_check = s->since_ns;
	s->acted = false;
	s->receives = 0;
	s->sends = 0;
	sim.woke_for_time = false;
}

static void check_held(struct sim_socket *s)
{
	const uint32_t right = has_pending(s) ? EPOLLOUT : EPOLLIN;

	if (s->doomed)
		sim_fail(s, "has ended and is not closed");
	if (!s->watched || s->interest != right)
		sim_fail(s, "has %u pending bytes and is watched for 0x%x", s->received - s->echoed,
			 s->watched ? s->interest : 0);
	if (deadline_of(s) <= sim.woke_ns && s->since_ns < sim.woke_ns && !s->is_new)
		sim_fail(s, "is silent since %" PRIu64 " and not closed", s->since_ns);
	if (!has_pending(s))
		s->pending_block = false; /* which the number of blocks proves */
}

/* Blocks: the worker, its engine, its buffer, one for each connection, one for each with pending
 * bytes. */
static void check_heap(int64_t connections, int64_t pending)
{
	if (sim.blocks != 3 + connections + pending)
		sim_fail(NULL,
			 "%" PRId64 " blocks for %" PRId64 " connections, %" PRId64
			 " with pending bytes",
			 sim.blocks, connections, pending);
}

/* The worker counts what it did. */
static void check_figures(void)
{
	const struct worker_stats *stats = worker_stats(sim.worker);

	for (unsigned int i = 0; i < CONN_END_COUNT; i++) {
		if (stat_get(&stats->ended[i]) != sim.expected_ended[i])
			sim_fail(NULL, "counts %" PRIu64 " ends by %s; there were %" PRIu64,
				 stat_get(&stats->ended[i]), conn_end_name(i),
				 sim.expected_ended[i]);
	}
	if (stat_get(&stats->received_bytes) != sim.received_bytes ||
	    stat_get(&stats->sent_bytes) != sim.sent_bytes)
		sim_fail(NULL, "counts %" PRIu64 " bytes in and %" PRIu64 " out",
			 stat_get(&stats->received_bytes), stat_get(&stats->sent_bytes));
	if (stat_get(&stats->taken) != sim.taken)
		sim_fail(NULL, "counts %" PRIu64 " connections; it took %" PRIu64,
			 stat_get(&stats->taken), sim.taken);
}

/* What access was told of each address. */
static void check_served(void)
{
	uint32_t held[ADDRESSES] = {0};

	FOR_EACH_SOCKET(s)
	{
		held[address_of(s)] += s->stage == STAGE_HELD || s->stage == STAGE_HANDED;
	}
	for (uint32_t i = 0; i < ADDRESSES; i++)
		if (held[i] != sim.serving[i])
			sim_fail(NULL, "%u are counted as served of address %u; %u are held",
				 sim.serving[i], i, held[i]);
}

void oracle_settled(void)
{
	int64_t connections = 0, pending = 0;

	sim.turn = NULL;
	FOR_EACH_SOCKET(s)
	{
		check_turn(s);
		if (s->stage == STAGE_HELD)
			check_held(s);
		connections += s->stage == STAGE_HELD || s->stage == STAGE_HANDED;
		pending += (s->stage == STAGE_HELD || s->stage == STAGE_HANDED) && has_pending(s);
	}
	check_heap(connections, pending);
	check_figures();
	if (sim.make_room && sim.victim)
		sim_fail(sim.victim, "is not closed for those that wait");
	sim.make_room = false;
	check_served();
}

/* The worker waits until the next deadline, in whole milliseconds. */
static void check_timeout(int timeout_ms, uint64_t deadline)
{
	const uint64_t now = sim.now_ns;
	uint64_t right = deadline > now ? (deadline - now + NS_PER_MS - 1) / NS_PER_MS : 0;

	if (timeout_ms < 0 || (uint64_t)timeout_ms != right)
		sim_fail(NULL, "waits %d ms; the next deadline is in %" PRIu64, timeout_ms, right);
}

void oracle_deeds(void)
{
	if (sim.must_take)
		sim_fail(NULL, "did not go to the queue");
	if (sim.woke_for_time)
		sim_fail(NULL, "woke in time for a deadline, and did nothing");
}

static uint64_t next_deadline(void)
{
	uint64_t deadline = sim.saturated ? sim.look_ns : UINT64_MAX;

	FOR_EACH_SOCKET(s)
	{
		if (s->stage == STAGE_HELD && deadline_of(s) < deadline)
			deadline = deadline_of(s);
	}
	return deadline;
}

bool oracle_is_due(void)
{
	return next_deadline() <= sim.now_ns;
}

void oracle_timeout(int timeout_ms)
{
	const uint64_t deadline = next_deadline();

	if (sim.take_due || sim.rung) {
		if (timeout_ms != 0)
			sim_fail(NULL, "sleeps for %d ms with room unreported", timeout_ms);
		return;
	}
	if (deadline != UINT64_MAX)
		check_timeout(timeout_ms, deadline);
	else if (timeout_ms != -1)
		sim_fail(NULL, "waits %d ms, though there is no deadline", timeout_ms);
}

/* At the end of a run, when no worker is left. */
void oracle_ended(void)
{
	if (sim.blocks != 0)
		sim_fail(NULL, "%" PRId64 " blocks are left on the heap", sim.blocks);
	FOR_EACH_SOCKET(s)
	{
		if (s->stage == STAGE_PLANNED && sim.stopped)
			continue; /* the queue's to close */
		if (s->stage != STAGE_CLOSED)
			sim_fail(s, "is left open");
		if (s->end == CONN_END_CLIENT && s->echoed != s->plan.total)
			sim_fail(s, "got %u of %u bytes back", s->echoed, s->plan.total);
		totals.connections++;
		totals.ended[s->end]++;
	}
}
