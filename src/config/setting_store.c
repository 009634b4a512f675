/*
 * One value against its line of the table. Called by config.c for each setting of a file and each
 * -o, in the one thread that reads the configuration.
 */
#include "echopool/config/setting_store.h"

#include "echopool/base/address.h"
#include "echopool/config/number.h"

#include <string.h>

/* Tells "found 70000; expected a whole number from 0 to 1024"; odd adds to what was found. */
static bool refuse(const struct setting *setting, const struct value *v, const char *odd,
		   struct findings *f)
{
	char found[QUOTE_BYTES];
	char range[SETTING_RANGE_BYTES];

	findings_add(f, LOG_LEVEL_ERROR, v->where, setting->path, "found %s%s; expected %s",
		     v->raw_length == 0 && v->kind == VALUE_STRING ? "nothing"
								   : value_found(v, found),
		     odd, setting_range(setting, range));
	return false;
}

static bool store_integer(const struct setting *setting, struct settings *s, const struct value *v,
			  struct findings *f)
{
	const char *odd = "";
	uint32_t number;

	if (v->kind != VALUE_INTEGER || !number_parse(v->raw, v->raw_length, &number, &odd))
		return refuse(setting, v, odd, f);
	if (number < setting->min || number > setting->max)
		return refuse(setting, v, "", f);
	setting_set_number(setting, s, number);
	return true;
}

static bool store_seconds(const struct setting *setting, struct settings *s, const struct value *v,
			  struct findings *f)
{
	const char *odd = "";
	uint32_t ms;

	if ((v->kind != VALUE_INTEGER && v->kind != VALUE_DECIMAL) ||
	    !number_parse_seconds(v->raw, v->raw_length, &ms, &odd))
		return refuse(setting, v, odd, f);
	setting_set_number(setting, s, ms);
	return true;
}

static bool store_bool(const struct setting *setting, struct settings *s, const struct value *v,
		       struct findings *f)
{
	if (v->kind != VALUE_BOOL)
		return refuse(setting, v, "", f);
	setting_set_number(setting, s, v->truth);
	return true;
}

static bool store_word(const struct setting *setting, struct settings *s, const struct value *v,
		       struct findings *f)
{
	for (uint32_t i = 0; v->kind == VALUE_STRING && setting->words[i] != NULL; i++) {
		if (strcmp(setting->words[i], v->string) == 0) {
			setting_set_number(setting, s, i);
			return true;
		}
	}
	return refuse(setting, v, v->kind == VALUE_WORD ? " without quotes" : "", f);
}

/* Interfaces are compared as they are written: one that is named need not exist yet. */
static bool same_scope(const struct value *a, const struct value *b)
{
	return strcmp(address_scope(a->string), address_scope(b->string)) == 0;
}

/* The element before this one that takes its address already, or NULL. */
static const struct value *excluded_by(const struct value *array, const struct value *element,
				       const union address *address)
{
	for (const struct value *e = array->elements; e < element; e++) {
		union address other;

		if (e->kind == VALUE_STRING && address_parse(e->string, 0, &other) &&
		    address_excludes(&other, address) &&
		    (same_scope(e, element) || !address_equal(&other, address)))
			return e;
	}
	return NULL;
}

/* False for what cannot be bound on its own: an IPv4 address mapped into IPv6 is one that it is
 * not. */
static bool parse_listen_address(const struct value *element, union address *address)
{
	const struct in6_addr *v6 = &address->v6.sin6_addr;

	if (element->kind != VALUE_STRING || !address_parse(element->string, 0, address))
		return false;
	if (address->any.sa_family != AF_INET6)
		return true;
	/* The kernel forgets the interface of an address that is not of one. */
	return !IN6_IS_ADDR_V4MAPPED(v6) &&
	       (IN6_IS_ADDR_LINKLOCAL(v6) || strchr(element->string, '%') == NULL);
}

static bool check_address(const struct setting *setting, const struct value *array,
			  const struct value *element, struct findings *f)
{
	char found[QUOTE_BYTES], other[QUOTE_BYTES];
	const struct value *before;
	union address address;

	if (!parse_listen_address(element, &address)) {
		findings_add(f, LOG_LEVEL_ERROR, element->where, setting->path,
			     "found %s; expected a numeric address, as \"127.0.0.1\" or \"::1\"",
			     value_found(element, found));
		return false;
	}
	before = excluded_by(array, element, &address);
	if (before != NULL) {
		findings_add(f, LOG_LEVEL_ERROR, element->where, setting->path,
			     "found %s beside %s; expected each address once, and \"0.0.0.0\" or "
			     "\"::\" without others of its family",
			     value_found(element, found), value_found(before, other));
		return false;
	}
	return true;
}

static bool check_rule(const struct setting *setting, const struct value *element,
		       struct findings *f)
{
	char found[QUOTE_BYTES];
	struct cidr rule;

	if (element->kind == VALUE_STRING && cidr_parse(element->string, &rule))
		return true;
	findings_add(
		f, LOG_LEVEL_ERROR, element->where, setting->path,
		"found %s; expected an address, or a range with no bits set behind its prefix, "
		"as \"10.0.0.0/8\"",
		value_found(element, found));
	return false;
}

static bool check_elements(const struct setting *setting, const struct value *v, struct findings *f)
{
	bool good = true;

	for (size_t i = 0; i < v->count; i++) {
		bool right = setting->kind == SETTING_ADDRESSES
				     ? check_address(setting, v, &v->elements[i], f)
				     : check_rule(setting, &v->elements[i], f);
		good = right && good;
	}
	return good;
}

static bool check_list(const struct setting *setting, const struct value *v, struct findings *f)
{
	char range[SETTING_RANGE_BYTES];

	if (v->kind != VALUE_ARRAY)
		return refuse(setting, v, "", f);
	/* Too many are not looked at one by one. */
	if (v->count < setting->min || v->count > setting->max) {
		findings_add(f, LOG_LEVEL_ERROR, v->where, setting->path,
			     "found %zu entries; expected %s", v->count,
			     setting_range(setting, range));
		return false;
	}
	return check_elements(setting, v, f);
}

static bool store_list(const struct setting *setting, struct settings *s, const struct value *v,
		       struct findings *f)
{
	struct string_list list = {0};

	if (!check_list(setting, v, f))
		return false;
	for (size_t i = 0; i < v->count; i++) {
		if (!string_list_add(&list, v->elements[i].string)) {
			string_list_free(&list);
			f->no_memory = true;
			return false;
		}
	}
	string_list_free(setting_list(setting, s));
	*setting_list(setting, s) = list;
	return true;
}

bool setting_store(const struct setting *setting, struct settings *s, const struct value *v,
		   struct findings *f)
{
	switch (setting->kind) {
	case SETTING_INTEGER:
		return store_integer(setting, s, v, f);
	case SETTING_SECONDS:
		return store_seconds(setting, s, v, f);
	case SETTING_BOOL:
		return store_bool(setting, s, v, f);
	case SETTING_WORD:
		return store_word(setting, s, v, f);
	case SETTING_ADDRESSES:
	case SETTING_RULES:
		return store_list(setting, s, v, f);
	}
	return false;
}
