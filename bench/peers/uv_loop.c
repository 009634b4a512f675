/*
 * The same loop on libuv. "uv_loop PORT" listens on 127.0.0.1 and ends by SIGTERM.
 *
 * bench/compare.py runs it beside echopool. All callbacks run in the one thread of the loop.
 * Reading from a client stops while a write to it is under way, so that what is kept for it fits
 * into one buffer, and its end is seen only when everything is written.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "peer.h"

struct client {
	uv_tcp_t tcp; /* first, so that its address is the client's */
	uv_write_t write;
	char *pending;
};

static char buffer[PEER_BUFFER_BYTES];

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "uv_loop: %s: %s\n", what, uv_strerror(result));
	exit(1);
}

static void on_closed(uv_handle_t *handle)
{
	struct client *c = (struct client *)handle;

	free(c->pending);
	free(c);
}

static void end(struct client *c)
{
	uv_close((uv_handle_t *)&c->tcp, on_closed);
}

/* One buffer serves all: each read is written, or copied, before the next. */
static void on_need(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)handle;
	(void)suggested;
	*buf = uv_buf_init(buffer, sizeof(buffer));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf);

static void on_written(uv_write_t *write, int status)
{
	struct client *c = write->data;

	free(c->pending);
	c->pending = NULL;
	if (status == UV_ECANCELED)
		return; /* it is being closed */
	if (status < 0 || uv_read_start((uv_stream_t *)&c->tcp, on_need, on_read) < 0)
		end(c);
}

/* Has libuv write the rest once the client takes it; false when that fails. */
static bool keep_rest(struct client *c, const char *bytes, size_t count)
{
	uv_buf_t rest;

	c->pending = malloc(count);
	if (!c->pending)
		return false;
	memcpy(c->pending, bytes, count);
	rest = uv_buf_init(c->pending, (unsigned int)count);
	c->write.data = c;
	uv_read_stop((uv_stream_t *)&c->tcp);
	return uv_write(&c->write, (uv_stream_t *)&c->tcp, &rest, 1, on_written) == 0;
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
	struct client *c = (struct client *)stream;
	uv_buf_t all;
	int sent;

	if (count == 0)
		return; /* nothing to read after all */
	if (count < 0) {
		end(c);
		return;
	}
	all = uv_buf_init(buf->base, (unsigned int)count);
	sent = uv_try_write(stream, &all, 1);
	if (sent == UV_EAGAIN)
		sent = 0;
	if (sent < 0 || (sent < count && !keep_rest(c, buf->base + sent, (size_t)(count - sent))))
		end(c);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct client *c;

	if (status < 0) {
		fprintf(stderr, "uv_loop: accept: %s\n", uv_strerror(status));
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		perror("uv_loop: memory of a client");
		return; /* libuv accepts no further client before this one is taken */
	}
	check(uv_tcp_init(server->loop, &c->tcp), "uv_tcp_init");
	if (uv_accept(server, (uv_stream_t *)&c->tcp) < 0 || uv_tcp_nodelay(&c->tcp, 1) < 0 ||
	    uv_read_start((uv_stream_t *)&c->tcp, on_need, on_read) < 0)
		end(c);
}

int main(int argc, char **argv)
{
	const int port = peer_port(argc, argv);
	uv_loop_t *loop = uv_default_loop();
	struct sockaddr_in address;
	uv_tcp_t server;

	if (!loop)
		peer_fail("uv_default_loop");
	/* libuv writes without MSG_NOSIGNAL. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		peer_fail("SIGPIPE");
	peer_raise_descriptors();
	check(uv_ip4_addr("127.0.0.1", port, &address), "uv_ip4_addr");
	check(uv_tcp_init(loop, &server), "uv_tcp_init");
	check(uv_tcp_bind(&server, (const struct sockaddr *)&address, 0), "bind");
	check(uv_listen((uv_stream_t *)&server, PEER_BACKLOG, on_connection), "listen");
	peer_ready();
	return uv_run(loop, UV_RUN_DEFAULT);
}
