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
#include "version.h"

#define MESSAGE_BYTES_MAX (16U << 20)

static const char usage[] = "Usage: echoload [options] [HOST[:PORT]]\n";

static const char help[] =
	"\n"
	"Loads a TCP echo server, compares every byte that comes back, and tells how fast it is.\n"
	"HOST is a name or an address, [::1]:7007 for IPv6; without it 127.0.0.1:7007.\n"
	"\n"
	"The load\n"
	"  -c, --connections N   connections that talk (50)\n"
	"  -t, --threads N       threads of the generator (1)\n"
	"  -s, --size N[-M]      bytes of a message, or from N to M at random; 4k, 1M (64)\n"
	"  -p, --pipeline N      messages in flight on a connection (1)\n"
	"  -m, --messages N      messages on each connection, then it closes and another opens (0: never)\n"
	"  -i, --idle N          further connections that send nothing (0)\n"
	"  -C, --connect-rate N  connections opened a second before the load starts (10000; 0: no limit)\n"
	"      --source A[-B]    connect from the addresses from A to B in turn: with many new\n"
	"                        connections a second, the ports of one do not suffice\n"
	"  -4, -6                only IPv4, only IPv6\n"
	"\n"
	"When a message is sent\n"
	"                        without these, when the answer to the last one is there (closed loop)\n"
	"  -r, --rate N          N messages a second on a schedule (open loop)\n"
	"  -a, --arrivals N      N new connections a second on a schedule, of --messages (1) each\n"
	"  -P, --poisson         random gaps in the schedule instead of equal ones\n"
	"\n"
	"The measurement\n"
	"  -d, --duration S      seconds that are measured (10)\n"
	"  -w, --warmup S        seconds before them under the same load (1)\n"
	"  -T, --timeout S       seconds after which a missing answer has timed out (5)\n"
	"  -S, --server PID      tell the CPU of this process and its children, too\n"
	"\n"
	"The result\n"
	"  -j, --json FILE       all of it as JSON; - is the standard output, then without the table\n"
	"      --csv FILE        one line more in FILE, with a header where it is empty\n"
	"      --hist FILE       the whole distribution of the latency\n"
	"  -q, --quiet           no live line\n"
	"  -V, --version         print the version, and exit\n"
	"  -h, --help            print this, and exit\n"
	"\n"
	"  echoload -c 1000 127.0.0.1:7007              how much: as fast as 1,000 clients get answers\n"
	"  echoload -c 1000 -r 50000 -P 127.0.0.1:7007  how soon: at 50,000 messages a second\n"
	"  echoload -c 50 -m 1 127.0.0.1:7007           connect, one message, close\n"
	"\n"
	"In the open loop the latency counts from the moment when the schedule wanted the message\n"
	"sent, so that a stall of the server is not hidden. Exit status: 0 all right; 1 a byte was\n"
	"wrong, a connection failed, or the system refused something; 2 wrong usage. See echoload(1).\n";

enum long_only { OPTION_CSV = 256, OPTION_HIST, OPTION_SOURCE };

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
		return seconds("duration", text, 0.001, false, &o->duration_ns);
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
	};
}

int options_parse(int argc, char *argv[], struct options *o)
{
	int option;

	set_defaults(o);
	while ((option = getopt_long(argc, argv, "c:t:s:p:m:i:d:w:r:a:PC:T:S:46j:qVh", longs,
				     NULL)) != -1) {
		if (option == 'h') {
			printf("%s%s", usage, help);
			return 0;
		}
		if (option == 'V') {
			printf("echoload %s\n", ECHOPOOL_VERSION);
			return 0;
		}
		if (option == '?') {
			fprintf(stderr, "%sSee `echoload --help`.\n", usage);
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
