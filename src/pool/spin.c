/*
 * When a worker looks again before it sleeps, and how. See the headers.
 */
#include "echopool/pool/spin.h"

#include <sched.h>

#include "echopool/pool/worker_state.h"

bool spin_pays(struct spin *s, uint64_t now_ns)
{
	if (now_ns < s->paused_until_ns)
		return false;
	if (s->credit < SPIN_PAYS && ++s->slept < SPIN_TRIAL)
		return false;
	s->slept = 0;
	return true;
}

void spin_count(struct spin *s, bool in_time)
{
	if (in_time && s->credit < SPIN_MOST)
		s->credit++;
	else if (!in_time && s->credit > 0)
		s->credit--;
}

void spin_taken(struct spin *s, uint64_t taken_ns, uint64_t now_ns)
{
	if (taken_ns >= SPIN_TAKEN_NS)
		s->paused_until_ns = now_ns + SPIN_PAUSE * taken_ns;
}

/*
 * The first look is the one that each wait begins with, and its time is work; what counts as polled
 * is all that follows. The worker's clock goes on with each look.
 */
unsigned int spin_wait(struct worker *w)
{
	const uint64_t most_ns = tuned(&w->options.tuning->spin_us) * NS_PER_US;
	const struct engine_calls *const calls = w->engine->calls;
	unsigned int events;
	uint64_t began_ns, last_ns;

	if (most_ns == 0 || !spin_pays(&w->spin, w->now_ns))
		return 0;
	events = calls->wait(w->engine, 0);
	began_ns = w->now_ns = clock_now_ns();
	while (events == 0 && w->now_ns - began_ns < most_ns &&
	       w->now_ns >= w->spin.paused_until_ns && !queue_is_rung(w->options.queue, w->index)) {
		sched_yield();
		events = calls->wait(w->engine, 0);
		last_ns = w->now_ns;
		w->now_ns = clock_now_ns();
		spin_taken(&w->spin, w->now_ns - last_ns, w->now_ns);
	}
	spin_count(&w->spin, events || queue_is_rung(w->options.queue, w->index));
	stat_add(&w->stats.polled_ns, w->now_ns - began_ns);
	return events;
}
