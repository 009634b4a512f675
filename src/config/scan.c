/*
 * The tokens of libconfig's format. Called by value.c and outline.c, in the one thread that reads
 * the configuration. The position only ever moves forward, so any text is read in time linear in
 * its size.
 */
#include "echopool/config/scan.h"

#include "echopool/config/text.h"

#include <ctype.h>
#include <string.h>

#define INCLUDE "@include"

static char byte_at(const struct scanner *s, size_t at)
{
	return at < s->length ? s->text[at] : '\0';
}

static bool starts_with(const struct scanner *s, size_t at, const char *prefix)
{
	size_t n = strlen(prefix);

	return s->length - at >= n && memcmp(s->text + at, prefix, n) == 0;
}

/* The offset of the end of the line that at is in. */
static size_t line_end(const struct scanner *s, size_t at)
{
	const char *newline = memchr(s->text + at, '\n', s->length - at);

	return newline == NULL ? s->length : (size_t)(newline - s->text);
}

struct origin scan_origin(const struct scanner *s, const struct token *t)
{
	if (s->override != NULL)
		return (struct origin){.order = s->order, .override = s->override};
	return (struct origin){.order = (size_t)(t->start - s->text), .line = t->line};
}

void scan_cut(struct scanner *s)
{
	s->cut = true;
	s->at = s->length;
	s->token = (struct token){.kind = TOKEN_END, .start = s->text + s->at, .line = s->line};
}

bool scan_is(const struct scanner *s, char mark)
{
	return s->token.kind == TOKEN_MARK && s->token.mark == mark;
}

void scan_tell(const struct scanner *s, const struct token *t, const char *subject,
	       const char *right)
{
	char quoted[QUOTE_BYTES];

	if (t->told || (t->kind == TOKEN_END && s->cut))
		return;
	const char *found = t->kind == TOKEN_END ? "the end"
						 : text_quote(t->start, t->length, quoted);
	/* A mark on its own is easily taken for the message's own. */
	const char *quote = t->length == 1 && ispunct((unsigned char)t->start[0]) ? "\"" : "";
	findings_add(s->findings, LOG_LEVEL_ERROR, scan_origin(s, t), subject,
		     "found %s%s%s; expected %s", quote, found, quote, right);
}

/* Tells an error at the current position, for a token that is not complete yet. */
static void tell_here(struct scanner *s, size_t at, const char *subject, const char *what)
{
	struct token here = {.start = s->text + at, .line = s->line};

	findings_add(s->findings, LOG_LEVEL_ERROR, scan_origin(s, &here), subject, "%s", what);
}

/* Passes everything up to end, and counts the lines. */
static void pass_over(struct scanner *s, size_t end)
{
	for (; s->at < end; s->at++) {
		if (s->text[s->at] == '\n')
			s->line++;
	}
}

static void skip_block_comment(struct scanner *s)
{
	const char *end = memmem(s->text + s->at + 2, s->length - s->at - 2, "*/", 2);

	if (end == NULL) {
		tell_here(s, s->at, NULL, "found a comment that is not closed; expected \"*/\"");
		s->cut = true;
		pass_over(s, s->length);
	} else {
		pass_over(s, (size_t)(end - s->text) + 2);
	}
}

/* Refuses an @include, with the file's name if one follows on its line. */
static void skip_include(struct scanner *s)
{
	size_t end = s->at + strlen(INCLUDE);
	size_t limit = line_end(s, s->at);

	tell_here(s, s->at, INCLUDE, "found an include; expected all settings in one file");
	while (end < limit && (s->text[end] == ' ' || s->text[end] == '\t'))
		end++;
	if (byte_at(s, end) == '"') {
		const char *quote = memchr(s->text + end + 1, '"', limit - end - 1);

		end = quote == NULL ? limit : (size_t)(quote - s->text) + 1;
	}
	pass_over(s, end);
}

static bool starts_line_comment(const struct scanner *s, size_t at)
{
	return byte_at(s, at) == '#' || starts_with(s, at, "//");
}

