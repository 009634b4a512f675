/*
 * What becomes of an accepted connection: it is admitted and pushed, or turned away; and it is
 * closed when it has waited for too long. The acceptor's thread; once that has ended, the main
 * thread.
 *
 * While no worker has room, nobody may keep the others out who has more than they. A newcomer is
 * light if its address, with all that wait, has fewer than workers hold of the address of which
 * they hold most; for it room is made (timeouts.c). Those with fewest go first, so that nobody for
 * whom no room can be made stands before another, and those that are not light go last; where the
 * queue is full the last one has to go. If several addresses have connections and one of them two
 * or more, the acceptor goes on accepting while the queue is full: a light newcomer must not stand
 * behind the others in the kernel's backlog. Who is not light is turned away then.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/counter.h"
#include "echopool/base/log.h"
#include "echopool/base/log_rate.h"
#include "echopool/net/acceptor_state.h"
#include "echopool/pool/conn.h"

/* Closes a connection that no worker has seen; arrival->fd becomes -1. */
static void turn_away(struct acceptor *a, struct arrival *arrival, const char *reason)
{
	close(arrival->fd); /* nothing was read or written, so no error matters */
	arrival->fd = -1;
	if (a->options.log_connections)
		conn_log_closed(&arrival->peer, 0, 0, arrival->accepted_ns, reason, 0);
}

/* Closes an admitted connection that no worker has taken. */
void acceptor_let_go(struct acceptor *a, struct arrival *arrival, const char *reason)
{
	access_release(a->options.access, &arrival->counted, false);
	turn_away(a, arrival, reason);
}

/* Closes what the full queue has no place for. */
static void exclude(struct acceptor *a, struct arrival *arrival)
{
	const bool rejects = a->options.queue_full == QUEUE_FULL_REJECT;

	stat_add(rejects ? &a->rejected : &a->crowded, 1);
	acceptor_let_go(a, arrival, rejects ? "queue-full" : conn_end_name(CONN_END_CROWDED));
}

static void note_expiry(struct acceptor *a, uint64_t expiry_ns)
{
	if (expiry_ns < a->expiry_ns)
		a->expiry_ns = expiry_ns;
}

static bool push(struct acceptor *a, struct arrival *arrival)
{
	struct queue *q = a->options.queue;
	struct arrival displaced;
	bool pushed;

	arrival->weight = queue_is_saturated(q) && !a->sweeping
				  ? access_weight(a->options.access, &arrival->counted)
				  : ACCESS_NOT_LIGHT;
	pushed = queue_push(q, arrival, a->asked || a->sweeping, &displaced);
	if (displaced.fd >= 0)
		exclude(a, &displaced);
	if (pushed && a->options.queue_ms)
		note_expiry(a, arrival->accepted_ns + a->options.queue_ms * NS_PER_MS);
	return pushed;
}

static void log_accepted(const struct arrival *arrival)
{
	char peer[ADDRESS_TEXT_BYTES], local[ADDRESS_TEXT_BYTES];
	union address own = {0};
	socklen_t length = sizeof(own);

	if (!log_rate_allows())
		return;
	/* Where it came to, which a listener on 0.0.0.0 does not tell. */
	if (getsockname(arrival->fd, &own.any, &length) != 0)
		log_debug("getsockname: %s", strerror(errno));
	log_info("connection accepted peer=%s local=%s", address_format(&arrival->peer, peer),
		 address_format(&own, local));
}

void acceptor_admit(struct acceptor *a, struct arrival *arrival)
{
	static const char *const reasons[ACCESS_VERDICTS] = {
		[ACCESS_DENIED] = "denied",
		[ACCESS_TOO_MANY] = "too-many-of-its-address",
		[ACCESS_NO_MEMORY] = "no-memory",
	};
	enum access_verdict v;

	if (a->options.log_connections)
		log_accepted(arrival);
	v = access_admit(a->options.access, &arrival->peer, &arrival->counted);
	if (v != ACCESS_ADMITTED) {
		stat_add(&a->refused[v], 1);
		turn_away(a, arrival, reasons[v]);
	} else if (!push(a, arrival)) {
		exclude(a, arrival);
	}
}

uint64_t acceptor_expire(struct acceptor *a, uint64_t now_ns)
{
	struct arrival arrival;

	while (a->expiry_ns <= now_ns && queue_expire(a->options.queue, a->options.queue_ms, now_ns,
						      &arrival, &a->expiry_ns)) {
		stat_add(&a->expired, 1);
		wait_totals_add(&a->expired_waits, (now_ns - arrival.accepted_ns) / NS_PER_US);
		acceptor_let_go(a, &arrival, "queue-timeout");
	}
	return a->expiry_ns;
}
