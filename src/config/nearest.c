/*
 * The known setting nearest to an unknown one. Called by config.c for its messages, in the one
 * thread that reads the configuration.
 */
#include "echopool/config/nearest.h"

#include <ctype.h>
#include <string.h>

/* Longer paths are near to nothing. */
#define PATH_LENGTH_MAX 40

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/*
 * How many letters must be put in, left out, changed or swapped with their neighbour to make b of
 * a, where case does not count; width is the length of b. Both are at most PATH_LENGTH_MAX long.
 */
static size_t distance(const char *a, const char *b, size_t width)
{
	size_t rows[3][PATH_LENGTH_MAX + 1];
	size_t *before = rows[0];
	size_t *above = rows[1];
	size_t *row = rows[2];

	for (size_t j = 0; j <= width; j++)
		above[j] = j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		row[0] = i;
		for (size_t j = 1; j <= width; j++) {
			size_t changed = same_letter(a[i - 1], b[j - 1]) ? 0 : 1;

			row[j] = smaller(smaller(above[j], row[j - 1]) + 1, above[j - 1] + changed);
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
			    same_letter(a[i - 2], b[j - 1]))
				row[j] = smaller(row[j], before[j - 2] + 1);
		}
		size_t *free_row = before;
		before = above;
		above = row;
		row = free_row;
	}
	return above[width];
}

/* The part behind the last dot. */
static const char *last_name(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot == NULL ? path : dot + 1;
}

/* A third of the letters may differ, but one always may. */
static bool is_near(size_t differences, const char *path)
{
	size_t third = strlen(last_name(path)) / 3;

	return differences <= (third > 1 ? third : 1);
}

const char *nearest_setting(const char *path, bool group, size_t *length)
{
	const char *best = NULL;
	size_t least = PATH_LENGTH_MAX;

	if (strlen(path) > PATH_LENGTH_MAX)
		return NULL;
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		const char *known = settings_table[i].path;
		const char *known_name = last_name(known);
		size_t width = group ? strcspn(known, ".") : strlen(known);
		size_t whole = distance(path, known, width);
		size_t name = group ? whole
				    : distance(last_name(path), known_name, strlen(known_name));
		/* The same name in another group is one difference more. */
		size_t differences = smaller(whole, name + 1);

		if (differences < least && is_near(smaller(whole, name), path)) {
			least = differences;
			best = known;
			*length = width;
		}
	}
	return best;
}
