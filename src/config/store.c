/*
 * One value against its line of the table. Called by tree.c for each setting of a file and by
 * config.c for each -o, in the one thread that reads the configuration.
 */
#include "echopool/config/loading.h"

#include "echopool/base/address.h"
#include "echopool/config/text.h"

#include <stdio.h>
#include <string.h>

#define FOUND_BYTES (QUOTE_BYTES + 2)

#define NS_PER_MS   1000000
#define SECONDS_MAX 86400

/* What was found, in words for a message. */
static const char *value_found(const struct value *v, char out[static FOUND_BYTES])
{
	char quoted[QUOTE_BYTES];
	bool whole;

	if (v->raw != NULL)
		return v->raw[0] == '\0' ? "nothing" : text_quote(v->raw, strlen(v->raw), out);
	switch (v->type) {
	case CONFIG_TYPE_ARRAY:
		return "an array";
	case CONFIG_TYPE_LIST:
		return "a list";
	case CONFIG_TYPE_GROUP:
		return "a group";
	case CONFIG_TYPE_BOOL:
		return v->integer != 0 ? "true" : "false";
	case CONFIG_TYPE_FLOAT:
		whole = v->decimal < 1e15 && v->decimal == (double)(int64_t)v->decimal;
		snprintf(out, FOUND_BYTES, whole ? "%.1f" : "%.15g", v->decimal);
		break;
	case CONFIG_TYPE_STRING:
		snprintf(out, FOUND_BYTES, "\"%s\"",
			 text_quote(v->string, strlen(v->string), quoted));
		break;
	default:
		snprintf(out, FOUND_BYTES, "%d", v->integer);
	}
	return out;
}

void store_refuse(struct loading *l, const char *path, const struct value *v, const char *expected)
{
	char found[FOUND_BYTES];

	findings_add(&l->findings, LOG_LEVEL_ERROR, v->where, path, "found %s%s; expected %s",
		     value_found(v, found), v->odd != NULL ? v->odd : "", expected);
}

static bool read_seconds(const struct value *v, uint32_t *ms)
{
	const bool whole = v->type == CONFIG_TYPE_INT && !v->hexadecimal;
	const double seconds = whole ? (double)v->integer : v->decimal;

	if ((!whole && v->type != CONFIG_TYPE_FLOAT) ||
	    (seconds != 0 && (seconds < 0.001 || seconds > SECONDS_MAX)))
		return false;
	/* First to nanoseconds: 2.0035 is 2004 ms, though the double is a little less. */
	*ms = (uint32_t)(((uint64_t)(seconds * 1e9 + 0.5) + NS_PER_MS / 2) / NS_PER_MS);
	return true;
}

static bool read_word(const struct setting *setting, const struct value *v, uint32_t *number)
{
	for (*number = 0; setting->words[*number] != NULL; ++*number) {
		if (v->type == CONFIG_TYPE_STRING &&
		    strcmp(setting->words[*number], v->string) == 0)
			return true;
	}
	return false;
}

/*
 * The element before this one that takes its address already, or NULL. Interfaces are compared as
 * they are written: one that is named need not exist yet.
 */
static const struct value *excluded_by(const struct value *array, const struct value *element,
				       const union address *address)
{
	for (const struct value *e = array->elements; e < element; e++) {
		union address other;

		if (e->type == CONFIG_TYPE_STRING && address_parse(e->string, 0, &other) &&
		    address_excludes(&other, address) &&
		    (!address_equal(&other, address) ||
		     strcmp(address_scope(e->string), address_scope(element->string)) == 0))
			return e;
	}
	return NULL;
}

/* What is expected in place of an address on which nobody can ever listen; NULL: somebody can. */
static const char *expected_address(const struct value *element, union address *address)
{
	static const char *const numeric = "a numeric address, as \"127.0.0.1\" or \"::1\"";
	static const char *const single = "the address of one machine, not of many";
	const struct in6_addr *v6 = &address->v6.sin6_addr;

	if (element->type != CONFIG_TYPE_STRING || !address_parse(element->string, 0, address))
		return numeric;
	if (address->any.sa_family == AF_INET) {
		const in_addr_t v4 = ntohl(address->v4.sin_addr.s_addr);

		return IN_MULTICAST(v4) || v4 == INADDR_BROADCAST ? single : NULL;
	}
	if (IN6_IS_ADDR_MULTICAST(v6))
		return single;
	if (IN6_IS_ADDR_LINKLOCAL(v6))
		return strchr(element->string, '%') == NULL
			       ? "its interface with it, as \"fe80::1%eth0\""
			       : NULL;
	/* The kernel forgets the interface of an address that is not of one. */
	return IN6_IS_ADDR_V4MAPPED(v6) || strchr(element->string, '%') != NULL ? numeric : NULL;
}

