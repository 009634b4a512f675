/*
 * The rest of the server, as a worker sees it: the queue, the pool, the settings.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "echopool/base/clock.h"
#include "echopool/base/thread.h"
#include "echopool/pool/access.h"
#include "simulation.h"

void __wrap_queue_set_slot(struct queue *q, unsigned int slot, const struct bell *bell);
void __wrap_queue_clear_slot(struct queue *q, unsigned int slot);
void __wrap_queue_take(struct queue *q, unsigned int slot, uint32_t held, bool makes_room,
		       struct queue_batch *batch);
/* Puts count of the worker's connections where it, or the one after it, finds them. */
static void take_over(struct deadline_list *connections, uint32_t count, const char *how)
{
	struct deadline_entry *oldest;

	for (; (oldest = deadline_list_oldest(connections)); count--) {
		struct sim_socket *s = socket_of(conn_of_deadline(oldest)->fd);

		if (!s || s->stage != STAGE_HELD || s->watched)
			sim_fail(s, "is %s though it is not held, or still watched", how);
		s->stage = STAGE_HANDED;
		deadline_list_remove(oldest);
		deadline_list_insert(&sim.handed, oldest);
		sim.handed_count++;
		trace(s, "%s", how);
	}
	if (count > 0)
		sim_fail(NULL, "counts wrong what is %s", how);
}

void __wrap_queue_hand_over(struct queue *q, unsigned int slot, struct deadline_list *connections,
			    uint32_t count);
uint32_t __wrap_queue_tell_work(struct queue *q, unsigned int slot, uint32_t work, uint32_t active,
				uint64_t now_ns, unsigned int *to);
void __wrap_queue_give(struct queue *q, unsigned int slot, unsigned int to,
		       struct deadline_list *connections, uint32_t count);
int __wrap_getrusage(int who, struct rusage *used);
bool __wrap_queue_is_rung(const struct queue *q, unsigned int slot);
void __wrap_queue_ring_self(struct queue *q, unsigned int slot);
void __wrap_access_serve(struct access *access, const struct address_key *counted);
void __wrap_access_release(struct access *access, const struct address_key *counted, bool served);
bool __wrap_access_is_crowded(struct access *access, const struct address_key *waiting,
			      struct address_key *heaviest);
bool __wrap_access_may_replace(struct access *access, const struct address_key *silent,
			       const struct address_key *waiting);
int __wrap_thread_start(pthread_t *thread, void *(*body)(void *), void *argument);
void __wrap_thread_join(pthread_t thread);
void __wrap_thread_set_name(const char *name);

static void tune(void)
{
	static const uint32_t buffers[] = {1, 2, 7, 64, 300, 4096};
	static const uint32_t limits_ms[] = {0, 0, 1, 20, 3000};
	struct worker_tuning *t = &sim.tuning;

	t->buffer_bytes = DICE_PICK(&sim.dice, buffers);
	t->idle_ms = DICE_PICK(&sim.dice, limits_ms);
	t->idle_when_full_ms = DICE_PICK(&sim.dice, limits_ms);
	t->write_ms = DICE_PICK(&sim.dice, limits_ms);
	t->rebalance = dice_chance(&sim.dice, 500);
	t->spin_us = dice_chance(&sim.dice, 300) ? 50 : 0;
	trace(NULL, "buffer %u, idle %u, idle when full %u, write %u", t->buffer_bytes, t->idle_ms,
	      t->idle_when_full_ms, t->write_ms);
}

void operator_plan(void)
{
	static const uint64_t steps_ns[] = {1000, 100 * 1000, 5 * NS_PER_MS, NS_PER_S};
	static const uint32_t faults[] = {0, 0, 3, 30, 150};
	struct dice *d = &sim.dice;

	sim.now_ns = NS_PER_S + dice_below(d, 1000000);
	sim.step_max_ns = DICE_PICK(d, steps_ns);
	sim.fault_permille = DICE_PICK(d, faults);
	sim.worker_connections = dice_upto(d, SOCKETS_MAX);
	sim.tunes = dice_chance(d, 300);
	sim.stop_after = dice_chance(d, 100) ? dice_upto(d, 60) : 0;
	sim.leaves_left = dice_chance(d, 200) ? dice_upto(d, 3) : 0;
	sim.leave_after = dice_upto(d, 30);
	tune();
}

