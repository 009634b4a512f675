/*
 * Numbers from their text. Called by value.c and setting_store.c, in the one thread that reads the
 * configuration.
 */
#include "echopool/config/number.h"

#include <ctype.h>

/* A value that every range refuses, and at which adding digits stops. */
#define TOO_LARGE ((uint64_t)1 << 40)

bool number_is_hexadecimal(const char *text, size_t length)
{
	return length > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
}

size_t number_digits(const char *text, size_t length, bool hexadecimal)
{
	size_t n = 0;

	while (n < length &&
	       (hexadecimal ? isxdigit((unsigned char)text[n]) : isdigit((unsigned char)text[n])))
		n++;
	return n;
}

static uint64_t digit_value(char digit)
{
	if (isdigit((unsigned char)digit))
		return (uint64_t)(digit - '0');
	return (uint64_t)(tolower((unsigned char)digit) - 'a') + 10;
}

/* Adds the digits at the start of text to value, and returns their number. */
static size_t add_digits(const char *text, size_t length, bool hexadecimal, uint64_t *value)
{
	size_t digits = number_digits(text, length, hexadecimal);

	for (size_t i = 0; i < digits && *value < TOO_LARGE; i++)
		*value = *value * (hexadecimal ? 16 : 10) + digit_value(text[i]);
	return digits;
}

/* What is odd about a text that is not all digits; "" when it speaks for itself. */
static const char *oddity(const char *text, size_t length)
{
	if (length > 0 && text[0] == '+')
		return " with a sign";
	if (length > 0 && text[length - 1] == 'L')
		return " with an \"L\" behind it";
	if (length > 1 && text[0] == '0' && isdigit((unsigned char)text[1]))
		return " with a leading zero";
	return "";
}

bool number_parse(const char *text, size_t length, uint32_t *out, const char **why)
{
	bool hexadecimal = number_is_hexadecimal(text, length);
	size_t prefix = hexadecimal ? 2 : 0;
	uint64_t value = 0;
	size_t digits = add_digits(text + prefix, length - prefix, hexadecimal, &value);

	*why = oddity(text, length);
	if (digits == 0 || prefix + digits != length || **why != '\0')
		return false;
	if (value > UINT32_MAX) {
		*why = ", which is more than 32 bits";
		return false;
	}
	*out = (uint32_t)value;
	return true;
}

/* The digits behind a point. */
struct fraction {
	uint64_t thousandths; /* cut, not rounded */
	bool round_up;
	bool above_zero;
};

/* Parses a point and digits. False when anything else follows. */
static bool parse_fraction(const char *text, size_t length, struct fraction *f)
{
	size_t n;

	if (text[0] != '.')
		return false;
	for (n = 1; n < length && isdigit((unsigned char)text[n]); n++) {
		if (n <= 3)
			f->thousandths = f->thousandths * 10 + digit_value(text[n]);
		else if (n == 4)
			f->round_up = text[n] >= '5';
		f->above_zero = f->above_zero || text[n] != '0';
	}
	for (size_t have = n; have < 4; have++)
		f->thousandths *= 10;
	return n == length;
}

bool number_parse_seconds(const char *text, size_t length, uint32_t *out_ms, const char **why)
{
	struct fraction f = {0};
	uint64_t seconds = 0;
	size_t digits = add_digits(text, length, false, &seconds);

	*why = oddity(text, length);
	if (**why != '\0' || length == 0 || (length == 1 && digits == 0))
		return false;
	if (digits < length && !parse_fraction(text + digits, length - digits, &f))
		return false;
	/* Both ends of the range are compared before anything is rounded. */
	if (seconds > NUMBER_SECONDS_MAX || (seconds == NUMBER_SECONDS_MAX && f.above_zero))
		return false;
	if (seconds == 0 && f.thousandths == 0 && f.above_zero)
		return false;
	*out_ms = (uint32_t)(seconds * 1000 + f.thousandths + (f.round_up ? 1 : 0));
	return true;
}
