/*
 * What is said of an io_uring that lacks something: each row is an engine with one fault.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cmocka_setup.h"
#include "echopool/pool/engine.h"

struct engine *__wrap_engine_uring_open(const struct bell *bell, size_t buffer_bytes);

enum lack {
	LACKS_NOTHING,
	LACKS_MEMORY,
	LACKS_RING,
	LACKS_WATCH,
	LACKS_RECEIVE,
	LACKS_SEND,
	LACKS_STOP,
	LACKS_CANCEL,
};

/* It receives when it is asked to, and tells of a send that is not taken whole in the next turn. */
static struct fake {
	struct engine engine;
	enum lack lack;
	struct conn *watched, *ready;
	bool owes;
} fake;

static int begin(struct engine *e)
{
	(void)e;
	return fake.lack == LACKS_RING ? EPERM : 0;
}

static bool watch(struct engine *e, struct conn *c)
{
	(void)e;
	fake.watched = c;
	return fake.lack != LACKS_WATCH;
}

static unsigned int wait_for_events(struct engine *e, int timeout_ms)
{
	struct pollfd p = {.fd = fake.watched->fd, .events = POLLIN};

	(void)e;
	(void)timeout_ms;
	fake.ready = fake.owes || poll(&p, 1, 0) > 0 ? fake.watched : NULL;
	return fake.ready != NULL;
}

static struct conn *next(struct engine *e)
{
	struct conn *c = fake.lack == LACKS_RECEIVE ? NULL : fake.ready;

	(void)e;
	fake.ready = NULL;
	return c;
}

static enum conn_want serve(struct engine *e, struct conn *c)
{
	char text[8];
	ssize_t count;

	(void)e;
	if (fake.owes)
		return fake.lack == LACKS_STOP ? CONN_WANT_READ : CONN_WANT_WRITE;
	count = recv(c->fd, text, sizeof(text), 0);
	assert_true(count > 0);
	if (fake.lack != LACKS_SEND)
		fake.owes = send(c->fd, text, (size_t)count, MSG_DONTWAIT) < 0;
	return CONN_WANT_READ;
}

static bool is_ready(struct engine *e, struct conn *c)
{
	(void)e;
	(void)c;
	return false;
}

static enum conn_want forget(struct engine *e, struct conn *c)
{
	(void)e;
	(void)c;
	return fake.lack == LACKS_CANCEL ? CONN_WANT_READ : CONN_WANT_WRITE;
}

static void close_engine(struct engine *e)
{
	(void)e;
	fake.watched = NULL;
}

static const struct engine_calls calls = {
	.begin = begin,
	.watch = watch,
	.wait = wait_for_events,
	.next = next,
	.serve = serve,
	.is_ready = is_ready,
	.forget = forget,
	.close = close_engine,
};

struct engine *__wrap_engine_uring_open(const struct bell *bell, size_t buffer_bytes)
{
	(void)bell;
	(void)buffer_bytes;
	errno = ENOMEM;
	return fake.lack == LACKS_MEMORY ? NULL : &fake.engine;
}

static void test_what_is_missing_is_named(void **state)
{
	static const char *const expected[] = {
		[LACKS_MEMORY] = "Cannot allocate memory",
		[LACKS_RING] = "Operation not permitted",
		[LACKS_WATCH] = "it does not wait on a socket",
		[LACKS_RECEIVE] = "it does not receive into a shared buffer",
		[LACKS_SEND] = "it does not send",
		[LACKS_STOP] = "it does not stop where a send is not taken whole",
		[LACKS_CANCEL] = "it does not cancel",
	};

	(void)state;
	for (enum lack lack = LACKS_NOTHING; lack <= LACKS_CANCEL; lack++) {
		const char *why = "";

		fake = (struct fake){.engine.calls = &calls, .lack = lack};
		assert_int_equal(engine_uring_works(&why), lack == LACKS_NOTHING);
		if (lack == LACKS_NOTHING)
			assert_null(why);
		else
			assert_string_equal(why, expected[lack]);
		assert_null(fake.watched);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_missing_is_named),
	};

	return cmocka_run_group_tests_name("engine_probe", tests, NULL, NULL);
}
