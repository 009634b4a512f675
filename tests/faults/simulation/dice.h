/*
 * The random numbers of a simulation: splitmix64, so that a seed gives the same run everywhere.
 */
#ifndef TESTS_SIMULATION_DICE_H
#define TESTS_SIMULATION_DICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dice {
	uint64_t state;
};

static inline uint64_t dice_roll(struct dice *d)
{
	uint64_t z = d->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* 0 to n - 1; n is at least 1. */
static inline uint32_t dice_below(struct dice *d, uint32_t n)
{
	return (uint32_t)(((dice_roll(d) >> 32) * n) >> 32);
}

/* 1 to n. */
static inline uint32_t dice_upto(struct dice *d, uint32_t n)
{
	return dice_below(d, n) + 1;
}

static inline bool dice_chance(struct dice *d, uint32_t permille)
{
	return dice_below(d, 1000) < permille;
}

#define DICE_PICK(d, array) ((array)[dice_below((d), sizeof(array) / sizeof((array)[0]))])

#endif
