/*
 * The result of a run for programs; see the header. jansson writes the JSON; the CSV has the same
 * values in the same order, under names like latency_us_p50.
 */
#include "export.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "limit.h"

/* A number with three decimals, which is more than any of them is right to. NAN: not known. */
static json_t *number(double n)
{
	return isnan(n) ? json_null() : json_real(round(n * 1000) / 1000);
}

static json_t *share_of(double part, double whole)
{
	return whole > 0 ? json_real(round(part / whole * 1e6) / 1e6) : json_real(0);
}

static json_t *integer(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *options_object(const struct options *o)
{
	return json_pack("{sI sI sI sI sI sI sI so so so so sb so so sI}", "connections",
			 (json_int_t)o->connections, "threads", (json_int_t)o->threads, "size_min",
			 (json_int_t)o->size_min, "size_max", (json_int_t)o->size_max, "pipeline",
			 (json_int_t)o->pipeline, "messages", (json_int_t)o->messages, "idle",
			 (json_int_t)o->idle, "duration_s", number((double)o->duration_ns / 1e9),
			 "warmup_s", number((double)o->warmup_ns / 1e9), "rate", number(o->rate),
			 "arrivals", number(o->arrivals), "poisson", o->poisson, "connect_rate",
			 number(o->connect_rate), "timeout_s", number((double)o->timeout_ns / 1e9),
			 "seed", (json_int_t)o->seed);
}

/* null where there was none: 0 would be a very good latency. */
static json_t *microseconds(const struct latency *h, double share)
{
	return latency_count(h) ? number((double)latency_quantile_ns(h, share) / 1000)
				: json_null();
}

/* Adds the percentiles that were asked for, as "p99_99", where they are not there yet. */
static void add_percentiles(json_t *object, const struct latency *h, const struct options *o)
{
	char key[32];

	for (uint32_t i = 0; i < o->percentile_count; i++) {
		snprintf(key, sizeof(key), "p%.15g", o->percentile[i]);
		if (strchr(key, '.'))
			*strchr(key, '.') = '_';
		if (!json_object_get(object, key))
			json_object_set_new(object, key, microseconds(h, o->percentile[i] / 100));
	}
}

static json_t *latency_object(const struct latency *h, const struct options *o)
{
	const bool any = latency_count(h) > 0;
	json_t *object = json_pack("{so so so so so so so so so}", "count",
				   integer(latency_count(h)), "mean",
				   any ? number(latency_mean_ns(h) / 1000) : json_null(), "p50",
				   microseconds(h, 0.5), "p90", microseconds(h, 0.9), "p99",
				   microseconds(h, 0.99), "p99_9", microseconds(h, 0.999), "max",
				   microseconds(h, 1), "min", microseconds(h, 0), "stddev",
				   any ? number(latency_deviation_ns(h) / 1000) : json_null());

	add_percentiles(object, h, o);
	return object;
}

/* The same as a generator that is never late would have seen it; no figures: it is not known. */
static json_t *undelayed_object(const struct latency *h, const struct result *r)
{
	static const struct latency none;

	return latency_object(result_knows_arrivals(r) ? h : &none, r->options);
}

/* UTC, as ISO 8601 has it; null: the measured time never began. */
static json_t *began(const struct result *r)
{
	struct tm utc;
	char text[32];

	if (!r->began || !gmtime_r(&r->began, &utc) ||
	    !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc))
		return json_null();
	return json_string(text);
}

static json_t *errors_object(const struct tally *t)
{
	json_t *errors = json_object();

	for (int i = FAULT_NONE + 1; i < FAULT_COUNT; i++)
		json_object_set_new(errors, fault_name((enum fault)i),
				    integer(stat_get(&t->fault[i])));
	return errors;
}

