/*
 * The line that shows how a run is going; see the header.
 */
#include "live.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "echopool/base/clock.h"

#define LINE_EVERY_NS (500 * NS_PER_MS)

void live_init(struct live *live, const struct options *o)
{
	*live = (struct live){
		.options = o, .shown = !o->quiet && isatty(2) == 1, .last_ns = clock_now_ns()};
}

void live_phase(struct live *live, enum live_phase phase, uint64_t until_ns)
{
	live->phase = phase;
	live->until_ns = until_ns;
	live->echoes = 0;
	live->last_ns = clock_now_ns();
}

uint64_t live_next_ns(const struct live *live)
{
	return live->shown ? live->last_ns + LINE_EVERY_NS : UINT64_MAX;
}

static void show_opening(struct load *const *loads, uint32_t count, const struct options *o)
{
	uint32_t open = 0;

	for (uint32_t i = 0; i < count; i++)
		open += load_open_now(loads[i]);
	fprintf(stderr, LIVE_CLEAR "opening: %u of %u connections", open, o->connections + o->idle);
}

static void show_measuring(struct live *live, const struct tally *t, uint64_t now_ns)
{
	const double seconds = (double)(now_ns - live->last_ns) / (double)NS_PER_S;
	const uint64_t echoes = stat_get(&t->echoes);

	fprintf(stderr, LIVE_CLEAR);
	if (live->options->duration_ns)
		fprintf(stderr, "%.0f s left  ",
			live->until_ns > now_ns
				? (double)(live->until_ns - now_ns) / (double)NS_PER_S
				: 0);
	fprintf(stderr, "%10.0f echoes/s  p99 %.0f us  %" PRIu64 " faults",
		(double)(echoes - live->echoes) / seconds,
		(double)latency_quantile_ns(&t->latency, 0.99) / 1000, tally_faults(t));
	live->echoes = echoes;
}

void live_show(struct live *live, struct load *const *loads, uint32_t count, uint64_t now_ns)
{
	struct tally *t;

	if (now_ns < live_next_ns(live))
		return;
	t = tally_new();
	for (uint32_t i = 0; t && i < count; i++)
		tally_add(t, load_tally(loads[i]));
	if (live->phase == LIVE_OPENING)
		show_opening(loads, count, live->options);
	else if (live->phase == LIVE_WARMUP)
		fputs(LIVE_CLEAR "warming up", stderr);
	else if (live->phase == LIVE_ENDING)
		fputs(LIVE_CLEAR "waiting for the last answers", stderr);
	else if (t)
		show_measuring(live, t, now_ns);
	live->last_ns = now_ns;
	free(t);
}

void live_end(struct live *live)
{
	if (live->shown)
		fputs(LIVE_CLEAR, stderr);
}
