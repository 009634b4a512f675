/*
 * The process that reads the configuration again: a fork of the server that becomes the program
 * with -T. For reload_child.c alone; main thread.
 */
#ifndef ECHOPOOL_CONFIG_RELOAD_SPAWN_H
#define ECHOPOOL_CONFIG_RELOAD_SPAWN_H

#include <sys/types.h>

#include "echopool/config/reload_child.h"

/* The child's exit status when there is no program; its only message is then an errno value. */
#define EXIT_NO_PROGRAM 126

/*
 * Starts the process, with out and err as its outputs; it does not wait for the program to begin.
 * Returns its number, or -1 with errno set.
 */
pid_t reload_spawn(const struct config_source *source, int out, int err);

#endif
