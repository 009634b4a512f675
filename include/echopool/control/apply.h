/*
 * Other settings for parts that run, all or nothing. Called by the main thread.
 */
#ifndef ECHOPOOL_CONTROL_APPLY_H
#define ECHOPOOL_CONTROL_APPLY_H

#include <stdbool.h>

#include "echopool/control/parts.h"

/*
 * Applies other settings: true, with *p->settings holding them and the log telling what changed; or
 * false, with nothing changed and the log telling why. Empties next in either case.
 */
bool apply_settings(struct parts *p, struct settings *next);

#endif
