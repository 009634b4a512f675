/*
 * What libconfig's tree cannot show, found in a file's text before libconfig reads it. Called by
 * config.c, in the one thread that reads the configuration.
 *
 * This is no second reader: it finds where strings, comments, names and brackets begin and end, and
 * whether what they hold survives libconfig; whether they follow each other rightly is libconfig's
 * business. The position only moves forward, so any text takes time linear in its size.
 */
#include "echopool/config/loading.h"

#include "echopool/config/text.h"

#include <ctype.h>
#include <string.h>

#define INCLUDE "@include"

/* libconfig's time grows with the square of the settings, its stack with the brackets. */
#define SETTINGS_MAX 256
#define NESTING_MAX  8

/* The bytes that end a word; the last is TEXT_REFUSED. */
#define WORD_ENDS " \t\r\n=:;,{}[]()\"#/@\x01"

/* More than a message shows of a path, and than the table's longest. */
#define PATH_BYTES (QUOTE_SHOWN + 5)

struct name {
	char path[PATH_BYTES]; /* "pool.workers", cut if it is longer */
	uint32_t line;
};

struct bracket {
	char closing;
	uint32_t line;
	struct name *name; /* whose value it begins */
};

struct scan {
	struct loading *loading;
	char *at;
	uint32_t line;
	uint32_t broken_line;
	char previous; /* the token before: a mark, '"' for a string, 'w' for a word */
	const char *word;
	int word_length;
	struct name names[1 + SETTINGS_MAX]; /* the first stands for the file */
	struct name *end;
	struct name *name; /* what values belong to */
	struct bracket open[NESTING_MAX];
	size_t depth;
};

static void mark_reported(struct scan *s, const struct name *name)
{
	const struct setting *setting = settings_find(name->path);

	if (setting != NULL)
		s->loading->reported[setting - settings_table] = true;
}

static void report(struct scan *s, uint32_t line, const struct name *name, const char *found,
		   const char *expected)
{
	mark_reported(s, name);
	findings_add(&s->loading->findings, LOG_LEVEL_ERROR, (struct origin){.line = line},
		     name->path[0] != '\0' ? name->path : NULL, "found %s; expected %s", found,
		     expected);
}

/* libconfig may stop in this line. */
static void set_broken(struct scan *s, uint32_t line)
{
	if (line < s->broken_line)
		s->broken_line = line;
}

/* Reports an error, and cuts off what follows. */
static void cut(struct scan *s, const struct name *name, const char *found, const char *expected)
{
	report(s, s->line, name, found, expected);
	set_broken(s, s->line);
	*s->at = '\0';
	s->depth = 0;
}

static void pass_block_comment(struct scan *s)
{
	const char *end = strstr(s->at + 2, "*/");

	if (end == NULL) {
		cut(s, s->names, "a comment that is not closed", "\"*/\"");
		return;
	}
	for (; s->at < end + 2; s->at++)
		s->line += *s->at == '\n';
}

/* Overwrites an @include, with the file's name if one follows in its line. */
static void refuse_include(struct scan *s)
{
	static const struct name include = {.path = INCLUDE};
	size_t length = strlen(INCLUDE);

	report(s, s->line, &include, "an include", "all settings in one file");
	length += strspn(s->at + length, " \t");
	if (s->at[length] == '"') {
		length += 1 + strcspn(s->at + length + 1, "\"\n");
		length += s->at[length] == '"';
	}
	memset(s->at, ' ', length);
	s->at += length;
}

/* The length of the escape at text, or 0 when it is none that may stand in a string. */
static size_t escape_length(const char *text)
{
	if (text[1] != '\0' && strchr("fnrt\\\"", text[1]) != NULL)
		return 2;
	if (text[1] == 'x' && isxdigit((unsigned char)text[2]) &&
	    isxdigit((unsigned char)text[3]) && strncmp(text + 2, "00", 2) != 0)
		return 4;
	return 0;
}

/* Returns the length of the string at s->at, or 0: not closed. Sets the first wrong escape. */
static size_t string_length(struct scan *s, const char **wrong)
{
	const char *c = s->at + 1;

	*wrong = NULL;
	while (*c != '"') {
		size_t step = *c == '\\' ? escape_length(c) : 1;

		if (*c == '\0' || *c == '\n')
			return 0;
		if (*c == TEXT_REFUSED)
			mark_reported(s, s->name);
		if (step == 0 && *wrong == NULL)
			*wrong = c;
		c += step > 0 ? step : 1;
	}
	return (size_t)(c - s->at) + 1;
}

static void pass_string(struct scan *s)
{
	char quoted[QUOTE_BYTES];
	const char *wrong;
	size_t length = string_length(s, &wrong);
	bool in_array = s->depth > 0 && s->open[s->depth - 1].closing == ']';

	if (wrong != NULL && strncmp(wrong, "\\x00", 4) == 0)
		report(s, s->line, s->name, "\"\\x00\" in a string", "text without NUL");
	else if (wrong != NULL)
		report(s, s->line, s->name, "an unknown escape in a string",
		       "one of \\\\ \\\" \\f \\n \\r \\t and \\xNN");
	if (length == 0) {
		cut(s, s->name, "a string that is not closed in its line", "a closing '\"'");
		return;
	}
	/* libconfig joins strings that stand side by side; here a comma is rather forgotten. */
	if (s->previous == '"')
		report(s, s->line, s->name, text_quote(s->at, length, quoted),
		       in_array ? "\",\" or \"]\"" : "one string");
	s->previous = '"';
	s->at += length;
}

