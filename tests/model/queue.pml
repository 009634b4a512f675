/*
 * The bounded queue, its workers, its acceptor and the main thread that resizes, changes limits,
 * drains and stops: a model for spin. tests/model/check.py runs it in every configuration.
 *
 * WHAT STANDS FOR WHAT. Change both sides together.
 *
 *   here                          src/pool/queue.c, src/pool/dispatch.c, src/pool/worker.c,
 *                                 src/pool/worker_conns.c, src/net/acceptor.c,
 *                                 src/control/apply.c
 *   atomic { ... }                one section under q->lock. What threads share is touched only
 *                                 there, so a section is one step.
 *   a line in it that blocks      condition_wait(): gives the lock back, sleeps, and goes on with
 *                                 the lock in a later step
 *   head, count                   the ring: connections head .. head + count - 1 wait
 *   slot[]                        struct slot
 *   asleep                        the slots' asleep; sleepers is their number
 *   waiting                       those of them that not_empty has not woken yet
 *   edge[]                        a bell's edge that epoll has not reported yet
 *   has_room() ..                 the functions of the same name; wake_next() and ring_all() have a
 *     hand_over_target()          queue_ before it there. wake_next() is wake_one(), and if no
 *                                 worker has room, a bell for all that do not know it.
 *                                 hand_over_target() is least_loaded(), with or without room
 *   proctype worker               worker_run(): take(), wait_and_serve(), worker_hand_over()
 *   queue_take()                  queue_take(); TAKE is QUEUE_TAKE_MAX
 *   proctype acceptor             wait_and_accept(), accept_from(), accept_the_rest(),
 *                                 queue_wait_for_room(), queue_push()
 *   proctype operator             the main thread: pool_resize(), acceptor_change(), parts_close(),
 *                                 parts_end(), and what they call of queue.h
 *   promised                      what queue_wait_for_room() granted and queue_push() will take,
 *                                 whatever becomes of the limit
 *   accept_the_rest()             with queue_promise_room(): all that are in the backlog, past the
 *                                 limit; or fewer, when memory is short
 *   queue_is_rung()               left out: it only has a worker take before its bell's edge, which
 *                                 stays to come, as a connection's end does already
 *   proctype spurious             wake-ups of a condition variable that nobody asked for
 *
 * Left out: queue_expire() and every other deadline, so that no clock can make good for a wake-up
 * that was lost; the bytes echoed, as they share nothing. Expiry of a silent connection for others
 * that wait (idle_when_full) is in, with its time always come.
 *
 * WHAT IS CHECKED. Each client comes once and goes once, so every run has to end. One search
 * (-DNP, pan -l) shows two things:
 *
 *  - Runs end: no cycle in the states, so every run comes to a state where nobody can move (and no
 *    worker spins).
 *  - Such states are right: `timeout` in proctype judge is true when nobody else can move. So no
 *    deadlock is missed, though a search for cycles turns spin's own check for invalid end states
 *    off. The judge then checks everything (phase WORKING: without any shutdown), lets the clients
 *    that stay hang up (phase LEAVING), checks again, and lets the operator stop.
 *
 * Together: whatever has to come does come, without any assumption about fair scheduling. The
 * assertions in audit() hold after each step that hands a connection on: exactly one owner.
 *
 * SETTINGS. Numbers: WORKERS, START (that run at first), STAY (after shrink()), CONNS, LIMIT, ROOM
 * (worker_connections), TAKE, SPURIOUS. Sets of connections, as bits: SILENT stay until closed for
 * others that wait, or until phase LEAVING; BUSY stay until LEAVING; the rest hang up when they
 * like. CHANGES: what the operator does, at any time. STOPS_EARLY: then it stops the server, at any
 * time, without waiting for the judge. BUG_...: a fault put in on purpose, which spin must find.
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef CONNS
#define CONNS 3
#endif
#ifndef LIMIT
#define LIMIT 2
#endif
#ifndef ROOM
#define ROOM 1
#endif
#ifndef TAKE
#define TAKE 1
#endif
#ifndef SPURIOUS
#define SPURIOUS 0
#endif
#ifndef SILENT
#define SILENT 0
#endif
#ifndef BUSY
#define BUSY 0
#endif
#ifndef CHANGES
#define CHANGES skip
#endif
#ifndef START
#define START WORKERS
#endif

#if WORKERS > 3 || CONNS > 4
#error "signal_not_empty() knows three workers, BITS() four connections"
#endif

#define ALL       ((1 << CONNS) - 1)
#define BIT(i)    (1 << (i))
#define BITS(set) (((set)&1) + (((set) >> 1) & 1) + (((set) >> 2) & 1) + (((set) >> 3) & 1))
#define NOBODY    255
#ifndef STAY
#define STAY 1
#endif

mtype = { WORKING, LEAVING, STOPPING };
mtype phase = WORKING;

typedef slot_t {
	bool bell; /* somebody is here */
	bool rung;
	bool leaving;
	bool knows_saturated; /* that others wait and no worker has room */
	byte held;
	byte evicting;
	byte handed; /* a set */
};

