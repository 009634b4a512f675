/*
 * The tokens of libconfig's format, one after the other, without libconfig. Comments and @include
 * are skipped; what is wrong in a token is told in the findings. One thread at a time.
 */
#ifndef ECHOPOOL_CONFIG_SCAN_H
#define ECHOPOOL_CONFIG_SCAN_H

#include "echopool/config/findings.h"

enum token_kind {
	TOKEN_END,
	TOKEN_MARK, /* one of = : ; , { } [ ] ( ) */
	TOKEN_STRING,
	TOKEN_WORD /* a name, a number, true, or anything else that stands alone */
};

struct token {
	enum token_kind kind;
	char mark; /* of TOKEN_MARK; '=' for ':' as well */
	bool told; /* what is wrong with it has been told */
	const char *start;
	size_t length;
	uint32_t line;
};

struct scanner {
	struct token token; /* the one to look at */
	const char *text;
	size_t length;
	size_t at;
	uint32_t line;
	const char *subject;  /* the setting that a string belongs to, for messages; not owned */
	size_t unclosed_end;  /* the end of the last line with a string that is not closed */
	bool cut;             /* the rest was given up: a missing end is then no news */
	const char *override; /* the -o argument that text belongs to; NULL: a file */
	size_t order;         /* of the override */
	struct findings *findings;
};

/* Starts on text (not owned, not NUL-ended) and moves to the first token. */
void scan_start(struct scanner *s);

/* Moves to the next token. */
void scan_next(struct scanner *s);

/* True when the token to look at is this mark. */
bool scan_is(const struct scanner *s, char mark);

/* Gives up what follows. */
void scan_cut(struct scanner *s);

/* Where a token was written, for a message. */
struct origin scan_origin(const struct scanner *s, const struct token *t);

/* Tells that t is not what is right there, unless more has been told: of t, or of the end. */
void scan_tell(const struct scanner *s, const struct token *t, const char *subject,
	       const char *right);

#endif