static bool check_address(struct loading *l, const struct setting *setting,
			  const struct value *array, const struct value *element)
{
	char found[FOUND_BYTES], other[FOUND_BYTES];
	union address address;

	const char *expected = expected_address(element, &address);
	if (expected != NULL) {
		store_refuse(l, setting->path, element, expected);
		return false;
	}
	const struct value *before = excluded_by(array, element, &address);
	if (before != NULL)
		findings_add(&l->findings, LOG_LEVEL_ERROR, element->where, setting->path,
			     "found %s beside %s; expected each address once, and \"0.0.0.0\" or "
			     "\"::\" without others of its family",
			     value_found(element, found), value_found(before, other));
	return before == NULL;
}

static bool check_rule(struct loading *l, const struct setting *setting, const struct value *v)
{
	struct cidr rule;

	if (v->type == CONFIG_TYPE_STRING && cidr_parse(v->string, &rule))
		return true;
	store_refuse(l, setting->path, v,
		     "an address, or a range with no bits set behind its prefix, "
		     "as \"10.0.0.0/8\"");
	return false;
}

/* A name of a host has letters, digits, and "-", "_" or "." between them. */
static bool check_name(struct loading *l, const struct setting *setting, const struct value *v)
{
	static const char characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "0123456789-_.";

	if (v->type == CONFIG_TYPE_STRING && v->string[0] != '\0' &&
	    v->string[strspn(v->string, characters)] == '\0')
		return true;
	store_refuse(l, setting->path, v,
		     "the name of a host without a port, as \"echo.example.net\"");
	return false;
}

static bool check_element(struct loading *l, const struct setting *setting,
			  const struct value *array, const struct value *element)
{
	switch (setting->kind) {
	case SETTING_ADDRESSES:
		return check_address(l, setting, array, element);
	case SETTING_RULES:
		return check_rule(l, setting, element);
	default:
		return check_name(l, setting, element);
	}
}

static bool check_list(struct loading *l, const struct setting *setting, const struct value *v)
{
	char range[SETTING_RANGE_BYTES];
	bool good = true;

	/* Too many are not looked at one by one. */
	if (v->count < setting->min || v->count > setting->max) {
		findings_add(&l->findings, LOG_LEVEL_ERROR, v->where, setting->path,
			     "found %zu entries; expected %s", v->count,
			     setting_range(setting, range));
		return false;
	}
	for (const struct value *e = v->elements; e < v->elements + v->count; e++)
		good &= check_element(l, setting, v, e);
	return good;
}

static bool store_list(struct loading *l, const struct setting *setting, const struct value *v)
{
	struct string_list *list = setting_list(setting, l->settings);

	if (!check_list(l, setting, v))
		return false;
	string_list_free(list);
	for (size_t i = 0; i < v->count; i++) {
		if (!string_list_add(list, v->elements[i].string))
			l->findings.no_memory = true;
	}
	return true;
}

/* False: it is not what the setting may be. */
static bool read_number(const struct setting *setting, const struct value *v, uint32_t *number)
{
	switch (setting->kind) {
	case SETTING_INTEGER:
		*number = (uint32_t)v->integer; /* a negative one is above every range */
		return v->type == CONFIG_TYPE_INT && *number >= setting->min &&
		       *number <= setting->max;
	case SETTING_SECONDS:
		return read_seconds(v, number);
	case SETTING_BOOL:
		*number = v->integer != 0;
		return v->type == CONFIG_TYPE_BOOL;
	case SETTING_WORD:
		return read_word(setting, v, number);
	default:
		return false;
	}
}

void store_value(struct loading *l, const struct setting *setting, const struct value *v)
{
	char range[SETTING_RANGE_BYTES];
	uint32_t number;

	if (setting_is_list(setting) && v->type == CONFIG_TYPE_ARRAY) {
		if (!store_list(l, setting, v))
			return;
	} else if (read_number(setting, v, &number)) {
		setting_set_number(setting, l->settings, number);
	} else {
		store_refuse(l, setting->path, v, setting_range(setting, range));
		return;
	}
	l->written[setting - settings_table] = v->where;
}
