/*
 * What libconfig makes of a file. Called by config.c, in the one thread that reads the
 * configuration.
 *
 * The tree is walked and each setting's type looked at: a lookup would take a wrong type for a
 * setting that is not there. The lines are libconfig's; a string of an array has that of the token
 * behind it.
 */
#include "echopool/config/loading.h"

#include <stdlib.h>
#include <string.h>

#define TREE_BYTES ((size_t)4 * 1024 * 1024) /* more than libconfig takes for any file of ours */
#define PATH_BYTES 128                       /* a longer path is unknown, cut or not */

#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
/* libconfig 1.5 loses a few bytes at each syntax error, which no caller can free. */
const char *leaks_suppressed(void) __asm__("__lsan_default_suppressions");
const char *leaks_options(void) __asm__("__lsan_default_options");

const char *leaks_suppressed(void)
{
	return "leak:libconfig\n";
}

const char *leaks_options(void)
{
	return "print_suppressions=0";
}
#endif

static void read_scalar(struct loading *l, const config_setting_t *s, struct value *v)
{
	*v = (struct value){
		.type = config_setting_type(s),
		.where.line = config_setting_source_line(s),
		.hexadecimal = config_setting_get_format(s) == CONFIG_FORMAT_HEX,
	};
	if (v->type == CONFIG_TYPE_BOOL)
		v->integer = config_setting_get_bool(s);
	else if (v->type == CONFIG_TYPE_INT)
		v->integer = config_setting_get_int(s);
	else if (v->type == CONFIG_TYPE_FLOAT)
		v->decimal = config_setting_get_float(s);
	else if (v->type == CONFIG_TYPE_STRING)
		v->string = config_setting_get_string(s);
	/* libconfig's copy of it could not be made. */
	if (v->type == CONFIG_TYPE_STRING && v->string == NULL) {
		l->findings.no_memory = true;
		v->string = "";
	}
}

/* Stores v, which has been read from s but for the elements of an array. */
static void load_value(struct loading *l, const struct setting *setting, const config_setting_t *s,
		       struct value *v)
{
	const size_t count = v->type == CONFIG_TYPE_ARRAY ? (size_t)config_setting_length(s) : 0;

	v->elements = calloc(count + 1, sizeof(*v->elements)); /* NULL is never for want of any */
	if (v->elements == NULL) {
		l->findings.no_memory = true;
		return;
	}
	for (; v->count < count; v->count++)
		read_scalar(l, config_setting_get_elem(s, (unsigned int)v->count),
			    &v->elements[v->count]);
	/* No array that lacks even its first element. */
	if (v->type != CONFIG_TYPE_ARRAY || count > 0 || !l->refused)
		store_value(l, setting, v);
	free(v->elements);
}

static void load_setting(struct loading *l, const config_setting_t *s, const char *path)
{
	const struct setting *setting = settings_find(path);
	char expected[PATH_BYTES + 32];
	struct value v;

	read_scalar(l, s, &v);
	l->unfinished = v.type == CONFIG_TYPE_NONE || v.type == CONFIG_TYPE_ARRAY ? setting : NULL;
	/* Without a value it is the one that libconfig stopped at. */
	if (v.type == CONFIG_TYPE_NONE ||
	    (setting != NULL && l->reported[setting - settings_table]))
		return;
	if (setting != NULL) {
		load_value(l, setting, s, &v);
	} else if (settings_is_group(path)) {
		snprintf(expected, sizeof(expected), "a group, as %s: { ... };", path);
		store_refuse(l, path, &v, expected);
	} else {
		nearest_report(l, v.where, path, v.type == CONFIG_TYPE_GROUP);
	}
}

static void load_group(struct loading *l, const config_setting_t *group)
{
	char path[PATH_BYTES];

	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned int)i);

		snprintf(path, sizeof(path), "%s.%s", config_setting_name(group),
			 config_setting_name(s));
		load_setting(l, s, path);
	}
}

static void load_file(struct loading *l, const config_setting_t *root)
{
	for (int i = 0; i < config_setting_length(root); i++) {
		const config_setting_t *s = config_setting_get_elem(root, (unsigned int)i);

		l->unfinished = NULL;
		if (config_setting_is_group(s) && settings_is_group(config_setting_name(s)))
			load_group(l, s);
		else
			load_setting(l, s, config_setting_name(s));
	}
}

/* Reports libconfig's error, with the setting that it befell if that is unfinished. */
static void report_refused(struct loading *l, const config_t *config, uint32_t broken_line)
{
	const struct origin where = {.line = (uint32_t)config_error_line(config)};
	const struct setting *setting = l->unfinished;
	char range[SETTING_RANGE_BYTES];

	if (where.line >= broken_line)
		return;
	findings_add(&l->findings, LOG_LEVEL_ERROR, where, setting != NULL ? setting->path : NULL,
		     "found what libconfig refuses (%s); expected %s", config_error_text(config),
		     setting != NULL ? setting_range(setting, range) : "name = value;");
}

/* When memory is short libconfig would crash or exit, so it is only asked when there is plenty. */
static bool has_memory(void)
{
	void *most = malloc(TREE_BYTES);
	void *least = most != NULL ? realloc(most, 1) : NULL;

	free(least != NULL ? least : most);
	return least != NULL;
}

/*
 * Lets no file be included, even if the guard should miss one: libconfig 1.5 calls exit(2) for a
 * directory. False: memory is short.
 */
#ifdef HAVE_CONFIG_INCLUDE_FUNC
static const char **refuse_include(config_t *config, const char *directory, const char *path,
				   const char **error)
{
	(void)config, (void)directory, (void)path;
	*error = "cannot open include file";
	return NULL;
}

static bool refuse_includes(config_t *config)
{
	config_set_include_func(config, refuse_include);
	return true;
}
#else
static bool refuse_includes(config_t *config)
{
	/* It is put before absolute paths too. libconfig does not look whether its copy was made.
	 */
	config_set_include_dir(config, "/dev/null");
	return config_get_include_dir(config) != NULL;
}
#endif

void tree_load(struct loading *l, const char *text, uint32_t broken_line)
{
	config_t config;

	config_init(&config);
	if (has_memory() && refuse_includes(&config)) {
		l->refused = config_read_string(&config, text) != CONFIG_TRUE;
		load_file(l, config_root_setting(&config));
		if (l->refused)
			report_refused(l, &config, broken_line);
	} else {
		l->findings.no_memory = true;
	}
	config_destroy(&config);
}
