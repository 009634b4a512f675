/*
 * Where the server is, and where from it is reached; see the header.
 */
#include "target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PORT "7007"

#define SOURCES_MAX 65536U

static bool is_port(const char *text)
{
	const size_t digits = strspn(text, "0123456789");

	return digits && digits <= 5 && !text[digits] && atoi(text) >= 1 && atoi(text) <= 65535;
}

/* Splits text into host and port, and changes it. False: it has another form. */
static bool split(char *text, const char **host, const char **port)
{
	char *colon = strrchr(text, ':');

	*host = text;
	*port = DEFAULT_PORT;
	if (text[0] == '[') {
		char *end = strchr(text, ']');

		if (!end || (end[1] && end[1] != ':'))
			return false;
		*end = '\0';
		*host = text + 1;
		if (end[1] == ':')
			*port = end + 2;
	} else if (colon && strchr(text, ':') == colon) {
		*colon = '\0';
		*port = colon + 1;
	}
	return **host;
}

int target_find(const char *text, int family, union address *out)
{
	const struct addrinfo hints = {
		.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found;
	const char *host, *port;
	char copy[NI_MAXHOST];
	int error;

	if ((size_t)snprintf(copy, sizeof(copy), "%s", text) >= sizeof(copy) ||
	    !split(copy, &host, &port)) {
		fprintf(stderr, "echoload: found \"%s\"; expected HOST, HOST:PORT or [HOST]:PORT\n",
			text);
		return 2;
	}
	if (!is_port(port)) {
		fprintf(stderr,
			"echoload: %s: found the port \"%s\"; expected a number from 1 to 65535\n",
			text, port);
		return 2;
	}
	error = getaddrinfo(host, port, &hints, &found);
	if (error) {
		fprintf(stderr, "echoload: %s: %s%s\n", text, gai_strerror(error),
			family == AF_INET    ? " (only IPv4 was asked for)"
			: family == AF_INET6 ? " (only IPv6 was asked for)"
					     : "");
		return 1;
	}
	memset(out, 0, sizeof(*out));
	memcpy(out, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return 0;
}

/* The last four bytes of an address, which a range counts through. */
static unsigned char *last_bytes(union address *a)
{
	if (a->any.sa_family == AF_INET)
		return (unsigned char *)&a->v4.sin_addr;
	return a->v6.sin6_addr.s6_addr + 12;
}

static uint32_t last_number(const union address *a)
{
	union address copy = *a;
	uint32_t number;

	memcpy(&number, last_bytes(&copy), sizeof(number));
	return ntohl(number);
}

union address sources_address(const struct sources *s, uint32_t index)
{
	const uint32_t number = htonl(last_number(&s->first) + index % s->count);
	union address a = s->first;

	memcpy(last_bytes(&a), &number, sizeof(number));
	return a;
}

bool sources_parse(const char *text, const union address *server, struct sources *out)
{
	char first[ADDRESS_TEXT_BYTES];
	union address last, expected;
	const char *dash;

	*out = (struct sources){.count = 0};
	if (!text)
		return true;
	dash = strchr(text, '-');
	snprintf(first, sizeof(first), "%.*s", dash ? (int)(dash - text) : (int)strlen(text), text);
	if (!address_parse(first, 0, &out->first) ||
	    !address_parse(dash ? dash + 1 : first, 0, &last)) {
		fprintf(stderr,
			"echoload: --source: found \"%s\"; expected an address, or two with "
			"a dash between them\n",
			text);
		return false;
	}
	if (out->first.any.sa_family != server->any.sa_family) {
		fprintf(stderr,
			"echoload: --source: \"%s\" is not of the same family as the "
			"server's address\n",
			text);
		return false;
	}
	out->count = 1;
	if (last.any.sa_family == server->any.sa_family &&
	    last_number(&last) >= last_number(&out->first) &&
	    last_number(&last) - last_number(&out->first) < SOURCES_MAX)
		out->count = last_number(&last) - last_number(&out->first) + 1;
	expected = sources_address(out, out->count - 1);
	if (address_equal(&expected, &last))
		return true;
	fprintf(stderr,
		"echoload: --source: \"%s\" does not go from an address to a later one, at "
		"most %u in all\n",
		text, SOURCES_MAX);
	return false;
}

bool sources_check(const struct sources *s)
{
	char text[INET6_ADDRSTRLEN] = "";

	for (uint32_t i = 0; i < s->count; i++) {
		union address source = sources_address(s, i);
		const int fd = socket(source.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		const bool good = fd >= 0 && bind(fd, &source.any, address_length(&source)) == 0;
		const int error = errno;

		if (fd >= 0)
			close(fd); /* nothing was sent on it, so no error matters */
		if (good)
			continue;
		inet_ntop(source.any.sa_family,
			  source.any.sa_family == AF_INET ? (void *)&source.v4.sin_addr
							  : (void *)&source.v6.sin6_addr,
			  text, sizeof(text));
		fprintf(stderr, "echoload: --source: %s: %s\n", text,
			error == EADDRNOTAVAIL ? "this machine does not have the address"
					       : strerror(error));
		return false;
	}
	return true;
}
