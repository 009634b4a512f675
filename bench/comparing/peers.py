"""The servers that are compared: echopool, and what a user would run instead.

find() says which of them this machine has. A missing one has the reason in `missing`, and is listed
with it.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from common import machine, server

# The backlog of every server, where it can be set; peers/peer.h has the same.
BACKLOG = 4096
OWN = "echopool"
# What each server is, for --help and the report.
WHAT = {
    OWN: "this project",
    "epoll": "one thread and one level-triggered epoll set, C",
    "cpus": "an epoll loop for each CPU, which share the port (SO_REUSEPORT), C",
    "uring": "one thread, one io_uring loop with shared buffers, C",
    "uv": "one thread, one libuv loop, C",
    "threads": "a thread for each client, C",
    "go": "Go's net package, a goroutine for each client, a thread for each CPU",
    "tokio": "tokio's multi-threaded runtime, a task for each client, a thread for each CPU, Rust",
    "xinetd": "xinetd's internal echo, a process for each client",
    "socat": "socat TCP4-LISTEN,fork EXEC:cat, two processes for each client",
}

# Those that serve with several threads, as echopool does.
THREADED = ("cpus", "threads", "go", "tokio")

SOURCES = Path(__file__).resolve().parents[1] / "peers"
BUILD_S = 300

# With more clients, a process for each of them measures only the machine's memory.
MOST_PROCESSES = 999

XINETD = """\
service echo
{{
    type = INTERNAL UNLISTED
    socket_type = stream
    protocol = tcp
    wait = no
    bind = {host}
    port = {port}
    user = {user}
    flags = NODELAY NOLIBWRAP
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 1000000 1
    disable = no
}}
"""


class Peer(NamedTuple):
    """A server. key names it on the command line and in WHAT, name in tables.

    command(port, directory) is its command line; directory is empty and its own. ready is the line
    that it prints when it listens; None: it is ready when it accepts a connection. most_clients: it
    is not run with more. missing: why it cannot run here. version: what it says of itself.
    """

    key: str
    name: str
    command: object = None
    ready: str = None
    most_clients: int = None
    missing: str = None
    version: str = None

    def refuses(self, load):
        """Why this server is not run under a load; None when it is."""
        if self.missing:
            return self.missing
        if self.most_clients and load.clients > self.most_clients:
            return f"a process for each of {load.clients:,} clients"
        return None


def find(build, wanted=None):
    """The servers in the order of the tables, as Peers; build is meson's build directory.

    wanted: only these keys and echopool; None: all. The others are not built.
    """
    own = Path(build) / "bench" / "peers"
    makers = {
        OWN: lambda: Peer(OWN, "echopool"),
        "epoll": lambda: _built("epoll", "epoll loop", own / "epoll_loop"),
        "cpus": lambda: _built("cpus", "epoll per CPU", own / "epoll_loop",
                               threads=machine.cpus()),
        "uring": lambda: _built("uring", "io_uring loop", own / "uring_loop",
                                " where Debian's liburing-dev is installed"),
        "uv": lambda: _built("uv", "libuv loop", own / "uv_loop",
                             " where Debian's libuv1-dev is installed"),
        "threads": lambda: _built("threads", "thread per client", own / "thread_per_connection"),
        "go": lambda: _go(own),
        "tokio": lambda: _tokio(own),
        "xinetd": lambda: _installed("xinetd", _xinetd_command, "-version"),
        "socat": lambda: _installed("socat", _socat_command, "-V"),
    }
    return [make() for key, make in makers.items() if wanted is None or key in (OWN, *wanted)]


def _built(key, name, program, hint="", threads=None):
    """A peer of bench/peers that meson builds."""
    missing = None if program.exists() else f"{program} is not there; build it{hint}"
    more = [threads] if threads else []
    return Peer(key, name, lambda port, _: [program, port, *more], "^ready$", missing=missing)


def _is_fresh(program, source):
    """Whether a program is there that was built from this source."""
    try:
        return program.stat().st_mtime > source.stat().st_mtime
    except FileNotFoundError:
        return False


def _build_failure(command, **options):
    """Runs a compiler without the network; returns why it failed, or None."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=BUILD_S, check=False, **options)
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end in {BUILD_S} s"
    if done.returncode != 0:
        return f"{command[0]} failed: " + " ".join(done.stderr.split())
    return None


