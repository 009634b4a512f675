/*
 * One thread of the load; see the header. Everything but load_new(), load_start(), load_join(),
 * load_free() and the figures runs in the thread itself.
 *
 * The thread opens its clients at the given rate, and sleeps in epoll until an answer comes or an
 * alarm is due. Sockets are watched edge-triggered; each is added once and never changed. A client
 * is closed only while its own event or alarm is handled, or between two batches of events, so no
 * event of a batch names a connection that is gone.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/thread.h"
#include "load_thread.h"

#define EVENTS_PER_WAIT 256

/* How many connections are begun before the others are served again. */
#define OPENS_PER_TURN 64

/* Seeds that follow each other give their threads different numbers: there are fewer threads. */
#define SEED_STEP 1031U

/* The longest time between two checks for timeouts and the end of the load. */
#define CHECK_NS (20 * NS_PER_MS)

static struct client *client_of_alarm(struct alarm *a)
{
	return (struct client *)((char *)a - offsetof(struct client, alarm));
}

const struct tally *load_tally(const struct load *l)
{
	return &l->tally;
}

uint32_t load_open_now(const struct load *l)
{
	return atomic_load_explicit(&l->open_now, memory_order_relaxed);
}

/* --- made and freed by the main thread */

static void make_clients(struct load *l, uint32_t first)
{
	for (uint32_t i = 0; i < l->count; i++) {
		struct client *c = &l->clients[i];

		c->fd = -1;
		c->idle = i < l->idle;
		c->index = first + i;
		c->flight_limit = l->options->pipeline;
		if (!c->idle)
			c->flights = l->flights + (size_t)(i - l->idle) * c->flight_limit;
	}
}

struct load *load_new(struct plan *plan, uint32_t thread, uint32_t talkers, uint32_t idle,
		      uint32_t first)
{
	struct load *l = aligned_alloc(CACHE_LINE_BYTES, sizeof(*l));

	if (!l)
		return NULL;
	memset(l, 0, sizeof(*l));
	l->plan = plan;
	l->options = plan->options;
	l->thread = thread;
	l->idle = idle;
	l->count = talkers + idle;
	l->free_last = &l->free_first;
	l->random = random_seeded(l->options->seed * SEED_STEP + thread);
	l->clients = calloc(l->count, sizeof(*l->clients));
	l->flights = calloc((size_t)talkers * l->options->pipeline, sizeof(*l->flights));
	l->buffer = malloc(PATTERN_CHUNK);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!l->clients || !l->flights || !l->buffer || l->epoll_fd < 0 ||
	    !timers_init(&l->timers, l->count)) {
		load_free(l);
		return NULL;
	}
	make_clients(l, first);
	return l;
}

void load_free(struct load *l)
{
	timers_destroy(&l->timers);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	free(l->buffer);
	free(l->flights);
	free(l->clients);
	free(l);
}

/* --- the turns of the thread */

static void ring_alarms(struct load *l)
{
	struct alarm *a;

	/* Serving may have taken long. */
	l->now_ns = clock_now_ns();
	while ((a = timers_first(&l->timers)) && a->at_ns <= l->now_ns) {
		talk_on_alarm(l, client_of_alarm(a));
		l->now_ns = clock_now_ns();
	}
}

/* Opens the first connection of a client, or has it wait for an arrival. */
static void begin_client(struct load *l, struct client *c)
{
	const struct options *o = l->options;
	const uint32_t number = (l->begun - l->idle) * o->threads + l->thread;

	/* The schedules of all connections together have equal gaps, too. */
	if (o->rate > 0 && !c->idle) {
		c->schedule = schedule_begin(l->plan->origin_ns, o->rate / o->connections,
					     (double)number / o->connections, o->poisson,
					     &l->random);
		schedule_skip(&c->schedule, l->now_ns, &l->random);
	}
	if (o->arrivals > 0 && !c->idle)
		talk_again(l, c, 0);
	else
		talk_open(l, c, 0);
}

