/*
 * The set of listening sockets: opened, changed and closed together; see the header. Called by the
 * main thread at start and on reload.
 */
#include "echopool/net/listeners.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "echopool/base/log.h"
#include "echopool/net/listener.h"
#include "echopool/net/newcomers.h"

/* How often a port is chosen anew when another address turns out to have it in use. */
#define FREE_PORT_ATTEMPTS 32

bool listeners_add(struct listeners *l, int fd)
{
	struct listener *item = &l->items[l->count];
	socklen_t length = sizeof(item->address);

	if (getsockname(fd, &item->address.any, &length) != 0)
		return false;
	item->fd = fd;
	l->count++;
	return true;
}

enum open_result { OPEN_DONE, OPEN_PORT_TAKEN, OPEN_FAILED };

/* What a set of listeners is opened from. */
struct opening {
	const struct settings *settings;
	const struct listeners *now; /* those that may stay; empty at start */
	uint16_t port;               /* 0: a free one */
};

static bool is_reload(const struct opening *o)
{
	return o->now->count > 0;
}

/* Whether the settings name this address and port. */
static bool is_wanted(const struct opening *o, const union address *a)
{
	const struct string_list *addresses = &o->settings->listen.addresses;

	for (size_t i = 0; i < addresses->count; i++) {
		union address wanted;

		if (address_parse(addresses->items[i], o->port, &wanted) &&
		    address_resolve_scope(addresses->items[i], &wanted) &&
		    address_equal(&wanted, a))
			return true;
	}
	return false;
}

static void share_ports(const struct listeners *l, bool share)
{
	for (unsigned int i = 0; i < l->count; i++)
		if (!listener_set_option(l->items[i].fd, SOL_SOCKET, SO_REUSEPORT, share))
			log_warning("cannot change SO_REUSEPORT of a listener: %s",
				    strerror(errno));
}

/* Whether one of ours that will go excludes this address; with others a port is never shared. */
static bool ours_is_in_the_way(const struct opening *o, const union address *a)
{
	for (unsigned int i = 0; i < o->now->count; i++) {
		const union address *b = &o->now->items[i].address;

		if (address_excludes(a, b) && !is_wanted(o, b))
			return true;
	}
	return false;
}

/*
 * Of a port that was shared the kernel remembers who shared it last, and lets others of the same
 * user in whose address is covered by that one's, though nobody shares any more. So the last has an
 * address of the other family, which covers none of this one, and which no machine has (RFC 5737,
 * RFC 3849). False, with errno set: others can share the port all the same.
 */
static bool keep_others_out(const union address *a)
{
	const bool v6 = a->any.sa_family == AF_INET6;
	union address nobody;

	return address_parse(v6 ? "192.0.2.1" : "2001:db8::1", address_port(a), &nobody) &&
	       listener_can_share(&nobody);
}

/* Where the kernel was short of something that is told; otherwise only a restart helps. */
static int sharing_error(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM
		       ? error
		       : EOPNOTSUPP;
}

/*
 * Opens a listener beside ours that stand in its way: without SO_REUSEPORT on both, 0.0.0.0 and
 * 127.0.0.1 exclude each other on one port. All of ours share it for a moment. Whether others can
 * be kept out is tried before, too: afterwards it would be too late to leave all as it was.
 */
static int open_shared(const struct listeners *l, const struct opening *o, const union address *a,
		       const char **step)
{
	bool alone;
	int fd, error;

	share_ports(o->now, true);
	share_ports(l, true);
	alone = keep_others_out(a);
	fd = alone ? listener_open(a, o->settings, true, is_reload(o), step) : -1;
	error = errno;
	if (fd >= 0 && !keep_others_out(a)) {
		alone = false;
		error = errno;
	}
	share_ports(o->now, false);
	share_ports(l, false);
	if (fd >= 0 && alone) {
		alone = listener_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 0) &&
			!listener_can_share(a) && errno == EADDRINUSE;
		error = errno;
	}
	if (!alone) {
		*step = "cannot keep other processes of this user from";
		error = sharing_error(error);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	errno = error;
	return fd;
}

/* Opens a listener; one that only ours stand in the way of is bound beside them. */
static int open_beside(const struct listeners *l, const struct opening *o, const union address *a,
		       const char **step)
{
	const int fd = listener_open(a, o->settings, false, is_reload(o), step);
	const int error = errno;

	if (fd < 0 && error == EADDRINUSE && ours_is_in_the_way(o, a))
		return open_shared(l, o, a, step);
	errno = error;
	return fd;
}

/* The socket that is bound to this address already, or -1. */
static int find_bound(const struct listeners *l, const union address *a)
{
	for (unsigned int i = 0; i < l->count; i++)
		if (address_equal(&l->items[i].address, a))
			return l->items[i].fd;
	return -1;
}

