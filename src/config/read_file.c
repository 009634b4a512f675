/*
 * A small text file read whole. Called by config.c, in the thread that reads the configuration.
 *
 * The file is opened once and everything is asked of that one descriptor, so that a file replaced
 * meanwhile gives the old content or the new one, never a mixture.
 */
#include "echopool/config/read_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
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

static bool is_trusted(uid_t user)
{
	return user == 0 || user == geteuid();
}

/* Who may write to the file decides what the server does. */
static void warn_of_writers(const struct stat *st, struct findings *f)
{
	if ((st->st_mode & (S_IWOTH | S_IWGRP)) != 0)
		findings_add(f, LOG_LEVEL_WARNING, (struct origin){0}, NULL,
			     "found that %s may write to it (mode %04o); expected mode 0644",
			     st->st_mode & S_IWOTH ? "others" : "its group",
			     (unsigned int)(st->st_mode & 07777));
	if (!is_trusted(st->st_uid))
		findings_add(f, LOG_LEVEL_WARNING, (struct origin){0}, NULL,
			     "found that user %u owns it; expected root, or who runs echopool",
			     st->st_uid);
}

/* So does who may put another in its place: whose directory of a path it is, or may write to it. */
static void warn_of_directory(const char *path, const char *whose, struct findings *f)
{
	const char *slash = strrchr(path, '/');
	char directory[PATH_MAX] = ".";
	struct stat st;
	mode_t writers;

	if (slash != NULL)
		snprintf(directory, sizeof(directory), "%.*s",
			 slash == path ? 1 : (int)(slash - path), path);
	if (stat(directory, &st) != 0)
		return;
	/* In a sticky one only the owner may. */
	writers = st.st_mode & S_ISVTX ? 0 : st.st_mode & (S_IWOTH | S_IWGRP);
	if (writers != 0)
		findings_add(f, LOG_LEVEL_WARNING, (struct origin){0}, NULL,
			     "found that %s may write to %s directory (mode %04o); expected mode "
			     "0755",
			     writers & S_IWOTH ? "others" : "its group", whose,
			     (unsigned int)(st.st_mode & 07777));
	if (!is_trusted(st.st_uid))
		findings_add(f, LOG_LEVEL_WARNING, (struct origin){0}, NULL,
			     "found that user %u owns %s directory; expected root, or who runs "
			     "echopool",
			     st.st_uid, whose);
}

/* Of a path that is longer open(2) has told. */
static void warn_of_replacers(const char *path, struct findings *f)
{
	char target[PATH_MAX];
	struct stat st;

	warn_of_directory(path, "its", f);
	if (lstat(path, &st) != 0 || !S_ISLNK(st.st_mode))
		return;
	if (!is_trusted(st.st_uid))
		findings_add(f, LOG_LEVEL_WARNING, (struct origin){0}, NULL,
			     "found a symbolic link of user %u; expected one of root, or of who "
			     "runs echopool",
			     st.st_uid);
	if (realpath(path, target) != NULL)
		warn_of_directory(target, "its target's", f);
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
	warn_of_writers(&st, f);
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
	warn_of_replacers(path, f);
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
