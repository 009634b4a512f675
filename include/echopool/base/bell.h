/*
 * A bell wakes a thread that sleeps in poll(2) or epoll_wait(2), where a condition variable cannot
 * reach it: an eventfd(2). Each sleeper has its own; a shared one wakes the wrong thread.
 */
#ifndef ECHOPOOL_BASE_BELL_H
#define ECHOPOOL_BASE_BELL_H

#include <stdbool.h>

struct bell {
	int fd; /* readable once rung; -1: not open */
};

/* Returns false with errno set. */
bool bell_open(struct bell *bell);

/* Closes the bell; one that is not open (fd -1) is left alone. Nobody may ring it any more. */
void bell_close(struct bell *bell);

/* Any thread. A bell that has been rung already stays rung. */
void bell_ring(const struct bell *bell);

/*
 * Makes the bell silent again; look at what it was rung for after this, never before. A sleeper
 * that watches it edge-triggered need not call it: each ring is an edge.
 */
void bell_clear(const struct bell *bell);

#endif
