/*
 * The server's life: start, act on signals, reload, drain, stop. All of it is the main thread,
 * which sleeps in poll(2) over a signalfd, one bell that the other threads ring, and the outputs of
 * the child that reads the file again.
 *
 * Drain: the service is closed, so that workers serve what was accepted and then end as soon as
 * they hold nothing. At the deadline, or on a second signal, the queue is stopped, and workers
 * close what they hold. A drain wins over a reload.
 */
#include "echopool/control/server.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/base/thread.h"
#include "echopool/control/report.h"
#include "echopool/control/service.h"
#include "echopool/control/systemd.h"

#define STATUS_BYTES LOG_LINE_BYTES

/* The main thread's. */
struct server {
	struct service service;
	const struct config_source *source;
	struct bell bell; /* all workers have ended, or the acceptor is broken */
	int signal_fd;
	struct report report;
	struct reload reload;
	bool reload_again; /* SIGHUP came while a reload was under way */
	bool draining;
	bool failed; /* the exit status will be 1 */
	uint64_t drain_deadline_ns;
};

static void fill_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGCHLD);
}

void server_block_signals(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction normal = {.sa_handler = SIG_DFL};
	sigset_t set;

	/* Sockets are written with MSG_NOSIGNAL; this is for the log's pipe. */
	if (sigaction(SIGPIPE, &ignore, NULL) != 0)
		fail(errno, "sigaction");
	/* Were it ignored, the child that reads the file could not be waited for. */
	if (sigaction(SIGCHLD, &normal, NULL) != 0)
		fail(errno, "sigaction");
	fill_signals(&set);
	must(pthread_sigmask(SIG_BLOCK, &set, NULL), "pthread_sigmask");
}

static bool open_events(struct server *v)
{
	sigset_t set;

	fill_signals(&set);
	v->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (v->signal_fd >= 0 && bell_open(&v->bell))
		return true;
	log_error("cannot wait for signals: %s", strerror(errno));
	return false;
}

static void tell_ready(const struct server *v)
{
	char status[STATUS_BYTES];

	service_describe(&v->service, status, sizeof(status));
	log_info("%s", status);
	systemd_notify_ready(status);
}

static void begin_reload(struct server *v)
{
	if (!v->source->file) {
		log_warning("SIGHUP: no file was given with -c, so there is nothing to read again");
	} else if (v->draining) {
		log_warning("SIGHUP: draining, the file is not read again");
	} else if (v->reload.child) {
		v->reload_again = true;
	} else {
		log_info("SIGHUP: reading %s again", v->source->file);
		systemd_notify_reloading();
		if (!reload_start(&v->reload, v->source)) {
			v->report.refused_reloads++;
			tell_ready(v);
		}
	}
}

static void continue_reload(struct server *v)
{
	struct settings next;

	switch (reload_continue(&v->reload, &next)) {
	case RELOAD_PENDING:
		return;
	case RELOAD_READ:
		if (service_apply(&v->service, &next)) {
			v->report.reloads++;
			break;
		}
		log_error("reload: the settings stay as they are");
		v->report.refused_reloads++;
		break;
	case RELOAD_REFUSED:
		v->report.refused_reloads++;
		break;
	}
	tell_ready(v);
	if (v->reload_again) {
		v->reload_again = false;
		begin_reload(v);
	}
}

static void begin_drain(struct server *v, const char *why)
{
	const uint32_t drain_ms = v->service.settings->timeouts.drain_ms;
	char status[128];
	uint32_t waiting;

	v->draining = true;
	v->drain_deadline_ns = clock_now_ns() + drain_ms * NS_PER_MS;
	reload_abort(&v->reload);
	service_close(&v->service);
	/* First: who is taken meanwhile counts twice, and not never. */
	waiting = queue_figures(v->service.queue).waiting;
	snprintf(status, sizeof(status),
		 "%s: draining connections=%" PRIu64 " waiting=%" PRIu32 " for at most %.1f s", why,
		 report_connections(v->service.pool), waiting, drain_ms / 1000.0);
	log_info("%s", status);
	systemd_notify_stopping(status);
}

/* Closes what is still open; the workers end at once. */
static void end_drain(struct server *v, const char *why)
{
	const uint32_t waiting = queue_figures(v->service.queue).waiting; /* first, as above */

	log_info("%s: closing connections=%" PRIu64 " waiting=%" PRIu32, why,
		 report_connections(v->service.pool), waiting);
	queue_stop(v->service.queue);
	v->drain_deadline_ns = UINT64_MAX;
}

static void on_signal(struct server *v, uint32_t number)
{
	const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";

	switch (number) {
	case SIGUSR1:
		report_log(&v->report, v->service.acceptor, v->service.queue, v->service.pool);
		break;
	case SIGHUP:
		begin_reload(v);
		break;
	case SIGCHLD: /* run() looks at the child after every signal */
		break;
	default:
		if (v->draining)
			end_drain(v, name);
		else
			begin_drain(v, name);
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

/* When something must be done without an event. In a drain the queue's timeout is the main thread's
 * to keep. */
static uint64_t deadline_ns(struct server *v)
{
	uint64_t expiry_ns;

	if (!v->draining)
		return v->reload.child ? v->reload.deadline_ns : UINT64_MAX;
	expiry_ns = service_expire(&v->service);
	return expiry_ns < v->drain_deadline_ns ? expiry_ns : v->drain_deadline_ns;
}

/* Sleeps until something happens or the deadline. */
static void wait_for_events(struct server *v)
{
	struct pollfd fds[4] = {
		{.fd = v->signal_fd, .events = POLLIN},
		{.fd = v->bell.fd, .events = POLLIN},
	};

	reload_fill_poll(&v->reload, fds + 2);
	if (poll(fds, 4, clock_timeout_ms(deadline_ns(v), clock_now_ns())) < 0 && errno != EINTR)
		fail(errno, "poll");
	bell_clear(&v->bell);
}

static void run(struct server *v)
{
	while (!pool_has_ended(v->service.pool)) {
		wait_for_events(v);
		if (v->draining && clock_now_ns() >= v->drain_deadline_ns)
			end_drain(v, "drain deadline");
		if (acceptor_is_broken(v->service.acceptor) && !v->draining) {
			v->failed = true;
			begin_drain(v, "no more connections can be accepted");
		}
		read_signals(v);
		if (v->reload.child)
			continue_reload(v);
	}
}

int server_run(struct settings *s, const struct config_source *source)
{
	struct server v = {.source = source, .bell.fd = -1, .signal_fd = -1};

	reload_init(&v.reload);
	v.failed = !open_events(&v) || !service_start(&v.service, s, &v.bell);
	if (!v.failed) {
		tell_ready(&v);
		if (s->log.target == LOG_TARGET_SYSLOG) {
			log_open(s->log.target, s->log.level);
			tell_ready(&v);
		}
		run(&v);
		log_info("stopped accepted=%" PRIu64, queue_figures(v.service.queue).pushed);
	}
	service_end(&v.service);
	bell_close(&v.bell);
	if (v.signal_fd >= 0)
		close(v.signal_fd);
	return v.failed ? 1 : 0;
}
