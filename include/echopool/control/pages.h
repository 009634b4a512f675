/*
 * What the admin endpoint answers: a table of paths, each with the function that writes its body.
 * Main thread; nothing here waits for another thread.
 */
#ifndef ECHOPOOL_CONTROL_PAGES_H
#define ECHOPOOL_CONTROL_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct admin_http;
struct server;

/* A request as far as a body depends on it. */
struct page_request {
	const struct server *server;
	const struct admin_http *http; /* whose requests are counted */
	bool open_metrics;             /* asked for by Accept */
	bool workers;                  /* not left out by ?workers=0 */
};

struct page {
	const char *path;
	const char *type; /* its Content-Type; of /metrics, where OpenMetrics was not asked for */
	bool is_probe;    /* answered without a Host too, as load balancers ask */
	bool is_metrics;
	/* Writes the body and returns the HTTP status. */
	unsigned int (*write)(FILE *out, const struct page_request *request);
};

#define PAGES_COUNT 8
extern const struct page pages[PAGES_COUNT];

/* The bodies, each in a file of its own. */
unsigned int probe_live(FILE *out, const struct page_request *request);
unsigned int probe_ready(FILE *out, const struct page_request *request);
/* What /readyz says. */
bool probe_is_ready(const struct server *v);

unsigned int metrics_write(FILE *out, const struct page_request *request);
unsigned int status_text(FILE *out, const struct page_request *request);
unsigned int status_json(FILE *out, const struct page_request *request);
unsigned int status_page(FILE *out, const struct page_request *request);
unsigned int page_style_write(FILE *out, const struct page_request *request);
unsigned int page_script_write(FILE *out, const struct page_request *request);

#endif
