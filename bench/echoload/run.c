/*
 * A run of the load; see the header. The main thread starts the others, sets the begin and the end
 * of the measured time, and sleeps in poll until they notify it, a signal comes, or a time is up.
 */
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "arrival.h"
#include "echopool/base/clock.h"
#include "echopool/base/fdlimit.h"
#include "echopool/base/thread.h"
#include "live.h"
#include "load.h"
#include "pattern.h"

/* Descriptors for other things than connections: standard ones, epoll sets, /proc. */
#define OTHER_DESCRIPTORS 32U

/* The measured time of a run that only a signal ends: decades, and far from an overflow. */
#define FOREVER_NS (UINT64_C(1) << 60)

/* How often the run checks whether the first arrival has succeeded or failed, or any has. */
#define CHECK_NS (10 * NS_PER_MS)

struct run {
	const struct options *options;
	struct plan plan;
	struct load **loads;
	uint32_t started; /* threads */
	uint64_t notices; /* from the threads: 1 each when ready, 1 each at the end */
	int signal_fd;
	struct live live;
	uint32_t signals; /* and one for the fault that ended the run */
	bool stopped;     /* by a fault */
};

/* --- parts */

static uint32_t part(uint32_t whole, uint32_t parts, uint32_t index)
{
	return whole / parts + (index < whole % parts);
}

static bool refused(const char *what)
{
	fprintf(stderr, "echoload: %s: %s\n", what, strerror(errno));
	return false;
}

static bool check_descriptors(const struct options *o)
{
	const uint64_t limit = fdlimit_raise();
	const uint64_t needed = (uint64_t)o->connections + o->idle + o->threads + OTHER_DESCRIPTORS;

	if (needed <= limit)
		return true;
	fprintf(stderr,
		"echoload: %u connections take %" PRIu64
		" descriptors, and the hard limit is %" PRIu64 "; raise it (ulimit -Hn)\n",
		o->connections + o->idle, needed, limit);
	return false;
}

static bool open_descriptors(struct run *run)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	must(pthread_sigmask(SIG_BLOCK, &signals, NULL), "pthread_sigmask");
	run->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	run->plan.event_fd = eventfd(0, EFD_CLOEXEC);
	return (run->signal_fd >= 0 && run->plan.event_fd >= 0) || refused("a descriptor");
}

static bool make_loads(struct run *run)
{
	const struct options *o = run->options;
	uint32_t first = 0;

	run->loads = calloc(o->threads, sizeof(struct load *));
	if (!run->loads)
		return refused("memory");
	for (uint32_t i = 0; i < o->threads; i++) {
		const uint32_t talkers = part(o->connections, o->threads, i);
		const uint32_t idle = part(o->idle, o->threads, i);

		run->loads[i] = load_new(&run->plan, i, talkers, idle, first);
		if (!run->loads[i])
			return refused("a thread's part of the load");
		first += talkers + idle;
	}
	return true;
}

static bool start_loads(struct run *run)
{
	for (; run->started < run->options->threads; run->started++) {
		const int error = load_start(run->loads[run->started]);

		if (error) {
			errno = error;
			return refused("a thread");
		}
	}
	return true;
}

/* --- waiting */

static void set_time(_Atomic uint64_t *time, uint64_t ns)
{
	atomic_store_explicit(time, ns, memory_order_relaxed);
}

static uint64_t get_time(const _Atomic uint64_t *time)
{
	return atomic_load_explicit(time, memory_order_relaxed);
}

/*
 * Ends the measured time as soon as all threads can know it, unless it ends earlier. A measured
 * time that has not begun yet never begins.
 */
static void end_now(struct run *run)
{
	const uint64_t now_ns = clock_now_ns(), end_ns = now_ns + LOAD_NOTICE_NS;

	if (get_time(&run->plan.end_ns) <= end_ns)
		return;
	if (get_time(&run->plan.begin_ns) > now_ns)
		set_time(&run->plan.begin_ns, end_ns);
	set_time(&run->plan.end_ns, end_ns);
}

