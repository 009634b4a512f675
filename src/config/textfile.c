/*
 * A small text file read whole. Called by config.c, in the thread that reads the configuration.
 *
 * The file is opened once and everything is asked of that one descriptor, so that a file replaced
 * meanwhile gives the old content or the new one, never a mixture.
 */
#include "echopool/config/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct origin whole_file = {0};

static void tell_unreadable(struct findings *f, int error)
{
	const char *right = error == ENOENT ? "the path of an existing file"
					    : "a file that echopool may read";

	findings_add(f, LOG_LEVEL_ERROR, whole_file, NULL, "cannot be read: %s; expected %s",
		     strerror(error), right);
}

static const char *kind_of_file(mode_t mode)
{
	if (S_ISDIR(mode))
		return "a directory";
	if (S_ISFIFO(mode))
		return "a FIFO";
	if (S_ISCHR(mode) || S_ISBLK(mode))
		return "a device";
	return "something else than a file";
}

/* Refuses what is not a regular file of a sensible size. */
static bool check_file(int fd, struct findings *f)
{
	struct stat st;

	if (fstat(fd, &st) != 0) {
		tell_unreadable(f, errno);
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		findings_add(f, LOG_LEVEL_ERROR, whole_file, NULL,
			     "found %s; expected a regular file", kind_of_file(st.st_mode));
		return false;
	}
	if ((st.st_mode & S_IWOTH) != 0)
		findings_add(f, LOG_LEVEL_WARNING, whole_file, NULL,
			     "found that others may write to it (mode %04o); expected mode 0644",
			     (unsigned int)(st.st_mode & 07777));
	return true;
}

/* Reads until the end or until size bytes are there. Returns their number, or -1 with errno. */
static ssize_t read_whole(int fd, char *buffer, size_t size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = read(fd, buffer + have, size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

/* Fills buffer, which has room for one byte too many, so that a file too large is seen. */
static bool read_checked(int fd, char *buffer, size_t *length, struct findings *f)
{
	ssize_t n = read_whole(fd, buffer, TEXTFILE_BYTES_MAX + 1);

	if (n < 0) {
		tell_unreadable(f, errno);
		return false;
	}
	if ((size_t)n > TEXTFILE_BYTES_MAX) {
		findings_add(f, LOG_LEVEL_ERROR, whole_file, NULL,
			     "found more than %zu KiB; expected a file of at most that",
			     TEXTFILE_BYTES_MAX / 1024);
		return false;
	}
	buffer[n] = '\0';
	*length = (size_t)n;
	return true;
}

char *textfile_read(const char *path, size_t *length, struct findings *f)
{
	char *buffer = NULL;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd < 0) {
		tell_unreadable(f, errno);
		return NULL;
	}
	if (!check_file(fd, f))
		goto out;
	buffer = malloc(TEXTFILE_BYTES_MAX + 1);
	if (buffer == NULL) {
		f->no_memory = true;
		goto out;
	}
	if (!read_checked(fd, buffer, length, f)) {
		free(buffer);
		buffer = NULL;
	}
out:
	/* Nothing was written: whatever close(2) says, no data is lost, and the descriptor is gone.
	 */
	(void)close(fd);
	return buffer;
}
