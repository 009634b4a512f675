/*
 * What the tests of the queue share: a queue whose slots have bells, arrivals that are only
 * numbers, and threads that sleep in the queue. Each function checks what it does.
 */
#ifndef TESTS_QUEUE_FIXTURE_H
#define TESTS_QUEUE_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "echopool/pool/queue.h"

#define BELLS 4

/* A queue whose slots have bells. */
struct fixture {
	struct queue *queue;
	struct bell bells[BELLS];
};

void open_queue(struct fixture *f, uint32_t limit, uint32_t worker_connections);

void close_queue(struct fixture *f);

/* Descriptors of the tests are only numbers, far above any that is open. */
#define FD_BASE 1000000

/* Pushes a number; false when the queue is full. */
bool push(struct queue *q, int number);

/* The same for room that was asked for before. */
bool push_asked(struct queue *q, int number);

/* Takes for a worker that holds `held` and checks that it got count numbers, from first on. */
void take(struct queue *q, unsigned int slot, uint32_t held, int first, unsigned int count);

/* The workers behind the first report that they hold so many; nothing waits yet. */
void others_hold(struct fixture *f, uint32_t held);

/* Whether the bell of this slot was rung since the last call. */
bool rung(struct fixture *f, unsigned int slot);

/* A thread that is to sleep in the queue, what it is given there, and its kernel's number. */
struct sleeper {
	struct queue *queue;
	pthread_t thread;
	atomic_int tid;
	struct queue_batch batch;
	uint32_t room;
};

/*
 * Starts the thread and waits, for ten seconds at most, until it sleeps: nothing but the queue can
 * make it. The body first stores its thread's number in tid.
 */
void start_sleeper(struct sleeper *s, struct queue *q, void *(*body)(void *));

/* The thread must have woken, and end. */
void join_sleeper(struct sleeper *s);

#endif