static void take_signal(struct run *run)
{
	struct signalfd_siginfo signal;

	if (read(run->signal_fd, &signal, sizeof(signal)) != sizeof(signal))
		fail(errno, "read from a signalfd");
	/* The first one ends the load; after the load it ends the wait for answers. */
	if (run->signals++ == 0 && !atomic_load_explicit(&run->plan.may_end, memory_order_relaxed))
		end_now(run);
	else
		atomic_store_explicit(&run->plan.abandon, true, memory_order_relaxed);
}

static void take_notices(struct run *run)
{
	uint64_t count;

	if (read(run->plan.event_fd, &count, sizeof(count)) != sizeof(count))
		fail(errno, "read from an eventfd");
	run->notices += count;
}

static bool has_faults(const struct run *run)
{
	for (uint32_t i = 0; i < run->started; i++)
		if (tally_faults(load_tally(run->loads[i])))
			return true;
	return false;
}

/* Ends the run at its first fault, as a signal does. */
static void stop_on_fault(struct run *run)
{
	if (run->stopped || !run->options->stop_on_error || !has_faults(run))
		return;
	run->stopped = true;
	run->signals++;
	end_now(run);
}

static uint64_t wake_ns(const struct run *run, uint64_t until_ns, uint64_t now_ns)
{
	const uint64_t line_ns = live_next_ns(&run->live);
	uint64_t at_ns = line_ns < until_ns ? line_ns : until_ns;

	if (run->options->stop_on_error && !run->stopped && at_ns > now_ns + CHECK_NS)
		at_ns = now_ns + CHECK_NS;
	return at_ns;
}

/* Sleeps until there are so many notices, a signal, or until_ns; updates the live line. */
static void wait_until(struct run *run, uint64_t notices, uint64_t until_ns)
{
	struct pollfd fds[] = {{.fd = run->signal_fd, .events = POLLIN},
			       {.fd = run->plan.event_fd, .events = POLLIN}};
	const uint32_t signals = run->signals;
	uint64_t now_ns = clock_now_ns();

	while (run->notices < notices && run->signals == signals && now_ns < until_ns) {
		const int timeout_ms = clock_timeout_ms(wake_ns(run, until_ns, now_ns), now_ns);

		if (poll(fds, 2, timeout_ms) < 0 && errno != EINTR)
			fail(errno, "poll");
		if (fds[0].revents)
			take_signal(run);
		if (fds[1].revents)
			take_notices(run);
		stop_on_fault(run);
		now_ns = clock_now_ns();
		live_show(&run->live, run->loads, run->started, now_ns);
	}
}

/* --- the run */

static uint64_t count_answers(const struct run *run)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < run->started; i++)
		count += stat_get(&load_tally(run->loads[i])->answers);
	return count;
}

/* Whether a connection is open, or one has been answered. */
static bool has_connected(const struct run *run)
{
	for (uint32_t i = 0; i < run->started; i++)
		if (load_open_now(run->loads[i]) || stat_get(&load_tally(run->loads[i])->opened))
			return true;
	return false;
}

/*
 * Waits until all clients have tried to connect; with arrivals, until the first has succeeded or
 * failed. False: on a signal, or where nobody could connect.
 */
static bool open_all(struct run *run)
{
	const struct options *o = run->options;
	uint64_t now_ns, until_ns;

	live_phase(&run->live, LIVE_OPENING, 0);
	wait_until(run, o->threads, UINT64_MAX);
	now_ns = clock_now_ns();
	until_ns = now_ns + (o->arrivals > 0 ? o->timeout_ns + NS_PER_S : 0);
	while (!run->signals && !has_connected(run) && !has_faults(run) && now_ns < until_ns) {
		wait_until(run, UINT64_MAX, now_ns + CHECK_NS);
		now_ns = clock_now_ns();
	}
	return !run->signals && (has_connected(run) || !has_faults(run));
}

/* Whether the measured time begins; a signal before prevents it. */
static bool warm_up(struct run *run, struct family *family, uint64_t begin_ns)
{
	live_phase(&run->live, LIVE_WARMUP, begin_ns);
	wait_until(run, UINT64_MAX, begin_ns - LOAD_NOTICE_NS);
	if (!run->signals) {
		/* This takes long, so it comes before the measured time; but late, so that few
		 * processes begin after it. */
		family_update(family);
		wait_until(run, UINT64_MAX, begin_ns);
	}
	return get_time(&run->plan.begin_ns) < get_time(&run->plan.end_ns);
}

