/*
 * The known setting nearest to an unknown one. Called by tree.c and override.c, in the one thread
 * that reads the configuration.
 */
#include "echopool/config/loading.h"

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
	size_t d[PATH_LENGTH_MAX + 1][PATH_LENGTH_MAX + 1];
	const size_t height = strlen(a);

	for (size_t i = 0; i <= height; i++)
		d[i][0] = i;
	for (size_t j = 1; j <= width; j++) {
		d[0][j] = j;
		for (size_t i = 1; i <= height; i++) {
			size_t changed = same_letter(a[i - 1], b[j - 1]) ? 0 : 1;

			d[i][j] = smaller(smaller(d[i - 1][j], d[i][j - 1]) + 1,
					  d[i - 1][j - 1] + changed);
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
			    same_letter(a[i - 2], b[j - 1]))
				d[i][j] = smaller(d[i][j], d[i - 2][j - 2] + 1);
		}
	}
	return d[height][width];
}

/* The part behind the last dot. */
static const char *last_name(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot == NULL ? path : dot + 1;
}

const char *nearest_setting(const char *path, bool group, size_t *length)
{
	/* A third of the letters may differ, but one always may. */
	const size_t third = strlen(last_name(path)) / 3;
	const size_t most = third > 1 ? third : 1;
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

		if (differences < least && smaller(whole, name) <= most) {
			least = differences;
			best = known;
			*length = width;
		}
	}
	return best;
}

void nearest_report(struct loading *l, struct origin where, const char *path, bool group)
{
	const char *kind = group ? "group" : "setting";
	size_t length;
	const char *near = nearest_setting(path, group, &length);

	if (near != NULL)
		findings_add(&l->findings, LOG_LEVEL_ERROR, where, path,
			     "found an unknown %s; did you mean %.*s?", kind, (int)length, near);
	else
		findings_add(&l->findings, LOG_LEVEL_ERROR, where, path,
			     "found an unknown %s; expected one of those in echopool.conf(5)",
			     kind);
}
