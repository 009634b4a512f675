/*
 * Replacements of the functions that allocate; see inject.h. Called by any thread of the program,
 * and before main() by the loader, before the originals are known.
 *
 * What the C library allocates for the program (asprintf, open_memstream, fopen) comes through
 * malloc() too. What libconfig asks for is a kind of its own, whichever function it calls.
 */
#include "inject.h"

#include <errno.h>
#include <string.h>

/* Whether this thread allocates for a copy, which has been counted. */
static _Thread_local bool copying;

static bool fails(enum call call, const void *caller)
{
	return !copying && inject_decide(inject_is_libconfig(caller) ? CALL_libconfig_alloc : call,
					 caller) == VERDICT_FAIL;
}

/*
 * Looking for the original may itself allocate. A few zeroed bytes serve that; they are never
 * given back. Only the loader's thread exists then.
 */
static _Alignas(16) unsigned char early[4096];
static size_t early_used;

static void *early_alloc(size_t bytes)
{
	void *found = early + early_used;

	early_used += (bytes + 15) & ~(size_t)15;
	if (early_used > sizeof(early))
		__builtin_trap();
	return found;
}

static bool is_early(const void *p)
{
	return (const unsigned char *)p >= early &&
	       (const unsigned char *)p < early + sizeof(early);
}

REPLACE(void *, malloc, "malloc", size_t bytes)
{
	if (inject_is_looking())
		return early_alloc(bytes);
	return fails(CALL_malloc, CALLER) ? NULL : next_malloc()(bytes);
}

REPLACE(void *, calloc, "calloc", size_t count, size_t bytes)
{
	if (inject_is_looking())
		return early_alloc(count * bytes);
	return fails(CALL_calloc, CALLER) ? NULL : next_calloc()(count, bytes);
}

REPLACE(void *, realloc, "realloc", void *p, size_t bytes)
{
	return fails(CALL_realloc, CALLER) ? NULL : next_realloc()(p, bytes);
}

REPLACE(void *, reallocarray, "reallocarray", void *p, size_t count, size_t bytes)
{
	return fails(CALL_realloc, CALLER) ? NULL : next_reallocarray()(p, count, bytes);
}

REPLACE(void *, aligned_alloc, "aligned_alloc", size_t alignment, size_t bytes)
{
	return fails(CALL_aligned_alloc, CALLER) ? NULL : next_aligned_alloc()(alignment, bytes);
}

REPLACE(void, free, "free", void *p)
{
	if (!is_early(p))
		next_free()(p);
}

/* From the first malloc() that there is, a sanitizer's or our own, so that free() takes it back. */
static char *copy(const char *text, size_t length)
{
	char *made;

	copying = true;
	made = inject_malloc(length + 1);
	copying = false;
	if (!made)
		return NULL;
	memcpy(made, text, length);
	made[length] = '\0';
	return made;
}

/* The original would come through malloc() without its caller being known there. */
extern char *inject_strdup(const char *text) __asm__("strdup");
char *inject_strdup(const char *text)
{
	return fails(CALL_strdup, CALLER) ? NULL : copy(text, strlen(text));
}

extern char *inject_internal_strdup(const char *text) __asm__("__strdup");
char *inject_internal_strdup(const char *text)
{
	return fails(CALL_strdup, CALLER) ? NULL : copy(text, strlen(text));
}

extern char *inject_strndup(const char *text, size_t most) __asm__("strndup");
char *inject_strndup(const char *text, size_t most)
{
	return fails(CALL_strdup, CALLER) ? NULL : copy(text, strnlen(text, most));
}
