/*
 * HTTP through libmicrohttpd, which is driven from the main thread's poll and has no thread, no
 * listener and no timeout of its own. See the header; main thread.
 *
 * Requests are GET or HEAD, and nothing that they say changes anything. Whoever has a page of
 * another host open in a browser cannot read ours through it: the name that Host has is checked
 * (DNS rebinding).
 */
#include "echopool/control/admin_http.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "echopool/base/clock.h"
#include "echopool/base/log.h"
#include "echopool/base/thread.h"
#include "echopool/control/pages.h"
#include "echopool/control/server_state.h"

/* For the head of a request and of its answer; a longer head is answered by 431. */
#define CONNECTION_BYTES 8192

/*
 * A body of /metrics, which takes milliseconds with a thousand workers, is kept for so many times
 * as long as it took to write: however many scrape, that is a tenth of the thread's time.
 */
#define KEEP_TIMES 10

static const unsigned int statuses[] = {200, 404, 405, 421, 503};

#define STATUS_COUNT (sizeof(statuses) / sizeof(statuses[0]))

/* A body that several requests may be answered with. */
struct body {
	struct MHD_Response *response; /* NULL: none */
	uint64_t kept_until_ns;
};

/* The main thread's. */
struct admin_http {
	struct MHD_Daemon *daemon;
	const struct server *server; /* during admin_http_run() */
	void (*ended)(void *argument, int fd);
	void *ended_argument;
	uint64_t answered[PAGES_COUNT + 1][STATUS_COUNT]; /* the last line: other paths */
	struct body bodies[2][2];                         /* of /metrics: [open_metrics][workers] */
};

static _Noreturn void panic(void *argument, const char *file, unsigned int line, const char *reason)
{
	(void)argument;
	log_error("libmicrohttpd: %s:%u: %s", file, line, reason ? reason : "no reason");
	abort();
}

/* What clients do wrong is no news. */
__attribute__((format(printf, 2, 0))) static void be_silent(void *argument, const char *format,
							    va_list arguments)
{
	(void)argument;
	(void)format;
	(void)arguments;
}

static void on_connection(void *argument, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct admin_http *h = argument;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	(void)context;
	if (code == MHD_CONNECTION_NOTIFY_CLOSED && info)
		h->ended(h->ended_argument, info->connect_fd);
}

/* Whether what is before the port of a Host is one of ours. */
static bool is_our_host(const char *host, const struct settings *s)
{
	const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
	const size_t length = end ? (size_t)(end - host) + 1 : strcspn(host, ":");
	char name[256];
	union address address;

	if (length == 0 || length >= sizeof(name) ||
	    (host[length] == ':' &&
	     strspn(host + length + 1, "0123456789") != strlen(host + length + 1)) ||
	    (host[length] != ':' && host[length] != '\0'))
		return false;
	memcpy(name, host, length);
	name[length] = '\0';
	if (end) {
		name[length - 1] = '\0';
		return address_parse(name + 1, 0, &address);
	}
	if (strcasecmp(name, "localhost") == 0 || address_parse(name, 0, &address))
		return true;
	for (size_t i = 0; i < s->admin.hosts.count; i++)
		if (strcasecmp(name, s->admin.hosts.items[i]) == 0)
			return true;
	return false;
}

static const struct page *find_page(const char *path)
{
	for (unsigned int i = 0; i < PAGES_COUNT; i++)
		if (strcmp(pages[i].path, path) == 0)
			return &pages[i];
	return NULL;
}

static void count_answer(struct admin_http *h, const struct page *page, unsigned int status)
{
	for (unsigned int i = 0; i < STATUS_COUNT; i++)
		if (statuses[i] == status)
			h->answered[page ? page - pages : PAGES_COUNT][i]++;
}

bool admin_http_count(const struct admin_http *h, unsigned int number, struct admin_count *count)
{
	const unsigned int path = number / STATUS_COUNT, status = number % STATUS_COUNT;

	if (path > PAGES_COUNT)
		return false;
	*count = (struct admin_count){
		.path = path < PAGES_COUNT ? pages[path].path : "other",
		.status = statuses[status],
		.requests = h->answered[path][status],
	};
	return true;
}

static bool add_headers(struct MHD_Response *r, const char *type)
{
	return MHD_add_response_header(r, "Connection", "close") == MHD_YES &&
	       MHD_add_response_header(r, "Content-Type", type) == MHD_YES &&
	       MHD_add_response_header(r, "Cache-Control", "no-store") == MHD_YES &&
	       MHD_add_response_header(r, "X-Content-Type-Options", "nosniff") == MHD_YES &&
	       MHD_add_response_header(r, "Content-Security-Policy",
				       "default-src 'none'; script-src 'self'; style-src 'self'; "
				       "connect-src 'self'; img-src 'self'; base-uri 'none'; "
				       "form-action 'none'; frame-ancestors 'none'") == MHD_YES;
}

