/*
 * How many connections each address has: a hash table without a lock of its own. access.c owns it
 * and calls these functions under its lock.
 */
#ifndef ECHOPOOL_POOL_ADDRESS_COUNT_H
#define ECHOPOOL_POOL_ADDRESS_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echopool/base/address.h"

/* An address as it is compared: IPv4 is written as mapped into IPv6 (RFC 4291, 2.5.5.2). */
struct address_key {
	uint8_t bytes[16];
};

/* How many bits come before the IPv4 address there. */
#define ADDRESS_KEY_MAPPED_BITS 96

/* This keeps chains short up to some hundred thousand addresses; 32 KiB. */
#define ADDRESS_COUNT_BUCKETS 4096

/* The owner's lock protects the buckets; the seed never changes. */
struct address_counts {
	uint64_t seed; /* so that nobody can choose addresses that share a chain */
	uint32_t addresses;
	struct address_count *buckets[ADDRESS_COUNT_BUCKETS];
};

/* The key of an in_addr (AF_INET) or an in6_addr (AF_INET6), and of a peer. Any thread. */
struct address_key address_key_make(sa_family_t family, const void *bytes);
struct address_key address_key_of(const union address *peer);

/* The first bits of a key; the others are 0. Any thread. */
struct address_key address_key_prefix(const struct address_key *key, unsigned int bits);

void address_counts_init(struct address_counts *counts);
void address_counts_free(struct address_counts *counts);

/* Of one address; the owner's lock protects it. */
struct address_count {
	struct address_count *next; /* in its chain */
	struct address_key key;
	uint32_t connections; /* at least 1 */
	uint32_t waiting;     /* those of them that wait for room at a worker */
};

/* The count of the address; NULL when it has no connection. */
struct address_count *address_counts_get(struct address_counts *counts,
					 const struct address_key *key);

/* How many of an address workers hold, or soon will; 0 for NULL. */
static inline uint32_t address_count_held(const struct address_count *c)
{
	return c ? c->connections - c->waiting : 0;
}

/*
 * Copies the counts of the addresses of which workers hold most, that one first: at most max, which
 * is at least 1. Returns how many. Looks at each address.
 */
size_t address_counts_top(const struct address_counts *counts, struct address_count *top,
			  size_t max);

/* Counts a connection of the address. False, with nothing changed, when memory is short. */
bool address_counts_add(struct address_counts *counts, const struct address_key *key);

/* A connection of the address has ended; it must have been counted. */
void address_counts_remove(struct address_counts *counts, const struct address_key *key);

#endif
