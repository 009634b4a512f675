/*
 * The admin endpoint's connections: accepted here, not by libmicrohttpd, which spins where there is
 * no descriptor and stalls at its limit. Main thread.
 *
 * Everything is bounded. A connection has admin.timeout for its whole request and answer. Where all
 * places are taken, the oldest connection is closed for the newest, so that silent clients keep no
 * probe out. Where there is no descriptor, a spare one is given up for the moment.
 */
#include "echopool/control/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/control/admin_http.h"
#include "echopool/control/history.h"
#include "echopool/control/server_state.h"

/* Of newcomers that the kernel holds; while all of these are silent a probe still finds room. */
#define BACKLOG 1024

/* How long no one is accepted after a failure that lasts. */
#define PAUSE_NS (10 * NS_PER_MS)

/* How many are accepted in a row, so that signals and other work have their turn. */
#define ACCEPTS_PER_TURN 32

/* One connection; fd is -1 in a free place. */
struct place {
	int fd;
	uint64_t begun_ns;
	bool over; /* its time is over, and it was shut down */
};

/* The main thread's. */
struct admin {
	struct admin_http *http;
	int spare_fd; /* given up where there is no other descriptor; -1: it was */
	struct place places[ADMIN_CONNECTIONS_MAX];
	unsigned int taken;
	uint64_t paused_until_ns;
	struct history history;
};

unsigned int admin_descriptors(const struct settings *s)
{
	/* libmicrohttpd's epoll set, the spare one, and the one in hand. */
	return s->admin.connections + 3;
}

/* The settings as those of the echo service, whose listeners are opened in the same way. */
static struct settings as_listen(const struct settings *s)
{
	struct settings view = *s;

	view.listen.addresses = s->admin.addresses;
	view.listen.port = s->admin.port;
	view.listen.backlog = BACKLOG;
	view.limits.receive_bytes = 0;
	return view;
}

bool admin_open_listeners(struct listeners *l, const struct settings *s)
{
	const struct settings view = as_listen(s);

	l->count = 0;
	return view.listen.addresses.count == 0 || listeners_open(l, &view);
}

bool admin_change_listeners(const struct listeners *now, struct listeners *next,
			    const struct settings *was, const struct settings *s)
{
	const struct settings view = as_listen(s);

	next->count = 0;
	return view.listen.addresses.count == 0 ||
	       listeners_change(now, next, &view, was->admin.port == 0);
}

static int open_spare(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC); /* -1: there is none for now */
}

/* libmicrohttpd is about to close a connection. */
static void forget(void *argument, int fd)
{
	struct admin *a = argument;

	for (unsigned int i = 0; i < ADMIN_CONNECTIONS_MAX; i++)
		if (a->places[i].fd == fd) {
			a->places[i].fd = -1;
			a->taken--;
		}
}

struct admin *admin_new(void)
{
	struct admin *a = calloc(1, sizeof(*a));

	if (!a) {
		log_error("no memory for the admin endpoint");
		return NULL;
	}
	for (unsigned int i = 0; i < ADMIN_CONNECTIONS_MAX; i++)
		a->places[i].fd = -1;
	a->spare_fd = open_spare();
	a->http = admin_http_new(forget, a);
	if (a->http)
		return a;
	admin_free(a);
	return NULL;
}

const struct history *admin_history(const struct admin *a)
{
	return &a->history;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	if (a->http)
		admin_http_free(a->http);
	if (a->spare_fd >= 0)
		close(a->spare_fd);
	free(a);
}

unsigned int admin_fill_poll(const struct admin *a, const struct listeners *l,
			     struct pollfd fds[static ADMIN_POLL_MAX])
{
	unsigned int count = 0;

	if (!a)
		return 0;
	fds[count++] = (struct pollfd){.fd = admin_http_fd(a->http), .events = POLLIN};
	if (a->paused_until_ns)
		return count;
	for (unsigned int i = 0; i < l->count; i++)
		fds[count++] = (struct pollfd){.fd = l->items[i].fd, .events = POLLIN};
	return count;
}

/* When the time of a connection is over; 0: never. */
static uint64_t end_ns(const struct place *place, const struct settings *s)
{
	return s->admin.timeout_ms ? place->begun_ns + s->admin.timeout_ms * NS_PER_MS : UINT64_MAX;
}

uint64_t admin_due_ns(const struct admin *a, const struct server *v)
{
	const struct settings *s = v->parts.settings;
	uint64_t due_ns = UINT64_MAX;

	if (!a)
		return due_ns;
	due_ns = history_due_ns(&a->history);
	if (a->paused_until_ns)
		due_ns = clock_sooner(due_ns, a->paused_until_ns);
	for (unsigned int i = 0; i < ADMIN_CONNECTIONS_MAX && a->taken; i++)
		if (a->places[i].fd >= 0 && !a->places[i].over)
			due_ns = clock_sooner(due_ns, end_ns(&a->places[i], s));
	return clock_sooner(due_ns, admin_http_due_ns(a->http));
}

