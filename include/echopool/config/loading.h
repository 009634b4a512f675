/*
 * What the parts of the configuration's reader share: a value, what it is loaded into, and what
 * each part does with it. One thread at a time.
 */
#ifndef ECHOPOOL_CONFIG_LOADING_H
#define ECHOPOOL_CONFIG_LOADING_H

#include "echopool/config/findings.h"

#include <libconfig.h>

/* A value, of libconfig's tree or of an override. The texts are not owned. */
struct value {
	int type; /* CONFIG_TYPE_INT and so on; CONFIG_TYPE_NONE: no value of the format */
	struct origin where;
	const char *raw;        /* as it was written; NULL: that is not known */
	const char *odd;        /* what is odd about a number, for a message; NULL: nothing */
	int integer;            /* of an integer; of a bool, 0 or 1 */
	bool hexadecimal;       /* of an integer */
	double decimal;         /* of a float */
	const char *string;     /* of a string */
	struct value *elements; /* of an array; owned */
	size_t count;
};

/* What a configuration is read into. */
struct loading {
	struct settings *settings;
	struct findings findings;
	struct origin written[SETTINGS_COUNT]; /* where each was, rightly, for the last time */
	bool reported[SETTINGS_COUNT];         /* the guard has said what is wrong with it */
	bool refused;                          /* libconfig has found an error in the file */
	const struct setting *unfinished;      /* what it read last, if that may be incomplete */
};

/*
 * guard.c: finds in a file's text what libconfig's tree cannot show, and reports it: numbers that
 * are not plain, strings that are joined, of several lines, or with a NUL or an unknown escape,
 * @include, a setting that is there twice, too many or too deeply nested ones, and comments,
 * strings and brackets that are not closed, with the line where they were opened.
 *
 * The text has been through text_check(). What libconfig must not see is overwritten or cut off.
 * Returns the first line in which libconfig may find an error because of what was reported here;
 * UINT32_MAX: there is none.
 */
uint32_t guard_check(struct loading *l, char *text);

/*
 * tree.c: lets libconfig read the text, which has been through guard_check(), and stores what it
 * makes of each setting. What is wrong is reported, but no error of libconfig's from broken_line
 * on, since the guard has said why. Of a text with such an error, what stands before it is stored.
 */
void tree_load(struct loading *l, const char *text, uint32_t broken_line);

/*
 * override.c: stores what a "path=value" says: a number, true or false, a string in quotes without
 * escapes, or an array of such strings; any other text is a string. What is wrong is reported. The
 * number, from 1, counts the overrides. Works without libconfig, because the running server reads
 * its child's answer so.
 */
void override_apply(struct loading *l, const char *text, uint32_t number);

/* store.c: reports "found (v); expected (expected)". */
void store_refuse(struct loading *l, const char *path, const struct value *v, const char *expected);

/* store.c: checks v and stores it. A wrong one is reported, and the setting stays as it was. */
void store_value(struct loading *l, const struct setting *setting, const struct value *v);

/*
 * nearest.c: the path of the nearest setting or, if group, of the nearest group, which is the first
 * length bytes of it; NULL: none is near.
 */
const char *nearest_setting(const char *path, bool group, size_t *length);

/* nearest.c: reports that path is an unknown setting or group, and which is near to it. */
void nearest_report(struct loading *l, struct origin where, const char *path, bool group);

#endif
