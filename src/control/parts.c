/*
 * The parts together: started and ended in the right order, and the settings of each. See the
 * header; main thread.
 */
#include "echopool/control/parts.h"

#include <inttypes.h>
#include <stdio.h>

#include "echopool/base/clock.h"
#include "echopool/base/cpu_quota.h"
#include "echopool/base/cpus.h"
#include "echopool/base/log.h"
#include "echopool/base/log_rate.h"
#include "echopool/net/inherited.h"
#include "echopool/pool/engine.h"

unsigned int parts_workers(const struct settings *s)
{
	const unsigned int workers = s->pool.workers ? s->pool.workers : cpus_usable();

	return workers < POOL_WORKERS_MAX ? workers : POOL_WORKERS_MAX;
}

bool parts_divide_descriptors(const struct parts *p, const struct settings *s, unsigned int workers,
			      const struct listeners *echo, const struct listeners *admin,
			      struct fd_share *share)
{
	const struct fd_demand demand = {
		.open = p->open_before + (admin->count ? admin_descriptors(s) : 0),
		.listeners = echo->count + admin->count,
		.workers = workers,
		.worker_connections = s->pool.worker_connections,
		.queue_limit = s->pool.queue_limit,
	};
	const uint64_t limit = fdlimit_raise();

	if (!fdlimit_divide(limit, &demand, share)) {
		log_error("the limit of %" PRIu64
			  " descriptors is too low: %u workers need at least %" PRIu64
			  "; raise LimitNOFILE= or ulimit -n, or lower pool.workers",
			  limit, demand.workers, fdlimit_least(&demand));
		return false;
	}
	if (share->worker_connections < demand.worker_connections ||
	    share->queue_limit < demand.queue_limit)
		log_warning("the limit of %" PRIu64
			    " descriptors allows %u workers worker_connections=%" PRIu32
			    " (%" PRIu32 " asked) and queue_limit=%" PRIu32 " (%" PRIu32
			    " asked); raise LimitNOFILE= or ulimit -n for more",
			    limit, demand.workers, share->worker_connections,
			    demand.worker_connections, share->queue_limit, demand.queue_limit);
	return true;
}

static bool open_listeners(struct parts *p)
{
	const struct settings *s = p->settings;

	if (inherited_lacks_systemd() || !inherited_take(&p->listeners, &p->admin_listeners, s))
		return false;
	p->inherited = p->listeners.count > 0;
	p->admin_inherited = p->admin_listeners.count > 0;
	return (p->inherited || listeners_open(&p->listeners, s)) &&
	       (p->admin_inherited || admin_open_listeners(&p->admin_listeners, s));
}

/* Looking again would use it up. */
static bool has_cpu_quota(void)
{
	struct cpu_quota quota;

	cpu_quota_read(&quota, 0);
	return quota.cpus > 0;
}

void parts_tune(struct worker_tuning *t, const struct settings *s)
{
	atomic_store_explicit(&t->buffer_bytes, s->limits.buffer_bytes, memory_order_relaxed);
	atomic_store_explicit(&t->idle_ms, s->timeouts.idle_ms, memory_order_relaxed);
	atomic_store_explicit(&t->idle_when_full_ms, s->timeouts.idle_when_full_ms,
			      memory_order_relaxed);
	atomic_store_explicit(&t->write_ms, s->timeouts.write_ms, memory_order_relaxed);
	atomic_store_explicit(&t->log_connections, s->log.connections, memory_order_relaxed);
	atomic_store_explicit(&t->rebalance, s->pool.rebalance, memory_order_relaxed);
	atomic_store_explicit(&t->spin_us, has_cpu_quota() ? 0 : s->pool.spin_us,
			      memory_order_relaxed);
	log_rate_set(s->log.rate);
}

struct worker_options parts_worker_options(const struct parts *p)
{
	return (struct worker_options){
		.queue = p->queue,
		.access = p->access,
		.tuning = &p->tuning,
		.uses_uring = p->uses_uring,
	};
}

struct acceptor_options parts_acceptor_options(const struct parts *p)
{
	const struct settings *s = p->settings;

	return (struct acceptor_options){
		.listeners = p->listeners,
		.queue = p->queue,
		.access = p->access,
		.backlog = s->listen.backlog,
		.listeners_close = !p->inherited,
		.queue_full = s->pool.queue_full,
		.queue_ms = s->timeouts.queue_ms,
		.log_connections = s->log.connections,
		.main_bell = p->bell,
	};
}

