/*
 * The bytes that echoload sends; see the header.
 */
#include "pattern.h"

#include <string.h>

#include "random.h"

static unsigned char pattern[PATTERN_PERIOD + PATTERN_CHUNK];

void pattern_init(void)
{
	struct random r = random_seeded(1);

	for (size_t i = 0; i < PATTERN_PERIOD; i++)
		pattern[i] = (unsigned char)random_between(&r, 0, 255);
	for (size_t i = PATTERN_PERIOD; i < sizeof(pattern); i++)
		pattern[i] = pattern[i - PATTERN_PERIOD];
}

struct pattern_position pattern_start(uint32_t index)
{
	/* Another prime spreads neighbours over the pattern. */
	const uint64_t at = (uint64_t)index * 7919 % PATTERN_PERIOD;

	return (struct pattern_position){.at = (uint32_t)at};
}

const unsigned char *pattern_bytes(const struct pattern_position *position)
{
	return pattern + position->at;
}

void pattern_advance(struct pattern_position *position, uint32_t count)
{
	position->bytes += count;
	position->at += count;
	while (position->at >= PATTERN_PERIOD)
		position->at -= PATTERN_PERIOD;
}

uint32_t pattern_count_wrong(const struct pattern_position *position, const unsigned char *bytes,
			     uint32_t count, uint32_t *first)
{
	const unsigned char *right = pattern_bytes(position);
	uint32_t wrong = 0;

	if (memcmp(right, bytes, count) == 0)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		if (right[i] != bytes[i] && wrong++ == 0)
			*first = i;
	return wrong;
}
