/*
 * The bytes of a configuration file, before anything reads them as settings, and text shown in
 * messages. Called by the readers of the configuration, in the one thread that reads it.
 */
#include "echopool/config/text.h"

#include <stdio.h>
#include <string.h>

/* One form of UTF-8 character: its length by the first byte, and the range of the second one. */
struct utf8_form {
	unsigned char first_min, first_max, second_min, second_max;
	size_t length;
};

/* Unicode's table of well-formed sequences; C1 control characters (C2 80 to C2 9F) are left out. */
static const struct utf8_form utf8_forms[] = {
	{0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xc2, 0xa0, 0xbf, 2}, {0xc3, 0xdf, 0x80, 0xbf, 2},
	{0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
	{0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
	{0xf4, 0xf4, 0x80, 0x8f, 4},
};

static bool utf8_matches(const struct utf8_form *form, const unsigned char *b, size_t length)
{
	if (b[0] < form->first_min || b[0] > form->first_max || length < form->length)
		return false;
	if (form->length > 1 && (b[1] < form->second_min || b[1] > form->second_max))
		return false;
	for (size_t i = 2; i < form->length; i++) {
		if (b[i] < 0x80 || b[i] > 0xbf)
			return false;
	}
	return true;
}

/* The length, 1 to 4, of the UTF-8 character at text; 0 when there is none (length is at least 1).
 */
static size_t utf8_length(const char *text, size_t length)
{
	for (size_t i = 0; i < sizeof(utf8_forms) / sizeof(utf8_forms[0]); i++) {
		if (utf8_matches(&utf8_forms[i], (const unsigned char *)text, length))
			return utf8_forms[i].length;
	}
	return 0;
}

/* True for the control bytes that a text may hold; CR only as part of CR LF. */
static bool is_layout(const char *text, size_t left)
{
	return text[0] == '\t' || text[0] == '\n' ||
	       (text[0] == '\r' && left > 1 && text[1] == '\n');
}

/* The length of the character at text if a file may hold it, else 0. */
static size_t accepted_length(const char *text, size_t left)
{
	unsigned char first = (unsigned char)text[0];

	if ((first < 0x20 && !is_layout(text, left)) || first == 0x7f)
		return 0;
	return utf8_length(text, left);
}

static void tell_byte(struct findings *f, struct origin where, unsigned char byte)
{
	if (byte == 0)
		findings_add(f, LOG_LEVEL_ERROR, where, NULL,
			     "found a NUL byte; expected UTF-8 text without control bytes");
	else if (byte < 0x20 || byte == 0x7f)
		findings_add(
			f, LOG_LEVEL_ERROR, where, NULL,
			"found the control byte 0x%02x; expected UTF-8 text without control bytes",
			byte);
	else
		findings_add(f, LOG_LEVEL_ERROR, where, NULL,
			     "found the byte 0x%02x, which is not UTF-8 here; expected UTF-8 text",
			     byte);
}

/* Refuses the marks with which other encodings begin. False: this is no UTF-8 at all. */
static bool check_start(char *text, size_t length, struct origin where, struct findings *f)
{
	if (length >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0)) {
		findings_add(f, LOG_LEVEL_ERROR, where, NULL,
			     "found UTF-16 text; expected UTF-8 text");
		return false;
	}
	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		findings_add(f, LOG_LEVEL_ERROR, where, NULL,
			     "found a byte order mark; expected UTF-8 text without one");
		memset(text, ' ', 3);
	}
	return true;
}

bool text_check(char *text, size_t length, struct origin start, struct findings *f)
{
	struct origin where = start;
	uint32_t told_line = UINT32_MAX; /* no line yet */

	if (!check_start(text, length, start, f))
		return false;
	for (size_t at = 0; at < length;) {
		size_t step = accepted_length(text + at, length - at);

		where.order = start.override == NULL ? at : start.order;
		if (step == 0) {
			if (where.line != told_line)
				tell_byte(f, where, (unsigned char)text[at]);
			told_line = where.line;
			text[at] = TEXT_REFUSED;
			step = 1;
		} else if (text[at] == '\n') {
			where.line++;
		}
		at += step;
	}
	return true;
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
