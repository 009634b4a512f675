/*
 * The result of a run as a table for people. Main thread.
 */
#ifndef ECHOLOAD_REPORT_H
#define ECHOLOAD_REPORT_H

#include <stdio.h>

#include "result.h"

void report_print(FILE *out, const struct result *r);

#endif
