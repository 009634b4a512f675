/*
 * The server's life: start the parts in order, act on signals, drain, stop. All of it is the main
 * thread, which sleeps in poll(2) over a signalfd and one bell that the other threads ring.
 *
 * Drain: the acceptor ends and the listeners close; the queue is closed, so that workers serve what
 * is waiting and then end as soon as they hold nothing. At the deadline, or on a second signal, the
 * queue is stopped, and workers close what they hold.
 */
#include "echopool/server.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "echopool/acceptor.h"
#include "echopool/clock.h"
#include "echopool/fdlimit.h"
#include "echopool/log.h"
#include "echopool/pool.h"
#include "echopool/report.h"
#include "echopool/systemd.h"
#include "echopool/thread.h"

#define STATUS_BYTES (LISTENERS_MAX * ADDRESS_TEXT_BYTES + 256)

/* The main thread's; the parts are shared as their headers say. */
struct server {
	const struct settings *settings;
	unsigned int workers;
	struct fd_share share;
	struct bell bell; /* all workers have ended, or the acceptor is broken */
	int signal_fd;
	struct listeners listeners;
	struct queue *queue;
	struct pool *pool;
	struct acceptor *acceptor;
	struct report report;
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
}

void server_block_signals(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction normal = {.sa_handler = SIG_DFL};
	sigset_t set;

	/* Sockets are written with MSG_NOSIGNAL; this is for the log's pipe. */
	if (sigaction(SIGPIPE, &ignore, NULL) != 0)
		must(errno, "sigaction");
	/* nohup leaves SIGHUP ignored, and an ignored signal never reaches a signalfd. */
	if (sigaction(SIGHUP, &normal, NULL) != 0)
		must(errno, "sigaction");
	fill_signals(&set);
	must(pthread_sigmask(SIG_BLOCK, &set, NULL), "pthread_sigmask");
}

/* The CPUs that this process may use. */
static unsigned int cpu_count(void)
{
	cpu_set_t set;
	long online;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned int)CPU_COUNT(&set);
	/* More CPUs than a cpu_set_t holds. */
	online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (unsigned int)online : 1;
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

static bool open_listeners(struct server *v)
{
	int first;
	int inherited;

	if (systemd_is_missing())
		return false;
	inherited = systemd_listen_fds(&first);
	if (inherited < 0)
		return false;
	if (inherited > 0)
		return listeners_inherit(&v->listeners, v->settings, first,
					 (unsigned int)inherited);
	return listeners_open(&v->listeners, v->settings);
}

/* Gives queue and workers their share of the descriptors, and tells when it is less than asked. */
static bool divide_descriptors(struct server *v)
{
	const struct fd_demand demand = {
		.listeners = v->listeners.count,
		.workers = v->workers,
		.worker_connections = v->settings->pool.worker_connections,
		.queue_limit = v->settings->pool.queue_limit,
	};
	const uint64_t limit = fdlimit_raise();

	if (!fdlimit_divide(limit, &demand, &v->share)) {
		log_error("the limit of %" PRIu64
			  " descriptors is too low: %u workers need at least %" PRIu64
			  "; raise LimitNOFILE= or ulimit -n, or lower pool.workers",
			  limit, v->workers, fdlimit_least(&demand));
		return false;
	}
	if (v->share.worker_connections < demand.worker_connections ||
	    v->share.queue_limit < demand.queue_limit)
		log_warning("the limit of %" PRIu64
			    " descriptors allows %u workers worker_connections=%" PRIu32
			    " (%" PRIu32 " asked) and queue_limit=%" PRIu32 " (%" PRIu32
			    " asked); raise LimitNOFILE= or ulimit -n for more",
			    limit, v->workers, v->share.worker_connections,
			    demand.worker_connections, v->share.queue_limit, demand.queue_limit);
	return true;
}

static bool start_threads(struct server *v)
{
	const struct settings *s = v->settings;
	const struct worker_options worker = {
		.queue = v->queue,
		.worker_connections = v->share.worker_connections,
		.buffer_bytes = s->limits.buffer_bytes,
		.log_connections = s->log.connections,
	};
	const struct acceptor_options acceptor = {
		.listeners = &v->listeners,
		.queue = v->queue,
		.queue_full = s->pool.queue_full,
		.log_connections = s->log.connections,
		.broken = &v->bell,
	};

	v->pool = pool_start(v->workers, &worker, &v->bell);
	if (!v->pool)
		return false;
	v->acceptor = acceptor_start(&acceptor);
	return v->acceptor != NULL;
}