/* Moves to the first byte of the next token. */
static void skip_blanks(struct scanner *s)
{
	while (s->at < s->length) {
		char c = s->text[s->at];

		if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == TEXT_REFUSED)
			pass_over(s, s->at + 1);
		else if (starts_line_comment(s, s->at))
			pass_over(s, line_end(s, s->at));
		else if (starts_with(s, s->at, "/*"))
			skip_block_comment(s);
		else if (starts_with(s, s->at, INCLUDE))
			skip_include(s);
		else
			break;
	}
}

/* The length of the escape at at, or 0 when it is none that may stand in a string. */
static size_t escape_length(const struct scanner *s, size_t at)
{
	char c = byte_at(s, at + 1);

	if (c != '\0' && strchr("fnrt\\\"", c) != NULL)
		return 2;
	if (c == 'x' && isxdigit((unsigned char)byte_at(s, at + 2)) &&
	    isxdigit((unsigned char)byte_at(s, at + 3)) && !starts_with(s, at + 2, "00"))
		return 4;
	return 0;
}

static void tell_escape(struct scanner *s, size_t at)
{
	if (starts_with(s, at, "\\x00"))
		tell_here(s, at, s->subject,
			  "found \"\\x00\" in a string; expected text without NUL");
	else
		tell_here(s, at, s->subject,
			  "found an unknown escape in a string; "
			  "expected one of \\\\ \\\" \\f \\n \\r \\t and \\xNN");
	s->token.told = true;
}

/* Ends an unclosed string where the setting probably ends, so that what follows is still read. */
static size_t guess_string_end(const struct scanner *s, size_t start)
{
	size_t end = start + 1;

	while (end < s->length && strchr(";])}\r\n", s->text[end]) == NULL)
		end++;
	return end;
}

/* Returns the offset behind the string that starts at the scanner's position. */
static size_t string_end(struct scanner *s)
{
	size_t limit = line_end(s, s->at);
	size_t at = s->at + 1;

	/* One unclosed string in a line is told, and the line is not searched again and again. */
	if (s->at < s->unclosed_end) {
		s->token.told = true;
		return guess_string_end(s, s->at);
	}
	while (at < limit && s->text[at] != '"') {
		size_t step = 1;

		if (s->text[at] == '\\' && at + 1 < limit) {
			step = escape_length(s, at);
			if (step == 0 && !s->token.told)
				tell_escape(s, at);
			if (step == 0)
				step = 2;
		} else if (s->text[at] == TEXT_REFUSED) {
			s->token.told = true;
		}
		at += step;
	}
	if (at < limit)
		return at + 1;
	s->unclosed_end = limit;
	if (!s->token.told)
		tell_here(s, s->at, s->subject,
			  "found a string that is not closed in its line; expected a closing '\"'");
	s->token.told = true;
	return guess_string_end(s, s->at);
}

static bool ends_word(const struct scanner *s, size_t at)
{
	char c = s->text[at];

	return c == '\0' || strchr(" \t\r\n=:;,{}[]()\"", c) != NULL || c == TEXT_REFUSED ||
	       starts_line_comment(s, at) || starts_with(s, at, "/*") ||
	       starts_with(s, at, INCLUDE);
}

static size_t word_end(struct scanner *s)
{
	size_t at = s->at + 1;

	while (at < s->length && !ends_word(s, at))
		at++;
	s->token.told = byte_at(s, at) == TEXT_REFUSED;
	return at;
}

void scan_next(struct scanner *s)
{
	size_t end;

	skip_blanks(s);
	s->token = (struct token){.start = s->text + s->at, .line = s->line};
	if (s->at >= s->length) {
		s->token.kind = TOKEN_END;
		return;
	}
	char c = s->text[s->at];
	if (c == '"') {
		s->token.kind = TOKEN_STRING;
		end = string_end(s);
	} else if (c != '\0' && strchr("=:;,{}[]()", c) != NULL) {
		s->token.kind = TOKEN_MARK;
		s->token.mark = c == ':' ? '=' : c;
		end = s->at + 1;
	} else {
		s->token.kind = TOKEN_WORD;
		end = word_end(s);
	}
	s->token.length = end - s->at;
	s->at = end;
}

void scan_start(struct scanner *s)
{
	s->at = 0;
	s->line = 1;
	s->unclosed_end = 0;
	s->cut = false;
	scan_next(s);
}