/* Opens the connections, warms up, measures. A signal, or that nobody listens, ends it early. */
static void measure(struct run *run, struct result *r)
{
	const struct options *o = run->options;
	struct family family = {.server = o->server};
	struct cpu_sample before, after;
	uint64_t begin_ns;

	if (!open_all(run)) {
		end_now(run);
		return;
	}
	begin_ns = clock_now_ns() + LOAD_NOTICE_NS + o->warmup_ns;
	set_time(&run->plan.end_ns, begin_ns + (o->duration_ns ? o->duration_ns : FOREVER_NS));
	set_time(&run->plan.begin_ns, begin_ns);
	if (warm_up(run, &family, begin_ns)) {
		before = cpu_sample_begin(&family);
		r->began = time(NULL);
		r->cpu_answers = count_answers(run);
		live_phase(&run->live, LIVE_MEASURING, get_time(&run->plan.end_ns));
		/* A signal brings the end nearer. */
		while (clock_now_ns() < get_time(&run->plan.end_ns))
			wait_until(run, UINT64_MAX, get_time(&run->plan.end_ns));
		r->cpu_answers = count_answers(run) - r->cpu_answers;
		after = cpu_sample_end(&family);
		r->cpu = cpu_between(&before, &after);
		cpu_sample_free(&before);
		cpu_sample_free(&after);
		r->seconds = (double)(get_time(&run->plan.end_ns) - begin_ns) / (double)NS_PER_S;
	}
	family_free(&family);
}

static void sum(struct run *run, struct result *r)
{
	for (uint32_t i = 0; i < run->started; i++) {
		tally_add(r->tally, load_tally(run->loads[i]));
		if (r->seconds > 0)
			load_fairness(run->loads[i], &r->starved, &r->fewest_echoes,
				      &r->most_echoes);
	}
}

static void end_loads(struct run *run)
{
	atomic_store_explicit(&run->plan.may_end, true, memory_order_relaxed);
	live_phase(&run->live, LIVE_ENDING, 0);
	while (run->notices < 2 * (uint64_t)run->started)
		wait_until(run, 2 * (uint64_t)run->started, UINT64_MAX);
	live_end(&run->live);
	for (uint32_t i = 0; i < run->started; i++)
		load_join(run->loads[i]);
}

static void free_run(struct run *run)
{
	for (uint32_t i = 0; run->loads && i < run->options->threads; i++)
		if (run->loads[i])
			load_free(run->loads[i]);
	free(run->loads);
	if (run->plan.event_fd >= 0)
		close(run->plan.event_fd);
	if (run->signal_fd >= 0)
		close(run->signal_fd);
}

bool run(const struct options *o, const union address *server, const struct sources *sources,
	 struct result *r)
{
	struct run run = {
		.options = o,
		.plan = {.options = o,
			 .server = *server,
			 .sources = *sources,
			 .origin_ns = clock_now_ns(),
			 .event_fd = -1},
		.signal_fd = -1,
	};
	bool ok;

	*r = (struct result){.options = o, .fewest_echoes = UINT64_MAX, .cpu.server = NAN};
	set_time(&run.plan.begin_ns, UINT64_MAX);
	set_time(&run.plan.end_ns, UINT64_MAX);
	pattern_init();
	arrival_init();
	live_init(&run.live, o);
	r->tally = tally_new();
	ok = (r->tally || refused("memory")) && check_descriptors(o) && open_descriptors(&run) &&
	     make_loads(&run) && start_loads(&run);
	if (ok) {
		measure(&run, r);
	} else if (run.started) {
		atomic_store_explicit(&run.plan.abandon, true, memory_order_relaxed);
	}
	r->interrupted = run.signals > run.stopped && o->duration_ns > 0;
	if (run.started) {
		end_loads(&run);
		sum(&run, r);
	}
	free_run(&run);
	return ok;
}
