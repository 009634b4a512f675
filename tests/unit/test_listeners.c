/*
 * Listening sockets: the port they get, the options that connections inherit, what is refused.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/net/inherited.h"
#include "echopool/net/listener.h"
#include "echopool/net/listeners.h"
#include "sockets.h"

static char ipv4[] = "127.0.0.1";
static char second_ipv4[INET_ADDRSTRLEN]; /* this process's own, as tests may run side by side */
static char foreign[] = "192.0.2.1";      /* RFC 5737: nobody's */

/* Settings that own nothing; addresses points to strings of the test. */
static struct settings settings_for(char **addresses, size_t count)
{
	struct settings s = {0};

	s.listen.addresses = (struct string_list){.items = addresses, .count = count};
	s.listen.backlog = 16;
	s.limits.buffer_bytes = 65536;
	s.tcp.nodelay = true;
	s.tcp.keepalive = true;
	return s;
}

static int option(int fd, int level, int name)
{
	socklen_t length = sizeof(int);
	int value = -1;

	assert_int_equal(getsockopt(fd, level, name, &value, &length), 0);
	return value;
}

static void test_port_0_gives_all_addresses_the_same_free_port(void **state)
{
	char *addresses[] = {ipv4, second_ipv4};
	struct settings s = settings_for(addresses, 2);
	char text[200], expected[200];
	struct listeners l;

	(void)state;
	assert_true(listeners_open(&l, &s));
	assert_int_equal(l.count, 2);
	assert_int_not_equal(address_port(&l.items[0].address), 0);
	assert_int_equal(address_port(&l.items[0].address), address_port(&l.items[1].address));
	listeners_format(&l, text, sizeof(text));
	snprintf(expected, sizeof(expected), "%s:%d, %s:%d", ipv4,
		 address_port(&l.items[0].address), second_ipv4, address_port(&l.items[0].address));
	assert_string_equal(text, expected);
	listeners_close(&l);
}

/* Others that get a port of the second address just before it is bound for the first time. */
#define RIVALS_MAX 64

static unsigned int rivals_wanted;
static unsigned int rival_count;
static int rivals[RIVALS_MAX];

static void let_a_rival_in(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (syscall(SYS_bind, fd, address, sizeof(*address)) != 0) {
		assert_int_equal(errno, EADDRINUSE); /* there is one already */
		close(fd);
		return;
	}
	assert_int_equal(listen(fd, 1), 0);
	rivals[rival_count++] = fd;
}

static void send_rivals_away(void)
{
	while (rival_count)
		close(rivals[--rival_count]);
	rivals_wanted = 0;
}

/* Stands before the C library's, also for the code under test. */
int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t length)
{
	const struct sockaddr_in *in = address.__sockaddr_in__;

	if (in->sin_family == AF_INET && in->sin_addr.s_addr == inet_addr(second_ipv4) &&
	    in->sin_port != 0 && rival_count < rivals_wanted)
		let_a_rival_in(in);
	return (int)syscall(SYS_bind, fd, in, length);
}

/* The lowest that is free. */
static int next_descriptor(void)
{
	int fd = dup(0);

	assert_true(fd >= 0);
	close(fd);
	return fd;
}

static void test_a_port_taken_on_another_address_is_chosen_anew(void **state)
{
	char *addresses[] = {ipv4, second_ipv4};
	struct settings s = settings_for(addresses, 2);
	struct listeners l;
	int next_fd;

	(void)state;
	next_fd = next_descriptor();
	rivals_wanted = 3;
	assert_true(listeners_open(&l, &s));
	assert_int_equal(rival_count, 3);
	assert_int_equal(l.count, 2);
	assert_int_equal(address_port(&l.items[0].address), address_port(&l.items[1].address));
	send_rivals_away();
	listeners_close(&l);
	/* The earlier attempts have left nothing open. */
	assert_int_equal(next_descriptor(), next_fd);
}

static void test_a_port_that_is_never_free_everywhere_is_refused(void **state)
{
	char *addresses[] = {ipv4, second_ipv4};
	struct settings s = settings_for(addresses, 2);
	struct listeners l;
	int next_fd;

	(void)state;
	next_fd = next_descriptor();
	rivals_wanted = RIVALS_MAX;
	assert_false(listeners_open(&l, &s));
	assert_int_equal(l.count, 0);
	assert_in_range(rival_count, 2, RIVALS_MAX - 1);
	send_rivals_away();
	assert_int_equal(next_descriptor(), next_fd);
}

