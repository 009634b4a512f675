/*
 * Division of the descriptor limit, and the standard descriptors; see the header. Called by the
 * main thread.
 */
#include "echopool/base/fdlimit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

#include "echopool/base/thread.h"

/*
 * Descriptors that are neither listeners nor the workers': the log, signals, two bells, the
 * connection in the acceptor's hand, a reload's file and pipes, and what a library may hold for a
 * moment, rounded up.
 */
#define RESERVE_FIXED 16

bool fdlimit_fill_standard(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && (errno != EBADF || open("/dev/null", O_RDWR) != fd))
			return false;
	return true;
}

uint64_t fdlimit_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		fail(errno, "getrlimit");
	if (limit.rlim_cur < limit.rlim_max) {
		const struct rlimit raised = {limit.rlim_max, limit.rlim_max};

		/* Refused only where a sandbox forbids the call; then the soft limit holds. */
		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	return limit.rlim_cur;
}

unsigned int fdlimit_count_open(void)
{
	unsigned int count = 0;
	struct dirent *entry;
	DIR *directory = opendir("/proc/self/fd");

	/* Without /proc: the standard ones. */
	if (!directory)
		return 3;
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			count++;
	closedir(directory);
	return count - 1; /* the directory's own */
}

/* Listeners, epoll sets and bells exist twice for the moment of a change. */
static uint64_t reserve(const struct fd_demand *demand)
{
	return RESERVE_FIXED + (uint64_t)demand->open + 2 * (uint64_t)demand->listeners +
	       4 * (uint64_t)demand->workers;
}

static uint32_t smaller(uint64_t a, uint32_t b)
{
	return a < b ? (uint32_t)a : b;
}

bool fdlimit_divide(uint64_t limit, const struct fd_demand *demand, struct fd_share *share)
{
	const uint64_t reserved = reserve(demand);
	uint64_t rest, quarter;

	if (limit < fdlimit_least(demand))
		return false;
	rest = limit - reserved;
	quarter = rest / 4 ? rest / 4 : 1;
	/* Few descriptors among many workers: one for each of them comes first. */
	if (quarter > rest - demand->workers)
		quarter = rest - demand->workers;
	share->queue_limit = smaller(quarter, demand->queue_limit);
	rest -= share->queue_limit;
	share->worker_connections = smaller(rest / demand->workers, demand->worker_connections);
	return true;
}

uint64_t fdlimit_least(const struct fd_demand *demand)
{
	return reserve(demand) + demand->workers + 1;
}
