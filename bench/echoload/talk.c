/*
 * What a thread of the load does for one client: connect, send, count answers and faults. Called in
 * the client's thread.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "echopool/base/clock.h"
#include "load_thread.h"

/* After a failed connection a client waits so long, so that it does not flood the server. */
#define RETRY_NS (100 * NS_PER_MS)

/* What is late by less than so small a part of its wait for the server is not late. */
#define LATE_PART 20

static void count_open(struct load *l, int change)
{
	atomic_store_explicit(&l->open_now, load_open_now(l) + (uint32_t)change,
			      memory_order_relaxed);
}

static void count_try(struct load *l, struct client *c)
{
	l->tried += !c->tried;
	c->tried = true;
}

static bool measured(const struct load *l, uint64_t ns)
{
	return ns >= load_begin_ns(l) && ns < load_end_ns(l);
}

void talk_drop(struct load *l, struct client *c)
{
	if (c->state == CLIENT_CONNECTING)
		l->connecting--;
	else
		count_open(l, -1);
	l->in_flight -= c->in_flight;
	stat_add(&l->tally.unanswered, c->in_flight);
	client_close(c);
	timers_clear(&l->timers, &c->alarm);
}

static bool is_for_arrivals(const struct load *l, const struct client *c)
{
	return l->options->arrivals > 0 && !c->idle;
}

/* Has a client wait for an arrival; room_ns: see struct client. */
static void set_free(struct load *l, struct client *c, uint64_t room_ns)
{
	c->room_ns = room_ns;
	c->free_ns = l->now_ns;
	c->next_free = NULL;
	*l->free_last = c;
	l->free_last = &c->next_free;
}

void talk_again(struct load *l, struct client *c, uint64_t at_ns)
{
	count_try(l, c);
	if (l->now_ns >= load_end_ns(l))
		return;
	if (is_for_arrivals(l, c) && at_ns <= l->now_ns)
		set_free(l, c, c->over_ns);
	else
		timers_set(&l->timers, &c->alarm, at_ns);
}

static void count_fault(struct load *l, enum fault fault)
{
	/* Wrong bytes were counted as they came. */
	if (fault != FAULT_WRONG)
		stat_add(&l->tally.fault[fault], 1);
}

void talk_break_off(struct load *l, struct client *c, enum fault fault)
{
	count_fault(l, fault);
	talk_drop(l, c);
	talk_again(l, c, l->now_ns + RETRY_NS);
}

static void could_not_open(struct load *l, struct client *c, int error)
{
	const enum fault fault = fault_of(error);

	fault_report(fault, c->index,
		     error == EADDRNOTAVAIL
			     ? "no local port is left (ip_local_port_range, tcp_tw_reuse in ip(7))"
			     : strerror(error));
	count_fault(l, fault);
	talk_again(l, c, l->now_ns + RETRY_NS);
}

void talk_open(struct load *l, struct client *c, uint64_t wanted_ns)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				    .data.ptr = c};
	union address source;

	if (l->plan->sources.count)
		source = sources_address(&l->plan->sources, l->source++);
	if (!client_open(c, &l->plan->server, l->plan->sources.count ? &source : NULL, wanted_ns)) {
		could_not_open(l, c, errno);
		return;
	}
	l->connecting++;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) {
		const int error = errno;

		talk_drop(l, c);
		could_not_open(l, c, error);
	}
}

static void ask(struct load *l, struct client *c, uint64_t due_ns)
{
	client_ask(c, random_between(&l->random, l->options->size_min, l->options->size_max),
		   due_ns, l->now_ns);
	l->in_flight++;
}

void talk_note_held(struct load *l, uint64_t from_ns)
{
	const uint64_t begin_ns = load_begin_ns(l), end_ns = load_end_ns(l);
	const uint64_t until_ns = l->now_ns < end_ns ? l->now_ns : end_ns;
	uint64_t more_ns;

	if (from_ns < begin_ns)
		from_ns = begin_ns;
	if (from_ns >= until_ns)
		return;
	more_ns = held_note(&l->held, from_ns, until_ns);
	if (!more_ns)
		return;
	stat_add(&l->tally.held_ns, more_ns);
	tally_longest(&l->tally.held_max_ns, until_ns - from_ns);
}

/* Counts how late the thread itself sends what goes out now. */
static void count_late(struct load *l, uint64_t due_ns, uint64_t could_ns)
{
	const uint64_t late_ns = l->now_ns > could_ns ? l->now_ns - could_ns : 0;

	stat_add(&l->tally.gone, 1);
	/* Little of a long wait for the server is the thread's. */
	if (late_ns <= LATE_NS || late_ns <= (could_ns - due_ns) / LATE_PART)
		return;
	stat_add(&l->tally.late, 1);
	tally_longest(&l->tally.late_max_ns, late_ns);
}

void talk_count_sent(struct load *l, uint64_t due_ns, uint64_t could_ns)
{
	/* What was due long ago is late too. */
	if (measured(l, due_ns) || measured(l, l->now_ns))
		count_late(l, due_ns, could_ns);
	if (!measured(l, due_ns))
		return;
	stat_add(&l->tally.asked, 1);
	/* What is due at the very end is on time just after it. */
	if (l->now_ns < load_end_ns(l) + LATE_NS)
		stat_add(&l->tally.sent, 1);
}

