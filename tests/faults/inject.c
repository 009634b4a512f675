/*
 * A library for LD_PRELOAD that makes chosen calls of the program fail: the plan, the counters and
 * the decision. The replacements of the calls are in inject_calls.c and inject_memory.c. Its
 * constructor and the start of main() run alone; inject_decide() is called from any thread.
 *
 * The environment is the plan:
 *   FAULT_CALL     the kind of call, one of those in inject.h
 *   FAULT_MODE     errno (default), short, sigterm: the call works, and SIGTERM is raised; or hang:
 *                  it does not return
 *   FAULT_ERRNO    the number of the error
 *   FAULT_NTH      the first call that it befalls, from 1; 0 or nothing: none
 *   FAULT_BURST    how many in a row, default 1
 *   FAULT_PROCESS  server (default), or child: the processes that the server starts
 *   FAULT_PAGE     a file of PAGE_SLOTS 64-bit numbers, which the runner reads
 *   FAULT_SYSLOG   the path of a datagram socket that stands in for /dev/log
 *
 * What happens before main() and after it is never counted, so that neither the loader nor the
 * reports of a coverage build are in the way.
 */
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum slot {
	SLOT_SERVER,  /* the process ID of the first program that had this page */
	SLOT_FIRED,   /* how many calls were made to fail */
	SLOT_WHERE,   /* the address that the first of them returns to, within the program */
	SLOT_PORT_V4, /* where the program listens; 0: it does not */
	SLOT_PORT_V6,
	SLOT_CALLS, /* from here on a counter for each kind of call */
	PAGE_SLOTS = SLOT_CALLS + CALL_COUNT
};

#define CALL_NAME(name) #name "\n"
/* For the runner: the kinds in the order of their slots. */
extern const char inject_names[];
const char inject_names[] = CALLS(CALL_NAME);

/* Written before the program's main(), then only read. */
static struct {
	enum call call;
	enum { MODE_ERRNO, MODE_SHORT, MODE_SIGTERM, MODE_HANG } mode;
	int error;
	uint64_t nth; /* 0: nothing fails */
	uint64_t burst;
	bool in_child;
	const char *syslog;
	uintptr_t program_base;
	uintptr_t libconfig_begin;
	uintptr_t libconfig_end;
} plan = {.burst = 1};

/* Shared with the runner and with child processes; plain counters, so relaxed order suffices. */
static _Atomic uint64_t own_page[PAGE_SLOTS];
static _Atomic uint64_t *page = own_page;

/* Between the beginning and the end of main(). */
static atomic_bool armed;

static void give_up(const char *what)
{
	fprintf(stderr, "inject: %s\n", what);
	_exit(125);
}

static _Thread_local bool looking;

bool inject_is_looking(void)
{
	return looking;
}

void *inject_next(const char *name)
{
	void *found;

	looking = true;
	found = dlsym(RTLD_NEXT, name);
	looking = false;
	if (!found)
		give_up(name);
	return found;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static enum call call_named(const char *wanted)
{
	const char *name = inject_names;

	for (int call = 0; call < CALL_COUNT; call++) {
		const size_t length = strcspn(name, "\n");

		if (length == strlen(wanted) && strncmp(name, wanted, length) == 0)
			return (enum call)call;
		name += length + 1;
	}
	give_up("FAULT_CALL is no kind of call");
	return CALL_COUNT;
}

static void read_plan(void)
{
	const char *call = getenv("FAULT_CALL");
	const char *mode = getenv("FAULT_MODE");
	const char *process = getenv("FAULT_PROCESS");

	plan.error = (int)number("FAULT_ERRNO", 0);
	plan.nth = number("FAULT_NTH", 0);
	plan.burst = number("FAULT_BURST", 1);
	plan.in_child = process && strcmp(process, "child") == 0;
	plan.syslog = getenv("FAULT_SYSLOG");
	if (mode && strcmp(mode, "short") == 0)
		plan.mode = MODE_SHORT;
	else if (mode && strcmp(mode, "sigterm") == 0)
		plan.mode = MODE_SIGTERM;
	else if (mode && strcmp(mode, "hang") == 0)
		plan.mode = MODE_HANG;
	if (plan.nth)
		plan.call = call_named(call ? call : "");
}

static void map_page(void)
{
	const char *path = getenv("FAULT_PAGE");
	void *mapped;
	int fd;

	if (!path)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		give_up("FAULT_PAGE cannot be opened");
	mapped = mmap(NULL, sizeof(own_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (mapped == MAP_FAILED)
		give_up("FAULT_PAGE cannot be mapped");
	page = mapped;
}

/* Finds where the program and libconfig are; the first object is the program. */
static int note_object(struct dl_phdr_info *object, size_t bytes, void *first)
{
	(void)bytes;
	if (*(bool *)first)
		plan.program_base = object->dlpi_addr;
	*(bool *)first = false;
	if (!strstr(object->dlpi_name, "libconfig.so"))
		return 0;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];

		if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
			plan.libconfig_begin = object->dlpi_addr + part->p_vaddr;
			plan.libconfig_end = plan.libconfig_begin + part->p_memsz;
		}
	}
	return 0;
}

