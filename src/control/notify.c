/*
 * Notices to systemd by its protocol, a datagram to the socket in NOTIFY_SOCKET; see the header and
 * sd_notify(3), which has no bound: it waits where systemd does not read. Main thread.
 */
#include "echopool/control/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"

/* How long a notice may wait for room in systemd's queue. */
#define NOTICE_TIMEOUT_MS 1000

/* A line of status is as long as the log's; the rest are words and numbers. */
#define NOTICE_BYTES (LOG_LINE_BYTES + 256)

/* The address of NOTIFY_SOCKET; a name that begins with @ is an abstract one (unix(7)). */
static socklen_t make_address(const char *name, struct sockaddr_un *address)
{
	const size_t length = strlen(name);

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if ((name[0] != '/' && name[0] != '@') || length >= sizeof(address->sun_path))
		return 0;
	memcpy(address->sun_path, name, length);
	if (name[0] == '@')
		address->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

/* Returns 0 or an errno value. */
static int send_notice(const char *name, const char *notice, int flags)
{
	const struct timeval most = {.tv_usec = NOTICE_TIMEOUT_MS % 1000 * 1000L,
				     .tv_sec = NOTICE_TIMEOUT_MS / 1000};
	struct sockaddr_un address;
	const socklen_t bytes = make_address(name, &address);
	int fd, error = 0;

	if (!bytes)
		return EINVAL;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most)) != 0)
		flags |= MSG_DONTWAIT;
	if (sendto(fd, notice, strlen(notice), flags | MSG_NOSIGNAL,
		   (const struct sockaddr *)&address, bytes) < 0)
		error = errno;
	close(fd); /* a datagram has left or not */
	return error;
}

static void notify(const char *state, int flags, const char *notice)
{
	const char *name = getenv("NOTIFY_SOCKET");
	const int error = name ? send_notice(name, notice, flags) : 0;

	if (error)
		log_warning("cannot tell systemd %s: %s", state, strerror(error));
}

void notify_ready(const char *status)
{
	char notice[NOTICE_BYTES];

	snprintf(notice, sizeof(notice), "READY=1\nSTATUS=%s", status);
	notify("READY", 0, notice);
}

void notify_reloading(void)
{
	char notice[NOTICE_BYTES];

	snprintf(notice, sizeof(notice), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		 clock_now_ns() / NS_PER_US);
	notify("RELOADING", 0, notice);
}

void notify_stopping(const char *status, uint64_t most_ms)
{
	char notice[NOTICE_BYTES];

	snprintf(notice, sizeof(notice), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64 "\nSTATUS=%s",
		 most_ms * 1000, status);
	notify("STOPPING", 0, notice);
}

void notify_alive(void)
{
	notify("WATCHDOG", MSG_DONTWAIT, "WATCHDOG=1");
}

uint64_t notify_alive_ns(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t us;

	if (!usec || (pid && strtoll(pid, NULL, 10) != (long long)getpid()))
		return 0;
	us = strtoull(usec, NULL, 10);
	return us < UINT64_MAX / NS_PER_US ? us * NS_PER_US / 2 : 0;
}
