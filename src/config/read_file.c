/*
 * A small text file read whole. Called by config.c, in the thread that reads the configuration.
 *
 * The file is opened once and everything is asked of that one descriptor, so that a file replaced
 * meanwhile gives the old content or the new one, never a mixture.
 */
#include "echopool/config/read_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void report_unreadable(struct findings *f, int error)
{
	findings_add(f, LOG_LEVEL_ERROR, (struct origin){0}, NULL,
		     "cannot be read: %s; expected %s", strerror(error),
		     error == ENOENT ? "the path of an existing file"
				     : "a file that echopool may read");
}

static const char *kind_of_file(mode_t mode)
{
	return S_ISDIR(mode)                    ? "a directory"
	       : S_ISFIFO(mode)                 ? "a FIFO"
	       : S_ISCHR(mode) || S_ISBLK(mode) ? "a device"
						: "something else than a file";
}

/* Refuses what is not a regular file of a sensible size. */
static bool check_file(int fd, struct findings *f)
{
	struct stat st;

	if (fstat(fd, &st) != 0) {
		report_unreadable(f, errno);
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		findings_add(f, LOG_LEVEL_ERROR, (struct origin){0}, NULL,
			     "found %s; expected a regular file", kind_of_file(st.st_mode));
		return false;
	}
	if ((st.st_mode & S_IWOTH) != 0)
		findings_add(f, LOG_LEVEL_WARNING, (struct origin){0}, NULL,
			     "found that others may write to it (mode %04o); expected mode 0644",
			     (unsigned int)(st.st_mode & 07777));
	return true;
}

/* Reads until the end, or until a byte too many is there. False: reported, or no memory. */
static bool read_whole(int fd, char **text, size_t *length, struct findings *f)
{
	ssize_t n = 1;

	*length = 0;
	*text = malloc(READ_FILE_BYTES_MAX + 2);
	if (*text == NULL)
		f->no_memory = true;
	while (*text != NULL && n != 0 && *length <= READ_FILE_BYTES_MAX) {
		n = read(fd, *text + *length, READ_FILE_BYTES_MAX + 1 - *length);
		if (n < 0 && errno != EINTR) {
			report_unreadable(f, errno);
			return false;
		}
		*length += n > 0 ? (size_t)n : 0;
	}
	if (*length > READ_FILE_BYTES_MAX)
		findings_add(f, LOG_LEVEL_ERROR, (struct origin){0}, NULL,
			     "found more than %zu KiB; expected a file of at most that",
			     READ_FILE_BYTES_MAX / 1024);
	return *text != NULL && *length <= READ_FILE_BYTES_MAX;
}

char *read_file(const char *path, size_t *length, struct findings *f)
{
	char *text = NULL;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd < 0) {
		report_unreadable(f, errno);
		return NULL;
	}
	if (check_file(fd, f) && read_whole(fd, &text, length, f)) {
		memcpy(text + *length, "\n", 2);
	} else {
		free(text);
		text = NULL;
	}
	/* Nothing was written: whatever close(2) says, no data is lost, and fd is gone. */
	(void)close(fd);
	return text;
}
