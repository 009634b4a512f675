/*
 * One worker's loop: take, wait, serve, time out. The main thread calls worker_new(), _start(),
 * _join() and _free(); everything else runs in the worker's own thread. Nothing here needs a lock:
 * connections come through the queue, and figures and tuning are single atomic numbers.
 *
 * A worker that holds nothing sleeps in queue_take(). One that holds connections sleeps in its
 * engine, which the bell wakes too. It goes to queue_take() when it was rung, which it also does
 * itself when a connection ends. The echo itself takes no lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/thread.h"
#include "echopool/pool/worker_state.h"

static struct engine *open_engine(const struct worker *w)
{
	const size_t buffer_bytes = tuned(&w->options.tuning->buffer_bytes);

	return w->options.uses_uring ? engine_uring_open(&w->bell, buffer_bytes)
				     : engine_epoll_open(&w->bell, buffer_bytes);
}

struct worker *worker_new(unsigned int index, const struct worker_options *options)
{
	struct worker *w = aligned_alloc(CACHE_LINE_BYTES, sizeof(*w));
	int error;

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->index = index;
	w->options = *options;
	w->bell.fd = -1;
	deadline_list_init(&w->reading);
	deadline_list_init(&w->writing);
	if (bell_open(&w->bell))
		w->engine = open_engine(w);
	if (!w->engine) {
		error = errno;
		worker_free(w);
		errno = error;
		return NULL;
	}
	queue_set_slot(options->queue, index, &w->bell);
	return w;
}

void worker_free(struct worker *w)
{
	queue_clear_slot(w->options.queue, w->index);
	if (w->engine)
		w->engine->calls->close(w->engine);
	bell_close(&w->bell);
	free(w);
}

struct holders_answer *worker_holders(struct worker *w)
{
	return &w->holders;
}

const struct worker_stats *worker_stats(const struct worker *w)
{
	return &w->stats;
}

/* Anybody may see since when it has been inside one turn: longer than some means that it hangs. */
static void note_turn(struct worker *w)
{
	atomic_store_explicit(&w->stats.turn_ns, w->now_ns, memory_order_relaxed);
}

static void note_sleep(struct worker *w)
{
	atomic_store_explicit(&w->stats.turn_ns, 0, memory_order_relaxed);
}

/* Takes what the queue has for it; sleeps there while it holds nothing. False: it must end. */
static bool take(struct worker *w)
{
	struct queue_batch batch;

	if (w->held == 0)
		note_sleep(w);
	queue_take(w->options.queue, w->index, w->held, timeouts_may_look(w), &batch);
	w->now_ns = clock_now_ns();
	note_turn(w);
	w->saturated = batch.saturated;
	worker_adopt_handed(w, &batch.handed);
	for (unsigned int i = 0; i < batch.count; i++) {
		wait_totals_add(&w->stats.waits,
				(w->now_ns - batch.arrivals[i].accepted_ns) / 1000);
		worker_adopt(w, &batch.arrivals[i]);
	}
	holders_tell(w);
	/* The queue counts on this room: it must learn if there is none. */
	if (batch.make_room) {
		timeouts_make_room(w, &batch.waiting, batch.waiting_since_ns);
		worker_must_take(w);
	}
	if (batch.leaving && !batch.stopped)
		worker_hand_over(w);
	return !batch.leaving && !batch.stopped && !(batch.ended && w->held == 0);
}

/* It does not sleep when it was rung already, which may have been by itself, without the bell. */
static int timeout_ms(const struct worker *w)
{
	return queue_is_rung(w->options.queue, w->index)
		       ? 0
		       : clock_timeout_ms(timeouts_next_ns(w), w->now_ns);
}

static unsigned int wait_for_events(struct worker *w)
{
	unsigned int events = timeout_ms(w) == 0 ? 0 : spin_wait(w);

	if (events == 0) {
		note_sleep(w);
		events = w->engine->calls->wait(w->engine, timeout_ms(w));
		w->now_ns = clock_now_ns();
	}
	note_turn(w);
	return events;
}

/* Waits for the connections and the bell, and gives those that are ready one turn each. */
static void wait_and_serve(struct worker *w)
{
	const struct engine_calls *const calls = w->engine->calls;
	const unsigned int events = wait_for_events(w);
	struct conn *c;

	stat_add(&w->stats.wakeups, 1);
	stat_add(&w->stats.events, events);
	stat_add(&w->stats.full_batches, events == w->engine->most);
	/* The bell only ends the wait: what it was rung for, queue_is_rung() says. */
	while ((c = calls->next(w->engine)))
		worker_serve(w, c);
	timeouts_apply(w);
	share_work(w);
}

static void *worker_run(void *argument)
{
	struct worker *w = argument;
	char name[16];
	int error;

	snprintf(name, sizeof(name), "worker-%u", w->index);
	thread_set_name(name);
	atomic_store_explicit(&w->tid, gettid(), memory_order_relaxed);
	w->engine->stats = &w->stats;
	error = w->engine->calls->begin(w->engine);
	if (error)
		fail(error, "the start of a worker's engine");
	w->now_ns = clock_now_ns();
	for (;;) {
		if ((w->held == 0 || queue_is_rung(w->options.queue, w->index)) && !take(w))
			break;
		w->engine->calls->tune(w->engine, tuned(&w->options.tuning->buffer_bytes));
		if (w->held)
			wait_and_serve(w);
	}
	worker_close_all(w);
	w->options.on_end(w->options.on_end_argument);
	return NULL;
}

int worker_start(struct worker *w)
{
	return thread_start(&w->thread, worker_run, w);
}

void worker_join(struct worker *w)
{
	thread_join(w->thread);
}

uint64_t worker_cpu_ns(const struct worker *w)
{
	struct timespec used;
	clockid_t clock;

	if (pthread_getcpuclockid(w->thread, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0;
	return (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
}

void worker_read_runqueue(struct worker *w)
{
	char path[48], text[64] = "";
	uint64_t waited_ns;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat",
		 atomic_load_explicit(&w->tid, memory_order_relaxed));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	/* The second number: see Documentation/scheduler/sched-stats.rst of the kernel. */
	if (read(fd, text, sizeof(text) - 1) > 0 && sscanf(text, "%*u %" SCNu64, &waited_ns) == 1)
		w->runqueue_ns = waited_ns;
	close(fd); /* it was only read */
}

uint64_t worker_runqueue_ns(const struct worker *w)
{
	return w->runqueue_ns;
}
