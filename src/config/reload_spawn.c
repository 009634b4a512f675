/*
 * The process that reads the configuration again, until it is the program itself; see the header.
 * Called by the main thread.
 *
 * It comes from fork(2). posix_spawn(3) would keep the main thread waiting until the child is past
 * its exec(2), which reads the program, and that may be on the file system that does not answer.
 * The price is a copy of the page tables: some 30 ms for each gigabyte of pending bytes.
 */
#include "echopool/config/reload_spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHILD_MEMORY_BYTES (256UL * 1024 * 1024)
#define CHILD_CPU_SECONDS  2

/* echopool -T -c FILE -o ... -o ...; freed by the caller; the words are not copied. */
static char **make_arguments(const struct config_source *source)
{
	char **arguments = calloc(5 + 2 * source->override_count, sizeof(arguments[0]));
	size_t n = 0;

	if (!arguments)
		return NULL;
	arguments[n++] = (char *)"echopool";
	arguments[n++] = (char *)"-T";
	arguments[n++] = (char *)"-c";
	arguments[n++] = (char *)source->file;
	for (size_t i = 0; i < source->override_count; i++) {
		arguments[n++] = (char *)"-o";
		arguments[n++] = source->overrides[i];
	}
	return arguments;
}

/* Sanitizers reserve terabytes of addresses. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMIT_MEMORY false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LIMIT_MEMORY false
#endif
#endif
#ifndef LIMIT_MEMORY
#define LIMIT_MEMORY true
#endif

/* In the child. One that cannot be limited has its two seconds all the same. */
static void limit_child(void)
{
	const struct rlimit memory = {CHILD_MEMORY_BYTES, CHILD_MEMORY_BYTES};
	const struct rlimit cpu = {CHILD_CPU_SECONDS, CHILD_CPU_SECONDS};

	if (LIMIT_MEMORY)
		(void)setrlimit(RLIMIT_AS, &memory);
	(void)setrlimit(RLIMIT_CPU, &cpu);
}

/*
 * In the child, which is alone with a copy of the server's memory: only what a signal handler may
 * call. The server's sockets are closed first, so that a child that hangs in exec(2) keeps no
 * client and no port. Signals stay blocked: those that the server acts on often go to its whole
 * group. Its standard input is open, if not to be read: the program needs no /dev/null for it.
 */
static _Noreturn void become_reader(char *const arguments[], int out, int err)
{
	int error;

	/* Without its outputs it must not write: they would go to the server's log. */
	if (dup2(err, STDERR_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(out, STDIN_FILENO) < 0)
		_exit(EXIT_NO_PROGRAM);
	/* An older kernel lacks it; exec(2) closes them too. */
	(void)syscall(SYS_close_range, STDERR_FILENO + 1U, ~0U, 0U);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	limit_child();
	execv("/proc/self/exe", arguments);
	error = errno;
	(void)!write(STDERR_FILENO, &error, sizeof(error));
	_exit(EXIT_NO_PROGRAM);
}

pid_t reload_spawn(const struct config_source *source, int out, int err)
{
	char **arguments = make_arguments(source);
	pid_t child;

	if (!arguments)
		return -1;
	child = fork();
	if (child == 0)
		become_reader(arguments, out, err);
	free(arguments);
	return child;
}
