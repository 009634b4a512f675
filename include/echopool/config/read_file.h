/*
 * A small text file read whole, through one descriptor, without ever waiting. Any thread.
 */
#ifndef ECHOPOOL_CONFIG_READ_FILE_H
#define ECHOPOOL_CONFIG_READ_FILE_H

#include "echopool/config/findings.h"

/* Larger files are refused. */
#define READ_FILE_BYTES_MAX ((size_t)64 * 1024)

/*
 * Reads path, which must be a regular file. Returns its bytes with a newline and a NUL behind
 * them, which the caller frees, and their number in length; NULL, and an error in f, when it cannot
 * be read. That others may write to the file is a warning.
 */
char *read_file(const char *path, size_t *length, struct findings *f);

#endif
