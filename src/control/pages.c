/*
 * The table of pages; see the header.
 */
#include "echopool/control/pages.h"

#define TEXT "text/plain; charset=utf-8"

const struct page pages[PAGES_COUNT] = {
	{.path = "/livez", .type = TEXT, .is_probe = true, .write = probe_live},
	{.path = "/readyz", .type = TEXT, .is_probe = true, .write = probe_ready},
	{.path = "/metrics",
	 .type = "text/plain; version=0.0.4; charset=utf-8",
	 .is_metrics = true,
	 .write = metrics_write},
	{.path = "/status.txt", .type = TEXT, .write = status_text},
	{.path = "/status.json", .type = "application/json", .write = status_json},
	{.path = "/", .type = "text/html; charset=utf-8", .write = status_page},
	{.path = "/status.css", .type = "text/css; charset=utf-8", .write = page_style_write},
	{.path = "/status.js",
	 .type = "text/javascript; charset=utf-8",
	 .write = page_script_write},
};
