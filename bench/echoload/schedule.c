/*
 * Moments at a rate; see the header.
 */
#include "schedule.h"

#include <math.h>

/* Up to about so many moments are skipped one by one. */
#define SKIP_SINGLY 1000

static void advance(struct schedule *s, double gap_ns)
{
	const double whole_ns = floor(gap_ns + s->behind_ns);

	s->behind_ns += gap_ns - whole_ns;
	s->due_ns += (uint64_t)whole_ns;
}

struct schedule schedule_begin(uint64_t now_ns, double rate, double share, bool poisson,
			       struct random *random)
{
	struct schedule s = {
		.due_ns = now_ns, .gap_ns = rate > 0 ? 1e9 / rate : 0, .poisson = poisson};

	if (poisson)
		schedule_next(&s, random);
	else
		advance(&s, s.gap_ns * share);
	return s;
}

void schedule_next(struct schedule *s, struct random *random)
{
	advance(s, s->poisson ? -log(1 - random_share(random)) * s->gap_ns : s->gap_ns);
}

uint64_t schedule_skip(struct schedule *s, uint64_t until_ns, struct random *random)
{
	const double gaps = until_ns > s->due_ns ? floor((double)(until_ns - s->due_ns) / s->gap_ns)
						 : 0;
	uint64_t count = 0;

	if (gaps > SKIP_SINGLY) {
		advance(s, gaps * s->gap_ns);
		count = (uint64_t)gaps;
	}
	for (; s->due_ns < until_ns; count++)
		schedule_next(s, random);
	return count;
}
