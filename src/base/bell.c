/*
 * Bells; see the header. bell_open() and bell_close() are called by the bell's owner, the others by
 * any thread.
 */
#include "echopool/base/bell.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "echopool/base/thread.h"

bool bell_open(struct bell *bell)
{
	bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return bell->fd >= 0;
}

void bell_close(struct bell *bell)
{
	if (bell->fd >= 0)
		close(bell->fd); /* an eventfd has nothing to flush, so no error to answer */
	bell->fd = -1;
}

void bell_ring(const struct bell *bell)
{
	const uint64_t one = 1;
	ssize_t n;

	do
		n = write(bell->fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
	/* EAGAIN: the counter is full, so it has been rung already. */
	if (n < 0 && errno != EAGAIN)
		fail(errno, "write to an eventfd");
}

void bell_clear(const struct bell *bell)
{
	uint64_t count;
	ssize_t n;

	do
		n = read(bell->fd, &count, sizeof(count));
	while (n < 0 && errno == EINTR);
	/* EAGAIN: it was silent. */
	if (n < 0 && errno != EAGAIN)
		fail(errno, "read from an eventfd");
}
