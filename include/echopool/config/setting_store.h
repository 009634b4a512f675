/*
 * One value, checked against the table and stored in a struct settings. One thread at a time.
 */
#ifndef ECHOPOOL_CONFIG_SETTING_STORE_H
#define ECHOPOOL_CONFIG_SETTING_STORE_H

#include "echopool/config/value.h"

/*
 * Checks v and stores it in s. False when it is wrong, which is told in f; s is then as before.
 */
bool setting_store(const struct setting *setting, struct settings *s, const struct value *v,
		   struct findings *f);

#endif
