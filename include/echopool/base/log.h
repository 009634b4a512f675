/*
 * The log: one event a line, its level first, to stderr or to syslog. It never blocks and never
 * fails: a line that cannot be written at once is dropped and counted, and the next line that can
 * be written is followed by one that tells how many were lost.
 */
#ifndef ECHOPOOL_BASE_LOG_H
#define ECHOPOOL_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_target { LOG_TARGET_STDERR, LOG_TARGET_SYSLOG };
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* A line's length at most, with its prefix and newline; what is longer is cut. At most PIPE_BUF. */
#define LOG_LINE_BYTES 2048

/*
 * Opens what target needs and changes nothing else, so that log_open() cannot fail. Returns false
 * when it cannot be had; the log has said why. Main thread.
 */
bool log_prepare(enum log_target target);

/*
 * Directs the log to target and writes lines of level and the graver ones. Until the first call,
 * lines from LOG_LEVEL_INFO on go to stderr. May be called again while other threads log: what a
 * target needed stays open. Main thread.
 */
void log_open(enum log_target target, enum log_level level);

/*
 * Closes what log_open() opened; lines go to stderr again. Main thread, while no other thread runs.
 */
void log_close(void);

/*
 * Each writes one line, without a newline in format; errno is left as it was. Any thread.
 */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Whether a line can be written now, as far as the system tells: of a file or of syslog it does
 * not, and they count as ready. Any thread.
 */
bool log_has_room(void);

/* How many lines could not be written since the start. Any thread. */
uint64_t log_lines_lost(void);

/*
 * Writes text as a line to stderr without the name of its level, for what begins with file:line.
 * The journal gets the level all the same. Only while the log is on stderr.
 */
void log_bare(enum log_level level, const char *text);

#endif
