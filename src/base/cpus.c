/*
 * The CPUs that this process may use; see the header.
 */
#include "echopool/base/cpus.h"

#include <sched.h>
#include <unistd.h>

unsigned int cpus_usable(void)
{
	cpu_set_t set;
	long online;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned int)CPU_COUNT(&set);
	/* More CPUs than a cpu_set_t holds. */
	online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (unsigned int)online : 1;
}
