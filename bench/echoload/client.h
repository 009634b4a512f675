/*
 * One connection to the server: opens it, sends messages, compares what comes back. How its thread
 * waits and when a message is due is not its business.
 *
 * A client belongs to one thread of the load; only that thread calls these functions.
 *
 * Its socket is watched edge-triggered in both directions: client_receive() reads until it is
 * empty, client_send() writes until it is full or all is sent.
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
	uint64_t asked_ns; /* when it was to be sent: the timeout counts from here */
	uint64_t sent_ns;  /* the same, unless the call itself took long; 0: not sent */
	uint64_t could_ns; /* when it would have been sent by a thread that is never late */
	uint64_t end;      /* where its answer ends in the stream */
};

/* A message whose answer is whole. */
struct answer {
	uint64_t due_ns;
	uint64_t asked_ns;
	uint64_t could_ns;
	uint64_t over_ns; /* when a thread that is never late would have had it */
	uint64_t bytes;
};

struct client {
	int fd; /* -1 while closed */
	uint32_t index;
	enum client_state state;
	bool idle;           /* never sends */
	bool tried;          /* its first connection has succeeded or failed */
	bool was_due;        /* a message was due in the measured time */
	bool answered;       /* a whole answer came on this connection */
	uint64_t wanted_ns;  /* when this connection was due */
	uint64_t opening_ns; /* when connect(2) was called */
	uint64_t could_ns;   /* when a thread that is never late would have called it */
	uint64_t open_ns;    /* when it would have had the connection */
	uint64_t over_ns;    /* when it would have had the last answer */
	uint64_t came_ns;    /* when the last bytes came in */
	bool came_is_known;  /* the kernel told that; otherwise it is when they were read */

	struct pattern_position sent;
	struct pattern_position received;
	uint64_t answered_bytes; /* where the last whole answer ends in the stream */
	uint64_t asked;          /* where the last message asked for ends in the stream */
	uint32_t messages;       /* asked for on this connection */

	struct flight *flights; /* a ring of flight_limit, not owned */
	uint32_t flight_limit;
	uint32_t flight_first;
	uint32_t in_flight;

	uint64_t echoes;          /* on all of its connections; see load_fairness() */
	struct schedule schedule; /* of its messages, in the open loop */
	struct alarm alarm;       /* when the thread serves it next */
	struct client *next_free; /* in the thread's list of clients that wait for an arrival */
	uint64_t free_ns;         /* since when it is in that list */
	/*
	 * Since when there is room in flight, or with arrivals since when the client is free; as it
	 * would be if its thread were never late.
	 */
	uint64_t room_ns;
	int error; /* the errno value of its socket's fault */
};

/*
 * Begins to connect, from source unless it is NULL. wanted_ns 0: it is due now. On success the
 * client owns a new descriptor in fd and is CLIENT_CONNECTING until the socket is writable. On
 * failure errno is set, and the client stays closed.
 */
bool client_open(struct client *c, const union address *server, const union address *source,
		 uint64_t wanted_ns);

/*
 * Once the socket is writable: 0 when it is connected to the server, or the errno value why not.
 * Where nobody listens, a socket that has the server's port as its own connects to itself, which is
 * ECONNREFUSED.
 */
int client_connected(struct client *c, const union address *server);

/* Closes the descriptor and forgets what was in flight. The client must not be closed. */
void client_close(struct client *c);

/* Adds a message. There must be room: in_flight is below flight_limit. */
void client_ask(struct client *c, uint32_t bytes, uint64_t due_ns, uint64_t now_ns);

/*
 * Sends what has been asked for until the socket is full. Returns FAULT_NONE, or the fault that
 * ended the connection, for client_report().
 */
enum fault client_send(struct client *c);

/*
 * Reads until the socket is empty, by way of buffer, of PATTERN_CHUNK bytes; compares, and adds
 * the number of wrong bytes to *wrong. Wrong bytes are reported here, and the connection goes on.
 * Returns a fault when the connection is at its end or brought bytes that nobody sent, for
 * client_report(): an end may be no fault. ended: the event says that the server has closed its
 * side, which only reading up to it shows.
 */
enum fault client_receive(struct client *c, unsigned char *buffer, bool ended, uint64_t *wrong);

/* Reports what client_send() or client_receive() returned; before client_close(). */
void client_report(const struct client *c, enum fault fault);

/* Removes the oldest message in flight if its answer is whole. Returns false, or what it was. */
bool client_answer(struct client *c, struct answer *answer);

/*
 * Something began at began_ns and was over at came_ns. Returns when it would have been over had it
 * begun at could_ns: it takes as long, whenever it begins.
 */
static inline uint64_t client_over_ns(uint64_t could_ns, uint64_t began_ns, uint64_t came_ns)
{
	return could_ns + (came_ns > began_ns ? came_ns - began_ns : 0);
}

/* Since when the client waits for a connection or an answer; UINT64_MAX: it does not. */
uint64_t client_waits_since_ns(const struct client *c);

#endif
