/*
 * What the tests of the engines share: one engine, real TCP connections that it watches, and their
 * clients. Each function checks what it does.
 */
#ifndef TESTS_ENGINE_FIXTURE_H
#define TESTS_ENGINE_FIXTURE_H

#include <stdbool.h>

#include "echopool/pool/engine.h"
#include "sockets.h"

#define BUFFER_BYTES 4096
#define WAIT_MS      10000
#define CONNS        200 /* more than any engine has buffers for */

struct fixture {
	struct worker_stats stats;
	struct bell bell;
	struct engine *engine;
	unsigned int count;
	struct tcp_pair pairs[CONNS];
	struct conn *conns[CONNS];
};

extern bool uses_uring;

/* What uring_faults.c is told, and tells. */
extern bool engine_has_faults;
extern unsigned int engine_lacked_buffers; /* how often there was no buffer for what came */

/* By the first argument. False: it does not work here, which is said. */
bool choose_engine(int argc, char **argv);

/* An open engine that watches so many connections. */
struct fixture *open_engine(unsigned int count);

/* Of connections that are forgotten or have asked to be closed. */
void close_engine(struct fixture *f);

enum conn_want forget(struct fixture *f, unsigned int i);
void forget_and_close(struct fixture *f);

#endif
