/*
 * Access control; see the header. The acceptor asks, workers release, the main thread updates.
 *
 * All connections are counted, also while there is no limit, so that a limit set by a reload counts
 * those that are already there.
 */
#include "echopool/pool/access.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echopool/base/clock.h"
#include "echopool/base/thread.h"

/* The first bits of an address. */
struct rule {
	struct address_key key;
	unsigned int bits;
};

struct rules {
	struct rule *items;
	size_t count;
};

/* The lock protects all of it. */
struct access {
	struct lock lock;
	struct rules allow;
	struct rules deny;
	uint32_t connections_per_ip; /* 0: the next, but for loopback */
	uint32_t half_of_pool;
	unsigned int prefix_ipv4; /* bits */
	unsigned int prefix_ipv6;
	struct address_counts counts;
	struct address_key heaviest; /* of which workers held most at heaviest_ns */
	uint32_t heaviest_held;
	uint64_t heaviest_ns;
	struct access_holder top[ACCESS_TOP]; /* as it was at top_ns */
	size_t top_count;
	uint64_t top_ns;
};

/* How long it is gone by who was the heaviest. */
#define HEAVIEST_NS (10 * NS_PER_MS)

/* How long the first ones of many addresses are told without another look. */
#define TOP_NS   (100 * NS_PER_MS)
#define TOP_MANY 1000U

static bool is_ipv4(const struct address_key *k)
{
	struct in6_addr a;

	memcpy(&a, k->bytes, sizeof(a));
	return IN6_IS_ADDR_V4MAPPED(&a);
}

static bool prefix_matches(const struct rule *r, const struct address_key *k)
{
	const unsigned int whole = r->bits / 8, rest = r->bits % 8;

	if (memcmp(r->key.bytes, k->bytes, whole) != 0)
		return false;
	return rest == 0 || (r->key.bytes[whole] ^ k->bytes[whole]) >> (8 - rest) == 0;
}

/* A rule shorter than the prefix of mapped addresses, such as ::/0, is about IPv6 only. */
static bool rules_match(const struct rules *rules, const struct address_key *k)
{
	const bool ipv4 = is_ipv4(k);

	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *r = &rules->items[i];

		if (!(ipv4 && r->bits < ADDRESS_KEY_MAPPED_BITS) && prefix_matches(r, k))
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
			.key = address_key_make(c.family, c.bytes),
			.bits = c.prefix_bits +
				(c.family == AF_INET ? ADDRESS_KEY_MAPPED_BITS : 0u),
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
	a->prefix_ipv4 = s->limits.prefix_ipv4;
	a->prefix_ipv6 = s->limits.prefix_ipv6;
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
	address_counts_init(&a->counts);
	a->half_of_pool = UINT32_MAX;
	if (!access_update(a, s)) {
		access_free(a);
		return NULL;
	}
	return a;
}

void access_free(struct access *a)
{
	address_counts_free(&a->counts);
	free(a->allow.items);
	free(a->deny.items);
	lock_destroy(&a->lock);
	free(a);
}

void access_set_capacity(struct access *a, uint64_t connections)
{
	lock_acquire(&a->lock);
	a->half_of_pool = access_half_of(connections);
	lock_release(&a->lock);
}

/* How many connections the peer's address may have. */
static uint32_t most_of(const struct access *a, const union address *peer) REQUIRES(a->lock)
{
	if (a->connections_per_ip)
		return a->connections_per_ip;
	return address_is_loopback(peer) ? UINT32_MAX : a->half_of_pool;
}

/* What the address is counted as: the network that it is of. */
static struct address_key counted_as(const struct access *a, const struct address_key *k)
	REQUIRES(a->lock)
{
	return address_key_prefix(k, is_ipv4(k) ? ADDRESS_KEY_MAPPED_BITS + a->prefix_ipv4
						: a->prefix_ipv6);
}

static uint32_t connections_of(struct access *a, const struct address_key *counted)
	REQUIRES(a->lock)
{
	const struct address_count *c = address_counts_get(&a->counts, counted);

	return c ? c->connections : 0;
}

static enum access_verdict judge(struct access *a, const union address *peer,
				 struct address_key *counted) REQUIRES(a->lock)
{
	const struct address_key k = address_key_of(peer);

	if (!rules_match(&a->allow, &k) || rules_match(&a->deny, &k))
		return ACCESS_DENIED;
	*counted = counted_as(a, &k);
	if (connections_of(a, counted) >= most_of(a, peer))
		return ACCESS_TOO_MANY;
	if (!address_counts_add(&a->counts, counted))
		return ACCESS_NO_MEMORY;
	address_counts_get(&a->counts, counted)->waiting++;
	return ACCESS_ADMITTED;
}

