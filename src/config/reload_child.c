/*
 * The child that reads the configuration again; see the header. Called by the main thread.
 *
 * libconfig may exit, crash, leak or take for ever over a hostile file, and the file system may
 * never answer. None of it reaches the server: the child has limits of its own and two seconds. It
 * is /proc/self/exe, so that a program replaced on disk is not started by half; the settings it
 * prints are read back without libconfig.
 */
#include "echopool/config/reload_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/base/thread.h"
#include "echopool/config/config.h"
#include "echopool/config/reload_spawn.h"

/* The child says at most so much: two lists of 1,024 ranges, or 50 errors, with room to spare. */
#define OUTPUT_BYTES (512UL * 1024)

/* How long a child that was killed may take to end, before it is left to itself. */
#define KILL_TIMEOUT_MS 1000

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

/* Forgets the outputs, and the child too unless it is still there. */
static void clear(struct reload_child *r)
{
	const pid_t left = r->ended ? 0 : r->pid;

	close_output(&r->settings);
	close_output(&r->messages);
	free(r->settings.text);
	free(r->messages.text);
	reload_child_init(r);
	r->pid = left;
	r->given_up = left != 0;
}

static void log_no_child(const char *why)
{
	log_error(
		"reload: cannot start the child that reads the file: %s; the settings stay as they are",
		why);
}

const char *reload_child_lacks(const struct config_source *source)
{
	/* Names of descriptors, which the child does not have; see proc(5). */
	static const char *const descriptors[] = {"/dev/stdin", "/dev/fd/", "/proc/self/",
						  "/proc/thread-self/"};
	char program[1];

	/* That is the proc file system's own, so it waits for no other. */
	if (readlink("/proc/self/exe", program, sizeof(program)) < 0)
		return "/proc is not mounted, where the child finds its program";
	for (size_t i = 0; i < sizeof(descriptors) / sizeof(descriptors[0]); i++)
		if (strncmp(source->file, descriptors[i], strlen(descriptors[i])) == 0)
			return "it is a descriptor that the child does not have";
	return NULL;
}

bool reload_child_start(struct reload_child *r, const struct config_source *source)
{
	const char *lacks = reload_child_lacks(source);
	int out, err, error;

	if (lacks) {
		log_no_child(lacks);
		return false;
	}
	if (r->pid) {
		log_error(
			"reload: the child of an earlier reload (process %d) still waits for a file system or a device; the settings stay as they are",
			(int)r->pid);
		return false;
	}
	out = open_output(&r->settings);
	err = out >= 0 ? open_output(&r->messages) : -1;
	if (out >= 0 && err >= 0)
		r->pid = reload_spawn(source, out, err);
	error = out < 0 || err < 0 || r->pid < 0 ? errno : 0;
	if (out >= 0)
		close(out); /* the child has its own; nothing was written to ours */
	if (err >= 0)
		close(err);
	if (error) {
		log_no_child(strerror(error));
		r->pid = 0;
		clear(r);
		return false;
	}
	r->deadline_ns = clock_now_ns() + RELOAD_TIMEOUT_MS * NS_PER_MS;
	return true;
}

bool reload_child_is_reading(const struct reload_child *r)
{
	return r->pid && !r->given_up;
}

void reload_child_ended(struct reload_child *r, pid_t pid, int status)
{
	if (pid != r->pid)
		return;
	r->ended = true;
	r->status = status;
	if (!r->given_up)
		return;
	log_info("reload: the child that did not end has ended; the file can be read again");
	reload_child_init(r);
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
	if (o->bytes < OUTPUT_BYTES - 1)
		return true;
	/* Or poll(2) would tell of the rest again and again until the child has ended. */
	close_output(o);
	return false;
}

/* Whether the child has said all and ended, within its time or not. */
static bool has_ended(const struct reload_child *r)
{
	return r->ended && r->settings.fd < 0 && r->messages.fd < 0;
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
static void log_failure(struct reload_child *r)
{
	int error;

	if (r->timed_out)
		log_error("reload: reading the file took more than %d ms", RELOAD_TIMEOUT_MS);
	else if (r->too_long)
		log_error("reload: the child that reads the file said more than it should");
	else if (WIFSIGNALED(r->status))
		log_error("reload: the child that reads the file was ended by signal %d (%s)",
			  WTERMSIG(r->status), strsignal(WTERMSIG(r->status)));
	else if (WEXITSTATUS(r->status) == EXIT_NO_PROGRAM && r->messages.bytes == sizeof(error)) {
		memcpy(&error, r->messages.text, sizeof(error));
		log_no_child(strerror(error));
		return;
	} else if (r->messages.bytes == 0)
		log_error("reload: the child that reads the file ended with status %d",
			  WEXITSTATUS(r->status));
	log_lines(r->messages.text, log_error);
	if (!r->ended)
		log_error(
			"reload: the child (process %d) does not end, as it waits for a file system or a device; until it has, every reload is refused",
			(int)r->pid);
	log_error("reload: the settings stay as they are");
}

/* Kills a child that has had its time, or has said too much. */
static void end_child(struct reload_child *r, bool timed_out)
{
	r->timed_out = timed_out;
	if (r->ended)
		return;
	kill(r->pid, SIGKILL); /* it cannot fail: the child is ours and not yet reaped */
	r->killed = true;
	r->deadline_ns = clock_now_ns() + KILL_TIMEOUT_MS * NS_PER_MS;
}

enum reload_result reload_child_continue(struct reload_child *r, struct settings *s)
{
	const bool is_late = clock_now_ns() >= r->deadline_ns;
	bool good;

	if (!read_output(&r->settings))
		r->too_long = true;
	if (!read_output(&r->messages))
		r->too_long = true;
	if (!r->killed && !has_ended(r)) {
		if (!is_late && !r->too_long)
			return RELOAD_PENDING;
		end_child(r, is_late);
	}
	if (r->killed && !r->ended && clock_now_ns() < r->deadline_ns)
		return RELOAD_PENDING;
	good = r->ended && !r->killed && !r->timed_out && !r->too_long && WIFEXITED(r->status) &&
	       WEXITSTATUS(r->status) == 0;
	if (good) {
		log_lines(r->messages.text, log_warning);
		good = read_settings(r, s);
	} else {
		log_failure(r);
	}
	clear(r);
	return good ? RELOAD_READ : RELOAD_REFUSED;
}

void reload_child_abort(struct reload_child *r)
{
	if (r->pid && !r->ended)
		kill(r->pid, SIGKILL); /* ours and not reaped, so it cannot fail */
	r->pid = 0;
	clear(r);
}
