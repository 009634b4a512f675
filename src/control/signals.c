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

static void set_action(int number, void (*handler)(int))
{
	const struct sigaction action = {.sa_handler = handler};

	if (sigaction(number, &action, NULL) != 0)
		fail(errno, "sigaction");
}

void signals_block(void)
{
	sigset_t set;

	/* What write(2) to a log can raise: its pipe is broken, its terminal is another job's, its
	 * file is as long as it may be. */
	set_action(SIGPIPE, SIG_IGN);
	set_action(SIGTTOU, SIG_IGN);
	set_action(SIGXFSZ, SIG_IGN);
	/* Were it ignored, the child that reads the file could not be waited for. */
	set_action(SIGCHLD, SIG_DFL);
	fill(&set);
	must(pthread_sigmask(SIG_BLOCK, &set, NULL), "pthread_sigmask");
}

bool signals_ignore_hangup(void)
{
	struct sigaction action;

	if (sigaction(SIGHUP, NULL, &action) != 0)
		fail(errno, "sigaction");
	return action.sa_handler == SIG_IGN;
}

int signals_open(void)
{
	sigset_t set;

	fill(&set);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}