enum access_verdict access_admit(struct access *a, const union address *peer,
				 struct address_key *counted)
{
	enum access_verdict v;

	lock_acquire(&a->lock);
	v = judge(a, peer, counted);
	lock_release(&a->lock);
	return v;
}

void access_serve(struct access *a, const struct address_key *counted)
{
	lock_acquire(&a->lock);
	address_counts_get(&a->counts, counted)->waiting--;
	lock_release(&a->lock);
}

void access_release(struct access *a, const struct address_key *counted, bool served)
{
	lock_acquire(&a->lock);
	if (!served)
		address_counts_get(&a->counts, counted)->waiting--;
	address_counts_remove(&a->counts, counted);
	lock_release(&a->lock);
}

/*
 * How many workers hold of the heaviest address. Another one is looked for when it has become
 * lighter, or after a while: others may have grown.
 */
static uint32_t heaviest_held(struct access *a) REQUIRES(a->lock)
{
	const struct address_count *c = address_counts_get(&a->counts, &a->heaviest);
	const uint64_t now_ns = clock_now_ns();
	struct address_count heaviest;

	if (!c || address_count_held(c) < a->heaviest_held ||
	    now_ns >= a->heaviest_ns + HEAVIEST_NS) {
		c = address_counts_top(&a->counts, &heaviest, 1) ? &heaviest : NULL;
		if (c)
			a->heaviest = c->key;
		a->heaviest_held = address_count_held(c);
		a->heaviest_ns = now_ns;
	}
	return address_count_held(c);
}

uint32_t access_weight(struct access *a, const struct address_key *counted)
{
	uint32_t weight;

	lock_acquire(&a->lock);
	weight = connections_of(a, counted);
	if (weight >= heaviest_held(a))
		weight = ACCESS_NOT_LIGHT;
	lock_release(&a->lock);
	return weight;
}

static uint32_t held_of(struct access *a, const struct address_key *counted) REQUIRES(a->lock)
{
	return address_count_held(address_counts_get(&a->counts, counted));
}

bool access_is_crowded(struct access *a, const struct address_key *waiting,
		       struct address_key *heaviest)
{
	bool crowded;

	lock_acquire(&a->lock);
	crowded = heaviest_held(a) > held_of(a, waiting) + 1;
	*heaviest = a->heaviest;
	lock_release(&a->lock);
	return crowded;
}

bool access_may_replace(struct access *a, const struct address_key *silent,
			const struct address_key *waiting)
{
	bool may;

	lock_acquire(&a->lock);
	may = memcmp(silent, waiting, sizeof(*silent)) == 0 ||
	      held_of(a, silent) > held_of(a, waiting);
	lock_release(&a->lock);
	return may;
}

bool access_may_crowd(struct access *a)
{
	bool may;

	lock_acquire(&a->lock);
	may = a->counts.addresses >= 2 && heaviest_held(a) >= 2;
	lock_release(&a->lock);
	return may;
}

/* What is counted so: an address, or the network that it is of. */
static void describe(struct access_holder *h, const struct address_key *counted, unsigned int bits)
{
	const bool ipv4 = is_ipv4(counted);

	/* It cannot fail: the text has room for any address. */
	(void)inet_ntop(ipv4 ? AF_INET : AF_INET6,
			counted->bytes + (ipv4 ? ADDRESS_KEY_MAPPED_BITS / 8 : 0), h->text,
			sizeof(h->text));
	if (bits < (ipv4 ? 32U : 128U))
		snprintf(h->text + strlen(h->text), sizeof(h->text) - strlen(h->text), "/%u", bits);
}

static unsigned int bits_of(const struct access *a, const struct address_key *counted)
	REQUIRES(a->lock)
{
	return is_ipv4(counted) ? a->prefix_ipv4 : a->prefix_ipv6;
}

/* Of many not at each request: it looks at each address under the lock. */
static void refresh_top(struct access *a) REQUIRES(a->lock)
{
	struct address_count top[ACCESS_TOP] = {{.next = NULL}};
	const uint64_t now_ns = clock_now_ns();

	if (a->counts.addresses > TOP_MANY && now_ns < a->top_ns + TOP_NS)
		return;
	a->top_ns = now_ns;
	a->top_count = address_counts_top(&a->counts, top, ACCESS_TOP);
	for (size_t i = 0; i < a->top_count; i++) {
		a->top[i].held = address_count_held(&top[i]);
		describe(&a->top[i], &top[i].key, bits_of(a, &top[i].key));
	}
}

size_t access_top_holders(struct access *a, struct access_holder top[static ACCESS_TOP])
{
	size_t count;

	lock_acquire(&a->lock);
	refresh_top(a);
	count = a->top_count;
	memcpy(top, a->top, sizeof(a->top));
	lock_release(&a->lock);
	return count;
}
