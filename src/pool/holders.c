/*
 * Who holds the workers; see the header. A worker looks at a bounded number of its connections,
 * from both ends of its lists: those silent for longest, and the most active.
 */
#include "echopool/pool/holders.h"

#include "echopool/pool/worker_state.h"

/* From each end of each list; some hundred microseconds in all. */
#define LOOK_MAX 2048U

static bool goes_before(enum holders_order order, const struct holder *a, const struct holder *b)
{
	switch (order) {
	case HOLDERS_OLDEST:
		return a->accepted_ns < b->accepted_ns;
	case HOLDERS_MOST_BYTES:
		return a->bytes > b->bytes;
	default:
		return a->moved_ns < b->moved_ns;
	}
}

/* Puts it in its place, if it is among the first. */
static void rank(struct holders *all, enum holders_order order, const struct holder *h)
{
	struct holder *top = all->top[order];
	unsigned int i = all->count[order];

	if (i == HOLDERS_TOP && !goes_before(order, h, &top[--i]))
		return;
	if (all->count[order] < HOLDERS_TOP)
		all->count[order]++;
	for (; i > 0 && goes_before(order, h, &top[i - 1]); i--)
		top[i] = top[i - 1];
	top[i] = *h;
}

void holders_add(struct holders *all, const struct holder *h)
{
	for (enum holders_order order = 0; order < HOLDERS_ORDERS; order++)
		rank(all, order, h);
}

static void add(struct worker *w, const struct deadline_entry *e)
{
	const struct conn *c = conn_of_deadline((struct deadline_entry *)e);

	holders_add(&w->holders.holders,
		    &(struct holder){
			    .peer = c->peer,
			    .worker = w->index,
			    .accepted_ns = c->accepted_ns,
			    .moved_ns = c->moved_ns ? c->moved_ns : c->accepted_ns,
			    .bytes = c->received_bytes + c->sent_bytes,
		    });
}

/* From the silent end, and from the active one until both meet. */
static void look(struct worker *w, const struct deadline_list *list)
{
	const struct deadline_entry *e = list->head.next, *met;
	uint32_t n;

	for (n = 0; e != &list->head && n < LOOK_MAX; e = e->next, n++)
		add(w, e);
	met = e->prev;
	for (n = 0, e = list->head.prev; e != met && n < LOOK_MAX; e = e->prev, n++)
		add(w, e);
}

void holders_tell(struct worker *w)
{
	struct holders_answer *a = &w->holders;
	/* Acquire: the main thread has read the last answer. */
	const unsigned int asked = atomic_load_explicit(&a->asked, memory_order_acquire);

	if (atomic_load_explicit(&a->answered, memory_order_relaxed) == asked)
		return;
	a->holders = (struct holders){.missing = 0};
	look(w, &w->reading);
	look(w, &w->writing);
	/* Release: with what was written. */
	atomic_store_explicit(&a->answered, asked, memory_order_release);
}

static bool has_answered(const struct holders_answer *a)
{
	return atomic_load_explicit(&a->answered, memory_order_acquire) ==
	       atomic_load_explicit(&a->asked, memory_order_relaxed);
}

void holders_ask(struct holders_answer *a)
{
	/* One that has not answered yet does so for this too. */
	if (has_answered(a))
		atomic_fetch_add_explicit(&a->asked, 1, memory_order_release);
}

void holders_collect(const struct holders_answer *a, struct holders *all)
{
	if (!a->called)
		return;
	if (!has_answered(a)) {
		all->missing++;
		return;
	}
	for (enum holders_order order = 0; order < HOLDERS_ORDERS; order++)
		for (unsigned int i = 0; i < a->holders.count[order]; i++)
			rank(all, order, &a->holders.top[order][i]);
}
