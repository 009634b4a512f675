/*
 * The parts together; see the header. Called by the main thread at start, on reload and at the end.
 *
 * A reload is all or nothing: first everything that can fail, each step undone if a later one fails
 * (listeners bound beside the old ones, room in the queue, new workers, the access lists); then
 * what cannot fail.
 */
#include "echopool/control/service.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echopool/base/log.h"
#include "echopool/control/systemd.h"

/* The CPUs that this process may use. */
static unsigned int cpu_count(void)
{
	cpu_set_t set;
	long online;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned int)CPU_COUNT(&set);
	/* More CPUs than a cpu_set_t holds. */
	online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (unsigned int)online : 1;
}

static unsigned int workers_of(const struct settings *s)
{
	const unsigned int workers = s->pool.workers ? s->pool.workers : cpu_count();

	return workers < POOL_WORKERS_MAX ? workers : POOL_WORKERS_MAX;
}

/* Gives queue and workers their share of the descriptors, and tells when it is less than asked. */
static bool divide_descriptors(const struct service *v, const struct settings *s,
			       unsigned int workers, unsigned int listeners, struct fd_share *share)
{
	const struct fd_demand demand = {
		.open = v->open_before,
		.listeners = listeners,
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

static bool open_listeners(struct service *v)
{
	int first;
	int inherited;

	if (systemd_is_missing())
		return false;
	inherited = systemd_listen_fds(&first);
	if (inherited < 0)
		return false;
	v->inherited = inherited > 0;
	if (v->inherited)
		return listeners_inherit(&v->listeners, v->settings, first,
					 (unsigned int)inherited);
	return listeners_open(&v->listeners, v->settings);
}

static void tune(struct worker_tuning *t, const struct settings *s)
{
	atomic_store_explicit(&t->buffer_bytes, s->limits.buffer_bytes, memory_order_relaxed);
	atomic_store_explicit(&t->idle_ms, s->timeouts.idle_ms, memory_order_relaxed);
	atomic_store_explicit(&t->idle_when_full_ms, s->timeouts.idle_when_full_ms,
			      memory_order_relaxed);
	atomic_store_explicit(&t->write_ms, s->timeouts.write_ms, memory_order_relaxed);
	atomic_store_explicit(&t->log_connections, s->log.connections, memory_order_relaxed);
}

static struct worker_options worker_options(const struct service *v, const struct fd_share *share)
{
	return (struct worker_options){
		.queue = v->queue,
		.access = v->access,
		.tuning = &v->tuning,
		.worker_connections = share->worker_connections,
	};
}

static struct acceptor_options acceptor_options(const struct service *v)
{
	const struct settings *s = v->settings;

	return (struct acceptor_options){
		.listeners = v->listeners,
		.queue = v->queue,
		.access = v->access,
		.backlog = s->listen.backlog,
		.listeners_close = !v->inherited,
		.queue_full = s->pool.queue_full,
		.queue_ms = s->timeouts.queue_ms,
		.log_connections = s->log.connections,
		.broken = v->bell,
	};
}

static bool make_parts(struct service *v)
{
	v->access = access_new(v->settings);
	v->queue = queue_new(v->share.queue_limit, POOL_WORKERS_MAX);
	v->pool = pool_new(v->bell);
	if (v->access && v->queue && v->pool)
		return true;
	log_error("no memory for a queue of %" PRIu32 " connections", v->share.queue_limit);
	return false;
}

static bool start_threads(struct service *v, unsigned int workers)
{
	const struct worker_options worker = worker_options(v, &v->share);
	const struct acceptor_options acceptor = acceptor_options(v);

	queue_set_capacity(v->queue, workers, v->share.worker_connections);
	if (!pool_resize(v->pool, workers, &worker))
		return false;
	v->acceptor = acceptor_start(&acceptor);
	return v->acceptor != NULL;
}

bool service_start(struct service *v, struct settings *s, const struct bell *bell)
{
	const unsigned int workers = workers_of(s);

	*v = (struct service){.settings = s, .bell = bell};
	/* First of all: opening the rest takes descriptors. */
	fdlimit_raise();
	v->open_before = fdlimit_count_open();
	tune(&v->tuning, s);
	return open_listeners(v) &&
	       divide_descriptors(v, s, workers, v->listeners.count, &v->share) && make_parts(v) &&
	       start_threads(v, workers);
}

/* What a reload has got so far, and would give back. */
struct change {
	struct settings *settings;
	unsigned int workers; /* counted once: the CPUs may be others a moment later */
	struct listeners listeners;
	struct fd_share share;
};

static bool change_listeners(const struct service *v, struct change *c)
{
	if (v->inherited) {
		c->listeners = v->listeners;
		return true;
	}
	return listeners_change(&v->listeners, &c->listeners, c->settings,
				v->settings->listen.port == 0);
}

/* More workers, and the lists: what can fail. A pool that is to shrink is left as it is until
 * later. */
static bool grow(struct service *v, const struct change *c)
{
	const unsigned int before = pool_workers(v->pool);
	const struct worker_options options = worker_options(v, &c->share);

	if (c->workers > before && !pool_resize(v->pool, c->workers, &options))
		return false;
	if (access_update(v->access, c->settings))
		return true;
	log_error("no memory for the access lists");
	if (pool_workers(v->pool) > before)
		pool_resize(v->pool, before, &options);
	return false;
}

static bool prepare(struct service *v, struct change *c)
{
	if (!log_prepare(c->settings->log.target) || !change_listeners(v, c))
		return false;
	if (!divide_descriptors(v, c->settings, c->workers, c->listeners.count, &c->share))
		goto failed;
	/* A lowered limit waits until nothing can fail any more. */
	if (c->share.queue_limit > v->share.queue_limit &&
	    !queue_set_limit(v->queue, c->share.queue_limit)) {
		log_error("no memory for a queue of %" PRIu32 " connections", c->share.queue_limit);
		goto failed;
	}
	if (grow(v, c))
		return true;
	/* It was so large before, so there is room. */
	queue_set_limit(v->queue, v->share.queue_limit);
failed:
	listeners_close_except(&c->listeners, &v->listeners);
	return false;
}

static bool is_of_listen(const struct setting *setting)
{
	return strncmp(setting->path, "listen.", strlen("listen.")) == 0;
}

/* One line for each setting that is another now; of inherited sockets keep_inherited() tells. */
static void log_changes(const struct service *v, const struct settings *next)
{
	const struct settings *old = v->settings;
	char was[SETTING_TEXT_BYTES], is[SETTING_TEXT_BYTES];

	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		const struct setting *setting = &settings_table[i];

		if (!setting_equal(setting, old, next) && !(v->inherited && is_of_listen(setting)))
			log_info("reload: %s changed from %s to %s", setting->path,
				 setting_text(setting, old, was), setting_text(setting, next, is));
	}
}

/* What cannot fail. */
static void commit(struct service *v, const struct change *c)
{
	const struct listeners old = v->listeners;
	const struct worker_options options = worker_options(v, &c->share);
	const enum log_level was = v->settings->log.level;
	const enum log_level level = c->settings->log.level;
	struct acceptor_options acceptor;

	/* Where it will be looked for; and of a change of the level the more talkative one tells.
	 */
	log_open(c->settings->log.target, level > was ? level : was);
	log_changes(v, c->settings);
	log_open(c->settings->log.target, level);
	settings_free(v->settings);
	*v->settings = *c->settings;
	*c->settings = (struct settings){0};
	v->listeners = c->listeners;
	v->share = c->share;

	tune(&v->tuning, v->settings);
	/* First: else those that stay look full while they take over from those that leave. */
	queue_set_capacity(v->queue, c->workers, v->share.worker_connections);
	pool_resize(v->pool, c->workers, &options);
	listeners_tune(&v->listeners, v->settings);
	if (!v->inherited)
		listeners_set_backlog(&v->listeners, v->settings->listen.backlog);
	acceptor = acceptor_options(v);
	acceptor_change(v->acceptor, &acceptor);
	/* It may have been the old one until here, if that was larger. */
	queue_set_limit(v->queue, v->share.queue_limit);
	listeners_close_except(&old, &v->listeners);
}

/* systemd holds the sockets, so what the file says of them is only told. */
static void keep_inherited(const struct service *v, const struct settings *next)
{
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		const struct setting *setting = &settings_table[i];

		if (is_of_listen(setting) && !setting_equal(setting, v->settings, next))
			log_warning(
				"reload: %s changed, but the sockets came from systemd and stay as they are",
				setting->path);
	}
}

