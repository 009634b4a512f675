/*
 * A small text file read whole, through one descriptor, without ever waiting. Any thread.
 */
#ifndef ECHOPOOL_CONFIG_TEXTFILE_H
#define ECHOPOOL_CONFIG_TEXTFILE_H

#include "echopool/config/findings.h"

/* Larger files are refused. */
#define TEXTFILE_BYTES_MAX ((size_t)64 * 1024)

/*
 * Reads path, which must be a regular file. Returns its bytes with a NUL behind them, which the
 * caller frees, and their number in length; NULL, and an error in f, when it cannot be read. That
 * others may write to the file is a warning.
 */
char *textfile_read(const char *path, size_t *length, struct findings *f);

#endif
