/*
 * What must hold for every configuration, whatever was written. Called by the fuzz targets, in one
 * thread.
 */
#ifndef TESTS_FUZZ_PROPERTIES_H
#define TESTS_FUZZ_PROPERTIES_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer calls it for each input; so does replay.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The path to load where the text below is meant; no file is opened. */
#define TEXT_PATH "fuzz.conf"

/* What config_load() finds at TEXT_PATH from now on; not copied. */
void set_file_text(const uint8_t *data, size_t size);

/*
 * Loads path (NULL: no file) with the overrides, and ends the process with a line if one of these
 * is not so: it is refused if and only if there is an error message, and the settings are empty
 * then; every message is one printable line, and there is a bounded number of them; what is
 * accepted lies within its range, and printed with settings_print() it reads back the same, line by
 * line, as overrides.
 */
void check_load(const char *path, char *const overrides[], size_t count);

#endif
