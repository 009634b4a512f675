/*
 * Numbers from their text, without a silent wrap, octal or locale. Pure: any thread.
 */
#ifndef ECHOPOOL_CONFIG_NUMBER_H
#define ECHOPOOL_CONFIG_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0.001 to 86400 seconds. */
#define NUMBER_SECONDS_MAX 86400

/* True for a text that starts as a hexadecimal number does: 0x and something behind it. */
bool number_is_hexadecimal(const char *text, size_t length);

/* The number of decimal (or hexadecimal) digits at the start of text. */
size_t number_digits(const char *text, size_t length, bool hexadecimal);

/*
 * Parses decimal digits, or hexadecimal ones after 0x. On false, why points to a few words that say
 * what is odd about the text, or to "" when the text itself says enough.
 */
bool number_parse(const char *text, size_t length, uint32_t *out, const char **why);

/*
 * Parses seconds, "300" or "0.25", into milliseconds, rounded. False when it is not a number, or is
 * neither 0 nor from 0.001 to NUMBER_SECONDS_MAX; why is as above.
 */
bool number_parse_seconds(const char *text, size_t length, uint32_t *out_ms, const char **why);

#endif
