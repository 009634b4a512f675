/*
 * Connections in the order of their deadlines: a circular list, oldest first; see the header.
 */
#include "echopool/pool/deadline_list.h"

#include <stddef.h>

#include "echopool/base/clock.h"

void deadline_list_init(struct deadline_list *list)
{
	list->head.prev = &list->head;
	list->head.next = &list->head;
}

static void insert_after(struct deadline_entry *older, struct deadline_entry *entry)
{
	entry->prev = older;
	entry->next = older->next;
	entry->next->prev = entry;
	older->next = entry;
}

void deadline_list_append(struct deadline_list *list, struct deadline_entry *entry, uint64_t now_ns)
{
	entry->since_ns = now_ns;
	insert_after(list->head.prev, entry);
}

void deadline_list_insert(struct deadline_list *list, struct deadline_entry *entry)
{
	struct deadline_entry *older = list->head.prev;

	while (older != &list->head && older->since_ns > entry->since_ns)
		older = older->prev;
	insert_after(older, entry);
}

void deadline_list_move_all(struct deadline_list *to, struct deadline_list *from)
{
	if (from->head.next == &from->head)
		return;
	from->head.next->prev = to->head.prev;
	to->head.prev->next = from->head.next;
	from->head.prev->next = &to->head;
	to->head.prev = from->head.prev;
	deadline_list_init(from);
}

void deadline_list_remove(struct deadline_entry *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
}

void deadline_list_touch(struct deadline_list *list, struct deadline_entry *entry, uint64_t now_ns)
{
	deadline_list_remove(entry);
	deadline_list_append(list, entry, now_ns);
}

struct deadline_entry *deadline_list_oldest(const struct deadline_list *list)
{
	return list->head.next == &list->head ? NULL : list->head.next;
}

uint64_t deadline_list_next_ns(const struct deadline_list *list, uint32_t timeout_ms)
{
	const struct deadline_entry *oldest = deadline_list_oldest(list);

	if (!oldest || timeout_ms == 0)
		return DEADLINE_NEVER;
	return oldest->since_ns + timeout_ms * NS_PER_MS;
}