/* Ends a connection, whatever it is about: libmicrohttpd closes it in its next run. */
static void end_place(struct place *place)
{
	place->over = true;
	shutdown(place->fd, SHUT_RDWR); /* it may have ended by itself */
}

static void end_late(struct admin *a, const struct settings *s, uint64_t now_ns)
{
	for (unsigned int i = 0; i < ADMIN_CONNECTIONS_MAX; i++)
		if (a->places[i].fd >= 0 && !a->places[i].over &&
		    end_ns(&a->places[i], s) <= now_ns)
			end_place(&a->places[i]);
}

/* Frees the place of the oldest connection, as far as libmicrohttpd lets go of it. */
static void make_room(struct admin *a, const struct server *v)
{
	struct place *oldest = NULL;

	for (unsigned int i = 0; i < ADMIN_CONNECTIONS_MAX; i++)
		if (a->places[i].fd >= 0 && (!oldest || a->places[i].begun_ns < oldest->begun_ns))
			oldest = &a->places[i];
	if (oldest)
		end_place(oldest);
	admin_http_run(a->http, v);
}

static bool is_allowed(const struct settings *s, const union address *peer)
{
	struct cidr range;

	for (size_t i = 0; i < s->admin.allow.count; i++)
		if (cidr_parse(s->admin.allow.items[i], &range) && cidr_matches(&range, peer))
			return true;
	return false;
}

static void admit(struct admin *a, int fd, const union address *peer)
{
	unsigned int i = 0;

	if (a->taken == ADMIN_CONNECTIONS_MAX) {
		close(fd); /* nothing was read from it, so no error matters */
		return;
	}
	while (a->places[i].fd >= 0)
		i++;
	a->places[i] = (struct place){.fd = fd, .begun_ns = clock_now_ns()};
	a->taken++;
	if (!admin_http_add(a->http, fd, peer))
		forget(a, fd);
}

/* Accepts one. Returns 0, or an errno value. */
static int accept_one(int listener_fd, union address *peer, int *fd)
{
	socklen_t length = sizeof(*peer);

	memset(peer, 0, sizeof(*peer));
	do
		*fd = accept4(listener_fd, &peer->any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (*fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	return *fd < 0 ? errno : 0;
}

/*
 * As that, with the spare descriptor where there is no other, or that of the oldest connection.
 * Another thread may be quicker and take it: then there is a pause.
 */
static int accept_anyhow(struct admin *a, const struct server *v, int listener_fd,
			 union address *peer, int *fd)
{
	const int error = accept_one(listener_fd, peer, fd);

	if (error != EMFILE && error != ENFILE)
		return error;
	if (a->spare_fd >= 0)
		close(a->spare_fd);
	else
		make_room(a, v);
	a->spare_fd = -1;
	return accept_one(listener_fd, peer, fd);
}

/* Without a descriptor, accept4() answers EMFILE though nobody waits. */
static bool somebody_waits(int listener_fd)
{
	struct pollfd p = {.fd = listener_fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static void accept_from(struct admin *a, const struct server *v, int listener_fd)
{
	const struct settings *s = v->parts.settings;
	union address peer;
	int fd, error;

	for (int i = 0; i < ACCEPTS_PER_TURN && somebody_waits(listener_fd); i++) {
		error = accept_anyhow(a, v, listener_fd, &peer, &fd);
		if (error) {
			if (error != EAGAIN)
				a->paused_until_ns = clock_now_ns() + PAUSE_NS;
			return;
		}
		/* First: nobody who may ask is closed for one who may not. */
		if (!is_allowed(s, &peer)) {
			close(fd); /* nothing was read from it, so no error matters */
			continue;
		}
		if (a->taken >= s->admin.connections)
			make_room(a, v);
		admit(a, fd, &peer);
		admin_http_run(a->http, v);
	}
}

void admin_serve(struct admin *a, struct server *v)
{
	const struct listeners *l = &v->parts.admin_listeners;
	const uint64_t now_ns = clock_now_ns();

	if (!a)
		return;
	if (a->paused_until_ns <= now_ns)
		a->paused_until_ns = 0;
	history_tick(&a->history, v);
	end_late(a, v->parts.settings, now_ns);
	admin_http_run(a->http, v);
	for (unsigned int i = 0; i < l->count && !a->paused_until_ns; i++)
		accept_from(a, v, l->items[i].fd);
	if (a->spare_fd < 0)
		a->spare_fd = open_spare();
}