static bool listens_beyond_loopback(const struct listeners *l)
{
	for (unsigned int i = 0; i < l->count; i++)
		if (!address_is_loopback(&l->items[i].address))
			return true;
	return false;
}

void parts_set_capacity(struct parts *p, unsigned int workers)
{
	const uint64_t capacity = (uint64_t)workers * p->share.worker_connections;

	queue_set_capacity(p->queue, workers, p->share.worker_connections);
	access_set_capacity(p->access, capacity);
	if (p->settings->limits.connections_per_ip == 0 && listens_beyond_loopback(&p->listeners))
		log_info("limits.connections_per_ip is 0: one address may have %" PRIu32
			 " connections, half of what the pool serves; loopback any number",
			 access_half_of(capacity));
}

/* io_uring where it is asked for and works. */
static bool choose_uring(enum engine_choice choice)
{
	const char *why;

	if (choice != ENGINE_URING || engine_uring_works(&why))
		return choice == ENGINE_URING;
	log_warning("pool.engine is \"io_uring\", which does not work here: %s; using epoll", why);
	return false;
}

static bool make_parts(struct parts *p)
{
	p->access = access_new(p->settings);
	p->queue = queue_new(p->share.queue_limit, POOL_WORKERS_MAX);
	p->pool = pool_new(p->bell);
	if (p->access && p->queue && p->pool)
		return true;
	log_error("no memory for a queue of %" PRIu32 " connections", p->share.queue_limit);
	return false;
}

static bool start_threads(struct parts *p, unsigned int workers)
{
	const struct worker_options worker = parts_worker_options(p);
	const struct acceptor_options acceptor = parts_acceptor_options(p);

	parts_set_capacity(p, workers);
	if (!pool_resize(p->pool, workers, &worker))
		return false;
	p->acceptor = acceptor_start(&acceptor);
	return p->acceptor != NULL;
}

bool parts_need_admin(struct parts *p, const struct listeners *l)
{
	if (!p->admin && l->count)
		p->admin = admin_new();
	return p->admin || l->count == 0;
}

void parts_drop_admin(struct parts *p)
{
	if (p->admin_listeners.count)
		return;
	admin_free(p->admin);
	p->admin = NULL;
}

bool parts_start(struct parts *p, struct settings *s, const struct bell *bell)
{
	const unsigned int workers = parts_workers(s);

	*p = (struct parts){.settings = s, .bell = bell};
	/* Opening the rest takes descriptors. */
	fdlimit_raise();
	p->open_before = fdlimit_count_open();
	p->uses_uring = choose_uring(s->pool.engine);
	parts_tune(&p->tuning, s);
	return open_listeners(p) && parts_need_admin(p, &p->admin_listeners) &&
	       parts_divide_descriptors(p, s, workers, &p->listeners, &p->admin_listeners,
					&p->share) &&
	       make_parts(p) && start_threads(p, workers);
}

void parts_describe(const struct parts *p, char *text, size_t bytes)
{
	char addresses[LISTENERS_MAX * ADDRESS_TEXT_BYTES];

	listeners_format(&p->listeners, addresses, sizeof(addresses));
	snprintf(text, bytes,
		 "ready on %s; workers=%u worker_connections=%" PRIu32 " queue_limit=%" PRIu32
		 " engine=%s",
		 addresses, pool_workers(p->pool), p->share.worker_connections,
		 p->share.queue_limit, p->uses_uring ? "io_uring" : "epoll");
}

void parts_begin_close(struct parts *p)
{
	acceptor_begin_stop(p->acceptor);
}

bool parts_may_close(const struct parts *p)
{
	return acceptor_has_ended(p->acceptor);
}

void parts_close(struct parts *p)
{
	acceptor_join(p->acceptor);
	listeners_close(&p->listeners);
	queue_close(p->queue);
}

uint64_t parts_expire(struct parts *p)
{
	return acceptor_expire(p->acceptor, clock_now_ns());
}

void parts_end(struct parts *p)
{
	if (p->listeners.count && p->acceptor) {
		acceptor_begin_stop(p->acceptor);
		acceptor_join(p->acceptor);
	}
	if (p->queue)
		queue_stop(p->queue);
	if (p->pool)
		pool_free(p->pool);
	if (p->acceptor)
		acceptor_free(p->acceptor);
	if (p->queue)
		queue_free(p->queue);
	if (p->access)
		access_free(p->access);
	listeners_close(&p->listeners);
	admin_free(p->admin);
	listeners_close(&p->admin_listeners);
}
