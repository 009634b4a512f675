/*
 * The log: a line that nobody takes is dropped at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cmocka_setup.h"
#include "echopool/base/log.h"

/* Fills the pipe whose writing end this is, and has it block again. */
static void fill_pipe(int fd)
{
	const int flags = fcntl(fd, F_GETFL);
	char byte = 'x';

	assert_int_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
	while (write(fd, &byte, 1) == 1)
		;
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(fcntl(fd, F_SETFL, flags), 0);
}

/* A log that was not opened polls its pipe. EINTR stays in errno after a SIGCONT. */
static void test_does_not_try_again_for_an_old_interruption(void **state)
{
	const int was = dup(STDERR_FILENO);
	int ends[2], error;

	(void)state;
	assert_true(was >= 0);
	assert_int_equal(pipe(ends), 0);
	fill_pipe(ends[1]);
	assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	alarm(60);
	errno = EINTR;
	log_error("a line");
	error = errno;
	alarm(0);
	assert_int_equal(dup2(was, STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(error, EINTR);
	close(was);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_does_not_try_again_for_an_old_interruption),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
