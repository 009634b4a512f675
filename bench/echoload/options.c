/*
 * The command line of echoload; see the header. Main thread.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echopool/base/clock.h"
#include "usage.h"

#define MESSAGE_BYTES_MAX (16U << 20)

enum long_only {
	OPTION_CSV = 256,
	OPTION_HIST,
	OPTION_SOURCE,
	OPTION_SEED,
	OPTION_LABEL,
	OPTION_PERCENTILES,
	OPTION_STRICT,
	OPTION_STOP,
};

static const struct option longs[] = {
	{"connections", required_argument, NULL, 'c'},
	{"threads", required_argument, NULL, 't'},
	{"size", required_argument, NULL, 's'},
	{"pipeline", required_argument, NULL, 'p'},
	{"messages", required_argument, NULL, 'm'},
	{"idle", required_argument, NULL, 'i'},
	{"duration", required_argument, NULL, 'd'},
	{"warmup", required_argument, NULL, 'w'},
	{"rate", required_argument, NULL, 'r'},
	{"arrivals", required_argument, NULL, 'a'},
	{"poisson", no_argument, NULL, 'P'},
	{"connect-rate", required_argument, NULL, 'C'},
	{"source", required_argument, NULL, OPTION_SOURCE},
	{"timeout", required_argument, NULL, 'T'},
	{"server", required_argument, NULL, 'S'},
	{"json", required_argument, NULL, 'j'},
	{"csv", required_argument, NULL, OPTION_CSV},
	{"hist", required_argument, NULL, OPTION_HIST},
	{"seed", required_argument, NULL, OPTION_SEED},
	{"label", required_argument, NULL, OPTION_LABEL},
	{"percentiles", required_argument, NULL, OPTION_PERCENTILES},
	{"strict", no_argument, NULL, OPTION_STRICT},
	{"stop-on-error", no_argument, NULL, OPTION_STOP},
	{"quiet", no_argument, NULL, 'q'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* Reports a wrong value, and what is right. Returns false. */
static bool wrong(const char *option, const char *text, const char *right)
{
	fprintf(stderr, "echoload: --%s: found \"%s\"; expected %s\n", option, text, right);
	return false;
}

/* A whole number from least to most. end gets the rest of text; with a NULL there may be none. */
static bool whole(const char *text, unsigned long least, unsigned long most, uint32_t *out,
		  const char **end)
{
	char *stop;
	unsigned long n;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	n = strtoul(text, &stop, 10);
	if (end && (*stop == 'k' || *stop == 'M')) {
		if (n > MESSAGE_BYTES_MAX)
			return false;
		n <<= *stop == 'k' ? 10 : 20;
		stop++;
	}
	if (errno || n < least || n > most || (!end && *stop))
		return false;
	if (end)
		*end = stop;
	*out = (uint32_t)n;
	return true;
}

static bool count(const char *option, const char *text, unsigned long least, unsigned long most,
		  uint32_t *out)
{
	char right[64];

	if (whole(text, least, most, out, NULL))
		return true;
	snprintf(right, sizeof(right), "a whole number from %lu to %lu", least, most);
	return wrong(option, text, right);
}

/* A number from least to most; zero_too: 0 as well. */
static bool number(const char *option, const char *text, double least, double most, bool zero_too,
		   double *out)
{
	char right[96], *end;
	double n = strtod(text, &end);

	if (end != text && *end == '\0' && isfinite(n) &&
	    ((n >= least && n <= most) || (zero_too && n == 0))) {
		*out = n;
		return true;
	}
	snprintf(right, sizeof(right), "a number from %.15g to %.15g%s", least, most,
		 zero_too ? ", or 0" : "");
	return wrong(option, text, right);
}

static bool seconds(const char *option, const char *text, double least, bool zero_too,
		    uint64_t *out_ns)
{
	double s;

	if (!number(option, text, least, 86400, zero_too, &s))
		return false;
	*out_ns = (uint64_t)(s * (double)NS_PER_S);
	return true;
}

static bool sizes(const char *text, struct options *o)
{
	const char *rest;

	if (whole(text, 1, MESSAGE_BYTES_MAX, &o->size_min, &rest)) {
		o->size_max = o->size_min;
		if (*rest == '\0' ||
		    (*rest == '-' &&
		     whole(rest + 1, o->size_min, MESSAGE_BYTES_MAX, &o->size_max, &rest) &&
		     *rest == '\0'))
			return true;
	}
	return wrong("size", text, "a number of bytes from 1 to 16M, or a range such as 64-4k");
}

static bool process(const char *text, pid_t *out)
{
	uint32_t n;

	if (!whole(text, 1, INT32_MAX, &n, NULL))
		return wrong("server", text, "the number of a process");
	*out = (pid_t)n;
	return true;
}

/* Numbers above 0 and below 100 with commas between. */
static bool percentiles(const char *text, struct options *o)
{
	const char *at = text;
	char *end;

	for (o->percentile_count = 0; o->percentile_count < OPTIONS_PERCENTILES; at = end + 1) {
		const double n = strtod(at, &end);

		if (end == at || !(n > 0 && n < 100))
			break;
		o->percentile[o->percentile_count++] = n;
		if (*end == '\0')
			return true;
		if (*end != ',')
			break;
	}
	return wrong("percentiles", text, "1 to 8 numbers between 0 and 100, such as 50,99,99.9");
}