static json_t *cpu_object(const struct result *r)
{
	const struct cpu_use *cpu = &r->cpu;
	const bool server = r->options->server != 0;

	return json_pack("{so so so sI so so so}", "generator", number(cpu->generator), "server",
			 server ? number(cpu->server) : json_null(), "machine",
			 number(cpu->machine), "cpus", (json_int_t)cpu->cpus, "quota",
			 cpu->quota > 0 ? number(cpu->quota) : json_null(), "generator_us_per_echo",
			 number(result_us_for_an_echo(r, cpu->generator_s)), "server_us_per_echo",
			 server ? number(result_us_for_an_echo(r, cpu->server_s)) : json_null());
}

/* What stands for a schedule that there was not: the same keys, and no values. */
static json_t *no_schedule_object(void)
{
	return json_pack("{sn sn sn sn}", "sent_share", "late_share", "late_max_us", "kept");
}

static json_t *schedule_object(const struct result *r)
{
	const struct tally *t = r->tally;

	if (!result_due(r))
		return no_schedule_object();
	return json_pack("{so so so sb}", "sent_share",
			 share_of((double)stat_get(&t->sent), (double)result_due(r)), "late_share",
			 share_of((double)stat_get(&t->late), (double)stat_get(&t->gone)),
			 "late_max_us", number((double)stat_get(&t->late_max_ns) / 1000), "kept",
			 result_kept_schedule(r));
}

static json_t *generator_object(const struct result *r)
{
	return json_pack("{so so}", "held_share", share_of(result_held_share(r), 1), "held_max_us",
			 number((double)stat_get(&r->tally->held_max_ns) / 1000));
}

static json_t *disturbed(const struct result *r)
{
	if (!result_knows_arrivals(r))
		return json_null();
	return json_boolean(result_is_disturbed(r));
}

static json_t *fairness(const struct result *r)
{
	if (options_churn(r->options) || r->most_echoes == 0)
		return json_null();
	return share_of((double)r->fewest_echoes, (double)r->most_echoes);
}

/* All of the result; NULL when memory is short. Takes schedule over. */
static json_t *result_object(const struct result *r, json_t *schedule)
{
	const struct tally *t = r->tally;

	return json_pack("{ss ss so so so so so so so so so so sI so so ss so sb"
			 " ss? so sb sI so so so so so}",
			 "echoload", ECHOPOOL_VERSION, "target", r->options->target, "options",
			 options_object(r->options), "seconds", number(r->seconds), "echoes",
			 integer(stat_get(&t->echoes)), "echoes_per_s",
			 number(result_a_second(r, &t->echoes)), "bytes_per_s",
			 number(result_a_second(r, &t->bytes)), "latency_us",
			 latency_object(&t->latency, r->options), "opened",
			 integer(stat_get(&t->opened)), "opened_per_s",
			 number(result_a_second(r, &t->opened_measured)), "connect_us",
			 latency_object(&t->connect, r->options), "errors", errors_object(t),
			 "starved", (json_int_t)(options_churn(r->options) ? 0 : r->starved),
			 "fairness", fairness(r), "cpu", cpu_object(r), "limited_by",
			 limit_name(limit_of(&r->cpu, r->options->threads)), "schedule", schedule,
			 "ok", result_is_ok(r), "label", r->options->label, "began", began(r),
			 "interrupted", r->interrupted, "unanswered",
			 (json_int_t)stat_get(&t->unanswered), "generator", generator_object(r),
			 "disturbed", disturbed(r), "undelayed_us",
			 undelayed_object(&t->undelayed, r), "connect_undelayed_us",
			 undelayed_object(&t->connect_undelayed, r), "uncorrected_us",
			 latency_object(&t->uncorrected, r->options));
}

/* --- forms */

