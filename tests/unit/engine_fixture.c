/*
 * See the header.
 */
#include "engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/pool/conn_io.h"

bool uses_uring, engine_has_faults;
unsigned int engine_lacked_buffers;

bool choose_engine(int argc, char **argv)
{
	const char *why;

	uses_uring = argc > 1 && strcmp(argv[1], "io_uring") == 0;
	if (!uses_uring || engine_uring_works(&why))
		return true;
	printf("1..0 # SKIP io_uring does not work here: %s\n", why);
	return false;
}

struct fixture *open_engine(unsigned int count)
{
	struct fixture *f = aligned_alloc(CACHE_LINE_BYTES,
					  (sizeof(*f) / CACHE_LINE_BYTES + 1) * CACHE_LINE_BYTES);

	assert_non_null(f);
	memset(f, 0, sizeof(*f));
	assert_true(bell_open(&f->bell));
	f->engine = uses_uring ? engine_uring_open(&f->bell, BUFFER_BYTES)
			       : engine_epoll_open(&f->bell, BUFFER_BYTES);
	assert_non_null(f->engine);
	f->engine->stats = &f->stats;
	assert_int_equal(f->engine->calls->begin(f->engine), 0);
	f->count = count;
	for (unsigned int i = 0; i < count; i++) {
		struct arrival a;

		tcp_pair_open(&f->pairs[i]);
		a = (struct arrival){.fd = f->pairs[i].ours};
		f->conns[i] = conn_new(&a);
		assert_non_null(f->conns[i]);
		assert_true(f->engine->calls->watch(f->engine, f->conns[i]));
	}
	return f;
}

void close_engine(struct fixture *f)
{
	for (unsigned int i = 0; i < f->count; i++) {
		conn_close(f->conns[i], CONN_END_CLIENT, 1000, false, &f->stats);
		close(f->pairs[i].theirs);
	}
	f->engine->calls->close(f->engine);
	bell_close(&f->bell);
	free(f);
}

enum conn_want forget(struct fixture *f, unsigned int i)
{
	return f->engine->calls->forget(f->engine, f->conns[i]);
}

void forget_and_close(struct fixture *f)
{
	for (unsigned int i = 0; i < f->count; i++)
		assert_int_equal(forget(f, i), CONN_WANT_READ);
	close_engine(f);
}
