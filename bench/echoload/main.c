/*
 * echoload: loads a TCP echo server and says how fast it is; see echoload(1). Main thread.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include "echopool/base/fdlimit.h"
#include "export.h"
#include "limit.h"
#include "options.h"
#include "report.h"
#include "run.h"
#include "target.h"

#define EXIT_STRICT 3

/*
 * Writes the result in every form that was asked for; the files first, as whoever reads the
 * standard output may have gone. False: not all of it could be written.
 */
static bool report(const struct result *r, struct exports *e)
{
	const bool alone = e->json == stdout || e->csv == stdout || e->hist == stdout;
	const bool ok = exports_write(e, r) && exports_close(e, r->options);

	if (!alone)
		report_print(stdout, r);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return ok;
	perror("echoload: standard output");
	return false;
}

static bool is_there(pid_t process)
{
	if (!process || kill(process, 0) == 0 || errno == EPERM)
		return true;
	fprintf(stderr, "echoload: --server: there is no process %d\n", process);
	return false;
}

/* Reports that nothing was measured where no fault says why: nothing was due, or a signal came. */
static void report_no_answer(const struct result *r)
{
	if (tally_faults(r->tally) || result_has_measured(r))
		return;
	fprintf(stderr, "echoload: no answer came%s\n",
		r->seconds <= 0               ? ": the run ended before the measured time"
		: stat_get(&r->tally->opened) ? " in the measured time, or to what was sent in it"
					      : "");
}

static int status_of(const struct result *r)
{
	if (!result_is_ok(r))
		return 1;
	if (r->options->strict &&
	    (result_is_disturbed(r) || limit_of(&r->cpu, r->options->threads) == LIMIT_GENERATOR))
		return EXIT_STRICT;
	return 0;
}

/* The run and its result. Returns the exit status. */
static int load(const struct options *o, const union address *server, const struct sources *sources)
{
	struct exports exports;
	struct result result;
	int status = 1;

	if (!is_there(o->server) || !exports_open(&exports, o))
		return 1;
	if (run(o, server, sources, &result)) {
		status = report(&result, &exports) ? status_of(&result) : 1;
		report_no_answer(&result);
	}
	result_free(&result);
	return exports_close(&exports, o) ? status : 1;
}

int main(int argc, char *argv[])
{
	struct options options;
	struct sources sources;
	union address server;
	int status;

	if (!fdlimit_fill_standard())
		return 1;
	signal(SIGPIPE, SIG_IGN); /* it cannot fail with such arguments */
	status = options_parse(argc, argv, &options);
	if (status >= 0)
		return status;
	status = target_find(options.target, options.family, &server);
	if (status)
		return status;
	if (!sources_parse(options.source, &server, &sources))
		return 2;
	if (!sources_check(&sources))
		return 1;
	return load(&options, &server, &sources);
}
