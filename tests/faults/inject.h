/*
 * What the parts of the injected library share: the kinds of calls, and the question whether this
 * call is the one to fail. Any thread of the program under test may ask.
 */
#ifndef ECHOPOOL_TESTS_INJECT_H
#define ECHOPOOL_TESTS_INJECT_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Each kind is counted for itself. A call whose errors mean different things for different
 * descriptors is several kinds: write_bell is write(2) to an eventfd, write_log to anything else.
 */
#define CALLS(CALL)              \
	CALL(accept4)            \
	CALL(aligned_alloc)      \
	CALL(bind)               \
	CALL(calloc)             \
	CALL(close)              \
	CALL(connect)            \
	CALL(epoll_create1)      \
	CALL(epoll_ctl_add)      \
	CALL(epoll_ctl_del)      \
	CALL(epoll_ctl_mod)      \
	CALL(epoll_wait)         \
	CALL(eventfd)            \
	CALL(execv)              \
	CALL(fclose)             \
	CALL(fcntl_get)          \
	CALL(fcntl_set)          \
	CALL(fgets)              \
	CALL(fopen)              \
	CALL(fork)               \
	CALL(fstat_file)         \
	CALL(fstat_log)          \
	CALL(getrandom)          \
	CALL(getsockname)        \
	CALL(getsockopt)         \
	CALL(libconfig_alloc)    \
	CALL(listen)             \
	CALL(malloc)             \
	CALL(open_file)          \
	CALL(opendir)            \
	CALL(open_log)           \
	CALL(open_null)          \
	CALL(pipe2)              \
	CALL(poll)               \
	CALL(pthread_attr_init)  \
	CALL(pthread_create)     \
	CALL(read_bell)          \
	CALL(read_file)          \
	CALL(read_pipe)          \
	CALL(read_signal)        \
	CALL(readlink)           \
	CALL(realloc)            \
	CALL(recv)               \
	CALL(recvfrom)           \
	CALL(sched_getaffinity)  \
	CALL(sched_setscheduler) \
	CALL(send)               \
	CALL(send_log)           \
	CALL(sendmsg)            \
	CALL(sendto)             \
	CALL(setrlimit)          \
	CALL(setsockopt)         \
	CALL(signalfd)           \
	CALL(socket_inet)        \
	CALL(socket_unix)        \
	CALL(strdup)             \
	CALL(waitpid)            \
	CALL(write_bell)         \
	CALL(write_log)

#define CALL_ENUMERATOR(name) CALL_##name,
enum call { CALLS(CALL_ENUMERATOR) CALL_COUNT };
#undef CALL_ENUMERATOR

/* What to do with a call. */
enum verdict {
	VERDICT_PASS,  /* hand it on */
	VERDICT_FAIL,  /* errno is set: answer with the failure */
	VERDICT_SHORT, /* hand it on with room for one byte */
	VERDICT_HANG,  /* never return, unless the call was told not to wait */
};

/*
 * Counts the call and says what to do with it. In VERDICT_PASS errno is as it was. The caller is
 * the address that the wrapper returns to.
 */
enum verdict inject_decide(enum call call, const void *caller);

/* The error of the plan, for functions that return it, and for those that depend on it. */
int inject_error(void);

/* Whether an address is inside libconfig. */
bool inject_is_libconfig(const void *address);

/* What stands in for /dev/log, or NULL. */
const char *inject_syslog(void);

/* Tells the runner where the program listens. */
void inject_note_port(int family, uint16_t port);

/* The next definition of a function after this library's. Ends the program if there is none. */
void *inject_next(const char *name);

/* Whether this thread is inside inject_next(), which may allocate. */
bool inject_is_looking(void);

/*
 * Defines a replacement for a library function: inject_NAME in this code and SYMBOL for the linker,
 * so that no header's declaration of it matters, and next_NAME(), which answers the original. A
 * race finds the original twice, which is harmless.
 */
#define REPLACE(type, name, symbol, ...)                                  \
	extern type inject_##name(__VA_ARGS__) __asm__(symbol);           \
	static __typeof__(&inject_##name) next_##name(void)               \
	{                                                                 \
		static void *found;                                       \
		void *next = __atomic_load_n(&found, __ATOMIC_RELAXED);   \
                                                                          \
		if (!next) {                                              \
			next = inject_next(symbol);                       \
			__atomic_store_n(&found, next, __ATOMIC_RELAXED); \
		}                                                         \
		return (__typeof__(&inject_##name))(uintptr_t)next;       \
	}                                                                 \
	type inject_##name(__VA_ARGS__)

#define CALLER __builtin_return_address(0)

#endif
