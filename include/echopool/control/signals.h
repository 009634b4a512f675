/*
 * The signals that the server acts on. They are blocked in every thread and read by the main thread
 * through a signalfd (signalfd(2)).
 */
#ifndef ECHOPOOL_CONTROL_SIGNALS_H
#define ECHOPOOL_CONTROL_SIGNALS_H

/*
 * Blocks the signals that the server acts on and ignores SIGPIPE, for this thread and all that it
 * starts. Main thread, before any other thread runs.
 */
void signals_block(void);

/* Returns a signalfd for them, non-blocking, which the caller closes; or -1 with errno set. */
int signals_open(void);

#endif
