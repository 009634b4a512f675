/*
 * Socket addresses as text and back. Called from any thread; nothing is kept between calls.
 */
#include "echopool/base/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parses decimal digits only, and no zero in front. */
static bool parse_small(const char *text, uint64_t max, uint64_t *out)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 10 || text[digits] != '\0' || (text[0] == '0' && digits > 1))
		return false;
	*out = strtoull(text, NULL, 10);
	return *out <= max;
}

/*
 * Whether an interface may have this name. The kernel takes almost any byte; those that a file or
 * an address would have to escape are left out, and what looks like a number is one.
 */
static bool is_interface_name(const char *text)
{
	size_t length = strlen(text);

	if (length == 0 || length >= IF_NAMESIZE || text[strspn(text, "0123456789")] == '\0')
		return false;
	if (!isalnum((unsigned char)text[0]) && text[0] != '_')
		return false;
	for (size_t i = 1; i < length; i++) {
		if (!isgraph((unsigned char)text[i]) || strchr("%/:\"\\", text[i]) != NULL)
			return false;
	}
	return true;
}

/* Parses what stands behind the "%" of an IPv6 address: an interface's number, or name (0). */
static bool parse_scope(const char *text, uint32_t *out)
{
	uint64_t number;

	if (!parse_small(text, UINT32_MAX, &number))
		return is_interface_name(text);
	*out = (uint32_t)number;
	return number != 0;
}

static bool parse_v6(const char *text, struct in6_addr *out, uint32_t *scope)
{
	char bare[INET6_ADDRSTRLEN];
	size_t length = strcspn(text, "%");

	if (length >= sizeof(bare))
		return false;
	memcpy(bare, text, length);
	bare[length] = '\0';
	if (inet_pton(AF_INET6, bare, out) != 1)
		return false;
	*scope = 0;
	return text[length] == '\0' || parse_scope(text + length + 1, scope);
}

bool address_parse(const char *text, uint16_t port, union address *out)
{
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
		out->v4.sin_family = AF_INET;
		out->v4.sin_port = htons(port);
		return true;
	}
	if (parse_v6(text, &out->v6.sin6_addr, &out->v6.sin6_scope_id)) {
		out->v6.sin6_family = AF_INET6;
		out->v6.sin6_port = htons(port);
		return true;
	}
	memset(out, 0, sizeof(*out));
	return false;
}

const char *address_scope(const char *text)
{
	const char *percent = strchr(text, '%');

	return percent == NULL ? "" : percent + 1;
}

bool address_resolve_scope(const char *text, union address *a)
{
	const char *scope = address_scope(text);

	if (scope[0] == '\0' || a->v6.sin6_scope_id != 0)
		return true;
	a->v6.sin6_scope_id = if_nametoindex(scope);
	return a->v6.sin6_scope_id != 0;
}

socklen_t address_length(const union address *a)
{
	return a->any.sa_family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
}

uint16_t address_port(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return ntohs(a->v4.sin_port);
	if (a->any.sa_family == AF_INET6)
		return ntohs(a->v6.sin6_port);
	return 0;
}

/* An IPv4 client that came to a dual-stack socket, as systemd may hand over, is an IPv4 client. */
static bool is_mapped(const union address *a)
{
	return a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr);
}

bool address_is_loopback(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return ntohl(a->v4.sin_addr.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr) ||
	       (is_mapped(a) && a->v6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

const char *address_format(const union address *a, char text[static ADDRESS_TEXT_BYTES])
{
	char host[INET6_ADDRSTRLEN];
	char scope[16] = "";

	if ((is_mapped(a) &&
	     inet_ntop(AF_INET, a->v6.sin6_addr.s6_addr + 12, host, sizeof(host))) ||
	    (a->any.sa_family == AF_INET &&
	     inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof(host)))) {
		snprintf(text, ADDRESS_TEXT_BYTES, "%s:%u", host, address_port(a));
	} else if (a->any.sa_family == AF_INET6 &&
		   inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof(host)) != NULL) {
		if (a->v6.sin6_scope_id != 0)
			snprintf(scope, sizeof(scope), "%%%u", a->v6.sin6_scope_id);
		snprintf(text, ADDRESS_TEXT_BYTES, "[%s%s]:%u", host, scope, address_port(a));
	} else {
		snprintf(text, ADDRESS_TEXT_BYTES, "address family %u", a->any.sa_family);
	}
	return text;
}

/* True when a bit behind the prefix is set. */
static bool has_host_bits(const struct cidr *c, size_t size)
{
	for (size_t bit = c->prefix_bits; bit < size * 8; bit++) {
		if ((c->bytes[bit / 8] & (0x80 >> (bit % 8))) != 0)
			return true;
	}
	return false;
}

bool cidr_parse(const char *text, struct cidr *out)
{
	char host[INET6_ADDRSTRLEN];
	size_t length = strcspn(text, "/");

	memset(out, 0, sizeof(*out));
	if (length >= sizeof(host))
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	if (inet_pton(AF_INET, host, out->bytes) == 1)
		out->family = AF_INET;
	else if (inet_pton(AF_INET6, host, out->bytes) == 1)
		out->family = AF_INET6;
	else
		return false;

	size_t size = out->family == AF_INET ? 4 : 16;
	uint64_t bits = size * 8;
	if (text[length] == '/' && !parse_small(text + length + 1, bits, &bits))
		return false;
	out->prefix_bits = (uint8_t)bits;
	return !has_host_bits(out, size);
}

bool address_equal(const union address *a, const union address *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_port == b->v4.sin_port &&
		       a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return a->v6.sin6_port == b->v6.sin6_port && a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
	       IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr);
}

static bool is_wildcard(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == INADDR_ANY;
	return IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr);
}

bool address_excludes(const union address *a, const union address *b)
{
	return address_equal(a, b) ||
	       (a->any.sa_family == b->any.sa_family && address_port(a) == address_port(b) &&
		(is_wildcard(a) || is_wildcard(b)));
}

/* The bytes of an address, as a range has them; its family is in *family. */
static const uint8_t *address_bytes(const union address *a, sa_family_t *family)
{
	const struct in6_addr *v6 = &a->v6.sin6_addr;
	const bool mapped = a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(v6);

	*family = mapped ? AF_INET : a->any.sa_family;
	if (a->any.sa_family == AF_INET)
		return (const uint8_t *)&a->v4.sin_addr;
	return v6->s6_addr + (mapped ? 12 : 0);
}

bool cidr_matches(const struct cidr *range, const union address *a)
{
	const unsigned int whole = range->prefix_bits / 8, rest = range->prefix_bits % 8;
	sa_family_t family;
	const uint8_t *bytes = address_bytes(a, &family);

	return family == range->family && memcmp(bytes, range->bytes, whole) == 0 &&
	       (rest == 0 || (bytes[whole] ^ range->bytes[whole]) >> (8 - rest) == 0);
}
