/*
 * A worker, with its connections, in a simulated world: the real worker.c, worker_conns.c,
 * spin.c, timeouts.c, share_work.c, conn*.c and deadline_list.c run on system calls, a clock, a
 * heap and a queue that are all made up from one 64-bit seed. The linker replaces the real
 * functions by the __wrap_ functions of these files. All of it is one thread.
 *
 * sockets.c   recv, send, close: what the kernel answers
 * peers.c     what the clients do
 * polling.c   epoll_wait and its kin, and the clock: time passes here
 * heap.c      malloc and its kin
 * operator.c  the queue, and what the rest of the server does to a worker
 * oracle.c    what must hold at each wake-up
 * main.c      options, one run for each seed
 */
#ifndef TESTS_SIMULATION_H
#define TESTS_SIMULATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dice.h"
#include "echopool/pool/conn.h"
#include "echopool/pool/rebalance.h"
#include "echopool/pool/worker.h"

#define SOCKETS_MAX    4
#define FIRST_FD       100
#define EPOLL_FD       10
#define PATTERN_BYTES  65536 /* no client sends more */
#define WAKE_UPS_MAX   100000
#define WRITE_CHECKS   8   /* at a connection with pending bytes, within timeouts.write */
#define LOOK_PERIOD_MS 100 /* how often a worker looks for one to close for others */
#define ADDRESSES      3   /* from which clients come */

enum stage {
	STAGE_PLANNED, /* its client has not come yet, or waits in the queue */
	STAGE_HELD,    /* by the worker */
	STAGE_HANDED,  /* on the way to the next worker */
	STAGE_CLOSED
};

/* What a client will do. */
struct plan {
	uint64_t arrives_ns;
	uint32_t total;       /* bytes that it sends */
	uint32_t segment_max; /* at most so many at once */
	uint32_t window_max;  /* bytes that the kernel and it take before it reads */
	uint32_t send_permille;
	uint32_t read_permille; /* 0: it never reads */
	uint32_t breaks_after;  /* so many acts: an error then; 0: never */
	bool finishes;          /* shuts its side down behind the last byte */
	int error;              /* how it breaks */
};

/* A connection: the client, the kernel's part of it, and what the worker did. */
struct sim_socket {
	struct plan plan;
	enum stage stage;
	int fd;
	const unsigned char *bytes; /* what it sends, and must get back */
	uint32_t acts;
	uint32_t sent;     /* by the client */
	uint32_t received; /* by the worker */
	uint32_t echoed;   /* by the worker */
	uint32_t window;   /* what can be echoed now */
	bool finished;     /* the client shut its side down */
	int error;         /* pending in the kernel */

	bool watched; /* is in the epoll set */
	uint32_t interest;
	void *data;

	bool is_new;   /* was taken over since the last epoll_wait */
	bool reported; /* by the last epoll_wait, or asked once more before it is closed */
	bool evicting; /* the last check was for one that waits; it is closed unless it is ready */
	uint64_t since_at_last_check;
	bool acted; /* with recv or send, since */
	bool pending_at_start;
	uint32_t receives; /* in this turn, without EINTR */
	uint32_t sends;

	bool pending_block; /* the worker keeps a block for its pending bytes */
	bool doomed;        /* must be closed in this turn */
	enum conn_end end;
	uint64_t since_ns;   /* when a byte last moved */
	uint64_t taken_ns;   /* when the client last took some that it had been sent */
	uint64_t checked_ns; /* when the worker last asked for that */
};

/* What can happen; each must in a long run. */
enum event {
	EVENT_SHORT_RECEIVE,
	EVENT_SHORT_SEND,
	EVENT_RECEIVE_EAGAIN,
	EVENT_SEND_EAGAIN,
	EVENT_EINTR,
	EVENT_SPURIOUS,
	EVENT_RECEIVE_ERROR,
	EVENT_SEND_ERROR,
	EVENT_EPOLL_ERROR,
	EVENT_NO_CONN_MEMORY,
	EVENT_NO_PENDING_MEMORY,
	EVENT_NO_BUFFER_MEMORY,
	EVENT_BUFFER_CHANGED,
	EVENT_HANDED_READING,
	EVENT_HANDED_WRITING,
	EVENT_GIVEN,
	EVENT_SATURATED,
	EVENT_TAKEN,
	EVENT_IN_VAIN,
	EVENT_COUNT
};

struct simulation {
	uint64_t seed;
	bool verbose;
	bool running; /* otherwise the heap is the real one: the C library's own use of it */
	struct dice dice;

	uint64_t now_ns;
	uint64_t step_max_ns; /* how far the clock goes at once */
	uint64_t woke_ns;     /* when epoll_wait last returned */
	uint64_t look_ns;     /* when the worker looks again for one to close for others */
	uint32_t wake_ups;
	uint32_t fault_permille; /* of each call */

