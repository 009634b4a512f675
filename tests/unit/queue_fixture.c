/*
 * A queue with bells and threads that sleep in it; see the header.
 */
#include "queue_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "sockets.h"

void open_queue(struct fixture *f, uint32_t limit, uint32_t worker_connections)
{
	f->queue = queue_new(limit, BELLS);
	assert_non_null(f->queue);
	queue_set_capacity(f->queue, BELLS, worker_connections);
	for (unsigned int i = 0; i < BELLS; i++) {
		assert_true(bell_open(&f->bells[i]));
		queue_set_slot(f->queue, i, &f->bells[i]);
	}
}

void close_queue(struct fixture *f)
{
	queue_free(f->queue);
	for (unsigned int i = 0; i < BELLS; i++)
		bell_close(&f->bells[i]);
}

static bool push_number(struct queue *q, int number, bool asked)
{
	struct arrival a = {.fd = FD_BASE + number};
	struct arrival displaced;
	bool pushed = queue_push(q, &a, asked, &displaced);

	assert_int_equal(displaced.fd, -1);
	assert_int_equal(a.fd, pushed ? -1 : FD_BASE + number);
	return pushed;
}

bool push(struct queue *q, int number)
{
	return push_number(q, number, false);
}

bool push_asked(struct queue *q, int number)
{
	return push_number(q, number, true);
}

void take(struct queue *q, unsigned int slot, uint32_t held, int first, unsigned int count)
{
	struct queue_batch batch;

	queue_take(q, slot, held, false, &batch);
	assert_int_equal(batch.count, count);
	for (unsigned int i = 0; i < count; i++)
		assert_int_equal(batch.arrivals[i].fd, FD_BASE + first + (int)i);
}

void others_hold(struct fixture *f, uint32_t held)
{
	for (unsigned int i = 1; i < BELLS; i++)
		take(f->queue, i, held, 0, 0);
}

bool rung(struct fixture *f, unsigned int slot)
{
	bool was = is_ready(f->bells[slot].fd, POLLIN);

	bell_clear(&f->bells[slot]);
	return was;
}

static void pause_ms(long ms)
{
	const struct timespec pause = {.tv_nsec = ms * 1000000};

	nanosleep(&pause, NULL);
}

/* The state of a thread as the kernel reports it, or 0 when it cannot be read. */
static char state_of(int tid)
{
	char path[64], text[512];
	const char *name_end;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	name_end = strrchr(text, ')');
	return name_end && name_end[1] == ' ' ? name_end[2] : '\0';
}

void start_sleeper(struct sleeper *s, struct queue *q, void *(*body)(void *))
{
	bool asleep = false;

	*s = (struct sleeper){.queue = q};
	assert_int_equal(pthread_create(&s->thread, NULL, body, s), 0);
	for (int i = 0; i < 10000 && !asleep; i++) {
		const int tid = atomic_load(&s->tid);

		asleep = tid && state_of(tid) == 'S';
		if (!asleep)
			pause_ms(1);
	}
	assert_true(asleep);
}

void join_sleeper(struct sleeper *s)
{
	struct timespec deadline;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &deadline), 0);
	deadline.tv_sec += 10;
	assert_int_equal(pthread_timedjoin_np(s->thread, NULL, &deadline), 0);
}
