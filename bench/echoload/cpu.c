/*
 * CPU use; see the header. proc(5) describes the files.
 */
#include "cpu.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/cpus.h"
#include "echopool/base/thread.h"

static double seconds_of(const struct timespec *t)
{
	return (double)t->tv_sec + (double)t->tv_nsec / (double)NS_PER_S;
}

static double seconds_between(uint64_t before_ns, uint64_t after_ns)
{
	return (double)(after_ns - before_ns) / (double)NS_PER_S;
}

/* In nanoseconds, where /proc counts ticks; 0 when the process has ended. */
static double cpu_of(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0;
	return seconds_of(&used);
}

/* --- threads */

static bool add_thread(struct cpu_threads *threads, const char *directory, pid_t id)
{
	struct cpu_thread t = {.id = id, .at_ns = clock_now_ns()};
	struct cpu_thread *grown;

	t.used_s = thread_used_s(directory, id);
	if (t.used_s < 0)
		return true; /* it has ended */
	grown = reallocarray(threads->list, threads->count + 1, sizeof(t));
	if (!grown)
		return false;
	threads->list = grown;
	grown[threads->count++] = t;
	return true;
}

/* Adds the threads of a process, without those that end meanwhile. */
static void add_threads(struct cpu_threads *threads, pid_t pid)
{
	struct dirent *entry;
	DIR *directory;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	directory = opendir(path);
	if (!directory)
		return;
	while ((entry = readdir(directory)))
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    !add_thread(threads, path, (pid_t)strtol(entry->d_name, NULL, 10)))
			break;
	closedir(directory);
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

/* The CPU seconds a second of a thread between two readings. */
static double share_of(const struct cpu_thread *then, const struct cpu_thread *now)
{
	const double seconds = seconds_between(then->at_ns, now->at_ns);

	return seconds > 0 ? (now->used_s - then->used_s) / seconds : 0;
}

/* The same of the busiest thread that is in both samples. */
static double busiest(const struct cpu_threads *before, const struct cpu_threads *after)
{
	double most = 0;

	for (size_t i = 0; before->count && i < after->count; i++) {
		const struct cpu_thread *t = &after->list[i];
		const struct cpu_thread *then =
			bsearch(t, before->list, before->count, sizeof(*before->list), compare_ids);

		if (then && share_of(then, t) > most)
			most = share_of(then, t);
	}
	return most;
}

/* --- the server */

/* Adds the processes of the family, or only those that the last update found. */
static void add_processes(struct cpu_sample *s, struct family *f, bool only_new)
{
	for (size_t i = 0; i < f->count; i++) {
		struct process *p = &f->list[i], now;
		double used_s;

		if (!p->counts || (only_new && !p->is_new))
			continue;
		used_s = cpu_of(p->pid);
		/* It may have ended, and another process may have its number. */
		if (!process_read("/proc", p->pid, &now) || now.began != p->began) {
			*p = now;
			continue;
		}
		/* A zombie is still listed. */
		if (p->pid == f->server)
			s->server_lives = now.state != 'Z' || now.tasks > 1;
		s->server_tasks += now.tasks;
		s->server_s += used_s + now.ended_children_s;
	}
}

static void add_threads_of_all(struct cpu_sample *s, const struct family *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->list[i].counts)
			add_threads(&s->server, f->list[i].pid);
	sort(&s->server);
}

static void sample_quota(pid_t pid, double *cpus, struct cpu_throttling *throttling)
{
	struct cpu_quota quota;

	cpu_quota_read(&quota, pid);
	*cpus = quota.cpus;
	*throttling = cpu_quota_throttling(&quota);
}

static void sample_server(struct cpu_sample *s, struct family *f)
{
	if (!f->server)
		return;
	s->server_at_ns = clock_now_ns();
	add_processes(s, f, false);
	s->server_cpus = cpus_allowed(f->server, NULL);
	sample_quota(f->server, &s->server_quota, &s->server_throttling);
	add_threads_of_all(s, f);
}

/* --- this process and the machine */

/* The ticks of some CPUs. */
struct ticks {
	unsigned long long busy;
	unsigned long long all;
	uint32_t cpus;
};

/* Adds a line of /proc/stat; figures is what follows "cpu" or "cpuN". */
static void add_ticks(struct ticks *t, const char *figures)
{
	unsigned long long user, nice, system, idle, wait, irq, softirq, steal;

	if (sscanf(figures, "%llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle,
		   &wait, &irq, &softirq, &steal) != 8)
		return;
	t->busy += user + nice + system + irq + softirq + steal;
	t->all += user + nice + system + irq + softirq + steal + idle + wait;
	t->cpus++;
}

