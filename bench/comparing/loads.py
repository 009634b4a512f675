"""The loads that every server is measured under, and the targets of echopool. Pure data."""

from typing import NamedTuple

KIB = 1024


class Load(NamedTuple):
    """One load. key names it on the command line, title in tables, and name, a word, in plots.

    options are echoload's (see load.run()). All connections are opened at the start, so that each
    server has accepted them when the measurement begins. share_of: only in pairs, at a rate of
    RATE_SHARE of the throughput of the slower of the two under that load.
    """

    key: str
    title: str
    name: str
    options: dict
    share_of: str = None

    @property
    def clients(self):
        """How many connections are open at once."""
        return self.options["connections"] + self.options.get("idle", 0)


def _talking(count):
    plural = "s" if count > 1 else ""
    name = str(count) if count < 1000 else f"{count // 1000}k"
    return Load(str(count), f"{count:,} connection{plural}, 64 bytes", name,
                {"connections": count, "size": 64})


# A closed loop rewards who is slow with fewer questions: latencies are compared at the same rate.
RATE_SHARE = 0.7

LOADS = (
    _talking(1),
    _talking(2),
    _talking(4),
    _talking(8),
    _talking(50),
    _talking(1000),
    _talking(5000),
    Load("8x64k", "8 connections, 64 KiB", "64K", {"connections": 8, "size": 64 * KIB}),
    Load("churn", "50 connections, 64 bytes, a new connection for each message", "churn",
         {"connections": 50, "size": 64, "messages": 1}),
    Load("idle", "50 connections, 64 bytes, beside 5,000 idle ones", "idle",
         {"connections": 50, "size": 64, "idle": 5000}),
    Load("rate", "50 connections, 64 bytes, at 70 % of the slower one's throughput", "rate",
         {"connections": 50, "size": 64}, share_of="50"),
)


class Target(NamedTuple):
    """A ratio that echopool is to reach under a load.

    value: the key of the figure. against: "peers", the best of all others; "threaded", the best of
    those with several threads; or the key of a load: echopool's own figure under it. Throughput is
    to be at_least so much, latency and CPU at_most.
    """

    load: str
    value: str
    against: str
    at_least: float = None
    at_most: float = None


TARGETS = (
    Target("1", "echoes_per_s", "peers", at_least=2.3),
    Target("1", "latency_us_p50", "peers", at_most=0.4),
    Target("1", "cpu_server_us_per_echo", "peers", at_most=1.0),
    Target("2", "echoes_per_s", "peers", at_least=2.5),
    Target("4", "echoes_per_s", "peers", at_least=1.2),
    Target("8", "echoes_per_s", "peers", at_least=1.05),
    Target("50", "echoes_per_s", "peers", at_least=1.05),
    Target("50", "cpu_server_us_per_echo", "peers", at_most=1.05),
    Target("1000", "echoes_per_s", "peers", at_least=1.0),
    Target("5000", "echoes_per_s", "peers", at_least=1.0),
    Target("8x64k", "echoes_per_s", "peers", at_least=1.25),
    Target("churn", "echoes_per_s", "threaded", at_least=0.95),
    Target("idle", "echoes_per_s", "peers", at_least=1.05),
    Target("idle", "echoes_per_s", "50", at_least=0.97),
    Target("rate", "latency_us_p99", "peers", at_most=1.1),
)