bool inject_is_libconfig(const void *address)
{
	const uintptr_t a = (uintptr_t)address;

	return a >= plan.libconfig_begin && a < plan.libconfig_end;
}

static void disarm(void)
{
	atomic_store_explicit(&armed, false, memory_order_relaxed);
}

static int (*program_main)(int, char **, char **);

static int watched_main(int argc, char *argv[], char *environment[])
{
	bool first = true;
	uint64_t nobody = 0;
	int status;

	read_plan();
	map_page();
	dl_iterate_phdr(note_object, &first);
	atomic_compare_exchange_strong(&page[SLOT_SERVER], &nobody, (uint64_t)getpid());
	if (atexit(disarm) != 0)
		give_up("atexit");
	atomic_store_explicit(&armed, true, memory_order_relaxed);
	status = program_main(argc, argv, environment);
	disarm();
	return status;
}

/* The way from the program's start to its main(); the original is told another main(). */
REPLACE(int, start, "__libc_start_main", int (*main)(int, char **, char **), int argc, char **argv,
	void (*init)(void), void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	program_main = main;
	return next_start()(watched_main, argc, argv, init, fini, rtld_fini, stack_end);
}

static bool is_chosen_process(void)
{
	const bool is_server = page[SLOT_SERVER] == (uint64_t)getpid();

	return is_server != plan.in_child;
}

static void note_firing(const void *caller)
{
	if (atomic_fetch_add_explicit(&page[SLOT_FIRED], 1, memory_order_relaxed) == 0)
		page[SLOT_WHERE] = (uintptr_t)caller - plan.program_base;
}

static void raise_sigterm(void)
{
	const int saved = errno;

	if (kill(getpid(), SIGTERM) != 0)
		give_up("kill");
	errno = saved;
}

enum verdict inject_decide(enum call call, const void *caller)
{
	uint64_t n;

	if (!atomic_load_explicit(&armed, memory_order_relaxed) || !is_chosen_process())
		return VERDICT_PASS;
	n = atomic_fetch_add_explicit(&page[SLOT_CALLS + call], 1, memory_order_relaxed) + 1;
	if (plan.nth == 0 || call != plan.call || n < plan.nth || n - plan.nth >= plan.burst)
		return VERDICT_PASS;
	note_firing(caller);
	switch (plan.mode) {
	case MODE_SIGTERM:
		raise_sigterm();
		return VERDICT_PASS;
	case MODE_SHORT:
		return VERDICT_SHORT;
	case MODE_HANG:
		return VERDICT_HANG;
	default:
		errno = plan.error;
		return VERDICT_FAIL;
	}
}

const char *inject_syslog(void)
{
	return plan.syslog;
}

int inject_error(void)
{
	return plan.error;
}

void inject_note_port(int family, uint16_t port)
{
	page[family == AF_INET6 ? SLOT_PORT_V6 : SLOT_PORT_V4] = port;
}
