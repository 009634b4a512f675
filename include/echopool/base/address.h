/*
 * Socket addresses as text and back, numeric only (no resolver is ever asked). Pure functions but
 * for address_resolve_scope(), which asks the kernel: any thread may call them.
 */
#ifndef ECHOPOOL_BASE_ADDRESS_H
#define ECHOPOOL_BASE_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* An IPv4 or IPv6 socket address; 28 bytes, where a sockaddr_storage would take 128. */
union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* Large enough for "[IPv6%scope]:65535" and its NUL. */
#define ADDRESS_TEXT_BYTES 80

/* A range of addresses: the first prefix_bits of bytes count, the others are 0. */
struct cidr {
	sa_family_t family; /* AF_INET or AF_INET6 */
	uint8_t prefix_bits;
	uint8_t bytes[16]; /* network order; IPv4 uses the first four */
};

/*
 * Parses "127.0.0.1", "::1", "fe80::1%2" or "fe80::1%eth0" into out, with port (host order). Only
 * the form is looked at: the interface need not exist, and where it is named the scope of out is 0
 * until address_resolve_scope(). False: not an address.
 */
bool address_parse(const char *text, uint16_t port, union address *out);

/* What stands behind the "%" of a text that address_parse() took; "" without one. */
const char *address_scope(const char *text);

/* Puts the number of the interface that text names, if it does, into a, which was parsed from it.
 * False: there is no such interface now; errno says why. */
bool address_resolve_scope(const char *text, union address *a);

/* The length to give to bind(2). */
socklen_t address_length(const union address *a);

/* Whether both are the same address and port. */
bool address_equal(const union address *a, const union address *b);

/* Whether the kernel lets only one of them be bound: equal, or the wildcard of the other's family.
 */
bool address_excludes(const union address *a, const union address *b);

/* Whether it is of the machine's own loopback: 127.0.0.0/8, mapped into IPv6 too, or ::1. */
bool address_is_loopback(const union address *a);

/* The port, in host order; 0 for a family that has none. */
uint16_t address_port(const union address *a);

/* Writes "127.0.0.1:7007" or "[::1]:7007" into text and returns text. */
const char *address_format(const union address *a, char text[static ADDRESS_TEXT_BYTES]);

/*
 * Parses "10.0.0.0/8", "::/0", or an address alone (all its bits). False when it is not one, when
 * the prefix is out of range, or when bits are set past the prefix.
 */
bool cidr_parse(const char *text, struct cidr *out);

/* Whether an address is in the range; an IPv4 address may be mapped into IPv6. */
bool cidr_matches(const struct cidr *range, const union address *a);

#endif
