/*
 * Bytes that are to be read as text: what may stand in a configuration file, how text from outside
 * is shown in a message, and which numbers are taken. Pure functions but for the findings: any
 * thread.
 */
#ifndef ECHOPOOL_CONFIG_TEXT_H
#define ECHOPOOL_CONFIG_TEXT_H

#include "echopool/config/findings.h"

/* Stands for a byte that was refused, so that it is not reported twice. */
#define TEXT_REFUSED '\x01'

/* At most so many bytes of a text are shown in a message. */
#define QUOTE_SHOWN 60
/* Each may become "\xNN"; then "..." and the NUL. */
#define QUOTE_BYTES (QUOTE_SHOWN * 4 + 4)

/*
 * Refuses what no configuration may hold: NUL and other control bytes, a byte order mark,
 * UTF-16, bytes that are not UTF-8. Each is reported once for a line and overwritten by
 * TEXT_REFUSED, so that the text ends at length for strlen() too; UTF-16 and the mark are blanked.
 * The start is the origin of the first byte. Returns whether all is right.
 */
bool text_check(char *text, size_t length, struct origin start, struct findings *f);

/* Writes text, cut and with its control bytes escaped, into out and returns out. */
const char *text_quote(const char *text, size_t length, char out[static QUOTE_BYTES]);

/* True for a text that can only be meant as a number: it starts with a digit, a point or a sign. */
bool text_means_number(const char *text);

/*
 * True for a number that every libconfig reads alike: a whole one below 2^31, hexadecimal with 0x
 * before it, or a decimal one. It has no sign, leading zero, "L" or exponent. The text ends at
 * length, and what follows is no part of a number. On false, why points to a few words that say
 * what is odd, or to "" when the text says enough.
 */
bool text_is_number(const char *text, size_t length, const char **why);

#endif