void operator_ring(void)
{
	sim.bell = true;
	sim.rung = true;
}

void operator_stop(void)
{
	sim.stopped = true;
	operator_ring();
	trace(NULL, "stop");
}

void operator_act(void)
{
	if (sim.tunes && dice_chance(&sim.dice, 30)) {
		tune();
		operator_ring();
	}
	if (sim.stop_after && sim.wake_ups >= sim.stop_after && !sim.stopped)
		operator_stop();
	if (sim.leaves_left && sim.wake_ups >= sim.leave_after && !sim.leaving) {
		sim.leaves_left--;
		sim.leave_after = sim.wake_ups + dice_upto(&sim.dice, 20);
		sim.leaving = true;
		operator_ring();
		trace(NULL, "the worker is to leave");
	}
}

static bool is_waiting(const struct sim_socket *s)
{
	return s->stage == STAGE_PLANNED && s->plan.arrives_ns <= sim.now_ns;
}

uint32_t operator_waiting(void)
{
	uint32_t count = 0;

	FOR_EACH_SOCKET(s)
	{
		count += is_waiting(s);
	}
	return count;
}

uint64_t operator_next_arrival(void)
{
	uint64_t next = UINT64_MAX;

	FOR_EACH_SOCKET(s)
	{
		if (s->stage == STAGE_PLANNED && s->plan.arrives_ns > sim.now_ns &&
		    s->plan.arrives_ns < next)
			next = s->plan.arrives_ns;
	}
	return next;
}

/* The address is one number. */
static struct address_key key_of(uint32_t address)
{
	return (struct address_key){.bytes = {(uint8_t)address}};
}

static void arrive(struct sim_socket *s, struct queue_batch *batch)
{
	struct arrival *a = &batch->arrivals[batch->count++];

	*a = (struct arrival){.fd = s->fd, .accepted_ns = s->plan.arrives_ns};
	a->peer.v4.sin_family = AF_INET;
	a->counted = key_of(address_of(s));
	s->stage = STAGE_HELD;
	s->is_new = true;
	sim.taken++;
	s->since_ns = s->taken_ns = sim.now_ns;
	trace(s, "arrives");
}

/*
 * Gives some of what the last worker left, after a stop all. Returns how many. Those that wait for
 * their client start their time afresh, the others keep it.
 */
static uint32_t give_handed(struct queue_batch *batch)
{
	uint32_t most = sim.stopped ? sim.handed_count : dice_below(&sim.dice, SOCKETS_MAX + 1);
	uint32_t count = 0;

	while (count < most && sim.handed_count) {
		struct deadline_entry *oldest = deadline_list_oldest(&sim.handed);
		struct sim_socket *s = socket_of(conn_of_deadline(oldest)->fd);

		deadline_list_remove(oldest);
		deadline_list_insert(&batch->handed, oldest);
		s->stage = STAGE_HELD;
		s->is_new = true;
		if (!has_pending(s))
			s->since_ns = sim.now_ns;
		totals.events[has_pending(s) ? EVENT_HANDED_WRITING : EVENT_HANDED_READING]++;
		sim.handed_count--;
		count++;
	}
	return count;
}

static uint32_t count_held(void)
{
	uint32_t count = 0;

	FOR_EACH_SOCKET(s)
	{
		count += s->stage == STAGE_HELD;
	}
	return count;
}

