/*
 * The systemd protocols, through libsystemd; see the header. Main thread.
 */
#include "echopool/control/systemd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echopool/base/log.h"

#ifdef HAVE_LIBSYSTEMD

#include <inttypes.h>
#include <systemd/sd-daemon.h>

#include "echopool/base/clock.h"

bool systemd_is_missing(void)
{
	return false;
}

int systemd_listen_fds(int *first)
{
	int n = sd_listen_fds(1);

	*first = SD_LISTEN_FDS_START;
	if (n < 0) {
		log_error("LISTEN_FDS, LISTEN_PID: %s", strerror(-n));
		return -1;
	}
	return n;
}

static void notified(const char *state, int result)
{
	if (result < 0)
		log_warning("cannot tell systemd %s: %s", state, strerror(-result));
}

void systemd_notify_ready(const char *status)
{
	notified("READY", sd_notifyf(0, "READY=1\nSTATUS=%s", status));
}

void systemd_notify_reloading(void)
{
	notified("RELOADING",
		 sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_ns() / 1000));
}

void systemd_notify_stopping(const char *status)
{
	notified("STOPPING", sd_notifyf(0, "STOPPING=1\nSTATUS=%s", status));
}

#else

/* LISTEN_FDS is meant for the process that LISTEN_PID names only. */
static bool sockets_are_for_us(void)
{
	const char *pid = getenv("LISTEN_PID");

	return getenv("LISTEN_FDS") && pid && strtol(pid, NULL, 10) == (long)getpid();
}

bool systemd_is_missing(void)
{
	const char *what = sockets_are_for_us()      ? "LISTEN_FDS"
			   : getenv("NOTIFY_SOCKET") ? "NOTIFY_SOCKET"
						     : NULL;

	if (!what)
		return false;
	log_error(
		"%s is set, but this echopool was built without libsystemd; build it with -Dsystemd=enabled, or use Type=exec and no socket unit",
		what);
	return true;
}

int systemd_listen_fds(int *first)
{
	*first = -1;
	return 0;
}

void systemd_notify_ready(const char *status)
{
	(void)status;
}

void systemd_notify_reloading(void)
{
}

void systemd_notify_stopping(const char *status)
{
	(void)status;
}

#endif
