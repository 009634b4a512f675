/*
 * How many connections each address has; see the header.
 */
#include "echopool/pool/address_count.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "echopool/base/thread.h"

struct address_key address_key_make(sa_family_t family, const void *bytes)
{
	struct address_key k = {{[10] = 0xff, [11] = 0xff}};

	if (family == AF_INET6)
		memcpy(k.bytes, bytes, 16);
	else
		memcpy(k.bytes + ADDRESS_KEY_MAPPED_BITS / 8, bytes, 4);
	return k;
}

struct address_key address_key_of(const union address *peer)
{
	if (peer->any.sa_family == AF_INET6)
		return address_key_make(AF_INET6, &peer->v6.sin6_addr);
	return address_key_make(AF_INET, &peer->v4.sin_addr);
}

struct address_key address_key_prefix(const struct address_key *key, unsigned int bits)
{
	struct address_key k = {{0}};

	memcpy(k.bytes, key->bytes, bits / 8);
	if (bits % 8)
		k.bytes[bits / 8] = (uint8_t)(key->bytes[bits / 8] & (0xff00 >> bits % 8));
	return k;
}

void address_counts_init(struct address_counts *counts)
{
	memset(counts, 0, sizeof(*counts));
	/*
	 * Early after boot there may be no entropy yet. The seed is 0 then, and only the protection
	 * against chosen addresses is lost.
	 */
	if (getrandom(&counts->seed, sizeof(counts->seed), GRND_NONBLOCK) !=
	    (ssize_t)sizeof(counts->seed))
		counts->seed = 0;
}

void address_counts_free(struct address_counts *counts)
{
	for (size_t i = 0; i < ADDRESS_COUNT_BUCKETS; i++) {
		while (counts->buckets[i]) {
			struct address_count *c = counts->buckets[i];

			counts->buckets[i] = c->next;
			free(c);
		}
	}
}

/* Multiplies by odd numbers and folds, as in splitmix64 (Steele, Lea, Flood: OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static struct address_count **bucket_of(struct address_counts *counts,
					const struct address_key *key)
{
	uint64_t high, low;

	memcpy(&high, key->bytes, 8);
	memcpy(&low, key->bytes + 8, 8);
	return &counts->buckets[mix(mix(high ^ counts->seed) ^ low) % ADDRESS_COUNT_BUCKETS];
}

/* The pointer to the count of the address, or the one at the end of its chain, which is NULL. */
static struct address_count **find(struct address_counts *counts, const struct address_key *key)
{
	struct address_count **c = bucket_of(counts, key);

	while (*c && memcmp((*c)->key.bytes, key->bytes, sizeof(key->bytes)) != 0)
		c = &(*c)->next;
	return c;
}

struct address_count *address_counts_get(struct address_counts *counts,
					 const struct address_key *key)
{
	return *find(counts, key);
}

/* Puts c in its place, and the last one out where that is one too many. */
static void rank(const struct address_count *c, struct address_count *top, size_t *count,
		 size_t max)
{
	size_t i = *count;

	if (i == max && address_count_held(&top[--i]) >= address_count_held(c))
		return;
	if (*count < max)
		++*count;
	for (; i > 0 && address_count_held(&top[i - 1]) < address_count_held(c); i--)
		top[i] = top[i - 1];
	top[i] = *c;
}

size_t address_counts_top(const struct address_counts *counts, struct address_count *top,
			  size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < ADDRESS_COUNT_BUCKETS; i++)
		for (const struct address_count *c = counts->buckets[i]; c; c = c->next)
			if (address_count_held(c))
				rank(c, top, &count, max);
	return count;
}

bool address_counts_add(struct address_counts *counts, const struct address_key *key)
{
	struct address_count **c = find(counts, key);

	if (!*c) {
		*c = calloc(1, sizeof(**c));
		if (!*c)
			return false;
		(*c)->key = *key;
		counts->addresses++;
	}
	(*c)->connections++;
	return true;
}

void address_counts_remove(struct address_counts *counts, const struct address_key *key)
{
	struct address_count **c = find(counts, key);
	struct address_count *gone = *c;

	if (!gone)
		fail(ENOENT, "address_counts_remove");
	if (--gone->connections > 0)
		return;
	*c = gone->next;
	counts->addresses--;
	free(gone);
}
