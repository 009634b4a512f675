/*
 * The CPU quota of a process; see the header. Any thread.
 *
 * A process is in one group of version 2 and in one of each hierarchy of version 1;
 * /proc/PID/cgroup names them. A hierarchy is mounted with its root, or with the group of a
 * container, which mountinfo tells. The quota of each group from there up to the mount holds for
 * the process.
 */
#include "echopool/base/cpu_quota.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Longer lines are those of other file systems, and are passed over. */
#define LINE_BYTES 4096

/* A group of the process, as /proc/PID/cgroup names it. */
struct group {
	bool v2;
	char path[LINE_BYTES];
};

/* Where a hierarchy is mounted. */
struct mount {
	char root[LINE_BYTES]; /* the group that is seen there */
	char point[LINE_BYTES];
};

/* Reads the next whole line. False: there is none. */
static bool read_line(FILE *file, char line[static LINE_BYTES])
{
	while (fgets(line, LINE_BYTES, file)) {
		char *end = strchr(line, '\n');
		int c;

		if (end) {
			*end = '\0';
			return true;
		}
		do
			c = fgetc(file);
		while (c != '\n' && c != EOF);
	}
	return false;
}

/* Whether a list with commas has this word. */
static bool list_has(const char *list, const char *word)
{
	const size_t length = strlen(word);

	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
			return true;
	}
	return false;
}

/* A line of /proc/PID/cgroup, ID:CONTROLLERS:PATH. False: it is about something else. */
static bool parse_group(char *line, struct group *g)
{
	char *controllers = strchr(line, ':');
	char *path = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!path)
		return false;
	*controllers++ = '\0';
	*path++ = '\0';
	g->v2 = strcmp(line, "0") == 0;
	snprintf(g->path, sizeof(g->path), "%s", path);
	return g->v2 || list_has(controllers, "cpu");
}

/* A line of mountinfo (proc(5)). False: it is not the hierarchy of the group. */
static bool parse_mount(const char *line, const struct group *g, struct mount *m)
{
	const char *rest = strstr(line, " - ");
	char type[16], options[LINE_BYTES];

	if (!rest || sscanf(rest, " - %15s %*s %4095s", type, options) != 2 ||
	    sscanf(line, "%*s %*s %*s %4095s %4095s", m->root, m->point) != 2)
		return false;
	return g->v2 ? strcmp(type, "cgroup2") == 0
		     : strcmp(type, "cgroup") == 0 && list_has(options, "cpu");
}

static bool find_mount(const char *mounts, const struct group *g, struct mount *m)
{
	FILE *file = fopen(mounts, "re");
	char line[LINE_BYTES];
	bool found = false;

	if (!file)
		return false;
	while (!found && read_line(file, line))
		found = parse_mount(line, g, m);
	fclose(file);
	return found;
}

/* What of the group's path is below its mount; nothing of a group that is not seen there. */
static const char *path_below(const struct group *g, const struct mount *m)
{
	const size_t length = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);

	if (strncmp(g->path, m->root, length) != 0 || g->path[length] != '/' ||
	    strstr(g->path, "/..") || g->path[length + 1] == '\0')
		return "";
	return g->path + length;
}

/* Reads up to two numbers from a file of a group; returns how many it has. */
static int read_numbers(const char *directory, const char *name, int64_t numbers[static 2])
{
	char path[PATH_MAX], line[LINE_BYTES];
	int count = 0;
	FILE *file;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path))
		return 0;
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (read_line(file, line))
		count = sscanf(line, "%" SCNd64 " %" SCNd64, &numbers[0], &numbers[1]);
	fclose(file);
	return count;
}

/* The quota of one group; 0: it has none. */
static double quota_of_group(const char *directory, bool v2)
{
	int64_t quota[2] = {0}, period[2] = {0};

	if (v2)
		return read_numbers(directory, "cpu.max", quota) == 2 && quota[1] > 0
			       ? (double)quota[0] / (double)quota[1]
			       : 0;
	if (read_numbers(directory, "cpu.cfs_quota_us", quota) < 1 || quota[0] <= 0 ||
	    read_numbers(directory, "cpu.cfs_period_us", period) < 1 || period[0] <= 0)
		return 0;
	return (double)quota[0] / (double)period[0];
}

/* Takes the tightest from the group up to where it is mounted. */
static void take_tightest(struct cpu_quota *q, const struct group *g, const struct mount *m)
{
	const size_t top = strlen(m->point);
	char directory[PATH_MAX];

	if ((size_t)snprintf(directory, sizeof(directory), "%s%s", m->point, path_below(g, m)) >=
	    sizeof(directory))
		return;
	for (;;) {
		const double cpus = quota_of_group(directory, g->v2);

		if (cpus > 0 && (q->cpus <= 0 || cpus < q->cpus)) {
			q->cpus = cpus;
			memcpy(q->group, directory, sizeof(directory));
		}
		if (strlen(directory) <= top)
			return;
		*strrchr(directory, '/') = '\0';
	}
}

void cpu_quota_read_files(struct cpu_quota *q, const char *groups, const char *mounts)
{
	FILE *file = fopen(groups, "re");
	char line[LINE_BYTES];
	struct group group;
	struct mount mount;

	q->cpus = 0;
	q->group[0] = '\0';
	if (!file)
		return;
	while (read_line(file, line))
		if (parse_group(line, &group) && find_mount(mounts, &group, &mount))
			take_tightest(q, &group, &mount);
	fclose(file);
}

void cpu_quota_read(struct cpu_quota *q, pid_t pid)
{
	char groups[32] = "/proc/self/cgroup";

	if (pid)
		snprintf(groups, sizeof(groups), "/proc/%d/cgroup", pid);
	cpu_quota_read_files(q, groups, "/proc/self/mountinfo");
}

struct cpu_throttling cpu_quota_throttling(const struct cpu_quota *q)
{
	struct cpu_throttling t = {0};
	char path[PATH_MAX], line[LINE_BYTES];
	FILE *file;

	if (q->cpus <= 0 ||
	    (size_t)snprintf(path, sizeof(path), "%s/cpu.stat", q->group) >= sizeof(path))
		return t;
	file = fopen(path, "re");
	if (!file)
		return t;
	while (read_line(file, line)) {
		sscanf(line, "nr_periods %" SCNu64, &t.periods);
		sscanf(line, "nr_throttled %" SCNu64, &t.throttled);
	}
	fclose(file);
	return t;
}
