/*
 * A reload is applied all or nothing; see the header. Main thread.
 *
 * First comes everything that can fail, each step undone if a later one fails: listeners bound
 * beside the old ones, room in the queue, new workers, the access lists. Then comes what cannot
 * fail, and only then may clients come to a new listener: closing it again would reset them.
 */
#include "echopool/control/apply.h"

#include <inttypes.h>
#include <string.h>

#include "echopool/base/log.h"

/* What a reload has acquired so far, and gives back when a later step fails. */
struct change {
	struct settings *settings;
	unsigned int workers; /* counted once, as the number of CPUs may change */
	struct listeners listeners;
	struct listeners admin_listeners;
	struct fd_share share;
};

static bool change_listeners(const struct parts *p, struct change *c)
{
	if (p->inherited) {
		c->listeners = p->listeners;
		return true;
	}
	return listeners_change(&p->listeners, &c->listeners, c->settings,
				p->settings->listen.port == 0);
}

static bool change_admin_listeners(const struct parts *p, struct change *c)
{
	if (p->admin_inherited) {
		c->admin_listeners = p->admin_listeners;
		return true;
	}
	return admin_change_listeners(&p->admin_listeners, &c->admin_listeners, p->settings,
				      c->settings);
}

/* Adds workers and replaces the access lists. A pool that is to shrink does so in commit(). */
static bool grow(struct parts *p, const struct change *c)
{
	const unsigned int before = pool_workers(p->pool);
	const struct worker_options options = parts_worker_options(p);

	if (c->workers > before && !pool_resize(p->pool, c->workers, &options))
		return false;
	if (access_update(p->access, c->settings))
		return true;
	log_error("no memory for the access lists");
	if (pool_workers(p->pool) > before)
		pool_resize(p->pool, before, &options);
	return false;
}

static bool prepare(struct parts *p, struct change *c)
{
	if (!log_prepare(c->settings->log.target) || !change_listeners(p, c))
		return false;
	if (!change_admin_listeners(p, c))
		goto failed_listeners;
	if (!parts_need_admin(p, &c->admin_listeners))
		goto failed;
	if (!parts_divide_descriptors(p, c->settings, c->workers, &c->listeners,
				      &c->admin_listeners, &c->share))
		goto failed;
	/* A lowered limit waits until nothing can fail any more. */
	if (c->share.queue_limit > p->share.queue_limit &&
	    !queue_set_limit(p->queue, c->share.queue_limit)) {
		log_error("no memory for a queue of %" PRIu32 " connections", c->share.queue_limit);
		goto failed;
	}
	if (grow(p, c))
		return true;
	/* The queue was as small as this before, so this cannot fail. */
	queue_set_limit(p->queue, p->share.queue_limit);
failed:
	listeners_close_except(&c->admin_listeners, &p->admin_listeners);
	parts_drop_admin(p);
failed_listeners:
	listeners_close_except(&c->listeners, &p->listeners);
	return false;
}

/* Whether the setting is for sockets that came from systemd, which holds them. */
static bool is_inherited(const struct parts *p, const struct setting *setting)
{
	return (p->inherited && strncmp(setting->path, "listen.", strlen("listen.")) == 0) ||
	       (p->admin_inherited && (strcmp(setting->path, "admin.addresses") == 0 ||
				       strcmp(setting->path, "admin.port") == 0));
}

/* Logs a line for each setting that changes; tell_inherited() does so for inherited sockets. */
static void log_changes(const struct parts *p, const struct settings *next)
{
	const struct settings *old = p->settings;
	char was[SETTING_TEXT_BYTES], is[SETTING_TEXT_BYTES];

	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		const struct setting *setting = &settings_table[i];

		if (!setting_equal(setting, old, next) && !is_inherited(p, setting))
			log_info("reload: %s changed from %s to %s", setting->path,
				 setting_text(setting, old, was), setting_text(setting, next, is));
	}
}

/* What cannot fail. */
static void commit(struct parts *p, const struct change *c)
{
	const struct listeners old = p->listeners, old_admin = p->admin_listeners;
	const struct worker_options options = parts_worker_options(p);
	const enum log_level was = p->settings->log.level;
	const enum log_level level = c->settings->log.level;
	struct acceptor_options acceptor;

	/* The changes are told where the log goes from now on, at the more talkative level. */
	log_open(c->settings->log.target, level > was ? level : was);
	log_changes(p, c->settings);
	log_open(c->settings->log.target, level);
	settings_free(p->settings);
	*p->settings = *c->settings;
	*c->settings = (struct settings){0};
	p->listeners = c->listeners;
	p->share = c->share;
	listeners_admit(&p->listeners, &old);
	p->admin_listeners = c->admin_listeners;
	listeners_admit(&p->admin_listeners, &old_admin);
	listeners_close_except(&old_admin, &p->admin_listeners);
	parts_drop_admin(p);

	parts_tune(&p->tuning, p->settings);
	/* Those that stay must not look full while they take over from those that leave. */
	parts_set_capacity(p, c->workers);
	pool_resize(p->pool, c->workers, &options);
	listeners_tune(&p->listeners, p->settings);
	if (!p->inherited)
		listeners_set_backlog(&p->listeners, p->settings->listen.backlog);
	acceptor = parts_acceptor_options(p);
	acceptor_change(p->acceptor, &acceptor);
	/* A lowered limit holds from here on. */
	queue_set_limit(p->queue, p->share.queue_limit);
	listeners_close_except(&old, &p->listeners);
}

/* Workers keep the engine with which they began. */
static void keep_engine(const struct parts *p, const struct settings *next)
{
	if (next->pool.engine != p->settings->pool.engine)
		log_warning("reload: pool.engine takes effect when the server is started again");
}

/* A change of the others is only told. */
static void tell_inherited(const struct parts *p, const struct settings *next)
{
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		const struct setting *setting = &settings_table[i];

		if (is_inherited(p, setting) && !setting_equal(setting, p->settings, next))
			log_warning(
				"reload: %s changed, but the sockets came from systemd and stay as they are",
				setting->path);
	}
}

bool apply_settings(struct parts *p, struct settings *next)
{
	struct change c = {.settings = next, .workers = parts_workers(next)};
	bool applied;

	tell_inherited(p, next);
	keep_engine(p, next);
	applied = prepare(p, &c);
	if (applied)
		commit(p, &c);
	settings_free(next);
	return applied;
}
