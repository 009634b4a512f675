/*
 * Bytes that are to be read as text: what may stand in a configuration file, and how text from
 * outside is shown in a message. Pure functions but for the findings: any thread.
 */
#ifndef ECHOPOOL_CONFIG_TEXT_H
#define ECHOPOOL_CONFIG_TEXT_H

#include "echopool/config/findings.h"

/* Stands for a byte that was refused, so that the scanner goes on without telling it twice. */
#define TEXT_REFUSED '\x01'

/* At most so many bytes of a text are shown in a message. */
#define QUOTE_SHOWN 60
/* Each may become "\xNN"; then "..." and the NUL. */
#define QUOTE_BYTES (QUOTE_SHOWN * 4 + 4)

/*
 * Refuses what no configuration may hold: NUL and other control bytes, a byte order mark,
 * UTF-16, bytes that are not UTF-8. Each is told once for a line and overwritten by TEXT_REFUSED.
 * The start is the origin of the first byte. False: nothing of the text can be read (UTF-16).
 */
bool text_check(char *text, size_t length, struct origin start, struct findings *f);

/* Writes text, cut and with its control bytes escaped, into out and returns out. */
const char *text_quote(const char *text, size_t length, char out[static QUOTE_BYTES]);

#endif
