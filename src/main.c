/*
 * The program: options, start order, exit code. Main thread.
 */
#include <errno.h>
#include <getopt.h>
#include <libconfig.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "echopool/base/fdlimit.h"
#include "echopool/base/log.h"
#include "echopool/config/config.h"
#include "echopool/control/server.h"
#include "echopool/control/signals.h"

enum exit_status { EXIT_STOPPED = 0, EXIT_REFUSED = 1, EXIT_WRONG = 2 };

#ifdef HAVE_LIBSYSTEMD
#define SYSTEMD "+systemd"
#else
#define SYSTEMD "-systemd"
#endif
#ifdef HAVE_LIBMICROHTTPD
#define FEATURES SYSTEMD " +admin"
#else
#define FEATURES SYSTEMD " -admin"
#endif

/* What the command line asks for; overrides point into argv. */
struct options {
	const char *file;
	char **overrides;
	size_t override_count;
	bool test;
	bool print;
};

static const char usage[] = "Usage: echopool [-c FILE] [-t | -T] [-o PATH=VALUE]... [-V] [-h]\n";

static const char help[] =
	"\n"
	"A TCP echo service on a fixed pool of threads.\n"
	"\n"
	"  -c, --config FILE      read the settings from FILE; without it the defaults hold\n"
	"  -t, --test             check the settings, say what is wrong, and exit\n"
	"  -T, --print            print the settings in effect as path=value lines, and exit\n"
	"  -o, --set PATH=VALUE   override one setting; may be given again, the last one wins\n"
	"  -V, --version          print the version and what it was built with, and exit\n"
	"  -h, --help             print this, and exit\n"
	"\n"
	"It stays in the foreground and logs to stderr; the line `ready on ADDRESS` says that it\n"
	"listens.\n"
	"\n"
	"  echopool                                        try it: 127.0.0.1 and ::1, port 7007\n"
	"  echopool -c /etc/echopool/echopool.conf -t      check a file before a reload\n"
	"  echopool -o pool.workers=8 -o 'listen.addresses=[\"0.0.0.0\"]'\n"
	"\n"
	"Signals: SIGHUP reads the file again and applies it; SIGTERM or SIGINT drains and stops,\n"
	"a later one stops at once; SIGUSR1 logs the figures of each worker and of the queue.\n"
	"Exit status: 0 stopped by a signal; 1 the system refused something; 2 wrong usage or a\n"
	"wrong file.\n"
	"\n"
	"Every setting is explained in echopool.conf(5), running the service in echopool(8).\n";

/* Whether all that went to stdout has arrived there. */
static int finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_STOPPED;
	fprintf(stderr, "echopool: cannot write to the standard output: %s\n", strerror(errno));
	return EXIT_REFUSED;
}

static int print_version(void)
{
	printf("echopool %s\nfeatures: %s\nlibconfig: %d.%d.%d\n", ECHOPOOL_VERSION, FEATURES,
	       LIBCONFIG_VER_MAJOR, LIBCONFIG_VER_MINOR, LIBCONFIG_VER_REVISION);
	return finish_output();
}

static int print_help(void)
{
	fputs(usage, stdout);
	fputs(help, stdout);
	return finish_output();
}

static int wrong_usage(void)
{
	fprintf(stderr, "%sSee `echopool --help`.\n", usage);
	return EXIT_WRONG;
}

/* Fills o. Returns -1 to go on, or the exit status of a run that has ended. */
static int parse_options(int argc, char *argv[], struct options *o)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"test", no_argument, NULL, 't'},
		{"print", no_argument, NULL, 'T'},
		{"set", required_argument, NULL, 'o'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:tTo:Vh", longs, NULL)) != -1) {
		switch (option) {
		case 'c':
			o->file = optarg;
			break;
		case 't':
			o->test = true;
			break;
		case 'T':
			o->print = true;
			break;
		case 'o':
			o->overrides[o->override_count++] = optarg;
			break;
		case 'V':
			return print_version();
		case 'h':
			return print_help();
		default:
			return wrong_usage();
		}
	}
	if (optind < argc) {
		fprintf(stderr, "echopool: unexpected argument '%s'\n", argv[optind]);
		return wrong_usage();
	}
	return -1;
}

/* Errors about the settings stand alone, in the form that editors jump to. */
static void log_messages(const struct config_messages *messages)
{
	for (size_t i = 0; i < messages->count; i++) {
		if (messages->items[i].level == LOG_LEVEL_ERROR)
			log_bare(LOG_LEVEL_ERROR, messages->items[i].text);
		else
			log_warning("%s", messages->items[i].text);
	}
}

/*
 * glibc raises its bounds with the blocks that it sees, and then keeps megabytes that were pending
 * for clients that are gone. Fixed bounds give large blocks back at once.
 */
#define RETURNED_BYTES (128 * 1024)

static int serve(const struct options *o, struct settings *s)
{
	const struct config_source source = {
		.file = o->file,
		.overrides = o->overrides,
		.override_count = o->override_count,
	};

#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, RETURNED_BYTES);
	mallopt(M_TRIM_THRESHOLD, RETURNED_BYTES);
#endif
	return server_run(s, &source);
}

static int test_or_serve(const struct options *o, struct settings *s)
{
	if (o->print) {
		settings_print(s, stdout);
		return finish_output();
	}
	if (o->test) {
		printf("%s: no errors\n", o->file ? o->file : "defaults");
		return finish_output();
	}
	return serve(o, s);
}

static int run(const struct options *o)
{
	struct config_messages messages = {0};
	const bool serves = !o->test && !o->print;
	struct settings s;
	int status = EXIT_WRONG;
	bool right;

	/* From here on a signal waits for the server, also while the file is read. */
	if (serves) {
		signals_block();
		/* Reads the time zone's file now: the first line to syslog would later. */
		tzset();
	}
	right = config_load(&s, o->file, o->overrides, o->override_count, &messages);
	/* On stderr until it is ready: what keeps it from starting is told where it was started. */
	if (right && serves)
		log_open(LOG_TARGET_STDERR, s.log.level);
	log_messages(&messages);
	if (!right && messages.count == 0) {
		log_error("not enough memory for the settings");
		status = EXIT_REFUSED;
	}
	config_messages_free(&messages);
	if (right)
		status = test_or_serve(o, &s);
	settings_free(&s);
	return status;
}

int main(int argc, char *argv[])
{
	struct options o = {0};
	int status;

	if (!fdlimit_fill_standard()) {
		fprintf(stderr, "echopool: cannot open /dev/null: %s\n", strerror(errno));
		return EXIT_REFUSED;
	}
	log_open(LOG_TARGET_STDERR, LOG_LEVEL_INFO);
	o.overrides = calloc((size_t)argc, sizeof(o.overrides[0]));
	if (!o.overrides) {
		log_error("no memory for the options");
		return EXIT_REFUSED;
	}
	status = parse_options(argc, argv, &o);
	if (status < 0)
		status = run(&o);
	free(o.overrides);
	log_close();
	return status;
}
