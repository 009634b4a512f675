/*
 * One connection to the server: opens it, sends messages, compares what comes back. It knows
 * nothing of how its thread waits or when a message is due.
 *
 * A client belongs to one thread of the load, and only that thread calls these functions.
 *
 * Its socket is watched edge-triggered, for both directions at once: client_receive() reads until
 * the socket has no more, client_send() writes until it is full or all is sent.
 */
#ifndef ECHOLOAD_CLIENT_H
#define ECHOLOAD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "echopool/base/address.h"
#include "pattern.h"
#include "schedule.h"
#include "tally.h"
#include "timers.h"

enum client_state {
	CLIENT_CLOSED,
	CLIENT_CONNECTING,
	CLIENT_OPEN,
};

/* A message whose answer is not whole yet. */
struct flight {
	uint64_t due_ns;   /* when it should have been sent: the latency counts from here */
	uint64_t asked_ns; /* when it was: the timeout counts from here */
	uint64_t could_ns; /* when it could have been, but for its thread; see room_ns */
	uint64_t end;      /* how many bytes of the stream have come when its answer is whole */
};

struct client {
	int fd; /* -1 while closed */
	uint32_t index;
	enum client_state state;
	bool idle;           /* never sends */
	bool tried;          /* its first connection stands, or could not be had */
	bool was_due;        /* a message was to be sent in the measured time */
	bool answered;       /* a whole answer came on this connection */
	uint64_t wanted_ns;  /* when this connection was due */
	uint64_t opening_ns; /* when connect(2) was called */
	uint64_t could_ns;   /* when it could have been, but for its thread; see room_ns */

	struct pattern_place sent;
	struct pattern_place received;
	uint64_t answered_bytes; /* where the last whole answer ends in the stream */
	uint64_t asked;          /* where the last message asked for ends in the stream */
	uint32_t messages;       /* asked for on this connection */

	struct flight *flights; /* a ring of flight_limit, not owned */
	uint32_t flight_limit;
	uint32_t flight_first;
	uint32_t in_flight;

	uint64_t echoes;          /* on all of its connections; see load_fairness() */
	struct schedule schedule; /* of its messages, in the open loop */
	struct alarm alarm;       /* when the thread looks after it next */
	struct client *next_free; /* in the thread's list of those that wait for an arrival */
	uint64_t free_ns;         /* since when it is there */
	/*
	 * Since when there is room in flight, or with arrivals since when the client is free; or
	 * would be, had its thread not been held up.
	 */
	uint64_t room_ns;
	int error; /* the errno value of the fault that its socket had */
};

/*
 * Begins to connect, from source unless it is NULL. On success the client owns a new descriptor in
 * fd and is CLIENT_CONNECTING, to be told of by the socket's becoming writable. Else errno tells,
 * and it stays closed.
 */
bool client_open(struct client *c, const union address *server, const union address *source,
		 uint64_t wanted_ns, uint64_t now_ns);

/* Whether the connection stands, once its socket is writable: 0, or the errno value why not. */
int client_connected(struct client *c);

/* Closes the descriptor; what was in flight is forgotten. The client must not be closed. */
void client_close(struct client *c);

/* Adds a message; there must be room: in_flight below flight_limit. */
void client_ask(struct client *c, uint32_t bytes, uint64_t due_ns, uint64_t now_ns);

/*
 * Sends what has been asked for as far as it goes. FAULT_NONE, or what ended the connection, which
 * client_tell() tells.
 */
enum fault client_send(struct client *c);

/*
 * Reads all that has come into buffer, of PATTERN_CHUNK bytes, compares it, and adds wrong bytes
 * to *wrong. The connection goes on after a wrong byte; not after bytes that nobody sent: then, and
 * when it has ended, that fault is returned, else FAULT_NONE. Wrong bytes are told, the end is not:
 * it may be no fault; client_tell() tells it. ended: the event said that the server's side is at
 * its end, which is only seen by reading up to it.
 */
enum fault client_receive(struct client *c, unsigned char *buffer, bool ended, uint64_t *wrong);

/* Tells the fault that client_send() or client_receive() returned; before client_close(). */
void client_tell(const struct client *c, enum fault fault);

/*
 * Takes the oldest message off the flight if its answer is whole, which came at came_ns or later.
 * Returns its length in *bytes and when it was due in *due_ns, or false.
 */
bool client_answer(struct client *c, uint64_t came_ns, uint64_t *due_ns, uint64_t *bytes);

/*
 * When something would have been over that could have begun at could_ns and began at began_ns,
 * where its end came at came_ns or later: it takes as long, whenever it begins.
 */
static inline uint64_t client_over_ns(uint64_t could_ns, uint64_t began_ns, uint64_t came_ns)
{
	return could_ns + (came_ns > began_ns ? came_ns - began_ns : 0);
}

/* Since when the client waits for something to come about, or UINT64_MAX. */
uint64_t client_waits_since_ns(const struct client *c);

#endif
