/*
 * The meaning of a run's counts; see the header. Main thread.
 */
#include <math.h>
#include <stdlib.h>

#include "limit.h"
#include "result.h"

/* So much may be late in a schedule that was kept. */
#define LATE_SHARE 0.01

void result_free(struct result *r)
{
	free(r->tally);
	r->tally = NULL;
}

bool result_has_measured(const struct result *r)
{
	return stat_get(&r->tally->echoes) > 0 || latency_count(&r->tally->latency) > 0;
}

bool result_is_ok(const struct result *r)
{
	return tally_faults(r->tally) == 0 && stat_get(&r->tally->unanswered) == 0 &&
	       result_has_measured(r);
}

bool result_knows_arrivals(const struct result *r)
{
	return stat_get(&r->tally->known) > 0;
}

static bool is_late(const struct result *r)
{
	const double gone = (double)stat_get(&r->tally->gone);

	return (double)stat_get(&r->tally->late) > LATE_SHARE * gone;
}

bool result_is_disturbed(const struct result *r)
{
	const struct latency *seen = &r->tally->latency, *undelayed = &r->tally->undelayed;

	for (uint32_t i = 0; i < r->options->percentile_count; i++) {
		const double share = r->options->percentile[i] / 100;

		if (limit_is_changed((double)latency_quantile_ns(seen, share),
				     (double)latency_quantile_ns(undelayed, share)))
			return true;
	}
	return is_late(r) || (!options_open_loop(r->options) && limit_loses(result_held_share(r)));
}

double result_held_share(const struct result *r)
{
	const double ns = r->seconds * 1e9 * r->options->threads;

	return ns > 0 ? fmin(1, (double)stat_get(&r->tally->held_ns) / ns) : 0;
}

double result_a_second(const struct result *r, const _Atomic uint64_t *count)
{
	return r->seconds > 0 ? (double)stat_get(count) / r->seconds : 0;
}

double result_us_for_an_echo(const struct result *r, double cpu_s)
{
	return r->cpu_answers ? 1e6 * cpu_s / (double)r->cpu_answers : NAN;
}

uint64_t result_due(const struct result *r)
{
	return stat_get(&r->tally->asked) + stat_get(&r->tally->unsent);
}

bool result_kept_schedule(const struct result *r)
{
	return (double)stat_get(&r->tally->sent) >= 0.99 * (double)result_due(r) && !is_late(r);
}
