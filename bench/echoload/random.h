/*
 * Random numbers that a seed repeats: erand48(3) on a state of one's own. Each struct is used by
 * one thread.
 */
#ifndef ECHOLOAD_RANDOM_H
#define ECHOLOAD_RANDOM_H

#include <stdint.h>
#include <stdlib.h>

struct random {
	unsigned short state[3];
};

static inline struct random random_seeded(uint32_t seed)
{
	struct random r = {{0x330e, (unsigned short)seed, (unsigned short)(seed >> 16)}};

	/* The first numbers of neighbouring seeds are alike. */
	for (int i = 0; i < 8; i++)
		(void)erand48(r.state);
	return r;
}

/* At least 0 and below 1. */
static inline double random_share(struct random *r)
{
	return erand48(r->state);
}

/* A whole number from least to most, equally likely. */
static inline uint32_t random_between(struct random *r, uint32_t least, uint32_t most)
{
	return least + (uint32_t)(random_share(r) * ((double)most - least + 1));
}

#endif
