/*
 * A bound on the log lines that clients can cause; see the header.
 *
 * Otherwise whoever is turned away fills a disk, or a journal drops warnings among the lines: it
 * takes 10,000 in 30 seconds (journald.conf(5)).
 */
#include "echopool/base/log_rate.h"

#include <inttypes.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/base/thread.h"

/* What was not used of so many seconds may be used at once. */
#define SAVED_NS (10 * NS_PER_S)

/* Those that were left out are told of no more often. */
#define TELL_NS NS_PER_S

/* Held for no call that waits. It protects the rest. */
static struct lock lock = {PTHREAD_MUTEX_INITIALIZER};
static uint64_t line_ns;  /* the time that a line uses; 0: no bound */
static uint64_t spent_ns; /* until when the time is used */
static uint64_t told_ns;
static uint64_t left_out;

void log_rate_set(uint32_t lines_per_s)
{
	lock_acquire(&lock);
	line_ns = lines_per_s ? NS_PER_S / lines_per_s : 0;
	lock_release(&lock);
}

/* Uses the time of a line. False: it is not there. */
static bool take(uint64_t now_ns) REQUIRES(lock)
{
	if (spent_ns + SAVED_NS < now_ns)
		spent_ns = now_ns - SAVED_NS;
	if (spent_ns + line_ns > now_ns)
		return false;
	spent_ns += line_ns;
	return true;
}

static void tell(uint64_t lines)
{
	if (lines)
		log_info("%" PRIu64 " lines about connections were left out; see log.rate", lines);
}

bool log_rate_allows(void)
{
	const uint64_t now_ns = clock_now_ns();
	uint64_t lines = 0;
	bool allowed;

	lock_acquire(&lock);
	allowed = line_ns == 0 || take(now_ns);
	if (!allowed) {
		left_out++;
	} else if (now_ns >= told_ns + TELL_NS) {
		lines = left_out;
		left_out = 0;
		told_ns = now_ns;
	}
	lock_release(&lock);
	tell(lines);
	return allowed;
}

void log_rate_tell(void)
{
	uint64_t lines;

	lock_acquire(&lock);
	lines = left_out;
	left_out = 0;
	lock_release(&lock);
	tell(lines);
}
