/*
 * The child of a reload that says more than it should. It is this program itself, as the server's
 * is the server.
 */
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/config/config.h"
#include "echopool/config/reload_child.h"

/* Writes until it is killed. */
static int talk_for_ever(void)
{
	static char text[65536];

	memset(text, 'x', sizeof(text));
	while (write(STDOUT_FILENO, text, sizeof(text)) > 0)
		;
	return 1;
}

static void test_a_child_that_says_too_much_is_not_listened_to(void **state)
{
	const struct config_source source = {.file = "/dev/null"};
	struct reload_child child;
	struct settings settings;
	struct pollfd fds[2];
	int status;

	(void)state;
	reload_child_init(&child);
	assert_true(reload_child_start(&child, &source));
	child.deadline_ns = UINT64_MAX; /* however slow the machine is */
	while (!child.too_long) {
		reload_child_fill_poll(&child, fds);
		if (fds[0].fd < 0 && fds[1].fd < 0) {
			reload_child_abort(&child);
			return; /* the child was not this program, as under an emulator */
		}
		assert_true(poll(fds, 2, 30000) > 0);
		assert_int_equal(reload_child_continue(&child, &settings), RELOAD_PENDING);
	}
	/* It was killed, and until it has ended no poll shall tell of what else it has said. */
	reload_child_fill_poll(&child, fds);
	assert_int_equal(fds[0].fd, -1);
	assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
	reload_child_ended(&child, child.pid, status);
	assert_int_equal(reload_child_continue(&child, &settings), RELOAD_REFUSED);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_child_that_says_too_much_is_not_listened_to),
	};

	(void)argv;
	if (argc > 1)
		return talk_for_ever();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
