/*
 * Fuzz target: the input is a configuration file.
 */
#include "properties.h"

#include "echopool/config/read_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > READ_FILE_BYTES_MAX)
		return 0; /* read_file() refuses it, which the unit tests see */
	set_file_text(data, size);
	check_load(TEXT_PATH, NULL, 0);
	return 0;
}
