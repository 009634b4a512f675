/*
 * The style and the script of the status page: the files in page/, as they are. Main thread.
 */
#include "echopool/control/pages.h"

/* The assembler puts a file between two symbols; the compiler's #embed is too new. */
#define EMBED(name, file)                                                                        \
	__asm__(".pushsection .rodata\n" name ": .incbin \"" PAGE_DIRECTORY "/" file "\"\n" name \
		"_end:\n.byte 0\n.popsection\n")

EMBED("page_style", "status.css");
EMBED("page_script", "status.js");

extern const char page_style[], page_style_end[];
extern const char page_script[], page_script_end[];

unsigned int page_style_write(FILE *out, const struct page_request *request)
{
	(void)request;
	fwrite(page_style, 1, (size_t)(page_style_end - page_style), out);
	return 200;
}

unsigned int page_script_write(FILE *out, const struct page_request *request)
{
	(void)request;
	fwrite(page_script, 1, (size_t)(page_script_end - page_script), out);
	return 200;
}