def _go(directory):
    program, source = directory / "go_echo", SOURCES / "echo.go"
    missing = None if _is_fresh(program, source) else _build_go(source, program)
    return Peer("go", "Go net", lambda port, _: [program, port], "^ready$", missing=missing,
                version=machine.said("go", "version"))


def _build_go(source, program):
    """Builds the Go peer without the network; returns why it cannot."""
    if not shutil.which("go"):
        return "go is not there; install Debian's golang-go"
    directory = program.resolve().parent
    environment = os.environ | {
        "GO111MODULE": "off", "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0", "GOPATH": str(directory / "go"), "GOCACHE": str(directory / "go-cache")}
    directory.mkdir(parents=True, exist_ok=True)
    return _build_failure(["go", "build", "-o", program.resolve(), source], env=environment)


# Debian's crates are a registry of their own.
CARGO_CONFIG = """\
[source.crates-io]
replace-with = "debian"
[source.debian]
directory = "/usr/share/cargo/registry"
"""
CARGO_MANIFEST = """\
[package]
name = "tokio_echo"
version = "0.1.0"
edition = "2021"
[dependencies]
tokio = {{ version = "1", features = ["rt-multi-thread", "net", "io-util"] }}
[[bin]]
name = "tokio_echo"
path = "{source}"
"""


def _tokio(directory):
    source = SOURCES / "tokio_echo.rs"
    program = directory / "tokio" / "target" / "release" / "tokio_echo"
    missing = None if _is_fresh(program, source) else _build_tokio(source, directory / "tokio")
    return Peer("tokio", "tokio", lambda port, _: [program, port], "^ready$", missing=missing,
                version=machine.said("/usr/bin/rustc", "--version"))


def _build_tokio(source, directory):
    """Builds the tokio peer from Debian's crates, without the network; returns why it cannot."""
    lacks = [path for path in ("/usr/bin/cargo", "/usr/bin/rustc")
             if not os.access(path, os.X_OK)]
    if lacks or not list(Path("/usr/share/cargo/registry").glob("tokio-1.*")):
        return ("cargo, rustc or tokio is not there; install Debian's cargo, rustc and "
                "librust-tokio-dev")
    home = directory.resolve() / "home"
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(CARGO_CONFIG, encoding="utf-8")
    (directory / "Cargo.toml").write_text(CARGO_MANIFEST.format(source=source), encoding="utf-8")
    environment = os.environ | {"CARGO_HOME": str(home), "RUSTC": "/usr/bin/rustc",
                                "CARGO_NET_OFFLINE": "true"}
    environment.pop("RUSTUP_TOOLCHAIN", None)
    return _build_failure(["/usr/bin/cargo", "build", "--release", "--offline"], cwd=directory,
                          env=environment)


def _installed(key, command, version):
    """A peer that is a package of the system. Its programs may be in root's PATH only."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    program = shutil.which(key, path=places)
    missing = None if program else f"{key} is not there; install Debian's {key}"
    return Peer(key, key, lambda port, directory: command(program, port, directory),
                most_clients=MOST_PROCESSES, missing=missing,
                version=machine.said(program, version) if program else None)


def _xinetd_command(program, port, directory):
    config = Path(directory) / "xinetd.conf"
    # A number: not every user has a name.
    config.write_text(XINETD.format(host=server.HOST, port=port, user=os.geteuid()),
                      encoding="utf-8")
    return [program, "-dontfork", "-f", config, "-pidfile", Path(directory) / "pid",
            "-filelog", Path(directory) / "log"]


def _socat_command(program, port, _):
    return [program, f"TCP4-LISTEN:{port},bind={server.HOST},reuseaddr,fork,nodelay,"
            f"backlog={BACKLOG}",
            "EXEC:cat"]
