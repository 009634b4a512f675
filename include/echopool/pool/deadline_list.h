/*
 * Connections in the order in which something last happened on them. With one timeout for all, that
 * is the order of their deadlines too, so that every operation takes the same few steps however
 * many there are. A list belongs to one worker, and only its thread touches it.
 */
#ifndef ECHOPOOL_POOL_DEADLINE_LIST_H
#define ECHOPOOL_POOL_DEADLINE_LIST_H

#include <stdint.h>

/* The part of a connection that a list holds; it is in at most one list. */
struct idle_entry {
	struct idle_entry *before;
	struct idle_entry *after;
	uint64_t since_ns; /* when something last happened, CLOCK_MONOTONIC */
};

struct idle_list {
	struct idle_entry ends; /* before is the newest, after the oldest; itself when empty */
};

#define IDLE_NEVER UINT64_MAX

void idle_init(struct idle_list *list);

/* Appends an entry that is in no list: something happened on it now. Times never run backwards. */
void idle_append(struct idle_list *list, struct idle_entry *entry, uint64_t now_ns);

/*
 * Puts an entry that is in no list at its place by its since_ns. near, an entry of the list or
 * NULL, is where the search begins: entries that come newest first, each near the one before, take
 * as many steps as the list is long, all together.
 */
void idle_insert(struct idle_list *list, struct idle_entry *entry, struct idle_entry *near);

/* Takes an entry out of its list. */
void idle_remove(struct idle_entry *entry);

/* Something happened on an entry of the list now. */
void idle_touch(struct idle_list *list, struct idle_entry *entry, uint64_t now_ns);

/* The entry on which nothing has happened for longest; NULL when the list is empty. */
struct idle_entry *idle_oldest(const struct idle_list *list);

/* The entry on which something has happened last; NULL when the list is empty. */
struct idle_entry *idle_newest(const struct idle_list *list);

/* When the oldest entry will have been idle for timeout_ms; IDLE_NEVER for none, and for timeout 0.
 */
uint64_t idle_deadline_ns(const struct idle_list *list, uint32_t timeout_ms);

/* How many entries have been idle for timeout_ms now, at most most; 0 for timeout 0. */
uint32_t idle_count_expired(const struct idle_list *list, uint32_t timeout_ms, uint64_t now_ns,
			    uint32_t most);

#endif