bool service_apply(struct service *v, struct settings *next)
{
	struct change c = {.settings = next, .workers = workers_of(next)};
	bool applied;

	if (v->inherited)
		keep_inherited(v, next);
	applied = prepare(v, &c);
	if (applied)
		commit(v, &c);
	settings_free(next);
	return applied;
}

void service_describe(const struct service *v, char *text, size_t bytes)
{
	char addresses[LISTENERS_MAX * ADDRESS_TEXT_BYTES];

	listeners_format(&v->listeners, addresses, sizeof(addresses));
	snprintf(text, bytes,
		 "ready on %s; workers=%u worker_connections=%" PRIu32 " queue_limit=%" PRIu32,
		 addresses, pool_workers(v->pool), v->share.worker_connections,
		 v->share.queue_limit);
}

void service_close(struct service *v)
{
	acceptor_stop(v->acceptor);
	listeners_close(&v->listeners);
	queue_close(v->queue);
}

uint64_t service_expire(struct service *v)
{
	return acceptor_expire(v->acceptor);
}

void service_end(struct service *v)
{
	if (v->listeners.count && v->acceptor)
		acceptor_stop(v->acceptor);
	if (v->queue)
		queue_stop(v->queue);
	if (v->pool)
		pool_free(v->pool);
	if (v->acceptor)
		acceptor_free(v->acceptor);
	if (v->queue)
		queue_free(v->queue);
	if (v->access)
		access_free(v->access);
	listeners_close(&v->listeners);
}