/* Adds the messages that are due, as far as there is room in flight. */
static void ask_due(struct load *l, struct client *c)
{
	struct schedule *s = &c->schedule;

	/* A client with a set alarm has room in flight, and waits only for this thread. */
	if (c->alarm.index)
		talk_note_held(l, c->alarm.at_ns);
	while (c->in_flight < c->flight_limit && s->due_ns <= l->now_ns &&
	       s->due_ns < load_end_ns(l)) {
		c->was_due = c->was_due || measured(l, s->due_ns);
		talk_count_sent(l, s->due_ns, s->due_ns > c->room_ns ? s->due_ns : c->room_ns);
		ask(l, c, s->due_ns);
		schedule_next(s, &l->random);
	}
	if (c->in_flight < c->flight_limit && s->due_ns < load_end_ns(l))
		timers_set(&l->timers, &c->alarm, s->due_ns);
	else
		timers_clear(&l->timers, &c->alarm);
}

/*
 * Fills the room in flight, as the closed loop and arrivals do. The first message of an arrival is
 * due with the arrival, so that its latency includes the connecting.
 */
static void ask_more(struct load *l, struct client *c)
{
	const uint32_t messages = l->options->messages;
	const bool arrivals = l->options->arrivals > 0;

	while (c->in_flight < c->flight_limit && (!messages || c->messages < messages) &&
	       (l->now_ns < load_end_ns(l) || arrivals))
		ask(l, c, arrivals && !c->messages ? c->wanted_ns : l->now_ns);
}

/* Whether all messages of the connection were answered. */
static bool is_done(const struct load *l, const struct client *c)
{
	return l->options->messages && c->messages == l->options->messages && !c->in_flight;
}

static void report_and_break_off(struct load *l, struct client *c, enum fault fault)
{
	client_report(c, fault);
	talk_break_off(l, c, fault);
}

/* Sends what is due on an open connection. */
static void talk(struct load *l, struct client *c)
{
	enum fault fault;

	if (c->idle)
		return;
	if (is_done(l, c)) {
		talk_drop(l, c);
		talk_again(l, c, l->now_ns);
		return;
	}
	if (l->options->rate > 0)
		ask_due(l, c);
	else
		ask_more(l, c);
	fault = client_send(c);
	l->now_ns = clock_now_ns();
	if (fault != FAULT_NONE)
		report_and_break_off(l, c, fault);
}

static void count_first_answer(struct load *l, struct client *c, const struct answer *a)
{
	c->answered = true;
	stat_add(&l->tally.opened, 1);
	if (measured(l, l->now_ns))
		stat_add(&l->tally.opened_measured, 1);
	/*
	 * Clients that stay connect before the measured time, and count all the same; but where a
	 * schedule says when they first send, this time says nothing of the server.
	 */
	if (options_churn(l->options) ? measured(l, c->wanted_ns) : l->options->rate <= 0) {
		latency_record(&l->tally.connect, l->now_ns - c->wanted_ns);
		latency_record(&l->tally.connect_undelayed,
			       c->open_ns - c->wanted_ns + a->over_ns - a->could_ns);
	}
}

static void count_latency(struct load *l, const struct answer *a)
{
	const uint64_t undelayed_ns = a->over_ns - a->due_ns, seen_ns = l->now_ns - a->due_ns;

	latency_record(&l->tally.latency, seen_ns);
	latency_record(&l->tally.undelayed, undelayed_ns < seen_ns ? undelayed_ns : seen_ns);
	if (options_open_loop(l->options))
		latency_record(&l->tally.uncorrected, l->now_ns - a->asked_ns);
}

static void count_answers(struct load *l, struct client *c)
{
	struct answer a;

	while (client_answer(c, &a)) {
		l->in_flight--;
		c->over_ns = a.over_ns;
		stat_add(&l->tally.answers, 1);
		stat_add(&l->tally.known, c->came_is_known);
		if (!c->answered)
			count_first_answer(l, c, &a);
		c->echoes += measured(l, l->options->rate > 0 ? a.due_ns : l->now_ns);
		if (measured(l, l->now_ns)) {
			stat_add(&l->tally.echoes, 1);
			stat_add(&l->tally.bytes, a.bytes);
		}
		if (measured(l, a.due_ns))
			count_latency(l, &a);
	}
}

static void on_connected(struct load *l, struct client *c)
{
	const int error = client_connected(c, &l->plan->server);

	if (error) {
		fault_report(fault_of(error), c->index, strerror(error));
		talk_break_off(l, c, fault_of(error));
		return;
	}
	l->connecting--;
	l->now_ns = clock_now_ns();
	count_open(l, 1);
	count_try(l, c);
	talk(l, c);
}

void talk_on_event(struct load *l, struct client *c, uint32_t events)
{
	const bool ended = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	uint64_t wrong = 0;
	enum fault fault;

	if (c->state == CLIENT_CONNECTING) {
		on_connected(l, c);
		/* Edge-triggered: what came with it is not reported again. */
		if (c->state != CLIENT_OPEN || !(events & EPOLLIN || ended))
			return;
	}
	if (events & EPOLLIN || ended) {
		c->came_ns = 0;
		fault = client_receive(c, l->buffer, ended, &wrong);
		l->now_ns = clock_now_ns();
		if (c->came_ns)
			talk_note_held(l, c->came_ns);
		if (wrong)
			stat_add(&l->tally.fault[FAULT_WRONG], wrong);
		count_answers(l, c);
		if (fault != FAULT_NONE && !is_done(l, c)) {
			report_and_break_off(l, c, fault);
			return;
		}
	}
	talk(l, c);
}

void talk_on_alarm(struct load *l, struct client *c)
{
	talk_note_held(l, c->alarm.at_ns);
	timers_clear(&l->timers, &c->alarm);
	if (c->state == CLIENT_OPEN)
		talk(l, c);
	else if (l->now_ns >= load_end_ns(l))
		return;
	else if (is_for_arrivals(l, c))
		set_free(l, c, c->alarm.at_ns);
	else
		talk_open(l, c, 0);
}
