/*
 * The log; see the header. log_open() picks the way of writing that cannot block for the kind of
 * stderr at hand; any thread then formats a line on its own stack and hands it to the kernel in one
 * call, so that lines neither mix nor wait for each other.
 */
#include "echopool/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "echopool/base/syslog_socket.h"
#include "echopool/base/thread.h"

enum log_way {
	LOG_WAY_FILE,   /* a regular file: write(2) waits at most for the file system */
	LOG_WAY_SOCKET, /* a socket, as the journal gives: MSG_DONTWAIT */
	LOG_WAY_OWN, /* a pipe, terminal or device, opened anew so that O_NONBLOCK is ours alone */
	LOG_WAY_POLLED, /* the same, where opening anew is refused */
	LOG_WAY_SYSLOG, /* to /dev/log; see syslog_socket.h */
};

/* Where lines go. Each is filled before `current` points to it, and then left alone until
 * log_close(). */
struct sink {
	enum log_way way;
	int fd;
	bool journal;  /* the journal reads it and understands <N> */
	bool terminal; /* it is one */
};

static struct sink plain_sink = {.way = LOG_WAY_POLLED, .fd = STDERR_FILENO};
static struct sink stderr_sink = {.fd = -1};
static struct sink syslog_sink = {.fd = -1};

/* Written by the main thread with release, read by all with acquire: they see a sink that is
 * filled. */
static _Atomic(const struct sink *) current = &plain_sink;
/* A number that nothing else depends on: relaxed. */
static atomic_uint current_level = LOG_LEVEL_INFO;

/* Lines lost since the last that could be written. Only counts, so relaxed order suffices. */
static atomic_uint lost_lines;
static _Atomic uint64_t lost_ever;

/* A line was written in part. Only a hint, so relaxed. */
static atomic_bool line_is_open;

/* Keeps poll(2) and write(2) of one thread together in LOG_WAY_POLLED. */
static struct lock polled_lock = {PTHREAD_MUTEX_INITIALIZER};

static const struct {
	const char *name;
	int priority; /* syslog.h */
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", LOG_ERR},
	[LOG_LEVEL_WARNING] = {"warning", LOG_WARNING},
	[LOG_LEVEL_INFO] = {"info", LOG_INFO},
	[LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

/* JOURNAL_STREAM names the device and inode of the journal's stream (systemd.exec(5)). */
static bool is_journal(const struct stat *st)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[64];

	snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino);
	return stream && strcmp(stream, ours) == 0;
}

/*
 * Has each line go to the end of the file, as with >>. Without it, a file that is truncated, as by
 * logrotate's copytruncate, would get NULs before the next line. Other programs that share the
 * descriptor append too, which costs them nothing.
 */
static void append(void)
{
	const int flags = fcntl(STDERR_FILENO, F_GETFL);

	/* Where it is refused the lines go where they always went. */
	if (flags >= 0)
		(void)fcntl(STDERR_FILENO, F_SETFL, flags | O_APPEND);
}

static const struct sink *open_stderr(void)
{
	struct sink *sink = &stderr_sink;
	struct stat st;

	if (sink->fd >= 0)
		return sink;
	sink->fd = STDERR_FILENO;
	sink->way = LOG_WAY_POLLED;
	if (fstat(STDERR_FILENO, &st) != 0)
		return sink;
	sink->journal = is_journal(&st);
	sink->terminal = isatty(STDERR_FILENO);
	if (S_ISSOCK(st.st_mode)) {
		sink->way = LOG_WAY_SOCKET;
	} else if (S_ISREG(st.st_mode)) {
		append();
		sink->way = LOG_WAY_FILE;
	} else {
		int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		if (fd >= 0) {
			sink->fd = fd;
			sink->way = LOG_WAY_OWN;
		}
	}
	return sink;
}

