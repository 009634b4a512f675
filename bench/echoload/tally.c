/*
 * What a thread of the load counts; see the header.
 */
#include "tally.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "live.h"

static const char *const names[FAULT_COUNT] = {
	[FAULT_NONE] = "none",           [FAULT_REFUSED] = "refused", [FAULT_RESET] = "reset",
	[FAULT_TIMED_OUT] = "timed_out", [FAULT_WRONG] = "wrong",     [FAULT_SHORT] = "short",
	[FAULT_OTHER] = "other",
};

const char *fault_name(enum fault fault)
{
	return names[fault];
}

enum fault fault_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return FAULT_REFUSED;
	case ECONNRESET:
	case EPIPE:
		return FAULT_RESET;
	case ETIMEDOUT:
		return FAULT_TIMED_OUT;
	default:
		return FAULT_OTHER;
	}
}

void fault_report(enum fault fault, uint32_t connection, const char *detail)
{
	static atomic_flag reported[FAULT_COUNT];

	/* The flag guards nothing but itself. */
	if (!atomic_flag_test_and_set_explicit(&reported[fault], memory_order_relaxed))
		fprintf(stderr, "%sechoload: connection %u: %s\n", isatty(2) ? LIVE_CLEAR : "",
			connection, detail);
}

struct tally *tally_new(void)
{
	struct tally *t = aligned_alloc(CACHE_LINE_BYTES, sizeof(*t));

	if (t)
		memset(t, 0, sizeof(*t));
	return t;
}

uint64_t tally_faults(const struct tally *t)
{
	uint64_t count = 0;

	for (int i = 0; i < FAULT_COUNT; i++)
		count += stat_get(&t->fault[i]);
	return count;
}

static void add(_Atomic uint64_t *to, const _Atomic uint64_t *from)
{
	stat_add(to, stat_get(from));
}

void tally_add(struct tally *to, const struct tally *from)
{
	add(&to->echoes, &from->echoes);
	add(&to->bytes, &from->bytes);
	add(&to->answers, &from->answers);
	add(&to->known, &from->known);
	add(&to->unanswered, &from->unanswered);
	add(&to->opened, &from->opened);
	add(&to->opened_measured, &from->opened_measured);
	for (int i = 0; i < FAULT_COUNT; i++)
		add(&to->fault[i], &from->fault[i]);
	add(&to->sent, &from->sent);
	add(&to->asked, &from->asked);
	add(&to->unsent, &from->unsent);
	add(&to->gone, &from->gone);
	add(&to->late, &from->late);
	tally_longest(&to->late_max_ns, stat_get(&from->late_max_ns));
	add(&to->held_ns, &from->held_ns);
	tally_longest(&to->held_max_ns, stat_get(&from->held_max_ns));
	latency_add(&to->latency, &from->latency);
	latency_add(&to->undelayed, &from->undelayed);
	latency_add(&to->uncorrected, &from->uncorrected);
	latency_add(&to->connect, &from->connect);
	latency_add(&to->connect_undelayed, &from->connect_undelayed);
}
