/*
 * The server: owns the listeners, the queue, the acceptor and the pool, and acts on signals.
 */
#ifndef ECHOPOOL_CONTROL_SERVER_H
#define ECHOPOOL_CONTROL_SERVER_H

#include "echopool/config/reload_child.h"
#include "echopool/config/settings.h"

/*
 * Blocks the signals that the server acts on and ignores SIGPIPE, for this thread and all that it
 * starts. Main thread, before any other thread runs.
 */
void server_block_signals(void);

/*
 * Serves until SIGTERM or SIGINT has ended it. Returns the exit status: 0 when a signal ended it, 1
 * when the system refused something, which the log has told. s is what holds at the start; after a
 * reload it is what holds then, and the caller frees it. source is what SIGHUP reads again. Main
 * thread, after server_block_signals().
 */
int server_run(struct settings *s, const struct config_source *source);

#endif
