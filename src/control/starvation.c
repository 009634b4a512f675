/*
 * The pair of lines about a saturated pool; see the header. Main thread.
 *
 * The queue rings the main thread once, as the pool becomes saturated. From then on the thread
 * looks by itself, once a second at most, until it is over: a pool at its limit becomes saturated
 * thousands of times a second, and nobody is woken for that.
 */
#include "echopool/control/starvation.h"

#include <inttypes.h>
#include <stdio.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/control/parts.h"
#include "echopool/control/report.h"

/* What lasts for less is a rush. */
#define LASTING_NS NS_PER_S

/* At most one pair of lines in so long. */
#define PAIR_NS (10 * NS_PER_S)

const char *starvation_text(const struct parts *p, uint32_t waiting, char *text, size_t bytes)
{
	struct access_holder top[ACCESS_TOP];
	const size_t holders = access_top_holders(p->access, top);
	const uint64_t held = report_connections(p->pool);
	int used = snprintf(text, bytes, "%" PRIu32 " wait%s, no worker has room", waiting,
			    waiting == 1 ? "s" : "");

	if (p->settings->admin.peers && holders && held && used > 0 && (size_t)used < bytes)
		snprintf(text + used, bytes - (size_t)used, "; %s holds %" PRIu32 " of %" PRIu64,
			 top[0].text, top[0].held, held > top[0].held ? held : top[0].held);
	return text;
}

static void tell(struct starvation *s, const struct parts *p, const struct queue_figures *q,
		 uint64_t now_ns)
{
	char text[160];

	log_warning("the pool has been saturated for %.1f s: %s",
		    (double)(now_ns - q->saturated.since_ns) / (double)NS_PER_S,
		    starvation_text(p, q->waiting, text, sizeof(text)));
	s->since_ns = q->saturated.since_ns;
	s->told_ns = now_ns;
}

/* Not saturated: tells the end of what was told, and has the queue ring for the next. */
static void look_at_the_end(struct starvation *s, const struct parts *p, uint64_t now_ns)
{
	if (s->since_ns)
		log_info("the pool is no longer saturated, after %.1f s",
			 (double)(now_ns - s->since_ns) / (double)NS_PER_S);
	s->since_ns = 0;
	s->due_ns = queue_watch(p->queue, p->bell) ? UINT64_MAX : now_ns + LASTING_NS;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void starvation_check(struct starvation *s, const struct parts *p)
{
	const uint64_t now_ns = clock_now_ns();
	struct queue_figures q;
	uint64_t due_ns;

	if (now_ns < s->due_ns && (s->due_ns != UINT64_MAX || !queue_watch_is_over(p->queue)))
		return;
	q = queue_figures(p->queue);
	if (!q.saturated.since_ns) {
		look_at_the_end(s, p, now_ns);
		return;
	}
	due_ns = later(q.saturated.since_ns + LASTING_NS, s->told_ns ? s->told_ns + PAIR_NS : 0);
	if (!s->since_ns && now_ns >= due_ns)
		tell(s, p, &q, now_ns);
	s->due_ns = s->since_ns ? now_ns + LASTING_NS : due_ns;
}

uint64_t starvation_due_ns(const struct starvation *s)
{
	return s->due_ns;
}
