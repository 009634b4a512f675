/*
 * The life of the server, which is the main thread: start, signals, reload, drain, stop.
 */
#ifndef ECHOPOOL_CONTROL_SERVER_H
#define ECHOPOOL_CONTROL_SERVER_H

#include "echopool/config/reload_child.h"
#include "echopool/config/settings.h"

/*
 * Serves until SIGTERM or SIGINT has ended it. Returns the exit status: 0 when a signal ended it, 1
 * when the system refused something, which the log has told. s is what holds at the start; after a
 * reload it is what holds then, and the caller frees it. source is what SIGHUP reads again. Main
 * thread, after signals_block().
 */
int server_run(struct settings *s, const struct config_source *source);

#endif
