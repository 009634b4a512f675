/*
 * A worker that leaves hands all that it holds over at once: it looks at none of them, nor does the
 * queue. The connections between the first and the last of each list are in memory that cannot be
 * touched meanwhile, so that whoever walks the list is caught at the first.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/pool/worker_state.h"

#define WORKERS 3
#define CONNS   (12 * QUEUE_TAKE_MAX) /* in one list */

/* Connections in a list: the first and the last in pages of their own. */
struct guarded {
	unsigned char *pages;
	size_t bytes, page_bytes;
	struct conn *conns[CONNS];
};

struct fixture {
	struct queue *queue;
	struct worker_tuning tuning;
	struct worker *workers[WORKERS];
};

static void fill(struct guarded *g, struct deadline_list *list, uint64_t since_ns)
{
	const size_t middle_bytes = (CONNS - 2) * sizeof(struct conn);

	g->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	g->bytes = (middle_bytes / g->page_bytes + 3) * g->page_bytes;
	g->pages = mmap(NULL, g->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(g->pages, MAP_FAILED);
	g->conns[0] = (struct conn *)g->pages;
	for (size_t i = 1; i < CONNS - 1; i++)
		g->conns[i] = (struct conn *)(g->pages + g->page_bytes) + (i - 1);
	g->conns[CONNS - 1] = (struct conn *)(g->pages + g->bytes - g->page_bytes);
	for (size_t i = 0; i < CONNS; i++) {
		g->conns[i]->fd = -1;
		deadline_list_append(list, &g->conns[i]->deadline, since_ns + i);
	}
}

static void protect(const struct guarded *g, int protection)
{
	assert_int_equal(
		mprotect(g->pages + g->page_bytes, g->bytes - 2 * g->page_bytes, protection), 0);
}

static void free_guarded(const struct guarded *g)
{
	assert_int_equal(munmap(g->pages, g->bytes), 0);
}

static void open_workers(struct fixture *f)
{
	*f = (struct fixture){.queue = queue_new(1, WORKERS)};
	assert_non_null(f->queue);
	atomic_init(&f->tuning.buffer_bytes, 4096);
	for (unsigned int i = 0; i < WORKERS; i++) {
		const struct worker_options options = {.queue = f->queue, .tuning = &f->tuning};

		f->workers[i] = worker_new(i, &options);
		assert_non_null(f->workers[i]);
	}
}

static void close_workers(struct fixture *f)
{
	for (unsigned int i = WORKERS; i-- > 0;)
		worker_free(f->workers[i]);
	queue_free(f->queue);
}

/* The worker that stays, as often as it says that it holds nothing, is given the next of these. */
static void expect_handed(struct fixture *f, const struct guarded *g)
{
	size_t i = 0;

	while (i < CONNS) {
		struct deadline_entry *e;
		struct queue_batch batch;

		queue_take(f->queue, 0, 0, false, &batch);
		while ((e = deadline_list_oldest(&batch.handed))) {
			assert_ptr_equal(conn_of_deadline(e), g->conns[i++]);
			deadline_list_remove(e);
		}
	}
}

static void test_a_worker_that_leaves_walks_no_list(void **state)
{
	struct guarded lists[4];
	struct fixture f;

	(void)state;
	open_workers(&f);
	queue_dismiss(f.queue, 1);
	for (unsigned int i = 0; i < 4; i++) {
		struct worker *w = f.workers[2 - i / 2];

		fill(&lists[i], i % 2 ? &w->writing : &w->reading, i % 2 ? 1 : 1000);
		protect(&lists[i], PROT_NONE);
		w->held += CONNS;
	}
	/* The second finds those of the first in the queue. */
	worker_hand_over(f.workers[2]);
	worker_hand_over(f.workers[1]);
	for (unsigned int i = 0; i < 4; i++)
		protect(&lists[i], PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(f.workers[1 + i]->held, 0);
		assert_int_equal(stat_get(&f.workers[1 + i]->stats.handed_out), 2 * CONNS);
	}
	for (unsigned int i = 0; i < 4; i++)
		expect_handed(&f, &lists[i]);
	for (unsigned int i = 0; i < 4; i++)
		free_guarded(&lists[i]);
	close_workers(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_worker_that_leaves_walks_no_list),
	};

	return cmocka_run_group_tests_name("worker_conns", tests, NULL, NULL);
}
