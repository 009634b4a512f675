/*
 * The CPUs that a process may use; see the header.
 */
#include "echopool/base/cpus.h"

#include <unistd.h>

#include "echopool/base/cpu_quota.h"

unsigned int cpus_usable(void)
{
	const unsigned int allowed = cpus_allowed(0, NULL);
	struct cpu_quota quota;
	unsigned int whole;

	cpu_quota_read(&quota, 0);
	if (quota.cpus <= 0 || quota.cpus >= allowed)
		return allowed;
	whole = (unsigned int)quota.cpus;
	return whole < quota.cpus ? whole + 1 : whole;
}

unsigned int cpus_allowed(pid_t pid, cpu_set_t *set)
{
	cpu_set_t allowed;
	long online;

	if (sched_getaffinity(pid, sizeof(allowed), &allowed) == 0) {
		if (set)
			*set = allowed;
		return (unsigned int)CPU_COUNT(&allowed);
	}
	/* The process has ended, or there are more CPUs than a cpu_set_t holds. */
	online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (unsigned int)online : 1;
}
