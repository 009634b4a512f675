/*
 * One value of the format: recognised by its text, its strings decoded. Called by outline.c for
 * each setting of a file and by config.c for each -o, in the one thread that reads the
 * configuration.
 */
#include "echopool/config/value.h"

#include "echopool/config/number.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_word(const char *text, size_t length, const char *word)
{
	return length == strlen(word) && strncasecmp(text, word, length) == 0;
}

static bool is_integer(const char *text, size_t length)
{
	bool hexadecimal = number_is_hexadecimal(text, length);
	size_t at = hexadecimal ? 2 : length > 0 && (text[0] == '-' || text[0] == '+');
	size_t digits = number_digits(text + at, length - at, hexadecimal);

	at += digits;
	if (at < length && text[at] == 'L')
		at++;
	if (at < length && text[at] == 'L')
		at++;
	return digits > 0 && at == length;
}

/* A sign, digits, a point, digits, and an exponent: at least the point and one digit. */
static bool is_decimal(const char *text, size_t length)
{
	size_t at = length > 0 && (text[0] == '-' || text[0] == '+');
	size_t whole = number_digits(text + at, length - at, false);

	at += whole;
	if (at == length || text[at] != '.')
		return false;
	at++;
	size_t fraction = number_digits(text + at, length - at, false);
	at += fraction;
	if (at < length && (text[at] == 'e' || text[at] == 'E')) {
		at++;
		if (at < length && (text[at] == '-' || text[at] == '+'))
			at++;
		size_t exponent = number_digits(text + at, length - at, false);
		at += exponent;
		if (exponent == 0)
			return false;
	}
	return whole + fraction > 0 && at == length;
}

void value_set_word(struct value *v, const char *text, size_t length)
{
	v->raw = text;
	v->raw_length = length;
	v->truth = is_word(text, length, "true");
	if (v->truth || is_word(text, length, "false"))
		v->kind = VALUE_BOOL;
	else if (is_integer(text, length))
		v->kind = VALUE_INTEGER;
	else if (is_decimal(text, length))
		v->kind = VALUE_DECIMAL;
	else
		v->kind = VALUE_WORD;
}

static char decode_escape(const char *escape)
{
	switch (escape[1]) {
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'x':
		return (char)strtoul((char[]){escape[2], escape[3], '\0'}, NULL, 16);
	default:
		return escape[1];
	}
}

/* Writes the text between the quotes of a string token, which the scanner has checked, to out. */
static void decode_string(const struct token *t, char *out)
{
	size_t used = 0;

	for (size_t i = 1; i + 1 < t->length; i++) {
		if (t->start[i] == '\\') {
			out[used++] = decode_escape(t->start + i);
			i += t->start[i + 1] == 'x' ? 3 : 1;
		} else {
			out[used++] = t->start[i];
		}
	}
	out[used] = '\0';
}

static void parse_string(struct scanner *s, struct value *v)
{
	v->kind = VALUE_STRING;
	v->raw_length = s->token.length;
	/* No decoded string is longer than its text. */
	v->string = malloc(s->token.length + 1);
	if (v->string == NULL) {
		s->findings->no_memory = true;
		v->told = true;
	}
	if (!v->told)
		decode_string(&s->token, v->string);
	scan_next(s);
}

static bool is_opener(const struct scanner *s)
{
	return scan_is(s, '{') || scan_is(s, '[') || scan_is(s, '(');
}

static bool is_closer(const struct scanner *s)
{
	return scan_is(s, '}') || scan_is(s, ']') || scan_is(s, ')');
}

static void tell_nesting(struct scanner *s, const char *subject)
{
	findings_add(s->findings, LOG_LEVEL_ERROR, scan_origin(s, &s->token), subject,
		     "found more than %d levels of nesting; expected a setting within its group",
		     VALUE_NESTING_MAX);
	scan_cut(s);
}

/* Passes from an opening bracket to behind its closing one. False: nested too deep. */
static bool skip_nested(struct scanner *s, const char *subject, size_t depth)
{
	size_t open = 0;

	do {
		if (is_opener(s))
			open++;
		else if (is_closer(s))
			open--;
		if (depth + open > VALUE_NESTING_MAX) {
			tell_nesting(s, subject);
			return false;
		}
		scan_next(s);
	} while (open > 0 && s->token.kind != TOKEN_END);
	if (open > 0)
		scan_tell(s, &s->token, subject, "a closing bracket");
	return true;
}