static void begin_clients(struct load *l)
{
	for (uint32_t i = 0; i < OPENS_PER_TURN && l->begun < l->count &&
			     l->opening.due_ns <= l->now_ns && l->now_ns < load_end_ns(l);
	     i++) {
		begin_client(l, &l->clients[l->begun]);
		l->begun++;
		schedule_next(&l->opening, &l->random);
	}
}

/* When the next arrival is due and a client is free for it. UINT64_MAX: never. */
static uint64_t arrival_ns(const struct load *l)
{
	const struct client *c = l->free_first;

	if (!c || l->arrivals.due_ns >= load_end_ns(l))
		return UINT64_MAX;
	return l->arrivals.due_ns > c->free_ns ? l->arrivals.due_ns : c->free_ns;
}

/* Gives the arrivals that are due to free clients. */
static void open_arrivals(struct load *l)
{
	struct schedule *s = &l->arrivals;

	for (uint32_t i = 0; i < OPENS_PER_TURN && arrival_ns(l) <= l->now_ns; i++) {
		struct client *c = l->free_first;

		talk_note_held(l, arrival_ns(l));
		l->free_first = c->next_free;
		if (!l->free_first)
			l->free_last = &l->free_first;
		talk_count_sent(l, s->due_ns, s->due_ns > c->room_ns ? s->due_ns : c->room_ns);
		talk_open(l, c, s->due_ns);
		schedule_next(s, &l->random);
		l->now_ns = clock_now_ns();
	}
}

static void expire(struct load *l)
{
	for (uint32_t i = 0; i < l->begun; i++) {
		struct client *c = &l->clients[i];
		const uint64_t since_ns = client_waits_since_ns(c);

		if (c->state == CLIENT_CLOSED || since_ns == UINT64_MAX ||
		    l->now_ns < since_ns + l->options->timeout_ns)
			continue;
		fault_report(FAULT_TIMED_OUT, c->index,
			     c->state == CLIENT_CONNECTING ? "no connection in time"
							   : "no whole answer in time");
		talk_break_off(l, c, FAULT_TIMED_OUT);
	}
}

static void notify_main(struct load *l)
{
	const uint64_t one = 1;

	if (write(l->plan->event_fd, &one, sizeof(one)) != sizeof(one))
		fail(errno, "write to an eventfd");
}

/* When the thread has something to do though no answer comes. */
static uint64_t next_ns(const struct load *l)
{
	const struct alarm *a = timers_first(&l->timers);
	uint64_t at_ns = l->check_ns;

	if (a && a->at_ns < at_ns)
		at_ns = a->at_ns;
	/* After the end nothing is opened any more. */
	if (l->begun < l->count && l->now_ns < load_end_ns(l) && l->opening.due_ns < at_ns)
		at_ns = l->opening.due_ns;
	if (l->options->arrivals > 0 && l->now_ns < load_end_ns(l) && arrival_ns(l) < at_ns)
		at_ns = arrival_ns(l);
	return at_ns;
}

/* Does what epoll_pwait2(2) does, which Linux before 5.11 and some C libraries lack, and some
 * containers refuse. */
static int wait_for_events(struct load *l, struct epoll_event *events,
			   const struct timespec *timeout)
{
	struct pollfd set = {.fd = l->epoll_fd, .events = POLLIN};
	int n;

#ifdef HAVE_EPOLL_PWAIT2
	if (!l->has_no_pwait2) {
		n = epoll_pwait2(l->epoll_fd, events, EVENTS_PER_WAIT, timeout, NULL);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n;
		l->has_no_pwait2 = true;
	}
#endif
	n = ppoll(&set, 1, timeout, NULL);
	return n > 0 ? epoll_wait(l->epoll_fd, events, EVENTS_PER_WAIT, 0) : n;
}