/* What the worker is asked to do for the first that waits, unless others do it already. */
static void ask_for_room(struct queue_batch *batch)
{
	FOR_EACH_SOCKET(s)
	{
		if (is_waiting(s))
			batch->waiting = key_of(address_of(s));
	}
	sim.is_patient = dice_chance(&sim.dice, 700);
	batch->waiting_since_ns = sim.is_patient ? 0 : sim.now_ns;
	sim.waiting = batch->waiting;
	batch->make_room = dice_chance(&sim.dice, 800);
	sim.is_crowded = dice_chance(&sim.dice, 500);
	sim.heaviest = dice_below(&sim.dice, ADDRESSES);
	sim.spared = dice_below(&sim.dice, ADDRESSES + 1);
}

/* As the queue does: as many as there is room for, and where there is none, a wish for some. */
static void give_waiting(struct queue_batch *batch, uint32_t held, bool makes_room)
{
	FOR_EACH_SOCKET(s)
	{
		if (is_waiting(s) && held < sim.worker_connections) {
			arrive(s, batch);
			held++;
		}
	}
	const uint32_t waiting = operator_waiting();

	batch->saturated = waiting > 0;
	if (batch->saturated)
		totals.events[EVENT_SATURATED]++;
	if (batch->saturated && makes_room)
		ask_for_room(batch);
}

/* A worker that holds nothing sleeps until there is something for it. */
static void sleep_in_queue(uint32_t held)
{
	if (held > 0 || sim.handed_count)
		return;
	operator_act();
	if (sim.stopped || sim.leaving)
		return;
	if (operator_waiting() == 0 && operator_next_arrival() != UINT64_MAX)
		sim.now_ns = operator_next_arrival();
}

void __wrap_queue_take(struct queue *q, unsigned int slot, uint32_t held, bool makes_room,
		       struct queue_batch *batch)
{
	const bool looks = held > 0 && sim.look_ns <= sim.now_ns;

	(void)q;
	(void)slot;
	oracle_settled();
	if (held != count_held())
		sim_fail(NULL, "says that it holds %u of %u", held, count_held());
	if (makes_room != looks)
		sim_fail(NULL, makes_room ? "looks too soon" : "does not look in time");
	if (looks)
		sim.look_ns = sim.now_ns + LOOK_PERIOD_MS * NS_PER_MS;
	if (sim.taking && held > 0)
		sim_fail(NULL, "takes again and has served nobody in between");
	sleep_in_queue(held);
	*batch = (struct queue_batch){.leaving = sim.leaving, .stopped = sim.stopped};
	deadline_list_init(&batch->handed);
	if (!sim.leaving || sim.stopped)
		held += give_handed(batch);
	if (!sim.leaving && !sim.stopped)
		give_waiting(batch, held, makes_room);
	batch->ended = operator_waiting() == 0 && operator_next_arrival() == UINT64_MAX &&
		       !sim.handed_count;
	sim.knows_stop = sim.stopped;
	sim.must_take = false;
	sim.taking = true;
	sim.take_due = batch->make_room || sim.handed_count > 0;
	sim.rung = false;
	if (sim.handed_count)
		operator_ring(); /* for the rest */
	sim.woke_for_time = false;
	sim.saturated = batch->saturated;
	sim.make_room = batch->make_room;
	trace(NULL, "queue: %u arrive%s%s%s%s", batch->count, batch->make_room ? ", make room" : "",
	      batch->saturated ? ", saturated" : "", batch->leaving ? ", leave" : "",
	      batch->stopped ? ", stop" : "");
}

void __wrap_queue_hand_over(struct queue *q, unsigned int slot, struct deadline_list *connections,
			    uint32_t count)
{
	(void)q;
	(void)slot;
	if (!sim.leaving || sim.stopped)
		sim_fail(NULL, "hands over though nobody asked for it");
	take_over(connections, count, "handed over");
	if (count_held() > 0)
		sim_fail(NULL, "leaves and keeps %u connections", count_held());
}

int __wrap_getrusage(int who, struct rusage *used)
{
	static int64_t us; /* of CPU; only differences count */

	if (who != RUSAGE_THREAD)
		sim_fail(NULL, "asks for the time of others");
	if (fault(EVENT_EINTR)) {
		errno = EPERM;
		return -1;
	}
	us += dice_below(&sim.dice, 150000);
	*used = (struct rusage){.ru_utime = {.tv_sec = (time_t)(us / 1000000),
					     .tv_usec = (suseconds_t)(us % 1000000)}};
	return 0;
}