/* The queue; under its lock. */
slot_t slot[WORKERS];
byte head, count;
byte limit = LIMIT;
byte promised; /* room that the acceptor was granted and has not used */
byte worker_connections = ROOM;
byte capacity = START * ROOM; /* how many all workers together may hold */
byte evicting;
byte asleep, waiting; /* sets of workers */
bool closed, stopped, interrupted, acceptor_waiting;

/* Outside of it. */
bool edge[WORKERS];
bool running[WORKERS]; /* the thread: set by the operator, cleared by the worker as it ends */
byte holds[WORKERS];   /* sets of connections: the worker's own */
byte next;             /* connections next .. CONNS - 1 are in the kernel's backlog */
byte gone;             /* a set: closed */
bool change;           /* what acceptor_change() asks for and waits for */
bool stopping, acceptor_ended;
bool settled, finished; /* the operator has made its changes; has stopped the server */

/* Used within one step only. */
hidden byte i, c, best, sum, set;
hidden byte woken;

/* Each connection has one owner. */
inline audit()
{
	set = (ALL >> next) << next;
	sum = CONNS - next;
	sum = sum + count + BITS(gone);
	set = set | gone | ((BIT(count) - 1) << head);
	i = 0;
	do
	:: i < WORKERS ->
		set = set | holds[i] | slot[i].handed;
		sum = sum + BITS(holds[i]) + BITS(slot[i].handed);
		i++
	:: else -> break
	od;
	assert(set == ALL && sum == CONNS)
}

inline signal_not_empty()
{
	if
	:: waiting & 1 -> waiting = waiting & ~1
	:: waiting & 2 -> waiting = waiting & ~2
	:: waiting & 4 -> waiting = waiting & ~4
	:: waiting == 0 -> skip
	fi
}

inline signal_not_full()
{
	acceptor_waiting = false
}

#define has_room(p) \
	(slot[p].bell && !slot[p].leaving && slot[p].held < worker_connections && SPARE)

/* What all have reported, and what they have. */
#define HAS(p) (BITS(holds[p]) + BITS(slot[p].handed))
#if WORKERS == 1
#define HELD     slot[0].held
#define ALL_HAVE HAS(0)
#elif WORKERS == 2
#define HELD     (slot[0].held + slot[1].held)
#define ALL_HAVE (HAS(0) + HAS(1))
#else
#define HELD     (slot[0].held + slot[1].held + slot[2].held)
#define ALL_HAVE (HAS(0) + HAS(1) + HAS(2))
#endif
#ifdef BUG_EACH_BOUND_ALONE
#define SPARE true
#else
#define SPARE (HELD < capacity)
#endif

inline least_loaded(except)
{
	best = NOBODY;
	i = 0;
	do
	:: i < WORKERS ->
		if
		:: i != except && has_room(i) &&
		   (best == NOBODY || slot[i].held < slot[best].held) -> best = i
		:: else
		fi;
		i++
	:: else -> break
	od
}

