"""Which calls can fail how, and what must follow: the table that the sweep works through.

Each kind of call (see inject.h) has its errors as the manual pages and the
kernel's sources give them, and for each what is right when it happens before
the program is ready (start) and afterwards (running). SYMBOLS and EXCEPTIONS
together account for every function that the program imports.
"""

import dataclasses
import enum
import errno


class Start(enum.Enum):
    """What is right before the program is ready."""

    GOES_ON = "goes on"        # it serves as if nothing had been
    REFUSES = "refuses"        # exit 1 with one line
    WRONG_FILE = "wrong file"  # exit 2 with one line
    EITHER = "goes on or refuses"
    ABORTS = "aborts"          # a bug of ours: SIGABRT with one line
    MAY_END = "may end"        # exit 0, or ended by SIGTERM


class Running(enum.Enum):
    """What is right while it serves."""

    HARMLESS = "harmless"      # no client notices
    ENDS_ONE = "ends one"      # each fault may end one connection
    STOPS = "stops"            # drains, exit 1, one line that says why
    ABORTS = "aborts"          # as above
    DRAINS = "drains"          # who was being served is served to the end, exit 0
    ENDS = "ends"              # exit 0, whoever is being served


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of call, some of its errors, and what must follow."""

    call: str
    errors: tuple
    start: Start
    running: Running
    scenarios: tuple = ("echo",)
    bursts: tuple = (1,)

    @property
    def leaves(self):
        """Whether the program is to end because of it."""
        return self.running not in (HARMLESS, ENDS_ONE)


def _errors(names):
    return tuple(names.split())


# In place of an error: the call works, but handles one byte; it works, and
# SIGTERM comes. A second SIGTERM ends what the first left.
SHORT = "short"
SIGTERM = "SIGTERM"
# It does not return, as where a file system no longer answers; unless it was told not to wait.
HANG = "HANG"

NO_DESCRIPTOR = "EMFILE ENFILE ENOMEM"
GOES_ON, REFUSES, WRONG_FILE, EITHER = (Start.GOES_ON, Start.REFUSES, Start.WRONG_FILE,
                                        Start.EITHER)
HARMLESS, ENDS_ONE = Running.HARMLESS, Running.ENDS_ONE


def _row(call, errors, start, running, scenarios="echo", bursts=(1,)):
    return Row(call, _errors(errors), start, running, _errors(scenarios), bursts)


# The scenario "reload" takes up where the program is ready.
RELOAD = "echo reload"

ROWS = (
    # That connection is gone; so is the next.
    _row("accept4", "EINTR ECONNABORTED EPROTO", GOES_ON, HARMLESS, bursts=(1, 20)),
    # Errors of the network: on, at a bounded rate.
    _row("accept4", "ENETDOWN ENETUNREACH EHOSTUNREACH EHOSTDOWN ENONET ENOPROTOOPT EOPNOTSUPP "
         "EPERM", GOES_ON, HARMLESS, bursts=(1, 5)),
    # It waits in the backlog: a pause that grows.
    _row("accept4", "EMFILE ENFILE ENOBUFS ENOMEM", GOES_ON, HARMLESS, bursts=(1, 4)),
    _row("accept4", "EAGAIN", GOES_ON, HARMLESS),
    # The listener itself is wrong.
    _row("accept4", "EBADF EINVAL ENOTSOCK", REFUSES, Running.STOPS),
    _row("recv", "EINTR EAGAIN " + SHORT, GOES_ON, HARMLESS, bursts=(1, 5)),
    _row("recv", "ECONNRESET ETIMEDOUT EHOSTUNREACH ENOMEM", GOES_ON, ENDS_ONE),
    _row("send", "EINTR EAGAIN " + SHORT, GOES_ON, HARMLESS, bursts=(1, 5)),
    _row("send", "EPIPE ECONNRESET ENOBUFS", GOES_ON, ENDS_ONE),
    # At start it is the bell's: the worker cannot be. Later it is a connection's.
    _row("epoll_ctl_add", "ENOMEM ENOSPC", REFUSES, ENDS_ONE, RELOAD, bursts=(1, 3)),
    _row("epoll_ctl_mod", "ENOMEM ENOSPC", REFUSES, ENDS_ONE),
    _row("epoll_wait", "EINTR", GOES_ON, HARMLESS, bursts=(1, 5)),
    _row("epoll_wait", "EBADF EINVAL", Start.ABORTS, Running.ABORTS),
    _row("poll", "EINTR", GOES_ON, HARMLESS, bursts=(1, 5)),
    _row("epoll_create1", NO_DESCRIPTOR, REFUSES, HARMLESS, RELOAD),
    _row("eventfd", NO_DESCRIPTOR + " ENODEV", REFUSES, HARMLESS, RELOAD),
    _row("signalfd", NO_DESCRIPTOR + " ENODEV", REFUSES, HARMLESS),
    _row("write_bell", "EINTR EAGAIN", GOES_ON, HARMLESS, bursts=(1, 5)),
    _row("read_bell", "EINTR EAGAIN", GOES_ON, HARMLESS, bursts=(1, 5)),
    _row("read_signal", "EINTR EAGAIN", GOES_ON, HARMLESS),
    _row("close", "EINTR EIO", GOES_ON, HARMLESS, bursts=(1, 20)),
    _row("pthread_attr_init", "ENOMEM", REFUSES, HARMLESS, RELOAD),
    _row("pthread_create", "EAGAIN", REFUSES, HARMLESS, RELOAD),
    # Memory. Some of it is the C library's for a file that is not needed.
    _row("malloc", "ENOMEM", EITHER, ENDS_ONE, RELOAD, bursts=(1, 3)),
    _row("calloc", "ENOMEM", EITHER, ENDS_ONE, RELOAD, bursts=(1, 3)),
    _row("realloc", "ENOMEM", EITHER, ENDS_ONE, RELOAD, bursts=(1, 3)),
    _row("strdup", "ENOMEM", EITHER, ENDS_ONE, RELOAD, bursts=(1, 3)),
    _row("aligned_alloc", "ENOMEM", REFUSES, HARMLESS, RELOAD),
    # Listeners.
    _row("socket_inet", "EMFILE ENFILE ENOBUFS ENOMEM EACCES", REFUSES, HARMLESS, RELOAD),
    _row("socket_inet", "EAFNOSUPPORT", EITHER, HARMLESS, RELOAD),
    _row("setsockopt", "ENOMEM ENOBUFS ENOPROTOOPT", REFUSES, HARMLESS, RELOAD),
    # One is for the readiness notice.
    _row("setsockopt", "ENOMEM ENOBUFS ENOPROTOOPT", EITHER, HARMLESS, "systemd"),
    _row("bind", "EACCES EPERM", REFUSES, HARMLESS, RELOAD),
    # Of the second address with port 0: another port. Without ::1: a warning.
    _row("bind", "EADDRINUSE EADDRNOTAVAIL", EITHER, HARMLESS, RELOAD),
    _row("listen", "EADDRINUSE", EITHER, HARMLESS, RELOAD),
    _row("getsockname", "ENOBUFS", REFUSES, HARMLESS, "echo reload systemd"),
    # Whether a receive buffer was set before cannot be asked: then it stays.
    _row("getsockopt", "ENOPROTOOPT", GOES_ON, HARMLESS, RELOAD),
    # As above; an inherited descriptor that is no socket is refused.
    _row("getsockopt", "ENOTSOCK", EITHER, HARMLESS, "systemd"),
    _row("fcntl_get", "EACCES", EITHER, HARMLESS, "systemd"),
    _row("fcntl_set", "EACCES", EITHER, HARMLESS, "reload systemd"),
    # The readiness notice: lost, with a warning.
    _row("sendto", "ECONNREFUSED ENOENT ENOBUFS EAGAIN EPERM", GOES_ON, HARMLESS, "systemd"),
    # Which handshakes are half done as a listener closes: it then waits its full time.
    _row("sendto", "ECONNREFUSED ENOBUFS ENOMEM EAGAIN EPERM", GOES_ON, HARMLESS, RELOAD),
    _row("recvfrom", "EAGAIN EINTR ENOBUFS ENOMEM", GOES_ON, HARMLESS, RELOAD),
    # Files.
    _row("open_null", "EMFILE ENFILE ENOENT", REFUSES, HARMLESS, "closed"),
    _row("open_log", "EACCES ENOENT EMFILE ENXIO", GOES_ON, HARMLESS, RELOAD),
    _row("open_file", "EMFILE ENFILE EACCES ENOENT ENOMEM", WRONG_FILE, HARMLESS),
    _row("fstat_log", "ENOMEM EIO", GOES_ON, HARMLESS, RELOAD),
    _row("fstat_file", "ENOMEM EIO", WRONG_FILE, HARMLESS),
    _row("read_file", "EIO EISDIR", WRONG_FILE, HARMLESS),
    _row("read_file", "EINTR " + SHORT, GOES_ON, HARMLESS, bursts=(1, 5)),
    # The kernel's bound of the backlog cannot be read: then it is not told. In the scenario
    # "systemd" it is the CPU quota: there is none then.
    _row("fopen", "EMFILE ENOENT ENOMEM", GOES_ON, HARMLESS, RELOAD + " systemd"),
    _row("fgets", "EIO", GOES_ON, HARMLESS, RELOAD + " systemd"),
    _row("fclose", "EIO", EITHER, HARMLESS, RELOAD + " systemd"),
    # The log: a lost line is counted, nothing more.
    _row("write_log", "EINTR EAGAIN EPIPE ENOSPC EIO " + SHORT, GOES_ON, HARMLESS,
         bursts=(1, 30)),
    _row("send_log", "EINTR EAGAIN EPIPE ECONNRESET ENOBUFS", GOES_ON, HARMLESS, "socket",
         bursts=(1, 30)),
    _row("sendto", "EINTR EAGAIN ECONNREFUSED ENOENT ENOBUFS", GOES_ON, HARMLESS, "syslog",
         bursts=(1, 30)),
    _row("socket_unix", "EMFILE ENFILE ENOBUFS EACCES", GOES_ON, HARMLESS, "syslog systemd"),
    _row("connect", "ECONNREFUSED ENOENT EACCES", GOES_ON, HARMLESS, "syslog"),
    # How many descriptors are open already cannot be counted: a guess serves.
    _row("opendir", "EMFILE ENOENT EACCES", GOES_ON, HARMLESS, RELOAD),
    # The admin endpoint. A connection whose call fails ends, a client's or a watcher's.
    _row("accept4", "EINTR ECONNABORTED EAGAIN EMFILE ENFILE ENOMEM EPERM", GOES_ON, HARMLESS,
         "admin", bursts=(1, 4)),
    _row("recv", "EINTR", GOES_ON, HARMLESS, "admin", bursts=(1, 5)),
    _row("recv", "ECONNRESET ENOMEM", GOES_ON, ENDS_ONE, "admin"),
    _row("send", "EINTR", GOES_ON, HARMLESS, "admin", bursts=(1, 5)),
    _row("send", "EPIPE ECONNRESET", GOES_ON, ENDS_ONE, "admin"),
    _row("sendmsg", "EINTR", GOES_ON, HARMLESS, "admin", bursts=(1, 5)),
    _row("sendmsg", "EPIPE ECONNRESET ENOBUFS", GOES_ON, ENDS_ONE, "admin"),
    _row("sendmsg", HANG, GOES_ON, HARMLESS, "admin"),
    _row("epoll_create1", NO_DESCRIPTOR, REFUSES, HARMLESS, "admin"),
    _row("epoll_ctl_add", "ENOMEM ENOSPC", REFUSES, ENDS_ONE, "admin", bursts=(1, 3)),
    _row("epoll_wait", "EINTR", GOES_ON, HARMLESS, "admin", bursts=(1, 5)),
    _row("poll", "EINTR", GOES_ON, HARMLESS, "admin", bursts=(1, 5)),
    _row("close", "EINTR EIO", GOES_ON, HARMLESS, "admin", bursts=(1, 20)),
    _row("malloc", "ENOMEM", EITHER, ENDS_ONE, "admin", bursts=(1, 3)),
    _row("calloc", "ENOMEM", EITHER, ENDS_ONE, "admin", bursts=(1, 3)),
    _row("realloc", "ENOMEM", EITHER, ENDS_ONE, "admin", bursts=(1, 3)),
    # The spare descriptor: without it the oldest connection gives its own.
    _row("open_null", "EMFILE ENFILE ENOENT", GOES_ON, HARMLESS, "admin"),
    _row("socket_inet", "EMFILE ENOBUFS EACCES", REFUSES, HARMLESS, "admin"),
    _row("bind", "EACCES EPERM", REFUSES, HARMLESS, "admin"),
    _row("setsockopt", "ENOMEM ENOPROTOOPT", EITHER, HARMLESS, "admin"),
    _row("getsockname", "ENOBUFS", REFUSES, HARMLESS, "admin"),
    # What the kernel does not tell of a listener is 0; memory in use, too.
    _row("getsockopt", "ENOPROTOOPT", GOES_ON, HARMLESS, "admin"),
    _row("fcntl_get", "EACCES", EITHER, ENDS_ONE, "admin"),
    _row("fcntl_set", "EACCES", GOES_ON, ENDS_ONE, "admin"),
    _row("fopen", "EMFILE ENOENT ENOMEM", GOES_ON, HARMLESS, "admin"),
    _row("open_file", "EMFILE ENFILE", WRONG_FILE, HARMLESS, "admin"),
    _row("read_file", "EIO", WRONG_FILE, HARMLESS, "admin"),
    _row("fclose", "EIO", EITHER, ENDS_ONE, "admin"),
    # A reload's child: it cannot be had, and the reload is refused.
    _row("pipe2", "EMFILE ENFILE", GOES_ON, HARMLESS, "reload"),
    _row("readlink", "ENOENT EACCES", GOES_ON, HARMLESS, RELOAD),
    _row("fork", "EAGAIN ENOMEM", GOES_ON, HARMLESS, "reload"),
    _row("read_pipe", "EINTR EAGAIN " + SHORT, GOES_ON, HARMLESS, "reload", bursts=(1, 5)),
    _row("waitpid", "EINTR", GOES_ON, HARMLESS, "reload", bursts=(1, 5)),
    # What could wait for another process, or for a client, is told not to.
    *(_row(call, HANG, GOES_ON, HARMLESS) for call in (
        "accept4", "recv", "send", "sendto", "recvfrom", "read_bell", "write_bell",
        "read_signal", "write_log", "open_log", "getrandom")),
    *(_row(call, HANG, GOES_ON, HARMLESS, "reload") for call in ("read_pipe", "waitpid")),
    _row("send_log", HANG, GOES_ON, HARMLESS, "socket"),
    _row("sendto", HANG, GOES_ON, HARMLESS, "syslog systemd"),
    _row("connect", HANG, GOES_ON, HARMLESS, "syslog"),
    # No seed for the table of addresses: it does without.
    _row("getrandom", "EAGAIN EINTR ENOSYS", GOES_ON, HARMLESS),
    # The limits as they are then hold.
    _row("setrlimit", "EPERM", GOES_ON, HARMLESS, RELOAD),
    # The acceptor then wakes like any other thread.
    _row("sched_setscheduler", "EPERM", GOES_ON, HARMLESS),
    _row("sched_getaffinity", "EINVAL", GOES_ON, HARMLESS, "systemd"),
)

# In the child that reads the file for a reload, every fault is the same: either
# it does not matter, or the reload is refused. libconfig's lack of memory, over which it may crash,
# is tried here only: at a start nothing runs yet that it could harm.
CHILD_ERRORS = {
    "aligned_alloc": "ENOMEM", "calloc": "ENOMEM", "malloc": "ENOMEM", "realloc": "ENOMEM",
    "strdup": "ENOMEM", "libconfig_alloc": "ENOMEM", "open_file": "EMFILE EACCES " + HANG,
    "fstat_file": "EIO " + HANG, "read_file": f"EINTR EIO {SHORT} {HANG}", "close": "EINTR EIO",
    "write_log": "EINTR EPIPE EIO " + SHORT, "execv": "ENOENT ENOMEM EACCES " + HANG,
    "setrlimit": "EPERM",
}

# The kinds at which SIGTERM comes, and at which it comes twice.
SIGTERM_CALLS = tuple(dict.fromkeys(row.call for row in ROWS if row.scenarios[0] == "echo"))
SIGTERM_RELOAD_CALLS = ("poll", "fork", "read_pipe", "waitpid", "pthread_create", "bind")
SIGTERM_TWICE_CALLS = ("accept4", "epoll_wait", "poll", "recv", "send", "write_bell")

# The functions behind the kinds.
SYMBOLS = {
    "accept4": ("accept4",),
    "aligned_alloc": ("aligned_alloc",),
    "bind": ("bind",),
    "calloc": ("calloc",),
    "close": ("close",),
    "connect": ("connect",),
    "epoll_create1": ("epoll_create1",),
    "epoll_ctl_add": ("epoll_ctl",),
    "epoll_ctl_mod": ("epoll_ctl",),
    "epoll_wait": ("epoll_wait",),
    "eventfd": ("eventfd",),
    "execv": ("execv",),
    "fclose": ("fclose",),
    "fcntl_get": ("fcntl64",),
    "fcntl_set": ("fcntl64",),
    "fgets": ("fgets",),
    "fopen": ("fopen64",),
    "fork": ("fork",),
    "fstat_file": ("fstat64",),
    "fstat_log": ("fstat64",),
    "getrandom": ("getrandom",),
    "getsockname": ("getsockname",),
    "getsockopt": ("getsockopt",),
    "libconfig_alloc": ("config_read_string", "config_set_include_dir"),
    "listen": ("listen",),
    "malloc": ("malloc", "asprintf", "__asprintf_chk", "fmemopen", "open_memstream"),
    "open_file": ("open64",),
    "open_log": ("open64",),
    "open_null": ("open64",),
    "opendir": ("opendir",),
    "pipe2": ("pipe2",),
    "poll": ("poll", "__poll_chk"),
    "pthread_attr_init": ("pthread_attr_init",),
    "pthread_create": ("pthread_create",),
    "read_bell": ("read", "__read_chk"),
    "read_file": ("read", "__read_chk"),
    "read_pipe": ("read", "__read_chk"),
    "read_signal": ("read", "__read_chk"),
    "readlink": ("readlink",),
    "realloc": ("realloc", "reallocarray"),
    "recv": ("recv",),
    "recvfrom": ("recvfrom",),
    "sched_getaffinity": ("sched_getaffinity",),
    "sched_setscheduler": ("sched_setscheduler",),
    "send": ("send",),
    "send_log": ("send",),
    "sendmsg": ("sendmsg",),
    "sendto": ("sendto",),
    "setrlimit": ("setrlimit64",),
    "setsockopt": ("setsockopt",),
    "signalfd": ("signalfd",),
    "socket_inet": ("socket",),
    "socket_unix": ("socket",),
    "strdup": ("strdup", "strndup"),
    "waitpid": ("waitpid",),
    "write_bell": ("write",),
    "write_log": ("write",),
}


def _exceptions(*groups):
    return {symbol: why for why, symbols in groups for symbol in symbols.split()}


# Functions without faults, each with the reason.
EXCEPTIONS = _exceptions(
    ("works on memory alone and cannot fail",
     "__isoc99_sscanf __isoc23_sscanf __isoc99_fscanf __isoc23_fscanf "
     "__ctype_b_loc __ctype_tolower_loc __errno_location __sched_cpucount bcmp free memchr memcmp "
     "memcpy memmove memset snprintf sprintf strcasecmp strcat strchr strchrnul strcmp strcpy "
     "strcspn strerror strftime strlen strncmp strpbrk strrchr strsep strsignal strspn strstr "
     "strtod strtol strtoll strtoul strtoull "
     "vsnprintf inet_ntop inet_pton getenv getopt_long sigaddset sigemptyset localtime_r"),
    ("passes over the rest of a long line, whose begin is read", "fgetc"),
    ("answers 0 for whatever is wrong", "isatty mallopt sched_yield"),
    ("takes UTC where there is no file of the time zone", "tzset"),
    ("lists /proc/self/fd, which is open and cannot fail any more", "readdir64 closedir"),
    ("are variables", "environ __environ optarg optind stderr stdout"),
    ("asks for what gives a warning; without an answer there is none",
     "geteuid lstat64 realpath stat64"),
    ("is for a child that is ours and not yet waited for", "kill"),
    ("is for descriptors that are open, in a child that is alone", "dup2"),
    ("closes descriptors that exec(2) would close too, or has the child end with its parent",
     "syscall prctl"),
    ("is for a connection that may have ended, which is as good", "shutdown"),
    ("is called for pool.engine = \"io_uring\" alone, whose calls liburing makes past any library; "
     "tests/service/test_engine.py has the kernel refuse them",
     "io_uring_queue_exit io_uring_queue_init_params io_uring_register_buf_ring "
     "io_uring_register_ring_fd io_uring_submit_and_get_events "
     "io_uring_submit_and_wait_timeout posix_memalign socketpair"),
    ("sorts in place where it has no memory", "qsort"),
    ("whose calls are swept where libmicrohttpd makes them, in the scenario admin",
     "MHD_add_connection MHD_add_response_header MHD_create_response_from_buffer "
     "MHD_destroy_response MHD_get_connection_info MHD_get_daemon_info MHD_get_timeout "
     "MHD_lookup_connection_value MHD_queue_response MHD_run MHD_set_panic_func "
     "MHD_start_daemon MHD_stop_daemon"),
    ("has no error that a valid argument could give",
     "clock_gettime getpid getrlimit64 getrusage gettid ioctl pthread_getcpuclockid pthread_self "
     "pthread_sigmask sched_getscheduler sigaction sysconf time"),
    ("cannot fail on objects that are in order; must() aborts where they are not",
     "pthread_attr_destroy pthread_attr_setstacksize pthread_cond_broadcast pthread_cond_destroy "
     "pthread_cond_init pthread_cond_signal pthread_cond_timedwait pthread_cond_wait "
     "pthread_cond_clockwait pthread_condattr_destroy pthread_condattr_init "
     "pthread_condattr_setclock pthread_join pthread_mutex_destroy pthread_mutex_init "
     "pthread_mutex_lock pthread_mutex_unlock pthread_setname_np"),
    ("ends the program", "__assert_fail __stack_chk_fail abort _exit exit"),
    ("the program's start", "__libc_start_main __cxa_finalize __gmon_start__ "
     "_ITM_deregisterTMCloneTable _ITM_registerTMCloneTable"),
    ("writes the answer of -t, -T, -V and -h, which the service tests give to /dev/full, or a "
     "message to memory, whose growth is malloc's",
     "ferror fflush fprintf fputc fputs fwrite printf putchar puts vfprintf"),
    ("reads the tree that libconfig has made; a string that is missing is told as short memory",
     "config_destroy config_error_line config_error_text config_init config_set_include_func "
     "config_setting_get_bool config_setting_get_elem config_setting_get_float "
     "config_setting_get_format config_setting_get_int config_setting_get_string "
     "config_setting_length config_setting_type"),
    ("names the interface of an address with a scope; unknown ones have their unit test",
     "if_nametoindex"),
    ("reads LISTEN_FDS; wrong contents have their service tests", "sd_listen_fds_with_names"),
)

# Kinds of inject.h that no error can befall, so that only their number is of interest.
UNFAILING = {
    "epoll_ctl_del": "takes no memory, so a valid descriptor cannot fail (epoll_ctl(2))",
}


def row_of(call, error, burst=1, scenario="echo", process="server"):
    """The row that says what must follow."""
    if process == "child":
        return Row(call, (error,), GOES_ON, HARMLESS)
    if error == SIGTERM:
        return Row(call, (error,), Start.MAY_END,
                   Running.DRAINS if burst == 1 else Running.ENDS)
    rows = [row for row in ROWS if row.call == call and error in row.errors]
    if not rows:
        raise KeyError(f"{call}:{error} is not in the table")
    return next((row for row in rows if scenario in row.scenarios), rows[0])


def number_of(error):
    """The errno value of a name."""
    return getattr(errno, error)
