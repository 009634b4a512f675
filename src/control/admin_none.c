/*
 * The admin endpoint of a program that was built without libmicrohttpd: there is none. Main thread.
 */
#include "echopool/base/log.h"
#include "echopool/control/admin.h"

unsigned int admin_descriptors(const struct settings *s)
{
	(void)s;
	return 0;
}

bool admin_open_listeners(struct listeners *l, const struct settings *s)
{
	l->count = 0;
	if (s->admin.addresses.count == 0)
		return true;
	log_error(
		"admin.addresses: this echopool was built without libmicrohttpd; build it with -Dadmin=enabled, or leave the array empty");
	return false;
}

bool admin_change_listeners(const struct listeners *now, struct listeners *next,
			    const struct settings *was, const struct settings *s)
{
	(void)now;
	(void)was;
	return admin_open_listeners(next, s);
}

struct admin *admin_new(void)
{
	log_error(
		"LISTEN_FDS hands over a socket named admin, but this echopool was built without libmicrohttpd");
	return NULL;
}

void admin_free(struct admin *a)
{
	(void)a;
}

unsigned int admin_fill_poll(const struct admin *a, const struct listeners *l,
			     struct pollfd fds[static ADMIN_POLL_MAX])
{
	(void)a;
	(void)l;
	(void)fds;
	return 0;
}

uint64_t admin_due_ns(const struct admin *a, const struct server *v)
{
	(void)a;
	(void)v;
	return UINT64_MAX;
}

void admin_serve(struct admin *a, struct server *v)
{
	(void)a;
	(void)v;
}