inline hand_over_target()
{
	best = NOBODY;
	i = 0;
	do
	:: i < WORKERS ->
		if
#ifdef BUG_HAND_OVER_TO_LEAVER
		:: i != w && slot[i].bell &&
#else
		:: slot[i].bell && !slot[i].leaving &&
#endif
		   (best == NOBODY || slot[i].held < slot[best].held) -> best = i
		:: else
		fi;
		i++
	:: else -> break
	od;
	assert(best != NOBODY)
}

inline ring_bell(p)
{
	if
	:: !slot[p].rung ->
		slot[p].rung = true;
		edge[p] = true
	:: else
	fi
}

inline ring_all()
{
	i = 0;
	do
	:: i < WORKERS ->
		if
		:: slot[i].bell -> ring_bell(i)
		:: else
		fi;
		i++
	:: else -> break
	od
}

inline wake_one()
{
	if
	:: asleep && SPARE ->
		signal_not_empty();
		woken = true
	:: else ->
		least_loaded(NOBODY);
		woken = best != NOBODY;
		if
		:: woken -> ring_bell(best)
		:: else
		fi
	fi
}

/* For what waits: the worker that takes next; without one, all that do not know that others wait. */
inline wake_next()
{
	wake_one();
	i = 0;
	do
	:: !woken && i < WORKERS ->
		if
#ifdef BUG_RING_AGAIN_AND_AGAIN
		:: slot[i].bell -> ring_bell(i)
#else
		:: slot[i].bell && !slot[i].knows_saturated -> ring_bell(i)
#endif
		:: else
		fi;
		i++
	:: else -> break
	od
}

inline wake(p)
{
	if
	:: asleep & BIT(p) ->
#ifdef BUG_SIGNAL_FOR_ONE
		signal_not_empty()
#else
		waiting = 0
#endif
	:: else -> ring_bell(p)
	fi
}

/* The oldest that waits becomes w's. */
inline pop()
{
	assert(count);
	holds[w] = holds[w] | BIT(head);
	head++;
	count--;
	assert(ALL_HAVE <= capacity);
#ifndef BUG_POP_SIGNALS_NOBODY
	if
	:: count + 1 >= limit -> signal_not_full()
	:: else
	fi;
#endif
#ifndef BUG_END_IS_NOT_SIGNALLED
	if
	:: closed && !count -> waiting = 0
	:: else
	fi
#endif
}

#define MUST_SLEEP                                                                     \
	(!holds[w] && !(count && has_room(w)) && !slot[w].handed && !slot[w].leaving && \
	 !stopped && !(closed && !count))

inline fall_asleep()
{
	asleep = asleep | BIT(w);
	waiting = waiting | BIT(w);
	!(waiting & BIT(w));
	asleep = asleep & ~BIT(w)
}

inline sleep_until_needed()
{
	do
	:: MUST_SLEEP -> fall_asleep()
	:: else -> break
	od
}

inline give_own()
{
#ifndef BUG_RUNG_CLEARED_LATE
	slot[w].rung = false;
#endif
	slot[w].knows_saturated = false;
	evicting = evicting - slot[w].evicting;
	slot[w].evicting = 0;
	holds[w] = holds[w] | slot[w].handed;
	slot[w].handed = 0
}

/* An eighth of so few is nothing. */
inline take_share()
{
	c = 0;
	least_loaded(w);
	do
	:: count && c < TAKE && has_room(w) &&
#ifdef BUG_EQUALS_WAIT_FOR_EACH_OTHER
	   (best == NOBODY || slot[w].held < slot[best].held) ->
#else
	   (asleep -> !slot[w].held : best == NOBODY || slot[w].held <= slot[best].held) ->
#endif
		pop();
		slot[w].held++;
		c++
	:: else -> break
	od
}