/* Accepts a connection of our own. */
static int accept_one(const struct listeners *l, int *client)
{
	*client = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(*client >= 0);
	assert_int_equal(connect(*client, &l->items[0].address.any, sizeof(struct sockaddr_in)), 0);
	return accept4(l->items[0].fd, NULL, NULL, SOCK_NONBLOCK);
}

static void check_inherited(bool on)
{
	char *addresses[] = {ipv4};
	struct settings s = settings_for(addresses, 1);
	struct listeners l;
	int fd, client;

	s.tcp.nodelay = on;
	s.tcp.keepalive = on;
	assert_true(listeners_open(&l, &s));
	fd = accept_one(&l, &client);
	assert_true(fd >= 0);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY) != 0, on);
	assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE) != 0, on);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 65536);
	close(fd);
	close(client);
	listeners_close(&l);
}

static void test_connections_inherit_the_options(void **state)
{
	(void)state;
	check_inherited(true);
	check_inherited(false);
}

static void test_a_port_in_use_is_refused_and_nothing_stays_open(void **state)
{
	char *addresses[] = {second_ipv4, ipv4};
	char *one[] = {ipv4};
	struct settings s = settings_for(one, 1);
	struct listeners first, second;
	int next_fd;

	(void)state;
	assert_true(listeners_open(&first, &s));
	s = settings_for(addresses, 2);
	s.listen.port = address_port(&first.items[0].address);
	next_fd = next_descriptor();
	assert_false(listeners_open(&second, &s));
	assert_int_equal(second.count, 0);
	assert_false(is_open(next_fd));
	listeners_close(&first);
}

static void test_a_foreign_address_is_refused(void **state)
{
	char *addresses[] = {ipv4, foreign};
	struct settings s = settings_for(addresses, 2);
	struct listeners l;

	(void)state;
	assert_false(listeners_open(&l, &s));
	assert_int_equal(l.count, 0);
}

