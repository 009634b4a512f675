/*
 * The meaning of a run's counts; see the header. Main thread.
 */
#include <math.h>
#include <stdlib.h>

#include "result.h"

void result_free(struct result *r)
{
	free(r->tally);
	r->tally = NULL;
}

bool result_is_ok(const struct result *r)
{
	return tally_faults(r->tally) == 0 && stat_get(&r->tally->opened) > 0;
}

double result_a_second(const struct result *r, const _Atomic uint64_t *count)
{
	return r->seconds > 0 ? (double)stat_get(count) / r->seconds : 0;
}

double result_us_for_an_echo(const struct result *r, double cpu)
{
	const double echoes = result_a_second(r, &r->tally->echoes);

	return echoes > 0 ? 1e6 * cpu / echoes : NAN;
}

uint64_t result_due(const struct result *r)
{
	return stat_get(&r->tally->asked) + stat_get(&r->tally->unsent);
}

bool result_kept_schedule(const struct result *r)
{
	const double asked = (double)stat_get(&r->tally->asked);

	return (double)stat_get(&r->tally->sent) >= 0.99 * (double)result_due(r) &&
	       (double)stat_get(&r->tally->late) <= 0.01 * asked;
}
