/*
 * epoll, the bell's descriptor and the clock. Time passes in epoll_wait and sched_yield only, and
 * in the queue.
 */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <time.h>

#include "echopool/base/clock.h"
#include "simulation.h"

#define BELL_FD 11

int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int most, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_sched_yield(void);
int __wrap_eventfd(unsigned int count, int flags);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_epoll_create1(int flags)
{
	(void)flags;
	return EPOLL_FD;
}

int __wrap_eventfd(unsigned int count, int flags)
{
	(void)count;
	(void)flags;
	return BELL_FD;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock != CLOCK_MONOTONIC)
		sim_fail(NULL, "reads a clock that can be set back");
	now->tv_sec = (time_t)(sim.now_ns / NS_PER_S);
	now->tv_nsec = (long)(sim.now_ns % NS_PER_S);
	return 0;
}

int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	struct sim_socket *s = socket_of(fd);

	if (epoll_fd != EPOLL_FD)
		sim_fail(s, "epoll_ctl on descriptor %d", epoll_fd);
	if (!s)
		return 0; /* the bell */
	if (operation == EPOLL_CTL_DEL) {
		const bool watched = s->watched;

		/* As a connection ends, also one that could not be watched. */
		s->watched = false;
		errno = ENOENT;
		return watched ? 0 : -1;
	}
	if (s->stage != STAGE_HELD || s->doomed || s->watched == (operation == EPOLL_CTL_ADD))
		sim_fail(s, "epoll_ctl %d at the wrong time", operation);
	if (fault(EVENT_EPOLL_ERROR)) {
		doom(s, CONN_END_ERROR);
		errno = dice_chance(&sim.dice, 500) ? ENOMEM : ENOSPC;
		trace(s, "epoll_ctl: errno %d", errno);
		return -1;
	}
	s->watched = true;
	s->interest = event->events;
	s->data = event->data.ptr;
	trace(s, "watched for 0x%x", s->interest);
	return 0;
}

/* What epoll would report of s now; 0: nothing. */
static uint32_t readiness(const struct sim_socket *s)
{
	uint32_t ready = 0;

	if (!s->watched)
		return 0;
	if (s->sent > s->received || s->finished)
		ready |= EPOLLIN;
	if (s->window > 0)
		ready |= EPOLLOUT;
	if (s->error)
		ready |= EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP;
	return ready & (s->interest | EPOLLERR | EPOLLHUP);
}

/* The last check of a connection whose time has come; it may find what epoll has not reported. */
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct sim_socket *s = count == 1 ? socket_of(fds->fd) : NULL;
	uint32_t ready;

	if (!s || timeout_ms != 0 || s->stage != STAGE_HELD)
		sim_fail(s, "poll at the wrong time");
	if (!s->watched || fds->events != (has_pending(s) ? POLLOUT : POLLIN))
		sim_fail(s, "poll for 0x%x", (unsigned int)fds->events);
	oracle_last_check(s);
	ready = readiness(s);
	trace(s, "last check: 0x%x", ready);
	fds->revents = (short)ready;
	s->reported = ready != 0;
	return ready != 0;
}

static void report(struct sim_socket *s, uint32_t ready, struct epoll_event *event)
{
	s->reported = true;
	s->acted = false;
	s->receives = 0;
	s->sends = 0;
	event->events = ready;
	event->data.ptr = s->data;
	trace(s, "reported 0x%x", ready);
}

/* Some of what is ready, from a random one on; now and then one that is not. */
static int collect(struct epoll_event *events, int most)
{
	const unsigned int first = dice_below(&sim.dice, sim.socket_count);
	int n = 0;

	if (sim.bell && dice_chance(&sim.dice, 700)) {
		trace(NULL, "the bell");
		events[n++] = (struct epoll_event){.events = EPOLLIN};
		sim.bell = false;
	}
	for (unsigned int i = 0; i < sim.socket_count && n < most; i++) {
		struct sim_socket *s = &sim.sockets[(first + i) % sim.socket_count];
		uint32_t ready = readiness(s);

		if (!ready && s->watched && fault(EVENT_SPURIOUS))
			ready = s->interest;
		if (ready && dice_chance(&sim.dice, 900))
			report(s, ready, &events[n++]);
	}
	return n;
}

