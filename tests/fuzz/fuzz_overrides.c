/*
 * Fuzz target: the input is the texts of -o options, each ended by a NUL.
 */
#include "properties.h"

#include <stdlib.h>
#include <string.h>

/* More in one input would show nothing new. */
#define OVERRIDES_MAX 64

/* Returns a copy in a block of just its size; never NULL. */
static char *copy_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (text == NULL)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *overrides[OVERRIDES_MAX] = {0};
	size_t count = 0;

	while (size > 0 && count < OVERRIDES_MAX) {
		const uint8_t *end = memchr(data, '\0', size);
		size_t length = end != NULL ? (size_t)(end - data) : size;

		overrides[count++] = copy_text(data, length);
		size -= end != NULL ? length + 1 : length;
		data += end != NULL ? length + 1 : length;
	}
	check_load(NULL, overrides, count);
	while (count > 0)
		free(overrides[--count]);
	return 0;
}
