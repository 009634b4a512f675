/*
 * The bytes of a configuration file, before anything reads them as settings, text shown in messages
 * and numbers by their text. Called by the readers of the configuration, in the one thread that
 * reads it.
 */
#include "echopool/config/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The length, 1 to 4, of the UTF-8 character at text, or 0; C1 control characters are none. */
static size_t utf8_length(const char *text, size_t left)
{
	static const uint32_t least[] = {0, 0, 0xa0, 0x800, 0x10000};
	const unsigned char *b = (const unsigned char *)text;
	size_t length = b[0] < 0x80 ? 1 : b[0] >> 5 == 6 ? 2 : b[0] >> 4 == 14 ? 3 : 4;
	uint32_t code = length == 1 ? b[0] : b[0] & (0x7fU >> length);

	if (length > left || (length == 4 && b[0] >> 3 != 30))
		return 0;
	for (size_t i = 1; i < length; i++) {
		if (b[i] >> 6 != 2)
			return 0;
		code = code << 6 | (b[i] & 0x3f);
	}
	if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return length;
}

/* The length of the character at text if a file may hold it, else 0; CR only as part of CR LF. */
static size_t accepted_length(const char *text, size_t left)
{
	unsigned char c = (unsigned char)text[0];
	bool layout = c == '\t' || c == '\n' || (c == '\r' && left > 1 && text[1] == '\n');

	return (c < 0x20 && !layout) || c == 0x7f ? 0 : utf8_length(text, left);
}

static void report_byte(struct findings *f, struct origin where, unsigned char byte)
{
	char found[64];

	if (byte == 0)
		strcpy(found, "a NUL byte");
	else if (byte < 0x20 || byte == 0x7f)
		sprintf(found, "the control byte 0x%02x", byte);
	else
		sprintf(found, "the byte 0x%02x, which is not UTF-8 here", byte);
	findings_add(f, LOG_LEVEL_ERROR, where, NULL, "found %s; expected UTF-8 text%s", found,
		     byte < 0x20 || byte == 0x7f ? " without control bytes" : "");
}

/* Blanks the marks with which other encodings begin. False: there is one. */
static bool check_start(char *text, size_t length, struct origin where, struct findings *f)
{
	bool utf16 = length >= 2 &&
		     (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0);
	bool marked = length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;

	if (!utf16 && !marked)
		return true;
	findings_add(f, LOG_LEVEL_ERROR, where, NULL, "found %s",
		     utf16 ? "UTF-16 text; expected UTF-8 text"
			   : "a byte order mark; expected UTF-8 text without one");
	memset(text, ' ', utf16 ? length : 3);
	return false;
}

bool text_check(char *text, size_t length, struct origin start, struct findings *f)
{
	bool good = check_start(text, length, start, f);
	struct origin where = start;
	uint32_t reported_line = UINT32_MAX; /* no line yet */

	for (size_t at = 0; at < length;) {
		size_t step = accepted_length(text + at, length - at);

		if (step == 0) {
			if (where.line != reported_line)
				report_byte(f, where, (unsigned char)text[at]);
			reported_line = where.line;
			text[at] = TEXT_REFUSED;
			step = 1;
		} else if (text[at] == '\n' && start.override == NULL) {
			where.line++;
		}
		at += step;
	}
	return good && reported_line == UINT32_MAX;
}

const char *text_quote(const char *text, size_t length, char out[static QUOTE_BYTES])
{
	size_t shown = 0;
	size_t used = 0;

	while (shown < length && shown < QUOTE_SHOWN) {
		size_t step = accepted_length(text + shown, length - shown);

		if (step == 0 || (unsigned char)text[shown] < 0x20) {
			used += (size_t)sprintf(out + used, "\\x%02x", (unsigned char)text[shown]);
			step = 1;
		} else if (shown + step > QUOTE_SHOWN) {
			break;
		} else {
			memcpy(out + used, text + shown, step);
			used += step;
		}
		shown += step;
	}
	snprintf(out + used, QUOTE_BYTES - used, "%s", shown < length ? "..." : "");
	return out;
}

#define DIGITS "0123456789"

bool text_means_number(const char *text)
{
	return text[0] != '\0' && strchr(DIGITS ".+-", text[0]) != NULL;
}

bool text_is_number(const char *text, size_t length, const char **why)
{
	const size_t whole = strspn(text, DIGITS);
	char *end;

	*why = "";
	if (text[0] == '+')
		*why = " with a sign";
	else if (text[length - 1] == 'L')
		*why = " with an \"L\" behind it";
	else if (text[0] == '0' && isdigit((unsigned char)text[1]))
		*why = " with a leading zero";
	if (**why != '\0' || text[0] == '-')
		return false;
	if (text[whole] == '.') {
		const size_t fraction = strspn(text + whole + 1, DIGITS);

		return whole + fraction > 0 && whole + 1 + fraction == length;
	}
	/* A number too large becomes the largest. Base 0 would let newer C libraries take 0b11. */
	unsigned long long value =
		strtoull(text, &end, tolower((unsigned char)text[1]) == 'x' ? 16 : 10);
	if (end != text + length)
		return false;
	if (value > UINT32_MAX)
		*why = ", which is more than 32 bits";
	return value <= INT32_MAX;
}
