/*
 * The result of a run as a table; see the header.
 */
#include "report.h"

#include <inttypes.h>
#include <math.h>

#include "limit.h"
#include "version.h"

static void print_load(FILE *out, const struct options *o)
{
	fprintf(out, "echoload %s: %s, %u connections", ECHOPOOL_VERSION, o->target,
		o->connections);
	if (o->idle)
		fprintf(out, " and %u idle", o->idle);
	fprintf(out, ", %u bytes", o->size_min);
	if (o->size_max != o->size_min)
		fprintf(out, " to %u", o->size_max);
	if (o->pipeline > 1)
		fprintf(out, ", %u in flight", o->pipeline);
	if (o->messages)
		fprintf(out, ", %u message%s a connection", o->messages,
			o->messages == 1 ? "" : "s");
	if (options_open_loop(o))
		fprintf(out, "\nopen loop: %.15g %s a second%s",
			o->rate > 0 ? o->rate : o->arrivals,
			o->rate > 0 ? "messages" : "new connections",
			o->poisson ? ", at random (Poisson)" : "");
	fprintf(out, "\n\n");
}

static void print_throughput(FILE *out, const struct result *r)
{
	const struct tally *t = r->tally;

	fprintf(out, "  %-12s %10" PRIu64 " in %.2f s %12.0f a second %10.2f MB/s each way\n",
		"echoes", stat_get(&t->echoes), r->seconds, result_a_second(r, &t->echoes),
		result_a_second(r, &t->bytes) / 1e6);
	fprintf(out, "  %-12s %10" PRIu64 " answered", "connections", stat_get(&t->opened));
	if (options_churn(r->options))
		fprintf(out, " %17.0f a second\n", result_a_second(r, &t->opened_measured));
	else
		fprintf(out, ", %u starved; slowest to fastest %.2f\n", r->starved,
			r->most_echoes ? (double)r->fewest_echoes / (double)r->most_echoes : 0);
}

static void print_latency(FILE *out, const char *name, const struct latency *h)
{
	static const double shares[] = {0.5, 0.9, 0.99, 0.999, 1};

	fprintf(out, "  %-12s", name);
	if (!latency_count(h)) {
		fprintf(out, " %10s\n", "none");
		return;
	}
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++)
		fprintf(out, " %10.0f", (double)latency_quantile_ns(h, shares[i]) / 1000);
	fprintf(out, " %10.0f\n", latency_mean_ns(h) / 1000);
}

static void print_schedule(FILE *out, const struct result *r)
{
	const uint64_t asked = stat_get(&r->tally->asked), late = stat_get(&r->tally->late);
	const uint64_t due = result_due(r);

	if (!options_open_loop(r->options) || r->seconds <= 0)
		return;
	if (!due) {
		fprintf(out, "\n  %-12s nothing was due in the measured time\n", "schedule");
		return;
	}
	fprintf(out, "\n  %-12s %s\n", "schedule",
		result_kept_schedule(r) ? "kept"
					: "NOT KEPT: the latencies above have the delay in them");
	fprintf(out, "  %-12s %.2f %% were sent in the measured time\n", "",
		100 * (double)stat_get(&r->tally->sent) / (double)due);
	fprintf(out, "  %-12s %.2f %% over 1 ms late by the generator itself, at most %.1f ms\n",
		"", asked ? 100 * (double)late / (double)asked : 0,
		(double)stat_get(&r->tally->late_max_ns) / 1e6);
}

static void print_faults(FILE *out, const struct tally *t)
{
	fprintf(out, "\n  %-12s", "faults");
	for (int i = FAULT_NONE + 1; i < FAULT_COUNT; i++) {
		const uint64_t count = stat_get(&t->fault[i]);

		if (count)
			fprintf(out, " %s %" PRIu64 "%s", fault_name((enum fault)i), count,
				i == FAULT_WRONG ? " bytes" : "");
	}
	fprintf(out, "%s\n", tally_faults(t) ? "" : " none");
}

static void print_limit(FILE *out, const struct result *r)
{
	static const char *const sentences[] = {
		[LIMIT_NONE] = "no CPU",
		[LIMIT_QUOTA] = "the CPU quota of a control group, which was used up",
		[LIMIT_GENERATOR] = "THE GENERATOR: the server can do more; give it more --threads",
		[LIMIT_SERVER] = "the server: a thread of it was busy all the time",
		[LIMIT_MACHINE] = "the machine: all CPUs were busy",
	};

	fprintf(out, "  %-12s %s\n", "limited by",
		sentences[limit_of(&r->cpu, r->options->threads)]);
}

static bool knows_server(const struct result *r)
{
	return r->options->server && !isnan(r->cpu.server);
}

static void print_cpu(FILE *out, const struct result *r)
{
	const struct cpu_use *cpu = &r->cpu;

	fprintf(out, "  %-12s generator %.2f of %u", "CPUs", cpu->generator, r->options->threads);
	if (knows_server(r))
		fprintf(out, ", server %.2f", cpu->server);
	fprintf(out, "; all %u that it may use %.0f %% busy\n", cpu->cpus, 100 * cpu->machine);
	if (cpu->quota > 0)
		fprintf(out, "  %-12s %.2f CPUs, used up in %.0f %% of its periods\n", "quota",
			cpu->quota, 100 * cpu->throttled);
	if (!stat_get(&r->tally->echoes))
		return;
	fprintf(out, "  %-12s generator %.2f us", "for an echo",
		result_us_for_an_echo(r, cpu->generator));
	if (knows_server(r))
		fprintf(out, ", server %.2f us", result_us_for_an_echo(r, cpu->server));
	fprintf(out, "\n");
}

void report_print(FILE *out, const struct result *r)
{
	print_load(out, r->options);
	print_throughput(out, r);
	fprintf(out, "\n  %-12s %10s %10s %10s %10s %10s %10s\n", "microseconds", "p50", "p90",
		"p99", "p99.9", "max", "mean");
	print_latency(out, "message", &r->tally->latency);
	print_latency(out, "connection", &r->tally->connect);
	print_schedule(out, r);
	print_faults(out, r->tally);
	if (r->seconds > 0) {
		print_cpu(out, r);
		print_limit(out, r);
	}
}