/* Those on which something has moved lately; the worker has asked before the last period began. */
static uint32_t may_be_active(void)
{
	uint32_t count = 0;

	FOR_EACH_SOCKET(s)
	{
		count += s->stage == STAGE_HELD && !has_pending(s) &&
			 s->since_ns + 2 * WORK_PERIOD_NS >= sim.now_ns;
	}
	return count;
}

uint32_t __wrap_queue_tell_work(struct queue *q, unsigned int slot, uint32_t work, uint32_t active,
				uint64_t now_ns, unsigned int *to)
{
	(void)q;
	if (!sim.tuning.rebalance && !sim.tunes)
		sim_fail(NULL, "tells its work though nobody wants to know");
	if (work > WORK_ALL || active > may_be_active() || now_ns != sim.now_ns)
		sim_fail(NULL, "tells wrong: work %u, active %u of %u", work, active,
			 may_be_active());
	sim.given_to = *to = slot + 1;
	return active ? dice_below(&sim.dice, active) : 0;
}

/* The next worker has given them back at once. */
void __wrap_queue_give(struct queue *q, unsigned int slot, unsigned int to,
		       struct deadline_list *connections, uint32_t count)
{
	(void)q;
	(void)slot;
	if (to != sim.given_to)
		sim_fail(NULL, "gives to worker %u instead of %u", to, sim.given_to);
	take_over(connections, count, "given");
	totals.events[EVENT_GIVEN]++;
	operator_ring();
}

bool __wrap_queue_is_rung(const struct queue *q, unsigned int slot)
{
	(void)q;
	(void)slot;
	return sim.rung;
}

void __wrap_queue_ring_self(struct queue *q, unsigned int slot)
{
	(void)q;
	(void)slot;
	sim.rung = true;
}

void __wrap_access_serve(struct access *access, const struct address_key *counted)
{
	(void)access;
	sim.serving[counted->bytes[0]]++;
}

void __wrap_access_release(struct access *access, const struct address_key *counted, bool served)
{
	(void)access;
	if (!served || sim.serving[counted->bytes[0]]-- == 0)
		sim_fail(NULL, "released twice, or though it was never served");
}

/*
 * The worker asks for the heaviest address first, when it has all that it was given: only now can
 * be said which connection it must close.
 */
bool __wrap_access_is_crowded(struct access *access, const struct address_key *waiting,
			      struct address_key *heaviest)
{
	(void)access;
	if (!sim.make_room || memcmp(waiting, &sim.waiting, sizeof(*waiting)) != 0)
		sim_fail(NULL, "looks for one to close though nobody asked for it");
	*heaviest = key_of(sim.heaviest);
	sim.victim = oracle_victim();
	if (sim.victim)
		sim.look_ns = sim.now_ns;
	else
		totals.events[EVENT_IN_VAIN]++;
	return sim.is_crowded;
}

bool __wrap_access_may_replace(struct access *access, const struct address_key *silent,
			       const struct address_key *waiting)
{
	(void)access;
	(void)waiting;
	return silent->bytes[0] != sim.spared;
}

void __wrap_queue_set_slot(struct queue *q, unsigned int slot, const struct bell *bell)
{
	(void)q;
	(void)slot;
	(void)bell;
}

void __wrap_queue_clear_slot(struct queue *q, unsigned int slot)
{
	(void)q;
	(void)slot;
}

/* The worker's thread is this one. */
int __wrap_thread_start(pthread_t *thread, void *(*body)(void *), void *argument)
{
	(void)thread;
	body(argument);
	return 0;
}

void __wrap_thread_join(pthread_t thread)
{
	(void)thread;
}

void __wrap_thread_set_name(const char *name)
{
	(void)name;
}
