/*
 * One value of libconfig's format as it was written: a number, a string, true, an array. It keeps
 * the raw text, because a number's text shows what its conversion hides. One thread at a time.
 */
#ifndef ECHOPOOL_CONFIG_VALUE_H
#define ECHOPOOL_CONFIG_VALUE_H

#include "echopool/config/scan.h"
#include "echopool/config/text.h"

/* Brackets and braces may be nested so deep. */
#define VALUE_NESTING_MAX 8

enum value_kind {
	VALUE_INTEGER,
	VALUE_DECIMAL,
	VALUE_BOOL,
	VALUE_STRING,
	VALUE_ARRAY,
	VALUE_LIST,
	VALUE_GROUP,
	VALUE_WORD /* bare text that is none of the above, which libconfig does not know */
};

struct value {
	enum value_kind kind;
	struct origin where;
	const char *raw; /* into the text that was scanned */
	size_t raw_length;
	char *string;           /* VALUE_STRING: without quotes and escapes; owned */
	bool truth;             /* VALUE_BOOL */
	struct value *elements; /* VALUE_ARRAY; owned */
	size_t count;
	bool told; /* an error in it has been told: it must not be used */
};

/*
 * Parses the value at the scanner's token, and leaves the scanner behind it. The subject is the
 * setting's path, for messages; depth is the number of groups around it. False: it is nested too
 * deep, which has been told, and the rest is given up. The caller frees v with value_free() in
 * either case.
 */
bool value_parse(struct scanner *s, const char *subject, size_t depth, struct value *v);

/* Makes v, which is empty, the value that a bare word is: a number, true, false, or VALUE_WORD. */
void value_set_word(struct value *v, const char *text, size_t length);

void value_free(struct value *v);

/* What was found, in words for a message: its text, or "a group", "an array". May be in out. */
const char *value_found(const struct value *v, char out[static QUOTE_BYTES]);

#endif
