/*
 * The bounded queue, its workers, its acceptor and the main thread that resizes, changes limits,
 * drains and stops: a model for spin. tests/model/check.py runs it in every configuration.
 *
 * WHAT STANDS FOR WHAT. Change both sides together.
 *
 *   here                          src/pool/queue.c, src/pool/dispatch.c, src/pool/wake.c,
 *                                 src/pool/worker.c, src/pool/worker_conns.c,
 *                                 src/net/acceptor.c, src/control/apply.c
 *   atomic { ... }                one section under q->lock. What threads share is touched only
 *                                 there, so a section is one step.
 *   a line in it that blocks      condition_wait(): gives the lock back, sleeps, and goes on with
 *                                 the lock in a later step
 *   head, count                   the ring: connections head .. head + count - 1 wait
 *   slot[]                        struct slot
 *   asleep                        a set; sleepers is their number
 *   waiting                       those of them that not_empty has not woken yet
 *   handed                        the list of that name, as a set
 *   given                         the list of that name, as a set
 *   edge[]                        a bell's edge that epoll has not reported yet
 *   HAS_ROOM() .. wake_next()     the functions of the same name; wake_next() and ring_all() have a
 *                                 queue_ before it there. wake_next() is wake_one(), and if no
 *                                 worker has room, a bell for all that do not know it
 *   proctype worker               worker_run(): take(), wait_and_serve(), worker_hand_over()
 *   awake                         it is not in epoll_wait: it looks at rung before it sleeps there
 *   queue_take()                  queue_take(); TAKE is QUEUE_TAKE_MAX
 *   next_taker()                  next_taker(): any that would take, whatever it works
 *   choose_taker(), queue_give()  queue_tell_work(), queue_give()
 *   proctype acceptor             wait_and_accept(), accept_from(), accept_the_rest(),
 *                                 queue_wait_for_room(), queue_push()
 *   proctype operator             the main thread: pool_resize(), acceptor_change(), parts_close(),
 *                                 parts_end(), and what they call of queue.h
 *   ring_size                     the ring's capacity, which queue_push() goes by: the acceptor has
 *                                 asked for room before each
 *   accept_the_rest()             with queue_make_room(): all that are in the backlog, past the
 *                                 limit; or fewer, when memory is short
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
 * (worker_connections), TAKE, SPURIOUS, GIVES (how often each worker gives one away). Sets of connections, as bits: SILENT stay until closed for
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
#ifndef GIVES
#define GIVES 0
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
	bool rung;
	bool knows_saturated; /* that others wait and no worker has room */
	byte held;
	bool makes_room;
	byte given; /* a set */
};

/* The queue; under its lock. */
slot_t slot[WORKERS];
byte head, count;
byte limit = LIMIT;
byte ring_size = LIMIT;
byte handed;   /* a set */
byte workers;  /* those from this number on leave, or are not there */
byte worker_connections = ROOM;
byte capacity = START * ROOM; /* how many all workers together may hold */
byte making_room;
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
hidden byte i, c, best, sum, set, share;
hidden byte woken;

