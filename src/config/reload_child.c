/*
 * The child that reads the configuration again; see the header. Called by the main thread.
 *
 * libconfig may exit, crash, leak or take for ever over a hostile file, and none of it reaches the
 * server: the child has limits of its own and two seconds. It is /proc/self/exe, so that a program
 * replaced on disk is not started by half; the settings it prints are read back without libconfig.
 */
#include "echopool/config/reload_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/base/thread.h"
#include "echopool/config/config.h"

/* The child says at most so much: two lists of 1,024 ranges, or 50 errors, with room to spare. */
#define OUTPUT_BYTES (512UL * 1024)

#define CHILD_MEMORY_BYTES (256UL * 1024 * 1024)
#define CHILD_CPU_SECONDS  2

extern char **environ;

void reload_child_init(struct reload_child *r)
{
	*r = (struct reload_child){.settings.fd = -1, .messages.fd = -1};
}

static void close_output(struct reload_child_output *o)
{
	if (o->fd >= 0)
		close(o->fd); /* a pipe's reading end has nothing to flush */
	o->fd = -1;
}

/* Makes a pipe: ours is o->fd; returns the child's end, or -1 with errno set. */
static int open_output(struct reload_child_output *o)
{
	int ends[2];

	o->bytes = 0;
	o->text = malloc(OUTPUT_BYTES);
	if (!o->text)
		return -1;
	if (pipe2(ends, O_CLOEXEC) != 0)
		return -1;
	o->fd = ends[0];
	if (fcntl(o->fd, F_SETFL, O_NONBLOCK) == 0)
		return ends[1];
	close(ends[1]);
	return -1;
}

/* Forgets the outputs. */
static void clear(struct reload_child *r)
{
	close_output(&r->settings);
	close_output(&r->messages);
	free(r->settings.text);
	free(r->messages.text);
	reload_child_init(r);
}

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

