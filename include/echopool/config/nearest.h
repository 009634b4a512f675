/*
 * The known setting that someone may have meant by an unknown one. Pure: any thread.
 */
#ifndef ECHOPOOL_CONFIG_NEAREST_H
#define ECHOPOOL_CONFIG_NEAREST_H

#include "echopool/config/settings.h"

/*
 * Returns the path of the nearest setting or, if group, of the nearest group, which is the first
 * length bytes of it; NULL: none is near.
 */
const char *nearest_setting(const char *path, bool group, size_t *length);

#endif
