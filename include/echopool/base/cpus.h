/*
 * The CPUs that this process may use. Any thread.
 */
#ifndef ECHOPOOL_BASE_CPUS_H
#define ECHOPOOL_BASE_CPUS_H

/* How many CPUs the affinity mask allows (sched_getaffinity(2)); at least 1. */
unsigned int cpus_usable(void);

#endif
