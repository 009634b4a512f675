/*
 * Who may connect; see the header. The acceptor asks, workers release, the main thread updates.
 *
 * Connections are counted by address in a hash table, an IPv4 address that comes mapped into IPv6
 * as the IPv4 address it is. All are counted, also while there is no limit, so that a limit that
 * comes with a reload knows of those that were there before.
 */
#include "echopool/pool/access.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "echopool/base/thread.h"

/* Chains stay short up to some hundred thousand addresses; 32 KiB. */
#define BUCKETS 4096

/* An address as it is compared: IPv4 is written as mapped into IPv6 (RFC 4291, 2.5.5.2). */
struct key {
	uint8_t bytes[16];
};

struct tally {
	struct tally *next;
	struct key key;
	uint32_t connections; /* at least 1 */
};

/* The first bits of an address. */
struct rule {
	struct key key;
	unsigned int bits;
};

struct rules {
	struct rule *items;
	size_t count;
};

/* All is under lock, but seed, which never changes. */
struct access {
	struct lock lock;
	struct rules allow;
	struct rules deny;
	uint32_t connections_per_ip;
	uint64_t seed; /* so that nobody can choose addresses that share a chain */
	struct tally *buckets[BUCKETS];
};

#define MAPPED_BITS 96

static struct key make_key(sa_family_t family, const void *bytes)
{
	struct key k = {{[10] = 0xff, [11] = 0xff}};

	if (family == AF_INET6)
		memcpy(k.bytes, bytes, 16);
	else
		memcpy(k.bytes + MAPPED_BITS / 8, bytes, 4);
	return k;
}

static struct key key_of(const union address *peer)
{
	if (peer->any.sa_family == AF_INET6)
		return make_key(AF_INET6, &peer->v6.sin6_addr);
	return make_key(AF_INET, &peer->v4.sin_addr);
}

static bool is_ipv4(const struct key *k)
{
	struct in6_addr a;

	memcpy(&a, k->bytes, sizeof(a));
	return IN6_IS_ADDR_V4MAPPED(&a);
}

/* Multiplies by odd numbers and folds, as in splitmix64 (Steele, Lea, Flood: OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static struct tally **bucket_of(struct access *a, const struct key *k)
{
	uint64_t high, low;

	memcpy(&high, k->bytes, 8);
	memcpy(&low, k->bytes + 8, 8);
	return &a->buckets[mix(mix(high ^ a->seed) ^ low) % BUCKETS];
}

/* Where the tally of k hangs, or would hang: *result is it, or NULL at the end of its chain. */
static struct tally **find(struct access *a, const struct key *k)
{
	struct tally **t = bucket_of(a, k);

	while (*t && memcmp((*t)->key.bytes, k->bytes, sizeof(k->bytes)) != 0)
		t = &(*t)->next;
	return t;
}

static bool prefix_matches(const struct rule *r, const struct key *k)
{
	const unsigned int whole = r->bits / 8, rest = r->bits % 8;

	if (memcmp(r->key.bytes, k->bytes, whole) != 0)
		return false;
	return rest == 0 || (r->key.bytes[whole] ^ k->bytes[whole]) >> (8 - rest) == 0;
}

/* A rule shorter than the mapping's own prefix, as ::/0, speaks of IPv6 only. */
static bool rules_match(const struct rules *rules, const struct key *k)
{
	const bool ipv4 = is_ipv4(k);

	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *r = &rules->items[i];

		if (!(ipv4 && r->bits < MAPPED_BITS) && prefix_matches(r, k))
			return true;
	}
	return false;
}

static bool make_rules(struct rules *rules, const struct string_list *list)
{
	rules->count = 0;
	rules->items = calloc(list->count ? list->count : 1, sizeof(rules->items[0]));
	if (!rules->items)
		return false;
	for (size_t i = 0; i < list->count; i++) {
		struct cidr c;

		/* The settings were checked, so each of them is a range. */
		if (!cidr_parse(list->items[i], &c))
			continue;
		rules->items[rules->count++] = (struct rule){
			.key = make_key(c.family, c.bytes),
			.bits = c.prefix_bits + (c.family == AF_INET ? MAPPED_BITS : 0u),
		};
	}
	return true;
}

bool access_update(struct access *a, const struct settings *s)
{
	struct rules allow, deny, old_allow, old_deny;

	if (!make_rules(&allow, &s->access.allow))
		return false;
	if (!make_rules(&deny, &s->access.deny)) {
		free(allow.items);
		return false;
	}
	lock_acquire(&a->lock);
	old_allow = a->allow;
	old_deny = a->deny;
	a->allow = allow;
	a->deny = deny;
	a->connections_per_ip = s->limits.connections_per_ip;
	lock_release(&a->lock);
	free(old_allow.items);
	free(old_deny.items);
	return true;
}

struct access *access_new(const struct settings *s)
{
	struct access *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	lock_init(&a->lock);
	/* Without entropy yet the seed stays 0: only the protection against chosen addresses is
	 * lost. */
	if (getrandom(&a->seed, sizeof(a->seed), GRND_NONBLOCK) != (ssize_t)sizeof(a->seed))
		a->seed = 0;
	if (!access_update(a, s)) {
		access_free(a);
		return NULL;
	}
	return a;
}

void access_free(struct access *a)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (a->buckets[i]) {
			struct tally *t = a->buckets[i];

			a->buckets[i] = t->next;
			free(t);
		}
	}
	free(a->allow.items);
	free(a->deny.items);
	lock_destroy(&a->lock);
	free(a);
}

static enum access_verdict count_one(struct access *a, const struct key *k) REQUIRES(a->lock);
static enum access_verdict count_one(struct access *a, const struct key *k)
{
	struct tally **t = find(a, k);

	if (*t) {
		if (a->connections_per_ip && (*t)->connections >= a->connections_per_ip)
			return ACCESS_TOO_MANY;
	} else {
		*t = calloc(1, sizeof(**t));
		if (!*t)
			return ACCESS_NO_MEMORY;
		(*t)->key = *k;
	}
	(*t)->connections++;
	return ACCESS_ADMITTED;
}

enum access_verdict access_admit(struct access *a, const union address *peer)
{
	const struct key k = key_of(peer);
	enum access_verdict v = ACCESS_DENIED;

	lock_acquire(&a->lock);
	if (rules_match(&a->allow, &k) && !rules_match(&a->deny, &k))
		v = count_one(a, &k);
	lock_release(&a->lock);
	return v;
}

void access_release(struct access *a, const union address *peer)
{
	const struct key k = key_of(peer);
	struct tally **t;

	lock_acquire(&a->lock);
	t = find(a, &k);
	if (!*t)
		fail(ENOENT, "access_release");
	if (--(*t)->connections == 0) {
		struct tally *gone = *t;

		*t = gone->next;
		free(gone);
	}
	lock_release(&a->lock);
}