static void test_takes_over_a_listening_socket(void **state)
{
	char *addresses[] = {ipv4};
	struct settings s = settings_for(addresses, 1);
	struct listeners mine, l = {.count = 0};

	(void)state;
	assert_true(listeners_open(&mine, &s));
	assert_int_equal(fcntl(mine.items[0].fd, F_SETFL, 0), 0);
	assert_true(inherited_take_one(&l, &s, mine.items[0].fd));
	assert_int_equal(l.count, 1);
	assert_int_equal(address_port(&l.items[0].address), address_port(&mine.items[0].address));
	assert_true(fcntl(l.items[0].fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(l.items[0].fd, F_GETFD) & FD_CLOEXEC);
	listeners_close(&l);
}

static void test_takes_over_nothing_else(void **state)
{
	struct settings s = settings_for(NULL, 0);
	struct listeners l = {.count = 0};
	struct tcp_pair pair;
	int udp = socket(AF_INET, SOCK_DGRAM, 0);

	(void)state;
	assert_true(udp >= 0);
	assert_false(inherited_take_one(&l, &s, udp));
	tcp_pair_open(&pair);
	assert_false(inherited_take_one(&l, &s, pair.theirs));
	assert_int_equal(l.count, 0);
	tcp_pair_close(&pair);
	close(udp);
}

/* What is logged from now until said_end(). */
struct said {
	FILE *file;
	int stderr_kept;
	char text[1024];
};

static void said_begin(struct said *said)
{
	said->file = tmpfile();
	said->stderr_kept = dup(STDERR_FILENO);
	assert_true(said->file && said->stderr_kept >= 0);
	assert_int_equal(dup2(fileno(said->file), STDERR_FILENO), STDERR_FILENO);
}

static void said_end(struct said *said)
{
	assert_int_equal(dup2(said->stderr_kept, STDERR_FILENO), STDERR_FILENO);
	rewind(said->file);
	said->text[fread(said->text, 1, sizeof(said->text) - 1, said->file)] = '\0';
	assert_int_equal(fclose(said->file), 0);
	assert_int_equal(close(said->stderr_kept), 0);
}

static void test_an_interface_that_does_not_exist_is_told(void **state)
{
	static char none[] = "fe80::1%none";
	char *addresses[] = {none};
	struct settings s = settings_for(addresses, 1);
	struct listeners l;
	struct said said;
	bool opened;

	(void)state;
	said_begin(&said);
	opened = listeners_open(&l, &s);
	said_end(&said);
	assert_false(opened);
	assert_int_equal(l.count, 0);
	assert_non_null(strstr(said.text, "listen.addresses: \"fe80::1%none\": no such interface"));
}

/* Opens 0.0.0.0 beside a listener of 127.0.0.1, with so many descriptors to spare. */
static bool change_to_overlapping(unsigned int spare, struct said *said)
{
	static char all[] = "0.0.0.0";
	char *one[] = {ipv4}, *every[] = {all};
	struct settings s = settings_for(one, 1);
	struct listeners now, next;
	struct rlimit limit, low;
	bool changed;

	assert_true(listeners_open(&now, &s));
	s = settings_for(every, 1);
	s.listen.port = address_port(&now.items[0].address);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	said_begin(said);
	low = limit;
	low.rlim_cur = (rlim_t)next_descriptor() + spare;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	changed = listeners_change(&now, &next, &s, true);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	said_end(said);
	if (changed)
		listeners_close(&next);
	listeners_close(&now);
	return changed;
}

static void test_a_lack_of_descriptors_is_told_as_that(void **state)
{
	const int ipv6 = socket(AF_INET6, SOCK_STREAM, 0);
	struct said said;

	(void)state;
	if (ipv6 < 0)
		return; /* what keeps others out needs it, and is refused for that */
	close(ipv6);
	assert_true(change_to_overlapping(2, &said));
	/* One for the listener; who else could share its port cannot be found out. */
	assert_false(change_to_overlapping(1, &said));
	assert_non_null(strstr(said.text, strerror(EMFILE)));
	assert_null(strstr(said.text, "restart"));
}

static void test_a_change_keeps_the_chosen_port_only_where_it_was_0_before(void **state)
{
	static char *addresses[] = {(char *)"127.0.0.1"};
	struct settings s = settings_for(addresses, 1);
	struct listeners now, same, other, none = {.count = 0};

	(void)state;
	assert_true(listeners_open(&now, &s));
	assert_true(listeners_change(&now, &same, &s, true));
	assert_int_equal(same.items[0].fd, now.items[0].fd);
	assert_true(listeners_change(&now, &other, &s, false));
	assert_int_not_equal(other.items[0].fd, now.items[0].fd);
	assert_int_not_equal(address_port(&other.items[0].address),
			     address_port(&now.items[0].address));
	listeners_close(&other);
	assert_true(listeners_change(&none, &other, &s, true));
	listeners_close(&other);
	listeners_close(&now);
}

static void test_only_a_lacking_family_is_no_mistake(void **state)
{
	static const char *const others[] = {"127.0.0.1", "::",           "1::1",
					     "0:0:1::1",  "0:0:0:0:1::1", "::2"};
	union address a;

	(void)state;
	assert_true(address_parse("::1", 7, &a));
	assert_true(listener_family_is_lacking(&a, EADDRNOTAVAIL));
	assert_true(listener_family_is_lacking(&a, EAFNOSUPPORT));
	assert_false(listener_family_is_lacking(&a, EADDRINUSE));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_true(address_parse(others[i], 7, &a));
		assert_false(listener_family_is_lacking(&a, EADDRNOTAVAIL));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_port_0_gives_all_addresses_the_same_free_port),
		cmocka_unit_test(test_a_port_taken_on_another_address_is_chosen_anew),
		cmocka_unit_test(test_a_port_that_is_never_free_everywhere_is_refused),
		cmocka_unit_test(test_connections_inherit_the_options),
		cmocka_unit_test(test_a_port_in_use_is_refused_and_nothing_stays_open),
		cmocka_unit_test(test_a_foreign_address_is_refused),
		cmocka_unit_test(test_an_interface_that_does_not_exist_is_told),
		cmocka_unit_test(test_a_lack_of_descriptors_is_told_as_that),
		cmocka_unit_test(test_takes_over_a_listening_socket),
		cmocka_unit_test(test_takes_over_nothing_else),
		cmocka_unit_test(test_a_change_keeps_the_chosen_port_only_where_it_was_0_before),
		cmocka_unit_test(test_only_a_lacking_family_is_no_mistake),
	};

	snprintf(second_ipv4, sizeof(second_ipv4), "127.%d.%d.2", getpid() >> 8 & 0xff,
		 getpid() & 0xff);
	return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