static bool start(struct server *v)
{
	if (!open_events(v) || !open_listeners(v) || !divide_descriptors(v))
		return false;
	v->queue = queue_new(v->share.queue_limit, v->workers);
	if (!v->queue) {
		log_error("no memory for a queue of %" PRIu32 " connections", v->share.queue_limit);
		return false;
	}
	return start_threads(v);
}

static void tell_ready(const struct server *v)
{
	char addresses[STATUS_BYTES], status[STATUS_BYTES + 128];

	listeners_format(&v->listeners, addresses, sizeof(addresses));
	snprintf(status, sizeof(status),
		 "ready on %s; workers=%u worker_connections=%" PRIu32 " queue_limit=%" PRIu32,
		 addresses, v->workers, v->share.worker_connections, v->share.queue_limit);
	log_info("%s", status);
	systemd_notify_ready(status);
}

static void begin_drain(struct server *v, const char *why)
{
	const uint32_t drain_ms = v->settings->timeouts.drain_ms;
	char status[128];

	v->draining = true;
	v->drain_deadline_ns = clock_now_ns() + drain_ms * NS_PER_MS;
	acceptor_stop(v->acceptor);
	listeners_close(&v->listeners);
	snprintf(status, sizeof(status),
		 "%s: draining connections=%" PRIu64 " waiting=%" PRIu32 " for at most %.1f s", why,
		 report_connections(v->pool), queue_waiting(v->queue), drain_ms / 1000.0);
	log_info("%s", status);
	systemd_notify_stopping(status);
	queue_close(v->queue);
}

/* Closes what is still open; the workers end at once. */
static void end_drain(struct server *v, const char *why)
{
	log_info("%s: closing connections=%" PRIu64 " waiting=%" PRIu32, why,
		 report_connections(v->pool), queue_waiting(v->queue));
	queue_stop(v->queue);
	v->drain_deadline_ns = UINT64_MAX;
}

static void on_signal(struct server *v, uint32_t number)
{
	const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";

	switch (number) {
	case SIGUSR1:
		report_log(&v->report, v->acceptor, v->queue, v->pool);
		break;
	case SIGHUP:
		log_warning(
			"SIGHUP: this version does not reload its settings; restart it to apply them");
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
		must(errno, "read from a signalfd");
}

/* Until the drain's deadline, in milliseconds rounded up; -1: there is none. */
static int timeout_ms(const struct server *v)
{
	uint64_t now_ns;

	if (!v->draining || v->drain_deadline_ns == UINT64_MAX)
		return -1;
	now_ns = clock_now_ns();
	if (now_ns >= v->drain_deadline_ns)
		return 0;
	return (int)((v->drain_deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS);
}

static void run(struct server *v)
{
	struct pollfd fds[] = {
		{.fd = v->signal_fd, .events = POLLIN},
		{.fd = v->bell.fd, .events = POLLIN},
	};

	while (!pool_has_ended(v->pool)) {
		int timeout = timeout_ms(v);

		if (timeout == 0)
			end_drain(v, "drain deadline");
		else if (poll(fds, 2, timeout) < 0 && errno != EINTR)
			must(errno, "poll");
		bell_clear(&v->bell);
		if (acceptor_is_broken(v->acceptor) && !v->draining) {
			v->failed = true;
			begin_drain(v, "no more connections can be accepted");
		}
		read_signals(v);
	}
}

/* Ends what start() began, whatever it is, in reverse order. */
static void stop(struct server *v)
{
	if (v->acceptor) {
		if (!v->draining)
			acceptor_stop(v->acceptor);
		acceptor_free(v->acceptor);
	}
	if (v->pool) {
		queue_stop(v->queue);
		pool_free(v->pool);
	}
	if (v->queue)
		queue_free(v->queue);
	listeners_close(&v->listeners);
	bell_close(&v->bell);
	if (v->signal_fd >= 0)
		close(v->signal_fd);
}

int server_run(const struct settings *s)
{
	struct server v = {
		.settings = s,
		.workers = s->pool.workers ? s->pool.workers : cpu_count(),
		.bell.fd = -1,
		.signal_fd = -1,
	};

	v.failed = !start(&v);
	if (!v.failed) {
		tell_ready(&v);
		run(&v);
		log_info("stopped accepted=%" PRIu64, acceptor_figures(v.acceptor).accepted);
	}
	stop(&v);
	return v.failed ? 1 : 0;
}
