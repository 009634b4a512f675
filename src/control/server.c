/*
 * The main thread's loop: it starts the parts, acts on signals and ends the parts. It sleeps in
 * poll(2) over a signalfd, one bell that the other threads ring, and the outputs of the child that
 * reads the file again.
 */
#include "echopool/control/server.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/base/log_rate.h"
#include "echopool/base/thread.h"
#include "echopool/control/notify.h"
#include "echopool/control/server_state.h"
#include "echopool/control/signals.h"

/* systemd takes a line as long as the log's. */
#define STATUS_BYTES LOG_LINE_BYTES

/* A signal to stop that is read earlier after the first is the same wish. */
#define SECOND_STOP_MS 100

static bool open_events(struct server *v)
{
	v->signal_fd = signals_open();
	if (v->signal_fd >= 0 && bell_open(&v->bell))
		return true;
	log_error("cannot wait for signals: %s", strerror(errno));
	return false;
}

void server_announce_ready(const struct server *v)
{
	char status[STATUS_BYTES];

	if (v->parts.admin_listeners.count) {
		listeners_format(&v->parts.admin_listeners, status, sizeof(status));
		log_info("admin endpoint on %s", status);
	}
	parts_describe(&v->parts, status, sizeof(status));
	log_info("%s", status);
	notify_ready(status);
}

/*
 * Begins the drain, or first the time in which only /readyz says that this server goes, so that who
 * sends clients here can look elsewhere.
 */
static void leave(struct server *v, const char *name)
{
	const uint32_t ms = v->parts.settings->timeouts.lame_duck_ms;

	if (!ms) {
		drain_begin(v, name);
		return;
	}
	v->lame_duck_end_ns = clock_now_ns() + ms * NS_PER_MS;
	v->drain_why = name;
	log_info("%s: /readyz says no for %.1f s, then the drain begins", name, ms / 1000.0);
	notify_stopping("lame duck", ms + v->parts.settings->timeouts.drain_ms + CLOSING_MS);
}

/*
 * One wish to stop often comes twice: timeout(1) signals its child and then the group, a shell's ^C
 * comes on top of a manager's SIGTERM. So a second one counts only when it is read a moment later.
 */
static void stop(struct server *v, const char *name)
{
	const uint64_t now_ns = clock_now_ns();

	if (!v->draining && v->lame_duck_end_ns == UINT64_MAX) {
		leave(v, name);
		v->second_stop_ns = now_ns + SECOND_STOP_MS * NS_PER_MS;
	} else if (now_ns >= v->second_stop_ns) {
		if (!v->draining)
			drain_begin(v, name);
		drain_end(v, name);
	}
}

static void on_signal(struct server *v, uint32_t number)
{
	switch (number) {
	case SIGUSR1:
		report_begin(&v->report, &v->parts);
		break;
	case SIGHUP:
		/* Without a file it means what it says: the terminal is gone. */
		if (v->source->file || v->draining || signals_ignore_hangup())
			reload_begin(v);
		else
			stop(v, "SIGHUP");
		break;
	case SIGCHLD: /* run() reaps after every signal */
		break;
	default:
		stop(v, number == SIGTERM ? "SIGTERM" : "SIGINT");
	}
}

static void read_signals(struct server *v)
{
	struct signalfd_siginfo info;
	ssize_t n;

	while ((n = read(v->signal_fd, &info, sizeof(info))) == (ssize_t)sizeof(info))
		on_signal(v, info.ssi_signo);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		fail(errno, "read from a signalfd");
}

/* Whatever has ended: as process 1 of a container it is given the children of others too. */
static void reap_children(struct server *v)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0 || (pid < 0 && errno == EINTR))
		if (pid > 0)
			reload_child_ended(&v->child, pid, status);
}

/* When something must be done without an event. */
static uint64_t deadline_ns(const struct server *v)
{
	uint64_t due_ns = clock_sooner(clock_sooner(v->alive_due_ns, report_due_ns(&v->report)),
				       admin_due_ns(v->parts.admin, v));

	due_ns = clock_sooner(due_ns, starvation_due_ns(&v->starvation));

	if (!v->draining)
		due_ns = clock_sooner(due_ns, v->lame_duck_end_ns);
	if (v->draining)
		return clock_sooner(due_ns, v->drain_deadline_ns);
	if (reload_child_is_reading(&v->child))
		due_ns = clock_sooner(due_ns, v->child.deadline_ns);
	return due_ns;
}

/* Has systemd's watchdog know, when it is time, that this thread is alive. */
static void feed_watchdog(struct server *v)
{
	const uint64_t now_ns = clock_now_ns();

	if (now_ns < v->alive_due_ns)
		return;
	notify_alive();
	v->alive_due_ns = now_ns + notify_alive_ns();
}

/* Sleeps until something happens, or the deadline, or expiry_ns. */
static void wait_for_events(struct server *v, uint64_t expiry_ns)
{
	nfds_t count = 4;
	struct pollfd fds[4 + ADMIN_POLL_MAX] = {
		{.fd = v->signal_fd, .events = POLLIN},
		{.fd = v->bell.fd, .events = POLLIN},
	};

	reload_child_fill_poll(&v->child, fds + 2);
	count += admin_fill_poll(v->parts.admin, &v->parts.admin_listeners, fds + count);
	if (poll(fds, count,
		 clock_timeout_ms(clock_sooner(deadline_ns(v), expiry_ns), clock_now_ns())) < 0 &&
	    errno != EINTR)
		fail(errno, "poll");
	bell_clear(&v->bell);
}

static void run(struct server *v)
{
	while (!pool_has_ended(v->parts.pool)) {
		/* Once the acceptor has ended, the main thread keeps timeouts.queue. */
		wait_for_events(v, v->closed ? parts_expire(&v->parts) : UINT64_MAX);
		feed_watchdog(v);
		if (!v->draining && clock_now_ns() >= v->lame_duck_end_ns)
			drain_begin(v, v->drain_why);
		if (v->draining)
			drain_continue(v);
		if (v->draining && clock_now_ns() >= v->drain_deadline_ns)
			drain_end(v, "drain deadline");
		if (acceptor_is_broken(v->parts.acceptor) && !v->draining) {
			v->failed = true;
			drain_begin(v, "no more connections can be accepted");
		}
		read_signals(v);
		admin_serve(v->parts.admin, v);
		starvation_check(&v->starvation, &v->parts);
		report_continue(&v->report, &v->parts);
		reap_children(v);
		if (reload_child_is_reading(&v->child))
			reload_continue(v);
	}
}

int server_run(struct settings *s, const struct config_source *source)
{
	struct server v = {
		.source = source,
		.bell.fd = -1,
		.signal_fd = -1,
		.alive_due_ns = notify_alive_ns() ? 0 : UINT64_MAX,
		.lame_duck_end_ns = UINT64_MAX,
		.report = {.started_s = time(NULL), .loaded_s = time(NULL)},
	};

	reload_child_init(&v.child);
	v.failed = !open_events(&v) || !parts_start(&v.parts, s, &v.bell);
	if (!v.failed) {
		reload_warn(&v);
		server_announce_ready(&v);
		if (s->log.target == LOG_TARGET_SYSLOG) {
			log_open(s->log.target, s->log.level);
			server_announce_ready(&v);
		}
		run(&v);
		report_end(&v.report, &v.parts);
		log_info("stopped accepted=%" PRIu64, queue_figures(v.parts.queue).pushed);
	}
	parts_end(&v.parts);
	log_rate_tell();
	bell_close(&v.bell);
	if (v.signal_fd >= 0)
		close(v.signal_fd);
	return v.failed ? 1 : 0;
}