bool log_prepare(enum log_target target)
{
	struct sink *sink = &syslog_sink;

	if (target != LOG_TARGET_SYSLOG || sink->fd >= 0)
		return true;
	sink->fd = syslog_socket();
	sink->way = LOG_WAY_SYSLOG;
	if (sink->fd < 0)
		log_error("log.target: no socket for syslog: %s", strerror(errno));
	return sink->fd >= 0;
}

/* A log that loses lines should not come as a surprise. */
static void warn_if_nobody_listens(void)
{
	const int error = syslog_probe();

	if (error)
		log_warning("log.target: no syslog daemon answers at " SYSLOG_PATH
			    " (%s); lines are lost until one does",
			    strerror(error));
}

void log_open(enum log_target target, enum log_level level)
{
	const bool syslog = target == LOG_TARGET_SYSLOG && log_prepare(target);
	const struct sink *sink = syslog ? &syslog_sink : open_stderr();

	if (syslog && atomic_load_explicit(&current, memory_order_relaxed) != sink)
		warn_if_nobody_listens();
	atomic_store_explicit(&current_level, level, memory_order_relaxed);
	atomic_store_explicit(&current, sink, memory_order_release);
}

static void close_sink(struct sink *sink)
{
	/* A log line is lost at most when close fails, and there is nowhere to say it. */
	if (sink->fd > STDERR_FILENO)
		close(sink->fd);
	*sink = (struct sink){.fd = -1};
}

void log_close(void)
{
	atomic_store_explicit(&current, &plain_sink, memory_order_release);
	close_sink(&stderr_sink);
	syslog_close(syslog_sink.fd);
	syslog_sink = (struct sink){.fd = -1};
}

static bool has_room(int fd)
{
	struct pollfd room = {.fd = fd, .events = POLLOUT};

	return poll(&room, 1, 0) == 1 && (room.revents & POLLOUT);
}

/*
 * Where a pipe has room at all, PIPE_BUF bytes fit whole (pipe(7)). A terminal promises a byte
 * only, so it is given one at a time.
 */
static ssize_t write_polled(const struct sink *sink, const char *line, size_t bytes)
{
	const size_t step = sink->terminal ? 1 : bytes;
	size_t written = 0;
	ssize_t n = 0;

	lock_acquire(&polled_lock);
	/* A call before may have left EINTR there, for which the caller would try again. */
	errno = EAGAIN;
	while (written < bytes && n >= 0 && has_room(sink->fd)) {
		n = write(sink->fd, line + written, step);
		if (n > 0)
			written += (size_t)n;
	}
	lock_release(&polled_lock);
	return written ? (ssize_t)written : -1;
}

static ssize_t write_some(const struct sink *sink, const char *line, size_t bytes)
{
	switch (sink->way) {
	case LOG_WAY_SOCKET:
		return send(sink->fd, line, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	case LOG_WAY_POLLED:
		return write_polled(sink, line, bytes);
	case LOG_WAY_SYSLOG:
		return syslog_send(sink->fd, line, bytes);
	default:
		return write(sink->fd, line, bytes);
	}
}

/*
 * Writes a line; line[-1] is writable. What a line that was cut short has left open is ended first.
 * Two threads may do so at once, which costs an empty line.
 */
static bool write_line(const struct sink *sink, char *line, size_t bytes)
{
	const bool end_the_last =
		atomic_exchange_explicit(&line_is_open, false, memory_order_relaxed);
	ssize_t n;

	if (end_the_last) {
		*--line = '\n';
		bytes++;
	}
	do
		n = write_some(sink, line, bytes);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)bytes)
		return true;
	if (n > 0 || end_the_last)
		atomic_store_explicit(&line_is_open, true, memory_order_relaxed);
	return false;
}