/* The options that say what is sent, and when. */
static bool set_load(int option, const char *text, struct options *o)
{
	switch (option) {
	case 'c':
		return count("connections", text, 1, 1000000, &o->connections);
	case 't':
		return count("threads", text, 1, 1024, &o->threads);
	case 's':
		return sizes(text, o);
	case 'p':
		return count("pipeline", text, 1, 1024, &o->pipeline);
	case 'm':
		return count("messages", text, 0, UINT32_MAX, &o->messages);
	case 'i':
		return count("idle", text, 0, 1000000, &o->idle);
	case 'r':
		return number("rate", text, 0.001, 1e9, true, &o->rate);
	case 'a':
		return number("arrivals", text, 0.001, 1e9, true, &o->arrivals);
	case 'C':
		return number("connect-rate", text, 0.001, 1e9, true, &o->connect_rate);
	case OPTION_SEED:
		return count("seed", text, 0, UINT32_MAX, &o->seed);
	case OPTION_SOURCE:
		o->source = text;
		return true;
	case 'P':
		o->poisson = true;
		return true;
	case '4':
		o->family = AF_INET;
		return true;
	case '6':
		o->family = AF_INET6;
		return true;
	default:
		return false;
	}
}

/* The options of the measurement and of the result. */
static bool set_measurement(int option, const char *text, struct options *o)
{
	switch (option) {
	case 'd':
		return seconds("duration", text, 0.001, true, &o->duration_ns);
	case 'w':
		return seconds("warmup", text, 0.001, true, &o->warmup_ns);
	case 'T':
		return seconds("timeout", text, 0.001, false, &o->timeout_ns);
	case 'S':
		return process(text, &o->server);
	case 'j':
		o->json = text;
		return true;
	case OPTION_CSV:
		o->csv = text;
		return true;
	case OPTION_HIST:
		o->hist = text;
		return true;
	case OPTION_LABEL:
		o->label = text;
		return true;
	case OPTION_PERCENTILES:
		return percentiles(text, o);
	case OPTION_STRICT:
		o->strict = true;
		return true;
	case OPTION_STOP:
		o->stop_on_error = true;
		return true;
	case 'q':
		o->quiet = true;
		return true;
	default:
		return false;
	}
}

static unsigned int is_stdout(const char *path)
{
	return path && strcmp(path, "-") == 0;
}

/* Whether the options go together. */
static bool agree(struct options *o)
{
	const char *mistake = NULL;

	if (o->rate > 0 && o->arrivals > 0)
		mistake = "--rate and --arrivals are two schedules; give one of them";
	else if (o->poisson && !options_open_loop(o))
		mistake = "--poisson is about a schedule; give --rate or --arrivals too";
	else if (o->threads > o->connections)
		mistake = "--threads is more than --connections; a thread needs a connection";
	else if (o->rate > 0 && o->messages > 0)
		mistake = "--messages goes with --arrivals or without a schedule; with --rate "
			  "connections stay open";
	else if (is_stdout(o->json) + is_stdout(o->csv) + is_stdout(o->hist) > 1)
		mistake = "only one of --json, --csv and --hist can go to the standard output";
	if (mistake) {
		fprintf(stderr, "echoload: %s\n", mistake);
		return false;
	}
	if (o->arrivals > 0 && o->messages == 0)
		o->messages = 1;
	return true;
}

static void set_defaults(struct options *o)
{
	*o = (struct options){
		.target = "127.0.0.1:7007",
		.family = AF_UNSPEC,
		.connections = 50,
		.threads = 1,
		.size_min = 64,
		.size_max = 64,
		.pipeline = 1,
		.duration_ns = 10 * NS_PER_S,
		.warmup_ns = NS_PER_S,
		.timeout_ns = 5 * NS_PER_S,
		.connect_rate = 10000,
		.seed = (uint32_t)(clock_now_ns() / NS_PER_US),
		.percentile = {50, 90, 99, 99.9},
		.percentile_count = 4,
	};
}

int options_parse(int argc, char *argv[], struct options *o)
{
	int option;

	set_defaults(o);
	while ((option = getopt_long(argc, argv, "c:t:s:p:m:i:d:w:r:a:PC:T:S:46j:qVh", longs,
				     NULL)) != -1) {
		if (option == 'h') {
			usage_print_help();
			return 0;
		}
		if (option == 'V') {
			printf("echoload %s\n", ECHOPOOL_VERSION);
			return 0;
		}
		if (option == '?') {
			fprintf(stderr, "%sSee `echoload --help`.\n", USAGE);
			return 2;
		}
		if (!set_load(option, optarg, o) && !set_measurement(option, optarg, o))
			return 2;
	}
	if (argc - optind > 1) {
		fprintf(stderr, "echoload: one server at a time; \"%s\" is one too many\n",
			argv[optind + 1]);
		return 2;
	}
	if (argc > optind)
		o->target = argv[optind];
	return agree(o) ? -1 : 2;
}
