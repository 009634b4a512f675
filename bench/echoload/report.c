/*
 * The result of a run as a table; see the header.
 */
#include "report.h"

#include <inttypes.h>
#include <math.h>

#include "limit.h"

static void print_load(FILE *out, const struct options *o)
{
	if (o->label)
		fprintf(out, "%s\n", o->label);
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
	if (o->poisson || o->size_max != o->size_min)
		fprintf(out, "%sseed %u", options_open_loop(o) ? ", " : "\n", o->seed);
	fprintf(out, "\n\n");
}

/* A number a second; of a small one, decimals too. */
static void print_rate(FILE *out, int width, double rate)
{
	fprintf(out, "%*.*f", width, rate > 0 && rate < 10 ? 2 : 0, rate);
}

static void print_throughput(FILE *out, const struct result *r)
{
	const struct tally *t = r->tally;

	fprintf(out, "  %-12s %10" PRIu64 " in %.2f s ", "echoes", stat_get(&t->echoes),
		r->seconds);
	print_rate(out, 12, result_a_second(r, &t->echoes));
	fprintf(out, " a second %10.2f MB/s each way\n", result_a_second(r, &t->bytes) / 1e6);
	fprintf(out, "  %-12s %10" PRIu64 " answered", "connections", stat_get(&t->opened));
	if (options_churn(r->options)) {
		fputc(' ', out);
		print_rate(out, 17, result_a_second(r, &t->opened_measured));
		fprintf(out, " a second\n");
	} else
		fprintf(out, ", %u starved; slowest to fastest %.2f\n", r->starved,
			r->most_echoes ? (double)r->fewest_echoes / (double)r->most_echoes : 0);
}

static void print_latency(FILE *out, const char *name, const struct latency *h,
			  const struct options *o)
{
	fprintf(out, "  %-12s", name);
	if (!latency_count(h)) {
		fprintf(out, " %9s\n", "none");
		return;
	}
	fprintf(out, " %9.0f", (double)latency_quantile_ns(h, 0) / 1000);
	for (uint32_t i = 0; i < o->percentile_count; i++)
		fprintf(out, " %9.0f",
			(double)latency_quantile_ns(h, o->percentile[i] / 100) / 1000);
	fprintf(out, " %9.0f %9.0f %9.0f\n", (double)latency_quantile_ns(h, 1) / 1000,
		latency_mean_ns(h) / 1000, latency_deviation_ns(h) / 1000);
}

static void print_latencies(FILE *out, const struct result *r)
{
	const struct options *o = r->options;
	char name[32];

	fprintf(out, "\n  %-12s %9s", "microseconds", "min");
	for (uint32_t i = 0; i < o->percentile_count; i++) {
		snprintf(name, sizeof(name), "p%.15g", o->percentile[i]);
		fprintf(out, " %9s", name);
	}
	fprintf(out, " %9s %9s %9s\n", "max", "mean", "stddev");
	print_latency(out, "message", &r->tally->latency, o);
	if (result_knows_arrivals(r))
		print_latency(out, "  undelayed", &r->tally->undelayed, o);
	if (options_open_loop(o))
		print_latency(out, "  uncorrected", &r->tally->uncorrected, o);
	print_latency(out, "connection", &r->tally->connect, o);
}

/* What the generator itself did to the latencies. */
static void print_generator(FILE *out, const struct result *r)
{
	if (!result_has_measured(r))
		return;
	fprintf(out, "\n  %-12s ", "generator");
	if (!result_knows_arrivals(r))
		fprintf(out,
			"this system does not tell when answers come: its delays are unknown\n");
	else
		fprintf(out, "%s\n",
			result_is_disturbed(r)
				? "LATE: its delays are in the figures; see \"undelayed\""
				: "its delays change no figure by more than 5 % and 50 us");
	fprintf(out, "  %-12s held up over 1 ms for %.1f %% of the time, at most %.1f ms\n", "",
		100 * result_held_share(r), (double)stat_get(&r->tally->held_max_ns) / 1e6);
}

static void print_schedule(FILE *out, const struct result *r)
{
	const uint64_t gone = stat_get(&r->tally->gone), late = stat_get(&r->tally->late);
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
		"", gone ? 100 * (double)late / (double)gone : 0,
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
	if (stat_get(&t->unanswered))
		fprintf(out, " unanswered messages %" PRIu64, stat_get(&t->unanswered));
	fprintf(out, "%s\n", tally_faults(t) || stat_get(&t->unanswered) ? "" : " none");
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
	if (!r->cpu_answers)
		return;
	fprintf(out, "  %-12s generator %.2f us", "for an echo",
		result_us_for_an_echo(r, cpu->generator_s));
	if (knows_server(r))
		fprintf(out, ", server %.2f us", result_us_for_an_echo(r, cpu->server_s));
	fprintf(out, "\n");
}

void report_print(FILE *out, const struct result *r)
{
	print_load(out, r->options);
	print_throughput(out, r);
	print_latencies(out, r);
	print_generator(out, r);
	print_schedule(out, r);
	print_faults(out, r->tally);
	if (r->seconds > 0) {
		print_cpu(out, r);
		print_limit(out, r);
	}
}