	struct sim_socket sockets[SOCKETS_MAX];
	unsigned int socket_count;
	struct sim_socket *turn; /* the one that is served */

	/* The worker that runs. */
	struct worker *worker;
	struct worker_tuning tuning;
	bool polls; /* it has offered its CPU to others, and looks again */
	uint32_t worker_connections;
	uint64_t expected_ended[CONN_END_COUNT];
	uint64_t received_bytes;
	uint64_t sent_bytes;
	uint64_t taken;
	uint32_t buffer_bytes; /* of the block that it has */
	bool starting;         /* no faults: worker_new() is another test's */
	bool must_take;        /* it must go to the queue */
	bool taking;           /* it was in the queue, and has not waited for events since */
	bool take_due;         /* it closed one, was to, or left some: no sleep before it takes */
	bool rung;             /* what queue_is_rung() answers; the worker may set it itself */
	bool woke_for_time;    /* nothing was reported: a deadline has to have passed */
	bool saturated;
	bool make_room;             /* it is to look for one to close, */
	struct address_key waiting; /* for this one, */
	bool is_patient;            /* which has waited for half a second, */
	struct sim_socket *victim;  /* and must find this one; NULL: none */
	bool is_crowded;            /* what access_is_crowded() answers, */
	uint32_t heaviest;          /* and with which address, from 0 on */
	uint32_t spared;            /* the address that access_may_replace() protects */
	bool calloc_failed;
	bool has_ended;

	/* The operator. */
	bool bell;
	bool tunes;
	uint32_t stop_after;  /* wake-ups; 0: never */
	uint32_t leave_after; /* wake-ups, while leaves are left */
	uint32_t leaves_left;
	bool stopped;
	bool knows_stop; /* the worker knows of it */
	bool leaving;
	unsigned int given_to;
	struct deadline_list handed;
	uint32_t handed_count;

	uint32_t serving[ADDRESSES]; /* that access counts as served */
	int64_t blocks;              /* on the heap */
};

/* Of all runs. */
struct totals {
	uint64_t connections;
	uint64_t wake_ups;
	uint64_t bytes;
	uint64_t ended[CONN_END_COUNT];
	uint64_t events[EVENT_COUNT];
};

extern struct simulation sim;
extern struct totals totals;

/* main.c: prints the seed and what was wrong, and ends the program. */
_Noreturn void sim_fail(const struct sim_socket *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void sim_trace(const struct sim_socket *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* With --verbose: a line of what happens. */
#define trace(...)                              \
	do {                                    \
		if (sim.verbose)                \
			sim_trace(__VA_ARGS__); \
	} while (0)

/* True as often as faults come in this run; counted. */
static inline bool fault(enum event event)
{
	if (sim.starting || !dice_chance(&sim.dice, sim.fault_permille))
		return false;
	totals.events[event]++;
	return true;
}

static inline bool has_pending(const struct sim_socket *s)
{
	return s->received > s->echoed;
}

#define FOR_EACH_SOCKET(s) \
	for (struct sim_socket *s = sim.sockets; s < sim.sockets + sim.socket_count; s++)

/* The address of its client, from 0 on. */
static inline uint32_t address_of(const struct sim_socket *s)
{
	return (uint32_t)s->fd % ADDRESSES;
}

/* The socket of this descriptor; NULL: it is none. */
struct sim_socket *socket_of(int fd);

/* The worker must close s now, for this reason. */
void doom(struct sim_socket *s, enum conn_end end);

/* peers.c */
void peers_plan(void);
/* One moment in the life of all clients. False: none of them will ever do anything again. */
bool peers_act(void);

/* operator.c */
void operator_plan(void);
/* What the rest of the server does before a worker wakes. */
void operator_act(void);
void operator_stop(void);
/* Wakes the worker for the queue. */
void operator_ring(void);
uint32_t operator_waiting(void);
/* When the next client comes that is not there yet; UINT64_MAX: none will. */
uint64_t operator_next_arrival(void);

/* oracle.c */
/* Checks all that must hold when the worker is done with what epoll_wait reported. */
void oracle_settled(void);
void oracle_deeds(void);
/* Whether a deadline has come. */
bool oracle_is_due(void);
/* And when it sleeps now. */
void oracle_timeout(int timeout_ms);
/* Why the worker may close s now; fails when it may not. */
enum conn_end oracle_reason(struct sim_socket *s);

/* The worker asks when a client took something last. */
void oracle_check(struct sim_socket *s);

/* The worker polls a connection before it closes it, which is right only when its time has come. */
void oracle_last_check(struct sim_socket *s);
/* The one that the worker must close for another that waits; NULL: it may close none. */
struct sim_socket *oracle_victim(void);
void oracle_ended(void);

#endif
