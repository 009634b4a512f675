/*
 * Every setting of echopool: the struct that the parts read, and the one table from which the
 * defaults, the ranges, the parsing, -o and -T all come.
 *
 * A struct settings is filled by one thread and read-only from then on, so every thread may read
 * it.
 */
#ifndef ECHOPOOL_CONFIG_SETTINGS_H
#define ECHOPOOL_CONFIG_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "echopool/base/log.h"

enum queue_full { QUEUE_FULL_WAIT, QUEUE_FULL_REJECT };
enum engine_choice { ENGINE_AUTO, ENGINE_EPOLL, ENGINE_URING };

/* An array of strings; the list owns them. */
struct string_list {
	char **items;
	size_t count;
};

struct settings {
	struct {
		struct string_list addresses; /* numeric, checked */
		uint32_t port;
		uint32_t backlog;
	} listen;
	struct {
		uint32_t workers; /* 0: one for each CPU this process may use */
		uint32_t worker_connections;
		uint32_t queue_limit;
		enum queue_full queue_full;
		bool rebalance;            /* a worker with much work gives some to another */
		uint32_t spin_us;          /* microseconds; 0: never */
		enum engine_choice engine; /* read at start only */
	} pool;
	struct {
		uint32_t buffer_bytes;
		uint32_t connections_per_ip; /* 0: half of the pool, but of loopback */
		uint32_t prefix_ipv4;        /* bits; addresses that share them count as one */
		uint32_t prefix_ipv6;
		uint32_t receive_bytes; /* 0: the kernel's tuning */
	} limits;
	struct {
		/* Milliseconds; 0: never, or as the design says of each. */
		uint32_t idle_ms;
		uint32_t idle_when_full_ms;
		uint32_t queue_ms;
		uint32_t write_ms;
		uint32_t lame_duck_ms;
		uint32_t drain_ms;
	} timeouts;
	struct {
		bool nodelay;
		bool keepalive;
	} tcp;
	struct {
		struct string_list allow; /* CIDR, checked */
		struct string_list deny;
	} access;
	struct {
		enum log_target target;
		enum log_level level;
		bool connections;
		uint32_t rate; /* lines about connections a second; 0: all */
	} log;
	struct {
		struct string_list addresses; /* numeric, checked; none: there is no endpoint */
		uint32_t port;
		struct string_list allow; /* CIDR, checked */
		struct string_list hosts; /* names of this host, checked */
		uint32_t connections;
		uint32_t timeout_ms;
		uint32_t unready_after_ms; /* 0: never */
		bool peers;                /* addresses of clients are told */
	} admin;
};

/* Fills s with the defaults. Returns false when memory is short; s is then empty. */
bool settings_init(struct settings *s);

/* Frees what s owns; s may be filled again. */
void settings_free(struct settings *s);

enum setting_kind {
	SETTING_INTEGER,
	SETTING_SECONDS, /* stored as milliseconds */
	SETTING_BOOL,
	SETTING_WORD, /* one of a few words, stored as an enum */
	SETTING_ADDRESSES,
	SETTING_RULES, /* address ranges */
	SETTING_NAMES  /* of hosts */
};

/* A line of the table of settings. */
struct setting {
	const char *path; /* "pool.workers" */
	enum setting_kind kind;
	size_t offset;   /* of its field in struct settings */
	uint32_t preset; /* the default of a number, bool or word; milliseconds of seconds */
	uint32_t min;    /* of a number; of the entries of a list */
	uint32_t max;    /* likewise */
	const char *const
		*words; /* SETTING_WORD: what may be written; a list: its default. NULL-ended */
};

/* Large enough for any setting's range in words. */
#define SETTING_RANGE_BYTES 128

/* The table, in the order in which settings are printed. */
#define SETTINGS_COUNT 37
extern const struct setting settings_table[SETTINGS_COUNT];

/* Returns the setting of this path, or NULL. */
const struct setting *settings_find(const char *path);

/* True when path is a group of the table ("pool"). */
bool settings_is_group(const char *path);

/* What may be written for a setting, "a whole number from 0 to 1024"; may be in out. */
const char *setting_range(const struct setting *setting, char out[static SETTING_RANGE_BYTES]);

/* Stores a number, bool, enum or milliseconds; no check is made. Not for lists. */
void setting_set_number(const struct setting *setting, struct settings *s, uint32_t number);

/* Whether its value is a list of strings. */
bool setting_is_list(const struct setting *setting);

/* The setting's list within s. For lists only. */
struct string_list *setting_list(const struct setting *setting, struct settings *s);

/* Appends a copy of text. False when memory is short; the list is then as before. */
bool string_list_add(struct string_list *list, const char *text);

/* Frees what the list owns; it is then empty. */
void string_list_free(struct string_list *list);

/* Whether both hold the same value of this setting. */
bool setting_equal(const struct setting *setting, const struct settings *a,
		   const struct settings *b);

/* Large enough for a value in a log line; a longer one is cut and ends in "...". */
#define SETTING_TEXT_BYTES 512

/* The value of one setting as it would be written in a file, in text, which is returned. */
const char *setting_text(const struct setting *setting, const struct settings *s,
			 char text[static SETTING_TEXT_BYTES]);

/*
 * Writes every setting as one path=value line (listen.port=7007), in the order of the table; each
 * line can be given back with -o. Used by -T.
 */
void settings_print(const struct settings *s, FILE *out);

#endif