inline ask_to_evict()
{
	if
	:: count && !has_room(w) ->
		least_loaded(NOBODY);
		slot[w].knows_saturated = best == NOBODY
	:: else
	fi;
	if
	:: slot[w].knows_saturated && count > evicting ->
		evict = count - evicting;
		if
		:: evict > offered -> evict = offered
		:: else
		fi;
		slot[w].evicting = evict;
		evicting = evicting + evict
	:: else
	fi;
	saturated = slot[w].knows_saturated
}

inline pass_on()
{
	if
	:: count ->
#if defined(BUG_NO_PASSING_ON)
		skip
#elif defined(BUG_FULL_ARE_NOT_RUNG)
		wake_one()
#else
		wake_next()
#endif
	:: else
	fi
}

/* Within an atomic of the caller, which goes on in the same step: what follows is its own. */
inline queue_take()
{
	must_take = false;
	evict = 0;
	slot[w].held = BITS(holds[w]) + BITS(slot[w].handed);
	offered = BITS(holds[w] & SILENT);
	sleep_until_needed();
	give_own();
	if
	:: !stopped && !slot[w].leaving ->
		take_share();
		ask_to_evict();
		pass_on()
	:: else
	fi;
	offered = 0;
	ended = closed && !count;
	audit()
}

/* One of set, which the worker holds, ends. */
inline close_conn()
{
	c = 0;
	do
	:: !(set & BIT(c)) -> c++
	:: else -> break
	od;
	holds[w] = holds[w] & ~BIT(c);
	gone = gone | BIT(c);
	must_take = true;
	audit()
}

inline clear_slot(p)
{
	slot[p].bell = false;
	slot[p].rung = false;
	slot[p].leaving = false;
	slot[p].knows_saturated = false;
	slot[p].held = 0;
	evicting = evicting - slot[p].evicting;
	slot[p].evicting = 0;
#ifndef BUG_CLEARED_SLOT_SWALLOWS
	pass_on()
#endif
}

inline queue_hand_over()
{
	c = 0;
	do
	:: c < CONNS ->
		if
		:: holds[w] & BIT(c) ->
			hand_over_target();
			slot[best].handed = slot[best].handed | BIT(c);
			slot[best].held++;
			holds[w] = holds[w] & ~BIT(c);
#ifndef BUG_HAND_OVER_IN_SILENCE
			wake(best)
#endif
		:: else
		fi;
		c++
	:: else -> break
	od;
	assert(!slot[w].evicting && !slot[w].handed);
	clear_slot(w)
}

/* Hangs up when it likes, or because its time has come. */
#define MAY_END   (holds[w] & (phase == WORKING -> ALL & ~(SILENT | BUSY) : ALL))
/* The offer's timer runs. Offers that would change nothing are left out, so that runs can end. */
#define MAY_OFFER (saturated && (holds[w] & SILENT) && (count > evicting || !count || has_room(w)))

#ifdef BUG_SLEEPS_WITH_NEWS
#define NEWS(x) news = x
#define GOES_TO_QUEUE (must_take && news || !holds[w])
#else
#define NEWS(x) skip
#define GOES_TO_QUEUE (must_take || !holds[w])
#endif
#ifdef BUG_RUNG_CLEARED_LATE
#define TURN goto clear_rung
#else
#define TURN goto turn
#endif

