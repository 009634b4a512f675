/*
 * Notices to systemd through libsystemd; see the header. Main thread.
 */
#include "echopool/control/notify.h"

#ifdef HAVE_LIBSYSTEMD

#include <inttypes.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"

static void warn_if_failed(const char *state, int result)
{
	if (result < 0)
		log_warning("cannot tell systemd %s: %s", state, strerror(-result));
}

void notify_ready(const char *status)
{
	warn_if_failed("READY", sd_notifyf(0, "READY=1\nSTATUS=%s", status));
}

void notify_reloading(void)
{
	warn_if_failed("RELOADING", sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
					       clock_now_ns() / 1000));
}

void notify_stopping(const char *status)
{
	warn_if_failed("STOPPING", sd_notifyf(0, "STOPPING=1\nSTATUS=%s", status));
}

#else

void notify_ready(const char *status)
{
	(void)status;
}

void notify_reloading(void)
{
}

void notify_stopping(const char *status)
{
	(void)status;
}

#endif