static void open_bracket(struct scan *s)
{
	if (s->depth == NESTING_MAX) {
		cut(s, s->name, "more than 8 levels of nesting", "a setting within its group");
		return;
	}
	s->open[s->depth++] = (struct bracket){strchr("{}[]()", *s->at)[1], s->line, s->name};
}

/* One that does not match is left to libconfig. */
static void close_bracket(struct scan *s)
{
	if (s->depth > 0 && s->open[s->depth - 1].closing == *s->at)
		s->name = s->open[--s->depth].name;
}

/* The word before a "=" is the name of what follows. */
static void begin_setting(struct scan *s)
{
	const struct name *group = s->depth > 0 ? s->open[s->depth - 1].name : s->names;
	char once[64];

	if (s->previous != 'w')
		return;
	if (s->end == s->names + 1 + SETTINGS_MAX) {
		cut(s, s->names, "more than 256 settings", "each setting once");
		return;
	}
	s->name = s->end++;
	s->name->line = s->line;
	const int used = snprintf(s->name->path, PATH_BYTES, "%s%s", group->path,
				  group == s->names ? "" : ".");
	snprintf(s->name->path + used, PATH_BYTES - (size_t)used, "%.*s", s->word_length, s->word);
	for (const struct name *other = s->names; other < s->name; other++) {
		if (strcmp(other->path, s->name->path) == 0) {
			snprintf(once, sizeof(once), "once (the first is in line %u)", other->line);
			report(s, s->line, s->name, "a second time", once);
			set_broken(s, s->line);
			break;
		}
	}
}

/* Tells a number that is not plain, which some libconfig refuses; why says what is odd about it. */
static void refuse_number(struct scan *s, const char *why)
{
	const struct setting *setting = settings_find(s->name->path);
	char quoted[QUOTE_BYTES], found[QUOTE_BYTES + 32], range[SETTING_RANGE_BYTES];

	text_quote(s->word, (size_t)s->word_length, quoted);
	snprintf(found, sizeof(found), "%s%s", quoted, why);
	report(s, s->line, s->name, found,
	       setting != NULL ? setting_range(setting, range) : "a plain number");
	set_broken(s, s->line);
}

/* Words that are no numbers are libconfig's business. */
static void pass_word(struct scan *s)
{
	int length = (int)strcspn(s->at, WORD_ENDS);
	const char *why;

	s->word = s->at;
	s->word_length = length > 0 ? length : 1; /* "/" or "@" alone */
	s->previous = 'w';
	s->at += s->word_length;
	if (text_means_number(s->word) && !text_is_number(s->word, (size_t)s->word_length, &why))
		refuse_number(s, why);
}

static void pass_mark(struct scan *s)
{
	const char mark = *s->at;
	const char found[] = {'"', mark, '"', '\0'};

	/* libconfig 1.7 takes such a comma. */
	if (s->previous == ',' && strchr(",])", mark) != NULL) {
		report(s, s->line, s->name, found, "a value after the comma, or no comma");
		set_broken(s, s->line);
	}
	if (strchr("{[(", mark) != NULL)
		open_bracket(s);
	else if (strchr("}])", mark) != NULL)
		close_bracket(s);
	else if (strchr("=:", mark) != NULL)
		begin_setting(s);
	s->previous = mark == ':' ? '=' : mark;
	s->at += *s->at != '\0';
}

static void pass_next(struct scan *s)
{
	if (*s->at == TEXT_REFUSED) {
		*s->at = ' ';
		set_broken(s, s->line);
	}
	if (strchr(" \t\r\n", *s->at) != NULL)
		s->line += *s->at++ == '\n';
	else if (*s->at == '#' || strncmp(s->at, "//", 2) == 0)
		s->at += strcspn(s->at, "\n");
	else if (strncmp(s->at, "/*", 2) == 0)
		pass_block_comment(s);
	else if (strncmp(s->at, INCLUDE, strlen(INCLUDE)) == 0)
		refuse_include(s);
	else if (*s->at == '"')
		pass_string(s);
	else if (strchr("{[(}])=:;,", *s->at) != NULL)
		pass_mark(s);
	else
		pass_word(s);
}

uint32_t guard_check(struct loading *l, char *text)
{
	struct scan s = {.loading = l, .at = text, .line = 1, .broken_line = UINT32_MAX};
	char expected[] = "\"}\" at its end";

	s.name = s.names;
	s.end = s.names + 1;
	while (*s.at != '\0')
		pass_next(&s);
	for (const struct bracket *b = s.open; b < s.open + s.depth; b++) {
		expected[1] = b->closing;
		report(&s, b->line, b->name,
		       b->closing == '}' ? "a group that is not closed"
					 : "a bracket that is not closed",
		       expected);
		set_broken(&s, b->line);
	}
	return s.broken_line;
}