proctype worker(byte w)
{
	bool must_take, saturated, ended, news;
	byte offered, evict;

end_wait_for_start:
	running[w];
turn:
	/*
	 * One event of epoll_wait's batch, or queue_take(), which follows the batch. While it must
	 * take, epoll_wait has a timeout of 0.
	 */
	if
	:: atomic { holds[w] && edge[w] -> edge[w] = false; must_take = true; NEWS(true); goto turn }
	:: atomic { MAY_END -> set = MAY_END; close_conn(); NEWS(true); goto turn }
	:: atomic { !must_take && MAY_OFFER -> must_take = true; NEWS(true); goto turn }
	:: atomic {
		GOES_TO_QUEUE ->
#ifdef BUG_CHECKS_BEFORE_THE_LOCK
		if
		:: MUST_SLEEP -> goto sleep
		:: else
		fi;
#endif
		queue_take();
		NEWS(false);
		if
		:: evict -> goto close_for_others
		:: slot[w].leaving && !stopped -> goto leave
		:: stopped || ended && !holds[w] -> goto end
		:: else -> TURN
		fi
	   }
	fi;
close_for_others:
	atomic {
		do
		:: evict -> set = holds[w] & SILENT; close_conn(); evict--
		:: else -> goto turn
		od
	}
leave:
	atomic {
		queue_hand_over();
		goto end
	}
end:
	/* At its end it closes what it still holds, which it may only when it was stopped. */
	atomic {
		assert(!holds[w] || stopped);
		gone = gone | holds[w];
		holds[w] = 0;
		edge[w] = false;
		running[w] = false;
		must_take = false;
		saturated = false;
		ended = false;
		audit();
		goto end_wait_for_start
	}
#ifdef BUG_CHECKS_BEFORE_THE_LOCK
sleep:
	atomic {
		fall_asleep();
		goto turn
	}
#endif
#ifdef BUG_RUNG_CLEARED_LATE
clear_rung:
	slot[w].rung = false;
	goto turn
#endif
}

#define ROOM_NOW (count < limit -> limit - count : 0)

inline queue_wait_for_room()
{
	atomic {
		do
		:: !ROOM_NOW && !interrupted ->
			acceptor_waiting = true;
			!acceptor_waiting
		:: else -> break
		od;
		room = (interrupted -> 0 : ROOM_NOW);
#ifndef BUG_LIMIT_FALLS_ON_PROMISES
		promised = room;
#endif
		interrupted = false
	}
}

/* accept4() and queue_push(): in between, only the acceptor knows the connection. */
inline accept_and_push()
{
	atomic {
		/* With queue_full = "wait" nobody is turned away. */
		assert(count < limit || promised);
		assert(next == head + count);
		next++;
		count++;
		room--;
		if
		:: promised -> promised--
		:: else
		fi;
#ifdef BUG_FULL_ARE_NOT_RUNG
		wake_one();
		if
		:: !woken && count == 1 -> ring_all()
		:: else
		fi;
#else
		wake_next();
#endif
		audit()
	}
}

inline accept_the_rest()
{
	atomic {
		if
		:: room = CONNS - next
		:: room = ROOM_NOW
		fi;
		promised = room
	}
	do
	:: room && next < CONNS -> accept_and_push()
	:: else -> break
	od
}

proctype acceptor()
{
	byte room, readable;

	do
	:: stopping -> break
	:: change && !stopping ->
		accept_the_rest();
		/* queue_forget_room() */
		atomic { promised = 0; change = false }
	:: next < CONNS && !stopping && !change ->
		/* One listener has connections, or each of two. */
		if
		:: readable = 1
		:: CONNS - next > 1 -> readable = 2
		fi;
		do
		:: readable ->
			queue_wait_for_room();
			readable--;
#ifndef BUG_WAITS_AT_THE_NEXT_LISTENER
			if
			:: !room -> readable = 0
			:: else
			fi;
#endif
			do
			:: room && !stopping && CONNS - next > readable -> accept_and_push()
			:: else -> break
			od
		:: else -> break
		od
	od;
	readable = 0;
	accept_the_rest();
	acceptor_ended = true
}

inline queue_set_slot(p)
{
	slot[p].bell = true
}

inline queue_dismiss(p)
{
	atomic {
		slot[p].leaving = true;
		wake(p)
	}
}

inline end()
{
	closed = true;
	waiting = 0;
#ifndef BUG_STOP_RINGS_NO_BELL
	ring_all()
#endif
}

inline queue_clear_slot(p)
{
	atomic {
		assert(!slot[p].handed);
		clear_slot(p)
	}
}

inline queue_set_capacity(n, each)
{
	atomic {
		capacity = (n) * (each);
		worker_connections = each;
		ring_all();
		pass_on()
	}
}

/* Workers from number n on begin. */
inline grow(n)
{
	p = n;
	do
	:: p < WORKERS ->
		queue_set_slot(p);
		running[p] = true;
		p++
	:: else -> break
	od;
	queue_set_capacity(WORKERS, worker_connections)
}