/* Writes what stands before the text into line and returns its length. */
static size_t put_prefix(const struct sink *sink, char *line, size_t size, enum log_level level)
{
	int n;

	if (sink->way == LOG_WAY_SYSLOG) {
		/* RFC 3164, in the form that syslog(3) gives it for the local daemon. */
		time_t now = time(NULL);
		struct tm local;
		char when[32] = "";

		if (localtime_r(&now, &local))
			strftime(when, sizeof(when), "%b %e %H:%M:%S", &local);
		n = snprintf(line, size,
			     "<%d>%s echopool[%d]: %s: ", LOG_DAEMON | levels[level].priority, when,
			     (int)getpid(), levels[level].name);
	} else if (sink->journal) {
		n = snprintf(line, size, "<%d>%s: ", levels[level].priority, levels[level].name);
	} else {
		n = snprintf(line, size, "%s: ", levels[level].name);
	}
	return (size_t)n;
}

/* A newline ends the line, but not for syslog; there the NUL after it may. */
static bool put_line(enum log_level level, const char *format, va_list arguments)
	__attribute__((format(printf, 2, 0)));
static bool put_line(enum log_level level, const char *format, va_list arguments)
{
	const struct sink *sink = atomic_load_explicit(&current, memory_order_acquire);
	char buffer[LOG_LINE_BYTES];
	char *line = buffer + 1; /* see write_line() */
	size_t used = put_prefix(sink, line, sizeof(buffer) - 1, level);
	const size_t room = sizeof(buffer) - 1 - used - 1;
	int n = vsnprintf(line + used, room, format, arguments);

	if (n < 0)
		return false;
	used += (size_t)n < room ? (size_t)n : room - 1;
	if (sink->way != LOG_WAY_SYSLOG)
		line[used++] = '\n';
	return write_line(sink, line, used);
}

static bool put_linef(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static bool put_linef(enum log_level level, const char *format, ...)
{
	va_list arguments;
	bool written;

	va_start(arguments, format);
	written = put_line(level, format, arguments);
	va_end(arguments);
	return written;
}

static void log_lost_lines(void)
{
	unsigned int lost;

	if (atomic_load_explicit(&lost_lines, memory_order_relaxed) == 0)
		return;
	lost = atomic_exchange_explicit(&lost_lines, 0, memory_order_relaxed);
	if (lost &&
	    !put_linef(LOG_LEVEL_WARNING, "%u log lines before this could not be written", lost))
		atomic_fetch_add_explicit(&lost_lines, lost, memory_order_relaxed);
}

static void count_lost_line(void)
{
	atomic_fetch_add_explicit(&lost_lines, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&lost_ever, 1, memory_order_relaxed);
}

static void log_line(enum log_level level, const char *format, va_list arguments)
	__attribute__((format(printf, 2, 0)));
static void log_line(enum log_level level, const char *format, va_list arguments)
{
	const int saved = errno;

	if (level <= atomic_load_explicit(&current_level, memory_order_relaxed)) {
		if (put_line(level, format, arguments))
			log_lost_lines();
		else
			count_lost_line();
	}
	errno = saved;
}

uint64_t log_lines_lost(void)
{
	return atomic_load_explicit(&lost_ever, memory_order_relaxed);
}

bool log_has_room(void)
{
	const struct sink *sink = atomic_load_explicit(&current, memory_order_acquire);

	return sink->way == LOG_WAY_FILE || sink->way == LOG_WAY_SYSLOG || has_room(sink->fd);
}

void log_bare(enum log_level level, const char *text)
{
	const struct sink *sink = atomic_load_explicit(&current, memory_order_acquire);
	char buffer[LOG_LINE_BYTES];
	char *line = buffer + 1; /* see write_line() */
	const int room = (int)sizeof(buffer) - 2;
	int n;

	if (sink->journal)
		n = snprintf(line, (size_t)room, "<%d>%s", levels[level].priority, text);
	else
		n = snprintf(line, (size_t)room, "%s", text);
	if (n < 0)
		return;
	n = n < room ? n : room - 1;
	line[n] = '\n';
	write_line(sink, line, (size_t)n + 1);
}

#define DEFINE_LOG(name, level)                     \
	void name(const char *format, ...)          \
	{                                           \
		va_list arguments;                  \
                                                    \
		va_start(arguments, format);        \
		log_line(level, format, arguments); \
		va_end(arguments);                  \
	}

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warning, LOG_LEVEL_WARNING)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
