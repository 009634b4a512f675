/*
 * Runs the simulation for one seed after the other, and prints the seed of the first failure:
 *
 *     simulation [--seed N] [--count N] [--verbose]
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "simulation.h"

#define COUNT_DEFAULT 200000
/* In so many runs everything that can happen does. */
#define COUNT_COMPLETE 50000

struct simulation sim;
struct totals totals;

static const char *const event_names[EVENT_COUNT] = {
	[EVENT_SHORT_RECEIVE] = "short-recv",
	[EVENT_SHORT_SEND] = "short-send",
	[EVENT_RECEIVE_EAGAIN] = "recv-eagain",
	[EVENT_SEND_EAGAIN] = "send-eagain",
	[EVENT_EINTR] = "eintr",
	[EVENT_SPURIOUS] = "spurious",
	[EVENT_RECEIVE_ERROR] = "recv-error",
	[EVENT_SEND_ERROR] = "send-error",
	[EVENT_EPOLL_ERROR] = "epoll-error",
	[EVENT_NO_CONN_MEMORY] = "no-memory-conn",
	[EVENT_NO_PENDING_MEMORY] = "no-memory-pending",
	[EVENT_NO_BUFFER_MEMORY] = "no-memory-buffer",
	[EVENT_BUFFER_CHANGED] = "buffer-changed",
	[EVENT_HANDED_READING] = "handed-reading",
	[EVENT_HANDED_WRITING] = "handed-writing",
	[EVENT_GIVEN] = "given",
	[EVENT_SATURATED] = "saturated",
	[EVENT_TAKEN] = "taken-no-room",
	[EVENT_IN_VAIN] = "in-vain",
};

static void print_line(FILE *out, const struct sim_socket *s, const char *format, va_list arguments)
{
	fprintf(out, "%10" PRIu64 ".%03" PRIu64 " us ", sim.now_ns / 1000, sim.now_ns % 1000);
	if (s)
		fprintf(out, "connection %d: ", (int)(s - sim.sockets));
	vfprintf(out, format, arguments);
	fputc('\n', out);
}

void sim_trace(const struct sim_socket *s, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_line(stdout, s, format, arguments);
	va_end(arguments);
}

_Noreturn void sim_fail(const struct sim_socket *s, const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	va_start(arguments, format);
	print_line(stderr, s, format, arguments);
	va_end(arguments);
	fprintf(stderr,
		"FAILED at seed %" PRIu64 "; again with --seed %" PRIu64 " --count 1 --verbose\n",
		sim.seed, sim.seed);
	_exit(1);
}

static void on_signal(int signal_number)
{
	sim_fail(sim.turn, "signal %d", signal_number);
}

static void on_report(void)
{
	sim_fail(sim.turn, "a sanitizer's report");
}

/* There when a sanitizer is. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* The seed is printed also when the worker itself crashes. */
static void watch_for_crashes(void)
{
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(on_report);
		return;
	}
	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
}

static void on_end(void *argument)
{
	(void)argument;
	if (sim.has_ended)
		sim_fail(NULL, "the worker ends twice");
	sim.has_ended = true;
}

static void run_worker(unsigned int index)
{
	const struct worker_options options = {
		.tuning = &sim.tuning,
		.on_end = on_end,
	};

	memset(sim.expected_ended, 0, sizeof(sim.expected_ended));
	sim.received_bytes = 0;
	sim.sent_bytes = 0;
	sim.taken = 0;
	sim.leaving = false;
	sim.has_ended = false;
	sim.saturated = false;
	sim.make_room = false;
	sim.look_ns = 0;
	sim.must_take = true;
	sim.starting = true;
	sim.worker = worker_new(index, &options);
	sim.starting = false;
	worker_start(sim.worker);
	oracle_settled();
	if (!sim.has_ended)
		sim_fail(NULL, "the worker does not report its end");
	worker_join(sim.worker);
	worker_free(sim.worker);
}

static void run_seed(uint64_t seed)
{
	const bool verbose = sim.verbose;
	unsigned int index = 0;

	memset(&sim, 0, sizeof(sim));
	sim.seed = seed;
	sim.running = true;
	sim.verbose = verbose;
	sim.dice.state = seed;
	deadline_list_init(&sim.handed);
	operator_plan();
	peers_plan();
	do
		run_worker(index++);
	while (sim.leaving && !sim.stopped);
	oracle_ended();
	sim.running = false;
	totals.wake_ups += sim.wake_ups;
}

static bool print_totals(uint64_t count)
{
	bool complete = true;

	printf("%" PRIu64 " seeds, %" PRIu64 " connections, %" PRIu64 " wake-ups, %" PRIu64
	       " bytes echoed\n",
	       count, totals.connections, totals.wake_ups, totals.bytes);
	for (unsigned int i = 0; i < CONN_END_COUNT; i++) {
		printf("%s=%" PRIu64 " ", conn_end_name(i), totals.ended[i]);
		complete = complete && totals.ended[i] > 0;
	}
	for (unsigned int i = 0; i < EVENT_COUNT; i++) {
		printf("%s=%" PRIu64 " ", event_names[i], totals.events[i]);
		complete = complete && totals.events[i] > 0;
	}
	putchar('\n');
	if (!complete && count >= COUNT_COMPLETE)
		printf("FAILED: something never happened\n");
	return complete || count < COUNT_COMPLETE;
}

/* Parses a whole number; ends the program if it is none. */
static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*text < '0' || *text > '9' || *end) {
		fprintf(stderr, "%s is not a number\n", text);
		exit(2);
	}
	return n;
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {{"seed", required_argument, NULL, 's'},
						{"count", required_argument, NULL, 'c'},
						{"verbose", no_argument, NULL, 'v'},
						{0}};
	uint64_t seed = 1, count = COUNT_DEFAULT;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			seed = number(optarg);
		else if (option == 'c')
			count = number(optarg);
		else if (option == 'v')
			sim.verbose = true;
		else
			return 2;
	}
	watch_for_crashes();
	for (uint64_t i = 0; i < count; i++)
		run_seed(seed + i);
	return print_totals(count) ? 0 : 1;
}
