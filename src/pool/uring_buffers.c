/*
 * The buffers that all connections of an io_uring engine share; see uring_state.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "echopool/pool/uring_state.h"

/* So many shared buffers, but at least these for large ones. */
#define BUFFERS_MIN   8U
#define BUFFERS_BYTES (4U << 20) /* of all together, unless the least are more */

static unsigned int buffers_for(size_t buffer_bytes)
{
	unsigned int count = BUFFERS_MAX;

	while (count > BUFFERS_MIN && count * buffer_bytes > BUFFERS_BYTES)
		count /= 2;
	return count;
}

/* Follows a change of size; where memory is short the old buffer stays. */
static void fit(const struct uring_engine *e, struct buffer *b)
{
	unsigned char *bytes;

	if (b->count == e->buffer_bytes)
		return;
	bytes = malloc(e->buffer_bytes);
	if (!bytes)
		return;
	free(b->bytes);
	*b = (struct buffer){.bytes = bytes, .count = e->buffer_bytes};
}

void uring_give_buffer(struct uring_engine *e, unsigned int number)
{
	struct buffer *b = &e->buffers[number];

	fit(e, b);
	io_uring_buf_ring_add(e->buffer_ring, b->bytes, (unsigned int)b->count,
			      (unsigned short)number, io_uring_buf_ring_mask(BUFFERS_MAX), 0);
	io_uring_buf_ring_advance(e->buffer_ring, 1);
}

bool uring_open_buffers(struct uring_engine *e)
{
	struct io_uring_buf_reg reg = {.ring_entries = BUFFERS_MAX, .bgid = BUFFER_GROUP};
	int error;

	e->buffer_count = buffers_for(e->buffer_bytes);
	error = posix_memalign((void **)&e->buffer_ring, 4096,
			       BUFFERS_MAX * sizeof(struct io_uring_buf));
	if (!error) {
		memset(e->buffer_ring, 0, BUFFERS_MAX * sizeof(struct io_uring_buf));
		reg.ring_addr = (uint64_t)(uintptr_t)e->buffer_ring;
		error = -io_uring_register_buf_ring(&e->ring, &reg, 0);
	}
	if (error) {
		errno = error;
		return false;
	}
	fit(e, &e->spare);
	for (unsigned int i = 0; i < e->buffer_count; i++) {
		fit(e, &e->buffers[i]);
		if (!e->buffers[i].bytes)
			return false;
		uring_give_buffer(e, i);
	}
	return e->spare.bytes != NULL;
}

/* The entries that the kernel may take now do not change while the thread is not in a call. */
void uring_tune(struct engine *engine, size_t buffer_bytes)
{
	struct uring_engine *e = uring_of(engine);

	if (buffer_bytes == e->buffer_bytes)
		return;
	e->buffer_bytes = buffer_bytes;
	fit(e, &e->spare);
	for (unsigned int i = 0; i < BUFFERS_MAX; i++)
		if (e->buffer_ring->bufs[i].len > buffer_bytes)
			e->buffer_ring->bufs[i].len = (unsigned int)buffer_bytes;
}