static enum open_result open_address(struct listeners *l, const struct opening *o,
				     const char *address, uint16_t port, bool port_is_chosen)
{
	char text[ADDRESS_TEXT_BYTES];
	union address a;
	const char *step;
	int fd, error;

	if (!address_parse(address, port, &a)) {
		log_error("listen.addresses: \"%s\" is not a numeric address", address);
		return OPEN_FAILED;
	}
	if (!address_resolve_scope(address, &a)) {
		log_error("listen.addresses: \"%s\": %s", address,
			  errno == ENODEV ? "no such interface" : strerror(errno));
		return OPEN_FAILED;
	}
	fd = find_bound(o->now, &a);
	if (fd >= 0 && listeners_have(l, fd)) {
		log_error("listen.addresses: \"%s\" is there twice", address);
		return OPEN_FAILED;
	}
	if (fd < 0)
		fd = open_beside(l, o, &a, &step);
	error = errno;
	if (fd >= 0 && listeners_add(l, fd))
		return OPEN_DONE;
	if (fd >= 0) {
		log_error("cannot tell the address of a listener: %s", strerror(errno));
		if (!listeners_have(o->now, fd))
			close(fd);
		return OPEN_FAILED;
	}
	address_format(&a, text);
	if (listener_family_is_lacking(&a, error)) {
		log_warning("not listening on %s: %s", text, strerror(error));
		return OPEN_DONE;
	}
	if (port_is_chosen && error == EADDRINUSE)
		return OPEN_PORT_TAKEN;
	log_error("%s %s: %s%s", step, text, strerror(error), listener_advice(error));
	return OPEN_FAILED;
}

/* Opens all, or leaves open what was. With port 0 the first decides the port of the others. */
static enum open_result open_all(struct listeners *l, const struct opening *o)
{
	const struct string_list *addresses = &o->settings->listen.addresses;
	enum open_result result = OPEN_DONE;

	l->count = 0;
	for (size_t i = 0; i < addresses->count && result == OPEN_DONE; i++) {
		const bool chosen = o->port == 0 && l->count > 0;
		const uint16_t port = chosen ? address_port(&l->items[0].address) : o->port;

		result = open_address(l, o, addresses->items[i], port, chosen);
	}
	if (result != OPEN_DONE) {
		listeners_close_except(l, o->now);
		l->count = 0;
	}
	return result;
}

static bool open_set(struct listeners *l, const struct opening *o)
{
	enum open_result result = OPEN_PORT_TAKEN;

	for (int i = 0; i < FREE_PORT_ATTEMPTS && result == OPEN_PORT_TAKEN; i++)
		result = open_all(l, o);
	if (result == OPEN_PORT_TAKEN)
		log_error("listen.port: no port is free on all the addresses");
	else if (result == OPEN_DONE && l->count == 0)
		log_error("listen.addresses: none of them can be listened on");
	return result == OPEN_DONE && l->count > 0;
}

bool listeners_open(struct listeners *l, const struct settings *s)
{
	static const struct listeners none = {.count = 0};
	const struct opening o = {
		.settings = s,
		.now = &none,
		.port = (uint16_t)s->listen.port,
	};

	listener_warn_of_cuts(s);
	return open_set(l, &o);
}

bool listeners_change(const struct listeners *now, struct listeners *next, const struct settings *s,
		      bool port_stays)
{
	struct opening o = {.settings = s, .now = now, .port = (uint16_t)s->listen.port};

	if (o.port == 0 && port_stays && now->count)
		o.port = address_port(&now->items[0].address);
	listener_warn_of_cuts(s);
	return open_set(next, &o);
}

void listeners_admit(const struct listeners *next, const struct listeners *now)
{
	for (unsigned int i = 0; i < next->count; i++)
		if (!listeners_have(now, next->items[i].fd))
			newcomers_release(next->items[i].fd);
}

bool listeners_have(const struct listeners *l, int fd)
{
	for (unsigned int i = 0; i < l->count; i++)
		if (l->items[i].fd == fd)
			return true;
	return false;
}

void listeners_close_except(const struct listeners *l, const struct listeners *keep)
{
	for (unsigned int i = 0; i < l->count; i++)
		if (!listeners_have(keep, l->items[i].fd))
			close(l->items[i].fd); /* a listener has nothing to flush */
}

void listeners_set_backlog(const struct listeners *l, uint32_t backlog)
{
	/* listen(2) on a socket that listens changes its backlog. */
	for (unsigned int i = 0; i < l->count; i++)
		if (listen(l->items[i].fd, (int)backlog) != 0)
			log_warning("cannot change the backlog of a listener: %s", strerror(errno));
}

void listeners_tune(const struct listeners *l, const struct settings *s)
{
	for (unsigned int i = 0; i < l->count; i++) {
		if (!listener_tune(l->items[i].fd, s))
			log_warning("cannot change the options of a listener: %s", strerror(errno));
	}
}

void listeners_close(struct listeners *l)
{
	static const struct listeners none = {.count = 0};

	listeners_close_except(l, &none);
	l->count = 0;
}

void listeners_format(const struct listeners *l, char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < l->count && used < bytes; i++) {
		char one[ADDRESS_TEXT_BYTES];
		int n = snprintf(text + used, bytes - used, "%s%s", i ? ", " : "",
				 address_format(&l->items[i].address, one));

		if (n < 0)
			return;
		used += (size_t)n;
	}
}
