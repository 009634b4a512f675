/*
 * What --help and a mistake on the command line say. Main thread.
 */
#ifndef ECHOLOAD_USAGE_H
#define ECHOLOAD_USAGE_H

#define USAGE "Usage: echoload [options] [HOST[:PORT]]\n"

void usage_print_help(void);

#endif
