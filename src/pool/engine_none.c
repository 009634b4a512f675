/*
 * In place of engine_uring.c and engine_probe.c in a build without liburing.
 */
#include <errno.h>

#include "echopool/pool/engine.h"

struct engine *engine_uring_open(const struct bell *bell, size_t buffer_bytes)
{
	(void)bell;
	(void)buffer_bytes;
	errno = ENOSYS;
	return NULL;
}

bool engine_uring_works(const char **why)
{
	*why = "this build is without liburing";
	return false;
}
