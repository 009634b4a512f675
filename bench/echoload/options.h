/*
 * The command line of echoload. The main thread fills it once; then it is only read.
 */
#ifndef ECHOLOAD_OPTIONS_H
#define ECHOLOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "echopool/base/address.h"

#define OPTIONS_PERCENTILES 8

struct options {
	const char *target; /* HOST[:PORT] as it was written */
	const char *source; /* ADDRESS[-ADDRESS] to connect from; NULL: as the kernel chooses */
	int family;         /* AF_INET, AF_INET6, or AF_UNSPEC for either */
	uint32_t connections;
	uint32_t threads;
	uint32_t size_min; /* bytes of a message: size_min to size_max, equally likely */
	uint32_t size_max;
	uint32_t pipeline;    /* messages in flight on a connection */
	uint32_t messages;    /* on each connection before another one replaces it; 0: never */
	uint32_t idle;        /* further connections, which send nothing */
	uint64_t duration_ns; /* 0: until a signal comes */
	uint64_t warmup_ns;
	uint64_t timeout_ns;
	double rate;         /* messages a second in the open loop; 0: closed loop */
	double arrivals;     /* new connections a second in the open loop; 0: none */
	double connect_rate; /* connections opened a second at the start; 0: no limit */
	bool poisson;
	bool quiet;
	bool strict;        /* what the generator changed is an exit status of its own */
	bool stop_on_error; /* the first fault ends the run */
	uint32_t seed;      /* of all that is random */
	const char *label;  /* NULL: none */
	double percentile[OPTIONS_PERCENTILES]; /* above 0, below 100 */
	uint32_t percentile_count;
	pid_t server; /* whose CPU is reported too; 0: nobody's */
	const char *json;
	const char *csv;
	const char *hist;
};

/*
 * Fills o, whose strings point into argv. Returns -1 to go on, or the exit status: 0 after --help
 * and --version, 2 after a mistake and a sentence about it on stderr.
 */
int options_parse(int argc, char *argv[], struct options *o);

/* Whether a schedule says when something is sent, and not the answers. */
static inline bool options_open_loop(const struct options *o)
{
	return o->rate > 0 || o->arrivals > 0;
}

/* Whether connections come and go while the load runs. */
static inline bool options_churn(const struct options *o)
{
	return o->messages > 0;
}

#endif
