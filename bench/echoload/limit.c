/*
 * What a run was limited by; see the header.
 */
#include "limit.h"

/* So much of a CPU counts as all of it: the rest goes to interrupts and to the samples. */
#define WHOLE_CPU 0.95

/* The machine's share is counted in ticks of all its CPUs, and so comes nearer to the whole. */
#define WHOLE_MACHINE 0.97

/*
 * A quota that was used up in so many of its periods. On a busy machine even one that is always
 * spent is so only in some of them.
 */
#define MANY_PERIODS 0.25

/* The error that is stated: a share, and the time that it takes to wake a thread. */
#define STATED_SHARE 0.05
#define STATED_NS    50e3

bool limit_is_changed(double seen_ns, double undelayed_ns)
{
	return seen_ns > undelayed_ns * (1 + STATED_SHARE) + STATED_NS;
}

bool limit_loses(double held_share)
{
	return held_share > STATED_SHARE;
}

const char *limit_name(enum limit limit)
{
	static const char *const names[] = {
		[LIMIT_NONE] = "none",           [LIMIT_QUOTA] = "quota",
		[LIMIT_GENERATOR] = "generator", [LIMIT_SERVER] = "server",
		[LIMIT_MACHINE] = "machine",
	};

	return names[limit];
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Whether one thread was busy all the time, or all were, as far as there are CPUs. */
static bool is_full(double busiest, double all, uint32_t threads, uint32_t cpus)
{
	const uint32_t at_once = least(threads, cpus);

	return busiest >= WHOLE_CPU || (at_once && all >= WHOLE_CPU * at_once);
}

enum limit limit_of(const struct cpu_use *use, uint32_t threads)
{
	if (use->throttled >= MANY_PERIODS)
		return LIMIT_QUOTA;
	/* A generator that fills the CPUs by itself is the limit, not the machine. */
	if (use->machine >= WHOLE_MACHINE && use->generator < WHOLE_CPU * use->cpus)
		return LIMIT_MACHINE;
	if (is_full(use->generator_busiest, use->generator, threads, use->cpus))
		return LIMIT_GENERATOR;
	if (is_full(use->server_busiest, use->server, use->server_tasks, use->server_cpus))
		return LIMIT_SERVER;
	return LIMIT_NONE;
}
