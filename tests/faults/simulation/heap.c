/*
 * The heap: the real one, counted, and short of memory now and then. Blocks that the simulation
 * does not know by their size and moment are none that a worker may ask for.
 */
#include <errno.h>
#include <stdlib.h>

#include "simulation.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void *block);

static void *no_memory(const char *what)
{
	trace(sim.turn, "no memory for %s", what);
	errno = ENOMEM;
	return NULL;
}

static void *counted(void *block)
{
	if (!block)
		abort();
	sim.blocks++;
	return block;
}

static void *allocate_pending(struct sim_socket *s, size_t bytes)
{
	if (bytes != s->received - s->echoed || bytes > sim.buffer_bytes)
		sim_fail(s, "keeps %zu bytes; %u are pending, and the buffer has %u", bytes,
			 s->received - s->echoed, sim.buffer_bytes);
	if (fault(EVENT_NO_PENDING_MEMORY)) {
		doom(s, CONN_END_ERROR);
		return no_memory("pending bytes");
	}
	s->pending_block = true;
	return counted(__real_malloc(bytes));
}

/* Pending bytes, or the buffer of the worker. */
void *__wrap_malloc(size_t bytes)
{
	struct sim_socket *s = sim.turn;

	if (!sim.running)
		return __real_malloc(bytes);
	if (s && has_pending(s) && !s->pending_block && !s->doomed)
		return allocate_pending(s, bytes);
	if (bytes != sim.tuning.buffer_bytes)
		sim_fail(s, "a block of %zu bytes is for nothing that is known", bytes);
	if (fault(EVENT_NO_BUFFER_MEMORY))
		return no_memory("the buffer");
	if (!sim.starting)
		totals.events[EVENT_BUFFER_CHANGED]++;
	sim.buffer_bytes = (uint32_t)bytes;
	return counted(__real_malloc(bytes));
}

/* A connection's record. */
void *__wrap_calloc(size_t count, size_t bytes)
{
	if (!sim.running)
		return __real_calloc(count, bytes);
	if (fault(EVENT_NO_CONN_MEMORY)) {
		sim.calloc_failed = true;
		return no_memory("a connection");
	}
	return counted(__real_calloc(count, bytes));
}

/* The worker itself. */
void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return counted(__real_aligned_alloc(alignment, bytes));
}

void __wrap_free(void *block)
{
	if (block && sim.running)
		sim.blocks--;
	__real_free(block);
}