/* A response with what write has written; NULL when memory is short. */
static struct MHD_Response *make_response(const struct page *page, const struct page_request *q,
					  const char *type, unsigned int *status)
{
	struct MHD_Response *response = NULL;
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	bool good = out != NULL;

	if (good) {
		*status = page->write(out, q);
		good = !ferror(out);
		good = fclose(out) == 0 && good;
	}
	if (good)
		response = MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return NULL;
	}
	if (add_headers(response, type))
		return response;
	MHD_destroy_response(response);
	return NULL;
}

/* As that, or the one that was made a moment ago; each caller has its own reference. */
static struct MHD_Response *metrics_response(struct admin_http *h, const struct page *page,
					     const struct page_request *q, unsigned int *status)
{
	struct body *body = &h->bodies[q->open_metrics][q->workers];
	const uint64_t now_ns = clock_now_ns();

	*status = MHD_HTTP_OK;
	if (body->response && now_ns < body->kept_until_ns)
		return body->response;
	if (body->response)
		MHD_destroy_response(body->response);
	body->response = make_response(
		page, q,
		q->open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
				: page->type,
		status);
	body->kept_until_ns = now_ns + KEEP_TIMES * (clock_now_ns() - now_ns);
	return body->response;
}

static enum MHD_Result send_page(struct admin_http *h, struct MHD_Connection *c,
				 const struct page *page)
{
	const char *accept = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept");
	const char *workers = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "workers");
	const struct page_request q = {
		.server = h->server,
		.http = h,
		.open_metrics = accept && strstr(accept, "application/openmetrics-text"),
		.workers = !workers || strcmp(workers, "0") != 0,
	};
	unsigned int status = MHD_HTTP_OK;
	struct MHD_Response *response = page->is_metrics
						? metrics_response(h, page, &q, &status)
						: make_response(page, &q, page->type, &status);
	enum MHD_Result result;

	if (!response)
		return MHD_NO; /* it is closed without an answer */
	count_answer(h, page, status);
	result = MHD_queue_response(c, status, response);
	if (!page->is_metrics)
		MHD_destroy_response(response);
	return result;
}

/* Says in a line why there is no page. */
static enum MHD_Result refuse(struct admin_http *h, struct MHD_Connection *c,
			      const struct page *page, unsigned int status, const char *text)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result = MHD_NO;

	if (!response)
		return MHD_NO;
	if (add_headers(response, "text/plain; charset=utf-8") &&
	    (status != MHD_HTTP_METHOD_NOT_ALLOWED ||
	     MHD_add_response_header(response, "Allow", "GET, HEAD") == MHD_YES))
		result = MHD_queue_response(c, status, response);
	count_answer(h, page, status);
	MHD_destroy_response(response);
	return result;
}

/* Answers a request as soon as its head is there; a body is not read. */
static enum MHD_Result answer(void *argument, struct MHD_Connection *c, const char *path,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_bytes, void **context)
{
	struct admin_http *h = argument;
	const struct page *page = find_page(path);
	const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host");

	(void)version;
	(void)upload;
	(void)upload_bytes;
	(void)context;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return refuse(h, c, page, MHD_HTTP_METHOD_NOT_ALLOWED,
			      "This endpoint only tells; use GET or HEAD.\n");
	if (host ? !is_our_host(host, h->server->parts.settings) : !(page && page->is_probe))
		return refuse(h, c, page, MHD_HTTP_MISDIRECTED_REQUEST,
			      "The Host of the request is not known here; see admin.hosts.\n");
	if (!page)
		return refuse(h, c, page, MHD_HTTP_NOT_FOUND, "There is no such page.\n");
	return send_page(h, c, page);
}

struct admin_http *admin_http_new(void (*ended)(void *argument, int fd), void *argument)
{
	struct admin_http *h = calloc(1, sizeof(*h));

	if (h) {
		h->ended = ended;
		h->ended_argument = argument;
		MHD_set_panic_func(panic, NULL);
		h->daemon = MHD_start_daemon(
			MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG, 0, NULL, NULL,
			answer, h, MHD_OPTION_EXTERNAL_LOGGER, be_silent, NULL,
			MHD_OPTION_CONNECTION_LIMIT, (unsigned int)ADMIN_CONNECTIONS_MAX,
			MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
			MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_END);
	}
	if (h && h->daemon)
		return h;
	log_error("cannot start the admin endpoint: no memory or no descriptor");
	free(h);
	return NULL;
}

void admin_http_free(struct admin_http *h)
{
	MHD_stop_daemon(h->daemon);
	for (unsigned int i = 0; i < 4; i++)
		if (h->bodies[i / 2][i % 2].response)
			MHD_destroy_response(h->bodies[i / 2][i % 2].response);
	free(h);
}

bool admin_http_add(struct admin_http *h, int fd, const union address *peer)
{
	return MHD_add_connection(h->daemon, fd, &peer->any, address_length(peer)) == MHD_YES;
}

int admin_http_fd(const struct admin_http *h)
{
	return MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

uint64_t admin_http_due_ns(struct admin_http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	return MHD_get_timeout(h->daemon, &ms) == MHD_YES ? clock_now_ns() + ms * NS_PER_MS
							  : UINT64_MAX;
}

void admin_http_run(struct admin_http *h, const struct server *v)
{
	h->server = v;
	MHD_run(h->daemon);
}