void cpu_read_stat(struct cpu_sample *s, FILE *stat, const cpu_set_t *may_use)
{
	const double tick_s = 1 / (double)sysconf(_SC_CLK_TCK);
	struct ticks total = {0}, mine = {0};
	char line[256], *figures;

	while (fgets(line, sizeof(line), stat) && strncmp(line, "cpu", 3) == 0) {
		const unsigned long cpu = strtoul(line + 3, &figures, 10);

		if (line[3] == ' ')
			add_ticks(&total, line + 3);
		else if (cpu < CPU_SETSIZE && CPU_ISSET(cpu, may_use))
			add_ticks(&mine, figures);
	}
	if (mine.cpus == s->cpus)
		total = mine;
	s->busy_s = (double)total.busy * tick_s;
	s->all_s = (double)total.all * tick_s;
}

static void sample_machine(struct cpu_sample *s)
{
	FILE *file = fopen("/proc/stat", "re");
	cpu_set_t may_use;

	CPU_ZERO(&may_use);
	s->cpus = cpus_allowed(0, &may_use);
	if (!file)
		return;
	cpu_read_stat(s, file, &may_use);
	fclose(file);
}

static void sample_generator(struct cpu_sample *s)
{
	struct timespec used;

	s->at_ns = clock_now_ns();
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0)
		fail(errno, "clock_gettime");
	s->generator_s = seconds_of(&used);
	sample_quota(0, &s->quota, &s->throttling);
	sample_machine(s);
}

static void sample_generator_threads(struct cpu_sample *s)
{
	add_threads(&s->generator, getpid());
	sort(&s->generator);
}

/* --- samples */

struct cpu_sample cpu_sample_begin(struct family *family)
{
	struct cpu_sample s = {0};

	/* Processes may have begun since the caller's update. */
	family_update(family);
	sample_server(&s, family);
	sample_generator_threads(&s);
	sample_generator(&s);
	return s;
}

struct cpu_sample cpu_sample_end(struct family *family)
{
	struct cpu_sample s = {0};

	sample_generator(&s);
	sample_generator_threads(&s);
	sample_server(&s, family);
	/* Finding those that began meanwhile takes long, so it comes last. */
	family_update(family);
	add_processes(&s, family, true);
	return s;
}

void cpu_sample_free(struct cpu_sample *s)
{
	free(s->generator.list);
	free(s->server.list);
}

/* The share of the quota's periods between two readings in which it was used up. */
static double throttled_between(const struct cpu_throttling *before,
				const struct cpu_throttling *after)
{
	if (after->periods <= before->periods || after->throttled <= before->throttled)
		return 0;
	return (double)(after->throttled - before->throttled) /
	       (double)(after->periods - before->periods);
}

static void use_of_quota(struct cpu_use *use, const struct cpu_sample *before,
			 const struct cpu_sample *after)
{
	const double of_server =
		throttled_between(&before->server_throttling, &after->server_throttling);

	use->quota = after->quota;
	use->throttled = throttled_between(&before->throttling, &after->throttling);
	if (after->server_quota > 0 && (use->quota <= 0 || of_server > use->throttled)) {
		use->quota = after->server_quota;
		use->throttled = of_server;
	}
}

struct cpu_use cpu_between(const struct cpu_sample *before, const struct cpu_sample *after)
{
	const double seconds = seconds_between(before->at_ns, after->at_ns);
	const double server_seconds = seconds_between(before->server_at_ns, after->server_at_ns);
	const double all_s = after->all_s - before->all_s;
	struct cpu_use use = {.server = NAN,
			      .server_s = NAN,
			      .generator_s = after->generator_s - before->generator_s,
			      .server_tasks = after->server_tasks,
			      .server_cpus = after->server_cpus,
			      .cpus = after->cpus};

	if (seconds > 0)
		use.generator = use.generator_s / seconds;
	if (server_seconds > 0 && after->server_lives && after->server_s >= before->server_s) {
		use.server_s = after->server_s - before->server_s;
		use.server = use.server_s / server_seconds;
	}
	if (all_s > 0)
		use.machine = (after->busy_s - before->busy_s) / all_s;
	use_of_quota(&use, before, after);
	use.generator_busiest = busiest(&before->generator, &after->generator);
	use.server_busiest = busiest(&before->server, &after->server);
	return use;
}
