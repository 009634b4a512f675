/*
 * The second opinion: libconfig reads the file as well, and must read the same as we do. One thread
 * at a time.
 */
#ifndef ECHOPOOL_CONFIG_TREE_H
#define ECHOPOOL_CONFIG_TREE_H

#include "echopool/config/outline.h"

/*
 * Lets libconfig parse the text (NUL-ended) that the outline was read from, and compares. What it
 * refuses or reads otherwise is told in f. Only for a text in which nothing wrong was found: then
 * it has no include outside comments and strings, on which libconfig may exit, and each item is
 * one of the table, of the right kind.
 */
void tree_compare(const struct outline *o, const char *text, struct findings *f);

#endif
