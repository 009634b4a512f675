/*
 * Connections in the order of their deadlines: a ring of entries, oldest first; see the header.
 * Called by the worker that owns the list.
 */
#include "echopool/pool/deadline_list.h"

#include <stddef.h>

#include "echopool/base/clock.h"

void idle_init(struct idle_list *list)
{
	list->ends.before = &list->ends;
	list->ends.after = &list->ends;
}

static void put_after(struct idle_entry *place, struct idle_entry *entry)
{
	entry->before = place;
	entry->after = place->after;
	entry->after->before = entry;
	place->after = entry;
}

void idle_append(struct idle_list *list, struct idle_entry *entry, uint64_t now_ns)
{
	entry->since_ns = now_ns;
	put_after(list->ends.before, entry);
}

void idle_insert(struct idle_list *list, struct idle_entry *entry, struct idle_entry *near)
{
	struct idle_entry *place = list->ends.before;

	if (near && near->since_ns >= entry->since_ns)
		place = near;
	while (place != &list->ends && place->since_ns > entry->since_ns)
		place = place->before;
	put_after(place, entry);
}

void idle_remove(struct idle_entry *entry)
{
	entry->before->after = entry->after;
	entry->after->before = entry->before;
}

void idle_touch(struct idle_list *list, struct idle_entry *entry, uint64_t now_ns)
{
	if (list->ends.before == entry) {
		entry->since_ns = now_ns;
		return;
	}
	idle_remove(entry);
	idle_append(list, entry, now_ns);
}

struct idle_entry *idle_oldest(const struct idle_list *list)
{
	return list->ends.after == &list->ends ? NULL : list->ends.after;
}

struct idle_entry *idle_newest(const struct idle_list *list)
{
	return list->ends.before == &list->ends ? NULL : list->ends.before;
}

uint64_t idle_deadline_ns(const struct idle_list *list, uint32_t timeout_ms)
{
	const struct idle_entry *oldest = idle_oldest(list);

	if (!oldest || timeout_ms == 0)
		return IDLE_NEVER;
	return oldest->since_ns + timeout_ms * NS_PER_MS;
}

uint32_t idle_count_expired(const struct idle_list *list, uint32_t timeout_ms, uint64_t now_ns,
			    uint32_t most)
{
	const struct idle_entry *e = list->ends.after;
	uint32_t count = 0;

	if (timeout_ms == 0)
		return 0;
	while (count < most && e != &list->ends && e->since_ns + timeout_ms * NS_PER_MS <= now_ns) {
		count++;
		e = e->after;
	}
	return count;
}
