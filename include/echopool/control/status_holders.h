/*
 * The part of the status that tells who holds the workers; nothing where admin.peers is false.
 * Workers are asked by it, and never waited for. Main thread.
 */
#ifndef ECHOPOOL_CONTROL_STATUS_HOLDERS_H
#define ECHOPOOL_CONTROL_STATUS_HOLDERS_H

#include <stdio.h>

struct parts;

void status_holders_text(FILE *out, const struct parts *p);
void status_holders_html(FILE *out, const struct parts *p);

/* An object, always. */
void status_holders_json(FILE *out, const struct parts *p);

/* Writes a text with what has a meaning of its own escaped: in HTML; in JSON, with its quotes. */
void put_html_text(FILE *out, const char *text);
void put_json_string(FILE *out, const char *text);

#endif