/* Each connection has one owner. */
inline audit()
{
	set = (ALL >> next) << next;
	sum = CONNS - next;
	sum = sum + count + BITS(gone);
	set = set | gone | handed | ((BIT(count) - 1) << head);
	sum = sum + BITS(handed);
	i = 0;
	do
	:: i < WORKERS ->
		set = set | holds[i] | slot[i].given;
		sum = sum + BITS(holds[i]) + BITS(slot[i].given);
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

/* What all have reported, and what they have; with what was handed over. */
#define HAS(p) BITS(holds[p]) + BITS(slot[p].given)
#if WORKERS == 1
#define REPORTED slot[0].held
#define HAVE     HAS(0)
#elif WORKERS == 2
#define REPORTED slot[0].held + slot[1].held
#define HAVE     HAS(0) + HAS(1)
#else
#define REPORTED slot[0].held + slot[1].held + slot[2].held
#define HAVE     HAS(0) + HAS(1) + HAS(2)
#endif
#define HELD     (REPORTED + BITS(handed))
#define ALL_HAVE (HAVE + BITS(handed))
#ifdef BUG_EACH_BOUND_ALONE
#define SPARE true
#else
#define SPARE (HELD < capacity)
#endif

#define HAS_ROOM(p) (slot[p].held < worker_connections && SPARE)
#define MAY_TAKE(p) (handed || count && HAS_ROOM(p))

inline least_loaded()
{
	best = NOBODY;
	i = 0;
	do
	:: i < workers ->
		if
		:: best == NOBODY || slot[i].held < slot[best].held -> best = i
		:: else
		fi;
		i++
	:: else -> break
	od
}

/* Of those that would take, any. */
inline next_taker()
{
	best = NOBODY;
	i = 0;
	do
	:: i < workers ->
		if
#ifdef BUG_WAKES_ONE_THAT_HOLDS_MUCH
		:: MAY_TAKE(i) ->
#else
		:: MAY_TAKE(i) && slot[i].held <= HELD / workers ->
#endif
			if
			:: best = i
			:: best != NOBODY
			fi
		:: else
		fi;
		i++
	:: else -> break
	od
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
	:: i < workers -> ring_bell(i); i++
	:: else -> break
	od
}

inline wake_one()
{
	if
	:: asleep && (handed || SPARE) ->
		signal_not_empty();
		woken = true
	:: else ->
		next_taker();
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
	:: !woken && i < workers ->
		if
#ifdef BUG_RING_AGAIN_AND_AGAIN
		:: true -> ring_bell(i)
#else
		:: !slot[i].knows_saturated -> ring_bell(i)
#endif
		:: else
		fi;
		i++
	:: else -> break
	od
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

#define HAS_ENDED     (closed && !count && !handed)
#define IS_LEAVING(p) ((p) >= workers)
#define MUST_SLEEP    (!holds[w] && !slot[w].given && !MAY_TAKE(w) && !IS_LEAVING(w) && !HAS_ENDED && !stopped)

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

inline end_making_room()
{
#ifndef BUG_CLAIM_IS_KEPT
	making_room = making_room - slot[w].makes_room;
#endif
	slot[w].makes_room = false
}

inline begin_take()
{
#ifndef BUG_RUNG_CLEARED_LATE
	slot[w].rung = false;
#endif
	slot[w].knows_saturated = false;
	holds[w] = holds[w] | slot[w].given;
	slot[w].given = 0
}

/* The first that was handed over becomes w's. */
inline take_handed()
{
	i = 0;
	do
	:: !(handed & BIT(i)) -> i++
	:: else -> break
	od;
	handed = handed & ~BIT(i);
	holds[w] = holds[w] | BIT(i)
}

/* An eighth of so few is nothing. */
inline take_share()
{
	c = 0;
	share = HELD / workers;
	do
#ifdef BUG_EQUALS_WAIT_FOR_EACH_OTHER
	:: c < TAKE && slot[w].held < share && MAY_TAKE(w) ->
#else
	:: c < TAKE && slot[w].held <= share && MAY_TAKE(w) ->
#endif
		if
		:: handed -> take_handed()
		:: else -> pop()
		fi;
		slot[w].held++;
		c++
	:: else -> break
	od
}

inline ask_for_room()
{
	if
	:: count ->
		least_loaded();
		slot[w].knows_saturated = !HAS_ROOM(best)
	:: else
	fi;
	if
	:: slot[w].knows_saturated && looks && count && !making_room ->
		make_room = true;
		slot[w].makes_room = true;
		making_room++
	:: else
	fi;
	looks = false;
	saturated = slot[w].knows_saturated
}

inline pass_on()
{
	if
	:: count || handed ->
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
	make_room = false;
	slot[w].held = HAS(w);
	end_making_room();
	sleep_until_needed();
	begin_take();
	if
	:: stopped ->
#ifndef BUG_STOP_LEAVES_WHAT_IS_HANDED
		holds[w] = holds[w] | handed;
		handed = 0
#endif
	:: else
	fi;
	if
	:: !stopped && !IS_LEAVING(w) ->
		take_share();
		ask_for_room();
		pass_on()
	:: else
	fi;
	ended = HAS_ENDED;
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
#ifndef BUG_SLEEPS_WITH_NEWS
	slot[w].rung = true; /* queue_ring_self() */
#endif
	audit()
}

inline queue_hand_over()
{
	assert(!slot[w].makes_room && workers);
	handed = handed | holds[w];
	holds[w] = 0;
	slot[w].held = 0;
#ifndef BUG_HAND_OVER_IN_SILENCE
	pass_on()
#endif
}

/* queue_tell_work(): to any other that has room, whatever it works. */
inline choose_taker()
{
	if
	:: w != 0 && workers > 0 && slot[0].held < worker_connections -> to = 0
#if WORKERS > 1
	:: w != 1 && workers > 1 && slot[1].held < worker_connections -> to = 1
#endif
#if WORKERS > 2
	:: w != 2 && workers > 2 && slot[2].held < worker_connections -> to = 2
#endif
	:: else -> to = NOBODY
	fi
}

inline queue_give()
{
	c = 0;
	do
	:: !(holds[w] & BIT(c)) -> c++
	:: else -> break
	od;
	holds[w] = holds[w] & ~BIT(c);
	slot[w].held--;
	if
#if defined(BUG_GIVES_TO_ONE_THAT_LEFT)
	:: closed ->
#elif defined(BUG_GIVES_AT_THE_END)
	:: IS_LEAVING(to) ->
#else
	:: IS_LEAVING(to) || closed ->
#endif
		handed = handed | BIT(c)
	:: else ->
		slot[to].given = slot[to].given | BIT(c);
		slot[to].held++;
#if defined(BUG_GIVES_IN_SILENCE)
		skip
#elif defined(BUG_GIVING_WAKES_ANY)
		signal_not_empty();
		ring_bell(to)
#else
		waiting = 0;
		ring_bell(to)
#endif
	fi;
	pass_on();
	audit()
}

/* Hangs up when it likes, or because its time has come. */
#define MAY_END   (holds[w] & (phase == WORKING -> ALL & ~(SILENT | BUSY) : ALL))
/* It is time to look again. Looks that would change nothing are left out, so that runs can end. */
#define MAY_LOOK                          \
	(saturated && (holds[w] & SILENT) && \
	 ((count && !making_room) || !count || HAS_ROOM(w)))

#ifdef BUG_RUNG_CLEARED_LATE
#define TURN goto clear_rung
#else
#define TURN goto turn
#endif

proctype worker(byte w)
{
	bool awake, saturated, ended, make_room;
	bool looks = true;
	byte gives = GIVES, to;

end_wait_for_start:
	running[w];
turn:
	/*
	 * One event of epoll_wait's batch; or after the batch queue_take() if it is rung, else it
	 * sleeps.
	 */
	if
	:: atomic { holds[w] && edge[w] -> edge[w] = false; awake = true; goto turn }
	:: atomic { MAY_END -> set = MAY_END; close_conn(); awake = true; goto turn }
	:: atomic { !slot[w].rung && MAY_LOOK -> looks = true; slot[w].rung = true; awake = true; goto turn }
	:: atomic {
		gives && BITS(holds[w]) > 1 && !IS_LEAVING(w) && !closed ->
		gives--;
		awake = true;
		choose_taker();
		if
		:: to != NOBODY -> goto give
		:: else -> goto turn
		fi
	   }
	:: atomic { awake && holds[w] && !slot[w].rung -> awake = false; goto turn }
	:: atomic {
		awake && slot[w].rung || !holds[w] ->
		awake = true;
#ifdef BUG_CHECKS_BEFORE_THE_LOCK
		if
		:: MUST_SLEEP -> goto sleep
		:: else
		fi;
#endif
		queue_take();
		if
		:: make_room -> goto close_for_others
		:: IS_LEAVING(w) && !stopped -> goto leave
		:: stopped || ended && !holds[w] -> goto end
		:: else -> TURN
		fi
	   }
	fi;
close_for_others:
	atomic {
		make_room = false;
#ifndef BUG_SLEEPS_WITH_A_CLAIM
		slot[w].rung = true;
#endif
		set = holds[w] & SILENT;
		if
		:: set -> close_conn(); looks = true
		:: else /* in vain, for who is asked does not know */
		fi;
		goto turn
	}
give:
	atomic {
		queue_give();
		goto turn
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
		awake = false;
		looks = true;
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
		interrupted = false
	}
}

/* accept4() and queue_push(): in between, only the acceptor knows the connection. */
inline accept_and_push()
{
	atomic {
		/* With queue_full = "wait" nobody is turned away. */
#ifdef BUG_LIMIT_FALLS_ON_ROOM_ASKED_FOR
		assert(count < limit);
#else
		assert(count < ring_size);
#endif
		assert(next == head + count);
		next++;
		count++;
		room--;
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
		:: room = CONNS - next;
		   ring_size = (count + room > ring_size -> count + room : ring_size)
		:: room = ROOM_NOW
		fi
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
		change = false
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
			/* One, or in a rush all that are there. */
			if
			:: room = (room -> 1 : 0)
			:: skip
			fi;
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
	workers = p + 1
}

/* All from number `first` on are to leave; their bells ring one by one. */
inline queue_dismiss(first)
{
	atomic {
		workers = first;
#ifdef BUG_SIGNAL_FOR_ONE
		signal_not_empty()
#else
		waiting = 0
#endif
	}
	p = first;
	do
	:: p < WORKERS -> atomic { ring_bell(p); p++ }
	:: else -> break
	od
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
		workers = (workers > p -> p : workers);
		slot[p].held = 0;
		slot[p].rung = false;
		slot[p].knows_saturated = false;
#ifndef BUG_CLEARED_SLOT_KEEPS_ITS_OWN
		handed = handed | slot[p].given;
		slot[p].given = 0;
#endif
		edge[p] = false;
#if !defined(BUG_CLEARED_SLOT_SWALLOWS) && !defined(BUG_HAND_OVER_IN_SILENCE)
		/* For a hand-over it only comes later than the one there. */
		pass_on()
#endif
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
	queue_dismiss(STAY);
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
		ring_size = (n > ring_size -> n : ring_size);
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
	/* Nothing is handed over, or given, that nobody fetches. */
	assert(!handed);
	i = 0;
	do
	:: i < WORKERS ->
		assert(!slot[i].given);
		/* Who is to leave has left. */
		assert(!IS_LEAVING(i) || !running[i]);
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
