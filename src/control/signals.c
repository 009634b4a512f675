/*
 * The signals that the server acts on; see the header. Main thread.
 */
#include "echopool/control/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "echopool/base/thread.h"

static void fill(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGCHLD);
}

void signals_block(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction normal = {.sa_handler = SIG_DFL};
	sigset_t set;

	/* Sockets are written with MSG_NOSIGNAL; this is for the log's pipe. */
	if (sigaction(SIGPIPE, &ignore, NULL) != 0)
		fail(errno, "sigaction");
	/* Were it ignored, the child that reads the file could not be waited for. */
	if (sigaction(SIGCHLD, &normal, NULL) != 0)
		fail(errno, "sigaction");
	fill(&set);
	must(pthread_sigmask(SIG_BLOCK, &set, NULL), "pthread_sigmask");
}

int signals_open(void)
{
	sigset_t set;

	fill(&set);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}
