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

/* One process, as /proc/PID/stat has it, or one thread. */
struct process {
	pid_t pid;
	pid_t parent;
	char state;
	uint32_t tasks;
	double used_s;
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
	unsigned long long user, system, children_user, children_system;

	if (!rest || sscanf(rest,
			    ") %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu "
			    "%*d %*d %u",
			    &p->state, &p->parent, &user, &system, &children_user, &children_system,
			    &p->tasks) != 7)
		return false;
	p->used_s = of_ticks(user + system);
	p->ended_children_s = of_ticks(children_user + children_system);
	return true;
}

/* directory: "/proc" or that of a process's threads; id: the name of an entry of it. */
static bool read_process(const char *directory, const char *id, struct process *p)
{
	char path[64], line[1024];
	FILE *file;
	bool found;

	*p = (struct process){.pid = (pid_t)strtol(id, NULL, 10)};
	snprintf(path, sizeof(path), "%s/%d/stat", directory, p->pid);
	file = fopen(path, "re");
	if (!file)
		return false; /* it has ended */
	found = fgets(line, sizeof(line), file) && parse(line, p);
	fclose(file);
	return found;
}

/*
 * All processes there are now (path "/proc"), or all threads of one (its task directory); an empty
 * list where that or memory is missing.
 */
static struct processes read_processes(const char *path)
{
	struct processes all = {0};
	struct dirent *entry;
	DIR *directory = opendir(path);
	struct process p, *grown;

	if (!directory)
		return all;
	while ((entry = readdir(directory))) {
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    !read_process(path, entry->d_name, &p))
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

/* Adds the threads of a process. Those that end meanwhile are left out. */
static void add_threads(struct cpu_threads *threads, pid_t pid)
{
	struct cpu_thread *grown;
	struct processes found;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	found = read_processes(path);
	grown = reallocarray(threads->list, threads->count + found.count, sizeof(*grown));
	if (grown) {
		threads->list = grown;
		for (size_t i = 0; i < found.count; i++)
			grown[threads->count++] = (struct cpu_thread){
				.id = found.list[i].pid, .used_s = found.list[i].used_s};
	}
	free(found.list);
}

static int compare_ids(const void *a, const void *b)
{
	const pid_t id = ((const struct cpu_thread *)a)->id;
	const pid_t other = ((const struct cpu_thread *)b)->id;

	return (id > other) - (id < other);
}

static void sort(struct cpu_threads *threads)
{
	if (threads->count)
		qsort(threads->list, threads->count, sizeof(*threads->list), compare_ids);
}

/* What the busiest thread used between two samples; one that began or ended meanwhile is none. */
static double busiest_s(const struct cpu_threads *before, const struct cpu_threads *after)
{
	double most_s = 0;

	for (size_t i = 0; before->count && i < after->count; i++) {
		const struct cpu_thread *t = &after->list[i];
		const struct cpu_thread *then =
			bsearch(t, before->list, before->count, sizeof(*before->list), compare_ids);

		if (then && t->used_s - then->used_s > most_s)
			most_s = t->used_s - then->used_s;
	}
	return most_s;
}

static void sample_server(struct cpu_sample *s, pid_t server)
{
	struct processes all = read_processes("/proc");

	mark(&all, server);
	for (size_t i = 0; i < all.count; i++) {
		const struct process *p = &all.list[i];

		if (!p->counts)
			continue;
		/* One that nobody has waited for is still listed. */
		if (p->pid == server)
			s->server_lives = p->state != 'Z' || p->tasks > 1;
		s->server_tasks += p->tasks;
		s->server_s += cpu_of(p->pid) + p->ended_children_s;
		add_threads(&s->server, p->pid);
	}
	sort(&s->server);
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
	add_threads(&s.generator, getpid());
	sort(&s.generator);
	if (server)
		sample_server(&s, server);
	return s;
}

void cpu_sample_free(struct cpu_sample *s)
{
	free(s->generator.list);
	free(s->server.list);
}

struct cpu_use cpu_between(const struct cpu_sample *before, const struct cpu_sample *after)
{
	const double seconds = (double)(after->at_ns - before->at_ns) / (double)NS_PER_S;
	const double all_s = after->all_s - before->all_s;
	struct cpu_use use = {.server_tasks = after->server_tasks,
			      .cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN)};

	if (seconds > 0) {
		use.generator = (after->generator_s - before->generator_s) / seconds;
		use.generator_busiest = busiest_s(&before->generator, &after->generator) / seconds;
		use.server_busiest = busiest_s(&before->server, &after->server) / seconds;
		use.server = after->server_lives && after->server_s >= before->server_s
				     ? (after->server_s - before->server_s) / seconds
				     : NAN;
	}
	if (all_s > 0)
		use.machine = (after->busy_s - before->busy_s) / all_s;
	return use;
}
