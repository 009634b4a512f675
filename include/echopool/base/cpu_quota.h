/*
 * The CPU quota of a process: what its control groups let it use (cgroups(7)), by version 2
 * (cpu.max) or version 1 (cpu.cfs_quota_us), at any level above it. Any thread.
 */
#ifndef ECHOPOOL_BASE_CPU_QUOTA_H
#define ECHOPOOL_BASE_CPU_QUOTA_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

/* The tightest of them. */
struct cpu_quota {
	double cpus;          /* CPU seconds a second; 0: there is no quota */
	char group[PATH_MAX]; /* the directory of its group */
};

/* How often a quota was used up; since the group was made. */
struct cpu_throttling {
	uint64_t periods;   /* in which something ran */
	uint64_t throttled; /* of these */
};

/* Reads the quota of a process; pid 0: of this one. What cannot be read counts as none. */
void cpu_quota_read(struct cpu_quota *q, pid_t pid);

/* The same from files like /proc/PID/cgroup and /proc/PID/mountinfo. */
void cpu_quota_read_files(struct cpu_quota *q, const char *groups, const char *mounts);

/* Zero without a quota, and when it cannot be read. */
struct cpu_throttling cpu_quota_throttling(const struct cpu_quota *q);

#endif
