/*
 * Access control: allow and deny lists, and a limit on the connections of each address. Any thread
 * may call these functions. There is one lock, which is never held together with another.
 */
#ifndef ECHOPOOL_POOL_ACCESS_H
#define ECHOPOOL_POOL_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "echopool/base/address.h"
#include "echopool/config/settings.h"
#include "echopool/pool/address_count.h"

enum access_verdict {
	ACCESS_ADMITTED, /* and counted: access_release() takes it back */
	ACCESS_DENIED,   /* by access.allow or access.deny */
	ACCESS_TOO_MANY, /* limits.connections_per_ip */
	ACCESS_NO_MEMORY,
	ACCESS_VERDICTS
};

struct access;

/* Makes the lists from the settings. Returns NULL when memory is short. */
struct access *access_new(const struct settings *s);

void access_free(struct access *a);

/*
 * Applies other settings to the connections that come from now on; those that were admitted stay,
 * and stay counted. Returns false, and changes nothing, when memory is short.
 */
bool access_update(struct access *a, const struct settings *s);

/*
 * Tells how many connections the pool serves at once, of which one address that is not loopback's
 * may have half where limits.connections_per_ip is 0. Before, there is no such limit.
 */
void access_set_capacity(struct access *a, uint64_t connections);

/* That half: at least 1. */
static inline uint32_t access_half_of(uint64_t connections)
{
	return connections > 1 ? (uint32_t)(connections / 2) : 1;
}

/*
 * Judges a connection from peer. When it is admitted it is counted as *counted, its address cut to
 * limits.prefix_ipv4 or _ipv6, which stays true of it whatever becomes of the settings; and it
 * waits.
 */
enum access_verdict access_admit(struct access *a, const union address *peer,
				 struct address_key *counted);

/* A worker has taken a connection that was counted as this: it waits no more. */
void access_serve(struct access *a, const struct address_key *counted);

/* A connection that was counted as this has ended, which had been served or was not. */
void access_release(struct access *a, const struct address_key *counted, bool served);

/* The weight of an arrival that is not light. */
#define ACCESS_NOT_LIGHT UINT32_MAX

/*
 * How many connections are counted as this, with those that wait, if they are fewer than workers
 * hold of the address of which they hold most; else ACCESS_NOT_LIGHT.
 */
uint32_t access_weight(struct access *a, const struct address_key *counted);

/*
 * Whether workers hold so many connections of one address that one of them should be closed for
 * this one: more by two. That address is in *heaviest then.
 */
bool access_is_crowded(struct access *a, const struct address_key *waiting,
		       struct address_key *heaviest);

/* Of whom workers hold connections: "10.0.0.5", or a network as "2001:db8::/64". */
struct access_holder {
	char text[ADDRESS_TEXT_BYTES];
	uint32_t held; /* at least 1 */
};

/*
 * Those of whom they hold most, most first; where there are many, a tenth of a second ago at most.
 * Returns how many.
 */
#define ACCESS_TOP 5
size_t access_top_holders(struct access *a, struct access_holder top[static ACCESS_TOP]);

/* Whether a silent connection may be closed for one that waits: not if its address has less. */
bool access_may_replace(struct access *a, const struct address_key *silent,
			const struct address_key *waiting);

/* Whether a newcomer could be light: several addresses have connections, and one of them two. */
bool access_may_crowd(struct access *a);

#endif
