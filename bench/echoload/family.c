/*
 * The server's processes; see the header. proc(5) describes the files that it reads.
 */
#include "family.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echopool/base/clock.h"

static double of_ticks(unsigned long long ticks)
{
	return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* Reads a short file of /proc, which the kernel gives in one read. */
static bool read_text(const char *path, char *text, size_t size)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return false;
	length = read(fd, text, size - 1);
	close(fd);
	text[length > 0 ? length : 0] = '\0';
	return length > 0;
}

/* Parses a line of /proc/PID/stat; the name in brackets may hold anything. */
static bool parse(const char *line, struct process *p)
{
	const char *rest = strrchr(line, ')');
	unsigned long long user, system, children_user, children_system, began;

	if (!rest || sscanf(rest,
			    ") %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu "
			    "%*d %*d %u %*d %llu",
			    &p->state, &p->parent, &user, &system, &children_user, &children_system,
			    &p->tasks, &began) != 8)
		return false;
	p->began = began;
	p->used_s = of_ticks(user + system);
	p->ended_children_s = of_ticks(children_user + children_system);
	return true;
}

bool process_read(const char *directory, pid_t id, struct process *p)
{
	char path[64], line[1024];

	*p = (struct process){.pid = id};
	snprintf(path, sizeof(path), "%s/%d/stat", directory, id);
	return read_text(path, line, sizeof(line)) && parse(line, p);
}

double thread_used_s(const char *directory, pid_t id)
{
	char path[64], text[64];
	unsigned long long used_ns;
	struct process p;

	snprintf(path, sizeof(path), "%s/%d/schedstat", directory, id);
	/* Some kernels do not have it, and some have zeros in it. */
	if (read_text(path, text, sizeof(text)) && sscanf(text, "%llu", &used_ns) == 1 && used_ns)
		return (double)used_ns / (double)NS_PER_S;
	return process_read(directory, id, &p) ? p.used_s : -1;
}

static int compare(const void *a, const void *b)
{
	const pid_t pid = ((const struct process *)a)->pid;
	const pid_t other = ((const struct process *)b)->pid;

	return (pid > other) - (pid < other);
}

static struct process *find(const struct family *f, size_t count, pid_t pid)
{
	const struct process wanted = {.pid = pid};

	return count ? bsearch(&wanted, f->list, count, sizeof(wanted), compare) : NULL;
}

/* Adds processes that are not known yet, as far as memory allows. */
static void add_unknown(struct family *f)
{
	const size_t known = f->count;
	DIR *directory = opendir("/proc");
	struct process p, *grown;
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		const pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (!isdigit((unsigned char)entry->d_name[0]) || find(f, known, pid) ||
		    !process_read("/proc", pid, &p))
			continue;
		grown = reallocarray(f->list, f->count + 1, sizeof(p));
		if (!grown)
			break;
		f->list = grown;
		f->list[f->count++] = p;
	}
	if (directory)
		closedir(directory);
	if (f->count > known)
		qsort(f->list, f->count, sizeof(p), compare);
}

/* Marks the server, then its descendants generation by generation. */
static void mark(struct family *f)
{
	bool found = true;

	while (found) {
		found = false;
		for (size_t i = 0; i < f->count; i++) {
			struct process *p = &f->list[i];
			const struct process *parent;

			if (p->counts)
				continue;
			parent = find(f, f->count, p->parent);
			p->counts = p->pid == f->server || (parent && parent->counts);
			p->is_new = p->counts;
			found = found || p->counts;
		}
	}
}

void family_update(struct family *f)
{
	if (!f->server)
		return;
	for (size_t i = 0; i < f->count; i++)
		f->list[i].is_new = false;
	add_unknown(f);
	mark(f);
}

void family_free(struct family *f)
{
	free(f->list);
	*f = (struct family){0};
}