/* The child's descriptors, and signals as a program expects them. Returns 0 or an errno value. */
static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int out,
		   int err)
{
	sigset_t none, defaults;
	int error;

	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	error = posix_spawnattr_setsigmask(attributes, &none);
	if (!error)
		error = posix_spawnattr_setsigdefault(attributes, &defaults);
	if (!error)
		error = posix_spawnattr_setflags(attributes,
						 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (!error)
		error = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
	if (!error)
		error = posix_spawn_file_actions_adddup2(actions, out, 1);
	if (!error)
		error = posix_spawn_file_actions_adddup2(actions, err, 2);
	return error;
}

static int spawn(pid_t *child, char *const arguments[], int out, int err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int error;

	error = posix_spawn_file_actions_init(&actions);
	if (error)
		return error;
	error = posix_spawnattr_init(&attributes);
	if (!error) {
		error = prepare(&actions, &attributes, out, err);
		if (!error)
			error = posix_spawn(child, "/proc/self/exe", &actions, &attributes,
					    arguments, environ);
		must(posix_spawnattr_destroy(&attributes), "posix_spawnattr_destroy");
	}
	must(posix_spawn_file_actions_destroy(&actions), "posix_spawn_file_actions_destroy");
	return error;
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

/* A child that cannot be limited has its two seconds all the same. */
static void limit(pid_t child)
{
	const struct rlimit memory = {CHILD_MEMORY_BYTES, CHILD_MEMORY_BYTES};
	const struct rlimit cpu = {CHILD_CPU_SECONDS, CHILD_CPU_SECONDS};

	if ((LIMIT_MEMORY && prlimit(child, RLIMIT_AS, &memory, NULL) != 0) ||
	    prlimit(child, RLIMIT_CPU, &cpu, NULL) != 0)
		log_debug("reload: cannot limit the child that reads the file: %s",
			  strerror(errno));
}

bool reload_child_start(struct reload_child *r, const struct config_source *source)
{
	char **arguments = make_arguments(source);
	int out = open_output(&r->settings);
	int err = out >= 0 ? open_output(&r->messages) : -1;
	int error = ENOMEM;

	if (out < 0 || err < 0)
		error = errno;
	else if (arguments)
		error = spawn(&r->pid, arguments, out, err);
	free(arguments);
	if (out >= 0)
		close(out); /* the child has its own; nothing was written to ours */
	if (err >= 0)
		close(err);
	if (error) {
		log_error(
			"reload: cannot start the child that reads the file: %s; the settings stay as they are",
			strerror(error));
		clear(r);
		return false;
	}
	limit(r->pid);
	r->deadline_ns = clock_now_ns() + RELOAD_TIMEOUT_MS * NS_PER_MS;
	return true;
}

void reload_child_fill_poll(const struct reload_child *r, struct pollfd fds[static 2])
{
	fds[0] = (struct pollfd){.fd = r->settings.fd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = r->messages.fd, .events = POLLIN};
}

/* Reads what is there. False: it is more than it may be. */
static bool read_output(struct reload_child_output *o)
{
	ssize_t n = 1;

	/* One byte is kept for a NUL. */
	while (o->fd >= 0 && n > 0 && o->bytes < OUTPUT_BYTES - 1) {
		do
			n = read(o->fd, o->text + o->bytes, OUTPUT_BYTES - 1 - o->bytes);
		while (n < 0 && errno == EINTR);
		if (n > 0)
			o->bytes += (size_t)n;
		else if (n == 0 || errno != EAGAIN)
			close_output(o);
	}
	o->text[o->bytes] = '\0';
	return o->bytes < OUTPUT_BYTES - 1;
}

/* Whether the child has ended, and its status; both with options as of waitpid(2). */
static bool reap(pid_t child, int options, int *status)
{
	pid_t reaped;

	do
		reaped = waitpid(child, status, options);
	while (reaped < 0 && errno == EINTR);
	if (reaped < 0)
		fail(errno, "waitpid");
	return reaped == child;
}

static void end_child(pid_t child, int *status)
{
	kill(child, SIGKILL); /* it cannot fail: the child is ours and not yet reaped */
	reap(child, 0, status);
}

/* Whether the child has said all and ended, within its time or not. */
static bool has_ended(const struct reload_child *r, int *status)
{
	return r->settings.fd < 0 && r->messages.fd < 0 && reap(r->pid, WNOHANG, status);
}

/* Cuts text into lines in place; returns how many. lines is NULL to count only. */
static size_t split_lines(char *text, char **lines)
{
	size_t count = 0;

	for (char *line = text; *line;) {
		char *end = strchrnul(line, '\n');
		const bool last = *end == '\0';

		if (lines) {
			lines[count] = line;
			*end = '\0';
		}
		count++;
		line = last ? end : end + 1;
	}
	return count;
}

static void log_lines(char *text, void (*log_line)(const char *format, ...))
{
	static const char warning[] = "warning: ";
	char *rest = text;
	char *line;

	while ((line = strsep(&rest, "\n"))) {
		/* A warning has its level before it, which this line has too. */
		if (strncmp(line, warning, strlen(warning)) == 0)
			line += strlen(warning);
		if (*line)
			log_line("reload: %s", line);
	}
}

/* Reads the child's path=value lines back; they are right unless something is broken. */
static bool read_settings(struct reload_child *r, struct settings *s)
{
	const size_t count = split_lines(r->settings.text, NULL);
	char **lines = calloc(count + 1, sizeof(lines[0]));
	struct config_messages messages = {0};
	bool right = false;

	if (lines) {
		split_lines(r->settings.text, lines);
		right = config_load(s, NULL, lines, count, &messages);
	}
	for (size_t i = 0; i < messages.count; i++)
		if (messages.items[i].level == LOG_LEVEL_ERROR)
			log_error("reload: %s", messages.items[i].text);
	if (!right && messages.count == 0)
		log_error("reload: not enough memory for the settings");
	config_messages_free(&messages);
	free(lines);
	return right;
}

/* Tells why a child that did not end well gave no settings. */
static void log_failure(struct reload_child *r, int status, bool timed_out)
{
	if (timed_out)
		log_error("reload: reading the file took more than %d ms", RELOAD_TIMEOUT_MS);
	else if (r->too_long)
		log_error("reload: the child that reads the file said more than it should");
	else if (WIFSIGNALED(status))
		log_error("reload: the child that reads the file was ended by signal %d (%s)",
			  WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (r->messages.bytes == 0)
		log_error("reload: the child that reads the file ended with status %d",
			  WEXITSTATUS(status));
	log_lines(r->messages.text, log_error);
	log_error("reload: the settings stay as they are");
}

enum reload_result reload_child_continue(struct reload_child *r, struct settings *s)
{
	const bool is_late = clock_now_ns() >= r->deadline_ns;
	bool timed_out = false;
	bool good;
	int status = 0;

	if (!read_output(&r->settings))
		r->too_long = true;
	if (!read_output(&r->messages))
		r->too_long = true;
	if (!has_ended(r, &status)) {
		if (!is_late && !r->too_long)
			return RELOAD_PENDING;
		timed_out = is_late;
		end_child(r->pid, &status);
	}
	good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && !timed_out && !r->too_long;
	if (good) {
		log_lines(r->messages.text, log_warning);
		good = read_settings(r, s);
	} else {
		log_failure(r, status, timed_out);
	}
	clear(r);
	return good ? RELOAD_READ : RELOAD_REFUSED;
}

void reload_child_abort(struct reload_child *r)
{
	int status;

	if (r->pid)
		end_child(r->pid, &status);
	clear(r);
}
