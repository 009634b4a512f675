/*
 * echoload: loads a TCP echo server and says how fast it is; see echoload(1). Main thread.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include "echopool/base/fdlimit.h"
#include "export.h"
#include "options.h"
#include "report.h"
#include "run.h"
#include "target.h"

/* Writes the result in every form that was asked for. False: not all of it could be written. */
static bool report(const struct result *r, const struct exports *e)
{
	bool ok;

	if (e->json != stdout && e->csv != stdout && e->hist != stdout)
		report_print(stdout, r);
	ok = exports_write(e, r);
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

/* Reports that no answer came where no fault says why: nothing was due yet, or a signal came. */
static void report_no_answer(const struct result *r)
{
	if (!tally_faults(r->tally) && !stat_get(&r->tally->opened))
		fprintf(stderr, "echoload: no answer came\n");
}

/* The run and its result. Returns the exit status. */
static int load(const struct options *o, const union address *server, const struct sources *sources)
{
	struct exports exports;
	struct result result;
	bool ok;

	if (!is_there(o->server) || !exports_open(&exports, o))
		return 1;
	ok = run(o, server, sources, &result);
	if (ok) {
		ok = report(&result, &exports) && result_is_ok(&result);
		report_no_answer(&result);
	}
	result_free(&result);
	return exports_close(&exports, o) && ok ? 0 : 1;
}

int main(int argc, char *argv[])
{
	struct options options;
	struct sources sources;
	union address server;
	int status;

	if (!fdlimit_fill_standard())
		return 1;
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
