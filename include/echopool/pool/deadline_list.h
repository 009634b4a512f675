/*
 * Connections in the order of their deadlines. All in one list have the same timeout, so that is
 * the order in which something last happened on them, and every operation but
 * deadline_list_insert() takes the same few steps however many there are. A list belongs to one
 * worker, whose thread calls these functions, or to the queue, under whose lock they are called.
 */
#ifndef ECHOPOOL_POOL_DEADLINE_LIST_H
#define ECHOPOOL_POOL_DEADLINE_LIST_H

#include <stdint.h>

/* The part of a connection that a list holds; it is in at most one list. As the list. */
struct deadline_entry {
	struct deadline_entry *prev;
	struct deadline_entry *next;
	/* When something last happened on it; with pending bytes, or when it was last checked. */
	uint64_t since_ns;
};

/* The owner's: a worker's thread, or the queue's lock. */
struct deadline_list {
	struct deadline_entry head; /* next is the oldest, prev the newest; itself when empty */
};

#define DEADLINE_NEVER UINT64_MAX

void deadline_list_init(struct deadline_list *list);

/* Appends an entry that is in no list: something happened on it now. Times never run backwards. */
void deadline_list_append(struct deadline_list *list, struct deadline_entry *entry,
			  uint64_t now_ns);

/*
 * Inserts an entry that is in no list in the order of its since_ns, which it keeps; the search goes
 * from the newest towards the oldest.
 */
void deadline_list_insert(struct deadline_list *list, struct deadline_entry *entry);

/* Moves all entries of from, which becomes empty, behind those of to; none is looked at. */
void deadline_list_move_all(struct deadline_list *to, struct deadline_list *from);

/* Removes an entry from its list. */
void deadline_list_remove(struct deadline_entry *entry);

/* Something happened now on an entry of the list. */
void deadline_list_touch(struct deadline_list *list, struct deadline_entry *entry, uint64_t now_ns);

/* The entry on which nothing has happened for longest; NULL when the list is empty. */
struct deadline_entry *deadline_list_oldest(const struct deadline_list *list);

/* The oldest entry's deadline; DEADLINE_NEVER when the list is empty or the timeout is 0. */
uint64_t deadline_list_next_ns(const struct deadline_list *list, uint32_t timeout_ms);

#endif