static bool any_ready(void)
{
	FOR_EACH_SOCKET(s)
	{
		if (readiness(s))
			return true;
	}
	return sim.bell;
}

/* Lets some time pass, to the deadline at most. */
static void advance(uint64_t deadline_ns, bool peers_live)
{
	uint64_t next = sim.now_ns + dice_roll(&sim.dice) % (sim.step_max_ns + 1);

	if (!peers_live && operator_next_arrival() > next)
		next = operator_next_arrival();
	if (!peers_live && next == UINT64_MAX && deadline_ns == UINT64_MAX) {
		operator_stop(); /* nothing would ever happen again */
		return;
	}
	sim.now_ns = next < deadline_ns ? next : deadline_ns;
}

static int wait_for_events(struct epoll_event *events, int most, uint64_t deadline_ns)
{
	for (;;) {
		const uint32_t waiting = operator_waiting();
		const bool peers_live = peers_act();
		int n;

		operator_act();
		n = collect(events, most);
		if (n > 0)
			return n;
		if (sim.now_ns >= deadline_ns)
			return 0;
		if (!any_ready())
			advance(deadline_ns, peers_live);
		if (operator_waiting() > waiting)
			operator_ring();
	}
}

/* Others may have had the CPU for so long that the worker looks no more for a while. */
int __wrap_sched_yield(void)
{
	sim.polls = true;
	sim.now_ns += dice_chance(&sim.dice, 100) ? dice_below(&sim.dice, NS_PER_MS)
						  : dice_below(&sim.dice, 10 * NS_PER_US);
	return 0;
}

static int interrupted(void)
{
	errno = EINTR;
	return -1;
}

static int sleep_in_wait(struct epoll_event *events, int most, int timeout_ms)
{
	uint64_t deadline_ns = UINT64_MAX;
	int n;

	if (timeout_ms >= 0)
		deadline_ns = sim.now_ns + (uint64_t)timeout_ms * NS_PER_MS;
	sim.taking = false;
	sim.must_take = sim.take_due || sim.rung;
	n = fault(EVENT_EINTR) ? interrupted() : wait_for_events(events, most, deadline_ns);
	sim.woke_ns = sim.now_ns;
	if (n < 0)
		return n;
	/* After this turn, whether or not the bell is among the events. */
	sim.must_take = sim.must_take || sim.rung;
	sim.woke_for_time = n == 0 && !sim.bell;
	return n;
}

/* A worker that polls: only what it finds begins a turn. */
static int look(struct epoll_event *events, int most)
{
	const uint32_t waiting = operator_waiting();
	int n;

	sim.woke_ns = 0; /* what the last turn left undone has been looked for */
	if (fault(EVENT_EINTR))
		return interrupted();
	n = wait_for_events(events, most, sim.now_ns);
	if (operator_waiting() > waiting)
		operator_ring();
	if (n == 0)
		return 0;
	sim.taking = false;
	sim.woke_ns = sim.now_ns;
	sim.must_take = sim.take_due || sim.rung;
	return n;
}

int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int most, int timeout_ms)
{
	bool looks;

	if (epoll_fd != EPOLL_FD)
		sim_fail(NULL, "epoll_wait on descriptor %d", epoll_fd);
	oracle_settled();
	oracle_deeds();
	if (++sim.wake_ups > WAKE_UPS_MAX)
		sim_fail(NULL, "does not come to an end");
	FOR_EACH_SOCKET(s)
	{
		s->is_new = false;
	}
	looks = sim.polls || (timeout_ms == 0 && sim.tuning.spin_us && !sim.take_due && !sim.rung &&
			      !oracle_is_due());
	sim.polls = false;
	if (looks && timeout_ms == 0)
		return look(events, most);
	oracle_timeout(timeout_ms);
	return sleep_in_wait(events, most, timeout_ms);
}
