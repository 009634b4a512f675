/*
 * Who used the CPUs; see the header. proc(5) describes the files that it reads.
 */
#include "cpu.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "echopool/clock.h"
#include "echopool/thread.h"

/* One process, as /proc/PID/stat has it. */
struct process {
	pid_t pid;
	pid_t parent;
	uint32_t tasks;
	double ended_children_s;
	bool counts; /* is the server or descends from it */
};

struct processes {
	struct process *list;
	size_t count;
};

static double of_ticks(unsigned long long ticks)
{
	return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* Parses a line of /proc/PID/stat; the name in brackets may hold anything. */
static bool parse(const char *line, struct process *p)
{
	const char *rest = strrchr(line, ')');
	unsigned long long children_user, children_system;

	if (!rest || sscanf(rest,
			    ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %llu %llu "
			    "%*d %*d %u",
			    &p->parent, &children_user, &children_system, &p->tasks) != 4)
		return false;
	p->ended_children_s = of_ticks(children_user + children_system);
	return true;
}

static bool read_process(const char *pid, struct process *p)
{
	char path[64], line[1024];
	FILE *file;
	bool found;

	*p = (struct process){.pid = (pid_t)strtol(pid, NULL, 10)};
	snprintf(path, sizeof(path), "/proc/%d/stat", p->pid);
	file = fopen(path, "re");
	if (!file)
		return false; /* it has ended */
	found = fgets(line, sizeof(line), file) && parse(line, p);
	fclose(file);
	return found;
}

/* All processes there are now; an empty list where /proc or memory is missing. */
static struct processes read_processes(void)
{
	struct processes all = {0};
	struct dirent *entry;
	DIR *directory = opendir("/proc");
	struct process p, *grown;

	if (!directory)
		return all;
	while ((entry = readdir(directory))) {
		if (!isdigit((unsigned char)entry->d_name[0]) || !read_process(entry->d_name, &p))
			continue;
		grown = reallocarray(all.list, all.count + 1, sizeof(p));
		if (!grown)
			break;
		all.list = grown;
		all.list[all.count++] = p;
	}
	closedir(directory);
	return all;
}

/* Marks the server and, generation by generation, its descendants. */
static void mark(struct processes *all, pid_t server)
{
	bool found = true;

	while (found) {
		found = false;
		for (size_t i = 0; i < all->count; i++) {
			struct process *p = &all->list[i];
			bool child = p->pid == server;

			for (size_t k = 0; k < all->count && !child && !p->counts; k++)
				child = all->list[k].counts && all->list[k].pid == p->parent;
			found = found || (child && !p->counts);
			p->counts = p->counts || child;
		}
	}
}

/* To the nanosecond, where /proc counts ticks; 0 when the process has ended. */
static double cpu_of(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0;
	return (double)used.tv_sec + (double)used.tv_nsec / (double)NS_PER_S;
}

static void sample_server(struct cpu_sample *s, pid_t server)
{
	struct processes all = read_processes();

	mark(&all, server);
	for (size_t i = 0; i < all.count; i++) {
		const struct process *p = &all.list[i];

		if (!p->counts)
			continue;
		s->server_tasks += p->tasks;
		s->server_s += cpu_of(p->pid) + p->ended_children_s;
	}
	free(all.list);
}

static void sample_machine(struct cpu_sample *s)
{
	unsigned long long user, nice, system, idle, wait, irq, softirq, steal;
	FILE *file = fopen("/proc/stat", "re");

	if (!file)
		return;
	if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system,
		   &idle, &wait, &irq, &softirq, &steal) == 8) {
		s->busy_s = of_ticks(user + nice + system + irq + softirq + steal);
		s->all_s = s->busy_s + of_ticks(idle + wait);
	}
	fclose(file);
}

struct cpu_sample cpu_sample(pid_t server)
{
	struct cpu_sample s = {.at_ns = clock_now_ns()};
	struct timespec used;

	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0)
		fail(errno, "clock_gettime");
	s.generator_s = (double)used.tv_sec + (double)used.tv_nsec / (double)NS_PER_S;
	sample_machine(&s);
	if (server)
		sample_server(&s, server);
	return s;
}

struct cpu_use cpu_between(const struct cpu_sample *before, const struct cpu_sample *after)
{
	const double seconds = (double)(after->at_ns - before->at_ns) / (double)NS_PER_S;
	const double all_s = after->all_s - before->all_s;
	struct cpu_use use = {.server_tasks = after->server_tasks,
			      .cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN)};

	if (seconds > 0) {
		use.generator = (after->generator_s - before->generator_s) / seconds;
		use.server = after->server_s < before->server_s
				     ? NAN
				     : (after->server_s - before->server_s) / seconds;
	}
	if (all_s > 0)
		use.machine = (after->busy_s - before->busy_s) / all_s;
	return use;
}