/* Adds an empty element to the array; NULL: memory is short. */
static struct value *add_element(struct scanner *s, struct value *array, size_t *capacity)
{
	if (array->count == *capacity) {
		size_t larger = *capacity == 0 ? 8 : *capacity * 2;
		struct value *elements = reallocarray(array->elements, larger, sizeof(*elements));

		if (elements == NULL) {
			s->findings->no_memory = true;
			array->told = true;
			return NULL;
		}
		array->elements = elements;
		*capacity = larger;
	}
	struct value *element = &array->elements[array->count++];
	*element = (struct value){0};
	return element;
}

static void parse_scalar(struct scanner *s, struct value *v)
{
	v->where = scan_origin(s, &s->token);
	v->raw = s->token.start;
	v->told = s->token.told;
	if (s->token.kind == TOKEN_STRING) {
		parse_string(s, v);
	} else {
		value_set_word(v, s->token.start, s->token.length);
		scan_next(s);
	}
}

/* libconfig joins strings that stand side by side; here it is rather a comma or ";" forgotten. */
static void refuse_more_strings(struct scanner *s, const char *subject, struct value *v)
{
	if (v->kind != VALUE_STRING || s->token.kind != TOKEN_STRING)
		return;
	if (!v->told)
		scan_tell(s, &s->token, subject, "one string");
	v->told = true;
	while (s->token.kind == TOKEN_STRING)
		scan_next(s);
}

/* Parses one element. False: it is none, which has been told. */
static bool parse_element(struct scanner *s, const char *subject, struct value *array,
			  size_t *capacity)
{
	if (s->token.kind != TOKEN_STRING && s->token.kind != TOKEN_WORD) {
		scan_tell(s, &s->token, subject,
			  array->count == 0 ? "a value of the array, or \"]\""
					    : "a value after the comma, or no comma");
		return false;
	}
	struct value *element = add_element(s, array, capacity);
	if (element == NULL)
		return false;
	parse_scalar(s, element);
	array->told = array->told || element->told;
	return true;
}

/* After an error in an array: passes what is left of it. False: nested too deep. */
static bool skip_rest_of_array(struct scanner *s, const char *subject, size_t depth)
{
	while (s->token.kind != TOKEN_END && !scan_is(s, ';') && !is_closer(s)) {
		if (!is_opener(s))
			scan_next(s);
		else if (!skip_nested(s, subject, depth))
			return false;
	}
	if (scan_is(s, ']'))
		scan_next(s);
	return true;
}

static bool parse_array(struct scanner *s, const char *subject, size_t depth, struct value *v)
{
	size_t capacity = 0;
	bool good = true;

	v->kind = VALUE_ARRAY;
	scan_next(s);
	while (good && !(scan_is(s, ']') && v->count == 0)) {
		good = parse_element(s, subject, v, &capacity);
		if (!good || scan_is(s, ']'))
			break;
		good = scan_is(s, ',');
		if (good)
			scan_next(s);
		else
			scan_tell(s, &s->token, subject, "\",\" or \"]\"");
	}
	if (good) {
		scan_next(s);
		return true;
	}
	v->told = true;
	return skip_rest_of_array(s, subject, depth + 1);
}

static bool parse_bracketed(struct scanner *s, const char *subject, size_t depth, struct value *v)
{
	if (depth + 1 > VALUE_NESTING_MAX) {
		tell_nesting(s, subject);
		return false;
	}
	if (scan_is(s, '['))
		return parse_array(s, subject, depth, v);
	/* No setting is a list, and a group is none of the values that are looked into here. */
	v->kind = scan_is(s, '(') ? VALUE_LIST : VALUE_GROUP;
	return skip_nested(s, subject, depth);
}

bool value_parse(struct scanner *s, const char *subject, size_t depth, struct value *v)
{
	*v = (struct value){
		.where = scan_origin(s, &s->token),
		.raw = s->token.start,
	};
	if (is_opener(s))
		return parse_bracketed(s, subject, depth, v);
	if (s->token.kind == TOKEN_STRING || s->token.kind == TOKEN_WORD) {
		parse_scalar(s, v);
		refuse_more_strings(s, subject, v);
		return true;
	}
	scan_tell(s, &s->token, subject, "a value");
	v->told = true;
	return true;
}

void value_free(struct value *v)
{
	for (size_t i = 0; i < v->count; i++)
		free(v->elements[i].string);
	free(v->elements);
	free(v->string);
	*v = (struct value){0};
}

const char *value_found(const struct value *v, char out[static QUOTE_BYTES])
{
	switch (v->kind) {
	case VALUE_ARRAY:
		return "an array";
	case VALUE_LIST:
		return "a list";
	case VALUE_GROUP:
		return "a group";
	default:
		return text_quote(v->raw, v->raw_length, out);
	}
}
