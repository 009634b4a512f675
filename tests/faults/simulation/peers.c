/*
 * The clients: each has a plan, made from the seed, and follows it whenever time passes.
 */
#include <errno.h>

#include "simulation.h"

static unsigned char pattern[2 * PATTERN_BYTES];

static void fill_pattern(void)
{
	struct dice dice = {.state = 1};

	if (pattern[0] || pattern[1])
		return;
	for (size_t i = 0; i < PATTERN_BYTES; i++)
		pattern[i] = pattern[i + PATTERN_BYTES] = (unsigned char)dice_roll(&dice);
}

/* As many bytes as can be moved in some dozens of turns. */
static uint32_t plan_total(uint32_t window_max)
{
	static const uint32_t totals_max[] = {1, 3, 100, 1000, 20000};
	const uint32_t buffer_bytes = sim.tuning.buffer_bytes;
	const uint32_t at_once = window_max < buffer_bytes ? window_max : buffer_bytes;
	const uint32_t most = DICE_PICK(&sim.dice, totals_max);

	if (dice_chance(&sim.dice, 50))
		return 0;
	return dice_upto(&sim.dice, most < 30 * at_once ? most : 30 * at_once);
}

static void plan_peer(struct plan *p)
{
	static const uint32_t windows[] = {1, 5, 60, 500, 5000, 50000};
	static const uint32_t segments[] = {1, 10, 300, 10000};
	static const uint32_t paces[] = {50, 300, 700, 1000};
	static const int errors[] = {ECONNRESET, ECONNRESET,   ECONNRESET, EPIPE,
				     ETIMEDOUT,  EHOSTUNREACH, ENETUNREACH};
	struct dice *d = &sim.dice;

	p->window_max = DICE_PICK(d, windows);
	p->total = plan_total(p->window_max);
	p->segment_max = DICE_PICK(d, segments);
	if (p->segment_max < p->total / 30)
		p->segment_max = p->total / 30;
	p->send_permille = DICE_PICK(d, paces);
	p->read_permille = dice_chance(d, 80) ? 0 : DICE_PICK(d, paces);
	p->finishes = !dice_chance(d, 100);
	p->breaks_after = dice_chance(d, 150) ? dice_upto(d, 60) : 0;
	p->error = DICE_PICK(d, errors);
}

void peers_plan(void)
{
	fill_pattern();
	sim.socket_count = dice_chance(&sim.dice, 500) ? 1 : dice_upto(&sim.dice, SOCKETS_MAX);
	for (unsigned int i = 0; i < sim.socket_count; i++) {
		struct sim_socket *s = &sim.sockets[i];

		s->fd = FIRST_FD + (int)i;
		s->bytes = pattern + dice_below(&sim.dice, PATTERN_BYTES);
		plan_peer(&s->plan);
		s->window = s->plan.window_max;
		if (i > 0)
			s->plan.arrives_ns = dice_below(&sim.dice, 20) * (1 + sim.step_max_ns) / 2;
		s->plan.arrives_ns += sim.now_ns;
	}
}

/* True while something is left of the plan. */
static bool will_act(const struct sim_socket *s)
{
	const struct plan *p = &s->plan;

	return !s->error &&
	       (s->sent < p->total || (p->finishes && !s->finished) ||
		(p->read_permille && s->window < p->window_max) || s->acts < p->breaks_after);
}

static void peer_act(struct sim_socket *s)
{
	const struct plan *p = &s->plan;
	struct dice *d = &sim.dice;

	s->acts++;
	if (s->acts == p->breaks_after) {
		s->error = p->error;
		trace(s, "breaks with errno %d", s->error);
		return;
	}
	if (s->sent < p->total && dice_chance(d, p->send_permille)) {
		uint32_t left = p->total - s->sent;

		s->sent += dice_upto(d, left < p->segment_max ? left : p->segment_max);
		trace(s, "client has sent %u", s->sent);
	} else if (s->sent == p->total && p->finishes && !s->finished &&
		   dice_chance(d, p->send_permille)) {
		s->finished = true;
		trace(s, "client shuts its side down");
	}
	if (s->window < p->window_max && dice_chance(d, p->read_permille)) {
		s->taken_ns = sim.now_ns;
		if (has_pending(s) && s->window == 0 && dice_chance(d, 300)) {
			totals.events[EVENT_TAKEN]++;
			trace(s, "client reads; too little for room");
			return;
		}
		s->window += dice_upto(d, p->window_max - s->window);
		trace(s, "client reads; room for %u", s->window);
	}
}

bool peers_act(void)
{
	bool any = false;

	FOR_EACH_SOCKET(s)
	{
		if (s->stage == STAGE_CLOSED || s->plan.arrives_ns > sim.now_ns || !will_act(s))
			continue;
		any = true;
		peer_act(s);
	}
	return any;
}
