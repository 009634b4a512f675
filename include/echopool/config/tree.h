/*
 * The second opinion: libconfig reads the file as well, and must read the same as we do. One thread
 * at a time.
 */
#ifndef ECHOPOOL_CONFIG_TREE_H
#define ECHOPOOL_CONFIG_TREE_H

#include "echopool/config/outline.h"

/*
 * Lets libconfig parse the outline's masked text, and compares what it read with the outline's
 * items. What libconfig refuses or reads otherwise is told in f.
 */
void tree_compare(const struct outline *o, struct findings *f);

#endif
