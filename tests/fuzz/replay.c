/*
 * Runs a fuzz target once on each file of a directory, without libFuzzer, so that every compiler
 * and every sanitizer of the suite gets the corpus. Prints each name before it is run, so that the
 * last one is the culprit.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "properties.h"

/* Larger than any input of the corpus. */
#define INPUT_BYTES_MAX (128 * 1024)

static int replay(const char *name)
{
	static uint8_t input[INPUT_BYTES_MAX];
	FILE *file = fopen(name, "r");

	if (!file) {
		perror(name);
		return -1;
	}
	size_t size = fread(input, 1, sizeof(input), file);
	int failed = ferror(file) || size == sizeof(input);
	if (fclose(file) != 0 || failed) {
		fprintf(stderr, "%s: cannot be read, or too large\n", name);
		return -1;
	}
	LLVMFuzzerTestOneInput(input, size);
	return 0;
}

int main(int argc, char *argv[])
{
	DIR *directory = argc == 2 && chdir(argv[1]) == 0 ? opendir(".") : NULL;
	unsigned int count = 0;
	struct dirent *entry;

	if (!directory) {
		fprintf(stderr, "usage: replay DIRECTORY\n");
		return 2;
	}
	while ((entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		printf("%s\n", entry->d_name);
		fflush(stdout);
		if (replay(entry->d_name) != 0)
			return 1;
		count++;
	}
	closedir(directory);
	printf("%u inputs\n", count);
	return count > 0 ? 0 : 1;
}