static void wait_and_serve(struct load *l)
{
	const uint64_t at_ns = next_ns(l), wait_ns = at_ns > l->now_ns ? at_ns - l->now_ns : 0;
	const struct timespec timeout = {(time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S)};
	struct epoll_event events[EVENTS_PER_WAIT];
	const int n = wait_for_events(l, events, &timeout);

	if (n < 0 && errno != EINTR)
		fail(errno, "waiting for events");
	l->now_ns = clock_now_ns();
	/* The kernel may have woken it late. */
	talk_note_held(l, at_ns);
	for (int i = 0; i < n; i++)
		talk_on_event(l, events[i].data.ptr, events[i].events);
}

/* Whether nothing is waited for any more. */
static bool is_over(const struct load *l)
{
	if (l->now_ns < load_end_ns(l) ||
	    !atomic_load_explicit(&l->plan->may_end, memory_order_relaxed))
		return false;
	return (!l->in_flight && !l->connecting) ||
	       l->now_ns > load_end_ns(l) + l->options->timeout_ns;
}

static void check(struct load *l)
{
	l->check_ns = l->now_ns + CHECK_NS;
	expire(l);
	if (!l->notified_ready && l->tried == l->count) {
		l->notified_ready = true;
		notify_main(l);
	}
}

static void begin(struct load *l)
{
	const struct options *o = l->options;

	l->now_ns = clock_now_ns();
	l->opening = schedule_begin(l->now_ns, o->connect_rate / o->threads, 0, false, &l->random);
	/* The arrivals of all threads together have equal gaps, too. */
	if (o->arrivals > 0)
		l->arrivals = schedule_begin(l->plan->origin_ns, o->arrivals / o->threads,
					     (double)l->thread / o->threads, o->poisson,
					     &l->random);
}

/* Counts what was due in the measured time and never sent. */
static uint64_t count_unsent(struct load *l, struct schedule *s)
{
	uint64_t count;

	schedule_skip(s, load_begin_ns(l), &l->random);
	count = schedule_skip(s, load_end_ns(l), &l->random);
	stat_add(&l->tally.unsent, count);
	return count;
}

static void end(struct load *l)
{
	for (uint32_t i = 0; i < l->begun; i++)
		if (l->clients[i].state != CLIENT_CLOSED)
			talk_drop(l, &l->clients[i]);
	if (load_begin_ns(l) >= load_end_ns(l) || load_end_ns(l) == UINT64_MAX)
		return;
	if (l->options->arrivals > 0)
		count_unsent(l, &l->arrivals);
	for (uint32_t i = l->idle; l->options->rate > 0 && i < l->begun; i++)
		if (count_unsent(l, &l->clients[i].schedule))
			l->clients[i].was_due = true;
}

static void *load_run(void *argument)
{
	struct load *l = argument;

	/* Without this the kernel delays alarms by 50 us. It cannot fail (prctl(2)). */
	prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	begin(l);
	do {
		wait_and_serve(l);
		if (l->now_ns >= l->check_ns)
			check(l);
		begin_clients(l);
		ring_alarms(l);
		if (l->options->arrivals > 0)
			open_arrivals(l);
	} while (!atomic_load_explicit(&l->plan->abandon, memory_order_relaxed) && !is_over(l));
	end(l);
	if (!l->notified_ready)
		notify_main(l);
	notify_main(l);
	return NULL;
}

int load_start(struct load *l)
{
	return thread_start(&l->id, load_run, l);
}

void load_join(struct load *l)
{
	thread_join(l->id);
}

void load_fairness(const struct load *l, uint32_t *starved, uint64_t *fewest, uint64_t *most)
{
	for (uint32_t i = l->idle; i < l->count; i++) {
		const struct client *c = &l->clients[i];

		/* At a low rate some connections have nothing to send. */
		if (l->options->rate > 0 && !c->was_due)
			continue;
		*starved += c->echoes == 0;
		*fewest = c->echoes < *fewest ? c->echoes : *fewest;
		*most = c->echoes > *most ? c->echoes : *most;
	}
}