/* The thread of a worker cannot be had. */
inline grow_in_vain()
{
	queue_set_slot(START);
	queue_clear_slot(START)
}

/* All but the first STAY leave. */
inline shrink()
{
	queue_set_capacity(STAY, worker_connections);
	p = STAY;
	do
	:: p < WORKERS -> queue_dismiss(p); p++
	:: else -> break
	od;
#ifndef BUG_CLOSES_BEFORE_THEY_LEFT
	p = STAY;
	do
	:: p < WORKERS -> !running[p]; queue_clear_slot(p); p++
	:: else -> break
	od
#endif
}

inline queue_set_limit(n)
{
	atomic {
		limit = n;
		signal_not_full()
	}
}

inline queue_interrupt()
{
	atomic {
#ifndef BUG_INTERRUPT_IS_NOT_KEPT
		interrupted = true;
#endif
		signal_not_full()
	}
}

inline acceptor_change()
{
	change = true;
	queue_interrupt();
	!change
}

/* The drain's deadline, or a second signal, may come at any time, or not. */
inline drain()
{
	stopping = true;
	queue_interrupt();
	acceptor_ended;
	atomic { end() }
	if
	:: atomic { stopped = true; end() }
	:: skip
	fi;
	p = 0;
	do
	:: p < WORKERS -> !running[p]; p++
	:: else -> break
	od
}

proctype operator()
{
	byte p;

	CHANGES;
	settled = true;
#ifndef STOPS_EARLY
	phase == STOPPING;
#endif
	drain();
	atomic {
		/* Without a second signal a drain serves all that was accepted. */
		assert(stopped || !count);
		/* queue_free() */
		gone = gone | ((BIT(count) - 1) << head);
		head = head + count;
		count = 0;
		audit();
		assert(gone == BIT(next) - 1);
		p = 0;
		finished = true
	}
}

proctype spurious()
{
	byte left = SPURIOUS;

	do
	:: left && waiting -> atomic { signal_not_empty(); left-- }
	:: left && acceptor_waiting -> atomic { acceptor_waiting = false; left-- }
	:: left = 0; break
	od
}

/* What must hold when nobody can move. */
inline judge_working()
{
	/* The resize has ended. */
	assert(settled);
	/* A stop ends, whatever clients do; so does the acceptor once it is asked to. */
	assert(!stopped || finished);
	assert(!stopping || acceptor_ended);
	/* A connection waits outside only for room in the queue. */
	assert(next == CONNS || count >= limit || acceptor_ended);
	i = 0;
	do
	:: i < WORKERS ->
		/* Nothing is handed to somebody who does not know it. */
		assert(!slot[i].handed && !(slot[i].leaving && running[i]));
		/* One waits in the queue only for room at a worker, and no silent one keeps it. */
		assert(!count || !running[i] || BITS(holds[i]) >= worker_connections ||
		       ALL_HAVE >= capacity);
		assert(!count || !running[i] || !(holds[i] & SILENT));
		i++
	:: else -> break
	od
}

proctype judge()
{
	atomic {
		timeout;
		judge_working();
		phase = LEAVING
	}
	atomic {
		timeout;
		/* Every client was served, and has gone. */
		assert(gone == BIT(next) - 1 && (next == CONNS || acceptor_ended));
		phase = STOPPING
	}
	atomic {
		timeout;
		/* The stop has ended. */
		i = 0;
		do
		:: i < WORKERS -> assert(!running[i]); i++
		:: else -> break
		od;
		assert(acceptor_ended && finished)
	}
}

init {
	atomic {
		i = 0;
		do
		:: i < START -> queue_set_slot(i); running[i] = true; i++
		:: else -> break
		od;
		i = 0;
		c = 0;
		do
		:: c < WORKERS -> run worker(c); c++
		:: else -> break
		od;
		run acceptor();
		run operator();
#if SPURIOUS
		run spurious();
#endif
		run judge()
	}
}
