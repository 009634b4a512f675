/*
 * The signals that the server acts on. They are blocked in every thread and read by the main thread
 * through a signalfd (signalfd(2)).
 */
#ifndef ECHOPOOL_CONTROL_SIGNALS_H
#define ECHOPOOL_CONTROL_SIGNALS_H

#include <stdbool.h>

/*
 * Blocks the signals that the server acts on and ignores those that a write to the log can raise,
 * for this thread and all threads and processes that it starts. Main thread, before any other
 * thread runs.
 */
void signals_block(void);

/* Whether the program was started so that a hangup does not end it (nohup(1)). */
bool signals_ignore_hangup(void);

/* Returns a signalfd for them, non-blocking, which the caller closes; or -1 with errno set. */
int signals_open(void);

#endif
