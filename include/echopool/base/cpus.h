/*
 * The CPUs that a process may use. Any thread.
 */
#ifndef ECHOPOOL_BASE_CPUS_H
#define ECHOPOOL_BASE_CPUS_H

#include <sched.h>
#include <sys/types.h>

/*
 * How many CPUs this process may use, by its affinity mask and by the quota of its control groups,
 * rounded up; at least 1.
 */
unsigned int cpus_usable(void);

/*
 * How many CPUs the affinity mask of a process allows (sched_getaffinity(2)), at least 1; pid 0:
 * this process. set gets the mask, unless it is NULL or the mask cannot be read.
 */
unsigned int cpus_allowed(pid_t pid, cpu_set_t *set);

#endif