static bool write_json(FILE *out, const struct result *r)
{
	json_t *all =
		result_object(r, options_open_loop(r->options) ? schedule_object(r) : json_null());
	const bool ok = all && json_dumpf(all, out, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0;

	fputc('\n', out);
	json_decref(all);
	return ok;
}

/* Writes the name of a value, or the value itself, and a comma before all but the first. */
static void write_cell(FILE *out, const char *prefix, const char *key, json_t *value, bool names,
		       bool *first)
{
	fputs(*first ? "" : ",", out);
	*first = false;
	if (names)
		fprintf(out, "%s%s%s", prefix, *prefix ? "_" : "", key);
	else if (!json_is_null(value))
		json_dumpf(value, out, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
}

/* Writes all names, or all values: those of the result, and those of the objects in it. */
static void write_row(FILE *out, json_t *all, bool names)
{
	const char *key, *inner_key;
	json_t *value, *inner;
	bool first = true;

	json_object_foreach(all, key, value)
	{
		if (!json_is_object(value))
			write_cell(out, "", key, value, names, &first);
		json_object_foreach(value, inner_key, inner)
			write_cell(out, key, inner_key, inner, names, &first);
	}
	fputc('\n', out);
}

/* Whether nothing is in the file yet. Standard output may be a pipe, which has no position. */
static bool is_empty(FILE *out)
{
	return out == stdout || (fseek(out, 0, SEEK_END) == 0 && ftell(out) == 0);
}

static bool write_csv(FILE *out, const struct result *r)
{
	/* The same columns in every line of a file, whatever kind of loop it was. */
	json_t *all = result_object(r, options_open_loop(r->options) ? schedule_object(r)
								     : no_schedule_object());

	if (is_empty(out))
		write_row(out, all, true);
	write_row(out, all, false);
	json_decref(all);
	return all != NULL;
}

static bool write_hist(FILE *out, const struct result *r)
{
	const struct latency *h = &r->tally->latency;
	const uint64_t all = latency_count(h);
	uint64_t seen = 0;

	fprintf(out, "# latency of %" PRIu64 " messages, longest %.3f\n", all,
		(double)latency_quantile_ns(h, 1) / 1000);
	fprintf(out, "# microseconds count share\n");
	for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
		uint64_t middle_ns;
		const uint64_t count = latency_bucket(h, i, &middle_ns);

		seen += count;
		if (count)
			fprintf(out, "%.3f %" PRIu64 " %.9f\n", (double)middle_ns / 1000, count,
				(double)seen / (double)all);
	}
	return true;
}

bool exports_write(const struct exports *e, const struct result *r)
{
	const bool json = !e->json || write_json(e->json, r);
	const bool csv = !e->csv || write_csv(e->csv, r);

	if ((!e->hist || write_hist(e->hist, r)) && json && csv)
		return true;
	fprintf(stderr, "echoload: the result could not be written: %s\n", strerror(errno));
	return false;
}

/* --- files */

static bool open_out(const char *path, const char *mode, FILE **out)
{
	if (!path)
		return true;
	*out = strcmp(path, "-") == 0 ? stdout : fopen(path, mode);
	if (!*out)
		fprintf(stderr, "echoload: %s: %s\n", path, strerror(errno));
	return *out != NULL;
}

bool exports_open(struct exports *e, const struct options *o)
{
	*e = (struct exports){.json = NULL};
	if (open_out(o->json, "we", &e->json) && open_out(o->csv, "ae", &e->csv) &&
	    open_out(o->hist, "we", &e->hist))
		return true;
	exports_close(e, o);
	return false;
}

/* The caller sees to the standard output. */
static bool close_out(FILE *out, const char *path)
{
	bool bad;

	if (!out || out == stdout)
		return true;
	bad = ferror(out) != 0;
	if (fclose(out) != 0 || bad) {
		fprintf(stderr, "echoload: %s: %s\n", path, strerror(errno));
		return false;
	}
	return true;
}

bool exports_close(struct exports *e, const struct options *o)
{
	const bool json = close_out(e->json, o->json), csv = close_out(e->csv, o->csv);
	const bool hist = close_out(e->hist, o->hist);

	*e = (struct exports){.json = NULL};
	return hist && json && csv;
}
