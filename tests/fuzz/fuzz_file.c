/*
 * Fuzz target: the input is a configuration file.
 */
#include "properties.h"

#include "echopool/config/textfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > TEXTFILE_BYTES_MAX)
		return 0; /* textfile_read() refuses it, which the unit tests see */
	set_file_text(data, size);
	check_load(TEXT_PATH, NULL, 0);
	return 0;
}
